// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl bench: one measurement.
 *
 * Each thread has a ring of its own and up to @depth I/Os in flight; a lane is
 * a place in the buffer for one of them.  It queues an I/O for every free lane,
 * submits all with the same system call that waits for a batch, and takes what
 * has come.  Paths differ in nothing but the SQE and what is registered with
 * the ring, so that what is compared is the kernel.
 *
 * Setting up and tearing down is not measured: threads meet before the clock
 * starts and after it has stopped.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/nvme_ioctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

/* As in Linux 5.19's header; that of older systems lacks them. */
#ifndef IORING_URING_CMD_FIXED
#define IORING_URING_CMD_FIXED	(1U << 0)
#endif

#define NVME_READ		2
#define NVME_WRITE		1

/* Long enough not to fall asleep while it is measured, in milliseconds. */
#define SQPOLL_IDLE_MS		2000

/**
 * struct worker - a thread
 * @run: the measurement
 * @nr: which thread
 * @ring: its ring
 * @ready: @ring is set up
 * @base: its part of the buffer
 * @lanes: I/Os that its part has room for at different places
 * @began: for each lane when its I/O was submitted, ns
 * @free: lanes without I/O
 * @nr_free: how many these are
 * @next: position of the next I/O, if sequential
 * @seed: of positions
 * @ns: how long it ran
 * @err: what ended it
 * @what: what failed
 */
struct worker {
	struct run		*run;
	unsigned int		nr;
	struct io_uring		ring;
	bool			ready;
	uint64_t		base;
	unsigned int		lanes;
	uint64_t		*began;
	unsigned int		*free;
	unsigned int		nr_free;
	uint64_t		next;
	uint64_t		seed;
	uint64_t		ios;
	uint64_t		ns;
	int			err;
	const char		*what;
	pthread_t		thread;
	uint64_t		hist[HIST_BUCKETS];
};

/**
 * struct run - a measurement
 * @duration: how long, ns
 * @gate: held until it is known whether all threads are there
 * @called_off: they are not
 * @barrier: where they meet
 */
struct run {
	const struct bench_target	*t;
	const struct bench_cell		*cell;
	uint64_t			duration;
	pthread_mutex_t			gate;
	bool				called_off;
	pthread_barrier_t		barrier;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- Latencies ---- */

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int shift, bucket;

	if (ns < HIST_SUB)
		return ns;
	shift = 63 - __builtin_clzll(ns) - 5;
	bucket = (shift + 1) * HIST_SUB + (ns >> shift) - HIST_SUB;
	return bucket < HIST_BUCKETS ? bucket : HIST_BUCKETS - 1;
}

static uint64_t bucket_end(unsigned int bucket)
{
	unsigned int shift = bucket / HIST_SUB;

	if (!shift)
		return bucket;
	return (HIST_SUB + bucket % HIST_SUB + 1ULL) * (1ULL << (shift - 1)) -
	       1;
}

/* No I/O that is in the percentage took longer. */
uint64_t bench_percentile(const uint64_t hist[HIST_BUCKETS], double percent)
{
	uint64_t all = 0, seen = 0;
	unsigned int n;

	for (n = 0; n < HIST_BUCKETS; n++)
		all += hist[n];
	for (n = 0; n < HIST_BUCKETS - 1; n++) {
		seen += hist[n];
		if (seen && seen >= all * percent / 100)
			break;
	}
	return bucket_end(n);
}

/* ---- I/O ---- */

static uint64_t random_next(struct worker *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed;
}

static uint64_t next_position(struct worker *w)
{
	const struct bench_target *t = w->run->t;
	uint32_t size = w->run->cell->size;
	uint64_t places = t->bytes / size, pos;

	if (!t->sequential)
		return random_next(w) % places * size;
	pos = w->next;
	w->next = (pos / size + 1) % places * size;
	return pos;
}

