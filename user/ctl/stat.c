// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: stat, top.
 *
 * watch.bpf.c counts; here its counters are taken at the end of each interval
 * and added up.  How that looks is report.c.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "stat.h"
#include "user/ctl/watch.skel.h"

/* Fewer bars of a histogram do not tell where most of the I/Os are. */
#define MIN_BARS		4

/* A terminal's alternate screen, without a cursor; and back. */
#define SCREEN_ENTER		"\033[?1049h\033[?25l"
#define SCREEN_LEAVE		"\033[?25h\033[?1049l"
#define SCREEN_HOME		"\033[H"
#define SCREEN_CLEAR_LINE	"\033[K"
#define SCREEN_CLEAR_BELOW	"\033[J"

/**
 * struct inner - a map that is filled until another one takes its place
 * @name: for who looks with bpftool
 * @type: @key_size: @value_size: @max_entries: @flags: as in watch.bpf.c
 * @outer: map that the programs find it in
 * @fd: the one in use, -1 if there is none yet
 */
struct inner {
	const char		*name;
	enum bpf_map_type	type;
	uint32_t		key_size;
	uint32_t		value_size;
	uint32_t		max_entries;
	uint32_t		flags;
	int			outer;
	int			fd;
};

/**
 * struct watcher - all of a running stat or top
 * @skel: the programs
 * @ctl: to look at registrations, which count their retries themselves
 * @disk: of whose registrations, NULL for all
 * @before: registrations before this interval, with their retries so far
 * @ios: I/Os of this interval, but those in @recent
 * @recent: those that are found without hashing
 * @refusals: refusals of this interval
 * @nr_cpus: values that an element of @ios and of @recent has
 * @per_cpu: room for these
 * @since: when the interval began, seconds
 * @lost: what was lost before it
 * @signals: signalfd
 * @keyboard: standard input if keys are heard, or -1
 * @screen: redraw the terminal rather than writing on
 * @tty: how the terminal was
 * @last: the last report
 */
struct watcher {
	struct watch		*skel;
	struct blkdmabuf_ctl	*ctl;
	const dev_t		*disk;
	struct infos		before;
	struct inner		ios;
	struct inner		recent;
	struct inner		refusals;
	int			nr_cpus;
	struct watch_recent	*per_cpu;
	double			since;
	uint64_t		lost;
	int			signals;
	int			keyboard;
	bool			screen;
	struct termios		tty;
	struct report		last;
};

/* ---- Adding up ---- */

/* @key without what @view does not tell apart. */
static struct watch_key key_for(enum view view, const struct watch_key *key)
{
	struct watch_key k = {};

	if (view != BY_NOTHING)
		k.dev = key->dev;
	if (view == BY_POLICY)
		memcpy(k.policy, key->policy, sizeof(k.policy));
	if (view == BY_QUEUE)
		k.hctx = key->hctx;
	if (view == BY_REG)
		k.id = key->id;
	return k;
}

/* The row of @key, made if it is not there; NULL without memory. */
static struct row *table_row(struct table *t, const struct watch_key *key)
{
	struct row *rows = t->rows;
	size_t i;

	for (i = 0; i < t->nr; i++)
		if (!memcmp(&rows[i].key, key, sizeof(*key)))
			return &rows[i];
	if (t->nr == t->room) {
		rows = reallocarray(rows, 2 * t->room + 1, sizeof(*rows));
		if (!rows)
			return NULL;
		t->rows = rows;
		t->room = 2 * t->room + 1;
	}
	rows[t->nr] = (struct row) { .key = *key };
	return &rows[t->nr++];
}

static int report_add(struct report *r, const struct watch_key *key,
		      const struct watch_ios *ios)
{
	struct watch_key k;
	enum view view;
	struct row *row;

	for (view = 0; view < NR_VIEWS; view++) {
		k = key_for(view, key);
		row = table_row(&r->by[view], &k);
		if (!row)
			return -ENOMEM;
		ios_add(&row->way[!!key->write], ios);
	}
	return 0;
}

