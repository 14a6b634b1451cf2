// SPDX-License-Identifier: GPL-2.0-only
/*
 * An engine for fio: I/O on dma-bufs through /dev/blkdmabuf.
 *
 *   make fio
 *   DEV=/dev/nvme0n1 fio user/fio/verify.fio
 *
 * fio's I/O memory is the mapping of the dma-bufs, one behind the other, so
 * that what it fills in and verifies is what the device reads and writes.
 * Buffers are made, or taken from a registration, when fio wants memory; they
 * are registered on the disk of each file, unless they are there already, when
 * it is opened.  Registrations that are made here end with the job.
 *
 * The manual is fio-blkdmabuf(1).
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fio.h"
#include "optgroup.h"

#include "libblkdmabuf.h"
#include "shuffled.h"

/* Slots are few, and a buffer takes one on the channel of each file. */
#define MAX_BUFFERS	64

enum buffer_kind { KIND_UDMABUF, KIND_HUGETLB, KIND_SHUFFLED, KIND_HEAP };

/* fio wants the first member to be a pointer of its own. */
struct engine_options {
	void		*td;
	unsigned int	kind;
	char		*heap;
	unsigned int	buffers;
	unsigned int	id;
	unsigned int	buf_offset;
	unsigned int	slot;
	unsigned int	any_slot;
	unsigned int	hint;
	unsigned int	piece;
	unsigned int	hipri;
};

/**
 * struct engine - one job
 * @ring: its ring
 * @ctl: control, loaded when something has to be registered
 * @events: what getevents() has found
 * @vecs: with the option piece, room for the pieces of each I/O
 * @max_vecs: pieces of the largest I/O
 * @mem: I/O memory
 * @bytes: size of it
 * @part: bytes of it that a buffer has
 * @buffers: how many there are
 * @dmabuf: the buffers
 * @sync: there are caches or bounce buffers between CPU and device
 */
struct engine {
	struct io_uring		ring;
	struct blkdmabuf_ctl	*ctl;
	struct io_u		**events;
	struct blk_dmabuf_vec	*vecs;
	unsigned int		max_vecs;
	char			*mem;
	size_t			bytes;
	size_t			part;
	unsigned int		buffers;
	int			dmabuf[MAX_BUFFERS];
	bool			sync;
};

/* A file: its channel, and the slot there of each buffer. */
struct engine_file {
	int		chan;
	uint32_t	slot[MAX_BUFFERS];
};

#define OPT(opt_name, opt_type, member, opt_def, long_name, text)	\
	.name		= opt_name,					\
	.lname		= long_name,					\
	.type		= opt_type,					\
	.off1		= offsetof(struct engine_options, member),	\
	.def		= opt_def,					\
	.help		= text,						\
	.category	= FIO_OPT_C_ENGINE,				\
	.group		= FIO_OPT_G_INVALID

static struct fio_option options[] = {
	{
		OPT("buffer", FIO_OPT_STR, kind, "udmabuf", "Kind of buffer",
		    "Memory that the dma-bufs are made of"),
		.posval	= {
			{ .ival = "udmabuf", .oval = KIND_UDMABUF,
			  .help = "ordinary memory" },
			{ .ival = "hugetlb", .oval = KIND_HUGETLB,
			  .help = "huge pages" },
			{ .ival = "shuffled", .oval = KIND_SHUFFLED,
			  .help = "pages in shuffled order" },
			{ .ival = "heap", .oval = KIND_HEAP,
			  .help = "a dma-heap, see heap" },
		},
	},
	{ OPT("heap", FIO_OPT_STR_STORE, heap, "system", "dma-heap",
	      "Name below /dev/dma_heap, for buffer=heap") },
	{
		OPT("buffers", FIO_OPT_INT, buffers, "1", "Number of buffers",
		    "Spread the I/O memory over so many dma-bufs"),
		.minval	= 1,
		.maxval	= MAX_BUFFERS,
	},
	{ OPT("id", FIO_OPT_INT, id, "0", "Registration",
	      "Use the dma-buf of this registration") },
	{ OPT("buf_offset", FIO_OPT_INT, buf_offset, "0",
	      "Offset in the buffer", "Start there in the dma-buf of id") },
	{ OPT("slot", FIO_OPT_INT, slot, "0", "Slot",
	      "Slot of the first buffer, the others follow") },
	{ OPT("any_slot", FIO_OPT_BOOL, any_slot, "0", "Slot of the policy",
	      "Leave the slot of an I/O to the policy") },
	{ OPT("hint", FIO_OPT_INT, hint, "0", "Hint", "Hint for the policy") },
	{ OPT("piece", FIO_OPT_INT, piece, "0", "Bytes of a piece",
	      "Name the memory of an I/O in pieces of so many bytes") },
	{ OPT("hipri", FIO_OPT_BOOL, hipri, "0", "Polled I/O",
	      "Poll for completions (IORING_SETUP_IOPOLL)") },
	{ .name = NULL },
};

