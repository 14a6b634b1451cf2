// SPDX-License-Identifier: GPL-2.0-only
/*
 * What asking a policy costs, in instructions of the guest per 4 KiB read, and
 * what channels, registrations and policies cost I/O that has nothing to do
 * with dma-bufs: nothing.  The numbers end up in build/policy-cost.json.
 *
 * Time counts instructions in this VM.  One I/O is in flight at a time.  While
 * the device works the program counts down, again and again: the CPU is never
 * idle, there is one interrupt per I/O, and it comes at a place that does not
 * matter.  What counting down takes is known and subtracted, and of many I/Os
 * the one in the middle is taken, which had no timer tick in it.
 *
 * An idle CPU makes the time jump, far enough for a driver to lose patience.
 *
 * vm: icount=1 nvme=1 iommu=strict append=nvme_core.io_timeout=100000
 */
#include <x86intrin.h>

#include "policy.h"
#include "minimal.skel.h"
#include "selftests/bpf/cost.skel.h"

#define POS		(8 * MIB)
#define ROUNDS		5	/* what drifts, drifts for all alike */
#define SAMPLES		201	/* of each in a round */
#define COUNT_DOWN	50000	/* a small part of a tick */

static struct rig r;
static struct io_uring ring;

static void count_down(void)
{
	unsigned long n = COUNT_DOWN;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
}

static void prep_pages(struct io_uring_sqe *sqe, void *mem)
{
	io_uring_prep_read(sqe, r.bdev, mem, PAGE, POS);
}

static void prep_dmabuf(struct io_uring_sqe *sqe, void *mem)
{
	(void)mem;
	blkdmabuf_prep_read(sqe, r.chan, POS, PAGE, r.slot, 0, 0);
}

typedef void prep_fn(struct io_uring_sqe *sqe, void *mem);

/* Counting down once and looking for a completion. */
static uint64_t step;

static uint64_t sample(prep_fn *prep, void *mem)
{
	uint64_t start = __rdtsc(), steps = 0;
	struct io_uring_cqe *cqe;

	if (prep) {
		prep(io_uring_get_sqe(&ring), mem);
		CHECK_EQ(io_uring_submit(&ring), 1);
	}
	do {
		count_down();
		steps++;
	} while (io_uring_peek_cqe(&ring, &cqe) && prep);
	if (prep) {
		CHECK_EQ(cqe->res, PAGE);
		io_uring_cqe_seen(&ring, cqe);
	}
	return __rdtsc() - start - steps * step;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *samples, unsigned int nr)
{
	qsort(samples, nr, sizeof(*samples), by_value);
	return samples[nr / 2];
}

enum {
	PAGES, PAGES_CHANNEL, PAGES_POLICY,
	NONE, MINIMAL, PLACE, BOTH, NONE_AGAIN,
	NR
};

static const struct {
	const char	*name;
	unsigned int	base;
} rows[NR] = {
	[PAGES]		= { "pages", PAGES },
	[PAGES_CHANNEL]	= { "pages, a channel open", PAGES },
	[PAGES_POLICY]	= { "pages, a policy selected", PAGES },
	[NONE]		= { "none", NONE },
	[MINIMAL]	= { "minimal", NONE },
	[PLACE]		= { "place", NONE },
	[BOTH]		= { "place_map_queue", NONE },
	[NONE_AGAIN]	= { "none, again", NONE },
};

static uint64_t samples[NR][ROUNDS * SAMPLES];
static unsigned int nr_samples[NR];

static uint64_t *insns;	/* shared by the tests */

static double overhead(unsigned int i)
{
	double base = insns[rows[i].base];

	return (insns[i] - base) * 100 / base;
}

/* Less would be as wrong as more: then something else has changed. */
static bool costs_nothing(unsigned int i)
{
	return insns[i] > 1000 && overhead(i) < 0.5 && overhead(i) > -0.5;
}

