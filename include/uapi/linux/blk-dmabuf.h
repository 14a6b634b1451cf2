/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Block I/O on dma-buf memory: the one ABI header.
 *
 * Three interfaces meet here:
 *
 *  - the control interface, structures that BPF_PROG_TYPE_SYSCALL programs
 *    hand to the bpf_blk_dmabuf_*() kfuncs;
 *  - the channel interface, ioctls on /dev/blkdmabuf and on the channel it
 *    returns;
 *  - the I/O interface, io_uring commands on a channel.
 *
 * All sizes and offsets are bytes.  Reserved fields and unknown flags must be
 * zero and are refused with -EINVAL, so that they can get a meaning later.
 */
#ifndef _UAPI_LINUX_BLK_DMABUF_H
#define _UAPI_LINUX_BLK_DMABUF_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised whenever something is added; old users keep working. */
#define BLK_DMABUF_ABI_VERSION	4

/**
 * enum blk_dmabuf_state - where a registration is in its life
 * @BLK_DMABUF_UNMAPPED: attached, no DMA mapping; the next I/O that may sleep
 *	makes one
 * @BLK_DMABUF_LIVE: attached and mapped, I/O runs without further set-up
 * @BLK_DMABUF_DEAD: the device went away or the owner released it; nothing is
 *	mapped and nothing will be
 */
enum blk_dmabuf_state {
	BLK_DMABUF_UNMAPPED	= 0,
	BLK_DMABUF_LIVE		= 1,
	BLK_DMABUF_DEAD		= 2,
};

/**
 * enum blk_dmabuf_reason - why something was refused
 *
 * The caller sees an errno, the kernel counts the reason, and the tracepoints
 * blk_dmabuf:* carry both.
 *
 * @BLK_DMABUF_OK: it was not
 * @BLK_DMABUF_NO_DEVICE: the file is neither a block device that is alive nor a
 *	file on one
 * @BLK_DMABUF_NO_DRIVER: the device's driver, or a driver that it is stacked
 *	on, takes no premapped I/O
 * @BLK_DMABUF_INTEGRITY: the device has an integrity profile
 * @BLK_DMABUF_ZONED: the device is zoned
 * @BLK_DMABUF_CRYPTO: the I/O needs inline encryption
 * @BLK_DMABUF_DUPLICATE: this dma-buf is registered on this device already
 * @BLK_DMABUF_ATTACH_FAILED: the exporter refused the attachment
 * @BLK_DMABUF_MAP_FAILED: the exporter refused to map
 * @BLK_DMABUF_LAYOUT: the mapping's ranges do not suit the device (PRP needs
 *	inner ranges in multiples of the controller page size)
 * @BLK_DMABUF_IS_DEAD: the registration is dead
 * @BLK_DMABUF_NO_SLOT: nothing is bound to the slot
 * @BLK_DMABUF_RANGE: offset and length leave the buffer, or no file has such a
 *	position
 * @BLK_DMABUF_UNALIGNED: offset or length unaligned for the device
 * @BLK_DMABUF_ACCESS: file, dma-buf or a security module do not permit this
 *	direction
 * @BLK_DMABUF_LAYER: a layer below the disk or file takes no premapped I/O
 * @BLK_DMABUF_IO_ERROR: the device or the layers above it failed the I/O
 * @BLK_DMABUF_NO_DMABUF: the file descriptor is no dma-buf
 * @BLK_DMABUF_NOT_REGISTERED: the dma-buf is not registered on this device
 * @BLK_DMABUF_NOT_ADMITTED: the policy refused the channel this registration
 * @BLK_DMABUF_NOT_SELECTED: the policy refused the device
 * @BLK_DMABUF_POLICY_REFUSED: the policy refused the I/O
 * @BLK_DMABUF_POLICY_ERROR: the policy returned what is no errno
 * @BLK_DMABUF_POLICY_LENGTH: the policy placed nothing, too much, or no whole
 *	number of blocks
 * @BLK_DMABUF_POLICY_SLOT: the policy chose a slot that is not bound
 * @BLK_DMABUF_POLICY_RANGE: the policy chose an offset outside the buffer
 * @BLK_DMABUF_POLICY_UNALIGNED: the policy chose an offset unaligned for the
 *	device
 * @BLK_DMABUF_POLICY_ACCESS: the policy chose a buffer that does not permit
 *	the direction
 * @BLK_DMABUF_POLICY_HCTX: the policy chose what is no hctx of the device
 * @BLK_DMABUF_POLICY_HCTX_TYPE: the policy chose an hctx of another type than
 *	the request's (nvme's write_queues and poll_queues)
 * @BLK_DMABUF_FILE_SYSTEM: the file system takes no dma-buf I/O
 * @BLK_DMABUF_FILE: the file takes no direct I/O: DAX, encrypted, verity,
 *	journalled or inline data, stable writes, or a page cache that cannot be
 *	invalidated
 * @BLK_DMABUF_MEMORY: it cannot be told what memory an address belongs to, or
 *	that is of several kinds or devices
 * @BLK_DMABUF_MOVED: the exporter moved the buffer again and again before the
 *	I/O reached the device
 * @BLK_DMABUF_HOLE: a hole or what is behind the end of a file was to be read
 *	into a buffer that has no CPU mapping to be zeroed through
 * @BLK_DMABUF_NO_CPU: the data would have to be copied, and the CPU has no
 *	access to the buffer: its exporter offers no mapping, or the memory is
 *	bounced or not coherent for a device that it is mapped for
 * @BLK_DMABUF_NOT_P2P: the channel demands peer-to-peer memory, and the memory
 *	is system RAM
 * @BLK_DMABUF_SWITCH: the exporter relies on a switch to route peer-to-peer I/O
 *	directly, and behind an IOMMU that translates, what the switch passes on
 *	to the root instead would be lost.  Its ports are not known not to
 * @BLK_DMABUF_HOST_BRIDGE: peer-to-peer I/O would go through a host bridge that
 *	is not known to pass it on
 */
