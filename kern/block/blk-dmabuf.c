// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block I/O on dma-bufs: registrations, buffers, attachments, DMA mappings.
 *
 * A registration (struct blk_dmabuf) admits a dma-buf to a disk.  All
 * registrations of a dma-buf share one struct blk_dmabuf_buffer, which is
 * attached at most once to each device that does DMA for a disk.  Mapping an
 * attachment makes a struct blk_dmabuf_mapping, published until the exporter
 * invalidates it, the owner unmaps it, or the device goes away.
 *
 * A request holds the mapping from where its driver maps it to where its driver
 * unmaps it, see block/blk-dmabuf-bio.c.  Taking a mapping away is synchronous:
 * unpublish, wait for those requests, unmap.  No fence is involved, and what is
 * waited for is hardware, whose time the request timeout bounds.
 *
 * Lock order:
 *
 *	blk_dmabuf_buffer.cpu_life -> .lock -> .cpu_sync -> dma_buf.resv
 *	blk_dmabuf_buffer.lock -> blk_dmabuf_registry
 *
 * Disks that go away take all but cpu_sync.  What is waited for below them is
 * hardware and fences, so memory is allocated in a NOIO scope.
 *
 * The exporter calls blk_dmabuf_invalidate() with the resv lock held, perhaps in
 * memory reclaim.  What runs there takes none of the others.
 */
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/iosys-map.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/swiotlb.h>
#include <linux/user_namespace.h>

#include "blk.h"
#include "blk-dmabuf-internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/blk_dmabuf.h>

/*
 * Merging stops here so that an offset in a range, plus the length of any bio,
 * never leaves what bvec_iter can count.
 */
#define BLK_DMABUF_MAX_RANGE	SZ_2G

/* A move that is under way ends within this, or the exporter is stuck. */
#define BLK_DMABUF_MOVE_TIMEOUT	(30 * HZ)

/* Chains of ten where 10,000 buffers are registered. */
#define BLK_DMABUF_HASH_BITS	10

/**
 * struct blk_dmabuf_dev - a device that does DMA for disks
 * @hash: entry in blk_dmabuf_devs
 * @dev: the device
 * @disks: disks that it does DMA for
 * @attachments: buffers that are attached to it
 *
 * All under the registry mutex.
 */
struct blk_dmabuf_dev {
	struct hlist_node	hash;
	struct device		*dev;
	unsigned int		disks;
	struct list_head	attachments;
};

/**
 * struct blk_dmabuf_disk - a disk that buffers are registered on
 * @hash: entry in blk_dmabuf_disks
 * @disk: the disk, not deleted yet
 * @regs: registrations on it, not empty
 *
 * All under the registry mutex.
 */
struct blk_dmabuf_disk {
	struct hlist_node	hash;
	struct gendisk		*disk;
	struct list_head	regs;
};

static DEFINE_MUTEX(blk_dmabuf_registry);
static DEFINE_HASHTABLE(blk_dmabuf_buffers, BLK_DMABUF_HASH_BITS);
static DEFINE_HASHTABLE(blk_dmabuf_disks, BLK_DMABUF_HASH_BITS);
static DEFINE_HASHTABLE(blk_dmabuf_devs, BLK_DMABUF_HASH_BITS);
static DEFINE_XARRAY_ALLOC1(blk_dmabuf_ids);
static u32 blk_dmabuf_next_id;
static u32 blk_dmabuf_next_trial;

/* Ids of trials start here, so that they leave no gaps between the others. */
#define BLK_DMABUF_TRIAL_IDS	BIT(30)

static atomic64_t blk_dmabuf_mapping_seq;

atomic64_t blk_dmabuf_refused[BLK_DMABUF_NR_REASONS];

void (*blk_dmabuf_invalidated)(struct gendisk *disk, u32 id);

/**
 * blk_dmabuf_refuse - the one way to say no
 * @dev: device number of the disk it is about, or 0
 * @reg: registration on it, or NULL
 * @reason: why
 * @error: what the caller gets to see
 *
 * Return: @error
 */
int blk_dmabuf_refuse(u32 dev, struct blk_dmabuf *reg,
		      enum blk_dmabuf_reason reason, int error)
{
	atomic64_inc(&blk_dmabuf_refused[reason]);
	if (reg)
		this_cpu_inc(reg->stats->errors);
	trace_blk_dmabuf_refuse(dev, reg ? reg->id : 0, reason, error);
	return error;
}

/**
 * blk_dmabuf_copyable - can I/O that is refused for a reason be copied instead?
 * @reason: why no device gets at the buffer
 */
bool blk_dmabuf_copyable(enum blk_dmabuf_reason reason)
{
	switch (reason) {
	case BLK_DMABUF_NO_DRIVER:
	case BLK_DMABUF_INTEGRITY:
	case BLK_DMABUF_ZONED:
	case BLK_DMABUF_CRYPTO:
	case BLK_DMABUF_ATTACH_FAILED:
	case BLK_DMABUF_MAP_FAILED:
	case BLK_DMABUF_LAYOUT:
	case BLK_DMABUF_LAYER:
	case BLK_DMABUF_FILE_SYSTEM:
	case BLK_DMABUF_FILE:
	case BLK_DMABUF_MEMORY:
	case BLK_DMABUF_MOVED:
	case BLK_DMABUF_HOLE:
	case BLK_DMABUF_SWITCH:
	case BLK_DMABUF_HOST_BRIDGE:
		return true;
	default:
		return false;
	}
}

/**
 * blk_dmabuf_refuse_io - refuse an I/O that is on its way
 * @io: the I/O
 * @dev: device number of the disk that it has reached
 * @reason: why
 * @error: what its submitter gets to see
 *
 * Counts once, whatever number of bios are refused, and not what is going to be
 * copied.  Context: any.
 */
void blk_dmabuf_refuse_io(struct blk_dmabuf_io *io, u32 dev,
			  enum blk_dmabuf_reason reason, int error)
{
	if (cmpxchg(&io->refused, BLK_DMABUF_OK, reason) != BLK_DMABUF_OK)
		return;
	/* Read when all bios have ended. */
	io->error = error;
	if (!io->may_copy || !blk_dmabuf_copyable(reason))
		blk_dmabuf_refuse(dev, io->reg, reason, error);
}

/*
 * Range index.
 */

static void blk_dmabuf_mapping_drained(struct percpu_ref *ref)
{
	struct blk_dmabuf_mapping *mapping =
		container_of(ref, struct blk_dmabuf_mapping, ref);

	complete(&mapping->drained);
}

struct blk_dmabuf_mapping *blk_dmabuf_mapping_alloc(unsigned int max_ranges)
{
	struct blk_dmabuf_mapping *mapping;

	mapping = kvzalloc(struct_size(mapping, ranges,
				       size_add(max_ranges, 1)),
			   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!mapping)
		return NULL;
	if (percpu_ref_init(&mapping->ref, blk_dmabuf_mapping_drained, 0,
			    GFP_KERNEL)) {
		kvfree(mapping);
		return NULL;
	}
	init_completion(&mapping->drained);
	mapping->max_ranges = max_ranges;
	return mapping;
}

/* For a mapping that was never published, or has been drained. */
void blk_dmabuf_mapping_free(struct blk_dmabuf_mapping *mapping)
{
	percpu_ref_exit(&mapping->ref);
	kvfree(mapping);
}

/* Does @len at @addr continue what ends at @end and is @have long? */
static bool blk_dmabuf_continues(dma_addr_t end, u64 have, dma_addr_t addr,
				 u64 len)
{
	return end == addr && have + len <= BLK_DMABUF_MAX_RANGE;
}

/**
 * blk_dmabuf_mapping_add - append DMA addresses to a mapping that is being built
 * @mapping: the mapping, not published yet
 * @addr: DMA address
 * @len: bytes
 * @merge: make one range of it and the previous one where they touch
 *
 * Return: 0, or -E2BIG if there are more ranges than were announced
 */
int blk_dmabuf_mapping_add(struct blk_dmabuf_mapping *mapping, dma_addr_t addr,
			   u64 len, bool merge)
{
	struct blk_dmabuf_range *end = &mapping->ranges[mapping->nr_ranges];

	if (!len)
		return 0;
	if (merge && mapping->nr_ranges) {
		u64 have = blk_dmabuf_range_len(end - 1);

		if (blk_dmabuf_continues(end[-1].addr + have, have, addr,
					 len)) {
			end->start += len;
			return 0;
		}
	}
	if (mapping->nr_ranges == mapping->max_ranges)
		return -E2BIG;
	end->addr = addr;
	end[1].start = end->start + len;
	mapping->nr_ranges++;
	return 0;
}

/*
 * Ranges for each 4 KiB of the buffer, in units of 2^-32: so many there are from the
 * beginning to an offset, if they are about the same length.  Scattered pages are.
 */
static u64 blk_dmabuf_mapping_scale(const struct blk_dmabuf_mapping *mapping)
{
	u64 pages = DIV_ROUND_UP_ULL(mapping->bytes, SZ_4K);

	/* Finer ranges are not worth a guess; nobody has them. */
	if (!pages || mapping->nr_ranges > pages)
		return 0;
	return div64_u64((u64)mapping->nr_ranges << 32, pages);
}

/**
 * blk_dmabuf_mapping_seal - the last range has been added
 * @mapping: the mapping, not published yet
 *
 * Sums up what would otherwise be looked at in each range of each I/O.
 */
void blk_dmabuf_mapping_seal(struct blk_dmabuf_mapping *mapping)
{
	const struct blk_dmabuf_range *range = mapping->ranges;
	const struct blk_dmabuf_range *end = range + mapping->nr_ranges;
	dma_addr_t crossed = 0;

	mapping->gaps = 0;
	mapping->longest = 0;
	for (; range < end; range++) {
		u64 len = blk_dmabuf_range_len(range);

		if (range + 1 < end)
			mapping->gaps |= (range->addr + len) | range[1].addr;
		mapping->longest = max(mapping->longest, len);
		crossed |= range->addr ^ (range->addr + len - 1);
	}
	mapping->gap_bit = blk_dmabuf_gap_bit(mapping->gaps);
	mapping->boundary = crossed ? 2ULL << (fls64(crossed) - 1) : 1;
	mapping->bytes = mapping->ranges[mapping->nr_ranges].start;
	mapping->scale = blk_dmabuf_mapping_scale(mapping);
	mapping->seq = atomic64_inc_return(&blk_dmabuf_mapping_seq);
}

