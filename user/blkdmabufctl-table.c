// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl bench: how it is told, as text and as JSON.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "blkdmabufctl-bench.h"

static const struct {
	const char	*key;	/* in JSON */
	const char	*name;	/* for people */
} path_words[NR_BENCH_PATHS] = {
	[BENCH_STOCK]		= { "stock", "O_DIRECT" },
	[BENCH_REGISTERED]	= { "registered", "registered" },
	[BENCH_PASSTHROUGH]	= { "passthrough", "NVMe commands" },
	[BENCH_OURS]		= { "dmabuf", "dma-buf" },
	[BENCH_POLICY]		= { "policy", "with policy" },
};

const char *const bench_modes[NR_BENCH_MODES] = {
	[BENCH_INTERRUPT]	= "interrupt",
	[BENCH_POLLED]		= "polled",
	[BENCH_SQPOLL]		= "sqpoll",
};

const char *bench_path_name(const struct bench *b, const struct bench_row *row)
{
	if (row->cell.path == BENCH_POLICY)
		return say("policy %s", b->policy);
	return path_words[row->cell.path].name;
}

/* ---- Numbers ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorted, the median is in the middle and the spread from end to end. */
static double median(struct bench_row *row)
{
	if (!row->rounds)
		return 0;
	qsort(row->iops, row->rounds, sizeof(*row->iops), by_value);
	if (row->rounds % 2)
		return row->iops[row->rounds / 2];
	return (row->iops[row->rounds / 2 - 1] +
		row->iops[row->rounds / 2]) / 2;
}

/* The stock kernel at its best is what to compare with. */
static double ratio(struct bench *b, struct bench_row *row)
{
	struct bench_row *r;
	double base;

	for (r = b->rows; r < b->rows + b->nr_rows; r++) {
		if (r->cell.path != BENCH_REGISTERED ||
		    r->cell.size != row->cell.size ||
		    r->cell.depth != row->cell.depth)
			continue;
		base = median(r);
		return base ? median(row) / base : 0;
	}
	return 0;
}

static const char *iommu_mode(const struct bench *b)
{
	char dir[PATH_MAX], type[32], *slash;

	/* Of a stack of disks each may have another one. */
	if (device_sysfs(b->dev.disk, dir, sizeof(dir)) ||
	    strstr(dir, "/devices/virtual/"))
		return NULL;
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (read_line(say("%s/iommu_group/type", dir), type,
			      sizeof(type)))
			return !strcmp(type, "DMA") ? "strict" :
			       !strcmp(type, "DMA-FQ") ? "lazy" :
			       !strcmp(type, "identity") ? "passthrough" :
			       say("%s", type);
		*slash = 0;
	}
	return "off";
}

/* ---- JSON ---- */

static void add_double(struct json_object *obj, const char *key, double val)
{
	json_object_object_add(obj, key, json_object_new_double_s(val,
						say("%.4f", val)));
}

static void add_per_io(struct json_object *obj, const char *key, bool known,
		       double count, uint64_t ios)
{
	if (known && ios)
		add_double(obj, key, count / ios);
	else
		json_object_object_add(obj, key, NULL);
}

static const char *const count_keys[NR_TRACE_EVENTS] = {
	[TRACE_MAP]		= "maps",
	[TRACE_UNMAP]		= "unmaps",
	[TRACE_INVALIDATE]	= "invalidations",
	[TRACE_ALLOC]		= "allocations",
};

static void add_numbers(struct json_object *obj, struct bench *b,
			struct bench_row *row)
{
	const struct bench_sample *s = &row->sum;
	double iops = median(row);
	unsigned int n;

	add_double(obj, "iops", iops);
	add_double(obj, "iops_min", row->iops[0]);
	add_double(obj, "iops_max", row->iops[row->rounds - 1]);
	add_double(obj, "mib_per_second",
		   iops * row->cell.size / (1 << 20));
	add_double(obj, "ratio", ratio(b, row));
	add_u64(obj, "p50_ns", bench_percentile(s->hist, 50));
	add_u64(obj, "p99_ns", bench_percentile(s->hist, 99));
	add_u64(obj, "p999_ns", bench_percentile(s->hist, 99.9));
	add_per_io(obj, "cpu_ns", true, s->cpu_ns, s->ios);
	add_per_io(obj, "switches", true, s->switches, s->ios);
	add_per_io(obj, "interrupts", s->interrupts >= 0, s->interrupts,
		   s->ios);
	for (n = 0; n < NR_TRACE_EVENTS; n++)
		add_per_io(obj, count_keys[n], row->known[n], row->counts[n],
			   row->counted);
}

static struct json_object *row_json(struct bench *b, struct bench_row *row)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "path", path_words[row->cell.path].key);
	add_u64(obj, "size", row->cell.size);
	add_u64(obj, "depth", row->cell.depth);
	add_u64(obj, "batch", row->cell.batch);
	add_u64(obj, "rounds", row->rounds);
	add_str(obj, "refused", *row->why ? row->why : NULL);
	add_str(obj, "reason", row->reason ?
		blkdmabuf_reason_str(row->reason) : NULL);
	if (row->rounds && !*row->why)
		add_numbers(obj, b, row);
	return obj;
}

struct json_object *bench_json(struct bench *b, bool interrupted)
{
	struct json_object *obj = json_object_new_object();
	struct json_object *list = json_object_new_array();
	struct utsname uts;
	unsigned int i;

