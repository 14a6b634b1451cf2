#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# blkdmabufctl and the library as a user meets them: registrations that outlive
# the tool, transfers that plain reads confirm, errors that lose nothing.
#
# vm: main
# log-allow: nvme.*I/O error -- disk6 fails on purpose
# log-allow: (critical medium|I/O) error, dev nvme -- the same, told by the block layer

load ../lib

PIN=/sys/fs/bpf/blkdmabuf

setup() {
	cd "$BATS_TEST_TMPDIR"
	DEV=$(disk 0)
}

teardown() {
	rm -rf "$PIN"
	wait_until 10 none_left
	[ -z "${HOLDER:-}" ] || kill "$HOLDER"
	! mountpoint -q /mnt/disk || umount /mnt/disk
	[ ! -e /dev/mapper/held ] || dmsetup remove --noudevsync --noudevrules held
	[ -z "${TYPE:-}" ] || ! mountpoint -q "$TYPE" || umount "$TYPE"
	[ ! -e /dev/udmabuf.gone ] || mv /dev/udmabuf.gone /dev/udmabuf
	[ ! -e /dev/dma_heap.gone ] || mv /dev/dma_heap.gone /dev/dma_heap
	echo 0 > /proc/sys/vm/nr_hugepages
}

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

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

# checks no|yes NAME ARGS: check says so about it, and exits like that
checks() {
	local rc=0
	"$CTL" check "${@:3}" > out || rc=$?
	cat out
	grep -q "^$2  *$1 " out
	if [ "$1" = yes ]; then [ $rc -eq 0 ]; else [ $rc -eq 1 ]; fi
}

@test "check and register agree on where the map can be pinned" {
	for dir in /nosuch/x /tmp/x; do
		checks no bpffs --pin $dir
		fails 1 $dir -- register "$DEV" --udmabuf 1M --pin $dir
	done
	for dir in /sys/fs/bpf/new /sys/fs/bpf/all/of/it; do
		checks yes bpffs --pin $dir
		[ ! -e $dir ]
		"$CTL" register "$DEV" --udmabuf 1M --pin $dir
		checks yes bpffs --pin $dir
	done
	rm -r /sys/fs/bpf/new /sys/fs/bpf/all
}

@test "check does not say that a device can do it without having tried" {
	mv /dev/udmabuf /dev/udmabuf.gone
	# A heap's memory does as well.
	checks yes device "$DEV"
	mv /dev/dma_heap /dev/dma_heap.gone
	checks '?' device "$DEV"
	run "$CTL" -j check "$DEV"
	jq -e '.usable == false and
		(.checks[] | select(.name == "device") | .ok == null)' \
		<<< "$output"
}