/* blk_dmabuf_mapping_find() where @i is a wrong guess: ranges differ in length. */
unsigned int blk_dmabuf_mapping_search(const struct blk_dmabuf_mapping *mapping,
				       unsigned int low, unsigned int i,
				       u64 offset)
{
	const struct blk_dmabuf_range *ranges = mapping->ranges;
	unsigned int high = mapping->nr_ranges - 1, steps;

	/* A few neighbours that touch, and are one range, do not matter. */
	for (steps = 0; steps < 4; steps++) {
		if (offset < ranges[i].start)
			i--;
		else if (offset >= ranges[i + 1].start)
			i++;
		else
			return i;
	}
	while (low < high) {
		unsigned int mid = high - (high - low) / 2;

		if (ranges[mid].start <= offset)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

/**
 * blk_dmabuf_mapping_fits - can a disk address every byte of a mapping?
 * @mapping: the mapping
 * @lim: limits of the disk
 *
 * A device that cannot skip gaps (NVMe with PRPs) needs each range but the last
 * to end, and each but the first to start, on its boundary.
 */
bool blk_dmabuf_mapping_fits(const struct blk_dmabuf_mapping *mapping,
			     const struct queue_limits *lim)
{
	return !(mapping->ranges[0].addr & lim->dma_alignment) &&
	       !(mapping->gaps & (lim->virt_boundary_mask |
				  lim->dma_alignment));
}

/*
 * Mapping and its end.  All under the resv lock.
 */

/* It stays like that as long as a driver is bound. */
static enum blk_dmabuf_iommu blk_dmabuf_iommu_of(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (!domain)
		return BLK_DMABUF_IOMMU_OFF;
	switch (domain->type) {
	case IOMMU_DOMAIN_IDENTITY:
		return BLK_DMABUF_IOMMU_PASSTHROUGH;
	case IOMMU_DOMAIN_DMA:
		return BLK_DMABUF_IOMMU_STRICT;
	case IOMMU_DOMAIN_DMA_FQ:
		return BLK_DMABUF_IOMMU_LAZY;
	default:
		return BLK_DMABUF_IOMMU_UNKNOWN;
	}
}

/* Nothing is mapped. */
static void blk_dmabuf_set_path(struct blk_dmabuf_attachment *attach,
				enum blk_dmabuf_path path)
{
	union blk_dmabuf_way way = {
		.path	= path,
		.iommu	= attach->way.iommu,
	};

	WRITE_ONCE(attach->way.all, way.all);
}

enum blk_dmabuf_where {
	BLK_DMABUF_UNKNOWN,
	BLK_DMABUF_RAM,
	BLK_DMABUF_PEER,
	BLK_DMABUF_BUS,
};

/*
 * Classify the memory behind a DMA address; @at is where the CPU has it.  A
 * translated address that the IOMMU does not know is a bus address, which only
 * a peer can have.
 */
static enum blk_dmabuf_where blk_dmabuf_locate(struct device *dev,
					       dma_addr_t addr, u64 *at)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	bool translated = domain && domain->type != IOMMU_DOMAIN_IDENTITY;
	phys_addr_t phys;

	if (!translated && get_dma_ops(dev))
		return BLK_DMABUF_UNKNOWN;
	phys = translated ? iommu_iova_to_phys(domain, addr) :
			    dma_to_phys(dev, addr);
	*at = phys;
	if (translated && !phys) {
		*at = addr;
		return BLK_DMABUF_BUS;
	}
	if (phys == (phys_addr_t)-1)
		return BLK_DMABUF_UNKNOWN;
	return page_is_ram(PHYS_PFN(phys)) ? BLK_DMABUF_RAM : BLK_DMABUF_PEER;
}

/*
 * Do the CPU and the device see different memory, at times?  dma_need_sync() also
 * says so of all memory of a device that has used a bounce buffer once, and, with
 * CONFIG_DMA_API_DEBUG, of every memory.
 */
static bool blk_dmabuf_needs_sync(struct device *dev, dma_addr_t addr, u64 phys)
{
	if (get_dma_ops(dev))
		return dma_need_sync(dev, addr);
	return !dev_is_dma_coherent(dev) || swiotlb_find_pool(dev, phys);
}

/**
 * struct blk_dmabuf_look - what the addresses looked at have in common
 * @where: kind of memory
 * @node: NUMA node of the first
 * @sync: the CPU and the device see different memory at times
 * @peer: whose memory it is, if it is a peer's
 */
struct blk_dmabuf_look {
	enum blk_dmabuf_where	where;
	int			node;
	bool			sync;
	struct blk_dmabuf_peer	peer;
};

/* False: it cannot be told what is there, or something else than before. */
static bool blk_dmabuf_look_at(struct blk_dmabuf_look *look, dma_addr_t addr)
{
	enum blk_dmabuf_where where;
	bool first = look->where == BLK_DMABUF_UNKNOWN;
	u64 at = 0;

	where = blk_dmabuf_locate(look->peer.dev, addr, &at);
	if (where == BLK_DMABUF_UNKNOWN || (!first && where != look->where))
		return false;
	look->where = where;
	look->peer.bus = where == BLK_DMABUF_BUS;
	/* Peers are neither cached nor bounced. */
	if (where == BLK_DMABUF_RAM)
		look->sync |= blk_dmabuf_needs_sync(look->peer.dev, addr, at);
	else if (!blk_dmabuf_peer_find(&look->peer, at))
		return false;
	if (first)
		look->node = where == BLK_DMABUF_RAM ?
			     pfn_to_nid(PHYS_PFN(at)) : look->peer.node;
	return true;
}

/* Look at both ends of each entry. */
static bool blk_dmabuf_look_at_all(struct blk_dmabuf_look *look,
				   struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);

		cond_resched();
		if (!blk_dmabuf_look_at(look, addr))
			return false;
		if (sg_dma_len(sg) > PAGE_SIZE &&
		    !blk_dmabuf_look_at(look, addr + sg_dma_len(sg) - 1))
			return false;
	}
	return true;
}

/*
 * Say what memory is mapped, and which way leads to it.  Memory of two kinds,
 * or of two devices, is refused.  What was found out is kept in the attachment,
 * whether it is refused or not.
 */
static enum blk_dmabuf_reason
blk_dmabuf_classify(struct blk_dmabuf_mapping *mapping, struct sg_table *sgt)
{
	struct blk_dmabuf_attachment *attach = mapping->attach;
	struct blk_dmabuf_look look = {
		.node = NUMA_NO_NODE, .peer = { .dev = attach->dev },
	};
	enum blk_dmabuf_reason reason = BLK_DMABUF_MEMORY;
	union blk_dmabuf_way way = { .iommu = attach->way.iommu }, refused;

	if (blk_dmabuf_look_at_all(&look, sgt)) {
		reason = BLK_DMABUF_OK;
		way.path = BLK_DMABUF_PATH_PREMAPPED;
		if (look.peer.provider)
			reason = blk_dmabuf_peer_way(&look.peer, &way);
	}
	blk_dmabuf_peer_put(&look.peer);
	WRITE_ONCE(attach->node, look.node);
	refused = way;
	refused.path = BLK_DMABUF_PATH_REFUSED;
	WRITE_ONCE(attach->way.all, refused.all);
	mapping->way = way;
	mapping->peer = look.where != BLK_DMABUF_RAM;
	mapping->sync = look.sync;
	return reason;
}

/* How many ranges the entries of @sgt make when those that touch are merged. */
static unsigned int blk_dmabuf_count_ranges(struct sg_table *sgt)
{
	unsigned int i, ranges = 0;
	struct scatterlist *sg;
	dma_addr_t end = 0;
	u64 have = 0;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		u64 len = sg_dma_len(sg);

		if (!len)
			continue;
		if (!ranges || !blk_dmabuf_continues(end, have,
						     sg_dma_address(sg), len)) {
			ranges++;
			have = 0;
		}
		have += len;
		end = sg_dma_address(sg) + len;
	}
	return ranges;
}

static int blk_dmabuf_fill(struct blk_dmabuf_mapping *mapping,
			   struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;
	int error;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		/* swiotlb bounces each entry separately: do not merge them. */
		error = blk_dmabuf_mapping_add(mapping, sg_dma_address(sg),
					       sg_dma_len(sg), !mapping->sync);
		if (error)
			return error;
	}
	if (!mapping->nr_ranges)
		return -EIO;
	blk_dmabuf_mapping_seal(mapping);
	if (mapping->bytes < mapping->attach->buf->bytes)
		return -EIO;
	mapping->bytes = mapping->attach->buf->bytes;
	return 0;
}

static struct blk_dmabuf_mapping *
blk_dmabuf_mapping_build(struct blk_dmabuf_attachment *attach,
			 struct sg_table *sgt, enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_mapping probe = { .attach = attach }, *mapping;
	enum blk_dmabuf_reason refused;
	unsigned int ranges;
	int error;

	refused = blk_dmabuf_classify(&probe, sgt);
	if (refused != BLK_DMABUF_OK) {
		*reason = refused;
		return ERR_PTR(-EOPNOTSUPP);
	}
	ranges = probe.sync ? sgt->nents : blk_dmabuf_count_ranges(sgt);
	mapping = blk_dmabuf_mapping_alloc(ranges);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	mapping->attach = attach;
	mapping->sgt = sgt;
	mapping->sync = probe.sync;
	mapping->peer = probe.peer;
	mapping->way = probe.way;
	error = blk_dmabuf_fill(mapping, sgt);
	if (!error)
		return mapping;
	blk_dmabuf_mapping_free(mapping);
	return ERR_PTR(error);
}

static struct blk_dmabuf_mapping *
blk_dmabuf_published(struct blk_dmabuf_attachment *attach)
{
	return rcu_dereference_protected(attach->mapping,
				dma_resv_held(attach->buf->dmabuf->resv));
}

/*
 * Unpublish the mapping.  Killing a percpu_ref takes an RCU grace period before
 * it can reach zero, so whoever found the mapping before is either counted or
 * gone when blk_dmabuf_finish() has waited.
 */
static void blk_dmabuf_unpublish(struct blk_dmabuf_attachment *attach)
{
	struct blk_dmabuf_mapping *mapping = blk_dmabuf_published(attach);

	if (!mapping)
		return;
	RCU_INIT_POINTER(attach->mapping, NULL);
	blk_dmabuf_set_path(attach, BLK_DMABUF_PATH_NONE);
	/* blk_dmabuf_map_locked() finishes one before it publishes the next. */
	WARN_ON_ONCE(attach->dying);
	attach->dying = mapping;
	percpu_ref_kill(&mapping->ref);
}

/*
 * Unmapping copies all of a bounce buffer back.  Copy what the CPU has stored
 * into it first, so that nothing older than that comes back.
 */
