/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registrations and maps: shared by the core (blk-dmabuf.c), the kfuncs
 * (blk-dmabuf-bpf.c), the channel (blk-dmabuf-chan.c) and the tests.
 */
#ifndef BLK_DMABUF_INTERNAL_H
#define BLK_DMABUF_INTERNAL_H

#include <linux/atomic.h>
#include <linux/blk-dmabuf.h>
#include <linux/blk-dmabuf-policy.h>
#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/uidgid_types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/blk-dmabuf.h>

struct dma_buf;
struct dma_buf_attachment;
struct io_uring_cmd;
struct sg_table;

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
 * struct blk_dmabuf_map - one generation of a registration's DMA mapping
 * @ref: one for the registration while published, one per I/O in flight
 * @drained: completed when @ref is gone
 * @reg: the registration; outlives the map
 * @sgt: what the exporter returned, given back at unmap
 * @bytes: size of the buffer
 * @sync: the CPU and the device do not see the same memory at all times
 * @peer: the memory is not system RAM
 * @nr_ranges: ranges in use
 * @max_ranges: ranges allocated, without the sentinel
 * @ranges: the range index: the ranges by ascending @start, and a sentinel
 *
 * Immutable once published, dead once unpublished: an I/O either runs on this
 * generation to its end or fails.
 */
struct blk_dmabuf_map {
	struct percpu_ref	ref;
	struct completion	drained;
	struct blk_dmabuf	*reg;
	struct sg_table		*sgt;
	u64			bytes;
	bool			sync;
	bool			peer;
	unsigned int		nr_ranges;
	unsigned int		max_ranges;
	struct blk_dmabuf_range	ranges[];
};

/* Counted on the CPU that completes; summed by blk_dmabuf_get_info(). */
struct blk_dmabuf_stats {
	u64	reads;
	u64	read_bytes;
	u64	writes;
	u64	write_bytes;
	u64	errors;
};

/**
 * struct blk_dmabuf - registration: a dma-buf attached to a block device
 * @users: owners in BPF; when the last one goes the registration dies
 * @ref: memory references: the owners' common one, one per bound slot
 * @id: name for humans and BPF, key in the registry
 * @lock: serialises map, unmap and death; taken before the resv lock
 * @dead: set once, under @lock and the resv lock
 * @disk: the disk, a reference to it is held
 * @dma_dev: device that does the DMA, a reference to it is held
 * @dmabuf: the dma-buf, a reference to it is held unless @dead
 * @attach: our attachment, valid unless @dead
 * @map: published map or NULL; written under the resv lock, read under RCU
 * @dir: direction it is mapped for
 * @bytes: size of the dma-buf, constant
 * @inode: inode number of the dma-buf
 * @generation: maps made
 * @invalidations: maps that the exporter took away
 * @reason: why the last map failed
 * @uid: who registered
 * @pid: who registered
 * @node: NUMA node of the mapped memory, or NUMA_NO_NODE
 * @exporter: name of the exporter
 * @stats: I/O done
 * @end_work: ends the registration for owners that may not sleep
 * @free_work: frees it a grace period after the last memory reference
 */
struct blk_dmabuf {
	refcount_t			users;
	struct kref			ref;
	u32				id;
	struct mutex			lock;	/* life cycle, see @lock */
	bool				dead;
	struct gendisk			*disk;
	struct device			*dma_dev;
	struct dma_buf			*dmabuf;
	struct dma_buf_attachment	*attach;
	struct blk_dmabuf_map __rcu	*map;
	enum dma_data_direction		dir;
	u64				bytes;
	u64				inode;
	u64				generation;
	u64				invalidations;
	enum blk_dmabuf_reason		reason;
	kuid_t				uid;
	pid_t				pid;
	int				node;
	char				exporter[32];
	struct blk_dmabuf_stats __percpu *stats;
	struct work_struct		end_work;
	struct rcu_work			free_work;
};

/* A placement has 16 bits for the slot; this keeps the table small, too. */
#define BLK_DMABUF_MAX_SLOTS	4096

extern atomic64_t blk_dmabuf_refused[BLK_DMABUF_NR_REASONS];

#ifdef CONFIG_LOCKDEP
/* Held where a map is held and has not been handed to the device yet. */
extern struct lockdep_map blk_dmabuf_map_held;
#endif

/**
 * struct blk_dmabuf_chan - a channel, owned by its file
 * @list: entry in the list of all channels
 * @file: the file that I/O goes to, a reference is held
 * @disk: its disk
 * @slots: bound registrations, a memory reference each; read under RCU
 * @bound: bytes of the registrations that are bound
 * @uid: user who opened it, in the initial user namespace
 * @cgroup: cgroup it was opened in
 */
