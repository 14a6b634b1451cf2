// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: register, unregister, map, unmap, list, show.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkdmabufctl.h"

/* As many as a map holds. */
#define MAX_IDS		4096

/**
 * struct owned - which registrations the pinned map owns
 * @ids: ascending
 * @nr: how many
 */
struct owned {
	uint32_t	ids[MAX_IDS];
	unsigned int	nr;
};

static int owned_get(struct blkdmabuf_ctl *ctl, struct owned *owned)
{
	int ret = blkdmabuf_owned(ctl, owned->ids, MAX_IDS);

	if (ret < 0)
		return fail(.what = "list registrations", .err = ret);
	owned->nr = ret < MAX_IDS ? ret : MAX_IDS;
	return EXIT_OK;
}

static bool owned_has(const struct owned *owned, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < owned->nr; i++)
		if (owned->ids[i] == id)
			return true;
	return false;
}

static int all_get(struct blkdmabuf_ctl *ctl, struct infos *all)
{
	int ret = infos_get(ctl, all);

	return ret ? fail(.what = "list registrations", .err = ret) : EXIT_OK;
}

/* Another registration of the same buffer? */
static bool shares(const struct blk_dmabuf_info *a,
		   const struct blk_dmabuf_info *b)
{
	return a->id != b->id && a->inode == b->inode &&
	       a->state != BLK_DMABUF_DEAD && b->state != BLK_DMABUF_DEAD;
}

/* ---- How a registration looks ---- */

static bool mapped(const struct blk_dmabuf_info *info)
{
	return info->state == BLK_DMABUF_LIVE;
}

static struct json_object *shared_json(const struct blk_dmabuf_info *info,
				       const struct infos *all)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < all->nr; i++)
		if (shares(info, &all->infos[i]))
			json_object_array_add(list, json_object_new_int64(
					      all->infos[i].id));
	return list;
}

static struct json_object *info_json(const struct blk_dmabuf_info *info,
				     const struct infos *all, bool pinned)
{
	struct json_object *obj = json_object_new_object();

	add_u64(obj, "id", info->id);
	add_str(obj, "disk", info->disk);
	add_str(obj, "device", say("%u:%u", info->dev_major, info->dev_minor));
	add_str(obj, "exporter", info->exporter);
	add_u64(obj, "inode", info->inode);
	add_u64(obj, "bytes", info->bytes);
	add_str(obj, "state", blkdmabuf_state_str(info->state));
	add_bool(obj, "mapped", mapped(info));
	add_str(obj, "reason", info->reason ?
		blkdmabuf_reason_str(info->reason) : NULL);
	add_u64(obj, "ranges", info->ranges);
	add_u64(obj, "max_io", info->max_io);
	add_bool(obj, "writable", info->flags & BLK_DMABUF_F_WRITABLE);
	add_bool(obj, "p2p", info->flags & BLK_DMABUF_F_P2P);
	add_bool(obj, "sync", info->flags & BLK_DMABUF_F_SYNC);
	add_bool(obj, "stack", info->flags & BLK_DMABUF_F_STACK);
	add_bool(obj, "may_copy", info->flags & BLK_DMABUF_F_MAY_COPY);
	add_bool(obj, "only_copies", info->flags & BLK_DMABUF_F_COPY);
	path_json(obj, info);
	add_u64(obj, "devices", info->devices);
	add_u64(obj, "sharers", info->sharers);
	json_object_object_add(obj, "shared_with", shared_json(info, all));
	add_u64(obj, "generation", info->generation);
	add_u64(obj, "invalidations", info->invalidations);
	add_bool(obj, "pinned", pinned);
	add_u64(obj, "uid", info->uid);
	add_u64(obj, "pid", info->pid);
	add_u64(obj, "reads", info->reads);
	add_u64(obj, "read_bytes", info->read_bytes);
	add_u64(obj, "writes", info->writes);
	add_u64(obj, "write_bytes", info->write_bytes);
	add_u64(obj, "errors", info->errors);
	add_u64(obj, "retries", info->retries);
	add_u64(obj, "copied", info->copied);
	add_u64(obj, "copied_bytes", info->copied_bytes);
	return obj;
}

#define print_line(name, ...)	printf("%-14s %s\n", name, say(__VA_ARGS__))

static void print_moved(const char *name, uint64_t bytes, uint64_t ios)
{
	print_line(name, "%s in %" PRIu64, human_size(bytes), ios);
}

static const char *flags_text(const struct blk_dmabuf_info *info)
{
	return say("%s%s%s",
		   info->flags & BLK_DMABUF_F_WRITABLE ? "writable" :
		   "read-only",
		   info->flags & BLK_DMABUF_F_P2P ? ", peer to peer" : "",
		   info->flags & BLK_DMABUF_F_SYNC ? ", needs sync" : "");
}

