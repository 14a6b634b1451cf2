// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl send: a device or file to a TCP connection, with devmem TCP.
 *
 * The buffer is cut into chunks.  A chunk goes EMPTY -> READING (from the storage)
 * -> FULL -> SENDING -> EMPTY.  Reads end in any order, chunks are sent in that
 * of the stream.  sendmsg() with MSG_ZEROCOPY takes offsets in the buffer for
 * addresses; the NIC, and TCP for what it has to send again, need a chunk until
 * the socket's error queue says that it has been acknowledged.  Only then is it
 * read into again.
 *
 * Acknowledged is not written.  At the end this side says that no more comes,
 * and waits for the other one to close: 'receive' does so when all is on the
 * storage, and resets the connection when it failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/posix_types.h>	/* for the next one */
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

#ifndef SCM_DEVMEM_DMABUF
#define SCM_DEVMEM_DMABUF	79
#endif

/* sendmsg() calls that are not acknowledged; a chunk can take several. */
#define MAX_SENDS		4096

enum chunk_state { EMPTY, READING, FULL, SENDING };

/**
 * struct chunk - a part of the stream and its place in the buffer
 * @state: see above
 * @at: offset in the stream
 * @len: bytes
 * @moved: bytes that are read
 * @sent: bytes that sendmsg() has taken
 * @sends: sendmsg() calls that are not acknowledged
 */
struct chunk {
	enum chunk_state	state;
	uint64_t		at;
	uint32_t		len;
	uint32_t		moved;
	uint32_t		sent;
	uint32_t		sends;
};

/**
 * struct sender - what a sender has
 * @chunks: a ring of them
 * @nr: how many
 * @head: number of the first that is not acknowledged
 * @next: number of the first that is not all sent
 * @tail: number of the first that is not begun
 * @at: bytes that reads were begun for
 * @sends: chunk of each sendmsg() call, by the number that the kernel gives it
 * @bytes: bytes of each
 * @send_head: first that is not acknowledged
 * @send_tail: number of the next one
 */
struct sender {
	struct chunk	*chunks;
	unsigned int	nr;
	uint64_t	head;
	uint64_t	next;
	uint64_t	tail;
	uint64_t	at;
	uint64_t	sends[MAX_SENDS];
	uint32_t	bytes[MAX_SENDS];
	uint32_t	send_head;
	uint32_t	send_tail;
};

static struct chunk *chunk_at(const struct sender *s, uint64_t number)
{
	return &s->chunks[number % s->nr];
}

static uint64_t place_of(const struct wire *w, const struct chunk *c)
{
	return (c - w->sender->chunks) * w->o->block_size;
}

/* ---- Reading ---- */

static void queue_read(struct wire *w, struct chunk *c)
{
	uint64_t user = TAG(TAG_COMMAND, c - w->sender->chunks);
	struct io_uring_sqe *sqe = wire_sqe(w, user);
	uint32_t len = round_up(c->len - c->moved, w->unit);

	if (!sqe)
		return;
	blkdmabuf_prep_read(sqe, w->chan, w->pos + c->at + c->moved, len,
			    w->slot, place_of(w, c) + c->moved, 0);
	sqe->user_data = user;
	w->inflight++;
}

static void start_reads(struct wire *w)
{
	struct sender *s = w->sender;
	struct chunk *c;

	while (s->tail - s->head < s->nr && s->at < w->length) {
		c = chunk_at(s, s->tail++);
		*c = (struct chunk) { .state = READING, .at = s->at };
		c->len = MIN(w->length - s->at, w->o->block_size);
		s->at += c->len;
		queue_read(w, c);
	}
}

static void send_complete(struct wire *w, const struct io_uring_cqe *cqe)
{
	struct chunk *c = &w->sender->chunks[NUMBER_OF(cqe->user_data)];

	w->inflight--;
	if (cqe->res <= 0) {
		wire_stop(w, .what = say("read at %" PRIu64 " of",
					 w->pos + c->at + c->moved),
			  .object = w->dev.path, .err = cqe->res ?: -ENODATA,
			  .reason = refused_since(&w->before),
			  .advice = cqe->res ? NULL :
			  "see who made it shorter meanwhile");
		return;
	}
	c->moved += cqe->res;
	if (c->moved >= c->len)
		c->state = FULL;
	else if (!wire_stopping(w))
		queue_read(w, c);
}

/* ---- Sending ---- */

static void send_failed(struct wire *w, int err)
{
	const char *advice = "see why the receiver ended";

	if (err == -ENODEV)
		advice = say("ip route get the receiver's address: it has to "
			     "leave through %s", w->nic.name);
	else if (err == -EINVAL || err == -EFAULT)
		advice = say("ethtool -K %s sg on", w->nic.name);
	wire_stop(w, .what = say("send to %s through", w->peer),
		  .object = w->nic.name, .err = err, .advice = advice);
}

