/* SPDX-License-Identifier: BSD-2-Clause */
/* R3, R4, R9, R10, R13 and R19: what a flight can end with. */
#include "fixture.h"

#include "cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITERS 6u

enum ending {
	END_VALUE,
	END_SHARE,
	END_ERROR,
	END_ABSENT,
	END_PASS,
	END_TOO_LARGE,
	END_NOTHING,
};

struct scene {
	struct shmc *cache;
	struct shmc_wait wait;
	enum ending ending;
	uint64_t ttl_ms;
	uint32_t fan_out;
	_Atomic unsigned loads;
	_Atomic unsigned now; /* in the loader at this moment */
	_Atomic unsigned most;
	_Atomic unsigned status[20]; /* how often each was answered */
	_Atomic unsigned role[10];
	_Atomic bool release;
};

static void
pass_or_not(struct shmc_lead *lead, struct scene *s)
{
	static char large[1];

	switch (s->ending) {
	case END_VALUE:
		(void)!shmc_lead_value(lead, "value", 5, s->ttl_ms, NULL);
		break;
	case END_SHARE:
		(void)!shmc_lead_append(lead, "shared", 6);
		(void)!shmc_lead_share(lead, NULL);
		break;
	case END_ERROR:
		(void)!shmc_lead_error(lead, 503, "backend says no", s->ttl_ms);
		break;
	case END_ABSENT:
		(void)!shmc_lead_absent(lead, s->ttl_ms);
		break;
	case END_PASS:
		(void)!shmc_lead_append(lead, "my own", 6);
		(void)!shmc_lead_pass(lead, s->fan_out, s->ttl_ms, NULL);
		break;
	case END_TOO_LARGE:
		CHECK_EQ(shmc_lead_value(lead, large, (size_t)1 << 40, 0, NULL),
		    SHMC_TOO_LARGE);
		break;
	case END_NOTHING:
		break;
	}
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	unsigned now = 1 + atomic_fetch_add(&s->now, 1);
	unsigned most = atomic_load(&s->most);

	atomic_fetch_add(&s->loads, 1);
	while (now > most &&
	    !atomic_compare_exchange_weak(&s->most, &most, now))
		;
	while (!atomic_load(&s->release))
		sleep_ms(1);
	if (s->ending == END_PASS || s->ending == END_TOO_LARGE)
		sleep_ms(10);
	atomic_fetch_sub(&s->now, 1);
	pass_or_not(lead, s);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;
	enum shmc_status status = shmc_fetch(s->cache, "k", 1, &s->wait, load, s,
	    &view);

	atomic_fetch_add(&s->status[status], 1);
	atomic_fetch_add(&s->role[view.role], 1);
	if (status == SHMC_ERROR) {
		CHECK_EQ(view.error, 503);
		CHECK_EQ(view.size_bytes, 15);
		CHECK_MEM(view.data, "backend says no", 15);
	}
	if (status == SHMC_OK && s->ending == END_SHARE)
		CHECK_MEM(view.data, "shared", 6);
	if (status == SHMC_OK && s->ending == END_PASS)
		CHECK_MEM(view.data, "my own", 6);
	shmc_view_release(&view);
}

static struct scene *
scene_new(enum ending ending)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, 64);
	s->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	s->ending = ending;
	s->fan_out = 2;
	return s;
}

/* One leads, the others wait, then it ends. */
static void
play(struct scene *s, unsigned waiters)
{
	pid_t all[64];

	all[0] = run_in_child(fetch, s);
	while (atomic_load(&s->loads) == 0)
		sleep_ms(1);
	for (unsigned i = 1; i <= waiters; i++)
		all[i] = run_in_child(fetch, s);
	while (cache_stats(s->cache).waits < waiters)
		sleep_ms(1);
	atomic_store(&s->release, true);
	for (unsigned i = 0; i <= waiters; i++)
		CHECK_EQ(wait_child(all[i]), 0);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

TEST(contract__r04__value_is_shared_and_stored)
{
	struct scene *s = scene_new(END_VALUE);

	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), WAITERS + 1);
	check_get(s->cache, "k", "value");
}

