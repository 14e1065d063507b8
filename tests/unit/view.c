/* SPDX-License-Identifier: BSD-2-Clause */
/* Views: in place, unchanged whatever happens to the entry. */
#include "view.h"

#include "grace.h"
#include "inside.h"

#include <stdlib.h>

struct scene {
	struct shmc *cache;
	struct shmc_view view;
	size_t block;
	const void *data;
	size_t bytes;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 8) };

	s.block = block_bytes(&s.cache->seg);
	return s;
}

static void
scene_end(struct scene *s)
{
	cache_audit(s->cache);
	shmc_close(s->cache);
}

static void
view_large(struct scene *s, size_t bytes)
{
	char *value = malloc(bytes);

	REQUIRE(value != NULL);
	value_fill(value, bytes, 1, 1);
	REQUIRE_EQ(shmc_put(s->cache, "large", 5, value, bytes, 0), SHMC_OK);
	REQUIRE_EQ(shmc_view(s->cache, "large", 5, &s->view), SHMC_OK);
	free(value);
}

TEST(view__small_value__is_there_in_one_piece)
{
	struct scene s = scene_new();

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(s.view.size_bytes, 5);
	CHECK_EQ(s.view.piece_bytes, 5);
	CHECK_MEM(s.view.data, "value", 5);
	CHECK_EQ(s.view.role, SHMC_ROLE_HIT);
	CHECK_EQ(s.view.flags, 0);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__empty_value__has_an_address)
{
	struct scene s = scene_new();

	put(s.cache, "k", "");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(s.view.size_bytes, 0);
	CHECK(s.view.data != NULL);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__miss__is_cleared)
{
	struct scene s = scene_new();
	struct shmc_view zero = { 0 };

	memset(&s.view, 1, sizeof s.view);
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_MISS);
	CHECK_MEM(&s.view, &zero, sizeof zero);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__large_value__is_read_piece_by_piece)
{
	struct scene s = scene_new();
	size_t done = 0, all = 3 * s.block + 100;
	char *copy = malloc(all);

	REQUIRE(copy != NULL);
	view_large(&s, all);
	CHECK_EQ(s.view.size_bytes, all);
	CHECK_EQ(s.view.piece_bytes, s.block);
	while (done < all) {
		CHECK_EQ(shmc_view_piece(&s.view, done, &s.data, &s.bytes),
		    SHMC_OK);
		REQUIRE(s.bytes > 0 && s.bytes <= all - done);
		memcpy(copy + done, s.data, s.bytes);
		done += s.bytes;
	}
	CHECK_EQ(value_check(copy, all, 1), 1);
	shmc_view_release(&s.view);
	free(copy);
	scene_end(&s);
}

TEST(view__offset_at_the_end__has_no_bytes)
{
	struct scene s = scene_new();

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(shmc_view_piece(&s.view, 5, &s.data, &s.bytes), SHMC_OK);
	CHECK_EQ(s.bytes, 0);
	shmc_view_release(&s.view);
	view_large(&s, 3 * s.block + 1);
	CHECK_EQ(shmc_view_piece(&s.view, 3 * s.block + 1, &s.data, &s.bytes),
	    SHMC_OK);
	CHECK_EQ(s.bytes, 0);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__offset_at_the_end_of_full_pieces__has_no_bytes)
{
	struct scene s = scene_new();

	view_large(&s, 3 * s.block);
	CHECK_EQ(shmc_view_piece(&s.view, 3 * s.block, &s.data, &s.bytes),
	    SHMC_OK);
	CHECK_EQ(s.bytes, 0);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__offset_beyond_the_end__is_refused)
{
	struct scene s = scene_new();

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(shmc_view_piece(&s.view, 6, &s.data, &s.bytes), SHMC_INVALID);
	CHECK_EQ(shmc_view_piece(&s.view, SIZE_MAX, &s.data, &s.bytes),
	    SHMC_INVALID);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__offsets_backwards__read_the_same)
{
	struct scene s = scene_new();
	size_t all = 4 * s.block;
	char *copy = malloc(all);

	REQUIRE(copy != NULL);
	view_large(&s, all);
	for (size_t at = all - s.block / 2; at < all; at -= s.block / 2) {
		CHECK_EQ(shmc_view_piece(&s.view, at, &s.data, &s.bytes),
		    SHMC_OK);
		REQUIRE(s.bytes >= s.block / 2);
		memcpy(copy + at, s.data, s.block / 2);
	}
	CHECK_EQ(value_check(copy, all, 1), 1);
	shmc_view_release(&s.view);
	free(copy);
	scene_end(&s);
}

