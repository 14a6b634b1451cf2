// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl receive: from pieces of the stream to whole blocks.
 *
 * A NIC puts each packet where it likes: a piece has any offset in the buffer and
 * any length.  Storage is written in whole blocks.  plan() looks at the pieces
 * at the front of the stream and chooses one of three commands, see enum
 * command_kind.  Only BOUNCED touches the data with the CPU, so it is counted and
 * told, and refused with --no-copy.
 *
 * A piece belongs to the socket's buffer until the last command that needs it
 * has completed.  Only then is it released: the NIC overwrites what it gets back.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire.h"

/* Copying all of a piece that is larger costs more than one more command. */
#define WORTH_A_COMMAND	(16 * 1024)

/* More than this in flight would only make the area larger. */
#define MAX_BOUNCES	4

#define MAX_VECS	256	/* what one NVMe request takes */
#define MAX_REFUSED	16	/* a round of commands at the default depth */

static struct piece *piece_at(const struct sink *s, uint64_t number)
{
	return &s->pieces[number & s->mask];
}

/* ---- What comes in ---- */

static bool grow(struct sink *s)
{
	uint64_t size = 2 * (s->mask + 1), i;
	struct piece *pieces = calloc(size, sizeof(*pieces));

	if (!pieces)
		return false;
	for (i = s->head; i < s->tail; i++)
		pieces[i & (size - 1)] = *piece_at(s, i);
	free(s->pieces);
	s->pieces = pieces;
	s->mask = size - 1;
	return true;
}

static void add(struct wire *w, const struct piece *p)
{
	struct sink *s = &w->sink;

	if (s->tail - s->head > s->mask && !grow(s)) {
		wire_stop(w, .what = "keep account of what came from",
			  .object = w->peer, .err = -ENOMEM);
		return;
	}
	*piece_at(s, s->tail++) = *p;
	s->queued += p->len;
	s->received++;
	w->received += p->len;
	if (p->linear)
		return;
	s->held++;
	s->held_max = MAX(s->held_max, s->held);
}

void sink_add(struct wire *w, uint64_t offset, uint32_t len, uint32_t token)
{
	struct piece p = {
		.offset = offset, .len = len, .token = token, .users = 1,
	};

	if (len > w->buf_size || offset > w->buf_size - len)
		wire_stop(w, .what = "find a piece of the stream in the "
			  "buffer of", .object = w->nic.name, .err = -EPROTO);
	else
		add(w, &p);
}

void sink_add_linear(struct wire *w, const char *bytes, uint32_t len)
{
	struct piece p = { .len = len, .users = 1, .linear = malloc(len) };

	if (!p.linear) {
		wire_stop(w, .what = "keep what came from", .object = w->peer,
			  .err = -ENOMEM);
		return;
	}
	memcpy(p.linear, bytes, len);
	add(w, &p);
}

/*
 * How many more pieces may be held.  A piece may hold a page of the buffer, however
 * short it is.  Half of the pages are left for the NIC's queue and for what the
 * socket has not handed out yet.
 */
uint64_t sink_room(const struct wire *w)
{
	uint64_t pages = w->buf_size / sysconf(_SC_PAGESIZE) / 2;

	return pages > w->sink.held ? pages - w->sink.held : 0;
}

/* ---- Which command ---- */

/**
 * struct plan - the next command
 * @kind: FREE: nothing can be done yet
 * @len: bytes of the stream, whole blocks unless they are the last ones
 */
struct plan {
	enum command_kind	kind;
	uint32_t		len;
};

static uint32_t whole_blocks(const struct wire *w, uint64_t len)
{
	return MIN(len, w->o->block_size) / w->unit * w->unit;
}

/*
 * What can be written as one range of the buffer: piece @i without its first
 * @skip bytes, and those that follow it in the buffer, too.
 */
