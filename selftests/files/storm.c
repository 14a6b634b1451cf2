// SPDX-License-Identifier: GPL-2.0-only
/*
 * A buffer that is moved as often as it can be, a thousand times a second at
 * most, under 64 reads and writes in flight: I/O goes on, no byte is wrong, and
 * nobody sees an error.  Each lane writes, reads back and compares; DMA to
 * where the buffer was before a move would be lost, and DMA from there would
 * find poison.  A move waits for a grace period, so there are 50 to 100 a
 * second.
 *
 * STORM_SECONDS is how long each test takes, 60 unless it is set, 10 on the
 * debug kernel; STORM_RATE is moves a second.
 *
 * vm: files timeout=900
 */
#include "fs.h"
#include "mover.h"

#define LANES		64
#define MOST		4096ULL
/* A lane of its own, across page borders. */
#define LANE		(MOST + 512)
/* Of the disk or file, for each lane. */
#define AREA		(64 * KIB)

struct lane {
	uint64_t	pos;
	uint32_t	len;
	uint64_t	offset;
	uint64_t	seed;
	bool		reads;
};

static struct rig r;
static struct lane lanes[LANES];
static uint64_t reads, writes, longest_us, started[LANES];

static unsigned int env(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

static bool slow_kernel(void)
{
	return !access("/sys/kernel/debug/dma-api", F_OK) ||
	       !access("/proc/lockdep", F_OK);
}

static unsigned int seconds(void)
{
	unsigned int s = env("STORM_SECONDS", slow_kernel() ? 10 : 60);

	/* TAP_TIMEOUT is for what takes no time of its own. */
	alarm(tap_timeout() + 2 * s);
	return s;
}

/* ---- lanes ---- */

static void start(unsigned int nr, uint64_t base)
{
	struct lane *lane = &lanes[nr];
	uint32_t unit = r.limits.write_block_size;
	uint32_t align = r.limits.dma_alignment;

	if (!lane->reads) {
		lane->len = (1 + rand() % (MOST / unit)) * unit;
		lane->pos = base + nr * AREA +
			    rand() % ((AREA - lane->len) / unit + 1) * unit;
		lane->seed++;
	}
	lane->offset = nr * LANE +
		       rand() % ((LANE - lane->len) / align + 1) * align;
	memset(r.mem + nr * LANE, POISON, LANE);
	if (!lane->reads)
		rig_fill(&r, lane->offset, lane->pos, lane->len,
			 lane->seed * LANES + nr);
	started[nr] = now_us();
	rig_sqe(&r, lane->reads ? READ_CMD : WRITE_CMD, lane->pos, lane->len,
		lane->offset)->user_data = nr;
}

static void finish(struct rig_done done)
{
	struct lane *lane = &lanes[done.user];
	uint64_t base = done.user * LANE, us;
	uint64_t end = lane->offset + lane->len;

	us = now_us() - started[done.user];
	if (us > longest_us)
		longest_us = us;
	if (done.res != (int)lane->len)
		tap_fail(__FILE__, __LINE__, "%s of %u at %llu: %d%s",
			 lane->reads ? "read" : "write", lane->len,
			 (unsigned long long)lane->pos, done.res,
			 tap_errno(done.res));
	if (rig_check(&r, lane->offset, lane->pos, lane->len,
		      lane->seed * LANES + done.user))
		tap_fail(__FILE__, __LINE__,
			 "%s of %u at %llu: wrong bytes, %u as before the I/O, %u as a move leaves them",
			 lane->reads ? "read" : "write", lane->len,
			 (unsigned long long)lane->pos,
			 lane->len - (unsigned int)
			 poison_check(r.mem + lane->offset, lane->len, NULL),
			 lane->len - (unsigned int)
			 bytes_not(r.mem + lane->offset, lane->len,
				   MOVER_POISON));
	/* And nothing else of the lane. */
	CHECK_EQ(poison_check(r.mem + base, lane->offset - base, NULL), 0);
	CHECK_EQ(poison_check(r.mem + end, base + LANE - end, NULL), 0);
	if (lane->reads)
		reads++;
	else
		writes++;
	lane->reads = !lane->reads;
}

/* It counts as hung when nothing at all comes back for so long. */
static struct rig_done reap(void)
{
	struct __kernel_timespec limit = { .tv_sec = 60 };
	struct io_uring_cqe *cqe;
	struct rig_done done;
	int ret;

	do {
		ret = io_uring_submit_and_wait_timeout(&rig_uring, &cqe, 1,
						       &limit, NULL);
	} while (ret == -EINTR);
	if (ret == -ETIME)
		tap_fail(__FILE__, __LINE__, "no I/O ends any more");
	CHECK(ret >= 0);
	done = (struct rig_done) { cqe->user_data, cqe->res };
	io_uring_cqe_seen(&rig_uring, cqe);
	CHECK(done.user < LANES);
	return done;
}

static void run(uint64_t base, unsigned int secs)
{
	uint64_t end = now_ms() + secs * 1000ULL;
	struct rig_done done;
	unsigned int i, busy = LANES;

	for (i = 0; i < LANES; i++)
		start(i, base);
	while (busy) {
		done = reap();
		finish(done);
		if (now_ms() < end)
			start(done.user, base);
		else
			busy--;
	}
}

/* ---- the storm ---- */

static void use_mover(void)
{
	int chan = r.chan;

	if (r.mem) {
		munmap(r.mem, r.size);
		close(r.dmabuf);
	}
	r.size = ALIGN(LANES * LANE, PAGE);
	r.dmabuf = mover_create(r.size, MOVER_SHUFFLE);
	r.mem = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     r.dmabuf, 0);
	CHECK(r.mem != MAP_FAILED);
	rig_register(&r);
	rig_bind(&r);
	if (chan > 0)
		close(chan);
}

