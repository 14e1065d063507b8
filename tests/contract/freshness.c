/* SPDX-License-Identifier: BSD-2-Clause */
/* R15, R16, R20: the ages of a value, who refreshes it, and on what terms. */
#include "inside.h"

#include "flight.h"
#include "index.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define READERS 5u
#define TTL_MS 1000u
#define GRACE_MS 100000u
#define KEEP_MS 1000000u

enum ending {
	END_NEW,
	END_ERROR,
	END_ABSENT,
	END_ABSENT_ONCE,
	END_ABANDON,
	END_RETURN,
	END_REFRESH,
	END_TOO_LARGE,
};

struct scene {
	struct shmc *cache;
	struct shmc_wait wait;
	enum ending ending;
	_Atomic unsigned loads;
	_Atomic bool release; /* leaders may end */
	_Atomic unsigned status[20]; /* how often each was answered */
	_Atomic unsigned role[10];
	_Atomic unsigned old;	/* how often the old value was given */
	_Atomic int answer;	/* the last ending's */
};

/* "k" is "old", fresh for TTL_MS, then stale, then kept. */
static struct scene *
scene_with_lease(uint64_t lease_ms)
{
	struct scene *s = shared_alloc(sizeof *s);
	struct shmc_options options = cache_options(4u << 20, 32);
	struct shmc_terms terms = SHMC_TERMS_INIT;

	options.lease_ms = lease_ms;
	s->cache = cache_open(&options);
	s->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	terms.ttl_ms = TTL_MS;
	terms.grace_ms = GRACE_MS;
	terms.keep_ms = KEEP_MS;
	REQUIRE_EQ(shmc_store(s->cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS,
	    0), SHMC_OK);
	return s;
}

static struct scene *
scene_new(void)
{
	return scene_with_lease(60000);
}

static void
make_stale(struct scene *s)
{
	let_pass(s->cache, 2 * TTL_MS);
}

static void
make_kept(struct scene *s)
{
	let_pass(s->cache, 2 * TTL_MS + GRACE_MS);
}

static void
make_gone(struct scene *s)
{
	let_pass(s->cache, 2 * TTL_MS + GRACE_MS + KEEP_MS);
}

static enum shmc_status
end_lead(struct shmc_lead *lead, enum ending ending)
{
	switch (ending) {
	case END_NEW:
		return shmc_lead_value(lead, "new", 3, 0, NULL);
	case END_ERROR:
		return shmc_lead_error(lead, 503, "no", 100000);
	case END_ABSENT:
		return shmc_lead_absent(lead, 100000);
	case END_ABSENT_ONCE:
		return shmc_lead_absent(lead, 0);
	case END_REFRESH:
		return shmc_lead_refresh(lead, TTL_MS, NULL);
	case END_TOO_LARGE:
		return shmc_lead_value(lead, "", (size_t)1 << 40, 0, NULL);
	case END_ABANDON:
		shmc_lead_abandon(lead);
		break;
	case END_RETURN:
		break;
	}
	return SHMC_ABANDONED;
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	atomic_store(&s->answer, (int)end_lead(lead, s->ending));
}

/* What was answered, told to all. */
static void
note(struct scene *s, enum shmc_status status, struct shmc_view *view)
{
	atomic_fetch_add(&s->status[status], 1);
	atomic_fetch_add(&s->role[view->role], 1);
	if (status == SHMC_OK && view->size_bytes == 3 &&
	    memcmp(view->data, "old", 3) == 0)
		atomic_fetch_add(&s->old, 1);
	shmc_view_release(view);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, "k", 1, &s->wait, load, s, &view), &view);
}

static void
fetch_and_end(struct scene *s, enum ending ending)
{
	s->ending = ending;
	atomic_store(&s->release, true);
	fetch(s);
}

static void
await_loads(struct scene *s, unsigned loads)
{
	while (atomic_load(&s->loads) < loads)
		sleep_ms(1);
}