/* What lies between disk and buffer. */
static const char *copy_text(const struct blk_dmabuf_info *info)
{
	if (info->flags & BLK_DMABUF_F_COPY)
		return "the CPU copies all I/O";
	return info->flags & BLK_DMABUF_F_MAY_COPY ?
	       "I/O may be copied by the CPU" : "no I/O is copied";
}

/* There is no mapping, and there will be none. */
static const char *state_text(const struct cell *c)
{
	if (strcmp(cell_text(c), blkdmabuf_state_str(BLK_DMABUF_DEAD)) &&
	    json_object_get_boolean(member(c->record, "only_copies")))
		return "copied";
	return cell_text(c);
}

/* @obj: the same, for JSON */
static void print_info(const struct blk_dmabuf_info *info,
		       struct json_object *obj, bool pinned)
{
	struct cell state = { .val = member(obj, "state"), .record = obj };

	print_line("id", "%u", info->id);
	print_line("disk", "%s (%u:%u)%s", info->disk, info->dev_major,
		   info->dev_minor, info->flags & BLK_DMABUF_F_STACK ?
		   ", a stack of others" : "");
	print_line("attached to", "%u DMA device%s", info->devices,
		   info->devices == 1 ? "" : "s");
	print_line("exporter", "%s, inode %s", info->exporter,
		   member_text(obj, "inode"));
	print_line("size", "%s (%s bytes)", human_size(info->bytes),
		   member_text(obj, "bytes"));
	print_line("shared with", "%s", member_text(obj, "shared_with"));
	print_line("state", "%s", state_text(&state));
	if (info->reason)
		print_line("", "%s", blkdmabuf_reason_text(info->reason));
	print_line("path", "%s: %s", blkdmabuf_path_str(info->path),
		   blkdmabuf_path_text(info->path));
	if (info->provider || info->provider_domain)
		print_line("memory of", "%s", provider_text(info));
	print_line("IOMMU", "%s", blkdmabuf_iommu_str(info->iommu));
	print_line("ranges", "%u", info->ranges);
	print_line("largest I/O", "%s", human_size(info->max_io));
	print_line("buffer", "%s", flags_text(info));
	print_line("copying", "%s", copy_text(info));
	print_line("mappings", "%s made, %s taken away",
		   member_text(obj, "generation"),
		   member_text(obj, "invalidations"));
	print_line("owner", "%s, made by uid %u, pid %u",
		   pinned ? "pin" : "a process", info->uid, info->pid);
	print_moved("read", info->read_bytes, info->reads);
	print_moved("written", info->write_bytes, info->writes);
	print_moved("of it copied", info->copied_bytes, info->copied);
	print_line("errors", "%s", member_text(obj, "errors"));
	print_line("issued again", "%s", member_text(obj, "retries"));
}

static int put_info(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	struct blk_dmabuf_info info;
	struct json_object *obj;
	struct owned owned;
	struct infos all;
	bool pinned;
	int ret;

	ret = blkdmabuf_info(ctl, id, &info);
	if (ret)
		return fail(.what = "find registration",
			    .object = say("%u", id), .err = ret,
			    .advice = "blkdmabufctl list");
	ret = owned_get(ctl, &owned) ?: all_get(ctl, &all);
	if (ret)
		return ret;
	pinned = owned_has(&owned, id);
	obj = info_json(&info, &all, pinned);
	free(all.infos);
	if (!want_json)
		print_info(&info, obj, pinned);
	print_json(obj);
	return EXIT_OK;
}

/* ---- register ---- */

static int source_check(const struct options *o)
{
	int sources = given(o, OPT_UDMABUF) + given(o, OPT_HEAP_SIZE) +
		      given(o, OPT_FD) + given(o, OPT_VFIO);

	if (sources != 1)
		return usage_error("'register' wants exactly one of",
				   "--udmabuf, --heap, --fd, --vfio");
	return buffer_options_check(o);
}

static int source_open(const struct options *o, struct bar *bar)
{
	if (given(o, OPT_VFIO))
		return dmabuf_bar(bar);
	if (given(o, OPT_UDMABUF))
		return dmabuf_udmabuf(o, o->udmabuf);
	if (given(o, OPT_HEAP_SIZE))
		return dmabuf_heap_size(o);
	return dmabuf_given(o);
}

static int register_failed(const struct device *dev,
			   const struct blk_dmabuf_attach *res)
{
	const char *advice = file_advice(dev, res->reason);

	if (res->reason == BLK_DMABUF_DUPLICATE)
		advice = say("use registration %u, or 'blkdmabufctl "
			     "unregister %u' first", res->id, res->id);
	else if (res->error == -ENOSPC)
		advice = "the map is full: unregister something, or --pin "
			 "another directory";
	return fail(.what = dev->file ? "register a dma-buf on the disk of" :
			    "register a dma-buf on",
		    .object = dev->path, .err = res->error,
		    .reason = res->reason, .advice = advice);
}

