// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm: main
 *
 * The exporter whose buffers move does move them, and keeps what is in them.
 * Without that, tests of importers that use it would show nothing: a buffer that
 * stays where it is makes each of them pass.
 */
#include <pthread.h>
#include <sys/resource.h>

#include "mover.h"

#define SIZE	(256 * KIB)
#define PAGES	(SIZE / PAGE)
#define SEED	77

static unsigned char *map(int fd, uint64_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0);

	CHECK(mem != MAP_FAILED);
	return mem;
}

/* Page faults that it takes to touch each page. */
static long faults(const unsigned char *mem)
{
	struct rusage before, after;
	size_t i;

	CHECK_EQ(getrusage(RUSAGE_SELF, &before), 0);
	for (i = 0; i < SIZE; i += PAGE)
		*(const volatile unsigned char *)(mem + i);
	CHECK_EQ(getrusage(RUSAGE_SELF, &after), 0);
	return after.ru_minflt - before.ru_minflt;
}

static void check_moves(unsigned int flags)
{
	int fd = mover_create(SIZE, flags), i;
	unsigned char *mem = map(fd, SIZE);

	CHECK_EQ(data_check(mem, 0, PAGE, 0, NULL) == 0, 0);
	for (i = 0; i < 100; i++) {
		data_fill(mem, 0, SIZE, SEED + i);
		mover_move(fd);
		CHECK_EQ(data_check(mem, 0, SIZE, SEED + i, NULL), 0);
	}
	CHECK_EQ(mover_stat(fd).moves, 100);
	CHECK_EQ(mover_stat(fd).refused, 0);
	CHECK_EQ(mover_stat(fd).late_writes, 0);
	munmap(mem, SIZE);
	close(fd);
}

TEST(content_stays_over_a_hundred_moves)
{
	check_moves(0);
	check_moves(MOVER_NO_VMAP);
	check_moves(MOVER_REVERSE);
	check_moves(MOVER_SHUFFLE);
	check_moves(MOVER_CONTIGUOUS);
	check_moves(MOVER_CONTIGUOUS | MOVER_REVERSE);
	check_moves(MOVER_CONTIGUOUS | MOVER_SHUFFLE);
}

TEST(a_move_takes_each_page_away)
{
	int fd = mover_create(SIZE, 0), i;
	unsigned char *mem = map(fd, SIZE);

	/* A few are the program's own. */
	for (i = 0; i < 3; i++) {
		CHECK(faults(mem) >= (long)PAGES);
		CHECK(faults(mem) < 5);
		mover_move(fd);
	}
}

TEST(pages_are_in_the_order_that_was_asked_for)
{
	int fd = mover_create(SIZE, 0);

	CHECK_EQ(mover_stat(fd).ranges, PAGES);
	mover_move(fd);
	CHECK_EQ(mover_stat(fd).ranges, PAGES);

	fd = mover_create(SIZE, MOVER_CONTIGUOUS | MOVER_REVERSE);
	CHECK_EQ(mover_stat(fd).ranges, 1);
	mover_move(fd);
	CHECK_EQ(mover_stat(fd).ranges, PAGES);
	mover_move(fd);
	CHECK_EQ(mover_stat(fd).ranges, 1);

	fd = mover_create(SIZE, MOVER_CONTIGUOUS | MOVER_SHUFFLE);
	CHECK_EQ(mover_stat(fd).ranges, 1);
	mover_move(fd);
	CHECK(mover_stat(fd).ranges > PAGES / 2);

	/* So many that some are neighbours, whatever memory looks like. */
	fd = mover_create(4 * MIB, MOVER_REVERSE);
	CHECK_EQ(mover_stat(fd).ranges, 4 * MIB / PAGE);
	mover_move(fd);
	CHECK(mover_stat(fd).ranges < 4 * MIB / PAGE);
}

