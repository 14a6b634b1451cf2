// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands whose data is in pieces, scattered over a buffer: each byte is where the
 * array says, nothing else is touched, and the device gets one command where it
 * takes one.  What is no array of pieces is refused before anything is done.
 *
 * vm: files
 */
#include "fs.h"
#include "policy.h"
#include "selftests/bpf/puppet.skel.h"

#define DISK	"disk5"
#define BUF	(4 * MIB)
#define READV	BLK_DMABUF_CMD_READV
#define WRITEV	BLK_DMABUF_CMD_WRITEV

/* What pages of a network card are, with 1500 bytes on the wire. */
#define MSS	1448ULL

static int vec_io(struct rig *r, unsigned int op, uint64_t pos,
		  const struct blk_dmabuf_vec *vecs, unsigned int nr)
{
	struct io_uring_sqe *sqe = rig_sqe(r, op, 0, 0, 0);

	blkdmabuf_prep_readv(sqe, r->chan, pos, vecs, nr, 0);
	sqe->cmd_op = op;
	return rig_run();
}

static uint64_t vec_bytes(const struct blk_dmabuf_vec *vecs, unsigned int nr)
{
	uint64_t len = 0;

	while (nr--)
		len += vecs++->len;
	return len;
}

/* Put data that belongs to @pos and what follows it into the pieces. */
static void vec_fill(unsigned char *mem, const struct blk_dmabuf_vec *vecs,
		     unsigned int nr, uint64_t pos, uint64_t seed)
{
	uint64_t len = ALIGN(vec_bytes(vecs, nr), 8);
	unsigned char *all = malloc(len), *from = all;

	data_fill(all, pos, len, seed);
	for (; nr--; from += vecs++->len)
		memcpy(mem + vecs->offset, from, vecs->len);
	free(all);
}

/* Bytes of the pieces that are not that data. */
static size_t vec_check(const unsigned char *mem,
			const struct blk_dmabuf_vec *vecs, unsigned int nr,
			uint64_t pos, uint64_t seed)
{
	uint64_t len = ALIGN(vec_bytes(vecs, nr), 8), i;
	unsigned char *all = malloc(len), *want = all;
	size_t bad = 0;

	data_fill(all, pos, len, seed);
	for (; nr--; want += vecs++->len)
		for (i = 0; i < vecs->len; i++)
			bad += mem[vecs->offset + i] != want[i];
	free(all);
	return bad;
}

/* Bytes outside the pieces that are not poison any more; ends the buffer. */
static size_t vec_stray(struct rig *r, const struct blk_dmabuf_vec *vecs,
			unsigned int nr)
{
	size_t bad = 0;
	uint64_t i;

	for (; nr--; vecs++)
		memset(r->mem + vecs->offset, POISON, vecs->len);
	for (i = 0; i < r->size; i++)
		bad += r->mem[i] != POISON;
	return bad;
}

/* Reads or writes that the disk has done. */
static unsigned long long disk_commands(struct rig *r, bool write)
{
	unsigned long long n[5];
	struct stat st;
	char path[64];
	FILE *f;

	CHECK_EQ(fstat(r->bdev, &st), 0);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat",
		 major(st.st_rdev), minor(st.st_rdev));
	f = fopen(path, "r");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%llu %llu %llu %llu %llu", &n[0], &n[1], &n[2],
			&n[3], &n[4]), 5);
	fclose(f);
	return n[write ? 4 : 0];
}

/* @nr pieces of @len bytes, @stride apart, the last one first. */
static void backwards(struct rig *r, struct blk_dmabuf_vec *vecs,
		      unsigned int nr, uint32_t len, uint64_t stride)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		vecs[i] = (struct blk_dmabuf_vec) {
			.offset	= (nr - 1 - i) * stride,
			.len	= len,
			.slot	= r->slot,
		};
}

static void both_ways(struct rig *r, const struct blk_dmabuf_vec *vecs,
		      unsigned int nr)
{
	uint64_t len = vec_bytes(vecs, nr);
	unsigned long long before;

	rig_fill_disk(r, MIB, len, 1);
	before = disk_commands(r, false);
	CHECK_EQ(vec_io(r, READV, MIB, vecs, nr), len);
	CHECK_EQ(disk_commands(r, false) - before, 1);
	CHECK_EQ(vec_check(r->mem, vecs, nr, MIB, 1), 0);

	vec_fill(r->mem, vecs, nr, 2 * MIB, 2);
	before = disk_commands(r, true);
	CHECK_EQ(vec_io(r, WRITEV, 2 * MIB, vecs, nr), len);
	CHECK_EQ(disk_commands(r, true) - before, 1);
	CHECK_EQ(rig_check_disk(r, 2 * MIB, len, 2), 0);
	CHECK_EQ(vec_stray(r, vecs, nr), 0);
}

