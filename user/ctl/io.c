// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: read, write, copy.
 *
 * All three are a transfer from one end to another through a dma-buf.  What
 * can be known beforehand is checked beforehand, in the order of the calls in
 * transfer(); only then is anything cut off or written.  A file that --create
 * made is removed again if it does not come to that.
 *
 * A dma-buf that is not registered on a disk is registered for as long as the
 * command runs, in a map that is not pinned: however the process ends, the
 * registration ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blkdmabufctl.h"

#define MAX_DEPTH	1024		/* more has not helped any device */
#define MIN_BLOCK	512		/* smallest block there is */
#define MAX_BLOCK	(1U << 30)	/* fits 32 bits with room */

/**
 * struct job - a transfer and what belongs to it
 * @o: command line
 * @x: the transfer
 * @ctl: control, loaded only if something has to be registered
 * @copies: files lose what is behind what is copied to them, and one that takes
 *	no dma-buf I/O may be served by this process
 * @cut: the target is a file that loses what it held
 * @begun: the target may have been changed
 * @dst_size: what the target file holds
 * @asked: bytes that were to be moved, 0 if that was not known
 * @buf_size: size of the dma-buf
 * @before: what was refused before the first I/O
 * @seconds: out
 */
struct job {
	const struct options		*o;
	struct xfer			x;
	struct blkdmabuf_ctl		*ctl;
	bool				copies;
	bool				cut;
	bool				begun;
	uint64_t			dst_size;
	uint64_t			asked;
	uint64_t			buf_size;
	struct blk_dmabuf_features	before;
	double				seconds;
};

static bool is_stdio(const char *path)
{
	return !strcmp(path, "-");
}

/* ---- The ends ---- */

static const struct end *other_end(const struct job *j, const struct end *end)
{
	return end == &j->x.src ? &j->x.dst : &j->x.src;
}

/* From here on this process reads or writes the file. */
static int make_plain(struct end *end, unsigned int reason)
{
	end->kind = END_PLAIN;
	end->why = reason ? blkdmabuf_reason_text(reason) :
		   "the kernel takes no dma-buf I/O there";
	close_fd(end->chan);
	end->chan = -1;
	end->fd = end->dev.fd;
	end->dev.fd = -1;
	/* That is buffered I/O, on any byte. */
	if (fcntl(end->fd, F_SETFL, 0) < 0)
		return fail(.what = "end direct I/O on", .object = end->path,
			    .err = -errno);
	return EXIT_OK;
}

/* The kernel does not take an end: can the transfer do without? */
static int end_refused(struct job *j, struct end *end, const char *what,
		       int err, unsigned int reason)
{
	const char *advice = file_advice(&end->dev, reason);
	bool plain = j->copies && end->dev.file && err == -EOPNOTSUPP;

	if (plain && other_end(j, end)->kind == END_CHANNEL)
		return make_plain(end, reason);
	if (plain)
		advice = "cp: no end takes dma-buf I/O";
	else if (!advice && !reason && end->dev.file)
		advice = say("blkdmabufctl check %s", end->path);
	return fail(.what = what, .object = end->path, .err = err,
		    .reason = reason, .advice = advice);
}

static uint32_t channel_flags(const struct options *o)
{
	return (o->allow_copy ? BLK_DMABUF_CHANNEL_COPY : 0) |
	       (o->require_p2p ? BLK_DMABUF_CHANNEL_P2P : 0);
}

static int open_channel(struct job *j, struct end *end, int flags)
{
	unsigned int reason;
	struct stat st;
	int ret;

	ret = device_open(&end->dev, end->path, flags);
	if (ret)
		return ret;
	if (end == &j->x.dst && !fstat(end->dev.fd, &st))
		j->dst_size = st.st_size;
	end->chan = device_channel(&end->dev, channel_flags(j->o), &reason);
	if (end->chan < 0)
		return end_refused(j, end, "open a channel for", end->chan,
				   reason);
	ret = blkdmabuf_limits(end->chan, &end->limits);
	if (ret)
		return fail(.what = "ask for the limits of",
			    .object = end->path, .err = ret);
	end->unit = (end == &j->x.dst ? end->limits.write_block_size :
		     end->limits.block_size) ?: MIN_BLOCK;
	return EXIT_OK;
}

