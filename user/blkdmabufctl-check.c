// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check: can this kernel, this user and this device or file do it,
 * and if not, why not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/btf.h>

#include "blkdmabufctl.h"

enum verdict { NO, YES, INFO, UNKNOWN };

static const char *const verdict_words[] = {
	[NO] = "no", [YES] = "yes", [INFO] = "-", [UNKNOWN] = "?",
};

/**
 * struct checks - what was found out so far
 * @list: for JSON
 * @copy: copying will do
 * @usable: nothing that is needed is missing, or may be
 * @refused: reason that the kernel gave for refusing the file
 */
struct checks {
	struct json_object	*list;
	bool			copy;
	bool			usable;
	unsigned int		refused;
};

/* Who relies on the exit status must not be told yes where nobody knows. */
static bool wanting(enum verdict verdict)
{
	return verdict == NO || verdict == UNKNOWN;
}

static void tell(struct checks *c, const char *name, enum verdict verdict,
		 const char *text, const char *advice)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "name", name);
	json_object_object_add(obj, "ok", verdict > YES ? NULL :
			       json_object_new_boolean(verdict));
	add_str(obj, "text", text);
	add_str(obj, "advice", wanting(verdict) ? advice : NULL);
	json_object_array_add(c->list, obj);
	if (wanting(verdict))
		c->usable = false;
	if (want_json)
		return;
	printf("%-12s %-4s %s", name, verdict_words[verdict], text);
	if (wanting(verdict) && advice)
		printf("; try: %s", advice);
	putchar('\n');
}

/* ---- Kernel and user ---- */

static void check_kernel(struct checks *c)
{
	struct blk_dmabuf_features f;
	int ret = blkdmabuf_features(&f);

	if (ret == -ENOTTY)
		tell(c, "kernel", NO, say("another ABI than version %u",
					  BLK_DMABUF_ABI_VERSION),
		     "boot the kernel that this program was built with");
	else if (ret)
		tell(c, "kernel", NO, say("/dev/blkdmabuf: %s", strerror(-ret)),
		     "boot a kernel with CONFIG_BLK_DMABUF=y");
	else if (f.abi_version < BLK_DMABUF_ABI_VERSION)
		tell(c, "kernel", NO, say("ABI version %u, older than %u",
					  f.abi_version,
					  BLK_DMABUF_ABI_VERSION),
		     "boot a newer kernel");
	else
		tell(c, "kernel", YES, say("/dev/blkdmabuf, ABI version %u, "
					   "%u slots a channel",
					   f.abi_version, f.max_slots), NULL);
}

static void check_btf(struct checks *c)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		tell(c, "kfuncs", NO, "the kernel has no BTF",
		     "boot a kernel with CONFIG_DEBUG_INFO_BTF=y");
	else if (btf__find_by_name_kind(btf, "bpf_blk_dmabuf_attach",
					BTF_KIND_FUNC) < 0)
		tell(c, "kfuncs", NO, "no bpf_blk_dmabuf_*() in the BTF",
		     "boot a kernel with CONFIG_BLK_DMABUF=y");
	else
		tell(c, "kfuncs", YES, "bpf_blk_dmabuf_*()", NULL);
	btf__free(btf);
}

static void check_privilege(struct checks *c)
{
	const uint64_t need = 1ULL << CAP_BPF | 1ULL << CAP_PERFMON;
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t have = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "CapEff: %" SCNx64, &have);
	if (f)
		fclose(f);
	if (have & (1ULL << CAP_SYS_ADMIN))
		have |= need;
	if ((have & need) == need)
		tell(c, "privilege", YES, "CAP_BPF, CAP_PERFMON", NULL);
	else
		tell(c, "privilege", NO, "no CAP_BPF or no CAP_PERFMON: "
		     "only dma-bufs that are registered can be used",
		     "run it as root");
}

/* As for register: the directory is there, or only its last part is not. */
static bool on_bpffs(const char *pin)
{
	char parent[PATH_MAX];
	struct statfs fs;

	snprintf(parent, sizeof(parent), "%s", pin);
	if (statfs(pin, &fs) &&
	    (errno != ENOENT || statfs(dirname(parent), &fs)))
		return false;
	return fs.f_type == BPF_FS_MAGIC;
}

static void check_bpffs(struct checks *c, const char *pin)
{
	if (!on_bpffs(pin))
		tell(c, "bpffs", NO, say("%s is not on a bpffs", pin),
		     "mount -t bpf bpf /sys/fs/bpf; of the directory only the "
		     "last part is made");
	else
		tell(c, "bpffs", YES, say("%s%s", pin, pin_exists(pin) ?
					  "/regs is pinned" : ""), NULL);
}

