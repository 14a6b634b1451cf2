/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * File systems for test programs: made on a disk of the VM, or on a partition
 * of one, mounted below /run, and taken away again.  And a rig whose channel is
 * open on a file.
 */
#ifndef SELFTESTS_FS_H
#define SELFTESTS_FS_H

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "module.h"
#include "rig.h"

struct fs {
	const char	*type;		/* ext4, xfs */
	const char	*serial;	/* of the disk */
	unsigned int	part;		/* of its partitions, 0: the disk */
	const char	*make;		/* options of mkfs */
	const char	*data;		/* options of mount */
	unsigned long	flags;		/* MS_* */
	char		dev[64];
	char		dir[64];
};

/* One that is named where it is used. */
#define FS(...)	(&(struct fs){ __VA_ARGS__ })

/* ---- tools ---- */

static inline bool tool_there(const char *name)
{
	static const char * const dirs[] = { "/usr/sbin", "/sbin", "/usr/bin",
					     "/bin", "/usr/local/sbin" };
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/*
 * Run a command line, and show what it said if it failed.  Its exit code; the
 * test is skipped when the tool, which is the first word, is not there.
 */
__attribute__((format(printf, 1, 2)))
static inline int tool(const char *fmt, ...)
{
	char line[512], cmd[600], name[64], said[4096];
	va_list args;
	size_t n;
	FILE *f;
	int ret;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, " "), line);
	if (!tool_there(name))
		tap_skip(name);
	snprintf(cmd, sizeof(cmd), "%s 2>&1", line);
	f = popen(cmd, "re");
	CHECK(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = 0;
	ret = pclose(f);
	ret = WIFEXITED(ret) ? WEXITSTATUS(ret) : -1;
	if (ret) {
		char *at, *save = said;

		printf("# %s: exit code %d\n", line, ret);
		while ((at = strsep(&save, "\n")) && save)
			printf("#   %s\n", at);
	}
	return ret;
}

/* ---- file systems ---- */

/* The device as it is called in this boot. */
static inline void fs_find(struct fs *fs)
{
	const char *disk = disk_by_serial(fs->serial);

	if (!disk)
		tap_skip(fs->serial);
	if (fs->part)
		snprintf(fs->dev, sizeof(fs->dev), "%sp%u", disk, fs->part);
	else
		snprintf(fs->dev, sizeof(fs->dev), "%s", disk);
	snprintf(fs->dir, sizeof(fs->dir), "/run/%s-%s", fs->type,
		 strrchr(fs->dev, '/') + 1);
}

static inline bool fs_mounted(const struct fs *fs)
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char line[1024], want[80];
	bool there = false;

	CHECK(f);
	snprintf(want, sizeof(want), " %s ", fs->dir);
	while (!there && fgets(line, sizeof(line), f))
		there = strstr(line, want);
	fclose(f);
	return there;
}

/* -errno, or 0 */
static inline int fs_try_mount(struct fs *fs, unsigned long flags)
{
	if (mkdir(fs->dir, 0755) && errno != EEXIST)
		return -errno;
	return mount(fs->dev, fs->dir, fs->type, fs->flags | flags, fs->data) ?
		-errno : 0;
}

static inline void fs_mount(struct fs *fs)
{
	int ret = fs_try_mount(fs, 0);

	if (ret)
		tap_fail(__FILE__, __LINE__, "mount %s on %s: %s", fs->dev,
			 fs->dir, strerror(-ret));
}

/* Files are let go of by work that may come a moment after close(). */
static inline void fs_umount(struct fs *fs)
{
	CHECK_SOON(!umount2(fs->dir, 0) || errno != EBUSY);
	CHECK(!fs_mounted(fs));
}

/*
 * Unmount what is on the device @dev, or if that is NULL what is below /run and
 * not on the disk @but: tests may be ended while theirs is mounted.
 */
static inline void fs_clear(const char *dev, const char *but)
{
	char line[1024], from[256], to[256], dirs[8][256];
	FILE *f = fopen("/proc/self/mounts", "re");
	unsigned int n = 0;

	CHECK(f);
	while (n < ARRAY_SIZE(dirs) && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%255s %255s", from, to) != 2)
			continue;
		if (dev ? !strcmp(from, dev) :
		    (!strncmp(to, "/run/", 5) && !strncmp(from, "/dev/", 5) &&
		     (!but || strncmp(from, but, strlen(but)))))
			strcpy(dirs[n++], to);
	}
	fclose(f);
	while (n--) {
		uint64_t end = now_ms() + 10000;

		while (umount2(dirs[n], 0) && now_ms() < end)
			sleep_ms(10);
		umount2(dirs[n], MNT_DETACH);
	}
}

