// SPDX-License-Identifier: GPL-2.0-only
/*
 * near: a read goes to the buffer on the device's NUMA node when it can, for
 * each disk to its own.  And what any policy is told of nodes, CPUs and users:
 * here there are several of each.
 *
 * vm: iommu=strict nvme=2 cpus=4 numa=2
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "policy.h"
#include "near.skel.h"
#include "selftests/bpf/puppet.skel.h"

#define SIZE	(1 * MIB)
#define LEN	(64 * KIB)
#define POS	(8 * MIB)
#define SEED	51

static struct near *n;

static void memory_from(int node)
{
	unsigned long mask = 1UL << node;

	CHECK_EQ(syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64), 0);
}

static void memory_from_anywhere(void)
{
	CHECK_EQ(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0), 0);
}

/* The NUMA node of the disk behind an open block device. */
static int node_of(int bdev)
{
	char path[128];
	struct stat st;
	int node = -1;
	FILE *f;

	CHECK_EQ(fstat(bdev, &st), 0);
	snprintf(path, sizeof(path),
		 "/sys/dev/block/%u:%u/device/device/numa_node",
		 major(st.st_rdev), minor(st.st_rdev));
	f = fopen(path, "re");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%d", &node), 1);
	fclose(f);
	return node;
}

/* Slot k holds memory of node nodes[k]. */
static void set_up(struct rig *r, const char *serial, unsigned int nr,
		   const int *nodes, const uint64_t *sizes)
{
	unsigned int k;

	if (access("/sys/devices/system/node/node1", F_OK))
		tap_skip("a second NUMA node");
	memset(r, 0, nr * sizeof(*r));
	r->bdev = rig_open_disk(serial, O_RDWR | O_DIRECT);
	for (k = 0; k < nr; k++) {
		r[k].bdev = r->bdev;
		memory_from(nodes[k]);
		rig_buffer(&r[k], sizes ? sizes[k] : SIZE, false);
		memory_from_anywhere();
		rig_register(&r[k]);
		CHECK_EQ(blkdmabuf_map(rig_ctl, r[k].id), 0);
		if (!k)
			rig_bind(r);
		else
			CHECK_EQ(blkdmabuf_bind(r->chan, r[k].dmabuf, k, NULL),
				 k);
		r[k].slot = k;
	}
	rig_fill_disk(r, POS, SIZE, SEED);
}

static void load(bool strict)
{
	n = near__open();
	CHECK(n);
	n->rodata->strict = strict;
	CHECK_EQ(near__load(n), 0);
	policy_attach(n->maps.near);
}

/* An ANY read at @offset goes to @slot, and nowhere else. */
static void check_goes_to(struct rig *r, unsigned int nr, unsigned int slot,
			  uint64_t offset, uint32_t len)
{
	struct placed done;
	unsigned int k;

	done = placed_io(r, READ_CMD, POS, len, SLOT_ANY, offset, 0);
	CHECK_EQ(done.res, len);
	CHECK_EQ(done.slot, slot);
	CHECK_EQ(done.offset, offset);
	CHECK_EQ(rig_check(&r[slot], offset, POS, len, SEED), 0);
	memset(r[slot].mem + offset, POISON, len);
	for (k = 0; k < nr; k++)
		CHECK(rig_untouched(&r[k]));
}

TEST(each_disk_reads_into_its_own_node)
{
	static const int nodes[] = { 0, 1, 0, 1 };
	struct rig r0[4], r1[4];

	load(false);
	set_up(r0, "disk0", 4, nodes, NULL);
	set_up(r1, "disk1", 4, nodes, NULL);
	CHECK_EQ(node_of(r0->bdev), 0);
	CHECK_EQ(node_of(r1->bdev), 1);
	CHECK_EQ(policy_select(r0->bdev, "near"), 0);
	CHECK_EQ(policy_select(r1->bdev, "near"), 0);
	check_goes_to(r0, 4, 0, 0, LEN);
	check_goes_to(r1, 4, 1, 4096, LEN);
	/* Among equals the first. */
	CHECK_EQ(blkdmabuf_unbind(r0->chan, 0), 0);
	CHECK_EQ(blkdmabuf_unbind(r1->chan, 1), 0);
	check_goes_to(r0, 4, 2, 512, LEN);
	check_goes_to(r1, 4, 3, SIZE - LEN, LEN);
	/* Better far away than not at all. */
	CHECK_EQ(blkdmabuf_unbind(r0->chan, 2), 0);
	check_goes_to(r0, 4, 1, 0, LEN);
}

