// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf-play: a script of checked I/O between one dma-buf and some files, which
 * are block devices or files of file systems.
 *
 *	dmabuf-play /dev/mapper/held <<-END
 *		plain 0 1M 1			# before: data of seed 1
 *		! dmsetup suspend held
 *		start write 64K 64K 2		# data of seed 2, from the buffer
 *		waiting
 *		! dmsetup resume held
 *		finish ok
 *		is 0 64K 1
 *	END
 *
 * The buffer is registered on each file and bound to a channel for it.  Data is a
 * function of position and seed (dmabuf.h); seed 0 stands for zeros.  Around the
 * target of each I/O guards are to stay as they were, and a read that fails is to
 * leave its target alone.  A RESULT is a number of bytes, "ok" for all of them, or
 * the name of an errno; "ok" is the default.
 *
 *	on N				the file that follows is about; first: 0
 *	plain POS LEN SEED		put data there by pwrite()
 *	is POS LEN SEED			pread() finds that data
 *	size BYTES			the file is that large
 *	read POS LEN SEED [RESULT]	premapped: the buffer has that data then
 *	write POS LEN SEED [RESULT]	premapped: a pread() finds that data then,
 *					and its neighbours as they were
 *	start read|write POS LEN SEED [COUNT]
 *					the same, and so many behind each other,
 *					not waited for
 *	waiting	[MS]			none of them has ended, also not a moment later
 *	ended				all of them have
 *	finish [RESULT]			wait for them: each ends with RESULT
 *	keep DEV [POS]			remember 2 MiB of another device
 *	kept				what was remembered is still the same
 *	refused REASON COUNT		so often the kernel has refused something
 *					since the start or the last such line, and
 *					for no other reason
 *	attached N			the buffer is to so many devices
 *	live | unmapped | dead		what the registration is
 *	unmap | unregister | move	what is done to the buffer; at once
 *	measure				from here on the gate is open while read and
 *					write do their I/O, and that is counted
 *	unusable PATH REASON		the buffer cannot be registered on it, and if
 *					it is a file there is no channel for it
 *	! COMMAND			run it, in bash
 *
 * RESULT is "ok", a number of bytes, the name of an errno, or "error" for any; then the
 * device must not touch the memory for some seconds.
 *
 * Options: --gate FILE is the gate (dmabuf.h); --buffer mover takes a buffer that
 * can move; --dsync opens the files with O_DSYNC.
 *
 * Exit code 0: all is as the script has it; 1: not.
 */
#include <ctype.h>
#include <getopt.h>
#include <liburing.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "dmabuf.h"
#include "kmod/dmabuf-mover.h"

#define MAX_FILES	8
#define MAX_IOS		64
#define MAX_WORDS	8
#define GUARD		PAGE

/* What is in flight is not more than this. */
#define BUFFER		(16 * MIB)

/* Seconds that a line may take, on a loaded machine without KVM. */
#define LINE_TIMEOUT	120
/* Seconds in which a device would have done what was taken back. */
#define LATE		5
/* Milliseconds that "at once" may take there. */
#define AT_ONCE		10000

struct file {
	const char	*path;
	int		fd;
	int		chan;
	uint32_t	slot;
	uint32_t	id;
	struct blk_dmabuf_limits limits;
};

struct io {
	struct file	*file;
	bool		write;
	uint64_t	pos;
	uint64_t	len;
	uint64_t	seed;
	uint64_t	offset;
	int		res;
	bool		done;
};

static struct {
	const char		*text;
	unsigned int		nr;
} line;

static struct file files[MAX_FILES], *file;
static unsigned int nr_files;
static int open_flags = O_DIRECT | O_CLOEXEC;

/* What is not to change meanwhile. */
#define KEPT		(2 * MIB)

static struct kept {
	int		fd;
	uint64_t	pos;
	void		*data;
} kept[MAX_FILES];
static unsigned int nr_kept;

static struct io ios[MAX_IOS];
static unsigned int nr_ios, nr_done;

