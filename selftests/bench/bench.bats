#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# blkdmabufctl bench as a user meets it: it only reads unless told, leaves nothing
# behind, says what it could not measure, and stops in order. What it measures is
# looked at where it cannot depend on the machine: the counts.
#
# vm: main

load ../dmabuf

setup() {
	cd "$BATS_TEST_TMPDIR"
	setup_memory
	DEV=$(disk 0)
	QUICK=(--seconds 0.1 --rounds 1 --depths 4)
}

teardown() {
	echo none > "$(queue "$DEV" dmabuf_policy)"
	rm -rf /sys/fs/bpf/blkdmabuf
	wait_until 10 none_left
}

none_left() { [ "$("$CTL" -j list | jq length)" -eq 0 ]; }

# bench ARGS: JSON of a short run in ./json
bench() {
	"$CTL" -j bench "$DEV" "${QUICK[@]}" "$@" > json || { cat json; return 1; }
}

@test "a wrong command line is refused before anything is done" {
	for args in '--sizes 0' '--sizes 4K,,8K' '--sizes 17M' '--sizes x' \
		'--depths 0' '--depths 1025' '--batch 0' '--batch 33' \
		'--mode fast' '--random --sequential' '--buffer nice' \
		'--threads 0' '--seconds 0' '--seconds 1x' '--seconds nan' \
		'--rounds 0' '--rounds 100'; do
		# shellcheck disable=SC2086
		fails 2 bench -- bench "$DEV" $args
	done
	fails 2 -- bench
	fails 1 "multiples of 512" -- bench "$DEV" --sizes 1000
	fails 1 "multiples of 4096" -- bench "$(disk 1)" --sizes 512
	fails 1 "no such" -- bench /dev/nothing
	echo 0 > /proc/sys/vm/nr_hugepages
	fails 1 vm.nr_hugepages -- bench "$DEV" --buffer contiguous
	truncate -s 64K small
	fails 1 "that fit" -- bench small --sizes 128K
}

@test "JSON has a row for each path, size and depth" {
	bench --sizes 4K,64K --depths 1,8 --batch 2
	jq -e '.iommu == "strict" and .mode == "interrupt" and .random and
		.buffer == "plain" and .direction == "read" and
		.policy == null and (.interrupted | not)' json
	jq -e '[.rows[] | {path, size, depth}] == [
		(4096, 65536) as $size | (1, 8) as $depth |
		("stock", "registered", "passthrough", "dmabuf") as $path |
		{path: $path, size: $size, depth: $depth}]' json
	jq -e 'all(.rows[]; .refused == null and .rounds == 1 and .iops > 0 and
		.iops_min <= .iops and .iops <= .iops_max and
		.p50_ns > 0 and .p50_ns <= .p99_ns and .p99_ns <= .p999_ns and
		.cpu_ns > 0 and .ratio > 0 and .interrupts > 0 and
		.switches >= 0 and .allocations >= 0 and
		.batch == ([2, .depth] | min))' json
	jq -e 'all(.rows[] | select(.path == "registered"); .ratio == 1)' json
	none_left
}

@test "a dma-buf is not mapped for an I/O, and what is compared is" {
	for buffer in plain contiguous fragmented; do
		bench --buffer $buffer
		jq -e 'all(.rows[] | select(.path == "dmabuf");
			.maps == 0 and .unmaps == 0 and .invalidations == 0)' json
		jq -e 'all(.rows[] | select(.path == "registered");
			.maps >= 0.9 and .unmaps >= 0.9 and
			.invalidations >= 0.9)' json
	done
}

@test "the device is only read, on each path" {
	head -c 16M /dev/urandom > a
	dd if=a of="$DEV" bs=1M oflag=direct conv=fsync status=none
	sha256sum < "$DEV" > before
	writes() { awk '{ print $5 }' "/sys/block/${DEV##*/}/stat"; }
	count=$(writes)
	for mode in interrupt sqpoll; do
		bench --mode $mode --threads 2
		bench --mode $mode --sequential --buffer fragmented
	done
	blockdev --flushbufs "$DEV"
	[ "$(writes)" -eq "$count" ]
	sha256sum < "$DEV" | cmp before -
	blockdev --setro "$DEV"
	bench
	blockdev --setrw "$DEV"
}

