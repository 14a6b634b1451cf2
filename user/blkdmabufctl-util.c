// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: errors, devices and files, dma-bufs, numbers.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "blkdmabufctl.h"

/* ---- Telling ---- */

/* Of any length, and as long as a message of so many parts is put together. */
const char *say(const char *fmt, ...)
{
	static char *said[8];
	static unsigned int next;
	char **buf = &said[next++ % ARRAY_SIZE(said)];
	va_list ap;

	free(*buf);
	va_start(ap, fmt);
	if (vasprintf(buf, fmt, ap) < 0)
		*buf = NULL;
	va_end(ap);
	return *buf ?: "(out of memory)";
}

void add_str(struct json_object *obj, const char *key, const char *val)
{
	json_object_object_add(obj, key,
			       val ? json_object_new_string(val) : NULL);
}

void add_u64(struct json_object *obj, const char *key, uint64_t val)
{
	json_object_object_add(obj, key, json_object_new_uint64(val));
}

void add_bool(struct json_object *obj, const char *key, bool val)
{
	json_object_object_add(obj, key, json_object_new_boolean(val));
}

/* Takes @obj over. */
void print_json(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(obj);
}

/* Where an errno alone tells what to do. */
static const struct {
	int		err;
	const char	*advice;
} errno_advice[] = {
	{ EPERM,	"run it as root" },
	{ EACCES,	"run it as root" },
	{ EBUSY,	"see who uses it: lsblk, fuser, lsof" },
	{ ENOMEM,	"use a smaller buffer" },
	{ ENOSPC,	"free some space" },
	{ EMFILE,	"raise the limit of open files: ulimit -n" },
	{ EIO,		"look for the device's errors in the kernel log" },
	{ ENODEV,	"the device may be gone: look into the kernel log" },
	{ EPIPE,	"see why the reader ended" },
	{ EINTR,	"start it again" },
	{ ETIMEDOUT,	"see what keeps the exporter busy: dmesg" },
};

static const char *find_advice(const struct failure *f)
{
	size_t i;

	if (f->advice)
		return f->advice;
	if (f->reason)
		return blkdmabuf_reason_advice(f->reason);
	if ((f->err == -EPERM || f->err == -EACCES) && !geteuid())
		return "root may not either: look at modes, containers and "
		       "lockdown";
	for (i = 0; i < ARRAY_SIZE(errno_advice); i++)
		if (errno_advice[i].err == -f->err)
			return errno_advice[i].advice;
	return "blkdmabufctl check, and dmesg";
}

static void fail_json(const struct failure *f)
{
	struct json_object *err = json_object_new_object();
	struct json_object *all = f->partial ?: json_object_new_object();

	add_str(err, "what", f->what);
	add_str(err, "object", f->object);
	add_u64(err, "errno", -f->err);
	add_str(err, "code", f->err ? strerrorname_np(-f->err) : NULL);
	add_str(err, "reason",
		f->reason ? blkdmabuf_reason_str(f->reason) : NULL);
	add_str(err, "advice", find_advice(f));
	json_object_object_add(all, "error", err);
	print_json(all);
}

static void fail_text(const struct failure *f)
{
	fprintf(stderr, "blkdmabufctl: %s%s%s", f->what, f->object ? " " : "",
		f->object ?: "");
	if (f->err)
		fprintf(stderr, ": %s", strerror(-f->err));
	if (f->reason)
		fprintf(stderr, ": %s", blkdmabuf_reason_text(f->reason));
	fprintf(stderr, "; try: %s\n", find_advice(f));
	json_object_put(f->partial);
}

int report_failure(const struct failure *f)
{
	fflush(stdout);
	if (want_json)
		fail_json(f);
	else
		fail_text(f);
	return EXIT_FAILED;
}

int usage_error(const char *what, const char *object, const char *advice)
{
	fail(.what = what, .object = object, .err = want_json ? -EINVAL : 0,
	     .advice = advice);
	return EXIT_USAGE;
}

/* ---- Numbers ---- */

static const char units[] = "KMGTPE";

/* 4096, 0x1000, 4K, 4k, 4KiB: powers of 1024, whole numbers. */
bool parse_size(const char *s, uint64_t *size)
{
	int base = !strncasecmp(s, "0x", 2) ? 16 : 10;
	unsigned long long val;
	const char *unit;
	char *end;

	if (!isxdigit((unsigned char)*s))
		return false;
	errno = 0;
	val = strtoull(s, &end, base);
	if (errno || end == s)
		return false;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unit - units + 1);

		if (val > UINT64_MAX >> shift)
			return false;
		val <<= shift;
		end++;
		if (!strcmp(end, "iB"))
			end += 2;
	}
	*size = val;
	return !*end;
}

bool parse_u32(const char *s, uint32_t *val)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v > INT32_MAX)
		return false;
	*val = v;
	return true;
}