enum blk_dmabuf_reason {
	BLK_DMABUF_OK			= 0,
	BLK_DMABUF_NO_DEVICE		= 1,
	BLK_DMABUF_NO_DRIVER		= 2,
	BLK_DMABUF_INTEGRITY		= 3,
	BLK_DMABUF_ZONED		= 4,
	BLK_DMABUF_CRYPTO		= 5,
	BLK_DMABUF_DUPLICATE		= 6,
	BLK_DMABUF_ATTACH_FAILED	= 7,
	BLK_DMABUF_MAP_FAILED		= 8,
	BLK_DMABUF_LAYOUT		= 9,
	BLK_DMABUF_IS_DEAD		= 10,
	BLK_DMABUF_NO_SLOT		= 11,
	BLK_DMABUF_RANGE		= 12,
	BLK_DMABUF_UNALIGNED		= 13,
	BLK_DMABUF_ACCESS		= 14,
	BLK_DMABUF_LAYER		= 15,
	BLK_DMABUF_IO_ERROR		= 16,
	BLK_DMABUF_NO_DMABUF		= 17,
	BLK_DMABUF_NOT_REGISTERED	= 18,
	BLK_DMABUF_NOT_ADMITTED		= 19,
	BLK_DMABUF_NOT_SELECTED		= 20,
	BLK_DMABUF_POLICY_REFUSED	= 21,
	BLK_DMABUF_POLICY_ERROR		= 22,
	BLK_DMABUF_POLICY_LENGTH	= 23,
	BLK_DMABUF_POLICY_SLOT		= 24,
	BLK_DMABUF_POLICY_RANGE		= 25,
	BLK_DMABUF_POLICY_UNALIGNED	= 26,
	BLK_DMABUF_POLICY_ACCESS	= 27,
	BLK_DMABUF_POLICY_HCTX		= 28,
	BLK_DMABUF_POLICY_HCTX_TYPE	= 29,
	BLK_DMABUF_FILE_SYSTEM		= 30,
	BLK_DMABUF_FILE			= 31,
	BLK_DMABUF_MEMORY		= 32,
	BLK_DMABUF_MOVED		= 33,
	BLK_DMABUF_HOLE			= 34,
	BLK_DMABUF_NO_CPU		= 35,
	BLK_DMABUF_NOT_P2P		= 36,
	BLK_DMABUF_SWITCH		= 37,
	BLK_DMABUF_HOST_BRIDGE		= 38,
	BLK_DMABUF_NR_REASONS
};

