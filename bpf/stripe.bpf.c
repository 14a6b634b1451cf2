// SPDX-License-Identifier: GPL-2.0-only
/*
 * Spread an I/O over the buffers of a channel, as RAID 0 does over disks.
 *
 * An I/O that leaves the slot to the policy sees all slots of its channel as
 * one buffer: byte "offset" of that is in chunk offset / chunk, and the chunks
 * go round the slots.  An I/O that is larger than a chunk becomes several,
 * which run at the same time; it has one completion, whose placement is that
 * of its first byte.  Reads and writes find the same bytes at the same offset.
 *
 * Shows: place() that places a prefix and is called again for the rest, and
 * init() that refuses.
 *
 * When not to use it: with one buffer, or with chunks smaller than the
 * device's best request: each chunk is a request of its own, and an I/O that
 * is split goes through an io_uring worker.  Not for buffers of different
 * sizes: the smallest is full first, and what goes behind its end fails.
 *
 *   bpftool struct_ops register build/bpf/stripe.bpf.o /sys/fs/bpf/stripe
 *   echo stripe > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Bytes that stay together; a multiple of 4096, the largest block size. */
const volatile u32 chunk = 128 * 1024;

/* Use the slots 0 to width - 1; 0: look at each I/O which ones are bound. */
const volatile u32 width = 0;

/* Spread I/O that names a slot, too, from that slot on. */
const volatile bool named = false;

/* What looking costs grows with the slots that are bound. */
#define MAX_WIDTH	64

static u32 bound_slots(struct blk_dmabuf_desc *desc)
{
	int i, slot = 0;
	u32 n = 0;

	bpf_for(i, 0, MAX_WIDTH) {
		slot = bpf_blk_dmabuf_next_slot(desc, slot);
		if (slot < 0)
			break;
		slot++;
		/* Not n++: the verifier would follow each value of n. */
		n = i + 1;
	}
	return n;
}

/* The nth bound slot, from 0. */
static int bound_slot(struct blk_dmabuf_desc *desc, int nth)
{
	int i, slot = -1;

	bpf_for(i, 0, MAX_WIDTH) {
		slot = bpf_blk_dmabuf_next_slot(desc, slot + 1);
		if (slot < 0 || i == nth)
			break;
	}
	return slot;
}

s32 BLKDMABUF_OP_SLEEPABLE(stripe_init, struct blk_dmabuf_queue *queue)
{
	return !chunk || chunk % 4096 || width > MAX_WIDTH ? -EINVAL : 0;
}

s32 BLKDMABUF_OP(stripe_place, struct blk_dmabuf_desc *desc)
{
	bool any = desc->slot == BLK_DMABUF_SLOT_ANY;
	u64 nr = desc->offset / chunk, in = desc->offset % chunk;
	u32 len = desc->len, n = width ?: bound_slots(desc);
	u64 first = any ? 0 : desc->slot;
	int slot;

	if (!any && !named)
		return 0;
	/* Each of several pieces would go somewhere else. */
	if (desc->vecs > 1)
		return -EOPNOTSUPP;
	if (!n)
		return -ENOENT;
	slot = (first + nr) % n;
	if (!width)
		slot = bound_slot(desc, slot);
	if (slot < 0)
		return -ENOENT;
	if (len > chunk - in)
		len = chunk - in;
	bpf_blk_dmabuf_place(desc, slot, nr / n * chunk + in, len);
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops stripe = {
	.init	= (void *)stripe_init,
	.place	= (void *)stripe_place,
	.name	= "stripe",
};
