/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Dma-bufs that a network device receives to and sends from (devmem TCP). */
#ifndef NETDEV_H
#define NETDEV_H

#include <stdint.h>

/**
 * netdev_bind_rx - let receive queues of a network device use a dma-buf
 * @ifname: the device, in the network namespace of the caller
 * @fd: the dma-buf
 * @queues: its receive queues
 * @nr: how many
 * @id: out: the binding, for the control messages of recvmsg()
 * @why: out: what the kernel says to an error, to be freed, or NULL
 *
 * Needs CAP_NET_ADMIN.
 *
 * Return: a socket whose close() ends the binding, or -errno.
 */
int netdev_bind_rx(const char *ifname, int fd, const uint32_t *queues,
		   unsigned int nr, uint32_t *id, char **why);

/** netdev_bind_tx - let a network device send from a dma-buf; as for receiving */
int netdev_bind_tx(const char *ifname, int fd, uint32_t *id, char **why);

#endif /* NETDEV_H */
