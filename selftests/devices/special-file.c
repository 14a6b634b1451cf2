// SPDX-License-Identifier: GPL-2.0-only
/*
 * special-file: files that few programs make.
 *
 *	special-file realtime FILE	of XFS, new, on the realtime device
 *	special-file verity FILE	that is there, with verity from now on
 *	special-file encrypted DIR	that is empty: what is made in it is
 *					encrypted
 *	special-file fuse DIR		mounts a file system on it that has one
 *					file, "file", of 1 MiB, and serves it
 *					until it is unmounted
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static int realtime(const char *path)
{
	int fd = must_open(path, O_RDWR | O_CREAT | O_EXCL);
	struct fsxattr attr;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr))
		err(1, "FS_IOC_FSGETXATTR");
	attr.fsx_xflags |= FS_XFLAG_REALTIME;
	if (ioctl(fd, FS_IOC_FSSETXATTR, &attr))
		err(1, "FS_IOC_FSSETXATTR");
	return 0;
}

static int verity(const char *path)
{
	struct fsverity_enable_arg arg = {
		.version	= 1,
		.hash_algorithm	= FS_VERITY_HASH_ALG_SHA256,
		.block_size	= 4096,
	};

	if (ioctl(must_open(path, O_RDONLY), FS_IOC_ENABLE_VERITY, &arg))
		err(1, "FS_IOC_ENABLE_VERITY");
	return 0;
}

static int encrypted(const char *path)
{
	struct fscrypt_policy_v2 policy = {
		.version		   = FSCRYPT_POLICY_V2,
		.contents_encryption_mode  = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags			   = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	struct fscrypt_add_key_arg *key;
	int fd = must_open(path, O_RDONLY | O_DIRECTORY);

	key = calloc(1, sizeof(*key) + FSCRYPT_MAX_KEY_SIZE);
	if (!key)
		err(1, "no memory");
	key->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	key->raw_size = FSCRYPT_MAX_KEY_SIZE;
	memset(key->raw, 'k', FSCRYPT_MAX_KEY_SIZE);
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, key))
		err(1, "FS_IOC_ADD_ENCRYPTION_KEY");
	memcpy(policy.master_key_identifier, key->key_spec.u.identifier,
	       FSCRYPT_KEY_IDENTIFIER_SIZE);
	if (ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		err(1, "FS_IOC_SET_ENCRYPTION_POLICY");
	return 0;
}

/* ---- fuse ---- */

#define FUSE_FILE_ID	(FUSE_ROOT_ID + 1)

static void fuse_attr(struct fuse_attr *attr, uint64_t node)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = node;
	attr->mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->size = node == FUSE_ROOT_ID ? 0 : 1 << 20;
	attr->nlink = 1;
	attr->blksize = 4096;
}

/* Bytes of the answer in @out, or -errno. */
static int fuse_answer(const struct fuse_in_header *in, void *out)
{
	switch (in->opcode) {
	case FUSE_INIT:
		*(struct fuse_init_out *)out = (struct fuse_init_out) {
			.major		= FUSE_KERNEL_VERSION,
			.minor		= FUSE_KERNEL_MINOR_VERSION,
			.max_write	= 4096,
		};
		return sizeof(struct fuse_init_out);
	case FUSE_LOOKUP: {
		struct fuse_entry_out *entry = out;

		if (strcmp((const char *)(in + 1), "file"))
			return -ENOENT;
		memset(entry, 0, sizeof(*entry));
		entry->nodeid = FUSE_FILE_ID;
		fuse_attr(&entry->attr, FUSE_FILE_ID);
		return sizeof(*entry);
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out *attr = out;

		memset(attr, 0, sizeof(*attr));
		fuse_attr(&attr->attr, in->nodeid);
		return sizeof(*attr);
	}
	case FUSE_OPEN:
		memset(out, 0, sizeof(struct fuse_open_out));
		return sizeof(struct fuse_open_out);
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return 0;
	default:
		return -ENOSYS;
	}
}

static int fuse(const char *dir)
{
	static union {
		struct fuse_in_header	header;
		char			bytes[FUSE_MIN_READ_BUFFER + 4096];
	} in;
	static struct {
		struct fuse_out_header	header;
		char			body[256];
	} out;
	int fd = must_open("/dev/fuse", O_RDWR), ret;
	char options[64];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("special-file", dir, "fuse", MS_NOSUID | MS_NODEV, options))
		err(1, "mount on %s", dir);
	for (;;) {
		if (read(fd, &in, sizeof(in)) < 0) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			return errno == ENODEV ? 0 : 1;
		}
		if (in.header.opcode == FUSE_FORGET ||
		    in.header.opcode == FUSE_BATCH_FORGET)
			continue;
		ret = fuse_answer(&in.header, out.body);
		out.header.unique = in.header.unique;
		out.header.error = ret < 0 ? ret : 0;
		out.header.len = sizeof(out.header) + (ret < 0 ? 0 : ret);
		if (write(fd, &out, out.header.len) < 0 && errno != ENOENT)
			err(1, "/dev/fuse");
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char	*name;
		int		(*make)(const char *path);
	} kinds[] = {
		{ "realtime", realtime },
		{ "verity", verity },
		{ "encrypted", encrypted },
		{ "fuse", fuse },
	};
	size_t i;

	for (i = 0; argc == 3 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(argv[1], kinds[i].name))
			return kinds[i].make(argv[2]);
	errx(2, "usage: special-file realtime|verity|encrypted|fuse PATH");
}
