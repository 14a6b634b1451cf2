// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O that the ring polls for: the bytes are right, no interrupt is needed, and
 * whatever makes an I/O start again (no mapping, no tag, a policy that divides
 * it) ends with a completion.  And rings of other kinds: SQPOLL, deferred task
 * work.
 *
 * vm: nvme=2 nvme1.lba=4096 append=nvme.poll_queues=1 part=1 cpus=2
 */
#include <sys/wait.h>

#include "../../user/ctl/tracecount.h"
#include "mover.h"
#include "policy.h"
#include "selftests/bpf/cost.skel.h"

#define BUF	(4 * MIB)
#define LEN	(64 * KIB)
#define POS	(16 * MIB)
#define NR	16U

#define POLLED	(IORING_SETUP_IOPOLL | IORING_SETUP_CQE32)

/* Interrupts of the disk so far, of all its vectors and CPUs. */
static unsigned long interrupts(const char *disk)
{
	FILE *f = fopen("/proc/interrupts", "re");
	unsigned long sum = 0;
	char line[4096], want[64], *at, *end;

	CHECK(f);
	snprintf(want, sizeof(want), " %.*sq", (int)strcspn(disk, "n") + 5, disk);
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, want))
			continue;
		for (at = strchr(line, ':') + 1;; at = end) {
			unsigned long n = strtoul(at, &end, 10);

			if (end == at)
				break;
			sum += n;
		}
	}
	fclose(f);
	return sum;
}

/* "nvme0n1" is of "nvme0". */
static const char *controller(const char *serial)
{
	static char name[16];
	const char *path = disk_by_serial(serial);

	if (!path)
		tap_skip(serial);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(path + 9, "n") + 4,
		 path + 5);
	return name;
}

static void up(struct rig *r, const char *serial, unsigned int flags)
{
	rig_up(r, serial, BUF);
	rig_ring_flags(64, flags);
}

static void all(struct rig *r, unsigned int op, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		rig_sqe(r, op, POS + i * len, len, i * len);
	CHECK_EQ(io_uring_submit(&rig_uring), NR);
	for (i = 0; i < NR; i++)
		CHECK_EQ(rig_reap().res, len);
}

static void both_directions(struct rig *r, uint32_t len)
{
	rig_fill_disk(r, POS, NR * len, 1);
	memset(r->mem, POISON, BUF);
	all(r, READ_CMD, len);
	CHECK_EQ(rig_check(r, 0, POS, NR * len, 1), 0);
	rig_fill(r, 0, POS, NR * len, 2);
	all(r, WRITE_CMD, len);
	CHECK_EQ(rig_check_disk(r, POS, NR * len, 2), 0);
}

TEST(polled_bytes_are_right)
{
	struct rig r;

	up(&r, "disk0", POLLED);
	both_directions(&r, 4 * KIB);
	both_directions(&r, LEN);
	both_directions(&r, 256 * KIB);
	CHECK_EQ(rig_info(&r).errors, 0);
}

TEST(polled_bytes_are_right_with_large_blocks)
{
	struct rig r;

	up(&r, "disk1", POLLED);
	both_directions(&r, 4 * KIB);
	both_directions(&r, LEN);
}

TEST(what_is_polled_for_needs_no_interrupt)
{
	const char *name = controller("disk0");
	unsigned long before, polled, interrupted;
	struct rig r;
	unsigned int i;

	up(&r, "disk0", POLLED);
	all(&r, READ_CMD, 4 * KIB);	/* which maps */
	before = interrupts(name);
	for (i = 0; i < 10; i++)
		all(&r, READ_CMD, 4 * KIB);
	polled = interrupts(name) - before;
	io_uring_queue_exit(&rig_uring);
	rig_ring_flags(64, IORING_SETUP_CQE32);
	before = interrupts(name);
	for (i = 0; i < 10; i++)
		all(&r, READ_CMD, 4 * KIB);
	interrupted = interrupts(name) - before;
	printf("# %lu interrupts polled, %lu not\n", polled, interrupted);
	CHECK(interrupted >= 10);
	CHECK_EQ(polled, 0);
}

