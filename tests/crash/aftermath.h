/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a death leaves in a segment: looked at from outside, with the headers
 * of libshm only, so that it serves the tests that are linked with the library
 * as it is shipped, too.
 */
#ifndef TESTS_AFTERMATH_H
#define TESTS_AFTERMATH_H

#include "segment.h"

/* What participants hold that others have to wait for. */
struct holdings {
	unsigned slots;
	unsigned blocks;  /* OPEN or EVICTING */
	unsigned flights; /* CLAIMED, LEAD or RESULT */
};

/* A set of slots, a bit each: the first 64. */
#define SLOT(i) (1ull << (i))

/* What all slots hold but those of the set. */
struct holdings holdings_of_others(const struct segment *seg, uint64_t slots);

/*
 * Says, a sentence each, what slots not of the set still hold: once the dead
 * are reaped, nothing.  Returns the number of sentences.
 */
unsigned aftermath_leaks(const struct segment *seg, uint64_t living,
    shmc_finding *finding, void *arg);

/* The slot that this thread holds, as a set; none: 0. */
uint64_t aftermath_own_slot(const struct segment *seg);

/* The slots whose holder the kernel has declared dead. */
uint64_t aftermath_dead_slots(const struct segment *seg);

#endif
