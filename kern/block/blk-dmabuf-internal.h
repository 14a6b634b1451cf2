/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block I/O on dma-bufs, for the files that it is made of.  Each knows only
 * those before it:
 *
 *	blk-dmabuf-p2p.c	the way to memory of another PCI device
 *	blk-dmabuf.c		registrations, buffers, attachments, mappings
 *	blk-dmabuf-bio.c	hooks of bios and requests
 *	blk-dmabuf-policy.c	policies
 *	blk-dmabuf-copy.c	copying, where a channel cannot do I/O otherwise
 *	blk-dmabuf-chan.c	channels
 *	blk-dmabuf-bpf.c	kfuncs of control programs
 */
#ifndef BLK_DMABUF_INTERNAL_H
#define BLK_DMABUF_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bio-dmabuf.h>
#include <linux/blk-dmabuf-policy.h>
#include <linux/blkdev.h>
#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/iosys-map.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/uidgid_types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/blk-dmabuf.h>

struct block_device;
struct blk_dmabuf_copier;
struct cgroup_subsys_state;
struct cred;
struct dma_buf;
struct dma_buf_attachment;
struct file;
struct kiocb;
struct kstat;
struct mem_cgroup;
struct pci_dev;
struct sg_table;

/* The largest that a way has room for; of more nobody cares how many. */
#define BLK_DMABUF_MAX_DISTANCE	63

/**
 * union blk_dmabuf_way - the way between a device and the memory of a buffer
 * @domain: of the PCI device whose memory it is
 * @provider: that device, as PCI_DEVID() has it
 * @bar: BAR that the memory begins in
 * @distance: bridges and devices in between, as pci_p2pdma_distance() counts
 * @path: enum blk_dmabuf_path
 * @iommu: enum blk_dmabuf_iommu
 * @acs: a port in between redirects to the host bridge
 * @all: the same in one word, to be read without a lock
 */
union blk_dmabuf_way {
	struct {
		u64	domain:32,
			provider:16,
			bar:3,
			distance:6,
			path:3,
			iommu:3,
			acs:1;
	};
	u64	all;
};

static_assert(sizeof(union blk_dmabuf_way) == sizeof(u64));

/**
 * struct blk_dmabuf_range - contiguous DMA addresses
 * @start: offset of the first byte in the buffer
 * @addr: DMA address of that byte
 *
 * A range ends where the next one starts; a sentinel ends the last.
 */
struct blk_dmabuf_range {
	u64		start;
	dma_addr_t	addr;
};

/**
 * struct blk_dmabuf_mapping - one generation of an attachment's DMA mapping
 * @ref: one while published, one for each request whose device may touch the
 *	memory
 * @drained: completed when @ref is gone
 * @attach: the attachment; outlives the mapping
 * @sgt: what the exporter returned, given back at unmap
 * @seq: number of this mapping, never used again
 * @bytes: size of the buffer
 * @gaps: all address bits that are set where one range ends and the next starts
 * @gap_bit: blk_dmabuf_gap_bit() of @gaps
 * @longest: bytes of the longest range
 * @boundary: power of 2 that no range crosses a multiple of
 * @sync: the CPU and the device do not see the same memory at all times
 * @peer: the memory is not system RAM
 * @way: the way to it
 * @scale: ranges for each 4 KiB, in units of 2^-32, to guess where an offset is; 0 if
 *	not known
 * @nr_ranges: ranges in use
 * @max_ranges: ranges allocated, without the sentinel
 * @ranges: the range index: the ranges by ascending @start, and a sentinel
 *
 * Immutable once published.
 */
struct blk_dmabuf_mapping {
	struct percpu_ref		ref;
	struct completion		drained;
	struct blk_dmabuf_attachment	*attach;
	struct sg_table			*sgt;
	u64				seq;
	u64				bytes;
	dma_addr_t			gaps;
	unsigned int			gap_bit;
	u64				longest;
	u64				boundary;
	bool				sync;
	bool				peer;
	union blk_dmabuf_way		way;
	u64				scale;
	unsigned int			nr_ranges;
	unsigned int			max_ranges;
	struct blk_dmabuf_range		ranges[];
};

