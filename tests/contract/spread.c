/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R17, R18: early refreshes and jitter.  Both are dice: each bound says how often
 * a right library would miss it.
 */
#include "inside.h"

#include "index.h"
#include "lead.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define TTL_MS 1000000u
#define NS_PER_US 1000u

struct scene {
	struct shmc *cache;
	struct shmc_wait wait;
	uint64_t cost_us; /* what the loader pretends to have taken */
	_Atomic unsigned loads;
	_Atomic unsigned roles[10];
	_Atomic bool release;
	_Atomic uint64_t lasts_ms[4];
	_Atomic uint64_t decided[2]; /* a bit for each fetch: early */
};

static struct scene *
scene_new(uint32_t early_percent)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, 32);
	s->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	s->wait.early_percent = early_percent;
	return s;
}

/* The key's entry, which nobody changes meanwhile. */
static struct entry_view
entry_of(struct shmc *cache, const char *text)
{
	struct key key = key_from(cache, text);
	struct entry_view view;
	_Atomic uint64_t *at;

	REQUIRE(index_find(&cache->seg, &key, &view, &at) != WORD_EMPTY);
	return view;
}

static uint32_t
cost_of(struct shmc *cache, const char *text)
{
	struct entry_view view = entry_of(cache, text);

	return view.extra == NULL ? 0 : load_relaxed(&view.extra->cost_us);
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	lead_of(lead)->started_ns -= s->cost_us * NS_PER_US;
	CHECK_EQ(shmc_lead_value(lead, "value", 5, TTL_MS, NULL), SHMC_OK);
}

static void
fetch_with(struct scene *s, shmc_loader *loader)
{
	struct shmc_view view;

	REQUIRE_EQ(shmc_fetch(s->cache, "k", 1, &s->wait, loader, s, &view),
	    SHMC_OK);
	CHECK_MEM(view.data, "value", 5);
	atomic_fetch_add(&s->roles[view.role], 1);
	shmc_view_release(&view);
}

static void
fetch(void *arg)
{
	fetch_with(arg, load);
}

/* "k" cost so much, and is fresh for so long. */
static void
make(struct scene *s, uint64_t cost_us, uint64_t fresh_ms)
{
	s->cost_us = cost_us;
	fetch(s);
	s->cost_us = 0;
	CHECK_GE(cost_of(s->cache, "k"), cost_us);
	let_pass(s->cache, TTL_MS - fresh_ms);
	atomic_store(&s->loads, 0);
}

/* ---------------------------------------------------------- R17: its cost --- */

TEST(contract__r17__cost_of_the_computation_is_stored_with_the_value)
{
	struct scene *s = scene_new(100);
	uint64_t slow_us = 5000000;

	s->cost_us = slow_us;
	fetch(s);
	CHECK_GE(cost_of(s->cache, "k"), slow_us);
	/* Beyond what the machine may have added. */
	CHECK_LT(cost_of(s->cache, "k"), slow_us + 100000000);
	/* It is that of the last one. */
	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_OK);
	s->cost_us = 0;
	fetch(s);
	CHECK_GT(cost_of(s->cache, "k"), 0);
	CHECK_LT(cost_of(s->cache, "k"), slow_us);
}

TEST(contract__r17__longest_cost_is_held_not_wrapped)
{
	struct scene *s = scene_new(100);

	s->cost_us = 1ull << 33;
	fetch(s);
	CHECK_EQ(cost_of(s->cache, "k"), UINT32_MAX);
}

static void
load_nothing(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	(void)lead;
	atomic_fetch_add(&s->loads, 1);
}

/* How many of n fetches refresh early; the value stays as it was. */
static unsigned
early_of(struct scene *s, unsigned n)
{
	unsigned before = atomic_load(&s->loads);

	for (unsigned i = 0; i < n; i++)
		fetch_with(s, load_nothing);
	return atomic_load(&s->loads) - before;
}

TEST(contract__r17__without_beta_nobody_refreshes_early)
{
	struct scene *s = scene_new(100);

	make(s, UINT32_MAX, 100000);
	s->wait.early_percent = 0;
	CHECK_EQ(early_of(s, 10000), 0);
	CHECK_EQ(cache_stats(s->cache).early, 0);
}

TEST(contract__r17__without_a_ttl_or_a_cost_nobody_refreshes_early)
{
	struct scene *s = scene_new(0);

	fetch(s); /* no cost: its leader was not asked for it */
	CHECK_EQ(cost_of(s->cache, "k"), 0);
	s->wait.early_percent = 10000;
	let_pass(s->cache, TTL_MS - 100);
	atomic_store(&s->loads, 0);
	CHECK_EQ(early_of(s, 1000), 0);
	put(s->cache, "k", "value");
	CHECK_EQ(early_of(s, 1000), 0);
}

