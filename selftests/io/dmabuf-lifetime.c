// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registrations live as long as somebody wants them, no longer, and nothing
 * that ends one while I/O is in flight loses data, hangs, or lets the device
 * touch memory afterwards.
 *
 * disk3 takes 100 ms for whatever it does and keeps no data: what is read from
 * it is zero.
 *
 * vm: main
 * log-allow: I/O error, dev nvme -- requests of a disk that was removed
 */
#include <pthread.h>
#include <stdatomic.h>

#include <bpf/bpf.h>

#include "rig.h"

#define BUF	MIB
#define PIN_DIR	"/sys/fs/bpf/blkdmabuf-lifetime"

/* What the kernel still knows of a dma-buf: -1 if nothing, else attachments. */
static int attachments(uint64_t inode)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	char line[256], want[32];
	bool here = false;
	int n = -1;

	CHECK(f);
	snprintf(want, sizeof(want), "\t%08llu\t", (unsigned long long)inode);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, want))
			here = true;
		if (here && sscanf(line, "Total %d devices attached", &n) == 1)
			break;
	}
	fclose(f);
	return n;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_ino;
}

static bool registered(uint32_t id)
{
	struct blk_dmabuf_info info;

	return !blkdmabuf_info(rig_ctl, id, &info);
}

static void put_buffer(struct rig *r)
{
	CHECK_EQ(munmap(r->mem, r->size), 0);
	CHECK_EQ(close(r->dmabuf), 0);
}

static void submit_reads(struct rig *r, unsigned int n, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		rig_sqe(r, READ_CMD, i * len, len, i * len);
	CHECK_EQ(io_uring_submit(&rig_uring), n);
}

static bool is_zero(const unsigned char *mem, size_t len)
{
	return !mem[0] && !memcmp(mem, mem + 1, len - 1);
}

/* Nothing may write to the buffer from now on. */
static void check_no_dma(struct rig *r)
{
	memset(r->mem, POISON, r->size);
	sleep_ms(300);
	CHECK_EQ(poison_check(r->mem, r->size, NULL), 0);
}

/* ---- owners ---- */

static uint32_t map_id(const char *path)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(path);

	CHECK(fd >= 0);
	CHECK_EQ(bpf_map_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	return info.id;
}

static bool map_exists(uint32_t id)
{
	int fd = bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* In a process of its own, which is gone when this returns. */
static uint32_t register_pinned(struct rig *r)
{
	int pipes[2], status;
	uint32_t id = 0;
	pid_t pid;

	CHECK_EQ(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, PIN_DIR), 0);
		rig_register(r);
		CHECK_EQ(write(pipes[1], &r->id, sizeof(r->id)),
			 sizeof(r->id));
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(read(pipes[0], &id, sizeof(id)), sizeof(id));
	return id;
}

TEST(a_pin_keeps_a_registration_and_its_removal_ends_it)
{
	uint64_t inode;
	struct rig r = {};
	uint32_t map;
	int fd;

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_buffer(&r, BUF, false);
	inode = inode_of(r.dmabuf);
	r.id = register_pinned(&r);
	put_buffer(&r);

	CHECK(registered(r.id));
	CHECK_EQ(attachments(inode), 1);
	map = map_id(PIN_DIR "/regs");
	/* Of all that made it only the id is left. */
	fd = blkdmabuf_get_fd(r.id);
	CHECK(fd >= 0);
	r.dmabuf = fd;
	rig_bind(&r);
	rig_fill_disk(&r, 0, 8192, 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 8192, 0), 8192);
	r.mem = mmap(NULL, BUF, PROT_READ, MAP_SHARED, fd, 0);
	CHECK_EQ(rig_check(&r, 0, 0, 8192, 1), 0);
	put_buffer(&r);

	CHECK_EQ(unlink(PIN_DIR "/regs"), 0);
	CHECK_EQ(rmdir(PIN_DIR), 0);
	CHECK_SOON(!registered(r.id));
	CHECK_SOON(!map_exists(map));
	/* The bound slot knows a dead one, and holds nothing of it. */
	CHECK_SOON(attachments(inode) < 0);
	CHECK_EQ(rig_info(&r).state, BLK_DMABUF_DEAD);
}

