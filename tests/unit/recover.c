/* SPDX-License-Identifier: BSD-2-Clause */
/* Repairs after a death: each thing that the dead can leave, given back. */
#include "recover.h"

#include "evict.h"
#include "flight.h"
#include "grace.h"
#include "index.h"
#include "inside.h"

#include <signal.h>
#include <unistd.h>

#define HASH 0x1234567890abcdefull
#define HOUR_NS (3600ull * 1000000000)

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
	struct flight_hold hold;
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

TEST(recover__owner_alive__is_let_alone)
{
	struct scene s = scene_new();
	struct shmc *twin = cache_twin(s.cache);
	uint32_t index = member_of(twin)->index;

	put(twin, "k", "v");
	CHECK(!recover_reap(s.me, index));
	CHECK_EQ(recover_reap_all(s.me), 0);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 1);
	shmc_close(twin);
	scene_end(&s);
}

static void
put_some(void *arg)
{
	struct scene *s = arg;

	put(s->cache, "k", "v");
}

TEST(recover__open_block_of_the_dead__is_sealed_and_its_entries_stay)
{
	struct scene s = scene_new();

	REQUIRE(run_killed_at("store_linked", 1, put_some, &s));
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 1);
	CHECK_EQ(recover_reap_all(s.me), 1);
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 0);
	CHECK_EQ(blocks_in(s.cache, BLOCK_SEALED), 1);
	check_get(s.cache, "k", "v");
	scene_end(&s);
}

static void
evict_one(void *arg)
{
	struct scene *s = arg;
	uint32_t block;

	/* Every block is sealed: one must be given up. */
	(void)evict_open_block(member_of(s->cache), BLOCK_LOG, &block);
}

static void
seal_all(struct scene *s)
{
	for (uint32_t i = 0; i < s->seg->geo.block_count; i++) {
		REQUIRE(block_open(s->me, i, block_word(s->cache, i),
		    BLOCK_LOG));
		block_close(s->seg, i);
	}
}

TEST(recover__block_that_the_dead_evicted__is_sealed_again)
{
	struct scene s = scene_new();

	seal_all(&s);
	REQUIRE(run_killed_at("evict_begun", 1, evict_one, &s));
	CHECK_EQ(blocks_in(s.cache, BLOCK_EVICTING), 1);
	CHECK_EQ(recover_reap_all(s.me), 1);
	CHECK_EQ(blocks_in(s.cache, BLOCK_EVICTING), 0);
	CHECK_EQ(blocks_in(s.cache, BLOCK_SEALED), s.seg->geo.block_count);
	scene_end(&s);
}

static void
hold_everything(void *arg)
{
	struct scene *s = arg;
	struct member *me = member_of(s->cache);

	for (unsigned i = 0; i < PINS; i++)
		CHECK_GE(grace_pin(me, entry_word(i, 0)), 0);
	grace_enter(me);
	atomic_store(&me->slot->wait, 1);
	kill(getpid(), SIGKILL);
}

TEST(recover__section_pins_and_wait_cell_of_the_dead__are_cleared)
{
	struct scene s = scene_new();
	struct participant *slot = &s.seg->participants[1];

	CHECK_EQ(wait_child(run_in_child(hold_everything, &s)), -SIGKILL);
	CHECK_NE(slot->epoch, EPOCH_IDLE);
	CHECK(recover_reap(s.me, 1));
	CHECK_EQ(slot->epoch, EPOCH_IDLE);
	CHECK_EQ(slot->wait, 0);
	for (unsigned i = 0; i < PINS; i++)
		CHECK_EQ(slot->pins[i], 0);
	CHECK_EQ(slot->life.futex, 0);
	scene_end(&s);
}

TEST(recover__reaped__is_not_reaped_again)
{
	struct scene s = scene_new();

	CHECK_EQ(wait_child(run_in_child(hold_everything, &s)), -SIGKILL);
	CHECK(recover_reap(s.me, 1));
	CHECK(!recover_reap(s.me, 1));
	CHECK_EQ(cache_stats(s.cache).reaped, 1);
	scene_end(&s);
}

static void
lead(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(flight_enter(member_of(s->cache), HASH, HOUR_NS, true, &s->hold),
	    FLIGHT_LEADS);
}

static enum flight_state
state_of(const struct scene *s, uint32_t number)
{
	return flight_state(s->seg->flights[number].word);
}

