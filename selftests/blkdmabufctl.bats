#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# blkdmabufctl and the library as a user meets them: registrations that outlive
# the tool, transfers that plain reads confirm, errors that lose nothing.
#
# vm: main
# log-allow: nvme.*I/O error -- disk6 fails on purpose
# log-allow: (critical medium|I/O) error, dev nvme -- the same, told by the block layer

load lib

PIN=/sys/fs/bpf/blkdmabuf

setup() {
	cd "$BATS_TEST_TMPDIR"
	DEV=$(disk 0)
}

teardown() { rm -rf "$PIN"; wait_until 10 none_left; }

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

# fails STATUS WORD... -- ARGS: exits so, says all the words on stderr, nothing
# on stdout, and under -j says the same as JSON; that nothing stays registered
# is teardown's to see
fails() {
	local status=$1 words=()
	shift
	while [ "$1" != -- ]; do words+=("$1"); shift; done
	shift
	local word rc=0
	"$CTL" "$@" > out 2> err < /dev/null || rc=$?
	cat out err
	[ $rc -eq "$status" ]
	[ ! -s out ]
	for word in "${words[@]}"; do grep -qi -- "$word" err; done
	rc=0
	"$CTL" -j "$@" > json 2> /dev/null < /dev/null || rc=$?
	[ $rc -eq "$status" ]
	jq -e '.error.what and .error.advice' json
}

@test "the example program in C runs" {
	"$TOP/build/user/example" "$DEV" 1048576
}

@test "check says yes where it works, and why not where it does not" {
	"$CTL" check "$DEV"
	"$CTL" -j check "$DEV" | jq -e .usable
	run "$CTL" check "$(disk 4)"
	[ "$status" -eq 1 ]
	[[ $output == *integrity* ]]
	run "$CTL" check "$(disk 5)"
	[ "$status" -eq 1 ]
	[[ $output == *zoned* ]]
}

@test "a registration outlives the tool and ends with unregister" {
	id=$("$CTL" -j register "$DEV" --udmabuf 4M | jq .id)
	"$CTL" -j show "$id" | jq -e '.state == "live" and .bytes == 4194304'
	[ "$("$CTL" -j list | jq length)" -eq 1 ]
	"$CTL" unregister "$id"
	none_left
}

@test "removing the pin ends all registrations" {
	"$CTL" register "$DEV" --udmabuf 4M
	"$CTL" register "$DEV" --heap system:2M
	[ "$("$CTL" -j list | jq length)" -eq 2 ]
	rm "$PIN/regs"
	wait_until 10 none_left
}

@test "the same twice: the second registration of a dma-buf names the first" {
	id=$("$CTL" -j register "$DEV" --udmabuf 1M | jq .id)
	"$CTL" -j read "$DEV" --id "$id" --length 64K | jq -e '.bytes == 65536'
	"$CTL" -j read "$DEV" --id "$id" --length 64K | jq -e '.bytes == 65536'
	"$CTL" -j show "$id" | jq -e '.reads >= 2'
}

@test "a file written and read back by others is the same, each way by itself" {
	head -c 5M /dev/urandom > a
	"$CTL" write "$DEV" --offset 16M --from a
	dd if="$DEV" of=b bs=1M skip=16 count=5 iflag=direct status=none
	cmp a b
	head -c 5M /dev/urandom > c
	dd if=c of="$DEV" bs=1M seek=32 oflag=direct conv=fsync status=none
	"$CTL" read "$DEV" --offset 32M --length 5M --to d
	cmp c d
	"$CTL" read "$DEV" --offset 32M --length 5M --to - | cmp - c
}

@test "copy between two devices of different block size" {
	head -c 3M /dev/urandom > a
	dd if=a of="$DEV" bs=1M seek=1 oflag=direct conv=fsync status=none
	"$CTL" copy "$DEV" "$(disk 1)" --src-offset 1M --dst-offset 2M --length 3M
	dd if="$(disk 1)" of=b bs=1M skip=2 count=3 iflag=direct status=none
	cmp a b
}

@test "a partition is written inside its bounds" {
	head -c 1M /dev/zero | tr '\0' x > a
	part=$(ls "$DEV"p1)
	start=$(($(cat "/sys/class/block/${part##*/}/start") * 512))
	"$CTL" write "$part" --from a
	dd if="$DEV" bs=512 skip=$((start / 512)) count=2048 iflag=direct \
		status=none | cmp - a
}

@test "what cannot be a device is refused" {
	fails 1 /dev/nothing "no such" -- register /dev/nothing --udmabuf 1M
	fails 1 /dev/null "block device" -- register /dev/null --udmabuf 1M
	fails 1 integrity -- register "$(disk 4)" --udmabuf 1M
	fails 1 zoned -- register "$(disk 5)" --udmabuf 1M
}

@test "what cannot be a buffer is refused" {
	fails 1 dma-buf -- register "$DEV" --fd 0
	fails 1 nosuchheap -- register "$DEV" --heap nosuchheap:1M
	fails 1 4096 -- register "$DEV" --udmabuf 0
	fails 2 -- register "$DEV"
}

@test "offsets and lengths that do not fit are refused before anything moves" {
	id=$("$CTL" -j register "$DEV" --udmabuf 1M | jq .id)
	head -c 1M /dev/urandom > a
	"$CTL" write "$DEV" --offset 64M --from a
	fails 1 multiple -- read "$DEV" --id "$id" --offset 100 --length 4K
	fails 1 multiple -- read "$DEV" --id "$id" --length 1000
	fails 1 -- read "$DEV" --id "$id" --length 2M
	fails 1 -- read "$DEV" --id "$id" --offset 10G --length 4K
	fails 1 -- read "$DEV" --id "$id" --buf-offset 2M --length 4K
	fails 1 -- write "$DEV" --offset 64M --length 700 --id "$id"
	dd if="$DEV" bs=1M skip=64 count=1 iflag=direct status=none | cmp - a
}

@test "wrong usage is told apart from failure" {
	fails 2 nosuch -- nosuch
	fails 2 -- read
	fails 2 -- read "$DEV" --nosuch
	fails 1 4711 -- unregister 4711
	fails 1 4711 -- show 4711
}

@test "a user without privilege is told what is missing" {
	chmod 777 .
	run setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$CTL" register "$DEV" --udmabuf 1M
	[ "$status" -eq 1 ]
	[[ $output == *ermission* || $output == *rivilege* || $output == *CAP_* ]]
	none_left
}

@test "an I/O error of the device is reported and nothing is left" {
	head -c 1M /dev/urandom > a
	fails 1 "No data" -- read "$(disk 6)" --offset 8M --length 64K --to b
}

@test "Ctrl-C stops in order, kill -9 leaves nothing either" {
	local pid rc=0
	# enabling job control keeps SIGINT from being ignored in the background
	set -m
	"$CTL" read "$(disk 3)" --to /dev/null --block-size 4K --depth 1 &
	pid=$!
	wait_until 10 one_there
	kill -INT $pid
	wait $pid || rc=$?
	[ $rc -eq 130 ]
	wait_until 10 none_left
	"$CTL" read "$(disk 3)" --to /dev/null --block-size 4K --depth 1 &
	pid=$!
	wait_until 10 one_there
	kill -KILL $pid
	wait $pid || :
	set +m
	wait_until 10 none_left
}

one_there() { [ "$("$CTL" -j list | jq length)" -eq 1 ]; }
