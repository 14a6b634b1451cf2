#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A buffer of many pieces costs what one of few does: finding a place in it is a
# lookup, not a walk, and a request takes as many pieces as the device does.
# Without translation by an IOMMU each page of a shuffled buffer is a piece.
#
# vm: data iommu=passthrough

load ../dmabuf

setup_file() { setup_memory; }

teardown() { trace_off; }

BIG=256M

# per_io OFFSET: microseconds of a 4 KiB read there
per_io() {
	local line
	line=$("$IO" --direction read --sizes 4K --offsets 0 --count 512 \
		--depth 32 --buffer shuffled --size $BIG --at "$1" "$(disk 0)")
	[ "$(field ranges "$line")" -gt 50000 ]
	echo $(($(field io_us "$line") / 512))
}

@test "a read at the end of a fragmented buffer costs what one at its start does" {
	first=999999 last=999999
	# Taking turns, the best of three.
	for _ in 1 2 3; do
		us=$(per_io 0)
		[ "$us" -ge $first ] || first=$us
		us=$(per_io 250M)
		[ "$us" -ge $last ] || last=$us
	done
	echo "$first us at the start, $last us at the end"
	# A walk over 60,000 ranges would be many times the whole I/O.
	[ "$last" -le $((first * 3 / 2 + 5)) ]
}

@test "a request holds no more ranges than the device takes" {
	trace_on block/block_rq_issue
	limit=$(cat "$(queue "$(disk 0)" max_segments)")
	"$IO" "$(disk 0)" --buffer shuffled --sizes 512K,3M --count 12 --gate "$GATE"
	# Nothing is cut smaller than that: 512 KiB of pages are one request.
	[ "$limit" -ge 129 ]
	sizes=$(sed -n 's/.* block_rq_issue: .* + \([0-9]*\) .*/\1/p' $TRACE/trace |
		sort -n | tail -n 1)
	[ "$sizes" -eq 1024 ]
}

@test "a range that is longer than a request is cut into requests" {
	"$IO" "$(disk 0)" --buffer hugetlb --sizes 1M,3M
}