static void write_json(void)
{
	const char *out = getenv("OUT");
	unsigned int i;
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/policy-cost.json", out ?: ".");
	f = fopen(path, "we");
	CHECK(f);
	for (i = 0; i < NR; i++) {
		printf("# %s: %llu, %+.2f %%\n", rows[i].name,
		       (unsigned long long)insns[i], overhead(i));
		fprintf(f, "%s{\"policy\":\"%s\",\"insns_per_io\":%llu,"
			"\"overhead_pct\":%.2f}", i ? ",\n" : "[\n",
			rows[i].name, (unsigned long long)insns[i],
			overhead(i));
	}
	fprintf(f, "\n]\n");
	CHECK_EQ(fclose(f), 0);
}

static void count_down_alone(void)
{
	static uint64_t alone[SAMPLES];
	unsigned int i;

	for (i = 0; i < SAMPLES; i++)
		alone[i] = sample(NULL, NULL);
	step = median(alone, SAMPLES);
}

static void count(unsigned int row, prep_fn *prep)
{
	void *mem = aligned_alloc(PAGE, PAGE);
	unsigned int i;

	/* The first ones fill caches that the rest find filled. */
	for (i = 0; i < 30; i++)
		sample(prep, mem);
	for (i = 0; i < SAMPLES; i++)
		samples[row][nr_samples[row]++] = sample(prep, mem);
	free(mem);
}

static void count_with(const char *policy, unsigned int row)
{
	CHECK_EQ(policy_select(r.bdev, policy), 0);
	count(row, prep_dmabuf);
}

/* No buffer is registered, no policy selected, and at first no channel open. */
static void round_without(void)
{
	int chan;

	count(PAGES, prep_pages);
	chan = blkdmabuf_channel(r.bdev);
	CHECK(chan >= 0);
	count(PAGES_CHANNEL, prep_pages);
	close(chan);
}

static void round_with(void)
{
	rig_register(&r);
	CHECK_EQ(blkdmabuf_map(rig_ctl, r.id), 0);
	rig_bind(&r);
	count_with("none", NONE);
	count_with("minimal", MINIMAL);
	count_with("place", PLACE);
	count_with("place_map_queue", BOTH);
	count(PAGES_POLICY, prep_pages);
	count_with("none", NONE_AGAIN);
	close(r.chan);
	CHECK_EQ(blkdmabuf_unregister(rig_ctl, r.id), 0);
}

TEST(instructions_per_io_can_be_counted)
{
	struct minimal *m = minimal__open_and_load();
	struct cost *c = cost__open_and_load();
	unsigned int i;

	CHECK(m && c);
	r.bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	rig_buffer(&r, PAGE, false);
	CHECK_EQ(io_uring_queue_init(8, &ring, IORING_SETUP_CQE32), 0);
	policy_attach(m->maps.minimal);
	policy_attach(c->maps.cost_place_only);
	policy_attach(c->maps.cost_both);
	count_down_alone();
	for (i = 0; i < ROUNDS; i++) {
		round_without();
		round_with();
	}
	for (i = 0; i < NR; i++)
		insns[i] = median(samples[i], nr_samples[i]);
	write_json();
}

/* Without this the other numbers would mean nothing. */
TEST(counting_again_gives_the_same)
{
	CHECK(insns[NONE] > 1000);
	CHECK(overhead(NONE_AGAIN) < 0.3 && overhead(NONE_AGAIN) > -0.3);
}

TEST(ordinary_io_costs_the_same_with_a_channel_open)
{
	CHECK(costs_nothing(PAGES_CHANNEL));
}

TEST(ordinary_io_costs_the_same_with_a_buffer_mapped_and_a_policy_selected)
{
	CHECK(costs_nothing(PAGES_POLICY));
}

TEST(a_policy_without_members_costs_next_to_nothing)
{
	CHECK(costs_nothing(MINIMAL));
}

TEST(placing_and_choosing_a_queue_costs_three_percent_at_most)
{
	CHECK(insns[PLACE] && insns[BOTH]);
	CHECK(overhead(PLACE) <= 3);
	CHECK(overhead(BOTH) <= 3);
}

int main(int argc, char **argv)
{
	insns = mmap(NULL, NR * sizeof(*insns), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return rig_main(argc, argv);
}