/* In its loader until it is released. */
static pid_t
refresher(struct scene *s)
{
	unsigned loads = atomic_load(&s->loads);
	pid_t child = run_in_child(fetch, s);

	await_loads(s, loads + 1);
	return child;
}

static void
expect(struct scene *s, enum shmc_status status, enum shmc_role role,
    unsigned old)
{
	CHECK_EQ(atomic_load(&s->status[status]), 1);
	CHECK_EQ(atomic_load(&s->role[role]), 1);
	CHECK_EQ(atomic_load(&s->old), old);
}

/* ------------------------------------------------------- R15: three ages --- */

TEST(contract__r15__fresh_value_is_a_hit_for_its_ttl)
{
	struct scene *s = scene_new();

	let_pass(s->cache, TTL_MS - 500);
	fetch(s);
	expect(s, SHMC_OK, SHMC_ROLE_HIT, 1);
	CHECK_EQ(atomic_load(&s->loads), 0);
	CHECK_EQ(cache_stats(s->cache).hits, 1);
}

TEST(contract__r15__stale_value_is_served_at_once_while_one_refreshes)
{
	struct scene *s = scene_new();
	pid_t leader;

	make_stale(s);
	leader = refresher(s);
	for (unsigned i = 0; i < READERS; i++)
		CHECK_EQ(wait_child(run_in_child(fetch, s)), 0);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_STALE]), READERS);
	CHECK_EQ(atomic_load(&s->old), READERS);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(cache_stats(s->cache).stale_hits, READERS);
	CHECK_EQ(cache_stats(s->cache).waits, 0);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	check_get(s->cache, "k", "new");
}

static void
fetch_in_race(unsigned index, void *arg)
{
	(void)index;
	fetch(arg);
}

/* All find it stale at one instant: one computes, nobody sleeps. */
TEST(contract__r15__stampede_on_a_stale_value_computes_once)
{
	struct scene *s = scene_new();

	make_stale(s);
	atomic_store(&s->release, true);
	run_processes(8, fetch_in_race, s);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 8);
	CHECK_EQ(cache_stats(s->cache).waits, 0);
}

TEST(contract__r15__get_and_view_tell_the_ages_apart)
{
	struct scene *s = scene_new();
	struct shmc_view view;
	char copy[4] = "";
	size_t n = 0;

	check_get(s->cache, "k", "old");
	make_stale(s);
	CHECK_EQ(shmc_get(s->cache, "k", 1, copy, 3, &n), SHMC_STALE);
	CHECK_STR(copy, "old");
	CHECK_EQ(shmc_view(s->cache, "k", 1, &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_STALE);
	shmc_view_release(&view);
	make_kept(s);
	check_miss(s->cache, "k");
	CHECK_EQ(shmc_view(s->cache, "k", 1, &view), SHMC_MISS);
	CHECK_EQ(cache_stats(s->cache).stale_hits, 2);
	CHECK_EQ(cache_stats(s->cache).misses, 2);
}

TEST(contract__r15__kept_value_is_not_served_while_one_refreshes)
{
	struct scene *s = scene_new();
	pid_t leader, waiter;

	make_kept(s);
	leader = refresher(s);
	waiter = run_in_child(fetch, s);
	while (cache_stats(s->cache).waits < 1)
		sleep_ms(1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_SHARED]), 1);
	CHECK_EQ(atomic_load(&s->old), 0);
	CHECK_EQ(atomic_load(&s->loads), 1);
}

static const enum ending failures[] = {
	END_ERROR, END_ABANDON, END_RETURN, END_TOO_LARGE,
};

TEST(contract__r15__kept_value_is_served_if_the_refresh_fails)
{
	for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
		struct scene *s = scene_new();

		make_kept(s);
		fetch_and_end(s, failures[i]);
		expect(s, SHMC_OK, SHMC_ROLE_STALE, 1);
		CHECK_EQ(atomic_load(&s->loads), 1);
		/* And again: the failure has not replaced it. */
		fetch(s);
		CHECK_EQ(atomic_load(&s->old), 2);
		CHECK_EQ(atomic_load(&s->loads), 2);
		cache_audit(s->cache);
	}
}

