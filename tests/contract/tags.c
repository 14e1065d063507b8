/* SPDX-License-Identifier: BSD-2-Clause */
/* Tags, namespaces and flush: many entries at once, in a moment. */
#include "fixture.h"

#include "cache.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES (1u << 20)

static enum shmc_status
store_tagged(struct shmc *cache, const char *key, const char *value,
    const char *const *tags, uint32_t count)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.tags = tags;
	terms.tag_count = count;
	return shmc_store(cache, key, strlen(key), value, strlen(value),
	    &terms, SHMC_ALWAYS, 0);
}

static void
put_tagged(struct shmc *cache, const char *key, const char *value,
    const char *tag)
{
	CHECK_EQ(store_tagged(cache, key, value, &tag, 1), SHMC_OK);
}

static void
invalidate(struct shmc *cache, const char *tag)
{
	CHECK_EQ(shmc_invalidate_tag(cache, tag), SHMC_OK);
}

/* ------------------------------------------------------------------ tags -- */

TEST(contract__tag__invalidated_takes_its_entries_and_no_others)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);

	put_tagged(cache, "a", "1", "red");
	put_tagged(cache, "b", "2", "red");
	put_tagged(cache, "c", "3", "blue");
	put(cache, "d", "4");
	invalidate(cache, "red");
	check_miss(cache, "a");
	check_miss(cache, "b");
	check_get(cache, "c", "3");
	check_get(cache, "d", "4");
	invalidate(cache, "never seen");
	check_get(cache, "c", "3");
	put_tagged(cache, "a", "5", "red");
	check_get(cache, "a", "5");
	cache_audit(cache);
}

TEST(contract__tag__any_of_eight_suffices)
{
	static const char *const tags[SHMC_TAGS_MAX] = { "t0", "t1", "t2", "t3",
		"t4", "t5", "t6", "" };
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);

	for (unsigned i = 0; i < SHMC_TAGS_MAX; i++) {
		CHECK_EQ(store_tagged(cache, "k", "v", tags, SHMC_TAGS_MAX),
		    SHMC_OK);
		check_get(cache, "k", "v");
		invalidate(cache, tags[i]);
		check_miss(cache, "k");
	}
}

TEST(contract__tag__limits_are_kept)
{
	static const char *const nine[SHMC_TAGS_MAX + 1] = { "0", "1", "2", "3",
		"4", "5", "6", "7", "8" };
	static const char *const hole[2] = { "0", NULL };
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	char *longest = malloc(100001);

	CHECK_EQ(store_tagged(cache, "k", "v", nine, SHMC_TAGS_MAX + 1),
	    SHMC_INVALID);
	CHECK_EQ(store_tagged(cache, "k", "v", nine, UINT32_MAX), SHMC_INVALID);
	CHECK_EQ(store_tagged(cache, "k", "v", hole, 2), SHMC_INVALID);
	CHECK_EQ(store_tagged(cache, "k", "v", NULL, 1), SHMC_INVALID);
	check_miss(cache, "k");
	CHECK_EQ(store_tagged(cache, "k", "v", NULL, 0), SHMC_OK);
	CHECK_EQ(shmc_invalidate_tag(cache, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_invalidate_tag(NULL, "0"), SHMC_INVALID);
	check_get(cache, "k", "v");
	memset(longest, 't', 100000);
	longest[100000] = '\0';
	put_tagged(cache, "k", "v", longest);
	invalidate(cache, longest);
	check_miss(cache, "k");
	free(longest);
}

TEST(contract__namespace__goes_as_a_whole)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	char key[32];
	size_t n;

	for (unsigned i = 0; i < 2000; i++) {
		(void)key_of(key, i);
		put_tagged(cache, key, "v", i % 2 == 0 ? "shop" : "blog");
	}
	invalidate(cache, "shop");
	for (unsigned i = 0; i < 2000; i++)
		CHECK_EQ(shmc_get(cache, key, key_of(key, i), NULL, 0, &n),
		    i % 2 == 0 ? SHMC_MISS : SHMC_TRUNCATED);
	CHECK_EQ(cache_stats(cache).displaced, 0);
}

/* How many bytes of the segment a call writes. */
static unsigned
bytes_changed(struct shmc *cache, void (*call)(struct shmc *))
{
	char *before = malloc(SEGMENT_BYTES);
	unsigned changed = 0;

	memcpy(before, cache->seg.base, SEGMENT_BYTES);
	call(cache);
	for (size_t i = 0; i < SEGMENT_BYTES; i++)
		changed += before[i] != cache->seg.base[i];
	free(before);
	return changed;
}

