#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The matrix: which device takes which buffer, in which IOMMU mode and direction.
# Each cell is I/O of which every byte was looked at, premapped (then nothing was
# mapped, unmapped or bounced for it) or copied, or a refusal by reason, or what is
# missing to try it.
#
# The runs leave matrix.json: one row per cell and direction. A run replaces what
# an earlier one of its IOMMU mode found.
#
# vm: when=asked tag=strict disks iommu=strict
# vm: when=asked tag=lazy disks iommu=lazy
# vm: when=asked tag=passthrough disks iommu=passthrough disk=pvscsi disk=megasas disk=lsi
# vm: when=asked tag=off disks iommu=off disk=pvscsi disk=megasas disk=lsi

load matrix

# Whatever has a row; those that are no disks are on some.
devices() {
	cat <<-END
		nvme PRP
		nvme SGL
		ahci
		megasas
		mptsas
		lsi53c895a
		pvscsi
		virtio-blk
		virtio-blk iommu_platform
		virtio-scsi
		virtio-scsi iommu_platform
		usb-uas
		nvme-tcp
		nbd
		null_blk
		loop
		brd
		zram
		dm-linear
		dm-striped
		raid0
		dm-crypt
		raid5
		ext4
		XFS
	END
}

setup_file() {
	setup_memory
	: > "$BATS_FILE_TMPDIR/rows"
	echo 0 > /proc/sys/vm/dirty_writeback_centisecs
	trace_on "${EVENTS[@]}"
	export TRACE GATE IOMMU
	IOMMU=$(iommu_mode)
	bar_up
	modules_load > /dev/null 2>&1
	disks_settle
}

teardown() {
	if [ -n "${BATS_TEST_SKIPPED:-}" ]; then
		no_row "$BATS_TEST_DESCRIPTION" "$BATS_TEST_SKIPPED"
	fi
	unstack
	tcp_down
	losetup -D
}

teardown_file() {
	local before=$TOP/build/matrix.json
	trace_off
	[ -s "$before" ] || before=/dev/null
	jq -s . "$BATS_FILE_TMPDIR/rows" > "$OUT/rows"
	jq -s --arg iommu "$IOMMU" \
		'.[1:] as $old | [($old[][] | select(.iommu != $iommu)), .[0][]]' \
		"$OUT/rows" "$before" > "$OUT/matrix.json"
	rm "$OUT/rows"
}

# ---- disks ------------------------------------------------------------------

# Or a count of 0 would be none.
counts_ordinary_io() {
	trace_clear
	run_io "$1" --buffer pages "${TRIES[@]}" --offsets "$OFFSETS" \
		--gate "$GATE"
	data_maps
	[ "${MAPS[read]}" -ge 12 ]
	[ "${MAPS[write]}" -ge 12 ]
}

@test "nvme PRP" {
	counts_ordinary_io "$(disk 0)"
	echo 0 > /sys/module/nvme/parameters/sgl_threshold
	takes "nvme PRP" "$(disk 0)"
}

@test "nvme SGL" {
	echo 512 > /sys/module/nvme/parameters/sgl_threshold
	takes "nvme SGL" "$(disk 0)"
}

@test "ahci" {
	need_disk ahci
	counts_ordinary_io "$DISK"
	takes ahci "$DISK"
}

@test "megasas" {
	! iommu_translates || skip "a megasas in QEMU that works behind a translating IOMMU"
	need_disk megasas
	takes megasas "$DISK"
}

@test "mptsas" {
	need_disk mptsas
	takes mptsas "$DISK"
}

@test "lsi53c895a" {
	# It fetches its programs from its own BAR, and the IOMMU stops that.
	! iommu_translates || skip "an lsi53c895a in QEMU that works behind a translating IOMMU"
	need_disk lsi
	takes lsi53c895a "$DISK"
}

@test "pvscsi" {
	! iommu_translates || skip "an IOMMU in QEMU's pvscsi"
	need_disk pvscsi
	# shellcheck disable=SC2034 # for data_maps
	OWN=4096
	takes pvscsi "$DISK"
}

# Without iommu_platform they take physical addresses, which an IOMMU, also one
# that translates nothing, has none of.
plain_virtio() {
	need_disk "$1"
	if [ "$IOMMU" = off ]; then
		takes "$1" "$DISK"
	else
		copies "$1" "$DISK" no-driver
	fi
}

@test "virtio-blk" { plain_virtio virtio-blk; }
@test "virtio-scsi" { plain_virtio virtio-scsi; }

