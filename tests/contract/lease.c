/* SPDX-License-Identifier: BSD-2-Clause */
/* Named leases: who holds one, for how long, and what becomes of it. */
#include "fixture.h"

#include "cache.h"
#include "flight.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "the lock"
#define WAITERS 5u
#define LONG_MS 60000u

struct scene {
	struct shmc *cache;
	uint64_t lease_ms;
	unsigned rounds;
	unsigned counter; /* not atomic: the lock is what protects it */
	uint64_t last_token;
	struct test_barrier meet;
	_Atomic unsigned holding;
	_Atomic unsigned acquired;
	_Atomic unsigned deadlocks;
	_Atomic unsigned release; /* how many may give it back */
	_Atomic pid_t holder;	 /* who is to be killed */
	_Atomic uint64_t token;	 /* of the second holder */
	_Atomic bool given_back; /* by the second holder */
	_Atomic bool returned;	 /* the call of the one who was late */
};

static struct scene *
scene_new(uint64_t lease_ms)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(2u << 20, 16);
	s->lease_ms = lease_ms;
	return s;
}

static enum shmc_status
acquire_for(struct shmc *cache, const char *name, uint64_t lease_ms,
    uint64_t deadline_ns, struct shmc_lease *lease)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;

	wait.lease_ms = lease_ms;
	wait.deadline_ns = deadline_ns;
	return shmc_lease_acquire(cache, name, strlen(name), &wait, lease);
}

/* Only if it is free now. */
static enum shmc_status
try(struct scene *s, struct shmc_lease *lease)
{
	return acquire_for(s->cache, NAME, s->lease_ms, 1, lease);
}

static void
acquire(struct scene *s, struct shmc_lease *lease)
{
	REQUIRE_EQ(acquire_for(s->cache, NAME, s->lease_ms, 0, lease), SHMC_OK);
	CHECK_GT(lease->token, 0);
}

static void
try_in_vain(void *arg)
{
	struct shmc_lease lease;

	CHECK_EQ(try(arg, &lease), SHMC_TIMEOUT);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
}

static void
try_with_success(void *arg)
{
	struct shmc_lease lease;

	CHECK_EQ(try(arg, &lease), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
}

static void
in_child(child_function *fn, struct scene *s)
{
	CHECK_EQ(wait_child(run_in_child(fn, s)), 0);
}

static void
await_acquired(struct scene *s, unsigned n)
{
	while (atomic_load(&s->acquired) < n)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned n)
{
	while (cache_stats(s->cache).waits < n)
		sleep_ms(1);
}

/* ---------------------------------------------------------------- holding -- */

TEST(contract__lease__one_holds_and_others_try_in_vain)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;

	CHECK_EQ(try(s, &lease), SHMC_OK);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	in_child(try_with_success, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_FENCED);
	in_child(try_with_success, s);
	cache_audit(s->cache);
}

TEST(contract__lease__names_are_told_apart)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease leases[4];

	CHECK_EQ(acquire_for(s->cache, "a", 0, 1, &leases[0]), SHMC_OK);
	CHECK_EQ(acquire_for(s->cache, "b", 0, 1, &leases[1]), SHMC_OK);
	CHECK_EQ(acquire_for(s->cache, "", 0, 1, &leases[2]), SHMC_OK);
	CHECK_EQ(shmc_lease_acquire(s->cache, "a\0b", 3, NULL, &leases[3]),
	    SHMC_OK);
	for (unsigned i = 0; i < 4; i++) {
		CHECK(i == 0 || leases[i].token > leases[i - 1].token);
		CHECK_EQ(shmc_lease_release(&leases[i]), SHMC_OK);
	}
	cache_audit(s->cache);
}

static void
count_under_lock(unsigned index, void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	(void)index;
	for (unsigned i = 0; i < s->rounds; i++) {
		acquire(s, &lease);
		CHECK_EQ(atomic_fetch_add(&s->holding, 1), 0);
		CHECK_GT(lease.token, s->last_token);
		s->last_token = lease.token;
		s->counter++;
		atomic_fetch_sub(&s->holding, 1);
		CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	}
}

TEST(contract__lease__excludes_processes_and_its_token_grows)
{
	struct scene *s = scene_new(LONG_MS);

	s->rounds = test_rounds(3000);
	run_processes(4, count_under_lock, s);
	CHECK_EQ(s->counter, 4 * s->rounds);
	cache_audit(s->cache);
}