static void
invalidate_it(struct shmc *cache)
{
	invalidate(cache, "it");
}

static void
flush(struct shmc *cache)
{
	CHECK_EQ(shmc_flush(cache), SHMC_OK);
}

/* Three words at most, of however many entries. */
TEST(contract__tag_and_flush__write_no_entry)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	char key[32];

	for (unsigned i = 0; i < 1000; i++) {
		(void)key_of(key, i);
		put_tagged(cache, key, "v", "it");
	}
	CHECK_LE(bytes_changed(cache, invalidate_it), 16);
	CHECK_LE(bytes_changed(cache, flush), 8);
}

static uint32_t
place_of(struct shmc *cache, const char *tag)
{
	struct entry_view bounds;
	struct shmc_view view;
	uint32_t place;

	put_tagged(cache, "probe", "v", tag);
	REQUIRE_EQ(shmc_view(cache, "probe", 5, &view), SHMC_OK);
	REQUIRE(entry_read(&cache->seg, view.opaque[3], &bounds));
	REQUIRE_EQ(bounds.tag_count, 1);
	memcpy(&place, bounds.extra + 1, sizeof place);
	shmc_view_release(&view);
	return place;
}

/* Another name at the place of "first"; and one that is not. */
static void
find_names(struct shmc *cache, char same[32], char other[32])
{
	uint32_t place = place_of(cache, "first");

	other[0] = '\0';
	for (unsigned i = 0; i < 100000; i++) {
		(void)snprintf(same, 32, "tag %u", i);
		if (place_of(cache, same) == place)
			return;
		memcpy(other, same, 32);
	}
	FAIL("no name at the same place");
}

TEST(contract__tag__names_at_one_place_go_together)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	char same[32], other[32];

	find_names(cache, same, other);
	put_tagged(cache, "a", "1", "first");
	put_tagged(cache, "b", "2", same);
	put_tagged(cache, "c", "3", other);
	invalidate(cache, "first");
	check_miss(cache, "a");
	check_miss(cache, "b");
	check_get(cache, "c", "3");
}

/* ------------------------------------------- what is begun, and when it is -- */

struct scene {
	struct shmc *cache;
	_Atomic bool release;
	_Atomic unsigned loads;
	_Atomic unsigned shared;
	_Atomic uint64_t source;    /* what values are made from */
	_Atomic uint64_t published; /* source when the last invalidation ended */
	unsigned rounds;
	_Atomic unsigned running;
};

static struct scene *
scene_new(void)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(SEGMENT_BYTES, 16);
	return s;
}

static void
store_it(void *arg)
{
	struct scene *s = arg;

	put_tagged(s->cache, "k", "made before", "it");
}

/* How many test points a newcomer comes by before it has a slot. */
static unsigned
steps_to_attach(child_function *fn)
{
	struct testpoint_list list;

	record_testpoints(fn, scene_new(), &list);
	for (unsigned i = 0; i < list.count; i++)
		if (strcmp(list.names[i], "cache_attached") == 0)
			return i + 1;
	FAIL("it does not attach");
	return 0;
}

/* Stopped at each step of a store in turn: what was begun before is a miss. */
TEST(contract__tag__store_begun_before_does_not_count_after)
{
	unsigned first = 1 + steps_to_attach(store_it), n = first;
	pid_t writer;

	for (;; n++) {
		struct scene *s = scene_new();

		writer = run_stopped_at(NULL, n, store_it, s);
		if (writer == 0)
			break;
		invalidate(s->cache, "it");
		continue_child(writer);
		CHECK_EQ(wait_child(writer), 0);
		check_miss(s->cache, "k");
		put_tagged(s->cache, "k", "after", "it");
		check_get(s->cache, "k", "after");
		shmc_close(s->cache);
	}
	CHECK_GT(n, first + 3);
}

static int
update_outdated(const struct shmc_view *old, const void **value,
    size_t *bytes, void *arg)
{
	struct scene *s = arg;

	(void)old;
	*value = "made from it";
	*bytes = 12;
	invalidate(s->cache, "it");
	return 1;
}

TEST(contract__tag__update_made_from_what_was_before_does_not_count)
{
	struct scene *s = scene_new();
	struct shmc_terms terms = SHMC_TERMS_INIT;
	const char *tag = "it";

	terms.tags = &tag;
	terms.tag_count = 1;
	CHECK_EQ(shmc_update(s->cache, "k", 1, update_outdated, s, &terms),
	    SHMC_OK);
	check_miss(s->cache, "k");
}