TEST(a_second_process_finds_what_the_first_one_pinned)
{
	struct blkdmabuf_ctl *ctl;
	uint32_t ids[4];
	struct rig r = {};

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_buffer(&r, BUF, false);
	r.id = register_pinned(&r);
	CHECK_EQ(blkdmabuf_ctl_open(&ctl, PIN_DIR), 0);
	CHECK_EQ(blkdmabuf_owned(ctl, ids, 4), 1);
	CHECK_EQ(ids[0], r.id);
	CHECK_EQ(blkdmabuf_unregister(ctl, r.id), 0);
	CHECK(!registered(r.id));
	CHECK_EQ(unlink(PIN_DIR "/regs"), 0);
	CHECK_EQ(rmdir(PIN_DIR), 0);
}

/* SIGKILL with I/O in flight: registration, map and buffer all go. */
TEST(what_is_not_pinned_dies_with_its_process)
{
	int pipes[2], status;
	uint64_t inode;
	struct rig r;
	pid_t pid;

	CHECK_EQ(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
		rig_up(&r, "disk3", BUF);
		submit_reads(&r, 16, 4096);
		inode = inode_of(r.dmabuf);
		CHECK_EQ(write(pipes[1], &r.id, sizeof(r.id)), 4);
		CHECK_EQ(write(pipes[1], &inode, sizeof(inode)), 8);
		pause();
	}
	CHECK_EQ(read(pipes[0], &r.id, sizeof(r.id)), 4);
	CHECK_EQ(read(pipes[0], &inode, sizeof(inode)), 8);
	CHECK(registered(r.id));
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_SOON(!registered(r.id));
	CHECK_SOON(attachments(inode) < 0);
}

TEST(the_buffer_lives_as_long_as_its_registration)
{
	uint64_t inode;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	inode = inode_of(r.dmabuf);
	put_buffer(&r);
	CHECK_EQ(attachments(inode), 1);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	/* Files are closed a little later. */
	CHECK_SOON(attachments(inode) < 0);
}

TEST(registering_again_and_again_leaves_nothing_behind)
{
	uint32_t last = 0;
	struct rig r = {};
	int i;

	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_buffer(&r, BUF, false);
	for (i = 0; i < 100; i++) {
		rig_register(&r);
		CHECK(r.id > last);
		last = r.id;
		if (i & 1)
			CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
		CHECK_EQ(attachments(inode_of(r.dmabuf)), 1);
		CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
		CHECK_EQ(attachments(inode_of(r.dmabuf)), 0);
	}
}

/* ---- the mapping ---- */

TEST(the_first_io_maps)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, BUF, 2);
	CHECK_EQ(rig_info(&r).state, BLK_DMABUF_UNMAPPED);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, BUF, 0), BUF);
	CHECK_EQ(rig_check(&r, 0, 0, BUF, 2), 0);
	CHECK_EQ(rig_info(&r).state, BLK_DMABUF_LIVE);
	CHECK_EQ(rig_info(&r).errors, 0);
}

/* All of them find no mapping and may not sleep: one of the workers maps. */
TEST(many_first_ios_map_once)
{
	unsigned int i;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, BUF, 2);
	submit_reads(&r, 128, 8192);
	for (i = 0; i < 128; i++)
		CHECK_EQ(rig_reap().res, 8192);
	CHECK_EQ(rig_check(&r, 0, 0, BUF, 2), 0);
	CHECK_EQ(rig_info(&r).generation, 1);
}

TEST(unmapping_is_undone_by_the_next_io)
{
	struct rig r;
	int i;

	rig_up(&r, "disk0", BUF);
	for (i = 1; i <= 10; i++) {
		rig_fill_disk(&r, 0, 8192, i);
		CHECK_EQ(rig_io(&r, READ_CMD, 0, 8192, 516), 8192);
		CHECK_EQ(rig_check(&r, 516, 0, 8192, i), 0);
		CHECK_EQ(rig_info(&r).generation, i);
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		CHECK_EQ(rig_info(&r).state, BLK_DMABUF_UNMAPPED);
		CHECK_EQ(rig_info(&r).ranges, 0);
		/* Nothing to do is no error. */
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	}
	CHECK_EQ(rig_info(&r).invalidations, 0);
}

TEST(mapping_what_is_mapped_does_nothing)
{
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	CHECK_EQ(rig_info(&r).generation, 1);
}

TEST(unmapping_waits_for_io_in_flight)
{
	uint64_t start;
	struct rig r;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	start = now_ms();
	submit_reads(&r, 16, 4096);
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	CHECK(now_ms() - start >= 50);
	CHECK(is_zero(r.mem, 16 * 4096));
	check_no_dma(&r);
}

