// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for dma-buf registrations: the range index against a linear walk,
 * the life of mappings against an exporter that counts, and bios against limits
 * and queues that no device at hand has.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/blk-mq.h>
#include <linux/blk-mq-dma.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "blk-dmabuf-internal.h"

/*
 * Range index.
 */

static struct blk_dmabuf_mapping *test_map(struct kunit *test,
					   unsigned int ranges)
{
	struct blk_dmabuf_mapping *map = blk_dmabuf_mapping_alloc(ranges);

	KUNIT_ASSERT_NOT_NULL(test, map);
	return map;
}

static void test_add_merges_what_touches(struct kunit *test)
{
	struct blk_dmabuf_mapping *map = test_map(test, 4);

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x1000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x2000, 0x3000, true));
	KUNIT_EXPECT_EQ(test, 1, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0x4000, map->ranges[1].start);
	/* not touching, then touching but kept apart, then below */
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x6000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 2, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x7000, 0x1000, false));
	KUNIT_EXPECT_EQ(test, 3, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x5000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 4, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0x7000, map->ranges[4].start);
	blk_dmabuf_mapping_free(map);
}

static void test_add_refuses_too_many(struct kunit *test)
{
	struct blk_dmabuf_mapping *map = test_map(test, 1);

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_mapping_add(map, 0x1000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, -E2BIG,
			blk_dmabuf_mapping_add(map, 0x9000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 1, map->nr_ranges);
	blk_dmabuf_mapping_free(map);
}

/* An offset in a range has to fit into bvec_iter, also behind 4 GiB. */
static void test_add_keeps_ranges_countable(struct kunit *test)
{
	struct blk_dmabuf_mapping *map = test_map(test, 16);
	u64 addr = SZ_4G;
	int i;

	for (i = 0; i < 10; i++, addr += SZ_1G)
		KUNIT_EXPECT_EQ(test, 0,
				blk_dmabuf_mapping_add(map, addr, SZ_1G, true));
	KUNIT_EXPECT_EQ(test, 5, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 4, blk_dmabuf_mapping_find(map, 0, 10ULL * SZ_1G - 1));
	blk_dmabuf_mapping_free(map);
}

static unsigned int linear_find(const struct blk_dmabuf_mapping *map, u64 offset)
{
	unsigned int i = 0;

	while (map->ranges[i + 1].start <= offset)
		i++;
	return i;
}

static struct blk_dmabuf_mapping *random_map(struct kunit *test,
					     struct rnd_state *rnd)
{
	unsigned int ranges = 1 + prandom_u32_state(rnd) % 100, i;
	struct blk_dmabuf_mapping *map = test_map(test, ranges);
	u64 addr = SZ_1M;

	for (i = 0; i < ranges; i++) {
		u32 len = 4 * (1 + prandom_u32_state(rnd) % 4096);

		/* a gap each, so that none merge */
		KUNIT_ASSERT_EQ(test, 0,
				blk_dmabuf_mapping_add(map, addr, len, true));
		addr += len + 4;
	}
	return map;
}

static void test_find_equals_linear_walk(struct kunit *test)
{
	struct rnd_state rnd;
	int round;

	prandom_seed_state(&rnd, 42);
	for (round = 0; round < 50; round++) {
		struct blk_dmabuf_mapping *map = random_map(test, &rnd);
		u64 size = map->ranges[map->nr_ranges].start;
		unsigned int i;

		for (i = 0; i < map->nr_ranges; i++) {
			u64 start = map->ranges[i].start;

			KUNIT_EXPECT_EQ(test, i,
					blk_dmabuf_mapping_find(map, 0, start));
			if (!i)
				continue;
			start--;
			KUNIT_EXPECT_EQ(test, i - 1,
					blk_dmabuf_mapping_find(map, 0, start));
		}
		for (i = 0; i < 100; i++) {
			u64 offset = prandom_u32_state(&rnd) % size;

			KUNIT_EXPECT_EQ(test, linear_find(map, offset),
					blk_dmabuf_mapping_find(map, 0, offset));
		}
		blk_dmabuf_mapping_free(map);
	}
}

/* Guessing finds the same, whatever the lengths of the ranges. */
static void test_find_where_ranges_are_alike(struct kunit *test)
{
	static const unsigned int lens[][8] = {
		{ 5 },
		{ 4096, 4096, 4096, 4096 },
		{ 4096, 4096, 512 },
		{ 512, 100 },
		{ 512, 4096 },
		{ 4096, 8192, 4096, 4096, 4096, 4096, 8192, 4096 },
		{ 3000, 3000, 3000 },
		{ 65536, 1, 1, 1, 1, 1, 1, 1 },
		{ 1, 1, 1, 1, 1, 1, 1, 65536 },
		{ 4096, 65536, 4096, 4096, 4096, 4096, 4096, 4096 },
	};
	struct blk_dmabuf_mapping *map;
	unsigned int i, j;
	u64 at;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		map = blk_dmabuf_mapping_alloc(ARRAY_SIZE(lens[i]));
		KUNIT_ASSERT_NOT_NULL(test, map);
		for (j = 0; j < ARRAY_SIZE(lens[i]) && lens[i][j]; j++)
			blk_dmabuf_mapping_add(map, j * SZ_1M, lens[i][j],
					       true);
		blk_dmabuf_mapping_seal(map);
		for (at = 0; at < map->bytes; at++)
			if (linear_find(map, at) !=
			    blk_dmabuf_mapping_find(map, 0, at))
				break;
		KUNIT_EXPECT_EQ_MSG(test, map->bytes, at, "row %u", i);
		blk_dmabuf_mapping_free(map);
	}
}

/* An offset in the buffer, also behind 4 GiB, in the fields of a bvec_iter. */
static void test_offset_advances(struct kunit *test)
{
	struct bvec_iter iter = { .bi_size = SZ_1G };

	bio_dmabuf_set_offset(&iter, SZ_4G - 512);
	KUNIT_EXPECT_EQ(test, SZ_4G - 512, bio_dmabuf_offset(&iter));
	bio_dmabuf_advance_iter(&iter, 512);
	KUNIT_EXPECT_EQ(test, SZ_4G, bio_dmabuf_offset(&iter));
	bio_dmabuf_advance_iter(&iter, SZ_1G - 512);
	KUNIT_EXPECT_EQ(test, SZ_4G + SZ_1G - 512, bio_dmabuf_offset(&iter));
	KUNIT_EXPECT_EQ(test, 0, iter.bi_size);
}

struct fits_case {
	const char *name;
	dma_addr_t first, second;
	u64 first_len;
	bool prp, sgl;
};

static const struct fits_case fits_cases[] = {
	{ "pages", 0x1000, 0x9000, 0x1000, true, true },
	{ "first starts in a page", 0x1200, 0x9000, 0xe00, true, true },
	{ "first ends in a page", 0x1000, 0x9000, 0xe00, false, true },
	{ "second starts in a page", 0x1000, 0x9200, 0x1000, false, true },
	{ "first is no multiple of 4", 0x1001, 0x9000, 0xfff, false, false },
	{ "second is no multiple of 4", 0x1000, 0x9002, 0x1000, false, false },
};

static void test_fits(struct kunit *test)
{
	const struct queue_limits sgl = { .dma_alignment = 3 };
	const struct queue_limits prp = {
		.dma_alignment = 3, .virt_boundary_mask = 4095,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(fits_cases); i++) {
		const struct fits_case *c = &fits_cases[i];
		struct blk_dmabuf_mapping *map = test_map(test, 2);

		blk_dmabuf_mapping_add(map, c->first, c->first_len, true);
		blk_dmabuf_mapping_add(map, c->second, 0x200, true);
		blk_dmabuf_mapping_seal(map);
		KUNIT_EXPECT_EQ_MSG(test, c->prp,
				    blk_dmabuf_mapping_fits(map, &prp), "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, c->sgl,
				    blk_dmabuf_mapping_fits(map, &sgl), "%s", c->name);
		blk_dmabuf_mapping_free(map);
	}
}

