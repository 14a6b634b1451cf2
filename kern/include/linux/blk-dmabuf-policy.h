/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Policies for dma-buf I/O: what a BPF program sees, and when it is asked.
 * This is their manual; <linux/bio-dmabuf.h> is for drivers.
 */
#ifndef _LINUX_BLK_DMABUF_POLICY_H
#define _LINUX_BLK_DMABUF_POLICY_H

#include <linux/types.h>

struct gendisk;

#define BLK_DMABUF_POLICY_NAME_MAX	16

/**
 * struct blk_dmabuf_queue - a disk that a policy is selected for
 * @dev: device number of the disk, as in a completion's tracepoint
 * @nr_hctx: hardware queues; 0 if the disk only passes I/O on to others
 * @node: NUMA node of the device, or -1
 * @disk: name of the disk
 */
struct blk_dmabuf_queue {
	u32	dev;
	u32	nr_hctx;
	s32	node;
	char	disk[32];
};

/**
 * struct blk_dmabuf_grant - a channel asks for the use of a registration
 * @dev: device number of the disk
 * @id: the registration
 * @slot: slot it would get, or BLK_DMABUF_SLOT_ANY
 * @flags: BLK_DMABUF_F_* of the registration
 * @node: NUMA node of the memory, of another device's that of the device, or -1
 * @uid: user who opened the channel, in the initial user namespace
 * @cgroup: id of the cgroup (v2) it was opened in
 * @bytes: size of the buffer
 * @bound: in admit() bytes that the channel has bound already
 * @uid_bound: in admit() bytes bound by all channels of @uid, on all disks
 * @cgroup_bound: in admit() bytes bound by all channels of @cgroup
 * @path: enum blk_dmabuf_path between the disk and the memory, as it is now
 * @distance: of another device's memory, bridges and devices in between; below
 *	one switch 4 or less
 * @provider_domain: PCI domain of that device
 * @provider: bus number << 8 | device << 3 | function of it, or 0
 */
struct blk_dmabuf_grant {
	u32	dev;
	u32	id;
	u32	slot;
	u32	flags;
	s32	node;
	u32	uid;
	u64	cgroup;
	u64	bytes;
	u64	bound;
	u64	uid_bound;
	u64	cgroup_bound;
	u32	path;
	u32	distance;
	u32	provider_domain;
	u32	provider;
};

/**
 * struct blk_dmabuf_desc - an I/O as a policy sees it
 * @pos: position in the file, bytes
 * @offset: first byte in the buffer; before place() what the application asked
 *	for
 * @len: bytes; in place() what is left to place
 * @slot: slot of the channel; before place() what the application asked for,
 *	BLK_DMABUF_SLOT_ANY if it leaves the choice to the policy
 * @hint: what the application passed
 * @id: the registration; 0 in place(), and in complete() if place() chose a
 *	slot where nothing is bound
 * @dev: device number of the disk whose policy is asked
 * @uid: user who opened the channel, in the initial user namespace
 * @cgroup: id of the cgroup (v2) the channel was opened in
 * @submit_ns: when it was submitted, CLOCK_MONOTONIC; 0 if the policy had no
 *	complete() then, and nobody traced
 * @latency_ns: in complete() the time since, or 0
 * @result: in complete() bytes done or -errno
 * @cpu: CPU it was submitted on: the application's, or that of the io_uring
 *	worker that goes on with what had to wait
 * @node: NUMA node of that CPU
 * @hctx: in complete() hardware queue of its last request, on whatever leaf
 *	disk that was, or -1
 * @vecs: pieces of the buffer that the application named for it, of which @offset
 *	is the first one's; 1 if it is not vectored.  A place() that chooses
 *	another slot or offset chooses one piece instead of all
 * @write: buffer to device
 * @copied: the CPU copies the data: in place() if that is certain beforehand,
 *	in complete() if it was so.  Nobody is asked for a hardware queue then
 *
 * Read-only.  Holds no address of any kind.
 */
struct blk_dmabuf_desc {
	u64	pos;
	u64	offset;
	u32	len;
	u32	slot;
	u32	hint;
	u32	id;
	u32	dev;
	u32	uid;
	u64	cgroup;
	u64	submit_ns;
	u64	latency_ns;
	s32	result;
	s32	cpu;
	s32	node;
	s32	hctx;
	u32	vecs;
	bool	write;
	bool	copied;
};

