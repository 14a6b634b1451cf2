#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The VM harness itself: a guest that fails, dies or hangs is a failure on this
# side, soon and with a reason.

setup() {
	RUN=$BATS_TEST_DIRNAME/../vm
	unset VM
	NAME=name=host-vm-test
}

@test "output and exit code of a command come back" {
	run "$RUN" --quiet "$NAME" nvme=0 -- bash -c 'echo hello; exit 7'
	[ "$status" -eq 7 ]
	[ "$output" = hello ]
}

@test "a panic ends the VM at once and shows the console" {
	start=$SECONDS
	run "$RUN" "$NAME" nvme=0 timeout=120 -- \
		bash -c 'echo c > /proc/sysrq-trigger'
	[ "$status" -ne 0 ]
	[ $((SECONDS - start)) -lt 100 ]
	[[ $output == *"the guest died"* ]]
	[[ $output == *"sysrq triggered crash"* ]]
}

@test "a guest that hangs is stopped" {
	run "$RUN" "$NAME" nvme=0 timeout=20 -- sleep 1000
	[ "$status" -ne 0 ]
	[[ $output == *"the guest hung (20 s)"* ]]
}

@test "a profile that is not understood is an error, not ignored" {
	run "$RUN" "$NAME" colour=red -- true
	[ "$status" -ne 0 ]
	[[ $output == *"no such profile key: colour"* ]]
	run "$RUN" "$NAME" iommu=maybe -- true
	[ "$status" -ne 0 ]
	run "$RUN" "$NAME" disk=floppy -- true
	[ "$status" -ne 0 ]
	[[ $output == *"no such disk"* ]]
}

@test "a disk that would write past the IOMMU is not given to a guest with one" {
	run "$RUN" "$NAME" iommu=lazy disk=ahci disk=pvscsi -- true
	[ "$status" -ne 0 ]
	[[ $output == *"does not go through the IOMMU"* ]]
}

@test "it works without terminal and input" {
	run setsid "$RUN" --quiet "$NAME" nvme=0 -- bash -c 'echo fine' < /dev/null
	[ "$status" -eq 0 ]
	[ "$output" = fine ]
}

# What people have who have only the built kernel.
@test "stock virtme-ng boots the kernel as well, and a suite passes there" {
	command -v vng > /dev/null || skip "vng is missing"
	VM=vng run "$RUN" "$NAME" iommu=strict nvme=1 -- \
		bats --tap selftests/io/kunit.bats
	echo "$output"
	[ "$status" -eq 0 ]
	printf '{"vng":{"suites":1,"passed":%d,"failed":%d}}\n' \
		"$(grep -c '^ok ' <<< "$output")" \
		"$(grep -c '^not ok ' <<< "$output")" \
		> "$BATS_TEST_DIRNAME/../../build/people-vng.json"
	[ "$(grep -c '^ok ' <<< "$output")" -eq 4 ]
	VM=vng run "$RUN" "$NAME" nvme=0 -- bash -c 'exit 7'
	[ "$status" -eq 7 ]
}
