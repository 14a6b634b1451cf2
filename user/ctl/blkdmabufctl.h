/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blkdmabufctl: what its files share.
 *
 *  cmdline.h	tables of commands and options
 *  blkdmabufctl.c	parsing, help, completion
 *  check.c		check: kernel, devices and files
 *  path.c		check: the path between a disk and a buffer
 *  probe.c		check --probe: bytes on a range, and back
 *  reg.c		register, unregister, map, unmap, list, show
 *  io.c		read, write, copy: what they ask for
 *  xfer.c		the engine that moves the bytes
 *  wire.h		receive, send: and which files they are in
 *  policy.h		policy: and which files it is in
 *  stat.c		stat, top: counting, with watch.bpf.c
 *  report.c		stat, top: how a report looks
 *  bench.h		bench: and which files it is in
 *  open.c		devices and files, and what they are on
 *  buffer.c		dma-bufs, as the command line names them
 *  memory.c		is there memory for a buffer
 *  util.c		what the tool tells, numbers, signals
 */
#ifndef BLKDMABUFCTL_H
#define BLKDMABUFCTL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/param.h>	/* MIN(), MAX() */
#include <sys/types.h>
#include <unistd.h>

#include <json-c/json.h>

#include "libblkdmabuf.h"
#include "pins.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static inline uint64_t round_up(uint64_t val, uint64_t unit)
{
	return (val + unit - 1) / unit * unit;
}

enum exit_code {
	EXIT_OK		= 0,
	EXIT_FAILED	= 1,
	EXIT_USAGE	= 2,
};

/* One bit each in struct options.given. */
enum option_id {
#define OPTION(id, ...)	OPT_##id,
#include "cmdline.h"
	NR_OPTIONS
};

/* The values of an option that may be repeated. */
struct words {
	unsigned int	nr;
	const char	*word[32];
};

/* As many as 'check' takes. */
#define MAX_ARGS	16

/* What the value of an option is, by its type. */
#define VALUE_FLAG	bool
#define VALUE_STRING	const char *
#define VALUE_LIST	struct words
#define VALUE_SIZE	uint64_t
#define VALUE_U32	uint32_t

/* What the command line says; an option that is not given has its default. */
struct options {
	uint64_t	given;
#define OPTION(id, type, member, ...)	VALUE_##type member;
#include "cmdline.h"
	const char	*args[MAX_ARGS];	/* what is no option, or NULL */
};

static inline bool given(const struct options *o, enum option_id id)
{
	return o->given & (1ULL << id);
}

/* What was not opened is -1. */
static inline void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- Commands: each returns an enum exit_code, or 128 + signal. ---- */

#define COMMAND(id, run, ...)	int run(const struct options *o);
#include "cmdline.h"

/* The file in sysfs that selects a disk's policy. */
const char *policy_attr(dev_t disk);
/* The name it has, "none" among them, or NULL. */
const char *policy_selected(const char *attr);
/* 0 or -errno. */
int policy_write(const char *attr, const char *name);

/* For completion: names of policies that are loaded, that could be loaded. */
void offer_policies(const char *prefix);
void offer_policy_files(const char *prefix);
/* A word that the one which begins with @prefix could become. */
void offer(const char *word, const char *prefix, const char *before);

/* ---- Telling ---- */

/* Set while the command line is read; decides where words go. */
extern bool want_json;

/**
 * struct failure - all that is said about something that went wrong
 * @what: what failed, a verb, or a clause that the object completes
 * @object: on which object; NULL if there is none
 * @err: -errno, 0 if there is none that fits
 * @reason: enum blk_dmabuf_reason, BLK_DMABUF_OK if the kernel gave none
 * @advice: what to try next; NULL for that of the reason or the errno
 * @partial: JSON object to put the error into, taken over; may be NULL
 */
struct failure {
	const char		*what;
	const char		*object;
	int			err;
	unsigned int		reason;
	const char		*advice;
	struct json_object	*partial;
};

int report_failure(const struct failure *f);

#define fail(...) \
	report_failure(&(const struct failure) { __VA_ARGS__ })

