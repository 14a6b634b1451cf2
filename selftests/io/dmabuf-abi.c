// SPDX-License-Identifier: GPL-2.0-only
/*
 * The channel interface as it is written in <linux/blk-dmabuf.h>: each ioctl
 * and each command with all that can be wrong about it, the errno that says so,
 * and the counter that goes up, that one alone and by one.
 *
 * vm: main
 */
#include <grp.h>
#include <linux/dma-heap.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "rig.h"

#define BUF	MIB

static struct blk_dmabuf_features features(void)
{
	struct blk_dmabuf_features f;

	CHECK_EQ(blkdmabuf_features(&f), 0);
	return f;
}

/*
 * What @expr refuses is counted once, under @reason and nowhere else.  With
 * BLK_DMABUF_OK nothing is.
 */
#define CHECK_REFUSED(expr, want, reason)				\
	do {								\
		struct blk_dmabuf_features before = features();		\
									\
		CHECK_EQ(expr, want);					\
		check_counted(__LINE__, &before, reason);		\
	} while (0)

static void check_counted(int line, const struct blk_dmabuf_features *before,
			  unsigned int reason)
{
	struct blk_dmabuf_features after = features();
	unsigned int i;

	for (i = 0; i < after.nr_reasons; i++) {
		long long d = after.refused[i] - before->refused[i];

		if (d != (i == reason && reason != BLK_DMABUF_OK))
			tap_fail(__FILE__, line, "refused %s: %+lld",
				 blkdmabuf_reason_str(i), d);
	}
}

static int node(void)
{
	int fd = open("/dev/blkdmabuf", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/* ioctl() as the library does it: the result or -errno. */
static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* Memory that can be read and not written. */
static void *read_only(const void *data, size_t len)
{
	void *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	memcpy(mem, data, len);
	CHECK_EQ(mprotect(mem, PAGE, PROT_READ), 0);
	return mem;
}

#define NOWHERE		((void *)8)

/* Run @body as a user without privilege, in a process that ends with it. */
#define AS_NOBODY(body)							\
	do {								\
		pid_t nobody = fork();					\
		int nobody_status;					\
									\
		CHECK(nobody >= 0);					\
		if (!nobody) {						\
			CHECK_EQ(setgroups(0, NULL), 0);		\
			CHECK_EQ(setresgid(65534, 65534, 65534), 0);	\
			CHECK_EQ(setresuid(65534, 65534, 65534), 0);	\
			body;						\
			fflush(stdout);					\
			_exit(0);					\
		}							\
		CHECK_EQ(waitpid(nobody, &nobody_status, 0), nobody);	\
		CHECK_EQ(nobody_status, 0);				\
	} while (0)

/* ---- /dev/blkdmabuf ---- */

TEST(features_tell_version_reasons_and_slots)
{
	struct blk_dmabuf_features f = features();
	unsigned int i;

	CHECK_EQ(f.abi_version, BLK_DMABUF_ABI_VERSION);
	CHECK_EQ(f.nr_reasons, BLK_DMABUF_NR_REASONS);
	CHECK(f.max_slots >= 1 && f.max_slots <= 1 << 16);
	CHECK_EQ(f.resv, 0);
	CHECK_EQ(f.refused[BLK_DMABUF_OK], 0);
	for (i = f.nr_reasons; i < ARRAY_SIZE(f.refused); i++)
		CHECK_EQ(f.refused[i], 0);
}

TEST(unknown_ioctls_are_ENOTTY)
{
	struct rig r;
	char arg[512] = {};

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(do_ioctl(node(), _IO(BLK_DMABUF_IOC, 99), arg), -ENOTTY);
	CHECK_EQ(do_ioctl(r.chan, _IO(BLK_DMABUF_IOC, 99), arg), -ENOTTY);
	/* Of the other file, or of another size. */
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_LIMITS, arg), -ENOTTY);
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_FEATURES, arg), -ENOTTY);
	CHECK_EQ(do_ioctl(r.chan, _IOR(BLK_DMABUF_IOC, 5, char[12]), arg),
		 -ENOTTY);
}

TEST(bad_pointers_are_EFAULT)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_FEATURES, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_CHANNEL, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_GET_FD, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_BIND, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_UNBIND, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_QUERY, NOWHERE), -EFAULT);
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_LIMITS, NOWHERE), -EFAULT);
}

/* ---- channels ---- */

static int channel_of(int fd)
{
	struct blk_dmabuf_channel arg = { .fd = fd };

	return do_ioctl(node(), BLK_DMABUF_CHANNEL, &arg);
}

TEST(unknown_channel_flags_are_refused)
{
	struct blk_dmabuf_channel arg = {
		.fd = rig_open_disk("disk0", O_RDWR),
		.flags = 1U << 2,
	};

	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_CHANNEL, &arg), -EINVAL);
	arg.flags = 1U << 31;
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_CHANNEL, &arg), -EINVAL);
	/* One is the opposite of the other. */
	arg.flags = BLK_DMABUF_CHANNEL_COPY | BLK_DMABUF_CHANNEL_P2P;
	CHECK_EQ(do_ioctl(node(), BLK_DMABUF_CHANNEL, &arg), -EINVAL);
}

TEST(channel_of_no_file_is_EBADF)
{
	const char *path = disk_by_serial("disk0");

	CHECK_EQ(channel_of(-1), -EBADF);
	CHECK_EQ(channel_of(1000), -EBADF);
	/* It names the device, but is not open. */
	CHECK_EQ(channel_of(open(path, O_PATH)), -EBADF);
}

TEST(channel_of_what_is_no_block_device_and_no_file_is_ENOTBLK)
{
	int pipes[2];

	CHECK_EQ(channel_of(open("/", O_RDONLY | O_DIRECTORY)), -ENOTBLK);
	CHECK_EQ(channel_of(open("/dev/null", O_RDWR)), -ENOTBLK);
	CHECK_EQ(channel_of(node()), -ENOTBLK);
	CHECK_EQ(pipe(pipes), 0);
	CHECK_EQ(channel_of(pipes[0]), -ENOTBLK);
}

