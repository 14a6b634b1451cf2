// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: what it tells, numbers, signals, the kernel it runs on.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "blkdmabufctl.h"

/* ---- Telling ---- */

/* Of any length, and as long as a message of so many parts is put together. */
const char *say(const char *fmt, ...)
{
	static char *said[8];
	static unsigned int next;
	char **buf = &said[next++ % ARRAY_SIZE(said)];
	va_list ap;

	free(*buf);
	va_start(ap, fmt);
	if (vasprintf(buf, fmt, ap) < 0)
		*buf = NULL;
	va_end(ap);
	return *buf ?: "(out of memory)";
}

void add_str(struct json_object *obj, const char *key, const char *val)
{
	json_object_object_add(obj, key,
			       val ? json_object_new_string(val) : NULL);
}

void add_u64(struct json_object *obj, const char *key, uint64_t val)
{
	json_object_object_add(obj, key, json_object_new_uint64(val));
}

void add_bool(struct json_object *obj, const char *key, bool val)
{
	json_object_object_add(obj, key, json_object_new_boolean(val));
}

void add_double(struct json_object *obj, const char *key, double val)
{
	json_object_object_add(obj, key, json_object_new_double(val));
}

void print_json(struct json_object *obj)
{
	if (want_json)
		puts(json_object_to_json_string_ext(obj,
			JSON_C_TO_STRING_PRETTY |
			JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/* ---- Lists ---- */

/* More of a cell help nobody to read the line. */
#define MAX_JOINED	16

/* "a, b and 3 more", or "-". */
static const char *join(struct json_object *list)
{
	size_t i, nr = json_object_array_length(list);
	const char *text = "";

	for (i = 0; i < nr && i < MAX_JOINED; i++)
		text = say("%s%s%s", text, i ? ", " : "",
			   json_object_get_string(
				json_object_array_get_idx(list, i)));
	if (nr > MAX_JOINED)
		text = say("%s and %zu more", text, nr - MAX_JOINED);
	return nr ? text : "-";
}

const char *cell_text(const struct cell *c)
{
	if (json_object_is_type(c->val, json_type_array))
		return join(c->val);
	return json_object_get_string(c->val) ?: "-";
}

const char *cell_size(const struct cell *c)
{
	return human_size(json_object_get_uint64(c->val));
}

struct json_object *member(struct json_object *record, const char *key)
{
	struct json_object *val = NULL;

	if (*key != '/')
		return json_object_object_get(record, key);
	json_pointer_get(record, key, &val);
	return val;
}

const char *member_text(struct json_object *record, const char *key)
{
	struct cell c = { .val = member(record, key), .record = record };

	return cell_text(&c);
}

void put_heads(FILE *f, const struct field *fields)
{
	if (!fields->head)
		return;
	for (; fields->format; fields++)
		fprintf(f, fields->format, fields->head);
	fputc('\n', f);
}

void put_record(FILE *f, const struct field *fields, struct json_object *record,
		const void *more)
{
	for (; fields->format; fields++) {
		struct cell c = {
			.val	= member(record, fields->key),
			.record	= record,
			.more	= more,
		};
		const char *text = fields->text(&c);

		if (!text)
			break;
		fprintf(f, fields->format, text);
	}
	fputc('\n', f);
}

void put_records(FILE *f, const struct field *fields, struct json_object *list,
		 size_t max, const void *more)
{
	size_t i, nr = json_object_array_length(list), shown;

	if (!nr)
		return;
	/* That some are left out takes a line, too. */
	shown = nr - 1 > max ? max : nr;
	put_heads(f, fields);
	for (i = 0; i < shown; i++)
		put_record(f, fields, json_object_array_get_idx(list, i), more);
	if (shown < nr)
		fprintf(f, "(%zu more)\n", nr - shown);
}

void tell_list(const struct field *fields, struct json_object *list)
{
	if (!want_json)
		put_records(stdout, fields, list, SIZE_MAX, NULL);
	print_json(list);
}

/* ---- Failures ---- */

/* Where an errno alone tells what to do. */
static const struct {
	int		err;
	const char	*advice;
} errno_advice[] = {
	{ EPERM,	"run it as root" },
	{ EACCES,	"run it as root" },
	{ EBUSY,	"see who uses it: lsblk, fuser, lsof" },
	{ ENOMEM,	"use a smaller buffer" },
	{ ENOSPC,	"free some space" },
	{ EMFILE,	"raise the limit of open files: ulimit -n" },
	{ EIO,		"look for the device's errors in the kernel log" },
	{ ENODEV,	"the device may be gone: look into the kernel log" },
	{ EPIPE,	"see why the reader ended" },
	{ EINTR,	"start it again" },
	{ ETIMEDOUT,	"see what keeps the exporter busy: dmesg" },
};

const char *error_advice(int err)
{
	size_t i;

	if ((err == -EPERM || err == -EACCES) && !geteuid())
		return "root may not either: look at modes, containers and "
		       "lockdown";
	for (i = 0; i < ARRAY_SIZE(errno_advice); i++)
		if (errno_advice[i].err == -err)
			return errno_advice[i].advice;
	return "blkdmabufctl check, and dmesg";
}

static const char *find_advice(const struct failure *f)
{
	if (f->advice)
		return f->advice;
	return f->reason ? blkdmabuf_reason_advice(f->reason) :
			   error_advice(f->err);
}

static void fail_json(const struct failure *f)
{
	struct json_object *err = json_object_new_object();
	struct json_object *all = f->partial ?: json_object_new_object();

	add_str(err, "what", f->what);
	add_str(err, "object", f->object);
	add_u64(err, "errno", -f->err);
	add_str(err, "code", f->err ? strerrorname_np(-f->err) : NULL);
	add_str(err, "reason",
		f->reason ? blkdmabuf_reason_str(f->reason) : NULL);
	add_str(err, "advice", find_advice(f));
	json_object_object_add(all, "error", err);
	print_json(all);
}

static void fail_text(const struct failure *f)
{
	fprintf(stderr, "blkdmabufctl: %s%s%s", f->what, f->object ? " " : "",
		f->object ?: "");
	if (f->err)
		fprintf(stderr, ": %s", strerror(-f->err));
	if (f->reason)
		fprintf(stderr, ": %s", blkdmabuf_reason_text(f->reason));
	fprintf(stderr, "; try: %s\n", find_advice(f));
	json_object_put(f->partial);
}

int report_failure(const struct failure *f)
{
	fflush(stdout);
	if (want_json)
		fail_json(f);
	else
		fail_text(f);
	return EXIT_FAILED;
}

int unaligned(const char *what, uint64_t val, const char *path, uint32_t to,
	      const char *also)
{
	return fail(.what = say("%s %" PRIu64 " is unaligned for", what, val),
		    .object = path, .err = -EINVAL,
		    .reason = BLK_DMABUF_UNALIGNED,
		    .advice = say("a multiple of %u%s", to, also));
}

static char usage_help[64] = "blkdmabufctl --help";

void usage_command(const char *name)
{
	snprintf(usage_help, sizeof(usage_help), "blkdmabufctl %s --help",
		 name);
}

int usage_error_try(const char *what, const char *object, const char *advice)
{
	fail(.what = what, .object = object, .err = want_json ? -EINVAL : 0,
	     .advice = advice);
	return EXIT_USAGE;
}

int usage_error(const char *what, const char *object)
{
	return usage_error_try(what, object, usage_help);
}

/* ---- Numbers ---- */

static const char units[] = "KMGTPE";

/* 4096, 0x1000, 4K, 4k, 4KiB: powers of 1024, whole numbers. */
bool parse_size(const char *s, uint64_t *size)
{
	int base = !strncasecmp(s, "0x", 2) ? 16 : 10;
	unsigned long long val;
	const char *unit;
	char *end;

	if (!isxdigit((unsigned char)*s))
		return false;
	errno = 0;
	val = strtoull(s, &end, base);
	if (errno || end == s)
		return false;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unit - units + 1);

		if (val > UINT64_MAX >> shift)
			return false;
		val <<= shift;
		end++;
		if (!strcmp(end, "iB"))
			end += 2;
	}
	*size = val;
	return !*end;
}

bool parse_u32(const char *s, uint32_t *val)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v > INT32_MAX)
		return false;
	*val = v;
	return true;
}

