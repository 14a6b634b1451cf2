// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Load a policy of one's own, select it on a disk, run a command, and tell what the
 * policy has counted.
 *
 *   own-policy OBJECT DISK COMMAND...	DISK as in /sys/block
 *
 *   bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h
 *   clang -target bpf -g -O2 -I. -c own-policy.bpf.c
 *   cc own-policy.c -lbpf
 *
 * The first on the kernel that it is for.  libbpf has to be 1.2 or later, which
 * knows links of struct_ops.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The policy's name, or "none". */
static void select_policy(const char *disk, const char *name)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/dmabuf_policy", disk);
	f = fopen(path, "we");
	if (!f || fputs(name, f) == EOF || fclose(f))
		err(EXIT_FAILURE, "%s", path);
}

static int run(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(EXIT_FAILURE, "%s", argv[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* Variables of the policy are in a map; libbpf maps it into this process. */
static unsigned long long counted(struct bpf_object *obj, unsigned int nr)
{
	struct bpf_map *bss = bpf_object__find_map_by_name(obj, ".bss");
	size_t size = 0;
	unsigned long long *vars = bss ? bpf_map__initial_value(bss, &size) :
					 NULL;

	return vars && (nr + 1) * sizeof(*vars) <= size ? vars[nr] : 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;
	struct bpf_link *link;
	struct bpf_map *map;
	int ret;

	if (argc < 4)
		errx(2, "usage: %s OBJECT DISK COMMAND...", argv[0]);
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		err(EXIT_FAILURE, "%s", argv[1]);
	map = bpf_object__find_map_by_name(obj, "own");
	/* The policy is there as long as the link is. */
	link = map ? bpf_map__attach_struct_ops(map) : NULL;
	if (!link)
		err(EXIT_FAILURE, "attach");
	select_policy(argv[2], "own");
	ret = run(argv + 3);
	select_policy(argv[2], "none");
	printf("read %llu bytes, written %llu\n", counted(obj, 0),
	       counted(obj, 1));
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return ret;
}
