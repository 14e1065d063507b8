/* SPDX-License-Identifier: BSD-2-Clause */
/* get_many and fetch_many: many keys in one call. */
#include "fixture.h"

#include "cache.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX SHMC_VIEWS_MAX

/* --------------------------------------------------------------- get_many -- */

#define BUFFER_BYTES 100u

/* Many keys, each with a buffer of its own. */
struct question {
	struct shmc_item items[100];
	char keys[100][32];
	char buffers[100][BUFFER_BYTES];
	unsigned count;
};

static void
ask_for(struct question *q, unsigned number)
{
	struct shmc_item *item = &q->items[q->count];

	item->key = q->keys[q->count];
	item->key_bytes = key_of(q->keys[q->count], number);
	item->buffer = q->buffers[q->count];
	item->buffer_bytes = BUFFER_BYTES;
	item->value_bytes = 12345;
	item->status = SHMC_FENCED;
	q->count++;
}

static void
put_number(struct shmc *cache, unsigned number, size_t bytes)
{
	char value[1000], key[32];

	value_fill(value, bytes, number, number);
	CHECK_EQ(shmc_put(cache, key, key_of(key, number), value, bytes, 0),
	    SHMC_OK);
}

/* The item holds what get says of its key. */
static void
check_as_get(struct shmc *cache, struct shmc_item *item)
{
	char buffer[BUFFER_BYTES];
	size_t n = 0;

	CHECK_EQ(shmc_get(cache, item->key, item->key_bytes, buffer,
	    item->buffer_bytes, &n), item->status);
	CHECK_EQ(item->value_bytes, n);
	if (item->status == SHMC_OK)
		CHECK_MEM(item->buffer, buffer, n);
}

/* In their order, more than are fetched together, some twice, some not there. */
TEST(contract__get_many__answers_each_as_get_does)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct question q = { 0 };
	unsigned there = 0;

	for (unsigned i = 0; i < 60; i += 2)
		put_number(cache, i, 8 + i);
	for (unsigned i = 0; i < 95; i++) {
		ask_for(&q, i * 7 % 80);
		there += i * 7 % 80 % 2 == 0 && i * 7 % 80 < 60;
	}
	CHECK_EQ(shmc_get_many(cache, q.items, q.count), there);
	for (unsigned i = 0; i < 95; i++) {
		unsigned number = i * 7 % 80;

		CHECK_EQ(q.items[i].status, number % 2 == 0 && number < 60 ?
		    SHMC_OK : SHMC_MISS);
		if (q.items[i].status == SHMC_OK)
			CHECK_EQ(value_check(q.buffers[i],
			    q.items[i].value_bytes, number), number);
		check_as_get(cache, &q.items[i]);
	}
	CHECK_EQ(cache_stats(cache).hits, 2 * there);
	CHECK_EQ(cache_stats(cache).misses, 2 * (95 - there));
}

static void
load_nothing_there(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_absent(lead, 100000), SHMC_OK);
}

static void
load_failure(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_error(lead, 5, "message", 100000), SHMC_OK);
}

static void
remember(struct shmc *cache, unsigned number, shmc_loader *loader)
{
	struct shmc_view view;
	char key[32];
	size_t n = key_of(key, number);

	(void)!shmc_fetch(cache, key, n, NULL, loader, NULL, &view);
	shmc_view_release(&view);
}

static void
put_stale(struct shmc *cache, unsigned number)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;
	char key[32], value[8] = "stale";
	size_t n = key_of(key, number), bytes;

	terms.ttl_ms = 1;
	terms.grace_ms = 1000000;
	CHECK_EQ(shmc_store(cache, key, n, value, sizeof value, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	while (shmc_get(cache, key, n, value, sizeof value, &bytes) !=
	    SHMC_STALE)
		sleep_ms(1);
}

TEST(contract__get_many__whatever_a_key_holds_is_answered_as_by_get)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	static const enum shmc_status expected[] = { SHMC_OK, SHMC_TRUNCATED,
		SHMC_ABSENT, SHMC_ERROR, SHMC_STALE, SHMC_MISS, SHMC_OK,
		SHMC_TRUNCATED };
	struct question q = { 0 };
	static char large[50000];

	put_number(cache, 0, BUFFER_BYTES);
	put_number(cache, 1, BUFFER_BYTES + 1);
	remember(cache, 2, load_nothing_there);
	remember(cache, 3, load_failure);
	put_stale(cache, 4);
	put_number(cache, 6, 8);
	CHECK_EQ(shmc_put(cache, "key-000006", 10, "", 0, 0), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "key-000007", 10, large, sizeof large, 0),
	    SHMC_OK);
	for (unsigned i = 0; i < 8; i++)
		ask_for(&q, i);
	CHECK_EQ(shmc_get_many(cache, q.items, q.count), 2);
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(q.items[i].status, expected[i]);
		check_as_get(cache, &q.items[i]);
	}
}

