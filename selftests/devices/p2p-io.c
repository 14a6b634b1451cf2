// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of another device: the kernel says which way I/O takes, every byte
 * arrives in both directions (the host looks, too), a way that would lose data is
 * refused, and memory that is taken away during I/O neither hangs it nor leads it
 * anywhere else.
 *
 * vm: tag=strict p2p
 * vm: tag=lazy p2p iommu=lazy
 * vm: tag=passthrough p2p iommu=passthrough
 * vm: tag=off p2p iommu=off append=vfio.enable_unsafe_noiommu_mode=1
 * vm: tag=switch switch
 * vm: tag=switch-lazy switch iommu=lazy
 * vm: tag=switch-passthrough switch iommu=passthrough
 */
#include "peer.h"

#define POS	(8 * MIB)
#define SEED	71

/* ---- where the test runs, which the VM's command line says ---- */

static unsigned int iommu_mode(void)
{
	static const struct {
		const char	*word;
		unsigned int	mode;
	} modes[] = {
		{ "iommu.strict=1", BLK_DMABUF_IOMMU_STRICT },
		{ "iommu.strict=0", BLK_DMABUF_IOMMU_LAZY },
		{ "iommu.passthrough=1", BLK_DMABUF_IOMMU_PASSTHROUGH },
		{ "intel_iommu=off", BLK_DMABUF_IOMMU_OFF },
	};
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "re");
	size_t i;

	CHECK(f && fgets(line, sizeof(line), f));
	fclose(f);
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		if (strstr(line, modes[i].word))
			return modes[i].mode;
	return BLK_DMABUF_IOMMU_UNKNOWN;
}

static bool translated(void)
{
	return iommu_mode() == BLK_DMABUF_IOMMU_STRICT ||
	       iommu_mode() == BLK_DMABUF_IOMMU_LAZY;
}

/* A port of TI's XIO3130. */
static bool below_switch(void)
{
	char *port = peer_find("0x8233");
	bool found = port;

	free(port);
	return found;
}

static unsigned int expected_path(void)
{
	if (!below_switch())
		return BLK_DMABUF_PATH_P2P_HOST_BRIDGE;
	return translated() ? BLK_DMABUF_PATH_REFUSED :
			      BLK_DMABUF_PATH_P2P_SWITCH;
}

static bool works(void)
{
	return expected_path() != BLK_DMABUF_PATH_REFUSED;
}

static void need_working(void)
{
	if (!works())
		tap_skip("a path to the peer");
}

static struct blk_dmabuf_info info_of(uint32_t id)
{
	struct blk_dmabuf_info info;

	CHECK_EQ(blkdmabuf_info(rig_ctl, id, &info), 0);
	return info;
}

static void set_up(struct rig *r, uint64_t size)
{
	peer_rig(r, "disk0", size);
	rig_register(r);
	rig_bind(r);
}

/* ---- what is told ---- */

TEST(the_path_to_a_peer_is_told)
{
	struct blk_dmabuf_info info;
	struct rig r;

	set_up(&r, 1 * MIB);
	info = info_of(r.id);
	CHECK_EQ(info.path, BLK_DMABUF_PATH_NONE);
	CHECK_EQ(info.iommu, iommu_mode());
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), works() ? 0 : -EOPNOTSUPP);
	info = info_of(r.id);
	CHECK_EQ(info.path, expected_path());
	CHECK_EQ(info.iommu, iommu_mode());
	CHECK_EQ(info.provider_domain, 0);
	CHECK_EQ(info.provider, peer_id());
	CHECK_EQ(info.provider_bar, PEER_BAR);
	if (below_switch()) {
		/* Up, up, down, down; these ports have no ACS. */
		CHECK_EQ(info.distance, 4);
		CHECK(!(info.flags & BLK_DMABUF_F_ACS));
	} else {
		CHECK(info.distance > 0);
	}
	CHECK_EQ(!!(info.flags & BLK_DMABUF_F_P2P), works());
	CHECK_EQ(info.reason, works() ? BLK_DMABUF_OK : BLK_DMABUF_SWITCH);
}

