/* SPDX-License-Identifier: BSD-2-Clause */
/* R13 and R14 where another flight, a refresh or a promotion is under way. */
#include "inside.h"

#include "flight.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define TTL_MS 1000u

struct scene {
	struct shmc *cache;
	_Atomic unsigned loads;
	_Atomic unsigned end; /* loaders of a smaller number may end */
	_Atomic unsigned status[20];
	_Atomic unsigned role[10];
	_Atomic unsigned superseded;
	_Atomic int answer;
};

static struct scene *
scene_new(void)
{
	struct scene *s = shared_alloc(sizeof *s);
	struct shmc_options options = cache_options(4u << 20, 32);

	options.lease_ms = 60000;
	s->cache = cache_open(&options);
	check_miss(s->cache, "k"); /* we have a slot */
	return s;
}

/* "k" is "old" and stale. */
static struct scene *
scene_stale(void)
{
	struct scene *s = scene_new();
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = TTL_MS;
	terms.grace_ms = 1000000;
	REQUIRE_EQ(shmc_store(s->cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS,
	    0), SHMC_OK);
	let_pass(s->cache, 2 * TTL_MS);
	return s;
}

/* Gives its own number: "value-N". */
static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	unsigned number = atomic_fetch_add(&s->loads, 1);
	char value[32];
	int n = snprintf(value, sizeof value, "value-%u", number);

	while (atomic_load(&s->end) <= number)
		sleep_ms(1);
	atomic_store(&s->answer, (int)shmc_lead_value(lead, value, (size_t)n, 0,
	    NULL));
}

static void
note(struct scene *s, enum shmc_status status, struct shmc_view *view)
{
	atomic_fetch_add(&s->status[status], 1);
	atomic_fetch_add(&s->role[view->role], 1);
	if ((view->flags & SHMC_SUPERSEDED) != 0)
		atomic_fetch_add(&s->superseded, 1);
	shmc_view_release(view);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, "k", 1, NULL, load, s, &view), &view);
}

/* Leads, and is in its loader. */
static pid_t
leader(struct scene *s)
{
	unsigned loads = atomic_load(&s->loads);
	pid_t child = run_in_child(fetch, s);

	while (atomic_load(&s->loads) == loads)
		sleep_ms(1);
	return child;
}

/* Has joined, and sleeps. */
static pid_t
waiter(struct scene *s)
{
	uint64_t waits = cache_stats(s->cache).waits;
	pid_t child = run_in_child(fetch, s);

	while (cache_stats(s->cache).waits == waits)
		sleep_ms(1);
	return child;
}

static void
detach(struct scene *s)
{
	CHECK_EQ(shmc_detach(s->cache, "k", 1), SHMC_OK);
}

static void
invalidate(struct scene *s)
{
	CHECK_EQ(shmc_invalidate(s->cache, "k", 1), SHMC_OK);
}

typedef void change(struct scene *s);

static void
fetch_at_once(struct scene *s)
{
	atomic_store(&s->end, UINT32_MAX);
	fetch(s);
}

static void
end_scene(struct scene *s)
{
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
	shmc_close(s->cache);
}

/* ----------------------------------------------------- R13: which is stored --- */

TEST(contract__r13__newer_result_replaces_the_older_that_was_stored_first)
{
	struct scene *s = scene_new();
	pid_t older = leader(s), newer;

	detach(s);
	newer = leader(s);
	atomic_store(&s->end, 1);
	CHECK_EQ(wait_child(older), 0);
	check_get(s->cache, "k", "value-0"); /* nothing newer was stored yet */
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(newer), 0);
	check_get(s->cache, "k", "value-1");
	CHECK_EQ(atomic_load(&s->superseded), 0);
	end_scene(s);
}

/* Three, the two older ones ending in either order. */
static void
check_newest_of_three(unsigned first)
{
	struct scene *s = scene_stale();
	pid_t flights[3];

	flights[0] = leader(s);
	detach(s);
	flights[1] = leader(s);
	detach(s);
	flights[2] = leader(s);
	if (first == 1)
		kill(flights[0], SIGSTOP);
	atomic_store(&s->end, first + 1);
	CHECK_EQ(wait_child(flights[first]), 0);
	if (first == 1)
		kill(flights[0], SIGCONT);
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(flights[1 - first]), 0);
	check_get(s->cache, "k", "value-1");
	atomic_store(&s->end, 3);
	CHECK_EQ(wait_child(flights[2]), 0);
	check_get(s->cache, "k", "value-2");
	CHECK_EQ(cache_stats(s->cache).superseded, first == 1);
	end_scene(s);
}

TEST(contract__r13__newest_of_three_stays_whatever_the_order)
{
	check_newest_of_three(0);
	check_newest_of_three(1);
}