/**
 * struct blk_dmabuf_attachment - a buffer on a DMA device
 * @list: entry in &blk_dmabuf_buffer.attachments
 * @dev_list: entry in &blk_dmabuf_dev.attachments, until it is detached, so that
 *	a device that goes away can wait for that; under the registry mutex
 * @ended: entry in a list of those that are being detached; under the buffer's lock
 * @buf: the buffer; outlives the attachment
 * @dev: device that does the DMA, a reference to it is held
 * @attach: the dma-buf's view of it
 * @mapping: published mapping or NULL; written under the resv lock, read under
 *	RCU
 * @dying: mapping that is being drained; under the resv lock
 * @generation: mappings made
 * @synced: one of them had to be synced; under the resv lock
 * @node: NUMA node of the memory that was mapped last, or NUMA_NO_NODE
 * @way: to what is mapped, or to what could not be mapped last; ->path 0 if there
 *	is neither, ->iommu is always there.  Written under the resv lock, once
 *	@list is an entry
 * @rcu: frees it
 */
struct blk_dmabuf_attachment {
	struct list_head			list;
	struct list_head			dev_list;
	struct list_head			ended;
	struct blk_dmabuf_buffer		*buf;
	struct device				*dev;
	struct dma_buf_attachment		*attach;
	struct blk_dmabuf_mapping __rcu		*mapping;
	struct blk_dmabuf_mapping		*dying;
	u64					generation;
	bool					synced;
	int					node;
	union blk_dmabuf_way			way;
	struct rcu_head				rcu;
};

/**
 * struct blk_dmabuf_buffer - a dma-buf that is registered somewhere
 * @hash: entry in the table of buffers; under the registry mutex
 * @ref: memory references: one for @regs as long as there are any, one for each
 *	registration, one for each attachment
 * @regs: registrations that are not dead; under the registry mutex
 * @nr_regs: how many
 * @lock: serialises attaching, mapping and their ends; taken before the resv
 *	lock
 * @dead: no registration is left; set once, under @lock
 * @dmabuf: the dma-buf, a reference to it is held until @dead
 * @attachments: written under @lock and the resv lock, read under either or RCU
 * @dir: direction it is mapped for
 * @bytes: size of the dma-buf
 * @inode: inode number of the dma-buf
 * @invalidations: times that the exporter took its mappings away
 * @memcg: who pays for range indices: whoever registered the buffer first
 * @cpu_users: slots of channels that may copy
 * @cpu_life: held for reading by CPU access, for writing to make @vmap, to drop
 *	it, and to wait for CPU access
 * @cpu_sync: held for reading while the CPU writes; held for writing where the
 *	exporter may make the CPU see what devices wrote
 * @cpu_mapped: there is @vmap; written under @cpu_life and the resv lock
 * @vmap: CPU mapping
 * @exporter: name of the exporter
 * @rcu: frees it
 */
struct blk_dmabuf_buffer {
	struct hlist_node	hash;
	refcount_t		ref;
	struct list_head	regs;
	unsigned int		nr_regs;
	struct mutex		lock;	/* life cycle, see @lock */
	bool			dead;
	struct dma_buf		*dmabuf;
	struct list_head	attachments;
	enum dma_data_direction	dir;
	u64			bytes;
	u64			inode;
	u64			invalidations;
	struct mem_cgroup	*memcg;
	atomic_t		cpu_users;
	struct rw_semaphore	cpu_life;
	struct rw_semaphore	cpu_sync;
	bool			cpu_mapped;
	struct iosys_map	vmap;
	char			exporter[32];
	struct rcu_head		rcu;
};

/*
 * Counted on the CPU that does it; summed by blk_dmabuf_get_info().  An I/O that
 * has begun and not ended holds the registration, see blk_dmabuf_begin().
 */
struct blk_dmabuf_stats {
	u64	begun;
	u64	ended;
	u64	reads;
	u64	read_bytes;
	u64	writes;
	u64	write_bytes;
	u64	errors;
	u64	retries;
	u64	copied;
	u64	copied_bytes;
};

