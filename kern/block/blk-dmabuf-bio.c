// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block I/O on dma-bufs: what the block layer needs to know of a bio that points
 * into a buffer, and of a request that holds one.
 *
 * A bio holds no mapping.  Where a disk's own queue gets it, the mapping is
 * looked at under RCU, to split the bio and to count segments.  A request holds
 * the mapping from blk_rq_dma_map_iter_start() to blk_rq_dma_unmap(), or from
 * blk_rq_map_sg() to blk_rq_unmap_sg(): exactly as long as the device may touch
 * the memory.  What waits for a tag, a throttle, a suspended stack or a
 * controller reset holds nothing.
 *
 * Where there is no mapping, or no longer the one that the bio was split for, the
 * bio ends with BLK_STS_AGAIN and the I/O remembers the device.  Its submitter
 * maps and issues the I/O again, where it may sleep and holds no lock.
 */
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blk-mq-dma.h>
#include <linux/dma-mapping.h>
#include <linux/iov_iter.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <kunit/visibility.h>

#include "blk.h"
#include "blk-dmabuf-internal.h"

/* How long the hooks stay patched in when the last channel is gone. */
#define BLK_DMABUF_LINGER	(10 * HZ)

DEFINE_STATIC_KEY_FALSE(blk_dmabuf_used);
EXPORT_SYMBOL_GPL(blk_dmabuf_used);

static DEFINE_MUTEX(blk_dmabuf_users_lock);
static unsigned int blk_dmabuf_users;

static void blk_dmabuf_unused(struct work_struct *work)
{
	guard(mutex)(&blk_dmabuf_users_lock);
	if (!blk_dmabuf_users)
		static_branch_disable(&blk_dmabuf_used);
}

static DECLARE_DELAYED_WORK(blk_dmabuf_unused_work, blk_dmabuf_unused);

/* There is somebody who can make dma-buf bios. */
void blk_dmabuf_get_user(void)
{
	guard(mutex)(&blk_dmabuf_users_lock);
	if (!blk_dmabuf_users++)
		static_branch_enable(&blk_dmabuf_used);
}

/*
 * The same is gone, and its bios have ended.  Patching code is not cheap: wait.
 */
void blk_dmabuf_put_user(void)
{
	guard(mutex)(&blk_dmabuf_users_lock);
	if (!--blk_dmabuf_users)
		mod_delayed_work(system_dfl_wq, &blk_dmabuf_unused_work,
				 BLK_DMABUF_LINGER);
}

/*
 * What ends an I/O early.
 */

static void bio_dmabuf_refused(struct bio *bio, struct blk_dmabuf_io *io,
			       enum blk_dmabuf_reason reason)
{
	blk_dmabuf_refuse_io(io, disk_devt(bio->bi_bdev->bd_disk), reason,
			     -EOPNOTSUPP);
}

/* Does the disk that a bio has reached take it?  Most do. */
static bool blk_dmabuf_takes(const struct bio *bio)
{
	return bdev_limits(bio->bi_bdev)->max_dmabuf_sectors &&
	       !bio_has_crypt_ctx((struct bio *)bio);
}

/* The same of the others: if the disk does not take the bio, that is counted. */
static noinline bool blk_dmabuf_check_bio(struct bio *bio,
					  struct blk_dmabuf_io *io)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	enum blk_dmabuf_reason reason;

	reason = bio_has_crypt_ctx(bio) ? BLK_DMABUF_CRYPTO :
					  blk_dmabuf_check_disk(disk);
	if (reason == BLK_DMABUF_NO_DRIVER && disk != io->slots->disk)
		reason = BLK_DMABUF_LAYER;
	if (reason != BLK_DMABUF_OK)
		bio_dmabuf_refused(bio, io, reason);
	return reason == BLK_DMABUF_OK;
}

/**
 * bio_dmabuf_refuse - a driver does not take a dma-buf bio
 * @bio: the bio, to be ended by the caller
 *
 * For stacking drivers whose limits said that they take such bios, and which
 * cannot take this one.  Counts and remembers the reason.
 *
 * Return: BLK_STS_NOTSUPP
 */
blk_status_t bio_dmabuf_refuse(struct bio *bio)
{
	bio_dmabuf_refused(bio, bio->bi_dmabuf, BLK_DMABUF_LAYER);
	return BLK_STS_NOTSUPP;
}
EXPORT_SYMBOL_GPL(bio_dmabuf_refuse);

/* Have the I/O mapped for @dev and issued again. */
static void blk_dmabuf_io_miss(struct blk_dmabuf_io *io,
			       const struct device *dev)
{
	cmpxchg(&io->missed, NULL, dev);
}

