// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control object: registers dma-bufs on disks, and owns them.
 *
 * A registration lives in the map "regs", keyed by its id.  ctl_unregister ends
 * one; freeing the map ends them all: pin it and registrations outlive whoever
 * made them, remove the pin and they are gone.
 *
 * Shows: keeping a kernel object in a map as a kptr, syscall programs as a
 * control interface, walking all registrations.
 *
 * When not to use it: an application that registers buffers for itself is
 * better off with its own map that it does not pin, as libblkdmabuf makes one.
 *
 *   bpftool prog loadall build/bpf/minimal.bpf.o /sys/fs/bpf/blkdmabuf \
 *	pinmaps /sys/fs/bpf/blkdmabuf
 *   bpftool prog run pinned /sys/fs/bpf/blkdmabuf/ctl_next repeat 0
 *
 * blkdmabufctl(8) has the rest.  A program takes its arguments from the map
 * "args" and leaves the outcome in the map "result"; one caller at a time.
 */
#include "blkdmabuf.bpf.h"
#include "blkdmabuf-ctl.h"

char LICENSE[] SEC("license") = "GPL";

struct blkdmabuf_reg {
	struct blk_dmabuf __kptr *reg;
};

/* Not preallocated: most have one entry or none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BLKDMABUF_MAX_REGS);
	__type(key, u32);
	__type(value, struct blkdmabuf_reg);
} regs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct blkdmabuf_args);
} args SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct blkdmabuf_result);
} result SEC(".maps");

static struct blkdmabuf_args *ctl_args(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&args, &zero);
}

static int ctl_result(u32 reason, u32 id, int error)
{
	struct blkdmabuf_result *res;
	u32 zero = 0;

	res = bpf_map_lookup_elem(&result, &zero);
	if (res) {
		res->reason = reason;
		res->id = id;
		res->error = error;
	}
	return error;
}

/*
 * Move @reg into the map; what does not get in is released.
 *
 * A hash map hands out the memory of deleted elements again without clearing
 * the kptr, so somebody's leftover may come back from the exchange: deleting an
 * element by bpf(2) ends a registration no earlier than here.
 */
static int regs_add(u32 id, struct blk_dmabuf *reg)
{
	struct blkdmabuf_reg empty = {}, *slot;
	struct blk_dmabuf *old;
	int error;

	error = bpf_map_update_elem(&regs, &id, &empty, BPF_NOEXIST);
	slot = error ? NULL : bpf_map_lookup_elem(&regs, &id);
	if (!slot) {
		bpf_blk_dmabuf_release(reg);
		return error == -E2BIG ? -ENOSPC : error ?: -ENOENT;
	}
	/* From here the map owns it. */
	old = bpf_kptr_xchg(&slot->reg, reg);
	if (old)
		bpf_blk_dmabuf_release(old);
	return 0;
}

SEC("syscall")
int ctl_register(void)
{
	struct blkdmabuf_args *arg = ctl_args();
	struct blk_dmabuf_attach attach = {};
	struct blk_dmabuf *reg;
	int error;

	if (!arg)
		return -EINVAL;
	attach.fd = arg->fd;
	attach.dmabuf_fd = arg->dmabuf_fd;
	attach.flags = arg->flags;
	reg = bpf_blk_dmabuf_attach(&attach, sizeof(attach));
	if (!reg)
		return ctl_result(attach.reason, attach.id,
				  attach.error ?: -EINVAL);
	error = regs_add(attach.id, reg);
	return ctl_result(attach.reason, attach.id, error);
}

/*
 * Deleting the element alone would leave the registration in its memory until
 * that is used again.  Taken out before, it is over when the program returns.
 */
SEC("syscall")
int ctl_unregister(void)
{
	struct blkdmabuf_args *arg = ctl_args();
	struct blk_dmabuf *reg = NULL;
	struct blkdmabuf_reg *slot;
	u32 id;

	if (!arg)
		return -EINVAL;
	id = arg->id;
	slot = bpf_map_lookup_elem(&regs, &id);
	if (slot)
		reg = bpf_kptr_xchg(&slot->reg, NULL);
	bpf_map_delete_elem(&regs, &id);
	if (!reg)
		return ctl_result(0, id, -ENOENT);
	bpf_blk_dmabuf_release(reg);
	return ctl_result(0, id, 0);
}

static __always_inline int map_or_unmap(bool map)
{
	struct blkdmabuf_args *arg = ctl_args();
	struct blk_dmabuf *reg;
	int error;

	if (!arg)
		return -EINVAL;
	reg = bpf_blk_dmabuf_get(arg->id);
	if (!reg)
		return ctl_result(0, arg->id, -ENOENT);
	error = map ? bpf_blk_dmabuf_map(reg) : bpf_blk_dmabuf_unmap(reg);
	bpf_blk_dmabuf_release(reg);
	return ctl_result(0, arg->id, error);
}

SEC("syscall")
int ctl_map(void)
{
	return map_or_unmap(true);
}

SEC("syscall")
int ctl_unmap(void)
{
	return map_or_unmap(false);
}

SEC("syscall")
int ctl_next(void)
{
	struct blkdmabuf_args *arg = ctl_args();
	struct blkdmabuf_result *res;
	struct blk_dmabuf *reg;
	u32 zero = 0;
	int error = -ENOENT;

	res = bpf_map_lookup_elem(&result, &zero);
	if (!arg || !res)
		return -EINVAL;
	bpf_rcu_read_lock();
	bpf_for_each(blk_dmabuf, reg, arg->id) {
		error = bpf_blk_dmabuf_query(reg, &res->info,
					     sizeof(res->info));
		break;
	}
	bpf_rcu_read_unlock();
	return ctl_result(0, error ? 0 : res->info.id, error);
}

/*
 * A policy needs no more than a name, and then changes nothing.  What loads the
 * programs above does not register it; these two commands do, and select it:
 *
 *   bpftool struct_ops register build/bpf/minimal.bpf.o /sys/fs/bpf/minimal
 *   echo minimal > /sys/block/nvme0n1/queue/dmabuf_policy
 */
SEC(".struct_ops.link")
struct blk_dmabuf_ops minimal = {
	.name	= "minimal",
};
