/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What puppet.bpf.c saw, for the tests: the kernel's own structures are no ABI
 * and user space does not have them.
 */
#ifndef SELFTESTS_PUPPET_H
#define SELFTESTS_PUPPET_H

struct puppet_queue {
	__u32	dev;
	__u32	nr_hctx;
	__s32	node;
	char	disk[32];
};

struct puppet_grant {
	__u32	dev;
	__u32	id;
	__u32	slot;
	__u32	flags;
	__s32	node;
	__u32	uid;
	__u64	cgroup;
	__u64	bytes;
	__u64	bound;
	__u64	uid_bound;
	__u64	cgroup_bound;
	__u32	path;
	__u32	distance;
	__u32	provider;
};

struct puppet_io {
	__u64	pos;
	__u64	offset;
	__u32	len;
	__u32	slot;
	__u32	hint;
	__u32	id;
	__u32	dev;
	__u32	uid;
	__u64	cgroup;
	__u64	submit_ns;
	__u64	latency_ns;
	__s32	result;
	__s32	cpu;
	__s32	node;
	__s32	hctx;
	__u32	vecs;
	__u32	write;
};

#endif /* SELFTESTS_PUPPET_H */