static void
load_tagged(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	const char *tag = "it";
	struct shmc_terms terms = SHMC_TERMS_INIT;
	uint64_t value = atomic_load(&s->source);

	sched_yield(); /* let others join, and outdate it */
	atomic_fetch_add(&s->loads, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	terms.tags = &tag;
	terms.tag_count = 1;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, &value, sizeof value, 0, NULL), SHMC_OK);
}

static uint64_t
fetch_value(struct scene *s)
{
	struct shmc_view view;
	uint64_t value = UINT64_MAX;

	REQUIRE_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_tagged, s, &view),
	    SHMC_OK);
	CHECK_EQ(view.size_bytes, sizeof value);
	memcpy(&value, view.data, sizeof value);
	if (view.role == SHMC_ROLE_SHARED)
		atomic_fetch_add(&s->shared, 1);
	shmc_view_release(&view);
	return value;
}

static void
fetch_old(void *arg)
{
	CHECK_EQ(fetch_value(arg), 0);
}

static void
fetch_new(void *arg)
{
	CHECK_EQ(fetch_value(arg), 1);
}

static void
await_loads(struct scene *s, unsigned loads)
{
	while (atomic_load(&s->loads) < loads)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned waits)
{
	while (cache_stats(s->cache).waits < waits)
		sleep_ms(1);
}