/* What the rest of the system allocates meanwhile is counted, too. */
TEST(commands_that_are_polled_for_allocate_nothing)
{
	uint64_t counts[NR_TRACE_EVENTS];
	struct trace_counter counter;
	struct rig r;
	unsigned int i;

	up(&r, "disk0", POLLED);
	for (i = 0; i < 10; i++)
		all(&r, READ_CMD, 4 * KIB);
	CHECK_EQ(trace_counter_open(&counter), 0);
	CHECK(counter.known[TRACE_ALLOC]);
	for (i = 0; i < 100; i++)
		all(&r, READ_CMD, 4 * KIB);
	trace_counter_read(&counter, counts);
	trace_counter_close(&counter);
	printf("# %llu allocations for %u commands\n",
	       (unsigned long long)counts[TRACE_ALLOC], 100 * NR);
	CHECK(counts[TRACE_ALLOC] < 100 * NR / 4);
}

/* They have one hardware queue, so each finds what the other one has issued. */
TEST(two_rings_poll_one_channel_at_a_time)
{
	unsigned int i, round;
	uint64_t pos, offset;
	struct rig r;
	int status;
	pid_t pid;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, POS, 2 * NR * LEN, 1);
	memset(r.mem, POISON, BUF);
	pid = fork();
	CHECK(pid >= 0);
	offset = pid ? 0 : NR * LEN;
	pos = POS + offset;
	rig_ring_flags(64, POLLED);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < NR; i++)
			rig_sqe(&r, READ_CMD, pos + i * LEN, LEN,
				offset + i * LEN);
		CHECK_EQ(io_uring_submit(&rig_uring), NR);
		for (i = 0; i < NR; i++)
			CHECK_EQ(rig_reap().res, LEN);
		CHECK_EQ(rig_check(&r, offset, pos, NR * LEN, 1), 0);
		memset(r.mem + offset, POISON, NR * LEN);
	}
	if (!pid)
		_exit(0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

TEST(polled_io_maps_what_is_not_mapped)
{
	struct rig r;
	unsigned int i;

	up(&r, "disk0", POLLED);
	rig_fill_disk(&r, POS, NR * LEN, 1);
	for (i = 0; i < 5; i++) {
		memset(r.mem, POISON, BUF);
		all(&r, READ_CMD, LEN);
		CHECK_EQ(rig_check(&r, 0, POS, NR * LEN, 1), 0);
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	}
	CHECK(rig_info(&r).retries >= 5);
	CHECK_EQ(rig_info(&r).errors, 0);
}

TEST(polled_io_follows_a_buffer_that_moves)
{
	struct rig r = {};
	unsigned int i;

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	r.size = BUF;
	r.dmabuf = mover_create(BUF, 0);
	r.mem = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, r.dmabuf, 0);
	CHECK(r.mem != MAP_FAILED);
	rig_register(&r);
	rig_bind(&r);
	rig_ring_flags(64, POLLED);
	rig_fill_disk(&r, POS, NR * LEN, 1);
	mover_storm(r.dmabuf, 200);
	for (i = 0; i < 20; i++) {
		memset(r.mem, POISON, NR * LEN);
		all(&r, READ_CMD, LEN);
		CHECK_EQ(rig_check(&r, 0, POS, NR * LEN, 1), 0);
	}
	mover_storm(r.dmabuf, 0);
	CHECK_EQ(mover_stat(r.dmabuf).late_writes, 0);
}

/* More than the device has tags for, and larger than it takes at once. */
TEST(polled_io_waits_for_tags_and_is_split)
{
	unsigned int i, nr = 2048;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_ring_flags(nr, POLLED);
	rig_fill_disk(&r, POS, BUF, 1);
	memset(r.mem, POISON, BUF);
	for (i = 0; i < nr; i++)
		rig_sqe(&r, READ_CMD, POS + i % 1024 * 4096, 4096,
			i % 1024 * 4096);
	CHECK_EQ(io_uring_submit(&rig_uring), nr);
	for (i = 0; i < nr; i++)
		CHECK_EQ(rig_reap().res, 4096);
	CHECK_EQ(rig_check(&r, 0, POS, BUF, 1), 0);
	memset(r.mem, POISON, BUF);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, BUF, 0), BUF);
	CHECK_EQ(rig_check(&r, 0, POS, BUF, 1), 0);
}