/* ---- the end, with I/O in flight ---- */

TEST(unregistering_waits_for_io_in_flight)
{
	uint64_t start;
	struct rig r;
	int i;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	start = now_ms();
	submit_reads(&r, 16, 4096);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK(now_ms() - start >= 50);
	CHECK(is_zero(r.mem, 16 * 4096));
	check_no_dma(&r);
	for (i = 0; i < 16; i++)
		CHECK_EQ(rig_reap().res, 4096);
}

TEST(a_slot_outlives_its_registration_and_says_so)
{
	struct blk_dmabuf_features before, after;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(rig_info(&r).state, BLK_DMABUF_DEAD);
	CHECK_EQ(rig_info(&r).id, r.id);
	CHECK_EQ(blkdmabuf_features(&before), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), -ENODEV);
	CHECK_EQ(rig_io(&r, WRITE_CMD, 0, 4096, 0), -ENODEV);
	CHECK_EQ(blkdmabuf_features(&after), 0);
	CHECK_EQ(after.refused[BLK_DMABUF_IS_DEAD],
		 before.refused[BLK_DMABUF_IS_DEAD] + 2);
	/* It is no way to bring it back, and in the way of nothing. */
	CHECK_EQ(blkdmabuf_bind(r.chan, r.dmabuf, 1, NULL), -ENOENT);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
	rig_register(&r);
	CHECK_EQ(blkdmabuf_bind(r.chan, r.dmabuf, r.slot, NULL), r.slot);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), 4096);
}

TEST(unbinding_leaves_io_in_flight_alone)
{
	struct rig r;
	int i;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	submit_reads(&r, 16, 4096);
	CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 4096, 0), -ENOENT);
	for (i = 0; i < 16; i++)
		CHECK_EQ(rig_reap().res, 4096);
	CHECK(is_zero(r.mem, 16 * 4096));
}

TEST(closing_everything_leaves_io_in_flight_alone)
{
	struct rig r;
	int i;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	submit_reads(&r, 16, 4096);
	close(r.chan);
	close(r.bdev);
	close(r.dmabuf);
	for (i = 0; i < 16; i++)
		CHECK_EQ(rig_reap().res, 4096);
	CHECK(is_zero(r.mem, 16 * 4096));
}

static void leave_io_behind(bool mapped)
{
	struct rig r;
	int status;
	pid_t pid;

	rig_up(&r, "disk3", BUF);
	if (mapped)
		CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	pid = fork();
	if (!pid) {
		submit_reads(&r, 64, 4096);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	/* The kernel may take its time to end the ring, but not this. */
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	check_no_dma(&r);
}

TEST(a_process_may_leave_io_in_flight_behind)
{
	leave_io_behind(true);
}

TEST(a_process_may_leave_io_behind_that_was_not_started)
{
	leave_io_behind(false);
}

TEST(a_ring_may_be_closed_with_io_in_flight)
{
	struct rig r;
	int i;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	for (i = 0; i < 4; i++) {
		submit_reads(&r, 64, 4096);
		io_uring_queue_exit(&rig_uring);
		memset(&rig_uring, 0, sizeof(rig_uring));
	}
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	check_no_dma(&r);
}

#define ASK	1	/* user_data of who asks to cancel */
#define HOLD	2	/* ... of what keeps the worker busy */

static void submit_cancel(uint64_t user, unsigned int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&rig_uring);

	io_uring_prep_cancel64(sqe, user, flags);
	sqe->user_data = ASK;
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
}

/* How many of the @n reads were done and how many cancelled; no other end. */
static void reap_cancelled(unsigned int n, unsigned int *done,
			   unsigned int *cancelled)
{
	unsigned int i;

	*done = *cancelled = 0;
	for (i = 0; i < n + 1; i++) {
		struct rig_done d = rig_reap();

		if (d.user == ASK)
			continue;
		if (d.res == 4096)
			++*done;
		else if (d.res == -ECANCELED)
			++*cancelled;
		else
			CHECK_EQ(d.res, 4096);
	}
	CHECK_EQ(*done + *cancelled, n);
}