TEST(contract__r04__share_is_shared_and_not_stored)
{
	struct scene *s = scene_new(END_SHARE);

	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), WAITERS + 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_SHARED]), WAITERS);
	check_miss(s->cache, "k");
}

TEST(contract__r04__error_is_shared_and_remembered_for_its_ttl)
{
	struct scene *s = scene_new(END_ERROR);
	size_t n;
	char message[20];

	s->ttl_ms = 300;
	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_ERROR]), WAITERS + 1);
	fetch(s);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(shmc_get(s->cache, "k", 1, message, sizeof message, &n),
	    SHMC_ERROR);
	CHECK_EQ(n, 15);
	sleep_ms(400);
	check_miss(s->cache, "k");
	fetch(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
}

TEST(contract__r04__error_without_ttl_is_shared_and_forgotten)
{
	struct scene *s = scene_new(END_ERROR);

	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->status[SHMC_ERROR]), WAITERS + 1);
	check_miss(s->cache, "k");
}

TEST(contract__r19__absence_is_an_answer_with_its_own_ttl)
{
	struct scene *s = scene_new(END_ABSENT);
	size_t n;

	s->ttl_ms = 100000;
	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_ABSENT]), WAITERS + 1);
	CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_ABSENT);
	put(s->cache, "k", "there now");
	check_get(s->cache, "k", "there now");
}

TEST(contract__r04__pass_lets_waiters_compute_fan_out_at_a_time)
{
	struct scene *s = scene_new(END_PASS);

	s->fan_out = 3;
	play(s, 12);
	CHECK_EQ(atomic_load(&s->loads), 13);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 13);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), 12);
	CHECK_LE(atomic_load(&s->most), 3);
	CHECK_GT(atomic_load(&s->most), 1);
	check_miss(s->cache, "k");
}

TEST(contract__r04__pass_with_a_ttl_holds_for_those_who_come)
{
	struct scene *s = scene_new(END_PASS);

	s->ttl_ms = 100000;
	atomic_store(&s->release, true);
	fetch(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	fetch(s);
	fetch(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), 2);
	CHECK_EQ(atomic_load(&s->loads), 3);
	CHECK_EQ(cache_stats(s->cache).passes, 2);
}

static void
die_with_permit(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	(void)lead;
	atomic_fetch_add(&s->loads, 1);
	_exit(0);
}

static void
fetch_and_die(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	(void)!shmc_fetch(s->cache, "k", 1, NULL, die_with_permit, s, &view);
}

TEST(contract__r04__permit_of_the_dead_is_given_on)
{
	struct scene *s = scene_new(END_PASS);

	s->ttl_ms = 100000;
	s->fan_out = 1;
	atomic_store(&s->release, true);
	fetch(s);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(wait_child(run_in_child(fetch_and_die, s)), 0);
	fetch(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 2);
}

TEST(contract__r03__result_beyond_the_limit_passes_its_waiters)
{
	struct scene *s = scene_new(END_TOO_LARGE);

	play(s, WAITERS);
	/* Each has computed for itself, and each found it too large. */
	CHECK_EQ(atomic_load(&s->loads), WAITERS + 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_TOO_LARGE]), WAITERS + 1);
	CHECK_GT(atomic_load(&s->most), 1);
}

TEST(contract__r04__abandoned_by_all_tells_each)
{
	struct scene *s = scene_new(END_NOTHING);

	play(s, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), WAITERS + 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_ABANDONED]), WAITERS + 1);
}

/* ------------------------------------------------------ R9, R10: policies -- */

static void
fetch_impatiently(struct scene *s, uint32_t policy)
{
	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	s->wait.on_timeout = policy;
	fetch(s);
}

/* Somebody leads, slowly; then we come. */
static pid_t
slow_leader(struct scene *s)
{
	pid_t leader = run_in_child(fetch, s);

	while (atomic_load(&s->loads) == 0)
		sleep_ms(1);
	return leader;
}

TEST(contract__r09__on_timeout_compute_makes_an_own_copy)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s), other;

	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	s->wait.on_timeout = SHMC_OR_COMPUTE;
	other = run_in_child(fetch, s);
	while (atomic_load(&s->loads) < 2)
		sleep_ms(1);
	check_miss(s->cache, "k");
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(other), 0);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	check_get(s->cache, "k", "value");
}

