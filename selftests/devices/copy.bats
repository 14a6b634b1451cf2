#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What takes no premapped I/O is refused, by reason; where copying is asked for it
# is done all the same, no byte is wrong in either direction, what is around the
# target stays as it was, and each I/O is counted as copied.
#
# The run leaves copy.json: one row per case and direction.
#
# vm: main

load stack

FS=/sys/fs/bpf

setup() {
	cd "$BATS_TEST_TMPDIR" || return
}

setup_file() {
	setup_memory
	: > "$BATS_FILE_TMPDIR/rows"
}

teardown() {
	unstack
	losetup -D
	rm -rf "${FS:?}"/* /tmp/{loop.img,data,back,read}
}

teardown_file() {
	jq -s . "$BATS_FILE_TMPDIR/rows" > "$OUT/copy.json"
}

# line_copied ON LINE: the row of what dmabuf-io says, and what has to be true
line_copied() {
	local ios bytes
	echo "$2"
	ios=$(field ios "$2") bytes=$(field bytes "$2")
	printf '{"on":"%s","dir":"%s","ios":%s,"bytes":%s,"copied":%s,"mismatches":%s,"bytes_per_s":%s}\n' \
		"$1" "${2%% *}" "$ios" "$bytes" "$(field copied "$2")" \
		"$(field mismatches "$2")" \
		"$(awk "BEGIN { printf \"%d\", $bytes * 1e6 / ($(field io_us "$2") + 1) }")" \
		>> "$BATS_FILE_TMPDIR/rows"
	[ "$(field mismatches "$2")" -eq 0 ]
	[ "$(field errors "$2")" -eq 0 ]
	[ "$(field copied "$2")" -eq "$ios" ]
}

# copies ON FILE REASON [OPTION...]: refused for REASON without the flag; with it
# I/O of all sizes in each direction, also from several threads
copies() {
	local on=$1 file=$2 reason=$3 line
	shift 3
	"$PLAY" <<< "unusable $file $reason"
	while read -r line; do
		line_copied "$on" "$line"
	done < <("$IO" --allow-copy --buffer shuffled --sizes 4K,68K,516K,1M,3M \
		--offsets 0,1,512,4095 "$@" "$file")
	while read -r line; do
		line_copied "$on, 2 threads" "$line"
	done < <("$IO" --allow-copy --sizes 4K,64K --depth 8 --threads 2 \
		--count 100 "$@" "$file")
}

# ---- disks ------------------------------------------------------------------

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
	loop=$(losetup -f --show /tmp/loop.img)
	copies loop "$loop" no-driver
}

@test "zram" {
	need_module zram
	echo 64M > /sys/block/zram0/disksize
	copies zram /dev/zram0 no-driver
	echo 1 > /sys/block/zram0/reset
}

@test "brd" {
	need_module brd
	"$PLAY" <<< "unusable /dev/ram0 no-driver"
	# It has 4 MiB.
	while read -r line; do
		line_copied brd "$line"
	done < <("$IO" --allow-copy --sizes 4K,68K,516K --offsets 0,1,4095 /dev/ram0)
}

@test "a namespace with protection information" {
	copies PI "$(disk 4)" integrity
}

@test "a zoned namespace is read, and written in order" {
	local dev
	dev=$(disk 5)
	"$PLAY" <<< "unusable $dev zoned"
	need blkzone
	blkzone reset -o 0 -l $((4 * 2048)) "$dev"
	head -c 3M /dev/urandom > /tmp/data
	"$CTL" write "$dev" --from /tmp/data --allow-copy --depth 1 --block-size 3M
	dd if="$dev" of=/tmp/back bs=1M count=3 iflag=direct status=none
	cmp /tmp/data /tmp/back
	"$CTL" -j read "$dev" --to /tmp/read --length 3M --allow-copy > json
	cmp /tmp/data /tmp/read
	jq -e '.copied == .ios and .ios > 0' json
}

# ---- stacks -----------------------------------------------------------------

@test "dm-crypt" {
	need_module dm-crypt
	dmsetup create crypt --table "0 $(sec 64M) crypt aes-xts-plain64 \
		$(printf '%0128d' 1) 0 $(disk 1) 0"
	copies dm-crypt /dev/mapper/crypt no-driver
}

@test "raid5, and it loses no member" {
	local n members=()
	need mdadm
	need_module raid456
	for n in 0 1 2; do
		linear "member$n" 40M "$(disk $n)" 4M
		zero "/dev/mapper/member$n" 40
		members+=("/dev/mapper/member$n")
	done
	array 5 64 "${members[@]}"
	copies "md raid5" /dev/md0 no-driver
	members_well
}

# The disk says that it takes it, the layer that was put below it does not.
@test "I/O that a layer refuses on its way" {
	local id
	need_module dm-crypt
	linear lower 8M "$(disk 1)"
	linear upper 8M /dev/mapper/lower
	"$CTL" register /dev/mapper/upper --udmabuf 4M --allow-copy > out
	id=$(sed -n 's/^id  *//p' out)
	moved_premapped "$id"
	reload lower "0 $(sec 8M) crypt aes-xts-plain64 $(printf '%0128d' 1) 0 $(
		disk 1) 0"
	fails 1 "layer below" -- read /dev/mapper/upper --id "$id" --length 1M
	"$CTL" -j read /dev/mapper/upper --id "$id" --length 1M --allow-copy > json
	jq -e '.copied == .ios and .ios > 0' json
	"$CTL" -j show "$id" > json
	jq -e '.copied > 0 and .only_copies == false and .reason == "LAYER"' json
	reload lower "0 $(sec 8M) linear $(disk 1) 0"
	moved_premapped "$id"
	"$CTL" unregister "$id"
}

