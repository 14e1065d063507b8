/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker of histories, checked: right ones are accepted, each kind of wrong
 * one is refused, and on small random ones it agrees with trying every order.
 */
#include "linear.h"

#include "harness.h"

#include <stdlib.h>
#include <string.h>

/* A history as a table: who, what, when. */
struct row {
	unsigned caller;
	enum linear_kind kind;
	uint64_t begun;
	uint64_t ended;
	bool done;
	uint64_t value;
	uint64_t expected;
	uint64_t seen;
	bool killed;
};

#define ROWS_MAX 16u
#define NONE LINEAR_NOTHING

/* The calls of a table, each caller's by themselves. */
struct table {
	struct linear_event events[LINEAR_CALLERS_MAX][ROWS_MAX];
	struct linear_history history;
};

static void
add_row(struct table *t, const struct row *r)
{
	struct linear_event *e =
	    &t->events[r->caller][t->history.counts[r->caller]++];

	e->kind = r->kind;
	e->done = r->done;
	e->killed = r->killed;
	e->value = r->value;
	e->expected = r->expected;
	e->seen = r->seen;
	e->begun = r->begun;
	e->ended = r->ended;
}

static bool
accepted(const struct row *rows, size_t count, bool may_lose)
{
	static struct table t;
	char why[1000] = "";

	memset(&t, 0, sizeof t);
	t.history.callers = LINEAR_CALLERS_MAX;
	t.history.may_lose = may_lose;
	for (unsigned i = 0; i < LINEAR_CALLERS_MAX; i++)
		t.history.events[i] = t.events[i];
	for (size_t i = 0; i < count; i++)
		add_row(&t, &rows[i]);
	if (linear_check(&t.history, why, sizeof why))
		return true;
	CHECK_NE(strlen(why), 0);
	return false;
}

#define ACCEPTED(lose, ...)                                              \
	accepted((const struct row[]){ __VA_ARGS__ },                    \
	    sizeof(const struct row[]){ __VA_ARGS__ } / sizeof(struct row), \
	    lose)

#define PUT(who, from, to, v) { who, LINEAR_PUT, from, to, true, v, 0, 0, false }
#define PUT_KILLED(who, from, to, v) \
	{ who, LINEAR_PUT, from, to, false, v, 0, 0, true }
#define GET(who, from, to, v) { who, LINEAR_GET, from, to, true, 0, 0, v, false }
#define DELETE(who, from, to, ok) \
	{ who, LINEAR_DELETE, from, to, ok, 0, 0, 0, false }
#define ADD(who, from, to, v, ok) \
	{ who, LINEAR_ADD, from, to, ok, v, 0, 0, false }
#define REPLACE(who, from, to, v, ok) \
	{ who, LINEAR_REPLACE, from, to, ok, v, 0, 0, false }
#define SWAP(who, from, to, old, v, ok) \
	{ who, LINEAR_SWAP, from, to, ok, v, old, 0, false }
#define SWAP_KILLED(who, from, to, old, v) \
	{ who, LINEAR_SWAP, from, to, false, v, old, 0, true }
#define UPDATE(who, from, to, old, v) \
	{ who, LINEAR_UPDATE, from, to, true, v, 0, old, false }
#define INCR(who, from, to, by, initial, sum) \
	{ who, LINEAR_INCR, from, to, true, by, initial, sum, false }
#define INCR_KILLED(who, from, to, by, initial) \
	{ who, LINEAR_INCR, from, to, false, by, initial, 0, true }

/* ------------------------------------------------------------- registers --- */

TEST(linear__one_after_the_other__only_the_last_value_is_seen)
{
	CHECK(ACCEPTED(false, GET(0, 1, 2, NONE), PUT(0, 3, 4, 1),
	    GET(0, 5, 6, 1), PUT(1, 7, 8, 2), GET(0, 9, 10, 2)));
	/* stale after the overwriting ended */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), PUT(1, 3, 4, 2),
	    GET(0, 5, 6, 1)));
	/* nobody wrote it */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), GET(0, 3, 4, 7)));
	/* before it was written */
	CHECK(!ACCEPTED(true, GET(0, 1, 2, 1), PUT(0, 3, 4, 1)));
}