const char *human_size(uint64_t bytes, char buf[HUMAN_LEN])
{
	unsigned int unit = 0;
	double val = bytes;

	if (bytes < 1024) {
		snprintf(buf, HUMAN_LEN, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (val /= 1024; val >= 1024 && units[unit + 1]; val /= 1024)
		unit++;
	snprintf(buf, HUMAN_LEN, val == (uint64_t)val ? "%.0f %ciB" :
		 "%.1f %ciB", val, units[unit]);
	return buf;
}

/* ---- Signals ---- */

volatile sig_atomic_t stop_signal;
static volatile time_t stop_time;

/*
 * Who asks again after a while is tired of waiting: the process ends and the
 * kernel cleans up after it.  At once it is the same request sent twice, to
 * the process and to its group, as timeout(1) does.
 */
static void on_signal(int sig)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (!stop_signal) {
		stop_time = ts.tv_sec;
		stop_signal = sig;
	} else if (ts.tv_sec > stop_time + 1) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* A reader that went away is an error like others. */
	signal(SIGPIPE, SIG_IGN);
}

/* ---- The system ---- */

bool read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, len, f);
	fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

uint64_t huge_page_size(void)
{
	uint64_t kib = 2048;	/* x86, if the kernel does not say */
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %" SCNu64 " kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}

int need_kernel(void)
{
	struct blk_dmabuf_features features;
	int ret;

	ret = blkdmabuf_features(&features);
	if (!ret && features.abi_version < BLK_DMABUF_ABI_VERSION)
		ret = -ENOTTY;
	if (!ret)
		return EXIT_OK;
	if (ret == -ENOTTY)
		return fail(.what = say("speak version %u of the ABI to",
					BLK_DMABUF_ABI_VERSION),
			    .object = "/dev/blkdmabuf", .err = ret,
			    .advice = "boot the kernel that this program was "
			    "built with");
	return fail(.what = "use", .object = "/dev/blkdmabuf", .err = ret,
		    .advice = ret == -EACCES ? NULL :
		    "boot a kernel with CONFIG_BLK_DMABUF=y; "
		    "'blkdmabufctl check' says more");
}

bool pin_exists(const char *dir)
{
	return !access(say("%s/regs", dir), F_OK);
}

int open_control(struct blkdmabuf_ctl **ctl, const char *pin)
{
	const char *advice = NULL;
	int ret;

	ret = blkdmabuf_ctl_open(ctl, pin);
	if (!ret)
		return EXIT_OK;
	if (ret == -EPERM || ret == -EACCES)
		advice = "run it as root: this needs CAP_BPF and CAP_PERFMON";
	else if (ret == -EOPNOTSUPP)
		advice = "boot a kernel with CONFIG_BLK_DMABUF=y and "
			 "CONFIG_DEBUG_INFO_BTF=y";
	else if (ret == -ENOTTY)
		advice = "boot the kernel that this program was built with";
	else if (ret == -ENOTDIR)
		return fail(.what = "find a bpffs at", .object = pin,
			    .err = ret, .advice =
			    "mount -t bpf bpf /sys/fs/bpf; of the directory "
			    "only the last part is made");
	else if (ret == -EEXIST)
		return fail(.what = "use the map", .object =
			    say("%s/regs", pin), .err = ret, .advice =
			    "it is not ours or of another version: remove it, "
			    "or --pin another directory");
	else
		advice = "LIBBPF_LOG_LEVEL=debug shows what the kernel says";
	return fail(.what = "load", .object = "the control programs",
		    .err = ret, .advice = advice);
}

/* ---- What was refused ---- */

void refusals_now(struct blk_dmabuf_features *now)
{
	if (blkdmabuf_features(now))
		memset(now, 0, sizeof(*now));
}

/*
 * The reason that something was refused for since then.  Who is refused gets an
 * errno, and the kernel counts the reason.  If it counted others meanwhile,
 * somebody else was refused, too, and nobody knows which is whose.
 */
unsigned int refused_since(const struct blk_dmabuf_features *before)
{
	unsigned int reason, found = BLK_DMABUF_OK;
	struct blk_dmabuf_features now;

	refusals_now(&now);
	for (reason = BLK_DMABUF_OK + 1; reason < now.nr_reasons &&
	     reason < ARRAY_SIZE(now.refused); reason++) {
		/* Whatever ended an I/O, this is counted beside it. */
		if (now.refused[reason] == before->refused[reason] ||
		    reason == BLK_DMABUF_IO_ERROR)
			continue;
		if (found)
			return BLK_DMABUF_OK;
		found = reason;
	}
	return found;
}

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
	char dir[PATH_MAX], line[64];
	dev_t disk = self;

	*start = 0;
	if (device_sysfs(self, dir, sizeof(dir)) ||
	    access(say("%s/partition", dir), F_OK))
		return self;
	if (read_line(say("%s/start", dir), line, sizeof(line)))
		*start = strtoull(line, NULL, 10) << 9;
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

