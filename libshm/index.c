/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys to entries: pairs of lines, addressed by the upper half of the hash;
 * the home line and the tag come from the lower half.
 *
 * Invariant: a word names an entry of its key, in an OPEN or SEALED block or in
 * one that is being evicted, never in a FREE one: only the owner of the OPEN
 * block links (index_link), and eviction unlinks before it retires.
 * Edges: line.L1, line.L2.  Nothing is ever allocated here, nothing moves.
 * Progress: lookups wait-free, changes lock-free.  A kill leaves what line.c says.
 */
#include "index.h"

#include "counters.h"
#include "match.h"
#include "testpoint.h"

uint64_t
index_find(const struct segment *seg, const struct key *key,
    struct entry_view *view, _Atomic uint64_t **at)
{
	struct line *pair = index_pair(seg, (uint32_t)(key->hash >> 32));
	uint64_t wanted = WORD_LIVE | index_tag(key->hash);
	unsigned home = index_home(key->hash);

	for (unsigned l = 0; l < 2; l++) {
		struct line *line = &pair[l ^ home];

		for (unsigned hits = match_line(line, wanted); hits != 0;
		     hits &= hits - 1) {
			_Atomic uint64_t *word_at =
			    &line->words[__builtin_ctz(hits)];
			uint64_t word = load_acquire(word_at); /* line.L1 */

			if (unlikely((word & WORD_MATCH_MASK) != wanted))
				continue;
			if (entry_read(seg, word, view) &&
			    entry_has_key(seg, view, key)) {
				*at = word_at;
				return word;
			}
		}
	}
	return WORD_EMPTY;
}

void
index_prefetch_line(const struct segment *seg, uint64_t hash)
{
	__builtin_prefetch(index_home_line(seg, hash));
}

/* Lines of the entry to bring near: header, key and a small value. */
#define PREFETCH_LINES 4u

void
index_prefetch_entry(const struct segment *seg, uint64_t hash)
{
	struct line *line = index_home_line(seg, hash);
	uint64_t wanted = WORD_LIVE | index_tag(hash);

	for (unsigned i = 0; i < LINE_WORDS; i++) {
		uint64_t word = load_relaxed(&line->words[i]); /* a guess */
		const char *at = seg->data +
		    (word & WORD_PLACE_MASK) * ENTRY_ALIGN;

		if ((word & WORD_MATCH_MASK) != wanted)
			continue;
		for (unsigned l = 0; l < PREFETCH_LINES; l++)
			__builtin_prefetch(at + l * CACHELINE);
		return;
	}
}

/* --------------------------------------------------------------- linking -- */

struct same_key {
	const struct segment *seg;
	const struct key *key;
};

static bool
same(const void *arg, uint64_t word)
{
	const struct same_key *s = arg;
	struct entry_view view;

	return entry_read(s->seg, word, &view) &&
	    entry_has_key(s->seg, &view, s->key);
}

static struct line_query
query(const struct segment *seg, const struct key *key,
    struct same_key *s)
{
	s->seg = seg;
	s->key = key;
	return (struct line_query){
		.pair = index_pair(seg, (uint32_t)(key->hash >> 32)),
		.home = index_home(key->hash),
		.tag = index_tag(key->hash),
		.same = same,
		.arg = s,
	};
}

/* Nobody will be served with it any more. */
static bool
is_over(const struct segment *seg, uint64_t word)
{
	struct entry_view view;

	return entry_read(seg, word, &view) &&
	    (entry_age(seg, &view) == AGE_OVER ||
		(entry_seed(seg) != seg->seed && entry_is_flushed(seg, &view)));
}

/* The less, the sooner given up: TENTs, what is over (R25), then by freq. */
static unsigned
warmth(const struct segment *seg, uint64_t word)
{
	if ((word & WORD_LIVE) == 0)
		return 0;
	if (is_over(seg, word))
		return 1;
	return 2 + (unsigned)((word & WORD_FREQ_MASK) / WORD_FREQ_ONE);
}

