/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking a key up: what the public reads and the flights share. */
#ifndef LIBSHM_READ_H
#define LIBSHM_READ_H

#include "cache.h"

/* What was found, besides the view of it. */
struct found {
	enum entry_age age; /* AGE_OVER: nothing, and no view */
	enum entry_kind kind;
	uint64_t word;	    /* as it stands in the index, whatever its age */
	uint64_t fresh_ms;  /* left; UINT64_MAX: for ever */
	uint32_t cost_us;   /* of its computation; 0: not known */
};

/*
 * Looks the key up and opens a view of what is there, whatever its age and kind.
 * SHMC_OK, SHMC_MISS, SHMC_BUSY.  Counts nothing.
 */
enum shmc_status read_find(struct shmc *cache, struct member *me,
    const struct key *key, struct shmc_view *view, struct found *found);

/*
 * Makes the view of an entry that is no value what the caller is to see of it:
 * SHMC_ERROR with code and message, or SHMC_ABSENT without a view.
 */
enum shmc_status read_failure(enum entry_kind kind, struct shmc_view *view);

/* The value of a KIND_PASS entry: its fan-out. */
uint32_t read_fan_out(const struct shmc_view *view);

/* What the value of a KIND_ERROR entry begins with. */
struct failure {
	int32_t code;
};

#endif