TEST(contract__lease__excludes_threads)
{
	struct scene *s = scene_new(LONG_MS);

	s->rounds = test_rounds(2000);
	run_threads(4, count_under_lock, s);
	CHECK_EQ(s->counter, 4 * s->rounds);
}

static void
wait_until_deadline(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;
	uint64_t deadline = now_ns() + 30 * 1000000ull;

	CHECK_EQ(acquire_for(s->cache, NAME, LONG_MS, deadline, &lease),
	    SHMC_TIMEOUT);
	CHECK_GE(now_ns(), deadline);
}

TEST(contract__lease__waiter_leaves_at_its_deadline)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;

	acquire(s, &lease);
	in_child(wait_until_deadline, s);
	CHECK_EQ(cache_stats(s->cache).timeouts, 1);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	/* Nobody waits any more: who comes next is not left standing. */
	in_child(try_with_success, s);
	cache_audit(s->cache);
}

/* ------------------------------------------------------- losing and gaining -- */

/* Holds it until it may give it back; nobody else may hold it. */
static void
hold(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	acquire(s, &lease);
	CHECK_EQ(atomic_fetch_add(&s->holding, 1), 0);
	CHECK_GT(lease.token, s->last_token);
	s->last_token = lease.token;
	for (unsigned mine = atomic_fetch_add(&s->acquired, 1) + 1;
	     atomic_load(&s->release) < mine;)
		sleep_ms(1);
	atomic_fetch_sub(&s->holding, 1);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
}

static void
start_waiters(struct scene *s, pid_t waiters[WAITERS])
{
	for (unsigned i = 0; i < WAITERS; i++)
		waiters[i] = run_in_child(hold, s);
	await_waits(s, WAITERS);
}

