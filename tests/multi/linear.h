/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Histories of one key, and whether they are linearizable: whether each call can
 * be given one instant between its beginning and its end, so that all of them in
 * the order of their instants are what a register does.
 *
 * The register of a cache may lose its value at any time, and never shows it
 * again.  A call whose caller was killed may have had its effect, once, before its
 * end was noticed, or none.
 */
#ifndef TESTS_MULTI_LINEAR_H
#define TESTS_MULTI_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_CALLERS_MAX 12u
#define LINEAR_NOTHING UINT64_MAX /* no value; no value written is that */

enum linear_kind {
	LINEAR_PUT,
	LINEAR_GET,
	LINEAR_DELETE,
	LINEAR_ADD,
	LINEAR_REPLACE,
	LINEAR_SWAP,   /* of the value `expected` */
	LINEAR_UPDATE, /* of whatever there is: `seen` */
	LINEAR_INCR,   /* by `value`, from `expected` on: to `seen` */
};

/* One call. */
struct linear_event {
	enum linear_kind kind;
	uint32_t key; /* for the recorder */
	bool done;    /* it answered SHMC_OK, not SHMC_MISS or SHMC_OTHER */
	bool killed;  /* it never answered */
	uint64_t value;
	uint64_t expected;
	uint64_t seen;
	/*
	 * Readings of one clock that all share.  Of a killed one, the end is when
	 * its caller was known to be dead.  0: has not begun, has not ended.
	 */
	_Atomic uint64_t begun;
	_Atomic uint64_t ended;
};

/* All calls on one key: for each caller, one after the other. */
struct linear_history {
	const struct linear_event *events[LINEAR_CALLERS_MAX];
	uint32_t counts[LINEAR_CALLERS_MAX];
	unsigned callers;
	bool may_lose; /* the register may lose its value */
};

/* False: there is no such order; *why is how far one gets. */
bool linear_check(const struct linear_history *history, char *why,
    size_t why_bytes);

/*
 * The values that an event can make of a register's: how many, in next.  None:
 * it cannot have answered that.  Not asked of a killed one: whether it did
 * anything.
 */
unsigned linear_outcomes(const struct linear_event *event, uint64_t value,
    bool may_lose, uint64_t next[2]);

#endif
