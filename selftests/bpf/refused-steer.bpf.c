// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the kernel: sleeping where an I/O is submitted.
 *
 * expect: attach to unsupported member map_queue of struct blk_dmabuf_ops
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP_SLEEPABLE(refused_map_queue, struct blk_dmabuf_desc *desc)
{
	return -1;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.map_queue	= (void *)refused_map_queue,
	.name		= "refused",
};