const char *human_size(uint64_t bytes)
{
	unsigned int unit = 0;
	double val = bytes;

	if (bytes < 1024)
		return say("%" PRIu64 " B", bytes);
	for (val /= 1024; val >= 1024 && units[unit + 1]; val /= 1024)
		unit++;
	return say(val == (uint64_t)val ? "%.0f %ciB" : "%.1f %ciB", val,
		   units[unit]);
}

/* ---- Signals ---- */

volatile sig_atomic_t stop_signal;
static volatile time_t stop_time;

/*
 * Who asks again after a while is tired of waiting: the process ends and the
 * kernel cleans up after it.  At once it is the same request sent twice, to
 * the process and to its group, as timeout(1) does.
 */
static void on_signal(int sig)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (!stop_signal) {
		stop_time = ts.tv_sec;
		stop_signal = sig;
	} else if (ts.tv_sec > stop_time + 1) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

/* By nohup(1) or the like: it is to stay so. */
bool hangup_ignored(void)
{
	struct sigaction sa;

	return !sigaction(SIGHUP, NULL, &sa) && sa.sa_handler == SIG_IGN;
}

void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!hangup_ignored())
		sigaction(SIGHUP, &sa, NULL);
	/* A reader that went away is an error like others. */
	signal(SIGPIPE, SIG_IGN);
}

