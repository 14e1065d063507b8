/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The child's side of the harness: checks, and reports of what they found.
 *
 * The pipe and the count of failures are inherited over fork, so a check says
 * the same wherever it is made.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef SHMC_SANITIZED
#include <sanitizer/common_interface_defs.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif
#endif

#ifdef SHMC_COVERAGE
void __gcov_dump(void);
void __gcov_reset(void);
#endif

/* A loop that fails at every turn shall not drown the first failures. */
#define FAILURES_SHOWN 40u

static struct test_case *cases;
static int report_fd = -1;
static pid_t case_process;
/* Shared by all processes of a case: failures so far. */
static _Atomic unsigned *failures;
/* Where test_escape() goes in this thread; NULL: it ends the thread. */
static _Thread_local jmp_buf *escape;

void
test_register(struct test_case *test)
{
	test->next = cases;
	cases = test;
}

struct test_case *
test_list(void)
{
	return cases;
}

static void
report(enum report_kind kind, const char *file, int line, const char *text)
{
	struct report r = { .kind = kind, .line = (uint32_t)line };
	size_t file_bytes = strnlen(file, sizeof r.text / 2);
	size_t text_bytes = strnlen(text, sizeof r.text - file_bytes);
	size_t bytes = offsetof(struct report, text) + file_bytes + text_bytes;

	r.bytes = (uint32_t)bytes;
	r.file_bytes = (uint32_t)file_bytes;
	memcpy(r.text, file, file_bytes);
	memcpy(r.text + file_bytes, text, text_bytes);
	while (write(report_fd, &r, bytes) < 0 && errno == EINTR)
		;
}

void
test_fail(const char *file, int line, const char *format, ...)
{
	char text[2048];
	unsigned before = failures ? atomic_fetch_add(failures, 1) : 0;
	int saved = errno;
	va_list args;
	int n = 0;

	if (before > FAILURES_SHOWN)
		return;
	va_start(args, format);
	if (getpid() != case_process)
		n = snprintf(text, sizeof text, "in process %d: ",
		    (int)getpid());
	vsnprintf(text + n, sizeof text - (size_t)n, format, args);
	va_end(args);
	report(REPORT_FAILURE, file, line,
	    before == FAILURES_SHOWN ? "... and more" : text);
	errno = saved;
}

void
test_escape(void)
{
	if (escape != NULL)
		longjmp(*escape, 1);
	pthread_exit(NULL);
}

void
test_skip(const char *file, int line, const char *reason)
{
	report(REPORT_SKIP, file, line, reason);
	test_escape();
}

bool
test_call(void (*fn)(void *arg), void *arg)
{
	jmp_buf *outer = escape;
	jmp_buf here;
	bool returned = false;

	if (setjmp(here) == 0) {
		escape = &here;
		fn(arg);
		returned = true;
	}
	escape = outer;
	return returned;
}

/* --------------------------------------------------------------- checks --- */

static bool
is_negative(const struct test_number *n)
{
	return n->is_signed && (int64_t)n->bits < 0;
}

/* -1, 0, 1 as a is less than, equal to or more than b, whatever the types. */
static int
order(const struct test_number *a, const struct test_number *b)
{
	if (is_negative(a) != is_negative(b))
		return is_negative(a) ? -1 : 1;
	return (a->bits > b->bits) - (a->bits < b->bits);
}

static bool
holds(int order, enum test_operator operation)
{
	switch (operation) {
	case TEST_EQ:
		return order == 0;
	case TEST_NE:
		return order != 0;
	case TEST_LT:
		return order < 0;
	case TEST_LE:
		return order <= 0;
	case TEST_GT:
		return order > 0;
	case TEST_GE:
		return order >= 0;
	}
	return false;
}

static void
print_number(char *buffer, size_t bytes, const struct test_number *n)
{
	if (is_negative(n))
		snprintf(buffer, bytes, "%" PRId64, (int64_t)n->bits);
	else if (n->bits < 4096)
		snprintf(buffer, bytes, "%" PRIu64, n->bits);
	else
		snprintf(buffer, bytes, "%" PRIu64 " (0x%" PRIx64 ")", n->bits,
		    n->bits);
}

