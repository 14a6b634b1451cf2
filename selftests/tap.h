/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test program: TEST(name_of_the_behaviour) { ... } for each test, and
 * TAP_MAIN().  Each test runs in a process of its own, the first check that
 * fails ends it, and so does TAP_TIMEOUT.  Arguments choose tests by the start
 * of their names.
 */
#ifndef SELFTESTS_TAP_H
#define SELFTESTS_TAP_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds; nothing takes 10 on an idle machine.  $TEST_TIMEOUT if that is set. */
#define TAP_TIMEOUT	180
#define TAP_SKIPPED	77

struct tap_test {
	const char	*name;
	void		(*run)(void);
	struct tap_test	*next;
};

static struct tap_test *tap_first;
/* A tool that only wants the checks has no tests. */
__attribute__((unused)) static struct tap_test **tap_last = &tap_first;
static char *tap_reason;	/* why the test was skipped; shared */

#define TEST(id)							\
	static void id(void);						\
	__attribute__((constructor)) static void tap_add_##id(void)	\
	{								\
		static struct tap_test test = { #id, id, NULL };	\
									\
		*tap_last = &test;					\
		tap_last = &test.next;					\
	}								\
	static void id(void)

__attribute__((noreturn, format(printf, 3, 4)))
static inline void tap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	printf("# %s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

/* The test needs something that is not there: say what. */
__attribute__((noreturn, unused))
static void tap_skip(const char *missing)
{
	fflush(stdout);
	snprintf(tap_reason, 256, "%s is missing", missing);
	_exit(TAP_SKIPPED);
}

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			tap_fail(__FILE__, __LINE__, "not true: %s",	\
				 #cond);				\
	} while (0)

#define CHECK_EQ(expr, want)						\
	do {								\
		long long tap_have = (expr), tap_want = (want);		\
									\
		if (tap_have != tap_want)				\
			tap_fail(__FILE__, __LINE__,			\
				 "%s is %lld%s, not %lld (%s)", #expr,	\
				 tap_have, tap_errno(tap_have),		\
				 tap_want, #want);			\
	} while (0)

/* A call that says -1 and sets errno. */
#define CHECK_ERRNO(call, want)						\
	do {								\
		long tap_ret = (call);					\
									\
		if (tap_ret != -1 || errno != (want))			\
			tap_fail(__FILE__, __LINE__,			\
				 "%s: %ld, %s; not -1, %s", #call,	\
				 tap_ret, strerror(errno), #want);	\
	} while (0)

static inline const char *tap_errno(long long n)
{
	static char text[64];

	if (n >= 0 || n < -133)
		return "";
	snprintf(text, sizeof(text), " (%s)", strerror(-n));
	return text;
}

static inline bool tap_wanted(const struct tap_test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strncmp(test->name, argv[i], strlen(argv[i])))
			return true;
	return argc < 2;
}

static inline void tap_name(const char *id)
{
	for (; *id; id++)
		putchar(*id == '_' ? ' ' : *id);
}

/* selftests/run gives a slow kernel more. */
static inline unsigned int tap_timeout(void)
{
	const char *env = getenv("TEST_TIMEOUT");

	return env && atoi(env) > 0 ? atoi(env) : TAP_TIMEOUT;
}

/* @after runs in the parent, behind each test. */
static inline int tap_main(int argc, char **argv, void (*after)(void))
{
	unsigned int nr = 0, bad = 0;
	struct tap_test *test;

	for (test = tap_first; test; test = test->next)
		nr += tap_wanted(test, argc, argv);
	printf("1..%u\n", nr);
	nr = 0;
	tap_reason = mmap(NULL, 256, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (test = tap_first; test; test = test->next) {
		bool skipped = false;
		int status;
		pid_t pid;

		if (!tap_wanted(test, argc, argv))
			continue;
		fflush(stdout);
		pid = fork();
		if (!pid) {
			alarm(tap_timeout());
			test->run();
			fflush(stdout);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 1;
		if (WIFSIGNALED(status))
			printf("# killed: %s\n", strsignal(WTERMSIG(status)));
		if (WIFEXITED(status) && WEXITSTATUS(status) == TAP_SKIPPED)
			skipped = true;
		else if (!WIFEXITED(status) || WEXITSTATUS(status))
			bad++, printf("not ");
		printf("ok %u - ", ++nr);
		tap_name(test->name);
		if (skipped)
			printf(" # SKIP %s", tap_reason);
		printf("\n");
		if (after)
			after();
	}
	fflush(stdout);
	return bad ? 1 : 0;
}

#endif /* SELFTESTS_TAP_H */