/* A record in DONE is as good as FREE for whoever claims one. */
static unsigned
flights_under_way(const struct scene *s)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->seg->geo.flight_count; i++)
		n += state_of(s, i) != FLIGHT_FREE &&
		    state_of(s, i) != FLIGHT_DONE;
	return n;
}

TEST(recover__flight_claimed_by_the_dead__is_free)
{
	struct scene s = scene_new();

	REQUIRE(run_killed_at("flight_claimed", 1, lead, &s));
	CHECK_EQ(flights_under_way(&s), 1);
	CHECK_EQ(recover_reap_all(s.me), 1);
	CHECK_EQ(flights_under_way(&s), 0);
	scene_end(&s);
}

TEST(recover__flight_led_by_the_dead_without_waiters__is_free)
{
	struct scene s = scene_new();

	REQUIRE(run_killed_at("flight_led", 1, lead, &s));
	CHECK_EQ(recover_reap_all(s.me), 1);
	CHECK_EQ(flights_under_way(&s), 0);
	CHECK_EQ(flight_enter(s.me, HASH, HOUR_NS, true, &s.hold), FLIGHT_LEADS);
	CHECK(flight_abandon(s.me, &s.hold));
	scene_end(&s);
}

TEST(recover__flight_led_by_the_dead_with_a_waiter__awaits_a_leader)
{
	struct scene s = scene_new();

	REQUIRE(run_killed_at("flight_led", 1, lead, &s));
	CHECK_EQ(flight_enter(s.me, HASH, HOUR_NS, true, &s.hold), FLIGHT_JOINS);
	CHECK_EQ(recover_reap_all(s.me), 1);
	CHECK_EQ(state_of(&s, s.hold.number), FLIGHT_ORPHAN);
	CHECK_EQ(flight_await(s.me, &s.hold, 1ull << 62, HOUR_NS),
	    FLIGHT_PROMOTED);
	CHECK(flight_abandon(s.me, &s.hold));
	scene_end(&s);
}

static void
load_v(struct shmc_lead *lead_handle, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead_handle, "v", 1, 0, NULL), SHMC_OK);
}

static void
fetch_k(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_v, NULL, &view),
	    SHMC_OK);
	shmc_view_release(&view);
}

TEST(recover__committed_and_not_linked__the_reaper_links)
{
	struct scene s = scene_new();

	REQUIRE(run_killed_at("flight_committed", 1, fetch_k, &s));
	check_miss(s.cache, "k");
	CHECK_EQ(recover_reap_all(s.me), 1);
	check_get(s.cache, "k", "v");
	CHECK_EQ(flights_under_way(&s), 0);
	scene_end(&s);
}

TEST(recover__committed_but_superseded__is_not_linked)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");

	REQUIRE(run_killed_at("flight_committed", 1, fetch_k, &s));
	flight_supersede(s.me, key.hash);
	CHECK_EQ(recover_reap_all(s.me), 1);
	check_miss(s.cache, "k");
	CHECK_EQ(flights_under_way(&s), 0);
	scene_end(&s);
}

static void
reap_all(void *arg)
{
	struct scene *s = arg;

	(void)recover_reap_all(member_of(s->cache));
}

/* Killed at each step of a repair in turn, the next reaper completes it. */
TEST(recover__reaper_killed_anywhere__the_next_one_completes)
{
	bool killed = true;
	unsigned n;

	for (n = 1; killed; n++) {
		struct scene s = scene_new();

		REQUIRE(run_killed_at("flight_committed", 1, fetch_k, &s));
		killed = run_killed_at(NULL, n, reap_all, &s);
		while (recover_reap_all(s.me) > 0)
			;
		CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 0);
		CHECK_EQ(flights_under_way(&s), 0);
		check_get(s.cache, "k", "v");
		scene_end(&s);
	}
	CHECK_GT(n, 5);
}

TEST(recover__repaired_twice__is_the_same_as_once)
{
	struct scene s = scene_new();

	put(s.cache, "k", "v");
	recover_repair(s.me, s.me->index);
	recover_repair(s.me, s.me->index);
	s.me->log.block = NO_BLOCK; /* sealed by the repair */
	check_get(s.cache, "k", "v");
	CHECK_EQ(blocks_in(s.cache, BLOCK_OPEN), 0);
	scene_end(&s);
}
