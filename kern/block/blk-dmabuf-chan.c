// SPDX-License-Identifier: GPL-2.0-only
/*
 * The application's side of block I/O on dma-bufs.
 *
 * /dev/blkdmabuf makes a channel out of an open block device.  The application
 * binds dma-bufs to slots of the channel by showing their file descriptors, and
 * names a slot in each io_uring command it sends to the channel.  What the file
 * may not do the channel may not do, and what is not bound cannot be reached.
 *
 * An I/O is the file's own direct I/O on an iterator that points into a
 * dma-buf mapping, so partitions, permissions, page cache coherency and, for
 * other kinds of files, block mapping are where they always are.
 */
#include <linux/anon_inodes.h>
#include <linux/blkdev.h>
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring/cmd.h>
#include <linux/ioprio.h>
#include <linux/miscdevice.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>
#include <trace/events/blk_dmabuf.h>

#include "blk-dmabuf.h"

/* What is kept of a command from its first issue to its completion. */
struct blk_dmabuf_pdu {
	u64	pos;
	u64	offset;
	u32	slot;
	u32	hint;
	u32	len : 31;
	u32	cqe32 : 1;
	s32	result;
};

/*
 * A command that a policy placed in pieces: each is an I/O of its own, and the
 * last one to end completes the command.
 */
struct blk_dmabuf_pieces {
	struct io_uring_cmd	*cmd;
	atomic_t		pending;
	atomic_t		error;
	atomic_t		done;
	u32			slot;
	u64			offset;
};

static struct kmem_cache *blk_dmabuf_io_cache;

/* All channels, for adding up what their owners have bound. */
static DEFINE_MUTEX(blk_dmabuf_chans_lock);
static LIST_HEAD(blk_dmabuf_chans);

static bool blk_dmabuf_cmd_is_write(const struct io_uring_cmd *cmd)
{
	return cmd->cmd_op == BLK_DMABUF_CMD_WRITE;
}

static struct blk_dmabuf_pdu *blk_dmabuf_pdu(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_to_pdu(cmd, struct blk_dmabuf_pdu);
}

/*
 * Completion: the map goes in the context the device completes in, so that who
 * waits for it does not wait for the submitter; the CQE is the submitter's.
 */

