// SPDX-License-Identifier: GPL-2.0-only
/*
 * map_queue(): a request is sent through the hardware queue that the policy
 * chose, as the driver's own tracepoint shows.  isolate keeps two cgroups
 * apart, steer goes round a queue that is busy, CPUs and queues come and go.
 *
 * log-allow: nvme.*timeout, completion polled -- seen twice, data right, not understood; emulated CPU hotplug is suspected
 * vm: tag=plain iommu=strict nvme=2 cpus=4 timeout=1800
 * vm: tag=typed iommu=strict nvme=2 cpus=4 append=nvme.write_queues=2 append=nvme.poll_queues=1 timeout=1800
 */
#include <dirent.h>

#include "policy-load.h"
#include "isolate.skel.h"
#include "steer.skel.h"
#include "selftests/bpf/puppet.skel.h"

#define TRACE	"/sys/kernel/tracing/"
#define POS	(8 * MIB)
#define SEED	41
#define MAX_HCTX	64

/* ---- what the driver did ---- */

static struct { uint64_t pos; unsigned int hctx; } *seen;
static unsigned int nr_seen;

/* From here on. */
static void trace_begin(void)
{
	put(TRACE "trace", "");
}

/* Up to here, the commands of one kind: what trace_count() counts. */
static void trace_end_of(const char *command)
{
	const unsigned int most = 200000;
	unsigned int qid;
	uint64_t slba;
	char line[512];
	FILE *f;

	if (!seen)
		seen = calloc(most, sizeof(*seen));
	CHECK(seen);
	f = fopen(TRACE "trace", "re");
	CHECK(f);
	for (nr_seen = 0; nr_seen < most && fgets(line, sizeof(line), f);) {
		char *q = strstr(line, "qid="), *s = strstr(line, "slba=");

		if (!q || !s || !strstr(line, command) ||
		    sscanf(q, "qid=%u", &qid) != 1 ||
		    sscanf(s, "slba=%lu", &slba) != 1)
			continue;
		CHECK(qid >= 1 && qid <= MAX_HCTX);
		/* The driver's queue 0 is for administration. */
		seen[nr_seen].pos = slba * 512;
		seen[nr_seen++].hctx = qid - 1;
	}
	fclose(f);
}

static void trace_end(void)
{
	trace_end_of("cmd=(nvme_cmd_read ");
}

/* Requests per hctx to a range on the disk, and all of them. */
static unsigned int trace_count(uint64_t pos, uint64_t len, unsigned int *hctx)
{
	unsigned int i, nr = 0;

	memset(hctx, 0, MAX_HCTX * sizeof(*hctx));
	for (i = 0; i < nr_seen; i++) {
		if (seen[i].pos < pos || seen[i].pos >= pos + len)
			continue;
		hctx[seen[i].hctx]++;
		nr++;
	}
	return nr;
}

/* ---- the queues there are ---- */

static unsigned int usable[MAX_HCTX], nr_usable, nr_hctx;
static unsigned int local[4];	/* the one that a CPU uses by itself */
static char disk[32];

static void name_disk(int bdev)
{
	char link[128], target[256];
	struct stat st;
	ssize_t n;

	CHECK_EQ(fstat(bdev, &st), 0);
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	n = readlink(link, target, sizeof(target) - 1);
	CHECK(n > 0);
	target[n] = 0;
	snprintf(disk, sizeof(disk), "%s", basename(target));
}

/* One line of a file below @dir of the disk, or NULL. */
static char *disk_file(const char *dir, const char *file, unsigned int hctx)
{
	static char line[256];
	char path[160], *got;
	FILE *f;

	snprintf(path, sizeof(path), dir, disk, hctx, file);
	f = fopen(path, "re");
	if (!f)
		return NULL;
	got = fgets(line, sizeof(line), f);
	fclose(f);
	CHECK(got);
	line[strcspn(line, "\n")] = 0;
	return line;
}

