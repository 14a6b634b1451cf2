/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl receive, send: what their files share.
 *
 *  net.c	the NIC: what it can, what is in the way; sockets
 *  wire.c	a transfer: set up, wait, tell, take down
 *  receive.c	receive, and devmem TCP's part of it
 *  zcrx.c	io_uring's part of it
 *  pieces.c	from pieces of the stream to whole blocks
 *  send.c	send
 */
#ifndef BLKDMABUFCTL_WIRE_H
#define BLKDMABUFCTL_WIRE_H

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include <liburing.h>

#include "blkdmabufctl.h"

#define MAX_QUEUES	64	/* bits of struct netif.taken */

/**
 * struct netif - a network device, as it was when netif_look() looked
 * @name: its name
 * @index: its number in this network namespace
 * @driver: name of its driver, empty if it has none
 * @up: it is up
 * @rx_queues: receive queues
 * @taken: receive queues that have memory of somebody else, one bit each
 * @split: ETHTOOL_TCP_DATA_SPLIT_*: are headers split off?
 * @rings: the driver tells @split and @hds_thresh
 * @hds_thresh: shorter packets are not split
 * @xdp: an XDP program is attached
 */
struct netif {
	const char	*name;
	unsigned int	index;
	char		driver[32];
	bool		up;
	unsigned int	rx_queues;
	uint64_t	taken;
	unsigned int	split;
	bool		rings;
	uint32_t	hds_thresh;
	bool		xdp;
};

int netif_look(struct netif *nic, const char *name);
int netif_need(struct netif *nic, const char *name);
const char *netif_obstacle(const struct netif *nic, uint32_t queue,
			   const char **advice);
int netif_pick_queues(const struct netif *nic, const struct options *o,
		      uint32_t *queues, unsigned int *nr);
int netif_bind_rx(const struct netif *nic, int dmabuf, const uint32_t *queues,
		  unsigned int nr, uint32_t *id);
int netif_bind_tx(const struct netif *nic, int dmabuf, uint32_t *id);
int netif_refused(const struct netif *nic, const char *what, uint32_t queue,
		  int err, const char *why);
int netif_watch(void);
int netif_watched(int watch, const struct netif *nic);

int address_parse(const char *text, bool listen, struct addrinfo **found);
const char *address_text(int sock, bool peer);
int socket_listen(const struct addrinfo *to, const struct netif *nic,
		  uint64_t rcvbuf);
int socket_open(const struct addrinfo *to, const struct netif *nic);
void socket_reset_at_end(int sock, bool reset);

/* ---- Pieces ---- */

/**
 * struct piece - a part of the stream, where it is
 * @offset: in the buffer
 * @len: bytes
 * @token: names it to the socket
 * @taken: bytes of it that commands have, or had
 * @users: commands that need it, and one as long as not all of it is taken
 * @linear: bytes that came in no buffer; NULL if they did
 */
struct piece {
	uint64_t	offset;
	uint32_t	len;
	uint32_t	token;
	uint32_t	taken;
	uint32_t	users;
	char		*linear;
};

enum command_kind {
	FREE,		/* none */
	PLAIN,		/* one range of the buffer */
	VECTORED,	/* pieces of the buffer */
	BOUNCED,	/* copied: a range of the bounce area */
	TO_BOUNCE,	/* it was VECTORED and refused, and will be BOUNCED */
};

/**
 * struct command - a write to the storage
 * @kind: see above
 * @first: number of the first piece it needs
 * @last: number of the last
 * @skip: bytes of the first that are not its
 * @at: where in the stream
 * @len: bytes of the stream
 * @fill: zeros behind them that fill the last block of a file
 * @moved: bytes that are done
 * @slot: of the channel
 * @offset: in the buffer of that slot
 * @vecs: of VECTORED, as long as the kernel may look
 */