static void blk_dmabuf_refresh(const struct blk_dmabuf_mapping *mapping)
{
	const struct blk_dmabuf_attachment *attach = mapping->attach;
	const struct blk_dmabuf_range *range = mapping->ranges;
	const struct blk_dmabuf_range *end = range + mapping->nr_ranges;

	if (!mapping->sync || attach->buf->dir != DMA_BIDIRECTIONAL)
		return;
	for (; range < end; range++)
		dma_sync_single_for_device(attach->dev, range->addr,
					   blk_dmabuf_range_len(range),
					   DMA_BIDIRECTIONAL);
}

/* Wait for the requests that hold what was unpublished, and unmap it. */
static void blk_dmabuf_finish(struct blk_dmabuf_attachment *attach,
			      bool revoked)
{
	struct blk_dmabuf_mapping *mapping = attach->dying;
	struct blk_dmabuf_buffer *buf = attach->buf;
	u64 start;

	if (!mapping)
		return;
	start = ktime_get_ns();
	wait_for_completion(&mapping->drained);
	trace_blk_dmabuf_invalidate(buf->inode, dev_name(attach->dev),
				    attach->generation, ktime_get_ns() - start,
				    revoked);
	blk_dmabuf_refresh(mapping);
	dma_buf_unmap_attachment(attach->attach, mapping->sgt, buf->dir);
	blk_dmabuf_mapping_free(mapping);
	attach->dying = NULL;
}

static int blk_dmabuf_map_locked(struct blk_dmabuf_attachment *attach,
				 enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_buffer *buf = attach->buf;
	struct blk_dmabuf_mapping *mapping;
	struct sg_table *sgt;
	long error;

	dma_resv_assert_held(buf->dmabuf->resv);

	*reason = BLK_DMABUF_MAP_FAILED;
	if (blk_dmabuf_published(attach))
		return 0;
	blk_dmabuf_finish(attach, false);
	/* Until it has succeeded. */
	blk_dmabuf_set_path(attach, BLK_DMABUF_PATH_REFUSED);
	sgt = dma_buf_map_attachment(attach->attach, buf->dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	/* A dynamic importer waits itself until a move has come to its end. */
	error = dma_resv_wait_timeout(buf->dmabuf->resv, DMA_RESV_USAGE_KERNEL,
				      true, BLK_DMABUF_MOVE_TIMEOUT);
	if (error <= 0) {
		error = error ?: -ETIMEDOUT;
		goto unmap;
	}
	mapping = blk_dmabuf_mapping_build(attach, sgt, reason);
	if (IS_ERR(mapping)) {
		error = PTR_ERR(mapping);
		goto unmap;
	}
	/* See blk_dmabuf_cpu_map(): they exclude each other. */
	if (mapping->sync && buf->cpu_mapped) {
		blk_dmabuf_mapping_free(mapping);
		error = -EBUSY;
		goto unmap;
	}
	attach->generation++;
	attach->synced |= mapping->sync;
	WRITE_ONCE(attach->way.all, mapping->way.all);
	trace_blk_dmabuf_map(mapping);
	rcu_assign_pointer(attach->mapping, mapping);
	return 0;

unmap:
	dma_buf_unmap_attachment(attach->attach, sgt, buf->dir);
	return error;
}

/* Tell policies, which may steer away from what has to be mapped again. */
static void blk_dmabuf_tell_invalidated(struct blk_dmabuf_buffer *buf)
{
	struct gendisk *disk;
	struct blk_dmabuf *reg;

	guard(rcu)();
	list_for_each_entry_rcu(reg, &buf->regs, buf_list) {
		disk = rcu_dereference(reg->disk);
		if (disk && blk_dmabuf_invalidated)
			blk_dmabuf_invalidated(disk, reg->id);
	}
}

/*
 * The exporter calls this once for each attachment.  The first call takes the
 * mappings of all of them, with one grace period.
 */
static void blk_dmabuf_invalidate(struct dma_buf_attachment *dma_attach)
{
	struct blk_dmabuf_attachment *attach = dma_attach->importer_priv;
	struct blk_dmabuf_buffer *buf = attach->buf;
	bool any = false;

	dma_resv_assert_held(dma_attach->dmabuf->resv);

	list_for_each_entry(attach, &buf->attachments, list) {
		any |= !!blk_dmabuf_published(attach);
		blk_dmabuf_unpublish(attach);
	}
	list_for_each_entry(attach, &buf->attachments, list)
		blk_dmabuf_finish(attach, true);
	if (!any)
		return;
	buf->invalidations++;
	blk_dmabuf_tell_invalidated(buf);
}

static const struct dma_buf_attach_ops blk_dmabuf_attach_ops = {
	.allow_peer2peer	= true,
	.invalidate_mappings	= blk_dmabuf_invalidate,
};

/*
 * Attachments.  All under the buffer's lock.
 */

static void blk_dmabuf_buffer_put(struct blk_dmabuf_buffer *buf)
{
	if (!refcount_dec_and_test(&buf->ref))
		return;
	mem_cgroup_put(buf->memcg);
	mutex_destroy(&buf->lock);
	kfree_rcu(buf, rcu);
}

static struct blk_dmabuf_dev *blk_dmabuf_dev_find(const struct device *dev)
{
	struct blk_dmabuf_dev *ddev;

	lockdep_assert_held(&blk_dmabuf_registry);

	hash_for_each_possible(blk_dmabuf_devs, ddev, hash, (unsigned long)dev)
		if (ddev->dev == dev)
			return ddev;
	return NULL;
}

static struct blk_dmabuf_attachment *
blk_dmabuf_attachment_find(struct blk_dmabuf_buffer *buf,
			   const struct device *dev)
{
	struct blk_dmabuf_attachment *attach;

	lockdep_assert_held(&buf->lock);

	list_for_each_entry(attach, &buf->attachments, list)
		if (attach->dev == dev)
			return attach;
	return NULL;
}

/*
 * @dev can be a pointer to what was a device.  It is one as long as it has disks,
 * and @reg is not dead as long as its disk is one of these.
 */
static struct device *blk_dmabuf_dev_get(const struct device *dev,
					 const struct blk_dmabuf *reg)
{
	struct blk_dmabuf_dev *ddev;

	guard(mutex)(&blk_dmabuf_registry);
	ddev = blk_dmabuf_dev_find(dev);
	return ddev && !reg->dead ? get_device(ddev->dev) : NULL;
}

/* Enter into the list of a device that still has disks. */
static int blk_dmabuf_attachment_publish(struct blk_dmabuf_attachment *attach)
{
	struct blk_dmabuf_dev *ddev;

	guard(mutex)(&blk_dmabuf_registry);
	ddev = blk_dmabuf_dev_find(attach->dev);
	if (!ddev)
		return -ENODEV;
	list_add(&attach->dev_list, &ddev->attachments);
	return 0;
}

/* Undo blk_dmabuf_attachment_make(); nothing is mapped any more. */
static void blk_dmabuf_attachment_free(struct blk_dmabuf_attachment *attach)
{
	struct blk_dmabuf_buffer *buf = attach->buf;

	dma_buf_detach(buf->dmabuf, attach->attach);
	scoped_guard(mutex, &blk_dmabuf_registry)
		list_del(&attach->dev_list);
	put_device(attach->dev);
	kfree_rcu(attach, rcu);
	blk_dmabuf_buffer_put(buf);
}

static struct blk_dmabuf_attachment *
blk_dmabuf_attachment_make(struct blk_dmabuf *reg, const struct device *dev)
{
	struct blk_dmabuf_attachment *attach;
	struct blk_dmabuf_buffer *buf = reg->buf;
	int error = -ENODEV;

	attach = kzalloc_obj(*attach, GFP_KERNEL_ACCOUNT);
	if (!attach)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&attach->dev_list);
	attach->node = NUMA_NO_NODE;
	attach->buf = buf;
	attach->dev = blk_dmabuf_dev_get(dev, reg);
	if (!attach->dev)
		goto free;
	attach->attach = dma_buf_dynamic_attach(buf->dmabuf, attach->dev,
						&blk_dmabuf_attach_ops, attach);
	if (IS_ERR(attach->attach)) {
		error = PTR_ERR(attach->attach);
		goto put_device;
	}
	refcount_inc(&buf->ref);
	attach->way.iommu = blk_dmabuf_iommu_of(attach->dev);
	error = blk_dmabuf_attachment_publish(attach);
	if (error) {
		blk_dmabuf_attachment_free(attach);
		return ERR_PTR(error);
	}
	dma_resv_lock(buf->dmabuf->resv, NULL);
	list_add_tail_rcu(&attach->list, &buf->attachments);
	dma_resv_unlock(buf->dmabuf->resv);
	return attach;

put_device:
	put_device(attach->dev);
free:
	kfree(attach);
	return ERR_PTR(error);
}

/* Attach the buffer of @reg to @dev if it is not yet. */
static struct blk_dmabuf_attachment *
blk_dmabuf_attachment_get(struct blk_dmabuf *reg, const struct device *dev,
			  enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_attachment *attach;
	struct blk_dmabuf_buffer *buf = reg->buf;

	*reason = BLK_DMABUF_IS_DEAD;
	if (buf->dead)
		return ERR_PTR(-ENODEV);
	attach = blk_dmabuf_attachment_find(buf, dev);
	if (attach)
		return attach;
	attach = blk_dmabuf_attachment_make(reg, dev);
	if (IS_ERR(attach))
		*reason = PTR_ERR(attach) == -ENODEV ? BLK_DMABUF_NO_DEVICE :
						       BLK_DMABUF_ATTACH_FAILED;
	return attach;
}

/* End those attachments of @buf that are on @dev, or all if that is NULL. */
static void blk_dmabuf_detach(struct blk_dmabuf_buffer *buf,
			      const struct device *dev)
{
	struct blk_dmabuf_attachment *attach, *next;
	LIST_HEAD(ended);

	lockdep_assert_held(&buf->lock);

	list_for_each_entry(attach, &buf->attachments, list)
		if (!dev || attach->dev == dev)
			list_add(&attach->ended, &ended);
	dma_resv_lock(buf->dmabuf->resv, NULL);
	list_for_each_entry(attach, &ended, ended)
		blk_dmabuf_unpublish(attach);
	list_for_each_entry(attach, &ended, ended) {
		blk_dmabuf_finish(attach, false);
		list_del_rcu(&attach->list);
	}
	dma_resv_unlock(buf->dmabuf->resv);
	list_for_each_entry_safe(attach, next, &ended, ended)
		blk_dmabuf_attachment_free(attach);
}

/* Unpublish what @buf has mapped for @dev, or for all; do not wait. */
static void blk_dmabuf_buffer_unpublish(struct blk_dmabuf_buffer *buf,
					const struct device *dev)
{
	struct blk_dmabuf_attachment *attach;

	lockdep_assert_held(&buf->lock);

	dma_resv_lock(buf->dmabuf->resv, NULL);
	list_for_each_entry(attach, &buf->attachments, list)
		if (!dev || attach->dev == dev)
			blk_dmabuf_unpublish(attach);
	dma_resv_unlock(buf->dmabuf->resv);
}

