// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl check --probe: move bytes between a buffer and a range of a
 * device or file that the user has named, in both directions, look at each, and
 * put back what was there, in the range and in the buffer.
 *
 * The range is read and written by ordinary I/O, too, which is trusted, so that
 * each direction is judged alone.  A buffer that the CPU has no mapping of is
 * filled and looked at through the range.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blkdmabufctl.h"

#define PROBE_SIZE	(1024 * 1024)
#define ALIGNMENT	4096

/**
 * struct probe - what is done, and what has to be put back
 * @fd: of the range, for ordinary I/O
 * @chan: channel
 * @queue: ring
 * @slot: the buffer's
 * @buf: the buffer
 * @map: its memory, or NULL
 * @map_size: mapped bytes
 * @pos: first byte of the range
 * @len: bytes
 * @range: what was in the range
 * @memory: what was in the buffer
 * @work: room for as much
 * @copied: I/O that the CPU copied
 * @what: what failed
 * @wrong: bytes that are
 */
struct probe {
	int			fd;
	int			chan;
	struct blkdmabuf_queue	*queue;
	uint32_t		slot;
	const struct buffer	*buf;
	unsigned char		*map;
	size_t			map_size;
	uint64_t		pos;
	uint32_t		len;
	unsigned char		*range;
	unsigned char		*memory;
	unsigned char		*work;
	unsigned int		copied;
	const char		*what;
	uint64_t		wrong;
	bool			lost;
};

static int failed(struct probe *p, const char *what, int err)
{
	p->what = what;
	return err;
}

/* ---- Bytes ---- */

/* Not the same at two places, nor for two seeds. */
static void fill(unsigned char *mem, uint32_t len, uint64_t seed)
{
	uint64_t word;
	uint32_t i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = (i + 1 + seed) * 0x9e3779b97f4a7c15ULL;
		word ^= word >> 29;
		memcpy(mem + i, &word, sizeof(word));
	}
}

static int compare(struct probe *p, const unsigned char *is,
		   const unsigned char *should, const char *what)
{
	uint32_t i;

	p->wrong = 0;
	for (i = 0; i < p->len; i++)
		p->wrong += is[i] != should[i];
	return p->wrong ? failed(p, what, -EILSEQ) : 0;
}

/* Ordinary I/O; what a cache holds is not what is to be looked at. */
static int range_io(struct probe *p, bool write, unsigned char *mem)
{
	uint32_t done = 0;
	ssize_t ret;

	if (!write)
		posix_fadvise(p->fd, p->pos, p->len, POSIX_FADV_DONTNEED);
	while (done < p->len) {
		ret = write ? pwrite(p->fd, mem + done, p->len - done,
				     p->pos + done) :
			      pread(p->fd, mem + done, p->len - done,
				    p->pos + done);
		if (ret <= 0)
			return failed(p, write ? "ordinary write" :
				      "ordinary read", ret ? -errno : -EIO);
		done += ret;
	}
	if (write && fsync(p->fd))
		return failed(p, "flush", -errno);
	return 0;
}

/* The I/O that is to be tried. */
static int buffer_io(struct probe *p, bool write)
{
	struct blkdmabuf_done done = {};
	int ret;

	ret = (write ? blkdmabuf_queue_write : blkdmabuf_queue_read)
	      (p->queue, p->chan, p->pos, p->len, p->slot, 0, 0, 0);
	while (!ret) {
		ret = blkdmabuf_queue_reap(p->queue, &done, 1, 1);
		if (ret == -EINTR)
			ret = 0;
	}
	if (ret == 1)
		ret = done.res < 0 ? done.res :
		      done.res == (int32_t)p->len ? 0 : -EIO;
	p->copied += done.copied;
	return ret ? failed(p, write ? "buffer to device" :
			    "device to buffer", ret) : 0;
}