static struct {
	int			fd;
	unsigned char		*mem;
	uint64_t		next;
	bool			moves;
	int			mover;
} buffer = { .fd = -1 };

static struct blkdmabuf_ctl *ctl;
static struct blk_dmabuf_features before;
static struct io_uring ring;
static struct gate gate;
static const char *gate_path;

/* By direction: what was measured. */
static bool measuring;
static uint64_t counted[2], bytes[2];
/* All of it. */
static uint64_t mismatches[2];

/* ---- saying no ---- */

__attribute__((noreturn, format(printf, 1, 2)))
static void wrong(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "dmabuf-play: line %u: %s: ", line.nr, line.text);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	_exit(1);
}

static void on_alarm(int sig)
{
	static const char text[] = "dmabuf-play: a line took too long\n";

	(void)sig;
	if (write(2, text, sizeof(text) - 1))
		_exit(1);
	_exit(1);
}

static const char *result_name(long long res)
{
	static char text[32];

	if (res < 0 && strerrorname_np(-res))
		return strerrorname_np(-res);
	snprintf(text, sizeof(text), "%lld", res);
	return text;
}

static void differs(const struct io *io, const char *what, size_t bad,
		    size_t first)
{
	if (!bad)
		return;
	mismatches[io->write] += bad;
	fprintf(stderr,
		"dmabuf-play: line %u: %s: %s of %llu at %llu, buffer offset %llu: %s: %zu bytes wrong from %zu on\n",
		line.nr, line.text, io->write ? "write" : "read",
		(unsigned long long)io->len, (unsigned long long)io->pos,
		(unsigned long long)io->offset, what, bad, first);
}

/* ---- words ---- */

static uint64_t to_bytes(const char *word)
{
	char *end;
	uint64_t n = strtoull(word, &end, 0);

	if (*end == 'K')
		n *= KIB, end++;
	else if (*end == 'M')
		n *= MIB, end++;
	if (end == word || *end)
		wrong("%s is no number of bytes", word);
	return n;
}

static void expect(long long res, const char *want, uint64_t len)
{
	char number[32];

	if (!want || !strcmp(want, "ok"))
		snprintf(number, sizeof(number), "%llu",
			 (unsigned long long)len);
	else if (isdigit(*want))
		snprintf(number, sizeof(number), "%llu",
			 (unsigned long long)to_bytes(want));
	else
		snprintf(number, sizeof(number), "%s", want);
	if (want && !strcmp(want, "error")) {
		if (res >= 0)
			wrong("the result is %s, no error", result_name(res));
	} else if (strcmp(result_name(res), number)) {
		wrong("the result is %s, not %s", result_name(res), number);
	}
}

/* ---- data ---- */

static void fill(void *mem, uint64_t pos, size_t len, uint64_t seed)
{
	if (seed)
		data_fill(mem, pos, len, seed);
	else
		memset(mem, 0, len);
}

static size_t check(const unsigned char *mem, uint64_t pos, size_t len,
		    uint64_t seed, size_t *first)
{
	size_t i, bad = 0;

	if (seed)
		return data_check(mem, pos, len, seed, first);
	for (i = 0; i < len; i++)
		if (mem[i] && !bad++)
			*first = i;
	return bad;
}

static void *scratch(uint64_t len)
{
	void *mem = aligned_alloc(PAGE, ALIGN(len, PAGE));

	if (!mem)
		wrong("no memory");
	return mem;
}

static uint64_t block(const struct file *f)
{
	return f->limits.write_block_size;
}

/* What pread() has to say about a range; it may be short at the end of a file. */
static size_t look(const struct file *f, void *mem, uint64_t pos, uint64_t len)
{
	ssize_t ret = pread(f->fd, mem, len, pos);

	if (ret < 0)
		wrong("pread of %llu at %llu: %s", (unsigned long long)len,
		      (unsigned long long)pos, strerror(errno));
	return ret;
}

/* ---- the buffer ---- */

