# SPDX-License-Identifier: GPL-2.0-only
# Cells of the matrix of devices and buffers; loads stack and disks.
# shellcheck shell=bash

. "${BASH_SOURCE[0]%/*}/stack.bash"
. "${BASH_SOURCE[0]%/*}/disks.bash"

# Contiguous, single pages in any order, what a heap hands out, and device memory
# without struct pages.
BUFFERS=(hugetlb shuffled system bar)

# What is tried in each cell, in each direction: one request or several, the latter
# in some hundred pages or one range.
TRIES=(--sizes "4K,68K,516K" --count 12)

# DMA API calls, which are all that a driver can map with, and the IOMMU's own.
# shellcheck disable=SC2034 # for the suite
EVENTS=(iommu/map iommu/unmap dma/dma_map_phys dma/dma_unmap_phys
	dma/dma_map_sg dma/dma_unmap_sg swiotlb/swiotlb_bounced)

# ---- rows -------------------------------------------------------------------

# cell DEVICE BUFFER DIRECTION PATH [REASON] [MAPS_PER_IO BYTES MISMATCHES]
cell() {
	local reason=null
	[ -z "${5:-}" ] || reason="\"${5//[\"\\$'\n']/ }\""
	printf '{"device":"%s","buffer":"%s","iommu":"%s","dir":"%s","path":"%s","reason":%s,"maps_per_io":%s,"bytes":%s,"mismatches":%s}\n' \
		"$1" "$2" "$IOMMU" "$3" "$4" "$reason" "${6:-null}" "${7:-0}" \
		"${8:-0}" >> "$BATS_FILE_TMPDIR/rows"
}

# no_cell DEVICE BUFFER PATH REASON: both directions
no_cell() {
	cell "$1" "$2" read "$3" "$4"
	cell "$1" "$2" write "$3" "$4"
}

# no_row DEVICE REASON: none of its buffers, for want of something
no_row() {
	local buffer
	for buffer in "${BUFFERS[@]}"; do
		no_cell "$1" "$buffer" missing "$2"
	done
}

# What vfio-pci wants before it exports a BAR.
bar_missing() {
	[ "$IOMMU" = off ] && echo "vfio-pci without an IOMMU"
}

# data_maps: how often the DMA API or the IOMMU was called to map or to unmap data
# while the gate was open, or data was bounced, in $MAPS by direction. Virtio maps
# headers and descriptor tables of its own for each request, and pvscsi a page of
# descriptors ($OWN): calls for so few bytes are no data's, and neither are those
# of the IOMMU that they cause.
OWN=4095
declare -gA MAPS

