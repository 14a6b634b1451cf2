// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl receive: a TCP stream to a device or file, and the part of it that
 * is devmem TCP's.
 *
 * recvmsg() copies no payload: it tells where in the buffer each piece is, with a
 * token that keeps the NIC from using the memory again.  The token goes back
 * with SO_DEVMEM_DONTNEED once the storage has the piece.
 *
 * Memory that tokens hold is none that the NIC can receive into, and what the
 * socket has not handed out yet holds some, too.  Both are bounded, the one by
 * sink_room(), the other by the socket's receive buffer, so that the NIC's
 * queue never runs dry: it would drop packets, and TCP would wait for its timer.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire.h"

/* As in the kernel's headers, which not all distributions have yet. */
#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM		0x2000000
#endif
#ifndef SO_DEVMEM_LINEAR
#define SO_DEVMEM_LINEAR	78
#define SO_DEVMEM_DMABUF	79
#define SO_DEVMEM_DONTNEED	80
#endif

/* struct dmabuf_cmsg of the kernel */
struct frag {
	uint64_t	offset;
	uint32_t	size;
	uint32_t	token;
	uint32_t	dmabuf;
	uint32_t	flags;
};

/* struct dmabuf_token of the kernel */
struct tokens {
	uint32_t	start;
	uint32_t	count;
};

#define BUFFER_SIZE	(32U << 20)	/* unless options name another */
#define MESSAGE		(256 * 1024)	/* bytes of a recvmsg() */
#define MAX_FRAGS	1024		/* of a recvmsg() and of DONTNEED */
#define MAX_TOKENS	128		/* ranges of them in a DONTNEED */

/* More than the headers of an application that came before the payload. */
#define MAX_UNSTEERED	(16 * 1024)

/**
 * struct returns - tokens that are on their way back
 * @tokens: ranges
 * @nr: how many
 * @frags: tokens in them
 */
static struct returns {
	struct tokens	tokens[MAX_TOKENS];
	unsigned int	nr;
	unsigned int	frags;
} returns;

/* ---- devmem TCP ---- */

static int devmem_bind(struct wire *w)
{
	w->binding = netif_bind_rx(&w->nic, w->dmabuf, w->queues, w->nr_queues,
				   &w->binding_id);
	return w->binding < 0 ? EXIT_FAILED : EXIT_OK;
}

static void devmem_give_back(struct wire *w)
{
	socklen_t len = returns.nr * sizeof(returns.tokens[0]);

	if (len && setsockopt(w->sock, SOL_SOCKET, SO_DEVMEM_DONTNEED,
			      returns.tokens, len) < 0)
		wire_stop(w, .what = "give memory back to",
			  .object = w->nic.name, .err = -errno);
	returns.nr = returns.frags = 0;
}

static void devmem_release(struct wire *w, const struct piece *p)
{
	struct tokens *last = returns.nr ? &returns.tokens[returns.nr - 1] :
					   NULL;

	if (last && last->start + last->count == p->token)
		last->count++;
	else
		returns.tokens[returns.nr++] =
			(struct tokens) { .start = p->token, .count = 1 };
	returns.frags++;
	if (returns.nr == MAX_TOKENS || returns.frags == MAX_FRAGS)
		devmem_give_back(w);
}

void wire_not_steered(struct wire *w)
{
	wire_stop(w, .what = say("receive into the buffer: the stream from %s "
				 "does not come through queue %u of", w->peer,
				 w->queues[0]),
		  .object = w->nic.name, .err = -EPROTO,
		  .advice = say("ethtool -N %s flow-type tcp4 dst-port PORT "
				"action %u, and keep other flows away: "
				"ethtool -X %s equal %u", w->nic.name,
				w->queues[0], w->nic.name, w->queues[0]));
}

/* What came in no buffer: from another queue, or it was not split off. */
static void take_linear(struct wire *w, const char *bytes, uint32_t len)
{
	bool much = w->o->no_copy || w->received + len > MAX_UNSTEERED;

	if (!len)
		return;
	if (!w->sink.held_max && much)
		wire_not_steered(w);
	else
		sink_add_linear(w, bytes, len);
}

/* Takes a message apart, which is what the control messages say it is. */
static void take_message(struct wire *w, struct msghdr *msg, uint32_t len)
{
	const char *linear = msg->msg_iov->iov_base;
	struct cmsghdr *cmsg;
	struct frag frag;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg && !w->failed.what;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_len < CMSG_LEN(sizeof(frag)))
			continue;
		memcpy(&frag, CMSG_DATA(cmsg), sizeof(frag));
		if (cmsg->cmsg_type == SO_DEVMEM_LINEAR) {
			take_linear(w, linear, frag.size);
			linear += frag.size;
		} else if (cmsg->cmsg_type != SO_DEVMEM_DMABUF) {
			continue;
		} else if (frag.dmabuf != w->binding_id) {
			wire_not_steered(w);
		} else {
			sink_add(w, frag.offset, frag.size, frag.token);
		}
		len -= frag.size;
	}
	/* Without control messages all of it is here. */
	take_linear(w, linear, len);
}

