// SPDX-License-Identifier: GPL-2.0-only
/*
 * What one 4 KiB read costs in instructions of the guest when 1, 2, 4 and 8 CPUs
 * read at a time, by registered buffers, and on a channel that all share or one
 * each.  selftests/bench/bench runs it:
 *
 *   bench-scale FILE [ios]
 *
 * writes rows of JSON to FILE.  Time has to count the instructions of all CPUs.  As
 * in policy-cost.c a thread counts down while the device works, which keeps its CPU
 * busy and is subtracted.  What the CPUs do besides, such as ticks, is in it.
 */
#include <pthread.h>
#include <x86intrin.h>

#include "rig.h"

#define POS		(8 * MIB)
#define MAX_CPUS	8
#define COUNT_DOWN	20000
#define SAMPLES		101

enum how { REGISTERED, SHARED, EACH, NR_HOWS };

static const char *const hows[NR_HOWS] = {
	[REGISTERED]	= "registered",
	[SHARED]	= "dmabuf, one channel",
	[EACH]		= "dmabuf, a channel each",
};

static struct worker {
	pthread_t	thread;
	unsigned int	cpu;
	struct rig	rig;
	uint64_t	steps;
} workers[MAX_CPUS];

static pthread_barrier_t start, end;
static unsigned int nr_ios = 300;
static uint64_t step;
static enum how how;

static void count_down(void)
{
	unsigned long n = COUNT_DOWN;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void read_one(struct worker *w, struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct rig *r = &w->rig;
	struct io_uring_cqe *cqe;

	if (how == REGISTERED)
		io_uring_prep_read_fixed(sqe, 0, r->mem, PAGE, POS, 0);
	else
		blkdmabuf_prep_read(sqe, 0, POS, PAGE, r->slot, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK_EQ(io_uring_submit(ring), 1);
	do {
		count_down();
		w->steps++;
	} while (io_uring_peek_cqe(ring, &cqe));
	CHECK_EQ(cqe->res, PAGE);
	io_uring_cqe_seen(ring, cqe);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int file = how == REGISTERED ? w->rig.bdev : w->rig.chan;
	struct iovec iov = { w->rig.mem, PAGE };
	struct io_uring ring;
	unsigned int i;

	pin(w->cpu);
	CHECK_EQ(io_uring_queue_init(8, &ring, 0), 0);
	CHECK_EQ(io_uring_register_files(&ring, &file, 1), 0);
	CHECK_EQ(io_uring_register_buffers(&ring, &iov, 1), 0);
	for (i = 0; i < 20; i++)
		read_one(w, &ring);
	pthread_barrier_wait(&start);
	w->steps = 0;
	for (i = 0; i < nr_ios; i++)
		read_one(w, &ring);
	pthread_barrier_wait(&end);
	io_uring_queue_exit(&ring);
	return NULL;
}

static void count_down_alone(void)
{
	uint64_t alone[SAMPLES], before, least = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < SAMPLES; i++) {
		before = __rdtsc();
		count_down();
		alone[i] = __rdtsc() - before;
		if (alone[i] < least)
			least = alone[i];
	}
	step = least;
}

static double run(unsigned int nr)
{
	uint64_t begin, ended, steps = 0;
	unsigned int i;

	pthread_barrier_init(&start, NULL, nr + 1);
	pthread_barrier_init(&end, NULL, nr + 1);
	for (i = 0; i < nr; i++)
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, work,
					&workers[i]), 0);
	pthread_barrier_wait(&start);
	begin = __rdtsc();
	pthread_barrier_wait(&end);
	ended = __rdtsc();
	for (i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		steps += workers[i].steps;
	}
	pthread_barrier_destroy(&start);
	pthread_barrier_destroy(&end);
	return (ended - begin - steps * step) * 1.0 / nr / nr_ios;
}

static void set_up(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct rig *r = &workers[i].rig;
		void *mem;

		workers[i].cpu = i;
		r->bdev = open(disk_by_serial("disk0") ?: "disk0",
			       O_RDWR | O_DIRECT);
		CHECK(r->bdev >= 0);
		/* Its own mapping is none that can be registered with a ring. */
		r->dmabuf = blkdmabuf_udmabuf_mapped(PAGE, 0, &mem);
		CHECK(r->dmabuf >= 0);
		r->mem = mem;
		rig_register(r);
		CHECK_EQ(blkdmabuf_map(rig_ctl, r->id), 0);
	}
}

/* One channel with all buffers, or as many as there are workers. */
static void bind_all(unsigned int nr, bool shared)
{
	struct rig *first = &workers[0].rig;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct rig *r = &workers[i].rig;

		if (!shared || !i) {
			rig_bind(r);
			continue;
		}
		r->chan = first->chan;
		r->slot = blkdmabuf_bind(r->chan, r->dmabuf, i, NULL);
		CHECK_EQ(r->slot, i);
	}
}

static void unbind_all(unsigned int nr, bool shared)
{
	unsigned int i;

	for (i = 0; i < (shared ? 1 : nr); i++)
		close(workers[i].rig.chan);
}

int main(int argc, char **argv)
{
	unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN), nr;
	const char *comma = "[\n";
	double insns;
	FILE *out;

	if (argc < 2) {
		fprintf(stderr, "usage: bench-scale FILE [ios]\n");
		return 2;
	}
	if (argc > 2)
		nr_ios = atoi(argv[2]);
	if (cpus > MAX_CPUS)
		cpus = MAX_CPUS;
	CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
	out = fopen(argv[1], "we");
	CHECK(out);
	set_up(cpus);
	count_down_alone();
	for (how = 0; how < NR_HOWS; how++) {
		if (how != REGISTERED)
			bind_all(cpus, how == SHARED);
		for (nr = 1; nr <= cpus; nr *= 2) {
			insns = run(nr);
			printf("# %s, %u CPUs: %.0f\n", hows[how], nr, insns);
			fprintf(out, "%s{\"path\":\"%s\",\"cpus\":%u,"
				"\"insns_per_io\":%.1f}", comma, hows[how], nr,
				insns);
			comma = ",\n";
		}
		if (how != REGISTERED)
			unbind_all(cpus, how == SHARED);
	}
	fprintf(out, "\n]\n");
	CHECK_EQ(fclose(out), 0);
	rig_clean();
	blkdmabuf_ctl_close(rig_ctl);
	return 0;
}
