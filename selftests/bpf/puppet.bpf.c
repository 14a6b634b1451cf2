// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that does what a test tells it to, and remembers what it saw.
 *
 * The variables are written while it runs.  Untouched they make a policy that
 * places each I/O where the application wants it, on the queue it would have
 * taken anyway.
 */
#include "blkdmabuf.bpf.h"
#include "puppet.h"

char LICENSE[] SEC("license") = "GPL";

#define AS_ASKED	(~0ULL)

/* place(): from file position wrong_from on; what is in front is left alone. */
u64 wrong_from;
u64 slot = AS_ASKED, offset = AS_ASKED, len = AS_ASKED;
u64 step = AS_ASKED;	/* place so many bytes at a time at most */
bool no_place;
s32 place_ret;

/* Place nonsense before. */
bool twice;

/* map_queue(): this one, or the one that the application's hint names. */
s32 hctx = -1;
bool hctx_is_hint;

s32 init_ret, admit_ret;

/* init() is fine so many times, and init_ret counts after that. */
u64 good_inits;

u64 inits, exits, admits, places, map_queues, completes, again, failed;
u64 invalidations;
u32 last_invalid;
struct puppet_io placed, queued, completed;
struct puppet_grant granted, seen;
struct puppet_queue started;
int seen_ret, next_slot;
u32 nr_hctx, local;
u64 walked;	/* the hctxs that next_hctx() shows, a bit each */
int load;

#define COUNT(what)	__sync_fetch_and_add(&(what), 1)

/* What several CPUs write at once is anybody's; tests look when it is quiet. */
static void save_io(struct puppet_io *to, struct blk_dmabuf_desc *desc)
{
	to->pos = desc->pos;
	to->offset = desc->offset;
	to->len = desc->len;
	to->slot = desc->slot;
	to->hint = desc->hint;
	to->id = desc->id;
	to->dev = desc->dev;
	to->uid = desc->uid;
	to->cgroup = desc->cgroup;
	to->submit_ns = desc->submit_ns;
	to->latency_ns = desc->latency_ns;
	to->result = desc->result;
	to->cpu = desc->cpu;
	to->node = desc->node;
	to->hctx = desc->hctx;
	to->vecs = desc->vecs;
	to->write = desc->write;
}

static void save_grant(struct puppet_grant *to, struct blk_dmabuf_grant *grant)
{
	to->dev = grant->dev;
	to->id = grant->id;
	to->slot = grant->slot;
	to->flags = grant->flags;
	to->node = grant->node;
	to->path = grant->path;
	to->distance = grant->distance;
	to->provider = grant->provider;
	to->uid = grant->uid;
	to->cgroup = grant->cgroup;
	to->bytes = grant->bytes;
	to->bound = grant->bound;
	to->uid_bound = grant->uid_bound;
	to->cgroup_bound = grant->cgroup_bound;
}

static void save_queue(struct puppet_queue *to, struct blk_dmabuf_queue *queue)
{
	to->dev = queue->dev;
	to->nr_hctx = queue->nr_hctx;
	to->node = queue->node;
	bpf_probe_read_kernel_str(to->disk, sizeof(to->disk), queue->disk);
}

s32 BLKDMABUF_OP_SLEEPABLE(puppet_init, struct blk_dmabuf_queue *queue)
{
	COUNT(inits);
	save_queue(&started, queue);
	return inits > good_inits ? init_ret : 0;
}

void BLKDMABUF_OP_SLEEPABLE(puppet_exit, struct blk_dmabuf_queue *queue)
{
	COUNT(exits);
}

s32 BLKDMABUF_OP_SLEEPABLE(puppet_admit, struct blk_dmabuf_grant *grant)
{
	COUNT(admits);
	save_grant(&granted, grant);
	return admit_ret;
}

s32 BLKDMABUF_OP(puppet_place, struct blk_dmabuf_desc *desc)
{
	struct blk_dmabuf_grant grant = {};
	u64 asked_offset = desc->offset;
	u32 asked_slot = desc->slot, bytes = desc->len;

	COUNT(places);
	save_io(&placed, desc);
	next_slot = bpf_blk_dmabuf_next_slot(desc, 0);
	seen_ret = bpf_blk_dmabuf_slot(desc, next_slot, &grant, sizeof(grant));
	save_grant(&seen, &grant);
	if (step < bytes)
		bytes = step;
	if (desc->pos < wrong_from) {
		bpf_blk_dmabuf_place(desc, desc->slot, desc->offset, bytes);
		return 0;
	}
	if (twice)
		bpf_blk_dmabuf_place(desc, 4095, ~0ULL, ~0U);
	if (!no_place)
		bpf_blk_dmabuf_place(desc,
				     slot == AS_ASKED ? asked_slot : slot,
				     offset == AS_ASKED ? asked_offset : offset,
				     len == AS_ASKED ? bytes : len);
	return place_ret;
}

static u64 walk_hctxs(struct blk_dmabuf_desc *desc)
{
	int i, next = -1;
	u64 seen = 0;

	bpf_for(i, 0, 64) {
		next = bpf_blk_dmabuf_next_hctx(desc, next + 1);
		if (next < 0 || next >= 64)
			break;
		seen |= 1ULL << next;
	}
	return seen;
}

s32 BLKDMABUF_OP(puppet_map_queue, struct blk_dmabuf_desc *desc)
{
	s32 chosen = hctx;

	COUNT(map_queues);
	save_io(&queued, desc);
	nr_hctx = bpf_blk_dmabuf_nr_hctx(desc);
	local = bpf_blk_dmabuf_hctx_local(desc);
	load = bpf_blk_dmabuf_hctx_load(desc, local);
	walked = walk_hctxs(desc);
	/* Else one instruction loads from either: the verifier refuses. */
	barrier_var(chosen);
	return hctx_is_hint ? (s32)desc->hint : chosen;
}

void BLKDMABUF_OP(puppet_complete, struct blk_dmabuf_desc *desc)
{
	COUNT(completes);
	if (desc->result == -EAGAIN)
		COUNT(again);
	else if (desc->result < 0)
		COUNT(failed);
	save_io(&completed, desc);
}

void BLKDMABUF_OP(puppet_invalidated, u32 id)
{
	COUNT(invalidations);
	last_invalid = id;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops puppet = {
	.init		= (void *)puppet_init,
	.exit		= (void *)puppet_exit,
	.admit		= (void *)puppet_admit,
	.place		= (void *)puppet_place,
	.map_queue	= (void *)puppet_map_queue,
	.complete	= (void *)puppet_complete,
	.invalidated	= (void *)puppet_invalidated,
	.name		= "puppet",
};
