// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for dma-buf I/O: BPF struct_ops, struct blk_dmabuf_ops.
 *
 *   bpftool struct_ops register build/bpf/stripe.bpf.o /sys/fs/bpf/stripe
 *   cat /sys/block/nvme0n1/queue/dmabuf_policy		# [none] stripe
 *   echo stripe > /sys/block/nvme0n1/queue/dmabuf_policy
 *   rm -r /sys/fs/bpf/stripe				# back to none
 *
 * What runs on a disk is its queue's ->dmabuf_ops.  The path of an I/O reads it
 * under RCU and takes no lock.  Everything else, in the order of locking:
 *
 *	policy.lock		read: select the policy for a disk
 *				write: swap or end it on all its disks
 *	selection.lock		init(), exit() and ->dmabuf_ops of one disk
 *	selection.admits	read: admit() of one disk; write: before exit()
 *	blk_dmabuf_lists	what is registered, and selected for which disk
 *
 *	write to sysfs		policy.lock (read), selection.lock
 *	write "none"		selection.lock
 *	del_gendisk()		selection.lock
 *	update, unregister	policy.lock (write), selection.lock of a disk
 *				at a time, and none for the grace period
 *	bind			selection.admits (read)
 *
 * No program runs and nothing is waited for under blk_dmabuf_lists.  A program
 * that takes its time therefore holds up the selections of its own policy, and
 * the end of its own disk, but no other disk and no other policy.
 *
 * Why these fit together:
 *
 *  - No disk joins a policy while that is swapped or ended: it would need
 *    policy.lock.  A disk may leave at any time: each step of a swap looks,
 *    under selection.lock, whether it is still there, and who takes it away
 *    stops all that was started on it, also what a swap has half done.
 *  - A policy that was found by its name can end before it is selected:
 *    policy.ops is NULL then.
 *  - del_gendisk() has removed the attribute before it calls
 *    blk_dmabuf_del_disk(), and removing waits for writers.  So nothing is
 *    selected afterwards, and who still looks at the selection finds no policy.
 *  - What was started on a disk holds its struct_ops map until exit() is over.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "blk.h"
#include "blk-mq.h"
#include "blk-dmabuf-internal.h"

/**
 * struct blk_dmabuf_policy - a name that can be selected
 * @list: entry in blk_dmabuf_policies
 * @ref: one as long as it is in that list, one for each writer to sysfs
 * @lock: see the top of this file
 * @ops: the programs, NULL when it has ended; under @lock
 * @name: the name
 */
struct blk_dmabuf_policy {
	struct list_head	list;
	refcount_t		ref;
	struct rw_semaphore	lock;
	struct blk_dmabuf_ops	*ops;
	char			name[BLK_DMABUF_POLICY_NAME_MAX];
};

/**
 * struct blk_dmabuf_selection - what is selected for a disk
 * @list: entry in blk_dmabuf_selections
 * @users: one as long as there is @disk, one for each who looks at it; under
 *	blk_dmabuf_lists
 * @disk: the disk, NULL when that has gone; valid as long as there is @policy,
 *	else to be read under blk_dmabuf_lists
 * @policy: the policy or NULL; written under @lock and blk_dmabuf_lists, read
 *	under either
 * @lock: see the top of this file
 * @other: programs that are started on @disk beside ->dmabuf_ops, while a swap
 *	is under way: first the next ones, then the last ones; under @lock
 * @admits: see the top of this file
 *
 * Made when something is selected for the first time, kept until the disk goes.
 */
struct blk_dmabuf_selection {
	struct list_head		list;
	unsigned int			users;
	struct gendisk			*disk;
	struct blk_dmabuf_policy	*policy;
	struct mutex			lock;	/* see the top */
	struct blk_dmabuf_ops		*other;
	struct rw_semaphore		admits;
};

static DEFINE_MUTEX(blk_dmabuf_lists);
static LIST_HEAD(blk_dmabuf_policies);
static LIST_HEAD(blk_dmabuf_selections);
static atomic64_t blk_dmabuf_ops_seq;

static struct bpf_struct_ops bpf_blk_dmabuf_ops;

/*
 * What a program may ask.  place() gets &blk_dmabuf_io.desc; map_queue() gets a
 * copy of it, so only the route is common to both.
 */

static struct blk_dmabuf_io *blk_dmabuf_desc_io(struct blk_dmabuf_desc *desc)
{
	return container_of(desc, struct blk_dmabuf_io, desc);
}

static struct request_queue *blk_dmabuf_desc_queue(struct blk_dmabuf_desc *desc)
{
	return container_of(desc, struct blk_dmabuf_route, desc)->q;
}

/* The hardware queue of what map_queue() is asked about, without a policy. */
static struct blk_mq_hw_ctx *blk_dmabuf_desc_local(struct blk_dmabuf_desc *desc)
{
	return container_of(desc, struct blk_dmabuf_route, desc)->local;
}

/* Programs run where the queue has been entered, so that the table stays. */
static struct blk_mq_hw_ctx *blk_dmabuf_hctx(struct request_queue *q,
					     unsigned int index)
{
	return rcu_dereference_protected(q->queue_hw_ctx, true)[index];
}

/* The hardware queue that no policy would give. */
static struct blk_mq_hw_ctx *blk_dmabuf_hctx_local(struct request_queue *q,
						   blk_opf_t opf)
{
	return blk_mq_map_queue(opf, blk_mq_get_ctx(q));
}

