// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy of one's own: it changes nothing, and counts the bytes that were moved
 * in each direction.  own-policy.c loads it.
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

u64 bytes[2];	/* read, written */

void BLKDMABUF_OP(own_complete, struct blk_dmabuf_desc *desc)
{
	if (desc->result < 0)
		return;
	if (desc->write)
		__sync_fetch_and_add(&bytes[1], desc->result);
	else
		__sync_fetch_and_add(&bytes[0], desc->result);
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops own = {
	.complete	= (void *)own_complete,
	.name		= "own",
};
