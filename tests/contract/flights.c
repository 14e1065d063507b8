/* SPDX-License-Identifier: BSD-2-Clause */
/* R1 to R14, as far as begin, fetch and the lead calls serve them. */
#include "fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITERS 6u

/* A stage for one leader and some waiters, in processes. */
struct stage {
	struct shmc *cache;
	const char *key;
	size_t value_bytes;
	_Atomic unsigned loads;
	_Atomic unsigned leading; /* leaders in their loader, now */
	_Atomic unsigned shared;
	_Atomic unsigned promoted;
	_Atomic unsigned superseded;
	_Atomic bool release;
	_Atomic int answer;
};

static struct stage *
stage_new(uint64_t lease_ms)
{
	struct stage *stage = shared_alloc(sizeof *stage);
	struct shmc_options options = cache_options(4u << 20, 32);

	options.lease_ms = lease_ms;
	options.flags |= SHMC_CREATE;
	stage->cache = cache_open(&options);
	stage->key = "key";
	stage->value_bytes = 100;
	atomic_store(&stage->answer, -1);
	return stage;
}

static void
give_value(struct shmc_lead *lead, struct stage *stage, uint64_t version)
{
	unsigned char *value = malloc(stage->value_bytes);

	value_fill(value, stage->value_bytes, 1, version);
	atomic_store(&stage->answer, (int)shmc_lead_value(lead, value,
	    stage->value_bytes, 0, NULL));
	free(value);
}

/* Leads until it is released. */
static void
load_slowly(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	atomic_fetch_add(&stage->loads, 1);
	CHECK_EQ(atomic_fetch_add(&stage->leading, 1), 0);
	while (!atomic_load(&stage->release))
		sleep_ms(1);
	atomic_fetch_sub(&stage->leading, 1);
	give_value(lead, stage, 1);
}

static void
load_at_once(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	atomic_fetch_add(&stage->loads, 1);
	give_value(lead, stage, 2);
}

static void
note(struct stage *stage, struct shmc_view *view)
{
	unsigned char *copy = malloc(view->size_bytes);

	CHECK_EQ(shmc_view_copy(view, copy, view->size_bytes),
	    view->size_bytes);
	CHECK_NE(value_check(copy, view->size_bytes, 1), UINT64_MAX);
	free(copy);
	if (view->role == SHMC_ROLE_SHARED)
		atomic_fetch_add(&stage->shared, 1);
	if (view->role == SHMC_ROLE_PROMOTED)
		atomic_fetch_add(&stage->promoted, 1);
	if ((view->flags & SHMC_SUPERSEDED) != 0)
		atomic_fetch_add(&stage->superseded, 1);
	shmc_view_release(view);
}

static void
fetch_with(struct stage *stage, shmc_loader *loader)
{
	struct shmc_view view;

	REQUIRE_EQ(shmc_fetch(stage->cache, stage->key, strlen(stage->key),
	    NULL, loader, stage, &view), SHMC_OK);
	note(stage, &view);
}

static void
fetch_slowly(void *arg)
{
	fetch_with(arg, load_slowly);
}

static void
fetch_at_once(void *arg)
{
	fetch_with(arg, load_at_once);
}

static void
await_waits(struct stage *stage, unsigned waits)
{
	while (cache_stats(stage->cache).waits < waits)
		sleep_ms(1);
}

static void
await_loads(struct stage *stage, unsigned loads)
{
	while (atomic_load(&stage->loads) < loads)
		sleep_ms(1);
}

/* A leader in its loader, and waiters asleep. */
struct cast {
	pid_t leader;
	pid_t waiters[WAITERS];
};

static struct cast
cast_on(struct stage *stage)
{
	struct cast cast;

	cast.leader = run_in_child(fetch_slowly, stage);
	await_loads(stage, 1);
	for (unsigned i = 0; i < WAITERS; i++)
		cast.waiters[i] = run_in_child(fetch_at_once, stage);
	await_waits(stage, WAITERS);
	return cast;
}

