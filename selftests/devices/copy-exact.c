// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copying is done to the letter: what fails or is short is so at the same byte,
 * whoever takes the buffer away waits for no I/O, memory is bounded, and what
 * cannot be copied is refused.
 *
 * vm: main
 * log-allow: (critical medium|I/O) error, dev (nvme|dm-) -- disk6 fails
 * log-allow: nvme.*I/O error -- the same
 */
#include <sys/resource.h>

#include "fs.h"
#include "mover.h"
#include "policy.h"

#define BUF	(4 * MIB)
#define TMPFS	"/tmp"

/* ---- rigs ---- */

static int copy_register(struct rig *r, struct blk_dmabuf_attach *reg)
{
	int ret = blkdmabuf_register_flags(rig_ctl, r->bdev, r->dmabuf,
					   BLK_DMABUF_ATTACH_COPY, reg);

	r->id = ret ? 0 : reg->id;
	return ret;
}

static void copy_bind(struct rig *r)
{
	int slot;

	r->chan = blkdmabuf_channel_flags(r->bdev, BLK_DMABUF_CHANNEL_COPY);
	CHECK(r->chan >= 0);
	CHECK_EQ(blkdmabuf_limits(r->chan, &r->limits), 0);
	slot = blkdmabuf_bind(r->chan, r->dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	CHECK(slot >= 0);
	r->slot = slot;
}

/* On a file or device that is open, with a buffer. */
static void copy_up(struct rig *r)
{
	struct blk_dmabuf_attach reg;

	CHECK_EQ(copy_register(r, &reg), 0);
	copy_bind(r);
}

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

/* A new file that no device is below. */
static void tmpfs_up(struct rig *r, const char *name, int flags)
{
	char path[128];

	memset(r, 0, sizeof(*r));
	snprintf(path, sizeof(path), TMPFS "/copy-%s", name);
	unlink(path);
	r->bdev = open_path(path, O_RDWR | O_CREAT | flags);
	rig_buffer(r, BUF, false);
	copy_up(r);
}

/* dm-crypt on a disk: it copies itself, so it takes nothing premapped. */
static void crypt_up(struct rig *r, const char *serial, uint64_t size)
{
	const char *disk = disk_by_serial(serial);

	need_module("dm-crypt");
	if (!disk)
		tap_skip(serial);
	if (!access("/dev/mapper/copy", F_OK))
		CHECK_EQ(tool("dmsetup remove --retry copy"), 0);
	CHECK_EQ(tool("dmsetup create copy --table '0 409600 crypt "
		      "aes-xts-plain64 %0128d 0 %s 0'", 1, disk), 0);
	memset(r, 0, sizeof(*r));
	r->bdev = open_path("/dev/mapper/copy", O_RDWR | O_DIRECT);
	rig_buffer(r, size, false);
	copy_up(r);
}

/* A buffer of the mover, in the place of a udmabuf. */
static void mover_buffer(struct rig *r, unsigned int flags)
{
	r->size = BUF;
	r->dmabuf = mover_create(BUF, flags);
	r->mem = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, r->dmabuf,
		      0);
	CHECK(r->mem != MAP_FAILED);
}

/* The next I/O to end: its result, and whether it was copied. */
static int reap_copied(bool *copied)
{
	struct io_uring_cqe *cqe;
	int res;

	CHECK_EQ(io_uring_wait_cqe(&rig_uring, &cqe), 0);
	res = cqe->res;
	*copied = BLK_DMABUF_PLACED_COPIED(cqe->big_cqe[0]);
	io_uring_cqe_seen(&rig_uring, cqe);
	return res;
}

static bool was_copied(struct rig *r, unsigned int op, uint64_t pos,
		       uint32_t len, uint64_t offset)
{
	bool copied;

	rig_sqe(r, op, pos, len, offset);
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
	CHECK_EQ(reap_copied(&copied), len);
	return copied;
}

/* ---- exact ---- */

