// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who takes a buffer away waits for the device and for nothing else: not for
 * I/O that is throttled, suspended with a stack, frozen with a file system,
 * short of tags, or held back by a controller that cannot finish its reset.
 * All of that holds no mapping, and goes on with a new one.
 *
 * vm: files
 * log-allow: nvme nvme[0-9]*: (resetting controller|[0-9/]+ default) -- tests reset one
 * log-allow: nvme.*timeout, completion polled -- a test holds interrupts back
 */
#include <pthread.h>
#include <sys/sysmacros.h>

#include "fs.h"
#include "mover.h"
#include "policy.h"

#define BUF	MIB
#define LEN	(64 * KIB)
#define NR	8U

/*
 * What a move may take that waits for a grace period and for a device that is
 * not slow.  Several are made: this machine may be busy.
 */
#define QUICK_US	200000
#define MOVES		5

/* A rig whose buffer moves: on what r->bdev is. */
static void up(struct rig *r)
{
	r->size = BUF;
	r->dmabuf = mover_create(BUF, 0);
	r->mem = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, r->dmabuf,
		      0);
	CHECK(r->mem != MAP_FAILED);
	memset(r->mem, POISON, BUF);
	rig_register(r);
	rig_bind(r);
}

static void submit_all(struct rig *r, unsigned int op, uint64_t pos)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		rig_sqe(r, op, pos + i * LEN, LEN, i * LEN)->user_data = i;
	CHECK_EQ(io_uring_submit(&rig_uring), NR);
}

static unsigned int completed(void)
{
	return io_uring_cq_ready(&rig_uring);
}

/*
 * Moves return, at least one of them soon, while some I/O is still pending.
 * With nothing mapped there is nothing to wait for: @map before each.
 */
static void check_moves(struct rig *r, unsigned int map)
{
	uint64_t start, us, best = ~0ULL, worst = 0;
	unsigned int i;

	for (i = 0; i < MOVES; i++) {
		if (map)
			CHECK_EQ(blkdmabuf_map(rig_ctl, r->id), 0);
		start = now_us();
		mover_move(r->dmabuf);
		us = now_us() - start;
		if (us < best)
			best = us;
		if (us > worst)
			worst = us;
	}
	printf("# moves took %llu to %llu us, %u of %u I/Os pending\n",
	       (unsigned long long)best, (unsigned long long)worst,
	       NR - completed(), NR);
	CHECK(completed() < NR);
	CHECK(best < QUICK_US);
}

static void reap_all(void)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		CHECK_EQ(rig_reap().res, LEN);
}

static void check_end(struct rig *r)
{
	struct mover_stat stat = mover_stat(r->dmabuf);

	CHECK_EQ(rig_info(r).errors, 0);
	CHECK_EQ(stat.late_writes, 0);
	CHECK_EQ(stat.moves, MOVES);
	CHECK(stat.maps > 1);
}

/* ---- throttled ---- */

/* To @limit, such as rbps=1048576 or wbps=max, for those in the cgroup. */
static void throttle(struct rig *r, const char *limit)
{
	char line[128];
	struct stat st;

	CHECK_EQ(fstat(r->bdev, &st), 0);
	snprintf(line, sizeof(line), "%u:%u %s", major(st.st_rdev),
		 minor(st.st_rdev), limit);
	put("/sys/fs/cgroup/invalidate/io.max", line);
}

static void throttled(unsigned int op, const char *slow, const char *fast)
{
	struct rig r = {};

	r.bdev = rig_open_disk("disk2", O_RDWR | O_DIRECT);
	put("/sys/fs/cgroup/cgroup.subtree_control", "+io");
	enter_cgroup("invalidate");
	if (access("/sys/fs/cgroup/invalidate/io.max", F_OK))
		tap_skip("io.max");
	rig_fill_disk(&r, 0, NR * LEN, 1);
	up(&r);
	if (op == WRITE_CMD)
		rig_fill(&r, 0, 0, NR * LEN, 2);
	/* A second for each. */
	throttle(&r, slow);
	submit_all(&r, op, 0);
	sleep_ms(500);
	check_moves(&r, true);
	CHECK(completed() < NR - 2);
	throttle(&r, fast);
	reap_all();
	check_end(&r);
	if (op == WRITE_CMD)
		CHECK_EQ(rig_check_disk(&r, 0, NR * LEN, 2), 0);
	else
		CHECK_EQ(rig_check(&r, 0, 0, NR * LEN, 1), 0);
}

