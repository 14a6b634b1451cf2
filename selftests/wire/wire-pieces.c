// SPDX-License-Identifier: GPL-2.0-only
/*
 * From pieces of a stream to whole blocks: what 'blkdmabufctl receive' decides,
 * with a storage and a NIC that are made up here.  selftests/host/pieces.bats
 * runs it.
 *
 *   wire-pieces PATTERN UNIT [odd] [no-copy] [vecN] [dislike]
 *
 * PATTERN is how the NIC fills its buffer, UNIT the block size.  With odd the stream
 * does not end with a block; with vecN the storage takes pieces in multiples of N
 * bytes, and refuses some commands of them with dislike.  The made-up storage completes
 * commands in random order and keeps what was written; the made-up NIC overwrites
 * each piece at the moment it gets it back.  So a piece that is released too
 * early, twice or never, a wrong place or a wrong length shows in the bytes.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../user/ctl/pieces.c"

#define BUFFER	(4U << 20)
#define STREAM	(16U << 20)
#define PAGE	4096
#define DEPTH	8

static unsigned char *buffer, *stream, *disk;
static struct io_uring_sqe sqes[DEPTH], *last;
static bool pending[DEPTH], page_used[BUFFER / PAGE];
static bool dislike;
static struct wire w;

/* ---- What the rest of the program does otherwise ---- */

volatile sig_atomic_t stop_signal;

const char *say(const char *fmt, ...) { return fmt; }
unsigned int refused_since(const struct blk_dmabuf_features *b)
{
	return b ? 0 : 1;
}

void wire_stopped(struct wire *x, const struct failure *f)
{
	if (!x->failed.what)
		x->failed = *f;
}

bool wire_stopping(const struct wire *x) { return x->failed.what; }

int wire_register(struct wire *x, int dmabuf, uint32_t *slot)
{
	assert(x == &w && dmabuf >= 0);
	*slot = 1;
	return 0;
}

struct io_uring_sqe *wire_sqe(struct wire *x, uint64_t user)
{
	assert(x == &w && NUMBER_OF(user) < DEPTH);
	assert(!pending[NUMBER_OF(user)]);
	pending[NUMBER_OF(user)] = true;
	return last = &sqes[NUMBER_OF(user)];
}

int blkdmabuf_cpu_access(int fd, int begin, int write)
{
	(void)begin;
	(void)write;
	return fd < 0;
}

