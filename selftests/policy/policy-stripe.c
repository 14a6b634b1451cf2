// SPDX-License-Identifier: GPL-2.0-only
/*
 * stripe: each byte of a striped I/O is in the buffer, and at the offset, that
 * RAID 0 over the slots puts it, and nowhere else.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include "policy.h"
#include "stripe.skel.h"

#define NR	4
#define SIZE	(1 * MIB)
#define CHUNK	(64 * KIB)
#define POS	(16 * MIB)
#define SEED	11

static struct stripe *s;
static struct rig r[NR];
static unsigned int slots[NR], width;

/* The slots that the model counts on. */
static void use_slots(unsigned int n, const unsigned int *which)
{
	memcpy(slots, which, n * sizeof(*which));
	width = n;
}

static void set_up(void)
{
	static const unsigned int all[NR] = { 0, 1, 2, 3 };

	rig_up_slots(r, NR, "disk0", SIZE);
	use_slots(NR, all);
	rig_fill_disk(r, POS, NR * SIZE, SEED);
}

static void load(unsigned int chunk, unsigned int stripe_width, bool named)
{
	s = stripe__open();
	CHECK(s);
	s->rodata->chunk = chunk;
	s->rodata->width = stripe_width;
	s->rodata->named = named;
	CHECK_EQ(stripe__load(s), 0);
	policy_attach(s->maps.stripe);
}

static void select_stripe(void)
{
	CHECK_EQ(policy_select(r[0].bdev, "stripe"), 0);
}

/* Where byte @offset of the striped buffer is, shifted by @first slots. */
static unsigned char *at(uint64_t offset, unsigned int first,
			 unsigned int *slot, uint64_t *in)
{
	uint64_t nr = offset / CHUNK;

	*slot = slots[(first + nr) % width];
	*in = nr / width * CHUNK + offset % CHUNK;
	return r[*slot].mem + *in;
}

/* Walk @len bytes in pieces that no chunk border cuts, and no 8 bytes. */
static void fill(uint64_t offset, unsigned int first, uint64_t pos,
		 uint64_t len, uint64_t seed)
{
	unsigned int slot;
	uint64_t i, in;

	for (i = 0; i < len; i += 512)
		data_fill(at(offset + i, first, &slot, &in), pos + i, 512,
			  seed);
}

/* The striped bytes are right and every other one is poison; poison them. */
static void check(uint64_t offset, unsigned int first, uint64_t pos,
		  uint64_t len, uint64_t seed)
{
	unsigned int slot;
	uint64_t i, in;

	for (i = 0; i < len; i += 512) {
		unsigned char *mem = at(offset + i, first, &slot, &in);

		if (data_check(mem, pos + i, 512, seed, NULL))
			tap_fail(__FILE__, __LINE__,
				 "byte %llu is not at %llu of slot %u",
				 (unsigned long long)i, (unsigned long long)in,
				 slot);
		memset(mem, POISON, 512);
	}
	for (i = 0; i < NR; i++)
		CHECK(rig_untouched(&r[i]));
}

static void read_and_check(uint64_t pos, uint32_t len, uint32_t ask_slot,
			   unsigned int first, uint64_t offset)
{
	struct placed done;
	unsigned int slot;
	uint64_t in;

	done = placed_io(r, READ_CMD, pos, len, ask_slot, offset, 0);
	CHECK_EQ(done.res, len);
	at(offset, first, &slot, &in);
	CHECK_EQ(done.slot, slot);
	CHECK_EQ(done.offset, in);
	check(offset, first, pos, len, SEED);
}

TEST(a_large_read_goes_round_the_buffers)
{
	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	refused_begin();
	read_and_check(POS, 1 * MIB, SLOT_ANY, 0, 0);
	read_and_check(POS, 4 * MIB, SLOT_ANY, 0, 0);
	refused_end(0, 0);
}

TEST(a_read_may_start_and_end_in_the_middle_of_chunks)
{
	static const struct {
		uint64_t offset;
		uint32_t len;
	} io[] = {
		{ 512, 512 }, { CHUNK - 512, 1024 }, { CHUNK, CHUNK },
		{ 3 * CHUNK + 4096, 300 * KIB }, { 2 * CHUNK - 4096, 8192 },
		{ 4 * MIB - 512, 512 }, { 7 * CHUNK + 1536, 5 * CHUNK },
		{ 1 * MIB + 20 * KIB, 2 * MIB + 512 },
	};
	unsigned int i;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	for (i = 0; i < ARRAY_SIZE(io); i++)
		read_and_check(POS + i * 512, io[i].len, SLOT_ANY, 0,
			       io[i].offset);
}

TEST(a_write_takes_the_bytes_from_where_a_read_puts_them)
{
	static const uint64_t offsets[] = { 0, 3 * CHUNK - 512 };
	unsigned int i;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint64_t pos = POS + 8 * MIB + i * MIB;
		struct placed done;

		rig_fill_disk(r, pos, 1 * MIB, SEED);
		fill(offsets[i], 0, pos, 512 * KIB, SEED + 1);
		done = placed_io(r, WRITE_CMD, pos, 512 * KIB, SLOT_ANY,
				 offsets[i], 0);
		CHECK_EQ(done.res, 512 * KIB);
		CHECK_EQ(rig_check_disk(r, pos, 512 * KIB, SEED + 1), 0);
		CHECK_EQ(rig_check_disk(r, pos + 512 * KIB, 512 * KIB, SEED),
			 0);
	}
}

