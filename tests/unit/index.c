/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys to entries: hashes made by hand, so that they meet when we want it. */
#include "index.h"

#include "grace.h"
#include "inside.h"

#include <stdio.h>

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
	uint64_t old;
	struct entry_view view;
	_Atomic uint64_t *at;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 4) };

	s.seg = &s.cache->seg;
	s.me = member_of(s.cache);
	return s;
}

/* Every key with this hash goes to one pair, one line, one tag. */
static struct key
key_with_hash(const char *text, uint64_t hash)
{
	return (struct key){ text, (uint32_t)strlen(text), hash };
}

static enum line_set
link_key(struct scene *s, const struct key *key, const char *value,
    uint64_t *entry)
{
	enum line_set answer;

	*entry = entry_new(s->me, key, value, strlen(value));
	grace_enter(s->me);
	answer = index_link(s->me, key, *entry, NULL, NULL, &s->old);
	grace_exit(s->me);
	return answer;
}

static uint64_t
find(struct scene *s, const struct key *key)
{
	return index_find(s->seg, key, &s->view, &s->at);
}

TEST(index__linked__is_found_with_its_bounds)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "value", &entry), LINE_SET);
	CHECK_EQ(s.old, WORD_EMPTY);
	CHECK_EQ(find(&s, &key) & ~WORD_TAG_MASK, entry);
	CHECK_EQ(s.view.value_bytes, 5);
	CHECK_MEM(s.view.value, "value", 5);
	CHECK_EQ(*s.at, find(&s, &key));
	shmc_close(s.cache);
}

TEST(index__other_key__is_a_miss)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k"), other = key_from(s.cache, "l");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "value", &entry), LINE_SET);
	CHECK_EQ(find(&s, &other), WORD_EMPTY);
	shmc_close(s.cache);
}

TEST(index__two_keys_of_one_hash__are_told_apart)
{
	struct scene s = scene_new();
	struct key a = key_with_hash("a", 42), b = key_with_hash("b", 42);
	uint64_t entry_a, entry_b;

	CHECK_EQ(link_key(&s, &a, "1", &entry_a), LINE_SET);
	CHECK_EQ(link_key(&s, &b, "2", &entry_b), LINE_SET);
	CHECK_EQ(find(&s, &a) & ~WORD_TAG_MASK, entry_a);
	CHECK_EQ(find(&s, &b) & ~WORD_TAG_MASK, entry_b);
	CHECK_NE(index_unlink(s.me, &a), WORD_EMPTY);
	CHECK_EQ(find(&s, &a), WORD_EMPTY);
	CHECK_EQ(find(&s, &b) & ~WORD_TAG_MASK, entry_b);
	shmc_close(s.cache);
}

TEST(index__linked_again__replaces)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t first, second;

	CHECK_EQ(link_key(&s, &key, "1", &first), LINE_SET);
	CHECK_EQ(link_key(&s, &key, "2", &second), LINE_SET);
	CHECK_EQ(s.old & ~WORD_TAG_MASK, first);
	CHECK_EQ(find(&s, &key) & ~WORD_TAG_MASK, second);
	shmc_close(s.cache);
}

TEST(index__unlinked__is_a_miss_and_told)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "1", &entry), LINE_SET);
	CHECK_EQ(index_unlink(s.me, &key) & ~WORD_TAG_MASK, entry);
	CHECK_EQ(find(&s, &key), WORD_EMPTY);
	CHECK_EQ(index_unlink(s.me, &key), WORD_EMPTY);
	shmc_close(s.cache);
}

TEST(index__touched__counts_to_three)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "1", &entry), LINE_SET);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t word = find(&s, &key);

		CHECK_EQ((word & WORD_FREQ_MASK) / WORD_FREQ_ONE,
		    i < 3 ? i : 3);
		index_touch(s.at, word);
	}
	CHECK_EQ(WORD_FREE_OF_FREQ(find(&s, &key)) & ~WORD_TAG_MASK, entry);
	shmc_close(s.cache);
}

TEST(index__touched_after_a_change__leaves_the_new_word)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t first, second, seen;

	CHECK_EQ(link_key(&s, &key, "1", &first), LINE_SET);
	seen = find(&s, &key);
	CHECK_EQ(link_key(&s, &key, "2", &second), LINE_SET);
	index_touch(s.at, seen);
	CHECK_EQ(find(&s, &key) & ~WORD_TAG_MASK, second);
	shmc_close(s.cache);
}

TEST(index__evicted__whatever_its_freq)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint32_t high = (uint32_t)(key.hash >> 32);
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "1", &entry), LINE_SET);
	index_touch(s.at, find(&s, &key));
	CHECK(index_evict(s.seg, entry, high));
	CHECK_EQ(find(&s, &key), WORD_EMPTY);
	CHECK(!index_evict(s.seg, entry, high));
	shmc_close(s.cache);
}

TEST(index__entry_replaced_meanwhile__eviction_spares_its_successor)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t first, second;

	CHECK_EQ(link_key(&s, &key, "1", &first), LINE_SET);
	CHECK_EQ(link_key(&s, &key, "2", &second), LINE_SET);
	CHECK(!index_evict(s.seg, first, (uint32_t)(key.hash >> 32)));
	CHECK_EQ(find(&s, &key) & ~WORD_TAG_MASK, second);
	shmc_close(s.cache);
}