/* What to try after -errno if nothing else is known. */
const char *error_advice(int err);

/* @also: what goes on behind the advice. */
int unaligned(const char *what, uint64_t val, const char *path, uint32_t to,
	      const char *also);

/* The help of the command that was named is the advice, or there is another. */
void usage_command(const char *name);
int usage_error(const char *what, const char *object);
int usage_error_try(const char *what, const char *object, const char *advice);
/* Whoever needs it for longer than the next message copies it. */
const char *say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Under -j, and nothing otherwise; takes @obj over. */
void print_json(struct json_object *obj);
void add_str(struct json_object *obj, const char *key, const char *val);
void add_u64(struct json_object *obj, const char *key, uint64_t val);
void add_bool(struct json_object *obj, const char *key, bool val);
void add_double(struct json_object *obj, const char *key, double val);

/* ---- Lists: records, as they are in JSON, and columns of them ---- */

/**
 * struct cell - what a record has in a column
 * @val: member of the record, NULL for null
 * @record: all of it
 * @more: what is known beside the record
 */
struct cell {
	struct json_object	*val;
	struct json_object	*record;
	const void		*more;
};

/**
 * struct field - a column; the last of several has no @format
 * @head: its head; lists whose first column has none go without
 * @format: of a cell, and of the head, behind what is left of it
 * @key: member of the record, "/a/b" if that is inside another
 * @text: how it reads; what returns NULL ends the line
 */
struct field {
	const char	*head;
	const char	*format;
	const char	*key;
	const char	*(*text)(const struct cell *c);
};

/* As in JSON, but "a, b" for a list, and "-" for null and an empty list. */
const char *cell_text(const struct cell *c);
const char *cell_size(const struct cell *c);
struct json_object *member(struct json_object *record, const char *key);
const char *member_text(struct json_object *record, const char *key);
void put_heads(FILE *f, const struct field *fields);
void put_record(FILE *f, const struct field *fields, struct json_object *record,
		const void *more);
/* With heads, if there are any, and not many more than @max. */
void put_records(FILE *f, const struct field *fields, struct json_object *list,
		 size_t max, const void *more);
/* As JSON or in columns; takes @list over. */
void tell_list(const struct field *fields, struct json_object *list);

/* ---- Signals: one asks to stop in order, one more after a while ends it. ---- */

extern volatile sig_atomic_t stop_signal;
void catch_signals(void);
bool hangup_ignored(void);

/* ---- Progress ---- */

#define LENGTH_UNKNOWN	UINT64_MAX

/**
 * struct progress - when a transfer began, and when that was shown, in seconds
 */
struct progress {
	double	start;
	double	shown;
};

/* Seconds of the monotonic clock. */
double now(void);
/* A line on the terminal, if it is time for one; taken away again if @last. */
void show_progress(struct progress *p, uint64_t done, uint64_t length,
		   bool last);

/* ---- Numbers ---- */

bool parse_size(const char *s, uint64_t *size);
bool parse_u32(const char *s, uint32_t *val);
const char *human_size(uint64_t bytes);

/* ---- The system ---- */

/**
 * struct device - an open block device, or file on one
 * @path: as the user named it
 * @fd: open file, -1 if closed
 * @file: it is a regular file
 * @created: the file was not there before
 * @disk: device number of the disk; of a file that of the disk, or stack of
 *	disks, that its file system is on, 0 if the file system names none
 * @start: first byte of a block device on the disk
 */
struct device {
	const char	*path;
	int		fd;
	bool		file;
	bool		created;
	dev_t		disk;
	uint64_t	start;
};

int need_kernel(void);
/* errno of what names nothing */
bool is_not_there(int err);
/* A flag for device_open(): --force does not do without O_EXCL. */
#define O_UNFORCED	(1 << 30)

/* O_CREAT and O_EXCL are for a file and for a block device alone. */
int device_open(struct device *dev, const char *path, int flags);
int device_open_block(struct device *dev, const char *path, int flags);
int device_find_disk(const char *path, dev_t *disk);
int device_channel(const struct device *dev, uint32_t flags,
		   unsigned int *reason);
