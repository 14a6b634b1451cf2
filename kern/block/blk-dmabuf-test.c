// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for dma-buf registrations: the range index against a linear walk,
 * the life of mappings against an exporter that counts, and bios against limits
 * and queues that no device at hand has.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "blk-dmabuf.h"

/*
 * Range index.
 */

static struct blk_dmabuf_map *test_map(struct kunit *test, unsigned int ranges)
{
	struct blk_dmabuf_map *map = blk_dmabuf_map_alloc(NULL, ranges);

	KUNIT_ASSERT_NOT_NULL(test, map);
	return map;
}

static void test_add_merges_what_touches(struct kunit *test)
{
	struct blk_dmabuf_map *map = test_map(test, 4);

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x1000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x2000, 0x3000, true));
	KUNIT_EXPECT_EQ(test, 1, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0x4000, map->ranges[1].start);
	/* not touching, then touching but kept apart, then below */
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x6000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 2, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x7000, 0x1000, false));
	KUNIT_EXPECT_EQ(test, 3, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x5000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 4, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 0x7000, map->ranges[4].start);
	blk_dmabuf_map_free(map);
}

static void test_add_refuses_too_many(struct kunit *test)
{
	struct blk_dmabuf_map *map = test_map(test, 1);

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map_add(map, 0x1000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, -E2BIG,
			blk_dmabuf_map_add(map, 0x9000, 0x1000, true));
	KUNIT_EXPECT_EQ(test, 1, map->nr_ranges);
	blk_dmabuf_map_free(map);
}

/* An offset in a range has to fit into bvec_iter, also behind 4 GiB. */
static void test_add_keeps_ranges_countable(struct kunit *test)
{
	struct blk_dmabuf_map *map = test_map(test, 16);
	struct bvec_iter iter = { .bi_size = UINT_MAX };
	u64 addr = SZ_4G;
	int i;

	for (i = 0; i < 10; i++, addr += SZ_1G)
		KUNIT_EXPECT_EQ(test, 0,
				blk_dmabuf_map_add(map, addr, SZ_1G, true));
	KUNIT_EXPECT_EQ(test, 5, map->nr_ranges);
	KUNIT_EXPECT_EQ(test, 4, blk_dmabuf_map_find(map, 10ULL * SZ_1G - 1));
	blk_dmabuf_map_advance(map, &iter, SZ_2G - 1);
	KUNIT_EXPECT_EQ(test, 0, iter.bi_idx);
	KUNIT_EXPECT_EQ(test, SZ_2G - 1, iter.bi_offset);
	blk_dmabuf_map_advance(map, &iter, SZ_2G - 1);
	KUNIT_EXPECT_EQ(test, 1, iter.bi_idx);
	KUNIT_EXPECT_EQ(test, SZ_2G - 2, iter.bi_offset);
	blk_dmabuf_map_free(map);
}

static unsigned int linear_find(const struct blk_dmabuf_map *map, u64 offset)
{
	unsigned int i = 0;

	while (map->ranges[i + 1].start <= offset)
		i++;
	return i;
}

static struct blk_dmabuf_map *random_map(struct kunit *test,
					 struct rnd_state *rnd)
{
	unsigned int ranges = 1 + prandom_u32_state(rnd) % 100, i;
	struct blk_dmabuf_map *map = test_map(test, ranges);
	u64 addr = SZ_1M;

	for (i = 0; i < ranges; i++) {
		u32 len = 4 * (1 + prandom_u32_state(rnd) % 4096);

		/* a gap each, so that none merge */
		KUNIT_ASSERT_EQ(test, 0,
				blk_dmabuf_map_add(map, addr, len, true));
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
		struct blk_dmabuf_map *map = random_map(test, &rnd);
		u64 size = map->ranges[map->nr_ranges].start;
		unsigned int i;

		for (i = 0; i < map->nr_ranges; i++) {
			u64 start = map->ranges[i].start;

			KUNIT_EXPECT_EQ(test, i,
					blk_dmabuf_map_find(map, start));
			if (!i)
				continue;
			start--;
			KUNIT_EXPECT_EQ(test, i - 1,
					blk_dmabuf_map_find(map, start));
		}
		for (i = 0; i < 100; i++) {
			u64 offset = prandom_u32_state(&rnd) % size;

			KUNIT_EXPECT_EQ(test, linear_find(map, offset),
					blk_dmabuf_map_find(map, offset));
		}
		blk_dmabuf_map_free(map);
	}
}