TEST(contract__r09__on_timeout_stale_takes_what_is_kept)
{
	struct scene *s = scene_new(END_VALUE);
	struct shmc_terms terms = SHMC_TERMS_INIT;
	struct shmc_view view;
	pid_t leader;

	terms.ttl_ms = 1;
	terms.keep_ms = 100000;
	CHECK_EQ(shmc_store(s->cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS, 0),
	    SHMC_OK);
	sleep_ms(50);
	check_miss(s->cache, "k"); /* kept, but not served for nothing */
	leader = slow_leader(s);
	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	s->wait.on_timeout = SHMC_OR_STALE;
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, &s->wait, load, s, &view),
	    SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_STALE);
	CHECK_MEM(view.data, "old", 3);
	shmc_view_release(&view);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&s->loads), 1);
}

TEST(contract__r09__on_timeout_stale_without_an_old_value_fails)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s);

	fetch_impatiently(s, SHMC_OR_STALE);
	CHECK_EQ(atomic_load(&s->status[SHMC_TIMEOUT]), 1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
}

TEST(contract__r10__more_than_the_cap_do_not_wait)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s), waiters[2];

	s->wait.max_waiters = 2;
	for (unsigned i = 0; i < 2; i++)
		waiters[i] = run_in_child(fetch, s);
	while (cache_stats(s->cache).waits < 2)
		sleep_ms(1);
	fetch(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_OVERFLOW]), 1);
	CHECK_EQ(cache_stats(s->cache).overflows, 1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 3);
}

/* ----------------------------------------------------------- R13: detach -- */

TEST(contract__r13__detached_waiters_are_served_and_newcomers_start_anew)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s), waiter = run_in_child(fetch, s), anew;

	while (cache_stats(s->cache).waits < 1)
		sleep_ms(1);
	CHECK_EQ(shmc_detach(s->cache, "k", 1), SHMC_OK);
	anew = run_in_child(fetch, s);
	while (atomic_load(&s->loads) < 2)
		sleep_ms(1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(wait_child(anew), 0);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 3);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_SHARED]), 1);
	check_get(s->cache, "k", "value");
}

TEST(contract__r13__detached_result_is_stored_if_nothing_newer_was)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s);

	CHECK_EQ(shmc_detach(s->cache, "k", 1), SHMC_OK);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	check_get(s->cache, "k", "value");
}

static void
load_newer(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead, "newer", 5, 0, NULL), SHMC_OK);
}

TEST(contract__r13__detached_result_does_not_replace_a_newer_one)
{
	struct scene *s = scene_new(END_VALUE);
	pid_t leader = slow_leader(s);
	struct shmc_view view;

	CHECK_EQ(shmc_detach(s->cache, "k", 1), SHMC_OK);
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_newer, NULL, &view),
	    SHMC_OK);
	shmc_view_release(&view);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	check_get(s->cache, "k", "newer");
	CHECK_EQ(cache_stats(s->cache).superseded, 1);
}

/* ------------------------------------------------ R19: their share of memory -- */

static void
load_absent(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_absent(lead, 100000), SHMC_OK);
}

TEST(contract__r19__flood_of_absent_keys_evicts_no_value)
{
	struct shmc *cache = cache_new(4u << 20, 16);
	unsigned kept = 0;
	char key[32], value[200] = "v";
	size_t n;

	for (unsigned i = 0; i < 2000; i++)
		CHECK_EQ(shmc_put(cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
	for (unsigned i = 0; i < 200000; i++) {
		struct shmc_view view;

		n = key_of(key, 1000000 + i);
		REQUIRE_EQ(shmc_fetch(cache, key, n, NULL, load_absent, NULL,
		    &view), SHMC_ABSENT);
	}
	for (unsigned i = 0; i < 2000; i++)
		kept += shmc_get(cache, key, key_of(key, i), value,
		    sizeof value, &n) == SHMC_OK;
	/* The index may give up one or the other for a full line. */
	CHECK_GE(kept, 1990);
	cache_audit(cache);
}
