// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Words, channels, I/O and dma-bufs.  What the functions do and return is
 * written in libblkdmabuf.h; control is in libblkdmabuf-ctl.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/magic.h>
#include <linux/udmabuf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <liburing.h>

#include "libblkdmabuf.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* ---- Words ---- */

static const char *const state_words[] = {
	[BLK_DMABUF_UNMAPPED]	= "unmapped",
	[BLK_DMABUF_LIVE]	= "live",
	[BLK_DMABUF_DEAD]	= "dead",
};

struct reason_words {
	const char *name;
	const char *text;
	const char *advice;
};

#define REASON(name, text, advice) \
	[BLK_DMABUF_##name] = { #name, text, advice }

#define POLICY_ADVICE	"mend the policy, or select another one"

static const struct reason_words reason_words[] = {
	REASON(OK, "nothing was refused", ""),
	REASON(NO_DEVICE,
	       "this is neither a block device nor a file on one, or that is "
	       "going away",
	       "name a block device, as lsblk lists them, or a file on ext4 or "
	       "XFS"),
	REASON(NO_DRIVER,
	       "the driver of the device, or of one that it is stacked on, "
	       "takes no premapped I/O",
	       "use NVMe, AHCI, virtio or most SCSI hosts, or what is on such "
	       "only (lsblk -s shows what is below), or --allow-copy"),
	REASON(INTEGRITY,
	       "the device has an integrity profile",
	       "use a namespace formatted without metadata, or --allow-copy"),
	REASON(ZONED,
	       "the device is zoned",
	       "use a device that is not zoned, or --allow-copy"),
	REASON(CRYPTO,
	       "the I/O needs inline encryption",
	       "use a device that needs no inline encryption, or "
	       "--allow-copy"),
	REASON(DUPLICATE,
	       "this dma-buf is registered on this device already",
	       "use the registration there is, or unregister it first"),
	REASON(ATTACH_FAILED,
	       "the exporter of the dma-buf refused the device",
	       "look for the exporter's message in the kernel log, or try a "
	       "udmabuf to see if the device is at fault"),
	REASON(MAP_FAILED,
	       "the exporter of the dma-buf refused to map it for the device",
	       "for peer-to-peer memory see that both devices are below one "
	       "host bridge or switch; look into the kernel log"),
	REASON(LAYOUT,
	       "the ranges of the mapping do not suit the device",
	       "use a device with SGL support, a buffer in whole pages, or "
	       "--allow-copy"),
	REASON(IS_DEAD,
	       "the registration is dead",
	       "register the dma-buf again"),
	REASON(NO_SLOT,
	       "nothing is bound to the slot",
	       "bind the dma-buf to the channel first"),
	REASON(RANGE,
	       "offset and length leave the buffer",
	       "use an offset and a length within the buffer"),
	REASON(UNALIGNED,
	       "offset or length do not suit the alignment of device or file",
	       "use multiples of the block size; a file is written in whole "
	       "blocks of its file system"),
	REASON(ACCESS,
	       "the file or the dma-buf does not permit this direction",
	       "open device or file for that direction, use a writable "
	       "dma-buf"),
	REASON(LAYER,
	       "a layer below the disk or the file takes no premapped I/O",
	       "use what is below that layer (lsblk -s shows the layers), or "
	       "--allow-copy"),
	REASON(IO_ERROR,
	       "the device failed the I/O",
	       "look for the device's errors in the kernel log"),
	REASON(NO_DMABUF,
	       "the file descriptor is no dma-buf",
	       "pass the file descriptor that the exporter handed out; "
	       "/proc/PID/fdinfo/FD has a line exp_name: for a dma-buf"),
	REASON(NOT_REGISTERED,
	       "the dma-buf is not registered on this device",
	       "blkdmabufctl register, on the disk the channel is for"),
	REASON(NOT_ADMITTED,
	       "the device's policy did not admit this buffer",
	       "ask whoever runs the policy, or select another one"),
	REASON(NOT_SELECTED,
	       "the policy's init refused the device",
	       "see the head of the policy's file, or select another one"),
	REASON(POLICY_REFUSED,
	       "the device's policy refused the I/O",
	       "ask whoever runs the policy, or select another one"),
	REASON(POLICY_ERROR,
	       "the device's policy returned what is no errno",
	       POLICY_ADVICE),
	REASON(POLICY_LENGTH,
	       "the device's policy placed nothing, too much, or no whole "
	       "number of blocks",
	       POLICY_ADVICE),
	REASON(POLICY_SLOT,
	       "the device's policy chose a slot that is not bound",
	       POLICY_ADVICE),
	REASON(POLICY_RANGE,
	       "the device's policy chose an offset outside the buffer",
	       POLICY_ADVICE),
	REASON(POLICY_UNALIGNED,
	       "the device's policy chose an offset unaligned for the device",
	       POLICY_ADVICE),
	REASON(POLICY_ACCESS,
	       "the device's policy chose a buffer that does not permit this "
	       "direction",
	       POLICY_ADVICE),
	REASON(POLICY_HCTX,
	       "the device's policy chose what is no queue of the device",
	       POLICY_ADVICE),
	REASON(POLICY_HCTX_TYPE,
	       "the device's policy chose a queue of another type than the "
	       "request's",
	       POLICY_ADVICE),
	REASON(FILE_SYSTEM,
	       "the file system takes no dma-buf I/O",
	       "use a file on ext4 or XFS, the block device, or "
	       "--allow-copy"),
	REASON(FILE,
	       "the file takes no direct I/O: DAX, encryption, verity, "
	       "journalled or inline data, stable writes, or pages in the "
	       "page cache that somebody keeps busy",
	       "use a file without these: lsattr and findmnt show them; a copy "
	       "made with other settings will do, and so will --allow-copy"),
	REASON(MEMORY,
	       "it cannot be told what memory the buffer is, or it is that of "
	       "several devices",
	       "use system memory, or memory in a BAR of one PCI device"),
	REASON(MOVED,
	       "the exporter moved the buffer again and again before the I/O "
	       "reached the device",
	       "do the I/O again, and see why the exporter is short of memory"),
	REASON(HOLE,
	       "a hole, or what is behind the end of the file, was to be read "
	       "into a buffer that the CPU cannot zero",
	       "fill the holes, as cp --sparse=never does, or read into a "
	       "buffer with a CPU mapping"),
	REASON(NO_CPU,
	       "the data would have to be copied, and the CPU has no access to "
	       "the buffer: its exporter offers none, or the memory is bounced "
	       "for a device",
	       "use a udmabuf, the memory of another exporter, or a device "
	       "with premapped I/O"),
	REASON(NOT_P2P,
	       "peer-to-peer memory is demanded, and the buffer is system RAM",
	       "use memory of a device, where the system has a path between "
	       "the two, or do without --require-p2p"),
	REASON(SWITCH,
	       "a switch on the way between the devices cannot be trusted to "
	       "route peer-to-peer I/O behind an IOMMU that translates",
	       "boot with iommu.passthrough=1, or put the devices below a "
	       "switch whose ports have ACS, with redirection off "
	       "(pci=disable_acs_redir=), or below two root ports"),
	REASON(HOST_BRIDGE,
	       "peer-to-peer I/O would go through a host bridge that is not "
	       "known to pass it on",
	       "put both devices below one switch, or use another machine; "
	       "with an IOMMU that translates try iommu.passthrough=1"),
};

_Static_assert(ARRAY_SIZE(reason_words) == BLK_DMABUF_NR_REASONS,
	       "a reason has no words");

static const struct reason_words unknown_reason = {
	.name	= "UNKNOWN",
	.text	= "the kernel gave a reason that is newer than this program",
	.advice	= "update blkdmabufctl and libblkdmabuf",
};

static const struct reason_words *reason_find(unsigned int reason)
{
	if (reason >= ARRAY_SIZE(reason_words) || !reason_words[reason].name)
		return &unknown_reason;
	return &reason_words[reason];
}

static const struct {
	const char *name;
	const char *text;
} path_words[] = {
	[BLK_DMABUF_PATH_NONE] = { "none",
		"not known, because nothing is mapped" },
	[BLK_DMABUF_PATH_PREMAPPED] = { "premapped",
		"DMA to system memory, mapped beforehand" },
	[BLK_DMABUF_PATH_P2P_SWITCH] = { "p2p-switch",
		"peer to peer, below one bridge or switch" },
	[BLK_DMABUF_PATH_P2P_HOST_BRIDGE] = { "p2p-host-bridge",
		"peer to peer, through the host bridge" },
	[BLK_DMABUF_PATH_COPY] = { "copy", "the CPU copies" },
	[BLK_DMABUF_PATH_REFUSED] = { "refused", "there is no way" },
};

const char *blkdmabuf_path_str(unsigned int path)
{
	return path < ARRAY_SIZE(path_words) ? path_words[path].name :
					       "unknown";
}

const char *blkdmabuf_path_text(unsigned int path)
{
	return path < ARRAY_SIZE(path_words) ? path_words[path].text :
	       "a path that is newer than this program";
}

static const char *const iommu_words[] = {
	[BLK_DMABUF_IOMMU_UNKNOWN]	= "unknown",
	[BLK_DMABUF_IOMMU_OFF]		= "off",
	[BLK_DMABUF_IOMMU_PASSTHROUGH]	= "passthrough",
	[BLK_DMABUF_IOMMU_STRICT]	= "strict",
	[BLK_DMABUF_IOMMU_LAZY]		= "lazy",
};

const char *blkdmabuf_iommu_str(unsigned int iommu)
{
	return iommu < ARRAY_SIZE(iommu_words) ? iommu_words[iommu] : "unknown";
}

const char *blkdmabuf_state_str(unsigned int state)
{
	return state < ARRAY_SIZE(state_words) ? state_words[state] : "unknown";
}

const char *blkdmabuf_reason_str(unsigned int reason)
{
	return reason_find(reason)->name;
}

const char *blkdmabuf_reason_text(unsigned int reason)
{
	return reason_find(reason)->text;
}

const char *blkdmabuf_reason_advice(unsigned int reason)
{
	return reason_find(reason)->advice;
}

/* ---- The kernel ---- */

static int ioctl_errno(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* One ioctl on a device node that is not kept open. */
static int node_ioctl(const char *path, unsigned long cmd, void *arg)
{
	int fd, ret;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl_errno(fd, cmd, arg);
	close(fd);
	return ret;
}

#define BLKDMABUF_NODE	"/dev/blkdmabuf"

int blkdmabuf_features(struct blk_dmabuf_features *features)
{
	return node_ioctl(BLKDMABUF_NODE, BLK_DMABUF_FEATURES, features);
}

int blkdmabuf_get_fd(uint32_t id)
{
	struct blk_dmabuf_get_fd arg = { .id = id };

	return node_ioctl(BLKDMABUF_NODE, BLK_DMABUF_GET_FD, &arg);
}

/* ---- Channels ---- */

int blkdmabuf_channel(int fd)
{
	return blkdmabuf_channel_flags(fd, 0);
}

int blkdmabuf_channel_flags(int fd, uint32_t flags)
{
	struct blk_dmabuf_channel arg = { .fd = fd, .flags = flags };

	return node_ioctl(BLKDMABUF_NODE, BLK_DMABUF_CHANNEL, &arg);
}

int blkdmabuf_bind(int chan, int dmabuf_fd, uint32_t slot,
		   struct blk_dmabuf_bind *bind)
{
	struct blk_dmabuf_bind arg = { .dmabuf_fd = dmabuf_fd, .slot = slot };
	int ret;

	ret = ioctl_errno(chan, BLK_DMABUF_BIND, &arg);
	if (ret < 0)
		return ret;
	if (bind)
		*bind = arg;
	return arg.slot;
}

int blkdmabuf_unbind(int chan, uint32_t slot)
{
	return ioctl_errno(chan, BLK_DMABUF_UNBIND, &slot);
}

int blkdmabuf_query(int chan, uint32_t slot, struct blk_dmabuf_info *info)
{
	struct blk_dmabuf_query arg = { .slot = slot };
	int ret;

	ret = ioctl_errno(chan, BLK_DMABUF_QUERY, &arg);
	if (!ret)
		*info = arg.info;
	return ret;
}

int blkdmabuf_limits(int chan, struct blk_dmabuf_limits *limits)
{
	return ioctl_errno(chan, BLK_DMABUF_LIMITS, limits);
}

/* ---- I/O ---- */

static void prep(struct io_uring_sqe *sqe, int chan, unsigned int op,
		 uint64_t pos, uint32_t len, const struct blk_dmabuf_cmd *cmd)
{
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = chan;
	sqe->cmd_op = op;
	sqe->addr = pos;
	sqe->len = len;
	_Static_assert(sizeof(*cmd) <= sizeof(*sqe) -
		       offsetof(struct io_uring_sqe, cmd), "64-byte SQE");
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
}

void blkdmabuf_prep_read(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			 uint32_t len, uint32_t slot, uint64_t offset,
			 uint32_t hint)
{
	struct blk_dmabuf_cmd cmd = {
		.offset = offset, .slot = slot, .hint = hint,
	};

	prep(sqe, chan, BLK_DMABUF_CMD_READ, pos, len, &cmd);
}

void blkdmabuf_prep_write(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			  uint32_t len, uint32_t slot, uint64_t offset,
			  uint32_t hint)
{
	struct blk_dmabuf_cmd cmd = {
		.offset = offset, .slot = slot, .hint = hint,
	};

	prep(sqe, chan, BLK_DMABUF_CMD_WRITE, pos, len, &cmd);
}

static void prep_vecs(struct io_uring_sqe *sqe, int chan, unsigned int op,
		      uint64_t pos, const struct blk_dmabuf_vec *vecs,
		      unsigned int nr, uint32_t hint)
{
	struct blk_dmabuf_cmdv args = {
		.vecs = (uintptr_t)vecs, .nr = nr, .hint = hint,
	};
	struct blk_dmabuf_cmd cmd;
	uint64_t len = 0;
	unsigned int i;

	for (i = 0; i < nr && nr <= BLK_DMABUF_MAX_VECS; i++)
		len += vecs[i].len;
	_Static_assert(sizeof(cmd) == sizeof(args), "both are sqe->cmd");
	memcpy(&cmd, &args, sizeof(cmd));
	/* The kernel refuses as many as that. */
	prep(sqe, chan, op, pos, len < UINT32_MAX ? len : UINT32_MAX, &cmd);
}

void blkdmabuf_prep_readv(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			  const struct blk_dmabuf_vec *vecs, unsigned int nr,
			  uint32_t hint)
{
	prep_vecs(sqe, chan, BLK_DMABUF_CMD_READV, pos, vecs, nr, hint);
}

void blkdmabuf_prep_writev(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			   const struct blk_dmabuf_vec *vecs, unsigned int nr,
			   uint32_t hint)
{
	prep_vecs(sqe, chan, BLK_DMABUF_CMD_WRITEV, pos, vecs, nr, hint);
}

struct blkdmabuf_queue {
	struct io_uring	ring;
	unsigned int	depth;
	unsigned int	inflight;
};

int blkdmabuf_queue_open(struct blkdmabuf_queue **queue, unsigned int depth)
{
	struct blkdmabuf_queue *q;
	int ret;

	if (!depth)
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->depth = depth;
	ret = io_uring_queue_init(depth, &q->ring, IORING_SETUP_CQE32);
	if (ret < 0) {
		free(q);
		return ret;
	}
	*queue = q;
	return 0;
}

void blkdmabuf_queue_close(struct blkdmabuf_queue *q)
{
	struct blkdmabuf_done done;
	int ret;

	if (!q)
		return;
	while (q->inflight) {
		ret = blkdmabuf_queue_reap(q, &done, 1, 1);
		if (ret < 0 && ret != -EINTR && ret != -EAGAIN &&
		    ret != -EBUSY)
			break;
	}
	io_uring_queue_exit(&q->ring);
	free(q);
}

/* There are at least as many SQEs as may be in flight. */
static struct io_uring_sqe *queue_sqe(struct blkdmabuf_queue *q)
{
	struct io_uring_sqe *sqe;

	if (q->inflight >= q->depth)
		return NULL;
	sqe = io_uring_get_sqe(&q->ring);
	if (sqe)
		q->inflight++;
	return sqe;
}

int blkdmabuf_queue_read(struct blkdmabuf_queue *q, int chan, uint64_t pos,
			 uint32_t len, uint32_t slot, uint64_t offset,
			 uint32_t hint, uint64_t user)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (!sqe)
		return -EBUSY;
	blkdmabuf_prep_read(sqe, chan, pos, len, slot, offset, hint);
	sqe->user_data = user;
	return 0;
}

int blkdmabuf_queue_write(struct blkdmabuf_queue *q, int chan, uint64_t pos,
			  uint32_t len, uint32_t slot, uint64_t offset,
			  uint32_t hint, uint64_t user)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (!sqe)
		return -EBUSY;
	blkdmabuf_prep_write(sqe, chan, pos, len, slot, offset, hint);
	sqe->user_data = user;
	return 0;
}