/* From the module dmabuf-mover, which is loaded. */
static int buffer_movable(void)
{
	struct mover_create create = { .bytes = BUFFER, .flags = MOVER_SHUFFLE };
	int fd;

	buffer.mover = open("/dev/dmabuf-mover", O_RDWR | O_CLOEXEC);
	fd = ioctl(buffer.mover, MOVER_CREATE, &create);
	return fd < 0 ? -errno : fd;
}

static int buffer_move(void)
{
	struct mover_op op = { .fd = buffer.fd };

	if (!buffer.moves)
		wrong("needs --buffer mover");
	return ioctl(buffer.mover, MOVER_MOVE, &op) ? -errno : 0;
}

static void buffer_make(void)
{
	if (buffer.moves)
		buffer.fd = buffer_movable();
	else
		buffer.fd = shuffled_udmabuf(BUFFER, NULL);
	if (buffer.fd < 0)
		wrong("no buffer: %s", strerror(-buffer.fd));
	buffer.mem = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED,
			  buffer.fd, 0);
	if (buffer.mem == MAP_FAILED)
		wrong("cannot map the buffer: %s", strerror(errno));
	memset(buffer.mem, POISON, BUFFER);
}

/*
 * A piece of the buffer with guards around it, anywhere in a page.  Pieces are
 * used again when nothing is in flight.
 */
static uint64_t buffer_piece(uint64_t len)
{
	uint64_t need = ALIGN(len, PAGE) + 2 * GUARD + PAGE, offset;
	static unsigned int turn;

	if (buffer.next + need > BUFFER && !nr_ios)
		buffer.next = 0;
	if (buffer.next + need > BUFFER)
		wrong("more than the buffer has");
	offset = buffer.next + GUARD + turn++ % 8 * 512;
	buffer.next += need;
	return offset;
}

/* ---- files ---- */

static int file_open(const char *path)
{
	int fd = open(path, O_RDWR | open_flags);

	/* Files that are refused may be read only, or not know O_DIRECT. */
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		wrong("%s: %s", path, strerror(errno));
	return fd;
}

static int file_register(struct file *f, struct blk_dmabuf_attach *reg)
{
	int ret = blkdmabuf_register(ctl, f->fd, buffer.fd, reg);

	/* Another file on the same disk has registered it. */
	if (ret == -EEXIST && reg->reason == BLK_DMABUF_DUPLICATE)
		ret = 0;
	f->id = reg->id;
	return ret;
}

static void file_add(const char *path)
{
	struct blk_dmabuf_attach reg = {};
	struct file *f;
	int ret;

	if (nr_files == MAX_FILES)
		wrong("too many files");
	f = &files[nr_files++];
	f->path = path;
	f->fd = file_open(path);
	f->chan = blkdmabuf_channel(f->fd);
	if (f->chan < 0)
		wrong("no channel for %s: %s", path, strerror(-f->chan));
	if (blkdmabuf_limits(f->chan, &f->limits))
		wrong("no limits of %s", path);
	ret = file_register(f, &reg);
	if (ret)
		wrong("cannot register on %s: %s, %s", path, strerror(-ret),
		      reason_name(reg.reason));
	ret = blkdmabuf_bind(f->chan, buffer.fd, BLK_DMABUF_SLOT_ANY, NULL);
	if (ret < 0)
		wrong("cannot bind on %s: %s", path, strerror(-ret));
	f->slot = ret;
}

static struct blk_dmabuf_info file_info(void)
{
	struct blk_dmabuf_info info;
	int ret = blkdmabuf_query(file->chan, file->slot, &info);

	if (ret)
		wrong("no registration: %s", strerror(-ret));
	return info;
}

/* ---- I/O ---- */

static void measured(bool begin, bool write)
{
	if (measuring && gate_path && gate_set(&gate, begin, write))
		wrong("%s: %s", gate_path, strerror(errno));
}

