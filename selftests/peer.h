/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of another PCI device: the BAR of an ivshmem device (profile p2p=),
 * which vfio-pci exports, as a rig.  The host has the same bytes in a file.
 */
#ifndef SELFTESTS_PEER_H
#define SELFTESTS_PEER_H

#include <libgen.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include "policy.h"

#define PEER_BAR	2	/* of ivshmem: its memory */
#define PEER_SIZE	(16 * MIB)

static int peer_device = -1;

static inline bool peer_file_is(const char *path, const char *text)
{
	char line[4096] = "";
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	return !strcmp(line, text);
}

/* The PCI device with this device number as its directory in sysfs, or NULL. */
static inline char *peer_find(const char *number)
{
	char *dir = NULL;
	glob_t g;
	size_t i;

	if (glob("/sys/bus/pci/devices/*/device", 0, NULL, &g))
		return NULL;
	for (i = 0; i < g.gl_pathc && !dir; i++)
		if (peer_file_is(g.gl_pathv[i], number))
			dir = strdup(dirname(g.gl_pathv[i]));
	globfree(&g);
	return dir;
}

/* Its name, such as 0000:01:00.0. */
static inline const char *peer_name(void)
{
	static char *dir;

	if (!dir)
		dir = peer_find("0x1110");
	if (!dir)
		tap_skip("an ivshmem device");
	return strrchr(dir, '/') + 1;
}

/* The same as bus number and function. */
static inline uint32_t peer_id(void)
{
	unsigned int domain, bus, device, function;

	CHECK_EQ(sscanf(peer_name(), "%x:%x:%x.%x", &domain, &bus, &device,
			&function), 4);
	return bus << 8 | device << 3 | function;
}

static inline void peer_open(void)
{
	const char *name = peer_name();
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", name);
	if (access(path, F_OK)) {
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/driver_override", name);
		put(path, "vfio-pci");
		put("/sys/bus/pci/drivers_probe", name);
	}
	peer_device = blkdmabuf_vfio_open(name);
	if (peer_device < 0)
		tap_fail(__FILE__, __LINE__, "vfio: %s",
			 strerror(-peer_device));
}

/* All of the BAR as the CPU sees it. */
static inline unsigned char *peer_map(void)
{
	uint64_t offset, size;
	void *mem;

	CHECK_EQ(blkdmabuf_vfio_region(peer_device, PEER_BAR, &offset, &size),
		 0);
	CHECK_EQ(size, PEER_SIZE);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, peer_device,
		   offset);
	CHECK(mem != MAP_FAILED);
	return mem;
}

/* A rig whose memory is the first @size bytes of the BAR; not registered yet. */
static inline void peer_rig(struct rig *r, const char *serial, uint64_t size)
{
	struct blkdmabuf_vfio_range range = { .length = size };

	if (peer_device < 0)
		peer_open();
	memset(r, 0, sizeof(*r));
	r->bdev = rig_open_disk(serial, O_RDWR | O_DIRECT);
	r->size = size;
	r->dmabuf = blkdmabuf_vfio_dmabuf(peer_device, PEER_BAR, &range, 1);
	CHECK(r->dmabuf >= 0);
	/* This dma-buf has no mmap(), the device has. */
	r->mem = peer_map();
}

static inline void peer_memory(bool on)
{
	CHECK_EQ(blkdmabuf_vfio_memory(peer_device, on), 0);
}

/* @len bytes of the BAR as the host has them. */
static inline void peer_host(void *mem, uint64_t offset, size_t len)
{
	const char *out = getenv("OUT");
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/bar.img", out ?: "");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		tap_skip(path);
	CHECK_EQ(pread(fd, mem, len, offset), len);
	close(fd);
}

static inline size_t peer_check_host(uint64_t offset, uint64_t pos, size_t len,
				     uint64_t seed)
{
	void *mem = aligned_alloc(PAGE, len);
	size_t bad;

	peer_host(mem, offset, len);
	bad = data_check(mem, pos, len, seed, NULL);
	free(mem);
	return bad;
}

#endif /* SELFTESTS_PEER_H */