/**
 * struct blk_dmabuf - registration: a buffer that was admitted to a disk
 * @users: owners in BPF; when the last one goes the registration dies
 * @ref: memory references: the owners' common one, one for each slot; I/O holds
 *	it by @stats
 * @id: name for humans and BPF, key in the registry
 * @buf: the buffer; memory only, see &blk_dmabuf_buffer.dead
 * @buf_list: entry in &blk_dmabuf_buffer.regs, unless @dead
 * @disk_list: entry in the list of its disk; under the registry mutex
 * @dead: it serves no I/O any more; set once, under the registry mutex
 * @last: its end is the end of the buffer
 * @wide: its I/O has reached other devices than @dma_dev: a file system on
 *	several disks, or a disk that is a stack
 * @may_copy: I/O on it may be copied
 * @nodev: it is on no disk, but on all file systems that have none
 * @disk: the disk or NULL; cleared when @dead, read under RCU
 * @dma_dev: device that does the disk's DMA, to be compared only; NULL if the
 *	disk is a stack of others, or does none
 * @devt: device number of the disk
 * @generation: mappings that had been made when it died
 * @reason: why mapping failed last, or I/O was copied
 * @uid: who registered
 * @pid: who registered
 * @disk_name: name of the disk
 * @stats: I/O done
 * @end_irq_work: queues @end_work for owners that may be in NMI
 * @end_work: ends the registration for owners that may not sleep
 * @free_work: frees it a grace period after the last memory reference, and the
 *	end of the last I/O
 */
struct blk_dmabuf {
	refcount_t			users;
	struct kref			ref;
	u32				id;
	struct blk_dmabuf_buffer	*buf;
	struct list_head		buf_list;
	struct list_head		disk_list;
	bool				dead;
	bool				last;
	bool				wide;
	bool				may_copy;
	bool				nodev;
	struct gendisk __rcu		*disk;
	struct device			*dma_dev;
	dev_t				devt;
	u64				generation;
	enum blk_dmabuf_reason		reason;
	kuid_t				uid;
	pid_t				pid;
	char				disk_name[32];
	struct blk_dmabuf_stats __percpu *stats;
	struct irq_work			end_irq_work;
	struct work_struct		end_work;
	struct rcu_work			free_work;
};

/* A placement has 16 bits for the slot; this keeps the table small, too. */
#define BLK_DMABUF_MAX_SLOTS	4096

/**
 * struct blk_dmabuf_table - what is bound to slots
 * @rcu: frees a table that a larger one has replaced
 * @nr: slots that it has, a power of 2
 * @regs: registration in each, a memory reference each, or NULL
 *
 * Each I/O looks something up, which in an array is two loads.
 */
struct blk_dmabuf_table {
	struct rcu_head			rcu;
	unsigned int			nr;
	struct blk_dmabuf __rcu		*regs[] __counted_by(nr);
};

/**
 * struct blk_dmabuf_slots - registrations that somebody may use
 * @lock: for writers of @table and of what is in it
 * @table: bound registrations; read under RCU
 * @disk: the disk that they are registered on, NULL for "nodev"; its holder keeps
 *	it open
 * @dev: device number of @disk
 * @uid: whose they are, in the initial user namespace
 * @cgroup: id of the cgroup whose they are
 */
struct blk_dmabuf_slots {
	struct mutex			lock;	/* writers, see @lock */
	struct blk_dmabuf_table __rcu	*table;
	struct gendisk			*disk;
	u32				dev;
	u32				uid;
	u64				cgroup;
};

/**
 * blk_dmabuf_bound - find what is bound to a slot
 * @slots: the slots
 * @slot: which of them, any number
 *
 * Context: RCU read side.
 *
 * Return: the registration, which is there as long as the caller's RCU section, or
 * NULL
 */
static inline struct blk_dmabuf *
blk_dmabuf_bound(const struct blk_dmabuf_slots *slots, u32 slot)
{
	const struct blk_dmabuf_table *table = rcu_dereference(slots->table);

	if (unlikely(slot >= table->nr))
		return NULL;
	slot = array_index_nospec(slot, table->nr);
	return rcu_dereference(table->regs[slot]);
}