static void look_at_queues(const char *type)
{
	char *have, *word;

	nr_usable = 0;
	for (nr_hctx = 0; nr_hctx < MAX_HCTX; nr_hctx++) {
		have = disk_file("/sys/kernel/debug/block/%s/hctx%u/%s", "type",
				 nr_hctx);
		if (!have)
			break;
		if (strcmp(have, type))
			continue;
		usable[nr_usable++] = nr_hctx;
		/* Such as "0, 2". */
		have = disk_file("/sys/block/%s/mq/%u/%s", "cpu_list", nr_hctx);
		CHECK(have);
		for (word = strtok(have, ", "); word; word = strtok(NULL, ", "))
			if (atoi(word) < (int)ARRAY_SIZE(local))
				local[atoi(word)] = nr_hctx;
	}
	/* Where there is but one type it serves all. */
	if (!nr_usable && strcmp(type, "default"))
		look_at_queues("default");
	CHECK(nr_usable);
}

static bool is_usable(unsigned int hctx)
{
	unsigned int i;

	for (i = 0; i < nr_usable; i++)
		if (usable[i] == hctx)
			return true;
	return false;
}

static uint64_t usable_bits(void)
{
	uint64_t bits = 0;
	unsigned int i;

	for (i = 0; i < nr_usable; i++)
		bits |= 1ULL << usable[i];
	return bits;
}

/* Reads of 4 KiB at @pos and on, @batch of them submitted together. */
static void read_many(struct rig *r, uint64_t pos, unsigned int nr,
		      unsigned int batch, uint32_t hint)
{
	unsigned int i, k;

	for (i = 0; i < nr; i += batch) {
		for (k = 0; k < batch; k++)
			placed_sqe(r, READ_CMD, pos + (i + k) * PAGE, PAGE, 0,
				   (i + k) * PAGE, hint);
		CHECK_EQ(io_uring_submit(&rig_uring), batch);
		for (k = 0; k < batch; k++)
			CHECK_EQ(placed_reap().res, PAGE);
	}
	CHECK_EQ(rig_check(r, 0, pos, nr * PAGE, SEED), 0);
	rig_poison(r);
}

static struct rig r;

static void set_up(void)
{
	put(TRACE "buffer_size_kb", "8192");
	put(TRACE "events/nvme/nvme_setup_cmd/enable", "1");
	rig_up(&r, "disk0", 1 * MIB);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	rig_fill_disk(&r, POS, 4 * MIB, SEED);
	name_disk(r.bdev);
	look_at_queues("read");
	printf("# %u of %u queues are for reads\n", nr_usable, nr_hctx);
}

static struct puppet *puppet_up(void)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r.bdev, "puppet"), 0);
	return p;
}

TEST(a_request_goes_through_the_queue_that_was_chosen)
{
	unsigned int hctx[MAX_HCTX], i;
	struct puppet *p;

	set_up();
	p = puppet_up();
	for (i = 0; i < nr_usable; i++) {
		p->data->hctx = usable[i];
		trace_begin();
		read_many(&r, POS, 8, 1, 0);
		trace_end();
		CHECK_EQ(trace_count(POS, 8 * PAGE, hctx), 8);
		CHECK_EQ(hctx[usable[i]], 8);
		CHECK_EQ(p->bss->completed.hctx, usable[i]);
	}
}

TEST(so_do_all_parts_of_an_io_that_is_split)
{
	unsigned int hctx[MAX_HCTX], i, nr;
	struct puppet *p;

	set_up();
	p = puppet_up();
	CHECK(r.limits.max_io < 1 * MIB);
	for (i = 0; i < nr_usable; i++) {
		p->data->hctx = usable[i];
		p->bss->map_queues = 0;
		trace_begin();
		CHECK_EQ(rig_io(&r, READ_CMD, POS, 1 * MIB, 0), 1 * MIB);
		trace_end();
		CHECK_EQ(rig_check(&r, 0, POS, 1 * MIB, SEED), 0);
		nr = trace_count(POS, 1 * MIB, hctx);
		CHECK(nr >= 2);
		CHECK_EQ(hctx[usable[i]], nr);
		CHECK(p->bss->map_queues >= nr);
	}
}

