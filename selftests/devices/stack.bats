#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Premapped I/O through whatever lies between a channel and its disks: partitions,
# device mapper, md, LVM, multipath, file systems, and these on each other. What
# only passes I/O on costs the IOMMU nothing per I/O and no byte is wrong; what
# looks at data refuses, says why, and nothing has moved. A stack may change under
# I/O that waits in it.
#
# The run leaves stack.json: one row per case and direction.
#
# vm: stack

load stack

# Every case that has a row, with the reason if it is refused.
cases() {
	cat <<-END
		raw namespace
		partition
		two namespaces of one controller
		NVMe multipath
		dm-linear
		dm-linear across two disks
		dm-striped
		dm-multipath
		partition on dm-linear
		LVM linear
		LVM striped
		md linear
		md raid0
		partition on md raid0
		ext4 on raw
		ext4 on dm-striped
		ext4 on md raid0
		ext4 hole
		ext4 unwritten extent
		ext4 end of file
		XFS on raw
		XFS realtime
		XFS hole
		XFS unwritten extent
		XFS end of file
		XFS reflinked file
		one buffer on several
		dm-crypt: no-driver
		dm-integrity: no-driver
		dm-verity: no-driver
		dm-thin: no-driver
		dm-snapshot: no-driver
		dm-snapshot origin: no-driver
		request-based multipath: no-driver
		md raid1: no-driver
		md raid10: no-driver
		md raid5: no-driver
		null_blk: no-driver
		loop: no-driver
		zram: no-driver
		brd: no-driver
		file on btrfs: file-system
		file on f2fs: file-system
		file on overlayfs: file-system
		file on tmpfs: file-system
		file on 9p: file-system
		file on fuse: file-system
		ext4 data=journal: file
		ext4 encrypted: file
		ext4 verity: file
	END
	[ ! -e /dev/pmem0 ] || echo "ext4 dax: file"
}

setup_file() {
	setup_memory
	: > "$BATS_FILE_TMPDIR/rows"
	# No write-back of its own while IOMMU calls are counted.
	echo 0 > /proc/sys/vm/dirty_writeback_centisecs
	trace_on iommu/map iommu/unmap
	export TRACE GATE D0 D1 D3
	D0=$(disk 0) D1=$(disk 1) D3=$(disk 3)
}