TEST(a_buffer_that_is_too_small_is_passed_over)
{
	static const int nodes[] = { 1, 0, 0 };
	static const uint64_t sizes[] = { SIZE, LEN, 2 * LEN };
	struct rig r[3];

	load(false);
	set_up(r, "disk0", 3, nodes, sizes);
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	check_goes_to(r, 3, 1, 0, LEN);
	check_goes_to(r, 3, 2, 0, 2 * LEN);
	check_goes_to(r, 3, 2, 4096, LEN);
	check_goes_to(r, 3, 0, 0, 4 * LEN);
	CHECK_EQ(placed_io(r, READ_CMD, POS, 4096, SLOT_ANY, SIZE, 0).res,
		 -ENOSPC);
}

TEST(memory_whose_node_is_not_known_comes_second)
{
	static const int nodes[] = { 1, 0 };
	struct rig r[2];

	load(false);
	set_up(r, "disk0", 1, nodes, NULL);
	rig_up_slot(&r[1], r, SIZE);	/* not mapped: nobody knows */
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	check_goes_to(r, 2, 1, 0, LEN);
}

TEST(by_knob_far_is_refused)
{
	static const int nodes[] = { 1, 0 };
	struct rig r[2];

	load(true);
	set_up(r, "disk0", 2, nodes, NULL);
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	check_goes_to(r, 2, 1, 0, LEN);
	CHECK_EQ(blkdmabuf_unbind(r->chan, 1), 0);
	refused_begin();
	CHECK_EQ(placed_io(r, READ_CMD, POS, LEN, SLOT_ANY, 0, 0).res, -EXDEV);
	refused_end(BLK_DMABUF_POLICY_REFUSED, 1);
	/* Who names a far one gets it. */
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
}

TEST(a_write_has_to_say_where_from)
{
	static const int nodes[] = { 0, 1 };
	struct rig r[2];

	load(false);
	set_up(r, "disk0", 2, nodes, NULL);
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	CHECK_EQ(placed_io(r, WRITE_CMD, POS, LEN, SLOT_ANY, 0, 0).res,
		 -ENOENT);
	CHECK_EQ(rig_check_disk(r, POS, LEN, SEED), 0);
}

/* The new one's init() is called before the old one's exit(). */
TEST(a_swap_that_keeps_the_map_keeps_the_nodes)
{
	static const int nodes[] = { 1, 0 };
	struct near *new = near__open();
	struct bpf_link *link;
	struct rig r[2];
	uint32_t dev;
	int fd;

	n = near__open_and_load();
	CHECK(n && new);
	link = policy_attach(n->maps.near);
	set_up(r, "disk0", 2, nodes, NULL);
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	fd = bpf_map__fd(n->maps.disks);
	CHECK_EQ(bpf_map__reuse_fd(new->maps.disks, fd), 0);
	CHECK_EQ(near__load(new), 0);
	CHECK_EQ(bpf_link__update_map(link, new->maps.near), 0);
	check_goes_to(r, 2, 1, 0, LEN);
	CHECK_EQ(policy_select(r->bdev, "none"), 0);
	CHECK_EQ(bpf_map_get_next_key(fd, NULL, &dev), -ENOENT);
}