TEST(contract__get_many__bad_items_spoil_no_others)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *big = calloc(1, SHMC_KEY_MAX + 1);
	struct question q = { 0 };

	put_number(cache, 1, 8);
	for (unsigned i = 0; i < 6; i++)
		ask_for(&q, 1);
	q.items[1].key = NULL;
	q.items[2].key = big;
	q.items[2].key_bytes = SHMC_KEY_MAX + 1;
	q.items[3].buffer = NULL;
	q.items[4].buffer = NULL;
	q.items[4].buffer_bytes = 0;
	CHECK_EQ(shmc_get_many(cache, q.items, q.count), 2);
	CHECK_EQ(q.items[0].status, SHMC_OK);
	CHECK_EQ(q.items[1].status, SHMC_INVALID);
	CHECK_EQ(q.items[2].status, SHMC_TOO_LARGE);
	CHECK_EQ(q.items[3].status, SHMC_INVALID);
	CHECK_EQ(q.items[4].status, SHMC_TRUNCATED);
	CHECK_EQ(q.items[4].value_bytes, 8);
	CHECK_EQ(q.items[5].status, SHMC_OK);
	free(big);
}

/* No status is left as the caller's memory happened to be. */
TEST(contract__get_many__without_a_cache_every_item_is_told)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct question q = { 0 };

	for (unsigned i = 0; i < 20; i++)
		ask_for(&q, 1);
	CHECK_EQ(shmc_get_many(NULL, q.items, q.count), 0);
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQ(q.items[i].status, SHMC_INVALID);
	CHECK_EQ(shmc_get_many(cache, NULL, 5), 0);
	CHECK_EQ(shmc_get_many(cache, q.items, 0), 0);
}

struct torn {
	struct shmc *cache;
	unsigned rounds;
};

static void
write_or_read_many(unsigned index, void *arg)
{
	struct torn *t = arg;

	for (unsigned round = 0; round < t->rounds; round++) {
		struct question q = { 0 };

		if (index % 2 == 0) {
			put_number(t->cache, round % 64, 8 + round % 90);
			continue;
		}
		for (unsigned i = 0; i < 32; i++)
			ask_for(&q, (round + i) % 64);
		(void)shmc_get_many(t->cache, q.items, q.count);
		for (unsigned i = 0; i < 32; i++)
			if (q.items[i].status == SHMC_OK)
				CHECK_EQ(value_check(q.buffers[i],
				    q.items[i].value_bytes, (round + i) % 64),
				    (round + i) % 64);
	}
}

TEST(contract__r24__get_many_sees_whole_values)
{
	struct torn torn = { cache_new(1u << 20, 8), test_rounds(5000) };

	run_processes(4, write_or_read_many, &torn);
	cache_audit(torn.cache);
}

/* ------------------------------------------------------------- fetch_many -- */

struct scene {
	struct shmc *cache;
	struct shmc_wait wait;
	unsigned rounds;
	_Atomic unsigned calls; /* of the loader */
	_Atomic unsigned loads; /* items computed */
	_Atomic unsigned loads_of[64];
	_Atomic unsigned last_leads; /* items to compute in the last call */
	_Atomic bool release;
	_Atomic bool deadlocked;
};

/* One caller's items. */
struct order {
	struct shmc_fetch_item items[MAX + 2];
	char keys[MAX + 2][32];
	unsigned count;
};

static struct scene *
scene_new(void)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, 16);
	s->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	atomic_store(&s->release, true);
	return s;
}

static void
order_key(struct order *o, unsigned number)
{
	struct shmc_fetch_item *item = &o->items[o->count];

	memset(item, 0xa5, sizeof *item); /* nothing may depend on it */
	item->key = o->keys[o->count];
	item->key_bytes = key_of(o->keys[o->count], number);
	item->arg = (void *)(uintptr_t)number;
	o->count++;
}