TEST(contract__tag__computation_begun_before_does_not_count_after)
{
	struct scene *s = scene_new();
	pid_t leader = run_in_child(fetch_old, s);

	await_loads(s, 1);
	atomic_store(&s->source, 1);
	invalidate(s->cache, "it");
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	check_miss(s->cache, "k");
	fetch_new(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	fetch_new(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
}

/*
 * Who came before the call may have the result; who came after it is not served
 * with what was made before.
 */
TEST(contract__tag__waiter_come_after_is_not_served_with_what_was_before)
{
	struct scene *s = scene_new();
	pid_t leader = run_in_child(fetch_old, s), before, after;

	await_loads(s, 1);
	before = run_in_child(fetch_old, s);
	await_waits(s, 1);
	atomic_store(&s->source, 1);
	invalidate(s->cache, "it");
	after = run_in_child(fetch_new, s);
	await_waits(s, 2);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(wait_child(before), 0);
	CHECK_EQ(wait_child(after), 0);
	CHECK_EQ(atomic_load(&s->shared), 1);
	CHECK_EQ(atomic_load(&s->loads), 2);
}

/* Nor does he wait for its leader, who has stopped with it. */
TEST(contract__tag__outdated_result_of_a_stopped_leader_holds_nobody_up)
{
	struct scene *s = scene_new();
	pid_t leader;

	atomic_store(&s->release, true);
	leader = run_stopped_at("flight_committed", 1, fetch_old, s);
	REQUIRE(leader != 0);
	atomic_store(&s->source, 1);
	invalidate(s->cache, "it");
	fetch_new(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	CHECK_EQ(atomic_load(&s->shared), 0);
	continue_child(leader);
	CHECK_EQ(wait_child(leader), 0);
	fetch_new(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	cache_audit(s->cache);
}

/* Each change is computed anew before the next: nobody is left behind. */
static void
change_source(struct scene *s)
{
	for (unsigned i = 0; i < s->rounds; i++) {
		uint64_t now = 1 + atomic_fetch_add(&s->source, 1);
		unsigned loads = atomic_load(&s->loads);

		invalidate(s->cache, "it");
		atomic_store(&s->published, now);
		while (atomic_load(&s->loads) == loads)
			sched_yield();
	}
	atomic_store(&s->running, 0);
}

static void
play_source(unsigned index, void *arg)
{
	struct scene *s = arg;

	if (index == 0) {
		change_source(s);
		return;
	}
	while (atomic_load(&s->running) > 0) {
		uint64_t at_least = atomic_load(&s->published);

		CHECK_GE(fetch_value(s), at_least);
	}
}

/* Whatever meets whatever: nobody gets what was outdated before he asked. */
TEST(contract__tag__nobody_is_served_with_what_was_outdated_when_he_asked)
{
	struct scene *s = scene_new();

	atomic_store(&s->release, true);
	atomic_store(&s->running, 1);
	s->rounds = test_rounds(2000);
	run_processes(4, play_source, s);
	CHECK_GE(atomic_load(&s->loads), s->rounds);
	cache_audit(s->cache);
}

static void
invalidate_in_child(void *arg)
{
	struct scene *s = arg;

	invalidate(s->cache, "it");
}

/* An invalidation that comes late must not undo a later one. */
TEST(contract__tag__stopped_invalidation_undoes_no_later_one)
{
	struct scene *s = scene_new();
	pid_t late = run_stopped_at("store_tag_clock", 1, invalidate_in_child,
	    s);

	REQUIRE(late != 0);
	put_tagged(s->cache, "k", "between", "it");
	check_get(s->cache, "k", "between");
	invalidate(s->cache, "it");
	check_miss(s->cache, "k");
	put_tagged(s->cache, "l", "after", "it");
	continue_child(late);
	CHECK_EQ(wait_child(late), 0);
	check_miss(s->cache, "k");
	check_get(s->cache, "l", "after");
}

TEST(contract__tag__invalidation_killed_anywhere_is_done_or_not)
{
	for (unsigned n = 1;; n++) {
		struct scene *s = scene_new();
		bool killed;

		put_tagged(s->cache, "k", "v", "it");
		put_tagged(s->cache, "other", "stays", "other");
		killed = run_killed_at(NULL, n, invalidate_in_child, s);
		check_get(s->cache, "other", "stays");
		if (!killed)
			check_miss(s->cache, "k");
		invalidate(s->cache, "it");
		check_miss(s->cache, "k");
		put_tagged(s->cache, "k", "after", "it");
		check_get(s->cache, "k", "after");
		cache_audit(s->cache);
		shmc_close(s->cache);
		if (!killed)
			break;
	}
}

/* ----------------------------------------------------------------- flush -- */

static void
put_sizes(struct shmc *cache, const char *key, size_t key_bytes)
{
	static char value[50000];

	CHECK_EQ(shmc_put(cache, key, key_bytes, value, 10, 0), SHMC_OK);
	CHECK_EQ(shmc_put(cache, key, key_bytes - 1, value, sizeof value, 0),
	    SHMC_OK);
}

static int
count_visit(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	unsigned *visits = arg;

	(void)key;
	(void)key_bytes;
	(void)value;
	++*visits;
	return 1;
}

static unsigned
visits(struct shmc *cache)
{
	uint64_t cursor = 0;
	unsigned n = 0;

	CHECK_EQ(shmc_iterate(cache, &cursor, SIZE_MAX, count_visit, &n), 0);
	return n;
}

/* Also of keys so long that they lie in the pieces of their values. */
TEST(contract__flush__makes_every_entry_a_miss)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	char *key = calloc(1, SHMC_KEY_MAX);
	static const size_t sizes[] = { 1, 100, 3000, 5000, SHMC_KEY_MAX };
	size_t n;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		put_sizes(cache, key, sizes[i]);
	CHECK_EQ(visits(cache), 10);
	flush(cache);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		CHECK_EQ(shmc_get(cache, key, sizes[i], NULL, 0, &n),
		    SHMC_MISS);
		CHECK_EQ(shmc_get(cache, key, sizes[i] - 1, NULL, 0, &n),
		    SHMC_MISS);
	}
	CHECK_EQ(visits(cache), 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		put_sizes(cache, key, sizes[i]);
	CHECK_EQ(visits(cache), 10);
	free(key);
	cache_audit(cache);
	CHECK_EQ(shmc_flush(NULL), SHMC_INVALID);
}

/* Pair and tag: what a look-up goes by before it looks at the entry. */
static bool
meets_itself(const struct segment *seg, const char *key, size_t bytes)
{
	uint64_t before = entry_hash(seg, key, bytes), after, pairs;

	atomic_fetch_add(&seg->header->flushes, 1);
	after = entry_hash(seg, key, bytes);
	atomic_fetch_sub(&seg->header->flushes, 1);
	pairs = seg->geo.index_pairs;
	return (before & 0x1fff) == (after & 0x1fff) &&
	    (before >> 32) * pairs >> 32 == (after >> 32) * pairs >> 32;
}

/*
 * By chance a key's old and new hash lead to the same words.  One in a million
 * does in a small segment; in a large one with millions of keys, some do.
 */
TEST(contract__flush__key_that_meets_its_old_entry_misses_it)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	char key[32], buffer[8];
	unsigned i = 0;
	size_t n;

	while (!meets_itself(&cache->seg, key, key_of(key, i)))
		REQUIRE(++i < 50000000);
	put(cache, key, "old");
	flush(cache);
	CHECK_EQ(shmc_get(cache, key, strlen(key), buffer, sizeof buffer, &n),
	    SHMC_MISS);
	check_miss(cache, key); /* goes a longer way */
	CHECK_EQ(shmc_delete(cache, key, strlen(key)), SHMC_MISS);
	CHECK_EQ(shmc_store(cache, key, strlen(key), "new", 3, NULL,
	    SHMC_IF_ABSENT, 0), SHMC_OK);
	check_get(cache, key, "new");
	cache_audit(cache);
}

/* The same keys before and after: in some pairs both stand side by side. */
TEST(contract__flush__again_and_again_needs_no_room)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	char key[32];
	size_t n;

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 2000; i++) {
			(void)key_of(key, i);
			put(cache, key, "v");
			check_get(cache, key, "v");
		}
		flush(cache);
		for (unsigned i = 0; i < 2000; i++)
			CHECK_EQ(shmc_get(cache, key, key_of(key, i), NULL, 0,
			    &n), SHMC_MISS);
		cache_audit(cache);
	}
	CHECK_EQ(cache_stats(cache).refused, 0);
}

