// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pair of network devices, memnic0 and memnic1, for tests of devmem TCP and of
 * io_uring's zero-copy receive: what one sends the other receives.  They are a NIC
 * in all that the network stack sees of one: header split, receive queues whose
 * buffers may be memory of somebody else, and transmission out of such memory.
 *
 * The DMA engine is memcpy().  It is given DMA addresses only, and finds memory by
 * these: a buffer that has no pages for the network stack is as good as any.  It
 * runs in the NAPI poll of the receiver.
 *
 * A TCP packet to port 7000 + n goes to queue n, if there is one, and all others go
 * to queue 0.  The headers of a TCP packet are in linear memory and its data is in
 * buffers of the queue; what is not TCP is linear.
 *
 * Module parameters, which may be written while packets are on their way, say how
 * buffers are used, and what goes wrong.  What was done is in debugfs.
 *
 * Attachments of dma-bufs hold the DMA device without a reference to it, so the
 * module cannot be unloaded.
 */
#include <linux/debugfs.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/tcp.h>
#include <net/netdev_lock.h>
#include <net/netdev_queues.h>
#include <net/page_pool/helpers.h>

#define MEMNIC_QUEUES	4
#define MEMNIC_PORT	7000	/* of queue 0 */
#define MEMNIC_RING	512	/* packets on the wire, for each queue */
#define MEMNIC_MAX_MTU	9000

static bool split = true;
module_param(split, bool, 0444);
MODULE_PARM_DESC(split, "split headers from data from the beginning; ethtool -G tcp-data-split does later");

/* A buffer of its own for each piece, or pieces that share one. */
static uint buffer = PAGE_SIZE;
module_param(buffer, uint, 0644);
MODULE_PARM_DESC(buffer, "bytes of a buffer, 4096 or 2048");

static bool packed;
module_param(packed, bool, 0644);
MODULE_PARM_DESC(packed, "pieces share a buffer, at multiples of 128 bytes");

static uint shift;
module_param(shift, uint, 0644);
MODULE_PARM_DESC(shift, "bytes that are left free in front of a piece");

static uint drop_nth;
module_param(drop_nth, uint, 0644);
MODULE_PARM_DESC(drop_nth, "lose each so-many-th packet");

static uint starve_nth;
module_param(starve_nth, uint, 0644);
MODULE_PARM_DESC(starve_nth, "have no buffer for each so-many-th piece");

/* Bytes at a DMA address. */
struct memnic_segment {
	dma_addr_t	addr;
	unsigned int	len;
};

/**
 * struct memnic_packet - a packet on the wire
 * @list: entry in &memnic_queue.wire
 * @skb: what the sender's stack made; its memory is mapped
 * @nr: entries of @seg
 * @seg: first the linear part, then the fragments
 */
struct memnic_packet {
	struct list_head	list;
	struct sk_buff		*skb;
	unsigned int		nr;
	struct memnic_segment	seg[];
};

struct memnic_stats {
	atomic64_t	packets;	/* received */
	atomic64_t	dma_bytes;	/* written to buffers of the queue */
	atomic64_t	unreadable;	/* of these, to memory without pages */
	atomic64_t	linear_bytes;	/* data of TCP that was written elsewhere */
	atomic64_t	lost;		/* packets, by drop_nth */
	atomic64_t	starved;	/* packets, for want of a buffer */
};

/**
 * struct memnic_queue - a receive queue; it is there as long as the module is
 * @nic: whose it is
 * @napi: polls @wire
 * @pool: where buffers come from; only while @napi is enabled
 * @lock: protects @wire, @len and @up
 * @wire: packets that have been sent and not received
 * @len: how many
 * @up: packets may be sent to it
 * @stats: what it did
 */
struct memnic_queue {
	struct memnic		*nic;
	struct napi_struct	napi;
	struct page_pool	*pool;
	spinlock_t		lock;	/* see @lock */
	struct list_head	wire;
	unsigned int		len;
	bool			up;
	struct memnic_stats	stats;
};

/* What the core keeps of a queue while it exchanges its buffers. */
struct memnic_queue_mem {
	struct page_pool	*pool;
};

/**
 * struct memnic - one end of the wire
 * @dev: what the network stack sees
 * @dma: device that does the DMA
 * @peer: the other end
 * @split: data of TCP goes to buffers
 * @hds_thresh: unless it is so few bytes
 * @queue: receive queues
 */