static bool blk_dmabuf_hctx_usable(struct blk_mq_hw_ctx *hctx,
				   enum hctx_type type)
{
	return hctx->type == type && blk_mq_hw_queue_mapped(hctx) &&
	       cpumask_intersects(hctx->cpumask, cpu_online_mask);
}

/**
 * blk_dmabuf_grant_init - describe a registration to a policy
 * @grant: filled in, but for what is bound already
 * @slots: whose registrations
 * @reg: the registration
 * @slot: its slot
 */
void blk_dmabuf_grant_init(struct blk_dmabuf_grant *grant,
			   const struct blk_dmabuf_slots *slots,
			   struct blk_dmabuf *reg, u32 slot)
{
	union blk_dmabuf_way way = blk_dmabuf_get_way(reg);

	*grant = (struct blk_dmabuf_grant) {
		.dev	= slots->dev,
		.id	= reg->id,
		.slot	= slot,
		.flags	= blk_dmabuf_get_flags(reg),
		.node	= blk_dmabuf_get_node(reg),
		.uid	= slots->uid,
		.cgroup	= slots->cgroup,
		.bytes	= reg->buf->bytes,
		.path	= way.path,
		.distance = way.distance,
		.provider_domain = way.domain,
		.provider = way.provider,
	};
}

__bpf_kfunc_start_defs();

/**
 * bpf_blk_dmabuf_place - say where the data of an I/O goes
 * @desc: the I/O
 * @slot: slot of the I/O's channel
 * @offset: first byte in the buffer
 * @len: bytes from @desc->pos on; the rest is asked for by another place()
 *
 * To be called from place(); the verifier rejects it elsewhere.  The last call
 * counts.  It is checked when place() has returned 0.
 */
__bpf_kfunc void bpf_blk_dmabuf_place(struct blk_dmabuf_desc *desc, u32 slot,
				      u64 offset, u32 len)
{
	desc->slot = slot;
	desc->offset = offset;
	desc->len = len;
	blk_dmabuf_desc_io(desc)->placed = true;
}

/**
 * bpf_blk_dmabuf_slot - look at a slot of an I/O's channel
 * @desc: the I/O
 * @slot: the slot
 * @grant: filled in, the registration's id, flags, node, size, path
 * @grant__sz: size of @grant
 *
 * To be called from place().
 *
 * Return: 0; %-ENOENT if nothing is bound there; %-EINVAL if @grant__sz is
 * wrong
 */
__bpf_kfunc int bpf_blk_dmabuf_slot(struct blk_dmabuf_desc *desc, u32 slot,
				    struct blk_dmabuf_grant *grant,
				    u32 grant__sz)
{
	struct blk_dmabuf_slots *slots = blk_dmabuf_desc_io(desc)->slots;
	struct blk_dmabuf *reg;

	if (grant__sz != sizeof(*grant))
		return -EINVAL;
	guard(rcu)();
	reg = blk_dmabuf_bound(slots, slot);
	if (!reg)
		return -ENOENT;
	blk_dmabuf_grant_init(grant, slots, reg, slot);
	return 0;
}

/**
 * bpf_blk_dmabuf_next_slot - walk the slots of an I/O's channel
 * @desc: the I/O
 * @slot: slot to start at
 *
 * To be called from place().
 *
 * Return: the first bound slot not below @slot, or %-ENOENT
 */
__bpf_kfunc int bpf_blk_dmabuf_next_slot(struct blk_dmabuf_desc *desc, u32 slot)
{
	struct blk_dmabuf_slots *slots = blk_dmabuf_desc_io(desc)->slots;
	const struct blk_dmabuf_table *table;

	guard(rcu)();
	table = rcu_dereference(slots->table);
	for (; slot < table->nr; slot++)
		if (rcu_access_pointer(table->regs[slot]))
			return slot;
	return -ENOENT;
}

/**
 * bpf_blk_dmabuf_nr_hctx - hardware queues of a disk, of all types
 * @desc: the I/O
 *
 * To be called from place() and map_queue().
 *
 * Return: how many the disk has whose policy is asked; in place() 0 if that
 * only passes I/O on to others
 */
__bpf_kfunc u32 bpf_blk_dmabuf_nr_hctx(struct blk_dmabuf_desc *desc)
{
	return READ_ONCE(blk_dmabuf_desc_queue(desc)->nr_hw_queues);
}

/**
 * bpf_blk_dmabuf_next_hctx - walk the hardware queues that a request may use
 * @desc: the I/O
 * @hctx: index to start at
 *
 * To be called from map_queue(), where the queues stay.  Leaves out queues of
 * another type (nvme's write_queues and poll_queues) and those whose CPUs are
 * all offline.
 *
 * Return: the first usable index not below @hctx, or %-ENOENT
 */
__bpf_kfunc int bpf_blk_dmabuf_next_hctx(struct blk_dmabuf_desc *desc, u32 hctx)
{
	struct request_queue *q = blk_dmabuf_desc_queue(desc);
	enum hctx_type type = blk_dmabuf_desc_local(desc)->type;

	for (; hctx < q->nr_hw_queues; hctx++)
		if (blk_dmabuf_hctx_usable(blk_dmabuf_hctx(q, hctx), type))
			return hctx;
	return -ENOENT;
}

