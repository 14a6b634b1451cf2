#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The engine for fio: fio verifies what it moves, in both directions against fio's
# own engines, so that neither side can agree with itself on the wrong bytes.
#
# vm: main

load ../dmabuf

ENGINE=$TOP/build/user/blkdmabuf.so

setup() {
	cd "$BATS_TEST_TMPDIR"
	need fio
	[ -e "$ENGINE" ] || skip "the engine is missing: make fio"
	[ "$(fio --version | cut -d- -f2)" = "$(cat "$TOP/build/fio/version")" ] ||
		skip "an engine for $(fio --version) is missing: make fio"
	setup_memory 64
	DEV=$(disk 0)
}

teardown() {
	rm -rf /sys/fs/bpf/blkdmabuf
	[ ! -e "${DEV:-}" ] || wait_until 10 none_left
}

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

# job OPTIONS...: a job on $DEV; --output keeps what fio says together
job() {
	fio --name=job --filename="$DEV" --direct=1 --size=8M --iodepth=16 \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--output=out "$@" > err 2>&1 ||
		{ cat out err; return 1; }
	! grep -i -e 'verify:' -e error out err || false
}

ours() { job --ioengine="external:$ENGINE" "$@"; }
ordinary() { job --ioengine=io_uring "$@"; }

@test "what it writes, it and others verify" {
	ours --rw=randwrite --bs=4k
	ours --rw=write --bs=64k --do_verify=0
	ordinary --rw=read --bs=64k
}

@test "what others write, it verifies" {
	ordinary --rw=write --bs=128k --do_verify=0
	ours --rw=read --bs=128k
	# A verification that finds nothing wrong has to have looked.
	dd if=/dev/urandom of="$DEV" bs=4K seek=100 count=1 oflag=direct \
		conv=fsync status=none
	run ours --rw=read --bs=128k
	[ "$status" -ne 0 ]
	[[ $output == *verify* ]]
}

@test "each kind of memory, and several buffers" {
	for options in --buffer=udmabuf --buffer=hugetlb --buffer=shuffled \
		"--buffer=heap --heap=system" --buffers=4 \
		"--buffers=3 --buffer=shuffled --bs=12k" "--slot=7" --hint=5; do
		# shellcheck disable=SC2086
		ours --rw=randwrite --bs=16k $options
	done
	none_left
}

@test "I/O in pieces" {
	for spec in "4k 512" "64k 1448" "16k 4096 --buffers=3" "8k 1M"; do
		# shellcheck disable=SC2086
		set -- $spec
		ours --rw=randwrite --bs="$1" --piece="$2" "${@:3}"
		ours --rw=write --do_verify=0 --bs="$1" --piece="$2" "${@:3}"
		ordinary --rw=read --bs="$1"
	done
	run ours --rw=randwrite --bs=64k --piece=32
	[ "$status" -ne 0 ]
	[[ $output == *"larger pieces"* ]]
	run ours --rw=randwrite --bs=64k --piece=4k --any_slot=1
	[ "$status" -ne 0 ]
	[[ $output == *"any_slot=0, or no piece"* ]]
	none_left
}

@test "the example in user/fio runs as it says" {
	(cd "$TOP" && DEV=$DEV fio --output="$BATS_TEST_TMPDIR/out" \
		user/fio/verify.fio) || { cat out; false; }
	! grep 'verify:' out || false
}

@test "a registration that is there is used, and stays" {
	id=$("$CTL" -j register "$DEV" --udmabuf 4M | jq .id)
	ours --rw=randwrite --bs=16k --id="$id" --buf_offset=1M
	"$CTL" -j show "$id" | jq -e '.writes > 0 and .state == "live"'
	run ours --rw=read --bs=16k --id="$id" --buf_offset=4M
	[ "$status" -ne 0 ]
	[[ $output == *"find room"* ]]
	run ours --rw=read --bs=16k --id=4711
	[ "$status" -ne 0 ]
	[[ $output == *"blkdmabufctl list"* ]]
}

@test "the IOMMU has nothing to do" {
	trace_on iommu/map iommu/unmap
	ours --rw=randread --bs=4k --verify=0 --number_ios=2
	trace_clear
	echo 1 > "$GATE"
	ours --rw=randread --bs=4k --verify=0 --size=16M
	echo 0 > "$GATE"
	maps=$(trace_count map)
	trace_off
	# The buffer itself, once; not 4096 I/Os.
	echo "$maps maps"
	[ "$maps" -lt 100 ]
}

@test "files on a file system, with several jobs and fsync" {
	mkfs.ext4 -q "$(disk 2)"
	mount "$(disk 2)" /mnt
	fio --name=job --directory=/mnt --numjobs=3 --size=4M --rw=randwrite \
		--bs=4k --iodepth=8 --fsync=16 --verify=crc32c \
		--ioengine="external:$ENGINE" --output=out > err 2>&1 ||
		{ cat out err; umount /mnt; false; }
	umount /mnt
}

@test "a device that takes no dma-buf I/O is told, with the reason" {
	DEV=$(disk 4)
	run ours --rw=read --bs=4k --verify=0
	[ "$status" -ne 0 ]
	[[ $output == *integrity*"try: "* ]]
}