TEST(contract__r13__put_between_two_detached_results_stays)
{
	struct scene *s = scene_new();
	pid_t older = leader(s), newer;

	detach(s);
	newer = leader(s);
	atomic_store(&s->end, 1);
	CHECK_EQ(wait_child(older), 0);
	put(s->cache, "k", "put");
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(newer), 0);
	check_get(s->cache, "k", "put");
	CHECK_EQ(atomic_load(&s->superseded), 1);
	end_scene(s);
}

/* The older one dies between every two steps of its commit. */
TEST(contract__r13__older_one_killed_anywhere__newer_result_stays)
{
	bool killed = true;

	for (unsigned n = 1; killed; n++) {
		struct scene *s = scene_new();
		pid_t older, newer;
		bool leads;

		atomic_store(&s->end, 1);
		older = run_stopped_at(NULL, n, fetch, s);
		killed = older != 0;
		leads = atomic_load(&s->loads) == 1;
		if (killed && leads) {
			detach(s);
			newer = run_in_child(fetch, s);
			while (atomic_load(&s->loads) < 2 &&
			    atomic_load(&s->status[SHMC_OK]) == 0)
				sleep_ms(1);
			kill_child(older);
			(void)shmc_reap(s->cache); /* which may store it */
			atomic_store(&s->end, 2);
			CHECK_EQ(wait_child(newer), 0);
			check_get(s->cache, "k", atomic_load(&s->loads) == 2 ?
				"value-1" : "value-0");
		} else if (killed) {
			kill_child(older);
		}
		end_scene(s);
	}
}

/* Is detached, and ends once the newer one computes. */
static void
load_as_older(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_store(&s->loads, 1);
	detach(s);
	while (atomic_load(&s->loads) < 2)
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(lead, "value-0", 7, 0, NULL), SHMC_OK);
}

static void
fetch_as_older(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, "k", 1, NULL, load_as_older, s, &view),
	    &view);
}

static void
fetch_as_newer(void *arg)
{
	struct scene *s = arg;
	struct key key = key_from(s->cache, "k");

	while (atomic_load(&s->loads) < 1 ||
	    flight_find(member_of(s->cache), key.hash) != NO_FLIGHT)
		sleep_ms(1);
	fetch(s);
}

static bool
stop_older_once(unsigned n)
{
	struct scene *s = scene_new();
	pid_t newer = run_in_child(fetch_as_newer, s);
	pid_t older = run_stopped_at(NULL, n, fetch_as_older, s);
	bool computed = atomic_load(&s->loads) == 2;

	atomic_store(&s->end, 2);
	if (computed) {
		CHECK_EQ(wait_child(newer), 0);
		check_get(s->cache, "k", "value-1");
	}
	if (older != 0) {
		continue_child(older);
		CHECK_EQ(wait_child(older), 0);
	}
	if (!computed)
		CHECK_EQ(wait_child(newer), 0);
	check_get(s->cache, "k", "value-1");
	end_scene(s);
	return older != 0;
}

TEST(contract__r13__older_one_stopped_anywhere__newer_result_stays)
{
	unsigned n = 1;

	while (stop_older_once(n))
		n++;
	CHECK_GT(n, 20);
}

/* More than a line of flights has places for. */
#define STORM 40u

static void
change_in_a_storm(change *fn)
{
	static struct shmc_lead leads[STORM];
	struct scene *s = scene_new();
	struct shmc_view view;

	for (unsigned i = 0; i < STORM; i++) {
		REQUIRE_EQ(shmc_begin(s->cache, "k", 1, NULL, &view, &leads[i]),
		    SHMC_LEAD);
		fn(s);
	}
	fetch_at_once(s);
	for (unsigned i = 0; i < STORM; i++)
		CHECK_EQ(shmc_lead_value(&leads[i], "late", 4, 0, NULL),
		    SHMC_OK);
	check_get(s->cache, "k", "value-0");
	CHECK_EQ(cache_stats(s->cache).superseded, STORM);
	end_scene(s);
}

TEST(contract__r13__detached_again_and_again__the_next_caller_always_leads)
{
	change_in_a_storm(detach);
}

TEST(contract__r14__invalidated_again_and_again__the_next_caller_always_leads)
{
	change_in_a_storm(invalidate);
}

/* ------------------------------------------------------------ in a refresh --- */

TEST(contract__r13__detached_refresh__next_reader_starts_another)
{
	struct scene *s = scene_stale();
	pid_t older = leader(s), newer;

	fetch(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_STALE]), 1);
	detach(s);
	newer = leader(s);
	fetch(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_STALE]), 2);
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(older), 0);
	CHECK_EQ(wait_child(newer), 0);
	check_get(s->cache, "k", "value-1");
	end_scene(s);
}

