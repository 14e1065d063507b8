/* SPDX-License-Identifier: BSD-2-Clause */
/* Visiting all entries, a part at a time, whatever the others do meanwhile. */
#include "fixture.h"

#include "cache.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS 500u
#define VALUE_BYTES 100u

/* One iteration: how often each key was visited. */
struct visit {
	struct shmc *cache;
	unsigned seen[KEYS];
	unsigned all;
	unsigned stop_at; /* this visit; 0: never */
	void (*act)(struct visit *v, unsigned number);
};

static unsigned
number_of(const void *key, size_t key_bytes)
{
	char text[16] = "";

	if (key == NULL || key_bytes != 10)
		return UINT32_MAX;
	memcpy(text, (const char *)key + 4, 6);
	return (unsigned)strtoul(text, NULL, 10);
}

static int
visit(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	struct visit *v = arg;
	unsigned number = number_of(key, key_bytes);
	unsigned char copy[VALUE_BYTES];

	v->all++;
	CHECK_EQ(value->role, SHMC_ROLE_HIT);
	if (number < KEYS) {
		v->seen[number]++;
		if (v->act != NULL)
			v->act(v, number);
		/* Whatever was done: key and value stay what they were. */
		CHECK_EQ(number_of(key, key_bytes), number);
		CHECK_EQ(shmc_view_copy(value, copy, sizeof copy),
		    sizeof copy);
		CHECK_NE(value_check(copy, sizeof copy, number), UINT64_MAX);
	}
	return v->all != v->stop_at;
}

static void
put_key(struct shmc *cache, unsigned number, uint64_t version)
{
	unsigned char value[VALUE_BYTES];
	char key[32];

	value_fill(value, sizeof value, number, version);
	CHECK_EQ(shmc_put(cache, key, key_of(key, number), value, sizeof value,
	    0), SHMC_OK);
}

/* So roomy that no line is full: nothing is given up. */
static struct shmc *
cache_with_keys(void)
{
	struct shmc *cache = cache_new(8u << 20, 8);

	for (unsigned i = 0; i < KEYS; i++)
		put_key(cache, i, 1);
	CHECK_EQ(cache_stats(cache).displaced, 0);
	return cache;
}

static void
iterate_all(struct visit *v, size_t most)
{
	uint64_t cursor = 0;
	int r;

	do {
		unsigned before = v->all;
		uint64_t from = cursor;

		r = shmc_iterate(v->cache, &cursor, most, visit, v);
		CHECK_GE(r, 0);
		CHECK_LE(v->all - before, most);
		CHECK_LE(cursor - from, most);
	} while (r == 1);
	CHECK_EQ(r, 0);
}

static void
check_seen(const struct visit *v, unsigned times)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (v->seen[i] != times)
			FAIL("key %u: visited %u times", i, v->seen[i]);
}

TEST(contract__iterate__visits_each_once_in_bounded_parts)
{
	static const size_t parts[] = { 1, 7, 1000, SIZE_MAX };
	struct shmc *cache = cache_with_keys();

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct visit v = { .cache = cache };

		iterate_all(&v, parts[i]);
		check_seen(&v, 1);
		CHECK_EQ(v.all, KEYS);
	}
	/* Looking is no use: no figure, no pin, nothing. */
	CHECK_EQ(cache_stats(cache).hits, 0);
	CHECK_EQ(shmc_detach_thread(cache), 0);
	cache_audit(cache);
}

TEST(contract__iterate__told_to_stop_goes_on_where_it_was)
{
	struct visit v = { .cache = cache_with_keys() };
	uint64_t cursor = 0;
	unsigned calls = 0;

	while (v.all < KEYS) {
		v.stop_at = v.all + 10;
		CHECK_EQ(shmc_iterate(v.cache, &cursor, SIZE_MAX, visit, &v),
		    0);
		REQUIRE(++calls < 1000);
	}
	CHECK_EQ(calls, KEYS / 10);
	check_seen(&v, 1);
}

TEST(contract__iterate__cursor_of_nowhere_is_the_end)
{
	struct visit v = { .cache = cache_with_keys() };
	struct shmc_info info;
	uint64_t cursors[4] = { UINT64_MAX, 1ull << 63, 1ull << 32, 0 };

	shmc_info(v.cache, &info, sizeof info);
	cursors[3] = info.index_slots;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t cursor = cursors[i];

		CHECK_EQ(shmc_iterate(v.cache, &cursor, SIZE_MAX, visit, &v),
		    0);
		CHECK_EQ(cursor, cursors[i]);
	}
	CHECK_EQ(v.all, 0);
}