	uname(&uts);
	add_str(obj, "device", b->dev.path);
	add_str(obj, "kernel", uts.release);
	add_str(obj, "iommu", iommu_mode(b));
	add_str(obj, "mode", bench_modes[b->t.mode]);
	add_str(obj, "direction", b->t.write ? "write" : "read");
	add_bool(obj, "random", !b->t.sequential);
	add_str(obj, "buffer", b->o.buffer);
	add_u64(obj, "buffer_bytes", b->t.mem_size);
	add_u64(obj, "ranges", b->ranges);
	add_str(obj, "policy", *b->policy ? b->policy : NULL);
	add_u64(obj, "threads", b->t.threads);
	add_u64(obj, "cpu", b->t.cpus[0]);
	add_double(obj, "seconds", b->seconds);
	add_bool(obj, "interrupted", interrupted);
	for (i = 0; i < b->nr_rows; i++)
		json_object_array_add(list, row_json(b, &b->rows[i]));
	json_object_object_add(obj, "rows", list);
	return obj;
}

/* ---- Text ---- */

static void print_head(struct bench *b)
{
	char size[HUMAN_LEN];
	struct utsname uts;

	uname(&uts);
	printf("%s, Linux %s, IOMMU %s, CPU %u", b->dev.path, uts.release,
	       iommu_mode(b) ?: "not known", b->t.cpus[0]);
	if (b->t.threads > 1)
		printf(" and so on, %u threads", b->t.threads);
	printf("\n%s %s, %s, policy %s\n", b->t.sequential ? "sequential" :
	       "random", b->t.write ? "writes" : "reads",
	       bench_modes[b->t.mode], *b->policy ? b->policy : "none");
	printf("%s buffer of %s", b->o.buffer, human_size(b->t.mem_size, size));
	if (b->ranges)
		printf(" (%u DMA ranges)", b->ranges);
	printf(", %u rounds of %g s\n", b->o.rounds, b->seconds);
}

static void print_time(uint64_t ns)
{
	if (ns < 99950)
		printf(" %6.1f", ns / 1e3);
	else
		printf(" %6.0f", ns / 1e3);
}

static void print_per_io(int width, bool known, double count, uint64_t ios)
{
	if (known && ios)
		printf(" %*.*f", width, count && count / ios < 9.995 ? 2 : 0,
		       count / ios);
	else
		printf(" %*s", width, "-");
}

static void print_row(struct bench *b, struct bench_row *row)
{
	const struct bench_sample *s = &row->sum;
	double iops = median(row);

	printf("%-13s", bench_path_name(b, row));
	if (*row->why || !row->rounds) {
		printf(" %s\n", *row->why ? row->why : "not measured");
		return;
	}
	printf(" %8.0f %16s %8.1f %5.2f", iops,
	       say("%.0f..%.0f", row->iops[0], row->iops[row->rounds - 1]),
	       iops * row->cell.size / (1 << 20), ratio(b, row));
	print_time(bench_percentile(s->hist, 50));
	print_time(bench_percentile(s->hist, 99));
	print_time(bench_percentile(s->hist, 99.9));
	putchar('\n');
}

static void print_cell_head(const struct bench_row *row)
{
	char size[HUMAN_LEN];

	printf("\n%s, depth %u, batch %u\n",
	       human_size(row->cell.size, size), row->cell.depth,
	       row->cell.batch);
	printf("%-13s %8s %16s %8s %5s %6s %6s %6s\n", "PATH", "IOPS",
	       "MIN..MAX", "MIB/S", "RATIO", "P50us", "P99us", "P999us");
}

/* What one I/O takes of the machine. */
static void print_counts(struct bench *b, const struct bench_row *row)
{
	const struct bench_sample *s = &row->sum;
	char size[HUMAN_LEN];
	unsigned int n;

	if (*row->why || !row->rounds)
		return;
	printf("%-13s %8s %5u", bench_path_name(b, row),
	       human_size(row->cell.size, size), row->cell.depth);
	printf(" %7.2f", s->cpu_ns / 1e3 / s->ios);
	for (n = 0; n < NR_TRACE_EVENTS; n++)
		print_per_io(6, row->known[n], row->counts[n], row->counted);
	print_per_io(6, s->interrupts >= 0, s->interrupts, s->ios);
	print_per_io(6, true, s->switches, s->ios);
	putchar('\n');
}

static void print_counts_head(void)
{
	printf("\n%-13s %8s %5s %7s %6s %6s %6s %6s %6s %6s\n", "PER I/O",
	       "SIZE", "DEPTH", "CPUus", "MAPS", "UNMAPS", "INVAL", "ALLOCS",
	       "IRQS", "CSW");
}

static bool nothing_counted(const struct bench *b)
{
	unsigned int i;

	for (i = 0; i < b->nr_rows; i++)
		if (b->rows[i].counted)
			return !memchr(b->rows[i].known, true, NR_TRACE_EVENTS);
	return false;
}

void bench_text(struct bench *b)
{
	struct bench_row *row, *last = NULL;

	print_head(b);
	for (row = b->rows; row < b->rows + b->nr_rows; row++) {
		if (!last || last->cell.size != row->cell.size ||
		    last->cell.depth != row->cell.depth)
			print_cell_head(row);
		print_row(b, row);
		last = row;
	}
	print_counts_head();
	for (row = b->rows; row < b->rows + b->nr_rows; row++)
		print_counts(b, row);
	puts("\nRATIO is to the IOPS of 'registered'.");
	if (nothing_counted(b))
		puts("Maps and allocations are counted as root, where tracefs "
		     "is mounted.");
}
