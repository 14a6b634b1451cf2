// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy load, swap, unload, and the pins of what was loaded.
 *
 * bpftool and echo do the same; what is added is knobs, names, a swap under
 * load, and answers to "what runs where, with which settings".  A policy that
 * was loaded by somebody else is as good as one of ours.
 *
 * Ours are pinned in <pin>/policy/<name>/: the link, which is what keeps the
 * policy registered, and the maps that it shares with user space.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "policy.h"

#define LINK	"link"

/* ---- Pins ---- */

static const char *pin_of(const struct options *o, const char *name)
{
	return say("%s/policy/%s", o->pin, name);
}

const char *our_pin(const struct options *o, const struct policy *p)
{
	const char *dir = pin_of(o, p->name);
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	bool ours;
	int fd;

	fd = bpf_obj_get(say("%s/" LINK, dir));
	if (fd < 0)
		return NULL;
	ours = !bpf_link_get_info_by_fd(fd, &info, &len) &&
	       info.id == p->link_id;
	close(fd);
	return ours ? dir : NULL;
}

static void unpin_maps(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, LINK))
			continue;
		/* Not by say(), whose memory @dir may be in. */
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
}

static void unpin(const char *dir)
{
	unpin_maps(dir);
	unlink(say("%s/" LINK, dir));
	rmdir(dir);
}

/* For whoever shares a map with the policy: an admin, a consumer of a pool. */
static int pin_maps(const char *dir, const char *name)
{
	struct policy p;
	struct maps maps;
	unsigned int i;
	int ret = policy_lookup(&p, name);

	if (ret)
		return ret;
	maps_open(&maps, &p);
	policy_close(&p);
	for (i = 0; i < maps.nr && !ret; i++)
		if (!is_section(&maps.info[i]) &&
		    bpf_obj_pin(maps.fd[i], say("%s/%s", dir,
						maps.info[i].name)))
			ret = -errno;
	maps_close(&maps);
	return ret;
}

static int fail_to_pin(const char *dir, int err)
{
	return fail(.what = "pin a policy in", .object = dir, .err = err,
		    .advice = "mount -t bpf bpf /sys/fs/bpf, or --pin a "
		    "directory of a bpffs");
}

/* ---- load ---- */

static int fail_to_attach(const struct loading *l, int err)
{
	const char *advice = "the policy's init or the kernel refused: see the "
			     "head of its file, and dmesg";

	if (err == -EEXIST)
		advice = say("load it --as another name, or 'blkdmabufctl "
			     "policy swap %s %s'", l->name, l->path);
	return fail(.what = "register policy", .object = l->name, .err = err,
		    .advice = advice);
}

/* From here the pins keep it; what fails takes all of it back. */
static int pin_policy(const struct options *o, const struct loading *l,
		      struct bpf_link *link)
{
	const char *dir = pin_of(o, l->name);
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s", dir);
	/* Elsewhere the files of that directory are somebody's. */
	if (!pins_on_bpffs(path))
		return fail_to_pin(path, -ENOTDIR);
	/* What is left there is not registered, or the name was taken. */
	unpin(path);
	ret = pins_make_dirs(path) ?:
	      bpf_link__pin(link, say("%s/" LINK, path)) ?:
	      pin_maps(path, l->name);
	if (!ret)
		return EXIT_OK;
	unpin(path);
	return fail_to_pin(path, ret);
}

static int load_policy(const struct options *o, struct loading *l)
{
	struct bpf_link *link;
	int ret;

	ret = loading_load(l);
	if (ret)
		return ret;
	link = bpf_map__attach_struct_ops(l->table);
	if (!link)
		return fail_to_attach(l, -errno);
	ret = pin_policy(o, l, link) ?: put_policy(o, l->name);
	/* Pinned, it stays; else it goes. */
	bpf_link__destroy(link);
	return ret;
}

int cmd_policy_load(const struct options *o)
{
	struct loading l = {};
	int ret;

	ret = need_btf() ?:
	      loading_open(&l, o, o->args[0], o->as) ?:
	      load_policy(o, &l);
	bpf_object__close(l.obj);
	return ret;
}

/* ---- swap ---- */

static bool alike(const struct bpf_map *map, const struct bpf_map_info *info)
{
	return bpf_map__type(map) == info->type &&
	       bpf_map__key_size(map) == info->key_size &&
	       bpf_map__value_size(map) == info->value_size &&
	       bpf_map__max_entries(map) == info->max_entries;
}

