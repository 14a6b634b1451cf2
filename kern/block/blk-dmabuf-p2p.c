// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block I/O on dma-bufs: the way between a device and another one's memory.
 *
 * What is no system RAM is memory of a PCI device, in one of its BARs, or it is
 * refused.  The way to it is told from the topology as it is when a mapping is
 * made, as drivers/pci/p2pdma.c does it for exporters.  DMA that might end
 * elsewhere is refused: a device that writes to nowhere may report success.
 *
 * Runs under the resv lock.  Config space is read, and nothing waits.  Of a
 * bridge no reference is needed: what is below holds it.  Of what is below, the
 * peer is held here, and the device that does DMA by its attachment.
 */
#include <linux/device.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>

#include "blk-dmabuf-internal.h"

/* A port with one of these passes on to the root what peers send each other. */
#define BLK_DMABUF_ACS_REDIRECT	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

static struct pci_dev *blk_dmabuf_pci_dev(struct device *dev)
{
	while (dev && !dev_is_pci(dev))
		dev = dev->parent;
	return dev ? to_pci_dev(dev) : NULL;
}

/* Look for @addr in the BARs of @pdev. */
static bool blk_dmabuf_peer_bar(struct blk_dmabuf_peer *peer,
				struct pci_dev *pdev, u64 addr)
{
	unsigned int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		const struct resource *res = pci_resource_n(pdev, bar);
		u64 start;

		/* What is not claimed may have any address. */
		if (!(res->flags & IORESOURCE_MEM) || !res->parent)
			continue;
		start = peer->bus ? pci_bus_address(pdev, bar) : res->start;
		if (addr < start || addr - start >= resource_size(res))
			continue;
		peer->bar = bar;
		peer->start = start;
		peer->end = start + resource_size(res) - 1;
		return true;
	}
	return false;
}

/**
 * blk_dmabuf_peer_find - find the PCI device that has an address
 * @peer: in: ->dev, ->bus; out: the BAR; to be given to blk_dmabuf_peer_put()
 * @addr: of the CPU, or on the bus with ->bus
 *
 * Once a device was found no other will do.
 *
 * Return: false if no BAR of the device, or of any, holds @addr
 */
bool blk_dmabuf_peer_find(struct blk_dmabuf_peer *peer, u64 addr)
{
	struct pci_dev *client, *pdev = NULL;

	if (peer->provider) {
		if (addr >= peer->start && addr <= peer->end)
			return true;
		return blk_dmabuf_peer_bar(peer, peer->provider, addr);
	}
	client = blk_dmabuf_pci_dev(peer->dev);
	if (!client)
		return false;
	for_each_pci_dev(pdev) {
		/* Each host bridge has bus addresses of its own. */
		if (peer->bus && pci_find_host_bridge(pdev->bus) !=
				 pci_find_host_bridge(client->bus))
			continue;
		if (!blk_dmabuf_peer_bar(peer, pdev, addr))
			continue;
		/* With the reference that the loop would have dropped. */
		peer->provider = pdev;
		peer->node = dev_to_node(&pdev->dev);
		return true;
	}
	return false;
}

void blk_dmabuf_peer_put(struct blk_dmabuf_peer *peer)
{
	pci_dev_put(peer->provider);
	peer->provider = NULL;
}

/* The closest bridge that is above both, or NULL; one of them if it is both. */
static struct pci_dev *blk_dmabuf_common(struct pci_dev *a, struct pci_dev *b)
{
	struct pci_dev *up;

	for (; a; a = pci_upstream_bridge(a))
		for (up = b; up; up = pci_upstream_bridge(up))
			if (up == a)
				return a;
	return NULL;
}

/**
 * struct blk_dmabuf_ports - what is between two devices
 * @redirect: a port passes on to the root what peers send each other
 * @blind: of a bridge it cannot be told what it does with that
 */
struct blk_dmabuf_ports {
	bool	redirect;
	bool	blind;
};