static void test_advance_equals_find(struct kunit *test)
{
	struct rnd_state rnd;
	int round;

	prandom_seed_state(&rnd, 43);
	for (round = 0; round < 200; round++) {
		struct blk_dmabuf_map *map = random_map(test, &rnd);
		u64 size = map->ranges[map->nr_ranges].start, offset = 0;
		struct bvec_iter iter = { .bi_size = size };

		while (iter.bi_size) {
			u32 step = 1 + prandom_u32_state(&rnd) % 40000;

			step = min(step, iter.bi_size);
			offset += step;
			blk_dmabuf_map_advance(map, &iter, step);
			if (offset == size)
				break;
			KUNIT_EXPECT_EQ(test, iter.bi_idx,
					blk_dmabuf_map_find(map, offset));
			KUNIT_EXPECT_EQ(test, iter.bi_offset, offset -
					map->ranges[iter.bi_idx].start);
		}
		KUNIT_EXPECT_EQ(test, 0, iter.bi_size);
		KUNIT_EXPECT_EQ(test, map->nr_ranges, iter.bi_idx);
		KUNIT_EXPECT_EQ(test, 0, iter.bi_offset);
		blk_dmabuf_map_free(map);
	}
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
		struct blk_dmabuf_map *map = test_map(test, 2);

		blk_dmabuf_map_add(map, c->first, c->first_len, true);
		blk_dmabuf_map_add(map, c->second, 0x200, true);
		KUNIT_EXPECT_EQ_MSG(test, c->prp,
				    blk_dmabuf_map_fits(map, &prp), "%s", c->name);
		KUNIT_EXPECT_EQ_MSG(test, c->sgl,
				    blk_dmabuf_map_fits(map, &sgl), "%s", c->name);
		blk_dmabuf_map_free(map);
	}
}

static struct kunit_case index_cases[] = {
	KUNIT_CASE(test_add_merges_what_touches),
	KUNIT_CASE(test_add_refuses_too_many),
	KUNIT_CASE(test_add_keeps_ranges_countable),
	KUNIT_CASE(test_find_equals_linear_walk),
	KUNIT_CASE(test_advance_equals_find),
	KUNIT_CASE(test_fits),
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

struct test_ctx {
	struct kunit	*test;
	struct gendisk	*disk;
	struct device	*dev;
	struct dma_buf	*dmabuf;
	int		attached;
	int		mapped;
	int		released;
	int		map_error;
	dma_addr_t	stride;
};

static int exp_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct test_ctx *ctx = dmabuf->priv;

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

static const struct dma_buf_ops exp_ops = {
	.attach		= exp_attach,
	.detach		= exp_detach,
	.map_dma_buf	= exp_map,
	.unmap_dma_buf	= exp_unmap,
	.release	= exp_release,
};

static void disk_submit_bio(struct bio *bio)
{
	bio_io_error(bio);
}

static const struct block_device_operations disk_ops = {
	.owner		= THIS_MODULE,
	.submit_bio	= disk_submit_bio,
};

static struct dma_buf *test_export(struct test_ctx *ctx, int flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp);

	exp.ops = &exp_ops;
	exp.size = TEST_BYTES;
	exp.flags = flags;
	exp.priv = ctx;
	return dma_buf_export(&exp);
}

static struct gendisk *test_disk(struct kunit *test, const char *name)
{
	struct queue_limits lim = {
		.dma_alignment = 3, .virt_boundary_mask = PAGE_SIZE - 1,
	};
	struct gendisk *disk = blk_alloc_disk(&lim, NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, disk);
	disk->fops = &disk_ops;
	disk->flags |= GENHD_FL_NO_PART;
	strscpy(disk->disk_name, name);
	KUNIT_ASSERT_EQ(test, 0, add_disk(disk));
	return disk;
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
	ctx->disk = test_disk(test, "blk-dmabuf-test");
	ctx->dmabuf = test_export(ctx, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->dmabuf);
	return 0;
}

/* Whatever a test did, the exporter has everything back. */
static void life_exit(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;

	if (disk_live(ctx->disk))
		del_gendisk(ctx->disk);
	KUNIT_EXPECT_EQ(test, 0, ctx->mapped);
	KUNIT_EXPECT_EQ(test, 0, ctx->attached);
	dma_buf_put(ctx->dmabuf);
	/* fput() from a kernel thread is deferred. */
	flush_delayed_fput();
	KUNIT_EXPECT_EQ(test, 1, ctx->released);
	put_disk(ctx->disk);
}