/**
 * bpf_blk_dmabuf_hctx_local - hardware queue that no policy would give
 * @desc: the I/O
 *
 * To be called from map_queue().
 *
 * Return: its index
 */
__bpf_kfunc u32 bpf_blk_dmabuf_hctx_local(struct blk_dmabuf_desc *desc)
{
	return blk_dmabuf_desc_local(desc)->queue_num;
}

/**
 * bpf_blk_dmabuf_hctx_load - how busy is a hardware queue?
 * @desc: the I/O
 * @hctx: index of the queue
 *
 * To be called from map_queue().  Counts the tags in use, whoever's requests
 * they are; a look at a handful of cache lines.
 *
 * Return: requests, or %-ENOENT if there is no such queue
 */
__bpf_kfunc int bpf_blk_dmabuf_hctx_load(struct blk_dmabuf_desc *desc, u32 hctx)
{
	struct request_queue *q = blk_dmabuf_desc_queue(desc);
	struct blk_mq_tags *tags;

	if (hctx >= q->nr_hw_queues)
		return -ENOENT;
	tags = blk_dmabuf_hctx(q, hctx)->tags;
	return tags ? sbitmap_weight(&tags->bitmap_tags.sb) : -ENOENT;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(blk_dmabuf_policy_ids)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_place)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_slot)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_next_slot)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_nr_hctx)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_next_hctx)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_hctx_local)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_hctx_load)
BTF_KFUNCS_END(blk_dmabuf_policy_ids)

BTF_SET_START(blk_dmabuf_place_ids)
BTF_ID(func, bpf_blk_dmabuf_place)
BTF_ID(func, bpf_blk_dmabuf_slot)
BTF_ID(func, bpf_blk_dmabuf_next_slot)
BTF_ID(func, bpf_blk_dmabuf_nr_hctx)
BTF_SET_END(blk_dmabuf_place_ids)

BTF_SET_START(blk_dmabuf_map_queue_ids)
BTF_ID(func, bpf_blk_dmabuf_nr_hctx)
BTF_ID(func, bpf_blk_dmabuf_next_hctx)
BTF_ID(func, bpf_blk_dmabuf_hctx_local)
BTF_ID(func, bpf_blk_dmabuf_hctx_load)
BTF_SET_END(blk_dmabuf_map_queue_ids)

/* The members in front of the name are function pointers. */
#define MOFF_IDX(moff)	((moff) / sizeof(void (*)(void)))
#define OP_IDX(op)	MOFF_IDX(offsetof(struct blk_dmabuf_ops, op))

/* Which member may call what; the rest may call none of it. */
static const struct btf_id_set *const blk_dmabuf_op_ids[OP_IDX(name)] = {
	[OP_IDX(place)]		= &blk_dmabuf_place_ids,
	[OP_IDX(map_queue)]	= &blk_dmabuf_map_queue_ids,
};

static int blk_dmabuf_policy_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	const struct btf_id_set *ids;

	if (!btf_id_set8_contains(&blk_dmabuf_policy_ids, kfunc_id))
		return 0;
	/* A program that extends one of struct_ops comes here, too. */
	if (prog->type != BPF_PROG_TYPE_STRUCT_OPS)
		return -EACCES;
	/* Not known in the verifier's first pass; checked in the second. */
	if (!prog->aux->st_ops)
		return 0;
	if (prog->aux->st_ops != &bpf_blk_dmabuf_ops)
		return -EACCES;
	ids = blk_dmabuf_op_ids[MOFF_IDX(prog->aux->attach_st_ops_member_off)];
	return ids && btf_id_set_contains(ids, kfunc_id) ? 0 : -EACCES;
}

static const struct btf_kfunc_id_set blk_dmabuf_policy_set = {
	.owner	= THIS_MODULE,
	.set	= &blk_dmabuf_policy_ids,
	.filter	= blk_dmabuf_policy_filter,
};

/*
 * Looking for what is registered and selected.
 */

static struct blk_dmabuf_policy *blk_dmabuf_policy_find(const char *name)
{
	struct blk_dmabuf_policy *policy;

	lockdep_assert_held(&blk_dmabuf_lists);

	list_for_each_entry(policy, &blk_dmabuf_policies, list)
		if (!strcmp(policy->name, name))
			return policy;
	return NULL;
}

static struct blk_dmabuf_policy *blk_dmabuf_policy_get(const char *name)
{
	struct blk_dmabuf_policy *policy;

	guard(mutex)(&blk_dmabuf_lists);
	policy = blk_dmabuf_policy_find(name);
	if (policy)
		refcount_inc(&policy->ref);
	return policy;
}

static void blk_dmabuf_policy_put(struct blk_dmabuf_policy *policy)
{
	if (policy && refcount_dec_and_test(&policy->ref))
		kfree(policy);
}

DEFINE_FREE(blk_dmabuf_policy, struct blk_dmabuf_policy *,
	    blk_dmabuf_policy_put(_T))

static struct blk_dmabuf_selection *
blk_dmabuf_selection_find(const struct gendisk *disk)
{
	struct blk_dmabuf_selection *sel;

	lockdep_assert_held(&blk_dmabuf_lists);

	list_for_each_entry(sel, &blk_dmabuf_selections, list)
		if (sel->disk == disk)
			return sel;
	return NULL;
}

