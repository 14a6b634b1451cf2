// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy: load, attach, swap, detach, unload, list, show.
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
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "blkdmabufctl-bpf.h"

#define OPS		"blk_dmabuf_ops"
#define SUFFIX		".bpf.o"
#define LINK		"link"
#define NAME_MAX_LEN	16	/* BLK_DMABUF_POLICY_NAME_MAX */
#define MAX_MEMBERS	16
#define MAX_MAPS	64

/**
 * struct policy - one that is registered
 * @name: what sysfs calls it
 * @object: name of its table in the source
 * @map_fd: its struct_ops map
 * @link_fd: what registered it, -1 if that was no link
 * @map_id: id of the map
 * @link_id: id of the link, 0 if there is none
 * @in_use: it is registered without a link
 * @nr_members: members it has
 * @members: their names
 * @progs: and the ids of their programs
 */
struct policy {
	char		name[NAME_MAX_LEN];
	char		object[BPF_OBJ_NAME_LEN];
	int		map_fd;
	int		link_fd;
	uint32_t	map_id;
	uint32_t	link_id;
	bool		in_use;
	unsigned int	nr_members;
	const char	*members[MAX_MEMBERS];
	uint32_t	progs[MAX_MEMBERS];
};

/* ---- What libbpf has to say ---- */

static char libbpf_log[16384];

static int keep_log(enum libbpf_print_level level, const char *fmt,
		    va_list args)
{
	size_t len = strlen(libbpf_log);

	if (getenv("LIBBPF_LOG_LEVEL"))
		vfprintf(stderr, fmt, args);
	else if (level == LIBBPF_WARN && len < sizeof(libbpf_log) - 1)
		vsnprintf(libbpf_log + len, sizeof(libbpf_log) - len, fmt,
			  args);
	return 0;
}

/* The verifier's words are why it was refused: they go with the error. */
static int fail_to_load(const char *path, int err)
{
	struct json_object *obj = NULL;

	if (want_json) {
		obj = json_object_new_object();
		add_str(obj, "log", libbpf_log);
	} else if (err != -EPERM) {
		fputs(libbpf_log, stderr);
	}
	return fail(.what = "load policy", .object = path, .err = err,
		    .partial = obj, .advice = err == -EPERM ?
		    "run it as root: this needs CAP_BPF and CAP_PERFMON" :
		    "read what libbpf and the verifier say of it; "
		    "LIBBPF_LOG_LEVEL=debug shows more");
}

/* ---- Where policies are ---- */

