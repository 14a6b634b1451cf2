# SPDX-License-Identifier: GPL-2.0-only
# Disks of the profile "disks" that are no NVMe.
# shellcheck shell=bash

# modules_load: those of all disks, one after the other; a test that wants one that
# was not built is skipped by need_disk
modules_load() {
	local kind module
	for kind in sd_mod ahci megasas mptsas lsi pvscsi virtio-scsi uas; do
		for module in $(driver_of $kind | grep . || echo $kind); do
			modprobe -C /dev/null -q -d "$MODULES" "$module" || :
		done
	done
}

# disks_settle: wait until no more come and all have been looked at for partitions,
# which are I/O, too
disks_settle() {
	local i now before=''
	for ((i = 0; i < 30; i++)); do
		now=$(find /sys/class/scsi_device/ /sys/class/scsi_disk/ | wc -l)
		[ "$now" != "$before" ] || ! disks_scanned || return 0
		before=$now
		sleep 4
	done
	echo "disks are still being scanned" >&2
	return 1
}

disks_scanned() {
	[ "$(dmesg | grep -c 'Attached SCSI disk')" -ge \
		"$(find /sys/class/scsi_disk/ -mindepth 1 | wc -l)" ]
}

# need_disk KIND: its block device is in $DISK, or the test is skipped
# shellcheck disable=SC2034 # for the suites
need_disk() {
	local module
	for module in $(driver_of "$1"); do
		[ -d "/sys/module/${module//-/_}" ] || need_module "$module"
	done
	there "$1" || wait_until 60 there "$1"
	DISK=$(other_disk "$1")
	# Behind an IOMMU, QEMU's AHCI sees a table of segments as far as the page
	# goes in which it begins. That has room for 8 in two of the 32 tables:
	# more let a command hang, or QEMU abort, be it ordinary I/O or not.
	if [ "$1" = ahci ] && iommu_translates; then
		echo 256 > "/sys/block/${DISK##*/}/queue/max_sectors_kb"
	fi
}

there() { other_disk "$1" > /dev/null 2>&1; }
gone() { ! there "$1"; }

# iommu_translates: is an address of a device another one than memory has?
iommu_translates() {
	case $(iommu_mode) in strict | lazy) ;; *) return 1 ;; esac
}

# host_of DISK: its SCSI host in /sys/class/scsi_host
host_of() {
	local path
	path=$(readlink -f "/sys/block/${1##*/}/device")
	[[ $path =~ /(host[0-9]+)/ ]]
	printf '/sys/class/scsi_host/%s\n' "${BASH_REMATCH[1]}"
}

# pci_above DISK: its PCI function in sysfs
pci_above() {
	local path
	path=$(readlink -f "/sys/block/${1##*/}/device")
	while [ ! -e "$path/vendor" ] || [ ! -e "$path/config" ]; do
		path=${path%/*}
	done
	printf '%s\n' "$path"
}

# bar_up: vfio-pci has the ivshmem device, whose name is in $BAR for dmabuf-io
bar_up() {
	local dir
	for dir in /sys/bus/pci/devices/*; do
		[ "$(cat "$dir/device")" = 0x1110 ] || continue
		export BAR=${dir##*/}
		echo vfio-pci > "$dir/driver_override"
		echo "$BAR" > /sys/bus/pci/drivers_probe
	done
}