TEST(channel_of_a_file_system_that_does_not_know_how_is_EOPNOTSUPP)
{
	CHECK_REFUSED(channel_of(open("/proc/self/exe", O_RDONLY)), -EOPNOTSUPP,
		      BLK_DMABUF_FILE_SYSTEM);
	CHECK_REFUSED(channel_of(open("/proc/self/stat", O_RDONLY)),
		      -EOPNOTSUPP, BLK_DMABUF_FILE_SYSTEM);
	CHECK_REFUSED(channel_of(memfd_create("no dma-buf", 0)), -EOPNOTSUPP,
		      BLK_DMABUF_FILE_SYSTEM);
}

TEST(channel_is_closed_on_exec)
{
	int chan = channel_of(rig_open_disk("disk0", O_RDWR));

	CHECK(chan >= 0);
	CHECK_EQ(fcntl(chan, F_GETFD), FD_CLOEXEC);
}

TEST(channel_keeps_its_file_open)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 4096, 1);
	close(r.bdev);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(rig_check(&r, 0, 0, 4096, 1), 0);
}

TEST(channel_cannot_be_read_written_or_mapped)
{
	char buf[512] = {};
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_ERRNO(read(r.chan, buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(write(r.chan, buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.chan, 0),
		    ENODEV);
}

TEST(channel_shows_device_and_slots_in_fdinfo)
{
	char path[64], text[4096] = {}, line[128];
	struct rig r;
	int fd;

	rig_up(&r, "disk0", BUF);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r.chan);
	fd = open(path, O_RDONLY);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	snprintf(line, sizeof(line), "\nblkdmabuf-dev:\t%s\n",
		 disk_by_serial("disk0") + strlen("/dev/"));
	CHECK(strstr(text, line));
	snprintf(line, sizeof(line), "\nblkdmabuf-slot:\t%u id %u bytes %llu\n",
		 r.slot, r.id, BUF);
	CHECK(strstr(text, line));
}

TEST(limits_are_those_of_the_queue)
{
	struct rig r;

	rig_up(&r, "disk1", BUF);
	CHECK_EQ(r.limits.block_size, 4096);
	CHECK_EQ(r.limits.dma_alignment, 4);
	CHECK(r.limits.max_ranges >= 1);
	CHECK_EQ(r.limits.bytes, lseek(r.bdev, 0, SEEK_END));
	CHECK_EQ(r.limits.max_io, rig_info(&r).max_io);
}

/* Behind an IOMMU ordinary requests are kept small; these are not. */
TEST(limits_ignore_what_only_mapping_costs)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	/* MDTS of 7 is 4 KiB << 7. */
	CHECK_EQ(r.limits.max_io, 512 * KIB);
	close(r.bdev);
	r.bdev = rig_open_disk("disk2", O_RDWR);
	close(r.chan);
	r.chan = blkdmabuf_channel(r.bdev);
	CHECK_EQ(blkdmabuf_limits(r.chan, &r.limits), 0);
	/* No MDTS: what the driver is made for. */
	CHECK_EQ(r.limits.max_io, 8 * MIB);
}

/* ---- binding ---- */

static int bind_slot(struct rig *r, int dmabuf, uint32_t slot)
{
	struct blk_dmabuf_bind arg = { .dmabuf_fd = dmabuf, .slot = slot };
	int ret = do_ioctl(r->chan, BLK_DMABUF_BIND, &arg);

	return ret < 0 ? ret : (int)arg.slot;
}

TEST(bind_flags_are_refused)
{
	struct blk_dmabuf_bind arg = { .slot = 5, .flags = 1 };
	struct rig r;

	rig_up(&r, "disk0", BUF);
	arg.dmabuf_fd = r.dmabuf;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_BIND, &arg), -EINVAL);
	arg.flags = 0;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_BIND, &arg), 0);
}

TEST(bind_tells_slot_id_and_size)
{
	struct blk_dmabuf_bind arg = { .slot = BLK_DMABUF_SLOT_ANY };
	struct rig r;

	rig_up(&r, "disk0", BUF);
	arg.dmabuf_fd = r.dmabuf;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_BIND, &arg), 0);
	CHECK_EQ(arg.slot, r.slot + 1);
	CHECK_EQ(arg.id, r.id);
	CHECK_EQ(arg.bytes, BUF);
}

TEST(bind_of_what_is_no_dmabuf_is_EINVAL)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_REFUSED(bind_slot(&r, -1, 5), -EBADF, BLK_DMABUF_NO_DMABUF);
	CHECK_REFUSED(bind_slot(&r, r.bdev, 5), -EINVAL, BLK_DMABUF_NO_DMABUF);
	CHECK_REFUSED(bind_slot(&r, r.chan, 5), -EINVAL, BLK_DMABUF_NO_DMABUF);
}

TEST(bind_of_an_unregistered_dmabuf_is_ENOENT)
{
	struct rig r;
	int other;

	rig_up(&r, "disk0", BUF);
	other = blkdmabuf_udmabuf(BUF, 0);
	CHECK_REFUSED(bind_slot(&r, other, 5), -ENOENT,
		      BLK_DMABUF_NOT_REGISTERED);
	/* Registered, but on another disk. */
	r.bdev = rig_open_disk("disk1", O_RDWR);
	r.chan = blkdmabuf_channel(r.bdev);
	CHECK_REFUSED(bind_slot(&r, r.dmabuf, 5), -ENOENT,
		      BLK_DMABUF_NOT_REGISTERED);
}

TEST(bind_takes_the_slot_it_is_given)
{
	uint32_t max = features().max_slots;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(bind_slot(&r, r.dmabuf, 7), 7);
	CHECK_EQ(bind_slot(&r, r.dmabuf, max - 1), max - 1);
	CHECK_EQ(bind_slot(&r, r.dmabuf, max), -EINVAL);
	CHECK_EQ(bind_slot(&r, r.dmabuf, BLK_DMABUF_SLOT_ANY - 1), -EINVAL);
}

