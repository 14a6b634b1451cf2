// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check: can this kernel, this user, these devices or files and
 * these buffers do it, and how, and if not, why not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#include <bpf/btf.h>

#include "blkdmabufctl.h"

static const char *const verdict_words[] = {
	[NO] = "no", [YES] = "yes", [INFO] = "-", [UNKNOWN] = "?",
};

/* Who relies on the exit status must not be told yes where nobody knows. */
static bool wanting(enum verdict verdict)
{
	return verdict == NO || verdict == UNKNOWN;
}

/* JSON does not tell what nobody knows from what is neither. */
static const char *verdict_text(const struct cell *c)
{
	return c->more;
}

static const char *advice_text(const struct cell *c)
{
	return json_object_get_string(c->val);
}

static const struct field check_fields[] = {
	{ NULL,		"%-12s",	"name",		cell_text },
	{ NULL,		" %-4s",	"ok",		verdict_text },
	{ NULL,		" %s",		"text",		cell_text },
	{ NULL,		"; try: %s",	"advice",	advice_text },
	{}
};

void tell(struct checks *c, const char *name, enum verdict verdict,
	  const char *text, const char *advice)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "name", name);
	add_str(obj, "object", c->object);
	json_object_object_add(obj, "ok", verdict > YES ? NULL :
			       json_object_new_boolean(verdict));
	add_str(obj, "text", text);
	add_str(obj, "advice", wanting(verdict) ? advice : NULL);
	json_object_array_add(c->list, obj);
	if (wanting(verdict))
		c->usable = false;
	if (!want_json)
		put_record(stdout, check_fields, obj, verdict_words[verdict]);
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
	uint64_t have = 0;

	number_in("/proc/self/status", "CapEff:", 16, &have);
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
	if (!pins_on_bpffs(pin))
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

/* ---- How the kernel was built and booted ---- */

static const char *const boot_words[] = {
	"iommu", "intel_iommu", "amd_iommu", "arm-smmu", "pci", "pcie_",
	"swiotlb", "disable_acs", "config_acs", "vfio", "nvme", "mem_encrypt",
};