/*
 * Building.
 */

/**
 * bio_dmabuf_takes - may this bio carry a piece of a dma-buf?
 * @bio: bio that is being built
 * @iter: iterator made with iov_iter_dmabuf()
 *
 * For file systems, which prepare protection information and encryption before
 * they submit a bio.  bio_dmabuf_enter() looks again.
 */
bool bio_dmabuf_takes(struct bio *bio, const struct iov_iter *iter)
{
	return blk_dmabuf_takes(bio) || blk_dmabuf_check_bio(bio, iter->dmabuf);
}

/**
 * bio_dmabuf_set - bio_iov_iter_set() for a piece of a dma-buf
 * @bio: bio without vectors of its own
 * @iter: iterator made with iov_iter_dmabuf()
 *
 * Return: true
 */
bool bio_dmabuf_set(struct bio *bio, const struct iov_iter *iter)
{
	WARN_ON_ONCE(bio->bi_max_vecs);

	bio_dmabuf_init(bio, iter->dmabuf, iter->iov_offset,
			iov_iter_count(iter));
	return true;
}

/**
 * blk_dmabuf_part_at - find a byte of a command
 * @parts: its parts
 * @at: the byte
 *
 * Return: the part that it is in, in O(log parts)
 */
const struct blk_dmabuf_part *
blk_dmabuf_part_at(const struct blk_dmabuf_parts *parts, u32 at)
{
	unsigned int low = 0, high = parts->nr;

	while (high - low > 1) {
		unsigned int mid = (low + high) / 2;

		if (parts->part[mid].start <= at)
			low = mid;
		else
			high = mid;
	}
	return &parts->part[low];
}

/**
 * blk_dmabuf_io_locate - where in its buffer is a byte of an I/O?
 * @io: the I/O
 * @at: the byte, as its bios count
 * @len: how many bytes are wanted; less on return if there the next part begins
 *
 * Return: offset in the buffer
 */
u64 blk_dmabuf_io_locate(const struct blk_dmabuf_io *io, u64 at, u32 *len)
{
	const struct blk_dmabuf_part *part;

	if (likely(!io->parts))
		return at;
	part = blk_dmabuf_part_at(io->parts, at);
	*len = min_t(u64, *len, part[1].start - at);
	return part->offset + at - part->start;
}

/* Zero @bytes of an I/O's memory, which its submission has found to be there. */
static int blk_dmabuf_io_zero(const struct blk_dmabuf_io *io, u64 at, u32 bytes)
{
	/* Reclaim must not wait for whoever holds the buffer's lock. */
	unsigned int noio = memalloc_noio_save();
	struct iosys_map map;
	int error;
	u32 len;

	error = blk_dmabuf_zero_begin(io->reg, &map);
	if (error)
		goto restore;
	for (; bytes; at += len, bytes -= len) {
		u64 offset;

		len = bytes;
		offset = blk_dmabuf_io_locate(io, at, &len);
		iosys_map_memset(&map, offset, 0, len);
	}
	blk_dmabuf_zero_end(io->reg, &map);
restore:
	memalloc_noio_restore(noio);
	return error;
}

/**
 * iov_iter_dmabuf_zero - iov_iter_zero() for a piece of a dma-buf
 * @bytes: how much to zero
 * @i: iterator made with iov_iter_dmabuf(); advanced
 *
 * File systems call it for holes and for what is behind the end of a file.
 *
 * Return: @bytes, or 0 if that cannot be done here or at all
 */
size_t iov_iter_dmabuf_zero(size_t bytes, struct iov_iter *i)
{
	struct blk_dmabuf_io *io = i->dmabuf;
	int error;

	bytes = min(bytes, i->count);
	if (!bytes)
		return 0;
	error = io->nowait ? -EINTR :
			     blk_dmabuf_io_zero(io, i->iov_offset, bytes);
	if (error == -EINTR) {
		io->wait = true;
		return 0;
	}
	if (error) {
		blk_dmabuf_refuse_io(io, io->desc.dev, BLK_DMABUF_HOLE,
				     -EOPNOTSUPP);
		return 0;
	}
	iov_iter_advance(i, bytes);
	return bytes;
}

/*
 * Submitting.
 */

/**
 * bio_dmabuf_enter - may this bio go to this disk?
 * @bio: bio with REQ_DMABUF
 *
 * Return: false if the bio was refused, and is to be ended
 */
bool bio_dmabuf_enter(struct bio *bio)
{
	return likely(blk_dmabuf_takes(bio)) ||
	       blk_dmabuf_check_bio(bio, bio->bi_dmabuf);
}

