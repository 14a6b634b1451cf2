/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl stat, top: from the counters of an interval to what is shown.
 */
#ifndef BLKDMABUFCTL_STAT_H
#define BLKDMABUFCTL_STAT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <linux/types.h>

#include "watch.h"

/* As in <linux/kdev_t.h>, which is not for user space. */
#define KERNEL_MINOR_BITS	20

/* What I/Os are added up by. */
enum view { BY_POLICY, BY_QUEUE, BY_REG, BY_NOTHING, NR_VIEWS };

/**
 * struct row - what was added up
 * @key: by what; fields that the view does not tell apart are zero
 * @way: reads, writes
 */
struct row {
	struct watch_key	key;
	struct watch_ios	way[2];
};

struct table {
	size_t		nr;
	size_t		room;
	struct row	*rows;
};

/**
 * struct refused - what was refused
 * @what: whom and why
 * @count: how often
 */
struct refused {
	struct watch_refusal	what;
	uint64_t		count;
};

/**
 * struct report - an interval
 * @end: when it was over
 * @seconds: how long it was
 * @by: I/Os that ended in it, the most bytes first; one row BY_NOTHING
 * @nr_refused: entries of @refused
 * @refused: refusals, the most frequent first
 * @retries: I/Os that were issued again because a buffer had moved, or was not
 *	mapped for a device yet
 * @lost: what could not be counted
 */
struct report {
	time_t		end;
	double		seconds;
	struct table	by[NR_VIEWS];
	size_t		nr_refused;
	struct refused	*refused;
	uint64_t	retries;
	uint64_t	lost;
};

void ios_add(struct watch_ios *to, const struct watch_ios *from);
struct watch_ios row_sum(const struct row *row);

struct json_object *report_json(const struct report *r);

/*
 * Text for people, with at most @rows rows in each section, one for what is left
 * out included, and @bars (at least 1) in the histogram.  @obj: report_json().
 */
void report_text(FILE *f, const struct report *r, struct json_object *obj,
		 size_t rows, size_t bars);

#endif /* BLKDMABUFCTL_STAT_H */