/* What the device has cannot be taken back: it is waited for. */
TEST(io_in_flight_is_not_cancelled)
{
	unsigned int done, cancelled;
	struct rig r;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	rig_ring_flags(256, 0);
	submit_reads(&r, 16, 4096);
	submit_cancel(0, IORING_ASYNC_CANCEL_ANY);
	reap_cancelled(16, &done, &cancelled);
	CHECK_EQ(cancelled, 0);
	CHECK(is_zero(r.mem, 16 * 4096));
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	check_no_dma(&r);
}

/* Some were begun and some not, nobody knows how many: each ends either way. */
TEST(io_that_is_being_started_can_be_asked_to_cancel)
{
	unsigned int done, cancelled;
	struct rig r;

	rig_up(&r, "disk3", BUF);
	rig_ring_flags(256, 0);
	submit_reads(&r, 64, 4096);
	submit_cancel(0, IORING_ASYNC_CANCEL_ANY);
	reap_cancelled(64, &done, &cancelled);
	CHECK_EQ(rig_info(&r).reads, done);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	check_no_dma(&r);
}

/* The ring's one worker waits until somebody else opens the FIFO, too. */
static void hold_worker(const char *fifo)
{
	unsigned int workers[2] = { 1, 1 };
	struct io_uring_sqe *sqe;

	CHECK_EQ(io_uring_register_iowq_max_workers(&rig_uring, workers), 0);
	unlink(fifo);
	CHECK_EQ(mkfifo(fifo, 0600), 0);
	sqe = io_uring_get_sqe(&rig_uring);
	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
	sqe->user_data = HOLD;
	CHECK_EQ(io_uring_submit(&rig_uring), 1);
}

static void let_worker_go(const char *fifo)
{
	struct rig_done d;

	CHECK(open(fifo, O_WRONLY) >= 0);
	d = rig_reap();
	CHECK_EQ(d.user, HOLD);
	CHECK(d.res >= 0);
	unlink(fifo);
}

/* Queue @n reads behind what holds the worker, each page for page. */
static void submit_behind(struct rig *r, unsigned int n, uint64_t user)
{
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < n; i++) {
		sqe = rig_sqe(r, READ_CMD, i * 4096, 4096, i * 4096);
		io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
		sqe->user_data = user;
	}
	CHECK_EQ(io_uring_submit(&rig_uring), n);
}

TEST(io_that_no_worker_has_begun_is_cancelled)
{
	const char *fifo = "/tmp/blkdmabuf-lifetime";
	unsigned int done, cancelled;
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 16 * 4096, 3);
	rig_ring_flags(256, 0);
	hold_worker(fifo);
	submit_behind(&r, 16, 77);
	submit_cancel(77, IORING_ASYNC_CANCEL_ALL);
	reap_cancelled(16, &done, &cancelled);
	CHECK_EQ(cancelled, 16);
	/* Nothing of them is left, neither here nor on its way. */
	CHECK_EQ(rig_info(&r).reads, 0);
	CHECK_EQ(rig_info(&r).errors, 0);
	let_worker_go(fifo);
	CHECK_EQ(poison_check(r.mem, r.size, NULL), 0);
	CHECK_EQ(rig_io(&r, READ_CMD, 0, 16 * 4096, 0), 16 * 4096);
	CHECK_EQ(rig_check(&r, 0, 0, 16 * 4096, 3), 0);
}

/* ---- under load ---- */

static atomic_bool stop;

struct load {
	struct rig	*rig;
	pthread_t	thread;
	unsigned int	nr;
	atomic_ulong	done;
	atomic_ulong	refused;
	int		refusal;	/* the one error that is all right */
};

/*
 * Reads into a quarter of the buffer, looked at.  disk0 is full of data with
 * seed 20.
 */
static void *load(void *arg)
{
	struct load *l = arg;
	struct rig *r = l->rig;
	uint64_t base = l->nr * (r->size / 4);
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	uint64_t i;

	CHECK_EQ(io_uring_queue_init(16, &ring, 0), 0);
	while (!stop) {
		for (i = 0; i < 16; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

			blkdmabuf_prep_read(sqe, r->chan, i * 16384, 8192,
					    r->slot, base + i * 16384 + 4, 0);
			sqe->user_data = i;
			memset(r->mem + base + i * 16384, POISON, 16384);
		}
		CHECK_EQ(io_uring_submit(&ring), 16);
		for (i = 0; i < 16; i++) {
			unsigned char *mem;
			uint64_t n;

			CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
			n = cqe->user_data;
			mem = r->mem + base + n * 16384;
			if (cqe->res == 8192) {
				CHECK_EQ(data_check(mem + 4, n * 16384, 8192,
						    20, NULL), 0);
				l->done++;
			} else {
				CHECK_EQ(cqe->res, l->refusal);
				l->refused++;
			}
			CHECK_EQ(poison_check(mem, 4, NULL), 0);
			CHECK_EQ(poison_check(mem + 8196, 8000, NULL), 0);
			io_uring_cqe_seen(&ring, cqe);
		}
	}
	io_uring_queue_exit(&ring);
	return NULL;
}

