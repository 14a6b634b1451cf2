// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl receive --engine zcrx: io_uring's zero-copy receive into the
 * buffer.
 *
 * One ring carries both: a completion of RECV_ZC says where in the buffer a piece
 * is, a command of the channel writes it from there, and an entry in the refill
 * ring, which the kernel reads without a system call, gives its memory back.
 *
 * liburing may be older than all of this, so its structures are the kernel's own.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire.h"

/* By its path in build/, because <linux/io_uring/> would be the kernel's own. */
#include "linux/include/uapi/linux/io_uring/zcrx.h"

/* Of <linux/io_uring.h>, which liburing has an older copy of. */
#define OP_RECV_ZC		58
#define REGISTER_ZCRX_IFQ	32
#define REGISTER_ZCRX_CTRL	36
#define RECV_MULTISHOT		(1U << 1)
#define REGION_TYPE_USER	1
#define CQE_MORE		(1U << 1)

struct region_desc {
	uint64_t	user_addr;
	uint64_t	size;
	uint32_t	flags;
	uint32_t	id;
	uint64_t	mmap_offset;
	uint64_t	resv[4];
};

#define MAX_REFILL		32768	/* what the kernel takes */

/* A piece may hold a page: this much of each is taken to be payload. */
#define BYTES_PER_PIECE		512
#define MAX_BUDGET		(1U << 30)	/* fits an SQE */

/**
 * struct zcrx - the queue of the NIC that the ring has
 * @id: names it to the kernel
 * @token: goes into each offset that is given back
 * @region: memory of the refill ring
 * @region_size: bytes of it
 * @head: the kernel's end of the refill ring
 * @tail: ours
 * @rqes: its entries
 * @entries: how many
 * @armed: a RECV_ZC is pending
 * @budget: bytes that it may still receive
 */
struct zcrx {
	uint32_t			id;
	uint64_t			token;
	char				*region;
	uint64_t			region_size;
	uint32_t			*head;
	uint32_t			*tail;
	struct io_uring_zcrx_rqe	*rqes;
	uint32_t			entries;
	bool				armed;
	uint64_t			budget;
};

static uint32_t refill_entries(const struct wire *w)
{
	uint32_t entries = 64;

	while (entries < MAX_REFILL &&
	       entries < w->buf_size / sysconf(_SC_PAGESIZE))
		entries *= 2;
	return entries;
}

static int make_region(struct zcrx *z)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	/* The first page has head and tail, and what the kernel adds. */
	z->region_size = page + round_up(z->entries * sizeof(*z->rqes), page);
	z->region = mmap(NULL, z->region_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (z->region != MAP_FAILED)
		return 0;
	z->region = NULL;
	return -errno;
}

static int register_queue(struct wire *w, struct zcrx *z)
{
	struct io_uring_zcrx_area_reg area = {
		.len = w->buf_size, .flags = IORING_ZCRX_AREA_DMABUF,
		.dmabuf_fd = w->dmabuf,
	};
	struct region_desc region = {
		.user_addr = (uintptr_t)z->region, .size = z->region_size,
		.flags = REGION_TYPE_USER,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = w->nic.index, .if_rxq = w->queues[0],
		.rq_entries = z->entries,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
	};
	int ret = io_uring_register(w->ring.ring_fd, REGISTER_ZCRX_IFQ, &reg,
				    1);

	if (ret < 0)
		return ret;
	z->id = reg.zcrx_id;
	z->token = area.rq_area_token;
	z->entries = reg.rq_entries;
	z->head = (uint32_t *)(z->region + reg.offsets.head);
	z->tail = (uint32_t *)(z->region + reg.offsets.tail);
	z->rqes = (void *)(z->region + reg.offsets.rqes);
	return 0;
}

