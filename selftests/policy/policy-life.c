// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a policy: it is registered under a name, selected per disk,
 * swapped, and goes away, or its disk does, at any time.  I/O in flight is
 * neither lost nor done twice, and each byte is where its completion says.
 *
 * vm: iommu=strict nvme=2 cpus=4 hotplug=1 share=no timeout=3000
 * log-allow: I/O error, dev nvme -- requests of a disk that was removed
 */
#include <glob.h>

#include "policy-load.h"
#include "minimal.skel.h"
#include "selftests/bpf/puppet.skel.h"

#define PIN	"/sys/fs/bpf/policy-life"
#define POS	(8 * MIB)

/* A puppet that puts everything in one slot. */
static struct puppet *puppet_open(unsigned int slot)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	p->data->slot = slot;
	return p;
}

/* Give a policy that is not attached yet another name. */
static void rename_policy(struct puppet *p, const char *name)
{
	char *ops, *at;
	size_t size;

	ops = bpf_map__initial_value(p->maps.puppet, &size);
	CHECK(ops);
	at = memmem(ops, size, "puppet", sizeof("puppet"));
	CHECK(at);
	memset(at, 0, 16);
	memcpy(at, name, strnlen(name, 16));
}

/* Load under @name; what attaching it says. */
static int attach_as(const char *name, struct bpf_link **link)
{
	struct puppet *p = puppet__open();
	struct bpf_link *l;

	CHECK(p);
	rename_policy(p, name);
	CHECK_EQ(puppet__load(p), 0);
	l = bpf_map__attach_struct_ops(p->maps.puppet);
	if (!l)
		return -errno;
	if (link)
		*link = l;
	return 0;
}

/* ---- names ---- */

TEST(a_policy_is_listed_under_its_name)
{
	int bdev = rig_open_disk("disk0", O_RDWR);
	struct bpf_link *link;

	CHECK(!strcmp(policy_line(bdev), "[none]"));
	CHECK_EQ(attach_as("a.b_9", NULL), 0);
	CHECK_EQ(attach_as("fifteen-is-all1", NULL), -EINVAL);
	CHECK_EQ(attach_as("fifteen_is_all1", &link), 0);
	CHECK(!strcmp(policy_line(bdev), "[none] a.b_9 fifteen_is_all1"));
	CHECK_EQ(policy_select(bdev, "fifteen_is_all1\n"), 0);
	CHECK(!strcmp(policy_line(bdev), "none a.b_9 [fifteen_is_all1]"));
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK(!strcmp(policy_line(bdev), "[none] a.b_9"));
}

TEST(a_name_that_is_none_or_no_name_is_refused)
{
	static const char *const names[] = {
		"none", "", "a b", "a/b", "a\nb", "sixteen_is_too_m",
	};
	int bdev = rig_open_disk("disk0", O_RDWR);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		CHECK_EQ(attach_as(names[i], NULL), -EINVAL);
	CHECK(!strcmp(policy_line(bdev), "[none]"));
}

TEST(a_name_that_is_taken_is_refused)
{
	struct bpf_link *link;

	CHECK_EQ(attach_as("mine", &link), 0);
	CHECK_EQ(attach_as("mine", NULL), -EEXIST);
	CHECK_EQ(attach_as("mines", NULL), 0);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK_EQ(attach_as("mine", NULL), 0);
}

TEST(selecting_what_is_not_there_fails)
{
	int bdev = rig_open_disk("disk0", O_RDWR);
	struct puppet *p = puppet_open(0);

	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bdev, "nobody"), -ENOENT);
	CHECK_EQ(policy_select(bdev, "puppe"), -ENOENT);
	CHECK_EQ(policy_select(bdev, "puppets"), -ENOENT);
	CHECK_EQ(policy_select(bdev, "a_name_longer_than_any"), -ENOENT);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	CHECK_EQ(policy_select(bdev, "nobody"), -ENOENT);
	CHECK(policy_is(bdev, "puppet"));
	CHECK_EQ(p->bss->exits, 0);
}