TEST(many_striped_reads_run_at_once)
{
	const unsigned int nr = 32, len = 4 * MIB / 32;
	unsigned int i, round;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	for (round = 0; round < 5; round++) {
		for (i = 0; i < nr; i++) {
			struct io_uring_sqe *sqe;

			sqe = placed_sqe(r, READ_CMD, POS + i * len, len,
					 SLOT_ANY, i * len, 0);
			sqe->user_data = i;
		}
		CHECK_EQ(io_uring_submit(&rig_uring), nr);
		for (i = 0; i < nr; i++)
			CHECK_EQ(placed_reap().res, len);
		check(0, 0, POS, 4 * MIB, SEED);
	}
}

TEST(slots_that_are_not_bound_are_left_out)
{
	static const unsigned int bound[] = { 0, 2, 3 };

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	CHECK_EQ(blkdmabuf_unbind(r[0].chan, 1), 0);
	use_slots(3, bound);
	read_and_check(POS, 2 * MIB, SLOT_ANY, 0, 0);
}

TEST(the_knob_width_says_how_many_slots)
{
	static const unsigned int two[] = { 0, 1 };

	set_up();
	load(CHUNK, 2, false);
	select_stripe();
	use_slots(2, two);
	read_and_check(POS, 1 * MIB, SLOT_ANY, 0, 0);
}

TEST(an_io_that_names_a_slot_goes_there)
{
	struct placed done;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	done = placed_io(r, READ_CMD, POS, 512 * KIB, 2, 4096, 0);
	CHECK_EQ(done.res, 512 * KIB);
	CHECK_EQ(done.slot, 2);
	CHECK_EQ(done.offset, 4096);
	CHECK_EQ(rig_check(&r[2], 4096, POS, 512 * KIB, SEED), 0);
	memset(r[2].mem + 4096, POISON, 512 * KIB);
	CHECK(rig_untouched(&r[0]) && rig_untouched(&r[1]) &&
	      rig_untouched(&r[2]) && rig_untouched(&r[3]));
}

TEST(the_knob_named_spreads_it_from_there)
{
	set_up();
	load(CHUNK, 0, true);
	select_stripe();
	read_and_check(POS, 1 * MIB, 2, 2, 0);
	read_and_check(POS, 100 * KIB, 3, 3, 60 * KIB);
	read_and_check(POS, 1 * MIB, SLOT_ANY, 0, 0);
}

TEST(what_goes_behind_the_buffers_fails_as_the_policys_fault)
{
	struct placed done;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	refused_begin();
	done = placed_io(r, READ_CMD, POS, CHUNK, SLOT_ANY, 4 * MIB, 0);
	CHECK_EQ(done.res, -ERANGE);
	refused_end(BLK_DMABUF_POLICY_RANGE, 1);
	check(0, 0, POS, 0, SEED);
}

TEST(a_channel_without_buffers_gets_an_error)
{
	struct rig empty;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	empty = r[0];
	empty.chan = blkdmabuf_channel(r[0].bdev);
	CHECK(empty.chan >= 0);
	CHECK_EQ(placed_io(&empty, READ_CMD, POS, CHUNK, SLOT_ANY, 0, 0).res,
		 -ENOENT);
}

TEST(a_chunk_of_no_whole_blocks_is_refused)
{
	set_up();
	load(1000, 0, false);
	CHECK_EQ(policy_select(r[0].bdev, "stripe"), -EINVAL);
	CHECK(policy_is(r[0].bdev, "none"));
}

/* Each piece would go somewhere else; a policy that looks at the first is wrong. */
TEST(an_io_in_pieces_is_refused_and_moves_nothing)
{
	struct blk_dmabuf_vec vecs[] = {
		{ .offset = 0, .len = CHUNK, .slot = BLK_DMABUF_SLOT_ANY },
		{ .offset = 4 * CHUNK, .len = CHUNK,
		  .slot = BLK_DMABUF_SLOT_ANY },
	};
	struct io_uring_sqe *sqe;
	unsigned int i;

	set_up();
	load(CHUNK, 0, false);
	select_stripe();
	sqe = rig_sqe(&r[0], BLK_DMABUF_CMD_READV, POS, 0, 0);
	blkdmabuf_prep_readv(sqe, r[0].chan, POS, vecs, 2, 0);
	CHECK_EQ(rig_run(), -EOPNOTSUPP);
	for (i = 0; i < NR; i++)
		CHECK_EQ(poison_check(r[i].mem, r[i].size, NULL), 0);
	/* What names a slot is not the policy's. */
	vecs[0].slot = vecs[1].slot = 2;
	sqe = rig_sqe(&r[0], BLK_DMABUF_CMD_READV, POS, 0, 0);
	blkdmabuf_prep_readv(sqe, r[0].chan, POS, vecs, 2, 0);
	CHECK_EQ(rig_run(), 2 * CHUNK);
}

TEST(attach_io_detach_io)
{
	struct bpf_link *link;

	set_up();
	CHECK_EQ(placed_io(r, READ_CMD, POS, CHUNK, SLOT_ANY, 0, 0).res,
		 -ENOENT);
	s = stripe__open();
	CHECK(s);
	s->rodata->chunk = CHUNK;
	CHECK_EQ(stripe__load(s), 0);
	link = policy_attach(s->maps.stripe);
	select_stripe();
	read_and_check(POS, 1 * MIB, SLOT_ANY, 0, 0);
	CHECK_EQ(bpf_link__destroy(link), 0);
	CHECK(policy_is(r[0].bdev, "none"));
	CHECK(!policy_listed(r[0].bdev, "stripe"));
	CHECK_EQ(placed_io(r, READ_CMD, POS, CHUNK, SLOT_ANY, 0, 0).res,
		 -ENOENT);
	check(0, 0, POS, 0, SEED);
	CHECK_EQ(placed_io(r, READ_CMD, POS, CHUNK, 1, 0, 0).res, CHUNK);
	CHECK_EQ(rig_check(&r[1], 0, POS, CHUNK, SEED), 0);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