struct memnic {
	struct net_device	*dev;
	struct device		*dma;
	struct memnic		*peer;
	bool			split;
	unsigned int		hds_thresh;
	struct memnic_queue	queue[MEMNIC_QUEUES];
};

static struct memnic *memnics[2];
static struct dentry *memnic_dir;

/* ---- The DMA engine ---- */

/* Memory at a DMA address, or NULL if that is none. */
static void *memnic_memory(struct memnic *nic, dma_addr_t addr)
{
	phys_addr_t phys = dma_to_phys(nic->dma, addr);

	return pfn_valid(PHYS_PFN(phys)) ? phys_to_virt(phys) : NULL;
}

/* Copy @len bytes at @pos of a packet to @to. */
static bool memnic_fetch(const struct memnic_packet *p, unsigned int pos,
			 void *to, unsigned int len)
{
	struct memnic *sender = netdev_priv(p->skb->dev);
	unsigned int i, n;
	void *from;

	for (i = 0; i < p->nr && len; i++) {
		if (pos >= p->seg[i].len) {
			pos -= p->seg[i].len;
			continue;
		}
		n = min(len, p->seg[i].len - pos);
		from = memnic_memory(sender, p->seg[i].addr + pos);
		if (!from)
			return false;
		memcpy(to, from, n);
		to += n;
		len -= n;
		pos = 0;
	}
	return !len;
}

/* ---- Sending ---- */

static void memnic_unmap(struct memnic *nic, struct memnic_packet *p)
{
	unsigned int i;

	dma_unmap_single(nic->dma, p->seg[0].addr, p->seg[0].len,
			 DMA_TO_DEVICE);
	for (i = 1; i < p->nr; i++) {
		const skb_frag_t *frag = &skb_shinfo(p->skb)->frags[i - 1];

		/* What the exporter has mapped stays mapped. */
		if (!netmem_is_net_iov(frag->netmem))
			dma_unmap_page(nic->dma, p->seg[i].addr, p->seg[i].len,
				       DMA_TO_DEVICE);
	}
}

/* The sender's memory is the sender's again. */
static void memnic_sent(struct memnic_packet *p)
{
	memnic_unmap(netdev_priv(p->skb->dev), p);
	dev_consume_skb_any(p->skb);
	kfree(p);
}

static struct memnic_packet *memnic_map(struct memnic *nic,
					struct sk_buff *skb)
{
	unsigned int nr = skb_shinfo(skb)->nr_frags, i;
	struct memnic_packet *p;
	dma_addr_t addr;

	p = kmalloc(struct_size(p, seg, nr + 1), GFP_ATOMIC);
	if (!p)
		return NULL;
	p->skb = skb;
	addr = dma_map_single(nic->dma, skb->data, skb_headlen(skb),
			      DMA_TO_DEVICE);
	if (dma_mapping_error(nic->dma, addr))
		goto free;
	p->seg[0] = (struct memnic_segment) { addr, skb_headlen(skb) };
	p->nr = 1;
	for (i = 0; i < nr; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		addr = skb_frag_dma_map(nic->dma, frag, 0, skb_frag_size(frag),
					DMA_TO_DEVICE);
		if (dma_mapping_error(nic->dma, addr))
			goto unmap;
		p->seg[p->nr++] = (struct memnic_segment) {
			addr, skb_frag_size(frag)
		};
	}
	return p;

unmap:
	memnic_unmap(nic, p);
free:
	kfree(p);
	return NULL;
}

static bool memnic_is_tcp(const struct sk_buff *skb)
{
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		return ip_hdr(skb)->protocol == IPPROTO_TCP;
	case htons(ETH_P_IPV6):
		return ipv6_hdr(skb)->nexthdr == IPPROTO_TCP;
	default:
		return false;
	}
}

/* The queue of @nic that a packet goes to. */
static struct memnic_queue *memnic_steer(struct memnic *nic,
					 const struct sk_buff *skb)
{
	unsigned int n = 0;

	if (memnic_is_tcp(skb))
		n = ntohs(tcp_hdr(skb)->dest) - MEMNIC_PORT;
	return &nic->queue[n < MEMNIC_QUEUES ? n : 0];
}

