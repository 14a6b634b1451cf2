// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand out chunks of the bound buffers to reads, and take them back.
 *
 * A read that leaves the slot to the policy gets a chunk that nobody has; its
 * 32-byte completion says which.  The chunk stays with whoever consumes the
 * data until that one gives it back, by a struct pool_token in the user ring
 * buffer "returns".  A read that fails, or finds the end of the device, gives
 * its chunk back at once.  The order is first in, first out, and a buffer bound
 * to several channels is one pool for all of them.  TCP's receive path hands
 * out device memory in the same way.
 *
 * With nothing free a read fails with -ENOBUFS, or with -EAGAIN when the knob
 * "wait" is set: try again after something was given back.
 *
 * Shows: place() and complete() as a pair, state per registration under a
 * bpf_spin_lock, user space talking to a policy through a ring.
 *
 * When not to use it: when the application knows where it wants the data, and
 * for reads larger than a chunk, which fail with -EMSGSIZE.  Chunks are counted
 * in the map "chunks": swapping the policy for another object starts with all
 * chunks free, so have nothing handed out then.  Nor have reads in flight when
 * selecting "none" or another policy: complete() is not called for them any
 * more, and their chunks stay taken should pool be selected again.  After a
 * registration has ended, delete its id from the map.
 *
 *   bpftool struct_ops register build/bpf/pool.bpf.o /sys/fs/bpf/pool
 *   echo pool > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Bytes handed out at a time; a multiple of 4096, the largest block size. */
const volatile u32 chunk = 64 * 1024;

/* Nothing free: -EAGAIN instead of -ENOBUFS. */
const volatile bool wait = false;

#define MAX_REGS	64	/* each takes 48 KiB when it is first used */
#define MAX_CHUNKS	4096	/* of a registration; the rest is not used */
#define MAX_SLOTS	16	/* of a channel that are looked at */

/* One drain takes so many at most, as others wait for it. */
#define MAX_DRAIN	256

/* Until then somebody who drains at the same time has given something back. */
#define MAX_TRIES	16

/* What user space writes to the ring: byte "offset" of registration "id". */
struct pool_token {
	u32	id;
	u32	resv;
	u64	offset;
};

/* A chunk's owner, unless that is an I/O in flight: then its submit_ns. */
#define FREE		0
#define CONSUMER	1

/*
 * fifo: chunks that came back, from head to tail; fresh: from here on chunks
 * were never handed out.  Both counters wrap.
 */
struct pool_reg {
	struct bpf_spin_lock	lock;
	u32			head;
	u32			tail;
	u32			fresh;
	u32			fifo[MAX_CHUNKS];
	u64			owner[MAX_CHUNKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_REGS);
	__type(key, u32);
	__type(value, struct pool_reg);
} chunks SEC(".maps");

/*
 * A new one.  Not of its type: the verifier lets no program pass on memory that
 * holds a lock.
 */
static const u64 empty[sizeof(struct pool_reg) / sizeof(u64)];

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 64 * 1024);
} returns SEC(".maps");

/* Live: chunks handed out, given back; reads that got none; bad tokens. */
u64 nr_taken, nr_given, nr_empty, nr_bad;

static struct pool_reg *pool_reg(u32 id)
{
	struct pool_reg *reg = bpf_map_lookup_elem(&chunks, &id);

	if (reg)
		return reg;
	bpf_map_update_elem(&chunks, &id, empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&chunks, &id);
}

/* Take a chunk out of the @limit chunks of @reg; returns it, or -ENOBUFS. */
static int pool_take(struct pool_reg *reg, u32 limit, u64 owner)
{
	int nr = -ENOBUFS;

	bpf_spin_lock(&reg->lock);
	if (reg->head != reg->tail)
		nr = reg->fifo[reg->head++ % MAX_CHUNKS];
	else if (reg->fresh < limit)
		nr = reg->fresh++;
	if (nr >= 0)
		reg->owner[nr % MAX_CHUNKS] = owner;
	bpf_spin_unlock(&reg->lock);
	return nr;
}

