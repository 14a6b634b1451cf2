// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block I/O on dma-bufs: copying, where nothing can be mapped.
 *
 * An I/O that no device can do on the buffer itself is an ordinary I/O of the
 * file on kernel pages, and the CPU copies between these and the buffer.  That
 * works for every block device and file, and for every buffer that its exporter
 * maps for the CPU.
 *
 *	blkdmabufctl register /dev/ram0 --udmabuf 16M --allow-copy
 *	blkdmabufctl read /dev/ram0 --id 1 --allow-copy
 *
 * It is done above the whole stack of disks, by workers that hold nothing of the
 * buffer while they wait for the file, and nothing of the file while they wait
 * for the buffer.  Below submit_bio() a worker would wait for the reservation
 * lock, whose holder may be in memory reclaim, which waits for the disk.
 *
 * An I/O is cut into pieces.  A lane is a worker with the memory for one piece;
 * it takes one piece after the other until none is left.  A channel gives memory
 * to lanes in the order in which the I/Os arrived; those that find none wait.
 */
#include <linux/bvec.h>
#include <linux/blk-cgroup.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "blk-dmabuf-internal.h"

/* More makes neither the device nor the CPU faster. */
#define BLK_DMABUF_COPY_PIECE	SZ_1M

/* Memory of all lanes of a channel: some large I/Os, or thousands of 4 KiB. */
#define BLK_DMABUF_COPY_MEMORY	SZ_16M

/* Lanes of an I/O: the device and the CPU are both at work, and others may. */
#define BLK_DMABUF_COPY_LANES	4

/* Lanes that work at a time, each a thread that waits for its I/O. */
#define BLK_DMABUF_COPY_WORKERS	64

/**
 * struct blk_dmabuf_copier - what copies for a channel
 * @args: what it does I/O with
 * @memcg: who pays for the memory: whoever opened the channel
 * @wq: its workers, NULL before there is something to copy.  They wait for I/O
 *	that may be done by the user of another channel (ublk), so channels have
 *	no worker in common
 * @lock: protects the rest, and the progress of copies
 * @waiting: copies that have not got all their lanes, in order of arrival
 * @left: memory that may still be given to lanes
 */
struct blk_dmabuf_copier {
	struct blk_dmabuf_copier_args	args;
	struct mem_cgroup		*memcg;
	struct workqueue_struct		*wq;
	spinlock_t			lock;	/* see @lock */
	struct list_head		waiting;
	size_t				left;
};

/**
 * struct blk_dmabuf_lane - a worker on a copy
 * @work: runs it
 * @copy: the copy
 * @bytes: memory that it may have
 */
struct blk_dmabuf_lane {
	struct work_struct	work;
	struct blk_dmabuf_copy	*copy;
	size_t			bytes;
};

/**
 * struct blk_dmabuf_copy - an I/O that is copied
 * @copier: who does it
 * @io: the I/O
 * @done: called once, when it is over
 * @iocb: what each piece is issued with
 * @bytes: bytes to do
 * @nr_lanes: lanes that it wants
 * @list: entry in &blk_dmabuf_copier.waiting, or empty
 * @begun: bytes that lanes have taken
 * @end: bytes in front of the first that the file did not do
 * @error: 0 or the first -errno
 * @working: lanes that have been started and have not ended
 * @started: lanes that have been started
 * @lanes: its lanes
 *
 * From @list to @started under &blk_dmabuf_copier.lock.
 */
struct blk_dmabuf_copy {
	struct blk_dmabuf_copier	*copier;
	struct blk_dmabuf_io		*io;
	void				(*done)(struct blk_dmabuf_io *io,
						s32 result);
	struct kiocb			iocb;
	u32				bytes;
	unsigned int			nr_lanes;
	struct list_head		list;
	u32				begun;
	u32				end;
	int				error;
	unsigned int			working;
	unsigned int			started;
	struct blk_dmabuf_lane		lanes[] __counted_by(nr_lanes);
};

/*
 * Memory of a lane.
 */

/**
 * struct blk_dmabuf_pages - kernel pages for a piece
 * @bytes: how much can be used of them, whole blocks
 * @nr: entries of @vecs
 * @vecs: the pages
 */
struct blk_dmabuf_pages {
	size_t		bytes;
	unsigned int	nr;
	struct bio_vec	vecs[];
};

static void blk_dmabuf_pages_free(struct blk_dmabuf_pages *pages)
{
	unsigned int i;

	for (i = 0; i < pages->nr; i++)
		__free_pages(pages->vecs[i].bv_page,
			     get_order(pages->vecs[i].bv_len));
	kfree(pages);
}