static void storm(uint64_t base, unsigned int devices)
{
	unsigned int secs = seconds();
	struct blk_dmabuf_info info;
	struct mover_stat stat;

	use_mover();
	srand(secs);
	mover_storm(r.dmabuf, env("STORM_RATE", 1000));
	run(base, secs);
	mover_storm(r.dmabuf, 0);
	stat = mover_stat(r.dmabuf);
	info = rig_info(&r);
	printf("# %u s: %llu reads, %llu writes, %llu retries, the longest I/O took %llu ms\n",
	       secs, (unsigned long long)reads, (unsigned long long)writes,
	       (unsigned long long)info.retries,
	       (unsigned long long)longest_us / 1000);
	printf("# %llu moves, %llu maps, an invalidation took %llu us, the longest %llu us\n",
	       (unsigned long long)stat.moves, (unsigned long long)stat.maps,
	       (unsigned long long)(stat.total_ns / (stat.moves ?: 1) / 1000),
	       (unsigned long long)stat.max_ns / 1000);
	CHECK_EQ(info.errors, 0);
	CHECK_EQ(info.devices, devices);
	CHECK(info.retries > 0);
	CHECK(info.invalidations > 0);
	CHECK_EQ(stat.late_writes, 0);
	CHECK_EQ(stat.pins, 0);
	/* Without KVM, beside other load, both go on all the same. */
	CHECK(stat.moves > secs * 2);
	CHECK(reads + writes > secs * 10);
	CHECK_EQ(info.reads, reads);
	CHECK_EQ(info.writes, writes);
}

TEST(a_disk_serves_a_buffer_in_a_storm)
{
	r.bdev = rig_open_disk("disk2", O_RDWR | O_DIRECT);
	storm(64 * MIB, 1);
}

TEST(a_file_serves_a_buffer_in_a_storm)
{
	struct fs fs = {
		.type = "ext4", .serial = "disk2", .make = "-b 4096",
	};

	fs_make(&fs);
	r.bdev = fs_open(&fs, "x", O_RDWR | O_CREAT | O_DIRECT);
	/* Holes to fill at first, and blocks to overwrite later on. */
	CHECK_EQ(ftruncate(r.bdev, LANES * AREA), 0);
	storm(0, 1);
	rig_down_file(&r);
	fs_umount(&fs);
	fs_check(&fs);
}

/* Chunks of 16 KiB: many I/Os need both disks, which move as one. */
TEST(a_stripe_of_two_disks_serves_a_buffer_in_a_storm)
{
	const char *one = disk_by_serial("disk2");
	const char *two = disk_by_serial("disk5");
	char path[64];
	FILE *f;
	int nr;

	if (!one || !two)
		tap_skip("disk2 or disk5");
	setenv("DM_DISABLE_UDEV", "1", 1);
	CHECK_EQ(tool("dmsetup create storm --table '0 %llu striped 2 32 %s 0 %s 0'",
		      256 * MIB / 512, one, two), 0);
	f = popen("dmsetup info -c --noheadings -o minor storm", "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%d", &nr), 1);
	pclose(f);
	snprintf(path, sizeof(path), "/dev/dm-%d", nr);
	r.bdev = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(r.bdev >= 0);
	storm(64 * MIB, 2);
	CHECK(rig_info(&r).flags & BLK_DMABUF_F_STACK);
	rig_down_file(&r);
	CHECK_SOON(!tool("dmsetup remove storm"));
}

/* What a test that failed may have left. */
static void clean_up(void)
{
	fs_clear(NULL, NULL);
	rig_clean();
	if (!access("/dev/mapper/storm", F_OK) &&
	    system("dmsetup remove -f storm"))
		printf("# storm is still there\n");
}

int main(int argc, char **argv)
{
	return rig_main_clean(argc, argv, clean_up);
}