/* What failed, on what, and the next thing to try; 1, as fio wants it. */
static int failed(const char *what, const char *object, int err,
		  unsigned int reason, const char *advice)
{
	if (reason)
		advice = blkdmabuf_reason_advice(reason);
	log_err("fio: blkdmabuf: %s %s: %s%s%s; try: %s\n", what, object,
		strerror(-err), reason ? ": " : "",
		reason ? blkdmabuf_reason_text(reason) : "", advice);
	return 1;
}

/* ---- Memory ---- */

static int make_buffer(const struct engine_options *o, size_t size)
{
	switch (o->kind) {
	case KIND_HUGETLB:
		return blkdmabuf_udmabuf(size, BLKDMABUF_HUGETLB);
	case KIND_SHUFFLED:
		return shuffled_udmabuf(size, NULL);
	case KIND_HEAP:
		return blkdmabuf_heap(o->heap, size);
	default:
		return blkdmabuf_udmabuf(size, 0);
	}
}

/* x86's; a kernel with another size refuses it and says so. */
#define HUGE_PAGE	(2UL << 20)

/*
 * The least that a buffer can have: whole pages and, as no I/O may lie across
 * two buffers, whole blocks.
 */
static size_t part_unit(struct thread_data *td, size_t page)
{
	size_t block = td_max_bs(td), unit = page;

	while (unit % block)
		unit += page;
	return unit;
}

static void set_part(struct thread_data *td, struct engine *e, size_t bytes)
{
	const struct engine_options *o = td->eo;
	size_t page = o->kind == KIND_HUGETLB && !o->id ? HUGE_PAGE :
		      (size_t)sysconf(_SC_PAGESIZE);
	size_t unit = e->buffers > 1 ? part_unit(td, page) : page;

	e->part = bytes / e->buffers;
	e->part = (e->part + unit - 1) / unit * unit;
	e->bytes = e->part * e->buffers;
}

static int map_buffer(struct engine *e, unsigned int n, off_t offset)
{
	if (mmap(e->mem + n * e->part, e->part, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, e->dmabuf[n], offset) != MAP_FAILED)
		return 0;
	return failed("map", "the dma-buf", -errno, 0,
		      "buffer=udmabuf, or less iodepth and bs");
}

/* One that is registered already. */
static int take_buffer(struct engine *e, const struct engine_options *o)
{
	uint64_t size = 0;
	char id[16];

	snprintf(id, sizeof(id), "%u", o->id);
	e->dmabuf[0] = blkdmabuf_get_fd(o->id);
	if (e->dmabuf[0] < 0)
		return failed("get the dma-buf of registration", id,
			      e->dmabuf[0], 0, "blkdmabufctl list");
	blkdmabuf_size(e->dmabuf[0], &size);
	if (o->buf_offset + e->part > size)
		return failed("find room for all I/O in registration", id,
			      -ERANGE, 0, "less iodepth, bs or buf_offset");
	return map_buffer(e, 0, o->buf_offset);
}

static int make_buffers(struct engine *e, const struct engine_options *o)
{
	unsigned int n;

	for (n = 0; n < e->buffers; n++) {
		e->dmabuf[n] = make_buffer(o, e->part);
		if (e->dmabuf[n] < 0)
			return failed("make", "a dma-buf", e->dmabuf[n], 0,
				      o->kind == KIND_HUGETLB ?
				      "sysctl vm.nr_hugepages" :
				      "less iodepth or bs; ls /dev/udmabuf "
				      "/dev/dma_heap");
		if (map_buffer(e, n, 0))
			return 1;
	}
	return 0;
}

static int engine_iomem_alloc(struct thread_data *td, size_t bytes)
{
	const struct engine_options *o = td->eo;
	struct engine *e = td->io_ops_data;

	if (o->id && o->buffers > 1)
		return failed("use several buffers with", "id", -EINVAL, 0,
			      "buffers=1");
	e->buffers = o->buffers;
	set_part(td, e, bytes);
	/* Addresses that follow each other, for all of them. */
	e->mem = mmap(NULL, e->bytes + HUGE_PAGE, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->mem == MAP_FAILED)
		return failed("find room for", "I/O memory", -errno, 0,
			      "less iodepth or bs");
	td->orig_buffer = e->mem;
	return o->id ? take_buffer(e, o) : make_buffers(e, o);
}

