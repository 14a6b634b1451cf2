/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block I/O on memory that is known only as a dma-buf: what the block layer and
 * its drivers see of it.  Documentation/block/blk-dmabuf.rst has the design;
 * struct blk_dmabuf_ops, the manual of policies, is in a header of its own,
 * <linux/blk-dmabuf-policy.h>, because this one is part of every bio.h.
 *
 * A bio with REQ_DMABUF carries no pages.  ->bi_dmabuf points to an I/O on a
 * buffer, and ->bi_iter holds a 64-bit byte offset in that buffer.  Advancing,
 * cloning and splitting such a bio is arithmetic: no mapping is looked at.  The
 * bio is never merged, so a request holds one.
 *
 * The buffer's DMA addresses are looked up where a disk's own driver gets the
 * bio, and may change until the driver maps the request.
 *
 * A driver takes these requests for three things:
 *
 *  - data is mapped by blk_rq_dma_map_iter_start() and _next() only, and
 *    unmapped by blk_rq_dma_unmap() only, once for each start that succeeded;
 *    or it is mapped by blk_rq_map_sg() and unmapped by blk_rq_unmap_sg(), and
 *    the scatterlist, whose entries have no page, is not mapped; in between the
 *    buffer stays where it is;
 *  - blk_mq_tag_set.dma_dev is the device that they map for;
 *  - queue_limits.max_dmabuf_sectors says how large a request may be.
 *
 * A SCSI host sets scsi_host_template.dmabuf for one thing: it finds the data of
 * reads and writes by scsi_dma_map(), sg_dma_address() and sg_dma_len() only.
 *
 * A driver that is stacked on others sets max_dmabuf_sectors, too, if it only
 * remaps bios, and looks at no data.
 */
#ifndef _LINUX_BIO_DMABUF_H
#define _LINUX_BIO_DMABUF_H

#include <linux/blk-dmabuf-key.h>
#include <linux/blk_types.h>
#include <linux/uio.h>

struct blk_dma_iter;
struct blk_dmabuf_io;
struct blk_mq_hw_ctx;
struct device;
struct gendisk;
struct queue_limits;
struct request;
struct scatterlist;

/* A macro, so that nobody loads the flags as long as there is no such I/O. */
#define blk_opf_is_dmabuf(opf)	(blk_dmabuf_in_use() && ((opf) & REQ_DMABUF))

/**
 * blk_rq_is_dmabuf - is the data of a request premapped?
 * @req: request; a macro, because here it is not known yet what that is
 *
 * If so it has no pages, nothing is to be mapped, and no address needs to be
 * remembered for unmapping it.
 */
#define blk_rq_is_dmabuf(req)	blk_opf_is_dmabuf((req)->cmd_flags)

/**
 * bio_is_dmabuf - does a bio carry a piece of a dma-buf instead of pages?
 * @bio: the bio
 */
static inline bool bio_is_dmabuf(const struct bio *bio)
{
	return blk_opf_is_dmabuf(bio->bi_opf);
}

/**
 * bio_dmabuf_offset - where a dma-buf bio is in its buffer
 * @iter: iterator of the bio
 *
 * Return: offset of the next byte
 */
static inline u64 bio_dmabuf_offset(const struct bvec_iter *iter)
{
	return (u64)iter->bi_idx << 32 | iter->bi_offset;
}

static inline void bio_dmabuf_set_offset(struct bvec_iter *iter, u64 offset)
{
	iter->bi_idx = upper_32_bits(offset);
	iter->bi_offset = lower_32_bits(offset);
}

static inline void bio_dmabuf_advance_iter(struct bvec_iter *iter,
					   unsigned int bytes)
{
	iter->bi_size -= bytes;
	bio_dmabuf_set_offset(iter, bio_dmabuf_offset(iter) + bytes);
}

/*
 * Hooks of the block layer.  They are called for REQ_DMABUF bios and requests
 * only, so that without CONFIG_BLK_DMABUF the compiler drops the calls.
 */
bool bio_dmabuf_set(struct bio *bio, const struct iov_iter *iter);
bool bio_dmabuf_takes(struct bio *bio, const struct iov_iter *iter);
bool bio_dmabuf_enter(struct bio *bio);
blk_status_t bio_dmabuf_refuse(struct bio *bio);
bool bio_dmabuf_may_need_split(struct bio *bio, const struct queue_limits *lim);
int bio_dmabuf_split_at(struct bio *bio, const struct queue_limits *lim,
			unsigned int *segs, unsigned int max_bytes);
unsigned int blk_dmabuf_max_sectors(const struct queue_limits *lim);
bool __bio_dmabuf_map_queue(struct bio *bio, struct request **cached);
struct blk_mq_hw_ctx *bio_dmabuf_hctx(const struct bio *bio);
bool blk_rq_dmabuf_iter_start(struct request *rq, struct device *dma_dev,
			      struct blk_dma_iter *iter);
bool blk_rq_dmabuf_iter_next(struct request *rq, struct blk_dma_iter *iter);
unsigned int blk_rq_dmabuf_pages(struct request *rq, struct blk_dma_iter *iter,
				 __le64 *list, unsigned int i,
				 unsigned int *length, unsigned int shift);
int blk_rq_dmabuf_map_sg(struct request *rq, struct scatterlist *sglist,
			 struct scatterlist **last_sg);
void blk_rq_dmabuf_done(struct request *rq);
size_t iov_iter_dmabuf_zero(size_t bytes, struct iov_iter *i);

/**
 * bio_dmabuf_map_queue - ask for the hardware queue of a bio
 * @bio: bio with REQ_DMABUF that becomes one request, its queue entered
 * @cached: request of the plug that would be used; set to NULL if it is none of
 *	the queue that was chosen, and then belongs to the caller no more
 *
 * The choice stays in the bio, for bio_dmabuf_hctx(): a tag may have to be
 * waited for.
 *
 * Return: false if the policy's answer is wrong, and the bio has been ended
 */
static inline bool bio_dmabuf_map_queue(struct bio *bio, struct request **cached)
{
	/* So that the caller's variable can stay in a register. */
	struct request *rq = *cached;
	bool ok = __bio_dmabuf_map_queue(bio, &rq);

	*cached = rq;
	return ok;
}

#ifdef CONFIG_BLK_DMABUF
void blk_dmabuf_add_disk(struct gendisk *disk);
void blk_dmabuf_del_disk(struct gendisk *disk, bool added);
#else
static inline void blk_dmabuf_add_disk(struct gendisk *disk)
{
}

static inline void blk_dmabuf_del_disk(struct gendisk *disk, bool added)
{
}
#endif

/**
 * iov_iter_dmabuf - describe a piece of a dma-buf
 * @i: iterator to initialise
 * @direction: ITER_DEST for a read (device to buffer), ITER_SOURCE for a write
 * @io: the I/O; outlives what is submitted
 * @offset: first byte in the buffer
 * @count: bytes
 *
 * The memory has no pages and no kernel address: direct I/O is the only user,
 * everything that would copy makes no progress on such an iterator.
 */
static inline void iov_iter_dmabuf(struct iov_iter *i, unsigned int direction,
				   struct blk_dmabuf_io *io, size_t offset,
				   size_t count)
{
	*i = (struct iov_iter) {
		.iter_type	= ITER_DMABUF,
		.data_source	= direction,
		.dmabuf		= io,
		.iov_offset	= offset,
		.count		= count,
	};
}

#endif /* _LINUX_BIO_DMABUF_H */