/* Wait for what was unpublished, and unmap it. */
static void blk_dmabuf_buffer_finish(struct blk_dmabuf_buffer *buf)
{
	struct blk_dmabuf_attachment *attach;

	lockdep_assert_held(&buf->lock);

	dma_resv_lock(buf->dmabuf->resv, NULL);
	list_for_each_entry(attach, &buf->attachments, list)
		blk_dmabuf_finish(attach, false);
	dma_resv_unlock(buf->dmabuf->resv);
}

/* Map the buffer of @reg for @dev. */
static int blk_dmabuf_buffer_map(struct blk_dmabuf *reg,
				 const struct device *dev,
				 enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	struct blk_dmabuf_attachment *attach;
	struct mem_cgroup *old;
	unsigned int noio;
	int error;

	*reason = BLK_DMABUF_MAP_FAILED;
	if (mutex_lock_interruptible(&buf->lock))
		return -EINTR;
	noio = memalloc_noio_save();
	old = set_active_memcg(buf->memcg);
	attach = blk_dmabuf_attachment_get(reg, dev, reason);
	if (IS_ERR(attach)) {
		error = PTR_ERR(attach);
		goto unlock;
	}
	error = dma_resv_lock_interruptible(buf->dmabuf->resv, NULL);
	if (error)
		goto unlock;
	error = blk_dmabuf_map_locked(attach, reason);
	dma_resv_unlock(buf->dmabuf->resv);
unlock:
	set_active_memcg(old);
	memalloc_noio_restore(noio);
	mutex_unlock(&buf->lock);
	/* The caller's is no system call that could be restarted. */
	return error == -ERESTARTSYS ? -EINTR : error;
}

static void blk_dmabuf_cpu_unmap(struct blk_dmabuf_buffer *buf)
{
	lockdep_assert_held_write(&buf->cpu_life);

	if (!buf->cpu_mapped)
		return;
	dma_resv_lock(buf->dmabuf->resv, NULL);
	dma_buf_vunmap(buf->dmabuf, &buf->vmap);
	WRITE_ONCE(buf->cpu_mapped, false);
	dma_resv_unlock(buf->dmabuf->resv);
}

/* The last registration is gone: end all that the buffer has. */
static void blk_dmabuf_buffer_end(struct blk_dmabuf_buffer *buf)
{
	scoped_guard(mutex, &buf->lock) {
		WRITE_ONCE(buf->dead, true);
		blk_dmabuf_detach(buf, NULL);
	}
	scoped_guard(rwsem_write, &buf->cpu_life)
		blk_dmabuf_cpu_unmap(buf);
	dma_buf_put(buf->dmabuf);
	blk_dmabuf_buffer_put(buf);
}

/*
 * Files and disks.
 */

/* Why a file of a file system takes no premapped I/O; @bdev is what it is on. */
static enum blk_dmabuf_reason blk_dmabuf_check_inode(const struct file *file,
						     const struct block_device *bdev,
						     const struct kstat *stat)
{
	const struct inode *inode = file_inode(file);

	if (!(file->f_op->fop_flags & FOP_DMABUF) || !bdev)
		return BLK_DMABUF_FILE_SYSTEM;
	/* Data that is copied, computed on, or not on the device. */
	if (IS_DAX(inode) || IS_ENCRYPTED(inode) || IS_VERITY(inode) ||
	    mapping_stable_writes(inode->i_mapping))
		return BLK_DMABUF_FILE;
	if (!(stat->result_mask & STATX_DIOALIGN) || !stat->dio_offset_align)
		return BLK_DMABUF_FILE;
	return BLK_DMABUF_OK;
}

/*
 * A file that has data.  Those of procfs and its like do something when they are
 * read or written, to whoever does it: no worker must.
 */
static bool blk_dmabuf_has_data(const struct file *file,
				const struct block_device *bdev)
{
	if (!bdev && !(file->f_mode & FMODE_CAN_ODIRECT))
		return false;
	return (!(file->f_mode & FMODE_READ) || file->f_op->read_iter) &&
	       (!(file->f_mode & FMODE_WRITE) || file->f_op->write_iter);
}

/**
 * blk_dmabuf_check_file - does a file take dma-buf I/O?
 * @file: block device, or file of a file system
 * @copy: copied I/O will do
 * @bdev: set to the block device that it is, or is on, which @file keeps open;
 *	with @copy NULL if there is none
 * @stat: for a file of a file system, what its direct I/O is aligned to
 * @reason: why not; with @copy also why it takes copied I/O only
 *
 * State of an inode that changes later fails I/O where bios are built.
 *
 * Return: 0; -ENOTBLK if it is no such file; -EOPNOTSUPP
 */
int blk_dmabuf_check_file(struct file *file, bool copy,
			  struct block_device **bdev, struct kstat *stat,
			  enum blk_dmabuf_reason *reason)
{
	struct inode *inode = file_inode(file);

	*reason = BLK_DMABUF_OK;
	if (S_ISBLK(inode->i_mode)) {
		*bdev = file_bdev(file);
		return 0;
	}
	*reason = BLK_DMABUF_NO_DEVICE;
	if (!S_ISREG(inode->i_mode))
		return -ENOTBLK;
	*bdev = inode->i_sb->s_bdev;
	if (vfs_getattr(&file->f_path, stat, STATX_DIOALIGN, 0))
		stat->result_mask = 0;
	*reason = blk_dmabuf_check_inode(file, *bdev, stat);
	if (*reason == BLK_DMABUF_OK)
		return 0;
	return copy && blk_dmabuf_has_data(file, *bdev) ? 0 : -EOPNOTSUPP;
}

/**
 * blk_dmabuf_check_disk - does a disk take dma-buf I/O?
 * @disk: the disk
 *
 * Return: %BLK_DMABUF_OK, or why not
 */
enum blk_dmabuf_reason blk_dmabuf_check_disk(struct gendisk *disk)
{
	if (disk->queue->limits.max_dmabuf_sectors)
		return BLK_DMABUF_OK;
	/* Protection information is generated and verified on pages. */
	if (blk_get_integrity(disk))
		return BLK_DMABUF_INTEGRITY;
	/* Zone write plugging holds bios back and merges them. */
	if (bdev_is_zoned(disk->part0))
		return BLK_DMABUF_ZONED;
	return BLK_DMABUF_NO_DRIVER;
}

/**
 * blk_dmabuf_max_sectors - largest dma-buf I/O that a disk takes at once
 * @lim: limits of the disk
 *
 * There is no IOMMU mapping to keep small, as ->max_sectors does.
 */
unsigned int blk_dmabuf_max_sectors(const struct queue_limits *lim)
{
	unsigned int max = min_not_zero(lim->max_user_sectors,
					lim->max_dmabuf_sectors);

	max = min_not_zero(max, lim->max_dev_sectors);
	return min(max, round_down(BIO_MAX_SIZE, lim->logical_block_size) >>
			SECTOR_SHIFT);
}

/**
 * blk_dmabuf_disk_dev - the device that does the DMA of a disk
 * @disk: the disk
 *
 * Return: the device, or NULL if the disk is a stack of others
 */
struct device *blk_dmabuf_disk_dev(struct gendisk *disk)
{
	struct request_queue *q = disk->queue;

	return queue_is_mq(q) ? q->tag_set->dma_dev : NULL;
}

static struct blk_dmabuf_disk *blk_dmabuf_disk_find(const struct gendisk *disk)
{
	struct blk_dmabuf_disk *ddisk;

	lockdep_assert_held(&blk_dmabuf_registry);

	hash_for_each_possible(blk_dmabuf_disks, ddisk, hash,
			       (unsigned long)disk)
		if (ddisk->disk == disk)
			return ddisk;
	return NULL;
}

/* Make @reg one of the registrations on @disk. */
static int blk_dmabuf_disk_add(struct gendisk *disk, struct blk_dmabuf *reg)
{
	struct blk_dmabuf_disk *ddisk = blk_dmabuf_disk_find(disk);

	if (!ddisk) {
		ddisk = kzalloc_obj(*ddisk);
		if (!ddisk)
			return -ENOMEM;
		ddisk->disk = disk;
		INIT_LIST_HEAD(&ddisk->regs);
		hash_add(blk_dmabuf_disks, &ddisk->hash, (unsigned long)disk);
	}
	list_add_tail(&reg->disk_list, &ddisk->regs);
	return 0;
}

static void blk_dmabuf_disk_del(const struct gendisk *disk,
				struct blk_dmabuf *reg)
{
	struct blk_dmabuf_disk *ddisk = blk_dmabuf_disk_find(disk);

	list_del(&reg->disk_list);
	if (ddisk && list_empty(&ddisk->regs)) {
		hash_del(&ddisk->hash);
		kfree(ddisk);
	}
}

/**
 * blk_dmabuf_add_disk - a disk is there
 * @disk: the disk
 *
 * Called by add_disk(), before the disk can be opened.
 */
void blk_dmabuf_add_disk(struct gendisk *disk)
{
	struct device *dev = blk_dmabuf_disk_dev(disk);
	struct blk_dmabuf_dev *ddev;

	if (!dev)
		return;
	guard(mutex)(&blk_dmabuf_registry);
	ddev = blk_dmabuf_dev_find(dev);
	if (!ddev) {
		/* Small, and add_disk() has no way to say that it failed. */
		ddev = kzalloc_obj(*ddev, GFP_NOIO | __GFP_NOFAIL);
		ddev->dev = dev;
		INIT_LIST_HEAD(&ddev->attachments);
		hash_add(blk_dmabuf_devs, &ddev->hash, (unsigned long)dev);
	}
	ddev->disks++;
}

/* The first attachment in @list, its buffer with a memory reference. */
static struct blk_dmabuf_buffer *blk_dmabuf_first_of(struct list_head *list)
{
	struct blk_dmabuf_attachment *attach;

	guard(mutex)(&blk_dmabuf_registry);
	attach = list_first_entry_or_null(list, struct blk_dmabuf_attachment,
					  dev_list);
	if (!attach)
		return NULL;
	refcount_inc(&attach->buf->ref);
	return attach->buf;
}

/*
 * A disk of @dev is gone.  With the last one all attachments to @dev end.  They
 * are unpublished first, so that their grace periods are one.
 */