/* ---- Progress ---- */

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static const char bar_done[] = "########################";
static const char bar_left[] = "........................";

/* As long as leaves room for the numbers in 80 columns. */
#define BAR	(sizeof(bar_done) - 1)

void show_progress(struct progress *p, uint64_t done, uint64_t length,
		   bool last)
{
	const char *bar = "";
	double t = now();
	int full;

	if ((!last && t - p->shown < 0.1) || !isatty(STDERR_FILENO))
		return;
	p->shown = t;
	if (length && length != LENGTH_UNKNOWN) {
		full = (double)done / length * BAR;
		bar = say("%3d%% [%.*s%s] ", (int)((double)done / length * 100),
			  full, bar_done, bar_left + full);
	}
	fprintf(stderr, "\r%s%s, %s/s\033[K%s", bar, human_size(done),
		human_size(done / (t - p->start + 1e-9)),
		last ? "\r\033[K" : "");
}

/* ---- The system ---- */

bool read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, len, f);
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

bool number_in(const char *path, const char *key, int base, uint64_t *val)
{
	FILE *f = fopen(path, "re");
	size_t len = strlen(key);
	char line[256], *end;
	bool found = false;
	uint64_t number;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, len))
			continue;
		number = strtoull(line + len, &end, base);
		/* "max" is no number, and no limit. */
		found = end != line + len;
		if (found)
			*val = number;
	}
	if (f)
		fclose(f);
	return found;
}

uint64_t huge_page_size(void)
{
	uint64_t kib = 2048;	/* x86, if the kernel does not say */

	number_in("/proc/meminfo", "Hugepagesize:", 10, &kib);
	return kib * 1024;
}

