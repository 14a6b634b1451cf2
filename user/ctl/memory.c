// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is there memory for a buffer?  Its pages cannot be swapped or reclaimed, so what
 * does not fit ends with the out-of-memory killer, and it may choose the shell.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkdmabufctl.h"

#define CGROUPS	"/sys/fs/cgroup"

/* How much there is for a buffer, by whoever says the least, and who that is. */
struct room {
	uint64_t	least;
	char		*said_by;
};

static void room_limit(struct room *room, uint64_t bytes, const char *said_by)
{
	if (bytes >= room->least)
		return;
	room->least = bytes;
	free(room->said_by);
	room->said_by = strdup(said_by);
}

/* Page cache that nobody uses gives way. */
static void room_in_cgroup(struct room *room, const char *name)
{
	uint64_t max, used, cache = 0;

	if (!number_in(say(CGROUPS "%s/memory.max", name), "", 10, &max) ||
	    !number_in(say(CGROUPS "%s/memory.current", name), "", 10,
		       &used))
		return;
	number_in(say(CGROUPS "%s/memory.stat", name), "inactive_file ",
		  10, &cache);
	used -= used < cache ? used : cache;
	room_limit(room, max > used ? max - used : 0,
		   say(CGROUPS "%s/memory.max", name));
}

/* The cgroup of this process, and all that it is in. */
static void room_in_cgroups(struct room *room)
{
	char line[4096], *name;
	FILE *f;

	f = fopen("/proc/self/cgroup", "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		name = line + 3;
		for (; *name; *strrchr(name, '/') = '\0')
			room_in_cgroup(room, name);
	}
	fclose(f);
}

/* Tell, and say no, if a buffer of @size bytes would take more than there is. */
int memory_fits(const struct options *o, uint64_t size)
{
	struct room room = { .least = UINT64_MAX };
	uint64_t kib;
	int ret = EXIT_OK;

	/* Huge pages are set aside: there are enough, or the kernel says so. */
	if (o->force || o->hugetlb)
		return EXIT_OK;
	if (number_in("/proc/meminfo", "MemAvailable:", 10, &kib))
		room_limit(&room, kib * 1024, "MemAvailable of /proc/meminfo");
	room_in_cgroups(&room);
	if (size > room.least)
		ret = fail(.what = say("make a buffer of %s:",
				       human_size(size)),
			   .object = say("%s is available, says %s",
					 human_size(room.least),
					 room.said_by ?: "the system"),
			   .err = -ENOMEM,
			   .advice = "a smaller one, or --force");
	free(room.said_by);
	return ret;
}