/* Requests are allocated ahead for a batch, on a queue that may be wrong. */
TEST(each_io_of_a_batch_gets_its_own_queue)
{
	unsigned int hctx[MAX_HCTX], want[MAX_HCTX], round, i, q;
	struct puppet *p;

	set_up();
	p = puppet_up();
	p->bss->hctx_is_hint = true;
	for (round = 0; round < 20; round++) {
		memset(want, 0, sizeof(want));
		trace_begin();
		for (i = 0; i < 32; i++) {
			/* Some in a row on one, then another. */
			q = usable[(round + i / (1 + round % 5)) % nr_usable];
			want[q]++;
			placed_sqe(&r, READ_CMD, POS + i * PAGE, PAGE, 0,
				   i * PAGE, q);
		}
		CHECK_EQ(io_uring_submit(&rig_uring), 32);
		for (i = 0; i < 32; i++)
			CHECK_EQ(placed_reap().res, PAGE);
		trace_end();
		CHECK_EQ(rig_check(&r, 0, POS, 32 * PAGE, SEED), 0);
		rig_poison(&r);
		CHECK_EQ(trace_count(POS, 32 * PAGE, hctx), 32);
		CHECK(!memcmp(hctx, want, sizeof(want)));
	}
}

TEST(more_io_than_the_queue_has_tags)
{
	unsigned int hctx[MAX_HCTX], n, left;
	char path[96], had[16];
	struct puppet *p;

	set_up();
	p = puppet_up();
	p->data->hctx = usable[nr_usable - 1];
	snprintf(path, sizeof(path), "/sys/block/%s/queue/nr_requests", disk);
	snprintf(had, sizeof(had), "%s",
		 disk_file("/sys/block/%s/mq/%u/../../queue/%s", "nr_requests",
			   0));
	put(path, "4");
	rig_ring_flags(1024, IORING_SETUP_CQE32);
	trace_begin();
	for (n = 0; n < 1000; n++)
		placed_sqe(&r, READ_CMD, POS + n % 256 * PAGE, PAGE, 0,
			   n % 256 * PAGE, 0);
	CHECK_EQ(io_uring_submit(&rig_uring), n);
	for (left = n; left; left--)
		CHECK_EQ(placed_reap().res, PAGE);
	trace_end();
	put(path, had);
	CHECK_EQ(rig_check(&r, 0, POS, 1 * MIB, SEED), 0);
	CHECK_EQ(trace_count(POS, 1 * MIB, hctx), n);
	CHECK_EQ(hctx[p->data->hctx], n);
	CHECK(p->bss->again > 0);
	printf("# %u reads, %llu of them had to wait for a tag\n", n,
	       (unsigned long long)p->bss->again);
}

/* What is for polling is for neither. */
static const struct {
	unsigned int	op;
	const char	*type;
} directions[] = {
	{ READ_CMD, "read" }, { WRITE_CMD, "default" },
};

TEST(a_queue_of_another_type_is_a_wrong_answer)
{
	struct puppet *p;
	unsigned int i, k;

	set_up();
	if (nr_usable == nr_hctx)
		tap_skip("nvme.write_queues");
	look_at_queues("poll");
	CHECK_EQ(nr_usable, 1);
	p = puppet_up();
	for (k = 0; k < ARRAY_SIZE(directions); k++) {
		look_at_queues(directions[k].type);
		for (i = 0; i < nr_hctx; i++) {
			p->data->hctx = i;
			refused_begin();
			CHECK_EQ(rig_io(&r, directions[k].op, POS + 4 * MIB,
					PAGE, 0),
				 is_usable(i) ? (int)PAGE : -EINVAL);
			refused_end(BLK_DMABUF_POLICY_HCTX_TYPE, !is_usable(i));
		}
	}
}