int need_kernel(void)
{
	struct blk_dmabuf_features features;
	int ret;

	ret = blkdmabuf_features(&features);
	if (!ret && features.abi_version < BLK_DMABUF_ABI_VERSION)
		ret = -ENOTTY;
	if (!ret)
		return EXIT_OK;
	if (ret == -ENOTTY)
		return fail(.what = say("speak version %u of the ABI to",
					BLK_DMABUF_ABI_VERSION),
			    .object = "/dev/blkdmabuf", .err = ret,
			    .advice = "boot the kernel that this program was "
			    "built with");
	return fail(.what = "use", .object = "/dev/blkdmabuf", .err = ret,
		    .advice = ret == -EACCES ? NULL :
		    "boot a kernel with CONFIG_BLK_DMABUF=y; "
		    "'blkdmabufctl check' says more");
}

/* ---- Registrations ---- */

int infos_get(struct blkdmabuf_ctl *ctl, struct infos *all)
{
	struct blk_dmabuf_info info = {}, *infos;
	unsigned int room = 0;
	int ret;

	*all = (struct infos) {};
	while ((ret = blkdmabuf_next(ctl, info.id, &info)) > 0) {
		if (all->nr == room) {
			room = 2 * room + 16;
			infos = reallocarray(all->infos, room, sizeof(*infos));
			if (!infos) {
				ret = -ENOMEM;
				break;
			}
			all->infos = infos;
		}
		all->infos[all->nr++] = info;
	}
	if (ret) {
		free(all->infos);
		*all = (struct infos) {};
	}
	return ret;
}

bool info_is_on(const struct blk_dmabuf_info *info, const dev_t *disk)
{
	return !disk || makedev(info->dev_major, info->dev_minor) == *disk;
}

bool pin_exists(const char *dir)
{
	return !access(say("%s/regs", dir), F_OK);
}

int open_control(struct blkdmabuf_ctl **ctl, const char *pin)
{
	const char *advice = NULL;
	int ret;

	ret = blkdmabuf_ctl_open(ctl, pin);
	if (!ret)
		return EXIT_OK;
	if (ret == -EPERM || ret == -EACCES)
		advice = "run it as root: this needs CAP_BPF and CAP_PERFMON";
	else if (ret == -EOPNOTSUPP)
		advice = "boot a kernel with CONFIG_BLK_DMABUF=y and "
			 "CONFIG_DEBUG_INFO_BTF=y";
	else if (ret == -ENOTTY)
		advice = "boot the kernel that this program was built with";
	else if (ret == -ENOTDIR)
		return fail(.what = "find a bpffs at", .object = pin,
			    .err = ret, .advice =
			    "mount -t bpf bpf /sys/fs/bpf");
	else if (ret == -EEXIST)
		return fail(.what = "use the map", .object =
			    say("%s/regs", pin), .err = ret, .advice =
			    "it is not ours or of another version: remove it, "
			    "or --pin another directory");
	else
		advice = "LIBBPF_LOG_LEVEL=debug shows what the kernel says";
	return fail(.what = "load", .object = "the control programs",
		    .err = ret, .advice = advice);
}

/* ---- What was refused ---- */

void refusals_now(struct blk_dmabuf_features *now)
{
	if (blkdmabuf_features(now))
		memset(now, 0, sizeof(*now));
}

/*
 * The reason that something was refused for since then.  Who is refused gets an
 * errno, and the kernel counts the reason.  If it counted others meanwhile,
 * somebody else was refused, too, and nobody knows which is whose.
 */
unsigned int refused_since(const struct blk_dmabuf_features *before)
{
	unsigned int reason, found = BLK_DMABUF_OK;
	struct blk_dmabuf_features now;

	refusals_now(&now);
	for (reason = BLK_DMABUF_OK + 1; reason < now.nr_reasons &&
	     reason < ARRAY_SIZE(now.refused); reason++) {
		/* Whatever ended an I/O, this is counted beside it. */
		if (now.refused[reason] == before->refused[reason] ||
		    reason == BLK_DMABUF_IO_ERROR)
			continue;
		if (found)
			return BLK_DMABUF_OK;
		found = reason;
	}
	return found;
}
