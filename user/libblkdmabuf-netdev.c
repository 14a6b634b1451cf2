// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The two messages of generic netlink's family "netdev" that bind a dma-buf.  See
 * Documentation/netlink/specs/netdev.yaml.
 */
#include <errno.h>
#include <linux/posix_types.h>
#include <linux/genetlink.h>
#include <linux/netdev.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netdev.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK	270
#endif

/* Queues of more than any device has, and an answer with its attributes. */
#define MSG_BYTES	16384

struct message {
	struct nlmsghdr		nl;
	struct genlmsghdr	genl;
	char			attrs[MSG_BYTES - sizeof(struct nlmsghdr) -
				      sizeof(struct genlmsghdr)];
};

static void begin(struct message *m, uint16_t family, uint8_t cmd)
{
	memset(m, 0, sizeof(*m));
	m->nl.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->nl.nlmsg_type = family;
	m->nl.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	m->genl.cmd = cmd;
	m->genl.version = NETDEV_FAMILY_VERSION;
}

/* An attribute; NULL if the message is full. */
static struct nlattr *put(struct message *m, uint16_t type, const void *data,
			  uint16_t len)
{
	struct nlattr *attr = (void *)((char *)m + m->nl.nlmsg_len);

	if (m->nl.nlmsg_len + NLA_HDRLEN + NLA_ALIGN(len) > sizeof(*m))
		return NULL;
	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)attr + NLA_HDRLEN, data, len);
	m->nl.nlmsg_len += NLA_HDRLEN + NLA_ALIGN(len);
	return attr;
}

static struct nlattr *put_u32(struct message *m, uint16_t type, uint32_t val)
{
	return put(m, type, &val, sizeof(val));
}

/* Attribute @type among those in @len bytes, or NULL. */
static const struct nlattr *find(const void *attrs, size_t len, uint16_t type)
{
	const struct nlattr *attr = attrs;

	while (len >= NLA_HDRLEN && attr->nla_len >= NLA_HDRLEN &&
	       attr->nla_len <= len) {
		size_t step = NLA_ALIGN(attr->nla_len);

		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		if (step > len)
			break;
		len -= step;
		attr = (const void *)((const char *)attr + step);
	}
	return NULL;
}

/* What an acknowledgement says: 0 or -errno, and the text to it in *@why. */
static int acknowledged(const struct nlmsghdr *nl, char **why)
{
	const struct nlmsgerr *err = NLMSG_DATA(nl);
	const struct nlattr *text;
	size_t skip = sizeof(*err);

	if (!err->error || !(nl->nlmsg_flags & NLM_F_ACK_TLVS))
		return err->error;
	if (!(nl->nlmsg_flags & NLM_F_CAPPED))
		skip += NLMSG_ALIGN(err->msg.nlmsg_len) - sizeof(err->msg);
	if (NLMSG_HDRLEN + skip > nl->nlmsg_len)
		return err->error;
	text = find((const char *)err + skip,
		    nl->nlmsg_len - NLMSG_HDRLEN - skip, NLMSGERR_ATTR_MSG);
	if (text)
		*why = strndup((const char *)text + NLA_HDRLEN,
			       text->nla_len - NLA_HDRLEN);
	return err->error;
}

/* Send @m and wait for the acknowledgement; the answer, if any, gets to @m. */
static int talk(int sk, struct message *m, char **why)
{
	static __thread char buf[MSG_BYTES]
		__attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *nl;
	ssize_t len;

	if (send(sk, m, m->nl.nlmsg_len, 0) < 0)
		return -errno;
	m->nl.nlmsg_len = 0;
	for (;;) {
		len = recv(sk, buf, sizeof(buf), 0);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		for (nl = (void *)buf; NLMSG_OK(nl, len);
		     nl = NLMSG_NEXT(nl, len)) {
			if (nl->nlmsg_type == NLMSG_ERROR)
				return acknowledged(nl, why);
			memcpy(m, nl, nl->nlmsg_len);
		}
	}
}

/* An attribute of the answer, of 2 or 4 bytes. */
static int answer(const struct message *m, uint16_t type, void *val, size_t size)
{
	const struct nlattr *attr = NULL;

	if (m->nl.nlmsg_len > NLMSG_LENGTH(GENL_HDRLEN))
		attr = find(m->attrs, m->nl.nlmsg_len -
			    NLMSG_LENGTH(GENL_HDRLEN), type);
	if (!attr || attr->nla_len < NLA_HDRLEN + size)
		return -EBADMSG;
	memcpy(val, (const char *)attr + NLA_HDRLEN, size);
	return 0;
}

static int find_family(int sk, uint16_t *family)
{
	char *why = NULL;
	struct message m;
	int ret;

	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	put(&m, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY_NAME,
	    sizeof(NETDEV_FAMILY_NAME));
	ret = talk(sk, &m, &why);
	free(why);
	return ret ?: answer(&m, CTRL_ATTR_FAMILY_ID, family, sizeof(*family));
}

static int open_socket(void)
{
	int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	int on = 1;

	if (sk < 0)
		return -errno;
	setsockopt(sk, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(sk, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return sk;
}

static bool put_queues(struct message *m, const uint32_t *queues,
		       unsigned int nr)
{
	while (nr--) {
		struct nlattr *nest = put(m, NETDEV_A_DMABUF_QUEUES |
					  NLA_F_NESTED, NULL, 0);
		uint32_t start = m->nl.nlmsg_len;

		if (!nest || !put_u32(m, NETDEV_A_QUEUE_ID, *queues++) ||
		    !put_u32(m, NETDEV_A_QUEUE_TYPE, NETDEV_QUEUE_TYPE_RX))
			return false;
		nest->nla_len += m->nl.nlmsg_len - start;
	}
	return true;
}

static int bind_on(int sk, uint8_t cmd, const char *ifname, int fd,
		   const uint32_t *queues, unsigned int nr, uint32_t *id,
		   char **why)
{
	unsigned int ifindex = if_nametoindex(ifname);
	struct message m;
	uint16_t family;
	int ret;

	if (!ifindex)
		return -errno;
	ret = find_family(sk, &family);
	if (ret)
		return ret;
	begin(&m, family, cmd);
	put_u32(&m, NETDEV_A_DMABUF_IFINDEX, ifindex);
	put_u32(&m, NETDEV_A_DMABUF_FD, fd);
	if (!put_queues(&m, queues, nr))
		return -E2BIG;
	ret = talk(sk, &m, why);
	return ret ?: answer(&m, NETDEV_A_DMABUF_ID, id, sizeof(*id));
}

static int netdev_bind(uint8_t cmd, const char *ifname, int fd,
		       const uint32_t *queues, unsigned int nr, uint32_t *id,
		       char **why)
{
	int sk = open_socket(), ret;

	*why = NULL;
	if (sk < 0)
		return sk;
	ret = bind_on(sk, cmd, ifname, fd, queues, nr, id, why);
	if (!ret)
		return sk;
	close(sk);
	return ret;
}

int netdev_bind_rx(const char *ifname, int fd, const uint32_t *queues,
		   unsigned int nr, uint32_t *id, char **why)
{
	return netdev_bind(NETDEV_CMD_BIND_RX, ifname, fd, queues, nr, id, why);
}

int netdev_bind_tx(const char *ifname, int fd, uint32_t *id, char **why)
{
	return netdev_bind(NETDEV_CMD_BIND_TX, ifname, fd, NULL, 0, id, why);
}
