/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * libblkdmabuf: block I/O on dma-buf memory.
 *
 * Three parts, each usable without the others:
 *
 *  - control: register dma-bufs on disks, map, unmap, list (needs privilege);
 *  - I/O: open a channel for a block device or a file, bind dma-bufs to it,
 *    read and write through io_uring;
 *  - dma-bufs out of plain memory, to have something to do I/O on.
 *
 * Conventions, unless a function says otherwise:
 *
 *  - the result is >= 0, or -errno; errno itself is not touched on purpose;
 *  - sizes, offsets and positions are bytes;
 *  - file descriptors that are returned are the caller's, close on exec, closed
 *    with close(); those that are passed in stay the caller's and may be closed
 *    after the call;
 *  - pointers that are passed in are not kept;
 *  - one thread at a time per object (struct blkdmabuf_ctl, struct
 *    blkdmabuf_queue); channels are file descriptors and may be shared.
 *
 * The structures blk_dmabuf_* are the kernel's, see <linux/blk-dmabuf.h>.
 */
#ifndef LIBBLKDMABUF_H
#define LIBBLKDMABUF_H

#include <stddef.h>
#include <stdint.h>
#include <linux/blk-dmabuf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct io_uring_sqe;

/* ---- Words ---- */

/**
 * blkdmabuf_state_str - "unmapped", "live", "dead", or "unknown"
 * @state: enum blk_dmabuf_state
 *
 * Return: a constant string, never NULL.
 */
const char *blkdmabuf_state_str(unsigned int state);

/**
 * blkdmabuf_path_str - "none", "premapped", "p2p-switch", "p2p-host-bridge",
 *	"copy", "refused", or "unknown"
 * @path: enum blk_dmabuf_path
 *
 * Return: a constant string, never NULL.
 */
const char *blkdmabuf_path_str(unsigned int path);

/**
 * blkdmabuf_path_text - what a path means, in one clause
 * @path: enum blk_dmabuf_path
 *
 * Return: a constant string, no capital, no full stop; never NULL.
 */
const char *blkdmabuf_path_text(unsigned int path);

/**
 * blkdmabuf_iommu_str - "unknown", "off", "passthrough", "strict", "lazy"
 * @iommu: enum blk_dmabuf_iommu
 *
 * Return: a constant string, never NULL.
 */
const char *blkdmabuf_iommu_str(unsigned int iommu);

/**
 * blkdmabuf_reason_str - name of a reason: that of the constant, no prefix
 * @reason: enum blk_dmabuf_reason
 *
 * Return: a constant string such as "NO_DRIVER"; "UNKNOWN" for one that this
 * version does not know; never NULL.
 */
const char *blkdmabuf_reason_str(unsigned int reason);

/**
 * blkdmabuf_reason_text - what a reason means, in one clause
 * @reason: enum blk_dmabuf_reason
 *
 * Return: a constant string, no capital, no full stop; never NULL.
 */
const char *blkdmabuf_reason_text(unsigned int reason);

/**
 * blkdmabuf_reason_advice - what to try next
 * @reason: enum blk_dmabuf_reason
 *
 * Return: a constant string, no capital, no full stop; never NULL, empty for
 * BLK_DMABUF_OK.
 */
const char *blkdmabuf_reason_advice(unsigned int reason);

/* ---- The kernel ---- */

/**
 * blkdmabuf_features - what this kernel offers
 * @features: out
 *
 * Return: 0; -ENOENT or -ENXIO without /dev/blkdmabuf: the kernel does not have
 * the feature; -ENOTTY if it has another version of the ABI, whose structures
 * are not those of this library; -EACCES.
 */
int blkdmabuf_features(struct blk_dmabuf_features *features);

/* ---- Channels ---- */

/**
 * blkdmabuf_channel - open a channel for an open block device or file
 * @fd: block device or regular file, opened as the channel shall use it; may be
 *	closed after
 *
 * I/O on a file goes through its file system, which says where on the disk it
 * goes, and is direct I/O, whether @fd was opened with O_DIRECT or not.
 *
 * Return: the channel's file descriptor; -ENOENT or -ENXIO without
 * /dev/blkdmabuf; -EOPNOTSUPP for a file whose file system takes no dma-buf I/O
 * (counted as BLK_DMABUF_FILE_SYSTEM), or that takes no direct I/O itself
 * (BLK_DMABUF_FILE); -ENOTBLK for what is neither a block device nor a regular
 * file; -EBADF.  Whether the disk takes dma-buf I/O shows when a dma-buf is
 * registered on it.
 */