/* What is counted without looking at each range is what looking finds. */
static void test_counts_agree(struct kunit *test)
{
	struct queue_limits lim = {
		.dma_alignment = 3, .max_segments = 20,
		.max_segment_size = UINT_MAX, .seg_boundary_mask = ULONG_MAX,
	};
	struct blk_dmabuf_io io = {};
	struct bio bio = { .bi_dmabuf = &io };
	struct rnd_state rnd;
	int round;

	prandom_seed_state(&rnd, 43);
	for (round = 0; round < 5000; round++) {
		struct blk_dmabuf_mapping *map = random_map(test, &rnd);
		unsigned int max = 4 + (prandom_u32_state(&rnd) % SZ_4M & ~3);
		unsigned int segs[2], gaps[2];
		u64 size, offset;
		int bytes;

		blk_dmabuf_mapping_seal(map);
		size = map->bytes;
		offset = prandom_u32_state(&rnd) % size & ~3;
		bio_dmabuf_set_offset(&bio.bi_iter, offset);
		bio.bi_iter.bi_size = 4 + (prandom_u32_state(&rnd) %
					   (size - offset) & ~3);
		bytes = blk_dmabuf_count_each(map, &bio, &lim, max, &segs[0],
					      &gaps[0]);
		KUNIT_EXPECT_EQ(test, bytes,
				blk_dmabuf_count_simple(map, &bio, &lim, max,
							&segs[1], &gaps[1]));
		KUNIT_EXPECT_EQ(test, segs[0], segs[1]);
		KUNIT_EXPECT_LE(test, gaps[1], gaps[0]);
		KUNIT_EXPECT_EQ(test, !gaps[0], !gaps[1]);
		blk_dmabuf_mapping_free(map);
	}
}

#define TEST_PARTS	30

/* Parts all over @map. */
static void random_parts(const struct blk_dmabuf_mapping *map,
			 struct blk_dmabuf_parts *parts, struct rnd_state *rnd)
{
	u32 start = 0;
	int i;

	parts->nr = 1 + prandom_u32_state(rnd) % TEST_PARTS;
	for (i = 0; i < parts->nr; i++) {
		u64 offset = prandom_u32_state(rnd) % map->bytes & ~3;
		u32 most = min(map->bytes - offset, SZ_16K);

		parts->part[i].offset = offset;
		parts->part[i].start = start;
		start += 4 + (prandom_u32_state(rnd) % most & ~3);
	}
	parts->part[i].start = start;
}

/* The same by looking at each word: a segment ends with its part or range. */
static int count_words(const struct blk_dmabuf_mapping *map,
		       const struct blk_dmabuf_parts *parts, u32 at, u32 bytes,
		       unsigned int max_segments, unsigned int *segs)
{
	u32 part = UINT_MAX, range = UINT_MAX, end = at + bytes, i;
	u32 first = at;

	for (*segs = 0; at < end; at += 4) {
		u64 offset;

		for (i = 0; parts->part[i + 1].start <= at; i++)
			;
		offset = parts->part[i].offset + at - parts->part[i].start;
		if (i == part && linear_find(map, offset) == range)
			continue;
		if (*segs == max_segments)
			break;
		part = i;
		range = linear_find(map, offset);
		++*segs;
	}
	return at - first;
}

static void test_counts_parts(struct kunit *test)
{
	struct queue_limits lim = {
		.dma_alignment = 3, .max_segments = 20,
		.max_segment_size = UINT_MAX, .seg_boundary_mask = ULONG_MAX,
	};
	struct blk_dmabuf_io io = {};
	struct bio bio = { .bi_dmabuf = &io };
	struct rnd_state rnd;
	int round;

	io.parts = kunit_kzalloc(test, struct_size(io.parts, part,
						   TEST_PARTS + 1), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, io.parts);
	prandom_seed_state(&rnd, 44);
	for (round = 0; round < 200; round++) {
		struct blk_dmabuf_mapping *map = random_map(test, &rnd);
		unsigned int segs[2], gap;
		u32 bytes, at;
		int counted;

		blk_dmabuf_mapping_seal(map);
		random_parts(map, io.parts, &rnd);
		bytes = io.parts->part[io.parts->nr].start;
		at = prandom_u32_state(&rnd) % bytes & ~3;
		bytes -= at;
		bio_dmabuf_set_offset(&bio.bi_iter, at);
		bio.bi_iter.bi_size = bytes;
		counted = count_words(map, io.parts, at, bytes,
				      lim.max_segments, &segs[0]);
		KUNIT_EXPECT_EQ(test, counted,
				blk_dmabuf_count_each(map, &bio, &lim, UINT_MAX,
						      &segs[1], &gap));
		KUNIT_EXPECT_EQ(test, segs[0], segs[1]);
		blk_dmabuf_mapping_free(map);
	}
}

/* A range that crosses a boundary, up to one that crosses nothing. */
static void test_seal_finds_the_boundary(struct kunit *test)
{
	struct blk_dmabuf_mapping *map = test_map(test, 2);

	blk_dmabuf_mapping_add(map, SZ_1M, SZ_4K, true);
	blk_dmabuf_mapping_seal(map);
	KUNIT_EXPECT_EQ(test, SZ_4K, map->boundary);
	KUNIT_EXPECT_EQ(test, SZ_4K, map->longest);
	blk_dmabuf_mapping_add(map, SZ_4G - SZ_4K, SZ_8K, true);
	blk_dmabuf_mapping_seal(map);
	KUNIT_EXPECT_EQ(test, 2 * SZ_4G, map->boundary);
	KUNIT_EXPECT_EQ(test, SZ_8K, map->longest);
	blk_dmabuf_mapping_free(map);
}

static struct kunit_case index_cases[] = {
	KUNIT_CASE(test_add_merges_what_touches),
	KUNIT_CASE(test_add_refuses_too_many),
	KUNIT_CASE(test_add_keeps_ranges_countable),
	KUNIT_CASE(test_find_equals_linear_walk),
	KUNIT_CASE(test_find_where_ranges_are_alike),
	KUNIT_CASE(test_offset_advances),
	KUNIT_CASE(test_fits),
	KUNIT_CASE(test_counts_agree),
	KUNIT_CASE(test_counts_parts),
	KUNIT_CASE(test_seal_finds_the_boundary),
	{}
};

static struct kunit_suite index_suite = {
	.name		= "blk-dmabuf-index",
	.test_cases	= index_cases,
};

/*
 * The life of mappings: a disk, a device and an exporter that do nothing but
 * count.
 */

#define TEST_PAGES	4
#define TEST_BYTES	(TEST_PAGES * PAGE_SIZE)

/**
 * struct test_disk - a disk whose driver takes dma-buf requests
 * @set: its tag set
 * @disk: the disk
 * @dev: its DMA device
 * @state: for mapping
 * @hold: keep the next request, mapped, until test_let_go()
 * @held: that request
 * @started: completed when it is there
 * @requests: how many came
 * @ranges: how many ranges were mapped, or entries of @sgl filled
 * @sgl: map to this list instead
 * @part: complete @part_bytes of the next request only, and requeue the rest
 * @part_bytes: see @part
 */
struct test_disk {
	struct blk_mq_tag_set	set;
	struct gendisk		*disk;
	struct device		*dev;
	struct dma_iova_state	state;
	bool			hold;
	struct request		*held;
	struct completion	started;
	int			requests;
	int			ranges;
	struct scatterlist	*sgl;
	bool			part;
	unsigned int		part_bytes;
};

struct test_ctx {
	struct kunit		*test;
	struct test_disk	own;
	struct device		*dev;
	struct dma_buf		*dmabuf;
	int			attached;
	int			mapped;
	int			released;
	int			map_error;
	int			attach_error;
	int			vmapped;
	int			vmaps;
	int			cpu;
	bool			no_vmap;
	u8			mem[8];
	dma_addr_t		stride;
	u64			bytes;
	struct sg_table		*(*make_sgt)(struct test_ctx *ctx);
};