TEST(reads_that_are_throttled_are_not_waited_for)
{
	throttled(READ_CMD, "rbps=65536", "rbps=max");
}

TEST(writes_that_are_throttled_are_not_waited_for)
{
	throttled(WRITE_CMD, "wbps=65536", "wbps=max");
}

/* ---- suspended ---- */

static int dm_create(const char *table)
{
	char path[64];
	FILE *f;
	int nr, fd;

	setenv("DM_DISABLE_UDEV", "1", 1);
	CHECK_EQ(tool("dmsetup create invalidate --table '%s'", table), 0);
	f = popen("dmsetup info -c --noheadings -o minor invalidate", "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%d", &nr), 1);
	pclose(f);
	snprintf(path, sizeof(path), "/dev/dm-%d", nr);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

TEST(a_suspended_stack_is_not_waited_for)
{
	const char *disk = disk_by_serial("disk2");
	struct rig r = {};
	char table[128];

	if (!disk)
		tap_skip("disk2");
	snprintf(table, sizeof(table), "0 %llu linear %s 2048",
		 64 * MIB / 512, disk);
	r.bdev = dm_create(table);
	rig_fill_disk(&r, 0, NR * LEN, 1);
	up(&r);
	/* Finds the device below, and maps. */
	CHECK_EQ(rig_io(&r, READ_CMD, 0, LEN, 0), LEN);
	memset(r.mem, POISON, BUF);
	CHECK_EQ(tool("dmsetup suspend --noflush invalidate"), 0);
	submit_all(&r, READ_CMD, 0);
	sleep_ms(300);
	CHECK_EQ(completed(), 0);
	check_moves(&r, true);
	CHECK_EQ(completed(), 0);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
	CHECK_EQ(tool("dmsetup resume invalidate"), 0);
	reap_all();
	CHECK_EQ(rig_check(&r, 0, 0, NR * LEN, 1), 0);
	check_end(&r);
	rig_down_file(&r);
	CHECK_SOON(!tool("dmsetup remove invalidate"));
}

/* ---- frozen ---- */

TEST(writes_to_a_frozen_file_system_are_not_waited_for)
{
	struct fs fs = {
		.type = "ext4", .serial = "disk2", .make = "-b 4096",
	};
	struct rig r = {};
	int dir;

	fs_make(&fs);
	r.bdev = fs_open(&fs, "x", O_RDWR | O_CREAT | O_DIRECT);
	rig_fill_disk(&r, 0, NR * LEN, 1);
	up(&r);
	rig_fill(&r, 0, 0, NR * LEN, 2);
	dir = open(fs.dir, O_RDONLY | O_DIRECTORY);
	CHECK_EQ(ioctl(dir, FIFREEZE, 0), 0);
	submit_all(&r, WRITE_CMD, 0);
	sleep_ms(300);
	CHECK_EQ(completed(), 0);
	check_moves(&r, true);
	CHECK_EQ(completed(), 0);
	CHECK_EQ(ioctl(dir, FITHAW, 0), 0);
	close(dir);
	reap_all();
	CHECK_EQ(rig_check_disk(&r, 0, NR * LEN, 2), 0);
	check_end(&r);
	rig_down_file(&r);
	fs_umount(&fs);
}

/* ---- no tags ---- */

static void disk_attr(const char *serial, const char *attr, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s",
		 disk_by_serial(serial) + strlen("/dev/"), attr);
	put(path, value);
}

/*
 * disk3 takes 100 ms.  With four tags, 64 I/Os take more than a second: a move
 * waits for those that have one.
 */
TEST(what_waits_for_a_tag_is_not_waited_for)
{
	uint64_t start, us, all;
	struct rig r = {};
	unsigned int i;

	r.bdev = rig_open_disk("disk3", O_RDWR | O_DIRECT);
	disk_attr("disk3", "nr_requests", "4");
	up(&r);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	all = now_us();
	for (i = 0; i < 64; i++)
		rig_sqe(&r, READ_CMD, i * 4096, 4096, i * 4096);
	CHECK_EQ(io_uring_submit(&rig_uring), 64);
	sleep_ms(50);
	start = now_us();
	mover_move(r.dmabuf);
	us = now_us() - start;
	i = completed();
	printf("# the move took %llu us, %u of 64 I/Os were pending\n",
	       (unsigned long long)us, 64 - i);
	CHECK(i < 32);
	for (i = 0; i < 64; i++)
		CHECK_EQ(rig_reap().res, 4096);
	all = now_us() - all;
	printf("# all took %llu us\n", (unsigned long long)all);
	disk_attr("disk3", "nr_requests", "1023");
	CHECK_EQ(bytes_not(r.mem, 64 * 4096, 0), 0);
	CHECK(us < all / 2);
	CHECK_EQ(mover_stat(r.dmabuf).late_writes, 0);
}

