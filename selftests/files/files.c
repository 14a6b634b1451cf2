// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel on a file does what direct I/O on it does: the same bytes, the same
 * size, the same errors, next to the page cache and to all that changes the
 * file meanwhile.  What a file system cannot do on a dma-buf it refuses, and no
 * byte is wrong.
 *
 * vm: files
 * log-allow: XFS .*(shutdown|Shutting down|log I/O error|Please unmount) -- a test shuts it down
 * log-allow: I/O error, dev nvme.* sector -- a test reads a bad sector
 * log-allow: EXT4-fs .*shut ?down -- a test shuts it down
 */
#include <grp.h>
#include <linux/fiemap.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "fs.h"
#include "mover.h"
#include "policy.h"
#include "selftests/bpf/puppet.skel.h"
#include "stripe.skel.h"

#define BUF	MIB
#define BLOCK	4096ULL
#define GUARD	64
#define NOBODY	65534

#ifndef EXT4_IOC_SHUTDOWN
#define EXT4_IOC_SHUTDOWN	_IOR('X', 125, __u32)
#endif
#define SHUTDOWN_NOLOGFLUSH	2
#define EXT4_JOURNAL_DATA_FL	0x4000

/* Most tests share these two: partitions of one disk with 512-byte blocks. */
static struct fs ext4 = {
	.type = "ext4", .serial = "disk0", .part = 1,
	.make = "-b 4096 -O verity,encrypt",
};
static struct fs xfs = { .type = "xfs", .serial = "disk0", .part = 2 };

#define FILE_TEST(id)							\
	static void id(struct fs *fs);					\
	TEST(id##_on_ext4) { id(fs_use(&ext4)); }			\
	TEST(id##_on_xfs) { id(fs_use(&xfs)); }				\
	static void id(struct fs *fs)

/* What @expr gets, and the one reason that is counted for it. */
#define CHECK_REFUSED(expr, want, reason)				\
	do {								\
		refused_begin();					\
		CHECK_EQ(expr, want);					\
		refused_end(reason, 1);					\
	} while (0)

/* Guards on both sides of @len bytes at @offset are what they were. */
static void check_guards(struct rig *r, uint64_t offset, uint64_t len)
{
	uint64_t start = offset < GUARD ? 0 : offset - GUARD;
	uint64_t end = offset + len + GUARD;

	if (end > r->size)
		end = r->size;
	CHECK_EQ(poison_check(r->mem + start, offset - start, NULL), 0);
	CHECK_EQ(poison_check(r->mem + offset + len, end - offset - len, NULL),
		 0);
}

/* Read all of it into poison, with guards. */
static void channel_reads(struct rig *r, uint64_t pos, uint32_t len,
			  uint64_t offset, int want)
{
	memset(r->mem, POISON, r->size);
	CHECK_EQ(rig_io(r, READ_CMD, pos, len, offset), want);
	check_guards(r, offset, ALIGN(want, r->limits.block_size));
}

static void channel_writes(struct rig *r, uint64_t pos, uint32_t len,
			   uint64_t offset, uint64_t seed)
{
	rig_fill(r, offset, pos, len, seed);
	CHECK_EQ(rig_io(r, WRITE_CMD, pos, len, offset), len);
}

/* What is on the disk, past the page cache, which must not be dirty. */
static size_t direct_zeros(struct rig *r, uint64_t pos, uint64_t len)
{
	void *mem = aligned_alloc(PAGE, ALIGN(len, PAGE));
	size_t bad;

	rig_plain(r, false, mem, pos, len);
	bad = bytes_not(mem, len, 0);
	free(mem);
	return bad;
}

/* ---- opening ---- */

FILE_TEST(a_channel_may_what_its_file_may)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	rig_reopen(&r, fs, __func__, O_RDONLY);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), -EBADF,
		      BLK_DMABUF_ACCESS);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(rig_check(&r, 0, 0, 64 * KIB, 1), 0);
	rig_reopen(&r, fs, __func__, O_WRONLY);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, BLOCK, 0), -EBADF,
		      BLK_DMABUF_ACCESS);
	channel_writes(&r, 0, BLOCK, 0, 2);
	rig_reopen(&r, fs, __func__, O_RDWR);
	CHECK_EQ(rig_check_disk(&r, 0, BLOCK, 2), 0);
	CHECK_EQ(rig_check_disk(&r, BLOCK, 60 * KIB, 1), 0);
}

/* The file may be closed, and need not have been opened for direct I/O. */
FILE_TEST(a_channel_needs_neither_O_DIRECT_nor_the_file_descriptor)
{
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	fd = r.bdev;
	close(r.chan);
	r.bdev = fs_open(fs, __func__, O_RDWR);
	rig_bind(&r);
	close(r.bdev);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	r.bdev = fd;
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
}

/* As a channel and as what to register on. */
static void refuse(int fd, int dmabuf, int want, unsigned int reason)
{
	struct blk_dmabuf_attach reg = {};

	CHECK(fd >= 0);
	CHECK_REFUSED(blkdmabuf_channel(fd), want, reason);
	CHECK_REFUSED(blkdmabuf_register(rig_ctl, fd, dmabuf, &reg), want,
		      reason);
	CHECK_EQ(reg.reason, reason);
	close(fd);
}

TEST(what_is_no_file_with_data_is_ENOTBLK)
{
	int dmabuf = blkdmabuf_udmabuf(BUF, 0), pair[2];
	struct fs *fs = fs_use(&ext4);
	const char *fifo = fs_path(fs, "fifo");

	CHECK(dmabuf >= 0);
	refuse(open(fs->dir, O_RDONLY | O_DIRECTORY), dmabuf, -ENOTBLK,
	       BLK_DMABUF_NO_DEVICE);
	CHECK(!mkfifo(fifo, 0600) || errno == EEXIST);
	refuse(open(fifo, O_RDWR), dmabuf, -ENOTBLK, BLK_DMABUF_NO_DEVICE);
	refuse(open("/dev/null", O_RDWR), dmabuf, -ENOTBLK,
	       BLK_DMABUF_NO_DEVICE);
	refuse(eventfd(0, 0), dmabuf, -ENOTBLK, BLK_DMABUF_NO_DEVICE);
	refuse(dup(dmabuf), dmabuf, -ENOTBLK, BLK_DMABUF_NO_DEVICE);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	refuse(pair[0], dmabuf, -ENOTBLK, BLK_DMABUF_NO_DEVICE);
	CHECK_EQ(blkdmabuf_channel(open(fs->dir, O_PATH)), -EBADF);
	CHECK_EQ(blkdmabuf_channel(-1), -EBADF);
}

/* File systems that have no disk, or that do not say that they can. */
TEST(a_file_elsewhere_is_EOPNOTSUPP)
{
	int dmabuf = blkdmabuf_udmabuf(BUF, 0);
	struct fs *fs = fs_use(&ext4);
	char line[512];

	CHECK(dmabuf >= 0);
	refuse(memfd_create("x", 0), dmabuf, -EOPNOTSUPP,
	       BLK_DMABUF_FILE_SYSTEM);
	refuse(open("/run/tmpfs-file", O_RDWR | O_CREAT, 0600), dmabuf,
	       -EOPNOTSUPP, BLK_DMABUF_FILE_SYSTEM);
	refuse(open("/proc/self/exe", O_RDONLY), dmabuf, -EOPNOTSUPP,
	       BLK_DMABUF_FILE_SYSTEM);
	refuse(open("/proc/version", O_RDONLY), dmabuf, -EOPNOTSUPP,
	       BLK_DMABUF_FILE_SYSTEM);
	refuse(open("/sys/kernel/notes", O_RDONLY), dmabuf, -EOPNOTSUPP,
	       BLK_DMABUF_FILE_SYSTEM);

	/* Its file is not that of the ext4 below it. */
	mkdir(fs_path(fs, "upper"), 0755);
	mkdir(fs_path(fs, "work"), 0755);
	mkdir("/run/overlay", 0755);
	snprintf(line, sizeof(line),
		 "lowerdir=/run/overlay,upperdir=%s/upper,workdir=%s/work",
		 fs->dir, fs->dir);
	CHECK_EQ(mount("overlay", "/run/overlay", "overlay", 0, line), 0);
	refuse(open("/run/overlay/x", O_RDWR | O_CREAT, 0600), dmabuf,
	       -EOPNOTSUPP, BLK_DMABUF_FILE_SYSTEM);
	CHECK_EQ(umount2("/run/overlay", MNT_DETACH), 0);
}

static void set_flag(int fd, unsigned int flag, bool on)
{
	int flags;

	CHECK_EQ(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	flags = on ? flags | flag : flags & ~flag;
	CHECK_EQ(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
}

/* Makes a file of zeros read-only for good. */
static int enable_verity(int fd)
{
	struct fsverity_enable_arg arg = {
		.version	= 1,
		.hash_algorithm	= FS_VERITY_HASH_ALG_SHA256,
		.block_size	= 4096,
	};

	return ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) ? -errno : 0;
}

static void encrypt_directory(const struct fs *fs, const char *name)
{
	struct {
		struct fscrypt_add_key_arg arg;
		unsigned char raw[64];
	} key = {
		.arg.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER,
		.arg.raw_size = sizeof(key.raw),
		.raw = { 1, 2, 3 },
	};
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
	};
	int fd = open(fs->dir, O_RDONLY | O_DIRECTORY);

	CHECK(fd >= 0);
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, &key))
		tap_skip("file system encryption");
	close(fd);
	memcpy(policy.master_key_identifier,
	       key.arg.key_spec.u.identifier, FSCRYPT_KEY_IDENTIFIER_SIZE);
	rmdir(fs_path(fs, name));
	CHECK_EQ(mkdir(fs_path(fs, name), 0755), 0);
	fd = open(fs_path(fs, name), O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	CHECK_EQ(ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy), 0);
	close(fd);
}

/* The flag of a file counts where allocation is not delayed. */
static struct fs journalling = {
	.type = "ext4", .serial = "disk2", .make = "-b 4096",
	.data = "nodelalloc",
};

TEST(a_file_whose_data_is_journalled_is_refused)
{
	struct fs *fs = &journalling;
	int fd;

	fs_make(fs);
	fd = fs_open(fs, "x", O_RDWR | O_CREAT);
	set_flag(fd, EXT4_JOURNAL_DATA_FL, true);
	refuse(fd, blkdmabuf_udmabuf(BUF, 0), -EOPNOTSUPP, BLK_DMABUF_FILE);
	fs_umount(fs);
}

TEST(a_file_system_that_journals_all_data_is_refused)
{
	struct fs fs = journalling;

	fs.data = "data=journal";
	fs_make(&fs);
	refuse(fs_open(&fs, "x", O_RDWR | O_CREAT), blkdmabuf_udmabuf(BUF, 0),
	       -EOPNOTSUPP, BLK_DMABUF_FILE);
	fs_umount(&fs);
}

TEST(a_file_that_is_verified_is_refused)
{
	struct fs *fs = fs_use(&ext4);
	int fd;

	unlink(fs_path(fs, __func__));
	fd = fs_open(fs, __func__, O_RDWR | O_CREAT);
	CHECK_EQ(ftruncate(fd, 64 * KIB), 0);
	close(fd);
	fd = fs_open(fs, __func__, O_RDONLY);
	if (enable_verity(fd) == -EOPNOTSUPP)
		tap_skip("verity");
	refuse(fd, blkdmabuf_udmabuf(BUF, 0), -EOPNOTSUPP, BLK_DMABUF_FILE);
}

TEST(a_file_that_is_encrypted_is_refused)
{
	struct fs *fs = fs_use(&ext4);

	encrypt_directory(fs, "secret");
	refuse(fs_open(fs, "secret/x", O_RDWR | O_CREAT),
	       blkdmabuf_udmabuf(BUF, 0), -EOPNOTSUPP, BLK_DMABUF_FILE);
	unlink(fs_path(fs, "secret/x"));
}

