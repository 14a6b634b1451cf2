// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Control: a thin layer over bpf/minimal.bpf.c.  bpftool can do all of this.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "libblkdmabuf.h"
#include "pins.h"
#include "../../bpf/blkdmabuf-ctl.h"
#include "minimal.skel.h"

struct blkdmabuf_ctl {
	struct minimal	*skel;
};

bool pins_on_bpffs(const char *path)
{
	char dir[PATH_MAX];
	struct statfs fs;

	snprintf(dir, sizeof(dir), "%s", path);
	while (statfs(dir, &fs)) {
		if (errno != ENOENT || !strchr(dir, '/'))
			return false;
		dirname(dir);
	}
	return fs.f_type == BPF_FS_MAGIC;
}

int pins_make_dirs(const char *path)
{
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	for (slash = dir + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		if (mkdir(dir, 0700) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(dir, 0700) && errno != EEXIST ? -errno : 0;
}

static bool is_our_map(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return !bpf_map_get_info_by_fd(fd, &info, &len) &&
	       info.type == BPF_MAP_TYPE_HASH &&
	       info.key_size == sizeof(__u32) &&
	       info.value_size == sizeof(__u64) &&
	       info.max_entries == BLKDMABUF_MAX_REGS;
}

static int pin_check(const char *path)
{
	int fd, ret;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ret = is_our_map(fd) ? 0 : -EEXIST;
	close(fd);
	return ret;
}

static int set_pin(struct minimal *skel, const char *dir)
{
	char path[PATH_MAX];
	int ret;

	if (!dir)
		return 0;
	ret = snprintf(path, sizeof(path), "%s/regs", dir);
	if (ret >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (!pins_on_bpffs(dir))
		return -ENOTDIR;
	ret = pins_make_dirs(dir) ?: pin_check(path);
	/* Given a path, libbpf uses what is pinned there or pins its own. */
	return ret ?: bpf_map__set_pin_path(skel->maps.regs, path);
}

static bool kernel_has_feature(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id;

	if (!btf)
		return false;
	id = btf__find_by_name_kind(btf, "bpf_blk_dmabuf_attach",
				    BTF_KIND_FUNC);
	btf__free(btf);
	return id > 0;
}

/* The object holds a policy, too, which is not ours to load. */
static void leave_policy(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, false);
}

/*
 * The programs have the structures of the kernel they were built for, and what
 * they leave in a map is copied into ours.
 */
static bool same_abi(const struct minimal *skel)
{
	return bpf_map__value_size(skel->maps.args) ==
	       sizeof(struct blkdmabuf_args) &&
	       bpf_map__value_size(skel->maps.result) ==
	       sizeof(struct blkdmabuf_result);
}

/* Without the node there is no ABI, and loading says that better. */
static bool kernel_has_other_abi(void)
{
	struct blk_dmabuf_features features;
	int ret = blkdmabuf_features(&features);

	return ret == -ENOTTY ||
	       (!ret && features.abi_version < BLK_DMABUF_ABI_VERSION);
}

static int load(struct blkdmabuf_ctl *ctl, const char *pin_dir)
{
	int ret;

	ctl->skel = minimal__open();
	if (!ctl->skel)
		return -errno;
	leave_policy(ctl->skel->obj);
	ret = set_pin(ctl->skel, pin_dir);
	if (!ret && (!same_abi(ctl->skel) || kernel_has_other_abi()))
		ret = -ENOTTY;
	if (!ret)
		ret = minimal__load(ctl->skel);
	/* Whatever went wrong first, that it cannot work is the better news. */
	if (ret && ret != -ENOTTY && !kernel_has_feature())
		ret = -EOPNOTSUPP;
	/* To libbpf a kernel that permits nothing supports nothing. */
	else if (ret == -EOPNOTSUPP)
		ret = -EPERM;
	if (ret) {
		minimal__destroy(ctl->skel);
		return ret;
	}
	return 0;
}

int blkdmabuf_ctl_open(struct blkdmabuf_ctl **ctl, const char *pin_dir)
{
	libbpf_print_fn_t old = NULL;
	struct blkdmabuf_ctl *c;
	int ret;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	/* Errors are returned; who wants the story sets LIBBPF_LOG_LEVEL. */
	if (!getenv("LIBBPF_LOG_LEVEL"))
		old = libbpf_set_print(NULL);
	ret = load(c, pin_dir);
	if (old)
		libbpf_set_print(old);
	if (ret) {
		free(c);
		return ret;
	}
	*ctl = c;
	return 0;
}

void blkdmabuf_ctl_close(struct blkdmabuf_ctl *ctl)
{
	if (!ctl)
		return;
	minimal__destroy(ctl->skel);
	free(ctl);
}

static int run(struct blkdmabuf_ctl *ctl, struct bpf_program *prog,
	       const struct blkdmabuf_args *args,
	       struct blkdmabuf_result *result)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(ctl->skel->maps.args), &zero, args,
				BPF_ANY))
		return -errno;
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		return -errno;
	if (result &&
	    bpf_map_lookup_elem(bpf_map__fd(ctl->skel->maps.result), &zero,
				result))
		return -errno;
	return (int)opts.retval;
}

