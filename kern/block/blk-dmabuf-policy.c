// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies for dma-buf I/O: BPF struct_ops, struct blk_dmabuf_ops.
 *
 *   bpftool struct_ops register build/bpf/stripe.bpf.o /sys/fs/bpf/stripe
 *   cat /sys/block/nvme0n1/queue/dmabuf_policy		# [none] stripe
 *   echo stripe > /sys/block/nvme0n1/queue/dmabuf_policy
 *   rm -r /sys/fs/bpf/stripe				# back to none
 *
 * A queue's ->dmabuf_ops is written under blk_dmabuf_ops_lock and read under
 * RCU, by the path of an I/O with no more than that.  Programs that may sleep
 * run with the lock held instead.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/slab.h>

#include "blk.h"
#include "blk-mq.h"
#include "blk-dmabuf.h"

/**
 * struct blk_dmabuf_policy - a name that can be selected
 * @list: entry in blk_dmabuf_policies
 * @ops: the programs; a link update replaces them
 * @link: link that registered it
 */
struct blk_dmabuf_policy {
	struct list_head		list;
	struct blk_dmabuf_ops		*ops;
	struct bpf_link			*link;
};

/**
 * struct blk_dmabuf_choice - a policy selected for a disk
 * @list: entry in blk_dmabuf_choices
 * @policy: the policy
 * @disk: the disk, not yet deleted
 */
struct blk_dmabuf_choice {
	struct list_head		list;
	struct blk_dmabuf_policy	*policy;
	struct gendisk			*disk;
};

static DEFINE_MUTEX(blk_dmabuf_ops_lock);
static LIST_HEAD(blk_dmabuf_policies);
static LIST_HEAD(blk_dmabuf_choices);
static u64 blk_dmabuf_ops_seq;

static struct bpf_struct_ops bpf_blk_dmabuf_ops;

static struct blk_dmabuf_io *blk_dmabuf_desc_io(struct blk_dmabuf_desc *desc)
{
	return container_of(desc, struct blk_dmabuf_io, desc);
}

static struct request_queue *blk_dmabuf_desc_queue(struct blk_dmabuf_desc *desc)
{
	return blk_dmabuf_desc_io(desc)->chan->disk->queue;
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
 * @grant: filled in, the registration's id, flags, node, size
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
	struct blk_dmabuf_chan *chan = blk_dmabuf_desc_io(desc)->chan;
	struct blk_dmabuf *reg;

	if (grant__sz != sizeof(*grant))
		return -EINVAL;
	guard(rcu)();
	reg = xa_load(&chan->slots, slot);
	if (!reg)
		return -ENOENT;
	blk_dmabuf_grant_init(grant, chan, reg, slot);
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
	struct blk_dmabuf_chan *chan = blk_dmabuf_desc_io(desc)->chan;
	unsigned long index = slot;

	guard(rcu)();
	if (!xa_find(&chan->slots, &index, BLK_DMABUF_MAX_SLOTS, XA_PRESENT))
		return -ENOENT;
	return index;
}

/**
 * bpf_blk_dmabuf_nr_hctx - hardware queues of an I/O's device, of all types
 * @desc: the I/O
 *
 * To be called from place() and map_queue().
 */
__bpf_kfunc u32 bpf_blk_dmabuf_nr_hctx(struct blk_dmabuf_desc *desc)
{
	return blk_dmabuf_desc_queue(desc)->nr_hw_queues;
}

static bool blk_dmabuf_hctx_usable(struct request_queue *q, u32 index,
				   enum hctx_type type)
{
	struct blk_mq_hw_ctx *hctx = q->queue_hw_ctx[index];

	return hctx->type == type && blk_mq_hw_queue_mapped(hctx) &&
	       cpumask_intersects(hctx->cpumask, cpu_online_mask);
}

static enum hctx_type blk_dmabuf_hctx_type(struct request_queue *q,
					   blk_opf_t opf)
{
	return blk_mq_map_queue(opf, blk_mq_get_ctx(q))->type;
}