TEST(a_file_whose_data_is_in_its_inode_is_refused)
{
	struct fs fs = {
		.type = "ext4", .serial = "disk2",
		.make = "-b 4096 -O inline_data",
	};
	struct rig r;

	fs_make(&fs);
	r.bdev = fs_open(&fs, "x", O_RDWR | O_CREAT);
	CHECK_EQ(pwrite(r.bdev, "abc", 3, 0), 3);
	refuse(r.bdev, blkdmabuf_udmabuf(BUF, 0), -EOPNOTSUPP, BLK_DMABUF_FILE);
	/* Once it has blocks it is a file as any other. */
	r.bdev = fs_open(&fs, "x", O_RDWR | O_DIRECT);
	CHECK_EQ(ftruncate(r.bdev, 64 * KIB), 0);
	buffered_write(r.bdev, 0, 64 * KIB, 1);
	rig_buffer(&r, BUF, false);
	rig_register(&r);
	rig_bind(&r);
	channel_reads(&r, 0, 64 * KIB, 0, 64 * KIB);
	CHECK_EQ(rig_check(&r, 0, 0, 64 * KIB, 1), 0);
	rig_down_file(&r);
	fs_umount(&fs);
}

/* It is the disk that is registered on, however one came to it. */
FILE_TEST(a_file_and_its_disk_are_one_registration)
{
	int disk = rig_open_disk(fs->serial, O_RDWR | O_DIRECT);
	struct blk_dmabuf_attach reg;
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	CHECK(!strcmp(rig_info(&r).disk,
		      disk_by_serial(fs->serial) + strlen("/dev/")));
	CHECK_EQ(blkdmabuf_register(rig_ctl, disk, r.dmabuf, &reg), -EEXIST);
	CHECK_EQ(reg.id, r.id);
	CHECK_EQ(reg.reason, BLK_DMABUF_DUPLICATE);
	/* A channel on the disk may use it. */
	close(r.chan);
	close(r.bdev);
	r.bdev = disk;
	rig_bind(&r);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, BLOCK, 0), BLOCK);
}

/* ---- limits ---- */

FILE_TEST(limits_tell_blocks_and_the_size_of_now)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(r.limits.block_size, 512);
	CHECK_EQ(r.limits.write_block_size, BLOCK);
	CHECK_EQ(r.limits.dma_alignment, 4);
	CHECK_EQ(r.limits.bytes, 0);
	CHECK_EQ(r.limits.vec_align, 4);
	CHECK(r.limits.max_io >= 64 * KIB);
	CHECK(r.limits.max_ranges >= 1);
	CHECK_EQ(ftruncate(r.bdev, 12345), 0);
	CHECK_EQ(blkdmabuf_limits(r.chan, &r.limits), 0);
	CHECK_EQ(r.limits.bytes, 12345);
	channel_writes(&r, 16 * KIB, BLOCK, 0, 1);
	CHECK_EQ(blkdmabuf_limits(r.chan, &r.limits), 0);
	CHECK_EQ(r.limits.bytes, 20 * KIB);
}

static void check_blocks(struct fs *fs, uint32_t read_block,
			 uint32_t write_block)
{
	uint64_t size = 16 * write_block;
	struct rig r;

	fs_make(fs);
	rig_up_file(&r, fs, "x", BUF);
	CHECK_EQ(r.limits.block_size, read_block);
	CHECK_EQ(r.limits.write_block_size, write_block);
	channel_writes(&r, 0, size, 0, 1);
	channel_writes(&r, 3 * write_block, write_block, 0, 2);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, write_block / 2, write_block, 0),
		      -EINVAL, BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, write_block / 2, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, READ_CMD, read_block / 2, read_block, 0),
		      -EINVAL, BLK_DMABUF_UNALIGNED);
	channel_reads(&r, read_block, read_block, 4, read_block);
	CHECK_EQ(rig_check(&r, 4, read_block, read_block, 1), 0);
	channel_reads(&r, 0, size, 8, size);
	CHECK_EQ(rig_check(&r, 8, 0, 3 * write_block, 1), 0);
	CHECK_EQ(rig_check(&r, 8 + 3 * write_block, 3 * write_block,
			   write_block, 2), 0);
	CHECK_EQ(rig_check(&r, 8 + 4 * write_block, 4 * write_block,
			   size - 4 * write_block, 1), 0);
	CHECK_EQ(size_of(r.bdev), size);
	rig_down_file(&r);
	fs_umount(fs);
	fs_check(fs);
}

TEST(blocks_of_1_KiB_are_written_whole_on_ext4)
{
	check_blocks(FS(.type = "ext4", .serial = "disk2",
			.make = "-b 1024"), 512, 1024);
}

TEST(blocks_of_1_KiB_are_written_whole_on_xfs)
{
	check_blocks(FS(.type = "xfs", .serial = "disk2",
			.make = "-b size=1024"), 512, 1024);
}

TEST(blocks_that_are_larger_than_a_page_are_written_whole_on_xfs)
{
	check_blocks(FS(.type = "xfs", .serial = "disk2",
			.make = "-b size=16384"), 512, 16 * KIB);
}

TEST(a_disk_of_4_KiB_blocks_is_read_by_those_on_ext4)
{
	check_blocks(FS(.type = "ext4", .serial = "disk1",
			.make = "-b 4096"), 4096, 4096);
}

TEST(a_disk_of_4_KiB_blocks_is_read_by_those_on_xfs)
{
	check_blocks(FS(.type = "xfs", .serial = "disk1"), 4096, 4096);
}

/* ---- the same bytes ---- */

FILE_TEST(a_read_finds_what_plain_writes_wrote)
{
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 256 * KIB, 1);
	fd = fs_open(fs, __func__, O_RDWR);
	buffered_write(fd, 256 * KIB, 256 * KIB, 1);
	CHECK_EQ(fsync(fd), 0);
	channel_reads(&r, 0, 512 * KIB, 512, 512 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 512 * KIB, 1), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

FILE_TEST(plain_reads_find_what_a_write_wrote)
{
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	channel_writes(&r, 0, 512 * KIB, 512, 1);
	CHECK_EQ(rig_check_disk(&r, 0, 512 * KIB, 1), 0);
	fd = fs_open(fs, __func__, O_RDONLY);
	CHECK_EQ(buffered_check(fd, 0, 512 * KIB, 1), 0);
	rig_down_file(&r);
	close(fd);
	fs_cycle(fs);
	fd = fs_open(fs, __func__, O_RDONLY);
	CHECK_EQ(size_of(fd), 512 * KIB);
	CHECK_EQ(buffered_check(fd, 0, 512 * KIB, 1), 0);
}

/* An area of the buffer for each I/O in flight, with room for guards. */
#define LANES	16
#define LANE	(192 * KIB)
#define MOST	(128 * KIB)
#define WHOLE	(4 * MIB)

struct lane {
	uint64_t	pos;
	uint32_t	len;
	uint64_t	offset;
	uint64_t	seed;
};

static void lane_draw(struct lane *lane, unsigned int nr, uint32_t block)
{
	lane->len = (1 + rand() % (MOST / block)) * block;
	lane->pos = rand() % ((WHOLE - lane->len) / block + 1) * block;
	lane->offset = nr * LANE + GUARD +
		       rand() % ((LANE - lane->len - 2 * GUARD) / 4) * 4;
}

static void lane_submit(struct rig *r, struct lane *lane, unsigned int nr,
			unsigned int op)
{
	rig_sqe(r, op, lane->pos, lane->len, lane->offset)->user_data = nr;
}

/* All of @n come back whole. */
static void lanes_run(struct lane *lane, unsigned int n)
{
	struct rig_done done;
	unsigned int i;

	CHECK_EQ(io_uring_submit(&rig_uring), n);
	for (i = 0; i < n; i++) {
		done = rig_reap();
		CHECK(done.user < n);
		CHECK_EQ(done.res, lane[done.user].len);
	}
}

static void sweep_reads(struct rig *r, unsigned int rounds)
{
	struct lane lane[LANES];
	unsigned int i;

	while (rounds--) {
		memset(r->mem, POISON, r->size);
		for (i = 0; i < LANES; i++) {
			lane_draw(&lane[i], i, r->limits.block_size);
			lane_submit(r, &lane[i], i, READ_CMD);
		}
		lanes_run(lane, LANES);
		for (i = 0; i < LANES; i++) {
			CHECK_EQ(rig_check(r, lane[i].offset, lane[i].pos,
					   lane[i].len, 1), 0);
			check_guards(r, lane[i].offset, lane[i].len);
		}
	}
}

static bool lanes_meet(const struct lane *a, const struct lane *b)
{
	return a->pos < b->pos + b->len && b->pos < a->pos + a->len;
}

static void sweep_writes(struct rig *r, unsigned int rounds)
{
	uint32_t block = r->limits.write_block_size;
	static uint64_t seed[WHOLE / 512];
	struct lane lane[LANES];
	unsigned int i, k, n;
	uint64_t at, next = 1;

	for (i = 0; i < WHOLE / block; i++)
		seed[i] = 1;
	while (rounds--) {
		for (n = 0, i = 0; i < LANES; i++) {
			lane_draw(&lane[n], n, block);
			for (k = 0; k < n; k++)
				if (lanes_meet(&lane[n], &lane[k]))
					break;
			if (k < n)
				continue;
			lane[n].seed = ++next;
			rig_fill(r, lane[n].offset, lane[n].pos, lane[n].len,
				 lane[n].seed);
			for (at = 0; at < lane[n].len; at += block)
				seed[(lane[n].pos + at) / block] = next;
			lane_submit(r, &lane[n], n, WRITE_CMD);
			n++;
		}
		lanes_run(lane, n);
	}
	for (i = 0; i < WHOLE / block; i++) {
		CHECK_EQ(rig_check_disk(r, i * block, block, seed[i]), 0);
	}
	CHECK_EQ(size_of(r->bdev), WHOLE);
}

/* Every length and alignment, pages of the buffer in any order. */
static void sweep(struct fs *fs, const char *name, unsigned int rounds)
{
	struct rig r;
	int chan;

	rig_up_file(&r, fs, name, PAGE);
	chan = r.chan;
	munmap(r.mem, r.size);
	close(r.dmabuf);
	rig_buffer(&r, LANES * LANE, true);
	rig_register(&r);
	rig_bind(&r);
	close(chan);
	rig_fill_disk(&r, 0, WHOLE, 1);
	sweep_reads(&r, rounds);
	sweep_writes(&r, rounds);
	CHECK_EQ(rig_info(&r).errors, 0);
	rig_down_file(&r);
}

FILE_TEST(any_length_at_any_place_in_any_memory)
{
	srand(1);
	sweep(fs, __func__, 10);
}

static void sweep_ring(struct fs *fs, const char *name, unsigned int flags)
{
	srand(flags);
	rig_ring_flags(64, IORING_SETUP_CQE32 | flags);
	sweep(fs, name, 2);
}

FILE_TEST(a_kernel_thread_may_submit)
{
	sweep_ring(fs, __func__, IORING_SETUP_SQPOLL);
}

FILE_TEST(completions_may_be_deferred_to_the_task)
{
	sweep_ring(fs, __func__, IORING_SETUP_SINGLE_ISSUER |
				 IORING_SETUP_DEFER_TASKRUN);
}

FILE_TEST(a_ring_that_polls_is_served)
{
	sweep_ring(fs, __func__, IORING_SETUP_IOPOLL);
}