/*
 * A place in a buffer, as a mapping has it.  @mapping and @part_left mean something
 * with a @part only.  What has parts is out of line: most I/O has none.
 */
struct blk_dmabuf_cursor {
	const struct blk_dmabuf_range	*range;
	u64				offset;	/* in the range */
	u64				left;
	const struct blk_dmabuf_part	*part;
	const struct blk_dmabuf_mapping	*mapping;
	u64				part_left;
};

static const struct blk_dmabuf_range *
blk_dmabuf_range_at(const struct blk_dmabuf_mapping *mapping, u64 offset)
{
	return &mapping->ranges[blk_dmabuf_mapping_find(mapping, 0, offset)];
}

/* At byte @at of the command, of which @left bytes are left. */
static noinline void
blk_dmabuf_parts_cursor(struct blk_dmabuf_cursor *cur,
			const struct blk_dmabuf_mapping *mapping,
			const struct blk_dmabuf_parts *parts, u64 at, u64 left)
{
	const struct blk_dmabuf_part *part = blk_dmabuf_part_at(parts, at);

	cur->range = mapping->ranges;
	cur->left = left;
	cur->part = part;
	cur->mapping = mapping;
	cur->part_left = part[1].start - at;
	cur->offset = 0;
	if (left) {
		cur->offset = part->offset + at - part->start;
		cur->range = blk_dmabuf_range_at(mapping, cur->offset);
		cur->offset -= cur->range->start;
	}
}

static __always_inline void
blk_dmabuf_cursor(struct blk_dmabuf_cursor *cur,
		  const struct blk_dmabuf_mapping *mapping,
		  const struct bio *bio)
{
	const struct blk_dmabuf_io *io = bio->bi_dmabuf;
	u64 offset = bio_dmabuf_offset(&bio->bi_iter);

	if (unlikely(io->parts)) {
		blk_dmabuf_parts_cursor(cur, mapping, io->parts, offset,
					bio->bi_iter.bi_size);
		return;
	}
	cur->range = blk_dmabuf_range_at(mapping, offset);
	cur->offset = offset - cur->range->start;
	cur->left = bio->bi_iter.bi_size;
	cur->part = NULL;
}

/* &bvec_iter.bi_idx of a walk over a request in parts: no range has it. */
#define BLK_DMABUF_IN_PARTS	UINT_MAX

/* Where a walk over a request is, as blk_rq_dmabuf_iter_start() left it. */
static __always_inline void blk_dmabuf_resume(struct blk_dmabuf_cursor *cur,
					      const struct request *rq,
					      const struct bvec_iter *pos)
{
	const struct bvec_iter *all = &rq->bio->bi_iter;

	if (unlikely(pos->bi_idx == BLK_DMABUF_IN_PARTS)) {
		blk_dmabuf_parts_cursor(cur, rq->dmabuf_mapping,
					rq->bio->bi_dmabuf->parts,
					bio_dmabuf_offset(all) + all->bi_size -
					pos->bi_sector, pos->bi_sector);
		return;
	}
	cur->range = &rq->dmabuf_mapping->ranges[pos->bi_idx];
	cur->offset = pos->bi_offset;
	cur->left = pos->bi_sector;
	cur->part = NULL;
}

static __always_inline void
blk_dmabuf_pause(const struct request *rq, struct bvec_iter *pos,
		 const struct blk_dmabuf_cursor *cur)
{
	pos->bi_idx = unlikely(cur->part) ? BLK_DMABUF_IN_PARTS :
			cur->range - rq->dmabuf_mapping->ranges;
	pos->bi_offset = cur->offset;
	pos->bi_sector = cur->left;
}

/* Bytes at @cur that are in one range, and one part. */
static __always_inline u64 blk_dmabuf_run(const struct blk_dmabuf_cursor *cur)
{
	u64 len = blk_dmabuf_range_len(cur->range) - cur->offset;

	if (unlikely(cur->part))
		len = min(len, cur->part_left);
	return min(len, cur->left);
}

/* The segment at @cur: in one range, and no more than the device takes. */
static __always_inline unsigned int
blk_dmabuf_segment(const struct blk_dmabuf_cursor *cur,
		   const struct queue_limits *lim, dma_addr_t *addr)
{
	*addr = cur->range->addr + cur->offset;
	return get_max_segment_size(lim, *addr, blk_dmabuf_run(cur));
}

/* @len bytes of the part are over: is it?  Then go to where the next one is. */
static noinline bool blk_dmabuf_next_part(struct blk_dmabuf_cursor *cur,
					  unsigned int len)
{
	cur->part_left -= len;
	if (cur->part_left || !cur->left)
		return false;
	cur->part++;
	cur->part_left = cur->part[1].start - cur->part[0].start;
	cur->range = blk_dmabuf_range_at(cur->mapping, cur->part->offset);
	cur->offset = cur->part->offset - cur->range->start;
	return true;
}

