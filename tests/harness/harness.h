/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests in C, run by googletest.
 *
 *	TEST(line__two_setters__one_wins)
 *	{
 *		CHECK_EQ(line_count(pair), 1);
 *	}
 *
 * A name is module__given__then; the module is the googletest suite, the rest
 * the name in it.  Suites run in the order of libshm/LAYERS; a suite named
 * module_race comes right after module and runs under ThreadSanitizer too.
 *
 * Each case runs in a forked child with a process group of its own.  A crash,
 * a hang or an early exit fails that case only, and whatever it started is
 * killed at its end.  Every macro below may be used in any thread and in any
 * descendant that has not called exec: failures travel through a pipe.
 *
 * Environment: SHMC_TEST_INLINE=1 runs cases in the harness's own process,
 * for the debugger.  SHMC_DEEP=1, SHMC_SOAK_MINUTES=N: see below.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A case that must end within 120 s (three times that with a sanitizer). */
#define TEST(name) TEST_TIMEOUT(name, 120)

/* The same with another limit. */
#define TEST_TIMEOUT(name, seconds)                                       \
	static void name(void);                                           \
	static struct test_case name##_case = { #name, __FILE__,          \
		__LINE__, (seconds), name, NULL };                        \
	__attribute__((constructor)) static void name##_register(void)    \
	{                                                                 \
		test_register(&name##_case);                              \
	}                                                                 \
	static void name(void)

/* CHECK goes on after a failure; REQUIRE leaves the test (or the child). */
#define CHECK(condition) \
	((condition) ? (void)0 : TEST_FAIL("CHECK(%s)", #condition))
#define REQUIRE(condition) \
	((condition) ? (void)0 : TEST_STOP("REQUIRE(%s)", #condition))

/* Integers of any types; both are printed. */
#define CHECK_EQ(a, b) ((void)TEST_COMPARE("CHECK_EQ", a, TEST_EQ, b))
#define CHECK_NE(a, b) ((void)TEST_COMPARE("CHECK_NE", a, TEST_NE, b))
#define CHECK_LT(a, b) ((void)TEST_COMPARE("CHECK_LT", a, TEST_LT, b))
#define CHECK_LE(a, b) ((void)TEST_COMPARE("CHECK_LE", a, TEST_LE, b))
#define CHECK_GT(a, b) ((void)TEST_COMPARE("CHECK_GT", a, TEST_GT, b))
#define CHECK_GE(a, b) ((void)TEST_COMPARE("CHECK_GE", a, TEST_GE, b))
#define REQUIRE_EQ(a, b)                                  \
	(TEST_COMPARE("REQUIRE_EQ", a, TEST_EQ, b) ?      \
		(void)0 :                                 \
		test_escape())

/* Strings; NULL equals only NULL. */
#define CHECK_STR(actual, expected) \
	test_check_string(__FILE__, __LINE__, #actual, (actual), (expected))

/* As many bytes of memory. */
#define CHECK_MEM(actual, expected, bytes)                                  \
	test_check_memory(__FILE__, __LINE__, #actual, (actual), (expected), \
	    (bytes))

/* A failure in your own words: FAIL("round %u: lost", round). */
#define FAIL(...) TEST_FAIL(__VA_ARGS__)

/* Leaves the test, which counts as skipped, for this reason. */
#define SKIP(reason) test_skip(__FILE__, __LINE__, (reason))

/*
 * How often a loop of a random or racing test shall turn: `normal` times, a
 * tenth of it with a sanitizer, twenty times as often with SHMC_DEEP=1.
 */
unsigned test_rounds(unsigned normal);

/* True with SHMC_DEEP=1: run what takes minutes. */
bool test_deep(void);

/* Minutes that soak tests may take: SHMC_SOAK_MINUTES, or 0. */
unsigned test_soak_minutes(void);

/* ------------------------------------- what the macros are made of --- */

struct test_case {
	const char *name;
	const char *file;
	int line;
	unsigned timeout_s;
	void (*body)(void);
	struct test_case *next;
};

void test_register(struct test_case *test);

#define TEST_FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define TEST_STOP(...) (TEST_FAIL(__VA_ARGS__), test_escape())

void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
__attribute__((noreturn)) void test_escape(void);
__attribute__((noreturn)) void test_skip(const char *file, int line,
    const char *reason);

/* A number with the sign of its type. */
struct test_number {
	const char *text;
	uint64_t bits;
	bool is_signed;
};

enum test_operator { TEST_EQ, TEST_NE, TEST_LT, TEST_LE, TEST_GT, TEST_GE };

#define TEST_NUMBER(x)                                                    \
	(struct test_number)                                              \
	{                                                                 \
		#x, (uint64_t)(x),                                        \
		    _Generic((x), char: (char)-1 < (char)1,               \
			signed char: true, short: true, int: true,        \
			long: true, long long: true, default: false)      \
	}
#define TEST_COMPARE(macro, a, operator, b)                              \
	test_compare(__FILE__, __LINE__, macro, TEST_NUMBER(a), operator, \
	    TEST_NUMBER(b))

bool test_compare(const char *file, int line, const char *macro,
    struct test_number a, enum test_operator operation, struct test_number b);
void test_check_string(const char *file, int line, const char *text,
    const char *actual, const char *expected);
void test_check_memory(const char *file, int line, const char *text,
    const void *actual, const void *expected, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