static void load_start(struct load loads[4], struct rig *r, int refusal)
{
	unsigned int i;

	stop = false;
	for (i = 0; i < 4; i++) {
		loads[i] = (struct load) {
			.rig = r, .nr = i, .refusal = refusal,
		};
		CHECK_EQ(pthread_create(&loads[i].thread, NULL, load,
					&loads[i]), 0);
	}
}

static void load_stop(struct load loads[4])
{
	unsigned int i;

	stop = true;
	for (i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(loads[i].thread, NULL), 0);
}

/* Has each of them done, or been refused, that many? */
static bool load_did(struct load loads[4], unsigned long n)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		if (loads[i].done < n)
			return false;
	return true;
}

static bool load_refused(struct load loads[4], unsigned long n)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		if (loads[i].refused < n)
			return false;
	return true;
}

/* Do it again and again, with some time for I/O in between, until @cond. */
#define UNDER_LOAD(cond, what)						\
	do {								\
		uint64_t load_end = now_ms() + 120000;			\
		int load_n = 0;						\
									\
		do {							\
			what;						\
			if (++load_n % 8 == 0)				\
				sleep_ms(2);				\
			CHECK(now_ms() < load_end);			\
		} while (!(cond));					\
	} while (0)

TEST(unmapping_under_load_costs_no_io)
{
	struct load loads[4];
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 256 * KIB, 20);
	load_start(loads, &r, 0);
	UNDER_LOAD(load_did(loads, 500) && rig_info(&r).generation > 50,
		   CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0));
	load_stop(loads);
	CHECK(!load_refused(loads, 1));
}

TEST(unregistering_under_load_refuses_io_and_loses_none)
{
	struct load loads[4];
	struct rig r;
	int i;

	for (i = 0; i < 10; i++) {
		rig_up(&r, "disk0", BUF);
		rig_fill_disk(&r, 0, 256 * KIB, 20);
		load_start(loads, &r, -ENODEV);
		CHECK_SOON(load_did(loads, 16));
		CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
		CHECK_SOON(load_refused(loads, 16));
		load_stop(loads);
		put_buffer(&r);
		close(r.chan);
		close(r.bdev);
	}
}

TEST(rebinding_under_load_refuses_io_and_loses_none)
{
	struct load loads[4];
	struct rig r;

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 256 * KIB, 20);
	load_start(loads, &r, -ENOENT);
	UNDER_LOAD(load_did(loads, 200) && load_refused(loads, 20),
		   CHECK_EQ(blkdmabuf_unbind(r.chan, r.slot), 0);
		   CHECK_EQ(blkdmabuf_bind(r.chan, r.dmabuf, r.slot, NULL),
			    r.slot));
	load_stop(loads);
}

TEST(registering_others_under_load_disturbs_nothing)
{
	struct rig r, other = {};
	struct load loads[4];

	rig_up(&r, "disk0", BUF);
	rig_fill_disk(&r, 0, 256 * KIB, 20);
	other.bdev = r.bdev;
	rig_buffer(&other, BUF, false);
	load_start(loads, &r, 0);
	UNDER_LOAD(load_did(loads, 300),
		   rig_register(&other);
		   CHECK_EQ(blkdmabuf_map(rig_ctl, other.id), 0);
		   CHECK_EQ(blkdmabuf_unregister(rig_ctl, other.id), 0));
	load_stop(loads);
	CHECK(!load_refused(loads, 1));
}

/* ---- two devices ---- */