/**
 * struct blk_dmabuf_part - a piece of a buffer that a vectored command names
 * @offset: first byte in the buffer
 * @start: its first byte in the command
 * @slot: slot of the channel
 *
 * A part ends where the next one starts; a sentinel ends the last.  As it comes
 * from the application, @start is the length.
 */
struct blk_dmabuf_part {
	u64	offset;
	u32	start;
	u32	slot;
};

static_assert(sizeof(struct blk_dmabuf_part) == sizeof(struct blk_dmabuf_vec));
static_assert(offsetof(struct blk_dmabuf_part, offset) ==
	      offsetof(struct blk_dmabuf_vec, offset));
static_assert(offsetof(struct blk_dmabuf_part, start) ==
	      offsetof(struct blk_dmabuf_vec, len));
static_assert(offsetof(struct blk_dmabuf_part, slot) ==
	      offsetof(struct blk_dmabuf_vec, slot));

/**
 * struct blk_dmabuf_parts - what a vectored command names, one after the other
 * @ref: one for each I/O of the command, one while it is being issued
 * @nr: parts, without the sentinel
 * @part: the parts by ascending start
 *
 * Immutable once an I/O points to it.
 */
struct blk_dmabuf_parts {
	refcount_t		ref;
	unsigned int		nr;
	struct blk_dmabuf_part	part[];
};

/* &blk_dmabuf_io.seq: bios of the I/O were cut for different mappings. */
#define BLK_DMABUF_SEQ_MIXED	U64_MAX

/**
 * struct blk_dmabuf_io - what a bio points to
 * @route: @desc, @q and @local, which is all that map_queue() gets
 * @desc: what a policy sees of it
 * @q: queue of the disk that a policy is asked for; undefined until one is
 * @local: hardware queue that no policy would give the bio that map_queue() is
 *	asked about; undefined until then
 * @slots: what its submitter may use
 * @reg: registration that it runs on, held by blk_dmabuf_begin()
 * @parts: with a reference, parts of the buffer that are scattered over it; NULL
 *	if the I/O is one piece
 * @start: what offsets of its bios begin with.  They count bytes of the buffer, or,
 *	with @parts, of the command
 * @seq: number of the mapping that its bios were cut for, 0 if there was none
 *	yet, BLK_DMABUF_SEQ_MIXED if there was more than one, or none was looked at
 * @missed: DMA device that had no mapping, or none that is as good as the one
 *	that bios were cut for; to be compared only
 * @nowait: it was issued where it must not sleep
 * @only_peer: refuse it if the memory is no peer's
 * @wait: it has to do what may sleep, and is @nowait
 * @again: it was issued before; look at each bio, so that what is wrong gets its
 *	name
 * @may_copy: what it is refused for on its way may be a reason to copy it
 * @placed: place() has said where it goes
 * @refused: why it was refused on its way, see blk_dmabuf_refuse_io()
 * @error: what its submitter gets to see then, whatever the bios ended with
 * @placed_by: ->seq of the policy whose complete() is due, or 0
 *
 * Lives longer than all bios that point to it.  An I/O that ends with an error
 * and has @missed or @wait set is to be issued again, after
 * blk_dmabuf_map_missed(), where sleeping is allowed and no lock is held.
 */
struct blk_dmabuf_io {
	struct_group_tagged(blk_dmabuf_route, route,
		struct blk_dmabuf_desc	desc;
		struct request_queue	*q;
		struct blk_mq_hw_ctx	*local;
	);
	struct blk_dmabuf_slots		*slots;
	struct blk_dmabuf		*reg;
	struct blk_dmabuf_parts		*parts;
	u64				start;
	u64				seq;
	const struct device		*missed;
	bool				nowait;
	bool				only_peer;
	bool				wait;
	bool				again;
	bool				may_copy;
	bool				placed;
	enum blk_dmabuf_reason		refused;
	int				error;
	u64				placed_by;
};

/* ---- blk-dmabuf-p2p.c ---- */

/**
 * struct blk_dmabuf_peer - memory of a PCI device
 * @dev: device that does the DMA
 * @bus: addresses are those on the bus, not the CPU's
 * @provider: whose memory it is, with a reference, or NULL
 * @node: its NUMA node, or NUMA_NO_NODE
 * @bar: the BAR that was looked at last
 * @start: first address of it
 * @end: last address of it
 */