static bool is_not_there(int err)
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
		advice = "it is mounted or held: unmount it, or --force";
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
	dev->fd = open(dev->path, flags | O_CLOEXEC);
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

	flags &= ~O_EXCL;
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

/* ---- dma-bufs: a file descriptor, or -1 and the failure is told. ---- */

static const char *udmabuf_advice(const struct options *o, uint64_t size,
				  int err)
{
	uint64_t page = o->hugetlb ? huge_page_size() :
			(uint64_t)sysconf(_SC_PAGESIZE);

	if (err == -ENOENT || err == -ENXIO)
		return "boot a kernel with CONFIG_UDMABUF=y, or use --heap";
	if (err == -EINVAL && (!size || size % page))
		return say("a size that is a multiple of %" PRIu64, page);
	if (err == -EINVAL)
		return "a smaller size: /sys/module/udmabuf/parameters/"
		       "size_limit_mb";
	if (err == -ENOMEM && o->hugetlb)
		return say("sysctl vm.nr_hugepages=%" PRIu64, size / page + 1);
	return NULL;
}

/* With its memory at *@mem, unless that is NULL. */
static int make_udmabuf(const struct options *o, uint64_t size, void **mem)
{
	unsigned int flags = 0;
	int ret;

	if (o->hugetlb)
		flags |= BLKDMABUF_HUGETLB;
	if (o->shuffle)
		flags |= BLKDMABUF_SHUFFLE;
	if (memory_fits(o, size))
		return -1;
	/* The library would say so, too, but after making memory. */
	if (o->hugetlb && size % huge_page_size())
		ret = -EINVAL;
	else if (mem)
		ret = blkdmabuf_udmabuf_mapped(size, flags, mem);
	else
		ret = blkdmabuf_udmabuf(size, flags);
	if (ret >= 0)
		return ret;
	fail(.what = say("make a udmabuf of %" PRIu64 " bytes with",
			 size),
	     .object = "/dev/udmabuf", .err = ret,
	     .advice = udmabuf_advice(o, size, ret));
	return -1;
}

int dmabuf_udmabuf(const struct options *o, uint64_t size)
{
	return make_udmabuf(o, size, NULL);
}

int dmabuf_udmabuf_mapped(const struct options *o, uint64_t size, void **mem)
{
	return make_udmabuf(o, size, mem);
}

int dmabuf_heap(const struct options *o, const char *name, uint64_t size)
{
	const char *advice = NULL;
	int ret;

	if (memory_fits(o, size))
		return -1;
	ret = blkdmabuf_heap(name, size);
	if (ret >= 0)
		return ret;
	if (ret == -ENOENT)
		advice = "ls /dev/dma_heap shows the heaps there are";
	else if (ret == -EINVAL)
		advice = say("a size that is a multiple of %ld",
			     sysconf(_SC_PAGESIZE));
	fail(.what = say("allocate %" PRIu64 " bytes from heap", size),
	     .object = name, .err = ret, .advice = advice);
	return -1;
}

static int fd_of_process(const struct options *o)
{
	int pidfd, fd, err;

	pidfd = pidfd_open(o->pid, 0);
	if (pidfd < 0) {
		fail(.what = "look into process", .object = say("%u", o->pid),
		     .err = -errno, .advice = "ps shows the processes");
		return -1;
	}
	fd = pidfd_getfd(pidfd, o->fd, 0);
	err = errno;
	close(pidfd);
	if (fd < 0)
		fail(.what = say("take file descriptor %u of process", o->fd),
		     .object = say("%u", o->pid), .err = -err, .advice =
		     err == EBADF ? say("ls -l /proc/%u/fd", o->pid) : NULL);
	return fd;
}

/* --id, --pid and --fd, --fd */
int dmabuf_given(const struct options *o)
{
	const char *name = say("file descriptor %u", o->fd);
	int fd, ret;

	if (given(o, OPT_ID)) {
		fd = blkdmabuf_get_fd(o->id);
		if (fd < 0)
			fail(.what = "get the dma-buf of registration",
			     .object = say("%u", o->id), .err = fd, .advice =
			     fd == -ENOENT ? "blkdmabufctl list" : NULL);
		return fd < 0 ? -1 : fd;
	}
	fd = given(o, OPT_PID) ? fd_of_process(o) : (int)o->fd;
	if (fd < 0)
		return -1;
	ret = blkdmabuf_size(fd, NULL);
	if (!ret)
		return fd;
	fail(.what = "use", .object = name, .err = ret,
	     .reason = ret == -EINVAL ? BLK_DMABUF_NO_DMABUF : 0,
	     .advice = ret == -EBADF ? "it is not open here: start with N<&N, "
	     "or name the process with --pid" : NULL);
	return -1;
}