int blkdmabuf_channel(int fd);

/**
 * blkdmabuf_channel_flags - the same with flags
 * @fd: as above; with BLK_DMABUF_CHANNEL_COPY any block device, and any regular
 *	file on a file system on one or that knows O_DIRECT
 * @flags: one of
 *
 *  - BLK_DMABUF_CHANNEL_COPY: what cannot be done premapped is copied by the CPU
 *    and not refused, on dma-bufs that were registered with
 *    BLK_DMABUF_ATTACH_COPY.  Struct blkdmabuf_done says so of each I/O.  A
 *    channel uses at most 16 MiB of memory for it, the rest waits.
 *  - BLK_DMABUF_CHANNEL_P2P: memory that is not another device's is refused, with
 *    BLK_DMABUF_NOT_P2P.
 *
 * Return: as above; -EINVAL for both flags or unknown ones.
 */
int blkdmabuf_channel_flags(int fd, uint32_t flags);

/**
 * blkdmabuf_bind - give a channel the use of a registered dma-buf
 * @chan: channel
 * @dmabuf_fd: the dma-buf; the slot keeps its own reference
 * @slot: slot to bind, or BLK_DMABUF_SLOT_ANY for a free one
 * @bind: out: id and size of the registration; NULL if not wanted
 *
 * The dma-buf must be registered on the channel's disk; that of a file is the
 * disk, or the stack of disks, that its file system is on.
 *
 * Return: the slot; -ENOENT if it is not registered there; -EBUSY if the slot
 * is taken; -ENOSPC if no slot is free; -EINVAL for a fd that is no dma-buf.
 */
int blkdmabuf_bind(int chan, int dmabuf_fd, uint32_t slot,
		   struct blk_dmabuf_bind *bind);

/**
 * blkdmabuf_unbind - empty a slot
 * @chan: channel
 * @slot: the slot; I/O in flight on it still finishes
 *
 * Return: 0; -ENOENT if nothing is bound.
 */
int blkdmabuf_unbind(int chan, uint32_t slot);

/**
 * blkdmabuf_query - look at the registration bound to a slot
 * @chan: channel
 * @slot: the slot
 * @info: out
 *
 * Return: 0; -ENOENT if nothing is bound.
 */
int blkdmabuf_query(int chan, uint32_t slot, struct blk_dmabuf_info *info);

/**
 * blkdmabuf_limits - alignment and sizes the channel's device or file asks for
 * @chan: channel
 * @limits: out
 *
 * A file is written in multiples of limits.write_block_size, whole blocks of
 * its file system, and read in multiples of limits.block_size, which may be
 * smaller.  limits.bytes is the size that the file has now.
 *
 * Return: 0 or -errno.
 */
int blkdmabuf_limits(int chan, struct blk_dmabuf_limits *limits);

/* ---- I/O on the caller's own ring ---- */

/**
 * blkdmabuf_prep_read - fill an SQE: device to buffer
 * @sqe: from io_uring_get_sqe(); overwritten, so set user data and flags after
 * @chan: channel
 * @pos: position on the device or in the file, a multiple of limits.block_size
 * @len: bytes, a multiple of limits.block_size
 * @slot: slot of the channel
 * @offset: first byte in the buffer, a multiple of limits.dma_alignment
 * @hint: for the policy, 0 if there is none
 *
 * The CQE's res is the number of bytes done, which may be less than @len, or
 * -errno: -ENOENT (empty slot), -ERANGE (leaves the buffer), -EINVAL
 * (alignment), -EBADF (the channel's file does not permit the direction),
 * -EACCES (the dma-buf does not), -ENODEV (registration dead), -EIO and others
 * from device and file system.  At the end of a device or file a read is short
 * or 0; what a file ends with need not be a whole block.  At the end of a
 * device a write is short or -ENOSPC.  On a ring with IORING_SETUP_CQE32
 * big_cqe[0] says where the data went, see BLK_DMABUF_PLACED_SLOT().
 */
void blkdmabuf_prep_read(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			 uint32_t len, uint32_t slot, uint64_t offset,
			 uint32_t hint);

