/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permits: see permit.h.
 *
 * Who waits joins one of the permits, the one that the fewest wait for, so that
 * the kernel tells somebody of each holder's death.  But it is not bound to it:
 * who gives a permit back that nobody waits for sends away those who wait for
 * another one, and they take it.  So nobody stands behind a slow holder while
 * another permit is free.
 *
 * Invariant: a permit is held by at most one participant whose lease runs.
 * Edges
 * P1  A waiter joins (its wait cell, then WAITERS), fences, and tries every
 *     permit once more.  Who gives one back frees it, fences, and looks for
 *     WAITERS.  One of the two sees the other.
 *
 * Progress: lock-free but for permit_await().  A holder that dies where nobody
 * waits, and a waiter that dies with a permit just promised to it, are made good by
 * a back-stop.  A kill leaves a permit led by the dead.
 */
#include "permit.h"

#include "barrier.h"
#include "clock.h"
#include "testpoint.h"

/* After so long a waiter looks at all permits by itself, then after twice that. */
#define BACKSTOP_NS (50 * NS_PER_MS)
#define BACKSTOP_MAX_NS (2 * NS_PER_S)

static uint64_t
permit_hash(const struct permits *p, uint32_t permit)
{
	uint64_t x = p->hash + (permit + 1) * 0x9e3779b97f4a7c15ull;

	/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

enum permit
permit_try(struct member *me, const struct permits *p, uint64_t lease_ns,
    struct flight_hold *hold)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t permit = (me->index + i) % p->count;

		switch (flight_enter(me, permit_hash(p, permit), lease_ns,
		    false, hold)) {
		case FLIGHT_LEADS:
		case FLIGHT_INHERITS:
			return PERMIT_HELD;
		case FLIGHT_FULL:
			return PERMIT_FULL;
		case FLIGHT_JOINS: /* cannot be: it never has a result */
			flight_leave(me);
			break;
		case FLIGHT_TAKEN:
		case FLIGHT_AGAIN:
			break;
		}
	}
	return PERMIT_AGAIN;
}

/* -------------------------------------------------------------- the queues -- */

/* The flights that the permits are at the moment, and how many wait for each. */
struct queues {
	uint32_t flights[PERMITS_MAX];
	unsigned waiters[PERMITS_MAX];
};

static void
count_waiter(const struct permits *p, struct queues *q, uint64_t wait)
{
	for (uint32_t i = 0; i < p->count; i++)
		q->waiters[i] += q->flights[i] != NO_FLIGHT &&
		    wait == (uint64_t)q->flights[i] + 1;
}

static void
look_at_queues(struct member *me, const struct permits *p, struct queues *q)
{
	struct segment *seg = me->seg;
	bool awaited = false;

	for (uint32_t i = 0; i < p->count; i++) {
		q->flights[i] = flight_find(me, permit_hash(p, i));
		q->waiters[i] = 0;
		awaited |= q->flights[i] != NO_FLIGHT &&
		    flight_awaited(seg, q->flights[i]); /* P1 */
	}
	for (uint32_t i = 0; awaited && i < seg->geo.participant_count; i++) {
		struct participant *slot = &seg->participants[i];
		uint64_t wait = load_acquire(&slot->wait); /* flight.W1 */

		if (wait != 0 && !life_word_dead(load_acquire(
				     &slot->life.futex))) /* life.F1 */
			count_waiter(p, q, wait);
	}
}

/* The one that the fewest wait for, of those not in `avoid`; count: none. */
static uint32_t
shortest(const struct permits *p, const struct queues *q, uint64_t avoid)
{
	uint32_t best = p->count;

	for (uint32_t i = 0; i < p->count; i++)
		if ((avoid >> i & 1) == 0 && (best == p->count ||
		    q->waiters[i] < q->waiters[best]))
			best = i;
	return best;
}

unsigned
permit_waiters(struct member *me, const struct permits *p)
{
	struct queues q;
	unsigned n = 0;

	look_at_queues(me, p, &q);
	for (uint32_t i = 0; i < p->count; i++)
		n += q.waiters[i];
	return n;
}

static enum permit
permit_of(enum flight_event event)
{
	switch (event) {
	case FLIGHT_PROMOTED:
		return PERMIT_HELD;
	case FLIGHT_LATE:
		return PERMIT_LATE;
	case FLIGHT_CYCLE:
		return PERMIT_CYCLE;
	case FLIGHT_SERVED:
	case FLIGHT_GONE:
		break;
	}
	return PERMIT_AGAIN;
}

