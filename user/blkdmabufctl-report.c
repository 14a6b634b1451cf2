// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl stat, top: how a report looks, as text and as JSON.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "blkdmabufctl.h"
#include "blkdmabufctl-stat.h"

/* As in the kernel. */
#define DISK_LEN		32

/* The longest bar of the histogram. */
#define BAR_LEN			50

/* ---- Numbers ---- */

void ios_add(struct watch_ios *to, const struct watch_ios *from)
{
	unsigned int n;

	to->ios += from->ios;
	to->bytes += from->bytes;
	to->errors += from->errors;
	to->copied += from->copied;
	to->placed += from->placed;
	to->latency_ns += from->latency_ns;
	for (n = 0; n < WATCH_BUCKETS; n++)
		to->buckets[n] += from->buckets[n];
}

/* Both ways. */
struct watch_ios row_sum(const struct row *row)
{
	struct watch_ios sum = row->way[0];

	ios_add(&sum, &row->way[1]);
	return sum;
}

static uint64_t bucket_end(unsigned int n)
{
	return (uint64_t)WATCH_BUCKET_NS << n;
}

/* No I/O that is in the percentage took longer. */
static uint64_t percentile(const struct watch_ios *ios, unsigned int percent)
{
	uint64_t want = (ios->ios * percent + 99) / 100, seen = 0;
	unsigned int n;

	for (n = 0; n < WATCH_BUCKETS - 1; n++) {
		seen += ios->buckets[n];
		if (seen >= want)
			break;
	}
	return bucket_end(n);
}

/* A disk that was pulled has no name any more. */
static const char *disk_name(uint32_t dev, char buf[DISK_LEN])
{
	dev_t disk = makedev(dev >> KERNEL_MINOR_BITS,
			     dev & ((1U << KERNEL_MINOR_BITS) - 1));
	char path[PATH_MAX];

	if (device_sysfs(disk, path, sizeof(path)))
		snprintf(buf, DISK_LEN, "%u:%u", major(disk),
			 minor(disk));
	else
		snprintf(buf, DISK_LEN, "%s", strrchr(path, '/') + 1);
	return buf;
}

/* ---- JSON ---- */

static struct json_object *latency_json(const struct watch_ios *ios)
{
	struct json_object *obj;

	if (!ios->ios)
		return NULL;
	obj = json_object_new_object();
	add_u64(obj, "avg_ns", ios->latency_ns / ios->ios);
	add_u64(obj, "p50_ns", percentile(ios, 50));
	add_u64(obj, "p99_ns", percentile(ios, 99));
	return obj;
}

static struct json_object *histogram_json(const struct watch_ios *ios)
{
	struct json_object *list = json_object_new_array(), *obj;
	unsigned int n;

	for (n = 0; n < WATCH_BUCKETS; n++) {
		if (!ios->buckets[n])
			continue;
		obj = json_object_new_object();
		add_u64(obj, "le_ns", bucket_end(n));
		add_u64(obj, "count", ios->buckets[n]);
		json_object_array_add(list, obj);
	}
	return list;
}

static void add_row_key(struct json_object *obj, const struct watch_key *key,
			enum view view)
{
	char disk[DISK_LEN];

	if (view == BY_REG)
		add_u64(obj, "id", key->id);
	add_str(obj, "disk", disk_name(key->dev, disk));
	if (view == BY_POLICY)
		add_str(obj, "policy", *key->policy ? key->policy : NULL);
	if (view == BY_QUEUE)
		json_object_object_add(obj, "hctx",
				       json_object_new_int(key->hctx));
}

static struct json_object *row_json(const struct row *row, enum view view)
{
	struct json_object *obj = json_object_new_object();
	const struct watch_ios *way = row->way;
	struct watch_ios sum = row_sum(row);

	add_row_key(obj, &row->key, view);
	if (view == BY_REG) {
		add_u64(obj, "reads", way[0].ios);
		add_u64(obj, "read_bytes", way[0].bytes);
		add_u64(obj, "writes", way[1].ios);
		add_u64(obj, "write_bytes", way[1].bytes);
	} else {
		add_u64(obj, "ios", sum.ios);
		add_u64(obj, "bytes", sum.bytes);
	}
	add_u64(obj, "copied", sum.copied);
	add_u64(obj, "placements", sum.placed);
	add_u64(obj, "errors", sum.errors);
	json_object_object_add(obj, "latency", latency_json(&sum));
	json_object_object_add(obj, "histogram", histogram_json(&sum));
	return obj;
}

static struct json_object *table_json(const struct report *r, enum view view)
{
	struct json_object *list = json_object_new_array();
	const struct table *t = &r->by[view];
	size_t i;

	for (i = 0; i < t->nr; i++)
		json_object_array_add(list, row_json(&t->rows[i], view));
	return list;
}

static struct json_object *refused_json(const struct report *r)
{
	struct json_object *list = json_object_new_array(), *obj;
	const struct refused *ref;
	char disk[DISK_LEN];

