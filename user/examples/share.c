// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One buffer on two disks: what one disk has read into it the other writes out of
 * it.  No byte meets a CPU.
 *
 *   share FROM TO LENGTH
 *
 *   cc share.c $(pkg-config --cflags --libs libblkdmabuf) -luring
 *
 * Overwrites the first LENGTH bytes, whole MiB, of the device or file TO.
 */
#include "example.h"

#define PIECE	(1 * MIB)
#define NR	8	/* pieces that are on their way at a time */

/* What a completion belongs to: a piece of the buffer, and what it did. */
#define READING	0
#define WRITING	NR

struct end {
	int		chan;
	uint32_t	slot;
};

static void copy(struct end from, struct end to, uint64_t length)
{
	uint64_t at[NR], next = 0, written = 0;
	struct blkdmabuf_queue *queue;
	struct blkdmabuf_done done;
	unsigned int i;

	check(blkdmabuf_queue_open(&queue, NR), "io_uring");
	for (i = 0; i < NR && next < length; i++, next += PIECE) {
		at[i] = next;
		start_read(queue, from.chan, next, PIECE, from.slot, i * PIECE,
			   READING + i);
	}
	while (written < length) {
		reap_one(queue, &done, PIECE);
		i = done.user % NR;
		if (done.user < WRITING) {
			start_write(queue, to.chan, at[i], PIECE, to.slot,
				    i * PIECE, WRITING + i);
			continue;
		}
		written += PIECE;
		if (next == length)
			continue;
		at[i] = next;
		next += PIECE;
		start_read(queue, from.chan, at[i], PIECE, from.slot, i * PIECE,
			   READING + i);
	}
	blkdmabuf_queue_close(queue);
}

int main(int argc, char **argv)
{
	uint64_t length = argc == 4 ? strtoull(argv[3], NULL, 0) : 0;
	struct blkdmabuf_ctl *ctl;
	unsigned char *mem;
	struct end from, to;
	int dmabuf, a, b;

	if (!length || length % PIECE)
		errx(2, "usage: %s FROM TO LENGTH, in whole MiB", argv[0]);
	a = open_direct(argv[1], O_RDONLY);
	/* O_EXCL is for a device: not if it is mounted or part of something. */
	b = open_direct(argv[2], O_RDWR | O_EXCL);

	dmabuf = make_buffer(NR * PIECE, &mem);
	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	from.chan = open_channel(ctl, a, dmabuf, &from.slot);
	to.chan = open_channel(ctl, b, dmabuf, &to.slot);
	copy(from, to, length);
	if (fsync(b))
		err(EXIT_FAILURE, "fsync");
	close(from.chan);
	close(to.chan);
	blkdmabuf_ctl_close(ctl);
	return EXIT_SUCCESS;
}