TEST(contract__iterate__absurd_arguments_are_refused)
{
	struct visit v = { .cache = cache_with_keys() };
	uint64_t cursor = 0;

	CHECK_EQ(shmc_iterate(NULL, &cursor, 1, visit, &v), -EINVAL);
	CHECK_EQ(shmc_iterate(v.cache, NULL, 1, visit, &v), -EINVAL);
	CHECK_EQ(shmc_iterate(v.cache, &cursor, 0, visit, &v), -EINVAL);
	CHECK_EQ(shmc_iterate(v.cache, &cursor, 1, NULL, &v), -EINVAL);
	CHECK_EQ(cursor, 0);
	CHECK_EQ(v.all, 0);
}

/* ------------------------------------------------------- what is visited -- */

static void
load_absent(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_absent(lead, 100000), SHMC_OK);
}

static void
store_aged(struct shmc *cache, const char *key, uint64_t grace_ms,
    uint64_t keep_ms, const char *tag)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = tag != NULL ? 0 : 1;
	terms.grace_ms = grace_ms;
	terms.keep_ms = keep_ms;
	terms.tags = &tag;
	terms.tag_count = tag != NULL;
	CHECK_EQ(shmc_store(cache, key, strlen(key), key, strlen(key), &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
}

struct names {
	char all[100];
	unsigned stale;
};

static int
note_name(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	struct names *names = arg;

	strncat(names->all, key, key_bytes);
	strncat(names->all, " ", 2);
	names->stale += value->role == SHMC_ROLE_STALE;
	return 1;
}

TEST(contract__iterate__visits_what_get_would_serve)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct names names = { "", 0 };
	struct shmc_view view;
	uint64_t cursor = 0;

	store_aged(cache, "over", 0, 0, NULL);
	store_aged(cache, "kept", 0, 1000000, NULL);
	store_aged(cache, "invalid", 0, 0, "tag");
	store_aged(cache, "stale", 1000000, 0, NULL);
	CHECK_EQ(shmc_invalidate_tag(cache, "tag"), SHMC_OK);
	CHECK_EQ(shmc_fetch(cache, "absent", 6, NULL, load_absent, NULL, &view),
	    SHMC_ABSENT);
	while (shmc_view(cache, "stale", 5, &view) != SHMC_OK ||
	    view.role != SHMC_ROLE_STALE) {
		shmc_view_release(&view);
		sleep_ms(1);
	}
	shmc_view_release(&view);
	while (shmc_view(cache, "over", 4, &view) != SHMC_MISS)
		shmc_view_release(&view);
	while (shmc_view(cache, "kept", 4, &view) != SHMC_MISS)
		shmc_view_release(&view);
	CHECK_EQ(shmc_iterate(cache, &cursor, SIZE_MAX, note_name, &names), 0);
	CHECK_STR(names.all, "stale ");
	CHECK_EQ(names.stale, 1);
}

struct bulky {
	size_t key_bytes;
	size_t value_bytes;
	unsigned visits;
};

static int
visit_large(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	struct bulky *large = arg;
	unsigned char *copy = malloc(value->size_bytes);

	CHECK_EQ(key_bytes, large->key_bytes);
	CHECK_EQ(value->size_bytes, large->value_bytes);
	CHECK_EQ(shmc_view_copy(value, copy, value->size_bytes),
	    value->size_bytes);
	CHECK_EQ(value_check(copy, value->size_bytes, key_bytes), 3);
	CHECK(key == NULL || ((const char *)key)[key_bytes - 1] == 'k');
	large->visits++;
	free(copy);
	return 1;
}

TEST(contract__iterate__hands_out_large_keys_and_values)
{
	static const size_t keys[] = { 100, 1024, 5000, SHMC_KEY_MAX };
	struct shmc *cache = cache_new(4u << 20, 4);
	char *key = malloc(SHMC_KEY_MAX);
	static unsigned char value[100000];

	memset(key, 'k', SHMC_KEY_MAX);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		struct bulky large = { keys[i], sizeof value, 0 };
		uint64_t cursor = 0;

		value_fill(value, sizeof value, keys[i], 3);
		CHECK_EQ(shmc_put(cache, key, keys[i], value, sizeof value, 0),
		    SHMC_OK);
		CHECK_EQ(shmc_iterate(cache, &cursor, SIZE_MAX, visit_large,
		    &large), 0);
		CHECK_EQ(large.visits, 1);
		CHECK_EQ(shmc_delete(cache, key, keys[i]), SHMC_OK);
	}
	free(key);
}

/* ------------------------------------------ a visitor that calls the cache -- */

