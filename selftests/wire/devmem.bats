#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# From one disk by wire to another one, in each way in which a NIC puts packets into
# memory, with each engine, on disks that take lists of addresses (SGL) or of pages
# only (PRP), from and to file systems: what arrives is what was there, the CPU
# touches nothing, and nothing is mapped for it. A transfer by plain sockets shows
# that the counters move.
#
# Disks are looked at from the host's side: their images are files in $OUT.
#
# The runs leave devmem.json: one row per transfer. A run replaces what an earlier
# one of its IOMMU mode found.
#
# disk0 to disk1: whole disks; disk2 and disk3: for file systems.
#
# vm: when=asked tag=strict timeout=1800 iommu=strict nvme=4 size=512M nvme0.size=256M nvme1.size=256M
# vm: when=asked tag=lazy timeout=1800 iommu=lazy nvme=4 size=512M nvme0.size=256M nvme1.size=256M
# vm: when=asked tag=passthrough timeout=1800 iommu=passthrough nvme=4 size=512M nvme0.size=256M nvme1.size=256M

load ../dmabuf
load wire

ALL=$((256 << 20))
SOME=$((24 << 20))

# What maps, and what of the CPU would touch payload or a page of the buffer.
# An NVMe disk maps no scatterlists.
MAPS=(iommu/map iommu/unmap dma/dma_map_phys dma/dma_unmap_phys
	swiotlb/swiotlb_bounced)
TOUCHES=(skb_copy_datagram_iter skb_copy_bits begin_cpu_udmabuf
	udmabuf_vm_fault dma_buf_vmap)

setup_file() {
	local name
	: > "$BATS_FILE_TMPDIR/rows"
	for name in "${TOUCHES[@]}"; do
		case $name in
		# Notifications of what was sent are messages without a byte.
		skb_copy_*) echo "p:touch/$name $name len=%cx:s32" ;;
		*) echo "p:touch/$name $name" ;;
		esac
	done > /sys/kernel/tracing/kprobe_events
	trace_on "${MAPS[@]}" touch
	for name in "$TRACE"/events/touch/skb_copy_*/filter; do
		echo 'len > 0' > "$name"
	done
	# Not what memnic does with headers. A glob that begins with a digit is none.
	for name in "$TRACE"/events/dma/*/filter; do
		echo 'device ~ "?000:*"' > "$name"
	done
	export TRACE GATE IOMMU
	IOMMU=$(iommu_mode)
	# On the host: the guest has not looked at the disk yet.
	head -c $ALL /dev/urandom |
		dd of="$OUT/disk0.img" bs=1M conv=notrunc iflag=fullblock status=none
}

teardown_file() {
	local before=$TOP/build/devmem.json
	trace_off
	: > /sys/kernel/tracing/kprobe_events
	[ -s "$before" ] || before=/dev/null
	jq -s . "$BATS_FILE_TMPDIR/rows" > "$OUT/rows"
	jq -s --arg iommu "$IOMMU" \
		'.[1:] as $old | [($old[][] | select(.iommu != $iommu)), .[0][]]' \
		"$OUT/rows" "$before" > "$OUT/devmem.json"
	rm "$OUT/rows"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	need ip nsenter
	need_module memnic
	setup_wire
	nic buffer 4096
	nic packed 0
	nic shift 0
	nic drop_nth 0
	nic starve_nth 0
	disks sgl
}

teardown() {
	echo 0 > "$GATE"
	teardown_wire
	for dir in /mnt/from /mnt/to; do
		! mountpoint -q $dir || umount $dir
	done
}

# nic KNOB VALUE
nic() { echo "$2" > "/sys/module/memnic/parameters/$1"; }

# pattern NAME: how packets lie in the buffer
pattern() {
	case $1 in
	blocks) mtu 4148 ;;
	packets) mtu 1500 ;;
	2k) mtu 1500; nic buffer 2048 ;;
	packed) mtu 1500; nic packed 1 ;;
	odd) mtu 1500; nic packed 1; nic shift 3 ;;
	esac
}

# disks sgl|prp: how the disk is told where memory is
disks() {
	local threshold=512
	[ "$1" = sgl ] || threshold=0
	echo $threshold > /sys/module/nvme/parameters/sgl_threshold
}

retransmits() {
	at sender cat /proc/net/snmp |
		awk '/^Tcp: [0-9]/ { print $13 }'
}

# written DISK: bytes, since it is there
written() {
	local stat
	read -ra stat < "/sys/block/${1##*/}/stat"
	echo $((stat[6] * 512))
}

written_more() { [ "$(written "$1")" -ge "$2" ]; }

# What is mapped for I/O by the disks. What memnic maps are headers. What is mapped by
# the IOMMU and not unmapped are pages of the driver's pools, and what is larger than
# any command are buffers, at the end.
disk_maps() {
	awk '/ swiotlb_bounced: / || / dma_(un)?map_phys: / { n++ }
		/ unmap: IOMMU/ && match($0, / size=[0-9]+/) {
			if (substr($0, RSTART + 6, RLENGTH - 6) + 0 <= 1048576)
				n++
		}
		END { print n + 0 }' "$TRACE/trace"
}

