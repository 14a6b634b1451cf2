// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: giving away a registration that a walk only shows.
 *
 * expect: release kfunc bpf_blk_dmabuf_release expects referenced
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("syscall")
int refused_release(void *ctx)
{
	struct blk_dmabuf *reg;

	bpf_rcu_read_lock();
	bpf_for_each(blk_dmabuf, reg, 0)
		bpf_blk_dmabuf_release(reg);
	bpf_rcu_read_unlock();
	return 0;
}
