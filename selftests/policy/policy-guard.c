// SPDX-License-Identifier: GPL-2.0-only
/*
 * guard: who has no quota binds nothing, who has one binds as much over all its
 * channels, and an edit of the quota counts from the next bind on.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include "policy.h"
#include "guard.skel.h"

#define SIZE	(1 * MIB)

enum guard_kind { GUARD_UID, GUARD_CGROUP };	/* as in bpf/guard.bpf.c */

struct guard_key {
	uint32_t	kind;
	uint32_t	resv;
	uint64_t	id;
};

static struct guard *g;
static struct rig r[3];

/* Three registered buffers, nothing bound. */
static void set_up(bool open)
{
	unsigned int i;

	g = guard__open();
	CHECK(g);
	g->rodata->open = open;
	CHECK_EQ(guard__load(g), 0);
	policy_attach(g->maps.guard);
	for (i = 0; i < ARRAY_SIZE(r); i++) {
		memset(&r[i], 0, sizeof(r[i]));
		r[i].bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
		rig_buffer(&r[i], SIZE, false);
		rig_register(&r[i]);
	}
	r[0].chan = blkdmabuf_channel(r[0].bdev);
	CHECK(r[0].chan >= 0);
	CHECK_EQ(policy_select(r[0].bdev, "guard"), 0);
}

static void quota(enum guard_kind kind, uint64_t id, uint64_t bytes)
{
	struct guard_key key = { .kind = kind, .id = id };

	CHECK_EQ(bpf_map_update_elem(bpf_map__fd(g->maps.quotas), &key, &bytes,
				     BPF_ANY), 0);
}

static int bind_on(int chan, unsigned int n)
{
	return blkdmabuf_bind(chan, r[n].dmabuf, n, NULL);
}

TEST(without_a_quota_nothing_is_bound)
{
	set_up(false);
	refused_begin();
	CHECK_EQ(bind_on(r[0].chan, 0), -EACCES);
	refused_end(BLK_DMABUF_NOT_ADMITTED, 1);
}

TEST(a_quota_is_obeyed_and_can_be_edited)
{
	set_up(false);
	quota(GUARD_UID, 0, 2 * SIZE - 1);
	CHECK_EQ(bind_on(r[0].chan, 0), 0);
	refused_begin();
	CHECK_EQ(bind_on(r[0].chan, 1), -EDQUOT);
	refused_end(BLK_DMABUF_NOT_ADMITTED, 1);
	quota(GUARD_UID, 0, 2 * SIZE);
	CHECK_EQ(bind_on(r[0].chan, 1), 1);
	CHECK_EQ(bind_on(r[0].chan, 2), -EDQUOT);
	/* What is bound stays bound when the quota shrinks. */
	quota(GUARD_UID, 0, 0);
	CHECK_EQ(bind_on(r[0].chan, 2), -EDQUOT);
	r[0].slot = 1;
	CHECK_EQ(rig_io(r, READ_CMD, 0, 4096, 0), 4096);
}

TEST(unbinding_makes_room)
{
	set_up(false);
	quota(GUARD_UID, 0, SIZE);
	CHECK_EQ(bind_on(r[0].chan, 0), 0);
	CHECK_EQ(bind_on(r[0].chan, 1), -EDQUOT);
	CHECK_EQ(blkdmabuf_unbind(r[0].chan, 0), 0);
	CHECK_EQ(bind_on(r[0].chan, 1), 1);
}

TEST(a_second_channel_is_no_second_quota)
{
	int chan;

	set_up(false);
	quota(GUARD_UID, 0, 2 * SIZE);
	chan = blkdmabuf_channel(r[0].bdev);
	CHECK(chan >= 0);
	CHECK_EQ(bind_on(r[0].chan, 0), 0);
	CHECK_EQ(bind_on(chan, 1), 1);
	CHECK_EQ(bind_on(chan, 2), -EDQUOT);
	CHECK_EQ(bind_on(r[0].chan, 2), -EDQUOT);
	close(chan);
	CHECK_EQ(bind_on(r[0].chan, 2), 2);
}

/*
 * What is asked for at once is reserved before the policy is asked: nobody gets
 * more, and some may be refused what the others did not get either.
 */
