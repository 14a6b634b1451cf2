// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl receive, send: what both need around a transfer.
 *
 * One buffer is bound to the NIC and registered on the disk, so that each does
 * DMA to it.  One ring and one thread wait for all: storage, socket, the NIC's
 * end, signals.
 *
 * Whatever ends a transfer, I/O of the storage that is in flight is waited for
 * before the socket and the binding are closed: with these the NIC gets the
 * buffer back, and would write to what the storage is reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

#define MAX_DEPTH	256
#define MIN_BLOCK	512
#define MAX_BLOCK	(16U << 20)	/* some of these are copied at a time */

/* A CQE for each packet of a while; what does not fit is not lost. */
#define CQ_ENTRIES	4096

/* ---- What stopped it ---- */

static const char *keep(const char *s)
{
	return s ? strdup(s) : NULL;
}

/* say() uses its memory again before this is told. */
void wire_stopped(struct wire *w, const struct failure *f)
{
	if (w->failed.what)
		return;
	w->failed = *f;
	w->failed.what = keep(f->what) ?: "go on";
	w->failed.object = keep(f->object);
	w->failed.advice = keep(f->advice);
}

bool wire_stopping(const struct wire *w)
{
	return stop_signal || w->failed.what;
}

/* ---- The ring ---- */

int wire_ring(struct wire *w)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE |
			 IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG,
		.cq_entries = CQ_ENTRIES,
	};
	int ret;

	ret = io_uring_queue_init_params(w->o->depth + 16, &w->ring, &p);
	if (ret)
		return fail(.what = "make a ring for", .object = w->dev.path,
			    .err = ret, .advice = ret == -EPERM ?
			    "sysctl kernel.io_uring_disabled=0" : NULL);
	w->has_ring = true;
	w->watch = netif_watch();
	if (w->watch < 0)
		return fail(.what = "watch network device",
			    .object = w->nic.name, .err = w->watch);
	return EXIT_OK;
}

struct io_uring_sqe *wire_sqe(struct wire *w, uint64_t user)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	if (!sqe) {
		io_uring_submit(&w->ring);
		sqe = io_uring_get_sqe(&w->ring);
	}
	if (sqe)
		sqe->user_data = user;
	else
		wire_stop(w, .what = "queue I/O for", .object = w->dev.path,
			  .err = -EBUSY);
	return sqe;
}

/* One at a time for each tag. */
void wire_poll(struct wire *w, enum tag tag, int fd, short events)
{
	struct io_uring_sqe *sqe;

	if (w->polls & (1U << tag))
		return;
	sqe = wire_sqe(w, 0);
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, fd, events);
	sqe->user_data = TAG(tag, 0);
	w->polls |= 1U << tag;
}

static void look_at_nic(struct wire *w)
{
	int err = netif_watched(w->watch, &w->nic);

	if (err)
		wire_stop(w, .what = "go on with network device",
			  .object = w->nic.name, .err = err, .advice =
			  err == -ENETDOWN ?
			  say("ip link set %s up", w->nic.name) :
			  "see who removed it: dmesg");
}

static void complete(struct wire *w, const struct io_uring_cqe *cqe)
{
	enum tag tag = TAG_OF(cqe->user_data);

	switch (tag) {
	case TAG_COMMAND:
	case TAG_ZCRX:
		w->complete(w, cqe);
		break;
	case TAG_LINK:
		look_at_nic(w);
		/* fallthrough */
	case TAG_SOCKET:
	case TAG_ERRORS:
		w->polls &= ~(1U << tag);
		break;
	}
}

/*
 * Submit, and wait for something unless @block is false.  Not for long: a signal
 * may have come between the look at it and this.
 */
void wire_wait(struct wire *w, bool block)
{
	struct __kernel_timespec ts = { .tv_nsec = 200 * 1000 * 1000 };
	struct io_uring_cqe *cqe;
	int ret;

	wire_poll(w, TAG_LINK, w->watch, POLLIN);
	if (block)
		ret = io_uring_submit_and_wait_timeout(&w->ring, &cqe, 1, &ts,
						       NULL);
	else
		ret = io_uring_submit_and_wait(&w->ring, 0);
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN &&
	    ret != -EBUSY) {
		wire_stop(w, .what = "wait for I/O on", .object = w->dev.path,
			  .err = ret);
		return;
	}
	while (!io_uring_peek_cqe(&w->ring, &cqe)) {
		complete(w, cqe);
		io_uring_cqe_seen(&w->ring, cqe);
	}
}

/* ---- Setting up ---- */