static void engine_iomem_free(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;
	unsigned int n;

	/* Behind cleanup() there is none. */
	if (!e || !e->mem || e->mem == MAP_FAILED)
		return;
	munmap(e->mem, e->bytes + HUGE_PAGE);
	for (n = 0; n < e->buffers; n++)
		if (e->dmabuf[n] >= 0)
			close(e->dmabuf[n]);
	e->mem = NULL;
}

/* ---- Files ---- */

static int register_buffer(struct engine *e, struct fio_file *f, int dmabuf)
{
	struct blk_dmabuf_attach res = {};
	struct blk_dmabuf_info info = {};
	int ret;

	if (!e->ctl) {
		ret = blkdmabuf_ctl_open(&e->ctl, NULL);
		if (ret)
			return failed("load", "the control programs", ret, 0,
				      "run it as root; blkdmabufctl check");
	}
	ret = blkdmabuf_register(e->ctl, f->fd, dmabuf, &res);
	/* Another file on this disk, or another job, was here before. */
	if (ret == -EEXIST)
		return 0;
	if (ret)
		return failed("register a dma-buf on the disk of",
			      f->file_name, ret, res.reason,
			      "blkdmabufctl check");
	ret = blkdmabuf_map(e->ctl, res.id);
	if (!blkdmabuf_info(e->ctl, res.id, &info) &&
	    info.flags & BLK_DMABUF_F_SYNC)
		e->sync = true;
	if (ret)
		return failed("map a dma-buf for", f->file_name, ret,
			      info.reason, "blkdmabufctl check");
	return 0;
}

static int bind_buffer(struct thread_data *td, struct fio_file *f,
		       struct engine_file *ef, unsigned int n)
{
	const struct engine_options *o = td->eo;
	struct engine *e = td->io_ops_data;
	struct blk_dmabuf_info info;
	int slot;

	if (!o->id && register_buffer(e, f, e->dmabuf[n]))
		return 1;
	slot = blkdmabuf_bind(ef->chan, e->dmabuf[n], o->slot + n, NULL);
	if (slot < 0)
		return failed("bind a dma-buf to a channel of", f->file_name,
			      slot, 0, slot == -ENOENT ?
			      "an id that is registered on this disk" :
			      "a smaller slot");
	ef->slot[n] = slot;
	if (!blkdmabuf_query(ef->chan, slot, &info) &&
	    info.flags & BLK_DMABUF_F_SYNC)
		e->sync = true;
	return 0;
}

static int open_channel(struct thread_data *td, struct fio_file *f,
			struct engine_file *ef)
{
	struct engine *e = td->io_ops_data;
	unsigned int n;

	ef->chan = blkdmabuf_channel(f->fd);
	if (ef->chan < 0)
		return failed("open a channel for", f->file_name, ef->chan, 0,
			      "blkdmabufctl check");
	for (n = 0; n < e->buffers; n++)
		if (bind_buffer(td, f, ef, n))
			return 1;
	return 0;
}

static int engine_close_file(struct thread_data *td, struct fio_file *f)
{
	struct engine_file *ef = FILE_ENG_DATA(f);

	if (ef && ef->chan >= 0)
		close(ef->chan);
	free(ef);
	FILE_SET_ENG_DATA(f, NULL);
	return generic_close_file(td, f);
}

static int engine_open_file(struct thread_data *td, struct fio_file *f)
{
	struct engine *e = td->io_ops_data;
	struct engine_file *ef;
	int ret;

	ret = generic_open_file(td, f);
	/* Without I/O memory fio only lays the file out. */
	if (ret || !e || !e->mem)
		return ret;
	ef = calloc(1, sizeof(*ef));
	FILE_SET_ENG_DATA(f, ef);
	ret = ef ? open_channel(td, f, ef) : 1;
	if (ret) {
		td_verror(td, EIO, "blkdmabuf");
		ret |= engine_close_file(td, f);
	}
	return ret;
}

/* ---- I/O ---- */

/* Behind and before what the CPU does with the memory of an I/O. */
static void cpu_access(struct engine *e, struct io_u *io_u, bool begin)
{
	size_t at = (char *)io_u->xfer_buf - e->mem;

	if (e->sync)
		blkdmabuf_cpu_access(e->dmabuf[at / e->part], begin, true);
}

