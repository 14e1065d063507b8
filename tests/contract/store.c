/* SPDX-License-Identifier: BSD-2-Clause */
/* R21 to R25, and R29: what stores under a condition, counts, touches, deletes. */
#include "fixture.h"

#include "cache.h"
#include "store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY "k", 1 /* in a list of arguments */
#define LARGE_BYTES 20000u

static enum shmc_status
store_if(struct shmc *cache, const char *value, enum shmc_if condition,
    uint64_t version)
{
	return shmc_store(cache, KEY, value, strlen(value), NULL, condition,
	    version);
}

static uint64_t
version_of(struct shmc *cache, const void *key, size_t key_bytes)
{
	struct shmc_view view;
	uint64_t version;

	REQUIRE_EQ(shmc_view(cache, key, key_bytes, &view), SHMC_OK);
	version = view.version;
	shmc_view_release(&view);
	return version;
}

static void
await_miss(struct shmc *cache)
{
	size_t n;

	while (shmc_get(cache, KEY, NULL, 0, &n) != SHMC_MISS)
		sleep_ms(1);
}

/* Stores under terms; of no value, nothing else. */
static void
store_with(struct shmc *cache, const char *value, struct shmc_terms terms)
{
	CHECK_EQ(shmc_store(cache, KEY, value, strlen(value), &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
}

static struct shmc_terms
terms_of(uint64_t ttl_ms)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = ttl_ms;
	return terms;
}

/* ---------------------------------------------------------- add, replace -- */

TEST(contract__add__stores_only_where_nothing_is)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK_EQ(store_if(cache, "first", SHMC_IF_ABSENT, 0), SHMC_OK);
	CHECK_EQ(store_if(cache, "second", SHMC_IF_ABSENT, 0), SHMC_OTHER);
	check_get(cache, "k", "first");
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	CHECK_EQ(store_if(cache, "third", SHMC_IF_ABSENT, 0), SHMC_OK);
	check_get(cache, "k", "third");
	cache_audit(cache);
}

TEST(contract__add__takes_the_place_of_what_expired)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_terms terms = terms_of(1);

	CHECK_EQ(shmc_put(cache, KEY, "old", 3, 1), SHMC_OK);
	await_miss(cache);
	CHECK_EQ(store_if(cache, "new", SHMC_IF_ABSENT, 0), SHMC_OK);
	check_get(cache, "k", "new");
	/* Kept for a refresh that fails, and a miss for everybody else. */
	terms.keep_ms = 100000;
	store_with(cache, "kept", terms);
	await_miss(cache);
	CHECK_EQ(store_if(cache, "newer", SHMC_IF_PRESENT, 0), SHMC_OTHER);
	CHECK_EQ(store_if(cache, "newer", SHMC_IF_ABSENT, 0), SHMC_OK);
	check_get(cache, "k", "newer");
}

/* Stale is there: it is served. */
TEST(contract__add__is_refused_within_grace)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_terms terms = terms_of(1);
	char buffer[8];
	size_t n;

	terms.grace_ms = 100000;
	store_with(cache, "stale", terms);
	while (shmc_get(cache, KEY, buffer, sizeof buffer, &n) != SHMC_STALE)
		sleep_ms(1);
	CHECK_EQ(store_if(cache, "new", SHMC_IF_ABSENT, 0), SHMC_OTHER);
	CHECK_EQ(store_if(cache, "new", SHMC_IF_PRESENT, 0), SHMC_OK);
	check_get(cache, "k", "new");
}

static void
load_absent(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_absent(lead, 100000), SHMC_OK);
}

TEST(contract__add__takes_the_place_of_a_known_absence)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view view;

	CHECK_EQ(shmc_fetch(cache, KEY, NULL, load_absent, NULL, &view),
	    SHMC_ABSENT);
	CHECK_EQ(store_if(cache, "v", SHMC_IF_PRESENT, 0), SHMC_OTHER);
	CHECK_EQ(store_if(cache, "v", SHMC_IF_ABSENT, 0), SHMC_OK);
	check_get(cache, "k", "v");
}

TEST(contract__replace__stores_only_where_something_is)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK_EQ(store_if(cache, "v", SHMC_IF_PRESENT, 0), SHMC_OTHER);
	check_miss(cache, "k");
	put(cache, "k", "v");
	CHECK_EQ(store_if(cache, "w", SHMC_IF_PRESENT, 0), SHMC_OK);
	check_get(cache, "k", "w");
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	CHECK_EQ(store_if(cache, "x", SHMC_IF_PRESENT, 0), SHMC_OTHER);
	check_miss(cache, "k");
}

struct contest {
	struct shmc *cache;
	unsigned rounds;
	size_t bytes;
	struct test_barrier turn;
	_Atomic unsigned won;
};

static struct contest *
contest_new(unsigned racers, unsigned rounds)
{
	struct contest *c = shared_alloc(sizeof *c);

	c->cache = cache_new(4u << 20, 16);
	c->rounds = test_rounds(rounds);
	c->bytes = 8;
	test_barrier_init(&c->turn, racers);
	return c;
}

#define RACERS 4u

