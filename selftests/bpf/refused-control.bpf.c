// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: a decision about an I/O where there is none.
 *
 * expect: calling kernel function bpf_blk_dmabuf_nr_hctx is not allowed
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("syscall")
int refused_control(void *ctx)
{
	return bpf_blk_dmabuf_nr_hctx(NULL);
}