static int map_now(const struct options *o, const struct device *dev,
		   struct blkdmabuf_ctl *ctl, uint32_t id)
{
	int ret;

	if (o->no_map)
		return EXIT_OK;
	ret = blkdmabuf_map(ctl, id);
	if (stop_signal) {
		fail(.what = "map a dma-buf for", .object = dev->path,
		     .err = -EINTR, .advice = "again: nothing is registered");
		return 128 + stop_signal;
	}
	/* It is copied then, and what is told says why. */
	return ret && !o->allow_copy ?
	       report_map_failure(ctl, id, ret, dev->path) : EXIT_OK;
}

static int tell_registered(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	int ret = put_info(ctl, id);

	if (ret || !fflush(stdout))
		return ret;
	ret = -errno;
	/* Standard output is what does not work. */
	want_json = false;
	return fail(.what = "write to", .object = "standard output",
		    .err = ret);
}

/*
 * Who closes the device takes its memory back, so that we stay.  Whatever ends us,
 * the registration ends with us: its map is not pinned.
 */
static int hold(const sigset_t *signals)
{
	int signal;

	if (!want_json)
		puts("The device is held open until a signal ends this.");
	fflush(stdout);
	sigwait(signals, &signal);
	return EXIT_OK;
}

static int register_on(const struct options *o, const struct device *dev,
		       int dmabuf)
{
	struct blk_dmabuf_attach res;
	struct blkdmabuf_ctl *ctl;
	sigset_t signals;
	int ret;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (!hangup_ignored())
		sigaddset(&signals, SIGHUP);
	if (given(o, OPT_VFIO))
		sigprocmask(SIG_BLOCK, &signals, NULL);
	else
		catch_signals();
	ret = open_control(&ctl, given(o, OPT_VFIO) ? NULL : o->pin);
	if (ret)
		return ret;
	if (blkdmabuf_register_flags(ctl, dev->fd, dmabuf, o->allow_copy ?
				     BLK_DMABUF_ATTACH_COPY : 0, &res)) {
		ret = register_failed(dev, &res);
		goto close;
	}
	ret = map_now(o, dev, ctl, res.id) ?: tell_registered(ctl, res.id);
	/*
	 * A registration outlives us, and one whose id nobody was told would
	 * keep its memory until the pin goes.
	 */
	if (ret)
		blkdmabuf_unregister(ctl, res.id);
	else if (given(o, OPT_VFIO))
		ret = hold(&signals);
close:
	blkdmabuf_ctl_close(ctl);
	return ret;
}

int cmd_register(const struct options *o)
{
	struct device dev;
	int dmabuf, ret;
	struct bar bar;

	/* A reader that went away must not end us before we have cleaned up. */
	signal(SIGPIPE, SIG_IGN);
	ret = source_check(o) ?:
	      bar_parse(&bar, &o->vfio) ?:
	      need_kernel() ?:
	      device_open(&dev, o->args[0], O_RDONLY);
	if (ret)
		return ret;
	dmabuf = source_open(o, &bar);
	if (dmabuf < 0) {
		close(dev.fd);
		return EXIT_FAILED;
	}
	ret = register_on(o, &dev, dmabuf);
	close(dmabuf);
	close(dev.fd);
	return ret;
}

/* ---- unregister, map, unmap, show ---- */

static int want_id(const char *arg, uint32_t *id)
{
	if (parse_u32(arg, id) && *id)
		return EXIT_OK;
	return usage_error_try("no id of a registration:", arg,
			       "blkdmabufctl list");
}

/* The pinned map, or one that owns nothing. */
static int open_any_control(const struct options *o,
			    struct blkdmabuf_ctl **ctl)
{
	int ret = need_kernel();

	return ret ?: open_control(ctl, pin_exists(o->pin) ? o->pin : NULL);
}

/* Takes @done over. */
static int unregister_failed(struct blkdmabuf_ctl *ctl, uint32_t id, int err,
			     struct json_object *done)
{
	struct blk_dmabuf_info info;
	const char *advice = "blkdmabufctl list";

	if (err == -ENOENT && !blkdmabuf_info(ctl, id, &info))
		advice = say("process %u made it in another map: end that, or "
			     "--pin the directory of the map", info.pid);
	return fail(.what = "unregister", .object = say("%u", id), .err = err,
		    .advice = advice, .partial = done);
}