static void
add_each(unsigned index, void *arg)
{
	struct contest *c = arg;
	char key[32];

	for (unsigned i = 0; i < c->rounds; i++) {
		size_t n = key_of(key, i % 1000);
		enum shmc_status status;

		test_barrier_meet(&c->turn);
		status = shmc_store(c->cache, key, n, &index, sizeof index,
		    NULL, SHMC_IF_ABSENT, 0);
		CHECK(status == SHMC_OK || status == SHMC_OTHER);
		if (status == SHMC_OK)
			atomic_fetch_add(&c->won, 1);
		test_barrier_meet(&c->turn);
		if (index == 0)
			CHECK_EQ(shmc_delete(c->cache, key, n), SHMC_OK);
	}
}

TEST(contract__add__of_several_at_once_one_stores)
{
	struct contest *c = contest_new(RACERS, 3000);

	run_processes(RACERS, add_each, c);
	CHECK_EQ(cache_stats(c->cache).displaced, 0);
	CHECK_EQ(atomic_load(&c->won), c->rounds);
	cache_audit(c->cache);
}

/* ------------------------------------------------------ compare and swap -- */

TEST(contract__swap__needs_the_version_that_is_there)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	uint64_t first, second;

	CHECK_EQ(store_if(cache, "a", SHMC_IF_VERSION, 0), SHMC_OTHER);
	put(cache, "k", "a");
	first = version_of(cache, KEY);
	CHECK_EQ(version_of(cache, KEY), first);
	CHECK_EQ(store_if(cache, "b", SHMC_IF_VERSION, first + 1), SHMC_OTHER);
	CHECK_EQ(store_if(cache, "b", SHMC_IF_VERSION, first), SHMC_OK);
	check_get(cache, "k", "b");
	CHECK_EQ(store_if(cache, "c", SHMC_IF_VERSION, first), SHMC_OTHER);
	second = version_of(cache, KEY);
	CHECK_NE(second, first);
	CHECK_EQ(store_if(cache, "c", SHMC_IF_VERSION, second), SHMC_OK);
	check_get(cache, "k", "c");
}

static void
rewrite(struct shmc *cache)
{
	put(cache, "k", "same");
}

static void
remove_and_rewrite(struct shmc *cache)
{
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	put(cache, "k", "same");
}

static void
touch(struct shmc *cache)
{
	CHECK_EQ(shmc_touch(cache, KEY, 100000), SHMC_OK);
}

static void
remove_only(struct shmc *cache)
{
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
}

/* Recycles every block several times. */
static void
churn(struct shmc *cache)
{
	static char value[3000];
	char key[32];

	for (unsigned i = 0; i < 1500; i++)
		REQUIRE_EQ(shmc_put(cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
}

static void
evict_and_rewrite(struct shmc *cache)
{
	churn(cache);
	check_miss(cache, "k");
	put(cache, "k", "same");
}

/* Even one that leaves the very same bytes: no ABA. */
TEST(contract__swap__is_refused_after_any_change)
{
	static void (*const changes[])(struct shmc *) = {
		rewrite, remove_and_rewrite, touch, remove_only,
		evict_and_rewrite,
	};

	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		struct shmc *cache = cache_new(1u << 20, 4);
		uint64_t version;

		put(cache, "k", "same");
		version = version_of(cache, KEY);
		changes[i](cache);
		CHECK_EQ(store_if(cache, "x", SHMC_IF_VERSION, version),
		    SHMC_OTHER);
		shmc_close(cache);
	}
}

static int
by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Values of all sizes, so that places are used again by others and by us. */
TEST(contract__swap__versions_never_repeat)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	unsigned rounds = test_rounds(20000), repeated = 0;
	uint64_t *versions = calloc(rounds, sizeof *versions);
	static char value[9000];

	for (unsigned i = 0; i < rounds; i++) {
		REQUIRE_EQ(shmc_put(cache, KEY, value, i * 37 % sizeof value,
		    0), SHMC_OK);
		versions[i] = version_of(cache, KEY);
		if (i % 3 == 0)
			CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	}
	CHECK_GT(cache_stats(cache).evicted_blocks, rounds / 2);
	qsort(versions, rounds, sizeof *versions, by_value);
	for (unsigned i = 1; i < rounds; i++)
		repeated += versions[i] == versions[i - 1];
	CHECK_EQ(repeated, 0);
	free(versions);
}

/* The value is what it was at the version that is swapped; its own counter. */
static bool
swap_once(struct contest *c, unsigned char *value)
{
	struct shmc_view view;
	enum shmc_status status;
	uint64_t count, version;

	REQUIRE_EQ(shmc_view(c->cache, KEY, &view), SHMC_OK);
	CHECK_EQ(shmc_view_copy(&view, value, c->bytes), c->bytes);
	version = view.version;
	shmc_view_release(&view);
	count = value_check(value, c->bytes, 1);
	REQUIRE(count != UINT64_MAX);
	value_fill(value, c->bytes, 1, count + 1);
	status = shmc_store(c->cache, KEY, value, c->bytes, NULL,
	    SHMC_IF_VERSION, version);
	CHECK(status == SHMC_OK || status == SHMC_OTHER);
	return status == SHMC_OK;
}

static void
swap_each(unsigned index, void *arg)
{
	struct contest *c = arg;
	unsigned char *value = malloc(c->bytes);

	(void)index;
	for (unsigned i = 0; i < c->rounds; i++)
		if (swap_once(c, value))
			atomic_fetch_add(&c->won, 1);
	free(value);
}