TEST(bind_of_a_slot_in_use_is_EBUSY)
{
	struct rig r, other;

	rig_up(&r, "disk0", BUF);
	rig_up(&other, "disk0", BUF);
	CHECK_EQ(bind_slot(&r, r.dmabuf, r.slot), -EBUSY);
	CHECK_EQ(bind_slot(&r, other.dmabuf, r.slot), -EBUSY);
	CHECK_EQ(rig_info(&r).id, r.id);
}

TEST(bind_finds_no_slot_in_a_full_channel)
{
	uint32_t max = features().max_slots, i;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	for (i = 1; i < max; i++)
		CHECK(bind_slot(&r, r.dmabuf, BLK_DMABUF_SLOT_ANY) >= 0);
	CHECK_EQ(bind_slot(&r, r.dmabuf, BLK_DMABUF_SLOT_ANY), -ENOSPC);
	CHECK_EQ(blkdmabuf_unbind(r.chan, 17), 0);
	CHECK_EQ(bind_slot(&r, r.dmabuf, BLK_DMABUF_SLOT_ANY), 17);
}

TEST(bind_that_cannot_answer_binds_nothing)
{
	struct blk_dmabuf_bind arg = { .slot = 9 };
	struct rig r;

	rig_up(&r, "disk0", BUF);
	arg.dmabuf_fd = r.dmabuf;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_BIND,
			  read_only(&arg, sizeof(arg))), -EFAULT);
	CHECK_EQ(blkdmabuf_unbind(r.chan, 9), -ENOENT);
}

TEST(unbind_of_an_empty_slot_is_ENOENT)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot + 1), -ENOENT);
	CHECK_EQ(blkdmabuf_unbind(r.chan, features().max_slots), -ENOENT);
	CHECK_EQ(blkdmabuf_unbind(r.chan, BLK_DMABUF_SLOT_ANY), -ENOENT);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), -ENOENT);
}

TEST(query_describes_the_registration)
{
	struct blk_dmabuf_info info;
	struct stat st;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	info = rig_info(&r);
	CHECK_EQ(info.id, r.id);
	CHECK_EQ(info.state, BLK_DMABUF_UNMAPPED);
	CHECK_EQ(info.flags, BLK_DMABUF_F_WRITABLE);
	CHECK_EQ(info.reason, BLK_DMABUF_OK);
	CHECK_EQ(fstat(r.bdev, &st), 0);
	CHECK_EQ(info.dev_major, major(st.st_rdev));
	CHECK_EQ(info.dev_minor, minor(st.st_rdev));
	CHECK_EQ(fstat(r.dmabuf, &st), 0);
	CHECK_EQ(info.inode, st.st_ino);
	CHECK_EQ(info.uid, 0);
	CHECK_EQ(info.pid, getpid());
	CHECK_EQ(info.bytes, BUF);
	CHECK_EQ(info.ranges, 0);
	CHECK_EQ(info.generation, 0);
	CHECK_EQ(info.invalidations, 0);
	CHECK(!strcmp(info.disk, disk_by_serial("disk0") + strlen("/dev/")));
	CHECK(!strcmp(info.exporter, "udmabuf"));
}

TEST(query_counts_io)
{
	struct blk_dmabuf_info info;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 512, 0), 512);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 1024, 0), 1024);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 512, BUF), -ERANGE);
	/* No buffer was asked for yet. */
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 0, 0), -EINVAL);
	info = rig_info(&r);
	CHECK_EQ(info.state, BLK_DMABUF_LIVE);
	CHECK(info.ranges >= 1);
	CHECK_EQ(info.generation, 1);
	CHECK_EQ(info.reads, 2);
	CHECK_EQ(info.read_bytes, 4608);
	CHECK_EQ(info.writes, 1);
	CHECK_EQ(info.write_bytes, 1024);
	CHECK_EQ(info.errors, 1);
}

TEST(query_of_an_empty_slot_is_ENOENT)
{
	struct blk_dmabuf_query arg = {};
	struct rig r;

	rig_up(&r, "disk0", BUF);
	arg.slot = r.slot + 1;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_QUERY, &arg), -ENOENT);
	arg.slot = BLK_DMABUF_SLOT_ANY;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_QUERY, &arg), -ENOENT);
	arg.slot = r.slot;
	arg.resv = 1;
	CHECK_EQ(do_ioctl(r.chan, BLK_DMABUF_QUERY, &arg), -EINVAL);
}

/* ---- the dma-buf of a registration ---- */

static int get_fd(uint32_t id, uint32_t flags)
{
	struct blk_dmabuf_get_fd arg = { .id = id, .flags = flags };

	return do_ioctl(node(), BLK_DMABUF_GET_FD, &arg);
}

TEST(get_fd_gives_the_same_dmabuf)
{
	struct stat a, b;
	struct rig r;
	int fd;

	rig_up(&r, "disk0", BUF);
	fd = get_fd(r.id, 0);
	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fstat(fd, &a), 0);
	CHECK_EQ(fstat(r.dmabuf, &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
}

TEST(get_fd_refuses_flags_and_unknown_ids)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(get_fd(r.id, 1), -EINVAL);
	CHECK_EQ(get_fd(0, 0), -ENOENT);
	CHECK_EQ(get_fd(r.id + 1, 0), -ENOENT);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(get_fd(r.id, 0), -ENOENT);
}

TEST(get_fd_needs_privilege)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	AS_NOBODY(CHECK_EQ(get_fd(r.id, 0), -EPERM));
}

/* ---- who may do what ---- */

/* The two descriptors are all it takes. */
TEST(io_needs_no_privilege)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 8192, 8192, 3);
	AS_NOBODY(rig_bind(&r);
		  CHECK_EQ(rig_io(&r, READ_CMD, 8192, 8192, 512), 8192);
		  CHECK_EQ(rig_check(&r, 512, 8192, 8192, 3), 0));
}

TEST(registering_needs_privilege)
{
	struct blkdmabuf_ctl *ctl;

	AS_NOBODY(CHECK_EQ(blkdmabuf_ctl_open(&ctl, NULL), -EPERM));
}