/* "BDF:BAR", or "BDF:BAR:OFFSET:LENGTH"; only a BDF has a dot. */
static bool parse_bar_word(const char *word, char name[32],
			   unsigned int *number,
			   struct blkdmabuf_vfio_range *range)
{
	const char *dot = strchr(word, '.'), *bar, *offset, *length;

	*range = (struct blkdmabuf_vfio_range) {};
	bar = dot ? strchr(dot, ':') : NULL;
	if (!bar || bar - word >= 32 || bar[1] < '0' || bar[1] > '5')
		return false;
	snprintf(name, 32, "%.*s", (int)(bar - word), word);
	*number = bar[1] - '0';
	if (!bar[2])
		return true;
	offset = bar + 3;
	length = bar[2] == ':' ? strchr(offset, ':') : NULL;
	return length &&
	       parse_size(say("%.*s", (int)(length - offset), offset),
			  &range->offset) &&
	       parse_size(length + 1, &range->length) && range->length;
}

/* Several words are several parts of one BAR. */
int bar_parse(struct bar *bar, const struct words *words)
{
	struct blkdmabuf_vfio_range *range = bar->ranges;
	unsigned int number, i;
	char name[32];

	*bar = (struct bar) { .device = -1 };
	for (i = 0; i < words->nr; i++, range++) {
		if (!parse_bar_word(words->word[i], name, &number, range))
			return usage_error("--vfio wants "
					   "BDF:BAR[:OFFSET:LENGTH], not",
					   words->word[i],
					   "--vfio 0000:01:00.0:2");
		if (i && (strcmp(name, bar->name) || number != bar->number))
			return usage_error("one dma-buf is memory of one BAR:",
					   words->word[i],
					   "a command for each");
		if (words->nr > 1 && !range->length)
			return usage_error("that is all of the BAR already:",
					   words->word[i],
					   "an offset and a length");
		strcpy(bar->name, name);
		bar->number = number;
	}
	bar->nr = bar->ranges[0].length ? words->nr : 0;
	return EXIT_OK;
}

static const char *vfio_advice(const struct bar *bar, int err)
{
	switch (err) {
	case -ENODEV:
		return "lspci -D shows the PCI devices";
	case -ENXIO:
		return say("driverctl set-override %s vfio-pci; where there is "
			   "no IOMMU, with vfio.enable_unsafe_noiommu_mode=1",
			   bar->name);
	case -EPERM:
	case -EACCES:
		return "run it as root; all devices of its IOMMU group have to "
		       "be driven by vfio-pci";
	case -EBUSY:
		return "see who has it open: fuser -v /dev/vfio/* "
		       "/dev/vfio/devices/*";
	}
	return NULL;
}

static const char *export_advice(const struct bar *bar, int err)
{
	switch (err) {
	case -ENODEV:
		return say("a BAR that lspci -v -s %s shows to have memory",
			   bar->name);
	case -EINVAL:
		return say("offset and length in multiples of %ld within the "
			   "BAR", sysconf(_SC_PAGESIZE));
	case -ENOTTY:
	case -EOPNOTSUPP:
		return "boot a kernel with CONFIG_VFIO_PCI_DMABUF=y";
	}
	return NULL;
}

/* The device stays open in @bar. */
int dmabuf_bar(struct bar *bar)
{
	int fd;

	bar->device = blkdmabuf_vfio_open(bar->name);
	if (bar->device < 0) {
		fail(.what = "open with vfio", .object = bar->name,
		     .err = bar->device,
		     .advice = vfio_advice(bar, bar->device));
		return -1;
	}
	fd = blkdmabuf_vfio_dmabuf(bar->device, bar->number, bar->ranges,
				   bar->nr);
	if (fd >= 0)
		return fd;
	fail(.what = say("make a dma-buf out of BAR %u of", bar->number),
	     .object = bar->name, .err = fd,
	     .advice = export_advice(bar, fd));
	close(bar->device);
	bar->device = -1;
	return -1;
}

/* Why a mapping failed is kept with the registration. */
int report_map_failure(struct blkdmabuf_ctl *ctl, uint32_t id, int err,
		       const char *object)
{
	struct blk_dmabuf_info info = {};

	if (err == -ENOENT)
		return fail(.what = "map", .object = object, .err = err,
			    .advice = "blkdmabufctl list");
	if (blkdmabuf_info(ctl, id, &info))
		info.reason = BLK_DMABUF_OK;
	else if (info.state == BLK_DMABUF_DEAD)
		info.reason = BLK_DMABUF_IS_DEAD;
	return fail(.what = "map", .object = object, .err = err,
		    .reason = info.reason);
}
