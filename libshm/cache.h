/* SPDX-License-Identifier: BSD-2-Clause */
/* The handle behind the public calls. */
#ifndef LIBSHM_CACHE_H
#define LIBSHM_CACHE_H

#include "entry.h"
#include "participant.h"

struct shmc {
	struct segment seg;
	struct members members;
	struct shmc_options options; /* complete; path is not kept */
};

/*
 * The calling thread's member, taking a slot if it has none; NULL: every slot
 * is held by the living.
 */
struct member *cache_member(struct shmc *cache);

/* Checks and hashes a key: SHMC_OK, SHMC_TOO_LARGE, SHMC_INVALID. */
enum shmc_status cache_key(const struct shmc *cache, const void *bytes,
    size_t size, struct key *key);

/* The entry's expiry for a ttl; 0: never. */
uint64_t cache_expiry(const struct segment *seg, uint64_t ttl_ms);

#endif
