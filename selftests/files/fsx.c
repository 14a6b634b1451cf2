// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file under all that can be done to it at once, against a model in memory.
 *
 * Each step is a batch: up to eight reads and writes of a channel in flight, on
 * ranges that do not meet, beside buffered, mapped and direct I/O and
 * fallocate() on other ranges; or something that moves blocks: truncate,
 * collapse, insert, clone.  Two threads go through the page cache meanwhile:
 * one compares what it reads, the other only makes sure that the wrong pages
 * are cached.  Every byte that is read is compared with the model, and all of
 * them in the end, also after the file system was mounted again.
 *
 * FSX_SEED chooses what happens (the seed is printed), FSX_OPS how much of it,
 * FSX_SECONDS when it ends anyway:
 *
 *	selftests/vm files -- env FSX_SEED=7 build/selftests/fsx every_byte_on
 *
 * Not for memory that is bounced: holes are not read into it, and the exporter
 * syncs all of it for each CPU access.
 *
 * vm: files timeout=1200
 */
#include <pthread.h>

#include "fs.h"
#include "mover.h"

#define FILE_MAX	(4 * MIB)
#define NR_LANES	8
#define GUARD		64
#define BLOCK_MAX	4096ULL
#define NR_LOG		16384

#ifndef FICLONERANGE
struct file_clone_range {
	__s64 src_fd;
	__u64 src_offset;
	__u64 src_length;
	__u64 dest_offset;
};
#define FICLONERANGE	_IOW(0x94, 13, struct file_clone_range)
#endif

enum kind {
	/* in batches; the first two of the channel */
	CHAN_READ, CHAN_WRITE,
	BUF_READ, BUF_WRITE, MAP_READ, MAP_WRITE, DIO_READ, DIO_WRITE,
	PUNCH, ZERO, ALLOC,
	/* alone */
	TRUNCATE, GROW, COLLAPSE, INSERT, CLONE,
	SYNC, DROP, UNMAP, REOPEN, CHECK_ALL,
	NR_KINDS
};

static const char * const kind_name[NR_KINDS] = {
	"channel read", "channel write",
	"buffered read", "buffered write", "mapped read", "mapped write",
	"direct read", "direct write", "punch", "zero range", "allocate",
	"truncate", "grow", "collapse", "insert", "clone",
	"sync", "drop pages", "unmap", "reopen", "check",
};

/* How often, of a sum of 100 for each of the two groups. */
static const unsigned int weight[NR_KINDS] = {
	[CHAN_READ] = 0, [CHAN_WRITE] = 0,	/* drawn by themselves */
	[BUF_READ] = 15, [BUF_WRITE] = 25, [MAP_READ] = 10, [MAP_WRITE] = 15,
	[DIO_READ] = 10, [DIO_WRITE] = 10, [PUNCH] = 6, [ZERO] = 5,
	[ALLOC] = 4,
	[TRUNCATE] = 24, [GROW] = 10, [COLLAPSE] = 10, [INSERT] = 10,
	[CLONE] = 12, [SYNC] = 10, [DROP] = 8, [UNMAP] = 10, [REOPEN] = 3,
	[CHECK_ALL] = 3,
};

struct op {
	enum kind	kind;
	uint64_t	pos;
	uint64_t	len;
	uint64_t	to;	/* CLONE; GROW: how */
	uint64_t	seed;	/* of what is written */
	uint64_t	offset;	/* in the buffer */
};

/* ---- what the file is to be ---- */

static unsigned char *model;
static uint64_t model_size;
static struct fs *fs;
static const char *name;
static struct rig r;
static int fd;			/* buffered */
static unsigned char *map;	/* of FILE_MAX */
static uint64_t block;
static bool can_clone, moves;
static uint64_t lane_size, lane_most;

static struct op op_log[NR_LOG];
static unsigned long nr_ops, nr_of[NR_KINDS];
static uint64_t fsx_seed;

static uint64_t draw(uint64_t n)
{
	static uint64_t state;

	if (!state)
		state = fsx_seed * 2 + 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? state % n : 0;
}

static void fill(unsigned char *mem, uint64_t pos, uint64_t len, uint64_t seed)
{
	uint64_t i;

	for (i = 0; i < len; i++)
		mem[i] = data_word((pos + i) & ~7ULL, seed) >>
			 (pos + i) % 8 * 8;
}

