#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Disks other than NVMe under checked I/O, ordinary I/O beside it: they fail, are
# reset, time out and are taken away. What is reported as done is right, what is
# not fails cleanly, no retry touches memory that it must not, nothing hangs, and a
# registration on a disk that is gone is dead.
#
# vm: when=asked tag=strict disks iommu=strict
# vm: when=asked tag=off disks iommu=off disk=pvscsi disk=megasas disk=lsi
# log-allow: I/O error, dev [sv]d -- disks that fail, and requests of removed ones
# log-allow: Buffer I/O error on dev [sv]d -- the same, for the page cache

load ../dmabuf
load disks

PLAY=$BIN/dmabuf-play

# Some hosts want whole sectors.
OFFSETS=0,512,2560,3584

# Disks that take premapped I/O here; without an IOMMU those that do not with one.
takers() {
	if iommu_translates; then
		echo ahci mptsas virtio-blk-iommu virtio-scsi-iommu
	else
		echo megasas lsi pvscsi virtio-blk virtio-scsi
	fi
}

setup_file() {
	setup_memory
	# Firmware takes its time.
	modules_load > /dev/null 2>&1 3>&- &
}

# each_disk FUNCTION: with each of them in $KIND and $DISK, even if one fails
each_disk() {
	local rc=0
	for KIND in $(takers); do
		need_disk "$KIND"
		echo "# $KIND"
		"$1" || { echo "# $KIND FAILED"; rc=1; }
	done
	return $rc
}

# right LINE: nothing is wrong with what was done
right() { [ "$(field mismatches "$1")" -eq 0 ]; }

# whole LINE: nor did anything fail
whole() {
	right "$1" && [ "$(field errors "$1")" -eq 0 ] &&
		[ "$(field ios "$1")" -gt 0 ]
}

# ---- beside each other ------------------------------------------------------

beside() {
	local line rc=0
	"$IO" --buffer pages --sizes 4K,64K,512K --depth 4 --seconds 2 \
		--offsets $OFFSETS --position 256M "$DISK" > "$BATS_TEST_TMPDIR/pages" &
	load_start "$DISK" 2 --offsets $OFFSETS
	load_end || rc=1
	wait $! || rc=1
	while read -r line; do
		case $line in *ios=*) whole "$line" || rc=1 ;; esac
	done <<< "$READ
$WRITE
$(cat "$BATS_TEST_TMPDIR/pages")"
	return $rc
}

@test "ordinary I/O beside premapped I/O" {
	each_disk beside
}

# ---- errors -----------------------------------------------------------------

# but_lsi WHY: leaves it out
but_lsi() {
	[ "$KIND" = lsi ] || return
	echo "# lsi is left out: $*" >&3
}

# QEMU reports an aborted command for it, which SCSI retries. Its lsi53c895a never ends
# the command: sym53c8xx aborts it, and the kernel panics, after dd as well.
bad_byte() {
	! but_lsi "QEMU's never ends the command" || return 0
	"$PLAY" "$DISK" <<-END
		plain 499M 960K 1
		read 511872K 64K 1
		read 511968K 64K 1 EIO
		start write 511968K 64K 2
		finish EIO
		read 512000K 4K 1 EIO
		start read 511872K 32K 1 2
		finish
		write 511872K 64K 3
		is 511872K 64K 3
		read 499M 896K 1
		live
	END
}

@test "a byte that cannot be read or written fails what touches it" {
	each_disk bad_byte
}

# All that the host knows, one after the other; what it does not know fails, and
# then the next harder one is tried. sym53c8xx_eh_target_reset_handler() gives the
# lock up while it walks the list of commands: that panics with ordinary I/O, too.
reset_hard() {
	local how rc=0 did=0 hows=(-d -t -b -H)
	[ "$KIND" != lsi ] || hows=(-b -H)
	load_start "$DISK" 3 --offsets $OFFSETS
	if [ "$KIND" = ahci ]; then
		for _ in 1 2 3; do
			echo '- - -' > "$(host_of "$DISK")/scan"
			did=$((did + 1))
		done
	else
		for how in "${hows[@]}"; do
			! timeout 60 sg_reset $how "$DISK" || did=$((did + 1))
		done
	fi
	load_end || rc=1
	echo "$did resets"
	[ $did -gt 0 ] || rc=1
	if ! whole "$READ" || ! whole "$WRITE"; then rc=1; fi
	[ "$(field state "$READ") $(field state "$WRITE")" = "live live" ] ||
		rc=1
	return $rc
}

has_host() {
	case $KIND in virtio-blk*) return ;; esac
	reset_hard
}

@test "resets under load" {
	need sg_reset
	each_disk has_host
}

# The disk "slow" takes 3 s for each command.
@test "a command that times out is aborted, and its memory is left alone" {
	local dev
	iommu_translates || skip "an IOMMU: that of the other run"
	need_disk mptsas
	wait_until 60 there slow
	dev=$(other_disk slow)
	dev=/sys/block/${dev##*/}
	echo 1 > "$dev/device/timeout"
	echo 1 > "$(echo "$dev"/device/scsi_disk/*)/max_retries"
	# ETIMEDOUT, or EIO if the abort is overtaken by the end of the command.
	"$PLAY" "/dev/${dev##*/}" <<-END
		start read 0 64K 0 2
		finish error
		start write 1M 64K 1 2
		finish error
		live
	END
	echo 30 > "$dev/device/timeout"
	"$PLAY" "/dev/${dev##*/}" <<< "read 0 64K 0"
}

# ---- removal ----------------------------------------------------------------

dead() {
	local rc=0
	load_end || rc=1
	if ! right "$READ" || ! right "$WRITE"; then rc=1; fi
	[ "$(field state "$READ") $(field state "$WRITE")" = "dead dead" ] ||
		rc=1
	return $rc
}

# again: it is there, and takes I/O
again() {
	need_disk "$KIND" || return
	"$IO" --buffer shuffled --sizes 4K,516K --offsets 0,512 "$DISK"
}

delete() {
	local host
	case $KIND in virtio-blk*) return ;; esac
	host=$(host_of "$DISK")
	load_start "$DISK" "$UNTIL_GONE" --offsets $OFFSETS --tolerate
	echo 1 > "/sys/block/${DISK##*/}/device/delete"
	dead || return
	gone "$KIND" || return
	echo '- - -' > "$host/scan"
	again
}

@test "SCSI disks are deleted under load, and found again" {
	each_disk delete
}

remove() {
	local pci
	! but_lsi "the end of sym53c8xx frees DMA memory with interrupts off" ||
		return 0
	pci=$(pci_above "$DISK")
	load_start "$DISK" "$UNTIL_GONE" --offsets $OFFSETS --tolerate
	timeout 60 tee "$pci/remove" <<< 1
	dead || return
	gone "$KIND" || return
	echo 1 > /sys/bus/pci/rescan
	again
}

@test "hosts are removed under load, and found again" {
	each_disk remove
}

@test "a disk is pulled off its bus under load, and comes back" {
	KIND=virtio-scsi
	! iommu_translates || KIND=virtio-scsi-iommu
	need_disk $KIND
	load_start "$DISK" "$UNTIL_GONE" --offsets $OFFSETS --tolerate
	host_monitor "device_del $KIND"
	wait_until 30 gone $KIND
	dead
	host_monitor "device_add scsi-hd,bus=host-$KIND.0,scsi-id=0,drive=d-$KIND,serial=$KIND,id=$KIND"
	again
}