static void
end_item(struct shmc_fetch_item *item)
{
	char value[64];
	uint64_t number = (uintptr_t)item->arg;

	value_fill(value, sizeof value, number, number);
	CHECK_EQ(shmc_lead_value(&item->lead, value, sizeof value, 0, NULL),
	    SHMC_OK);
}

static void
load(struct shmc_fetch_item *items, size_t count, void *arg)
{
	struct scene *s = arg;
	unsigned leads = 0;

	atomic_fetch_add(&s->calls, 1);
	for (size_t i = 0; i < count; i++)
		leads += items[i].status == SHMC_LEAD;
	atomic_store(&s->last_leads, leads);
	atomic_fetch_add(&s->loads, leads);
	while (!atomic_load(&s->release))
		sleep_ms(1);
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD) {
			atomic_fetch_add(&s->loads_of[
			    (uintptr_t)items[i].arg % 64], 1);
			end_item(&items[i]);
		}
}

static size_t
fetch(struct scene *s, struct order *o)
{
	return shmc_fetch_many(s->cache, o->items, o->count, &s->wait, load, s);
}

static void
check_item(struct shmc_fetch_item *item, enum shmc_role role)
{
	uint64_t number = (uintptr_t)item->arg;

	CHECK_EQ(item->status, SHMC_OK);
	CHECK_EQ(item->view.role, role);
	CHECK_EQ(item->view.flags, 0);
	CHECK_EQ(item->view.size_bytes, 64);
	if (item->status == SHMC_OK)
		CHECK_EQ(value_check(item->view.data, item->view.size_bytes,
		    number), number);
}

static void
release_all(struct order *o)
{
	for (unsigned i = 0; i < o->count; i++)
		shmc_view_release(&o->items[i].view);
}

TEST(contract__fetch_many__computes_all_that_is_missing_in_one_call)
{
	struct scene *s = scene_new();
	struct order o = { 0 };

	put_number(s->cache, 3, 64);
	put_number(s->cache, 7, 64);
	for (unsigned i = 0; i < MAX; i++)
		order_key(&o, i);
	CHECK_EQ(fetch(s, &o), MAX);
	CHECK_EQ(atomic_load(&s->calls), 1);
	CHECK_EQ(atomic_load(&s->loads), MAX - 2);
	for (unsigned i = 0; i < MAX; i++)
		check_item(&o.items[i], i == 3 || i == 7 ? SHMC_ROLE_HIT :
							   SHMC_ROLE_LED);
	release_all(&o);
	CHECK_EQ(fetch(s, &o), MAX);
	CHECK_EQ(atomic_load(&s->calls), 1);
	for (unsigned i = 0; i < MAX; i++)
		check_item(&o.items[i], SHMC_ROLE_HIT);
	release_all(&o);
	CHECK_EQ(shmc_detach_thread(s->cache), 0); /* no view, no lead */
	cache_audit(s->cache);
}

TEST(contract__fetch_many__same_key_twice_is_computed_once)
{
	struct scene *s = scene_new();
	struct order o = { 0 };

	order_key(&o, 1);
	order_key(&o, 2);
	order_key(&o, 1);
	order_key(&o, 1);
	CHECK_EQ(fetch(s, &o), 4);
	CHECK_EQ(atomic_load(&s->calls), 1);
	CHECK_EQ(atomic_load(&s->loads_of[1]), 1);
	check_item(&o.items[0], SHMC_ROLE_LED);
	check_item(&o.items[1], SHMC_ROLE_LED);
	check_item(&o.items[2], SHMC_ROLE_HIT);
	check_item(&o.items[3], SHMC_ROLE_HIT);
	release_all(&o);
}

TEST(contract__fetch_many__more_than_can_be_is_refused_and_harmless)
{
	struct scene *s = scene_new();
	struct order o = { 0 };

	for (unsigned i = 0; i < MAX + 2; i++)
		order_key(&o, i);
	CHECK_EQ(fetch(s, &o), 0);
	for (unsigned i = 0; i < MAX + 2; i++)
		CHECK_EQ(o.items[i].status, SHMC_INVALID);
	release_all(&o); /* "each view is to be released" */
	for (unsigned i = 0; i < MAX + 2; i++)
		memset(&o.items[i].view, 0xa5, sizeof o.items[i].view);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, 3, NULL, NULL, NULL), 0);
	CHECK_EQ(o.items[2].status, SHMC_INVALID);
	CHECK_EQ(shmc_fetch_many(NULL, o.items, MAX, NULL, load, s), 0);
	CHECK_EQ(o.items[MAX - 1].status, SHMC_INVALID);
	o.count = MAX;
	release_all(&o);
	CHECK_EQ(shmc_fetch_many(s->cache, NULL, 3, NULL, load, s), 0);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, 0, NULL, load, s), 0);
	CHECK_EQ(atomic_load(&s->calls), 0);
}