static struct blkdmabuf_ctl *check_programs(struct checks *c)
{
	struct blkdmabuf_ctl *ctl = NULL;
	int ret = blkdmabuf_ctl_open(&ctl, NULL);

	if (ret)
		tell(c, "programs", NO, say("the control programs do not load: "
					    "%s", strerror(-ret)),
		     "mend what is missing above, or LIBBPF_LOG_LEVEL=debug");
	else
		tell(c, "programs", YES, "the control programs load", NULL);
	return ctl;
}

/* ---- File ---- */

static void check_file_system(struct checks *c, const struct device *dev)
{
	char dir[PATH_MAX];
	struct stat st;

	if (dev->disk && !fstat(dev->fd, &st) &&
	    !device_sysfs(st.st_dev, dir, sizeof(dir)))
		tell(c, "filesystem", INFO,
		     say("%s on %s", file_system(dev->fd), basename(dir)),
		     NULL);
	else
		tell(c, "filesystem", INFO,
		     say("%s, which names no block device",
			 file_system(dev->fd)), NULL);
}

static const char *refusal_text(const struct device *dev, unsigned int reason,
				int err)
{
	if (reason == BLK_DMABUF_FILE_SYSTEM)
		return say("the file system (%s) takes no dma-buf I/O",
			   file_system(dev->fd));
	return reason ? blkdmabuf_reason_text(reason) : strerror(-err);
}

static const char *refusal_advice(const struct device *dev, unsigned int reason)
{
	if (!reason)
		return "look into the kernel log, or try again when nobody "
		       "else is refused anything";
	return file_advice(dev, reason) ?: blkdmabuf_reason_advice(reason);
}

static void check_direct_io(struct checks *c, const struct device *dev)
{
	struct statx stx;

	if (statx(dev->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) ||
	    !(stx.stx_mask & STATX_DIOALIGN))
		tell(c, "direct-io", INFO, "the file system does not tell "
		     "whether it does it", NULL);
	else if (!stx.stx_dio_offset_align)
		tell(c, "direct-io", c->copy ? INFO : NO,
		     say("none: the file is %s", file_obstacle(dev->fd) ?:
			 "of a kind that takes none"),
		     refusal_advice(dev, BLK_DMABUF_FILE));
	else
		tell(c, "direct-io", INFO,
		     say("in multiples of %u bytes, memory in multiples of %u",
			 stx.stx_dio_offset_align, stx.stx_dio_mem_align),
		     NULL);
}

/* Only the kernel knows which file systems and files it takes. */
static void check_channel(struct checks *c, const struct device *dev)
{
	int chan = device_channel(dev, 0, &c->refused);
	int copying = -1;

	if (chan < 0 && c->copy)
		copying = blkdmabuf_channel_flags(dev->fd,
						  BLK_DMABUF_CHANNEL_COPY);
	if (chan >= 0) {
		tell(c, "file", YES, "takes dma-buf I/O", NULL);
		close(chan);
	} else if (copying >= 0) {
		tell(c, "file", YES, say("takes dma-buf I/O that is copied: %s",
					 refusal_text(dev, c->refused, chan)),
		     NULL);
		c->refused = BLK_DMABUF_OK;
		close(copying);
	} else if (chan == -EOPNOTSUPP || c->refused) {
		tell(c, "file", NO, refusal_text(dev, c->refused, chan),
		     refusal_advice(dev, c->refused));
	} else {
		tell(c, "file", UNKNOWN, say("not tried: /dev/blkdmabuf: %s",
					     strerror(-chan)), NULL);
	}
}

static void check_file(struct checks *c, const struct device *dev)
{
	check_file_system(c, dev);
	check_direct_io(c, dev);
	check_channel(c, dev);
}

/* ---- Device ---- */

/* More do not help anybody to see what is wrong. */
#define MAX_LEAVES	16

/*
 * On a disk it maps at once.  On a stack it does when I/O first reaches a disk
 * below, so nothing of that has been tried.
 */
static void tell_mapped(struct checks *c, const struct blk_dmabuf_info *info)
{
	if (info->flags & BLK_DMABUF_F_COPY)
		tell(c, "device", YES,
		     say("a dma-buf can be registered on %s; I/O is copied: %s",
			 info->disk, blkdmabuf_reason_text(info->reason)),
		     NULL);
	else if (info->flags & BLK_DMABUF_F_STACK)
		tell(c, "device", YES,
		     say("a dma-buf can be registered on %s, a stack of others",
			 info->disk), NULL);
	else
		tell(c, "device", YES,
		     say("a dma-buf attaches and maps on %s%s", info->disk,
			 info->flags & BLK_DMABUF_F_SYNC ?
			 ", with bounce buffers or caches between" : ""), NULL);
}

