// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf-exec: run a command with a dma-buf as its file descriptor 9.
 *
 *   dmabuf-exec 1M blkdmabufctl register /dev/nvme0n1 --fd 9
 *   dmabuf-exec --shuffled 4M blkdmabufctl register /dev/nvme0n1 --fd 9
 *
 * The dma-buf is a udmabuf of that size, and full of zeroes.
 */
#include "dmabuf.h"

#define FD	9	/* a shell gives its own no such number by itself */

int main(int argc, char **argv)
{
	bool shuffled = argc > 1 && !strcmp(argv[1], "--shuffled");
	uint64_t size = 0;
	char *unit;
	int fd;

	argc -= shuffled;
	argv += shuffled;
	if (argc > 2) {
		size = strtoull(argv[1], &unit, 10);
		size *= *unit == 'M' ? MIB : 1;
	}
	if (!size) {
		fprintf(stderr, "usage: dmabuf-exec [--shuffled] SIZE COMMAND...\n");
		return 2;
	}
	fd = shuffled ? shuffled_udmabuf(size, NULL) :
			blkdmabuf_udmabuf(size, 0);
	/* dup2() leaves close on exec behind. */
	if (fd < 0 || dup2(fd, FD) != FD) {
		fprintf(stderr, "dmabuf-exec: no udmabuf: %s\n",
			strerror(fd < 0 ? -fd : errno));
		return 1;
	}
	execvp(argv[2], argv + 2);
	fprintf(stderr, "dmabuf-exec: %s: %s\n", argv[2], strerror(errno));
	return 1;
}
