// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The two messages of generic netlink's family "netdev" that bind a dma-buf.  See
 * Documentation/netlink/specs/netdev.yaml.
 */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <unistd.h>

#include "libblkdmabuf.h"
#include "netlink.h"

#include <linux/netdev.h>

static bool put_queue(struct netlink_request *req, uint32_t id)
{
	const uint32_t type = NETDEV_QUEUE_TYPE_RX;
	struct nlattr *nest;

	nest = netlink_put(req, NETDEV_A_DMABUF_QUEUES | NLA_F_NESTED, NULL, 0);
	if (!nest || !netlink_put(req, NETDEV_A_QUEUE_ID, &id, sizeof(id)) ||
	    !netlink_put(req, NETDEV_A_QUEUE_TYPE, &type, sizeof(type)))
		return false;
	nest->nla_len = (char *)req + req->nlh.nlmsg_len - (char *)nest;
	return true;
}

static void bind_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *found[NETDEV_A_DMABUF_ID + 1];

	netlink_find_genl(nlh, found, NETDEV_A_DMABUF_ID);
	if (found[NETDEV_A_DMABUF_ID])
		*(uint32_t *)arg = netlink_u32(found[NETDEV_A_DMABUF_ID]);
}

static int bind_on(int sock, uint8_t cmd, const char *ifname, int fd,
		   const uint32_t *queues, unsigned int nr, uint32_t *id,
		   char **why)
{
	uint32_t ifindex = if_nametoindex(ifname), dmabuf = fd;
	int family = netlink_family(sock, NETDEV_FAMILY_NAME);
	struct netlink_request req;

	if (!ifindex)
		return -ENODEV;
	if (family < 0)
		return family;
	netlink_begin(&req, family, cmd);
	netlink_put(&req, NETDEV_A_DMABUF_IFINDEX, &ifindex, sizeof(ifindex));
	netlink_put(&req, NETDEV_A_DMABUF_FD, &dmabuf, sizeof(dmabuf));
	while (nr--)
		if (!put_queue(&req, *queues++))
			return -E2BIG;
	return netlink_ask(sock, &req, bind_answer, id, why);
}

static int netdev_bind(uint8_t cmd, const char *ifname, int fd,
		       const uint32_t *queues, unsigned int nr, uint32_t *id,
		       char **why)
{
	int sock = netlink_open(NETLINK_GENERIC), ret;

	*why = NULL;
	if (sock < 0)
		return sock;
	ret = bind_on(sock, cmd, ifname, fd, queues, nr, id, why);
	if (!ret)
		return sock;
	close(sock);
	return ret;
}

int blkdmabuf_net_bind_rx(const char *ifname, int fd, const uint32_t *queues,
		   unsigned int nr, uint32_t *id, char **why)
{
	return netdev_bind(NETDEV_CMD_BIND_RX, ifname, fd, queues, nr, id, why);
}

int blkdmabuf_net_bind_tx(const char *ifname, int fd, uint32_t *id, char **why)
{
	return netdev_bind(NETDEV_CMD_BIND_TX, ifname, fd, NULL, 0, id, why);
}
