// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf-io: I/O between a block device, or a file, and a dma-buf, every byte
 * checked.
 *
 *   dmabuf-io --buffer shuffled --sizes 512,4K,3M /dev/nvme0n1
 *
 * The directions are checked apart.  What a read puts into the buffer is
 * compared with what a plain pwrite() put on the device before; what a write
 * puts on the device is compared with what a plain pread() finds after.  Around
 * the target of each I/O, in the buffer or on the device, guards are to stay as
 * they were.
 *
 * Each I/O in flight has a lane: a piece of the buffer and one of the device.
 * Where in its lane an I/O goes rotates, and so do the sizes.  A thread prepares
 * all its lanes, runs the I/O, looks at the outcome, and does so again.
 *
 * For each direction one line on stdout says what was done, or one says why the
 * kernel does not register the buffer.  Exit code 0: all of it right, 1: not, 2:
 * cannot be run like this.
 */
#include <getopt.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "dmabuf.h"

#define MAX_LIST	32
#define GUARD		PAGE

/* Of ivshmem: its memory. */
#define BAR		2

enum corrupt { CORRUPT_NOTHING, CORRUPT_TARGET, CORRUPT_GUARD };

static struct {
	const char	*device;
	const char	*buffer;
	bool		read;
	bool		write;
	uint64_t	sizes[MAX_LIST];
	unsigned int	nr_sizes;
	uint64_t	offsets[MAX_LIST];
	unsigned int	nr_offsets;
	uint64_t	position;
	uint64_t	size;
	uint64_t	at;
	uint64_t	count;
	unsigned int	warm_up;
	unsigned int	depth;
	unsigned int	threads;
	unsigned int	seconds;
	uint64_t	seed;
	uint32_t	hint;
	const char	*gate;
	enum corrupt	corrupt;
	bool		tolerate;
	bool		churn;
	bool		unmapped;
	bool		cpu_access;
	bool		allow_copy;
} opt = {
	.buffer		= "contiguous",
	.read		= true,
	.write		= true,
	.offsets	= { 0, 4, 512, 1028, 2048, 4092 },
	.nr_offsets	= 6,
	.depth		= 1,
	.threads	= 1,
	.seed		= 1,
};

static const struct {
	struct option	opt;
	const char	*arg;
	const char	*help;
} options[] = {
	{ { "direction", 1, NULL, 'd' }, "read|write", "only device to buffer, or only buffer to device" },
	{ { "sizes", 1, NULL, 's' }, "LIST", "bytes of the I/Os, with K and M, in turn" },
	{ { "buffer", 1, NULL, 'b' }, "KIND", "contiguous, shuffled or hugetlb udmabuf; a dma-heap's name; bar: the memory of the ivshmem device that $BAR names and vfio-pci has; or pages: ordinary memory and ordinary I/O, to compare" },
	{ { "offsets", 1, NULL, 'o' }, "LIST", "where in a page of the buffer, in turn" },
	{ { "position", 1, NULL, 'p' }, "BYTES", "first byte of the device to use" },
	{ { "size", 1, NULL, 'z' }, "BYTES", "size of the buffer, if that is more than needed" },
	{ { "at", 1, NULL, 'A' }, "BYTES", "first byte of the buffer to use" },
	{ { "count", 1, NULL, 'n' }, "N", "I/Os of each thread; default one per size and offset" },
	{ { "warm-up", 1, NULL, 'w' }, "N", "I/Os before those, all at once, neither gated nor counted" },
	{ { "depth", 1, NULL, 'q' }, "N", "I/Os in flight of each thread" },
	{ { "threads", 1, NULL, 't' }, "N", "threads" },
	{ { "seconds", 1, NULL, 'T' }, "N", "run that long instead of --count; ends early on SIGTERM" },
	{ { "seed", 1, NULL, 'S' }, "N", "makes the data differ" },
	{ { "hint", 1, NULL, 'H' }, "N", "goes with each I/O, for a policy" },
	{ { "gate", 1, NULL, 'g' }, "FILE", "tracing_on: holds 1 while there is no other than the I/O itself, else 0; the trace is marked with the direction" },
	{ { "tolerate", 0, NULL, 'e' }, NULL, "I/O may fail; what it did must still be right" },
	{ { "churn", 0, NULL, 'c' }, NULL, "drop the mapping all the time" },
	{ { "unmapped", 0, NULL, 'u' }, NULL, "drop the mapping before each batch" },
	{ { "cpu-access", 0, NULL, 'a' }, NULL, "tell the exporter about CPU access" },
	{ { "allow-copy", 0, NULL, 'C' }, NULL, "the kernel may copy" },
	{ { "corrupt", 1, NULL, 'X' }, "target|guard", "change a byte behind the test's back: it must notice" },
};