/* By bpf_task_work it can have itself run by a task of its choice. */
TEST(a_program_of_another_user_does_not_act_for_who_runs_it)
{
	struct blk_dmabuf_attach reg;
	struct blk_dmabuf_info info;
	struct blkdmabuf_ctl *ctl;
	struct rig r;
	int other;

	rig_up(&r, "disk0", BUF);
	other = rig_open_disk("disk1", O_RDWR | O_DIRECT);
	CHECK_EQ(setresuid(1234, 0, 0), 0);
	CHECK_EQ(blkdmabuf_ctl_open(&ctl, NULL), 0);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	CHECK_EQ(blkdmabuf_register(ctl, other, r.dmabuf, &reg), -EPERM);
	CHECK_EQ(blkdmabuf_next(ctl, 0, &info), 0);
	CHECK_EQ(blkdmabuf_next(rig_ctl, 0, &info), 1);
	CHECK_EQ(info.id, r.id);
	/* For the user it does. */
	CHECK_EQ(setresuid(1234, 0, 0), 0);
	CHECK_EQ(blkdmabuf_register(ctl, other, r.dmabuf, &reg), 0);
	CHECK_EQ(blkdmabuf_next(ctl, 0, &info), 1);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	blkdmabuf_ctl_close(ctl);
}

TEST(a_channel_reaches_its_own_slots_only)
{
	struct rig a, b;

	rig_up(&a, "disk0", BUF);
	rig_up(&b, "disk0", BUF);
	CHECK_EQ(bind_slot(&b, b.dmabuf, 40), 40);
	a.slot = 40;
	CHECK_REFUSED(rig_io(&a, READ_CMD, 0, 4096, 0), -ENOENT,
		      BLK_DMABUF_NO_SLOT);
	CHECK_EQ(poison_check(b.mem, BUF, NULL), 0);
	/* The same slot of the two is two buffers. */
	CHECK_EQ(bind_slot(&a, a.dmabuf, 40), 40);
	rig_fill_disk(&a, 0, 4096, 5);
	CHECK_EQ(rig_io(&a, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(rig_check(&a, 0, 0, 4096, 5), 0);
	CHECK_EQ(poison_check(b.mem, BUF, NULL), 0);
}

TEST(a_read_only_file_cannot_be_written)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 4096, 7);
	close(r.chan);
	r.bdev = rig_open_disk("disk0", O_RDONLY | O_DIRECT);
	rig_bind(&r);
	CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, 4096, 0), -EBADF,
		      BLK_DMABUF_ACCESS);
	CHECK_EQ(rig_check_disk(&r, 0, 4096, 7), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
}

TEST(a_write_only_file_cannot_be_read)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	close(r.chan);
	r.bdev = rig_open_disk("disk0", O_WRONLY | O_DIRECT);
	rig_bind(&r);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 4096, 0), -EBADF,
		      BLK_DMABUF_ACCESS);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 4096, 0), 4096);
}

static int heap_read_only(uint64_t size)
{
	struct dma_heap_allocation_data arg = {
		.len = size, .fd_flags = O_RDONLY | O_CLOEXEC,
	};
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);

	CHECK(heap >= 0);
	CHECK_EQ(do_ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &arg), 0);
	close(heap);
	return arg.fd;
}

/* Reading the device would be writing the buffer. */
TEST(a_read_only_dmabuf_cannot_be_read_into)
{
	char *zeroes = aligned_alloc(PAGE, PAGE);
	struct rig r = {};

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	r.dmabuf = heap_read_only(BUF);
	rig_register(&r);
	rig_bind(&r);
	CHECK_EQ(rig_info(&r).flags & BLK_DMABUF_F_WRITABLE, 0);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 4096, 0), -EACCES,
		      BLK_DMABUF_ACCESS);
	/* It is zero, as a heap gives memory out, and can be written from. */
	rig_fill_disk(&r, 0, 4096, 7);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 4096, 0), 4096);
	rig_plain(&r, false, zeroes, 0, PAGE);
	CHECK(!zeroes[0] && !memcmp(zeroes, zeroes + 1, PAGE - 1));
}

/* ---- I/O that is refused ---- */

TEST(io_to_an_empty_slot_is_ENOENT)
{
	uint32_t slots[] = { 1, features().max_slots - 1, features().max_slots,
			     BLK_DMABUF_SLOT_ANY };
	struct rig r;
	size_t i;

	rig_up(&r, "disk0", BUF);
	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		r.slot = slots[i];
		CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 4096, 0), -ENOENT,
			      BLK_DMABUF_NO_SLOT);
	}
	r.slot = 0;
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(blkdmabuf_unbind(r.chan, 0), 0);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 4096, 0), -ENOENT,
		      BLK_DMABUF_NO_SLOT);
}

TEST(io_outside_the_buffer_is_ERANGE)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
	} bad[] = {
		{ BUF, 512 },
		{ BUF - 512, 1024 },
		{ BUF - 4, 512 },
		{ 0, BUF + 512 },
		{ BUF + PAGE, 512 },
		{ 1ULL << 32, 512 },
		{ 1ULL << 63, 512 },
		{ -512ULL, 512 },
		{ -512ULL, 1024 },
		{ -4ULL, BUF },
	};
	struct rig r;
	size_t i;

	rig_up(&r, "disk0", BUF);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_REFUSED(rig_io(&r, READ_CMD, 0, bad[i].len,
				     bad[i].offset), -ERANGE, BLK_DMABUF_RANGE);
		CHECK_REFUSED(rig_io(&r, WRITE_CMD, 0, bad[i].len,
				     bad[i].offset), -ERANGE, BLK_DMABUF_RANGE);
	}
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 512, BUF - 512), 512);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, BUF, 0), BUF);
}