TEST(selecting_again_is_free)
{
	int bdev = rig_open_disk("disk0", O_RDWR);
	struct puppet *p = puppet_open(0);

	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bdev, "none"), 0);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	CHECK_EQ(p->bss->inits, 1);
	CHECK_EQ(policy_select(bdev, "none"), 0);
	CHECK_EQ(policy_select(bdev, "none"), 0);
	CHECK_EQ(p->bss->exits, 1);
}

TEST(a_disk_that_takes_no_premapped_io_takes_no_policy)
{
	static const char attr[] = "/sys/block/nullb0/queue/dmabuf_policy";
	struct puppet *p = puppet_open(0);

	if (access(attr, F_OK))
		tap_skip(attr);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_write(attr, "puppet"), -EOPNOTSUPP);
	CHECK_EQ(policy_write(attr, "nobody"), -ENOENT);
	CHECK_EQ(policy_write(attr, "none"), 0);
	CHECK_EQ(p->bss->inits, 0);
}

TEST(only_root_selects)
{
	int bdev = rig_open_disk("disk0", O_RDWR);
	struct puppet *p = puppet_open(0);

	policy_attach(p->maps.puppet);
	CHECK_EQ(seteuid(1000), 0);
	CHECK_EQ(policy_select(bdev, "puppet"), -EACCES);
	CHECK(policy_is(bdev, "none"));
}

/* ---- what the members are told ---- */

TEST(members_see_the_io_as_it_is)
{
	struct puppet *p = puppet_open(1);
	struct rig r[2];
	uint32_t dev;

	/* Or the queue that is local is another one a moment later. */
	run_on(2);
	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_fill_disk(r, POS, 64 * KIB, 3);
	dev = kernel_dev(r[0].bdev);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
	CHECK_EQ(p->bss->started.dev, dev);
	CHECK(p->bss->started.nr_hctx >= 4);
	CHECK(!strncmp(p->bss->started.disk, "nvme", 4));

	CHECK_EQ(placed_io(r, READ_CMD, POS, 64 * KIB, SLOT_ANY, 8192, 77).res,
		 64 * KIB);
	CHECK_EQ(rig_check(&r[1], 8192, POS, 64 * KIB, 3), 0);
	CHECK_EQ(p->bss->places, 1);
	CHECK_EQ(p->bss->map_queues, 1);
	CHECK_EQ(p->bss->completes, 1);
	CHECK_EQ(p->bss->placed.pos, POS);
	CHECK_EQ(p->bss->placed.len, 64 * KIB);
	CHECK_EQ(p->bss->placed.offset, 8192);
	CHECK_EQ(p->bss->placed.slot, SLOT_ANY);
	CHECK_EQ(p->bss->placed.hint, 77);
	CHECK_EQ(p->bss->placed.dev, dev);
	CHECK_EQ(p->bss->placed.uid, 0);
	CHECK(!p->bss->placed.write);
	CHECK_EQ(p->bss->placed.cpu, 2);
	CHECK_EQ(p->bss->next_slot, 0);
	CHECK_EQ(p->bss->seen_ret, 0);
	CHECK_EQ(p->bss->seen.id, r[0].id);
	CHECK_EQ(p->bss->seen.bytes, 1 * MIB);
	CHECK(p->bss->seen.flags & BLK_DMABUF_F_WRITABLE);
	CHECK_EQ(p->bss->queued.slot, 1);
	CHECK_EQ(p->bss->queued.id, r[1].id);
	CHECK_EQ(p->bss->nr_hctx, p->bss->started.nr_hctx);
	CHECK(p->bss->local < p->bss->nr_hctx);
	CHECK(p->bss->load >= 0);
	CHECK_EQ(p->bss->completed.result, 64 * KIB);
	CHECK_EQ(p->bss->completed.slot, 1);
	CHECK_EQ(p->bss->completed.id, r[1].id);
	CHECK_EQ(p->bss->completed.hctx, p->bss->local);
	CHECK(p->bss->completed.latency_ns > 0);
	CHECK(p->bss->completed.submit_ns == p->bss->placed.submit_ns);
}

