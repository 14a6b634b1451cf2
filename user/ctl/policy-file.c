// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy load, swap: a policy's file, from its name to what the
 * verifier says of it.
 */
#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "policy.h"

#define SUFFIX	".bpf.o"

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
	/* Installed, and as built. */
	static const char *const dirs[] = { "../lib/blkdmabuf", "../bpf" };
	const char *env = getenv("BLKDMABUF_POLICIES");
	char exe[PATH_MAX] = "";

	if (env && *env) {
		if (!i)
			return env;
		i--;
	}
	if (i >= ARRAY_SIZE(dirs) ||
	    readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		return NULL;
	return say("%s/%s", dirname(exe), dirs[i]);
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

void offer_policy_files(const char *prefix)
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
			offer(name, prefix, "");
		}
		globfree(&found);
	}
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
		return usage_error_try("no name for a policy:", name, "up to "
				       "15 letters, digits and _, not none");
	memset(field, 0, NAME_MAX_LEN);
	memcpy(field, name, strlen(name));
	return EXIT_OK;
}

int loading_open(struct loading *l, const struct options *o, const char *arg,
		 const char *as)
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
	/* Others may be what the kernel permits, but for what is no file's name. */
	if (as)
		ret = set_name(name, as);
	else if (!strcmp(name, ".") || !strcmp(name, ".."))
		return fail(.what = "take the name of the policy in",
			    .object = l->path, .err = -EINVAL,
			    .advice = "--as NAME");
	for (i = 0; i < o->set.nr && !ret; i++)
		ret = knob_set(l->obj, o->set.word[i]);
	memcpy(l->name, name, sizeof(l->name) - 1);
	return ret;
}

int loading_load(struct loading *l)
{
	int ret = bpf_object__load(l->obj);

	/* To libbpf a kernel that permits nothing supports nothing. */
	if (ret == -EOPNOTSUPP && geteuid())
		ret = -EPERM;
	return ret ? fail_to_load(l->path, ret) : EXIT_OK;
}
