// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dma-buf I/O beside ordinary I/O of the same device.  The page cache and it see
 * one another's data, as with any direct I/O: what is dirty is written back
 * first, what is cached is dropped after.  Requests of the two kinds never
 * become one.  A partition is a part of the disk, and no more.
 *
 * vm: main
 */
#include <pthread.h>
#include <stdatomic.h>

#include "rig.h"

#define BUF	MIB
#define LEN	(64 * KIB)

/* The device opened a second time, not for direct I/O. */
static int cached(struct rig *r)
{
	rig_up(r, "disk0", BUF);
	rig_fill_disk(r, 0, LEN, 1);
	return rig_open_disk("disk0", O_RDWR);
}

static void cached_write(int fd, uint64_t pos, uint64_t len, uint64_t seed)
{
	unsigned char *mem = malloc(len);

	data_fill(mem, pos, len, seed);
	CHECK_EQ(pwrite(fd, mem, len, pos), len);
	free(mem);
}

static size_t cached_check(int fd, uint64_t pos, uint64_t len, uint64_t seed)
{
	unsigned char *mem = malloc(len);
	size_t bad;

	CHECK_EQ(pread(fd, mem, len, pos), len);
	bad = data_check(mem, pos, len, seed, NULL);
	free(mem);
	return bad;
}

TEST(a_read_sees_what_is_dirty_in_the_page_cache)
{
	struct rig r;
	int fd = cached(&r);

	cached_write(fd, 8192, 8192, 2);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, LEN, 512), LEN);
	CHECK_EQ(rig_check(&r, 512, 0, 8192, 1), 0);
	CHECK_EQ(rig_check(&r, 512 + 8192, 8192, 8192, 2), 0);
	CHECK_EQ(rig_check(&r, 512 + 16384, 16384, LEN - 16384, 1), 0);
	/* That it took a worker is no error. */
	CHECK_EQ(rig_info(&r).errors, 0);
}

TEST(a_write_is_seen_through_the_page_cache)
{
	struct rig r;
	int fd = cached(&r);

	CHECK_EQ(cached_check(fd, 0, LEN, 1), 0);
	rig_fill(&r, 512, 8192, 8192, 3);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 8192, 8192, 512), 8192);
	CHECK_EQ(cached_check(fd, 0, 8192, 1), 0);
	CHECK_EQ(cached_check(fd, 8192, 8192, 3), 0);
	CHECK_EQ(cached_check(fd, 16384, LEN - 16384, 1), 0);
}

TEST(a_write_wins_over_what_was_dirty_before)
{
	struct rig r;
	int fd = cached(&r);

	cached_write(fd, 0, LEN, 2);
	rig_fill(&r, 0, 8192, 8192, 3);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 8192, 8192, 0), 8192);
	CHECK_EQ(cached_check(fd, 8192, 8192, 3), 0);
	CHECK_EQ(fsync(fd), 0);
	/* Nothing old comes after it. */
	CHECK_EQ(rig_check_disk(&r, 8192, 8192, 3), 0);
	CHECK_EQ(rig_check_disk(&r, 0, 8192, 2), 0);
	CHECK_EQ(rig_check_disk(&r, 16384, LEN - 16384, 2), 0);
}

TEST(a_write_is_seen_through_a_mapping_of_the_device)
{
	unsigned char *map;
	struct rig r;
	int fd = cached(&r);

	map = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK_EQ(data_check(map, 0, LEN, 1, NULL), 0);
	rig_fill(&r, 0, 0, LEN, 3);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, LEN, 0), LEN);
	CHECK_EQ(data_check(map, 0, LEN, 3, NULL), 0);
}

TEST(a_read_sees_what_was_written_through_a_mapping_of_the_device)
{
	unsigned char *map;
	struct rig r;
	int fd = cached(&r);

	map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	data_fill(map, 0, LEN, 2);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, LEN, 0), LEN);
	CHECK_EQ(rig_check(&r, 0, 0, LEN, 2), 0);
}

static atomic_bool stop;

static void *dirty_all_the_time(void *arg)
{
	volatile unsigned char *map = arg;
	unsigned int i;

	for (i = 0; !stop; i++)
		map[i % LEN] = i;
	return NULL;
}

/*
 * A page that is dirty again before it could be dropped.  An ordinary direct
 * write would go on through the page cache then; there is nothing to copy from
 * here, so this one fails, and does not spin.
 */
TEST(a_write_against_a_mapped_writer_is_done_or_fails)
{
	unsigned int done = 0, failed = 0;
	pthread_t thread;
	uint64_t end;
	struct rig r;
	void *map;
	int fd = cached(&r);

	map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK_EQ(pthread_create(&thread, NULL, dirty_all_the_time, map), 0);
	for (end = now_ms() + 2000; now_ms() < end;) {
		int res = rig_io(&r, WRITE_CMD, 0, LEN, 0);

		if (res == LEN) {
			done++;
			continue;
		}
		CHECK_EQ(res, -EOPNOTSUPP);
		failed++;
	}
	stop = true;
	CHECK_EQ(pthread_join(thread, NULL), 0);
	printf("# %u done, %u failed\n", done, failed);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, LEN, 0), LEN);
}

/* ---- neighbours ---- */

