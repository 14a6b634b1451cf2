// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl bench: how fast is it here, beside what this machine can do
 * without it?
 *
 * Rows that are compared differ in the path alone: they use the same device,
 * CPUs, pages, sizes and depths, and take turns, so that what drifts drifts for
 * all.  Each is measured several times; the one in the middle is told, and how
 * far they lie apart.  What costs time to count is counted afterwards, in runs
 * that are not timed.
 *
 * The device is only read, unless it is asked for.  The registration ends with
 * the process, however that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"

#define MAX_DEPTH	1024
#define MAX_THREADS	256
#define MAX_IO		(16U << 20)	/* of one I/O */
#define MAX_BUFFER	(32U << 20)	/* half of what a udmabuf may have */
#define MAX_SECONDS	3600
/* A count does not scatter as a time does. */
#define COUNT_SECONDS	0.3

/* ---- The command line ---- */

/* "4K,128K" */
static int parse_list(const char *option, const char *list, uint64_t *vals,
		      unsigned int *nr)
{
	char *copy = strdup(list), *rest = copy, *word;
	bool ok = copy;

	*nr = 0;
	while (ok && (word = strsep(&rest, ",")))
		ok = *nr < BENCH_LIST && parse_size(word, &vals[(*nr)++]);
	free(copy);
	if (ok)
		return EXIT_OK;
	return usage_error(say("%s wants up to %u numbers with commas between "
			       "them, not", option, BENCH_LIST), list);
}

static int check_list(const char *option, const uint64_t *vals,
		      unsigned int nr, uint64_t least, uint64_t most)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (vals[i] < least || vals[i] > most)
			return usage_error(say("%s wants %" PRIu64 " to %"
					       PRIu64 ", not", option, least,
					       most),
					   say("%" PRIu64, vals[i]));
	return EXIT_OK;
}

static int check_number(const char *option, uint32_t val, uint32_t most)
{
	uint64_t vals[] = { val };

	return check_list(option, vals, 1, 1, most);
}

static int parse_mode(struct bench *b)
{
	unsigned int i;

	for (i = 0; i < NR_BENCH_MODES; i++) {
		if (strcmp(b->o.mode, bench_modes[i]))
			continue;
		b->t.mode = i;
		return EXIT_OK;
	}
	return usage_error("--mode wants interrupt, polled or sqpoll, not",
			   b->o.mode);
}

static int parse_buffer(struct bench *b)
{
	const char *kind = b->o.buffer;

	b->o.hugetlb = !strcmp(kind, "contiguous");
	b->fragmented = !strcmp(kind, "fragmented");
	if (b->o.hugetlb || b->fragmented || !strcmp(kind, "plain"))
		return EXIT_OK;
	return usage_error("--buffer wants plain, contiguous or fragmented, "
			   "not", kind);
}

static int parse_seconds(struct bench *b)
{
	char *end;

	b->seconds = strtod(b->o.seconds, &end);
	if (!*end && b->seconds > 0 && b->seconds <= MAX_SECONDS)
		return EXIT_OK;
	return usage_error(say("--seconds wants more than 0 and up to %u, not",
			       MAX_SECONDS), b->o.seconds);
}

static uint64_t most(const uint64_t *vals, unsigned int nr)
{
	uint64_t max = *vals;
	unsigned int i;

	for (i = 1; i < nr; i++)
		if (vals[i] > max)
			max = vals[i];
	return max;
}

static int parse_numbers(struct bench *b)
{
	return parse_list("--sizes", b->o.sizes, b->sizes, &b->nr_sizes) ?:
	       check_list("--sizes", b->sizes, b->nr_sizes, 512, MAX_IO) ?:
	       parse_list("--depths", b->o.depths, b->depths, &b->nr_depths) ?:
	       check_list("--depths", b->depths, b->nr_depths, 1, MAX_DEPTH) ?:
	       check_number("--batch", b->o.batch, MAX_DEPTH) ?:
	       check_number("--rounds", b->o.rounds, BENCH_ROUNDS) ?:
	       check_number("--threads", b->o.threads, MAX_THREADS) ?:
	       parse_seconds(b);
}