static void prep_passthrough(const struct bench_target *t,
			     struct io_uring_sqe *sqe, uint64_t pos,
			     uint32_t size, char *mem)
{
	uint64_t block = (t->start + pos) / t->block;
	struct nvme_uring_cmd cmd = {
		.opcode		= t->write ? NVME_WRITE : NVME_READ,
		.nsid		= t->nsid,
		.addr		= (uintptr_t)mem,
		.data_len	= size,
		.cdw10		= block,
		.cdw11		= block >> 32,
		.cdw12		= size / t->block - 1,
	};

	/* Twice as large as its type says. */
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = 0;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

static void prep(struct worker *w, struct io_uring_sqe *sqe, unsigned int lane)
{
	const struct bench_target *t = w->run->t;
	uint32_t size = w->run->cell->size;
	uint64_t offset = w->base + (uint64_t)(lane % w->lanes) * size;
	uint64_t pos = next_position(w);
	char *mem = (char *)t->mem + offset;

	switch (w->run->cell->path) {
	case BENCH_STOCK:
		io_uring_prep_rw(t->write ? IORING_OP_WRITE : IORING_OP_READ,
				 sqe, t->fd, mem, size, pos);
		break;
	case BENCH_REGISTERED:
		io_uring_prep_rw(t->write ? IORING_OP_WRITE_FIXED :
				 IORING_OP_READ_FIXED, sqe, 0, mem, size, pos);
		break;
	case BENCH_PASSTHROUGH:
		prep_passthrough(t, sqe, pos, size, mem);
		break;
	default:
		(t->write ? blkdmabuf_prep_write : blkdmabuf_prep_read)
			(sqe, 0, pos, size, t->slot, offset, 0);
		break;
	}
	/* All but the first use file 0 of those registered. */
	if (w->run->cell->path != BENCH_STOCK)
		sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = lane;
}

static void failed(struct worker *w, const char *what, int err)
{
	if (w->err)
		return;
	w->err = err;
	w->what = what;
}

/* NVMe passthrough says 0, or the status of the device as a positive number. */
static void check_result(struct worker *w, int res)
{
	const struct bench_cell *cell = w->run->cell;
	int want = cell->path == BENCH_PASSTHROUGH ? 0 : (int)cell->size;

	if (res != want)
		failed(w, w->run->t->write ? "write" : "read",
		       res < 0 ? res : -EIO);
}

static void fill(struct worker *w)
{
	struct io_uring_sqe *sqe;
	unsigned int lane;
	uint64_t now;

	if (!w->nr_free)
		return;
	now = now_ns();
	while (w->nr_free) {
		sqe = io_uring_get_sqe(&w->ring);
		if (!sqe)
			break;	/* SQPOLL has not taken the last ones yet */
		lane = w->free[--w->nr_free];
		prep(w, sqe, lane);
		w->began[lane] = now;
	}
}

/* Takes what has come, and returns when that was. */
static uint64_t reap(struct worker *w)
{
	uint64_t now = now_ns();
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&w->ring, head, cqe) {
		unsigned int lane = cqe->user_data;

		check_result(w, cqe->res);
		w->hist[bucket_of(now - w->began[lane])]++;
		w->free[w->nr_free++] = lane;
		n++;
	}
	io_uring_cq_advance(&w->ring, n);
	w->ios += n;
	return now;
}

/* Returns false if the ring is of no use any more. */
static bool submit_and_wait(struct worker *w, unsigned int nr)
{
	int ret = io_uring_submit_and_wait(&w->ring, nr);

	if (ret >= 0 || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY)
		return true;
	failed(w, "submit I/O", ret);
	return false;
}

static void measure(struct worker *w)
{
	const struct bench_cell *cell = w->run->cell;
	uint64_t start = now_ns(), end = start + w->run->duration, now = start;

	while (now < end && !w->err && !*w->run->t->stop) {
		fill(w);
		if (!submit_and_wait(w, cell->batch))
			break;
		now = reap(w);
	}
	w->ns = now - start;
}

/* What is in flight uses the buffer: see it home. */
static void drain(struct worker *w)
{
	uint64_t ios = w->ios;

	while (w->nr_free < w->run->cell->depth && submit_and_wait(w, 1))
		reap(w);
	w->ios = ios;
}

/* ---- Rings ---- */

static unsigned int ring_flags(const struct bench_target *t,
			       enum bench_path path)
{
	unsigned int flags = 0;

	if (path == BENCH_PASSTHROUGH)
		flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	if (t->mode == BENCH_POLLED)
		flags |= IORING_SETUP_IOPOLL;
	if (t->mode == BENCH_SQPOLL)
		flags |= IORING_SETUP_SQPOLL;
	else
		/* Completions run where they are waited for: no IPIs. */
		flags |= IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN;
	return flags;
}

static int make_ring(struct worker *w)
{
	const struct bench_cell *cell = w->run->cell;
	struct io_uring_params params = {
		.flags = ring_flags(w->run->t, cell->path),
		.sq_thread_idle = SQPOLL_IDLE_MS,
	};
	int ret;

	ret = io_uring_queue_init_params(cell->depth, &w->ring, &params);
	if (ret != -EINVAL || !(params.flags & IORING_SETUP_DEFER_TASKRUN))
		return ret;
	/* Linux before 6.1 does without. */
	params = (struct io_uring_params) {
		.flags = ring_flags(w->run->t, cell->path) &
			 ~(IORING_SETUP_SINGLE_ISSUER |
			   IORING_SETUP_DEFER_TASKRUN),
	};
	return io_uring_queue_init_params(cell->depth, &w->ring, &params);
}

static int register_with_ring(struct worker *w)
{
	const struct bench_target *t = w->run->t;
	struct iovec iov = { t->mem, t->mem_size };
	enum bench_path path = w->run->cell->path;
	int fd = t->chan, ret = 0;

	if (path == BENCH_STOCK)
		return 0;
	if (path == BENCH_REGISTERED || path == BENCH_PASSTHROUGH) {
		fd = path == BENCH_REGISTERED ? t->fd : t->ng;
		ret = io_uring_register_buffers(&w->ring, &iov, 1);
	}
	return ret ?: io_uring_register_files(&w->ring, &fd, 1);
}