/* Where "stripe" is looked for, as stripe.bpf.o; NULL behind the last. */
static const char *policy_dir(unsigned int i)
{
	char exe[PATH_MAX] = "";
	const char *env;

	if (!i) {
		env = getenv("BLKDMABUF_POLICIES");
		return env && *env ? env : ".";
	}
	if (i > 2 || readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		return NULL;
	/* Installed, and as built. */
	return say("%s/%s", dirname(exe),
		   i == 1 ? "../lib/blkdmabuf" : "../bpf");
}

static bool is_path(const char *arg)
{
	size_t len = strlen(arg);

	return strchr(arg, '/') || (len > 2 && !strcmp(arg + len - 2, ".o"));
}

static int policy_file(const char *arg, char path[PATH_MAX])
{
	const char *dir;
	unsigned int i;

	if (is_path(arg)) {
		snprintf(path, PATH_MAX, "%s", arg);
		if (!access(path, R_OK))
			return EXIT_OK;
		return fail(.what = "open policy", .object = arg,
			    .err = -errno, .advice = errno == ENOENT ?
			    "'make bpf' builds the policies" : NULL);
	}
	for (i = 0; (dir = policy_dir(i)); i++) {
		if (realpath(say("%s/%s" SUFFIX, dir, arg), path))
			return EXIT_OK;
	}
	return fail(.what = "find policy", .object = arg, .err = -ENOENT,
		    .advice = say("a path, or BLKDMABUF_POLICIES=<directory "
				  "with %s" SUFFIX ">", arg));
}

void policy_files(void (*tell)(const char *name, const char *prefix),
		  const char *prefix)
{
	const char *dir;
	unsigned int i;
	size_t n;

	for (i = 0; (dir = policy_dir(i)); i++) {
		glob_t found;

		if (glob(say("%s/*" SUFFIX, dir), 0, NULL, &found))
			continue;
		for (n = 0; n < found.gl_pathc; n++) {
			char *name = basename(found.gl_pathv[n]);

			name[strlen(name) - strlen(SUFFIX)] = 0;
			tell(name, prefix);
		}
		globfree(&found);
	}
}

/* ---- Disks ---- */

#define ATTRS	"/sys/block/*/queue/dmabuf_policy"

/* "/sys/block/nvme0n1/queue/dmabuf_policy": the name of the disk. */
static const char *attr_disk(const char *path)
{
	const char *disk = path + strlen("/sys/block/");

	return say("%.*s", (int)strcspn(disk, "/"), disk);
}

/* The policy in brackets. */
static bool attr_selected(const char *path, const char *name)
{
	char line[4096];

	return read_line(path, line, sizeof(line)) &&
	       strstr(line, say("[%s]", name));
}

void policy_names(void (*tell)(const char *name, const char *prefix),
		  const char *prefix)
{
	char line[4096], *word, *save = NULL;
	glob_t attrs;

	if (glob(ATTRS, 0, NULL, &attrs))
		return;
	if (read_line(attrs.gl_pathv[0], line, sizeof(line)))
		for (word = strtok_r(line, " []", &save); word;
		     word = strtok_r(NULL, " []", &save))
			if (strcmp(word, "none"))
				tell(word, prefix);
	globfree(&attrs);
}

static struct json_object *disks_json(const char *name)
{
	struct json_object *list = json_object_new_array();
	glob_t attrs;
	size_t i;

	if (glob(ATTRS, 0, NULL, &attrs))
		return list;
	for (i = 0; i < attrs.gl_pathc; i++)
		if (attr_selected(attrs.gl_pathv[i], name))
			json_object_array_add(list, json_object_new_string(
					      attr_disk(attrs.gl_pathv[i])));
	globfree(&attrs);
	return list;
}

/* ---- Policies that are registered ---- */

static void policy_close(struct policy *p)
{
	if (p->map_fd >= 0)
		close(p->map_fd);
	if (p->link_fd >= 0)
		close(p->link_fd);
}

static const struct btf_member *find_member(const struct btf *btf,
					    const struct btf_type *t,
					    const char *name)
{
	const struct btf_member *m = btf_members(t);
	unsigned int i;

	for (i = 0; i < btf_vlen(t); i++, m++)
		if (!strcmp(btf__name_by_offset(btf, m->name_off), name))
			return m;
	return NULL;
}

/* The table as the kernel keeps it: a program's id where a member is. */
static void read_table(struct policy *p, const struct btf *btf,
		       const struct btf_type *ops, const char *table)
{
	const struct btf_member *m = btf_members(ops);
	unsigned int i;

	for (i = 0; i < btf_vlen(ops); i++, m++) {
		const char *name = btf__name_by_offset(btf, m->name_off);
		const char *at = table + m->offset / 8;
		uint64_t id = 0;

		if (!strcmp(name, "name")) {
			memcpy(p->name, at, sizeof(p->name) - 1);
			continue;
		}
		if (!btf_is_ptr(btf__type_by_id(btf, m->type)))
			continue;
		memcpy(&id, at, sizeof(id));
		if (!id || p->nr_members == MAX_MEMBERS)
			continue;
		p->members[p->nr_members] = name;
		p->progs[p->nr_members++] = id;
	}
}

/* enum bpf_struct_ops_state: what has a link is in another one. */
#define STATE_INUSE	1

static void read_state(struct policy *p, const struct btf *btf,
		       const struct btf_type *value, const char *buf)
{
	const struct btf_member *common = find_member(btf, value, "common");
	const struct btf_member *state;
	uint32_t val;

	if (!common)
		return;
	state = find_member(btf, btf__type_by_id(btf, common->type), "state");
	if (!state)
		return;
	memcpy(&val, buf + (common->offset + state->offset) / 8, sizeof(val));
	p->in_use = val == STATE_INUSE;
}

/* Is @map_fd a policy of ours?  Then what it says of itself. */
static bool read_policy(struct policy *p, const struct btf *btf)
{
	const struct btf_type *value, *ops;
	const struct btf_member *data;
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info), zero = 0;
	char *buf;

	if (bpf_map_get_info_by_fd(p->map_fd, &info, &len) ||
	    info.type != BPF_MAP_TYPE_STRUCT_OPS)
		return false;
	value = btf__type_by_id(btf, info.btf_vmlinux_value_type_id);
	if (!value || strcmp(btf__name_by_offset(btf, value->name_off),
			     "bpf_struct_ops_" OPS))
		return false;
	data = find_member(btf, value, "data");
	ops = data ? btf__type_by_id(btf, data->type) : NULL;
	buf = calloc(1, info.value_size);
	if (ops && buf && !bpf_map_lookup_elem(p->map_fd, &zero, buf)) {
		read_table(p, btf, ops, buf + data->offset / 8);
		read_state(p, btf, value, buf);
	}
	free(buf);
	p->map_id = info.id;
	snprintf(p->object, sizeof(p->object), "%s", info.name);
	return *p->name;
}