static void
swap_contest(size_t bytes)
{
	struct contest *c = contest_new(RACERS, 3000);
	unsigned char *value = malloc(bytes);
	size_t n;

	c->bytes = bytes;
	value_fill(value, bytes, 1, 0);
	REQUIRE_EQ(shmc_put(c->cache, KEY, value, bytes, 0), SHMC_OK);
	run_processes(RACERS, swap_each, c);
	REQUIRE_EQ(shmc_get(c->cache, KEY, value, bytes, &n), SHMC_OK);
	CHECK_EQ(value_check(value, n, 1), atomic_load(&c->won));
	CHECK_GE(atomic_load(&c->won), c->rounds);
	cache_audit(c->cache);
	shmc_close(c->cache);
	free(value);
}

TEST(contract__r24__swaps_of_several_lose_none)
{
	swap_contest(100);
}

TEST(contract__r24__swaps_of_large_values_lose_none)
{
	swap_contest(LARGE_BYTES);
}

/* ---------------------------------------------------------------- update -- */

struct script {
	struct shmc *cache;
	unsigned calls;
	bool seen_nothing;
	int answer;
	void (*meanwhile)(struct shmc *cache); /* in the first call */
	char old[32];
	const char *new;
};

static int
follow_script(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	struct script *s = arg;

	s->calls++;
	s->seen_nothing = old == NULL;
	memset(s->old, 0, sizeof s->old);
	if (s->calls == 1 && s->meanwhile != NULL)
		s->meanwhile(s->cache);
	if (old != NULL)
		(void)shmc_view_copy(old, s->old, sizeof s->old - 1);
	*value = s->new;
	*bytes = strlen(s->new);
	return s->answer;
}

static enum shmc_status
play(struct script *s)
{
	s->calls = 0;
	return shmc_update(s->cache, KEY, follow_script, s, NULL);
}

TEST(contract__update__gets_the_old_value_and_stores_the_new)
{
	struct script s = { .cache = cache_new(1u << 20, 4), .answer = 1,
		.new = "one" };

	CHECK_EQ(play(&s), SHMC_OK);
	CHECK(s.seen_nothing);
	check_get(s.cache, "k", "one");
	s.new = "two";
	CHECK_EQ(play(&s), SHMC_OK);
	CHECK(!s.seen_nothing);
	CHECK_STR(s.old, "one");
	CHECK_EQ(s.calls, 1);
	check_get(s.cache, "k", "two");
	cache_audit(s.cache);
}

TEST(contract__update__that_is_declined_changes_nothing)
{
	struct script s = { .cache = cache_new(1u << 20, 4), .answer = 0,
		.new = "x" };

	CHECK_EQ(play(&s), SHMC_OTHER);
	check_miss(s.cache, "k");
	put(s.cache, "k", "v");
	CHECK_EQ(play(&s), SHMC_OTHER);
	CHECK_EQ(s.calls, 1);
	check_get(s.cache, "k", "v");
}

/* Whatever happens meanwhile, what is stored was made from what it replaces. */
TEST(contract__update__is_done_again_if_the_key_changed_meanwhile)
{
	static const struct {
		void (*meanwhile)(struct shmc *);
		const char *seen; /* in the second call; NULL: nothing */
	} cases[] = {
		{ rewrite, "same" },
		{ remove_and_rewrite, "same" },
		{ remove_only, NULL },
		{ touch, "first" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct script s = { .cache = cache_new(1u << 20, 4),
			.answer = 1, .new = "updated",
			.meanwhile = cases[i].meanwhile };

		put(s.cache, "k", "first");
		CHECK_EQ(play(&s), SHMC_OK);
		CHECK_EQ(s.calls, 2);
		CHECK_EQ(s.seen_nothing, cases[i].seen == NULL);
		if (cases[i].seen != NULL)
			CHECK_STR(s.old, cases[i].seen);
		check_get(s.cache, "k", "updated");
		cache_audit(s.cache);
		shmc_close(s.cache);
	}
}

/* What an updater works on is not evicted under it. */
TEST(contract__update__old_value_stays_while_it_is_read)
{
	struct script s = { .cache = cache_new(1u << 20, 4), .answer = 1,
		.new = "updated", .meanwhile = churn };

	put(s.cache, "k", "first");
	CHECK_EQ(play(&s), SHMC_OK);
	CHECK_EQ(s.calls, 1);
	CHECK_STR(s.old, "first");
	CHECK_GT(cache_stats(s.cache).evicted_blocks, 100);
	check_get(s.cache, "k", "updated");
}

/* Appends nothing to a large value but one to its version. */
static int
update_large(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	unsigned char *copy = arg;
	uint64_t version = 0;

	if (old != NULL) {
		CHECK_EQ(shmc_view_copy(old, copy, LARGE_BYTES), LARGE_BYTES);
		version = 1 + value_check(copy, LARGE_BYTES, 1);
		CHECK_NE(version, 0);
	}
	value_fill(copy, LARGE_BYTES, 1, version);
	*value = copy;
	*bytes = LARGE_BYTES;
	return 1;
}

static void
update_each(unsigned index, void *arg)
{
	struct contest *c = arg;
	unsigned char *copy = malloc(LARGE_BYTES);

	(void)index;
	for (unsigned i = 0; i < c->rounds; i++)
		CHECK_EQ(shmc_update(c->cache, KEY, update_large, copy, NULL),
		    SHMC_OK);
	free(copy);
}

TEST(contract__r24__updates_of_several_lose_none)
{
	struct contest *c = contest_new(RACERS, 500);
	unsigned char *value = malloc(LARGE_BYTES);
	size_t n;

	run_processes(RACERS, update_each, c);
	REQUIRE_EQ(shmc_get(c->cache, KEY, value, LARGE_BYTES, &n), SHMC_OK);
	CHECK_EQ(value_check(value, n, 1), RACERS * c->rounds - 1);
	cache_audit(c->cache);
	free(value);
}

struct fork_scene {
	struct shmc *cache;
	pid_t child;
};

static int
fork_here(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	struct fork_scene *s = arg;

	(void)old;
	s->child = fork();
	*value = s->child == 0 ? "child" : "parent";
	*bytes = s->child == 0 ? 5 : 6;
	return 1;
}

static void
update_and_fork(struct shmc *cache)
{
	struct fork_scene s = { cache, -1 };
	enum shmc_status status = shmc_update(cache, KEY, fork_here, &s, NULL);

	REQUIRE(s.child >= 0);
	if (s.child == 0) {
		CHECK_EQ(status, SHMC_FENCED);
		put(cache, "of the child", "v");
		_exit(0);
	}
	CHECK_EQ(status, SHMC_OK);
	CHECK_EQ(wait_child(s.child), 0);
}

/* A child must not go on in its parent's slot. */
TEST(contract__r29__fork_in_an_updater_leaves_the_update_to_the_parent)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	update_and_fork(cache);
	check_get(cache, "k", "parent");
	update_and_fork(cache);
	check_get(cache, "k", "parent");
	check_get(cache, "of the child", "v");
	(void)shmc_reap(cache);
	cache_audit(cache);
}