TEST(a_file_that_ends_makes_a_read_short_at_that_byte)
{
	uint64_t size = 2 * MIB + 12344;
	struct rig r;

	tmpfs_up(&r, __func__, 0);
	buffered_write(r.bdev, 0, size, 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, BUF - PAGE, PAGE), size);
	CHECK_EQ(rig_check(&r, PAGE, 0, size, 1), 0);
	CHECK_EQ(poison_check(r.mem, PAGE, NULL), 0);
	CHECK_EQ(poison_check(r.mem + PAGE + size, BUF - PAGE - size, NULL), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, size, PAGE, 0), 0);
	CHECK_EQ(poison_check(r.mem, PAGE, NULL), 0);
}

TEST(any_byte_of_a_buffered_file_and_of_the_buffer_will_do)
{
	struct rig r;

	tmpfs_up(&r, __func__, 0);
	buffered_write(r.bdev, 0, MIB, 1);
	CHECK_EQ(r.limits.block_size, 1);
	CHECK_EQ(r.limits.write_block_size, 1);
	CHECK_EQ(r.limits.dma_alignment, 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 8, 4000, 12), 4000);
	CHECK_EQ(rig_check(&r, 12, 8, 4000, 1), 0);
	CHECK_EQ(poison_check(r.mem, 12, NULL), 0);
	CHECK_EQ(poison_check(r.mem + 4012, BUF - 4012, NULL), 0);
	rig_fill(&r, 20, 104, 5000, 2);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 104, 5000, 20), 5000);
	CHECK_EQ(buffered_check(r.bdev, 104, 5000, 2), 0);
	CHECK_EQ(buffered_check(r.bdev, 0, 104, 1), 0);
	CHECK_EQ(buffered_check(r.bdev, 5104, MIB - 5104, 1), 0);
}

TEST(a_file_grows)
{
	struct rig r;

	tmpfs_up(&r, __func__, 0);
	rig_fill(&r, 0, MIB, 3 * MIB, 1);
	CHECK_EQ(rig_io(&r, WRITE_CMD, MIB, 3 * MIB, 0), 3 * MIB);
	CHECK_EQ(size_of(r.bdev), 4 * MIB);
	CHECK_EQ(buffered_check(r.bdev, MIB, 3 * MIB, 1), 0);
	CHECK_EQ(buffered_zeros(r.bdev, 0, MIB), 0);
}

TEST(what_appends_is_in_order)
{
	struct rig r;

	tmpfs_up(&r, __func__, O_APPEND);
	rig_fill(&r, 0, 0, 3 * MIB, 1);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 3 * MIB, 0), 3 * MIB);
	rig_fill(&r, 0, 3 * MIB, MIB, 1);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, MIB, 0), MIB);
	CHECK_EQ(size_of(r.bdev), 4 * MIB);
	CHECK_EQ(buffered_check(r.bdev, 0, 4 * MIB, 1), 0);
}

/* A small file system: 2 MiB. */
static void small_up(struct rig *r)
{
	CHECK(!mkdir("/run/copy-full", 0755) || errno == EEXIST);
	CHECK_EQ(mount("none", "/run/copy-full", "tmpfs", 0, "size=2m"), 0);
	memset(r, 0, sizeof(*r));
	r->bdev = open_path("/run/copy-full/file", O_RDWR | O_CREAT);
	rig_buffer(r, BUF, false);
	copy_up(r);
}

static void small_down(struct rig *r)
{
	rig_down_file(r);
	CHECK_SOON(!umount2("/run/copy-full", 0) || errno != EBUSY);
}

TEST(a_file_system_that_is_full_is_an_error)
{
	struct rig r;

	small_up(&r);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 3 * MIB, 0), -ENOSPC);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, MIB, 0), MIB);
	small_down(&r);
}