TEST(an_io_that_must_wait_is_placed_again)
{
	struct puppet *p = puppet_open(1);
	struct rig r[2];

	rig_up(r, "disk0", 1 * MIB);
	rig_up_slot(&r[1], r, 1 * MIB);
	rig_fill_disk(r, POS, 64 * KIB, 3);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
	/* Nothing is mapped yet, which is no business of the policy. */
	CHECK_EQ(placed_io(r, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).res,
		 64 * KIB);
	CHECK_EQ(rig_check(&r[1], 0, POS, 64 * KIB, 3), 0);
	CHECK_EQ(p->bss->again, 0);
	CHECK_EQ(p->bss->places, 1);
	CHECK_EQ(p->bss->completes, 1);
	/* More than the device takes at once: the submitter does not split. */
	CHECK(r->limits.max_io < 1 * MIB);
	CHECK_EQ(placed_io(r, READ_CMD, 0, 1 * MIB, SLOT_ANY, 0, 0).res,
		 1 * MIB);
	CHECK_EQ(p->bss->again, 1);
	CHECK_EQ(p->bss->places, 3);
	CHECK_EQ(p->bss->completes, 3);
}

/* ---- no policy, minimal, and back ---- */

static const struct {
	unsigned int	op;
	uint64_t	pos;
	uint32_t	len;
	uint32_t	slot;
	uint64_t	offset;
} asked[] = {
	{ READ_CMD, POS, 4096, 0, 0 },
	{ READ_CMD, POS + 512, 512, 1, 512 },
	{ READ_CMD, POS, 512 * KIB, 0, 4096 },
	{ WRITE_CMD, POS + MIB, 64 * KIB, 1, 8192 },
	{ READ_CMD, POS, 4096, 2, 0 },			/* not bound */
	{ READ_CMD, POS, 4096, SLOT_ANY, 0 },
	{ READ_CMD, POS, 4096, 0, 1 * MIB },		/* behind it */
	{ READ_CMD, POS + 1, 4096, 0, 0 },		/* unaligned */
	{ READ_CMD, POS, 100, 0, 0 },
	{ READ_CMD, 1ULL << 40, 4096, 0, 0 },		/* behind the disk */
	{ WRITE_CMD, 1ULL << 40, 4096, 0, 0 },
	{ READ_CMD, POS, 0, 0, 0 },
};

static void ask_all(struct rig *r, struct placed *done,
		    struct blk_dmabuf_features *refused)
{
	struct blk_dmabuf_features now;
	unsigned int i;

	refused_begin();
	for (i = 0; i < ARRAY_SIZE(asked); i++)
		done[i] = placed_io(r, asked[i].op, asked[i].pos, asked[i].len,
				    asked[i].slot, asked[i].offset, 0);
	CHECK_EQ(blkdmabuf_features(&now), 0);
	for (i = 0; i < now.nr_reasons; i++)
		refused->refused[i] = now.refused[i] - policy_before.refused[i];
}

TEST(minimal_changes_nothing)
{
	struct blk_dmabuf_features none = {}, with = {};
	struct placed before[ARRAY_SIZE(asked)], after[ARRAY_SIZE(asked)];
	struct minimal *m = minimal__open_and_load();
	struct rig r[2];

	CHECK(m);
	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_fill_disk(r, POS, 2 * MIB, 3);
	ask_all(r, before, &none);
	policy_attach(m->maps.minimal);
	CHECK_EQ(policy_select(r[0].bdev, "minimal"), 0);
	CHECK(policy_is(r[0].bdev, "minimal"));
	ask_all(r, after, &with);
	CHECK(!memcmp(before, after, sizeof(before)));
	CHECK(!memcmp(&none, &with, sizeof(none)));
	CHECK_EQ(before[0].res, 4096);
	CHECK_EQ(before[5].res, -ENOENT);
}