TEST(pages_from_all_over_a_buffer_are_one_command)
{
	struct blk_dmabuf_vec vecs[32];
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, 32, PAGE, 2 * PAGE);
	both_ways(&r, vecs, 32);
}

TEST(pieces_of_a_packet_each_are_one_command)
{
	struct blk_dmabuf_vec vecs[64];
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, 64, MSS, 2048);
	both_ways(&r, vecs, 64);
}

TEST(pieces_that_are_packed_into_pages_are_one_command)
{
	struct blk_dmabuf_vec vecs[64];
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, 64, MSS, ALIGN(MSS, 128));
	both_ways(&r, vecs, 64);
}

TEST(large_pieces_are_split_where_one_command_has_no_room)
{
	struct blk_dmabuf_vec vecs[8];
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, 8, 512 * KIB, 512 * KIB);
	rig_fill_disk(&r, MIB, BUF, 1);
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 8), BUF);
	CHECK_EQ(vec_check(r.mem, vecs, 8, MIB, 1), 0);
	vec_fill(r.mem, vecs, 8, 2 * MIB, 2);
	CHECK_EQ(vec_io(&r, WRITEV, 2 * MIB, vecs, 8), BUF);
	CHECK_EQ(rig_check_disk(&r, 2 * MIB, BUF, 2), 0);
}

TEST(as_many_pieces_as_there_may_be)
{
	static struct blk_dmabuf_vec vecs[BLK_DMABUF_MAX_VECS];
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, BLK_DMABUF_MAX_VECS, 516, 4096);
	/* 1024 pieces of 516 bytes: splits are within pieces. */
	rig_fill_disk(&r, MIB, vec_bytes(vecs, BLK_DMABUF_MAX_VECS), 1);
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, BLK_DMABUF_MAX_VECS),
		 vec_bytes(vecs, BLK_DMABUF_MAX_VECS));
	CHECK_EQ(vec_check(r.mem, vecs, BLK_DMABUF_MAX_VECS, MIB, 1), 0);
	CHECK_EQ(vec_stray(&r, vecs, BLK_DMABUF_MAX_VECS), 0);
}

/* Pieces that do not overlap, of any length, in any order. */
static unsigned int random_vecs(struct rig *r, struct blk_dmabuf_vec *vecs,
				unsigned int max)
{
	uint64_t offset = 0, total = 0;
	unsigned int nr = 0, i;

	do {
		offset += rand() % 2048 * 4;
		vecs[nr].offset = offset;
		vecs[nr].len = (1 + rand() % (rand() % 4 ? 512 : 16384)) * 4;
		vecs[nr].slot = r->slot;
		/* The last one makes it whole blocks. */
		if (nr == max - 1)
			vecs[nr].len = 512 + -total % 512;
		total += vecs[nr].len;
		offset += vecs[nr].len;
	} while (++nr < max);
	CHECK(offset <= r->size);
	for (i = 0; i < nr - 1; i++) {
		unsigned int k = i + rand() % (nr - i);
		struct blk_dmabuf_vec v = vecs[i];

		vecs[i] = vecs[k];
		vecs[k] = v;
	}
	return nr;
}

TEST(pieces_of_any_length_in_any_order)
{
	static struct blk_dmabuf_vec vecs[40];
	unsigned int round, nr;
	uint64_t len;
	struct rig r;

	rig_up(&r, DISK, BUF);
	srand(1);
	for (round = 0; round < 200; round++) {
		nr = random_vecs(&r, vecs, 1 + rand() % 40);
		len = vec_bytes(vecs, nr);
		if (round % 2) {
			rig_fill_disk(&r, MIB, len, round);
			CHECK_EQ(vec_io(&r, READV, MIB, vecs, nr), len);
			CHECK_EQ(vec_check(r.mem, vecs, nr, MIB, round), 0);
			CHECK_EQ(vec_stray(&r, vecs, nr), 0);
		} else {
			vec_fill(r.mem, vecs, nr, MIB, round);
			CHECK_EQ(vec_io(&r, WRITEV, MIB, vecs, nr), len);
			CHECK_EQ(rig_check_disk(&r, MIB, len, round), 0);
			CHECK_EQ(vec_stray(&r, vecs, nr), 0);
		}
	}
	CHECK_EQ(rig_info(&r).errors, 0);
}

/* The buffer moves below what is in flight. */
TEST(pieces_are_found_again_when_the_mapping_is_gone)
{
	struct blk_dmabuf_vec vecs[32];
	unsigned int round;
	struct rig r;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, 32, MSS * 4, 8192);
	rig_fill_disk(&r, MIB, vec_bytes(vecs, 32), 1);
	for (round = 0; round < 20; round++) {
		memset(r.mem, POISON, r.size);
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		CHECK_EQ(vec_io(&r, READV, MIB, vecs, 32),
			 vec_bytes(vecs, 32));
		CHECK_EQ(vec_check(r.mem, vecs, 32, MIB, 1), 0);
	}
	CHECK(rig_info(&r).retries >= 20);
}