/* The link of a policy; one that was registered without has none. */
static void find_link(struct policy *p)
{
	struct bpf_link_info info;
	uint32_t id = 0, len;
	int fd;

	while (!bpf_link_get_next_id(id, &id)) {
		fd = bpf_link_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		if (!bpf_link_get_info_by_fd(fd, &info, &len) &&
		    info.type == BPF_LINK_TYPE_STRUCT_OPS &&
		    info.struct_ops.map_id == p->map_id) {
			p->link_fd = fd;
			p->link_id = id;
			return;
		}
		close(fd);
	}
}

/**
 * policy_next - walk the policies that are registered
 * @p: out: the next one, to be closed
 * @id: map id to start behind
 * @btf: the kernel's
 *
 * Return: 1, 0 at the end, -errno
 */
static int policy_next(struct policy *p, uint32_t id, const struct btf *btf)
{
	while (!bpf_map_get_next_id(id, &id)) {
		*p = (struct policy) { .link_fd = -1 };
		p->map_fd = bpf_map_get_fd_by_id(id);
		if (p->map_fd < 0 && errno == ENOENT)
			continue;
		if (p->map_fd < 0)
			return -errno;
		if (read_policy(p, btf)) {
			find_link(p);
			/* Loaded, or swapped out, it is not registered. */
			if (p->link_fd >= 0 || p->in_use)
				return 1;
		}
		policy_close(p);
	}
	return errno == ENOENT ? 0 : -errno;
}

static int fail_to_list(int err)
{
	return fail(.what = "list policies", .err = err, .advice =
		    err == -EPERM ? "run it as root: this needs CAP_SYS_ADMIN" :
		    NULL);
}

/* The types of a kernel that has the feature; told if there are none. */
static int need_btf(struct btf **btf)
{
	int ret = need_kernel();

	if (ret)
		return ret;
	*btf = btf__load_vmlinux_btf();
	if (*btf)
		return EXIT_OK;
	return fail(.what = "read", .object = "/sys/kernel/btf/vmlinux",
		    .err = -errno,
		    .advice = "boot a kernel with CONFIG_DEBUG_INFO_BTF=y");
}

static int policy_lookup(struct policy *p, const struct btf *btf,
			 const char *name)
{
	uint32_t id = 0;
	int ret;

	while ((ret = policy_next(p, id, btf)) > 0) {
		if (!strcmp(p->name, name))
			return 0;
		id = p->map_id;
		policy_close(p);
	}
	return ret ?: -ENOENT;
}

/* The same, and the failure is told. */
static int policy_find(struct policy *p, const struct btf *btf,
		       const char *name)
{
	int ret = policy_lookup(p, btf, name);

	if (!ret)
		return EXIT_OK;
	if (ret != -ENOENT)
		return fail_to_list(ret);
	return fail(.what = "find policy", .object = name, .err = ret,
		    .advice = "blkdmabufctl policy list, or policy load");
}

/* ---- Its maps ---- */

/**
 * struct maps - maps that the programs of a policy use
 * @nr: how many
 * @fd: open
 * @info: what they are
 */
struct maps {
	unsigned int		nr;
	int			fd[MAX_MAPS];
	struct bpf_map_info	info[MAX_MAPS];
};

static void maps_add(struct maps *maps, uint32_t id)
{
	struct bpf_map_info *info = &maps->info[maps->nr];
	uint32_t len = sizeof(*info);
	unsigned int i;
	int fd;

	for (i = 0; i < maps->nr; i++)
		if (maps->info[i].id == id)
			return;
	if (maps->nr == MAX_MAPS)
		return;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return;
	memset(info, 0, sizeof(*info));
	if (bpf_map_get_info_by_fd(fd, info, &len)) {
		close(fd);
		return;
	}
	maps->fd[maps->nr++] = fd;
}

