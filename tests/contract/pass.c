/* SPDX-License-Identifier: BSD-2-Clause */
/* R4, PASS: a key that cannot be shared, computed by so many at a time. */
#include "inside.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define WAITERS 50u
#define FAN_OUT 8u

struct scene {
	struct shmc *cache;
	struct shmc_wait wait;
	uint32_t fan_out;
	unsigned slow; /* so many loaders end only when the rest has ended */
	unsigned rest;
	_Atomic unsigned loads;
	_Atomic unsigned now; /* in their loader */
	_Atomic unsigned most;
	_Atomic unsigned quick; /* have ended */
	_Atomic unsigned status[20];
	_Atomic unsigned role[10];
	_Atomic bool release;
};

/* A key of which the segment knows that it is passed. */
static struct scene *
scene_with_lease(uint32_t fan_out, uint64_t lease_ms)
{
	struct scene *s = shared_alloc(sizeof *s);
	struct shmc_options options = cache_options(16u << 20, 64);
	struct shmc_lead lead;
	struct shmc_view view;

	options.lease_ms = lease_ms;
	s->cache = cache_open(&options);
	s->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	s->fan_out = fan_out;
	REQUIRE_EQ(shmc_begin(s->cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	REQUIRE_EQ(shmc_lead_pass(&lead, fan_out, 1000000, NULL), SHMC_OK);
	return s;
}

/* No lease will come to anybody's help. */
static struct scene *
scene_new(uint32_t fan_out)
{
	return scene_with_lease(fan_out, 1000000);
}

static void
enter_loader(struct scene *s)
{
	unsigned now = 1 + atomic_fetch_add(&s->now, 1);
	unsigned most = atomic_load(&s->most);

	while (now > most &&
	    !atomic_compare_exchange_weak(&s->most, &most, now))
		;
}

static void
leave_loader(struct scene *s, struct shmc_lead *lead)
{
	atomic_fetch_sub(&s->now, 1);
	CHECK_EQ(shmc_lead_value(lead, "own", 3, 0, NULL), SHMC_OK);
}

static void
fetch_with(struct scene *s, shmc_loader *loader)
{
	struct shmc_view view;
	enum shmc_status status = shmc_fetch(s->cache, "k", 1, &s->wait, loader,
	    s, &view);

	atomic_fetch_add(&s->status[status], 1);
	atomic_fetch_add(&s->role[view.role], 1);
	if (status == SHMC_OK)
		CHECK_MEM(view.data, "own", 3);
	shmc_view_release(&view);
}

static void
start(struct scene *s, pid_t *children, unsigned n, child_function *fn)
{
	for (unsigned i = 0; i < n; i++)
		children[i] = run_in_child(fn, s);
}

static void
await_end(pid_t *children, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(wait_child(children[i]), 0);
}

static void
await_count(_Atomic unsigned *count, unsigned n)
{
	while (atomic_load(count) < n)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned n)
{
	while (cache_stats(s->cache).waits < n)
		sleep_ms(1);
}

static void
end_scene(struct scene *s)
{
	(void)shmc_reap(s->cache);
	CHECK_EQ(atomic_load(&s->now), 0);
	cache_audit(s->cache);
	shmc_close(s->cache);
}

/* ---------------------------------------------- as many as may, and no more -- */

/* Ends only when as many compute as may: so if fewer could, it would not end. */
static void
load_when_full(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	enter_loader(s);
	atomic_fetch_add(&s->loads, 1);
	await_count(&s->most, s->fan_out);
	leave_loader(s, lead);
}

static void
fetch_when_full(void *arg)
{
	fetch_with(arg, load_when_full);
}

TEST(contract__r04__fifty_on_a_passed_key_compute_eight_at_a_time)
{
	struct scene *s = scene_new(FAN_OUT);
	pid_t all[WAITERS];

	start(s, all, WAITERS, fetch_when_full);
	await_end(all, WAITERS);
	CHECK_EQ(atomic_load(&s->loads), WAITERS);
	CHECK_EQ(atomic_load(&s->most), FAN_OUT);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), WAITERS);
	CHECK_EQ(cache_stats(s->cache).passes, WAITERS);
	end_scene(s);
}

