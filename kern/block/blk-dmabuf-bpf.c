// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control of dma-buf registrations from BPF.
 *
 * A BPF_PROG_TYPE_SYSCALL program attaches a dma-buf to a block device and
 * stores the registration in a map.  The map owns it, until a program takes it
 * out and releases it, or the map's last pin and file descriptor are gone.
 *
 *   d=/sys/fs/bpf/blkdmabuf
 *   bpftool prog loadall build/bpf/minimal.bpf.o $d pinmaps $d
 *   bpftool prog run pinned $d/ctl_next repeat 0	# info is in map result
 *   rm -r $d			# ends all registrations made through it
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/sched/user.h>
#include <linux/stat.h>

#include "blk-dmabuf-internal.h"

struct bpf_iter_blk_dmabuf {
	__u64 __opaque[1];
} __aligned(8);

struct bpf_iter_blk_dmabuf_kern {
	u32 after;
	bool refused;
} __aligned(8);

static struct blk_dmabuf *
blk_dmabuf_attach_file(struct file *file, struct blk_dmabuf_attach *args)
{
	enum blk_dmabuf_reason reason = BLK_DMABUF_NO_DEVICE;
	bool copy = args->flags & BLK_DMABUF_ATTACH_COPY;
	struct block_device *bdev = NULL;
	struct gendisk *disk;
	struct blk_dmabuf *reg;
	struct dma_buf *dmabuf;
	struct kstat stat = {};
	int error = -EBADF;

	if (file)
		error = blk_dmabuf_check_file(file, copy, &bdev, &stat,
					      &reason);
	args->reason = reason;
	if (error)
		return ERR_PTR(error);
	disk = bdev ? bdev->bd_disk : NULL;
	args->reason = BLK_DMABUF_NO_DEVICE;
	if (disk && !disk_live(disk))
		return ERR_PTR(-ENODEV);
	/* The same with the flag is looked at by blk_dmabuf_attach(). */
	if (!copy) {
		args->reason = blk_dmabuf_check_disk(disk);
		if (args->reason != BLK_DMABUF_OK)
			return ERR_PTR(-EOPNOTSUPP);
	}

	args->reason = BLK_DMABUF_NO_DMABUF;
	dmabuf = dma_buf_get(args->dmabuf_fd);
	if (IS_ERR(dmabuf))
		return ERR_CAST(dmabuf);
	reg = blk_dmabuf_attach(disk, dmabuf, args);
	dma_buf_put(dmabuf);
	return reg;
}

/*
 * Does the program act for the task that it runs in?  A timer or a worker is
 * nobody's.  By bpf_task_work a program runs in a task of its choice, so whoever
 * loaded it has to be that task's user, or root.
 */
static bool blk_dmabuf_has_caller(const struct bpf_prog_aux *aux)
{
	kuid_t loader = aux->user->uid;

	return in_task() && !(current->flags & (PF_KTHREAD | PF_EXITING)) &&
	       (uid_eq(loader, current_uid()) ||
		uid_eq(loader, GLOBAL_ROOT_UID));
}

/* May the caller get at a registration without having it in a map? */
static bool blk_dmabuf_visible(const struct blk_dmabuf *reg)
{
	return uid_eq(reg->uid, current_uid()) || capable(CAP_SYS_ADMIN);
}

__bpf_kfunc_start_defs();

/**
 * bpf_blk_dmabuf_attach - register a dma-buf on a disk
 * @args: what to register; @args->error, ->reason and ->id tell how it went
 * @args__sz: size of @args
 * @aux: the program, from the verifier
 *
 * To be called from syscall programs, which run in the process that has the
 * file descriptors in @args.  No mapping is made yet.  Registering the same
 * dma-buf on the same disk again is refused, and says which one is there; on
 * other disks it shares attachments and mappings with the first.  On a stack of
 * disks, or a file on one, the dma-buf is attached to each device below it when
 * I/O first reaches that.  With BLK_DMABUF_ATTACH_COPY I/O may be copied, and
 * where it has to be, the dma-buf is attached to nothing.
 *
 * Return: the registration, owned by the program until it is stored in a map
 * with bpf_kptr_xchg() or given to bpf_blk_dmabuf_release(), or NULL with
 * @args->error one of
 *
 *  * %-EINVAL: @args is not valid, or ->dmabuf_fd is no dma-buf
 *  * %-EPERM: called from a timer or a workqueue, or the program was loaded by
 *    another user, who is not root
 *  * %-EBADF: no such file
 *  * %-ENOTBLK: ->fd is neither a block device nor a file
 *  * %-EOPNOTSUPP: the file system, file or device takes no dma-buf I/O, or with
 *    BLK_DMABUF_ATTACH_COPY the CPU has no access to the dma-buf either; ->reason
 *    says why
 *  * %-EEXIST: the pair is registered, as ->id
 *  * %-ENODEV: the device is going away
 *  * %-ENOMEM: no memory
 *
 * or what the exporter's attach callback says.  With a wrong @args__sz it is NULL
 * and @args is not touched.
 */