static ssize_t send_part(struct wire *w, const struct chunk *c)
{
	char control[CMSG_SPACE(sizeof(uint32_t))] = {};
	/* What is an address otherwise is an offset in the buffer. */
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)(place_of(w, c) + c->sent),
		.iov_len = c->len - c->sent,
	};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	bool more = w->sender->next + 1 < w->sender->tail &&
		    chunk_at(w->sender, w->sender->next + 1)->state == FULL;
	ssize_t ret;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_DEVMEM_DMABUF;
	cmsg->cmsg_len = CMSG_LEN(sizeof(uint32_t));
	memcpy(CMSG_DATA(cmsg), &w->binding_id, sizeof(uint32_t));
	ret = sendmsg(w->sock, &msg, MSG_ZEROCOPY | MSG_DONTWAIT |
		      MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	return ret < 0 ? -errno : ret;
}

/* False if the socket takes no more now. */
static bool send_chunk(struct wire *w, struct chunk *c)
{
	struct sender *s = w->sender;
	ssize_t ret = send_part(w, c);

	/* With ENOBUFS it is acknowledgements that there is no room for. */
	if (ret == -EAGAIN || ret == -EINTR || ret == -ENOBUFS) {
		wire_poll(w, TAG_SOCKET, w->sock, ret == -ENOBUFS ? 0 :
						  POLLOUT);
		return false;
	}
	if (ret < 0) {
		send_failed(w, ret);
		return false;
	}
	s->sends[s->send_tail % MAX_SENDS] = s->next;
	s->bytes[s->send_tail++ % MAX_SENDS] = ret;
	c->sends++;
	c->sent += ret;
	return true;
}

static void send_chunks(struct wire *w)
{
	struct sender *s = w->sender;
	struct chunk *c;

	while (s->next < s->tail && !wire_stopping(w)) {
		c = chunk_at(s, s->next);
		if (c->state != FULL && c->state != SENDING)
			return;
		c->state = SENDING;
		if (s->send_tail - s->send_head == MAX_SENDS ||
		    !send_chunk(w, c))
			return;
		if (c->sent == c->len)
			s->next++;
	}
}

/* ---- Acknowledgements ---- */

static void acknowledged(struct wire *w, uint32_t first, uint32_t last,
			 bool copied)
{
	struct sender *s = w->sender;
	uint32_t i;

	for (i = first; i != last + 1; i++) {
		if (i - s->send_head >= MAX_SENDS)
			continue;
		chunk_at(s, s->sends[i % MAX_SENDS])->sends--;
		if (copied)
			w->tcp_copied += s->bytes[i % MAX_SENDS];
	}
	/* They come in the order of the calls, as TCP is. */
	if (last - s->send_head < MAX_SENDS)
		s->send_head = last + 1;
}

static void take_error(struct wire *w, struct msghdr *msg)
{
	struct sock_extended_err err;
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (!(cmsg->cmsg_level == SOL_IP &&
		      cmsg->cmsg_type == IP_RECVERR) &&
		    !(cmsg->cmsg_level == SOL_IPV6 &&
		      cmsg->cmsg_type == IPV6_RECVERR))
			continue;
		memcpy(&err, CMSG_DATA(cmsg), sizeof(err));
		if (err.ee_origin == SO_EE_ORIGIN_ZEROCOPY && !err.ee_errno)
			acknowledged(w, err.ee_info, err.ee_data,
				     err.ee_code & SO_EE_CODE_ZEROCOPY_COPIED);
	}
}

