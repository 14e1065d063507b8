/* SPDX-License-Identifier: BSD-2-Clause */
/* Which block is opened, which given up, and what is spared. */
#include "evict.h"

#include "grace.h"
#include "inside.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
	uint32_t block;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 8) };

	s.seg = &s.cache->seg;
	s.me = member_of(s.cache);
	return s;
}

static void
scene_end(struct scene *s)
{
	cache_audit(s->cache);
	shmc_close(s->cache);
}

/* Entries of a kilobyte until none of the blocks is free any more. */
static unsigned
fill(struct scene *s)
{
	unsigned keys = 0;

	while (blocks_in(s->cache, BLOCK_FREE) > 0 || keys % 16 != 0) {
		char key[32], value[1000];
		size_t bytes = key_of(key, keys);

		value_fill(value, sizeof value, keys, 1);
		REQUIRE_EQ(shmc_put(s->cache, key, bytes, value, sizeof value,
		    0), SHMC_OK);
		REQUIRE(++keys < 10000);
	}
	return keys;
}

static unsigned
keys_there(struct scene *s, unsigned keys)
{
	unsigned there = 0;

	for (unsigned i = 0; i < keys; i++) {
		char key[32], value[1000];
		size_t bytes = key_of(key, i), n;

		if (shmc_get(s->cache, key, bytes, value, sizeof value, &n) !=
		    SHMC_OK)
			continue;
		CHECK_EQ(value_check(value, n, i), 1);
		there++;
	}
	return there;
}

TEST(evict__free_blocks__one_is_opened_and_nothing_evicted)
{
	struct scene s = scene_new();

	CHECK(evict_open_block(s.me, BLOCK_LOG, &s.block));
	CHECK_EQ(block_state(block_word(s.cache, s.block)), BLOCK_OPEN);
	CHECK_EQ(block_owner(block_word(s.cache, s.block)), s.me->index);
	CHECK_EQ(cache_stats(s.cache).evicted_blocks, 0);
	block_close(s.seg, s.block);
	scene_end(&s);
}

TEST(evict__opened_in_turn__no_block_twice)
{
	struct scene s = scene_new();
	uint32_t other;

	CHECK(evict_open_block(s.me, BLOCK_LOG, &s.block));
	CHECK(evict_open_block(s.me, BLOCK_PIECE, &other));
	CHECK_NE(s.block, other);
	CHECK_EQ(block_class(block_word(s.cache, other)), BLOCK_PIECE);
	block_close(s.seg, s.block);
	block_close(s.seg, other);
	scene_end(&s);
}

TEST(evict__no_block_free__oldest_entries_go_and_are_counted)
{
	struct scene s = scene_new();
	unsigned keys = fill(&s), there = keys_there(&s, keys);
	struct shmc_stats stats = cache_stats(s.cache);

	CHECK_GT(stats.evicted_entries + stats.displaced, 0);
	CHECK_EQ(there + stats.evicted_entries + stats.displaced, keys);
	check_miss(s.cache, "key-000000");
	scene_end(&s);
}

TEST(evict__viewed_entry__survives_many_times_the_memory)
{
	struct scene s = scene_new();
	struct shmc_view view;
	char value[1000];

	value_fill(value, sizeof value, 7, 3);
	CHECK_EQ(shmc_put(s.cache, "pinned", 6, value, sizeof value, 0),
	    SHMC_OK);
	CHECK_EQ(shmc_view(s.cache, "pinned", 6, &view), SHMC_OK);
	for (unsigned i = 0; i < 5; i++)
		(void)fill(&s);
	for (unsigned i = 0; i < 5000; i++) {
		char key[32];

		CHECK_EQ(shmc_put(s.cache, key, key_of(key, i), value, 900, 0),
		    SHMC_OK);
	}
	CHECK_EQ(value_check(view.data, view.size_bytes, 7), 3);
	shmc_view_release(&view);
	scene_end(&s);
}

TEST(evict__every_block_being_written__there_is_none)
{
	struct scene s = scene_new();
	uint32_t opened = 0;

	while (evict_open_block(s.me, BLOCK_PIECE, &s.block))
		REQUIRE(++opened <= s.seg->geo.block_count);
	CHECK_EQ(opened, s.seg->geo.block_count);
	CHECK(!evict_could_open(s.me, 1));
	block_close(s.seg, 9);
	CHECK(evict_could_open(s.me, 1));
	CHECK(!evict_could_open(s.me, 2));
	CHECK(evict_open_block(s.me, BLOCK_PIECE, &s.block));
	CHECK_EQ(s.block, 9);
	scene_end(&s);
}

