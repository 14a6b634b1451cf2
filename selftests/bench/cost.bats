#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What it is for: an I/O on a premapped buffer makes the IOMMU do nothing, where
# an ordinary one makes it map, unmap and invalidate; and a request is as large
# as the device takes, not as the IOMMU likes it. Counted by tracing, ordinary
# I/O (registered buffers) and ours in the same boot.
#
# vm: tag=strict main
# vm: tag=lazy data iommu=lazy

load ../dmabuf

setup_file() { setup_memory; }

setup() { trace_on iommu/map iommu/unmap intel_iommu/qi_submit block/block_rq_issue; }

teardown() { trace_off; }

# counted DIRECTION BUFFER: sets MAPS, UNMAPS, INVALIDATIONS, LARGEST of 40 I/Os
counted() {
	trace_clear
	"$IO" --direction "$1" --buffer "$2" --gate "$GATE" --count 40 \
		--sizes 4K,64K,128K,512K,1M --depth 8 "$(disk 0)"
	MAPS=$(trace_count map)
	UNMAPS=$(trace_count unmap)
	INVALIDATIONS=$(trace_count qi_submit)
	LARGEST=$(largest)
	echo "$2 $1: $MAPS maps $UNMAPS unmaps $INVALIDATIONS invalidations" \
		"largest $LARGEST"
}

# The largest request in bytes: "... block_rq_issue: 259,0 R 4096 () 0 + 8 ..."
largest() {
	sed -n 's/.* block_rq_issue: .* + \([0-9]*\) .*/\1/p' $TRACE/trace |
		sort -n | tail -n 1 | awk '{ print $1 * 512 }'
}

@test "reads cost the IOMMU nothing" {
	counted read pages
	[ "$MAPS" -ge 40 ]
	[ "$UNMAPS" -ge 40 ]
	[ "$(iommu_mode)" = lazy ] || [ "$INVALIDATIONS" -ge 40 ]
	for buffer in contiguous shuffled system; do
		counted read $buffer
		[ "$MAPS" -eq 0 ]
		[ "$UNMAPS" -eq 0 ]
		# What a lazy IOMMU does now it has put off before.
		[ "$(iommu_mode)" = lazy ] || [ "$INVALIDATIONS" -eq 0 ]
	done
}

@test "writes cost the IOMMU nothing" {
	counted write pages
	[ "$MAPS" -ge 40 ]
	[ "$UNMAPS" -ge 40 ]
	[ "$(iommu_mode)" = lazy ] || [ "$INVALIDATIONS" -ge 40 ]
	for buffer in contiguous shuffled system; do
		counted write $buffer
		[ "$MAPS" -eq 0 ]
		[ "$UNMAPS" -eq 0 ]
		# What a lazy IOMMU does now it has put off before.
		[ "$(iommu_mode)" = lazy ] || [ "$INVALIDATIONS" -eq 0 ]
	done
}

@test "a request is as large as the device takes" {
	counted read pages
	[ "$LARGEST" -eq $((128 << 10)) ]
	counted read contiguous
	[ "$LARGEST" -eq $((512 << 10)) ]
	counted write contiguous
	[ "$LARGEST" -eq $((512 << 10)) ]
}

@test "the administrator's limit on request size holds" {
	local limit
	limit=$(queue "$(disk 0)" max_sectors_kb)
	echo 64 > "$limit"
	counted read contiguous
	echo 0 > "$limit"
	[ "$LARGEST" -eq $((64 << 10)) ]
	counted read contiguous
	[ "$LARGEST" -eq $((512 << 10)) ]
}

# Or a count of 0 would be none.
@test "events that were lost fail the count" {
	echo 4 > "$TRACE/buffer_size_kb"
	counted read pages > "$BATS_TEST_TMPDIR/out" 2>&1 &
	! wait $! || false
	cat "$BATS_TEST_TMPDIR/out"
	grep -q "events were lost" "$BATS_TEST_TMPDIR/out"
}