static blk_opf_t blk_dmabuf_desc_opf(const struct blk_dmabuf_desc *desc)
{
	return desc->write ? REQ_OP_WRITE : REQ_OP_READ;
}

/**
 * bpf_blk_dmabuf_next_hctx - walk the hardware queues that an I/O may use
 * @desc: the I/O
 * @hctx: index to start at
 *
 * To be called from map_queue().  Leaves out queues of another type (nvme's
 * write_queues and poll_queues) and those whose CPUs are all offline.
 *
 * Return: the first usable index not below @hctx, or %-ENOENT
 */
__bpf_kfunc int bpf_blk_dmabuf_next_hctx(struct blk_dmabuf_desc *desc, u32 hctx)
{
	struct request_queue *q = blk_dmabuf_desc_queue(desc);
	enum hctx_type type = blk_dmabuf_hctx_type(q, blk_dmabuf_desc_opf(desc));

	for (; hctx < q->nr_hw_queues; hctx++)
		if (blk_dmabuf_hctx_usable(q, hctx, type))
			return hctx;
	return -ENOENT;
}

/**
 * bpf_blk_dmabuf_hctx_local - hardware queue that no policy would give
 * @desc: the I/O
 *
 * To be called from map_queue().
 */
__bpf_kfunc u32 bpf_blk_dmabuf_hctx_local(struct blk_dmabuf_desc *desc)
{
	struct request_queue *q = blk_dmabuf_desc_queue(desc);

	return blk_mq_map_queue(blk_dmabuf_desc_opf(desc),
				blk_mq_get_ctx(q))->queue_num;
}

/**
 * bpf_blk_dmabuf_hctx_load - how busy is a hardware queue?
 * @desc: the I/O
 * @hctx: index of the queue
 *
 * To be called from map_queue(), where the queues stay.  Counts the tags in
 * use, whoever's requests they are; a look at a handful of cache lines.
 *
 * Return: requests, or %-ENOENT if there is no such queue
 */
__bpf_kfunc int bpf_blk_dmabuf_hctx_load(struct blk_dmabuf_desc *desc, u32 hctx)
{
	struct request_queue *q = blk_dmabuf_desc_queue(desc);
	struct blk_mq_tags *tags;

	if (hctx >= q->nr_hw_queues)
		return -ENOENT;
	tags = q->queue_hw_ctx[hctx]->tags;
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

BTF_ID_LIST(blk_dmabuf_policy_funcs)
BTF_ID(func, bpf_blk_dmabuf_place)
BTF_ID(func, bpf_blk_dmabuf_slot)
BTF_ID(func, bpf_blk_dmabuf_next_slot)
BTF_ID(func, bpf_blk_dmabuf_nr_hctx)
BTF_ID(func, bpf_blk_dmabuf_next_hctx)
BTF_ID(func, bpf_blk_dmabuf_hctx_local)
BTF_ID(func, bpf_blk_dmabuf_hctx_load)

#define IN_PLACE	BIT(0)
#define IN_MAP_QUEUE	BIT(1)

/* Which member may call which, in the order of blk_dmabuf_policy_funcs. */
static const u8 blk_dmabuf_policy_callers[] = {
	IN_PLACE,			/* bpf_blk_dmabuf_place */
	IN_PLACE,			/* bpf_blk_dmabuf_slot */
	IN_PLACE,			/* bpf_blk_dmabuf_next_slot */
	IN_PLACE | IN_MAP_QUEUE,	/* bpf_blk_dmabuf_nr_hctx */
	IN_MAP_QUEUE,			/* bpf_blk_dmabuf_next_hctx */
	IN_MAP_QUEUE,			/* bpf_blk_dmabuf_hctx_local */
	IN_MAP_QUEUE,			/* bpf_blk_dmabuf_hctx_load */
};

static u8 blk_dmabuf_prog_member(const struct bpf_prog *prog)
{
	switch (prog->aux->attach_st_ops_member_off) {
	case offsetof(struct blk_dmabuf_ops, place):
		return IN_PLACE;
	case offsetof(struct blk_dmabuf_ops, map_queue):
		return IN_MAP_QUEUE;
	default:
		return 0;
	}
}

static int blk_dmabuf_policy_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	int i;

	if (!btf_id_set8_contains(&blk_dmabuf_policy_ids, kfunc_id))
		return 0;
	if (prog->type != BPF_PROG_TYPE_STRUCT_OPS)
		return -EACCES;
	/* Not known in the first pass of the verifier; checked in the second. */
	if (!prog->aux->st_ops)
		return 0;
	if (prog->aux->st_ops != &bpf_blk_dmabuf_ops)
		return -EACCES;
	for (i = 0; i < ARRAY_SIZE(blk_dmabuf_policy_callers); i++)
		if (blk_dmabuf_policy_funcs[i] == kfunc_id &&
		    blk_dmabuf_policy_callers[i] & blk_dmabuf_prog_member(prog))
			return 0;
	return -EACCES;
}

