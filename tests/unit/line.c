/* SPDX-License-Identifier: BSD-2-Clause */
/* Unique claims in a pair of lines: one LIVE word per key. */
#include "line.h"

#include "inside.h"
#include "testpoint.h"

#define TAG (5ull << WORD_TAG_SHIFT)
#define OTHER_TAG (6ull << WORD_TAG_SHIFT)
/* A key is a number below 256; the rest of a word's place is its value. */
#define KEY_BITS 8u
#define KEY_MASK 0xffu

struct scene {
	struct line pair[2] __attribute__((aligned(128)));
	struct shmc *cache;
	struct member *me;
	_Atomic uint64_t guarded;
	struct line_guard guard; /* guarded == 0 */
};

static struct scene *
scene_new(void)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(1u << 20, 8);
	s->me = member_of(s->cache);
	s->guard = (struct line_guard){ &s->guarded, UINT64_MAX, 0 };
	return s;
}

static bool
same_key(const void *arg, uint64_t word)
{
	return (word & KEY_MASK) == (uintptr_t)arg;
}

static struct line_query
query_of(struct scene *s, unsigned key)
{
	return (struct line_query){ .pair = s->pair, .tag = TAG,
		.same = same_key, .arg = (void *)(uintptr_t)key };
}

static uint64_t
live(unsigned key, uint64_t value)
{
	return WORD_LIVE | TAG | value << KEY_BITS | key;
}

static enum line_set
set(struct scene *s, unsigned key, uint64_t value, uint64_t *old)
{
	struct line_query q = query_of(s, key);

	return line_set(s->me, &q, live(key, value), NULL, NULL, old);
}

static uint64_t
find(struct scene *s, unsigned key)
{
	struct line_query q = query_of(s, key);
	_Atomic uint64_t *at;

	return line_find(&q, &at);
}

static unsigned
words_with(struct scene *s, uint64_t bits)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		n += (*line_word(s->pair, i) & bits) == bits;
	return n;
}

static uint64_t
tent(const struct scene *s, uint64_t tag, uint64_t owner)
{
	(void)s;
	return WORD_TENT | tag | owner << WORD_OWNER_SHIFT | 99;
}

TEST(line__empty__finds_nothing)
{
	struct scene *s = scene_new();

	CHECK_EQ(find(s, 1), WORD_EMPTY);
	shmc_close(s->cache);
}

TEST(line__set__is_found)
{
	struct scene *s = scene_new();
	uint64_t old = 1;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(old, WORD_EMPTY);
	CHECK_EQ(find(s, 1), live(1, 10));
	CHECK_EQ(find(s, 2), WORD_EMPTY);
	CHECK_EQ(words_with(s, WORD_TENT), 0);
	shmc_close(s->cache);
}

TEST(line__set_again__replaces_and_tells_the_old)
{
	struct scene *s = scene_new();
	uint64_t old;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(set(s, 1, 11, &old), LINE_SET);
	CHECK_EQ(old, live(1, 10));
	CHECK_EQ(find(s, 1), live(1, 11));
	CHECK_EQ(words_with(s, WORD_LIVE), 1);
	shmc_close(s->cache);
}

TEST(line__set_if_absent__leaves_what_is_there)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	uint64_t old;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(line_set(s->me, &q, live(1, 11), &no_word, NULL, &old),
	    LINE_OTHER);
	CHECK_EQ(old, live(1, 10));
	CHECK_EQ(find(s, 1), live(1, 10));
	shmc_close(s->cache);
}

/* Repairs set again what the dead may have set. */
TEST(line__same_word_again__nothing_changes)
{
	struct scene *s = scene_new();
	uint64_t old;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(old, WORD_EMPTY);
	CHECK_EQ(words_with(s, WORD_LIVE), 1);
	shmc_close(s->cache);
}

TEST(line__removed__is_gone_and_told)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	uint64_t old;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(set(s, 2, 20, &old), LINE_SET);
	CHECK_EQ(line_remove(&q), live(1, 10));
	CHECK_EQ(line_remove(&q), WORD_EMPTY);
	CHECK_EQ(find(s, 1), WORD_EMPTY);
	CHECK_EQ(find(s, 2), live(2, 20));
	shmc_close(s->cache);
}

TEST(line__other_tag__is_another_key)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	_Atomic uint64_t *at;
	uint64_t old;

	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	q.tag = OTHER_TAG;
	CHECK_EQ(line_find(&q, &at), WORD_EMPTY);
	CHECK_EQ(line_remove(&q), WORD_EMPTY);
	CHECK_EQ(find(s, 1), live(1, 10));
	shmc_close(s->cache);
}

