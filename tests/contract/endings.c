/* SPDX-License-Identifier: BSD-2-Clause */
/* R3, R4, R7, R27, R28: each ending of a lead, also one that is cut short. */
#include "inside.h"

#include "lead.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define LARGE_KEY_BYTES 60000u

enum ending {
	END_VALUE,
	END_COMMIT,
	END_SHARE,
	END_ERROR,
	END_ABSENT,
	END_PASS,
	END_REFRESH,
	ENDINGS,
};

struct scene {
	struct shmc *cache;
	const char *key;
	size_t key_bytes;
	enum ending ending;
	uint64_t ttl_ms;
	_Atomic unsigned loads;
	_Atomic unsigned waiting;
	bool was_joined; /* as if somebody had waited, and left */
	_Atomic unsigned status[20];
	_Atomic unsigned role[10];
	_Atomic unsigned flags[4];
	_Atomic int answer;
	_Atomic bool release;
};

static struct scene *
scene_with_lease(enum ending ending, uint64_t ttl_ms, uint64_t lease_ms)
{
	struct scene *s = shared_alloc(sizeof *s);
	struct shmc_options options = cache_options(4u << 20, 32);

	options.lease_ms = lease_ms;
	s->cache = cache_open(&options);
	/* Now we have a slot, and do not reap by taking a dead one's. */
	check_miss(s->cache, "k");
	s->key = "k";
	s->key_bytes = 1;
	s->ending = ending;
	s->ttl_ms = ttl_ms;
	return s;
}

static struct scene *
scene_new(enum ending ending, uint64_t ttl_ms)
{
	return scene_with_lease(ending, ttl_ms, 60000);
}

static enum shmc_status
end_lead(struct shmc_lead *lead, enum ending ending, uint64_t ttl_ms)
{
	switch (ending) {
	case END_VALUE:
		return shmc_lead_value(lead, "value", 5, ttl_ms, NULL);
	case END_COMMIT:
		(void)!shmc_lead_append(lead, "value", 5);
		return shmc_lead_commit(lead, ttl_ms, NULL);
	case END_SHARE:
		(void)!shmc_lead_append(lead, "value", 5);
		return shmc_lead_share(lead, NULL);
	case END_ERROR:
		return shmc_lead_error(lead, 503, "no", ttl_ms);
	case END_ABSENT:
		return shmc_lead_absent(lead, ttl_ms);
	case END_PASS:
		(void)!shmc_lead_append(lead, "value", 5);
		return shmc_lead_pass(lead, 2, ttl_ms, NULL);
	case END_REFRESH:
		return shmc_lead_refresh(lead, ttl_ms, NULL);
	case ENDINGS:
		break;
	}
	return SHMC_INVALID;
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	while (shmc_lead_waiters(lead) < atomic_load(&s->waiting))
		sleep_ms(1);
	if (s->was_joined)
		atomic_fetch_or(&s->cache->seg.flights[
		    lead_of(lead)->hold.number].word, FLIGHT_WAITERS);
	atomic_store(&s->answer,
	    (int)end_lead(lead, s->ending, s->ttl_ms));
}

static void
note(struct scene *s, enum shmc_status status, struct shmc_view *view)
{
	atomic_fetch_add(&s->status[status], 1);
	atomic_fetch_add(&s->role[view->role], 1);
	atomic_fetch_add(&s->flags[view->flags & 3], 1);
	if (status == SHMC_OK) {
		CHECK_EQ(view->size_bytes, 5);
		CHECK_MEM(view->data, "value", 5);
	}
	shmc_view_release(view);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, s->key, s->key_bytes, NULL, load, s,
	    &view), &view);
}

/* Ends with a value, whatever the scene's ending is. */
static void
load_value(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_value(lead, "value", 5, 0, NULL), SHMC_OK);
}

static void
fetch_value(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, s->key, s->key_bytes, NULL, load_value, s,
	    &view), &view);
}

static void
end_scene(struct scene *s)
{
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
	shmc_close(s->cache);
}

/* ------------------------------------------------ what is not to be stored -- */

/* What each of these leaves behind is for those who wait, and for them only. */
static const enum ending unstored[] = {
	END_SHARE, END_ERROR, END_ABSENT, END_PASS,
};
#define UNSTORED (sizeof unstored / sizeof *unstored)

TEST(contract__r04__unstored_ending_killed_after_its_commit__is_not_stored)
{
	for (size_t i = 0; i < UNSTORED; i++) {
		struct scene *s = scene_new(unstored[i], 0);
		size_t n;

		s->was_joined = true;
		REQUIRE(run_killed_at("flight_committed", 1, fetch, s));
		CHECK_EQ(shmc_reap(s->cache), 1);
		CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_MISS);
		fetch_value(s);
		CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
		check_get(s->cache, "k", "value");
		end_scene(s);
	}
}

TEST(contract__r04__value_killed_after_its_commit__is_stored_by_the_reaper)
{
	struct scene *s = scene_new(END_VALUE, 100000);

	REQUIRE(run_killed_at("flight_committed", 1, fetch, s));
	check_miss(s->cache, "k");
	fetch(s); /* whoever comes by reaps */
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_HIT]), 1);
	check_get(s->cache, "k", "value");
	end_scene(s);
}