int wire_check_options(const struct options *o, const char *name)
{
	int buffers = given(o, OPT_UDMABUF) + given(o, OPT_HEAP_SIZE) +
		      given(o, OPT_FD) + given(o, OPT_ID);

	if (!given(o, OPT_NETDEV))
		return usage_error(say("'%s' wants", name), "--netdev");
	if (buffers > 1)
		return usage_error(say("'%s' wants at most one of", name),
				   "--udmabuf, --heap, --id, --fd");
	if (o->depth < 1 || o->depth > MAX_DEPTH)
		return usage_error("--depth wants 1 to", say("%u", MAX_DEPTH));
	if (o->block_size < MIN_BLOCK || o->block_size > MAX_BLOCK)
		return usage_error("--block-size wants 512 to", "16M");
	if (given(o, OPT_LENGTH) && !o->length)
		return usage_error("--length wants", "one block or more");
	return buffer_options_check(o);
}

/* Device or file and the channel for it; what it takes and how much there is. */
static int open_storage(struct wire *w, int flags)
{
	const struct options *o = w->o;
	unsigned int reason;
	bool writes = flags != O_RDONLY;
	int ret;

	ret = device_open(&w->dev, o->args[0], flags);
	if (ret)
		return ret;
	w->chan = device_channel(&w->dev, 0, &reason);
	if (w->chan < 0)
		return fail(.what = "open a channel for", .object = w->dev.path,
			    .err = w->chan, .reason = reason,
			    .advice = file_advice(&w->dev, reason));
	ret = blkdmabuf_limits(w->chan, &w->limits);
	if (ret)
		return fail(.what = "ask for the limits of",
			    .object = w->dev.path, .err = ret);
	w->unit = (writes ? w->limits.write_block_size :
			    w->limits.block_size) ?: MIN_BLOCK;
	w->size = w->limits.bytes;
	w->pos = o->offset;
	if (w->pos % w->unit)
		return unaligned("offset", w->pos, w->dev.path, w->unit, "");
	if (o->block_size % w->unit)
		return unaligned("block size", o->block_size, w->dev.path,
				 w->unit, "");
	return EXIT_OK;
}

/* Storage, NIC and what to move; not yet the buffer. */
int wire_open(struct wire *w, const struct options *o, const char *name,
	      int flags)
{
	*w = (struct wire) {
		.o = o, .name = name, .chan = -1, .dmabuf = -1, .binding = -1,
		.sock = -1, .watch = -1, .dev = { .fd = -1 },
		.sink = { .bounce = -1 },
		.length = given(o, OPT_LENGTH) ? o->length : LENGTH_UNKNOWN,
	};
	return need_kernel() ?:
	       open_storage(w, flags) ?:
	       netif_need(&w->nic, o->netdev);
}

/* 0, or -errno: mapping is left to the first I/O. */
static int register_on(struct wire *w, int dmabuf, uint32_t *slot,
		       unsigned int *reason)
{
	struct blk_dmabuf_attach res = {};
	int ret;

	*reason = BLK_DMABUF_OK;
	if (!w->ctl) {
		ret = blkdmabuf_ctl_open(&w->ctl, NULL);
		if (ret)
			return ret;
	}
	ret = blkdmabuf_register(w->ctl, w->dev.fd, dmabuf, &res);
	*reason = res.reason;
	if (ret && ret != -EEXIST)
		return ret;
	ret = blkdmabuf_bind(w->chan, dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	if (ret >= 0)
		*slot = ret;
	return ret < 0 ? ret : 0;
}

int wire_register(struct wire *w, int dmabuf, uint32_t *slot)
{
	unsigned int reason;

	return register_on(w, dmabuf, slot, &reason);
}

/* The buffer that options name, or @size bytes, where the storage can use it. */
int wire_buffer(struct wire *w, uint64_t size)
{
	const struct options *o = w->o;
	unsigned int reason;
	int ret;

	size = round_up(size, sysconf(_SC_PAGESIZE));
	if (given(o, OPT_FD) || given(o, OPT_ID))
		w->dmabuf = dmabuf_given(o);
	else if (given(o, OPT_HEAP_SIZE))
		w->dmabuf = dmabuf_heap_size(o);
	else
		w->dmabuf = dmabuf_udmabuf(o, given(o, OPT_UDMABUF) ?
					   o->udmabuf : size);
	if (w->dmabuf < 0)
		return EXIT_FAILED;
	blkdmabuf_size(w->dmabuf, &w->buf_size);
	if (w->buf_size < 2 * o->block_size)
		return fail(.what = say("use a buffer of %" PRIu64 " bytes for",
					w->buf_size),
			    .object = w->nic.name, .err = -EINVAL,
			    .advice = say("%" PRIu64 " or more, or less "
					  "--block-size", 2 * o->block_size));
	/* The control programs explain themselves best. */
	ret = open_control(&w->ctl, NULL);
	if (ret)
		return ret;
	ret = register_on(w, w->dmabuf, &w->slot, &reason);
	if (ret)
		return fail(.what = "register a dma-buf on",
			    .object = w->dev.path, .err = ret, .reason = reason,
			    .advice = file_advice(&w->dev, reason));
	return EXIT_OK;
}

/* Nothing is in flight, unless the ring itself failed. */
void wire_close(struct wire *w)
{
	if (w->has_ring)
		io_uring_queue_exit(&w->ring);
	sink_close(w);
	close_fd(w->sock);
	close_fd(w->binding);
	close_fd(w->watch);
	close_fd(w->chan);
	/* With it end the registrations. */
	blkdmabuf_ctl_close(w->ctl);
	close_fd(w->dmabuf);
	if (w->dev.created && !w->progress.start)
		unlink(w->dev.path);
	close_fd(w->dev.fd);
	if (w->address)
		freeaddrinfo(w->address);
	free((char *)w->failed.what);
	free((char *)w->failed.object);
	free((char *)w->failed.advice);
}

/* ---- Telling ---- */

static struct json_object *queues_json(const struct wire *w)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < w->nr_queues; i++)
		json_object_array_add(list,
				      json_object_new_int64(w->queues[i]));
	return list;
}