TEST(linear__at_the_same_time__either_order_will_do)
{
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), PUT(1, 3, 8, 2),
	    GET(0, 4, 5, 1), GET(0, 6, 7, 2)));
	CHECK(ACCEPTED(false, PUT(0, 1, 10, 1), PUT(1, 1, 10, 2),
	    GET(2, 11, 12, 1)));
	CHECK(ACCEPTED(false, PUT(0, 1, 10, 1), PUT(1, 1, 10, 2),
	    GET(2, 11, 12, 2)));
	/* but it is one order, for all who look */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), PUT(1, 3, 8, 2),
	    GET(0, 4, 5, 2), GET(0, 6, 7, 1)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 20, 1), PUT(1, 1, 20, 2),
	    GET(2, 2, 3, 1), GET(2, 4, 5, 2), GET(3, 6, 7, 1)));
}

TEST(linear__deleted__never_comes_back)
{
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), DELETE(0, 3, 4, true),
	    GET(0, 5, 6, NONE), DELETE(0, 7, 8, false)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), DELETE(0, 3, 4, true),
	    GET(0, 5, 6, 1)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), DELETE(0, 3, 4, true),
	    DELETE(1, 5, 6, true)));
	CHECK(!ACCEPTED(true, DELETE(0, 1, 2, true)));
	/* one value, removed by two at once */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), DELETE(0, 3, 6, true),
	    DELETE(1, 4, 5, true)));
}

TEST(linear__lost__is_a_miss_from_then_on)
{
	CHECK(ACCEPTED(true, PUT(0, 1, 2, 1), GET(0, 3, 4, NONE),
	    GET(0, 5, 6, NONE), PUT(0, 7, 8, 2), GET(0, 9, 10, 2)));
	CHECK(ACCEPTED(true, PUT(0, 1, 2, 1), DELETE(0, 3, 4, false)));
	/* a register that may lose nothing */
	CHECK(!ACCEPTED(false, PUT(0, 1, 2, 1), GET(0, 3, 4, NONE)));
	CHECK(!ACCEPTED(false, PUT(0, 1, 2, 1), DELETE(0, 3, 4, false)));
	/* lost, and there again */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), GET(0, 3, 4, NONE),
	    GET(0, 5, 6, 1)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), GET(1, 3, 4, NONE),
	    SWAP(0, 5, 6, 1, 2, true)));
}

TEST(linear__add_and_replace__see_what_is_there)
{
	CHECK(ACCEPTED(false, ADD(0, 1, 2, 1, true), ADD(0, 3, 4, 2, false),
	    REPLACE(0, 5, 6, 3, true), GET(0, 7, 8, 3)));
	CHECK(ACCEPTED(false, REPLACE(0, 1, 2, 1, false),
	    GET(0, 3, 4, NONE)));
	CHECK(!ACCEPTED(true, ADD(0, 1, 2, 1, false)));
	CHECK(!ACCEPTED(true, REPLACE(0, 1, 2, 1, true)));
	CHECK(!ACCEPTED(false, PUT(0, 1, 2, 1), ADD(0, 3, 4, 2, true)));
	CHECK(ACCEPTED(true, PUT(0, 1, 2, 1), ADD(0, 3, 4, 2, true)));
	/* two adds at once, and nobody removed anything */
	CHECK(!ACCEPTED(false, ADD(0, 1, 4, 1, true), ADD(1, 2, 3, 2, true)));
	/* refused, and stored all the same */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), ADD(0, 3, 4, 2, false),
	    GET(0, 5, 6, 2)));
}

TEST(linear__swap__is_of_one_value_only)
{
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), SWAP(0, 3, 6, 1, 2, true),
	    SWAP(1, 4, 5, 1, 3, false), GET(0, 7, 8, 2)));
	/* a lost update: both replaced the same */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), SWAP(0, 3, 6, 1, 2, true),
	    SWAP(1, 4, 5, 1, 3, true)));
	/* refused though nothing else was there */
	CHECK(!ACCEPTED(false, PUT(0, 1, 2, 1), SWAP(0, 3, 4, 1, 2, false)));
	CHECK(ACCEPTED(true, PUT(0, 1, 2, 1), SWAP(0, 3, 4, 1, 2, false),
	    GET(0, 5, 6, NONE)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), SWAP(0, 3, 4, 1, 2, false),
	    GET(0, 5, 6, 1)));
	/* written by what it overtook */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), PUT(1, 3, 4, 2),
	    SWAP(0, 5, 6, 1, 3, true)));
}