/* 5 GiB do not fit in 32 bits. */
FILE_TEST(a_write_far_behind_the_end_leaves_a_hole)
{
	uint64_t far = 5 * 1024 * MIB;
	struct stat st;
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	channel_writes(&r, 0, BLOCK, 0, 1);
	channel_writes(&r, far, BLOCK, 0, 2);
	CHECK_EQ(fstat(r.bdev, &st), 0);
	CHECK_EQ(st.st_size, far + BLOCK);
	CHECK(st.st_blocks < (long)(8 * KIB));
	channel_reads(&r, far - 64 * KIB, 128 * KIB, 512, 64 * KIB + BLOCK);
	CHECK_EQ(bytes_not(r.mem + 512, 64 * KIB, 0), 0);
	CHECK_EQ(rig_check(&r, 512 + 64 * KIB, far, BLOCK, 2), 0);
	channel_reads(&r, 0, 2 * BLOCK, 512, 2 * BLOCK);
	CHECK_EQ(rig_check(&r, 512, 0, BLOCK, 1), 0);
	CHECK_EQ(bytes_not(r.mem + 512 + BLOCK, BLOCK, 0), 0);
}

/* ---- the page cache ---- */

FILE_TEST(a_read_sees_what_is_dirty_in_the_page_cache)
{
	unsigned char *map;
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	fd = fs_open(fs, __func__, O_RDWR);
	buffered_write(fd, 8 * KIB, 8 * KIB, 2);
	channel_reads(&r, 0, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 8 * KIB, 1), 0);
	CHECK_EQ(rig_check(&r, 512 + 8 * KIB, 8 * KIB, 8 * KIB, 2), 0);
	CHECK_EQ(rig_check(&r, 512 + 16 * KIB, 16 * KIB, 48 * KIB, 1), 0);

	map = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	data_fill(map + 20 * KIB, 20 * KIB, 8 * KIB, 3);
	channel_reads(&r, 16 * KIB, 16 * KIB, 512, 16 * KIB);
	CHECK_EQ(rig_check(&r, 512, 16 * KIB, 4 * KIB, 1), 0);
	CHECK_EQ(rig_check(&r, 512 + 4 * KIB, 20 * KIB, 8 * KIB, 3), 0);
	CHECK_EQ(rig_check(&r, 512 + 12 * KIB, 28 * KIB, 4 * KIB, 1), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

/* Data without blocks yet: the read allocates them, by writing back. */
FILE_TEST(a_read_sees_what_has_no_blocks_yet)
{
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	fd = fs_open(fs, __func__, O_RDWR);
	buffered_write(fd, 0, 300 * KIB, 1);
	channel_reads(&r, 0, 300 * KIB, 512, 300 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 300 * KIB, 1), 0);
}

FILE_TEST(a_write_is_seen_through_the_page_cache)
{
	unsigned char *map;
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	fd = fs_open(fs, __func__, O_RDWR);
	map = mmap(NULL, 64 * KIB, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK_EQ(buffered_check(fd, 0, 64 * KIB, 1), 0);
	CHECK_EQ(data_check(map, 0, 64 * KIB, 1, NULL), 0);
	channel_writes(&r, 8 * KIB, 8 * KIB, 512, 2);
	CHECK_EQ(buffered_check(fd, 0, 8 * KIB, 1), 0);
	CHECK_EQ(buffered_check(fd, 8 * KIB, 8 * KIB, 2), 0);
	CHECK_EQ(data_check(map + 8 * KIB, 8 * KIB, 8 * KIB, 2, NULL), 0);
	CHECK_EQ(buffered_check(fd, 16 * KIB, 48 * KIB, 1), 0);
}

FILE_TEST(a_write_wins_over_what_was_dirty_before)
{
	unsigned char *map;
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	fd = fs_open(fs, __func__, O_RDWR);
	map = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	data_fill(map, 0, 64 * KIB, 2);
	channel_writes(&r, 8 * KIB, 8 * KIB, 512, 3);
	CHECK_EQ(data_check(map, 0, 8 * KIB, 2, NULL), 0);
	CHECK_EQ(data_check(map + 8 * KIB, 8 * KIB, 8 * KIB, 3, NULL), 0);
	CHECK_EQ(msync(map, 64 * KIB, MS_SYNC), 0);
	CHECK_EQ(rig_check_disk(&r, 0, 8 * KIB, 2), 0);
	CHECK_EQ(rig_check_disk(&r, 8 * KIB, 8 * KIB, 3), 0);
	CHECK_EQ(rig_check_disk(&r, 16 * KIB, 48 * KIB, 2), 0);
}

/* Somebody who dirties pages next to it all the time, in the same folios. */
struct dirtier {
	unsigned char	*map;
	unsigned int	pause_us;
	volatile bool	stop;
	uint64_t	rounds;
	pthread_t	thread;
};

static void *dirty_on(void *arg)
{
	struct dirtier *d = arg;
	uint64_t at;

	while (!d->stop) {
		for (at = 0; at < MIB; at += 8 * KIB)
			d->map[at] = d->rounds;
		d->rounds++;
		usleep(d->pause_us);
	}
	return NULL;
}

/*
 * Every other block is dirtied through a mapping, the rest written and read by
 * the channel.  What cannot be invalidated just then is tried again.
 */
static void neighbour(struct fs *fs, const char *name, unsigned int pause_us)
{
	struct dirtier d = { .pause_us = pause_us };
	unsigned int i, n;
	struct rig r;
	int fd;

	rig_up_file(&r, fs, name, BUF);
	fd = fs_open(fs, name, O_RDWR);
	buffered_write(fd, 0, MIB, 1);
	d.map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(d.map != MAP_FAILED);
	CHECK_EQ(pthread_create(&d.thread, NULL, dirty_on, &d), 0);
	for (n = 2; n < 6; n++) {
		for (i = 0; i < MIB / (8 * KIB); i++) {
			uint64_t pos = i * 8 * KIB + BLOCK;

			channel_writes(&r, pos, BLOCK, 0, n);
			CHECK_EQ(data_check(d.map + pos, pos, BLOCK, n, NULL),
				 0);
			channel_reads(&r, pos, BLOCK, BLOCK, BLOCK);
			CHECK_EQ(rig_check(&r, BLOCK, pos, BLOCK, n), 0);
		}
	}
	d.stop = true;
	pthread_join(d.thread, NULL);
	CHECK(d.rounds > 0);
	for (i = 0; i < MIB / (8 * KIB); i++)
		CHECK_EQ(buffered_check(fd, i * 8 * KIB + BLOCK, BLOCK, 5), 0);
	printf("# %llu rounds of the neighbour, %llu retries\n",
	       (unsigned long long)d.rounds,
	       (unsigned long long)rig_info(&r).retries);
}

FILE_TEST(a_neighbour_that_dirties_pages_is_in_nobodys_way)
{
	neighbour(fs, __func__, 1000);
}

FILE_TEST(a_neighbour_that_dirties_pages_all_the_time_is_in_nobodys_way)
{
	neighbour(fs, __func__, 0);
}

/* ---- sizes ---- */

static void age(int fd)
{
	struct timespec then[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	CHECK_EQ(futimens(fd, then), 0);
}

static time_t mtime(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_mtime;
}

FILE_TEST(a_write_behind_the_end_extends_the_file)
{
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	age(r.bdev);
	channel_writes(&r, 0, 8 * KIB, 0, 1);
	CHECK_EQ(size_of(r.bdev), 8 * KIB);
	CHECK(mtime(r.bdev) > 1);
	/* Over the end. */
	channel_writes(&r, BLOCK, 8 * KIB, 0, 2);
	CHECK_EQ(size_of(r.bdev), 12 * KIB);
	/* Over an end that is not that of a block. */
	CHECK_EQ(ftruncate(r.bdev, 5000), 0);
	channel_writes(&r, 0, BLOCK, 0, 3);
	CHECK_EQ(size_of(r.bdev), 5000);
	channel_writes(&r, BLOCK, BLOCK, 0, 4);
	CHECK_EQ(size_of(r.bdev), 8 * KIB);
	/* Behind one: what is between is zero. */
	CHECK_EQ(ftruncate(r.bdev, 5000), 0);
	channel_writes(&r, 8 * KIB, BLOCK, 0, 5);
	CHECK_EQ(size_of(r.bdev), 12 * KIB);
	rig_down_file(&r);
	fs_cycle(fs);
	fd = fs_open(fs, __func__, O_RDONLY);
	CHECK_EQ(size_of(fd), 12 * KIB);
	CHECK_EQ(buffered_check(fd, 0, BLOCK, 3), 0);
	CHECK_EQ(buffered_check(fd, BLOCK, 5000 - BLOCK, 4), 0);
	CHECK_EQ(buffered_zeros(fd, 5000, 8 * KIB - 5000), 0);
	CHECK_EQ(buffered_check(fd, 8 * KIB, BLOCK, 5), 0);
}

FILE_TEST(a_write_of_less_than_blocks_is_refused)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	age(r.bdev);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 512, BLOCK, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, 512, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 64 * KIB, 512, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, 0, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, BLOCK, 2), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 100, 512, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 100, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, -BLOCK, BLOCK, 0), -EINVAL,
		      BLK_DMABUF_RANGE);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, BLOCK, BUF), -ERANGE,
		      BLK_DMABUF_RANGE);
	CHECK_EQ(size_of(r.bdev), 64 * KIB);
	CHECK_EQ(mtime(r.bdev), 1);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

