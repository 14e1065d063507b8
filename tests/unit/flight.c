/* SPDX-License-Identifier: BSD-2-Clause */
/* Flights: one leader, everybody served, late leaders refused. */
#include "flight.h"

#include "index.h"
#include "inside.h"
#include "testpoint.h"

#include <signal.h>
#include <unistd.h>

#define HASH 0x1234567890abcdefull
#define OTHER_HASH 0xfedcba0987654321ull
#define HOUR_NS (3600ull * 1000000000)
#define FOR_EVER_NS (1ull << 62)

/* Two participants of one segment, in one thread. */
struct scene {
	struct shmc *cache;
	struct shmc *twin;
	struct member *a, *b;
	struct flight_hold hold_a, hold_b;
	struct key key;
	bool superseded;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 8) };

	s.twin = cache_twin(s.cache);
	s.a = member_of(s.cache);
	s.b = member_of(s.twin);
	s.key = key_from(s.cache, "k");
	return s;
}

static void
scene_end(struct scene *s)
{
	shmc_close(s->twin);
	shmc_close(s->cache);
}

/* a leads; b has joined. */
static void
lead_and_join(struct scene *s)
{
	CHECK_EQ(flight_enter(s->a, HASH, HOUR_NS, true, &s->hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s->b, HASH, HOUR_NS, true, &s->hold_b), FLIGHT_JOINS);
}

static enum flight_event
await(struct scene *s)
{
	return flight_await(s->b, &s->hold_b, FOR_EVER_NS, HOUR_NS);
}

static uint64_t
flight_word(const struct scene *s, const struct flight_hold *hold)
{
	return s->a->seg->flights[hold->number].word;
}

TEST(flight__nobody_leads__comer_leads)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK(flight_leads(s.a->seg, &s.hold_a));
	CHECK_EQ(flight_leader(flight_word(&s, &s.hold_a)), s.a->index);
	scene_end(&s);
}

/* Twenty of one pair of lines, which has sixteen places. */
TEST(flight__pair_full_of_orphans__comer_leads)
{
	struct scene s = scene_new();
	struct flight_hold hold;

	for (uint64_t i = 0; i < 20; i++) {
		uint64_t hash = HASH ^ i << 20;

		s.a->last_flight = (uint32_t)i; /* as if each were another's */
		CHECK_EQ(flight_enter(s.a, hash, HOUR_NS, true, &s.hold_a),
		    FLIGHT_LEADS);
		CHECK_EQ(flight_enter(s.b, hash, HOUR_NS, true, &s.hold_b),
		    FLIGHT_JOINS);
		flight_leave(s.b);
		CHECK(flight_abandon(s.a, &s.hold_a));
		CHECK_EQ(flight_state(flight_word(&s, &s.hold_a)),
		    FLIGHT_ORPHAN);
	}
	/* What somebody waits for is not swept. */
	CHECK_EQ(flight_enter(s.b, HASH ^ 19ull << 20, HOUR_NS, true,
	    &s.hold_b), FLIGHT_JOINS);
	for (uint64_t i = 20; i < 34; i++)
		CHECK_EQ(flight_enter(s.a, HASH ^ i << 20, HOUR_NS, true, &hold),
		    FLIGHT_LEADS);
	CHECK_EQ(await(&s), FLIGHT_PROMOTED);
	scene_end(&s);
}

TEST(flight__somebody_leads__comer_joins)
{
	struct scene s = scene_new();

	lead_and_join(&s);
	CHECK_EQ(s.hold_b.number, s.hold_a.number);
	CHECK_EQ(s.hold_b.rank, 1);
	CHECK_EQ(s.b->slot->wait, s.hold_a.number + 1);
	CHECK_EQ(flight_waiters(s.a->seg, s.hold_a.number), 1);
	scene_end(&s);
}

TEST(flight__other_hash__is_another_flight)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.b, OTHER_HASH, HOUR_NS, true, &s.hold_b),
	    FLIGHT_LEADS);
	CHECK_NE(s.hold_a.number, s.hold_b.number);
	scene_end(&s);
}

/* The same tag, pair and home, but not the same hash. */
TEST(flight__hash_of_the_same_tag__is_another_flight)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.b, HASH ^ 1ull << 20, HOUR_NS, true, &s.hold_b),
	    FLIGHT_LEADS);
	scene_end(&s);
}

TEST(flight__committed__waiter_gets_the_result)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	lead_and_join(&s);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	CHECK_EQ(await(&s), FLIGHT_SERVED);
	CHECK_EQ(flight_result(s.b, &s.hold_b, &s.superseded), entry);
	CHECK(!s.superseded);
	flight_finish(s.a, s.hold_a.number);
	CHECK_EQ(await(&s), FLIGHT_SERVED); /* still there: we are joined */
	CHECK_EQ(flight_result(s.b, &s.hold_b, &s.superseded), entry);
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__result_not_yet_finished__comer_joins_and_is_served)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK_EQ(await(&s), FLIGHT_SERVED);
	flight_leave(s.b);
	flight_finish(s.a, s.hold_a.number);
	scene_end(&s);
}