static int parse(struct bench *b)
{
	const struct options *o = &b->o;
	int ret;

	ret = parse_numbers(b) ?:
	      parse_mode(b) ?:
	      parse_buffer(b);
	if (!ret && o->random && o->sequential)
		ret = usage_error("--random does not go with", "--sequential");
	if (!ret && o->batch > most(b->depths, b->nr_depths))
		ret = usage_error("--batch is larger than any of",
				  say("--depths %s", o->depths));
	b->t.write = o->write;
	b->t.sequential = o->sequential;
	b->t.threads = o->threads;
	b->t.stop = &stop_signal;
	return ret;
}

/* ---- The device ---- */

static const char *queue_file(const struct bench *b, const char *name)
{
	return say("/sys/dev/block/%u:%u/queue/%s", major(b->dev.disk),
		   minor(b->dev.disk), name);
}

/* "nvme0" for nvme0n1; not the subsystem that disks with several paths have. */
static void find_controller(struct bench *b)
{
	char path[PATH_MAX], *name;
	unsigned int nr;

	if (!realpath(say("/sys/dev/block/%u:%u/device", major(b->dev.disk),
			  minor(b->dev.disk)), path))
		return;
	name = strrchr(path, '/') + 1;
	if (sscanf(name, "nvme%u", &nr) == 1)
		snprintf(b->t.controller, sizeof(b->t.controller), "nvme%u",
			 nr);
}

static void no_passthrough(struct bench *b, const char *why)
{
	snprintf(b->no_ng, sizeof(b->no_ng), "%s", why);
}

/*
 * A command without a metadata pointer has the controller write the metadata of
 * blocks to address 0.  What cannot be told to have none is taken to have some.
 */
static bool has_metadata(const char *dir)
{
	uint64_t bytes = 1;

	number_in(say("%s/metadata_bytes", dir), "", 10, &bytes);
	return bytes;
}