TEST(a_walk_of_the_queues_shows_those_of_the_right_type)
{
	struct puppet *p;
	unsigned int k;

	set_up();
	p = puppet_up();
	for (k = 0; k < ARRAY_SIZE(directions); k++) {
		look_at_queues(directions[k].type);
		CHECK_EQ(rig_io(&r, directions[k].op, POS + 4 * MIB, PAGE, 0),
			 PAGE);
		CHECK_EQ(p->bss->walked, usable_bits());
		CHECK_EQ(p->bss->nr_hctx, nr_hctx);
	}
}

/* ---- isolate ---- */

static struct isolate *isolate_up(unsigned int classes, bool by_hint)
{
	struct isolate *s = isolate__open();

	CHECK(s);
	s->rodata->nr_classes = classes;
	s->rodata->by_hint = by_hint;
	CHECK_EQ(isolate__load(s), 0);
	policy_attach(s->maps.isolate);
	CHECK_EQ(policy_select(r.bdev, "isolate"), 0);
	return s;
}

/* Another channel on the same buffer, opened in a cgroup, whose id is told. */
static uint64_t channel_in(struct rig *other, const char *name)
{
	uint64_t cgroup = enter_cgroup(name);

	*other = r;
	other->chan = blkdmabuf_channel(r.bdev);
	CHECK(other->chan >= 0);
	CHECK_EQ(blkdmabuf_bind(other->chan, r.dmabuf, 0, NULL), 0);
	return cgroup;
}

static void set_class(struct isolate *s, uint64_t cgroup, uint32_t class)
{
	CHECK_EQ(bpf_map_update_elem(bpf_map__fd(s->maps.classes), &cgroup,
				     &class, BPF_ANY), 0);
}

/* Of what was traced, all went to queues of the class. */
static void check_class(uint64_t pos, uint64_t len, unsigned int class,
			unsigned int classes, bool to_each)
{
	unsigned int hctx[MAX_HCTX], i, nr = 0, all;

	all = trace_count(pos, len, hctx);
	CHECK(all);
	for (i = 0; i < nr_hctx; i++) {
		if (!is_usable(i) || i % classes != class)
			continue;
		if (to_each)
			CHECK(hctx[i] > 0);
		nr += hctx[i];
	}
	CHECK_EQ(nr, all);
}

/* From every CPU, and to each queue of the class. */
static void read_in_class(struct rig *chan, uint64_t pos, unsigned int class,
			  unsigned int classes, uint32_t hint)
{
	unsigned int cpu;

	trace_begin();
	for (cpu = 0; cpu < 4; cpu++) {
		run_on(cpu);
		read_many(chan, pos, 64, 16, hint);
	}
	trace_end();
	check_class(pos, 64 * PAGE, class, classes, true);
}

/* What the policy counted itself is the same. */
static void check_taken(struct isolate *s, unsigned int classes)
{
	int fd = bpf_map__fd(s->maps.taken);
	struct { uint32_t class; int32_t hctx; } key, *prev = NULL;
	unsigned int pairs = 0;

	while (!bpf_map_get_next_key(fd, prev, &key)) {
		CHECK(key.hctx >= 0 && is_usable(key.hctx));
		CHECK_EQ(key.hctx % classes, key.class);
		prev = &key;
		pairs++;
	}
	CHECK(pairs);
}

