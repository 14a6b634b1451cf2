/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a BPF program needs to work with dma-buf registrations: types come from
 * vmlinux.h, and what BTF does not carry (macros, errno) is here.
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
#define ENOBUFS		105
#define EDQUOT		122

#define BLK_DMABUF_SLOT_ANY	(~0U)
#define BLK_DMABUF_F_WRITABLE	(1U << 0)
#define BLK_DMABUF_F_P2P	(1U << 1)
#define BLK_DMABUF_F_MAY_COPY	(1U << 4)
#define BLK_DMABUF_F_COPY	(1U << 5)

/*
 * Callable from SEC("syscall") programs, which run in the process that called
 * bpf(BPF_PROG_TEST_RUN) and see its file descriptors.  Weak, so that an object
 * with an unused one still loads on a kernel that lacks it.
 */

/* A registration, or NULL and args->error and ->reason say why. */
extern struct blk_dmabuf *
bpf_blk_dmabuf_attach(struct blk_dmabuf_attach *args,
		      u32 args__sz) __weak __ksym;

/* The last reference ends the registration before this returns. */
extern void bpf_blk_dmabuf_release(struct blk_dmabuf *buf) __weak __ksym;

/* Own a registration beside whoever does; NULL if there is none. */
extern struct blk_dmabuf *bpf_blk_dmabuf_get(u32 id) __weak __ksym;

extern int bpf_blk_dmabuf_map(struct blk_dmabuf *buf) __weak __ksym;
extern int bpf_blk_dmabuf_unmap(struct blk_dmabuf *buf) __weak __ksym;
extern int bpf_blk_dmabuf_query(struct blk_dmabuf *buf,
				struct blk_dmabuf_info *info,
				u32 info__sz) __weak __ksym;

/*
 * bpf_for_each(blk_dmabuf, reg, after): all registrations with id > after, in a
 * bpf_rcu_read_lock() section.
 */
extern void bpf_rcu_read_lock(void) __weak __ksym;
extern void bpf_rcu_read_unlock(void) __weak __ksym;
extern int bpf_iter_blk_dmabuf_new(struct bpf_iter_blk_dmabuf *it,
				   u32 after) __weak __ksym;
extern struct blk_dmabuf *
bpf_iter_blk_dmabuf_next(struct bpf_iter_blk_dmabuf *it) __weak __ksym;
extern void
bpf_iter_blk_dmabuf_destroy(struct bpf_iter_blk_dmabuf *it) __weak __ksym;

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

struct blk_dmabuf_desc;
struct blk_dmabuf_grant;

/* place() */
extern void bpf_blk_dmabuf_place(struct blk_dmabuf_desc *desc, u32 slot,
				 u64 offset, u32 len) __weak __ksym;
extern int bpf_blk_dmabuf_slot(struct blk_dmabuf_desc *desc, u32 slot,
			       struct blk_dmabuf_grant *grant,
			       u32 grant__sz) __weak __ksym;
extern int bpf_blk_dmabuf_next_slot(struct blk_dmabuf_desc *desc,
				    u32 slot) __weak __ksym;

/* place() and map_queue() */
extern u32 bpf_blk_dmabuf_nr_hctx(struct blk_dmabuf_desc *desc) __weak __ksym;

/* map_queue() */
extern int bpf_blk_dmabuf_next_hctx(struct blk_dmabuf_desc *desc,
				    u32 hctx) __weak __ksym;
extern u32
bpf_blk_dmabuf_hctx_local(struct blk_dmabuf_desc *desc) __weak __ksym;
extern int bpf_blk_dmabuf_hctx_load(struct blk_dmabuf_desc *desc,
				    u32 hctx) __weak __ksym;

#endif /* BLKDMABUF_BPF_H */
