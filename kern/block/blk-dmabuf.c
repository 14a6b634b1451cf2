// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block I/O on dma-bufs: registrations, their DMA mappings, and what the block
 * layer needs to know of a bio that carries one.
 *
 * A registration (struct blk_dmabuf) is a dma-buf attached to the device behind
 * a disk.  Mapping it makes a struct blk_dmabuf_map, published until the
 * exporter invalidates it, the owner unmaps it, or the disk goes away.  Every
 * I/O in flight holds the map it was built on.  Taking a map away is
 * synchronous: unpublish, wait for that I/O, unmap.  No fence is involved.
 *
 * Lock order:
 *
 *	blk_dmabuf_registry -> blk_dmabuf.lock -> dma_buf.resv
 *
 * The exporter calls blk_dmabuf_invalidate() with the resv lock held, so what
 * runs there takes none of the others, and completing an I/O takes no lock.  It
 * may do so in memory reclaim, and then waits for I/O: who has a map in hand
 * and has not passed it to the device must not get there.
 */
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blk-mq-dma.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/sched/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>

#include "blk.h"
#include "blk-dmabuf.h"

#define CREATE_TRACE_POINTS
#include <trace/events/blk_dmabuf.h>

DEFINE_STATIC_KEY_FALSE(blk_dmabuf_used);
EXPORT_SYMBOL_GPL(blk_dmabuf_used);

/*
 * Merging stops here so that an offset in a range, plus the length of any bio,
 * never leaves what bvec_iter can count.
 */
#define BLK_DMABUF_MAX_RANGE	SZ_2G

/* Serialises attaching against itself and against disks that go away. */
static DEFINE_MUTEX(blk_dmabuf_registry);
static DEFINE_XARRAY_ALLOC1(blk_dmabuf_ids);
static u32 blk_dmabuf_next_id;

atomic64_t blk_dmabuf_refused[BLK_DMABUF_NR_REASONS];

#ifdef CONFIG_LOCKDEP
struct lockdep_map blk_dmabuf_map_held =
	STATIC_LOCKDEP_MAP_INIT("blk_dmabuf_map_held", &blk_dmabuf_map_held);

/* Say once what a shrinker of some exporter would, so that it shows at once. */
static int __init blk_dmabuf_teach_lockdep(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	lock_map_acquire(&blk_dmabuf_map_held);
	lock_map_release(&blk_dmabuf_map_held);
	fs_reclaim_release(GFP_KERNEL);
	return 0;
}
late_initcall(blk_dmabuf_teach_lockdep);
#endif

/**
 * blk_dmabuf_refuse - the one way to say no
 * @disk: disk it is about, or NULL
 * @reg: registration on it, or NULL
 * @reason: why
 * @error: what the caller gets to see
 *
 * Return: @error
 */
int blk_dmabuf_refuse(struct gendisk *disk, struct blk_dmabuf *reg,
		      enum blk_dmabuf_reason reason, int error)
{
	atomic64_inc(&blk_dmabuf_refused[reason]);
	if (reg)
		this_cpu_inc(reg->stats->errors);
	trace_blk_dmabuf_refuse(disk ? disk_devt(disk) : 0, reg ? reg->id : 0,
				reason, error);
	return error;
}

/*
 * Range index.
 */

static void blk_dmabuf_map_drained(struct percpu_ref *ref)
{
	struct blk_dmabuf_map *map =
		container_of(ref, struct blk_dmabuf_map, ref);

	complete(&map->drained);
}

struct blk_dmabuf_map *blk_dmabuf_map_alloc(struct blk_dmabuf *reg,
					    unsigned int max_ranges)
{
	struct blk_dmabuf_map *map;

	map = kvzalloc(struct_size(map, ranges, (size_t)max_ranges + 1),
		       GFP_KERNEL_ACCOUNT);
	if (!map)
		return NULL;
	if (percpu_ref_init(&map->ref, blk_dmabuf_map_drained, 0, GFP_KERNEL)) {
		kvfree(map);
		return NULL;
	}
	init_completion(&map->drained);
	map->reg = reg;
	map->max_ranges = max_ranges;
	return map;
}

/* For a map that was never published, or has been drained. */
void blk_dmabuf_map_free(struct blk_dmabuf_map *map)
{
	percpu_ref_exit(&map->ref);
	kvfree(map);
}

static u64 blk_dmabuf_range_len(const struct blk_dmabuf_range *range)
{
	return range[1].start - range[0].start;
}

/**
 * blk_dmabuf_map_add - append DMA addresses to a map that is being built
 * @map: the map, not published yet
 * @addr: DMA address
 * @len: bytes
 * @merge: make one range of it and the previous one where they touch
 *
 * Return: 0, or -E2BIG if the exporter lists more than it announced
 */
