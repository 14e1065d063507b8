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

static inline uint64_t
hash_bytes(const void *bytes, size_t count, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, count, seed);
}

#endif