TEST(flight__finished__next_comer_leads_a_new_one)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	flight_finish(s.a, s.hold_a.number);
	CHECK_EQ(flight_state(flight_word(&s, &s.hold_a)), FLIGHT_FREE);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_LEADS);
	scene_end(&s);
}

/* A record is not reused while a waiter may read its result. */
TEST(flight__waiter_has_not_left__record_is_not_claimed)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);
	struct flight_hold next;

	lead_and_join(&s);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	flight_finish(s.a, s.hold_a.number);
	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &next), FLIGHT_LEADS);
	CHECK_NE(next.number, s.hold_a.number);
	CHECK_EQ(flight_result(s.b, &s.hold_b, &s.superseded), entry);
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__cancelled__waiter_looks_again)
{
	struct scene s = scene_new();

	lead_and_join(&s);
	CHECK(flight_cancel(s.a, &s.hold_a));
	CHECK_EQ(await(&s), FLIGHT_SERVED);
	CHECK_EQ(flight_result(s.b, &s.hold_b, &s.superseded), 0);
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__abandoned__waiter_leads_and_the_old_leader_is_fenced)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	lead_and_join(&s);
	CHECK(flight_abandon(s.a, &s.hold_a));
	CHECK_EQ(await(&s), FLIGHT_PROMOTED);
	CHECK(flight_leads(s.b->seg, &s.hold_b));
	CHECK_EQ(s.b->slot->wait, 0);
	CHECK(!flight_commit(s.a, &s.hold_a, entry));
	CHECK(!flight_abandon(s.a, &s.hold_a));
	CHECK(!flight_cancel(s.a, &s.hold_a));
	CHECK(!flight_extend(s.a, &s.hold_a, HOUR_NS));
	CHECK(flight_leads(s.b->seg, &s.hold_b));
	scene_end(&s);
}

TEST(flight__abandoned_without_waiters__is_free)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK(flight_abandon(s.a, &s.hold_a));
	CHECK_EQ(flight_state(flight_word(&s, &s.hold_a)), FLIGHT_FREE);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_LEADS);
	scene_end(&s);
}

TEST(flight__record_used_again__token_of_before_is_fenced)
{
	struct scene s = scene_new();
	struct flight_hold again;

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK(flight_abandon(s.a, &s.hold_a));
	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &again), FLIGHT_LEADS);
	CHECK_EQ(again.number, s.hold_a.number);
	CHECK(!flight_commit(s.a, &s.hold_a, WORD_LIVE | 1));
	CHECK(flight_leads(s.a->seg, &again));
	scene_end(&s);
}

TEST(flight__lease_over__waiter_leads_and_the_leader_is_fenced)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	CHECK_EQ(flight_enter(s.a, HASH, 1000, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK_EQ(await(&s), FLIGHT_PROMOTED);
	CHECK(!flight_commit(s.a, &s.hold_a, entry));
	CHECK(!flight_extend(s.a, &s.hold_a, HOUR_NS));
	CHECK(flight_commit(s.b, &s.hold_b, entry));
	scene_end(&s);
}

TEST(flight__lease_over_but_nobody_waits__leader_commits)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1);

	CHECK_EQ(flight_enter(s.a, HASH, 1000, true, &s.hold_a), FLIGHT_LEADS);
	sleep_ms(1);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	scene_end(&s);
}

TEST(flight__lease_extended__waiter_keeps_waiting)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, 1000, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK(flight_extend(s.a, &s.hold_a, HOUR_NS));
	CHECK_EQ(flight_await(s.b, &s.hold_b, now_ns() + 20000000, HOUR_NS),
	    FLIGHT_LATE);
	CHECK(flight_leads(s.a->seg, &s.hold_a));
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__deadline_passed__waiter_may_go)
{
	struct scene s = scene_new();

	lead_and_join(&s);
	CHECK_EQ(flight_await(s.b, &s.hold_b, 1, HOUR_NS), FLIGHT_LATE);
	flight_leave(s.b);
	CHECK_EQ(flight_waiters(s.a->seg, s.hold_a.number), 0);
	CHECK(flight_leads(s.a->seg, &s.hold_a));
	scene_end(&s);
}

/* Each doze of the waiter meets a word that has just changed, `wakes` times. */
static struct {
	_Atomic uint64_t *word;
	unsigned wakes;
	unsigned dozes;
} waked;

static void
wake_early(const char *name)
{
	if (strcmp(name, "flight_dozes") == 0 && waked.dozes++ < waked.wakes)
		atomic_fetch_xor(waked.word, FLIGHT_SUPERSEDED);
}