TEST(contract__r15__stale_value_is_served_if_its_refresh_fails)
{
	for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
		struct scene *s = scene_new();

		make_stale(s);
		fetch_and_end(s, failures[i]);
		expect(s, SHMC_OK, SHMC_ROLE_STALE, 1);
	}
}

/* Those who slept for the error have the older value too. */
TEST(contract__r15__waiters_of_a_failed_refresh_get_the_kept_value)
{
	struct scene *s = scene_new();
	pid_t leader, waiters[READERS];

	make_kept(s);
	s->ending = END_ERROR;
	leader = refresher(s);
	for (unsigned i = 0; i < READERS; i++)
		waiters[i] = run_in_child(fetch, s);
	while (cache_stats(s->cache).waits < READERS)
		sleep_ms(1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	for (unsigned i = 0; i < READERS; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&s->loads), 1);
	CHECK_EQ(atomic_load(&s->old), READERS + 1);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_STALE]), READERS + 1);
}

TEST(contract__r15__leader_killed__kept_value_is_there_for_who_fails_after_it)
{
	struct scene *s = scene_new();
	pid_t leader, waiter;

	make_kept(s);
	s->ending = END_ABANDON;
	leader = refresher(s);
	waiter = run_in_child(fetch, s);
	while (cache_stats(s->cache).waits < 1)
		sleep_ms(1);
	kill_child(leader);
	await_loads(s, 2);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(waiter), 0);
	expect(s, SHMC_OK, SHMC_ROLE_STALE, 1);
	CHECK_EQ(cache_stats(s->cache).promotions, 1);
}

/* Absence is an answer, not a failure. */
TEST(contract__r15__absence_replaces_the_kept_value)
{
	struct scene *s = scene_new();
	size_t n;

	make_kept(s);
	fetch_and_end(s, END_ABSENT);
	CHECK_EQ(atomic_load(&s->status[SHMC_ABSENT]), 1);
	CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_ABSENT);
}

/* Also if it is not remembered, and whether or not somebody waits. */
TEST(contract__r15__absence_without_ttl_ends_the_old_value)
{
	for (unsigned waiters = 0; waiters < 2; waiters++) {
		struct scene *s = scene_new();
		pid_t leader, waiter = 0;
		size_t n;

		make_kept(s);
		s->ending = END_ABSENT_ONCE;
		leader = refresher(s);
		if (waiters > 0)
			waiter = run_in_child(fetch, s);
		while (cache_stats(s->cache).waits < waiters)
			sleep_ms(1);
		atomic_store(&s->release, true);
		CHECK_EQ(wait_child(leader), 0);
		if (waiters > 0)
			CHECK_EQ(wait_child(waiter), 0);
		CHECK_EQ(atomic_load(&s->status[SHMC_ABSENT]), waiters + 1);
		s->cache->seg.created_ms += GRACE_MS; /* within grace again */
		CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_MISS);
		cache_audit(s->cache);
	}
}

TEST(contract__r15__after_keep_it_is_a_miss_though_the_refresh_fails)
{
	struct scene *s = scene_new();

	make_gone(s);
	check_miss(s->cache, "k");
	fetch_and_end(s, END_ABANDON);
	expect(s, SHMC_ABANDONED, SHMC_ROLE_NONE, 0);
	fetch_and_end(s, END_ERROR);
	CHECK_EQ(atomic_load(&s->status[SHMC_ERROR]), 1);
	CHECK_EQ(atomic_load(&s->old), 0);
}

/* What was found on the way and removed since is no older value any more. */
TEST(contract__r15__value_invalidated_before_the_lead_is_not_offered)
{
	struct scene *s = scene_new();
	pid_t late;

	make_stale(s);
	s->ending = END_REFRESH;
	atomic_store(&s->release, true);
	late = run_stopped_at("flight_claimed", 1, fetch, s);
	REQUIRE(late != 0);
	CHECK_EQ(shmc_invalidate(s->cache, "k", 1), SHMC_OK);
	continue_child(late);
	CHECK_EQ(wait_child(late), 0);
	CHECK_EQ(atomic_load(&s->answer), SHMC_MISS); /* nothing to refresh */
	CHECK_EQ(atomic_load(&s->old), 0);
	check_miss(s->cache, "k");
}