/* Quotas, a pool: go on with what the old policy's programs use. */
static int reuse_maps(struct loading *l, const struct policy *old)
{
	struct bpf_map *map;
	struct maps maps;
	unsigned int i;
	int ret = EXIT_OK;

	maps_open(&maps, old);
	for (i = 0; i < maps.nr && !ret; i++) {
		const char *name = maps.info[i].name;

		if (is_section(&maps.info[i]))
			continue;
		map = bpf_object__find_map_by_name(l->obj, name);
		if (map && alike(map, &maps.info[i]) &&
		    !bpf_map__reuse_fd(map, maps.fd[i]))
			continue;
		ret = fail(.what = say("keep map '%s' for", name),
			   .object = l->path, .err = -EINVAL, .advice =
			   "it has none that is alike: swap without "
			   "--keep-maps");
	}
	maps_close(&maps);
	return ret;
}

/*
 * libbpf updates only links that it has made itself.  But making one readies
 * the table, and then fails because the name is taken: what is left to do is
 * one system call.
 */
static int update_link(struct loading *l, int link_fd)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(l->table);

	if (link) {
		/* The old policy went away just now. */
		bpf_link__destroy(link);
		return -ENOENT;
	}
	if (errno != EEXIST)
		return -errno;
	return bpf_link_update(link_fd, bpf_map__fd(l->table), NULL) ?
		-errno : 0;
}

static int fail_to_swap(const struct policy *old, int err)
{
	const char *advice = "its init refused a disk, or the kernel did: the "
			     "old one still runs; see the head of the new "
			     "one's file, and dmesg";

	if (err == -ENOENT || err == -ENOLINK)
		advice = "it was unloaded meanwhile: policy load";
	else if (err == -ENOMEM)
		advice = NULL;
	return fail(.what = "swap policy", .object = old->name, .err = err,
		    .advice = advice);
}

static int swap_policy(const struct options *o, struct loading *l,
		       const struct policy *old)
{
	char dir[PATH_MAX];
	const char *pin = our_pin(o, old);
	int ret = EXIT_OK;

	if (old->link_fd < 0)
		return fail(.what = "swap policy", .object = old->name,
			    .err = -EOPNOTSUPP, .advice =
			    "it was registered without a link: unload it, then "
			    "load the other one");
	snprintf(dir, sizeof(dir), "%s", pin ?: "");
	if (o->keep_maps)
		ret = reuse_maps(l, old);
	if (!ret)
		ret = loading_load(l);
	if (ret)
		return ret;
	ret = update_link(l, old->link_fd);
	if (ret)
		return fail_to_swap(old, ret);
	if (*dir) {
		unpin_maps(dir);
		ret = pin_maps(dir, old->name);
		if (ret)
			return fail_to_pin(dir, ret);
	}
	return put_policy(o, old->name);
}

int cmd_policy_swap(const struct options *o)
{
	struct loading l = {};
	struct policy old;
	int ret;

	ret = need_btf() ?: policy_find(&old, o->args[0]);
	if (ret)
		return ret;
	/* A disk is told a name: whatever comes takes the old one's. */
	ret = loading_open(&l, o, o->args[1], old.name) ?:
	      swap_policy(o, &l, &old);
	bpf_object__close(l.obj);
	policy_close(&old);
	return ret;
}

/* ---- unload ---- */

/* Over when it returns, whoever else holds the link. */
static int unregister_policy(const struct policy *p)
{
	uint32_t zero = 0;

	if (p->link_fd >= 0 ? bpf_link_detach(p->link_fd) :
			      bpf_map_delete_elem(p->map_fd, &zero))
		return -errno;
	return 0;
}

int cmd_policy_unload(const struct options *o)
{
	struct json_object *obj;
	struct policy p;
	int ret;

	ret = need_btf() ?: policy_find(&p, o->args[0]);
	if (ret)
		return ret;
	/* As long as we hold the link its name is taken, and the pin is its. */
	if (our_pin(o, &p))
		unpin(pin_of(o, p.name));
	ret = unregister_policy(&p);
	if (ret) {
		ret = fail(.what = "unload policy", .object = p.name,
			   .err = ret);
	} else {
		if (!want_json)
			printf("unloaded %s\n", p.name);
		obj = json_object_new_object();
		add_str(obj, "unloaded", p.name);
		print_json(obj);
	}
	policy_close(&p);
	return ret;
}
