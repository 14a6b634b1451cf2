// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network devices that tests of devmem TCP run on: what one sends the other
 * receives, to memory of a dma-buf where a queue is bound to one, and out of it.
 * No byte is wrong, none is copied by the network stack, and what cannot be bound
 * is refused.  Without that, tests of storage that shares a buffer with them would
 * show nothing.
 *
 * vm: iommu=strict nvme=2 cpus=4
 */
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "dmabuf.h"
#include "module.h"
#include "tap.h"

#define PORT		7000	/* of queue 0, see kmod/memnic.c */
#define QUEUE		2
#define BUF		(8 * MIB)
#define BYTES		(16 * MIB)
#define HERE		"10.77.0.1"
#define THERE		"10.77.0.2"

#ifndef SO_DEVMEM_DMABUF
#define SO_DEVMEM_LINEAR	78
#define SO_DEVMEM_DMABUF	79
#define SO_DEVMEM_DONTNEED	80
#endif
#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM		0x2000000
#endif

/* As linux/uio.h has them, which does not go with sys/uio.h. */
struct dmabuf_cmsg {
	uint64_t	frag_offset;
	uint32_t	frag_size;
	uint32_t	frag_token;
	uint32_t	dmabuf_id;
	uint32_t	flags;
};

struct dmabuf_token {
	uint32_t	token_start;
	uint32_t	token_count;
};

/* ---- two ends ---- */

static void run(const char *line)
{
	if (system(line))
		tap_fail(__FILE__, __LINE__, "%s", line);
}

static void knob(const char *name, unsigned int val)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/memnic/parameters/%s", name);
	f = fopen(path, "w");
	CHECK(f);
	fprintf(f, "%u", val);
	CHECK_EQ(fclose(f), 0);
}

/* A number of a queue of memnic0. */
static unsigned long long stat_of(unsigned int queue, const char *name)
{
	char line[512], *at;
	unsigned long long val = 0;
	FILE *f = fopen("/sys/kernel/debug/memnic/memnic0", "r");

	CHECK(f);
	while (queue-- + 1)
		CHECK(fgets(line, sizeof(line), f));
	at = strstr(line, name);
	CHECK(at && sscanf(at + strlen(name), "=%llu", &val) == 1);
	fclose(f);
	return val;
}

/* memnic0 is here, memnic1 in a namespace of its own. */
static void wire_up(unsigned int mtu)
{
	char line[128];

	need_module("memnic");
	if (access("/run/netns/memnic", F_OK))
		run("ip netns add memnic && ip link set memnic1 netns memnic && "
		    "ip addr add " HERE "/24 dev memnic0 && "
		    "ip -n memnic addr add " THERE "/24 dev memnic1");
	knob("buffer", 4096);
	knob("packed", 0);
	knob("shift", 0);
	knob("drop_nth", 0);
	knob("starve_nth", 0);
	snprintf(line, sizeof(line),
		 "ip link set memnic0 mtu %u up && ip -n memnic link set memnic1 mtu %u up",
		 mtu, mtu);
	run(line);
}

static void enter_peer(void)
{
	int fd = open("/run/netns/memnic", O_RDONLY);

	CHECK(fd >= 0);
	CHECK_EQ(setns(fd, CLONE_NEWNET), 0);
	close(fd);
}

static struct sockaddr_in address(const char *ip, unsigned int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port),
	};

	CHECK_EQ(inet_pton(AF_INET, ip, &a.sin_addr), 1);
	return a;
}