static __always_inline void blk_dmabuf_advance(struct blk_dmabuf_cursor *cur,
					       unsigned int len)
{
	cur->left -= len;
	cur->offset += len;
	if (unlikely(cur->part) && blk_dmabuf_next_part(cur, len))
		return;
	if (cur->offset == blk_dmabuf_range_len(cur->range)) {
		cur->range++;
		cur->offset = 0;
	}
}

/*
 * blk_dmabuf_count() where a range is a segment: in O(log ranges).  The gap is the
 * worst one of the mapping.
 */
VISIBLE_IF_KUNIT int
blk_dmabuf_count_simple(const struct blk_dmabuf_mapping *mapping,
			const struct bio *bio, const struct queue_limits *lim,
			unsigned int max_bytes, unsigned int *segs,
			unsigned int *gap_bit)
{
	unsigned int bytes = min(bio->bi_iter.bi_size, max_bytes), first, last;
	unsigned int max_segments = blk_dmabuf_max_segments(lim);
	u64 offset = bio_dmabuf_offset(&bio->bi_iter);

	if (offset & lim->dma_alignment)
		return -EINVAL;
	first = blk_dmabuf_mapping_find(mapping, 0, offset);
	last = first;
	if (offset + bytes > mapping->ranges[first + 1].start)
		last = blk_dmabuf_mapping_find(mapping, first,
					       offset + bytes - 1);
	if (last - first >= max_segments) {
		last = first + max_segments - 1;
		bytes = mapping->ranges[last + 1].start - offset;
	}
	*segs = last - first + 1;
	*gap_bit = last > first ? mapping->gap_bit : 0;
	return bytes;
}

/* blk_dmabuf_count() by looking at each range. */
VISIBLE_IF_KUNIT int
blk_dmabuf_count_each(const struct blk_dmabuf_mapping *mapping,
		      const struct bio *bio, const struct queue_limits *lim,
		      unsigned int max_bytes, unsigned int *segs,
		      unsigned int *gap_bit)
{
	unsigned int max_segments = blk_dmabuf_max_segments(lim);
	unsigned int nsegs = 0, bytes = 0;
	dma_addr_t addr, end = 0, gaps = 0;
	struct blk_dmabuf_cursor cur;

	blk_dmabuf_cursor(&cur, mapping, bio);

	while (cur.left && nsegs < max_segments && bytes < max_bytes) {
		unsigned int len = blk_dmabuf_segment(&cur, lim, &addr);

		if (addr & lim->dma_alignment)
			return -EINVAL;
		if (nsegs) {
			if ((addr | end) & lim->virt_boundary_mask)
				break;
			gaps |= addr | end;
		}
		len = min(len, max_bytes - bytes);
		nsegs++;
		bytes += len;
		end = addr + len;
		blk_dmabuf_advance(&cur, len);
	}
	*segs = nsegs;
	*gap_bit = blk_dmabuf_gap_bit(gaps);
	return bytes;
}

/*
 * Count the segments of what @lim takes at once of @bio, at most @max_bytes.
 * blk_dmabuf_mapping_fits() has been asked.
 *
 * Return: bytes, or -EINVAL if an address is not aligned
 */
static int blk_dmabuf_count(const struct blk_dmabuf_mapping *mapping,
			    const struct bio *bio,
			    const struct queue_limits *lim,
			    unsigned int max_bytes, unsigned int *segs,
			    unsigned int *gap_bit)
{
	const struct blk_dmabuf_io *io = bio->bi_dmabuf;

	/* No range is too long, or crosses what a segment must not cross. */
	if (likely(!io->parts && mapping->longest <= lim->max_segment_size &&
		   mapping->boundary - 1 <= lim->seg_boundary_mask))
		return blk_dmabuf_count_simple(mapping, bio, lim, max_bytes,
					       segs, gap_bit);
	return blk_dmabuf_count_each(mapping, bio, lim, max_bytes, segs,
				     gap_bit);
}

/* Remember which mapping @io was cut for: one, or more than one. */
static void blk_dmabuf_note_seq(struct blk_dmabuf_io *io, u64 seq)
{
	u64 old = READ_ONCE(io->seq);

	if (old == seq)
		return;
	old = cmpxchg(&io->seq, 0, seq);
	if (old && old != seq)
		WRITE_ONCE(io->seq, BLK_DMABUF_SEQ_MIXED);
}

