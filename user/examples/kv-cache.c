// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Pages of a key-value cache: 64 KiB each, in a pool of buffer memory, out to the
 * disk and in again.  Where a page comes in the policy "pool" says, which hands out
 * what is free; who is done with a page gives its place back.
 *
 *   blkdmabufctl policy load pool
 *   blkdmabufctl policy attach pool DEVICE
 *   kv-cache DEVICE
 *
 *   cc kv-cache.c $(pkg-config --cflags --libs libblkdmabuf) -luring -lbpf
 *
 * Overwrites 16 MiB of it.  Each page is compared when it is in.  Wants libbpf 1.1.
 */
#include "example.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define PAGE	(64 * KIB)
#define PAGES	256		/* on the disk */
#define POOL	16		/* in memory */
#define RETURNS	BLKDMABUF_PIN_DIR "/policy/pool/returns"

/* struct pool_token of bpf/pool.bpf.c */
struct token { uint32_t id, resv; uint64_t offset; };

/* Page @nr is on the disk in an order of its own. */
static uint64_t place_of(unsigned int nr)
{
	return (uint64_t)(nr * 97 % PAGES) * PAGE;
}

static void fill(unsigned char *p, unsigned int nr)
{
	for (size_t i = 0; i < PAGE; i++)
		p[i] = nr * 13 + i * 3 + (i >> 8);
}

static struct user_ring_buffer *returns;
static struct blkdmabuf_queue *queue;
static struct blk_dmabuf_info info;
static unsigned char *mem;
static int dmabuf, chan;
static uint32_t slot;

static void out(void)
{
	struct blkdmabuf_done done;
	unsigned int nr, i;

	for (nr = 0; nr < PAGES; nr += POOL) {
		check(blkdmabuf_cpu_access(dmabuf, 1, 1), "begin access");
		for (i = 0; i < POOL; i++)
			fill(mem + i * PAGE, nr + i);
		check(blkdmabuf_cpu_access(dmabuf, 0, 1), "end access");
		for (i = 0; i < POOL; i++)
			start_write(queue, chan, place_of(nr + i), PAGE, slot,
				    i * PAGE, 0);
		for (i = 0; i < POOL; i++)
			reap_one(queue, &done, PAGE);
	}
}

/* Use a page, which may be anywhere in the pool, and give its place back. */
static void use(const struct blkdmabuf_done *done)
{
	static unsigned char want[PAGE];
	struct token *token;

	fill(want, done->user);
	check(blkdmabuf_cpu_access(dmabuf, 1, 0), "begin access");
	if (memcmp(mem + done->offset, want, PAGE))
		errx(EXIT_FAILURE, "page %d differs", (int)done->user);
	check(blkdmabuf_cpu_access(dmabuf, 0, 0), "end access");
	token = user_ring_buffer__reserve(returns, sizeof(*token));
	if (!token)
		err(EXIT_FAILURE, "give back");
	*token = (struct token) { .id = info.id, .offset = done->offset };
	user_ring_buffer__submit(returns, token);
}

/* As many reads at a time as there are places. */
static void in(void)
{
	struct blkdmabuf_done done;
	unsigned int nr = 0, over;

	for (over = 0; over < PAGES; over++) {
		for (; nr < PAGES && nr < over + POOL; nr++)
			start_read(queue, chan, place_of(nr), PAGE,
				   BLK_DMABUF_SLOT_ANY, 0, nr);
		reap_one(queue, &done, PAGE);
		use(&done);
	}
}

int main(int argc, char **argv)
{
	struct blkdmabuf_ctl *ctl;

	if (argc != 2)
		errx(2, "usage: %s DEVICE", argv[0]);
	returns = user_ring_buffer__new(bpf_obj_get(RETURNS), NULL);
	if (!returns)
		err(EXIT_FAILURE, RETURNS ": is the policy loaded?");
	dmabuf = make_buffer(POOL * PAGE, &mem);
	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	chan = open_channel(ctl, open_direct(argv[1], O_RDWR | O_EXCL), dmabuf,
			    &slot);
	check(blkdmabuf_query(chan, slot, &info), "query");
	check(blkdmabuf_queue_open(&queue, POOL), "io_uring");
	out();
	memset(mem, 0, POOL * PAGE);
	in();
	printf("%d pages through %d places\n", PAGES, POOL);
	/* What it has registered ends with the program. */
	return EXIT_SUCCESS;
}
