// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: the NIC.  What it can, what is in the way of a dma-buf on one of
 * its queues and which command mends that, and sockets on it.
 *
 * The kernel says why it refused a binding in words that only netlink has, and
 * io_uring does not.  So the same things are looked up here, and are told for
 * both, and by 'check' before anything is refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/posix_types.h>	/* for the next one */
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/if_link.h>
#include <linux/netdev.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "wire.h"
#include "netlink.h"

/* Newer than the headers of some distributions. */
#define RINGS_TCP_DATA_SPLIT	11
#define RINGS_HDS_THRESH	17

#define SPLIT_OFF		1
#define SPLIT_ON		2

/* ---- What a NIC is like ---- */

static void queue_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attrs[NETDEV_A_QUEUE_MAX + 1];
	struct netif *nic = arg;
	uint32_t id;

	netlink_find_genl(nlh, attrs, NETDEV_A_QUEUE_MAX);
	if (!attrs[NETDEV_A_QUEUE_ID] || !attrs[NETDEV_A_QUEUE_TYPE] ||
	    netlink_u32(attrs[NETDEV_A_QUEUE_TYPE]) != NETDEV_QUEUE_TYPE_RX)
		return;
	id = netlink_u32(attrs[NETDEV_A_QUEUE_ID]);
	if (id >= nic->rx_queues)
		nic->rx_queues = id + 1;
	if (id < MAX_QUEUES && (attrs[NETDEV_A_QUEUE_DMABUF] ||
				attrs[NETDEV_A_QUEUE_IO_URING] ||
				attrs[NETDEV_A_QUEUE_XSK]))
		nic->taken |= 1ULL << id;
}

/* Ask a family of generic netlink about the NIC. */
static int ask_family(const char *name, struct netif *nic,
		      void (*fill)(struct netlink_request *req, int family,
				   const struct netif *nic),
		      netlink_answer answer)
{
	int sock = netlink_open(NETLINK_GENERIC), ret;
	struct netlink_request req;

	if (sock < 0)
		return sock;
	ret = netlink_family(sock, name);
	if (ret >= 0) {
		fill(&req, ret, nic);
		ret = netlink_ask(sock, &req, answer, nic, NULL);
	}
	close(sock);
	return ret;
}

static void queue_request(struct netlink_request *req, int family,
			  const struct netif *nic)
{
	netlink_begin(req, family, NETDEV_CMD_QUEUE_GET);
	req->nlh.nlmsg_flags = NLM_F_DUMP;
	netlink_put(req, NETDEV_A_QUEUE_IFINDEX, &nic->index,
		    sizeof(nic->index));
}

static void rings_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attrs[RINGS_HDS_THRESH + 1];
	struct netif *nic = arg;

	netlink_find_genl(nlh, attrs, RINGS_HDS_THRESH);
	nic->rings = true;
	if (attrs[RINGS_TCP_DATA_SPLIT])
		nic->split = *(const uint8_t *)
			     netlink_data(attrs[RINGS_TCP_DATA_SPLIT]);
	if (attrs[RINGS_HDS_THRESH])
		nic->hds_thresh = netlink_u32(attrs[RINGS_HDS_THRESH]);
}

static void rings_request(struct netlink_request *req, int family,
			  const struct netif *nic)
{
	struct nlattr *header;

	netlink_begin(req, family, ETHTOOL_MSG_RINGS_GET);
	header = netlink_put(req, ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED, NULL,
			     0);
	netlink_put(req, ETHTOOL_A_HEADER_DEV_INDEX, &nic->index,
		    sizeof(nic->index));
	header->nla_len += NLA_HDRLEN + sizeof(nic->index);
}

static void link_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attrs[IFLA_XDP + 1], *xdp[IFLA_XDP_ATTACHED + 1];
	const struct ifinfomsg *link = NLMSG_DATA(nlh);
	struct netif *nic = arg;

	nic->up = link->ifi_flags & IFF_UP;
	netlink_find(link + 1, nlh->nlmsg_len - NLMSG_LENGTH(sizeof(*link)),
		     attrs, IFLA_XDP);
	if (!attrs[IFLA_XDP])
		return;
	netlink_find(netlink_data(attrs[IFLA_XDP]),
		     attrs[IFLA_XDP]->nla_len - NLA_HDRLEN, xdp,
		     IFLA_XDP_ATTACHED);
	nic->xdp = xdp[IFLA_XDP_ATTACHED] &&
		   *(const uint8_t *)netlink_data(xdp[IFLA_XDP_ATTACHED]);
}

