// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: block I/O on dma-bufs from the command line.
 *
 * Two tables say everything there is to say: commands[] and options[].
 * Parsing, usage, help (text and JSON) and completion are made from them; the
 * manual page is compared with them by selftests/host/blkdmabufctl.bats.
 *
 *   blkdmabufctl check /dev/nvme0n1
 *   blkdmabufctl register /dev/nvme0n1 --udmabuf 64M
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkdmabufctl.h"

/* How to complete an argument; what is K_FILE the shell does by itself. */
enum kind { K_NONE, K_FILE, K_DEV, K_DEV_OR_FILE, K_ID, K_ID_OR_ALL, K_HEAP };

struct command {
	const char	*name;
	const char	*args;
	const char	*help;
	int		(*run)(const struct options *o);
	unsigned char	min_args;
	unsigned char	max_args;
	enum kind	kind;
};

/* The order of the commands in commands[]; bits of struct option.commands. */
enum command_id {
	CMD_CHECK, CMD_REGISTER, CMD_UNREGISTER, CMD_MAP, CMD_UNMAP, CMD_LIST,
	CMD_SHOW, CMD_READ, CMD_WRITE, CMD_COPY,
};

static const struct command commands[] = {
	[CMD_CHECK] = {
		"check", "[DEV]", "say whether kernel and device can do it",
		cmd_check, 0, 1, K_DEV
	},
	[CMD_REGISTER] = {
		"register", "DEV", "register a dma-buf on a disk",
		cmd_register, 1, 1, K_DEV
	},
	[CMD_UNREGISTER] = {
		"unregister", "ID|all", "end a registration, or all pinned",
		cmd_unregister, 1, 1, K_ID_OR_ALL
	},
	[CMD_MAP] = {
		"map", "ID", "make the DMA mapping now",
		cmd_map, 1, 1, K_ID
	},
	[CMD_UNMAP] = {
		"unmap", "ID", "drop the DMA mapping until the next I/O",
		cmd_unmap, 1, 1, K_ID
	},
	[CMD_LIST] = {
		"list", "[DEV]", "list all registrations, or those of a disk",
		cmd_list, 0, 1, K_DEV
	},
	[CMD_SHOW] = {
		"show", "ID", "show all about one registration",
		cmd_show, 1, 1, K_ID
	},
	[CMD_READ] = {
		"read", "DEV", "read a device into a file or a dma-buf",
		cmd_read, 1, 1, K_DEV
	},
	[CMD_WRITE] = {
		"write", "DEV", "write a file or a dma-buf to a device",
		cmd_write, 1, 1, K_DEV
	},
	[CMD_COPY] = {
		"copy", "SRC DST", "copy between devices, or device and file",
		cmd_copy, 2, 2, K_DEV_OR_FILE
	},
};

enum option_type { T_FLAG, T_STRING, T_SIZE, T_U32 };

struct option {
	const char	*name;
	char		letter;
	enum option_type type;
	const char	*arg;
	enum kind	kind;
	unsigned int	commands;
	size_t		offset;
	const char	*help;
};

#define C(name)		(1U << CMD_##name)
#define EVERY		((1U << ARRAY_SIZE(commands)) - 1)
#define MOVING		(C(READ) | C(WRITE) | C(COPY))
#define FIELD(name)	offsetof(struct options, name)

