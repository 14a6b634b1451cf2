/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A rig for tests in C: a buffer that is registered on a disk and bound to a
 * channel, and a ring to do I/O with.  What cannot be had fails the test, or
 * skips it when the disk is missing.
 */
#ifndef SELFTESTS_RIG_H
#define SELFTESTS_RIG_H

#include <liburing.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "dmabuf.h"
#include "tap.h"

/*
 * For QEMU's monitor: a line for each instruction, and no more of that.  "singlestep"
 * was renamed in QEMU 8.1; what is not known is complained about and nothing else.
 */
#define MONITOR_LOG_ON	"singlestep on\none-insn-per-tb on\nlog exec,nochain\n"
#define MONITOR_LOG_OFF	"log none\nsinglestep off\none-insn-per-tb off\n"

/* Shared by all tests: what they leave in it is removed behind them. */
static struct blkdmabuf_ctl *rig_ctl;

struct rig {
	int		bdev;
	int		chan;
	int		dmabuf;
	uint32_t	slot;
	uint32_t	id;
	uint64_t	size;
	unsigned char	*mem;
	struct blk_dmabuf_limits limits;
};

static inline int rig_open_disk(const char *serial, int flags)
{
	const char *path = disk_by_serial(serial);
	int fd;

	if (!path)
		tap_skip(serial);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

/* A buffer full of poison. */
static inline void rig_buffer(struct rig *r, uint64_t size, bool shuffled)
{
	r->size = size;
	r->dmabuf = shuffled ? shuffled_udmabuf(size, NULL) :
			       blkdmabuf_udmabuf(size, 0);
	CHECK(r->dmabuf >= 0);
	r->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      r->dmabuf, 0);
	CHECK(r->mem != MAP_FAILED);
	memset(r->mem, POISON, size);
}

static inline void rig_register(struct rig *r)
{
	struct blk_dmabuf_attach reg;

	CHECK_EQ(blkdmabuf_register(rig_ctl, r->bdev, r->dmabuf, &reg), 0);
	r->id = reg.id;
}

