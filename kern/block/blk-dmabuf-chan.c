// SPDX-License-Identifier: GPL-2.0-only
/*
 * The application's side of block I/O on dma-bufs.
 *
 * /dev/blkdmabuf makes a channel out of an open block device, or of a file on a
 * file system that takes ITER_DMABUF; of any other file, if it may copy.  The
 * application binds dma-bufs to slots of the channel by showing their file
 * descriptors, and names a slot in each io_uring command it sends to the channel.
 * What the file may not do the channel may not do, and what is not bound cannot be
 * reached.
 *
 * An I/O is the file's own direct I/O on an iterator that points into a dma-buf,
 * so partitions, permissions, page cache coherency and block mapping are where
 * they always are.  On a block device without page cache that is one bio, which the
 * channel submits itself.  No mapping is held here.  An I/O that found none for a
 * device is issued again from a workqueue, see blk_dmabuf_io_redo().
 *
 * What cannot be done so is refused, or, if the channel and the registration
 * permit it, copied, see block/blk-dmabuf-copy.c.
 */
#include <linux/anon_inodes.h>
#include <linux/blkdev.h>
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/hashtable.h>
#include <linux/io_uring/cmd.h>
#include <linux/ioprio.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/task_io_accounting_ops.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>
#include <trace/events/blk_dmabuf.h>

#include "blk-dmabuf-internal.h"

/*
 * An I/O is issued again this often before it fails.  Each time the exporter has
 * moved the buffer between mapping and dispatch, or another device of a stack
 * was found to have no mapping.
 */
#define BLK_DMABUF_MAX_TRIES	1000

/*
 * Times that the page cache may be in the way of direct I/O.  Each but the first
 * few waits for a millisecond, for whoever dirties pages to do something else.
 */
#define BLK_DMABUF_MAX_FAULTS	500
#define BLK_DMABUF_FEW_FAULTS	4

/* What a channel begins with: the table grows. */
#define BLK_DMABUF_FEW_SLOTS	16

/**
 * struct blk_dmabuf_account - bytes that somebody has bound
 * @hash: entry in blk_dmabuf_accounts
 * @key: uid or id of a cgroup
 * @is_cgroup: which of them
 * @chans: channels that it is the account of
 * @bytes: of the buffers in @bufs
 * @bufs: how often each buffer is bound, by its address
 *
 * All under blk_dmabuf_accounts_lock.
 */
struct blk_dmabuf_account {
	struct hlist_node	hash;
	u64			key;
	bool			is_cgroup;
	unsigned int		chans;
	u64			bytes;
	struct xarray		bufs;
};

enum {
	BLK_DMABUF_OF_CHAN,
	BLK_DMABUF_OF_UID,
	BLK_DMABUF_OF_CGROUP,
	BLK_DMABUF_NR_ACCOUNTS
};

/**
 * struct blk_dmabuf_chan - a channel, owned by its file
 * @slots: bound registrations, and whose they are
 * @file: the file that I/O goes to, a reference is held
 * @bdev: the block device that is or has the file, or NULL; the file keeps it
 *	open
 * @read_block: positions and lengths of reads are multiples of this
 * @write_block: positions and lengths of writes are multiples of this
 * @mem_align: buffer offsets are multiples of this
 * @is_file: @file is a regular file, and no block device
 * @direct: I/O that is copied is direct
 * @only_peer: nothing but peer-to-peer memory
 * @why: why the file takes no premapped I/O, BLK_DMABUF_OK if it does
 * @copier: copies what cannot be done otherwise; NULL if that is refused
 * @accounts: what is bound, by channel, user and cgroup
 * @own: account of the channel
 * @cred: credentials of who opened it, for I/O that is issued again
 * @blkcg: block cgroup of who opened it, likewise
 * @touched: when the time stamps of reads and writes were last looked at
 * @poller: task that polls the channel for a ring, whose lock it holds; another one
 *	that polls meanwhile is not told
 * @poller_ring: that ring; for @poller
 */
struct blk_dmabuf_chan {
	struct blk_dmabuf_slots		slots;
	struct file			*file;
	struct block_device		*bdev;
	u32				read_block;
	u32				write_block;
	u32				mem_align;
	bool				is_file;
	bool				direct;
	bool				only_peer;
	enum blk_dmabuf_reason		why;
	struct blk_dmabuf_copier	*copier;
	struct blk_dmabuf_account	*accounts[BLK_DMABUF_NR_ACCOUNTS];
	struct blk_dmabuf_account	own;
	const struct cred		*cred;
	struct cgroup_subsys_state	*blkcg;
	unsigned long			touched[2];
	struct task_struct		*poller ____cacheline_aligned_in_smp;
	void				*poller_ring;
};

/*
 * What is kept of a command from its first issue to its completion; then @offset
 * is the placement, as in big_cqe[0], if the CQE has that.  Of a vectored command
 * @offset is where the array is, and @slot how many entries that has.  Of a command
 * that is polled for, the I/O has the position; its memory stays an I/O's.
 */
struct blk_dmabuf_pdu {
	union {
		u64				pos;
		struct blk_dmabuf_chan_io	*polled;
	};
	u64	offset;
	u32	slot;
	u32	hint;
	u32	len : 31;
	u32	cqe32 : 1;
	s32	result;
};

/*
 * A command that a policy placed in pieces: each is an I/O of its own, and the
 * last one to end completes the command.  The placement is that of the first.
 * As undivided I/O, the command ends where the first piece that is short does.
 */
struct blk_dmabuf_pieces {
	struct io_uring_cmd	*cmd;
	u64			pos;
	atomic_t		pending;
	atomic_t		error;
	atomic_t		end;
	u64			placed;
	bool			copied;
};

/**
 * struct blk_dmabuf_chan_io - an I/O of a channel, or a placed piece of one
 * @io: what its bios point to
 * @chan: the channel; the command keeps it open
 * @cmd: command that it serves
 * @pieces: what it is a piece of, or NULL if it is the whole command
 * @iocb: the file's view of it
 * @pending: of a submission: the completion, and the submitter being in the file
 *	system
 * @result: what it completed with
 * @fsize: limit to file sizes of whoever issued it, for files
 * @why: why it is copied, or is about to be
 * @started: the file got to see it
 * @raw: its bio goes to the device, past the file
 * @polled: its ring polls for it
 * @writing: write access to the file system is held
 * @tries: how often it was issued again
 * @faults: how often because the page cache was in the way
 * @ioprio: I/O priority of whoever issued it
 * @redo: issues it again
 * @bio: the bio of a @raw I/O; what frees the I/O, too
 */
struct blk_dmabuf_chan_io {
	struct blk_dmabuf_io		io;
	struct blk_dmabuf_chan		*chan;
	struct io_uring_cmd		*cmd;
	struct blk_dmabuf_pieces	*pieces;
	struct kiocb			iocb;
	atomic_t			pending;
	long				result;
	u64				fsize;
	enum blk_dmabuf_reason		why;
	bool				started;
	bool				raw;
	bool				polled;
	bool				writing;
	unsigned int			tries;
	unsigned int			faults;
	u16				ioprio;
	struct work_struct		redo;
	struct bio			bio;
};

/*
 * I/Os, and the bios of those that need no file.  As with other bios it is
 * io_uring's request that is charged to a memory cgroup.
 */
static struct bio_set blk_dmabuf_bios;
static struct workqueue_struct *blk_dmabuf_redo_wq;

/* Size of the device, or of the file, as it is now. */
static loff_t blk_dmabuf_size(const struct blk_dmabuf_chan *chan)
{
	return i_size_read(chan->file->f_mapping->host);
}

/* Is it the ring that finds the command complete, instead of task work? */
static bool blk_dmabuf_cmd_polled(const struct io_uring_cmd *cmd)
{
	return cmd_to_io_kiocb((void *)cmd)->flags & REQ_F_IOPOLL;
}

static bool blk_dmabuf_cmd_is_write(const struct io_uring_cmd *cmd)
{
	return cmd->cmd_op == BLK_DMABUF_CMD_WRITE ||
	       cmd->cmd_op == BLK_DMABUF_CMD_WRITEV;
}

static bool blk_dmabuf_cmd_is_vectored(const struct io_uring_cmd *cmd)
{
	return cmd->cmd_op == BLK_DMABUF_CMD_READV ||
	       cmd->cmd_op == BLK_DMABUF_CMD_WRITEV;
}

/* As direct I/O of block devices. */
static blk_opf_t blk_dmabuf_cmd_opf(const struct io_uring_cmd *cmd)
{
	return blk_dmabuf_cmd_is_write(cmd) ?
		REQ_OP_WRITE | REQ_SYNC | REQ_IDLE : REQ_OP_READ;
}

static struct blk_dmabuf_pdu *blk_dmabuf_pdu(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_to_pdu(cmd, struct blk_dmabuf_pdu);
}

/*
 * Completion, in the context that the device completes in; the CQE is the
 * submitter's.
 */

static void blk_dmabuf_notify(struct io_uring_cmd *cmd, s32 result)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;

	if (result <= 0)
		return;
	if (blk_dmabuf_cmd_is_write(cmd))
		fsnotify_modify(chan->file);
	else
		fsnotify_access(chan->file);
}

/*
 * A task that completes what it finds while it polls holds the lock of the ring that
 * it polls for: only with that io_uring uses the command's memory again.
 */
static unsigned int blk_dmabuf_polled_flags(struct io_uring_cmd *cmd)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;

	/*
	 * Nobody else makes @poller the current task.  An interrupt of it may have
	 * come in the middle of what the lock protects.
	 */
	if (in_task() && READ_ONCE(chan->poller) == current &&
	    chan->poller_ring == io_uring_cmd_ctx_handle(cmd))
		return 0;
	return IO_URING_F_UNLOCKED;
}

