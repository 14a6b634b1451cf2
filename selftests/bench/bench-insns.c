// SPDX-License-Identifier: GPL-2.0-only
/*
 * What one read costs in instructions of the guest, by path: O_DIRECT,
 * registered buffers and files, NVMe commands, and a dma-buf without a policy,
 * with the minimal one, with one that places and chooses the queue, in pieces of
 * 4 KiB from all over it, and while "blkdmabufctl stat" watches.
 * selftests/bench/bench runs it:
 *
 *   bench-insns FILE [samples]		$CTL is blkdmabufctl
 *   bench-insns --profile MONITOR PATH MODE SIZE BATCH
 *
 * writes the rows to FILE as JSON, or has QEMU log each instruction of some batches,
 * by its monitor.  Time has to count instructions, with one CPU.
 *
 * As in policy-cost.c, the program counts down while the device works, what
 * that takes is subtracted, and of many batches the one in the middle is taken.
 * On a polled ring nothing of an I/O happens while it waits, so that part is
 * left out altogether; samples that had to look more than once are dropped.
 * Where interrupts came all the same, the ring was not polled, and there is no
 * number.
 *
 * On a kernel without /dev/blkdmabuf the paths that it has are measured, so
 * that what the patches cost ordinary I/O is the difference between two boots.
 */
#include <linux/nvme_ioctl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <x86intrin.h>

#include "policy.h"
#include "../../user/ctl/tracecount.h"
#include "minimal.skel.h"
#include "selftests/bpf/cost.skel.h"

#ifndef IORING_URING_CMD_FIXED
#define IORING_URING_CMD_FIXED	(1U << 0)
#endif

#define POS		(8 * MIB)
#define ROUNDS		3	/* what drifts, drifts for all alike */
#define MAX_SAMPLES	101	/* of each in a round */
#define WARM_UP		5
#define COUNT_DOWN	50000	/* a small part of a tick */
#define POLL_STEPS	4	/* then the device is done, most times */
#define COUNT_BATCHES	20
#define PROFILED	60	/* batches */
#define LINGER		12	/* seconds that hooks stay when channels have gone */
#define MAX_BATCH	32
#define MAX_SIZE	(512 * KIB)

/* The buffers: what fits all batches, and what is large and in single pages. */
static const struct {
	const char	*name;
	uint64_t	size;
	bool		shuffled;
} kinds[] = {
	{ "contiguous", 4 * MIB, false },
	{ "fragmented", 32 * MIB, true },
};

#define NR_KINDS	ARRAY_SIZE(kinds)

static const struct {
	uint32_t	size;
	unsigned int	batch;
	bool		last;	/* at the end of the buffer */
} cells[] = {
	{ 4 * KIB, 1, false },
	{ 4 * KIB, 32, false },
	{ 128 * KIB, 8, false },
	{ 512 * KIB, 4, false },
	{ 512 * KIB, 1, false },
	{ 4 * KIB, 1, true },
};

#define NR_CELLS	ARRAY_SIZE(cells)

enum path {
	STOCK, REGISTERED, REGISTERED_CHANNEL, PASSTHROUGH,
	OURS, MINIMAL, BOTH, PIECES, STAT, NR_PATHS
};

/* Those that need /dev/blkdmabuf begin with the channel. */
static const struct {
	const char	*name;
	const char	*policy;
	bool		needs;
} paths[NR_PATHS] = {
	[STOCK]			= { "stock", NULL, false },
	[REGISTERED]		= { "registered", NULL, false },
	[REGISTERED_CHANNEL]	= { "registered+channel", NULL, true },
	[PASSTHROUGH]		= { "passthrough", NULL, false },
	[OURS]			= { "dmabuf", "none", true },
	[MINIMAL]		= { "minimal", "minimal", true },
	[BOTH]			= { "place_map_queue", "place_map_queue",
				    true },
	[PIECES]		= { "pieces", "none", true },
	[STAT]			= { "stat", "none", true },
};

enum { INTERRUPT, POLLED, NR_MODES };

static const char *const modes[NR_MODES] = { "interrupt", "polled" };

