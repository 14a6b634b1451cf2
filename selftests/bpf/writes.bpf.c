// SPDX-License-Identifier: GPL-2.0-only
/* A policy that the verifier refuses, for blkdmabufctl to report. */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("struct_ops/place")
s32 BPF_PROG(place, struct blk_dmabuf_desc *desc)
{
	desc->slot = 1;
	return 0;
}

SEC(".struct_ops.link")
struct blk_dmabuf_ops writes = {
	.place	= (void *)place,
	.name	= "writes",
};
