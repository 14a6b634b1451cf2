// SPDX-License-Identifier: GPL-2.0-only
/*
 * Give each class of users hardware queues of its own.
 *
 * The hctxs of a disk are dealt out to the classes, as cards are, so that a
 * reader that cares for latency never stands behind a bulk writer in a queue.
 * The class of an I/O is that of the cgroup (v2) its channel was opened in,
 * out of the map "classes", or the hint that the application passes.  An I/O
 * stays on its CPU's queue if that is one of its class.
 *
 * The map is looked at for each request: what is written to it counts at once.
 * The id of a cgroup is its directory's inode number, a child's class is not
 * its parent's:
 *
 *   cd /sys/fs/cgroup && stat -c %i bulk		# 4242: 0x1092
 *   bpftool map update name classes key hex 92 10 0 0 0 0 0 0 value 1 0 0 0
 *
 * Shows: map_queue(), a map that is edited live, and in the map "taken" how
 * many I/Os of which class each queue took.
 *
 * When not to use it: with one queue, with more classes than queues (they then
 * share), or to divide bandwidth: the device takes turns between its queues,
 * but what it does inside is its own business.  A class whose queues have no
 * CPU online any more gets into another's.  A stack of disks has no queues:
 * select it for the disks below.
 *
 *   bpftool struct_ops register build/bpf/isolate.bpf.o /sys/fs/bpf/isolate
 *   echo isolate > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Queue n is of class n % nr_classes. */
const volatile u32 nr_classes = 2;

/* The class is the I/O's hint, not its cgroup's. */
const volatile bool by_hint = false;

/* Class of a cgroup that is not in the map, and of a hint too large. */
const volatile u32 other = 0;

#define MAX_CLASSES	16
#define MAX_CGROUPS	1024
#define MAX_HCTX	1024
#define MAX_PAIRS	1024	/* of class and queue that I/O was seen on */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, u64);
	__type(value, u32);
} classes SEC(".maps");

struct taken_key {
	u32 class;
	s32 hctx;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PAIRS);
	__type(key, struct taken_key);
	__type(value, u64);
} taken SEC(".maps");

static u32 class_of(struct blk_dmabuf_desc *desc)
{
	u64 cgroup = desc->cgroup;
	u32 class = desc->hint, *entry;

	if (!by_hint) {
		entry = bpf_map_lookup_elem(&classes, &cgroup);
		class = entry ? *entry : other;
	}
	return class < nr_classes ? class : other;
}

/* The first queue of @class, not below @hctx, that the I/O may use. */
static int next_of_class(struct blk_dmabuf_desc *desc, u32 hctx, u32 class)
{
	int i, next = -ENOENT;

	bpf_for(i, 0, MAX_HCTX) {
		next = bpf_blk_dmabuf_next_hctx(desc, hctx);
		if (next < 0 || next % nr_classes == class)
			break;
		hctx = next + 1;
	}
	return next;
}

s32 BLKDMABUF_OP_SLEEPABLE(isolate_init, struct blk_dmabuf_queue *queue)
{
	return !nr_classes || nr_classes > MAX_CLASSES || other >= nr_classes ?
		-EINVAL : 0;
}

s32 BLKDMABUF_OP(isolate_map_queue, struct blk_dmabuf_desc *desc)
{
	u32 local = bpf_blk_dmabuf_hctx_local(desc), class = class_of(desc);
	int hctx;

	if (local % nr_classes == class)
		return local;
	hctx = next_of_class(desc, local, class);
	if (hctx < 0)
		hctx = next_of_class(desc, 0, class);
	/* No queue for each class: let them share, but always the same. */
	if (hctx < 0)
		hctx = bpf_blk_dmabuf_next_hctx(desc, class %
						bpf_blk_dmabuf_nr_hctx(desc));
	if (hctx < 0)
		hctx = bpf_blk_dmabuf_next_hctx(desc, 0);
	return hctx < 0 ? -1 : hctx;
}

void BLKDMABUF_OP(isolate_complete, struct blk_dmabuf_desc *desc)
{
	struct taken_key key = { class_of(desc), desc->hctx };
	u64 *count, one = 1;

	/* What was refused, or is going to be tried again, took none. */
	if (key.hctx < 0)
		return;
	count = bpf_map_lookup_elem(&taken, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&taken, &key, &one, BPF_NOEXIST);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops isolate = {
	.init		= (void *)isolate_init,
	.map_queue	= (void *)isolate_map_queue,
	.complete	= (void *)isolate_complete,
	.name		= "isolate",
};