TEST(the_path_to_system_memory_is_told)
{
	struct blk_dmabuf_info info;
	struct rig r;

	rig_up(&r, "disk0", 1 * MIB);
	CHECK_EQ(info_of(r.id).path, BLK_DMABUF_PATH_NONE);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	info = info_of(r.id);
	CHECK_EQ(info.path, BLK_DMABUF_PATH_PREMAPPED);
	CHECK_EQ(info.iommu, iommu_mode());
	CHECK_EQ(info.provider, 0);
	CHECK_EQ(info.distance, 0);
	/* Nothing is claimed of what is not mapped. */
	CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
	CHECK_EQ(info_of(r.id).path, BLK_DMABUF_PATH_NONE);
	CHECK_EQ(info_of(r.id).iommu, iommu_mode());
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(rig_info(&r).path, BLK_DMABUF_PATH_NONE);
}

TEST(a_trial_takes_no_number_that_others_would_get)
{
	struct blk_dmabuf_attach reg;
	struct rig r;
	uint32_t id;

	rig_up(&r, "disk0", 1 * MIB);
	id = r.id;
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	CHECK_EQ(blkdmabuf_register_flags(rig_ctl, r.bdev, r.dmabuf,
					  BLK_DMABUF_ATTACH_TRIAL, &reg), 0);
	CHECK(reg.id >= 1U << 30);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, reg.id), 0);
	rig_register(&r);
	CHECK_EQ(r.id, id + 1);
}

/* ---- bytes ---- */

static const uint32_t lengths[] = { 4 * KIB, 68 * KIB, 512 * KIB, 1 * MIB };

TEST(each_byte_arrives_in_the_peer)
{
	uint64_t offset = 0;
	struct rig r;
	size_t i;

	need_working();
	set_up(&r, PEER_SIZE);
	rig_fill_disk(&r, POS, 1 * MIB, SEED);
	for (i = 0; i < ARRAY_SIZE(lengths); i++, offset += 3 * MIB + PAGE) {
		memset(r.mem, POISON, r.size);
		CHECK_EQ(rig_io(&r, READ_CMD, POS, lengths[i], offset),
			 lengths[i]);
		CHECK_EQ(rig_check(&r, offset, POS, lengths[i], SEED), 0);
		CHECK_EQ(peer_check_host(offset, POS, lengths[i], SEED), 0);
		CHECK_EQ(poison_check(r.mem, offset, NULL), 0);
		CHECK_EQ(poison_check(r.mem + offset + lengths[i],
				      r.size - offset - lengths[i], NULL), 0);
	}
}

TEST(each_byte_arrives_from_the_peer)
{
	uint64_t offset = 0;
	struct rig r;
	size_t i;

	need_working();
	set_up(&r, PEER_SIZE);
	for (i = 0; i < ARRAY_SIZE(lengths); i++, offset += 3 * MIB + PAGE) {
		rig_fill_disk(&r, POS - PAGE, 1 * MIB + 2 * PAGE, SEED + i);
		rig_fill(&r, offset, POS, lengths[i], SEED + 10 + i);
		CHECK_EQ(peer_check_host(offset, POS, lengths[i],
					 SEED + 10 + i), 0);
		CHECK_EQ(rig_io(&r, WRITE_CMD, POS, lengths[i], offset),
			 lengths[i]);
		CHECK_EQ(rig_check_disk(&r, POS, lengths[i], SEED + 10 + i), 0);
		CHECK_EQ(rig_check_disk(&r, POS - PAGE, PAGE, SEED + i), 0);
		CHECK_EQ(rig_check_disk(&r, POS + lengths[i], PAGE, SEED + i),
			 0);
	}
}