/**
 * struct row - what is known of a path, in a mode, a buffer and a cell
 * @samples: instructions of a batch
 * @nr: how many
 * @insns: of one I/O, 0 if there is no number
 * @counts: events of an I/O
 * @interrupts: of an I/O
 * @err: -errno of an I/O that failed
 */
struct row {
	uint64_t	samples[ROUNDS * MAX_SAMPLES];
	unsigned int	nr;
	double		insns;
	double		counts[NR_TRACE_EVENTS];
	double		interrupts;
	int		err;
};

static struct row rows[NR_MODES][NR_KINDS][NR_CELLS][NR_PATHS];
static unsigned int nr_samples = 31;

static struct buffer {
	int		dmabuf;
	void		*mem;
	uint32_t	slot;
} buffers[NR_KINDS];

static int bdev, ng = -1, chan = -1, nsid, block = 512;
static bool ours;
static char controller[32];

/* One for each mode, and one each with large entries for NVMe commands. */
static struct io_uring rings[NR_MODES][2];

/* What a batch is made of. */
struct batch {
	unsigned int	mode;
	unsigned int	kind;
	unsigned int	cell;
	enum path	path;
	struct io_uring	*ring;
	unsigned int	polls;	/* out: looks that found too little */
	int		err;	/* out */
};

static struct row *row_of(const struct batch *b)
{
	return &rows[b->mode][b->kind][b->cell][b->path];
}

/* ---- I/O ---- */

enum { FILE_BDEV, FILE_CHAN, FILE_NG, NR_FILES };