int blk_dmabuf_map_add(struct blk_dmabuf_map *map, dma_addr_t addr, u64 len,
		       bool merge)
{
	struct blk_dmabuf_range *end = &map->ranges[map->nr_ranges];

	if (!len)
		return 0;
	if (merge && map->nr_ranges) {
		u64 prev = blk_dmabuf_range_len(end - 1);

		if (end[-1].addr + prev == addr &&
		    prev + len <= BLK_DMABUF_MAX_RANGE) {
			end->start += len;
			return 0;
		}
	}
	if (map->nr_ranges == map->max_ranges)
		return -E2BIG;
	end->addr = addr;
	end[1].start = end->start + len;
	map->nr_ranges++;
	return 0;
}

/**
 * blk_dmabuf_map_find - find the range that holds an offset
 * @map: the map
 * @offset: byte in the buffer, less than its size
 *
 * Return: index of the last range that starts at or before @offset
 */
unsigned int blk_dmabuf_map_find(const struct blk_dmabuf_map *map, u64 offset)
{
	unsigned int low = 0, high = map->nr_ranges - 1;

	while (low < high) {
		unsigned int mid = high - (high - low) / 2;

		if (map->ranges[mid].start <= offset)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

void blk_dmabuf_map_advance(const struct blk_dmabuf_map *map,
			    struct bvec_iter *iter, unsigned int bytes)
{
	const struct blk_dmabuf_range *range = &map->ranges[iter->bi_idx];
	u64 offset = (u64)iter->bi_offset + bytes;
	u64 len;

	iter->bi_size -= bytes;
	while (offset && offset >= (len = blk_dmabuf_range_len(range))) {
		offset -= len;
		range++;
	}
	iter->bi_idx = range - map->ranges;
	iter->bi_offset = offset;
}

/**
 * blk_dmabuf_map_fits - can a device address every byte of a map?
 * @map: the map
 * @lim: limits of the device
 *
 * A device that cannot skip gaps (NVMe with PRPs) needs each range but the last
 * to end, and each but the first to start, on its boundary.
 */
bool blk_dmabuf_map_fits(const struct blk_dmabuf_map *map,
			 const struct queue_limits *lim)
{
	const struct blk_dmabuf_range *range = map->ranges;
	const struct blk_dmabuf_range *last = range + map->nr_ranges - 1;
	unsigned long mask = lim->virt_boundary_mask | lim->dma_alignment;

	if (range->addr & lim->dma_alignment)
		return false;
	for (; range < last; range++)
		if ((range[0].addr + blk_dmabuf_range_len(range)) & mask ||
		    range[1].addr & mask)
			return false;
	return true;
}

/* The segment at @iter: in one range, and no more than the device takes. */
static unsigned int blk_dmabuf_map_segment(const struct blk_dmabuf_map *map,
					   const struct queue_limits *lim,
					   const struct bvec_iter *iter,
					   dma_addr_t *addr)
{
	const struct blk_dmabuf_range *range = &map->ranges[iter->bi_idx];
	u64 left = blk_dmabuf_range_len(range) - iter->bi_offset;

	*addr = range->addr + iter->bi_offset;
	return get_max_segment_size(lim, *addr, min(left, iter->bi_size));
}

/*
 * Mapping and its end.  All under the resv lock.
 */

/*
 * Whose memory is it?  Where the IOMMU has no translation for the address it is
 * a bus address, which only peers have.
 */
static void blk_dmabuf_map_locate(struct blk_dmabuf_map *map, dma_addr_t addr)
{
	struct blk_dmabuf *reg = map->reg;
	struct iommu_domain *domain = iommu_get_domain_for_dev(reg->dma_dev);
	phys_addr_t phys = domain ? iommu_iova_to_phys(domain, addr) : addr;

	map->peer = !phys || !page_is_ram(PHYS_PFN(phys));
	reg->node = map->peer ? NUMA_NO_NODE :
				page_to_nid(pfn_to_page(PHYS_PFN(phys)));
}

static struct blk_dmabuf_map *blk_dmabuf_map_build(struct blk_dmabuf *reg,
						   struct sg_table *sgt)
{
	struct blk_dmabuf_map *map;
	struct scatterlist *sg;
	unsigned int i;
	int error;

	map = blk_dmabuf_map_alloc(reg, sgt->nents);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->sgt = sgt;
	blk_dmabuf_map_locate(map, sg_dma_address(sgt->sgl));
	/* Peers are neither cached nor bounced, and have no page to sync. */
	if (!map->peer)
		for_each_sgtable_dma_sg(sgt, sg, i)
			map->sync |= dma_need_sync(reg->dma_dev,
						   sg_dma_address(sg));
	for_each_sgtable_dma_sg(sgt, sg, i) {
		/* What is bounced is so entry by entry: keep these apart. */
		error = blk_dmabuf_map_add(map, sg_dma_address(sg),
					   sg_dma_len(sg), !map->sync);
		if (error)
			goto free_map;
	}
	map->bytes = map->ranges[map->nr_ranges].start;
	error = -EIO;
	if (!map->nr_ranges || map->bytes < reg->bytes)
		goto free_map;
	map->bytes = reg->bytes;
	return map;

free_map:
	blk_dmabuf_map_free(map);
	return ERR_PTR(error);
}

static int blk_dmabuf_map_locked(struct blk_dmabuf *reg)
{
	enum blk_dmabuf_reason reason = BLK_DMABUF_MAP_FAILED;
	struct blk_dmabuf_map *map;
	struct sg_table *sgt;
	long error;

	dma_resv_assert_held(reg->dmabuf->resv);

	if (rcu_access_pointer(reg->map))
		return 0;

	sgt = dma_buf_map_attachment(reg->attach, reg->dir);
	if (IS_ERR(sgt)) {
		error = PTR_ERR(sgt);
		goto refuse;
	}
	/* A dynamic importer waits itself until a move has come to its end. */
	error = dma_resv_wait_timeout(reg->dmabuf->resv,
				      DMA_RESV_USAGE_KERNEL, false,
				      MAX_SCHEDULE_TIMEOUT);
	if (error < 0)
		goto unmap;
	map = blk_dmabuf_map_build(reg, sgt);
	if (IS_ERR(map)) {
		error = PTR_ERR(map);
		goto unmap;
	}
	if (!blk_dmabuf_map_fits(map, &reg->disk->queue->limits)) {
		reason = BLK_DMABUF_LAYOUT;
		error = -EOPNOTSUPP;
		goto free_map;
	}

	reg->reason = BLK_DMABUF_OK;
	reg->generation++;
	trace_blk_dmabuf_map(reg->id, reg->generation, map->nr_ranges,
			     map->sync);
	rcu_assign_pointer(reg->map, map);
	return 0;

free_map:
	blk_dmabuf_map_free(map);
unmap:
	dma_buf_unmap_attachment(reg->attach, sgt, reg->dir);
refuse:
	reg->reason = reason;
	return blk_dmabuf_refuse(reg->disk, reg, reason, error);
}

static void blk_dmabuf_unmap_locked(struct blk_dmabuf *reg, bool revoked)
{
	struct dma_resv *resv = reg->dmabuf->resv;
	struct blk_dmabuf_map *map;
	u64 start;

	map = rcu_dereference_protected(reg->map, dma_resv_held(resv));
	if (!map)
		return;
	RCU_INIT_POINTER(reg->map, NULL);

	/*
	 * Killing a percpu_ref takes an RCU grace period before it can reach
	 * zero, so whoever found the map before it was unpublished is either
	 * counted or gone when the wait is over.
	 */
	start = ktime_get_ns();
	lock_map_acquire(&blk_dmabuf_map_held);
	lock_map_release(&blk_dmabuf_map_held);
	percpu_ref_kill(&map->ref);
	wait_for_completion(&map->drained);
	trace_blk_dmabuf_invalidate(reg->id, reg->generation,
				    ktime_get_ns() - start, revoked);

	dma_buf_unmap_attachment(reg->attach, map->sgt, reg->dir);
	blk_dmabuf_map_free(map);
}

static void blk_dmabuf_invalidate(struct dma_buf_attachment *attach)
{
	struct blk_dmabuf *reg = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!rcu_access_pointer(reg->map))
		return;
	reg->invalidations++;
	blk_dmabuf_unmap_locked(reg, true);
	blk_dmabuf_policy_invalidated(reg->disk, reg->id);
}

static const struct dma_buf_attach_ops blk_dmabuf_attach_ops = {
	.allow_peer2peer	= true,
	.invalidate_mappings	= blk_dmabuf_invalidate,
};

/**
 * blk_dmabuf_map - make sure that there is a mapping
 * @reg: registration
 *
 * Repeating it is free.  Context: may sleep, takes the resv lock.
 *
 * Return: 0, -ENODEV if dead, -EOPNOTSUPP if the device cannot use the layout,
 * or what the exporter says
 */
int blk_dmabuf_map(struct blk_dmabuf *reg)
{
	int error;

	guard(mutex)(&reg->lock);
	if (reg->dead)
		return blk_dmabuf_refuse(reg->disk, reg, BLK_DMABUF_IS_DEAD,
					 -ENODEV);
	dma_resv_lock(reg->dmabuf->resv, NULL);
	error = blk_dmabuf_map_locked(reg);
	dma_resv_unlock(reg->dmabuf->resv);
	return error;
}

/**
 * blk_dmabuf_unmap - wait for I/O in flight and drop the mapping
 * @reg: registration
 *
 * The next I/O that may sleep maps again.
 *
 * Return: 0, also if there is no mapping, or -ENODEV if dead
 */
int blk_dmabuf_unmap(struct blk_dmabuf *reg)
{
	guard(mutex)(&reg->lock);
	if (reg->dead)
		return -ENODEV;
	dma_resv_lock(reg->dmabuf->resv, NULL);
	blk_dmabuf_unmap_locked(reg, false);
	dma_resv_unlock(reg->dmabuf->resv);
	return 0;
}

/**
 * blk_dmabuf_kill - end a registration for good
 * @reg: registration
 *
 * Waits for I/O in flight, unmaps, detaches and gives the dma-buf back.  When
 * it returns nothing of the device is in use any more, whoever started it.
 */
void blk_dmabuf_kill(struct blk_dmabuf *reg)
{
	guard(mutex)(&reg->lock);
	if (reg->dead)
		return;
	dma_resv_lock(reg->dmabuf->resv, NULL);
	WRITE_ONCE(reg->dead, true);
	blk_dmabuf_unmap_locked(reg, false);
	dma_resv_unlock(reg->dmabuf->resv);
	dma_buf_detach(reg->dmabuf, reg->attach);
	dma_buf_put(reg->dmabuf);
}

/*
 * Registrations.
 */

/**
 * blk_dmabuf_check_disk - does a disk take premapped I/O?
 * @disk: the disk
 *
 * Return: %BLK_DMABUF_OK, then blk_mq_ops.dma_dev is there, or why not
 */
enum blk_dmabuf_reason blk_dmabuf_check_disk(struct gendisk *disk)
{
	struct request_queue *q = disk->queue;

	if (!queue_is_mq(q) || !q->mq_ops->dma_dev ||
	    !q->limits.max_dmabuf_sectors)
		return BLK_DMABUF_NO_DRIVER;
	/* Protection information is generated and verified on pages. */
	if (blk_get_integrity(disk))
		return BLK_DMABUF_INTEGRITY;
	/* Zone write plugging holds bios back and merges them. */
	if (bdev_is_zoned(disk->part0))
		return BLK_DMABUF_ZONED;
	return BLK_DMABUF_OK;
}

static void blk_dmabuf_free_work(struct work_struct *work)
{
	struct blk_dmabuf *reg = container_of(to_rcu_work(work),
					      struct blk_dmabuf, free_work);

	free_percpu(reg->stats);
	put_device(reg->dma_dev);
	put_device(disk_to_dev(reg->disk));
	mutex_destroy(&reg->lock);
	kfree(reg);
}

static void blk_dmabuf_free(struct kref *ref)
{
	struct blk_dmabuf *reg = container_of(ref, struct blk_dmabuf, ref);

	/* Slots and the registry are read under RCU. */
	queue_rcu_work(system_dfl_wq, &reg->free_work);
}

/* Drop a memory reference.  Context: any. */
void blk_dmabuf_put(struct blk_dmabuf *reg)
{
	kref_put(&reg->ref, blk_dmabuf_free);
}

static void blk_dmabuf_end(struct work_struct *work)
{
	struct blk_dmabuf *reg = container_of(work, struct blk_dmabuf,
					      end_work);

	blk_dmabuf_kill(reg);
	xa_erase(&blk_dmabuf_ids, reg->id);
	blk_dmabuf_put(reg);
}

/**
 * blk_dmabuf_release - drop an owner's reference
 * @reg: registration
 *
 * The last owner ends the registration, and comes back when it has ended.
 * Context: may sleep.
 */
void blk_dmabuf_release(struct blk_dmabuf *reg)
{
	if (refcount_dec_and_test(&reg->users))
		blk_dmabuf_end(&reg->end_work);
}

/* The same where sleeping is not allowed: it ends soon. */
void blk_dmabuf_release_later(struct blk_dmabuf *reg)
{
	if (refcount_dec_and_test(&reg->users))
		queue_work(system_dfl_wq, &reg->end_work);
}

static struct blk_dmabuf *blk_dmabuf_alloc(struct gendisk *disk,
					   struct device *dma_dev,
					   struct dma_buf *dmabuf)
{
	struct blk_dmabuf *reg;

	reg = kzalloc_obj(*reg, GFP_KERNEL_ACCOUNT);
	if (!reg)
		return NULL;
	reg->stats = alloc_percpu_gfp(struct blk_dmabuf_stats,
				      GFP_KERNEL_ACCOUNT);
	if (!reg->stats) {
		kfree(reg);
		return NULL;
	}

	refcount_set(&reg->users, 1);
	kref_init(&reg->ref);
	mutex_init(&reg->lock);
	INIT_RCU_WORK(&reg->free_work, blk_dmabuf_free_work);
	INIT_WORK(&reg->end_work, blk_dmabuf_end);
	get_device(disk_to_dev(disk));
	reg->disk = disk;
	reg->dma_dev = get_device(dma_dev);
	reg->dmabuf = dmabuf;
	/* A buffer that is read-only for its holder is so for the device. */
	reg->dir = dmabuf->file->f_mode & FMODE_WRITE ? DMA_BIDIRECTIONAL :
							DMA_TO_DEVICE;
	reg->bytes = dmabuf->size;
	reg->inode = file_inode(dmabuf->file)->i_ino;
	reg->uid = current_uid();
	reg->pid = task_tgid_nr(current);
	reg->node = NUMA_NO_NODE;
	strscpy(reg->exporter, dmabuf->exp_name);
	return reg;
}

/* Enter into the registry, unless the pair is there or the disk is going. */
static int blk_dmabuf_publish(struct blk_dmabuf *reg,
			      struct blk_dmabuf_attach *args)
{
	struct blk_dmabuf *other;
	int error;

	guard(mutex)(&blk_dmabuf_registry);
	if (!disk_live(reg->disk)) {
		args->reason = BLK_DMABUF_NO_DEVICE;
		return -ENODEV;
	}
	other = blk_dmabuf_find(reg->disk, reg->dmabuf);
	if (other) {
		args->id = other->id;
		args->reason = BLK_DMABUF_DUPLICATE;
		blk_dmabuf_put(other);
		return -EEXIST;
	}
	error = xa_alloc_cyclic(&blk_dmabuf_ids, &reg->id, reg, xa_limit_31b,
				&blk_dmabuf_next_id, GFP_KERNEL);
	return min(error, 0);
}

/**
 * blk_dmabuf_attach - register a dma-buf on a disk
 * @disk: the disk, checked with blk_dmabuf_check_disk()
 * @dma_dev: device that does its DMA
 * @dmabuf: the dma-buf; the registration takes a reference of its own
 * @args: where the reason and the id go
 *
 * Return: a registration with one owner, to be dropped with
 * blk_dmabuf_release(), or an ERR_PTR; -EEXIST if the pair is registered
 */
struct blk_dmabuf *blk_dmabuf_attach(struct gendisk *disk,
				     struct device *dma_dev,
				     struct dma_buf *dmabuf,
				     struct blk_dmabuf_attach *args)
{
	struct blk_dmabuf *reg;
	int error;

	args->reason = BLK_DMABUF_ATTACH_FAILED;
	reg = blk_dmabuf_alloc(disk, dma_dev, dmabuf);
	if (!reg)
		return ERR_PTR(-ENOMEM);

	reg->attach = dma_buf_dynamic_attach(dmabuf, dma_dev,
					     &blk_dmabuf_attach_ops, reg);
	if (IS_ERR(reg->attach)) {
		error = PTR_ERR(reg->attach);
		goto put;
	}
	get_dma_buf(dmabuf);
	error = blk_dmabuf_publish(reg, args);
	if (error)
		goto detach;

	args->id = reg->id;
	args->reason = BLK_DMABUF_OK;
	trace_blk_dmabuf_attach(reg->id, disk->disk_name, reg->exporter,
				reg->bytes);
	return reg;

detach:
	dma_buf_detach(dmabuf, reg->attach);
	dma_buf_put(dmabuf);
put:
	blk_dmabuf_put(reg);
	return ERR_PTR(error);
}

/**
 * blk_dmabuf_next - walk the registry
 * @after: id to start behind, 0 for the first
 *
 * Return: the next registration, which is there as long as the caller's RCU
 * read side section, or NULL
 */
struct blk_dmabuf *blk_dmabuf_next(u32 after)
{
	unsigned long id = after;

	return xa_find_after(&blk_dmabuf_ids, &id, ULONG_MAX, XA_PRESENT);
}

/**
 * blk_dmabuf_get - become an owner of a registration
 * @id: the registration
 *
 * Return: the registration, to be given to blk_dmabuf_release(), or NULL
 */
struct blk_dmabuf *blk_dmabuf_get(u32 id)
{
	struct blk_dmabuf *reg;

	guard(rcu)();
	reg = xa_load(&blk_dmabuf_ids, id);
	return reg && refcount_inc_not_zero(&reg->users) ? reg : NULL;
}

/**
 * blk_dmabuf_find - find the registration of a dma-buf on a disk
 * @disk: the disk
 * @dmabuf: the dma-buf, held by the caller
 *
 * Return: the registration with a memory reference, or NULL
 */
struct blk_dmabuf *blk_dmabuf_find(struct gendisk *disk,
				   const struct dma_buf *dmabuf)
{
	struct blk_dmabuf *reg;
	unsigned long id;

	guard(rcu)();
	xa_for_each(&blk_dmabuf_ids, id, reg) {
		/*
		 * A dead one no longer holds the buffer it points to, which
		 * can be another one at the same address by now.
		 */
		if (reg->disk == disk && reg->dmabuf == dmabuf &&
		    !READ_ONCE(reg->dead) && kref_get_unless_zero(&reg->ref))
			return reg;
	}
	return NULL;
}

/**
 * blk_dmabuf_get_dmabuf - get the dma-buf of a registration
 * @id: the registration
 *
 * Return: the dma-buf with a reference, -ENOENT or -ENODEV
 */
struct dma_buf *blk_dmabuf_get_dmabuf(u32 id)
{
	struct blk_dmabuf *reg = blk_dmabuf_get(id);
	struct dma_buf *dmabuf = ERR_PTR(-ENODEV);

	if (!reg)
		return ERR_PTR(-ENOENT);
	scoped_guard(mutex, &reg->lock) {
		if (!reg->dead) {
			dmabuf = reg->dmabuf;
			get_dma_buf(dmabuf);
		}
	}
	blk_dmabuf_release(reg);
	return dmabuf;
}

/**
 * blk_dmabuf_get_map - take a reference to the current map
 * @reg: registration, held by the caller or found under RCU
 *
 * Return: the map, to be dropped with percpu_ref_put(), or NULL if unmapped.
 * The map holds the registration.
 */
struct blk_dmabuf_map *blk_dmabuf_get_map(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_map *map;

	guard(rcu)();
	map = rcu_dereference(reg->map);
	if (map && percpu_ref_tryget_live(&map->ref))
		return map;
	return NULL;
}

static void blk_dmabuf_sum_stats(struct blk_dmabuf *reg,
				 struct blk_dmabuf_info *info)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct blk_dmabuf_stats *s = per_cpu_ptr(reg->stats, cpu);

		info->reads += s->reads;
		info->read_bytes += s->read_bytes;
		info->writes += s->writes;
		info->write_bytes += s->write_bytes;
		info->errors += s->errors;
	}
}