/* What the last block has behind the end is read with it, as zeros. */
FILE_TEST(a_read_ends_where_the_file_ends)
{
	unsigned int i;
	struct rig r;
	static const struct { uint64_t pos; uint32_t len; } past[] = {
		{ 5120, 512 }, { 8192, BLOCK }, { MIB, BLOCK },
		{ 1ULL << 40, BLOCK },
	};

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 8 * KIB, 1);
	CHECK_EQ(ftruncate(r.bdev, 5000), 0);
	channel_reads(&r, 0, 64 * KIB, 512, 5000);
	CHECK_EQ(rig_check(&r, 512, 0, 5000, 1), 0);
	CHECK_EQ(bytes_not(r.mem + 512 + 5000, 120, 0), 0);
	CHECK_EQ(poison_check(r.mem + 512 + 5120, 64 * KIB, NULL), 0);
	channel_reads(&r, 4608, 512, 512, 392);
	CHECK_EQ(rig_check(&r, 512, 4608, 392, 1), 0);
	refused_begin();
	for (i = 0; i < ARRAY_SIZE(past); i++) {
		channel_reads(&r, past[i].pos, past[i].len, 512, 0);
		CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
	}
	refused_end(0, 0);

	/* An empty one, and one whose end is that of a block. */
	CHECK_EQ(ftruncate(r.bdev, 0), 0);
	channel_reads(&r, 0, 64 * KIB, 512, 0);
	CHECK_EQ(ftruncate(r.bdev, 8 * KIB), 0);
	channel_reads(&r, BLOCK, 64 * KIB, 512, BLOCK);
	CHECK_EQ(bytes_not(r.mem + 512, BLOCK, 0), 0);
	CHECK_EQ(poison_check(r.mem + 512 + BLOCK, 64 * KIB, NULL), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

/* ---- holes ---- */

FILE_TEST(a_hole_reads_as_zeros)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(ftruncate(r.bdev, 512 * KIB), 0);
	channel_reads(&r, 0, 512 * KIB, 512, 512 * KIB);
	CHECK_EQ(bytes_not(r.mem + 512, 512 * KIB, 0), 0);
	/* Data in it. */
	rig_fill_disk(&r, 64 * KIB, 64 * KIB, 1);
	rig_fill_disk(&r, 256 * KIB, BLOCK, 1);
	channel_reads(&r, 512, 300 * KIB, 516, 300 * KIB);
	CHECK_EQ(bytes_not(r.mem + 516, 64 * KIB - 512, 0), 0);
	CHECK_EQ(rig_check(&r, 516 + 64 * KIB - 512, 64 * KIB, 64 * KIB, 1), 0);
	CHECK_EQ(bytes_not(r.mem + 4 + 128 * KIB, 128 * KIB, 0), 0);
	CHECK_EQ(rig_check(&r, 4 + 256 * KIB, 256 * KIB, BLOCK, 1), 0);
	CHECK_EQ(bytes_not(r.mem + 4 + 260 * KIB, 40 * KIB, 0), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

FILE_TEST(a_write_fills_a_hole_and_no_more)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(ftruncate(r.bdev, 512 * KIB), 0);
	channel_writes(&r, 100 * KIB, 8 * KIB, 0, 1);
	CHECK_EQ(direct_zeros(&r, 0, 100 * KIB), 0);
	CHECK_EQ(rig_check_disk(&r, 100 * KIB, 8 * KIB, 1), 0);
	CHECK_EQ(direct_zeros(&r, 108 * KIB, 404 * KIB), 0);
}

/* Blocks that are there and hold somebody else's old data. */
static void stale_blocks(struct fs *fs)
{
	struct rig old = { .bdev = fs_open(fs, "old", O_RDWR | O_CREAT |
						      O_DIRECT) };
	uint64_t at;

	for (at = 0; at < 16 * MIB; at += MIB)
		rig_fill_disk(&old, at, MIB, 666);
	CHECK_EQ(fsync(old.bdev), 0);
	close(old.bdev);
	CHECK_EQ(unlink(fs_path(fs, "old")), 0);
	sync();
}

FILE_TEST(unwritten_blocks_read_as_zeros_until_they_are_written)
{
	struct rig r;

	stale_blocks(fs);
	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(fallocate(r.bdev, 0, 0, 512 * KIB), 0);
	channel_reads(&r, 0, 512 * KIB, 512, 512 * KIB);
	CHECK_EQ(bytes_not(r.mem + 512, 512 * KIB, 0), 0);
	channel_writes(&r, 100 * KIB, 8 * KIB, 0, 1);
	channel_reads(&r, 0, 512 * KIB, 512, 512 * KIB);
	CHECK_EQ(bytes_not(r.mem + 512, 100 * KIB, 0), 0);
	CHECK_EQ(rig_check(&r, 512 + 100 * KIB, 100 * KIB, 8 * KIB, 1), 0);
	CHECK_EQ(bytes_not(r.mem + 512 + 108 * KIB, 404 * KIB, 0), 0);
	rig_down_file(&r);
	fs_cycle(fs);
	r.bdev = fs_open(fs, __func__, O_RDONLY | O_DIRECT);
	CHECK_EQ(direct_zeros(&r, 0, 100 * KIB), 0);
	CHECK_EQ(rig_check_disk(&r, 100 * KIB, 8 * KIB, 1), 0);
	CHECK_EQ(direct_zeros(&r, 108 * KIB, 404 * KIB), 0);
}

/* FALLOC_FL_KEEP_SIZE: blocks behind the end. */
FILE_TEST(blocks_behind_the_end_are_none_of_the_file)
{
	struct rig r;

	stale_blocks(fs);
	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(fallocate(r.bdev, FALLOC_FL_KEEP_SIZE, 0, 512 * KIB), 0);
	channel_reads(&r, 0, 64 * KIB, 512, 0);
	channel_writes(&r, 64 * KIB, BLOCK, 0, 1);
	CHECK_EQ(size_of(r.bdev), 68 * KIB);
	channel_reads(&r, 0, 512 * KIB, 512, 68 * KIB);
	CHECK_EQ(bytes_not(r.mem + 512, 64 * KIB, 0), 0);
	CHECK_EQ(rig_check(&r, 512 + 64 * KIB, 64 * KIB, BLOCK, 1), 0);
	CHECK_EQ(poison_check(r.mem + 512 + 68 * KIB, 444 * KIB, NULL), 0);
}

/* A hole needs vmap, data does not. */
FILE_TEST(a_hole_is_not_read_into_a_buffer_without_a_CPU_mapping)
{
	struct rig r;
	int plain;

	rig_up_file(&r, fs, __func__, BUF);
	plain = r.dmabuf;
	munmap(r.mem, BUF);
	r.dmabuf = mover_create(BUF, MOVER_NO_VMAP);
	close(plain);
	r.mem = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, r.dmabuf,
		     0);
	CHECK(r.mem != MAP_FAILED);
	rig_register(&r);
	close(r.chan);
	rig_bind(&r);

	CHECK_EQ(ftruncate(r.bdev, 256 * KIB), 0);
	channel_writes(&r, 64 * KIB, 64 * KIB, 0, 1);
	channel_reads(&r, 64 * KIB, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 64 * KIB, 64 * KIB, 1), 0);
	memset(r.mem, POISON, BUF);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 64 * KIB, 512), -EOPNOTSUPP,
		      BLK_DMABUF_HOLE);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
	/* Part data, part hole: nothing outside the range, no wrong byte. */
	CHECK_REFUSED(rig_io(&r, READ_CMD, 64 * KIB, 128 * KIB, 512),
		      -EOPNOTSUPP, BLK_DMABUF_HOLE);
	CHECK_EQ(poison_check(r.mem, 512, NULL), 0);
	CHECK_EQ(poison_check(r.mem + 512 + 64 * KIB, BUF - 512 - 64 * KIB,
			      NULL), 0);
	/* Unwritten blocks are holes to a reader. */
	CHECK_EQ(fallocate(r.bdev, 0, 0, 64 * KIB), 0);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, BLOCK, 512), -EOPNOTSUPP,
		      BLK_DMABUF_HOLE);
	/* The ring and the channel are as good as before. */
	channel_writes(&r, 0, 64 * KIB, 0, 2);
	channel_reads(&r, 0, 128 * KIB, 512, 128 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 2), 0);
	CHECK_EQ(rig_check(&r, 512 + 64 * KIB, 64 * KIB, 64 * KIB, 1), 0);
	CHECK_EQ(mover_stat(r.dmabuf).vmaps, 0);
}

FILE_TEST(holes_and_data_are_read_while_the_buffer_moves)
{
	unsigned int i;
	struct rig r;
	int plain;

	rig_up_file(&r, fs, __func__, BUF);
	plain = r.dmabuf;
	munmap(r.mem, BUF);
	r.dmabuf = mover_create(256 * KIB, MOVER_SHUFFLE);
	close(plain);
	r.size = 256 * KIB;
	r.mem = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     r.dmabuf, 0);
	CHECK(r.mem != MAP_FAILED);
	rig_register(&r);
	close(r.chan);
	rig_bind(&r);
	CHECK_EQ(ftruncate(r.bdev, 192 * KIB), 0);
	rig_fill_disk(&r, 64 * KIB, 64 * KIB, 1);
	mover_storm(r.dmabuf, 200);
	for (i = 0; i < 30; i++) {
		channel_reads(&r, 0, 192 * KIB, 512, 192 * KIB);
		CHECK_EQ(bytes_not(r.mem + 512, 64 * KIB, 0), 0);
		CHECK_EQ(rig_check(&r, 512 + 64 * KIB, 64 * KIB, 64 * KIB, 1),
			 0);
		CHECK_EQ(bytes_not(r.mem + 512 + 128 * KIB, 64 * KIB, 0), 0);
	}
	mover_storm(r.dmabuf, 0);
	CHECK_EQ(mover_stat(r.dmabuf).late_writes, 0);
	CHECK(mover_stat(r.dmabuf).moves > 0);
}

/*
 * Files of old ext4 cannot have unwritten blocks, and direct I/O does not fill
 * holes of theirs: the file system tries to copy, which makes zeros of the
 * hole, and the I/O that is issued again finds blocks.
 */
TEST(a_hole_is_filled_where_no_block_can_be_unwritten)
{
	struct fs fs = {
		.type = "ext4", .serial = "disk2",
		.make = "-b 4096 -O ^extent,^64bit",
	};
	struct rig r;

	fs_make(&fs);
	stale_blocks(&fs);
	rig_up_file(&r, &fs, "x", BUF);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_EQ(ftruncate(r.bdev, 256 * KIB), 0);
	channel_writes(&r, 128 * KIB, 16 * KIB, 0, 2);
	channel_writes(&r, 0, 64 * KIB, 0, 3);
	channel_writes(&r, 256 * KIB, 64 * KIB, 0, 4);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 3), 0);
	CHECK_EQ(direct_zeros(&r, 64 * KIB, 64 * KIB), 0);
	CHECK_EQ(rig_check_disk(&r, 128 * KIB, 16 * KIB, 2), 0);
	CHECK_EQ(direct_zeros(&r, 144 * KIB, 112 * KIB), 0);
	CHECK_EQ(rig_check_disk(&r, 256 * KIB, 64 * KIB, 4), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
	rig_down_file(&r);
	fs_umount(&fs);
	fs_check(&fs);
}

/* ---- O_APPEND, O_DSYNC ---- */

FILE_TEST(a_file_opened_to_append_grows_at_its_end)
{
	unsigned int i;
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 8 * KIB, 1);
	rig_reopen(&r, fs, __func__, O_RDWR | O_APPEND);
	/* Whatever position it is given. */
	for (i = 0; i < 8; i++) {
		rig_fill(&r, 0, 8 * KIB + i * BLOCK, BLOCK, 2);
		CHECK_EQ(rig_io(&r, WRITE_CMD, i * BLOCK, BLOCK, 0), BLOCK);
		if (i % 2)
			CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	}
	CHECK_EQ(size_of(r.bdev), 40 * KIB);
	CHECK_EQ(rig_check_disk(&r, 0, 8 * KIB, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 8 * KIB, 32 * KIB, 2), 0);
	/* Reads are where they say. */
	channel_reads(&r, 512, 8 * KIB, 512, 8 * KIB);
	CHECK_EQ(rig_check(&r, 512, 512, 8 * KIB - 512, 1), 0);
	CHECK_EQ(rig_check(&r, 8 * KIB, 8 * KIB, 512, 2), 0);

	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 512, BLOCK, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_EQ(ftruncate(r.bdev, 5000), 0);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_EQ(size_of(r.bdev), 5000);
	rig_reopen(&r, fs, __func__, O_RDWR);
	CHECK_EQ(rig_check_disk(&r, 0, 4608, 1), 0);
}

/* Records of a plain writer that appends as well. */
struct appender {
	int		fd;
	volatile bool	stop;
	uint64_t	done;
	pthread_t	thread;
};

#define RECORD_SEED(who, nr)	((uint64_t)(who) << 32 | (nr))

static void *append_on(void *arg)
{
	struct appender *a = arg;
	void *mem = aligned_alloc(PAGE, BLOCK);

	while (!a->stop) {
		data_fill(mem, 0, BLOCK, RECORD_SEED(2, a->done));
		if (write(a->fd, mem, BLOCK) != (ssize_t)BLOCK)
			break;
		a->done++;
	}
	return NULL;
}

/* Each record is there once, whole, in the order of its writer. */
static void check_records(struct rig *r, uint64_t ours, uint64_t theirs)
{
	uint64_t pos, size = size_of(r->bdev), n[3] = {};
	void *mem = aligned_alloc(PAGE, BLOCK);

	CHECK_EQ(size, (ours + theirs) * BLOCK);
	for (pos = 0; pos < size; pos += BLOCK) {
		unsigned int who;

		rig_plain(r, false, mem, pos, BLOCK);
		for (who = 1; who < 3; who++)
			if (!data_check(mem, 0, BLOCK, RECORD_SEED(who, n[who]),
					NULL))
				break;
		if (who == 3)
			tap_fail(__FILE__, __LINE__,
				 "%llu: not the record %llu or %llu that is due",
				 (unsigned long long)pos,
				 (unsigned long long)n[1],
				 (unsigned long long)n[2]);
		n[who]++;
	}
	CHECK_EQ(n[1], ours);
	CHECK_EQ(n[2], theirs);
	free(mem);
}

/*
 * One at a time: I/O that is issued again must not append twice.  Not on XFS,
 * which loses appends of others beside asynchronous direct ones, as ordinary
 * io_uring writes show.
 */