static struct blk_dmabuf_selection *
blk_dmabuf_selection_get(const struct gendisk *disk)
{
	struct blk_dmabuf_selection *sel;

	guard(mutex)(&blk_dmabuf_lists);
	sel = blk_dmabuf_selection_find(disk);
	if (sel)
		sel->users++;
	return sel;
}

static void blk_dmabuf_selection_put_locked(struct blk_dmabuf_selection *sel)
{
	lockdep_assert_held(&blk_dmabuf_lists);

	if (!sel || --sel->users)
		return;
	list_del(&sel->list);
	mutex_destroy(&sel->lock);
	kfree(sel);
}

static void blk_dmabuf_selection_put(struct blk_dmabuf_selection *sel)
{
	guard(mutex)(&blk_dmabuf_lists);
	blk_dmabuf_selection_put_locked(sel);
}

DEFINE_FREE(blk_dmabuf_selection, struct blk_dmabuf_selection *,
	    blk_dmabuf_selection_put(_T))

/* The same as blk_dmabuf_selection_get(), for a disk that has none yet, too. */
static struct blk_dmabuf_selection *
blk_dmabuf_selection_make(struct gendisk *disk)
{
	struct blk_dmabuf_selection *new __free(kfree) = kzalloc_obj(*new);
	struct blk_dmabuf_selection *sel;

	if (!new)
		return NULL;
	guard(mutex)(&blk_dmabuf_lists);
	sel = blk_dmabuf_selection_find(disk);
	if (!sel) {
		sel = no_free_ptr(new);
		sel->users = 1;
		sel->disk = disk;
		mutex_init(&sel->lock);
		init_rwsem(&sel->admits);
		list_add_tail(&sel->list, &blk_dmabuf_selections);
	}
	sel->users++;
	return sel;
}

/* Walk the disks of @policy: put @sel, or start if it is NULL, get the next. */
static struct blk_dmabuf_selection *
blk_dmabuf_selection_next(const struct blk_dmabuf_policy *policy,
			  struct blk_dmabuf_selection *sel)
{
	struct blk_dmabuf_selection *next;

	guard(mutex)(&blk_dmabuf_lists);
	next = list_prepare_entry(sel, &blk_dmabuf_selections, list);
	list_for_each_entry_continue(next, &blk_dmabuf_selections, list)
		if (next->policy == policy)
			break;
	if (list_entry_is_head(next, &blk_dmabuf_selections, list))
		next = NULL;
	else
		next->users++;
	blk_dmabuf_selection_put_locked(sel);
	return next;
}

/*
 * What the I/O path asks.
 */

/* A policy may not make up results that mean something to io_uring. */
static int blk_dmabuf_policy_errno(s32 ret, u32 dev,
				   enum blk_dmabuf_reason refused)
{
	if (!ret)
		return 0;
	if (ret > 0 || ret < -EHWPOISON)
		return blk_dmabuf_refuse(dev, NULL, BLK_DMABUF_POLICY_ERROR,
					 -EINVAL);
	return blk_dmabuf_refuse(dev, NULL, refused, ret);
}

/**
 * blk_dmabuf_policy_place - let the policy place what is left of an I/O
 * @io: the I/O; its ->desc is what is left of it, and then the piece placed.
 *	Position, length and direction are checked; ->reg is not known yet.  With
 *	->nowait it will be asked again if it says -EAGAIN
 * @block: a piece that is not the last is a multiple of this, a power of 2
 *
 * To be called if blk_dmabuf_slots_ask() for BLK_DMABUF_PLACE | BLK_DMABUF_COMPLETE.
 * With ->placed set it is the caller that checks slot and offset.  With
 * ->placed_by set blk_dmabuf_policy_complete() is due, whatever this returns.
 * Context: RCU read side.
 *
 * Return: 0, or -errno
 */
int blk_dmabuf_policy_place(struct blk_dmabuf_io *io, unsigned int block)
{
	struct request_queue *q = io->slots->disk->queue;
	u32 left = io->desc.len, len;
	struct blk_dmabuf_ops *ops;
	u64 seq;
	s32 ret;

	ops = rcu_dereference(q->dmabuf_ops);
	if (ops && ops->complete && !io->desc.submit_ns)
		io->desc.submit_ns = ktime_get_ns();
	if (!ops || !ops->place)
		return 0;
	io->q = q;
	ret = ops->place(&io->desc);
	seq = ops->seq;
	if (ret) {
		io->placed = false;
		return ret == -EAGAIN && io->nowait ? ret :
			blk_dmabuf_policy_errno(ret, io->desc.dev,
						BLK_DMABUF_POLICY_REFUSED);
	}
	if (!io->placed)
		return 0;
	io->placed_by = seq;
	len = io->desc.len;
	if (!len || len > left || (len < left && !IS_ALIGNED(len, block)))
		return blk_dmabuf_refuse(io->desc.dev, NULL,
					 BLK_DMABUF_POLICY_LENGTH, -EINVAL);
	return 0;
}

/**
 * blk_dmabuf_policy_complete - tell the policy how an I/O went
 * @io: the I/O
 *
 * To be called if blk_dmabuf_slots_ask() for BLK_DMABUF_COMPLETE.  The policy that
 * placed it hears of it, also if its answer was wrong and there
 * is no registration.  A policy without place() hears of what has a
 * registration.  Context: any.
 */
