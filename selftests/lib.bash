# SPDX-License-Identifier: GPL-2.0-only
# What suites share; `load ../lib` in a BATS file, or source it from a script.
# shellcheck shell=bash

TOP=${TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
OUT=${OUT:-$TOP/build}
BIN=$TOP/build/selftests
CTL=$TOP/build/user/blkdmabufctl
BPFTOOL=$TOP/build/bpftool/bpftool
MODULES=${MODULES:-$TOP/build/${KERNEL:-kernel}/modules}
export TOP OUT BIN CTL BPFTOOL MODULES

# need THING...: skip the test, naming the thing, unless each is there: a
# command, or a path.
need() {
	local thing
	for thing; do
		case $thing in
		/*) [ -e "$thing" ] || skip "$thing is missing" ;;
		*) command -v "$thing" > /dev/null ||
			skip "$thing is missing" ;;
		esac
	done
}

# need_module NAME...: load kernel modules, and skip the test, naming the one
# that was not built. One that is there and does not load fails the test.
need_module() {
	local module modprobe=(modprobe -C /dev/null -d "$MODULES")
	need modprobe
	for module; do
		"${modprobe[@]}" -qn "$module" ||
			skip "kernel module $module is missing"
		"${modprobe[@]}" "$module"
	done
}

# disk N [NSID]: the block device whose serial is diskN; of several namespaces the
# first. Numbers are handed out in the order in which probing ends, which is not
# the order on the bus.
disk() {
	local ns serial nsid
	for ns in /sys/class/nvme/nvme*/nvme*n[0-9]*; do
		# Not the hidden paths of a multipath disk, nvme0c0n1.
		case ${ns##*/} in *c*n*) continue ;; esac
		{
			read -r serial < "${ns%/*}/serial" &&
				read -r nsid < "$ns/nsid" || continue
		} 2> /dev/null
		if [ "$serial $nsid" = "disk$1 ${2:-1}" ] &&
			[ -b "/dev/${ns##*/}" ]; then
			printf '%s\n' "/dev/${ns##*/}"
			return 0
		fi
	done
	echo "no NVMe disk with serial disk$1${2:+, namespace $2}" >&2
	return 1
}

# other_disk KIND: the block device that the profile word disk=KIND added
other_disk() {
	local dev serial
	for dev in /sys/block/[sv]d*; do
		# Vital product data begins with 4 bytes that are no text.
		serial=$(cat "$dev/serial" 2> /dev/null ||
			tail -c +5 "$dev/device/vpd_pg80" 2> /dev/null | tr -d ' \0')
		if [ "$serial" = "$1" ] && [ -b "/dev/${dev##*/}" ]; then
			printf '/dev/%s\n' "${dev##*/}"
			return 0
		fi
	done
	echo "no disk with serial $1" >&2
	return 1
}

# driver_of KIND: the kernel module behind such a disk
driver_of() {
	case $1 in
	ahci) echo ahci ;;
	megasas) echo megaraid_sas ;;
	mptsas) echo mptsas ;;
	lsi) echo sym53c8xx ;;
	pvscsi) echo vmw_pvscsi ;;
	virtio-scsi*) echo virtio_scsi ;;
	virtio-blk*) echo virtio_blk ;;
	uas) echo xhci-pci uas ;;
	esac
}

# iommu_mode: strict, lazy, passthrough or off, as the kernel runs disk 0
iommu_mode() {
	local dev
	dev=$(disk 0) || return 1
	case $(cat "/sys/block/${dev##*/}/device/device/iommu_group/type" \
		2> /dev/null) in
	DMA) echo strict ;;
	DMA-FQ) echo lazy ;;
	identity) echo passthrough ;;
	*) echo off ;;
	esac
}

# monitor_port: the device that leads to it
monitor_port() {
	local p
	for p in /sys/class/virtio-ports/*; do
		[ "$(cat "$p/name" 2> /dev/null)" = monitor ] || continue
		echo "/dev/${p##*/}"
		return
	done
	echo "no monitor port" >&2
	return 1
}