touches() {
	local names
	names=$(IFS="|"; echo "${TOUCHES[*]}")
	grep -cE " ($names): " "$TRACE/trace" || :
}

# watch DISK BYTES: the gate is open from the first MiB to the last four, when both
# ends have what they need; not in the background of bats' own jobs
watch() {
	local base
	base=$(written "$1")
	trace_clear
	(
		wait_until 600 written_more "$1" $((base + (1 << 20)))
		echo 1 > "$GATE"
		wait_until 600 written_more "$1" $((base + $2 - (4 << 20)))
		echo 0 > "$GATE"
	) 3>&- &
	WATCHER=$!
}

watched() {
	wait "$WATCHER"
	trace_whole
	DISK_MAPS=$(disk_maps)
	CPU=$(touches)
	echo "# $DISK_MAPS maps, $CPU touches" >&2
	[ "$DISK_MAPS $CPU" = "0 0" ] || cut -c1-160 "$TRACE/trace" | tail -n 30 >&2
}

# What an earlier program had is unmapped when it has ended, by a worker. The NIC may
# have it longer: packets that were read wait for others to be freed with.
BUFFERS=/sys/kernel/debug/dma_buf/bufinfo
unmapped() { ! grep -q '^[[:space:]]0000:' $BUFFERS; }

# transfer ENGINE FROM TO DISK BYTES [ARG...]: both ends say that it went well, and
# how is in r.json and s.json
transfer() {
	local engine=$1 from=$2 to=$3 disk=$4 bytes=$5 before
	shift 5
	wait_until 60 unmapped || { cat $BUFFERS; false; }
	before=$(retransmits)
	watch "$disk" "$bytes"
	receive "$to" --engine "$engine" --queue $QUEUE "$@"
	send "$from" --length "$bytes" || { cat s.json s.err r.json; false; }
	ends "$RECEIVER" 0
	watched
	RETRANSMITS=$(($(retransmits) - before))
	jq -e ".bytes == $bytes" r.json
	jq -e ".bytes == $bytes and .copied_bytes == 0" s.json
}

# row ENGINE PATTERN DISK BYTES MISMATCHES
row() {
	printf '{"engine":"%s","pattern":"%s","disk":"%s","iommu":"%s","bytes":%s,"copied_bytes":%s,"iommu_maps":%s,"cpu_touches":%s,"mismatches":%s,"retransmits":%s}\n' \
		"$1" "$2" "$3" "$IOMMU" "$4" "$(jq .copied_bytes r.json)" \
		"$DISK_MAPS" "$CPU" "$5" "$RETRANSMITS" >> "$BATS_FILE_TMPDIR/rows"
	tail -n 1 "$BATS_FILE_TMPDIR/rows"
}

# differ FILE FILE BYTES: how many bytes do
differ() { cmp -l -n "$3" "$1" "$2" | wc -l; }

# moves ENGINE PATTERN DISK: some of disk0 to disk1; the host finds it there
moves() {
	local bad
	disks "$3"
	pattern "$2"
	blkdiscard -z -l $SOME "$(disk 1)"
	transfer "$1" "$(disk 0)" "$(disk 1)" "$(disk 1)" $SOME
	bad=$(differ "$OUT/disk0.img" "$OUT/disk1.img" $SOME)
	row "$1" "$2" "$3" $SOME "$bad"
	[ "$bad" = 0 ]
	[ "$DISK_MAPS" = 0 ]
}

# ---- the counters -----------------------------------------------------------

@test "plain sockets move what the counters count" {
	need perl
	pattern blocks
	watch "$(disk 1)" $SOME
	at receiver perl -MIO::Socket::INET -e '
		my $s = IO::Socket::INET->new(LocalAddr => "'$TO:$PORT'",
			Listen => 1, ReuseAddr => 1) or die;
		my $c = $s->accept; my $buf;
		print $buf while read($c, $buf, 1 << 20)' |
		dd of="$(disk 1)" bs=1M iflag=fullblock oflag=direct status=none &
	RECEIVER=$!
	wait_until 20 listening
	dd if="$(disk 0)" bs=1M count=24 iflag=direct status=none |
		at sender perl -MIO::Socket::INET -e '
			my $c = IO::Socket::INET->new("'$TO:$PORT'") or die;
			my $buf; print $c $buf while read(STDIN, $buf, 1 << 20)'
	wait $RECEIVER
	RETRANSMITS=0
	watched
	[ "$(differ "$OUT/disk0.img" "$OUT/disk1.img" $SOME)" = 0 ]
	[ "$CPU" -gt 0 ]
	[ "$DISK_MAPS" -gt 100 ]
}

# ---- whole disks ------------------------------------------------------------

