// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkdmabufctl policy select, attach, detach: which policy a disk has.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blkdmabufctl.h"
#include "policy.h"

/* ---- Which disks have it ---- */

#define ATTRS	"/sys/block/*/queue/dmabuf_policy"

/* "/sys/block/nvme0n1/queue/dmabuf_policy": the name of the disk. */
static const char *attr_disk(const char *path)
{
	const char *disk = path + strlen("/sys/block/");

	return say("%.*s", (int)strcspn(disk, "/"), disk);
}

const char *policy_attr(dev_t disk)
{
	return say("/sys/dev/block/%u:%u/queue/dmabuf_policy", major(disk),
		   minor(disk));
}

/* It is in brackets. */
const char *policy_selected(const char *attr)
{
	char line[4096], *at;

	at = read_line(attr, line, sizeof(line)) ? strchr(line, '[') : NULL;
	return at ? say("%.*s", (int)strcspn(at + 1, "]"), at + 1) : NULL;
}

void offer_policies(const char *prefix)
{
	char line[4096], *word, *save = NULL;
	glob_t attrs;

	if (glob(ATTRS, 0, NULL, &attrs))
		return;
	if (read_line(attrs.gl_pathv[0], line, sizeof(line)))
		for (word = strtok_r(line, " []", &save); word;
		     word = strtok_r(NULL, " []", &save))
			if (strcmp(word, "none"))
				offer(word, prefix, "");
	globfree(&attrs);
}

struct json_object *policy_disks(const char *name)
{
	struct json_object *list = json_object_new_array();
	glob_t attrs;
	size_t i;

	if (glob(ATTRS, 0, NULL, &attrs))
		return list;
	for (i = 0; i < attrs.gl_pathc; i++)
		if (!strcmp(policy_selected(attrs.gl_pathv[i]) ?: "", name))
			json_object_array_add(list, json_object_new_string(
					      attr_disk(attrs.gl_pathv[i])));
	globfree(&attrs);
	return list;
}

/* ---- select, attach, detach ---- */

int policy_write(const char *attr, const char *name)
{
	int fd = open(attr, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, name, strlen(name)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int select_policy(const char *path, dev_t disk, const char *name)
{
	const char *attr = policy_attr(disk), *advice = NULL;
	int err;

	if (access(attr, F_OK))
		return fail(.what = "select a policy for", .object = path,
			    .err = -EOPNOTSUPP, .reason = BLK_DMABUF_NO_DRIVER);
	err = policy_write(attr, name);
	if (!err)
		return EXIT_OK;
	if (err == -ENOENT)
		advice = "blkdmabufctl policy list, or policy load";
	else if (err == -EOPNOTSUPP)
		advice = say("blkdmabufctl check %s says why", path);
	else if (err != -EACCES && err != -EPERM)
		advice = "the policy's init refused this disk: see the head "
			 "of its file";
	return fail(.what = say("select policy %s for", name), .object = path,
		    .err = err, .advice = advice);
}

static int select_on(const char *path, const char *name)
{
	char dir[PATH_MAX], *disk;
	struct json_object *obj;
	struct device dev;
	int ret;

	ret = need_kernel() ?: device_open_block(&dev, path, O_RDONLY);
	if (ret)
		return ret;
	close(dev.fd);
	ret = device_sysfs(dev.disk, dir, sizeof(dir));
	if (ret)
		return fail(.what = "find in sysfs", .object = path,
			    .err = ret);
	ret = select_policy(path, dev.disk, name);
	if (ret)
		return ret;
	disk = basename(dir);
	if (!want_json)
		printf("%s: %s\n", disk, name);
	obj = json_object_new_object();
	add_str(obj, "disk", disk);
	add_str(obj, "policy", name);
	print_json(obj);
	return EXIT_OK;
}

int cmd_policy_select(const struct options *o)
{
	return select_on(o->args[1], o->args[0]);
}

int cmd_policy_attach(const struct options *o)
{
	if (!strcmp(o->args[0], "none"))
		return usage_error_try("no policy:", "none",
				       say("blkdmabufctl policy detach %s",
					   o->args[1]));
	return select_on(o->args[1], o->args[0]);
}

int cmd_policy_detach(const struct options *o)
{
	return select_on(o->args[0], "none");
}
