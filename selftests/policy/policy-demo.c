// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies at work, for selftests/demo: which buffer and which queue each read
 * went to, as the kernel's tracepoint says, without a policy, with one, with
 * another, and after that was swapped for its next version under load.
 * Arguments: a disk of 512-byte blocks, and a file for the numbers as JSON.
 * Fails if a byte is not where it was said to be, or a queue is not whose it
 * was said to be.
 */
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

#include <bpf/libbpf.h>

#include "dmabuf.h"

typedef __u32 u32;
typedef __u64 u64;

#include "isolate.skel.h"
#include "stripe.skel.h"

#define TRACE	"/sys/kernel/tracing/instances/policy-demo"
#define CHUNK	(64 * KIB)
#define SIZE	(1 * MIB)
#define READS	8
#define SEED	71
#define MAX_HCTX	64

static const char *disk;
static int chan, bdev;
static unsigned char *mem[2];
static unsigned int hctx_reads[MAX_HCTX], placements;
static u64 queues_of[2];	/* of each hint, a bit for each queue */

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

static int need(int ret, const char *what)
{
	if (ret < 0)
		die("%s: %s", what, strerror(-ret));
	return ret;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

/* So that the queue changes for no other reason than a policy. */
static void stay_here(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("affinity: %s", strerror(errno));
}

static void select_policy(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/dmabuf_policy", disk);
	put(path, name);
}

/* Two buffers in the slots 0 and 1. */
static void set_up(struct blkdmabuf_ctl *ctl, const char *path)
{
	char *data = aligned_alloc(PAGE, SIZE);
	int i, fd;

	bdev = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (bdev < 0 || !data)
		die("%s: %s", path, strerror(errno));
	data_fill(data, 0, SIZE, SEED);
	if (pwrite(bdev, data, SIZE, 0) != (ssize_t)SIZE)
		die("%s: %s", path, strerror(errno));
	free(data);
	chan = need(blkdmabuf_channel(bdev), "channel");
	for (i = 0; i < 2; i++) {
		struct blk_dmabuf_attach reg;

		fd = need(blkdmabuf_udmabuf(SIZE, 0), "udmabuf");
		mem[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			      fd, 0);
		if (mem[i] == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		need(blkdmabuf_register(ctl, bdev, fd, &reg), "register");
		need(blkdmabuf_map(ctl, reg.id), "map");
		need(blkdmabuf_bind(chan, fd, i, NULL), "bind");
	}
}

/* One line per read out of the trace; the data must be where it says. */
static void tell(const char *title, bool striped)
{
	unsigned long long pos, offset;
	unsigned int slot, len, hint;
	char line[512], *at;
	int hctx;
	FILE *f;

	printf("  %s\n", title);
	f = fopen(TRACE "/trace", "re");
	if (!f)
		die("%s: %s", TRACE, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, "blk_dmabuf_complete: ");
		if (!at || sscanf(strstr(at, "slot="),
				  "slot=%u hctx=%d read pos=%llu len=%u",
				  &slot, &hctx, &pos, &len) != 4)
			continue;
		offset = striped ? pos / CHUNK / 2 * CHUNK : pos;
		if (slot > 1 || hctx < 0 || hctx >= MAX_HCTX ||
		    data_check(mem[slot] + offset, pos, len, SEED, NULL))
			die("%s: the read at %llu is not in buffer %u", title,
			    pos, slot);
		hint = pos / CHUNK % 2;
		printf("    64 KiB at %6llu, hint %u -> buffer %u, queue %d\n",
		       pos, hint, slot, hctx);
		hctx_reads[hctx]++;
		queues_of[hint] |= 1ULL << hctx;
		placements++;
	}
	fclose(f);
	if (placements != READS)
		die("%s: %u reads, not %u", title, placements, READS);
}

/* Chunk @i; names slot 0, and every other one hint 1. */
static void queue_chunk(struct blkdmabuf_queue *q, unsigned int i)
{
	need(blkdmabuf_queue_read(q, chan, i * CHUNK, CHUNK, 0, i * CHUNK,
				  i % 2, i), "read");
}

/* READS chunks in a row. */
static void read_all(struct blkdmabuf_queue *q, const char *title,
		     bool striped, bool apart)
{
	struct blkdmabuf_done done;
	unsigned int i;

	memset(mem[0], POISON, SIZE);
	memset(mem[1], POISON, SIZE);
	memset(hctx_reads, 0, sizeof(hctx_reads));
	memset(queues_of, 0, sizeof(queues_of));
	placements = 0;
	put(TRACE "/trace", "");
	for (i = 0; i < READS; i++) {
		queue_chunk(q, i);
		need(blkdmabuf_queue_reap(q, &done, 1, 1), "reap");
		need(done.res, "read");
	}
	tell(title, striped);
	if (apart != !(queues_of[0] & queues_of[1]))
		die("%s: not on the queues that it says", title);
}

static volatile unsigned int nr_read;
static volatile bool enough;

/* Read on and on, READS in flight; what is read is looked at. */
static void *read_on(void *arg)
{
	struct blkdmabuf_done done[READS];
	struct blkdmabuf_queue *q;
	unsigned int i;

	(void)arg;
	need(blkdmabuf_queue_open(&q, READS), "ring");
	while (!enough) {
		memset(mem[0], POISON, SIZE);
		for (i = 0; i < READS; i++)
			queue_chunk(q, i);
		if (need(blkdmabuf_queue_reap(q, done, READS, READS),
			 "reap") != READS)
			die("reads were lost");
		for (i = 0; i < READS; i++)
			need(done[i].res, "read");
		if (data_check(mem[0], 0, READS * CHUNK, SEED, NULL))
			die("wrong data while the policy was swapped");
		nr_read += READS;
	}
	blkdmabuf_queue_close(q);
	return NULL;
}

static void wait_for_reads(unsigned int nr)
{
	unsigned int end = nr_read + nr;

	while (nr_read < end)
		sleep_ms(1);
}

/* Nothing is stopped for it, and who selected the policy has selected @next. */
static void swap_under_load(struct bpf_link *link, struct bpf_map *next)
{
	unsigned int before, after;
	pthread_t reader;

	need(-pthread_create(&reader, NULL, read_on, NULL), "thread");
	wait_for_reads(READS);
	before = nr_read;
	need(bpf_link__update_map(link, next), "update");
	after = nr_read;
	wait_for_reads(READS);
	enough = true;
	pthread_join(reader, NULL);
	printf("  swapped for its next version: %u reads before, %u during,"
	       " %u after, all bytes right\n", before, after - before,
	       nr_read - after);
}

static void write_json(const char *path, const char *name)
{
	const char *comma = "";
	FILE *f = fopen(path, "we");
	unsigned int i;

	if (!f)
		die("%s: %s", path, strerror(errno));
	fprintf(f, "{\"name\":\"%s\",\"placements\":%u,\"queues\":{", name,
		placements);
	for (i = 0; i < MAX_HCTX; i++) {
		if (!hctx_reads[i])
			continue;
		fprintf(f, "%s\"%u\":%u", comma, i, hctx_reads[i]);
		comma = ",";
	}
	fprintf(f, "}}\n");
	if (fclose(f))
		die("%s: %s", path, strerror(errno));
}

static struct bpf_link *attach(struct bpf_map *map)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(map);

	if (!link)
		die("%s: %s", bpf_map__name(map), strerror(errno));
	return link;
}