	for (ref = r->refused; ref < r->refused + r->nr_refused; ref++) {
		obj = json_object_new_object();
		add_u64(obj, "id", ref->what.id);
		add_str(obj, "disk", ref->what.dev ?
			disk_name(ref->what.dev, disk) : NULL);
		add_str(obj, "reason", blkdmabuf_reason_str(ref->what.reason));
		add_u64(obj, "count", ref->count);
		json_object_array_add(list, obj);
	}
	return list;
}

/* On one line, unlike print_json(): whoever reads wants them one by one. */
void report_json(const struct report *r)
{
	struct json_object *obj = json_object_new_object(), *seconds;
	char end[32];

	strftime(end, sizeof(end), "%Y-%m-%dT%H:%M:%SZ", gmtime(&r->end));
	add_str(obj, "time", end);
	seconds = json_object_new_double_s(r->seconds, say("%.6f", r->seconds));
	json_object_object_add(obj, "seconds", seconds);
	json_object_object_add(obj, "policies", table_json(r, BY_POLICY));
	json_object_object_add(obj, "queues", table_json(r, BY_QUEUE));
	json_object_object_add(obj, "registrations", table_json(r, BY_REG));
	json_object_object_add(obj, "refused", refused_json(r));
	add_u64(obj, "retries", r->retries);
	add_u64(obj, "lost", r->lost);
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/* ---- Text: cells are as wide as the heads in sections[] ---- */

/* Three digits, as much as a reader takes in. */
static const char *human_ns(uint64_t ns, char buf[HUMAN_LEN])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned int unit = 0;
	double val = ns;

	for (; val >= 999.5 && unit < ARRAY_SIZE(units) - 1; unit++)
		val /= 1000;
	snprintf(buf, HUMAN_LEN, "%.*f%s", val == (uint64_t)val ? 0 :
		 val < 9.995 ? 2 : val < 99.95 ? 1 : 0, val, units[unit]);
	return buf;
}

static void put_rate(FILE *f, int width, double val)
{
	fprintf(f, " %*.*f", width, val && val < 9.95 ? 1 : 0, val);
}

static void put_size(FILE *f, double bytes)
{
	char buf[HUMAN_LEN];

	fprintf(f, " %10s", human_size(bytes, buf));
}

static void put_time(FILE *f, const struct watch_ios *ios, uint64_t ns)
{
	char buf[HUMAN_LEN];

	fprintf(f, " %6s", ios->ios ? human_ns(ns, buf) : "-");
}

static void put_average(FILE *f, const struct watch_ios *ios)
{
	put_time(f, ios, ios->latency_ns / (ios->ios ?: 1));
}

static void put_sum(FILE *f, const struct report *r, const struct row *row)
{
	struct watch_ios sum = row_sum(row);

	put_rate(f, 8, sum.ios / r->seconds);
	put_size(f, sum.bytes / r->seconds);
	put_rate(f, 8, sum.placed / r->seconds);
	fprintf(f, " %6" PRIu64, (uint64_t)sum.errors);
	put_average(f, &sum);
	put_time(f, &sum, percentile(&sum, 50));
	put_time(f, &sum, percentile(&sum, 99));
	fputc('\n', f);
}

static void policy_line(FILE *f, const struct report *r, const struct row *row)
{
	char disk[DISK_LEN];

	fprintf(f, "%-9s %-13s", disk_name(row->key.dev, disk),
		*row->key.policy ? row->key.policy : "none");
	put_sum(f, r, row);
}

static void queue_line(FILE *f, const struct report *r, const struct row *row)
{
	char disk[DISK_LEN];

	fprintf(f, "%-9s %-13s", disk_name(row->key.dev, disk),
		row->key.hctx < 0 ? "no hctx" :
		say("hctx %d", row->key.hctx));
	put_sum(f, r, row);
}

static void reg_line(FILE *f, const struct report *r, const struct row *row)
{
	const struct watch_ios *way = row->way;
	struct watch_ios sum = row_sum(row);
	char disk[DISK_LEN];

	fprintf(f, "%4u %-8s", row->key.id, disk_name(row->key.dev, disk));
	put_rate(f, 7, way[0].ios / r->seconds);
	put_size(f, way[0].bytes / r->seconds);
	put_rate(f, 8, way[1].ios / r->seconds);
	put_size(f, way[1].bytes / r->seconds);
	fprintf(f, " %4" PRIu64, (uint64_t)sum.errors);
	put_rate(f, 8, sum.placed / r->seconds);
	put_average(f, &sum);
	put_time(f, &sum, percentile(&sum, 99));
	fputc('\n', f);
}