@test "check says no where the IOMMU keeps the device from its memory" {
	TYPE=$(readlink -f "/sys/block/${DEV##*/}/device/device/iommu_group")/type
	for type in blocked unmanaged; do
		echo $type > fake
		mount --bind fake "$TYPE"
		checks no iommu "$DEV"
		umount "$TYPE"
	done
	checks - iommu "$DEV" || [ $? -eq 1 ]
	"$CTL" check "$DEV"
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

@test "a registration whose id could not be told is undone" {
	local rc
	for json in '' -j; do
		rc=0
		"$CTL" $json register "$DEV" --udmabuf 1M > /dev/full 2> err || rc=$?
		cat err
		[ $rc -eq 1 ]
		grep -q 'standard output: No space.*; try: ' err
		none_left
	done
	# The same when the reader of a pipe went away.
	{ sleep 0.5; rc=0; "$CTL" register "$DEV" --udmabuf 1M 2> err || rc=$?
		echo $rc > rc; } | true
	cat err
	[ "$(cat rc)" = 1 ]
	grep -q 'standard output: Broken pipe' err
	none_left
}

# hold SIZE: a process, $HOLDER, that has a dma-buf open as 9
hold() {
	"$BIN/dmabuf-exec" "$1" sleep 300 3>&- &
	HOLDER=$!
	wait_until 10 grep -q sleep "/proc/$HOLDER/comm"
}

@test "a dma-buf that the tool was started with is registered, and used" {
	id=$("$BIN/dmabuf-exec" 2M "$CTL" -j register "$DEV" --fd 9 | jq .id)
	"$CTL" -j show "$id" | jq -e '.bytes == 2097152 and .mapped and
		.exporter == "udmabuf"'
	"$BIN/dmabuf-exec" 1M "$CTL" -j read "$DEV" --fd 9 --length 64K |
		jq -e '.bytes == 65536'
	[ "$("$CTL" -j list | jq length)" -eq 1 ]
}

@test "the dma-buf of another process is registered, and outlives it" {
	hold 1M
	"$CTL" -j register "$DEV" --pid $HOLDER --fd 9 > reg
	inode=$(sed -n 's/^ino:[[:space:]]*//p' /proc/$HOLDER/fdinfo/9)
	jq -e ".bytes == 1048576 and .inode == $inode" reg
	fails 1 "file descriptor 10" "/proc/$HOLDER/fd" -- \
		register "$DEV" --pid $HOLDER --fd 10
	kill $HOLDER
	wait $HOLDER || :
	fails 1 "process $HOLDER" -- register "$DEV" --pid $HOLDER --fd 9
	HOLDER=
	"$CTL" read "$DEV" --id "$(jq .id reg)" --length 64K
}

@test "the second registration of a dma-buf is refused and names the first" {
	hold 1M
	id=$("$CTL" -j register "$DEV" --pid $HOLDER --fd 9 | jq .id)
	fails 1 "File exists" "registered on this device already" \
		"use registration $id" -- register "$DEV" --pid $HOLDER --fd 9
	jq -e ".error | .code == \"EEXIST\" and .reason == \"DUPLICATE\" and
		(.advice | contains(\"use registration $id\"))" json
	# A partition is the same disk, another disk is not.
	fails 1 "use registration $id" -- register "${DEV}p1" --pid $HOLDER --fd 9
	"$CTL" register "$(disk 1)" --pid $HOLDER --fd 9
	[ "$("$CTL" -j list | jq length)" -eq 2 ]
}

@test "list shows the registrations of one disk when asked" {
	id=$("$CTL" -j register "$DEV" --udmabuf 1M | jq .id)
	"$CTL" register "$(disk 1)" --udmabuf 1M
	for dev in "$DEV" "${DEV}p1"; do
		"$CTL" -j list "$dev" | jq -e "length == 1 and .[0].id == $id and
			.[0].disk == \"${DEV##*/}\""
	done
	[ "$("$CTL" list "$DEV" | grep -c "^ *$id  *${DEV##*/} ")" -eq 1 ]
	[ "$("$CTL" list "$DEV" | wc -l)" -eq 2 ]
	"$CTL" -j list "$(disk 2)" | jq -e 'length == 0'
}

@test "map and unmap do what they say, and I/O maps by itself" {
	id=$("$CTL" -j register "$DEV" --udmabuf 1M --no-map | jq .id)
	"$CTL" -j show "$id" | jq -e '.state == "unmapped" and .generation == 0'
	"$CTL" -j map "$id" | jq -e '.state == "live" and .generation == 1'
	"$CTL" -j map "$id" | jq -e '.state == "live" and .generation == 1'
	"$CTL" -j unmap "$id" | jq -e '.state == "unmapped" and .ranges == 0'
	"$CTL" read "$DEV" --id "$id" --length 64K
	"$CTL" -j show "$id" | jq -e '.state == "live" and .generation == 2'
	"$CTL" unmap "$id" | grep -q '^state  *unmapped'
	"$CTL" map "$id" | grep -q '^state  *live'
	fails 1 4711 "blkdmabufctl list" -- map 4711
	fails 1 4711 "blkdmabufctl list" -- unmap 4711
}

@test "huge pages are taken where they are asked for" {
	free() { sed -n 's/^HugePages_Free: *//p' /proc/meminfo; }
	fails 1 vm.nr_hugepages -- register "$DEV" --udmabuf 4M --hugetlb
	fails 1 vm.nr_hugepages -- read "$DEV" --length 1M --to x --hugetlb
	echo 8 > /proc/sys/vm/nr_hugepages
	fails 1 "multiple of 2097152" -- register "$DEV" --udmabuf 1M --hugetlb
	"$CTL" register "$DEV" --udmabuf 4M --hugetlb
	[ "$(free)" -eq 6 ]
}

@test "files go through each kind of memory" {
	echo 16 > /proc/sys/vm/nr_hugepages
	for kind in --hugetlb '--heap system'; do
		head -c 5M /dev/urandom > a
		# shellcheck disable=SC2086
		"$CTL" write "$DEV" --offset 16M --from a $kind
		dd if="$DEV" of=b bs=1M skip=16 count=5 iflag=direct status=none
		cmp a b
		# shellcheck disable=SC2086
		"$CTL" read "$DEV" --offset 16M --length 5M --to c $kind
		cmp a c
	done
}

@test "what goes through pages in shuffled order keeps its own" {
	head -c 4M /dev/urandom > a
	dd if=a of="$DEV" bs=1M seek=16 oflag=direct conv=fsync status=none
	# shellcheck disable=SC2016 # for the other shell
	"$BIN/dmabuf-exec" --shuffled 4M bash -ec \
		'"$CTL" read "$1" --offset 16M --length 4M --fd 9
		"$CTL" write "$1" --offset 48M --length 4M --fd 9' - "$DEV"
	dd if="$DEV" of=b bs=1M skip=48 count=4 iflag=direct status=none
	cmp a b
}

# zeroes BLOCK: no byte of that block of $DEV is set
zeroes() {
	[ "$(dd if="$DEV" bs=512 skip="$1" count=1 iflag=direct status=none |
		tr -d '\0' | wc -c)" -eq 0 ]
}

# What is shifted between the two steps shows that neither ignores the offset.
@test "a registered dma-buf holds what was read into it, where it was asked for" {
	id=$("$CTL" -j register "$DEV" --udmabuf 8M | jq .id)
	head -c 3M /dev/urandom > a
	dd if=a of="$DEV" bs=1M seek=16 oflag=direct conv=fsync status=none
	dd if=a of="$DEV" bs=1M seek=48 oflag=direct conv=fsync status=none
	"$CTL" read "$DEV" --id "$id" --offset 16M --buf-offset 1028 --length 3M
	"$CTL" write "$DEV" --id "$id" --offset 48M --buf-offset 5124 --length 3068K
	tail -c +4097 a > want
	dd if="$DEV" of=b bs=4K skip=12288 count=767 iflag=direct status=none
	cmp want b
	# Nothing beside it was touched: the memory was new.
	for at in 516 $((1028 + (3 << 20))); do
		dd if=a of="$DEV" bs=512 seek=2048 count=1 oflag=direct status=none
		"$CTL" write "$DEV" --id "$id" --offset 1M --buf-offset $at --length 512
		zeroes 2048
	done
	"$CTL" -j show "$id" | jq -e '.read_bytes == 3145728 and
		.write_bytes == 3068 * 1024 + 1024 and .errors == 0'
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

@test "copy from a file to a device, each at its offset" {
	head -c 3M /dev/urandom > a
	dd if=a of="$DEV" bs=1M seek=19 oflag=direct conv=fsync status=none
	"$CTL" copy a "$DEV" --src-offset 516K --dst-offset 20M --length 1M
	dd if=a bs=1K skip=516 count=1024 status=none > want
	dd if="$DEV" of=b bs=1M skip=20 count=1 iflag=direct status=none
	cmp want b
	# What was behind it still is.
	dd if="$DEV" of=b bs=1M skip=21 count=1 iflag=direct status=none
	tail -c 1M a | cmp - b
}

@test "copy from a device to a file, which is cut off if it starts at 0" {
	head -c 2M /dev/urandom > a
	head -c 4M /dev/urandom > b
	cp b c
	dd if=a of="$DEV" bs=1M seek=20 oflag=direct conv=fsync status=none
	"$CTL" copy "$DEV" b --src-offset 20M --dst-offset 1M --length 2M
	cmp b <(head -c 1M c; cat a; tail -c 1M c)
	"$CTL" copy "$DEV" b --src-offset 20M --dst-offset 0 --length 2M
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
	fails 1 "within its 1048576" -- read "$DEV" --id "$id" --length 2M
	fails 1 "within its 268435456" -- \
		read "$DEV" --id "$id" --offset 10G --length 4K
	fails 1 "within its 268435456" -- \
		write "$DEV" --offset $((256 * 1024 - 512))K --from a
	fails 1 "within its 1048576" -- \
		read "$DEV" --id "$id" --buf-offset 2M --length 4K
	fails 1 "within its 1048576" -- \
		write "$DEV" --id "$id" --buf-offset 4K --length 1M --offset 64M
	fails 1 "multiple of 512" -- \
		write "$DEV" --offset 64M --length 700 --id "$id"
	fails 1 "multiple of 4" -- \
		write "$DEV" --offset 64M --length 4K --buf-offset 2 --id "$id"
	dd if="$DEV" bs=1M skip=64 count=1 iflag=direct status=none | cmp - a
}

@test "a read that is refused leaves its file alone" {
	echo precious > keep
	fails 1 within -- read "$DEV" --offset 10G --length 4K --to keep
	fails 1 multiple -- read "$DEV" --length 1000 --to keep
	fails 1 integrity -- read "$(disk 4)" --length 4K --to keep
	fails 1 nosuchheap -- read "$DEV" --length 4K --to keep --heap nosuchheap
	[ "$(cat keep)" = precious ]
}

# place DEVICE: what is at 100 MiB of it
place() { dd if="$1" bs=1M skip=100 count=1 iflag=direct status=none; }

@test "a buffer that does not fit is refused before memory is taken" {
	local group=/sys/fs/cgroup/small
	for buffer in "--udmabuf 100G" "--heap system:100G"; do
		# shellcheck disable=SC2086 # two words
		fails 1 "make a buffer of 100 GiB" MemAvailable --force -- \
			register "$DEV" $buffer
	done
	fails 1 MemAvailable -- check "$DEV" --udmabuf 100G
	mkdir $group
	echo +memory > /sys/fs/cgroup/cgroup.subtree_control
	echo 32M > $group/memory.max
	for command in "register $DEV --udmabuf 64M" \
		"read $DEV --to /dev/null --block-size 64M"; do
		run bash -c "echo \$\$ > $group/cgroup.procs
			exec $CTL $command"
		[ "$status" -eq 1 ]
		grep -q "$group/memory.max" <<< "$output"
	done
	rmdir $group
	none_left
	# It is the user's memory.
	"$CTL" -j register "$DEV" --udmabuf 1M --force > json
	"$CTL" unregister "$(jq .id json)"
}

@test "a mounted device is not written to" {
	mkfs.ext4 -q "${DEV}p2"
	mkdir -p /mnt/disk
	mount "${DEV}p2" /mnt/disk
	head -c 1M /dev/urandom > a
	place "${DEV}p2" > before
	for dev in "${DEV}p2" "$DEV"; do
		fails 1 busy mounted --force -- write "$dev" --offset 100M --from a
		fails 1 busy mounted --force -- copy a "$dev" --dst-offset 100M
	done
	# Not even by force: the kernel of the tests permits it to nobody.
	fails 1 busy "nobody write" -- \
		write "${DEV}p2" --offset 100M --from a --force
	place "${DEV}p2" | cmp before -
	# Reading disturbs nobody.
	"$CTL" read "${DEV}p2" --offset 100M --length 1M --to - | cmp before -
}

@test "a device that others hold is written to by force alone" {
	need dmsetup
	dmsetup create --noudevsync --noudevrules held \
		--table "0 8192 linear ${DEV}p2 0"
	head -c 1M /dev/urandom > a
	fails 1 busy held --force -- write "${DEV}p2" --offset 100M --from a
	"$CTL" write "${DEV}p2" --offset 100M --from a --force
	place "${DEV}p2" | cmp a -
	dmsetup remove --noudevsync --noudevrules held
}

@test "progress is shown on a terminal, and nowhere else" {
	# 16 I/Os of 100 ms, one after the other.
	set -- read "$(disk 3)" --to /dev/null --length 1M --block-size 64K --depth 1
	script -qec "$CTL $*" typescript < /dev/null
	tr '\r' '\n' < typescript | grep -o '^ *[0-9]*% \[#*\.*\]' | sort -u > bars
	cat bars
	[ "$(wc -l < bars)" -ge 4 ]
	grep -q '^ *[4-6][0-9]% \[###########' bars
	tr '\r' '\n' < typescript | grep -q 'read: 1048576 bytes'
	"$CTL" "$@" > out 2> err
	[ ! -s err ]
	! grep -q '%' out || false
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

slow_read() {
	"$CTL" read "$(disk 3)" --to /dev/null --block-size 4K --depth 1 \
		3>&- 2> err &
}

@test "a signal stops in order, kill -9 leaves nothing either" {
	local rc
	# enabling job control keeps SIGINT from being ignored in the background
	set -m
	for signal in INT TERM HUP; do
		slow_read
		wait_until 10 one_there
		kill -$signal $!
		rc=0
		wait $! || rc=$?
		cat err
		[ $rc -eq $((128 + $(kill -l $signal))) ]
		grep -q "stopped by SIG$signal after [0-9]* bytes" err
		none_left
	done
	slow_read
	wait_until 10 one_there
	kill -KILL $!
	wait $! || :
	set +m
	wait_until 10 none_left
}

one_there() { [ "$("$CTL" -j list | jq length)" -eq 1 ]; }
