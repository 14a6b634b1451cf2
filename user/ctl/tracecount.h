/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Count events of the whole system: tracepoints by perf, which keeps numbers
 * and no records, so that nothing can be lost, and interrupts by
 * /proc/interrupts.  Both the benchmark of blkdmabufctl and
 * selftests/bench/bench-insns.c count so.
 *
 * A tracepoint that is counted costs whoever runs into it: count in a run of
 * its own, not in one that is timed.
 */
#ifndef TRACECOUNT_H
#define TRACECOUNT_H

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum trace_event { TRACE_MAP, TRACE_UNMAP, TRACE_INVALIDATE, TRACE_ALLOC,
		   NR_TRACE_EVENTS };

/*
 * What is counted together.  AMD's driver traces no invalidations: there the
 * count is not known.
 */
static const struct {
	const char		*name;
	enum trace_event	event;
} trace_points[] = {
	{ "iommu/map",			TRACE_MAP },
	{ "iommu/unmap",		TRACE_UNMAP },
	{ "intel_iommu/qi_submit",	TRACE_INVALIDATE },
	{ "kmem/kmem_cache_alloc",	TRACE_ALLOC },
	{ "kmem/kmalloc",		TRACE_ALLOC },
};

#define NR_TRACE_POINTS (sizeof(trace_points) / sizeof(trace_points[0]))

/**
 * struct trace_counter - counters that run
 * @cpus: how many CPUs there are; a tracepoint has one counter on each
 * @fds: of all counters, -1 for one that is not there
 * @known: the event is counted
 */
struct trace_counter {
	unsigned int	cpus;
	int		*fds;
	bool		known[NR_TRACE_EVENTS];
};

/* Id of a tracepoint, 0 if there is none or nobody may know. */
static inline uint64_t trace_event_id(const char *name)
{
	static const char *const roots[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	unsigned long long id = 0;
	char path[128];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 2 && !id; i++) {
		snprintf(path, sizeof(path), "%s/events/%s/id", roots[i], name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%llu", &id) != 1)
			id = 0;
		fclose(f);
	}
	return id;
}

static inline int trace_open_event(uint64_t id, int cpu)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_TRACEPOINT,
		.size		= sizeof(attr),
		.config		= id,
	};

	return syscall(SYS_perf_event_open, &attr, -1, cpu, -1,
		       PERF_FLAG_FD_CLOEXEC);
}

/* Begins to count what can be counted; -ENOMEM is all that can go wrong. */
static inline int trace_counter_open(struct trace_counter *c)
{
	unsigned int point, cpu;
	uint64_t id;
	int *fd;

	memset(c, 0, sizeof(*c));
	c->cpus = sysconf(_SC_NPROCESSORS_CONF);
	fd = c->fds = calloc(NR_TRACE_POINTS * c->cpus, sizeof(*c->fds));
	if (!c->fds)
		return -ENOMEM;
	for (point = 0; point < NR_TRACE_POINTS; point++) {
		id = trace_event_id(trace_points[point].name);
		/* A CPU that is offline counts nothing. */
		for (cpu = 0; cpu < c->cpus; cpu++, fd++) {
			*fd = id ? trace_open_event(id, cpu) : -1;
			if (*fd >= 0)
				c->known[trace_points[point].event] = true;
		}
	}
	return 0;
}

static inline void trace_counter_close(struct trace_counter *c)
{
	unsigned int i;

	for (i = 0; c->fds && i < NR_TRACE_POINTS * c->cpus; i++)
		if (c->fds[i] >= 0)
			close(c->fds[i]);
	free(c->fds);
	c->fds = NULL;
}

/* What was counted since it was opened. */
static inline void trace_counter_read(const struct trace_counter *c,
				      uint64_t counts[NR_TRACE_EVENTS])
{
	unsigned int i;
	uint64_t val;

	memset(counts, 0, NR_TRACE_EVENTS * sizeof(*counts));
	for (i = 0; c->fds && i < NR_TRACE_POINTS * c->cpus; i++)
		if (c->fds[i] >= 0 &&
		    read(c->fds[i], &val, sizeof(val)) == sizeof(val))
			counts[trace_points[i / c->cpus].event] += val;
}

/*
 * Interrupts of the queues of an NVMe controller such as "nvme0", of all CPUs,
 * the admin queue among them; -1 if none is listed.
 */
static inline int64_t trace_interrupts(const char *controller)
{
	FILE *f = fopen("/proc/interrupts", "re");
	size_t len = 0, name = strlen(controller);
	char *line = NULL, *at, *end;
	int64_t sum = -1;

	while (f && getline(&line, &len, f) > 0) {
		at = strstr(line, controller);
		if (!at || at[name] != 'q' || !strchr(line, ':'))
			continue;
		if (sum < 0)
			sum = 0;
		for (at = strchr(line, ':') + 1; ; at = end) {
			long long n = strtoll(at, &end, 10);

			if (end == at)
				break;
			sum += n;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return sum;
}

#endif /* TRACECOUNT_H */