/* ------------------------------------------------------------------ incr -- */

static int64_t
incr(struct shmc *cache, int64_t delta)
{
	int64_t sum = -1;

	CHECK_EQ(shmc_incr(cache, KEY, delta, 100, 0, &sum), SHMC_OK);
	return sum;
}

TEST(contract__incr__adds_from_the_initial_value_on)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	int64_t stored = 0;
	size_t n;

	CHECK_EQ(incr(cache, 5), 100); /* missing: initial, not initial + 5 */
	CHECK_EQ(incr(cache, 5), 105);
	CHECK_EQ(incr(cache, -205), -100);
	CHECK_EQ(shmc_incr(cache, KEY, 1, 0, 0, NULL), SHMC_OK);
	CHECK_EQ(shmc_get(cache, KEY, &stored, sizeof stored, &n), SHMC_OK);
	CHECK_EQ(n, sizeof stored);
	CHECK_EQ(stored, -99);
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	CHECK_EQ(incr(cache, 1), 100);
	cache_audit(cache);
}

TEST(contract__incr__wraps_at_both_ends)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	int64_t end = INT64_MAX;

	CHECK_EQ(shmc_put(cache, KEY, &end, sizeof end, 0), SHMC_OK);
	CHECK_EQ(incr(cache, 1), INT64_MIN);
	CHECK_EQ(incr(cache, -1), INT64_MAX);
	CHECK_EQ(incr(cache, INT64_MIN), -1);
	CHECK_EQ(incr(cache, INT64_MAX), INT64_MAX - 1);
}

TEST(contract__incr__of_another_size_is_refused)
{
	static const size_t sizes[] = { 0, 1, 7, 9, 16, LARGE_BYTES };
	static char value[LARGE_BYTES], back[LARGE_BYTES];
	struct shmc *cache = cache_new(1u << 20, 4);
	int64_t sum = 77;
	size_t n;

	value_fill(value, sizeof value, 1, 1);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		CHECK_EQ(shmc_put(cache, KEY, value, sizes[i], 0), SHMC_OK);
		CHECK_EQ(shmc_incr(cache, KEY, 1, 0, 0, &sum), SHMC_OTHER);
		CHECK_EQ(sum, 77);
		CHECK_EQ(shmc_get(cache, KEY, back, sizeof back, &n), SHMC_OK);
		CHECK_EQ(n, sizes[i]);
		CHECK_MEM(back, value, n);
	}
}

/* Holds every second of 32 blocks: whoever opens two after that has gaps. */
static void
pin_every_second_block(struct shmc *cache, struct shmc_view views[16])
{
	size_t bytes = ((size_t)1 << cache->seg.geo.block_shift) - 100;
	char *value = calloc(1, bytes), key[32];

	for (unsigned i = 0; i < 32; i++) {
		size_t n = key_of(key, i);

		REQUIRE_EQ(shmc_put(cache, key, n, value, bytes, 0), SHMC_OK);
		if (i % 2 == 0 && i < 30) /* one view is left for others */
			REQUIRE_EQ(shmc_view(cache, key, n, &views[i / 2]),
			    SHMC_OK);
	}
	free(value);
}

/*
 * A key so long that it goes to the pieces, and the counter with it: over the
 * border between two, which need not be neighbours.
 */
TEST(contract__incr__behind_a_long_key_is_whole)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t block = (size_t)1 << cache->seg.geo.block_shift, n = 0;
	struct shmc_view views[16] = { 0 };
	char *key = malloc(block);
	int64_t sum;

	memset(key, 'k', block);
	pin_every_second_block(cache, views);
	for (unsigned i = 0; i < 2000; i++) {
		n = block - i % 12;
		CHECK_EQ(shmc_incr(cache, key, n, 1, 0x0102030405060708, 0,
		    &sum), SHMC_OK);
		CHECK_EQ(shmc_incr(cache, key, n, 1, 0, 0, &sum), SHMC_OK);
		CHECK_EQ(sum, 0x0102030405060709);
		CHECK_EQ(shmc_delete(cache, key, n), SHMC_OK);
	}
	for (unsigned i = 0; i < 16; i++)
		shmc_view_release(&views[i]);
	free(key);
	cache_audit(cache);
}