static void blk_dmabuf_io_complete(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *cmd = io_uring_cmd_from_tw(tw_req);
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	/* Nothing was submitted for want of a tag or a split: from a worker. */
	if (pdu->result == -EIOCBQUEUED)
		io_uring_cmd_issue_blocking(cmd);
	else if (pdu->cqe32)
		io_uring_cmd_done32(cmd, pdu->result,
				    (u64)pdu->slot << 48 | pdu->offset,
				    IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
	else
		io_uring_cmd_done(cmd, pdu->result,
				  IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}

/* Where it was placed, or the first piece of it, the application may learn. */
static void blk_dmabuf_cmd_complete(struct io_uring_cmd *cmd, s32 result,
				    u32 slot, u64 offset)
{
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	pdu->result = result;
	/* What was asked for is still needed to ask for it again. */
	if (result != -EIOCBQUEUED) {
		pdu->slot = slot;
		pdu->offset = offset;
		io_uring_cmd_do_in_task_lazy(cmd, blk_dmabuf_io_complete);
	} else {
		/* Lazy is for what makes a CQE. */
		io_uring_cmd_complete_in_task(cmd, blk_dmabuf_io_complete);
	}
}

static void blk_dmabuf_pieces_put(struct blk_dmabuf_pieces *pieces)
{
	int error;

	if (!atomic_dec_and_test(&pieces->pending))
		return;
	error = atomic_read(&pieces->error);
	blk_dmabuf_cmd_complete(pieces->cmd,
				error ?: atomic_read(&pieces->done),
				pieces->slot, pieces->offset);
	kfree(pieces);
}

static void blk_dmabuf_piece_done(struct blk_dmabuf_pieces *pieces, s32 result)
{
	if (result < 0)
		atomic_cmpxchg(&pieces->error, 0, result);
	else
		atomic_add(result, &pieces->done);
	blk_dmabuf_pieces_put(pieces);
}

static void blk_dmabuf_account(struct blk_dmabuf_stats __percpu *stats,
			       bool write, s32 result)
{
	if (result < 0) {
		atomic64_inc(&blk_dmabuf_refused[BLK_DMABUF_IO_ERROR]);
		this_cpu_inc(stats->errors);
	} else if (write) {
		this_cpu_inc(stats->writes);
		this_cpu_add(stats->write_bytes, result);
	} else {
		this_cpu_inc(stats->reads);
		this_cpu_add(stats->read_bytes, result);
	}
}

static void blk_dmabuf_io_free(struct blk_dmabuf_io *io)
{
	if (io->map)
		percpu_ref_put(&io->map->ref);
	kmem_cache_free(blk_dmabuf_io_cache, io);
}

/* The I/O is over: tell everybody, drop what it held.  Context: any. */
static void blk_dmabuf_io_end(struct blk_dmabuf_io *io, s32 result)
{
	struct blk_dmabuf_desc *desc = &io->desc;

	desc->result = result;
	desc->latency_ns = ktime_get_ns() - desc->submit_ns;
	/* What was refused has been counted, what is tried again will be. */
	if (io->iocb.ki_filp && !io->refused && result != -EAGAIN) {
		blk_dmabuf_account(io->map->reg->stats, desc->write, result);
		trace_blk_dmabuf_complete(desc);
	}
	blk_dmabuf_policy_complete(io);
	blk_dmabuf_io_free(io);
}

static void blk_dmabuf_io_done(struct kiocb *iocb, long result)
{
	struct blk_dmabuf_io *io = container_of(iocb, struct blk_dmabuf_io,
						iocb);
	bool again = result == -EAGAIN && iocb->ki_flags & IOCB_NOWAIT;
	struct blk_dmabuf_pieces *pieces = io->pieces;
	struct io_uring_cmd *cmd = io->cmd;
	u64 offset = io->desc.offset;
	u32 slot = io->desc.slot;

	blk_dmabuf_io_end(io, result);
	if (pieces)
		blk_dmabuf_piece_done(pieces, result);
	else
		blk_dmabuf_cmd_complete(cmd, again ? -EIOCBQUEUED : result,
					slot, offset);
}

/*
 * Submission.
 */

static int blk_dmabuf_cmd_read_sqe(struct io_uring_cmd *cmd,
				   unsigned int issue_flags)
{
	const struct io_uring_sqe *sqe = cmd->sqe;
	const struct blk_dmabuf_cmd *args =
		io_uring_sqe_cmd(sqe, struct blk_dmabuf_cmd);
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);
	u32 len = READ_ONCE(sqe->len);

	if (sqe->ioprio || cmd->flags & IORING_URING_CMD_MASK ||
	    sqe->buf_index || sqe->file_index)
		return -EINVAL;
	pdu->pos = READ_ONCE(sqe->addr);
	pdu->offset = READ_ONCE(args->offset);
	pdu->slot = READ_ONCE(args->slot);
	pdu->hint = READ_ONCE(args->hint);
	/* As every read or write; the rest is reported as not done. */
	pdu->len = min_t(u32, len, MAX_RW_COUNT);
	pdu->cqe32 = !!(issue_flags & IO_URING_F_CQE32);
	/* The SQE is the application's again once this has been queued. */
	cmd->flags |= IORING_URING_CMD_REISSUE;
	return 0;
}

/*
 * Map for the first I/O, or after an invalidation.  A buffer can be moved again
 * before it is used, but not for ever.
 */
static struct blk_dmabuf_map *blk_dmabuf_map_now(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_map *map;
	int error;

	do {
		error = blk_dmabuf_map(reg);
		if (error)
			return ERR_PTR(error);
		map = blk_dmabuf_get_map(reg);
		if (map)
			return map;
	} while (!fatal_signal_pending(current));
	return ERR_PTR(-EINTR);
}

/* Take the map that the I/O's slot has, or make one if that may sleep. */
static int blk_dmabuf_io_map(struct blk_dmabuf_io *io, bool nowait)
{
	u32 slot = io->desc.slot;
	struct blk_dmabuf_map *map;
	struct blk_dmabuf *reg;

	scoped_guard(rcu) {
		reg = slot < BLK_DMABUF_MAX_SLOTS ?
			xa_load(&io->chan->slots, slot) : NULL;
		if (!reg)
			return -ENOENT;
		io->desc.id = reg->id;
		io->map = blk_dmabuf_get_map(reg);
		if (io->map)
			return 0;
		if (nowait)
			return -EAGAIN;
		if (!kref_get_unless_zero(&reg->ref))
			return -ENOENT;
	}
	map = blk_dmabuf_map_now(reg);
	blk_dmabuf_put(reg);
	if (IS_ERR(map))
		return PTR_ERR(map);
	io->map = map;
	return 0;
}

/* Who is to blame: the policy, if it has placed the I/O. */
static int blk_dmabuf_io_refuse(struct blk_dmabuf_io *io,
				enum blk_dmabuf_reason reason,
				enum blk_dmabuf_reason by_policy, int error)
{
	return blk_dmabuf_refuse(io->chan->disk,
				 io->map ? io->map->reg : NULL,
				 io->placed ? by_policy : reason, error);
}

static int blk_dmabuf_io_check(struct blk_dmabuf_io *io)
{
	struct block_device *bdev = file_bdev(io->chan->file);
	unsigned int block = bdev_logical_block_size(bdev);
	const struct blk_dmabuf_desc *desc = &io->desc;
	fmode_t mode = io->chan->file->f_mode;
	u64 bytes = io->map->bytes;

	if (desc->offset > bytes || desc->len > bytes - desc->offset)
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_RANGE,
					    BLK_DMABUF_POLICY_RANGE, -ERANGE);
	if (desc->offset & bdev_dma_alignment(bdev))
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_UNALIGNED,
					    BLK_DMABUF_POLICY_UNALIGNED,
					    -EINVAL);
	if (!desc->len || (desc->pos | desc->len) & (block - 1))
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_UNALIGNED,
					    BLK_DMABUF_UNALIGNED, -EINVAL);
	if (!(mode & (desc->write ? FMODE_WRITE : FMODE_READ)))
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_ACCESS,
					    BLK_DMABUF_ACCESS, -EBADF);
	/* Reading the device is writing the buffer. */
	if (!desc->write && io->map->reg->dir == DMA_TO_DEVICE)
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_ACCESS,
					    BLK_DMABUF_POLICY_ACCESS, -EACCES);
	return 0;
}