TEST(contract__fetch_many__bad_items_spoil_no_others)
{
	struct scene *s = scene_new();
	struct order o = { 0 };
	char *big = calloc(1, SHMC_KEY_MAX + 1);

	for (unsigned i = 0; i < 4; i++)
		order_key(&o, i);
	o.items[1].key = NULL;
	o.items[2].key = big;
	o.items[2].key_bytes = SHMC_KEY_MAX + 1;
	CHECK_EQ(fetch(s, &o), 2);
	check_item(&o.items[0], SHMC_ROLE_LED);
	CHECK_EQ(o.items[1].status, SHMC_INVALID);
	CHECK_EQ(o.items[2].status, SHMC_TOO_LARGE);
	check_item(&o.items[3], SHMC_ROLE_LED);
	release_all(&o);
	free(big);
}

/* Each ending is its own key's affair. */
static void
load_variously(struct shmc_fetch_item *items, size_t count, void *arg)
{
	CHECK_EQ(count, 7);
	(void)arg;
	(void)!shmc_lead_value(&items[0].lead, "value", 5, 0, NULL);
	(void)!shmc_lead_append(&items[1].lead, "shared", 6);
	(void)!shmc_lead_share(&items[1].lead, NULL);
	(void)!shmc_lead_error(&items[2].lead, 9, "no", 0);
	(void)!shmc_lead_absent(&items[3].lead, 0);
	(void)!shmc_lead_append(&items[4].lead, "mine", 4);
	(void)!shmc_lead_pass(&items[4].lead, 1, 0, NULL);
	shmc_lead_abandon(&items[5].lead);
}

TEST(contract__fetch_many__each_item_has_an_ending_of_its_own)
{
	static const enum shmc_status expected[7] = { SHMC_OK, SHMC_OK,
		SHMC_ERROR, SHMC_ABSENT, SHMC_OK, SHMC_ABANDONED,
		SHMC_ABANDONED };
	struct scene *s = scene_new();
	struct order o = { 0 };

	for (unsigned i = 0; i < 7; i++)
		order_key(&o, i);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, 7, NULL, load_variously, s),
	    3);
	for (unsigned i = 0; i < 7; i++)
		CHECK_EQ(o.items[i].status, expected[i]);
	CHECK_MEM(o.items[0].view.data, "value", 5);
	CHECK_MEM(o.items[1].view.data, "shared", 6);
	CHECK_EQ(o.items[2].view.error, 9);
	CHECK_MEM(o.items[4].view.data, "mine", 4);
	release_all(&o);
	CHECK_EQ(shmc_detach_thread(s->cache), 0);
	cache_audit(s->cache);
}

/* ---------------------------------------------------- others are at it, too -- */

static void
fetch_one(void *arg)
{
	struct scene *s = arg;
	struct order o = { 0 };

	order_key(&o, 1);
	CHECK_EQ(fetch(s, &o), 1);
	release_all(&o);
}

static void
await_calls(struct scene *s, unsigned calls)
{
	while (atomic_load(&s->calls) < calls)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned waits)
{
	while (cache_stats(s->cache).waits < waits)
		sleep_ms(1);
}

/* Somebody computes key 1 until he is released. */
static pid_t
slow_leader(struct scene *s)
{
	pid_t leader;

	atomic_store(&s->release, false);
	leader = run_in_child(fetch_one, s);
	await_calls(s, 1);
	return leader;
}

static void
load_while_another_waits(struct shmc_fetch_item *items, size_t count,
    void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(count, 3);
	CHECK_EQ(items[1].status, SHMC_MISS);
	atomic_store(&s->release, true); /* only now does the other end */
	load(items, count, arg);
}