TEST(contract__flush__views_stay_readable)
{
	struct shmc *cache = cache_new(SEGMENT_BYTES, 4);
	static char value[30000], copy[30000];
	struct shmc_view view;

	value_fill(value, sizeof value, 1, 3);
	CHECK_EQ(shmc_put(cache, "k", 1, value, sizeof value, 0), SHMC_OK);
	REQUIRE_EQ(shmc_view(cache, "k", 1, &view), SHMC_OK);
	flush(cache);
	for (unsigned i = 0; i < 300; i++)
		CHECK_EQ(shmc_put(cache, "l", 1, value, sizeof value, 0),
		    SHMC_OK);
	CHECK_EQ(shmc_view_copy(&view, copy, sizeof copy), sizeof copy);
	CHECK_EQ(value_check(copy, sizeof copy, 1), 3);
	shmc_view_release(&view);
}

static void
fetch_superseded(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	REQUIRE_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_tagged, s, &view),
	    SHMC_OK);
	CHECK_EQ(view.flags, SHMC_SUPERSEDED);
	shmc_view_release(&view);
}

TEST(contract__flush__computation_in_flight_serves_its_waiters_unstored)
{
	struct scene *s = scene_new();
	pid_t leader = run_in_child(fetch_superseded, s), waiter, anew;

	await_loads(s, 1);
	waiter = run_in_child(fetch_superseded, s);
	await_waits(s, 1);
	flush(s->cache);
	atomic_store(&s->source, 1);
	anew = run_in_child(fetch_new, s); /* does not join */
	await_loads(s, 2);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(wait_child(anew), 0);
	CHECK_EQ(atomic_load(&s->loads), 2);
	fetch_new(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	CHECK_EQ(cache_stats(s->cache).superseded, 1);
}

static void
store_anything(void *arg)
{
	struct scene *s = arg;
	int64_t sum;

	put(s->cache, "k", "before");
	CHECK_EQ(shmc_incr(s->cache, "n", 1, 1, 1, 0, &sum), SHMC_OK);
	CHECK_EQ(shmc_touch(s->cache, "n", 1, 0) != SHMC_BUSY, 1);
	CHECK_EQ(shmc_delete(s->cache, "n", 1) != SHMC_BUSY, 1);
}

/* Each call comes before the flush or after it, as a whole. */
TEST(contract__flush__in_the_middle_of_other_calls_harms_none)
{
	for (unsigned n = 1;; n++) {
		struct scene *s = scene_new();
		pid_t writer = run_stopped_at(NULL, n, store_anything, s);

		if (writer == 0)
			break;
		flush(s->cache);
		check_miss(s->cache, "k");
		continue_child(writer);
		CHECK_EQ(wait_child(writer), 0);
		check_miss(s->cache, "n");
		cache_audit(s->cache);
		put(s->cache, "k", "after");
		check_get(s->cache, "k", "after");
		shmc_close(s->cache);
	}
}

static void
flush_in_child(void *arg)
{
	struct scene *s = arg;

	flush(s->cache);
}

TEST(contract__flush__killed_is_done_or_not)
{
	struct scene *s = scene_new();

	put(s->cache, "k", "v");
	REQUIRE(run_killed_at("store_flushed", 1, flush_in_child, s));
	check_miss(s->cache, "k");
	CHECK(!run_killed_at("store_flushed", 2, flush_in_child, s));
	put(s->cache, "k", "v");
	check_get(s->cache, "k", "v");
	cache_audit(s->cache);
}
