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

/* A value for ever, without anything else. */
static const struct entry_terms no_terms;

/* What was expected is that nothing is there: line_set(). */
static const uint64_t no_word = WORD_EMPTY;

/* Copies a value in pieces; false: the chain is damaged. */
static inline bool
copy_pieces(const struct segment *seg, const struct entry_view *view, void *to,
    uint64_t bytes)
{
	uint64_t skip = (view->flags & ENTRY_KEY_AWAY) != 0 ?
	    view->key_bytes : 0;
	uint32_t piece = view->first_piece;
	uint64_t start = 0, n;
	const char *data;

	for (uint64_t done = 0; done < bytes; done += n) {
		if (!entry_piece(seg, view, skip + done, &piece, &start, &data,
			&n) || n == 0)
			return false;
		n = n < bytes - done ? n : bytes - done;
		memcpy((char *)to + done, data, n);
	}
	return true;
}

/* Writes an entry that nothing links yet; its LIVE word without tag. */
static inline uint64_t
entry_new(struct member *me, const struct key *key, const void *value,
    size_t bytes)
{
	struct draft draft = { 0 };
	uint64_t entry = 0;

	REQUIRE_EQ(value_write(me, &draft, key, value, bytes, &no_terms,
	    &entry),
	    SHMC_OK);
	value_settle(me, &draft);
	return entry;
}

/*
 * Makes it later, for what expires: in this process and in children that are
 * forked from now on.
 */
static inline void
let_pass(struct shmc *cache, uint64_t ms)
{
	cache->seg.created_ms -= ms;
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
