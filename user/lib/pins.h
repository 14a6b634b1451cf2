/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Directories of pins; the library's, not exported, and blkdmabufctl's. */
#ifndef PINS_H
#define PINS_H

#include <stdbool.h>

/* Is what there is of @path, from the left, on a bpffs? */
bool pins_on_bpffs(const char *path);

/* Make @path and what is above it; 0 or -errno. */
int pins_make_dirs(const char *path);

#endif /* PINS_H */
