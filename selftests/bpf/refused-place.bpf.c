// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: placing an I/O again when its bio has been built.
 *
 * expect: calling kernel function bpf_blk_dmabuf_place is not allowed
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(refused_map_queue, struct blk_dmabuf_desc *desc)
{
	bpf_blk_dmabuf_place(desc, 1, desc->offset, desc->len);
	return -1;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.map_queue	= (void *)refused_map_queue,
	.name		= "refused",
};