static void prep_command(struct io_uring_sqe *sqe, char *mem, uint64_t pos,
			 uint32_t size, unsigned int kind)
{
	struct nvme_uring_cmd cmd = {
		.opcode		= 2,	/* read */
		.nsid		= nsid,
		.addr		= (uintptr_t)mem,
		.data_len	= size,
		.cdw10		= pos / block,
		.cdw12		= size / block - 1,
	};

	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = FILE_NG;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = kind;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

/* From the last page to the first, so that no two are neighbours. */
static void prep_pieces(struct io_uring_sqe *sqe, uint64_t pos, uint32_t size,
			uint64_t offset, uint32_t slot, unsigned int nr)
{
	static struct blk_dmabuf_vec vecs[MAX_BATCH][MAX_SIZE / PAGE];
	unsigned int i, pieces = size / PAGE;

	for (i = 0; i < pieces; i++)
		vecs[nr][i] = (struct blk_dmabuf_vec) {
			.offset	= offset + (pieces - 1 - i) * PAGE,
			.len	= PAGE,
			.slot	= slot,
		};
	blkdmabuf_prep_readv(sqe, FILE_CHAN, pos, vecs[nr], pieces, 0);
}

static void prep(const struct batch *b, struct io_uring_sqe *sqe,
		 unsigned int nr)
{
	uint32_t size = cells[b->cell].size;
	uint64_t offset = cells[b->cell].last ? kinds[b->kind].size - size :
			  (uint64_t)nr * size;
	char *mem = (char *)buffers[b->kind].mem + offset;
	/* Neighbours would be merged: one request, and not a batch. */
	uint64_t pos = POS + (uint64_t)nr * 2 * size;

	switch (b->path) {
	case STOCK:
		io_uring_prep_read(sqe, bdev, mem, size, pos);
		break;
	case REGISTERED:
	case REGISTERED_CHANNEL:
		io_uring_prep_read_fixed(sqe, FILE_BDEV, mem, size, pos,
					 b->kind);
		sqe->flags |= IOSQE_FIXED_FILE;
		break;
	case PASSTHROUGH:
		prep_command(sqe, mem, pos, size, b->kind);
		break;
	case PIECES:
		prep_pieces(sqe, pos, size, offset, buffers[b->kind].slot, nr);
		sqe->flags |= IOSQE_FIXED_FILE;
		break;
	default:
		blkdmabuf_prep_read(sqe, FILE_CHAN, pos, size,
				    buffers[b->kind].slot, offset, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		break;
	}
}

static unsigned int prep_all(struct batch *b)
{
	unsigned int nr, batch = cells[b->cell].batch;

	for (nr = 0; nr < batch; nr++)
		prep(b, io_uring_get_sqe(b->ring), nr);
	return batch;
}

static void submit(struct batch *b)
{
	unsigned int batch = prep_all(b);

	CHECK_EQ(io_uring_submit(b->ring), (int)batch);
}

/*
 * io_uring_submit() polls, too, on a ring for that: if nothing has completed yet, once
 * for each command, and whether something has depends on this machine.
 */
static void submit_only(struct batch *b)
{
	struct io_uring_sq *sq = &b->ring->sq;
	unsigned int batch = prep_all(b);

	/* As liburing 2.3; later ones have filled the array once and for all. */
	for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++)
		sq->array[sq->sqe_head & sq->ring_mask] =
			sq->sqe_head & sq->ring_mask;
	io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
	CHECK_EQ(io_uring_enter(b->ring->ring_fd, batch, 0, 0, NULL), (int)batch);
}

static unsigned long downs = COUNT_DOWN;

static void count_down(void)
{
	unsigned long n = downs;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
}

/* Takes what there is; NVMe commands say 0 for all went well. */
static unsigned int reap(struct batch *b)
{
	int want = b->path == PASSTHROUGH ? 0 : (int)cells[b->cell].size;
	struct io_uring_cqe *cqe;
	unsigned int nr = 0;

	while (!io_uring_peek_cqe(b->ring, &cqe)) {
		if (cqe->res != want)
			b->err = cqe->res < 0 ? cqe->res : -EIO;
		io_uring_cqe_seen(b->ring, cqe);
		nr++;
	}
	return nr;
}

/* Counting down once and looking for a completion. */
static uint64_t step;

/*
 * Looking is in it once more for each that came than counting down alone has,
 * which is a handful of instructions and the same for all paths.
 */
static uint64_t sample_interrupt(struct batch *b)
{
	unsigned int left = cells[b->cell].batch;
	uint64_t start = __rdtsc(), steps = 0;

	submit(b);
	do {
		count_down();
		steps++;
		left -= reap(b);
	} while (left);
	return __rdtsc() - start - steps * step;
}

static uint64_t sample_polled(struct batch *b)
{
	unsigned int left = cells[b->cell].batch, i;
	uint64_t sum, start = __rdtsc();

	submit_only(b);
	sum = __rdtsc() - start;
	b->polls = 0;
	do {
		for (i = 0; i < POLL_STEPS; i++)
			count_down();
		start = __rdtsc();
		left -= reap(b);
		sum += __rdtsc() - start;
		b->polls++;
	} while (left);
	return sum;
}

static uint64_t sample(struct batch *b)
{
	return b->mode == POLLED ? sample_polled(b) : sample_interrupt(b);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t percentile(uint64_t *samples, unsigned int nr, unsigned int percent)
{
	qsort(samples, nr, sizeof(*samples), by_value);
	return nr ? samples[nr * percent / 100] : 0;
}

static void count_down_alone(void)
{
	static uint64_t alone[MAX_SAMPLES];
	struct io_uring_cqe *cqe;
	uint64_t start;
	unsigned int i;

	for (i = 0; i < MAX_SAMPLES; i++) {
		start = __rdtsc();
		count_down();
		CHECK_EQ(io_uring_peek_cqe(&rings[INTERRUPT][0], &cqe),
			 -EAGAIN);
		alone[i] = __rdtsc() - start;
	}
	step = percentile(alone, MAX_SAMPLES, 50);
}

/* ---- Rows ---- */

static void take_samples(struct batch *b)
{
	struct row *row = row_of(b);
	unsigned int i;
	uint64_t insns;

	/* The first ones fill caches that the rest find filled. */
	for (i = 0; i < WARM_UP && !b->err; i++)
		sample(b);
	for (i = 0; i < nr_samples && !b->err; i++) {
		insns = sample(b);
		if (b->polls <= 1)
			row->samples[row->nr++] = insns;
	}
	row->err = b->err;
}

static void count_events(struct batch *b)
{
	double ios = COUNT_BATCHES * cells[b->cell].batch;
	uint64_t counts[NR_TRACE_EVENTS];
	struct row *row = row_of(b);
	struct trace_counter counter;
	int64_t before;
	unsigned int i;

	CHECK_EQ(trace_counter_open(&counter), 0);
	before = trace_interrupts(controller);
	for (i = 0; i < COUNT_BATCHES; i++)
		sample(b);
	row->interrupts = (trace_interrupts(controller) - before) / ios;
	trace_counter_read(&counter, counts);
	for (i = 0; i < NR_TRACE_EVENTS; i++)
		row->counts[i] = counter.known[i] ? counts[i] / ios : -1;
	trace_counter_close(&counter);
}

/* Is there what it takes? */
static bool possible(enum path path)
{
	return (ours || !paths[path].needs) && (path != PASSTHROUGH || ng >= 0);
}

/* Each cell of @path, on all buffers and kinds of rings. */
static void for_each_batch(enum path path, void (*run)(struct batch *b))
{
	struct batch b = { .path = path };

	for (b.mode = 0; b.mode < NR_MODES; b.mode++)
		for (b.kind = 0; b.kind < NR_KINDS; b.kind++)
			for (b.cell = 0; b.cell < NR_CELLS; b.cell++) {
				if (row_of(&b)->err)
					continue;
				b.ring = &rings[b.mode][path == PASSTHROUGH];
				b.err = 0;
				b.polls = 0;
				run(&b);
			}
}

/* Longer than anything is measured, so that it does not print meanwhile. */
#define STAT_INTERVAL	"100000"
#define STAT_LINKS	2	/* it has two programs */

static unsigned int nr_links(void)
{
	unsigned int nr = 0;
	__u32 id = 0;

	while (!bpf_link_get_next_id(id, &id))
		nr++;
	return nr;
}

static pid_t start_stat(void)
{
	const char *ctl = getenv("CTL");
	unsigned int links = nr_links();
	pid_t pid = fork();

	if (!pid) {
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		if (ctl)
			execl(ctl, ctl, "stat", "--interval", STAT_INTERVAL,
			      NULL);
		_exit(1);
	}
	CHECK(pid > 0);
	/* No timeout: an idle guest's time jumps while the host reads its files. */
	while (nr_links() < links + STAT_LINKS) {
		CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
		usleep(10000);
	}
	return pid;
}

static void stop_stat(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGTERM), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void run_path(enum path path, void (*run)(struct batch *b))
{
	pid_t stat = 0;

	if (!possible(path))
		return;
	if (paths[path].policy)
		CHECK_EQ(policy_select(bdev, paths[path].policy), 0);
	if (path == STAT)
		stat = start_stat();
	for_each_batch(path, run);
	if (stat)
		stop_stat(stat);
	if (paths[path].policy)
		CHECK_EQ(policy_select(bdev, "none"), 0);
}

/* ---- Setting up ---- */

static void make_rings(void)
{
	struct iovec iov[NR_KINDS];
	int files[NR_FILES] = { bdev, chan, ng };
	unsigned int mode, large, i;

	for (i = 0; i < NR_KINDS; i++)
		iov[i] = (struct iovec) { buffers[i].mem, kinds[i].size };
	for (mode = 0; mode < NR_MODES; mode++) {
		for (large = 0; large < 2; large++) {
			unsigned int flags = large ? IORING_SETUP_SQE128 |
						     IORING_SETUP_CQE32 : 0;
			struct io_uring *ring = &rings[mode][large];

			if (mode == POLLED)
				flags |= IORING_SETUP_IOPOLL;
			CHECK_EQ(io_uring_queue_init(MAX_BATCH, ring, flags),
				 0);
			CHECK_EQ(io_uring_register_buffers(ring, iov,
							   NR_KINDS), 0);
			CHECK_EQ(io_uring_register_files(ring, files,
							 NR_FILES), 0);
		}
	}
}

static void close_rings(void)
{
	unsigned int mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		io_uring_queue_exit(&rings[mode][0]);
		io_uring_queue_exit(&rings[mode][1]);
	}
}

static void make_buffers(void)
{
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++) {
		buffers[i].dmabuf = kinds[i].shuffled ?
			shuffled_udmabuf(kinds[i].size, &buffers[i].mem) :
			blkdmabuf_udmabuf_mapped(kinds[i].size,
						 BLKDMABUF_HUGETLB,
						 &buffers[i].mem);
		CHECK(buffers[i].dmabuf >= 0);
		memset(buffers[i].mem, POISON, kinds[i].size);
	}
}

