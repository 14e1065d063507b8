/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes of the regions.
 *
 * Each attached thread appends to a block of its own, so blocks are as large as
 * lets all open blocks together stay under 5 % of the data, between 4 KiB and
 * 1 MiB, and at least 64 in number, since eviction works in blocks.
 */
#include "geometry.h"

#include <string.h>

#define BLOCK_SHIFT_MIN 12u /* 4 KiB */
#define BLOCK_SHIFT_MAX 20u /* 1 MiB */
#define BLOCKS_MIN 64u
#define OPEN_SHARE 20u	    /* open blocks: one part in so many */
#define FLIGHTS_PER_PARTICIPANT 4u
#define FLIGHTS_MIN 64u
#define FLIGHTS_PER_PAIR 4u /* of 16 words: a full pair is one in 10^6 */
/* Index words in use when the data is full, in per cent: perf/run missratio. */
#define INDEX_LOAD_PERCENT 62u

uint32_t
geometry_default_participants(uint64_t size_bytes)
{
	uint64_t n = size_bytes / (256u << 10);

	return (uint32_t)(n < 4 ? 4 : n > 128 ? 128 : n);
}

static uint32_t
choose_block_shift(uint64_t data_bytes, uint32_t participants)
{
	uint32_t shift = BLOCK_SHIFT_MAX;

	while (shift > BLOCK_SHIFT_MIN &&
	    ((data_bytes >> shift) < BLOCKS_MIN ||
		(data_bytes >> shift) < (uint64_t)OPEN_SHARE * participants))
		shift--;
	return shift;
}

/* Index pairs for so much memory, shared between entries and their words. */
static uint64_t
choose_pairs(uint64_t bytes, uint32_t entry_bytes)
{
	uint64_t entry = ALIGN_UP(entry_bytes + sizeof(struct entry),
	    (uint64_t)ENTRY_ALIGN);
	uint64_t entry_and_word = 100 * entry + 100 * 8 * 100 / INDEX_LOAD_PERCENT;
	uint64_t entries = bytes / entry_and_word * 100 +
	    bytes % entry_and_word * 100 / entry_and_word;
	uint64_t words = entries * 100 / INDEX_LOAD_PERCENT;

	return max_u64(words / PAIR_WORDS, 1);
}

/*
 * Two names on one tag invalidate each other's entries: for a thousand names
 * in use one in 64 does, in a segment of 1 GiB.
 */
static uint32_t
choose_tags(uint64_t size_bytes)
{
	return (uint32_t)max_u64(512, min_u64(size_bytes / (16u << 10), 1u << 16));
}

/* Places the regions up to the index; returns where the index begins. */
static void
place_fixed_regions(struct geometry *g)
{
	g->flight_count = (uint32_t)max_u64(FLIGHTS_MIN,
	    (uint64_t)g->participant_count * FLIGHTS_PER_PARTICIPANT);
	g->flight_pairs = g->flight_count / FLIGHTS_PER_PAIR;
	g->participants_at = sizeof(struct header);
	g->flight_lines_at = g->participants_at +
	    g->participant_count * sizeof(struct participant);
	g->flights_at = g->flight_lines_at +
	    g->flight_pairs * 2 * sizeof(struct line);
	g->tags_at = g->flights_at + g->flight_count * sizeof(struct flight);
	g->tag_count = choose_tags(g->size_bytes);
	g->index_at = ALIGN_UP(g->tags_at + g->tag_count * sizeof(struct tag),
	    (uint64_t)PAGE_BYTES);
}

static void
place_index_and_data(struct geometry *g)
{
	uint64_t rest = g->size_bytes - g->index_at;
	uint64_t data, block;

	g->index_pairs = choose_pairs(rest, g->entry_bytes);
	g->blocks_at = g->index_at + g->index_pairs * 2 * sizeof(struct line);
	data = g->size_bytes - g->blocks_at;
	g->block_shift = choose_block_shift(data, g->participant_count);
	block = 1ull << g->block_shift;
	g->block_count = (uint32_t)((data - PAGE_BYTES) /
	    (block + sizeof(struct block)));
	g->data_at = ALIGN_UP(
	    g->blocks_at + g->block_count * sizeof(struct block),
	    (uint64_t)PAGE_BYTES);
	g->value_max_bytes = g->size_bytes / 4;
}

const char *
geometry_compute(struct geometry *g, uint64_t size_bytes,
    uint32_t participants, uint32_t entry_bytes)
{
	memset(g, 0, sizeof *g);
	if (size_bytes < GEOMETRY_SIZE_MIN || size_bytes > GEOMETRY_SIZE_MAX)
		return "size_bytes must be between 1 MiB and 64 GiB";
	if (size_bytes % PAGE_BYTES != 0)
		return "size_bytes must be a multiple of 4096";
	if (participants < 1 || participants > PARTICIPANTS_MAX)
		return "participants must be between 1 and 4000";
	if (entry_bytes < 1 || entry_bytes > (1u << 24))
		return "entry_bytes must be between 1 and 16 MiB";
	g->size_bytes = size_bytes;
	g->participant_count = participants;
	g->entry_bytes = entry_bytes;
	place_fixed_regions(g);
	if (g->index_at > size_bytes / 2)
		return "size_bytes is too small for so many participants: "
		       "give at least 16 KiB for each";
	place_index_and_data(g);
	if (g->block_count < BLOCKS_MIN || g->block_count < 4 * participants)
		return "size_bytes is too small for so many participants: "
		       "give at least 64 KiB for each";
	return NULL;
}