TEST(contract__fetch_many__computes_its_own_before_it_waits_for_others)
{
	struct scene *s = scene_new();
	pid_t leader = slow_leader(s);
	struct order o = { 0 };

	order_key(&o, 0);
	order_key(&o, 1);
	order_key(&o, 2);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, o.count, NULL,
	    load_while_another_waits, s), 3);
	CHECK_EQ(wait_child(leader), 0);
	check_item(&o.items[0], SHMC_ROLE_LED);
	CHECK(o.items[1].view.role == SHMC_ROLE_SHARED ||
	    o.items[1].view.role == SHMC_ROLE_HIT);
	check_item(&o.items[2], SHMC_ROLE_LED);
	CHECK_EQ(atomic_load(&s->loads), 3);
	release_all(&o);
}

static void
fetch_three(void *arg)
{
	struct scene *s = arg;
	struct order o = { 0 };

	for (unsigned i = 0; i < 3; i++)
		order_key(&o, i);
	CHECK_EQ(fetch(s, &o), 3);
	for (unsigned i = 0; i < 3; i++)
		check_item(&o.items[i], i == 1 ? SHMC_ROLE_PROMOTED :
						 SHMC_ROLE_LED);
	/* The second time for the one whose leader fell. */
	CHECK_EQ(atomic_load(&s->last_leads), 1);
	release_all(&o);
}

TEST(contract__r05__fetch_many_is_promoted_for_the_key_of_a_dead_leader)
{
	struct scene *s = scene_new();
	pid_t leader = slow_leader(s), waiter;

	waiter = run_in_child(fetch_three, s);
	await_calls(s, 2);
	CHECK_EQ(atomic_load(&s->last_leads), 2);
	/* The leader's loader spins on it, too: it must not end first. */
	kill(leader, SIGSTOP);
	atomic_store(&s->release, true);
	await_waits(s, 1);
	kill_child(leader);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(atomic_load(&s->calls), 3);
	CHECK_EQ(atomic_load(&s->loads_of[1]), 1);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

static void
fetch_number(struct scene *s, unsigned number, enum shmc_role role)
{
	struct order o = { 0 };

	order_key(&o, number);
	CHECK_EQ(fetch(s, &o), 1);
	check_item(&o.items[0], role);
	release_all(&o);
}

static void
wait_for_number(unsigned index, void *arg)
{
	fetch_number(arg, index, SHMC_ROLE_PROMOTED);
}

static void
wait_for_0(void *arg)
{
	wait_for_number(0, arg);
}

static void
wait_for_1(void *arg)
{
	wait_for_number(1, arg);
}

static void
wait_for_2(void *arg)
{
	wait_for_number(2, arg);
}

static void
lead_three(void *arg)
{
	struct scene *s = arg;
	struct order o = { 0 };

	for (unsigned i = 0; i < 3; i++)
		order_key(&o, i);
	(void)fetch(s, &o);
}

/* One death, three flights: each finds its successor. */
TEST(contract__r05__each_key_of_a_dead_many_leader_finds_its_successor)
{
	static child_function *const wait_for[3] = { wait_for_0, wait_for_1,
		wait_for_2 };
	struct scene *s = scene_new();
	pid_t leader, waiters[3];

	atomic_store(&s->release, false);
	leader = run_in_child(lead_three, s);
	await_calls(s, 1);
	for (unsigned i = 0; i < 3; i++)
		waiters[i] = run_in_child(wait_for[i], s);
	await_waits(s, 3);
	kill_child(leader);
	atomic_store(&s->release, true);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&s->calls), 4);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

static void
fetch_random(unsigned index, void *arg)
{
	struct scene *s = arg;
	uint32_t random = index + 1;

	for (unsigned round = 0; round < s->rounds; round++) {
		struct order o = { 0 };
		unsigned base = round * 8 + 1000;

		for (unsigned i = 0; i < 8; i++) {
			random = random * 1664525 + 1013904223;
			order_key(&o, base + (random >> 16) % 12);
		}
		CHECK_EQ(fetch(s, &o), 8);
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(o.items[i].status, SHMC_OK);
		release_all(&o);
	}
}

/* Sets that overlap, in any order, by four at once. */
TEST(contract__r01__many_callers_of_many_keys_compute_each_once)
{
	struct scene *s = scene_new();
	struct shmc_stats stats;
	unsigned keys = 0;
	size_t n;
	char key[32];

	/* Roomy: this counts computations, so nothing may be given up. */
	s->cache = cache_new(64u << 20, 16);
	s->rounds = test_rounds(1000);
	run_processes(4, fetch_random, s);
	stats = cache_stats(s->cache);
	for (unsigned i = 0; i < s->rounds * 8 + 2000; i++)
		keys += shmc_get(s->cache, key, key_of(key, i), NULL, 0, &n) ==
		    SHMC_TRUNCATED;
	CHECK_EQ(stats.evicted_entries + stats.displaced, 0);
	CHECK_EQ(stats.deadlocks + stats.timeouts, 0);
	CHECK_EQ(atomic_load(&s->loads), keys);
	CHECK_EQ(stats.computations, keys);
	cache_audit(s->cache);
}

