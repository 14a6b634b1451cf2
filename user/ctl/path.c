// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check: which path the data between a disk and a buffer takes,
 * and why.  The kernel says so of each registration; show and list tell it, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blkdmabufctl.h"

/* ---- Buffers ---- */

/* Of a page at least, and as much as --probe moves. */
#define BUFFER_SIZE	(1024 * 1024)

/* Takes @fd over. */
static int buffer_add(struct buffers *bufs, int fd, const char *name)
{
	struct buffer *buf = &bufs->buffer[bufs->nr];
	int ret;

	if (fd < 0)
		return EXIT_FAILED;
	ret = blkdmabuf_size(fd, &buf->size);
	if (ret) {
		close(fd);
		return fail(.what = "look at", .object = name, .err = ret);
	}
	buf->fd = fd;
	snprintf(buf->name, sizeof(buf->name), "%s", name);
	bufs->nr++;
	return EXIT_OK;
}

/* Any memory will do; a kernel can have one kind and not the other. */
static void some_buffer(struct buffers *bufs)
{
	int fd = blkdmabuf_udmabuf(BUFFER_SIZE, 0);
	const char *name = "a udmabuf";

	if (fd < 0) {
		fd = blkdmabuf_heap("system", BUFFER_SIZE);
		name = "the system heap";
	}
	if (fd >= 0)
		buffer_add(bufs, fd, name);
}

static int bar_add(struct buffers *bufs, const struct options *o)
{
	struct bar *bar = &bufs->bar;
	int ret;

	ret = bar_parse(bar, &o->vfio) ?:
	      buffer_add(bufs, dmabuf_bar(bar),
			 say("%s BAR %u", bar->name, bar->number));
	if (!ret)
		bufs->buffer[bufs->nr - 1].bar = bar;
	return ret;
}

/* What options name; if they name none, something, or nothing at all. */
int buffers_open(struct buffers *bufs, const struct options *o)
{
	int ret = EXIT_OK;

	*bufs = (struct buffers) { .bar.device = -1 };
	if (given(o, OPT_UDMABUF))
		ret = buffer_add(bufs, dmabuf_udmabuf(o, o->udmabuf),
				 "a udmabuf");
	if (!ret && given(o, OPT_HEAP))
		ret = buffer_add(bufs, dmabuf_heap(o, o->heap, BUFFER_SIZE),
				 say("heap %s", o->heap));
	if (!ret && given(o, OPT_FD))
		ret = buffer_add(bufs, dmabuf_given(o),
				 say("file descriptor %u", o->fd));
	if (!ret && given(o, OPT_VFIO))
		ret = bar_add(bufs, o);
	if (ret)
		buffers_close(bufs);
	else if (!bufs->nr)
		some_buffer(bufs);
	return ret;
}

void buffers_close(struct buffers *bufs)
{
	unsigned int i;

	for (i = 0; i < bufs->nr; i++)
		close(bufs->buffer[i].fd);
	close_fd(bufs->bar.device);
	bufs->nr = 0;
}

/* ---- Paths ---- */

static const char *provider_name(const struct blk_dmabuf_info *info)
{
	return say("%04x:%02x:%02x.%x", info->provider_domain,
		   info->provider >> 8 & 0xff, info->provider >> 3 & 0x1f,
		   info->provider & 7);
}

static bool has_provider(const struct blk_dmabuf_info *info)
{
	return info->provider || info->provider_domain;
}

const char *provider_text(const struct blk_dmabuf_info *info)
{
	const char *name = provider_name(info);
	char link[PATH_MAX];
	ssize_t len;

	len = readlink(say("/sys/bus/pci/devices/%s/driver", name), link,
		       sizeof(link) - 1);
	link[len > 0 ? len : 0] = 0;
	return say("%s BAR %u%s%s, distance %u%s", name, info->provider_bar,
		   len > 0 ? ", driven by " : "", len > 0 ? basename(link) : "",
		   info->distance, info->flags & BLK_DMABUF_F_ACS ?
		   ", ACS redirects to the host bridge" : "");
}

