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

/* A member for a thread that has none: see cache_member(). */
struct member *cache_enlist(struct shmc *cache);

/*
 * The calling thread's member, taking a slot if it has none; NULL: every slot
 * is held by the living.
 */
static inline struct member *
cache_member(struct shmc *cache)
{
	struct member *m = members_current(&cache->members);

	return likely(m != NULL) ? m : cache_enlist(cache);
}

/* Checks and hashes a key: SHMC_OK, SHMC_TOO_LARGE, SHMC_INVALID. */
static inline enum shmc_status
cache_key(const struct shmc *cache, const void *bytes, size_t size,
    struct key *key)
{
	if (unlikely(cache == NULL || (bytes == NULL && size > 0)))
		return SHMC_INVALID;
	if (unlikely(size > SHMC_KEY_MAX))
		return SHMC_TOO_LARGE;
	key->bytes = size > 0 ? bytes : "";
	key->size = (uint32_t)size;
	key->hash = entry_hash(&cache->seg, key->bytes, size);
	return SHMC_OK;
}

/* The entry's expiry for a ttl; 0: never. */
uint64_t cache_expiry(const struct segment *seg, uint64_t ttl_ms);

#endif