static void
act_read(struct visit *v, unsigned number)
{
	char key[32], value[VALUE_BYTES];
	size_t n;

	CHECK_EQ(shmc_get(v->cache, key, key_of(key, number), value,
	    sizeof value, &n), SHMC_OK);
}

static void
act_overwrite(struct visit *v, unsigned number)
{
	put_key(v->cache, number, 2);
	put_key(v->cache, (number + 1) % KEYS, 2);
}

static void
act_delete(struct visit *v, unsigned number)
{
	char key[32];

	CHECK_EQ(shmc_delete(v->cache, key, key_of(key, number)), SHMC_OK);
}

static void
act_iterate(struct visit *v, unsigned number)
{
	struct visit inner = { .cache = v->cache };

	if (number % 50 == 0) {
		iterate_all(&inner, 100);
		check_seen(&inner, 1);
	}
}

static void
act_churn(struct visit *v, unsigned number)
{
	static char value[4000];
	char key[32];

	for (unsigned i = 0; i < 40 && number % 25 == 0; i++)
		CHECK_EQ(shmc_put(v->cache, key, key_of(key, 100000 + i), value,
		    sizeof value, 0), SHMC_OK);
}

static void
load_value(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead, "v", 1, 0, NULL), SHMC_OK);
}

static void
act_fetch(struct visit *v, unsigned number)
{
	struct shmc_view view;
	char key[32];

	CHECK_EQ(shmc_fetch(v->cache, key, key_of(key, number), NULL,
	    load_value, NULL, &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_HIT);
	shmc_view_release(&view);
}

TEST(contract__iterate__visitor_may_call_the_cache)
{
	static void (*const acts[])(struct visit *, unsigned) = { act_read,
		act_overwrite, act_iterate, act_churn, act_fetch, act_delete };

	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
		struct visit v = { .cache = cache_with_keys(),
			.act = acts[i] };

		iterate_all(&v, 100);
		check_seen(&v, 1);
		cache_audit(v.cache);
		shmc_close(v.cache);
	}
}

static void
act_delete_next(struct visit *v, unsigned number)
{
	char key[32];

	(void)!shmc_delete(v->cache, key, key_of(key, (number + 1) % KEYS));
}

static void
act_flush(struct visit *v, unsigned number)
{
	(void)number;
	CHECK_EQ(shmc_flush(v->cache), SHMC_OK);
}

/* What is gone when its turn comes is not visited. */
TEST(contract__iterate__what_a_visitor_removes_is_not_visited)
{
	struct visit v = { .cache = cache_with_keys(), .act = act_delete_next };

	iterate_all(&v, SIZE_MAX);
	for (unsigned i = 0; i < KEYS; i++)
		CHECK_LE(v.seen[i], 1);
	CHECK_LT(v.all, KEYS);
	CHECK_GE(v.all, KEYS / 2);
	v = (struct visit){ .cache = cache_with_keys(), .act = act_flush };
	iterate_all(&v, SIZE_MAX);
	CHECK_EQ(v.all, 1);
}

TEST(contract__iterate__no_view_left_is_busy_and_goes_on_later)
{
	struct visit v = { .cache = cache_with_keys() };
	struct shmc_view views[SHMC_VIEWS_MAX];
	uint64_t cursor = 0;
	char key[32];

	for (unsigned i = 0; i < SHMC_VIEWS_MAX; i++)
		REQUIRE_EQ(shmc_view(v.cache, key, key_of(key, i), &views[i]),
		    SHMC_OK);
	CHECK_EQ(shmc_iterate(v.cache, &cursor, SIZE_MAX, visit, &v), -EBUSY);
	CHECK_EQ(v.all, 0);
	shmc_view_release(&views[7]);
	CHECK_EQ(shmc_iterate(v.cache, &cursor, SIZE_MAX, visit, &v), 0);
	check_seen(&v, 1);
	for (unsigned i = 0; i < SHMC_VIEWS_MAX; i++)
		shmc_view_release(&views[i]);
}

/* ------------------------------------------------------ with others at work -- */

struct scene {
	struct shmc *cache;
	_Atomic bool stop;
	_Atomic unsigned passes;
	_Atomic unsigned checked;
};

static struct scene *
scene_new(uint64_t bytes)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(bytes, 8);
	return s;
}

/* Overwrites keys for ever, which are therefore always there. */
static void
overwrite(struct scene *s)
{
	for (uint64_t version = 2; !atomic_load(&s->stop); version++)
		for (unsigned i = 0; i < KEYS; i++)
			put_key(s->cache, i, version);
}