static void blk_dmabuf_iocb_init(struct kiocb *iocb, struct file *file,
				 loff_t pos, bool nowait)
{
	*iocb = (struct kiocb) {
		.ki_filp	= file,
		.ki_pos		= pos,
		.ki_flags	= file->f_iocb_flags | IOCB_DIRECT,
		.ki_ioprio	= get_current_ioprio(),
		.ki_complete	= blk_dmabuf_io_done,
	};
	iocb->ki_flags &= ~(IOCB_APPEND | IOCB_NOWAIT);
	if (nowait)
		iocb->ki_flags |= IOCB_NOWAIT;
}

static struct blk_dmabuf_io *blk_dmabuf_io_alloc(struct blk_dmabuf_chan *chan,
						 struct io_uring_cmd *cmd,
						 u32 skip)
{
	const struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);
	struct blk_dmabuf_io *io;

	io = kmem_cache_alloc(blk_dmabuf_io_cache, GFP_KERNEL);
	if (!io)
		return NULL;
	*io = (struct blk_dmabuf_io) {
		.desc = {
			.pos		= pdu->pos + skip,
			.offset		= pdu->offset + skip,
			.len		= pdu->len - skip,
			.slot		= pdu->slot,
			.hint		= pdu->hint,
			.dev		= disk_devt(chan->disk),
			.uid		= chan->uid,
			.cgroup		= chan->cgroup,
			.submit_ns	= ktime_get_ns(),
			.cpu		= raw_smp_processor_id(),
			.node		= numa_node_id(),
			.hctx		= -1,
			.write		= blk_dmabuf_cmd_is_write(cmd),
		},
		.chan	= chan,
		.cmd	= cmd,
		.hctx	= -1,
	};
	return io;
}

