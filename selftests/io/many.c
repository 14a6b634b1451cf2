// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many registrations on many disks: what one of them takes to register, to bind,
 * to look at and to end does not grow with how many there are.
 *
 * The disks are linear targets, ten buffers are registered on each.  Time counts
 * instructions in this VM, so that what else the machine does is not in it.  Ten
 * times as many may take SLACK times as long each.  A walk over all would take ten
 * times as long.  The numbers end up in build/many.json.
 *
 * vm: icount=1 nvme=1 mem=3G append=nvme_core.io_timeout=100000
 */
#include <dirent.h>
#include <sys/resource.h>

#include "rig.h"

#define FEW		100
#define MANY		1000
#define BUFFERS		10
#define SECTORS		8
#define SLACK		3

/* A map of registrations holds 4096 of them. */
#define MAPS		3

static struct blkdmabuf_ctl *maps[MAPS];
static int buffers[BUFFERS], disks[MANY], chans[MANY];

/* What one takes, in ns. */
struct took {
	double	registering;
	double	binding;
	double	looking;
	double	ending;		/* by their owner */
	double	closing;	/* with the map that owns them */
};

static void shell(const char *line)
{
	int ret = system(line);

	if (ret)
		tap_fail(__FILE__, __LINE__, "%s: %d", line, ret);
}

static void make_disks(unsigned int nr)
{
	FILE *f = fopen("/run/many", "we");
	const char *disk = disk_by_serial("disk0");
	char path[64];
	unsigned int i;

	if (access("/usr/sbin/dmsetup", X_OK) && access("/sbin/dmsetup", X_OK))
		tap_skip("dmsetup");
	CHECK(f && disk);
	for (i = 0; i < nr; i++)
		fprintf(f, "many%u,,,rw,0 %u linear %s %u\n", i, SECTORS, disk,
			i * SECTORS);
	fclose(f);
	shell("dmsetup create --concise \"$(tr '\\n' ';' < /run/many | sed 's/;$//')\"");
	for (i = 0; i < nr; i++) {
		/* There are no others. */
		snprintf(path, sizeof(path), "/dev/dm-%u", i);
		disks[i] = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (disks[i] < 0)
			tap_fail(__FILE__, __LINE__, "%s: %s", path,
				 strerror(errno));
		chans[i] = blkdmabuf_channel(disks[i]);
		CHECK(chans[i] >= 0);
	}
}

static void close_disks(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		close(chans[i]);
		close(disks[i]);
	}
}

static unsigned int registered(void)
{
	struct blk_dmabuf_info info = {};
	unsigned int n = 0;

	while (blkdmabuf_next(rig_ctl, info.id, &info) == 1)
		n++;
	return n;
}

static void open_maps(void)
{
	unsigned int i;

	for (i = 0; i < MAPS; i++)
		CHECK_EQ(blkdmabuf_ctl_open(&maps[i], NULL), 0);
}

static void close_maps(void)
{
	unsigned int i;

	for (i = 0; i < MAPS; i++)
		blkdmabuf_ctl_close(maps[i]);
}

/* The same buffer on all disks, then the next. */
static void register_all(unsigned int nr)
{
	unsigned int i, k, n = 0;

	for (k = 0; k < BUFFERS; k++)
		for (i = 0; i < nr; i++, n++)
			CHECK_EQ(blkdmabuf_register(maps[n * MAPS / BUFFERS / nr],
						    disks[i], buffers[k], NULL),
				 0);
}

static void bind_all(unsigned int nr)
{
	unsigned int i, k;

	for (i = 0; i < nr; i++)
		for (k = 0; k < BUFFERS; k++)
			CHECK_EQ(blkdmabuf_bind(chans[i], buffers[k], k, NULL), k);
}