static void blk_dmabuf_cmd_cqe(struct io_uring_cmd *cmd,
			       unsigned int issue_flags)
{
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	if (pdu->cqe32)
		io_uring_cmd_done32(cmd, pdu->result, pdu->offset, issue_flags);
	else
		io_uring_cmd_done(cmd, pdu->result, issue_flags);
}

static void blk_dmabuf_cmd_finish(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *cmd = io_uring_cmd_from_tw(tw_req);
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	/* Nothing was submitted for want of a tag or a split: from a worker. */
	if (pdu->result == -EIOCBQUEUED) {
		io_uring_cmd_issue_blocking(cmd);
		return;
	}
	blk_dmabuf_notify(cmd, pdu->result);
	blk_dmabuf_cmd_cqe(cmd, IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}

/* Where it was placed, and how, the application may learn: big_cqe[0]. */
static u64 blk_dmabuf_placed(const struct blk_dmabuf_desc *desc)
{
	return (u64)desc->copied << 63 | (u64)(desc->slot & 0x7fff) << 48 |
	       desc->offset;
}

static void blk_dmabuf_cmd_complete(struct io_uring_cmd *cmd, s32 result,
				    u64 placed)
{
	struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	pdu->result = result;
	/* What was asked for is still needed to ask for it again. */
	if (result != -EIOCBQUEUED) {
		pdu->offset = placed;
		/* As io_uring's own: no fsnotify, and any context will do. */
		if (blk_dmabuf_cmd_polled(cmd))
			blk_dmabuf_cmd_cqe(cmd, blk_dmabuf_polled_flags(cmd));
		else
			io_uring_cmd_do_in_task_lazy(cmd,
						     blk_dmabuf_cmd_finish);
	} else {
		/* Lazy is for what makes a CQE. */
		io_uring_cmd_complete_in_task(cmd, blk_dmabuf_cmd_finish);
	}
}

static void blk_dmabuf_pieces_put(struct blk_dmabuf_pieces *pieces)
{
	int error;

	if (!atomic_dec_and_test(&pieces->pending))
		return;
	error = atomic_read(&pieces->error);
	blk_dmabuf_cmd_complete(pieces->cmd,
				error ?: atomic_read(&pieces->end),
				pieces->placed | (u64)pieces->copied << 63);
	kfree(pieces);
}

/* The command of @pieces transfers no more than @end bytes. */
static void blk_dmabuf_pieces_end(struct blk_dmabuf_pieces *pieces, int end)
{
	int old = atomic_read(&pieces->end);

	while (end < old && !atomic_try_cmpxchg(&pieces->end, &old, end))
		;
}

/* Tell the command of a piece how that ended. */
static void blk_dmabuf_piece_result(struct blk_dmabuf_chan_io *cio, s32 result)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	struct blk_dmabuf_pieces *pieces = cio->pieces;

	if (desc->copied)
		WRITE_ONCE(pieces->copied, true);
	if (result < 0)
		atomic_cmpxchg(&pieces->error, 0, result);
	else if (result < desc->len)
		blk_dmabuf_pieces_end(pieces, desc->pos - pieces->pos + result);
}

static __always_inline void
blk_dmabuf_account_io(struct blk_dmabuf_stats __percpu *stats,
		      const struct blk_dmabuf_desc *desc)
{
	if (desc->result < 0) {
		atomic64_inc(&blk_dmabuf_refused[BLK_DMABUF_IO_ERROR]);
		this_cpu_inc(stats->errors);
		return;
	}
	if (desc->write) {
		this_cpu_inc(stats->writes);
		this_cpu_add(stats->write_bytes, desc->result);
	} else {
		this_cpu_inc(stats->reads);
		this_cpu_add(stats->read_bytes, desc->result);
	}
	if (desc->copied) {
		this_cpu_inc(stats->copied);
		this_cpu_add(stats->copied_bytes, desc->result);
	}
}

/*
 * A submitter that finds its I/O complete ends it in task context.  A BPF program
 * on the tracepoint is not run again by an interrupt of that CPU, so keep
 * interrupts out: it would miss the I/O that they complete.
 */
static void blk_dmabuf_trace_complete(const struct blk_dmabuf_desc *desc)
{
	if (!trace_blk_dmabuf_complete_enabled())
		return;
	guard(irqsave)();
	trace_blk_dmabuf_complete(desc);
}

static void blk_dmabuf_parts_put(struct blk_dmabuf_parts *parts)
{
	if (parts && refcount_dec_and_test(&parts->ref))
		kfree(parts);
}

/*
 * Finish an I/O: account, trace, notify the policy, drop references.  Context:
 * any.
 */
static __always_inline void blk_dmabuf_io_end(struct blk_dmabuf_chan_io *cio,
					      s32 result)
{
	struct blk_dmabuf_io *io = &cio->io;
	struct blk_dmabuf_desc *desc = &io->desc;

	desc->result = result;
	if (desc->submit_ns)
		desc->latency_ns = ktime_get_ns() - desc->submit_ns;
	/* What was refused has been counted, what is tried again will be. */
	if (cio->started && !io->refused && result != -EAGAIN) {
		blk_dmabuf_account_io(io->reg->stats, desc);
		blk_dmabuf_trace_complete(desc);
	}
	if (unlikely(blk_dmabuf_slots_ask(io->slots, BLK_DMABUF_COMPLETE)))
		blk_dmabuf_policy_complete(io);
	if (io->reg)
		blk_dmabuf_end(io->reg);
	blk_dmabuf_parts_put(io->parts);
	bio_put(&cio->bio);
}

/*
 * Nobody is to poll for what has ended or is issued again: a bio that was reset
 * looks like one on hardware queue 0, and an I/O that was freed can become another
 * one's.
 */
static void blk_dmabuf_io_unpoll(struct blk_dmabuf_chan_io *cio)
{
	/* Of what is not polled for, the submitter may still need the position. */
	if (cio->polled)
		WRITE_ONCE(blk_dmabuf_pdu(cio->cmd)->polled, NULL);
}

/* Where an I/O seldom ends: it is a piece, or was not submitted. */
static noinline void blk_dmabuf_io_drop(struct blk_dmabuf_chan_io *cio,
					s32 result)
{
	blk_dmabuf_io_end(cio, result);
}

static noinline void blk_dmabuf_piece_end(struct blk_dmabuf_chan_io *cio,
					  s32 result)
{
	struct blk_dmabuf_pieces *pieces = cio->pieces;

	blk_dmabuf_piece_result(cio, result);
	blk_dmabuf_io_drop(cio, result);
	blk_dmabuf_pieces_put(pieces);
}

/* The I/O is over and its submitter does not wait for a return value. */
static void blk_dmabuf_io_done(struct blk_dmabuf_chan_io *cio, s32 result)
{
	bool again = result == -EAGAIN && cio->io.nowait;
	struct io_uring_cmd *cmd = cio->cmd;
	u64 placed = 0;

	if (unlikely(cio->pieces)) {
		blk_dmabuf_piece_end(cio, result);
		return;
	}
	if (blk_dmabuf_pdu(cmd)->cqe32)
		placed = blk_dmabuf_placed(&cio->io.desc);
	blk_dmabuf_io_unpoll(cio);
	blk_dmabuf_io_end(cio, result);
	blk_dmabuf_cmd_complete(cmd, again ? -EIOCBQUEUED : result, placed);
}

/*
 * Is a failed I/O to be issued again, where it may sleep?  The result says
 * nothing about that: file systems and stacks make their own of BLK_STS_AGAIN.
 */
static bool blk_dmabuf_io_again(struct blk_dmabuf_chan_io *cio, long result)
{
	struct blk_dmabuf_io *io = &cio->io;

	if (result >= 0)
		return false;
	if (io->missed || io->wait)
		return true;
	/* A command that is polled for cannot go to an io_uring worker. */
	if ((result == -EAGAIN || result == -EOPNOTSUPP) &&
	    blk_dmabuf_cmd_polled(cio->cmd) && (io->nowait || cio->polled))
		return true;
	if (result != -EFAULT && result != -ENOTBLK)
		return false;
	/* The page cache could not be invalidated: copying is the last resort. */
	if (cio->faults++ < (io->may_copy ? BLK_DMABUF_FEW_FAULTS :
					    BLK_DMABUF_MAX_FAULTS))
		return true;
	/* Or there is no direct I/O any more: a file that became journalled. */
	blk_dmabuf_refuse_io(io, io->desc.dev, BLK_DMABUF_FILE, -EOPNOTSUPP);
	return false;
}

static void blk_dmabuf_io_redo(struct work_struct *work);

static void blk_dmabuf_io_queue(struct blk_dmabuf_chan_io *cio)
{
	blk_dmabuf_io_unpoll(cio);
	INIT_WORK(&cio->redo, blk_dmabuf_io_redo);
	queue_work(blk_dmabuf_redo_wq, &cio->redo);
}

/* Is what was refused on its way to be copied?  Then it was not refused. */
static bool blk_dmabuf_io_falls_back(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_io *io = &cio->io;

	if (likely(!io->may_copy) || !blk_dmabuf_copyable(io->refused))
		return false;
	cio->why = io->refused;
	io->refused = BLK_DMABUF_OK;
	io->desc.copied = true;
	return true;
}

