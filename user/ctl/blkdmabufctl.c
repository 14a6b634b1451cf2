// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl: block I/O on dma-bufs from the command line.
 *
 * Two tables say everything there is to say, both in cmdline.h.  Parsing,
 * usage, help (text and JSON) and completion are made from them; the manual
 * page is compared with them by selftests/host/blkdmabufctl.bats.
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

struct command {
	const char	*name;
	const char	*args;
	unsigned char	min_args;
	unsigned char	max_args;
	const char	*help;
	int		(*run)(const struct options *o);
	enum kind	kinds[2];
};

/* Bits of struct option.commands. */
enum command_id {
#define COMMAND(id, ...)	CMD_##id,
#include "cmdline.h"
	NR_COMMANDS
};

static const struct command commands[] = {
#define COMMAND(id, run, name, args, min, max, help, ...) \
	[CMD_##id] = { name, args, min, max, help, run, { __VA_ARGS__ } },
#include "cmdline.h"
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
#define EVERY		((1U << NR_COMMANDS) - 1)
#define MOVING		(C(READ) | C(WRITE) | C(COPY))
#define WIRE		(C(RECEIVE) | C(SEND))
#define LOADING		(C(POLICY_LOAD) | C(POLICY_SWAP))
#define WATCHING	(C(STAT) | C(TOP))

static const struct option options[] = {
#define OPTION(id, type, member, name, letter, arg, kind, commands, help) \
	[OPT_##id] = { name, letter, T_##type, arg, kind, commands, \
		       offsetof(struct options, member), help },
#include "cmdline.h"
};

_Static_assert(NR_OPTIONS <= 64, "struct options.given is too small");

bool want_json;

static const struct command *command_find(const char *name)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++)
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

	for (i = 0; i < NR_COMMANDS; i++)
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

	for (cmd = commands; cmd < commands + NR_COMMANDS; cmd++) {
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

static void print_help(const struct command *cmd, const char *group)
{
	if (cmd) {
		printf("usage: blkdmabufctl [OPTIONS] %s %s [OPTIONS]\n  %s\n\n"
		       "Options:\n", cmd->name, cmd->args, cmd->help);
		tell_list(option_fields, options_json(cmd, false));
	} else {
		puts("usage: blkdmabufctl [OPTIONS] COMMAND ...\n"
		     "Block I/O straight between a device, or a file on one, "
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

static int help(const struct command *cmd, const char *group)
{
	struct json_object *all;

	if (!want_json) {
		print_help(cmd, group);
		return EXIT_OK;
	}
	all = json_object_new_object();
	json_object_object_add(all, "commands", commands_json(NULL));
	json_object_object_add(all, "options", options_json(NULL, true));
	print_json(all);
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
				       opt->arg), val);
	p->o->given |= 1ULL << (opt - options);
	return EXIT_OK;
}

/* @opt is @word of the command that was given, @any is it of some command. */
static int check_option(const struct parser *p, const struct option *opt,
			const struct option *any, const char *word)
{
	if (!opt)
		return usage_error(p->cmd && any ? say("'%s' has no option",
						       p->cmd->name) :
				   "unknown option:", word);
	/* Before the command it could be an option of any of them. */
	if (!p->cmd && !is_global(opt))
		return usage_error("give the command before its option", word);
	return EXIT_OK;
}

static int parse_long(struct parser *p, const char *name)
{
	const struct option *opt = option_find(name, p->cmd);
	const char *eq = strchr(name, '=');

	int ret = check_option(p, opt, option_find(name, NULL),
			       say("--%s", name));

	if (ret)
		return ret;
	if (opt->type == T_FLAG) {
		if (eq)
			return usage_error("option takes no argument",
					   say("--%s", name));
		return set_option(p, opt, NULL);
	}
	if (eq)
		return set_option(p, opt, eq + 1);
	if (!p->argv[1])
		return usage_error(say("--%s wants", name), opt->arg);
	return set_option(p, opt, *++p->argv);
}

/* -jh are two flags; -s takes what follows, in this word or the next. */
static int parse_letters(struct parser *p, const char *letters)
{
	const struct option *opt;
	int ret = EXIT_OK;

	for (; *letters && !ret; letters++) {
		opt = option_find_letter(*letters, p->cmd);
		ret = check_option(p, opt, option_find_letter(*letters, NULL),
				   say("-%c", *letters));
		if (ret)
			return ret;
		if (opt->type != T_FLAG && letters[1])
			return set_option(p, opt, letters + 1);
		if (opt->type != T_FLAG && !p->argv[1])
			return usage_error(say("-%c wants", *letters),
					   opt->arg);
		ret = set_option(p, opt,
				 opt->type == T_FLAG ? NULL : *++p->argv);
	}
	return ret;
}

static int parse_command(struct parser *p, const char *word)
{
	const char *name = p->group ? say("%s %s", p->group, word) : word;

	p->cmd = command_find(name);
	if (!p->cmd && (p->group || !is_group(word)))
		return usage_error("unknown command:", name);
	usage_command(name);
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
	return usage_error("one argument too many:", arg);
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

void offer(const char *word, const char *prefix, const char *before)
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

	if (blkdmabuf_ctl_open(&ctl, NULL))
		return;
	while (blkdmabuf_next(ctl, info.id, &info) > 0)
		offer(say("%u", info.id), prefix, "");
	blkdmabuf_ctl_close(ctl);
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
		offer_policies(prefix);
		break;
	case K_POLICY_FILE:
		offer_policy_files(prefix);
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

	for (i = 0; i < NR_COMMANDS; i++) {
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
				   NULL);
	if (!p->cmd)
		return usage_error("no command", NULL);
	if (p->cmd->min_args && !o->args[p->cmd->min_args - 1])
		return usage_error(say("'%s' wants", p->cmd->name),
				   p->cmd->args);
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