/* To or from the buffer by the CPU; only where there is a mapping. */
static void map_copy(struct probe *p, bool write, unsigned char *mem)
{
	bool sync = !p->buf->bar;

	if (sync)
		blkdmabuf_cpu_access(p->buf->fd, 1, write);
	if (write)
		memcpy(p->map, mem, p->len);
	else
		memcpy(mem, p->map, p->len);
	if (sync)
		blkdmabuf_cpu_access(p->buf->fd, 0, write);
}

/* ---- One after the other ---- */

/* Fails before anything was changed, but for what the channel shows. */
static int save(struct probe *p)
{
	int ret = range_io(p, false, p->range);

	if (!ret && p->map)
		map_copy(p, false, p->memory);
	return ret;
}

/* Buffer to device: what is in the buffer has to be in the range. */
static int probe_write(struct probe *p)
{
	int ret;

	if (p->map) {
		fill(p->work, p->len, 1);
		map_copy(p, true, p->work);
	}
	ret = buffer_io(p, true);
	if (ret)
		return ret;
	if (!p->map)
		return range_io(p, false, p->memory);
	ret = range_io(p, false, p->work);
	if (ret)
		return ret;
	fill(p->work + p->len, p->len, 1);
	return compare(p, p->work, p->work + p->len, "buffer to device");
}

/*
 * Device to buffer: what is in the range has to be in the buffer.  Without a
 * mapping it is written to the range again, over something else.
 */
static int probe_read(struct probe *p)
{
	unsigned char *should = p->work + p->len;
	int ret;

	fill(should, p->len, 2);
	ret = range_io(p, true, should) ?: buffer_io(p, false);
	if (ret)
		return ret;
	if (p->map) {
		map_copy(p, false, p->work);
		return compare(p, p->work, should, "device to buffer");
	}
	fill(p->work, p->len, 3);
	ret = range_io(p, true, p->work) ?:
	      buffer_io(p, true) ?:
	      range_io(p, false, p->work);
	return ret ?: compare(p, p->work, should,
			      "device to buffer and back");
}

/* The buffer first: without a mapping it takes the range. */
static int put_back(struct probe *p, bool wrote)
{
	int ret = 0, last;

	if (p->map)
		map_copy(p, true, p->memory);
	else if (wrote)
		ret = range_io(p, true, p->memory) ?: buffer_io(p, false);
	last = range_io(p, true, p->range);
	if (!last)
		last = range_io(p, false, p->work);
	if (!last)
		last = compare(p, p->work, p->range, "putting back");
	return last ?: ret;
}

/* Nothing may stop it in between but what stops everything. */
static int run(struct probe *p)
{
	sigset_t signals, old;
	const char *what;
	uint64_t wrong;
	int ret, back;

	ret = save(p);
	if (ret)
		return ret;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGPIPE);
	sigprocmask(SIG_BLOCK, &signals, &old);
	ret = probe_write(p);
	back = ret;
	if (!ret)
		ret = probe_read(p);
	what = p->what;
	wrong = p->wrong;
	back = put_back(p, !back);
	p->lost = back;
	if (!back) {
		p->what = what;
		p->wrong = wrong;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return back ?: ret;
}

/* ---- Setting up ---- */

static void map_buffer(struct probe *p)
{
	const struct bar *bar = p->buf->bar;
	uint64_t offset = 0;
	void *map;

	p->map_size = p->len;
	if (bar && bar->nr && bar->ranges[0].length < p->len)
		return;
	if (bar && blkdmabuf_vfio_region(bar->device, bar->number, &offset,
					 NULL))
		return;
	if (bar && bar->nr)
		offset += bar->ranges[0].offset;
	map = mmap(NULL, p->map_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   bar ? bar->device : p->buf->fd, offset);
	if (map != MAP_FAILED)
		p->map = map;
}