static int zcrx_bind(struct wire *w)
{
	struct zcrx *z = calloc(1, sizeof(*z));
	int ret = -ENOMEM;

	w->zcrx = z;
	if (z) {
		z->entries = refill_entries(w);
		ret = make_region(z);
	}
	if (!ret)
		ret = register_queue(w, z);
	if (!ret)
		return EXIT_OK;
	return netif_refused(&w->nic, say("give a dma-buf by io_uring to "
					  "receive queue %u of", w->queues[0]),
			     w->queues[0], ret, NULL);
}

/* A request of the kernel ends by itself when it has received what it may. */
static bool zcrx_receive(struct wire *w)
{
	uint64_t budget = sink_room(w) * BYTES_PER_PIECE;
	struct zcrx *z = w->zcrx;
	struct io_uring_sqe *sqe;

	if (z->armed || w->ended || !budget || wire_full(w))
		return false;
	budget = MIN(MIN(budget, MAX_BUDGET), wire_left(w));
	sqe = wire_sqe(w, TAG(TAG_ZCRX, 0));
	if (!sqe)
		return false;
	io_uring_prep_rw(OP_RECV_ZC, sqe, w->sock, NULL, budget, 0);
	sqe->ioprio = RECV_MULTISHOT;
	sqe->file_index = z->id;	/* zcrx_ifq_idx in newer headers */
	sqe->user_data = TAG(TAG_ZCRX, 0);
	z->armed = true;
	z->budget = budget;
	return false;
}

static void zcrx_complete(struct wire *w, const struct io_uring_cqe *cqe)
{
	const struct io_uring_zcrx_cqe *where = (const void *)cqe->big_cqe;
	struct zcrx *z = w->zcrx;

	if (!(cqe->flags & CQE_MORE))
		z->armed = false;
	if (cqe->res > 0) {
		z->budget -= cqe->res;
		sink_add(w, where->off & ~IORING_ZCRX_AREA_MASK, cqe->res, 0);
	} else if (!cqe->res) {
		/* It has had its share, or there is nothing any more. */
		w->ended = z->budget > 0;
	} else if (cqe->res == -ENOMEM || cqe->res == -EFAULT) {
		wire_not_steered(w);
	} else if (cqe->res != -ENOSPC && cqe->res != -EINTR) {
		/* With ENOSPC it only had no room for completions. */
		wire_receive_failed(w, cqe->res);
	}
}

/* More pieces than pages can make the refill ring overflow. */
static void flush_refill(struct wire *w)
{
	struct zcrx_ctrl ctrl = {
		.zcrx_id = w->zcrx->id, .op = ZCRX_CTRL_FLUSH_RQ,
	};
	int ret = io_uring_register(w->ring.ring_fd, REGISTER_ZCRX_CTRL, &ctrl,
				    0);

	if (ret < 0)
		wire_stop(w, .what = "give memory back to",
			  .object = w->nic.name, .err = ret);
}

/* The kernel looks into the refill ring when it needs memory. */
static void zcrx_release(struct wire *w, const struct piece *p)
{
	struct zcrx *z = w->zcrx;
	uint32_t tail = *z->tail;

	if (tail - __atomic_load_n(z->head, __ATOMIC_ACQUIRE) == z->entries)
		flush_refill(w);
	z->rqes[tail & (z->entries - 1)] = (struct io_uring_zcrx_rqe) {
		.off = p->offset | z->token, .len = p->len,
	};
	__atomic_store_n(z->tail, tail + 1, __ATOMIC_RELEASE);
}

/* The queue gets its own memory back when the ring ends. */
static void zcrx_free(struct wire *w)
{
	struct zcrx *z = w->zcrx;

	if (!z)
		return;
	if (w->has_ring)
		io_uring_queue_exit(&w->ring);
	w->has_ring = false;
	if (z->region)
		munmap(z->region, z->region_size);
	free(z);
	w->zcrx = NULL;
}

const struct engine engine_zcrx = {
	.name		= "zcrx",
	.bind		= zcrx_bind,
	.receive	= zcrx_receive,
	.complete	= zcrx_complete,
	.release	= zcrx_release,
	.free		= zcrx_free,
};
