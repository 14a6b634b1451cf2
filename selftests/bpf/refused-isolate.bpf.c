// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: looking behind the I/O, where its mapping is.
 *
 * expect: access beyond struct blk_dmabuf_desc
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(refused_map_queue, struct blk_dmabuf_desc *desc)
{
	u64 *behind = (u64 *)(desc + 1);

	return *behind % 2;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.map_queue	= (void *)refused_map_queue,
	.name		= "refused",
};
