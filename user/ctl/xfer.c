// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: the engine that moves bytes through a dma-buf.
 *
 * A transfer is cut into chunks.  A chunk goes EMPTY -> FILLING (read through a
 * channel) -> FULL -> DRAINING (written through a channel) -> EMPTY.  Channels
 * work on many chunks at a time, in any order; plain files are served in order,
 * by this thread, through a mapping of the buffer; if an end is the buffer
 * itself there is nothing to do for it.
 *
 * I/O is in whole blocks, and a file need not end with one: the last chunk is
 * read beyond the end of the file, and written with zeros behind it, which are
 * cut off afterwards.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "blkdmabufctl.h"

enum chunk_state { EMPTY, FILLING, FULL, DRAINING };

/**
 * struct chunk - a piece of the transfer and its place in the buffer
 * @state: see above
 * @at: offset in the transfer
 * @len: bytes
 * @moved: bytes that the channel has done so far
 * @buf: offset in the buffer
 */
struct chunk {
	enum chunk_state	state;
	uint64_t		at;
	uint32_t		len;
	uint32_t		moved;
	uint64_t		buf;
};

/**
 * struct engine - a transfer that is running
 * @x: the transfer
 * @error: what stopped it
 * @queue: I/O on channels
 * @chunks: x->depth of them
 * @next: offset of the first byte that no chunk was started for
 * @drained: offset up to which a plain file was written
 * @plain: an end is a plain file
 * @progress: of all of it
 */
struct engine {
	struct xfer		*x;
	struct xfer_error	*error;
	struct blkdmabuf_queue	*queue;
	struct chunk		*chunks;
	uint64_t		next;
	uint64_t		drained;
	bool			plain;
	struct progress		progress;
};

static void stop_at(struct engine *e, int err, const char *what,
		    const struct end *end, uint64_t at)
{
	/* The first error is the one to tell. */
	if (e->error->err || err == -EINTR)
		return;
	*e->error = (struct xfer_error) {
		.err = err, .what = what, .end = end, .pos = end->pos + at,
	};
}

/* The same for an I/O that the kernel ended. */
static void io_stop_at(struct engine *e, int err, const char *what,
		       const struct end *end, uint64_t at)
{
	bool first = !e->error->err;

	stop_at(e, err, what, end, at);
	if (first)
		e->error->io = true;
}

static bool stopping(const struct engine *e)
{
	return stop_signal || e->error->err;
}

/* Everything before the first chunk that is not through has arrived. */
static uint64_t arrived(const struct engine *e)
{
	uint64_t at = e->next;
	unsigned int i;

	for (i = 0; i < e->x->depth; i++)
		if (e->chunks[i].state != EMPTY && e->chunks[i].at < at)
			at = e->chunks[i].at;
	return at;
}

/* ---- Ends of files ---- */

/* Is the last block that @c has at this end no whole one? */
static bool is_part(const struct end *end, const struct chunk *c)
{
	return end->kind == END_CHANNEL && c->len % end->unit;
}

/* The source ended in @c, after @len bytes of it. */
static void source_ended(struct engine *e, struct chunk *c, uint32_t len)
{
	const struct end *dst = &e->x->dst;

	e->x->length = MIN(e->x->length, c->at + len);
	e->next = MIN(e->next, e->x->length);
	c->len = len;
	c->state = len ? FULL : EMPTY;
	if (is_part(dst, c) &&
	    (dst->pos + e->x->length < dst->part || !e->x->map))
		stop_at(e, -EINVAL, "write part of a block", dst, c->at);
}

/* Zeros behind the bytes of the last block: what was there is not to leak. */
static void fill_up(struct engine *e, const struct chunk *c, uint32_t unit)
{
	int err;

	err = blkdmabuf_cpu_access(e->x->dmabuf, true, true);
	if (!err) {
		memset(e->x->map + c->buf + c->len, 0, unit - c->len % unit);
		err = blkdmabuf_cpu_access(e->x->dmabuf, false, true);
	}
	if (err)
		stop_at(e, err, "fill the last block", &e->x->dst, c->at);
}

/* ---- Plain files ---- */