void blk_dmabuf_policy_complete(struct blk_dmabuf_io *io)
{
	struct blk_dmabuf_ops *ops;

	guard(rcu)();
	ops = rcu_dereference(io->slots->disk->queue->dmabuf_ops);
	if (!ops || !ops->complete)
		return;
	if (ops->place ? ops->seq == io->placed_by : !!io->reg)
		ops->complete(&io->desc);
}

/**
 * blk_dmabuf_policy_invalidated - tell the policy of a mapping that is gone
 * @disk: disk that the registration is on
 * @id: the registration
 *
 * Context: RCU read side, the buffer's reservation lock held; does not sleep.
 */
void blk_dmabuf_policy_invalidated(struct gendisk *disk, u32 id)
{
	struct blk_dmabuf_ops *ops = rcu_dereference(disk->queue->dmabuf_ops);

	if (ops && ops->invalidated)
		ops->invalidated(id);
}

/**
 * blk_dmabuf_policy_admit - may this channel bind this registration?
 * @disk: the disk that it is on
 * @grant: what it asks for
 *
 * Context: may sleep, and a program may take its time: hold nothing that others
 * wait for.
 *
 * Return: 0, or -errno
 */
int blk_dmabuf_policy_admit(struct gendisk *disk,
			    struct blk_dmabuf_grant *grant)
{
	struct blk_dmabuf_selection *sel __free(blk_dmabuf_selection) =
		blk_dmabuf_selection_get(disk);
	struct blk_dmabuf_ops *ops;

	if (!sel)
		return 0;
	guard(rwsem_read)(&sel->admits);
	ops = rcu_dereference_check(disk->queue->dmabuf_ops,
				    lockdep_is_held(&sel->admits));
	if (!ops || !ops->admit)
		return 0;
	return blk_dmabuf_policy_errno(ops->admit(grant), grant->dev,
				       BLK_DMABUF_NOT_ADMITTED);
}

/*
 * Hardware queues.
 */

/**
 * bio_dmabuf_hctx - the hardware queue that the policy chose
 * @bio: bio with REQ_DMABUF that bio_dmabuf_map_queue() has let pass, its queue
 *	entered
 *
 * Return: the hctx, or NULL for the default
 */
struct blk_mq_hw_ctx *bio_dmabuf_hctx(const struct bio *bio)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);
	unsigned int chosen = bio->bi_dmabuf_hctx;

	if (!chosen || chosen > q->nr_hw_queues)
		return NULL;
	return blk_dmabuf_hctx(q, chosen - 1);
}

/*
 * Ask below a stack: other disks may be asked about the I/O at this moment.
 * Apart, because what is on the stack may have to be cleared.
 */
static noinline s32 blk_dmabuf_policy_ask_leaf(const struct bio *bio,
					       struct request_queue *q,
					       struct blk_mq_hw_ctx *local,
					       const struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_route route;

	route.desc = bio->bi_dmabuf->desc;
	route.desc.dev = disk_devt(bio->bi_bdev->bd_disk);
	route.desc.hctx = -1;
	route.q = q;
	route.local = local;
	return ops->map_queue(&route.desc);
}

/* What the policy of the disk @bio has reached says. */
static __always_inline s32
blk_dmabuf_policy_ask(const struct bio *bio, struct request_queue *q,
		      struct blk_mq_hw_ctx *local)
{
	struct blk_dmabuf_io *io = bio->bi_dmabuf;
	struct blk_dmabuf_ops *ops;

	guard(rcu)();
	ops = rcu_dereference(q->dmabuf_ops);
	if (!ops || !ops->map_queue)
		return -1;
	if (unlikely(q != io->slots->disk->queue))
		return blk_dmabuf_policy_ask_leaf(bio, q, local, ops);
	io->q = q;
	io->local = local;
	return ops->map_queue(&io->desc);
}

static bool bio_dmabuf_bad_queue(struct bio *bio, enum blk_dmabuf_reason reason)
{
	blk_dmabuf_refuse_io(bio->bi_dmabuf, disk_devt(bio->bi_bdev->bd_disk),
			     reason, -EINVAL);
	bio_endio_status(bio, BLK_STS_INVAL);
	return false;
}

/* Apart, so that it costs nothing where there is no policy. */
static noinline bool bio_dmabuf_choose_queue(struct bio *bio,
					     struct request **cached)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);
	struct blk_mq_hw_ctx *local = blk_dmabuf_hctx_local(q, bio->bi_opf);
	s32 index = blk_dmabuf_policy_ask(bio, q, local);
	struct blk_mq_hw_ctx *hctx;

	if (index == -1)
		return true;
	if ((u32)index >= q->nr_hw_queues)
		return bio_dmabuf_bad_queue(bio, BLK_DMABUF_POLICY_HCTX);
	hctx = blk_dmabuf_hctx(q, index);
	if (hctx != local) {
		if (hctx->type != local->type)
			return bio_dmabuf_bad_queue(bio,
						BLK_DMABUF_POLICY_HCTX_TYPE);
		/* All CPUs of the hctx are offline: use the default. */
		if (!blk_dmabuf_hctx_usable(hctx, local->type))
			return true;
	}

	bio->bi_dmabuf_hctx = index + 1;
	if (*cached && (*cached)->mq_hctx != hctx) {
		/* The cached request brought the queue reference along. */
		percpu_ref_get(&q->q_usage_counter);
		rq_list_add_head(&current->plug->cached_rqs, *cached);
		*cached = NULL;
	}
	return true;
}

