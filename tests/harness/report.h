/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the process of a case tells the harness: records in a pipe.
 *
 * One record is one write of at most PIPE_BUF bytes, so those of several
 * processes never mix.
 */
#ifndef HARNESS_REPORT_H
#define HARNESS_REPORT_H

#include "harness.h"

#include <limits.h>

#ifdef __cplusplus
extern "C" {
#endif

enum report_kind {
	REPORT_FAILURE = 1,
	REPORT_SKIP = 2,
	REPORT_END = 3, /* the body of the case came to its end */
};

#define REPORT_TEXT_BYTES (PIPE_BUF - 16u)

struct report {
	uint32_t bytes; /* of the whole record */
	uint32_t kind;	/* enum report_kind */
	uint32_t line;
	uint32_t file_bytes;
	char text[REPORT_TEXT_BYTES]; /* file, then the text; no NULs */
};

/* The cases registered so far, newest first. */
struct test_case *test_list(void);

/* Runs a case in the calling process; reports go to the descriptor. */
void test_run(const struct test_case *test, int report_fd);

/*
 * Calls fn(arg) so that test_escape() in this thread ends it; false if it
 * did.  For the first function of a thread or process.
 */
bool test_call(void (*fn)(void *arg), void *arg);

/* What to do before the process ends by _exit or a signal. */
void test_flush(void);

#ifdef __cplusplus
}
#endif
#endif
