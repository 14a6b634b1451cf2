#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What sits between the bio and the driver - schedulers, tags that run out,
# throttling - neither touches the data nor loses a request.
#
# vm: main

load ../dmabuf

setup_file() { setup_memory; }

teardown() {
	echo none > "$(queue "$(disk 0)" scheduler)"
	[ -z "${REQUESTS:-}" ] ||
		echo "$REQUESTS" > "$(queue "$(disk 0)" nr_requests)"
	[ -z "${GROUP:-}" ] || rmdir "$GROUP"
}

deep() {
	"$IO" "$(disk 0)" --buffer shuffled --sizes 4K,16K,516K \
		--depth 64 --threads 2 --count 192
}

@test "the deadline scheduler" {
	echo mq-deadline > "$(queue "$(disk 0)" scheduler)"
	deep
}

@test "the kyber scheduler" {
	echo kyber > "$(queue "$(disk 0)" scheduler)"
	deep
}

@test "more I/O in flight than there are tags" {
	REQUESTS=$(cat "$(queue "$(disk 0)" nr_requests)")
	echo 4 > "$(queue "$(disk 0)" nr_requests)"
	deep
}

@test "more I/O in flight than there are tags, and nothing mapped" {
	REQUESTS=$(cat "$(queue "$(disk 0)" nr_requests)")
	echo 4 > "$(queue "$(disk 0)" nr_requests)"
	"$IO" "$(disk 0)" --buffer shuffled --sizes 4K,516K --depth 64 \
		--count 192 --unmapped
}

@test "a control group's limit holds I/O back" {
	GROUP=/sys/fs/cgroup/blkdmabuf-test
	echo +io > /sys/fs/cgroup/cgroup.subtree_control
	mkdir $GROUP
	echo "$(cat "/sys/block/$(basename "$(disk 0)")/dev") riops=40" > $GROUP/io.max
	line=$(echo $BASHPID > $GROUP/cgroup.procs
		"$IO" --direction read --sizes 4K --depth 16 --count 80 "$(disk 0)")
	echo "$line"
	# 80 at 40 per second; one second of slack.
	[ "$(field io_us "$line")" -ge 1000000 ]
}