/* @name: of a disk below, or empty.  Is it a stack that could be the disk? */
static bool check_registered(struct checks *c, struct blkdmabuf_ctl *ctl,
			     const struct device *dev, const char *name,
			     int dmabuf)
{
	struct blk_dmabuf_info info = {};
	struct blk_dmabuf_attach res;
	int ret;

	ret = blkdmabuf_register_flags(ctl, dev->fd, dmabuf, c->copy ?
				       BLK_DMABUF_ATTACH_COPY : 0, &res);
	/* What was said of the file need not be said of its disk. */
	if (ret && res.reason && res.reason == c->refused)
		return false;
	if (ret) {
		tell(c, "device", NO,
		     say("%s%s", name, refusal_text(dev, res.reason, ret)),
		     refusal_advice(dev, res.reason));
		return false;
	}
	ret = blkdmabuf_map(ctl, res.id);
	blkdmabuf_info(ctl, res.id, &info);
	if (ret)
		tell(c, "device", NO, say("%sa dma-buf attaches but does not "
					  "map: %s", name,
					  refusal_text(dev, info.reason, ret)),
		     refusal_advice(dev, info.reason));
	else
		tell_mapped(c, &info);
	blkdmabuf_unregister(ctl, res.id);
	return !ret && info.flags & BLK_DMABUF_F_STACK;
}

static void check_below(struct checks *c, struct blkdmabuf_ctl *ctl, dev_t leaf,
			int dmabuf)
{
	char dir[PATH_MAX], name[64];
	struct device dev = { .disk = leaf };

	if (device_sysfs(leaf, dir, sizeof(dir)))
		return;
	snprintf(name, sizeof(name), "%.32s: ", basename(dir));
	dev.path = say("/dev/%s", basename(dir));
	dev.fd = open(dev.path, O_RDONLY | O_CLOEXEC);
	if (dev.fd < 0) {
		tell(c, "device", UNKNOWN, say("%s%s", name, strerror(errno)),
		     NULL);
		return;
	}
	check_registered(c, ctl, &dev, name, dmabuf);
	close(dev.fd);
}

/* Any memory will do; a kernel can have one kind and not the other. */
static int some_dmabuf(void)
{
	size_t size = sysconf(_SC_PAGESIZE);
	int fd = blkdmabuf_udmabuf(size, 0);

	return fd >= 0 ? fd : blkdmabuf_heap("system", size);
}

static void check_support(struct checks *c, struct blkdmabuf_ctl *ctl,
			  const struct device *dev)
{
	dev_t leaves[MAX_LEAVES];
	unsigned int nr, i;
	int dmabuf;

	if (!ctl) {
		tell(c, "device", UNKNOWN, "not tried without the programs",
		     NULL);
		return;
	}
	dmabuf = some_dmabuf();
	if (dmabuf < 0) {
		tell(c, "device", UNKNOWN,
		     say("no dma-buf to try it with: %s", strerror(-dmabuf)),
		     "boot a kernel with CONFIG_UDMABUF=y");
		return;
	}
	if (check_registered(c, ctl, dev, "", dmabuf)) {
		nr = device_leaves(dev->disk, leaves, MAX_LEAVES);
		for (i = 0; i < nr; i++)
			if (leaves[i] != dev->disk)
				check_below(c, ctl, leaves[i], dmabuf);
	}
	close(dmabuf);
}

static const struct iommu_type {
	const char	*type;
	enum verdict	verdict;
	const char	*text;
} iommu_types[] = {
	{ "DMA", INFO, "translated, strict: each unmap is flushed at once" },
	{ "DMA-FQ", INFO, "translated, lazy: unmaps are flushed in batches" },
	{ "identity", INFO, "passthrough: addresses are physical" },
	{ "blocked", NO, "blocked: the device can do no DMA" },
	{ "unmanaged", NO, "translated by somebody else, such as vfio" },
};

static void tell_iommu(struct checks *c, const char *name, const char *type)
{
	const struct iommu_type *t;

	for (t = iommu_types; t < iommu_types + ARRAY_SIZE(iommu_types); t++) {
		if (strcmp(t->type, type))
			continue;
		tell(c, "iommu", t->verdict,
		     say("%s%s (%s)", name, t->text, type),
		     "give its group's devices back to their own drivers");
		return;
	}
	tell(c, "iommu", INFO, say("%s%s", name, type), NULL);
}

/* The device that does the DMA is the first one upwards that has a group. */
static void check_iommu(struct checks *c, dev_t disk, const char *name)
{
	char dir[PATH_MAX], type[64];
	char *slash;

	if (device_sysfs(disk, dir, sizeof(dir))) {
		tell(c, "iommu", INFO, "not known: the disk is not in sysfs",
		     NULL);
		return;
	}
	if (strstr(dir, "/devices/virtual/")) {
		tell(c, "iommu", INFO, say("%sa virtual device has none of its "
					   "own", name), NULL);
		return;
	}
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (read_line(say("%s/iommu_group/type", dir), type,
			      sizeof(type))) {
			tell_iommu(c, name, type);
			return;
		}
		*slash = 0;
	}
	tell(c, "iommu", INFO, say("%soff: no IOMMU in front of the device",
				   name), NULL);
}

