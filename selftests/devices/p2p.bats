#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# blkdmabufctl and memory of another device: it is registered and held, the path is
# shown everywhere, --probe looks at each byte and puts back what was there, and
# what could lose data is refused in words.
#
# vm: tag=strict p2p
# vm: tag=lazy p2p iommu=lazy
# vm: tag=passthrough p2p iommu=passthrough
# vm: tag=off p2p iommu=off append=vfio.enable_unsafe_noiommu_mode=1
# vm: tag=switch switch
# vm: tag=switch-lazy switch iommu=lazy
# vm: tag=switch-passthrough switch iommu=passthrough

load ../lib

TRACE=/sys/kernel/tracing/instances/p2p

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	DEV=$(disk 0)
	PEER=$(peer)
}

teardown() {
	if [ -n "${HOLDER:-}" ]; then kill "$HOLDER"; fi
	! mountpoint -q /mnt/disk || umount /mnt/disk
	rm -rf /sys/fs/bpf/blkdmabuf
	[ ! -e $TRACE ] || rmdir $TRACE
}

# peer: the ivshmem device, driven by vfio-pci
peer() {
	local dir
	for dir in /sys/bus/pci/devices/*; do
		[ "$(< "$dir/device")" = 0x1110 ] || continue
		if [ ! -e "$dir/driver" ]; then
			echo vfio-pci > "$dir/driver_override"
			echo "${dir##*/}" > /sys/bus/pci/drivers_probe
		fi
		printf '%s\n' "${dir##*/}"
		return
	done
	skip "an ivshmem device is missing"
}