static void
await_waiters(const struct cast *cast)
{
	for (unsigned i = 0; i < WAITERS; i++)
		CHECK_EQ(wait_child(cast->waiters[i]), 0);
}

TEST(contract__r01__one_leader_over_all_processes)
{
	struct stage *stage = stage_new(10000);
	struct cast cast = cast_on(stage);

	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->loads), 1);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS);
}

static void
fetch_many_threads(unsigned index, void *arg)
{
	(void)index;
	fetch_with(arg, load_at_once);
}

TEST(contract__r01__one_leader_over_threads_too)
{
	struct stage *stage = stage_new(10000);

	run_threads(8, fetch_many_threads, stage);
	CHECK_EQ(atomic_load(&stage->loads), 1);
}

TEST(contract__r02__winner_of_a_flight_looks_again_before_it_computes)
{
	struct stage *stage = stage_new(10000);
	pid_t late;

	/* It has missed and claimed the flight; meanwhile the key appears. */
	late = run_stopped_at("flight_led", 1, fetch_at_once, stage);
	REQUIRE(late != 0);
	put(stage->cache, stage->key, "12345678");
	continue_child(late);
	(void)wait_child(late);
	CHECK_EQ(atomic_load(&stage->loads), 0);
	check_get(stage->cache, stage->key, "12345678");
}

/* Recycles all memory while the result waits for its last waiter. */
static void
churn(struct stage *stage)
{
	static char value[4000];
	char key[32];

	for (unsigned i = 0; i < 5000; i++)
		REQUIRE_EQ(shmc_put(stage->cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
}

TEST(contract__r03__result_stays_until_the_last_waiter_has_it)
{
	struct stage *stage = stage_new(10000);
	struct cast cast = cast_on(stage);

	kill(cast.waiters[0], SIGSTOP);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	CHECK_EQ(shmc_delete(stage->cache, stage->key, strlen(stage->key)),
	    SHMC_OK);
	churn(stage);
	check_miss(stage->cache, stage->key);
	kill(cast.waiters[0], SIGCONT);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS);
	CHECK_EQ(atomic_load(&stage->loads), 1);
}

TEST(contract__r03__large_result_stays_too)
{
	struct stage *stage = stage_new(10000);
	struct cast cast;

	stage->value_bytes = 200000;
	cast = cast_on(stage);
	kill(cast.waiters[0], SIGSTOP);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	churn(stage);
	kill(cast.waiters[0], SIGCONT);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS);
}

TEST(contract__r04__loader_that_returns_without_ending_abandons)
{
	struct stage *stage = stage_new(10000);
	struct shmc_lead lead;
	struct shmc_view view;

	REQUIRE_EQ(shmc_begin(stage->cache, "k", 1, NULL, &view, &lead),
	    SHMC_LEAD);
	shmc_lead_abandon(&lead);
	CHECK_EQ(shmc_lead_value(&lead, "late", 4, 0, NULL), SHMC_FENCED);
	check_miss(stage->cache, "k");
	CHECK_EQ(cache_stats(stage->cache).abandons, 1);
}

TEST(contract__r05__leader_killed__one_waiter_is_promoted)
{
	struct stage *stage = stage_new(60000); /* no lease will end */
	struct cast cast = cast_on(stage);

	kill_child(cast.leader);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->loads), 2);
	CHECK_EQ(atomic_load(&stage->promoted), 1);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS - 1);
	CHECK_EQ(cache_stats(stage->cache).promotions, 1);
}

TEST(contract__r05__leader_killed_alone__next_caller_leads)
{
	struct stage *stage = stage_new(60000);
	pid_t leader = run_in_child(fetch_slowly, stage);

	await_loads(stage, 1);
	kill_child(leader);
	fetch_at_once(stage);
	CHECK_EQ(atomic_load(&stage->loads), 2);
}

static void
exec_something(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	(void)lead;
	atomic_fetch_add(&stage->loads, 1);
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
}

static void
fetch_and_exec(void *arg)
{
	fetch_with(arg, exec_something);
}