static int listen_on(unsigned int port)
{
	struct sockaddr_in a = address(HERE, port);
	int sk = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	int bytes = 2 * MIB;

	CHECK(sk >= 0);
	setsockopt(sk, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* What may be on its way has room in the buffer. */
	setsockopt(sk, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	CHECK_EQ(bind(sk, (void *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(sk, 1), 0);
	return sk;
}

/* A process at the other end that sends what belongs to position 0 and on. */
static pid_t send_from_peer(unsigned int port, uint64_t bytes, uint64_t seed)
{
	struct sockaddr_in a = address(HERE, port);
	static unsigned char mem[256 * KIB];
	uint64_t pos = 0;
	pid_t pid;
	int sk;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_peer();
	sk = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(sk, (void *)&a, sizeof(a)))
		_exit(1);
	while (pos < bytes) {
		size_t len = bytes - pos < sizeof(mem) ? bytes - pos :
			     sizeof(mem), done = 0;

		data_fill(mem, pos, len, seed);
		while (done < len) {
			ssize_t ret = send(sk, mem + done, len - done, 0);

			if (ret <= 0)
				_exit(2);
			done += ret;
		}
		pos += len;
	}
	close(sk);
	_exit(0);
}

static void joined(pid_t pid)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

/* ---- a queue and its buffer ---- */

struct bound {
	int		fd;
	int		binding;
	uint32_t	id;
	unsigned char	*mem;
};

static int try_bind(struct bound *b, unsigned int queue)
{
	char *why = NULL;
	int ret;

	ret = blkdmabuf_net_bind_rx("memnic0", b->fd, &queue, 1, &b->id, &why);
	if (ret < 0)
		printf("# %s\n", why ?: strerror(-ret));
	free(why);
	return ret;
}

static void buffer_up(struct bound *b)
{
	b->fd = blkdmabuf_udmabuf(BUF, 0);
	CHECK(b->fd >= 0);
	b->mem = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	CHECK(b->mem != MAP_FAILED);
	memset(b->mem, POISON, BUF);
}

static void bind_up(struct bound *b)
{
	buffer_up(b);
	b->binding = try_bind(b, QUEUE);
	CHECK(b->binding >= 0);
}

/* Bytes of a piece that are not those of the stream at @pos. */
static size_t wrong(const unsigned char *piece, uint64_t pos, size_t len,
		    uint64_t seed)
{
	size_t i, bad = 0;

	for (i = 0; i < len; i++) {
		uint64_t at = pos + i, word = data_word(at & ~7ULL, seed);

		bad += piece[i] != ((unsigned char *)&word)[at & 7];
	}
	return bad;
}

struct received {
	uint64_t	bytes;
	uint64_t	pieces;
	size_t		wrong;
};

/* Take the pieces of one message out of @b, and give them back. */
static void take(int sk, struct msghdr *msg, struct bound *b, uint64_t seed,
		 struct received *r)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		struct dmabuf_token token = { .token_count = 1 };
		struct dmabuf_cmsg piece;

		CHECK_EQ(cm->cmsg_level, SOL_SOCKET);
		/* Data that is in no buffer would be SO_DEVMEM_LINEAR. */
		CHECK_EQ(cm->cmsg_type, SO_DEVMEM_DMABUF);
		memcpy(&piece, CMSG_DATA(cm), sizeof(piece));
		CHECK_EQ(piece.dmabuf_id, b->id);
		CHECK(piece.frag_offset + piece.frag_size <= BUF);
		r->wrong += wrong(b->mem + piece.frag_offset, r->bytes,
				  piece.frag_size, seed);
		r->bytes += piece.frag_size;
		r->pieces++;
		token.token_start = piece.frag_token;
		CHECK_EQ(setsockopt(sk, SOL_SOCKET, SO_DEVMEM_DONTNEED, &token,
				    sizeof(token)), 1);
	}
}

static struct received receive_all(int sk, struct bound *b, uint64_t seed)
{
	static unsigned char canary[64 * KIB], control[32 * KIB];
	struct received r = {};
	ssize_t ret;

	memset(canary, POISON, sizeof(canary));
	for (;;) {
		struct iovec iov = { canary, sizeof(canary) };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		uint64_t before = r.bytes;

		ret = recvmsg(sk, &msg, MSG_SOCK_DEVMEM);
		if (ret < 0)
			tap_fail(__FILE__, __LINE__, "recvmsg: %s",
				 strerror(errno));
		if (!ret)
			break;
		CHECK(!(msg.msg_flags & MSG_CTRUNC));
		take(sk, &msg, b, seed, &r);
		CHECK_EQ(r.bytes - before, ret);
	}
	/* No CPU has copied anything. */
	for (ret = 0; ret < (ssize_t)sizeof(canary); ret++)
		if (canary[ret] != POISON)
			tap_fail(__FILE__, __LINE__, "the canary at %zd", ret);
	return r;
}

static void receive_to_buffer(uint64_t bytes)
{
	unsigned long long before = stat_of(QUEUE, "unreadable");
	struct bound b;
	struct received r;
	int listener, sk;
	pid_t pid;

	bind_up(&b);
	listener = listen_on(PORT + QUEUE);
	pid = send_from_peer(PORT + QUEUE, bytes, 7);
	sk = accept(listener, NULL, NULL);
	CHECK(sk >= 0);
	r = receive_all(sk, &b, 7);
	printf("# %llu bytes in %llu pieces\n", (unsigned long long)r.bytes,
	       (unsigned long long)r.pieces);
	CHECK_EQ(r.bytes, bytes);
	CHECK_EQ(r.wrong, 0);
	CHECK(stat_of(QUEUE, "unreadable") - before >= bytes);
	joined(pid);
	close(sk);
	close(listener);
	close(b.binding);
}

/* ---- the wire ---- */

TEST(plain_sockets_through_it)
{
	static unsigned char mem[64 * KIB];
	uint64_t pos = 0;
	size_t bad = 0;
	ssize_t ret;
	int listener, sk;
	pid_t pid;

	wire_up(1500);
	listener = listen_on(PORT + 1);
	pid = send_from_peer(PORT + 1, BYTES, 3);
	sk = accept(listener, NULL, NULL);
	CHECK(sk >= 0);
	while ((ret = recv(sk, mem, sizeof(mem), 0)) > 0) {
		bad += wrong(mem, pos, ret, 3);
		pos += ret;
	}
	CHECK_EQ(ret, 0);
	CHECK_EQ(pos, BYTES);
	CHECK_EQ(bad, 0);
	joined(pid);
}

/* ---- binding ---- */

TEST(bound_and_unbound_200_times_up_and_down)
{
	struct bound b;
	int i;

	wire_up(1500);
	buffer_up(&b);
	for (i = 0; i < 200; i++) {
		if (i % 4 == 1)
			run("ip link set memnic0 down");
		b.binding = try_bind(&b, i % 4);
		CHECK(b.binding >= 0);
		if (i % 4 == 1)
			run("ip link set memnic0 up");
		close(b.binding);
	}
	receive_to_buffer(MIB);
}

TEST(what_cannot_be_bound_is_refused)
{
	struct bound b, other;

	wire_up(1500);
	bind_up(&b);
	buffer_up(&other);
	/* Taken, not there, no dma-buf. */
	CHECK(try_bind(&other, QUEUE) < 0);
	CHECK(try_bind(&other, 4) < 0);
	close(other.fd);
	other.fd = open("/dev/null", O_RDWR);
	CHECK(try_bind(&other, 1) < 0);
	close(b.binding);
}

/* ---- receiving to a buffer ---- */

TEST(packets_of_1500_bytes)
{
	wire_up(1500);
	receive_to_buffer(BYTES);
}

TEST(packets_of_a_page_of_data)
{
	wire_up(4148);
	receive_to_buffer(BYTES);
}

TEST(buffers_of_half_a_page)
{
	wire_up(9000);
	knob("buffer", 2048);
	receive_to_buffer(BYTES);
}

TEST(pieces_that_share_a_page)
{
	wire_up(1500);
	knob("packed", 1);
	receive_to_buffer(BYTES);
}

TEST(pieces_that_begin_at_odd_bytes)
{
	wire_up(1500);
	knob("packed", 1);
	knob("shift", 3);
	receive_to_buffer(BYTES);
}

TEST(packets_that_get_lost)
{
	wire_up(4148);
	knob("drop_nth", 100);
	receive_to_buffer(4 * MIB);
	knob("drop_nth", 0);
}

TEST(no_buffers_now_and_then)
{
	wire_up(4148);
	knob("starve_nth", 101);
	receive_to_buffer(4 * MIB);
	knob("starve_nth", 0);
}

/* ---- sending from a buffer ---- */

/* Wait until the memory of what was sent is ours again. */
static void reap_sent(int sk, uint32_t sends)
{
	uint32_t done = 0;

	while (done < sends) {
		char control[128];
		struct msghdr msg = {
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		struct sock_extended_err err;
		struct cmsghdr *cm;

		if (recvmsg(sk, &msg, MSG_ERRQUEUE) < 0) {
			CHECK_EQ(errno, EAGAIN);
			sleep_ms(1);
			continue;
		}
		cm = CMSG_FIRSTHDR(&msg);
		CHECK(cm);
		memcpy(&err, CMSG_DATA(cm), sizeof(err));
		CHECK_EQ(err.ee_errno, 0);
		CHECK_EQ(err.ee_origin, SO_EE_ORIGIN_ZEROCOPY);
		CHECK(!(err.ee_code & SO_EE_CODE_ZEROCOPY_COPIED));
		done = err.ee_data + 1;
	}
}

static void send_piece(int sk, uint32_t id, uint64_t offset, size_t len)
{
	char control[CMSG_SPACE(sizeof(id))] = {};
	struct iovec iov = { (void *)(uintptr_t)offset, len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SO_DEVMEM_DMABUF;
	cm->cmsg_len = CMSG_LEN(sizeof(id));
	memcpy(CMSG_DATA(cm), &id, sizeof(id));
	if (sendmsg(sk, &msg, MSG_ZEROCOPY) != (ssize_t)len)
		tap_fail(__FILE__, __LINE__, "sendmsg: %s", strerror(errno));
}

/* At the other end, ordinary memory. */
static pid_t receive_at_peer(unsigned int port, uint64_t bytes, uint64_t seed,
			     int ready)
{
	struct sockaddr_in a = address(THERE, port);
	static unsigned char mem[64 * KIB];
	int sk, on = 1, listener;
	uint64_t pos = 0;
	ssize_t ret;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_peer();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)&a, sizeof(a)) || listen(listener, 1))
		_exit(1);
	if (write(ready, "", 1) != 1)
		_exit(1);
	sk = accept(listener, NULL, NULL);
	while ((ret = recv(sk, mem, sizeof(mem), 0)) > 0) {
		if (wrong(mem, pos, ret, seed))
			_exit(2);
		pos += ret;
	}
	_exit(ret || pos != bytes ? 3 : 0);
}