/* Each has it in turn, and only when the one before has given it back. */
static void
release_in_turn(struct scene *s, const pid_t waiters[WAITERS], unsigned first)
{
	for (unsigned i = first; i < first + WAITERS; i++) {
		await_acquired(s, i);
		CHECK_EQ(atomic_load(&s->acquired), i);
		atomic_store(&s->release, i);
	}
	for (unsigned i = 0; i < WAITERS; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
}

TEST(contract__lease__released_goes_to_one_waiter_at_a_time)
{
	struct scene *s = scene_new(LONG_MS);
	pid_t waiters[WAITERS];
	struct shmc_lease lease;

	acquire(s, &lease);
	start_waiters(s, waiters);
	CHECK_EQ(atomic_load(&s->acquired), 0);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	release_in_turn(s, waiters, 1);
	in_child(try_with_success, s);
	cache_audit(s->cache);
}

static void
hold_until_killed(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	acquire(s, &lease);
	CHECK_GT(lease.token, s->last_token);
	s->last_token = lease.token;
	atomic_store(&s->holder, getpid());
	atomic_fetch_add(&s->acquired, 1);
	for (;;)
		pause();
}

static void
kill_holder(struct scene *s, unsigned nth)
{
	await_acquired(s, nth);
	CHECK_EQ(atomic_load(&s->acquired), nth);
	kill_child(atomic_load(&s->holder));
}

/* Its lease would run for a minute: the kernel tells of its end. */
TEST(contract__r05__lease_of_the_killed_goes_to_exactly_one)
{
	struct scene *s = scene_new(LONG_MS);
	pid_t waiters[WAITERS];

	run_in_child(hold_until_killed, s);
	await_acquired(s, 1);
	start_waiters(s, waiters);
	kill_holder(s, 1);
	release_in_turn(s, waiters, 2);
	in_child(try_with_success, s);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

/* One after the other dies with it: it is lost to nobody. */
TEST(contract__r05__lease_survives_the_death_of_each_who_gets_it)
{
	struct scene *s = scene_new(LONG_MS);

	run_in_child(hold_until_killed, s);
	await_acquired(s, 1);
	for (unsigned i = 1; i <= WAITERS; i++)
		run_in_child(hold_until_killed, s);
	await_waits(s, WAITERS);
	for (unsigned i = 1; i <= 1 + WAITERS; i++)
		kill_holder(s, i);
	in_child(try_with_success, s);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

static void
hold_and_be_stopped(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	acquire(s, &lease);
	s->last_token = lease.token;
	atomic_fetch_add(&s->acquired, 1);
	kill(getpid(), SIGSTOP);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_FENCED);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
}

TEST(contract__r07__former_holder_is_refused_and_frees_nobody)
{
	struct scene *s = scene_new(20);
	pid_t late = run_in_child(hold_and_be_stopped, s);
	struct shmc_lease lease;

	await_acquired(s, 1);
	s->lease_ms = LONG_MS;
	acquire(s, &lease); /* once its 20 ms are over */
	CHECK_GT(lease.token, s->last_token);
	continue_child(late);
	CHECK_EQ(wait_child(late), 0);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	cache_audit(s->cache);
}

/* With a queue behind it, which must not move either. */
TEST(contract__r07__late_release_lets_no_waiter_in)
{
	struct scene *s = scene_new(20);
	pid_t late = run_in_child(hold_and_be_stopped, s), waiters[WAITERS];
	struct shmc_lease lease;

	await_acquired(s, 1);
	s->lease_ms = LONG_MS;
	acquire(s, &lease);
	atomic_store(&s->acquired, 0);
	start_waiters(s, waiters);
	continue_child(late);
	CHECK_EQ(wait_child(late), 0);
	CHECK_EQ(atomic_load(&s->acquired), 0);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	release_in_turn(s, waiters, 1);
}

/* Late, but nobody has asked: it is still his. */
TEST(contract__lease__run_out_and_not_wanted_is_kept)
{
	struct scene *s = scene_new(1);
	struct shmc_lease lease;

	acquire(s, &lease);
	sleep_ms(20);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_extend(&lease, 1), SHMC_OK);
	sleep_ms(20);
	in_child(try_with_success, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
}

TEST(contract__r06__extended_lease_outlasts_the_first_one)
{
	struct scene *s = scene_new(100);
	struct shmc_lease lease, other;

	acquire(s, &lease);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	sleep_ms(200);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	CHECK_EQ(try(s, &other), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&other), SHMC_OK);
}

/* ----------------------------------------------------------------- tokens -- */

/*
 * Whatever happens to it on the way: it has the smaller token, or it has got the
 * lease after the other gave it back.
 */
static void
acquire_late(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;
	enum shmc_status status;
	bool after;

	REQUIRE_EQ(acquire_for(s->cache, NAME, s->lease_ms, 0, &lease),
	    SHMC_OK);
	after = atomic_load(&s->given_back);
	atomic_store(&s->returned, true);
	status = shmc_lease_release(&lease);
	if (atomic_load(&s->token) == 0)
		return; /* it was not stopped */
	CHECK_EQ(after, lease.token > atomic_load(&s->token));
	/* Or it was stopped when it had given it back already. */
	CHECK(status == SHMC_OK || lease.token < atomic_load(&s->token));
}

static bool
token_once(unsigned n)
{
	struct scene *s = scene_new(20);
	struct shmc_lease lease;
	pid_t late = run_stopped_at(NULL, n, acquire_late, s);
	uint64_t waits;

	if (late == 0)
		return false;
	REQUIRE_EQ(acquire_for(s->cache, NAME, LONG_MS, 0, &lease), SHMC_OK);
	atomic_store(&s->token, lease.token);
	waits = cache_stats(s->cache).waits;
	continue_child(late);
	/* It has had it, or waits for us. */
	while (!atomic_load(&s->returned) &&
	    cache_stats(s->cache).waits == waits)
		sleep_ms(1);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	atomic_store(&s->given_back, true);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	CHECK_EQ(wait_child(late), 0);
	cache_audit(s->cache);
	shmc_close(s->cache);
	return true;
}

/* A fencing token is of use only if later holders have larger ones. */
TEST(contract__r07__tokens_grow_in_the_order_of_the_holders)
{
	unsigned n = 1;

	while (token_once(n))
		n++;
	CHECK_GT(n, 4);
}

/* -------------------------------------------- what it is not confused with -- */

static void
load_under_lease(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	CHECK_EQ(try(s, &lease), SHMC_OK);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, "value", 5, 0, NULL), SHMC_OK);
}

TEST(contract__lease__and_an_entry_of_its_name_are_two_things)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(s->cache, NAME, strlen(NAME), NULL,
	    load_under_lease, s, &view), SHMC_OK);
	shmc_view_release(&view);
	acquire(s, &lease);
	check_get(s->cache, NAME, "value");
	CHECK_EQ(shmc_delete(s->cache, NAME, strlen(NAME)), SHMC_OK);
	CHECK_EQ(shmc_detach(s->cache, NAME, strlen(NAME)), SHMC_OK);
	put(s->cache, NAME, "other");
	check_get(s->cache, NAME, "other");
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	check_get(s->cache, NAME, "other");
}