/*
 * Decide where the I/O goes, or its first piece.  From here on the I/O ends
 * with blk_dmabuf_io_end(), whatever happens.
 */
static int blk_dmabuf_io_place(struct blk_dmabuf_io *io, bool nowait)
{
	const struct blk_dmabuf_desc *desc = &io->desc;
	enum blk_dmabuf_reason reason;
	loff_t pos = desc->pos;
	int error;

	error = blk_dmabuf_policy_place(io, nowait);
	if (error)
		return error;
	/* Whoever is asked here may take time: not with the map in hand. */
	error = rw_verify_area(desc->write ? WRITE : READ, io->chan->file, &pos,
			       desc->len);
	if (error) {
		reason = error == -EINVAL ? BLK_DMABUF_RANGE :
					    BLK_DMABUF_ACCESS;
		return blk_dmabuf_io_refuse(io, reason, reason, error);
	}
	error = blk_dmabuf_io_map(io, nowait);
	if (error == -ENOENT)
		return blk_dmabuf_io_refuse(io, BLK_DMABUF_NO_SLOT,
					    BLK_DMABUF_POLICY_SLOT, error);
	return error ?: blk_dmabuf_io_check(io);
}

/*
 * With the map in hand, reclaim must not come to an exporter that takes it away
 * and waits for us, nor may we wait for somebody who is there.  That is why it
 * is not vfs_iocb_iter_write(), which would ask for write access here; a block
 * device needs none.
 */
static int blk_dmabuf_io_submit(struct blk_dmabuf_io *io, bool nowait)
{
	struct blk_dmabuf_desc *desc = &io->desc;
	unsigned int nofs = memalloc_nofs_save();
	struct file *file = io->chan->file;
	struct iov_iter iter;
	int ret;

	blk_dmabuf_iocb_init(&io->iocb, file, desc->pos, nowait);
	iov_iter_dmabuf(&iter, desc->write ? ITER_SOURCE : ITER_DEST, io,
			desc->offset, desc->len);
	trace_blk_dmabuf_submit(desc);
	lock_map_acquire_read(&blk_dmabuf_map_held);
	if (desc->write)
		ret = file->f_op->write_iter(&io->iocb, &iter);
	else
		ret = file->f_op->read_iter(&io->iocb, &iter);
	lock_map_release(&blk_dmabuf_map_held);
	memalloc_nofs_restore(nofs);
	return ret;
}

/* Submit a piece; its end is accounted to @pieces. */
static void blk_dmabuf_piece_submit(struct blk_dmabuf_pieces *pieces,
				    struct blk_dmabuf_io *io)
{
	int ret;

	atomic_inc(&pieces->pending);
	io->pieces = pieces;
	ret = blk_dmabuf_io_submit(io, false);
	if (ret == -EIOCBQUEUED)
		return;
	blk_dmabuf_io_end(io, ret);
	blk_dmabuf_piece_done(pieces, ret);
}