/* The second MiB has its memory, of the first there is room for a half. */
TEST(a_slot_that_is_short_makes_the_command_short_there)
{
	struct blk_dmabuf_vec vecs[2] = { { 0, MIB, 0 }, { MIB, MIB, 0 } };
	struct io_uring_sqe *sqe;
	struct rig r;
	int fd, slot;

	small_up(&r);
	CHECK_EQ(fallocate(r.bdev, 0, MIB, MIB), 0);
	fd = open_path("/run/copy-full/other", O_RDWR | O_CREAT);
	CHECK_EQ(fallocate(fd, 0, 0, 512 * KIB), 0);
	close(fd);
	slot = blkdmabuf_bind(r.chan, r.dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	CHECK(slot >= 0);
	vecs[0].slot = r.slot;
	vecs[1].slot = slot;
	rig_fill(&r, 0, 0, 2 * MIB, 1);
	sqe = rig_sqe(&r, BLK_DMABUF_CMD_WRITEV, 0, 0, 0);
	blkdmabuf_prep_writev(sqe, r.chan, 0, vecs, 2, 0);
	CHECK_EQ(rig_run(), 512 * KIB);
	CHECK_EQ(buffered_check(r.bdev, 0, 512 * KIB, 1), 0);
	small_down(&r);
}

TEST(an_error_of_the_device_fails_the_IO_and_no_other)
{
	struct blk_dmabuf_info info;
	int res[2], i;
	struct rig r;

	crypt_up(&r, "disk6", BUF);
	rig_fill_disk(&r, 4 * MIB, 2 * MIB, 1);
	rig_sqe(&r, READ_CMD, 4 * MIB, 2 * MIB, 0)->user_data = 0;
	rig_sqe(&r, READ_CMD, 7 * MIB, 2 * MIB, 2 * MIB)->user_data = 1;
	CHECK_EQ(io_uring_submit(&rig_uring), 2);
	for (i = 0; i < 2; i++) {
		struct rig_done done = rig_reap();

		res[done.user] = done.res;
	}
	CHECK_EQ(res[0], 2 * MIB);
	CHECK(res[1] == -ENODATA || res[1] == -EIO);
	CHECK_EQ(rig_check(&r, 0, 4 * MIB, 2 * MIB, 1), 0);
	info = rig_info(&r);
	CHECK_EQ(info.errors, 1);
	CHECK_EQ(info.copied, 1);
	CHECK_EQ(info.copied_bytes, 2 * MIB);
	CHECK_EQ(info.reads, 1);
}

/* Who copies is a worker, and may do all. */
TEST(a_file_grows_to_the_limit_of_who_asked)
{
	struct rlimit limit = { 64 * KIB, RLIM_INFINITY };
	struct rig r;

	tmpfs_up(&r, __func__, 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 32 * KIB, 64 * KIB, 0), 32 * KIB);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 64 * KIB, 4096, 0), -EFBIG);
	CHECK_EQ(rig_io(&r, WRITE_CMD, MIB, 4096, 0), -EFBIG);
	CHECK_EQ(lseek(r.bdev, 0, SEEK_END), 64 * KIB);
}

/* ---- told ---- */

TEST(each_copy_is_counted_and_told)
{
	struct blk_dmabuf_info info;
	struct rig r;

	tmpfs_up(&r, __func__, 0);
	buffered_write(r.bdev, 0, MIB, 1);
	CHECK(was_copied(&r, READ_CMD, 0, MIB, 0));
	CHECK(was_copied(&r, WRITE_CMD, 0, 4096, 0));
	info = rig_info(&r);
	CHECK_EQ(info.flags & (BLK_DMABUF_F_COPY | BLK_DMABUF_F_MAY_COPY |
			       BLK_DMABUF_F_STACK),
		 BLK_DMABUF_F_COPY | BLK_DMABUF_F_MAY_COPY);
	CHECK_EQ(info.state, BLK_DMABUF_UNMAPPED);
	CHECK_EQ(info.reason, BLK_DMABUF_FILE_SYSTEM);
	CHECK_EQ(info.devices, 0);
	CHECK_EQ(info.copied, 2);
	CHECK_EQ(info.copied_bytes, MIB + 4096);
	CHECK_EQ(info.reads + info.writes, 2);
	CHECK_EQ(strcmp(info.disk, "nodev"), 0);
}

