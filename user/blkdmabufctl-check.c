// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check: can this kernel, this user and this device do it, and if
 * not, why not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
 * @usable: nothing that is needed is missing
 */
struct checks {
	struct json_object	*list;
	bool			usable;
};

static void tell(struct checks *c, const char *name, enum verdict verdict,
		 const char *text, const char *advice)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "name", name);
	json_object_object_add(obj, "ok", verdict > YES ? NULL :
			       json_object_new_boolean(verdict));
	add_str(obj, "text", text);
	add_str(obj, "advice", verdict == NO ? advice : NULL);
	json_object_array_add(c->list, obj);
	if (verdict == NO)
		c->usable = false;
	if (want_json)
		return;
	printf("%-12s %-4s %s", name, verdict_words[verdict], text);
	if (verdict == NO && advice)
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

static void check_bpffs(struct checks *c, const char *pin)
{
	char dir[PATH_MAX];
	struct statfs fs;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", pin);
	while (statfs(dir, &fs)) {
		slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			break;
		*slash = 0;
	}
	if (!strchr(dir, '/') || fs.f_type != BPF_FS_MAGIC)
		tell(c, "bpffs", NO, say("%s is not on a bpffs", pin),
		     "mount -t bpf bpf /sys/fs/bpf");
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
		tell(c, "device", NO, say("a udmabuf attaches but does not "
					  "map: %s", info.reason ?
					  blkdmabuf_reason_text(info.reason) :
					  strerror(-ret)),
		     blkdmabuf_reason_advice(info.reason));
	else
		tell(c, "device", YES,
		     say("a udmabuf attaches and maps on %s%s", info.disk,
			 info.flags & BLK_DMABUF_F_SYNC ?
			 ", with bounce buffers or caches between" : ""), NULL);
	blkdmabuf_unregister(ctl, res.id);
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
	dmabuf = blkdmabuf_udmabuf(sysconf(_SC_PAGESIZE), 0);
	if (dmabuf < 0) {
		tell(c, "device", UNKNOWN, say("no udmabuf to try it with: %s",
					       strerror(-dmabuf)), NULL);
		return;
	}
	check_registered(c, ctl, dev, dmabuf);
	close(dmabuf);
}

static const struct {
	const char *type;
	const char *text;
} iommu_types[] = {
	{ "DMA",	"translated, strict: each unmap is flushed at once" },
	{ "DMA-FQ",	"translated, lazy: unmaps are flushed in batches" },
	{ "identity",	"passthrough: addresses are physical" },
	{ "blocked",	"blocked: the device can do no DMA" },
	{ "unmanaged",	"translated by somebody else, such as vfio" },
};

static const char *iommu_text(const char *type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(iommu_types); i++)
		if (!strcmp(iommu_types[i].type, type))
			return iommu_types[i].text;
	return type;
}

/* The device that does the DMA is the first one upwards that has a group. */
static void check_iommu(struct checks *c, const struct device *dev)
{
	char dir[PATH_MAX], type[64];
	char *slash;

	if (device_sysfs(dev->disk, dir, sizeof(dir))) {
		tell(c, "iommu", UNKNOWN, "the disk is not in sysfs", NULL);
		return;
	}
	if (strstr(dir, "/devices/virtual/")) {
		tell(c, "iommu", UNKNOWN, "a virtual device has none of its "
		     "own", NULL);
		return;
	}
	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (read_line(say("%s/iommu_group/type", dir), type,
			      sizeof(type))) {
			tell(c, "iommu", INFO, say("%s (%s)", iommu_text(type),
						   type), NULL);
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