whole() {
	local bad
	pattern blocks
	blkdiscard -z "$(disk 1)"
	transfer "$1" "$(disk 0)" "$(disk 1)" "$(disk 1)" $ALL
	bad=$(differ "$OUT/disk0.img" "$OUT/disk1.img" $ALL)
	row "$1" blocks sgl $ALL "$bad"
	[ "$bad" = 0 ]
	[ "$DISK_MAPS $CPU" = "0 0" ]
	jq -e '.copied_bytes == 0 and .bounced == 0' r.json
}

@test "devmem: 256 MiB arrive, untouched" { whole devmem; }
@test "zcrx: 256 MiB arrive, untouched" { whole zcrx; }

# ---- patterns and disks -----------------------------------------------------

# What whole words of a disk that takes them need no copy of; a last part of a
# packet may have any length.
hardly_copied() { jq -e ".copied_bytes < $SOME / 100" r.json; }

for_both() {
	local engine
	for engine in devmem zcrx; do
		moves $engine "$1" "$2"
		"${@:3}"
	done
}

@test "packets of 1448 bytes, SGL" { for_both packets sgl hardly_copied; }
@test "packets of 1448 bytes, PRP" { for_both packets prp; }
@test "buffers of 2 KiB, SGL" { for_both 2k sgl hardly_copied; }
@test "buffers of 2 KiB, PRP" { for_both 2k prp; }
@test "packets that share a page, SGL" { for_both packed sgl hardly_copied; }
@test "packets that share a page, PRP" { for_both packed prp; }
@test "packets at odd addresses, SGL" { for_both odd sgl; }
@test "packets at odd addresses, PRP" { for_both odd prp; }

untouched() { [ "$CPU" = 0 ] && jq -e '.copied_bytes == 0' r.json; }

@test "whole blocks, PRP" { for_both blocks prp untouched; }

# ---- file systems -----------------------------------------------------------

# new TYPE DISK: a file system that is not still being made when it is used
new() {
	case $1 in
	ext4) mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$2" ;;
	*) "mkfs.$1" -q -f "$2" ;;
	esac
}

# files FROM-TYPE TO-TYPE: what they map are logs and the like; 64 MiB of data would
# be mapped 128 times at least
files() {
	local engine bad
	need "mkfs.$1" "mkfs.$2"
	pattern blocks
	mkdir -p /mnt/from /mnt/to
	new "$1" "$(disk 2)"
	new "$2" "$(disk 3)"
	mount "$(disk 2)" /mnt/from
	mount "$(disk 3)" /mnt/to
	dd if="$(disk 0)" of=/mnt/from/file bs=1M count=64 iflag=direct \
		oflag=direct status=none
	for engine in devmem zcrx; do
		transfer $engine /mnt/from/file /mnt/to/file "$(disk 3)" \
			$((64 << 20)) --create
		bad=$(differ /mnt/from/file /mnt/to/file $((64 << 20)))
		row $engine blocks "$1 to $2" $((64 << 20)) "$bad"
		[ "$bad" = 0 ]
		cmp -n $((64 << 20)) /mnt/to/file "$OUT/disk0.img"
		untouched
		[ "$DISK_MAPS" -lt 64 ]
		rm /mnt/to/file
		sync -f /mnt/to
	done
	umount /mnt/from /mnt/to
}

@test "from ext4 to XFS" { files ext4 xfs; }
@test "from XFS to ext4" { files xfs ext4; }

# ---- what goes wrong --------------------------------------------------------

@test "one packet in a hundred is lost" {
	for engine in devmem zcrx; do
		nic drop_nth 100
		moves $engine blocks sgl
		[ "$RETRANSMITS" -gt 0 ]
	done
}

@test "now and then the NIC has no memory" {
	for engine in devmem zcrx; do
		nic starve_nth 500
		moves $engine blocks sgl
	done
}

nic_down_and_up() {
	at receiver ip link set memnic1 down
	at receiver ip link set memnic1 up
}

disk_away_and_back() {
	local dev
	dev=$(readlink -f "$(pci_of 1)")
	echo 1 > "$dev/remove"
	echo 1 > /sys/bus/pci/rescan
	wait_until 60 disk 1
}

# cycles ENGINE COMMAND: 50 times the queue is bound and freed, and each tenth time the
# command is run in between
cycles() {
	local held i
	[ "$IOMMU" = strict ] || skip "one IOMMU mode is enough: iommu=strict is missing here"
	held=$("$CTL" -j list | jq length)
	for ((i = 0; i < 50; i++)); do
		[ $((i % 10)) -ne 7 ] || "$2"
		receive "$(disk 1)" --engine "$1" --queue $QUEUE --udmabuf 4M
		send "$(disk 0)" --length 64K || { cat s.json r.json; false; }
		ends "$RECEIVER" 0 > /dev/null
	done
	[ "$("$CTL" -j list | jq length)" = "$held" ]
}

@test "devmem, 50 times, the NIC down and up" { cycles devmem nic_down_and_up; }
@test "zcrx, 50 times, the NIC down and up" { cycles zcrx nic_down_and_up; }
@test "devmem, 50 times, the disk away and back" { cycles devmem disk_away_and_back; }
@test "zcrx, 50 times, the disk away and back" { cycles zcrx disk_away_and_back; }