static struct io *io_start(bool write, uint64_t pos, uint64_t len, uint64_t seed)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io *io = &ios[nr_ios];
	unsigned char *mem;

	if (nr_ios == MAX_IOS || !sqe)
		wrong("more than %d I/Os", MAX_IOS);
	*io = (struct io) {
		.file	= file,
		.write	= write,
		.pos	= pos,
		.len	= len,
		.seed	= seed,
		.offset	= buffer_piece(len),
	};
	mem = buffer.mem + io->offset;
	memset(mem - GUARD, POISON, len + 2 * GUARD);
	if (write)
		fill(mem, pos, len, seed);
	if (write)
		blkdmabuf_prep_write(sqe, file->chan, pos, len, file->slot,
				     io->offset, 0);
	else
		blkdmabuf_prep_read(sqe, file->chan, pos, len, file->slot,
				    io->offset, 0);
	sqe->user_data = nr_ios++;
	return io;
}

/* Take what has ended; @wait: until all has. */
static void io_reap(bool wait)
{
	struct io_uring_cqe *cqe;

	do {
		int ret = io_uring_submit_and_wait(&ring, wait && nr_done < nr_ios);

		if (ret < 0 && ret != -EINTR)
			wrong("io_uring_enter: %s", strerror(-ret));
		while (!io_uring_peek_cqe(&ring, &cqe)) {
			ios[cqe->user_data].res = cqe->res;
			ios[cqe->user_data].done = true;
			io_uring_cqe_seen(&ring, cqe);
			nr_done++;
		}
	} while (wait && nr_done < nr_ios);
}

/*
 * The target of a read: data, then, in the last block of a file, zeros or
 * nothing, then nothing.
 */
static void io_check_read(const struct io *io)
{
	const unsigned char *mem = buffer.mem + io->offset;
	uint64_t done = io->res < 0 ? 0 : io->res, end;
	size_t bad, first = 0, i;

	bad = check(mem, io->pos, done, io->seed, &first);
	differs(io, "target", bad, first);
	end = io->res <= 0 ? 0 : ALIGN(done, io->file->limits.block_size);
	for (i = done; i < end && i < io->len; i++)
		if (mem[i] && mem[i] != POISON)
			differs(io, "end of the last block", 1, i);
	bad = poison_check(mem + i, io->len - i + GUARD, &first);
	differs(io, "guard after the target", bad, first);
	bad = poison_check(mem - GUARD, GUARD, &first);
	differs(io, "guard before the target", bad, first);
}

static void io_check_write(const struct io *io)
{
	size_t bad, first = 0;
	void *mem;

	if (io->res <= 0)
		return;
	mem = scratch(io->len);
	if (look(io->file, mem, io->pos, io->len) < (size_t)io->res)
		wrong("what was written is not there");
	bad = check(mem, io->pos, io->res, io->seed, &first);
	differs(io, "target", bad, first);
	free(mem);
}

/* What has failed may have been written to until then, and is left alone from now on. */
static void io_left_alone(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!ios[i].write)
			memset(buffer.mem + ios[i].offset, POISON, ios[i].len);
	sleep(LATE);
}

/* All that was started has ended, with @want. */
static void io_finish(const char *want)
{
	unsigned int i, nr = nr_ios;

	io_reap(true);
	nr_ios = nr_done = 0;
	if (want && !strcmp(want, "error"))
		io_left_alone(nr);
	for (i = 0; i < nr; i++) {
		expect(ios[i].res, want, ios[i].len);
		if (ios[i].write)
			io_check_write(&ios[i]);
		else
			io_check_read(&ios[i]);
	}
}

/* ---- lines ---- */

static void run_on(char **word)
{
	uint64_t n = to_bytes(word[1]);

	if (n >= nr_files)
		wrong("there are %u files", nr_files);
	file = &files[n];
}

static void run_plain(char **word)
{
	uint64_t pos = to_bytes(word[1]), len = to_bytes(word[2]);
	void *mem = scratch(len);

	fill(mem, pos, len, to_bytes(word[3]));
	if (pwrite(file->fd, mem, len, pos) != (ssize_t)len)
		wrong("%s", strerror(errno));
	free(mem);
}