TEST(appends_of_two_writers_are_each_there_once_on_ext4)
{
	struct fs *fs = fs_use(&ext4);
	struct appender a = {};
	struct rig r;
	uint64_t i;

	rig_up_file(&r, fs, __func__, BUF);
	rig_reopen(&r, fs, __func__, O_RDWR | O_APPEND);
	a.fd = fs_open(fs, __func__, O_WRONLY | O_APPEND);
	CHECK_EQ(pthread_create(&a.thread, NULL, append_on, &a), 0);
	for (i = 0; i < 200; i++) {
		rig_fill(&r, 0, 0, BLOCK, RECORD_SEED(1, i));
		CHECK_EQ(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), BLOCK);
		if (i % 2)
			CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	}
	a.stop = true;
	pthread_join(a.thread, NULL);
	rig_reopen(&r, fs, __func__, O_RDWR);
	check_records(&r, 200, a.done);
}

/* Lines of the block layer's trace that have a word of flags with an F. */
#define TRACE_DIR "/sys/kernel/tracing/instances/files"

static void trace_flushes(void)
{
	CHECK(!mkdir(TRACE_DIR, 0755) || errno == EEXIST);
	put(TRACE_DIR "/trace", "");
	put(TRACE_DIR "/events/block/block_rq_issue/enable", "1");
}

static unsigned int traced_flushes(void)
{
	unsigned int n = 0;
	char line[512], *at, word[16];
	FILE *f;

	put(TRACE_DIR "/events/block/block_rq_issue/enable", "0");
	f = fopen(TRACE_DIR "/trace", "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, "block_rq_issue: ");
		if (at && sscanf(at, "block_rq_issue: %*s %15s", word) == 1 &&
		    strchr(word, 'F'))
			n++;
	}
	fclose(f);
	rmdir(TRACE_DIR);
	return n;
}

static void check_durable(struct fs *fs, const char *name, int flags)
{
	struct rig r;

	rig_up_file(&r, fs, name, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	CHECK_EQ(fsync(r.bdev), 0);
	rig_reopen(&r, fs, name, O_RDWR | flags);
	/* Over what is there, and behind the end. */
	trace_flushes();
	channel_writes(&r, 0, BLOCK, 0, 2);
	CHECK(traced_flushes() > 0);
	trace_flushes();
	channel_writes(&r, 64 * KIB, BLOCK, 0, 3);
	CHECK(traced_flushes() > 0);
	CHECK_EQ(rig_check_disk(&r, 0, BLOCK, 2), 0);
	CHECK_EQ(rig_check_disk(&r, 64 * KIB, BLOCK, 3), 0);
	CHECK_EQ(size_of(r.bdev), 68 * KIB);
	rig_down_file(&r);
}

FILE_TEST(writes_to_a_file_opened_O_DSYNC_are_durable)
{
	check_durable(fs, __func__, O_DSYNC);
}

FILE_TEST(writes_to_a_file_opened_O_SYNC_are_durable)
{
	check_durable(fs, __func__, O_SYNC);
}

/* ---- beside what changes the file ---- */

/*
 * A block is always one of: zeros, or data that says its own position, of the
 * seed that all writers use.  Collapsing shifts it by whole multiples of SHIFT.
 */
#define SHIFT		(256 * KIB)
#define LEGAL_SEED	9
#define BESIDE		(2 * MIB)

static bool legal(const unsigned char *mem, uint64_t pos, uint64_t len)
{
	uint64_t at, i;

	for (at = 0; at < len; at += 512) {
		uint64_t in = (pos + at) % SHIFT;

		/* A short block at the end may be followed by zeros. */
		for (i = 0; i < 512 && !mem[at + i]; i++)
			;
		if (i == 512)
			continue;
		if (data_check(mem + at, in, 512, LEGAL_SEED, NULL))
			return false;
	}
	return true;
}

static void legal_fill(unsigned char *mem, uint64_t pos, uint64_t len)
{
	uint64_t at;

	for (at = 0; at < len; at += 512)
		data_fill(mem + at, (pos + at) % SHIFT, 512, LEGAL_SEED);
}

struct changer {
	int		fd;
	bool		can_shift;
	volatile bool	stop;
	unsigned int	rounds;
	pthread_t	thread;
};

static void *change_on(void *arg)
{
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, 0,
	};
	struct changer *c = arg;

	while (!c->stop) {
		unsigned int what = c->rounds % 7;
		uint64_t pos = c->rounds * 17 % 8 * SHIFT, len = SHIFT;

		if (what == 5)
			CHECK_EQ(ftruncate(c->fd, BESIDE / 2), 0);
		else if (what == 6)
			CHECK_EQ(ftruncate(c->fd, BESIDE), 0);
		else if (fallocate(c->fd, modes[what], pos, len))
			/* What is shifted has to be inside the file. */
			CHECK((modes[what] & (FALLOC_FL_COLLAPSE_RANGE |
					      FALLOC_FL_INSERT_RANGE)) &&
			      errno == EINVAL);
		c->rounds++;
	}
	return NULL;
}

#define BESIDE_DEPTH	16
#define BESIDE_LEN	(32 * KIB)

static void beside_submit(struct rig *r, unsigned int nr)
{
	uint64_t offset = nr * BESIDE_LEN;
	uint64_t pos = rand() % (BESIDE / BESIDE_LEN) * BESIDE_LEN;
	bool write = rand() % 2;

	if (write)
		legal_fill(r->mem + offset, pos, BESIDE_LEN);
	else
		memset(r->mem + offset, POISON, BESIDE_LEN);
	rig_sqe(r, write ? WRITE_CMD : READ_CMD, pos, BESIDE_LEN,
		offset)->user_data = pos << 8 | nr << 1 | write;
}

/* A read is short where the file was just then. */
static void beside_check(struct rig *r, struct rig_done done)
{
	uint64_t offset = (done.user >> 1) % 128 * BESIDE_LEN;
	bool write = done.user & 1;

	if (done.res < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s",
			 write ? "write" : "read", strerror(-done.res));
	if (write) {
		CHECK_EQ(done.res, BESIDE_LEN);
		return;
	}
	CHECK_EQ(done.res % 512, 0);
	CHECK(legal(r->mem + offset, done.user >> 8, done.res));
}

FILE_TEST(fallocate_and_truncate_beside_IO_show_no_old_data)
{
	struct changer c = {};
	unsigned int i, n;
	uint64_t end, at;
	struct rig r;
	char *mem;

	srand(5);
	stale_blocks(fs);
	rig_up_file(&r, fs, __func__, BESIDE_DEPTH * BESIDE_LEN);
	c.fd = fs_open(fs, __func__, O_RDWR);
	CHECK_EQ(ftruncate(c.fd, BESIDE), 0);
	CHECK_EQ(pthread_create(&c.thread, NULL, change_on, &c), 0);
	end = now_ms() + 5000;
	for (i = 0; i < BESIDE_DEPTH; i++)
		beside_submit(&r, i);
	for (n = 0; now_ms() < end || c.rounds < 14; n++) {
		struct rig_done done;

		CHECK(io_uring_submit(&rig_uring) >= 0);
		done = rig_reap();
		beside_check(&r, done);
		beside_submit(&r, (done.user >> 1) % 128);
	}
	CHECK(io_uring_submit(&rig_uring) >= 0);
	for (i = 0; i < BESIDE_DEPTH; i++)
		beside_check(&r, rig_reap());
	c.stop = true;
	pthread_join(c.thread, NULL);
	printf("# %u I/Os beside %u changes\n", n, c.rounds);
	mem = aligned_alloc(PAGE, BESIDE);
	for (at = 0; at < size_of(c.fd); at += BESIDE_LEN) {
		ssize_t ret = pread(r.bdev, mem, BESIDE_LEN, at);

		CHECK(ret > 0);
		CHECK(legal((unsigned char *)mem, at, ret / 512 * 512));
	}
	rig_down_file(&r);
}

/* What was in flight when the file was cut does not come back to it. */
FILE_TEST(a_file_that_was_cut_has_zeros_where_it_grows)
{
	unsigned int i, n;
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	for (n = 0; n < 20; n++) {
		rig_fill_disk(&r, 0, 512 * KIB, 1);
		for (i = 0; i < 8; i++)
			rig_sqe(&r, WRITE_CMD, i * 64 * KIB, 64 * KIB,
				i * 64 * KIB);
		CHECK_EQ(io_uring_submit(&rig_uring), 8);
		CHECK_EQ(ftruncate(r.bdev, 0), 0);
		for (i = 0; i < 8; i++)
			CHECK_EQ(rig_reap().res, 64 * KIB);
		/* Writes that came after it made it longer again. */
		CHECK_EQ(ftruncate(r.bdev, 0), 0);
		CHECK_EQ(ftruncate(r.bdev, 512 * KIB), 0);
		CHECK_EQ(direct_zeros(&r, 0, 512 * KIB), 0);
	}
}

FILE_TEST(a_file_without_a_name_serves_until_its_channel_is_closed)
{
	struct rig r;
	char *mem = malloc(64 * KIB);

	rig_up_file(&r, fs, __func__, BUF);
	CHECK_EQ(unlink(fs_path(fs, __func__)), 0);
	close(r.bdev);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	channel_reads(&r, 0, 128 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 1), 0);
	CHECK_EQ(ftruncate(r.chan, 0), -1);
	free(mem);
	r.bdev = -1;
	rig_down_file(&r);
	fs_cycle(fs);
	CHECK(access(fs_path(fs, __func__), F_OK));
}

TEST(files_that_share_blocks_are_written_apart)
{
	struct fs *fs = fs_use(&xfs);
	struct rig r;
	int other;

	rig_up_file(&r, fs, __func__, BUF);
	channel_writes(&r, 0, 512 * KIB, 0, 1);
	unlink(fs_path(fs, "clone"));
	other = fs_open(fs, "clone", O_RDWR | O_CREAT);
	if (ioctl(other, FICLONE, r.bdev))
		tap_skip("reflink");
	/* The channel was open before it shared anything. */
	channel_reads(&r, 512, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 512, 64 * KIB, 1), 0);
	channel_writes(&r, 64 * KIB, 8 * KIB, 0, 2);
	CHECK_EQ(buffered_check(other, 0, 512 * KIB, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 64 * KIB, 8 * KIB, 2), 0);
	CHECK_EQ(rig_check_disk(&r, 72 * KIB, 440 * KIB, 1), 0);
	/* And one that is opened on the other, with buffers not mapped. */
	rig_reopen(&r, fs, "clone", O_RDWR);
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	channel_writes(&r, 0, 64 * KIB, 0, 3);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 3), 0);
	CHECK_EQ(rig_check_disk(&r, 64 * KIB, 448 * KIB, 1), 0);
	rig_reopen(&r, fs, __func__, O_RDWR);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 64 * KIB, 8 * KIB, 2), 0);
}

/* ---- state that changes when the channel is open ---- */

/* No wrong byte: nothing, or what the file has. */
static void check_unharmed(struct rig *r, uint64_t offset, uint64_t pos,
			   uint64_t len, uint64_t seed)
{
	unsigned char *mem = r->mem + offset;
	uint64_t i;

	for (i = 0; i < len; i += 512)
		CHECK(!poison_check(mem + i, 512, NULL) ||
		      !data_check(mem + i, pos + i, 512, seed, NULL));
}

