/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buffers that move, by the module selftests/kmod/dmabuf-mover.c.  A test is
 * skipped where the module was not built.  Every other error ends it as failed.
 *
 *	int fd = mover_create(MIB, MOVER_SHUFFLE);
 *
 *	mover_move(fd);
 *	mover_storm(fd, 1000);
 *	...
 *	mover_storm(fd, 0);
 *	CHECK_EQ(mover_stat(fd).late_writes, 0);
 *
 * The buffer is gone with its last file descriptor and mapping.
 */
#ifndef SELFTESTS_MOVER_H
#define SELFTESTS_MOVER_H

#include <sys/ioctl.h>

#include "dmabuf.h"
#include "kmod/dmabuf-mover.h"
#include "module.h"
#include "tap.h"

#define MOVER_MODULE	"dmabuf_mover"

static int mover_dev = -1;

/* Loads the module.  All functions do that, this one is for those who wait. */
static inline int mover_open(void)
{
	if (mover_dev < 0) {
		need_module(MOVER_MODULE);
		mover_dev = open("/dev/dmabuf-mover", O_RDWR | O_CLOEXEC);
		CHECK(mover_dev >= 0);
	}
	return mover_dev;
}

/* Lets go of the module, which buffers hold by themselves. */
static inline void mover_close(void)
{
	close(mover_dev);
	mover_dev = -1;
}

/* For those who expect an error: -1 and errno. */
static inline int mover_try(unsigned int cmd, int fd, unsigned int arg)
{
	struct mover_op op = { .fd = fd, .arg = arg };

	return ioctl(mover_open(), cmd, &op);
}

/* @data: @bytes to start with, or NULL. */
static inline int mover_create_from(const void *data, uint64_t bytes,
				    unsigned int flags)
{
	struct mover_create create = {
		.bytes	= bytes,
		.data	= (uintptr_t)data,
		.flags	= flags,
	};
	int fd = ioctl(mover_open(), MOVER_CREATE, &create);

	CHECK(fd >= 0);
	return fd;
}

/* Full of zeros. */
static inline int mover_create(uint64_t bytes, unsigned int flags)
{
	return mover_create_from(NULL, bytes, flags);
}

static inline void mover_move(int fd)
{
	CHECK_EQ(mover_try(MOVER_MOVE, fd, 0), 0);
}

/* Move it all the time; 0 stops that, and returns when the last move is over. */
static inline void mover_storm(int fd, unsigned int per_second)
{
	CHECK_EQ(mover_try(MOVER_STORM, fd, per_second), 0);
}

/* Move it as reclaim would do it, when nobody else has it locked. */
static inline void mover_reclaim(int fd)
{
	while (mover_try(MOVER_RECLAIM, fd, 0)) {
		CHECK_EQ(errno, EAGAIN);
		sleep_ms(1);
	}
}

/* Is the shrinker to move it?  mover_drop_caches() then does. */
static inline void mover_shrink(int fd, bool on)
{
	CHECK_EQ(mover_try(MOVER_SHRINK, fd, on), 0);
}

static inline void mover_drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "2", 1), 1);
	close(fd);
}

/* Positive numbers of errors, or 0; map_delay_ms is slept with dma_resv held. */
static inline void mover_fail(int fd, unsigned int attach_errno,
			      unsigned int map_errno, unsigned int map_delay_ms)
{
	struct mover_fail fail = {
		.fd		= fd,
		.attach_errno	= attach_errno,
		.map_errno	= map_errno,
		.map_delay_ms	= map_delay_ms,
	};

	CHECK_EQ(ioctl(mover_open(), MOVER_FAIL, &fail), 0);
}

static inline struct mover_stat mover_stat(int fd)
{
	struct mover_stat stat = { .fd = fd };

	CHECK_EQ(ioctl(mover_open(), MOVER_STAT, &stat), 0);
	return stat;
}

#endif /* SELFTESTS_MOVER_H */