/* A pipe can keep us waiting, and a signal must be heard even then. */
static bool wait_for(const struct end *end, short events)
{
	struct pollfd pfd = { .fd = end->fd, .events = events };

	while (end->stream && !stop_signal)
		if (poll(&pfd, 1, 200) > 0)
			break;
	return !stop_signal;
}

static ssize_t file_io(const struct end *end, char *buf, size_t len,
		       uint64_t at, bool out)
{
	ssize_t ret;

	if (!wait_for(end, out ? POLLOUT : POLLIN))
		return -EINTR;
	if (out && end->stream)
		ret = write(end->fd, buf, len);
	else if (out)
		ret = pwrite(end->fd, buf, len, end->pos + at);
	else if (end->stream)
		ret = read(end->fd, buf, len);
	else
		ret = pread(end->fd, buf, len, end->pos + at);
	if (ret < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* Nothing at all from a file is its end. */
	return !ret && !out ? -ENODATA : ret;
}

/* Bytes done, fewer than wanted at the end of the file, or -errno. */
static ssize_t file_all(const struct end *end, char *buf, size_t len,
			uint64_t at, bool out)
{
	ssize_t ret;
	size_t n;

	for (n = 0; n < len; n += ret) {
		ret = file_io(end, buf + n, len - n, at + n, out);
		if (ret == -ENODATA)
			break;
		if (ret < 0)
			return ret;
	}
	return n;
}

static ssize_t chunk_file_io(struct engine *e, struct chunk *c,
			     const struct end *end, bool out)
{
	ssize_t ret;
	int err;

	err = blkdmabuf_cpu_access(e->x->dmabuf, true, !out);
	if (err)
		return err;
	ret = file_all(end, e->x->map + c->buf, c->len, c->at, out);
	err = blkdmabuf_cpu_access(e->x->dmabuf, false, !out);
	return err ?: ret;
}

/* Shorter than expected is an error unless nobody knew, or it may be so. */
static void fill_from_file(struct engine *e, struct chunk *c)
{
	struct xfer *x = e->x;
	ssize_t ret = chunk_file_io(e, c, &x->src, false);

	c->state = FULL;
	if (ret == c->len)
		return;
	if (ret >= 0 && (x->length == LENGTH_UNKNOWN || x->src.dev.file)) {
		source_ended(e, c, ret);
		return;
	}
	stop_at(e, ret < 0 ? ret : -ENODATA, "read", &x->src, c->at);
}

static void drain_to_file(struct engine *e, struct chunk *c)
{
	ssize_t ret = chunk_file_io(e, c, &e->x->dst, true);

	if (ret < 0) {
		stop_at(e, ret, "write", &e->x->dst, c->at);
		return;
	}
	e->drained = c->at + c->len;
	c->state = EMPTY;
}

/* ---- Channels ---- */

static void queue_io(struct engine *e, struct chunk *c)
{
	bool fill = c->state == FILLING;
	const struct end *end = fill ? &e->x->src : &e->x->dst;
	uint64_t pos = end->pos + c->at + c->moved;
	uint32_t len = round_up(c->len - c->moved, end->unit);
	uint64_t user = c - e->chunks;
	int ret;

	ret = (fill ? blkdmabuf_queue_read : blkdmabuf_queue_write)
	      (e->queue, end->chan, pos, len, end->slot, c->buf + c->moved, 0,
	       user);
	/* The queue is as deep as there are chunks. */
	if (ret)
		stop_at(e, ret, "queue I/O", end, c->at);
}

static void io_done(struct engine *e, const struct blkdmabuf_done *done)
{
	struct chunk *c = &e->chunks[done->user];
	bool fill = c->state == FILLING;
	const struct end *end = fill ? &e->x->src : &e->x->dst;
	bool file_ended = fill && end->dev.file && done->res >= 0 &&
			  (!done->res || done->res % end->unit);

	/* Behind the end of a file that was cut off under us is nothing. */
	if (fill && done->res >= 0 && c->at >= e->x->length) {
		c->state = EMPTY;
		return;
	}
	/* The range was checked: nothing at all means that the disk shrank. */
	if (done->res < 0 || (!done->res && !file_ended)) {
		io_stop_at(e, done->res ?: -ENODEV, fill ? "read" : "write",
			   end, c->at + c->moved);
		return;
	}
	e->x->ios += done->res > 0;
	e->x->copied += done->res > 0 && done->copied;
	c->moved += done->res;
	if (c->moved < c->len && file_ended) {
		source_ended(e, c, c->moved);
		return;
	}
	if (c->moved < c->len) {
		if (!stopping(e))
			queue_io(e, c);
		return;
	}
	c->moved = 0;
	c->state = fill ? FULL : EMPTY;
}

/* False if the ring is of no use any more. */
static bool reap(struct engine *e, unsigned int min)
{
	struct blkdmabuf_done done[32];
	int ret, i;

	ret = blkdmabuf_queue_reap(e->queue, done, ARRAY_SIZE(done), min);
	for (i = 0; i < ret; i++)
		io_done(e, &done[i]);
	if (ret >= 0 || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY)
		return true;
	stop_at(e, ret, "wait for I/O", e->x->src.kind == END_CHANNEL ?
		&e->x->src : &e->x->dst, 0);
	return false;
}

/* ---- Chunks ---- */

static void chunk_start(struct engine *e, struct chunk *c)
{
	struct xfer *x = e->x;
	uint64_t len = MIN(x->block_size, x->length - e->next);

	c->at = e->next;
	c->len = len;
	c->moved = 0;
	c->buf = x->buf_offset + (x->linear ? c->at :
				  (c - e->chunks) * x->block_size);
	e->next += len;
	x->begun = MAX(x->begun, e->next);
	if (x->src.kind == END_CHANNEL) {
		c->state = FILLING;
		queue_io(e, c);
	} else if (x->src.kind == END_PLAIN) {
		fill_from_file(e, c);
	} else {
		c->state = FULL;
	}
}

static void chunk_finish(struct engine *e, struct chunk *c)
{
	struct xfer *x = e->x;

	/* The source was cut off meanwhile, in a chunk before this one. */
	if (c->at >= x->length) {
		c->state = EMPTY;
	} else if (x->dst.kind == END_CHANNEL) {
		if (is_part(&x->dst, c))
			fill_up(e, c, x->dst.unit);
		c->moved = 0;
		c->state = DRAINING;
		if (!stopping(e))
			queue_io(e, c);
	} else if (x->dst.kind == END_BUFFER) {
		c->state = EMPTY;
	} else if (c->at == e->drained) {
		drain_to_file(e, c);
	}
}

/* Do what can be done without waiting for a channel. */
static bool step(struct engine *e)
{
	bool progress = false;
	enum chunk_state old;
	struct chunk *c;

	for (c = e->chunks; c < e->chunks + e->x->depth; c++) {
		if (stopping(e))
			return false;
		old = c->state;
		if (c->state == EMPTY && e->next < e->x->length)
			chunk_start(e, c);
		if (c->state == FULL && !stopping(e))
			chunk_finish(e, c);
		if (c->state != old)
			progress = true;
		/* Channels shall work while we are busy with a file. */
		if (e->plain)
			reap(e, 0);
	}
	return progress;
}

static void run(struct engine *e)
{
	bool progress;

	do {
		progress = step(e);
		if (!progress || !e->plain)
			reap(e, progress ? 0 : 1);
		show_progress(&e->progress, arrived(e), e->x->length, false);
	} while (!stopping(e) &&
		 (e->next < e->x->length || arrived(e) < e->next));
	/* What is in flight uses the buffer: see it home. */
	while (blkdmabuf_queue_inflight(e->queue) && reap(e, 1))
		;
}

void xfer_run(struct xfer *x, struct xfer_error *error)
{
	struct engine e = {
		.x = x, .error = error, .progress.start = now(),
		.plain = x->src.kind == END_PLAIN || x->dst.kind == END_PLAIN,
	};
	int ret = -ENOMEM;

	catch_signals();
	e.chunks = calloc(x->depth, sizeof(*e.chunks));
	if (e.chunks)
		ret = blkdmabuf_queue_open(&e.queue, x->depth);
	if (ret) {
		stop_at(&e, ret, "make a queue", &x->src, 0);
	} else {
		run(&e);
		x->done = arrived(&e);
		show_progress(&e.progress, x->done, x->length, true);
	}
	x->signal = stop_signal;
	blkdmabuf_queue_close(e.queue);
	free(e.chunks);
}