TEST(a_file_that_becomes_journalled_fails_until_it_is_not)
{
	struct fs *fs = &journalling;
	struct rig r;

	fs_make(fs);
	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), 64 * KIB);
	set_flag(r.bdev, EXT4_JOURNAL_DATA_FL, true);
	CHECK_REFUSED(blkdmabuf_channel(r.bdev), -EOPNOTSUPP, BLK_DMABUF_FILE);

	memset(r.mem, POISON, BUF);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), -EOPNOTSUPP,
		      BLK_DMABUF_FILE);
	check_unharmed(&r, 0, 0, 64 * KIB, 1);
	rig_fill(&r, 0, 0, 64 * KIB, 2);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, 64 * KIB, 0), -EOPNOTSUPP,
		      BLK_DMABUF_FILE);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 64 * KIB, 64 * KIB, 0), -EOPNOTSUPP,
		      BLK_DMABUF_FILE);
	CHECK_EQ(size_of(r.bdev), 64 * KIB);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	CHECK_EQ(rig_info(&r).errors, 3);

	set_flag(r.bdev, EXT4_JOURNAL_DATA_FL, false);
	channel_reads(&r, 0, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 1), 0);
	channel_writes(&r, 0, 64 * KIB, 0, 3);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 3), 0);
	rig_down_file(&r);
	fs_umount(fs);
	fs_check(fs);
}

/* With I/O in flight all the time; each one works or fails, as a whole. */
TEST(a_file_that_becomes_journalled_and_back_shows_no_wrong_byte)
{
	unsigned int i, n, good = 0, bad = 0;
	struct fs *fs = &journalling;
	struct rig r;

	fs_make(fs);
	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 512 * KIB, 1);
	for (n = 0; n < 12; n++) {
		memset(r.mem, POISON, BUF);
		for (i = 0; i < 8; i++) {
			uint64_t at = i * 64 * KIB;

			if (i % 2)
				rig_fill(&r, at, at, 64 * KIB, 1);
			rig_sqe(&r, i % 2 ? WRITE_CMD : READ_CMD, at, 64 * KIB,
				at)->user_data = i;
		}
		CHECK_EQ(io_uring_submit(&rig_uring), 8);
		set_flag(r.bdev, EXT4_JOURNAL_DATA_FL, n % 2 == 0);
		for (i = 0; i < 8; i++) {
			struct rig_done done = rig_reap();
			uint64_t at = done.user * 64 * KIB;

			if (done.res < 0) {
				bad++;
				check_unharmed(&r, at, at, 64 * KIB, 1);
				continue;
			}
			good++;
			CHECK_EQ(done.res, 64 * KIB);
			CHECK_EQ(rig_check(&r, at, at, 64 * KIB, 1), 0);
		}
	}
	printf("# %u good, %u failed\n", good, bad);
	set_flag(r.bdev, EXT4_JOURNAL_DATA_FL, false);
	CHECK_EQ(rig_check_disk(&r, 0, 512 * KIB, 1), 0);
	rig_down_file(&r);
	fs_umount(fs);
	fs_check(fs);
}

TEST(a_file_that_becomes_verified_fails)
{
	struct fs *fs = fs_use(&ext4);
	struct rig r;
	int ret;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	rig_reopen(&r, fs, __func__, O_RDONLY);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), 64 * KIB);
	ret = enable_verity(r.bdev);
	if (ret == -EOPNOTSUPP)
		tap_skip("verity");
	CHECK_EQ(ret, 0);
	memset(r.mem, POISON, BUF);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), -EOPNOTSUPP,
		      BLK_DMABUF_FILE);
	check_unharmed(&r, 0, 0, 64 * KIB, 1);
	CHECK_EQ(buffered_check(r.bdev, 0, 64 * KIB, 1), 0);
}

/* chattr +i takes nothing from those who have it open that write() keeps. */
FILE_TEST(a_file_that_becomes_immutable_is_as_it_is_to_plain_writes)
{
	void *mem = aligned_alloc(PAGE, BLOCK);
	int plain, ours;
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	data_fill(mem, 0, BLOCK, 1);
	rig_fill(&r, 0, 0, BLOCK, 1);
	set_flag(r.bdev, FS_IMMUTABLE_FL, true);
	plain = pwrite(r.bdev, mem, BLOCK, 0) < 0 ? -errno : (int)BLOCK;
	ours = rig_io(&r, WRITE_CMD, 0, BLOCK, 0);
	set_flag(r.bdev, FS_IMMUTABLE_FL, false);
	CHECK_EQ(ours, plain);
	set_flag(r.bdev, FS_APPEND_FL, true);
	plain = pwrite(r.bdev, mem, BLOCK, 0) < 0 ? -errno : (int)BLOCK;
	ours = rig_io(&r, WRITE_CMD, 0, BLOCK, 0);
	set_flag(r.bdev, FS_APPEND_FL, false);
	CHECK_EQ(ours, plain);
}

/* ---- freezing ---- */

/* Thaws after 60 s, whatever becomes of the test. */
static pid_t thaw_later(const char *dir)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(0);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	sleep_ms(60000);
	ioctl(open(dir, O_RDONLY), FITHAW, 0);
	_exit(0);
}

static int freeze(struct fs *fs, pid_t *pid)
{
	int fd = open(fs->dir, O_RDONLY | O_DIRECTORY);

	CHECK(fd >= 0);
	*pid = thaw_later(fs->dir);
	CHECK_EQ(ioctl(fd, FIFREEZE, 0), 0);
	return fd;
}

static void thaw(int fd, pid_t pid)
{
	CHECK_EQ(ioctl(fd, FITHAW, 0), 0);
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void check_frozen(struct fs *fs, const char *name, bool mapped)
{
	struct io_uring_cqe *cqe;
	struct rig_done done;
	unsigned int i;
	struct rig r;
	pid_t pid;
	int fd;

	rig_up_file(&r, fs, name, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	rig_fill(&r, 0, 0, 8 * KIB, 2);
	if (mapped)
		CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	else
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	fd = freeze(fs, &pid);
	for (i = 0; i < 2; i++)
		rig_sqe(&r, WRITE_CMD, i * BLOCK, BLOCK,
			i * BLOCK)->user_data = i;
	CHECK_EQ(io_uring_submit(&rig_uring), 2);
	sleep_ms(500);
	CHECK_EQ(io_uring_peek_cqe(&rig_uring, &cqe), -EAGAIN);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	/* The ring serves what does not write. */
	rig_sqe(&r, READ_CMD, 0, 64 * KIB, 64 * KIB)->user_data = 99;
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
	done = rig_reap();
	CHECK_EQ(done.user, 99);
	CHECK_EQ(done.res, 64 * KIB);
	CHECK_EQ(rig_check(&r, 64 * KIB, 0, 64 * KIB, 1), 0);
	thaw(fd, pid);
	for (i = 0; i < 2; i++)
		CHECK_EQ(rig_reap().res, BLOCK);
	CHECK_EQ(rig_check_disk(&r, 0, 8 * KIB, 2), 0);
	CHECK_EQ(rig_check_disk(&r, 8 * KIB, 56 * KIB, 1), 0);
	/* It lets itself be frozen again: nothing is held. */
	fd = freeze(fs, &pid);
	thaw(fd, pid);
	CHECK_EQ(rig_info(&r).errors, 0);
	rig_down_file(&r);
}

FILE_TEST(a_write_waits_until_the_file_system_thaws)
{
	check_frozen(fs, __func__, true);
	check_frozen(fs, __func__, false);
}

/* Freezing has to wait for what is in flight, and not for ever. */
FILE_TEST(a_file_system_freezes_under_load)
{
	unsigned int i, n, writes = 0;
	struct rig r;
	pid_t pid;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, BUF, 1);
	rig_fill(&r, 0, 0, BUF, 1);
	for (n = 0; n < 10; n++) {
		for (i = 0; i < 16; i++)
			rig_sqe(&r, i % 2 ? WRITE_CMD : READ_CMD, i * 64 * KIB,
				64 * KIB, i * 64 * KIB)->user_data = i;
		CHECK_EQ(io_uring_submit(&rig_uring), 16);
		if (n % 3 == 0)
			CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		fd = freeze(fs, &pid);
		sleep_ms(20);
		thaw(fd, pid);
		for (i = 0; i < 16; i++) {
			CHECK_EQ(rig_reap().res, 64 * KIB);
			writes++;
		}
		CHECK_EQ(rig_check(&r, 0, 0, BUF, 1), 0);
	}
	CHECK_EQ(rig_check_disk(&r, 0, BUF, 1), 0);
}

/* ---- no room ---- */

static void fill_up(struct fs *fs)
{
	int fd = fs_open(fs, "filler", O_RDWR | O_CREAT);
	uint64_t step, at = 0;

	for (step = 64 * MIB; step >= BLOCK; step /= 2)
		while (!fallocate(fd, 0, at, step))
			at += step;
	CHECK_EQ(errno, ENOSPC);
	/* XFS keeps some back that is there a moment later. */
	sync();
	while (!fallocate(fd, 0, at, BLOCK))
		at += BLOCK;
	close(fd);
}

static void check_full(struct fs *fs)
{
	struct rig r;
	int ret;

	fs_make(fs);
	rig_up_file(&r, fs, "x", BUF);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_EQ(ftruncate(r.bdev, MIB), 0);
	fill_up(fs);
	rig_fill(&r, 0, 512 * KIB, 256 * KIB, 2);
	ret = rig_io(&r, WRITE_CMD, 512 * KIB, 256 * KIB, 0);
	/* As pwrite(): what there was room for, or ENOSPC. */
	printf("# in a hole: %s\n", ret < 0 ? strerror(-ret) : "a part");
	CHECK(ret == -ENOSPC || (ret > 0 && ret < 256 * (int)KIB));
	ret = rig_io(&r, WRITE_CMD, 4 * MIB, 256 * KIB, 0);
	CHECK_EQ(ret, -ENOSPC);
	CHECK_EQ(size_of(r.bdev), MIB);
	/* What has blocks can be written. */
	channel_writes(&r, 0, 64 * KIB, 0, 3);
	CHECK_EQ(unlink(fs_path(fs, "filler")), 0);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 3), 0);
	channel_writes(&r, 512 * KIB, 256 * KIB, 0, 4);
	channel_writes(&r, 4 * MIB, 256 * KIB, 0, 5);
	CHECK_EQ(rig_check_disk(&r, 512 * KIB, 256 * KIB, 4), 0);
	CHECK_EQ(rig_check_disk(&r, 4 * MIB, 256 * KIB, 5), 0);
	CHECK_EQ(direct_zeros(&r, 64 * KIB, 448 * KIB), 0);
	rig_down_file(&r);
	fs_umount(fs);
	fs_check(fs);
}

TEST(a_full_file_system_is_ENOSPC_until_there_is_room_on_ext4)
{
	check_full(FS(.type = "ext4", .serial = "disk2",
		      .make = "-b 4096 -m 0"));
}

TEST(a_full_file_system_is_ENOSPC_until_there_is_room_on_xfs)
{
	check_full(FS(.type = "xfs", .serial = "disk2"));
}

/* A user with a quota opens file and channel; whoever registers is root. */
static void spend_quota(struct rig *r, struct fs *fs)
{
	unsigned int i;
	int ret = 0;

	CHECK_EQ(setgroups(0, NULL), 0);
	CHECK_EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
	CHECK_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
	r->bdev = fs_open(fs, "x", O_RDWR | O_DIRECT);
	rig_bind(r);
	for (i = 0; i < 16 && !ret; i++) {
		rig_fill(r, 0, i * 256 * KIB, 256 * KIB, 1);
		ret = rig_io(r, WRITE_CMD, i * 256 * KIB, 256 * KIB, 0);
		if (ret == 256 * (int)KIB)
			ret = 0;
	}
	printf("# %u writes of 256 KiB: %s\n", i, strerror(-ret));
	CHECK_EQ(ret, -EDQUOT);
	/* 1 MiB is the limit, metadata counts. */
	CHECK(i > 1);
	CHECK(i <= 5);
	CHECK_EQ(size_of(r->bdev), (i - 1) * 256 * KIB);
	CHECK_EQ(ftruncate(r->bdev, 256 * KIB), 0);
	channel_writes(r, 256 * KIB, 256 * KIB, 0, 1);
	CHECK_EQ(rig_check_disk(r, 0, 512 * KIB, 1), 0);
}