/* Contents come and go; who holds what stays. */
TEST(contract__lease__is_held_over_a_flush)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;
	pid_t waiters[WAITERS];

	acquire(s, &lease);
	start_waiters(s, waiters);
	CHECK_EQ(shmc_flush(s->cache), SHMC_OK);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_extend(&lease, LONG_MS), SHMC_OK);
	CHECK_EQ(atomic_load(&s->acquired), 0);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	release_in_turn(s, waiters, 1);
}

static void
use_parents_lease(struct shmc_lease *lease)
{
	CHECK_EQ(shmc_lease_extend(lease, LONG_MS), SHMC_FENCED);
	CHECK_EQ(shmc_lease_release(lease), SHMC_FENCED);
}

static void
use_copy_in_child(void *arg)
{
	use_parents_lease(arg);
}

TEST(contract__r29__lease_stays_with_the_parent)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;

	acquire(s, &lease);
	CHECK_EQ(wait_child(run_in_child(use_copy_in_child, &lease)), 0);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	in_child(try_with_success, s);
}

static void
acquire_and_end(unsigned index, void *arg)
{
	struct shmc_lease lease;

	(void)index;
	acquire(arg, &lease);
}

TEST(contract__r29__lease_of_a_thread_ends_with_it)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;

	run_threads(1, acquire_and_end, s);
	acquire(s, &lease);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	in_child(try_with_success, s);
}

static void
acquire_and_close(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	acquire(s, &lease);
	CHECK_EQ(shmc_detach_thread(s->cache), -EBUSY);
	shmc_close(s->cache);
}

TEST(contract__lease__holder_cannot_detach_and_closing_releases)
{
	struct scene *s = scene_new(LONG_MS);

	in_child(acquire_and_close, s);
	in_child(try_with_success, s);
	CHECK_EQ(cache_stats(s->cache).reaped, 0);
	cache_audit(s->cache);
}

/* ------------------------------------------------------------- deadlocks -- */

TEST(contract__r11__own_lease_is_a_deadlock_at_once)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease, again;

	acquire(s, &lease);
	CHECK_EQ(acquire_for(s->cache, NAME, 0, 0, &again), SHMC_DEADLOCK);
	CHECK_EQ(cache_stats(s->cache).deadlocks, 1);
	CHECK_EQ(shmc_lease_release(&again), SHMC_FENCED);
	in_child(try_in_vain, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
}

#define RING 3u

/* Each holds one and wants the next one's. */
static void
want_the_next(unsigned index, void *arg)
{
	static const char *const names[RING] = { "a", "b", "c" };
	struct scene *s = arg;
	struct shmc_lease own, next;
	enum shmc_status status;

	REQUIRE_EQ(acquire_for(s->cache, names[index], LONG_MS, 0, &own),
	    SHMC_OK);
	test_barrier_meet(&s->meet);
	status = acquire_for(s->cache, names[(index + 1) % RING], LONG_MS, 0,
	    &next);
	if (status == SHMC_DEADLOCK)
		atomic_fetch_add(&s->deadlocks, 1);
	else
		REQUIRE_EQ(status, SHMC_OK);
	if (status == SHMC_OK)
		CHECK_EQ(shmc_lease_release(&next), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&own), SHMC_OK);
}

TEST(contract__r11__ring_of_leases_over_processes_is_broken)
{
	struct scene *s = scene_new(LONG_MS);

	test_barrier_init(&s->meet, RING);
	run_processes(RING, want_the_next, s);
	CHECK_GE(atomic_load(&s->deadlocks), 1);
	CHECK_LE(atomic_load(&s->deadlocks), RING);
	cache_audit(s->cache);
}

TEST(contract__r11__ring_of_leases_over_threads_is_broken)
{
	struct scene *s = scene_new(LONG_MS);

	test_barrier_init(&s->meet, RING);
	run_threads(RING, want_the_next, s);
	CHECK_GE(atomic_load(&s->deadlocks), 1);
}

static void
note_deadlock(struct scene *s, enum shmc_status status)
{
	CHECK(status == SHMC_OK || status == SHMC_DEADLOCK);
	if (status == SHMC_DEADLOCK)
		atomic_fetch_add(&s->deadlocks, 1);
}

static void
load_wanting_the_lease(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;
	enum shmc_status status;

	test_barrier_meet(&s->meet);
	status = acquire_for(s->cache, NAME, LONG_MS, 0, &lease);
	note_deadlock(s, status);
	if (status == SHMC_OK)
		CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, "v", 1, 0, NULL), SHMC_OK);
}

static void
load_never(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	shmc_lead_abandon(lead);
}