static int exp_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct test_ctx *ctx = dmabuf->priv;

	if (ctx->attach_error)
		return ctx->attach_error;
	ctx->attached++;
	return 0;
}

static void exp_detach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attach)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->attached--;
}

static struct sg_table *exp_map(struct dma_buf_attachment *attach,
				enum dma_data_direction dir)
{
	struct test_ctx *ctx = attach->dmabuf->priv;
	struct scatterlist *sg;
	struct sg_table *sgt;
	int i;

	if (ctx->map_error)
		return ERR_PTR(ctx->map_error);
	if (ctx->make_sgt)
		return ctx->make_sgt(ctx);
	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	if (sg_alloc_table(sgt, TEST_PAGES, GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg_dma_address(sg) = SZ_1G + i * ctx->stride;
		sg_dma_len(sg) = PAGE_SIZE;
	}
	ctx->mapped++;
	return sgt;
}

static void exp_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir)
{
	struct test_ctx *ctx = attach->dmabuf->priv;

	ctx->mapped--;
	sg_free_table(sgt);
	kfree(sgt);
}

static void exp_release(struct dma_buf *dmabuf)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->released++;
}

static int exp_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->vmapped++;
	ctx->vmaps++;
	iosys_map_set_vaddr(map, ctx->mem);
	return 0;
}

static void exp_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->vmapped--;
}

static int exp_begin(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->cpu++;
	return 0;
}

static int exp_end(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	struct test_ctx *ctx = dmabuf->priv;

	ctx->cpu--;
	return 0;
}

#define EXP_OPS						\
	.attach			= exp_attach,		\
	.detach			= exp_detach,		\
	.map_dma_buf		= exp_map,		\
	.unmap_dma_buf		= exp_unmap,		\
	.release		= exp_release,		\
	.begin_cpu_access	= exp_begin,		\
	.end_cpu_access		= exp_end

static const struct dma_buf_ops exp_ops = {
	EXP_OPS,
	.vmap	= exp_vmap,
	.vunmap	= exp_vunmap,
};

static const struct dma_buf_ops exp_ops_no_vmap = { EXP_OPS };

static struct dma_buf *test_export(struct test_ctx *ctx, int flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp);

	exp.ops = ctx->no_vmap ? &exp_ops_no_vmap : &exp_ops;
	exp.size = ctx->bytes ?: TEST_BYTES;
	exp.flags = flags;
	exp.priv = ctx;
	return dma_buf_export(&exp);
}

/* A driver of scatterlists, which may complete part of a request, as SCSI does. */
static blk_status_t test_queue_sg(struct test_disk *td, struct request *rq)
{
	td->ranges = blk_rq_map_sg(rq, td->sgl);
	if (td->ranges < 0)
		return errno_to_blk_status(td->ranges);
	blk_mq_start_request(rq);
	blk_rq_unmap_sg(rq);
	/* Error handlers do not know that. */
	blk_rq_unmap_sg(rq);
	if (!td->part) {
		blk_mq_end_request(rq, BLK_STS_OK);
		return BLK_STS_OK;
	}
	td->part = false;
	if (blk_update_request(rq, BLK_STS_OK, td->part_bytes))
		blk_mq_requeue_request(rq, true);
	return BLK_STS_OK;
}

/* All of the data is mapped, and unmapped when the request ends. */
static blk_status_t test_queue_rq(struct blk_mq_hw_ctx *hctx,
				  const struct blk_mq_queue_data *bd)
{
	struct test_disk *td = hctx->queue->tag_set->driver_data;
	struct request *rq = bd->rq;
	struct blk_dma_iter iter;

	td->requests++;
	if (td->sgl)
		return test_queue_sg(td, rq);
	if (!blk_rq_dma_map_iter_start(rq, td->dev, &td->state, &iter))
		return iter.status;
	do {
		td->ranges++;
	} while (blk_rq_dma_map_iter_next(rq, td->dev, &iter));
	blk_mq_start_request(rq);
	if (td->hold) {
		td->hold = false;
		td->held = rq;
		complete(&td->started);
		return BLK_STS_OK;
	}
	blk_rq_dma_unmap(rq, td->dev, &td->state, 0, PCI_P2PDMA_MAP_NONE);
	blk_mq_end_request(rq, BLK_STS_OK);
	return BLK_STS_OK;
}

static void test_let_go(struct test_disk *td)
{
	blk_rq_dma_unmap(td->held, td->dev, &td->state, 0, PCI_P2PDMA_MAP_NONE);
	blk_mq_end_request(td->held, BLK_STS_OK);
}

static const struct blk_mq_ops test_mq_ops = {
	.queue_rq	= test_queue_rq,
};

static const struct block_device_operations test_disk_ops = {
	.owner		= THIS_MODULE,
};

static void test_disk_up(struct kunit *test, struct test_disk *td,
			 const char *name, struct device *dev,
			 unsigned int max_dmabuf_sectors)
{
	struct queue_limits lim = {
		.dma_alignment		= 3,
		.virt_boundary_mask	= PAGE_SIZE - 1,
		.max_dmabuf_sectors	= max_dmabuf_sectors,
	};

	init_completion(&td->started);
	td->dev = dev;
	td->set = (struct blk_mq_tag_set) {
		.ops		= &test_mq_ops,
		.nr_hw_queues	= 1,
		.queue_depth	= 2,
		.numa_node	= NUMA_NO_NODE,
		.flags		= BLK_MQ_F_BLOCKING,
		.driver_data	= td,
		.dma_dev	= dev,
	};
	KUNIT_ASSERT_EQ(test, 0, blk_mq_alloc_tag_set(&td->set));
	td->disk = blk_mq_alloc_disk(&td->set, &lim, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, td->disk);
	td->disk->fops = &test_disk_ops;
	td->disk->flags |= GENHD_FL_NO_PART;
	strscpy(td->disk->disk_name, name);
	set_capacity(td->disk, 1024);
	KUNIT_ASSERT_EQ(test, 0, add_disk(td->disk));
}

static void test_disk_down(struct test_disk *td)
{
	if (disk_live(td->disk))
		del_gendisk(td->disk);
	put_disk(td->disk);
	blk_mq_free_tag_set(&td->set);
}

static int life_init(struct kunit *test)
{
	struct test_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	test->priv = ctx;
	ctx->test = test;
	ctx->stride = 2 * PAGE_SIZE;
	ctx->dev = kunit_device_register(test, "blk-dmabuf-test");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->dev);
	test_disk_up(test, &ctx->own, "blk-dmabuf-test", ctx->dev, 64);
	ctx->dmabuf = test_export(ctx, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->dmabuf);
	return 0;
}

/* Whatever a test did, the exporter has everything back. */
static void life_exit(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;

	test_disk_down(&ctx->own);
	KUNIT_EXPECT_EQ(test, 0, ctx->mapped);
	KUNIT_EXPECT_EQ(test, 0, ctx->attached);
	KUNIT_EXPECT_EQ(test, 0, ctx->vmapped);
	KUNIT_EXPECT_EQ(test, 0, ctx->cpu);
	dma_buf_put(ctx->dmabuf);
	/* fput() from a kernel thread is deferred. */
	flush_delayed_fput();
	KUNIT_EXPECT_EQ(test, 1, ctx->released);
}

static struct blk_dmabuf *test_attach_to(struct test_ctx *ctx,
					 struct gendisk *disk)
{
	struct blk_dmabuf_attach args = {};
	struct blk_dmabuf *reg;

	reg = blk_dmabuf_attach(disk, ctx->dmabuf, &args);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(ctx->test, reg);
	KUNIT_EXPECT_EQ(ctx->test, BLK_DMABUF_OK, args.reason);
	return reg;
}

static struct blk_dmabuf *test_attach(struct test_ctx *ctx)
{
	return test_attach_to(ctx, ctx->own.disk);
}

