#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Data is right, in each direction by itself, whatever the buffer is made of,
# wherever in it and on the device it is, however large the I/O and however the
# IOMMU and the driver address memory.
#
# vm: tag=strict main
# vm: tag=lazy data iommu=lazy
# vm: tag=passthrough data iommu=passthrough
# vm: tag=off data iommu=off
# vm: tag=prp data iommu=strict sgl_threshold=0
# vm: tag=prp-passthrough data iommu=passthrough sgl_threshold=0
# vm: tag=sgl-passthrough data iommu=passthrough sgl_threshold=512

load ../dmabuf

# Less than a page, more than one, more than the IOMMU would have, an odd piece
# more than the device takes at once, and several of those.
SIZES=512,4K,68K,128K,513K,3M

setup_file() { setup_memory; }

@test "a udmabuf, as memory comes" {
	"$IO" "$(disk 0)" --buffer contiguous --sizes $SIZES
}

@test "a udmabuf of pages in shuffled order" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes $SIZES
}

@test "a udmabuf of huge pages" {
	"$IO" "$(disk 0)" --buffer hugetlb --sizes $SIZES
}

@test "a buffer from the system heap" {
	"$IO" "$(disk 0)" --buffer system --sizes $SIZES
}

@test "a buffer whose exporter is told about CPU access" {
	"$IO" "$(disk 0)" --buffer system --sizes $SIZES --cpu-access
}

@test "buffer offsets of any four bytes" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 512,4K,20K \
		--offsets 0,4,8,508,512,516,1020,2044,4088,4092
}

@test "nothing mapped before each batch" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 4K,513K --depth 8 \
		--count 64 --unmapped
}

@test "64 I/Os in flight of each of four threads" {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 512,4K,16K,64K \
		--depth 64 --threads 4 --count 256
}

@test "blocks of 4096 bytes" {
	"$IO" "$(disk 1)" --buffer shuffled --sizes 4K,68K,516K,3M
	run "$IO" --direction read --sizes 512 "$(disk 1)"
	[ "$status" -eq 2 ]
}

@test "requests of 8 MiB, or as near as the emulated disk gets" {
	# QEMU takes 1024 pieces of memory for one request at most, and a PRP is
	# a page.
	sizes=8M,9M
	! grep -qx 0 /sys/module/nvme/parameters/sgl_threshold || sizes=3M
	"$IO" "$(disk 2)" --buffer hugetlb --sizes $sizes --count 4
}

@test "requests of 3 MiB out of single pages" {
	"$IO" "$(disk 2)" --buffer shuffled --sizes 3M --count 4
}

@test "a partition" {
	"$IO" "$(disk 0)p2" --buffer shuffled --sizes $SIZES
}

@test "the checker sees one wrong byte in a target" {
	for direction in read write; do
		run "$IO" --direction $direction --sizes 4K --count 1 \
			--corrupt target "$(disk 0)"
		[ "$status" -eq 1 ]
		[[ $output == *mismatches=1\ * ]]
	done
}

@test "the checker sees one wrong byte beside a target" {
	for direction in read write; do
		run "$IO" --direction $direction --sizes 4K --count 1 \
			--corrupt guard "$(disk 0)"
		[ "$status" -eq 1 ]
		[[ $output == *mismatches=1\ * ]]
	done
}