/* One computes and wants the lease, one has it and wants the result. */
static void
fetch_and_lock(unsigned index, void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;
	struct shmc_view view;

	if (index == 0) {
		REQUIRE_EQ(shmc_fetch(s->cache, "k", 1, NULL,
		    load_wanting_the_lease, s, &view), SHMC_OK);
	} else {
		acquire(s, &lease);
		test_barrier_meet(&s->meet);
		note_deadlock(s, shmc_fetch(s->cache, "k", 1, NULL, load_never,
		    s, &view));
		CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	}
	shmc_view_release(&view);
}

TEST(contract__r11__ring_of_a_lease_and_a_computation_is_broken)
{
	struct scene *s = scene_new(LONG_MS);

	test_barrier_init(&s->meet, 2);
	run_processes(2, fetch_and_lock, s);
	CHECK_GE(atomic_load(&s->deadlocks), 1);
	check_get(s->cache, "k", "v");
}

/* --------------------------------------------------------------- shortage -- */

static void
acquire_all_and_die(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;
	struct shmc_info info;
	char name[32];

	shmc_info(s->cache, &info, sizeof info);
	for (unsigned i = 0; i < info.flights; i++) {
		(void)key_of(name, i);
		REQUIRE_EQ(acquire_for(s->cache, name, LONG_MS, 1, &lease),
		    SHMC_OK);
	}
	CHECK_EQ(try(s, &lease), SHMC_BUSY);
	kill(getpid(), SIGKILL);
}

TEST(contract__r27__every_record_held_by_the_dead_is_busy_for_nobody)
{
	struct scene *s = scene_new(LONG_MS);

	try_with_success(s); /* has its slot: takes no dead one's */
	CHECK_EQ(wait_child(run_in_child(acquire_all_and_die, s)), -SIGKILL);
	try_with_success(s);
	cache_audit(s->cache);
}

static void
scribble_result(struct segment *seg)
{
	for (uint32_t i = 0; i < seg->geo.flight_count; i++) {
		uint64_t word = atomic_load(&seg->flights[i].word);

		if (flight_state(word) == FLIGHT_LEAD)
			atomic_store(&seg->flights[i].word,
			    (word & ~FLIGHT_STATE_MASK) | FLIGHT_RESULT);
	}
}

static void
wait_for_scribble(void *arg)
{
	struct scene *s = arg;
	struct shmc_lease lease;

	CHECK_EQ(acquire_for(s->cache, NAME, LONG_MS,
	    now_ns() + 20 * 1000000ull, &lease), SHMC_TIMEOUT);
}

/* A lease has no result: whoever finds one must not turn round for ever. */
TEST(contract__r31__scribbled_flight_of_a_lease_ends_at_the_deadline)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_lease lease;

	acquire(s, &lease);
	scribble_result(&s->cache->seg);
	in_child(wait_for_scribble, s);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
}

TEST(contract__lease__absurd_arguments_are_refused)
{
	struct scene *s = scene_new(LONG_MS);
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease;
	char *big = calloc(1, SHMC_KEY_MAX + 1);

	CHECK_EQ(shmc_lease_acquire(NULL, "a", 1, NULL, &lease), SHMC_INVALID);
	CHECK_EQ(shmc_lease_acquire(s->cache, NULL, 1, NULL, &lease),
	    SHMC_INVALID);
	CHECK_EQ(shmc_lease_acquire(s->cache, "a", 1, NULL, NULL),
	    SHMC_INVALID);
	CHECK_EQ(shmc_lease_acquire(s->cache, big, SHMC_KEY_MAX + 1, NULL,
	    &lease), SHMC_TOO_LARGE);
	wait.lease_ms = UINT64_MAX;
	CHECK_EQ(shmc_lease_acquire(s->cache, "a", 1, &wait, &lease),
	    SHMC_INVALID);
	wait.lease_ms = 0;
	wait.struct_bytes = 0;
	CHECK_EQ(shmc_lease_acquire(s->cache, "a", 1, &wait, &lease),
	    SHMC_INVALID);
	CHECK_EQ(shmc_lease_extend(NULL, 1), SHMC_FENCED);
	CHECK_EQ(shmc_lease_release(NULL), SHMC_FENCED);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_FENCED);
	CHECK_EQ(shmc_lease_acquire(s->cache, big, SHMC_KEY_MAX, NULL, &lease),
	    SHMC_OK);
	CHECK_EQ(shmc_lease_extend(&lease, UINT64_MAX), SHMC_INVALID);
	CHECK_EQ(shmc_lease_extend(&lease, 0), SHMC_OK);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
	free(big);
}
