// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: placing by writing to the I/O, round the kfunc.
 *
 * expect: only read is supported
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

s32 BLKDMABUF_OP(refused_place, struct blk_dmabuf_desc *desc)
{
	desc->slot = 1;
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.place	= (void *)refused_place,
	.name	= "refused",
};
