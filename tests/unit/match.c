/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight words compared at once, against the same one by one. */
#include "match.h"

#include "harness.h"

#include <stdlib.h>

static uint64_t
random_word(void)
{
	return (uint64_t)random() << 33 ^ (uint64_t)random() << 2 ^
	    (uint64_t)random() << 60;
}

/* Words that differ from `wanted` nowhere, or where it counts, or elsewhere. */
static uint64_t
word_like(uint64_t wanted)
{
	uint64_t other = random_word();

	switch (random() % 4) {
	case 0:
		return wanted | (other & ~WORD_MATCH_MASK);
	case 1:
		return wanted ^ (1ull << (48 + random() % 16));
	case 2:
		return WORD_EMPTY;
	default:
		return other;
	}
}

TEST(match__any_line__as_word_by_word)
{
	struct line line;
	unsigned seen = 0;

	srandom(7);
	for (unsigned n = 0; n < 20000; n++) {
		uint64_t wanted = WORD_LIVE | (random_word() & WORD_TAG_MASK);

		for (unsigned i = 0; i < LINE_WORDS; i++)
			line.words[i] = word_like(wanted);
		CHECK_EQ(match_line(&line, wanted),
		    match_words(line.words, wanted));
		seen |= match_line(&line, wanted);
	}
	CHECK_EQ(seen, 0xff);
}

TEST(match__same_tag__whatever_its_freq_generation_and_place)
{
	uint64_t wanted = WORD_LIVE | 5ull << WORD_TAG_SHIFT;
	struct line line = { { 0 } };

	line.words[6] = wanted | WORD_FREQ_MASK | 0x123456789ull;
	line.words[2] = (wanted & ~WORD_LIVE) | WORD_TENT;
	CHECK_EQ(match_line(&line, wanted), 1u << 6);
	CHECK_EQ(match_line(&line, wanted + (1ull << WORD_TAG_SHIFT)), 0);
}
