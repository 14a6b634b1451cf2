#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The VM is what its profile says: without this, a suite could pass in the wrong
# IOMMU mode, or without the device it is about.
#
# vm: tag=strict iommu=strict nvme=2 nvme1.lba=4096 part=1 hotplug=1
# vm: tag=lazy iommu=lazy
# vm: tag=passthrough iommu=passthrough
# vm: tag=off iommu=off

load ../lib

@test "the IOMMU runs in the mode that the profile names" {
	case $(< /proc/cmdline) in
	*iommu.strict=1*) want=strict ;;
	*iommu.strict=0*) want=lazy ;;
	*iommu.passthrough=1*) want=passthrough ;;
	*) want=off ;;
	esac
	[ "$(iommu_mode)" = "$want" ]
}

@test "disk 0 is there under its serial" {
	[ -b "$(disk 0)" ]
}

@test "what the guest writes to OUT is the host's" {
	echo hello > "$OUT/probe"
	[ "$(cat "$OUT/probe")" = hello ]
	run bash -c 'echo x > "$TOP/Makefile"'
	[ "$status" -ne 0 ]
}

@test "disk 1 has 4096-byte blocks when asked for" {
	grep -q strict=1 /proc/cmdline || skip "disk 1 is missing in this profile"
	[ "$(cat "/sys/block/$(basename "$(disk 1)")/queue/logical_block_size")" = 4096 ]
}

@test "disk 0 has two partitions when asked for" {
	grep -q strict=1 /proc/cmdline || skip "partitions are missing in this profile"
	[ -b "$(disk 0)p1" ]
	[ -b "$(disk 0)p2" ]
}

@test "modules load, by name and when the kernel asks for one" {
	need dmsetup
	need_module dm-flakey dm-zero
	[ -e /sys/module/dm_flakey ]
	rmmod dm-flakey dm-zero
	[ ! -e /sys/module/dm_zero ]
	dmsetup create --noudevsync --noudevrules harness --table '0 8 zero'
	dmsetup remove --noudevsync --noudevrules harness
	rmmod dm-zero
}

@test "a module that was not built is named by the skip" {
	skip() { echo "skipped: $*"; exit 0; }
	run need_module no-such-module
	[ "$output" = "skipped: kernel module no-such-module is missing" ]
}

@test "a disk is pulled and comes back" {
	grep -q strict=1 /proc/cmdline || skip "a root port is missing in this profile"
	pull_disk 1
	wait_until 30 gone
	plug_disk 1
	wait_until 30 back
}

gone() { ! disk 1; }
back() { [ -b "$(disk 1)" ]; }
