/* SPDX-License-Identifier: BSD-2-Clause */
/* Permits: so many and no more, and none is free while somebody waits. */
#include "permit.h"

#include "inside.h"

#define HOUR_NS (3600ull * 1000000000)
#define FOR_EVER_NS (1ull << 62)

/* Two participants of one segment, in one thread. */
struct scene {
	struct shmc *cache;
	struct shmc *twin;
	struct member *a, *b;
	struct permits permits;
	struct flight_hold held[PERMITS_MAX]; /* by a */
	struct flight_hold hold;	      /* b's */
	_Atomic enum permit answer;
};

static struct scene *
scene_new(uint32_t count)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, 32);
	s->twin = cache_twin(s->cache);
	s->a = member_of(s->cache);
	s->b = member_of(s->twin);
	s->permits = (struct permits){ 0x1234567890abcdefull, count };
	return s;
}

static void
scene_end(struct scene *s)
{
	shmc_close(s->twin);
	shmc_close(s->cache);
}

static void
take_all(struct scene *s)
{
	for (uint32_t i = 0; i < s->permits.count; i++)
		CHECK_EQ(permit_enter(s->a, &s->permits, HOUR_NS, &s->held[i]),
		    PERMIT_HELD);
}

static void
give_back(struct scene *s, const struct flight_hold *hold)
{
	permit_give_back(s->a, &s->permits, hold);
}

/* One that b has not queued for. */
static struct flight_hold *
other_than_queued(struct scene *s)
{
	for (uint32_t i = 0; i < s->permits.count; i++)
		if (s->held[i].number != s->hold.number)
			return &s->held[i];
	REQUIRE(false);
	return NULL;
}

TEST(permit__all_taken__next_one_waits)
{
	struct scene *s = scene_new(3);

	take_all(s);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_WAITING);
	CHECK_EQ(permit_waiters(s->a, &s->permits), 1);
	CHECK_EQ(permit_await(s->b, &s->permits, 1, HOUR_NS, &s->hold),
	    PERMIT_LATE);
	CHECK_EQ(permit_waiters(s->a, &s->permits), 0);
	scene_end(s);
}

TEST(permit__given_back__is_free_again)
{
	struct scene *s = scene_new(PERMITS_MAX);

	take_all(s);
	give_back(s, &s->held[17]);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_HELD);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_WAITING);
	flight_leave(s->b);
	scene_end(s);
}

TEST(permit__the_one_queued_for_is_given_back__waiter_holds_it)
{
	struct scene *s = scene_new(2);

	take_all(s);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_WAITING);
	for (uint32_t i = 0; i < 2; i++)
		if (s->held[i].number == s->hold.number)
			give_back(s, &s->held[i]);
	CHECK_EQ(permit_await(s->b, &s->permits, FOR_EVER_NS, HOUR_NS,
	    &s->hold), PERMIT_HELD);
	scene_end(s);
}

/* Told so, not found by the back-stop: its deadline is over. */
TEST(permit__another_one_is_given_back__waiter_is_sent_to_it)
{
	struct scene *s = scene_new(4);

	take_all(s);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_WAITING);
	give_back(s, other_than_queued(s));
	CHECK_EQ(permit_await(s->b, &s->permits, 1, HOUR_NS, &s->hold),
	    PERMIT_AGAIN);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_HELD);
	CHECK_EQ(permit_waiters(s->a, &s->permits), 0);
	scene_end(s);
}

static void
enter_as_child(void *arg)
{
	struct scene *s = arg;

	atomic_store(&s->answer, permit_enter(member_of(s->cache), &s->permits,
	    HOUR_NS, &s->hold));
}

/* P1: who gives back has seen nobody, so the comer must see what was given. */
TEST(permit__given_back_while_one_queues__is_seen_by_it)
{
	struct scene *s = scene_new(2);
	pid_t comer;

	take_all(s);
	comer = run_stopped_at("flight_wait_cell", 1, enter_as_child, s);
	REQUIRE(comer != 0);
	give_back(s, &s->held[0]);
	give_back(s, &s->held[1]);
	continue_child(comer);
	CHECK_EQ(wait_child(comer), 0);
	CHECK(atomic_load(&s->answer) == PERMIT_HELD ||
	    atomic_load(&s->answer) == PERMIT_AGAIN);
	scene_end(s);
}

TEST(permit__given_back_after_one_queued__is_seen_by_it)
{
	struct scene *s = scene_new(4);
	pid_t comer;

	take_all(s);
	comer = run_stopped_at("flight_joined", 1, enter_as_child, s);
	REQUIRE(comer != 0);
	for (uint32_t i = 0; i < 4; i++)
		if (flight_waiters(s->a->seg, s->held[i].number) == 0)
			give_back(s, &s->held[i]);
	continue_child(comer);
	CHECK_EQ(wait_child(comer), 0);
	CHECK_EQ(atomic_load(&s->answer), PERMIT_HELD);
	scene_end(s);
}

static void
hold_and_die(void *arg)
{
	struct scene *s = arg;
	struct flight_hold hold;

	CHECK_EQ(permit_enter(member_of(s->cache), &s->permits, HOUR_NS, &hold),
	    PERMIT_HELD);
}

TEST(permit__holder_dead_and_not_reaped__is_free)
{
	struct scene *s = scene_new(2);

	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(wait_child(run_in_child(hold_and_die, s)), 0);
		CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
		    PERMIT_HELD);
		permit_give_back(s->b, &s->permits, &s->hold);
	}
	scene_end(s);
}

TEST(permit__lease_over__is_free_and_the_late_one_gives_nothing_back)
{
	struct scene *s = scene_new(1);
	struct flight_hold third;

	CHECK_EQ(permit_enter(s->a, &s->permits, 0, &s->held[0]), PERMIT_HELD);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_HELD);
	give_back(s, &s->held[0]);
	CHECK_EQ(permit_enter(s->a, &s->permits, HOUR_NS, &third),
	    PERMIT_WAITING);
	flight_leave(s->a);
	scene_end(s);
}

/* a waits for what b leads, and holds one of two permits. */
TEST(permit__holder_waits_for_us__another_queue_is_chosen)
{
	struct scene *s = scene_new(2);
	struct shmc *third = cache_twin(s->cache);
	struct flight_hold led, wait, held;

	CHECK_EQ(flight_enter(s->b, 99, HOUR_NS, true, &led), FLIGHT_LEADS);
	CHECK_EQ(permit_enter(s->a, &s->permits, HOUR_NS, &s->held[0]),
	    PERMIT_HELD);
	CHECK_EQ(permit_enter(member_of(third), &s->permits, HOUR_NS, &held),
	    PERMIT_HELD);
	CHECK_EQ(flight_enter(s->a, 99, HOUR_NS, true, &wait), FLIGHT_JOINS);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_WAITING);
	CHECK_EQ(s->hold.number, held.number);
	flight_leave(s->b);
	/* And if both do, it is a deadlock. */
	CHECK_EQ(flight_enter(member_of(third), 99, HOUR_NS, true, &wait),
	    FLIGHT_JOINS);
	CHECK_EQ(permit_enter(s->b, &s->permits, HOUR_NS, &s->hold),
	    PERMIT_CYCLE);
	CHECK_EQ(s->b->slot->wait, 0);
	flight_leave(s->a);
	flight_leave(member_of(third));
	shmc_close(third);
	scene_end(s);
}