TEST(what_can_be_premapped_is_not_copied)
{
	struct rig r = {};

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_buffer(&r, BUF, false);
	copy_up(&r);
	rig_fill_disk(&r, 0, MIB, 1);
	CHECK(!was_copied(&r, READ_CMD, 0, MIB, 0));
	CHECK_EQ(rig_check(&r, 0, 0, MIB, 1), 0);
	CHECK_EQ(rig_info(&r).copied, 0);
	CHECK_EQ(rig_info(&r).flags & BLK_DMABUF_F_COPY, 0);
}

/* Both have to permit it. */
TEST(a_channel_without_the_flag_is_refused)
{
	struct blk_dmabuf_attach reg;
	struct rig r;

	crypt_up(&r, "disk1", BUF);
	close(r.chan);
	rig_bind(&r);
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_NO_DRIVER, 1);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	refused_begin();
	CHECK_EQ(blkdmabuf_register(rig_ctl, r.bdev, r.dmabuf, &reg),
		 -EOPNOTSUPP);
	CHECK_EQ(reg.reason, BLK_DMABUF_NO_DRIVER);
	refused_end(BLK_DMABUF_NO_DRIVER, 1);
}

TEST(a_registration_without_the_flag_is_not_copied)
{
	static struct fs fs = {
		.type = "ext4", .serial = "disk2", .data = "data=journal",
	};
	struct rig r = {};
	int disk;

	fs_make(&fs);
	disk = rig_open_disk("disk2", O_RDONLY);
	r.bdev = fs_open(&fs, __func__, O_RDWR | O_CREAT);
	buffered_write(r.bdev, 0, MIB, 1);
	rig_buffer(&r, BUF, false);
	CHECK_EQ(blkdmabuf_register(rig_ctl, disk, r.dmabuf, NULL), 0);
	copy_bind(&r);
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_FILE, 1);
	rig_down_file(&r);
	close(disk);
	fs_umount(&fs);
}

TEST(memory_that_is_no_peers_is_refused_where_one_is_demanded)
{
	struct rig r;
	int chan;

	rig_up(&r, "disk0", BUF);
	chan = blkdmabuf_channel_flags(r.bdev, BLK_DMABUF_CHANNEL_P2P);
	CHECK(chan >= 0);
	refused_begin();
	CHECK_EQ(blkdmabuf_bind(chan, r.dmabuf, BLK_DMABUF_SLOT_ANY, NULL),
		 -EOPNOTSUPP);
	refused_end(BLK_DMABUF_NOT_P2P, 1);
}

/* ---- buffers ---- */

TEST(a_buffer_that_is_IO_memory_to_the_CPU)
{
	struct rig r = {};

	r.bdev = open_path(TMPFS "/copy-iomem", O_RDWR | O_CREAT | O_TRUNC);
	mover_buffer(&r, MOVER_IOMEM);
	copy_up(&r);
	buffered_write(r.bdev, 0, 2 * MIB, 1);
	CHECK(was_copied(&r, READ_CMD, 8, 2 * MIB - 16, 4));
	CHECK_EQ(rig_check(&r, 4, 8, 2 * MIB - 16, 1), 0);
	rig_fill(&r, 4, 8, 2 * MIB - 16, 2);
	CHECK(was_copied(&r, WRITE_CMD, 8, 2 * MIB - 16, 4));
	CHECK_EQ(buffered_check(r.bdev, 8, 2 * MIB - 16, 2), 0);
}

TEST(a_buffer_without_a_CPU_mapping_is_refused)
{
	struct blk_dmabuf_attach reg;
	struct rig r = {};

	r.bdev = open_path(TMPFS "/copy-no-vmap", O_RDWR | O_CREAT);
	mover_buffer(&r, MOVER_NO_VMAP);
	refused_begin();
	CHECK_EQ(copy_register(&r, &reg), -EOPNOTSUPP);
	CHECK_EQ(reg.reason, BLK_DMABUF_NO_CPU);
	refused_end(BLK_DMABUF_NO_CPU, 1);
}