static void blk_dmabuf_put_dev(struct device *dev)
{
	struct blk_dmabuf_attachment *attach;
	struct blk_dmabuf_buffer *buf;
	struct blk_dmabuf_dev *ddev;
	LIST_HEAD(unpublished);

	scoped_guard(mutex, &blk_dmabuf_registry) {
		ddev = blk_dmabuf_dev_find(dev);
		if (WARN_ON_ONCE(!ddev) || --ddev->disks)
			return;
		/* From here on nobody attaches to it. */
		hash_del(&ddev->hash);
	}
	while ((buf = blk_dmabuf_first_of(&ddev->attachments))) {
		scoped_guard(mutex, &buf->lock) {
			attach = blk_dmabuf_attachment_find(buf, dev);
			if (attach) {
				blk_dmabuf_buffer_unpublish(buf, dev);
				mutex_lock(&blk_dmabuf_registry);
				list_move(&attach->dev_list, &unpublished);
				mutex_unlock(&blk_dmabuf_registry);
			}
		}
		blk_dmabuf_buffer_put(buf);
	}
	while ((buf = blk_dmabuf_first_of(&unpublished))) {
		scoped_guard(mutex, &buf->lock)
			if (blk_dmabuf_attachment_find(buf, dev))
				blk_dmabuf_detach(buf, dev);
		blk_dmabuf_buffer_put(buf);
	}
	kfree(ddev);
}

/*
 * Registrations.
 */

static void blk_dmabuf_free(struct blk_dmabuf *reg)
{
	free_percpu(reg->stats);
	kfree(reg);
}

/* I/O that ends on one CPU may have begun on another: look at the ends first. */
static bool blk_dmabuf_in_flight(const struct blk_dmabuf *reg)
{
	u64 begun = 0, ended = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		ended += READ_ONCE(per_cpu_ptr(reg->stats, cpu)->ended);
	/* Pairs with the order of the two additions of an I/O. */
	smp_rmb();
	for_each_possible_cpu(cpu)
		begun += READ_ONCE(per_cpu_ptr(reg->stats, cpu)->begun);
	return begun != ended;
}

/* No I/O begins any more.  Look again in a grace period if some has not ended. */
static void blk_dmabuf_free_work(struct work_struct *work)
{
	struct blk_dmabuf *reg = container_of(to_rcu_work(work),
					      struct blk_dmabuf, free_work);

	if (blk_dmabuf_in_flight(reg)) {
		queue_rcu_work(system_dfl_wq, &reg->free_work);
		return;
	}
	blk_dmabuf_buffer_put(reg->buf);
	blk_dmabuf_free(reg);
}

/* The last memory reference is gone; slots are read under RCU. */
static void blk_dmabuf_unreferenced(struct kref *ref)
{
	struct blk_dmabuf *reg = container_of(ref, struct blk_dmabuf, ref);

	queue_rcu_work(system_dfl_wq, &reg->free_work);
}

/* Drop a memory reference.  Context: any but NMI. */
void blk_dmabuf_put(struct blk_dmabuf *reg)
{
	kref_put(&reg->ref, blk_dmabuf_unreferenced);
}

/* Mappings made so far of what @reg uses.  Under RCU. */
static u64 blk_dmabuf_sum_generations(const struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_attachment *attach;
	u64 sum = 0;

	list_for_each_entry_rcu(attach, &reg->buf->attachments, list)
		if (reg->wide || attach->dev == reg->dma_dev)
			sum += READ_ONCE(attach->generation);
	return sum;
}

/*
 * Serve no I/O any more.  What is with the device is still to be waited for, by
 * blk_dmabuf_drain().
 *
 * Return: false if @reg was dead
 */
static bool blk_dmabuf_unlink(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	struct gendisk *disk;

	guard(mutex)(&blk_dmabuf_registry);
	if (reg->dead)
		return false;
	scoped_guard(rcu)
		reg->generation = blk_dmabuf_sum_generations(reg);
	WRITE_ONCE(reg->dead, true);
	disk = rcu_replace_pointer(reg->disk, NULL,
				   lockdep_is_held(&blk_dmabuf_registry));
	if (disk)
		blk_dmabuf_disk_del(disk, reg);
	list_del_rcu(&reg->buf_list);
	if (!--buf->nr_regs) {
		hash_del(&buf->hash);
		reg->last = true;
	}
	return true;
}

/* The one device that I/O of @reg has reached, or NULL if it can be any. */
static const struct device *blk_dmabuf_only_dev(const struct blk_dmabuf *reg)
{
	return READ_ONCE(reg->wide) ? NULL : reg->dma_dev;
}

/* Does a registration of @buf need it to be attached to @dev? */
static bool blk_dmabuf_needs(struct blk_dmabuf_buffer *buf,
			     const struct device *dev)
{
	struct blk_dmabuf *reg;

	guard(mutex)(&blk_dmabuf_registry);
	list_for_each_entry(reg, &buf->regs, buf_list)
		if (!reg->nodev &&
		    (!blk_dmabuf_only_dev(reg) || reg->dma_dev == dev))
			return true;
	return false;
}

/* End the attachments of @buf that none of its registrations can need. */
static void blk_dmabuf_trim(struct blk_dmabuf_buffer *buf)
{
	struct blk_dmabuf_attachment *attach;

again:
	list_for_each_entry(attach, &buf->attachments, list) {
		if (blk_dmabuf_needs(buf, attach->dev))
			continue;
		blk_dmabuf_detach(buf, attach->dev);
		goto again;
	}
}

/*
 * Wait for the CPU to be done with @reg, which was unlinked: it looks at ->dead
 * when it has the lock.
 */
static void blk_dmabuf_cpu_drain(struct blk_dmabuf *reg)
{
	down_write(&reg->buf->cpu_life);
	up_write(&reg->buf->cpu_life);
}

/*
 * Wait for the requests of @reg, which was unlinked.  Requests look at ->dead
 * when they have got a mapping, so taking each mapping away once is enough.
 * Other registrations of the buffer map again.
 */
static void blk_dmabuf_drain(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;

	if (reg->last) {
		blk_dmabuf_buffer_end(buf);
		return;
	}
	blk_dmabuf_cpu_drain(reg);
	if (reg->nodev)
		return;
	/* A request says where it goes, or sees ->dead. */
	smp_mb();
	guard(mutex)(&buf->lock);
	if (buf->dead)
		return;
	blk_dmabuf_buffer_unpublish(buf, blk_dmabuf_only_dev(reg));
	blk_dmabuf_buffer_finish(buf);
	blk_dmabuf_trim(buf);
}

/* End @reg, or wait for whoever is about to: its disk may be going. */
static void blk_dmabuf_kill(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;

	if (blk_dmabuf_unlink(reg)) {
		blk_dmabuf_drain(reg);
		return;
	}
	blk_dmabuf_cpu_drain(reg);
	guard(mutex)(&buf->lock);
	if (buf->dead)
		return;
	blk_dmabuf_buffer_unpublish(buf, blk_dmabuf_only_dev(reg));
	blk_dmabuf_buffer_finish(buf);
}

static void blk_dmabuf_disown(struct blk_dmabuf *reg)
{
	blk_dmabuf_kill(reg);
	xa_erase(&blk_dmabuf_ids, reg->id);
	blk_dmabuf_put(reg);
}

static void blk_dmabuf_end_work(struct work_struct *work)
{
	blk_dmabuf_disown(container_of(work, struct blk_dmabuf, end_work));
}

static void blk_dmabuf_end_irq_work(struct irq_work *work)
{
	struct blk_dmabuf *reg = container_of(work, struct blk_dmabuf,
					      end_irq_work);

	queue_work(system_dfl_wq, &reg->end_work);
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
		blk_dmabuf_disown(reg);
}

/* The same in any context, NMI included: it ends soon. */
void blk_dmabuf_release_later(struct blk_dmabuf *reg)
{
	if (refcount_dec_and_test(&reg->users))
		irq_work_queue(&reg->end_irq_work);
}

/* Where @reg is: on @disk, or, if that is NULL, on no device. */
static void blk_dmabuf_set_disk(struct blk_dmabuf *reg, struct gendisk *disk)
{
	RCU_INIT_POINTER(reg->disk, disk);
	if (disk) {
		reg->dma_dev = blk_dmabuf_disk_dev(disk);
		reg->devt = disk_devt(disk);
		strscpy(reg->disk_name, disk->disk_name);
	} else {
		reg->nodev = true;
		/* As /proc/filesystems says it. */
		strscpy(reg->disk_name, "nodev");
	}
	reg->wide = !reg->dma_dev;
}

static struct blk_dmabuf *blk_dmabuf_alloc(struct gendisk *disk)
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
	INIT_RCU_WORK(&reg->free_work, blk_dmabuf_free_work);
	INIT_WORK(&reg->end_work, blk_dmabuf_end_work);
	/* Hard, so that it is not looked at any more when it has run. */
	reg->end_irq_work = IRQ_WORK_INIT_HARD(blk_dmabuf_end_irq_work);
	INIT_LIST_HEAD(&reg->buf_list);
	INIT_LIST_HEAD(&reg->disk_list);
	blk_dmabuf_set_disk(reg, disk);
	reg->uid = current_uid();
	reg->pid = task_tgid_nr(current);
	return reg;
}

static struct blk_dmabuf_buffer *
blk_dmabuf_buffer_find(const struct dma_buf *dmabuf)
{
	struct blk_dmabuf_buffer *buf;

	lockdep_assert_held(&blk_dmabuf_registry);

	hash_for_each_possible(blk_dmabuf_buffers, buf, hash,
			       (unsigned long)dmabuf)
		if (buf->dmabuf == dmabuf)
			return buf;
	return NULL;
}

/* The buffer of @dmabuf, with a memory reference; a new one if there is none. */
static struct blk_dmabuf_buffer *blk_dmabuf_buffer_get(struct dma_buf *dmabuf)
{
	struct blk_dmabuf_buffer *buf = blk_dmabuf_buffer_find(dmabuf);

