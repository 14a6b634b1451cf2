/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Load that does not care who places it: reads and writes through one channel
 * with two buffers, in lanes.  A lane has one I/O in flight, and a range of its
 * own in each buffer and on the disk.  Each completion must be due, name the
 * slot that holds its data, and have left the other buffer alone.
 */
#ifndef SELFTESTS_POLICY_LOAD_H
#define SELFTESTS_POLICY_LOAD_H

#include <pthread.h>

#include "policy.h"

#define LANES		64
#define LANE_LEN	(8 * KIB)
#define LOAD_SIZE	(LANES * LANE_LEN)
#define LOAD_SEED	23

struct load {
	struct rig	*r;	/* two buffers of LOAD_SIZE, in slots 0 and 1 */
	uint32_t	slot;	/* that the I/O names; may be SLOT_ANY */
	uint64_t	pos;	/* LOAD_SIZE to read, then as much to write */
	bool		errors;	/* of a device that goes away are fine */
	volatile bool	stop;
	volatile uint64_t ios;
	uint64_t	in_slot[2];
	uint64_t	failed;
	struct {
		bool		busy;
		bool		write;
		uint64_t	seed;
	} lane[LANES];
	pthread_t	thread;
};

static inline void load_prepare(struct load *l, const char *serial)
{
	rig_up_slots(l->r, 2, serial, LOAD_SIZE);
	CHECK_EQ(l->r[0].slot, 0);
	CHECK_EQ(l->r[1].slot, 1);
	rig_fill_disk(l->r, l->pos, LOAD_SIZE, LOAD_SEED);
}

static inline void load_start_lane(struct load *l, unsigned int n)
{
	uint64_t offset = n * LANE_LEN, pos = l->pos + offset;
	struct io_uring_sqe *sqe;
	unsigned int i;

	CHECK(!l->lane[n].busy);
	l->lane[n].busy = true;
	l->lane[n].write = (l->ios + n) % 4 == 0;
	l->lane[n].seed = LOAD_SEED + 2 + 2 * l->ios;
	if (l->lane[n].write)
		pos += LOAD_SIZE;
	for (i = 0; i < 2; i++) {
		if (l->lane[n].write)
			rig_fill(&l->r[i], offset, pos, LANE_LEN,
				 l->lane[n].seed + i);
		else
			memset(l->r[i].mem + offset, POISON, LANE_LEN);
	}
	sqe = placed_sqe(l->r, l->lane[n].write ? WRITE_CMD : READ_CMD, pos,
			 LANE_LEN, l->slot, offset, n);
	sqe->user_data = n;
}

/* What was read is where the completion says, and only there. */
static inline void load_check_read(struct load *l, unsigned int n,
				   unsigned int slot)
{
	uint64_t offset = n * LANE_LEN;

	CHECK_EQ(rig_check(&l->r[slot], offset, l->pos + offset, LANE_LEN,
			   LOAD_SEED), 0);
	CHECK_EQ(poison_check(l->r[!slot].mem + offset, LANE_LEN, NULL), 0);
}

/* What was written came from the slot that the completion names. */
static inline void load_check_write(struct load *l, unsigned int n,
				    unsigned int slot)
{
	uint64_t offset = n * LANE_LEN;

	CHECK_EQ(rig_check_disk(l->r, l->pos + LOAD_SIZE + offset, LANE_LEN,
				l->lane[n].seed + slot), 0);
}

static inline void load_reap(struct load *l, struct placed done)
{
	unsigned int n = done.user;

	CHECK(n < LANES);
	CHECK(l->lane[n].busy);
	l->lane[n].busy = false;
	if (done.res <= 0 && l->errors) {
		/* Without a size everything is behind the end of the disk. */
		if (done.res && done.res != -ENOSPC && done.res != -EIO &&
		    done.res != -ENODEV && done.res != -EOPNOTSUPP)
			tap_fail(__FILE__, __LINE__, "I/O: %s",
				 strerror(-done.res));
		l->failed++;
		return;
	}
	CHECK_EQ(done.res, LANE_LEN);
	CHECK_EQ(done.offset, n * LANE_LEN);
	CHECK(done.slot < 2);
	l->in_slot[done.slot]++;
	if (l->errors)
		return;	/* a disk that is gone cannot be compared with */
	if (l->lane[n].write)
		load_check_write(l, n, done.slot);
	else
		load_check_read(l, n, done.slot);
}

static inline void *load_run(void *arg)
{
	struct load *l = arg;
	unsigned int n, busy;
	struct placed done;

	for (busy = 0; busy < LANES; busy++)
		load_start_lane(l, busy);
	while (busy) {
		CHECK(io_uring_submit(&rig_uring) >= 0);
		placed_peek(&done, true);
		do {
			load_reap(l, done);
			l->ios++;
			n = done.user;
			if (l->stop)
				busy--;
			else
				load_start_lane(l, n);
		} while (busy && placed_peek(&done, false));
	}
	return NULL;
}

static inline void load_begin(struct load *l)
{
	CHECK_EQ(pthread_create(&l->thread, NULL, load_run, l), 0);
	CHECK_SOON(l->ios > 2 * LANES);
}

/* Until it has done @nr more I/Os. */
static inline void load_wait(struct load *l, uint64_t nr)
{
	uint64_t end = l->ios + nr;

	CHECK_SOON(l->ios >= end);
}

static inline void load_end(struct load *l)
{
	struct placed done;

	l->stop = true;
	CHECK_EQ(pthread_join(l->thread, NULL), 0);
	CHECK(!placed_peek(&done, false));
	printf("# %llu I/Os, %llu in slot 0, %llu in slot 1, %llu failed\n",
	       (unsigned long long)l->ios, (unsigned long long)l->in_slot[0],
	       (unsigned long long)l->in_slot[1],
	       (unsigned long long)l->failed);
}

#endif /* SELFTESTS_POLICY_LOAD_H */
