// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send requests round a hardware queue that is busy.
 *
 * As long as few requests are in the submitting CPU's queue they go there.
 * Beyond that a handful of queues is looked at, and the request goes where it
 * has to wait least: requests in the queue times what the queue's I/Os took
 * lately, and it takes a clear win to leave the local one.
 *
 * Shows: map_queue() and complete() as a loop of decision and feedback, and
 * state per disk that init() makes and exit() removes.
 *
 * When not to use it: when all CPUs submit alike, which is most of the time:
 * the local queue is the one whose memory and interrupt are close, and with
 * every queue busy nothing is won by going elsewhere.  It helps when few CPUs
 * submit much and the device works on its queues independently.  Latency is
 * that of whole I/Os: with sizes that differ a lot it says little about the
 * queue.  Nor for disks below a stack: map_queue() is asked there, but complete()
 * is told of I/O on the disk that the channel was opened on, so that only the
 * requests in the queues are compared.
 *
 *   bpftool struct_ops register build/bpf/steer.bpf.o /sys/fs/bpf/steer
 *   echo steer > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* With no more requests than this in it, the local queue is taken. */
const volatile u32 idle = 8;

/* Queues looked at beside the local one, from a random one on. */
const volatile u32 choices = 4;

/* Another queue must be cheaper by this many percent. */
const volatile u32 margin = 25;

/* The last I/O counts 1 / 2^shift in the average. */
const volatile u32 shift = 3;

#define MAX_DISKS	256
#define MAX_HCTX	256	/* with a history of their own */

struct steer_disk {
	u64 latency_ns[MAX_HCTX];
	u64 local;	/* decisions for the local queue */
	u64 moved;	/* and for another one */
	u64 users;	/* init() less exit() */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_DISKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct steer_disk);
} disks SEC(".maps");

/* A new one; too large for the stack. */
static const struct steer_disk fresh = { .users = 1 };

static u64 cost(struct blk_dmabuf_desc *desc, struct steer_disk *disk, int hctx)
{
	u64 *latency = &disk->latency_ns[(u32)hctx % MAX_HCTX];
	int load = bpf_blk_dmabuf_hctx_load(desc, hctx);

	if (load < 0)
		return ~0ULL;
	/* What is not used gets no news: forget, or it is never tried again. */
	if (!load)
		*latency -= *latency >> shift;
	return (load + 1) * (*latency ?: 1);
}

/*
 * Swapped for another steer that keeps the map, the new one is started before
 * the old one is stopped: the last to go removes the entry.  The kernel starts
 * and stops one at a time for a disk.
 */
s32 BLKDMABUF_OP_SLEEPABLE(steer_init, struct blk_dmabuf_queue *queue)
{
	struct steer_disk *disk;
	u32 dev = queue->dev;

	if (margin >= 100 || shift > 16)
		return -EINVAL;
	disk = bpf_map_lookup_elem(&disks, &dev);
	if (!disk)
		return bpf_map_update_elem(&disks, &dev, &fresh, BPF_NOEXIST);
	disk->users++;
	return 0;
}

void BLKDMABUF_OP_SLEEPABLE(steer_exit, struct blk_dmabuf_queue *queue)
{
	struct steer_disk *disk;
	u32 dev = queue->dev;

	disk = bpf_map_lookup_elem(&disks, &dev);
	if (disk && !--disk->users)
		bpf_map_delete_elem(&disks, &dev);
}

s32 BLKDMABUF_OP(steer_map_queue, struct blk_dmabuf_desc *desc)
{
	int local = bpf_blk_dmabuf_hctx_local(desc), best, next;
	struct steer_disk *disk;
	u32 dev = desc->dev;
	u64 least, c;
	u32 i, hctx;

	disk = bpf_map_lookup_elem(&disks, &dev);
	if (!disk || bpf_blk_dmabuf_hctx_load(desc, local) <= (int)idle)
		return -1;
	best = local;
	least = cost(desc, disk, local) * (100 - margin) / 100;
	hctx = bpf_get_prandom_u32() % bpf_blk_dmabuf_nr_hctx(desc);
	bpf_for(i, 0, choices) {
		next = bpf_blk_dmabuf_next_hctx(desc, hctx);
		if (next < 0)
			next = bpf_blk_dmabuf_next_hctx(desc, 0);
		if (next < 0)
			break;
		hctx = next + 1;
		c = next == local ? ~0ULL : cost(desc, disk, next);
		if (c < least) {
			least = c;
			best = next;
		}
	}
	__sync_fetch_and_add(best == local ? &disk->local : &disk->moved, 1);
	return best;
}

void BLKDMABUF_OP(steer_complete, struct blk_dmabuf_desc *desc)
{
	u32 hctx = desc->hctx, dev = desc->dev;
	struct steer_disk *disk;
	u64 *ewma;

	disk = bpf_map_lookup_elem(&disks, &dev);
	if (!disk || hctx >= MAX_HCTX || desc->result <= 0)
		return;
	/* Not atomic: an update that is lost is noise. */
	ewma = &disk->latency_ns[hctx];
	*ewma = *ewma - (*ewma >> shift) + (desc->latency_ns >> shift);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops steer = {
	.init		= (void *)steer_init,
	.exit		= (void *)steer_exit,
	.map_queue	= (void *)steer_map_queue,
	.complete	= (void *)steer_complete,
	.name		= "steer",
};