TEST(evict__reader_stuck_in_a_section__memory_is_taken_from_it)
{
	struct scene s = scene_new();
	struct shmc *twin = cache_twin(s.cache);
	struct member *reader = member_of(twin);
	char value[1000];

	grace_enter(reader);
	for (unsigned i = 0; i < 5000; i++) {
		char key[32];

		value_fill(value, sizeof value, i, 1);
		CHECK_EQ(shmc_put(s.cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
	}
	CHECK(!grace_trusted(reader));
	CHECK_GE(cache_stats(s.cache).revoked, 1);
	grace_exit(reader);
	shmc_close(twin);
	scene_end(&s);
}

static void
open_all_and_die(void *arg)
{
	struct scene *s = arg;
	struct member *me = member_of(s->cache);

	while (evict_open_block(me, BLOCK_PIECE, &s->block))
		;
	kill(getpid(), SIGKILL);
}

TEST(evict__all_blocks_of_a_dead_owner__are_used_again)
{
	struct scene s = scene_new();

	CHECK_EQ(wait_child(run_in_child(open_all_and_die, &s)), -SIGKILL);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), s.seg->geo.block_count);
	for (unsigned i = 0; i < 3 * s.seg->geo.block_count; i++) {
		REQUIRE(evict_open_block(s.me, BLOCK_LOG, &s.block));
		block_close(s.seg, s.block);
	}
	CHECK_EQ(cache_stats(s.cache).reaped, 1);
	scene_end(&s);
}

TEST(evict__room_beyond_the_block__a_new_block_is_opened)
{
	struct scene s = scene_new();
	uint64_t first, second;
	uint32_t block;

	CHECK(evict_room(s.me, &s.me->log, BLOCK_LOG, 64, &first));
	block = s.me->log.block;
	block_extend(s.seg, &s.me->log, 0);
	s.me->log.used = (uint32_t)block_bytes(s.seg) - 32;
	CHECK(evict_room(s.me, &s.me->log, BLOCK_LOG, 64, &second));
	CHECK_NE(s.me->log.block, block);
	CHECK_EQ(block_state(block_word(s.cache, block)), BLOCK_SEALED);
	CHECK_EQ(entry_block(s.seg, second), s.me->log.block);
	scene_end(&s);
}

TEST(evict__large_value_replaced__its_pieces_come_back)
{
	struct scene s = scene_new();
	size_t bytes = 8 * block_bytes(s.seg);
	char *value = malloc(bytes);

	REQUIRE(value != NULL);
	value_fill(value, bytes, 1, 1);
	for (unsigned i = 0; i < 50; i++)
		CHECK_EQ(shmc_put(s.cache, "large", 5, value, bytes, 0),
		    SHMC_OK);
	CHECK_GE(cache_stats(s.cache).evicted_blocks, 8 * 40);
	CHECK_EQ(shmc_get(s.cache, "large", 5, value, bytes, &bytes), SHMC_OK);
	CHECK_EQ(value_check(value, bytes, 1), 1);
	free(value);
	scene_end(&s);
}

TEST(evict__large_value_deleted__its_pieces_come_back)
{
	struct scene s = scene_new();
	size_t bytes = 8 * block_bytes(s.seg);
	char *value = calloc(1, bytes);
	unsigned sealed;

	REQUIRE(value != NULL);
	CHECK_EQ(shmc_put(s.cache, "large", 5, value, bytes, 0), SHMC_OK);
	sealed = blocks_in(s.cache, BLOCK_SEALED);
	CHECK_EQ(shmc_delete(s.cache, "large", 5), SHMC_OK);
	CHECK_LE(blocks_in(s.cache, BLOCK_SEALED) + 8, sealed);
	free(value);
	scene_end(&s);
}

TEST(evict__piece_given_up__its_value_is_a_miss_as_a_whole)
{
	struct scene s = scene_new();
	size_t bytes = 8 * block_bytes(s.seg);
	char *value = calloc(1, bytes);

	REQUIRE(value != NULL);
	CHECK_EQ(shmc_put(s.cache, "large", 5, value, bytes, 0), SHMC_OK);
	for (unsigned i = 0; i < 5000; i++) {
		char key[32];
		size_t n = bytes;
		enum shmc_status status;

		CHECK_EQ(shmc_put(s.cache, key, key_of(key, i), value, 900, 0),
		    SHMC_OK);
		status = shmc_get(s.cache, "large", 5, value, bytes, &n);
		if (status == SHMC_MISS)
			break;
		CHECK_EQ(status, SHMC_OK);
		CHECK_EQ(n, bytes);
	}
	check_miss(s.cache, "large");
	free(value);
	scene_end(&s);
}
