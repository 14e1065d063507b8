/* SPDX-License-Identifier: BSD-2-Clause */
/* R19: what is no value has a share of memory, and a flood of it stays in there. */
#include "inside.h"

#include <stdatomic.h>
#include <stdio.h>

#define FLOOD 100000u
#define VALUE_BYTES 240u

enum ending { END_ABSENT, END_ERROR };

struct scene {
	struct shmc *cache;
	enum ending ending;
	uint64_t ttl_ms;
	unsigned values; /* put before the flood */
	_Atomic unsigned loads;
};

static struct scene *
scene_new(enum ending ending, uint64_t ttl_ms, uint32_t participants)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, participants);
	s->ending = ending;
	s->ttl_ms = ttl_ms;
	return s;
}

/* What the header says: a twentieth of the blocks, and at least two. */
static unsigned
share(const struct scene *s)
{
	unsigned share = s->cache->seg.geo.block_count / 20;

	return share < 2 ? 2 : share;
}

static unsigned
side_blocks(const struct scene *s)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->cache->seg.geo.block_count; i++) {
		uint64_t word = block_word(s->cache, i);

		n += block_class(word) == BLOCK_SIDE &&
		    block_state(word) != BLOCK_FREE &&
		    block_state(word) != BLOCK_RETIRED;
	}
	return n;
}

/* Values until the segment is full; they have been read, or not. */
static void
fill(struct scene *s, bool read)
{
	unsigned char value[VALUE_BYTES];
	uint64_t evicted = 0;
	char key[32];
	size_t n;

	for (; evicted == 0; s->values++) {
		value_fill(value, sizeof value, s->values, 1);
		REQUIRE_EQ(shmc_put(s->cache, key, key_of(key, s->values),
		    value, sizeof value, 0), SHMC_OK);
		if (read)
			CHECK_EQ(shmc_get(s->cache, key,
			    key_of(key, s->values), value, sizeof value, &n),
			    SHMC_OK);
		evicted = cache_stats(s->cache).evicted_entries;
	}
}

static unsigned
values_left(struct scene *s)
{
	unsigned char value[VALUE_BYTES];
	unsigned left = 0;
	char key[32];
	size_t n;

	for (unsigned i = 0; i < s->values; i++)
		if (shmc_get(s->cache, key, key_of(key, i), value, sizeof value,
			&n) == SHMC_OK) {
			CHECK_EQ(value_check(value, n, i), 1);
			left++;
		}
	return left;
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	if (s->ending == END_ABSENT)
		CHECK_EQ(shmc_lead_absent(lead, s->ttl_ms), SHMC_OK);
	else
		CHECK_EQ(shmc_lead_error(lead, 404, "there is no such page",
		    s->ttl_ms), SHMC_OK);
}

/* Keys that nobody asks for twice. */
static void
flood(struct scene *s, unsigned first, unsigned count)
{
	struct shmc_view view;
	char key[32];

	for (unsigned i = first; i < first + count; i++) {
		size_t n = (size_t)snprintf(key, sizeof key, "random-%08x",
		    i * 2654435761u);

		CHECK_EQ(shmc_fetch(s->cache, key, n, NULL, load, s, &view),
		    s->ending == END_ABSENT ? SHMC_ABSENT : SHMC_ERROR);
		shmc_view_release(&view);
	}
}

static void
check_flood(enum ending ending, uint64_t ttl_ms, bool read)
{
	struct scene *s = scene_new(ending, ttl_ms, 4);
	unsigned before, after;

	fill(s, read);
	before = values_left(s);
	flood(s, 0, test_rounds(FLOOD));
	after = values_left(s);
	CHECK_LE(side_blocks(s), share(s));
	/* The share, and the block that was being filled. */
	CHECK_GE(after, before - before / 20 - before / 50);
	cache_audit(s->cache);
	shmc_close(s->cache);
}

TEST(contract__r19__flood_of_absence_takes_its_share_of_values)
{
	check_flood(END_ABSENT, 1000000, false);
	check_flood(END_ABSENT, 1000000, true);
}

TEST(contract__r19__flood_of_errors_takes_its_share_of_values)
{
	check_flood(END_ERROR, 1000000, false);
	check_flood(END_ERROR, 1000000, true);
}

TEST(contract__r19__flood_that_is_not_remembered_takes_no_more)
{
	check_flood(END_ABSENT, 0, false);
	check_flood(END_ERROR, 0, false);
}

/* Its answer is remembered: the second caller does not compute. */
static void
check_remembered(struct scene *s, unsigned index)
{
	struct shmc_view view;
	char key[32];
	size_t n = key_of(key, 900000 + index);

	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(shmc_fetch(s->cache, key, n, NULL, load, s, &view),
		    SHMC_ABSENT);
		CHECK_EQ(view.role, i == 0 ? SHMC_ROLE_LED : SHMC_ROLE_HIT);
		shmc_view_release(&view);
	}
}

static void
flood_and_ask(unsigned index, void *arg)
{
	struct scene *s = arg;
	unsigned count = test_rounds(FLOOD / 4);

	flood(s, index * count, count);
	check_remembered(s, index);
}

static void
flood_and_ask_little(unsigned index, void *arg)
{
	flood(arg, index * 1000, 1000);
}

/* Also when all the share is in somebody's hands. */
TEST(contract__r19__flood_by_all_participants_stays_in_one_share)
{
	struct scene *s = scene_new(END_ABSENT, 1000000, 12);
	unsigned before;

	fill(s, true);
	before = values_left(s);
	run_processes(11, flood_and_ask, s);
	CHECK_LE(side_blocks(s), share(s));
	CHECK_GE(values_left(s), before - before / 20 - before / 20);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

/* The smallest segment has fewer such blocks than participants. */
TEST(contract__r19__flood_by_more_than_the_share_has_blocks)
{
	struct scene *s = scene_new(END_ABSENT, 1000000, 12);
	unsigned before;

	shmc_close(s->cache);
	s->cache = cache_new(1u << 20, 12);
	REQUIRE(share(s) < 12);
	fill(s, true);
	before = values_left(s);
	for (unsigned round = 0; round < 2; round++)
		run_processes(11, flood_and_ask_little, s);
	CHECK_LE(side_blocks(s), share(s));
	CHECK_GE(values_left(s), before - before / 5);
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

/* Beyond its ttl it is no answer any more, whatever grace the loader asked for. */
static void
load_with_grace(struct shmc_lead *lead, void *arg)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.grace_ms = 1000000;
	terms.keep_ms = 1000000;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_OK);
	load(lead, arg);
}

TEST(contract__r19__error_and_absence_have_a_ttl_and_no_grace)
{
	for (enum ending ending = END_ABSENT; ending <= END_ERROR; ending++) {
		struct scene *s = scene_new(ending, 1000, 4);
		enum shmc_status answer = ending == END_ABSENT ? SHMC_ABSENT :
								 SHMC_ERROR;
		struct shmc_view view;
		size_t n;

		CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_with_grace, s,
		    &view), answer);
		shmc_view_release(&view);
		CHECK_EQ(shmc_view(s->cache, "k", 1, &view), answer);
		CHECK_EQ(view.role, SHMC_ROLE_HIT);
		shmc_view_release(&view);
		let_pass(s->cache, 2000);
		CHECK_EQ(shmc_view(s->cache, "k", 1, &view), SHMC_MISS);
		CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_MISS);
		CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load, s, &view),
		    answer);
		shmc_view_release(&view);
		CHECK_EQ(atomic_load(&s->loads), 2);
		shmc_close(s->cache);
	}
}