/**
 * enum blk_dmabuf_path - the way that data takes between disk and buffer
 * @BLK_DMABUF_PATH_NONE: not known: nothing is mapped, or not yet
 * @BLK_DMABUF_PATH_PREMAPPED: the device does DMA to system memory
 * @BLK_DMABUF_PATH_P2P_SWITCH: the device does DMA to another device, below a
 *	bridge or switch that both are below
 * @BLK_DMABUF_PATH_P2P_HOST_BRIDGE: the same through the host bridge, because
 *	they have nothing in common or ACS redirects
 * @BLK_DMABUF_PATH_COPY: the CPU copies, where the channel permits it
 * @BLK_DMABUF_PATH_REFUSED: there is none, see the reason
 *
 * By ascending distance.
 */
enum blk_dmabuf_path {
	BLK_DMABUF_PATH_NONE		= 0,
	BLK_DMABUF_PATH_PREMAPPED	= 1,
	BLK_DMABUF_PATH_P2P_SWITCH	= 2,
	BLK_DMABUF_PATH_P2P_HOST_BRIDGE	= 3,
	BLK_DMABUF_PATH_COPY		= 4,
	BLK_DMABUF_PATH_REFUSED		= 5,
};

/**
 * enum blk_dmabuf_iommu - what an IOMMU does with addresses of a device
 * @BLK_DMABUF_IOMMU_UNKNOWN: not known
 * @BLK_DMABUF_IOMMU_OFF: there is none
 * @BLK_DMABUF_IOMMU_PASSTHROUGH: nothing
 * @BLK_DMABUF_IOMMU_STRICT: it translates, each unmapping is flushed at once
 * @BLK_DMABUF_IOMMU_LAZY: it translates, unmappings are flushed in batches
 */
enum blk_dmabuf_iommu {
	BLK_DMABUF_IOMMU_UNKNOWN	= 0,
	BLK_DMABUF_IOMMU_OFF		= 1,
	BLK_DMABUF_IOMMU_PASSTHROUGH	= 2,
	BLK_DMABUF_IOMMU_STRICT		= 3,
	BLK_DMABUF_IOMMU_LAZY		= 4,
};

/**
 * struct blk_dmabuf_attach - what to register, and how it went
 * @fd: in: open block device, or file on a file system on one; a partition
 *	means its disk, a stack of disks means every disk below it.  With
 *	BLK_DMABUF_ATTACH_COPY also a file on a file system without a block
 *	device: all of these together count as one disk, "nodev"
 * @dmabuf_fd: in: the dma-buf
 * @flags: in: BLK_DMABUF_ATTACH_*
 * @error: out: 0 or -errno
 * @reason: out: enum blk_dmabuf_reason; with BLK_DMABUF_ATTACH_COPY and @error 0
 *	why I/O on the disk is copied, or BLK_DMABUF_OK if it need not be
 * @id: out: id of the registration; with BLK_DMABUF_DUPLICATE the id of the
 *	one that is there already
 */
struct blk_dmabuf_attach {
	__s32	fd;
	__s32	dmabuf_fd;
	__u32	flags;
	__s32	error;
	__u32	reason;
	__u32	id;
};

/*
 * I/O that the disk, the file or a layer below takes no premapped may be copied
 * by the CPU, on channels with BLK_DMABUF_CHANNEL_COPY.  The buffer needs not be
 * attached to a device then.
 */
#define BLK_DMABUF_ATTACH_COPY	(1U << 0)
/* It is only tried: the id is a large one, not the next of those people see. */
#define BLK_DMABUF_ATTACH_TRIAL	(1U << 1)