/* Submit @io, the first piece, and place and submit the rest. */
static int blk_dmabuf_cmd_submit_pieces(struct blk_dmabuf_io *io)
{
	struct blk_dmabuf_chan *chan = io->chan;
	struct io_uring_cmd *cmd = io->cmd;
	const struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);
	struct blk_dmabuf_pieces *pieces;
	u32 done = 0;
	int error;

	/* The first piece has its map already, see blk_dmabuf_io_submit(). */
	pieces = kmalloc_obj(*pieces, GFP_NOFS);
	if (!pieces) {
		blk_dmabuf_io_end(io, -ENOMEM);
		return -ENOMEM;
	}
	pieces->cmd = cmd;
	atomic_set(&pieces->pending, 1);
	atomic_set(&pieces->error, 0);
	atomic_set(&pieces->done, 0);
	pieces->slot = io->desc.slot;
	pieces->offset = io->desc.offset;

	for (;;) {
		done += io->desc.len;
		blk_dmabuf_piece_submit(pieces, io);
		/* As undivided I/O, it is short at the end of the device. */
		if (done == pdu->len || atomic_read(&pieces->error) ||
		    pdu->pos + done >= bdev_nr_bytes(file_bdev(chan->file)))
			break;
		io = blk_dmabuf_io_alloc(chan, cmd, done);
		error = io ? blk_dmabuf_io_place(io, false) : -ENOMEM;
		if (!error)
			continue;
		if (io)
			blk_dmabuf_io_end(io, error);
		atomic_cmpxchg(&pieces->error, 0, error);
		break;
	}
	blk_dmabuf_pieces_put(pieces);
	return -EIOCBQUEUED;
}

static int blk_dmabuf_cmd_submit(struct blk_dmabuf_chan *chan,
				 struct io_uring_cmd *cmd, bool nowait)
{
	struct blk_dmabuf_io *io;
	int ret;

	io = blk_dmabuf_io_alloc(chan, cmd, 0);
	if (!io)
		return -ENOMEM;
	ret = blk_dmabuf_io_place(io, nowait);
	if (ret)
		goto end;
	if (io->desc.len < blk_dmabuf_pdu(cmd)->len) {
		/* Once a piece is in flight there is no way back to wait. */
		if (!nowait)
			return blk_dmabuf_cmd_submit_pieces(io);
		ret = -EAGAIN;
		goto end;
	}
	ret = blk_dmabuf_io_submit(io, nowait);
	if (ret == -EIOCBQUEUED)
		return ret;
end:
	blk_dmabuf_io_end(io, ret);
	return ret;
}

static int blk_dmabuf_chan_uring_cmd(struct io_uring_cmd *cmd,
				     unsigned int issue_flags)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;
	bool nowait = issue_flags & IO_URING_F_NONBLOCK;
	int error;

	if (cmd->cmd_op != BLK_DMABUF_CMD_READ &&
	    cmd->cmd_op != BLK_DMABUF_CMD_WRITE)
		return -EOPNOTSUPP;
	if (!(cmd->flags & IORING_URING_CMD_REISSUE)) {
		error = blk_dmabuf_cmd_read_sqe(cmd, issue_flags);
		if (error)
			return error;
	}
	if (nowait && !(chan->file->f_mode & FMODE_NOWAIT))
		return -EAGAIN;
	return blk_dmabuf_cmd_submit(chan, cmd, nowait);
}

/*
 * Binding.
 */

/* All that a policy may know of @reg and of who asks, but for what is bound. */
void blk_dmabuf_grant_init(struct blk_dmabuf_grant *grant,
			   struct blk_dmabuf_chan *chan, struct blk_dmabuf *reg,
			   u32 slot)
{
	*grant = (struct blk_dmabuf_grant) {
		.dev	= disk_devt(chan->disk),
		.id	= reg->id,
		.slot	= slot,
		.flags	= blk_dmabuf_get_flags(reg),
		.node	= READ_ONCE(reg->node),
		.uid	= chan->uid,
		.cgroup	= chan->cgroup,
		.bytes	= reg->bytes,
	};
}

static void blk_dmabuf_grant_add_up(struct blk_dmabuf_grant *grant,
				    struct blk_dmabuf_chan *mine)
{
	struct blk_dmabuf_chan *chan;