TEST(attach_io_detach_io)
{
	static const int nodes[] = { 1, 0 };
	struct rig r[2];

	load(false);
	set_up(r, "disk0", 2, nodes, NULL);
	CHECK_EQ(policy_select(r->bdev, "near"), 0);
	check_goes_to(r, 2, 1, 0, LEN);
	CHECK_EQ(policy_select(r->bdev, "none"), 0);
	CHECK_EQ(placed_io(r, READ_CMD, POS, LEN, SLOT_ANY, 0, 0).res, -ENOENT);
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
}

/* ---- what any policy is told ---- */

static int node_of_cpu(unsigned int cpu)
{
	char path[64];
	int node;

	for (node = 0; node < 2; node++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/node/node%d/cpu%u", node, cpu);
		if (!access(path, F_OK))
			return node;
	}
	return -1;
}

static struct puppet *puppet_up(int bdev)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	return p;
}

TEST(a_policy_is_told_where_an_io_is_submitted)
{
	static const int nodes[] = { 1 };
	unsigned int cpu, far = 0;
	struct puppet *p;
	struct rig r;

	set_up(&r, "disk0", 1, nodes, NULL);
	p = puppet_up(r.bdev);
	for (cpu = 0; cpu < 4; cpu++) {
		run_on(cpu);
		CHECK_EQ(rig_io(&r, READ_CMD, POS, LEN, 0), LEN);
		CHECK_EQ(p->bss->placed.cpu, cpu);
		CHECK_EQ(p->bss->placed.node, node_of_cpu(cpu));
		CHECK_EQ(p->bss->queued.cpu, cpu);
		CHECK_EQ(p->bss->queued.node, node_of_cpu(cpu));
		CHECK_EQ(p->bss->completed.hctx, p->bss->local);
		far += p->bss->placed.node != node_of(r.bdev);
	}
	CHECK_EQ(far, 2);
}

TEST(a_policy_is_told_the_nodes_of_disk_and_memory)
{
	static const int nodes[] = { 1 };
	struct rig r0, r1;
	struct puppet *p;

	set_up(&r0, "disk0", 1, nodes, NULL);
	set_up(&r1, "disk1", 1, nodes, NULL);
	p = puppet_up(r0.bdev);
	CHECK_EQ(p->bss->started.node, 0);
	CHECK_EQ(policy_select(r1.bdev, "puppet"), 0);
	CHECK_EQ(p->bss->started.node, 1);
	CHECK_EQ(rig_io(&r0, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(p->bss->seen.node, 1);
}

/* A channel to the buffer of @r that @uid opened. */
static struct rig channel_of(struct rig *r, uid_t uid)
{
	struct rig other = *r;

	CHECK_EQ(setresuid(uid, uid, 0), 0);
	other.chan = blkdmabuf_channel(r->bdev);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	CHECK(other.chan >= 0);
	CHECK_EQ(blkdmabuf_bind(other.chan, r->dmabuf, 0, NULL), 0);
	return other;
}

static void check_told_of(struct puppet *p, struct rig *r, uid_t uid,
			  uint64_t cgroup)
{
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(p->bss->placed.uid, uid);
	CHECK_EQ(p->bss->placed.cgroup, cgroup);
	CHECK_EQ(p->bss->seen.uid, uid);
	CHECK_EQ(p->bss->seen.cgroup, cgroup);
}

TEST(a_policy_is_told_who_opened_the_channel_not_who_submits)
{
	static const int nodes[] = { 0 };
	uint64_t mine, theirs;
	struct rig r, other;
	struct puppet *p;

	mine = enter_cgroup("near-mine");
	set_up(&r, "disk0", 1, nodes, NULL);
	p = puppet_up(r.bdev);
	theirs = enter_cgroup("near-theirs");
	CHECK(mine != theirs);
	other = channel_of(&r, 1234);
	CHECK_EQ(p->bss->granted.uid, 1234);
	CHECK_EQ(p->bss->granted.cgroup, theirs);
	check_told_of(p, &r, 0, mine);
	check_told_of(p, &other, 1234, theirs);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