/* The same as one I/O, with an array of its pieces. */
static void prep_pieces(struct thread_data *td, struct io_uring_sqe *sqe,
			struct io_u *io_u, uint32_t slot, uint64_t offset)
{
	const struct engine_options *o = td->eo;
	struct engine *e = td->io_ops_data;
	struct engine_file *ef = FILE_ENG_DATA(io_u->file);
	struct blk_dmabuf_vec *vecs = e->vecs + io_u->index * e->max_vecs;
	uint64_t left = io_u->xfer_buflen;
	unsigned int nr;

	for (nr = 0; left; nr++) {
		uint32_t len = left < o->piece ? left : o->piece;

		vecs[nr] = (struct blk_dmabuf_vec) { offset, len, slot };
		offset += len;
		left -= len;
	}
	(io_u->ddir == DDIR_READ ? blkdmabuf_prep_readv : blkdmabuf_prep_writev)
		(sqe, ef->chan, io_u->offset, vecs, nr, o->hint);
}

static void prep(struct thread_data *td, struct io_uring_sqe *sqe,
		 struct io_u *io_u)
{
	const struct engine_options *o = td->eo;
	struct engine *e = td->io_ops_data;
	struct engine_file *ef = FILE_ENG_DATA(io_u->file);
	size_t at = (char *)io_u->xfer_buf - e->mem;
	unsigned int n = at / e->part;
	uint64_t offset = at % e->part + (o->id ? o->buf_offset : 0);
	uint32_t slot = o->any_slot ? BLK_DMABUF_SLOT_ANY : ef->slot[n];

	if (o->piece)
		prep_pieces(td, sqe, io_u, slot, offset);
	else
		(io_u->ddir == DDIR_READ ? blkdmabuf_prep_read :
					   blkdmabuf_prep_write)
			(sqe, ef->chan, io_u->offset, io_u->xfer_buflen, slot,
			 offset, o->hint);
	io_uring_sqe_set_data(sqe, io_u);
}

static enum fio_q_status engine_queue(struct thread_data *td, struct io_u *io_u)
{
	struct engine *e = td->io_ops_data;
	struct io_uring_sqe *sqe;

	fio_ro_check(td, io_u);
	if (ddir_sync(io_u->ddir)) {
		/* What is in front of it has to go first. */
		if (io_uring_sq_ready(&e->ring))
			return FIO_Q_BUSY;
		do_io_u_sync(td, io_u);
		return FIO_Q_COMPLETED;
	}
	if (io_u->ddir == DDIR_TRIM) {
		do_io_u_trim(td, io_u);
		return FIO_Q_COMPLETED;
	}
	sqe = io_uring_get_sqe(&e->ring);
	if (!sqe)
		return FIO_Q_BUSY;
	cpu_access(e, io_u, false);
	prep(td, sqe, io_u);
	return FIO_Q_QUEUED;
}

/* What is queued begins to be in flight. */
static void tell_issued(struct thread_data *td, struct engine *e,
			unsigned int nr)
{
	unsigned int mask = e->ring.sq.ring_mask;
	unsigned int head = e->ring.sq.sqe_tail - nr;
	struct timespec now;
	struct io_u *io_u;

	if (!fio_fill_issue_time(td))
		return;
	fio_gettime(&now, NULL);
	for (; nr; nr--, head++) {
		io_u = (struct io_u *)(uintptr_t)
			e->ring.sq.sqes[head & mask].user_data;
		memcpy(&io_u->issue_time, &now, sizeof(now));
		io_u_queued(td, io_u);
	}
}

static int engine_commit(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;
	unsigned int nr = io_uring_sq_ready(&e->ring);
	int ret;

	if (!nr)
		return 0;
	tell_issued(td, e, nr);
	do {
		ret = io_uring_submit(&e->ring);
	} while (ret == -EINTR || ret == -EAGAIN || ret == -EBUSY ||
		 (ret >= 0 && io_uring_sq_ready(&e->ring)));
	if (ret < 0) {
		td_verror(td, -ret, "io_uring_submit");
		return ret;
	}
	io_u_mark_submit(td, nr);
	return 0;
}

static void take(struct engine *e, struct io_u *io_u, int res)
{
	io_u->error = res < 0 ? -res : 0;
	io_u->resid = res < 0 ? 0 : io_u->xfer_buflen - res;
	cpu_access(e, io_u, true);
}