TEST(parts_of_a_BAR_make_one_buffer_in_their_order)
{
	static const struct blkdmabuf_vfio_range parts[] = {
		{ 8 * MIB, 256 * KIB }, { 2 * MIB, 64 * KIB },
		{ 12 * MIB, 704 * KIB },
	};
	uint64_t pos = POS;
	struct rig r;
	size_t i;

	need_working();
	peer_rig(&r, "disk0", 1 * MIB);
	close(r.dmabuf);
	r.dmabuf = blkdmabuf_vfio_dmabuf(peer_device, PEER_BAR, parts,
					 ARRAY_SIZE(parts));
	CHECK(r.dmabuf >= 0);
	rig_register(&r);
	rig_bind(&r);
	/* Linux 7.3 links each range to the same I/O virtual address. */
	if (blkdmabuf_map(rig_ctl, r.id) == -EADDRINUSE)
		tap_skip("mapping several ranges behind the IOMMU");
	rig_fill_disk(&r, POS, 1 * MIB, SEED);
	memset(r.mem, POISON, PEER_SIZE);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, 1 * MIB, 0), 1 * MIB);
	for (i = 0; i < ARRAY_SIZE(parts); pos += parts[i++].length) {
		CHECK_EQ(rig_check(&r, parts[i].offset, pos, parts[i].length,
				   SEED), 0);
		CHECK_EQ(peer_check_host(parts[i].offset, pos, parts[i].length,
					 SEED), 0);
		CHECK_EQ(poison_check(r.mem + parts[i].offset - PAGE, PAGE,
				      NULL), 0);
	}
	CHECK_EQ(info_of(r.id).path, expected_path());
	CHECK_EQ(info_of(r.id).bytes, 1 * MIB);
}

/* ---- what is refused ---- */

/* QEMU's NVMe reports success where the IOMMU faults: the log tells, too. */
TEST(a_switch_that_may_lose_data_is_refused_both_ways)
{
	struct rig r;

	if (works())
		tap_skip("a switch below an IOMMU that translates");
	set_up(&r, 1 * MIB);
	memset(r.mem, POISON, r.size);
	rig_fill_disk(&r, POS, 64 * KIB, SEED);
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, POS, 64 * KIB, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_SWITCH, 1);
	CHECK_EQ(poison_check(r.mem, r.size, NULL), 0);
	refused_begin();
	CHECK_EQ(rig_io(&r, WRITE_CMD, POS, 64 * KIB, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_SWITCH, 1);
	CHECK_EQ(rig_check_disk(&r, POS, 64 * KIB, SEED), 0);
	CHECK_EQ(info_of(r.id).path, BLK_DMABUF_PATH_REFUSED);
	/* System memory is not concerned. */
	rig_up(&r, "disk0", 1 * MIB);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
	CHECK_EQ(rig_check(&r, 0, POS, 64 * KIB, SEED), 0);
}