/* ---- when it is not ---- */

static bool touches(const struct op *op, uint64_t pos)
{
	if (op->kind >= SYNC)
		return false;
	if (op->kind == CLONE && pos >= op->to && pos < op->to + op->len)
		return true;
	if (op->kind == COLLAPSE || op->kind == INSERT ||
	    op->kind == TRUNCATE || op->kind == GROW)
		return pos >= op->pos;
	return pos >= op->pos && pos < op->pos + op->len;
}

/* The last steps that had to do with a byte. */
static void show_history(uint64_t pos)
{
	unsigned long i, n = 0, first = nr_ops > NR_LOG ? nr_ops - NR_LOG : 0;
	unsigned long from = nr_ops;

	while (from > first && n < 24)
		n += touches(&op_log[--from % NR_LOG], pos);
	for (i = from; i < nr_ops; i++) {
		const struct op *op = &op_log[i % NR_LOG];

		if (touches(op, pos))
			printf("# %lu: %s at %llu, %llu long, to %llu, seed %llu, buffer %llu\n",
			       i, kind_name[op->kind],
			       (unsigned long long)op->pos,
			       (unsigned long long)op->len,
			       (unsigned long long)op->to,
			       (unsigned long long)op->seed,
			       (unsigned long long)op->offset);
	}
}

/* What is at @mem has to be what the model, or a copy of it, has at @pos. */
static void compare(const char *what, const unsigned char *mem,
		    const unsigned char *want, uint64_t pos, uint64_t len)
{
	uint64_t i, bad = 0, first = 0, last = 0;

	if (!memcmp(mem, want, len))
		return;
	for (i = 0; i < len; i++) {
		if (mem[i] == want[i])
			continue;
		last = i;
		if (!bad++)
			first = i;
	}
	show_history(pos + first);
	tap_fail(__FILE__, __LINE__,
		 "seed %llu, step %lu, %s at %llu, %llu long: %llu bytes wrong from %llu to %llu, the first is %02x and not %02x; size %llu",
		 (unsigned long long)fsx_seed, nr_ops, what,
		 (unsigned long long)pos, (unsigned long long)len,
		 (unsigned long long)bad, (unsigned long long)(pos + first),
		 (unsigned long long)(pos + last), mem[first], want[first],
		 (unsigned long long)model_size);
}

static void check_result(const struct op *op, long long have, long long want)
{
	if (have == want)
		return;
	show_history(op->pos);
	tap_fail(__FILE__, __LINE__,
		 "seed %llu, step %lu: %s at %llu, %llu long: %lld%s, not %lld; size %llu",
		 (unsigned long long)fsx_seed, nr_ops, kind_name[op->kind],
		 (unsigned long long)op->pos, (unsigned long long)op->len, have,
		 tap_errno(have), want, (unsigned long long)model_size);
}

/* ---- ranges: the step's own, and those of who compares meanwhile ---- */

struct range {
	uint64_t	start;
	uint64_t	end;
};

#define NR_RANGES	16
#define FOREVER		(~0ULL)

static pthread_mutex_t range_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t range_free = PTHREAD_COND_INITIALIZER;
static struct range mine[NR_RANGES], theirs;
static unsigned int nr_mine;
static volatile bool stop_threads;

static bool meet(const struct range *a, const struct range *b)
{
	return a->start < b->end && b->start < a->end;
}

static void range_take(uint64_t start, uint64_t end)
{
	struct range range = { start, end };

	pthread_mutex_lock(&range_lock);
	while (meet(&range, &theirs))
		pthread_cond_wait(&range_free, &range_lock);
	CHECK(nr_mine < NR_RANGES);
	mine[nr_mine++] = range;
	pthread_mutex_unlock(&range_lock);
}

static void range_drop_all(void)
{
	pthread_mutex_lock(&range_lock);
	nr_mine = 0;
	pthread_mutex_unlock(&range_lock);
}

/* What stays as it is until it is dropped; the bytes of the model in @want. */
static bool range_borrow(uint64_t pos, uint64_t len, unsigned char *want)
{
	struct range range = { pos, pos + len };
	unsigned int i;
	bool ok;

	pthread_mutex_lock(&range_lock);
	ok = pos + len <= model_size;
	for (i = 0; i < nr_mine && ok; i++)
		ok = !meet(&range, &mine[i]);
	if (ok) {
		theirs = range;
		memcpy(want, model + pos, len);
	}
	pthread_mutex_unlock(&range_lock);
	return ok;
}

