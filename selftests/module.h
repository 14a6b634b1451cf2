/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel modules for test programs: need_module() is what lib.bash has under
 * that name.
 */
#ifndef SELFTESTS_MODULE_H
#define SELFTESTS_MODULE_H

#include <fcntl.h>
#include <sys/syscall.h>

#include "tap.h"

/* The exit code of modprobe, and -1 if there is none. */
static inline int module_probe(const char *name, const char *options)
{
	const char *dir = getenv("MODULES");
	int status;
	pid_t pid;

	if (!dir)
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		execlp("modprobe", "modprobe", "-C", "/dev/null", "-d", dir,
		       options, name, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid ||
	    !WIFEXITED(status) || WEXITSTATUS(status) == 127)
		return -1;
	return WEXITSTATUS(status);
}

/*
 * Load it.  The test is skipped when it was not built, and fails when it is
 * there and does not load.
 */
static inline void need_module(const char *name)
{
	char missing[64];

	if (module_probe(name, "-qn")) {
		snprintf(missing, sizeof(missing), "kernel module %s", name);
		tap_skip(missing);
	}
	if (module_probe(name, "--"))
		tap_fail(__FILE__, __LINE__, "%s does not load", name);
}

/* rmmod: -1 and EWOULDBLOCK while somebody uses it. */
static inline int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK);
}

#endif /* SELFTESTS_MODULE_H */