/* The back-stop doubles each time: it must not double away to nothing. */
TEST(flight__waked_again_and_again__waiter_goes_on_sleeping)
{
	struct scene s = scene_new();

	lead_and_join(&s);
	waked.word = &s.a->seg->flights[s.hold_a.number].word;
	waked.wakes = 100;
	shmc_testpoint_hook = wake_early;
	CHECK_EQ(flight_await(s.b, &s.hold_b, now_ns() + 200 * 1000000ull,
	    HOUR_NS), FLIGHT_LATE);
	shmc_testpoint_hook = NULL;
	CHECK_GE(waked.dozes, waked.wakes);
	CHECK_LE(waked.dozes, waked.wakes + 10);
	scene_end(&s);
}

TEST(flight__own_flight_awaited__is_a_cycle)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK_EQ(flight_await(s.a, &s.hold_b, FOR_EVER_NS, HOUR_NS),
	    FLIGHT_CYCLE);
	flight_leave(s.a);
	CHECK(flight_leads(s.a->seg, &s.hold_a));
	scene_end(&s);
}

TEST(flight__two_await_each_other__is_a_cycle)
{
	struct scene s = scene_new();
	struct flight_hold led;

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.b, OTHER_HASH, HOUR_NS, true, &led), FLIGHT_LEADS);
	CHECK_EQ(flight_enter(s.a, OTHER_HASH, HOUR_NS, true, &s.hold_a),
	    FLIGHT_JOINS);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK_EQ(await(&s), FLIGHT_CYCLE);
	flight_leave(s.a);
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__superseded__is_not_joined_and_not_stored)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1), old;
	struct line_guard guard;
	struct flight_hold next;
	_Atomic uint64_t *at;
	struct entry_view view;

	lead_and_join(&s);
	flight_supersede(s.a, HASH);
	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &next), FLIGHT_LEADS);
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	guard = flight_guard(s.a->seg, &s.hold_a);
	CHECK_EQ(index_link(s.a, &s.key, entry, NULL, &guard, &old),
	    LINE_GUARDED);
	CHECK_EQ(index_find(s.a->seg, &s.key, &view, &at), WORD_EMPTY);
	CHECK_EQ(await(&s), FLIGHT_SERVED);
	CHECK_EQ(flight_result(s.b, &s.hold_b, &s.superseded), entry);
	CHECK(s.superseded);
	flight_leave(s.b);
	flight_finish(s.a, s.hold_a.number);
	CHECK(flight_leads(s.a->seg, &next));
	scene_end(&s);
}

TEST(flight__not_superseded__guard_lets_it_be_stored)
{
	struct scene s = scene_new();
	uint64_t entry = entry_new(s.a, &s.key, "v", 1), old;
	struct line_guard guard;

	lead_and_join(&s); /* WAITERS is no reason */
	CHECK(flight_commit(s.a, &s.hold_a, entry));
	guard = flight_guard(s.a->seg, &s.hold_a);
	CHECK_EQ(index_link(s.a, &s.key, entry, NULL, &guard, &old), LINE_SET);
	flight_leave(s.b);
	flight_finish(s.a, s.hold_a.number);
	scene_end(&s);
}

TEST(flight__other_hash_superseded__ours_is_not)
{
	struct scene s = scene_new();

	CHECK_EQ(flight_enter(s.a, HASH, HOUR_NS, true, &s.hold_a), FLIGHT_LEADS);
	flight_supersede(s.a, OTHER_HASH);
	flight_supersede(s.a, HASH ^ 1ull << 20);
	CHECK_EQ(flight_word(&s, &s.hold_a) & FLIGHT_FLAGS, 0);
	scene_end(&s);
}

static void
lead_and_die(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(flight_enter(member_of(s->cache), HASH, HOUR_NS, true, &s->hold_a),
	    FLIGHT_LEADS);
	kill(getpid(), SIGKILL);
}

TEST(flight__leader_dead__comer_is_promoted)
{
	struct scene s = scene_new();

	CHECK_EQ(wait_child(run_in_child(lead_and_die, &s)), -SIGKILL);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	CHECK_EQ(await(&s), FLIGHT_PROMOTED);
	CHECK(flight_leads(s.b->seg, &s.hold_b));
	scene_end(&s);
}

static void
die_when_done(const char *name)
{
	if (strcmp(name, "flight_done") == 0)
		kill(getpid(), SIGKILL);
}

static void
lead_and_die_when_done(void *arg)
{
	struct scene *s = arg;
	struct member *me = member_of(s->cache);
	struct flight_hold hold;

	CHECK_EQ(flight_enter(me, HASH, HOUR_NS, true, &hold), FLIGHT_LEADS);
	shmc_testpoint_hook = die_when_done;
	CHECK(flight_commit(me, &hold, entry_new(me, &s->key, "v", 1)));
	flight_finish(me, hold.number);
}