static int report_add_refused(struct report *r, const struct refused *refused)
{
	struct refused *all;

	all = reallocarray(r->refused, r->nr_refused + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	r->refused = all;
	all[r->nr_refused++] = *refused;
	return 0;
}

#define COMPARE(a, b)	(((a) > (b)) - ((a) < (b)))

/* The most bytes first, and no row jumps while nothing happens. */
static int by_bytes(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	struct watch_ios s = row_sum(x), t = row_sum(y);

	return COMPARE(t.bytes, s.bytes) ?:
	       COMPARE(x->key.dev, y->key.dev) ?:
	       COMPARE(x->key.id, y->key.id) ?:
	       COMPARE(x->key.hctx, y->key.hctx) ?:
	       strcmp(x->key.policy, y->key.policy);
}

static int by_count(const void *a, const void *b)
{
	const struct refused *x = a, *y = b;

	return COMPARE(y->count, x->count) ?:
	       COMPARE(x->what.id, y->what.id) ?:
	       COMPARE(x->what.reason, y->what.reason);
}

static void report_sort(struct report *r)
{
	enum view view;

	for (view = 0; view < NR_VIEWS; view++)
		if (r->by[view].nr)
			qsort(r->by[view].rows, r->by[view].nr,
			      sizeof(struct row), by_bytes);
	if (r->nr_refused)
		qsort(r->refused, r->nr_refused, sizeof(*r->refused),
		      by_count);
}

static void report_free(struct report *r)
{
	enum view view;

	for (view = 0; view < NR_VIEWS; view++)
		free(r->by[view].rows);
	free(r->refused);
	*r = (struct report) {};
}

/* ---- The counters ---- */

/*
 * Have an empty map filled from here on.  The kernel waits for who still fills
 * the one so far, which then is the caller's: @fd, or -1 if there is none.
 */
static int inner_swap(struct inner *in, int *fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts,
		    .map_flags = in->flags);
	uint32_t zero = 0;
	int new, ret = 0;

	new = bpf_map_create(in->type, in->name, in->key_size, in->value_size,
			     in->max_entries, &opts);
	if (new < 0)
		return new;
	if (bpf_map_update_elem(in->outer, &zero, &new, BPF_ANY)) {
		ret = -errno;
		close(new);
		return ret;
	}
	*fd = in->fd;
	in->fd = new;
	return 0;
}

