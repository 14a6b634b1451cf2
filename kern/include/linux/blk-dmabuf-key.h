/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is there any block I/O on dma-bufs?  Apart from <linux/bio-dmabuf.h>, because
 * <linux/uio.h> asks it, too.
 */
#ifndef _LINUX_BLK_DMABUF_KEY_H
#define _LINUX_BLK_DMABUF_KEY_H

#include <linux/jump_label.h>
#include <linux/types.h>

#ifdef CONFIG_BLK_DMABUF
DECLARE_STATIC_KEY_FALSE(blk_dmabuf_used);

/* As long as there is a channel, and for a while after: else it is a nop. */
static __always_inline bool blk_dmabuf_in_use(void)
{
	return static_branch_unlikely(&blk_dmabuf_used);
}
#else
static inline bool blk_dmabuf_in_use(void)
{
	return false;
}
#endif

#endif /* _LINUX_BLK_DMABUF_KEY_H */