TEST(contract__r14__invalidated_refresh__old_value_is_gone_and_nothing_stored)
{
	struct scene *s = scene_stale();
	pid_t older = leader(s), newer;

	invalidate(s);
	check_miss(s->cache, "k");
	atomic_store(&s->end, 1);
	CHECK_EQ(wait_child(older), 0);
	CHECK_EQ(atomic_load(&s->superseded), 1);
	check_miss(s->cache, "k");
	newer = leader(s);
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(newer), 0);
	check_get(s->cache, "k", "value-1");
	end_scene(s);
}

TEST(contract__r14__put_in_a_refresh_stays)
{
	struct scene *s = scene_stale();
	pid_t older = leader(s);

	put(s->cache, "k", "put");
	fetch(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_HIT]), 1);
	atomic_store(&s->end, 1);
	CHECK_EQ(wait_child(older), 0);
	check_get(s->cache, "k", "put");
	end_scene(s);
}

static void
load_and_refresh(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	invalidate(s);
	CHECK_EQ(shmc_lead_refresh(lead, 0, NULL), SHMC_OK);
	atomic_fetch_add(&s->loads, 1);
}

/* Not even by a loader that found it to be still right. */
TEST(contract__r14__refreshed_after_an_invalidation_is_not_stored)
{
	struct scene *s = scene_stale();
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_and_refresh, s, &view),
	    SHMC_OK);
	note(s, SHMC_OK, &view);
	CHECK_EQ(atomic_load(&s->superseded), 1);
	check_miss(s->cache, "k");
	end_scene(s);
}

/* ---------------------------------------------------------- in a promotion --- */

static void
load_for_ever(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	(void)lead;
	atomic_fetch_add(&s->loads, 1);
	for (;;)
		pause();
}

static void
fetch_for_ever(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	(void)!shmc_fetch(s->cache, "k", 1, NULL, load_for_ever, s, &view);
}

/*
 * A leader has died; its heir has stopped at the nth test point on its way; one
 * more waits.  0: there is no nth.
 */
static pid_t
heir_stopped_at(struct scene *s, unsigned n, pid_t *other)
{
	pid_t first = run_in_child(fetch_for_ever, s), heir;

	while (atomic_load(&s->loads) == 0)
		sleep_ms(1);
	*other = waiter(s);
	kill(*other, SIGSTOP); /* not before the heir */
	kill_child(first);
	heir = run_stopped_at(NULL, n, fetch, s);
	if (heir == 0) {
		kill_child(*other);
		return 0;
	}
	kill(*other, SIGCONT);
	return heir;
}

/* Then the change comes, then a newcomer. */
static bool
change_in_promotion(change *fn, unsigned n, bool *led)
{
	struct scene *s = scene_new();
	pid_t heir, other, newcomer;

	atomic_store(&s->end, 100);
	heir = heir_stopped_at(s, n, &other);
	if (heir == 0) {
		end_scene(s);
		return false;
	}
	fn(s);
	newcomer = run_in_child(fetch, s);
	CHECK_EQ(wait_child(newcomer), 0);
	continue_child(heir);
	CHECK_EQ(wait_child(heir), 0);
	CHECK_EQ(wait_child(other), 0);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 3);
	*led |= atomic_load(&s->role[SHMC_ROLE_PROMOTED]) > 0;
	end_scene(s);
	return true;
}

TEST(contract__r13__detached_at_any_point_of_a_promotion__all_are_served)
{
	bool led = false;
	unsigned n = 1;

	while (change_in_promotion(detach, n, &led))
		n++;
	CHECK_GT(n, 10);
	CHECK(led);
}

TEST(contract__r14__invalidated_at_any_point_of_a_promotion__all_are_served)
{
	bool led = false;
	unsigned n = 1;

	while (change_in_promotion(invalidate, n, &led))
		n++;
	CHECK_GT(n, 10);
	CHECK(led);
}

TEST(contract__r14__invalidated_once_promoted__is_not_stored_and_told_so)
{
	struct scene *s = scene_new();
	pid_t first = leader(s), heir = waiter(s), other = waiter(s);

	kill_child(first);
	while (atomic_load(&s->loads) < 2)
		sleep_ms(1);
	invalidate(s);
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(heir), 0);
	CHECK_EQ(wait_child(other), 0);
	CHECK_EQ(atomic_load(&s->superseded), 2);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PROMOTED]), 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_SHARED]), 1);
	check_miss(s->cache, "k");
	end_scene(s);
}

/* The flag that a dead leader's flight has is its heir's, too. */
TEST(contract__r14__invalidated_before_the_promotion__is_not_stored_either)
{
	struct scene *s = scene_new();
	pid_t first = leader(s), heir = waiter(s);

	invalidate(s);
	kill_child(first);
	atomic_store(&s->end, 2);
	CHECK_EQ(wait_child(heir), 0);
	CHECK_EQ(atomic_load(&s->superseded), 1);
	check_miss(s->cache, "k");
	end_scene(s);
}