	if (buf) {
		refcount_inc(&buf->ref);
		return buf;
	}
	buf = kzalloc_obj(*buf, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return NULL;
	refcount_set(&buf->ref, 1);
	INIT_LIST_HEAD(&buf->regs);
	INIT_LIST_HEAD(&buf->attachments);
	mutex_init(&buf->lock);
	init_rwsem(&buf->cpu_life);
	init_rwsem(&buf->cpu_sync);
	buf->dmabuf = dmabuf;
	/* A buffer that is read-only for its holder is so for the device. */
	buf->dir = dmabuf->file->f_mode & FMODE_WRITE ? DMA_BIDIRECTIONAL :
							DMA_TO_DEVICE;
	buf->bytes = dmabuf->size;
	buf->inode = file_inode(dmabuf->file)->i_ino;
	buf->memcg = get_mem_cgroup_from_current();
	strscpy(buf->exporter, dmabuf->exp_name);
	return buf;
}

/*
 * The registration of @buf on @disk that is not about to end, or NULL.  What has
 * died is not in the list, so that NULL is "nodev".
 */
static struct blk_dmabuf *blk_dmabuf_on(struct blk_dmabuf_buffer *buf,
					const struct gendisk *disk)
{
	struct blk_dmabuf *reg;

	lockdep_assert_held(&blk_dmabuf_registry);

	list_for_each_entry(reg, &buf->regs, buf_list)
		if (rcu_access_pointer(reg->disk) == disk &&
		    refcount_read(&reg->users))
			return reg;
	return NULL;
}

static int blk_dmabuf_alloc_id(struct blk_dmabuf *reg, bool trial)
{
	if (trial)
		return xa_alloc_cyclic(&blk_dmabuf_ids, &reg->id, reg,
				       XA_LIMIT(BLK_DMABUF_TRIAL_IDS, INT_MAX),
				       &blk_dmabuf_next_trial, GFP_KERNEL);
	return xa_alloc_cyclic(&blk_dmabuf_ids, &reg->id, reg,
			       XA_LIMIT(1, BLK_DMABUF_TRIAL_IDS - 1),
			       &blk_dmabuf_next_id, GFP_KERNEL);
}

/* Enter into the registry, unless the pair is there or the disk is going. */
static int blk_dmabuf_publish(struct blk_dmabuf *reg, struct gendisk *disk,
			      struct dma_buf *dmabuf,
			      struct blk_dmabuf_attach *args)
{
	struct blk_dmabuf_buffer *buf;
	struct blk_dmabuf *other;
	int error;

	guard(mutex)(&blk_dmabuf_registry);
	/* del_gendisk() marks the disk before it ends what is registered. */
	if (disk && (test_bit(GD_DEAD, &disk->state) || !disk_live(disk))) {
		args->reason = BLK_DMABUF_NO_DEVICE;
		return -ENODEV;
	}
	buf = blk_dmabuf_buffer_get(dmabuf);
	if (!buf)
		return -ENOMEM;
	other = blk_dmabuf_on(buf, disk);
	if (other) {
		args->id = other->id;
		args->reason = BLK_DMABUF_DUPLICATE;
		error = -EEXIST;
		goto put;
	}
	error = disk ? blk_dmabuf_disk_add(disk, reg) : 0;
	if (error)
		goto put;
	reg->buf = buf;
	error = blk_dmabuf_alloc_id(reg, args->flags & BLK_DMABUF_ATTACH_TRIAL);
	if (error < 0)
		goto del;
	if (!buf->nr_regs++) {
		/* One memory and one dma-buf reference for all that follow. */
		refcount_inc(&buf->ref);
		get_dma_buf(dmabuf);
		hash_add(blk_dmabuf_buffers, &buf->hash, (unsigned long)dmabuf);
	}
	list_add_tail_rcu(&reg->buf_list, &buf->regs);
	return 0;

del:
	if (disk)
		blk_dmabuf_disk_del(disk, reg);
put:
	blk_dmabuf_buffer_put(buf);
	return error;
}

/*
 * Attach to the disk's own device, so that an exporter that refuses shows.  Where
 * I/O may be copied, nobody has looked at the disk.
 */
static int blk_dmabuf_attach_now(struct blk_dmabuf *reg, struct gendisk *disk,
				 enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_attachment *attach;

	*reason = BLK_DMABUF_OK;
	if (reg->may_copy)
		*reason = disk ? blk_dmabuf_check_disk(disk) :
				 BLK_DMABUF_FILE_SYSTEM;
	if (*reason != BLK_DMABUF_OK)
		return -EOPNOTSUPP;
	if (!reg->dma_dev)
		return 0;
	guard(mutex)(&reg->buf->lock);
	attach = blk_dmabuf_attachment_get(reg, reg->dma_dev, reason);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	*reason = BLK_DMABUF_OK;
	return 0;
}

/* The disk does not get at the buffer, but the CPU may. */
static int blk_dmabuf_attach_cpu(struct blk_dmabuf *reg, int error,
				 enum blk_dmabuf_reason *reason)
{
	if (!reg->may_copy || !blk_dmabuf_copyable(*reason))
		return error;
	if (!reg->buf->dmabuf->ops->vmap) {
		*reason = BLK_DMABUF_NO_CPU;
		return -EOPNOTSUPP;
	}
	WRITE_ONCE(reg->reason, *reason);
	return 0;
}

/**
 * blk_dmabuf_attach - register a dma-buf on a disk
 * @disk: the disk, or NULL for file systems that have none; without
 *	BLK_DMABUF_ATTACH_COPY checked with blk_dmabuf_check_disk()
 * @dmabuf: the dma-buf; the registration takes a reference of its own
 * @args: flags, checked; where the reason and the id go
 *
 * Return: a registration with one owner, to be dropped with
 * blk_dmabuf_release(), or an ERR_PTR; -EEXIST if the pair is registered
 */
struct blk_dmabuf *blk_dmabuf_attach(struct gendisk *disk,
				     struct dma_buf *dmabuf,
				     struct blk_dmabuf_attach *args)
{
	enum blk_dmabuf_reason reason = BLK_DMABUF_OK;
	struct blk_dmabuf *reg;
	unsigned int noio;
	int error;

	args->reason = BLK_DMABUF_ATTACH_FAILED;
	reg = blk_dmabuf_alloc(disk);
	if (!reg)
		return ERR_PTR(-ENOMEM);
	reg->may_copy = args->flags & BLK_DMABUF_ATTACH_COPY;
	/* Disks that go away wait for the locks, and reclaim for disks. */
	noio = memalloc_noio_save();
	error = blk_dmabuf_publish(reg, disk, dmabuf, args);
	if (error) {
		blk_dmabuf_free(reg);
		goto restore;
	}
	error = blk_dmabuf_attach_now(reg, disk, &reason);
	if (error)
		error = blk_dmabuf_attach_cpu(reg, error, &reason);
	args->reason = reason;
	if (error)
		blk_dmabuf_release(reg);
restore:
	memalloc_noio_restore(noio);
	if (error)
		return ERR_PTR(error);
	args->id = reg->id;
	trace_blk_dmabuf_attach(reg->id, reg->disk_name, reg->buf->exporter,
				reg->buf->inode, reg->buf->bytes);
	return reg;
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
	struct blk_dmabuf_buffer *buf;
	struct blk_dmabuf *reg;

	guard(mutex)(&blk_dmabuf_registry);
	buf = blk_dmabuf_buffer_find(dmabuf);
	reg = buf ? blk_dmabuf_on(buf, disk) : NULL;
	return reg && kref_get_unless_zero(&reg->ref) ? reg : NULL;
}

/**
 * blk_dmabuf_get_dmabuf - get the dma-buf of a registration
 * @id: the registration
 *
 * Return: the dma-buf with a reference, -ENOENT or -ENODEV
 */
struct dma_buf *blk_dmabuf_get_dmabuf(u32 id)
{
	struct dma_buf *dmabuf = ERR_PTR(-ENODEV);
	struct blk_dmabuf *reg = blk_dmabuf_get(id);

	if (!reg)
		return ERR_PTR(-ENOENT);
	scoped_guard(mutex, &reg->buf->lock) {
		if (!reg->buf->dead && !READ_ONCE(reg->dead)) {
			dmabuf = reg->buf->dmabuf;
			get_dma_buf(dmabuf);
		}
	}
	blk_dmabuf_release(reg);
	return dmabuf;
}

/*
 * Is there no way from the disk to the buffer but the CPU, as it is now?  To its
 * own device a disk is attached when it is registered.  Under RCU.
 */
static bool blk_dmabuf_only_copies(const struct blk_dmabuf *reg)
{
	const struct gendisk *disk = rcu_dereference(reg->disk);
	const struct blk_dmabuf_attachment *attach;

	if (!reg->may_copy)
		return false;
	if (disk ? !disk->queue->limits.max_dmabuf_sectors : reg->nodev)
		return true;
	if (!reg->dma_dev)
		return false;
	list_for_each_entry_rcu(attach, &reg->buf->attachments, list)
		if (attach->dev == reg->dma_dev)
			return false;
	return true;
}

/* Do the limits of its disk permit what @reg has mapped?  Not for stacks. */
static bool blk_dmabuf_fits(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_mapping *mapping;
	struct gendisk *disk;

	guard(rcu)();
	disk = rcu_dereference(reg->disk);
	mapping = blk_dmabuf_mapping_of(reg->buf, reg->dma_dev);
	return !disk || !mapping ||
	       blk_dmabuf_mapping_fits(mapping, &disk->queue->limits);
}

/* Map for @dev, and remember how that went. */
static int blk_dmabuf_map_for(struct blk_dmabuf *reg,
			      const struct device *dev,
			      enum blk_dmabuf_reason *reason)
{
	int error;

	*reason = BLK_DMABUF_IS_DEAD;
	if (READ_ONCE(reg->dead))
		return -ENODEV;
	error = blk_dmabuf_buffer_map(reg, dev, reason);
	if (!error && dev == reg->dma_dev && !blk_dmabuf_fits(reg)) {
		*reason = BLK_DMABUF_LAYOUT;
		error = -EOPNOTSUPP;
	}
	WRITE_ONCE(reg->reason, error ? *reason : BLK_DMABUF_OK);
	return error;
}

/* The device behind @dev, 0 for the first, that @reg's buffer is attached to. */
static struct device *blk_dmabuf_nth_dev(struct blk_dmabuf *reg, int n)
{
	struct blk_dmabuf_attachment *attach;

