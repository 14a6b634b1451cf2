/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What goes into and comes out of the control programs, for BPF C (behind
 * vmlinux.h) and user space (behind linux/blk-dmabuf.h) alike.
 *
 * The way in and out is two maps of one element, "args" and "result", not the
 * programs' context: the kernel takes no output context for syscall programs,
 * bpftool always passes one, and everything here is to be done by bpftool, too.
 */
#ifndef BLKDMABUF_CTL_H
#define BLKDMABUF_CTL_H

/* More than anybody will look through, and it costs nothing until used. */
#define BLKDMABUF_MAX_REGS	4096

/**
 * struct blkdmabuf_args - element of map "args"
 * @fd: ctl_register: open block device, or file on a file system on one
 * @dmabuf_fd: ctl_register: the dma-buf
 * @id: ctl_unregister, ctl_map, ctl_unmap: the registration; ctl_next: the id
 *	to start behind
 * @flags: ctl_register: BLK_DMABUF_ATTACH_*
 */
struct blkdmabuf_args {
	__s32	fd;
	__s32	dmabuf_fd;
	__u32	id;
	__u32	flags;
};

/**
 * struct blkdmabuf_result - element of map "result"
 * @error: 0 or -errno; what the program returns, too
 * @reason: ctl_register: enum blk_dmabuf_reason, also why I/O is copied
 * @id: ctl_register: the registration, or the one that is there already
 * @resv: zero
 * @info: ctl_next: the registration found
 */
struct blkdmabuf_result {
	__s32			error;
	__u32			reason;
	__u32			id;
	__u32			resv;
	struct blk_dmabuf_info	info;
};

#endif /* BLKDMABUF_CTL_H */