/* A target is made if it is not there, and what is in it is cut off. */
static int open_plain(struct end *end, bool target)
{
	int flags = !target ? O_RDONLY : O_WRONLY | O_CREAT |
		    (end->pos ? 0 : O_TRUNC);
	struct stat st;

	end->fd = is_stdio(end->path) ?
		  dup(target ? STDOUT_FILENO : STDIN_FILENO) :
		  open(end->path, flags | O_CLOEXEC, 0666);
	if (end->fd < 0 || fstat(end->fd, &st))
		return fail(.what = "open", .object = end->path,
			    .err = -errno, .advice = target ?
			    "a file you may write" : errno == ENOENT ?
			    "a file that is there" : NULL);
	if (S_ISDIR(st.st_mode))
		return fail(.what = "read", .object = end->path,
			    .err = -EISDIR, .advice = "a file");
	end->stream = !S_ISREG(st.st_mode);
	if (!end->stream || !end->pos)
		return EXIT_OK;
	return fail(.what = "seek in", .object = end->path, .err = -ESPIPE,
		    .advice = say("no %s, or a regular file", target ?
				  "--dst-offset" : "--src-offset"));
}

/* A name below /dev that is not there is a device that is not there. */
static bool names_device(const char *path)
{
	struct stat st;

	if (is_stdio(path))
		return false;
	if (stat(path, &st))
		return !strncmp(path, "/dev/", 5);
	return S_ISBLK(st.st_mode);
}

/* Pipes, terminals, /dev/zero and the like are for this process to serve. */
static enum end_kind kind_of(const char *path)
{
	struct stat st;

	if (is_stdio(path))
		return END_PLAIN;
	if (stat(path, &st) || S_ISBLK(st.st_mode) || S_ISREG(st.st_mode))
		return END_CHANNEL;
	return END_PLAIN;
}

static int open_ends(struct job *j)
{
	struct xfer *x = &j->x;
	int flags = O_WRONLY, ret = EXIT_OK;

	if (x->src.kind == END_CHANNEL)
		ret = open_channel(j, &x->src, O_RDONLY);
	else if (x->src.kind == END_PLAIN)
		ret = open_plain(&x->src, false);
	/* O_EXCL: not if it is mounted or part of something. */
	if (!j->o->force)
		flags |= O_EXCL;
	if (j->o->create)
		flags |= O_CREAT;
	if (!ret && x->dst.kind == END_CHANNEL)
		ret = open_channel(j, &x->dst, flags);
	return ret;
}

static bool end_stat(const struct end *end, struct stat *st)
{
	if (end->kind == END_BUFFER)
		return false;
	if (end->dev.fd >= 0)
		return !fstat(end->dev.fd, st);
	if (end->fd >= 0)
		return !fstat(end->fd, st);
	return !is_stdio(end->path) && !stat(end->path, st);
}

/* Are both ends one regular file? */
static bool same_file(const struct job *j)
{
	struct stat src, dst;

	return end_stat(&j->x.src, &src) && end_stat(&j->x.dst, &dst) &&
	       S_ISREG(src.st_mode) && src.st_dev == dst.st_dev &&
	       src.st_ino == dst.st_ino;
}

static void close_end(struct job *j, struct end *end)
{
	close_fd(end->chan);
	if (end->id)
		blkdmabuf_unregister(j->ctl, end->id);
	close_fd(end->dev.fd);
	close_fd(end->fd);
}

/* ---- What to move ---- */