static void
overwrite_or_iterate(unsigned index, void *arg)
{
	struct scene *s = arg;
	unsigned rounds = test_rounds(100);

	if (index > 0) {
		overwrite(s);
		return;
	}
	for (unsigned i = 0; i < rounds; i++) {
		struct visit v = { .cache = s->cache };

		iterate_all(&v, 64);
		for (unsigned k = 0; k < KEYS; k++)
			if (v.seen[k] == 0)
				FAIL("pass %u: key %u was not visited", i, k);
	}
	atomic_store(&s->stop, true);
}

TEST(contract__iterate__key_that_is_overwritten_all_the_time_is_visited)
{
	struct scene *s = scene_new(16u << 20);

	for (unsigned i = 0; i < KEYS; i++)
		put_key(s->cache, i, 1);
	run_processes(3, overwrite_or_iterate, s);
	/* Otherwise it may really not have been there. */
	CHECK_EQ(cache_stats(s->cache).evicted_entries, 0);
	CHECK_EQ(cache_stats(s->cache).displaced, 0);
	cache_audit(s->cache);
}

/* All of the memory, again and again; of these keys' lines, too. */
static void
churn(struct scene *s)
{
	static char value[3000];
	char key[32];
	size_t n;

	for (unsigned i = 0; !atomic_load(&s->stop); i++) {
		n = key_of(key, KEYS + i % 3000);
		CHECK_EQ(shmc_put(s->cache, key, n, value,
		    i * 31 % sizeof value, 0), SHMC_OK);
		if (i % 5 == 0)
			(void)!shmc_delete(s->cache, key, n);
	}
}

#define HELD 10u

static uint64_t
version_of(struct shmc *cache, unsigned number)
{
	struct shmc_view view;
	uint64_t version = UINT64_MAX;
	char key[32];

	if (shmc_view(cache, key, key_of(key, number), &view) == SHMC_OK)
		version = view.version;
	shmc_view_release(&view);
	return version;
}

/* An entry of the same version before and after was there throughout. */
static void
pass_once(struct scene *s)
{
	struct visit v = { .cache = s->cache };
	uint64_t before[HELD];

	for (unsigned i = 0; i < HELD; i++)
		before[i] = version_of(s->cache, i);
	iterate_all(&v, 50);
	for (unsigned i = 0; i < HELD; i++) {
		if (before[i] == UINT64_MAX ||
		    version_of(s->cache, i) != before[i])
			continue;
		atomic_fetch_add(&s->checked, 1);
		if (v.seen[i] == 0)
			FAIL("key %u was there and not visited", i);
	}
}

static void
churn_or_iterate(unsigned index, void *arg)
{
	struct scene *s = arg;
	unsigned rounds = test_rounds(200);

	if (index > 0) {
		churn(s);
		return;
	}
	for (unsigned i = 0; i < rounds; i++)
		pass_once(s);
	atomic_store(&s->stop, true);
}

/* Held by views, ten entries are not evicted; everything else is. */
TEST(contract__iterate__entry_that_stays_is_visited_while_others_are_evicted)
{
	struct scene *s = scene_new(2u << 20);
	struct shmc_view views[HELD];
	char key[32];

	for (unsigned i = 0; i < HELD; i++) {
		put_key(s->cache, i, 1);
		REQUIRE_EQ(shmc_view(s->cache, key, key_of(key, i), &views[i]),
		    SHMC_OK);
	}
	run_processes(3, churn_or_iterate, s);
	CHECK_GT(cache_stats(s->cache).evicted_blocks, 100);
	CHECK_GT(atomic_load(&s->checked), test_rounds(200));
	for (unsigned i = 0; i < HELD; i++)
		shmc_view_release(&views[i]);
	cache_audit(s->cache);
}

/* ------------------------------------------------------- kills, stops, forks -- */

static void
act_stop(struct visit *v, unsigned number)
{
	(void)v;
	(void)number;
	kill(getpid(), SIGSTOP);
}

static void
iterate_and_stop(void *arg)
{
	struct scene *s = arg;
	struct visit v = { .cache = s->cache, .act = act_stop };
	uint64_t cursor = 0;

	v.stop_at = 1;
	atomic_fetch_add(&s->passes, 1);
	CHECK_EQ(shmc_iterate(s->cache, &cursor, SIZE_MAX, visit, &v), 0);
	CHECK_EQ(v.all, 1);
}

static void
churn_rounds(struct scene *s, unsigned rounds)
{
	static char value[3000];
	char key[32];

	for (unsigned i = 0; i < rounds; i++)
		REQUIRE_EQ(shmc_put(s->cache, key, key_of(key, KEYS + i % 999),
		    value, sizeof value, 0), SHMC_OK);
}