/*
 * XFetch's law: with so much freshness left, exp(-left / (cost * beta)).  n
 * fetches hit the mean within 7 deviations but once in 10^11; the rest is for
 * the second that the test takes of TTL_MS.
 */
static void
check_law(uint64_t cost_us, uint32_t early_percent)
{
	struct scene *s = scene_new(early_percent);
	unsigned n = test_rounds(10000);
	double left_ms = TTL_MS / 2.0, probability, deviation;
	double early;

	make(s, cost_us, TTL_MS / 2);
	probability = exp(-left_ms /
	    ((double)cost_us / 1000 * early_percent / 100));
	early = early_of(s, n);
	deviation = sqrt(n * probability * (1 - probability));
	CHECK(fabs(early - n * probability) <= 7 * deviation + n / 100.0);
	CHECK_EQ(cache_stats(s->cache).early, early);
	shmc_close(s->cache);
}

TEST(contract__r17__probability_grows_with_cost_and_beta)
{
	check_law(100000000, 100);  /* exp(-5): one in 148 */
	check_law(250000000, 100);  /* exp(-2) */
	check_law(500000000, 100);  /* exp(-1) */
	check_law(500000000, 300);  /* exp(-1/3) */
	check_law(2000000000, 100); /* exp(-1/4) */
}

/* Long before the end, what is cheap is never refreshed: once in 10^200. */
TEST(contract__r17__cheap_value_is_left_alone)
{
	struct scene *s = scene_new(100);

	make(s, 1000, TTL_MS / 2);
	CHECK_EQ(early_of(s, 10000), 0);
}

/* ------------------------------------------------------ R17: exactly one --- */

static void
load_when_told(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(lead, "value", 5, 0, NULL), SHMC_OK);
}

static void
fetch_when_told(void *arg)
{
	fetch_with(arg, load_when_told);
}

/* Until the dice say so: soon, the value is so dear. */
static void
refresh_early(void *arg)
{
	struct scene *s = arg;

	while (atomic_load(&s->loads) == 0)
		fetch_when_told(s);
}

static void
fetch_in_race(unsigned index, void *arg)
{
	(void)index;
	fetch_when_told(arg);
}

#define DEAR_US UINT32_MAX
#define LEFT_MS 100000u /* with beta 100: one in 4300 does not refresh */

TEST(contract__r17__of_many_that_would_refresh_early_one_does)
{
	struct scene *s = scene_new(10000);
	pid_t leader;

	make(s, DEAR_US, LEFT_MS);
	leader = run_in_child(refresh_early, s);
	while (atomic_load(&s->loads) == 0)
		sleep_ms(1);
	atomic_store(&s->roles[SHMC_ROLE_HIT], 0);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(wait_child(run_in_child(fetch_when_told, s)), 0);
	CHECK_EQ(atomic_load(&s->loads), 1);
	/* They have the value as if nothing was: it is fresh. */
	CHECK_EQ(atomic_load(&s->roles[SHMC_ROLE_HIT]), 8);
	CHECK_EQ(atomic_load(&s->roles[SHMC_ROLE_STALE]), 0);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(cache_stats(s->cache).early, 1);
	CHECK_EQ(cache_stats(s->cache).waits, 0);
}

/* All eight let it be once in 10^29. */
TEST(contract__r17__stampede_before_the_end_computes_once)
{
	struct scene *s = scene_new(10000);

	make(s, DEAR_US, LEFT_MS);
	atomic_store(&s->release, true);
	run_processes(8, fetch_in_race, s);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(cache_stats(s->cache).early, 1);
}

/* It was fresh all the time, and still is. */
TEST(contract__r17__early_refresh_that_fails_leaves_a_hit)
{
	struct scene *s = scene_new(10000);

	make(s, DEAR_US, LEFT_MS);
	while (early_of(s, 1) == 0)
		atomic_store(&s->roles[SHMC_ROLE_HIT], 0);
	CHECK_EQ(atomic_load(&s->roles[SHMC_ROLE_HIT]), 1);
	CHECK_EQ(atomic_load(&s->roles[SHMC_ROLE_STALE]), 0);
	check_get(s->cache, "k", "value");
}

/*
 * Forked from one parent, whose dice have been thrown: the children throw their
 * own.  64 decisions of one half are the same once in 10^19.
 */
static void
decide(unsigned index, void *arg)
{
	struct scene *s = arg;

	for (unsigned i = 0; i < 64; i++) {
		atomic_store(&s->loads, 0);
		if (early_of(s, 1) > 0)
			atomic_fetch_or(&s->decided[index], 1ull << i);
	}
}

static void
decide_first(void *arg)
{
	decide(0, arg);
}

static void
decide_second(void *arg)
{
	decide(1, arg);
}

TEST(contract__r17__forked_workers_throw_dice_of_their_own)
{
	struct scene *s = scene_new(100);

	make(s, 721347520, TTL_MS / 2); /* half in half */
	(void)early_of(s, 10);
	CHECK_EQ(wait_child(run_in_child(decide_first, s)), 0);
	CHECK_EQ(wait_child(run_in_child(decide_second, s)), 0);
	CHECK_NE(atomic_load(&s->decided[0]), atomic_load(&s->decided[1]));
}

