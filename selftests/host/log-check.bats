#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The log checker sees what it has to see. It is what keeps a test from passing
# over a DMA fault that the device reported as success.

setup() {
	CHECK=$BATS_TEST_DIRNAME/../log-check
	LOG=$BATS_TEST_TMPDIR/log
}

# log LINE...: a whole log with these lines in it
log() {
	{
		printf '[    1.0] blkdmabuf-log: begin sample\n'
		[ $# -eq 0 ] || printf '[    2.0] %s\n' "$@"
		printf '[    3.0] blkdmabuf-log: end sample\n'
	} > "$LOG"
}

clean() { log "$@"; "$CHECK" "$LOG"; }

# dirty LINE: the checker fails, and shows the line
dirty() {
	local line
	for line; do
		log "nvme nvme0: 4/0/0 default/read/poll queues" "$line"
		run "$CHECK" "$LOG"
		[ "$status" -eq 1 ] || { echo "not seen: $line"; return 1; }
		[[ $output == *"$line"* ]]
	done
}

@test "a log with ordinary lines is clean" {
	clean "nvme nvme0: pci function 0000:00:04.0" \
		"DMAR: IOMMU enabled" \
		"iommu: Default domain type: Translated" \
		"DMA-API: preallocated 65536 debug entries" \
		"DMA-API: debugging enabled by kernel config" \
		"EXT4-fs (nvme0n1): mounted filesystem without journal" \
		"    ok 3 range_lookup_finds_the_last_page"
}

@test "an empty stretch between the markers is clean" {
	clean
}

@test "warnings and bugs are seen" {
	dirty "WARNING: CPU: 1 PID: 77 at block/blk-merge.c:301 bio_split" \
		"WARNING: block/blk-dmabuf.c:12 at blk_dmabuf_map+0x1/0x2" \
		"------------[ cut here ]------------" \
		"kernel BUG at block/bio.c:77!" \
		"BUG: kernel NULL pointer dereference, address: 00000008" \
		"BUG: scheduling while atomic: fio/123/0x00000002" \
		"Oops: 0000 [#1] PREEMPT SMP" \
		"general protection fault, probably for non-canonical address" \
		"Kernel panic - not syncing: Fatal exception" \
		" Call Trace:" \
		"RIP: 0010:blk_rq_dma_map_iter_next+0x10/0x90"
}

@test "lockdep and RCU reports are seen" {
	dirty "WARNING: possible circular locking dependency detected" \
		"INFO: possible recursive locking detected" \
		"WARNING: suspicious RCU usage" \
		"WARNING: bad unlock balance detected!" \
		"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:" \
		"rcu: INFO: rcu_preempt self-detected stall on CPU"
}

@test "memory checkers are seen" {
	dirty "BUG: KASAN: slab-use-after-free in blk_dmabuf_put+0x1/0x2" \
		"UBSAN: array-index-out-of-bounds in block/blk-dmabuf.c:3:4" \
		"BUG: KFENCE: out-of-bounds read in foo+0x1/0x2" \
		"refcount_t: underflow; use-after-free." \
		"list_del corruption. prev->next should be 0" \
		"list_add corruption. next->prev should be prev" \
		"ODEBUG: free active (active state 0) object: 000000000" \
		"kmemleak: 3 new suspected memory leaks (see /sys/kernel)" \
		"BUG: Bad page state in process fio  pfn:12345"
}

@test "sleeping where one must not is seen" {
	dirty "BUG: sleeping function called from invalid context at x.c:1" \
		"BUG: scheduling while atomic: swapper/0/0/0x00000100"
}

@test "DMA faults and DMA API complaints are seen" {
	dirty "DMAR: DRHD: handling fault status reg 2" \
		"DMAR: [DMA Read NO_PASID] Request device [00:04.0] fault addr 0" \
		"DMAR: VT-d detected Invalidation Queue Error: Fault" \
		"DMA-API: nvme 0000:00:04.0: device driver frees DMA memory" \
		"DMA-API: exceeded 7 overlapping mappings of cacheline" \
		"AMD-Vi: Event logged [IO_PAGE_FAULT device=00:04.0]"
}

@test "tasks and requests that hang are seen" {
	dirty "INFO: task fio:123 blocked for more than 120 seconds." \
		"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [fio:12]" \
		"nvme nvme0: I/O tag 12 (100c) QID 2 timeout, aborting" \
		"nvme nvme0: controller is down; will reset: CSTS=0x3" \
		"I/O error, dev nvme0n1, sector 8 op 0x0:(READ)"
}

@test "a failed KUnit test is seen" {
	dirty "    not ok 2 range_lookup_finds_the_last_page" \
		"# range: EXPECTATION FAILED at block/blk-dmabuf-test.c:12"
}

@test "a log that is missing, empty or cut off is not clean" {
	run "$CHECK" "$LOG"
	[ "$status" -eq 1 ]
	: > "$LOG"
	run "$CHECK" "$LOG"
	[ "$status" -eq 1 ]
	log "one line"
	sed -i 1d "$LOG"
	run "$CHECK" "$LOG"
	[ "$status" -eq 1 ]
	[[ $output == *"start is lost"* ]]
	log "one line"
	sed -i '$d' "$LOG"
	run "$CHECK" "$LOG"
	[ "$status" -eq 1 ]
	[[ $output == *"cut off"* ]]
}

@test "the begin marker of another run does not do" {
	log "one line"
	sed -i '1s/sample/other/' "$LOG"
	run "$CHECK" "$LOG"
	[ "$status" -eq 1 ]
}

@test "a boot log starts with the version" {
	log "one line"
	run "$CHECK" --boot "$LOG"
	[ "$status" -eq 1 ]
	sed -i '1s/.*/[    0.0] Linux version 7.3.4/' "$LOG"
	"$CHECK" --boot "$LOG"
}

@test "an allowed line is overlooked, and nothing else" {
	log "I/O error, dev nvme1n1, sector 8" "I/O error, dev nvme0n1, sector 8"
	echo 'I/O error, dev nvme1n1' > "$BATS_TEST_TMPDIR/allow"
	run "$CHECK" --allow "$BATS_TEST_TMPDIR/allow" "$LOG"
	[ "$status" -eq 1 ]
	[[ $output == *nvme0n1* ]]
	[[ $output != *nvme1n1* ]]
	echo 'I/O error, dev' > "$BATS_TEST_TMPDIR/allow"
	"$CHECK" --allow "$BATS_TEST_TMPDIR/allow" "$LOG"
}

@test "an allow list that is missing is an error" {
	log
	run "$CHECK" --allow "$BATS_TEST_TMPDIR/nothing" "$LOG"
	[ "$status" -eq 1 ]
}