/* It stops in its visitor; what it visits is held, and nothing else is. */
TEST(contract__r28__stopped_visitor_holds_nobody_up)
{
	struct scene *s = scene_new(1u << 20);
	pid_t child;

	put_key(s->cache, 0, 1);
	child = run_stopped_at("grace_pinned", 1, iterate_and_stop, s);
	REQUIRE(child != 0);
	churn_rounds(s, 3000);
	CHECK_EQ(cache_stats(s->cache).refused, 0);
	continue_child(child);
	while (cache_stats(s->cache).puts < 3001)
		sleep_ms(1);
	churn_rounds(s, 3000);
	kill_child(child);
	CHECK_GT(shmc_reap(s->cache), 0);
	churn_rounds(s, 3000);
	cache_audit(s->cache);
}

static void
iterate_in_child(void *arg)
{
	struct scene *s = arg;
	struct visit v = { .cache = s->cache };

	iterate_all(&v, 1000);
}

/* Nor does one that dies, wherever. */
TEST(contract__r27__killed_iterator_holds_nothing)
{
	for (unsigned n = 1;; n++) {
		struct scene *s = scene_new(1u << 20);
		bool killed;

		for (unsigned i = 0; i < 3; i++)
			put_key(s->cache, i, 1);
		killed = run_killed_at(NULL, n, iterate_in_child, s);
		churn_rounds(s, 1500);
		CHECK_EQ(cache_stats(s->cache).refused, 0);
		(void)shmc_reap(s->cache);
		cache_audit(s->cache);
		shmc_close(s->cache);
		if (!killed) {
			CHECK_GT(n, 3);
			break;
		}
	}
}

struct fork_scene {
	struct visit visit;
	pid_t child;
	bool is_child;
};

static int
visit_and_fork(const void *key, size_t key_bytes,
    const struct shmc_view *value, void *arg)
{
	struct fork_scene *s = arg;

	if (s->child < 0) {
		s->child = fork();
		s->is_child = s->child == 0;
	} else {
		(void)visit(key, key_bytes, value, &s->visit);
	}
	return 1;
}

/* Both go on, each in a slot of its own. */
TEST(contract__r29__fork_in_a_visitor_gives_the_child_a_slot_of_its_own)
{
	struct fork_scene s = { .visit.cache = cache_with_keys(),
		.child = -1 };
	unsigned seen = 0;
	uint64_t cursor = 0;

	CHECK_EQ(shmc_iterate(s.visit.cache, &cursor, SIZE_MAX,
	    visit_and_fork, &s), 0);
	for (unsigned i = 0; i < KEYS; i++)
		seen += s.visit.seen[i];
	CHECK_EQ(seen, KEYS - 1); /* at the first it forked */
	if (s.is_child) {
		put(s.visit.cache, "child", "v");
		_exit(0);
	}
	CHECK_EQ(wait_child(s.child), 0);
	put(s.visit.cache, "parent", "v");
	CHECK_EQ(shmc_reap(s.visit.cache), 1);
	check_get(s.visit.cache, "child", "v");
	cache_audit(s.visit.cache);
}

/* ------------------------------------------------------------------- R31 -- */

static int
read_all(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	unsigned *sum = arg;
	char bytes[1000];
	size_t n = shmc_view_copy(value, bytes, sizeof bytes);

	for (size_t i = 0; i < n; i++)
		*sum += (unsigned char)bytes[i];
	for (size_t i = 0; key != NULL && i < key_bytes; i++)
		*sum += ((const unsigned char *)key)[i];
	return 1;
}

TEST(contract__r31__scribbled_index_is_iterated_without_harm)
{
	struct shmc *cache = cache_with_keys();
	_Atomic uint64_t *words = (_Atomic uint64_t *)(void *)cache->seg.index;
	uint64_t count = cache->seg.geo.index_pairs * PAIR_WORDS;
	uint64_t data_words = cache->seg.data_bytes / 8;
	unsigned sum = 0;

	srandom(1);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t word = (uint64_t)random() << 33 ^ (uint64_t)random();

		atomic_store(&words[(uint64_t)random() % count],
		    i % 2 == 0 ? word : WORD_LIVE | (word % data_words));
	}
	for (unsigned i = 0; i < 3; i++) {
		uint64_t cursor = 0;

		while (shmc_iterate(cache, &cursor, 1000, read_all, &sum) == 1)
			;
	}
	CHECK_GT(sum, 0); /* half of the entries are left */
}