/**
 * blk_dmabuf_get_flags - BLK_DMABUF_F_* of a registration and its current map
 * @reg: registration
 */
u32 blk_dmabuf_get_flags(struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_map *map;
	u32 flags = 0;

	if (reg->dir == DMA_BIDIRECTIONAL)
		flags |= BLK_DMABUF_F_WRITABLE;
	guard(rcu)();
	map = rcu_dereference(reg->map);
	if (map && map->sync)
		flags |= BLK_DMABUF_F_SYNC;
	if (map && map->peer)
		flags |= BLK_DMABUF_F_P2P;
	return flags;
}

/**
 * blk_dmabuf_get_info - describe a registration
 * @reg: registration
 * @info: filled in
 *
 * Context: any; a snapshot without locks.
 */
void blk_dmabuf_get_info(struct blk_dmabuf *reg, struct blk_dmabuf_info *info)
{
	const struct queue_limits *lim = &reg->disk->queue->limits;
	struct blk_dmabuf_map *map;

	*info = (struct blk_dmabuf_info) {
		.id		= reg->id,
		.flags		= blk_dmabuf_get_flags(reg),
		.reason		= READ_ONCE(reg->reason),
		.dev_major	= MAJOR(disk_devt(reg->disk)),
		.dev_minor	= MINOR(disk_devt(reg->disk)),
		.uid		= from_kuid(&init_user_ns, reg->uid),
		.pid		= reg->pid,
		.bytes		= reg->bytes,
		.max_io		= min_not_zero(lim->max_user_sectors,
					       lim->max_dmabuf_sectors) <<
				  SECTOR_SHIFT,
		.generation	= READ_ONCE(reg->generation),
		.invalidations	= READ_ONCE(reg->invalidations),
		.inode		= reg->inode,
	};
	strscpy(info->disk, reg->disk->disk_name);
	strscpy(info->exporter, reg->exporter);
	blk_dmabuf_sum_stats(reg, info);

	if (READ_ONCE(reg->dead)) {
		info->state = BLK_DMABUF_DEAD;
		return;
	}
	guard(rcu)();
	map = rcu_dereference(reg->map);
	if (!map)
		return;
	info->state = BLK_DMABUF_LIVE;
	info->ranges = map->nr_ranges;
}