static void usage(void)
{
	size_t i;

	fprintf(stderr, "usage: dmabuf-io --sizes LIST [options] DEVICE\n");
	for (i = 0; i < ARRAY_SIZE(options); i++)
		fprintf(stderr, "  --%s%s%s\t%s\n", options[i].opt.name,
			options[i].arg ? " " : "",
			options[i].arg ?: "", options[i].help);
	exit(2);
}

static void cannot(const char *what, const char *on, int error)
{
	fprintf(stderr, "dmabuf-io: %s %s: %s\n", what, on,
		strerror(error < 0 ? -error : error));
	exit(2);
}

static uint64_t parse_bytes(const char *word)
{
	char *end;
	uint64_t n = strtoull(word, &end, 0);

	if (*end == 'K')
		n *= KIB, end++;
	else if (*end == 'M')
		n *= MIB, end++;
	if (end == word || *end)
		usage();
	return n;
}

static unsigned int parse_list(char *words, uint64_t *list)
{
	unsigned int n = 0;
	char *word;

	while ((word = strsep(&words, ","))) {
		if (n == MAX_LIST)
			usage();
		list[n++] = parse_bytes(word);
	}
	return n;
}

static void parse(int argc, char **argv)
{
	struct option longopts[ARRAY_SIZE(options) + 1] = {};
	size_t i;
	int c;

	for (i = 0; i < ARRAY_SIZE(options); i++)
		longopts[i] = options[i].opt;
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case 'd':
			opt.read = !strcmp(optarg, "read");
			opt.write = !strcmp(optarg, "write");
			if (!opt.read && !opt.write)
				usage();
			break;
		case 's':
			opt.nr_sizes = parse_list(optarg, opt.sizes);
			break;
		case 'o':
			opt.nr_offsets = parse_list(optarg, opt.offsets);
			break;
		case 'X':
			opt.corrupt = !strcmp(optarg, "target") ?
				CORRUPT_TARGET : CORRUPT_GUARD;
			break;
		case 'b': opt.buffer = optarg; break;
		case 'p': opt.position = parse_bytes(optarg); break;
		case 'z': opt.size = parse_bytes(optarg); break;
		case 'A': opt.at = parse_bytes(optarg); break;
		case 'n': opt.count = parse_bytes(optarg); break;
		case 'w': opt.warm_up = parse_bytes(optarg); break;
		case 'q': opt.depth = parse_bytes(optarg); break;
		case 't': opt.threads = parse_bytes(optarg); break;
		case 'T': opt.seconds = parse_bytes(optarg); break;
		case 'S': opt.seed = parse_bytes(optarg); break;
		case 'H': opt.hint = parse_bytes(optarg); break;
		case 'g': opt.gate = optarg; break;
		case 'e': opt.tolerate = true; break;
		case 'c': opt.churn = true; break;
		case 'u': opt.unmapped = true; break;
		case 'a': opt.cpu_access = true; break;
		case 'C': opt.allow_copy = true; break;
		default: usage();
		}
	}
	if (!opt.nr_sizes || !opt.depth || !opt.threads ||
	    optind + 1 != argc)
		usage();
	/* With others at work there is nothing these could mean. */
	if (opt.threads > 1 && (opt.gate || opt.warm_up || opt.unmapped ||
				opt.cpu_access))
		usage();
	opt.device = argv[optind];
	if (!opt.count)
		opt.count = opt.nr_sizes * opt.nr_offsets;
}

/* What is there once. */
static struct {
	int			bdev;
	int			dmabuf;
	int			chan;
	uint32_t		slot;
	uint32_t		id;
	bool			pages;
	unsigned char		*mem;
	uint64_t		mem_bytes;
	uint64_t		max_len;
	uint64_t		mem_lane;
	uint64_t		dev_lane;
	uint64_t		block;
	struct blk_dmabuf_limits limits;
	struct blkdmabuf_ctl	*ctl;
	struct gate		gate;
} env = { .bdev = -1, .dmabuf = -1, .chan = -1 };

