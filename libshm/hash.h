/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys to 64 bits: XXH3 with the segment's secret seed. */
#ifndef LIBSHM_HASH_H
#define LIBSHM_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

/* Of any length; out of line, since XXH3 has a code path for each range. */
uint64_t hash_long(const void *bytes, size_t count, uint64_t seed);

/* The same number, without a call for keys as most are. */
static inline uint64_t
hash_bytes(const void *bytes, size_t count, uint64_t seed)
{
	if (count > 8 && count <= 16)
		return XXH3_64bits_withSeed(bytes, count, seed);
	return hash_long(bytes, count, seed);
}

/* The same of bytes that do not lie together. */
struct hash {
	XXH3_state_t state;
};

static inline void
hash_begin(struct hash *h, uint64_t seed)
{
	XXH3_INITSTATE(&h->state);
	h->state.extSecret = NULL; /* it asks before it sets */
	(void)XXH3_64bits_reset_withSeed(&h->state, seed);
}

static inline void
hash_more(struct hash *h, const void *bytes, size_t count)
{
	(void)XXH3_64bits_update(&h->state, bytes, count);
}

static inline uint64_t
hash_end(const struct hash *h)
{
	return XXH3_64bits_digest(&h->state);
}

#endif