void wire_receive_failed(struct wire *w, int err)
{
	const char *advice = NULL;

	if (err == -ECONNRESET || err == -ETIMEDOUT)
		advice = "see why the sender ended";
	else if (err == -ENODEV)
		advice = "see that the NIC splits headers off all packets of "
			 "the stream";
	wire_stop(w, .what = "receive from", .object = w->peer, .err = err,
		  .advice = advice);
}

/* How much may still come. */
uint64_t wire_left(const struct wire *w)
{
	uint64_t limit = w->length;

	if (limit == LENGTH_UNKNOWN && !w->dev.file)
		limit = w->size - w->pos;
	return limit - w->received;
}

/* A device is full: has the stream ended there?  1: yes, 0: wait. */
static int ends_here(struct wire *w)
{
	char byte;
	ssize_t ret = recv(w->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (!ret)
		return 1;
	if (ret < 0 && errno == EAGAIN)
		return 0;
	/* What is in the buffer cannot be peeked at, but it is there. */
	if (ret < 0 && errno != EFAULT) {
		wire_receive_failed(w, -errno);
		return 0;
	}
	wire_stop(w, .what = say("write at %" PRIu64 " of", w->size),
		  .object = w->dev.path, .err = -ENOSPC, .advice =
		  say("less input: the device has %" PRIu64 " bytes", w->size));
	return 0;
}

/* True if nothing more is to be received. */
bool wire_full(struct wire *w)
{
	if (wire_left(w))
		return false;
	if (w->length != LENGTH_UNKNOWN || ends_here(w) > 0)
		w->ended = true;
	else if (!w->failed.what)
		wire_poll(w, TAG_SOCKET, w->sock, POLLIN);
	return true;
}

static bool devmem_receive(struct wire *w)
{
	static char control[MAX_FRAGS * CMSG_SPACE(sizeof(struct frag))]
		__attribute__((aligned(8)));
	static char bytes[MESSAGE];
	struct iovec iov = { .iov_base = bytes, .iov_len = MESSAGE };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control };
	uint64_t frags = sink_room(w);
	ssize_t len;

	if (w->ended || !frags || wire_full(w))
		return false;
	/* The kernel stops where there is no room for one more. */
	msg.msg_controllen = MIN(frags, MAX_FRAGS) *
			     CMSG_SPACE(sizeof(struct frag));
	iov.iov_len = MIN(iov.iov_len, wire_left(w));
	len = recvmsg(w->sock, &msg, MSG_SOCK_DEVMEM | MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
		wire_poll(w, TAG_SOCKET, w->sock, POLLIN);
		return false;
	}
	if (len < 0)
		wire_receive_failed(w, -errno);
	else if (!len)
		w->ended = true;
	else
		take_message(w, &msg, len);
	return !wire_stopping(w) && !w->ended;
}

const struct engine engine_devmem = {
	.name		= "devmem",
	.bind		= devmem_bind,
	.receive	= devmem_receive,
	.release	= devmem_release,
	.give_back	= devmem_give_back,
};

/* ---- The connection ---- */

