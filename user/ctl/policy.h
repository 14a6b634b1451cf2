/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl policy: what its files share.
 *
 *  policy.c		load, swap, unload, and their pins
 *  policy-file.c	a file, from its name to the verifier
 *  policy-kernel.c	policies and maps that the kernel has
 *  policy-disk.c	select, attach, detach
 *  policy-show.c	list, show
 *  btf.c		knobs and counters by name
 */
#ifndef BLKDMABUFCTL_POLICY_H
#define BLKDMABUFCTL_POLICY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <linux/bpf.h>

struct bpf_object;
struct btf;
struct btf_type;
struct json_object;
struct options;

#define OPS		"blk_dmabuf_ops"
#define NAME_MAX_LEN	16	/* BLK_DMABUF_POLICY_NAME_MAX */
#define MAX_MEMBERS	16
#define MAX_MAPS	64

/* ---- Registered ---- */

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

/* A kernel that has the feature, and its types; told if there are none. */
int need_btf(void);
const struct btf_member *find_member(const struct btf *btf,
				     const struct btf_type *t,
				     const char *name);

/**
 * policy_next - walk the policies that are registered
 * @p: out: the next one, to be closed
 * @id: map id to start behind
 *
 * Behind need_btf(), as what follows.
 *
 * Return: 1, 0 at the end, -errno
 */
int policy_next(struct policy *p, uint32_t id);
void policy_close(struct policy *p);
int fail_to_list(int err);

int policy_lookup(struct policy *p, const char *name);
/* The same, and the failure is told. */
int policy_find(struct policy *p, const char *name);

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

void maps_open(struct maps *maps, const struct policy *p);
void maps_close(struct maps *maps);
/* Sections of the object (stripe.rodata), not maps that somebody wrote. */
bool is_section(const struct bpf_map_info *info);

/* Names of the disks that have selected it, for JSON. */
struct json_object *policy_disks(const char *name);
/* The directory of the pins if we made them, or NULL. */
const char *our_pin(const struct options *o, const struct policy *p);
/* Tell all about it. */
int put_policy(const struct options *o, const char *name);

/* ---- Loading ---- */

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

/* @as: name that it gets, NULL for its own. */
int loading_open(struct loading *l, const struct options *o, const char *arg,
		 const char *as);
int loading_load(struct loading *l);

/* ---- Variables ---- */

/**
 * knob_set - set a "const volatile" variable of an object before it is loaded
 * @obj: opened, not loaded
 * @assign: "name=value", or "name[n]=value" for one element of an array
 *
 * Return: EXIT_OK, or EXIT_USAGE and it has been told why.
 */
int knob_set(struct bpf_object *obj, const char *assign);

/**
 * vars_json - add the global variables of a data section to an object
 * @obj: where they go, by name
 * @btf: types of the object that is loaded
 * @section_id: type of the section
 * @data: its content
 * @knobs: only those that are const volatile
 */
void vars_json(struct json_object *obj, const struct btf *btf,
	       uint32_t section_id, const void *data, bool knobs);

#endif /* BLKDMABUFCTL_POLICY_H */