static int out_of_range(const struct job *j, const char *path, uint64_t pos,
			uint64_t size)
{
	bool known = j->x.length && j->x.length != LENGTH_UNKNOWN;

	return fail(.what = say("%s %sat %" PRIu64 " of", j->x.name, known ?
				say("%" PRIu64 " bytes ", j->x.length) : "",
				pos),
		    .object = path, .err = -ERANGE,
		    .advice = say("offset and length within its %" PRIu64
				  " bytes", size));
}

/* Bytes from where the end starts to where it stops; -1: not known. */
static int64_t room(const struct job *j, const struct end *end, uint64_t *size)
{
	struct stat st;

	/* A file that is written to grows. */
	if (end->kind == END_CHANNEL && end == &j->x.dst && end->dev.file)
		return -1;
	if (end->kind == END_CHANNEL)
		*size = end->limits.bytes;
	else if (end->kind == END_BUFFER)
		*size = j->buf_size;
	else if (end == &j->x.src && !end->stream && !fstat(end->fd, &st))
		*size = st.st_size;
	else
		return -1;
	return *size > end->pos ? *size - end->pos : 0;
}

/* Reading a file stops where it ends, and there it may be empty. */
static bool ends_by_itself(const struct job *j, const struct end *src,
			   uint64_t size)
{
	struct stat st;

	return src == &j->x.src && (src->dev.file || j->copies) &&
	       end_stat(src, &st) && S_ISREG(st.st_mode) && src->pos <= size;
}

static int settle_length(struct job *j)
{
	struct xfer *x = &j->x;
	uint64_t src_size = 0, dst_size = 0;
	int64_t src = room(j, &x->src, &src_size);
	int64_t dst = room(j, &x->dst, &dst_size);

	if (given(j->o, OPT_LENGTH))
		x->length = j->o->length;
	else
		x->length = src < 0 ? LENGTH_UNKNOWN : (uint64_t)src;
	j->asked = x->length == LENGTH_UNKNOWN ? 0 : x->length;
	if (src >= 0 && ends_by_itself(j, &x->src, src_size)) {
		if (x->length > (uint64_t)src)
			x->length = src;
		/* The target is to be as empty. */
		if (!src && dst < 0)
			return EXIT_OK;
	}
	/* "Fill the buffer" is what a read into one is for. */
	if (!given(j->o, OPT_LENGTH) && x->dst.kind == END_BUFFER &&
	    x->length > (uint64_t)dst)
		j->asked = x->length = dst;
	if (src >= 0 && (!src || x->length > (uint64_t)src))
		return out_of_range(j, x->src.path, x->src.pos, src_size);
	if (dst >= 0 && (!dst || (x->length != LENGTH_UNKNOWN &&
				  x->length > (uint64_t)dst)))
		return out_of_range(j, x->dst.path, x->dst.pos, dst_size);
	if (!x->length)
		return fail(.what = "nothing to do for", .object = x->src.path,
			    .err = -EINVAL, .advice = "--length of one block "
			    "or more");
	return EXIT_OK;
}

/* May a transfer to or from @end have a last block that is no whole one? */
static bool may_end_in_part(const struct job *j, const struct end *end)
{
	uint64_t to = end->pos + j->x.length;

	return end == &j->x.src ? end->dev.file && to >= end->limits.bytes :
				  to >= end->part;
}

static int check_length(const struct job *j, const struct end *end)
{
	uint64_t length = j->x.length, whole = round_up(length, end->unit);
	bool file = end == &j->x.dst && end->dev.file;

	if (length == LENGTH_UNKNOWN || length == whole)
		return EXIT_OK;
	if (!may_end_in_part(j, end))
		return unaligned("length", length, end->path, end->unit,
				 file && j->copies ?
				 ": what follows in the file would be lost" :
				 file ? ", or 'blkdmabufctl copy', which cuts "
				 "the file where the source ends" :
				 given(j->o, OPT_LENGTH) ? "" :
				 ": give --length, or fill the source up");
	/* All of the block that a file ends in is read. */
	if (j->x.linear && j->x.buf_offset + whole > j->buf_size)
		return fail(.what = say("read the last block of %u bytes of",
					end->unit),
			    .object = end->path, .err = -ERANGE,
			    .advice = say("--length %" PRIu64 ", or a dma-buf "
					  "with room for %" PRIu64 " bytes",
					  whole - end->unit,
					  j->x.buf_offset + whole));
	return EXIT_OK;
}

