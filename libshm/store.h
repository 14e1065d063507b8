/* SPDX-License-Identifier: BSD-2-Clause */
/* What reads and flights share. */
#ifndef LIBSHM_STORE_H
#define LIBSHM_STORE_H

#include "cache.h"
#include "line.h"

/* shmc_view() without counting: SHMC_OK, SHMC_MISS, SHMC_BUSY. */
enum shmc_status store_view(struct shmc *cache, struct member *me,
    const struct key *key, struct shmc_view *view);

/*
 * Makes an entry in our OPEN block the key's, unless the guard says no.  The
 * pieces of a value that it replaces are retired.
 */
bool store_link(struct member *me, const struct key *key, uint64_t entry,
    const struct line_guard *guard);

#endif