teardown() {
	local controllers
	unstack
	# What a test took off the bus comes back for the next one.
	controllers=(/sys/class/nvme/nvme*)
	[ ${#controllers[@]} -eq 7 ] || bring_back
}

teardown_file() {
	trace_off
	jq -s . "$BATS_FILE_TMPDIR/rows" > "$OUT/stack.json"
}

# ---- disks ------------------------------------------------------------------

# Or a count of 0 would be none.
@test "what is counted is there to be counted" {
	line=$("$IO" --direction read --buffer pages --sizes 4K,1M --warm-up 4 \
		--count 8 --gate "$GATE" "$D0")
	[ "$(trace_count map)" -ge 8 ]
	[ "$(trace_count unmap)" -ge 8 ]
}

@test "a script that is not true fails" {
	false_line "is 0 64K 2" "bytes wrong"
	false_line "read 0 64K 2" "target: .* bytes wrong from 0"
	false_line "read 0 64K 1 EIO" "result is 65536, not EIO"
	false_line "refused layer 1" "0 refused for layer"
	false_line "keep $D0
plain 0 4K 2
kept" "not what was kept"
}

# false_line LINE MESSAGE
false_line() {
	run "$PLAY" "$D0" <<< "plain 0 64K 1
$1"
	echo "$output"
	[ "$status" -eq 1 ]
	grep -q "$2" <<< "$output"
}

@test "a namespace" {
	passes "raw namespace" "$D0"
}

@test "a partition" {
	printf 'label: gpt\n,64M\n,\n' | sfdisk -q "$D0"
	wait_until 10 test -b "${D0}p2"
	passes partition "${D0}p2"
	unpartition "$D0"
}

@test "two namespaces of one controller share one attachment" {
	plays "two namespaces of one controller" "$D0" "$(disk 0 2)" \
		<<-END
		plain 0 1M 1
		read 0 64K 1
		attached 1
		on 1
		plain 0 1M 2
		measure				# mapped for the other one
		read 0 512K 2
		write 64K 256K 3
		on 0
		read 0 512K 1
		write 64K 256K 4
		is 320K 256K 1
		attached 1
	END
}

# ---- device mapper ----------------------------------------------------------

@test "dm-linear" {
	linear piece 64M "$D0" 1M
	passes dm-linear /dev/mapper/piece
}

@test "dm-linear: I/O that crosses from one disk to the next" {
	dmsetup create across <<-END
		0 $(sec 8M) linear $D0 $(sec 1M)
		$(sec 8M) $(sec 56M) linear $D1 0
	END
	# From 7.5 MiB on: the larger ones lie on both.
	passes "dm-linear across two disks" /dev/mapper/across --position 7680K
}

@test "dm-striped, in chunks that cut most I/O" {
	striped stripes 64M 8K "$D0" "$D1"
	passes dm-striped /dev/mapper/stripes
}

# All of them find no mapping, in more pieces than the kernel ends with EAGAIN.
@test "dm-striped: the first I/O is one in thousands of pieces" {
	striped stripes 64M 4K "$D0" "$D1"
	"$PLAY" /dev/mapper/stripes <<-END
		plain 0 8M 1
		read 0 8M 1
		unmap
		write 8M 8M 2
		is 0 8M 1
	END
}

@test "dm-striped and md raid0: writes that are to be on the medium" {
	need mdadm
	need_module raid0
	striped left 64M 8K "$D0" "$D1"
	linear right 64M "$(disk 2)"
	array 0 8 /dev/mapper/left /dev/mapper/right
	"$PLAY" --dsync /dev/md0 <<-END
		plain 0 1M 1
		read 0 1M 1
		write 64K 512K 2
		is 0 64K 1
	END
}

@test "a partition on dm-linear, as kpartx makes it" {
	linear piece 64M "$D0" 1M
	linear piece1 32M /dev/mapper/piece 1M
	passes "partition on dm-linear" /dev/mapper/piece1
}

# What has no mapping at first is not the path's fault.
@test "dm-multipath, by bios, on two paths" {
	need_module dm-multipath dm-round-robin
	multipath
	passes dm-multipath /dev/mapper/multi
	dmsetup status multi
	[ "$(dmsetup status multi | grep -oE '[0-9]+:[0-9]+ A 0' | wc -l)" -eq 2 ]
}

# multi, on two paths to the same piece of a disk
multipath() {
	linear left 320M "$D1"
	linear right 320M "$D1"
	dmsetup create multi --table "0 $(sec 320M) multipath 2 queue_mode bio 0 1 1 \
		round-robin 0 2 1 /dev/mapper/left 1 /dev/mapper/right 1"
}

@test "dm-multipath: paths fail and come back under load" {
	need_module dm-multipath dm-round-robin
	multipath
	load_start /dev/mapper/multi 3 --offsets $OFFSETS
	for path in left right; do
		dmsetup message multi 0 "fail_path /dev/mapper/$path"
		sleep 0.5
		dmsetup message multi 0 "reinstate_path /dev/mapper/$path"
	done
	load_end
}

# It starts again at its beginning, although its first half has been written.
@test "dm-multipath: what a path fails is done on the other one, all of it" {
	need_module dm-multipath dm-round-robin
	dmsetup create left <<-END
		0 $(sec 4M) linear $D0 0
		$(sec 4M) $(sec 4M) linear $(disk 2) 0
	END
	linear right 8M "$D1"
	dmsetup create multi --table "0 $(sec 8M) multipath 2 queue_mode bio 0 2 1 \
		round-robin 0 1 1 /dev/mapper/left 1 \
		round-robin 0 1 1 /dev/mapper/right 1"
	"$PLAY" /dev/mapper/multi "$D1" <<-END
		plain 0 8M 1
		read 3M 2M 1			# mapped for the left path
		on 1
		plain 0 8M 2
		on 0
		! dmsetup suspend left
		start write 3M 2M 3
		waiting
		! echo 1 > "$(pci "$(disk 2)")/remove"
		! dmsetup resume left
		finish
		read 2M 1M 2
		on 1
		is 0 3M 2
		is 3M 2M 3
		is 5M 3M 2
	END
	dmsetup status multi
	dmsetup status multi | grep -qE ' F 1 .* A 0'
}

# Without one it waits as in a suspended device.
@test "dm-multipath: a buffer is unmapped at once while I/O waits for a path" {
	need_module dm-multipath dm-round-robin
	multipath
	dmsetup message multi 0 queue_if_no_path
	"$PLAY" /dev/mapper/multi <<-END
		plain 0 4M 1
		read 0 64K 1
		! dmsetup message multi 0 "fail_path /dev/mapper/left"
		! dmsetup message multi 0 "fail_path /dev/mapper/right"
		start write 0 64K 2 8
		start read 2M 64K 1 8
		waiting
		unmap
		waiting
		! dmsetup message multi 0 "reinstate_path /dev/mapper/right"
		finish
		is 512K 3584K 1
	END
}

# ---- LVM --------------------------------------------------------------------

@test "LVM: a linear volume and a striped one" {
	need vgcreate
	volume_group "$D0" "$D1"
	volume plain -L 64M
	passes "LVM linear" /dev/vg/plain
	volume stripes -L 64M -i 2 -I 8K
	passes "LVM striped" /dev/vg/stripes
}

# ---- md ---------------------------------------------------------------------

@test "md linear" {
	need mdadm
	need_module linear
	linear left 8M "$D0"
	array linear '' /dev/mapper/left "$D1"
	# From half a MiB before the second member on.
	read -r size < /sys/block/md0/md/dev-dm-0/size
	passes "md linear" /dev/md0 --position $((size - 512))K
}

@test "md raid0, in chunks that cut most I/O" {
	need mdadm
	need_module raid0
	array 0 8 "$D0" "$D1"
	passes "md raid0" /dev/md0
}

@test "a partition on md raid0" {
	need mdadm
	need_module raid0
	array 0 64 "$D0" "$D1"
	printf 'label: gpt\n,64M\n,\n' | sfdisk -q /dev/md0
	wait_until 10 test -b /dev/md0p2
	passes "partition on md raid0" /dev/md0p2
}

# ---- NVMe multipath ---------------------------------------------------------

@test "NVMe multipath, on two controllers" {
	echo round-robin > "$(twins)/iopolicy"
	passes "NVMe multipath" "$(twin_head)"
	"$PLAY" "$(twin_head)" <<-END
		plain 0 1M 1
		read 0 64K 1
		read 64K 64K 1
		attached 2
	END
}

@test "NVMe multipath: an attachment ends with its controller" {
	echo round-robin > "$(twins)/iopolicy"
	controller=$(twin_controllers | head -n 1)
	"$PLAY" "$(twin_head)" <<-END
		plain 0 1M 1
		read 0 64K 1
		read 0 64K 1
		attached 2
		! echo 1 > $(readlink -f "$controller/device")/remove
		attached 1
		read 0 64K 1
		write 64K 64K 2
		attached 1
	END
}

@test "NVMe multipath: a controller goes away and comes back under load" {
	echo round-robin > "$(twins)/iopolicy"
	load_start "$(twin_head)" 4
	controller=$(twin_controllers | head -n 1)
	timeout 60 tee "$(readlink -f "$controller/device")/remove" <<< 1
	[ "$(twin_controllers | wc -l)" -eq 1 ]
	sleep 0.5
	bring_back
	load_end
}

# ---- file systems -----------------------------------------------------------

@test "a file on ext4" {
	ext4 "$D0"
	passes "ext4 on raw" "$(file data 32M)"
}

@test "a file on ext4 on dm-striped" {
	striped stripes 64M 16K "$D0" "$D1"
	ext4 /dev/mapper/stripes
	passes "ext4 on dm-striped" "$(file data 32M)"
}

@test "a file on ext4 on md raid0" {
	need mdadm
	need_module raid0
	array 0 16 "$D0" "$D1"
	ext4 /dev/md0
	passes "ext4 on md raid0" "$(file data 32M)"
}

@test "a file on XFS" {
	need mkfs.xfs
	xfs "$D0"
	passes "XFS on raw" "$(file data 32M)"
}

@test "a file on the realtime device of XFS" {
	need mkfs.xfs
	xfs "$D0" "rtdev=$D1"
	"$SPECIAL" realtime $MNT/data
	passes "XFS realtime" "$(file data 32M)"
	# The disk that it was registered on, and the one that has the data.
	"$PLAY" $MNT/data <<-END
		plain 0 64K 1
		attached 1
		read 0 64K 1
		attached 2
	END
}

# disk4 takes a second for what it does, and keeps nothing of it. The registration
# of something else keeps the buffer attached to it.
@test "XFS: what ends for a file ends on the realtime device, too" {
	need mkfs.xfs
	xfs "$D0" "rtdev=$(disk 4)"
	"$SPECIAL" realtime $MNT/data
	linear piece 64M "$D1"
	"$PLAY" $MNT/data /dev/mapper/piece <<-END
		plain 0 64K 1
		read 0 64K 0
		start read 0 64K 0
		waiting 50
		unmap
		ended
		finish
		read 0 64K 0
		start read 0 64K 0
		waiting 50
		unregister
		ended
		finish
	END
}

# holes ON, unwritten ON, end_of_file ON: in a file system that is mounted

holes() {
	plays "$1 hole" "$(file hole 1M)" <<-END
		plain 0 64K 1
		read 0 64K 1
		measure
		read 256K 128K 0
		write 320K 64K 2
		is 256K 64K 0
		is 384K 64K 0
	END
}

unwritten() {
	fallocate -l 1M $MNT/unwritten
	plays "$1 unwritten extent" $MNT/unwritten <<-END
		plain 0 64K 1
		read 0 64K 1
		measure
		read 256K 128K 0
		write 320K 64K 2
		is 256K 64K 0
		is 384K 64K 0
	END
}

end_of_file() {
	plays "$1 end of file" "$(file data 0)" <<-END
		plain 0 64K 1
		read 0 64K 1
		! truncate -s 41000 $MNT/data; sync $MNT/data
		measure
		read 32K 64K 1 8232
		read 64K 64K 1 0
		size 41000
		write 44K 64K 2
		size 108K
		is 0 40K 1
		is 41472 3584 0
	END
}

@test "ext4: holes and unwritten extents read as zeros, and take writes" {
	ext4 "$D0"
	holes ext4
	unwritten ext4
}

@test "ext4: a read is short at the end of the file, and a write extends it" {
	ext4 "$D0"
	end_of_file ext4
}

@test "XFS: holes and unwritten extents read as zeros, and take writes" {
	need mkfs.xfs
	xfs "$D0"
	holes XFS
	unwritten XFS
}

@test "XFS: a read is short at the end of the file, and a write extends it" {
	need mkfs.xfs
	xfs "$D0"
	end_of_file XFS
}

@test "XFS: a write to a reflinked file leaves the other one alone" {
	need mkfs.xfs
	xfs "$D0"
	dd if=/dev/zero of=$MNT/one bs=1M count=1 oflag=direct status=none
	"$PLAY" $MNT/one <<< "plain 0 1M 1"
	cp --reflink=always $MNT/one $MNT/other
	sync -f $MNT
	plays "XFS reflinked file" $MNT/one $MNT/other <<-END
		read 0 64K 1
		measure
		read 0 512K 1
		write 256K 64K 2
		is 0 256K 1
		is 320K 704K 1
		on 1
		is 0 1M 1
		read 256K 64K 1
	END
}

# ---- one buffer on several --------------------------------------------------

@test "one buffer on a disk, on stripes over two, and on a file on a fourth" {
	striped stripes 64M 8K "$D1" "$(disk 2)"
	ext4 "$D3"
	plays "one buffer on several" "$D0" /dev/mapper/stripes \
		"$(file data 4M)" <<-END
		plain 0 2M 1
		on 1
		plain 0 2M 2
		on 2
		plain 0 2M 3
		attached 2		# what does DMA itself, and the file's disk
		on 0
		start read 0 512K 1 4
		on 1
		start read 0 512K 2 4
		on 2
		start read 0 512K 3 4
		finish
		attached 4
		on 1
		unmap			# for the stack is for all
		unmapped
		on 2
		unmapped
		on 0
		unmapped
		start read 0 512K 1 4
		on 1
		start read 0 512K 2 4
		on 2
		start read 0 512K 3 4
		finish
		measure
		on 0
		read 0 1M 1
		write 0 64K 4
		on 1
		read 0 1M 2
		write 0 64K 5
		on 2
		read 0 1M 3
		write 0 64K 6
		on 0
		is 64K 960K 1
		on 1
		is 64K 960K 2
		on 2
		is 64K 960K 3
	END
}

# ---- what refuses -----------------------------------------------------------

@test "dm-crypt refuses" {
	need_module dm-crypt
	dmsetup create crypt --table "$(crypt "$D1")"
	refuses dm-crypt /dev/mapper/crypt
}

@test "dm-integrity refuses" {
	need integritysetup
	need_module dm-integrity
	linear piece 16M "$D1"
	integritysetup format -q /dev/mapper/piece
	integritysetup open /dev/mapper/piece integrity
	refuses dm-integrity /dev/mapper/integrity
}

@test "dm-verity refuses" {
	need veritysetup
	need_module dm-verity
	linear piece 8M "$D1"
	linear hashes 8M "$(disk 2)"
	veritysetup format /dev/mapper/piece \
		/dev/mapper/hashes > "$BATS_TEST_TMPDIR/verity"
	veritysetup open /dev/mapper/piece verity \
		/dev/mapper/hashes "$(awk '/Root hash/ { print $3 }' \
			"$BATS_TEST_TMPDIR/verity")"
	refuses dm-verity /dev/mapper/verity --readonly
}

@test "dm-thin refuses" {
	need_module dm-thin-pool
	linear meta 4M "$D1"
	zero /dev/mapper/meta 1
	linear data 16M "$(disk 2)"
	dmsetup create pool --table "0 $(sec 16M) thin-pool /dev/mapper/meta \
		/dev/mapper/data 128 0"
	dmsetup message pool 0 create_thin 0
	dmsetup create thin --table "0 $(sec 8M) thin /dev/mapper/pool 0"
	refuses dm-thin /dev/mapper/thin /dev/mapper/data
}

@test "dm-snapshot refuses, and so does its origin" {
	need_module dm-snapshot
	linear piece 8M "$D1"
	linear cow 8M "$(disk 2)"
	zero /dev/mapper/cow 1
	dmsetup create origin --table "0 $(sec 8M) snapshot-origin /dev/mapper/piece"
	dmsetup create snap --table "0 $(sec 8M) snapshot /dev/mapper/piece \
		/dev/mapper/cow N 16"
	refuses dm-snapshot /dev/mapper/snap /dev/mapper/piece
	refuses "dm-snapshot origin" /dev/mapper/origin /dev/mapper/piece
}

@test "multipath by requests refuses" {
	need_module dm-multipath dm-round-robin
	dmsetup create multi --table "0 $(sec 8M) multipath 2 queue_mode mq 0 1 1 \
		round-robin 0 1 1 $D1 1"
	refuses "request-based multipath" /dev/mapper/multi
	dmsetup status multi | grep -q ' A 0'
}

@test "md raid1, raid10 and raid5 refuse, and lose no member" {
	need mdadm
	need_module raid1 raid10 raid456
	redundant 1 0 1
	redundant 10 0 1
	redundant 5 0 1 3
}

# redundant LEVEL DISK...
redundant() {
	local level=$1 n members=() degraded
	shift
	for n; do
		linear member$n 12M "$(disk $n)" 16M
		zero /dev/mapper/member$n 12
		members+=(/dev/mapper/member$n)
	done
	array "$level" '' "${members[@]}"
	refuses "md raid$level" /dev/md0 "${members[@]/%/ 8M}"
	members_well
	read -r degraded < /sys/block/md0/md/degraded
	[ "$degraded" -eq 0 ]
	unstack
}

@test "disks that are memory or files refuse" {
	local config=/sys/kernel/config/nullb/nullb9
	need "${config%/*}"
	need_module zram brd
	mkdir $config
	echo 1 > $config/memory_backed
	echo 8 > $config/size
	echo 1 > $config/power
	refuses null_blk /dev/nullb9
	rmdir $config

	truncate -s 8M /tmp/loop.img
	loop=$(losetup -f --show /tmp/loop.img)
	refuses loop "$loop"
	losetup -d "$loop"

	echo 8M > /sys/block/zram0/disksize
	refuses zram /dev/zram0
	echo 1 > /sys/block/zram0/reset

	refuses brd /dev/ram0
}

@test "targets that delay, drop, count or make up I/O refuse" {
	need_module dm-delay dm-flakey dm-dust dm-unstripe dm-zero dm-log-writes
	linear log 8M "$(disk 2)"
	while read -r target table; do
		echo "$target"
		dmsetup create top --table "0 $(sec 8M) $target $table"
		"$PLAY" <<< "unusable /dev/mapper/top no-driver"
		dmsetup remove top
	done <<-END
		delay $D1 0 10
		flakey $D1 0 60 0
		dust $D1 0 512
		unstriped 1 16 0 $D1 0
		zero
		log-writes $D1 /dev/mapper/log
	END
}

# ---- files that refuse ------------------------------------------------------

@test "files on btrfs and f2fs refuse" {
	need mkfs.btrfs mkfs.f2fs
	need_module btrfs f2fs
	mkdir -p $MNT
	mkfs.btrfs -q -f -K "$D0"
	mount -t btrfs "$D0" $MNT
	refuses_file "file on btrfs" "$(file data 1M)" file-system
	umount $MNT
	mkfs.f2fs -q -f "$D0"
	mount -t f2fs "$D0" $MNT
	refuses_file "file on f2fs" "$(file data 1M)" file-system
}

# On overlayfs also where the file below would take it.
@test "files on tmpfs, 9p and overlayfs refuse" {
	truncate -s 1M /tmp/data "$OUT/data"
	refuses_file "file on tmpfs" /tmp/data file-system
	refuses_file "file on 9p" "$OUT/data" file-system
	rm "$OUT/data"

	ext4 "$D0"
	mkdir $MNT/lower $MNT/upper $MNT/work $MNT/merged
	file lower/data 1M
	mount -t overlay -o "lowerdir=$MNT/lower,upperdir=$MNT/upper,workdir=$MNT/work" \
		overlay $MNT/merged
	refuses_file "file on overlayfs" $MNT/merged/data file-system
}

@test "a file on fuse refuses" {
	need_module fuse
	mkdir -p $MNT
	"$SPECIAL" fuse $MNT 3>&- &
	wait_until 10 test -e $MNT/file
	refuses_file "file on fuse" $MNT/file file-system
	umount $MNT
	wait $!
}

@test "a file on ext4 that goes through the journal refuses" {
	ext4 "$D0"
	umount $MNT
	mount -o data=journal "$D0" $MNT
	refuses_file "ext4 data=journal" "$(file data 1M)" file
}

@test "encrypted files and those with verity refuse" {
	ext4 "$D0" -O encrypt,verity
	mkdir $MNT/secret
	"$SPECIAL" encrypted $MNT/secret
	refuses_file "ext4 encrypted" "$(file secret/data 1M)" file
	file data 1M
	"$SPECIAL" verity $MNT/data
	refuses_file "ext4 verity" $MNT/data file
}

@test "a file on DAX refuses" {
	need /dev/pmem0
	mkfs.ext4 -q -F -b 4096 /dev/pmem0
	mkdir -p $MNT
	mount -o dax=always /dev/pmem0 $MNT
	refuses_file "ext4 dax" "$(file data 1M)" file
}

@test "a file that comes to go through the journal fails I/O, and copies nothing" {
	ext4 "$D0"
	umount $MNT
	mount -o nodelalloc "$D0" $MNT	# or +j means nothing
	"$PLAY" "$(file data 1M)" <<-END
		plain 0 1M 1
		read 0 64K 1
		! chattr +j $MNT/data
		start read 0 64K 1
		start write 64K 64K 2
		finish EOPNOTSUPP
		is 0 1M 1
	END
}

# ---- what changes under I/O -------------------------------------------------

@test "32 I/Os wait in a suspended device, and end right when it is resumed" {
	striped stripes 64M 16K "$D0" "$D1"
	"$PLAY" /dev/mapper/stripes <<-END
		plain 0 4M 1
		read 0 64K 1
		! dmsetup suspend stripes
		start write 0 64K 2 16
		start read 2M 64K 1 16
		waiting
		! dmsetup resume stripes
		finish
		is 1M 3M 1
	END
}

# A drain waits for the hardware, and there is nothing with it.
@test "a buffer is unmapped at once while I/O on it is suspended" {
	linear piece 64M "$D0"
	"$PLAY" /dev/mapper/piece <<-END
		plain 0 4M 1
		read 0 64K 1
		live
		! dmsetup suspend piece
		start write 0 64K 2 16
		start read 2M 64K 1 16
		waiting
		unmap
		unmapped
		waiting
		! dmsetup resume piece
		finish
		live
		is 1M 3M 1
	END
}

@test "a buffer moves at once while I/O on it is suspended" {
	need_module dmabuf_mover
	linear piece 64M "$D0"
	"$PLAY" --buffer mover /dev/mapper/piece <<-END
		plain 0 4M 1
		read 0 64K 1
		! dmsetup suspend piece
		start write 0 64K 2 16
		start read 2M 64K 1 16
		waiting
		move
		move
		! dmsetup resume piece
		finish
		is 1M 3M 1
	END
}

@test "a registration ends at once while I/O on it is suspended" {
	linear piece 64M "$D0"
	"$PLAY" /dev/mapper/piece <<-END
		plain 0 4M 1
		read 0 64K 1
		! dmsetup suspend piece
		start write 0 64K 2 16
		start read 2M 64K 1 16
		waiting
		unregister
		waiting
		! dmsetup resume piece
		finish ENODEV
		is 0 4M 1
	END
}

@test "suspended and resumed again and again under load" {
	striped stripes 320M 16K "$D0" "$D1"
	load_start /dev/mapper/stripes 3 --offsets $OFFSETS
	for _ in 1 2 3 4 5 6; do
		dmsetup suspend stripes
		sleep 0.2
		dmsetup resume stripes
		sleep 0.1
	done
	load_end
}

# What it is attached to is found out when I/O gets there.
@test "a device that comes to lie on other disks while I/O waits in it" {
	linear piece 8M "$D0"
	"$PLAY" /dev/mapper/piece "$D0" <<-END
		plain 0 4M 1
		read 0 64K 1
		! dmsetup suspend piece
		start write 0 64K 2 16
		waiting
		! reload piece "0 $(sec 8M) striped 2 16 $D1 0 $D3 0"
		finish
		is 0 1M 2
		attached 3
		on 1
		is 0 4M 1
	END
}

@test "a device that becomes dm-crypt while I/O waits in it" {
	need_module dm-crypt
	linear piece 8M "$D0"
	# Beside it, so that there is something to race with.
	"$IO" --sizes 4K,64K --depth 8 --seconds 60 --direction write \
		--position 64M "$D0" > "$BATS_TEST_TMPDIR/load" 3>&- &
	wait_until 60 grep -q running "$BATS_TEST_TMPDIR/load"
	"$PLAY" /dev/mapper/piece "$D0" <<-END
		plain 0 4M 1
		read 0 64K 1
		start write 0 64K 2 16
		start read 2M 64K 1 16
		! dmsetup suspend piece; dmsetup resume piece
		finish
		! dmsetup suspend piece
		start write 2M 64K 3 16
		start read 0 64K 3 16
		waiting
		! reload piece "$(crypt "$D0")"
		finish EOPNOTSUPP
		refused no-driver 32
		on 1
		is 0 1M 2
		is 1M 3M 1
	END
	kill $!
	wait $!
}

# Held back there, it has passed the check of the old table's limits.
@test "a device that becomes dm-crypt while io.max holds back I/O to it" {
	need_module dm-crypt
	linear piece 8M "$D0"
	throttled "$PLAY" /dev/mapper/piece "$D0" <<-END
		plain 0 4M 1
		read 0 64K 1
		! hold_back dm-0
		start write 0 64K 2 8
		waiting
		! reload piece "$(crypt "$D0")"
		waiting
		! let_go dm-0
		finish EOPNOTSUPP
		refused layer 8
		on 1
		is 0 4M 1
	END
}

# crypt DEV: a table for 8 MiB of it
crypt() {
	printf '0 %d crypt aes-xts-plain64 %0128d 0 %s 0\n' "$(sec 8M)" 1 "$1"
}

@test "an array that becomes raid10 while io.max holds back I/O to it" {
	need_module raid10
	raid0_becomes raid10
}

@test "an array that becomes raid5 while io.max holds back I/O to it" {
	need_module raid456
	raid0_becomes raid5
}

raid0_becomes() {
	need mdadm
	need_module raid0
	array 0 64 "$D0" "$D1"
	throttled "$PLAY" /dev/md0 <<-END
		plain 0 4M 1
		read 0 256K 1
		! hold_back md0
		start write 0 64K 2 8
		waiting
		! echo $1 > /sys/block/md0/md/level
		waiting
		! let_go md0
		finish EOPNOTSUPP
		refused layer 8
		is 0 4M 1
	END
	read -r level < /sys/block/md0/md/level
	[ "$level" = "$1" ]
	members_well
}

# ---- the table --------------------------------------------------------------

@test "no row is missing" {
	while IFS=: read -r on reason; do
		for dir in read write; do
			echo "$on|$dir|${reason:+refused}|${reason# }"
		done
	done < <(cases) | sed 's/||$/|premapped|/' | sort > "$BATS_TEST_TMPDIR/want"
	jq -r '"\(.on)|\(.dir)|\(.path)|\(.reason // "")"' \
		"$BATS_FILE_TMPDIR/rows" | sort > "$BATS_TEST_TMPDIR/have"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have"
	jq -se 'all(.[]; .path == "refused" or
		(.bytes > 0 and .mismatches == 0 and .maps_per_io == 0))' \
		"$BATS_FILE_TMPDIR/rows"
}
