#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A kernel for other machines is configured as Debian's is, with this project's options
# on. That it builds is not tried here: it takes hours.

setup() {
	cd "$BATS_TEST_DIRNAME/../.."
	[ -e build/linux/Makefile ] || skip "build/linux is missing"
	CONFIGURED=build/kernel-distro/obj/.config
}

on() { grep -qxF "CONFIG_$1" $CONFIGURED; }

@test "Debian's configuration takes our options, and keeps its drivers" {
	local debian=build/kernel-distro/debian.config
	run packaging/kernel-distro --config
	echo "$output"
	[[ $output != *"to be had"* ]] || skip "linux-config is missing"
	[ "$status" -eq 0 ]
	on BLK_DMABUF=y
	on BLK_DMABUF_P2P=y
	on 'LOCALVERSION="-blkdmabuf"'
	# A driver or two may depend on this machine's compiler.
	for option in BLK_DEV_NVME=m EXT4_FS=m XFS_FS=m SCSI=m DRM_AMDGPU=m; do
		grep -qx "CONFIG_$option" $debian
		on $option
	done
	[ "$(grep -c '=m$' $CONFIGURED)" -gt $(($(grep -c '=m$' $debian) - 20)) ]
}

@test "a configuration that drops an option of ours is refused by its name" {
	printf '%s\n' '# CONFIG_IO_URING is not set' CONFIG_EXPERT=y \
		> "$BATS_TEST_TMPDIR/config"
	CONFIG=$BATS_TEST_TMPDIR/config run packaging/kernel-distro --config
	echo "$output"
	[ "$status" -ne 0 ]
	[[ $output == *"Kconfig dropped"*CONFIG_BLK_DMABUF=y* ]]
	CONFIG=$BATS_TEST_TMPDIR/nothing run packaging/kernel-distro --config
	[ "$status" -ne 0 ]
	[[ $output == *"cannot be read"* ]]
}