/* Merges of reads since boot: the second number in the disk's stat. */
static unsigned long merges(void)
{
	unsigned long n;
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/stat",
		 disk_by_serial("disk0") + strlen("/dev/"));
	f = fopen(path, "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%*u %lu", &n), 1);
	fclose(f);
	return n;
}

static void set_scheduler(const char *name)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler",
		 disk_by_serial("disk0") + strlen("/dev/"));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK_EQ(write(fd, name, strlen(name)), strlen(name));
	close(fd);
}

/*
 * 64 reads of 4 KiB that follow one another on the device, submitted together;
 * every so-many-th is an ordinary one, into @mem.  Returns merges.
 */
static unsigned long read_neighbours(struct rig *r, unsigned char *mem,
				     unsigned int ordinary)
{
	unsigned long before = merges();
	unsigned int i;

	for (i = 0; i < 64; i++) {
		struct io_uring_sqe *sqe = rig_sqe(r, READ_CMD, i * 4096, 4096,
						   i * 4096);

		if (ordinary && i % ordinary == 0)
			io_uring_prep_read(sqe, r->bdev, mem + i * 4096, 4096,
					   i * 4096);
	}
	CHECK_EQ(io_uring_submit(&rig_uring), 64);
	for (i = 0; i < 64; i++)
		CHECK_EQ(rig_reap().res, 4096);
	for (i = 0; i < 64; i++) {
		bool plain = ordinary && i % ordinary == 0;

		CHECK_EQ(data_check((plain ? mem : r->mem) + i * 4096,
				    i * 4096, 4096, 1, NULL), 0);
	}
	return merges() - before;
}

static void neighbours(const char *scheduler)
{
	unsigned char *mem = aligned_alloc(PAGE, 64 * 4096);
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 64 * 4096, 1);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	set_scheduler(scheduler);
	/* Ordinary ones do merge, or this proves nothing. */
	CHECK(read_neighbours(&r, mem, 1) > 0);
	CHECK_EQ(read_neighbours(&r, mem, 0), 0);
	CHECK_EQ(read_neighbours(&r, mem, 2), 0);
	set_scheduler("none");
}

TEST(neighbours_are_not_merged)
{
	neighbours("none");
}

TEST(neighbours_are_not_merged_by_a_scheduler)
{
	neighbours("mq-deadline");
}

/* ---- partitions ---- */

static uint64_t part_start(int nr)
{
	const char *disk = disk_by_serial("disk0") + strlen("/dev/");
	unsigned long long sectors;
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/%sp%d/start", disk, disk,
		 nr);
	f = fopen(path, "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%llu", &sectors), 1);
	fclose(f);
	return sectors * 512;
}

/* The first partition, and in @disk the whole disk for plain I/O. */
static uint64_t part_up(struct rig *r, struct rig *disk)
{
	uint64_t start = part_start(1);
	char path[96];

	memset(r, 0, sizeof(*r));
	snprintf(path, sizeof(path), "%sp1", disk_by_serial("disk0"));
	r->bdev = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(r->bdev >= 0);
	rig_buffer(r, BUF, false);
	rig_register(r);
	rig_bind(r);
	*disk = *r;
	disk->bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	return start;
}

TEST(a_partition_begins_where_it_begins)
{
	struct rig part, disk;
	uint64_t start = part_up(&part, &disk);

	rig_fill_disk(&disk, start, LEN, 1);
	CHECK_EQ(rig_io(&part, READ_CMD, 0, LEN, 0), LEN);
	CHECK_EQ(rig_check(&part, 0, start, LEN, 1), 0);
	rig_fill(&part, 0, start + 8192, 8192, 2);
	CHECK_EQ(rig_io(&part, WRITE_CMD, 8192, 8192, 0), 8192);
	CHECK_EQ(rig_check_disk(&disk, start + 8192, 8192, 2), 0);
	CHECK_EQ(rig_check_disk(&disk, start, 8192, 1), 0);
}

TEST(a_partition_ends_where_it_ends)
{
	struct rig part, disk;
	uint64_t start = part_up(&part, &disk);
	uint64_t size = part.limits.bytes, end = start + size;

	CHECK_EQ(size, lseek(part.bdev, 0, SEEK_END));
	rig_fill_disk(&disk, end - 4096, 8192, 1);
	CHECK_EQ(rig_io(&part, READ_CMD, size - 1024, 4096, 0), 1024);
	CHECK_EQ(rig_check(&part, 0, end - 1024, 1024, 1), 0);
	CHECK_EQ(poison_check(part.mem + 1024, 4096, NULL), 0);
	CHECK_EQ(rig_io(&part, READ_CMD, size, 4096, 0), 0);
	rig_fill(&part, 0, end - 1024, 4096, 2);
	CHECK_EQ(rig_io(&part, WRITE_CMD, size - 1024, 4096, 0), 1024);
	CHECK_EQ(rig_io(&part, WRITE_CMD, size, 4096, 0), -ENOSPC);
	CHECK_EQ(rig_check_disk(&disk, end - 1024, 1024, 2), 0);
	/* What comes after it is somebody else's. */
	CHECK_EQ(rig_check_disk(&disk, end, 4096, 1), 0);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
