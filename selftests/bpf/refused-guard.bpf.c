// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: a policy that makes itself the owner of the
 * registration it was asked about.
 *
 * expect: calling kernel function bpf_blk_dmabuf_get is not allowed
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP_SLEEPABLE(refused_admit, struct blk_dmabuf_grant *grant)
{
	struct blk_dmabuf *reg = bpf_blk_dmabuf_get(grant->id);

	if (reg)
		bpf_blk_dmabuf_release(reg);
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.admit	= (void *)refused_admit,
	.name	= "refused",
};
