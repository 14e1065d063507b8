/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads on one mapping, few keys, little memory: every call against every
 * other, each value checked.  Under ThreadSanitizer, too.
 */
#include "inside.h"

#include <stdlib.h>

#define THREADS 6u
#define KEYS 24u
#define SMALL_MAX 1500u
#define LARGE_BYTES 20000u

struct race {
	struct shmc *cache;
	unsigned rounds;
	struct test_barrier turn;
	_Atomic uint64_t version;
	_Atomic uint64_t seen; /* values checked */
};

/*
 * ThreadSanitizer does not see that the kernel tells of a death after all that
 * the dead did: under it, no thread ends while another may take over from it.
 */
static void
end_seen(struct race *r)
{
#ifdef __SANITIZE_THREAD__
	test_barrier_meet(&r->turn);
#else
	(void)r;
#endif
}

/* One thread's dice: xorshift (Marsaglia 2003). */
struct player {
	struct race *race;
	uint64_t random;
	unsigned char buffer[LARGE_BYTES];
};

static unsigned
draw_below(struct player *p, unsigned below)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (unsigned)(p->random >> 20) % below;
}

/* Every seventh key has large values. */
static size_t
fill(struct player *p, unsigned key)
{
	size_t bytes = key % 7 == 0 ? LARGE_BYTES : 8 + draw_below(p, SMALL_MAX);

	value_fill(p->buffer, bytes, key,
	    atomic_fetch_add(&p->race->version, 1));
	return bytes;
}

static void
check(struct player *p, size_t bytes, unsigned key)
{
	if (value_check(p->buffer, bytes, key) == UINT64_MAX)
		FAIL("key %u: a wrong byte in %zu", key, bytes);
	atomic_fetch_add(&p->race->seen, 1);
}

static void
play_put(struct player *p, unsigned key)
{
	char name[32];
	size_t bytes = fill(p, key);
	enum shmc_status status = shmc_put(p->race->cache, name,
	    key_of(name, key), p->buffer, bytes, 0);

	CHECK(status == SHMC_OK || status == SHMC_NO_MEMORY);
}

static void
play_get(struct player *p, unsigned key)
{
	char name[32];
	size_t bytes;
	enum shmc_status status = shmc_get(p->race->cache, name,
	    key_of(name, key), p->buffer, sizeof p->buffer, &bytes);

	CHECK(status == SHMC_OK || status == SHMC_MISS);
	if (status == SHMC_OK)
		check(p, bytes, key);
}

static void
play_view(struct player *p, unsigned key)
{
	struct shmc_view view;
	char name[32];
	enum shmc_status status = shmc_view(p->race->cache, name,
	    key_of(name, key), &view);

	CHECK(status == SHMC_OK || status == SHMC_MISS);
	if (status != SHMC_OK)
		return;
	/* Others overwrite and evict meanwhile: both looks are the same. */
	CHECK_EQ(shmc_view_copy(&view, p->buffer, sizeof p->buffer),
	    view.size_bytes);
	check(p, view.size_bytes, key);
	play_put(p, key);
	CHECK_EQ(shmc_view_copy(&view, p->buffer, sizeof p->buffer),
	    view.size_bytes);
	check(p, view.size_bytes, key);
	shmc_view_release(&view);
}

static void
play_delete(struct player *p, unsigned key)
{
	char name[32];
	enum shmc_status status = shmc_delete(p->race->cache, name,
	    key_of(name, key));

	CHECK(status == SHMC_OK || status == SHMC_MISS);
}

struct load {
	struct player *player;
	unsigned key;
};

static void
load(struct shmc_lead *lead, void *arg)
{
	struct load *l = arg;
	struct player *p = l->player;
	size_t bytes = fill(p, l->key), half = bytes / 2;
	enum shmc_status status;

	if (draw_below(p, 10) == 0)
		return; /* given up */
	if (draw_below(p, 2) == 0) {
		status = shmc_lead_value(lead, p->buffer, bytes, 0, NULL);
	} else {
		status = shmc_lead_append(lead, p->buffer, half);
		if (status == SHMC_OK)
			status = shmc_lead_append(lead, p->buffer + half,
			    bytes - half);
		if (status == SHMC_OK)
			status = shmc_lead_commit(lead, 0, NULL);
	}
	CHECK(status == SHMC_OK || status == SHMC_NO_MEMORY);
}