/* Another buffer, on the same channel. */
static void second_buffer(struct rig *r, struct rig *other, uint64_t size)
{
	int slot;

	*other = *r;
	rig_buffer(other, size, false);
	rig_register(other);
	slot = blkdmabuf_bind(r->chan, other->dmabuf, BLK_DMABUF_SLOT_ANY,
			      NULL);
	CHECK(slot >= 0);
	other->slot = slot;
}

TEST(pieces_of_two_buffers)
{
	struct blk_dmabuf_vec vecs[24];
	struct rig r, other;
	unsigned int i;

	rig_up(&r, DISK, BUF);
	second_buffer(&r, &other, BUF);
	backwards(&r, vecs, 24, 8192, 16384);
	for (i = 8; i < 16; i++)
		vecs[i].slot = other.slot;
	rig_fill_disk(&r, MIB, 24 * 8192, 1);
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 24), 24 * 8192);
	CHECK_EQ(vec_check(r.mem, vecs, 8, MIB, 1), 0);
	CHECK_EQ(vec_check(other.mem, vecs + 8, 8, MIB + 8 * 8192, 1), 0);
	CHECK_EQ(vec_check(r.mem, vecs + 16, 8, MIB + 16 * 8192, 1), 0);
	CHECK_EQ(vec_stray(&other, vecs + 8, 8), 0);
	/* The share of each is whole blocks, or nothing is done. */
	vecs[15].len += 256;
	vecs[16].len -= 256;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 24), -EINVAL);
	memset(r.mem, POISON, r.size);
	CHECK_EQ(vec_io(&r, WRITEV, MIB, vecs, 24), -EINVAL);
	CHECK_EQ(rig_check_disk(&r, MIB, 24 * 8192, 1), 0);
	CHECK_EQ(poison_check(other.mem, other.size, NULL), 0);
}

/* ---- what is refused ---- */

static int raw_io(struct rig *r, uint64_t vecs, uint32_t nr, uint32_t len)
{
	struct io_uring_sqe *sqe = rig_sqe(r, READV, MIB, len, 0);
	struct blk_dmabuf_cmdv args = { .vecs = vecs, .nr = nr };

	memcpy(sqe->cmd, &args, sizeof(args));
	return rig_run();
}

TEST(what_is_no_array_of_pieces_is_refused)
{
	static struct blk_dmabuf_vec vecs[BLK_DMABUF_MAX_VECS + 1];
	struct rig r;
	void *gone;

	rig_up(&r, DISK, BUF);
	backwards(&r, vecs, BLK_DMABUF_MAX_VECS + 1, 512, 512);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 0, 512), -EINVAL);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, BLK_DMABUF_MAX_VECS + 1,
			(BLK_DMABUF_MAX_VECS + 1) * 512), -EINVAL);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, UINT32_MAX, 512), -EINVAL);
	/* The length that is told is another. */
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 4, 1536), -EINVAL);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 4, 2560), -EINVAL);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 4, 0), -EINVAL);
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 4, UINT32_MAX), -EINVAL);
	CHECK_EQ(raw_io(&r, 0, 4, 2048), -EFAULT);
	CHECK_EQ(raw_io(&r, UINT64_MAX - 8, 4, 2048), -EFAULT);
	/* The array ends in memory that is not there. */
	gone = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(gone != MAP_FAILED);
	CHECK_EQ(munmap((char *)gone + PAGE, PAGE), 0);
	memcpy((char *)gone + PAGE - 2 * sizeof(*vecs), vecs,
	       2 * sizeof(*vecs));
	CHECK_EQ(raw_io(&r, (uintptr_t)gone + PAGE - 2 * sizeof(*vecs), 2,
			1024), 1024);
	CHECK_EQ(raw_io(&r, (uintptr_t)gone + PAGE - 2 * sizeof(*vecs), 3,
			1536), -EFAULT);
	/* Lengths that overflow. */
	vecs[0].len = UINT32_MAX - 511;
	vecs[1].len = 1024;
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 2, 512), -EINVAL);
	vecs[0].len = 0;
	CHECK_EQ(raw_io(&r, (uintptr_t)vecs, 2, 1024), -EINVAL);
	CHECK_EQ(rig_info(&r).reads, 1);
}

