// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: devices and files, and what they are on.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "blkdmabufctl.h"

/* ---- Disks ---- */

/* Directory of the disk in sysfs. */
int device_sysfs(dev_t disk, char *path, size_t len)
{
	char real[PATH_MAX];

	if (!realpath(say("/sys/dev/block/%u:%u", major(disk), minor(disk)),
		      real))
		return -errno;
	snprintf(path, len, "%s", real);
	return 0;
}

/* The device that does the DMA is the first one upwards that has a group. */
const char *device_iommu(dev_t disk)
{
	char dir[PATH_MAX], type[64], *slash;

	if (device_sysfs(disk, dir, sizeof(dir)))
		return NULL;
	if (strstr(dir, "/devices/virtual/"))
		return IOMMU_VIRTUAL;
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (read_line(say("%s/iommu_group/type", dir), type,
			      sizeof(type)))
			return say("%s", type);
		*slash = 0;
	}
	return IOMMU_NONE;
}

static bool read_dev(const char *path, dev_t *dev)
{
	unsigned int maj, min;
	char line[64];

	if (!read_line(path, line, sizeof(line)) ||
	    sscanf(line, "%u:%u", &maj, &min) != 2)
		return false;
	*dev = makedev(maj, min);
	return true;
}

/* A partition lies in the directory of its disk. */
static dev_t find_disk(dev_t self, uint64_t *start)
{
	char dir[PATH_MAX];
	dev_t disk = self;

	*start = 0;
	if (device_sysfs(self, dir, sizeof(dir)) ||
	    access(say("%s/partition", dir), F_OK))
		return self;
	if (number_in(say("%s/start", dir), "", 10, start))
		*start <<= 9;
	read_dev(say("%s/../dev", dir), &disk);
	return disk;
}

/* More than stacks have in practice; ends a walk whatever sysfs says. */
#define MAX_LAYERS	8

static unsigned int add_leaves(dev_t disk, dev_t *leaves, unsigned int nr,
			       unsigned int max, unsigned int depth)
{
	unsigned int i, slaves = 0;
	struct dirent *entry;
	uint64_t start;
	dev_t dev;
	DIR *d;

	d = opendir(say("/sys/dev/block/%u:%u/slaves", major(disk),
			minor(disk)));
	while (d && depth < MAX_LAYERS && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' ||
		    !read_dev(say("/sys/class/block/%s/dev", entry->d_name),
			      &dev))
			continue;
		slaves++;
		nr = add_leaves(find_disk(dev, &start), leaves, nr, max,
				depth + 1);
	}
	if (d)
		closedir(d);
	for (i = 0; i < nr; i++)
		if (leaves[i] == disk)
			return nr;
	if (!slaves && nr < max)
		leaves[nr++] = disk;
	return nr;
}

/* The disks at the bottom of a stack; a disk that is none is its own. */
unsigned int device_leaves(dev_t disk, dev_t *leaves, unsigned int max)
{
	return add_leaves(disk, leaves, 0, max, 0);
}

/* ---- Files ---- */

/* Type of the file system, as mount(8) has it. */
const char *file_system(int fd)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	const char *type = NULL, *at;
	unsigned long long id;
	struct statx stx;
	char *line = NULL;
	size_t len = 0;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx))
		stx.stx_mask = 0;
	while (f && stx.stx_mask & STATX_MNT_ID && !type &&
	       getline(&line, &len, f) > 0) {
		at = strstr(line, " - ");
		if (at && sscanf(line, "%llu", &id) == 1 &&
		    id == stx.stx_mnt_id)
			type = say("%.*s", (int)strcspn(at + 3, " "), at + 3);
	}
	free(line);
	if (f)
		fclose(f);
	return type ?: "an unknown file system";
}

static const struct {
	uint64_t	attribute;	/* of statx(2), or */
	long		flag;		/* of FS_IOC_GETFLAGS */
	const char	*words;
} obstacles[] = {
	{ STATX_ATTR_DAX, 0, "in DAX mode" },
	{ STATX_ATTR_ENCRYPTED, 0, "encrypted" },
	{ STATX_ATTR_VERITY, 0, "protected by fs-verity" },
	{ 0, FS_JOURNAL_DATA_FL, "journalled with its data" },
	{ 0, FS_INLINE_DATA_FL, "kept in its inode" },
};

/* What stands in the way of direct I/O; NULL if nothing that shows. */
const char *file_obstacle(int fd)
{
	struct statx stx = {};
	long flags = 0;
	size_t i;

	statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		flags = 0;
	for (i = 0; i < ARRAY_SIZE(obstacles); i++)
		if (stx.stx_attributes & obstacles[i].attribute ||
		    flags & obstacles[i].flag)
			return obstacles[i].words;
	return NULL;
}

/* What to try next where that depends on the file, or NULL. */
const char *file_advice(const struct device *dev, unsigned int reason)
{
	const char *obstacle;

	if (!dev->file)
		return NULL;
	if (reason == BLK_DMABUF_FILE_SYSTEM)
		return say("a file on ext4 or XFS instead of %s, the block "
			   "device, or --allow-copy", file_system(dev->fd));
	obstacle = reason == BLK_DMABUF_FILE ? file_obstacle(dev->fd) : NULL;
	return obstacle ? say("a file that is not %s, or --allow-copy",
			      obstacle) : NULL;
}