/* /dev/ng0n1 of /dev/nvme0n1 */
static void open_passthrough(struct bench *b)
{
	char dir[PATH_MAX];
	const char *node;
	uint64_t kib;
	int id;

	if (b->dev.file) {
		no_passthrough(b, "a file has none");
		return;
	}
	if (device_sysfs(b->dev.disk, dir, sizeof(dir)) ||
	    strncmp(strrchr(dir, '/'), "/nvme", 5)) {
		no_passthrough(b, "the device is no NVMe namespace");
		return;
	}
	if (has_metadata(dir)) {
		no_passthrough(b, "blocks of the namespace have metadata");
		return;
	}
	node = say("/dev/ng%s", strrchr(dir, '/') + strlen("/nvme"));
	b->t.ng = open(node, (b->t.write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (b->t.ng < 0) {
		no_passthrough(b, say("open %s: %s", node, strerror(errno)));
		return;
	}
	id = ioctl(b->t.ng, NVME_IOCTL_ID);
	if (id < 0)
		no_passthrough(b, say("%s: %s", node, strerror(errno)));
	b->t.nsid = id;
	if (number_in(queue_file(b, "max_hw_sectors_kb"), "", 10, &kib))
		b->max_command = kib << 10;
}

static uint64_t file_bytes(int fd)
{
	struct stat st;
	uint64_t bytes = 0;

	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		bytes = st.st_size;
	else if (ioctl(fd, BLKGETSIZE64, &bytes))
		bytes = 0;
	return bytes;
}

static int check_sizes(struct bench *b)
{
	uint64_t max = most(b->sizes, b->nr_sizes) * b->t.threads;
	unsigned int i;

	for (i = 0; i < b->nr_sizes; i++)
		if (b->sizes[i] % b->t.block)
			return fail(.what = say("size %" PRIu64 " is unaligned "
						"for", b->sizes[i]),
				    .object = b->dev.path, .err = -EINVAL,
				    .advice = say("multiples of %u",
						  b->t.block));
	if (b->t.bytes < max)
		return fail(.what = "find room for I/O on", .object =
			    b->dev.path, .err = -ENOSPC, .advice =
			    say("--sizes and --threads that fit its %" PRIu64
				" bytes", b->t.bytes));
	return EXIT_OK;
}

static int open_target(struct bench *b)
{
	int flags = b->t.write ? O_RDWR : O_RDONLY, ret, block = 512;
	struct stat st;

	/* O_EXCL: not if it is mounted or part of something. */
	if (b->t.write && !b->o.force)
		flags |= O_EXCL;
	ret = device_open(&b->dev, b->o.args[0], flags | O_DIRECT);
	if (ret)
		return ret;
	b->t.fd = b->dev.fd;
	b->t.start = b->dev.start;
	b->t.bytes = file_bytes(b->dev.fd);
	if (b->dev.file && !fstat(b->dev.fd, &st))
		block = st.st_blksize;
	else if (ioctl(b->dev.fd, BLKSSZGET, &block))
		block = 512;
	b->t.block = block;
	ret = check_sizes(b);
	if (ret)
		return ret;
	find_controller(b);
	open_passthrough(b);
	return EXIT_OK;
}

/* ---- Buffer, registration, channel ---- */

static int make_buffer(struct bench *b)
{
	uint64_t page = b->o.hugetlb ? huge_page_size() :
			(uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t size = most(b->sizes, b->nr_sizes), all;

	all = size * most(b->depths, b->nr_depths);
	/* Then several I/Os of a thread share their place in the buffer. */
	if (all * b->t.threads > MAX_BUFFER)
		all = MAX_BUFFER / b->t.threads / size * size;
	if (all < size)
		all = size;
	b->t.mem_size = round_up(all * b->t.threads, page);
	b->dmabuf = dmabuf_udmabuf_mapped(&b->o, b->t.mem_size, b->fragmented,
					  &b->t.mem);
	if (b->dmabuf < 0)
		return EXIT_FAILED;
	/* What is written is nobody's memory, and pages are there before. */
	memset(b->t.mem, 0xa5, b->t.mem_size);
	return EXIT_OK;
}

/* The rows with a dma-buf have no numbers, and the others do. */
static void no_dmabuf(struct bench *b, const char *what, int err,
		      unsigned int reason)
{
	snprintf(b->ours, sizeof(b->ours), "%s: %s%s%s", what, strerror(-err),
		 reason ? ": " : "", reason ? blkdmabuf_reason_text(reason) :
		 "");
}

static bool register_buffer(struct bench *b)
{
	struct blk_dmabuf_attach res = {};
	struct blk_dmabuf_info info = {};
	int ret;

	ret = blkdmabuf_ctl_open(&b->ctl, NULL);
	if (ret) {
		no_dmabuf(b, "load the control programs", ret, 0);
		return false;
	}
	ret = blkdmabuf_register(b->ctl, b->dev.fd, b->dmabuf, &res);
	if (ret) {
		no_dmabuf(b, "register a dma-buf", ret, res.reason);
		return false;
	}
	b->id = res.id;
	ret = blkdmabuf_map(b->ctl, b->id);
	blkdmabuf_info(b->ctl, b->id, &info);
	if (ret)
		no_dmabuf(b, "map the dma-buf", ret, info.reason);
	b->ranges = info.ranges;
	return !ret;
}

static void open_channel(struct bench *b)
{
	struct blk_dmabuf_features features;
	unsigned int reason;
	int ret;

	ret = blkdmabuf_features(&features);
	if (ret) {
		no_dmabuf(b, "use /dev/blkdmabuf", ret, 0);
		return;
	}
	if (!register_buffer(b))
		return;
	b->t.chan = device_channel(&b->dev, 0, &reason);
	if (b->t.chan < 0) {
		no_dmabuf(b, "open a channel", b->t.chan, reason);
		return;
	}
	ret = blkdmabuf_bind(b->t.chan, b->dmabuf, BLK_DMABUF_SLOT_ANY, NULL);
	if (ret < 0)
		no_dmabuf(b, "bind the dma-buf", ret, 0);
	b->t.slot = ret;
}

/* ---- The policy ---- */

static void find_policy(struct bench *b)
{
	const char *name = policy_selected(policy_attr(b->dev.disk));

	if (name && strcmp(name, "none"))
		snprintf(b->policy, sizeof(b->policy), "%s", name);
}

static int select_policy(const struct bench *b, const char *name)
{
	return policy_write(policy_attr(b->dev.disk), name);
}

/* The row without a policy deselects it for as long as it runs. */
static void set_policy(struct bench *b, struct bench_row *row)
{
	bool without = row->cell.path == BENCH_OURS && *b->policy;
	int err;

	if (without == b->deselected)
		return;
	err = select_policy(b, without ? "none" : b->policy);
	if (!err)
		b->deselected = without;
	else if (without)
		snprintf(row->why, sizeof(row->why), "deselect policy %s: %s",
			 b->policy, strerror(-err));
}

static int restore_policy(struct bench *b)
{
	int err;

	if (!b->deselected)
		return EXIT_OK;
	err = select_policy(b, b->policy);
	if (!err)
		return EXIT_OK;
	return fail(.what = say("select policy %s again for", b->policy),
		    .object = b->dev.path, .err = err, .advice =
		    say("blkdmabufctl policy attach %s %s", b->policy,
			b->dev.path));
}

/* ---- Rows ---- */

/* Why a row can have no numbers, as far as that is known beforehand. */
static void refuse_row(const struct bench *b, struct bench_row *row)
{
	enum bench_path path = row->cell.path;
	const char *why = "";

	if (path == BENCH_PASSTHROUGH && *b->no_ng)
		why = b->no_ng;
	else if (path == BENCH_PASSTHROUGH && b->max_command &&
		 row->cell.size > b->max_command)
		why = say("a command moves %s at most",
			  human_size(b->max_command));
	else if (path >= BENCH_OURS && *b->ours)
		why = b->ours;
	else if (path == BENCH_OURS && *b->policy && !b->o.without_policy)
		why = say("policy %s is selected; --without-policy deselects "
			  "it for this row", b->policy);
	snprintf(row->why, sizeof(row->why), "%s", why);
}

static bool row_wanted(const struct bench *b, enum bench_path path)
{
	return path != BENCH_POLICY || *b->policy;
}

static void add_row(struct bench *b, enum bench_path path, uint32_t size,
		    unsigned int depth)
{
	struct bench_row *row = &b->rows[b->nr_rows++];

	row->cell = (struct bench_cell) {
		.path = path, .size = size, .depth = depth,
		.batch = b->o.batch < depth ? b->o.batch : depth,
	};
	refuse_row(b, row);
	if (!*row->why)
		b->todo += b->o.rounds;
}

static int make_rows(struct bench *b)
{
	unsigned int size, depth, path;

	b->rows = calloc(b->nr_sizes * b->nr_depths * NR_BENCH_PATHS,
			 sizeof(*b->rows));
	if (!b->rows)
		return fail(.what = "remember what is measured of",
			    .object = b->dev.path, .err = -ENOMEM);
	for (size = 0; size < b->nr_sizes; size++)
		for (depth = 0; depth < b->nr_depths; depth++)
			for (path = 0; path < NR_BENCH_PATHS; path++)
				if (row_wanted(b, path))
					add_row(b, path, b->sizes[size],
						b->depths[depth]);
	return EXIT_OK;
}

static void show_row(const struct bench *b, const struct bench_row *row)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%3u%%  %s, depth %u: %s",
		b->todo ? b->done * 100 / b->todo : 100,
		human_size(row->cell.size), row->cell.depth,
		bench_path_name(b, row->cell.path));
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

/* ---- Measuring ---- */

static void row_failed(struct bench_row *row, const struct bench_sample *s,
		       const struct blk_dmabuf_features *before)
{
	row->err = s->err;
	if (row->cell.path >= BENCH_OURS)
		row->reason = refused_since(before);
	snprintf(row->why, sizeof(row->why), "%s: %s%s%s", s->what,
		 strerror(-s->err), row->reason ? ": " : "", row->reason ?
		 blkdmabuf_reason_text(row->reason) : "");
}

static void add_sample(struct bench_row *row, const struct bench_sample *s)
{
	struct bench_sample *sum = &row->sum;
	unsigned int n;

	row->iops[row->rounds++] = s->ios * 1e9 / s->ns;
	sum->ios += s->ios;
	sum->ns += s->ns;
	sum->cpu_ns += s->cpu_ns;
	sum->switches += s->switches;
	sum->interrupts = s->interrupts < 0 ? -1 :
			  sum->interrupts + s->interrupts;
	for (n = 0; n < HIST_BUCKETS; n++)
		sum->hist[n] += s->hist[n];
}

static void measure_row(struct bench *b, struct bench_row *row)
{
	struct blk_dmabuf_features before;
	struct bench_sample *s;

	set_policy(b, row);
	if (*row->why)
		return;
	s = malloc(sizeof(*s));
	if (!s)
		return;
	refusals_now(&before);
	bench_run(&b->t, &row->cell, b->seconds, s);
	if (s->err)
		row_failed(row, s, &before);
	/* What a signal cut short counts if there is nothing better. */
	else if (s->ios && (!stop_signal || !row->rounds))
		add_sample(row, s);
	free(s);
}

static void count_row(struct bench *b, struct bench_row *row)
{
	double seconds = b->seconds < COUNT_SECONDS ? b->seconds :
			 COUNT_SECONDS;
	struct trace_counter counter;
	struct bench_sample *s;

	set_policy(b, row);
	s = malloc(sizeof(*s));
	if (!s || trace_counter_open(&counter)) {
		free(s);
		return;
	}
	bench_run(&b->t, &row->cell, seconds, s);
	trace_counter_read(&counter, row->counts);
	memcpy(row->known, counter.known, sizeof(row->known));
	trace_counter_close(&counter);
	row->counted = s->err ? 0 : s->ios;
	free(s);
}

static void measure(struct bench *b)
{
	unsigned int round;
	struct bench_row *row, *end = b->rows + b->nr_rows;

	for (round = 0; round < b->o.rounds; round++) {
		for (row = b->rows; row < end && !stop_signal; row++) {
			show_row(b, row);
			if (*row->why)
				continue;
			measure_row(b, row);
			b->done++;
		}
	}
	for (row = b->rows; row < end && !stop_signal; row++)
		if (!*row->why)
			count_row(b, row);
	end_progress();
}

/* ---- The command ---- */

static int choose_cpus(struct bench *b)
{
	int all[CPU_SETSIZE], nr = 0, first = 0, here = sched_getcpu(), cpu;
	unsigned int i;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return fail(.what = "ask for the CPUs of",
			    .object = "this process", .err = -errno);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (cpu == here)
			first = nr;
		all[nr++] = cpu;
	}
	b->t.cpus = calloc(b->t.threads, sizeof(*b->t.cpus));
	if (!b->t.cpus)
		return fail(.what = "start", .object = "threads",
			    .err = -ENOMEM);
	for (i = 0; i < b->t.threads; i++)
		b->t.cpus[i] = all[(first + i) % nr];
	return EXIT_OK;
}

static bool measured_nothing(const struct bench *b)
{
	unsigned int i;

	for (i = 0; i < b->nr_rows; i++)
		if (b->rows[i].rounds)
			return false;
	return true;
}

static int stopped(struct bench *b)
{
	struct json_object *all = bench_json(b, true);

	if (!want_json)
		bench_text(b, all);
	fail(.what = say("bench stopped by SIG%s on",
			 sigabbrev_np(stop_signal)),
	     .object = b->dev.path, .err = -EINTR, .partial = all);
	return 128 + stop_signal;
}

static int report(struct bench *b)
{
	struct json_object *all;

	if (stop_signal)
		return stopped(b);
	all = bench_json(b, false);
	if (measured_nothing(b))
		return fail(.what = "measure anything on", .object =
			    b->dev.path, .err = b->rows[0].err,
			    .advice = b->rows[0].err == -EAGAIN ?
			    "fewer --threads: not all could be started" :
			    b->t.mode == BENCH_POLLED ?
			    "boot with nvme.poll_queues=1" :
			    say("blkdmabufctl check %s", b->dev.path),
			    .partial = all);
	if (!want_json)
		bench_text(b, all);
	print_json(all);
	return EXIT_OK;
}

static void tear_down(struct bench *b)
{
	close_fd(b->t.chan);
	if (b->id)
		blkdmabuf_unregister(b->ctl, b->id);
	blkdmabuf_ctl_close(b->ctl);
	if (b->t.mem)
		munmap(b->t.mem, b->t.mem_size);
	close_fd(b->dmabuf);
	close_fd(b->t.ng);
	close_fd(b->dev.fd);
	free(b->t.cpus);
	free(b->rows);
}

static int run(struct bench *b)
{
	int ret;

	ret = open_target(b) ?:
	      choose_cpus(b) ?:
	      make_buffer(b);
	if (ret)
		return ret;
	open_channel(b);
	find_policy(b);
	ret = make_rows(b);
	if (ret)
		return ret;
	catch_signals();
	measure(b);
	return restore_policy(b) ?: report(b);
}

int cmd_bench(const struct options *o)
{
	struct bench b = {
		.o = *o, .dev.fd = -1, .dmabuf = -1,
		.t = { .fd = -1, .ng = -1, .chan = -1 },
	};
	int ret;

	ret = parse(&b) ?: run(&b);
	tear_down(&b);
	return ret;
}
