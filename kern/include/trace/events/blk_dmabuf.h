/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM blk_dmabuf

#if !defined(_TRACE_BLK_DMABUF_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_BLK_DMABUF_H

#include <linux/blk-dmabuf-policy.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include <uapi/linux/blk-dmabuf.h>

struct blk_dmabuf_mapping;

#define BLK_DMABUF_REASONS						\
	EM(BLK_DMABUF_OK, "ok")						\
	EM(BLK_DMABUF_NO_DEVICE, "no-device")				\
	EM(BLK_DMABUF_NO_DRIVER, "no-driver")				\
	EM(BLK_DMABUF_INTEGRITY, "integrity")				\
	EM(BLK_DMABUF_ZONED, "zoned")					\
	EM(BLK_DMABUF_CRYPTO, "crypto")					\
	EM(BLK_DMABUF_DUPLICATE, "duplicate")				\
	EM(BLK_DMABUF_ATTACH_FAILED, "attach-failed")			\
	EM(BLK_DMABUF_MAP_FAILED, "map-failed")				\
	EM(BLK_DMABUF_LAYOUT, "layout")					\
	EM(BLK_DMABUF_IS_DEAD, "dead")					\
	EM(BLK_DMABUF_NO_SLOT, "no-slot")				\
	EM(BLK_DMABUF_RANGE, "range")					\
	EM(BLK_DMABUF_UNALIGNED, "unaligned")				\
	EM(BLK_DMABUF_ACCESS, "access")					\
	EM(BLK_DMABUF_LAYER, "layer")					\
	EM(BLK_DMABUF_IO_ERROR, "io-error")				\
	EM(BLK_DMABUF_NO_DMABUF, "no-dmabuf")				\
	EM(BLK_DMABUF_NOT_REGISTERED, "not-registered")			\
	EM(BLK_DMABUF_NOT_ADMITTED, "not-admitted")			\
	EM(BLK_DMABUF_NOT_SELECTED, "not-selected")			\
	EM(BLK_DMABUF_POLICY_REFUSED, "policy-refused")			\
	EM(BLK_DMABUF_POLICY_ERROR, "policy-error")			\
	EM(BLK_DMABUF_POLICY_LENGTH, "policy-length")			\
	EM(BLK_DMABUF_POLICY_SLOT, "policy-slot")			\
	EM(BLK_DMABUF_POLICY_RANGE, "policy-range")			\
	EM(BLK_DMABUF_POLICY_UNALIGNED, "policy-unaligned")		\
	EM(BLK_DMABUF_POLICY_ACCESS, "policy-access")			\
	EM(BLK_DMABUF_POLICY_HCTX, "policy-hctx")			\
	EM(BLK_DMABUF_POLICY_HCTX_TYPE, "policy-hctx-type")		\
	EM(BLK_DMABUF_FILE_SYSTEM, "file-system")			\
	EM(BLK_DMABUF_FILE, "file")					\
	EM(BLK_DMABUF_MEMORY, "memory")					\
	EM(BLK_DMABUF_MOVED, "moved")					\
	EM(BLK_DMABUF_HOLE, "hole")					\
	EM(BLK_DMABUF_NO_CPU, "no-cpu")					\
	EM(BLK_DMABUF_NOT_P2P, "not-p2p")				\
	EM(BLK_DMABUF_SWITCH, "switch")					\
	EMe(BLK_DMABUF_HOST_BRIDGE, "host-bridge")

#define BLK_DMABUF_PATHS						\
	EM(BLK_DMABUF_PATH_NONE, "none")				\
	EM(BLK_DMABUF_PATH_PREMAPPED, "premapped")			\
	EM(BLK_DMABUF_PATH_P2P_SWITCH, "p2p-switch")			\
	EM(BLK_DMABUF_PATH_P2P_HOST_BRIDGE, "p2p-host-bridge")		\
	EM(BLK_DMABUF_PATH_COPY, "copy")				\
	EMe(BLK_DMABUF_PATH_REFUSED, "refused")