int blkdmabuf_register(struct blkdmabuf_ctl *ctl, int fd, int dmabuf_fd,
		       struct blk_dmabuf_attach *result)
{
	return blkdmabuf_register_flags(ctl, fd, dmabuf_fd, 0, result);
}

int blkdmabuf_register_flags(struct blkdmabuf_ctl *ctl, int fd, int dmabuf_fd,
			     uint32_t flags, struct blk_dmabuf_attach *result)
{
	struct blkdmabuf_args args = {
		.fd		= fd,
		.dmabuf_fd	= dmabuf_fd,
		.flags		= flags,
	};
	struct blkdmabuf_result res = {};
	int ret;

	ret = run(ctl, ctl->skel->progs.ctl_register, &args, &res);
	if (result)
		*result = (struct blk_dmabuf_attach) {
			.fd		= fd,
			.dmabuf_fd	= dmabuf_fd,
			.flags		= flags,
			.error		= ret,
			.reason		= res.reason,
			.id		= res.id,
		};
	return ret;
}

static int run_id(struct blkdmabuf_ctl *ctl, struct bpf_program *prog,
		  uint32_t id)
{
	struct blkdmabuf_args args = { .id = id };

	/* No registration has it, and it would start a walk at the end. */
	if (!id)
		return -ENOENT;
	return run(ctl, prog, &args, NULL);
}

int blkdmabuf_unregister(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	return run_id(ctl, ctl->skel->progs.ctl_unregister, id);
}

int blkdmabuf_map(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	return run_id(ctl, ctl->skel->progs.ctl_map, id);
}

int blkdmabuf_unmap(struct blkdmabuf_ctl *ctl, uint32_t id)
{
	return run_id(ctl, ctl->skel->progs.ctl_unmap, id);
}

int blkdmabuf_next(struct blkdmabuf_ctl *ctl, uint32_t after,
		   struct blk_dmabuf_info *info)
{
	struct blkdmabuf_args args = { .id = after };
	struct blkdmabuf_result res;
	int ret;

	ret = run(ctl, ctl->skel->progs.ctl_next, &args, &res);
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	*info = res.info;
	return 1;
}

int blkdmabuf_info(struct blkdmabuf_ctl *ctl, uint32_t id,
		   struct blk_dmabuf_info *info)
{
	struct blk_dmabuf_info found;
	int ret;

	if (!id)
		return -ENOENT;
	ret = blkdmabuf_next(ctl, id - 1, &found);
	if (ret < 0)
		return ret;
	if (!ret || found.id != id)
		return -ENOENT;
	*info = found;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int blkdmabuf_owned(struct blkdmabuf_ctl *ctl, uint32_t *ids, unsigned int max)
{
	int fd = bpf_map__fd(ctl->skel->maps.regs);
	uint32_t key, *prev = NULL;
	unsigned int n;

	/* Others may add and delete while we look: it has to end some time. */
	for (n = 0; n < BLKDMABUF_MAX_REGS; n++) {
		if (bpf_map_get_next_key(fd, prev, &key)) {
			if (errno != ENOENT)
				return -errno;
			break;
		}
		if (n < max)
			ids[n] = key;
		prev = &key;
	}
	qsort(ids, n < max ? n : max, sizeof(*ids), by_id);
	return n;
}