/* What list and show tell of it, and check. */
void path_json(struct json_object *obj, const struct blk_dmabuf_info *info)
{
	bool peer = has_provider(info);
	struct json_object *provider = NULL;

	add_str(obj, "path", blkdmabuf_path_str(info->path));
	add_str(obj, "iommu", blkdmabuf_iommu_str(info->iommu));
	if (peer) {
		provider = json_object_new_object();
		add_str(provider, "device", provider_name(info));
		add_u64(provider, "bar", info->provider_bar);
		add_u64(provider, "distance", info->distance);
		add_bool(provider, "acs", info->flags & BLK_DMABUF_F_ACS);
	}
	json_object_object_add(obj, "provider", provider);
}

static void pair_json(struct checks *c, const struct blk_dmabuf_info *info,
		      const struct buffer *buf)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "object", c->object);
	add_str(obj, "disk", info->disk);
	add_str(obj, "buffer", buf->name);
	add_u64(obj, "bytes", buf->size);
	add_str(obj, "exporter", *info->exporter ? info->exporter : NULL);
	path_json(obj, info);
	add_str(obj, "reason", info->reason ?
		blkdmabuf_reason_str(info->reason) : NULL);
	add_bool(obj, "sync", info->flags & BLK_DMABUF_F_SYNC);
	add_bool(obj, "writable", info->flags & BLK_DMABUF_F_WRITABLE);
	add_u64(obj, "ranges", info->ranges);
	add_u64(obj, "max_io", info->max_io);
	json_object_array_add(c->pairs, obj);
}

/* Nobody can tell what nothing has tried. */
static enum verdict path_verdict(const struct checks *c, unsigned int path)
{
	switch (path) {
	case BLK_DMABUF_PATH_PREMAPPED:
	case BLK_DMABUF_PATH_P2P_SWITCH:
	case BLK_DMABUF_PATH_P2P_HOST_BRIDGE:
		return YES;
	case BLK_DMABUF_PATH_COPY:
		return c->copy ? YES : NO;
	case BLK_DMABUF_PATH_NONE:
		return INFO;
	}
	return NO;
}

/* Each range is a piece of DMA, of which a request has a limited number. */
static const char *mapped_text(const struct blk_dmabuf_info *info)
{
	if (info->state != BLK_DMABUF_LIVE)
		return "";
	return say("; %u range%s, I/O up to %s%s", info->ranges,
		   info->ranges == 1 ? "" : "s", human_size(info->max_io),
		   info->flags & BLK_DMABUF_F_SYNC ?
		   ", bounced or not coherent" : "");
}

/* What refuses has been told in a line of its own: a name will do here. */
static const char *why_text(const struct blk_dmabuf_info *info)
{
	if (info->path == BLK_DMABUF_PATH_NONE &&
	    info->flags & BLK_DMABUF_F_STACK)
		return "a stack is mapped for when I/O reaches what is below";
	if (info->reason && info->path >= BLK_DMABUF_PATH_COPY)
		return blkdmabuf_reason_str(info->reason);
	return blkdmabuf_path_text(info->path);
}

/* @name: of a disk below, or empty. */
void tell_path(struct checks *c, const struct blk_dmabuf_info *info,
	       const struct buffer *buf, const char *name)
{
	enum verdict verdict = path_verdict(c, info->path);
	char text[512];

	snprintf(text, sizeof(text), "%s%s of %s: %s, %s%s%s%s", name,
		 buf->name, human_size(buf->size),
		 blkdmabuf_path_str(info->path), why_text(info),
		 has_provider(info) ? "; " : "",
		 has_provider(info) ? provider_text(info) : "",
		 mapped_text(info));
	tell(c, "path", verdict, text,
	     info->path == BLK_DMABUF_PATH_COPY ? "--allow-copy" : NULL);
	pair_json(c, info, buf);
}

/* It could not even be registered. */
void tell_no_path(struct checks *c, const struct blk_dmabuf_attach *res,
		  const struct buffer *buf, const char *disk)
{
	struct blk_dmabuf_info info = {
		.path	= BLK_DMABUF_PATH_REFUSED,
		.reason	= res->reason,
	};

	snprintf(info.disk, sizeof(info.disk), "%s", disk);
	pair_json(c, &info, buf);
}