/*
 * Large pages make few segments.  Nothing is reclaimed for them: if there is none,
 * half the size will do.
 */
static bool blk_dmabuf_pages_add(struct blk_dmabuf_pages *pages, size_t bytes,
				 gfp_t gfp)
{
	int order = min(ilog2(bytes >> PAGE_SHIFT), MAX_PAGE_ORDER);
	struct page *page;

	for (; order > 0; order--) {
		page = alloc_pages((gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_COMP |
				   __GFP_NORETRY | __GFP_NOWARN, order);
		if (page)
			goto add;
	}
	page = alloc_page(gfp);
	if (!page)
		return false;
add:
	bvec_set_page(&pages->vecs[pages->nr++], page, PAGE_SIZE << order, 0);
	pages->bytes += PAGE_SIZE << order;
	return true;
}

/*
 * Up to @bytes, a multiple of the page size, and fewer if there are no more.  A
 * device may say that it has read what it has not, so no old data is in them.
 */
static struct blk_dmabuf_pages *
blk_dmabuf_pages_alloc(struct blk_dmabuf_copier *copier, size_t bytes,
		       bool write)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | (write ? 0 : __GFP_ZERO);
	struct mem_cgroup *old = set_active_memcg(copier->memcg);
	struct blk_dmabuf_pages *pages;

	pages = kzalloc(struct_size(pages, vecs, bytes >> PAGE_SHIFT),
			GFP_KERNEL_ACCOUNT);
	if (pages) {
		while (pages->bytes < bytes)
			if (!blk_dmabuf_pages_add(pages, bytes - pages->bytes,
						  gfp))
				break;
		pages->bytes = round_down(pages->bytes, copier->args.block);
	}
	set_active_memcg(old);
	if (!pages || pages->bytes)
		return pages;
	blk_dmabuf_pages_free(pages);
	return NULL;
}

/*
 * Pieces.
 */

/* Is nothing left to begin?  Behind an error or the end of a file nothing is. */
static bool blk_dmabuf_copy_over(const struct blk_dmabuf_copy *copy)
{
	lockdep_assert_held(&copy->copier->lock);

	return copy->error || copy->end < copy->begun ||
	       copy->begun == copy->bytes;
}

/* Take the next piece, of at most @max bytes. */
static u32 blk_dmabuf_copy_take(struct blk_dmabuf_copy *copy, size_t max,
				u32 *at)
{
	u32 len;

	guard(spinlock)(&copy->copier->lock);
	if (blk_dmabuf_copy_over(copy))
		return 0;
	*at = copy->begun;
	len = min_t(size_t, max, copy->bytes - copy->begun);
	copy->begun += len;
	return len;
}

static void blk_dmabuf_copy_fail(struct blk_dmabuf_copy *copy, int error)
{
	guard(spinlock)(&copy->copier->lock);
	if (!copy->error)
		copy->error = error;
}

/* The file has less than was asked of it. */
static void blk_dmabuf_copy_short(struct blk_dmabuf_copy *copy, u32 end)
{
	guard(spinlock)(&copy->copier->lock);
	copy->end = min(copy->end, end);
}

/* Let the file fill the pages, or take them. */
static ssize_t blk_dmabuf_copy_file(struct blk_dmabuf_copy *copy,
				    struct blk_dmabuf_pages *pages, u32 at,
				    u32 len)
{
	struct file *file = copy->copier->args.file;
	struct kiocb iocb = copy->iocb;
	struct iov_iter iter;
	ssize_t ret;

	iocb.ki_pos += at;
	if (!copy->io->desc.write) {
		iov_iter_bvec(&iter, ITER_DEST, pages->vecs, pages->nr, len);
		return file->f_op->read_iter(&iocb, &iter);
	}
	iov_iter_bvec(&iter, ITER_SOURCE, pages->vecs, pages->nr, len);
	file_start_write(file);
	ret = file->f_op->write_iter(&iocb, &iter);
	file_end_write(file);
	return ret;
}

/* Copy between @addr and bytes of the I/O. */
static void blk_dmabuf_copy_vec(const struct blk_dmabuf_io *io,
				struct iosys_map *map, void *addr, u64 from,
				u32 bytes)
{
	while (bytes) {
		u32 len = bytes;
		size_t offset = blk_dmabuf_io_locate(io, from, &len);

		if (io->desc.write)
			iosys_map_memcpy_from(addr, map, offset, len);
		else
			iosys_map_memcpy_to(map, offset, addr, len);
		addr += len;
		from += len;
		bytes -= len;
	}
}