static netdev_tx_t memnic_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct memnic *nic = netdev_priv(dev);
	struct memnic_queue *q = memnic_steer(nic->peer, skb);
	struct memnic_packet *p;
	unsigned int len = skb->len;
	bool up;

	p = memnic_map(nic, skb);
	if (!p) {
		dev_core_stats_tx_dropped_inc(dev);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	scoped_guard(spinlock, &q->lock) {
		up = q->up;
		if (up) {
			list_add_tail(&p->list, &q->wire);
			/* The poll of the queue wakes it. */
			if (++q->len >= MEMNIC_RING)
				netif_stop_queue(dev);
			dev_sw_netstats_tx_add(dev, 1, len);
			napi_schedule(&q->napi);
		}
	}
	if (!up) {
		dev_core_stats_tx_dropped_inc(dev);
		memnic_sent(p);
	}
	return NETDEV_TX_OK;
}

/* ---- Receiving ---- */

static bool memnic_nth(atomic_t *count, uint n)
{
	return n && !(atomic_inc_return(count) % n);
}

/* A buffer of the queue for up to @len bytes, which become what it has room for. */
static netmem_ref memnic_buffer(struct memnic_queue *q, unsigned int *offset,
				unsigned int *len, unsigned int *truesize)
{
	unsigned int size = clamp(READ_ONCE(buffer), 256U, (uint)PAGE_SIZE);
	unsigned int front = min(READ_ONCE(shift), size / 2);
	static atomic_t pieces;
	netmem_ref netmem;

	*len = min(*len, size - front);
	*truesize = READ_ONCE(packed) ? ALIGN(*len + front, 128) : size;
	if (memnic_nth(&pieces, READ_ONCE(starve_nth)))
		return 0;
	if (*truesize < PAGE_SIZE) {
		netmem = page_pool_alloc_frag_netmem(q->pool, offset, *truesize,
						     GFP_ATOMIC | __GFP_NOWARN);
	} else {
		*offset = 0;
		netmem = page_pool_alloc_netmems(q->pool,
						 GFP_ATOMIC | __GFP_NOWARN);
	}
	*offset += front;
	return netmem;
}

/* Write @len bytes at @pos of a packet to a buffer of the queue. */
static bool memnic_write(struct memnic_queue *q, const struct memnic_packet *p,
			 unsigned int pos, netmem_ref netmem,
			 unsigned int offset, unsigned int len)
{
	dma_addr_t addr = page_pool_get_dma_addr_netmem(netmem) + offset;
	void *to = memnic_memory(q->nic, addr);

	if (!to || !memnic_fetch(p, pos, to, len))
		return false;
	atomic64_add(len, &q->stats.dma_bytes);
	if (netmem_is_net_iov(netmem))
		atomic64_add(len, &q->stats.unreadable);
	else
		page_pool_dma_sync_netmem_for_cpu(q->pool, netmem, offset, len);
	return true;
}

/* Put the data behind the first @pos bytes into buffers of the queue. */
static bool memnic_fill(struct memnic_queue *q, const struct memnic_packet *p,
			struct sk_buff *skb, unsigned int pos)
{
	unsigned int offset, len, truesize, nr = 0;
	netmem_ref netmem;

	for (; pos < p->skb->len; pos += len) {
		len = p->skb->len - pos;
		if (nr == MAX_SKB_FRAGS)
			return false;
		netmem = memnic_buffer(q, &offset, &len, &truesize);
		if (!netmem)
			return false;
		/* From here on it is the packet's. */
		skb_add_rx_frag_netmem(skb, nr++, netmem, offset, len,
				       truesize);
		if (!memnic_write(q, p, pos, netmem, offset, len))
			return false;
	}
	return true;
}

/* Bytes of a packet that are for linear memory: headers, or all. */
static unsigned int memnic_headers(struct memnic_queue *q,
				   const struct sk_buff *skb)
{
	unsigned int headers;

	if (!memnic_is_tcp(skb))
		return skb->len;
	headers = eth_get_headlen(skb->dev, skb->data, skb_headlen(skb));
	if (READ_ONCE(q->nic->split) &&
	    skb->len - headers > READ_ONCE(q->nic->hds_thresh))
		return headers;
	atomic64_add(skb->len - headers, &q->stats.linear_bytes);
	return skb->len;
}

/* What the receiver's stack gets of a packet, or NULL. */
static struct sk_buff *memnic_build(struct memnic_queue *q,
				    const struct memnic_packet *p)
{
	unsigned int headers = memnic_headers(q, p->skb);
	struct sk_buff *skb = napi_alloc_skb(&q->napi, headers);

	if (!skb)
		return NULL;
	skb_mark_for_recycle(skb);
	if (!memnic_fetch(p, 0, skb_put(skb, headers), headers) ||
	    !memnic_fill(q, p, skb, headers)) {
		dev_kfree_skb_any(skb);
		return NULL;
	}
	/* The wire makes no mistakes. */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb_record_rx_queue(skb, q - q->nic->queue);
	return skb;
}

