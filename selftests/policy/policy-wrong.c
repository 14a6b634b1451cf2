// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy whose answers are wrong: each kind fails the I/O with its own errno
 * and is counted as what it is, no byte of a buffer or of the device changes,
 * and the next I/O with a right answer works.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include <linux/dma-heap.h>
#include <sys/ioctl.h>

#include "policy.h"
#include "selftests/bpf/puppet.skel.h"

#define SIZE	(1 * MIB)
#define LEN	(64 * KIB)
#define POS	(8 * MIB)
#define SEED	7

static struct puppet *p;
static struct rig r[2], other;

/* Two buffers on the channel that I/O is done on, a third on another one. */
static void set_up(void)
{
	p = puppet__open_and_load();
	CHECK(p);
	rig_up_slots(r, 2, "disk0", SIZE);
	other = r[0];
	rig_buffer(&other, SIZE, false);
	rig_register(&other);
	other.chan = blkdmabuf_channel(other.bdev);
	CHECK(other.chan >= 0);
	other.slot = blkdmabuf_bind(other.chan, other.dmabuf, 2, NULL);
	CHECK_EQ(other.slot, 2);
	rig_fill_disk(r, POS, LEN, SEED);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), 0);
}

/* Nothing was read, nothing was written. */
static void check_untouched(void)
{
	CHECK(rig_untouched(&r[0]));
	CHECK(rig_untouched(&r[1]));
	CHECK(rig_untouched(&other));
	CHECK_EQ(rig_check_disk(r, POS, LEN, SEED), 0);
}

static void check_works(void)
{
	p->bss->wrong_from = ~0ULL;
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, PAGE), LEN);
	CHECK_EQ(rig_check(r, PAGE, POS, LEN, SEED), 0);
	rig_poison(r);
	p->bss->wrong_from = 0;
}

/* With the answer that is set up, in both directions. */
static void check_fails(int error, enum blk_dmabuf_reason reason)
{
	static const unsigned int ops[] = { READ_CMD, WRITE_CMD };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		refused_begin();
		CHECK_EQ(rig_io(r, ops[i], POS, LEN, 0), error);
		refused_end(reason, 1);
		check_untouched();
	}
	check_works();
}

static void check_offset(uint64_t offset, int error,
			 enum blk_dmabuf_reason reason)
{
	set_up();
	p->data->offset = offset;
	check_fails(error, reason);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(an_offset_behind_the_buffer)
{
	check_offset(SIZE, -ERANGE, BLK_DMABUF_POLICY_RANGE);
}

TEST(an_offset_that_leaves_the_buffer_in_the_middle_of_the_io)
{
	check_offset(SIZE - LEN + PAGE, -ERANGE, BLK_DMABUF_POLICY_RANGE);
}

TEST(an_offset_whose_end_overflows)
{
	check_offset(-LEN, -ERANGE, BLK_DMABUF_POLICY_RANGE);
}

TEST(an_offset_unaligned_for_the_device)
{
	check_offset(1, -EINVAL, BLK_DMABUF_POLICY_UNALIGNED);
}

static void check_slot(uint64_t slot)
{
	set_up();
	p->data->slot = slot;
	check_fails(-ENOENT, BLK_DMABUF_POLICY_SLOT);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(a_slot_with_nothing_bound)
{
	check_slot(77);
}

TEST(a_slot_of_another_channel)
{
	check_slot(2);
}

TEST(a_slot_that_no_channel_has)
{
	check_slot(4096);
}

TEST(any_slot_is_no_answer)
{
	check_slot(SLOT_ANY);
}

TEST(a_slot_whose_registration_has_ended)
{
	set_up();
	p->data->slot = 1;
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r[1].id), 0);
	refused_begin();
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), -ENODEV);
	refused_end(BLK_DMABUF_IS_DEAD, 1);
	check_untouched();
	check_works();
}