static void
incr_each(unsigned index, void *arg)
{
	struct contest *c = arg;
	int64_t before = -1, sum;

	(void)index;
	for (unsigned i = 0; i < c->rounds; i++) {
		CHECK_EQ(shmc_incr(c->cache, KEY, 1, 1, 0, &sum), SHMC_OK);
		CHECK_GT(sum, before); /* nobody else got ours */
		before = sum;
	}
}

TEST(contract__r24__counts_of_several_lose_none)
{
	struct contest *c = contest_new(RACERS, 10000);
	int64_t sum;

	run_processes(RACERS, incr_each, c);
	CHECK_EQ(cache_stats(c->cache).displaced, 0);
	CHECK_EQ(shmc_incr(c->cache, KEY, 0, 0, 0, &sum), SHMC_OK);
	CHECK_EQ(sum, RACERS * c->rounds);
	cache_audit(c->cache);
}

/* The first ttl counts; others would keep a busy counter for ever. */
TEST(contract__incr__keeps_the_terms_that_are_there)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	const char *tag = "a tag";
	struct shmc_terms terms = terms_of(50);
	int64_t seven = 7, sum;

	terms.tags = &tag;
	terms.tag_count = 1;
	CHECK_EQ(shmc_store(cache, KEY, &seven, sizeof seven, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	CHECK_EQ(shmc_incr(cache, KEY, 1, 0, 100000, &sum), SHMC_OK);
	CHECK_EQ(sum, 8);
	await_miss(cache);
	CHECK_EQ(incr(cache, 1), 100);
	terms.ttl_ms = 0;
	CHECK_EQ(shmc_store(cache, KEY, &seven, sizeof seven, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	CHECK_EQ(incr(cache, 1), 8);
	CHECK_EQ(shmc_invalidate_tag(cache, tag), SHMC_OK);
	CHECK_EQ(incr(cache, 1), 100);
}

TEST(contract__incr__starts_a_missing_one_with_a_ttl)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	int64_t sum;

	CHECK_EQ(shmc_incr(cache, KEY, 1, 5, 1, &sum), SHMC_OK);
	CHECK_EQ(sum, 5);
	await_miss(cache);
	CHECK_EQ(shmc_incr(cache, KEY, 1, 5, 0, &sum), SHMC_OK);
	CHECK_EQ(sum, 5);
}

/* ----------------------------------------------------------------- touch -- */

TEST(contract__touch__gives_a_new_ttl_and_keeps_the_rest)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	const char *tag = "a tag";
	struct shmc_terms terms = terms_of(1);

	terms.tags = &tag;
	terms.tag_count = 1;
	terms.grace_ms = 100000;
	store_with(cache, "value", terms);
	CHECK_EQ(shmc_touch(cache, KEY, 100000), SHMC_OK);
	sleep_ms(50); /* longer than the first ttl */
	check_get(cache, "k", "value"); /* fresh, not stale */
	CHECK_EQ(shmc_invalidate_tag(cache, tag), SHMC_OK);
	check_miss(cache, "k");
	CHECK_EQ(shmc_touch(cache, KEY, 100000), SHMC_MISS);
}

TEST(contract__touch__may_shorten_or_make_eternal)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK_EQ(shmc_put(cache, KEY, "v", 1, 100000), SHMC_OK);
	CHECK_EQ(shmc_touch(cache, KEY, 1), SHMC_OK);
	await_miss(cache);
	CHECK_EQ(shmc_touch(cache, KEY, 1), SHMC_MISS);
	CHECK_EQ(shmc_put(cache, KEY, "v", 1, 30), SHMC_OK);
	CHECK_EQ(shmc_touch(cache, KEY, 0), SHMC_OK);
	sleep_ms(100);
	check_get(cache, "k", "v");
}

TEST(contract__touch__of_a_large_value_leaves_its_bytes)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	static char value[200000];
	size_t n;

	CHECK_EQ(shmc_touch(cache, KEY, 0), SHMC_MISS);
	value_fill(value, sizeof value, 1, 5);
	CHECK_EQ(shmc_put(cache, KEY, value, sizeof value, 100000), SHMC_OK);
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQ(shmc_touch(cache, KEY, 100000), SHMC_OK);
	memset(value, 0, sizeof value);
	CHECK_EQ(shmc_get(cache, KEY, value, sizeof value, &n), SHMC_OK);
	CHECK_EQ(n, sizeof value);
	CHECK_EQ(value_check(value, n, 1), 5);
	cache_audit(cache);
}

/* ------------------------------------------------------ ended meanwhile --- */

/* What is under way on a key when it ends, and what it answers. */
struct under_way {
	struct shmc *cache;
	uint64_t version;
	bool by_tag;
	enum shmc_status status;
	int64_t sum;
	unsigned calls;
};

static void
swap_it(void *arg)
{
	struct under_way *u = arg;

	u->status = shmc_store(u->cache, KEY, "swapped", 7, NULL,
	    SHMC_IF_VERSION, u->version);
}

static void
replace_it(void *arg)
{
	struct under_way *u = arg;

	u->status = shmc_store(u->cache, KEY, "replaced", 8, NULL,
	    SHMC_IF_PRESENT, 0);
}

static void
touch_it(void *arg)
{
	struct under_way *u = arg;

	u->status = shmc_touch(u->cache, KEY, 1000000);
}