/* The next registration on @disk behind @id, with a memory reference. */
static struct blk_dmabuf *blk_dmabuf_next_on(struct gendisk *disk, u32 id)
{
	struct blk_dmabuf *reg;

	guard(rcu)();
	for (reg = blk_dmabuf_next(id); reg; reg = blk_dmabuf_next(reg->id))
		if (reg->disk == disk && kref_get_unless_zero(&reg->ref))
			return reg;
	return NULL;
}

/**
 * blk_dmabuf_del_disk - end all that is selected and registered on a disk
 * @disk: the disk, no longer live
 *
 * Called by del_gendisk() when its queue is dead, so that no I/O is left to
 * wait for, and before the driver lets go of the DMA device.
 */
void blk_dmabuf_del_disk(struct gendisk *disk)
{
	struct blk_dmabuf *reg;
	u32 id = 0;

	blk_dmabuf_policy_del_disk(disk);

	/* From here on blk_dmabuf_publish() sees that the disk is not live. */
	mutex_lock(&blk_dmabuf_registry);
	mutex_unlock(&blk_dmabuf_registry);
	while ((reg = blk_dmabuf_next_on(disk, id))) {
		id = reg->id;
		blk_dmabuf_kill(reg);
		blk_dmabuf_put(reg);
	}
}