static bool writing, warming_up;
static atomic_bool stop, terminated, gone;
static atomic_ulong ios, bytes, mismatches, errors, shorts, unmaps, io_us;

static void gate(bool open)
{
	if (opt.gate && !warming_up && gate_set(&env.gate, open, writing))
		cannot("cannot write", opt.gate, errno);
}

static void cpu_access(bool begin)
{
	int ret;

	if (!opt.cpu_access)
		return;
	ret = blkdmabuf_cpu_access(env.dmabuf, begin, true);
	if (ret)
		cannot("CPU access to", opt.buffer, ret);
}

/* Of each thread. */
static unsigned int lanes(void)
{
	return opt.warm_up > opt.depth ? opt.warm_up : opt.depth;
}

/* The first bytes of the BAR.  This dma-buf has no mmap(), the device has. */
static int make_bar(uint64_t size)
{
	struct blkdmabuf_vfio_range range = { .length = size };
	uint64_t offset, bytes;
	int device, ret;

	device = blkdmabuf_vfio_open(getenv("BAR") ?: "none");
	if (device < 0)
		return device;
	ret = blkdmabuf_vfio_memory(device, true);
	if (!ret)
		ret = blkdmabuf_vfio_region(device, BAR, &offset, &bytes);
	if (ret)
		return ret;
	if (bytes < size)
		return -ENOSPC;
	env.mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		       offset);
	return blkdmabuf_vfio_dmabuf(device, BAR, &range, 1);
}

