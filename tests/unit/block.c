/* SPDX-License-Identifier: BSD-2-Clause */
/* The state word of a block, and appending to one's own. */
#include "block.h"

#include "inside.h"

#define BLOCK 5u

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct member *me;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 8) };

	s.seg = &s.cache->seg;
	s.me = member_of(s.cache);
	return s;
}

static uint64_t
word(const struct scene *s)
{
	return block_word(s->cache, BLOCK);
}

TEST(block__new_segment__all_are_free)
{
	struct scene s = scene_new();

	CHECK_EQ(blocks_in(s.cache, BLOCK_FREE), s.seg->geo.block_count);
	shmc_close(s.cache);
}

TEST(block__opened__names_state_class_and_owner)
{
	struct scene s = scene_new();

	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_PIECE));
	CHECK_EQ(block_state(word(&s)), BLOCK_OPEN);
	CHECK_EQ(block_class(word(&s)), BLOCK_PIECE);
	CHECK_EQ(block_owner(word(&s)), s.me->index);
	shmc_close(s.cache);
}

TEST(block__opened__has_nothing_of_its_last_use)
{
	struct scene s = scene_new();
	struct block *b = &s.seg->blocks[BLOCK];

	b->used = 7;
	b->next = 8;
	b->head = 9;
	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	CHECK_EQ(b->used + b->next + b->head, 0);
	shmc_close(s.cache);
}

TEST(block__open__is_not_opened_again)
{
	struct scene s = scene_new();
	uint64_t before = word(&s);

	CHECK(block_open(s.me, BLOCK, before, BLOCK_LOG));
	CHECK(!block_open(s.me, BLOCK, before, BLOCK_LOG));
	CHECK(!block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	shmc_close(s.cache);
}

TEST(block__full_circle__raises_the_generation_by_one)
{
	struct scene s = scene_new();

	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	CHECK(block_seal(s.seg, BLOCK, word(&s)));
	CHECK_EQ(block_state(word(&s)), BLOCK_SEALED);
	CHECK(block_evict(s.seg, BLOCK, word(&s), s.me->index));
	CHECK_EQ(block_state(word(&s)), BLOCK_EVICTING);
	CHECK_EQ(block_owner(word(&s)), s.me->index);
	CHECK(block_retire(s.seg, BLOCK, 1234));
	CHECK_EQ(block_state(word(&s)), BLOCK_RETIRED);
	CHECK_EQ(s.seg->blocks[BLOCK].goal, 1234);
	CHECK(block_free(s.seg, BLOCK, word(&s)));
	CHECK_EQ(word(&s), 1); /* FREE, generation 1 */
	shmc_close(s.cache);
}

TEST(block__open_and_never_published__is_freed)
{
	struct scene s = scene_new();

	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_PIECE));
	CHECK(block_free(s.seg, BLOCK, word(&s)));
	CHECK_EQ(word(&s), 1);
	shmc_close(s.cache);
}

TEST(block__evictor_dead__goes_back_to_sealed)
{
	struct scene s = scene_new();

	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	CHECK(block_seal(s.seg, BLOCK, word(&s)));
	CHECK(block_evict(s.seg, BLOCK, word(&s), 3));
	CHECK(block_unevict(s.seg, BLOCK, word(&s)));
	CHECK_EQ(block_state(word(&s)), BLOCK_SEALED);
	CHECK_EQ(word(&s) & BLOCK_GENERATION_MASK, 0);
	shmc_close(s.cache);
}

/* From each state, only the transitions that the drawing has. */
TEST(block__each_state__allows_its_own_transitions_only)
{
	static const struct {
		enum block_state state;
		bool open, seal, evict, unevict, free;
	} rows[] = {
		{ BLOCK_FREE, true, false, false, false, false },
		{ BLOCK_OPEN, false, true, false, false, true },
		{ BLOCK_SEALED, false, false, true, false, false },
		{ BLOCK_EVICTING, false, false, false, true, false },
		{ BLOCK_RETIRED, false, false, false, false, true },
	};
	struct scene s = scene_new();

	for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
		uint64_t w = (uint64_t)rows[i].state << BLOCK_STATE_SHIFT;
		_Atomic uint64_t *at = &s.seg->blocks[BLOCK].word;

		*at = w;
		CHECK_EQ(block_open(s.me, BLOCK, w, BLOCK_LOG), rows[i].open);
		*at = w;
		CHECK_EQ(block_seal(s.seg, BLOCK, w), rows[i].seal);
		*at = w;
		CHECK_EQ(block_evict(s.seg, BLOCK, w, 0), rows[i].evict);
		*at = w;
		CHECK_EQ(block_unevict(s.seg, BLOCK, w), rows[i].unevict);
		*at = w;
		CHECK_EQ(block_free(s.seg, BLOCK, w), rows[i].free);
	}
	s.seg->blocks[BLOCK].word = 0;
	shmc_close(s.cache);
}

