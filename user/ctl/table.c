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

#include "bench.h"

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

const char *bench_path_name(const struct bench *b, enum bench_path path)
{
	if (path == BENCH_POLICY)
		return say("policy %s", b->policy);
	return path_words[path].name;
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
	const char *type = device_iommu(b->dev.disk);

	/* Of a stack of disks each may have another one. */
	if (!type || !strcmp(type, IOMMU_VIRTUAL))
		return NULL;
	return !strcmp(type, IOMMU_NONE) ? "off" :
	       !strcmp(type, "DMA") ? "strict" :
	       !strcmp(type, "DMA-FQ") ? "lazy" :
	       !strcmp(type, "identity") ? "passthrough" : type;
}

/* ---- JSON ---- */

static void add_digits(struct json_object *obj, const char *key, double val)
{
	json_object_object_add(obj, key, json_object_new_double_s(val,
						say("%.4f", val)));
}

static void add_per_io(struct json_object *obj, const char *key, bool known,
		       double count, uint64_t ios)
{
	if (known && ios)
		add_digits(obj, key, count / ios);
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

	add_digits(obj, "iops", iops);
	add_digits(obj, "iops_min", row->iops[0]);
	add_digits(obj, "iops_max", row->iops[row->rounds - 1]);
	add_digits(obj, "mib_per_second",
		   iops * row->cell.size / (1 << 20));
	add_digits(obj, "ratio", ratio(b, row));
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
	add_digits(obj, "seconds", b->seconds);
	add_bool(obj, "interrupted", interrupted);
	for (i = 0; i < b->nr_rows; i++)
		json_object_array_add(list, row_json(b, &b->rows[i]));
	json_object_object_add(obj, "rows", list);
	return obj;
}

/* ---- Text ---- */

static void print_head(struct bench *b)
{
	struct utsname uts;

	uname(&uts);
	printf("%s, Linux %s, IOMMU %s, CPU %u", b->dev.path, uts.release,
	       iommu_mode(b) ?: "not known", b->t.cpus[0]);
	if (b->t.threads > 1)
		printf(" and so on, %u threads", b->t.threads);
	printf("\n%s %s, %s, policy %s\n", b->t.sequential ? "sequential" :
	       "random", b->t.write ? "writes" : "reads",
	       bench_modes[b->t.mode], *b->policy ? b->policy : "none");
	printf("%s buffer of %s", b->o.buffer, human_size(b->t.mem_size));
	if (b->ranges)
		printf(" (%u DMA ranges)", b->ranges);
	printf(", %u rounds of %g s\n", b->o.rounds, b->seconds);
}

static const char *path_text(const struct cell *c)
{
	unsigned int path = 0;

	while (strcmp(path_words[path].key, cell_text(c)))
		path++;
	return bench_path_name(c->more, path);
}

/* Or why there are none, and no other numbers either. */
static const char *iops_text(const struct cell *c)
{
	if (c->val)
		return say("%.0f", json_object_get_double(c->val));
	return json_object_get_string(member(c->record, "refused")) ?:
	       "not measured";
}

static const char *spread_text(const struct cell *c)
{
	if (!c->val)
		return NULL;
	return say("%.0f..%.0f", json_object_get_double(c->val),
		   json_object_get_double(member(c->record, "iops_max")));
}

static const char *rate_text(const struct cell *c)
{
	return say("%.1f", json_object_get_double(c->val));
}

static const char *ratio_text(const struct cell *c)
{
	return say("%.2f", json_object_get_double(c->val));
}

static const char *us_text(const struct cell *c)
{
	double ns = json_object_get_double(c->val);

	return say("%.*f", ns < 99950 ? 1 : 0, ns / 1e3);
}

static const char *cpu_text(const struct cell *c)
{
	return say("%.2f", json_object_get_double(c->val) / 1e3);
}

static const char *per_io_text(const struct cell *c)
{
	double val = json_object_get_double(c->val);

	return c->val ? say("%.*f", val && val < 9.995 ? 2 : 0, val) : "-";
}

static const struct field row_fields[] = {
	{ "PATH",	"%-13s",	"path",		path_text },
	{ "IOPS",	" %8s",		"iops",		iops_text },
	{ "MIN..MAX",	" %16s",	"iops_min",	spread_text },
	{ "MIB/S",	" %8s",		"mib_per_second", rate_text },
	{ "RATIO",	" %5s",		"ratio",	ratio_text },
	{ "P50us",	" %6s",		"p50_ns",	us_text },
	{ "P99us",	" %6s",		"p99_ns",	us_text },
	{ "P999us",	" %6s",		"p999_ns",	us_text },
	{}
};

/* What one I/O takes of the machine. */
static const struct field count_fields[] = {
	{ "PER I/O",	"%-13s",	"path",		path_text },
	{ "SIZE",	" %8s",		"size",		cell_size },
	{ "DEPTH",	" %5s",		"depth",	cell_text },
	{ "CPUus",	" %7s",		"cpu_ns",	cpu_text },
	{ "MAPS",	" %6s",		"maps",		per_io_text },
	{ "UNMAPS",	" %6s",		"unmaps",	per_io_text },
	{ "INVAL",	" %6s",		"invalidations", per_io_text },
	{ "ALLOCS",	" %6s",		"allocations",	per_io_text },
	{ "IRQS",	" %6s",		"interrupts",	per_io_text },
	{ "CSW",	" %6s",		"switches",	per_io_text },
	{}
};

static void print_cell_head(const struct bench_row *row)
{
	printf("\n%s, depth %u, batch %u\n",
	       human_size(row->cell.size), row->cell.depth,
	       row->cell.batch);
	put_heads(stdout, row_fields);
}

static bool nothing_counted(const struct bench *b)
{
	unsigned int i;

	for (i = 0; i < b->nr_rows; i++)
		if (b->rows[i].counted)
			return !memchr(b->rows[i].known, true, NR_TRACE_EVENTS);
	return false;
}

void bench_text(struct bench *b, struct json_object *all)
{
	struct json_object *list = member(all, "rows"), *obj;
	struct bench_row *row, *last = NULL;
	unsigned int i;

	print_head(b);
	for (i = 0; i < b->nr_rows; i++) {
		row = &b->rows[i];
		if (!last || last->cell.size != row->cell.size ||
		    last->cell.depth != row->cell.depth)
			print_cell_head(row);
		put_record(stdout, row_fields,
			   json_object_array_get_idx(list, i), b);
		last = row;
	}
	putchar('\n');
	put_heads(stdout, count_fields);
	for (i = 0; i < b->nr_rows; i++) {
		obj = json_object_array_get_idx(list, i);
		if (member(obj, "iops"))
			put_record(stdout, count_fields, obj, b);
	}
	puts("\nRATIO is to the IOPS of 'registered'.");
	if (nothing_counted(b))
		puts("Maps and allocations are counted as root, where tracefs "
		     "is mounted.");
}
