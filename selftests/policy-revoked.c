// SPDX-License-Identifier: GPL-2.0-only
/*
 * invalidated(): a policy hears of it when an exporter takes a mapping away.
 * The exporter is vfio-pci, which does so when memory access of the device is
 * switched off.
 *
 * vm: iommu=strict nvme=1 p2p=1
 */
#include <glob.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include "policy.h"
#include "selftests/bpf/puppet.skel.h"

/* Newer than the headers of some distributions. */
#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32	argsz;
	__u32	flags;
	__s32	iommufd;
	__u32	out_devid;
	__u64	token_uuid_ptr;
};
#define VFIO_DEVICE_BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#endif

#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF	11
struct vfio_device_feature_dma_buf {
	__u32	region_index;
	__u32	open_flags;
	__u32	flags;
	__u32	nr_ranges;
	struct {
		__u64	offset;
		__u64	length;
	} dma_ranges[1];
};
#endif

#define BAR	2	/* of ivshmem: its memory */
#define POS	(8 * MIB)
#define LEN	(64 * KIB)
#define SEED	61

static int device;

/* The first path that matches, or skip the test. */
static char *path_like(const char *pattern)
{
	char *path;
	glob_t g;

	if (glob(pattern, 0, NULL, &g))
		tap_skip(pattern);
	path = strdup(g.gl_pathv[0]);
	globfree(&g);
	return path;
}

/* The device whose memory we want, as its directory in sysfs. */
static char *find_device(void)
{
	char *path = NULL, text[16];
	glob_t g;
	size_t i;
	FILE *f;

	CHECK_EQ(glob("/sys/bus/pci/devices/*/device", 0, NULL, &g), 0);
	for (i = 0; i < g.gl_pathc && !path; i++) {
		f = fopen(g.gl_pathv[i], "re");
		if (f && fgets(text, sizeof(text), f) &&
		    !strcmp(text, "0x1110\n"))
			path = strdup(dirname(g.gl_pathv[i]));
		if (f)
			fclose(f);
	}
	globfree(&g);
	if (!path)
		tap_skip("an ivshmem device");
	return path;
}

static void open_device(void)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	char *dir = find_device(), path[256], *vfio;

	snprintf(path, sizeof(path), "%s/driver_override", dir);
	put(path, "vfio-pci");
	put("/sys/bus/pci/drivers_probe", basename(dir));
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio*", dir);
	vfio = path_like(path);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", basename(vfio));
	device = open(path, O_RDWR | O_CLOEXEC);
	CHECK(device >= 0);
	bind.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	CHECK(bind.iommufd >= 0);
	CHECK_EQ(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind), 0);
}

/* Where a region of the device is in its file. */
static uint64_t region(unsigned int index)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	CHECK_EQ(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
	return info.offset;
}

/* What the device decodes; without memory nobody may use its BARs. */
static void memory_access(bool on)
{
	uint64_t config = region(VFIO_PCI_CONFIG_REGION_INDEX);
	uint16_t command;

	CHECK_EQ(pread(device, &command, 2, config + PCI_COMMAND), 2);
	command &= ~PCI_COMMAND_MEMORY;
	if (on)
		command |= PCI_COMMAND_MEMORY;
	CHECK_EQ(pwrite(device, &command, 2, config + PCI_COMMAND), 2);
}

static int bar_dmabuf(uint64_t size)
{
	struct {
		struct vfio_device_feature		head;
		struct vfio_device_feature_dma_buf	arg;
	} get = {
		.head = {
			.argsz = sizeof(get),
			.flags = VFIO_DEVICE_FEATURE_GET |
				 VFIO_DEVICE_FEATURE_DMA_BUF,
		},
		.arg = {
			.region_index = BAR,
			.open_flags = O_RDWR | O_CLOEXEC,
			.nr_ranges = 1,
			.dma_ranges = { { 0, size } },
		},
	};

	return ioctl(device, VFIO_DEVICE_FEATURE, &get);
}

/* The BAR in slot 0, plain memory in slot 1. */
static void set_up(struct rig *r, uint64_t size)
{
	open_device();
	memory_access(true);
	memset(r, 0, sizeof(*r));
	r->bdev = rig_open_disk("disk0", O_RDWR | O_DIRECT);
	r->size = size;
	r->dmabuf = bar_dmabuf(size);
	CHECK(r->dmabuf >= 0);
	/* This dma-buf has no mmap(), the device has. */
	r->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		      region(VFIO_PCI_BAR0_REGION_INDEX + BAR));
	CHECK(r->mem != MAP_FAILED);
	rig_register(r);
	rig_bind(r);
	rig_up_slot(&r[1], r, size);
	rig_fill_disk(r, POS, LEN, SEED);
}

static struct puppet *puppet_up(int bdev)
{
	struct puppet *p = puppet__open_and_load();

	CHECK(p);
	policy_attach(p->maps.puppet);
	CHECK_EQ(policy_select(bdev, "puppet"), 0);
	return p;
}

TEST(a_mapping_that_is_taken_away_is_announced)
{
	struct puppet *p;
	struct rig r[2];
	unsigned int i;

	set_up(r, 1 * MIB);
	p = puppet_up(r->bdev);
	for (i = 1; i <= 3; i++) {
		memset(r->mem, 0, LEN);
		CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
		CHECK_EQ(rig_check(r, 0, POS, LEN, SEED), 0);
		/* Whose memory it is, is known while it is mapped. */
		CHECK(!(p->bss->seen.flags & BLK_DMABUF_F_P2P));
		CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
		CHECK(p->bss->seen.flags & BLK_DMABUF_F_P2P);
		CHECK_EQ(p->bss->invalidations, i - 1);
		memory_access(false);
		CHECK_EQ(p->bss->invalidations, i);
		CHECK_EQ(p->bss->last_invalid, r->id);
		memory_access(true);
	}
	/* One that was not mapped is not taken away. */
	memory_access(false);
	CHECK_EQ(p->bss->invalidations, 3);
	memory_access(true);
	CHECK_EQ(p->bss->places, p->bss->completes);
}

TEST(a_policy_can_go_round_a_buffer_that_is_away)
{
	struct puppet *p;
	struct rig r[2];

	set_up(r, 1 * MIB);
	p = puppet_up(r->bdev);
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	memory_access(false);
	CHECK(rig_io(r, READ_CMD, POS, LEN, 0) < 0);
	CHECK_EQ(p->bss->last_invalid, r->id);
	p->data->slot = 1;
	CHECK_EQ(rig_io(r, READ_CMD, POS, LEN, 0), LEN);
	CHECK_EQ(rig_check(&r[1], 0, POS, LEN, SEED), 0);
	CHECK_EQ(p->bss->places, p->bss->completes);
	memory_access(true);
}

int main(int argc, char **argv)
{
	return rig_main(argc, argv);
}
