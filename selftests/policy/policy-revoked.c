// SPDX-License-Identifier: GPL-2.0-only
/*
 * invalidated(): a policy hears of it when an exporter takes a mapping away.
 * The exporter is vfio-pci, which does so when memory access of the device is
 * switched off.
 *
 * vm: p2p
 */
#include "peer.h"
#include "selftests/bpf/puppet.skel.h"

#define POS	(8 * MIB)
#define LEN	(64 * KIB)
#define SEED	61

/* The BAR in slot 0, plain memory in slot 1. */
static void set_up(struct rig *r, uint64_t size)
{
	peer_rig(r, "disk0", size);
	rig_register(r);
	rig_bind(r);
	rig_up_slot(&r[1], r, size);
	rig_fill_disk(r, POS, LEN, SEED);
}

static struct puppet *puppet_up(int bdev)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	return p;
}

TEST(a_mapping_that_is_taken_away_is_announced)
{
	struct puppet *p;
	struct rig r[2];
	unsigned int i;

	set_up(r, 1 * MIB);
	p = puppet_up(r->bdev);
	for (i = 1; i <= 3; i++) {
		memset(r->mem, 0, LEN);
		CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
		CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
		/* Whose memory it is, is known while it is mapped. */
		CHECK(!(p->bss->seen.flags & BLK_DMABUF_F_P2P));
		CHECK_EQ(p->bss->seen.path, BLK_DMABUF_PATH_NONE);
		CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
		CHECK(p->bss->seen.flags & BLK_DMABUF_F_P2P);
		CHECK_EQ(p->bss->seen.path, BLK_DMABUF_PATH_P2P_HOST_BRIDGE);
		CHECK_EQ(p->bss->seen.provider, peer_id());
		CHECK(p->bss->seen.distance > 0);
		CHECK_EQ(p->bss->invalidations, i - 1);
		peer_memory(false);
		CHECK_EQ(p->bss->invalidations, i);
		CHECK_EQ(p->bss->last_invalid, r->id);
		peer_memory(true);
	}
	/* One that was not mapped is not taken away. */
	peer_memory(false);
	CHECK_EQ(p->bss->invalidations, 3);
	peer_memory(true);
	CHECK_EQ(p->bss->places, p->bss->completes);
}

TEST(a_policy_can_go_round_a_buffer_that_is_away)
{
	struct puppet *p;
	struct rig r[2];

	set_up(r, 1 * MIB);
	p = puppet_up(r->bdev);
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	peer_memory(false);
	CHECK(rig_io(r, READ_CMD, POS, LEN, 0) < 0);
	CHECK_EQ(p->bss->last_invalid, r->id);
	p->data->slot = 1;
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(&r[1], 0, POS, LEN, SEED), 0);
	CHECK_EQ(p->bss->places, p->bss->completes);
	peer_memory(true);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
