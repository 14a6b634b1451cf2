// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool: a chunk is handed out to one reader at a time, comes back when it is
 * given back, by its consumer or by a read that failed, and never otherwise.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>

#include "policy.h"
#include "pool.skel.h"

#define SIZE	(512 * KIB)
#define CHUNK	(32 * KIB)
#define PER_BUF	(SIZE / CHUNK)
#define NR	(2 * PER_BUF)
#define POS	(16 * MIB)
#define SEED	31

/* As in bpf/pool.bpf.c. */
struct pool_token {
	uint32_t	id;
	uint32_t	resv;
	uint64_t	offset;
};

static struct pool *p;
static struct user_ring_buffer *returns;
static struct rig r[2];
static bool taken[2][PER_BUF];

static void load(bool wait)
{
	p = pool__open();
	CHECK(p);
	p->rodata->chunk = CHUNK;
	p->rodata->wait = wait;
	CHECK_EQ(pool__load(p), 0);
	policy_attach(p->maps.pool);
	returns = user_ring_buffer__new(bpf_map__fd(p->maps.returns), NULL);
	CHECK(returns);
}

static void set_up(bool wait)
{
	load(wait);
	rig_up_slots(r, 2, "disk0", SIZE);
	rig_fill_disk(r, POS, 4 * MIB, SEED);
	CHECK_EQ(policy_select(r[0].bdev, "pool"), 0);
}

/* Tell the policy, without looking at what we know. */
static void send_token(uint32_t id, uint64_t offset)
{
	struct pool_token *token;

	token = user_ring_buffer__reserve(returns, sizeof(*token));
	CHECK(token);
	*token = (struct pool_token) { .id = id, .offset = offset };
	user_ring_buffer__submit(returns, token);
}

static void give(unsigned int slot, unsigned int chunk)
{
	CHECK(taken[slot][chunk]);
	taken[slot][chunk] = false;
	memset(r[slot].mem + chunk * CHUNK, POISON, CHUNK);
	send_token(r[slot].id, chunk * CHUNK);
}

/* A read came back: nobody else has its chunk, and its data is there. */
static void take(struct placed *done, uint64_t pos, uint32_t len)
{
	unsigned int chunk = done->offset / CHUNK;

	CHECK_EQ(done->res, len);
	CHECK(done->slot < 2);
	CHECK(chunk < PER_BUF);
	CHECK_EQ(done->offset % CHUNK, 0);
	CHECK(!taken[done->slot][chunk]);
	taken[done->slot][chunk] = true;
	CHECK_EQ(rig_check(&r[done->slot], done->offset, pos, len, SEED), 0);
	CHECK_EQ(poison_check(r[done->slot].mem + done->offset + len,
			      CHUNK - len, NULL), 0);
}

static struct placed read_one(uint64_t pos, uint32_t len)
{
	return placed_io(r, READ_CMD, pos, len, SLOT_ANY, 0, 0);
}

static void take_one(uint64_t pos, uint32_t len)
{
	struct placed done = read_one(pos, len);

	take(&done, pos, len);
}

static void take_all(void)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		take_one(POS + i * CHUNK, CHUNK);
}

TEST(each_chunk_is_handed_out_once)
{
	struct io_uring_sqe *sqe;
	struct placed done;
	unsigned int i;

	set_up(false);
	for (i = 0; i < NR; i++) {
		sqe = placed_sqe(r, READ_CMD, POS + i * CHUNK, CHUNK, SLOT_ANY,
				 0, 0);
		sqe->user_data = i;
	}
	CHECK_EQ(io_uring_submit(&rig_uring), NR);
	for (i = 0; i < NR; i++) {
		done = placed_reap();
		take(&done, POS + done.user * CHUNK, CHUNK);
	}
	CHECK_EQ(p->bss->nr_taken, NR);
	CHECK_EQ(p->bss->nr_given, 0);
}

TEST(with_nothing_free_a_read_fails_and_touches_nothing)
{
	set_up(false);
	take_all();
	refused_begin();
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	refused_end(BLK_DMABUF_POLICY_REFUSED, 1);
	CHECK_EQ(p->bss->nr_empty, 1);
}

TEST(by_knob_it_is_asked_to_come_back)
{
	set_up(true);
	take_all();
	CHECK_EQ(read_one(POS, CHUNK).res, -EAGAIN);
	give(1, 3);
	take_one(POS, CHUNK);
	CHECK_EQ(read_one(POS, CHUNK).res, -EAGAIN);
}