static void
incr_it(void *arg)
{
	struct under_way *u = arg;

	u->status = shmc_incr(u->cache, KEY, 1, 1000, 0, &u->sum);
}

static int
note_old(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	struct under_way *u = arg;

	u->calls++;
	u->sum = old != NULL;
	*value = "updated";
	*bytes = 7;
	return 1;
}

static void
update_it(void *arg)
{
	struct under_way *u = arg;

	u->status = shmc_update(u->cache, KEY, note_old, u, NULL);
}

/* As if its ttl had passed this moment. */
static void
expire(struct shmc *cache)
{
	struct shmc_view view;
	struct entry *e;

	REQUIRE_EQ(shmc_view(cache, KEY, &view), SHMC_OK);
	e = (struct entry *)(void *)(cache->seg.data +
	    (view.opaque[3] & WORD_PLACE_MASK) * ENTRY_ALIGN);
	shmc_view_release(&view);
	atomic_store(&e->first, atomic_load(&e->first) & ~(0xffull << 56));
	atomic_store(&e->second, (atomic_load(&e->second) &
	    ~(uint64_t)UINT32_MAX) | 1);
}

/* Stops it when it has read and written, and has not linked; then it ends. */
static struct under_way *
end_under(child_function *fn, bool by_tag)
{
	struct under_way *u = shared_alloc(sizeof *u);
	const char *tag = "a tag";
	struct shmc_terms terms = terms_of(1000000);
	int64_t seven = 7;
	pid_t child;

	u->cache = cache_new(1u << 20, 4);
	terms.tags = &tag;
	terms.tag_count = by_tag;
	CHECK_EQ(shmc_store(u->cache, KEY, &seven, sizeof seven, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	u->version = version_of(u->cache, KEY);
	child = run_stopped_at("block_extended", 1, fn, u);
	REQUIRE(child != 0);
	if (by_tag)
		CHECK_EQ(shmc_invalidate_tag(u->cache, tag), SHMC_OK);
	else
		expire(u->cache);
	await_miss(u->cache);
	continue_child(child);
	CHECK_EQ(wait_child(child), 0);
	cache_audit(u->cache);
	return u;
}

/* Somebody was told that nothing is there: from then on nothing is. */
TEST(contract__swap__of_what_others_know_has_ended_is_refused)
{
	for (unsigned by_tag = 0; by_tag < 2; by_tag++) {
		struct under_way *u = end_under(swap_it, by_tag);

		CHECK_EQ(u->status, SHMC_OTHER);
		check_miss(u->cache, "k");
		u = end_under(replace_it, by_tag);
		CHECK_EQ(u->status, SHMC_OTHER);
		check_miss(u->cache, "k");
		u = end_under(touch_it, by_tag);
		CHECK_EQ(u->status, SHMC_MISS);
		check_miss(u->cache, "k");
	}
}

TEST(contract__incr_and_update__begin_anew_when_others_know_that_it_has_ended)
{
	for (unsigned by_tag = 0; by_tag < 2; by_tag++) {
		struct under_way *u = end_under(incr_it, by_tag);

		CHECK_EQ(u->status, SHMC_OK);
		CHECK_EQ(u->sum, 1000);
		u = end_under(update_it, by_tag);
		CHECK_EQ(u->status, SHMC_OK);
		CHECK_EQ(u->calls, 2);
		CHECK_EQ(u->sum, 0);
		check_get(u->cache, "k", "updated");
	}
}

/* Its memory, too, is given back by whoever finds it. */
TEST(contract__r25__ended_large_value_is_given_up_by_who_finds_it)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	static char value[200000];
	struct shmc_stats before;

	CHECK_EQ(shmc_put(cache, KEY, value, sizeof value, 1), SHMC_OK);
	before = cache_stats(cache);
	await_miss(cache);
	CHECK_GE(cache_stats(cache).evicted_blocks - before.evicted_blocks,
	    sizeof value >> cache->seg.geo.block_shift);
	cache_audit(cache);
}

/* ---------------------------------------------------------------- delete -- */

TEST(contract__delete__of_what_is_a_miss_is_one)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	const char *tag = "a tag";
	struct shmc_terms terms = terms_of(0);

	CHECK_EQ(shmc_delete(cache, KEY), SHMC_MISS);
	put(cache, "k", "v");
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_MISS);
	CHECK_EQ(shmc_put(cache, KEY, "v", 1, 1), SHMC_OK);
	await_miss(cache);
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_MISS);
	terms.tags = &tag;
	terms.tag_count = 1;
	store_with(cache, "v", terms);
	CHECK_EQ(shmc_invalidate_tag(cache, tag), SHMC_OK);
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_MISS);
	put(cache, "k", "v");
	CHECK_EQ(shmc_flush(cache), SHMC_OK);
	CHECK_EQ(shmc_delete(cache, KEY), SHMC_MISS);
}

static void
delete_each(unsigned index, void *arg)
{
	struct contest *c = arg;

	for (unsigned i = 0; i < c->rounds; i++) {
		if (index == 0)
			put(c->cache, "k", "v");
		test_barrier_meet(&c->turn);
		if (shmc_delete(c->cache, KEY) == SHMC_OK)
			atomic_fetch_add(&c->won, 1);
		test_barrier_meet(&c->turn);
	}
}