static void open_disk(void)
{
	const char *path = disk_by_serial("disk0");
	char node[64];

	CHECK(path);
	bdev = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(bdev >= 0);
	snprintf(node, sizeof(node), "/dev/ng%s", path + strlen("/dev/nvme"));
	ng = open(node, O_RDWR | O_CLOEXEC);
	nsid = ng >= 0 ? ioctl(ng, NVME_IOCTL_ID) : -1;
	/* "nvme0" of /dev/nvme0n1 */
	snprintf(controller, sizeof(controller), "%.*s",
		 (int)(strcspn(path + 9, "n") + 4), path + 5);
}

static void load_policies(void)
{
	struct minimal *m = minimal__open_and_load();
	struct cost *c = cost__open_and_load();

	CHECK(m && c);
	policy_attach(m->maps.minimal);
	policy_attach(c->maps.cost_both);
}

/* The channel is open while paths with one are measured, and only then. */
static void open_channel(void)
{
	unsigned int i;
	int slot;

	chan = blkdmabuf_channel(bdev);
	CHECK(chan >= 0);
	for (i = 0; i < NR_KINDS; i++) {
		struct blk_dmabuf_attach reg;

		CHECK_EQ(blkdmabuf_register(rig_ctl, bdev, buffers[i].dmabuf,
					    &reg), 0);
		CHECK_EQ(blkdmabuf_map(rig_ctl, reg.id), 0);
		slot = blkdmabuf_bind(chan, buffers[i].dmabuf, SLOT_ANY, NULL);
		CHECK(slot >= 0);
		buffers[i].slot = slot;
	}
}