struct blk_dmabuf_peer {
	struct device	*dev;
	bool		bus;
	struct pci_dev	*provider;
	int		node;
	unsigned int	bar;
	u64		start;
	u64		end;
};

#ifdef CONFIG_BLK_DMABUF_P2P
bool blk_dmabuf_peer_find(struct blk_dmabuf_peer *peer, u64 addr);
enum blk_dmabuf_reason blk_dmabuf_peer_way(const struct blk_dmabuf_peer *peer,
					   union blk_dmabuf_way *way);
void blk_dmabuf_peer_put(struct blk_dmabuf_peer *peer);
#else
static inline bool blk_dmabuf_peer_find(struct blk_dmabuf_peer *peer, u64 addr)
{
	return false;
}

static inline enum blk_dmabuf_reason
blk_dmabuf_peer_way(const struct blk_dmabuf_peer *peer,
		    union blk_dmabuf_way *way)
{
	return BLK_DMABUF_MEMORY;
}

static inline void blk_dmabuf_peer_put(struct blk_dmabuf_peer *peer)
{
}
#endif

/* ---- blk-dmabuf.c ---- */

extern atomic64_t blk_dmabuf_refused[BLK_DMABUF_NR_REASONS];

/* Set by policies: a registration on @disk lost its mapping.  Under RCU. */
extern void (*blk_dmabuf_invalidated)(struct gendisk *disk, u32 id);

int blk_dmabuf_refuse(u32 dev, struct blk_dmabuf *reg,
		      enum blk_dmabuf_reason reason, int error);
void blk_dmabuf_refuse_io(struct blk_dmabuf_io *io, u32 dev,
			  enum blk_dmabuf_reason reason, int error);

/*
 * Range index.  Lookup is O(1) where ranges are alike, O(log ranges) elsewhere;
 * advancing is O(ranges passed).
 */
struct blk_dmabuf_mapping *blk_dmabuf_mapping_alloc(unsigned int max_ranges);
void blk_dmabuf_mapping_free(struct blk_dmabuf_mapping *mapping);
int blk_dmabuf_mapping_add(struct blk_dmabuf_mapping *mapping, dma_addr_t addr,
			   u64 len, bool merge);
void blk_dmabuf_mapping_seal(struct blk_dmabuf_mapping *mapping);
unsigned int blk_dmabuf_mapping_search(const struct blk_dmabuf_mapping *mapping,
				       unsigned int low, unsigned int i,
				       u64 offset);
bool blk_dmabuf_mapping_fits(const struct blk_dmabuf_mapping *mapping,
			     const struct queue_limits *lim);

/**
 * blk_dmabuf_mapping_find - find the range that holds an offset
 * @mapping: the mapping
 * @low: index of a range that does not start behind @offset
 * @offset: byte in the buffer, less than its size
 *
 * Return: index of the last range that starts at or before @offset
 */
static inline unsigned int
blk_dmabuf_mapping_find(const struct blk_dmabuf_mapping *mapping,
			unsigned int low, u64 offset)
{
	const struct blk_dmabuf_range *ranges = mapping->ranges;
	u64 scale = mapping->scale;
	unsigned int i;

	/* Of the page's middle: half a range too many or too few does not matter. */
	i = ((offset >> 12) * scale + scale / 2) >> 32;
	if (likely(offset >= ranges[i].start && offset < ranges[i + 1].start))
		return i;
	return blk_dmabuf_mapping_search(mapping, low, i, offset);
}

/*
 * As &request.phys_gap_bit has it.  A gap in the upper half is as good as none
 * for every device.
 */
static inline unsigned int blk_dmabuf_gap_bit(dma_addr_t gaps)
{
	return ffs(lower_32_bits(gaps) & INT_MAX);
}

static inline u64 blk_dmabuf_range_len(const struct blk_dmabuf_range *range)
{
	return range[1].start - range[0].start;
}

static inline unsigned int blk_dmabuf_max_segments(const struct queue_limits *lim)
{
	return lim->max_dmabuf_segments ?: lim->max_segments;
}