/* Bytes of @bio that go to its queue at once, or -errno. */
static int blk_dmabuf_fit(struct bio *bio, const struct queue_limits *lim,
			  unsigned int *segs, unsigned int max_bytes)
{
	struct request_queue *q = bdev_get_queue(bio->bi_bdev);
	const struct blk_dmabuf_mapping *mapping;
	struct blk_dmabuf_io *io = bio->bi_dmabuf;
	unsigned int gap_bit;
	int bytes;

	*segs = 1;
	/* A stack: the disks below count. */
	if (!queue_is_mq(q))
		return min(bio->bi_iter.bi_size, max_bytes);
	/* Limits may have changed until the bio entered the queue. */
	if (unlikely(!lim->max_dmabuf_sectors || bio_has_crypt_ctx(bio)) &&
	    !bio_dmabuf_enter(bio))
		return -EOPNOTSUPP;
	guard(rcu)();
	mapping = blk_dmabuf_mapping_of(io->reg->buf, q->tag_set->dma_dev);
	if (!mapping) {
		blk_dmabuf_io_miss(io, q->tag_set->dma_dev);
		return -EAGAIN;
	}
	if (unlikely(!blk_dmabuf_mapping_fits(mapping, lim))) {
		bio_dmabuf_refused(bio, io, BLK_DMABUF_LAYOUT);
		return -EOPNOTSUPP;
	}
	if (unlikely(io->only_peer && !mapping->peer)) {
		bio_dmabuf_refused(bio, io, BLK_DMABUF_NOT_P2P);
		return -EOPNOTSUPP;
	}
	bytes = blk_dmabuf_count(mapping, bio, lim, max_bytes, segs, &gap_bit);
	bio->bi_bvec_gap_bit = gap_bit;
	blk_dmabuf_note_seq(io, mapping->seq);
	return bytes;
}

/**
 * bio_dmabuf_may_need_split - bio_may_need_split() for a dma-buf bio
 * @bio: bio that has entered the queue
 * @lim: queue limits
 *
 * What lies in one page of the buffer is one segment, unless the exporter cuts its
 * memory finer than pages.  blk_rq_dmabuf_hold() finds that out, as it does for a
 * bio that was cut for another mapping, so save small I/O the look.
 *
 * Return: true if bio_dmabuf_split_at() is to be asked
 */
bool bio_dmabuf_may_need_split(struct bio *bio, const struct queue_limits *lim)
{
	unsigned int bytes = bio->bi_iter.bi_size;
	struct blk_dmabuf_io *io = bio->bi_dmabuf;
	u64 offset = bio_dmabuf_offset(&bio->bi_iter);

	if (lim->chunk_sectors || io->again || io->parts ||
	    bytes >> SECTOR_SHIFT > lim->max_dmabuf_sectors ||
	    offset % SZ_4K + bytes > SZ_4K)
		return true;
	WRITE_ONCE(io->seq, BLK_DMABUF_SEQ_MIXED);
	return false;
}

/**
 * bio_dmabuf_split_at - bio_split_io_at() for a dma-buf bio
 * @bio: bio that has entered the queue, so that the limits stay what they are
 * @lim: queue limits
 * @segs: segments of what stays in front
 * @max_bytes: most bytes of that
 *
 * Return: 0 if it fits, sectors to split off, -EINVAL if it cannot be split so
 * that it does, -EAGAIN if it may not or if there is no mapping, -EOPNOTSUPP if
 * the queue does not take it
 */
int bio_dmabuf_split_at(struct bio *bio, const struct queue_limits *lim,
			unsigned int *segs, unsigned int max_bytes)
{
	int bytes = blk_dmabuf_fit(bio, lim, segs, max_bytes);

	if (bytes < 0)
		return bytes;
	if (bytes == bio->bi_iter.bi_size)
		return 0;
	if (bio->bi_opf & REQ_ATOMIC)
		return -EINVAL;
	/* Part of it may be in flight when the rest would block. */
	if (bio->bi_opf & REQ_NOWAIT)
		return -EAGAIN;
	bytes = ALIGN_DOWN(bytes, lim->logical_block_size);
	if (!bytes) {
		struct blk_dmabuf_io *io = bio->bi_dmabuf;

		/* Parts in one block that the device cannot have in one list. */
		if (!io->parts)
			return -EINVAL;
		bio_dmabuf_refused(bio, io, BLK_DMABUF_LAYOUT);
		return -EOPNOTSUPP;
	}
	bio_clear_polled(bio);
	return bytes >> SECTOR_SHIFT;
}

/*
 * Requests.
 */