static void close_channel(void)
{
	close(chan);
	chan = -1;
	rig_clean();
}

/* Paths that need no channel are measured without one, and without the last one's. */
static void measure(void (*run)(struct batch *b))
{
	enum path path;

	sleep(LINGER);
	make_rings();
	count_down_alone();
	for (path = 0; path < NR_PATHS; path++)
		if (!paths[path].needs)
			run_path(path, run);
	close_rings();
	if (!ours)
		return;
	open_channel();
	make_rings();
	for (path = 0; path < NR_PATHS; path++)
		if (paths[path].needs)
			run_path(path, run);
	close_rings();
	close_channel();
}

/* ---- Telling ---- */

static void put_count(FILE *f, const char *name, double count)
{
	if (count < 0)
		fprintf(f, ",\"%s\":null", name);
	else
		fprintf(f, ",\"%s\":%.3f", name, count);
}

static void put_row(FILE *f, const struct batch *b, bool first)
{
	const struct row *row = row_of(b);
	unsigned int batch = cells[b->cell].batch;

	fprintf(f, "%s{\"mode\":\"%s\",\"path\":\"%s\",\"size\":%u,"
		"\"batch\":%u,\"depth\":%u,\"buffer\":\"%s\",\"at\":\"%s\"",
		first ? "[\n" : ",\n", modes[b->mode], paths[b->path].name,
		cells[b->cell].size, batch, batch, kinds[b->kind].name,
		cells[b->cell].last ? "last" : "first");
	if (row->insns)
		fprintf(f, ",\"insns_per_io\":%.1f", row->insns);
	else
		fprintf(f, ",\"insns_per_io\":null");
	put_count(f, "maps", row->counts[TRACE_MAP]);
	put_count(f, "unmaps", row->counts[TRACE_UNMAP]);
	put_count(f, "invalidations", row->counts[TRACE_INVALIDATE]);
	put_count(f, "allocations", row->counts[TRACE_ALLOC]);
	put_count(f, "interrupts", row->interrupts);
	fprintf(f, ",\"samples\":%u,\"refused\":", row->nr);
	if (row->err)
		fprintf(f, "\"%s\"}", strerror(-row->err));
	else if (!row->insns)
		fprintf(f, "\"completed by interrupts\"}");
	else
		fprintf(f, "null}");
}

