/* SPDX-License-Identifier: BSD-2-Clause */
/* Grace periods: who holds up the reuse of a block, and for how long. */
#include "grace.h"

#include "flight.h"
#include "inside.h"
#include "recover.h"

#include <signal.h>
#include <unistd.h>

#define BLOCK 7u

/* A reader and whoever frees: two participants of one segment. */
struct scene {
	struct shmc *cache;
	struct shmc *twin;
	struct member *me;
	struct member *reader;
	uint32_t dead;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 4), .dead = UINT32_MAX };

	s.twin = cache_twin(s.cache);
	s.me = member_of(s.cache);
	s.reader = member_of(s.twin);
	CHECK_NE(s.me->index, s.reader->index);
	return s;
}

static void
scene_end(struct scene *s)
{
	shmc_close(s->twin);
	shmc_close(s->cache);
}

static enum grace
poll_block(struct scene *s, uint64_t goal, bool press)
{
	return grace_poll(s->me, goal, grace_block(s->me->seg, BLOCK), press,
	    &s->dead);
}

/* The LIVE word of an entry in the middle of a block. */
static uint64_t
entry_in(const struct segment *seg, uint32_t block)
{
	return entry_word((((uint64_t)block << seg->geo.block_shift) + 64) /
	    ENTRY_ALIGN, 3);
}

static int
pin(struct member *reader, uint32_t block)
{
	return grace_pin(reader, entry_in(reader->seg, block));
}

TEST(grace__nobody_reads__is_over_at_once)
{
	struct scene s = scene_new();

	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	scene_end(&s);
}

TEST(grace__goals__grow)
{
	struct scene s = scene_new();
	uint64_t first = grace_start(s.me->seg);

	CHECK_GT(grace_start(s.me->seg), first);
	scene_end(&s);
}

TEST(grace__reader_inside__holds_until_it_leaves)
{
	struct scene s = scene_new();
	uint64_t goal;

	grace_enter(s.reader);
	goal = grace_start(s.me->seg);
	CHECK_EQ(poll_block(&s, goal, false), GRACE_HELD);
	grace_exit(s.reader);
	CHECK_EQ(poll_block(&s, goal, false), GRACE_OVER);
	scene_end(&s);
}

TEST(grace__reader_entered_after_the_goal__does_not_hold)
{
	struct scene s = scene_new();
	uint64_t goal = grace_start(s.me->seg);

	grace_enter(s.reader);
	CHECK_EQ(poll_block(&s, goal, false), GRACE_OVER);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	grace_exit(s.reader);
	scene_end(&s);
}

TEST(grace__pin__holds_its_block_only)
{
	struct scene s = scene_new();
	int cell;

	grace_enter(s.reader);
	cell = pin(s.reader, BLOCK + 1);
	grace_exit(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	CHECK(grace_unpin(s.reader, cell, s.reader->slot->pins[cell]));
	cell = pin(s.reader, BLOCK);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	CHECK(grace_unpin(s.reader, cell, s.reader->slot->pins[cell]));
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	scene_end(&s);
}

TEST(grace__pin_in_the_last_cell__holds_too)
{
	struct scene s = scene_new();

	for (unsigned i = 0; i < PINS; i++)
		CHECK_EQ(pin(s.reader, i + 1 < PINS ? 0 : BLOCK), i);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	CHECK(grace_held(s.me->seg, grace_block(s.me->seg, BLOCK)));
	scene_end(&s);
}

TEST(grace__pin__holds_the_pieces_of_its_entry_only)
{
	struct scene s = scene_new();
	uint64_t entry = entry_in(s.me->seg, BLOCK);
	uint64_t goal = grace_start(s.me->seg);

	CHECK_GE(grace_pin(s.reader, entry | WORD_FREQ_ONE | 5ull <<
	    WORD_TAG_SHIFT), 0);
	CHECK_EQ(grace_poll(s.me, goal, grace_piece(entry), false, &s.dead),
	    GRACE_HELD);
	CHECK_EQ(grace_poll(s.me, goal, grace_piece(entry + 1), false, &s.dead),
	    GRACE_OVER);
	scene_end(&s);
}

/* As the dead leave them. */
TEST(grace__piece_of_no_entry__nobody_holds)
{
	struct scene s = scene_new();
	uint64_t goal = grace_start(s.me->seg);

	CHECK_EQ(grace_poll(s.me, goal, grace_piece(0), false, &s.dead),
	    GRACE_OVER);
	CHECK(!grace_held(s.me->seg, grace_piece(0)));
	scene_end(&s);
}

TEST(grace__all_cells_in_use__no_more_pins)
{
	struct scene s = scene_new();

	for (unsigned i = 0; i < PINS; i++)
		CHECK_GE(pin(s.reader, i), 0);
	CHECK_EQ(pin(s.reader, 0), -1);
	CHECK(grace_unpin(s.reader, 5, s.reader->slot->pins[5]));
	CHECK_EQ(pin(s.reader, 0), 5);
	scene_end(&s);
}

TEST(grace__reader_undisturbed__is_trusted)
{
	struct scene s = scene_new();

	grace_enter(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	CHECK(grace_trusted(s.reader));
	grace_exit(s.reader);
	scene_end(&s);
}

TEST(grace__pressed__takes_memory_from_the_reader)
{
	struct scene s = scene_new();

	grace_enter(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), true), GRACE_OVER);
	CHECK(!grace_trusted(s.reader));
	CHECK_EQ(cache_stats(s.cache).revoked, 1);
	grace_exit(s.reader);
	scene_end(&s);
}