struct blk_dmabuf_chan {
	struct list_head list;
	struct file	*file;
	struct gendisk	*disk;
	struct xarray	slots;
	atomic64_t	bound;
	u32		uid;
	u64		cgroup;
};

/**
 * struct blk_dmabuf_io - an I/O in flight, or a placed piece of one
 * @desc: what a policy sees of it
 * @map: mapping it runs on, a reference is held
 * @chan: channel it came through
 * @cmd: command that it serves
 * @pieces: what it is a piece of, or NULL if it is the whole command
 * @placed_by: ->seq of the policy whose complete() is due, or 0
 * @placed: place() has said where it goes
 * @refused: it was refused on its way, and has been counted
 * @hctx: hardware queue that the policy chose for the current request, or -1
 * @iocb: the file's view of it
 */
struct blk_dmabuf_io {
	struct blk_dmabuf_desc		desc;
	struct blk_dmabuf_map		*map;
	struct blk_dmabuf_chan		*chan;
	struct io_uring_cmd		*cmd;
	struct blk_dmabuf_pieces	*pieces;
	u64				placed_by;
	bool				placed;
	bool				refused;
	s32				hctx;
	struct kiocb			iocb;
};

/* Range index.  Lookup is O(log ranges), advancing O(ranges passed). */
struct blk_dmabuf_map *blk_dmabuf_map_alloc(struct blk_dmabuf *reg,
					    unsigned int max_ranges);
void blk_dmabuf_map_free(struct blk_dmabuf_map *map);
int blk_dmabuf_map_add(struct blk_dmabuf_map *map, dma_addr_t addr, u64 len,
		       bool merge);
unsigned int blk_dmabuf_map_find(const struct blk_dmabuf_map *map, u64 offset);
void blk_dmabuf_map_advance(const struct blk_dmabuf_map *map,
			    struct bvec_iter *iter, unsigned int bytes);
bool blk_dmabuf_map_fits(const struct blk_dmabuf_map *map,
			 const struct queue_limits *lim);

/* Registrations. */
struct blk_dmabuf *blk_dmabuf_attach(struct gendisk *disk,
				     struct device *dma_dev,
				     struct dma_buf *dmabuf,
				     struct blk_dmabuf_attach *args);
struct blk_dmabuf *blk_dmabuf_find(struct gendisk *disk,
				   const struct dma_buf *dmabuf);
struct blk_dmabuf *blk_dmabuf_next(u32 after);
struct blk_dmabuf *blk_dmabuf_get(u32 id);
struct dma_buf *blk_dmabuf_get_dmabuf(u32 id);
int blk_dmabuf_map(struct blk_dmabuf *reg);
int blk_dmabuf_unmap(struct blk_dmabuf *reg);
void blk_dmabuf_kill(struct blk_dmabuf *reg);
void blk_dmabuf_release(struct blk_dmabuf *reg);
void blk_dmabuf_release_later(struct blk_dmabuf *reg);
void blk_dmabuf_put(struct blk_dmabuf *reg);
u32 blk_dmabuf_get_flags(struct blk_dmabuf *reg);
void blk_dmabuf_get_info(struct blk_dmabuf *reg, struct blk_dmabuf_info *info);
enum blk_dmabuf_reason blk_dmabuf_check_disk(struct gendisk *disk);
int blk_dmabuf_refuse(struct gendisk *disk, struct blk_dmabuf *reg,
		      enum blk_dmabuf_reason reason, int error);
struct blk_dmabuf_map *blk_dmabuf_get_map(struct blk_dmabuf *reg);

/* Channels. */
void blk_dmabuf_grant_init(struct blk_dmabuf_grant *grant,
			   struct blk_dmabuf_chan *chan, struct blk_dmabuf *reg,
			   u32 slot);

/* Policies. */
bool blk_dmabuf_policy_map_queue(struct bio *bio, struct request **cached);
int blk_dmabuf_policy_admit(struct gendisk *disk,
			    struct blk_dmabuf_grant *grant);
int blk_dmabuf_policy_place(struct blk_dmabuf_io *io, bool nowait);
void blk_dmabuf_policy_complete(struct blk_dmabuf_io *io);
void blk_dmabuf_policy_invalidated(struct gendisk *disk, u32 id);
void blk_dmabuf_policy_del_disk(struct gendisk *disk);

#endif /* BLK_DMABUF_INTERNAL_H */