/* -------------------------------------------------------------- deadlocks -- */

static void
fetch_pair(struct scene *s, unsigned first, unsigned second)
{
	struct order o = { 0 };

	order_key(&o, first);
	order_key(&o, second);
	CHECK_EQ(fetch(s, &o), 2);
	CHECK_EQ(o.items[0].status, SHMC_OK);
	CHECK_EQ(o.items[1].status, SHMC_OK);
	release_all(&o);
}

static void
fetch_a_b(void *arg)
{
	fetch_pair(arg, 1, 2);
}

static void
fetch_b_a(void *arg)
{
	fetch_pair(arg, 2, 1);
}

/* One leads A and stops; the other leads B and comes to A. */
TEST(contract__r11__two_calls_in_opposite_order_wait_for_no_cycle)
{
	struct scene *s = scene_new();
	pid_t first = run_stopped_at("fetch_leads", 1, fetch_a_b, s), second;

	REQUIRE(first != 0);
	second = run_in_child(fetch_b_a, s);
	await_waits(s, 1); /* it has computed B, and waits for A */
	CHECK_EQ(atomic_load(&s->loads), 1);
	continue_child(first);
	CHECK_EQ(wait_child(first), 0);
	CHECK_EQ(wait_child(second), 0);
	CHECK_EQ(atomic_load(&s->loads), 2);
	CHECK_EQ(cache_stats(s->cache).deadlocks, 0);
	cache_audit(s->cache);
}

static void
load_own_again(struct shmc_fetch_item *items, size_t count, void *arg)
{
	struct scene *s = arg;
	struct order o = { 0 };

	order_key(&o, 1);
	order_key(&o, 5);
	CHECK_EQ(fetch(s, &o), 1);
	CHECK_EQ(o.items[0].status, SHMC_DEADLOCK);
	check_item(&o.items[1], SHMC_ROLE_LED);
	release_all(&o);
	load(items, count, arg);
}

TEST(contract__r11__own_key_in_the_loader_is_a_deadlock_at_once)
{
	struct scene *s = scene_new();
	struct order o = { 0 };

	order_key(&o, 0);
	order_key(&o, 1);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, o.count, NULL,
	    load_own_again, s), 2);
	check_item(&o.items[1], SHMC_ROLE_LED);
	release_all(&o);
}

/* --------------------------------------- keys that cannot be shared; old ones -- */

static void
load_pass(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_append(lead, "mine", 4), SHMC_OK);
	CHECK_EQ(shmc_lead_pass(lead, 1, 1000000, NULL), SHMC_OK);
}

/* From now on each computes keys 1 and 2 for himself, one at a time. */
static struct scene *
scene_passing(void)
{
	struct scene *s = scene_new();

	remember(s->cache, 1, load_pass);
	remember(s->cache, 2, load_pass);
	return s;
}

/* The same, with the permits to compute in the place of the leads. */
TEST(contract__r11__permits_in_opposite_order_are_no_cycle_either)
{
	struct scene *s = scene_passing();
	pid_t first = run_stopped_at("fetch_leads", 1, fetch_a_b, s), second;

	REQUIRE(first != 0);
	second = run_in_child(fetch_b_a, s);
	await_waits(s, 1);
	continue_child(first);
	CHECK_EQ(wait_child(first), 0);
	CHECK_EQ(wait_child(second), 0);
	CHECK_EQ(cache_stats(s->cache).deadlocks, 0);
	CHECK_EQ(atomic_load(&s->loads), 4);
	cache_audit(s->cache);
}

TEST(contract__r04__fetch_many_takes_one_permit_after_the_other)
{
	struct scene *s = scene_passing();
	struct order o = { 0 };

	order_key(&o, 1);
	order_key(&o, 1);
	order_key(&o, 1);
	CHECK_EQ(fetch(s, &o), 3);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(o.items[i].status, SHMC_OK);
		CHECK_EQ(o.items[i].view.role, SHMC_ROLE_PASSED);
	}
	CHECK_EQ(cache_stats(s->cache).deadlocks, 0);
	release_all(&o);
	CHECK_EQ(shmc_detach_thread(s->cache), 0);
}