/* A port that does not answer counts as one that redirects. */
static void blk_dmabuf_look_at_port(struct blk_dmabuf_ports *ports,
				    struct pci_dev *pdev)
{
	u16 ctrl = 0;

	if (pdev->acs_cap)
		pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL,
				     &ctrl);
	else if (pci_is_bridge(pdev))
		ports->blind = true;
	if (ctrl & BLK_DMABUF_ACS_REDIRECT)
		ports->redirect = true;
}

static void blk_dmabuf_look_up(struct blk_dmabuf_ports *ports,
			       struct pci_dev *pdev, const struct pci_dev *top)
{
	for (; pdev && pdev != top; pdev = pci_upstream_bridge(pdev))
		blk_dmabuf_look_at_port(ports, pdev);
}

/*
 * Does a switch deliver bus addresses, although an IOMMU would translate them
 * where they got to the root?  Only if there is a switch, and each of its ports
 * on the way could redirect and is known not to.  A port without ACS may do
 * either.
 */
static bool blk_dmabuf_switch_is_sound(const struct blk_dmabuf_ports *ports,
				       struct pci_dev *common)
{
	return common && !ports->redirect && !ports->blind &&
	       pci_is_pcie(common) &&
	       pci_pcie_type(common) == PCI_EXP_TYPE_UPSTREAM;
}

/*
 * A translated address gets to the peer through the IOMMU, hence the root,
 * whatever is in between.  If a switch could have delivered it directly, nobody
 * has looked whether the root passes it on.
 */
static enum blk_dmabuf_reason
blk_dmabuf_choose_path(const struct blk_dmabuf_peer *peer,
		       const struct blk_dmabuf_ports *ports,
		       struct pci_dev *common, union blk_dmabuf_way *way)
{
	bool translated = way->iommu != BLK_DMABUF_IOMMU_OFF &&
			  way->iommu != BLK_DMABUF_IOMMU_PASSTHROUGH;
	bool direct = common && !ports->redirect;

	if (peer->bus && !blk_dmabuf_switch_is_sound(ports, common))
		return BLK_DMABUF_SWITCH;
	if (!peer->bus && translated && direct)
		return BLK_DMABUF_HOST_BRIDGE;
	way->path = direct ? BLK_DMABUF_PATH_P2P_SWITCH :
			     BLK_DMABUF_PATH_P2P_HOST_BRIDGE;
	return BLK_DMABUF_OK;
}

/**
 * blk_dmabuf_peer_way - the way to memory of a peer
 * @peer: the peer, found
 * @way: in: ->iommu; out: the rest, also if it is refused
 *
 * Return: %BLK_DMABUF_OK, or why it is refused
 */
enum blk_dmabuf_reason blk_dmabuf_peer_way(const struct blk_dmabuf_peer *peer,
					   union blk_dmabuf_way *way)
{
	struct pci_dev *client = blk_dmabuf_pci_dev(peer->dev);
	struct pci_dev *provider = peer->provider, *common;
	struct blk_dmabuf_ports ports = {};
	int distance;

	way->domain = pci_domain_nr(provider->bus);
	way->provider = pci_dev_id(provider);
	way->bar = peer->bar;
	common = blk_dmabuf_common(provider, client);
	blk_dmabuf_look_up(&ports, provider, common);
	blk_dmabuf_look_up(&ports, client, common);
	/* As in p2pdma.c the top redirects, too; its type says the rest. */
	if (common && common->acs_cap)
		blk_dmabuf_look_at_port(&ports, common);
	way->acs = ports.redirect;
	/* Knows the root complexes that pass on what peers send each other. */
	distance = pci_p2pdma_distance(provider, peer->dev, false);
	if (distance < 0)
		return BLK_DMABUF_HOST_BRIDGE;
	way->distance = min(distance, BLK_DMABUF_MAX_DISTANCE);
	return blk_dmabuf_choose_path(peer, &ports, common, way);
}