TEST(content_that_a_buffer_starts_with_is_there)
{
	unsigned char *data = malloc(SIZE), *mem;
	int fd;

	data_fill(data, 0, SIZE, SEED);
	fd = mover_create_from(data, SIZE, MOVER_READ_ONLY);
	CHECK_ERRNO((long)mmap(NULL, SIZE, PROT_WRITE, MAP_SHARED, fd, 0),
		    EACCES);
	mem = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(mem != MAP_FAILED);
	mover_move(fd);
	CHECK_EQ(data_check(mem, 0, SIZE, SEED, NULL), 0);
	CHECK(mprotect(mem, SIZE, PROT_READ | PROT_WRITE));
}

/* ---- storms ---- */

struct reader {
	unsigned char	*mem;
	volatile bool	stop;
	uint64_t	passes;
	size_t		bad;
	pthread_t	thread;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;

	do {
		r->bad += data_check(r->mem, 0, SIZE, SEED, NULL);
		r->passes++;
	} while (!r->stop);
	return NULL;
}

static void reader_start(struct reader *r, unsigned char *mem)
{
	*r = (struct reader) { .mem = mem };
	CHECK_EQ(pthread_create(&r->thread, NULL, read_on, r), 0);
}

static void reader_end(struct reader *r)
{
	r->stop = true;
	CHECK_EQ(pthread_join(r->thread, NULL), 0);
	CHECK(r->passes > 1);
	CHECK_EQ(r->bad, 0);
}

/* A second of it, or more on a machine that is too busy for @moves in that. */
static struct mover_stat storm(int fd, unsigned int per_second,
			       unsigned int moves)
{
	uint64_t start = now_ms(), passed;
	struct mover_stat stat;

	mover_storm(fd, per_second);
	do {
		sleep_ms(100);
		stat = mover_stat(fd);
		passed = now_ms() - start;
		CHECK(passed < 60000);
	} while (passed < 1000 || stat.moves < moves);
	mover_storm(fd, 0);
	stat = mover_stat(fd);
	passed = now_ms() - start;
	printf("# %llu moves in %llu ms\n", (unsigned long long)stat.moves,
	       (unsigned long long)passed);
	/* The first comes at once. */
	CHECK(stat.moves <= passed * per_second / 1000 + 1);
	sleep_ms(50);
	CHECK_EQ(mover_stat(fd).moves, stat.moves);
	return stat;
}

TEST(content_stays_while_a_storm_moves_it)
{
	int fd = mover_create(SIZE, MOVER_SHUFFLE);
	unsigned char *mem = map(fd, SIZE);
	struct mover_stat stat;
	struct reader reader;

	data_fill(mem, 0, SIZE, SEED);
	reader_start(&reader, mem);
	stat = storm(fd, 1000, 100);
	reader_end(&reader);
	CHECK_EQ(stat.refused, 0);
	CHECK_EQ(stat.late_writes, 0);
	CHECK(stat.max_ns <= stat.total_ns);
	CHECK(stat.max_ns * stat.moves >= stat.total_ns);
}

TEST(a_slow_storm_is_slow)
{
	int fd = mover_create(PAGE, 0);

	storm(fd, 10, 3);
}

/* ---- reclaim ---- */

TEST(reclaim_moves_it)
{
	int fd = mover_create(SIZE, 0);
	unsigned char *mem = map(fd, SIZE);
	int i;

	data_fill(mem, 0, SIZE, SEED);
	for (i = 0; i < 10; i++)
		mover_reclaim(fd);
	CHECK_EQ(mover_stat(fd).moves, 10);
	CHECK_EQ(data_check(mem, 0, SIZE, SEED, NULL), 0);
}

TEST(dropping_caches_moves_it_when_it_wants_to)
{
	int one = mover_create(SIZE, 0), other = mover_create(SIZE, 0);
	unsigned char *mem = map(one, SIZE);
	uint64_t moves;

	data_fill(mem, 0, SIZE, SEED);
	mover_shrink(one, true);
	mover_drop_caches();
	moves = mover_stat(one).moves;
	CHECK(moves >= 1);
	CHECK_EQ(mover_stat(other).moves, 0);
	CHECK_EQ(data_check(mem, 0, SIZE, SEED, NULL), 0);
	mover_shrink(one, false);
	mover_drop_caches();
	CHECK_EQ(mover_stat(one).moves, moves);
}

