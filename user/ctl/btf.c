// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: variables of BPF objects, found and understood by their BTF.
 *
 * A knob is a "const volatile" variable: it is set before the object is loaded
 * and frozen from then on.  What a policy counts is in its .bss and .data.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "blkdmabufctl.h"
#include "policy.h"

/* As much of a variable as anybody wants to read on a line. */
#define TEXT_MAX	128

/**
 * struct var - a variable in a data section
 * @name: its name
 * @type: type of the variable, or of one element
 * @offset: in the section
 * @size: bytes
 * @knob: it is const volatile
 */
struct var {
	const char		*name;
	const struct btf_type	*type;
	uint32_t		type_id;
	uint32_t		offset;
	uint32_t		size;
	bool			knob;
};

/* Through const, volatile and typedefs; was there a volatile among them? */
static const struct btf_type *bare_type(const struct btf *btf, uint32_t *id,
					bool *is_volatile)
{
	const struct btf_type *t = btf__type_by_id(btf, *id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t))) {
		if (is_volatile && btf_is_volatile(t))
			*is_volatile = true;
		*id = t->type;
		t = btf__type_by_id(btf, *id);
	}
	return t;
}

/* The @i-th variable of a section, unless it is private to the object. */
static bool var_get(const struct btf *btf, const struct btf_type *sec,
		    unsigned int i, struct var *var)
{
	const struct btf_var_secinfo *info = btf_var_secinfos(sec) + i;
	const struct btf_type *t = btf__type_by_id(btf, info->type);

	if (!t || !btf_is_var(t) ||
	    btf_var(t)->linkage != BTF_VAR_GLOBAL_ALLOCATED)
		return false;
	*var = (struct var) {
		.name		= btf__name_by_offset(btf, t->name_off),
		.type_id	= t->type,
		.offset		= info->offset,
		.size		= info->size,
	};
	var->type = bare_type(btf, &var->type_id, &var->knob);
	if (!var->type || !var->name)
		return false;
	/* Of an array the elements are const volatile. */
	if (btf_is_array(var->type))
		bare_type(btf, &(uint32_t) { btf_array(var->type)->type },
			  &var->knob);
	return true;
}

/* ---- Setting ---- */

static const struct {
	const char	*word;
	bool		value;
} bool_words[] = {
	{ "true", true }, { "yes", true }, { "on", true }, { "1", true },
	{ "false", false }, { "no", false }, { "off", false }, { "0", false },
};

static bool parse_bool(const char *s, uint64_t *val)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bool_words); i++) {
		if (!strcmp(s, bool_words[i].word)) {
			*val = bool_words[i].value;
			return true;
		}
	}
	return false;
}

/* 64K, 0x40, -1: what fits into @size bytes. */
static bool parse_int(const char *s, bool is_signed, uint32_t size,
		      uint64_t *val)
{
	bool minus = *s == '-' && is_signed;
	uint64_t max = UINT64_MAX >> (64 - 8 * size + is_signed);

	if (!parse_size(s + minus, val))
		return false;
	if (minus ? *val > max + 1 : *val > max)
		return false;
	if (minus)
		*val = -*val;
	return true;
}

static bool parse_enum(const struct btf *btf, const struct btf_type *t,
		       const char *s, uint64_t *val)
{
	unsigned int i;

	for (i = 0; i < btf_vlen(t); i++) {
		uint32_t name = btf_is_enum64(t) ? btf_enum64(t)[i].name_off :
						   btf_enum(t)[i].name_off;

		if (strcmp(btf__name_by_offset(btf, name), s))
			continue;
		*val = btf_is_enum64(t) ?
			btf_enum64_value(&btf_enum64(t)[i]) :
			(uint64_t)(int64_t)btf_enum(t)[i].val;
		return true;
	}
	return parse_int(s, btf_kflag(t), t->size, val);
}

static bool parse_value(const struct btf *btf, const struct btf_type *t,
			const char *s, uint64_t *val)
{
	if (btf_is_any_enum(t))
		return parse_enum(btf, t, s, val);
	if (!btf_is_int(t) || t->size > sizeof(*val))
		return false;
	if (btf_int_encoding(t) & BTF_INT_BOOL)
		return parse_bool(s, val);
	return parse_int(s, btf_int_encoding(t) & BTF_INT_SIGNED, t->size, val);
}

static bool is_string(const struct btf *btf, const struct btf_type *t)
{
	uint32_t elem;
	const struct btf_type *e;

	if (!btf_is_array(t))
		return false;
	elem = btf_array(t)->type;
	e = bare_type(btf, &elem, NULL);
	return e && btf_is_int(e) && e->size == 1 &&
	       (btf_int_encoding(e) & (BTF_INT_CHAR | BTF_INT_SIGNED));
}

/* "name[3]" is an element of an array: narrow @var to it. */
static bool var_index(const struct btf *btf, struct var *var, const char *index)
{
	const struct btf_array *array;
	uint32_t n;

	if (!*index)
		return true;
	if (!btf_is_array(var->type) || !parse_u32(say("%.*s",
	    (int)strcspn(index + 1, "]"), index + 1), &n))
		return false;
	array = btf_array(var->type);
	if (n >= array->nelems)
		return false;
	var->size /= array->nelems;
	var->offset += n * var->size;
	var->type_id = array->type;
	var->type = bare_type(btf, &var->type_id, NULL);
	return var->type;
}

