/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests that look inside: members, keys and entries by hand. */
#ifndef TESTS_INSIDE_H
#define TESTS_INSIDE_H

#include "fixture.h"

#include "block.h"
#include "cache.h"
#include "value.h"

#include <string.h>

/* A second handle on an anonymous segment: another mapping, another slot. */
static inline struct shmc *
cache_twin(struct shmc *cache)
{
	struct shmc *twin;

	REQUIRE_EQ(shmc_attach_fd(&twin, shmc_fd(cache), NULL, NULL), 0);
	return twin;
}

static inline struct member *
member_of(struct shmc *cache)
{
	struct member *me = cache_member(cache);

	REQUIRE(me != NULL);
	return me;
}

static inline struct key
key_from(struct shmc *cache, const char *text)
{
	struct key key;

	REQUIRE_EQ(cache_key(cache, text, strlen(text), &key), SHMC_OK);
	return key;
}

/* Writes an entry that nothing links yet; its LIVE word without tag. */
static inline uint64_t
entry_new(struct member *me, const struct key *key, const void *value,
    size_t bytes)
{
	struct draft draft = { 0 };
	uint64_t entry = 0;

	REQUIRE_EQ(value_write(me, &draft, key, value, bytes, 0, &entry),
	    SHMC_OK);
	value_settle(me, &draft);
	return entry;
}

static inline uint64_t
block_word(const struct shmc *cache, uint32_t block)
{
	return atomic_load(&cache->seg.blocks[block].word);
}

/* How many blocks are in this state. */
static inline unsigned
blocks_in(const struct shmc *cache, enum block_state state)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < cache->seg.geo.block_count; i++)
		n += block_state(block_word(cache, i)) == state;
	return n;
}

#endif