static uint32_t plain_len(const struct wire *w, uint64_t i, uint32_t skip)
{
	const struct piece *p = piece_at(&w->sink, i), *last = p;
	uint64_t run = p->len - skip;
	uint32_t len;

	if (p->linear || (p->offset + skip) % w->limits.dma_alignment)
		return 0;
	while (++i < w->sink.tail && run < w->o->block_size) {
		p = piece_at(&w->sink, i);
		if (p->linear || p->offset != last->offset + last->len)
			break;
		run += p->len;
		last = p;
	}
	len = whole_blocks(w, run);
	return len == run || len == w->o->block_size ||
	       len >= WORTH_A_COMMAND || (w->ended && i == w->sink.tail) ?
	       len : 0;
}

static bool vec_aligned(const struct wire *w, uint64_t val)
{
	return w->sink.vec_align && !(val % w->sink.vec_align);
}

/*
 * What can be written as pieces, from the front on.  The last one may have any
 * length: only what of it makes a whole block is used.
 */
static uint32_t vectored_len(const struct wire *w)
{
	const struct sink *s = &w->sink;
	const struct piece *p;
	uint64_t len = 0, i;

	for (i = s->next; i < s->tail && i < s->next + MAX_VECS; i++) {
		p = piece_at(s, i);
		if (p->linear || !vec_aligned(w, p->offset + p->taken))
			break;
		len += p->len - p->taken;
		if (!vec_aligned(w, len))
			break;
	}
	return whole_blocks(w, len);
}

/* Could a command without a copy begin there? */
static bool may_begin(const struct wire *w, uint64_t i, uint32_t skip)
{
	const struct piece *p = piece_at(&w->sink, i);

	return (!p->linear && vec_aligned(w, p->offset + skip) &&
		vec_aligned(w, p->len - skip)) || plain_len(w, i, skip);
}

/*
 * What is to be copied: to the first end of a block where a command without a
 * copy could begin, or all there is.
 */
static uint32_t bounced_len(const struct wire *w)
{
	const struct sink *s = &w->sink;
	uint64_t len = 0, i;

	for (i = s->next; i < s->tail && len < w->o->block_size; i++) {
		const struct piece *p = piece_at(s, i);
		uint32_t to_block = (w->unit - len % w->unit) % w->unit;
		uint32_t left = p->len - p->taken;

		if (len && to_block < left &&
		    may_begin(w, i, p->taken + to_block))
			return whole_blocks(w, len + to_block);
		len += left;
	}
	/* What a stream ends with need not be a whole block. */
	return w->ended && s->queued < w->unit ? s->queued :
						 whole_blocks(w, len);
}

static struct plan plan(const struct wire *w)
{
	const struct sink *s = &w->sink;
	uint32_t plain, vectored, bounced;

	if (!s->queued)
		return (struct plan) { FREE };
	plain = plain_len(w, s->next, piece_at(s, s->next)->taken);
	vectored = vectored_len(w);
	if (plain && plain >= vectored)
		return (struct plan) { PLAIN, plain };
	if (vectored)
		return (struct plan) { VECTORED, vectored };
	bounced = bounced_len(w);
	return (struct plan) { bounced ? BOUNCED : FREE, bounced };
}

/* ---- The bounce area ---- */

static uint64_t bounce_size(const struct wire *w)
{
	return round_up(MAX_BOUNCES * w->o->block_size, sysconf(_SC_PAGESIZE));
}

static int bounce_open(struct wire *w)
{
	uint64_t size = bounce_size(w);
	struct sink *s = &w->sink;

	s->map = mmap(NULL, w->buf_size, PROT_READ, MAP_SHARED, w->dmabuf, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return -errno;
	}
	s->bounce = blkdmabuf_udmabuf(size, 0);
	if (s->bounce < 0)
		return s->bounce;
	s->bounce_map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			     s->bounce, 0);
	if (s->bounce_map == MAP_FAILED) {
		s->bounce_map = NULL;
		return -errno;
	}
	return wire_register(w, s->bounce, &s->bounce_slot);
}