TEST(one_dmabuf_carries_data_from_disk_to_disk)
{
	struct rig a, b;

	rig_up(&a, "disk0", BUF);
	b = a;
	b.bdev = rig_open_disk("disk1", O_RDWR | O_DIRECT);
	rig_register(&b);
	rig_bind(&b);
	rig_fill_disk(&a, 64 * KIB, 512 * KIB, 30);
	rig_fill_disk(&b, 64 * KIB, 512 * KIB, 31);
	CHECK_EQ(rig_io(&a, READ_CMD, 64 * KIB, 512 * KIB, 516), 512 * KIB);
	CHECK_EQ(rig_io(&b, WRITE_CMD, 64 * KIB, 512 * KIB, 516), 512 * KIB);
	CHECK_EQ(rig_check_disk(&b, 64 * KIB, 512 * KIB, 30), 0);
	/* One going is no matter to the other. */
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, a.id), 0);
	CHECK_EQ(rig_io(&a, READ_CMD, 0, 4096, 0), -ENODEV);
	CHECK_EQ(rig_io(&b, READ_CMD, 64 * KIB, 512 * KIB, 0), 512 * KIB);
	CHECK_EQ(rig_check(&b, 0, 64 * KIB, 512 * KIB, 30), 0);
}

/* ---- disks that go away ---- */

static void write_1(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "1", 1), 1);
	close(fd);
}

static void remove_disk(const char *serial)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/block/%s/device/device/remove",
		 disk_by_serial(serial) + strlen("/dev/"));
	write_1(path);
	CHECK(!disk_by_serial(serial));
}

static void bring_disks_back(const char *serial)
{
	write_1("/sys/bus/pci/rescan");
	CHECK_SOON(disk_by_serial(serial) &&
		   !access(disk_by_serial(serial), F_OK));
}

TEST(removing_a_disk_kills_its_registrations)
{
	struct blk_dmabuf_limits limits;
	struct blk_dmabuf_attach reg;
	struct rig gone, back, other;

	rig_up(&gone, "disk2", BUF);
	other = gone;
	other.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_register(&other);
	rig_bind(&other);
	CHECK_EQ(rig_io(&gone, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(attachments(inode_of(gone.dmabuf)), 2);

	remove_disk("disk2");
	CHECK_EQ(attachments(inode_of(gone.dmabuf)), 1);
	CHECK_EQ(rig_info(&gone).state, BLK_DMABUF_DEAD);
	CHECK_EQ(rig_io(&gone, READ_CMD, 0, 4096, 0), -ENODEV);
	CHECK_EQ(blkdmabuf_map(rig_ctl, gone.id), -ENODEV);
	CHECK_EQ(blkdmabuf_get_fd(gone.id), -ENODEV);
	CHECK_EQ(blkdmabuf_bind(gone.chan, gone.dmabuf, 7, NULL), -ENOENT);
	CHECK_EQ(blkdmabuf_limits(gone.chan, &limits), 0);
	CHECK_EQ(blkdmabuf_register(rig_ctl, gone.bdev, gone.dmabuf, &reg),
		 -ENODEV);
	CHECK_EQ(reg.reason, BLK_DMABUF_NO_DEVICE);
	/* The same buffer on another disk does not mind. */
	rig_fill_disk(&other, 0, 8192, 1);
	CHECK_EQ(rig_io(&other, READ_CMD, 0, 8192, 0), 8192);
	CHECK_EQ(rig_check(&other, 0, 0, 8192, 1), 0);

	/* Nothing of it is open, so that it comes back under its name. */
	close(gone.chan);
	close(gone.bdev);
	bring_disks_back("disk2");
	back = gone;
	back.bdev = rig_open_disk("disk2", O_RDWR | O_DIRECT);
	rig_register(&back);
	CHECK(back.id != gone.id);
	rig_bind(&back);
	rig_fill_disk(&back, 0, 8192, 2);
	CHECK_EQ(rig_io(&back, READ_CMD, 0, 8192, 0), 8192);
	CHECK_EQ(rig_check(&back, 0, 0, 8192, 2), 0);
	/* What is dead is on the books until its owner lets go. */
	CHECK(registered(gone.id));
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, gone.id), 0);
	CHECK(!registered(gone.id));
}

TEST(removing_a_disk_ends_io_in_flight)
{
	struct rig r;
	int i;

	rig_up(&r, "disk3", BUF);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	submit_reads(&r, 64, 4096);
	remove_disk("disk3");
	check_no_dma(&r);
	for (i = 0; i < 64; i++) {
		int res = rig_reap().res;

		/* Done, or failed; nothing else. */
		if (res != 4096 && res != -ENODEV)
			CHECK_EQ(res, -EIO);
	}
	CHECK_EQ(rig_info(&r).state, BLK_DMABUF_DEAD);
	close(r.chan);
	close(r.bdev);
	bring_disks_back("disk3");
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