@test "it writes when it is told to, and not to what is mounted" {
	count=$(awk '{ print $5 }' "/sys/block/${DEV##*/}/stat")
	bench --write
	jq -e '.direction == "write" and all(.rows[]; .refused == null)' json
	[ "$(awk '{ print $5 }' "/sys/block/${DEV##*/}/stat")" -gt "$count" ]
	# What was written is what it filled the buffer with.
	[ "$(dd if="$DEV" bs=1M count=64 iflag=direct status=none |
		tr -d '\0' | head -c 4096 | tr -d '\245' | wc -c)" -lt 4096 ]
	mkfs.ext4 -q "$(disk 2)"
	mount "$(disk 2)" /mnt
	fails 1 busy -- bench "$(disk 2)" --write
	head -c 1M /dev/urandom > /mnt/file
	sync /mnt/file
	"$CTL" -j bench /mnt/file "${QUICK[@]}" > json
	umount /mnt
	cat json
	jq -e '[.rows[] | select(.refused) | .path] | unique ==
		["passthrough"]' json
}

@test "what cannot be measured keeps its row and says why" {
	bench --sizes 512K
	jq -e '.rows[] | select(.path == "passthrough") |
		.refused == "a command moves 128 KiB at most"' json
	# A device that takes no dma-buf I/O is measured without.
	DEV=$(disk 4) bench
	jq -e 'all(.rows[] | select(.path == "dmabuf");
		(.refused | contains("integrity")) and (has("iops") | not))' json
	jq -e 'any(.rows[]; .path == "registered" and .iops > 0)' json
	# It would have written metadata to address 0.
	jq -e 'all(.rows[] | select(.path == "passthrough");
		.refused | contains("metadata"))' json
}

@test "polled I/O on a device that cannot is told" {
	"$CTL" -j bench "$DEV" "${QUICK[@]}" --mode polled > json || :
	jq -e 'all(.rows[] | select(.path == "registered");
		.refused != null or .interrupts > 0)' json
}

@test "a policy has a row of its own, and stays selected" {
	"$CTL" policy load stripe
	"$CTL" policy attach stripe "$DEV"
	selected() { grep -q '\[stripe\]' "$(queue "$DEV" dmabuf_policy)"; }
	bench
	jq -e '.policy == "stripe" and any(.rows[]; .path == "dmabuf" and
		(.refused | contains("--without-policy")))' json
	jq -e 'any(.rows[]; .path == "policy" and .iops > 0)' json
	selected
	bench --without-policy
	jq -e 'all(.rows[]; .refused == null)' json
	selected
}

@test "a signal gives what there is, and puts everything back" {
	local rc
	"$CTL" policy load stripe
	"$CTL" policy attach stripe "$DEV"
	# enabling job control keeps SIGINT from being ignored in the background
	set -m
	for signal in INT TERM HUP; do
		rc=0
		"$CTL" -j bench "$DEV" --seconds 0.2 --rounds 90 --depths 4 \
			--without-policy > json 3>&- &
		sleep 4
		kill -$signal $!
		wait $! || rc=$?
		[ $rc -gt 128 ]
		[ "$(kill -l $rc)" = $signal ]
		jq -e '.interrupted and .error.code == "EINTR" and
			any(.rows[]; .rounds >= 1 and .iops > 0)' json
		grep -q '\[stripe\]' "$(queue "$DEV" dmabuf_policy)"
	done
	set +m
	none_left
}

@test "progress is shown on a terminal, and nowhere else" {
	script -qec "$CTL bench $DEV ${QUICK[*]}" typescript < /dev/null
	tr '\r' '\n' < typescript | grep -q ' [0-9]*%  4 KiB, depth 4: registered'
	"$CTL" bench "$DEV" "${QUICK[@]}" > out 2> err
	cat out
	[ ! -s err ]
	grep -q '^dma-buf  *[0-9]' out
	grep -q 'IOMMU strict' out
}

@test "a user without privilege is told what is missing, and gets the rest" {
	chmod 777 .
	chmod 644 "$DEV"
	setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$CTL" -j bench "$DEV" "${QUICK[@]}" --sizes 4K > json || :
	chmod 600 "$DEV"
	cat json
	jq -e '(.error.advice // "" | length > 0) or
		any(.rows[]; .path == "dmabuf" and .refused != null)' json
}