static const struct btf_kfunc_id_set blk_dmabuf_policy_set = {
	.owner	= THIS_MODULE,
	.set	= &blk_dmabuf_policy_ids,
	.filter	= blk_dmabuf_policy_filter,
};

/*
 * What the I/O path asks.
 */

static struct blk_dmabuf_ops *blk_dmabuf_ops(struct gendisk *disk)
{
	return rcu_dereference(disk->queue->dmabuf_ops);
}

/* A policy may not make up results that mean something to io_uring. */
static int blk_dmabuf_policy_errno(s32 ret, struct gendisk *disk,
				   enum blk_dmabuf_reason refused)
{
	if (!ret)
		return 0;
	if (ret > 0 || ret < -EHWPOISON)
		return blk_dmabuf_refuse(disk, NULL, BLK_DMABUF_POLICY_ERROR,
					 -EINVAL);
	return blk_dmabuf_refuse(disk, NULL, refused, ret);
}

/**
 * blk_dmabuf_policy_place - let the policy place what is left of an I/O
 * @io: the I/O; its ->desc is what is left of it, and then the piece placed
 * @nowait: it will be asked again if it says -EAGAIN
 *
 * Return: 0, or -errno
 */
int blk_dmabuf_policy_place(struct blk_dmabuf_io *io, bool nowait)
{
	u32 left = io->desc.len, block;
	struct blk_dmabuf_ops *ops;
	u64 seq;
	s32 ret;

	scoped_guard(rcu) {
		ops = blk_dmabuf_ops(io->chan->disk);
		if (!ops || !ops->place)
			return 0;
		ret = ops->place(&io->desc);
		seq = ops->seq;
	}
	if (ret == -EAGAIN && nowait) {
		io->placed = false;
		return ret;
	}
	ret = blk_dmabuf_policy_errno(ret, io->chan->disk,
				      BLK_DMABUF_POLICY_REFUSED);
	if (ret) {
		io->placed = false;
		return ret;
	}
	if (!io->placed)
		return 0;
	/* From here its complete() is due, also if the answer is wrong. */
	io->placed_by = seq;
	block = queue_logical_block_size(io->chan->disk->queue);
	if (!io->desc.len || io->desc.len > left ||
	    (io->desc.len < left && io->desc.len & (block - 1)))
		return blk_dmabuf_refuse(io->chan->disk, NULL,
					 BLK_DMABUF_POLICY_LENGTH, -EINVAL);
	return 0;
}

/**
 * blk_dmabuf_policy_complete - tell the policy how its placement went
 * @io: the I/O
 */
void blk_dmabuf_policy_complete(struct blk_dmabuf_io *io)
{
	struct blk_dmabuf_ops *ops;

	guard(rcu)();
	ops = blk_dmabuf_ops(io->chan->disk);
	if (!ops || !ops->complete)
		return;
	/* A policy that does not place hears of every I/O. */
	if (!ops->place || ops->seq == io->placed_by)
		ops->complete(&io->desc);
}

void blk_dmabuf_policy_invalidated(struct gendisk *disk, u32 id)
{
	struct blk_dmabuf_ops *ops;

	guard(rcu)();
	ops = blk_dmabuf_ops(disk);
	if (ops && ops->invalidated)
		ops->invalidated(id);
}