int blkdmabuf_udmabuf(uint64_t size, unsigned int flags)
{
	int fd = memfd_create("area", flags);

	assert(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

void blkdmabuf_prep_write(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			  uint32_t len, uint32_t slot, uint64_t offset,
			  uint32_t hint)
{
	(void)chan;
	(void)hint;
	sqe->opcode = 1;
	sqe->addr = pos;
	sqe->len = len;
	sqe->buf_index = slot;
	sqe->off = offset;
	assert(len && !(len % w.unit) && !(pos % w.unit));
	assert(slot || !(offset % w.limits.dma_alignment));
}

void blkdmabuf_prep_writev(struct io_uring_sqe *sqe, int chan, uint64_t pos,
			   const struct blk_dmabuf_vec *vecs, unsigned int nr,
			   uint32_t hint)
{
	(void)chan;
	(void)hint;
	sqe->opcode = 2;
	sqe->addr = pos;
	sqe->addr3 = (uintptr_t)vecs;
	sqe->len = nr;
	assert(nr && nr <= BLK_DMABUF_MAX_VECS && !(pos % w.unit));
}

/* ---- The storage ---- */

static int do_write(const struct io_uring_sqe *sqe)
{
	const unsigned char *from = buffer;

	if (sqe->buf_index == 1)
		from = (unsigned char *)w.sink.bounce_map;
	memcpy(disk + sqe->addr, from + sqe->off, sqe->len);
	return sqe->len;
}

static int do_writev(const struct io_uring_sqe *sqe)
{
	const struct blk_dmabuf_vec *vec = (void *)(uintptr_t)sqe->addr3;
	uint64_t pos = sqe->addr;
	unsigned int i;

	if (dislike && !(random() % 50))
		return -EOPNOTSUPP;
	for (i = 0; i < sqe->len; i++) {
		assert(!((vec[i].offset | vec[i].len) % w.limits.vec_align));
		memcpy(disk + pos, buffer + vec[i].offset, vec[i].len);
		pos += vec[i].len;
	}
	assert(!((pos - sqe->addr) % w.unit));
	return pos - sqe->addr;
}

/* One of those in flight, whichever. */
static void complete_one(void)
{
	struct io_uring_cqe cqe = {};
	unsigned int i = random() % DEPTH;

	while (!pending[i])
		i = (i + 1) % DEPTH;
	pending[i] = false;
	cqe.user_data = sqes[i].user_data;
	cqe.res = sqes[i].opcode == 1 ? do_write(&sqes[i]) :
					do_writev(&sqes[i]);
	sink_complete(&w, &cqe);
}

/* ---- The NIC ---- */

static void release(struct wire *x, const struct piece *p)
{
	assert(x == &w && page_used[p->token]);
	page_used[p->token] = false;
	memset(buffer + p->token * PAGE, 0xdb, PAGE);
}

static const struct engine nic = { .name = "made-up", .release = release };

static bool find_page(uint32_t *page, bool scattered)
{
	static uint32_t next;
	uint32_t i, at;

	at = scattered ? random() % (BUFFER / PAGE) : next;
	for (i = 0; i < BUFFER / PAGE; i++, at++)
		if (!page_used[at % (BUFFER / PAGE)])
			break;
	*page = at % (BUFFER / PAGE);
	next = *page + 1;
	return i < BUFFER / PAGE;
}

/* Offset in its page and length of the next packet. */
static uint32_t packet(const char *pattern, uint32_t *skip)
{
	*skip = 0;
	if (!strcmp(pattern, "page"))
		return PAGE;
	if (!strcmp(pattern, "adjacent"))
		return PAGE;
	if (!strcmp(pattern, "mtu1500"))
		return 1448;
	if (!strcmp(pattern, "dword")) {
		*skip = 4 * (random() % 256);
		return 4 + 4 * (random() % 600);
	}
	if (!strcmp(pattern, "any")) {
		*skip = random() % 1000;
		return 1 + random() % 3000;
	}
	/* Whole pages but for a few that are cut anywhere. */
	assert(!strcmp(pattern, "cut"));
	return random() % 20 ? PAGE : 1 + random() % PAGE;
}

static void receive(const char *pattern, uint64_t length)
{
	uint32_t page, skip, len = packet(pattern, &skip);
	uint64_t at = w.received;

	if (len > length - at)
		len = length - at;
	if (strcmp(pattern, "page") && !(random() % 200)) {
		sink_add_linear(&w, (char *)stream + at, len);
		return;
	}
	assert(find_page(&page, strcmp(pattern, "adjacent")));
	page_used[page] = true;
	memcpy(buffer + page * PAGE + skip, stream + at, len);
	sink_add(&w, page * PAGE + skip, len, page);
}

/* ---- */

static void run(const char *pattern, uint64_t length)
{
	unsigned int burst;

	while (!w.failed.what && sink_arrived(&w) < length) {
		for (burst = random() % 200; burst && w.received < length &&
		     sink_room(&w); burst--)
			receive(pattern, length);
		w.ended = w.received == length;
		sink_flush(&w);
		for (burst = random() % DEPTH; burst && w.inflight; burst--)
			complete_one();
	}
}

static int report(uint64_t length)
{
	const struct sink *s = &w.sink;
	uint64_t copied = s->copied.unaligned + s->copied.linear +
			  s->copied.tail;
	uint32_t i, used = 0;

	if (w.failed.what) {
		printf("stopped: %s\n", w.failed.what);
		return 1;
	}
	for (i = 0; i < BUFFER / PAGE; i++)
		used += page_used[i];
	assert(!w.inflight && !used && !s->held && s->head == s->tail);
	assert(!memcmp(disk, stream, length));
	for (i = 0; (length + i) % w.unit; i++)
		assert(!disk[length + i]);
	printf("pieces=%lu direct=%lu vectored=%lu bounced=%lu copied=%lu "
	       "unaligned=%lu outside=%lu tail=%lu\n", s->received, s->direct,
	       s->vectored, s->bounced, copied, s->copied.unaligned,
	       s->copied.linear, s->copied.tail);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .depth = DEPTH, .block_size = 256 * 1024 };
	uint64_t length = STREAM, i;
	int ret;

	assert(argc > 2);
	srandom(1);
	w = (struct wire) {
		.o = &o, .engine = &nic, .unit = atoi(argv[2]),
		.limits.dma_alignment = 4, .buf_size = BUFFER,
		.dmabuf = memfd_create("buffer", 0), .dev.file = true,
	};
	for (i = 3; i < (uint64_t)argc; i++) {
		if (!strcmp(argv[i], "odd"))
			length -= 12345;
		o.no_copy |= !strcmp(argv[i], "no-copy");
		if (!strncmp(argv[i], "vec", 3))
			w.limits.vec_align = atoi(argv[i] + 3);
		dislike |= !strcmp(argv[i], "dislike");
	}
	assert(w.dmabuf >= 0 && !ftruncate(w.dmabuf, BUFFER));
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED,
		      w.dmabuf, 0);
	stream = malloc(STREAM);
	disk = malloc(STREAM + PAGE);
	assert(buffer != MAP_FAILED && stream && disk);
	for (i = 0; i < STREAM; i++)
		stream[i] = random();
	memset(disk, 0x55, STREAM + PAGE);
	assert(!sink_open(&w));
	run(argv[1], length);
	ret = report(length);
	sink_close(&w);
	return ret;
}