static void range_return(void)
{
	pthread_mutex_lock(&range_lock);
	theirs = (struct range) {};
	pthread_cond_signal(&range_free);
	pthread_mutex_unlock(&range_lock);
}

static uint64_t nr_compared, nr_touched;

static void *compare_on(void *arg)
{
	unsigned char *mem = malloc(64 * KIB), *want = malloc(64 * KIB);
	unsigned int seed = fsx_seed;

	(void)arg;
	while (!stop_threads) {
		uint64_t pos = rand_r(&seed) % FILE_MAX;
		uint64_t len = 1 + rand_r(&seed) % (64 * KIB);

		if (!range_borrow(pos, len, want)) {
			sched_yield();
			continue;
		}
		if (rand_r(&seed) % 2) {
			CHECK_EQ(pread(fd, mem, len, pos), len);
			compare("read meanwhile", mem, want, pos, len);
		} else {
			memcpy(mem, map + pos, len);
			compare("mapped meanwhile", mem, want, pos, len);
		}
		range_return();
		nr_compared++;
	}
	free(mem);
	free(want);
	return NULL;
}

/* Whatever is there is cached, right or wrong just then. */
static void *touch_on(void *arg)
{
	unsigned char *mem = malloc(256 * KIB);
	unsigned int seed = fsx_seed + 1;

	(void)arg;
	while (!stop_threads) {
		CHECK(pread(fd, mem, 1 + rand_r(&seed) % (256 * KIB),
			    rand_r(&seed) % FILE_MAX) >= 0);
		nr_touched++;
		usleep(500);
	}
	free(mem);
	return NULL;
}

/* ---- one step of a batch ---- */

static bool is_channel(enum kind kind)
{
	return kind == CHAN_READ || kind == CHAN_WRITE;
}

static bool is_read(enum kind kind)
{
	return kind == CHAN_READ || kind == BUF_READ || kind == MAP_READ ||
	       kind == DIO_READ;
}

static uint64_t unit_of(enum kind kind)
{
	switch (kind) {
	case CHAN_READ: return r.limits.block_size;
	case CHAN_WRITE: return block;
	/* Less than a block is for direct I/O, too. */
	case DIO_READ:
	case DIO_WRITE: return r.limits.block_size;
	default: return 1;
	}
}

/*
 * Nothing of the batch but one write may leave the file, and a read may only if
 * nothing changes its size.
 */
static bool draw_op(struct op *op, enum kind kind, uint64_t end)
{
	uint64_t unit = unit_of(kind), most = lane_most;

	*op = (struct op) { .kind = kind, .seed = nr_ops + 1 };
	end = end / unit * unit;
	if (end < unit)
		return false;
	if (most > end)
		most = end;
	op->len = (1 + draw(most / unit)) * unit;
	if (op->len > most)
		op->len = most;
	op->pos = draw((end - op->len) / unit + 1) * unit;
	return true;
}

/* Blocks are what no two of a batch may share. */
static struct range blocks_of(const struct op *op)
{
	return (struct range) { op->pos / BLOCK_MAX * BLOCK_MAX,
				ALIGN(op->pos + op->len, BLOCK_MAX) };
}

static bool batch_has_room(const struct op *ops, unsigned int n,
			   const struct op *op)
{
	struct range range = blocks_of(op), other;
	unsigned int i;

	for (i = 0; i < n; i++) {
		other = blocks_of(&ops[i]);
		if (meet(&range, &other))
			return false;
	}
	return true;
}

static void note(const struct op *op)
{
	op_log[nr_ops++ % NR_LOG] = *op;
	nr_of[op->kind]++;
}

static uint64_t expected_len(const struct op *op)
{
	if (op->pos >= model_size)
		return 0;
	return op->pos + op->len > model_size ? model_size - op->pos : op->len;
}

static void model_write(const struct op *op)
{
	fill(model + op->pos, op->pos, op->len, op->seed);
	if (op->pos + op->len > model_size)
		model_size = op->pos + op->len;
}

