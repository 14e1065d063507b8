/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries: written, read back, and every number of theirs mistrusted. */
#include "entry.h"

#include "inside.h"

#include <stdlib.h>

#define BLOCK 5u

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct key key;
	uint64_t place; /* the start of BLOCK */
	struct entry_view view;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 4) };

	s.seg = &s.cache->seg;
	s.key = key_from(s.cache, "the key");
	s.place = ((uint64_t)BLOCK << s.seg->geo.block_shift) / ENTRY_ALIGN;
	return s;
}

static struct entry *
header_at(const struct scene *s, uint64_t place)
{
	return (struct entry *)(void *)(s->seg->data + place * ENTRY_ALIGN);
}

static uint64_t
write_small(struct scene *s, const char *value, uint64_t expiry_ms)
{
	struct entry_terms terms = { .expiry_ms = expiry_ms };
	struct entry_plan plan = { .key = &s->key, .terms = &terms,
		.value_bytes = strlen(value) };

	memcpy(entry_write(s->seg, s->place, &plan), value, strlen(value));
	return entry_word(s->place, 9);
}

static uint64_t
write_large(struct scene *s, uint64_t bytes, uint32_t first, uint32_t count)
{
	struct entry_plan plan = { .key = &s->key, .terms = &no_terms,
		.value_bytes = bytes,
		.flags = ENTRY_LARGE, .first_piece = first,
		.piece_count = count };

	CHECK(entry_write(s->seg, s->place, &plan) == NULL);
	return entry_word(s->place, 9);
}

TEST(entry__word__holds_place_and_generation)
{
	struct scene s = scene_new();
	uint64_t word = entry_word(s.place, 1ull << 40 | 77);

	CHECK_EQ(word & WORD_PLACE_MASK, s.place);
	CHECK_EQ(word >> WORD_GENERATION_SHIFT & 0x3fff, 77);
	CHECK_EQ(word & (WORD_TAG_MASK | WORD_FREQ_MASK), 0);
	CHECK_EQ(entry_block(s.seg, word), BLOCK);
	shmc_close(s.cache);
}

TEST(entry__written__reads_back)
{
	struct scene s = scene_new();

	REQUIRE(entry_read(s.seg, write_small(&s, "value", 0), &s.view));
	CHECK_EQ(s.view.key_bytes, 7);
	CHECK_MEM(s.view.key, "the key", 7);
	CHECK_EQ(s.view.value_bytes, 5);
	CHECK_MEM(s.view.value, "value", 5);
	CHECK_EQ(s.view.hash_high, s.key.hash >> 32);
	CHECK_EQ(s.view.expiry_ms, 0);
	CHECK_EQ(s.view.block, BLOCK);
	shmc_close(s.cache);
}

TEST(entry__expiry__has_forty_bits)
{
	struct scene s = scene_new();

	REQUIRE(entry_read(s.seg, write_small(&s, "v", ENTRY_EXPIRY_MAX),
	    &s.view));
	CHECK_EQ(s.view.expiry_ms, ENTRY_EXPIRY_MAX);
	REQUIRE(entry_read(s.seg, write_small(&s, "v", 1ull << 32), &s.view));
	CHECK_EQ(s.view.expiry_ms, 1ull << 32);
	shmc_close(s.cache);
}

TEST(entry__bytes__are_rounded_up_and_the_same_for_both_sides)
{
	struct scene s = scene_new();

	for (uint64_t n = 0; n < 20; n++) {
		struct entry_plan plan = { .key = &s.key,
			.terms = &no_terms, .value_bytes = n };

		CHECK_EQ(entry_bytes(&plan) % ENTRY_ALIGN, 0);
		CHECK_GE(entry_bytes(&plan), sizeof(struct entry) + 7 + n);
		(void)entry_write(s.seg, s.place, &plan);
		REQUIRE(entry_read(s.seg, entry_word(s.place, 0), &s.view));
		CHECK_EQ(s.view.total_bytes, entry_bytes(&plan));
	}
	shmc_close(s.cache);
}

TEST(entry__key__is_compared_in_length_and_bytes)
{
	struct scene s = scene_new();
	struct key longer = key_from(s.cache, "the key!");
	struct key shorter = key_from(s.cache, "the ke");
	struct key other = key_from(s.cache, "the kez");

	REQUIRE(entry_read(s.seg, write_small(&s, "!", 0), &s.view));
	CHECK(entry_has_key(s.seg, &s.view, &s.key));
	CHECK(!entry_has_key(s.seg, &s.view, &longer));
	CHECK(!entry_has_key(s.seg, &s.view, &shorter));
	CHECK(!entry_has_key(s.seg, &s.view, &other));
	shmc_close(s.cache);
}