/* What fits: of the buffer, and in whole blocks. */
static int choose_range(struct probe *p, const struct options *o)
{
	struct blk_dmabuf_limits lim;
	int ret = blkdmabuf_limits(p->chan, &lim);

	if (ret)
		return failed(p, "limits", ret);
	p->pos = o->probe_range;
	p->len = p->buf->size < PROBE_SIZE ? p->buf->size : PROBE_SIZE;
	p->len -= p->len % lim.write_block_size;
	if (!p->len || p->pos % lim.write_block_size)
		return failed(p, say("range is no multiple of %u bytes",
				     lim.write_block_size), -EINVAL);
	if (p->pos > lim.bytes || p->len > lim.bytes - p->pos)
		return failed(p, "range leaves the device or file", -ERANGE);
	return 0;
}

static int set_up(struct probe *p, const struct options *o)
{
	int ret;

	p->chan = blkdmabuf_channel_flags(p->fd, o->allow_copy ?
					  BLK_DMABUF_CHANNEL_COPY : 0);
	if (p->chan < 0)
		return failed(p, "channel", p->chan);
	ret = choose_range(p, o);
	if (ret)
		return ret;
	ret = blkdmabuf_bind(p->chan, p->buf->fd, BLK_DMABUF_SLOT_ANY, NULL);
	if (ret < 0)
		return failed(p, "bind", ret);
	p->slot = ret;
	ret = blkdmabuf_queue_open(&p->queue, 1);
	if (ret)
		return failed(p, "ring", ret);
	p->range = aligned_alloc(ALIGNMENT, PROBE_SIZE);
	p->memory = aligned_alloc(ALIGNMENT, PROBE_SIZE);
	p->work = aligned_alloc(ALIGNMENT, 2 * PROBE_SIZE);
	if (!p->range || !p->memory || !p->work)
		return failed(p, "memory", -ENOMEM);
	map_buffer(p);
	return 0;
}

static void take_down(struct probe *p)
{
	if (p->map)
		munmap(p->map, p->map_size);
	free(p->work);
	free(p->memory);
	free(p->range);
	blkdmabuf_queue_close(p->queue);
	close_fd(p->chan);
}

static void tell_probe(struct checks *c, const struct probe *p, int ret,
		       unsigned int reason)
{
	if (!ret)
		tell(c, "probe", p->copied && !c->copy ? NO : YES,
		     say("%s: %s at %" PRIu64 " from the buffer and to it, "
			 "every byte right, all put back%s", p->buf->name,
			 human_size(p->len), p->pos,
			 p->copied ? "; copied by the CPU" : ""), NULL);
	else if (p->lost)
		tell(c, "probe", NO,
		     say("%s: %s: %s; what was at %" PRIu64 " could not be put "
			 "back", p->buf->name, p->what, strerror(-ret), p->pos),
		     "restore it from a backup, and look at the kernel log");
	else if (ret == -EILSEQ)
		tell(c, "probe", NO,
		     say("%s: %s: %" PRIu64 " of %u bytes are wrong",
			 p->buf->name, p->what, p->wrong, p->len),
		     "look for DMA faults in the kernel log");
	else
		tell(c, "probe", NO,
		     say("%s: %s: %s%s%s", p->buf->name, p->what,
			 strerror(-ret), reason ? ": " : "",
			 reason ? blkdmabuf_reason_text(reason) : ""),
		     reason ? blkdmabuf_reason_advice(reason) :
		     "another --probe-range, and dmesg");
}

/* The buffer is registered on the disk of @dev, which is open for both. */
void check_probe(struct checks *c, const struct device *dev,
		 const struct buffer *buf)
{
	struct probe p = { .fd = dev->fd, .chan = -1, .buf = buf };
	struct blk_dmabuf_features before;
	unsigned int reason = 0;
	int ret;

	fcntl(dev->fd, F_SETFL, O_DIRECT);
	refusals_now(&before);
	ret = set_up(&p, c->o) ?: run(&p);
	if (ret)
		reason = refused_since(&before);
	take_down(&p);
	tell_probe(c, &p, ret, reason);
}