	guard(mutex)(&reg->buf->lock);
	list_for_each_entry(attach, &reg->buf->attachments, list)
		if (!n--)
			return get_device(attach->dev);
	return NULL;
}

/**
 * blk_dmabuf_map - make sure that there is a mapping
 * @reg: registration
 *
 * Maps for the device of the disk; on a stack of disks for those that I/O has
 * found so far; for none where all I/O is copied.  Repeating it is free.
 * Context: may sleep, takes the resv lock.
 *
 * Return: 0, -ENODEV if dead, -EOPNOTSUPP if the device cannot use the layout or
 * the memory, -EINTR if a signal came, or what the exporter says
 */
int blk_dmabuf_map(struct blk_dmabuf *reg)
{
	enum blk_dmabuf_reason reason = BLK_DMABUF_IS_DEAD;
	int error = READ_ONCE(reg->dead) ? -ENODEV : 0;
	struct device *dev;
	int n;

	scoped_guard(rcu)
		if (blk_dmabuf_only_copies(reg))
			return error;
	if (!error && reg->dma_dev)
		error = blk_dmabuf_map_for(reg, reg->dma_dev, &reason);
	else
		for (n = 0; !error && (dev = blk_dmabuf_nth_dev(reg, n)); n++) {
			error = blk_dmabuf_map_for(reg, dev, &reason);
			put_device(dev);
		}
	return error ? blk_dmabuf_refuse(reg->devt, reg, reason, error) : 0;
}

/**
 * blk_dmabuf_map_missed - map what an I/O did not find
 * @io: the I/O, none of its bios in flight any more
 *
 * Makes @io ready to be issued again, or refuses it.  Context: may sleep, takes the
 * resv lock.
 *
 * Return: as blk_dmabuf_map()
 */
int blk_dmabuf_map_missed(struct blk_dmabuf_io *io)
{
	const struct device *dev = io->missed;
	enum blk_dmabuf_reason reason;
	int error;

	io->wait = false;
	io->again = true;
	io->seq = 0;
	if (!dev)
		return 0;
	error = blk_dmabuf_map_for(io->reg, dev, &reason);
	if (error)
		blk_dmabuf_refuse_io(io, io->desc.dev, reason, error);
	io->missed = NULL;
	return error;
}

/**
 * blk_dmabuf_unmap - wait for I/O in flight and drop the mapping
 * @reg: registration
 *
 * The next I/O maps again.  Other registrations of the buffer on the same device
 * share the mapping, and map again as well.
 *
 * Return: 0, also if there is no mapping, or -ENODEV if dead
 */
int blk_dmabuf_unmap(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;

	guard(mutex)(&buf->lock);
	if (buf->dead || READ_ONCE(reg->dead))
		return -ENODEV;
	blk_dmabuf_buffer_unpublish(buf, blk_dmabuf_only_dev(reg));
	blk_dmabuf_buffer_finish(buf);
	return 0;
}

/*
 * Did a mapping of @buf have to be synced?  Not only one that is there: around CPU
 * access exporters sync mappings of their own, which can be old by then.
 */
static bool blk_dmabuf_is_synced(struct blk_dmabuf_buffer *buf)
{
	const struct blk_dmabuf_attachment *attach;

	dma_resv_assert_held(buf->dmabuf->resv);

	list_for_each_entry(attach, &buf->attachments, list)
		if (attach->synced)
			return true;
	return false;
}

/*
 * May the CPU access the buffer, as long as the caller holds its lock, and not the
 * resv lock?
 */
static bool blk_dmabuf_cpu_allowed(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	bool synced;

	if (buf->dead || READ_ONCE(reg->dead))
		return false;
	dma_resv_lock(buf->dmabuf->resv, NULL);
	synced = blk_dmabuf_is_synced(buf);
	dma_resv_unlock(buf->dmabuf->resv);
	return !synced;
}

/*
 * Wait for fences before a lock is taken that disks which go away wait for.  What
 * is added meanwhile is waited for by the exporter.
 */
static int blk_dmabuf_wait_idle(struct blk_dmabuf *reg, bool write)
{
	struct dma_buf *dmabuf = NULL;
	long left;

	scoped_guard(mutex, &reg->buf->lock) {
		if (reg->buf->dead)
			return -ENODEV;
		dmabuf = reg->buf->dmabuf;
		get_dma_buf(dmabuf);
	}
	left = dma_resv_wait_timeout(dmabuf->resv, dma_resv_usage_rw(write),
				     true, BLK_DMABUF_MOVE_TIMEOUT);
	dma_buf_put(dmabuf);
	return left > 0 ? 0 : left ?: -ETIMEDOUT;
}

/**
 * blk_dmabuf_zero_begin - a CPU mapping of a buffer, to zero pieces of it
 * @reg: registration
 * @map: out: all of the buffer
 *
 * For holes of files.  Context: may sleep; takes locks of the buffer, the resv
 * lock last, which blk_dmabuf_zero_end() releases.
 *
 * Memory that is bounced or cached cannot be zeroed: exporters sync all of a
 * buffer around CPU access, and what a device reads into another part of it
 * meanwhile would be lost.
 *
 * Return: 0; -EINTR if a signal came; -EOPNOTSUPP if there is no CPU access
 */
int blk_dmabuf_zero_begin(struct blk_dmabuf *reg, struct iosys_map *map)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	struct dma_buf *dmabuf = buf->dmabuf;
	int error;

	if (buf->dir == DMA_TO_DEVICE)
		return -EOPNOTSUPP;
	error = blk_dmabuf_wait_idle(reg, true);
	if (error)
		return error == -ERESTARTSYS ? -EINTR : -EOPNOTSUPP;
	/* Nothing is mapped by us, and no registration drained, meanwhile. */
	mutex_lock(&buf->lock);
	error = -EOPNOTSUPP;
	if (!blk_dmabuf_cpu_allowed(reg))
		goto unlock;
	/* The CPU is not copying into it either. */
	down_write(&buf->cpu_sync);
	error = dma_buf_begin_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	if (error)
		goto up;
	dma_resv_lock(dmabuf->resv, NULL);
	error = dma_buf_vmap(dmabuf, map);
	if (!error)
		return 0;
	dma_resv_unlock(dmabuf->resv);
	dma_buf_end_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	error = -EOPNOTSUPP;
up:
	up_write(&buf->cpu_sync);
unlock:
	mutex_unlock(&buf->lock);
	return error == -ERESTARTSYS ? -EINTR : -EOPNOTSUPP;
}

/** blk_dmabuf_zero_end - the pieces are zeroed */
void blk_dmabuf_zero_end(struct blk_dmabuf *reg, struct iosys_map *map)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	struct dma_buf *dmabuf = buf->dmabuf;

	dma_buf_vunmap(dmabuf, map);
	dma_resv_unlock(dmabuf->resv);
	dma_buf_end_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	up_write(&buf->cpu_sync);
	mutex_unlock(&buf->lock);
}

/*
 * CPU access, for copying.
 *
 * The CPU mapping is made by the first that needs it, and stays until no slot of
 * a channel that may copy is left, or no registration.  Exporters that could move
 * the buffer otherwise cannot as long as it is there.
 *
 * Begin and end are about all of the buffer.  The CPU's stores survive both as
 * long as begin says DMA_TO_DEVICE, so that those who write may do so at the same
 * time.  DMA_FROM_DEVICE takes what devices have written: memory that is bounced is
 * overwritten, caches are dropped.  Nobody may be writing then.
 */

/*
 * Make the CPU mapping.  Memory that a device sees through caches or bounce
 * buffers is not copied: the end of CPU access would take what the device reads
 * into another part of it meanwhile.  As long as there is the CPU mapping, no DMA
 * mapping of that kind is made.
 */
static int blk_dmabuf_cpu_map(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	struct dma_buf *dmabuf = buf->dmabuf;
	int error;

	lockdep_assert_held_write(&buf->cpu_life);

	if (!dmabuf->ops->vmap)
		return -EOPNOTSUPP;
	/* Nothing is mapped by us meanwhile. */
	guard(mutex)(&buf->lock);
	if (!blk_dmabuf_cpu_allowed(reg))
		return -EOPNOTSUPP;
	guard(rwsem_write)(&buf->cpu_sync);
	/* Whatever the exporter sets up once is so for both directions. */
	if (dma_buf_begin_cpu_access(dmabuf, DMA_BIDIRECTIONAL))
		return -EOPNOTSUPP;
	dma_resv_lock(dmabuf->resv, NULL);
	error = dma_buf_vmap(dmabuf, &buf->vmap);
	WRITE_ONCE(buf->cpu_mapped, !error);
	dma_resv_unlock(dmabuf->resv);
	dma_buf_end_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	return error;
}

/* Take ->cpu_life for reading, with a CPU mapping if @reg is not dead. */
static int blk_dmabuf_cpu_enter(struct blk_dmabuf *reg)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	int error = 0;

	down_read(&buf->cpu_life);
	if (likely(READ_ONCE(buf->cpu_mapped)) || READ_ONCE(reg->dead))
		return 0;
	up_read(&buf->cpu_life);
	down_write(&buf->cpu_life);
	if (!buf->cpu_mapped && !READ_ONCE(reg->dead))
		error = blk_dmabuf_cpu_map(reg);
	downgrade_write(&buf->cpu_life);
	return error;
}

/* Tell the exporter. */
static int blk_dmabuf_cpu_sync(struct blk_dmabuf_buffer *buf, bool write)
{
	int error;

	if (!write) {
		guard(rwsem_write)(&buf->cpu_sync);
		return dma_buf_begin_cpu_access(buf->dmabuf, DMA_FROM_DEVICE);
	}
	down_read(&buf->cpu_sync);
	error = dma_buf_begin_cpu_access(buf->dmabuf, DMA_TO_DEVICE);
	if (error)
		up_read(&buf->cpu_sync);
	return error;
}

/* Drop the CPU mapping, unless a slot can need it. */
static void blk_dmabuf_cpu_trim(struct blk_dmabuf_buffer *buf)
{
	unsigned int noio = memalloc_noio_save();

	scoped_guard(rwsem_write, &buf->cpu_life)
		if (!atomic_read(&buf->cpu_users))
			blk_dmabuf_cpu_unmap(buf);
	memalloc_noio_restore(noio);
}

/* Undo blk_dmabuf_cpu_enter(). */
static void blk_dmabuf_cpu_leave(struct blk_dmabuf_cpu *cpu)
{
	struct blk_dmabuf_buffer *buf = cpu->buf;

	up_read(&buf->cpu_life);
	memalloc_noio_restore(cpu->noio);
	/* It was unbound meanwhile, and that could have been before. */
	if (unlikely(!atomic_read(&buf->cpu_users)))
		blk_dmabuf_cpu_trim(buf);
}

/**
 * blk_dmabuf_cpu_begin - begin CPU access to a buffer
 * @cpu: filled in, for blk_dmabuf_cpu_end()
 * @reg: registration, with an I/O that has begun
 * @write: the CPU writes to it
 * @reason: why not
 *
 * In between no I/O is to be waited for, and no memory to be allocated but with
 * GFP_NOIO.  Context: may sleep, takes the resv lock, holds no lock of a file
 * system; where no signal comes.
 *
 * Return: 0, -ENODEV if dead, -EOPNOTSUPP if there is no CPU access, -ETIMEDOUT if
 * what is under way with it does not end
 */
int blk_dmabuf_cpu_begin(struct blk_dmabuf_cpu *cpu, struct blk_dmabuf *reg,
			 bool write, enum blk_dmabuf_reason *reason)
{
	struct blk_dmabuf_buffer *buf = reg->buf;
	int error;

	cpu->buf = buf;
	cpu->write = write;
	/* The mapping is made for both directions. */
	error = blk_dmabuf_wait_idle(reg, write ||
				     !READ_ONCE(buf->cpu_mapped));
	*reason = error == -ENODEV ? BLK_DMABUF_IS_DEAD : BLK_DMABUF_NO_CPU;
	if (error)
		return error;
	/* Disks that go away wait for the lock, and reclaim for disks. */
	cpu->noio = memalloc_noio_save();
	error = blk_dmabuf_cpu_enter(reg);
	if (!error && READ_ONCE(reg->dead)) {
		*reason = BLK_DMABUF_IS_DEAD;
		error = -ENODEV;
	}
	if (!error && blk_dmabuf_cpu_sync(buf, write))
		error = -EOPNOTSUPP;
	if (!error) {
		cpu->map = buf->vmap;
		return 0;
	}
	blk_dmabuf_cpu_leave(cpu);
	return error == -ENODEV ? error : -EOPNOTSUPP;
}