static struct json_object *copied_json(const struct sink *s)
{
	struct json_object *obj = json_object_new_object();

	add_u64(obj, "unaligned", s->copied.unaligned);
	add_u64(obj, "outside", s->copied.linear);
	add_u64(obj, "tail", s->copied.tail);
	return obj;
}

static uint64_t copied_bytes(const struct wire *w)
{
	const struct sink *s = &w->sink;

	return s->copied.unaligned + s->copied.linear + s->copied.tail +
	       w->tcp_copied;
}

struct json_object *wire_json(const struct wire *w)
{
	struct json_object *obj = json_object_new_object();
	const struct sink *s = &w->sink;

	add_str(obj, "command", w->name);
	add_str(obj, "object", w->dev.path);
	add_str(obj, "netdev", w->nic.name);
	add_str(obj, "peer", *w->peer ? w->peer : NULL);
	json_object_object_add(obj, "asked", w->length != LENGTH_UNKNOWN ?
			       json_object_new_uint64(w->length) : NULL);
	add_u64(obj, "bytes", w->done);
	add_double(obj, "seconds", w->seconds);
	add_u64(obj, "bytes_per_second", w->done / (w->seconds + 1e-9));
	add_u64(obj, "buffer", w->buf_size);
	add_u64(obj, "copied_bytes", copied_bytes(w));
	if (!w->engine)
		return obj;
	add_str(obj, "engine", w->engine->name);
	json_object_object_add(obj, "queues", queues_json(w));
	json_object_object_add(obj, "copied", copied_json(s));
	add_u64(obj, "pieces", s->received);
	add_u64(obj, "commands", s->direct + s->bounced);
	add_u64(obj, "vectored", s->vectored);
	add_u64(obj, "bounced", s->bounced);
	add_u64(obj, "tokens_held_max", s->held_max);
	return obj;
}

static void print_copied(const struct wire *w, FILE *f, uint64_t bytes,
			 const char *why)
{
	if (bytes)
		fprintf(f, "%s: the CPU copied %" PRIu64 " bytes (%s): %s\n",
			w->name, bytes, human_size(bytes), why);
}

void wire_print(const struct wire *w, FILE *f)
{
	const struct sink *s = &w->sink;

	fprintf(f, "%s: %" PRIu64 " bytes (%s) in %.3f s, %s/s\n", w->name,
		w->done, human_size(w->done), w->seconds,
		human_size(w->done / (w->seconds + 1e-9)));
	print_copied(w, f, w->tcp_copied, "the NIC could not take them from "
		     "the buffer");
	if (!w->engine)
		return;
	fprintf(f, "%s: %" PRIu64 " pieces, at most %" PRIu64 " held; %" PRIu64
		" commands without a copy, %" PRIu64 " of them vectored, %"
		PRIu64 " with one\n", w->name, s->received, s->held_max,
		s->direct, s->vectored, s->bounced);
	print_copied(w, f, s->copied.unaligned, "pieces are no whole blocks");
	print_copied(w, f, s->copied.linear, "they came outside of the buffer");
	print_copied(w, f, s->copied.tail, "the stream ends within a block");
}

static int stopped_by_signal(struct wire *w)
{
	fail(.what = say("%s stopped by SIG%s after %" PRIu64 " bytes of",
			 w->name, sigabbrev_np(stop_signal), w->done),
	     .object = w->dev.path, .err = -EINTR, .partial = wire_json(w));
	return 128 + stop_signal;
}

int wire_result(struct wire *w)
{
	if (w->failed.what) {
		w->failed.partial = wire_json(w);
		report_failure(&w->failed);
		if (!want_json)
			wire_print(w, stderr);
		return EXIT_FAILED;
	}
	if (stop_signal)
		return stopped_by_signal(w);
	if (want_json)
		print_json(wire_json(w));
	else
		wire_print(w, stdout);
	return EXIT_OK;
}
