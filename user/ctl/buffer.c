// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: dma-bufs, as the command line names them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "blkdmabufctl.h"
#include "shuffled.h"

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
int dmabuf_udmabuf_mapped(const struct options *o, uint64_t size,
			  bool fragmented, void **mem)
{
	unsigned int flags = o->hugetlb ? BLKDMABUF_HUGETLB : 0;
	int ret;

	if (memory_fits(o, size))
		return -1;
	/* The library would say so, too, but after making memory. */
	if (o->hugetlb && size % huge_page_size())
		ret = -EINVAL;
	else if (fragmented)
		ret = shuffled_udmabuf(size, mem);
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
	return dmabuf_udmabuf_mapped(o, size, false, NULL);
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

/* Length of the name; the name may hold colons, a size does not. */
static int heap_of(const char *s, uint64_t *size)
{
	const char *colon = strrchr(s, ':');

	return colon && parse_size(colon + 1, size) ? colon - s : 0;
}

int buffer_options_check(const struct options *o)
{
	uint64_t size;

	if (given(o, OPT_PID) && !given(o, OPT_FD))
		return usage_error("--pid wants", "--fd");
	if (o->hugetlb && !given(o, OPT_UDMABUF))
		return usage_error("--hugetlb wants", "--udmabuf");
	if (o->heap_size && !heap_of(o->heap_size, &size))
		return usage_error_try("--heap wants NAME:SIZE, not",
				       o->heap_size, "--heap system:64M");
	return EXIT_OK;
}

int dmabuf_heap_size(const struct options *o)
{
	uint64_t size = 0;
	int len = heap_of(o->heap_size, &size);

	return dmabuf_heap(o, say("%.*s", len, o->heap_size), size);
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
			return usage_error_try("--vfio wants "
					       "BDF:BAR[:OFFSET:LENGTH], not",
					       words->word[i],
					       "--vfio 0000:01:00.0:2");
		if (i && (strcmp(name, bar->name) || number != bar->number))
			return usage_error_try("one dma-buf is memory of one "
					       "BAR:", words->word[i],
					       "a command for each");
		if (words->nr > 1 && !range->length)
			return usage_error_try("that is all of the BAR "
					       "already:", words->word[i],
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