static int check_alignment(const struct job *j, const struct end *end)
{
	int ret;

	if (end->kind != END_CHANNEL)
		return EXIT_OK;
	if (end->pos % end->unit)
		return unaligned("offset", end->pos, end->path, end->unit, "");
	ret = check_length(j, end);
	if (ret)
		return ret;
	if (j->x.block_size % end->unit)
		return unaligned("block size", j->x.block_size, end->path,
				 end->unit, "");
	if (j->x.buf_offset % end->limits.dma_alignment)
		return unaligned("buffer offset", j->x.buf_offset, end->path,
				 end->limits.dma_alignment, "");
	return EXIT_OK;
}

static bool same_disk(const struct end *src, const struct end *dst)
{
	return src->kind == END_CHANNEL && dst->kind == END_CHANNEL &&
	       !src->dev.file && !dst->dev.file &&
	       src->dev.disk == dst->dev.disk;
}

static int check_overlap(const struct job *j)
{
	const struct end *src = &j->x.src, *dst = &j->x.dst;
	uint64_t from = src->dev.start + src->pos;
	uint64_t to = dst->dev.start + dst->pos;
	uint64_t length = j->x.length;
	bool same = same_file(j);

	/* What is opened last is cut off by that. */
	if (same && dst->kind == END_PLAIN)
		return fail(.what = "source and target are one file:",
			    .object = dst->path, .err = -EINVAL,
			    .advice = "another file");
	if (dst->kind == END_CHANNEL)
		length = round_up(length, dst->unit);
	if ((!same && !same_disk(src, dst)) ||
	    from + length <= to || to + length <= from)
		return EXIT_OK;
	return fail(.what = say("source and target overlap on"),
		    .object = dst->path, .err = -EINVAL,
		    .advice = "ranges that do not, or two steps through a "
		    "file");
}

/* What becomes of what a target file holds already. */
static void settle_target(struct job *j)
{
	struct end *dst = &j->x.dst;

	j->cut = j->copies && dst->dev.file && !dst->pos && !same_file(j);
	dst->part = !j->copies || !dst->dev.file ? UINT64_MAX :
		    j->cut ? 0 : j->dst_size;
}

static uint32_t unit_of(const struct end *end)
{
	return end->kind == END_CHANNEL ? end->unit : 1;
}

static int settle(struct job *j)
{
	struct xfer *x = &j->x;
	uint32_t unit;
	int ret;

	settle_target(j);
	/* Before the block size is cut to what there is. */
	ret = settle_length(j) ?:
	      check_alignment(j, &x->src) ?:
	      check_alignment(j, &x->dst) ?:
	      check_overlap(j);
	if (ret || !x->length)
		return ret;
	/* They are powers of two. */
	unit = MAX(unit_of(&x->src), unit_of(&x->dst));
	if (x->block_size > x->length)
		x->block_size = round_up(x->length, unit);
	/* No more than there are, however many that is. */
	x->depth = MIN(x->depth, (x->length - 1) / x->block_size + 1);
	return EXIT_OK;
}

/* ---- The buffer ---- */

/* It is not an end, so it is made for the transfer. */
static bool has_own_buffer(const struct job *j)
{
	return j->x.src.kind != END_BUFFER && j->x.dst.kind != END_BUFFER;
}

static int given_buffer(struct job *j)
{
	if (has_own_buffer(j))
		return EXIT_OK;
	j->x.dmabuf = dmabuf_given(j->o);
	if (j->x.dmabuf < 0)
		return EXIT_FAILED;
	blkdmabuf_size(j->x.dmabuf, &j->buf_size);
	return EXIT_OK;
}