/* Nothing keeps it in its place longer than it is bound. */
TEST(a_buffer_may_move_again_when_it_is_unbound)
{
	struct rig r = {};

	r.bdev = open_path(TMPFS "/copy-moves", O_RDWR | O_CREAT);
	mover_buffer(&r, MOVER_SHUFFLE);
	copy_up(&r);
	mover_move(r.dmabuf);
	buffered_write(r.bdev, 0, MIB, 1);
	CHECK(was_copied(&r, READ_CMD, 0, MIB, 0));
	CHECK_ERRNO(mover_try(MOVER_MOVE, r.dmabuf, 0), EBUSY);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
	mover_move(r.dmabuf);
	CHECK_EQ(rig_check(&r, 0, 0, MIB, 1), 0);
	CHECK_EQ(mover_stat(r.dmabuf).vmaps, 1);
	CHECK_EQ(mover_stat(r.dmabuf).late_writes, 0);
}

TEST(what_does_not_attach_or_map_is_copied_as_long_as_it_does_not)
{
	struct blk_dmabuf_attach reg;
	struct rig r = {};

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_fill_disk(&r, 0, MIB, 1);
	mover_buffer(&r, 0);
	mover_fail(r.dmabuf, ENOTTY, 0, 0);
	refused_begin();
	CHECK_EQ(copy_register(&r, &reg), 0);
	CHECK_EQ(reg.reason, BLK_DMABUF_ATTACH_FAILED);
	copy_bind(&r);
	CHECK(was_copied(&r, READ_CMD, 0, MIB, 0));
	CHECK_EQ(rig_check(&r, 0, 0, MIB, 1), 0);
	CHECK_EQ(rig_info(&r).flags & BLK_DMABUF_F_COPY, BLK_DMABUF_F_COPY);
	mover_fail(r.dmabuf, 0, ENOTTY, 0);
	CHECK(was_copied(&r, READ_CMD, 0, MIB, MIB));
	CHECK_EQ(rig_info(&r).reason, BLK_DMABUF_MAP_FAILED);
	mover_fail(r.dmabuf, 0, 0, 0);
	CHECK(!was_copied(&r, READ_CMD, 0, MIB, 2 * MIB));
	CHECK_EQ(rig_check(&r, MIB, 0, MIB, 1), 0);
	CHECK_EQ(rig_check(&r, 2 * MIB, 0, MIB, 1), 0);
	/* None of this was a refusal. */
	refused_end(BLK_DMABUF_OK, 0);
}

/* ---- what goes away ---- */

#define SLOW	8		/* of 64 KiB, 100 ms each */

/* Reads that take a while, of what nobody has written. */
static void start_slow(struct rig *r)
{
	int i;

	for (i = 0; i < SLOW; i++)
		rig_sqe(r, READ_CMD, i * 64 * KIB, 64 * KIB, i * 64 * KIB);
	CHECK_EQ(io_uring_submit(&rig_uring), SLOW);
	sleep_ms(20);
}

TEST(what_is_unbound_under_a_copy_is_copied_to_the_end)
{
	struct rig r;
	int i;

	crypt_up(&r, "disk3", BUF);
	start_slow(&r);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
	for (i = 0; i < SLOW; i++)
		CHECK_EQ(rig_reap().res, 64 * KIB);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), -ENOENT);
}

/* The CPU touches nothing when this has returned, and that is soon. */
TEST(a_registration_that_ends_under_a_copy_does_not_wait_for_the_device)
{
	uint64_t start;
	struct rig r;
	int i, res;

	crypt_up(&r, "disk3", BUF);
	start_slow(&r);
	start = now_ms();
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	printf("# took %llu ms\n", (unsigned long long)(now_ms() - start));
	memset(r.mem, POISON, r.size);
	for (i = 0; i < SLOW; i++) {
		res = rig_reap().res;
		CHECK(res == -ENODEV || res == (int)(64 * KIB));
	}
	CHECK_EQ(poison_check(r.mem, r.size, NULL), 0);
}