TEST(entry__expiry__passes)
{
	struct scene s = scene_new();

	while (segment_now_ms(s.seg) == 0)
		sleep_ms(1);
	REQUIRE(entry_read(s.seg, write_small(&s, "v", 0), &s.view));
	CHECK_EQ(entry_age(s.seg, &s.view), AGE_FRESH);
	REQUIRE(entry_read(s.seg, write_small(&s, "v", 1), &s.view));
	CHECK_EQ(entry_age(s.seg, &s.view), AGE_OVER);
	REQUIRE(entry_read(s.seg, write_small(&s, "v",
	    segment_now_ms(s.seg) + 3600 * 1000), &s.view));
	CHECK_EQ(entry_age(s.seg, &s.view), AGE_FRESH);
	shmc_close(s.cache);
}

TEST(entry__place_beyond_the_data__is_refused)
{
	struct scene s = scene_new();
	uint64_t end = s.seg->data_bytes / ENTRY_ALIGN;

	CHECK(!entry_read(s.seg, entry_word(end, 0), &s.view));
	CHECK(!entry_read(s.seg, entry_word(WORD_PLACE_MASK, 0), &s.view));
	CHECK(entry_read(s.seg, entry_word(end - 2, 0), &s.view));
	shmc_close(s.cache);
}

TEST(entry__header_across_the_blocks_end__is_refused)
{
	struct scene s = scene_new();
	uint64_t next = s.place + block_bytes(&s.cache->seg) / ENTRY_ALIGN;

	CHECK(entry_read(s.seg, entry_word(next - 2, 0), &s.view));
	CHECK(!entry_read(s.seg, entry_word(next - 1, 0), &s.view));
	shmc_close(s.cache);
}

TEST(entry__value_across_the_blocks_end__is_refused)
{
	struct scene s = scene_new();
	uint64_t room = block_bytes(s.seg) - sizeof(struct entry);

	header_at(&s, s.place)->first = room;
	CHECK(entry_read(s.seg, entry_word(s.place, 0), &s.view));
	header_at(&s, s.place)->first = room + 1;
	CHECK(!entry_read(s.seg, entry_word(s.place, 0), &s.view));
	header_at(&s, s.place)->first = UINT32_MAX;
	CHECK(!entry_read(s.seg, entry_word(s.place, 0), &s.view));
	shmc_close(s.cache);
}

TEST(entry__key_across_the_blocks_end__is_refused)
{
	struct scene s = scene_new();

	header_at(&s, s.place)->first = 0xffffull << 32;
	CHECK(!entry_read(s.seg, entry_word(s.place, 0), &s.view));
	shmc_close(s.cache);
}

/* Its bytes would be in no block: it never is written so. */
TEST(entry__key_away_without_pieces__is_refused)
{
	struct scene s = scene_new();

	header_at(&s, s.place)->first = (uint64_t)ENTRY_KEY_AWAY << 48 |
	    0xffffull << 32 | 100;
	CHECK(!entry_read(s.seg, entry_word(s.place, 0), &s.view));
	shmc_close(s.cache);
}

TEST(entry__large_with_numbers_that_cannot_be__is_refused)
{
	struct scene s = scene_new();
	uint64_t block = block_bytes(s.seg);
	uint32_t count = s.seg->geo.block_count;

	CHECK(entry_read(s.seg, write_large(&s, 2 * block, 6, 2), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, 2 * block, 6, 1), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, 2 * block, 6, 0), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, 0, 6, 0), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, block, count, 1), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, block, 6, count + 1),
	    &s.view));
	CHECK(!entry_read(s.seg, write_large(&s,
	    s.seg->geo.value_max_bytes + 1, 6, count), &s.view));
	CHECK(!entry_read(s.seg, write_large(&s, UINT64_MAX, 6, count),
	    &s.view));
	shmc_close(s.cache);
}

/* Blocks 6, 9 and 7, in this order, and a value that fills them. */
static uint64_t
chain_of_three(struct scene *s)
{
	s->seg->blocks[6].next = 9 + 1;
	s->seg->blocks[9].next = 7 + 1;
	return write_large(s, 3 * block_bytes(s->seg), 6, 3);
}