/**
 * blk_dmabuf_cpu_end - end CPU access to a buffer
 * @cpu: what blk_dmabuf_cpu_begin() has filled in
 */
void blk_dmabuf_cpu_end(struct blk_dmabuf_cpu *cpu)
{
	struct blk_dmabuf_buffer *buf = cpu->buf;

	dma_buf_end_cpu_access(buf->dmabuf, cpu->write ? DMA_TO_DEVICE :
							 DMA_FROM_DEVICE);
	if (cpu->write)
		up_read(&buf->cpu_sync);
	blk_dmabuf_cpu_leave(cpu);
}

/* A slot of a channel that may copy is @reg's. */
void blk_dmabuf_cpu_get(struct blk_dmabuf *reg)
{
	if (reg->may_copy)
		atomic_inc(&reg->buf->cpu_users);
}

/* It no longer is.  Context: may sleep, takes the resv lock. */
void blk_dmabuf_cpu_put(struct blk_dmabuf *reg)
{
	if (reg->may_copy && atomic_dec_and_test(&reg->buf->cpu_users))
		blk_dmabuf_cpu_trim(reg->buf);
}

/* The mapping that describes @reg best: of a stack the one with most ranges. */
static const struct blk_dmabuf_mapping *
blk_dmabuf_reg_mapping(const struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_mapping *mapping, *best = NULL;
	const struct blk_dmabuf_attachment *attach;

	list_for_each_entry_rcu(attach, &reg->buf->attachments, list) {
		if (!reg->wide && attach->dev != reg->dma_dev)
			continue;
		mapping = rcu_dereference(attach->mapping);
		if (mapping && (!best || mapping->nr_ranges > best->nr_ranges))
			best = mapping;
	}
	return best;
}

/* The farthest way of those to the devices that @reg is attached to. */
static union blk_dmabuf_way blk_dmabuf_reg_way(const struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_attachment *attach;
	union blk_dmabuf_way way, worst = {};

	list_for_each_entry_rcu(attach, &reg->buf->attachments, list) {
		if (!reg->wide && attach->dev != reg->dma_dev)
			continue;
		way.all = READ_ONCE(attach->way.all);
		if (!worst.all || way.path > worst.path ||
		    (way.path == worst.path && way.distance > worst.distance))
			worst = way;
	}
	return worst;
}

/* What I/O on @reg does as things are now; @path is what is mapped. */
static enum blk_dmabuf_path blk_dmabuf_path_of(const struct blk_dmabuf *reg,
					       enum blk_dmabuf_path path)
{
	enum blk_dmabuf_reason reason = READ_ONCE(reg->reason);

	/* These are about one I/O, and not about the next. */
	if (reason == BLK_DMABUF_HOLE || reason == BLK_DMABUF_MOVED)
		reason = BLK_DMABUF_OK;
	if (path == BLK_DMABUF_PATH_NONE && reason == BLK_DMABUF_OK)
		return path;
	/* What is mapped need not suit the disk. */
	if (path != BLK_DMABUF_PATH_NONE && path != BLK_DMABUF_PATH_REFUSED &&
	    reason != BLK_DMABUF_LAYOUT)
		return path;
	return reg->may_copy &&
	       (reason == BLK_DMABUF_OK || blk_dmabuf_copyable(reason)) ?
	       BLK_DMABUF_PATH_COPY : BLK_DMABUF_PATH_REFUSED;
}

/**
 * blk_dmabuf_get_way - the way between disk and buffer of a registration
 * @reg: registration
 *
 * Return: the way; ->path is %BLK_DMABUF_PATH_NONE if that is not known, or
 * @reg is dead
 */
union blk_dmabuf_way blk_dmabuf_get_way(struct blk_dmabuf *reg)
{
	union blk_dmabuf_way way = {};

	if (READ_ONCE(reg->dead))
		return way;
	guard(rcu)();
	if (blk_dmabuf_only_copies(reg)) {
		way.path = BLK_DMABUF_PATH_COPY;
		return way;
	}
	way = blk_dmabuf_reg_way(reg);
	way.path = blk_dmabuf_path_of(reg, way.path);
	return way;
}

/**
 * blk_dmabuf_get_flags - BLK_DMABUF_F_* of a registration and its mapping
 * @reg: registration
 */
u32 blk_dmabuf_get_flags(struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_mapping *mapping;
	u32 flags = 0;

	if (reg->buf->dir == DMA_BIDIRECTIONAL)
		flags |= BLK_DMABUF_F_WRITABLE;
	if (reg->may_copy)
		flags |= BLK_DMABUF_F_MAY_COPY;
	guard(rcu)();
	if (blk_dmabuf_only_copies(reg))
		return flags | BLK_DMABUF_F_COPY;
	if (!reg->dma_dev)
		flags |= BLK_DMABUF_F_STACK;
	mapping = blk_dmabuf_reg_mapping(reg);
	if (mapping && mapping->sync)
		flags |= BLK_DMABUF_F_SYNC;
	if (mapping && mapping->peer)
		flags |= BLK_DMABUF_F_P2P;
	if (blk_dmabuf_reg_way(reg).acs)
		flags |= BLK_DMABUF_F_ACS;
	return flags;
}

/**
 * blk_dmabuf_get_node - NUMA node of the memory of a registration
 * @reg: registration
 *
 * Return: the node, or NUMA_NO_NODE if that is not known yet or there is none
 */
int blk_dmabuf_get_node(struct blk_dmabuf *reg)
{
	const struct blk_dmabuf_attachment *attach;

	guard(rcu)();
	list_for_each_entry_rcu(attach, &reg->buf->attachments, list)
		if (attach->node != NUMA_NO_NODE)
			return READ_ONCE(attach->node);
	return NUMA_NO_NODE;
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
		info->retries += s->retries;
		info->copied += s->copied;
		info->copied_bytes += s->copied_bytes;
	}
}

/* What its attachments say; under RCU. */
static void blk_dmabuf_get_mapped(struct blk_dmabuf *reg,
				  struct blk_dmabuf_info *info)
{
	const struct blk_dmabuf_attachment *attach;
	const struct blk_dmabuf_mapping *mapping;

	list_for_each_entry_rcu(attach, &reg->buf->attachments, list) {
		if (!reg->wide && attach->dev != reg->dma_dev)
			continue;
		info->devices++;
	}
	info->generation = blk_dmabuf_sum_generations(reg);
	mapping = blk_dmabuf_reg_mapping(reg);
	if (!mapping)
		return;
	info->state = BLK_DMABUF_LIVE;
	info->ranges = mapping->nr_ranges;
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
	union blk_dmabuf_way way = blk_dmabuf_get_way(reg);
	const struct blk_dmabuf_buffer *buf = reg->buf;
	struct gendisk *disk;

	*info = (struct blk_dmabuf_info) {
		.id		= reg->id,
		.flags		= blk_dmabuf_get_flags(reg),
		.reason		= READ_ONCE(reg->reason),
		.dev_major	= MAJOR(reg->devt),
		.dev_minor	= MINOR(reg->devt),
		.uid		= from_kuid(&init_user_ns, reg->uid),
		.pid		= reg->pid,
		.bytes		= buf->bytes,
		.sharers	= READ_ONCE(buf->nr_regs),
		.generation	= reg->generation,
		.invalidations	= READ_ONCE(buf->invalidations),
		.inode		= buf->inode,
		.path		= way.path,
		.iommu		= way.iommu,
		.distance	= way.distance,
		.provider_domain = way.domain,
		.provider	= way.provider,
		.provider_bar	= way.bar,
	};
	strscpy(info->disk, reg->disk_name);
	strscpy(info->exporter, buf->exporter);
	blk_dmabuf_sum_stats(reg, info);

	guard(rcu)();
	disk = rcu_dereference(reg->disk);
	if (!disk) {
		if (!reg->nodev || READ_ONCE(reg->dead))
			info->state = BLK_DMABUF_DEAD;
		return;
	}
	info->max_io = blk_dmabuf_max_sectors(&disk->queue->limits) <<
		       SECTOR_SHIFT;
	if (!(info->flags & BLK_DMABUF_F_COPY))
		blk_dmabuf_get_mapped(reg, info);
}

/* The first registration on @disk, with a memory reference. */
static struct blk_dmabuf *blk_dmabuf_first_on(struct gendisk *disk)
{
	struct blk_dmabuf_disk *ddisk;
	struct blk_dmabuf *reg;

	guard(mutex)(&blk_dmabuf_registry);
	ddisk = blk_dmabuf_disk_find(disk);
	if (!ddisk)
		return NULL;
	reg = list_first_entry(&ddisk->regs, struct blk_dmabuf, disk_list);
	/* It is in the list, so that its owners' reference is there. */
	kref_get(&reg->ref);
	return reg;
}

/**
 * blk_dmabuf_end_disk - end all that is registered on a disk
 * @disk: the disk, no longer live
 * @added: blk_dmabuf_add_disk() was called for it
 *
 * Called by del_gendisk() before the driver lets go of the DMA device.  If the
 * disk has a queue of its own no I/O of it is left to wait for; below a stack
 * there can be.
 */
void blk_dmabuf_end_disk(struct gendisk *disk, bool added)
{
	struct device *dev = blk_dmabuf_disk_dev(disk);
	struct blk_dmabuf *reg, *next;
	LIST_HEAD(ended);

	/* Unpublish all mappings first: their grace periods are one then. */
	while ((reg = blk_dmabuf_first_on(disk))) {
		if (!blk_dmabuf_unlink(reg)) {
			blk_dmabuf_put(reg);
			continue;
		}
		list_add_tail(&reg->disk_list, &ended);
		guard(mutex)(&reg->buf->lock);
		if (!reg->buf->dead)
			blk_dmabuf_buffer_unpublish(reg->buf,
						    blk_dmabuf_only_dev(reg));
	}
	if (added && dev)
		blk_dmabuf_put_dev(dev);
	list_for_each_entry_safe(reg, next, &ended, disk_list) {
		list_del(&reg->disk_list);
		blk_dmabuf_drain(reg);
		blk_dmabuf_put(reg);
	}
}