/* The first ones in go on until all the others have ended. */
static void
load_slow_or_quick(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	bool slow = atomic_fetch_add(&s->loads, 1) < s->slow;

	enter_loader(s);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	if (slow)
		await_count(&s->quick, s->rest);
	else
		atomic_fetch_add(&s->quick, 1);
	leave_loader(s, lead);
}

static void
fetch_slow_or_quick(void *arg)
{
	fetch_with(arg, load_slow_or_quick);
}

/* If anybody had queued behind one of them this would never end. */
static void
check_no_queue(unsigned slow)
{
	struct scene *s = scene_new(FAN_OUT);
	pid_t all[WAITERS];

	s->slow = slow;
	s->rest = WAITERS - slow;
	start(s, all, WAITERS, fetch_slow_or_quick);
	await_waits(s, WAITERS - FAN_OUT);
	atomic_store(&s->release, true);
	await_end(all, WAITERS);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), WAITERS);
	CHECK_LE(atomic_load(&s->most), FAN_OUT);
	CHECK_EQ(cache_stats(s->cache).promotions, 0);
	end_scene(s);
}

TEST(contract__r04__nobody_queues_behind_a_slow_computation)
{
	check_no_queue(1);
}

TEST(contract__r04__nobody_queues_behind_all_slow_ones_but_one)
{
	check_no_queue(FAN_OUT - 1);
}

static void
load_when_released(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	enter_loader(s);
	atomic_fetch_add(&s->loads, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	leave_loader(s, lead);
}

static void
fetch_when_released(void *arg)
{
	fetch_with(arg, load_when_released);
}

/* The same for waiters of the very flight that ended with PASS. */
static void
load_and_pass(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	while (shmc_lead_waiters(lead) < WAITERS)
		sleep_ms(1);
	CHECK_EQ(shmc_lead_append(lead, "own", 3), SHMC_OK);
	CHECK_EQ(shmc_lead_pass(lead, s->fan_out, 0, NULL), SHMC_OK);
}

static void
fetch_and_pass(void *arg)
{
	fetch_with(arg, load_and_pass);
}

static void
fetch_later(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	while (shmc_view(s->cache, "leads", 5, &view) != SHMC_OK)
		sleep_ms(1);
	shmc_view_release(&view);
	fetch_with(s, load_slow_or_quick);
}

TEST(contract__r04__waiters_of_a_pass_do_not_queue_either)
{
	struct scene *s = scene_new(FAN_OUT);
	pid_t all[WAITERS + 1];

	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_OK);
	s->slow = FAN_OUT - 1;
	s->rest = WAITERS - s->slow;
	all[WAITERS] = run_in_child(fetch_and_pass, s);
	while (cache_stats(s->cache).computations < 2)
		sleep_ms(1);
	put(s->cache, "leads", "1");
	start(s, all, WAITERS, fetch_later);
	/* First all for the leader, then all but its heirs for a permit. */
	await_waits(s, WAITERS + WAITERS - FAN_OUT);
	atomic_store(&s->release, true);
	await_end(all, WAITERS + 1);
	CHECK_EQ(atomic_load(&s->loads), WAITERS);
	CHECK_LE(atomic_load(&s->most), FAN_OUT);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), WAITERS);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	check_miss(s->cache, "k");
	end_scene(s);
}

/* ------------------------------------------------------ deaths and stops --- */

/* Every permit is held, and three more wait. */
struct cast {
	pid_t holders[FAN_OUT];
	pid_t waiters[3];
};

static struct cast
cast_on(struct scene *s)
{
	struct cast cast;

	start(s, cast.holders, s->fan_out, fetch_when_released);
	await_count(&s->loads, s->fan_out);
	start(s, cast.waiters, 3, fetch_when_released);
	await_waits(s, 3);
	return cast;
}

/* Whether or not anybody had queued at that very permit. */
TEST(contract__r04__permits_of_the_dead_go_to_those_who_wait)
{
	struct scene *s = scene_new(4);
	struct cast cast = cast_on(s);

	for (unsigned i = 0; i < 3; i++) {
		atomic_fetch_sub(&s->now, 1);
		kill_child(cast.holders[i]);
	}
	await_count(&s->loads, 7);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(cast.holders[3]), 0);
	await_end(cast.waiters, 3);
	CHECK_LE(atomic_load(&s->most), 4);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 4);
	end_scene(s);
}