static void maps_open(struct maps *maps, const struct policy *p)
{
	uint32_t ids[MAX_MAPS], len;
	struct bpf_prog_info info;
	unsigned int i, n;
	int fd;

	maps->nr = 0;
	for (i = 0; i < p->nr_members; i++) {
		fd = bpf_prog_get_fd_by_id(p->progs[i]);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		info.nr_map_ids = MAX_MAPS;
		info.map_ids = (uintptr_t)ids;
		len = sizeof(info);
		if (!bpf_prog_get_info_by_fd(fd, &info, &len))
			for (n = 0; n < info.nr_map_ids && n < MAX_MAPS; n++)
				maps_add(maps, ids[n]);
		close(fd);
	}
}

static void maps_close(struct maps *maps)
{
	while (maps->nr)
		close(maps->fd[--maps->nr]);
}

/* Sections of the object (stripe.rodata), not maps that somebody wrote. */
static bool is_section(const struct bpf_map_info *info)
{
	return strchr(info->name, '.');
}

/* ---- How a policy looks ---- */

static const char *pin_of(const struct options *o, const char *name)
{
	return say("%s/policy/%s", o->pin, name);
}

/* Where it is pinned, if we did that. */
static const char *our_pin(const struct options *o, const struct policy *p)
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

static struct json_object *members_json(const struct policy *p)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < p->nr_members; i++)
		json_object_array_add(list,
				      json_object_new_string(p->members[i]));
	return list;
}

static struct json_object *brief_json(const struct options *o,
				      const struct policy *p)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "name", p->name);
	add_str(obj, "object", p->object);
	add_u64(obj, "map_id", p->map_id);
	add_u64(obj, "link_id", p->link_id);
	add_str(obj, "pin", our_pin(o, p));
	json_object_object_add(obj, "members", members_json(p));
	json_object_object_add(obj, "disks", disks_json(p->name));
	return obj;
}

static void section_json(struct json_object *knobs, struct json_object *state,
			 const struct maps *maps, unsigned int i)
{
	const struct bpf_map_info *info = &maps->info[i];
	bool is_rodata = !!strstr(info->name, ".ro");
	struct btf *btf = btf__load_from_kernel_by_id(info->btf_id);
	char *data = calloc(1, info->value_size);
	uint32_t zero = 0;

	if (btf && data && !bpf_map_lookup_elem(maps->fd[i], &zero, data))
		vars_json(is_rodata ? knobs : state, btf,
			  info->btf_value_type_id, data, is_rodata);
	free(data);
	btf__free(btf);
}

static struct json_object *map_json(const struct bpf_map_info *info)
{
	struct json_object *obj = json_object_new_object();

	add_str(obj, "name", info->name);
	add_u64(obj, "id", info->id);
	add_str(obj, "type", libbpf_bpf_map_type_str(info->type) ?: "?");
	add_u64(obj, "max_entries", info->max_entries);
	return obj;
}

static struct json_object *policy_json(const struct options *o,
				       const struct policy *p)
{
	struct json_object *obj = brief_json(o, p);
	struct json_object *knobs = json_object_new_object();
	struct json_object *state = json_object_new_object();
	struct json_object *list = json_object_new_array();
	struct maps maps;
	unsigned int i;

	maps_open(&maps, p);
	for (i = 0; i < maps.nr; i++) {
		if (is_section(&maps.info[i]))
			section_json(knobs, state, &maps, i);
		else
			json_object_array_add(list, map_json(&maps.info[i]));
	}
	maps_close(&maps);
	json_object_object_add(obj, "knobs", knobs);
	json_object_object_add(obj, "state", state);
	json_object_object_add(obj, "maps", list);
	return obj;
}

/* "a, b, c", or "-". */
static const char *join(struct json_object *list)
{
	const char *text = "";
	size_t i;

	for (i = 0; i < json_object_array_length(list); i++)
		text = say("%s%s%s", text, *text ? ", " : "",
			   json_object_get_string(
				json_object_array_get_idx(list, i)));
	return *text ? text : "-";
}

static struct json_object *get(struct json_object *obj, const char *key)
{
	return json_object_object_get(obj, key);
}