/* All at once: displace() is to wait for memory once, not eight times. */
static void
prefetch_entries(const struct segment *seg, struct line *line)
{
	for (unsigned i = 0; i < LINE_WORDS; i++)
		__builtin_prefetch(seg->data + ENTRY_ALIGN *
		    (load_relaxed(&line->words[i]) & WORD_PLACE_MASK));
}

/* Makes room in a full pair: the coldest of the home line goes.  In a section. */
static void
displace(struct member *me, const struct line_query *q)
{
	_Atomic uint64_t *coldest = NULL;
	uint64_t coldest_word = 0;
	unsigned least = UINT32_MAX;

	prefetch_entries(me->seg, &q->pair[q->home]);
	for (unsigned i = 0; i < LINE_WORDS; i++) {
		_Atomic uint64_t *at = &q->pair[q->home].words[i];
		uint64_t word = load_acquire(at); /* line.L1; the CAS decides */
		unsigned warm = warmth(me->seg, word);

		if (word == WORD_EMPTY)
			return;
		if (warm < least) {
			coldest = at;
			coldest_word = word;
			least = warm;
		}
	}
	if (cas_word(coldest, coldest_word, WORD_EMPTY) &&
	    (coldest_word & WORD_LIVE) != 0)
		count(me->slot, COUNT_DISPLACED);
	TESTPOINT("index_displaced");
}

enum line_set
index_link(struct member *me, const struct key *key, uint64_t entry,
    const uint64_t *expected, const struct line_guard *guard, uint64_t *old)
{
	struct same_key s;
	struct line_query q = query(me->seg, key, &s);
	enum line_set answer;

	/* Every turn gives one word of the pair free. */
	for (;;) {
		answer = line_set(me, &q, entry | q.tag, expected, guard,
		    old);
		if (answer != LINE_FULL)
			return answer;
		displace(me, &q);
	}
}

uint64_t
index_unlink(struct member *me, const struct key *key)
{
	struct same_key s;
	struct line_query q = query(me->seg, key, &s);

	return line_remove(&q);
}

/* ------------------------------------------------------ by entry, not key -- */

/* Which entry a word names, without tag and freq. */
#define WORD_ENTRY_MASK \
	(WORD_LIVE | ((1ull << WORD_TAG_SHIFT) - 1))

static _Atomic uint64_t *
find_entry(const struct segment *seg, uint64_t entry, uint32_t hash_high,
    uint64_t *word)
{
	struct line *pair = index_pair(seg, hash_high);

	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		_Atomic uint64_t *at = line_word(pair, i);

		*word = load_acquire(at); /* line.L1 */
		if ((*word & WORD_ENTRY_MASK) == (entry & WORD_ENTRY_MASK))
			return at;
	}
	return NULL;
}

bool
index_evict(struct segment *seg, uint64_t entry, uint32_t hash_high)
{
	_Atomic uint64_t *at;
	uint64_t word;

	/* Again while its freq changes, at most three times. */
	while ((at = find_entry(seg, entry, hash_high, &word)) != NULL)
		if (cas_word(at, word, WORD_EMPTY)) {
			TESTPOINT("index_evicted");
			return true;
		}
	return false;
}

void
index_evict_block(struct segment *seg, uint32_t block)
{
	for (uint64_t l = 0; l < 2 * seg->geo.index_pairs; l++)
		for (unsigned i = 0; i < LINE_WORDS; i++) {
			_Atomic uint64_t *at = &seg->index[l].words[i];
			uint64_t word = load_acquire(at); /* line.L1 */

			/* Again while its freq changes, at most three times. */
			while ((word & WORD_LIVE) != 0 &&
			    entry_block(seg, word) == block &&
			    !cas_word(at, word, WORD_EMPTY))
				word = load_acquire(at);
		}
}