/**
 * blkdmabuf_prep_write - fill an SQE: buffer to device
 *
 * Parameters and result as blkdmabuf_prep_read(), but for @pos and @len, which
 * are multiples of limits.write_block_size.  A write behind the end of a file
 * extends it; ftruncate() takes off what was written only to fill a block.  The
 * data is there as after any direct write: fsync() device or file for a
 * volatile cache and, of a file, for what leads to the data.
 */
void blkdmabuf_prep_write(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			  uint32_t len, uint32_t slot, uint64_t offset,
			  uint32_t hint);

/**
 * blkdmabuf_prep_readv - fill an SQE: device to pieces of buffers
 * @sqe: from io_uring_get_sqe(); overwritten, so set user data and flags after
 * @chan: channel
 * @pos: position on the device or in the file, a multiple of limits.block_size
 * @vecs: the pieces, in the order of the data; offsets and lengths are multiples
 *	of limits.vec_align.  Stays as it is until the I/O is done
 * @nr: how many, at most BLK_DMABUF_MAX_VECS
 * @hint: for the policy, 0 if there is none
 *
 * Pieces of one slot that follow each other add up to a multiple of
 * limits.block_size, and become one request if the device takes that.  The result
 * is as that of blkdmabuf_prep_read(); big_cqe[0] is about the first piece.
 * -EINVAL also means that there are none or too many, -EFAULT that @vecs is no
 * memory, -EOPNOTSUPP that the device cannot have pieces as small as these.
 */
void blkdmabuf_prep_readv(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			  const struct blk_dmabuf_vec *vecs, unsigned int nr,
			  uint32_t hint);

/** blkdmabuf_prep_writev - fill an SQE: pieces of buffers to device */
void blkdmabuf_prep_writev(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			   const struct blk_dmabuf_vec *vecs, unsigned int nr,
			   uint32_t hint);

/* ---- I/O on a ring of the library ---- */

struct blkdmabuf_queue;

/**
 * struct blkdmabuf_done - one I/O that came back
 * @user: what was given to blkdmabuf_queue_read() or _write()
 * @res: bytes done or -errno
 * @slot: where the data went, or came from
 * @offset: where the data went, or came from
 * @copied: the CPU copied it, or a piece of it
 */
struct blkdmabuf_done {
	uint64_t	user;
	int32_t		res;
	uint32_t	slot;
	uint64_t	offset;
	uint32_t	copied;
};

/**
 * blkdmabuf_queue_open - make a ring for I/O on channels
 * @queue: out; free with blkdmabuf_queue_close()
 * @depth: I/Os that may be in flight
 *
 * Return: 0; -EINVAL for a depth of 0; -ENOMEM; what io_uring_setup(2) says.
 */
int blkdmabuf_queue_open(struct blkdmabuf_queue **queue, unsigned int depth);

/**
 * blkdmabuf_queue_close - wait for what is in flight, then free the ring
 * @queue: may be NULL
 */
void blkdmabuf_queue_close(struct blkdmabuf_queue *queue);

/**
 * blkdmabuf_queue_read - queue a read; blkdmabuf_queue_reap() submits it
 * @queue: ring
 * @chan: channel
 * @pos: @len: @slot: @offset: @hint: as for blkdmabuf_prep_read()
 * @user: comes back in struct blkdmabuf_done
 *
 * Return: 0; -EBUSY when the depth is reached: reap first.
 */
int blkdmabuf_queue_read(struct blkdmabuf_queue *queue, int chan, uint64_t pos,
			 uint32_t len, uint32_t slot, uint64_t offset,
			 uint32_t hint, uint64_t user);

/** blkdmabuf_queue_write - queue a write; as blkdmabuf_queue_read() */
int blkdmabuf_queue_write(struct blkdmabuf_queue *queue, int chan, uint64_t pos,
			  uint32_t len, uint32_t slot, uint64_t offset,
			  uint32_t hint, uint64_t user);

/**
 * blkdmabuf_queue_readv - queue a read into pieces of buffers
 * @queue: ring
 * @chan: channel
 * @pos: @vecs: @nr: @hint: as for blkdmabuf_prep_readv()
 * @user: comes back in struct blkdmabuf_done
 *
 * Return: 0; -EBUSY when the depth is reached: reap first.
 */
int blkdmabuf_queue_readv(struct blkdmabuf_queue *queue, int chan, uint64_t pos,
			  const struct blk_dmabuf_vec *vecs, unsigned int nr,
			  uint32_t hint, uint64_t user);