TEST(pieces_that_are_not_there_or_not_aligned_are_refused)
{
	struct blk_dmabuf_vec vecs[2];
	struct rig r;

	rig_up(&r, DISK, BUF);
	CHECK_EQ(r.limits.vec_align, 4);
	backwards(&r, vecs, 2, 512, 512);
	vecs[1].offset = BUF - 256;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -ERANGE);
	vecs[1].offset = UINT64_MAX - 255;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -ERANGE);
	vecs[1].offset = BUF - 510;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -ERANGE);
	vecs[1].offset = 8190;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -EINVAL);
	vecs[1].offset = 8192;
	vecs[0].len = 510;
	vecs[1].len = 514;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -EINVAL);
	vecs[0].len = 508;
	vecs[1].len = 512;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -EINVAL);
	vecs[1].len = 516;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), 1024);
	vecs[1].slot = r.slot + 1;
	vecs[0].len = 512;
	vecs[1].len = 512;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -ENOENT);
	vecs[0].slot = BLK_DMABUF_SLOT_ANY;
	vecs[1].slot = BLK_DMABUF_SLOT_ANY;
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 2), -ENOENT);
}

/* ---- policies ---- */

static struct puppet *use_puppet(struct rig *r)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(r->bdev, "puppet"), 0);
	return p;
}

TEST(a_policy_sees_pieces_and_leaves_them_where_they_are)
{
	struct blk_dmabuf_vec vecs[16];
	struct puppet *p;
	struct rig r;

	rig_up(&r, DISK, BUF);
	p = use_puppet(&r);
	backwards(&r, vecs, 16, MSS * 4, 8192);
	vecs[15].len += 512 - vec_bytes(vecs, 16) % 512;
	both_ways(&r, vecs, 16);
	CHECK_EQ(p->bss->places, 2);
	CHECK_EQ(p->bss->placed.vecs, 16);
	CHECK_EQ(p->bss->completed.vecs, 16);
	CHECK_EQ(p->bss->placed.offset, vecs[0].offset);
}

TEST(a_policy_divides_what_is_in_pieces)
{
	struct blk_dmabuf_vec vecs[16];
	struct puppet *p;
	struct rig r;

	rig_up(&r, DISK, BUF);
	p = use_puppet(&r);
	p->data->step = 8192;
	backwards(&r, vecs, 16, 6144, 8192);
	rig_fill_disk(&r, MIB, 16 * 6144, 1);
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 16), 16 * 6144);
	CHECK_EQ(vec_check(r.mem, vecs, 16, MIB, 1), 0);
	CHECK_EQ(vec_stray(&r, vecs, 16), 0);
	CHECK(p->bss->places >= 12);
}

TEST(a_policy_that_chooses_another_place_chooses_one_piece)
{
	struct blk_dmabuf_vec vecs[16];
	struct puppet *p;
	struct rig r;

	rig_up(&r, DISK, BUF);
	p = use_puppet(&r);
	p->data->offset = MIB;
	backwards(&r, vecs, 16, 4096, 8192);
	rig_fill_disk(&r, MIB, 16 * 4096, 1);
	CHECK_EQ(vec_io(&r, READV, MIB, vecs, 16), 16 * 4096);
	CHECK_EQ(rig_check(&r, MIB, MIB, 16 * 4096, 1), 0);
	memset(r.mem + MIB, POISON, 16 * 4096);
	CHECK_EQ(vec_stray(&r, vecs, 0), 0);
}

/* ---- files ---- */

TEST(pieces_to_and_from_a_file)
{
	static struct fs fs = { .type = "ext4", .serial = DISK };
	struct blk_dmabuf_vec vecs[128];
	uint64_t len = 128 * MSS;
	struct rig r;

	fs_make(&fs);
	rig_up_file(&r, &fs, __func__, BUF);
	backwards(&r, vecs, 128, MSS, 2048);
	/* Whole blocks of the file system. */
	vecs[127].len = 4096 - 127 * MSS % 4096;
	len = vec_bytes(vecs, 128);
	vec_fill(r.mem, vecs, 128, 0, 1);
	CHECK_EQ(vec_io(&r, WRITEV, 0, vecs, 128), len);
	CHECK_EQ(rig_check_disk(&r, 0, len, 1), 0);
	memset(r.mem, POISON, r.size);
	CHECK_EQ(vec_io(&r, READV, 0, vecs, 128), len);
	CHECK_EQ(vec_check(r.mem, vecs, 128, 0, 1), 0);
	CHECK_EQ(vec_stray(&r, vecs, 128), 0);
	/* A hole: zeros go to the pieces as well. */
	CHECK_EQ(ftruncate(r.bdev, 0), 0);
	CHECK_EQ(ftruncate(r.bdev, len), 0);
	CHECK_EQ(vec_io(&r, READV, 0, vecs, 128), len);
	for (len = 0; len < MSS; len++)
		CHECK_EQ(r.mem[vecs[0].offset + len], 0);
	CHECK_EQ(vec_stray(&r, vecs, 128), 0);
	rig_down_file(&r);
	fs_umount(&fs);
	fs_check(&fs);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
