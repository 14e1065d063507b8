/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures: each slot's owner counts in its own slot; a reader sums the slots. */
#ifndef LIBSHM_COUNTERS_H
#define LIBSHM_COUNTERS_H

#include "layout.h"

/* In the order of struct shmc_stats, whose last field is not counted here. */
enum counter {
	COUNT_HITS,
	COUNT_MISSES,
	COUNT_PUTS,
	COUNT_DELETES,
	COUNT_COMPUTATIONS,
	COUNT_COMMITS,
	COUNT_SHARED,
	COUNT_PROMOTIONS,
	COUNT_ABANDONS,
	COUNT_FENCED,
	COUNT_SUPERSEDED,
	COUNT_TIMEOUTS,
	COUNT_DEADLOCKS,
	COUNT_WAITS,
	COUNT_EVICTED_ENTRIES,
	COUNT_EVICTED_BLOCKS,
	COUNT_DISPLACED,
	COUNT_REFUSED,
	COUNT_REVOKED,
	COUNT_RETRIES,
	COUNT_REAPED,
	COUNT_STALE_HITS,
	COUNT_PASSES,
	COUNT_ERRORS,
	COUNT_OVERFLOWS,
	COUNT_EARLY,
	COUNT_COUNTED,
};
static_assert(COUNT_COUNTED <= COUNTERS, "they must fit the slot");

/* Single writer: a load and a store, no read-modify-write.  Relaxed: figures. */
static inline void
count_more(struct participant *slot, enum counter which, uint64_t n)
{
	_Atomic uint64_t *counter = &slot->counters[which];

	store_relaxed(counter, load_relaxed(counter) + n);
}

static inline void
count(struct participant *slot, enum counter which)
{
	count_more(slot, which, 1);
}

#endif