static struct blk_dmabuf *test_attach(struct test_ctx *ctx)
{
	struct blk_dmabuf_attach args = {};
	struct blk_dmabuf *reg;

	reg = blk_dmabuf_attach(ctx->disk, ctx->dev, ctx->dmabuf, &args);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(ctx->test, reg);
	KUNIT_EXPECT_EQ(ctx->test, BLK_DMABUF_OK, args.reason);
	return reg;
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
	KUNIT_EXPECT_NULL(test, blk_dmabuf_get_map(reg));
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

static void test_invalidate_waits_for_io(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct invalidate_work w = { .ctx = test->priv };
	struct blk_dmabuf_map *map;

	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));
	map = blk_dmabuf_get_map(reg);
	KUNIT_ASSERT_NOT_NULL(test, map);

	init_completion(&w.done);
	INIT_WORK_ONSTACK(&w.work, invalidate_fn);
	queue_work(system_dfl_wq, &w.work);
	/* it gets nowhere, and nobody gets the map, while one has it */
	KUNIT_EXPECT_EQ(test, 0, wait_for_completion_timeout(&w.done, HZ / 5));
	KUNIT_EXPECT_EQ(test, 1, w.ctx->mapped);
	KUNIT_EXPECT_NULL(test, blk_dmabuf_get_map(reg));
	percpu_ref_put(&map->ref);
	wait_for_completion(&w.done);
	destroy_work_on_stack(&w.work);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 1, 1);
	blk_dmabuf_release(reg);
}

static void test_failed_map_leaves_nothing(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct test_ctx *ctx = test->priv;

	ctx->map_error = -ENXIO;
	KUNIT_EXPECT_EQ(test, -ENXIO, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_MAP_FAILED, reg->reason);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 0, 0);

	ctx->map_error = 0;
	ctx->stride = PAGE_SIZE + 512;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_LAYOUT, reg->reason);
	expect_info(test, reg, BLK_DMABUF_UNMAPPED, 0, 0);

	ctx->stride = PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_OK, reg->reason);
	expect_info(test, reg, BLK_DMABUF_LIVE, 1, 0);
	blk_dmabuf_release(reg);
}

static void test_second_registration_is_refused(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv);
	struct blk_dmabuf_attach args = {};
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *other;

	other = blk_dmabuf_attach(ctx->disk, ctx->dev, ctx->dmabuf, &args);
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
	del_gendisk(ctx->disk);
	expect_info(test, reg, BLK_DMABUF_DEAD, 1, 0);
	KUNIT_EXPECT_EQ(test, -ENODEV, blk_dmabuf_map(reg));
	KUNIT_EXPECT_EQ(test, -ENODEV, blk_dmabuf_unmap(reg));
	KUNIT_EXPECT_NULL(test, blk_dmabuf_get_map(reg));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENODEV),
			    blk_dmabuf_attach(ctx->disk, ctx->dev, ctx->dmabuf,
					      &args));
	KUNIT_EXPECT_EQ(test, BLK_DMABUF_NO_DEVICE, args.reason);
	blk_dmabuf_release(reg);
}

static void test_other_disk_goes_away(struct kunit *test)
{
	struct gendisk *other = test_disk(test, "blk-dmabuf-other");
	struct blk_dmabuf *reg = test_attach(test->priv);

	KUNIT_EXPECT_EQ(test, 0, blk_dmabuf_map(reg));
	del_gendisk(other);
	put_disk(other);
	expect_info(test, reg, BLK_DMABUF_LIVE, 1, 0);
	blk_dmabuf_release(reg);
}

static void test_slot_outlives_owner(struct kunit *test)
{
	struct blk_dmabuf *reg = test_attach(test->priv), *slot;
	struct test_ctx *ctx = test->priv;

	slot = blk_dmabuf_find(ctx->disk, ctx->dmabuf);
	KUNIT_ASSERT_PTR_EQ(test, reg, slot);
	blk_dmabuf_release(reg);
	expect_info(test, slot, BLK_DMABUF_DEAD, 0, 0);
	KUNIT_EXPECT_NULL(test, blk_dmabuf_find(ctx->disk, ctx->dmabuf));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    blk_dmabuf_get_dmabuf(slot->id));
	blk_dmabuf_put(slot);
}