TEST(contract__delete__of_several_at_once_one_removes)
{
	struct contest *c = contest_new(RACERS, 3000);

	run_processes(RACERS, delete_each, c);
	CHECK_EQ(atomic_load(&c->won), c->rounds);
	CHECK_EQ(cache_stats(c->cache).deletes, c->rounds);
}

/* ------------------------------------------------------------ R21 to R25 -- */

TEST(contract__r21__an_empty_value_is_there_for_every_condition)
{
	struct script s = { .cache = cache_new(1u << 20, 4), .answer = 0,
		.new = "" };
	uint64_t version;

	put(s.cache, "k", "");
	CHECK_EQ(store_if(s.cache, "x", SHMC_IF_ABSENT, 0), SHMC_OTHER);
	CHECK_EQ(play(&s), SHMC_OTHER);
	CHECK(!s.seen_nothing);
	CHECK_EQ(store_if(s.cache, "", SHMC_IF_PRESENT, 0), SHMC_OK);
	version = version_of(s.cache, KEY);
	CHECK_EQ(store_if(s.cache, "", SHMC_IF_VERSION, version), SHMC_OK);
	CHECK_EQ(shmc_touch(s.cache, KEY, 0), SHMC_OK);
	check_get(s.cache, "k", "");
}

/* Its address is none that means "nothing": shmc_view, data. */
TEST(contract__r21__an_empty_value_behind_a_long_key_has_an_address)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *key = calloc(1, SHMC_KEY_MAX);
	struct shmc_view view;

	CHECK_EQ(shmc_put(cache, key, SHMC_KEY_MAX, "", 0, 0), SHMC_OK);
	REQUIRE_EQ(shmc_view(cache, key, SHMC_KEY_MAX, &view), SHMC_OK);
	CHECK(view.data != NULL);
	CHECK_EQ(view.size_bytes, 0);
	shmc_view_release(&view);
	CHECK_EQ(shmc_touch(cache, key, SHMC_KEY_MAX, 100000), SHMC_OK);
	free(key);
}

static void
load_error(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_error(lead, 0x01020304, "the message", 100000),
	    SHMC_OK);
}

/* An error is one, wherever the border between two pieces falls in it. */
TEST(contract__r21__an_error_behind_a_long_key_is_whole)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	size_t block = (size_t)1 << cache->seg.geo.block_shift, n;
	char *key = calloc(1, block), message[16];
	struct shmc_view view;

	for (size_t bytes = block - 20; bytes <= block; bytes++) {
		CHECK_EQ(shmc_fetch(cache, key, bytes, NULL, load_error, NULL,
		    &view), SHMC_ERROR);
		CHECK_EQ(view.error, 0x01020304);
		CHECK_EQ(view.size_bytes, 11);
		memset(message, 0, sizeof message);
		CHECK_EQ(shmc_view_copy(&view, message, sizeof message), 11);
		CHECK_STR(message, "the message");
		shmc_view_release(&view);
		memset(message, 0, sizeof message);
		CHECK_EQ(shmc_get(cache, key, bytes, message, sizeof message,
		    &n), SHMC_ERROR);
		CHECK_EQ(n, 11);
		CHECK_STR(message, "the message");
	}
	free(key);
}

TEST(contract__r22__beyond_the_limit_is_refused_under_every_condition)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t limit = cache->seg.geo.value_max_bytes;
	char *big = calloc(1, limit + 1);

	for (int c = SHMC_ALWAYS; c <= SHMC_IF_VERSION; c++) {
		uint64_t version;

		put(cache, "k", "old");
		version = version_of(cache, KEY);
		if (c == SHMC_IF_ABSENT)
			CHECK_EQ(shmc_delete(cache, KEY), SHMC_OK);
		CHECK_EQ(shmc_store(cache, KEY, big, limit + 1, NULL,
		    (enum shmc_if)c, version), SHMC_TOO_LARGE);
		if (c != SHMC_IF_ABSENT)
			check_get(cache, "k", "old");
	}
	free(big);
}

/* Views that hold three quarters of the memory. */
static void
pin_most(struct shmc *cache, struct shmc_view views[3])
{
	size_t limit = cache->seg.geo.value_max_bytes;
	char *big = calloc(1, limit), key[32];

	for (unsigned i = 0; i < 3; i++) {
		size_t n = key_of(key, i);

		if (shmc_put(cache, key, n, big, limit, 0) != SHMC_OK)
			break;
		REQUIRE_EQ(shmc_view(cache, key, n, &views[i]), SHMC_OK);
	}
	free(big);
}

TEST(contract__r23__failed_conditional_store_loses_nothing)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t limit = cache->seg.geo.value_max_bytes;
	struct shmc_view views[3] = { 0 };
	char *big = calloc(1, limit);
	uint64_t version;

	pin_most(cache, views);
	put(cache, "other", "stays");
	put(cache, "k", "old");
	version = version_of(cache, KEY);
	CHECK_EQ(shmc_store(cache, KEY, big, limit, NULL, SHMC_IF_PRESENT, 0),
	    SHMC_NO_MEMORY);
	CHECK_EQ(shmc_store(cache, KEY, big, limit, NULL, SHMC_IF_VERSION,
	    version), SHMC_NO_MEMORY);
	check_get(cache, "k", "old");
	check_get(cache, "other", "stays");
	CHECK_EQ(version_of(cache, KEY), version);
	CHECK_EQ(cache_stats(cache).evicted_entries, 0);
	for (unsigned i = 0; i < 3; i++)
		shmc_view_release(&views[i]);
	free(big);
	cache_audit(cache);
}

