// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: looking at a registration after the walk is over,
 * when it may be gone.
 *
 * expect: R1 must be a rcu pointer
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("syscall")
int refused_query(void *ctx)
{
	struct blk_dmabuf *reg, *last = NULL;
	struct blk_dmabuf_info info;

	bpf_rcu_read_lock();
	bpf_for_each(blk_dmabuf, reg, 0)
		last = reg;
	bpf_rcu_read_unlock();
	return last ? bpf_blk_dmabuf_query(last, &info, sizeof(info)) : 0;
}