#define NVME_IDENTIFY		0x06
#define NVME_IDENTIFY_CTRL	1
#define NVME_IDENTIFY_LEN	4096
#define NVME_CTRL_SGLS		536	/* offset of SGLS in Identify */

static void check_nvme(struct checks *c, int fd, const char *name)
{
	unsigned char data[NVME_IDENTIFY_LEN] = {};
	struct nvme_admin_cmd cmd = {
		.opcode		= NVME_IDENTIFY,
		.addr		= (uintptr_t)data,
		.data_len	= sizeof(data),
		.cdw10		= NVME_IDENTIFY_CTRL,
	};

	/* Not NVMe, or not permitted: nothing to tell. */
	if (ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd))
		return;
	tell(c, "nvme", INFO, say("%s%s", name, data[NVME_CTRL_SGLS] & 3 ?
				  "the controller knows SGLs and PRPs" :
				  "the controller knows PRPs only: inner "
				  "ranges of a buffer must be whole pages"),
	     NULL);
}

/* What does the DMA, below a file or a stack by name. */
static void check_leaf(struct checks *c, const struct device *dev, dev_t leaf)
{
	char dir[PATH_MAX] = "", name[64] = "";
	int fd = -1;

	if (leaf != dev->disk || dev->file) {
		if (!device_sysfs(leaf, dir, sizeof(dir))) {
			snprintf(name, sizeof(name), "%.32s: ", basename(dir));
			fd = open(say("/dev/%s", basename(dir)),
				  O_RDONLY | O_CLOEXEC);
		}
	}
	check_iommu(c, leaf, name);
	check_nvme(c, *name ? fd : dev->fd, name);
	if (fd >= 0)
		close(fd);
}

static void check_leaves(struct checks *c, const struct device *dev)
{
	dev_t leaves[MAX_LEAVES];
	unsigned int nr, i;

	if (!dev->disk)
		return;
	nr = device_leaves(dev->disk, leaves, MAX_LEAVES);
	for (i = 0; i < nr; i++)
		check_leaf(c, dev, leaves[i]);
}

static void check_limits(struct checks *c, const struct device *dev)
{
	struct blk_dmabuf_limits lim;
	char io[HUMAN_LEN], size[HUMAN_LEN];
	int chan = blkdmabuf_channel_flags(dev->fd, c->copy ?
					   BLK_DMABUF_CHANNEL_COPY : 0);

	if (chan < 0)
		return;
	if (!blkdmabuf_limits(chan, &lim)) {
		tell(c, "size", INFO,
		     lim.write_block_size == lim.block_size ?
		     say("%s in blocks of %u bytes",
			 human_size(lim.bytes, size), lim.block_size) :
		     say("%s, read in blocks of %u bytes, written in blocks of "
			 "%u", human_size(lim.bytes, size), lim.block_size,
			 lim.write_block_size), NULL);
		/* Of a device that takes no such request there is no size. */
		if (lim.max_io)
			tell(c, "request", INFO,
			     say("up to %s in %u ranges, buffer offsets in "
				 "multiples of %u", human_size(lim.max_io, io),
				 lim.max_ranges, lim.dma_alignment), NULL);
	}
	close(chan);
}

int cmd_check(const struct options *o)
{
	struct checks c = {
		.list = json_object_new_array(), .usable = true,
		.copy = o->allow_copy,
	};
	struct blkdmabuf_ctl *ctl;
	struct json_object *obj;
	struct device dev;
	int ret;

	if (o->args[0]) {
		ret = device_open(&dev, o->args[0], O_RDONLY);
		if (ret)
			return ret;
	}
	check_kernel(&c);
	check_btf(&c);
	check_privilege(&c);
	check_bpffs(&c, o->pin);
	ctl = check_programs(&c);
	if (o->args[0]) {
		if (dev.file)
			check_file(&c, &dev);
		check_support(&c, ctl, &dev);
		check_leaves(&c, &dev);
		check_limits(&c, &dev);
		close(dev.fd);
	}
	blkdmabuf_ctl_close(ctl);
	obj = json_object_new_object();
	add_bool(obj, "usable", c.usable);
	json_object_object_add(obj, "checks", c.list);
	if (want_json)
		print_json(obj);
	else
		json_object_put(obj);
	return c.usable ? EXIT_OK : EXIT_FAILED;
}