/*
 * Hooks of the block layer.
 */

/**
 * bio_dmabuf_set - point a bio to a piece of a dma-buf mapping
 * @bio: bio without vectors of its own
 * @iter: iterator made with iov_iter_dmabuf()
 *
 * The submitter keeps its reference to the map until the bio is done.
 */
void bio_dmabuf_set(struct bio *bio, const struct iov_iter *iter)
{
	struct blk_dmabuf_map *map = iter->dmabuf->map;
	unsigned int idx = blk_dmabuf_map_find(map, iter->iov_offset);

	WARN_ON_ONCE(bio->bi_max_vecs);

	bio->bi_dmabuf = iter->dmabuf;
	bio->bi_iter.bi_idx = idx;
	bio->bi_iter.bi_offset = iter->iov_offset - map->ranges[idx].start;
	bio->bi_iter.bi_size = iov_iter_count(iter);
	bio->bi_opf |= REQ_DMABUF;
	bio_set_flag(bio, BIO_CLONED);
}

void bio_dmabuf_advance_iter(const struct bio *bio, struct bvec_iter *iter,
			     unsigned int bytes)
{
	blk_dmabuf_map_advance(bio->bi_dmabuf->map, iter, bytes);
}
EXPORT_SYMBOL_GPL(bio_dmabuf_advance_iter);