static void blk_rq_dmabuf_sync(struct request *rq, bool for_cpu)
{
	const struct blk_dmabuf_mapping *mapping = rq->dmabuf_mapping;
	enum dma_data_direction dir = rq_dma_dir(rq);
	struct device *dev = mapping->attach->dev;
	struct blk_dmabuf_cursor cur;

	blk_dmabuf_cursor(&cur, mapping, rq->bio);
	while (cur.left) {
		dma_addr_t addr;
		unsigned int len;

		len = blk_dmabuf_segment(&cur, &rq->q->limits, &addr);
		if (for_cpu)
			dma_sync_single_for_cpu(dev, addr, len, dir);
		else
			dma_sync_single_for_device(dev, addr, len, dir);
		blk_dmabuf_advance(&cur, len);
	}
}

/* Is it all in one page of the buffer, and each page of that in one range? */
static __always_inline bool
blk_rq_dmabuf_in_page(const struct request *rq,
		      const struct blk_dmabuf_mapping *mapping)
{
	const struct bvec_iter *pos = &rq->bio->bi_iter;
	u64 mask = rq->q->limits.dma_alignment;
	u64 offset = bio_dmabuf_offset(pos);

	return offset % SZ_4K + pos->bi_size <= SZ_4K && !(offset & mask) &&
	       !((mapping->ranges[0].addr | mapping->gaps) &
		 (mask | (SZ_4K - 1)));
}

/*
 * Would a request be as many segments, and gaps, in @mapping?  The driver has decided
 * by these before it maps.
 */
static noinline bool
blk_rq_dmabuf_count_suits(const struct request *rq,
			  const struct blk_dmabuf_mapping *mapping)
{
	const struct queue_limits *lim = &rq->q->limits;
	unsigned int segs, gap_bit;

	if (!blk_dmabuf_mapping_fits(mapping, lim))
		return false;
	if (blk_dmabuf_count(mapping, rq->bio, lim, UINT_MAX, &segs,
			     &gap_bit) != rq->bio->bi_iter.bi_size)
		return false;
	return segs <= rq->nr_phys_segments &&
	       (!gap_bit || (rq->phys_gap_bit && gap_bit >= rq->phys_gap_bit));
}

/* Does a request that was split for another mapping, or for none, suit @mapping? */
static __always_inline bool
blk_rq_dmabuf_suits(const struct request *rq,
		    const struct blk_dmabuf_mapping *mapping)
{
	const struct blk_dmabuf_io *io = rq->bio->bi_dmabuf;

	if (unlikely(io->only_peer) && !mapping->peer)
		return false;
	if (likely(!io->parts) && blk_rq_dmabuf_in_page(rq, mapping))
		return true;
	return blk_rq_dmabuf_count_suits(rq, mapping);
}

/* Find and hold the mapping that a request runs on. */
static __always_inline struct blk_dmabuf_mapping *
blk_rq_dmabuf_hold(const struct request *rq, struct device *dma_dev)
{
	struct blk_dmabuf_io *io = rq->bio->bi_dmabuf;
	struct blk_dmabuf_mapping *mapping;

	guard(rcu)();
	mapping = blk_dmabuf_mapping_of(io->reg->buf, dma_dev);
	if (!mapping || !percpu_ref_tryget_live_rcu(&mapping->ref))
		return NULL;
	if (mapping->seq == READ_ONCE(io->seq) ||
	    blk_rq_dmabuf_suits(rq, mapping))
		return mapping;
	percpu_ref_put(&mapping->ref);
	return NULL;
}

/*
 * A driver maps a request.  On success the request holds its mapping until
 * blk_rq_dmabuf_done().  Context: any.
 *
 * Return: BLK_STS_AGAIN if there is no mapping that suits, or if the registration
 * is dead; what the submitter makes of it is in the I/O
 */
static __always_inline blk_status_t blk_rq_dmabuf_take(struct request *rq,
						       struct device *dma_dev)
{
	struct blk_dmabuf_io *io = rq->bio->bi_dmabuf;
	struct blk_dmabuf_mapping *mapping;

	/* If it fails, nothing is wrong with the device. */
	rq->rq_flags |= RQF_QUIET;
	mapping = blk_rq_dmabuf_hold(rq, dma_dev);
	if (unlikely(!mapping)) {
		blk_dmabuf_io_miss(io, dma_dev);
		return BLK_STS_AGAIN;
	}
	/* Whoever drains the registration has to know where it has I/O. */
	if (unlikely(dma_dev != io->reg->dma_dev) &&
	    !READ_ONCE(io->reg->wide)) {
		WRITE_ONCE(io->reg->wide, true);
		/* Before ->dead is looked at; pairs with the same. */
		smp_mb();
	}
	/* Pairs with blk_dmabuf_drain(): look when the mapping is held. */
	smp_rmb();
	if (unlikely(READ_ONCE(io->reg->dead))) {
		percpu_ref_put(&mapping->ref);
		blk_dmabuf_refuse_io(io, io->desc.dev, BLK_DMABUF_IS_DEAD,
				     -ENODEV);
		return BLK_STS_AGAIN;
	}
	rq->dmabuf_mapping = mapping;
	rq->rq_flags &= ~RQF_QUIET;
	WRITE_ONCE(io->desc.hctx, rq->mq_hctx->queue_num);
	if (unlikely(mapping->sync))
		blk_rq_dmabuf_sync(rq, false);
	return BLK_STS_OK;
}