/* Words of the command line that say where DMA goes. */
static void check_boot(struct checks *c)
{
	char line[2048], found[384] = "-", *word, *save;
	size_t at = 0, i;

	if (!read_line("/proc/cmdline", line, sizeof(line)))
		return;
	for (word = strtok_r(line, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		for (i = 0; i < ARRAY_SIZE(boot_words); i++) {
			if (strncmp(word, boot_words[i], strlen(boot_words[i])))
				continue;
			if (at < sizeof(found))
				at += snprintf(found + at, sizeof(found) - at,
					       "%s%s", at ? " " : "", word);
			break;
		}
	note(c, "boot", "%s", at ? found : "nothing said about IOMMU or PCI");
}

static const struct {
	const char	*name;
	const char	*use;
} config_options[] = {
	{ "BLK_DMABUF", "this" },
	{ "IO_URING", "I/O" },
	{ "UDMABUF", "memory of processes" },
	{ "DMABUF_HEAPS", "memory of heaps" },
	{ "PCI_P2PDMA", "peer to peer" },
	{ "VFIO_PCI_DMABUF", "memory of PCI devices" },
};

static bool config_has(const char *path, uint32_t *have)
{
	gzFile f = gzopen(path, "re");
	char line[512];
	size_t i, len;

	if (!f)
		return false;
	*have = 0;
	while (gzgets(f, line, sizeof(line))) {
		if (strncmp(line, "CONFIG_", 7))
			continue;
		len = strcspn(line + 7, "=");
		for (i = 0; i < ARRAY_SIZE(config_options); i++)
			if (strlen(config_options[i].name) == len &&
			    !strncmp(line + 7, config_options[i].name, len))
				*have |= 1U << i;
	}
	gzclose(f);
	return true;
}

static void check_config(struct checks *c)
{
	char has[256] = "", lacks[256] = "", *to;
	struct utsname uts;
	uint32_t have;
	size_t i;

	uname(&uts);
	if (!config_has("/proc/config.gz", &have) &&
	    !config_has(say("/boot/config-%s", uts.release), &have)) {
		note(c, "config",
		     "not known: neither /proc/config.gz nor a file in /boot");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(config_options); i++) {
		to = have & (1U << i) ? has : lacks;
		snprintf(to + strlen(to), sizeof(has) - strlen(to), " %s",
			 config_options[i].name);
		if (to == lacks)
			snprintf(to + strlen(to), sizeof(has) - strlen(to),
				 " (%s)", config_options[i].use);
	}
	note(c, "config", "has%s%s%s", *has ? has : " none",
	     *lacks ? "; lacks" : "", lacks);
}

/* ---- File ---- */

static void check_file_system(struct checks *c, const struct device *dev)
{
	char dir[PATH_MAX];
	struct stat st;

	if (dev->disk && !fstat(dev->fd, &st) &&
	    !device_sysfs(st.st_dev, dir, sizeof(dir)))
		note(c, "filesystem", "%s on %s", file_system(dev->fd),
		     basename(dir));
	else
		note(c, "filesystem", "%s, which names no block device",
		     file_system(dev->fd));
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
		note(c, "direct-io",
		     "the file system does not tell whether it does it");
	else if (!stx.stx_dio_offset_align)
		tell(c, "direct-io", c->copy ? INFO : NO,
		     say("none: the file is %s", file_obstacle(dev->fd) ?:
			 "of a kind that takes none"),
		     refusal_advice(dev, BLK_DMABUF_FILE));
	else
		note(c, "direct-io",
		     "in multiples of %u bytes, memory in multiples of %u",
		     stx.stx_dio_offset_align, stx.stx_dio_mem_align);
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
					     strerror(-chan)),
		     is_not_there(-chan) ?
		     "boot a kernel with CONFIG_BLK_DMABUF=y" :
		     error_advice(chan));
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

/* Ids of trials are none that people see. */
static int try_register(const struct checks *c, struct blkdmabuf_ctl *ctl,
			const struct device *dev, const struct buffer *buf,
			struct blk_dmabuf_attach *res)
{
	uint32_t flags = BLK_DMABUF_ATTACH_TRIAL;

	if (c->copy)
		flags |= BLK_DMABUF_ATTACH_COPY;
	return blkdmabuf_register_flags(ctl, dev->fd, buf->fd, flags, res);
}

/*
 * Map, move bytes if they are asked for, and tell what came of it; on a stack
 * the bytes make the path known.  Is it a stack?
 */
static bool check_mapped(struct checks *c, struct blkdmabuf_ctl *ctl,
			 const struct device *dev, const char *name,
			 const struct buffer *buf, uint32_t id)
{
	struct blk_dmabuf_info info = {};
	int ret = blkdmabuf_map(ctl, id);

	blkdmabuf_info(ctl, id, &info);
	if (ret)
		tell(c, "device", NO, say("%sa dma-buf attaches but does not "
					  "map: %s", name,
					  refusal_text(dev, info.reason, ret)),
		     refusal_advice(dev, info.reason));
	else
		tell_mapped(c, &info);
	if (c->o->probe && !*name && (!ret || c->copy)) {
		check_probe(c, dev, buf);
		blkdmabuf_info(ctl, id, &info);
	}
	tell_path(c, &info, buf, name);
	return !ret && info.flags & BLK_DMABUF_F_STACK;
}

/* @name: of a disk below, or empty.  Is it a stack that could be the disk? */
static bool check_registered(struct checks *c, struct blkdmabuf_ctl *ctl,
			     const struct device *dev, const char *name,
			     const struct buffer *buf)
{
	struct blk_dmabuf_attach res;
	bool stack;
	int ret;

	ret = try_register(c, ctl, dev, buf, &res);
	/* One that somebody else has made will do, and stays. */
	if (ret == -EEXIST && res.reason == BLK_DMABUF_DUPLICATE)
		return check_mapped(c, ctl, dev, name, buf, res.id);
	if (ret) {
		tell_no_path(c, &res, buf, *name ? say("%.*s",
			     (int)strcspn(name, ":"), name) : dev->path);
		/* What was said of the file need not be said of its disk. */
		if (!res.reason || res.reason != c->refused)
			tell(c, "device", NO,
			     say("%s%s", name,
				 refusal_text(dev, res.reason, ret)),
			     refusal_advice(dev, res.reason));
		return false;
	}
	stack = check_mapped(c, ctl, dev, name, buf, res.id);
	blkdmabuf_unregister(ctl, res.id);
	return stack;
}

static void check_below(struct checks *c, struct blkdmabuf_ctl *ctl, dev_t leaf,
			const struct buffer *buf)
{
	char dir[PATH_MAX], name[64], path[64];
	struct device dev = { .disk = leaf, .path = path };

	if (device_sysfs(leaf, dir, sizeof(dir)))
		return;
	snprintf(name, sizeof(name), "%.32s: ", basename(dir));
	snprintf(path, sizeof(path), "/dev/%.32s", basename(dir));
	dev.fd = open(dev.path, O_RDONLY | O_CLOEXEC);
	if (dev.fd < 0) {
		tell(c, "device", UNKNOWN, say("%s%s", name, strerror(errno)),
		     error_advice(-errno));
		return;
	}
	check_registered(c, ctl, &dev, name, buf);
	close(dev.fd);
}

static void check_pair(struct checks *c, struct blkdmabuf_ctl *ctl,
		       const struct device *dev, const struct buffer *buf)
{
	dev_t leaves[MAX_LEAVES];
	unsigned int nr, i;

	if (!check_registered(c, ctl, dev, "", buf))
		return;
	nr = device_leaves(dev->disk, leaves, MAX_LEAVES);
	for (i = 0; i < nr; i++)
		if (leaves[i] != dev->disk)
			check_below(c, ctl, leaves[i], buf);
}

static void check_support(struct checks *c, struct blkdmabuf_ctl *ctl,
			  const struct device *dev, const struct buffers *bufs)
{
	unsigned int i;

	if (!ctl)
		tell(c, "device", UNKNOWN, "not tried without the programs",
		     "mend what the line of the programs says");
	else if (!bufs->nr)
		tell(c, "device", UNKNOWN, "no dma-buf to try it with",
		     "boot a kernel with CONFIG_UDMABUF=y");
	else
		for (i = 0; i < bufs->nr; i++)
			check_pair(c, ctl, dev, &bufs->buffer[i]);
}

static const struct iommu_type {
	const char	*type;
	enum verdict	verdict;
	const char	*text;
} iommu_types[] = {
	{ IOMMU_NONE, INFO, "off: no IOMMU in front of the device" },
	{ IOMMU_VIRTUAL, INFO, "a virtual device has none of its own" },
	{ "DMA", INFO,
	  "translated, strict: each unmap is flushed at once (DMA)" },
	{ "DMA-FQ", INFO,
	  "translated, lazy: unmaps are flushed in batches (DMA-FQ)" },
	{ "identity", INFO, "passthrough: addresses are physical (identity)" },
	{ "blocked", NO, "blocked: the device can do no DMA (blocked)" },
	{ "unmanaged", NO,
	  "translated by somebody else, such as vfio (unmanaged)" },
};

static void check_iommu(struct checks *c, dev_t disk, const char *name)
{
	const char *type = device_iommu(disk);
	const struct iommu_type *t;

	if (!type) {
		note(c, "iommu", "not known: the disk is not in sysfs");
		return;
	}
	for (t = iommu_types; t < iommu_types + ARRAY_SIZE(iommu_types); t++) {
		if (strcmp(t->type, type))
			continue;
		tell(c, "iommu", t->verdict, say("%s%s", name, t->text),
		     "give its group's devices back to their own drivers");
		return;
	}
	note(c, "iommu", "%s%s", name, type);
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
	note(c, "nvme", "%sthe controller knows %s", name,
	     data[NVME_CTRL_SGLS] & 3 ? "SGLs and PRPs" :
	     "PRPs only: inner ranges of a buffer must be whole pages");
}

#define MAX_QUEUES	64

/* Queue N is that of the CPUs "0-1, 8". */
static unsigned int list_queues(const char *dir, char *text, size_t len)
{
	unsigned int nr = 0;
	char cpus[64];
	size_t at = 0;

	*text = 0;
	while (nr < MAX_QUEUES &&
	       read_line(say("%s/mq/%u/cpu_list", dir, nr), cpus,
			 sizeof(cpus))) {
		if (at < len)
			at += snprintf(text + at, len - at, "%s%u: %s",
				       nr ? "; " : "", nr, cpus);
		nr++;
	}
	return nr;
}

static void check_queues(struct checks *c, dev_t leaf, const char *name)
{
	char dir[PATH_MAX], text[384];
	unsigned int nr;

	if (device_sysfs(leaf, dir, sizeof(dir)))
		return;
	nr = list_queues(dir, text, sizeof(text));
	if (nr)
		note(c, "queues", "%s%u%s, by CPU: %s", name, nr,
		     nr == MAX_QUEUES ? " or more" : "", text);
}

static void check_policy(struct checks *c, const struct device *dev)
{
	const char *name = policy_selected(policy_attr(dev->disk));

	if (dev->disk && name)
		note(c, "policy", "%s%s", name, strcmp(name, "none") ?
		     " decides who may bind what, and where I/O goes" : "");
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
	check_queues(c, leaf, name);
	close_fd(fd);
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
	int chan = blkdmabuf_channel_flags(dev->fd, c->copy ?
					   BLK_DMABUF_CHANNEL_COPY : 0);

	if (chan < 0)
		return;
	if (!blkdmabuf_limits(chan, &lim)) {
		if (lim.write_block_size == lim.block_size)
			note(c, "size", "%s in blocks of %u bytes",
			     human_size(lim.bytes), lim.block_size);
		else
			note(c, "size", "%s, read in blocks of %u bytes, "
			     "written in blocks of %u", human_size(lim.bytes),
			     lim.block_size, lim.write_block_size);
		/* Of a device that takes no such request there is no size. */
		if (lim.max_io)
			note(c, "request", "up to %s in %u ranges, buffer "
			     "offsets in multiples of %u, pieces in those of "
			     "%u", human_size(lim.max_io), lim.max_ranges,
			     lim.dma_alignment, lim.vec_align);
	}
	close(chan);
}

static int check_options(const struct options *o)
{
	struct bar bar;

	if (o->probe && (!o->args[0] || o->args[1]))
		return usage_error("--probe wants", "one DEV or FILE");
	if (given(o, OPT_PROBE_RANGE) && !o->probe)
		return usage_error("--probe-range wants", "--probe");
	if (given(o, OPT_QUEUE) && !o->netdev)
		return usage_error("--queue wants", "--netdev");
	return buffer_options_check(o) ?: bar_parse(&bar, &o->vfio);
}

/*
 * What --probe writes to must be free, and named to the byte: that of a device
 * has no beginning that is less dear than the rest.
 */
static int open_object(struct device *dev, const struct options *o,
		       const char *path)
{
	int ret = device_open(dev, path, o->probe ?
			      O_RDWR | O_EXCL | O_UNFORCED : O_RDONLY);

	if (ret || !o->probe || dev->file || given(o, OPT_PROBE_RANGE))
		return ret;
	close(dev->fd);
	return usage_error("to --probe a device say where it may be written:",
			   "--probe-range");
}

static int check_object(struct checks *c, struct blkdmabuf_ctl *ctl,
			const struct buffers *bufs, const char *path)
{
	struct device dev;
	int ret = open_object(&dev, c->o, path);

	if (ret)
		return ret;
	c->object = path;
	c->refused = BLK_DMABUF_OK;
	if (!want_json && c->o->args[1])
		printf("\n%s\n", path);
	if (dev.file)
		check_file(c, &dev);
	check_support(c, ctl, &dev, bufs);
	check_leaves(c, &dev);
	check_limits(c, &dev);
	check_policy(c, &dev);
	close(dev.fd);
	return EXIT_OK;
}

/* All must be there before anything is said. */
static int check_all_open(const struct options *o)
{
	struct device dev;
	unsigned int i;
	int ret = EXIT_OK;

	for (i = 0; i < MAX_ARGS && o->args[i] && !ret; i++) {
		ret = open_object(&dev, o, o->args[i]);
		if (!ret)
			close(dev.fd);
	}
	return ret;
}

static void check_system(struct checks *c, struct blkdmabuf_ctl **ctl)
{
	check_kernel(c);
	check_config(c);
	check_boot(c);
	check_btf(c);
	check_privilege(c);
	check_bpffs(c, c->o->pin);
	*ctl = check_programs(c);
}

static int tell_usable(struct checks *c)
{
	struct json_object *obj = json_object_new_object();

	add_bool(obj, "usable", c->usable);
	json_object_object_add(obj, "checks", c->list);
	json_object_object_add(obj, "pairs", c->pairs);
	print_json(obj);
	return c->usable ? EXIT_OK : EXIT_FAILED;
}

int cmd_check(const struct options *o)
{
	struct checks c = {
		.o = o, .usable = true, .copy = o->allow_copy,
	};
	struct blkdmabuf_ctl *ctl;
	struct buffers bufs;
	int binding = -1;
	unsigned int i;
	int ret;

	ret = check_options(o) ?:
	      check_all_open(o) ?:
	      buffers_open(&bufs, o);
	if (ret)
		return ret;
	c.list = json_object_new_array();
	c.pairs = json_object_new_array();
	check_system(&c, &ctl);
	if (o->netdev)
		check_netif(&c, o->netdev, &bufs, &binding);
	for (i = 0; i < MAX_ARGS && o->args[i] && !ret; i++)
		ret = check_object(&c, ctl, &bufs, o->args[i]);
	close_fd(binding);
	blkdmabuf_ctl_close(ctl);
	buffers_close(&bufs);
	if (!ret)
		return tell_usable(&c);
	json_object_put(c.list);
	json_object_put(c.pairs);
	return ret;
}