TEST(contract__r05__leader_that_execs__has_died_for_us)
{
	struct stage *stage = stage_new(60000);
	pid_t leader = run_in_child(fetch_and_exec, stage);

	await_loads(stage, 1);
	fetch_at_once(stage);
	CHECK_EQ(atomic_load(&stage->loads), 2);
	kill_child(leader);
}

TEST(contract__r06__leader_stopped__is_replaced_after_its_lease)
{
	struct stage *stage = stage_new(100);
	struct cast cast = cast_on(stage);

	kill(cast.leader, SIGSTOP);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->loads), 2);
	CHECK_EQ(atomic_load(&stage->promoted), 1);
	kill_child(cast.leader);
}

static void
load_with_heartbeat(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	atomic_fetch_add(&stage->loads, 1);
	while (!atomic_load(&stage->release)) {
		CHECK_EQ(shmc_lead_extend(lead, 2000), SHMC_OK);
		sleep_ms(5);
	}
	give_value(lead, stage, 1);
}

static void
fetch_with_heartbeat(void *arg)
{
	fetch_with(arg, load_with_heartbeat);
}

TEST(contract__r06__heartbeat_keeps_the_lead)
{
	struct stage *stage = stage_new(2000);
	pid_t leader = run_in_child(fetch_with_heartbeat, stage), waiter;

	await_loads(stage, 1);
	waiter = run_in_child(fetch_at_once, stage);
	sleep_ms(3000); /* longer than the first lease */
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(atomic_load(&stage->loads), 1);
}

/* Loses its lease, then does everything that a leader can. */
static void
load_too_late(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	atomic_fetch_add(&stage->loads, 1);
	while (!atomic_load(&stage->release))
		sleep_ms(1);
	CHECK_EQ(shmc_lead_append(lead, "x", 1), SHMC_FENCED);
	CHECK_EQ(shmc_lead_extend(lead, 1000), SHMC_FENCED);
	CHECK_EQ(shmc_lead_waiters(lead), 0);
	CHECK_EQ(shmc_lead_value(lead, "late", 4, 0, NULL), SHMC_FENCED);
	atomic_store(&stage->answer, SHMC_FENCED);
}

static void
fetch_too_late(void *arg)
{
	struct stage *stage = arg;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(stage->cache, stage->key, strlen(stage->key), NULL,
	    load_too_late, stage, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
}

TEST(contract__r07__late_commit_is_refused)
{
	struct stage *stage = stage_new(50);
	pid_t leader = run_in_child(fetch_too_late, stage);
	char copy[200];
	size_t n;

	await_loads(stage, 1);
	fetch_at_once(stage); /* promoted after the lease */
	CHECK_EQ(atomic_load(&stage->promoted), 1);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&stage->answer), SHMC_FENCED);
	REQUIRE_EQ(shmc_get(stage->cache, stage->key, strlen(stage->key), copy,
	    sizeof copy, &n), SHMC_OK);
	CHECK_EQ(value_check(copy, n, 1), 2); /* the successor's */
	CHECK_EQ(cache_stats(stage->cache).fenced, 3);
}

TEST(contract__r07__late_commit_is_refused_while_the_successor_computes)
{
	struct stage *stage = stage_new(50);
	pid_t leader = run_in_child(fetch_too_late, stage), successor;

	await_loads(stage, 1);
	successor = run_stopped_at("fetch_leads", 1, fetch_at_once, stage);
	REQUIRE(successor != 0);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(leader), 0);
	check_miss(stage->cache, stage->key); /* nothing landed */
	continue_child(successor);
	CHECK_EQ(wait_child(successor), 0);
	CHECK_EQ(atomic_load(&stage->promoted), 1);
}

static void
load_then_abandon(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;

	atomic_fetch_add(&stage->loads, 1);
	while (!atomic_load(&stage->release))
		sleep_ms(1);
	shmc_lead_abandon(lead);
}

static void
fetch_then_abandon(void *arg)
{
	struct stage *stage = arg;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(stage->cache, stage->key, strlen(stage->key), NULL,
	    load_then_abandon, stage, &view), SHMC_ABANDONED);
}