static int look_at_link(struct netif *nic)
{
	struct netlink_request req = {
		.nlh = { .nlmsg_len = NLMSG_LENGTH(sizeof(req.link)),
			 .nlmsg_type = RTM_GETLINK },
		.link = { .ifi_index = nic->index },
	};
	int sock = netlink_open(NETLINK_ROUTE), ret;

	if (sock < 0)
		return sock;
	ret = netlink_ask(sock, &req, link_answer, nic, NULL);
	close(sock);
	return ret;
}

static void look_at_driver(struct netif *nic)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (void *)&info };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic->name);
	if (sock < 0)
		return;
	if (!ioctl(sock, SIOCETHTOOL, &ifr))
		snprintf(nic->driver, sizeof(nic->driver), "%.31s",
			 info.driver);
	close(sock);
}

/* What @name is like now, or -errno. */
int netif_look(struct netif *nic, const char *name)
{
	int ret;

	*nic = (struct netif) { .name = name, .index = if_nametoindex(name) };
	if (!nic->index)
		return -errno;
	look_at_driver(nic);
	ret = look_at_link(nic) ?:
	      ask_family(NETDEV_FAMILY_NAME, nic, queue_request, queue_answer);
	/* Not all kernels have this family, and not all drivers know rings. */
	if (!ret)
		ask_family(ETHTOOL_GENL_NAME, nic, rings_request, rings_answer);
	return ret;
}

static const char no_netif[] = "ip link shows those of this network "
			       "namespace; ip netns exec is for another";

/* The same; an exit code. */
int netif_need(struct netif *nic, const char *name)
{
	int ret = netif_look(nic, name);

	if (!ret)
		return EXIT_OK;
	return fail(.what = "look at network device", .object = name,
		    .err = ret, .advice = nic->index ? NULL : no_netif);
}

/*
 * What is known to stand in the way of a buffer on a queue, in the order in which
 * the kernel looks; NULL: nothing.
 */
const char *netif_obstacle(const struct netif *nic, uint32_t queue,
			   const char **advice)
{
	if (queue >= nic->rx_queues) {
		*advice = say("a queue below %u, or ethtool -L %s combined N",
			      nic->rx_queues, nic->name);
		return say("there is no receive queue %u", queue);
	}
	if (nic->rings && nic->split != SPLIT_ON) {
		*advice = say("ethtool -G %s tcp-data-split on", nic->name);
		return nic->split == SPLIT_OFF ?
		       "headers are not split off (tcp-data-split is off)" :
		       "headers are not split off (tcp-data-split is not on)";
	}
	if (nic->hds_thresh) {
		*advice = say("ethtool -G %s hds-thresh 0", nic->name);
		return say("headers of packets up to %u bytes are not split "
			   "off (hds-thresh)", nic->hds_thresh);
	}
	if (nic->xdp) {
		*advice = say("ip link set %s xdp off", nic->name);
		return "an XDP program is attached";
	}
	if (queue < MAX_QUEUES && nic->taken & (1ULL << queue)) {
		*advice = "another --queue, or end who uses it: devmem TCP, "
			  "zcrx or AF_XDP";
		return say("queue %u has memory of somebody else", queue);
	}
	return NULL;
}

/* The last queues that are free, unless --queue names the first. */
int netif_pick_queues(const struct netif *nic, const struct options *o,
		      uint32_t *queues, unsigned int *nr)
{
	unsigned int want = o->queues, i, n = 0;

	*nr = want;
	if (given(o, OPT_QUEUE)) {
		for (i = 0; i < want; i++)
			queues[i] = o->queue + i;
		return EXIT_OK;
	}
	for (i = nic->rx_queues; i-- && n < want;)
		if (i < MAX_QUEUES && !(nic->taken & (1ULL << i)))
			queues[n++] = i;
	if (n == want)
		return EXIT_OK;
	return fail(.what = say("find %u free receive queue%s of", want,
				want == 1 ? "" : "s"),
		    .object = nic->name, .err = -EBUSY,
		    .advice = say("ethtool -L %s combined N for more, or end "
				  "who uses them; ip netns, if it is in "
				  "another", nic->name));
}