TEST(io_unaligned_for_the_device_is_EINVAL)
{
	static const struct {
		uint64_t pos, offset;
		uint32_t len;
	} bad[] = {
		{ 0, 0, 0 },		/* nothing is no multiple of a block */
		{ 1, 0, 512 },
		{ 256, 0, 512 },
		{ 0, 0, 511 },
		{ 0, 0, 513 },
		{ 0, 1, 512 },
		{ 0, 2, 512 },
		{ 0, 4095, 512 },
	};
	struct rig r;
	size_t i;

	rig_up(&r, "disk0", BUF);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_REFUSED(rig_io(&r, READ_CMD, bad[i].pos, bad[i].len,
				     bad[i].offset), -EINVAL,
			      BLK_DMABUF_UNALIGNED);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

TEST(io_of_half_a_4k_block_is_EINVAL)
{
	struct rig r;

	rig_up(&r, "disk1", BUF);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 512, 4096, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	CHECK_REFUSED(rig_io(&r, READ_CMD, 0, 512, 0), -EINVAL,
		      BLK_DMABUF_UNALIGNED);
	/* The buffer has no blocks. */
	CHECK_EQ(rig_io(&r, READ_CMD, 4096, 4096, 516), 4096);
}

TEST(io_at_an_impossible_position_is_EINVAL)
{
	static const uint64_t bad[] = {
		1ULL << 63, -512ULL, -1ULL, INT64_MAX - 511,
	};
	struct rig r;
	size_t i;

	rig_up(&r, "disk0", BUF);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_REFUSED(rig_io(&r, READ_CMD, bad[i], 512, 0), -EINVAL,
			      BLK_DMABUF_RANGE);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

TEST(io_with_unknown_fields_is_EINVAL)
{
	struct io_uring_sqe *sqe;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	sqe = rig_sqe(&r, READ_CMD, 0, 4096, 0);
	sqe->ioprio = 1;
	CHECK_EQ(rig_run(), -EINVAL);
	sqe = rig_sqe(&r, READ_CMD, 0, 4096, 0);
	sqe->rw_flags = 1 << 5;
	CHECK_EQ(rig_run(), -EINVAL);
	sqe = rig_sqe(&r, READ_CMD, 0, 4096, 0);
	sqe->buf_index = 1;
	CHECK_EQ(rig_run(), -EINVAL);
	sqe = rig_sqe(&r, READ_CMD, 0, 4096, 0);
	sqe->splice_fd_in = 1;
	CHECK_EQ(rig_run(), -EINVAL);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

TEST(unknown_commands_are_EOPNOTSUPP)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(rig_io(&r, 0, 0, 4096, 0), -EOPNOTSUPP);
	CHECK_EQ(rig_io(&r, 5, 0, 4096, 0), -EOPNOTSUPP);
	CHECK_EQ(rig_io(&r, ~0U, 0, 4096, 0), -EOPNOTSUPP);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

/* ---- ends of the device ---- */

TEST(a_read_at_the_end_of_the_device_is_empty)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(rig_io(&r, READ_CMD, r.limits.bytes, 4096, 0), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, r.limits.bytes + MIB, 4096, 0), 0);
	CHECK_EQ(poison_check(r.mem, BUF, NULL), 0);
}

TEST(a_read_across_the_end_of_the_device_is_short)
{
	uint64_t pos;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	pos = r.limits.bytes - 1536;
	rig_fill_disk(&r, pos, 1536, 9);
	CHECK_EQ(rig_io(&r, READ_CMD, pos, 64 * KIB, 512), 1536);
	CHECK_EQ(rig_check(&r, 512, pos, 1536, 9), 0);
	CHECK_EQ(poison_check(r.mem + 512 + 1536, 64 * KIB, NULL), 0);
}

TEST(a_write_at_the_end_of_the_device_is_ENOSPC)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(rig_io(&r, WRITE_CMD, r.limits.bytes, 4096, 0), -ENOSPC);
	CHECK_EQ(rig_io(&r, WRITE_CMD, r.limits.bytes + MIB, 512, 0), -ENOSPC);
}

TEST(a_write_across_the_end_of_the_device_is_short)
{
	uint64_t pos;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	pos = r.limits.bytes - 1536;
	rig_fill_disk(&r, pos, 1536, 9);
	rig_fill(&r, 0, pos, 64 * KIB, 10);
	CHECK_EQ(rig_io(&r, WRITE_CMD, pos, 64 * KIB, 0), 1536);
	CHECK_EQ(rig_check_disk(&r, pos, 1536, 10), 0);
}

/* disk6 fails where 8 MiB begin. */
TEST(an_error_of_the_device_is_reported_and_counted)
{
	struct blk_dmabuf_info info;
	char *mem = aligned_alloc(PAGE, PAGE);
	struct rig r;

	rig_up(&r, "disk6", 2 * BUF);
	CHECK_EQ(rig_io(&r, READ_CMD, 8 * MIB - 4096, 4096, 0), 4096);
	/* As an ordinary read of it says. */
	CHECK_ERRNO(pread(r.bdev, mem, PAGE, 8 * MIB), ENODATA);
	CHECK_EQ(rig_io(&r, READ_CMD, 8 * MIB, 4096, 0), -ENODATA);
	/* The second of the requests that this becomes. */
	CHECK_EQ(rig_io(&r, READ_CMD, 7 * MIB, 2 * MIB, 0), -ENODATA);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 8 * MIB, 4096, 0), -ENODATA);
	CHECK_EQ(rig_io(&r, READ_CMD, 9 * MIB, 4096, 0), 4096);
	info = rig_info(&r);
	CHECK_EQ(info.reads, 2);
	CHECK_EQ(info.errors, 3);
}

/* ---- rings ---- */

TEST(a_32_byte_cqe_tells_the_placement)
{
	struct io_uring_cqe *cqe;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(bind_slot(&r, r.dmabuf, 1234), 1234);
	r.slot = 1234;
	rig_sqe(&r, READ_CMD, 0, 4096, 512 + 4);
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
	CHECK_EQ(io_uring_wait_cqe(&rig_uring, &cqe), 0);
	CHECK_EQ(cqe->res, 4096);
	CHECK_EQ(BLK_DMABUF_PLACED_SLOT(cqe->big_cqe[0]), 1234);
	CHECK_EQ(BLK_DMABUF_PLACED_OFFSET(cqe->big_cqe[0]), 516);
	CHECK_EQ(cqe->big_cqe[1], 0);
}

