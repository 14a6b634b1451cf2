/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test programs share: data that says where it belongs, disks by the
 * serial number that selftests/profiles gives them, and small things.
 */
#ifndef SELFTESTS_DMABUF_H
#define SELFTESTS_DMABUF_H

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "libblkdmabuf.h"
#include "shuffled.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ALIGN(x, a)	(((x) + (a) - 1) / (a) * (a))
#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define PAGE		4096ULL

/* What a byte is that nobody may touch, or that is still to be written. */
#define POISON		0xa5

/*
 * The data of a device: a word is a function of the position of its first byte
 * and of a seed, so that what is at the wrong place, from the wrong time or of
 * the wrong I/O is seen to be so.
 */
static inline uint64_t data_word(uint64_t pos, uint64_t seed)
{
	uint64_t x = (pos >> 3) + seed * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	return x;
}

/* @pos and @len are multiples of 8, @mem of 4. */
static inline void data_fill(void *mem, uint64_t pos, size_t len, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len; i += 8) {
		uint64_t word = data_word(pos + i, seed);

		memcpy((char *)mem + i, &word, 8);
	}
}

/* How many bytes differ; *@first is the first of them. */
static inline size_t data_check(const void *mem, uint64_t pos, size_t len,
				uint64_t seed, size_t *first)
{
	const unsigned char *bytes = mem;
	size_t i, k, bad = 0;

	for (i = 0; i < len; i += 8) {
		uint64_t have, want = data_word(pos + i, seed);

		memcpy(&have, bytes + i, 8);
		if (have == want)
			continue;
		for (k = 0; k < 8; k++) {
			if (bytes[i + k] == ((unsigned char *)&want)[k])
				continue;
			if (!bad++ && first)
				*first = i + k;
		}
	}
	return bad;
}

static inline size_t poison_check(const void *mem, size_t len, size_t *first)
{
	const unsigned char *bytes = mem;
	size_t i, bad = 0;

	for (i = 0; i < len; i++)
		if (bytes[i] != POISON && !bad++ && first)
			*first = i;
	return bad;
}

/*
 * /dev/NAME of the NVMe disk with this serial number, or NULL; the caller may
 * keep it.
 */
static inline const char *disk_by_serial(const char *serial)
{
	static char path[8][64];
	static unsigned int next;
	char *name = NULL, have[64];
	glob_t g;
	size_t i;

	if (glob("/sys/block/nvme*/device/serial", 0, NULL, &g))
		return NULL;
	for (i = 0; i < g.gl_pathc && !name; i++) {
		FILE *f = fopen(g.gl_pathv[i], "re");

		if (!f)
			continue;
		if (fscanf(f, "%63s", have) == 1 && !strcmp(have, serial)) {
			name = path[next++ % ARRAY_SIZE(path)];
			snprintf(name, sizeof(path[0]), "/dev/%.*s",
				 (int)strcspn(g.gl_pathv[i] + 11, "/"),
				 g.gl_pathv[i] + 11);
		}
		fclose(f);
	}
	globfree(&g);
	return name;
}

/* The kernel's own spelling, which its tracepoints have. */
static inline const char *reason_name(unsigned int reason)
{
	static char name[32];
	char *c;

	snprintf(name, sizeof(name), "%s", blkdmabuf_reason_str(reason));
	for (c = name; *c; c++)
		*c = *c == '_' ? '-' : tolower(*c);
	return name;
}

static inline uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static inline uint64_t now_ms(void)
{
	return now_us() / 1000;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/*
 * A gate is the file tracing_on of a tracing instance, open as long as an I/O
 * takes: then its trace_marker says of which direction that is.
 */
struct gate {
	int	on;
	int	marker;
};

static inline int gate_open(struct gate *gate, const char *path)
{
	char marker[256];

	snprintf(marker, sizeof(marker), "%.*s/trace_marker",
		 (int)(strrchr(path, '/') - path), path);
	gate->on = open(path, O_WRONLY | O_CLOEXEC);
	gate->marker = open(marker, O_WRONLY | O_CLOEXEC);
	return gate->on < 0 || gate->marker < 0 ? -1 : 0;
}

static inline int gate_set(const struct gate *gate, bool open, bool writing)
{
	const char *word = writing ? "write" : "read";

	if (write(gate->on, open ? "1" : "0", 1) != 1)
		return -1;
	return open && write(gate->marker, word, strlen(word)) < 0 ? -1 : 0;
}

#endif /* SELFTESTS_DMABUF_H */