/* See bio_dmabuf_map_queue(). */
bool __bio_dmabuf_map_queue(struct bio *bio, struct request **cached)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);

	/* A bio that multipath sends again has the choice for another disk. */
	bio->bi_dmabuf_hctx = 0;
	if (likely(!blk_dmabuf_asks(q, BLK_DMABUF_MAP_QUEUE)))
		return true;
	return bio_dmabuf_choose_queue(bio, cached);
}

/*
 * Starting and stopping on a disk.  All under selection.lock.
 */

static void blk_dmabuf_queue_init(struct blk_dmabuf_queue *queue,
				  struct gendisk *disk)
{
	*queue = (struct blk_dmabuf_queue) {
		.dev		= disk_devt(disk),
		.nr_hctx	= disk->queue->nr_hw_queues,
		.node		= disk->node_id,
	};
	strscpy(queue->disk, disk->disk_name);
}

/* What is started has a reference to @ops and is due to be stopped. */
static int blk_dmabuf_ops_start(struct blk_dmabuf_selection *sel,
				struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_queue queue;
	int error = 0;

	lockdep_assert_held(&sel->lock);

	if (!bpf_struct_ops_get(ops))
		return -ENOENT;
	if (ops->init) {
		blk_dmabuf_queue_init(&queue, sel->disk);
		error = blk_dmabuf_policy_errno(ops->init(&queue), queue.dev,
						BLK_DMABUF_NOT_SELECTED);
	}
	if (error)
		bpf_struct_ops_put(ops);
	return error;
}

/* @ops is not published, and has not been for a grace period. */
static void blk_dmabuf_ops_stop(struct blk_dmabuf_selection *sel,
				struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_queue queue;

	lockdep_assert_held(&sel->lock);

	if (!ops)
		return;
	/* A grace period does not wait for programs that sleep. */
	down_write(&sel->admits);
	up_write(&sel->admits);
	if (ops->exit) {
		blk_dmabuf_queue_init(&queue, sel->disk);
		ops->exit(&queue);
	}
	bpf_struct_ops_put(ops);
}

static struct blk_dmabuf_ops *
blk_dmabuf_ops_publish(struct blk_dmabuf_selection *sel,
		       struct blk_dmabuf_ops *ops)
{
	struct request_queue *q = sel->disk->queue;
	u8 members = 0;

	if (ops && ops->place)
		members |= BLK_DMABUF_PLACE;
	if (ops && ops->map_queue)
		members |= BLK_DMABUF_MAP_QUEUE;
	if (ops && ops->complete)
		members |= BLK_DMABUF_COMPLETE;
	ops = rcu_replace_pointer(q->dmabuf_ops, ops,
				  lockdep_is_held(&sel->lock));
	WRITE_ONCE(q->dmabuf_members, members);
	return ops;
}

static void blk_dmabuf_selection_assign(struct blk_dmabuf_selection *sel,
					struct blk_dmabuf_policy *policy)
{
	lockdep_assert_held(&sel->lock);

	guard(mutex)(&blk_dmabuf_lists);
	sel->policy = policy;
}

/* Replace all that is started on a disk by @ops of @policy, or by nothing. */
static void blk_dmabuf_selection_set(struct blk_dmabuf_selection *sel,
				     struct blk_dmabuf_policy *policy,
				     struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_ops *old = blk_dmabuf_ops_publish(sel, ops);

	if (old || sel->other)
		synchronize_rcu();
	blk_dmabuf_ops_stop(sel, sel->other);
	blk_dmabuf_ops_stop(sel, old);
	sel->other = NULL;
	blk_dmabuf_selection_assign(sel, policy);
}

/*
 * Selecting.
 */

static int blk_dmabuf_policy_select(struct gendisk *disk, const char *name)
{
	struct blk_dmabuf_policy *policy __free(blk_dmabuf_policy) =
		blk_dmabuf_policy_get(name);
	struct blk_dmabuf_selection *sel __free(blk_dmabuf_selection) = NULL;
	int error;

	if (!policy)
		return -ENOENT;
	if (blk_dmabuf_check_disk(disk) != BLK_DMABUF_OK)
		return -EOPNOTSUPP;
	sel = blk_dmabuf_selection_make(disk);
	if (!sel)
		return -ENOMEM;

	guard(rwsem_read)(&policy->lock);
	guard(mutex)(&sel->lock);
	if (!policy->ops)
		return -ENOENT;
	if (sel->policy == policy)
		return 0;
	error = blk_dmabuf_ops_start(sel, policy->ops);
	if (!error)
		blk_dmabuf_selection_set(sel, policy, policy->ops);
	return error;
}

static void blk_dmabuf_policy_drop(struct gendisk *disk)
{
	struct blk_dmabuf_selection *sel __free(blk_dmabuf_selection) =
		blk_dmabuf_selection_get(disk);

	if (!sel)
		return;
	guard(mutex)(&sel->lock);
	blk_dmabuf_selection_set(sel, NULL, NULL);
}