/* A condition that does not hold is found out before anything is given up. */
TEST(contract__r23__refused_condition_evicts_nothing)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t limit = cache->seg.geo.value_max_bytes;
	char *big = calloc(1, limit);
	struct shmc_stats before, after;

	churn(cache);
	put(cache, "k", "old");
	before = cache_stats(cache);
	CHECK_EQ(shmc_store(cache, KEY, big, limit, NULL, SHMC_IF_ABSENT, 0),
	    SHMC_OTHER);
	CHECK_EQ(shmc_store(cache, KEY, big, limit, NULL, SHMC_IF_VERSION,
	    version_of(cache, KEY) + 1), SHMC_OTHER);
	after = cache_stats(cache);
	CHECK_EQ(after.evicted_blocks, before.evicted_blocks);
	CHECK_EQ(after.puts, before.puts);
	check_get(cache, "k", "old");
	free(big);
}

/* Counting for ever in a small segment: what is overwritten is used again. */
TEST(contract__r25__counting_never_runs_out_of_memory)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	unsigned rounds = test_rounds(200000);
	int64_t sum = 0;

	for (unsigned i = 0; i < rounds; i++)
		REQUIRE_EQ(shmc_incr(cache, KEY, 1, 1, 0, &sum), SHMC_OK);
	/* It may be evicted in its turn, and starts anew. */
	CHECK_GT(sum, 0);
	CHECK_EQ(cache_stats(cache).refused, 0);
	cache_audit(cache);
}

/* ------------------------------------------------------------- arguments -- */

static enum shmc_status
store_under(struct shmc *cache, const struct shmc_terms *terms)
{
	return shmc_store(cache, KEY, "new", 3, terms, SHMC_ALWAYS, 0);
}

TEST(contract__store__absurd_terms_are_refused)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_terms t;

	put(cache, "k", "old");
	t = terms_of(0), t.struct_bytes = 0;
	CHECK_EQ(store_under(cache, &t), SHMC_INVALID);
	t = terms_of(0), t.struct_bytes = SIZE_MAX;
	CHECK_EQ(store_under(cache, &t), SHMC_INVALID);
	t = terms_of(0), t.jitter_percent = 51;
	CHECK_EQ(store_under(cache, &t), SHMC_INVALID);
	t = terms_of(0), t.grace_ms = UINT64_MAX;
	CHECK_EQ(store_under(cache, &t), SHMC_INVALID);
	t = terms_of(0), t.keep_ms = (uint64_t)UINT32_MAX + 1;
	CHECK_EQ(store_under(cache, &t), SHMC_INVALID);
	check_get(cache, "k", "old");
	CHECK_EQ(cache_stats(cache).puts, 1);
}

/* As long as it can be does not wrap to something short. */
TEST(contract__store__jitter_of_any_ttl_keeps_to_its_share)
{
	static const uint64_t ttls[] = { 0, 1, 2, 99, 100, 1000003,
		ENTRY_EXPIRY_MAX, UINT64_MAX / 100, UINT64_MAX };

	for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++)
		for (uint32_t n = 0; n < 5100; n++) {
			uint64_t ttl = min_u64(ttls[i], ENTRY_EXPIRY_MAX);
			uint64_t got = store_jitter(ttls[i], n % 51);

			CHECK_GE(got, ttl - ttl * (n % 51) / 100);
			CHECK_LE(got, ttl + ttl * (n % 51) / 100);
		}
}

TEST(contract__store__absurd_arguments_are_refused)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct script s = { .cache = cache, .answer = 1, .new = "new" };
	char *big = calloc(1, SHMC_KEY_MAX + 1);

	put(cache, "k", "old");
	CHECK_EQ(store_if(cache, "new", (enum shmc_if)4, 0), SHMC_INVALID);
	CHECK_EQ(store_if(cache, "new", (enum shmc_if)-1, 0), SHMC_INVALID);
	CHECK_EQ(store_if(NULL, "new", SHMC_ALWAYS, 0), SHMC_INVALID);
	CHECK_EQ(shmc_store(cache, KEY, NULL, 1, NULL, SHMC_ALWAYS, 0),
	    SHMC_INVALID);
	CHECK_EQ(shmc_store(cache, NULL, 1, "new", 3, NULL, SHMC_ALWAYS, 0),
	    SHMC_INVALID);
	CHECK_EQ(shmc_update(cache, KEY, NULL, NULL, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_update(NULL, KEY, follow_script, &s, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_incr(NULL, KEY, 1, 1, 0, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_touch(NULL, KEY, 1), SHMC_INVALID);
	CHECK_EQ(shmc_touch(cache, NULL, 1, 1), SHMC_INVALID);
	CHECK_EQ(shmc_incr(cache, big, SHMC_KEY_MAX + 1, 1, 1, 0, NULL),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_touch(cache, big, SHMC_KEY_MAX + 1, 1), SHMC_TOO_LARGE);
	check_get(cache, "k", "old");
	CHECK_EQ(s.calls, 0);
	free(big);
	cache_audit(cache);
}

static int
promise_bytes(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	(void)old;
	(void)arg;
	*value = NULL;
	*bytes = 1;
	return 1;
}

TEST(contract__update__null_for_bytes_is_refused)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "old");
	CHECK_EQ(shmc_update(cache, KEY, promise_bytes, NULL, NULL),
	    SHMC_INVALID);
	check_get(cache, "k", "old");
}