@test "virtio-blk iommu_platform" {
	need_disk virtio-blk-iommu
	counts_ordinary_io "$DISK"
	takes "virtio-blk iommu_platform" "$DISK"
}

@test "virtio-scsi iommu_platform" {
	need_disk virtio-scsi-iommu
	takes "virtio-scsi iommu_platform" "$DISK"
}

@test "usb-uas" {
	need_disk uas
	copies usb-uas "$DISK" no-driver
}

@test "nvme-tcp" {
	need_module nvme-tcp nvmet-tcp
	truncate -s 64M /tmp/tcp.img
	tcp_up /tmp/tcp.img
	copies nvme-tcp "$(tcp_disk)" no-driver
}

@test "nbd" {
	need qemu-nbd
	need_module nbd
	truncate -s 64M /tmp/nbd.img
	qemu-nbd --fork --format=raw --connect=/dev/nbd0 /tmp/nbd.img 3>&-
	wait_until 10 grep -qv '^0$' /sys/block/nbd0/size
	copies nbd /dev/nbd0 no-driver
	qemu-nbd --disconnect /dev/nbd0
}

@test "null_blk" {
	local config=/sys/kernel/config/nullb/nullb9
	need "${config%/*}"
	mkdir $config
	echo 1 > $config/memory_backed
	echo 64 > $config/size
	echo 1 > $config/power
	copies null_blk /dev/nullb9 no-driver
	rmdir $config
}

@test "loop" {
	truncate -s 64M /tmp/loop.img
	copies loop "$(losetup -f --show /tmp/loop.img)" no-driver
}

# need_module does not know parameters.
@test "brd" {
	[ -d /sys/module/brd ] || modprobe -C /dev/null -q -d "$MODULES" brd \
		rd_nr=1 rd_size=65536 || :
	need_module brd
	copies brd /dev/ram0 no-driver
}

@test "zram" {
	need_module zram
	echo 64M > /sys/block/zram0/disksize
	copies zram /dev/zram0 no-driver
	echo 1 > /sys/block/zram0/reset
}

# ---- stacks, on disks of different drivers ----------------------------------

@test "dm-linear" {
	need_disk ahci
	linear piece 64M "$DISK" 1M
	takes dm-linear /dev/mapper/piece
}

@test "dm-striped" {
	need_disk mptsas
	striped stripes 64M 64K "$(disk 1)" "$DISK"
	takes dm-striped /dev/mapper/stripes
}

@test "raid0" {
	need mdadm
	need_module raid0
	need_disk ahci
	linear left 64M "$DISK"
	need_disk virtio-blk-iommu
	linear right 64M "$DISK"
	array 0 64 /dev/mapper/left /dev/mapper/right
	takes raid0 /dev/md0
}

@test "dm-crypt" {
	need_module dm-crypt
	dmsetup create crypt --table "0 $(sec 64M) crypt aes-xts-plain64 \
		$(printf '%0128d' 1) 0 $(disk 1) 0"
	copies dm-crypt /dev/mapper/crypt no-driver
}

@test "raid5" {
	local n members=()
	need mdadm
	need_module raid456
	for n in 0 1 2; do
		linear "member$n" 40M "$(disk $n)" 4M
		zero "/dev/mapper/member$n" 40
		members+=("/dev/mapper/member$n")
	done
	array 5 64 "${members[@]}"
	copies raid5 /dev/md0 no-driver
	members_well
}

# ---- files ------------------------------------------------------------------

@test "ext4" {
	need_disk mptsas
	ext4 "$DISK"
	takes ext4 "$(file data 32M)"
}

@test "XFS" {
	need mkfs.xfs
	need_disk ahci
	xfs "$DISK"
	takes XFS "$(file data 32M)"
}

# ---- all of it --------------------------------------------------------------

@test "no cell is empty, and none has failed" {
	local device buffer dir
	devices | while read -r device; do
		for buffer in "${BUFFERS[@]}"; do
			for dir in read write; do
				printf '%s, %s, %s\n' "$device" "$buffer" $dir
			done
		done
	done | sort > "$BATS_TEST_TMPDIR/want"
	jq -r 'select(.path != "failed") | "\(.device), \(.buffer), \(.dir)"' \
		"$BATS_FILE_TMPDIR/rows" | sort > "$BATS_TEST_TMPDIR/have"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have"
	jq -es 'all(.path == "premapped" or .path == "copied" or .reason != null)
		and all(.path != "premapped" or .maps_per_io == 0)
		and all(.mismatches == 0)' "$BATS_FILE_TMPDIR/rows"
}
