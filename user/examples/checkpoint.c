// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A checkpoint: many buffers go to one file, a lot of I/O at a time, and are on
 * the medium when the program says so.  Restoring is the same in the other
 * direction.
 *
 *   checkpoint save FILE		buffers of known content; makes the file
 *   checkpoint load FILE		and looks whether they have it again
 *
 *   cc checkpoint.c $(pkg-config --cflags --libs libblkdmabuf) -luring
 */
#include <stdbool.h>

#include "example.h"

#define NR	12		/* buffers, one behind the other in the file */
#define SIZE	(1 * MIB)	/* of each */
#define PIECE	(256 * KIB)
#define DEPTH	32

struct tensor {
	int		dmabuf;
	unsigned char	*mem;
	uint32_t	slot;
};

/* What it has in byte @i. */
static unsigned char content(unsigned int tensor, size_t i)
{
	return tensor * 31 + i + (i >> 8) * 7;
}

static void fill(struct tensor *t, unsigned int nr)
{
	check(blkdmabuf_cpu_access(t->dmabuf, 1, 1), "begin access");
	for (size_t i = 0; i < SIZE; i++)
		t->mem[i] = content(nr, i);
	check(blkdmabuf_cpu_access(t->dmabuf, 0, 1), "end access");
}

static void compare(struct tensor *t, unsigned int nr)
{
	check(blkdmabuf_cpu_access(t->dmabuf, 1, 0), "begin access");
	for (size_t i = 0; i < SIZE; i++)
		if (t->mem[i] != content(nr, i))
			errx(EXIT_FAILURE, "buffer %u differs at byte %zu", nr,
			     i);
	check(blkdmabuf_cpu_access(t->dmabuf, 0, 0), "end access");
}

/* All pieces of all buffers, in no order that matters. */
static void move(const struct tensor *tensors, int chan, bool save)
{
	struct blkdmabuf_queue *queue;
	struct blkdmabuf_done done;
	uint64_t pos;

	check(blkdmabuf_queue_open(&queue, DEPTH), "io_uring");
	for (pos = 0; pos < NR * SIZE; pos += PIECE) {
		uint32_t slot = tensors[pos / SIZE].slot;

		if (blkdmabuf_queue_inflight(queue) == DEPTH)
			reap_one(queue, &done, PIECE);
		if (save)
			start_write(queue, chan, pos, PIECE, slot, pos % SIZE,
				    0);
		else
			start_read(queue, chan, pos, PIECE, slot, pos % SIZE, 0);
	}
	while (blkdmabuf_queue_inflight(queue))
		reap_one(queue, &done, PIECE);
	blkdmabuf_queue_close(queue);
}

int main(int argc, char **argv)
{
	struct tensor tensors[NR];
	struct blkdmabuf_ctl *ctl;
	int file, chan = -1, i;
	bool save;

	if (argc != 3 || (strcmp(argv[1], "save") && strcmp(argv[1], "load")))
		errx(2, "usage: %s save|load FILE", argv[0]);
	save = !strcmp(argv[1], "save");
	file = open_direct(argv[2], O_RDWR | (save ? O_CREAT : 0));

	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	for (i = 0; i < NR; i++) {
		struct tensor *t = &tensors[i];

		t->dmabuf = make_buffer(SIZE, &t->mem);
		/* One channel has them all, each in a slot of its own. */
		if (i == 0) {
			chan = open_channel(ctl, file, t->dmabuf, &t->slot);
			continue;
		}
		check(blkdmabuf_register(ctl, file, t->dmabuf, NULL),
		      "register");
		t->slot = check(blkdmabuf_bind(chan, t->dmabuf,
					       BLK_DMABUF_SLOT_ANY, NULL),
				"bind");
	}
	for (i = 0; save && i < NR; i++)
		fill(&tensors[i], i);
	move(tensors, chan, save);
	/* The data is on the disk, which may have a cache; so may the inode. */
	if (save && fsync(file))
		err(EXIT_FAILURE, "fsync");
	for (i = 0; !save && i < NR; i++)
		compare(&tensors[i], i);
	close(chan);
	blkdmabuf_ctl_close(ctl);
	return EXIT_SUCCESS;
}