/* A part of the area that no command uses, as an offset; -1: there is none. */
static int64_t bounce_find(const struct wire *w)
{
	uint64_t used = 0, i;

	for (i = 0; i < w->o->depth; i++)
		if (w->sink.commands[i].kind == BOUNCED)
			used |= 1ULL << (w->sink.commands[i].offset /
					 w->o->block_size);
	for (i = 0; i < MAX_BOUNCES; i++)
		if (!(used & (1ULL << i)))
			return i * w->o->block_size;
	return -1;
}

static void count_copied(struct wire *w, const struct command *c,
			 const struct piece *p, uint32_t len)
{
	struct sink *s = &w->sink;

	if (c->fill)
		s->copied.tail += len;
	else if (p->linear)
		s->copied.linear += len;
	else
		s->copied.unaligned += len;
}

static void copy_pieces(struct wire *w, const struct command *c)
{
	struct sink *s = &w->sink;
	char *to = s->bounce_map + c->offset;
	uint32_t left = c->len, skip = c->skip, len;
	uint64_t i;

	for (i = c->first; left; i++, skip = 0) {
		const struct piece *p = piece_at(s, i);

		len = MIN(p->len - skip, left);
		memcpy(to, (p->linear ?: s->map + p->offset) + skip, len);
		count_copied(w, c, p, len);
		to += len;
		left -= len;
	}
	/* What was there is not to leak. */
	memset(to, 0, c->fill);
}

/* The CPU may look at the one and write to the other only in between. */
static int copy_synced(struct wire *w, const struct command *c)
{
	struct sink *s = &w->sink;
	int ret, end;

	ret = blkdmabuf_cpu_access(w->dmabuf, true, false);
	if (ret)
		return ret;
	ret = blkdmabuf_cpu_access(s->bounce, true, true);
	if (!ret) {
		copy_pieces(w, c);
		ret = blkdmabuf_cpu_access(s->bounce, false, true);
	}
	end = blkdmabuf_cpu_access(w->dmabuf, false, false);
	return ret ?: end;
}

static const char *why_copy(const struct wire *w)
{
	const struct piece *p = piece_at(&w->sink, w->sink.next);

	if (p->linear)
		return "came outside of the buffer";
	return w->ended ? "end within a block, or begin in one" :
			  "begin or end within a block";
}

static bool may_copy(struct wire *w)
{
	if (!w->o->no_copy)
		return true;
	wire_stop(w, .what = say("write without a copy what is at %" PRIu64
				 " of", w->pos + w->sink.at),
		  .object = say("%s: pieces of the stream %s", w->dev.path,
				why_copy(w)),
		  .err = -EINVAL,
		  .advice = say("no --no-copy, or a sender whose packets carry "
				"multiples of %u bytes: for IPv4 an MTU of 52 "
				"more than that",
				w->sink.vec_align ?: w->unit));
	return false;
}

/* ---- Commands ---- */

static struct command *command_find(const struct wire *w)
{
	unsigned int i;

	for (i = 0; i < w->o->depth; i++)
		if (w->sink.commands[i].kind == FREE)
			return &w->sink.commands[i];
	return NULL;
}

/* Takes @c->len bytes from the front of the stream. */
static void take(struct wire *w, struct command *c)
{
	struct sink *s = &w->sink;
	uint32_t left = c->len, len;
	struct piece *p;

	c->first = s->next;
	c->skip = piece_at(s, s->next)->taken;
	c->at = s->at;
	while (left) {
		p = piece_at(s, s->next);
		len = MIN(p->len - p->taken, left);
		c->last = s->next;
		p->taken += len;
		left -= len;
		/* The command's use of it takes the place of the stream's. */
		if (p->taken == p->len)
			s->next++;
		else
			p->users++;
	}
	s->at += c->len;
	s->queued -= c->len;
}

static void let_go(struct wire *w, const struct command *c)
{
	struct sink *s = &w->sink;
	struct piece *p;
	uint64_t i;

	for (i = c->first; i <= c->last; i++) {
		p = piece_at(s, i);
		if (--p->users)
			continue;
		if (!p->linear) {
			w->engine->release(w, p);
			s->held--;
		}
		free(p->linear);
		p->linear = NULL;
	}
	while (s->head < s->next && !piece_at(s, s->head)->users)
		s->head++;
}