/**
 * enum blk_dmabuf_flags - what a registration is
 * @BLK_DMABUF_F_WRITABLE: the device may write to the buffer
 * @BLK_DMABUF_F_P2P: the mapped memory is another device's
 * @BLK_DMABUF_F_SYNC: there are caches or bounce buffers between
 * @BLK_DMABUF_F_STACK: the disk is a stack of others
 * @BLK_DMABUF_F_MAY_COPY: BLK_DMABUF_ATTACH_COPY was given
 * @BLK_DMABUF_F_COPY: there is no path to the disk but copying
 * @BLK_DMABUF_F_ACS: ACS redirects to the host bridge
 */
enum blk_dmabuf_flags {
	BLK_DMABUF_F_WRITABLE	= 1U << 0,
	BLK_DMABUF_F_P2P	= 1U << 1,
	BLK_DMABUF_F_SYNC	= 1U << 2,
	BLK_DMABUF_F_STACK	= 1U << 3,
	BLK_DMABUF_F_MAY_COPY	= 1U << 4,
	BLK_DMABUF_F_COPY	= 1U << 5,
	BLK_DMABUF_F_ACS	= 1U << 6,
};

/**
 * struct blk_dmabuf_info - one registration, as it is now
 * @id: the registration; ids are not reused soon
 * @state: enum blk_dmabuf_state
 * @flags: BLK_DMABUF_F_*
 * @reason: why mapping failed last, or I/O was copied, enum blk_dmabuf_reason
 * @dev_major: device number of the disk
 * @dev_minor: device number of the disk
 * @uid: user that registered it, in the initial user namespace
 * @pid: process that registered it (may be gone), in the initial pid namespace
 * @bytes: size of the dma-buf
 * @ranges: contiguous DMA ranges of the current mapping, 0 if unmapped; of a
 *	stack the most that a device below it has
 * @max_io: largest single request the device takes on this buffer
 * @devices: DMA devices that the buffer is attached to
 * @sharers: registrations of the same buffer, this one included
 * @generation: mappings made so far
 * @invalidations: times that the exporter took the mappings away
 * @inode: inode number of the dma-buf, as in /proc/PID/fdinfo
 * @reads: completed reads (device to buffer)
 * @read_bytes: bytes of them
 * @writes: completed writes (buffer to device)
 * @write_bytes: bytes of them
 * @errors: I/O that failed or was refused after a slot was found
 * @retries: I/O that was issued again because the buffer had moved, or was not
 *	mapped for a device yet
 * @copied: of the completed reads and writes those that the CPU copied
 * @copied_bytes: bytes of them
 * @disk: name of the disk, or "nodev"
 * @exporter: name of the exporter
 * @path: enum blk_dmabuf_path; of a stack the farthest to a device below it
 * @iommu: enum blk_dmabuf_iommu, of the device on @path
 * @distance: bridges and devices between the two devices, of another device's
 *	memory; at most 63
 * @provider_domain: PCI domain of that device
 * @provider: bus number << 8 | device << 3 | function of it; both are 0 if there
 *	is none
 * @provider_bar: BAR that the memory begins in
 */
struct blk_dmabuf_info {
	__u32	id;
	__u32	state;
	__u32	flags;
	__u32	reason;
	__u32	dev_major;
	__u32	dev_minor;
	__u32	uid;
	__u32	pid;
	__u64	bytes;
	__u32	ranges;
	__u32	max_io;
	__u32	devices;
	__u32	sharers;
	__u64	generation;
	__u64	invalidations;
	__u64	inode;
	__u64	reads;
	__u64	read_bytes;
	__u64	writes;
	__u64	write_bytes;
	__u64	errors;
	__u64	retries;
	__u64	copied;
	__u64	copied_bytes;
	char	disk[32];
	char	exporter[32];
	__u32	path;
	__u32	iommu;
	__u32	distance;
	__u32	provider_domain;
	__u32	provider;
	__u32	provider_bar;
};

/**
 * struct blk_dmabuf_features - what this kernel offers
 * @abi_version: BLK_DMABUF_ABI_VERSION of the kernel
 * @nr_reasons: entries of @refused that mean something
 * @max_slots: slots of a channel are 0 to @max_slots - 1
 * @resv: zero
 * @refused: since boot, by enum blk_dmabuf_reason
 */