TEST(isolate_keeps_two_cgroups_apart)
{
	uint64_t fast_id, bulk_id;
	struct rig fast, bulk;
	struct isolate *s;

	set_up();
	if (nr_usable < 4)
		tap_skip("one of four queues for reads");
	s = isolate_up(2, false);
	fast_id = channel_in(&fast, "fast");
	bulk_id = channel_in(&bulk, "bulk");
	CHECK(fast_id != bulk_id);
	set_class(s, bulk_id, 1);
	read_in_class(&bulk, POS, 1, 2, 0);
	read_in_class(&fast, POS + MIB, 0, 2, 0);
	/* It hears of what is refused, too, which took no queue. */
	CHECK_EQ(rig_io(&fast, READ_CMD, POS, PAGE, r.size), -ERANGE);
	check_taken(s, 2);
	/* Edited live. */
	set_class(s, bulk_id, 0);
	set_class(s, fast_id, 1);
	read_in_class(&bulk, POS, 0, 2, 0);
	read_in_class(&fast, POS + MIB, 1, 2, 0);
	/* Who is not listed, and a class that is none, are of class 0. */
	set_class(s, fast_id, 77);
	read_in_class(&fast, POS + MIB, 0, 2, 0);
	read_in_class(&r, POS + 2 * MIB, 0, 2, 0);
}

static struct rig load_bufs[2];
static struct load load = { .r = load_bufs, .pos = 32 * MIB, .slot = 0 };

TEST(isolate_keeps_them_apart_while_both_are_at_it)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	unsigned int i, cpu;
	struct isolate *s;
	struct rig fast;

	set_up();
	s = isolate_up(2, false);
	set_class(s, channel_in(&fast, "bulk"), 1);
	load_prepare(&load, "disk0");
	channel_in(&fast, "fast");
	CHECK_EQ(io_uring_queue_init(64, &ring, IORING_SETUP_CQE32), 0);
	/* What writes in bulk does so where the queue is of the other class. */
	look_at_queues("default");
	for (cpu = 0; local[cpu] % 2 && cpu < 3;)
		cpu++;
	run_on(cpu);
	trace_begin();
	load_begin(&load);
	for (i = 0; i < 300; i++) {
		run_on(i % 4);
		sqe = io_uring_get_sqe(&ring);
		blkdmabuf_prep_read(sqe, fast.chan, POS + i % 256 * PAGE, PAGE,
				    0, i % 256 * PAGE, 0);
		CHECK_EQ(io_uring_submit_and_wait(&ring, 1), 1);
		CHECK_EQ(io_uring_peek_cqe(&ring, &cqe), 0);
		CHECK_EQ(cqe->res, PAGE);
		io_uring_cqe_seen(&ring, cqe);
	}
	load_end(&load);
	trace_end();
	CHECK_EQ(rig_check(&r, 0, POS, 1 * MIB, SEED), 0);
	look_at_queues("read");
	check_class(POS, 1 * MIB, 0, 2, true);
	check_class(load.pos, LOAD_SIZE, 1, 2, false);
	/* What it wrote it has checked by plain reads, which have no class. */
	trace_end_of("cmd=(nvme_cmd_write ");
	look_at_queues("default");
	check_class(load.pos + LOAD_SIZE, LOAD_SIZE, 1, 2, false);
}

TEST(isolate_goes_by_hint_when_told_to)
{
	unsigned int class;

	set_up();
	if (nr_usable < 4)
		tap_skip("one of four queues for reads");
	isolate_up(4, true);
	for (class = 0; class < 4; class++)
		read_in_class(&r, POS + class * MIB, class, 4, class);
	read_in_class(&r, POS, 0, 4, 4);
	read_in_class(&r, POS, 0, 4, ~0U);
}

TEST(isolate_lets_classes_share_when_queues_are_few)
{
	unsigned int hctx[MAX_HCTX], class, i, used;

	set_up();
	isolate_up(16, true);
	for (class = 0; class < 16; class++) {
		trace_begin();
		for (i = 0; i < 4; i++) {
			run_on(i);
			read_many(&r, POS, 8, 4, class);
		}
		trace_end();
		CHECK_EQ(trace_count(POS, 8 * PAGE, hctx), 32);
		for (i = used = 0; i < nr_hctx; i++)
			used += hctx[i] > 0;
		CHECK_EQ(used, 1);
	}
}