/**
 * bio_dmabuf_enter - may this bio use this queue, and which hctx?
 * @bio: bio with REQ_DMABUF that has entered the queue, so that the queue's
 *	limits stay what they are
 * @cached: request that would be used, set to NULL if it must not be
 *
 * Addresses of one device mean something else, or nothing, on another one, and
 * whatever looks at pages must not get this bio.
 *
 * Return: false if the bio was refused and has been ended
 */
bool bio_dmabuf_enter(struct bio *bio, struct request **cached)
{
	struct blk_dmabuf *reg = bio->bi_dmabuf->map->reg;
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	enum blk_dmabuf_reason reason;

	reason = blk_dmabuf_check_disk(disk);
	if (reason == BLK_DMABUF_OK && disk != reg->disk)
		reason = BLK_DMABUF_WRONG_DEVICE;
	if (reason == BLK_DMABUF_OK && bio_has_crypt_ctx(bio))
		reason = BLK_DMABUF_CRYPTO;
	if (reason == BLK_DMABUF_OK && bio_op(bio) != REQ_OP_READ &&
	    bio_op(bio) != REQ_OP_WRITE)
		reason = BLK_DMABUF_NO_DRIVER;
	if (unlikely(reason != BLK_DMABUF_OK)) {
		bio->bi_dmabuf->refused = true;
		blk_dmabuf_refuse(disk, reg, reason, -EOPNOTSUPP);
		bio_endio_status(bio, BLK_STS_NOTSUPP);
		return false;
	}
	if (!blk_dmabuf_policy_map_queue(bio, cached)) {
		bio_endio_status(bio, BLK_STS_INVAL);
		return false;
	}
	return true;
}