static void check_quota(struct fs *fs)
{
	struct dqblk limit = {
		.dqb_bhardlimit	= 1024,
		.dqb_bsoftlimit	= 1024,
		.dqb_valid	= QIF_BLIMITS,
	};
	struct rig r = {};
	int fd, status;
	pid_t pid;

	fs_make(fs);
	fd = fs_open(fs, "x", O_RDWR | O_CREAT);
	CHECK_EQ(fchown(fd, NOBODY, NOBODY), 0);
	if (quotactl(QCMD(Q_SETQUOTA, USRQUOTA), fs->dev, NOBODY,
		     (void *)&limit)) {
		printf("# quotactl: %s\n", strerror(errno));
		close(fd);
		fs_umount(fs);
		tap_skip("quota");
	}
	r.bdev = fd;
	rig_buffer(&r, BUF, false);
	rig_register(&r);
	close(fd);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		spend_quota(&r, fs);
		fflush(stdout);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	fs_umount(fs);
	fs_check(fs);
}

TEST(a_user_beyond_his_quota_gets_EDQUOT_on_ext4)
{
	check_quota(FS(.type = "ext4", .serial = "disk2",
		       .make = "-b 4096 -O quota", .data = "usrquota"));
}

TEST(a_user_beyond_his_quota_gets_EDQUOT_on_xfs)
{
	check_quota(FS(.type = "xfs", .serial = "disk2", .data = "uquota"));
}

static void limit_file_size(uint64_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Up to the limit, then EFBIG, as pwrite(); mapped before, or on the way. */
static void check_fsize(struct fs *fs, const char *name, bool mapped)
{
	struct rig r;

	rig_up_file(&r, fs, name, BUF);
	rig_fill(&r, 0, 0, 128 * KIB, 1);
	if (mapped)
		CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	limit_file_size(64 * KIB);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 32 * KIB, 64 * KIB, 32 * KIB), 32 * KIB);
	CHECK_EQ(size_of(r.bdev), 64 * KIB);
	if (!mapped)
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 64 * KIB, BLOCK, 0), -EFBIG);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), BLOCK);
	limit_file_size(RLIM_INFINITY);
	CHECK_EQ(size_of(r.bdev), 64 * KIB);
	CHECK_EQ(rig_check_disk(&r, 0, BLOCK, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 32 * KIB, 32 * KIB, 1), 0);
	rig_down_file(&r);
}

FILE_TEST(a_file_grows_to_its_limit_with_a_buffer_that_is_mapped)
{
	check_fsize(fs, __func__, true);
}

/* Caught: a worker that issues I/O again has no RLIMIT_FSIZE. */
FILE_TEST(a_file_grows_to_its_limit_with_a_buffer_that_is_not_mapped)
{
	check_fsize(fs, __func__, false);
}

FILE_TEST(a_file_that_is_appended_to_grows_to_its_limit)
{
	struct rig r;
	int i;

	rig_up_file(&r, fs, __func__, BUF);
	rig_reopen(&r, fs, __func__, O_RDWR | O_APPEND);
	rig_fill(&r, 0, 32 * KIB, 64 * KIB, 1);
	limit_file_size(64 * KIB);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(ftruncate(r.bdev, 32 * KIB), 0);
		if (i)
			CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
		else
			CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 64 * KIB, 0), 32 * KIB);
		CHECK_EQ(size_of(r.bdev), 64 * KIB);
		CHECK_EQ(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), -EFBIG);
		CHECK_EQ(size_of(r.bdev), 64 * KIB);
	}
	limit_file_size(RLIM_INFINITY);
	rig_reopen(&r, fs, __func__, O_RDWR);
	CHECK_EQ(rig_check_disk(&r, 32 * KIB, 32 * KIB, 1), 0);
	rig_down_file(&r);
}

/* What is left of a write is less than blocks then: it fails, or is short. */
FILE_TEST(a_limit_inside_a_block_is_not_passed)
{
	struct rig r;
	int ret, i;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill(&r, 0, 0, 128 * KIB, 1);
	limit_file_size(64 * KIB + 512);
	for (i = 0; i < 2; i++) {
		if (i)
			CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
		else
			CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		CHECK_EQ(ftruncate(r.bdev, 0), 0);
		ret = rig_io(&r, WRITE_CMD, 32 * KIB, 64 * KIB, 32 * KIB);
		printf("# %d%s\n", ret, tap_errno(ret));
		CHECK(ret < 0 || (ret >= 32 * (int)KIB &&
				  ret <= 32 * (int)KIB + 512));
		CHECK(size_of(r.bdev) <= 64 * KIB + 512);
		if (ret > 0)
			CHECK_EQ(rig_check_disk(&r, 32 * KIB, 32 * KIB, 1), 0);
	}
	limit_file_size(RLIM_INFINITY);
	rig_down_file(&r);
}

/* ---- events ---- */

/* Of the mask that is watched: how many, after @ms. */
static unsigned int events(int fd, uint32_t mask, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[4096];
	unsigned int n = 0;
	ssize_t len, at;

	while (poll(&p, 1, ms) > 0) {
		len = read(fd, buf, sizeof(buf));
		CHECK(len > 0);
		for (at = 0; at < len;) {
			struct inotify_event *e = (void *)(buf + at);

			n += !!(e->mask & mask);
			at += sizeof(*e) + e->len;
		}
	}
	return n;
}

FILE_TEST(reads_and_writes_are_told_to_watchers)
{
	int fd = inotify_init1(IN_CLOEXEC);
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	CHECK(inotify_add_watch(fd, fs_path(fs, __func__),
				IN_MODIFY | IN_ACCESS) >= 0);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_EQ(events(fd, IN_MODIFY, 200), 1);
	channel_writes(&r, 0, BLOCK, 0, 1);
	CHECK_EQ(events(fd, IN_MODIFY, 200), 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(events(fd, IN_ACCESS, 200), 1);
	/* One that failed, and one that found nothing. */
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 512, 0), -EINVAL);
	CHECK_EQ(rig_io(&r, READ_CMD, MIB, BLOCK, 0), 0);
	CHECK_EQ(events(fd, IN_MODIFY | IN_ACCESS, 200), 0);
	close(fd);
}

/* ---- mounts ---- */

static void check_read_only(struct fs *fs)
{
	unsigned long flags = fs->flags;
	struct rig r;
	int fd;

	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	/* A channel holds the file open for writing. */
	close(r.bdev);
	CHECK_ERRNO(mount(fs->dev, fs->dir, fs->type,
			  MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
	r.bdev = fs_open(fs, __func__, O_RDONLY | O_DIRECT);
	close(r.chan);
	rig_bind(&r);
	CHECK_SOON(!mount(fs->dev, fs->dir, fs->type, MS_REMOUNT | MS_RDONLY,
			  NULL));
	channel_reads(&r, 0, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 1), 0);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), -EBADF);
	CHECK_EQ(open(fs_path(fs, __func__), O_RDWR), -1);
	rig_down_file(&r);
	fs_umount(fs);

	fs->flags = MS_RDONLY;
	fs_mount(fs);
	fs->flags = flags;
	r.bdev = fs_open(fs, __func__, O_RDONLY | O_DIRECT);
	rig_bind(&r);
	channel_reads(&r, 0, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 1), 0);
	CHECK_ERRNO(umount2(fs->dir, 0), EBUSY);
	rig_down_file(&r);
	fs_umount(fs);
	fs_mount(fs);
	fd = fs_open(fs, __func__, O_RDWR);
	close(fd);
}

FILE_TEST(a_read_only_mount_is_read_and_waits_for_those_who_write)
{
	check_read_only(fs);
}

FILE_TEST(a_channel_keeps_its_file_system_mounted)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	close(r.bdev);
	CHECK_ERRNO(umount2(fs->dir, 0), EBUSY);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_ERRNO(umount2(fs->dir, 0), EBUSY);
	r.bdev = -1;
	rig_down_file(&r);
	/* The registration holds the disk's driver, not the file system. */
	fs_umount(fs);
	fs_mount(fs);
	CHECK_EQ(blkdmabuf_info(rig_ctl, r.id, &(struct blk_dmabuf_info){}), 0);
}

/* The other way round: what is registered goes, the file stays open. */
FILE_TEST(a_registration_that_ends_is_ENODEV_to_files)
{
	struct rig r;

	rig_up_file(&r, fs, __func__, BUF);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, BLOCK, 0), -ENODEV,
		      BLK_DMABUF_IS_DEAD);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, BLOCK, 0), -ENODEV,
		      BLK_DMABUF_IS_DEAD);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	rig_register(&r);
	close(r.chan);
	rig_bind(&r);
	channel_reads(&r, 0, 64 * KIB, 512, 64 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 64 * KIB, 1), 0);
}

static void check_shutdown(struct fs *fs)
{
	uint32_t how = SHUTDOWN_NOLOGFLUSH;
	int fd, ret;
	struct rig r;

	fs_make(fs);
	rig_up_file(&r, fs, "x", BUF);
	channel_writes(&r, 0, 64 * KIB, 0, 1);
	CHECK_EQ(fsync(r.bdev), 0);
	fd = open(fs->dir, O_RDONLY | O_DIRECTORY);
	CHECK_EQ(ioctl(fd, EXT4_IOC_SHUTDOWN, &how), 0);
	close(fd);
	ret = rig_io(&r, READ_CMD, 0, 64 * KIB, 0);
	CHECK_EQ(ret, -EIO);
	ret = rig_io(&r, WRITE_CMD, 64 * KIB, 64 * KIB, 0);
	CHECK_EQ(ret, -EIO);
	rig_down_file(&r);
	fs_umount(fs);
	fs_mount(fs);
	r.bdev = fs_open(fs, "x", O_RDWR | O_DIRECT);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 1), 0);
	close(r.bdev);
	fs_umount(fs);
}

TEST(a_file_system_that_was_shut_down_is_EIO_on_ext4)
{
	check_shutdown(FS(.type = "ext4", .serial = "disk2",
			  .make = "-b 4096"));
}

TEST(a_file_system_that_was_shut_down_is_EIO_on_xfs)
{
	check_shutdown(FS(.type = "xfs", .serial = "disk2"));
}

/* Devices that a dma-buf is attached to. */
static int attachments(int dmabuf)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	char line[256], want[32];
	bool here = false;
	struct stat st;
	int n = -1;

	CHECK(f);
	CHECK_EQ(fstat(dmabuf, &st), 0);
	snprintf(want, sizeof(want), "\t%08lu\t", (unsigned long)st.st_ino);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, want))
			here = true;
		if (here && sscanf(line, "Total %d devices attached", &n) == 1)
			break;
	}
	fclose(f);
	return n;
}

/* Files on a second device: it is attached to when I/O reaches it. */
TEST(a_file_on_a_realtime_device_is_read_and_written)
{
	struct fs fs = { .type = "xfs", .serial = "disk1" };
	char make[128], data[128];
	const char *rt = disk_by_serial("disk2");
	struct fsxattr attr;
	struct rig r;
	int fd;

	if (!rt)
		tap_skip("disk2");
	snprintf(make, sizeof(make), "-d rtinherit=1 -r rtdev=%s", rt);
	snprintf(data, sizeof(data), "rtdev=%s", rt);
	fs.make = make;
	fs.data = data;
	fs_make(&fs);
	fd = fs_open(&fs, "x", O_RDWR | O_CREAT);
	CHECK_EQ(ioctl(fd, FS_IOC_FSGETXATTR, &attr), 0);
	CHECK(attr.fsx_xflags & FS_XFLAG_REALTIME);
	close(fd);
	rig_up_file(&r, &fs, "x", BUF);
	CHECK_EQ(attachments(r.dmabuf), 1);
	channel_writes(&r, 0, 512 * KIB, 512, 1);
	CHECK_EQ(attachments(r.dmabuf), 2);
	CHECK_EQ(rig_check_disk(&r, 0, 512 * KIB, 1), 0);
	channel_reads(&r, 0, 512 * KIB, 512, 512 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 512 * KIB, 1), 0);
	rig_down_file(&r);
	fs_umount(&fs);
	CHECK_EQ(tool("xfs_repair -n -r %s %s", rt, fs.dev), 0);
}