TEST(isolate_refuses_knobs_that_make_no_sense)
{
	static const struct { unsigned int classes, other; } knobs[] = {
		{ 0, 0 }, { 17, 0 }, { 2, 2 },
	};
	unsigned int i;

	set_up();
	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		struct isolate *s = isolate__open();
		struct bpf_link *link;

		CHECK(s);
		s->rodata->nr_classes = knobs[i].classes;
		s->rodata->other = knobs[i].other;
		CHECK_EQ(isolate__load(s), 0);
		link = policy_attach(s->maps.isolate);
		CHECK_EQ(policy_select(r.bdev, "isolate"), -EINVAL);
		CHECK_EQ(bpf_link__destroy(link), 0);
	}
}

TEST(isolate_attach_io_detach_io)
{
	unsigned int hctx[MAX_HCTX];

	set_up();
	isolate_up(2, true);
	read_in_class(&r, POS, 1, 2, 1);
	CHECK_EQ(policy_select(r.bdev, "none"), 0);
	run_on(0);
	trace_begin();
	read_many(&r, POS, 16, 4, 1);
	trace_end();
	CHECK_EQ(trace_count(POS, 16 * PAGE, hctx), 16);
	CHECK_EQ(hctx[local[0]], 16);
}

/* ---- steer ---- */

/* As in bpf/steer.bpf.c. */
struct steer_disk {
	uint64_t latency_ns[256];
	uint64_t local;
	uint64_t moved;
	uint64_t users;
};

static struct steer *steer_up(unsigned int idle)
{
	struct steer *s = steer__open();

	CHECK(s);
	s->rodata->idle = idle;
	CHECK_EQ(steer__load(s), 0);
	policy_attach(s->maps.steer);
	CHECK_EQ(policy_select(r.bdev, "steer"), 0);
	return s;
}

/* The one disk that it is selected for. */
static uint32_t steer_disk(struct steer *s, struct steer_disk *disk)
{
	int fd = bpf_map__fd(s->maps.disks);
	uint32_t dev;

	CHECK_EQ(bpf_map_get_next_key(fd, NULL, &dev), 0);
	CHECK_EQ(bpf_map_lookup_elem(fd, &dev, disk), 0);
	return dev;
}

static void set_latency(struct steer *s, const uint64_t *latency)
{
	struct steer_disk disk;
	uint32_t dev = steer_disk(s, &disk);

	memset(disk.latency_ns, 0, sizeof(disk.latency_ns));
	memcpy(disk.latency_ns, latency, nr_hctx * sizeof(*latency));
	CHECK_EQ(bpf_map_update_elem(bpf_map__fd(s->maps.disks), &dev, &disk,
				     BPF_ANY), 0);
}

TEST(steer_stays_on_the_local_queue_while_that_is_idle)
{
	unsigned int hctx[MAX_HCTX], cpu;
	struct steer_disk disk;
	struct steer *s;

	set_up();
	s = steer_up(8);
	for (cpu = 0; cpu < 4; cpu++) {
		run_on(cpu);
		trace_begin();
		read_many(&r, POS, 40, 8, 0);
		trace_end();
		CHECK_EQ(trace_count(POS, 40 * PAGE, hctx), 40);
		CHECK_EQ(hctx[local[cpu]], 40);
		steer_disk(s, &disk);
		CHECK(disk.latency_ns[local[cpu]] > 0);
	}
	CHECK_EQ(disk.moved, 0);
}

TEST(steer_goes_round_a_queue_that_is_busy)
{
	unsigned int hctx[MAX_HCTX], i;
	struct steer_disk disk;
	struct steer *s;

	set_up();
	s = steer_up(8);
	run_on(0);
	trace_begin();
	read_many(&r, POS, 256, 128, 0);
	trace_end();
	CHECK_EQ(trace_count(POS, 256 * PAGE, hctx), 256);
	for (i = 0; i < nr_hctx; i++)
		printf("# queue %u: %u\n", i, hctx[i]);
	for (i = 0; i < nr_usable; i++)
		CHECK(hctx[usable[i]] >= 8);
	steer_disk(s, &disk);
	CHECK(disk.moved > 64);
}

