// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy: which policies the kernel has, whoever loaded them, and
 * the maps that their programs use.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "blkdmabufctl.h"
#include "policy.h"

/* ---- Policies that are registered ---- */

/* The kernel's, once need_btf() was called, until the process ends. */
static struct btf *btf;

void policy_close(struct policy *p)
{
	close_fd(p->map_fd);
	close_fd(p->link_fd);
}

const struct btf_member *find_member(const struct btf *types,
				     const struct btf_type *t,
				     const char *name)
{
	const struct btf_member *m = btf_members(t);
	unsigned int i;

	for (i = 0; i < btf_vlen(t); i++, m++)
		if (!strcmp(btf__name_by_offset(types, m->name_off), name))
			return m;
	return NULL;
}

/* The table as the kernel keeps it: a program's id where a member is. */
static void read_table(struct policy *p, const struct btf_type *ops,
		       const char *table)
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

static void read_state(struct policy *p, const struct btf_type *value,
		       const char *buf)
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
static bool read_policy(struct policy *p)
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
		read_table(p, ops, buf + data->offset / 8);
		read_state(p, value, buf);
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

int policy_next(struct policy *p, uint32_t id)
{
	while (!bpf_map_get_next_id(id, &id)) {
		*p = (struct policy) { .link_fd = -1 };
		p->map_fd = bpf_map_get_fd_by_id(id);
		if (p->map_fd < 0 && errno == ENOENT)
			continue;
		if (p->map_fd < 0)
			return -errno;
		if (read_policy(p)) {
			find_link(p);
			/* Loaded, or swapped out, it is not registered. */
			if (p->link_fd >= 0 || p->in_use)
				return 1;
		}
		policy_close(p);
	}
	return errno == ENOENT ? 0 : -errno;
}

int fail_to_list(int err)
{
	return fail(.what = "list policies", .err = err, .advice =
		    err == -EPERM ? "run it as root: this needs CAP_SYS_ADMIN" :
		    NULL);
}

int need_btf(void)
{
	int ret = need_kernel();

	if (ret)
		return ret;
	btf = btf__load_vmlinux_btf();
	if (btf)
		return EXIT_OK;
	return fail(.what = "read", .object = "/sys/kernel/btf/vmlinux",
		    .err = -errno,
		    .advice = "boot a kernel with CONFIG_DEBUG_INFO_BTF=y");
}

int policy_lookup(struct policy *p, const char *name)
{
	uint32_t id = 0;
	int ret;

	while ((ret = policy_next(p, id)) > 0) {
		if (!strcmp(p->name, name))
			return 0;
		id = p->map_id;
		policy_close(p);
	}
	return ret ?: -ENOENT;
}

int policy_find(struct policy *p, const char *name)
{
	int ret = policy_lookup(p, name);

	if (!ret)
		return EXIT_OK;
	if (ret != -ENOENT)
		return fail_to_list(ret);
	return fail(.what = "find policy", .object = name, .err = ret,
		    .advice = "blkdmabufctl policy list, or policy load");
}

/* ---- Its maps ---- */

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

void maps_open(struct maps *maps, const struct policy *p)
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

void maps_close(struct maps *maps)
{
	while (maps->nr)
		close(maps->fd[--maps->nr]);
}

bool is_section(const struct bpf_map_info *info)
{
	return strchr(info->name, '.');
}