static void take_acknowledgements(struct wire *w)
{
	struct sender *s = w->sender;
	char control[256];
	socklen_t len = sizeof(int);
	int err = 0;

	for (;;) {
		struct msghdr msg = {
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};

		if (recvmsg(w->sock, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		take_error(w, &msg);
	}
	if (!getsockopt(w->sock, SOL_SOCKET, SO_ERROR, &err, &len) && err)
		send_failed(w, -err);
	while (s->head < s->next && !chunk_at(s, s->head)->sends) {
		w->done += chunk_at(s, s->head)->len;
		chunk_at(s, s->head++)->state = EMPTY;
	}
}

/* ---- The connection ---- */

static int connect_failed(const struct wire *w, int err)
{
	return fail(.what = say("connect through %s to", w->nic.name),
		    .object = w->o->connect, .err = err,
		    .advice = err == -ECONNREFUSED ?
		    "start the receiver first" : "see that the receiver's "
		    "address is reached that way: ip route get");
}

static int connect_to_receiver(struct wire *w)
{
	socklen_t len = sizeof(int);
	int err = 0;

	w->sock = socket_open(w->address, &w->nic);
	if (w->sock < 0)
		return EXIT_FAILED;
	if (connect(w->sock, w->address->ai_addr, w->address->ai_addrlen))
		err = errno;
	while (err == EINPROGRESS && !wire_stopping(w)) {
		wire_poll(w, TAG_SOCKET, w->sock, POLLOUT);
		wire_wait(w, true);
		if (!(w->polls & (1U << TAG_SOCKET)) &&
		    getsockopt(w->sock, SOL_SOCKET, SO_ERROR, &err, &len))
			err = errno;
	}
	if (err && err != EINPROGRESS)
		return connect_failed(w, -err);
	snprintf(w->peer, sizeof(w->peer), "%s", address_text(w->sock, true));
	socket_reset_at_end(w->sock, true);
	return EXIT_OK;
}

/* The receiver closes when it has written all, and resets if it has not. */
static void wait_for_receiver(struct wire *w)
{
	char byte;
	ssize_t ret;

	shutdown(w->sock, SHUT_WR);
	for (;;) {
		ret = recv(w->sock, &byte, 1, MSG_DONTWAIT);
		if (ret > 0)
			continue;
		if (!ret || errno != EAGAIN || wire_stopping(w))
			break;
		wire_poll(w, TAG_SOCKET, w->sock, POLLIN);
		wire_wait(w, true);
	}
	if (ret < 0 && errno != EAGAIN)
		wire_stop(w, .what = "learn that all was written from",
			  .object = w->peer, .err = -errno,
			  .advice = "see why the receiver ended");
	else if (!ret)
		socket_reset_at_end(w->sock, false);
}

/* ---- A transfer ---- */

static void run(struct wire *w)
{
	while (!wire_stopping(w) && w->done < w->length) {
		start_reads(w);
		send_chunks(w);
		/* An error queue that is not empty is an error to poll(). */
		wire_poll(w, TAG_ERRORS, w->sock, 0);
		wire_wait(w, true);
		take_acknowledgements(w);
		show_progress(&w->progress, w->done, w->length, false);
	}
	while (w->inflight)
		wire_wait(w, true);
	if (!wire_stopping(w))
		wait_for_receiver(w);
	show_progress(&w->progress, w->done, w->length, true);
}

static int send_all(struct wire *w)
{
	int ret;

	refusals_now(&w->before);
	catch_signals();
	ret = connect_to_receiver(w);
	if (ret)
		return ret;
	w->progress.start = now();
	run(w);
	w->seconds = now() - w->progress.start;
	return wire_result(w);
}

static int make_chunks(struct wire *w)
{
	struct sender *s = calloc(1, sizeof(*s));

	w->sender = s;
	if (s) {
		s->nr = MIN(w->buf_size / w->o->block_size, w->o->depth);
		s->chunks = calloc(s->nr, sizeof(*s->chunks));
	}
	if (s && s->chunks)
		return EXIT_OK;
	return fail(.what = "prepare for sending", .object = w->dev.path,
		    .err = -ENOMEM);
}

static int bind_to_nic(struct wire *w)
{
	w->binding = netif_bind_tx(&w->nic, w->dmabuf, &w->binding_id);
	return w->binding < 0 ? EXIT_FAILED : EXIT_OK;
}

static int settle_length(struct wire *w)
{
	uint64_t room = w->size > w->pos ? w->size - w->pos : 0;

	if (w->length == LENGTH_UNKNOWN)
		w->length = room;
	if (room && w->length <= room)
		return EXIT_OK;
	return fail(.what = say("send %" PRIu64 " bytes at %" PRIu64 " of",
				w->length, w->pos),
		    .object = w->dev.path, .err = -ERANGE,
		    .advice = say("offset and length within its %" PRIu64
				  " bytes", w->size));
}

int cmd_send(const struct options *o)
{
	struct addrinfo *address = NULL;
	struct wire w;
	int ret;

	if (!given(o, OPT_CONNECT))
		return usage_error("'send' wants", "--connect");
	ret = wire_check_options(o, "send") ?:
	      address_parse(o->connect, false, &address);
	if (ret)
		return ret;
	ret = wire_open(&w, o, "send", O_RDONLY);
	w.address = address;
	w.complete = send_complete;
	ret = ret ?:
	      settle_length(&w) ?:
	      wire_buffer(&w, MAX(o->depth, 2) * o->block_size) ?:
	      make_chunks(&w) ?:
	      wire_ring(&w) ?:
	      bind_to_nic(&w) ?:
	      send_all(&w);
	if (w.sender)
		free(w.sender->chunks);
	free(w.sender);
	wire_close(&w);
	return ret;
}