/* ----------------------------------------------------------- R18: jitter --- */

static uint64_t
expiry_of(struct shmc *cache, const char *text)
{
	return entry_of(cache, text).expiry_ms;
}

static void
store_with_jitter(struct shmc *cache, const char *key, uint64_t ttl_ms,
    uint32_t percent)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = ttl_ms;
	terms.jitter_percent = percent;
	REQUIRE_EQ(shmc_store(cache, key, strlen(key), "v", 1, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
}

/* Of so many nobody is in the first or last tenth once in 10^45. */
static void
check_spread(uint32_t percent)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	uint64_t base = segment_now_ms(&cache->seg), least = UINT64_MAX;
	uint64_t most = 0, range = TTL_MS / 100 * percent;
	char key[32];

	for (unsigned i = 0; i < 1000; i++) {
		(void)key_of(key, i);
		store_with_jitter(cache, key, TTL_MS, percent);
		least = min_u64(least, expiry_of(cache, key));
		most = max_u64(most, expiry_of(cache, key));
	}
	CHECK_GE(least, base + TTL_MS - range);
	CHECK_LE(most, segment_now_ms(&cache->seg) + 1 + TTL_MS + range);
	CHECK_LE(least, segment_now_ms(&cache->seg) + 1 + TTL_MS - range / 5 * 4);
	CHECK_GE(most, base + TTL_MS + range / 5 * 4);
	shmc_close(cache);
}

TEST(contract__r18__jitter_spreads_over_its_range_and_not_beyond)
{
	check_spread(0);
	check_spread(1);
	check_spread(20);
	check_spread(50);
}

TEST(contract__r18__more_than_half_is_refused_and_nothing_stored)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = 1000;
	for (uint32_t i = 0; i < 3; i++) {
		terms.jitter_percent = i == 0 ? 51 : i == 1 ? 100 :
							      (uint32_t)-1;
		CHECK_EQ(shmc_store(cache, "k", 1, "v", 1, &terms, SHMC_ALWAYS,
		    0), SHMC_INVALID);
	}
	check_miss(cache, "k");
}

/* The shortest does not become "for ever", nor the longest short. */
TEST(contract__r18__jitter_keeps_the_ends_of_time)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	for (unsigned i = 0; i < 200; i++) {
		uint64_t now = segment_now_ms(&cache->seg);

		store_with_jitter(cache, "short", 1 + i % 3, 50);
		CHECK_GT(expiry_of(cache, "short"), now);
		CHECK_LE(expiry_of(cache, "short"),
		    segment_now_ms(&cache->seg) + 6);
		store_with_jitter(cache, "long", UINT64_MAX, 50);
		CHECK_GE(expiry_of(cache, "long"), ENTRY_EXPIRY_MAX / 2);
		store_with_jitter(cache, "ever", 0, 50);
		CHECK_EQ(expiry_of(cache, "ever"), 0);
	}
}

static void
load_with_jitter(struct shmc_lead *lead, void *arg)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	(void)arg;
	terms.jitter_percent = 50;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, "value", 5, ENTRY_EXPIRY_MAX / 2, NULL),
	    SHMC_OK);
}

#define WORKERS 4u
#define TICKS_MS 10u

/* Half of them stores, half fetches. */
static void
work(struct scene *s, unsigned index)
{
	struct shmc_view view;
	uint64_t began;
	char key[32];

	(void)key_of(key, index);
	began = segment_now_ms(&s->cache->seg);
	if (index % 2 == 0)
		store_with_jitter(s->cache, key, ENTRY_EXPIRY_MAX / 2, 50);
	else
		REQUIRE_EQ(shmc_fetch(s->cache, key, strlen(key), NULL,
		    load_with_jitter, s, &view), SHMC_OK);
	atomic_store(&s->lasts_ms[index], expiry_of(s->cache, key) - began);
}

static unsigned next_worker;

static void
work_next(void *arg)
{
	work(arg, next_worker);
}

/*
 * What preforked workers store at once, after a parent that stored: of four
 * times out of 5 * 10^11 two are as near as the clock's tick once in 10^9.
 */
TEST(contract__r18__entries_of_forked_workers_do_not_expire_together)
{
	struct scene *s = scene_new(0);

	store_with_jitter(s->cache, "parent's", ENTRY_EXPIRY_MAX / 2, 50);
	for (; next_worker < WORKERS; next_worker++)
		CHECK_EQ(wait_child(run_in_child(work_next, s)), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned j = 0; j < i; j++)
			CHECK_GT(llabs((long long)(
			    atomic_load(&s->lasts_ms[i]) -
			    atomic_load(&s->lasts_ms[j]))), TICKS_MS);
}
