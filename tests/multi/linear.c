/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The search for an order: Wing and Gong, Testing and verifying concurrent
 * objects, JPDC 1993; with the memory of what was tried (calls taken, state) of
 * Lowe, Testing for linearizability, CCPE 2017.
 *
 * A caller's calls come one after the other, so how many were taken of each
 * caller says which were taken.  A value that is there can be lost when need be:
 * a state with a value can do all that one without it can, so it is lost only
 * where a call's answer says so.  Keys are independent: linearizability is local
 * (Herlihy and Wing, TOPLAS 1990).
 */
#include "linear.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How far one is. */
struct config {
	uint64_t value;
	uint32_t taken[LINEAR_CALLERS_MAX];
};

/* A set of those that were tried, and a stack of those to try. */
struct search {
	const struct linear_history *history;
	struct config *tried; /* open addressing */
	bool *used;
	size_t slots;
	size_t count;
	struct config *stack;
	size_t depth;
	size_t stack_slots;
	struct config best; /* the one with most calls taken */
	uint64_t most;
};

/* ------------------------------------------------------- the register --- */

static bool
gone(uint64_t value, bool may_lose)
{
	return value == LINEAR_NOTHING || may_lose;
}

/* What it made of the value if it answered; false: it would not have. */
static bool
outcome(const struct linear_event *e, uint64_t value, bool may_lose,
    uint64_t *next)
{
	bool there = value != LINEAR_NOTHING, lost = gone(value, may_lose);

	*next = e->done ? e->value : value;
	switch (e->kind) {
	case LINEAR_PUT:
		return true;
	case LINEAR_GET:
		*next = e->seen;
		return e->seen == value || (e->seen == LINEAR_NOTHING && lost);
	case LINEAR_DELETE:
		*next = LINEAR_NOTHING;
		return e->done ? there : lost;
	case LINEAR_ADD:
		return e->done ? lost : there;
	case LINEAR_REPLACE:
		if (!e->done)
			*next = LINEAR_NOTHING;
		return e->done ? there : lost;
	case LINEAR_SWAP:
		if (e->done)
			return value == e->expected;
		if (value == e->expected)
			*next = LINEAR_NOTHING;
		return value != e->expected || may_lose;
	case LINEAR_UPDATE:
		return e->seen == value || (e->seen == LINEAR_NOTHING && lost);
	case LINEAR_INCR:
		*next = e->seen;
		return (there && value + e->value == e->seen) ||
		    (lost && e->seen == e->expected);
	}
	return false;
}

/* What it may have made of the value if it was killed, but did it. */
static unsigned
outcomes_of_killed(const struct linear_event *e, uint64_t value,
    bool may_lose, uint64_t next[2])
{
	bool there = value != LINEAR_NOTHING, lost = gone(value, may_lose);
	unsigned n = 0;

	next[0] = e->value;
	switch (e->kind) {
	case LINEAR_PUT:
	case LINEAR_UPDATE:
		return 1;
	case LINEAR_GET:
		return 0;
	case LINEAR_DELETE:
		next[0] = LINEAR_NOTHING;
		return 1;
	case LINEAR_ADD:
		return lost;
	case LINEAR_REPLACE:
		return there;
	case LINEAR_SWAP:
		return value == e->expected;
	case LINEAR_INCR:
		if (there)
			next[n++] = value + e->value;
		if (lost)
			next[n++] = e->expected;
		return n;
	}
	return 0;
}

unsigned
linear_outcomes(const struct linear_event *e, uint64_t value, bool may_lose,
    uint64_t next[2])
{
	if (e->killed)
		return outcomes_of_killed(e, value, may_lose, next);
	return outcome(e, value, may_lose, &next[0]);
}

/* --------------------------------------------------------- what was tried -- */

static size_t
slot_of(const struct search *s, const struct config *c)
{
	uint64_t x = c->value;

	for (unsigned i = 0; i < LINEAR_CALLERS_MAX; i++)
		x = (x ^ c->taken[i]) * 0x9e3779b97f4a7c15ull ^ x >> 29;
	return (size_t)(x ^ x >> 32) & (s->slots - 1);
}

/* Where it stands, or would. */
static size_t
find(const struct search *s, const struct config *c)
{
	size_t i = slot_of(s, c);

	while (s->used[i] && memcmp(&s->tried[i], c, sizeof *c) != 0)
		i = (i + 1) & (s->slots - 1);
	return i;
}

static void
set_slots(struct search *s, size_t slots)
{
	struct search old = *s;

	s->slots = slots;
	s->tried = calloc(slots, sizeof *s->tried);
	s->used = calloc(slots, sizeof *s->used);
	if (s->tried == NULL || s->used == NULL)
		abort();
	for (size_t i = 0; i < old.slots; i++)
		if (old.used[i]) {
			size_t to = find(s, &old.tried[i]);

			s->tried[to] = old.tried[i];
			s->used[to] = true;
		}
	free(old.tried);
	free(old.used);
}