	lockdep_assert_held(&blk_dmabuf_chans_lock);

	list_for_each_entry(chan, &blk_dmabuf_chans, list) {
		u64 bound = atomic64_read(&chan->bound);

		if (chan == mine)
			grant->bound += bound;
		if (chan->uid == mine->uid)
			grant->uid_bound += bound;
		if (chan->cgroup == mine->cgroup)
			grant->cgroup_bound += bound;
	}
}

/* On success the slot owns the reference to the registration. */
static int blk_dmabuf_slot_bind(struct blk_dmabuf_chan *chan,
				struct blk_dmabuf *reg, u32 *slot)
{
	struct blk_dmabuf_grant grant;
	int error;

	if (*slot != BLK_DMABUF_SLOT_ANY && *slot >= BLK_DMABUF_MAX_SLOTS)
		return -EINVAL;
	/* What is admitted counts before the next one is asked for. */
	guard(mutex)(&blk_dmabuf_chans_lock);
	blk_dmabuf_grant_init(&grant, chan, reg, *slot);
	blk_dmabuf_grant_add_up(&grant, chan);
	error = blk_dmabuf_policy_admit(chan->disk, &grant);
	if (error)
		return error;
	if (*slot != BLK_DMABUF_SLOT_ANY)
		error = xa_insert(&chan->slots, *slot, reg, GFP_KERNEL_ACCOUNT);
	else
		error = xa_alloc(&chan->slots, slot, reg,
				 XA_LIMIT(0, BLK_DMABUF_MAX_SLOTS - 1),
				 GFP_KERNEL_ACCOUNT);
	if (!error)
		atomic64_add(reg->bytes, &chan->bound);
	return error;
}

static void blk_dmabuf_slot_put(struct blk_dmabuf_chan *chan,
				struct blk_dmabuf *reg)
{
	atomic64_sub(reg->bytes, &chan->bound);
	blk_dmabuf_put(reg);
}

static long blk_dmabuf_chan_bind(struct blk_dmabuf_chan *chan,
				 struct blk_dmabuf_bind __user *uarg)
{
	struct blk_dmabuf_bind arg;
	struct dma_buf *dmabuf;
	struct blk_dmabuf *reg;
	int error;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	dmabuf = dma_buf_get(arg.dmabuf_fd);
	if (IS_ERR(dmabuf))
		return blk_dmabuf_refuse(chan->disk, NULL,
					 BLK_DMABUF_NO_DMABUF, PTR_ERR(dmabuf));
	reg = blk_dmabuf_find(chan->disk, dmabuf);
	dma_buf_put(dmabuf);
	if (!reg)
		return blk_dmabuf_refuse(chan->disk, NULL,
					 BLK_DMABUF_NOT_REGISTERED, -ENOENT);
	arg.id = reg->id;
	arg.bytes = reg->bytes;
	error = blk_dmabuf_slot_bind(chan, reg, &arg.slot);
	if (error) {
		blk_dmabuf_put(reg);
		/* xarray's word for no free index, and ours for a bound slot */
		return arg.slot == BLK_DMABUF_SLOT_ANY && error == -EBUSY ?
			-ENOSPC : error;
	}
	if (!copy_to_user(uarg, &arg, sizeof(arg)))
		return 0;
	/* Whoever unbinds it first, maybe another thread, has the reference. */
	if (xa_cmpxchg(&chan->slots, arg.slot, reg, NULL, 0) == reg)
		blk_dmabuf_slot_put(chan, reg);
	return -EFAULT;
}

static long blk_dmabuf_chan_unbind(struct blk_dmabuf_chan *chan,
				   u32 __user *uarg)
{
	struct blk_dmabuf *reg;
	u32 slot;

	if (get_user(slot, uarg))
		return -EFAULT;
	reg = xa_erase(&chan->slots, slot);
	if (!reg)
		return -ENOENT;
	blk_dmabuf_slot_put(chan, reg);
	return 0;
}