int blkdmabuf_queue_readv(struct blkdmabuf_queue *q, int chan, uint64_t pos,
			  const struct blk_dmabuf_vec *vecs, unsigned int nr,
			  uint32_t hint, uint64_t user)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (!sqe)
		return -EBUSY;
	blkdmabuf_prep_readv(sqe, chan, pos, vecs, nr, hint);
	sqe->user_data = user;
	return 0;
}

int blkdmabuf_queue_writev(struct blkdmabuf_queue *q, int chan, uint64_t pos,
			   const struct blk_dmabuf_vec *vecs, unsigned int nr,
			   uint32_t hint, uint64_t user)
{
	struct io_uring_sqe *sqe = queue_sqe(q);

	if (!sqe)
		return -EBUSY;
	blkdmabuf_prep_writev(sqe, chan, pos, vecs, nr, hint);
	sqe->user_data = user;
	return 0;
}

static unsigned int queue_collect(struct blkdmabuf_queue *q,
				  struct blkdmabuf_done *done, unsigned int max)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	while (n < max && !io_uring_peek_cqe(&q->ring, &cqe)) {
		done[n++] = (struct blkdmabuf_done) {
			.user	= cqe->user_data,
			.res	= cqe->res,
			.slot	= BLK_DMABUF_PLACED_SLOT(cqe->big_cqe[0]),
			.offset	= BLK_DMABUF_PLACED_OFFSET(cqe->big_cqe[0]),
			.copied	= BLK_DMABUF_PLACED_COPIED(cqe->big_cqe[0]),
		};
		io_uring_cqe_seen(&q->ring, cqe);
		q->inflight--;
	}
	return n;
}