/**
 * struct blk_dmabuf_ops - policy for dma-buf I/O, a BPF struct_ops
 *
 * Registering makes a policy known under its name; writing the name to
 * /sys/block/<disk>/queue/dmabuf_policy selects it for a disk.  One policy can
 * be selected for many disks.  Every member but @name is optional, and a member
 * that is missing means the behaviour without a policy.
 *
 * Two disks have a say in an I/O.  The top disk is the one that the buffer is
 * registered on: its policy has @admit, @place, @complete and @invalidated.  A
 * leaf disk is one whose own driver gets a request: its policy has @map_queue.
 * Without stacking (device mapper, MD, NVMe multipath) both are the same disk.
 * In a stack the I/O may reach several leaf disks, at the same time on several
 * CPUs; the policies of disks in between are not asked.  @init and @exit are
 * about the disk that the policy is selected for, whatever that is.
 *
 * Updating the link swaps the policy on all its disks without stopping I/O:
 * first the new init() for each disk, then the programs change on all of them,
 * then the old exit() for each disk.  So what the two share must not be torn
 * down by the second.  If an init() refuses, those that had succeeded are
 * followed by their exit() and all disks keep the old policy, which goes on
 * unawares.
 *
 * Unregistering selects none.  I/O in flight finishes in any case.  exit() is
 * called when no program of the policy runs for that disk any more, and none
 * runs afterwards.  For one disk, one init() or exit() runs at a time; those of
 * different disks may run at the same time.
 */
struct blk_dmabuf_ops {
	/**
	 * @init: selected for a disk.  May sleep if the program is sleepable.
	 *
	 * Return: 0, or -errno, which is counted, and it is not selected
	 */
	s32 (*init)(struct blk_dmabuf_queue *queue);

	/**
	 * @exit: dropped from a disk, also because that goes away.  May sleep
	 * if the program is sleepable.
	 */
	void (*exit)(struct blk_dmabuf_queue *queue);

	/**
	 * @admit: a channel binds a registration.  Asked of the top disk.  May
	 * sleep if the program is sleepable; several may run at a time.
	 * Missing: whoever shows the dma-buf may bind it.
	 *
	 * Return: 0, or -errno that the application gets
	 */
	s32 (*admit)(struct blk_dmabuf_grant *grant);

	/**
	 * @place: say where the data of an I/O goes, before its bio is built,
	 * by bpf_blk_dmabuf_place().  Asked of the top disk.  Placing less than
	 * @desc->len is fine: it is called again for the rest.  Placing nothing
	 * leaves the choice to the application, which is an error if that left
	 * it to the policy.  May not sleep.
	 *
	 * It is not asked about I/O that fails whatever it says: position and
	 * length fit the file, and the file permits the direction.
	 *
	 * What is placed is checked: bound to the I/O's channel, inside the
	 * buffer, aligned for the device, direction permitted, whole blocks
	 * unless it is the last piece.  A wrong answer fails the I/O, is
	 * counted by kind, and reaches no memory.
	 *
	 * Each placement is followed by one complete(), as long as the policy
	 * stays selected.  It may say -EAGAIN: nothing was submitted since that
	 * would have had to wait, and the same I/O is going to be placed again.
	 *
	 * Return: 0, or -errno that the application gets
	 */
	s32 (*place)(struct blk_dmabuf_desc *desc);

	/**
	 * @map_queue: choose the hardware queue of a request, before it takes a
	 * tag.  Asked of the leaf disk.  @desc is the I/O that the request is a
	 * piece of, with @desc->dev the leaf disk.  Asked again of a request
	 * that found no mapping and is issued again.  May not sleep.  An index
	 * that is no queue of the right type fails the I/O; a queue without an
	 * online CPU means the default.
	 *
	 * Return: index of the hctx, or -1 for the submitting CPU's
	 */
	s32 (*map_queue)(struct blk_dmabuf_desc *desc);

	/**
	 * @complete: an I/O that place() has placed is over, also if it was
	 * refused for that; without place(), any I/O that came as far as to a
	 * registration.  Told to the top disk.  In any context, most often in
	 * the device's interrupt; may not sleep.
	 */
	void (*complete)(struct blk_dmabuf_desc *desc);

	/**
	 * @invalidated: the exporter took the mappings of a registration; the
	 * next I/O on it maps again.  Told to the top disk.  May not sleep: the
	 * exporter waits, with the buffer's reservation lock held.
	 */
	void (*invalidated)(u32 id);

	/** @name: what sysfs knows the policy by; required */
	char name[BLK_DMABUF_POLICY_NAME_MAX];

	/* private: */
	u64 seq;
};

/* What is behind /sys/block/<disk>/queue/dmabuf_policy. */
ssize_t blk_dmabuf_policy_show(struct gendisk *disk, char *page);
ssize_t blk_dmabuf_policy_store(struct gendisk *disk, const char *page,
				size_t count);

#endif /* _LINUX_BLK_DMABUF_POLICY_H */