TEST(contract__r15__value_whose_tag_went_before_the_lead_is_not_offered)
{
	struct scene *s = scene_new();
	struct shmc_terms terms = SHMC_TERMS_INIT;
	const char *tag = "t";
	pid_t late;

	terms.ttl_ms = TTL_MS;
	terms.grace_ms = GRACE_MS;
	terms.tags = &tag;
	terms.tag_count = 1;
	REQUIRE_EQ(shmc_store(s->cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS,
	    0), SHMC_OK);
	make_stale(s);
	s->ending = END_REFRESH;
	atomic_store(&s->release, true);
	late = run_stopped_at("flight_claimed", 1, fetch, s);
	REQUIRE(late != 0);
	CHECK_EQ(shmc_invalidate_tag(s->cache, "t"), SHMC_OK);
	continue_child(late);
	CHECK_EQ(wait_child(late), 0);
	CHECK_EQ(atomic_load(&s->answer), SHMC_MISS);
	check_miss(s->cache, "k");
}

/* ------------------------------------------------- R16: who refreshes it --- */

/* The one flight that is under way. */
static struct flight *
only_flight(struct scene *s)
{
	struct flight *found = NULL;

	for (uint32_t i = 0; i < s->cache->seg.geo.flight_count; i++) {
		struct flight *f = &s->cache->seg.flights[i];

		if (flight_state(load_acquire(&f->word)) == FLIGHT_FREE)
			continue;
		CHECK(found == NULL);
		found = f;
	}
	REQUIRE(found != NULL);
	return found;
}

static void
read_all_ways(struct scene *s)
{
	struct shmc_view view;
	size_t n;

	fetch(s);
	CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_TRUNCATED);
	CHECK_EQ(shmc_view(s->cache, "k", 1, &view), SHMC_OK);
	shmc_view_release(&view);
}

TEST(contract__r16__readers_of_the_old_value_leave_its_flight_alone)
{
	struct scene *s = scene_new();
	struct flight *flight, before;
	pid_t leader;

	make_stale(s);
	leader = refresher(s);
	flight = only_flight(s);
	memcpy(&before, flight, sizeof before);
	for (unsigned i = 0; i < READERS; i++)
		read_all_ways(s);
	CHECK_MEM(flight, &before, sizeof before);
	kill(leader, SIGSTOP);
	for (unsigned i = 0; i < READERS; i++)
		read_all_ways(s);
	CHECK_MEM(flight, &before, sizeof before);
	CHECK_EQ(atomic_load(&s->old), 2 * READERS);
	kill(leader, SIGCONT);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	check_get(s->cache, "k", "new");
}

/* Nobody waits for it, so nobody but the next reader can notice. */
TEST(contract__r16__refresher_killed__next_reader_refreshes)
{
	struct scene *s = scene_new();

	make_stale(s);
	kill_child(refresher(s));
	fetch_and_end(s, END_NEW);
	CHECK_EQ(atomic_load(&s->loads), 2);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_PROMOTED]), 1);
	check_get(s->cache, "k", "new");
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

/* The same for a reader that may not wait: shmc_fetch_many(). */
static void
load_all(struct shmc_fetch_item *items, size_t count, void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(count, 1);
	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_value(&items[0].lead, "new", 3, 0, NULL), SHMC_OK);
}

TEST(contract__r16__refresher_killed__fetch_many_refreshes)
{
	struct scene *s = scene_new();
	struct shmc_fetch_item item = { .key = "k", .key_bytes = 1 };

	make_stale(s);
	kill_child(refresher(s));
	CHECK_EQ(shmc_fetch_many(s->cache, &item, 1, NULL, load_all, s), 1);
	CHECK_EQ(atomic_load(&s->loads), 2);
	shmc_view_release(&item.view);
	check_get(s->cache, "k", "new");
}