TEST(linear__update__replaces_what_it_saw)
{
	CHECK(ACCEPTED(false, UPDATE(0, 1, 4, NONE, 1), UPDATE(1, 2, 5, 1, 2),
	    GET(0, 6, 7, 2)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), UPDATE(0, 3, 6, 1, 2),
	    UPDATE(1, 4, 5, 1, 3)));
	CHECK(!ACCEPTED(false, PUT(0, 1, 2, 1), UPDATE(0, 3, 4, NONE, 2)));
	CHECK(ACCEPTED(true, PUT(0, 1, 2, 1), UPDATE(0, 3, 4, NONE, 2)));
}

TEST(linear__incr__counts_each_once)
{
	CHECK(ACCEPTED(false, INCR(0, 1, 2, 1, 10, 10), INCR(0, 3, 6, 1, 10, 12),
	    INCR(1, 4, 5, 1, 10, 11)));
	/* one of them twice */
	CHECK(!ACCEPTED(true, INCR(0, 1, 2, 1, 10, 10),
	    INCR(0, 3, 4, 1, 10, 12)));
	/* two of them as one */
	CHECK(!ACCEPTED(true, INCR(0, 1, 2, 1, 10, 10),
	    INCR(0, 3, 6, 1, 10, 11), INCR(1, 4, 5, 1, 10, 11)));
	/* from the start, with nothing lost */
	CHECK(!ACCEPTED(false, INCR(0, 1, 2, 1, 10, 10),
	    INCR(0, 3, 4, 1, 10, 10)));
	CHECK(ACCEPTED(true, INCR(0, 1, 2, 1, 10, 10),
	    INCR(0, 3, 4, 1, 10, 10)));
}

/* ----------------------------------------------------------------- kills --- */

TEST(linear__killed__did_it_once_or_not_at_all)
{
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), PUT_KILLED(1, 3, 10, 2),
	    GET(0, 4, 5, 1), GET(0, 6, 7, 2), GET(0, 11, 12, 2)));
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), PUT_KILLED(1, 3, 10, 2),
	    GET(0, 11, 12, 1)));
	/* twice */
	CHECK(!ACCEPTED(true, PUT_KILLED(1, 1, 20, 2), GET(0, 2, 3, 2),
	    PUT(0, 4, 5, 1), GET(0, 6, 7, 1), GET(0, 8, 9, 2)));
	/* after its death was known */
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 1), PUT_KILLED(1, 3, 4, 2),
	    GET(0, 5, 6, 1), GET(0, 7, 8, 2)));
	/* before it began */
	CHECK(!ACCEPTED(true, GET(0, 1, 2, 2), PUT_KILLED(1, 3, 4, 2)));
}

TEST(linear__killed_swap_and_incr__keep_to_their_conditions)
{
	CHECK(ACCEPTED(false, PUT(0, 1, 2, 1), SWAP_KILLED(1, 3, 9, 1, 2),
	    GET(0, 4, 5, 2)));
	CHECK(!ACCEPTED(true, PUT(0, 1, 2, 3), SWAP_KILLED(1, 3, 9, 1, 2),
	    GET(0, 4, 5, 2)));
	CHECK(ACCEPTED(false, INCR(0, 1, 2, 1, 10, 10),
	    INCR_KILLED(1, 3, 9, 1, 10), INCR(0, 4, 5, 1, 10, 12)));
	CHECK(ACCEPTED(false, INCR(0, 1, 2, 1, 10, 10),
	    INCR_KILLED(1, 3, 9, 1, 10), INCR(0, 4, 5, 1, 10, 11)));
	CHECK(!ACCEPTED(true, INCR(0, 1, 2, 1, 10, 10),
	    INCR_KILLED(1, 3, 9, 1, 10), INCR(0, 4, 5, 1, 10, 13)));
	CHECK(ACCEPTED(true, INCR(0, 1, 2, 5, 10, 10),
	    INCR_KILLED(1, 3, 9, 1, 20), INCR(0, 4, 5, 1, 10, 21)));
	CHECK(!ACCEPTED(false, INCR(0, 1, 2, 5, 10, 10),
	    INCR_KILLED(1, 3, 9, 1, 20), INCR(0, 4, 5, 1, 10, 21)));
}