TEST(sent_out_of_a_buffer)
{
	struct sockaddr_in a = address(THERE, PORT + 1);
	int sk, on = 1, pipes[2];
	uint64_t offset;
	struct bound b;
	char *why, c;
	pid_t pid;

	wire_up(4148);
	buffer_up(&b);
	data_fill(b.mem, 0, BUF, 5);
	b.binding = blkdmabuf_net_bind_tx("memnic0", b.fd, &b.id, &why);
	if (b.binding < 0)
		tap_fail(__FILE__, __LINE__, "%s", why ?: strerror(-b.binding));
	CHECK_EQ(pipe(pipes), 0);
	pid = receive_at_peer(PORT + 1, BUF, 5, pipes[1]);
	CHECK_EQ(read(pipes[0], &c, 1), 1);
	sk = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(setsockopt(sk, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)), 0);
	CHECK_EQ(setsockopt(sk, SOL_SOCKET, SO_BINDTODEVICE, "memnic0", 8), 0);
	CHECK_EQ(connect(sk, (void *)&a, sizeof(a)), 0);
	for (offset = 0; offset < BUF; offset += 64 * KIB)
		send_piece(sk, b.id, offset, 64 * KIB);
	reap_sent(sk, BUF / (64 * KIB));
	close(sk);
	joined(pid);
	close(b.binding);
}

int main(int argc, char **argv)
{
	return tap_main(argc, argv, NULL);
}