/* What one saw before the block went round must not move it. */
TEST(block__word_of_an_older_generation__moves_nothing)
{
	struct scene s = scene_new();
	uint64_t old, now;

	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	old = word(&s);
	CHECK(block_free(s.seg, BLOCK, old));
	CHECK(block_open(s.me, BLOCK, word(&s), BLOCK_LOG));
	now = word(&s);
	CHECK(!block_seal(s.seg, BLOCK, old));
	CHECK(!block_free(s.seg, BLOCK, old));
	CHECK_EQ(word(&s), now);
	shmc_close(s.cache);
}

TEST(block__no_block__closing_it_is_nothing)
{
	struct scene s = scene_new();

	block_close(s.seg, NO_BLOCK);
	CHECK_EQ(blocks_in(s.cache, BLOCK_FREE), s.seg->geo.block_count);
	shmc_close(s.cache);
}

static void
open_log(struct scene *s)
{
	REQUIRE(block_open(s->me, BLOCK, word(s), BLOCK_LOG));
	s->me->log.block = BLOCK;
	s->me->log.used = 0;
}

TEST(block__no_open_block__has_no_room)
{
	struct scene s = scene_new();
	uint64_t place;

	CHECK(!block_room(s.seg, &s.me->log, 8, &place));
	shmc_close(s.cache);
}

TEST(block__room__is_where_the_last_entry_ends)
{
	struct scene s = scene_new();
	uint64_t start = BLOCK * block_bytes(s.seg) / ENTRY_ALIGN, place;

	open_log(&s);
	CHECK(block_room(s.seg, &s.me->log, 64, &place));
	CHECK_EQ(place, start);
	block_extend(s.seg, &s.me->log, 64);
	CHECK_EQ(s.seg->blocks[BLOCK].used, 64);
	CHECK(block_room(s.seg, &s.me->log, 64, &place));
	CHECK_EQ(place, start + 64 / ENTRY_ALIGN);
	shmc_close(s.cache);
}

TEST(block__room__ends_with_the_block)
{
	struct scene s = scene_new();
	uint64_t place;

	open_log(&s);
	CHECK(block_room(s.seg, &s.me->log, block_bytes(s.seg), &place));
	CHECK(!block_room(s.seg, &s.me->log, block_bytes(s.seg) + 8, &place));
	block_extend(s.seg, &s.me->log, 64);
	CHECK(!block_room(s.seg, &s.me->log, block_bytes(s.seg) - 56, &place));
	CHECK(block_room(s.seg, &s.me->log, block_bytes(s.seg) - 64, &place));
	s.me->log.used = 0; /* nothing was written: no entries for the audit */
	s.seg->blocks[BLOCK].used = 0;
	shmc_close(s.cache);
}

struct race {
	struct shmc *cache;
	struct test_barrier turn;
	unsigned rounds;
	_Atomic unsigned winners;
};

#define RACERS 4u

static void
open_all_at_once(unsigned index, void *arg)
{
	struct race *r = arg;
	struct member *me = member_of(r->cache);

	for (unsigned i = 0; i < r->rounds; i++) {
		uint64_t seen = block_word(r->cache, BLOCK);

		test_barrier_meet(&r->turn);
		if (block_open(me, BLOCK, seen, BLOCK_LOG)) {
			CHECK_EQ(block_owner(block_word(r->cache, BLOCK)),
			    me->index);
			atomic_fetch_add(&r->winners, 1);
		}
		test_barrier_meet(&r->turn);
		if (index == 0)
			CHECK(block_free(me->seg, BLOCK,
			    block_word(r->cache, BLOCK)));
		test_barrier_meet(&r->turn);
	}
}

TEST(block_race__many_open_it__one_wins)
{
	struct race *r = shared_alloc(sizeof *r);

	r->cache = cache_new(1u << 20, 8);
	r->rounds = test_rounds(2000);
	test_barrier_init(&r->turn, RACERS);
	run_threads(RACERS, open_all_at_once, r);
	CHECK_EQ(r->winners, r->rounds);
	shmc_close(r->cache);
}
