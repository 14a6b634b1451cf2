// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy that registers without a link, as struct_ops did first: it stays
 * when its loader ends, until it is unregistered.
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC(".struct_ops")
struct blk_dmabuf_ops linkless = {
	.name	= "linkless",
};