/* An I/O on @reg, sent to @td with a bio of its own. */
struct test_io {
	struct blk_dmabuf_slots	slots;
	struct blk_dmabuf_io	io;
	struct bio		bio;
	struct completion	done;
};

static void test_io_end(struct bio *bio)
{
	struct test_io *tio = bio->bi_private;

	complete(&tio->done);
}

static void test_io_build(struct test_io *tio, struct blk_dmabuf *reg,
			  struct gendisk *disk)
{
	struct iov_iter iter;

	tio->slots = (struct blk_dmabuf_slots) { .disk = disk };
	tio->io = (struct blk_dmabuf_io) { .slots = &tio->slots, .reg = reg };
	init_completion(&tio->done);
	bio_init(&tio->bio, disk->part0, NULL, 0, REQ_OP_READ);
	tio->bio.bi_private = tio;
	tio->bio.bi_end_io = test_io_end;
	iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, 0, TEST_BYTES);
	bio_dmabuf_set(&tio->bio, &iter);
}

/* Send one and wait for it. */
static int test_io_run(struct test_io *tio, struct blk_dmabuf *reg,
		       struct gendisk *disk)
{
	test_io_build(tio, reg, disk);
	submit_bio(&tio->bio);
	wait_for_completion(&tio->done);
	return blk_status_to_errno(tio->bio.bi_status);
}

static void expect_info(struct kunit *test, struct blk_dmabuf *reg,
			enum blk_dmabuf_state state, u64 generation,
			u64 invalidations)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf_info info;

	blk_dmabuf_get_info(reg, &info);
	KUNIT_EXPECT_EQ(test, state, info.state);
	KUNIT_EXPECT_EQ(test, generation, info.generation);
	KUNIT_EXPECT_EQ(test, invalidations, info.invalidations);
	KUNIT_EXPECT_EQ(test, state == BLK_DMABUF_LIVE, ctx->mapped);
	KUNIT_EXPECT_EQ(test, state != BLK_DMABUF_DEAD, ctx->attached);
}

static void test_maps_once_and_again(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);

	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	expect_info(test, reg, BLK_DMABUF_LIVE, 1, 0);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	expect_info(test, reg, BLK_DMABUF_LIVE, 1, 0);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_unmap(reg));
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 1, 0);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_unmap(reg));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	expect_info(test, reg, BLK_DMABUF_LIVE, 2, 0);
	blk_dmabuf_release(reg);
}

static void test_invalidate(struct test_ctx *ctx)
{
	dma_resv_lock(ctx->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(ctx->dmabuf);
	dma_resv_unlock(ctx->dmabuf->resv);
}

static void test_exporter_invalidates(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);

	/* unmapped: nothing to take away */
	test_invalidate(test->priv);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	test_invalidate(test->priv);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 1, 1);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	expect_info(test, reg, BLK_DMABUF_LIVE, 2, 1);
	blk_dmabuf_release(reg);
}

struct invalidate_work {
	struct work_struct	work;
	struct test_ctx		*ctx;
	struct completion	done;
};

static void invalidate_fn(struct work_struct *work)
{
	struct invalidate_work *w = container_of(work, struct invalidate_work,
						 work);

	test_invalidate(w->ctx);
	complete(&w->done);
}

/* It waits for what the driver has mapped, and for nothing else. */
static void test_invalidate_waits_for_io(struct kunit *test)
{
	struct invalidate_work w = { .ctx = test->priv };
	struct test_disk *own = &w.ctx->own;
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct blk_dmabuf *reg = test_attach(test->priv);

	KUNIT_ASSERT_NOT_NULL(test, tio);
	blk_dmabuf_get_user();
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	own->hold = true;
	test_io_build(tio, reg, own->disk);
	submit_bio(&tio->bio);
	wait_for_completion(&own->started);
	/* the pages do not touch, so each is a range */
	KUNIT_EXPECT_EQ(test, TEST_PAGES, own->ranges);

	init_completion(&w.done);
	INIT_WORK_ONSTACK(&w.work, invalidate_fn);
	queue_work(system_dfl_wq, &w.work);
	KUNIT_EXPECT_EQ(test, 0, wait_for_completion_timeout(&w.done, HZ / 5));
	KUNIT_EXPECT_EQ(test, 1, w.ctx->mapped);
	test_let_go(own);
	wait_for_completion(&w.done);
	wait_for_completion(&tio->done);
	destroy_work_on_stack(&w.work);
	KUNIT_EXPECT_EQ(test, BLK_STS_OK, tio->bio.bi_status);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 1, 1);
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* A queue that does not dispatch, as in a reset: nothing is held. */
static void test_invalidate_passes_by_what_waits(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg = test_attach(ctx);

	KUNIT_ASSERT_NOT_NULL(test, tio);
	blk_dmabuf_get_user();
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	blk_mq_quiesce_tagset(&ctx->own.set);
	test_io_build(tio, reg, ctx->own.disk);
	submit_bio(&tio->bio);
	test_invalidate(ctx);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 1, 1);
	KUNIT_EXPECT_EQ(test, 0, ctx->own.requests);
	blk_mq_unquiesce_tagset(&ctx->own.set);
	wait_for_completion(&tio->done);
	/* it found that there is no mapping any more, and says where */
	KUNIT_EXPECT_EQ(test, BLK_STS_AGAIN, tio->bio.bi_status);
	KUNIT_EXPECT_PTR_EQ(test, ctx->dev, tio->io.missed);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_missed(&tio->io));
	KUNIT_EXPECT_NULL(test, tio->io.missed);
	KUNIT_EXPECT_EQ(test, 0, test_io_run(tio, reg, ctx->own.disk));
	expect_info(test, reg, BLK_DMABUF_LIVE, 2, 1);
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* Split for one mapping and dispatched on another, better or worse. */
static void test_request_meets_another_mapping(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg = test_attach(ctx);
	int round;

	KUNIT_ASSERT_NOT_NULL(test, tio);
	blk_dmabuf_get_user();
	for (round = 0; round < 2; round++) {
		/* pages apart, then together; and the other way round */
		ctx->stride = round ? PAGE_SIZE : 2 * PAGE_SIZE;
		test_invalidate(ctx);
		KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
		blk_mq_quiesce_tagset(&ctx->own.set);
		test_io_build(tio, reg, ctx->own.disk);
		submit_bio(&tio->bio);
		ctx->stride = round ? 2 * PAGE_SIZE : PAGE_SIZE;
		test_invalidate(ctx);
		KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
		blk_mq_unquiesce_tagset(&ctx->own.set);
		wait_for_completion(&tio->done);
		KUNIT_EXPECT_EQ(test, round ? BLK_STS_AGAIN : BLK_STS_OK,
				tio->bio.bi_status);
		KUNIT_EXPECT_EQ(test, !!round, !!tio->io.missed);
	}
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* The same for what was queued when its registration ended. */
static void test_queued_request_of_a_dead_registration(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg, *other;
	struct test_disk *second;

	second = kunit_kzalloc(test, sizeof(*second), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tio);
	KUNIT_ASSERT_NOT_NULL(test, second);
	test_disk_up(test, second, "blk-dmabuf-second", ctx->dev, 64);
	reg = test_attach(ctx);
	other = test_attach_to(ctx, second->disk);
	blk_dmabuf_get_user();
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	blk_mq_quiesce_tagset(&ctx->own.set);
	test_io_build(tio, reg, ctx->own.disk);
	kref_get(&reg->ref);
	submit_bio(&tio->bio);
	blk_dmabuf_release(reg);
	/* the buffer is mapped again, for the other registration */
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(other));
	blk_mq_unquiesce_tagset(&ctx->own.set);
	wait_for_completion(&tio->done);
	KUNIT_EXPECT_NE(test, BLK_STS_OK, tio->bio.bi_status);
	KUNIT_EXPECT_EQ(test, 0, ctx->own.ranges);
	blk_dmabuf_put(reg);
	blk_dmabuf_put_user();
	blk_dmabuf_release(other);
	test_disk_down(second);
}