static void memnic_receive(struct memnic_queue *q, struct memnic_packet *p)
{
	struct net_device *dev = q->nic->dev;
	static atomic_t packets;
	struct sk_buff *skb;

	if (memnic_nth(&packets, READ_ONCE(drop_nth))) {
		atomic64_inc(&q->stats.lost);
		return;
	}
	skb = memnic_build(q, p);
	if (!skb) {
		atomic64_inc(&q->stats.starved);
		dev_core_stats_rx_dropped_inc(dev);
		return;
	}
	atomic64_inc(&q->stats.packets);
	dev_sw_netstats_rx_add(dev, skb->len);
	skb->protocol = eth_type_trans(skb, dev);
	napi_gro_receive(&q->napi, skb);
}

static struct memnic_packet *memnic_next(struct memnic_queue *q)
{
	struct memnic_packet *p;

	guard(spinlock_bh)(&q->lock);
	p = list_first_entry_or_null(&q->wire, struct memnic_packet, list);
	if (!p)
		return NULL;
	list_del(&p->list);
	/* Somebody may be waiting: in xmit, a full queue stops the sender. */
	if (--q->len == MEMNIC_RING / 2)
		netif_wake_queue(q->nic->peer->dev);
	return p;
}

static int memnic_poll(struct napi_struct *napi, int budget)
{
	struct memnic_queue *q = container_of(napi, struct memnic_queue, napi);
	struct memnic_packet *p;
	int done;

	for (done = 0; done < budget; done++) {
		p = memnic_next(q);
		if (!p)
			break;
		memnic_receive(q, p);
		memnic_sent(p);
	}
	if (done < budget)
		napi_complete_done(napi, done);
	return done;
}

/* ---- Queues ---- */

static struct page_pool *memnic_pool(struct memnic *nic, unsigned int n)
{
	struct page_pool_params params = {
		.pool_size	= 1024,
		.nid		= NUMA_NO_NODE,
		.dev		= nic->dma,
		.napi		= &nic->queue[n].napi,
		.dma_dir	= DMA_FROM_DEVICE,
		.max_len	= PAGE_SIZE,
		.netdev		= nic->dev,
		.queue_idx	= n,
		.flags		= PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV |
				  PP_FLAG_ALLOW_UNREADABLE_NETMEM,
	};

	return page_pool_create(&params);
}

/* With the buffers that are in ->pool. */
static void memnic_queue_up(struct memnic_queue *q)
{
	struct net_device *dev = q->nic->dev;

	netif_queue_set_napi(dev, q - q->nic->queue, NETDEV_QUEUE_TYPE_RX,
			     &q->napi);
	napi_enable_locked(&q->napi);
	guard(spinlock_bh)(&q->lock);
	q->up = true;
	/* What came while it was exchanged. */
	if (q->len)
		napi_schedule(&q->napi);
}

/* Packets that wait stay, in case that the queue is back soon. */
static void memnic_queue_down(struct memnic_queue *q)
{
	napi_disable_locked(&q->napi);
	netif_queue_set_napi(q->nic->dev, q - q->nic->queue,
			     NETDEV_QUEUE_TYPE_RX, NULL);
}

/* Nobody receives them any more. */
static void memnic_queue_flush(struct memnic_queue *q)
{
	struct memnic_packet *p;

	scoped_guard(spinlock_bh, &q->lock)
		q->up = false;
	while ((p = memnic_next(q)))
		memnic_sent(p);
}

static int memnic_queue_mem_alloc(struct net_device *dev,
				  struct netdev_queue_config *qcfg,
				  void *per_queue_mem, int idx)
{
	struct memnic_queue_mem *mem = per_queue_mem;
	struct page_pool *pool = memnic_pool(netdev_priv(dev), idx);

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	mem->pool = pool;
	return 0;
}

static void memnic_queue_mem_free(struct net_device *dev, void *per_queue_mem)
{
	struct memnic_queue_mem *mem = per_queue_mem;

	page_pool_destroy(mem->pool);
}

static int memnic_queue_start(struct net_device *dev,
			      struct netdev_queue_config *qcfg,
			      void *per_queue_mem, int idx)
{
	struct memnic_queue_mem *mem = per_queue_mem;
	struct memnic *nic = netdev_priv(dev);

	nic->queue[idx].pool = mem->pool;
	memnic_queue_up(&nic->queue[idx]);
	return 0;
}

