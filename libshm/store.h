/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing: what puts and flights share. */
#ifndef LIBSHM_STORE_H
#define LIBSHM_STORE_H

#include "cache.h"
#include "flight.h"

/*
 * Makes an entry in our OPEN block the key's, as line_set().  The pieces of a
 * value that it replaces are retired.
 */
enum line_set store_link(struct member *me, const struct key *key,
    uint64_t entry, const uint64_t *expected, const struct line_guard *guard);

/*
 * store_link() for a flight's result: publish_result().  False: superseded.
 */
bool store_link_result(struct member *me, const struct key *key,
    uint64_t entry, uint64_t seen, const struct flight_hold *hold);

/* Takes away the index word that names this very entry, if there is one. */
void store_forget(struct member *me, const struct key *key, uint64_t entry);

/*
 * Resolves the caller's terms (NULL: none) for an entry whose making began when
 * the clock of tags stood at tag_clock.  SHMC_OK or SHMC_INVALID.
 */
enum shmc_status store_terms(const struct segment *seg,
    const struct shmc_terms *given, uint64_t ttl_ms, uint64_t tag_clock,
    struct entry_terms *terms);

/* ttl_ms, longer or shorter by up to percent of it (R18). */
uint64_t store_jitter(uint64_t ttl_ms, uint32_t percent);

/* The clock of tags, for store_terms() later. */
uint64_t store_tag_clock(const struct segment *seg);

#endif