TEST(contract__r16__refresher_stopped__next_reader_refreshes_after_its_lease)
{
	struct scene *s = scene_with_lease(50);
	pid_t stopped;

	make_stale(s);
	stopped = refresher(s);
	kill(stopped, SIGSTOP);
	atomic_store(&s->release, true);
	while (atomic_load(&s->loads) < 2)
		fetch(s);
	check_get(s->cache, "k", "new");
	/* It goes on, and its result is refused: R7. */
	kill(stopped, SIGCONT);
	CHECK_EQ(wait_child(stopped), 0);
	CHECK_EQ(atomic_load(&s->status[SHMC_FENCED]), 1);
	CHECK_EQ(atomic_load(&s->loads), 2);
}

static void
fetch_in_time(void *arg)
{
	struct scene *s = arg;

	s->wait.deadline_ns = now_ns() + 1000000;
	fetch(s);
}

/* It has been waited for, and nobody waits any more. */
TEST(contract__r16__refresh_abandoned_after_its_waiter_left__next_one_refreshes)
{
	struct scene *s = scene_new();
	pid_t leader;

	make_stale(s);
	s->ending = END_ABANDON;
	leader = refresher(s);
	let_pass(s->cache, GRACE_MS); /* for us: only kept, so we wait */
	fetch_in_time(s);
	CHECK_EQ(atomic_load(&s->status[SHMC_TIMEOUT]), 1);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	s->cache->seg.created_ms += GRACE_MS; /* stale again */
	s->wait.deadline_ns = 0;
	fetch_and_end(s, END_NEW);
	CHECK_EQ(atomic_load(&s->loads), 2);
	check_get(s->cache, "k", "new");
}

TEST(contract__r16__readers_in_a_race_after_a_death_elect_one)
{
	struct scene *s = scene_new();

	make_stale(s);
	kill_child(refresher(s));
	atomic_store(&s->release, true);
	run_processes(8, fetch_in_race, s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 8);
}

/* Stopped at any point of its refresh: the old value stays readable, and one refreshes. */
TEST(contract__r16__refresher_stopped_anywhere_stops_no_reader)
{
	for (unsigned n = 1;; n++) {
		struct scene *s = scene_with_lease(20);
		pid_t stopped;
		bool was_loading;

		make_stale(s);
		atomic_store(&s->release, true);
		stopped = run_stopped_at(NULL, n, fetch, s);
		if (stopped == 0)
			break;
		was_loading = atomic_load(&s->loads) > 0;
		while (atomic_load(&s->old) ==
		    atomic_load(&s->status[SHMC_OK]))
			fetch(s);
		CHECK_LE(atomic_load(&s->loads), was_loading ? 2 : 1);
		continue_child(stopped);
		CHECK_EQ(wait_child(stopped), 0);
		check_get(s->cache, "k", "new");
		(void)shmc_reap(s->cache);
		cache_audit(s->cache);
		shmc_close(s->cache);
	}
}

/* ------------------------------------------------ R20: the loader decides --- */

/* The key's entry, which nobody changes meanwhile. */
static struct entry_view
entry_of(struct scene *s)
{
	struct key key = key_from(s->cache, "k");
	struct entry_view view;
	_Atomic uint64_t *at;

	REQUIRE(index_find(&s->cache->seg, &key, &view, &at) != WORD_EMPTY);
	return view;
}

static void
check_terms(struct scene *s, uint32_t grace_ms, uint32_t keep_ms,
    uint32_t tags)
{
	struct entry_view view = entry_of(s);

	REQUIRE(view.extra != NULL);
	CHECK_EQ(load_relaxed(&view.extra->grace_ms), grace_ms);
	CHECK_EQ(load_relaxed(&view.extra->keep_ms), keep_ms);
	CHECK_EQ(view.tag_count, tags);
}