static const char *type_words(const struct btf *btf, const struct var *var)
{
	if (is_string(btf, var->type))
		return say("at most %u characters", var->size - 1);
	if (btf_is_array(var->type))
		return say("NAME[N]=VALUE, N below %u",
			   btf_array(var->type)->nelems);
	if (btf_is_any_enum(var->type))
		return "a name or a number of its enum";
	if (!btf_is_int(var->type))
		return "a type that this tool does not set";
	if (btf_int_encoding(var->type) & BTF_INT_BOOL)
		return "true or false";
	return say("a%s number of %u bits",
		   btf_int_encoding(var->type) & BTF_INT_SIGNED ? " signed" :
		   "n unsigned", 8 * var->size);
}

static int var_set(const struct btf *btf, const struct var *var,
		   const char *assign, const char *value, void *data)
{
	void *at = (char *)data + var->offset;
	uint64_t val;

	if (is_string(btf, var->type) && strlen(value) < var->size) {
		memset(at, 0, var->size);
		memcpy(at, value, strlen(value));
		return EXIT_OK;
	}
	if (!parse_value(btf, var->type, value, &val))
		return usage_error_try(say("knob '%s' is %s, not", var->name,
					   type_words(btf, var)), value,
				       say("-s %s", assign));
	/* Little endian, as everything this runs on. */
	memcpy(at, &val, var->size);
	return EXIT_OK;
}

static const struct btf_type *section(const struct btf *btf, const char *name)
{
	int id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_DATASEC) : -1;

	return id < 0 ? NULL : btf__type_by_id(btf, id);
}

static const char *knob_names(const struct btf *btf, const struct btf_type *sec)
{
	const char *names = "";
	struct var var;
	unsigned int i;

	for (i = 0; sec && i < btf_vlen(sec); i++)
		if (var_get(btf, sec, i, &var) && var.knob)
			names = say("%s%s%s", names, *names ? ", " : "",
				    var.name);
	return *names ? say("its knobs are %s", names) : "it has no knobs";
}

/* The initial values of .rodata, or NULL. */
static void *rodata(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		const char *suffix = strchr(bpf_map__name(map), '.');

		if (bpf_map__is_internal(map) && suffix &&
		    !strncmp(".rodata", suffix, strlen(suffix)))
			return bpf_map__initial_value(map, &(size_t) { 0 });
	}
	return NULL;
}

int knob_set(struct bpf_object *obj, const char *assign)
{
	const struct btf *btf = bpf_object__btf(obj);
	const struct btf_type *sec = section(btf, ".rodata");
	const char *eq = strchr(assign, '=');
	size_t len = strcspn(assign, "[=");
	void *data = rodata(obj);
	struct var var;
	unsigned int i;

	for (i = 0; data && sec && i < btf_vlen(sec); i++) {
		if (!var_get(btf, sec, i, &var) || !var.knob ||
		    strlen(var.name) != len || strncmp(var.name, assign, len))
			continue;
		if (!var_index(btf, &var, say("%.*s", (int)(eq - assign - len),
					      assign + len)))
			return usage_error_try("no such element:", assign,
					       type_words(btf, &var));
		return var_set(btf, &var, say("%.*s=VALUE", (int)(eq - assign),
					      assign), eq + 1, data);
	}
	return usage_error_try("no such knob:", say("%.*s", (int)len, assign),
			       knob_names(btf, sec));
}

/* ---- Showing ---- */

static void text_add(void *f, const char *fmt, va_list args)
{
	vfprintf(f, fmt, args);
}

/* What is neither a number nor a string, in C's notation. */
static const char *var_text(const struct btf *btf, const struct var *var,
			    const void *data)
{
	DECLARE_LIBBPF_OPTS(btf_dump_type_data_opts, opts,
			    .compact = true, .skip_names = true);
	char text[TEXT_MAX] = "";
	struct btf_dump *dump;
	FILE *f = fmemopen(text, TEXT_MAX - 1, "w");

	if (!f)
		return "?";
	dump = btf_dump__new(btf, text_add, f, NULL);
	if (dump)
		btf_dump__dump_type_data(dump, var->type_id, data, var->size,
					 &opts);
	btf_dump__free(dump);
	fclose(f);
	return say("%s%s", dump ? text : "?",
		   strlen(text) == TEXT_MAX - 1 ? "..." : "");
}

static struct json_object *int_json(const struct var *var, const void *data)
{
	unsigned int unused = 64 - 8 * var->size;
	uint64_t val = 0;

	memcpy(&val, data, var->size);
	if (btf_int_encoding(var->type) & BTF_INT_BOOL)
		return json_object_new_boolean(val);
	if (btf_int_encoding(var->type) & BTF_INT_SIGNED)
		return json_object_new_int64((int64_t)(val << unused) >>
					     unused);
	return json_object_new_uint64(val);
}

static struct json_object *var_json(const struct btf *btf,
				    const struct var *var, const void *section)
{
	const char *data = (const char *)section + var->offset;

	if (btf_is_int(var->type) && var->size <= sizeof(uint64_t))
		return int_json(var, data);
	if (is_string(btf, var->type))
		return json_object_new_string_len(data,
						  strnlen(data, var->size));
	return json_object_new_string(var_text(btf, var, data));
}

void vars_json(struct json_object *obj, const struct btf *btf,
	       uint32_t section_id, const void *data, bool knobs)
{
	const struct btf_type *sec = btf__type_by_id(btf, section_id);
	struct var var;
	unsigned int i;

	if (!sec || !btf_is_datasec(sec))
		return;
	for (i = 0; i < btf_vlen(sec); i++)
		if (var_get(btf, sec, i, &var) && (var.knob || !knobs))
			json_object_object_add(obj, var.name,
					       var_json(btf, &var, data));
}