/* ---- Opening ---- */

/* What is not there below /dev is a device that is not there. */
static bool below_dev(const char *path)
{
	return !strncmp(path, "/dev/", 5);
}

static int no_device(const char *path, mode_t mode)
{
	const char *advice = "lsblk -p lists the block devices there are";

	if (S_ISCHR(mode) && !strncmp(path, "/dev/nvme", 9))
		advice = say("this is the controller; a namespace of it is "
			     "%sn1", path);
	else if (S_ISREG(mode))
		advice = say("the device it is on: findmnt -T %s", path);
	else if (S_ISDIR(mode))
		advice = "a file in it, or the device: findmnt shows it";
	return fail(.what = "open", .object = path, .err = -ENOTBLK,
		    .reason = BLK_DMABUF_NO_DEVICE, .advice = advice);
}

bool is_not_there(int err)
{
	return err == ENOENT || err == ENXIO || err == ENOTDIR;
}

static int open_failed(const char *path, int flags, int err, bool block)
{
	const char *advice = NULL;

	if (is_not_there(err) && (block || below_dev(path)))
		advice = "lsblk -p lists the block devices there are";
	else if (is_not_there(err) && flags & O_CREAT)
		advice = "a directory that is there";
	else if (is_not_there(err) && (flags & O_ACCMODE) != O_RDONLY)
		advice = "--create to make a file, or a name that is there";
	else if (is_not_there(err))
		advice = "a file or a block device that is there";
	else if (err == EBUSY && flags & O_EXCL)
		advice = flags & O_UNFORCED ?
			 "it is mounted or held: unmount it, or name a file" :
			 "it is mounted or held: unmount it, or --force";
	else if (err == EBUSY)
		advice = "this kernel lets nobody write to what is mounted: "
			 "unmount it";
	else if (err == EROFS && block)
		advice = say("blockdev --setrw %s", path);
	else if (err == EROFS)
		advice = "mount -o remount,rw on its file system";
	return fail(.what = "open", .object = path, .err = -err,
		    .advice = advice);
}

/* Some drivers let a read-only disk be opened for writing. */
static bool is_read_only(int fd)
{
	int ro = 0;

	return !ioctl(fd, BLKROGET, &ro) && ro;
}

static int open_block(struct device *dev, dev_t self, int flags)
{
	int err = 0;

	flags &= ~O_CREAT;
	dev->fd = open(dev->path, (flags & ~O_UNFORCED) | O_CLOEXEC);
	if (dev->fd < 0)
		err = errno;
	else if ((flags & O_ACCMODE) != O_RDONLY && is_read_only(dev->fd))
		err = EROFS;
	if (err)
		return open_failed(dev->path, flags, err, true);
	dev->disk = find_disk(self, &dev->start);
	return EXIT_OK;
}

/* @flags with O_CREAT: it was not there a moment ago. */
static int open_file(struct device *dev, int flags)
{
	uint64_t start;
	struct stat st;

	flags &= ~(O_EXCL | O_UNFORCED);
	dev->fd = open(dev->path, flags | O_CLOEXEC |
		       (flags & O_CREAT ? O_EXCL : 0), 0666);
	if (dev->fd < 0 || fstat(dev->fd, &st))
		return open_failed(dev->path, flags, errno, false);
	/* If it takes none, the kernel knows better words than EINVAL. */
	fcntl(dev->fd, F_SETFL, O_DIRECT);
	dev->file = true;
	dev->created = flags & O_CREAT;
	/* Numbers without a major are of no block device. */
	if (major(st.st_dev))
		dev->disk = find_disk(st.st_dev, &start);
	return EXIT_OK;
}

int device_open(struct device *dev, const char *path, int flags)
{
	struct stat st;

	*dev = (struct device) { .path = path, .fd = -1 };
	if (!stat(path, &st)) {
		if (S_ISBLK(st.st_mode))
			return open_block(dev, st.st_rdev, flags);
		if (S_ISREG(st.st_mode))
			return open_file(dev, flags & ~O_CREAT);
		return no_device(path, st.st_mode);
	}
	if (errno == ENOENT && flags & O_CREAT && !below_dev(path))
		return open_file(dev, flags);
	return open_failed(path, flags, errno, false);
}

int device_open_block(struct device *dev, const char *path, int flags)
{
	struct stat st;

	if (!stat(path, &st) && !S_ISBLK(st.st_mode))
		return no_device(path, st.st_mode);
	return device_open(dev, path, flags);
}

/* For who wants to know no more than that. */
int device_find_disk(const char *path, dev_t *disk)
{
	struct device dev;
	int ret;

	ret = device_open(&dev, path, O_RDONLY);
	if (ret)
		return ret;
	*disk = dev.disk;
	if (!dev.disk)
		ret = fail(.what = "find the disk below", .object = path,
			   .err = -ENOTBLK, .advice =
			   say("a block device: %s names none that it is on",
			       file_system(dev.fd)));
	close(dev.fd);
	return ret;
}

/* A channel, or -errno, and why if that is known. */
int device_channel(const struct device *dev, uint32_t flags,
		   unsigned int *reason)
{
	struct blk_dmabuf_features before;
	int chan;

	refusals_now(&before);
	chan = blkdmabuf_channel_flags(dev->fd, flags);
	*reason = chan < 0 ? refused_since(&before) : BLK_DMABUF_OK;
	return chan;
}