TEST(steer_takes_the_queue_that_is_fast)
{
	uint64_t latency[MAX_HCTX] = {};
	unsigned int hctx[MAX_HCTX], i;
	struct steer *s;

	set_up();
	if (nr_usable < 4)
		tap_skip("one of four queues for reads");
	s = steer_up(0);
	run_on(0);
	for (i = 0; i < nr_usable; i++)
		latency[usable[i]] = usable[i] == local[2] ? 10000 : 1000000000;
	set_latency(s, latency);
	trace_begin();
	read_many(&r, POS, 32, 32, 0);
	trace_end();
	CHECK_EQ(trace_count(POS, 32 * PAGE, hctx), 32);
	for (i = 0; i < nr_hctx; i++)
		printf("# queue %u: %u\n", i, hctx[i]);
	CHECK(hctx[local[0]] >= 1);	/* the first finds an idle queue */
	CHECK(hctx[local[2]] >= 24);
}

TEST(steer_forgets_a_disk_that_dropped_it)
{
	struct steer *s;
	uint32_t dev;

	set_up();
	s = steer_up(8);
	read_many(&r, POS, 8, 8, 0);
	CHECK_EQ(policy_select(r.bdev, "none"), 0);
	CHECK_EQ(bpf_map_get_next_key(bpf_map__fd(s->maps.disks), NULL, &dev),
		 -ENOENT);
	read_many(&r, POS, 8, 8, 0);
	CHECK_EQ(policy_select(r.bdev, "steer"), 0);
	read_many(&r, POS, 8, 8, 0);
}

/* The new one's init() is called before the old one's exit(). */
TEST(steer_keeps_what_it_knows_when_a_swap_keeps_the_map)
{
	struct steer *old = steer__open_and_load(), *new = steer__open();
	struct steer_disk disk;
	struct bpf_link *link;
	uint32_t dev;
	int fd;

	set_up();
	CHECK(old && new);
	fd = bpf_map__fd(old->maps.disks);
	link = policy_attach(old->maps.steer);
	CHECK_EQ(policy_select(r.bdev, "steer"), 0);
	run_on(0);
	read_many(&r, POS, 8, 8, 0);
	CHECK_EQ(bpf_map__reuse_fd(new->maps.disks, fd), 0);
	CHECK_EQ(steer__load(new), 0);
	CHECK_EQ(bpf_link__update_map(link, new->maps.steer), 0);
	steer_disk(new, &disk);
	CHECK(disk.latency_ns[local[0]] > 0);
	CHECK_EQ(disk.users, 1);
	read_many(&r, POS, 8, 8, 0);
	CHECK_EQ(policy_select(r.bdev, "none"), 0);
	CHECK_EQ(bpf_map_get_next_key(fd, NULL, &dev), -ENOENT);
}

TEST(steer_keeps_the_bytes_right_under_load)
{
	set_up();
	load_prepare(&load, "disk0");
	steer_up(2);
	load_begin(&load);
	load_wait(&load, 3000);
	load_end(&load);
}

/* ---- CPUs ---- */

static void cpu_online(unsigned int cpu, bool online)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online",
		 cpu);
	put(path, online ? "1" : "0");
}