/**
 * bio_dmabuf_split_at - bio_split_io_at() for a dma-buf bio
 * @bio: the bio
 * @lim: queue limits
 * @segs: segments of what stays in front
 * @max_bytes: most bytes of that
 *
 * Return: 0 if it fits, sectors to split off, -EINVAL if it cannot be split so
 * that it does, -EAGAIN if it may not
 */
int bio_dmabuf_split_at(struct bio *bio, const struct queue_limits *lim,
			unsigned int *segs, unsigned int max_bytes)
{
	const struct blk_dmabuf_map *map = bio->bi_dmabuf->map;
	unsigned int nsegs = 0, bytes = 0, gaps = 0;
	struct bvec_iter iter = bio->bi_iter;
	dma_addr_t addr, end = 0;

	while (iter.bi_size) {
		unsigned int len;

		len = blk_dmabuf_map_segment(map, lim, &iter, &addr);
		if (addr & lim->dma_alignment)
			return -EINVAL;
		if (nsegs == lim->max_segments || bytes == max_bytes)
			goto split;
		if (nsegs && (addr | end) & lim->virt_boundary_mask)
			goto split;
		if (nsegs)
			gaps |= addr | end;
		len = min(len, max_bytes - bytes);
		nsegs++;
		bytes += len;
		end = addr + len;
		blk_dmabuf_map_advance(map, &iter, len);
	}
	*segs = nsegs;
	bio->bi_bvec_gap_bit = ffs(gaps);
	return 0;

split:
	if (bio->bi_opf & REQ_ATOMIC)
		return -EINVAL;
	/* Part of it may be in flight when the rest would block. */
	if (bio->bi_opf & REQ_NOWAIT)
		return -EAGAIN;
	bytes = ALIGN_DOWN(bytes, lim->logical_block_size);
	if (!bytes)
		return -EINVAL;
	*segs = nsegs;
	bio->bi_bvec_gap_bit = ffs(gaps);
	return bytes >> SECTOR_SHIFT;
}