#define BLK_DMABUF_IOMMUS						\
	EM(BLK_DMABUF_IOMMU_UNKNOWN, "unknown")				\
	EM(BLK_DMABUF_IOMMU_OFF, "off")					\
	EM(BLK_DMABUF_IOMMU_PASSTHROUGH, "passthrough")			\
	EM(BLK_DMABUF_IOMMU_STRICT, "strict")				\
	EMe(BLK_DMABUF_IOMMU_LAZY, "lazy")

/* For user space, which does not know the values. */
#undef EM
#undef EMe
#define EM(reason, word)	TRACE_DEFINE_ENUM(reason);
#define EMe(reason, word)	TRACE_DEFINE_ENUM(reason);
BLK_DMABUF_REASONS
BLK_DMABUF_PATHS
BLK_DMABUF_IOMMUS

#undef EM
#undef EMe
#define EM(reason, word)	{ reason, word },
#define EMe(reason, word)	{ reason, word }

#define blk_dmabuf_show_reason(reason)					\
	__print_symbolic(reason, BLK_DMABUF_REASONS)

/* A dma-buf was registered on a disk; @inode is that of the dma-buf. */
TRACE_EVENT(blk_dmabuf_attach,
	TP_PROTO(u32 id, const char *disk, const char *exporter, u64 inode,
		 u64 bytes),
	TP_ARGS(id, disk, exporter, inode, bytes),
	TP_STRUCT__entry(
		__field(u32, id)
		__string(disk, disk)
		__string(exporter, exporter)
		__field(u64, inode)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->id = id;
		__assign_str(disk);
		__assign_str(exporter);
		__entry->inode = inode;
		__entry->bytes = bytes;
	),
	TP_printk("id=%u disk=%s exporter=%s inode=%llu bytes=%llu",
		  __entry->id, __get_str(disk), __get_str(exporter),
		  __entry->inode, __entry->bytes)
);

/*
 * A mapping of the dma-buf @inode for the DMA device @dev was published; if the
 * memory is a @peer's, @provider is that device.
 */
TRACE_EVENT(blk_dmabuf_map,
	TP_PROTO(const struct blk_dmabuf_mapping *mapping),
	TP_ARGS(mapping),
	TP_STRUCT__entry(
		__field(u64, inode)
		__string(dev, dev_name(mapping->attach->dev))
		__field(u64, generation)
		__field(unsigned int, ranges)
		__field(int, path)
		__field(int, iommu)
		__field(u32, domain)
		__field(u16, provider)
		__field(u8, bar)
		__field(u8, distance)
		__field(bool, acs)
		__field(bool, peer)
		__field(bool, sync)
	),
	TP_fast_assign(
		__entry->inode = mapping->attach->buf->inode;
		__assign_str(dev);
		__entry->generation = mapping->attach->generation;
		__entry->ranges = mapping->nr_ranges;
		__entry->path = mapping->way.path;
		__entry->iommu = mapping->way.iommu;
		__entry->domain = mapping->way.domain;
		__entry->provider = mapping->way.provider;
		__entry->bar = mapping->way.bar;
		__entry->distance = mapping->way.distance;
		__entry->acs = mapping->way.acs;
		__entry->peer = mapping->peer;
		__entry->sync = mapping->sync;
	),
	TP_printk("inode=%llu dev=%s generation=%llu ranges=%u path=%s iommu=%s provider=%04x:%02x:%02x.%x bar=%u distance=%u acs=%d peer=%d sync=%d",
		  __entry->inode, __get_str(dev), __entry->generation,
		  __entry->ranges,
		  __print_symbolic(__entry->path, BLK_DMABUF_PATHS),
		  __print_symbolic(__entry->iommu, BLK_DMABUF_IOMMUS),
		  __entry->domain, __entry->provider >> 8,
		  __entry->provider >> 3 & 31, __entry->provider & 7,
		  __entry->bar, __entry->distance, __entry->acs,
		  __entry->peer, __entry->sync)
);