static void read_on_ring(unsigned int flags, unsigned int sqe_flags)
{
	struct rig r;
	int i;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, BUF, 11);
	rig_ring_flags(8, flags);
	/* The first one finds no mapping, the others do. */
	for (i = 0; i < 3; i++) {
		rig_sqe(&r, READ_CMD, 0, BUF / 2, 4096)->flags |= sqe_flags;
		CHECK(io_uring_submit(&rig_uring) >= 0);
		CHECK_EQ(rig_reap().res, BUF / 2);
		CHECK_EQ(rig_check(&r, 4096, 0, BUF / 2, 11), 0);
		memset(r.mem, POISON, BUF);
	}
}

TEST(a_ring_with_16_byte_cqes_will_do)
{
	read_on_ring(0, 0);
}

TEST(a_ring_with_128_byte_sqes_will_do)
{
	read_on_ring(IORING_SETUP_SQE128, 0);
}

TEST(a_ring_with_a_submission_thread_will_do)
{
	read_on_ring(IORING_SETUP_SQPOLL, 0);
}

TEST(a_ring_with_deferred_task_work_will_do)
{
	read_on_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		     IORING_SETUP_CQE32, 0);
}

/* It is not polled, but interrupted. */
TEST(a_ring_that_polls_will_do)
{
	read_on_ring(IORING_SETUP_IOPOLL, 0);
}

TEST(io_is_done_by_a_worker_if_asked_for)
{
	read_on_ring(0, IOSQE_ASYNC);
}

TEST(a_channel_can_be_a_fixed_file)
{
	struct io_uring_sqe *sqe;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 4096, 12);
	rig_ring_flags(8, 0);
	CHECK_EQ(io_uring_register_files(&rig_uring, &r.chan, 1), 0);
	close(r.chan);
	sqe = rig_sqe(&r, READ_CMD, 0, 4096, 0);
	sqe->fd = 0;
	sqe->flags |= IOSQE_FIXED_FILE;
	CHECK_EQ(rig_run(), 4096);
	CHECK_EQ(rig_check(&r, 0, 0, 4096, 12), 0);
}

TEST(a_link_is_cut_by_a_refusal)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_sqe(&r, READ_CMD, 0, 511, 0)->flags |= IOSQE_IO_LINK;
	rig_sqe(&r, READ_CMD, 0, 512, 0);
	CHECK_EQ(io_uring_submit(&rig_uring), 2);
	CHECK_EQ(rig_reap().res, -EINVAL);
	CHECK_EQ(rig_reap().res, -ECANCELED);
}

/*
 * Once submitted an SQE is the application's again.  Where the first attempt
 * found no mapping, a worker makes another one, and has to remember.
 */
static void scribble_on_sqes(bool mapped)
{
	unsigned int i, n = 32;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, n * 8192, 13);
	rig_ring_flags(n, 0);
	if (mapped)
		CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	for (i = 0; i < n; i++)
		rig_sqe(&r, READ_CMD, i * 8192, 4096, i * 8192 + 516);
	CHECK_EQ(io_uring_submit(&rig_uring), n);
	memset(rig_uring.sq.sqes, 0xff, n * sizeof(struct io_uring_sqe));
	for (i = 0; i < n; i++)
		CHECK_EQ(rig_reap().res, 4096);
	for (i = 0; i < n; i++) {
		CHECK_EQ(rig_check(&r, i * 8192 + 516, i * 8192, 4096, 13), 0);
		CHECK_EQ(poison_check(r.mem + i * 8192 + 516 + 4096,
				      4096 - 516, NULL), 0);
	}
}

TEST(an_sqe_can_be_reused_at_once)
{
	scribble_on_sqes(true);
}

TEST(an_sqe_can_be_reused_at_once_with_nothing_mapped)
{
	scribble_on_sqes(false);
}

/* ---- registering ---- */

/* What the caller of blkdmabuf_register() gets to see, and what is counted. */
#define CHECK_REGISTER(bdev, dmabuf, want, want_reason)			\
	do {								\
		struct blk_dmabuf_attach reg = {};			\
									\
		CHECK_REFUSED(blkdmabuf_register(rig_ctl, bdev, dmabuf,	\
						 &reg), want, want_reason); \
		CHECK_EQ(reg.reason, want_reason);			\
		CHECK_EQ(blkdmabuf_owned(rig_ctl, NULL, 0), 0);		\
	} while (0)

TEST(register_tells_what_is_no_block_device)
{
	int buf = blkdmabuf_udmabuf(BUF, 0);

	CHECK_REGISTER(-1, buf, -EBADF, BLK_DMABUF_NO_DEVICE);
	CHECK_REGISTER(buf, buf, -ENOTBLK, BLK_DMABUF_NO_DEVICE);
	CHECK_REGISTER(open("/dev/null", O_RDWR), buf, -ENOTBLK,
		       BLK_DMABUF_NO_DEVICE);
	CHECK_REGISTER(open(disk_by_serial("disk0"), O_PATH), buf, -EBADF,
		       BLK_DMABUF_NO_DEVICE);
}

TEST(register_tells_what_is_no_dmabuf)
{
	int bdev = rig_open_disk("disk0", O_RDWR);

	CHECK_REGISTER(bdev, -1, -EBADF, BLK_DMABUF_NO_DMABUF);
	CHECK_REGISTER(bdev, bdev, -EINVAL, BLK_DMABUF_NO_DMABUF);
	CHECK_REGISTER(bdev, memfd_create("x", 0), -EINVAL,
		       BLK_DMABUF_NO_DMABUF);
}

TEST(register_refuses_drivers_that_do_not_know_how)
{
	int buf = blkdmabuf_udmabuf(BUF, 0);
	int null = open("/dev/nullb0", O_RDWR), loop = open("/dev/loop0", O_RDWR);

	if (null < 0)
		tap_skip("/dev/nullb0");
	if (loop < 0)
		tap_skip("/dev/loop0");
	CHECK_REGISTER(null, buf, -EOPNOTSUPP, BLK_DMABUF_NO_DRIVER);
	CHECK_REGISTER(loop, buf, -EOPNOTSUPP, BLK_DMABUF_NO_DRIVER);
}