static const struct {
	const char	*head;
	void		(*line)(FILE *f, const struct report *r,
				const struct row *row);
} sections[] = {
	[BY_POLICY] = {
		"POLICIES                  I/O/S    BYTES/S PLACED/S ERRORS"
		"    AVG  P50<=  P99<=", policy_line
	},
	[BY_QUEUE] = {
		"QUEUES                    I/O/S    BYTES/S PLACED/S ERRORS"
		"    AVG  P50<=  P99<=", queue_line
	},
	[BY_REG] = {
		"REGISTRATIONS READS/S    BYTES/S WRITES/S    BYTES/S  ERR"
		" PLACED/S    AVG  P99<=", reg_line
	},
};

/* How many of @nr rows to show: that some are left out takes a line, too. */
static size_t rows_shown(size_t nr, size_t limit)
{
	return nr > limit + 1 ? limit : nr;
}

static void put_rest(FILE *f, size_t left)
{
	if (left)
		fprintf(f, "(%zu more)\n", left);
}

static void put_table(FILE *f, const struct report *r, enum view view,
		      size_t limit)
{
	const struct table *t = &r->by[view];
	size_t i, shown = rows_shown(t->nr, limit);

	if (!t->nr)
		return;
	fprintf(f, "\n%s\n", sections[view].head);
	for (i = 0; i < shown; i++)
		sections[view].line(f, r, &t->rows[i]);
	put_rest(f, t->nr - shown);
}

static void put_refused(FILE *f, const struct report *r, size_t limit)
{
	size_t i, shown = rows_shown(r->nr_refused, limit);
	const struct refused *ref = r->refused;
	char disk[DISK_LEN];

	if (!r->nr_refused)
		return;
	fputs("\nREFUSED         COUNT REASON           MEANING\n", f);
	for (i = 0; i < shown; i++, ref++)
		fprintf(f, "%4s %-8s %7" PRIu64 " %-16s %s\n",
			ref->what.id ? say("%u", ref->what.id) : "-",
			ref->what.dev ? disk_name(ref->what.dev, disk) : "-",
			ref->count, blkdmabuf_reason_str(ref->what.reason),
			blkdmabuf_reason_text(ref->what.reason));
	put_rest(f, r->nr_refused - shown);
}

/* @nr buckets from @first on as one bar, full if all I/Os are in them. */
static void put_bar(FILE *f, const struct watch_ios *ios, unsigned int first,
		    unsigned int nr)
{
	static const char bar[] =
		"##################################################";
	uint64_t count = 0;
	char end[HUMAN_LEN];
	unsigned int n;

	_Static_assert(sizeof(bar) - 1 == BAR_LEN, "one # for each step");
	for (n = first; n < first + nr; n++)
		count += ios->buckets[n];
	fprintf(f, "%9s %11" PRIu64 " |%.*s\n",
		say("<=%s", human_ns(bucket_end(n - 1), end)), count,
		(int)(count * BAR_LEN / ios->ios), bar);
}

/* Where there is no room for all buckets, neighbours share a bar. */
static void put_histogram(FILE *f, const struct watch_ios *ios, size_t bars)
{
	unsigned int first = 0, end = WATCH_BUCKETS, step = 1, n;

	if (!ios->ios)
		return;
	while (!ios->buckets[first])
		first++;
	while (!ios->buckets[end - 1])
		end--;
	while ((end - first + step - 1) / step > bars)
		step++;
	fputs("\nLATENCY          I/OS\n", f);
	for (n = first; n < end; n += step)
		put_bar(f, ios, n, n + step < end ? step : end - n);
}

static void put_summary(FILE *f, const struct report *r,
			const struct watch_ios *sum)
{
	char when[16], size[HUMAN_LEN];
	uint64_t refused = 0;
	size_t i;

	for (i = 0; i < r->nr_refused; i++)
		refused += r->refused[i].count;
	strftime(when, sizeof(when), "%H:%M:%S", localtime(&r->end));
	if (sum->ios || sum->errors)
		fprintf(f, "%s  %" PRIu64 " I/Os, %s in %.1f s, %" PRIu64
			" errors", when, (uint64_t)sum->ios,
			human_size(sum->bytes, size), r->seconds,
			(uint64_t)sum->errors);
	else
		fprintf(f, "%s  no I/O in %.1f s", when, r->seconds);
	if (sum->copied)
		fprintf(f, ", %" PRIu64 " copied", (uint64_t)sum->copied);
	fprintf(f, ", %" PRIu64 " refused", refused);
	if (r->retries)
		fprintf(f, ", %" PRIu64 " issued again", r->retries);
	if (r->lost)
		fprintf(f, ", %" PRIu64 " NOT COUNTED", r->lost);
	fputc('\n', f);
}

void report_text(FILE *f, const struct report *r, size_t rows, size_t bars)
{
	struct watch_ios sum = {};

	if (r->by[BY_NOTHING].nr)
		sum = row_sum(r->by[BY_NOTHING].rows);
	put_summary(f, r, &sum);
	put_table(f, r, BY_POLICY, rows);
	put_table(f, r, BY_QUEUE, rows);
	put_table(f, r, BY_REG, rows);
	put_refused(f, r, rows);
	put_histogram(f, &sum, bars);
}