static unsigned int collect(struct engine *e, unsigned int have,
			    unsigned int max)
{
	struct io_uring_cqe *cqe;
	struct io_u *io_u;

	while (have < max && !io_uring_peek_cqe(&e->ring, &cqe)) {
		io_u = io_uring_cqe_get_data(cqe);
		take(e, io_u, cqe->res);
		e->events[have++] = io_u;
		io_uring_cqe_seen(&e->ring, cqe);
	}
	return have;
}

static int engine_getevents(struct thread_data *td, unsigned int min,
			    unsigned int max, const struct timespec *t)
{
	struct engine *e = td->io_ops_data;
	struct io_uring_cqe *cqe;
	unsigned int have = 0;
	int ret;

	(void)t;
	for (;;) {
		have = collect(e, have, max);
		if (have >= min)
			return have;
		ret = io_uring_wait_cqe(&e->ring, &cqe);
		if (ret && ret != -EINTR && ret != -EAGAIN) {
			td_verror(td, -ret, "io_uring_wait_cqe");
			return ret;
		}
	}
}

static struct io_u *engine_event(struct thread_data *td, int event)
{
	struct engine *e = td->io_ops_data;

	return e->events[event];
}

/* ---- Jobs ---- */

/* Pieces of I/Os that are in flight at a time. */
static int make_vecs(struct thread_data *td, struct engine *e)
{
	const struct engine_options *o = td->eo;

	if (!o->piece)
		return 0;
	e->max_vecs = (td_max_bs(td) + o->piece - 1) / o->piece;
	if (e->max_vecs > BLK_DMABUF_MAX_VECS)
		return -E2BIG;
	e->vecs = calloc((size_t)td->o.iodepth * e->max_vecs, sizeof(*e->vecs));
	return e->vecs ? 0 : -ENOMEM;
}

static int engine_init(struct thread_data *td)
{
	const struct engine_options *o = td->eo;
	struct blk_dmabuf_features features;
	struct engine *e;
	unsigned int n;
	int ret;

	/* Pieces say where they are: the kernel refuses those that do not. */
	if (o->any_slot && o->piece)
		return failed("leave to the policy", "the slot of pieces",
			      -EINVAL, 0, "any_slot=0, or no piece");
	ret = blkdmabuf_features(&features);
	if (ret)
		return failed("use", "/dev/blkdmabuf", ret, 0,
			      "boot a kernel with CONFIG_BLK_DMABUF=y");
	e = calloc(1, sizeof(*e));
	if (!e)
		return 1;
	ret = make_vecs(td, e);
	if (ret) {
		free(e);
		return failed("divide", "an I/O in pieces", ret, 0,
			      "larger pieces, or less bs");
	}
	for (n = 0; n < MAX_BUFFERS; n++)
		e->dmabuf[n] = -1;
	e->events = calloc(td->o.iodepth, sizeof(*e->events));
	ret = e->events ? io_uring_queue_init(td->o.iodepth, &e->ring,
					      o->hipri ? IORING_SETUP_IOPOLL :
					      0) : -ENOMEM;
	if (ret) {
		free(e->events);
		free(e->vecs);
		free(e);
		return failed("make", "a ring", ret, 0, "less iodepth");
	}
	td->io_ops_data = e;
	return 0;
}

static void engine_cleanup(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;

	if (!e)
		return;
	io_uring_queue_exit(&e->ring);
	/* What was registered here ends with its map. */
	blkdmabuf_ctl_close(e->ctl);
	engine_iomem_free(td);
	free(e->events);
	free(e->vecs);
	free(e);
	td->io_ops_data = NULL;
}

/* Not static: fio looks for the name. */
struct ioengine_ops ioengine = {
	.name			= "blkdmabuf",
	.version		= FIO_IOOPS_VERSION,
	.flags			= FIO_RAWIO | FIO_MEMALIGN |
				  FIO_ASYNCIO_SYNC_TRIM |
				  FIO_ASYNCIO_SETS_ISSUE_TIME,
	.init			= engine_init,
	.queue			= engine_queue,
	.commit			= engine_commit,
	.getevents		= engine_getevents,
	.event			= engine_event,
	.cleanup		= engine_cleanup,
	.open_file		= engine_open_file,
	.close_file		= engine_close_file,
	.get_file_size		= generic_get_file_size,
	.iomem_alloc		= engine_iomem_alloc,
	.iomem_free		= engine_iomem_free,
	.options		= options,
	.option_struct_size	= sizeof(struct engine_options),
};
