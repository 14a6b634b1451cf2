/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a BPF program needs to work with dma-buf registrations.  Types, flags and
 * kfuncs come from vmlinux.h, where bpftool of the kernel's time declares them;
 * what BTF does not carry (macros, errno) is here.
 */
#ifndef BLKDMABUF_BPF_H
#define BLKDMABUF_BPF_H

/* The kernel is built with -fms-extensions; we need none of such members. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wmissing-declarations"
#include "vmlinux.h"
#pragma clang diagnostic pop
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EPERM		1
#define ENOENT		2
#define E2BIG		7
#define EAGAIN		11
#define ENOMEM		12
#define EACCES		13
#define EEXIST		17
#define EINVAL		22
#define ENOSPC		28
#define EMSGSIZE	90
#define EOPNOTSUPP	95
#define ENOBUFS		105
#define EDQUOT		122

/*
 * Policies.  A member of struct blk_dmabuf_ops is written as
 *
 *	s32 BLKDMABUF_OP(mine_place, struct blk_dmabuf_desc *desc) { ... }
 *
 * and with _SLEEPABLE if it may sleep: init, exit and admit only.
 */
/* Its arguments are given, whether it looks at them or not. */
#pragma clang diagnostic ignored "-Wunused-parameter"

#define BLKDMABUF_OP(name, args...)					\
	SEC("struct_ops/" #name) BPF_PROG(name, ##args)
#define BLKDMABUF_OP_SLEEPABLE(name, args...)				\
	SEC("struct_ops.s/" #name) BPF_PROG(name, ##args)

#endif /* BLKDMABUF_BPF_H */