static void model_zero(uint64_t pos, uint64_t len)
{
	if (pos < model_size)
		memset(model + pos, 0, pos + len > model_size ?
		       model_size - pos : len);
}

static void channel_submit(struct op *op, unsigned int lane)
{
	uint64_t base = lane * lane_size;
	unsigned char *mem = r.mem + base;

	op->offset = base + GUARD +
		     draw((lane_size - op->len - 2 * GUARD) / 4) * 4;
	memset(mem, POISON, lane_size);
	if (op->kind == CHAN_WRITE)
		fill(r.mem + op->offset, op->pos, op->len, op->seed);
	rig_sqe(&r, op->kind == CHAN_WRITE ? WRITE_CMD : READ_CMD, op->pos,
		op->len, op->offset)->user_data = lane;
}

static void channel_done(struct op *op, unsigned int lane, int res)
{
	uint64_t base = lane * lane_size, len = op->len, end;

	if (op->kind == CHAN_WRITE) {
		check_result(op, res, op->len);
		model_write(op);
		return;
	}
	len = expected_len(op);
	check_result(op, res, len);
	compare("channel read", r.mem + op->offset, model + op->pos, op->pos,
		len);
	/* The block that the file ends in is read as a whole. */
	end = op->offset + ALIGN(len, r.limits.block_size);
	CHECK_EQ(poison_check(r.mem + base, op->offset - base, NULL), 0);
	CHECK_EQ(poison_check(r.mem + end, base + lane_size - end, NULL), 0);
}

static void plain_read(const struct op *op, int file)
{
	static unsigned char *mem;
	uint64_t len = expected_len(op);

	if (!mem)
		mem = aligned_alloc(PAGE, MIB);
	check_result(op, pread(file, mem, op->len, op->pos), len);
	compare(kind_name[op->kind], mem, model + op->pos, op->pos, len);
}

static void plain_write(const struct op *op, int file)
{
	static unsigned char *mem;

	if (!mem)
		mem = aligned_alloc(PAGE, MIB);
	fill(mem, op->pos, op->len, op->seed);
	check_result(op, pwrite(file, mem, op->len, op->pos), op->len);
	model_write(op);
}

static void plain_run(const struct op *op)
{
	switch (op->kind) {
	case BUF_READ:
		plain_read(op, fd);
		break;
	case BUF_WRITE:
		plain_write(op, fd);
		break;
	case DIO_READ:
		plain_read(op, r.bdev);
		break;
	case DIO_WRITE:
		plain_write(op, r.bdev);
		break;
	case MAP_READ:
		compare("mapped read", map + op->pos, model + op->pos, op->pos,
			op->len);
		break;
	case MAP_WRITE:
		fill(map + op->pos, op->pos, op->len, op->seed);
		model_write(op);
		break;
	case PUNCH:
		check_result(op, fallocate(fd, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE,
					   op->pos, op->len), 0);
		model_zero(op->pos, op->len);
		break;
	case ZERO:
		check_result(op, fallocate(fd, FALLOC_FL_ZERO_RANGE |
					       FALLOC_FL_KEEP_SIZE,
					   op->pos, op->len), 0);
		model_zero(op->pos, op->len);
		break;
	default:
		check_result(op, fallocate(fd, FALLOC_FL_KEEP_SIZE, op->pos,
					   op->len), 0);
		break;
	}
}

/* ---- batches ---- */

static enum kind draw_kind(enum kind from, enum kind to)
{
	unsigned int sum = 0, k;
	uint64_t n;

	for (k = from; k <= to; k++)
		sum += weight[k];
	n = draw(sum);
	for (k = from; k < to && n >= weight[k]; k++)
		n -= weight[k];
	return k;
}

/* One to eight of the channel, none to two others. */
static unsigned int draw_batch(struct op *ops)
{
	unsigned int n = 0, i, want = 1 + draw(NR_LANES), plain = draw(3);
	bool reads_only = !draw(3), extended = reads_only;
	struct op op;

	for (i = 0; i < want + plain; i++) {
		uint64_t end = model_size;
		enum kind kind;

		if (i < want)
			kind = reads_only || draw(2) ? CHAN_READ : CHAN_WRITE;
		else
			kind = draw_kind(BUF_READ, ALLOC);
		if (reads_only && !is_read(kind))
			continue;
		/* The first write may go anywhere. */
		if ((kind == CHAN_WRITE || kind == BUF_WRITE ||
		     kind == DIO_WRITE) && !extended) {
			extended = true;
			end = FILE_MAX;
		} else if (reads_only && kind != MAP_READ) {
			end = model_size + 64 * KIB;
		}
		if (draw_op(&op, kind, end) && batch_has_room(ops, n, &op))
			ops[n++] = op;
	}
	return n;
}