/* Neighbours in the buffer are one piece. */
static unsigned int fill_vecs(const struct wire *w, struct command *c)
{
	struct blk_dmabuf_vec *vec = c->vecs;
	uint32_t left = c->len, skip = c->skip, len;
	uint64_t i;

	for (i = c->first; left; i++, skip = 0) {
		const struct piece *p = piece_at(&w->sink, i);

		len = MIN(p->len - skip, left);
		left -= len;
		if (vec > c->vecs &&
		    vec[-1].offset + vec[-1].len == p->offset + skip)
			vec[-1].len += len;
		else
			*vec++ = (struct blk_dmabuf_vec) {
				.offset = p->offset + skip, .len = len,
				.slot = w->slot,
			};
	}
	return vec - c->vecs;
}

static void prep_vectored(struct wire *w, struct command *c,
			  struct io_uring_sqe *sqe)
{
	blkdmabuf_prep_writev(sqe, w->chan, w->pos + c->at, c->vecs,
			      fill_vecs(w, c), 0);
}

static void submit(struct wire *w, struct command *c)
{
	uint64_t user = TAG(TAG_COMMAND, c - w->sink.commands);
	struct io_uring_sqe *sqe = wire_sqe(w, user);

	if (!sqe)
		return;
	if (c->kind == VECTORED)
		prep_vectored(w, c, sqe);
	else
		blkdmabuf_prep_write(sqe, w->chan, w->pos + c->at + c->moved,
				     c->len + c->fill - c->moved, c->slot,
				     c->offset + c->moved, 0);
	sqe->user_data = user;
	w->inflight++;
}

/* The pieces of @c go to the bounce area at @at, and from there to the storage. */
static void bounce(struct wire *w, struct command *c, uint64_t at)
{
	struct sink *s = &w->sink;
	int ret = s->bounce_map ? 0 : bounce_open(w);

	c->kind = BOUNCED;
	c->offset = at;
	c->moved = 0;
	c->fill = (w->unit - c->len % w->unit) % w->unit;
	if (!ret)
		ret = copy_synced(w, c);
	if (ret) {
		wire_stop(w, .what = "copy pieces of the stream for",
			  .object = w->dev.path, .err = ret,
			  .advice = "a udmabuf, which the CPU can look at");
		return;
	}
	c->slot = s->bounce_slot;
	s->bounced++;
	submit(w, c);
}

static void start_direct(struct wire *w, struct command *c)
{
	const struct piece *first = piece_at(&w->sink, c->first);

	c->slot = w->slot;
	c->offset = first->offset + c->skip;
	w->sink.direct++;
	w->sink.vectored += c->kind == VECTORED;
	submit(w, c);
}

/* A last block in part is for a file that ends there: it is cut off behind it. */
static bool may_end_in_part(struct wire *w, uint32_t len)
{
	if (!(len % w->unit) ||
	    (w->dev.file && w->pos + w->sink.at + len >= w->size))
		return true;
	wire_stop(w, .what = say("write the last %u bytes, part of a block, "
				 "to", len % w->unit),
		  .object = w->dev.path, .err = -EINVAL,
		  .reason = BLK_DMABUF_UNALIGNED,
		  .advice = w->dev.file ?
		  "another file: what follows in this one would be lost" :
		  say("a sender that ends with a multiple of %u, or a file",
		      w->unit));
	return false;
}

/* Where the decision of plan() is carried out; false: no more for now. */
static bool flush_pieces(struct wire *w, struct command *c)
{
	struct plan next = plan(w);
	int64_t at = 0;

	if (next.kind == FREE)
		return false;
	if (next.kind == BOUNCED) {
		if (!may_end_in_part(w, next.len) || !may_copy(w))
			return false;
		at = bounce_find(w);
		if (at < 0)
			return false;
	}
	c->kind = next.kind;
	c->len = next.len;
	c->fill = 0;
	c->moved = 0;
	take(w, c);
	if (c->kind == BOUNCED)
		bounce(w, c, at);
	else
		start_direct(w, c);
	return true;
}

