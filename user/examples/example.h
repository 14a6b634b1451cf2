/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the examples share: an error ends the program; buffers; one I/O. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* O_DIRECT */
#endif
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <libblkdmabuf.h>

#define KIB	1024UL
#define MIB	(1024 * KIB)

/* The library returns -errno. */
static inline int check(int ret, const char *what)
{
	if (ret < 0)
		errx(EXIT_FAILURE, "%s: %s", what, strerror(-ret));
	return ret;
}

static inline int open_direct(const char *path, int flags)
{
	int file = open(path, flags | O_DIRECT | O_CLOEXEC, 0644);

	if (file < 0)
		err(EXIT_FAILURE, "%s", path);
	return file;
}

/* Any exporter will do, a GPU's or this; @mem is where the CPU sees it. */
static inline int make_buffer(size_t size, unsigned char **mem)
{
	int dmabuf = check(blkdmabuf_udmabuf(size, 0), "udmabuf");

	*mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	if (*mem == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	return dmabuf;
}

/*
 * Attach the buffer to the disk of @file, and open a channel to @file that may use
 * it.  The first needs privilege, and a daemon could do it for others.
 */
static inline int open_channel(struct blkdmabuf_ctl *ctl, int file, int dmabuf,
			       uint32_t *slot)
{
	struct blk_dmabuf_attach reg;
	int chan, ret;

	ret = blkdmabuf_register(ctl, file, dmabuf, &reg);
	if (ret && ret != -EEXIST)
		errx(EXIT_FAILURE, "register: %s: %s; try: %s", strerror(-ret),
		     blkdmabuf_reason_text(reg.reason),
		     blkdmabuf_reason_advice(reg.reason));
	chan = check(blkdmabuf_channel(file), "channel");
	*slot = check(blkdmabuf_bind(chan, dmabuf, BLK_DMABUF_SLOT_ANY, NULL),
		      "bind");
	return chan;
}

/* No hint for a policy; @user comes back with the completion. */
static inline void start_read(struct blkdmabuf_queue *queue, int chan,
			      uint64_t pos, uint32_t len, uint32_t slot,
			      uint64_t offset, uint64_t user)
{
	check(blkdmabuf_queue_read(queue, chan, pos, len, slot, offset, 0,
				   user), "queue a read");
}

static inline void start_write(struct blkdmabuf_queue *queue, int chan,
			       uint64_t pos, uint32_t len, uint32_t slot,
			       uint64_t offset, uint64_t user)
{
	check(blkdmabuf_queue_write(queue, chan, pos, len, slot, offset, 0,
				    user), "queue a write");
}

/* Wait for one I/O, which has to succeed. */
static inline void reap_any(struct blkdmabuf_queue *queue,
			    struct blkdmabuf_done *done)
{
	int ret;

	do {
		ret = blkdmabuf_queue_reap(queue, done, 1, 1);
	} while (ret == -EINTR);
	check(ret, "reap");
	check(done->res, "I/O");
}

/* The same; it has to have moved @want bytes. */
static inline void reap_one(struct blkdmabuf_queue *queue,
			    struct blkdmabuf_done *done, int want)
{
	reap_any(queue, done);
	if (done->res != want)
		errx(EXIT_FAILURE, "only %d of %d bytes", done->res, want);
}

#endif