static struct stripe *load_stripe(void)
{
	struct stripe *stripe = stripe__open();

	if (!stripe)
		die("stripe: %s", strerror(errno));
	stripe->rodata->chunk = CHUNK;
	stripe->rodata->named = true;
	need(stripe__load(stripe), "stripe");
	return stripe;
}

static struct isolate *load_isolate(bool by_hint)
{
	struct isolate *isolate = isolate__open();

	if (!isolate)
		die("isolate: %s", strerror(errno));
	isolate->rodata->by_hint = by_hint;
	need(isolate__load(isolate), "isolate");
	return isolate;
}

int main(int argc, char **argv)
{
	struct blkdmabuf_queue *q;
	struct blkdmabuf_ctl *ctl;
	struct bpf_link *link;

	if (argc != 3)
		die("usage: %s DISK JSON", argv[0]);
	disk = strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1];
	attach(load_stripe()->maps.stripe);
	link = attach(load_isolate(false)->maps.isolate);
	need(blkdmabuf_ctl_open(&ctl, NULL), "control programs");
	need(blkdmabuf_queue_open(&q, READS), "ring");
	set_up(ctl, argv[1]);
	stay_here();
	mkdir(TRACE, 0755);
	put(TRACE "/events/blk_dmabuf/blk_dmabuf_complete/enable", "1");

	read_all(q, "no policy: where the application says, on its CPU's queue",
		 false, false);
	select_policy("stripe");
	read_all(q, "stripe: round the buffers", true, false);
	select_policy("isolate");
	read_all(q, "isolate, by cgroup: we are in one, and have one queue",
		 false, false);
	swap_under_load(link, load_isolate(true)->maps.isolate);
	read_all(q, "isolate, by hint: hint 1 has a queue of its own", false,
		 true);
	write_json(argv[2], "isolate");

	select_policy("none");
	put(TRACE "/events/blk_dmabuf/blk_dmabuf_complete/enable", "0");
	rmdir(TRACE);
	blkdmabuf_queue_close(q);
	blkdmabuf_ctl_close(ctl);
	return 0;
}
