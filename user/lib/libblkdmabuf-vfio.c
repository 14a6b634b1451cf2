// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dma-bufs out of BARs of PCI devices, with vfio-pci as the exporter.  What the
 * functions do and return is written in libblkdmabuf.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libblkdmabuf.h"

/* Newer than the headers of some distributions. */
#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32	argsz;
	__u32	flags;
	__s32	iommufd;
	__u32	out_devid;
};
#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#endif

#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF	11
#endif

/* Of the header, whose last member has no length, and what follows it. */
struct vfio_get_dma_buf {
	__u32	argsz;
	__u32	flags;
	__u32	region_index;
	__u32	open_flags;
	__u32	resv;
	__u32	nr_ranges;
	struct blkdmabuf_vfio_range ranges[];
};

#define SYSFS_DEVICES	"/sys/bus/pci/devices"

/* The first name in a directory of sysfs that is no dot. */
static int first_in(const char *dir, char *name, size_t len)
{
	struct dirent *entry;
	int ret = -ENXIO;
	DIR *d = opendir(dir);

	while (d && ret && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, len, "%s", entry->d_name);
		ret = 0;
	}
	if (d)
		closedir(d);
	return ret;
}

static int open_rw(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The device's own node.  What it is bound to it keeps open. */
static int open_cdev(const char *name)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	char path[PATH_MAX];
	int device, ret = 0;

	bind.iommufd = open_rw("/dev/iommu");
	if (bind.iommufd < 0)
		return bind.iommufd;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	device = open_rw(path);
	if (device >= 0 && ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) {
		ret = -errno;
		close(device);
	}
	close(bind.iommufd);
	return ret ?: device;
}

static int device_of_group(int group, int container, int type, const char *bdf)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int device;

	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status))
		return -errno;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return -EPERM;
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, type))
		return -errno;
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	return device < 0 ? -errno : device;
}

/* As it was before devices had nodes.  The device keeps both open. */
static int open_group(const char *bdf)
{
	char path[PATH_MAX], real[PATH_MAX], *number;
	int type = VFIO_TYPE1v2_IOMMU;
	int container, group, ret;

	snprintf(path, sizeof(path), SYSFS_DEVICES "/%s/iommu_group", bdf);
	if (!realpath(path, real))
		return -ENXIO;
	number = basename(real);
	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	group = open_rw(path);
	if (group == -ENOENT) {
		type = VFIO_NOIOMMU_IOMMU;
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", number);
		group = open_rw(path);
	}
	if (group < 0)
		return group;
	container = open_rw("/dev/vfio/vfio");
	ret = container < 0 ? container :
	      device_of_group(group, container, type, bdf);
	if (container >= 0)
		close(container);
	close(group);
	return ret;
}

int blkdmabuf_vfio_memory(int device, int on)
{
	uint64_t config;
	uint16_t command;
	int ret;

	ret = blkdmabuf_vfio_region(device, VFIO_PCI_CONFIG_REGION_INDEX,
				    &config, NULL);
	if (ret)
		return ret;
	if (pread(device, &command, sizeof(command), config + PCI_COMMAND) !=
	    sizeof(command))
		return -EIO;
	command &= ~PCI_COMMAND_MEMORY;
	if (on)
		command |= PCI_COMMAND_MEMORY;
	if (pwrite(device, &command, sizeof(command), config + PCI_COMMAND) !=
	    sizeof(command))
		return -EIO;
	return 0;
}

/* The kernel knows devices by their full name. */
static int full_name(const char *device, char bdf[32])
{
	char path[PATH_MAX];
	unsigned int len;

	len = snprintf(bdf, 32, "%s%s", strchr(device, ':') ==
		       strrchr(device, ':') ? "0000:" : "", device);
	snprintf(path, sizeof(path), SYSFS_DEVICES "/%s", bdf);
	return len >= 32 || strchr(device, '/') || access(path, F_OK) ?
	       -ENODEV : 0;
}

int blkdmabuf_vfio_open(const char *device)
{
	char bdf[32], dir[PATH_MAX], name[NAME_MAX + 1];
	int fd, ret;

	ret = full_name(device, bdf);
	if (ret)
		return ret;
	snprintf(dir, sizeof(dir), SYSFS_DEVICES "/%s/vfio-dev", bdf);
	ret = first_in(dir, name, sizeof(name));
	if (ret)
		return ret;
	fd = open_cdev(name);
	if (fd == -ENOENT || fd == -ENXIO || fd == -ENODEV)
		fd = open_group(bdf);
	if (fd < 0)
		return fd;
	/* Without it there is nothing to export, and vfio starts without. */
	ret = blkdmabuf_vfio_memory(fd, true);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

int blkdmabuf_vfio_region(int device, unsigned int index, uint64_t *offset,
			  uint64_t *size)
{
	struct vfio_region_info info = {
		.argsz	= sizeof(info),
		.index	= index,
	};

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	if (offset)
		*offset = info.offset;
	if (size)
		*size = info.size;
	return 0;
}

int blkdmabuf_vfio_dmabuf(int device, unsigned int bar,
			  const struct blkdmabuf_vfio_range *ranges,
			  unsigned int nr)
{
	struct vfio_get_dma_buf *get;
	struct blkdmabuf_vfio_range all = {};
	size_t len;
	int ret;

	if (bar > VFIO_PCI_BAR5_REGION_INDEX)
		return -EINVAL;
	if (!nr) {
		ret = blkdmabuf_vfio_region(device, bar, NULL, &all.length);
		if (ret || !all.length)
			return ret ?: -ENODEV;
		ranges = &all;
		nr = 1;
	}
	len = sizeof(*get) + nr * sizeof(*ranges);
	get = calloc(1, len);
	if (!get)
		return -ENOMEM;
	get->argsz = len;
	get->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->region_index = bar;
	get->open_flags = O_RDWR | O_CLOEXEC;
	get->nr_ranges = nr;
	memcpy(get->ranges, ranges, nr * sizeof(*ranges));
	ret = ioctl(device, VFIO_DEVICE_FEATURE, get);
	ret = ret < 0 ? -errno : ret;
	free(get);
	return ret;
}