/* What follows when a submission has come to its end.  Context: any. */
static bool blk_dmabuf_io_requeue(struct blk_dmabuf_chan_io *cio, long *result)
{
	struct blk_dmabuf_io *io = &cio->io;

	if (cio->writing) {
		cio->writing = false;
		kiocb_end_write(&cio->iocb);
	}
	if (!io->refused && blk_dmabuf_io_again(cio, *result)) {
		if (cio->tries++ < BLK_DMABUF_MAX_TRIES) {
			blk_dmabuf_io_queue(cio);
			return true;
		}
		blk_dmabuf_refuse_io(io, io->desc.dev, BLK_DMABUF_MOVED,
				     -EBUSY);
	}
	if (blk_dmabuf_io_falls_back(cio)) {
		blk_dmabuf_io_queue(cio);
		return true;
	}
	/* Whatever those in between have made of it. */
	if (io->refused)
		*result = io->error;
	/* What cannot be done without waiting: file systems say it so, too. */
	else if (io->nowait && *result == -EOPNOTSUPP)
		*result = -EAGAIN;
	return false;
}

/*
 * The completion and the submitter come here.  File systems look at the iocb, the
 * file and the inode when they have submitted, so the last one goes on.
 */
static void blk_dmabuf_io_leave(struct blk_dmabuf_chan_io *cio)
{
	long result;

	if (!atomic_dec_and_test(&cio->pending))
		return;
	result = cio->result;
	if (!blk_dmabuf_io_requeue(cio, &result))
		blk_dmabuf_io_done(cio, result);
}

static void blk_dmabuf_iocb_complete(struct kiocb *iocb, long result)
{
	struct blk_dmabuf_chan_io *cio =
		container_of(iocb, struct blk_dmabuf_chan_io, iocb);

	cio->result = result;
	blk_dmabuf_io_leave(cio);
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
	if (pdu->len < len && blk_dmabuf_cmd_is_vectored(cmd))
		return -EINVAL;
	pdu->cqe32 = !!(issue_flags & IO_URING_F_CQE32);
	/* The SQE is the application's again once this has been queued. */
	cmd->flags |= IORING_URING_CMD_REISSUE;
	return 0;
}

/* Lengths become starts, and there is a sentinel. */
static int blk_dmabuf_parts_seal(struct blk_dmabuf_parts *parts, u32 bytes,
				 u32 block)
{
	u32 start = 0;
	unsigned int i;

	for (i = 0; i < parts->nr; i++) {
		u32 len = parts->part[i].start;

		if (!len || len > bytes - start)
			return -EINVAL;
		/* Shares of slots are I/Os of their own: all of them, or none. */
		if (i && parts->part[i].slot != parts->part[i - 1].slot &&
		    (start | bytes) & (block - 1))
			return -EINVAL;
		parts->part[i].start = start;
		start += len;
	}
	parts->part[i] = (struct blk_dmabuf_part) { .start = start };
	return start == bytes ? 0 : -EINVAL;
}

/*
 * What a vectored command names, as the application has it now.  Whoever issues the
 * command again reads it again, as with vectored passthrough commands of nvme.
 */
static noinline struct blk_dmabuf_parts *
blk_dmabuf_parts_read(const struct blk_dmabuf_chan *chan,
		      struct io_uring_cmd *cmd)
{
	const struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);
	u32 block = blk_dmabuf_cmd_is_write(cmd) ? chan->write_block :
						   chan->read_block;
	const void __user *vecs = u64_to_user_ptr(pdu->offset);
	struct blk_dmabuf_parts *parts;
	u32 nr = pdu->slot;
	int error;

	if (!nr || nr > BLK_DMABUF_MAX_VECS)
		return ERR_PTR(-EINVAL);
	parts = kmalloc(struct_size(parts, part, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!parts)
		return ERR_PTR(-ENOMEM);
	refcount_set(&parts->ref, 1);
	parts->nr = nr;
	error = copy_from_user(parts->part, vecs, nr * sizeof(*parts->part)) ?
		-EFAULT : blk_dmabuf_parts_seal(parts, pdu->len, block);
	if (!error)
		return parts;
	kfree(parts);
	return ERR_PTR(error);
}

static int blk_dmabuf_io_refused(struct blk_dmabuf_chan_io *cio,
				 enum blk_dmabuf_reason reason, int error)
{
	return blk_dmabuf_refuse(cio->io.desc.dev, cio->io.reg, reason, error);
}

/* Who is to blame: the policy, if it has placed the I/O. */
static int blk_dmabuf_io_blame(struct blk_dmabuf_chan_io *cio,
			       enum blk_dmabuf_reason reason,
			       enum blk_dmabuf_reason by_policy, int error)
{
	return blk_dmabuf_io_refused(cio, cio->io.placed ? by_policy : reason,
				     error);
}

static bool blk_dmabuf_appends(const struct blk_dmabuf_chan *chan)
{
	return chan->is_file && chan->file->f_iocb_flags & IOCB_APPEND;
}

/* A file that appends does so at its end, which has to be that of a block. */
static __always_inline bool
blk_dmabuf_aligned(const struct blk_dmabuf_chan *chan,
		   const struct blk_dmabuf_desc *desc)
{
	u32 block = desc->write ? chan->write_block : chan->read_block;
	u64 pos = desc->pos;

	/* XFS looks at the position, though it is not where it writes. */
	if (desc->write && blk_dmabuf_appends(chan))
		pos |= blk_dmabuf_size(chan);
	return desc->len && !((pos | desc->len) & (block - 1));
}

/* Where it goes: what appends goes to the end. */
static u64 blk_dmabuf_io_pos(const struct blk_dmabuf_chan_io *cio)
{
	return cio->io.desc.write && blk_dmabuf_appends(cio->chan) ?
		blk_dmabuf_size(cio->chan) : cio->io.desc.pos;
}

/*
 * Is less than a block left of what the submitter may make of the file?  File
 * systems ask that in the context of a worker, too, which may do all.
 */
static bool blk_dmabuf_io_too_big(const struct blk_dmabuf_chan_io *cio)
{
	u64 pos = blk_dmabuf_io_pos(cio);

	if (!cio->io.desc.write || !cio->chan->is_file)
		return false;
	if (pos >= cio->fsize)
		send_sig(SIGXFSZ, current, 0);
	return pos >= cio->fsize || cio->fsize - pos < cio->chan->write_block;
}

/* Why I/O of the channel cannot be premapped, or BLK_DMABUF_OK. */
static __always_inline enum blk_dmabuf_reason
blk_dmabuf_chan_why(const struct blk_dmabuf_chan *chan)
{
	if (unlikely(chan->why != BLK_DMABUF_OK))
		return chan->why;
	if (unlikely(!bdev_limits(chan->bdev)->max_dmabuf_sectors))
		return blk_dmabuf_check_disk(chan->slots.disk);
	if (chan->is_file && mapping_stable_writes(chan->file->f_mapping))
		return BLK_DMABUF_FILE;
	return BLK_DMABUF_OK;
}

/* What can be said without the buffer, before a policy is asked. */
static int blk_dmabuf_io_check(struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	struct blk_dmabuf_chan *chan = cio->chan;
	loff_t pos = desc->pos;
	int error;

	if (!(chan->file->f_mode & (desc->write ? FMODE_WRITE : FMODE_READ)))
		return blk_dmabuf_io_refused(cio, BLK_DMABUF_ACCESS, -EBADF);
	cio->why = blk_dmabuf_chan_why(chan);
	cio->io.desc.copied = cio->why != BLK_DMABUF_OK;
	if (unlikely(cio->io.desc.copied && !chan->copier))
		return blk_dmabuf_io_refused(cio, cio->why, -EOPNOTSUPP);
	/* All of the command, of which the I/O may be the first share. */
	error = rw_verify_area(desc->write ? WRITE : READ, chan->file, &pos,
			       blk_dmabuf_pdu(cio->cmd)->len);
	if (error)
		return blk_dmabuf_io_refused(cio, error == -EINVAL ?
					     BLK_DMABUF_RANGE :
					     BLK_DMABUF_ACCESS, error);
	if (!blk_dmabuf_aligned(chan, desc))
		return blk_dmabuf_io_refused(cio, BLK_DMABUF_UNALIGNED,
					     -EINVAL);
	if (blk_dmabuf_io_too_big(cio))
		return blk_dmabuf_io_refused(cio, BLK_DMABUF_RANGE, -EFBIG);
	return 0;
}

/* Find the registration in the slot that the I/O goes to.  Under RCU. */
static __always_inline int
blk_dmabuf_io_resolve(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_io *io = &cio->io;
	struct blk_dmabuf *reg = blk_dmabuf_bound(io->slots, io->desc.slot);

	if (unlikely(!reg))
		return blk_dmabuf_io_blame(cio, BLK_DMABUF_NO_SLOT,
					   BLK_DMABUF_POLICY_SLOT, -ENOENT);
	blk_dmabuf_begin(reg);
	io->reg = reg;
	io->desc.id = reg->id;
	return 0;
}

/* Is a piece of the buffer aligned for the device?  The CPU does not mind. */
static bool blk_dmabuf_io_mem_aligned(const struct blk_dmabuf_chan_io *cio,
				      u64 offset)
{
	return cio->io.desc.copied || !(offset & (cio->chan->mem_align - 1));
}

/* The same of the parts that the I/O is about. */
static noinline int blk_dmabuf_io_check_parts(struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_io *io = &cio->io;
	u64 bytes = io->reg->buf->bytes;
	u32 at = io->start, left = io->desc.len, len;

	for (; left; at += len, left -= len) {
		u64 offset;

		len = left;
		offset = blk_dmabuf_io_locate(io, at, &len);
		if (offset > bytes || len > bytes - offset)
			return blk_dmabuf_io_refused(cio, BLK_DMABUF_RANGE,
						     -ERANGE);
		if (!blk_dmabuf_io_mem_aligned(cio, offset | len))
			return blk_dmabuf_io_refused(cio, BLK_DMABUF_UNALIGNED,
						     -EINVAL);
	}
	return 0;
}