TEST(a_channel_that_demands_a_peer_gets_that_or_the_reason)
{
	struct rig r, ram;
	int chan, slot;

	peer_rig(&r, "disk0", 1 * MIB);
	rig_register(&r);
	chan = blkdmabuf_channel_flags(r.bdev, BLK_DMABUF_CHANNEL_P2P);
	CHECK(chan >= 0);
	refused_begin();
	slot = blkdmabuf_bind(chan, r.dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	if (works()) {
		CHECK(slot >= 0);
		refused_end(BLK_DMABUF_OK, 0);
		r.chan = chan;
		r.slot = slot;
		rig_fill_disk(&r, POS, 64 * KIB, SEED);
		CHECK_EQ(rig_io(&r, READ_CMD, POS, 64 * KIB, 0), 64 * KIB);
		CHECK_EQ(rig_check(&r, 0, POS, 64 * KIB, SEED), 0);
	} else {
		CHECK_EQ(slot, -EOPNOTSUPP);
		refused_end(BLK_DMABUF_SWITCH, 1);
	}
	rig_up(&ram, "disk0", 1 * MIB);
	refused_begin();
	CHECK_EQ(blkdmabuf_bind(chan, ram.dmabuf, BLK_DMABUF_SLOT_ANY, NULL),
		 -EOPNOTSUPP);
	refused_end(BLK_DMABUF_NOT_P2P, 1);
	/* It cannot copy either, whoever may. */
	CHECK_EQ(blkdmabuf_channel_flags(r.bdev, BLK_DMABUF_CHANNEL_P2P |
					 BLK_DMABUF_CHANNEL_COPY), -EINVAL);
}

/* To copy takes a CPU mapping, which vfio-pci does not offer. */
TEST(what_is_refused_is_not_copied_without_being_asked_nor_without_means)
{
	struct rig r;
	int chan;

	if (works())
		tap_skip("a path that is refused");
	peer_rig(&r, "disk0", 1 * MIB);
	CHECK_EQ(blkdmabuf_register_flags(rig_ctl, r.bdev, r.dmabuf,
					  BLK_DMABUF_ATTACH_COPY, NULL), 0);
	rig_bind(&r);
	memset(r.mem, POISON, r.size);
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, POS, 4 * KIB, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_SWITCH, 1);
	chan = blkdmabuf_channel_flags(r.bdev, BLK_DMABUF_CHANNEL_COPY);
	CHECK(chan >= 0);
	r.slot = blkdmabuf_bind(chan, r.dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	r.chan = chan;
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, POS, 4 * KIB, 0), -EOPNOTSUPP);
	refused_end(BLK_DMABUF_NO_CPU, 1);
	CHECK_EQ(poison_check(r.mem, r.size, NULL), 0);
}

/* ---- taken away during I/O ---- */

#define ROUNDS	12
#define BATCH	32
#define PIECE	(64 * KIB)

static void submit_batch(struct rig *r, unsigned int op)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		rig_sqe(r, op, POS + i * PIECE, PIECE, i * PIECE)->user_data = i;
	CHECK_EQ(io_uring_submit(&rig_uring), BATCH);
}

/* Which ones succeeded; the others say that there is no memory, or the like. */
static uint32_t reap_batch(void)
{
	uint32_t good = 0;
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		struct rig_done done = rig_reap();

		if (done.res == (int)PIECE)
			good |= 1U << done.user;
		else
			CHECK(done.res == -ENODEV || done.res == -EOPNOTSUPP ||
			      done.res == -EIO);
	}
	return good;
}

static void check_reads(struct rig *r, uint32_t good, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++)
		if (good & (1U << i))
			CHECK_EQ(peer_check_host(i * PIECE, POS + i * PIECE,
						 PIECE, seed), 0);
	(void)r;
}

/* A write that failed may have been done, or not, but wrote nothing else. */
static void check_writes(struct rig *r, uint32_t good, uint64_t before,
			 uint64_t after)
{
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		size_t bad = rig_check_disk(r, POS + i * PIECE, PIECE, after);

		if (good & (1U << i))
			CHECK_EQ(bad, 0);
		else if (bad)
			CHECK_EQ(rig_check_disk(r, POS + i * PIECE, PIECE,
						before), 0);
	}
}

/*
 * Reads and writes in turn, with the memory gone in the middle of each, and all
 * of it right when it has come back.
 */
static void take_away(struct rig *r, void (*take)(void), void (*give)(void))
{
	uint64_t seed = SEED, generation = info_of(r->id).generation;
	unsigned int round;
	uint32_t good;

	for (round = 0; round < ROUNDS; round++, seed += 2) {
		rig_fill_disk(r, POS, BATCH * PIECE, seed);
		submit_batch(r, READ_CMD);
		sleep_ms(round);
		take();
		give();
		good = reap_batch();
		check_reads(r, good, seed);

		rig_fill(r, 0, POS, BATCH * PIECE, seed + 1);
		submit_batch(r, WRITE_CMD);
		sleep_ms(round);
		take();
		give();
		check_writes(r, reap_batch(), seed, seed + 1);

		CHECK_EQ(rig_io(r, READ_CMD, POS, PIECE, 0), PIECE);
		CHECK_EQ(info_of(r->id).path, expected_path());
	}
	CHECK(info_of(r->id).generation > generation + ROUNDS);
	CHECK(info_of(r->id).invalidations >= ROUNDS);
}