static const char *get_string(struct json_object *obj, const char *key)
{
	return json_object_get_string(get(obj, key)) ?: "-";
}

static void print_vars(const char *title, struct json_object *vars)
{
	json_object_object_foreach(vars, name, value) {
		printf("%-8s %s = %s\n", title, name,
		       json_object_get_string(value));
		title = "";
	}
}

static void print_policy(struct json_object *obj)
{
	struct json_object *maps = get(obj, "maps"), *map;
	size_t i;

	printf("%-8s %s\n", "name", get_string(obj, "name"));
	printf("%-8s %s, map %s, link %s\n", "object",
	       get_string(obj, "object"), get_string(obj, "map_id"),
	       get_string(obj, "link_id"));
	printf("%-8s %s\n", "pinned", get_string(obj, "pin"));
	printf("%-8s %s\n", "disks", join(get(obj, "disks")));
	printf("%-8s %s\n", "members", join(get(obj, "members")));
	print_vars("knobs", get(obj, "knobs"));
	print_vars("state", get(obj, "state"));
	for (i = 0; i < json_object_array_length(maps); i++) {
		map = json_object_array_get_idx(maps, i);
		printf("%-8s %s: %s, id %s\n", i ? "" : "maps",
		       get_string(map, "name"), get_string(map, "type"),
		       get_string(map, "id"));
	}
}

static int put_policy(const struct options *o, const struct btf *btf,
		      const char *name)
{
	struct json_object *obj;
	struct policy p;
	int ret;

	ret = policy_find(&p, btf, name);
	if (ret)
		return ret;
	obj = policy_json(o, &p);
	policy_close(&p);
	if (want_json) {
		print_json(obj);
	} else {
		print_policy(obj);
		json_object_put(obj);
	}
	return EXIT_OK;
}

/* ---- Loading ---- */

/* The one table of an object that is a policy. */
static struct bpf_map *find_table(struct bpf_object *obj)
{
	struct bpf_map *map, *table = NULL;
	unsigned int n = 0;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS) {
			table = map;
			n++;
		}
	return n == 1 ? table : NULL;
}

/* Where the name is in the table, and for how long. */
static char *name_in_table(struct bpf_object *obj, struct bpf_map *table)
{
	const struct btf *btf = bpf_object__btf(obj);
	const struct btf_member *m;
	size_t size;
	char *ops = bpf_map__initial_value(table, &size);
	int id;

	id = btf__find_by_name_kind(btf, OPS, BTF_KIND_STRUCT);
	if (id < 0 || !ops)
		return NULL;
	m = find_member(btf, btf__type_by_id(btf, id), "name");
	if (!m || m->offset / 8 + NAME_MAX_LEN > size)
		return NULL;
	return ops + m->offset / 8;
}