__bpf_kfunc struct blk_dmabuf *
bpf_blk_dmabuf_attach(struct blk_dmabuf_attach *args, u32 args__sz,
		      struct bpf_prog_aux *aux)
{
	struct blk_dmabuf_attach mine;
	struct blk_dmabuf *reg;

	if (args__sz != sizeof(mine))
		return NULL;
	/* The program may pass memory that is written to while this runs. */
	mine = *args;
	mine.id = 0;
	if (mine.flags & ~(BLK_DMABUF_ATTACH_COPY | BLK_DMABUF_ATTACH_TRIAL)) {
		mine.reason = BLK_DMABUF_OK;
		reg = ERR_PTR(-EINVAL);
	} else if (!blk_dmabuf_has_caller(aux)) {
		mine.reason = BLK_DMABUF_OK;
		reg = ERR_PTR(-EPERM);
	} else {
		CLASS(fd, f)(mine.fd);

		reg = blk_dmabuf_attach_file(fd_file(f), &mine);
	}
	mine.error = PTR_ERR_OR_ZERO(reg);
	*args = mine;
	if (!IS_ERR(reg))
		return reg;
	if (mine.reason != BLK_DMABUF_OK)
		blk_dmabuf_refuse(0, NULL, mine.reason, mine.error);
	return NULL;
}

/**
 * bpf_blk_dmabuf_get - get a registration by its id
 * @id: the registration
 * @aux: the program, from the verifier; loaded by who calls it, or by root
 *
 * To be called from syscall programs, by the user who registered it or with
 * CAP_SYS_ADMIN in the initial user namespace.  The program becomes an owner
 * beside those that are there.
 *
 * Return: the registration, to be given to bpf_blk_dmabuf_release(), or NULL
 */
__bpf_kfunc struct blk_dmabuf *bpf_blk_dmabuf_get(u32 id,
						  struct bpf_prog_aux *aux)
{
	struct blk_dmabuf *reg;

	if (!blk_dmabuf_has_caller(aux))
		return NULL;
	reg = blk_dmabuf_get(id);
	if (!reg || blk_dmabuf_visible(reg))
		return reg;
	blk_dmabuf_release_later(reg);
	return NULL;
}

/**
 * bpf_blk_dmabuf_map - map a registered dma-buf now
 * @buf: registration
 *
 * To be called from syscall programs, to pay for the mapping before the first
 * I/O has to.  Repeating it is free.  On a stack of disks it maps for the devices
 * that I/O has reached so far.  A move that the exporter has begun is waited for,
 * 30 s at most.
 *
 * Return: 0; %-ENODEV if the registration is dead; %-EOPNOTSUPP if the device
 * cannot use the layout, or it cannot be told what memory it is; %-ETIMEDOUT if
 * the move does not end; %-EINTR; or what the exporter says
 */
__bpf_kfunc int bpf_blk_dmabuf_map(struct blk_dmabuf *buf)
{
	return blk_dmabuf_map(buf);
}

/**
 * bpf_blk_dmabuf_unmap - drop the mapping of a registered dma-buf
 * @buf: registration
 *
 * To be called from syscall programs.  Waits for requests that are with the
 * device, which its request timeout bounds.  The registration stays, the next I/O
 * maps again.
 *
 * Return: 0, also if there is no mapping; %-ENODEV if the registration is dead
 */
__bpf_kfunc int bpf_blk_dmabuf_unmap(struct blk_dmabuf *buf)
{
	return blk_dmabuf_unmap(buf);
}

/**
 * bpf_blk_dmabuf_release - give a reference to a registration back
 * @buf: registration that the program owns, no longer a map
 *
 * To be called from syscall programs.  The last one ends the registration: no
 * device touches the memory on its behalf any more when this returns, and what
 * other registrations of the buffer do not share is unmapped and detached.
 */
__bpf_kfunc void bpf_blk_dmabuf_release(struct blk_dmabuf *buf)
{
	blk_dmabuf_release(buf);
}

/* What a BPF map calls for a registration it owns, in any context. */
__bpf_kfunc void bpf_blk_dmabuf_release_dtor(void *buf)
{
	blk_dmabuf_release_later(buf);
}

CFI_NOSEAL(bpf_blk_dmabuf_release_dtor);

/**
 * bpf_blk_dmabuf_query - describe a registration
 * @buf: registration
 * @info: filled in
 * @info__sz: size of @info
 *
 * To be called from syscall programs.
 *
 * Return: 0, or %-EINVAL if @info__sz is wrong
 */
