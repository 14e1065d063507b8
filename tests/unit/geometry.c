/* SPDX-License-Identifier: BSD-2-Clause */
/* From three numbers to a byte map: what is accepted lies inside. */
#include "geometry.h"

#include "harness.h"

#include <string.h>

#define MIB (1ull << 20)

static void
check_regions(const struct geometry *g)
{
	CHECK_EQ(g->participants_at, sizeof(struct header));
	CHECK_LE(g->participants_at +
	    g->participant_count * sizeof(struct participant),
	    g->flight_lines_at);
	CHECK_LE(g->flight_lines_at +
	    g->flight_pairs * 2 * sizeof(struct line), g->flights_at);
	CHECK_LE(g->flights_at + g->flight_count * sizeof(struct flight),
	    g->index_at);
	CHECK_LE(g->index_at + g->index_pairs * 2 * sizeof(struct line),
	    g->blocks_at);
	CHECK_LE(g->blocks_at + g->block_count * sizeof(struct block),
	    g->data_at);
	CHECK_LE(g->data_at + ((uint64_t)g->block_count << g->block_shift),
	    g->size_bytes);
}

static void
check_alignment(const struct geometry *g)
{
	CHECK_EQ(g->participants_at % PAGE_BYTES, 0);
	CHECK_EQ(g->flight_lines_at % CACHELINE, 0);
	CHECK_EQ(g->flights_at % CACHELINE, 0);
	CHECK_EQ(g->index_at % (2 * CACHELINE), 0);
	CHECK_EQ(g->blocks_at % CACHELINE, 0);
	CHECK_EQ(g->data_at % PAGE_BYTES, 0);
}

TEST(geometry__defaults__regions_follow_each_other)
{
	struct geometry g;

	CHECK_STR(geometry_compute(&g, 64 * MIB, 128, 256), NULL);
	check_regions(&g);
	check_alignment(&g);
}

TEST(geometry__smallest_segment__is_laid_out)
{
	struct geometry g;

	CHECK_STR(geometry_compute(&g, GEOMETRY_SIZE_MIN,
	    geometry_default_participants(GEOMETRY_SIZE_MIN), 256), NULL);
	check_regions(&g);
	CHECK_GE(g.block_count, 64);
}

TEST(geometry__largest_segment__places_fit_their_words)
{
	struct geometry g;

	CHECK_STR(geometry_compute(&g, GEOMETRY_SIZE_MAX, PARTICIPANTS_MAX, 256),
	    NULL);
	check_regions(&g);
	CHECK_LE(((uint64_t)g.block_count << g.block_shift) / ENTRY_ALIGN,
	    WORD_PLACE_MASK + 1);
	CHECK_LT(g.flight_count, WORD_PLACE_MASK);
}

/* Whatever is accepted must lie inside, for odd numbers too. */
TEST(geometry__any_numbers_accepted__stay_inside)
{
	static const uint32_t participants[] = { 1, 2, 7, 64, 509, 4000 };
	static const uint32_t entries[] = { 1, 17, 256, 4099, 1u << 24 };
	unsigned accepted = 0;

	for (uint64_t size = MIB; size <= GEOMETRY_SIZE_MAX;
	     size = (size + size / 3 + 4095) / 4096 * 4096)
		for (unsigned p = 0; p < ARRAY_LENGTH(participants); p++)
			for (unsigned e = 0; e < ARRAY_LENGTH(entries); e++) {
				struct geometry g;

				if (geometry_compute(&g, size, participants[p],
					entries[e]) != NULL)
					continue;
				check_regions(&g);
				check_alignment(&g);
				accepted++;
			}
	CHECK_GT(accepted, 100);
}

TEST(geometry__same_numbers__same_bytes)
{
	struct geometry a, b;

	memset(&a, 1, sizeof a);
	memset(&b, 2, sizeof b);
	CHECK_STR(geometry_compute(&a, 8 * MIB, 16, 100), NULL);
	CHECK_STR(geometry_compute(&b, 8 * MIB, 16, 100), NULL);
	CHECK_MEM(&a, &b, sizeof a);
}

static void
check_refused(uint64_t size, uint32_t participants, uint32_t entry_bytes,
    const char *word)
{
	struct geometry g;
	const char *why = geometry_compute(&g, size, participants, entry_bytes);

	if (why == NULL || strstr(why, word) == NULL)
		FAIL("%llu %u %u: \"%s\" does not name %s",
		    (unsigned long long)size, participants, entry_bytes,
		    why != NULL ? why : "(accepted)", word);
}

TEST(geometry__size_out_of_range__is_refused)
{
	check_refused(0, 4, 256, "size_bytes");
	check_refused(GEOMETRY_SIZE_MIN - PAGE_BYTES, 4, 256, "size_bytes");
	check_refused(GEOMETRY_SIZE_MAX + PAGE_BYTES, 4, 256, "size_bytes");
	check_refused(UINT64_MAX, 4, 256, "size_bytes");
}

TEST(geometry__size_not_of_pages__is_refused)
{
	check_refused(GEOMETRY_SIZE_MIN + 1, 4, 256, "multiple of 4096");
}

TEST(geometry__participants_out_of_range__are_refused)
{
	check_refused(64 * MIB, 0, 256, "participants");
	check_refused(GEOMETRY_SIZE_MAX, PARTICIPANTS_MAX + 1, 256,
	    "participants");
	check_refused(64 * MIB, UINT32_MAX, 256, "participants");
}

TEST(geometry__entry_bytes_out_of_range__are_refused)
{
	check_refused(64 * MIB, 4, 0, "entry_bytes");
	check_refused(64 * MIB, 4, (1u << 24) + 1, "entry_bytes");
	check_refused(64 * MIB, 4, UINT32_MAX, "entry_bytes");
}

TEST(geometry__too_many_participants_for_the_size__are_refused)
{
	check_refused(MIB, 128, 256, "too small for so many participants");
	check_refused(64 * MIB, 4000, 256, "too small for so many participants");
}

TEST(geometry__remedy_in_the_refusal__works)
{
	struct geometry g;

	/* "give at least 64 KiB for each" */
	for (uint32_t p = 16; p <= PARTICIPANTS_MAX; p *= 2)
		CHECK_STR(geometry_compute(&g, p * (64ull << 10), p, 256), NULL);
}

TEST(geometry__default_participants__grow_with_the_size)
{
	CHECK_EQ(geometry_default_participants(MIB), 4);
	CHECK_EQ(geometry_default_participants(8 * MIB), 32);
	CHECK_EQ(geometry_default_participants(64 * MIB), 128);
	CHECK_EQ(geometry_default_participants(GEOMETRY_SIZE_MAX), 128);
}

TEST(geometry__all_participants_with_an_open_block__hold_a_twentieth)
{
	struct geometry g;

	CHECK_STR(geometry_compute(&g, 64 * MIB, 128, 256), NULL);
	CHECK_GE(g.block_count, 20 * g.participant_count);
}