TEST(attach_io_detach_io)
{
	struct puppet *p = puppet_open(1);
	struct bpf_link *link;
	struct rig r[2];
	int i;

	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_fill_disk(r, POS, 64 * KIB, 3);
	for (i = 0; i < 3; i++) {
		link = policy_attach(p->maps.puppet);
		CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
		CHECK_EQ(rig_io(r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
		CHECK(rig_untouched(&r[0]));
		CHECK_EQ(rig_check(&r[1], 0, POS, 64 * KIB, 3), 0);
		rig_poison(&r[1]);
		CHECK_EQ(bpf_link__destroy(link), 0);
		CHECK_EQ(p->bss->exits, i + 1);
		CHECK_EQ(p->bss->places, i + 1);
		CHECK_EQ(p->bss->completes, i + 1);

		CHECK_EQ(rig_io(r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
		CHECK(rig_untouched(&r[1]));
		CHECK_EQ(rig_check(&r[0], 0, POS, 64 * KIB, 3), 0);
		rig_poison(&r[0]);
		CHECK_EQ(p->bss->places, i + 1);
	}
}

/* ---- swapping ---- */

TEST(a_link_update_swaps_the_policy)
{
	struct puppet *a = puppet_open(0), *b = puppet_open(1);
	struct bpf_link *link;
	struct rig r[2];

	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_fill_disk(r, POS, 64 * KIB, 3);
	link = policy_attach(a->maps.puppet);
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
	CHECK_EQ(bpf_link__update_map(link, b->maps.puppet), 0);
	CHECK(!strcmp(policy_line(r[0].bdev), "none [puppet]"));
	CHECK_EQ(a->bss->exits, 1);
	CHECK_EQ(b->bss->inits, 1);
	CHECK_EQ(rig_io(r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
	CHECK(rig_untouched(&r[0]));
	CHECK_EQ(rig_check(&r[1], 0, POS, 64 * KIB, 3), 0);
	CHECK_EQ(a->bss->places, 0);
}

TEST(an_update_that_init_refuses_changes_nothing)
{
	struct puppet *a = puppet_open(0), *b = puppet_open(1);
	struct rig r[2], other;
	struct bpf_link *link;

	b->bss->init_ret = -EDQUOT;
	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_up(&other, "disk1", 1 * MIB);
	link = policy_attach(a->maps.puppet);
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
	CHECK_EQ(policy_select(other.bdev, "puppet"), 0);
	CHECK_EQ(bpf_link__update_map(link, b->maps.puppet), -EDQUOT);
	CHECK_EQ(b->bss->exits, 0);
	CHECK(policy_is(r[0].bdev, "puppet"));
	CHECK(policy_is(other.bdev, "puppet"));
	CHECK_EQ(rig_io(r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(rig_io(&other, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(a->bss->places, 2);
	CHECK_EQ(a->bss->inits - a->bss->exits, 2);
}

/* @a on two disks; @b is swapped in, and takes only the first disk it gets. */
static struct bpf_link *half_a_swap(struct rig *r0, struct rig *r1,
				    struct puppet *a, struct puppet *b)
{
	struct bpf_link *link;

	b->bss->good_inits = 1;
	b->bss->init_ret = -EDQUOT;
	rig_up_slots(r0, 2, "disk0", 1 * MIB);
	rig_up_slots(r1, 2, "disk1", 1 * MIB);
	link = policy_attach(a->maps.puppet);
	CHECK_EQ(policy_select(r0->bdev, "puppet"), 0);
	CHECK_EQ(policy_select(r1->bdev, "puppet"), 0);
	CHECK_EQ(bpf_link__update_map(link, b->maps.puppet), -EDQUOT);
	/* It had started on one of them, and was stopped there. */
	CHECK_EQ(b->bss->inits, 2);
	CHECK_EQ(b->bss->exits, 1);
	return link;
}

/* An I/O that leaves the choice to @p, which has it. */
static void check_placed_by(struct puppet *p, struct rig *r)
{
	uint64_t places = p->bss->places;
	struct placed done;

	done = placed_io(r, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, 64 * KIB);
	CHECK_EQ(done.slot, p->data->slot);
	CHECK_EQ(p->bss->places, places + 1);
}

TEST(an_update_that_the_second_disk_refuses_is_taken_back_on_the_first)
{
	struct puppet *a = puppet_open(0), *b = puppet_open(1);
	struct rig r0[2], r1[2];
	struct bpf_link *link;

	link = half_a_swap(r0, r1, a, b);
	/* The old one has not been stopped anywhere. */
	CHECK_EQ(a->bss->inits, 2);
	CHECK_EQ(a->bss->exits, 0);
	CHECK(policy_is(r0->bdev, "puppet"));
	CHECK(policy_is(r1->bdev, "puppet"));
	check_placed_by(a, r0);
	check_placed_by(a, r1);
	CHECK_EQ(b->bss->places, 0);
	/* The next one works as if nothing had been. */
	b->bss->init_ret = 0;
	CHECK_EQ(bpf_link__update_map(link, b->maps.puppet), 0);
	check_placed_by(b, r0);
	check_placed_by(b, r1);
	CHECK_EQ(a->bss->exits, 2);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK_EQ(b->bss->inits, 4);
	CHECK_EQ(b->bss->exits, 3);
}

/* Nothing has to be started again, so nothing can fail to. */
TEST(a_refused_update_needs_nothing_of_the_old_policy)
{
	struct puppet *a = puppet_open(0), *b = puppet_open(1);
	struct rig r0[2], r1[2];
	struct bpf_link *link;

	a->bss->good_inits = 2;
	a->bss->init_ret = -ENOMEM;
	link = half_a_swap(r0, r1, a, b);
	CHECK_EQ(a->bss->inits, 2);
	CHECK_EQ(a->bss->exits, 0);
	CHECK(policy_is(r0->bdev, "puppet"));
	CHECK(policy_is(r1->bdev, "puppet"));
	check_placed_by(a, r0);
	check_placed_by(a, r1);
	CHECK_EQ(b->bss->places, 0);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK_EQ(a->bss->exits, 2);
	CHECK(policy_is(r0->bdev, "none"));
	CHECK(policy_is(r1->bdev, "none"));
}

TEST(an_update_cannot_change_the_name)
{
	struct puppet *a = puppet_open(0), *b = puppet__open();
	struct bpf_link *link;

	CHECK(b);
	rename_policy(b, "other");
	CHECK_EQ(puppet__load(b), 0);
	link = policy_attach(a->maps.puppet);
	CHECK_EQ(bpf_link__update_map(link, b->maps.puppet), -EINVAL);
}

static struct rig bufs[2];
static struct load load = { .r = bufs, .pos = POS, .slot = SLOT_ANY };

/* Placements that still wait for their complete(). */
static int64_t open_placements(struct puppet *p)
{
	return p->bss->places - p->bss->completes;
}

TEST(each_placement_is_completed_once)
{
	struct puppet *p = puppet_open(1);

	load_prepare(&load, "disk0");
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
	load_begin(&load);
	load_wait(&load, 5000);
	load_end(&load);
	CHECK_EQ(open_placements(p), 0);
	CHECK_EQ(p->bss->places - p->bss->again, load.ios);
	CHECK_EQ(load.in_slot[1], load.ios);
}

TEST(a_thousand_swaps_under_load_lose_nothing)
{
	struct puppet *p[2] = { puppet_open(0), puppet_open(1) };
	struct bpf_link *link;
	uint64_t places;
	unsigned int i;

	take_your_time();
	load_prepare(&load, "disk0");
	link = policy_attach(p[0]->maps.puppet);
	CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
	load_begin(&load);
	for (i = 1; i <= 1000; i++) {
		places = p[i % 2]->bss->places;
		CHECK_EQ(bpf_link__update_map(link, p[i % 2]->maps.puppet), 0);
		/* Or a swap may be one of policies that have nothing to do. */
		CHECK_SOON(p[i % 2]->bss->places > places);
		CHECK_EQ(p[0]->bss->inits + p[1]->bss->inits, i + 1);
		CHECK_EQ(p[0]->bss->exits + p[1]->bss->exits, i);
	}
	load_end(&load);
	for (i = 0; i < 2; i++) {
		CHECK(load.in_slot[i] + p[i]->bss->again >= 500);
		CHECK(open_placements(p[i]) >= 0);
		CHECK(p[i]->bss->completes <= p[i]->bss->places);
	}
	CHECK_EQ(p[0]->bss->failed + p[1]->bss->failed, 0);
}

TEST(swapping_in_policies_that_are_new_each_time)
{
	struct puppet *p = puppet_open(0), *old = NULL;
	struct bpf_link *link;
	unsigned int i;

	take_your_time();
	load_prepare(&load, "disk0");
	link = policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
	load_begin(&load);
	for (i = 1; i <= 30; i++) {
		old = p;
		p = puppet_open(i % 2);
		CHECK_EQ(bpf_link__update_map(link, p->maps.puppet), 0);
		puppet__destroy(old);
		load_wait(&load, 50);
		CHECK(p->bss->places > 0);
	}
	load_end(&load);
}

TEST(selecting_and_dropping_under_load_loses_nothing)
{
	struct puppet *p = puppet_open(1);
	unsigned int i;

	take_your_time();
	load.slot = 0;
	load_prepare(&load, "disk0");
	policy_attach(p->maps.puppet);
	load_begin(&load);
	for (i = 0; i < 200; i++) {
		CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
		load_wait(&load, 5);
		CHECK_EQ(policy_select(bufs[0].bdev, "none"), 0);
		load_wait(&load, 5);
	}
	load_end(&load);
	CHECK(load.in_slot[0] > 100);
	CHECK(load.in_slot[1] > 100);
	CHECK_EQ(p->bss->inits, 200);
	CHECK_EQ(p->bss->exits, 200);
	CHECK(open_placements(p) >= 0);
}

/* ---- going away ---- */

TEST(removing_the_pin_under_load_ends_the_policy)
{
	struct puppet *p = puppet_open(1);
	struct bpf_link *link;
	uint64_t placed;

	unlink(PIN);
	load.slot = 0;
	load_prepare(&load, "disk0");
	link = policy_attach(p->maps.puppet);
	CHECK_EQ(bpf_link__pin(link, PIN), 0);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
	load_begin(&load);
	CHECK_EQ(p->bss->exits, 0);
	CHECK_EQ(unlink(PIN), 0);
	CHECK_SOON(!strcmp(policy_line(bufs[0].bdev), "[none]"));
	CHECK_SOON(p->bss->exits == 1);
	/* What was in flight then has come back; the rest is not placed. */
	load_wait(&load, 2 * LANES);
	placed = load.in_slot[1];
	CHECK(placed > 0);
	load_wait(&load, 500);
	load_end(&load);
	CHECK_EQ(load.in_slot[1], placed);
	CHECK(open_placements(p) >= 0);
}

TEST(the_process_dying_under_load_ends_its_policy)
{
	int bdev = rig_open_disk("disk0", O_RDWR), i, status;

	for (i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct puppet *p = puppet_open(1);

			load_prepare(&load, "disk0");
			policy_attach(p->maps.puppet);
			CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
			load_begin(&load);
			kill(getpid(), SIGKILL);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		CHECK_SOON(!strcmp(policy_line(bdev), "[none]"));
		/* What it had registered is still in the parent's map. */
		rig_clean();
	}
}

static void remove_disk(const char *serial)
{
	char path[160];
	const char *disk = disk_by_serial(serial);

	CHECK(disk);
	snprintf(path, sizeof(path), "/sys/block/%s/device/device/remove",
		 disk + strlen("/dev/"));
	put(path, "1");
}

static void rescan(void)
{
	put("/sys/bus/pci/rescan", "1");
}

/*
 * A new disk is seen in sysfs before its queue is there, and both before it can
 * be opened.
 */
static bool disk_is_back(const char *serial)
{
	const char *disk = disk_by_serial(serial);
	int bdev = disk ? open(disk, O_RDWR | O_CLOEXEC) : -1;
	char attr[128];
	bool back;

	if (bdev < 0)
		return false;
	policy_path(attr, sizeof(attr), bdev);
	back = !access(attr, F_OK);
	close(bdev);
	return back;
}

/* By @away, while its policy works. */
static void check_disk_goes(void (*away)(void), void (*back)(void))
{
	struct puppet *p = puppet_open(1);
	struct rig again;
	int status;
	pid_t pid;

	policy_attach(p->maps.puppet);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		/* A disk that is gone stays as long as its file is open. */
		load.errors = true;
		load.slot = 0;
		load_prepare(&load, "disk1");
		CHECK_EQ(policy_select(bufs[0].bdev, "puppet"), 0);
		load_begin(&load);
		away();
		load_wait(&load, LANES);
		load_end(&load);
		CHECK(load.failed > 0);
		CHECK(load.in_slot[1] > 0);
		CHECK_EQ(load.in_slot[0], 0);
		fflush(stdout);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(p->bss->inits, 1);
	/* Pulled, it leaves sysfs first and its policy after that. */
	CHECK_SOON(p->bss->exits == 1);
	back();
	CHECK_SOON(disk_is_back("disk1"));
	rig_up(&again, "disk1", 1 * MIB);
	CHECK(!strcmp(policy_line(again.bdev), "[none] puppet"));
	CHECK_EQ(policy_select(again.bdev, "puppet"), 0);
	CHECK_EQ(p->bss->inits, 2);
	p->data->slot = 0;
	rig_fill_disk(&again, POS, 64 * KIB, 5);
	CHECK_EQ(placed_io(&again, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).res,
		 64 * KIB);
	CHECK_EQ(rig_check(&again, 0, POS, 64 * KIB, 5), 0);
}

static void remove_disk1(void)
{
	remove_disk("disk1");
}

TEST(removing_the_disk_under_load_ends_the_selection)
{
	check_disk_goes(remove_disk1, rescan);
}

static void shell(const char *command)
{
	char line[256];

	snprintf(line, sizeof(line), "bash -c '. selftests/lib.bash; %s'",
		 command);
	CHECK_EQ(system(line), 0);
}

static void pull_disk1(void)
{
	shell("pull_disk 1");
	CHECK_SOON(!disk_by_serial("disk1"));
}

static void plug_disk1(void)
{
	shell("plug_disk 1");
}

TEST(pulling_the_disk_under_load_ends_the_selection)
{
	check_disk_goes(pull_disk1, plug_disk1);
}

/* ---- all at once ---- */

static volatile bool busy;
static struct rig extra;

static void *select_for_ever(void *arg)
{
	int bdev = *(int *)arg;

	while (busy) {
		policy_select(bdev, "puppet");
		policy_select(bdev, "other");
		policy_select(bdev, "none");
	}
	return NULL;
}

static void *show_for_ever(void *arg)
{
	while (busy)
		CHECK(strstr(policy_line(*(int *)arg), "none"));
	return NULL;
}

static void *bind_for_ever(void *arg)
{
	(void)arg;
	while (busy) {
		int slot = blkdmabuf_bind(extra.chan, extra.dmabuf, SLOT_ANY,
					  NULL);

		CHECK(slot >= 0);
		CHECK_EQ(blkdmabuf_unbind(extra.chan, slot), 0);
	}
	return NULL;
}

static void *register_for_ever(void *arg)
{
	struct puppet *p = puppet__open();

	(void)arg;
	CHECK(p);
	rename_policy(p, "other");
	CHECK_EQ(puppet__load(p), 0);
	while (busy)
		CHECK_EQ(bpf_link__destroy(policy_attach(p->maps.puppet)), 0);
	return NULL;
}

TEST(selecting_swapping_binding_and_registering_at_once)
{
	struct puppet *p[2] = { puppet_open(0), puppet_open(1) };
	void *(*const run[])(void *) = {
		select_for_ever, select_for_ever, show_for_ever, bind_for_ever,
		register_for_ever,
	};
	pthread_t threads[ARRAY_SIZE(run)];
	struct bpf_link *link;
	unsigned int i;

	take_your_time();
	load.slot = 0;
	load_prepare(&load, "disk0");
	rig_up_slot(&extra, bufs, 64 * KIB);
	link = policy_attach(p[0]->maps.puppet);
	load_begin(&load);
	busy = true;
	for (i = 0; i < ARRAY_SIZE(run); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, run[i],
					&bufs[0].bdev), 0);
	for (i = 1; i <= 300 || load.in_slot[1] < 100; i++)
		CHECK_EQ(bpf_link__update_map(link, p[i % 2]->maps.puppet), 0);
	busy = false;
	printf("# %u swaps, %llu times selected\n", i - 1,
	       (unsigned long long)p[0]->bss->inits + p[1]->bss->inits);
	for (i = 0; i < ARRAY_SIZE(run); i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	load_end(&load);
	CHECK_EQ(policy_select(bufs[0].bdev, "none"), 0);
	CHECK_EQ(p[0]->bss->inits, p[0]->bss->exits);
	CHECK_EQ(p[1]->bss->inits, p[1]->bss->exits);
}

TEST(selecting_while_the_disk_goes)
{
	struct puppet *p = puppet_open(1);
	pthread_t threads[2];
	int status;
	pid_t pid;
	int i;

	policy_attach(p->maps.puppet);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		load.errors = true;
		load.slot = 0;
		load_prepare(&load, "disk1");
		load_begin(&load);
		busy = true;
		for (i = 0; i < 2; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL,
						select_for_ever,
						&bufs[0].bdev), 0);
		load_wait(&load, 200);
		remove_disk("disk1");
		load_wait(&load, LANES);
		busy = false;
		for (i = 0; i < 2; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
		load_end(&load);
		fflush(stdout);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(p->bss->inits > 0);
	CHECK_EQ(p->bss->inits, p->bss->exits);
	rescan();
	CHECK_SOON(disk_is_back("disk1"));
}

/* ---- several disks ---- */

TEST(two_disks_have_two_policies)
{
	struct puppet *a = puppet_open(1), *b = puppet__open();
	struct rig r0[2], r1[2];

	CHECK(b);
	rename_policy(b, "other");
	CHECK_EQ(puppet__load(b), 0);
	b->data->slot = 0;
	rig_up_slots(r0, 2, "disk0", 1 * MIB);
	rig_up_slots(r1, 2, "disk1", 1 * MIB);
	rig_fill_disk(r0, POS, 64 * KIB, 5);
	rig_fill_disk(r1, POS, 64 * KIB, 6);
	policy_attach(a->maps.puppet);
	policy_attach(b->maps.puppet);
	CHECK_EQ(policy_select(r0[0].bdev, "puppet"), 0);
	CHECK_EQ(policy_select(r1[0].bdev, "other"), 0);
	CHECK_EQ(placed_io(r0, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).res,
		 64 * KIB);
	CHECK_EQ(placed_io(r1, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).res,
		 64 * KIB);
	CHECK(rig_untouched(&r0[0]));
	CHECK_EQ(rig_check(&r0[1], 0, POS, 64 * KIB, 5), 0);
	CHECK_EQ(rig_check(&r1[0], 0, POS, 64 * KIB, 6), 0);
	CHECK(rig_untouched(&r1[1]));
	CHECK_EQ(a->bss->places, 1);
	CHECK_EQ(b->bss->places, 1);
	CHECK(a->bss->started.dev != b->bss->started.dev);
	CHECK_EQ(a->bss->placed.dev, a->bss->started.dev);
	CHECK_EQ(b->bss->placed.dev, b->bss->started.dev);
}

TEST(one_policy_serves_two_disks)
{
	struct puppet *p = puppet_open(1);
	struct rig r0[2], r1[2];
	struct bpf_link *link;

	rig_up_slots(r0, 2, "disk0", 1 * MIB);
	rig_up_slots(r1, 2, "disk1", 1 * MIB);
	link = policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r0[0].bdev, "puppet"), 0);
	CHECK_EQ(policy_select(r1[0].bdev, "puppet"), 0);
	CHECK_EQ(p->bss->inits, 2);
	CHECK_EQ(placed_io(r0, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).slot,
		 1);
	CHECK_EQ(placed_io(r1, READ_CMD, POS, 64 * KIB, SLOT_ANY, 0, 0).slot,
		 1);
	CHECK_EQ(policy_select(r0[0].bdev, "none"), 0);
	CHECK_EQ(p->bss->exits, 1);
	CHECK(policy_is(r1[0].bdev, "puppet"));
	CHECK_EQ(policy_select(r0[0].bdev, "puppet"), 0);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK_EQ(p->bss->exits, 3);
	CHECK(policy_is(r0[0].bdev, "none"));
	CHECK(policy_is(r1[0].bdev, "none"));
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
