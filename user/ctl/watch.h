/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What watch.bpf.c counts and blkdmabufctl shows, for BPF C (behind
 * vmlinux.h) and user space (behind linux/types.h) alike.
 */
#ifndef BLKDMABUF_WATCH_H
#define BLKDMABUF_WATCH_H

/*
 * Combinations of a key in one interval: 64 buffers on 64 queues in both
 * directions.  An element is small but there is one per CPU.
 */
#define WATCH_MAX_KEYS		8192

/* What most I/Os of a CPU are counted in: a power of 2. */
#define WATCH_RECENT		64

/* Reasons are few, but each registration has its own. */
#define WATCH_MAX_REFUSALS	4096

#define WATCH_POLICY_LEN	16

/*
 * Bucket n holds latencies up to 2^n us, and beyond those of bucket n - 1; the
 * last one also what is longer than its 36 minutes.
 */
#define WATCH_BUCKETS		32
#define WATCH_BUCKET_NS		1000

/**
 * struct watch_key - I/Os that are added up together
 * @dev: device number of the disk, as the kernel has it
 * @id: the registration
 * @hctx: hardware queue of the last request, or -1
 * @write: buffer to device
 * @policy: selected for the disk, or empty
 *
 * Aligned, so that watch.bpf.c compares two of them by 8 bytes at a time.
 */
struct watch_key {
	__u32	dev;
	__u32	id;
	__s32	hctx;
	__u32	write;
	char	policy[WATCH_POLICY_LEN];
} __attribute__((aligned(8)));

/**
 * struct watch_ios - I/Os that are over
 * @ios: those that went well
 * @bytes: of these
 * @errors: those that failed
 * @copied: of those that went well, those that the CPU copied
 * @placed: of both, those that the policy's place() had placed
 * @latency_ns: of those that went well, sum
 * @buckets: of those that went well, by latency
 */
struct watch_ios {
	__u64	ios;
	__u64	bytes;
	__u64	errors;
	__u64	copied;
	__u64	placed;
	__u64	latency_ns;
	__u64	buckets[WATCH_BUCKETS];
};

/**
 * struct watch_recent - I/Os of one CPU that are found without hashing
 * @key: whose; its ->id is 0 as long as that is nobody
 * @ios: those I/Os
 */
struct watch_recent {
	struct watch_key	key;
	struct watch_ios	ios;
};

/**
 * struct watch_refusal - what was refused, and why
 * @dev: device number of the disk, 0 if it did not get as far as a disk
 * @id: the registration, 0 if it did not get as far as one
 * @reason: enum blk_dmabuf_reason
 */
struct watch_refusal {
	__u32	dev;
	__u32	id;
	__u32	reason;
};

#endif /* BLKDMABUF_WATCH_H */