/* Joins the queue of one permit, and looks at all of them again: P1. */
static enum permit
queue_for(struct member *me, const struct permits *p, uint32_t permit,
    uint64_t lease_ns, struct flight_hold *hold)
{
	struct flight_hold other;

	switch (flight_enter(me, permit_hash(p, permit), lease_ns, true,
	    hold)) {
	case FLIGHT_LEADS:
	case FLIGHT_INHERITS:
		return PERMIT_HELD;
	case FLIGHT_FULL:
		return PERMIT_FULL;
	case FLIGHT_TAKEN:
	case FLIGHT_AGAIN:
		return PERMIT_AGAIN;
	case FLIGHT_JOINS:
		break;
	}
	barrier_full(); /* P1 */
	TESTPOINT("permit_queued");
	if (permit_try(me, p, lease_ns, &other) != PERMIT_HELD)
		return PERMIT_WAITING;
	flight_leave(me);
	*hold = other;
	return PERMIT_HELD;
}

/* The same without a wait that would never end. */
static enum permit
queue_safely(struct member *me, const struct permits *p, uint32_t permit,
    uint64_t lease_ns, struct flight_hold *hold)
{
	enum permit answer = queue_for(me, p, permit, lease_ns, hold);
	enum flight_event event;

	if (answer != PERMIT_WAITING)
		return answer;
	/* A look without a sleep. */
	event = flight_await(me, hold, 0, lease_ns);
	if (event == FLIGHT_LATE)
		return PERMIT_WAITING;
	flight_leave(me); /* of most events we had left already */
	return permit_of(event);
}

enum permit
permit_enter(struct member *me, const struct permits *p, uint64_t lease_ns,
    struct flight_hold *hold)
{
	uint64_t avoid = 0;
	uint32_t permit;
	struct queues q;
	enum permit answer = permit_try(me, p, lease_ns, hold);

	if (answer != PERMIT_AGAIN)
		return answer;
	look_at_queues(me, p, &q);
	/* Each turn rules one permit out. */
	while ((permit = shortest(p, &q, avoid)) < p->count) {
		answer = queue_safely(me, p, permit, lease_ns, hold);
		if (answer != PERMIT_CYCLE)
			return answer;
		avoid |= 1ull << permit;
	}
	return PERMIT_CYCLE;
}

/* ---------------------------------------------------------------- waiting -- */

enum permit
permit_await(struct member *me, const struct permits *p, uint64_t deadline_ns,
    uint64_t lease_ns, struct flight_hold *hold)
{
	uint64_t backstop = BACKSTOP_NS;
	struct flight_hold other;
	enum flight_event event;
	enum permit answer;

	/* Each turn but the last is a back-stop. */
	for (;; backstop = min_u64(2 * backstop, BACKSTOP_MAX_NS)) {
		uint64_t until = min_u64(deadline_ns, clock_ns() + backstop);

		event = flight_await(me, hold, until, lease_ns);
		if (event != FLIGHT_LATE || until == deadline_ns)
			break;
		if (permit_try(me, p, lease_ns, &other) == PERMIT_HELD) {
			flight_leave(me);
			*hold = other;
			return PERMIT_HELD;
		}
	}
	flight_leave(me); /* of most events we had left already */
	answer = permit_of(event);
	/* It may be that one only: permit_enter() asks for the others. */
	return answer == PERMIT_CYCLE ? PERMIT_AGAIN : answer;
}

void
permit_give_back(struct member *me, const struct permits *p,
    const struct flight_hold *hold)
{
	uint32_t longest = 0;
	struct queues q;

	/* False: its lease was over, and the permit is another's. */
	if (!flight_abandon(me, hold))
		return;
	barrier_full(); /* P1 */
	TESTPOINT("permit_given_back");
	look_at_queues(me, p, &q);
	for (uint32_t i = 0; i < p->count; i++) {
		if (q.flights[i] == hold->number && q.waiters[i] > 0)
			return; /* they have been woken */
		if (q.waiters[i] > q.waiters[longest])
			longest = i;
	}
	if (q.waiters[longest] > 0)
		flight_kick(me, q.flights[longest]);
}