static const char *tag_names[] = { "one", "two", "three" };

static struct shmc_terms
terms_with_tags(uint64_t grace_ms, uint32_t tags)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.grace_ms = grace_ms;
	terms.keep_ms = 2 * grace_ms;
	terms.tags = tag_names;
	terms.tag_count = tags;
	return terms;
}

/* Twice: the last ones count, and one of them is invalidated meanwhile or later. */
static void
load_with_terms(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_terms terms = terms_with_tags(1, 1);

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	terms = terms_with_tags(5000, 2);
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	if (s->ending == END_ABANDON)
		CHECK_EQ(shmc_invalidate_tag(s->cache, "two"), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, "new", 3, TTL_MS, NULL), SHMC_OK);
}

static void
fetch_with(struct scene *s, shmc_loader *loader)
{
	struct shmc_view view;

	note(s, shmc_fetch(s->cache, "k", 1, &s->wait, loader, s, &view),
	    &view);
}

TEST(contract__r20__terms_and_tags_are_the_loaders)
{
	struct scene *s = scene_new();
	size_t n;
	char copy[3];

	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_OK);
	fetch_with(s, load_with_terms);
	check_terms(s, 5000, 10000, 2);
	check_get(s->cache, "k", "new");
	let_pass(s->cache, TTL_MS + 1000);
	CHECK_EQ(shmc_get(s->cache, "k", 1, copy, 3, &n), SHMC_STALE);
	let_pass(s->cache, 5000);
	check_miss(s->cache, "k");
	s->cache->seg.created_ms += TTL_MS + 6000;
	CHECK_EQ(shmc_invalidate_tag(s->cache, "three"), SHMC_OK);
	check_get(s->cache, "k", "new");
	CHECK_EQ(shmc_invalidate_tag(s->cache, "one"), SHMC_OK);
	check_miss(s->cache, "k");
}

/* It may have been made from what was invalidated. */
TEST(contract__r20__tag_invalidated_in_the_loader__is_a_miss_at_once)
{
	struct scene *s = scene_new();

	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_OK);
	s->ending = END_ABANDON;
	fetch_with(s, load_with_terms);
	CHECK_EQ(atomic_load(&s->status[SHMC_OK]), 1); /* the caller has it */
	check_miss(s->cache, "k");
}

static void
check_old(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_view *old = shmc_lead_old(lead);
	int role = -1;

	if (old != NULL) {
		CHECK_EQ(old->size_bytes, 3);
		CHECK_MEM(old->data, "old", 3);
		role = (int)old->role;
	}
	atomic_store(&s->answer, role);
}

/* What the loader sees of the older value, so long after it was stored. */
static int
old_after(uint64_t ms)
{
	struct scene *s = scene_new();

	let_pass(s->cache, ms);
	fetch_with(s, check_old);
	return atomic_load(&s->answer);
}

TEST(contract__r20__loader_sees_the_older_value_while_there_is_one)
{
	CHECK_EQ(old_after(2 * TTL_MS), SHMC_ROLE_STALE);
	CHECK_EQ(old_after(2 * TTL_MS + GRACE_MS), SHMC_ROLE_NONE);
	CHECK_EQ(old_after(2 * TTL_MS + GRACE_MS + KEEP_MS), -1);
}