TEST(grace__revoked_reader_enters_again__is_trusted_and_holds)
{
	struct scene s = scene_new();

	grace_enter(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), true), GRACE_OVER);
	grace_exit(s.reader);
	grace_enter(s.reader);
	CHECK(grace_trusted(s.reader));
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	grace_exit(s.reader);
	scene_end(&s);
}

TEST(grace__reader_stays_for_longer_than_a_lease__is_revoked)
{
	struct scene s = scene_new();
	uint64_t goal;

	grace_enter(s.reader);
	goal = grace_start(s.me->seg);
	while (poll_block(&s, goal, false) != GRACE_OVER) /* or never ends */
		sleep_ms(5);
	CHECK(!grace_trusted(s.reader));
	grace_exit(s.reader);
	scene_end(&s);
}

TEST(grace__pin__is_not_revoked)
{
	struct scene s = scene_new();

	grace_enter(s.reader);
	CHECK_GE(pin(s.reader, BLOCK), 0);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), true), GRACE_HELD);
	grace_exit(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), true), GRACE_HELD);
	scene_end(&s);
}

/* A waiter that has not yet pinned the result that it was given. */
static void
await_result(struct scene *s, enum flight_state state, uint32_t block)
{
	struct flight *f = &s->me->seg->flights[0];

	atomic_store(&f->word, (uint64_t)state);
	atomic_store(&f->result, entry_in(s->me->seg, block));
	atomic_store(&s->reader->slot->wait, 1);
}

TEST(grace__result_awaited_in_the_block__holds)
{
	struct scene s = scene_new();

	await_result(&s, FLIGHT_RESULT, BLOCK);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	CHECK(grace_held(s.me->seg, grace_block(s.me->seg, BLOCK)));
	await_result(&s, FLIGHT_DONE, BLOCK);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_HELD);
	flight_leave(s.reader);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	scene_end(&s);
}

TEST(grace__result_awaited_elsewhere_or_not_there__does_not_hold)
{
	struct scene s = scene_new();

	await_result(&s, FLIGHT_RESULT, BLOCK + 1);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	await_result(&s, FLIGHT_LEAD, BLOCK);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	CHECK(!grace_held(s.me->seg, grace_block(s.me->seg, BLOCK)));
	flight_leave(s.reader);
	scene_end(&s);
}

TEST(grace__wait_cell_that_names_no_flight__does_not_hold)
{
	struct scene s = scene_new();

	atomic_store(&s.reader->slot->wait, UINT64_MAX);
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	flight_leave(s.reader);
	scene_end(&s);
}

TEST(grace__slot_that_nobody_holds__protects_nothing)
{
	struct scene s = scene_new();
	struct participant *slot = &s.me->seg->participants[3];

	atomic_store(&slot->epoch, 1);
	atomic_store(&slot->pins[0], entry_in(s.me->seg, BLOCK));
	CHECK_EQ(poll_block(&s, grace_start(s.me->seg), false), GRACE_OVER);
	scene_end(&s);
}

static void
enter_and_die(void *arg)
{
	grace_enter(member_of(arg));
	kill(getpid(), SIGKILL);
}

TEST(grace__reader_killed_inside__delays_until_reaped)
{
	struct scene s = scene_new();
	uint64_t goal;

	CHECK_EQ(wait_child(run_in_child(enter_and_die, s.cache)), -SIGKILL);
	goal = grace_start(s.me->seg);
	CHECK_EQ(poll_block(&s, goal, false), GRACE_DEAD);
	CHECK(recover_reap(s.me, s.dead));
	CHECK_EQ(poll_block(&s, goal, false), GRACE_OVER);
	scene_end(&s);
}

static void
pin_block(void *arg)
{
	(void)pin(member_of(arg), BLOCK);
}

TEST(grace__pinner_killed__delays_until_reaped)
{
	struct scene s = scene_new();
	uint64_t goal = grace_start(s.me->seg);

	REQUIRE(run_killed_at("grace_pinned", 1, pin_block, s.cache));
	CHECK_EQ(poll_block(&s, goal, false), GRACE_DEAD);
	CHECK(recover_reap(s.me, s.dead));
	CHECK_EQ(poll_block(&s, goal, false), GRACE_OVER);
	scene_end(&s);
}
