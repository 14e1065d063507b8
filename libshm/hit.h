/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way of a hit: an entry as most are, a value in one piece with no
 * terms but its expiry, whose tag no other in its line has.
 *
 * All of it is inline and checks as little as is safe: what keeps the
 * processor from overlapping the cache misses of several hits is the number of
 * instructions between them (perf/run hits).  Whatever is not so simple goes
 * the way of read.c, which finds the same.
 */
#ifndef LIBSHM_HIT_H
#define LIBSHM_HIT_H

#include "index.h"
#include "match.h"

#include <string.h>

/* Checked bounds; the addresses point into the segment. */
struct hit {
	_Atomic uint64_t *at; /* where `word` stands in the index */
	uint64_t word;
	const char *value;
	uint64_t value_bytes;
	uint64_t expiry_ms; /* 0: never */
};

/* memcmp() == 0, without a call for keys as most are. */
static inline bool
hit_same_bytes(const char *a, const char *b, uint32_t n)
{
	uint64_t a0, b0, a1, b1;

	if (n < 8 || n > 16)
		return memcmp(a, b, n) == 0;
	memcpy(&a0, a, 8);
	memcpy(&b0, b, 8);
	memcpy(&a1, a + n - 8, 8);
	memcpy(&b1, b + n - 8, 8);
	return ((a0 ^ b0) | (a1 ^ b1)) == 0;
}

/* entry_read() and entry_has_key() of such an entry.  False: it is none. */
static inline bool
hit_read(const struct segment *seg, const struct key *key, struct hit *hit)
{
	uint64_t at = (hit->word & WORD_PLACE_MASK) * ENTRY_ALIGN;
	const struct entry *e = (const struct entry *)(const void *)
	    (seg->data + at);
	uint64_t first, second, last;

	if (unlikely(at > seg->data_bytes - sizeof *e))
		return false;
	first = load_relaxed(&e->first); /* both: line.L1 */
	second = load_relaxed(&e->second);
	/* The size of the key; no flag is set. */
	if (unlikely((first >> 32 & 0xffffff) != key->size))
		return false;
	/* Not linked before a flush: entry_has_key(). */
	if (unlikely((second ^ key->hash) >> 32 != 0))
		return false;
	hit->value_bytes = (uint32_t)first;
	hit->value = (const char *)(e + 1) + key->size;
	hit->expiry_ms = (first >> 56) << 32 | (uint32_t)second;
	/* Its last byte is in the block of its first. */
	last = sizeof *e - 1 + key->size + hit->value_bytes;
	return likely(last <= (~at & (seg->block_bytes - 1))) &&
	    hit_same_bytes((const char *)(e + 1), key->bytes, key->size);
}

/* index_find() of such an entry, in a read section.  False: ask that. */
static inline bool
hit_find(const struct segment *seg, const struct key *key, struct hit *hit)
{
	struct line *pair = index_pair(seg, (uint32_t)(key->hash >> 32));
	struct line *line = &pair[index_home(key->hash)];
	uint64_t wanted = WORD_LIVE | index_tag(key->hash);
	unsigned matches = match_line(line, wanted);

	if (unlikely(matches == 0)) {
		line = &pair[!index_home(key->hash)];
		matches = match_line(line, wanted);
		if (matches == 0)
			return false;
	}
	hit->at = &line->words[__builtin_ctz(matches)];
	hit->word = load_acquire(hit->at); /* line.L1 */
	return likely((hit->word & WORD_MATCH_MASK) == wanted) &&
	    hit_read(seg, key, hit);
}

#endif