static void run_is(char **word)
{
	uint64_t pos = to_bytes(word[1]), len = to_bytes(word[2]);
	void *mem = scratch(len);
	size_t bad, first = 0;

	if (look(file, mem, pos, len) != len)
		wrong("pread is short");
	bad = check(mem, pos, len, to_bytes(word[3]), &first);
	if (bad)
		wrong("%zu bytes wrong from %zu on", bad, first);
	free(mem);
}

static void run_size(char **word)
{
	struct stat st;

	if (fstat(file->fd, &st))
		wrong("%s", strerror(errno));
	if ((uint64_t)st.st_size != to_bytes(word[1]))
		wrong("it is %lld", (long long)st.st_size);
}

static void run_io(bool write, char **word)
{
	uint64_t pos = to_bytes(word[1]), len = to_bytes(word[2]), from, size;
	unsigned char *old = NULL, *new = NULL;
	size_t had = 0, bad, first = 0;
	struct io *io;

	if (nr_ios)
		wrong("not before finish");
	from = pos > block(file) ? pos - block(file) : 0;
	size = pos + len + block(file) - from;
	if (write) {
		old = scratch(size);
		new = scratch(size);
		had = look(file, old, from, size);
	}
	io = io_start(write, pos, len, to_bytes(word[3]));
	measured(true, write);
	io_reap(true);
	measured(false, write);
	if (measuring) {
		counted[write]++;
		bytes[write] += io->res > 0 ? io->res : 0;
	}
	io_finish(word[4]);
	if (!write)
		return;
	/* Outside of the target nothing has changed. */
	look(file, new, from, size);
	if (io->res > 0)
		memcpy(new + (pos - from), old + (pos - from), io->res);
	for (bad = 0, size = 0; size < had; size++)
		if (old[size] != new[size] && !bad++)
			first = size;
	differs(io, "beside the target", bad, first);
	free(old);
	free(new);
}

static void run_read(char **word)
{
	run_io(false, word);
}

static void run_write(char **word)
{
	run_io(true, word);
}

static void run_start(char **word)
{
	bool write = !strcmp(word[1], "write");
	uint64_t pos = to_bytes(word[2]), len = to_bytes(word[3]);
	uint64_t n = word[5] ? to_bytes(word[5]) : 1;

	if (!write && strcmp(word[1], "read"))
		wrong("read or write");
	for (; n; n--, pos += len)
		io_start(write, pos, len, to_bytes(word[4]));
	io_reap(false);
}

static void run_waiting(char **word)
{
	/* Long enough for one that is refused, or that has a way around. */
	sleep_ms(word[1] ? to_bytes(word[1]) : 300);
	io_reap(false);
	if (!nr_ios)
		wrong("there is nothing that could");
	if (nr_done)
		wrong("%u of %u have ended", nr_done, nr_ios);
}

static void run_ended(char **word)
{
	(void)word;
	io_reap(false);
	if (nr_done < nr_ios)
		wrong("%u of %u have not", nr_ios - nr_done, nr_ios);
}

static void run_finish(char **word)
{
	io_finish(word[1]);
}

/* The kernel has counted @reason so often since it was last looked at. */
static void must_be_refused(const char *reason, uint64_t want)
{
	struct blk_dmabuf_features now;
	uint64_t n, have = 0;
	unsigned int i;

	if (blkdmabuf_features(&now))
		wrong("no /dev/blkdmabuf");
	for (i = 0; i < now.nr_reasons; i++) {
		n = now.refused[i] - before.refused[i];
		if (!strcmp(reason_name(i), reason))
			have = n;
		else if (n)
			wrong("%llu refused for %s", (unsigned long long)n,
			      reason_name(i));
	}
	if (have != want)
		wrong("%llu refused for %s", (unsigned long long)have, reason);
	before = now;
}

static void run_refused(char **word)
{
	must_be_refused(word[1], to_bytes(word[2]));
}

static void *read_kept(const struct kept *k)
{
	void *data = scratch(KEPT);

	if (pread(k->fd, data, KEPT, k->pos) != (ssize_t)KEPT)
		wrong("%s", strerror(errno));
	return data;
}