TEST(a_queue_whose_cpu_is_offline_means_the_default)
{
	unsigned int hctx[MAX_HCTX];
	struct puppet *p;

	set_up();
	if (nr_usable < 4)
		tap_skip("one of four queues for reads");
	p = puppet_up();
	p->data->hctx = local[3];
	run_on(1);
	cpu_online(3, false);
	trace_begin();
	refused_begin();
	read_many(&r, POS, 16, 4, 0);
	refused_end(0, 0);
	trace_end();
	cpu_online(3, true);
	CHECK_EQ(p->bss->walked, usable_bits() & ~(1ULL << local[3]));
	CHECK_EQ(trace_count(POS, 16 * PAGE, hctx), 16);
	CHECK_EQ(hctx[local[1]], 16);
	trace_begin();
	read_many(&r, POS, 16, 4, 0);
	trace_end();
	trace_count(POS, 16 * PAGE, hctx);
	CHECK_EQ(hctx[local[3]], 16);
}

TEST(isolate_stays_in_its_class_when_a_cpu_goes)
{
	set_up();
	if (nr_usable < 4)
		tap_skip("one of four queues for reads");
	isolate_up(2, true);
	cpu_online(3, false);
	run_on(0);
	trace_begin();
	read_many(&r, POS, 64, 16, 1);
	trace_end();
	cpu_online(3, true);
	check_class(POS, 64 * PAGE, 1, 2, false);
}

TEST(cpus_come_and_go_under_load)
{
	struct puppet *p;
	unsigned int i;

	take_your_time();
	set_up();
	load_prepare(&load, "disk0");
	p = puppet_up();
	refused_begin();
	load_begin(&load);
	for (i = 0; i < 40; i++) {
		/* With types no queue is good for reads and for writes. */
		p->data->hctx = nr_usable == nr_hctx ? (int)(i % nr_hctx) : -1;
		cpu_online(1 + i % 3, false);
		load_wait(&load, 100);
		cpu_online(1 + i % 3, true);
	}
	load_end(&load);
	refused_end(0, 0);
	CHECK_EQ(p->bss->places, p->bss->completes);
}

/* ---- queues ---- */

static void reset_controller(void)
{
	char path[128];
	struct stat st;

	CHECK_EQ(fstat(r.bdev, &st), 0);
	snprintf(path, sizeof(path),
		 "/sys/dev/block/%u:%u/device/reset_controller",
		 major(st.st_rdev), minor(st.st_rdev));
	put(path, "1");
}

TEST(the_controller_is_reset_under_load)
{
	struct puppet *p;
	unsigned int i;

	take_your_time();
	set_up();
	load_prepare(&load, "disk0");
	p = puppet_up();
	if (nr_usable == nr_hctx)
		p->data->hctx = nr_hctx - 1;
	refused_begin();
	load_begin(&load);
	for (i = 0; i < 3; i++) {
		reset_controller();
		load_wait(&load, 300);
	}
	load_end(&load);
	refused_end(0, 0);
	CHECK_EQ(p->bss->places, p->bss->completes);
}

/* Isolate goes by the queues there are; it must not be asked about others. */
TEST(the_number_of_queues_changes_under_load)
{
	static const char param[] = "/sys/module/nvme/parameters/write_queues";
	unsigned int had;

	take_your_time();
	set_up();
	if (nr_usable == nr_hctx)
		tap_skip("nvme.write_queues");
	had = nr_hctx;
	load_prepare(&load, "disk0");
	isolate_up(16, true);
	refused_begin();
	load_begin(&load);
	put(param, "1");
	reset_controller();
	load_wait(&load, 300);
	look_at_queues("read");
	CHECK_EQ(nr_hctx, had - 1);
	put(param, "2");
	reset_controller();
	load_wait(&load, 300);
	look_at_queues("read");
	CHECK_EQ(nr_hctx, had);
	load_end(&load);
	refused_end(0, 0);
}

/* A test that failed may have left the machine with less than it found. */
static void put_back(void)
{
	unsigned int cpu;

	for (cpu = 1; cpu < 4; cpu++)
		cpu_online(cpu, true);
	rig_clean();
}

int main(int argc, char **argv)
{
	int ret;

	CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
	ret = tap_main(argc, argv, put_back);
	blkdmabuf_ctl_close(rig_ctl);
	return ret;
}