struct blk_dmabuf_features {
	__u32	abi_version;
	__u32	nr_reasons;
	__u32	max_slots;
	__u32	resv;
	__u64	refused[64];
};

/**
 * struct blk_dmabuf_channel - open a channel for an open file
 * @fd: in: block device, or file of a file system that takes dma-buf I/O,
 *	opened as the channel shall use it: what the file may not do, the
 *	channel may not do
 * @flags: in: BLK_DMABUF_CHANNEL_*
 *
 * The ioctl returns the channel's file descriptor (close on exec).
 */
struct blk_dmabuf_channel {
	__s32	fd;
	__u32	flags;
};

/*
 * What cannot be done premapped is copied by the CPU, on registrations with
 * BLK_DMABUF_F_MAY_COPY, instead of being refused.  Takes block devices and files
 * that have no premapped I/O at all, too.
 */
#define BLK_DMABUF_CHANNEL_COPY	(1U << 0)
/* Refuse what is not peer-to-peer; not together with the former. */
#define BLK_DMABUF_CHANNEL_P2P	(1U << 1)

/**
 * struct blk_dmabuf_bind - grant a channel the use of a registration
 * @dmabuf_fd: in: the dma-buf; showing it is the permission to use it
 * @slot: in: slot to bind, or BLK_DMABUF_SLOT_ANY for a free one; out: the slot
 * @flags: in: must be zero
 * @id: out: the registration
 * @bytes: out: size of the dma-buf
 *
 * Fails with -ENOENT if it is not registered on the channel's disk, -EBUSY if
 * the slot is taken, -ENOSPC if none is free, and with what the policy of the
 * disk says in admit(), such as -EACCES or -EDQUOT.
 */
struct blk_dmabuf_bind {
	__s32	dmabuf_fd;
	__u32	slot;
	__u32	flags;
	__u32	id;
	__u64	bytes;
};

/**
 * enum blk_dmabuf_slot - slots that are none
 * @BLK_DMABUF_SLOT_ANY: in a bind any free slot, in an I/O the policy chooses
 */
enum blk_dmabuf_slot {
	BLK_DMABUF_SLOT_ANY	= ~0U,
};

/**
 * struct blk_dmabuf_query - look at what is bound to a slot
 * @slot: in: the slot
 * @resv: must be zero
 * @info: out: the registration
 */
struct blk_dmabuf_query {
	__u32			slot;
	__u32			resv;
	struct blk_dmabuf_info	info;
};

/**
 * struct blk_dmabuf_limits - what the channel's file takes
 * @block_size: positions and lengths of reads are multiples of this
 * @dma_alignment: buffer offsets are multiples of this
 * @max_io: largest single request; longer I/O is split
 * @max_ranges: DMA ranges a single request may hold
 * @bytes: size of the device or file
 * @write_block_size: positions and lengths of writes are multiples of this; for
 *	a file whole blocks of its file system
 * @vec_align: offsets and lengths of the pieces of vectored I/O are multiples of
 *	this.  A device that wants its pieces in whole pages takes a first one that
 *	begins in a page, and a last one that ends in one, as well
 */
struct blk_dmabuf_limits {
	__u32	block_size;
	__u32	dma_alignment;
	__u32	max_io;
	__u32	max_ranges;
	__u64	bytes;
	__u32	write_block_size;
	__u32	vec_align;
};

/**
 * struct blk_dmabuf_get_fd - get the dma-buf of a registration
 * @id: in: the registration
 * @flags: in: must be zero
 *
 * The ioctl returns a new file descriptor of the dma-buf (close on exec).
 * Needs CAP_SYS_ADMIN, as BPF_MAP_GET_FD_BY_ID does, because it hands out what
 * is otherwise the capability to use the buffer.
 */
struct blk_dmabuf_get_fd {
	__u32	id;
	__u32	flags;
};

#define BLK_DMABUF_IOC		0xbd

/* on /dev/blkdmabuf */
#define BLK_DMABUF_FEATURES	_IOR(BLK_DMABUF_IOC, 0, struct blk_dmabuf_features)
#define BLK_DMABUF_CHANNEL	_IOW(BLK_DMABUF_IOC, 1, struct blk_dmabuf_channel)