static int unregister_ids(struct blkdmabuf_ctl *ctl, const uint32_t *ids,
			  unsigned int nr)
{
	struct json_object *obj = json_object_new_object();
	struct json_object *list = json_object_new_array();
	unsigned int i;
	int ret;

	json_object_object_add(obj, "unregistered", list);
	for (i = 0; i < nr; i++) {
		ret = blkdmabuf_unregister(ctl, ids[i]);
		/* Of many, one may have gone meanwhile. */
		if (ret == -ENOENT && nr > 1)
			continue;
		if (ret)
			return unregister_failed(ctl, ids[i], ret, obj);
		json_object_array_add(list, json_object_new_int64(ids[i]));
		if (!want_json)
			printf("unregistered %u\n", ids[i]);
	}
	print_json(obj);
	return EXIT_OK;
}

int cmd_unregister(const struct options *o)
{
	bool all = !strcmp(o->args[0], "all");
	struct blkdmabuf_ctl *ctl;
	struct owned owned;
	uint32_t id = 0;
	int ret = EXIT_OK;

	if (!all)
		ret = want_id(o->args[0], &id);
	if (!ret)
		ret = open_any_control(o, &ctl);
	if (ret)
		return ret;
	if (all)
		ret = owned_get(ctl, &owned) ?:
		      unregister_ids(ctl, owned.ids, owned.nr);
	else
		ret = unregister_ids(ctl, &id, 1);
	blkdmabuf_ctl_close(ctl);
	return ret;
}

static int map(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	int ret = blkdmabuf_map(ctl, id);

	return ret ? report_map_failure(ctl, id, ret,
					say("registration %u", id)) : EXIT_OK;
}

static int unmap(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	int ret = blkdmabuf_unmap(ctl, id);

	return ret ? fail(.what = "unmap registration",
			  .object = say("%u", id), .err = ret,
			  .advice = "blkdmabufctl list") : EXIT_OK;
}

/* Do something with the registration that is named, and show what it is then. */
static int with_registration(const struct options *o,
			     int (*act)(struct blkdmabuf_ctl *ctl, uint32_t id))
{
	struct blkdmabuf_ctl *ctl;
	uint32_t id;
	int ret;

	ret = want_id(o->args[0], &id) ?: open_any_control(o, &ctl);
	if (ret)
		return ret;
	if (act)
		ret = act(ctl, id);
	if (!ret)
		ret = put_info(ctl, id);
	blkdmabuf_ctl_close(ctl);
	return ret;
}

int cmd_map(const struct options *o)
{
	return with_registration(o, map);
}

int cmd_unmap(const struct options *o)
{
	return with_registration(o, unmap);
}

int cmd_show(const struct options *o)
{
	return with_registration(o, NULL);
}

/* ---- list ---- */

static const char *owner_text(const struct cell *c)
{
	return json_object_get_boolean(c->val) ? "pin" :
	       say("pid %s", member_text(c->record, "pid"));
}

static const struct field list_fields[] = {
	{ "ID",		"%6s",		"id",		cell_text },
	{ "DISK",	"  %-10s",	"disk",		cell_text },
	{ "STATE",	" %-8s",	"state",	state_text },
	{ "PATH",	" %-15s",	"path",		cell_text },
	{ "SIZE",	" %10s",	"bytes",	cell_size },
	{ "RANGES",	" %7s",		"ranges",	cell_text },
	{ "DEVS",	" %4s",		"devices",	cell_text },
	{ "EXPORTER",	"  %-12s",	"exporter",	cell_text },
	{ "OWNER",	" %-10s",	"pinned",	owner_text },
	{ "READ",	" %10s",	"read_bytes",	cell_size },
	{ "WRITTEN",	" %10s",	"write_bytes",	cell_size },
	{ "COPIED",	" %10s",	"copied_bytes",	cell_size },
	{ "ERRORS",	" %6s",		"errors",	cell_text },
	{ "SHARED WITH", "  %s",	"shared_with",	cell_text },
	{}
};

static int list_all(struct blkdmabuf_ctl *ctl, const dev_t *disk)
{
	const struct blk_dmabuf_info *info;
	struct json_object *list;
	struct owned owned;
	struct infos all;
	int ret;

	ret = owned_get(ctl, &owned) ?: all_get(ctl, &all);
	if (ret)
		return ret;
	list = json_object_new_array();
	for (info = all.infos; info < all.infos + all.nr; info++) {
		if (!info_is_on(info, disk))
			continue;
		json_object_array_add(list, info_json(info, &all,
					      owned_has(&owned, info->id)));
	}
	free(all.infos);
	tell_list(list_fields, list);
	return EXIT_OK;
}

int cmd_list(const struct options *o)
{
	struct blkdmabuf_ctl *ctl;
	dev_t disk;
	int ret = EXIT_OK;

	if (o->args[0])
		ret = device_find_disk(o->args[0], &disk);
	if (!ret)
		ret = open_any_control(o, &ctl);
	if (ret)
		return ret;
	ret = list_all(ctl, o->args[0] ? &disk : NULL);
	blkdmabuf_ctl_close(ctl);
	return ret;
}