/* Copy between the pages and the buffer. */
static int blk_dmabuf_copy_cpu(struct blk_dmabuf_copy *copy,
			       struct blk_dmabuf_pages *pages, u32 at, u32 len)
{
	struct blk_dmabuf_io *io = copy->io;
	u64 from = io->start + at;
	enum blk_dmabuf_reason reason;
	struct blk_dmabuf_cpu cpu;
	struct bio_vec *vec;
	int error;

	error = blk_dmabuf_cpu_begin(&cpu, io->reg, !io->desc.write, &reason);
	if (error) {
		blk_dmabuf_refuse_io(io, io->desc.dev, reason, error);
		return error;
	}
	for (vec = pages->vecs; len; vec++) {
		u32 bytes = min(len, vec->bv_len);

		blk_dmabuf_copy_vec(io, &cpu.map, page_address(vec->bv_page),
				    from, bytes);
		from += bytes;
		len -= bytes;
		cond_resched();
	}
	blk_dmabuf_cpu_end(&cpu);
	return 0;
}

static void blk_dmabuf_copy_piece(struct blk_dmabuf_copy *copy,
				  struct blk_dmabuf_pages *pages, u32 at,
				  u32 len)
{
	bool write = copy->io->desc.write;
	ssize_t ret = 0;

	if (write)
		ret = blk_dmabuf_copy_cpu(copy, pages, at, len);
	if (!ret)
		ret = blk_dmabuf_copy_file(copy, pages, at, len);
	if (ret >= 0 && ret < len)
		blk_dmabuf_copy_short(copy, at + ret);
	if (!write && ret > 0)
		ret = blk_dmabuf_copy_cpu(copy, pages, at, ret);
	if (ret < 0)
		blk_dmabuf_copy_fail(copy, ret);
}

/*
 * Lanes.
 */

/* Start lanes, as long as there is memory. */
static void blk_dmabuf_copier_run(struct blk_dmabuf_copier *copier)
{
	struct blk_dmabuf_copy *copy;
	struct blk_dmabuf_lane *lane;

	lockdep_assert_held(&copier->lock);

	while ((copy = list_first_entry_or_null(&copier->waiting,
						struct blk_dmabuf_copy,
						list))) {
		/* Those that it has need no help any more. */
		if (copy->started == copy->nr_lanes ||
		    blk_dmabuf_copy_over(copy)) {
			list_del_init(&copy->list);
			continue;
		}
		lane = &copy->lanes[copy->started];
		if (lane->bytes > copier->left)
			return;
		copier->left -= lane->bytes;
		copy->started++;
		copy->working++;
		queue_work(copier->wq, &lane->work);
	}
}

/* The last lane of a copy ends it: there is nothing left to take. */
static void blk_dmabuf_lane_end(struct blk_dmabuf_lane *lane)
{
	struct blk_dmabuf_copy *copy = lane->copy;
	struct blk_dmabuf_copier *copier = copy->copier;
	bool last;

	scoped_guard(spinlock, &copier->lock) {
		copier->left += lane->bytes;
		last = !--copy->working;
		if (last)
			list_del_init(&copy->list);
		blk_dmabuf_copier_run(copier);
	}
	if (!last)
		return;
	copy->done(copy->io, copy->error ?: copy->end);
	kfree(copy);
}

static void blk_dmabuf_lane_work(struct work_struct *work)
{
	struct blk_dmabuf_lane *lane =
		container_of(work, struct blk_dmabuf_lane, work);
	struct blk_dmabuf_copy *copy = lane->copy;
	struct blk_dmabuf_copier *copier = copy->copier;
	struct blk_dmabuf_pages *pages;
	u32 at, len;

	pages = blk_dmabuf_pages_alloc(copier, lane->bytes,
				       copy->io->desc.write);
	if (pages) {
		kthread_associate_blkcg(copier->args.blkcg);
		scoped_with_creds(copier->args.cred)
			while ((len = blk_dmabuf_copy_take(copy, pages->bytes,
							   &at)))
				blk_dmabuf_copy_piece(copy, pages, at, len);
		kthread_associate_blkcg(NULL);
		blk_dmabuf_pages_free(pages);
	} else {
		blk_dmabuf_copy_fail(copy, -ENOMEM);
	}
	blk_dmabuf_lane_end(lane);
}