struct cursor {
	uint32_t piece;
	uint64_t start;
	const char *data;
	uint64_t bytes;
};

static bool
piece_at(struct scene *s, struct cursor *c, uint64_t offset)
{
	return entry_piece(s->seg, &s->view, offset, &c->piece, &c->start,
	    &c->data, &c->bytes);
}

TEST(entry__pieces__are_walked_in_their_order)
{
	struct scene s = scene_new();
	uint64_t block = block_bytes(s.seg);
	struct cursor c = { .piece = 6 };

	REQUIRE(entry_read(s.seg, chain_of_three(&s), &s.view));
	CHECK(piece_at(&s, &c, 0));
	CHECK(c.data == block_data(s.seg, 6));
	CHECK_EQ(c.bytes, block);
	CHECK(piece_at(&s, &c, block + 5));
	CHECK(c.data == block_data(s.seg, 9) + 5);
	CHECK_EQ(c.bytes, block - 5);
	CHECK(piece_at(&s, &c, 3 * block - 1));
	CHECK(c.data == block_data(s.seg, 7) + block - 1);
	CHECK_EQ(c.bytes, 1);
	shmc_close(s.cache);
}

TEST(entry__piece_before_the_cursor__starts_over)
{
	struct scene s = scene_new();
	uint64_t block = block_bytes(s.seg);
	struct cursor c = { .piece = 6 };

	REQUIRE(entry_read(s.seg, chain_of_three(&s), &s.view));
	CHECK(piece_at(&s, &c, 2 * block));
	CHECK(piece_at(&s, &c, block));
	CHECK(c.data == block_data(s.seg, 9));
	shmc_close(s.cache);
}

TEST(entry__end_of_full_pieces__has_no_bytes)
{
	struct scene s = scene_new();
	struct cursor c = { .piece = 6 };

	REQUIRE(entry_read(s.seg, chain_of_three(&s), &s.view));
	CHECK(piece_at(&s, &c, 3 * block_bytes(s.seg)));
	CHECK_EQ(c.bytes, 0);
	shmc_close(s.cache);
}

TEST(entry__chain_broken_or_led_astray__is_refused)
{
	struct scene s = scene_new();
	uint64_t block = block_bytes(s.seg);
	struct cursor c = { .piece = 6 };

	REQUIRE(entry_read(s.seg, chain_of_three(&s), &s.view));
	s.seg->blocks[9].next = 0;
	CHECK(!piece_at(&s, &c, 2 * block));
	s.seg->blocks[9].next = s.seg->geo.block_count + 1;
	CHECK(!piece_at(&s, &c, 2 * block));
	shmc_close(s.cache);
}

static bool
inside_data(const struct segment *seg, const char *p, uint64_t bytes)
{
	return p >= seg->data && bytes <= seg->data_bytes &&
	    (uint64_t)(p - seg->data) <= seg->data_bytes - bytes;
}

/* Whatever stands in memory, what is accepted lies in the data region. */
TEST(entry__random_bytes__no_address_outside)
{
	struct scene s = scene_new();
	unsigned accepted = 0;

	srandom(1);
	for (unsigned i = 0; i < 500000; i++) {
		uint64_t place = (uint64_t)random() %
		    (s.seg->data_bytes / ENTRY_ALIGN - 4);
		struct entry *e = header_at(&s, place);
		uint64_t bits = (uint64_t)random() << 33 ^ (uint64_t)random();

		e->first = bits & ~(0xffffc000ull) & ~(0xfcull << 48);
		e->second = (uint64_t)random();
		(e + 1)->first = (uint64_t)random() & 0x7ffff;
		(e + 1)->second = (uint64_t)random() % 300 |
		    ((uint64_t)random() % 300) << 32;
		if (!entry_read(s.seg, entry_word(place, 0), &s.view))
			continue;
		accepted++;
		if (s.view.key != NULL)
			CHECK(inside_data(s.seg, s.view.key, s.view.key_bytes));
		if (s.view.value != NULL)
			CHECK(inside_data(s.seg, s.view.value,
			    s.view.value_bytes));
		CHECK_LE(s.view.total_bytes, block_bytes(s.seg));
		(void)entry_has_key(s.seg, &s.view, &s.key);
	}
	CHECK_GT(accepted, 1000);
	shmc_close(s.cache);
}