/* Files and disks. */
int blk_dmabuf_check_file(struct file *file, bool copy,
			  struct block_device **bdev, struct kstat *stat,
			  enum blk_dmabuf_reason *reason);
bool blk_dmabuf_copyable(enum blk_dmabuf_reason reason);
enum blk_dmabuf_reason blk_dmabuf_check_disk(struct gendisk *disk);
struct device *blk_dmabuf_disk_dev(struct gendisk *disk);
void blk_dmabuf_end_disk(struct gendisk *disk, bool added);

/* Registrations. */
struct blk_dmabuf *blk_dmabuf_attach(struct gendisk *disk,
				     struct dma_buf *dmabuf,
				     struct blk_dmabuf_attach *args);
struct blk_dmabuf *blk_dmabuf_find(struct gendisk *disk,
				   const struct dma_buf *dmabuf);
struct blk_dmabuf *blk_dmabuf_next(u32 after);
struct blk_dmabuf *blk_dmabuf_get(u32 id);
struct dma_buf *blk_dmabuf_get_dmabuf(u32 id);
int blk_dmabuf_map(struct blk_dmabuf *reg);
int blk_dmabuf_map_missed(struct blk_dmabuf_io *io);
int blk_dmabuf_unmap(struct blk_dmabuf *reg);
void blk_dmabuf_release(struct blk_dmabuf *reg);
void blk_dmabuf_release_later(struct blk_dmabuf *reg);
u32 blk_dmabuf_get_flags(struct blk_dmabuf *reg);
int blk_dmabuf_get_node(struct blk_dmabuf *reg);
union blk_dmabuf_way blk_dmabuf_get_way(struct blk_dmabuf *reg);
void blk_dmabuf_get_info(struct blk_dmabuf *reg, struct blk_dmabuf_info *info);
int blk_dmabuf_zero_begin(struct blk_dmabuf *reg, struct iosys_map *map);
void blk_dmabuf_zero_end(struct blk_dmabuf *reg, struct iosys_map *map);

void blk_dmabuf_put(struct blk_dmabuf *reg);

/**
 * struct blk_dmabuf_cpu - CPU access to a buffer
 * @buf: the buffer
 * @map: all of it
 * @write: the CPU writes
 * @noio: memory allocation scope of the caller
 */
struct blk_dmabuf_cpu {
	struct blk_dmabuf_buffer	*buf;
	struct iosys_map		map;
	bool				write;
	unsigned int			noio;
};

int blk_dmabuf_cpu_begin(struct blk_dmabuf_cpu *cpu, struct blk_dmabuf *reg,
			 bool write, enum blk_dmabuf_reason *reason);
void blk_dmabuf_cpu_end(struct blk_dmabuf_cpu *cpu);
void blk_dmabuf_cpu_get(struct blk_dmabuf *reg);
void blk_dmabuf_cpu_put(struct blk_dmabuf *reg);

/*
 * An I/O holds its registration for two additions to counters of the CPU.  It
 * begins under RCU, on a registration that was found in a slot.
 */
static inline void blk_dmabuf_begin(struct blk_dmabuf *reg)
{
	this_cpu_inc(reg->stats->begun);
}

static inline void blk_dmabuf_end(struct blk_dmabuf *reg)
{
	this_cpu_inc(reg->stats->ended);
}

/**
 * blk_dmabuf_mapping_of - find the mapping of a buffer for a device
 * @buf: the buffer
 * @dma_dev: device that does the DMA
 *
 * Context: RCU read side.
 *
 * Return: the mapping, which is there as long as the caller's RCU section, or
 * NULL
 */
static inline struct blk_dmabuf_mapping *
blk_dmabuf_mapping_of(const struct blk_dmabuf_buffer *buf,
		      const struct device *dma_dev)
{
	struct blk_dmabuf_attachment *attach;

	list_for_each_entry_rcu(attach, &buf->attachments, list)
		if (attach->dev == dma_dev)
			return rcu_dereference(attach->mapping);
	return NULL;
}

/* ---- blk-dmabuf-bio.c ---- */

void blk_dmabuf_get_user(void);
void blk_dmabuf_put_user(void);

