# SPDX-License-Identifier: GPL-2.0-only
# What the suites that use dmabuf-io share; loads lib.
# shellcheck shell=bash

. "${BASH_SOURCE[0]%/*}/lib.bash"

IO=$BIN/dmabuf-io

# Fragments of one page, however large the buffer; and huge pages to take.
setup_memory() {
	echo 100000 > /sys/module/udmabuf/parameters/list_limit
	echo "${1:-24}" > /proc/sys/vm/nr_hugepages
}

# field NAME LINE: a number or word out of what dmabuf-io prints
field() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<< "$2"; }

# queue DEVICE FILE: a file below the disk's queue/
queue() { printf '/sys/block/%s/queue/%s\n' "$(basename "$1")" "$2"; }

# pci DEVICE: its PCI function in sysfs
pci() { readlink -f "/sys/block/$(basename "$1")/device/device"; }

# controller DEVICE: its NVMe controller in sysfs
controller() { readlink -f "/sys/block/$(basename "$1")/device"; }

# A load ends when its device is gone, however long that takes on a slow machine.
# shellcheck disable=SC2034 # for the suites
UNTIL_GONE=$((${TEST_TIMEOUT:-300} / 2))

# load_start DEVICE SECONDS OPTIONS...: checked I/O in both directions, each on
# its own half of the device, in the background
load_start() {
	local dev=$1 seconds=$2
	shift 2
	"$IO" --direction read --sizes 4K,64K,512K --depth 8 --threads 2 \
		--seconds "$seconds" "$@" "$dev" > "$BATS_TEST_TMPDIR/read" 2>&1 &
	LOAD_READ=$!
	"$IO" --direction write --sizes 4K,64K,512K --depth 8 --threads 2 \
		--seconds "$seconds" --position 128M "$@" "$dev" \
		> "$BATS_TEST_TMPDIR/write" 2>&1 &
	LOAD_WRITE=$!
	wait_until 60 grep -q running "$BATS_TEST_TMPDIR/read"
	wait_until 60 grep -q running "$BATS_TEST_TMPDIR/write"
}

# load_end: the two lines they printed are in $READ and $WRITE
load_end() {
	local rc=0
	wait "$LOAD_READ" || rc=1
	wait "$LOAD_WRITE" || rc=1
	READ=$(grep -v running "$BATS_TEST_TMPDIR/read")
	WRITE=$(grep -v running "$BATS_TEST_TMPDIR/write")
	printf '%s\n' "$READ" "$WRITE"
	return $rc
}

# A tracing instance of the test's own: trace_on EVENT..., trace_off. Nothing is
# recorded until the gate is opened, which dmabuf-io does.
trace_on() {
	local event
	TRACE=/sys/kernel/tracing/instances/blkdmabuf
	mkdir -p $TRACE
	echo 0 > $TRACE/tracing_on
	echo 4096 > $TRACE/buffer_size_kb
	for event; do
		echo 1 > "$TRACE/events/$event/enable"
	done
	# shellcheck disable=SC2034 # for the suites
	GATE=$TRACE/tracing_on
}

trace_off() {
	[ ! -d /sys/kernel/tracing/instances/blkdmabuf ] ||
		rmdir /sys/kernel/tracing/instances/blkdmabuf
}

# trace_whole: fails if events were lost
trace_whole() {
	if grep -q 'overrun: [1-9]' "$TRACE"/per_cpu/cpu*/stats; then
		echo "events were lost" >&2
		return 1
	fi
}

# trace_count NAME: how often the event was seen since it was cleared
trace_count() {
	trace_whole || return
	grep -c " $1: " "$TRACE/trace" || :
}

trace_clear() { echo > "$TRACE/trace"; }
