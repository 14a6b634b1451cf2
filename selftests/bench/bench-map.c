// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it takes to register a large buffer, to map it, and to map it again after
 * it was unmapped, by what its memory is made of.  selftests/bench/bench runs it:
 *
 *   bench-map FILE [BYTES]	1 GiB unless told, half of that in scattered pages
 *
 * writes rows of JSON to FILE.  Times are in ns, and instructions where time counts
 * those.
 */
#include <time.h>

#include "rig.h"

/* Of pieces udmabuf takes no list of more than 4 MiB, which are 682 MiB of pages. */
static const struct {
	const char	*name;
	unsigned int	flags;
	bool		shuffled;
	uint64_t	page;
	unsigned int	divisor;
} kinds[] = {
	{ "hugetlb", BLKDMABUF_HUGETLB, false, 2 * MIB, 1 },
	{ "contiguous", 0, false, PAGE, 1 },
	{ "fragmented", 0, true, PAGE, 2 },
};

static FILE *out;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void put_row(const char *what, unsigned int kind, uint64_t bytes,
		    uint64_t ns)
{
	static bool told;
	uint64_t pages = bytes / kinds[kind].page;

	fprintf(out, "%s{\"what\":\"%s\",\"buffer\":\"%s\",\"bytes\":%llu,"
		"\"pages\":%llu,\"ns\":%llu,\"ns_per_page\":%.1f}",
		told ? ",\n" : "[\n", what, kinds[kind].name,
		(unsigned long long)bytes, (unsigned long long)pages,
		(unsigned long long)ns, ns * 1.0 / pages);
	told = true;
}

#define TIMED(what, call)						\
	do {								\
		uint64_t timed_start = now_ns();			\
									\
		CHECK_EQ(call, 0);					\
		put_row(what, kind, bytes, now_ns() - timed_start);	\
	} while (0)

static void measure(int bdev, unsigned int kind, uint64_t bytes)
{
	struct blk_dmabuf_attach reg;
	int dmabuf = kinds[kind].shuffled ? shuffled_udmabuf(bytes, NULL) :
					    blkdmabuf_udmabuf(bytes,
							      kinds[kind].flags);

	if (dmabuf < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s", kinds[kind].name,
			 strerror(-dmabuf));
	TIMED("register", blkdmabuf_register(rig_ctl, bdev, dmabuf, &reg));
	TIMED("map", blkdmabuf_map(rig_ctl, reg.id));
	TIMED("unmap", blkdmabuf_unmap(rig_ctl, reg.id));
	TIMED("map again", blkdmabuf_map(rig_ctl, reg.id));
	TIMED("unregister", blkdmabuf_unregister(rig_ctl, reg.id));
	close(dmabuf);
}

int main(int argc, char **argv)
{
	uint64_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 1024 * MIB;
	unsigned int kind;
	int bdev;

	if (argc < 2) {
		fprintf(stderr, "usage: bench-map FILE [BYTES]\n");
		return 2;
	}
	CHECK_EQ(blkdmabuf_ctl_open(&rig_ctl, NULL), 0);
	bdev = open(disk_by_serial("disk0") ?: "disk0", O_RDWR | O_DIRECT);
	CHECK(bdev >= 0);
	out = fopen(argv[1], "we");
	CHECK(out);
	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++)
		measure(bdev, kind, bytes / kinds[kind].divisor);
	fprintf(out, "\n]\n");
	CHECK_EQ(fclose(out), 0);
	blkdmabuf_ctl_close(rig_ctl);
	return 0;
}