# moved_premapped ID: what may be copied is not
moved_premapped() {
	"$CTL" -j read /dev/mapper/upper --id "$1" --length 1M --allow-copy > json
	jq -e '.copied == 0 and .ios > 0' json
}

# ---- files ------------------------------------------------------------------

@test "a file on tmpfs" {
	truncate -s 64M /tmp/data
	copies tmpfs /tmp/data file-system
}

@test "a file on btrfs" {
	need mkfs.btrfs
	need_module btrfs
	mkfs.btrfs -q -f -K "$(disk 2)"
	mkdir -p $MNT
	mount -t btrfs "$(disk 2)" $MNT
	copies btrfs "$(file data 64M)" file-system
}

@test "a file that goes through the journal" {
	mkfs.ext4 -q -F -b 4096 "$(disk 2)"
	mkdir -p $MNT
	mount -o data=journal "$(disk 2)" $MNT
	copies "ext4 data=journal" "$(file data 64M)" file
}

@test "an encrypted file" {
	mkfs.ext4 -q -F -b 4096 -O encrypt "$(disk 2)"
	mkdir -p $MNT
	mount "$(disk 2)" $MNT
	mkdir $MNT/secret
	"$SPECIAL" encrypted $MNT/secret
	copies "ext4 encrypted" "$(file secret/data 64M)" file
}

@test "a file with verity is read, and its digests are verified" {
	mkfs.ext4 -q -F -b 4096 -O verity "$(disk 2)"
	mkdir -p $MNT
	mount "$(disk 2)" $MNT
	head -c 3000001 /dev/urandom > /tmp/data
	cp /tmp/data $MNT/data
	"$SPECIAL" verity $MNT/data
	"$PLAY" <<< "unusable $MNT/data file"
	"$CTL" -j read $MNT/data --to /tmp/read --allow-copy > json
	cmp /tmp/data /tmp/read
	jq -e '.copied == .ios and .ios > 0' json
}

@test "files of procfs and sysfs stay refused" {
	for file in /proc/version /sys/kernel/uevent_seqnum; do
		fails 1 "takes no dma-buf I/O" -- \
			read "$file" --to /tmp/none --allow-copy
	done
}

# ---- the tool ---------------------------------------------------------------

@test "a copy from a tmpfs file to a disk and back is told to be one" {
	head -c 5M /dev/urandom > /tmp/data
	"$CTL" copy /tmp/data "$(disk 2)" --allow-copy | tee out
	grep -q "the CPU copied" out
	"$CTL" -j copy "$(disk 2)" /tmp/back --create --length 5M --allow-copy > json
	cmp /tmp/data /tmp/back
	# The disk's half is premapped.
	jq -e '.copied * 2 == .ios and .source_via == "dma-buf"' json
}

@test "list, show and check tell what is copied" {
	need_module brd
	"$CTL" register /dev/ram0 --udmabuf 1M --allow-copy > out
	id=$(sed -n 's/^id  *//p' out)
	grep -q '^copying  *the CPU copies all I/O' out
	"$CTL" read /dev/ram0 --id "$id" --length 64K --allow-copy
	"$CTL" list /dev/ram0 | tee out
	grep -qE "^ *$id +ram0 +copied " out
	"$CTL" -j show "$id" > json
	jq -e '.only_copies and .may_copy and .copied == 1 and
		.copied_bytes == 65536 and .devices == 0 and
		.reason == "NO_DRIVER"' json
	"$CTL" unregister "$id"
	"$CTL" check /dev/ram0 --allow-copy
	run "$CTL" check /dev/ram0
	[ "$status" -eq 1 ]
	grep -q -e '--allow-copy' <<< "$output"
}

@test "peer-to-peer memory can be demanded" {
	fails 1 "system RAM" -- read "$(disk 0)" --to /tmp/none --length 4K \
		--require-p2p
}

watching() { [ "$("$BPFTOOL" link list | grep -c "tp 'blk_dmabuf_")" -eq 2 ]; }

@test "stat counts copies" {
	need_module brd
	"$CTL" -j stat --interval 10 > json 3>&- &
	wait_until 20 watching
	"$CTL" read /dev/ram0 --to /dev/null --length 1M --block-size 64K --allow-copy
	wait $!
	jq -e '[.registrations[].copied] | add == 16' json
}
