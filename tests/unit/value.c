/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing values: small, in pieces, of unknown length, too large. */
#include "value.h"

#include "evict.h"
#include "inside.h"
#include "view.h"

#include <stdlib.h>

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
	struct draft draft;
	struct key key;
	uint64_t entry;
	struct entry_view view;
	uint64_t block;
	char *bytes; /* a quarter of the segment, with a pattern */
	char *back;
};

#define MAX_BYTES (256u << 10)

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 8) };

	s.seg = &s.cache->seg;
	s.me = member_of(s.cache);
	s.key = key_from(s.cache, "k");
	s.block = block_bytes(s.seg);
	s.bytes = malloc(MAX_BYTES + 1);
	s.back = malloc(MAX_BYTES + 1);
	REQUIRE(s.bytes != NULL && s.back != NULL);
	value_fill(s.bytes, MAX_BYTES + 1, 5, 1);
	return s;
}

static void
scene_end(struct scene *s)
{
	cache_audit(s->cache);
	free(s->bytes);
	free(s->back);
	shmc_close(s->cache);
}

static enum shmc_status
write_bytes(struct scene *s, size_t bytes)
{
	enum shmc_status status = value_write(s->me, &s->draft, &s->key,
	    s->bytes, bytes, &no_terms, &s->entry);

	if (status == SHMC_OK)
		REQUIRE(entry_read(s->seg, s->entry, &s->view));
	return status;
}

static void
check_bytes(struct scene *s, size_t bytes)
{
	CHECK_EQ(s->view.value_bytes, bytes);
	if (s->view.value != NULL) {
		CHECK_MEM(s->view.value, s->bytes, bytes);
		return;
	}
	memset(s->back, 0, bytes);
	CHECK(copy_pieces(s->seg, &s->view, s->back, bytes));
	CHECK_MEM(s->back, s->bytes, bytes);
}

TEST(value__small__stands_in_the_log)
{
	struct scene s = scene_new();

	CHECK_EQ(write_bytes(&s, 100), SHMC_OK);
	CHECK(s.view.value != NULL);
	CHECK_EQ(s.view.block, s.me->log.block);
	check_bytes(&s, 100);
	scene_end(&s);
}

TEST(value__empty__is_a_value)
{
	struct scene s = scene_new();

	CHECK_EQ(value_write(s.me, &s.draft, &s.key, NULL, 0, &no_terms, &s.entry),
	    SHMC_OK);
	CHECK(entry_read(s.seg, s.entry, &s.view));
	CHECK_EQ(s.view.value_bytes, 0);
	CHECK(s.view.value != NULL);
	scene_end(&s);
}

TEST(value__largest_in_one_block__one_byte_more_goes_to_pieces)
{
	struct scene s = scene_new();
	size_t most = s.block - sizeof(struct entry) - s.key.size;

	CHECK_EQ(write_bytes(&s, most), SHMC_OK);
	CHECK(s.view.value != NULL);
	check_bytes(&s, most);
	CHECK_EQ(write_bytes(&s, most + 1), SHMC_OK);
	CHECK(s.view.value == NULL);
	check_bytes(&s, most + 1);
	value_settle(s.me, &s.draft);
	scene_end(&s);
}

TEST(value__any_size_near_a_blocks_border__reads_back)
{
	struct scene s = scene_new();

	for (uint64_t around = s.block; around <= 3 * s.block;
	     around += s.block)
		for (uint64_t n = around - 20; n <= around + 20; n++) {
			CHECK_EQ(write_bytes(&s, n), SHMC_OK);
			check_bytes(&s, n);
			value_settle(s.me, &s.draft);
		}
	scene_end(&s);
}

TEST(value__pieces__name_their_entry_and_stay_open_until_settled)
{
	struct scene s = scene_new();

	CHECK_EQ(write_bytes(&s, 3 * s.block), SHMC_OK);
	CHECK_EQ(s.view.piece_count, 3);
	CHECK_EQ(s.seg->blocks[s.view.first_piece].head, s.entry);
	CHECK_EQ(s.seg->blocks[s.view.first_piece].head_hash,
	    s.key.hash >> 32);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 4); /* and the log */
	value_settle(s.me, &s.draft);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 1);
	CHECK_EQ(blocks_in(s.cache, BLOCK_SEALED), 3);
	scene_end(&s);
}

TEST(value__beyond_the_limit__is_refused_and_takes_nothing)
{
	struct scene s = scene_new();

	CHECK_EQ(s.seg->geo.value_max_bytes, MAX_BYTES);
	CHECK_EQ(write_bytes(&s, MAX_BYTES), SHMC_OK);
	check_bytes(&s, MAX_BYTES);
	value_settle(s.me, &s.draft);
	CHECK_EQ(write_bytes(&s, MAX_BYTES + 1), SHMC_TOO_LARGE);
	CHECK_EQ(value_write(s.me, &s.draft, &s.key, s.bytes, SIZE_MAX, &no_terms,
	    &s.entry), SHMC_TOO_LARGE);
	CHECK_LE(blocks_in(s.cache, BLOCK_OPEN), 1);
	scene_end(&s);
}

