/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing an entry: small ones into the caller's log, larger ones into pieces,
 * also without knowing their length first.
 *
 * Order: value_append() any number of times, or value_write() once; then link
 * the entry; then value_settle(), which makes the pieces evictable.  Or
 * value_drop() at any time before.
 */
#ifndef LIBSHM_VALUE_H
#define LIBSHM_VALUE_H

#include "entry.h"
#include "participant.h"

/* The pieces of a value being written.  Private; zero-filled: none. */
struct draft {
	uint64_t bytes; /* of value, without a key that lies in front of it */
	uint32_t first; /* block number plus 1; 0: none */
	uint32_t last;
	uint32_t count;
	uint32_t last_used; /* bytes in the last piece */
};

/*
 * Adds bytes.  SHMC_OK, SHMC_TOO_LARGE, SHMC_NO_MEMORY.  Outside read sections.
 * Killed: the reaper seals the pieces, eviction finds them without entry.
 */
enum shmc_status value_append(struct member *me, struct draft *draft,
    const struct key *key, const void *data, size_t bytes);

/*
 * Before what comes in pieces is appended: SHMC_NO_MEMORY if blocks for so many
 * bytes cannot be had, so that nothing is evicted in vain (R23).
 */
enum shmc_status value_expect(struct member *me, const struct key *key,
    uint64_t bytes);

/* Makes the draft an entry: *entry is its LIVE word, without tag. */
enum shmc_status value_complete(struct member *me, struct draft *draft,
    const struct key *key, const struct entry_terms *terms, uint64_t *entry);

/* Both at once, of a known length; *draft is empty before. */
enum shmc_status value_write(struct member *me, struct draft *draft,
    const struct key *key, const void *data, size_t bytes,
    const struct entry_terms *terms, uint64_t *entry);

/* After the entry was linked, or its flight committed. */
void value_settle(struct member *me, struct draft *draft);

/* Gives the pieces back. */
void value_drop(struct member *me, struct draft *draft);

/* The largest value that the segment takes with this key. */
bool value_fits(const struct segment *seg, size_t key_bytes, uint64_t bytes);

#endif
