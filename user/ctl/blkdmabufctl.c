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
 *   blkdmabufctl read /srv/model.bin --id 1
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkdmabufctl.h"

/* How to complete an argument; a file's name the shell completes by itself. */
enum kind {
	K_NONE, K_FILE, K_DEV, K_DEV_OR_FILE, K_ID, K_ID_OR_ALL, K_HEAP,
	K_POLICY, K_POLICY_FILE, K_NETDEV,
};

/* A name of two words is a command of a group: "policy load". */
struct command {
	const char	*name;
	const char	*args;
	const char	*help;
	int		(*run)(const struct options *o);
	unsigned char	min_args;
	unsigned char	max_args;
	enum kind	kinds[2];	/* of each argument; the last goes on */
};

/* The order of the commands in commands[]; bits of struct option.commands. */
enum command_id {
	CMD_CHECK, CMD_REGISTER, CMD_UNREGISTER, CMD_MAP, CMD_UNMAP, CMD_LIST,
	CMD_SHOW, CMD_READ, CMD_WRITE, CMD_COPY, CMD_RECEIVE, CMD_SEND,
	CMD_POLICY_LOAD, CMD_POLICY_SELECT, CMD_POLICY_ATTACH, CMD_POLICY_SWAP,
	CMD_POLICY_DETACH, CMD_POLICY_UNLOAD, CMD_POLICY_LIST, CMD_POLICY_SHOW,
	CMD_STAT, CMD_TOP, CMD_BENCH,
};

static const struct command commands[] = {
	[CMD_CHECK] = {
		"check", "[DEV|FILE]...",
		"say whether kernel, device and file can do it, and how",
		cmd_check, 0, MAX_ARGS, { K_DEV_OR_FILE, K_DEV_OR_FILE }
	},
	[CMD_REGISTER] = {
		"register", "DEV|FILE", "register a dma-buf on a disk",
		cmd_register, 1, 1, { K_DEV_OR_FILE }
	},
	[CMD_UNREGISTER] = {
		"unregister", "ID|all", "end a registration, or all pinned",
		cmd_unregister, 1, 1, { K_ID_OR_ALL }
	},
	[CMD_MAP] = {
		"map", "ID", "make the DMA mapping now",
		cmd_map, 1, 1, { K_ID }
	},
	[CMD_UNMAP] = {
		"unmap", "ID", "drop the DMA mapping until the next I/O",
		cmd_unmap, 1, 1, { K_ID }
	},
	[CMD_LIST] = {
		"list", "[DEV|FILE]",
		"list all registrations, or those of a disk",
		cmd_list, 0, 1, { K_DEV_OR_FILE }
	},
	[CMD_SHOW] = {
		"show", "ID", "show all about one registration",
		cmd_show, 1, 1, { K_ID }
	},
	[CMD_READ] = {
		"read", "DEV|FILE",
		"read a device or file into a file or a dma-buf",
		cmd_read, 1, 1, { K_DEV_OR_FILE }
	},
	[CMD_WRITE] = {
		"write", "DEV|FILE",
		"write a file or a dma-buf to a device or file",
		cmd_write, 1, 1, { K_DEV_OR_FILE }
	},
	[CMD_COPY] = {
		"copy", "SRC DST", "copy between devices and files",
		cmd_copy, 2, 2, { K_DEV_OR_FILE, K_DEV_OR_FILE }
	},
	[CMD_RECEIVE] = {
		"receive", "DEV|FILE",
		"write what a TCP connection brings, from the NIC's buffer",
		cmd_receive, 1, 1, { K_DEV_OR_FILE }
	},
	[CMD_SEND] = {
		"send", "DEV|FILE",
		"send a device or file by TCP, from the storage's buffer",
		cmd_send, 1, 1, { K_DEV_OR_FILE }
	},
	[CMD_POLICY_LOAD] = {
		"policy load", "POLICY", "load a policy and keep it pinned",
		cmd_policy_load, 1, 1, { K_POLICY_FILE }
	},
	[CMD_POLICY_SELECT] = {
		"policy select", "NAME|none DEV",
		"select a policy for a disk, as sysfs does",
		cmd_policy_select, 2, 2, { K_POLICY, K_DEV }
	},
	[CMD_POLICY_ATTACH] = {
		"policy attach", "NAME DEV",
		"the same as select, in the words of other tools",
		cmd_policy_attach, 2, 2, { K_POLICY, K_DEV }
	},
	[CMD_POLICY_SWAP] = {
		"policy swap", "NAME POLICY",
		"replace a policy on all its disks under load",
		cmd_policy_swap, 2, 2, { K_POLICY, K_POLICY_FILE }
	},
	[CMD_POLICY_DETACH] = {
		"policy detach", "DEV", "select none for a disk",
		cmd_policy_detach, 1, 1, { K_DEV }
	},
	[CMD_POLICY_UNLOAD] = {
		"policy unload", "NAME", "end a policy, on all its disks",
		cmd_policy_unload, 1, 1, { K_POLICY }
	},
	[CMD_POLICY_LIST] = {
		"policy list", "", "list policies and who uses them",
		cmd_policy_list, 0, 0, { K_NONE }
	},
	[CMD_POLICY_SHOW] = {
		"policy show", "NAME",
		"show a policy's members, knobs, counters and maps",
		cmd_policy_show, 1, 1, { K_POLICY }
	},
	[CMD_STAT] = {
		"stat", "[DEV|FILE]", "watch I/O for a while and add it up",
		cmd_stat, 0, 1, { K_DEV_OR_FILE }
	},
	[CMD_TOP] = {
		"top", "[DEV|FILE]", "the same, live on the whole terminal",
		cmd_top, 0, 1, { K_DEV_OR_FILE }
	},
	[CMD_BENCH] = {
		"bench", "DEV|FILE",
		"measure it beside what the kernel does without it",
		cmd_bench, 1, 1, { K_DEV_OR_FILE }
	},
};