TEST(what_is_given_back_first_is_handed_out_first)
{
	static const unsigned int order[] = { 5, 2, 7, 0, 11 };
	struct placed done;
	unsigned int i;

	set_up(false);
	take_all();
	for (i = 0; i < ARRAY_SIZE(order); i++)
		give(0, order[i]);
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		done = read_one(POS + i * CHUNK, CHUNK);
		take(&done, POS + i * CHUNK, CHUNK);
		CHECK_EQ(done.slot, 0);
		CHECK_EQ(done.offset, order[i] * CHUNK);
	}
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	CHECK_EQ(p->bss->nr_given, ARRAY_SIZE(order));
	CHECK_EQ(p->bss->nr_bad, 0);
}

TEST(a_short_read_gets_a_whole_chunk)
{
	set_up(false);
	take_one(POS, 512);
	take_one(POS + 4096, 8192);
	CHECK_EQ(p->bss->nr_taken, 2);
}

TEST(tokens_that_make_no_sense_change_nothing)
{
	unsigned int i;

	set_up(false);
	take_all();
	send_token(r[0].id, 1);
	send_token(r[0].id, SIZE);
	send_token(r[0].id, ~0ULL);
	send_token(r[0].id, 4096ULL * CHUNK);
	send_token(r[0].id + 1000, 0);
	send_token(0, 0);
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	CHECK_EQ(p->bss->nr_bad, 6);
	/* Twice the same one. */
	give(0, 4);
	for (i = 0; i < 3; i++)
		send_token(r[0].id, 4 * CHUNK);
	take_one(POS, CHUNK);
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	CHECK_EQ(p->bss->nr_given, 1);
	CHECK_EQ(p->bss->nr_bad, 9);
}

TEST(a_token_that_is_too_short_changes_nothing)
{
	set_up(false);
	take_all();
	user_ring_buffer__submit(returns,
				 user_ring_buffer__reserve(returns, 4));
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	CHECK_EQ(p->bss->nr_bad, 1);
}

TEST(a_read_that_fails_gives_its_chunk_back)
{
	unsigned int i;

	set_up(false);
	for (i = 0; i < 3 * NR; i++) {
		CHECK_EQ(read_one(POS + 1, CHUNK).res, -EINVAL);
		CHECK_EQ(read_one(1ULL << 40, CHUNK).res, 0);
	}
	CHECK_EQ(p->bss->nr_given, p->bss->nr_taken);
	take_all();
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
}

TEST(a_read_that_must_wait_for_a_mapping_takes_one_chunk)
{
	unsigned int i;

	load(false);
	rig_up(r, "disk0", SIZE);
	rig_up_slot(&r[1], r, SIZE);
	rig_fill_disk(r, POS, 4 * MIB, SEED);
	CHECK_EQ(policy_select(r[0].bdev, "pool"), 0);
	for (i = 0; i < 4; i++) {
		take_one(POS + i * CHUNK, CHUNK);
		CHECK_EQ(p->bss->nr_taken - p->bss->nr_given, i + 1);
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r[0].id), 0);
	}
	/* It is issued again without asking the policy again. */
	CHECK_EQ(p->bss->nr_taken, 4);
	CHECK_EQ(p->bss->nr_given, 0);
}

TEST(a_read_larger_than_a_chunk_is_refused)
{
	set_up(false);
	CHECK_EQ(read_one(POS, CHUNK + 512).res, -EMSGSIZE);
	CHECK_EQ(p->bss->nr_taken, 0);
}

TEST(a_write_has_to_say_where_from)
{
	set_up(false);
	CHECK_EQ(placed_io(r, WRITE_CMD, POS, CHUNK, SLOT_ANY, 0, 0).res,
		 -EINVAL);
	CHECK_EQ(rig_check_disk(r, POS, CHUNK, SEED), 0);
	rig_fill(&r[1], CHUNK, POS, CHUNK, SEED + 1);
	CHECK_EQ(placed_io(r, WRITE_CMD, POS, CHUNK, 1, CHUNK, 0).res, CHUNK);
	CHECK_EQ(rig_check_disk(r, POS, CHUNK, SEED + 1), 0);
	CHECK_EQ(p->bss->nr_taken, 0);
}

TEST(two_channels_share_the_pool_of_a_buffer)
{
	struct rig other;
	struct placed done;
	unsigned int i;

	set_up(false);
	other = r[0];
	other.chan = blkdmabuf_channel(r[0].bdev);
	CHECK(other.chan >= 0);
	/* In the other order, so that a slot is not taken for a buffer. */
	CHECK_EQ(blkdmabuf_bind(other.chan, r[1].dmabuf, 0, NULL), 0);
	CHECK_EQ(blkdmabuf_bind(other.chan, r[0].dmabuf, 1, NULL), 1);
	for (i = 0; i < NR / 2; i++) {
		take_one(POS, CHUNK);
		done = placed_io(&other, READ_CMD, POS, CHUNK, SLOT_ANY, 0, 0);
		done.slot = !done.slot;
		take(&done, POS, CHUNK);
	}
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
	CHECK_EQ(placed_io(&other, READ_CMD, POS, CHUNK, SLOT_ANY, 0, 0).res,
		 -ENOBUFS);
}