int device_sysfs(dev_t disk, char *path, size_t len);
/* Type of its group, or one of these; NULL: the disk is not in sysfs. */
#define IOMMU_NONE	"none"
#define IOMMU_VIRTUAL	"virtual"
const char *device_iommu(dev_t disk);
unsigned int device_leaves(dev_t disk, dev_t *leaves, unsigned int max);
const char *file_system(int fd);
const char *file_obstacle(int fd);
const char *file_advice(const struct device *dev, unsigned int reason);

/* What the kernel has counted as refused so far; zeroed if nobody can tell. */
void refusals_now(struct blk_dmabuf_features *now);
unsigned int refused_since(const struct blk_dmabuf_features *before);

/**
 * struct infos - every registration of the kernel
 * @infos: ascending ids, for free()
 * @nr: how many
 */
struct infos {
	struct blk_dmabuf_info	*infos;
	unsigned int		nr;
};

/* 0, or -errno and there are none. */
int infos_get(struct blkdmabuf_ctl *ctl, struct infos *all);
/* NULL is any disk. */
bool info_is_on(const struct blk_dmabuf_info *info, const dev_t *disk);

int open_control(struct blkdmabuf_ctl **ctl, const char *pin);
bool pin_exists(const char *dir);
uint64_t huge_page_size(void);
bool read_line(const char *path, char *buf, size_t len);
/* The number behind @key in a file of lines of both; @key may be "". */
bool number_in(const char *path, const char *key, int base, uint64_t *val);

int dmabuf_udmabuf(const struct options *o, uint64_t size);
int dmabuf_udmabuf_mapped(const struct options *o, uint64_t size,
			  bool fragmented, void **mem);
int dmabuf_heap(const struct options *o, const char *name, uint64_t size);
/* --heap NAME:SIZE */
int dmabuf_heap_size(const struct options *o);
/* Do options go together that name a buffer?  An exit code. */
int buffer_options_check(const struct options *o);
int memory_fits(const struct options *o, uint64_t size);
int dmabuf_given(const struct options *o);

/**
 * struct bar - memory of a PCI device as a dma-buf
 * @name: of the device
 * @number: of the BAR
 * @device: open vfio device; the dma-buf lives as long as this is open
 * @ranges: parts of the BAR that it consists of
 * @nr: how many; 0 means all of the BAR
 */
struct bar {
	char				name[32];
	unsigned int			number;
	int				device;
	struct blkdmabuf_vfio_range	ranges[32];
	unsigned int			nr;
};

int bar_parse(struct bar *bar, const struct words *words);
int dmabuf_bar(struct bar *bar);
int report_map_failure(struct blkdmabuf_ctl *ctl, uint32_t id, int err,
		       const char *object);

/* ---- check ---- */

enum verdict { NO, YES, INFO, UNKNOWN };

/**
 * struct checks - what was found out so far
 * @o: command line
 * @list: for JSON
 * @pairs: for JSON: the path of each pair of a device and a buffer
 * @object: device or file that it is about, or NULL
 * @copy: copying will do
 * @usable: nothing that is needed is missing, or may be
 * @refused: reason that the kernel gave for refusing the file
 */
struct checks {
	const struct options	*o;
	struct json_object	*list;
	struct json_object	*pairs;
	const char		*object;
	bool			copy;
	bool			usable;
	unsigned int		refused;
};

void tell(struct checks *c, const char *name, enum verdict verdict,
	  const char *text, const char *advice);
/* What is neither good nor bad, as printf() takes it. */
#define note(c, name, ...)	tell(c, name, INFO, say(__VA_ARGS__), NULL)

/**
 * struct buffer - a dma-buf to try it with
 * @name: for messages
 * @fd: the dma-buf
 * @bar: what it was made of, or NULL
 * @size: bytes
 */
struct buffer {
	char		name[64];
	int		fd;
	struct bar	*bar;
	uint64_t	size;
};

#define MAX_BUFFERS	4

/**
 * struct buffers - all of them
 * @buffer: each
 * @nr: how many
 * @bar: memory of another device, if that is one
 */