static const struct option options[] = {
	[OPT_HELP] = {
		"help", 'h', T_FLAG, NULL, K_NONE, EVERY, FIELD(help),
		"print help, of a command if there is one"
	},
	[OPT_VERSION] = {
		"version", 0, T_FLAG, NULL, K_NONE, EVERY, FIELD(version),
		"print the version"
	},
	[OPT_JSON] = {
		"json", 'j', T_FLAG, NULL, K_NONE, EVERY, FIELD(json),
		"write JSON, errors too"
	},
	[OPT_PIN] = {
		"pin", 0, T_STRING, "DIR", K_FILE, EVERY, FIELD(pin),
		"bpffs directory of the map that keeps registrations"
	},
	[OPT_UDMABUF] = {
		"udmabuf", 0, T_SIZE, "SIZE", K_NONE, C(REGISTER),
		FIELD(udmabuf), "register new memory of this size"
	},
	[OPT_HEAP_SIZE] = {
		"heap", 0, T_STRING, "NAME:SIZE", K_HEAP, C(REGISTER),
		FIELD(heap), "register new memory from a dma-heap"
	},
	[OPT_HEAP] = {
		"heap", 0, T_STRING, "NAME", K_HEAP, MOVING, FIELD(heap),
		"go through memory from a dma-heap"
	},
	[OPT_HUGETLB] = {
		"hugetlb", 0, T_FLAG, NULL, K_NONE, C(REGISTER) | MOVING,
		FIELD(hugetlb), "make the new memory out of huge pages"
	},
	[OPT_SHUFFLE] = {
		"shuffle", 0, T_FLAG, NULL, K_NONE, C(REGISTER) | MOVING,
		FIELD(shuffle), "put its pages in shuffled order"
	},
	[OPT_ID] = {
		"id", 0, T_U32, "ID", K_ID, C(READ) | C(WRITE), FIELD(id),
		"use the dma-buf of this registration"
	},
	[OPT_FD] = {
		"fd", 0, T_U32, "N", K_NONE, C(REGISTER) | C(READ) | C(WRITE),
		FIELD(fd), "use this open file, a dma-buf"
	},
	[OPT_PID] = {
		"pid", 0, T_U32, "PID", K_NONE,
		C(REGISTER) | C(READ) | C(WRITE), FIELD(pid),
		"the file is open in that process"
	},
	[OPT_NO_MAP] = {
		"no-map", 0, T_FLAG, NULL, K_NONE, C(REGISTER), FIELD(no_map),
		"leave the DMA mapping to the first I/O"
	},
	[OPT_OFFSET] = {
		"offset", 0, T_SIZE, "SIZE", K_NONE, C(READ) | C(WRITE),
		FIELD(offset), "start there on the device"
	},
	[OPT_LENGTH] = {
		"length", 0, T_SIZE, "SIZE", K_NONE, MOVING, FIELD(length),
		"that much; otherwise to the end of the source"
	},
	[OPT_BUF_OFFSET] = {
		"buf-offset", 0, T_SIZE, "SIZE", K_NONE, C(READ) | C(WRITE),
		FIELD(buf_offset), "start there in the dma-buf"
	},
	[OPT_TO] = {
		"to", 0, T_STRING, "FILE", K_FILE, C(READ), FIELD(to),
		"write the data to a file, - for standard output"
	},
	[OPT_FROM] = {
		"from", 0, T_STRING, "FILE", K_FILE, C(WRITE), FIELD(from),
		"take the data from a file, - for standard input"
	},
	[OPT_SRC_OFFSET] = {
		"src-offset", 0, T_SIZE, "SIZE", K_NONE, C(COPY),
		FIELD(src_offset), "start there in SRC"
	},
	[OPT_DST_OFFSET] = {
		"dst-offset", 0, T_SIZE, "SIZE", K_NONE, C(COPY),
		FIELD(dst_offset), "start there in DST"
	},
	[OPT_BLOCK_SIZE] = {
		"block-size", 0, T_SIZE, "SIZE", K_NONE, MOVING,
		FIELD(block_size), "size of one I/O, 1M unless given"
	},
	[OPT_DEPTH] = {
		"depth", 0, T_U32, "N", K_NONE, MOVING, FIELD(depth),
		"I/Os at a time, 16 unless given"
	},
	[OPT_FORCE] = {
		"force", 0, T_FLAG, NULL, K_NONE, C(WRITE) | C(COPY),
		FIELD(force), "write to a device that is mounted or held"
	},
};

_Static_assert(ARRAY_SIZE(options) == NR_OPTIONS, "an option has no row");
_Static_assert(NR_OPTIONS <= 64, "struct options.given is too small");

bool want_json;

static const struct command *command_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* Without a command: does any have the option? */
static bool option_applies(const struct option *opt, const struct command *cmd)
{
	return !cmd || opt->commands & (1U << (cmd - commands));
}

