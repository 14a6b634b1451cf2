// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: asking how busy a queue is in place(), while the
 * queues may still change.
 *
 * expect: calling kernel function bpf_blk_dmabuf_hctx_load is not allowed
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(refused_place, struct blk_dmabuf_desc *desc)
{
	return bpf_blk_dmabuf_hctx_load(desc, 0) > 8 ? -EAGAIN : 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.place	= (void *)refused_place,
	.name	= "refused",
};
