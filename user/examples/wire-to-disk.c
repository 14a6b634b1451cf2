// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receive a TCP stream with devmem TCP and write it to a device or file, out of
 * the memory that the NIC has put it into.  One sender, then it is over.
 *
 *   wire-to-disk DEVICE|FILE NETDEV QUEUE PORT
 *
 *   cc wire-to-disk.c $(pkg-config --cflags --libs libblkdmabuf) -luring
 *
 * See blkdmabuf-network(7) for what the NIC has to do.  A packet may end within a
 * block; its length has to suit the device, which is a multiple of 4 for most.
 * 'blkdmabufctl receive' takes any, and overlaps storage and wire.
 */
#include "example.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define BUFFER		(32 * MIB)
#define MAX_PIECES	256

/* Out of <linux/uio.h> and <linux/socket.h>, which few distributions have yet. */
enum { DEVMEM_DMABUF = 79, DEVMEM_DONTNEED, SOCK_DEVMEM = 0x2000000 };

struct dmabuf_piece { uint64_t offset; uint32_t len, token, dmabuf, flags; };

/* What the stream has brought and the disk has not, in its order. */
static struct dmabuf_piece pieces[MAX_PIECES];
static uint32_t nr_pieces, bytes;

/* The queue's memory is the buffer as long as the socket is open. */
static uint32_t bind_queue(const char *netdev, uint32_t queue, int dmabuf)
{
	uint32_t id;
	char *why;

	if (blkdmabuf_net_bind_rx(netdev, dmabuf, &queue, 1, &id, &why) < 0)
		errx(EXIT_FAILURE, "%s: %s", netdev, why ? why : "no binding");
	return id;
}

static int wait_for_sender(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port) };
	/* What the socket has not handed out has to fit the buffer. */
	int sock = socket(AF_INET, SOCK_STREAM, 0), room = BUFFER / 8, conn;

	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (sock < 0 || bind(sock, (void *)&addr, sizeof(addr)) ||
	    listen(sock, 1))
		err(EXIT_FAILURE, "port %d", port);
	conn = accept(sock, NULL, NULL);
	return check(conn < 0 ? -errno : conn, "accept");
}

/* Where more pieces are; recvmsg() itself brings no payload. */
static ssize_t receive(int sock, uint32_t id)
{
	char control[MAX_PIECES * CMSG_SPACE(sizeof(*pieces))];
	static char linear[256 * KIB];
	struct iovec iov = { linear, sizeof(linear) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = (MAX_PIECES - nr_pieces) *
						CMSG_SPACE(sizeof(*pieces)) };
	ssize_t len = recvmsg(sock, &msg, SOCK_DEVMEM), total = len;
	struct dmabuf_piece *piece;
	struct cmsghdr *cmsg;

	if (len < 0)
		err(EXIT_FAILURE, "receive");
	bytes += len;
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_type != DEVMEM_DMABUF)
			continue;
		piece = &pieces[nr_pieces++];
		memcpy(piece, CMSG_DATA(cmsg), sizeof(*piece));
		len -= piece->len;
		if (piece->dmabuf != id)
			errx(EXIT_FAILURE, "the stream uses another queue");
	}
	if (len)
		errx(EXIT_FAILURE, "%zd bytes came outside of the buffer", len);
	return total;
}

static void give_back(int sock, uint32_t token)
{
	struct { uint32_t start, count; } tokens = { token, 1 };

	if (setsockopt(sock, SOL_SOCKET, DEVMEM_DONTNEED, &tokens,
		       sizeof(tokens)) != 1)
		err(EXIT_FAILURE, "give memory back");
}

/* Write whole blocks of it; what is less is the beginning of the next one. */
static uint32_t write_blocks(struct blkdmabuf_queue *queue, int chan,
			     uint64_t pos, uint32_t slot, uint32_t block,
			     int sock)
{
	static struct blk_dmabuf_vec vecs[MAX_PIECES];
	uint32_t len = bytes - bytes % block, left = len, nr, i;
	struct blkdmabuf_done done;

	for (nr = 0; left; left -= vecs[nr++].len) {
		vecs[nr].offset = pieces[nr].offset;
		vecs[nr].len = pieces[nr].len < left ? pieces[nr].len : left;
		vecs[nr].slot = slot;
	}
	if (!nr)
		return 0;
	check(blkdmabuf_queue_writev(queue, chan, pos, vecs, nr, 0, 0),
	      "queue a write");
	reap_one(queue, &done, len);
	/* The NIC gets back what is written, and nothing before. */
	for (i = 0; i < nr && vecs[i].len == pieces[i].len; i++)
		give_back(sock, pieces[i].token);
	if (i < nr) {
		pieces[i].offset += vecs[i].len;
		pieces[i].len -= vecs[i].len;
	}
	bytes -= len;
	nr_pieces -= i;
	memmove(pieces, pieces + i, nr_pieces * sizeof(*pieces));
	return len;
}

int main(int argc, char **argv)
{
	struct blk_dmabuf_limits limits;
	struct blkdmabuf_queue *queue;
	struct blkdmabuf_ctl *ctl;
	int file, dmabuf, chan, sock;
	uint32_t slot, id;
	uint64_t pos = 0;

	if (argc != 5)
		errx(2, "usage: %s DEVICE|FILE NETDEV QUEUE PORT", argv[0]);
	file = open_direct(argv[1], O_WRONLY | O_EXCL);
	dmabuf = check(blkdmabuf_udmabuf(BUFFER, 0), "udmabuf");
	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	chan = open_channel(ctl, file, dmabuf, &slot);
	check(blkdmabuf_limits(chan, &limits), "limits");
	check(blkdmabuf_queue_open(&queue, 1), "io_uring");
	id = bind_queue(argv[2], atoi(argv[3]), dmabuf);
	sock = wait_for_sender(atoi(argv[4]));
	while (receive(sock, id) > 0)
		pos += write_blocks(queue, chan, pos, slot,
				    limits.write_block_size, sock);
	if (bytes)
		errx(EXIT_FAILURE, "the last %u bytes are no block", bytes);
	check(fdatasync(file) ? -errno : 0, "flush");
	printf("%llu bytes\n", (unsigned long long)pos);
	return EXIT_SUCCESS;	/* binding and registration end with it */
}
