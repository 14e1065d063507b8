/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which words of a line may be the ones looked for, without a branch: a branch
 * on the position would be guessed wrong at most look-ups, and the processor
 * could not begin the next one before this line has arrived from memory.
 */
#ifndef LIBSHM_MATCH_H
#define LIBSHM_MATCH_H

#include "layout.h"

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#define MATCH_SSE2 1
#include <emmintrin.h>
#else
#define MATCH_SSE2 0
#endif

static_assert(LINE_WORDS == 8, "eight words are compared at once");
static_assert((uint32_t)WORD_MATCH_MASK == 0,
    "what is compared lies in a word's upper half");

/*
 * A hint: bit i is set if words[i] had the bits of WORD_MATCH_MASK that
 * `wanted` has.  The caller loads the word itself, with the order it needs.
 */
static inline unsigned
match_words(const _Atomic uint64_t words[LINE_WORDS], uint64_t wanted)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < LINE_WORDS; i++)
		hits |= (unsigned)(((load_relaxed(&words[i]) ^ wanted) &
				       WORD_MATCH_MASK) == 0)
		    << i;
	return hits;
}

#if MATCH_SSE2
/* The upper halves of four words. */
static inline __m128i
match_uppers(const _Atomic uint64_t *words)
{
	const __m128i *at = (const void *)words;

	return _mm_castps_si128(_mm_shuffle_ps(
	    _mm_castsi128_ps(_mm_load_si128(at)),
	    _mm_castsi128_ps(_mm_load_si128(at + 1)),
	    _MM_SHUFFLE(3, 1, 3, 1)));
}

/* The same in sixteen instructions. */
static inline unsigned
match_line(const struct line *line, uint64_t wanted)
{
	__m128i mask = _mm_set1_epi32((int)(WORD_MATCH_MASK >> 32));
	__m128i want = _mm_set1_epi32((int)(wanted >> 32));
	__m128i low = _mm_cmpeq_epi32(want,
	    _mm_and_si128(mask, match_uppers(line->words)));
	__m128i high = _mm_cmpeq_epi32(want,
	    _mm_and_si128(mask, match_uppers(line->words + 4)));

	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(
	    _mm_packs_epi32(low, high), _mm_setzero_si128()));
}
#else
static inline unsigned
match_line(const struct line *line, uint64_t wanted)
{
	return match_words(line->words, wanted);
}
#endif

#endif