static int memnic_queue_stop(struct net_device *dev, void *per_queue_mem,
			     int idx)
{
	struct memnic_queue_mem *mem = per_queue_mem;
	struct memnic *nic = netdev_priv(dev);

	memnic_queue_down(&nic->queue[idx]);
	mem->pool = nic->queue[idx].pool;
	page_pool_disable_direct_recycling(mem->pool);
	return 0;
}

static const struct netdev_queue_mgmt_ops memnic_queue_ops = {
	.ndo_queue_mem_size	= sizeof(struct memnic_queue_mem),
	.ndo_queue_mem_alloc	= memnic_queue_mem_alloc,
	.ndo_queue_mem_free	= memnic_queue_mem_free,
	.ndo_queue_start	= memnic_queue_start,
	.ndo_queue_stop		= memnic_queue_stop,
};

/* ---- The device ---- */

static void memnic_pools_destroy(struct memnic *nic, unsigned int nr)
{
	while (nr--) {
		page_pool_destroy(nic->queue[nr].pool);
		nic->queue[nr].pool = NULL;
	}
}

/* Called with the instance lock held, as stop. */
static int memnic_open(struct net_device *dev)
{
	struct memnic *nic = netdev_priv(dev);
	unsigned int i;

	for (i = 0; i < MEMNIC_QUEUES; i++) {
		struct page_pool *pool = memnic_pool(nic, i);

		if (IS_ERR(pool)) {
			memnic_pools_destroy(nic, i);
			return PTR_ERR(pool);
		}
		nic->queue[i].pool = pool;
	}
	for (i = 0; i < MEMNIC_QUEUES; i++)
		memnic_queue_up(&nic->queue[i]);
	netif_carrier_on(dev);
	netif_start_queue(dev);
	return 0;
}

static int memnic_stop(struct net_device *dev)
{
	struct memnic *nic = netdev_priv(dev);
	unsigned int i;

	netif_stop_queue(dev);
	netif_carrier_off(dev);
	for (i = 0; i < MEMNIC_QUEUES; i++) {
		memnic_queue_down(&nic->queue[i]);
		memnic_queue_flush(&nic->queue[i]);
	}
	memnic_pools_destroy(nic, MEMNIC_QUEUES);
	return 0;
}

static const struct net_device_ops memnic_ops = {
	.ndo_open		= memnic_open,
	.ndo_stop		= memnic_stop,
	.ndo_start_xmit		= memnic_xmit,
	.ndo_set_mac_address	= eth_mac_addr,
	.ndo_validate_addr	= eth_validate_addr,
};

static void memnic_get_drvinfo(struct net_device *dev,
			       struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "memnic");
}

static void memnic_get_ringparam(struct net_device *dev,
				 struct ethtool_ringparam *ring,
				 struct kernel_ethtool_ringparam *kernel_ring,
				 struct netlink_ext_ack *extack)
{
	ring->rx_max_pending = MEMNIC_RING;
	ring->rx_pending = MEMNIC_RING;
	ring->tx_max_pending = MEMNIC_RING;
	ring->tx_pending = MEMNIC_RING;
	kernel_ring->hds_thresh_max = PAGE_SIZE;
}

/* Only headers can be set, and the next packet looks. */
static int memnic_set_ringparam(struct net_device *dev,
				struct ethtool_ringparam *ring,
				struct kernel_ethtool_ringparam *kernel_ring,
				struct netlink_ext_ack *extack)
{
	struct memnic *nic = netdev_priv(dev);

	WRITE_ONCE(nic->split, kernel_ring->tcp_data_split !=
			       ETHTOOL_TCP_DATA_SPLIT_DISABLED);
	WRITE_ONCE(nic->hds_thresh, kernel_ring->hds_thresh);
	return 0;
}

static void memnic_get_channels(struct net_device *dev,
				struct ethtool_channels *channels)
{
	channels->max_rx = MEMNIC_QUEUES;
	channels->rx_count = MEMNIC_QUEUES;
	channels->max_tx = 1;
	channels->tx_count = 1;
}

static const struct ethtool_ops memnic_ethtool_ops = {
	.supported_ring_params	= ETHTOOL_RING_USE_TCP_DATA_SPLIT |
				  ETHTOOL_RING_USE_HDS_THRS,
	.get_drvinfo		= memnic_get_drvinfo,
	.get_link		= ethtool_op_get_link,
	.get_ringparam		= memnic_get_ringparam,
	.set_ringparam		= memnic_set_ringparam,
	.get_channels		= memnic_get_channels,
};