TEST(processes_that_bind_at_once_do_not_get_more)
{
	struct rig more[8];
	int i, status, won = 0;

	set_up(false);
	quota(GUARD_UID, 0, 4 * SIZE);
	for (i = 0; i < 8; i++) {
		more[i] = r[0];
		rig_buffer(&more[i], SIZE, false);
		rig_register(&more[i]);
	}
	for (i = 0; i < 8; i++) {
		if (fork())
			continue;
		_exit(blkdmabuf_bind(r[0].chan, more[i].dmabuf, 10 + i, NULL) ==
		      10 + i);
	}
	while (wait(&status) > 0)
		won += WEXITSTATUS(status);
	CHECK(won <= 4);
	/* What was refused has been given back. */
	for (i = 0; i < 8; i++)
		won += blkdmabuf_bind(r[0].chan, more[i].dmabuf, 20 + i,
				      NULL) == 20 + i &&
		       blkdmabuf_unbind(r[0].chan, 10 + i) == -ENOENT;
	CHECK_EQ(won, 4);
}

TEST(a_buffer_counts_once_in_however_many_slots)
{
	int i;

	set_up(false);
	quota(GUARD_UID, 0, SIZE);
	for (i = 0; i < 8; i++)
		CHECK_EQ(blkdmabuf_bind(r[0].chan, r[0].dmabuf, 10 + i, NULL),
			 10 + i);
	CHECK_EQ(bind_on(r[0].chan, 1), -EDQUOT);
	for (i = 0; i < 8; i++) {
		CHECK_EQ(bind_on(r[0].chan, 1), -EDQUOT);
		CHECK_EQ(blkdmabuf_unbind(r[0].chan, 10 + i), 0);
	}
	CHECK_EQ(bind_on(r[0].chan, 1), 1);
}

TEST(users_have_quotas_of_their_own)
{
	int chan;

	set_up(false);
	quota(GUARD_UID, 1234, SIZE);
	CHECK_EQ(bind_on(r[0].chan, 0), -EACCES);
	CHECK_EQ(setresuid(1234, 1234, 0), 0);
	chan = blkdmabuf_channel(r[0].bdev);
	CHECK(chan >= 0);
	CHECK_EQ(setresuid(0, 0, 0), 0);
	/* A user is who opened the channel. */
	CHECK_EQ(bind_on(chan, 0), 0);
	CHECK_EQ(bind_on(chan, 1), -EDQUOT);
	quota(GUARD_UID, 0, SIZE);
	CHECK_EQ(bind_on(r[0].chan, 1), 1);
	CHECK_EQ(bind_on(r[0].chan, 2), -EDQUOT);
}

TEST(cgroups_have_quotas_of_their_own)
{
	uint64_t cgroup;
	int chan;

	set_up(false);
	cgroup = enter_cgroup("policy-guard");
	chan = blkdmabuf_channel(r[0].bdev);
	CHECK(chan >= 0);
	CHECK_EQ(bind_on(chan, 0), -EACCES);
	quota(GUARD_CGROUP, cgroup, SIZE);
	CHECK_EQ(bind_on(chan, 0), 0);
	CHECK_EQ(bind_on(chan, 1), -EDQUOT);
	/* The channel from before is another cgroup's. */
	CHECK_EQ(bind_on(r[0].chan, 1), -EACCES);
	/* With both the smaller one counts. */
	quota(GUARD_UID, 0, 3 * SIZE);
	CHECK_EQ(bind_on(chan, 1), -EDQUOT);
	quota(GUARD_CGROUP, cgroup, 3 * SIZE);
	CHECK_EQ(bind_on(chan, 1), 1);
	quota(GUARD_UID, 0, 2 * SIZE);
	CHECK_EQ(bind_on(chan, 2), -EDQUOT);
}

TEST(by_knob_those_without_a_quota_may_pass)
{
	set_up(true);
	CHECK_EQ(bind_on(r[0].chan, 0), 0);
	quota(GUARD_UID, 0, SIZE);
	CHECK_EQ(bind_on(r[0].chan, 1), -EDQUOT);
}

TEST(attach_io_detach_io)
{
	set_up(false);
	CHECK_EQ(bind_on(r[0].chan, 0), -EACCES);
	CHECK_EQ(policy_select(r[0].bdev, "none"), 0);
	CHECK_EQ(bind_on(r[0].chan, 0), 0);
	CHECK_EQ(rig_io(r, READ_CMD, 0, 4096, 0), 4096);
	/* What is bound keeps working under a policy that would refuse it. */
	CHECK_EQ(policy_select(r[0].bdev, "guard"), 0);
	CHECK_EQ(rig_io(r, READ_CMD, 0, 4096, 0), 4096);
	CHECK_EQ(bind_on(r[0].chan, 1), -EACCES);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
