// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check: can this kernel, this user and this device do it, and if
 * not, why not.
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
 * @usable: nothing that is needed is missing, or may be
 */
struct checks {
	struct json_object	*list;
	bool			usable;
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

	if (ret)
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

/* ---- Device ---- */

static void check_registered(struct checks *c, struct blkdmabuf_ctl *ctl,
			     const struct device *dev, int dmabuf)
{
	struct blk_dmabuf_info info = {};
	struct blk_dmabuf_attach res;
	int ret;

	ret = blkdmabuf_register(ctl, dev->fd, dmabuf, &res);
	if (ret) {
		tell(c, "device", NO, res.reason ?
		     blkdmabuf_reason_text(res.reason) : strerror(-ret),
		     blkdmabuf_reason_advice(res.reason));
		return;
	}
	ret = blkdmabuf_map(ctl, res.id);
	blkdmabuf_info(ctl, res.id, &info);
	if (ret)
		tell(c, "device", NO, say("a dma-buf attaches but does not "
					  "map: %s", info.reason ?
					  blkdmabuf_reason_text(info.reason) :
					  strerror(-ret)),
		     blkdmabuf_reason_advice(info.reason));
	else
		tell(c, "device", YES,
		     say("a dma-buf attaches and maps on %s%s", info.disk,
			 info.flags & BLK_DMABUF_F_SYNC ?
			 ", with bounce buffers or caches between" : ""), NULL);
	blkdmabuf_unregister(ctl, res.id);
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
	check_registered(c, ctl, dev, dmabuf);
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

static void tell_iommu(struct checks *c, const char *type)
{
	const struct iommu_type *t;

	for (t = iommu_types; t < iommu_types + ARRAY_SIZE(iommu_types); t++) {
		if (strcmp(t->type, type))
			continue;
		tell(c, "iommu", t->verdict, say("%s (%s)", t->text, type),
		     "give its group's devices back to their own drivers");
		return;
	}
	tell(c, "iommu", INFO, type, NULL);
}

/* The device that does the DMA is the first one upwards that has a group. */
static void check_iommu(struct checks *c, const struct device *dev)
{
	char dir[PATH_MAX], type[64];
	char *slash;

	if (device_sysfs(dev->disk, dir, sizeof(dir))) {
		tell(c, "iommu", INFO, "not known: the disk is not in sysfs",
		     NULL);
		return;
	}
	if (strstr(dir, "/devices/virtual/")) {
		tell(c, "iommu", INFO, "a virtual device has none of its own",
		     NULL);
		return;
	}
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (read_line(say("%s/iommu_group/type", dir), type,
			      sizeof(type))) {
			tell_iommu(c, type);
			return;
		}
		*slash = 0;
	}
	tell(c, "iommu", INFO, "off: no IOMMU in front of the device", NULL);
}

#define NVME_IDENTIFY		0x06
#define NVME_IDENTIFY_CTRL	1
#define NVME_IDENTIFY_LEN	4096
#define NVME_CTRL_SGLS		536	/* offset of SGLS in Identify */

static void check_nvme(struct checks *c, const struct device *dev)
{
	unsigned char data[NVME_IDENTIFY_LEN] = {};
	struct nvme_admin_cmd cmd = {
		.opcode		= NVME_IDENTIFY,
		.addr		= (uintptr_t)data,
		.data_len	= sizeof(data),
		.cdw10		= NVME_IDENTIFY_CTRL,
	};

	/* Not NVMe, or not permitted: nothing to tell. */
	if (ioctl(dev->fd, NVME_IOCTL_ADMIN_CMD, &cmd))
		return;
	tell(c, "nvme", INFO, data[NVME_CTRL_SGLS] & 3 ?
	     "the controller knows SGLs and PRPs" :
	     "the controller knows PRPs only: inner ranges of a buffer must be "
	     "whole pages", NULL);
}

static void check_limits(struct checks *c, const struct device *dev)
{
	struct blk_dmabuf_limits lim;
	char io[HUMAN_LEN], size[HUMAN_LEN];
	int chan = blkdmabuf_channel(dev->fd);

	if (chan < 0)
		return;
	if (!blkdmabuf_limits(chan, &lim)) {
		tell(c, "size", INFO, say("%s in blocks of %u bytes",
					  human_size(lim.bytes, size),
					  lim.block_size), NULL);
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
		check_support(&c, ctl, &dev);
		check_iommu(&c, &dev);
		check_nvme(&c, &dev);
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