TEST(contract__r08__abandoning_promotes_one_waiter)
{
	struct stage *stage = stage_new(60000);
	pid_t leader = run_in_child(fetch_then_abandon, stage);
	pid_t waiters[WAITERS];

	await_loads(stage, 1);
	for (unsigned i = 0; i < WAITERS; i++)
		waiters[i] = run_in_child(fetch_at_once, stage);
	await_waits(stage, WAITERS);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(leader), 0);
	for (unsigned i = 0; i < WAITERS; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&stage->loads), 2);
	CHECK_EQ(atomic_load(&stage->promoted), 1);
}

TEST(contract__r08__abandoning_alone_frees_the_flight)
{
	struct stage *stage = stage_new(60000);

	atomic_store(&stage->release, true);
	fetch_then_abandon(stage);
	fetch_at_once(stage);
	CHECK_EQ(atomic_load(&stage->loads), 2);
	CHECK_EQ(cache_stats(stage->cache).promotions, 0);
}

static void
fetch_with_deadline(void *arg)
{
	struct stage *stage = arg;
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	uint64_t deadline = now_ns() + 30 * 1000000ull;

	wait.deadline_ns = deadline;
	CHECK_EQ(shmc_fetch(stage->cache, stage->key, strlen(stage->key), &wait,
	    load_at_once, stage, &view), SHMC_TIMEOUT);
	CHECK(now_ns() >= deadline);
}

TEST(contract__r09__waiter_leaves_at_its_deadline)
{
	struct stage *stage = stage_new(60000);
	struct cast cast = cast_on(stage);

	CHECK_EQ(wait_child(run_in_child(fetch_with_deadline, stage)), 0);
	CHECK_EQ(cache_stats(stage->cache).timeouts, 1);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS);
}

/* ------------------------------------------------------------ deadlocks -- */

static void
load_own_key(struct shmc_lead *lead, void *arg)
{
	struct stage *stage = arg;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(stage->cache, stage->key, strlen(stage->key), NULL,
	    load_at_once, stage, &view), SHMC_DEADLOCK);
	give_value(lead, stage, 3);
}

TEST(contract__r11__own_key_is_a_deadlock_at_once)
{
	struct stage *stage = stage_new(60000);

	fetch_with(stage, load_own_key);
	CHECK_EQ(cache_stats(stage->cache).deadlocks, 1);
	CHECK_EQ(atomic_load(&stage->loads), 0);
}

#define RING 3u

struct ring {
	struct stage *stage;
	struct test_barrier all_lead;
	_Atomic unsigned deadlocks;
	_Atomic unsigned values;
};

struct link {
	struct ring *ring;
	unsigned index;
	bool inner;
};

static void fetch_link(struct link *link);

static void
load_link(struct shmc_lead *lead, void *arg)
{
	struct link *link = arg;
	struct link next = { link->ring, (link->index + 1) % RING, true };

	if (!link->inner) {
		test_barrier_meet(&link->ring->all_lead);
		fetch_link(&next);
	}
	CHECK_EQ(shmc_lead_value(lead, "v", 1, 0, NULL), SHMC_OK);
}

static void
fetch_link(struct link *link)
{
	struct shmc_view view;
	char key[32];
	size_t n = key_of(key, link->index);
	enum shmc_status status = shmc_fetch(link->ring->stage->cache, key, n,
	    NULL, load_link, link, &view);

	CHECK(status == SHMC_OK || status == SHMC_DEADLOCK);
	atomic_fetch_add(status == SHMC_OK ? &link->ring->values :
	    &link->ring->deadlocks, 1);
	shmc_view_release(&view);
}

static void
walk_ring(unsigned index, void *arg)
{
	struct link link = { arg, index, false };

	fetch_link(&link);
}

TEST(contract__r11__cycle_over_three_processes_is_broken)
{
	struct ring *ring = shared_alloc(sizeof *ring);

	ring->stage = stage_new(60000);
	test_barrier_init(&ring->all_lead, RING);
	run_processes(RING, walk_ring, ring);
	CHECK_GE(atomic_load(&ring->deadlocks), 1);
	CHECK_LE(atomic_load(&ring->deadlocks), RING);
	CHECK_EQ(atomic_load(&ring->values) + atomic_load(&ring->deadlocks),
	    2 * RING);
}