/* ---- buffers and slots ---- */

FILE_TEST(a_buffer_that_may_not_be_written_is_not_read_into)
{
	unsigned char *data = malloc(BUF);
	struct rig r;
	int plain;

	data_fill(data, 0, BUF, 3);
	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	plain = r.dmabuf;
	munmap(r.mem, BUF);
	r.dmabuf = mover_create_from(data, BUF, MOVER_READ_ONLY);
	close(plain);
	rig_register(&r);
	close(r.chan);
	rig_bind(&r);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 64 * KIB, 0), -EACCES,
		      BLK_DMABUF_ACCESS);
	/* Nor zeroed. */
	CHECK_EQ(ftruncate(r.bdev, 128 * KIB), 0);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 64 * KIB, 64 * KIB, 0), -EACCES,
		      BLK_DMABUF_ACCESS);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(rig_check_disk(&r, 0, 64 * KIB, 3), 0);
	r.mem = mmap(NULL, BUF, PROT_READ, MAP_SHARED, r.dmabuf, 0);
	CHECK(r.mem != MAP_FAILED);
	CHECK_EQ(rig_check(&r, 0, 0, BUF, 3), 0);
}

FILE_TEST(each_slot_is_a_buffer_of_its_own)
{
	struct rig r[3];
	unsigned int i;

	rig_up_file(&r[0], fs, __func__, BUF);
	for (i = 1; i < 3; i++)
		rig_up_slot(&r[i], &r[0], BUF);
	for (i = 0; i < 3; i++)
		channel_writes(&r[i], i * 64 * KIB, 64 * KIB, 0, i + 1);
	for (i = 0; i < 3; i++)
		rig_poison(&r[i]);
	channel_reads(&r[1], 0, 192 * KIB, 512, 192 * KIB);
	CHECK(rig_untouched(&r[0]));
	CHECK(rig_untouched(&r[2]));
	for (i = 0; i < 3; i++)
		CHECK_EQ(rig_check(&r[1], 512 + i * 64 * KIB, i * 64 * KIB,
				   64 * KIB, i + 1), 0);
	CHECK_EQ(blkdmabuf_unbind(r[1].chan, r[1].slot), 0);
	CHECK_REFUSED(rig_io(&r[1], READ_CMD, 0, BLOCK, 0), -ENOENT,
		      BLK_DMABUF_NO_SLOT);
	r[1].slot = SLOT_ANY;
	CHECK_REFUSED(rig_io(&r[1], READ_CMD, 0, BLOCK, 0), -ENOENT,
		      BLK_DMABUF_NO_SLOT);
}

/* ---- policies ---- */

/* The policy of the disk that the file system is on. */
static void use_puppet(struct fs *fs, uint64_t step)
{
	int disk = rig_open_disk(fs->serial, O_RDWR);
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	p->data->step = step;
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(disk, "puppet"), 0);
	close(disk);
}

FILE_TEST(a_policy_may_spread_a_file_over_buffers)
{
	int disk = rig_open_disk(fs->serial, O_RDWR);
	struct stripe *s = stripe__open();
	struct placed done;
	struct rig r[2];
	unsigned int i;

	CHECK(s);
	s->rodata->chunk = 64 * KIB;
	CHECK_EQ(stripe__load(s), 0);
	policy_attach(s->maps.stripe);
	rig_up_file(&r[0], fs, __func__, BUF);
	rig_up_slot(&r[1], &r[0], BUF);
	rig_fill_disk(&r[0], 0, 512 * KIB, 1);
	CHECK_EQ(policy_select(disk, "stripe"), 0);
	done = placed_io(r, READ_CMD, 0, 512 * KIB, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, 512 * KIB);
	for (i = 0; i < 8; i++)
		CHECK_EQ(rig_check(&r[i % 2], i / 2 * 64 * KIB, i * 64 * KIB,
				   64 * KIB, 1), 0);
	/* Short at the end, in the middle of a piece. */
	CHECK_EQ(ftruncate(r[0].bdev, 300 * KIB + 100), 0);
	rig_poison(&r[0]);
	rig_poison(&r[1]);
	done = placed_io(r, READ_CMD, 0, 512 * KIB, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, 300 * KIB + 100);
	for (i = 0; i < 5; i++)
		CHECK_EQ(rig_check(&r[i % 2], i / 2 * 64 * KIB, i * 64 * KIB,
				   i == 4 ? 44 * KIB : 64 * KIB, 1), 0);
	/* Extending, and through a hole. */
	for (i = 0; i < 8; i++)
		rig_fill(&r[i % 2], i / 2 * 64 * KIB, MIB + i * 64 * KIB,
			 64 * KIB, 2);
	done = placed_io(r, WRITE_CMD, MIB, 512 * KIB, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, 512 * KIB);
	CHECK_EQ(size_of(r[0].bdev), MIB + 512 * KIB);
	CHECK_EQ(rig_check_disk(&r[0], MIB, 512 * KIB, 2), 0);
	done = placed_io(r, READ_CMD, 768 * KIB, 512 * KIB, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, 512 * KIB);
	for (i = 0; i < 4; i++)
		CHECK_EQ(bytes_not(r[i % 2].mem + i / 2 * 64 * KIB, 64 * KIB,
				   0), 0);
	for (i = 4; i < 8; i++)
		CHECK_EQ(rig_check(&r[i % 2], i / 2 * 64 * KIB,
				   768 * KIB + i * 64 * KIB, 64 * KIB, 2), 0);
	CHECK_EQ(policy_select(disk, "none"), 0);
}

/* Pieces would each look for the end of the file by themselves. */
FILE_TEST(a_policy_may_not_divide_what_is_appended)
{
	struct rig r;

	use_puppet(fs, 16 * KIB);
	rig_up_file(&r, fs, __func__, BUF);
	rig_fill(&r, 0, 0, 128 * KIB, 1);
	rig_reopen(&r, fs, __func__, O_RDWR | O_APPEND);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 16 * KIB, 0), 16 * KIB);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, 64 * KIB, 16 * KIB), -EINVAL,
		      BLK_DMABUF_POLICY_LENGTH);
	CHECK_EQ(size_of(r.bdev), 16 * KIB);
	/* What it reads may be. */
	channel_reads(&r, 0, 64 * KIB, 512, 16 * KIB);
	CHECK_EQ(rig_check(&r, 512, 0, 16 * KIB, 1), 0);
	/* And any other file. */
	rig_reopen(&r, fs, __func__, O_RDWR);
	channel_writes(&r, 16 * KIB, 512 * KIB, 0, 2);
	CHECK_EQ(rig_check_disk(&r, 0, 16 * KIB, 1), 0);
	CHECK_EQ(rig_check_disk(&r, 16 * KIB, 512 * KIB, 2), 0);
	rig_down_file(&r);
}

/* ---- errors of the device ---- */

static uint64_t on_disk(int fd, uint64_t *len)
{
	struct {
		struct fiemap		map;
		struct fiemap_extent	extent;
	} f = {
		.map.fm_length		= FIEMAP_MAX_OFFSET,
		.map.fm_flags		= FIEMAP_FLAG_SYNC,
		.map.fm_extent_count	= 1,
	};

	CHECK_EQ(ioctl(fd, FS_IOC_FIEMAP, &f.map), 0);
	CHECK_EQ(f.map.fm_mapped_extents, 1);
	*len = f.extent.fe_length;
	return f.extent.fe_physical;
}

/* disk4 fails where 200 MiB begin. */
TEST(an_error_of_the_device_is_that_of_the_IO)
{
	struct fs fs = {
		.type = "ext4", .serial = "disk4", .make = "-b 4096",
	};
	uint64_t at, bad, len;
	struct rig r;
	int fd, i, ret;
	void *mem;

	fs_make(&fs);
	/* Files of 1 MiB until one has it. */
	for (i = 0; ; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		fd = fs_open(&fs, name, O_RDWR | O_CREAT);
		CHECK_EQ(fallocate(fd, 0, 0, MIB), 0);
		at = on_disk(fd, &len);
		if (at <= 200 * MIB && 200 * MIB < at + len)
			break;
		CHECK(i < 1000);
		close(fd);
	}
	bad = 200 * MIB - at;
	close(fd);
	memset(&r, 0, sizeof(r));
	{
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		r.bdev = fs_open(&fs, name, O_RDWR | O_DIRECT);
	}
	rig_buffer(&r, BUF, false);
	rig_register(&r);
	rig_bind(&r);
	/* What surrounds it, so that it is no hole. */
	for (at = 0; at < MIB; at += BLOCK)
		if (at != bad)
			rig_fill_disk(&r, at, BLOCK, 1);
	rig_fill(&r, 0, bad, BLOCK, 1);
	mem = aligned_alloc(PAGE, BLOCK);
	ret = pwrite(r.bdev, mem, BLOCK, bad) < 0 ? -errno : 0;
	CHECK(ret < 0);
	CHECK_EQ(rig_io(&r, WRITE_CMD, bad, BLOCK, 0), ret);
	/* It is unwritten, as the write failed. */
	channel_reads(&r, 0, MIB - 512, 512, MIB - 512);
	CHECK_EQ(bytes_not(r.mem + 512 + bad, bad + BLOCK < MIB ? BLOCK : 0,
			   0), 0);
	CHECK_EQ(rig_info(&r).errors, 1);
	/* Beside it all is well. */
	if (bad) {
		channel_writes(&r, 0, BLOCK, 0, 2);
		CHECK_EQ(rig_check_disk(&r, 0, BLOCK, 2), 0);
	}
	rig_down_file(&r);
	fs_umount(&fs);
}

/* ---- ends ---- */

/* Killed while its write waits for the file system: all of it goes, then. */
FILE_TEST(who_is_killed_while_frozen_leaves_nothing)
{
	struct rig r;
	pid_t pid, thawer;
	int fd, status, go[2];
	char c;

	CHECK_EQ(pipe(go), 0);
	rig_up_file(&r, fs, __func__, BUF);
	rig_fill_disk(&r, 0, 64 * KIB, 1);
	fd = freeze(fs, &thawer);
	pid = fork();
	if (!pid) {
		unsigned int i;

		rig_fill(&r, 0, 0, 64 * KIB, 2);
		for (i = 0; i < 4; i++)
			rig_sqe(&r, WRITE_CMD, i * 16 * KIB, 16 * KIB,
				i * 16 * KIB);
		io_uring_submit(&rig_uring);
		CHECK_EQ(write(go[1], "x", 1), 1);
		for (;;)
			pause();
	}
	CHECK_EQ(read(go[0], &c, 1), 1);
	sleep_ms(200);
	kill(pid, SIGKILL);
	sleep_ms(300);
	thaw(fd, thawer);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	rig_down_file(&r);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	fs_cycle(fs);
}

static void check_clean(struct fs *fs)
{
	fs_find(fs);
	if (!fs_mounted(fs))
		tap_skip(fs->type);
	fs_umount(fs);
	fs_check(fs);
}

TEST(after_all_of_this_the_ext4_is_consistent)
{
	check_clean(&ext4);
}

TEST(after_all_of_this_the_xfs_is_consistent)
{
	check_clean(&xfs);
}

/* What a test that failed may have left. */
static void clean_up(void)
{
	const char *shared = disk_by_serial("disk0");
	int disk = shared ? open(shared, O_RDONLY | O_CLOEXEC) : -1;

	if (disk >= 0) {
		policy_select(disk, "none");
		close(disk);
	}
	fs_clear(NULL, shared);
	rig_clean();
}

int main(int argc, char **argv)
{
	return rig_main_clean(argc, argv, clean_up);
}