/* @name may go on with "=value". */
static const struct option *option_find(const char *name,
					const struct command *cmd)
{
	size_t i, len = strcspn(name, "=");

	for (i = 0; i < NR_OPTIONS; i++)
		if (strlen(options[i].name) == len &&
		    !strncmp(options[i].name, name, len) &&
		    option_applies(&options[i], cmd))
			return &options[i];
	return NULL;
}

static const struct option *option_find_letter(char letter)
{
	size_t i;

	for (i = 0; i < NR_OPTIONS; i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

/* ---- Help ---- */

static bool is_global(const struct option *opt)
{
	return opt->commands == EVERY;
}

static void print_options(const struct command *cmd, bool global)
{
	const struct option *opt;
	char left[64];

	for (opt = options; opt < options + NR_OPTIONS; opt++) {
		if (is_global(opt) != global || !option_applies(opt, cmd))
			continue;
		snprintf(left, sizeof(left), "%s%c%s--%s%s%s",
			 opt->letter ? "-" : "", opt->letter ?: ' ',
			 opt->letter ? ", " : "   ", opt->name,
			 opt->arg ? " " : "", opt->arg ?: "");
		printf("  %-24s %s\n", left, opt->help);
	}
}

static void print_usage(FILE *f, const struct command *cmd)
{
	if (cmd)
		fprintf(f, "usage: blkdmabufctl [OPTIONS] %s %s [OPTIONS]\n",
			cmd->name, cmd->args);
	else
		fprintf(f, "usage: blkdmabufctl [OPTIONS] COMMAND ...\n");
}

static void print_help(const struct command *cmd)
{
	size_t i;

	print_usage(stdout, cmd);
	if (cmd) {
		printf("  %s\n\nOptions:\n", cmd->help);
		print_options(cmd, false);
	} else {
		puts("Block I/O straight between a device and a dma-buf.\n\n"
		     "Commands:");
		for (i = 0; i < ARRAY_SIZE(commands); i++)
			printf("  %-10s %-9s %s\n", commands[i].name,
			       commands[i].args, commands[i].help);
		puts("\n'blkdmabufctl COMMAND --help' has the options of a "
		     "command.\n\nOptions:");
	}
	print_options(cmd, true);
	puts("\nSizes are bytes and take K, M, G, T. The manual page is "
	     "blkdmabufctl(8).");
}

static struct json_object *options_json(const struct command *cmd, bool global)
{
	struct json_object *list = json_object_new_array(), *obj;
	const struct option *opt;

	for (opt = options; opt < options + NR_OPTIONS; opt++) {
		if (is_global(opt) != global || !option_applies(opt, cmd))
			continue;
		obj = json_object_new_object();
		add_str(obj, "name", opt->name);
		add_str(obj, "letter", opt->letter ?
			(char [2]){ opt->letter } : NULL);
		add_str(obj, "arg", opt->arg);
		add_str(obj, "help", opt->help);
		json_object_array_add(list, obj);
	}
	return list;
}

static void print_help_json(void)
{
	struct json_object *all = json_object_new_object(), *list, *obj;
	const struct command *cmd;

	list = json_object_new_array();
	for (cmd = commands; cmd < commands + ARRAY_SIZE(commands); cmd++) {
		obj = json_object_new_object();
		add_str(obj, "name", cmd->name);
		add_str(obj, "args", cmd->args);
		add_str(obj, "help", cmd->help);
		json_object_object_add(obj, "options",
				       options_json(cmd, false));
		json_object_array_add(list, obj);
	}
	json_object_object_add(all, "commands", list);
	json_object_object_add(all, "options", options_json(NULL, true));
	print_json(all);
}

static int help(const struct command *cmd)
{
	if (want_json)
		print_help_json();
	else
		print_help(cmd);
	return EXIT_OK;
}

static int version(void)
{
	struct json_object *obj;

	if (!want_json) {
		puts("blkdmabufctl " BLKDMABUF_VERSION);
		return EXIT_OK;
	}
	obj = json_object_new_object();
	add_str(obj, "version", BLKDMABUF_VERSION);
	add_u64(obj, "abi_version", BLK_DMABUF_ABI_VERSION);
	print_json(obj);
	return EXIT_OK;
}

/* ---- Parsing ---- */

/**
 * struct parser - the command line while it is read
 * @argv: where we are
 * @cmd: the command, once it was seen
 * @o: what was found
 * @only_args: "--" was seen
 */
struct parser {
	char			**argv;
	const struct command	*cmd;
	struct options		*o;
	bool			only_args;
};

static const char *try_help(const struct parser *p)
{
	if (!p->cmd)
		return "blkdmabufctl --help";
	return say("blkdmabufctl %s --help", p->cmd->name);
}

static int set_option(const struct parser *p, const struct option *opt,
		      const char *val)
{
	void *field = (char *)p->o + opt->offset;
	bool ok = true;

	switch (opt->type) {
	case T_FLAG:
		*(bool *)field = true;
		break;
	case T_STRING:
		ok = *val;
		*(const char **)field = val;
		break;
	case T_SIZE:
		ok = parse_size(val, field);
		break;
	case T_U32:
		ok = parse_u32(val, field);
		break;
	}
	if (!ok)
		return usage_error(say("--%s wants %s, not", opt->name,
				       opt->arg), val, try_help(p));
	p->o->given |= 1ULL << (opt - options);
	return EXIT_OK;
}

static int parse_long(struct parser *p, const char *name)
{
	const struct option *opt = option_find(name, p->cmd);
	const char *eq = strchr(name, '=');

	if (!opt)
		return usage_error(p->cmd && option_find(name, NULL) ?
				   say("'%s' has no option", p->cmd->name) :
				   "unknown option:", say("--%s", name),
				   try_help(p));
	/* Before the command it could be an option of any of them. */
	if (!p->cmd && !is_global(opt))
		return usage_error("give the command before its option",
				   say("--%s", name), try_help(p));
	if (opt->type == T_FLAG) {
		if (eq)
			return usage_error("option takes no argument",
					   say("--%s", name), try_help(p));
		return set_option(p, opt, NULL);
	}
	if (eq)
		return set_option(p, opt, eq + 1);
	if (!p->argv[1])
		return usage_error(say("--%s wants", name), opt->arg,
				   try_help(p));
	return set_option(p, opt, *++p->argv);
}

/* All that have letters are flags, so -jh works. */
static int parse_letters(struct parser *p, const char *letters)
{
	const struct option *opt;
	int ret = EXIT_OK;

	for (; *letters && !ret; letters++) {
		opt = option_find_letter(*letters);
		if (!opt)
			return usage_error("unknown option:",
					   say("-%c", *letters), try_help(p));
		ret = set_option(p, opt, NULL);
	}
	return ret;
}

static int parse_arg(struct parser *p, char *arg)
{
	size_t i;

	if (!p->cmd) {
		p->cmd = command_find(arg);
		if (p->cmd)
			return EXIT_OK;
		return usage_error("unknown command:", arg,
				   "blkdmabufctl --help");
	}
	for (i = 0; i < p->cmd->max_args; i++) {
		if (!p->o->args[i]) {
			p->o->args[i] = arg;
			return EXIT_OK;
		}
	}
	return usage_error("one argument too many:", arg, try_help(p));
}

static int parse(struct parser *p)
{
	int ret = EXIT_OK;
	char *arg;

	for (; *p->argv && !ret; p->argv++) {
		arg = *p->argv;
		if (p->only_args || arg[0] != '-' || !arg[1])
			ret = parse_arg(p, arg);
		else if (!strcmp(arg, "--"))
			p->only_args = true;
		else if (arg[1] == '-')
			ret = parse_long(p, arg + 2);
		else
			ret = parse_letters(p, arg + 1);
	}
	return ret;
}

/* Errors in the command line shall be JSON, too, wherever the -j is. */
static bool asks_for_json(char **argv)
{
	for (; *argv && strcmp(*argv, "--"); argv++)
		if (!strcmp(*argv, "--json") ||
		    ((*argv)[0] == '-' && (*argv)[1] != '-' &&
		     strchr(*argv, 'j')))
			return true;
	return false;
}

/* ---- Completion ---- */

static void offer(const char *word, const char *prefix, const char *before)
{
	size_t skip = strlen(before), len = strlen(prefix);

	if (len > skip ? !strncmp(before, prefix, skip) &&
			 !strncmp(word, prefix + skip, len - skip) :
			 !strncmp(before, prefix, len))
		printf("%s%s\n", before, word);
}

static void offer_dir(const char *dir, const char *prefix, const char *before)
{
	struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			offer(entry->d_name, prefix, before);
	if (d)
		closedir(d);
}

static void offer_ids(const char *prefix)
{
	struct blk_dmabuf_info info = {};
	struct blkdmabuf_ctl *ctl;
	char id[16];

	if (blkdmabuf_ctl_open(&ctl, NULL))
		return;
	while (blkdmabuf_next(ctl, info.id, &info) > 0) {
		snprintf(id, sizeof(id), "%u", info.id);
		offer(id, prefix, "");
	}
	blkdmabuf_ctl_close(ctl);
}

static void offer_kind(enum kind kind, const char *prefix)
{
	switch (kind) {
	case K_DEV:
	case K_DEV_OR_FILE:
		offer_dir("/sys/class/block", prefix, "/dev/");
		break;
	case K_ID_OR_ALL:
		offer("all", prefix, "");
		/* fallthrough */
	case K_ID:
		offer_ids(prefix);
		break;
	case K_HEAP:
		offer_dir("/dev/dma_heap", prefix, "");
		break;
	case K_NONE:
	case K_FILE:
		break;
	}
}

static void offer_options(const struct command *cmd, const char *prefix)
{
	const struct option *opt;

	for (opt = options; opt < options + NR_OPTIONS; opt++)
		if (cmd ? option_applies(opt, cmd) : is_global(opt))
			offer(opt->name, prefix, "--");
}

/* __complete WORD...: what the last word could become, one a line. */
static int complete(char **words)
{
	const struct option *opt, *wants = NULL;
	const struct command *cmd = NULL;
	size_t i;

	for (; words[0] && words[1]; words++) {
		opt = !strncmp(*words, "--", 2) && !wants ?
			option_find(*words + 2, cmd) : NULL;
		if (!wants && !cmd && **words != '-')
			cmd = command_find(*words);
		wants = opt && opt->arg && !strchr(*words, '=') ? opt : NULL;
	}
	if (!*words)
		return EXIT_OK;
	if (wants)
		offer_kind(wants->kind, *words);
	else if (**words == '-')
		offer_options(cmd, *words);
	else if (cmd)
		offer_kind(cmd->kind, *words);
	else
		for (i = 0; i < ARRAY_SIZE(commands); i++)
			offer(commands[i].name, *words, "");
	return EXIT_OK;
}

static int run(struct parser *p)
{
	struct options *o = p->o;
	int ret = parse(p);

	if (ret)
		return ret;
	if (o->help)
		return help(p->cmd);
	if (o->version)
		return version();
	if (!p->cmd)
		return usage_error("no command", NULL, "blkdmabufctl --help");
	if (p->cmd->min_args && !o->args[p->cmd->min_args - 1])
		return usage_error(say("'%s' wants", p->cmd->name),
				   p->cmd->args, try_help(p));
	return p->cmd->run(o);
}

int main(int argc, char **argv)
{
	struct options o = { .block_size = 1024 * 1024, .depth = 16 };
	struct parser p = { .argv = argv + 1, .o = &o };
	int ret;

	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return complete(argv + 2);
	want_json = asks_for_json(argv + 1);
	o.pin = getenv("BLKDMABUF_PIN");
	if (!o.pin || !*o.pin)
		o.pin = BLKDMABUF_PIN_DIR;
	ret = run(&p);
	/* A result that nobody could read is none. */
	if (fflush(stdout) && !ret) {
		fprintf(stderr, "blkdmabufctl: write to standard output: %s; "
			"try: free some space\n", strerror(errno));
		ret = EXIT_FAILED;
	}
	return ret;
}