/* The leader of who dozes, stopped until then; how often everybody was woken. */
static pid_t dozers_leader;
static unsigned wakes;

static void
let_it_die(const char *name)
{
	wakes += strcmp(name, "flight_woken") == 0;
	if (strcmp(name, "flight_dozes") != 0 || dozers_leader == 0)
		return;
	continue_child(dozers_leader);
	CHECK_EQ(wait_child(dozers_leader), -SIGKILL);
	dozers_leader = 0;
}

/* The kernel wakes one of those who watch the dead leader's life. */
TEST(flight__leader_killed_before_it_wakes__who_wakes_wakes_the_others)
{
	struct scene s = scene_new();

	dozers_leader = run_stopped_at("flight_led", 1, lead_and_die_when_done,
	    &s);
	REQUIRE(dozers_leader != 0);
	CHECK_EQ(flight_enter(s.b, HASH, HOUR_NS, true, &s.hold_b), FLIGHT_JOINS);
	shmc_testpoint_hook = let_it_die;
	CHECK_EQ(await(&s), FLIGHT_SERVED);
	shmc_testpoint_hook = NULL;
	CHECK_EQ(dozers_leader, 0);
	CHECK_EQ(wakes, 1);
	flight_leave(s.b);
	scene_end(&s);
}

/* Its slot has been taken 2^20 times: more than a word's bits can tell. */
TEST(flight__leader_of_a_late_incarnation__is_alive)
{
	struct scene s = scene_new();

	CHECK_EQ(shmc_detach_thread(s.cache), 0);
	s.b->seg->participants[0].incarnation = INCARNATION_MASK;
	s.a = member_of(s.cache);
	CHECK_EQ(s.a->incarnation, INCARNATION_MASK + 1);
	lead_and_join(&s);
	CHECK_EQ(flight_await(s.b, &s.hold_b, 1, HOUR_NS), FLIGHT_LATE);
	flight_leave(s.b);
	scene_end(&s);
}

TEST(flight__every_record_taken__comer_is_told)
{
	struct scene s = scene_new();
	struct flight_hold hold;
	uint32_t led = 0;

	for (uint64_t h = 1; h < 100000 && led < s.a->seg->geo.flight_count;
	     h++)
		led += flight_enter(s.a, h * 0x9e3779b97f4a7c15ull, HOUR_NS,
			   true, &hold) == FLIGHT_LEADS;
	CHECK_EQ(led, s.a->seg->geo.flight_count);
	CHECK_EQ(flight_enter(s.b, 7, HOUR_NS, true, &hold), FLIGHT_FULL);
	scene_end(&s);
}

struct race {
	struct shmc *cache;
	struct test_barrier turn;
	unsigned rounds;
	_Atomic unsigned leaders;
	_Atomic uint64_t result;
};

#define RACERS 4u

static void
serve(struct race *r, struct member *me, struct flight_hold *hold)
{
	struct key key = key_from(r->cache, "k");
	uint64_t entry = entry_new(me, &key, "v", 1);

	atomic_fetch_add(&r->leaders, 1);
	atomic_store(&r->result, entry);
	CHECK(flight_commit(me, hold, entry));
	flight_finish(me, hold->number);
}

/* All enter at once; in each round one leads and the others get its entry. */
static void
enter_at_once(unsigned index, void *arg)
{
	struct race *r = arg;
	struct member *me = member_of(r->cache);

	for (unsigned i = 0; i < r->rounds; i++) {
		struct flight_hold hold;
		bool superseded;
		enum flight_entry entry;

		test_barrier_meet(&r->turn);
		entry = flight_enter(me, HASH, HOUR_NS, true, &hold);
		if (entry == FLIGHT_LEADS)
			serve(r, me, &hold);
		if (entry == FLIGHT_JOINS) {
			CHECK_EQ(flight_await(me, &hold, FOR_EVER_NS, HOUR_NS),
			    FLIGHT_SERVED);
			CHECK((flight_result(me, &hold, &superseded) &
				  WORD_LIVE) != 0);
			flight_leave(me);
		}
		test_barrier_meet(&r->turn);
		if (index == 0)
			CHECK_GE(atomic_exchange(&r->leaders, 0), 1);
	}
}

TEST(flight_race__all_enter__who_joins_is_served)
{
	struct race *r = shared_alloc(sizeof *r);

	r->cache = cache_new(1u << 20, 8);
	r->rounds = test_rounds(1000);
	test_barrier_init(&r->turn, RACERS);
	run_threads(RACERS, enter_at_once, r);
	cache_audit(r->cache);
	shmc_close(r->cache);
}