static int new_buffer(struct job *j)
{
	uint64_t page = j->o->hugetlb ? huge_page_size() :
			(uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t size = round_up(j->x.depth * j->x.block_size, page);

	if (!has_own_buffer(j))
		return EXIT_OK;
	j->buf_size = size;
	j->x.dmabuf = j->o->heap ? dmabuf_heap(j->o, j->o->heap, size) :
		      dmabuf_udmabuf(j->o, size);
	return j->x.dmabuf < 0 ? EXIT_FAILED : EXIT_OK;
}

/* For this process to serve an end, or to fill up the last block of a file. */
static bool needs_map(const struct job *j)
{
	const struct end *src = &j->x.src, *dst = &j->x.dst;

	return src->kind == END_PLAIN || dst->kind == END_PLAIN ||
	       (dst->part != UINT64_MAX &&
		(src->dev.file || j->x.length % dst->unit));
}

static int map_buffer(struct job *j)
{
	void *map;

	if (!needs_map(j))
		return EXIT_OK;
	map = mmap(NULL, j->buf_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   j->x.dmabuf, 0);
	if (map == MAP_FAILED)
		return fail(.what = "map the buffer for", .object =
			    j->x.src.kind == END_PLAIN ? j->x.src.path :
			    j->x.dst.path, .err = -errno,
			    .advice = "a udmabuf or another --heap");
	j->x.map = map;
	j->x.map_size = j->buf_size;
	return EXIT_OK;
}

static int register_for(struct job *j, struct end *end)
{
	struct blk_dmabuf_attach res;
	int ret;

	if (!j->ctl) {
		ret = open_control(&j->ctl, NULL);
		if (ret)
			return ret;
	}
	ret = blkdmabuf_register_flags(j->ctl, end->dev.fd, j->x.dmabuf,
				       j->o->allow_copy ?
				       BLK_DMABUF_ATTACH_COPY : 0, &res);
	/* Somebody else was faster: theirs is as good. */
	if (ret == -EEXIST)
		return EXIT_OK;
	if (ret)
		return end_refused(j, end, end->dev.file ?
				   "register a dma-buf on the disk of" :
				   "register a dma-buf on", ret, res.reason);
	end->id = res.id;
	ret = blkdmabuf_map(j->ctl, res.id);
	/* What cannot be mapped is copied. */
	if (ret && !j->o->allow_copy)
		return report_map_failure(j->ctl, res.id, ret, end->path);
	return EXIT_OK;
}

/* Memory of our own is registered where we did that, and nowhere else. */
static bool may_be_registered(const struct job *j, const struct end *end)
{
	const struct end *src = &j->x.src;

	return given(j->o, OPT_ID) || given(j->o, OPT_FD) ||
	       (end != src && src->id && src->dev.disk == end->dev.disk);
}

/* Showing the dma-buf is enough where it is registered: needs no privilege. */
static int attach(struct job *j, struct end *end)
{
	struct blk_dmabuf_features before;
	int slot = -ENOENT, ret;

	if (end->kind != END_CHANNEL)
		return EXIT_OK;
	refusals_now(&before);
	/* Asking in vain would count as a refusal. */
	if (may_be_registered(j, end))
		slot = blkdmabuf_bind(end->chan, j->x.dmabuf,
				      BLK_DMABUF_SLOT_ANY, NULL);
	if (slot == -ENOENT) {
		ret = register_for(j, end);
		if (ret || end->kind != END_CHANNEL)
			return ret;
		slot = blkdmabuf_bind(end->chan, j->x.dmabuf,
				      BLK_DMABUF_SLOT_ANY, NULL);
	}
	if (slot < 0)
		return fail(.what = "bind the dma-buf to a channel of",
			    .object = end->path, .err = slot,
			    .reason = refused_since(&before));
	end->slot = slot;
	return EXIT_OK;
}

/* ---- The outcome ---- */

static const char *end_name(const struct end *end)
{
	return end->kind == END_BUFFER ? "the dma-buf" : end->path;
}

/* Who moves the bytes at this end; NULL: they stay where they are. */
static const char *end_via(const struct end *end)
{
	return end->kind == END_CHANNEL ? "dma-buf" :
	       end->kind == END_PLAIN ? "cpu" : NULL;
}

static struct json_object *result_json(const struct job *j)
{
	struct json_object *obj = json_object_new_object();
	const struct xfer *x = &j->x;

	add_str(obj, "command", x->name);
	add_str(obj, "source", end_name(&x->src));
	add_str(obj, "destination", end_name(&x->dst));
	add_str(obj, "source_via", end_via(&x->src));
	add_str(obj, "destination_via", end_via(&x->dst));
	json_object_object_add(obj, "asked", j->asked ?
			       json_object_new_uint64(j->asked) : NULL);
	add_u64(obj, "bytes", x->done);
	add_double(obj, "seconds", j->seconds);
	add_u64(obj, "bytes_per_second", x->done / (j->seconds + 1e-9));
	add_u64(obj, "ios", x->ios);
	add_u64(obj, "copied", x->copied);
	add_u64(obj, "block_size", x->block_size);
	add_u64(obj, "depth", x->depth);
	return obj;
}

/* Nobody shall take for dma-buf I/O what is none. */
static void print_why(const struct end *end, FILE *f)
{
	if (end->why)
		fprintf(f, "%s goes through the CPU: %s\n", end->path,
			end->why);
}

static void print_result(const struct job *j, FILE *f)
{
	const struct xfer *x = &j->x;

	fprintf(f, "%s: %" PRIu64 " bytes (%s) in %.3f s, %s/s, %" PRIu64
		" I/Os\n", x->name, x->done, human_size(x->done),
		j->seconds, human_size(x->done / (j->seconds + 1e-9)),
		x->ios);
	if (x->copied)
		fprintf(f, "%s: the CPU copied %" PRIu64 " of these I/Os\n",
			x->name, x->copied);
	print_why(&x->src, f);
	print_why(&x->dst, f);
}

static void print_end_of_file(const struct job *j, FILE *f)
{
	if (j->x.done < j->asked)
		fprintf(f, "%s: %s ends there: %" PRIu64 " bytes less than "
			"asked for\n", j->x.name, end_name(&j->x.src),
			j->asked - j->x.done);
}

static int stopped_by_signal(const struct job *j)
{
	const struct xfer *x = &j->x;

	fail(.what = say("%s stopped by SIG%s after %" PRIu64 " bytes from",
			 x->name, sigabbrev_np(x->signal), x->done),
	     .object = end_name(&x->src), .err = -EINTR,
	     .partial = result_json(j));
	return 128 + x->signal;
}

static int stopped_by_error(const struct job *j, const struct xfer_error *e)
{
	unsigned int reason = e->io ? refused_since(&j->before) : 0;
	bool chan = e->end->kind == END_CHANNEL;
	const char *advice = NULL;

	if (reason)
		advice = file_advice(&e->end->dev, reason);
	else if (e->err == -ENODATA && !e->io)
		advice = "it ended too early: less --length, or look why";
	else if (e->err == -EINVAL && chan)
		advice = say("input in multiples of %u bytes", e->end->unit);
	else if (e->err == -ENOSPC && chan && !e->end->dev.file)
		advice = say("less input: the device has %" PRIu64 " bytes",
			     (uint64_t)e->end->limits.bytes);
	fail(.what = say("%s at %" PRIu64 " of", e->what, e->pos),
	     .object = end_name(e->end), .err = e->err, .reason = reason,
	     .advice = advice, .partial = result_json(j));
	if (!want_json)
		print_result(j, stderr);
	return EXIT_FAILED;
}

static void target_failed(struct job *j, struct xfer_error *error,
			  const char *what, int err)
{
	if (!error->err)
		*error = (struct xfer_error) {
			.err = err, .what = what, .end = &j->x.dst,
			.pos = j->x.dst.pos,
		};
}

/*
 * Let a file end where what arrived ends, or where it ended before: take off
 * what filled the last block, and, where it was stopped, what is behind a gap.
 */
static void trim(struct job *j, struct xfer_error *error)
{
	const struct xfer *x = &j->x;
	const struct end *dst = &x->dst;
	uint64_t end = dst->pos + x->done, begun;
	struct stat st;

	if (dst->kind != END_CHANNEL || !dst->dev.file)
		return;
	if (!j->cut && end < j->dst_size)
		end = j->dst_size;
	begun = dst->pos + round_up(x->begun, dst->unit);
	if (fstat(dst->dev.fd, &st)) {
		target_failed(j, error, "look", -errno);
		return;
	}
	/* What is behind what we wrote is somebody else's. */
	if ((uint64_t)st.st_size > end && (uint64_t)st.st_size <= begun &&
	    ftruncate(dst->dev.fd, end))
		target_failed(j, error, "cut off the end", -errno);
}

static void flush(struct job *j, struct xfer_error *error)
{
	struct end *dst = &j->x.dst;
	int fd = dst->kind == END_CHANNEL ? dst->dev.fd : dst->fd;

	if (dst->kind != END_BUFFER && !dst->stream && fdatasync(fd))
		target_failed(j, error, "flush", -errno);
}

static int move(struct job *j)
{
	struct xfer_error error = {};
	double start = now();
	FILE *f = stdout;

	refusals_now(&j->before);
	xfer_run(&j->x, &error);
	trim(j, &error);
	flush(j, &error);
	j->seconds = now() - start;
	if (error.err)
		return stopped_by_error(j, &error);
	if (j->x.signal)
		return stopped_by_signal(j);
	if (j->x.dst.kind == END_PLAIN && is_stdio(j->x.dst.path))
		f = stderr;
	if (want_json) {
		print_json(result_json(j));
	} else {
		print_result(j, f);
		print_end_of_file(j, f);
	}
	return EXIT_OK;
}

/* The buffer, where the ends can use it. */
static int prepare_buffer(struct job *j)
{
	if (!j->x.length)
		return EXIT_OK;
	return new_buffer(j) ?:
	       attach(j, &j->x.src) ?:
	       attach(j, &j->x.dst) ?:
	       map_buffer(j);
}

/* Called last: from here on the target is not what it was. */
static int prepare_target(struct job *j)
{
	struct end *dst = &j->x.dst;

	j->begun = true;
	if (dst->kind == END_PLAIN && dst->fd < 0)
		return open_plain(dst, true);
	if (j->cut && ftruncate(dst->kind == END_PLAIN ? dst->fd :
				dst->dev.fd, 0))
		return fail(.what = "cut off", .object = dst->path,
			    .err = -errno);
	return EXIT_OK;
}

static int transfer(struct job *j)
{
	int ret;

	ret = need_kernel() ?:
	      open_ends(j) ?:
	      given_buffer(j) ?:
	      settle(j) ?:
	      prepare_buffer(j) ?:
	      prepare_target(j) ?:
	      move(j);

	if (j->x.dst.dev.created && !j->begun)
		unlink(j->x.dst.path);
	close_end(j, &j->x.src);
	close_end(j, &j->x.dst);
	if (j->x.map)
		munmap(j->x.map, j->x.map_size);
	close_fd(j->x.dmabuf);
	blkdmabuf_ctl_close(j->ctl);
	return ret;
}

/* ---- The commands ---- */

static void end_init(struct end *end, enum end_kind kind, const char *path,
		     uint64_t pos)
{
	*end = (struct end) {
		.kind = kind, .path = path, .pos = pos,
		.fd = -1, .chan = -1, .dev.fd = -1,
	};
}

static void job_init(struct job *j, const struct options *o, const char *name)
{
	*j = (struct job) {
		.o = o,
		.x = {
			.name		= name,
			.dmabuf		= -1,
			.buf_offset	= o->buf_offset,
			.block_size	= o->block_size,
			.depth		= o->depth,
		},
	};
}

static int check_options(const struct job *j)
{
	const struct options *o = j->o;

	if (o->depth < 1 || o->depth > MAX_DEPTH)
		return usage_error("--depth wants 1 to", say("%u", MAX_DEPTH));
	if (o->block_size < MIN_BLOCK || o->block_size > MAX_BLOCK)
		return usage_error("--block-size wants 512 to", "1G");
	if (o->heap && o->hugetlb)
		return usage_error("--hugetlb does not go with", "--heap");
	if (o->allow_copy && o->require_p2p)
		return usage_error("--allow-copy does not go with",
				   "--require-p2p");
	return EXIT_OK;
}

/* read and write: the far end is a file or a dma-buf, and just one of them. */
static int check_far_end(const struct job *j, enum option_id file,
			 const char *file_option, const char *path)
{
	const struct options *o = j->o;
	bool buffer = given(o, OPT_ID) || given(o, OPT_FD);
	const char *all = say("%s, --id, --fd", file_option);

	if (given(o, file) + given(o, OPT_ID) + given(o, OPT_FD) != 1)
		return usage_error(say("'%s' wants exactly one of", j->x.name),
				   all);
	if (given(o, OPT_PID) && !given(o, OPT_FD))
		return usage_error("--pid wants", "--fd");
	if (given(o, OPT_BUF_OFFSET) && !buffer)
		return usage_error("--buf-offset wants", "--id or --fd");
	if (buffer && (o->heap || o->hugetlb))
		return usage_error("--heap and --hugetlb want", file_option);
	if (path && names_device(path))
		return usage_error_try(say("%s wants a file, not the device",
					   file_option), path,
				       "blkdmabufctl copy --help");
	return EXIT_OK;
}

static int stdout_is_taken(const struct job *j)
{
	return usage_error_try(say("'%s' cannot write data and JSON to",
				   j->x.name), "standard output",
			       "a file instead of -");
}

int cmd_read(const struct options *o)
{
	struct job j;
	int ret;

	job_init(&j, o, "read");
	end_init(&j.x.src, END_CHANNEL, o->args[0], o->offset);
	if (o->to)
		end_init(&j.x.dst, END_PLAIN, o->to, 0);
	else
		end_init(&j.x.dst, END_BUFFER, "the dma-buf", o->buf_offset);
	j.x.linear = !o->to;
	ret = check_options(&j) ?: check_far_end(&j, OPT_TO, "--to", o->to);
	if (!ret && o->to && is_stdio(o->to) && want_json)
		ret = stdout_is_taken(&j);
	return ret ?: transfer(&j);
}

int cmd_write(const struct options *o)
{
	struct job j;

	job_init(&j, o, "write");
	if (o->from)
		end_init(&j.x.src, END_PLAIN, o->from, 0);
	else
		end_init(&j.x.src, END_BUFFER, "the dma-buf", o->buf_offset);
	end_init(&j.x.dst, END_CHANNEL, o->args[0], o->offset);
	j.x.linear = !o->from;
	return check_options(&j) ?:
	       check_far_end(&j, OPT_FROM, "--from", o->from) ?:
	       transfer(&j);
}

int cmd_copy(const struct options *o)
{
	struct job j;
	int ret;

	job_init(&j, o, "copy");
	j.copies = true;
	end_init(&j.x.src, kind_of(o->args[0]), o->args[0], o->src_offset);
	end_init(&j.x.dst, kind_of(o->args[1]), o->args[1], o->dst_offset);
	ret = check_options(&j);
	if (!ret && j.x.src.kind == END_PLAIN && j.x.dst.kind == END_PLAIN)
		ret = usage_error_try("'copy' wants a block device or a file, "
				      "not just", say("%s and %s", o->args[0],
						      o->args[1]), "cp");
	if (!ret && is_stdio(o->args[1]) && want_json)
		ret = stdout_is_taken(&j);
	return ret ?: transfer(&j);
}
