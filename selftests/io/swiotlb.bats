#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Where all DMA is bounced, data is copied between the buffer and what the
# device sees, before and after each I/O: a missing or misplaced sync shows as
# wrong data.
#
# vm: data iommu=off append=swiotlb=force
# log-allow: swiotlb buffer is full \(sz: 2097152 bytes\) -- a huge page is too large to bounce

load ../dmabuf

setup_file() { setup_memory; }

teardown() { trace_off; }

@test "memory is bounced" {
	grep -qw swiotlb=force /proc/cmdline
	line=$("$IO" --direction read --buffer shuffled --sizes 4K "$(disk 0)")
	[ "$(field sync "$line")" = 1 ]
}

@test "the tracepoint of a mapping tells that it needs sync" {
	trace_on blk_dmabuf/blk_dmabuf_map
	echo 1 > "$GATE"
	"$IO" --direction read --buffer shuffled --sizes 4K "$(disk 0)"
	grep 'blk_dmabuf_map: .* sync=1$' "$TRACE/trace"
}

@test "pages in shuffled order" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 512,4K,68K,128K,513K,3M
}

@test "a small buffer from the system heap" {
	"$IO" "$(disk 0)" --buffer system --sizes 512,4K,16K
	"$IO" "$(disk 0)" --buffer system --sizes 512,4K,16K --cpu-access
}

@test "many I/Os in flight" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 512,4K,16K \
		--depth 32 --threads 4 --count 128
}

@test "mappings that come and go" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 4K,513K --depth 8 \
		--count 64 --unmapped
}

@test "what cannot be bounced is refused" {
	run "$IO" --direction read --buffer hugetlb --sizes 4K "$(disk 0)"
	echo "$output"
	[ "$status" -eq 2 ]
	[[ $output == *"cannot map"* ]]
}
