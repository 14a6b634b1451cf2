// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: having more written to the stack than there is.
 *
 * expect: R3 and R4 memory, len pair leads to invalid memory access
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(refused_place, struct blk_dmabuf_desc *desc)
{
	u32 node = 0;

	return bpf_blk_dmabuf_slot(desc, 0, (struct blk_dmabuf_grant *)&node,
				   sizeof(struct blk_dmabuf_grant));
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.place	= (void *)refused_place,
	.name	= "refused",
};
