// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Read a file into a buffer: many reads at a time, each straight from the disk to
 * where it belongs.  What is in the buffer then goes to standard output.
 *
 *   read-file FILE|DEVICE
 *
 *   cc read-file.c $(pkg-config --cflags --libs libblkdmabuf) -luring
 */
#include "example.h"

#define PIECE	(1 * MIB)
#define DEPTH	16

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Of a file that does not end with a block the last read is short. */
static void read_all(int chan, uint32_t slot, uint64_t size, uint64_t block)
{
	struct blkdmabuf_queue *queue;
	struct blkdmabuf_done done;
	uint64_t pos = 0, len;

	check(blkdmabuf_queue_open(&queue, DEPTH), "io_uring");
	while (pos < size || blkdmabuf_queue_inflight(queue)) {
		while (pos < size && blkdmabuf_queue_inflight(queue) < DEPTH) {
			len = size - pos < PIECE ? size - pos : PIECE;
			start_read(queue, chan, pos, round_up(len, block), slot,
				   pos, len);
			pos += len;
		}
		/* How long each has to be came along with it. */
		reap_any(queue, &done);
		if (done.res < (int)done.user)
			errx(EXIT_FAILURE, "the file became shorter");
	}
	blkdmabuf_queue_close(queue);
}

int main(int argc, char **argv)
{
	struct blk_dmabuf_limits limits;
	struct blkdmabuf_ctl *ctl;
	unsigned char *mem;
	int file, dmabuf, chan, probe;
	uint64_t size;
	uint32_t slot;

	if (argc != 2)
		errx(2, "usage: %s FILE|DEVICE", argv[0]);
	file = open_direct(argv[1], O_RDONLY);

	/* The channel knows how large the file is, and its blocks. */
	probe = check(blkdmabuf_channel(file), "channel");
	check(blkdmabuf_limits(probe, &limits), "limits");
	close(probe);
	size = limits.bytes;
	if (!size)
		return EXIT_SUCCESS;

	dmabuf = make_buffer(round_up(round_up(size, limits.block_size), 4096),
			     &mem);
	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	chan = open_channel(ctl, file, dmabuf, &slot);
	read_all(chan, slot, size, limits.block_size);

	check(blkdmabuf_cpu_access(dmabuf, 1, 0), "begin access");
	if (fwrite(mem, 1, size, stdout) != size || fflush(stdout))
		err(EXIT_FAILURE, "write");
	check(blkdmabuf_cpu_access(dmabuf, 0, 0), "end access");

	/* The registration ends with its owner. */
	close(chan);
	blkdmabuf_ctl_close(ctl);
	return EXIT_SUCCESS;
}