static void pin(const struct worker *w)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(w->run->t->cpus[w->nr], &set);
	/* Where that is not permitted, the numbers scatter more. */
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void set_up(struct worker *w)
{
	const struct bench_target *t = w->run->t;
	const struct bench_cell *cell = w->run->cell;
	uint64_t part = t->mem_size / t->threads / cell->size * cell->size;
	unsigned int i;
	int ret;

	pin(w);
	w->base = part * w->nr;
	w->lanes = part / cell->size;
	w->next = t->bytes / t->threads * w->nr / cell->size * cell->size;
	/* The same positions each time. */
	w->seed = 0x9e3779b97f4a7c15ULL * (w->nr + 1);
	w->began = calloc(cell->depth, sizeof(*w->began));
	w->free = calloc(cell->depth, sizeof(*w->free));
	if (!w->began || !w->free) {
		failed(w, "start", -ENOMEM);
		return;
	}
	for (i = 0; i < cell->depth; i++)
		w->free[w->nr_free++] = i;
	ret = make_ring(w);
	if (ret)
		failed(w, "make a ring", ret);
	w->ready = !ret;
	ret = ret ?: register_with_ring(w);
	if (ret)
		failed(w, "register buffer and file with a ring", ret);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->run->gate);
	pthread_mutex_unlock(&w->run->gate);
	if (w->run->called_off)
		return NULL;
	set_up(w);
	pthread_barrier_wait(&w->run->barrier);
	/* Now the clocks of the process are read. */
	pthread_barrier_wait(&w->run->barrier);
	if (!w->err)
		measure(w);
	pthread_barrier_wait(&w->run->barrier);
	pthread_barrier_wait(&w->run->barrier);
	if (w->ready) {
		drain(w);
		io_uring_queue_exit(&w->ring);
	}
	free(w->began);
	free(w->free);
	return NULL;
}

/* ---- All threads ---- */

struct clocks {
	uint64_t	cpu_ns;
	uint64_t	switches;
	int64_t		interrupts;
};

static uint64_t timeval_ns(struct timeval tv)
{
	return tv.tv_sec * 1000000000ULL + tv.tv_usec * 1000ULL;
}

static struct clocks read_clocks(const struct bench_target *t)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (struct clocks) {
		.cpu_ns = timeval_ns(ru.ru_utime) + timeval_ns(ru.ru_stime),
		.switches = ru.ru_nvcsw + ru.ru_nivcsw,
		.interrupts = *t->controller ?
			      trace_interrupts(t->controller) : -1,
	};
}

static void collect(struct worker *w, struct bench_sample *sample)
{
	unsigned int n;

	if (w->err && !sample->err) {
		sample->err = w->err;
		sample->what = w->what;
	}
	sample->ios += w->ios;
	sample->ns += w->ns / w->run->t->threads;
	for (n = 0; n < HIST_BUCKETS; n++)
		sample->hist[n] += w->hist[n];
}

static void run_threads(struct run *run, struct worker *workers,
			struct bench_sample *sample)
{
	struct clocks before, after;
	unsigned int i;

	pthread_barrier_wait(&run->barrier);
	before = read_clocks(run->t);
	pthread_barrier_wait(&run->barrier);
	pthread_barrier_wait(&run->barrier);
	after = read_clocks(run->t);
	pthread_barrier_wait(&run->barrier);
	for (i = 0; i < run->t->threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (i = 0; i < run->t->threads; i++)
		collect(&workers[i], sample);
	sample->cpu_ns = after.cpu_ns - before.cpu_ns;
	sample->switches = after.switches - before.switches;
	sample->interrupts = before.interrupts < 0 ? -1 :
			     after.interrupts - before.interrupts;
}

/* All of them, or none and -errno. */
static int start_threads(struct run *run, struct worker *workers)
{
	unsigned int i;
	int err = 0;

	pthread_mutex_lock(&run->gate);
	for (i = 0; i < run->t->threads && !err; i++) {
		workers[i].run = run;
		workers[i].nr = i;
		err = pthread_create(&workers[i].thread, NULL, work,
				     &workers[i]);
	}
	run->called_off = err;
	pthread_mutex_unlock(&run->gate);
	/* The last one is not there. */
	while (err && --i)
		pthread_join(workers[i - 1].thread, NULL);
	return -err;
}

void bench_run(const struct bench_target *t, const struct bench_cell *cell,
	       double seconds, struct bench_sample *sample)
{
	struct run run = {
		.t = t, .cell = cell, .duration = seconds * 1e9,
		.gate = PTHREAD_MUTEX_INITIALIZER,
	};
	struct worker *workers = calloc(t->threads, sizeof(*workers));

	memset(sample, 0, sizeof(*sample));
	/* The main thread is the one more. */
	pthread_barrier_init(&run.barrier, NULL, t->threads + 1);
	sample->err = workers ? start_threads(&run, workers) : -ENOMEM;
	if (sample->err)
		sample->what = "start a thread";
	else
		run_threads(&run, workers, sample);
	pthread_barrier_destroy(&run.barrier);
	free(workers);
}