static void take_ranges(const struct op *ops, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (is_read(ops[i].kind))
			continue;
		/* All that was behind the end becomes something else. */
		if (ops[i].pos + ops[i].len > model_size)
			range_take(ops[i].pos < model_size ? ops[i].pos :
				   model_size, FOREVER);
		else
			range_take(ops[i].pos, ops[i].pos + ops[i].len);
	}
}

static void run_batch(void)
{
	struct op ops[NR_LANES + 2];
	unsigned int n = draw_batch(ops), i, in_flight = 0;

	take_ranges(ops, n);
	for (i = 0; i < n; i++) {
		if (!is_channel(ops[i].kind))
			continue;
		channel_submit(&ops[i], in_flight++);
		note(&ops[i]);
	}
	if (in_flight)
		CHECK_EQ(io_uring_submit(&rig_uring), in_flight);
	/* Those of the channel are in front, and have lanes by their number. */
	for (i = in_flight; i < n; i++) {
		note(&ops[i]);
		plain_run(&ops[i]);
	}
	for (i = 0; i < in_flight; i++) {
		struct rig_done done = rig_reap();

		CHECK(done.user < in_flight);
		channel_done(&ops[done.user], done.user, done.res);
	}
	range_drop_all();
}

/* ---- what is done alone ---- */

static void do_truncate(struct op *op)
{
	op->pos = draw(4) ? draw(FILE_MAX + 1) : draw(FILE_MAX / block) * block;
	note(op);
	range_take(op->pos < model_size ? op->pos : model_size, FOREVER);
	check_result(op, ftruncate(fd, op->pos), 0);
	if (op->pos < model_size)
		memset(model + op->pos, 0, model_size - op->pos);
	model_size = op->pos;
}

/* fallocate() that makes it longer, or may. */
static void do_grow(struct op *op)
{
	op->to = draw(2) ? FALLOC_FL_ZERO_RANGE : 0;
	op->pos = draw(FILE_MAX - 1);
	op->len = 1 + draw(FILE_MAX - op->pos < 256 * KIB ?
			   FILE_MAX - op->pos : 256 * KIB);
	if (op->pos + op->len > FILE_MAX)
		op->len = FILE_MAX - op->pos;
	note(op);
	range_take(op->pos < model_size ? op->pos : model_size, FOREVER);
	check_result(op, fallocate(fd, op->to, op->pos, op->len), 0);
	if (op->to)
		model_zero(op->pos, op->len);
	if (op->pos + op->len > model_size)
		model_size = op->pos + op->len;
}

static void do_collapse(struct op *op)
{
	if (model_size < 3 * block)
		return;
	op->len = (1 + draw(16)) * block;
	if (op->len > model_size / 2)
		op->len = block;
	op->pos = draw((model_size - op->len - 1) / block + 1) * block;
	if (op->pos + op->len >= model_size)
		return;
	note(op);
	range_take(op->pos, FOREVER);
	check_result(op, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, op->pos,
				   op->len), 0);
	memmove(model + op->pos, model + op->pos + op->len,
		model_size - op->pos - op->len);
	model_size -= op->len;
	memset(model + model_size, 0, op->len);
}

static void do_insert(struct op *op)
{
	op->len = (1 + draw(16)) * block;
	if (!model_size || model_size + op->len > FILE_MAX)
		return;
	op->pos = draw((model_size - 1) / block + 1) * block;
	note(op);
	range_take(op->pos, FOREVER);
	check_result(op, fallocate(fd, FALLOC_FL_INSERT_RANGE, op->pos,
				   op->len), 0);
	memmove(model + op->pos + op->len, model + op->pos,
		model_size - op->pos);
	memset(model + op->pos, 0, op->len);
	model_size += op->len;
}