static inline void fs_make(struct fs *fs)
{
	bool xfs = !strcmp(fs->type, "xfs");

	if (xfs)
		need_module("xfs");
	fs_find(fs);
	fs_clear(fs->dev, NULL);
	CHECK_EQ(tool("mkfs.%s -q %s %s %s", fs->type, xfs ? "-f" : "-F",
		      fs->make ?: "", fs->dev), 0);
	fs_mount(fs);
}

/* The one that a suite shares: made when the first test comes. */
static inline struct fs *fs_use(struct fs *fs)
{
	fs_find(fs);
	if (!fs_mounted(fs))
		fs_make(fs);
	return fs;
}

/* Nothing of it is cached after that. */
static inline void fs_cycle(struct fs *fs)
{
	fs_umount(fs);
	fs_mount(fs);
}

/* The checker's opinion of an unmounted one. */
static inline void fs_check(struct fs *fs)
{
	if (!strcmp(fs->type, "xfs"))
		CHECK_EQ(tool("xfs_repair -n %s", fs->dev), 0);
	else
		CHECK_EQ(tool("e2fsck -fn %s", fs->dev), 0);
}

static inline const char *fs_path(const struct fs *fs, const char *name)
{
	static char path[4][192];
	static unsigned int next;
	char *p = path[next++ % ARRAY_SIZE(path)];

	snprintf(p, sizeof(path[0]), "%s/%s", fs->dir, name);
	return p;
}

static inline int fs_open(const struct fs *fs, const char *name, int flags)
{
	const char *path = fs_path(fs, name);
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		tap_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

static inline uint64_t size_of(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_size;
}

/* ---- rigs on files ---- */

/* A file that is new, a buffer, a channel; r->bdev is the file. */
static inline void rig_up_file(struct rig *r, struct fs *fs, const char *name,
			       uint64_t size)
{
	memset(r, 0, sizeof(*r));
	unlink(fs_path(fs, name));
	r->bdev = fs_open(fs, name, O_RDWR | O_CREAT | O_DIRECT);
	rig_buffer(r, size, false);
	rig_register(r);
	rig_bind(r);
}

/* The file opened again, and another channel on it: the buffer stays. */
static inline void rig_reopen(struct rig *r, struct fs *fs, const char *name,
			      int flags)
{
	close(r->chan);
	close(r->bdev);
	r->bdev = fs_open(fs, name, flags | O_DIRECT);
	rig_bind(r);
}

/* What keeps the file system busy goes; the buffer stays. */
static inline void rig_down_file(struct rig *r)
{
	if (rig_uring.ring_fd) {
		io_uring_queue_exit(&rig_uring);
		memset(&rig_uring, 0, sizeof(rig_uring));
	}
	close(r->chan);
	close(r->bdev);
}

/* ---- plain buffered I/O, which is trusted, too ---- */

static inline void buffered_write(int fd, uint64_t pos, uint64_t len,
				  uint64_t seed)
{
	void *mem = malloc(len);

	data_fill(mem, pos, len, seed);
	CHECK_EQ(pwrite(fd, mem, len, pos), len);
	free(mem);
}

static inline size_t buffered_check(int fd, uint64_t pos, uint64_t len,
				    uint64_t seed)
{
	void *mem = malloc(len);
	size_t bad;

	CHECK_EQ(pread(fd, mem, len, pos), len);
	bad = data_check(mem, pos, len, seed, NULL);
	free(mem);
	return bad;
}

static inline size_t bytes_not(const void *mem, size_t len, unsigned char want)
{
	const unsigned char *bytes = mem;
	size_t i, bad = 0;

	for (i = 0; i < len; i++)
		bad += bytes[i] != want;
	return bad;
}

static inline size_t buffered_zeros(int fd, uint64_t pos, uint64_t len)
{
	void *mem = malloc(len);
	size_t bad;

	CHECK_EQ(pread(fd, mem, len, pos), len);
	bad = bytes_not(mem, len, 0);
	free(mem);
	return bad;
}

#endif /* SELFTESTS_FS_H */