/* Yield the segment at @cur, and remember what is behind it. */
static __always_inline void
blk_rq_dmabuf_yield(const struct request *rq, struct blk_dma_iter *iter,
		    struct blk_dmabuf_cursor *cur)
{
	iter->len = blk_dmabuf_segment(cur, &rq->q->limits, &iter->addr);
	blk_dmabuf_advance(cur, iter->len);
	blk_dmabuf_pause(rq, &iter->iter.iter, cur);
}

/* The first of several segments, or of several parts. */
static noinline void blk_rq_dmabuf_yield_first(const struct request *rq,
					       struct blk_dma_iter *iter)
{
	struct blk_dmabuf_cursor cur;

	blk_dmabuf_cursor(&cur, rq->dmabuf_mapping, rq->bio);
	blk_rq_dmabuf_yield(rq, iter, &cur);
}

/* Most requests are one segment.  Then nothing is left behind it. */
static __always_inline bool blk_rq_dmabuf_yield_all(const struct request *rq,
						    struct blk_dma_iter *iter)
{
	const struct bio *bio = rq->bio;
	u64 offset = bio_dmabuf_offset(&bio->bi_iter);
	unsigned int bytes = bio->bi_iter.bi_size;
	const struct blk_dmabuf_range *range;
	dma_addr_t addr;

	if (unlikely(bio->bi_dmabuf->parts))
		return false;
	range = blk_dmabuf_range_at(rq->dmabuf_mapping, offset);
	addr = range->addr + offset - range->start;
	if (offset + bytes > range[1].start ||
	    get_max_segment_size(&rq->q->limits, addr, bytes) < bytes)
		return false;
	iter->addr = addr;
	iter->len = bytes;
	iter->iter.iter.bi_idx = 0;
	iter->iter.iter.bi_offset = 0;
	iter->iter.iter.bi_sector = 0;
	return true;
}

/**
 * blk_rq_dmabuf_iter_start - yield the first range of a request
 * @rq: request with REQ_DMABUF
 * @dma_dev: device that the driver would map to
 * @iter: as for blk_rq_dma_map_iter_start()
 *
 * On success the request holds its mapping until blk_rq_dmabuf_done().
 *
 * iter->iter.bi_size becomes 0, so that the walk over pages ends at once; what is
 * left is counted in ->bi_sector; while there is any, ->bi_idx and ->bi_offset are a
 * range of the mapping and a byte in it, where the I/O has no parts.
 */
bool blk_rq_dmabuf_iter_start(struct request *rq, struct device *dma_dev,
			      struct blk_dma_iter *iter)
{
	iter->status = blk_rq_dmabuf_take(rq, dma_dev);
	if (iter->status != BLK_STS_OK)
		return false;
	iter->p2pdma = (struct pci_p2pdma_map_state) {
		.map = PCI_P2PDMA_MAP_NONE,
	};
	if (!blk_rq_dmabuf_yield_all(rq, iter))
		blk_rq_dmabuf_yield_first(rq, iter);
	iter->iter.iter.bi_size = 0;
	return true;
}

bool blk_rq_dmabuf_iter_next(struct request *rq, struct blk_dma_iter *iter)
{
	struct blk_dmabuf_cursor cur;

	blk_dmabuf_resume(&cur, rq, &iter->iter.iter);
	if (!cur.left)
		return false;
	blk_rq_dmabuf_yield(rq, iter, &cur);
	return true;
}

/*
 * blk_rq_dmabuf_pages() for ranges that are a page each, as scattered memory has
 * them, lie all in what is left, and are not the last of it.
 */
static __always_inline unsigned int
blk_dmabuf_whole_pages(struct blk_dmabuf_cursor *cur, __le64 *list,
		       unsigned int i, unsigned int end, u64 page)
{
	const struct blk_dmabuf_range *range = cur->range;
	u64 left = cur->left;

	if (cur->offset)
		return i;
	for (; i < end && left > page &&
	     blk_dmabuf_range_len(range) == page; range++) {
		list[i++] = cpu_to_le64(range->addr);
		left -= page;
	}
	cur->range = range;
	cur->left = left;
	return i;
}