/* ---- Binding ---- */

/* What mends it, by words of the kernel; %s is the NIC. */
static const struct {
	const char	*words;
	const char	*advice;
} kernel_words[] = {
	{ "tcp-data-split",	"ethtool -G %s tcp-data-split on" },
	{ "hds-thresh",		"ethtool -G %s hds-thresh 0" },
	{ "XDP",		"ip link set %s xdp off" },
};

static const char *bind_advice(const struct netif *nic, int err,
			       const char *why)
{
	size_t i;

	for (i = 0; why && i < ARRAY_SIZE(kernel_words); i++)
		if (strstr(why, kernel_words[i].words))
			return say(kernel_words[i].advice, nic->name);
	switch (err) {
	case -EOPNOTSUPP:
		return say("another NIC: driver %s cannot give queues memory "
			   "that is not its own", *nic->driver ? nic->driver :
			   "of this device");
	case -EPERM:
	case -EACCES:
		return "run it as root: this needs CAP_NET_ADMIN";
	case -ENODEV:
		return say("ip link set %s up", nic->name);
	case -ENOENT:
		return "boot a kernel with CONFIG_NET_DEVMEM=y";
	case -EBUSY:
	case -EEXIST:
		return "another --queue, or end who uses it";
	}
	return "dmesg, and 'blkdmabufctl check --netdev'";
}

/* Tell why: what was found to be in the way, or what the kernel says, or both. */
int netif_refused(const struct netif *nic, const char *what, uint32_t queue,
		  int err, const char *why)
{
	const char *advice = NULL, *obstacle;
	struct netif now;

	obstacle = netif_obstacle(nic, queue, &advice);
	/* Somebody may have taken it since we looked. */
	if (!obstacle && !netif_look(&now, nic->name))
		obstacle = netif_obstacle(&now, queue, &advice);
	if (!obstacle)
		advice = bind_advice(nic, err, why);
	return fail(.what = what, .object =
		    say("%s%s%s%s%s", nic->name, obstacle ? ": " : "",
			obstacle ?: "", why ? ": the kernel says: " : "",
			why ?: ""), .err = err, .advice = advice);
}

/* The socket that holds the binding, or -1. */
int netif_bind_rx(const struct netif *nic, int dmabuf, const uint32_t *queues,
		  unsigned int nr, uint32_t *id)
{
	char *why = NULL;
	int ret;

	ret = blkdmabuf_net_bind_rx(nic->name, dmabuf, queues, nr, id, &why);
	if (ret < 0) {
		netif_refused(nic, say("bind a dma-buf to receive queue %u of",
				       queues[0]), queues[0], ret, why);
		ret = -1;
	}
	free(why);
	return ret;
}

int netif_bind_tx(const struct netif *nic, int dmabuf, uint32_t *id)
{
	const char *advice;
	char *why = NULL;
	int ret;

	ret = blkdmabuf_net_bind_tx(nic->name, dmabuf, id, &why);
	if (ret < 0) {
		advice = bind_advice(nic, ret, why);
		if (ret == -EOPNOTSUPP)
			advice = say("another NIC: driver %s cannot send from "
				     "a dma-buf", *nic->driver ? nic->driver :
				     "of this device");
		fail(.what = "bind a dma-buf for sending to", .object =
		     say("%s%s%s", nic->name, why ? ": the kernel says: " : "",
			 why ?: ""), .err = ret, .advice = advice);
		ret = -1;
	}
	free(why);
	return ret;
}

/* ---- Watching ---- */

/* A netlink socket that can be read when a network device changes, or -errno. */
int netif_watch(void)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK,
	};
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			  NETLINK_ROUTE);

	if (sock < 0)
		return -errno;
	if (!bind(sock, (struct sockaddr *)&addr, sizeof(addr)))
		return sock;
	close(sock);
	return -errno;
}

struct watched {
	const struct netif	*nic;
	int			err;
};

static void watch_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *link = NLMSG_DATA(nlh);
	struct watched *watched = arg;

	if (link->ifi_index != (int)watched->nic->index)
		return;
	if (nlh->nlmsg_type == RTM_DELLINK)
		watched->err = -ENODEV;
	else if (nlh->nlmsg_type == RTM_NEWLINK &&
		 !(link->ifi_flags & IFF_UP))
		watched->err = -ENETDOWN;
}

