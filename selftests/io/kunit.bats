# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel's own tests of the range index, of the life of mappings and of bios
# pass. They are run through debugfs, so that a boot does not have to be for them.
#
# vm: iommu=strict nvme=1

load ../lib

run_suite() {
	local dir=/sys/kernel/debug/kunit/$1
	[ -d "$dir" ]
	echo 1 > "$dir/run"
	cat "$dir/results"
	# as many as are named here, or a test has been lost
	[ "$(grep -c '^ *ok ' "$dir/results")" -eq $(($2 + 1)) ]
	! grep -q 'not ok' "$dir/results"
}

@test "range index: 10 KUnit tests" {
	run_suite blk-dmabuf-index 10
}

@test "life of mappings: 13 KUnit tests" {
	run_suite blk-dmabuf-life 13
}

@test "bios, split and refused: 9 KUnit tests" {
	run_suite blk-dmabuf-bio 9
}

@test "CPU access to what is copied: 4 KUnit tests" {
	run_suite blk-dmabuf-cpu 4
}
