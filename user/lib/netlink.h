/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Netlink, as far as a NIC that shares a buffer needs it: one request, and a call
 * for each answer.  The library's, not exported, and blkdmabufctl's.
 */
#ifndef NETLINK_H
#define NETLINK_H

#include <stddef.h>
#include <stdint.h>

#include <linux/posix_types.h>	/* for the next one */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

struct netlink_request {
	struct nlmsghdr			nlh;
	union {
		struct genlmsghdr	genl;
		struct ifinfomsg	link;
	};
	char				attrs[4096];
};

typedef void (*netlink_answer)(const struct nlmsghdr *nlh, void *arg);

/* A socket that gets the kernel's words to an error, or -errno. */
int netlink_open(int protocol);

/* The number of a family of generic netlink, or -errno. */
int netlink_family(int sock, const char *name);

/* Begin a request to a family. */
void netlink_begin(struct netlink_request *req, uint16_t family, uint8_t cmd);

/* Add an attribute, which may be nested: NULL if there is no room for it. */
struct nlattr *netlink_put(struct netlink_request *req, uint16_t type,
			   const void *data, size_t len);

/*
 * Send a request and take what comes: 0 or -errno, and then in *@why, to be freed,
 * what the kernel says to it, or NULL.  @why and @answer may be NULL.
 */
int netlink_ask(int sock, struct netlink_request *req, netlink_answer answer,
		void *arg, char **why);

/* What was received: 0 at its end, 1 if there is more to come, or -errno. */
int netlink_read(const void *buf, int len, netlink_answer answer, void *arg,
		 char **why);

/* Attributes by their type, NULL for those that are not there; others are left out. */
void netlink_find(const void *attrs, size_t len, const struct nlattr **found,
		  unsigned int max);

/* The same of an answer of generic netlink. */
void netlink_find_genl(const struct nlmsghdr *nlh, const struct nlattr **found,
		       unsigned int max);

static inline const void *netlink_data(const struct nlattr *attr)
{
	return (const char *)attr + NLA_HDRLEN;
}

static inline uint32_t netlink_u32(const struct nlattr *attr)
{
	return *(const uint32_t *)netlink_data(attr);
}

#endif /* NETLINK_H */