static void do_clone(struct op *op)
{
	struct file_clone_range arg = { .src_fd = fd };
	uint64_t blocks = model_size / block, n;

	if (!can_clone || blocks < 2)
		return;
	n = 1 + draw(blocks / 2 < 64 ? blocks / 2 : 64);
	op->len = n * block;
	op->pos = draw(blocks - n + 1) * block;
	op->to = draw(blocks - n + 1) * block;
	if (op->to < op->pos + op->len && op->pos < op->to + op->len)
		return;
	note(op);
	range_take(op->to, op->to + op->len);
	arg.src_offset = op->pos;
	arg.src_length = op->len;
	arg.dest_offset = op->to;
	check_result(op, ioctl(fd, FICLONERANGE, &arg), 0);
	memcpy(model + op->to, model + op->pos, op->len);
}

static void reopen(void)
{
	close(r.chan);
	close(r.bdev);
	r.bdev = fs_open(fs, name, O_RDWR | O_DIRECT);
	rig_bind(&r);
}

/* Through each of the three. */
static void check_all(void)
{
	unsigned char *mem = aligned_alloc(PAGE, FILE_MAX);
	uint64_t pos, len, most = lane_most / BLOCK_MAX * BLOCK_MAX;
	struct op op = { .kind = CHECK_ALL };

	check_result(&op, size_of(fd), model_size);
	for (pos = 0; pos < model_size; pos += most) {
		len = model_size - pos < most ? model_size - pos : most;
		memset(r.mem, POISON, most);
		op.pos = pos;
		op.len = len;
		check_result(&op, rig_io(&r, READ_CMD, pos, most, 0), len);
		compare("channel read of all", r.mem, model + pos, pos, len);
	}
	check_result(&op, pread(fd, mem, FILE_MAX, 0), model_size);
	compare("buffered read of all", mem, model, 0, model_size);
	check_result(&op, pread(r.bdev, mem, FILE_MAX, 0), model_size);
	compare("direct read of all", mem, model, 0, model_size);
	free(mem);
}

static void run_alone(void)
{
	struct op op = { .kind = draw_kind(TRUNCATE, CHECK_ALL) };

	switch (op.kind) {
	case TRUNCATE:
		do_truncate(&op);
		break;
	case GROW:
		do_grow(&op);
		break;
	case COLLAPSE:
		do_collapse(&op);
		break;
	case INSERT:
		do_insert(&op);
		break;
	case CLONE:
		do_clone(&op);
		break;
	case SYNC:
		note(&op);
		CHECK_EQ(draw(2) ? fsync(fd) : fdatasync(fd), 0);
		break;
	case DROP:
		note(&op);
		CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
		break;
	case UNMAP:
		note(&op);
		CHECK_EQ(blkdmabuf_unmap(rig_ctl, r.id), 0);
		break;
	case REOPEN:
		note(&op);
		reopen();
		break;
	default:
		note(&op);
		check_all();
		break;
	}
	range_drop_all();
}

/* ---- the whole ---- */

static uint64_t env(const char *var, uint64_t otherwise)
{
	const char *text = getenv(var);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* A buffer that moves is copied each time, so it is smaller. */
static void set_up(void)
{
	lane_most = moves ? 32 * KIB : 128 * KIB;
	lane_size = lane_most + 4 * KIB;
	model = calloc(1, FILE_MAX + 512 * KIB);
	unlink(fs_path(fs, name));
	r.bdev = fs_open(fs, name, O_RDWR | O_CREAT | O_DIRECT);
	fd = fs_open(fs, name, O_RDWR);
	map = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	/*
	 * khugepaged of Linux 7.3 reads ahead, for which it takes
	 * invalidate_lock, with folios locked, and fallocate() locks folios
	 * with invalidate_lock taken: both wait for ever.
	 */
	madvise(map, FILE_MAX, MADV_NOHUGEPAGE);
	if (moves) {
		r.size = NR_LANES * lane_size;
		r.dmabuf = mover_create(r.size, MOVER_SHUFFLE);
		r.mem = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			     r.dmabuf, 0);
		CHECK(r.mem != MAP_FAILED);
	} else {
		rig_buffer(&r, NR_LANES * lane_size, true);
	}
	rig_register(&r);
	rig_bind(&r);
	block = r.limits.write_block_size;
	CHECK(block <= BLOCK_MAX);
}