__bpf_kfunc int bpf_blk_dmabuf_query(struct blk_dmabuf *buf,
				     struct blk_dmabuf_info *info, u32 info__sz)
{
	if (info__sz != sizeof(*info))
		return -EINVAL;
	blk_dmabuf_get_info(buf, info);
	return 0;
}

/**
 * bpf_iter_blk_dmabuf_new - start walking all registrations
 * @it: iterator
 * @after: id to start behind, 0 for the first
 * @aux: the program, from the verifier; loaded by who calls it, or by root
 *
 * To be called from syscall programs between bpf_rcu_read_lock() and
 * bpf_rcu_read_unlock().  The walk goes up in ids and sees those of all maps that
 * bpf_blk_dmabuf_get() would return, and the ones that died as long as somebody
 * owns them.
 *
 * Return: 0, or %-EPERM, and the walk is at its end
 */
__bpf_kfunc int bpf_iter_blk_dmabuf_new(struct bpf_iter_blk_dmabuf *it,
					u32 after, struct bpf_prog_aux *aux)
{
	struct bpf_iter_blk_dmabuf_kern *kit = (void *)it;

	BUILD_BUG_ON(sizeof(*kit) > sizeof(*it));
	BUILD_BUG_ON(__alignof__(*kit) != __alignof__(*it));

	kit->after = after;
	kit->refused = !blk_dmabuf_has_caller(aux);
	return kit->refused ? -EPERM : 0;
}

/**
 * bpf_iter_blk_dmabuf_next - go to the next registration
 * @it: iterator
 *
 * Return: the registration, to be looked at by bpf_blk_dmabuf_query(), or NULL
 * at the end
 */
__bpf_kfunc struct blk_dmabuf *
bpf_iter_blk_dmabuf_next(struct bpf_iter_blk_dmabuf *it)
{
	struct bpf_iter_blk_dmabuf_kern *kit = (void *)it;
	struct blk_dmabuf *reg;

	if (kit->refused)
		return NULL;
	do {
		reg = blk_dmabuf_next(kit->after);
		if (reg)
			kit->after = reg->id;
	} while (reg && !blk_dmabuf_visible(reg));
	return reg;
}

/**
 * bpf_iter_blk_dmabuf_destroy - end a walk
 * @it: iterator
 */
__bpf_kfunc void bpf_iter_blk_dmabuf_destroy(struct bpf_iter_blk_dmabuf *it)
{
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(blk_dmabuf_control_ids)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_attach,
	     KF_ACQUIRE | KF_RET_NULL | KF_SLEEPABLE | KF_IMPLICIT_ARGS)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_get,
	     KF_ACQUIRE | KF_RET_NULL | KF_IMPLICIT_ARGS)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_map, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_unmap, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_release, KF_RELEASE | KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_blk_dmabuf_query, KF_RCU)
BTF_ID_FLAGS(func, bpf_iter_blk_dmabuf_new,
	     KF_ITER_NEW | KF_RCU_PROTECTED | KF_IMPLICIT_ARGS)
BTF_ID_FLAGS(func, bpf_iter_blk_dmabuf_next, KF_ITER_NEXT | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_iter_blk_dmabuf_destroy, KF_ITER_DESTROY)
BTF_KFUNCS_END(blk_dmabuf_control_ids)

/*
 * A token gives CAP_BPF to a container.  Its programs could run where they are
 * taken for somebody else's.
 */
static int blk_dmabuf_control_filter(const struct bpf_prog *prog, u32 kfunc_id)
{
	return btf_id_set8_contains(&blk_dmabuf_control_ids, kfunc_id) &&
	       prog->aux->token ? -EACCES : 0;
}

static const struct btf_kfunc_id_set blk_dmabuf_control_set = {
	.owner	= THIS_MODULE,
	.set	= &blk_dmabuf_control_ids,
	.filter	= blk_dmabuf_control_filter,
};

BTF_ID_LIST(blk_dmabuf_dtor_ids)
BTF_ID(struct, blk_dmabuf)
BTF_ID(func, bpf_blk_dmabuf_release_dtor)

static int __init blk_dmabuf_bpf_init(void)
{
	const struct btf_id_dtor_kfunc dtors[] = {
		{
			.btf_id		= blk_dmabuf_dtor_ids[0],
			.kfunc_btf_id	= blk_dmabuf_dtor_ids[1],
		},
	};
	int error;

	/* Programs find these in vmlinux.h. */
	BTF_TYPE_EMIT(enum blk_dmabuf_flags);
	BTF_TYPE_EMIT(enum blk_dmabuf_slot);
	error = register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL,
					  &blk_dmabuf_control_set);
	if (error)
		return error;
	return register_btf_id_dtor_kfuncs(dtors, ARRAY_SIZE(dtors),
					   THIS_MODULE);
}
late_initcall(blk_dmabuf_bpf_init);
