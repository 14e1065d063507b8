/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleeping on shared 32-bit words, at most two at once.
 *
 * Every call may return early and for no reason; callers look at their words
 * again.  Thread, fork and crash safe: the kernel keeps all state.
 */
#ifndef LIBSHM_FUTEX_H
#define LIBSHM_FUTEX_H

#include "base.h"

struct futex_word {
	_Atomic uint32_t *word;
	uint32_t expected;
};

/*
 * Sleeps while every one of the 1 or 2 words holds its expected value, until
 * woken on one of them or CLOCK_MONOTONIC reaches deadline_ns.  Before Linux
 * 5.16 only the first word is watched, for some milliseconds at a time.
 */
void futex_wait(const struct futex_word *words, unsigned count,
    uint64_t deadline_ns);

/* Wakes all sleepers on word; returns how many there were. */
int futex_wake_all(_Atomic uint32_t *word);

#endif