ssize_t blk_dmabuf_policy_show(struct gendisk *disk, char *page)
{
	struct blk_dmabuf_policy *policy, *selected = NULL;
	struct blk_dmabuf_selection *sel;
	ssize_t len;

	guard(mutex)(&blk_dmabuf_lists);
	sel = blk_dmabuf_selection_find(disk);
	if (sel)
		selected = sel->policy;
	len = sysfs_emit(page, selected ? "none" : "[none]");
	list_for_each_entry(policy, &blk_dmabuf_policies, list)
		len += sysfs_emit_at(page, len,
				     policy == selected ? " [%s]" : " %s",
				     policy->name);
	len += sysfs_emit_at(page, len, "\n");
	return len;
}

ssize_t blk_dmabuf_policy_store(struct gendisk *disk, const char *page,
				size_t count)
{
	char buf[BLK_DMABUF_POLICY_NAME_MAX + 1];	/* and a newline */
	const char *name;
	int error = 0;

	if (strscpy(buf, page) < 0)
		return -ENOENT;
	name = strim(buf);
	if (!strcmp(name, "none"))
		blk_dmabuf_policy_drop(disk);
	else
		error = blk_dmabuf_policy_select(disk, name);
	return error ?: count;
}

/**
 * blk_dmabuf_del_disk - end all that is selected for and registered on a disk
 * @disk: the disk, its attributes in sysfs removed
 * @added: blk_dmabuf_add_disk() was called for it
 *
 * The block layer's hook.
 */
void blk_dmabuf_del_disk(struct gendisk *disk, bool added)
{
	struct blk_dmabuf_selection *sel;

	blk_dmabuf_policy_drop(disk);
	scoped_guard(mutex, &blk_dmabuf_lists) {
		sel = blk_dmabuf_selection_find(disk);
		if (sel) {
			/* A swap may look at it yet, a new disk must not. */
			sel->disk = NULL;
			blk_dmabuf_selection_put_locked(sel);
		}
	}
	blk_dmabuf_end_disk(disk, added);
}

/*
 * struct_ops.
 */

static s32 blk_dmabuf_ops__init(struct blk_dmabuf_queue *queue)
{
	return 0;
}

static void blk_dmabuf_ops__exit(struct blk_dmabuf_queue *queue)
{
}

static s32 blk_dmabuf_ops__admit(struct blk_dmabuf_grant *grant)
{
	return 0;
}

static s32 blk_dmabuf_ops__place(struct blk_dmabuf_desc *desc)
{
	return 0;
}

static s32 blk_dmabuf_ops__map_queue(struct blk_dmabuf_desc *desc)
{
	return -1;
}

static void blk_dmabuf_ops__complete(struct blk_dmabuf_desc *desc)
{
}

static void blk_dmabuf_ops__invalidated(u32 id)
{
}

static struct blk_dmabuf_ops blk_dmabuf_ops_stubs = {
	.init		= blk_dmabuf_ops__init,
	.exit		= blk_dmabuf_ops__exit,
	.admit		= blk_dmabuf_ops__admit,
	.place		= blk_dmabuf_ops__place,
	.map_queue	= blk_dmabuf_ops__map_queue,
	.complete	= blk_dmabuf_ops__complete,
	.invalidated	= blk_dmabuf_ops__invalidated,
};

static int blk_dmabuf_ops_init(struct btf *btf)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					 &blk_dmabuf_policy_set);
}

static int blk_dmabuf_ops_check_member(const struct btf_type *t,
				       const struct btf_member *member,
				       const struct bpf_prog *prog)
{
	switch (__btf_member_bit_offset(t, member) / 8) {
	case offsetof(struct blk_dmabuf_ops, init):
	case offsetof(struct blk_dmabuf_ops, exit):
	case offsetof(struct blk_dmabuf_ops, admit):
		return 0;
	default:
		return prog->sleepable ? -EINVAL : 0;
	}
}

static int blk_dmabuf_ops_init_member(const struct btf_type *t,
				      const struct btf_member *member,
				      void *kdata, const void *udata)
{
	const struct blk_dmabuf_ops *uops = udata;
	struct blk_dmabuf_ops *ops = kdata;

	if (__btf_member_bit_offset(t, member) / 8 !=
	    offsetof(struct blk_dmabuf_ops, name))
		return 0;
	if (bpf_obj_name_cpy(ops->name, uops->name, sizeof(ops->name)) <= 0 ||
	    !strcmp(ops->name, "none"))
		return -EINVAL;
	return 1;
}

static int blk_dmabuf_ops_reg(void *kdata, struct bpf_link *link)
{
	struct blk_dmabuf_policy *policy __free(kfree) =
		kzalloc_obj(*policy, GFP_KERNEL_ACCOUNT);
	struct blk_dmabuf_ops *ops = kdata;

	if (!policy)
		return -ENOMEM;
	refcount_set(&policy->ref, 1);
	init_rwsem(&policy->lock);
	policy->ops = ops;
	strscpy(policy->name, ops->name);

	guard(mutex)(&blk_dmabuf_lists);
	if (blk_dmabuf_policy_find(ops->name))
		return -EEXIST;
	/* Not before: another link may have registered these very programs. */
	ops->seq = atomic64_inc_return(&blk_dmabuf_ops_seq);
	list_add_tail(&no_free_ptr(policy)->list, &blk_dmabuf_policies);
	return 0;
}