/**
 * blk_dmabuf_policy_admit - may this channel bind this registration?
 * @disk: the disk
 * @grant: what it asks for
 *
 * Return: 0, or -errno
 */
int blk_dmabuf_policy_admit(struct gendisk *disk,
			    struct blk_dmabuf_grant *grant)
{
	struct blk_dmabuf_ops *ops;

	guard(mutex)(&blk_dmabuf_ops_lock);
	ops = rcu_dereference_protected(disk->queue->dmabuf_ops,
					lockdep_is_held(&blk_dmabuf_ops_lock));
	if (!ops || !ops->admit)
		return 0;
	return blk_dmabuf_policy_errno(ops->admit(grant), disk,
				       BLK_DMABUF_NOT_ADMITTED);
}

/*
 * Hardware queues.
 */

static s32 blk_dmabuf_policy_queue(struct blk_dmabuf_io *io)
{
	struct blk_dmabuf_ops *ops;

	guard(rcu)();
	ops = blk_dmabuf_ops(io->chan->disk);
	return ops && ops->map_queue ? ops->map_queue(&io->desc) : -1;
}

/**
 * bio_dmabuf_hctx - the hardware queue that the policy chose
 * @bio: bio with REQ_DMABUF that bio_dmabuf_enter() has let in
 *
 * Return: the hctx, or NULL for the default
 */
struct blk_mq_hw_ctx *bio_dmabuf_hctx(const struct bio *bio)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);
	s32 index = READ_ONCE(bio->bi_dmabuf->hctx);

	return index < 0 ? NULL : q->queue_hw_ctx[index];
}

/**
 * blk_dmabuf_policy_map_queue - ask for the hardware queue of a bio
 * @bio: bio with REQ_DMABUF, its queue entered
 * @cached: request of the plug that would be used; set to NULL if it is none of
 *	the queue that was chosen, and then belongs to the caller no more
 *
 * Return: false if the policy's answer is wrong, with the bio to be failed
 */
bool blk_dmabuf_policy_map_queue(struct bio *bio, struct request **cached)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);
	struct blk_dmabuf_io *io = bio->bi_dmabuf;
	s32 index = blk_dmabuf_policy_queue(io);
	struct blk_mq_hw_ctx *hctx;
	enum hctx_type type;

	/* The rest of a split may come here while the front waits for a tag. */
	if (index == -1) {
		WRITE_ONCE(io->hctx, -1);
		return true;
	}
	type = blk_dmabuf_hctx_type(q, bio->bi_opf);
	hctx = (u32)index < q->nr_hw_queues ? q->queue_hw_ctx[index] : NULL;
	if (!hctx || hctx->type != type) {
		io->refused = true;
		blk_dmabuf_refuse(io->chan->disk, io->map->reg, hctx ?
				  BLK_DMABUF_POLICY_HCTX_TYPE :
				  BLK_DMABUF_POLICY_HCTX, -EINVAL);
		return false;
	}
	/* Its CPUs can be offline, which is nobody's fault. */
	if (!blk_dmabuf_hctx_usable(q, index, type)) {
		WRITE_ONCE(io->hctx, -1);
		return true;
	}

	WRITE_ONCE(io->hctx, index);
	if (*cached && (*cached)->mq_hctx != hctx) {
		/* The cached request brought the queue reference along. */
		percpu_ref_get(&q->q_usage_counter);
		rq_list_add_head(&current->plug->cached_rqs, *cached);
		*cached = NULL;
	}
	return true;
}

/*
 * Selecting.  All under blk_dmabuf_ops_lock.
 */

static struct blk_dmabuf_policy *blk_dmabuf_policy_find(const char *name)
{
	struct blk_dmabuf_policy *policy;

	lockdep_assert_held(&blk_dmabuf_ops_lock);

	list_for_each_entry(policy, &blk_dmabuf_policies, list)
		if (!strcmp(policy->ops->name, name))
			return policy;
	return NULL;
}

static struct blk_dmabuf_choice *blk_dmabuf_choice_find(struct gendisk *disk)
{
	struct blk_dmabuf_choice *choice;

	lockdep_assert_held(&blk_dmabuf_ops_lock);