static int set_name(char *field, const char *name)
{
	if (strlen(name) >= NAME_MAX_LEN || !strcmp(name, "none") ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"
			"ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
		return usage_error("no name for a policy:", name,
				   "up to 15 letters, digits and _, not none");
	memset(field, 0, NAME_MAX_LEN);
	memcpy(field, name, strlen(name));
	return EXIT_OK;
}

/**
 * struct loading - a policy on its way into the kernel
 * @path: its file
 * @obj: the object, opened and then loaded
 * @table: its table
 * @name: name it is going to have
 */
struct loading {
	char			path[PATH_MAX];
	struct bpf_object	*obj;
	struct bpf_map		*table;
	char			name[NAME_MAX_LEN];
};

static int loading_open(struct loading *l, const struct options *o,
			const char *arg, const char *as)
{
	unsigned int i;
	char *name;
	int ret;

	ret = policy_file(arg, l->path);
	if (ret)
		return ret;
	libbpf_set_print(keep_log);
	l->obj = bpf_object__open_file(l->path, NULL);
	if (!l->obj)
		return fail_to_load(l->path, -errno);
	l->table = find_table(l->obj);
	name = l->table ? name_in_table(l->obj, l->table) : NULL;
	if (!name)
		return fail(.what = "find the one struct " OPS " in",
			    .object = l->path, .err = -EINVAL, .advice =
			    "a file as bpf/*" SUFFIX " are; bpftool loads "
			    "those with several");
	if (as)
		ret = set_name(name, as);
	for (i = 0; i < o->set.nr && !ret; i++)
		ret = knob_set(l->obj, o->set.word[i]);
	memcpy(l->name, name, sizeof(l->name) - 1);
	return ret;
}

static int loading_load(struct loading *l)
{
	int ret = bpf_object__load(l->obj);

	/* To libbpf a kernel that permits nothing supports nothing. */
	if (ret == -EOPNOTSUPP && geteuid())
		ret = -EPERM;
	return ret ? fail_to_load(l->path, ret) : EXIT_OK;
}

/* ---- Pins ---- */

static void unpin_maps(const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, LINK))
			unlink(say("%s/%s", dir, entry->d_name));
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
static int pin_maps(const char *dir, const struct policy *p)
{
	struct maps maps;
	unsigned int i;
	int ret = 0;

	maps_open(&maps, p);
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
static int pin_policy(const struct options *o, const struct btf *btf,
		      const struct loading *l, struct bpf_link *link)
{
	const char *dir = pin_of(o, l->name);
	char path[PATH_MAX];
	struct policy p;
	int ret;

	snprintf(path, sizeof(path), "%s", dir);
	/* Elsewhere the files of that directory are somebody's. */
	if (!pins_on_bpffs(path))
		return fail_to_pin(path, -ENOTDIR);
	/* What is left there is not registered, or the name was taken. */
	unpin(path);
	ret = pins_make_dirs(path);
	if (!ret)
		ret = bpf_link__pin(link, say("%s/" LINK, path));
	if (ret)
		goto undo;
	ret = policy_lookup(&p, btf, l->name);
	if (ret)
		goto undo;
	ret = pin_maps(path, &p);
	policy_close(&p);
	if (!ret)
		return EXIT_OK;
undo:
	unpin(path);
	return fail_to_pin(path, ret);
}

static int load_policy(const struct options *o, const struct btf *btf,
		       struct loading *l)
{
	struct bpf_link *link;
	int ret;

	ret = loading_load(l);
	if (ret)
		return ret;
	link = bpf_map__attach_struct_ops(l->table);
	if (!link)
		return fail_to_attach(l, -errno);
	ret = pin_policy(o, btf, l, link);
	if (!ret)
		ret = put_policy(o, btf, l->name);
	/* Pinned, it stays; else it goes. */
	bpf_link__destroy(link);
	return ret;
}

int cmd_policy_load(const struct options *o)
{
	struct loading l = {};
	struct btf *btf;
	int ret;

	ret = need_btf(&btf);
	if (ret)
		return ret;
	ret = loading_open(&l, o, o->args[0], o->as);
	if (!ret)
		ret = load_policy(o, btf, &l);
	btf__free(btf);
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
	return fail(.what = "swap policy", .object = old->name, .err = err,
		    .advice = "its init refused a disk: the old one still "
		    "runs; see the head of the new one's file");
}

static int swap_policy(const struct options *o, const struct btf *btf,
		       struct loading *l, const struct policy *old)
{
	char dir[PATH_MAX];
	const char *pin = our_pin(o, old);
	struct policy p;
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
		ret = policy_find(&p, btf, old->name);
		if (ret)
			return ret;
		ret = pin_maps(dir, &p);
		policy_close(&p);
		if (ret)
			return fail_to_pin(dir, ret);
	}
	return put_policy(o, btf, old->name);
}

int cmd_policy_swap(const struct options *o)
{
	struct loading l = {};
	struct policy old;
	struct btf *btf;
	int ret;

	ret = need_btf(&btf);
	if (ret)
		return ret;
	ret = policy_find(&old, btf, o->args[0]);
	if (ret)
		goto free_btf;
	/* A disk is told a name: whatever comes takes the old one's. */
	ret = loading_open(&l, o, o->args[1], old.name);
	if (!ret)
		ret = swap_policy(o, btf, &l, &old);
	bpf_object__close(l.obj);
	policy_close(&old);
free_btf:
	btf__free(btf);
	return ret;
}

/* ---- attach, detach ---- */