/* ---- a reset that does not come to its end ---- */

/*
 * The first MSI-X vector is that of the admin queue.  As long as it is masked
 * in the device, which the driver does not know, the reset waits for an answer.
 */
struct gag {
	volatile uint32_t	*control;
	volatile uint32_t	*cc;		/* of the controller, to disable it */
	volatile bool		stuck;	/* the driver touches it no more */
	volatile bool		end;
	uint64_t		until_ms;
	pthread_t		thread;
	pthread_t		reset;
	char			ctrl[64];	/* in sysfs */
};

static bool gag_goes_on(const struct gag *g)
{
	/* Whatever goes wrong, the reset ends. */
	return !g->end && now_ms() < g->until_ms;
}

static void *gag_run(void *arg)
{
	struct gag *g = arg;

	/* The driver unmasks it, somewhere in the reset. */
	while (gag_goes_on(g)) {
		*g->control |= 1;
		if (g->stuck)
			sleep_ms(1);
	}
	*g->control &= ~1;
	return NULL;
}

static uint32_t pci_u32(int fd, unsigned int at)
{
	uint32_t value;

	CHECK_EQ(pread(fd, &value, 4, at), 4);
	return value;
}

static volatile uint32_t *pci_register(const char *pci, unsigned int bar,
				       unsigned int offset)
{
	char path[256];
	void *mem;
	int fd;

	snprintf(path, sizeof(path), "%s/resource%u", pci, bar);
	fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	CHECK(fd >= 0);
	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   offset / PAGE * PAGE);
	if (mem == MAP_FAILED)
		tap_skip("access to registers of PCI devices");
	close(fd);
	return (volatile uint32_t *)((char *)mem + offset % PAGE);
}

/* Where the vector table of a PCI device is, from its configuration space. */
static volatile uint32_t *vector_control(const char *pci)
{
	unsigned int at, offset;
	char path[256];
	uint32_t head;
	int fd;

	snprintf(path, sizeof(path), "%s/config", pci);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	for (at = pci_u32(fd, 0x34) & 0xff; at; at = head >> 8 & 0xff) {
		head = pci_u32(fd, at);
		if ((head & 0xff) == 0x11)
			break;
	}
	if (!at)
		tap_skip("MSI-X");
	offset = pci_u32(fd, at + 4);
	close(fd);
	/* Address, address, data, control. */
	return pci_register(pci, offset & 7, (offset & ~7U) + 12);
}

static void gag_start(struct gag *g, const char *serial)
{
	struct sched_param first = { .sched_priority = 1 };
	char pci[128];

	memset(g, 0, sizeof(*g));
	snprintf(g->ctrl, sizeof(g->ctrl), "/sys/block/%s/device",
		 disk_by_serial(serial) + strlen("/dev/"));
	snprintf(pci, sizeof(pci), "%s/device", g->ctrl);
	g->control = vector_control(pci);
	g->cc = pci_register(pci, 0, 0x14);
	g->until_ms = now_ms() + 30000;
	CHECK_EQ(pthread_create(&g->thread, NULL, gag_run, g), 0);
	CHECK_EQ(pthread_setschedparam(g->thread, SCHED_FIFO, &first), 0);
}

static bool state_is(const struct gag *g, const char *want)
{
	char path[128], have[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/state", g->ctrl);
	f = fopen(path, "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%31s", have), 1);
	fclose(f);
	return !strcmp(have, want);
}

/* Comes back when the reset is over. */
static void *reset_run(void *arg)
{
	struct gag *g = arg;
	char path[128];

	snprintf(path, sizeof(path), "%s/reset_controller", g->ctrl);
	put(path, "1");
	return NULL;
}

static void gag_end(struct gag *g)
{
	g->end = true;
	CHECK_EQ(pthread_join(g->thread, NULL), 0);
	CHECK_EQ(pthread_join(g->reset, NULL), 0);
	CHECK_SOON(state_is(g, "live"));
}