static int read_ios(struct watcher *w, int fd, struct report *r)
{
	struct watch_ios sum, *of_cpu = (void *)w->per_cpu;
	struct watch_key key, *prev = NULL;
	int cpu, ret;

	while (!bpf_map_get_next_key(fd, prev, &key)) {
		if (bpf_map_lookup_elem(fd, &key, of_cpu))
			return -errno;
		sum = of_cpu[0];
		for (cpu = 1; cpu < w->nr_cpus; cpu++)
			ios_add(&sum, &of_cpu[cpu]);
		ret = report_add(r, &key, &sum);
		if (ret)
			return ret;
		prev = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}

static int read_recent(struct watcher *w, int fd, struct report *r)
{
	const struct watch_recent *recent;
	uint32_t at;
	int ret;

	for (at = 0; at < WATCH_RECENT; at++) {
		if (bpf_map_lookup_elem(fd, &at, w->per_cpu))
			return -errno;
		for (recent = w->per_cpu; recent < w->per_cpu + w->nr_cpus;
		     recent++) {
			if (!recent->key.id)
				continue;
			ret = report_add(r, &recent->key, &recent->ios);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static int read_refusals(int fd, struct report *r)
{
	struct watch_refusal *prev = NULL;
	struct refused ref;
	int ret;

	while (!bpf_map_get_next_key(fd, prev, &ref.what)) {
		if (bpf_map_lookup_elem(fd, &ref.what, &ref.count))
			return -errno;
		ret = report_add_refused(r, &ref);
		if (ret)
			return ret;
		prev = &ref.what;
	}
	return errno == ENOENT ? 0 : -errno;
}

/* Both ascend in ids: @old follows @info. */
static uint64_t retries_before(const struct infos *before, unsigned int *old,
			       const struct blk_dmabuf_info *info)
{
	while (*old < before->nr && before->infos[*old].id < info->id)
		(*old)++;
	return *old < before->nr && before->infos[*old].id == info->id ?
	       before->infos[*old].retries : 0;
}

/* What was retried since this was called last. */
static int take_retries(struct watcher *w, uint64_t *retries)
{
	const struct blk_dmabuf_info *info;
	unsigned int old = 0;
	struct infos now;
	int ret = infos_get(w->ctl, &now);

	*retries = 0;
	for (info = now.infos; info < now.infos + now.nr; info++)
		if (info_is_on(info, w->disk))
			*retries += info->retries -
				    retries_before(&w->before, &old, info);
	free(w->before.infos);
	w->before = now;
	return ret;
}

/* A program that was running on the CPU already is not run a second time. */
static uint64_t missed(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return 0;
	return info.recursion_misses;
}

static uint64_t lost_so_far(const struct watcher *w)
{
	return w->skel->bss->lost + missed(w->skel->progs.watch_complete) +
	       missed(w->skel->progs.watch_refuse);
}

/* End the interval, begin the next one. */
static int take_report(struct watcher *w)
{
	int recent = -1, ios = -1, refusals = -1, ret;
	struct report *r = &w->last;
	uint64_t lost;
	double end;

	report_free(r);
	ret = inner_swap(&w->recent, &recent) ?:
	      inner_swap(&w->ios, &ios) ?:
	      inner_swap(&w->refusals, &refusals);
	end = now();
	ret = ret ?:
	      read_recent(w, recent, r) ?:
	      read_ios(w, ios, r) ?:
	      read_refusals(refusals, r) ?:
	      take_retries(w, &r->retries);
	close(recent);
	close(ios);
	close(refusals);
	lost = lost_so_far(w);
	r->lost = lost - w->lost;
	r->end = time(NULL);
	r->seconds = end - w->since;
	w->lost = lost;
	w->since = end;
	report_sort(r);
	return ret;
}

/* ---- Loading ---- */

static int start_maps(struct watcher *w)
{
	int none, ret;

	w->ios = (struct inner) {
		.name		= "watch_ios",
		.type		= BPF_MAP_TYPE_PERCPU_HASH,
		.key_size	= sizeof(struct watch_key),
		.value_size	= sizeof(struct watch_ios),
		.max_entries	= WATCH_MAX_KEYS,
		.flags		= BPF_F_NO_PREALLOC,
		.outer		= bpf_map__fd(w->skel->maps.ios),
		.fd		= -1,
	};
	w->recent = (struct inner) {
		.name		= "watch_recent",
		.type		= BPF_MAP_TYPE_PERCPU_ARRAY,
		.key_size	= sizeof(uint32_t),
		.value_size	= sizeof(struct watch_recent),
		.max_entries	= WATCH_RECENT,
		.outer		= bpf_map__fd(w->skel->maps.recent),
		.fd		= -1,
	};
	w->refusals = (struct inner) {
		.name		= "watch_refusals",
		.type		= BPF_MAP_TYPE_HASH,
		.key_size	= sizeof(struct watch_refusal),
		.value_size	= sizeof(uint64_t),
		.max_entries	= WATCH_MAX_REFUSALS,
		.flags		= BPF_F_NO_PREALLOC,
		.outer		= bpf_map__fd(w->skel->maps.refusals),
		.fd		= -1,
	};
	ret = inner_swap(&w->ios, &none) ?: inner_swap(&w->recent, &none);
	return ret ?: inner_swap(&w->refusals, &none);
}

static int load(struct watcher *w)
{
	uint64_t before;
	int ret;

	w->nr_cpus = libbpf_num_possible_cpus();
	if (w->nr_cpus < 0)
		return w->nr_cpus;
	w->per_cpu = calloc(w->nr_cpus, sizeof(*w->per_cpu));
	w->skel = watch__open();
	if (!w->per_cpu || !w->skel)
		return -errno;
	if (w->disk)
		w->skel->rodata->only_dev =
			major(*w->disk) << KERNEL_MINOR_BITS | minor(*w->disk);
	ret = watch__load(w->skel) ?:
	      start_maps(w) ?:
	      watch__attach(w->skel) ?:
	      take_retries(w, &before);
	w->since = now();
	return ret;
}

/* What is missing in general, the control programs find out and tell. */
static int watcher_start(struct watcher *w)
{
	int ret;

	ret = open_control(&w->ctl, NULL);
	if (ret)
		return ret;
	/* Errors are told; who wants the story sets LIBBPF_LOG_LEVEL. */
	if (!getenv("LIBBPF_LOG_LEVEL"))
		libbpf_set_print(NULL);
	ret = load(w);
	if (!ret)
		return EXIT_OK;
	return fail(.what = "load", .object = "the programs that watch",
		    .err = ret, .advice =
		    "LIBBPF_LOG_LEVEL=debug shows what the kernel says");
}

static void watcher_end(struct watcher *w)
{
	report_free(&w->last);
	watch__destroy(w->skel);
	blkdmabuf_ctl_close(w->ctl);
	free(w->before.infos);
	free(w->per_cpu);
}

/* ---- The terminal ---- */

static void screen_enter(struct watcher *w)
{
	struct termios raw;

	if (isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &w->tty)) {
		w->keyboard = STDIN_FILENO;
		raw = w->tty;
		raw.c_lflag &= ~(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	}
	fputs(SCREEN_ENTER, stdout);
	fflush(stdout);
}

static void screen_leave(struct watcher *w)
{
	fputs(SCREEN_LEAVE, stdout);
	fflush(stdout);
	if (w->keyboard >= 0)
		tcsetattr(w->keyboard, TCSAFLUSH, &w->tty);
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

static char *report_string(const struct report *r, struct json_object *obj,
			   size_t rows, size_t bars)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	report_text(f, r, obj, rows, bars);
	return fclose(f) ? NULL : text;
}

/* As many rows in each section as @height has room for, the rest are bars. */
static char *report_fit(const struct report *r, struct json_object *obj,
			size_t height)
{
	size_t rows, lines = 0;
	char *text = NULL;

	for (rows = height; rows; rows--) {
		free(text);
		text = report_string(r, obj, rows, MIN_BARS);
		lines = text ? count_lines(text) : 0;
		if (lines <= height)
			break;
	}
	if (!text || lines >= height)
		return text;
	free(text);
	return report_string(r, obj, rows, MIN_BARS + height - lines);
}

/* Lines and columns that the terminal has not got would make it scroll. */
static void draw(const char *text, const struct winsize *size)
{
	int row, len;

	fputs(SCREEN_HOME, stdout);
	for (row = 0; *text && row < size->ws_row; row++) {
		len = strcspn(text, "\n");
		printf("%s%.*s" SCREEN_CLEAR_LINE, row ? "\r\n" : "",
		       len < size->ws_col ? len : size->ws_col, text);
		text += len + !!text[len];
	}
	fputs(SCREEN_CLEAR_BELOW, stdout);
}

static void draw_report(const struct watcher *w)
{
	struct json_object *obj;
	struct winsize size;
	char *text = NULL;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row ||
	    !size.ws_col)
		size = (struct winsize) { .ws_row = 24, .ws_col = 80 };
	if (w->last.seconds) {
		obj = report_json(&w->last);
		text = report_fit(&w->last, obj, size.ws_row);
		json_object_put(obj);
	}
	draw(text ?: "waiting for the end of the first interval; q quits\n",
	     &size);
	free(text);
}

/* Ctrl-Z: what comes next on the terminal is somebody else's. */
static void suspend(struct watcher *w)
{
	screen_leave(w);
	raise(SIGSTOP);
	screen_enter(w);
}

/* ---- Waiting ---- */

/* Whoever started us may want it ignored, as shells do for "&". */
static void hear(sigset_t *set, int sig)
{
	struct sigaction old;

	if (!sigaction(sig, NULL, &old) && old.sa_handler != SIG_IGN)
		sigaddset(set, sig);
}

static int hear_signals(struct watcher *w)
{
	sigset_t set;

	sigemptyset(&set);
	hear(&set, SIGINT);
	hear(&set, SIGTERM);
	hear(&set, SIGHUP);
	if (w->screen) {
		hear(&set, SIGTSTP);
		sigaddset(&set, SIGWINCH);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (w->signals < 0)
		return fail(.what = "wait for signals", .err = -errno);
	return EXIT_OK;
}

/* Does the signal say to stop? */
static bool on_signal(struct watcher *w)
{
	struct signalfd_siginfo info = {};

	if (read(w->signals, &info, sizeof(info)) < 0)
		return errno != EINTR;
	if (info.ssi_signo == SIGTSTP)
		suspend(w);
	else if (info.ssi_signo != SIGWINCH)
		return true;
	draw_report(w);
	fflush(stdout);
	return false;
}

/* Does the key say to stop? */
static bool on_key(struct watcher *w)
{
	char key = 0;

	/* A terminal that hung up would be ready for ever. */
	if (read(w->keyboard, &key, 1) != 1)
		w->keyboard = -1;
	return key == 'q' || key == 'Q';
}

/* Until the interval is over; true if it is to be the last. */
static bool wait_interval(struct watcher *w, uint32_t interval)
{
	struct pollfd fds[] = {
		{ .fd = w->signals, .events = POLLIN },
		{ .fd = w->keyboard, .events = POLLIN },
	};
	struct timespec ts;
	double left;

	while ((left = w->since + interval - now()) > 0) {
		ts.tv_sec = left;
		ts.tv_nsec = (left - ts.tv_sec) * 1e9;
		fds[1].fd = w->keyboard;
		if (ppoll(fds, ARRAY_SIZE(fds), &ts, NULL) <= 0)
			continue;
		if (fds[0].revents && on_signal(w))
			return true;
		if (fds[1].revents && on_key(w))
			return true;
	}
	return false;
}

/* ---- stat, top ---- */

static void print_report(const struct report *r, bool first)
{
	struct json_object *obj = report_json(r);

	/* On one line, unlike print_json(): who reads wants them one by one. */
	if (want_json) {
		puts(json_object_to_json_string_ext(obj,
			JSON_C_TO_STRING_PLAIN |
			JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		if (!first)
			putchar('\n');
		report_text(stdout, r, obj, WATCH_MAX_KEYS, WATCH_BUCKETS);
	}
	json_object_put(obj);
}

static int show(const struct watcher *w, bool first)
{
	if (w->screen)
		draw_report(w);
	else
		print_report(&w->last, first);
	return fflush(stdout) ? -errno : 0;
}

/* @count intervals, 0: no end. */
static int watch_on(struct watcher *w, uint32_t interval, uint32_t count)
{
	const char *what = "read", *object = "the counters";
	bool last = false;
	uint32_t n;
	int ret = 0;

	if (w->screen)
		screen_enter(w);
	for (n = 0; !ret && !last && (!count || n < count); n++) {
		if (w->screen && !n)
			show(w, true);
		last = wait_interval(w, interval);
		/* Nobody could read it. */
		if (w->screen && last)
			break;
		ret = take_report(w);
		if (ret)
			break;
		ret = show(w, !n);
		if (ret) {
			what = "write to";
			object = "standard output";
			/* The error cannot be told there. */
			want_json = false;
		}
	}
	if (w->screen)
		screen_leave(w);
	return ret ? fail(.what = what, .object = object, .err = ret) : EXIT_OK;
}

static bool have_screen(void)
{
	const char *term = getenv("TERM");

	return !want_json && isatty(STDOUT_FILENO) && term && *term &&
	       strcmp(term, "dumb");
}

static int check_options(const struct options *o)
{
	if (!o->interval)
		return usage_error("--interval wants at least", "1");
	if (given(o, OPT_COUNT) && !o->count)
		return usage_error("--count wants at least", "1");
	return EXIT_OK;
}

static int watch(const struct options *o, uint32_t count, bool screen)
{
	struct watcher w = { .keyboard = -1, .screen = screen };
	dev_t disk;
	int ret;

	ret = check_options(o) ?: need_kernel();
	if (!ret && o->args[0]) {
		ret = device_find_disk(o->args[0], &disk);
		w.disk = &disk;
	}
	ret = ret ?:
	      hear_signals(&w) ?:
	      watcher_start(&w) ?:
	      watch_on(&w, o->interval, count);
	watcher_end(&w);
	return ret;
}

int cmd_stat(const struct options *o)
{
	return watch(o, o->count ?: 1, false);
}

int cmd_top(const struct options *o)
{
	return watch(o, o->count, have_screen());
}
