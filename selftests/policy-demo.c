// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies at work, for selftests/demo: which buffer and which queue each read
 * went to, as the kernel's tracepoint says, without a policy, with one, and
 * after it was swapped for another.  Arguments: a disk of 512-byte blocks, and
 * a file for the numbers as JSON.  Fails if a byte is not where it was said to
 * be.
 */
#include <liburing.h>
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

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
	va_list args;

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
	unsigned int slot, len, reads = 0;
	unsigned long long pos, offset;
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
		printf("    64 KiB at %7llu -> buffer %u, queue %d\n", pos,
		       slot, hctx);
		hctx_reads[hctx]++;
		placements++;
		reads++;
	}
	fclose(f);
	if (reads != READS)
		die("%s: %u reads, not %u", title, reads, READS);
}

/* READS chunks in a row; all name slot 0, and every other one hint 1. */
static void read_all(struct blkdmabuf_queue *q, const char *title,
		     bool striped)
{
	struct blkdmabuf_done done;
	unsigned int i;

	memset(mem[0], POISON, SIZE);
	memset(mem[1], POISON, SIZE);
	memset(hctx_reads, 0, sizeof(hctx_reads));
	placements = 0;
	put(TRACE "/trace", "");
	for (i = 0; i < READS; i++) {
		need(blkdmabuf_queue_read(q, chan, i * CHUNK, CHUNK, 0,
					  i * CHUNK, i % 2, i), "read");
		need(blkdmabuf_queue_reap(q, &done, 1, 1), "reap");
		need(done.res, "read");
	}
	tell(title, striped);
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

int main(int argc, char **argv)
{
	struct isolate *isolate = isolate__open();
	struct stripe *stripe = stripe__open();
	struct blkdmabuf_queue *q;
	struct blkdmabuf_ctl *ctl;

	if (argc != 3)
		die("usage: %s DISK JSON", argv[0]);
	disk = strrchr(argv[1], '/') ? strrchr(argv[1], '/') + 1 : argv[1];
	if (!stripe || !isolate)
		die("policies: %s", strerror(errno));
	stripe->rodata->chunk = CHUNK;
	stripe->rodata->named = true;
	isolate->rodata->by_hint = true;
	need(stripe__load(stripe), "stripe");
	need(isolate__load(isolate), "isolate");
	if (!bpf_map__attach_struct_ops(stripe->maps.stripe) ||
	    !bpf_map__attach_struct_ops(isolate->maps.isolate))
		die("attach: %s", strerror(errno));
	need(blkdmabuf_ctl_open(&ctl, NULL), "control programs");
	need(blkdmabuf_queue_open(&q, READS), "ring");
	set_up(ctl, argv[1]);
	stay_here();
	mkdir(TRACE, 0755);
	put(TRACE "/events/blk_dmabuf/blk_dmabuf_complete/enable", "1");

	read_all(q, "no policy: where the application says, on its CPU's queue",
		 false);
	select_policy("stripe");
	read_all(q, "stripe: round the buffers", true);
	write_json(argv[2], "stripe");
	select_policy("isolate");
	read_all(q, "isolate, swapped in: hint 1 has a queue of its own",
		 false);

	select_policy("none");
	put(TRACE "/events/blk_dmabuf/blk_dmabuf_complete/enable", "0");
	rmdir(TRACE);
	blkdmabuf_queue_close(q);
	blkdmabuf_ctl_close(ctl);
	return 0;
}