# expected: the path between disk 0 and the peer
expected() {
	local translated=''
	case $(iommu_mode) in strict | lazy) translated=1 ;; esac
	if ! grep -qx 0x8233 /sys/bus/pci/devices/*/device; then
		echo p2p-host-bridge
	elif [ -n "$translated" ]; then
		echo refused
	else
		echo p2p-switch
	fi
}

works() { [ "$(expected)" != refused ]; }

# hold ARGS: register --vfio in the background; its id is $ID
hold() {
	"$CTL" -j register "$DEV" "$@" > held 3>&- &
	HOLDER=$!
	wait_until 20 jq -e .id held
	ID=$(jq .id held)
}

# let_go SIGNAL: end the holder
let_go() {
	kill "-$1" "$HOLDER"
	wait "$HOLDER" || [ "$1" = KILL ]
	HOLDER=''
}

# held_fd: the dma-buf among the files of the holder
held_fd() {
	find "/proc/$HOLDER/fd" -lname '*dmabuf*' -printf '%f\n' | head -n 1
}

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

# on_host OFFSET LENGTH: bytes of the BAR as the host has them
on_host() {
	dd if="$OUT/bar.img" iflag=skip_bytes,count_bytes skip="$1" count="$2" \
		bs=64K status=none
}

# on_disk OFFSET LENGTH
on_disk() {
	dd if="$DEV" iflag=direct,skip_bytes,count_bytes skip="$1" count="$2" \
		bs=64K status=none
}

fill_disk() {
	dd if=/dev/urandom of="$DEV" oflag=direct,seek_bytes seek="$1" bs=1M \
		count="$2" status=none
}

@test "a BAR is registered, held, read into and written from" {
	works || skip "a path to the peer is missing"
	fill_disk 8M 2
	hold --vfio "$PEER:2"
	"$CTL" read "$DEV" --id "$ID" --offset 8M --length 2M --buf-offset 4M \
		--require-p2p
	cmp <(on_host 4194304 2097152) <(on_disk 8388608 2097152)
	"$CTL" write "$DEV" --id "$ID" --offset 32M --length 2M \
		--buf-offset 4M --require-p2p
	cmp <(on_host 4194304 2097152) <(on_disk 33554432 2097152)
	let_go TERM
	none_left
}

@test "a BAR that nobody holds any more takes its registration along" {
	works || skip "a path to the peer is missing"
	hold --vfio "$PEER:2:0:1M"
	let_go KILL
	wait_until 20 none_left
}

@test "parts of a BAR are one buffer" {
	works || skip "a path to the peer is missing"
	# Linux 7.3 links each range to the same I/O virtual address.
	case $(iommu_mode) in
	strict | lazy)
		fails 1 "refused to map" -- register "$DEV" \
			--vfio "$PEER:2:8M:64K" --vfio "$PEER:2:1M:960K"
		return
		;;
	esac
	fill_disk 8M 1
	hold --vfio "$PEER:2:8M:64K" --vfio "$PEER:2:1M:960K"
	[ "$(jq .bytes held)" -eq 1048576 ]
	"$CTL" read "$DEV" --id "$ID" --offset 8M --length 1M
	cmp <(on_host 8388608 65536; on_host 1048576 983040) \
		<(on_disk 8388608 1048576)
}

@test "register, show and list tell the path" {
	works || skip "a path to the peer is missing"
	hold --vfio "$PEER:2"
	jq -e --arg path "$(expected)" --arg peer "$PEER" \
		--arg iommu "$(iommu_mode)" '.path == $path and .p2p and
		.provider.device == $peer and .provider.bar == 2 and
		.provider.distance > 0 and .iommu == $iommu' held
	"$CTL" show "$ID" > out
	cat out
	grep -q "^path  *$(expected): peer to peer" out
	grep -q "^memory of  *$PEER BAR 2, driven by vfio-pci, distance " out
	grep -q "^IOMMU  *$(iommu_mode)$" out
	"$CTL" list | grep -qE "^ *$ID .* live +$(expected) "
	"$CTL" -j register "$DEV" --udmabuf 1M | jq -e '.path == "premapped" and
		.provider == null'
}

@test "a mapping is traced with its path" {
	works || skip "a path to the peer is missing"
	mkdir $TRACE
	echo 1 > $TRACE/events/blk_dmabuf/blk_dmabuf_map/enable
	hold --vfio "$PEER:2:0:1M"
	cat $TRACE/trace
	grep "blk_dmabuf_map: .* path=$(expected) iommu=$(iommu_mode) provider=$PEER bar=2 distance=[1-9].* peer=1 sync=0$" \
		$TRACE/trace
}

@test "check tells the path of each pair and exits accordingly" {
	rc=0
	"$CTL" check "$DEV" "$(disk 1)" --vfio "$PEER:2" --udmabuf 1M > out ||
		rc=$?
	cat out
	[ "$(grep -c "^path .*: $(expected), " out)" -eq 2 ]
	[ "$(grep -c '^path  *yes .*: premapped, ' out)" -eq 2 ]
	grep -q '^queues ' out
	grep -q '^policy  *- *none' out
	grep -q '^boot ' out
	if works; then [ $rc -eq 0 ]; else [ $rc -eq 1 ]; fi
	rc=0
	"$CTL" -j check "$DEV" --vfio "$PEER:2" > json || rc=$?
	jq -e --arg path "$(expected)" --arg peer "$PEER" '.pairs | length == 1
		and .[0].path == $path and .[0].provider.device == $peer' json
	if works; then [ $rc -eq 0 ]; else [ $rc -eq 1 ]; fi
	none_left
}

@test "what a switch may lose is refused with the reason and a way out" {
	! works || skip "a switch below an IOMMU that translates is missing"
	fails 1 "switch on the way" "iommu.passthrough=1" -- \
		register "$DEV" --vfio "$PEER:2"
	jq -e '.error.reason == "SWITCH"' json
	"$CTL" -j check "$DEV" --vfio "$PEER:2" > json || :
	jq -e '.usable == false and .pairs[0].reason == "SWITCH"' json
	none_left
}

probe_held() {
	"$CTL" check "$DEV" --probe --probe-range 4M --pid "$HOLDER" \
		--fd "$(held_fd)"
}

# untouched COMMAND...: the disk and the BAR are what they were before; exits as it
untouched() {
	local before rc=0
	before=$(on_disk 0 16777216 | sha256sum; on_host 0 16777216 | sha256sum)
	"$@" || rc=$?
	diff <(printf '%s\n' "$before") \
		<(on_disk 0 16777216 | sha256sum; on_host 0 16777216 | sha256sum) ||
		return 99
	return $rc
}

@test "a probe looks at each byte and puts back what was there" {
	fill_disk 0 16
	for source in "--udmabuf 1M" "--heap system" "--udmabuf 64K"; do
		# shellcheck disable=SC2086 # words
		untouched "$CTL" check "$DEV" --probe --probe-range 4M $source
	done
	untouched "$BIN/dmabuf-exec" --shuffled 4M "$CTL" check "$DEV" --probe \
		--probe-range 4M --fd 9
	"$CTL" check "$DEV" --probe --probe-range 4M > out
	grep -q '^probe  *yes .* every byte right, all put back' out
}

@test "a probe of another device's memory does, too" {
	fill_disk 0 16
	for source in "$PEER:2" "$PEER:2:4M:2M"; do
		rc=0
		untouched "$CTL" check "$DEV" --probe --probe-range 4M \
			--vfio "$source" || rc=$?
		if works; then [ $rc -eq 0 ]; else [ $rc -eq 1 ]; fi
	done
	works || return 0
	# Memory that the tool has no mapping of: of another process.
	hold --vfio "$PEER:2:0:1M"
	untouched probe_held
}

@test "a probe of a file leaves the file as it was" {
	need mkfs.ext4
	mkfs.ext4 -qF "$DEV"
	mkdir -p /mnt/disk
	mount "$DEV" /mnt/disk
	dd if=/dev/urandom of=/mnt/disk/file bs=1M count=3 status=none
	sync /mnt/disk/file
	cp /mnt/disk/file before
	"$CTL" check /mnt/disk/file --probe
	"$CTL" check /mnt/disk/file --probe --probe-range 2M
	cmp before /mnt/disk/file
	[ "$(stat -c %s /mnt/disk/file)" -eq 3145728 ]
	run "$CTL" check /mnt/disk/file --probe --probe-range 3M
	[ "$status" -eq 1 ]
	grep -q 'leaves the device or file' <<< "$output"
	cmp before /mnt/disk/file
	# Its disk is in use.
	fails 1 "mounted or held" -- check "$DEV" --probe --probe-range 4M
	# That is for memory that is short.
	! grep -e --force json || false
}

@test "a probe wants to be told where" {
	fails 2 "--probe-range" -- check "$DEV" --probe
	fails 2 "one DEV or FILE" -- check --probe
	fails 2 "--probe" -- check "$DEV" --probe-range 1M
	fails 2 "BDF:BAR" -- check "$DEV" --vfio 0000:01:2
	fails 2 "memory of one BAR" -- register "$DEV" --vfio "$PEER:2:0:4K" \
		--vfio "$PEER:0:0:4K"
}

@test "errors around a BAR lose nothing and say what to do" {
	fails 1 "No such device" lspci -- register "$DEV" --vfio 00ff:00:1f.7:2
	fails 1 vfio-pci -- register "$DEV" --vfio "$(pci_of 1 | xargs basename):0"
	fails 1 "multiples of 4096" -- register "$DEV" --vfio "$PEER:2:1:4K"
	fails 1 "multiples of 4096" -- register "$DEV" --vfio "$PEER:2:16M:4K"
	fails 1 "lspci -v" -- register "$DEV" --vfio "$PEER:5"
	none_left
}

@test "check takes no number that people see" {
	first=$("$CTL" -j register "$DEV" --udmabuf 1M | jq .id)
	for _ in 1 2 3; do "$CTL" check "$DEV" > out; done
	second=$("$CTL" -j register "$DEV" --udmabuf 1M | jq .id)
	[ "$second" -eq $((first + 1)) ]
}