static inline void rig_bind(struct rig *r)
{
	int slot;

	r->chan = blkdmabuf_channel(r->bdev);
	CHECK(r->chan >= 0);
	CHECK_EQ(blkdmabuf_limits(r->chan, &r->limits), 0);
	slot = blkdmabuf_bind(r->chan, r->dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	CHECK(slot >= 0);
	r->slot = slot;
}

/* All of it.  Not mapped: the first I/O is to do that. */
static inline void rig_up(struct rig *r, const char *serial, uint64_t size)
{
	memset(r, 0, sizeof(*r));
	r->bdev = rig_open_disk(serial, O_RDWR | O_DIRECT);
	rig_buffer(r, size, false);
	rig_register(r);
	rig_bind(r);
}

static inline struct blk_dmabuf_info rig_info(struct rig *r)
{
	struct blk_dmabuf_info info;

	CHECK_EQ(blkdmabuf_query(r->chan, r->slot, &info), 0);
	return info;
}

/* ---- plain I/O, which is trusted ---- */

static inline void rig_plain(struct rig *r, bool write, void *mem, uint64_t pos,
			     uint64_t len)
{
	ssize_t ret = write ? pwrite(r->bdev, mem, len, pos) :
			      pread(r->bdev, mem, len, pos);

	if (ret != (ssize_t)len)
		tap_fail(__FILE__, __LINE__, "plain %s of %llu at %llu: %s",
			 write ? "write" : "read", (unsigned long long)len,
			 (unsigned long long)pos,
			 ret < 0 ? strerror(errno) : "short");
}

/* Put data on the device; then what a read of it must find is known. */
static inline void rig_fill_disk(struct rig *r, uint64_t pos, uint64_t len,
				 uint64_t seed)
{
	void *mem = aligned_alloc(PAGE, ALIGN(len, PAGE));

	data_fill(mem, pos, len, seed);
	rig_plain(r, true, mem, pos, len);
	free(mem);
}

static inline size_t rig_check_disk(struct rig *r, uint64_t pos, uint64_t len,
				    uint64_t seed)
{
	void *mem = aligned_alloc(PAGE, ALIGN(len, PAGE));
	size_t bad;

	rig_plain(r, false, mem, pos, len);
	bad = data_check(mem, pos, len, seed, NULL);
	free(mem);
	return bad;
}

static inline void rig_fill(struct rig *r, uint64_t offset, uint64_t pos,
			    uint64_t len, uint64_t seed)
{
	data_fill(r->mem + offset, pos, len, seed);
}

static inline size_t rig_check(struct rig *r, uint64_t offset, uint64_t pos,
			       uint64_t len, uint64_t seed)
{
	return data_check(r->mem + offset, pos, len, seed, NULL);
}

/* ---- I/O under test ---- */

static struct io_uring rig_uring;

#define READ_CMD	BLK_DMABUF_CMD_READ
#define WRITE_CMD	BLK_DMABUF_CMD_WRITE

static inline void rig_ring_flags(unsigned int depth, unsigned int flags)
{
	CHECK_EQ(io_uring_queue_init(depth, &rig_uring, flags), 0);
}

static inline struct io_uring_sqe *rig_sqe(struct rig *r, unsigned int op,
					   uint64_t pos, uint32_t len,
					   uint64_t offset)
{
	struct io_uring_sqe *sqe;

	if (!rig_uring.ring_fd)
		rig_ring_flags(256, IORING_SETUP_CQE32);
	sqe = io_uring_get_sqe(&rig_uring);
	CHECK(sqe);
	blkdmabuf_prep_read(sqe, r->chan, pos, len, r->slot, offset, 0);
	sqe->cmd_op = op;
	return sqe;
}

struct rig_done {
	uint64_t	user;
	int		res;
};

static inline struct rig_done rig_reap(void)
{
	struct io_uring_cqe *cqe;
	struct rig_done done;
	int ret;

	do {
		ret = io_uring_wait_cqe(&rig_uring, &cqe);
	} while (ret == -EINTR);
	CHECK_EQ(ret, 0);
	done = (struct rig_done) { cqe->user_data, cqe->res };
	io_uring_cqe_seen(&rig_uring, cqe);
	return done;
}

/* Submit what is queued, which is one, and wait for it. */
static inline int rig_run(void)
{
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
	return rig_reap().res;
}

static inline int rig_io(struct rig *r, unsigned int op, uint64_t pos,
			 uint32_t len, uint64_t offset)
{
	rig_sqe(r, op, pos, len, offset);
	return rig_run();
}

/* Wait for something that another thread of the kernel does. */
#define CHECK_SOON(cond)						\
	do {								\
		uint64_t rig_end = now_ms() + 60000;			\
									\
		while (!(cond)) {					\
			if (now_ms() > rig_end)				\
				tap_fail(__FILE__, __LINE__,		\
					 "not within 60 s: %s", #cond);	\
			sleep_ms(10);					\
		}							\
	} while (0)

static inline void rig_clean(void)
{
	uint32_t ids[64];
	int i, n;

	n = blkdmabuf_owned(rig_ctl, ids, ARRAY_SIZE(ids));
	for (i = 0; i < n && i < (int)ARRAY_SIZE(ids); i++)
		blkdmabuf_unregister(rig_ctl, ids[i]);
}

/* All tests; @clean_up takes away what one that failed may have left. */
static inline int rig_main_clean(int argc, char **argv, void (*clean_up)(void))
{
	int ret = blkdmabuf_ctl_open(&rig_ctl, NULL);

	if (ret) {
		printf("Bail out! control programs: %s\n", strerror(-ret));
		return 1;
	}
	ret = tap_main(argc, argv, clean_up);
	blkdmabuf_ctl_close(rig_ctl);
	return ret;
}

static inline int rig_main(int argc, char **argv)
{
	return rig_main_clean(argc, argv, rig_clean);
}

#endif /* SELFTESTS_RIG_H */
