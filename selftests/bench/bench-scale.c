// SPDX-License-Identifier: GPL-2.0-only
/*
 * 4 KiB reads while 1, 2, 4 and 8 CPUs read at a time, by registered buffers, and on
 * a channel that all share or one each.  selftests/bench/bench runs it:
 *
 *   bench-scale MONITOR DIR [ios]
 *
 * QEMU, asked by its monitor, writes the instructions that it runs meanwhile to a log
 * of each cell in DIR, and what it is of is in DIR/cells.  Taking the time, and
 * subtracting what threads wait, tells nothing: CPUs take turns that are a hundred
 * times longer than what a read costs.
 */
#include <pthread.h>

#include "rig.h"

#define POS		(8 * MIB)
#define MAX_CPUS	8
#define WARM_UP		20

/* What the monitor is told takes effect when QEMU comes to it, and nobody says when. */
#define MONITOR_US	1000000

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
} workers[MAX_CPUS];

/* Of workers and main thread: warm, log on, log to be off, off. */
static pthread_barrier_t all;
static unsigned int nr_ios = 160;	/* of a cell */
static unsigned int nr_readers;
static enum how how;
static int monitor_fd;
static const char *dir;
static FILE *cells;

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
	/* In user space, which is not counted. */
	while (io_uring_peek_cqe(ring, &cqe))
		;
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
	for (i = 0; i < WARM_UP; i++)
		read_one(w, &ring);
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	for (i = 0; i < nr_ios / nr_readers; i++)
		read_one(w, &ring);
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	io_uring_queue_exit(&ring);
	return NULL;
}

static void monitor(const char *commands)
{
	CHECK_EQ(write(monitor_fd, commands, strlen(commands)),
		 (ssize_t)strlen(commands));
	usleep(MONITOR_US);
}

static void run(unsigned int nr)
{
	char command[512];
	unsigned int i;

	nr_readers = nr;
	pthread_barrier_init(&all, NULL, nr + 1);
	for (i = 0; i < nr; i++)
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, work,
					&workers[i]), 0);
	snprintf(command, sizeof(command), "logfile %s/%d-%u.log\n"
		 MONITOR_LOG_ON, dir, how, nr);
	pthread_barrier_wait(&all);
	monitor(command);
	pthread_barrier_wait(&all);
	pthread_barrier_wait(&all);
	monitor(MONITOR_LOG_OFF);
	pthread_barrier_wait(&all);
	for (i = 0; i < nr; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&all);
	fprintf(cells, "%d-%u.log\t%u\t%u\t%s\n", how, nr, nr, nr_ios, hows[how]);
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
	char path[512];

	if (argc < 3) {
		fprintf(stderr, "usage: bench-scale MONITOR DIR [ios]\n");
		return 2;
	}
	monitor_fd = open(argv[1], O_RDWR | O_CLOEXEC);
	CHECK(monitor_fd >= 0);
	dir = argv[2];
	if (argc > 3)
		nr_ios = atoi(argv[3]);
	if (cpus > MAX_CPUS)
		cpus = MAX_CPUS;
	CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
	snprintf(path, sizeof(path), "%s/cells", dir);
	cells = fopen(path, "we");
	CHECK(cells);
	set_up(cpus);
	for (how = 0; how < NR_HOWS; how++) {
		if (how != REGISTERED)
			bind_all(cpus, how == SHARED);
		for (nr = 1; nr <= cpus; nr *= 2)
			run(nr);
		if (how != REGISTERED)
			unbind_all(cpus, how == SHARED);
	}
	CHECK_EQ(fclose(cells), 0);
	rig_clean();
	blkdmabuf_ctl_close(rig_ctl);
	return 0;
}