/* -ENODEV if the NIC went away, -ENETDOWN if it went down, or 0. */
int netif_watched(int watch, const struct netif *nic)
{
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct watched watched = { .nic = nic };
	int len;

	while ((len = recv(watch, buf, sizeof(buf), 0)) > 0)
		netlink_read(buf, len, watch_answer, &watched, NULL);
	return watched.err;
}

/* ---- Sockets ---- */

/* HOST:PORT, [HOST]:PORT or, to listen, :PORT; an exit code. */
int address_parse(const char *text, bool listen, struct addrinfo **found)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (listen ? AI_PASSIVE : 0),
	};
	const char *option = listen ? "--listen" : "--connect";
	const char *colon = strrchr(text, ':');
	size_t len = colon ? colon - text : 0;
	char host[256];
	int ret;

	if (!colon || !colon[1] || (!len && !listen) || len >= sizeof(host))
		return usage_error_try(say("%s wants ADDR:PORT, not", option),
				       text, "192.0.2.1:5201, or "
				       "[2001:db8::1]:5201");
	if (len > 2 && *text == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)len, text);
	ret = getaddrinfo(len ? host : NULL, colon + 1, &hints, found);
	if (!ret)
		return EXIT_OK;
	return fail(.what = say("find the address of %s:", option),
		    .object = say("%s: %s", text, gai_strerror(ret)),
		    .err = -EADDRNOTAVAIL, .advice = "an address in figures");
}

/* The address of this end of a socket, or of the other one. */
const char *address_text(int sock, bool peer)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char host[64], port[16];

	if (peer ? getpeername(sock, (struct sockaddr *)&addr, &len) :
		   getsockname(sock, (struct sockaddr *)&addr, &len))
		return "an unknown address";
	if (getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return "an unknown address";
	return say(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* A buffer is for one NIC: what comes in or goes out elsewhere cannot use it. */
static int socket_on(const struct addrinfo *to, const struct netif *nic)
{
	int sock = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC |
			  SOCK_NONBLOCK, 0);

	if (sock < 0) {
		fail(.what = "make a socket", .err = -errno);
		return -1;
	}
	if (!setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, nic->name,
			strlen(nic->name)))
		return sock;
	fail(.what = "keep a socket on", .object = nic->name, .err = -errno);
	close(sock);
	return -1;
}

/*
 * What the socket has not handed out yet is in the buffer, too.  The limit has to
 * be there before a connection is, which takes its window from it.
 */
static void limit_receive_buffer(int sock, uint64_t rcvbuf)
{
	int val = rcvbuf / 2;	/* the kernel doubles it */

	if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &val, sizeof(val)))
		setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &val, sizeof(val));
}

/* A socket that listens, or -1. */
int socket_listen(const struct addrinfo *to, const struct netif *nic,
		  uint64_t rcvbuf)
{
	int sock = socket_on(to, nic), one = 1;

	if (sock < 0)
		return -1;
	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	limit_receive_buffer(sock, rcvbuf);
	if (!bind(sock, to->ai_addr, to->ai_addrlen) && !listen(sock, 1))
		return sock;
	fail(.what = "listen on", .object = nic->name, .err = -errno,
	     .advice = errno == EADDRINUSE ? "another port, or see who uses "
	     "it: ss -ltnp" : say("an address of ip addr show %s", nic->name));
	close(sock);
	return -1;
}