static long blk_dmabuf_chan_query(struct blk_dmabuf_chan *chan,
				  struct blk_dmabuf_query __user *uarg)
{
	struct blk_dmabuf_info info;
	struct blk_dmabuf *reg;
	u32 slot, resv;

	if (get_user(slot, &uarg->slot) || get_user(resv, &uarg->resv))
		return -EFAULT;
	if (resv)
		return -EINVAL;
	scoped_guard(rcu) {
		reg = xa_load(&chan->slots, slot);
		if (!reg)
			return -ENOENT;
		blk_dmabuf_get_info(reg, &info);
	}
	return copy_to_user(&uarg->info, &info, sizeof(info)) ? -EFAULT : 0;
}

static long blk_dmabuf_chan_limits(struct blk_dmabuf_chan *chan,
				   struct blk_dmabuf_limits __user *uarg)
{
	struct block_device *bdev = file_bdev(chan->file);
	const struct queue_limits *lim = bdev_limits(bdev);
	struct blk_dmabuf_limits arg = {
		.block_size	= lim->logical_block_size,
		.dma_alignment	= lim->dma_alignment + 1,
		.max_io		= min_not_zero(lim->max_user_sectors,
					       lim->max_dmabuf_sectors) <<
				  SECTOR_SHIFT,
		.max_ranges	= lim->max_segments,
		.bytes		= bdev_nr_bytes(bdev),
	};