TEST(contract__r20__begin_gives_the_older_value_to_serve_at_once)
{
	struct scene *s = scene_new();
	struct shmc_view view, *old;
	struct shmc_lead lead;

	make_stale(s);
	REQUIRE_EQ(shmc_begin(s->cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK(view.data == NULL);
	old = shmc_lead_old(&lead);
	REQUIRE(old != NULL);
	CHECK_EQ(old->role, SHMC_ROLE_STALE);
	CHECK_MEM(old->data, "old", 3);
	CHECK_EQ(shmc_lead_value(&lead, "new", 3, 0, &view), SHMC_OK);
	CHECK_MEM(view.data, "new", 3);
	CHECK_EQ(view.role, SHMC_ROLE_LED);
	shmc_view_release(&view);
	CHECK_EQ(shmc_detach_thread(s->cache), 0); /* nothing is held */
}

TEST(contract__r20__refresh_keeps_value_and_terms_and_renews_the_ttl)
{
	struct scene *s = scene_new();
	struct shmc_terms terms = terms_with_tags(GRACE_MS, 3);
	uint64_t expiry;

	terms.ttl_ms = TTL_MS;
	REQUIRE_EQ(shmc_store(s->cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS,
	    0), SHMC_OK);
	expiry = entry_of(s).expiry_ms;
	make_stale(s);
	fetch_and_end(s, END_REFRESH);
	expect(s, SHMC_OK, SHMC_ROLE_LED, 1);
	check_get(s->cache, "k", "old");
	CHECK_GE(entry_of(s).expiry_ms, expiry + 2 * TTL_MS);
	check_terms(s, GRACE_MS, 2 * GRACE_MS, 3);
	/* What it was made from can still be invalidated. */
	CHECK_EQ(shmc_invalidate_tag(s->cache, "three"), SHMC_OK);
	check_miss(s->cache, "k");
}

static void
refresh_with_terms(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_terms terms = terms_with_tags(7, 1);

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	CHECK_EQ(shmc_lead_refresh(lead, TTL_MS, NULL), SHMC_OK);
}

TEST(contract__r20__refresh_takes_new_terms_if_the_loader_gives_some)
{
	struct scene *s = scene_new();

	make_stale(s);
	fetch_with(s, refresh_with_terms);
	check_get(s->cache, "k", "old");
	check_terms(s, 7, 14, 1);
}

#define LARGE_BYTES 300000u

/* After an attempt to append more than may be. */
static void
refresh_large(struct shmc_lead *lead, void *arg)
{
	static char much[1u << 20];
	struct scene *s = arg;
	enum shmc_status status;

	atomic_fetch_add(&s->loads, 1);
	do
		status = shmc_lead_append(lead, much, sizeof much);
	while (status == SHMC_OK);
	CHECK_EQ(status, SHMC_TOO_LARGE);
	CHECK_EQ(shmc_lead_refresh(lead, TTL_MS, NULL), SHMC_OK);
}

TEST(contract__r20__refresh_of_a_value_in_pieces)
{
	struct scene *s = scene_new();
	struct shmc_terms terms = terms_with_tags(GRACE_MS, 0);
	static unsigned char value[LARGE_BYTES];
	size_t n;

	terms.ttl_ms = TTL_MS;
	value_fill(value, sizeof value, 1, 7);
	REQUIRE_EQ(shmc_store(s->cache, "k", 1, value, sizeof value, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	make_stale(s);
	fetch_with(s, refresh_large);
	CHECK_EQ(atomic_load(&s->role[SHMC_ROLE_LED]), 1);
	memset(value, 0, sizeof value);
	REQUIRE_EQ(shmc_get(s->cache, "k", 1, value, sizeof value, &n), SHMC_OK);
	CHECK_EQ(value_check(value, n, 1), 7);
	check_terms(s, GRACE_MS, 2 * GRACE_MS, 0);
	cache_audit(s->cache);
}

/* The view of the new value needs no more cells than that of the old one had. */
TEST(contract__r20__refresh_with_all_views_but_one_in_use)
{
	struct scene *s = scene_new();
	struct shmc_view views[SHMC_VIEWS_MAX - 1];

	put(s->cache, "other", "v");
	for (unsigned i = 0; i < SHMC_VIEWS_MAX - 1; i++)
		REQUIRE_EQ(shmc_view(s->cache, "other", 5, &views[i]), SHMC_OK);
	make_stale(s);
	fetch_and_end(s, END_NEW);
	expect(s, SHMC_OK, SHMC_ROLE_LED, 0);
	check_get(s->cache, "k", "new");
	for (unsigned i = 0; i < SHMC_VIEWS_MAX - 1; i++)
		shmc_view_release(&views[i]);
}