/* What can be said with the buffer. */
static __always_inline int
blk_dmabuf_io_check_buffer(struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	const struct blk_dmabuf *reg = cio->io.reg;
	u64 bytes = reg->buf->bytes;

	if (READ_ONCE(reg->dead))
		return blk_dmabuf_io_refused(cio, BLK_DMABUF_IS_DEAD, -ENODEV);
	cio->io.may_copy = cio->chan->copier && reg->may_copy;
	if (unlikely(desc->copied && !reg->may_copy))
		return blk_dmabuf_io_refused(cio, cio->why, -EOPNOTSUPP);
	/* Reading the device is writing the buffer. */
	if (!desc->write && reg->buf->dir == DMA_TO_DEVICE)
		return blk_dmabuf_io_blame(cio, BLK_DMABUF_ACCESS,
					   BLK_DMABUF_POLICY_ACCESS, -EACCES);
	if (unlikely(cio->io.parts))
		return blk_dmabuf_io_check_parts(cio);
	if (desc->offset > bytes || desc->len > bytes - desc->offset)
		return blk_dmabuf_io_blame(cio, BLK_DMABUF_RANGE,
					   BLK_DMABUF_POLICY_RANGE, -ERANGE);
	if (!blk_dmabuf_io_mem_aligned(cio, desc->offset))
		return blk_dmabuf_io_blame(cio, BLK_DMABUF_UNALIGNED,
					   BLK_DMABUF_POLICY_UNALIGNED,
					   -EINVAL);
	return 0;
}

/*
 * Of a vectored command the I/O is about what is left of the parts of one slot
 * behind the first @skip bytes.
 */
static noinline void blk_dmabuf_io_set_parts(struct blk_dmabuf_chan_io *cio,
					     struct blk_dmabuf_parts *parts,
					     u32 skip)
{
	const struct blk_dmabuf_part *part = blk_dmabuf_part_at(parts, skip);
	const struct blk_dmabuf_part *end = &parts->part[parts->nr];
	struct blk_dmabuf_desc *desc = &cio->io.desc;

	refcount_inc(&parts->ref);
	cio->io.parts = parts;
	cio->io.start = skip;
	desc->slot = part->slot;
	desc->offset = part->offset + skip - part->start;
	for (desc->vecs = 0; part < end && part->slot == desc->slot; part++)
		desc->vecs++;
	desc->len = part->start - skip;
}

/* What is asked for behind the first @skip bytes of a command. */
static __always_inline void
blk_dmabuf_desc_init(struct blk_dmabuf_desc *desc,
		     const struct blk_dmabuf_chan *chan,
		     struct io_uring_cmd *cmd, u32 skip)
{
	const struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);

	desc->pos = pdu->pos + skip;
	desc->offset = pdu->offset + skip;
	desc->len = pdu->len - skip;
	desc->slot = pdu->slot;
	desc->hint = pdu->hint;
	desc->id = 0;
	desc->dev = chan->slots.dev;
	desc->uid = chan->slots.uid;
	desc->cgroup = chan->slots.cgroup;
	/* Policies that want to know the time ask for it themselves. */
	desc->submit_ns = 0;
	if (trace_blk_dmabuf_complete_enabled())
		desc->submit_ns = ktime_get_ns();
	desc->latency_ns = 0;
	desc->result = 0;
	desc->cpu = raw_smp_processor_id();
	desc->node = numa_node_id();
	desc->hctx = -1;
	desc->vecs = 1;
	desc->write = blk_dmabuf_cmd_is_write(cmd);
	desc->copied = false;
}

/*
 * From here to the bio's submission all becomes one function, for commands and for
 * pieces each: else every step saves and restores registers.
 */
static __always_inline struct blk_dmabuf_chan_io *
blk_dmabuf_io_alloc(struct blk_dmabuf_chan *chan, struct io_uring_cmd *cmd,
		    struct blk_dmabuf_parts *parts, u32 skip, bool nowait)
{
	struct blk_dmabuf_chan_io *cio;
	struct blk_dmabuf_io *io;
	struct bio *bio;

	/* A policy can make millions of pieces of what one request is charged. */
	bio = bio_alloc_bioset(chan->bdev, 0, blk_dmabuf_cmd_opf(cmd),
			       skip ? GFP_KERNEL_ACCOUNT : GFP_KERNEL,
			       &blk_dmabuf_bios);
	cio = container_of(bio, struct blk_dmabuf_chan_io, bio);
	io = &cio->io;
	/* Member by member, so that nobody clears all of it first. */
	blk_dmabuf_desc_init(&io->desc, chan, cmd, skip);
	io->slots = &chan->slots;
	io->reg = NULL;
	io->parts = NULL;
	io->start = 0;
	io->seq = 0;
	io->missed = NULL;
	io->nowait = nowait;
	io->only_peer = chan->only_peer;
	io->wait = false;
	io->again = false;
	io->may_copy = false;
	io->placed = false;
	io->refused = BLK_DMABUF_OK;
	io->error = 0;
	io->placed_by = 0;
	if (unlikely(parts))
		blk_dmabuf_io_set_parts(cio, parts, skip);
	cio->chan = chan;
	cio->cmd = cmd;
	cio->pieces = NULL;
	cio->iocb.private = NULL;
	cio->raw = false;
	cio->polled = false;
	cio->why = BLK_DMABUF_OK;
	cio->started = false;
	cio->writing = false;
	cio->tries = 0;
	cio->faults = 0;
	if (chan->is_file)
		cio->fsize = rlimit(RLIMIT_FSIZE);
	return cio;
}

/*
 * Decide where the I/O goes, or its first piece.  From here on the I/O ends
 * with blk_dmabuf_io_end(), whatever happens.
 */
static __always_inline int blk_dmabuf_io_place(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_io *io = &cio->io;
	u64 offset = io->desc.offset;
	u32 slot = io->desc.slot;
	int error = 0;

	/* One section for the policy and for the slot that it chooses. */
	guard(rcu)();
	if (unlikely(blk_dmabuf_slots_ask(io->slots, BLK_DMABUF_PLACE |
					  BLK_DMABUF_COMPLETE)))
		error = blk_dmabuf_policy_place(io, io->desc.write ?
						cio->chan->write_block :
						cio->chan->read_block);
	if (unlikely(io->parts) &&
	    (io->desc.slot != slot || io->desc.offset != offset)) {
		blk_dmabuf_parts_put(io->parts);
		io->parts = NULL;
	}
	if (likely(!io->parts))
		io->start = io->desc.offset;
	return error ?: blk_dmabuf_io_resolve(cio) ?:
			blk_dmabuf_io_check_buffer(cio);
}

/* Write access as io_uring takes it for its own writes. */
static bool blk_dmabuf_io_start_write(struct blk_dmabuf_chan_io *cio)
{
	struct super_block *sb = file_inode(cio->chan->file)->i_sb;

	if (!cio->io.desc.write || !cio->chan->is_file)
		return true;
	if (!cio->io.nowait)
		kiocb_start_write(&cio->iocb);
	else if (sb_start_write_trylock(sb))
		__sb_writers_release(sb, SB_FREEZE_WRITE);
	else
		return false;
	cio->writing = true;
	return true;
}

static void blk_dmabuf_iocb_init(struct blk_dmabuf_chan_io *cio)
{
	struct file *file = cio->chan->file;

	cio->iocb = (struct kiocb) {
		.ki_filp	= file,
		.ki_pos		= cio->io.desc.pos,
		.ki_flags	= file->f_iocb_flags,
		.ki_ioprio	= cio->ioprio,
		.ki_complete	= blk_dmabuf_iocb_complete,
	};
	cio->iocb.ki_flags &= ~IOCB_NOWAIT;
	if (cio->chan->direct)
		cio->iocb.ki_flags |= IOCB_DIRECT;
	else
		cio->iocb.ki_flags &= ~IOCB_DIRECT;
	if (!cio->chan->is_file)
		cio->iocb.ki_flags &= ~IOCB_APPEND;
	if (cio->io.nowait)
		cio->iocb.ki_flags |= IOCB_NOWAIT;
	if (cio->polled)
		cio->iocb.ki_flags |= IOCB_HIPRI;
	if (cio->io.desc.write)
		cio->iocb.ki_flags |= IOCB_WRITE;
}

/*
 * Bytes of a read that the file has, up to the block that it ends in: the rest
 * would be zeroed for nothing.  Whole blocks of a write that its submitter may
 * do: a worker may do all.
 */
static size_t blk_dmabuf_io_bytes(const struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	u64 pos = blk_dmabuf_io_pos(cio);
	loff_t end;

	if (!cio->chan->is_file)
		return desc->len;
	/* What appends may find that the file has grown. */
	if (desc->write && pos >= cio->fsize)
		return 0;
	if (desc->write)
		return min_t(u64, desc->len, round_down(cio->fsize - pos,
						cio->chan->write_block));
	end = round_up(blk_dmabuf_size(cio->chan), cio->chan->read_block);
	return desc->pos < end ? min_t(u64, desc->len, end - desc->pos) : 0;
}

/* Hand the I/O to its file. */
static noinline int blk_dmabuf_file_submit(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_desc *desc = &cio->io.desc;
	struct file *file = cio->chan->file;
	size_t bytes = blk_dmabuf_io_bytes(cio);
	struct iov_iter iter;
	long ret;

	if (!bytes)
		return desc->write ? -EFBIG : 0;
	/* Each time: file systems write to it. */
	blk_dmabuf_iocb_init(cio);
	if (!blk_dmabuf_io_start_write(cio))
		return -EAGAIN;
	iov_iter_dmabuf(&iter, desc->write ? ITER_SOURCE : ITER_DEST, &cio->io,
			cio->io.start, bytes);
	atomic_set(&cio->pending, 2);
	if (desc->write)
		ret = file->f_op->write_iter(&cio->iocb, &iter);
	else
		ret = file->f_op->read_iter(&cio->iocb, &iter);
	if (ret == -EIOCBQUEUED)
		blk_dmabuf_io_leave(cio);
	else if (!blk_dmabuf_io_requeue(cio, &ret))
		return ret;
	return -EIOCBQUEUED;
}