static void test_failed_map_leaves_nothing(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct test_ctx *ctx = test->priv;

	ctx->map_error = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_MAP_FAILED, reg->reason);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 0, 0);

	/* mapped, since it may suit others, but not this disk */
	ctx->map_error = 0;
	ctx->stride = PAGE_SIZE + 512;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_LAYOUT, reg->reason);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_unmap(reg));
	KUNIT_EXPECT_EQ(test, 0, ctx->mapped);

	ctx->stride = PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_OK, reg->reason);
	expect_info(test, reg, BLK_DMABUF_LIVE, 2, 0);
	blk_dmabuf_release(reg);
}

/* Disks of one DMA device share an attachment and a mapping. */
static void test_disks_of_a_device_share(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf_info info;
	struct blk_dmabuf *a, *b;
	struct test_disk *second;

	second = kunit_kzalloc(test, sizeof(*second), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, second);
	test_disk_up(test, second, "blk-dmabuf-second", ctx->dev, 64);
	a = test_attach(ctx);
	b = test_attach_to(ctx, second->disk);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(a));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(b));
	KUNIT_EXPECT_EQ(test, 1, ctx->mapped);
	blk_dmabuf_get_info(b, &info);
	KUNIT_EXPECT_EQ(test, 2, info.sharers);
	KUNIT_EXPECT_EQ(test, 1, info.devices);
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_LIVE, info.state);
	/* the end of one leaves the other its attachment */
	blk_dmabuf_release(a);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(b));
	/* one disk goes, the device stays */
	del_gendisk(ctx->own.disk);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	KUNIT_EXPECT_EQ(test, 1, ctx->mapped);
	blk_dmabuf_release(b);
	KUNIT_EXPECT_EQ(test, 0, ctx->attached);
	test_disk_down(second);
}

/* An exporter that moves takes the mappings of all devices at once. */
static void test_devices_are_invalidated_together(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *a, *b;
	struct test_disk *second;
	struct device *dev;

	dev = kunit_device_register(test, "blk-dmabuf-dev2");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	second = kunit_kzalloc(test, sizeof(*second), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, second);
	test_disk_up(test, second, "blk-dmabuf-second", dev, 64);
	a = test_attach(ctx);
	b = test_attach_to(ctx, second->disk);
	KUNIT_EXPECT_EQ(test, 2, ctx->attached);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(a));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(b));
	KUNIT_EXPECT_EQ(test, 2, ctx->mapped);
	test_invalidate(ctx);
	KUNIT_EXPECT_EQ(test, 0, ctx->mapped);
	KUNIT_EXPECT_EQ(test, 1, a->buf->invalidations);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(a));
	KUNIT_EXPECT_EQ(test, 1, ctx->mapped);
	/* the attachment of a device ends with its last disk */
	test_disk_down(second);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	KUNIT_EXPECT_EQ(test, 1, ctx->mapped);
	blk_dmabuf_release(b);
	blk_dmabuf_release(a);
}

static void test_second_registration_is_refused(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct blk_dmabuf_attach args = {};
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *other;

	other = blk_dmabuf_attach(ctx->own.disk, ctx->dmabuf, &args);
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EEXIST), other);
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_DUPLICATE, args.reason);
	KUNIT_EXPECT_EQ(test, reg->id, args.id);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	blk_dmabuf_release(reg);
	/* the first one is gone, so this is the first one */
	blk_dmabuf_release(test_attach(ctx));
}

static void test_disk_goes_away(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct blk_dmabuf_attach args = {};
	struct test_ctx *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	del_gendisk(ctx->own.disk);
	expect_info(test, reg, BLK_DMABUF_DEAD, 1, 0);
	KUNIT_EXPECT_EQ(test, -ENODEV, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, -ENODEV, blk_dmabuf_unmap(reg));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENODEV),
			    blk_dmabuf_attach(ctx->own.disk, ctx->dmabuf,
					      &args));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_NO_DEVICE, args.reason);
	blk_dmabuf_release(reg);
}

static void test_slot_outlives_owner(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv), *slot;
	struct test_ctx *ctx = test->priv;

	slot = blk_dmabuf_find(ctx->own.disk, ctx->dmabuf);
	KUNIT_ASSERT_PTR_EQ(test, reg, slot);
	blk_dmabuf_release(reg);
	expect_info(test, slot, BLK_DMABUF_DEAD, 0, 0);
	KUNIT_EXPECT_NULL(test, blk_dmabuf_find(ctx->own.disk, ctx->dmabuf));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    blk_dmabuf_get_dmabuf(slot->id));
	blk_dmabuf_put(slot);
}

static void test_export_again(struct test_ctx *ctx, int flags)
{
	dma_buf_put(ctx->dmabuf);
	flush_delayed_fput();
	ctx->released = 0;
	ctx->dmabuf = test_export(ctx, flags);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(ctx->test, ctx->dmabuf);
}

static void test_read_only_buffer(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;

	test_export_again(ctx, O_RDONLY);
	reg = test_attach(ctx);
	KUNIT_EXPECT_EQ(test, DMA_TO_DEVICE, reg->buf->dir);
	blk_dmabuf_release(reg);
}

static struct kunit_case life_cases[] = {
	KUNIT_CASE(test_maps_once_and_again),
	KUNIT_CASE(test_exporter_invalidates),
	KUNIT_CASE(test_invalidate_waits_for_io),
	KUNIT_CASE(test_invalidate_passes_by_what_waits),
	KUNIT_CASE(test_request_meets_another_mapping),
	KUNIT_CASE(test_queued_request_of_a_dead_registration),
	KUNIT_CASE(test_failed_map_leaves_nothing),
	KUNIT_CASE(test_second_registration_is_refused),
	KUNIT_CASE(test_disk_goes_away),
	KUNIT_CASE(test_disks_of_a_device_share),
	KUNIT_CASE(test_devices_are_invalidated_together),
	KUNIT_CASE(test_slot_outlives_owner),
	KUNIT_CASE(test_read_only_buffer),
	{}
};

static struct kunit_suite life_suite = {
	.name		= "blk-dmabuf-life",
	.init		= life_init,
	.exit		= life_exit,
	.test_cases	= life_cases,
};

/*
 * Bios: where they are split, and which queues take them.
 */

struct split_case {
	const char	*name;
	u64		offset;
	unsigned int	len;
	unsigned int	max_bytes;
	unsigned short	max_segments;
	unsigned long	virt_boundary;
	blk_opf_t	opf;
	int		result;
	unsigned int	segs;
};

/* On three ranges: a page, half a page from a boundary on, a page. */
static const struct split_case split_cases[] = {
	{ "fits", 0, 8192, SZ_1M, 128, 0, 0, 0, 3 },
	{ "a gap does not suit", 0, 8192, SZ_1M, 128, 4095, 0, -EOPNOTSUPP, 0 },
	{ "too many segments", 0, 8192, SZ_1M, 1, 0, 0, 8, 1 },
	{ "too large", 0, 8192, 5120, 128, 0, 0, 10, 2 },
	{ "largest", 0, 8192, 8192, 128, 0, 0, 0, 3 },
	{ "no part may be ahead", 0, 8192, 4096, 128, 0, REQ_NOWAIT, -EAGAIN },
	{ "atomic", 0, 8192, 4096, 128, 0, REQ_ATOMIC, -EINVAL },
	{ "less than a block", 0, 8192, 256, 128, 0, 0, -EINVAL },
	{ "address unaligned", 2, 4096, SZ_1M, 128, 0, 0, -EINVAL },
};

/* The exporter's pages, as these cases want them. */
static struct sg_table *split_sgt(struct test_ctx *ctx)
{
	static const struct { dma_addr_t addr; u32 len; } ranges[] = {
		{ 0x1000, 0x1000 }, { 0x5000, 0x800 }, { 0x9000, 0x1000 },
	};
	struct scatterlist *sg;
	struct sg_table *sgt;
	int i;