/* Waits for the sender; the listening socket is of no use after that. */
static int wait_for_sender(struct wire *w)
{
	int listener, sock;

	/* What is not handed out yet may hold a quarter of the buffer. */
	listener = socket_listen(w->address, &w->nic, w->buf_size / 4);
	if (listener < 0)
		return EXIT_FAILED;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "waiting at %s\r",
			address_text(listener, false));
	do {
		wire_poll(w, TAG_SOCKET, listener, POLLIN);
		wire_wait(w, true);
		sock = accept4(listener, NULL, NULL,
			       SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (sock < 0 && errno == EAGAIN && !wire_stopping(w));
	if (sock < 0 && !wire_stopping(w))
		wire_stop(w, .what = "accept a connection on",
			  .object = w->nic.name, .err = -errno);
	close(listener);
	w->sock = sock;
	if (sock < 0)
		return EXIT_OK;
	snprintf(w->peer, sizeof(w->peer), "%s", address_text(sock, true));
	socket_reset_at_end(sock, true);
	return EXIT_OK;
}

/* ---- A transfer ---- */

static void receive_complete(struct wire *w, const struct io_uring_cqe *cqe)
{
	if (TAG_OF(cqe->user_data) == TAG_COMMAND)
		sink_complete(w, cqe);
	else if (w->engine->complete)
		w->engine->complete(w, cqe);
}

static bool finished(const struct wire *w)
{
	return w->ended && w->done == w->received;
}

static void run(struct wire *w)
{
	bool more;

	while (!wire_stopping(w) && !finished(w)) {
		more = w->engine->receive(w);
		sink_flush(w);
		wire_wait(w, !more);
		if (w->engine->give_back)
			w->engine->give_back(w);
		w->done = sink_arrived(w);
		show_progress(&w->progress, w->done, w->length, false);
	}
	/* What is in flight uses the buffer: see it home. */
	while (w->inflight && w->has_ring)
		wire_wait(w, true);
	w->done = sink_arrived(w);
	show_progress(&w->progress, w->done, w->length, true);
	if (!wire_stopping(w) && w->length != LENGTH_UNKNOWN &&
	    w->done < w->length)
		wire_stop(w, .what = say("receive all from %s: %" PRIu64
					 " bytes are missing of", w->peer,
					 w->length - w->done),
			  .object = w->dev.path, .err = -ENODATA,
			  .advice = "less --length, or see why the sender "
			  "ended");
}

/* A file ends where the stream did, or where it did before. */
static void cut_off(struct wire *w)
{
	uint64_t end = w->pos + w->done;
	/* What is behind what we wrote is somebody else's. */
	uint64_t last = w->pos + w->sink.at + w->unit;
	struct stat st;

	if (!w->dev.file)
		return;
	if (end < w->size)
		end = w->size;
	if (fstat(w->dev.fd, &st) ||
	    ((uint64_t)st.st_size > end && (uint64_t)st.st_size <= last &&
	     ftruncate(w->dev.fd, end)))
		wire_stop(w, .what = "cut off the end of",
			  .object = w->dev.path, .err = -errno);
}

static int receive(struct wire *w)
{
	refusals_now(&w->before);
	catch_signals();
	if (sink_open(w))
		return fail(.what = "prepare for what is sent to",
			    .object = w->nic.name, .err = -ENOMEM);
	if (wait_for_sender(w))
		return EXIT_FAILED;
	/* Without a sender nothing has begun. */
	if (w->sock >= 0)
		w->progress.start = now();
	if (!wire_stopping(w))
		run(w);
	cut_off(w);
	if (fdatasync(w->dev.fd))
		wire_stop(w, .what = "flush", .object = w->dev.path,
			  .err = -errno);
	if (w->progress.start)
		w->seconds = now() - w->progress.start;
	/* That the connection closes tells the sender that all is written. */
	if (!wire_stopping(w))
		socket_reset_at_end(w->sock, false);
	return wire_result(w);
}

static const struct engine *const engines[] = {
	&engine_devmem, &engine_zcrx,
};

static const struct engine *find_engine(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(engines); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static int check_options(const struct options *o)
{
	if (!given(o, OPT_LISTEN))
		return usage_error("'receive' wants", "--listen");
	if (!find_engine(o->engine))
		return usage_error("--engine wants devmem or zcrx, not",
				   o->engine);
	if (o->queues < 1 || o->queues > MAX_QUEUES)
		return usage_error("--queues wants 1 to",
				   say("%u", MAX_QUEUES));
	if (o->queues > 1 && !strcmp(o->engine, "zcrx"))
		return usage_error("--engine zcrx wants", "one queue");
	return wire_check_options(o, "receive");
}

static int check_range(const struct wire *w)
{
	if (!w->dev.file && (w->pos >= w->size ||
			     (w->length != LENGTH_UNKNOWN &&
			      w->length > w->size - w->pos)))
		return fail(.what = say("receive at %" PRIu64 " of", w->pos),
			    .object = w->dev.path, .err = -ERANGE,
			    .advice = say("offset and length within its %"
					  PRIu64 " bytes", w->size));
	if (w->length != LENGTH_UNKNOWN && w->length % w->unit &&
	    (!w->dev.file || w->pos + w->length < w->size))
		return unaligned("length", w->length, w->dev.path, w->unit,
				 w->dev.file ?
				 ": what follows in the file would be lost" :
				 "");
	return EXIT_OK;
}

int cmd_receive(const struct options *o)
{
	int flags = O_WRONLY | (o->force ? 0 : O_EXCL) |
		    (o->create ? O_CREAT : 0);
	struct addrinfo *address = NULL;
	struct wire w;
	int ret;

	ret = check_options(o) ?: address_parse(o->listen, true, &address);
	if (ret)
		return ret;
	ret = wire_open(&w, o, "receive", flags);
	w.address = address;
	w.engine = find_engine(o->engine);
	w.complete = receive_complete;
	ret = ret ?:
	      check_range(&w) ?:
	      netif_pick_queues(&w.nic, o, w.queues, &w.nr_queues) ?:
	      wire_buffer(&w, BUFFER_SIZE) ?:
	      wire_ring(&w) ?:
	      w.engine->bind(&w) ?:
	      receive(&w);
	if (w.engine->free)
		w.engine->free(&w);
	wire_close(&w);
	return ret;
}