/* Memory for the piece that a lane starts with. */
static void blk_dmabuf_lane_init(struct blk_dmabuf_copy *copy, unsigned int n)
{
	u32 left = copy->bytes - n * BLK_DMABUF_COPY_PIECE;
	struct blk_dmabuf_lane *lane = &copy->lanes[n];

	INIT_WORK(&lane->work, blk_dmabuf_lane_work);
	lane->copy = copy;
	lane->bytes = round_up(min_t(u32, left, BLK_DMABUF_COPY_PIECE),
			       PAGE_SIZE);
}

static unsigned int blk_dmabuf_nr_lanes(const struct blk_dmabuf_copier *copier,
					const struct blk_dmabuf_io *io,
					u32 bytes)
{
	if (io->desc.write && copier->args.in_order)
		return 1;
	return min(DIV_ROUND_UP(bytes, BLK_DMABUF_COPY_PIECE),
		   BLK_DMABUF_COPY_LANES);
}

/**
 * blk_dmabuf_copy - do an I/O by copying
 * @copier: who does it
 * @io: the I/O, on a registration that blk_dmabuf_copier_prepare() was called for
 * @iocb: what its file is to see of it; looked at here only
 * @bytes: how much of it to do, not 0
 * @done: called when it is over, by a worker, with bytes or -errno
 *
 * Refuses @io if the CPU has no access to the buffer.  Context: may allocate
 * memory, does not wait for I/O.
 *
 * Return: -EIOCBQUEUED: @io is not the caller's any more, or -ENOMEM
 */
int blk_dmabuf_copy(struct blk_dmabuf_copier *copier, struct blk_dmabuf_io *io,
		    const struct kiocb *iocb, u32 bytes,
		    void (*done)(struct blk_dmabuf_io *io, s32 result))
{
	unsigned int nr = blk_dmabuf_nr_lanes(copier, io, bytes), i;
	struct blk_dmabuf_copy *copy;

	copy = kzalloc_flex(*copy, lanes, nr, GFP_KERNEL_ACCOUNT);
	if (!copy)
		return -ENOMEM;
	copy->nr_lanes = nr;
	copy->copier = copier;
	copy->io = io;
	copy->done = done;
	copy->iocb = *iocb;
	copy->iocb.ki_flags &= ~IOCB_NOWAIT;
	/* Lanes wait for their pieces. */
	copy->iocb.ki_complete = NULL;
	copy->bytes = bytes;
	copy->end = bytes;
	for (i = 0; i < nr; i++)
		blk_dmabuf_lane_init(copy, i);

	guard(spinlock)(&copier->lock);
	list_add_tail(&copy->list, &copier->waiting);
	blk_dmabuf_copier_run(copier);
	return -EIOCBQUEUED;
}

/**
 * blk_dmabuf_copier_alloc - make what copies for a channel
 * @args: what it does I/O with
 *
 * Return: a copier, for blk_dmabuf_copier_free(), or NULL
 */
struct blk_dmabuf_copier *
blk_dmabuf_copier_alloc(const struct blk_dmabuf_copier_args *args)
{
	struct blk_dmabuf_copier *copier;

	copier = kzalloc_obj(*copier, GFP_KERNEL_ACCOUNT);
	if (!copier)
		return NULL;
	copier->args = *args;
	/* What has larger blocks than a piece copes with parts of them. */
	copier->args.block = min(args->block, BLK_DMABUF_COPY_PIECE);
	spin_lock_init(&copier->lock);
	INIT_LIST_HEAD(&copier->waiting);
	copier->left = BLK_DMABUF_COPY_MEMORY;
	copier->memcg = get_mem_cgroup_from_current();
	return copier;
}

/**
 * blk_dmabuf_copier_prepare - there is a registration that may be copied
 * @copier: the copier
 *
 * Workers are costly, and anybody may open channels.  Context: may sleep; repeating
 * it is free.
 *
 * Return: 0 or -ENOMEM
 */
int blk_dmabuf_copier_prepare(struct blk_dmabuf_copier *copier)
{
	struct workqueue_struct *wq;

	if (READ_ONCE(copier->wq))
		return 0;
	wq = alloc_workqueue("blkdmabuf-copy", WQ_UNBOUND,
			     BLK_DMABUF_COPY_WORKERS);
	if (!wq)
		return -ENOMEM;
	if (cmpxchg(&copier->wq, NULL, wq))
		destroy_workqueue(wq);
	return 0;
}

/**
 * blk_dmabuf_copier_free - undo blk_dmabuf_copier_alloc()
 * @copier: without an I/O, or NULL
 */
void blk_dmabuf_copier_free(struct blk_dmabuf_copier *copier)
{
	if (!copier)
		return;
	if (copier->wq)
		destroy_workqueue(copier->wq);
	mem_cgroup_put(copier->memcg);
	kfree(copier);
}
