#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What blkdmabufctl does with disks, files and policies, it does without a mistake with
# memory and without a leak: its suites once more, with the tool that `make sanitized`
# builds.
#
# vm: main

load lib

setup() {
	export BLKDMABUFCTL=$TOP/build/asan/user/blkdmabufctl
	[ -x "$BLKDMABUFCTL" ] || skip "make sanitized has not been run"
}

@test "register, read, write, copy, list" {
	bats --tap "$TOP/selftests/blkdmabufctl.bats"
}

@test "stat and top" {
	bats --tap "$TOP/selftests/stat.bats"
}