static int select_policy(const char *path, const char *attr, const char *name)
{
	const char *advice = NULL;
	ssize_t ret = -1;
	int fd, err;

	fd = open(attr, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		ret = write(fd, name, strlen(name));
	err = errno;
	if (fd >= 0)
		close(fd);
	if (ret >= 0)
		return EXIT_OK;
	if (fd < 0 && err == ENOENT)
		return fail(.what = "select a policy for", .object = path,
			    .err = -EOPNOTSUPP, .reason = BLK_DMABUF_NO_DRIVER);
	if (err == ENOENT)
		advice = "blkdmabufctl policy list, or policy load";
	else if (err == EOPNOTSUPP)
		advice = say("blkdmabufctl check %s says why", path);
	else if (err != EACCES && err != EPERM)
		advice = "the policy's init refused this disk: see the head "
			 "of its file";
	return fail(.what = say("select policy %s for", name), .object = path,
		    .err = -err, .advice = advice);
}

static int select_on(const char *path, const char *name)
{
	char dir[PATH_MAX], *disk;
	struct json_object *obj;
	struct device dev;
	int ret;

	ret = need_kernel();
	if (!ret)
		ret = device_open_block(&dev, path, O_RDONLY);
	if (ret)
		return ret;
	close(dev.fd);
	ret = device_sysfs(dev.disk, dir, sizeof(dir));
	if (ret)
		return fail(.what = "find in sysfs", .object = path,
			    .err = ret);
	ret = select_policy(path, say("%s/queue/dmabuf_policy", dir), name);
	if (ret)
		return ret;
	disk = basename(dir);
	if (!want_json) {
		printf("%s: %s\n", disk, name);
		return EXIT_OK;
	}
	obj = json_object_new_object();
	add_str(obj, "disk", disk);
	add_str(obj, "policy", name);
	print_json(obj);
	return EXIT_OK;
}

int cmd_policy_select(const struct options *o)
{
	return select_on(o->args[1], o->args[0]);
}

int cmd_policy_attach(const struct options *o)
{
	if (!strcmp(o->args[0], "none"))
		return usage_error("no policy:", "none",
				   say("blkdmabufctl policy detach %s",
				       o->args[1]));
	return select_on(o->args[1], o->args[0]);
}

int cmd_policy_detach(const struct options *o)
{
	return select_on(o->args[0], "none");
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
	struct btf *btf;
	const char *pin;
	int ret;

	ret = need_btf(&btf);
	if (ret)
		return ret;
	ret = policy_find(&p, btf, o->args[0]);
	btf__free(btf);
	if (ret)
		return ret;
	pin = our_pin(o, &p);
	ret = unregister_policy(&p);
	if (ret) {
		ret = fail(.what = "unload policy", .object = p.name,
			   .err = ret);
	} else if (want_json) {
		obj = json_object_new_object();
		add_str(obj, "unloaded", p.name);
		print_json(obj);
	} else {
		printf("unloaded %s\n", p.name);
	}
	if (!ret && pin)
		unpin(pin_of(o, p.name));
	policy_close(&p);
	return ret;
}

/* ---- list, show ---- */

#define LIST_LINE	"%-15s  %-15s  %6s  %-16s  %s\n"

static void list_line(struct json_object *obj, bool first)
{
	char disks[128];

	if (first)
		printf(LIST_LINE, "NAME", "OBJECT", "LINK", "DISKS", "MEMBERS");
	snprintf(disks, sizeof(disks), "%s", join(get(obj, "disks")));
	printf(LIST_LINE, get_string(obj, "name"), get_string(obj, "object"),
	       get_string(obj, "link_id"), disks, join(get(obj, "members")));
}

int cmd_policy_list(const struct options *o)
{
	struct json_object *list;
	struct policy p = {};
	struct btf *btf;
	size_t i;
	int ret;

	ret = need_btf(&btf);
	if (ret)
		return ret;
	list = json_object_new_array();
	while ((ret = policy_next(&p, p.map_id, btf)) > 0) {
		json_object_array_add(list, brief_json(o, &p));
		policy_close(&p);
	}
	btf__free(btf);
	if (ret) {
		json_object_put(list);
		return fail_to_list(ret);
	}
	if (want_json) {
		print_json(list);
		return EXIT_OK;
	}
	for (i = 0; i < json_object_array_length(list); i++)
		list_line(json_object_array_get_idx(list, i), !i);
	json_object_put(list);
	return EXIT_OK;
}

int cmd_policy_show(const struct options *o)
{
	struct btf *btf;
	int ret;

	ret = need_btf(&btf);
	if (ret)
		return ret;
	ret = put_policy(o, btf, o->args[0]);
	btf__free(btf);
	return ret;
}
