/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of policies share: select one, count what was refused, and a rig
 * with several buffers on one channel whose completions say where data went.
 *
 * A policy that a test attaches goes with the test's process.
 */
#ifndef SELFTESTS_POLICY_H
#define SELFTESTS_POLICY_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libgen.h>
#include <sched.h>
#include <sys/sysmacros.h>

#include "rig.h"

/* Skeletons speak the kernel's names. */
typedef __u8 u8;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;

#include "bpf/puppet.h"

#define SLOT_ANY	BLK_DMABUF_SLOT_ANY

/* ---- where a test runs, and how long ---- */

static inline void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	close(fd);
}

static inline void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Move to a cgroup, which is made if need be; its id, as policies see it. */
static inline uint64_t enter_cgroup(const char *name)
{
	char dir[128], file[160], pid[16];
	struct stat st;

	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/%s", name);
	if (mkdir(dir, 0755) && errno != EEXIST)
		tap_skip("a writable cgroup2 hierarchy");
	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	snprintf(pid, sizeof(pid), "%d", getpid());
	put(file, pid);
	CHECK_EQ(stat(dir, &st), 0);
	return st.st_ino;
}

/*
 * For a test of hundreds of steps, which TAP_TIMEOUT is not meant for.  How
 * slow the kernel is, selftests/run knows and says by TEST_TIMEOUT.
 */
static inline void take_your_time(void)
{
	const char *seconds = getenv("TEST_TIMEOUT");

	alarm(2 * (seconds ? atoi(seconds) : 300));
}

/* ---- selecting ---- */

/* A disk's number as policies see it, which is not as user space does. */
static inline uint32_t kernel_dev(int bdev)
{
	struct stat st;

	CHECK_EQ(fstat(bdev, &st), 0);
	return major(st.st_rdev) << 20 | minor(st.st_rdev);
}

/* The attribute of the disk behind an open block device. */
static inline void policy_path(char *path, size_t size, int bdev)
{
	struct stat st;

	CHECK_EQ(fstat(bdev, &st), 0);
	snprintf(path, size, "/sys/dev/block/%u:%u/queue/dmabuf_policy",
		 major(st.st_rdev), minor(st.st_rdev));
}

static inline int policy_write(const char *path, const char *name)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, name, strlen(name)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static inline int policy_select(int bdev, const char *name)
{
	char path[128];

	policy_path(path, sizeof(path), bdev);
	return policy_write(path, name);
}

/* The whole line, such as "none [stripe] pool". */
static inline const char *policy_line(int bdev)
{
	static char line[4096];
	char path[128];
	FILE *f;

	policy_path(path, sizeof(path), bdev);
	f = fopen(path, "re");
	CHECK(f);
	CHECK(fgets(line, sizeof(line), f));
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	return line;
}

static inline bool policy_is(int bdev, const char *name)
{
	char word[64];

	snprintf(word, sizeof(word), "[%s]", name);
	return strstr(policy_line(bdev), word);
}

static inline bool policy_listed(int bdev, const char *name)
{
	const char *line = policy_line(bdev), *at = strstr(line, name);
	char end = at ? at[strlen(name)] : 0;

	return at && (!end || end == ' ' || end == ']');
}

static inline struct bpf_link *policy_attach(struct bpf_map *map)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(map);

	if (!link)
		tap_fail(__FILE__, __LINE__, "policy %s: %s",
			 bpf_map__name(map), strerror(errno));
	return link;
}

/* ---- what the kernel refused ---- */

static struct blk_dmabuf_features policy_before;

static inline void refused_begin(void)
{
	CHECK_EQ(blkdmabuf_features(&policy_before), 0);
}

/* Since then @nr times for @reason, and for nothing else; 0: for nothing. */
static inline void refused_end(unsigned int reason, uint64_t nr)
{
	struct blk_dmabuf_features now;
	unsigned int i;

	CHECK_EQ(blkdmabuf_features(&now), 0);
	for (i = 0; i < now.nr_reasons; i++) {
		uint64_t want = i == reason ? nr : 0;
		uint64_t have = now.refused[i] - policy_before.refused[i];

		if (have != want)
			tap_fail(__FILE__, __LINE__,
				 "%s was counted %llu times, not %llu",
				 blkdmabuf_reason_str(i),
				 (unsigned long long)have,
				 (unsigned long long)want);
	}
}

/* ---- several buffers on one channel ---- */

/* Another buffer for the channel of @first. */
static inline void rig_up_slot(struct rig *r, struct rig *first, uint64_t size)
{
	int slot;

	*r = *first;
	rig_buffer(r, size, false);
	rig_register(r);
	slot = blkdmabuf_bind(r->chan, r->dmabuf, SLOT_ANY, NULL);
	CHECK(slot >= 0);
	r->slot = slot;
}

/* @n buffers in the slots 0 to n - 1 of a new channel, all mapped. */
static inline void rig_up_slots(struct rig *r, unsigned int n,
				const char *serial, uint64_t size)
{
	unsigned int i;

	rig_up(r, serial, size);
	for (i = 1; i < n; i++)
		rig_up_slot(&r[i], r, size);
	for (i = 0; i < n; i++)
		CHECK_EQ(blkdmabuf_map(rig_ctl, r[i].id), 0);
}

static inline void rig_poison(struct rig *r)
{
	memset(r->mem, POISON, r->size);
}

/* Nothing has written there. */
static inline bool rig_untouched(struct rig *r)
{
	size_t first = 0, bad = poison_check(r->mem, r->size, &first);

	if (bad)
		printf("# slot %u: %zu bytes written, the first at %zu\n",
		       r->slot, bad, first);
	return !bad;
}

/* ---- I/O whose completion says where it went ---- */

struct placed {
	uint64_t	user;
	int32_t		res;
	uint32_t	slot;
	uint64_t	offset;
};

static inline struct io_uring_sqe *placed_sqe(struct rig *r, unsigned int op,
					      uint64_t pos, uint32_t len,
					      uint32_t slot, uint64_t offset,
					      uint32_t hint)
{
	struct io_uring_sqe *sqe = rig_sqe(r, op, pos, len, offset);

	blkdmabuf_prep_read(sqe, r->chan, pos, len, slot, offset, hint);
	sqe->cmd_op = op;
	return sqe;
}

static inline bool placed_peek(struct placed *done, bool wait)
{
	struct io_uring_cqe *cqe;
	int ret;

	do {
		ret = wait ? io_uring_wait_cqe(&rig_uring, &cqe) :
			     io_uring_peek_cqe(&rig_uring, &cqe);
	} while (ret == -EINTR);
	if (ret == -EAGAIN && !wait)
		return false;
	CHECK_EQ(ret, 0);
	*done = (struct placed) {
		.user	= cqe->user_data,
		.res	= cqe->res,
		.slot	= BLK_DMABUF_PLACED_SLOT(cqe->big_cqe[0]),
		.offset	= BLK_DMABUF_PLACED_OFFSET(cqe->big_cqe[0]),
	};
	io_uring_cqe_seen(&rig_uring, cqe);
	return true;
}

static inline struct placed placed_reap(void)
{
	struct placed done;

	placed_peek(&done, true);
	return done;
}

static inline struct placed placed_io(struct rig *r, unsigned int op,
				      uint64_t pos, uint32_t len, uint32_t slot,
				      uint64_t offset, uint32_t hint)
{
	placed_sqe(r, op, pos, len, slot, offset, hint);
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
	return placed_reap();
}

#endif /* SELFTESTS_POLICY_H */
