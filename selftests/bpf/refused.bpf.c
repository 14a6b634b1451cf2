// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that must not run, each with what the verifier says of it.  The test
 * loads them one at a time.
 */
#include "blkdmabuf.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* What is to be in the verifier's log. */
#define REFUSED(text)	__attribute__((btf_decl_tag("refused=" text)))

/* Functions of a policy, without and with sleeping, loaded on demand. */
#define MEMBER(name, args...)						\
	SEC("?struct_ops/" #name) BPF_PROG(name, ##args)
#define SLEEPER(name, args...)						\
	SEC("?struct_ops.s/" #name) BPF_PROG(name, ##args)

/* The policy that a program is a member of. */
#define POLICY(member, program)						\
	SEC(".struct_ops.link")					\
	struct blk_dmabuf_ops program##_ops = {				\
		.member	= (void *)program,				\
		.name	= "refused",					\
	}

/* A decision about an I/O where there is none. */
REFUSED("calling kernel function bpf_blk_dmabuf_nr_hctx is not allowed")
SEC("?syscall")
int no_io(void *ctx)
{
	return bpf_blk_dmabuf_nr_hctx(NULL);
}

/* Giving away a registration that a walk only shows. */
REFUSED("release kfunc bpf_blk_dmabuf_release expects referenced")
SEC("?syscall")
int not_mine(void *ctx)
{
	struct blk_dmabuf *reg;

	bpf_rcu_read_lock();
	bpf_for_each(blk_dmabuf, reg, 0)
		bpf_blk_dmabuf_release(reg);
	bpf_rcu_read_unlock();
	return 0;
}

/* Looking at a registration after the walk is over, when it may be gone. */
REFUSED("R1 must be a rcu pointer")
SEC("?syscall")
int too_late(void *ctx)
{
	struct blk_dmabuf *reg, *last = NULL;
	struct blk_dmabuf_info info;

	bpf_rcu_read_lock();
	bpf_for_each(blk_dmabuf, reg, 0)
		last = reg;
	bpf_rcu_read_unlock();
	return last ? bpf_blk_dmabuf_query(last, &info, sizeof(info)) : 0;
}

/* A registration that nobody owns when the program is over. */
REFUSED("Unreleased reference")
SEC("?syscall")
int leak(void *ctx)
{
	struct blk_dmabuf_attach args = { .fd = 3, .dmabuf_fd = 4 };

	return bpf_blk_dmabuf_attach(&args, sizeof(args)) ? 0 : args.error;
}

/* A policy that makes itself the owner of what it was asked about. */
REFUSED("calling kernel function bpf_blk_dmabuf_get is not allowed")
s32 SLEEPER(owner, struct blk_dmabuf_grant *grant)
{
	struct blk_dmabuf *reg = bpf_blk_dmabuf_get(grant->id);

	if (reg)
		bpf_blk_dmabuf_release(reg);
	return 0;
}
POLICY(admit, owner);

/* Looking behind the I/O, where its mapping is. */
REFUSED("access beyond struct blk_dmabuf_desc")
s32 MEMBER(curious, struct blk_dmabuf_desc *desc)
{
	u64 *behind = (u64 *)(desc + 1);

	return *behind % 2;
}
POLICY(map_queue, curious);

/* Asking how busy a queue is in place(), while the queues may still change. */
REFUSED("calling kernel function bpf_blk_dmabuf_hctx_load is not allowed")
s32 MEMBER(early, struct blk_dmabuf_desc *desc)
{
	return bpf_blk_dmabuf_hctx_load(desc, 0) > 8 ? -EAGAIN : 0;
}
POLICY(place, early);

/* Having more written to the stack than there is. */
REFUSED("R3 and R4 memory, len pair leads to invalid memory access")
s32 MEMBER(small, struct blk_dmabuf_desc *desc)
{
	u32 node = 0;

	return bpf_blk_dmabuf_slot(desc, 0, (struct blk_dmabuf_grant *)&node,
				   sizeof(struct blk_dmabuf_grant));
}
POLICY(place, small);

/* Placing an I/O again when its bio has been built. */
REFUSED("calling kernel function bpf_blk_dmabuf_place is not allowed")
s32 MEMBER(again, struct blk_dmabuf_desc *desc)
{
	bpf_blk_dmabuf_place(desc, 1, desc->offset, desc->len);
	return -1;
}
POLICY(map_queue, again);

/* Placing an I/O that is over. */
REFUSED("calling kernel function bpf_blk_dmabuf_place is not allowed")
void MEMBER(over, struct blk_dmabuf_desc *desc)
{
	bpf_blk_dmabuf_place(desc, 0, 0, desc->len);
}
POLICY(complete, over);

/* Placing by writing to the I/O, round the kfunc. */
REFUSED("only read is supported")
s32 MEMBER(writer, struct blk_dmabuf_desc *desc)
{
	desc->slot = 1;
	return 0;
}
POLICY(place, writer);

/* Sleeping where an I/O is submitted. */
REFUSED("attach to unsupported member map_queue of struct blk_dmabuf_ops")
s32 SLEEPER(sleeper, struct blk_dmabuf_desc *desc)
{
	return -1;
}
POLICY(map_queue, sleeper);

/* A policy that calls itself what no policy is called. */
SEC(".struct_ops.link")
struct blk_dmabuf_ops nameless = {
	.name	= "none",
};