	list_for_each_entry(choice, &blk_dmabuf_choices, list)
		if (choice->disk == disk)
			return choice;
	return NULL;
}

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

/* Run with @ops on @disk from here; the reference to @ops is the queue's. */
static int blk_dmabuf_ops_start(struct blk_dmabuf_ops *ops,
				struct gendisk *disk)
{
	struct blk_dmabuf_queue queue;
	int ret = 0;

	if (!bpf_struct_ops_get(ops))
		return -ENOENT;
	if (ops->init) {
		blk_dmabuf_queue_init(&queue, disk);
		ret = blk_dmabuf_policy_errno(ops->init(&queue), disk,
					      BLK_DMABUF_NOT_SELECTED);
		if (ret)
			bpf_struct_ops_put(ops);
	}
	return ret;
}

/*
 * Programs that do not sleep are over after a grace period, those that do run
 * under blk_dmabuf_ops_lock.
 */
static void blk_dmabuf_ops_stop(struct blk_dmabuf_ops *ops,
				struct gendisk *disk)
{
	struct blk_dmabuf_queue queue;

	synchronize_rcu();
	if (ops->exit) {
		blk_dmabuf_queue_init(&queue, disk);
		ops->exit(&queue);
	}
	bpf_struct_ops_put(ops);
}

/* Replace what runs on @disk by @ops, or by nothing. */
static int blk_dmabuf_ops_swap(struct gendisk *disk, struct blk_dmabuf_ops *ops)
{
	struct blk_dmabuf_ops *old;
	int error;

	if (ops) {
		error = blk_dmabuf_ops_start(ops, disk);
		if (error)
			return error;
	}
	old = rcu_replace_pointer(disk->queue->dmabuf_ops, ops,
				  lockdep_is_held(&blk_dmabuf_ops_lock));
	if (old)
		blk_dmabuf_ops_stop(old, disk);
	return 0;
}

static void blk_dmabuf_choice_drop(struct blk_dmabuf_choice *choice)
{
	blk_dmabuf_ops_swap(choice->disk, NULL);
	list_del(&choice->list);
	kfree(choice);
}

static int blk_dmabuf_policy_select(struct gendisk *disk, const char *name)
{
	struct blk_dmabuf_choice *choice;
	struct blk_dmabuf_policy *policy;
	int error;

	guard(mutex)(&blk_dmabuf_ops_lock);
	choice = blk_dmabuf_choice_find(disk);
	if (!strcmp(name, "none")) {
		if (choice)
			blk_dmabuf_choice_drop(choice);
		return 0;
	}
	policy = blk_dmabuf_policy_find(name);
	if (!policy)
		return -ENOENT;
	if (choice && choice->policy == policy)
		return 0;
	if (blk_dmabuf_check_disk(disk) != BLK_DMABUF_OK)
		return -EOPNOTSUPP;
	if (!choice) {
		choice = kzalloc_obj(*choice);
		if (!choice)
			return -ENOMEM;
		choice->disk = disk;
		list_add(&choice->list, &blk_dmabuf_choices);
	}
	error = blk_dmabuf_ops_swap(disk, policy->ops);
	if (!error) {
		choice->policy = policy;
	} else if (!choice->policy) {
		list_del(&choice->list);
		kfree(choice);
	}
	return error;
}

ssize_t blk_dmabuf_policy_show(struct gendisk *disk, char *page)
{
	struct blk_dmabuf_choice *choice;
	struct blk_dmabuf_policy *policy;
	ssize_t len;

	guard(mutex)(&blk_dmabuf_ops_lock);
	choice = blk_dmabuf_choice_find(disk);
	len = sysfs_emit(page, choice ? "none" : "[none]");
	list_for_each_entry(policy, &blk_dmabuf_policies, list)
		len += sysfs_emit_at(page, len, choice &&
				     choice->policy == policy ?
				     " [%s]" : " %s", policy->ops->name);
	len += sysfs_emit_at(page, len, "\n");
	return len;
}