static void bounce_again(struct wire *w)
{
	int64_t at;
	unsigned int i;

	for (i = 0; i < w->o->depth; i++) {
		if (w->sink.commands[i].kind != TO_BOUNCE)
			continue;
		at = bounce_find(w);
		if (at < 0)
			return;
		bounce(w, &w->sink.commands[i], at);
	}
}

void sink_flush(struct wire *w)
{
	struct command *c;

	if (w->sink.vec_refused && !wire_stopping(w))
		bounce_again(w);
	while (!wire_stopping(w) && (c = command_find(w)) &&
	       flush_pieces(w, c))
		;
}

/* ---- What comes back ---- */

/*
 * A device may refuse pieces that its limits permit, such as those that end in
 * the middle of a page where it knows PRPs only.  One that does so all the time
 * is not asked again.
 */
static bool again_as_copy(struct wire *w, struct command *c, int res)
{
	struct sink *s = &w->sink;

	if (c->kind != VECTORED || res != -EOPNOTSUPP || w->o->no_copy)
		return false;
	s->vectored--;
	s->direct--;
	if (++s->vec_refused == MAX_REFUSED)
		s->vec_align = 0;
	/* It needs a place in the bounce area, and there may be none now. */
	c->kind = TO_BOUNCE;
	return true;
}

void sink_complete(struct wire *w, const struct io_uring_cqe *cqe)
{
	struct command *c = &w->sink.commands[NUMBER_OF(cqe->user_data)];

	w->inflight--;
	if (again_as_copy(w, c, cqe->res))
		return;
	/* The range was checked: nothing at all means that the disk shrank. */
	if (cqe->res <= 0) {
		wire_stop(w, .what = say("write at %" PRIu64 " of",
					 w->pos + c->at + c->moved),
			  .object = w->dev.path, .err = cqe->res ?: -ENOSPC,
			  .reason = refused_since(&w->before));
		return;
	}
	c->moved += cqe->res;
	if (c->moved < c->len + c->fill) {
		if (c->kind == VECTORED)
			wire_stop(w, .what = say("write all at %" PRIu64 " of",
						 w->pos + c->at),
				  .object = w->dev.path, .err = -EIO);
		else
			submit(w, c);
		return;
	}
	let_go(w, c);
	c->kind = FREE;
}

/* Everything before the first command that is not through has arrived. */
uint64_t sink_arrived(const struct wire *w)
{
	uint64_t at = w->sink.at;
	unsigned int i;

	for (i = 0; w->sink.commands && i < w->o->depth; i++)
		if (w->sink.commands[i].kind != FREE &&
		    w->sink.commands[i].at < at)
			at = w->sink.commands[i].at;
	return at;
}

/* ---- Beginning and end ---- */

int sink_open(struct wire *w)
{
	struct sink *s = &w->sink;
	unsigned int i;

	s->bounce = -1;
	s->mask = 4095;
	s->pieces = calloc(s->mask + 1, sizeof(*s->pieces));
	s->commands = calloc(w->o->depth, sizeof(*s->commands));
	if (!s->pieces || !s->commands)
		return -ENOMEM;
	s->vec_align = w->limits.vec_align;
	for (i = 0; s->vec_align && i < w->o->depth; i++) {
		s->commands[i].vecs = calloc(MAX_VECS,
					     sizeof(*s->commands[i].vecs));
		if (!s->commands[i].vecs)
			return -ENOMEM;
	}
	return 0;
}

/* Nothing is in flight any more. */
void sink_close(struct wire *w)
{
	struct sink *s = &w->sink;
	uint64_t i;

	for (i = s->head; i < s->tail; i++)
		free(piece_at(s, i)->linear);
	for (i = 0; s->commands && i < w->o->depth; i++)
		free(s->commands[i].vecs);
	free(s->commands);
	free(s->pieces);
	if (s->map)
		munmap(s->map, w->buf_size);
	if (s->bounce_map)
		munmap(s->bounce_map, bounce_size(w));
	close_fd(s->bounce);
}
