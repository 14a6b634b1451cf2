/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl bench: what its parts share.
 *
 *  bench.c	what is measured, and on what
 *  cell.c	one measurement: rings, threads, clocks
 *  table.c	how it is told
 */
#ifndef BLKDMABUFCTL_BENCH_H
#define BLKDMABUFCTL_BENCH_H

#include <signal.h>
#include <sys/types.h>

#include "blkdmabufctl.h"
#include "tracecount.h"

enum bench_path {
	BENCH_STOCK, BENCH_REGISTERED, BENCH_PASSTHROUGH, BENCH_OURS,
	BENCH_POLICY, NR_BENCH_PATHS
};

enum bench_mode { BENCH_INTERRUPT, BENCH_POLLED, BENCH_SQPOLL, NR_BENCH_MODES };

/* A bucket is a 32nd of a power of two of nanoseconds wide: 3 %. */
#define HIST_SUB	32
#define HIST_BUCKETS	(40 * HIST_SUB)

/**
 * struct bench_target - what all measurements have in common
 * @fd: device or file, opened with O_DIRECT
 * @ng: the namespace's character device, -1 if there is none
 * @chan: channel, -1 if there is none
 * @slot: slot that the buffer is bound to
 * @nsid: namespace id, for @ng
 * @block: logical block size of the device
 * @start: first byte of @fd on the namespace
 * @bytes: how much of @fd is used, from its beginning
 * @mem: the buffer, as ordinary I/O uses it
 * @mem_size: size of it
 * @controller: of the device, such as "nvme0"; empty for others
 * @write: write instead of reading
 * @sequential: one position after the other instead of any
 * @mode: how rings are set up
 * @threads: how many
 * @cpus: for each thread the CPU that it runs on
 * @stop: a signal came
 */
struct bench_target {
	int			fd;
	int			ng;
	int			chan;
	uint32_t		slot;
	uint32_t		nsid;
	uint32_t		block;
	uint64_t		start;
	uint64_t		bytes;
	void			*mem;
	uint64_t		mem_size;
	char			controller[32];
	bool			write;
	bool			sequential;
	enum bench_mode		mode;
	unsigned int		threads;
	unsigned int		*cpus;
	volatile sig_atomic_t	*stop;
};

/* What a measurement is of. */
struct bench_cell {
	enum bench_path	path;
	uint32_t	size;
	unsigned int	depth;
	unsigned int	batch;
};

/**
 * struct bench_sample - what came out
 * @err: -errno that ended it, 0 if nothing did
 * @what: what failed with it
 * @ios: I/Os that ended within the time
 * @ns: the time, of all threads together divided by their number
 * @cpu_ns: user and system time of the process, its SQPOLL threads included
 * @switches: context switches
 * @interrupts: of the controller, -1 if not known
 * @hist: latencies
 */
struct bench_sample {
	int		err;
	const char	*what;
	uint64_t	ios;
	uint64_t	ns;
	uint64_t	cpu_ns;
	uint64_t	switches;
	int64_t		interrupts;
	uint64_t	hist[HIST_BUCKETS];
};

void bench_run(const struct bench_target *t, const struct bench_cell *cell,
	       double seconds, struct bench_sample *sample);
uint64_t bench_percentile(const uint64_t hist[HIST_BUCKETS], double percent);

#define BENCH_LIST	16	/* more rows than fit a page help nobody */
#define BENCH_ROUNDS	99

/**
 * struct bench_row - a path in a cell of size and depth
 * @cell: what it is
 * @iops: of each round
 * @rounds: how many there were
 * @sum: of all rounds
 * @counted: of the run that counted: its I/Os, 0 if there was none
 * @counts: what it counted
 * @known: which of these mean something
 * @err: -errno that ended it
 * @reason: the kernel's for that
 * @why: why there are no numbers; empty if there are
 */
struct bench_row {
	struct bench_cell	cell;
	double			iops[BENCH_ROUNDS];
	unsigned int		rounds;
	struct bench_sample	sum;
	uint64_t		counted;
	uint64_t		counts[NR_TRACE_EVENTS];
	bool			known[NR_TRACE_EVENTS];
	int			err;
	unsigned int		reason;
	char			why[256];
};

/**
 * struct bench - a run of the command
 * @o: command line; its flags for memory follow --buffer
 * @sizes: of I/Os
 * @depths: I/Os in flight, of a thread
 * @seconds: that a round of a row takes
 * @fragmented: the buffer has its pages in shuffled order
 * @dev: device or file
 * @t: what measurements share
 * @ctl: control, if something could be registered
 * @id: registration, 0 if there is none
 * @dmabuf: the buffer
 * @ranges: contiguous pieces of its mapping
 * @max_command: what one command of NVMe passthrough can move
 * @ours: why the rows with a dma-buf have no numbers; empty if they do
 * @no_ng: the same for NVMe passthrough
 * @policy: the policy that was selected; empty if there was none
 * @deselected: it is not selected now, because we said so
 * @rows: all of them
 * @nr_rows: how many
 * @done: rounds of rows that are through, of
 * @todo: so many
 */
struct bench {
	struct options		o;
	uint64_t		sizes[BENCH_LIST];
	unsigned int		nr_sizes;
	uint64_t		depths[BENCH_LIST];
	unsigned int		nr_depths;
	double			seconds;
	bool			fragmented;
	struct device		dev;
	struct bench_target	t;
	struct blkdmabuf_ctl	*ctl;
	uint32_t		id;
	int			dmabuf;
	uint32_t		ranges;
	uint64_t		max_command;
	char			ours[256];
	char			no_ng[256];
	char			policy[64];
	bool			deselected;
	struct bench_row		*rows;
	unsigned int		nr_rows;
	unsigned int		done;
	unsigned int		todo;
};

extern const char *const bench_modes[NR_BENCH_MODES];
const char *bench_path_name(const struct bench *b, enum bench_path path);
struct json_object *bench_json(struct bench *b, bool interrupted);
void bench_text(struct bench *b, struct json_object *all);

#endif /* BLKDMABUFCTL_BENCH_H */