TEST(polled_errors_are_those_of_other_io)
{
	struct rig r;

	up(&r, "disk0", POLLED);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, LEN, BUF), -ERANGE);
	CHECK_EQ(rig_io(&r, READ_CMD, POS + 1, LEN, 0), -EINVAL);
	CHECK_EQ(rig_io(&r, READ_CMD, r.limits.bytes, LEN, 0), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, r.limits.bytes - 4096, LEN, 0), 4096);
	CHECK_EQ(rig_io(&r, WRITE_CMD, r.limits.bytes, LEN, 0), -ENOSPC);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, LEN, 0), -ENODEV);
}

/* Somebody reads the same device through the page cache meanwhile. */
TEST(polled_io_sees_what_is_in_the_page_cache)
{
	const char *path = disk_by_serial("disk0");
	unsigned char *mem = malloc(LEN);
	struct rig r;
	int fd;

	up(&r, "disk0", POLLED);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	data_fill(mem, POS, LEN, 7);
	CHECK_EQ(pwrite(fd, mem, LEN, POS), LEN);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(&r, 0, POS, LEN, 7), 0);
	rig_fill(&r, 0, POS, LEN, 8);
	CHECK_EQ(rig_io(&r, WRITE_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(pread(fd, mem, LEN, POS), LEN);
	CHECK_EQ(data_check(mem, POS, LEN, 8, NULL), 0);
	close(fd);
}

/* The local hardware queue is one of those that are polled. */
TEST(a_policy_chooses_among_queues_that_are_polled)
{
	struct cost *policies = cost__open_and_load();
	struct rig r;

	CHECK(policies);
	policy_attach(policies->maps.cost_both);
	up(&r, "disk0", POLLED);
	CHECK_EQ(policy_select(r.bdev, "place_map_queue"), 0);
	both_directions(&r, 4 * KIB);
	both_directions(&r, LEN);
	CHECK_EQ(rig_info(&r).errors, 0);
	CHECK_EQ(policy_select(r.bdev, "none"), 0);
}

static void on_ring(unsigned int flags)
{
	struct rig r;

	up(&r, "disk0", flags | IORING_SETUP_CQE32);
	both_directions(&r, 4 * KIB);
	both_directions(&r, LEN);
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	both_directions(&r, LEN);
	CHECK_EQ(rig_info(&r).errors, 0);
}

TEST(a_ring_with_a_thread_that_submits_works)
{
	on_ring(IORING_SETUP_SQPOLL);
}

TEST(a_polled_ring_with_a_thread_that_submits_works)
{
	on_ring(IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL);
}

TEST(a_ring_with_deferred_task_work_works)
{
	on_ring(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER);
}

TEST(a_polled_ring_with_deferred_task_work_works)
{
	on_ring(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
		IORING_SETUP_IOPOLL);
}

TEST(a_ring_that_goes_away_waits_for_what_is_polled_for)
{
	struct rig r;
	unsigned int i, round;

	up(&r, "disk0", POLLED);
	rig_fill_disk(&r, POS, NR * LEN, 1);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < NR; i++)
			rig_sqe(&r, READ_CMD, POS + i * LEN, LEN, i * LEN);
		CHECK_EQ(io_uring_submit(&rig_uring), NR);
		io_uring_queue_exit(&rig_uring);
		rig_ring_flags(64, POLLED);
	}
	all(&r, READ_CMD, LEN);
	CHECK_EQ(rig_check(&r, 0, POS, NR * LEN, 1), 0);
	CHECK_EQ(rig_info(&r).errors, 0);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