/** blkdmabuf_queue_writev - the same for a write */
int blkdmabuf_queue_writev(struct blkdmabuf_queue *queue, int chan,
			   uint64_t pos, const struct blk_dmabuf_vec *vecs,
			   unsigned int nr, uint32_t hint, uint64_t user);

/**
 * blkdmabuf_queue_reap - submit what is queued, wait, collect what came back
 * @queue: ring
 * @done: out: up to @max results
 * @max: room in @done
 * @min: wait for that many; 0 to only look; more than is in flight means all
 *
 * Return: entries of @done that are filled; -EINTR when a signal came before
 * @min was reached and nothing was collected: nothing is lost, call again.
 */
int blkdmabuf_queue_reap(struct blkdmabuf_queue *queue,
			 struct blkdmabuf_done *done, unsigned int max,
			 unsigned int min);

/**
 * blkdmabuf_queue_inflight - I/Os queued or in flight that were not reaped
 * @queue: ring
 */
unsigned int blkdmabuf_queue_inflight(const struct blkdmabuf_queue *queue);

/* ---- Control ---- */

/* The bpffs directory whose map "regs" keeps registrations alive. */
#define BLKDMABUF_PIN_DIR	"/sys/fs/bpf/blkdmabuf"

struct blkdmabuf_ctl;

/**
 * blkdmabuf_ctl_open - load the control programs
 * @ctl: out; free with blkdmabuf_ctl_close()
 * @pin_dir: directory in a bpffs; its map "regs" is used, and made if missing:
 *	registrations stay when the process ends, until they are unregistered or
 *	the pin is removed.  NULL for a map of this object alone: registrations
 *	go with it, however the process ends.
 *
 * Needs CAP_BPF and CAP_PERFMON, in practice root.  What libbpf has to say
 * meanwhile is not printed unless LIBBPF_LOG_LEVEL is set.
 *
 * Return: 0; -EPERM without privilege; -EOPNOTSUPP if the kernel has not got
 * the feature or no BTF; -ENOTTY if the kernel, or the one that the programs in
 * this library were built for, has another version of the ABI; -ENOTDIR if
 * @pin_dir is not on a bpffs; -EEXIST if what is pinned there is no map of
 * ours.
 */
int blkdmabuf_ctl_open(struct blkdmabuf_ctl **ctl, const char *pin_dir);

/**
 * blkdmabuf_ctl_close - unload; a map that is not pinned goes with all it holds
 * @ctl: may be NULL
 */
void blkdmabuf_ctl_close(struct blkdmabuf_ctl *ctl);

/**
 * blkdmabuf_register - attach a dma-buf to the disk of a block device or file
 * @ctl: its map owns the registration
 * @fd: open block device, or file on a file system on one; a partition means
 *	its disk, a stack of disks (device mapper, md) means each disk below it;
 *	any mode of opening will do
 * @dmabuf_fd: the dma-buf
 * @result: out, also on failure: error, reason, and id (with
 *	BLK_DMABUF_DUPLICATE that of the registration there is); NULL if not
 *	wanted
 *
 * The DMA mapping is made by blkdmabuf_map() or by the first I/O.  It is the
 * disk that is registered on, not the file: blkdmabuf_info() says which, and
 * whatever else is on that disk can use the registration, too.
 *
 * Return: 0; -EEXIST if the pair is registered already; -ENOSPC if the map is
 * full; -EOPNOTSUPP with BLK_DMABUF_FILE_SYSTEM or BLK_DMABUF_FILE for a file
 * that cannot be used, with another reason for a disk that cannot; -ENOTBLK for
 * what is neither block device nor regular file; others with a reason in
 * @result.
 */
int blkdmabuf_register(struct blkdmabuf_ctl *ctl, int fd, int dmabuf_fd,
		       struct blk_dmabuf_attach *result);

/**
 * blkdmabuf_register_flags - the same with flags
 * @ctl: as above
 * @fd: as above; with BLK_DMABUF_ATTACH_COPY as for blkdmabuf_channel_flags()
 * @dmabuf_fd: as above
 * @flags: BLK_DMABUF_ATTACH_COPY: I/O may be copied, on channels that may copy.
 *	The disk need not take premapped I/O then; if it does not, result->reason
 *	says why.  BLK_DMABUF_ATTACH_TRIAL: it takes no number that people see
 * @result: as above
 *
 * Return: as above; -EOPNOTSUPP with BLK_DMABUF_NO_CPU if nothing else would do
 * and the exporter offers no CPU mapping.
 */
