/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words of the segment that somebody scribbled over: what they cost, and that
 * it comes back.  tests/fuzz looks for what crashes, hangs or leaves the segment.
 */
#include "evict.h"
#include "flight.h"
#include "inside.h"

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
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

/* ---------------------------------------------------------------- blocks -- */

/* A word's state and owner, whatever the rest of it is. */
static void
scribble_block(struct scene *s, uint32_t block, unsigned state, unsigned owner)
{
	s->seg->blocks[block].word = (uint64_t)state << BLOCK_STATE_SHIFT |
	    (uint64_t)owner << BLOCK_OWNER_SHIFT;
}

/* As many as are opened before there is none. */
static unsigned
blocks_to_be_had(struct scene *s)
{
	unsigned n = 0;
	uint32_t block;

	while (evict_open_block(s->me, BLOCK_PIECE, &block))
		n++;
	return n;
}

/* States 5 to 7 are none. */
TEST(evict__block_in_no_state__is_used_again)
{
	struct scene s = scene_new();

	for (uint32_t i = 0; i < s.seg->geo.block_count; i++)
		scribble_block(&s, i, 5 + i % 3, i);
	CHECK(evict_could_open(s.me, s.seg->geo.block_count));
	CHECK_EQ(blocks_to_be_had(&s), s.seg->geo.block_count);
	CHECK_GE(cache_stats(s.cache).doubtful, s.seg->geo.block_count);
	scene_end(&s);
}

TEST(evict__block_of_an_owner_that_cannot_be__is_used_again)
{
	struct scene s = scene_new();

	for (uint32_t i = 0; i < s.seg->geo.block_count; i++)
		scribble_block(&s, i, i % 2 ? BLOCK_OPEN : BLOCK_EVICTING,
		    8 + i);
	CHECK_EQ(blocks_to_be_had(&s), s.seg->geo.block_count);
	scene_end(&s);
}

TEST(evict__block_whose_owner_is_nobody__is_used_again)
{
	struct scene s = scene_new();

	for (uint32_t i = 0; i < s.seg->geo.block_count; i++)
		scribble_block(&s, i, i % 2 ? BLOCK_OPEN : BLOCK_EVICTING, 5);
	CHECK_EQ(blocks_to_be_had(&s), s.seg->geo.block_count);
	scene_end(&s);
}

/* Entries in it are unlinked before its bytes are others'. */
TEST(evict__block_of_entries_in_no_state__its_entries_go_with_it)
{
	struct scene s = scene_new();
	uint32_t block;

	put(s.cache, "k", "v");
	block = s.me->log.block;
	CHECK_EQ(shmc_detach_thread(s.cache), 0);
	s.me = member_of(s.cache);
	s.seg->blocks[block].word |= 7ull << BLOCK_STATE_SHIFT;
	check_get(s.cache, "k", "v");
	CHECK_EQ(blocks_to_be_had(&s), s.seg->geo.block_count);
	check_miss(s.cache, "k");
	scene_end(&s);
}

/* --------------------------------------------------------------- flights -- */

#define HOUR_NS (3600ull * 1000000000)

/* As many as can be led at once. */
static unsigned
flights_to_be_had(struct scene *s)
{
	struct flight_hold hold;
	unsigned n = 0;

	while (n <= s->seg->geo.flight_count && flight_enter(s->me,
		n * 0x9e3779b97f4a7c15ull, HOUR_NS, true, &hold) ==
	    FLIGHT_LEADS)
		n++;
	return n;
}

static void
scribble_flights(struct scene *s, unsigned state, unsigned leader)
{
	for (uint32_t i = 0; i < s->seg->geo.flight_count; i++)
		s->seg->flights[i].word = state |
		    (uint64_t)(leader + i % 2) << FLIGHT_SLOT_SHIFT;
}

TEST(flight__records_in_no_state__are_used_again)
{
	struct scene s = scene_new();

	scribble_flights(&s, 6, 0);
	CHECK_EQ(flights_to_be_had(&s), s.seg->geo.flight_count);
	scribble_flights(&s, 7, 99);
	CHECK_EQ(flights_to_be_had(&s), s.seg->geo.flight_count);
	CHECK_EQ(cache_stats(s.cache).doubtful, 2 * s.seg->geo.flight_count);
	scene_end(&s);
}

TEST(flight__records_whose_leader_is_nobody__are_used_again)
{
	static const enum flight_state states[] = { FLIGHT_CLAIMED, FLIGHT_LEAD,
		FLIGHT_RESULT };
	struct scene s = scene_new();

	for (unsigned i = 0; i < ARRAY_LENGTH(states); i++) {
		scribble_flights(&s, states[i], 4);
		CHECK_EQ(flights_to_be_had(&s), s.seg->geo.flight_count);
		scribble_flights(&s, states[i], 4000);
		CHECK_EQ(flights_to_be_had(&s), s.seg->geo.flight_count);
	}
	scene_end(&s);
}

/* Who waits must hold its slot. */
TEST(flight__wait_cells_of_nobody__hold_no_record)
{
	struct scene s = scene_new();

	scribble_flights(&s, FLIGHT_DONE, 0);
	for (unsigned i = 1; i < 8; i++)
		s.seg->participants[i].wait = i;
	CHECK_EQ(flight_waiters(s.seg, 3), 0);
	CHECK_EQ(flights_to_be_had(&s), s.seg->geo.flight_count);
	for (unsigned i = 1; i < 8; i++)
		s.seg->participants[i].wait = 0;
	scene_end(&s);
}