static void
play_fetch(struct player *p, unsigned key)
{
	struct load l = { p, key };
	struct shmc_view view;
	char name[32];
	enum shmc_status status = shmc_fetch(p->race->cache, name,
	    key_of(name, key), NULL, load, &l, &view);

	CHECK(status == SHMC_OK || status == SHMC_ABANDONED ||
	    status == SHMC_NO_MEMORY);
	if (status != SHMC_OK)
		return;
	CHECK_EQ(shmc_view_copy(&view, p->buffer, sizeof p->buffer),
	    view.size_bytes);
	check(p, view.size_bytes, key);
	shmc_view_release(&view);
}

static void
play(unsigned index, void *arg)
{
	static void (*const moves[])(struct player *p, unsigned key) = {
		play_get, play_get, play_get, play_view, play_put,
		play_fetch, play_fetch, play_delete,
	};
	struct player *p = malloc(sizeof *p);

	REQUIRE(p != NULL);
	p->race = arg;
	p->random = 88172645463325252ull + index * 0x9e3779b97f4a7c15ull;
	for (unsigned i = 0; i < p->race->rounds; i++)
		moves[draw_below(p, ARRAY_LENGTH(moves))](p, draw_below(p, KEYS));
	end_seen(p->race);
	free(p);
}

/* More is written than there is room for, so blocks go round. */
TEST(cache_race__every_call_against_every_other__values_are_whole)
{
	struct race r = { .cache = cache_new(1u << 20, 8),
		.rounds = test_rounds(10000) };

	test_barrier_init(&r.turn, THREADS);
	run_threads(THREADS, play, &r);
	CHECK_GT(r.seen, r.rounds);
	CHECK_GT(cache_stats(r.cache).evicted_blocks, 100);
	CHECK_EQ(cache_stats(r.cache).doubtful, 0);
	cache_audit(r.cache);
	shmc_close(r.cache);
}

static void
come_and_go(unsigned index, void *arg)
{
	struct race *r = arg;
	char name[32];

	for (unsigned i = 0; i < r->rounds; i++) {
		put(r->cache, "k", "v");
		CHECK_EQ(shmc_put(r->cache, name, key_of(name, index), "w", 1,
		    0), SHMC_OK);
		CHECK_EQ(shmc_detach_thread(r->cache), 0);
	}
}

TEST(cache_race__threads_attach_and_detach__no_slot_is_lost)
{
	struct race r = { .cache = cache_new(1u << 20, THREADS),
		.rounds = test_rounds(500) };

	run_threads(THREADS, come_and_go, &r);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(r.cache->seg.participants[i].life.futex, 0);
	check_get(r.cache, "k", "v");
	cache_audit(r.cache);
	shmc_close(r.cache);
}

static void
end_attached(unsigned index, void *arg)
{
	struct race *r = arg;
	char name[32];

	CHECK_EQ(shmc_put(r->cache, name, key_of(name, index), "w", 1, 0),
	    SHMC_OK);
	end_seen(r);
}

/* Each round's threads end holding their slots; the next round's reap them. */
TEST(cache_race__threads_end_attached__their_successors_repair)
{
	struct race r = { .cache = cache_new(1u << 20, THREADS) };
	unsigned rounds = test_rounds(100);

	test_barrier_init(&r.turn, THREADS);
	for (unsigned i = 0; i < rounds; i++)
		run_threads(THREADS, end_attached, &r);
	CHECK_GE(cache_stats(r.cache).reaped, rounds - 1);
	(void)shmc_reap(r.cache);
	cache_audit(r.cache);
	shmc_close(r.cache);
}

#define PLACES 5u /* slots, and threads */

static void
two_caches(unsigned index, void *arg)
{
	struct race *both = arg;
	char name[32];
	size_t bytes = key_of(name, index);

	for (unsigned i = 0; i < both[0].rounds; i++) {
		CHECK_EQ(shmc_put(both[0].cache, name, bytes, "a", 1, 0),
		    SHMC_OK);
		CHECK_EQ(shmc_put(both[1].cache, name, bytes, "b", 1, 0),
		    SHMC_OK);
		check_get(both[0].cache, name, "a");
		check_get(both[1].cache, name, "b");
	}
	end_seen(both);
}

TEST(cache_race__threads_with_two_caches__one_slot_each)
{
	struct race both[2] = {
		{ .cache = cache_new(1u << 20, PLACES), .rounds = test_rounds(300) },
		{ .cache = cache_new(1u << 20, PLACES) },
	};

	test_barrier_init(&both[0].turn, PLACES);
	run_threads(PLACES, two_caches, both);
	cache_audit(both[0].cache);
	shmc_close(both[0].cache);
	shmc_close(both[1].cache);
}