TEST(view__copied_into_too_small_a_buffer__gets_the_beginning)
{
	struct scene s = scene_new();
	char text[4] = "...";

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(shmc_view_copy(&s.view, text, 2), 2);
	CHECK_STR(text, "va.");
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__entry_overwritten_or_deleted__is_unchanged)
{
	struct scene s = scene_new();

	put(s.cache, "k", "old");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	put(s.cache, "k", "new");
	CHECK_EQ(shmc_delete(s.cache, "k", 1), SHMC_OK);
	CHECK_MEM(s.view.data, "old", 3);
	shmc_view_release(&s.view);
	scene_end(&s);
}

TEST(view__large_entry_overwritten_again_and_again__is_unchanged)
{
	struct scene s = scene_new();
	size_t all = 4 * s.block;
	char *value = malloc(all);

	REQUIRE(value != NULL);
	view_large(&s, all);
	for (unsigned i = 0; i < 100; i++) {
		value_fill(value, all, 1, 2 + i);
		CHECK_EQ(shmc_put(s.cache, "large", 5, value, all, 0), SHMC_OK);
	}
	CHECK_EQ(shmc_view_copy(&s.view, value, all), all);
	CHECK_EQ(value_check(value, all, 1), 1);
	shmc_view_release(&s.view);
	free(value);
	scene_end(&s);
}

TEST(view__released__is_cleared_and_may_be_released_again)
{
	struct scene s = scene_new();
	struct shmc_view zero = { 0 };

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	shmc_view_release(&s.view);
	CHECK_MEM(&s.view, &zero, sizeof zero);
	CHECK_EQ(member_of(s.cache)->views, 0);
	shmc_view_release(&s.view);
	shmc_view_release(NULL);
	CHECK_EQ(member_of(s.cache)->views, 0);
	scene_end(&s);
}

TEST(view__cleared__has_nothing_to_give)
{
	struct scene s = scene_new();
	char text[4];

	CHECK_EQ(shmc_view_piece(&s.view, 0, &s.data, &s.bytes), SHMC_FENCED);
	CHECK_EQ(shmc_view_copy(&s.view, text, sizeof text), 0);
	scene_end(&s);
}

TEST(view__sixteen_open__next_is_busy_until_one_is_released)
{
	struct scene s = scene_new();
	struct shmc_view views[SHMC_VIEWS_MAX];

	put(s.cache, "k", "value");
	for (unsigned i = 0; i < SHMC_VIEWS_MAX; i++)
		CHECK_EQ(shmc_view(s.cache, "k", 1, &views[i]), SHMC_OK);
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_BUSY);
	check_get(s.cache, "k", "value"); /* a copy needs none */
	shmc_view_release(&views[3]);
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	shmc_view_release(&s.view);
	for (unsigned i = 0; i < SHMC_VIEWS_MAX; i++)
		shmc_view_release(&views[i]);
	scene_end(&s);
}

static void
use_parents_view(void *arg)
{
	struct scene *s = arg;
	char text[8];

	CHECK_EQ(shmc_view_piece(&s->view, 0, &s->data, &s->bytes),
	    SHMC_FENCED);
	CHECK_EQ(shmc_view_copy(&s->view, text, sizeof text), 0);
	shmc_view_release(&s->view);
}

TEST(view__child__cannot_use_or_release_its_parents)
{
	struct scene s = scene_new();
	struct participant *slot = member_of(s.cache)->slot;

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	CHECK_EQ(wait_child(run_in_child(use_parents_view, &s)), 0);
	CHECK_NE(slot->pins[0], 0);
	CHECK_MEM(s.view.data, "value", 5);
	shmc_view_release(&s.view);
	CHECK_EQ(slot->pins[0], 0);
	scene_end(&s);
}

TEST(view__entry_scribbled__keeps_the_bounds_that_were_checked)
{
	struct scene s = scene_new();
	struct entry *e;

	put(s.cache, "k", "value");
	CHECK_EQ(shmc_view(s.cache, "k", 1, &s.view), SHMC_OK);
	e = (struct entry *)((uintptr_t)s.view.data - 1 - sizeof *e);
	e->first = 1000ull << 32; /* a key of 1000 bytes, no value */
	CHECK_EQ(shmc_view_piece(&s.view, 0, &s.data, &s.bytes), SHMC_OK);
	CHECK_EQ(s.bytes, 5);
	CHECK_MEM(s.data, "value", 5);
	e->first = 5 | 1ull << 32;
	shmc_view_release(&s.view);
	scene_end(&s);
}