/* The leader will never come to finish; until then it is not there for ever. */
TEST(contract__r04__unstored_result_of_a_stopped_leader_is_for_no_newcomer)
{
	for (size_t i = 0; i < UNSTORED; i++) {
		struct scene *s = scene_new(unstored[i], 0);
		pid_t stopped;

		s->was_joined = true;
		stopped = run_stopped_at("flight_committed", 1, fetch, s);
		REQUIRE(stopped != 0);
		fetch_value(s);
		CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
		CHECK_EQ(atomic_load(&s->loads), 2);
		continue_child(stopped);
		CHECK_EQ(wait_child(stopped), 0);
		check_get(s->cache, "k", "value");
		end_scene(s);
	}
}

TEST(contract__r15__result_of_a_stopped_leader_is_served_while_it_is_fresh)
{
	struct scene *s = scene_new(END_VALUE, 1000);
	pid_t stopped = run_stopped_at("flight_committed", 1, fetch, s);

	REQUIRE(stopped != 0);
	fetch_value(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_SHARED]), 1);
	let_pass(s->cache, 2000);
	fetch_value(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	CHECK_EQ(atomic_load(&s->loads), 2);
	continue_child(stopped);
	CHECK_EQ(wait_child(stopped), 0);
	check_get(s->cache, "k", "value"); /* the newer, which has no ttl */
	CHECK_EQ(cache_stats(s->cache).superseded, 1);
	end_scene(s);
}

TEST(contract__r12__waiters_of_what_is_not_stored_are_told_so)
{
	for (size_t i = 0; i < UNSTORED; i++) {
		struct scene *s = scene_new(unstored[i], 0);
		pid_t leader;

		if (unstored[i] == END_PASS)
			continue; /* its waiters have nothing of the leader's */
		atomic_store(&s->waiting, 1);
		leader = run_in_child(fetch, s);
		while (atomic_load(&s->loads) == 0)
			sleep_ms(1);
		fetch(s);
		CHECK_EQ(wait_child(leader), 0);
		CHECK_EQ(atomic_load(&s->loads), 1);
		if (unstored[i] != END_ABSENT) /* which has no view */
			CHECK_EQ(atomic_load(&s->flags[SHMC_UNSTORED]), 2);
		end_scene(s);
	}
}

/* --------------------------------------------------------------- long keys --- */

static const char *
long_key(void)
{
	static char key[LARGE_KEY_BYTES];

	memset(key, 'k', sizeof key);
	return key;
}

/* Such a key lies in pieces, for what is no value, too. */
TEST(contract__r27__endings_with_a_long_key__leave_nothing_open)
{
	for (enum ending ending = 0; ending < ENDINGS; ending++) {
		struct scene *s = scene_new(ending, ending == END_SHARE ? 0 :
								 100000);

		s->key = long_key();
		s->key_bytes = LARGE_KEY_BYTES;
		for (unsigned i = 0; i < 20; i++) {
			fetch(s);
			(void)!shmc_delete(s->cache, s->key, s->key_bytes);
		}
		/* Both logs, and the spare piece. */
		CHECK_LE(blocks_in(s->cache, BLOCK_OPEN), 3);
		CHECK_EQ(shmc_detach_thread(s->cache), 0);
		CHECK_EQ(blocks_in(s->cache, BLOCK_OPEN), 0);
		end_scene(s);
	}
}

TEST(contract__r04__long_key_is_passed_like_any)
{
	struct scene *s = scene_new(END_PASS, 100000);

	s->key = long_key();
	s->key_bytes = LARGE_KEY_BYTES;
	fetch(s);
	fetch_value(s);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), 1);
	CHECK_EQ(cache_stats(s->cache).passes, 1);
	end_scene(s);
}

/* Beyond the limit and with such a key: what tells the waiters so is kept. */
static void
load_too_large(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	while (shmc_lead_waiters(lead) < atomic_load(&s->waiting))
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(lead, "", (size_t)1 << 40, 0, NULL),
	    SHMC_TOO_LARGE);
}

static void
fetch_too_large(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(s->cache, s->key, s->key_bytes, NULL,
	    load_too_large, s, &view), SHMC_TOO_LARGE);
}

TEST(contract__r03__waiters_of_a_long_key_are_passed_if_it_is_too_large)
{
	struct scene *s = scene_new(END_PASS, 0);
	pid_t leader, waiters[3];

	s->key = long_key();
	s->key_bytes = LARGE_KEY_BYTES;
	atomic_store(&s->waiting, 3);
	leader = run_in_child(fetch_too_large, s);
	while (atomic_load(&s->loads) == 0)
		sleep_ms(1);
	for (unsigned i = 0; i < 3; i++)
		waiters[i] = run_in_child(fetch_value, s);
	CHECK_EQ(wait_child(leader), 0);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PASSED]), 3);
	end_scene(s);
}
