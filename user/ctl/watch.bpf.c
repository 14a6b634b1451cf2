// SPDX-License-Identifier: GPL-2.0-only
/*
 * The eyes of 'blkdmabufctl stat' and 'top': add up I/Os as they end.
 *
 * Programs on the tracepoints of dma-buf I/O, so that the kernel counts nothing
 * as long as nobody looks.  Each I/O goes to the element of its disk,
 * registration, queue, direction and policy, on the CPU that completes it; each
 * refusal to that of its registration and reason.
 *
 * What is counted into are inner maps that user space replaces at the end of an
 * interval.  The kernel returns from that when no program uses the old one any
 * more: nothing is counted twice or not at all, and what no longer does I/O
 * takes no room.
 *
 * Not a policy, so it is not in bpf/.  It is part of blkdmabufctl; the tool that
 * shows single I/Os is
 *
 *   echo 1 > /sys/kernel/tracing/events/blk_dmabuf/enable
 */
#include "blkdmabuf.bpf.h"
#include <bpf/bpf_core_read.h>
#include "watch.h"

char LICENSE[] SEC("license") = "GPL";

/* Only this disk, by its number; 0: all. */
const volatile __u32 only_dev = 0;

/* I/Os and refusals that found the map full. */
__u64 lost;

/* Sizes, not types: of those clang leaves no BTF for an inner map. */
struct ios_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WATCH_MAX_KEYS);
	__uint(key_size, sizeof(struct watch_key));
	__uint(value_size, sizeof(struct watch_ios));
};

struct recent_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WATCH_RECENT);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct watch_recent));
};

struct refusals_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WATCH_MAX_REFUSALS);
	__uint(key_size, sizeof(struct watch_refusal));
	__uint(value_size, sizeof(u64));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct ios_map);
} ios SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct recent_map);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct refusals_map);
} refusals SEC(".maps");

/* New elements; the first is too large for the stack. */
static const struct watch_ios no_ios;
static const u64 no_refusals;

/* The element of @key, made if it is not there. */
static __always_inline void *element(void *map, const void *key,
				     const void *empty)
{
	void *value = bpf_map_lookup_elem(map, key);

	if (value)
		return value;
	/* It fails where another CPU was faster, too. */
	bpf_map_update_elem(map, key, empty, BPF_NOEXIST);
	value = bpf_map_lookup_elem(map, key);
	if (!value)
		__sync_fetch_and_add(&lost, 1);
	return value;
}

typedef u64 __attribute__((may_alias)) part_of_key;

/* memcmp() would be by bytes. */
static __always_inline bool same_key(const struct watch_key *a,
				     const struct watch_key *b)
{
	const part_of_key *x = (const void *)a, *y = (const void *)b;
	u32 i;

	for (i = 0; i < sizeof(*a) / sizeof(*x); i++)
		if (x[i] != y[i])
			return false;
	return true;
}

/*
 * The element of @key without hashing, which costs as much as all the rest.  It is
 * that of the first of an interval on a CPU, NULL for others that would have the same.
 */
static __always_inline struct watch_ios *
recent_element(const struct watch_key *key)
{
	u32 at = ((key->id + key->hctx) * 2 + key->write) % WATCH_RECENT;
	struct watch_recent *r;
	u32 zero = 0;
	void *map;

	map = bpf_map_lookup_elem(&recent, &zero);
	r = map ? bpf_map_lookup_elem(map, &at) : NULL;
	if (!r)
		return NULL;
	if (!r->key.id)
		r->key = *key;
	else if (!same_key(&r->key, key))
		return NULL;
	return &r->ios;
}

/* The smallest n with @ns <= 2^n us. */
static __always_inline u32 bucket(u64 ns)
{
	u64 left = ns ? ns - 1 : 0;
	u32 n = 0, step;

	for (step = WATCH_BUCKETS / 2; step; step /= 2) {
		if (left >= (u64)WATCH_BUCKET_NS << (step - 1)) {
			left >>= step;
			n += step;
		}
	}
	return n;
}

/* What a policy is not shown is around what it is shown. */
static struct blk_dmabuf_io *desc_io(const struct blk_dmabuf_desc *desc)
{
	u32 at = bpf_core_field_offset(struct blk_dmabuf_io, desc);

	return bpf_rdonly_cast((const void *)desc - at,
			       bpf_core_type_id_kernel(struct blk_dmabuf_io));
}

/* The I/O holds its channel, the channel its disk. */
static void read_policy(char name[WATCH_POLICY_LEN], struct blk_dmabuf_io *io)
{
	struct blk_dmabuf_ops *ops = io->slots->disk->queue->dmabuf_ops;

	if (ops)
		bpf_probe_read_kernel_str(name, WATCH_POLICY_LEN, ops->name);
}

SEC("tp_btf/blk_dmabuf_complete")
int BPF_PROG(watch_complete, const struct blk_dmabuf_desc *desc)
{
	struct blk_dmabuf_io *io = desc_io(desc);
	struct watch_key key = {
		.dev	= desc->dev,
		.id	= desc->id,
		.hctx	= desc->hctx,
		.write	= desc->write,
	};
	u32 zero = 0, only = only_dev;
	struct watch_ios *sum;
	void *map;

	if (only && desc->dev != only)
		return 0;
	read_policy(key.policy, io);
	sum = recent_element(&key);
	if (!sum) {
		map = bpf_map_lookup_elem(&ios, &zero);
		sum = map ? element(map, &key, &no_ios) : NULL;
	}
	if (!sum)
		return 0;
	/* Not atomic: the program does not interrupt itself on a CPU. */
	sum->placed += io->placed;
	if (desc->result < 0) {
		sum->errors++;
		return 0;
	}
	sum->ios++;
	sum->bytes += desc->result;
	sum->copied += desc->copied;
	sum->latency_ns += desc->latency_ns;
	sum->buckets[bucket(desc->latency_ns) % WATCH_BUCKETS]++;
	return 0;
}

SEC("tp_btf/blk_dmabuf_refuse")
int BPF_PROG(watch_refuse, u32 dev, u32 id, int reason)
{
	struct watch_refusal key = { .dev = dev, .id = id, .reason = reason };
	u32 zero = 0;
	u64 *count;
	void *map;

	/* What did not get as far as a disk can be meant for any. */
	if (only_dev && dev && dev != only_dev)
		return 0;
	map = bpf_map_lookup_elem(&refusals, &zero);
	if (!map)
		return 0;
	count = element(map, &key, &no_refusals);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