struct buffers {
	struct buffer	buffer[MAX_BUFFERS];
	unsigned int	nr;
	struct bar	bar;
};

int buffers_open(struct buffers *bufs, const struct options *o);
void buffers_close(struct buffers *bufs);
const char *provider_text(const struct blk_dmabuf_info *info);
void path_json(struct json_object *obj, const struct blk_dmabuf_info *info);
void tell_path(struct checks *c, const struct blk_dmabuf_info *info,
	       const struct buffer *buf, const char *name);
void tell_no_path(struct checks *c, const struct blk_dmabuf_attach *res,
		  const struct buffer *buf, const char *disk);
void check_probe(struct checks *c, const struct device *dev,
		 const struct buffer *buf);

/* With --netdev: the first buffer stays bound to the NIC as long as *@binding. */
void check_netif(struct checks *c, const char *name,
		 const struct buffers *bufs, int *binding);

/* ---- The engine ---- */

enum end_kind { END_BUFFER, END_CHANNEL, END_PLAIN };

/**
 * struct end - where bytes come from, or where they go to
 * @kind: END_BUFFER: the dma-buf itself is the end; END_CHANNEL: a block device
 *	or file that the kernel moves them from or to; END_PLAIN: a file that
 *	this process reads or writes, through a mapping of the dma-buf
 * @path: name for messages; "-" is a stream
 * @fd: END_PLAIN: open file, -1 if not opened yet
 * @stream: END_PLAIN: cannot seek
 * @dev: END_CHANNEL
 * @chan: END_CHANNEL: channel
 * @slot: END_CHANNEL: slot the dma-buf is bound to
 * @id: END_CHANNEL: registration that was made for it, 0 if there was one
 * @limits: END_CHANNEL
 * @unit: END_CHANNEL: positions and lengths of I/O are multiples of this
 * @part: END_CHANNEL, target: a last block may be filled in part if the bytes
 *	end here or behind, because nothing is behind them that would be lost;
 *	UINT64_MAX for never
 * @why: END_PLAIN: why the kernel does not move them; NULL if nobody asked
 * @pos: first byte
 */
struct end {
	enum end_kind			kind;
	const char			*path;
	int				fd;
	bool				stream;
	struct device			dev;
	int				chan;
	uint32_t			slot;
	uint32_t			id;
	struct blk_dmabuf_limits	limits;
	uint32_t			unit;
	uint64_t			part;
	const char			*why;
	uint64_t			pos;
};

/**
 * struct xfer - a transfer
 * @name: name of the command
 * @src: where from
 * @dst: where to
 * @dmabuf: the buffer, file descriptor
 * @map: the buffer in our memory, where that is needed
 * @map_size: size of @map
 * @buf_offset: first byte in the buffer
 * @linear: the whole transfer has its place in the buffer; else each chunk
 *	uses its own place again and again
 * @length: bytes to move, or LENGTH_UNKNOWN
 * @block_size: size of a chunk
 * @depth: chunks at a time
 * @done: out: bytes moved, counted from the beginning without a gap
 * @begun: out: bytes that were begun, done or not
 * @ios: out: I/Os done on channels
 * @copied: out: of these, those that the kernel's CPU copied
 * @signal: out: the signal that stopped it
 */
struct xfer {
	const char	*name;
	struct end	src;
	struct end	dst;
	int		dmabuf;
	char		*map;
	uint64_t	map_size;
	uint64_t	buf_offset;
	bool		linear;
	uint64_t	length;
	uint64_t	block_size;
	unsigned int	depth;
	uint64_t	done;
	uint64_t	begun;
	uint64_t	ios;
	uint64_t	copied;
	int		signal;
};

/**
 * struct xfer_error - what stopped a transfer
 * @err: -errno, 0 if nothing did
 * @io: the kernel ended an I/O on a channel with it
 * @what: what failed
 * @end: at which end
 * @pos: where there
 */
struct xfer_error {
	int		err;
	bool		io;
	const char	*what;
	const struct end *end;
	uint64_t	pos;
};

void xfer_run(struct xfer *x, struct xfer_error *error);

#endif /* BLKDMABUFCTL_H */
