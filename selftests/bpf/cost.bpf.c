// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies that decide nothing new: what is left is what asking costs.
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(cost_place, struct blk_dmabuf_desc *desc)
{
	bpf_blk_dmabuf_place(desc, desc->slot, desc->offset, desc->len);
	return 0;
}

s32 BLKDMABUF_OP(cost_map_queue, struct blk_dmabuf_desc *desc)
{
	return bpf_blk_dmabuf_hctx_local(desc);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops cost_place_only = {
	.place	= (void *)cost_place,
	.name	= "place",
};

SEC(".struct_ops.link")
struct blk_dmabuf_ops cost_both = {
	.place		= (void *)cost_place,
	.map_queue	= (void *)cost_map_queue,
	.name		= "place_map_queue",
};