/* A number that means something, or none. */
static void conclude(struct batch *b)
{
	struct row *row = row_of(b);
	double ios = cells[b->cell].batch;

	if (row->err || (b->mode == POLLED && row->interrupts > 0))
		return;
	/*
	 * How many interrupts a batch has depends on how fast this machine is, and what
	 * else it does: the tenth percentile has few.
	 */
	row->insns = percentile(row->samples, row->nr, 10) / ios;
}

static FILE *out;

static void tell(struct batch *b)
{
	static bool told;

	conclude(b);
	put_row(out, b, !told);
	told = true;
}

/* What failed says so, too, which for_each_batch() leaves out. */
static void tell_failed(void)
{
	struct batch b;

	for (b.mode = 0; b.mode < NR_MODES; b.mode++)
		for (b.kind = 0; b.kind < NR_KINDS; b.kind++)
			for (b.cell = 0; b.cell < NR_CELLS; b.cell++)
				for (b.path = 0; b.path < NR_PATHS; b.path++)
					if (row_of(&b)->err)
						put_row(out, &b, false);
}

static unsigned int index_of(const char *const *names, size_t stride,
			     unsigned int nr, const char *name)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(*(const char *const *)((const char *)names +
						   i * stride), name))
			return i;
	tap_fail(__FILE__, __LINE__, "%s: no such path or mode", name);
}

static void monitor(int fd, const char *commands)
{
	CHECK_EQ(write(fd, commands, strlen(commands)), (ssize_t)strlen(commands));
}

/* A cell of the fragmented buffer.  Counting down is short. */
static void profile(char **args)
{
	struct batch b = {
		.path = index_of(&paths[0].name, sizeof(paths[0]), NR_PATHS,
				 args[1]),
		.mode = index_of(modes, sizeof(modes[0]), NR_MODES, args[2]),
		.kind = NR_KINDS - 1,
	};
	uint32_t size = atoi(args[3]);
	unsigned int batch = atoi(args[4]), i;
	int fd = open(args[0], O_RDWR | O_CLOEXEC);
	pid_t stat = 0;

	while (b.cell < NR_CELLS &&
	       (cells[b.cell].size != size || cells[b.cell].batch != batch))
		b.cell++;
	CHECK(fd >= 0 && b.cell < NR_CELLS && possible(b.path));
	downs = 500;
	if (paths[b.path].needs)
		open_channel();
	make_rings();
	if (paths[b.path].policy)
		CHECK_EQ(policy_select(bdev, paths[b.path].policy), 0);
	if (b.path == STAT)
		stat = start_stat();
	b.ring = &rings[b.mode][b.path == PASSTHROUGH];
	for (i = 0; i < PROFILED; i++)
		sample(&b);
	monitor(fd, MONITOR_LOG_ON);
	for (i = 0; i < PROFILED; i++)
		sample(&b);
	monitor(fd, MONITOR_LOG_OFF);
	if (stat)
		stop_stat(stat);
	CHECK_EQ(b.err, 0);
}

int main(int argc, char **argv)
{
	bool profiling = argc == 7 && !strcmp(argv[1], "--profile");
	struct blk_dmabuf_features features;
	unsigned int round;
	enum path path;

	if (!profiling && (argc < 2 || argc > 3)) {
		fprintf(stderr, "usage: bench-insns FILE [samples]\n"
			"       bench-insns --profile MONITOR PATH MODE SIZE BATCH\n");
		return 2;
	}
	if (argc == 3)
		nr_samples = atoi(argv[2]);
	CHECK(nr_samples && nr_samples <= MAX_SAMPLES);
	ours = !blkdmabuf_features(&features);
	open_disk();
	make_buffers();
	if (ours) {
		CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
		load_policies();
	}
	if (profiling) {
		profile(argv + 2);
		return 0;
	}
	for (round = 0; round < ROUNDS; round++)
		measure(take_samples);
	measure(count_events);
	out = fopen(argv[1], "we");
	CHECK(out);
	for (path = 0; path < NR_PATHS; path++)
		if (possible(path))
			for_each_batch(path, tell);
	tell_failed();
	fprintf(out, "\n]\n");
	CHECK_EQ(fclose(out), 0);
	return 0;
}