static void make_buffer(void)
{
	uint64_t size = opt.at + env.mem_lane * lanes() * opt.threads;
	int prot = PROT_READ | PROT_WRITE;

	if (size < opt.size)
		size = opt.size;
	if (!strcmp(opt.buffer, "pages")) {
		env.pages = true;
		env.mem = mmap(NULL, size, prot,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	} else {
		if (!strcmp(opt.buffer, "contiguous"))
			env.dmabuf = blkdmabuf_udmabuf(size, 0);
		else if (!strcmp(opt.buffer, "shuffled"))
			env.dmabuf = shuffled_udmabuf(size, NULL);
		else if (!strcmp(opt.buffer, "hugetlb"))
			env.dmabuf = blkdmabuf_udmabuf(size = ALIGN(size, 2 * MIB),
						       BLKDMABUF_HUGETLB);
		else if (!strcmp(opt.buffer, "bar"))
			env.dmabuf = make_bar(size);
		else
			env.dmabuf = blkdmabuf_heap(opt.buffer, size);
		if (env.dmabuf < 0)
			cannot("no buffer of the kind", opt.buffer, env.dmabuf);
		if (!env.mem)
			env.mem = mmap(NULL, size, prot, MAP_SHARED,
				       env.dmabuf, 0);
	}
	if (env.mem == MAP_FAILED)
		cannot("cannot map", opt.buffer, errno);
	env.mem_bytes = size;
	/* All of it, so that there is a page behind everything. */
	memset(env.mem, POISON, size);
}

static void make_registration(void)
{
	struct blk_dmabuf_attach reg = {};
	int ret;

	ret = blkdmabuf_ctl_open(&env.ctl, NULL);
	if (ret)
		cannot("cannot load", "the control programs", ret);
	ret = blkdmabuf_register_flags(env.ctl, env.bdev, env.dmabuf,
				       opt.allow_copy ?
				       BLK_DMABUF_ATTACH_COPY : 0, &reg);
	if (ret) {
		printf("refused buffer=%s reason=%s\n", opt.buffer,
		       reason_name(reg.reason));
		fflush(stdout);
		cannot("cannot register on", opt.device, ret);
	}
	env.id = reg.id;
	ret = blkdmabuf_bind(env.chan, env.dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	if (ret < 0)
		cannot("cannot bind on", opt.device, ret);
	env.slot = ret;
	ret = blkdmabuf_map(env.ctl, env.id);
	if (ret)
		cannot("cannot map on", opt.device, ret);
}

static void setup(void)
{
	unsigned int i;

	env.bdev = open(opt.device, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (env.bdev < 0)
		cannot("cannot open", opt.device, errno);
	env.chan = blkdmabuf_channel_flags(env.bdev, opt.allow_copy ?
					   BLK_DMABUF_CHANNEL_COPY : 0);
	if (env.chan < 0)
		cannot("no channel for", opt.device, env.chan);
	blkdmabuf_limits(env.chan, &env.limits);
	/* Lanes are for both directions. */
	env.block = env.limits.write_block_size;
	/* Files that are copied can have none. */
	if (env.block < 512)
		env.block = 512;
	for (i = 0; i < opt.nr_sizes; i++) {
		if (!opt.sizes[i] || opt.sizes[i] % env.block)
			usage();
		if (opt.sizes[i] > env.max_len)
			env.max_len = opt.sizes[i];
	}
	if (opt.at % PAGE || opt.size % PAGE)
		usage();
	for (i = 0; i < opt.nr_offsets; i++)
		if (opt.offsets[i] % env.limits.dma_alignment ||
		    opt.offsets[i] >= PAGE)
			usage();
	/* A guard before and after, and room to rotate. */
	env.mem_lane = ALIGN(env.max_len, PAGE) + 2 * GUARD + 4 * PAGE;
	env.dev_lane = env.max_len + 6 * env.block;
	if (opt.position + env.dev_lane * lanes() * opt.threads >
	    env.limits.bytes)
		cannot("too much for", opt.device, ENOSPC);
	if (opt.gate && gate_open(&env.gate, opt.gate))
		cannot("cannot open", opt.gate, errno);
	make_buffer();
	if (!env.pages)
		make_registration();
}

struct lane {
	unsigned char	*mem;		/* target in memory */
	uint64_t	offset;		/* the same, in the buffer */
	uint64_t	pos;		/* on the device */
	uint64_t	len;
	uint64_t	before;		/* seed of what is on the device */
	uint64_t	after;		/* seed of what a write puts there */
	int		res;
};

struct worker {
	pthread_t	thread;
	unsigned int	nr;
	uint64_t	seq;
	struct io_uring	ring;
	struct lane	*lanes;
	unsigned char	*scratch;
};

/* Plain direct I/O.  A device that is gone is the end, not a mistake. */
static bool plain(struct worker *w, bool write, uint64_t pos, uint64_t len)
{
	ssize_t ret;

	if (write)
		ret = pwrite(env.bdev, w->scratch, len, pos);
	else
		ret = pread(env.bdev, w->scratch, len, pos);
	if (ret == (ssize_t)len)
		return true;
	if (!opt.tolerate)
		cannot(write ? "pwrite to" : "pread from", opt.device,
		       ret < 0 ? errno : EIO);
	gone = true;
	return false;
}

static void report(const struct lane *l, const char *what, uint64_t at,
		   size_t bad)
{
	/* The first few tell the story. */
	if (atomic_fetch_add(&mismatches, bad) < 4096)
		fprintf(stderr,
			"dmabuf-io: %s of %llu bytes at %llu, buffer offset %llu: %s: %zu bytes wrong from %llu on\n",
			writing ? "write" : "read",
			(unsigned long long)l->len, (unsigned long long)l->pos,
			(unsigned long long)l->offset, what, bad,
			(unsigned long long)at);
}

static bool prepare(struct worker *w, unsigned int n)
{
	uint64_t nr = w->nr * lanes() + n, block = env.block;
	struct lane *l = &w->lanes[n];
	uint64_t seq = w->seq++;

	/* All pairs of a size and an offset, one after the other. */
	l->len = opt.sizes[seq % opt.nr_sizes];
	l->offset = opt.at + nr * env.mem_lane + GUARD +
		seq / 3 % 4 * PAGE +
		opt.offsets[seq / opt.nr_sizes % opt.nr_offsets];
	l->pos = opt.position + nr * env.dev_lane + block * (1 + seq % 4);
	l->mem = env.mem + l->offset;
	l->before = opt.seed + (seq << 20) + nr * 2;
	l->after = l->before + 1;
	l->res = 0;

	data_fill(w->scratch, l->pos - block, l->len + 2 * block, l->before);
	if (!plain(w, true, l->pos - block, l->len + 2 * block))
		return false;
	memset(l->mem - GUARD, POISON, l->len + 2 * GUARD);
	if (writing)
		data_fill(l->mem, l->pos, l->len, l->after);
	return true;
}

static void submit(struct worker *w, unsigned int n)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	struct lane *l = &w->lanes[n];

	if (env.pages && writing)
		io_uring_prep_write_fixed(sqe, env.bdev, l->mem, l->len, l->pos, 0);
	else if (env.pages)
		io_uring_prep_read_fixed(sqe, env.bdev, l->mem, l->len, l->pos, 0);
	else if (writing)
		blkdmabuf_prep_write(sqe, env.chan, l->pos, l->len, env.slot,
				     l->offset, opt.hint);
	else
		blkdmabuf_prep_read(sqe, env.chan, l->pos, l->len, env.slot,
				    l->offset, opt.hint);
	sqe->user_data = n;
}

static void run(struct worker *w, unsigned int batch)
{
	unsigned int n, left = batch;
	uint64_t start;

	for (n = 0; n < batch; n++)
		submit(w, n);
	gate(true);
	start = now_us();
	while (left) {
		struct io_uring_cqe *cqe;
		int ret = io_uring_submit_and_wait(&w->ring, 1);

		if (ret < 0 && ret != -EINTR && ret != -EAGAIN)
			cannot("io_uring_enter on", opt.device, ret);
		while (!io_uring_peek_cqe(&w->ring, &cqe)) {
			w->lanes[cqe->user_data].res = cqe->res;
			io_uring_cqe_seen(&w->ring, cqe);
			left--;
		}
	}
	atomic_fetch_add(&io_us, now_us() - start);
	gate(false);
}

/* The target in the buffer holds what was on the device, the rest nothing. */
static void check_read(struct lane *l, uint64_t done)
{
	size_t bad, first = 0;

	bad = data_check(l->mem, l->pos, done, l->before, &first);
	if (bad)
		report(l, "target", first, bad);
	bad = poison_check(l->mem - GUARD, GUARD, &first);
	if (bad)
		report(l, "guard before the target", first, bad);
	bad = poison_check(l->mem + l->len, GUARD, &first);
	if (bad)
		report(l, "guard after the target", first, bad);
}

/* The device holds what was in the buffer, its neighbours what they did. */
static void check_write(struct worker *w, struct lane *l, uint64_t done)
{
	uint64_t block = env.block;
	unsigned char *data = w->scratch + block;
	size_t bad, first = 0;

	if (!plain(w, false, l->pos - block, l->len + 2 * block))
		return;
	if (opt.corrupt)
		data[opt.corrupt == CORRUPT_TARGET ? l->len / 2 : l->len] ^= 1;
	bad = data_check(data, l->pos, done, l->after, &first);
	if (bad)
		report(l, "target", first, bad);
	bad = data_check(w->scratch, l->pos - block, block, l->before, &first);
	if (bad)
		report(l, "block before the target", first, bad);
	bad = data_check(data + l->len, l->pos + l->len, block, l->before,
			 &first);
	if (bad)
		report(l, "block after the target", first, bad);
}

static void check(struct worker *w, unsigned int n)
{
	struct lane *l = &w->lanes[n];
	uint64_t done = l->res < 0 ? 0 : l->res;

	atomic_fetch_add(&ios, 1);
	atomic_fetch_add(&bytes, done);
	if (l->res < 0) {
		if (!atomic_fetch_add(&errors, 1) && !opt.tolerate)
			fprintf(stderr, "dmabuf-io: %llu bytes at %llu: %s\n",
				(unsigned long long)l->len,
				(unsigned long long)l->pos, strerror(-l->res));
	} else if (done < l->len) {
		atomic_fetch_add(&shorts, 1);
	}
	if (writing) {
		check_write(w, l, done);
		return;
	}
	if (opt.corrupt)
		l->mem[opt.corrupt == CORRUPT_TARGET ? l->len / 2 : l->len] ^= 1;
	check_read(l, done);
}

static void drop_mapping(void)
{
	int ret = blkdmabuf_unmap(env.ctl, env.id);

	if (!ret)
		atomic_fetch_add(&unmaps, 1);
	else if (!opt.tolerate)
		cannot("cannot unmap", opt.buffer, ret);
}

static bool batch(struct worker *w, unsigned int nr)
{
	unsigned int n;

	cpu_access(true);
	for (n = 0; n < nr; n++)
		if (!prepare(w, n))
			break;
	cpu_access(false);
	if (gone)
		return false;
	if (opt.unmapped)
		drop_mapping();
	run(w, nr);
	cpu_access(true);
	for (n = 0; n < nr; n++)
		check(w, n);
	cpu_access(false);
	return !gone;
}

/* What the first I/Os cause, in the driver as well, is over when others begin. */
static void warm_up(struct worker *w)
{
	if (!opt.warm_up)
		return;
	warming_up = true;
	batch(w, opt.warm_up);
	warming_up = false;
	ios = bytes = io_us = 0;
}

static void work(struct worker *w)
{
	uint64_t end = now_ms() + opt.seconds * 1000ULL, left = opt.count;

	warm_up(w);
	while (!stop) {
		unsigned int nr = opt.depth;

		if (opt.seconds ? now_ms() >= end : !left)
			break;
		if (!opt.seconds && nr > left)
			nr = left;
		if (!batch(w, nr))
			break;
		left -= nr;
	}
}

static void *worker(void *arg)
{
	struct worker *w = arg;
	struct iovec iov = { env.mem, env.mem_bytes };
	int ret;

	/* Rings are made by who uses them. */
	ret = io_uring_queue_init(lanes(), &w->ring, 0);
	if (!ret && env.pages)
		ret = io_uring_register_buffers(&w->ring, &iov, 1);
	if (ret)
		cannot("no ring of depth", "--depth", ret);
	w->lanes = calloc(lanes(), sizeof(*w->lanes));
	w->scratch = aligned_alloc(PAGE, ALIGN(env.max_len +
					       2 * env.block, PAGE));
	if (!w->lanes || !w->scratch)
		cannot("no memory for", "lanes", ENOMEM);
	work(w);
	free(w->lanes);
	free(w->scratch);
	io_uring_queue_exit(&w->ring);
	return NULL;
}

static void *churner(void *arg)
{
	while (!stop) {
		drop_mapping();
		/* Some I/O is to find a mapping, too. */
		if (atomic_load(&unmaps) % 4 == 3)
			sleep_ms(1);
	}
	return arg;
}

static void on_term(int sig)
{
	(void)sig;
	stop = terminated = true;
}

/* Whoever has something planned for us waits for this line. */
static void tell_when_running(void)
{
	while (ios < opt.threads * opt.depth && !stop && !gone)
		sleep_ms(10);
	printf("running\n");
	fflush(stdout);
}

static void run_all(void)
{
	struct worker *workers = calloc(opt.threads, sizeof(*workers));
	pthread_t churn;
	unsigned int i;

	stop = false;
	if (opt.churn && pthread_create(&churn, NULL, churner, NULL))
		cannot("no thread", "churn", errno);
	for (i = 0; i < opt.threads; i++) {
		workers[i].nr = i;
		/* They shall not all do the same size at the same time. */
		workers[i].seq = i;
		if (pthread_create(&workers[i].thread, NULL, worker,
				   &workers[i]))
			cannot("no thread", "worker", errno);
	}
	if (opt.seconds)
		tell_when_running();
	for (i = 0; i < opt.threads; i++)
		pthread_join(workers[i].thread, NULL);
	stop = true;
	if (opt.churn)
		pthread_join(churn, NULL);
	free(workers);
}

static struct blk_dmabuf_info get_info(void)
{
	struct blk_dmabuf_info info = {};
	uint64_t end = now_ms() + 20000;

	if (env.pages)
		return info;
	do {
		blkdmabuf_query(env.chan, env.slot, &info);
		/* I/O fails a little earlier than registrations die. */
	} while (gone && info.state != BLK_DMABUF_DEAD && now_ms() < end);
	return info;
}

static bool run_direction(bool write)
{
	uint64_t copied = get_info().copied;
	struct blk_dmabuf_info info;

	writing = write;
	ios = bytes = mismatches = errors = shorts = unmaps = io_us = 0;
	run_all();
	info = get_info();
	printf("%s buffer=%s ranges=%u sync=%d ios=%lu bytes=%lu mismatches=%lu errors=%lu short=%lu unmaps=%lu state=%s io_us=%lu copied=%llu\n",
	       write ? "write" : "read", opt.buffer, info.ranges,
	       !!(info.flags & BLK_DMABUF_F_SYNC), ios, bytes, mismatches,
	       errors, shorts, unmaps,
	       env.pages ? "none" : blkdmabuf_state_str(info.state), io_us,
	       (unsigned long long)(info.copied - copied));
	return ios && !mismatches && (opt.tolerate || !(errors + shorts));
}

int main(int argc, char **argv)
{
	bool right = true;

	parse(argc, argv);
	setup();
	signal(SIGTERM, on_term);
	if (opt.read)
		right &= run_direction(false);
	if (opt.write && !terminated && !gone)
		right &= run_direction(true);
	blkdmabuf_ctl_close(env.ctl);
	return right ? 0 : 1;
}
