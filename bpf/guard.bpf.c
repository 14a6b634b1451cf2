// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decide who may bind dma-bufs, and how much of them.
 *
 * The map "quotas" holds the bytes that a user, or a cgroup (v2), may have
 * bound at a time, over all its channels and disks.  Who is not in it, neither
 * as user nor as cgroup, gets -EACCES; who would have too much gets -EDQUOT.
 * Where both have an entry both count.  The map is looked at for each bind:
 * what is written to it counts at once, but takes nothing back that is bound.
 *
 *   # user 1000 may bind 64 MiB: key kind, resv, id; value bytes
 *   bpftool map update name quotas \
 * 	key 0 0 0 0 0 0 0 0 0xe8 3 0 0 0 0 0 0 value 0 0 0 4 0 0 0 0
 *
 * Shows: admit(), which may sleep, and a map that is edited live.
 *
 * When not to use it: to limit I/O, which is what io.max of the cgroup is for,
 * or memory, which is accounted to whoever made the dma-buf.  A user is who
 * opened the channel, not who was handed it.
 *
 *   bpftool struct_ops register build/bpf/guard.bpf.o /sys/fs/bpf/guard
 *   echo guard > /sys/block/nvme0n1/queue/dmabuf_policy
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Let those in that have no entry. */
const volatile bool open = false;

#define MAX_QUOTAS	4096

enum guard_kind { GUARD_UID, GUARD_CGROUP };

struct guard_key {
	u32 kind;	/* enum guard_kind */
	u32 resv;
	u64 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_QUOTAS);
	__type(key, struct guard_key);
	__type(value, u64);
} quotas SEC(".maps");

/* 1: there is room, 0: nobody says so, or -EDQUOT. */
static int room(u32 kind, u64 id, u64 bound, u64 bytes)
{
	struct guard_key key = { kind, 0, id };
	u64 *quota;

	quota = bpf_map_lookup_elem(&quotas, &key);
	if (!quota)
		return 0;
	return bound + bytes <= *quota ? 1 : -EDQUOT;
}

s32 BLKDMABUF_OP_SLEEPABLE(guard_admit, struct blk_dmabuf_grant *grant)
{
	int user, cgroup;

	user = room(GUARD_UID, grant->uid, grant->uid_bound, grant->bytes);
	cgroup = room(GUARD_CGROUP, grant->cgroup, grant->cgroup_bound,
		      grant->bytes);
	if (user < 0 || cgroup < 0)
		return -EDQUOT;
	return user || cgroup || open ? 0 : -EACCES;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops guard = {
	.admit	= (void *)guard_admit,
	.name	= "guard",
};