/* As many as can be, each with an older value to hold besides the new one. */
TEST(contract__r16__fetch_many_refreshes_as_many_as_there_are_views)
{
	struct scene *s = scene_new();
	struct order o = { 0 };

	for (unsigned i = 0; i < MAX; i++)
		put_stale(s->cache, i);
	for (unsigned i = 0; i < MAX; i++)
		order_key(&o, i);
	CHECK_EQ(fetch(s, &o), MAX);
	CHECK_EQ(atomic_load(&s->calls), 1);
	CHECK_EQ(atomic_load(&s->loads), MAX);
	for (unsigned i = 0; i < MAX; i++)
		check_item(&o.items[i], SHMC_ROLE_LED);
	release_all(&o);
	CHECK_EQ(shmc_detach_thread(s->cache), 0);
}

TEST(contract__r16__fetch_many_serves_what_another_refreshes)
{
	struct scene *s = scene_new();
	struct order o = { 0 };
	pid_t leader;

	put_stale(s->cache, 1);
	leader = slow_leader(s);
	order_key(&o, 1);
	CHECK_EQ(fetch(s, &o), 1);
	CHECK_EQ(o.items[0].view.role, SHMC_ROLE_STALE);
	CHECK_MEM(o.items[0].view.data, "stale", 5);
	release_all(&o);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&s->calls), 1);
}

/* ------------------------------------------------------ deadlines and forks -- */

TEST(contract__r09__fetch_many_leaves_at_its_deadline)
{
	struct scene *s = scene_new();
	pid_t leader = slow_leader(s);
	struct order o = { 0 };

	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	order_key(&o, 1);
	CHECK_EQ(fetch(s, &o), 0);
	CHECK_EQ(o.items[0].status, SHMC_TIMEOUT);
	release_all(&o);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(fetch(s, &o), 1);
	release_all(&o);
}

static void
load_at_once(struct shmc_fetch_item *items, size_t count, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD)
			end_item(&items[i]);
}

TEST(contract__r09__fetch_many_computes_its_own_copy_if_told_to)
{
	struct scene *s = scene_new();
	pid_t leader = slow_leader(s);
	struct order o = { 0 };
	struct shmc_view view;

	s->wait.deadline_ns = now_ns() + 20 * 1000000ull;
	s->wait.on_timeout = SHMC_OR_COMPUTE;
	order_key(&o, 0);
	order_key(&o, 1);
	CHECK_EQ(shmc_fetch_many(s->cache, o.items, o.count, &s->wait,
	    load_at_once, s), 2);
	CHECK_EQ(o.items[1].view.role, SHMC_ROLE_PASSED);
	CHECK_EQ(value_check(o.items[1].view.data, 64, 1), 1);
	CHECK_EQ(shmc_view(s->cache, o.keys[1], 10, &view), SHMC_MISS);
	release_all(&o);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(leader), 0);
}

static _Atomic pid_t *forked;

static void
load_and_fork(struct shmc_fetch_item *items, size_t count, void *arg)
{
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		CHECK_EQ(shmc_lead_value(&items[0].lead, "child", 5, 0, NULL),
		    SHMC_FENCED);
		return;
	}
	atomic_store(forked, child);
	load(items, count, arg);
}

TEST(contract__r29__fork_in_a_many_loader_leaves_the_leads_to_the_parent)
{
	struct scene *s = scene_new();
	pid_t parent = getpid();
	struct order o = { 0 };
	size_t found;

	forked = shared_alloc(sizeof *forked);
	put_number(s->cache, 2, 64);
	for (unsigned i = 0; i < 3; i++)
		order_key(&o, i);
	found = shmc_fetch_many(s->cache, o.items, o.count, NULL,
	    load_and_fork, s);
	if (getpid() != parent) {
		CHECK_EQ(o.items[0].status, SHMC_FENCED);
		CHECK_EQ(o.items[1].status, SHMC_FENCED);
		release_all(&o);
		fetch_number(s, 9, SHMC_ROLE_LED);
		_exit(0);
	}
	CHECK_EQ(wait_child(atomic_load(forked)), 0);
	CHECK_EQ(found, 3);
	for (unsigned i = 0; i < 3; i++)
		check_item(&o.items[i], i == 2 ? SHMC_ROLE_HIT : SHMC_ROLE_LED);
	release_all(&o);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}
