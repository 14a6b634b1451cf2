#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What blkdmabufctl shows of the way that memory is addressed is so in each
# mode of the IOMMU. The mode is known from what the VM was booted with.
#
# vm: tag=strict main
# vm: tag=lazy data iommu=lazy
# vm: tag=passthrough data iommu=passthrough
# vm: tag=off data iommu=off

load ../lib

teardown() {
	rm -rf /sys/fs/bpf/blkdmabuf
	echo 0 > /proc/sys/vm/nr_hugepages
}

# booted: strict, lazy, passthrough or off
booted() {
	case $(< /proc/cmdline) in
	*iommu.strict=1*) echo strict ;;
	*iommu.strict=0*) echo lazy ;;
	*iommu.passthrough=1*) echo passthrough ;;
	*intel_iommu=off*) echo off ;;
	esac
}

@test "check names the mode of the IOMMU" {
	run "$CTL" check "$(disk 0)"
	echo "$output"
	[ "$status" -eq 0 ]
	grep '^iommu ' <<< "$output" > "$BATS_TEST_TMPDIR/line"
	case $(booted) in
	strict) grep -q ' - .*translated, strict.*(DMA)$' ;;
	lazy) grep -q ' - .*translated, lazy.*(DMA-FQ)$' ;;
	passthrough) grep -q ' - .*passthrough.*(identity)$' ;;
	off) grep -q ' - .*off: no IOMMU' ;;
	*) false ;;
	esac < "$BATS_TEST_TMPDIR/line"
}

@test "a shuffled buffer has many ranges where nobody translates" {
	n=$("$BIN/dmabuf-exec" --shuffled 4M "$CTL" -j register "$(disk 0)" \
		--fd 9 | jq .ranges)
	echo "$n"
	case $(booted) in
	strict | lazy) [ "$n" -eq 1 ] ;;
	# 1024 pages of which some follow each other by chance.
	*) [ "$n" -gt 900 ] ;;
	esac
}

@test "a buffer of two huge pages has no more than two ranges" {
	echo 4 > /proc/sys/vm/nr_hugepages
	n=$("$CTL" -j register "$(disk 0)" --udmabuf 4M --hugetlb | jq .ranges)
	[ "$n" -le 2 ]
}