static void blk_rq_dmabuf_sync(struct request *rq, bool for_cpu)
{
	const struct blk_dmabuf_map *map = rq->bio->bi_dmabuf->map;
	enum dma_data_direction dir = rq_dma_dir(rq);
	struct device *dev = map->reg->dma_dev;
	struct bvec_iter iter = rq->bio->bi_iter;

	while (iter.bi_size) {
		dma_addr_t addr;
		unsigned int len;

		len = blk_dmabuf_map_segment(map, &rq->q->limits, &iter, &addr);
		if (for_cpu)
			dma_sync_single_for_cpu(dev, addr, len, dir);
		else
			dma_sync_single_for_device(dev, addr, len, dir);
		blk_dmabuf_map_advance(map, &iter, len);
	}
}

/**
 * blk_rq_dmabuf_iter_start - yield the first premapped range of a request
 * @rq: request with REQ_DMABUF
 * @dma_dev: device that the driver would map to
 * @iter: as for blk_rq_dma_map_iter_start(), its ->iter initialised
 */
bool blk_rq_dmabuf_iter_start(struct request *rq, struct device *dma_dev,
			      struct blk_dma_iter *iter)
{
	const struct blk_dmabuf_map *map = rq->bio->bi_dmabuf->map;

	iter->p2pdma = (struct pci_p2pdma_map_state) {
		.map = PCI_P2PDMA_MAP_NONE,
	};
	if (WARN_ON_ONCE(map->reg->dma_dev != dma_dev)) {
		iter->status = BLK_STS_INVAL;
		return false;
	}
	iter->status = BLK_STS_OK;
	WRITE_ONCE(rq->bio->bi_dmabuf->desc.hctx, rq->mq_hctx->queue_num);
	if (map->sync)
		blk_rq_dmabuf_sync(rq, false);
	return blk_rq_dmabuf_iter_next(rq, iter);
}

bool blk_rq_dmabuf_iter_next(struct request *rq, struct blk_dma_iter *iter)
{
	const struct blk_dmabuf_map *map = rq->bio->bi_dmabuf->map;
	struct bvec_iter *pos = &iter->iter.iter;

	if (!pos->bi_size)
		return false;
	iter->len = blk_dmabuf_map_segment(map, &rq->q->limits, pos,
					   &iter->addr);
	blk_dmabuf_map_advance(map, pos, iter->len);
	return true;
}

/* What is left to do where an ordinary request would be unmapped. */
void blk_rq_dmabuf_done(struct request *rq)
{
	if (rq->bio->bi_dmabuf->map->sync)
		blk_rq_dmabuf_sync(rq, true);
}
EXPORT_SYMBOL_GPL(blk_rq_dmabuf_done);