	return copy_to_user(uarg, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long blk_dmabuf_chan_ioctl(struct file *file, unsigned int cmd,
				  unsigned long arg)
{
	struct blk_dmabuf_chan *chan = file->private_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case BLK_DMABUF_BIND:
		return blk_dmabuf_chan_bind(chan, uarg);
	case BLK_DMABUF_UNBIND:
		return blk_dmabuf_chan_unbind(chan, uarg);
	case BLK_DMABUF_QUERY:
		return blk_dmabuf_chan_query(chan, uarg);
	case BLK_DMABUF_LIMITS:
		return blk_dmabuf_chan_limits(chan, uarg);
	default:
		return -ENOTTY;
	}
}

#ifdef CONFIG_PROC_FS
static void blk_dmabuf_chan_fdinfo(struct seq_file *m, struct file *file)
{
	struct blk_dmabuf_chan *chan = file->private_data;
	struct blk_dmabuf *reg;
	unsigned long slot;

	seq_printf(m, "blkdmabuf-dev:\t%pg\n", file_bdev(chan->file));
	guard(rcu)();
	xa_for_each(&chan->slots, slot, reg)
		seq_printf(m, "blkdmabuf-slot:\t%lu id %u bytes %llu\n", slot,
			   reg->id, reg->bytes);
}
#endif

/* Commands hold the file, so none is in flight any more. */
static int blk_dmabuf_chan_release(struct inode *inode, struct file *file)
{
	struct blk_dmabuf_chan *chan = file->private_data;
	struct blk_dmabuf *reg;
	unsigned long slot;

	scoped_guard(mutex, &blk_dmabuf_chans_lock)
		list_del(&chan->list);
	xa_for_each(&chan->slots, slot, reg)
		blk_dmabuf_put(reg);
	xa_destroy(&chan->slots);
	static_branch_dec(&blk_dmabuf_used);
	fput(chan->file);
	kfree(chan);
	return 0;
}

static const struct file_operations blk_dmabuf_chan_fops = {
	.owner		= THIS_MODULE,
	.release	= blk_dmabuf_chan_release,
	.unlocked_ioctl	= blk_dmabuf_chan_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= blk_dmabuf_chan_uring_cmd,
#ifdef CONFIG_PROC_FS
	.show_fdinfo	= blk_dmabuf_chan_fdinfo,
#endif
};

/*
 * /dev/blkdmabuf
 */

static u64 blk_dmabuf_current_cgroup(void)
{
#ifdef CONFIG_CGROUPS
	guard(rcu)();
	return cgroup_id(task_dfl_cgroup(current));
#else
	return 0;
#endif
}

static long blk_dmabuf_dev_channel(struct blk_dmabuf_channel __user *uarg)
{
	struct blk_dmabuf_channel arg;
	struct blk_dmabuf_chan *chan;
	struct file *file;
	int fd;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	file = fget(arg.fd);
	if (!file)
		return -EBADF;
	fd = -ENOTBLK;
	if (!S_ISBLK(file_inode(file)->i_mode))
		goto put_file;
	fd = -ENOMEM;
	chan = kzalloc_obj(*chan, GFP_KERNEL_ACCOUNT);
	if (!chan)
		goto put_file;
	chan->file = file;
	chan->disk = file_bdev(file)->bd_disk;
	chan->uid = from_kuid(&init_user_ns, current_uid());
	chan->cgroup = blk_dmabuf_current_cgroup();
	xa_init_flags(&chan->slots, XA_FLAGS_ALLOC);
	static_branch_inc(&blk_dmabuf_used);
	scoped_guard(mutex, &blk_dmabuf_chans_lock)
		list_add(&chan->list, &blk_dmabuf_chans);
	fd = anon_inode_getfd("[blkdmabuf]", &blk_dmabuf_chan_fops, chan,
			      O_RDWR | O_CLOEXEC);
	/* On success the channel owns the reference to the file. */
	if (fd >= 0)
		return fd;
	scoped_guard(mutex, &blk_dmabuf_chans_lock)
		list_del(&chan->list);
	static_branch_dec(&blk_dmabuf_used);
	kfree(chan);
put_file:
	fput(file);
	return fd;
}

static long blk_dmabuf_dev_features(struct blk_dmabuf_features __user *uarg)
{
	struct blk_dmabuf_features arg = {
		.abi_version	= BLK_DMABUF_ABI_VERSION,
		.nr_reasons	= BLK_DMABUF_NR_REASONS,
		.max_slots	= BLK_DMABUF_MAX_SLOTS,
	};
	int i;

	BUILD_BUG_ON(ARRAY_SIZE(arg.refused) < BLK_DMABUF_NR_REASONS);
	for (i = 0; i < BLK_DMABUF_NR_REASONS; i++)
		arg.refused[i] = atomic64_read(&blk_dmabuf_refused[i]);
	return copy_to_user(uarg, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long blk_dmabuf_dev_get_fd(struct blk_dmabuf_get_fd __user *uarg)
{
	struct blk_dmabuf_get_fd arg;
	struct dma_buf *dmabuf;
	int fd;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	dmabuf = blk_dmabuf_get_dmabuf(arg.id);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	/* On success the file descriptor owns the reference. */
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static long blk_dmabuf_dev_ioctl(struct file *file, unsigned int cmd,
				 unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case BLK_DMABUF_FEATURES:
		return blk_dmabuf_dev_features(uarg);
	case BLK_DMABUF_CHANNEL:
		return blk_dmabuf_dev_channel(uarg);
	case BLK_DMABUF_GET_FD:
		return blk_dmabuf_dev_get_fd(uarg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations blk_dmabuf_dev_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= blk_dmabuf_dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

/* For everybody: what it gives access to is shown by file descriptors. */
static struct miscdevice blk_dmabuf_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "blkdmabuf",
	.mode	= 0666,
	.fops	= &blk_dmabuf_dev_fops,
};

static int __init blk_dmabuf_chan_init(void)
{
	int error;

	blk_dmabuf_io_cache = KMEM_CACHE(blk_dmabuf_io,
					 SLAB_ACCOUNT | SLAB_HWCACHE_ALIGN);
	if (!blk_dmabuf_io_cache)
		return -ENOMEM;
	error = misc_register(&blk_dmabuf_dev);
	if (error)
		kmem_cache_destroy(blk_dmabuf_io_cache);
	return error;
}
device_initcall(blk_dmabuf_chan_init);