data_maps() {
	read -r 'MAPS[read]' 'MAPS[write]' < <(awk -v own="$OWN" '
		/ tracing_mark_write: / { d = $NF }
		/ map: IOMMU/ { map[d]++ }
		/ unmap: IOMMU/ { unmap[d]++ }
		/ dma_(map|unmap)_sg: / { data[d]++ }
		/ swiotlb_bounced: / { data[d]++ }
		/ dma_(map|unmap)_phys: / {
			match($0, / size=[0-9]+/)
			if (substr($0, RSTART + 6, RLENGTH - 6) + 0 > own)
				data[d]++
			else if (/ dma_map_phys: /)
				map[d]--
			else
				unmap[d]--
		}
		function max(a, b) { return a > b ? a + 0 : b + 0 }
		function all(d) { return max(data[d], max(map[d], unmap[d])) }
		END { print all("read"), all("write") }' "$TRACE/trace")
}

# ---- what is asked of a device ----------------------------------------------

# run_io FILE OPTION...: dmabuf-io, its lines in $LINES, its verdict in $RC; what
# it has to say otherwise is in $ERR
run_io() {
	local err=$BATS_TEST_TMPDIR/err
	RC=0
	LINES=$("$IO" "${@:2}" "$1" 2> "$err") || RC=$?
	ERR=$(tail -n 3 "$err")
	printf '%s\n' "$LINES" "$ERR"
}

RESULT='ios=([0-9]+) bytes=([0-9]+) mismatches=([0-9]+) errors=([0-9]+) short=([0-9]+) .* copied=([0-9]+)'

# both FILE WANT DEVICE BUFFER OPTION...: I/O in both directions and the row of each
# is as wanted: premapped or copied
both() {
	local want=$2 device=$3 buffer=$4 line dir maps=null good
	local ios bytes bad failed copied
	echo "# $device, $buffer"
	trace_clear
	run_io "$1" --buffer "$buffer" "${TRIES[@]}" --gate "$GATE" "${@:5}"
	if [ "$want" = premapped ]; then
		trace_whole || return
		data_maps
		echo "  ${MAPS[read]}, ${MAPS[write]} maps of data"
	fi
	for dir in read write; do
		line=$(grep "^$dir " <<< "$LINES") || line=''
		if ! [[ $line =~ $RESULT ]]; then
			cell "$device" "$buffer" $dir failed "${ERR:-no result}"
			return 1
		fi
		ios=${BASH_REMATCH[1]} bytes=${BASH_REMATCH[2]}
		bad=${BASH_REMATCH[3]} copied=${BASH_REMATCH[6]}
		failed=$((BASH_REMATCH[4] + BASH_REMATCH[5]))
		good=$want
		if [ "$want" = premapped ]; then
			[ "${MAPS[$dir]} $copied" = "0 0" ] || good=failed
			maps=$(per "${MAPS[$dir]}" "$ios")
		else
			[ "$copied" = "$ios" ] || good=failed
		fi
		[ "$bad $failed" = "0 0" ] || good=failed
		cell "$device" "$buffer" $dir "$good" "$REASON" "$maps" \
			"$bytes" "$bad"
		[ "$good" != failed ] || RC=1
	done
	return $RC
}

# each_buffer FUNCTION...: all of them, even if one fails
each_buffer() {
	local buffer rc=0
	for buffer in "${BUFFERS[@]}"; do
		"$@" "$buffer" || rc=1
	done
	return $rc
}

# takes DEVICE FILE [OPTION...]: with every buffer, in both directions
takes() {
	REASON=''
	each_buffer takes_one "$@"
}

takes_one() {
	local buffer=${*: -1} missing
	set -- "${@:1:$#-1}"
	if [ "$buffer" = bar ] && missing=$(bar_missing); then
		no_cell "$1" bar missing "$missing"
		return
	fi
	both "$2" premapped "$1" "$buffer" --offsets "$OFFSETS" --warm-up 8 \
		"${@:3}"
}

# copies DEVICE FILE REASON: refused for that reason; copied if that is asked for,
# but not from or to a buffer that the CPU has no access to
copies() {
	REASON=$3
	run_io "$2" --buffer shuffled --sizes 4K --offsets 0
	[ "$RC $(field reason "$LINES")" = "2 $3" ]
	each_buffer copies_one "$1" "$2"
}

copies_one() {
	local missing
	if [ "$3" != bar ]; then
		both "$2" copied "$1" "$3" --allow-copy --offsets 0,1,512,4095
	elif missing=$(bar_missing); then
		no_cell "$1" bar missing "$missing"
	else
		run_io "$2" --allow-copy --buffer bar --sizes 4K --offsets 0
		no_cell "$1" bar refused "$(field reason "$LINES")"
		[ "$RC $(field reason "$LINES")" = "2 no-cpu" ]
	fi
}

# ---- disks that are made of something else ----------------------------------

TARGET=/sys/kernel/config/nvmet
NQN=nqn.2026-11.localhost:matrix

# tcp_up FILE: an NVMe target on loopback, and a host that is connected to it
tcp_up() {
	local subsystem=$TARGET/subsystems/$NQN port=$TARGET/ports/1
	mkdir $subsystem $subsystem/namespaces/1 $port
	echo 1 > $subsystem/attr_allow_any_host
	echo 1 > $subsystem/namespaces/1/buffered_io
	echo "$1" > $subsystem/namespaces/1/device_path
	echo 1 > $subsystem/namespaces/1/enable
	echo tcp > $port/addr_trtype
	echo ipv4 > $port/addr_adrfam
	echo 127.0.0.1 > $port/addr_traddr
	echo 4420 > $port/addr_trsvcid
	ln -s $subsystem $port/subsystems/$NQN
	echo "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$NQN,nr_io_queues=2" \
		> /dev/nvme-fabrics
	wait_until 30 tcp_disk
}

# Its block device; /sys/block/*/device is a controller, or a subsystem.
tcp_disk() {
	local file dev
	for file in /sys/block/nvme*n1/device/subsysnqn; do
		if [ "$(cat "$file")" = $NQN ]; then
			dev=${file%/device/subsysnqn}
			# Not the hidden paths below it.
			case ${dev##*/} in *c*n1) continue ;; esac
			printf '/dev/%s\n' "${dev##*/}"
			return 0
		fi
	done
	return 1
}

tcp_down() {
	local file
	[ -d $TARGET/subsystems/$NQN ] || return 0
	for file in /sys/class/nvme/nvme*/transport; do
		[ "$(cat "$file")" != tcp ] ||
			echo 1 > "${file%/transport}/delete_controller"
	done
	rm -f $TARGET/ports/1/subsystems/$NQN
	rmdir $TARGET/ports/1 || :
	rmdir $TARGET/subsystems/$NQN/namespaces/1 $TARGET/subsystems/$NQN
}