/* It was drained and is gone; @revoked if the exporter took it away. */
TRACE_EVENT(blk_dmabuf_invalidate,
	TP_PROTO(u64 inode, const char *dev, u64 generation, u64 drain_ns,
		 bool revoked),
	TP_ARGS(inode, dev, generation, drain_ns, revoked),
	TP_STRUCT__entry(
		__field(u64, inode)
		__string(dev, dev)
		__field(u64, generation)
		__field(u64, drain_ns)
		__field(bool, revoked)
	),
	TP_fast_assign(
		__entry->inode = inode;
		__assign_str(dev);
		__entry->generation = generation;
		__entry->drain_ns = drain_ns;
		__entry->revoked = revoked;
	),
	TP_printk("inode=%llu dev=%s generation=%llu drain_ns=%llu revoked=%d",
		  __entry->inode, __get_str(dev), __entry->generation,
		  __entry->drain_ns, __entry->revoked)
);

/*
 * Something was refused before it became an I/O; @dev 0, @id 0: it did not get
 * as far as a disk, a registration.
 */
TRACE_EVENT(blk_dmabuf_refuse,
	TP_PROTO(u32 dev, u32 id, int reason, int error),
	TP_ARGS(dev, id, reason, error),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, id)
		__field(int, reason)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->id = id;
		__entry->reason = reason;
		__entry->error = error;
	),
	TP_printk("dev=%u:%u id=%u reason=%s error=%d", MAJOR(__entry->dev),
		  MINOR(__entry->dev), __entry->id,
		  blk_dmabuf_show_reason(__entry->reason), __entry->error)
);

/* A channel hands an I/O, placed, to its file. */
TRACE_EVENT(blk_dmabuf_submit,
	TP_PROTO(const struct blk_dmabuf_desc *desc),
	TP_ARGS(desc),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, id)
		__field(u32, slot)
		__field(u64, offset)
		__field(u64, pos)
		__field(u32, len)
		__field(u32, hint)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->dev = desc->dev;
		__entry->id = desc->id;
		__entry->slot = desc->slot;
		__entry->offset = desc->offset;
		__entry->pos = desc->pos;
		__entry->len = desc->len;
		__entry->hint = desc->hint;
		__entry->write = desc->write;
	),
	TP_printk("dev=%u:%u id=%u slot=%u offset=%llu %s pos=%llu len=%u hint=%u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->id,
		  __entry->slot, __entry->offset,
		  __entry->write ? "write" : "read", __entry->pos,
		  __entry->len, __entry->hint)
);

/* That I/O is over; @result is bytes or -errno. */
TRACE_EVENT(blk_dmabuf_complete,
	TP_PROTO(const struct blk_dmabuf_desc *desc),
	TP_ARGS(desc),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, id)
		__field(u32, slot)
		__field(s32, hctx)
		__field(u64, pos)
		__field(u32, len)
		__field(s32, result)
		__field(u64, latency_ns)
		__field(bool, write)
		__field(bool, copied)
	),
	TP_fast_assign(
		__entry->dev = desc->dev;
		__entry->id = desc->id;
		__entry->slot = desc->slot;
		__entry->hctx = desc->hctx;
		__entry->pos = desc->pos;
		__entry->len = desc->len;
		__entry->result = desc->result;
		__entry->latency_ns = desc->latency_ns;
		__entry->write = desc->write;
		__entry->copied = desc->copied;
	),
	TP_printk("dev=%u:%u id=%u slot=%u hctx=%d %s pos=%llu len=%u result=%d latency_ns=%llu copied=%d reason=%s",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->id,
		  __entry->slot, __entry->hctx,
		  __entry->write ? "write" : "read", __entry->pos,
		  __entry->len, __entry->result, __entry->latency_ns,
		  __entry->copied, __entry->result < 0 ? "io-error" : "ok")
);

#endif /* _TRACE_BLK_DMABUF_H */

#include <trace/define_trace.h>