/* ---- ends ---- */

static int leave(void)
{
	mover_close();
	return module_unload(MOVER_MODULE);
}

/* The last reference goes with a work item when the storm has it. */
static void check_unloads(void)
{
	uint64_t end = now_ms() + 60000;

	while (leave()) {
		CHECK(errno == EWOULDBLOCK || errno == EBUSY);
		CHECK(now_ms() < end);
		sleep_ms(10);
	}
}

TEST(a_buffer_holds_the_module)
{
	int fd = mover_create(SIZE, 0);
	unsigned char *mem;

	CHECK_ERRNO(leave(), EWOULDBLOCK);
	mem = map(fd, SIZE);
	close(fd);
	CHECK_ERRNO(leave(), EWOULDBLOCK);
	mem[0] = 1;
	munmap(mem, SIZE);
	check_unloads();
	CHECK(access("/dev/dmabuf-mover", F_OK));
}

TEST(storm_and_shrinker_end_with_the_buffer)
{
	unsigned char *mem;
	int i, fd;

	for (i = 0; i < 20; i++) {
		fd = mover_create(SIZE, 0);
		mem = map(fd, SIZE);
		mem[0] = 1;
		mover_shrink(fd, true);
		mover_storm(fd, 10000);
		if (i % 2)
			mover_drop_caches();
		munmap(mem, SIZE);
		close(fd);
	}
	check_unloads();
}

/* In KiB. */
static long available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	long n = -1;

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &n) == 1)
			break;
	fclose(f);
	CHECK(n > 0);
	return n;
}

TEST(no_memory_is_left_behind)
{
	unsigned int i, flags;
	long before, after;
	int fd;

	mover_open();
	before = available();
	/* 512 MiB in all, if none of it came back. */
	for (i = 0; i < 64; i++) {
		flags = i % 2 ? MOVER_CONTIGUOUS : 0;
		fd = mover_create(4 * MIB, flags);
		mover_move(fd);
		close(fd);
	}
	after = available();
	printf("# %ld KiB available, then %ld\n", before, after);
	CHECK(after > before - 100 * 1024);
}

TEST(what_cannot_be_is_refused)
{
	struct mover_create create = { .bytes = SIZE };
	int fd = mover_create(SIZE, 0), other = memfd_create("x", MFD_CLOEXEC);

	create.bytes = 0;
	CHECK_ERRNO(ioctl(mover_open(), MOVER_CREATE, &create), EINVAL);
	create.bytes = SIZE + 1;
	CHECK_ERRNO(ioctl(mover_open(), MOVER_CREATE, &create), EINVAL);
	create.bytes = 8 * MIB;
	create.flags = MOVER_CONTIGUOUS;
	CHECK_ERRNO(ioctl(mover_open(), MOVER_CREATE, &create), EINVAL);
	create.flags = MOVER_FLAGS + 1;
	CHECK_ERRNO(ioctl(mover_open(), MOVER_CREATE, &create), EINVAL);
	create.flags = 0;
	create.data = 1;
	CHECK_ERRNO(ioctl(mover_open(), MOVER_CREATE, &create), EFAULT);
	CHECK_ERRNO(mover_try(MOVER_MOVE, -1, 0), EBADF);
	CHECK_ERRNO(mover_try(MOVER_MOVE, other, 0), EINVAL);
	CHECK_ERRNO(mover_try(MOVER_STORM, fd, 1000000), EINVAL);
	CHECK_ERRNO(mover_try(_IOW('M', 0xef, struct mover_op), fd, 0), ENOTTY);
	CHECK_ERRNO((long)mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0),
		    EINVAL);
	/* Not one byte behind the end. */
	CHECK_ERRNO((long)mmap(NULL, SIZE + PAGE, PROT_READ, MAP_SHARED, fd, 0),
		    EINVAL);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