struct command {
	enum command_kind	kind;
	uint64_t		first;
	uint64_t		last;
	uint32_t		skip;
	uint64_t		at;
	uint32_t		len;
	uint32_t		fill;
	uint32_t		moved;
	uint32_t		slot;
	uint64_t		offset;
	struct blk_dmabuf_vec	*vecs;
};

/**
 * struct sink - where the stream goes
 * @pieces: a ring of the pieces that came; they are counted from 0
 * @mask: size of the ring - 1
 * @head: first that is needed
 * @next: first that is not all taken
 * @tail: number of the next one
 * @queued: bytes that came and are not taken
 * @at: bytes that are taken
 * @commands: one for each that may be in flight
 * @map: the buffer in our memory, once something had to be copied
 * @bounce: the bounce area, -1 as long as nothing had to be copied
 * @bounce_slot: of the channel
 * @bounce_map: the bounce area in our memory
 * @vec_align: alignment of pieces in a vectored command, 0: takes none
 * @vec_refused: vectored commands that the device has refused
 * @held: pieces that the socket has not got back
 * @held_max: out: most of these at a time
 * @received: out: pieces
 * @direct: out: commands without a copy
 * @vectored: out: of these, those with several pieces
 * @bounced: out: commands with a copy
 * @copied: out: bytes, by the reason
 */
struct sink {
	struct piece	*pieces;
	uint64_t	mask;
	uint64_t	head;
	uint64_t	next;
	uint64_t	tail;
	uint64_t	queued;
	uint64_t	at;
	struct command	*commands;
	char		*map;
	int		bounce;
	uint32_t	bounce_slot;
	char		*bounce_map;
	uint32_t	vec_align;
	uint32_t	vec_refused;
	uint64_t	held;
	uint64_t	held_max;
	uint64_t	received;
	uint64_t	direct;
	uint64_t	vectored;
	uint64_t	bounced;
	struct {
		uint64_t	unaligned;
		uint64_t	linear;
		uint64_t	tail;
	} copied;
};

/* ---- A transfer ---- */

/* What a completion is of: the upper byte of its user data. */
enum tag { TAG_COMMAND = 1, TAG_SOCKET, TAG_ERRORS, TAG_LINK, TAG_ZCRX };

#define TAG(tag, n)	((uint64_t)(tag) << 56 | (n))
#define TAG_OF(user)	((enum tag)((user) >> 56))
#define NUMBER_OF(user)	((user) & ((1ULL << 56) - 1))

struct wire;

/**
 * struct engine - a way to receive
 * @name: for --engine
 * @bind: give the buffer to the queues; exit code
 * @receive: take some of what came, or see to it that we are told when something
 *	comes; is there more to take?
 * @complete: a completion of its own; may be NULL
 * @release: the storage has a piece
 * @give_back: hand over what was released; may be NULL
 * @free: end what @bind began, once nothing is in flight; may be NULL
 */
struct engine {
	const char	*name;
	int		(*bind)(struct wire *w);
	bool		(*receive)(struct wire *w);
	void		(*complete)(struct wire *w,
				    const struct io_uring_cqe *cqe);
	void		(*release)(struct wire *w, const struct piece *p);
	void		(*give_back)(struct wire *w);
	void		(*free)(struct wire *w);
};

extern const struct engine engine_devmem;
extern const struct engine engine_zcrx;

