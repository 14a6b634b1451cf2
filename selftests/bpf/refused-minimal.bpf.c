// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the kernel: a policy that calls itself what no policy is called.
 *
 * expect: can't register struct_ops refused: Invalid argument
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC(".struct_ops.link")
struct blk_dmabuf_ops refused = {
	.name	= "none",
};