TEST(a_buffer_that_may_only_be_read)
{
	struct dma_heap_allocation_data heap = {
		.len = SIZE,
		.fd_flags = O_RDONLY | O_CLOEXEC,
	};
	int fd = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC), slot;
	struct rig ro;
	size_t i;

	set_up();
	CHECK(fd >= 0);
	CHECK_EQ(ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap), 0);
	ro = r[0];
	ro.dmabuf = heap.fd;
	rig_register(&ro);
	CHECK_EQ(blkdmabuf_map(rig_ctl, ro.id), 0);
	slot = blkdmabuf_bind(ro.chan, ro.dmabuf, SLOT_ANY, NULL);
	CHECK(slot >= 0);
	ro.mem = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, ro.dmabuf, 0);
	CHECK(ro.mem != MAP_FAILED);

	p->data->slot = slot;
	refused_begin();
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), -EACCES);
	refused_end(BLK_DMABUF_POLICY_ACCESS, 1);
	check_untouched();
	for (i = 0; i < SIZE; i++)
		CHECK_EQ(ro.mem[i], 0);
	check_works();
}

static void check_len(uint64_t len)
{
	set_up();
	p->data->len = len;
	check_fails(-EINVAL, BLK_DMABUF_POLICY_LENGTH);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(a_prefix_of_no_bytes)
{
	check_len(0);
}

TEST(more_than_there_is_to_place)
{
	check_len(LEN + 512);
}

TEST(as_much_as_can_be_said)
{
	check_len(~0U);
}

TEST(a_length_that_is_no_whole_block)
{
	check_len(LEN - 100);
}

static void check_ret(int ret, int error, enum blk_dmabuf_reason reason)
{
	set_up();
	p->bss->place_ret = ret;
	check_fails(error, reason);
	/* What it placed does not count, so there is nothing to complete. */
	CHECK_EQ(p->bss->completes, p->bss->places - 2);
}

TEST(place_returns_one)
{
	check_ret(1, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(place_returns_the_length)
{
	check_ret(LEN, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(place_returns_what_io_uring_takes_for_queued)
{
	check_ret(-529, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(place_returns_what_restarts_system_calls)
{
	check_ret(-512, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(place_returns_the_smallest_number)
{
	check_ret(INT32_MIN, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(place_returns_an_errno_that_the_application_gets)
{
	check_ret(-EDQUOT, -EDQUOT, BLK_DMABUF_POLICY_REFUSED);
}

TEST(place_leaves_the_choice_to_an_application_that_left_it_too)
{
	struct placed done;

	set_up();
	p->bss->no_place = true;
	refused_begin();
	done = placed_io(r, READ_CMD, POS, LEN, SLOT_ANY, 0, 0);
	CHECK_EQ(done.res, -ENOENT);
	refused_end(BLK_DMABUF_NO_SLOT, 1);
	check_untouched();
	CHECK_EQ(p->bss->completes, 0);
	/* To one that knows what it wants that is fine. */
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
}

TEST(of_two_placements_the_last_one_counts)
{
	set_up();
	p->bss->twice = true;
	refused_begin();
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	refused_end(0, 0);
	CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

/* What was placed before is done, the rest is not. */
static void check_second_piece(int error, enum blk_dmabuf_reason reason)
{
	struct placed done;

	p->data->step = LEN / 4;
	p->bss->wrong_from = POS + LEN / 2;
	refused_begin();
	done = placed_io(r, READ_CMD, POS, LEN, 0, 0, 0);
	CHECK_EQ(done.res, error);
	refused_end(reason, 1);
	CHECK_EQ(rig_check(r, 0, POS, LEN / 2, SEED), 0);
	CHECK_EQ(poison_check(r->mem + LEN / 2, SIZE - LEN / 2, NULL), 0);
	memset(r->mem, POISON, LEN / 2);
	check_untouched();
	check_works();
}

TEST(a_wrong_slot_for_the_third_piece)
{
	set_up();
	p->data->slot = 77;
	check_second_piece(-ENOENT, BLK_DMABUF_POLICY_SLOT);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(a_third_piece_behind_the_buffer)
{
	set_up();
	p->data->offset = SIZE;
	check_second_piece(-ERANGE, BLK_DMABUF_POLICY_RANGE);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(a_third_piece_of_no_bytes)
{
	set_up();
	p->data->len = 0;
	check_second_piece(-EINVAL, BLK_DMABUF_POLICY_LENGTH);
}

TEST(an_error_for_the_third_piece)
{
	set_up();
	p->bss->place_ret = -EIO;
	check_second_piece(-EIO, BLK_DMABUF_POLICY_REFUSED);
}

static void check_hctx(int hctx)
{
	static const unsigned int ops[] = { READ_CMD, WRITE_CMD };
	unsigned int i;

	set_up();
	p->data->hctx = hctx;
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		refused_begin();
		CHECK_EQ(rig_io(r, ops[i], POS, LEN, 0), -EINVAL);
		refused_end(BLK_DMABUF_POLICY_HCTX, 1);
		check_untouched();
	}
	p->data->hctx = -1;
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
	CHECK_EQ(p->bss->completes, p->bss->places);
}

TEST(the_queue_behind_the_last)
{
	check_hctx(4);
}

TEST(a_queue_far_behind_the_last)
{
	check_hctx(INT32_MAX);
}

TEST(a_queue_below_the_default)
{
	check_hctx(-2);
}

TEST(a_queue_below_everything)
{
	check_hctx(INT32_MIN);
}

static void check_admit(int ret, int error, enum blk_dmabuf_reason reason)
{
	struct rig more;

	set_up();
	more = r[0];
	rig_buffer(&more, SIZE, false);
	rig_register(&more);
	p->bss->admit_ret = ret;
	refused_begin();
	CHECK_EQ(blkdmabuf_bind(more.chan, more.dmabuf, 9, NULL), error);
	refused_end(reason, 1);
	CHECK_EQ(p->bss->granted.id, more.id);
	CHECK_EQ(p->bss->granted.slot, 9);
	CHECK_EQ(p->bss->granted.bytes, SIZE);
	CHECK_EQ(rig_io(&(struct rig){ .chan = more.chan, .slot = 9 },
			READ_CMD, POS, LEN, 0), -ENOENT);
	p->bss->admit_ret = 0;
	CHECK_EQ(blkdmabuf_bind(more.chan, more.dmabuf, 9, NULL), 9);
}

TEST(admit_returns_an_errno_that_the_application_gets)
{
	check_admit(-EDQUOT, -EDQUOT, BLK_DMABUF_NOT_ADMITTED);
}

TEST(admit_returns_one)
{
	check_admit(1, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

TEST(admit_returns_the_smallest_number)
{
	check_admit(INT32_MIN, -EINVAL, BLK_DMABUF_POLICY_ERROR);
}

/* With what init() returns the policy is refused, and nothing is left of it. */
static void check_init(int ret, int error, enum blk_dmabuf_reason reason)
{
	p->bss->init_ret = ret;
	refused_begin();
	CHECK_EQ(policy_select(r[0].bdev, "puppet"), error);
	refused_end(reason, 1);
	CHECK(policy_is(r[0].bdev, "none"));
}

TEST(init_that_does_not_return_0_does_not_get_selected)
{
	static const int no_errno[] = { 1, INT32_MAX, INT32_MIN, -529 };
	unsigned int i;

	set_up();
	CHECK_EQ(policy_select(r[0].bdev, "none"), 0);
	CHECK_EQ(p->bss->inits, 1);
	CHECK_EQ(p->bss->exits, 1);
	for (i = 0; i < ARRAY_SIZE(no_errno); i++)
		check_init(no_errno[i], -EINVAL, BLK_DMABUF_POLICY_ERROR);
	check_init(-EDQUOT, -EDQUOT, BLK_DMABUF_NOT_SELECTED);
	CHECK_EQ(p->bss->exits, 1);
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(p->bss->places, 0);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