TEST(line__sixteen_keys__next_one_finds_it_full)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 3);
	uint64_t old;

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		CHECK_EQ(set(s, i, i, &old), LINE_SET);
	CHECK_EQ(set(s, 100, 1, &old), LINE_FULL);
	CHECK_EQ(set(s, 5, 55, &old), LINE_SET); /* no room needed */
	CHECK_EQ(line_remove(&q), live(3, 3));
	CHECK_EQ(set(s, 100, 1, &old), LINE_SET);
	shmc_close(s->cache);
}

TEST(line__home_line__is_filled_first)
{
	struct scene *s = scene_new();
	uint64_t old;

	for (unsigned home = 0; home < 2; home++) {
		struct line_query q = query_of(s, home);
		_Atomic uint64_t *at;

		q.home = home;
		CHECK_EQ(line_set(s->me, &q, live(home, 1), NULL, NULL, &old),
		    LINE_SET);
		CHECK_EQ(line_find(&q, &at), live(home, 1));
		CHECK(at == &s->pair[home].words[0]);
	}
	shmc_close(s->cache);
}

TEST(line__guard_does_not_hold__nothing_is_set)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	uint64_t old;

	s->guarded = 1;
	CHECK_EQ(line_set(s->me, &q, live(1, 10), NULL, &s->guard, &old),
	    LINE_GUARDED);
	CHECK_EQ(words_with(s, WORD_LIVE) + words_with(s, WORD_TENT), 0);
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(line_set(s->me, &q, live(1, 11), NULL, &s->guard, &old),
	    LINE_GUARDED);
	CHECK_EQ(find(s, 1), live(1, 10));
	shmc_close(s->cache);
}

TEST(line__guard_holds__is_set)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	uint64_t old;

	s->guard.mask = 0xf0;
	s->guarded = 0x0f; /* outside the mask */
	CHECK_EQ(line_set(s->me, &q, live(1, 10), NULL, &s->guard, &old),
	    LINE_SET);
	shmc_close(s->cache);
}

TEST(line__removed__claims_of_its_tag_are_void)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);

	*line_word(s->pair, 2) = tent(s, TAG, s->me->index);
	*line_word(s->pair, 3) = tent(s, OTHER_TAG, s->me->index);
	CHECK_EQ(line_remove(&q), WORD_EMPTY);
	CHECK_EQ(*line_word(s->pair, 2), WORD_EMPTY);
	CHECK_EQ(*line_word(s->pair, 3), tent(s, OTHER_TAG, s->me->index));
	shmc_close(s->cache);
}

TEST(line__full_of_claims_of_the_dead__makes_room)
{
	struct scene *s = scene_new();
	uint64_t old;

	/* Slot 7 is free, slot 4000 does not exist. */
	for (unsigned i = 0; i < PAIR_WORDS; i++)
		*line_word(s->pair, i) = tent(s, OTHER_TAG, i % 2 ? 7 : 4000);
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(find(s, 1), live(1, 10));
	shmc_close(s->cache);
}

TEST(line__full_of_claims_of_the_living__is_full)
{
	struct scene *s = scene_new();
	uint64_t old;

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		*line_word(s->pair, i) = tent(s, OTHER_TAG, s->me->index);
	CHECK_EQ(set(s, 1, 10, &old), LINE_FULL);
	CHECK_EQ(words_with(s, WORD_TENT), PAIR_WORDS);
	shmc_close(s->cache);
}

TEST(line__scribbled_words__are_counted_and_used_again)
{
	struct scene *s = scene_new();
	uint64_t old;

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		*line_word(s->pair, i) = 4711;
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_GE(cache_stats(s->cache).doubtful, 1);
	shmc_close(s->cache);
}

static void
set_one(void *arg)
{
	struct scene *s = arg;
	struct line_query q = query_of(s, 1);
	uint64_t old;
	enum line_set answer = line_set(member_of(s->cache), &q, live(1, 77),
	    NULL, &s->guard, &old);

	CHECK_EQ(answer, s->guarded == 0 ? LINE_SET : LINE_GUARDED);
}

TEST(line__setter_killed_between_claim_and_commit__next_one_sets)
{
	struct scene *s = scene_new();
	uint64_t old;

	REQUIRE(run_killed_at("line_claimed", 1, set_one, s));
	CHECK_EQ(words_with(s, WORD_TENT), 1);
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(find(s, 1), live(1, 10));
	CHECK_EQ(words_with(s, WORD_TENT), 0);
	shmc_close(s->cache);
}

/* The promise of invalidation: what was claimed before does not come after. */
TEST(line__removed_while_a_setter_has_claimed__it_gives_way)
{
	struct scene *s = scene_new();
	struct line_query q = query_of(s, 1);
	pid_t child = run_stopped_at("line_claimed", 1, set_one, s);

	REQUIRE(child != 0);
	s->guarded = 1;
	CHECK_EQ(line_remove(&q), WORD_EMPTY);
	continue_child(child);
	CHECK_EQ(wait_child(child), 0);
	CHECK_EQ(find(s, 1), WORD_EMPTY);
	shmc_close(s->cache);
}