bool
test_compare(const char *file, int line, const char *macro,
    struct test_number a, enum test_operator operation, struct test_number b)
{
	char left[64], right[64];

	if (holds(order(&a, &b), operation))
		return true;
	print_number(left, sizeof left, &a);
	print_number(right, sizeof right, &b);
	test_fail(file, line, "%s(%s, %s): %s, %s", macro, a.text, b.text, left,
	    right);
	return false;
}

void
test_check_string(const char *file, int line, const char *text,
    const char *actual, const char *expected)
{
	if (actual == expected)
		return;
	if (actual != NULL && expected != NULL && strcmp(actual, expected) == 0)
		return;
	test_fail(file, line, "CHECK_STR(%s): \"%s\", not \"%s\"", text,
	    actual != NULL ? actual : "(NULL)",
	    expected != NULL ? expected : "(NULL)");
}

static void
print_bytes(char *buffer, const unsigned char *bytes, size_t count)
{
	buffer[0] = '\0';
	for (size_t i = 0; i < count && i < 16; i++)
		buffer += sprintf(buffer, " %02x", bytes[i]);
}

void
test_check_memory(const char *file, int line, const char *text,
    const void *actual, const void *expected, size_t bytes)
{
	const unsigned char *a = actual, *b = expected;
	char left[64], right[64];

	for (size_t i = 0; i < bytes; i++) {
		if (a[i] == b[i])
			continue;
		print_bytes(left, a + i, bytes - i);
		print_bytes(right, b + i, bytes - i);
		test_fail(file, line,
		    "CHECK_MEM(%s): differs from byte %zu of %zu on:%s, not%s",
		    text, i, bytes, left, right);
		return;
	}
}

/* ------------------------------------------------------- running a case --- */

void
test_flush(void)
{
	fflush(NULL);
#ifdef SHMC_COVERAGE
	__gcov_dump();
	__gcov_reset();
#endif
}

#ifdef SHMC_SANITIZED
/* A sanitizer is about to end this process. */
static void
on_sanitizer_death(void)
{
	test_fail("sanitizer", 0, "a sanitizer's report: see above");
}

/* UndefinedBehaviorSanitizer calls this by name after each report. */
void __ubsan_on_report(void);

void
__ubsan_on_report(void)
{
	on_sanitizer_death();
}
#endif

static void
check_leaks(const struct test_case *test)
{
#ifdef __SANITIZE_ADDRESS__
	if (__lsan_do_recoverable_leak_check() != 0)
		test_fail(test->file, test->line, "leaks memory: see above");
#else
	(void)test;
#endif
}

static void
run_body(void *arg)
{
	const struct test_case *test = arg;

	test->body();
}

void
test_run(const struct test_case *test, int fd)
{
	report_fd = fd;
	case_process = getpid();
	failures = mmap(NULL, sizeof *failures, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (failures == MAP_FAILED)
		abort();
#ifdef SHMC_SANITIZED
	__sanitizer_set_death_callback(on_sanitizer_death);
#endif
	(void)test_call(run_body, (void *)(uintptr_t)test);
	if (getpid() != case_process) {
		/* A fork of the body's own came out here, by REQUIRE or not. */
		test_flush();
		_exit(1);
	}
	check_leaks(test);
	report(REPORT_END, test->file, test->line, "");
	munmap(failures, sizeof *failures);
	failures = NULL;
}

/* ---------------------------------------------------------- environment --- */

static unsigned
number_from_environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? (unsigned)strtoul(value, NULL, 10) : 0;
}

bool
test_deep(void)
{
	return number_from_environment("SHMC_DEEP") != 0;
}

unsigned
test_soak_minutes(void)
{
	return number_from_environment("SHMC_SOAK_MINUTES");
}

unsigned
test_rounds(unsigned normal)
{
#ifdef SHMC_SANITIZED
	normal = normal / 10 + 1;
#endif
	return test_deep() ? normal * 20 : normal;
}