static void memory_off(void)
{
	peer_memory(false);
}

static void memory_on(void)
{
	peer_memory(true);
}

TEST(memory_access_is_switched_off_during_io)
{
	struct rig r;

	need_working();
	set_up(&r, BATCH * PIECE);
	take_away(&r, memory_off, memory_on);
}

static void reset(void)
{
	CHECK_EQ(ioctl(peer_device, VFIO_DEVICE_RESET), 0);
}

TEST(the_peer_is_reset_during_io)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct rig r;

	need_working();
	set_up(&r, BATCH * PIECE);
	CHECK_EQ(ioctl(peer_device, VFIO_DEVICE_GET_INFO, &info), 0);
	if (!(info.flags & VFIO_DEVICE_FLAGS_RESET))
		tap_skip("a way to reset the peer");
	take_away(&r, reset, memory_on);
}

/* While it is away I/O fails, and nothing goes anywhere. */
TEST(io_on_memory_that_is_away_fails)
{
	struct rig r;

	need_working();
	set_up(&r, BATCH * PIECE);
	rig_fill_disk(&r, POS, PIECE, SEED);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, PIECE, 0), PIECE);
	memory_off();
	refused_begin();
	CHECK_EQ(rig_io(&r, READ_CMD, POS, PIECE, 0), -ENODEV);
	CHECK_EQ(rig_io(&r, WRITE_CMD, POS, PIECE, PIECE), -ENODEV);
	refused_end(BLK_DMABUF_MAP_FAILED, 2);
	CHECK_EQ(info_of(r.id).path, BLK_DMABUF_PATH_REFUSED);
	CHECK_EQ(rig_check_disk(&r, POS, PIECE, SEED), 0);
	memory_on();
	CHECK_EQ(rig_io(&r, READ_CMD, POS, PIECE, 0), PIECE);
	CHECK_EQ(info_of(r.id).path, expected_path());
}

/* Its mapping holds the device open, too. */
static void close_device(struct rig *r)
{
	CHECK_EQ(munmap(r->mem, PEER_SIZE), 0);
	CHECK_EQ(close(peer_device), 0);
	peer_device = -1;
}

TEST(the_peer_is_closed_during_reads)
{
	struct rig r;

	need_working();
	set_up(&r, BATCH * PIECE);
	rig_fill_disk(&r, POS, BATCH * PIECE, SEED);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, PIECE, 0), PIECE);
	submit_batch(&r, READ_CMD);
	close_device(&r);
	check_reads(&r, reap_batch(), SEED);
	CHECK(rig_io(&r, READ_CMD, POS, PIECE, 0) < 0);
	CHECK_EQ(info_of(r.id).path, BLK_DMABUF_PATH_REFUSED);
}

TEST(the_peer_is_closed_during_writes)
{
	struct rig r;

	need_working();
	set_up(&r, BATCH * PIECE);
	rig_fill_disk(&r, POS, BATCH * PIECE, SEED);
	rig_fill(&r, 0, POS, BATCH * PIECE, SEED + 1);
	submit_batch(&r, WRITE_CMD);
	close_device(&r);
	check_writes(&r, reap_batch(), SEED, SEED + 1);
	CHECK(rig_io(&r, WRITE_CMD, POS, PIECE, 0) < 0);
	/* Whoever opens it again gets other dma-bufs. */
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
	close(r.bdev);
	set_up(&r, BATCH * PIECE);
	CHECK_EQ(rig_io(&r, READ_CMD, POS, PIECE, 0), PIECE);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