int blkdmabuf_register_flags(struct blkdmabuf_ctl *ctl, int fd, int dmabuf_fd,
			     uint32_t flags, struct blk_dmabuf_attach *result);

/**
 * blkdmabuf_unregister - end a registration that this map owns
 * @ctl: control object
 * @id: the registration
 *
 * I/O in flight is waited for; slots that are bound to it stay bound, I/O on
 * them fails with -ENODEV.
 *
 * Return: 0; -ENOENT if the map does not own it.
 */
int blkdmabuf_unregister(struct blkdmabuf_ctl *ctl, uint32_t id);

/**
 * blkdmabuf_map - make the DMA mapping of any registration now; idempotent
 * @ctl: control object
 * @id: the registration
 *
 * On a stack of disks it maps for the devices that I/O has reached so far: a
 * buffer is attached to a device below the stack by the first I/O that gets
 * there.
 *
 * Return: 0; -ENOENT; -ETIMEDOUT if a move that the exporter has begun does not
 * end; else blkdmabuf_info() has the reason.
 */
int blkdmabuf_map(struct blkdmabuf_ctl *ctl, uint32_t id);

/**
 * blkdmabuf_unmap - drop the mapping; the next I/O makes a new one
 * @ctl: control object
 * @id: the registration; I/O in flight is waited for
 *
 * Return: 0; -ENOENT.
 */
int blkdmabuf_unmap(struct blkdmabuf_ctl *ctl, uint32_t id);

/**
 * blkdmabuf_next - walk all registrations of the kernel, by ascending id
 * @ctl: control object
 * @after: id to start after, 0 for the first
 * @info: out: the next one
 *
 * Without CAP_SYS_ADMIN the caller sees, here and by id, those of its own user.
 *
 * Return: 1 if there is a next one, 0 at the end, -errno.
 */
int blkdmabuf_next(struct blkdmabuf_ctl *ctl, uint32_t after,
		   struct blk_dmabuf_info *info);

/**
 * blkdmabuf_info - look at one registration
 * @ctl: control object
 * @id: the registration
 * @info: out
 *
 * Return: 0; -ENOENT.
 */
int blkdmabuf_info(struct blkdmabuf_ctl *ctl, uint32_t id,
		   struct blk_dmabuf_info *info);

/**
 * blkdmabuf_owned - ids of the registrations that this map owns
 * @ctl: control object
 * @ids: out, ascending
 * @max: room in @ids
 *
 * Return: how many there are, which may be more than @max.
 */
int blkdmabuf_owned(struct blkdmabuf_ctl *ctl, uint32_t *ids, unsigned int max);

/**
 * blkdmabuf_get_fd - get a dma-buf by the id of a registration of it
 * @id: the registration
 *
 * Needs CAP_SYS_ADMIN, but no struct blkdmabuf_ctl.
 *
 * Return: file descriptor of the dma-buf; -EPERM; -ENOENT.
 */
int blkdmabuf_get_fd(uint32_t id);

/* ---- dma-bufs ---- */

#define BLKDMABUF_HUGETLB	(1U << 0) /* out of huge pages */

/**
 * blkdmabuf_udmabuf - a dma-buf out of fresh anonymous memory, zeroed
 * @size: a multiple of the page size; with BLKDMABUF_HUGETLB of the huge page
 *	size
 * @flags: BLKDMABUF_HUGETLB or 0
 *
 * Return: file descriptor; -EINVAL (size, flags); -ENOENT or -ENXIO without
 * /dev/udmabuf; -ENOMEM, also if too few huge pages are reserved.
 */
int blkdmabuf_udmabuf(uint64_t size, unsigned int flags);

/**
 * blkdmabuf_udmabuf_mapped - the same, and its memory where direct I/O takes it
 * @size: @flags: as for blkdmabuf_udmabuf()
 * @mem: out: the pages of the buffer in its order; munmap() them
 *
 * A mapping of the dma-buf itself has no struct pages, so direct I/O and
 * registered buffers refuse it.  This one has, which lets ordinary I/O be
 * compared with I/O on the dma-buf on the very same pages.
 *
 * Return: as blkdmabuf_udmabuf().
 */
int blkdmabuf_udmabuf_mapped(uint64_t size, unsigned int flags, void **mem);

/**
 * blkdmabuf_heap - a dma-buf from a dma-heap
 * @name: name below /dev/dma_heap, such as "system"
 * @size: a multiple of the page size
 *
 * Return: file descriptor; -EINVAL (size, name); -ENOENT if there is no such
 * heap; -ENOMEM.
 */