/* Whoever takes the dead one's place begins after its end: one caller. */
TEST(linear__killed_in_the_middle__its_caller_goes_on)
{
	CHECK(ACCEPTED(false, PUT_KILLED(0, 1, 2, 1), GET(0, 3, 4, 1),
	    PUT_KILLED(0, 5, 6, 2), GET(0, 7, 8, 1), PUT_KILLED(0, 9, 10, 3),
	    GET(0, 11, 12, 3)));
	CHECK(!ACCEPTED(true, PUT_KILLED(0, 1, 2, 1), GET(0, 3, 4, 1),
	    PUT_KILLED(0, 5, 6, 2), GET(0, 7, 8, 1), GET(0, 9, 10, 2)));
}

/* --------------------------------------------------- against every order --- */

#define SMALL 6u

/* Without cunning: every order, every loss, every killed one done or not. */
static bool
some_order(const struct row *rows, unsigned taken, unsigned count,
    uint64_t value, bool may_lose)
{
	if (taken == (1u << count) - 1)
		return true;
	if (may_lose && value != NONE &&
	    some_order(rows, taken, count, NONE, may_lose))
		return true;
	for (unsigned i = 0; i < count; i++) {
		struct linear_event e = { .kind = rows[i].kind,
			.done = rows[i].done, .killed = rows[i].killed,
			.value = rows[i].value, .expected = rows[i].expected,
			.seen = rows[i].seen };
		uint64_t next[2];
		bool first = (taken & 1u << i) == 0;
		unsigned n;

		for (unsigned j = 0; j < count && first; j++)
			first = j == i || (taken & 1u << j) != 0 ||
			    rows[j].ended >= rows[i].begun;
		if (!first)
			continue;
		if (e.killed && some_order(rows, taken | 1u << i, count, value,
			may_lose))
			return true;
		n = linear_outcomes(&e, value, false, next);
		while (n-- > 0)
			if (some_order(rows, taken | 1u << i, count, next[n],
				may_lose))
				return true;
	}
	return false;
}

static unsigned
dice(unsigned sides)
{
	return (unsigned)random() % sides;
}

/* Each caller's calls one after the other, with a value of three. */
static void
roll(struct row rows[SMALL], unsigned count)
{
	uint64_t clock[3] = { 1, 1, 1 };

	for (unsigned i = 0; i < count; i++) {
		struct row *r = &rows[i];

		memset(r, 0, sizeof *r);
		r->caller = dice(3);
		r->kind = (enum linear_kind)dice(8);
		r->begun = clock[r->caller] + dice(4);
		r->ended = r->begun + 1 + dice(8);
		clock[r->caller] = r->ended + 1;
		r->done = dice(3) > 0 || r->kind == LINEAR_PUT ||
		    r->kind == LINEAR_UPDATE;
		r->value = 1 + dice(3);
		r->expected = 1 + dice(3);
		r->seen = dice(4) == 0 ? NONE : 1 + dice(3);
		r->killed = dice(6) == 0;
	}
}

TEST(linear__small_random_histories__as_by_trying_every_order)
{
	unsigned agreed[2] = { 0, 0 };
	struct row rows[SMALL];

	srandom(1);
	for (unsigned i = 0; i < test_rounds(20000); i++) {
		unsigned count = 1 + dice(SMALL);
		bool may_lose = dice(2) == 0, expected;

		roll(rows, count);
		expected = some_order(rows, 0, count, NONE, may_lose);
		if (accepted(rows, count, may_lose) != expected) {
			FAIL("history %u: %s", i, expected ? "refused" :
							   "accepted");
			return;
		}
		agreed[expected]++;
	}
	CHECK_GT(agreed[0], 100);
	CHECK_GT(agreed[1], 100);
}