	sgt = kzalloc_obj(*sgt);
	if (!sgt || sg_alloc_table(sgt, ARRAY_SIZE(ranges), GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg_dma_address(sg) = ranges[i].addr;
		sg_dma_len(sg) = ranges[i].len;
	}
	ctx->mapped++;
	return sgt;
}

/* Have a new buffer of these, since the size of one does not change. */
static struct blk_dmabuf *test_attach_split(struct test_ctx *ctx)
{
	struct blk_dmabuf *reg;

	dma_buf_put(ctx->dmabuf);
	flush_delayed_fput();
	ctx->released = 0;
	ctx->make_sgt = split_sgt;
	ctx->bytes = 0x2800;
	ctx->dmabuf = test_export(ctx, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(ctx->test, ctx->dmabuf);
	reg = test_attach(ctx);
	blk_dmabuf_map(reg);
	KUNIT_ASSERT_EQ(ctx->test, 1, ctx->mapped);
	return reg;
}

static void test_split(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, tio);
	blk_dmabuf_get_user();
	reg = test_attach_split(ctx);
	for (i = 0; i < ARRAY_SIZE(split_cases); i++) {
		const struct split_case *c = &split_cases[i];
		struct queue_limits lim = ctx->own.disk->queue->limits;
		unsigned int segs = 0;
		struct iov_iter iter;

		lim.max_segments = c->max_segments;
		lim.virt_boundary_mask = c->virt_boundary;
		test_io_build(tio, reg, ctx->own.disk);
		tio->bio.bi_opf = REQ_OP_READ | c->opf;
		iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, c->offset, c->len);
		bio_dmabuf_set(&tio->bio, &iter);
		KUNIT_EXPECT_EQ_MSG(test, c->result,
				    bio_dmabuf_split_at(&tio->bio, &lim, &segs,
							c->max_bytes), "%s",
				    c->name);
		if (c->result >= 0)
			KUNIT_EXPECT_EQ_MSG(test, c->segs, segs, "%s", c->name);
	}
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* What is in one page is a segment, unless something has gone wrong before. */
static void test_page_is_not_split(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	static const struct {
		unsigned int offset, len, max_sectors, chunk_sectors;
		bool again, look;
	} rows[] = {
		{ 0x1000, 0x1000, 8, 0, false, false },
		{ 0x1e00, 0x200, 8, 0, false, false },
		{ 0x1e00, 0x400, 8, 0, false, true },
		{ 0x1000, 0x1200, 16, 0, false, true },
		{ 0x1000, 0x1000, 7, 0, false, true },
		{ 0x1000, 0x1000, 8, 8, false, true },
		{ 0x1000, 0x1000, 8, 0, true, true },
	};
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, tio);
	reg = test_attach(ctx);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct queue_limits lim = {
			.max_dmabuf_sectors	= rows[i].max_sectors,
			.chunk_sectors		= rows[i].chunk_sectors,
		};
		struct iov_iter iter;

		test_io_build(tio, reg, ctx->own.disk);
		tio->io.again = rows[i].again;
		tio->bio.bi_opf = REQ_OP_READ;
		iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, rows[i].offset,
				rows[i].len);
		bio_dmabuf_set(&tio->bio, &iter);
		KUNIT_EXPECT_EQ_MSG(test, rows[i].look,
				    bio_dmabuf_may_need_split(&tio->bio, &lim),
				    "row %d", i);
		/* Whoever maps the request has to look then. */
		KUNIT_EXPECT_EQ_MSG(test,
				    rows[i].look ? 0 : BLK_DMABUF_SEQ_MIXED,
				    tio->io.seq, "row %d", i);
	}
	blk_dmabuf_release(reg);
}

/* Read a page of the buffer, which is taken for a segment until it is mapped. */
static int test_page_run(struct test_io *tio, struct blk_dmabuf *reg,
			 struct gendisk *disk, unsigned int offset)
{
	struct iov_iter iter;

	test_io_build(tio, reg, disk);
	iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, offset, SZ_4K);
	bio_dmabuf_set(&tio->bio, &iter);
	submit_bio(&tio->bio);
	wait_for_completion(&tio->done);
	return blk_status_to_errno(tio->bio.bi_status);
}

/* Half of the second page is in one range, and half in the next. */
static void test_page_is_mapped_as_it_is(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;

	KUNIT_ASSERT_NOT_NULL(test, tio);
	blk_dmabuf_get_user();
	reg = test_attach(ctx);
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, 0, test_page_run(tio, reg, ctx->own.disk, SZ_4K));
	KUNIT_EXPECT_NULL(test, tio->io.missed);
	blk_dmabuf_release(reg);
	reg = test_attach_split(ctx);
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			test_page_run(tio, reg, ctx->own.disk, SZ_4K));
	KUNIT_EXPECT_PTR_EQ(test, (const struct device *)ctx->dev,
			    tio->io.missed);
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* @offset and @len of the buffer, whose pages do not touch, are in @sgl. */
static void expect_sg(struct kunit *test, struct scatterlist *sgl, int nents,
		      unsigned int offset, unsigned int len)
{
	struct test_ctx *ctx = test->priv;
	struct scatterlist *sg;
	int i;

	KUNIT_ASSERT_GT(test, nents, 0);
	for_each_sg(sgl, sg, nents, i) {
		unsigned int in_page = offset_in_page(offset);
		unsigned int bytes = min(len, PAGE_SIZE - in_page);

		KUNIT_EXPECT_NULL(test, sg_page(sg));
		KUNIT_EXPECT_EQ(test, in_page, sg->offset);
		KUNIT_EXPECT_EQ(test, bytes, sg->length);
		KUNIT_EXPECT_EQ(test, bytes, sg_dma_len(sg));
		KUNIT_EXPECT_EQ(test, SZ_1G + in_page +
				(offset >> PAGE_SHIFT) * ctx->stride,
				sg_dma_address(sg));
		KUNIT_EXPECT_EQ(test, i == nents - 1, !!sg_is_last(sg));
		offset += bytes;
		len -= bytes;
	}
	KUNIT_EXPECT_EQ(test, 0, len);
}

/* Read @len at @offset of the buffer through a scatterlist. */
static void test_sg_run(struct kunit *test, struct blk_dmabuf *reg,
			unsigned int offset, unsigned int len)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_ctx *ctx = test->priv;
	struct iov_iter iter;

	KUNIT_ASSERT_NOT_NULL(test, tio);
	test_io_build(tio, reg, ctx->own.disk);
	iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, offset, len);
	bio_dmabuf_set(&tio->bio, &iter);
	submit_bio(&tio->bio);
	wait_for_completion(&tio->done);
	KUNIT_EXPECT_EQ(test, BLK_STS_OK, tio->bio.bi_status);
}

static void test_sg_up(struct kunit *test, struct blk_dmabuf **reg)
{
	struct test_ctx *ctx = test->priv;

	ctx->own.sgl = kunit_kcalloc(test, TEST_PAGES, sizeof(*ctx->own.sgl),
				     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->own.sgl);
	sg_init_table(ctx->own.sgl, TEST_PAGES);
	*reg = test_attach(ctx);
	blk_dmabuf_get_user();
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(*reg));
}

/* A list is used again, for more and for less, as drivers may do. */
static void test_scatterlist(struct kunit *test)
{
	static const struct { unsigned int offset, len; int nents; } cases[] = {
		{ 0, TEST_BYTES, TEST_PAGES },
		{ 512, TEST_BYTES - 1024, TEST_PAGES },
		{ PAGE_SIZE + 1024, 512, 1 },
		{ PAGE_SIZE - 512, 1024, 2 },
		{ 0, TEST_BYTES, TEST_PAGES },
	};
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;
	int i;

	test_sg_up(test, &reg);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		test_sg_run(test, reg, cases[i].offset, cases[i].len);
		KUNIT_EXPECT_EQ(test, cases[i].nents, ctx->own.ranges);
		expect_sg(test, ctx->own.sgl, ctx->own.ranges, cases[i].offset,
			  cases[i].len);
	}
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* Pieces of less than a page, and of pages, that the application wants as one. */
struct parts_case {
	const char *name;
	struct blk_dmabuf_part part[3];
	unsigned int nr;
	blk_status_t status;
	int requests;
	int ranges;
};