/**
 * bio_dmabuf_init - point a bio to a piece of a dma-buf
 * @bio: bio without vectors of its own
 * @io: the I/O; outlives the bio
 * @offset: first byte in the buffer
 * @bytes: how many
 */
static inline void
bio_dmabuf_init(struct bio *bio, struct blk_dmabuf_io *io, u64 offset,
		unsigned int bytes)
{
	bio->bi_dmabuf = io;
	bio_dmabuf_set_offset(&bio->bi_iter, offset);
	bio->bi_iter.bi_size = bytes;
	bio->bi_opf |= REQ_DMABUF;
	bio_set_flag(bio, BIO_CLONED);
}

const struct blk_dmabuf_part *
blk_dmabuf_part_at(const struct blk_dmabuf_parts *parts, u32 at);
u64 blk_dmabuf_io_locate(const struct blk_dmabuf_io *io, u64 at, u32 *len);

#if IS_ENABLED(CONFIG_KUNIT)
int blk_dmabuf_count_simple(const struct blk_dmabuf_mapping *mapping,
			    const struct bio *bio,
			    const struct queue_limits *lim,
			    unsigned int max_bytes, unsigned int *segs,
			    unsigned int *gap_bit);
int blk_dmabuf_count_each(const struct blk_dmabuf_mapping *mapping,
			  const struct bio *bio, const struct queue_limits *lim,
			  unsigned int max_bytes, unsigned int *segs,
			  unsigned int *gap_bit);
#endif

/* ---- blk-dmabuf-policy.c ---- */

/*
 * request_queue.dmabuf_members: which of these ->dmabuf_ops has, so that what it
 * lacks costs a load.  It can be late by an I/O: look at ->dmabuf_ops, too.
 */
#define BLK_DMABUF_PLACE	BIT(0)
#define BLK_DMABUF_MAP_QUEUE	BIT(1)
#define BLK_DMABUF_COMPLETE	BIT(2)

static inline bool blk_dmabuf_asks(const struct request_queue *q, u8 members)
{
	return READ_ONCE(q->dmabuf_members) & members;
}

/* Does a policy want to hear of an I/O on these slots? */
static inline bool blk_dmabuf_slots_ask(const struct blk_dmabuf_slots *slots,
					u8 members)
{
	return slots->disk && blk_dmabuf_asks(slots->disk->queue, members);
}

int blk_dmabuf_policy_admit(struct gendisk *disk,
			    struct blk_dmabuf_grant *grant);
int blk_dmabuf_policy_place(struct blk_dmabuf_io *io, unsigned int block);
void blk_dmabuf_policy_complete(struct blk_dmabuf_io *io);
void blk_dmabuf_policy_invalidated(struct gendisk *disk, u32 id);
void blk_dmabuf_grant_init(struct blk_dmabuf_grant *grant,
			   const struct blk_dmabuf_slots *slots,
			   struct blk_dmabuf *reg, u32 slot);

/* ---- blk-dmabuf-copy.c ---- */

/**
 * struct blk_dmabuf_copier_args - what a copier does its I/O with
 * @file: the file
 * @cred: credentials
 * @blkcg: block cgroup or NULL
 * @block: I/O is cut to multiples of this, a power of 2
 * @in_order: writes of one I/O are not to overtake each other
 *
 * They outlive the copier.
 */
struct blk_dmabuf_copier_args {
	struct file			*file;
	const struct cred		*cred;
	struct cgroup_subsys_state	*blkcg;
	u32				block;
	bool				in_order;
};

struct blk_dmabuf_copier *
blk_dmabuf_copier_alloc(const struct blk_dmabuf_copier_args *args);
int blk_dmabuf_copier_prepare(struct blk_dmabuf_copier *copier);
void blk_dmabuf_copier_free(struct blk_dmabuf_copier *copier);
int blk_dmabuf_copy(struct blk_dmabuf_copier *copier, struct blk_dmabuf_io *io,
		    const struct kiocb *iocb, u32 bytes,
		    void (*done)(struct blk_dmabuf_io *io, s32 result));

#endif /* BLK_DMABUF_INTERNAL_H */