TEST(contract__r11__cycle_over_threads_is_broken)
{
	struct ring *ring = shared_alloc(sizeof *ring);

	ring->stage = stage_new(60000);
	test_barrier_init(&ring->all_lead, RING);
	run_threads(RING, walk_ring, ring);
	CHECK_GE(atomic_load(&ring->deadlocks), 1);
}

/* ---------------------------------------------------- roles, superseding -- */

TEST(contract__r12__leader_learns_who_waits_and_waiters_how_long)
{
	struct stage *stage = stage_new(60000);
	struct shmc_view view;
	struct shmc_lead lead;
	pid_t waiter;

	REQUIRE_EQ(shmc_begin(stage->cache, stage->key, strlen(stage->key),
	    NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(shmc_lead_waiters(&lead), 0);
	waiter = run_in_child(fetch_at_once, stage);
	await_waits(stage, 1);
	while (shmc_lead_waiters(&lead) != 1)
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(&lead, "12345678", 8, 0, &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_LED);
	CHECK_EQ(view.waited_ns, 0);
	shmc_view_release(&view);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(atomic_load(&stage->shared), 1);
	REQUIRE_EQ(shmc_view(stage->cache, stage->key, strlen(stage->key),
	    &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_HIT);
	shmc_view_release(&view);
}

TEST(contract__r14__invalidated_flight_serves_its_waiters_and_stores_nothing)
{
	struct stage *stage = stage_new(60000);
	struct cast cast = cast_on(stage);

	CHECK_EQ(shmc_invalidate(stage->cache, stage->key,
	    strlen(stage->key)), SHMC_OK);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	await_waiters(&cast);
	CHECK_EQ(atomic_load(&stage->shared), WAITERS);
	CHECK_EQ(atomic_load(&stage->superseded), WAITERS + 1);
	check_miss(stage->cache, stage->key);
	CHECK_EQ(cache_stats(stage->cache).superseded, 1);
}

TEST(contract__r14__who_comes_after_an_invalidation_starts_anew)
{
	struct stage *stage = stage_new(60000);
	struct cast cast = cast_on(stage);
	char copy[200];
	size_t n;

	CHECK_EQ(shmc_invalidate(stage->cache, stage->key,
	    strlen(stage->key)), SHMC_OK);
	fetch_at_once(stage); /* does not wait for the old flight */
	CHECK_EQ(atomic_load(&stage->loads), 2);
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	await_waiters(&cast);
	REQUIRE_EQ(shmc_get(stage->cache, stage->key, strlen(stage->key), copy,
	    sizeof copy, &n), SHMC_OK);
	CHECK_EQ(value_check(copy, n, 1), 2); /* the new one */
}

/* Stops the leader between every two steps of its commit. */
TEST(contract__r14__invalidated_anywhere_in_the_commit_is_not_stored)
{
	for (unsigned n = 1;; n++) {
		struct stage *stage = stage_new(60000);
		pid_t leader = run_stopped_at(NULL, n, fetch_at_once, stage);
		bool computed = atomic_load(&stage->loads) > 0;

		if (leader == 0)
			break;
		CHECK_EQ(shmc_invalidate(stage->cache, stage->key,
		    strlen(stage->key)), SHMC_OK);
		continue_child(leader);
		CHECK_EQ(wait_child(leader), 0);
		if (computed)
			check_miss(stage->cache, stage->key);
		cache_audit(stage->cache);
		shmc_close(stage->cache);
	}
}

TEST(contract__r14__put_during_a_flight_stays)
{
	struct stage *stage = stage_new(60000);
	struct cast cast = cast_on(stage);

	put(stage->cache, stage->key, "newer");
	atomic_store(&stage->release, true);
	CHECK_EQ(wait_child(cast.leader), 0);
	await_waiters(&cast);
	check_get(stage->cache, stage->key, "newer");
}
