// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: placing an I/O that is over.
 *
 * expect: calling kernel function bpf_blk_dmabuf_place is not allowed
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

void BLKDMABUF_OP(refused_complete, struct blk_dmabuf_desc *desc)
{
	bpf_blk_dmabuf_place(desc, 0, 0, desc->len);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.complete	= (void *)refused_complete,
	.name		= "refused",
};