int blkdmabuf_queue_reap(struct blkdmabuf_queue *q, struct blkdmabuf_done *done,
			 unsigned int max, unsigned int min)
{
	unsigned int n;
	int ret;

	if (min > max)
		min = max;
	if (min > q->inflight)
		min = q->inflight;
	ret = io_uring_submit_and_wait(&q->ring, min);
	n = queue_collect(q, done, max);
	if (n)
		return n;
	if (ret < 0)
		return ret;
	/* A wait that submitted reports that, not the signal that ended it. */
	return min ? -EINTR : 0;
}

unsigned int
blkdmabuf_queue_inflight(const struct blkdmabuf_queue *q)
{
	return q->inflight;
}

/* ---- dma-bufs ---- */

static uint64_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static int udmabuf_of(int memfd, uint64_t size)
{
	struct udmabuf_create create = {
		.memfd	= memfd,
		.flags	= UDMABUF_FLAGS_CLOEXEC,
		.size	= size,
	};

	return node_ioctl("/dev/udmabuf", UDMABUF_CREATE, &create);
}

/* A memfd that udmabuf accepts: memory that cannot be cut off under it. */
static int sealed_memfd(uint64_t size, unsigned int flags)
{
	unsigned int mfd = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int memfd, err;

	if (!size || size % page_size() || size > INT64_MAX ||
	    flags & ~BLKDMABUF_HUGETLB)
		return -EINVAL;
	if (flags & BLKDMABUF_HUGETLB)
		mfd |= MFD_HUGETLB;
	memfd = memfd_create("blkdmabuf", mfd);
	if (memfd < 0)
		return -errno;
	if (!ftruncate(memfd, size) &&
	    !fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return memfd;
	err = -errno;
	close(memfd);
	return err;
}

int blkdmabuf_udmabuf(uint64_t size, unsigned int flags)
{
	int memfd, ret;

	memfd = sealed_memfd(size, flags);
	if (memfd < 0)
		return memfd;
	ret = udmabuf_of(memfd, size);
	/* The dma-buf holds the pages. */
	close(memfd);
	return ret;
}

int blkdmabuf_udmabuf_mapped(uint64_t size, unsigned int flags, void **mem)
{
	int memfd, dmabuf;
	void *map;

	memfd = sealed_memfd(size, flags);
	if (memfd < 0)
		return memfd;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	dmabuf = map == MAP_FAILED ? -errno : udmabuf_of(memfd, size);
	close(memfd);
	if (dmabuf >= 0)
		*mem = map;
	else if (map != MAP_FAILED)
		munmap(map, size);
	return dmabuf;
}

int blkdmabuf_heap(const char *name, uint64_t size)
{
	struct dma_heap_allocation_data arg = {
		.len		= size,
		.fd_flags	= O_RDWR | O_CLOEXEC,
	};
	char path[PATH_MAX];
	int ret;

	if (!*name || strchr(name, '/') || !size || size % page_size())
		return -EINVAL;
	if (snprintf(path, sizeof(path), "/dev/dma_heap/%s", name) >=
	    (int)sizeof(path))
		return -EINVAL;
	ret = node_ioctl(path, DMA_HEAP_IOCTL_ALLOC, &arg);
	return ret < 0 ? ret : (int)arg.fd;
}

int blkdmabuf_size(int fd, uint64_t *size)
{
	struct statfs fs;
	off_t end;

	if (fstatfs(fd, &fs))
		return -errno;
	if (fs.f_type != DMA_BUF_MAGIC)
		return -EINVAL;
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	if (size)
		*size = end;
	return 0;
}

int blkdmabuf_cpu_access(int fd, int begin, int write)
{
	struct dma_buf_sync sync = {
		.flags = (begin ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END) |
			 (write ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ),
	};
	int ret;

	do {
		ret = ioctl_errno(fd, DMA_BUF_IOCTL_SYNC, &sync);
	} while (ret == -EINTR || ret == -EAGAIN);
	return ret;
}
