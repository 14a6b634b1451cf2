#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# README's commands do what a newcomer hopes for, in the order and form in which
# they stand there: each succeeds, and what it prints is no complaint.
#
# vm: iommu=strict nvme=2 cpus=4

load ../lib

commands() { sed -n 's/^    # //p' "$TOP/README.md"; }

teardown() {
	! mountpoint -q /mnt || umount /mnt
	"$CTL" policy unload steer || :
	[ -z "${id:-}" ] || "$CTL" unregister "$id"
}

# What redraws the terminal gets one, and a key that ends it.
on_terminal() {
	{ sleep 5; printf q; } | script -qefc "$1" /dev/null
}

@test "the commands of README work as they stand there" {
	local command run=0 failed=0
	need jq script mkfs.ext4
	head -c 16M /dev/urandom > /dev/nvme0n1
	# In the guest /mnt is a scratch directory; ext4 goes on top of it.
	cd "$TOP"
	while read -r command <&4; do
		echo "# $command"
		run=$((run + 1))
		case $command in
		*" top") on_terminal "$command" || failed=$((failed + 1)) ;;
		# As a shell does: variables stay.
		*) eval "$command" || failed=$((failed + 1)) ;;
		esac
	done 4< <(commands)
	printf '{"readme_commands":{"run":%d,"failed":%d}}\n' $run $failed \
		> "$OUT/people-readme.json"
	[ $run -ge 10 ]
	[ $failed -eq 0 ]
	cmp -n 16777216 /dev/nvme1n1 /mnt/file
}