/* A key of the same tag in the last word: its comparison ends a scan. */
#define LAST_KEY 200u

static bool
same_key_and_tell(const void *arg, uint64_t word)
{
	if ((word & KEY_MASK) == LAST_KEY)
		TESTPOINT("test_scanned");
	return same_key(arg, word);
}

static void
set_and_tell(void *arg)
{
	struct scene *s = arg;
	struct line_query q = query_of(s, 1);
	struct member *me = member_of(s->cache);
	uint64_t old;

	q.same = same_key_and_tell;
	CHECK_EQ(line_set(me, &q, live(1, me->index), NULL, NULL, &old),
	    LINE_SET);
}

/*
 * One has seen that it is alone, and is about to commit.  Another claims, sees
 * the first one's claim, and is about to kill it.  The first one commits: the
 * other must see that, and not commit a second word.
 */
TEST(line__claim_to_be_killed_becomes_live__the_killer_sees_it)
{
	struct scene *s = scene_new();
	pid_t first, second;

	*line_word(s->pair, PAIR_WORDS - 1) = live(LAST_KEY, 0);
	first = run_stopped_at("test_scanned", 2, set_and_tell, s);
	REQUIRE(first != 0);
	second = run_stopped_at("line_tent_met", 1, set_and_tell, s);
	REQUIRE(second != 0);
	continue_child(first);
	CHECK_EQ(wait_child(first), 0);
	continue_child(second);
	CHECK_EQ(wait_child(second), 0);
	CHECK_EQ(words_with(s, WORD_LIVE), 2); /* ours, and the last */
	CHECK_EQ(words_with(s, WORD_TENT), 0);
	shmc_close(s->cache);
}

TEST(line__set_while_another_has_claimed__one_live_word)
{
	struct scene *s = scene_new();
	pid_t child = run_stopped_at("line_claimed", 1, set_one, s);
	uint64_t old;

	REQUIRE(child != 0);
	CHECK_EQ(set(s, 1, 10, &old), LINE_SET);
	CHECK_EQ(words_with(s, WORD_LIVE), 1);
	continue_child(child);
	CHECK_EQ(wait_child(child), 0);
	CHECK_EQ(words_with(s, WORD_LIVE), 1);
	CHECK_EQ(find(s, 1), live(1, 77));
	shmc_close(s->cache);
}

struct race {
	struct scene *scene;
	struct test_barrier turn;
	unsigned rounds;
};

#define RACERS 4u

/* Two set, one sets if absent, one removes: never two LIVE words. */
static void
set_and_remove(unsigned index, void *arg)
{
	struct race *r = arg;
	struct line_query q = query_of(r->scene, 1);
	struct member *me = member_of(r->scene->cache);
	uint64_t old;

	for (unsigned i = 0; i < r->rounds; i++) {
		if (index == 0)
			(void)line_remove(&q);
		else
			(void)line_set(me, &q, live(1, i * RACERS + index),
			    index != 1 ? NULL : &no_word, NULL, &old);
		test_barrier_meet(&r->turn);
		if (index == 0) {
			CHECK_LE(words_with(r->scene, WORD_LIVE), 1);
			CHECK_EQ(words_with(r->scene, WORD_TENT), 0);
		}
		test_barrier_meet(&r->turn);
	}
}

TEST(line_race__setters_and_a_remover__at_most_one_live_word)
{
	struct race r = { .scene = scene_new(), .rounds = test_rounds(10000) };

	test_barrier_init(&r.turn, RACERS);
	run_threads(RACERS, set_and_remove, &r);
	shmc_close(r.scene->cache);
}

/* Only who sets if absent and is told SET may think it was the one. */
static void
set_if_absent(unsigned index, void *arg)
{
	struct race *r = arg;
	struct line_query q = query_of(r->scene, 1);
	struct member *me = member_of(r->scene->cache);
	uint64_t old;

	for (unsigned i = 0; i < r->rounds; i++) {
		if (line_set(me, &q, live(1, index + 1), &no_word, NULL, &old) ==
		    LINE_SET)
			atomic_fetch_add(&r->scene->guarded, 1);
		test_barrier_meet(&r->turn);
		if (index == 0) {
			CHECK_EQ(r->scene->guarded, 1);
			r->scene->guarded = 0;
			CHECK_NE(line_remove(&q), WORD_EMPTY);
		}
		test_barrier_meet(&r->turn);
	}
}

TEST(line_race__many_set_if_absent__one_is_told_so)
{
	struct race r = { .scene = scene_new(), .rounds = test_rounds(10000) };

	test_barrier_init(&r.turn, RACERS);
	run_threads(RACERS, set_if_absent, &r);
	shmc_close(r.scene->cache);
}