/* True if it had not been tried before. */
static bool
remember(struct search *s, const struct config *c)
{
	size_t i = find(s, c);

	if (s->used[i])
		return false;
	s->tried[i] = *c;
	s->used[i] = true;
	if (++s->count > s->slots / 2)
		set_slots(s, 2 * s->slots);
	return true;
}

static void
push(struct search *s, const struct config *c)
{
	if (!remember(s, c))
		return;
	if (s->depth == s->stack_slots) {
		s->stack_slots = 2 * s->stack_slots + 64;
		s->stack = realloc(s->stack, s->stack_slots * sizeof *s->stack);
		if (s->stack == NULL)
			abort();
	}
	s->stack[s->depth++] = *c;
}

/* --------------------------------------------------------------- search --- */

/* The caller's next call; NULL: none is left. */
static const struct linear_event *
next_event(const struct linear_history *h, const struct config *c,
    unsigned caller)
{
	return c->taken[caller] < h->counts[caller] ?
	    &h->events[caller][c->taken[caller]] : NULL;
}

/* No call that began later than this may come next. */
static uint64_t
first_end(const struct linear_history *h, const struct config *c)
{
	uint64_t end = UINT64_MAX;

	for (unsigned i = 0; i < h->callers; i++) {
		const struct linear_event *e = next_event(h, c, i);

		if (e != NULL && atomic_load(&e->ended) < end)
			end = atomic_load(&e->ended);
	}
	return end;
}

static void
take(struct search *s, const struct config *c, unsigned caller)
{
	const struct linear_event *e = next_event(s->history, c, caller);
	struct config after = *c;
	uint64_t next[2];
	unsigned n = linear_outcomes(e, c->value, s->history->may_lose, next);

	after.taken[caller]++;
	if (e->killed) /* it did nothing */
		push(s, &after);
	for (unsigned i = 0; i < n; i++) {
		after.value = next[i];
		push(s, &after);
	}
}

static bool
is_end(struct search *s, const struct config *c)
{
	uint64_t taken = 0, all = 0;

	for (unsigned i = 0; i < s->history->callers; i++) {
		taken += c->taken[i];
		all += s->history->counts[i];
	}
	if (taken >= s->most) {
		s->most = taken;
		s->best = *c;
	}
	return taken == all;
}

static bool
run(struct search *s)
{
	struct config start = { .value = LINEAR_NOTHING };

	push(s, &start);
	while (s->depth > 0) {
		struct config c = s->stack[--s->depth];
		uint64_t end = first_end(s->history, &c);

		if (is_end(s, &c))
			return true;
		for (unsigned i = 0; i < s->history->callers; i++) {
			const struct linear_event *e =
			    next_event(s->history, &c, i);

			if (e != NULL && atomic_load(&e->begun) <= end)
				take(s, &c, i);
		}
	}
	return false;
}

/* ---------------------------------------------------------------- report --- */

static const char *const kind_names[] = { "put", "get", "delete", "add",
	"replace", "swap", "update", "incr" };

static int
describe_event(const struct linear_event *e, char *text, size_t bytes)
{
	return snprintf(text, bytes, " %s%s%s [%llu %llu]", kind_names[e->kind],
	    e->done ? " ok" : "", e->killed ? " killed" : "",
	    (unsigned long long)atomic_load(&e->begun),
	    (unsigned long long)atomic_load(&e->ended));
}

static int
describe_values(const struct linear_event *e, char *text, size_t bytes)
{
	return snprintf(text, bytes, " %llx/%llx/%llx;",
	    (unsigned long long)e->value, (unsigned long long)e->expected,
	    (unsigned long long)e->seen);
}

/* The caller's last calls that were taken, and after a bar the next ones. */
static size_t
describe_caller(const struct search *s, unsigned caller, char *text,
    size_t bytes)
{
	const struct linear_history *h = s->history;
	uint32_t taken = s->best.taken[caller];
	size_t n = 0;

	for (uint32_t i = taken < 3 ? 0 : taken - 3;
	     i < taken + 2 && i < h->counts[caller] && n + 200 < bytes; i++) {
		if (i == taken)
			n += (size_t)snprintf(text + n, bytes - n, " |");
		n += (size_t)describe_event(&h->events[caller][i], text + n,
		    bytes - n);
		n += (size_t)describe_values(&h->events[caller][i], text + n,
		    bytes - n);
	}
	return n;
}

/* Of each call: value/expected/seen. */
static void
describe(const struct search *s, char *why, size_t bytes)
{
	size_t n = (size_t)snprintf(why, bytes, "after %llu calls it is %llx",
	    (unsigned long long)s->most, (unsigned long long)s->best.value);

	for (unsigned i = 0; i < s->history->callers && n + 300 < bytes; i++) {
		n += (size_t)snprintf(why + n, bytes - n, "\n%u:", i);
		n += describe_caller(s, i, why + n, bytes - n);
	}
}

bool
linear_check(const struct linear_history *history, char *why,
    size_t why_bytes)
{
	struct search s = { .history = history };
	bool found;

	set_slots(&s, 1024);
	found = run(&s);
	if (!found)
		describe(&s, why, why_bytes);
	free(s.tried);
	free(s.used);
	free(s.stack);
	return found;
}