/* A line for each queue. */
static int memnic_stats_show(struct seq_file *m, void *unused)
{
	struct memnic *nic = m->private;
	unsigned int i;

	for (i = 0; i < MEMNIC_QUEUES; i++) {
		struct memnic_stats *s = &nic->queue[i].stats;

		seq_printf(m, "queue=%u packets=%lld dma_bytes=%lld unreadable=%lld linear_bytes=%lld lost=%lld starved=%lld\n",
			   i, atomic64_read(&s->packets),
			   atomic64_read(&s->dma_bytes),
			   atomic64_read(&s->unreadable),
			   atomic64_read(&s->linear_bytes),
			   atomic64_read(&s->lost),
			   atomic64_read(&s->starved));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memnic_stats);

/* ---- Setting up ---- */

static void memnic_queue_init(struct memnic *nic, unsigned int n)
{
	struct memnic_queue *q = &nic->queue[n];

	q->nic = nic;
	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->wire);
	netif_napi_add_config(nic->dev, &q->napi, memnic_poll, n);
}

/* It does DMA to all memory, and no IOMMU knows it. */
static struct device *memnic_dma_device(unsigned int n)
{
	struct platform_device *pdev;
	int error;

	pdev = platform_device_register_simple("memnic", n, NULL, 0);
	if (IS_ERR(pdev))
		return ERR_CAST(pdev);
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (!error)
		return &pdev->dev;
	platform_device_unregister(pdev);
	return ERR_PTR(error);
}

static struct memnic *memnic_alloc(unsigned int n)
{
	struct device *dma = memnic_dma_device(n);
	struct net_device *dev;
	struct memnic *nic;
	unsigned int i;

	if (IS_ERR(dma))
		return ERR_CAST(dma);
	dev = alloc_etherdev_mqs(sizeof(*nic), 1, MEMNIC_QUEUES);
	if (!dev) {
		platform_device_unregister(to_platform_device(dma));
		return ERR_PTR(-ENOMEM);
	}
	nic = netdev_priv(dev);
	nic->dev = dev;
	nic->dma = dma;
	SET_NETDEV_DEV(dev, dma);
	snprintf(dev->name, sizeof(dev->name), "memnic%u", n);
	eth_hw_addr_random(dev);
	dev->netdev_ops = &memnic_ops;
	dev->ethtool_ops = &memnic_ethtool_ops;
	dev->queue_mgmt_ops = &memnic_queue_ops;
	dev->netmem_tx = NETMEM_TX_DMA;
	dev->features |= NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA;
	dev->hw_features = dev->features;
	dev->max_mtu = MEMNIC_MAX_MTU;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	nic->split = split;
	dev->cfg->hds_config = split ? ETHTOOL_TCP_DATA_SPLIT_ENABLED :
				       ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	for (i = 0; i < MEMNIC_QUEUES; i++)
		memnic_queue_init(nic, i);
	return nic;
}

static void memnic_free(struct memnic *nic)
{
	struct device *dma = nic->dma;

	free_netdev(nic->dev);
	platform_device_unregister(to_platform_device(dma));
}

static int __init memnic_init(void)
{
	int error;

	memnics[0] = memnic_alloc(0);
	if (IS_ERR(memnics[0]))
		return PTR_ERR(memnics[0]);
	memnics[1] = memnic_alloc(1);
	if (IS_ERR(memnics[1])) {
		error = PTR_ERR(memnics[1]);
		goto free_first;
	}
	memnics[0]->peer = memnics[1];
	memnics[1]->peer = memnics[0];
	error = register_netdev(memnics[0]->dev);
	if (error)
		goto free_both;
	error = register_netdev(memnics[1]->dev);
	if (error)
		goto unregister;
	memnic_dir = debugfs_create_dir("memnic", NULL);
	debugfs_create_file("memnic0", 0444, memnic_dir, memnics[0],
			    &memnic_stats_fops);
	debugfs_create_file("memnic1", 0444, memnic_dir, memnics[1],
			    &memnic_stats_fops);
	return 0;

unregister:
	unregister_netdev(memnics[0]->dev);
free_both:
	memnic_free(memnics[1]);
free_first:
	memnic_free(memnics[0]);
	return error;
}
module_init(memnic_init);

MODULE_DESCRIPTION("A pair of network devices for tests of memory providers");
MODULE_LICENSE("GPL");