static const struct parts_case parts_cases[] = {
	{ "pages", {
		{ 3 * PAGE_SIZE, 0 }, { PAGE_SIZE, PAGE_SIZE },
		{ .start = 2 * PAGE_SIZE }
	}, 2, BLK_STS_OK, 1, 2 },
	{ "the end of a page and the beginning of one", {
		{ 3 * PAGE_SIZE - 512, 0 }, { PAGE_SIZE, 512 },
		{ .start = 1024 }
	}, 2, BLK_STS_OK, 1, 2 },
	{ "a part in two ranges", {
		{ PAGE_SIZE, 0 }, { 2 * PAGE_SIZE, PAGE_SIZE },
		{ .start = 3 * PAGE_SIZE }
	}, 2, BLK_STS_OK, 1, 3 },
	{ "blocks that are no pages: split", {
		{ 0, 0 }, { 2 * PAGE_SIZE, 512 }, { .start = 1024 }
	}, 2, BLK_STS_OK, 2, 2 },
	{ "no blocks: refused", {
		{ 0, 0 }, { 2 * PAGE_SIZE, 256 }, { .start = 512 }
	}, 2, BLK_STS_NOTSUPP, 0, 0 },
};

static void test_parts_run(struct kunit *test, struct blk_dmabuf *reg,
			   const struct parts_case *c)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf_parts *parts;
	struct test_io *tio;
	struct iov_iter iter;

	tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	parts = kunit_kzalloc(test, struct_size(parts, part, c->nr + 1),
			      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tio);
	KUNIT_ASSERT_NOT_NULL(test, parts);
	parts->nr = c->nr;
	memcpy(parts->part, c->part, sizeof(*parts->part) * (c->nr + 1));
	ctx->own.requests = 0;
	ctx->own.ranges = 0;
	test_io_build(tio, reg, ctx->own.disk);
	tio->io.parts = parts;
	iov_iter_dmabuf(&iter, ITER_DEST, &tio->io, 0, c->part[c->nr].start);
	bio_dmabuf_set(&tio->bio, &iter);
	submit_bio(&tio->bio);
	wait_for_completion(&tio->done);
	KUNIT_EXPECT_EQ_MSG(test, c->status, tio->bio.bi_status, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, c->requests, ctx->own.requests, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, c->ranges, ctx->own.ranges, "%s", c->name);
	KUNIT_EXPECT_EQ_MSG(test, c->status ? BLK_DMABUF_LAYOUT : BLK_DMABUF_OK,
			    tio->io.refused, "%s", c->name);
}

/* A device that wants whole pages between parts. */
static void test_parts(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg = test_attach(ctx);
	int i;

	blk_dmabuf_get_user();
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	for (i = 0; i < ARRAY_SIZE(parts_cases); i++)
		test_parts_run(test, reg, &parts_cases[i]);
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* A scatterlist of parts: each begins where the application said. */
static void test_parts_in_a_scatterlist(struct kunit *test)
{
	const struct parts_case *c = &parts_cases[1];
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;

	test_sg_up(test, &reg);
	test_parts_run(test, reg, c);
	KUNIT_EXPECT_EQ(test, SZ_1G + 2 * ctx->stride + PAGE_SIZE - 512,
			sg_dma_address(&ctx->own.sgl[0]));
	KUNIT_EXPECT_EQ(test, 512, sg_dma_len(&ctx->own.sgl[0]));
	KUNIT_EXPECT_EQ(test, SZ_1G + ctx->stride,
			sg_dma_address(&ctx->own.sgl[1]));
	KUNIT_EXPECT_EQ(test, 512, sg_dma_len(&ctx->own.sgl[1]));
	KUNIT_EXPECT_TRUE(test, sg_is_last(&ctx->own.sgl[1]));
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

/* SCSI completes zero bytes before each retry, and what was good if it can. */
static void test_partial_completion(struct kunit *test)
{
	static const struct { unsigned int bytes; int nents; } cases[] = {
		{ 0, TEST_PAGES },
		{ 512, TEST_PAGES },
		{ PAGE_SIZE, TEST_PAGES - 1 },
		{ PAGE_SIZE + 512, TEST_PAGES - 1 },
		{ TEST_BYTES - 512, 1 },
	};
	struct test_ctx *ctx = test->priv;
	struct test_disk *own = &ctx->own;
	struct blk_dmabuf *reg;
	int i;

	test_sg_up(test, &reg);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		own->requests = 0;
		own->part = true;
		own->part_bytes = cases[i].bytes;
		test_sg_run(test, reg, 0, TEST_BYTES);
		/* the rest came again, and nothing but the rest */
		KUNIT_EXPECT_EQ(test, 2, own->requests);
		KUNIT_EXPECT_EQ(test, cases[i].nents, own->ranges);
		expect_sg(test, own->sgl, own->ranges, cases[i].bytes,
			  TEST_BYTES - cases[i].bytes);
	}
	blk_dmabuf_put_user();
	blk_dmabuf_release(reg);
}

static void test_stacking_takes_the_least(struct kunit *test)
{
	struct queue_limits top, can = {
		.logical_block_size	= 512,
		.physical_block_size	= 512,
		.io_min			= 512,
		.max_dmabuf_sectors	= 8,
	};
	struct queue_limits cannot = can;

	cannot.max_dmabuf_sectors = 0;
	blk_set_stacking_limits(&top);
	blk_stack_limits(&top, &can, 0);
	KUNIT_EXPECT_EQ(test, 0, top.max_dmabuf_sectors);
	top.max_dmabuf_sectors = 64;
	blk_stack_limits(&top, &can, 0);
	KUNIT_EXPECT_EQ(test, 8, top.max_dmabuf_sectors);
	blk_stack_limits(&top, &cannot, 0);
	KUNIT_EXPECT_EQ(test, 0, top.max_dmabuf_sectors);
}

static u64 refused(enum blk_dmabuf_reason reason)
{
	return atomic64_read(&blk_dmabuf_refused[reason]);
}

/* Whatever has a DMA device gets it mapped; what has not refuses. */
static void test_which_disks_take_a_bio(struct kunit *test)
{
	struct test_io *tio = kunit_kzalloc(test, sizeof(*tio), GFP_KERNEL);
	struct test_disk *other, *cannot;
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;
	struct device *dev;
	u64 before;

	other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	cannot = kunit_kzalloc(test, sizeof(*cannot), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tio);
	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_ASSERT_NOT_NULL(test, cannot);
	dev = kunit_device_register(test, "blk-dmabuf-dev2");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	test_disk_up(test, other, "blk-dmabuf-other", dev, 64);
	test_disk_up(test, cannot, "blk-dmabuf-cannot", dev, 0);
	blk_dmabuf_get_user();
	reg = test_attach(ctx);
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, 0, test_io_run(tio, reg, ctx->own.disk));
	KUNIT_EXPECT_EQ(test, 1, ctx->own.requests);

	/* as below a stack: it says which device is to be mapped for */
	KUNIT_EXPECT_EQ(test, -EAGAIN, test_io_run(tio, reg, other->disk));
	KUNIT_EXPECT_PTR_EQ(test, dev, tio->io.missed);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_missed(&tio->io));
	KUNIT_EXPECT_EQ(test, 2, ctx->attached);
	KUNIT_EXPECT_EQ(test, 0, test_io_run(tio, reg, other->disk));
	KUNIT_EXPECT_EQ(test, 1, other->requests);

	before = refused(BLK_DMABUF_NO_DRIVER);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_io_run(tio, reg, cannot->disk));
	KUNIT_EXPECT_EQ(test, before + 1, refused(BLK_DMABUF_NO_DRIVER));
	KUNIT_EXPECT_EQ(test, 0, cannot->requests);

	blk_dmabuf_put_user();
	test_disk_down(other);
	test_disk_down(cannot);
	KUNIT_EXPECT_EQ(test, 1, ctx->attached);
	blk_dmabuf_release(reg);
}

