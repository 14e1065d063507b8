/* SPDX-License-Identifier: BSD-2-Clause */
/* The table from keys to entries. */
#ifndef LIBSHM_INDEX_H
#define LIBSHM_INDEX_H

#include "entry.h"
#include "line.h"

/* Where a hash leads to: a pair of lines, the first to look at, and a tag. */
#define INDEX_TAG_BITS 13

static inline struct line *
index_pair(const struct segment *seg, uint32_t hash_high)
{
	uint64_t pair = (uint64_t)hash_high * seg->geo.index_pairs >> 32;

	return &seg->index[2 * pair];
}

static inline uint64_t
index_tag(uint64_t hash)
{
	return (hash & ((1u << INDEX_TAG_BITS) - 1)) << WORD_TAG_SHIFT;
}

static inline unsigned
index_home(uint64_t hash)
{
	return (unsigned)(hash >> INDEX_TAG_BITS) & 1;
}

static inline struct line *
index_home_line(const struct segment *seg, uint64_t hash)
{
	return index_pair(seg, (uint32_t)(hash >> 32)) + index_home(hash);
}

/*
 * The key's entry, if it is there: its LIVE word, its checked bounds in *view,
 * and where the word stands in *at.  EMPTY: a miss.  In a read section, whose
 * caller asks grace_trusted() afterwards.  No shared write.  Wait-free.
 */
uint64_t index_find(const struct segment *seg, const struct key *key,
    struct entry_view *view, _Atomic uint64_t **at);

/*
 * For many look-ups at once: brings the key's home line near, then the entry
 * that is probably the key's.  The second in a read section.
 */
void index_prefetch_line(const struct segment *seg, uint64_t hash);
void index_prefetch_entry(const struct segment *seg, uint64_t hash);

/*
 * Counts a hit in the word's freq: the one read-modify-write of a hit, at most
 * three times in an entry's life.  Relaxed: a hint.  Failed: somebody else's
 * progress.
 */
static inline void
index_touch(_Atomic uint64_t *at, uint64_t word)
{
	if (unlikely((word & WORD_FREQ_MASK) != WORD_FREQ_MASK))
		(void)atomic_compare_exchange_strong_explicit(at, &word,
		    word + WORD_FREQ_ONE, memory_order_relaxed,
		    memory_order_relaxed);
}

/*
 * Links an entry (entry_word() of it) as the key's, in a read section, by the
 * owner of the OPEN block that holds the entry.  A full pair gives up its
 * coldest entry.  *old: the word replaced, or EMPTY.  expected, guard and
 * answers as line_set(), but never LINE_FULL.
 */
enum line_set index_link(struct member *me, const struct key *key,
    uint64_t entry, const uint64_t *expected,
    const struct line_guard *guard, uint64_t *old);

/* line_remove() of the key, in a read section: the word taken, or EMPTY. */
uint64_t index_unlink(struct member *me, const struct key *key);

/*
 * Takes away the word that names this very entry (without freq), if there is
 * one; for evictors.  True: there was.
 */
bool index_evict(struct segment *seg, uint64_t entry, uint32_t hash_high);

/* The same for every entry of a block whose bytes are damaged: walks the index. */
void index_evict_block(struct segment *seg, uint32_t block);

#endif