/* Pass a chunk on; that its owner is @from makes a second time harmless. */
static bool pool_pass(u32 id, u64 offset, u64 from, u64 to)
{
	struct pool_reg *reg = bpf_map_lookup_elem(&chunks, &id);
	u64 nr = offset / chunk;
	bool ok = false;

	if (!reg || nr >= MAX_CHUNKS || offset % chunk)
		return false;
	bpf_spin_lock(&reg->lock);
	if (reg->owner[nr % MAX_CHUNKS] == from) {
		reg->owner[nr % MAX_CHUNKS] = to;
		if (to == FREE)
			reg->fifo[reg->tail++ % MAX_CHUNKS] = nr;
		ok = true;
	}
	bpf_spin_unlock(&reg->lock);
	return ok;
}

static long pool_give(struct bpf_dynptr *sample, void *ctx)
{
	struct pool_token token;
	u32 *room = ctx;

	if (bpf_dynptr_read(&token, sizeof(token), sample, 0, 0) ||
	    !pool_pass(token.id, token.offset, CONSUMER, FREE))
		__sync_fetch_and_add(&nr_bad, 1);
	else
		__sync_fetch_and_add(&nr_given, 1);
	return !--*room;
}

/* Try the slots of the I/O's channel. */
static int pool_find(struct blk_dmabuf_desc *desc)
{
	u64 limit, owner = desc->submit_ns;
	struct blk_dmabuf_grant grant;
	struct pool_reg *reg;
	int i, nr, slot = -1;

	bpf_for(i, 0, MAX_SLOTS) {
		slot = bpf_blk_dmabuf_next_slot(desc, slot + 1);
		if (slot < 0)
			break;
		if (bpf_blk_dmabuf_slot(desc, slot, &grant, sizeof(grant)) ||
		    !(grant.flags & BLK_DMABUF_F_WRITABLE))
			continue;
		limit = grant.bytes / chunk;
		if (limit > MAX_CHUNKS)
			limit = MAX_CHUNKS;
		reg = pool_reg(grant.id);
		nr = reg ? pool_take(reg, limit, owner) : -ENOBUFS;
		if (nr < 0)
			continue;
		bpf_blk_dmabuf_place(desc, slot, (u64)nr * chunk, desc->len);
		__sync_fetch_and_add(&nr_taken, 1);
		return 0;
	}
	return -ENOBUFS;
}

s32 BLKDMABUF_OP_SLEEPABLE(pool_init, struct blk_dmabuf_queue *queue)
{
	return !chunk || chunk % 4096 ? -EINVAL : 0;
}

s32 BLKDMABUF_OP(pool_place, struct blk_dmabuf_desc *desc)
{
	u32 room;
	int i;

	if (desc->slot != BLK_DMABUF_SLOT_ANY)
		return 0;
	if (desc->write)
		return -EINVAL;
	if (desc->len > chunk)
		return -EMSGSIZE;
	bpf_for(i, 0, MAX_TRIES) {
		if (!pool_find(desc))
			return 0;
		/* Only now: what is in the ring costs nothing until needed. */
		room = MAX_DRAIN;
		if (!bpf_user_ringbuf_drain(&returns, pool_give, &room, 0))
			break;
	}
	/* Another CPU may have emptied the ring in between. */
	if (!pool_find(desc))
		return 0;
	__sync_fetch_and_add(&nr_empty, 1);
	return wait ? -EAGAIN : -ENOBUFS;
}

void BLKDMABUF_OP(pool_complete, struct blk_dmabuf_desc *desc)
{
	if (desc->result > 0)
		pool_pass(desc->id, desc->offset, desc->submit_ns, CONSUMER);
	else if (pool_pass(desc->id, desc->offset, desc->submit_ns, FREE))
		__sync_fetch_and_add(&nr_given, 1);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops pool = {
	.init		= (void *)pool_init,
	.place		= (void *)pool_place,
	.complete	= (void *)pool_complete,
	.name		= "pool",
};