#define BLK_DMABUF_GET_FD	_IOW(BLK_DMABUF_IOC, 6, struct blk_dmabuf_get_fd)

/* on a channel; unbind takes the slot, I/O in flight on it still finishes */
#define BLK_DMABUF_BIND		_IOWR(BLK_DMABUF_IOC, 2, struct blk_dmabuf_bind)
#define BLK_DMABUF_UNBIND	_IOW(BLK_DMABUF_IOC, 3, __u32)
#define BLK_DMABUF_QUERY	_IOWR(BLK_DMABUF_IOC, 4, struct blk_dmabuf_query)
#define BLK_DMABUF_LIMITS	_IOR(BLK_DMABUF_IOC, 5, struct blk_dmabuf_limits)

/**
 * enum blk_dmabuf_cmd_op - io_uring commands on a channel (sqe->cmd_op)
 * @BLK_DMABUF_CMD_READ: device to buffer
 * @BLK_DMABUF_CMD_WRITE: buffer to device
 * @BLK_DMABUF_CMD_READV: device to pieces of buffers
 * @BLK_DMABUF_CMD_WRITEV: pieces of buffers to device
 *
 * sqe->addr is the position in the file and sqe->len the length; sqe->cmd holds
 * a struct blk_dmabuf_cmd, or, of vectored commands, a struct blk_dmabuf_cmdv.
 * Fields of the SQE that are not named are zero.  The CQE's res is the number of
 * bytes done or -errno.  On a ring with 32-byte CQEs big_cqe[0] is the placement,
 * see BLK_DMABUF_PLACED_SLOT(), and whether it was copied.
 *
 * Cancelling takes back only I/O that no worker has begun, which ends with
 * -ECANCELED; I/O in flight is waited for.
 */
enum blk_dmabuf_cmd_op {
	BLK_DMABUF_CMD_READ	= 1,
	BLK_DMABUF_CMD_WRITE	= 2,
	BLK_DMABUF_CMD_READV	= 3,
	BLK_DMABUF_CMD_WRITEV	= 4,
};

/**
 * struct blk_dmabuf_cmd - sqe->cmd of an I/O
 * @offset: first byte in the buffer
 * @slot: slot of the channel
 * @hint: for the policy, opaque to the kernel
 */
struct blk_dmabuf_cmd {
	__u64	offset;
	__u32	slot;
	__u32	hint;
};

/**
 * struct blk_dmabuf_vec - a piece of a vectored I/O
 * @offset: first byte in the buffer
 * @len: bytes, a multiple of &blk_dmabuf_limits.vec_align like @offset
 * @slot: slot of the channel
 */
struct blk_dmabuf_vec {
	__u64	offset;
	__u32	len;
	__u32	slot;
};

/**
 * struct blk_dmabuf_cmdv - sqe->cmd of a vectored I/O
 * @vecs: address of an array of struct blk_dmabuf_vec, which stays as it is until
 *	the command completes
 * @nr: entries of it, at most BLK_DMABUF_MAX_VECS
 * @hint: for the policy, opaque to the kernel
 *
 * The lengths add up to sqe->len.  Pieces of one slot that follow each other are
 * one I/O, whose length is whole blocks; a command on several slots is several
 * I/Os, and an error of one is that of the command.  Where a device does not take
 * all pieces of an I/O at once, it is split between blocks; where that cannot be
 * done it is refused with BLK_DMABUF_LAYOUT.
 */
struct blk_dmabuf_cmdv {
	__u64	vecs;
	__u32	nr;
	__u32	hint;
};

#define BLK_DMABUF_MAX_VECS	1024

/* Where the data went: slot and buffer offset out of big_cqe[0]. */
#define BLK_DMABUF_PLACED_SLOT(p)	((__u32)((p) >> 48) & 0x7fff)
#define BLK_DMABUF_PLACED_OFFSET(p)	((p) & ((1ULL << 48) - 1))
/* The CPU copied it, or a piece of it. */
#define BLK_DMABUF_PLACED_COPIED(p)	((__u32)((p) >> 63))

#endif /* _UAPI_LINUX_BLK_DMABUF_H */