# host_monitor COMMAND: a command of QEMU's human monitor, run by the QEMU that
# runs this guest; prints the answer. Two commands that do not exist frame it,
# since the monitor complains about those by name.
host_monitor() {
	local dev line tag=frame-$RANDOM inside=''
	dev=$(monitor_port) || return
	exec 8<> "$dev"
	printf '%s\n' "$tag-a" "$1" "$tag-b" >&8
	while IFS= read -r -t 10 -u 8 line; do
		line=${line%$'\r'}
		case $line in
		*"unknown command: '$tag-a'"*) inside=1 ;;
		*"unknown command: '$tag-b'"*) inside='done'; break ;;
		*'(qemu)'*) ;; # the echo of what was sent
		*) [ -z "$inside" ] || printf '%s\n' "$line" ;;
		esac
	done
	exec 8>&-
	[ "$inside" = 'done' ] || { echo "the monitor is silent" >&2; return 1; }
}

# pull_disk N, plug_disk N: hot removal and return (profile hotplug=1). Removal
# takes its 5 s of blinking; QEMU keeps the name for a while after that.
#
# lockdep reports an order of pciehp's own locks when a disk is pulled, and says
# nothing more until the next boot. Where there is lockdep, the disk is removed
# in software, and found again.
pull_disk() {
	if [ -e /proc/lockdep ]; then
		echo 1 > "$(pci_of "$1")/remove"
	else
		host_monitor "device_del nvme$1"
	fi
}

plug_disk() {
	if [ -e /proc/lockdep ]; then
		echo 1 > /sys/bus/pci/rescan
	else
		wait_until 30 try_plug "$1"
	fi
}

# pci_of N: its PCI device in sysfs
pci_of() { readlink -f "/sys/block/$(basename "$(disk "$1")")/device/device"; }

try_plug() {
	local answer
	answer=$(host_monitor "device_add $(cat "$OUT/nvme$1.device")")
	case $answer in
	*Duplicate*) return 1 ;;
	*Error*) printf '%s\n' "$answer" >&2 ;;
	esac
}

# wait_until SECONDS COMMAND...: poll until it succeeds
wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# fails STATUS WORD... -- ARGS: blkdmabufctl (run by "${AS[@]}") exits so, says
# all the words, which are patterns, on standard error and nothing on standard
# output, and under -j says the same as JSON, which is left in ./json
fails() {
	local status=$1 words=() word rc=0
	shift
	while [ "$1" != -- ]; do words+=("$1"); shift; done
	shift
	"${AS[@]}" "$CTL" "$@" > out 2> err < /dev/null || rc=$?
	cat out err
	[ $rc -eq "$status" ]
	[ ! -s out ]
	for word in "${words[@]}"; do grep -qi -- "$word" err; done
	rc=0
	"${AS[@]}" "$CTL" -j "$@" > json 2> err < /dev/null || rc=$?
	[ $rc -eq "$status" ]
	[ ! -s err ]
	jq -e '.error.what and .error.advice' json
}
AS=()

# log_begin NAME, log_end NAME FILE [START]: the part of the kernel log in
# between, in the shape that log-check accepts; it starts at the last line with
# START in it, where that is not the begin marker.
log_begin() { printf '<5>blkdmabuf-log: begin %s\n' "$1" > /dev/kmsg; }

log_end() {
	printf '<5>blkdmabuf-log: end %s\n' "$1" > /dev/kmsg
	dmesg | awk -v begin="${3:-blkdmabuf-log: begin $1}" \
		-v end="blkdmabuf-log: end $1" '
		index($0, begin) { n = 0; on = 1 }
		on { line[++n] = $0 }
		index($0, end) { on = 0 }
		END { for (i = 1; i <= n; i++) print line[i] }' > "$2"
}