TEST(chunks_go_round_for_ever)
{
	unsigned int flying = 0, nr = 0, back = 0, slot, chunk, i;
	struct io_uring_sqe *sqe;
	struct placed done;
	uint64_t pos;

	srand(1);
	set_up(true);
	while (nr < 4000) {
		while (flying < NR - 4) {
			pos = POS + rand() % 64 * 4096;
			sqe = placed_sqe(r, READ_CMD, pos, CHUNK, SLOT_ANY, 0,
					 0);
			sqe->user_data = pos;
			flying++;
		}
		CHECK(io_uring_submit(&rig_uring) >= 0);
		done = placed_reap();
		flying--;
		if (done.res == -EAGAIN)
			back++;
		else
			take(&done, done.user, CHUNK), nr++;
		/* Give some back, in no order, often none. */
		for (i = 0; i < 2; i++) {
			slot = rand() % 2;
			chunk = rand() % PER_BUF;
			if (taken[slot][chunk])
				give(slot, chunk);
		}
	}
	for (; flying; flying--) {
		done = placed_reap();
		if (done.res != -EAGAIN)
			take(&done, done.user, CHUNK);
	}
	printf("# %u reads, %u times asked to come back\n", nr, back);
	CHECK_EQ(p->bss->nr_bad, 0);
}

/* What the readers of the next test share. */
struct readers {
	pthread_mutex_t	lock;	/* the ring has one producer at a time */
	int		taken[2][PER_BUF];
};

static void reader(struct readers *all, unsigned int seed)
{
	unsigned int nr = 0, chunk;
	struct placed done;
	uint64_t pos;

	srand(seed);
	while (nr < 500) {
		pos = POS + rand() % 64 * 4096;
		done = read_one(pos, CHUNK);
		if (done.res == -EAGAIN)
			continue;
		CHECK_EQ(done.res, CHUNK);
		chunk = done.offset / CHUNK;
		CHECK(!__atomic_exchange_n(&all->taken[done.slot][chunk], 1,
					   __ATOMIC_SEQ_CST));
		CHECK_EQ(rig_check(&r[done.slot], done.offset, pos, CHUNK,
				   SEED), 0);
		nr++;
		/* Hold some for a while: then there is not enough. */
		if (rand() % 4 == 0)
			sched_yield();
		memset(r[done.slot].mem + done.offset, POISON, CHUNK);
		__atomic_store_n(&all->taken[done.slot][chunk], 0,
				 __ATOMIC_SEQ_CST);
		pthread_mutex_lock(&all->lock);
		send_token(r[done.slot].id, done.offset);
		pthread_mutex_unlock(&all->lock);
	}
}

TEST(readers_on_all_cpus_never_share_a_chunk)
{
	pthread_mutexattr_t attr;
	struct readers *all;
	unsigned int i;
	int status;

	set_up(true);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(all != MAP_FAILED);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&all->lock, &attr);
	/* So few that eight readers run out of them. */
	for (i = 0; i < NR - 5; i++)
		take_one(POS, CHUNK);
	io_uring_queue_exit(&rig_uring);
	memset(&rig_uring, 0, sizeof(rig_uring));
	for (i = 0; i < 8; i++) {
		if (!fork()) {
			reader(all, i);
			_exit(0);
		}
	}
	for (i = 0; i < 8; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	printf("# %llu times asked to come back\n",
	       (unsigned long long)p->bss->nr_empty);
	CHECK_EQ(p->bss->nr_bad, 0);
	/* None got lost: as many as there were can be had again. */
	for (i = 0; i < 5; i++)
		take_one(POS, CHUNK);
	CHECK_EQ(read_one(POS, CHUNK).res, -EAGAIN);
}

TEST(attach_io_detach_io)
{
	set_up(false);
	take_one(POS, CHUNK);
	CHECK_EQ(policy_select(r[0].bdev, "none"), 0);
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOENT);
	CHECK_EQ(rig_io(r, READ_CMD, POS, CHUNK, 5 * CHUNK), CHUNK);
	CHECK_EQ(rig_check(r, 5 * CHUNK, POS, CHUNK, SEED), 0);
	memset(r[0].mem + 5 * CHUNK, POISON, CHUNK);
	/* Who is selected again remembers what was handed out. */
	CHECK_EQ(policy_select(r[0].bdev, "pool"), 0);
	CHECK_EQ(p->bss->nr_taken, 1);
	for (unsigned int i = 1; i < NR; i++)
		take_one(POS, CHUNK);
	CHECK_EQ(read_one(POS, CHUNK).res, -ENOBUFS);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
