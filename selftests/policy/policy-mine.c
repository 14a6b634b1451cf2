// SPDX-License-Identifier: GPL-2.0-only
/*
 * The policy that CONTRIBUTING.md shows, put into a copy of minimal as it says
 * there (the Makefile does that), loads and does what it says.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include "policy.h"

#define OBJECT	"build/selftests/mine.bpf.o"
#define POS	(8 * MIB)
#define LEN	(64 * KIB)

static void load(void)
{
	struct bpf_object *obj = bpf_object__open_file(OBJECT, NULL);

	CHECK(obj);
	CHECK_EQ(bpf_object__load(obj), 0);
	policy_attach(bpf_object__find_map_by_name(obj, "mine"));
}

TEST(reads_go_where_the_policy_says_and_writes_where_the_application_does)
{
	struct rig r[2];

	rig_up_slots(r, 2, "disk0", 1 * MIB);
	rig_fill_disk(r, POS, LEN, 3);
	load();
	CHECK_EQ(policy_select(r[0].bdev, "mine"), 0);
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 4096), LEN);
	CHECK(rig_untouched(&r[0]));
	CHECK_EQ(rig_check(&r[1], 4096, POS, LEN, 3), 0);

	rig_fill(r, 0, POS, LEN, 4);
	CHECK_EQ(rig_io(r, WRITE_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check_disk(r, POS, LEN, 4), 0);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
