#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# blkdmabufctl with ASan and UBSan: suites that it passes as it is, it passes without a
# mistake with memory, and without a leak.

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	export BLKDMABUFCTL=$PWD/build/asan/user/blkdmabufctl
	[ -x "$BLKDMABUFCTL" ] || skip "make sanitized has not been run"
}

@test "command lines, help and completion" {
	bats --tap selftests/host/blkdmabufctl.bats selftests/host/completion.bats
}

@test "a mistake would end it" {
	nm "$BLKDMABUFCTL" | grep -q '__asan_report'
	nm "$BLKDMABUFCTL" | grep -q '__ubsan_handle'
}