TEST(index__same_place_of_an_older_generation__is_another_entry)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "1", &entry), LINE_SET);
	CHECK(!index_evict(s.seg, entry + (1ull << WORD_GENERATION_SHIFT),
	    (uint32_t)(key.hash >> 32)));
	CHECK_NE(find(&s, &key), WORD_EMPTY);
	shmc_close(s.cache);
}

TEST(index__full_pair__the_coldest_of_the_home_line_goes)
{
	struct scene s = scene_new();
	char names[PAIR_WORDS + 1][4];
	struct key keys[PAIR_WORDS + 1];
	uint64_t entry;

	for (unsigned i = 0; i <= PAIR_WORDS; i++) {
		(void)snprintf(names[i], sizeof names[i], "%u", i);
		keys[i] = key_with_hash(names[i], 42);
		CHECK_EQ(link_key(&s, &keys[i], "v", &entry), LINE_SET);
		/* The home line was filled first: all of it is warm but 3. */
		if (i != 3 && i < PAIR_WORDS) {
			uint64_t word = find(&s, &keys[i]);

			index_touch(s.at, word);
		}
	}
	for (unsigned i = 0; i <= PAIR_WORDS; i++)
		CHECK_EQ(find(&s, &keys[i]) == WORD_EMPTY, i == 3);
	CHECK_EQ(cache_stats(s.cache).displaced, 1);
	shmc_close(s.cache);
}

static void
link_until(struct scene *s, const struct key *key, uint64_t expiry_ms)
{
	struct entry_terms terms = { .expiry_ms = expiry_ms };
	struct draft draft = { 0 };
	uint64_t entry;

	REQUIRE_EQ(value_write(s->me, &draft, key, "v", 1, &terms, &entry),
	    SHMC_OK);
	grace_enter(s->me);
	CHECK_EQ(index_link(s->me, key, entry, NULL, NULL, &s->old), LINE_SET);
	grace_exit(s->me);
}

/* However often it was asked for while it was good. */
TEST(index__full_pair__what_has_expired_goes_first)
{
	struct scene s = scene_new();
	char names[PAIR_WORDS + 1][4];
	struct key keys[PAIR_WORDS + 1];

	while (segment_now_ms(s.seg) < 2)
		sleep_ms(1);
	for (unsigned i = 0; i <= PAIR_WORDS; i++) {
		(void)snprintf(names[i], sizeof names[i], "%u", i);
		keys[i] = key_with_hash(names[i], 42);
		link_until(&s, &keys[i], i == 5 ? 1 : i % 2 == 0 ? 0 :
						      ENTRY_EXPIRY_MAX);
		for (unsigned hot = 0; hot < 3 && i == 5; hot++) {
			uint64_t word = find(&s, &keys[i]);

			index_touch(s.at, word);
		}
	}
	for (unsigned i = 0; i <= PAIR_WORDS; i++)
		CHECK_EQ(find(&s, &keys[i]) == WORD_EMPTY, i == 5);
	CHECK_EQ(cache_stats(s.cache).displaced, 1);
	shmc_close(s.cache);
}

/* What a flush left is over, too; else it would push out what is new. */
TEST(index__full_pair__what_was_flushed_goes_first)
{
	struct scene s = scene_new();
	unsigned kept = 0, n = 20000;
	char key[32], value[8];
	size_t bytes;

	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < n; i++) { /* hot, and of no use soon */
			size_t k = key_of(key, i);

			CHECK_EQ(shmc_put(s.cache, key, k, "v", 1, 0), SHMC_OK);
			(void)!shmc_get(s.cache, key, k, value, sizeof value,
			    &bytes);
		}
	CHECK_GT(cache_stats(s.cache).displaced, 0);
	CHECK_EQ(shmc_flush(s.cache), SHMC_OK);
	n = (unsigned)(s.seg->geo.index_pairs * PAIR_WORDS / 2);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(shmc_put(s.cache, key, key_of(key, i), "v", 1, 0),
		    SHMC_OK);
	for (unsigned i = 0; i < n; i++)
		kept += shmc_get(s.cache, key, key_of(key, i), value,
		    sizeof value, &bytes) == SHMC_OK;
	/* Half as many as there are words: hardly a pair overflows, 1 key in 90. */
	CHECK_GE(kept, n - n / 20);
	shmc_close(s.cache);
}

TEST(index__guard_does_not_hold__nothing_is_linked)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	_Atomic uint64_t word = 1;
	struct line_guard guard = { &word, UINT64_MAX, 0 };
	uint64_t entry = entry_new(s.me, &key, "v", 1);

	CHECK_EQ(index_link(s.me, &key, entry, NULL, &guard, &s.old),
	    LINE_GUARDED);
	CHECK_EQ(find(&s, &key), WORD_EMPTY);
	shmc_close(s.cache);
}

TEST(index__word_scribbled__is_a_miss)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	uint64_t entry;

	CHECK_EQ(link_key(&s, &key, "v", &entry), LINE_SET);
	CHECK_NE(find(&s, &key), WORD_EMPTY);
	*s.at |= WORD_PLACE_MASK;
	CHECK_EQ(find(&s, &key), WORD_EMPTY);
	shmc_close(s.cache);
}