/*
 * Begin a reset that gets stuck in @state.  The driver may have been quicker
 * than the gag; then it is over, and what was submitted has come back.
 */
static bool reset_sticks(struct gag *g, const char *state)
{
	uint64_t end = now_ms() + 5000;

	/*
	 * CC.EN = 0 behind the driver's back: what the controller had it forgets,
	 * and it is not asked to delete its queues.
	 */
	if (!strcmp(state, "connecting"))
		*g->cc &= ~1;
	CHECK_EQ(pthread_create(&g->reset, NULL, reset_run, g), 0);
	while (!state_is(g, state) && now_ms() < end)
		sleep_ms(1);
	g->stuck = true;
	sleep_ms(500);
	if (state_is(g, state))
		return true;
	gag_end(g);
	return false;
}

/*
 * @before of the I/Os are with the device when the reset begins, which gives
 * them back to be issued again.  The rest comes when it is stuck.
 */
static void stuck(const char *serial, unsigned int before, const char *state)
{
	/* disk3 keeps nothing. */
	bool zeros = !strcmp(serial, "disk3");
	unsigned int i, early, tries = 0;
	struct rig r = {};
	struct gag g;

	r.bdev = rig_open_disk(serial, O_RDWR | O_DIRECT);
	if (!zeros)
		rig_fill_disk(&r, 0, NR * LEN, 1);
	up(&r);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	for (;;) {
		gag_start(&g, serial);
		for (i = 0; i < before; i++)
			rig_sqe(&r, READ_CMD, i * LEN, LEN, i * LEN);
		if (before)
			CHECK_EQ(io_uring_submit(&rig_uring), before);
		if (reset_sticks(&g, state))
			break;
		CHECK(++tries < 10);
		for (i = 0; i < before; i++)
			CHECK_EQ(rig_reap().res, LEN);
	}
	/* It may have answered some before. */
	early = before ? completed() : 0;
	CHECK(!before || early < before);

	for (; i < NR; i++)
		rig_sqe(&r, READ_CMD, i * LEN, LEN, i * LEN);
	CHECK_EQ(io_uring_submit(&rig_uring), NR - before);
	sleep_ms(200);
	CHECK_EQ(completed(), early);
	check_moves(&r, true);
	CHECK_EQ(completed(), early);
	/* What takes it away for good does not wait either. */
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	CHECK(state_is(&g, state));
	CHECK_EQ(poison_check(r.mem + before * LEN, BUF - before * LEN, NULL),
		 0);

	gag_end(&g);
	reap_all();
	if (zeros)
		CHECK_EQ(bytes_not(r.mem, NR * LEN, 0), 0);
	else
		CHECK_EQ(rig_check(&r, 0, 0, NR * LEN, 1), 0);
	check_end(&r);
}

/* Queues are being deleted, and new I/O waits for the device. */
TEST(IO_that_waits_for_a_stuck_reset_is_not_waited_for)
{
	stuck("disk2", 0, "resetting");
}

/* The driver asks the device who it is. */
TEST(IO_that_waits_for_a_stuck_controller_is_not_waited_for)
{
	stuck("disk2", 0, "connecting");
}

/* disk3 takes 100 ms, so what was issued is there when the reset comes. */
TEST(IO_that_a_stuck_reset_took_back_is_not_waited_for)
{
	stuck("disk3", NR / 2, "connecting");
}

/* What a test that failed may have left: each answer would take a minute. */
static void ungag(void)
{
	static const char * const serials[] = { "disk2", "disk3" };
	char pci[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(serials); i++) {
		const char *disk = disk_by_serial(serials[i]);

		if (!disk)
			continue;
		snprintf(pci, sizeof(pci), "/sys/block/%s/device/device",
			 disk + strlen("/dev/"));
		*vector_control(pci) &= ~1;
	}
}

static void clean_up(void)
{
	pid_t pid = fork();

	if (!pid) {
		ungag();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	fs_clear(NULL, NULL);
	rig_clean();
	if (!access("/dev/mapper/invalidate", F_OK) &&
	    (system("dmsetup resume invalidate") ||
	     system("dmsetup remove -f invalidate")))
		printf("# the stack is still there\n");
}

int main(int argc, char **argv)
{
	return rig_main_clean(argc, argv, clean_up);
}