/*
 * Would a block device's ->read_iter() or ->write_iter() only submit one bio?  That
 * is so as long as nobody uses the device's page cache, as block/fops.c has it.
 */
static __always_inline bool
blk_dmabuf_io_is_raw(const struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	const struct blk_dmabuf_chan *chan = cio->chan;
	const struct address_space *mapping = chan->file->f_mapping;

	if (chan->is_file || READ_ONCE(mapping->nrpages) ||
	    chan->file->f_iocb_flags & IOCB_DSYNC ||
	    bdev_logical_block_size(chan->bdev) != chan->read_block ||
	    desc->pos + desc->len > blk_dmabuf_size(chan))
		return false;
	return !desc->write ||
	       !(bdev_read_only(chan->bdev) || IS_SWAPFILE(mapping->host) ||
		 bdev_max_write_streams(chan->bdev));
}

/* Time stamps of the device's node: once a tick is as good as each time. */
static __always_inline int blk_dmabuf_chan_touch(struct blk_dmabuf_chan *chan,
						 bool write)
{
	unsigned long now = jiffies;
	int error = 0;

	if (READ_ONCE(chan->touched[write]) == now)
		return 0;
	if (!write)
		file_accessed(chan->file);
	else
		error = file_update_time(chan->file);
	if (!error)
		WRITE_ONCE(chan->touched[write], now);
	return error;
}

static noinline void blk_dmabuf_bio_failed(struct blk_dmabuf_chan_io *cio)
{
	long result = cio->io.desc.len;

	if (cio->bio.bi_status)
		result = blk_status_to_errno(cio->bio.bi_status);
	if (!blk_dmabuf_io_requeue(cio, &result))
		blk_dmabuf_io_done(cio, result);
}

static void blk_dmabuf_bio_end(struct bio *bio)
{
	struct blk_dmabuf_chan_io *cio =
		container_of(bio, struct blk_dmabuf_chan_io, bio);

	/* An I/O that went well can have been refused all the same. */
	if (likely(!bio->bi_status && !cio->io.refused))
		blk_dmabuf_io_done(cio, cio->io.desc.len);
	else
		blk_dmabuf_bio_failed(cio);
}

/* Hand the I/O to its device, as block/fops.c does. */
static __always_inline int
blk_dmabuf_bio_submit(struct blk_dmabuf_chan_io *cio)
{
	const struct blk_dmabuf_desc *desc = &cio->io.desc;
	struct blk_dmabuf_chan *chan = cio->chan;
	struct bio *bio = &cio->bio;
	int error;

	error = blk_dmabuf_chan_touch(chan, desc->write);
	if (error)
		return error;
	if (cio->tries) {
		bio_reset(bio, chan->bdev, blk_dmabuf_cmd_opf(cio->cmd) |
			  (bio->bi_opf & REQ_ALLOC_CACHE));
		bio->bi_cookie = BLK_QC_T_NONE;
	}
	bio->bi_iter.bi_sector = desc->pos >> SECTOR_SHIFT;
	bio->bi_write_hint = file_inode(chan->file)->i_write_hint;
	bio->bi_ioprio = cio->ioprio;
	bio->bi_end_io = blk_dmabuf_bio_end;
	if (cio->io.nowait)
		bio->bi_opf |= REQ_NOWAIT;
	if (cio->polled)
		bio->bi_opf |= REQ_POLLED;
	bio_dmabuf_init(bio, &cio->io, cio->io.start, desc->len);
	if (desc->write)
		task_io_account_write(desc->len);
	submit_bio(bio);
	return -EIOCBQUEUED;
}

static __always_inline int blk_dmabuf_io_submit(struct blk_dmabuf_chan_io *cio)
{
	cio->raw = blk_dmabuf_io_is_raw(cio);
	return cio->raw ? blk_dmabuf_bio_submit(cio) :
			  blk_dmabuf_file_submit(cio);
}

static void blk_dmabuf_io_copied(struct blk_dmabuf_io *io, s32 result)
{
	struct blk_dmabuf_chan_io *cio =
		container_of(io, struct blk_dmabuf_chan_io, io);

	blk_dmabuf_io_done(cio, io->refused ? io->error : result);
}

/* Have it copied, by workers that may sleep. */
static noinline int blk_dmabuf_io_copy(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_io *io = &cio->io;
	size_t bytes = blk_dmabuf_io_bytes(cio);

	io->nowait = false;
	cio->polled = false;
	blk_dmabuf_iocb_init(cio);
	/* So that it can be seen without a trace. */
	WRITE_ONCE(io->reg->reason, cio->why);
	if (!bytes)
		return io->desc.write ? -EFBIG : 0;
	return blk_dmabuf_copy(cio->chan->copier, io, &cio->iocb, bytes,
			       blk_dmabuf_io_copied);
}

/* The first time. */
static __always_inline int blk_dmabuf_io_start(struct blk_dmabuf_chan_io *cio)
{
	cio->started = true;
	cio->ioprio = get_current_ioprio();
	trace_blk_dmabuf_submit(&cio->io.desc);
	if (unlikely(cio->io.desc.copied))
		return blk_dmabuf_io_copy(cio);
	return blk_dmabuf_io_submit(cio);
}

/* Submit again: with the credentials and the block cgroup of the channel. */
static long blk_dmabuf_io_resubmit(struct blk_dmabuf_chan_io *cio)
{
	struct blk_dmabuf_chan *chan = cio->chan;
	const struct cred *cred = get_cred(chan->cred);
	long ret;

	this_cpu_inc(cio->io.reg->stats->retries);
	kthread_associate_blkcg(chan->blkcg);
	/* With -EIOCBQUEUED it can be over, and the channel closed. */
	scoped_with_creds(cred)
		ret = blk_dmabuf_io_submit(cio);
	kthread_associate_blkcg(NULL);
	put_cred(cred);
	return ret;
}

/*
 * Map what the I/O did not find and issue it again, or have it copied, holding
 * nothing.
 */
static void blk_dmabuf_io_redo(struct work_struct *work)
{
	struct blk_dmabuf_chan_io *cio =
		container_of(work, struct blk_dmabuf_chan_io, redo);
	struct blk_dmabuf_io *io = &cio->io;
	long ret = 0;

	io->nowait = false;
	cio->polled = false;
	if (cio->faults > BLK_DMABUF_FEW_FAULTS && !io->desc.copied)
		fsleep(USEC_PER_MSEC);
	if (!io->desc.copied)
		ret = blk_dmabuf_map_missed(io);
	if (io->desc.copied || (ret && blk_dmabuf_io_falls_back(cio)))
		ret = blk_dmabuf_io_copy(cio);
	else if (!ret)
		ret = blk_dmabuf_io_resubmit(cio);
	if (ret != -EIOCBQUEUED)
		blk_dmabuf_io_done(cio, ret);
}

/* Submit a piece; its end is accounted to @pieces. */
static void blk_dmabuf_piece_submit(struct blk_dmabuf_pieces *pieces,
				    struct blk_dmabuf_chan_io *cio)
{
	int ret;

	atomic_inc(&pieces->pending);
	cio->pieces = pieces;
	ret = blk_dmabuf_io_start(cio);
	if (ret != -EIOCBQUEUED)
		blk_dmabuf_piece_end(cio, ret);
}

/* Place the piece of a command behind the first @done bytes. */
static struct blk_dmabuf_chan_io *
blk_dmabuf_next_piece(struct blk_dmabuf_chan *chan, struct io_uring_cmd *cmd,
		      struct blk_dmabuf_parts *parts, u32 done)
{
	struct blk_dmabuf_chan_io *cio;
	int error;

	/* A policy can make millions of them. */
	if (fatal_signal_pending(current))
		return ERR_PTR(-EINTR);
	cio = blk_dmabuf_io_alloc(chan, cmd, parts, done, false);
	cio->why = blk_dmabuf_chan_why(chan);
	cio->io.desc.copied = chan->copier && cio->why != BLK_DMABUF_OK;
	/* The next slot's share of a vectored command need not be whole blocks. */
	if (unlikely(!blk_dmabuf_aligned(chan, &cio->io.desc)))
		error = blk_dmabuf_io_refused(cio, BLK_DMABUF_UNALIGNED,
					      -EINVAL);
	else
		error = blk_dmabuf_io_place(cio);
	if (!error)
		return cio;
	blk_dmabuf_io_drop(cio, error);
	return ERR_PTR(error);
}

/* Where a command ends at the latest: a file grows as far as its writer may. */
static u64 blk_dmabuf_cmd_end(const struct blk_dmabuf_chan *chan,
			      const struct io_uring_cmd *cmd)
{
	return chan->is_file && blk_dmabuf_cmd_is_write(cmd) ?
		round_down(rlimit(RLIMIT_FSIZE), chan->write_block) :
		blk_dmabuf_size(chan);
}

/* Submit @cio, the first piece, and place and submit the rest. */
static int blk_dmabuf_cmd_submit_pieces(struct blk_dmabuf_chan_io *cio,
					struct blk_dmabuf_parts *parts)
{
	struct blk_dmabuf_chan *chan = cio->chan;
	struct io_uring_cmd *cmd = cio->cmd;
	const struct blk_dmabuf_pdu *pdu = blk_dmabuf_pdu(cmd);
	struct blk_dmabuf_pieces *pieces;
	u32 done = 0;

