// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The whole of it in one small program: register a dma-buf on a disk, bind it
 * to a channel, write from it and read into it through io_uring.
 *
 *   roundtrip DEVICE|FILE [POSITION]
 *
 *   cc roundtrip.c $(pkg-config --cflags --libs libblkdmabuf) -luring
 *
 * Overwrites 64 KiB of the device, or of a file that is there, at the position.
 * Each direction is compared with plain direct I/O to the same blocks, so a
 * mistake in one cannot hide behind the same mistake in the other.
 */
#include <stdbool.h>

#include "example.h"

#include <liburing.h>

#define SIZE	65536

/* Bytes that depend on where they are. */
static void fill(unsigned char *p, unsigned char seed)
{
	for (size_t i = 0; i < SIZE; i++)
		p[i] = seed + i + (i >> 8);
}

/* The CPU has to say when it looks at the buffer, and when it is done. */
static void fill_buffer(int dmabuf, unsigned char *p, unsigned char seed)
{
	check(blkdmabuf_cpu_access(dmabuf, true, true), "begin access");
	fill(p, seed);
	check(blkdmabuf_cpu_access(dmabuf, false, true), "end access");
}

/* One I/O: submit, wait, and look at the result. */
static void do_io(struct io_uring *ring, int chan, bool write, uint64_t pos,
		  uint32_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;

	if (write)
		blkdmabuf_prep_write(sqe, chan, pos, SIZE, slot, 0, 0);
	else
		blkdmabuf_prep_read(sqe, chan, pos, SIZE, slot, 0, 0);
	check(io_uring_submit(ring), "submit");
	check(io_uring_wait_cqe(ring, &cqe), "wait");
	if (check(cqe->res, write ? "write" : "read") != SIZE)
		errx(EXIT_FAILURE, "only %d bytes done", cqe->res);
	io_uring_cqe_seen(ring, cqe);
}

/* Buffer to device: then a plain read must find it there. */
static void try_write(struct io_uring *ring, int chan, uint32_t slot,
		      int dmabuf, unsigned char *buf, int file, uint64_t pos,
		      unsigned char *plain)
{
	fill_buffer(dmabuf, buf, 1);
	do_io(ring, chan, true, pos, slot);
	if (pread(file, plain, SIZE, pos) != SIZE)
		err(EXIT_FAILURE, "pread");
	check(blkdmabuf_cpu_access(dmabuf, true, false), "begin access");
	if (memcmp(buf, plain, SIZE))
		errx(EXIT_FAILURE, "write: the device has other bytes");
	check(blkdmabuf_cpu_access(dmabuf, false, false), "end access");
	printf("write: %d bytes, as a plain read sees them\n", SIZE);
}

/* Device to buffer: a plain write put there what must arrive. */
static void try_read(struct io_uring *ring, int chan, uint32_t slot,
		     int dmabuf, unsigned char *buf, int file, uint64_t pos,
		     unsigned char *plain)
{
	fill_buffer(dmabuf, buf, 0);
	fill(plain, 99);
	if (pwrite(file, plain, SIZE, pos) != SIZE)
		err(EXIT_FAILURE, "pwrite");
	do_io(ring, chan, false, pos, slot);
	check(blkdmabuf_cpu_access(dmabuf, true, false), "begin access");
	if (memcmp(buf, plain, SIZE))
		errx(EXIT_FAILURE, "read: the buffer has other bytes");
	check(blkdmabuf_cpu_access(dmabuf, false, false), "end access");
	printf("read: %d bytes, as a plain write put them\n", SIZE);
}

int main(int argc, char **argv)
{
	uint64_t pos = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	struct blkdmabuf_ctl *ctl;
	unsigned char *buf, *plain;
	int file, dmabuf, chan;
	uint32_t slot;
	struct io_uring ring;

	if (argc < 2)
		errx(2, "usage: %s DEVICE|FILE [POSITION]", argv[0]);
	/* O_EXCL is for a device: not if it is mounted or part of something. */
	file = open_direct(argv[1], O_RDWR | O_EXCL);

	dmabuf = make_buffer(SIZE, &buf);
	plain = aligned_alloc(4096, SIZE);
	if (!plain)
		err(EXIT_FAILURE, "memory");
	check(blkdmabuf_ctl_open(&ctl, NULL), "load the control programs");
	chan = open_channel(ctl, file, dmabuf, &slot);
	check(io_uring_queue_init(8, &ring, 0), "io_uring");

	try_write(&ring, chan, slot, dmabuf, buf, file, pos, plain);
	try_read(&ring, chan, slot, dmabuf, buf, file, pos, plain);

	io_uring_queue_exit(&ring);
	close(chan);
	/* The registration ends with its owner. */
	blkdmabuf_ctl_close(ctl);
	return EXIT_SUCCESS;
}
