/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unique claims in a pair of cache lines: at most one LIVE word per key, under
 * kills at any instruction.  The index and the table of flights stand on it.
 */
#ifndef LIBSHM_LINE_H
#define LIBSHM_LINE_H

#include "participant.h"

/* Which key, in which pair. */
struct line_query {
	struct line *pair;  /* two lines */
	unsigned home;	    /* the one to prefer: 0 or 1 */
	uint64_t tag;	    /* in place: bits of WORD_TAG_MASK */
	/* Whether a LIVE word with this tag is of our key. */
	bool (*same)(const void *arg, uint64_t word);
	const void *arg;
};

/* "Only as long as (*word & mask) == value"; NULL: always. */
struct line_guard {
	const _Atomic uint64_t *word;
	uint64_t mask;
	uint64_t value;
};

enum line_set {
	LINE_SET,     /* the word is LIVE; *old is what it replaced, or EMPTY */
	LINE_OTHER,   /* not what was expected; *old is what is there */
	LINE_GUARDED, /* the guard did not hold; nothing changed */
	LINE_FULL,    /* no EMPTY word; give one up and try again */
};

static inline _Atomic uint64_t *
line_word(struct line *pair, unsigned i)
{
	return &pair[i / LINE_WORDS].words[i % LINE_WORDS];
}

/* The LIVE word of the key, where it stands in *at; EMPTY if there is none. */
uint64_t line_find(const struct line_query *q, _Atomic uint64_t **at);

/*
 * Makes `live` the key's word, whatever it was; or only if it was *expected
 * (EMPTY: if there was none; freq does not count), else answers LINE_OTHER.
 * Lock-free; a kill leaves a TENT that others may kill.
 */
enum line_set line_set(struct member *me, const struct line_query *q,
    uint64_t live, const uint64_t *expected, const struct line_guard *guard,
    uint64_t *old);

/*
 * Makes the key absent: returns the LIVE word that was taken away, or EMPTY.
 * Also kills every TENT that could become the key's word: whoever made it will
 * look at its guard again.  Change the guards first.
 */
uint64_t line_remove(const struct line_query *q);

#endif
