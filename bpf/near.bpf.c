// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read into the buffer that is closest to the device.
 *
 * An application that may use several buffers, one per NUMA node say, binds
 * them all and leaves the slot of its reads to the policy.  The data goes to
 * "offset" in memory of another device below the same switch, of several the
 * one with the fewest bridges in between; where there is none, in the buffer
 * on the device's node, then to one whose node is not known (not mapped yet),
 * and then to any other.  The 32-byte completion says which it was.
 *
 * Shows: what a policy can see of a slot, and a map that init() fills per
 * disk.
 *
 * When not to use it: on a machine with one node and no switch; where the data is used far
 * from the device, since then the buffer should be close to the user; with
 * many slots, since each read looks at all of them (up to 16).
 *
 *   bpftool struct_ops register build/bpf/near.bpf.o /sys/fs/bpf/near
 *   echo near > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Refuse with -EXDEV rather than read into a buffer on another node. */
const volatile bool strict = false;

#define EXDEV		18
#define MAX_SLOTS	16
#define MAX_DISKS	256

struct near_disk {
	s32 node;
	u32 users;	/* init() less exit() */
};

/* Each disk that the policy is selected for, by device number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_DISKS);
	__type(key, u32);
	__type(value, struct near_disk);
} disks SEC(".maps");

/* Up to SWITCH: that many bridges and devices below the switch. */
enum distance { SWITCH = 63, NEAR, ANYWHERE, FAR, UNFIT };

static u32 distance(const struct blk_dmabuf_grant *grant, s32 node)
{
	if (grant->path == BLK_DMABUF_PATH_P2P_SWITCH)
		return grant->distance < SWITCH ? grant->distance : SWITCH;
	if (grant->node < 0 || node < 0)
		return ANYWHERE;
	return grant->node == node ? NEAR : FAR;
}

static bool fits(const struct blk_dmabuf_grant *grant, u64 offset, u32 len)
{
	return grant->flags & BLK_DMABUF_F_WRITABLE && offset <= grant->bytes &&
	       len <= grant->bytes - offset;
}

/*
 * Swapped for another near that keeps the map, the new one is started before
 * the old one is stopped: the last to go removes the entry.  The kernel starts
 * and stops one at a time for a disk.
 */
s32 BLKDMABUF_OP_SLEEPABLE(near_init, struct blk_dmabuf_queue *queue)
{
	struct near_disk fresh = { .node = queue->node, .users = 1 }, *disk;
	u32 dev = queue->dev;

	disk = bpf_map_lookup_elem(&disks, &dev);
	if (!disk)
		return bpf_map_update_elem(&disks, &dev, &fresh, BPF_NOEXIST);
	disk->users++;
	return 0;
}

void BLKDMABUF_OP_SLEEPABLE(near_exit, struct blk_dmabuf_queue *queue)
{
	struct near_disk *disk;
	u32 dev = queue->dev;

	disk = bpf_map_lookup_elem(&disks, &dev);
	if (disk && !--disk->users)
		bpf_map_delete_elem(&disks, &dev);
}

s32 BLKDMABUF_OP(near_place, struct blk_dmabuf_desc *desc)
{
	u32 best = UNFIT, here;
	struct blk_dmabuf_grant grant;
	int i, slot = -1, chosen = -1;
	u64 offset = desc->offset;
	u32 dev = desc->dev, len = desc->len;
	struct near_disk *disk;

	/* What buffer holds what is to be written, the application knows. */
	if (desc->slot != BLK_DMABUF_SLOT_ANY || desc->write)
		return 0;
	/* One slot at the same offset is no place for several pieces. */
	if (desc->vecs > 1)
		return -EOPNOTSUPP;
	disk = bpf_map_lookup_elem(&disks, &dev);
	if (!disk)
		return 0;
	bpf_for(i, 0, MAX_SLOTS) {
		slot = bpf_blk_dmabuf_next_slot(desc, slot + 1);
		if (slot < 0)
			break;
		if (bpf_blk_dmabuf_slot(desc, slot, &grant, sizeof(grant)) ||
		    !fits(&grant, offset, len))
			continue;
		here = distance(&grant, disk->node);
		if (here < best) {
			best = here;
			chosen = slot;
		}
	}
	if (best == UNFIT)
		return -ENOSPC;
	if (strict && best == FAR)
		return -EXDEV;
	bpf_blk_dmabuf_place(desc, chosen, offset, len);
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops near = {
	.init	= (void *)near_init,
	.exit	= (void *)near_exit,
	.place	= (void *)near_place,
	.name	= "near",
};