static void run_keep(char **word)
{
	struct kept *k = &kept[nr_kept++];

	if (nr_kept > MAX_FILES)
		wrong("too many");
	k->pos = word[2] ? to_bytes(word[2]) : 0;
	k->fd = open(word[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (k->fd < 0)
		wrong("%s", strerror(errno));
	k->data = read_kept(k);
}

static void run_kept(char **word)
{
	const struct kept *k;
	void *now;

	(void)word;
	for (k = kept; k < kept + nr_kept; k++) {
		now = read_kept(k);
		if (memcmp(now, k->data, KEPT))
			wrong("not what was kept as number %td", k - kept + 1);
		free(now);
	}
}

/* As the core of dma-bufs has it, which knows nothing of us. */
static int devices_attached(void)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	char text[256], inode[32];
	struct stat st;
	bool ours = false;
	int n;

	if (!f || fstat(buffer.fd, &st))
		wrong("no /sys/kernel/debug/dma_buf/bufinfo");
	snprintf(inode, sizeof(inode), "\t%08lu\t", (unsigned long)st.st_ino);
	while (fgets(text, sizeof(text), f)) {
		ours |= !!strstr(text, inode);
		if (ours && sscanf(text, "Total %d devices attached", &n) == 1) {
			fclose(f);
			return n;
		}
	}
	wrong("bufinfo does not have the buffer");
}

static void run_attached(char **word)
{
	int have = devices_attached();

	if (have != (int)to_bytes(word[1]))
		wrong("%d", have);
}

static void run_state(char **word)
{
	struct blk_dmabuf_info info = file_info();

	if (strcmp(blkdmabuf_state_str(info.state), word[0]))
		wrong("it is %s", blkdmabuf_state_str(info.state));
}

static void run_let_go(char **word)
{
	uint64_t start = now_ms();
	int ret;

	if (!strcmp(word[0], "unmap"))
		ret = blkdmabuf_unmap(ctl, file->id);
	else if (!strcmp(word[0], "unregister"))
		ret = blkdmabuf_unregister(ctl, file->id);
	else
		ret = buffer_move();
	if (ret)
		wrong("%s", strerror(-ret));
	printf("  took %llu ms\n", (unsigned long long)(now_ms() - start));
	if (now_ms() - start > AT_ONCE)
		wrong("not at once");
}

static void run_unusable(char **word)
{
	struct blk_dmabuf_attach reg = {};
	struct file f = { .fd = file_open(word[1]) };
	struct stat st;
	int ret;

	if (fstat(f.fd, &st))
		wrong("%s", strerror(errno));
	ret = file_register(&f, &reg);
	if (ret != -EOPNOTSUPP)
		wrong("registering: %s", result_name(ret));
	if (strcmp(reason_name(reg.reason), word[2]))
		wrong("the reason is %s", reason_name(reg.reason));
	/* A channel to a disk is no more than the disk. */
	if (!S_ISBLK(st.st_mode)) {
		ret = blkdmabuf_channel(f.fd);
		if (ret != -EOPNOTSUPP)
			wrong("a channel: %s", result_name(ret));
	}
	close(f.fd);
	must_be_refused(word[2], S_ISBLK(st.st_mode) ? 1 : 2);
}

static void run_measure(char **word)
{
	(void)word;
	measuring = true;
}

static void run_command(const char *command)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		execlp("bash", "bash", "-euc", command, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		wrong("%s", strerror(errno));
	if (status)
		wrong("it fails");
}

static const struct {
	const char	*name;
	unsigned int	min, max;
	void		(*run)(char **word);
} verbs[] = {
	{ "on",		1, 1, run_on },
	{ "plain",	3, 3, run_plain },
	{ "is",		3, 3, run_is },
	{ "size",	1, 1, run_size },
	{ "read",	3, 4, run_read },
	{ "write",	3, 4, run_write },
	{ "start",	4, 5, run_start },
	{ "waiting",	0, 1, run_waiting },
	{ "ended",	0, 0, run_ended },
	{ "finish",	0, 1, run_finish },
	{ "refused",	2, 2, run_refused },
	{ "unusable",	2, 2, run_unusable },
	{ "keep",	1, 2, run_keep },
	{ "kept",	0, 0, run_kept },
	{ "attached",	1, 1, run_attached },
	{ "live",	0, 0, run_state },
	{ "unmapped",	0, 0, run_state },
	{ "dead",	0, 0, run_state },
	{ "unmap",	0, 0, run_let_go },
	{ "unregister",	0, 0, run_let_go },
	{ "move",	0, 0, run_let_go },
	{ "measure",	0, 0, run_measure },
};

static void run_words(char *text)
{
	char *word[MAX_WORDS + 1] = {}, *next;
	unsigned int n = 0;
	size_t i;

	text[strcspn(text, "#")] = '\0';
	while (n < MAX_WORDS && (next = strsep(&text, " \t")))
		if (*next)
			word[n++] = next;
	if (!n)
		return;
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, word[0]))
			break;
	if (i == ARRAY_SIZE(verbs))
		wrong("no such word");
	if (n - 1 < verbs[i].min || n - 1 > verbs[i].max)
		wrong("%u to %u more words, please", verbs[i].min, verbs[i].max);
	verbs[i].run(word);
}

