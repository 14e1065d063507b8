/* SPDX-License-Identifier: BSD-2-Clause */
/* See hash.h. */
#include "hash.h"

uint64_t
hash_long(const void *bytes, size_t count, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, count, seed);
}
