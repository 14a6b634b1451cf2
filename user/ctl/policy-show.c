// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy list, show: how a policy looks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "policy.h"

/* ---- How a policy looks ---- */

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
	json_object_object_add(obj, "disks", policy_disks(p->name));
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
	struct json_object *maps = member(obj, "maps"), *map;
	size_t i;

	printf("%-8s %s\n", "name", member_text(obj, "name"));
	printf("%-8s %s, map %s, link %s\n", "object",
	       member_text(obj, "object"), member_text(obj, "map_id"),
	       member_text(obj, "link_id"));
	printf("%-8s %s\n", "pinned", member_text(obj, "pin"));
	printf("%-8s %s\n", "disks", member_text(obj, "disks"));
	printf("%-8s %s\n", "members", member_text(obj, "members"));
	print_vars("knobs", member(obj, "knobs"));
	print_vars("state", member(obj, "state"));
	for (i = 0; i < json_object_array_length(maps); i++) {
		map = json_object_array_get_idx(maps, i);
		printf("%-8s %s: %s, id %s\n", i ? "" : "maps",
		       member_text(map, "name"), member_text(map, "type"),
		       member_text(map, "id"));
	}
}

int put_policy(const struct options *o, const char *name)
{
	struct json_object *obj;
	struct policy p;
	int ret;

	ret = policy_find(&p, name);
	if (ret)
		return ret;
	obj = policy_json(o, &p);
	policy_close(&p);
	if (!want_json)
		print_policy(obj);
	print_json(obj);
	return EXIT_OK;
}

/* ---- list, show ---- */

static const struct field list_fields[] = {
	{ "NAME",	"%-15s",	"name",		cell_text },
	{ "OBJECT",	"  %-15s",	"object",	cell_text },
	{ "LINK",	"  %6s",	"link_id",	cell_text },
	{ "DISKS",	"  %-16s",	"disks",	cell_text },
	{ "MEMBERS",	"  %s",		"members",	cell_text },
	{}
};

int cmd_policy_list(const struct options *o)
{
	struct json_object *list;
	struct policy p = {};
	int ret;

	ret = need_btf();
	if (ret)
		return ret;
	list = json_object_new_array();
	while ((ret = policy_next(&p, p.map_id)) > 0) {
		json_object_array_add(list, brief_json(o, &p));
		policy_close(&p);
	}
	if (ret) {
		json_object_put(list);
		return fail_to_list(ret);
	}
	tell_list(list_fields, list);
	return EXIT_OK;
}

int cmd_policy_show(const struct options *o)
{
	return need_btf() ?: put_policy(o, o->args[0]);
}
