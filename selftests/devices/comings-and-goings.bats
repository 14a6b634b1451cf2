#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Disks, controllers and CPUs come and go under checked I/O: what is reported as
# done is right, what is not fails cleanly, nothing hangs, and a registration on
# a disk that is gone is dead.
#
# vm: main
# log-allow: I/O error, dev nvme -- requests of a disk that was removed
# log-allow: Buffer I/O error on dev nvme -- the same, for the page cache

load ../dmabuf

setup_file() { setup_memory; }

teardown() {
	echo 1 > /sys/devices/system/cpu/cpu1/online
	# Whatever a test took away comes back for the next one.
	echo 1 > /sys/bus/pci/rescan
	wait_until 20 there 0
}

# The load writes over the partition table, which is read again when a disk comes
# back; suites after this one in the same boot want it.
teardown_file() {
	printf 'label: gpt\n,128M\n,\n' | sfdisk -q "$(disk 0)"
	wait_until 10 test -b "$(disk 0)p2"
}

there() { [ -b "$(disk "$1" 2> /dev/null)" ]; }
gone() { ! there "$1"; }

# remove DISK: take its controller off the bus
remove() { timeout 60 tee "$(pci "$(disk "$1")")/remove" <<< 1; }

@test "CPUs go away and come back under load" {
	load_start "$(disk 0)" 5 --churn
	for _ in 1 2 3 4; do
		echo 0 > /sys/devices/system/cpu/cpu1/online
		sleep 0.3
		echo 1 > /sys/devices/system/cpu/cpu1/online
		sleep 0.3
	done
	load_end
}

@test "CPUs go away and come back while buffers are registered" {
	timeout $((${TEST_TIMEOUT:-300} / 2)) bash -c 'for _ in 1 2 3 4; do
		"$BIN/dmabuf-lifetime" registering_again || exit
	done' > "$BATS_TEST_TMPDIR/register" &
	while kill -0 $!; do
		echo 0 > /sys/devices/system/cpu/cpu1/online
		echo 1 > /sys/devices/system/cpu/cpu1/online
	done
	cat "$BATS_TEST_TMPDIR/register"
	wait $!
}

@test "the controller is reset under load" {
	load_start "$(disk 0)" 5
	for _ in 1 2 3; do
		timeout 60 tee "$(controller "$(disk 0)")/reset_controller" <<< 1
		sleep 0.2
	done
	load_end
	[ "$(field state "$READ")" = live ]
	[ "$(field state "$WRITE")" = live ]
}

@test "a disk is pulled out under load" {
	load_start "$(disk 0)" "$UNTIL_GONE" --tolerate
	pull_disk 0
	wait_until 60 gone 0
	load_end
	[ "$(field state "$READ")" = dead ]
	[ "$(field state "$WRITE")" = dead ]
	plug_disk 0
	wait_until 60 there 0
	"$IO" --sizes 4K,513K "$(disk 0)"
}

@test "a disk is removed under load and its registrations die" {
	load_start "$(disk 0)" "$UNTIL_GONE" --tolerate
	remove 0
	gone 0
	load_end
	[ "$(field state "$READ")" = dead ]
	[ "$(field state "$WRITE")" = dead ]
}

@test "a disk is removed under load while mappings come and go" {
	load_start "$(disk 0)" "$UNTIL_GONE" --tolerate --churn
	remove 0
	gone 0
	load_end
	[ "$(field state "$READ")" = dead ]
	[ "$(field state "$WRITE")" = dead ]
}

@test "a disk is removed while its controller is reset" {
	load_start "$(disk 0)" "$UNTIL_GONE" --tolerate
	timeout 60 tee "$(controller "$(disk 0)")/reset_controller" <<< 1 &
	remove 0
	wait $! || :
	gone 0
	load_end
	[ "$(field state "$READ")" = dead ]
	[ "$(field state "$WRITE")" = dead ]
}

@test "a disk that came back is registered anew" {
	remove 0
	gone 0
	echo 1 > /sys/bus/pci/rescan
	wait_until 20 there 0
	"$IO" "$(disk 0)" --buffer shuffled --sizes 4K,513K
}
