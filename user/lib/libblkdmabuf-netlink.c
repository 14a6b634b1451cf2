// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Netlink without a library: see netlink.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK	270
#endif

int netlink_open(int protocol)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	int on = 1;

	if (sock < 0)
		return -errno;
	/* Kernels that know neither say the error alone. */
	setsockopt(sock, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return sock;
}

void netlink_begin(struct netlink_request *req, uint16_t family, uint8_t cmd)
{
	*req = (struct netlink_request) {
		.nlh = { .nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
			 .nlmsg_type = family },
		.genl = { .cmd = cmd, .version = 1 },
	};
}

struct nlattr *netlink_put(struct netlink_request *req, uint16_t type,
			   const void *data, size_t len)
{
	struct nlattr *attr = (void *)((char *)req +
				       NLMSG_ALIGN(req->nlh.nlmsg_len));

	if ((char *)attr + NLA_HDRLEN + NLA_ALIGN(len) > (char *)(req + 1))
		return NULL;
	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)attr + NLA_HDRLEN, data, len);
	req->nlh.nlmsg_len = NLMSG_ALIGN(req->nlh.nlmsg_len) + NLA_HDRLEN +
			     NLA_ALIGN(len);
	return attr;
}

void netlink_find(const void *attrs, size_t len, const struct nlattr **found,
		  unsigned int max)
{
	const struct nlattr *attr = attrs;
	unsigned int type;

	for (type = 0; type <= max; type++)
		found[type] = NULL;
	while (len >= NLA_HDRLEN && attr->nla_len >= NLA_HDRLEN &&
	       attr->nla_len <= len) {
		type = attr->nla_type & NLA_TYPE_MASK;
		if (type <= max)
			found[type] = attr;
		if ((size_t)NLA_ALIGN(attr->nla_len) >= len)
			break;
		len -= NLA_ALIGN(attr->nla_len);
		attr = (void *)((char *)attr + NLA_ALIGN(attr->nla_len));
	}
}

void netlink_find_genl(const struct nlmsghdr *nlh, const struct nlattr **found,
		       unsigned int max)
{
	netlink_find((char *)NLMSG_DATA(nlh) + GENL_HDRLEN,
		     nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), found, max);
}

/* An acknowledgement, and the kernel's words, which stand behind what was asked. */
static int read_error(const struct nlmsghdr *nlh, char **why)
{
	const struct nlmsgerr *err = NLMSG_DATA(nlh);
	const struct nlattr *found[NLMSGERR_ATTR_MSG + 1], *text;
	size_t skip = NLMSG_LENGTH(sizeof(*err));

	if (!why || !err->error || !(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return err->error;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += NLMSG_ALIGN(err->msg.nlmsg_len) - sizeof(err->msg);
	if (skip > nlh->nlmsg_len)
		return err->error;
	netlink_find((const char *)nlh + skip, nlh->nlmsg_len - skip, found,
		     NLMSGERR_ATTR_MSG);
	text = found[NLMSGERR_ATTR_MSG];
	if (text)
		*why = strndup(netlink_data(text), text->nla_len - NLA_HDRLEN);
	return err->error;
}

int netlink_read(const void *buf, int len, netlink_answer answer, void *arg,
		 char **why)
{
	const struct nlmsghdr *nlh = buf;

	for (; NLMSG_OK(nlh, (unsigned int)len); nlh = NLMSG_NEXT(nlh, len)) {
		if (nlh->nlmsg_type == NLMSG_DONE)
			return 0;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			return read_error(nlh, why);
		if (answer)
			answer(nlh, arg);
	}
	return 1;
}

int netlink_ask(int sock, struct netlink_request *req, netlink_answer answer,
		void *arg, char **why)
{
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	int ret, len;

	/* Without NLM_F_DUMP there is one answer, and the acknowledgement. */
	req->nlh.nlmsg_flags |= NLM_F_REQUEST |
		(req->nlh.nlmsg_flags & NLM_F_DUMP ? 0 : NLM_F_ACK);
	ret = send(sock, req, req->nlh.nlmsg_len, 0) < 0 ? -errno : 1;
	while (ret > 0) {
		len = recv(sock, buf, sizeof(buf), 0);
		if (len >= 0)
			ret = netlink_read(buf, len, answer, arg, why);
		else if (errno != EINTR)
			ret = -errno;
	}
	return ret;
}

static void family_answer(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *found[CTRL_ATTR_FAMILY_ID + 1];

	netlink_find_genl(nlh, found, CTRL_ATTR_FAMILY_ID);
	if (found[CTRL_ATTR_FAMILY_ID])
		*(uint16_t *)arg = *(const uint16_t *)
			netlink_data(found[CTRL_ATTR_FAMILY_ID]);
}

int netlink_family(int sock, const char *name)
{
	struct netlink_request req;
	uint16_t id = 0;
	int ret;

	netlink_begin(&req, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	netlink_put(&req, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
	ret = netlink_ask(sock, &req, family_answer, &id, NULL);
	return ret ?: id;
}