TEST(value__appended_bit_by_bit__reads_back_as_one)
{
	struct scene s = scene_new();
	size_t done = 0;

	for (size_t n = 1; done + n < 3 * s.block; n = n * 2 + 1) {
		CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes + done,
		    n), SHMC_OK);
		done += n;
	}
	CHECK_GT(done, s.block);
	CHECK_EQ(value_complete(s.me, &s.draft, &s.key, &no_terms, &s.entry), SHMC_OK);
	REQUIRE(entry_read(s.seg, s.entry, &s.view));
	check_bytes(&s, done);
	value_settle(s.me, &s.draft);
	scene_end(&s);
}

TEST(value__appended_but_small__ends_in_the_log)
{
	struct scene s = scene_new();

	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, 40), SHMC_OK);
	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes + 40, 60),
	    SHMC_OK);
	CHECK_EQ(value_complete(s.me, &s.draft, &s.key, &no_terms, &s.entry), SHMC_OK);
	REQUIRE(entry_read(s.seg, s.entry, &s.view));
	CHECK(s.view.value != NULL);
	check_bytes(&s, 100);
	CHECK_EQ(s.draft.count, 0);
	scene_end(&s);
}

TEST(value__nothing_appended__is_the_empty_value)
{
	struct scene s = scene_new();

	CHECK_EQ(value_complete(s.me, &s.draft, &s.key, &no_terms, &s.entry), SHMC_OK);
	REQUIRE(entry_read(s.seg, s.entry, &s.view));
	CHECK_EQ(s.view.value_bytes, 0);
	scene_end(&s);
}

TEST(value__appended_beyond_the_limit__is_refused)
{
	struct scene s = scene_new();

	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, MAX_BYTES),
	    SHMC_OK);
	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, 1),
	    SHMC_TOO_LARGE);
	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, SIZE_MAX),
	    SHMC_TOO_LARGE);
	value_drop(s.me, &s.draft);
	scene_end(&s);
}

TEST(value__dropped__its_blocks_come_back_but_one)
{
	struct scene s = scene_new();

	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, 5 * s.block),
	    SHMC_OK);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 5);
	value_drop(s.me, &s.draft);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 1); /* the spare */
	CHECK_EQ(s.draft.count + s.draft.first, 0);
	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, 8), SHMC_OK);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 1); /* it was used */
	value_drop(s.me, &s.draft);
	scene_end(&s);
}

/* Keys that fill a good part of a block go into the pieces. */
TEST(value__key_longer_than_a_block__reads_back)
{
	struct scene s = scene_new();
	char *long_key = malloc(SHMC_KEY_MAX);

	REQUIRE(long_key != NULL);
	value_fill(long_key, SHMC_KEY_MAX, 9, 9);
	for (size_t n = SHMC_KEY_MAX; n > s.block / 4; n -= s.block / 4 + 1) {
		CHECK_EQ(cache_key(s.cache, long_key, n, &s.key), SHMC_OK);
		for (size_t bytes = 0; bytes < 3 * s.block;
		     bytes += s.block / 2) {
			CHECK_EQ(write_bytes(&s, bytes), SHMC_OK);
			CHECK(entry_has_key(s.seg, &s.view, &s.key));
			check_bytes(&s, bytes);
			value_settle(s.me, &s.draft);
		}
	}
	free(long_key);
	scene_end(&s);
}

TEST(value__long_key_that_differs_in_its_last_byte__is_another)
{
	struct scene s = scene_new();
	char *long_key = calloc(1, SHMC_KEY_MAX);

	REQUIRE(long_key != NULL);
	CHECK_EQ(cache_key(s.cache, long_key, SHMC_KEY_MAX, &s.key), SHMC_OK);
	CHECK_EQ(write_bytes(&s, 10), SHMC_OK);
	CHECK(entry_has_key(s.seg, &s.view, &s.key));
	long_key[SHMC_KEY_MAX - 1] = 1;
	CHECK(!entry_has_key(s.seg, &s.view, &s.key));
	value_settle(s.me, &s.draft);
	free(long_key);
	scene_end(&s);
}

/* A failed put loses nothing. */
TEST(value__no_memory_for_all_of_it__nothing_was_evicted)
{
	struct scene s = scene_new();
	uint32_t block;

	put(s.cache, "old", "here");
	for (uint32_t i = 0; i + 4 < s.seg->geo.block_count; i++)
		REQUIRE(evict_open_block(s.me, BLOCK_PIECE, &block));
	CHECK_EQ(shmc_put(s.cache, "large", 5, s.bytes, 8 * s.block, 0),
	    SHMC_NO_MEMORY);
	CHECK_EQ(cache_stats(s.cache).refused, 1);
	check_get(s.cache, "old", "here");
	scene_end(&s);
}

TEST(value__number_of_a_piece_scribbled__nothing_outside_is_touched)
{
	struct scene s = scene_new();

	CHECK_EQ(value_append(s.me, &s.draft, &s.key, s.bytes, 3 * s.block),
	    SHMC_OK);
	s.seg->blocks[s.draft.first - 1].next = UINT32_MAX;
	value_drop(s.me, &s.draft);
	CHECK_EQ(write_bytes(&s, 3 * s.block), SHMC_OK);
	s.seg->blocks[s.view.first_piece].next = UINT32_MAX;
	value_settle(s.me, &s.draft);
	CHECK(!copy_pieces(s.seg, &s.view, s.back, 3 * s.block));
	scene_end(&s);
}