/* A socket to connect and to send from the buffer with, or -1. */
int socket_open(const struct addrinfo *to, const struct netif *nic)
{
	int sock = socket_on(to, nic), one = 1;

	if (sock < 0)
		return -1;
	if (!setsockopt(sock, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		return sock;
	fail(.what = "send without copying on", .object = nic->name,
	     .err = -errno);
	close(sock);
	return -1;
}

/*
 * With @reset, however the socket ends, the other side learns that this was not
 * meant to be the end: a process that is killed looks like one that is done
 * otherwise.
 */
void socket_reset_at_end(int sock, bool reset)
{
	struct linger linger = { .l_onoff = reset };

	setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* ---- check ---- */

static void tell_driver(struct checks *c, const struct netif *nic)
{
	char mask[32];

	if (!read_line(say("/sys/class/net/%s/device/dma_mask_bits", nic->name),
		       mask, sizeof(mask)))
		*mask = 0;
	note(c, "nic", "%s, driver %s, %s%s%s", nic->name,
	     *nic->driver ? nic->driver : "none", nic->up ? "up" : "down",
	     *mask ? ", DMA mask of bits: " : "", mask);
}

static void tell_rings(struct checks *c, const struct netif *nic)
{
	if (!nic->rings) {
		note(c, "split", "not known: the driver or the kernel tells "
		     "nothing about rings");
		return;
	}
	tell(c, "split", nic->split == SPLIT_ON ? YES : NO,
	     nic->split == SPLIT_ON ? "headers are split off" :
	     "headers are not split off (tcp-data-split)",
	     say("ethtool -G %s tcp-data-split on", nic->name));
	tell(c, "hds-thresh", nic->hds_thresh ? NO : YES,
	     nic->hds_thresh ? say("packets up to %u bytes are not split",
				   nic->hds_thresh) : "0: of all packets",
	     say("ethtool -G %s hds-thresh 0", nic->name));
}

static void tell_queues(struct checks *c, const struct netif *nic)
{
	unsigned int taken = __builtin_popcountll(nic->taken);

	tell(c, "rx-queues", nic->rx_queues > taken ? YES : NO,
	     say("%u, of which %u have memory of somebody else",
		 nic->rx_queues, taken),
	     say("ethtool -L %s combined N for more", nic->name));
	tell(c, "xdp", nic->xdp ? NO : YES, nic->xdp ?
	     "an XDP program is attached" : "no program is attached",
	     say("ip link set %s xdp off", nic->name));
}

static void try_rx(struct checks *c, const struct netif *nic, int dmabuf,
		   int *binding)
{
	uint32_t queue = 0, id, i;
	const char *obstacle, *advice = NULL;
	char *why = NULL;

	for (i = 0; i < nic->rx_queues && i < MAX_QUEUES; i++)
		if (!(nic->taken & (1ULL << i)))
			queue = i;
	if (given(c->o, OPT_QUEUE))
		queue = c->o->queue;
	*binding = blkdmabuf_net_bind_rx(nic->name, dmabuf, &queue, 1, &id, &why);
	obstacle = netif_obstacle(nic, queue, &advice);
	if (*binding >= 0)
		tell(c, "receive", YES, say("a dma-buf binds to queue %u",
					    queue), NULL);
	else
		tell(c, "receive", NO,
		     say("a dma-buf does not bind to queue %u: %s%s%s", queue,
			 obstacle ?: strerror(-*binding),
			 why ? ": " : "", why ?: ""),
		     advice ?: bind_advice(nic, *binding, why));
	free(why);
}

/* Who only wants to receive can do without. */
static void try_tx(struct checks *c, const struct netif *nic, int dmabuf)
{
	char *why = NULL;
	uint32_t id;
	int ret;

	ret = blkdmabuf_net_bind_tx(nic->name, dmabuf, &id, &why);
	tell(c, "send", ret >= 0 ? YES : INFO, ret >= 0 ?
	     "a dma-buf binds for sending" :
	     say("a dma-buf does not bind for sending: %s%s%s", strerror(-ret),
		 why ? ": " : "", why ?: ""), NULL);
	free(why);
	close_fd(ret);
}

/*
 * The first buffer stays bound, for the caller to close *@binding, while devices
 * are tried with it: that is what sharing means.
 */
void check_netif(struct checks *c, const char *name,
		 const struct buffers *bufs, int *binding)
{
	struct netif nic;

	int ret = netif_look(&nic, name);

	*binding = -1;
	c->object = name;
	if (ret) {
		tell(c, "nic", NO, say("%s: %s", name, strerror(-ret)),
		     nic.index ? "a kernel with CONFIG_NET_DEVMEM=y" :
		     no_netif);
		return;
	}
	tell_driver(c, &nic);
	tell_queues(c, &nic);
	tell_rings(c, &nic);
	if (!bufs->nr) {
		tell(c, "receive", UNKNOWN, "no dma-buf to try it with",
		     "boot a kernel with CONFIG_UDMABUF=y");
		return;
	}
	try_rx(c, &nic, bufs->buffer[0].fd, binding);
	try_tx(c, &nic, bufs->buffer[0].fd);
}