/* A tenth of them, from all over. */
static unsigned int end_some(unsigned int nr)
{
	uint32_t ids[4096];
	unsigned int i, m, n = 0;

	for (m = 0; m < MAPS; m++) {
		unsigned int owned = blkdmabuf_owned(maps[m], ids, ARRAY_SIZE(ids));

		for (i = 0; i < owned && n < nr * BUFFERS / 10; i += 10, n++)
			CHECK_EQ(blkdmabuf_unregister(maps[m], ids[i]), 0);
	}
	return n;
}

#define TIMED(what, times, code)					\
	do {								\
		uint64_t timed_start = now_us();			\
									\
		code;							\
		(what) = (now_us() - timed_start) * 1000.0 / (times);	\
	} while (0)

static struct took run(unsigned int nr)
{
	unsigned int all = nr * BUFFERS, ended = 0, left;
	struct took took;

	make_disks(nr);
	open_maps();
	TIMED(took.registering, all, register_all(nr));
	TIMED(took.looking, all, left = registered());
	CHECK_EQ(left, all);
	TIMED(took.binding, all, bind_all(nr));
	TIMED(took.ending, all / 10, ended = end_some(nr));
	CHECK_EQ(ended, all / 10);
	CHECK_EQ(registered(), all - ended);
	TIMED(took.closing, all - ended, {
		close_maps();
		while (registered())
			sleep_ms(10);
	});
	close_disks(nr);
	shell("dmsetup remove_all");
	printf("# %u registrations on %u disks, us each: register %.1f, look %.1f, bind %.1f, unregister %.1f, close %.1f\n",
	       all, nr, took.registering / 1000, took.looking / 1000,
	       took.binding / 1000, took.ending / 1000, took.closing / 1000);
	return took;
}

static void put_json(FILE *f, unsigned int disks, const struct took *took,
		     const char *end)
{
	fprintf(f, "{\"disks\":%u,\"registrations\":%u,\"register\":%.0f,"
		"\"look\":%.0f,\"bind\":%.0f,\"unregister\":%.0f,"
		"\"close\":%.0f}%s\n", disks, disks * BUFFERS,
		took->registering, took->looking, took->binding, took->ending,
		took->closing, end);
}

/* Instructions for each. */
static void write_json(const struct took *few, const struct took *many)
{
	const char *out = getenv("OUT");
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/many.json", out ?: ".");
	f = fopen(path, "we");
	CHECK(f);
	fprintf(f, "[");
	put_json(f, FEW, few, ",");
	put_json(f, MANY, many, "]");
	CHECK_EQ(fclose(f), 0);
}

static void set_up(void)
{
	struct rlimit files = { 65536, 65536 };
	unsigned int k;

	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (k = 0; k < BUFFERS; k++) {
		buffers[k] = blkdmabuf_udmabuf(64 * KIB, 0);
		CHECK(buffers[k] >= 0);
	}
}

TEST(ten_thousand_registrations_take_ten_times_what_a_thousand_take)
{
	struct took few, many;

	set_up();
	few = run(FEW);
	many = run(MANY);
	write_json(&few, &many);
	CHECK(many.registering < SLACK * few.registering);
	CHECK(many.looking < SLACK * few.looking);
	CHECK(many.binding < SLACK * few.binding);
	CHECK(many.ending < SLACK * few.ending);
	CHECK(many.closing < SLACK * few.closing);
}

/* Each disk ends all that is registered on it, at once. */
TEST(disks_that_go_take_their_registrations_with_them)
{
	uint64_t start;
	double few;

	set_up();
	open_maps();
	make_disks(FEW);
	register_all(FEW);
	close_disks(FEW);
	start = now_us();
	shell("dmsetup remove_all");
	few = (now_us() - start) * 1.0 / FEW;
	make_disks(MANY);
	register_all(MANY - FEW);
	close_disks(MANY);
	start = now_us();
	shell("dmsetup remove_all");
	printf("# us a disk: %.1f of %u, %.1f of %u\n", few, FEW,
	       (now_us() - start) * 1.0 / MANY, MANY);
	CHECK((now_us() - start) * 1.0 / MANY < SLACK * few);
	close_maps();
	CHECK_SOON(!registered());
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