	pieces = kmalloc_obj(*pieces, GFP_KERNEL);
	if (!pieces) {
		blk_dmabuf_io_drop(cio, -ENOMEM);
		return -ENOMEM;
	}
	pieces->cmd = cmd;
	pieces->pos = cio->io.desc.pos;
	atomic_set(&pieces->pending, 1);
	atomic_set(&pieces->error, 0);
	atomic_set(&pieces->end, INT_MAX);
	pieces->placed = blk_dmabuf_placed(&cio->io.desc);
	pieces->copied = false;

	for (;;) {
		done += cio->io.desc.len;
		blk_dmabuf_piece_submit(pieces, cio);
		if (done == pdu->len || atomic_read(&pieces->error) ||
		    atomic_read(&pieces->end) < done ||
		    pdu->pos + done >= blk_dmabuf_cmd_end(chan, cmd))
			break;
		cio = blk_dmabuf_next_piece(chan, cmd, parts, done);
		if (!IS_ERR(cio))
			continue;
		atomic_cmpxchg(&pieces->error, 0, PTR_ERR(cio));
		break;
	}
	if (blk_dmabuf_cmd_polled(cmd))
		WRITE_ONCE(blk_dmabuf_pdu(cmd)->polled, NULL);
	blk_dmabuf_pieces_end(pieces, done);
	blk_dmabuf_pieces_put(pieces);
	return -EIOCBQUEUED;
}

/* Complete a command while it is being issued. */
static int blk_dmabuf_cmd_done(struct io_uring_cmd *cmd, int ret, u64 placed,
			       unsigned int issue_flags)
{
	blk_dmabuf_notify(cmd, ret);
	if (ret < 0 || !blk_dmabuf_pdu(cmd)->cqe32)
		return ret;
	io_uring_cmd_done32(cmd, ret, placed, issue_flags);
	return -EIOCBQUEUED;
}

/* What cannot be polled for completes by interrupt. */
static bool blk_dmabuf_chan_can_poll(const struct blk_dmabuf_chan *chan)
{
	return chan->file->f_op->iopoll &&
	       bdev_limits(chan->bdev)->features & BLK_FEAT_POLL;
}

/* Let the ring poll for a command that is one I/O. */
static void blk_dmabuf_io_poll(struct blk_dmabuf_chan_io *cio)
{
	if (!blk_dmabuf_cmd_polled(cio->cmd))
		return;
	cio->polled = !cio->io.desc.copied &&
		      blk_dmabuf_chan_can_poll(cio->chan);
	WRITE_ONCE(blk_dmabuf_pdu(cio->cmd)->polled, cio->polled ? cio : NULL);
}

/* May an I/O of the channel be issued where it must not sleep? */
static bool blk_dmabuf_chan_nowait(const struct blk_dmabuf_chan *chan)
{
	return chan->file->f_mode & FMODE_NOWAIT && bdev_nowait(chan->bdev);
}

static int blk_dmabuf_cmd_submit(struct blk_dmabuf_chan *chan,
				 struct io_uring_cmd *cmd,
				 struct blk_dmabuf_parts *parts,
				 unsigned int issue_flags)
{
	bool nowait = issue_flags & IO_URING_F_NONBLOCK;
	struct blk_dmabuf_chan_io *cio;
	u64 placed;
	int ret;

	cio = blk_dmabuf_io_alloc(chan, cmd, parts, 0, nowait);
	ret = blk_dmabuf_io_check(cio);
	/* What is copied is queued. */
	if (!ret && nowait && !cio->io.desc.copied &&
	    !blk_dmabuf_chan_nowait(chan))
		ret = -EAGAIN;
	ret = ret ?: blk_dmabuf_io_place(cio);
	if (ret)
		goto end;
	if (cio->io.desc.len < blk_dmabuf_pdu(cmd)->len) {
		/* Pieces are in flight at a time, and all would append. */
		if (cio->io.desc.write && blk_dmabuf_appends(chan))
			ret = blk_dmabuf_io_blame(cio, BLK_DMABUF_LAYOUT,
						  BLK_DMABUF_POLICY_LENGTH,
						  -EINVAL);
		/* Once a piece is in flight there is no way back to wait. */
		else if (nowait)
			ret = -EAGAIN;
		else
			return blk_dmabuf_cmd_submit_pieces(cio, parts);
		goto end;
	}
	blk_dmabuf_io_poll(cio);
	ret = blk_dmabuf_io_start(cio);
	if (ret == -EIOCBQUEUED)
		return ret;
end:
	placed = blk_dmabuf_placed(&cio->io.desc);
	/* For an io_uring worker. */
	blk_dmabuf_pdu(cmd)->pos = cio->io.desc.pos;
	blk_dmabuf_io_drop(cio, ret);
	return blk_dmabuf_cmd_done(cmd, ret, placed, issue_flags);
}

/*
 * An I/O that ends meanwhile is freed, but its memory stays that of a bio with what
 * is in front of it, and at worst another bio is polled for: iocb_bio_iopoll().
 */
static int blk_dmabuf_cmd_poll(struct io_uring_cmd *cmd,
			       struct io_comp_batch *iob, unsigned int flags)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;
	struct blk_dmabuf_chan_io *cio;

	guard(rcu)();
	cio = READ_ONCE(blk_dmabuf_pdu(cmd)->polled);
	if (!cio)
		return 0;
	if (READ_ONCE(cio->raw))
		return bio_poll(&cio->bio, iob, flags);
	return chan->file->f_op->iopoll(&cio->iocb, iob, flags);
}

/* Under the ring's lock. */
static int blk_dmabuf_chan_iopoll(struct io_uring_cmd *cmd,
				  struct io_comp_batch *iob,
				  unsigned int flags)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;
	bool mine;
	int ret;

	mine = !READ_ONCE(chan->poller) &&
	       !cmpxchg(&chan->poller, NULL, current);
	if (mine)
		chan->poller_ring = io_uring_cmd_ctx_handle(cmd);
	ret = blk_dmabuf_cmd_poll(cmd, iob, flags);
	/*
	 * io_uring would do so next, and look no further.  Now it goes on to commands
	 * for which a hybrid ring would sleep.
	 */
	if (mine && !rq_list_empty(&iob->req_list) &&
	    !(cmd_to_io_kiocb(cmd)->ctx->flags & IORING_SETUP_HYBRID_IOPOLL))
		iob->complete(iob);
	if (mine) {
		/* Behind what was completed, which looks at both. */
		smp_store_release(&chan->poller, NULL);
	}
	return ret;
}

static int blk_dmabuf_chan_uring_cmd(struct io_uring_cmd *cmd,
				     unsigned int issue_flags)
{
	struct blk_dmabuf_chan *chan = cmd->file->private_data;
	struct blk_dmabuf_parts *parts = NULL;
	int error;

	if (cmd->cmd_op < BLK_DMABUF_CMD_READ ||
	    cmd->cmd_op > BLK_DMABUF_CMD_WRITEV)
		return -EOPNOTSUPP;
	if (!(cmd->flags & IORING_URING_CMD_REISSUE)) {
		error = blk_dmabuf_cmd_read_sqe(cmd, issue_flags);
		if (error)
			return error;
	}
	if (unlikely(blk_dmabuf_cmd_is_vectored(cmd))) {
		parts = blk_dmabuf_parts_read(chan, cmd);
		if (IS_ERR(parts))
			return PTR_ERR(parts);
	}
	error = blk_dmabuf_cmd_submit(chan, cmd, parts, issue_flags);
	blk_dmabuf_parts_put(parts);
	return error;
}

/*
 * Accounts.
 */

static DEFINE_MUTEX(blk_dmabuf_accounts_lock);
static DEFINE_HASHTABLE(blk_dmabuf_accounts, 6);

/* The account of a user or cgroup, one channel more on it. */
static struct blk_dmabuf_account *blk_dmabuf_account_get(u64 key,
							 bool is_cgroup)
{
	struct blk_dmabuf_account *account;

	guard(mutex)(&blk_dmabuf_accounts_lock);
	hash_for_each_possible(blk_dmabuf_accounts, account, hash, key) {
		if (account->key == key && account->is_cgroup == is_cgroup) {
			account->chans++;
			return account;
		}
	}
	account = kzalloc_obj(*account, GFP_KERNEL_ACCOUNT);
	if (!account)
		return NULL;
	account->key = key;
	account->is_cgroup = is_cgroup;
	account->chans = 1;
	xa_init(&account->bufs);
	hash_add(blk_dmabuf_accounts, &account->hash, key);
	return account;
}

static void blk_dmabuf_account_put(struct blk_dmabuf_account *account)
{
	if (!account)
		return;
	guard(mutex)(&blk_dmabuf_accounts_lock);
	if (--account->chans)
		return;
	hash_del(&account->hash);
	xa_destroy(&account->bufs);
	kfree(account);
}

/* Buffers are kmalloc()ed, so these are different for each. */
static unsigned long blk_dmabuf_account_index(const struct blk_dmabuf_buffer *buf)
{
	return (unsigned long)buf / ARCH_KMALLOC_MINALIGN;
}

/* A buffer counts once, however often it is bound. */
static int blk_dmabuf_account_add(struct blk_dmabuf_account *account,
				  const struct blk_dmabuf_buffer *buf)
{
	unsigned long index = blk_dmabuf_account_index(buf), times;
	int error;

	lockdep_assert_held(&blk_dmabuf_accounts_lock);

	times = xa_to_value(xa_load(&account->bufs, index) ?: xa_mk_value(0));
	error = xa_err(xa_store(&account->bufs, index, xa_mk_value(times + 1),
				GFP_KERNEL_ACCOUNT));
	if (!error && !times)
		account->bytes += buf->bytes;
	return error;
}

