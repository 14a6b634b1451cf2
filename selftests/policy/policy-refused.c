// SPDX-License-Identifier: GPL-2.0-only
/*
 * What must not run is refused, and the verifier says why: each program of
 * bpf/refused.bpf.c, with the words that are in its tag.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include <bpf/btf.h>

#include "policy.h"
#include "selftests/bpf/refused.skel.h"

#define TAG	"refused="

/* Words that are to be in the log of @prog, out of the tag of its function. */
static const char *expected(const struct btf *btf, struct bpf_program *prog)
{
	const char *name = bpf_program__name(prog), *text;
	const struct btf_type *t, *func;
	unsigned int i;

	for (i = 1; i < btf__type_cnt(btf); i++) {
		t = btf__type_by_id(btf, i);
		if (!btf_is_decl_tag(t))
			continue;
		func = btf__type_by_id(btf, t->type);
		text = btf__name_by_offset(btf, t->name_off);
		if (btf_is_func(func) && !strncmp(text, TAG, strlen(TAG)) &&
		    !strcmp(btf__name_by_offset(btf, func->name_off), name))
			return text + strlen(TAG);
	}
	return NULL;
}

/* Of the policies in the object make this one, or none. */
static void only(struct refused *skel, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			CHECK_EQ(bpf_map__set_autocreate(map,
				 !strcmp(bpf_map__name(map), name)), 0);
}

/* Load the @n-th program alone; false if there is none. */
static bool load_one(unsigned int n)
{
	static char log[256 * KIB], map_name[64];
	struct refused *skel = refused__open();
	struct bpf_program *prog = NULL;
	const char *want;

	CHECK(skel);
	do {
		prog = bpf_object__next_program(skel->obj, prog);
	} while (prog && n--);
	if (!prog) {
		refused__destroy(skel);
		return false;
	}
	want = expected(bpf_object__btf(skel->obj), prog);
	printf("# %s: %s\n", bpf_program__name(prog), want ?: "no tag");
	CHECK(want);
	CHECK_EQ(bpf_program__set_autoload(prog, true), 0);
	snprintf(map_name, sizeof(map_name), "%s_ops", bpf_program__name(prog));
	only(skel, map_name);
	memset(log, 0, sizeof(log));
	CHECK_EQ(bpf_program__set_log_buf(prog, log, sizeof(log)), 0);
	CHECK(refused__load(skel));
	if (!strstr(log, want))
		tap_fail(__FILE__, __LINE__, "the verifier says: %s", log);
	refused__destroy(skel);
	return true;
}

TEST(what_must_not_run_is_refused_and_says_why)
{
	unsigned int n = 0;

	while (load_one(n))
		n++;
	CHECK_EQ(n, 12);
}

TEST(no_policy_is_called_none)
{
	struct refused *skel = refused__open();

	CHECK(skel);
	only(skel, "nameless");
	CHECK_EQ(refused__load(skel), 0);
	CHECK(!bpf_map__attach_struct_ops(skel->maps.nameless));
	CHECK_EQ(errno, EINVAL);
	refused__destroy(skel);
}

int main(int argc, char **argv)
{
	/* What is expected need not be printed. */
	libbpf_set_print(NULL);
	return rig_main(argc, argv);
}