enum option_type { T_FLAG, T_STRING, T_LIST, T_SIZE, T_U32 };

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
#define WIRE		(C(RECEIVE) | C(SEND))
#define LOADING		(C(POLICY_LOAD) | C(POLICY_SWAP))
#define WATCHING	(C(STAT) | C(TOP))
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
		"udmabuf", 0, T_SIZE, "SIZE", K_NONE,
		C(CHECK) | C(REGISTER) | WIRE, FIELD(udmabuf),
		"use new memory of this size"
	},
	[OPT_HEAP_SIZE] = {
		"heap", 0, T_STRING, "NAME:SIZE", K_HEAP, C(REGISTER) | WIRE,
		FIELD(heap), "use new memory from a dma-heap"
	},
	[OPT_HEAP] = {
		"heap", 0, T_STRING, "NAME", K_HEAP, C(CHECK) | MOVING,
		FIELD(heap), "go through memory from a dma-heap"
	},
	[OPT_HUGETLB] = {
		"hugetlb", 0, T_FLAG, NULL, K_NONE,
		C(CHECK) | C(REGISTER) | MOVING | WIRE,
		FIELD(hugetlb), "make the new memory out of huge pages"
	},
	[OPT_VFIO] = {
		"vfio", 0, T_LIST, "BDF:BAR[:OFFSET:LENGTH]", K_NONE,
		C(CHECK) | C(REGISTER), FIELD(vfio),
		"use memory of a PCI device that vfio-pci drives"
	},
	[OPT_PROBE] = {
		"probe", 0, T_FLAG, NULL, K_NONE, C(CHECK), FIELD(probe),
		"move 1M both ways, and put back what was there"
	},
	[OPT_PROBE_RANGE] = {
		"probe-range", 0, T_SIZE, "OFFSET", K_NONE, C(CHECK),
		FIELD(probe_range), "do that there"
	},
	[OPT_ID] = {
		"id", 0, T_U32, "ID", K_ID, C(READ) | C(WRITE) | WIRE,
		FIELD(id), "use the dma-buf of this registration"
	},
	[OPT_FD] = {
		"fd", 0, T_U32, "N", K_NONE,
		C(CHECK) | C(REGISTER) | C(READ) | C(WRITE) | WIRE, FIELD(fd),
		"use this open file, a dma-buf"
	},
	[OPT_PID] = {
		"pid", 0, T_U32, "PID", K_NONE,
		C(CHECK) | C(REGISTER) | C(READ) | C(WRITE) | WIRE, FIELD(pid),
		"the file is open in that process"
	},
	[OPT_NO_MAP] = {
		"no-map", 0, T_FLAG, NULL, K_NONE, C(REGISTER), FIELD(no_map),
		"leave the DMA mapping to the first I/O"
	},
	[OPT_ALLOW_COPY] = {
		"allow-copy", 0, T_FLAG, NULL, K_NONE,
		C(CHECK) | C(REGISTER) | MOVING, FIELD(allow_copy),
		"let the CPU copy what cannot be done otherwise"
	},
	[OPT_REQUIRE_P2P] = {
		"require-p2p", 0, T_FLAG, NULL, K_NONE, MOVING,
		FIELD(require_p2p), "refuse memory that is not another device's"
	},
	[OPT_OFFSET] = {
		"offset", 0, T_SIZE, "SIZE", K_NONE, C(READ) | C(WRITE) | WIRE,
		FIELD(offset), "start there on the device or in the file"
	},
	[OPT_LENGTH] = {
		"length", 0, T_SIZE, "SIZE", K_NONE, MOVING | WIRE,
		FIELD(length), "that much; otherwise to the end of the source"
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
		"block-size", 0, T_SIZE, "SIZE", K_NONE, MOVING | WIRE,
		FIELD(block_size), "size of one I/O, 1M unless given"
	},
	[OPT_DEPTH] = {
		"depth", 0, T_U32, "N", K_NONE, MOVING | WIRE, FIELD(depth),
		"I/Os at a time, 16 unless given"
	},
	[OPT_CREATE] = {
		"create", 0, T_FLAG, NULL, K_NONE,
		C(WRITE) | C(COPY) | C(RECEIVE), FIELD(create),
		"make the file that is written to, if it is not there"
	},
	[OPT_FORCE] = {
		"force", 0, T_FLAG, NULL, K_NONE,
		MOVING | WIRE | C(BENCH) | C(REGISTER) | C(CHECK), FIELD(force),
		"go on though a device is in use, or memory is short"
	},
	[OPT_SET] = {
		"set", 's', T_LIST, "KNOB=VALUE", K_NONE, LOADING, FIELD(set),
		"set a knob of the policy; may be repeated"
	},
	[OPT_AS] = {
		"as", 0, T_STRING, "NAME", K_NONE, C(POLICY_LOAD), FIELD(as),
		"register it under another name than its own"
	},
	[OPT_KEEP_MAPS] = {
		"keep-maps", 0, T_FLAG, NULL, K_NONE, C(POLICY_SWAP),
		FIELD(keep_maps), "go on with the maps that are there"
	},
	[OPT_INTERVAL] = {
		"interval", 0, T_U32, "SECONDS", K_NONE, WATCHING,
		FIELD(interval), "add up over that long, 1 unless given"
	},
	[OPT_COUNT] = {
		"count", 0, T_U32, "N", K_NONE, WATCHING, FIELD(count),
		"stop after so many intervals"
	},
	[OPT_SIZES] = {
		"sizes", 0, T_STRING, "SIZE,...", K_NONE, C(BENCH),
		FIELD(sizes), "sizes of I/Os, 4K,128K unless given"
	},
	[OPT_DEPTHS] = {
		"depths", 0, T_STRING, "N,...", K_NONE, C(BENCH),
		FIELD(depths), "I/Os in flight, 1,32 unless given"
	},
	[OPT_BATCH] = {
		"batch", 0, T_U32, "N", K_NONE, C(BENCH), FIELD(batch),
		"wait for so many at a time, 1 unless given"
	},
	[OPT_MODE] = {
		"mode", 0, T_STRING, "MODE", K_NONE, C(BENCH), FIELD(mode),
		"interrupt (unless given), polled or sqpoll"
	},
	[OPT_RANDOM] = {
		"random", 0, T_FLAG, NULL, K_NONE, C(BENCH), FIELD(random),
		"at random positions, as without this option"
	},
	[OPT_SEQUENTIAL] = {
		"sequential", 0, T_FLAG, NULL, K_NONE, C(BENCH),
		FIELD(sequential), "one position after the other"
	},
	[OPT_BUFFER] = {
		"buffer", 0, T_STRING, "KIND", K_NONE, C(BENCH), FIELD(buffer),
		"plain (unless given), contiguous or fragmented"
	},
	[OPT_THREADS] = {
		"threads", 0, T_U32, "N", K_NONE, C(BENCH), FIELD(threads),
		"so many, each with a ring and a CPU"
	},
	[OPT_SECONDS] = {
		"seconds", 0, T_STRING, "SECONDS", K_NONE, C(BENCH),
		FIELD(seconds), "for a round of a row, 1 unless given"
	},
	[OPT_ROUNDS] = {
		"rounds", 0, T_U32, "N", K_NONE, C(BENCH), FIELD(rounds),
		"how often each row is measured, 3 unless given"
	},
	[OPT_WRITE] = {
		"write", 0, T_FLAG, NULL, K_NONE, C(BENCH), FIELD(write),
		"write instead of reading: destroys what is there"
	},
	[OPT_WITHOUT_POLICY] = {
		"without-policy", 0, T_FLAG, NULL, K_NONE, C(BENCH),
		FIELD(without_policy), "deselect the policy for the row "
		"without one"
	},
	[OPT_LISTEN] = {
		"listen", 0, T_STRING, "[ADDR]:PORT", K_NONE, C(RECEIVE),
		FIELD(listen), "wait there for a connection"
	},
	[OPT_CONNECT] = {
		"connect", 0, T_STRING, "ADDR:PORT", K_NONE, C(SEND),
		FIELD(connect), "connect to a receiver there"
	},
	[OPT_NETDEV] = {
		"netdev", 0, T_STRING, "IF", K_NETDEV, C(CHECK) | WIRE,
		FIELD(netdev), "the NIC that shares the buffer"
	},
	[OPT_QUEUE] = {
		"queue", 0, T_U32, "N", K_NONE, C(CHECK) | C(RECEIVE),
		FIELD(queue), "its first queue; the last free one unless given"
	},
	[OPT_QUEUES] = {
		"queues", 0, T_U32, "N", K_NONE, C(RECEIVE), FIELD(queues),
		"so many of its queues, 1 unless given"
	},
	[OPT_ENGINE] = {
		"engine", 0, T_STRING, "ENGINE", K_NONE, C(RECEIVE),
		FIELD(engine), "devmem (unless given) or zcrx"
	},
	[OPT_NO_COPY] = {
		"no-copy", 0, T_FLAG, NULL, K_NONE, C(RECEIVE), FIELD(no_copy),
		"refuse what would have to be copied to make whole blocks"
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

/* Is @cmd one of @group?  All are of no group. */
static bool command_in(const struct command *cmd, const char *group)
{
	size_t len = group ? strlen(group) : 0;

	return !group || (!strncmp(cmd->name, group, len) &&
			  cmd->name[len] == ' ');
}

static bool is_group(const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (command_in(&commands[i], word))
			return true;
	return false;
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

static const struct option *option_find_letter(char letter,
					       const struct command *cmd)
{
	size_t i;

	for (i = 0; i < NR_OPTIONS; i++)
		if (options[i].letter == letter &&
		    option_applies(&options[i], cmd))
			return &options[i];
	return NULL;
}

/* ---- Help ---- */

static bool is_global(const struct option *opt)
{
	return opt->commands == EVERY;
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

static struct json_object *commands_json(const char *group)
{
	struct json_object *list = json_object_new_array(), *obj;
	const struct command *cmd;

	for (cmd = commands; cmd < commands + ARRAY_SIZE(commands); cmd++) {
		if (!command_in(cmd, group))
			continue;
		obj = json_object_new_object();
		add_str(obj, "name", cmd->name);
		add_str(obj, "args", cmd->args);
		add_str(obj, "help", cmd->help);
		json_object_object_add(obj, "options",
				       options_json(cmd, false));
		json_object_array_add(list, obj);
	}
	return list;
}

static const char *option_text(const struct cell *c)
{
	const char *letter = json_object_get_string(member(c->record,
							   "letter"));
	const char *arg = json_object_get_string(member(c->record, "arg"));

	return say("%s--%s%s%s", letter ? say("-%s, ", letter) : "    ",
		   cell_text(c), arg ? " " : "", arg ?: "");
}

static const struct field option_fields[] = {
	{ NULL,		"  %-24s",	"name",		option_text },
	{ NULL,		" %s",		"help",		cell_text },
	{}
};

static const struct field command_fields[] = {
	{ NULL,		"  %-14s",	"name",		cell_text },
	{ NULL,		" %-11s",	"args",		cell_text },
	{ NULL,		" %s",		"help",		cell_text },
	{}
};

static void print_usage(FILE *f, const struct command *cmd)
{
	if (cmd)
		fprintf(f, "usage: blkdmabufctl [OPTIONS] %s %s [OPTIONS]\n",
			cmd->name, cmd->args);
	else
		fprintf(f, "usage: blkdmabufctl [OPTIONS] COMMAND ...\n");
}

static void print_help(const struct command *cmd, const char *group)
{
	print_usage(stdout, cmd);
	if (cmd) {
		printf("  %s\n\nOptions:\n", cmd->help);
		tell_list(option_fields, options_json(cmd, false));
	} else {
		puts("Block I/O straight between a device, or a file on one, "
		     "and a dma-buf.\n\n"
		     "Commands:");
		tell_list(command_fields, commands_json(group));
		puts("\n'blkdmabufctl COMMAND --help' has the options of a "
		     "command.\n\nOptions:");
	}
	tell_list(option_fields, options_json(cmd, true));
	puts("\nSizes are bytes and take K, M, G, T. The manual page is "
	     "blkdmabufctl(8).");
}

static void print_help_json(void)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "commands", commands_json(NULL));
	json_object_object_add(all, "options", options_json(NULL, true));
	print_json(all);
}

static int help(const struct command *cmd, const char *group)
{
	if (want_json)
		print_help_json();
	else
		print_help(cmd, group);
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
 * @group: first word of a command of two
 * @cmd: the command, once it was seen
 * @o: what was found
 * @only_args: "--" was seen
 */
struct parser {
	char			**argv;
	const char		*group;
	const struct command	*cmd;
	struct options		*o;
	bool			only_args;
};

static const char *try_help(const struct parser *p)
{
	const char *name = p->cmd ? p->cmd->name : p->group;

	return name ? say("blkdmabufctl %s --help", name) :
		      "blkdmabufctl --help";
}

/* What is to have a '=' has one behind something. */
static bool add_word(struct words *words, const char *val, const char *arg)
{
	if (!*val || words->nr == ARRAY_SIZE(words->word))
		return false;
	if (strchr(arg, '=') && (!strchr(val, '=') || *val == '='))
		return false;
	words->word[words->nr++] = val;
	return true;
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
	case T_LIST:
		ok = add_word(field, val, opt->arg);
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

/* -jh are two flags; -s takes what follows, in this word or the next. */
static int parse_letters(struct parser *p, const char *letters)
{
	const struct option *opt;
	int ret = EXIT_OK;

	for (; *letters && !ret; letters++) {
		opt = option_find_letter(*letters, p->cmd);
		if (!opt)
			return usage_error(p->cmd &&
					   option_find_letter(*letters, NULL) ?
					   say("'%s' has no option",
					       p->cmd->name) :
					   "unknown option:",
					   say("-%c", *letters), try_help(p));
		/* Before the command it could be an option of any of them. */
		if (!p->cmd && !is_global(opt))
			return usage_error("give the command before its option",
					   say("-%c", *letters), try_help(p));
		if (opt->type != T_FLAG && letters[1])
			return set_option(p, opt, letters + 1);
		if (opt->type != T_FLAG && !p->argv[1])
			return usage_error(say("-%c wants", *letters), opt->arg,
					   try_help(p));
		ret = set_option(p, opt,
				 opt->type == T_FLAG ? NULL : *++p->argv);
	}
	return ret;
}

static int parse_command(struct parser *p, const char *word)
{
	const char *name = p->group ? say("%s %s", p->group, word) : word;

	p->cmd = command_find(name);
	if (p->cmd)
		return EXIT_OK;
	if (p->group || !is_group(word))
		return usage_error("unknown command:", name, try_help(p));
	p->group = word;
	return EXIT_OK;
}

static int parse_arg(struct parser *p, char *arg)
{
	size_t i;

	if (!p->cmd)
		return parse_command(p, arg);
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

/* Is 'j' among the letters, in front of one that takes the rest? */
static bool has_json_letter(const char *letters)
{
	const struct option *opt;

	for (; *letters && *letters != 'j'; letters++) {
		opt = option_find_letter(*letters, NULL);
		if (opt && opt->type != T_FLAG)
			return false;
	}
	return *letters;
}

/* Errors in the command line shall be JSON, too, wherever the -j is. */
static bool asks_for_json(char **argv)
{
	for (; *argv && strcmp(*argv, "--"); argv++)
		if (!strcmp(*argv, "--json") ||
		    ((*argv)[0] == '-' && (*argv)[1] != '-' &&
		     has_json_letter(*argv + 1)))
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

static void offer_name(const char *name, const char *prefix)
{
	offer(name, prefix, "");
}

static void offer_kind(enum kind kind, const char *prefix)
{
	switch (kind) {
	case K_DEV_OR_FILE:
		/* Else the shell would take any name to be below /dev. */
		if (strncmp(prefix, "/dev/", 5))
			break;
		/* fallthrough */
	case K_DEV:
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
	case K_NETDEV:
		offer_dir("/sys/class/net", prefix, "");
		break;
	case K_POLICY:
		policy_names(offer_name, prefix);
		break;
	case K_POLICY_FILE:
		policy_files(offer_name, prefix);
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

/* What is offered for a command's name, or for what follows its first word. */
static void offer_commands(const char *group, const char *prefix)
{
	const char *last = "", *name;
	char first[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!command_in(&commands[i], group))
			continue;
		name = commands[i].name + (group ? strlen(group) + 1 : 0);
		snprintf(first, sizeof(first), "%.*s",
			 (int)strcspn(name, " "), name);
		/* Those of a group follow each other. */
		if (strncmp(name, last, strlen(first) + 1))
			offer(first, prefix, "");
		last = name;
	}
}

/* What the words in front of the last one say of it. */
struct before {
	const struct command	*cmd;
	const char		*group;
	const struct option	*wants;	/* the option whose value it is */
	unsigned int		args;
};

static void complete_after(struct before *b, const char *word)
{
	const struct option *opt = NULL;

	if (b->wants) {
		b->wants = NULL;
		return;
	}
	if (!strncmp(word, "--", 2))
		opt = option_find(word + 2, b->cmd);
	else if (*word == '-' && word[1] && !word[2])
		opt = option_find_letter(word[1], b->cmd);
	if (*word == '-') {
		b->wants = opt && opt->arg && !strchr(word, '=') ? opt : NULL;
	} else if (b->cmd) {
		b->args++;
	} else {
		b->cmd = command_find(b->group ?
				      say("%s %s", b->group, word) : word);
		b->group = word;
	}
}

/* __complete WORD...: what the last word could become, one a line. */
static int complete(char **words)
{
	struct before b = {};

	for (; words[0] && words[1]; words++)
		complete_after(&b, *words);
	if (!*words)
		return EXIT_OK;
	if (b.wants)
		offer_kind(b.wants->kind, *words);
	else if (**words == '-')
		offer_options(b.cmd, *words);
	else if (!b.cmd)
		offer_commands(b.group, *words);
	else if (b.args < b.cmd->max_args)
		offer_kind(b.cmd->kinds[b.args ? 1 : 0], *words);
	return EXIT_OK;
}

static int run(struct parser *p)
{
	struct options *o = p->o;
	int ret = parse(p);

	if (ret)
		return ret;
	if (o->help)
		return help(p->cmd, p->group);
	if (o->version)
		return version();
	if (!p->cmd && p->group)
		return usage_error(say("'%s' is half a command", p->group),
				   NULL, try_help(p));
	if (!p->cmd)
		return usage_error("no command", NULL, try_help(p));
	if (p->cmd->min_args && !o->args[p->cmd->min_args - 1])
		return usage_error(say("'%s' wants", p->cmd->name),
				   p->cmd->args, try_help(p));
	return p->cmd->run(o);
}

int main(int argc, char **argv)
{
	struct options o = {
		.block_size = 1024 * 1024, .depth = 16, .interval = 1,
		.sizes = "4K,128K", .depths = "1,32", .batch = 1,
		.mode = "interrupt", .buffer = "plain", .threads = 1,
		.seconds = "1", .rounds = 3, .engine = "devmem", .queues = 1,
	};
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
	if ((fflush(stdout) || ferror(stdout)) && !ret) {
		fprintf(stderr, "blkdmabufctl: write to standard output: %s; "
			"try: free some space\n", strerror(errno));
		ret = EXIT_FAILED;
	}
	return ret;
}