/**
 * struct wire - a transfer between storage and wire
 * @o: command line
 * @name: name of the command
 * @engine: of receive
 * @dev: device or file
 * @chan: channel for it
 * @slot: slot of the buffer
 * @limits: what the channel takes
 * @unit: positions and lengths of I/O are multiples of this
 * @pos: first byte on the device or in the file
 * @size: bytes of the device, or that the file had
 * @ctl: control
 * @registered: id of the registration that was made for the buffer, or 0
 * @dmabuf: the buffer
 * @buf_size: bytes of it
 * @nic: the network device
 * @queues: receive queues that the buffer is for
 * @nr_queues: how many
 * @binding: netlink socket; the queues get their own memory back with its end
 * @binding_id: names the binding to sockets
 * @zcrx: what engine_zcrx has
 * @address: to listen at, or to connect to
 * @sock: the connection
 * @peer: its other end
 * @watch: netlink socket that tells when the network device goes
 * @ring: for all that we wait for
 * @has_ring: it is there
 * @polls: which polls are pending, one bit for each tag
 * @inflight: commands that are
 * @complete: what to do with a completion that is not a poll's
 * @sink: of receive
 * @sender: of send
 * @tcp_copied: bytes that the kernel copied to send them
 * @ended: the stream has ended
 * @length: bytes to move, or LENGTH_UNKNOWN
 * @received: bytes that came
 * @done: out: bytes that have arrived, without a gap
 * @progress: when it began, 0 as long as it has not
 * @seconds: out
 * @before: what was refused before the first I/O
 * @failed: what stopped it; .what is NULL if nothing did
 */
struct wire {
	const struct options		*o;
	const char			*name;
	const struct engine		*engine;
	struct device			dev;
	int				chan;
	uint32_t			slot;
	struct blk_dmabuf_limits	limits;
	uint32_t			unit;
	uint64_t			pos;
	uint64_t			size;
	struct blkdmabuf_ctl		*ctl;
	int				dmabuf;
	uint64_t			buf_size;
	struct netif			nic;
	uint32_t			queues[MAX_QUEUES];
	unsigned int			nr_queues;
	int				binding;
	uint32_t			binding_id;
	struct zcrx			*zcrx;
	struct addrinfo			*address;
	int				sock;
	char				peer[80];
	int				watch;
	struct io_uring			ring;
	bool				has_ring;
	unsigned int			polls;
	unsigned int			inflight;
	void				(*complete)(struct wire *w,
					const struct io_uring_cqe *cqe);
	struct sink			sink;
	struct sender			*sender;
	uint64_t			tcp_copied;
	bool				ended;
	uint64_t			length;
	uint64_t			received;
	uint64_t			done;
	struct progress			progress;
	double				seconds;
	struct blk_dmabuf_features	before;
	struct failure			failed;
};

int wire_open(struct wire *w, const struct options *o, const char *name,
	      int flags);
int wire_buffer(struct wire *w, uint64_t size);
int wire_register(struct wire *w, int dmabuf, uint32_t *slot);
int wire_check_options(const struct options *o, const char *name);
int wire_ring(struct wire *w);
void wire_close(struct wire *w);

struct io_uring_sqe *wire_sqe(struct wire *w, uint64_t user);
void wire_poll(struct wire *w, enum tag tag, int fd, short events);
void wire_wait(struct wire *w, bool block);
bool wire_stopping(const struct wire *w);
struct json_object *wire_json(const struct wire *w);
void wire_print(const struct wire *w, FILE *f);
int wire_result(struct wire *w);

void wire_stopped(struct wire *w, const struct failure *f);

/* The first error is the one to tell. */
#define wire_stop(w, ...) \
	wire_stopped(w, &(const struct failure) { __VA_ARGS__ })

/* For engines. */
uint64_t wire_left(const struct wire *w);
bool wire_full(struct wire *w);
void wire_not_steered(struct wire *w);
void wire_receive_failed(struct wire *w, int err);

int sink_open(struct wire *w);
void sink_close(struct wire *w);
void sink_add(struct wire *w, uint64_t offset, uint32_t len, uint32_t token);
void sink_add_linear(struct wire *w, const char *bytes, uint32_t len);
uint64_t sink_room(const struct wire *w);
void sink_flush(struct wire *w);
void sink_complete(struct wire *w, const struct io_uring_cqe *cqe);
uint64_t sink_arrived(const struct wire *w);

#endif /* BLKDMABUFCTL_WIRE_H */