TEST(a_channel_that_is_closed_under_a_copy_goes_when_it_has_ended)
{
	struct rig r;
	int i;

	crypt_up(&r, "disk3", BUF);
	start_slow(&r);
	close(r.chan);
	for (i = 0; i < SLOW; i++)
		CHECK_EQ(rig_reap().res, 64 * KIB);
}

TEST(a_process_that_is_killed_under_copies_leaves_nothing)
{
	struct rig r;
	int status;
	pid_t pid;

	crypt_up(&r, "disk3", BUF);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		start_slow(&r);
		pause();
		_exit(1);
	}
	sleep_ms(100);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	close(r.chan);
	close(r.bdev);
	CHECK_SOON(!tool("dmsetup remove copy"));
}

/* ---- many ---- */

static uint64_t free_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib * KIB;
}

#define MANY	200

/* 16 MiB are for pages; as much again for what else there may be, twice. */
TEST(memory_for_200_MiB_in_flight_is_bounded)
{
	uint64_t before, now, least;
	struct rig r;
	int i;

	/* A udmabuf has 64 MiB at most; they share it. */
	crypt_up(&r, "disk3", 48 * MIB);
	/* What is made once is there. */
	CHECK_EQ(rig_io(&r, READ_CMD, 0, MIB, 0), MIB);
	before = least = free_memory();
	for (i = 0; i < MANY; i++)
		rig_sqe(&r, READ_CMD, i % 100 * MIB, MIB, i % 48 * MIB);
	CHECK_EQ(io_uring_submit(&rig_uring), MANY);
	for (i = 0; i < MANY; i++) {
		now = free_memory();
		if (now < least)
			least = now;
		CHECK_EQ(rig_reap().res, MIB);
	}
	printf("# %llu KiB more than before\n",
	       (unsigned long long)(before - least) / KIB);
	CHECK(before - least < 48 * MIB);
}

TEST(many_copies_at_a_time_are_right)
{
	uint64_t len = 256 * KIB;
	struct rig r = {};
	int i;

	r.bdev = open_path(TMPFS "/copy-many", O_RDWR | O_CREAT | O_TRUNC);
	rig_buffer(&r, MANY * len, false);
	copy_up(&r);
	buffered_write(r.bdev, 0, MANY * len, 1);
	/* Even ones are read, odd ones written, of one buffer at a time. */
	for (i = 1; i < MANY; i += 2)
		rig_fill(&r, i * len, i * len, len, 2);
	for (i = 0; i < MANY; i++)
		rig_sqe(&r, i % 2 ? WRITE_CMD : READ_CMD, i * len, len,
			i * len);
	CHECK_EQ(io_uring_submit(&rig_uring), MANY);
	for (i = 0; i < MANY; i++)
		CHECK_EQ(rig_reap().res, len);
	for (i = 0; i < MANY; i++) {
		CHECK_EQ(rig_check(&r, i * len, i * len, len, 1 + i % 2), 0);
		CHECK_EQ(buffered_check(r.bdev, i * len, len, 1 + i % 2), 0);
	}
	CHECK_EQ(rig_info(&r).copied, MANY);
}

/* What a test leaves is in use until its process has gone. */
static void clean_up(void)
{
	rig_clean();
	fs_clear(NULL, NULL);
	CHECK_EQ(tool("rm -f %s/copy-*", TMPFS), 0);
	if (!access("/dev/mapper/copy", F_OK))
		CHECK_SOON(!tool("dmsetup remove --retry copy"));
}

int main(int argc, char **argv)
{
	int ret = blkdmabuf_ctl_open(&rig_ctl, NULL);

	if (ret) {
		printf("Bail out! control programs: %s\n", strerror(-ret));
		return 1;
	}
	setenv("DM_DISABLE_UDEV", "1", 1);
	ret = tap_main(argc, argv, clean_up);
	blkdmabuf_ctl_close(rig_ctl);
	return ret;
}