int blkdmabuf_heap(const char *name, uint64_t size);

/**
 * struct blkdmabuf_vfio_range - a part of a BAR
 * @offset: first byte in the BAR, a multiple of the page size
 * @length: bytes, a multiple of the page size
 */
struct blkdmabuf_vfio_range {
	uint64_t	offset;
	uint64_t	length;
};

/**
 * blkdmabuf_vfio_open - open a PCI device that vfio-pci drives
 * @device: its name, such as "0000:01:00.0"; the domain 0000: may be left out
 *
 * By the device's node and /dev/iommu, or by its group and /dev/vfio/vfio where
 * these are missing.  Memory access of the device is switched on.
 *
 * Return: file descriptor of the device; -ENODEV if there is no such device;
 * -ENXIO if vfio does not drive it; -EPERM without permission, or if another
 * device of its group has another driver; -EBUSY if somebody else has it open.
 */
int blkdmabuf_vfio_open(const char *device);

/**
 * blkdmabuf_vfio_region - where a region of a device is in its file
 * @device: from blkdmabuf_vfio_open()
 * @index: 0 to 5 for BARs, VFIO_PCI_*_REGION_INDEX
 * @offset: out: for pread(), pwrite(), mmap(); NULL if not wanted
 * @size: out: 0 if there is no such BAR; NULL if not wanted
 *
 * A dma-buf of a BAR has no mmap(), but the device has.
 *
 * Return: 0 or -errno.
 */
int blkdmabuf_vfio_region(int device, unsigned int index, uint64_t *offset,
			  uint64_t *size);

/**
 * blkdmabuf_vfio_memory - switch memory access of a device on or off
 * @device: from blkdmabuf_vfio_open()
 * @on: off takes its dma-bufs away from whoever has them mapped; on permits to
 *	map them again
 *
 * Return: 0 or -errno.
 */
int blkdmabuf_vfio_memory(int device, int on);

/**
 * blkdmabuf_vfio_dmabuf - a dma-buf out of a BAR
 * @device: from blkdmabuf_vfio_open(); has to stay open as long as the dma-buf
 *	is to be used
 * @bar: 0 to 5
 * @ranges: parts of it, in the order they shall have in the buffer
 * @nr: how many; 0 for all of the BAR
 *
 * Return: file descriptor; -ENODEV if there is no such BAR, or it has no
 * memory; -EINVAL (range leaves the BAR, unaligned; no such number; not possible
 * with this device); -ENOTTY if the kernel is too old.
 */
int blkdmabuf_vfio_dmabuf(int device, unsigned int bar,
			  const struct blkdmabuf_vfio_range *ranges,
			  unsigned int nr);

/**
 * blkdmabuf_net_bind_rx - let receive queues of a network device use a dma-buf
 * @ifname: the device, in the network namespace of the caller
 * @fd: the dma-buf
 * @queues: its receive queues
 * @nr: how many
 * @id: out: the binding, as in the control messages of recvmsg()
 * @why: out: what the kernel says to an error, for free(), or NULL
 *
 * For devmem TCP.  Needs CAP_NET_ADMIN.
 *
 * Return: a socket whose close() ends the binding; -ENODEV without such a
 * device; otherwise what the kernel returns, -EOPNOTSUPP if the driver cannot.
 */
int blkdmabuf_net_bind_rx(const char *ifname, int fd, const uint32_t *queues,
			  unsigned int nr, uint32_t *id, char **why);

/** blkdmabuf_net_bind_tx - let a network device send from a dma-buf */
int blkdmabuf_net_bind_tx(const char *ifname, int fd, uint32_t *id,
			  char **why);

/**
 * blkdmabuf_size - size of a dma-buf
 * @fd: file descriptor to look at
 * @size: out; NULL if not wanted
 *
 * Return: 0; -EINVAL if @fd is no dma-buf; -EBADF.
 */
int blkdmabuf_size(int fd, uint64_t *size);

/**
 * blkdmabuf_cpu_access - bracket access through mmap()
 * @fd: the dma-buf
 * @begin: true before the first access, false after the last
 * @write: the CPU writes
 *
 * Return: 0 or -errno.
 */
int blkdmabuf_cpu_access(int fd, int begin, int write);

#ifdef __cplusplus
}
#endif

#endif /* LIBBLKDMABUF_H */