static void test_read_only_buffer(struct kunit *test)
{
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;

	dma_buf_put(ctx->dmabuf);
	flush_delayed_fput();
	ctx->released = 0;
	ctx->dmabuf = test_export(ctx, O_RDONLY);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->dmabuf);
	reg = test_attach(ctx);
	KUNIT_EXPECT_EQ(test, DMA_TO_DEVICE, reg->dir);
	blk_dmabuf_release(reg);
}

static struct kunit_case life_cases[] = {
	KUNIT_CASE(test_maps_once_and_again),
	KUNIT_CASE(test_exporter_invalidates),
	KUNIT_CASE(test_invalidate_waits_for_io),
	KUNIT_CASE(test_failed_map_leaves_nothing),
	KUNIT_CASE(test_second_registration_is_refused),
	KUNIT_CASE(test_disk_goes_away),
	KUNIT_CASE(test_other_disk_goes_away),
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
	{ "gap ends it", 0, 8192, SZ_1M, 128, 4095, 0, 12, 2 },
	{ "behind the gap", 6144, 2048, SZ_1M, 128, 4095, 0, 0, 1 },
	{ "too many segments", 0, 8192, SZ_1M, 1, 0, 0, 8, 1 },
	{ "too large", 0, 8192, 5120, 128, 0, 0, 10, 2 },
	{ "largest", 0, 8192, 8192, 128, 0, 0, 0, 3 },
	{ "no part may be ahead", 0, 8192, 4096, 128, 0, REQ_NOWAIT, -EAGAIN },
	{ "atomic", 0, 8192, 4096, 128, 0, REQ_ATOMIC, -EINVAL },
	{ "less than a block", 0, 8192, 256, 128, 0, 0, -EINVAL },
	{ "address unaligned", 2, 4096, SZ_1M, 128, 0, 0, -EINVAL },
};