TEST(contract__r04__waiters_that_die_take_no_permit_along)
{
	struct scene *s = scene_new(2);
	struct cast cast = cast_on(s);

	kill_child(cast.waiters[0]);
	kill_child(cast.waiters[1]);
	atomic_store(&s->release, true);
	await_end(cast.holders, 2);
	CHECK_EQ(wait_child(cast.waiters[2]), 0);
	CHECK_EQ(atomic_load(&s->loads), 3);
	end_scene(s);
}

/* One of those who wait has stopped; the permit that comes free is not his. */
TEST(contract__r28__stopped_waiter_keeps_no_permit_from_the_others)
{
	struct scene *s = scene_new(2);
	struct cast cast = cast_on(s);

	kill(cast.waiters[0], SIGSTOP);
	kill(cast.waiters[1], SIGSTOP);
	atomic_store(&s->release, true);
	await_end(cast.holders, 2);
	CHECK_EQ(wait_child(cast.waiters[2]), 0);
	kill(cast.waiters[0], SIGCONT);
	kill(cast.waiters[1], SIGCONT);
	await_end(cast.waiters, 2);
	CHECK_EQ(atomic_load(&s->loads), 5);
	end_scene(s);
}

TEST(contract__r06__permit_of_a_stopped_holder_goes_on_after_its_lease)
{
	struct scene *s = scene_with_lease(1, 100);
	pid_t holder = run_in_child(fetch_when_released, s);

	await_count(&s->loads, 1);
	kill(holder, SIGSTOP);
	atomic_store(&s->release, true);
	fetch_when_released(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	kill(holder, SIGCONT);
	CHECK_EQ(wait_child(holder), 0);
	/* And that he ends late takes nobody's permit away. */
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 2);
	fetch_when_released(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 3);
	end_scene(s);
}

/* ------------------------------------------------------ policies, recursion -- */

static void
fetch_in_time(void *arg)
{
	struct scene *s = arg;

	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	fetch_with(s, load_when_released);
}

TEST(contract__r09__who_waits_for_a_permit_leaves_at_his_deadline)
{
	struct scene *s = scene_new(1);
	pid_t holder = run_in_child(fetch_when_released, s);

	await_count(&s->loads, 1);
	fetch_in_time(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_TIMEOUT]), 1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(holder), 0);
	s->wait.deadline_ns = 0;
	fetch_when_released(s); /* nobody holds it any more */
	CHECK_EQ(atomic_load(&s->loads), 2);
	end_scene(s);
}

TEST(contract__r10__cap_counts_all_who_wait_for_a_permit)
{
	struct scene *s = scene_new(2);
	struct cast cast = cast_on(s);

	s->wait.max_waiters = 3;
	fetch_when_released(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_OVERFLOW]), 1);
	CHECK_EQ(cache_stats(s->cache).overflows, 1);
	atomic_store(&s->release, true);
	await_end(cast.holders, 2);
	await_end(cast.waiters, 3);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 5);
	end_scene(s);
}

static void
load_own_key(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	enter_loader(s);
	atomic_fetch_add(&s->loads, 1);
	fetch_with(s, load_own_key);
	leave_loader(s, lead);
}

/* Each level is a copy of its own; with the permits it ends. */
TEST(contract__r11__passed_key_within_itself_ends_with_the_permits)
{
	struct scene *s = scene_new(5);

	fetch_with(s, load_own_key);
	CHECK_EQ(atomic_load(&s->loads), 5);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 5);
	CHECK_EQ(atomic_load(&s->status[SHMC_DEADLOCK]), 1);
	end_scene(s);
}

/* A value that somebody puts is what everybody gets. */
TEST(contract__r04__passed_key_that_is_put_is_a_hit)
{
	struct scene *s = scene_new(2);

	put(s->cache, "k", "own");
	fetch_when_full(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_HIT]), 1);
	CHECK_EQ(atomic_load(&s->loads), 0);
}

TEST(contract__r04__pass_ends_with_its_ttl)
{
	struct scene *s = scene_new(2);

	let_pass(s->cache, 2000000);
	atomic_store(&s->release, true);
	fetch_when_released(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	check_get(s->cache, "k", "own");
	end_scene(s);
}
