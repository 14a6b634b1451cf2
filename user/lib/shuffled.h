/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory in pieces: a udmabuf whose pages are in shuffled order, as those of a
 * machine that has run for long may be.  For what measures and what tests: the
 * benchmark of blkdmabufctl, the engine for fio and selftests make it so.
 */
#ifndef SHUFFLED_H
#define SHUFFLED_H

#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static inline unsigned int shuffled_list_limit(void)
{
	FILE *f = fopen("/sys/module/udmabuf/parameters/list_limit", "re");
	unsigned int limit = 0;

	if (!f || fscanf(f, "%u", &limit) != 1 || !limit)
		limit = 1024;	/* udmabuf's default */
	if (f)
		fclose(f);
	return limit;
}

/* The same order each time, so that a failure can be repeated. */
static inline void shuffled_order(struct udmabuf_create_list *list)
{
	struct udmabuf_create_item *items = list->list, tmp;
	uint64_t seed = 1;
	unsigned int i, j;

	for (i = list->count - 1; i > 0; i--) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		j = (seed >> 33) % (i + 1);
		tmp = items[i];
		items[i] = items[j];
		items[j] = tmp;
	}
}

/* @memfd cut into pieces; free() it. */
static inline struct udmabuf_create_list *shuffled_pieces(int memfd,
							  uint64_t size)
{
	unsigned int limit = shuffled_list_limit(), count, i;
	uint64_t piece = sysconf(_SC_PAGESIZE);
	struct udmabuf_create_list *list;

	while ((size + piece - 1) / piece > limit)
		piece *= 2;
	count = (size + piece - 1) / piece;
	list = calloc(1, sizeof(*list) + count * sizeof(list->list[0]));
	if (!list)
		return NULL;
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = count;
	for (i = 0; i < count; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = i * piece;
		list->list[i].size = piece;
	}
	if (size % piece)
		list->list[count - 1].size = size % piece;
	shuffled_order(list);
	return list;
}

static inline int shuffled_create(const struct udmabuf_create_list *list)
{
	int fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, UDMABUF_CREATE_LIST, list);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The pieces of @list one behind the other. */
static inline int shuffled_map(const struct udmabuf_create_list *list,
			       uint64_t size, void **mem)
{
	const struct udmabuf_create_item *item;
	char *at;
	int ret = 0;

	*mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*mem == MAP_FAILED)
		return -errno;
	at = *mem;
	for (item = list->list; item < list->list + list->count; item++) {
		if (mmap(at, item->size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, item->memfd,
			 item->offset) == MAP_FAILED)
			ret = -errno;
		at += item->size;
	}
	if (ret)
		munmap(*mem, size);
	return ret;
}

/**
 * shuffled_udmabuf - a dma-buf of fresh memory, zeroed, in shuffled order
 * @size: a multiple of the page size
 * @mem: out: its pages in its order, where direct I/O takes them, for munmap();
 *	takes one of the process' mappings (vm.max_map_count) for each piece.
 *	NULL: not wanted
 *
 * The order is always the same, and seldom contiguous.  A piece is one page as
 * long as udmabuf's list_limit (1024 unless changed) allows, else the smallest
 * power of two of pages with which @size fits.
 *
 * Return: as blkdmabuf_udmabuf().
 */
static inline int shuffled_udmabuf(uint64_t size, void **mem)
{
	struct udmabuf_create_list *list = NULL;
	int memfd, dmabuf, ret = 0;

	memfd = memfd_create("shuffled", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0)
		return -errno;
	/* Pages that udmabuf allocates come in its order: allocate in ours. */
	if (fallocate(memfd, 0, 0, size) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		ret = errno == ENOSPC ? -ENOMEM : -errno;
	if (!ret)
		list = shuffled_pieces(memfd, size);
	if (!ret && !list)
		ret = -ENOMEM;
	dmabuf = ret ?: shuffled_create(list);
	if (dmabuf >= 0 && mem)
		ret = shuffled_map(list, size, mem);
	/* The dma-buf holds the pages. */
	close(memfd);
	free(list);
	if (dmabuf < 0 || !ret)
		return dmabuf;
	close(dmabuf);
	return ret;
}

#endif /* SHUFFLED_H */