static void blk_dmabuf_account_sub(struct blk_dmabuf_account *account,
				   const struct blk_dmabuf_buffer *buf)
{
	unsigned long index = blk_dmabuf_account_index(buf), times;

	lockdep_assert_held(&blk_dmabuf_accounts_lock);

	times = xa_to_value(xa_load(&account->bufs, index));
	if (times > 1) {
		/* The entry is there, so nothing is allocated. */
		xa_store(&account->bufs, index, xa_mk_value(times - 1), 0);
	} else {
		xa_erase(&account->bufs, index);
		account->bytes -= buf->bytes;
	}
}

static void blk_dmabuf_give_back(struct blk_dmabuf_chan *chan,
				 struct blk_dmabuf *reg)
{
	int i;

	guard(mutex)(&blk_dmabuf_accounts_lock);
	for (i = 0; i < BLK_DMABUF_NR_ACCOUNTS; i++)
		blk_dmabuf_account_sub(chan->accounts[i], reg->buf);
}

/*
 * Count @reg as bound before the policy is asked, so that what is asked for at
 * the same time cannot be admitted on the same numbers.
 */
static int blk_dmabuf_reserve(struct blk_dmabuf_chan *chan,
			      struct blk_dmabuf *reg,
			      struct blk_dmabuf_grant *grant)
{
	u64 bytes = reg->buf->bytes;
	int i, error;

	guard(mutex)(&blk_dmabuf_accounts_lock);
	for (i = 0; i < BLK_DMABUF_NR_ACCOUNTS; i++) {
		error = blk_dmabuf_account_add(chan->accounts[i], reg->buf);
		if (error)
			goto undo;
	}
	/* The policy adds ->bytes itself. */
	grant->bound = chan->accounts[BLK_DMABUF_OF_CHAN]->bytes - bytes;
	grant->uid_bound = chan->accounts[BLK_DMABUF_OF_UID]->bytes - bytes;
	grant->cgroup_bound = chan->accounts[BLK_DMABUF_OF_CGROUP]->bytes -
			      bytes;
	return 0;

undo:
	while (i--)
		blk_dmabuf_account_sub(chan->accounts[i], reg->buf);
	return error;
}

/*
 * Binding.
 */

static struct blk_dmabuf_table *blk_dmabuf_table_alloc(unsigned int nr)
{
	struct blk_dmabuf_table *table;

	table = kvzalloc(struct_size(table, regs, nr), GFP_KERNEL_ACCOUNT);
	if (table)
		table->nr = nr;
	return table;
}

/* For whoever holds the lock, or is the only user. */
static struct blk_dmabuf_table *
blk_dmabuf_table_of(const struct blk_dmabuf_slots *slots, bool last)
{
	return rcu_dereference_protected(slots->table, last ||
					 lockdep_is_held(&slots->lock));
}

/* Have a table with @slot in it. */
static int blk_dmabuf_table_grow(struct blk_dmabuf_slots *slots, u32 slot)
{
	struct blk_dmabuf_table *old = blk_dmabuf_table_of(slots, false), *table;
	unsigned int i;

	if (slot < old->nr)
		return 0;
	table = blk_dmabuf_table_alloc(roundup_pow_of_two(slot + 1));
	if (!table)
		return -ENOMEM;
	for (i = 0; i < old->nr; i++)
		RCU_INIT_POINTER(table->regs[i],
				 rcu_access_pointer(old->regs[i]));
	rcu_assign_pointer(slots->table, table);
	kvfree_rcu(old, rcu);
	return 0;
}

/* The first free slot, which may be one that the table does not have yet. */
static u32 blk_dmabuf_slot_free(const struct blk_dmabuf_slots *slots)
{
	const struct blk_dmabuf_table *table = blk_dmabuf_table_of(slots, false);
	u32 slot = 0;

	while (slot < table->nr && rcu_access_pointer(table->regs[slot]))
		slot++;
	return slot;
}

/* On success the slot owns the reference to the registration. */
static int blk_dmabuf_slot_take(struct blk_dmabuf_slots *slots,
				struct blk_dmabuf *reg, u32 *slot)
{
	struct blk_dmabuf_table *table;
	u32 to = *slot;
	int error;

	guard(mutex)(&slots->lock);
	if (to == BLK_DMABUF_SLOT_ANY)
		to = blk_dmabuf_slot_free(slots);
	if (to == BLK_DMABUF_MAX_SLOTS)
		return -ENOSPC;
	error = blk_dmabuf_table_grow(slots, to);
	if (error)
		return error;
	table = blk_dmabuf_table_of(slots, false);
	if (rcu_access_pointer(table->regs[to]))
		return -EBUSY;
	rcu_assign_pointer(table->regs[to], reg);
	*slot = to;
	return 0;
}

/*
 * Empty a slot, if @reg is in it, or whatever there is if that is NULL.
 *
 * Return: what was in it, whose reference is the caller's now, or NULL
 */
static struct blk_dmabuf *blk_dmabuf_slot_clear(struct blk_dmabuf_slots *slots,
						u32 slot,
						const struct blk_dmabuf *reg)
{
	struct blk_dmabuf_table *table;
	struct blk_dmabuf *old;

	guard(mutex)(&slots->lock);
	table = blk_dmabuf_table_of(slots, false);
	if (slot >= table->nr)
		return NULL;
	old = rcu_dereference_protected(table->regs[slot],
					lockdep_is_held(&slots->lock));
	if (reg && old != reg)
		return NULL;
	RCU_INIT_POINTER(table->regs[slot], NULL);
	return old;
}

/* Undo blk_dmabuf_reserve() and blk_dmabuf_cpu_get(). */
static void blk_dmabuf_chan_let_go(struct blk_dmabuf_chan *chan,
				   struct blk_dmabuf *reg)
{
	if (chan->copier)
		blk_dmabuf_cpu_put(reg);
	blk_dmabuf_give_back(chan, reg);
}

/* Of what has been mapped, or can be now, all has to be a peer's. */
static int blk_dmabuf_chan_check_peer(const struct blk_dmabuf_chan *chan,
				      struct blk_dmabuf *reg)
{
	struct blk_dmabuf_info info;
	int error;

	if (!chan->only_peer)
		return 0;
	error = blk_dmabuf_map(reg);
	if (error)
		return error;
	blk_dmabuf_get_info(reg, &info);
	/* On a stack I/O has not reached: each I/O is looked at. */
	if (info.state != BLK_DMABUF_LIVE || info.flags & BLK_DMABUF_F_P2P)
		return 0;
	return blk_dmabuf_refuse(chan->slots.dev, reg, BLK_DMABUF_NOT_P2P,
				 -EOPNOTSUPP);
}

/* Reserve, ask, and commit or give back; no lock is held while asking. */
static int blk_dmabuf_slot_bind(struct blk_dmabuf_chan *chan,
				struct blk_dmabuf *reg, u32 *slot)
{
	struct blk_dmabuf_grant grant;
	int error;

	if (*slot != BLK_DMABUF_SLOT_ANY && *slot >= BLK_DMABUF_MAX_SLOTS)
		return -EINVAL;
	error = blk_dmabuf_chan_check_peer(chan, reg);
	if (error)
		return error;
	blk_dmabuf_grant_init(&grant, &chan->slots, reg, *slot);
	error = blk_dmabuf_reserve(chan, reg, &grant);
	if (error)
		return error;
	if (chan->copier)
		blk_dmabuf_cpu_get(reg);
	if (chan->slots.disk)
		error = blk_dmabuf_policy_admit(chan->slots.disk, &grant);
	/* Before an I/O can find it. */
	if (!error && chan->copier && reg->may_copy)
		error = blk_dmabuf_copier_prepare(chan->copier);
	if (!error)
		error = blk_dmabuf_slot_take(&chan->slots, reg, slot);
	if (error)
		blk_dmabuf_chan_let_go(chan, reg);
	return error;
}

static void blk_dmabuf_slot_put(struct blk_dmabuf_chan *chan,
				struct blk_dmabuf *reg)
{
	blk_dmabuf_chan_let_go(chan, reg);
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
		return blk_dmabuf_refuse(chan->slots.dev, NULL,
					 BLK_DMABUF_NO_DMABUF, PTR_ERR(dmabuf));
	reg = blk_dmabuf_find(chan->slots.disk, dmabuf);
	dma_buf_put(dmabuf);
	if (!reg)
		return blk_dmabuf_refuse(chan->slots.dev, NULL,
					 BLK_DMABUF_NOT_REGISTERED, -ENOENT);
	arg.id = reg->id;
	arg.bytes = reg->buf->bytes;
	error = blk_dmabuf_slot_bind(chan, reg, &arg.slot);
	if (error) {
		blk_dmabuf_put(reg);
		return error;
	}
	/* From here the reference is the slot's: do not look at @reg. */
	if (!copy_to_user(uarg, &arg, sizeof(arg)))
		return 0;
	/* Whoever unbinds it first, maybe another thread, has the reference. */
	if (blk_dmabuf_slot_clear(&chan->slots, arg.slot, reg))
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
	reg = blk_dmabuf_slot_clear(&chan->slots, slot, NULL);
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
		reg = blk_dmabuf_bound(&chan->slots, slot);
		if (!reg)
			return -ENOENT;
		blk_dmabuf_get_info(reg, &info);
	}
	return copy_to_user(&uarg->info, &info, sizeof(info)) ? -EFAULT : 0;
}

static long blk_dmabuf_chan_limits(struct blk_dmabuf_chan *chan,
				   struct blk_dmabuf_limits __user *uarg)
{
	struct blk_dmabuf_limits arg = {
		.block_size		= chan->read_block,
		.dma_alignment		= 1,
		.bytes			= blk_dmabuf_size(chan),
		.write_block_size	= chan->write_block,
		.vec_align		= 1,
	};
	const struct queue_limits *lim;