ssize_t blk_dmabuf_policy_store(struct gendisk *disk, const char *page,
				size_t count)
{
	char name[BLK_DMABUF_POLICY_NAME_MAX + 1];	/* and a newline */
	int error;

	if (strscpy(name, page) < 0)
		return -ENOENT;
	error = blk_dmabuf_policy_select(disk, strim(name));
	return error ?: count;
}

/* The disk has no sysfs any more, so what is dropped here stays so. */
void blk_dmabuf_policy_del_disk(struct gendisk *disk)
{
	struct blk_dmabuf_choice *choice;

	/* Disks that have none do not wait for programs of those that have. */
	if (!rcu_access_pointer(disk->queue->dmabuf_ops))
		return;
	guard(mutex)(&blk_dmabuf_ops_lock);
	choice = blk_dmabuf_choice_find(disk);
	if (choice)
		blk_dmabuf_choice_drop(choice);
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
	struct blk_dmabuf_ops *ops = kdata;
	struct blk_dmabuf_policy *policy;

	guard(mutex)(&blk_dmabuf_ops_lock);
	if (blk_dmabuf_policy_find(ops->name))
		return -EEXIST;
	policy = kzalloc_obj(*policy, GFP_KERNEL_ACCOUNT);
	if (!policy)
		return -ENOMEM;
	ops->seq = ++blk_dmabuf_ops_seq;
	policy->ops = ops;
	policy->link = link;
	list_add_tail(&policy->list, &blk_dmabuf_policies);
	return 0;
}

static struct blk_dmabuf_policy *blk_dmabuf_policy_of(void *kdata,
						      struct bpf_link *link)
{
	struct blk_dmabuf_policy *policy;

	lockdep_assert_held(&blk_dmabuf_ops_lock);

	list_for_each_entry(policy, &blk_dmabuf_policies, list)
		if (policy->ops == kdata && policy->link == link)
			return policy;
	return NULL;
}

static void blk_dmabuf_ops_unreg(void *kdata, struct bpf_link *link)
{
	struct blk_dmabuf_choice *choice, *next;
	struct blk_dmabuf_policy *policy;

	guard(mutex)(&blk_dmabuf_ops_lock);
	policy = blk_dmabuf_policy_of(kdata, link);
	if (WARN_ON_ONCE(!policy))
		return;
	list_for_each_entry_safe(choice, next, &blk_dmabuf_choices, list)
		if (choice->policy == policy)
			blk_dmabuf_choice_drop(choice);
	list_del(&policy->list);
	kfree(policy);
}

/* All disks or none: on an error those that were swapped are swapped back. */
static int blk_dmabuf_ops_update(void *kdata, void *old_kdata,
				 struct bpf_link *link)
{
	struct blk_dmabuf_ops *ops = kdata, *old = old_kdata;
	struct blk_dmabuf_choice *choice, *next;
	struct blk_dmabuf_policy *policy;
	int error = 0;

	guard(mutex)(&blk_dmabuf_ops_lock);
	policy = blk_dmabuf_policy_of(old_kdata, link);
	if (!policy)
		return -ENOENT;
	/* The name is what selects it, so it stays. */
	if (strcmp(ops->name, old->name))
		return -EINVAL;
	if (ops == old)
		return 0;
	ops->seq = ++blk_dmabuf_ops_seq;
	list_for_each_entry(choice, &blk_dmabuf_choices, list) {
		if (choice->policy != policy)
			continue;
		error = blk_dmabuf_ops_swap(choice->disk, ops);
		if (error)
			goto swap_back;
	}
	policy->ops = ops;
	return 0;

swap_back:
	list_for_each_entry_continue_reverse(choice, &blk_dmabuf_choices, list)
		if (choice->policy == policy &&
		    blk_dmabuf_ops_swap(choice->disk, old))
			choice->policy = NULL;
	/* Where the old one does not start again there is none. */
	list_for_each_entry_safe(choice, next, &blk_dmabuf_choices, list)
		if (!choice->policy)
			blk_dmabuf_choice_drop(choice);
	return error;
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
	return register_bpf_struct_ops(&bpf_blk_dmabuf_ops, blk_dmabuf_ops);
}
late_initcall(blk_dmabuf_policy_init);