/* All is as it was when nothing is cached any more. */
static void check_after_mount(void)
{
	uint64_t size = model_size;

	munmap(map, FILE_MAX);
	close(fd);
	rig_down_file(&r);
	fs_umount(fs);
	fs_check(fs);
	fs_mount(fs);
	r.bdev = fs_open(fs, name, O_RDWR | O_DIRECT);
	fd = fs_open(fs, name, O_RDWR);
	rig_bind(&r);
	CHECK_EQ(size_of(fd), size);
	check_all();
	close(fd);
	rig_down_file(&r);
	fs_umount(fs);
}

static void report(void)
{
	struct blk_dmabuf_info info = rig_info(&r);
	unsigned int k;

	printf("# seed %llu, %lu steps:", (unsigned long long)fsx_seed, nr_ops);
	for (k = 0; k < NR_KINDS; k++)
		if (nr_of[k])
			printf(" %lu %s,", nr_of[k], kind_name[k]);
	printf("\n# %llu compared meanwhile, %llu touched; %llu retries, %llu errors\n",
	       (unsigned long long)nr_compared, (unsigned long long)nr_touched,
	       (unsigned long long)info.retries,
	       (unsigned long long)info.errors);
	CHECK_EQ(info.errors, 0);
	if (moves)
		printf("# %llu moves, the longest took %llu us\n",
		       (unsigned long long)mover_stat(r.dmabuf).moves,
		       (unsigned long long)mover_stat(r.dmabuf).max_ns / 1000);
}

static void fsx(struct fs *where, const char *test, bool moving, bool cloning)
{
	uint64_t ops = env("FSX_OPS", 4000), end;
	pthread_t threads[2];

	fsx_seed = env("FSX_SEED", (getpid() * 1000003ULL + now_us()) %
				   1000000);
	printf("# seed %llu\n", (unsigned long long)fsx_seed);
	fflush(stdout);
	fs = where;
	name = test;
	moves = moving;
	can_clone = cloning;
	if (moves)
		mover_open();
	fs_make(fs);
	set_up();
	if (moves)
		mover_storm(r.dmabuf, 200);
	CHECK_EQ(pthread_create(&threads[0], NULL, compare_on, NULL), 0);
	CHECK_EQ(pthread_create(&threads[1], NULL, touch_on, NULL), 0);
	end = now_ms() + env("FSX_SECONDS", 60) * 1000;
	while (nr_ops < ops && now_ms() < end) {
		if (draw(4))
			run_batch();
		else
			run_alone();
	}
	stop_threads = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	if (moves)
		mover_storm(r.dmabuf, 0);
	check_all();
	report();
	CHECK(nr_ops > 100);
	CHECK(nr_compared > 0);
	if (moves)
		CHECK_EQ(mover_stat(r.dmabuf).late_writes, 0);
	check_after_mount();
}

static struct fs ext4 = {
	.type = "ext4", .serial = "disk2", .make = "-b 4096",
};
static struct fs ext4_small = {
	.type = "ext4", .serial = "disk2", .make = "-b 1024",
};
static struct fs xfs = {
	.type = "xfs", .serial = "disk2", .make = "-m reflink=0",
};
static struct fs xfs_reflink = {
	.type = "xfs", .serial = "disk2", .make = "-m reflink=1",
};

TEST(every_byte_on_ext4)
{
	fsx(&ext4, __func__, false, false);
}

TEST(every_byte_on_ext4_of_1_KiB_blocks)
{
	fsx(&ext4_small, __func__, false, false);
}

TEST(every_byte_on_xfs)
{
	fsx(&xfs, __func__, false, false);
}

TEST(every_byte_on_xfs_that_shares_blocks)
{
	fsx(&xfs_reflink, __func__, false, true);
}

TEST(every_byte_on_ext4_while_the_buffer_moves)
{
	fsx(&ext4, __func__, true, false);
}

TEST(every_byte_on_xfs_that_shares_blocks_while_the_buffer_moves)
{
	fsx(&xfs_reflink, __func__, true, true);
}

static void clean_up(void)
{
	fs_clear(NULL, NULL);
	rig_clean();
}

int main(int argc, char **argv)
{
	return rig_main_clean(argc, argv, clean_up);
}