static void run_line(char *text)
{
	char *copy;

	text += strspn(text, " \t");
	text[strcspn(text, "\n")] = '\0';
	line.nr++;
	line.text = text;
	printf("%s\n", text);
	alarm(LINE_TIMEOUT);
	copy = strdup(text);
	if (*text == '!')
		run_command(copy + 1);
	else
		run_words(copy);
	free(copy);
}

/* ---- all of it ---- */

static void run_script(void)
{
	FILE *script = fdopen(dup(0), "re");
	char *text = NULL;
	size_t size = 0;

	/* The script is no input of the commands in it. */
	if (!script || !freopen("/dev/null", "re", stdin))
		wrong("no script");
	while (getline(&text, &size, script) > 0)
		run_line(text);
	free(text);
	fclose(script);
}

static void report(void)
{
	static const char * const names[] = { "read", "write" };
	int i;

	for (i = 0; i < 2; i++)
		if (counted[i])
			printf("%s ios=%llu bytes=%llu mismatches=%llu\n",
			       names[i], (unsigned long long)counted[i],
			       (unsigned long long)bytes[i],
			       (unsigned long long)mismatches[i]);
}

static void usage(void)
{
	fprintf(stderr, "usage: dmabuf-play [--gate FILE] [--buffer udmabuf|mover] [--dsync] [FILE...] < SCRIPT\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "gate", 1, NULL, 'g' },
		{ "buffer", 1, NULL, 'b' },
		{ "dsync", 0, NULL, 's' },
		{}
	};
	int c, ret;

	line.text = "before the script";
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'g':
			gate_path = optarg;
			if (gate_open(&gate, optarg))
				wrong("%s: %s", optarg, strerror(errno));
			break;
		case 'b':
			buffer.moves = !strcmp(optarg, "mover");
			if (!buffer.moves && strcmp(optarg, "udmabuf"))
				usage();
			break;
		case 's':
			open_flags |= O_DSYNC;
			break;
		default:
			usage();
		}
	}
	signal(SIGALRM, on_alarm);
	alarm(LINE_TIMEOUT);
	ret = blkdmabuf_ctl_open(&ctl, NULL);
	if (ret)
		wrong("no control programs: %s", strerror(-ret));
	ret = io_uring_queue_init(MAX_IOS, &ring, 0);
	if (ret)
		wrong("no ring: %s", strerror(-ret));
	buffer_make();
	if (blkdmabuf_features(&before))
		wrong("no /dev/blkdmabuf");
	while (optind < argc)
		file_add(argv[optind++]);
	file = files;
	run_script();
	if (nr_ios)
		wrong("something is still in flight");
	report();
	blkdmabuf_ctl_close(ctl);
	return mismatches[0] || mismatches[1];
}
