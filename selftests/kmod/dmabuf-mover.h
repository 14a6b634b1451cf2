/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/dmabuf-mover, as dmabuf-mover.c implements it and selftests/mover.h
 * uses it.
 */
#ifndef SELFTESTS_DMABUF_MOVER_H
#define SELFTESTS_DMABUF_MOVER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* What a byte becomes that a buffer has left. */
#define MOVER_POISON		0x6b

/* mover_create.flags */
#define MOVER_NO_VMAP		0x01	/* the exporter has no vmap */
#define MOVER_READ_ONLY		0x02	/* may be read, also by devices */
#define MOVER_CONTIGUOUS	0x04	/* one piece, up to 4 MiB */
#define MOVER_REVERSE		0x08	/* other way round after odd moves */
#define MOVER_SHUFFLE		0x10	/* at random after odd moves */
#define MOVER_IOMEM		0x20	/* the vmap is one of I/O memory */
#define MOVER_FLAGS		0x3f

/**
 * struct mover_create - a new buffer; the ioctl returns its file descriptor
 * @bytes: a multiple of the page size
 * @data: where to copy its content from, or 0 for a buffer of zeros
 * @flags: MOVER_*.  Without any, each page lies before its predecessor in memory,
 *	so that no two are one piece
 * @pad: 0
 */
struct mover_create {
	__u64	bytes;
	__u64	data;
	__u32	flags;
	__u32	pad;
};

/**
 * struct mover_op - do something to a buffer
 * @fd: the buffer
 * @arg: STORM: moves per second, 0 stops it; SHRINK: 1 or 0; else 0
 */
struct mover_op {
	__s32	fd;
	__u32	arg;
};

/**
 * struct mover_fail - fail or delay what importers do, from now on
 * @fd: the buffer
 * @attach_errno: what attaching fails with, or 0
 * @map_errno: the same for mapping
 * @map_delay_ms: how long mapping takes, with the buffer's dma_resv locked
 */
struct mover_fail {
	__s32	fd;
	__u32	attach_errno;
	__u32	map_errno;
	__u32	map_delay_ms;
};

/**
 * struct mover_stat - what happened to a buffer since it was created
 * @fd: the buffer
 * @attachments: there are now
 * @mapped: mappings there are now
 * @stale: those of them that the last move has made invalid
 * @moves: how often it moved
 * @refused: how often it did not: -EBUSY (pinned, or vmapped), -ENOMEM
 * @max_ns: the longest that importers took to let go of it, fences included
 * @total_ns: all that they took
 * @maps: by importers, failed ones not counted
 * @unmaps: by importers
 * @pins: by importers
 * @vmaps: by importers; the core counts what is nested
 * @cpu_access: calls of begin_cpu_access
 * @ranges: contiguous pieces of memory that it is in now
 * @late_writes: pages that somebody wrote to after the buffer had left them;
 *	there is a warning in the kernel log, too
 */
struct mover_stat {
	__s32	fd;
	__u32	attachments;
	__u32	mapped;
	__u32	stale;
	__u64	moves;
	__u64	refused;
	__u64	max_ns;
	__u64	total_ns;
	__u64	maps;
	__u64	unmaps;
	__u64	pins;
	__u64	vmaps;
	__u64	cpu_access;
	__u64	ranges;
	__u64	late_writes;
};

#define MOVER_CREATE	_IOW('M', 0xe0, struct mover_create)
/* -EBUSY: pinned or vmapped; -ENOMEM. */
#define MOVER_MOVE	_IOW('M', 0xe1, struct mover_op)
/* Move it all the time, from a kernel thread. */
#define MOVER_STORM	_IOW('M', 0xe2, struct mover_op)
/* Move once, as reclaim would do it; -EAGAIN if dma_resv was locked just then. */
#define MOVER_RECLAIM	_IOW('M', 0xe3, struct mover_op)
/* Move whenever slabs are shrunk: memory is short, or drop_caches is written. */
#define MOVER_SHRINK	_IOW('M', 0xe4, struct mover_op)
#define MOVER_FAIL	_IOW('M', 0xe5, struct mover_fail)
#define MOVER_STAT	_IOWR('M', 0xe6, struct mover_stat)

#endif /* SELFTESTS_DMABUF_MOVER_H */