/* It would have to look into the data, or hold it back. */
TEST(register_refuses_a_namespace_with_protection_information)
{
	CHECK_REGISTER(rig_open_disk("disk4", O_RDWR), blkdmabuf_udmabuf(BUF, 0),
		       -EOPNOTSUPP, BLK_DMABUF_INTEGRITY);
}

TEST(register_refuses_a_zoned_namespace)
{
	CHECK_REGISTER(rig_open_disk("disk5", O_RDWR), blkdmabuf_udmabuf(BUF, 0),
		       -EOPNOTSUPP, BLK_DMABUF_ZONED);
}

/* What is below it is found when I/O gets there. */
TEST(register_takes_a_stack_of_disks)
{
	struct blk_dmabuf_attach reg;
	struct blk_dmabuf_info info;
	const char *disk = disk_by_serial("disk0");
	char command[256];
	int dm;

	if (access("/usr/sbin/dmsetup", X_OK) && access("/sbin/dmsetup", X_OK))
		tap_skip("dmsetup");
	snprintf(command, sizeof(command),
		 "dmsetup create --noudevsync --noudevrules blkdmabuf-abi --table '0 8192 linear %s 0' && dmsetup mknodes blkdmabuf-abi",
		 disk);
	CHECK_EQ(system(command), 0);
	dm = open("/dev/mapper/blkdmabuf-abi", O_RDWR | O_CLOEXEC);
	CHECK(dm >= 0);
	CHECK_EQ(blkdmabuf_register(rig_ctl, dm, blkdmabuf_udmabuf(BUF, 0),
				    &reg), 0);
	CHECK_EQ(blkdmabuf_info(rig_ctl, reg.id, &info), 0);
	CHECK(info.flags & BLK_DMABUF_F_STACK);
	CHECK_EQ(info.devices, 0);
	CHECK_EQ(info.state, BLK_DMABUF_UNMAPPED);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, reg.id), 0);
	close(dm);
	CHECK_EQ(system("dmsetup remove --noudevsync --noudevrules blkdmabuf-abi"), 0);
}

TEST(register_refuses_a_second_registration_of_the_pair)
{
	struct blk_dmabuf_attach reg;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_REFUSED(blkdmabuf_register(rig_ctl, r.bdev, r.dmabuf, &reg),
		      -EEXIST, BLK_DMABUF_DUPLICATE);
	CHECK_EQ(reg.reason, BLK_DMABUF_DUPLICATE);
	CHECK_EQ(reg.id, r.id);
	/* The one that is there does not mind. */
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	/* And once it is gone it is in nobody's way. */
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(blkdmabuf_register(rig_ctl, r.bdev, r.dmabuf, &reg), 0);
	CHECK(reg.id != r.id);
}

TEST(register_knows_a_disk_by_its_partitions)
{
	struct blk_dmabuf_attach reg;
	char path[80];
	struct rig r;
	int part;

	rig_up(&r, "disk0", BUF);
	snprintf(path, sizeof(path), "%sp1", disk_by_serial("disk0"));
	part = open(path, O_RDWR);
	CHECK(part >= 0);
	CHECK_REFUSED(blkdmabuf_register(rig_ctl, part, r.dmabuf, &reg),
		      -EEXIST, BLK_DMABUF_DUPLICATE);
	CHECK_EQ(reg.id, r.id);
}

TEST(register_takes_one_dmabuf_on_two_disks)
{
	struct rig a, b;

	rig_up(&a, "disk0", BUF);
	b = a;
	b.bdev = rig_open_disk("disk1", O_RDWR | O_DIRECT);
	rig_register(&b);
	rig_bind(&b);
	CHECK(a.id != b.id);
	CHECK_EQ(rig_io(&a, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(rig_io(&b, WRITE_CMD, 0, 4096, 0), 4096);
}

TEST(unregister_knows_its_own_only)
{
	struct blkdmabuf_ctl *other;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(blkdmabuf_ctl_open(&other, NULL), 0);
	CHECK_EQ(blkdmabuf_unregister(other, r.id), -ENOENT);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, 0), -ENOENT);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id + 1), -ENOENT);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), -ENOENT);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), -ENOENT);
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), -ENOENT);
}

TEST(all_registrations_are_seen_in_the_order_of_their_ids)
{
	struct blkdmabuf_ctl *other;
	struct blk_dmabuf_info info;
	struct rig a, b;

	rig_up(&a, "disk0", BUF);
	rig_up(&b, "disk1", 2 * BUF);
	CHECK(a.id < b.id);
	/* Whoever registered them. */
	CHECK_EQ(blkdmabuf_ctl_open(&other, NULL), 0);
	CHECK_EQ(blkdmabuf_next(other, 0, &info), 1);
	CHECK_EQ(info.id, a.id);
	CHECK_EQ(info.bytes, BUF);
	CHECK_EQ(blkdmabuf_next(other, a.id, &info), 1);
	CHECK_EQ(info.id, b.id);
	CHECK_EQ(info.bytes, 2 * BUF);
	CHECK_EQ(blkdmabuf_next(other, b.id, &info), 0);
}

/* ---- kfuncs, from programs that are assembled here ---- */

#define INSN(c, d, s, o, i) \
	((struct bpf_insn) { .code = (c), .dst_reg = (d), .src_reg = (s), \
			     .off = (o), .imm = (i) })
#define MOV(d, s)	INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)	INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i)	INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define STORE(o, i)	INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, o, i)
#define LOAD(d, o)	INSN(BPF_LDX | BPF_MEM | BPF_W, d, 10, o, 0)
#define SKIP_IF_ZERO(d, n) INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, n, 0)
#define CALL(name)	INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, \
			     kfunc(name))
#define EXIT()		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* A struct blk_dmabuf_attach below the frame pointer, and its members. */
#define ATTACH		(-(int)sizeof(struct blk_dmabuf_attach))
#define AT(member)	(ATTACH + (int)offsetof(struct blk_dmabuf_attach, member))

static int kfunc(const char *name)
{
	static struct btf *btf;
	int id;

	if (!btf)
		btf = btf__load_vmlinux_btf();
	id = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
	CHECK(id > 0);
	return id;
}