/*
 * CPU access.
 */

/* Registered on @disk so that it may be copied, which has to be for @reason. */
static struct blk_dmabuf *test_attach_copy(struct test_ctx *ctx,
					   struct gendisk *disk,
					   enum blk_dmabuf_reason reason)
{
	struct blk_dmabuf_attach args = { .flags = BLK_DMABUF_ATTACH_COPY };
	struct blk_dmabuf *reg;

	reg = blk_dmabuf_attach(disk, ctx->dmabuf, &args);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(ctx->test, reg);
	KUNIT_EXPECT_EQ(ctx->test, reason, args.reason);
	KUNIT_EXPECT_EQ(ctx->test, BLK_DMABUF_F_MAY_COPY |
			(reason ? BLK_DMABUF_F_COPY : 0),
			blk_dmabuf_get_flags(reg) &
			(BLK_DMABUF_F_MAY_COPY | BLK_DMABUF_F_COPY));
	return reg;
}

/* Begin and end; what begin says. */
static int test_cpu(struct blk_dmabuf *reg, bool write,
		    enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_cpu cpu;
	int error;

	error = blk_dmabuf_cpu_begin(&cpu, reg, write, reason);
	if (error)
		return error;
	if (write)
		iosys_map_memcpy_to(&cpu.map, 4, "copy", 4);
	blk_dmabuf_cpu_end(&cpu);
	return 0;
}

static void test_cpu_maps_once(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	enum blk_dmabuf_reason reason;
	struct blk_dmabuf *reg;

	reg = test_attach_copy(ctx, ctx->own.disk, BLK_DMABUF_OK);
	blk_dmabuf_cpu_get(reg);
	KUNIT_EXPECT_EQ(test, 0, ctx->vmaps);
	KUNIT_EXPECT_EQ(test, 0, test_cpu(reg, true, &reason));
	KUNIT_EXPECT_EQ(test, 0, test_cpu(reg, false, &reason));
	KUNIT_EXPECT_EQ(test, 1, ctx->vmaps);
	KUNIT_EXPECT_EQ(test, 1, ctx->vmapped);
	KUNIT_EXPECT_MEMEQ(test, ctx->mem + 4, "copy", 4);
	/* with the last slot it goes, and comes again if it is needed */
	blk_dmabuf_cpu_put(reg);
	KUNIT_EXPECT_EQ(test, 0, ctx->vmapped);
	KUNIT_EXPECT_EQ(test, 0, test_cpu(reg, true, &reason));
	KUNIT_EXPECT_EQ(test, 2, ctx->vmaps);
	KUNIT_EXPECT_EQ(test, 0, ctx->vmapped);
	blk_dmabuf_release(reg);
}

static void test_cpu_ends_with_the_registration(struct kunit *test)
{
	enum blk_dmabuf_reason reason = BLK_DMABUF_OK;
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg, *slot;

	reg = test_attach_copy(ctx, ctx->own.disk, BLK_DMABUF_OK);
	slot = blk_dmabuf_find(ctx->own.disk, ctx->dmabuf);
	KUNIT_ASSERT_PTR_EQ(test, reg, slot);
	blk_dmabuf_cpu_get(slot);
	KUNIT_EXPECT_EQ(test, 0, test_cpu(slot, true, &reason));
	KUNIT_EXPECT_EQ(test, 1, ctx->vmapped);
	blk_dmabuf_release(reg);
	KUNIT_EXPECT_EQ(test, 0, ctx->vmapped);
	KUNIT_EXPECT_EQ(test, -ENODEV, test_cpu(slot, true, &reason));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_IS_DEAD, reason);
	KUNIT_EXPECT_EQ(test, 1, ctx->vmaps);
	blk_dmabuf_cpu_put(slot);
	blk_dmabuf_put(slot);
}

static void test_cpu_has_no_access(struct kunit *test)
{
	struct blk_dmabuf_attach args = { .flags = BLK_DMABUF_ATTACH_COPY };
	struct test_ctx *ctx = test->priv;
	enum blk_dmabuf_reason reason;
	struct blk_dmabuf *reg;

	ctx->no_vmap = true;
	test_export_again(ctx, O_RDWR);
	/* one that can be mapped is registered all the same */
	reg = test_attach_copy(ctx, ctx->own.disk, BLK_DMABUF_OK);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, test_cpu(reg, true, &reason));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_NO_CPU, reason);
	blk_dmabuf_release(reg);
	ctx->attach_error = -ENOTTY;
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
			    blk_dmabuf_attach(ctx->own.disk, ctx->dmabuf,
					      &args));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_NO_CPU, args.reason);
}

static u32 test_state(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_info info;

	blk_dmabuf_get_info(reg, &info);
	return info.state;
}

static void test_what_is_copied_is_attached_to_nothing(struct kunit *test)
{
	struct test_disk *cannot = kunit_kzalloc(test, sizeof(*cannot),
						 GFP_KERNEL);
	struct blk_dmabuf_attach args = { .flags = BLK_DMABUF_ATTACH_COPY };
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *disk, *nodev;

	KUNIT_ASSERT_NOT_NULL(test, cannot);
	test_disk_up(test, cannot, "blk-dmabuf-test-c", ctx->dev, 0);
	disk = test_attach_copy(ctx, cannot->disk, BLK_DMABUF_NO_DRIVER);
	nodev = test_attach_copy(ctx, NULL, BLK_DMABUF_FILE_SYSTEM);
	KUNIT_EXPECT_EQ(test, 0, ctx->attached);
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_UNMAPPED, test_state(disk));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_UNMAPPED, test_state(nodev));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(disk));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(nodev));
	KUNIT_EXPECT_EQ(test, 0, ctx->attached);

	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EEXIST),
			    blk_dmabuf_attach(NULL, ctx->dmabuf, &args));
	KUNIT_EXPECT_EQ(test, nodev->id, args.id);
	KUNIT_EXPECT_NULL(test, blk_dmabuf_find(ctx->own.disk, ctx->dmabuf));

	test_disk_down(cannot);
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_DEAD, test_state(disk));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_UNMAPPED, test_state(nodev));
	blk_dmabuf_release(disk);
	blk_dmabuf_release(nodev);
}

static struct kunit_case cpu_cases[] = {
	KUNIT_CASE(test_cpu_maps_once),
	KUNIT_CASE(test_cpu_ends_with_the_registration),
	KUNIT_CASE(test_cpu_has_no_access),
	KUNIT_CASE(test_what_is_copied_is_attached_to_nothing),
	{}
};

static struct kunit_suite cpu_suite = {
	.name		= "blk-dmabuf-cpu",
	.init		= life_init,
	.exit		= life_exit,
	.test_cases	= cpu_cases,
};

static struct kunit_case bio_cases[] = {
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_page_is_not_split),
	KUNIT_CASE(test_page_is_mapped_as_it_is),
	KUNIT_CASE(test_scatterlist),
	KUNIT_CASE(test_parts),
	KUNIT_CASE(test_parts_in_a_scatterlist),
	KUNIT_CASE(test_partial_completion),
	KUNIT_CASE(test_stacking_takes_the_least),
	KUNIT_CASE(test_which_disks_take_a_bio),
	{}
};

static struct kunit_suite bio_suite = {
	.name		= "blk-dmabuf-bio",
	.init		= life_init,
	.exit		= life_exit,
	.test_cases	= bio_cases,
};

kunit_test_suites(&index_suite, &life_suite, &bio_suite, &cpu_suite);

MODULE_DESCRIPTION("KUnit tests for block I/O on dma-bufs");
MODULE_LICENSE("GPL");