	/* What is copied takes no request on the buffer. */
	if (!chan->copier || blk_dmabuf_chan_why(chan) == BLK_DMABUF_OK) {
		lim = bdev_limits(chan->bdev);
		arg.dma_alignment = chan->mem_align;
		arg.max_io = blk_dmabuf_max_sectors(lim) << SECTOR_SHIFT;
		arg.max_ranges = blk_dmabuf_max_segments(lim);
		arg.vec_align = max_t(u32, chan->mem_align,
				      lim->virt_boundary_mask + 1);
	}
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
	const struct blk_dmabuf_table *table;
	const struct blk_dmabuf *reg;
	unsigned int slot;

	if (chan->bdev)
		seq_printf(m, "blkdmabuf-dev:\t%pg\n", chan->bdev);
	else
		seq_puts(m, "blkdmabuf-dev:\tnodev\n");
	if (chan->copier)
		seq_puts(m, "blkdmabuf-copy:\t1\n");
	guard(rcu)();
	table = rcu_dereference(chan->slots.table);
	for (slot = 0; slot < table->nr; slot++) {
		reg = rcu_dereference(table->regs[slot]);
		if (reg)
			seq_printf(m, "blkdmabuf-slot:\t%u id %u bytes %llu\n",
				   slot, reg->id, reg->buf->bytes);
	}
}
#endif

static void blk_dmabuf_chan_free(struct blk_dmabuf_chan *chan)
{
	/* Workers that have told of their last I/O may still be at it. */
	blk_dmabuf_copier_free(chan->copier);
	blk_dmabuf_account_put(chan->accounts[BLK_DMABUF_OF_UID]);
	blk_dmabuf_account_put(chan->accounts[BLK_DMABUF_OF_CGROUP]);
	xa_destroy(&chan->own.bufs);
	kvfree(blk_dmabuf_table_of(&chan->slots, true));
	mutex_destroy(&chan->slots.lock);
	if (chan->blkcg)
		css_put(chan->blkcg);
	put_cred(chan->cred);
	fput(chan->file);
	kfree(chan);
}

/* Commands hold the file, so none is in flight any more. */
static int blk_dmabuf_chan_release(struct inode *inode, struct file *file)
{
	struct blk_dmabuf_chan *chan = file->private_data;
	const struct blk_dmabuf_table *table;
	struct blk_dmabuf *reg;
	unsigned int slot;

	table = blk_dmabuf_table_of(&chan->slots, true);
	for (slot = 0; slot < table->nr; slot++) {
		reg = rcu_dereference_protected(table->regs[slot], true);
		if (reg)
			blk_dmabuf_slot_put(chan, reg);
	}
	blk_dmabuf_chan_free(chan);
	blk_dmabuf_put_user();
	return 0;
}

static const struct file_operations blk_dmabuf_chan_fops = {
	.owner		= THIS_MODULE,
	.release	= blk_dmabuf_chan_release,
	.unlocked_ioctl	= blk_dmabuf_chan_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= blk_dmabuf_chan_uring_cmd,
	.uring_cmd_iopoll = blk_dmabuf_chan_iopoll,
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

static struct cgroup_subsys_state *blk_dmabuf_current_blkcg(void)
{
#ifdef CONFIG_BLK_CGROUP
	return task_get_css(current, io_cgrp_id);
#else
	return NULL;
#endif
}

/* What the file's I/O has to be aligned to. */
static void blk_dmabuf_chan_align(struct blk_dmabuf_chan *chan,
				  const struct kstat *stat)
{
	chan->direct = true;
	if (!chan->is_file) {
		chan->read_block = bdev_logical_block_size(chan->bdev);
		chan->write_block = chan->read_block;
		chan->mem_align = bdev_dma_alignment(chan->bdev) + 1;
		return;
	}
	/* Nobody says what direct I/O is aligned to; buffered I/O needs not be. */
	if (chan->why && !(stat->result_mask & STATX_DIOALIGN &&
			   stat->dio_offset_align)) {
		chan->direct = false;
		chan->read_block = 1;
		chan->write_block = 1;
		chan->mem_align = 1;
		return;
	}
	chan->read_block = stat->dio_offset_align;
	/* Whole blocks: what the rest of one is cannot be copied. */
	chan->write_block = max(stat->dio_offset_align,
				i_blocksize(file_inode(chan->file)));
	chan->mem_align = stat->dio_mem_align;
}

static void blk_dmabuf_chan_set_bdev(struct blk_dmabuf_chan *chan,
				     struct block_device *bdev)
{
	chan->bdev = bdev;
	if (!bdev)
		return;
	chan->slots.disk = bdev->bd_disk;
	chan->slots.dev = disk_devt(bdev->bd_disk);
}

/* For these it matters in what order writes arrive. */
static bool blk_dmabuf_chan_in_order(const struct blk_dmabuf_chan *chan)
{
	return chan->is_file || bdev_is_zoned(chan->bdev);
}

static int blk_dmabuf_chan_set_flags(struct blk_dmabuf_chan *chan, u32 flags)
{
	struct blk_dmabuf_copier_args args = {
		.file		= chan->file,
		.cred		= chan->cred,
		.blkcg		= chan->blkcg,
		.block		= max(chan->read_block, chan->write_block),
		.in_order	= blk_dmabuf_chan_in_order(chan),
	};

	chan->only_peer = flags & BLK_DMABUF_CHANNEL_P2P;
	if (!(flags & BLK_DMABUF_CHANNEL_COPY))
		return 0;
	chan->copier = blk_dmabuf_copier_alloc(&args);
	return chan->copier ? 0 : -ENOMEM;
}

/* On success the channel has a reference to @file. */
static struct blk_dmabuf_chan *blk_dmabuf_chan_make(struct file *file,
						    u32 flags)
{
	struct blk_dmabuf_chan *chan;
	enum blk_dmabuf_reason why;
	struct block_device *bdev;
	struct kstat stat = {};
	int error;

	error = blk_dmabuf_check_file(file, flags & BLK_DMABUF_CHANNEL_COPY,
				      &bdev, &stat, &why);
	if (error)
		return ERR_PTR(blk_dmabuf_refuse(0, NULL, why, error));
	chan = kzalloc_obj(*chan, GFP_KERNEL_ACCOUNT);
	if (!chan)
		return ERR_PTR(-ENOMEM);
	mutex_init(&chan->slots.lock);
	RCU_INIT_POINTER(chan->slots.table,
			 blk_dmabuf_table_alloc(BLK_DMABUF_FEW_SLOTS));
	xa_init(&chan->own.bufs);
	chan->file = get_file(file);
	chan->is_file = S_ISREG(file_inode(file)->i_mode);
	chan->why = why;
	blk_dmabuf_chan_set_bdev(chan, bdev);
	chan->slots.uid = from_kuid(&init_user_ns, current_uid());
	chan->slots.cgroup = blk_dmabuf_current_cgroup();
	chan->cred = get_current_cred();
	chan->blkcg = blk_dmabuf_current_blkcg();
	chan->touched[READ] = jiffies - 1;
	chan->touched[WRITE] = jiffies - 1;
	blk_dmabuf_chan_align(chan, &stat);
	chan->accounts[BLK_DMABUF_OF_CHAN] = &chan->own;
	chan->accounts[BLK_DMABUF_OF_UID] =
		blk_dmabuf_account_get(chan->slots.uid, false);
	chan->accounts[BLK_DMABUF_OF_CGROUP] =
		blk_dmabuf_account_get(chan->slots.cgroup, true);
	if (blk_dmabuf_table_of(&chan->slots, true) &&
	    chan->accounts[BLK_DMABUF_OF_UID] &&
	    chan->accounts[BLK_DMABUF_OF_CGROUP] &&
	    !blk_dmabuf_chan_set_flags(chan, flags))
		return chan;
	blk_dmabuf_chan_free(chan);
	return ERR_PTR(-ENOMEM);
}

static long blk_dmabuf_dev_channel(struct blk_dmabuf_channel __user *uarg)
{
	struct blk_dmabuf_channel arg;
	struct blk_dmabuf_chan *chan;
	int fd;

	if (copy_from_user(&arg, uarg, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(BLK_DMABUF_CHANNEL_COPY | BLK_DMABUF_CHANNEL_P2P))
		return -EINVAL;
	if (arg.flags & BLK_DMABUF_CHANNEL_COPY &&
	    arg.flags & BLK_DMABUF_CHANNEL_P2P)
		return -EINVAL;
	CLASS(fd, f)(arg.fd);
	if (fd_empty(f))
		return -EBADF;
	chan = blk_dmabuf_chan_make(fd_file(f), arg.flags);
	if (IS_ERR(chan))
		return PTR_ERR(chan);
	blk_dmabuf_get_user();
	/* On success the file owns the channel. */
	fd = anon_inode_getfd("[blkdmabuf]", &blk_dmabuf_chan_fops, chan,
			      O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		blk_dmabuf_chan_free(chan);
		blk_dmabuf_put_user();
	}
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

	error = bioset_init(&blk_dmabuf_bios, 4,
			    offsetof(struct blk_dmabuf_chan_io, bio),
			    BIOSET_PERCPU_CACHE);
	if (error)
		return error;
	/* Each may wait for an exporter, so let many do so. */
	blk_dmabuf_redo_wq = alloc_workqueue("blkdmabuf", WQ_UNBOUND, 0);
	error = blk_dmabuf_redo_wq ? misc_register(&blk_dmabuf_dev) : -ENOMEM;
	if (!error)
		return 0;
	if (blk_dmabuf_redo_wq)
		destroy_workqueue(blk_dmabuf_redo_wq);
	bioset_exit(&blk_dmabuf_bios);
	return error;
}
device_initcall(blk_dmabuf_chan_init);