static char verdict[65536];

/* The program's fd, or -errno and what the verifier says in verdict[]. */
static int load(enum bpf_prog_type type, const struct bpf_insn *insns, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		.log_buf = verdict,
		.log_size = sizeof(verdict),
		.log_level = 1,
		.prog_flags = type == BPF_PROG_TYPE_SYSCALL ?
			BPF_F_SLEEPABLE : 0);

	return bpf_prog_load(type, NULL, "GPL", insns, n, &opts);
}

/* Attach with these arguments; give what comes of it back at once. */
static int run_attach(int bdev, int dmabuf, int flags, int size)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bpf_insn insns[] = {
		STORE(AT(fd), bdev),
		STORE(AT(dmabuf_fd), dmabuf),
		STORE(AT(flags), flags),
		STORE(AT(error), 4711),
		STORE(AT(reason), 0),
		STORE(AT(id), 0),
		MOV(1, 10),
		ADD_IMM(1, ATTACH),
		MOV_IMM(2, size),
		CALL("bpf_blk_dmabuf_attach"),
		SKIP_IF_ZERO(0, 2),
		MOV(1, 0),
		CALL("bpf_blk_dmabuf_release"),
		LOAD(0, AT(error)),
		EXIT(),
	};
	int prog = load(BPF_PROG_TYPE_SYSCALL, insns, ARRAY_SIZE(insns));

	if (prog < 0)
		printf("# %s\n", verdict);
	CHECK(prog >= 0);
	CHECK_EQ(bpf_prog_test_run_opts(prog, &opts), 0);
	close(prog);
	return opts.retval;
}

TEST(kfunc_attach_refuses_flags_and_other_sizes)
{
	int bdev = rig_open_disk("disk0", O_RDWR);
	int buf = blkdmabuf_udmabuf(BUF, 0);

	CHECK_EQ(run_attach(bdev, buf, 0, sizeof(struct blk_dmabuf_attach)), 0);
	CHECK_EQ(run_attach(bdev, buf, BLK_DMABUF_ATTACH_COPY,
			    sizeof(struct blk_dmabuf_attach)), 0);
	CHECK_EQ(run_attach(bdev, buf, BLK_DMABUF_ATTACH_TRIAL,
			    sizeof(struct blk_dmabuf_attach)), 0);
	CHECK_EQ(run_attach(bdev, buf, 4, sizeof(struct blk_dmabuf_attach)),
		 -EINVAL);
	CHECK_EQ(run_attach(bdev, buf, 1 << 31,
			    sizeof(struct blk_dmabuf_attach)), -EINVAL);
	/* Too small to say so. */
	CHECK_EQ(run_attach(bdev, buf, 0, sizeof(struct blk_dmabuf_attach) - 8),
		 4711);
}

#define CHECK_REJECTED(type, insns, error, words)			\
	do {								\
		CHECK_EQ(load(type, insns, ARRAY_SIZE(insns)), error);	\
		if (!strstr(verdict, words))				\
			tap_fail(__FILE__, __LINE__, "no '%s' in: %s",	\
				 words, verdict);			\
	} while (0)

TEST(kfunc_attach_is_no_way_to_leak_a_registration)
{
	struct bpf_insn insns[] = {
		STORE(AT(fd), 0), STORE(AT(dmabuf_fd), 0),
		STORE(AT(flags), 0), STORE(AT(error), 0),
		STORE(AT(reason), 0), STORE(AT(id), 0),
		MOV(1, 10),
		ADD_IMM(1, ATTACH),
		MOV_IMM(2, sizeof(struct blk_dmabuf_attach)),
		CALL("bpf_blk_dmabuf_attach"),
		MOV_IMM(0, 0),
		EXIT(),
	};

	CHECK_REJECTED(BPF_PROG_TYPE_SYSCALL, insns, -EINVAL,
		       "Unreleased reference");
}

/* A walk under RCU. */
static int walk_and_call(const char *name)
{
	struct bpf_insn insns[] = {
		CALL("bpf_rcu_read_lock"),
		MOV(1, 10),
		ADD_IMM(1, -8),
		MOV_IMM(2, 0),
		CALL("bpf_iter_blk_dmabuf_new"),
		MOV(1, 10),
		ADD_IMM(1, -8),
		CALL("bpf_iter_blk_dmabuf_next"),
		SKIP_IF_ZERO(0, 2),
		MOV(1, 0),
		name ? CALL(name) : MOV_IMM(0, 0),
		MOV(1, 10),
		ADD_IMM(1, -8),
		CALL("bpf_iter_blk_dmabuf_destroy"),
		CALL("bpf_rcu_read_unlock"),
		MOV_IMM(0, 0),
		EXIT(),
	};

	return load(BPF_PROG_TYPE_SYSCALL, insns, ARRAY_SIZE(insns));
}

TEST(kfunc_walk_is_to_look_only)
{
	CHECK(walk_and_call(NULL) >= 0);
	CHECK_EQ(walk_and_call("bpf_blk_dmabuf_release"), -EINVAL);
	CHECK_EQ(walk_and_call("bpf_blk_dmabuf_map"), -EINVAL);
	CHECK_EQ(walk_and_call("bpf_blk_dmabuf_unmap"), -EINVAL);
}

TEST(kfuncs_are_for_syscall_programs)
{
	struct bpf_insn insns[] = {
		MOV_IMM(1, 1),
		CALL("bpf_blk_dmabuf_get"),
		SKIP_IF_ZERO(0, 2),
		MOV(1, 0),
		CALL("bpf_blk_dmabuf_release"),
		MOV_IMM(0, 0),
		EXIT(),
	};
	static const enum bpf_prog_type others[] = {
		BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_KPROBE,
		BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
		BPF_PROG_TYPE_CGROUP_SKB,
	};
	size_t i;

	CHECK(load(BPF_PROG_TYPE_SYSCALL, insns, ARRAY_SIZE(insns)) >= 0);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		CHECK_REJECTED(others[i], insns, -EACCES, "bpf_blk_dmabuf_get");
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
