/* SPDX-License-Identifier: BSD-2-Clause */
/* The fingerprint of the byte map. */
#include "layout.h"

#include "harness.h"

TEST(layout__described_twice__is_the_same)
{
	uint32_t a[LAYOUT_STRUCTS], b[LAYOUT_STRUCTS];
	uint64_t hash_a, hash_b;

	layout_describe(a, &hash_a);
	layout_describe(b, &hash_b);
	CHECK_MEM(a, b, sizeof a);
	CHECK_EQ(hash_a, hash_b);
}

TEST(layout__described__has_a_size_and_a_name_for_each_struct)
{
	uint32_t bytes[LAYOUT_STRUCTS];
	uint64_t hash;

	layout_describe(bytes, &hash);
	for (unsigned i = 0; i < LAYOUT_STRUCTS; i++) {
		CHECK_GT(bytes[i], 0);
		CHECK(layout_struct_name(i)[0] != '\0');
	}
	CHECK_NE(hash, 0);
}

/* The fields of a LIVE word and of a TENT share no bit they should not. */
TEST(layout__fields_of_words__do_not_overlap)
{
	CHECK_EQ(WORD_PLACE_MASK & WORD_TAG_MASK, 0);
	CHECK_EQ(WORD_TAG_MASK & WORD_FREQ_MASK, 0);
	CHECK_EQ(WORD_FREQ_MASK & WORD_LIVE, 0);
	CHECK_EQ(WORD_OWNER_MASK & WORD_TAG_MASK, 0);
	CHECK_EQ(WORD_OWNER_MASK & WORD_SEQUENCE_MASK, 0);
	CHECK_EQ(WORD_GENERATION_SHIFT + WORD_GENERATION_BITS, WORD_TAG_SHIFT);
	CHECK_EQ(FLIGHT_FLAGS & FLIGHT_STATE_MASK, 0);
	CHECK_EQ(FLIGHT_USE_MASK & FLIGHT_PROMOTION_MASK, 0);
	CHECK_EQ(FLIGHT_SLOT_MASK & FLIGHT_USE_MASK, 0);
	CHECK_EQ(BLOCK_OWNER_MASK & BLOCK_GENERATION_MASK, 0);
	CHECK_EQ(BLOCK_OWNER_MASK & BLOCK_CLASS_MASK, 0);
}

TEST(layout__slot_numbers__fit_their_fields)
{
	CHECK_LE(PARTICIPANTS_MAX, WORD_OWNER_MASK >> WORD_OWNER_SHIFT);
	CHECK_LE(PARTICIPANTS_MAX, FLIGHT_SLOT_MASK >> FLIGHT_SLOT_SHIFT);
	CHECK_LE(PARTICIPANTS_MAX, BLOCK_OWNER_MASK >> BLOCK_OWNER_SHIFT);
}
