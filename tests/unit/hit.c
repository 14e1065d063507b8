/* SPDX-License-Identifier: BSD-2-Clause */
/* The short way of a hit finds what index_find() finds, or nothing. */
#include "hit.h"

#include "grace.h"
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
	struct hit hit;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 4) };

	s.seg = &s.cache->seg;
	s.me = member_of(s.cache);
	return s;
}

static bool
find(struct scene *s, const struct key *key)
{
	return hit_find(s->seg, key, &s->hit);
}

static bool
find_text(struct scene *s, const char *text)
{
	struct key key = key_from(s->cache, text);

	return find(s, &key);
}

static void
link_key(struct scene *s, const struct key *key, const char *value)
{
	uint64_t old, entry = entry_new(s->me, key, value, strlen(value));

	grace_enter(s->me);
	CHECK_EQ(index_link(s->me, key, entry, NULL, NULL, &old), LINE_SET);
	grace_exit(s->me);
}

TEST(hit__plain_entry__is_found_with_its_bounds)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "k");
	struct entry_view view;
	_Atomic uint64_t *at;

	put(s.cache, "k", "value");
	REQUIRE(find(&s, &key));
	CHECK_EQ(s.hit.word, index_find(s.seg, &key, &view, &at));
	CHECK(s.hit.at == at);
	CHECK(s.hit.value == view.value);
	CHECK_EQ(s.hit.value_bytes, 5);
	CHECK_EQ(s.hit.expiry_ms, 0);
	shmc_close(s.cache);
}

/* Keys compared by two words, and by memcmp(): each length, a byte off. */
TEST(hit__keys_that_differ_in_one_byte__are_told_apart)
{
	char a[41], b[41];

	for (unsigned n = 1; n <= 40; n++)
		for (unsigned i = 0; i < n; i++) {
			memset(a, 'x', sizeof a);
			memset(b, 'x', sizeof b);
			b[i] = 'y';
			CHECK(hit_same_bytes(a, a, n));
			CHECK(!hit_same_bytes(a, b, n));
		}
	CHECK(hit_same_bytes(a, b, 0));
}

TEST(hit__key_in_the_other_line__is_found)
{
	struct scene s = scene_new();
	char names[LINE_WORDS + 1][4];
	struct key key = { .hash = 42 };

	for (unsigned i = 0; i <= LINE_WORDS; i++) {
		key.size = (uint32_t)snprintf(names[i], sizeof names[i], "%u",
		    i);
		key.bytes = names[i];
		/* All of one home line, each with a tag of its own. */
		key.hash = 42 + i;
		link_key(&s, &key, "v");
	}
	REQUIRE(find(&s, &key));
	CHECK(s.hit.at >= index_pair(s.seg, 0)[!index_home(42)].words);
	CHECK_MEM(s.hit.value, "v", 1);
	shmc_close(s.cache);
}

TEST(hit__same_hash_other_key__is_left_to_the_long_way)
{
	struct scene s = scene_new();
	struct key a = { "a", 1, 42 }, b = { "b", 1, 42 }, c = { "c", 1, 42 };

	link_key(&s, &a, "1");
	CHECK(!find(&s, &c));
	link_key(&s, &b, "2");
	REQUIRE(find(&s, &a));
	CHECK_MEM(s.hit.value, "1", 1);
	CHECK(!find(&s, &b));
	shmc_close(s.cache);
}

TEST(hit__what_is_not_plain__is_left_to_the_long_way)
{
	struct scene s = scene_new();
	struct shmc_terms terms = SHMC_TERMS_INIT;
	char *large = calloc(1, s.seg->block_bytes + 1);

	terms.ttl_ms = 60000;
	terms.grace_ms = 1000;
	CHECK_EQ(shmc_store(s.cache, "grace", 5, "v", 1, &terms, SHMC_ALWAYS,
	    0), SHMC_OK);
	CHECK(!find_text(&s, "grace"));
	CHECK_EQ(shmc_put(s.cache, "large", 5, large, s.seg->block_bytes + 1,
	    0), SHMC_OK);
	CHECK(!find_text(&s, "large"));
	CHECK(!find_text(&s, "none"));
	CHECK_EQ(shmc_put(s.cache, "ttl", 3, "v", 1, 60000), SHMC_OK);
	REQUIRE(find_text(&s, "ttl"));
	CHECK_GT(s.hit.expiry_ms, 0);
	free(large);
	shmc_close(s.cache);
}

static bool
inside_data(const struct segment *seg, const char *p, uint64_t bytes)
{
	return p >= seg->data && bytes <= seg->data_bytes &&
	    (uint64_t)(p - seg->data) <= seg->data_bytes - bytes;
}

/* Whatever stands in memory, what is accepted entry_read() accepts too. */
TEST(hit__random_bytes__no_address_outside)
{
	struct scene s = scene_new();
	struct key key = key_from(s.cache, "");
	uint64_t places = s.seg->data_bytes / ENTRY_ALIGN;
	unsigned accepted = 0;

	srandom(1);
	for (unsigned i = 0; i < 500000; i++) {
		uint64_t place = (uint64_t)random() % (places + 2);
		struct entry *e = (void *)(s.seg->data + place * ENTRY_ALIGN);
		uint64_t bits = (uint64_t)random() << 33 ^ (uint64_t)random();
		struct entry_view view;

		s.hit.word = entry_word(place, 0);
		if (place < places - 1) {
			e->first = bits & 0x3000000000001fffull;
			e->second = key.hash >> 32 << 32 |
			    (uint32_t)random();
		}
		if (!hit_read(s.seg, &key, &s.hit))
			continue;
		accepted++;
		CHECK(inside_data(s.seg, s.hit.value, s.hit.value_bytes));
		REQUIRE(entry_read(s.seg, s.hit.word, &view));
		CHECK(view.value == s.hit.value);
		CHECK_EQ(view.value_bytes, s.hit.value_bytes);
		CHECK_EQ(view.expiry_ms, s.hit.expiry_ms);
	}
	CHECK_GT(accepted, 1000);
	shmc_close(s.cache);
}
