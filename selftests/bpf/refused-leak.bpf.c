// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused by the verifier: a registration that nobody owns when the program is
 * over.
 *
 * expect: Unreleased reference
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("syscall")
int refused_attach(void *ctx)
{
	struct blk_dmabuf_attach args = { .fd = 3, .dmabuf_fd = 4 };

	return bpf_blk_dmabuf_attach(&args, sizeof(args)) ? 0 : args.error;
}