static void test_split(struct kunit *test)
{
	struct blk_dmabuf_io io = { .map = test_map(test, 3) };
	struct iov_iter iter;
	struct bio bio;
	int i;

	blk_dmabuf_map_add(io.map, 0x1000, 0x1000, true);
	blk_dmabuf_map_add(io.map, 0x5000, 0x800, true);
	blk_dmabuf_map_add(io.map, 0x9000, 0x1000, true);
	for (i = 0; i < ARRAY_SIZE(split_cases); i++) {
		const struct split_case *c = &split_cases[i];
		const struct queue_limits lim = {
			.dma_alignment		= 3,
			.logical_block_size	= 512,
			.max_segments		= c->max_segments,
			.max_segment_size	= UINT_MAX,
			.seg_boundary_mask	= ULONG_MAX,
			.virt_boundary_mask	= c->virt_boundary,
		};
		unsigned int segs = 0;

		bio_init(&bio, NULL, NULL, 0, REQ_OP_READ | c->opf);
		iov_iter_dmabuf(&iter, ITER_DEST, &io, c->offset, c->len);
		bio_dmabuf_set(&bio, &iter);
		KUNIT_EXPECT_EQ_MSG(test, c->result,
				    bio_dmabuf_split_at(&bio, &lim, &segs,
							c->max_bytes), "%s",
				    c->name);
		KUNIT_EXPECT_EQ_MSG(test, c->segs, segs, "%s", c->name);
	}
	blk_dmabuf_map_free(io.map);
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

/* A disk whose driver takes premapped requests and does nothing with them. */
struct test_mq {
	struct blk_mq_tag_set	set;
	struct gendisk		*disk;
	int			requests;
};

static blk_status_t mq_queue_rq(struct blk_mq_hw_ctx *hctx,
				const struct blk_mq_queue_data *bd)
{
	struct test_mq *mq = hctx->queue->tag_set->driver_data;

	mq->requests++;
	blk_mq_start_request(bd->rq);
	blk_mq_end_request(bd->rq, BLK_STS_OK);
	return BLK_STS_OK;
}

static struct device *mq_dma_dev(struct blk_mq_tag_set *set)
{
	return NULL;
}

static const struct blk_mq_ops mq_ops = {
	.queue_rq	= mq_queue_rq,
	.dma_dev	= mq_dma_dev,
};

static const struct block_device_operations mq_disk_ops = {
	.owner		= THIS_MODULE,
};

static void mq_up(struct kunit *test, struct test_mq *mq, const char *name,
		  unsigned int max_dmabuf_sectors)
{
	struct queue_limits lim = { .max_dmabuf_sectors = max_dmabuf_sectors };

	mq->set = (struct blk_mq_tag_set) {
		.ops		= &mq_ops,
		.nr_hw_queues	= 1,
		.queue_depth	= 1,
		.numa_node	= NUMA_NO_NODE,
		.flags		= BLK_MQ_F_BLOCKING,
		.driver_data	= mq,
	};
	KUNIT_ASSERT_EQ(test, 0, blk_mq_alloc_tag_set(&mq->set));
	mq->disk = blk_mq_alloc_disk(&mq->set, &lim, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mq->disk);
	mq->disk->fops = &mq_disk_ops;
	mq->disk->flags |= GENHD_FL_NO_PART;
	strscpy(mq->disk->disk_name, name);
	set_capacity(mq->disk, 1024);
	KUNIT_ASSERT_EQ(test, 0, add_disk(mq->disk));
}

static void mq_down(struct test_mq *mq)
{
	del_gendisk(mq->disk);
	put_disk(mq->disk);
	blk_mq_free_tag_set(&mq->set);
}

/* An I/O on a mapping of @reg, sent to @disk. */
static int submit_to(struct blk_dmabuf *reg, struct gendisk *disk)
{
	struct blk_dmabuf_chan chan = { .disk = reg->disk };
	struct blk_dmabuf_io io = { .chan = &chan };
	struct iov_iter iter;
	struct bio bio;
	int error;

	io.map = blk_dmabuf_get_map(reg);
	bio_init(&bio, disk->part0, NULL, 0, REQ_OP_READ);
	iov_iter_dmabuf(&iter, ITER_DEST, &io, 0, PAGE_SIZE);
	bio_dmabuf_set(&bio, &iter);
	static_branch_inc(&blk_dmabuf_used);
	error = submit_bio_wait(&bio);
	static_branch_dec(&blk_dmabuf_used);
	percpu_ref_put(&io.map->ref);
	return error;
}

static u64 refused(enum blk_dmabuf_reason reason)
{
	return atomic64_read(&blk_dmabuf_refused[reason]);
}

enum { OWN, OTHER, CANNOT, NR_MQ };

static void test_only_its_own_disk_gets_a_bio(struct kunit *test)
{
	struct blk_dmabuf_attach args = {};
	struct test_ctx *ctx = test->priv;
	struct blk_dmabuf *reg;
	struct test_mq *mq;
	u64 before;
	int i;

	mq = kunit_kcalloc(test, NR_MQ, sizeof(*mq), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mq);
	mq_up(test, &mq[OWN], "dmabuf-own", 64);
	mq_up(test, &mq[OTHER], "dmabuf-other", 64);
	mq_up(test, &mq[CANNOT], "dmabuf-cannot", 0);
	reg = blk_dmabuf_attach(mq[OWN].disk, ctx->dev, ctx->dmabuf, &args);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, reg);
	KUNIT_ASSERT_EQ(test, 0, blk_dmabuf_map(reg));

	KUNIT_EXPECT_EQ(test, 0, submit_to(reg, mq[OWN].disk));
	KUNIT_EXPECT_EQ(test, 1, mq[OWN].requests);

	before = refused(BLK_DMABUF_WRONG_DEVICE);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, submit_to(reg, mq[OTHER].disk));
	KUNIT_EXPECT_EQ(test, before + 1, refused(BLK_DMABUF_WRONG_DEVICE));
	KUNIT_EXPECT_EQ(test, 0, mq[OTHER].requests);

	before = refused(BLK_DMABUF_NO_DRIVER);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, submit_to(reg, mq[CANNOT].disk));
	KUNIT_EXPECT_EQ(test, before + 1, refused(BLK_DMABUF_NO_DRIVER));
	KUNIT_EXPECT_EQ(test, 0, mq[CANNOT].requests);

	/* This one has no queue to ask: its driver gets bios. */
	set_capacity(ctx->disk, 1024);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, submit_to(reg, ctx->disk));

	blk_dmabuf_release(reg);
	for (i = 0; i < NR_MQ; i++)
		mq_down(&mq[i]);
}

static struct kunit_case bio_cases[] = {
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_stacking_takes_the_least),
	KUNIT_CASE(test_only_its_own_disk_gets_a_bio),
	{}
};

static struct kunit_suite bio_suite = {
	.name		= "blk-dmabuf-bio",
	.init		= life_init,
	.exit		= life_exit,
	.test_cases	= bio_cases,
};

kunit_test_suites(&index_suite, &life_suite, &bio_suite);

MODULE_DESCRIPTION("KUnit tests for block I/O on dma-bufs");
MODULE_LICENSE("GPL");