/*
 * Swapping on all disks of a policy, in steps.  Each is done under
 * selection.lock, for the disks that have not left since the last one.
 */

/* sel->other: nothing, then the next programs */
static int blk_dmabuf_swap_start(struct blk_dmabuf_selection *sel,
				 struct blk_dmabuf_ops *ops)
{
	int error = blk_dmabuf_ops_start(sel, ops);

	if (!error)
		sel->other = ops;
	return error;
}

/* sel->other: the next programs or nothing, then the last ones */
static int blk_dmabuf_swap_publish(struct blk_dmabuf_selection *sel,
				   struct blk_dmabuf_ops *ops)
{
	sel->other = blk_dmabuf_ops_publish(sel, sel->other);
	return 0;
}

/* sel->other: what goes, the last programs or those of a swap that failed */
static int blk_dmabuf_swap_stop(struct blk_dmabuf_selection *sel,
				struct blk_dmabuf_ops *ops)
{
	blk_dmabuf_ops_stop(sel, sel->other);
	sel->other = NULL;
	if (!rcu_access_pointer(sel->disk->queue->dmabuf_ops))
		blk_dmabuf_selection_assign(sel, NULL);
	return 0;
}

static int blk_dmabuf_swap_each(struct blk_dmabuf_policy *policy,
				int (*step)(struct blk_dmabuf_selection *sel,
					    struct blk_dmabuf_ops *ops),
				struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_selection *sel = NULL;
	int error = 0;

	lockdep_assert_held_write(&policy->lock);

	while (!error && (sel = blk_dmabuf_selection_next(policy, sel))) {
		guard(mutex)(&sel->lock);
		if (sel->policy == policy)
			error = step(sel, ops);
	}
	blk_dmabuf_selection_put(sel);
	return error;
}

/* All disks or none, one grace period for all; @ops is NULL to end @policy. */
static int blk_dmabuf_policy_swap(struct blk_dmabuf_policy *policy,
				  struct blk_dmabuf_ops *ops)
{
	int error = 0;

	if (ops)
		error = blk_dmabuf_swap_each(policy, blk_dmabuf_swap_start,
					     ops);
	if (!error) {
		blk_dmabuf_swap_each(policy, blk_dmabuf_swap_publish, NULL);
		policy->ops = ops;
		synchronize_rcu();
	}
	blk_dmabuf_swap_each(policy, blk_dmabuf_swap_stop, NULL);
	return error;
}

static void blk_dmabuf_ops_unreg(void *kdata, struct bpf_link *link)
{
	struct blk_dmabuf_ops *ops = kdata;
	struct blk_dmabuf_policy *policy;

	scoped_guard(mutex, &blk_dmabuf_lists)
		policy = blk_dmabuf_policy_find(ops->name);
	if (WARN_ON_ONCE(!policy))
		return;
	scoped_guard(rwsem_write, &policy->lock)
		blk_dmabuf_policy_swap(policy, NULL);
	scoped_guard(mutex, &blk_dmabuf_lists)
		list_del(&policy->list);
	blk_dmabuf_policy_put(policy);
}

static int blk_dmabuf_ops_update(void *kdata, void *old_kdata,
				 struct bpf_link *link)
{
	const struct blk_dmabuf_ops *old = old_kdata;
	struct blk_dmabuf_policy *policy __free(blk_dmabuf_policy) =
		blk_dmabuf_policy_get(old->name);
	struct blk_dmabuf_ops *ops = kdata;

	/* The name is what selects it, so it stays. */
	if (strcmp(ops->name, old->name))
		return -EINVAL;
	if (WARN_ON_ONCE(!policy))
		return -ENOENT;
	guard(rwsem_write)(&policy->lock);
	if (ops == policy->ops)
		return 0;
	ops->seq = atomic64_inc_return(&blk_dmabuf_ops_seq);
	return blk_dmabuf_policy_swap(policy, ops);
}

static int blk_dmabuf_ops_validate(void *kdata)
{
	struct blk_dmabuf_ops *ops = kdata;

	return ops->name[0] ? 0 : -EINVAL;
}

static const struct bpf_verifier_ops blk_dmabuf_verifier_ops = {
	.get_func_proto		= bpf_base_func_proto,
	.is_valid_access	= bpf_tracing_btf_ctx_access,
};

static struct bpf_struct_ops bpf_blk_dmabuf_ops = {
	.verifier_ops	= &blk_dmabuf_verifier_ops,
	.init		= blk_dmabuf_ops_init,
	.check_member	= blk_dmabuf_ops_check_member,
	.init_member	= blk_dmabuf_ops_init_member,
	.validate	= blk_dmabuf_ops_validate,
	.reg		= blk_dmabuf_ops_reg,
	.unreg		= blk_dmabuf_ops_unreg,
	.update		= blk_dmabuf_ops_update,
	.cfi_stubs	= &blk_dmabuf_ops_stubs,
	.name		= "blk_dmabuf_ops",
	.owner		= THIS_MODULE,
};

static int __init blk_dmabuf_policy_init(void)
{
	blk_dmabuf_invalidated = blk_dmabuf_policy_invalidated;
	return register_bpf_struct_ops(&bpf_blk_dmabuf_ops, blk_dmabuf_ops);
}
late_initcall(blk_dmabuf_policy_init);
