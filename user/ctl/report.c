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
#include "stat.h"

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
static const char *disk_name(uint32_t dev)
{
	dev_t disk = makedev(dev >> KERNEL_MINOR_BITS,
			     dev & ((1U << KERNEL_MINOR_BITS) - 1));
	char path[PATH_MAX];

	if (device_sysfs(disk, path, sizeof(path)))
		return say("%u:%u", major(disk), minor(disk));
	return say("%s", basename(path));
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
	if (view == BY_REG)
		add_u64(obj, "id", key->id);
	add_str(obj, "disk", disk_name(key->dev));
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

	for (ref = r->refused; ref < r->refused + r->nr_refused; ref++) {
		obj = json_object_new_object();
		add_u64(obj, "id", ref->what.id);
		add_str(obj, "disk", ref->what.dev ?
			disk_name(ref->what.dev) : NULL);
		add_str(obj, "reason", blkdmabuf_reason_str(ref->what.reason));
		add_u64(obj, "count", ref->count);
		json_object_array_add(list, obj);
	}
	return list;
}

struct json_object *report_json(const struct report *r)
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
	return obj;
}

/* ---- Text ---- */

/* Three digits, as much as a reader takes in. */
static const char *human_ns(uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned int unit = 0;
	double val = ns;

	for (; val >= 999.5 && unit < ARRAY_SIZE(units) - 1; unit++)
		val /= 1000;
	return say("%.*f%s", val == (uint64_t)val ? 0 : val < 9.995 ? 2 :
		   val < 99.95 ? 1 : 0, val, units[unit]);
}

/* Of what was added up, so much a second. */
static double per_second(const struct cell *c)
{
	const struct report *r = c->more;

	return json_object_get_double(c->val) / r->seconds;
}

static const char *rate_text(const struct cell *c)
{
	double val = per_second(c);

	return say("%.*f", val && val < 9.95 ? 1 : 0, val);
}

static const char *size_rate_text(const struct cell *c)
{
	return human_size(per_second(c));
}

static const char *time_text(const struct cell *c)
{
	return c->val ? human_ns(json_object_get_uint64(c->val)) : "-";
}

static const char *policy_text(const struct cell *c)
{
	return json_object_get_string(c->val) ?: "none";
}

static const char *queue_text(const struct cell *c)
{
	int hctx = json_object_get_int(c->val);

	return hctx < 0 ? "no hctx" : say("hctx %d", hctx);
}

/* Registration and disk. */
static const char *reg_text(const struct cell *c)
{
	return say("%4s %-8s", json_object_get_uint64(c->val) ?
		   cell_text(c) : "-", member_text(c->record, "disk"));
}

static const char *meaning_text(const struct cell *c)
{
	unsigned int reason = 0;

	while (strcmp(blkdmabuf_reason_str(reason), cell_text(c)))
		reason++;
	return blkdmabuf_reason_text(reason);
}

#define SUM_FIELDS							\
	{ "I/O/S",	" %8s",		"ios",		rate_text },	\
	{ "BYTES/S",	" %10s",	"bytes",	size_rate_text }, \
	{ "PLACED/S",	" %8s",		"placements",	rate_text },	\
	{ "ERRORS",	" %6s",		"errors",	cell_text },	\
	{ "AVG",	" %6s",		"/latency/avg_ns", time_text },	\
	{ "P50<=",	" %6s",		"/latency/p50_ns", time_text },	\
	{ "P99<=",	" %6s",		"/latency/p99_ns", time_text },	\
	{}

static const struct field policy_fields[] = {
	{ "POLICIES",	"%-9s",		"disk",		cell_text },
	{ "",		" %-13s",	"policy",	policy_text },
	SUM_FIELDS
};

static const struct field queue_fields[] = {
	{ "QUEUES",	"%-9s",		"disk",		cell_text },
	{ "",		" %-13s",	"hctx",		queue_text },
	SUM_FIELDS
};

static const struct field reg_fields[] = {
	{ "REGISTRATIONS", "%-13s",	"id",		reg_text },
	{ "READS/S",	" %7s",		"reads",	rate_text },
	{ "BYTES/S",	" %10s",	"read_bytes",	size_rate_text },
	{ "WRITES/S",	" %8s",		"writes",	rate_text },
	{ "BYTES/S",	" %10s",	"write_bytes",	size_rate_text },
	{ "ERR",	" %4s",		"errors",	cell_text },
	{ "PLACED/S",	" %8s",		"placements",	rate_text },
	{ "AVG",	" %6s",		"/latency/avg_ns", time_text },
	{ "P99<=",	" %6s",		"/latency/p99_ns", time_text },
	{}
};

static const struct field refused_fields[] = {
	{ "REFUSED",	"%-13s",	"id",		reg_text },
	{ "COUNT",	" %7s",		"count",	cell_text },
	{ "REASON",	" %-16s",	"reason",	cell_text },
	{ "MEANING",	" %s",		"reason",	meaning_text },
	{}
};

static const struct {
	const char		*key;
	const struct field	*fields;
} sections[] = {
	{ "policies",		policy_fields },
	{ "queues",		queue_fields },
	{ "registrations",	reg_fields },
	{ "refused",		refused_fields },
};

/* @nr buckets from @first on as one bar, full if all I/Os are in them. */
static void put_bar(FILE *f, const struct watch_ios *ios, unsigned int first,
		    unsigned int nr)
{
	static const char bar[] =
		"##################################################";
	uint64_t count = 0;
	unsigned int n;

	_Static_assert(sizeof(bar) - 1 == BAR_LEN, "one # for each step");
	for (n = first; n < first + nr; n++)
		count += ios->buckets[n];
	fprintf(f, "%9s %11" PRIu64 " |%.*s\n",
		say("<=%s", human_ns(bucket_end(n - 1))), count,
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
	char when[16];
	uint64_t refused = 0;
	size_t i;

	for (i = 0; i < r->nr_refused; i++)
		refused += r->refused[i].count;
	strftime(when, sizeof(when), "%H:%M:%S", localtime(&r->end));
	if (sum->ios || sum->errors)
		fprintf(f, "%s  %" PRIu64 " I/Os, %s in %.1f s, %" PRIu64
			" errors", when, (uint64_t)sum->ios,
			human_size(sum->bytes), r->seconds,
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

void report_text(FILE *f, const struct report *r, struct json_object *obj,
		 size_t rows, size_t bars)
{
	struct watch_ios sum = {};
	struct json_object *list;
	size_t i;

	if (r->by[BY_NOTHING].nr)
		sum = row_sum(r->by[BY_NOTHING].rows);
	put_summary(f, r, &sum);
	for (i = 0; i < ARRAY_SIZE(sections); i++) {
		list = member(obj, sections[i].key);
		if (json_object_array_length(list))
			fputc('\n', f);
		put_records(f, sections[i].fields, list, rows, r);
	}
	put_histogram(f, &sum, bars);
}