/**
 * blk_rq_dmabuf_pages - fill a list of pages, as far as nothing else is in it
 * @rq: request with REQ_DMABUF, whose walk has started
 * @iter: the walk; advanced, and in a range on return
 * @list: a page of little endian addresses, the last of which may be that of
 *	another such page
 * @i: first entry to fill in
 * @length: bytes that are left of the request; less on return, and not 0
 * @shift: size of a page; inner ranges are multiples of it
 *
 * The same as blk_rq_dma_map_iter_next(), and taking pages off what that yields,
 * without the cost of both for each page.  Stops before the last page of the
 * request, which may be a part of one, and before the last entry.
 *
 * Return: first entry that is not filled in
 */
unsigned int blk_rq_dmabuf_pages(struct request *rq, struct blk_dma_iter *iter,
				 __le64 *list, unsigned int i,
				 unsigned int *length, unsigned int shift)
{
	u64 addr = iter->addr, len = iter->len, page = 1 << shift;
	unsigned int first = i, end;
	struct blk_dmabuf_cursor cur;

	blk_dmabuf_resume(&cur, rq, &iter->iter.iter);
	end = min(i + ((*length - 1) >> shift),
		  (1U << shift) / (unsigned int)sizeof(*list) - 1);
	for (;;) {
		for (; i < end && len >= page; len -= page) {
			list[i++] = cpu_to_le64(addr);
			addr += page;
		}
		if (len || !cur.left)
			break;
		if (likely(!cur.part))
			i = blk_dmabuf_whole_pages(&cur, list, i, end, page);
		addr = cur.range->addr + cur.offset;
		len = blk_dmabuf_run(&cur);
		blk_dmabuf_advance(&cur, len);
	}
	iter->addr = addr;
	iter->len = len;
	blk_dmabuf_pause(rq, &iter->iter.iter, &cur);
	*length -= (i - first) << shift;
	return i;
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_pages);

/**
 * blk_rq_dmabuf_map_sg - fill a scatterlist with the ranges of a request
 * @rq: request with REQ_DMABUF
 * @sglist: list with room for blk_rq_nr_phys_segments() entries
 * @last_sg: the last entry that was filled
 *
 * On success the request holds its mapping until blk_rq_dmabuf_done().  A list
 * that was filled before may be filled again.
 *
 * An entry has no page.  That, and not the request, tells whoever maps
 * scatterlists that there is nothing to map: error handlers put lists of their
 * own into commands.
 *
 * Return: number of entries, or -errno for errno_to_blk_status()
 */
int blk_rq_dmabuf_map_sg(struct request *rq, struct scatterlist *sglist,
			 struct scatterlist **last_sg)
{
	struct scatterlist *sg = NULL;
	struct blk_dmabuf_cursor cur;
	blk_status_t status;
	int nsegs = 0;

	status = blk_rq_dmabuf_take(rq, rq->q->tag_set->dma_dev);
	if (status != BLK_STS_OK)
		return blk_status_to_errno(status);
	blk_dmabuf_cursor(&cur, rq->dmabuf_mapping, rq->bio);
	while (cur.left) {
		unsigned int len;
		dma_addr_t addr;

		/* The list has no room, and blk_rq_dmabuf_take() was wrong. */
		if (WARN_ON_ONCE(nsegs == rq->nr_phys_segments)) {
			blk_rq_dmabuf_done(rq);
			return -EIO;
		}
		sg = sg ? sg_next(sg) : sglist;
		len = blk_dmabuf_segment(&cur, &rq->q->limits, &addr);
		/* A shorter list may have ended here before. */
		sg_unmark_end(sg);
		sg_set_page(sg, NULL, len, offset_in_page(addr));
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = len;
		blk_dmabuf_advance(&cur, len);
		nsegs++;
	}
	sg_mark_end(sg);
	*last_sg = sg;
	return nsegs;
}

/**
 * blk_rq_dmabuf_done - a driver unmaps a request with REQ_DMABUF
 * @rq: the request
 *
 * From here on the buffer may move.  Does nothing if the request is not mapped,
 * for error handlers that do not know how far a command has come.
 */
void blk_rq_dmabuf_done(struct request *rq)
{
	struct blk_dmabuf_mapping *mapping = rq->dmabuf_mapping;

	if (!mapping)
		return;
	if (mapping->sync)
		blk_rq_dmabuf_sync(rq, true);
	rq->dmabuf_mapping = NULL;
	percpu_ref_put(&mapping->ref);
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_done);
