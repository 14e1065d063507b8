/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flights: see flight.h and docs/design.md, "Flights".
 *
 *        claim_record()     begin()          flight_commit()
 *   FREE -----------> CLAIMED ----> LEAD ----------------------> RESULT
 *    ^  ^              |            |  ^ take_over()                |
 *    |  +--------------+  abandon   v  |                            | flight_
 *    |   flight_repair()          ORPHAN                            | finish()
 *    |                              |  retire_record()              v
 *    +------------------------------+---------------------------- DONE
 *      try_claim(), once no wait cell names it; use + 1; of a scribbled word
 *      too, that has no such state or a leader who is nobody
 *
 * Invariant: at most one participant holds the token of a flight in LEAD, and
 * only the holder of the token moves LEAD to RESULT, by one CAS: the commit
 * point.  Every promotion changes the token, so a former leader fails there.
 *
 * Edges
 * W1  A waiter stores its wait cell, fences, reads the word (or sets WAITERS); who
 *     reuses a record sees DONE or ORPHAN, fences, reads the cells.  One of the two sees the other.
 *     The same fence orders two waiters that look for a cycle through each other.
 * W2  `result` is stored before RESULT (release CAS); waiters read the word
 *     (acquire) before `result`.
 * W3  A leader's note of the flight (hash, lease) before LEAD or the line's
 *     word (release); whoever reads the word (acquire) sees it.
 *
 * W4  A flight enters its line, fences, and its leader reads what the value is
 *     made from; who changes that, fences, and looks for the flight.  One of
 *     the two sees the other.
 * W5  Of two flights of a key the older links its result, notes that in the newer
 *     one, and only then is DONE and leaves its line (both release).  The newer,
 *     who found that result in the index, looks (acquire) whether the older one
 *     still is in RESULT, and if it is not, reads the note.
 *
 * Progress: everything but flight_await() is lock-free.  A waiter blocks at most
 * until its deadline, the leader's end, its death or the end of its lease.
 * A kill leaves: see docs/design.md; a dead leader is replaced by whoever
 * waits or comes, the rest is flight_repair()'s.
 * Model: tests/model/flight.pml.
 */
#include "flight.h"

#include "barrier.h"
#include "clock.h"
#include "futex.h"
#include "testpoint.h"

/*
 * A waiter that is woken by a death wakes the others; should it die before, the
 * next looks by itself: the n-th waiter after n times this, then after twice
 * as long, and so on.
 */
#define BACKSTOP_NS (10 * NS_PER_MS)
#define BACKSTOP_MAX_NS (2 * NS_PER_S)
#define RANK_MAX 100u

#define TAG_BITS 13

/* ------------------------------------------------------ words and places -- */

static struct flight *
record(const struct segment *seg, uint32_t number)
{
	return &seg->flights[number];
}

static _Atomic uint32_t *
futex_half(struct flight *f)
{
	_Atomic uint32_t *halves = (void *)&f->word;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return &halves[1];
#else
	return &halves[0];
#endif
}

static uint64_t
use_of(uint64_t word)
{
	return (word & FLIGHT_USE_MASK) >> FLIGHT_USE_SHIFT;
}

static uint64_t
next_use(uint64_t word)
{
	return (word + (1ull << FLIGHT_USE_SHIFT)) & FLIGHT_USE_MASK;
}

static uint64_t
leader_bits(const struct member *me)
{
	return (uint64_t)me->index << FLIGHT_SLOT_SHIFT |
	    (me->incarnation & INCARNATION_MASK) << FLIGHT_INCARNATION_SHIFT;
}

/* The same flight under a new leader: another token. */
static uint64_t
promoted_word(const struct member *me, uint64_t word)
{
	uint64_t promotion = (word + (1ull << FLIGHT_PROMOTION_SHIFT)) &
	    FLIGHT_PROMOTION_MASK;

	return (word & (FLIGHT_USE_MASK | FLIGHT_FLAGS)) | promotion |
	    leader_bits(me) | FLIGHT_LEAD;
}

static uint64_t
with_state(uint64_t word, enum flight_state state)
{
	return (word & ~FLIGHT_STATE_MASK) | (uint64_t)state;
}

/* In its line, a flight's word: LIVE | tag | use | number. */
static uint64_t
line_word_of(uint64_t hash, uint64_t word, uint32_t number)
{
	return WORD_LIVE | (hash & ((1u << TAG_BITS) - 1)) << WORD_TAG_SHIFT |
	    use_of(word) << WORD_GENERATION_SHIFT | number;
}

static uint64_t
line_use(uint64_t line_word)
{
	return (line_word >> WORD_GENERATION_SHIFT) &
	    ((1ull << FLIGHT_USE_BITS) - 1);
}

static struct line *
pair_of(const struct segment *seg, uint64_t hash)
{
	return &seg->flight_lines[2 *
	    ((hash >> 32) * seg->geo.flight_pairs >> 32)];
}

/* Still to be decided, or decided and not yet out of its line. */
static bool
is_under_way(uint64_t word)
{
	enum flight_state state = flight_state(word);

	return state == FLIGHT_LEAD || state == FLIGHT_ORPHAN ||
	    state == FLIGHT_RESULT;
}

static bool
is_joinable(uint64_t word, uint64_t use)
{
	return is_under_way(word) && use_of(word) == use &&
	    (word & FLIGHT_DETACHED) == 0;
}

/* ------------------------------------------------------------- the line --- */

struct same_hash {
	const struct segment *seg;
	uint64_t hash;
};

static bool
same(const void *arg, uint64_t word)
{
	const struct same_hash *s = arg;
	uint64_t number = word & WORD_PLACE_MASK;
	struct flight *f;

	if (number >= s->seg->geo.flight_count)
		return false;
	f = record(s->seg, (uint32_t)number);
	return is_joinable(load_acquire(&f->word), line_use(word)) && /* W3 */
	    load_relaxed(&f->hash) == s->hash;
}

static struct line_query
query(const struct segment *seg, uint64_t hash, struct same_hash *s)
{
	s->seg = seg;
	s->hash = hash;
	return (struct line_query){
		.pair = pair_of(seg, hash),
		.home = (unsigned)(hash >> TAG_BITS) & 1,
		.tag = (hash & ((1u << TAG_BITS) - 1)) << WORD_TAG_SHIFT,
		.same = same,
		.arg = s,
	};
}

/* Takes this very flight out of its line, if it still is in it. */
static void
unline(const struct segment *seg, uint32_t number, uint64_t word)
{
	uint64_t hash = load_relaxed(&record(seg, number)->hash); /* W3 */
	uint64_t wanted = line_word_of(hash, word, number);

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		if (cas_word(line_word(pair_of(seg, hash), i), wanted,
			WORD_EMPTY))
			break;
	TESTPOINT("flight_unlined");
}

/* ---------------------------------------------------------- the records --- */

/* Nobody owns the slot: what stands in its wait cell is a scribble. */
static bool
is_nobodys(const struct segment *seg, uint32_t slot)
{
	return slot >= seg->geo.participant_count ||
	    load_acquire(&seg->participants[slot].life.futex) == 0; /* life.F1 */
}

/* A waiter still may read the record. */
static bool
is_awaited(const struct segment *seg, uint32_t number)
{
	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		if (load_acquire(&seg->participants[i].wait) == /* W1 */
		    (uint64_t)number + 1 && !is_nobodys(seg, i))
			return true;
	return false;
}

/*
 * A scribble: no such state, or a leader that is nobody, who would have ended
 * its flights before it left its slot (life.F1).
 */
static bool
is_impossible(const struct segment *seg, uint64_t word)
{
	enum flight_state state = flight_state(word);

	if (state == FLIGHT_CLAIMED || state == FLIGHT_LEAD ||
	    state == FLIGHT_RESULT)
		return is_nobodys(seg, flight_leader(word));
	return state > FLIGHT_DONE;
}

/* CLAIMED by us, *word set; false: the record is in use. */
static bool
try_claim(struct member *me, uint32_t number, uint64_t *word)
{
	struct flight *f = record(me->seg, number);
	uint64_t seen = load_acquire(&f->word); /* W3 */
	enum flight_state state = flight_state(seen);
	bool impossible = is_impossible(me->seg, seen);

	if (state == FLIGHT_DONE || state == FLIGHT_ORPHAN || impossible) {
		barrier_full(); /* W1 */
		if (is_awaited(me->seg, number))
			return false;
	} else if (state != FLIGHT_FREE) {
		return false;
	}
	*word = next_use(seen) | leader_bits(me) | FLIGHT_CLAIMED;
	if (!cas_word(&f->word, seen, *word))
		return false;
	if (state != FLIGHT_FREE)
		unline(me->seg, number, seen);
	if (impossible)
		segment_doubt(me->seg);
	me->last_flight = number;
	TESTPOINT("flight_claimed");
	return true;
}

static bool
claim_record(struct member *me, uint32_t *number, uint64_t *word)
{
	uint32_t count = me->seg->geo.flight_count;
	uint32_t first = me->last_flight != NO_FLIGHT ? me->last_flight :
	    (uint32_t)((uint64_t)me->index * count /
		me->seg->geo.participant_count);

	for (uint32_t i = 0; i < count; i++) {
		*number = (first + i) % count;
		if (try_claim(me, *number, word))
			return true;
	}
	return false;
}

/* DONE or our own unseen LEAD: FREE at once if nobody ever joined. */
static void
free_record(struct flight *f, uint64_t word)
{
	if ((word & FLIGHT_WAITERS) == 0)
		(void)cas_word(&f->word, word,
		    (word & FLIGHT_USE_MASK) | FLIGHT_FREE);
}

/* --------------------------------------------------------------- leases --- */

static uint64_t
lease_tag(uint64_t word)
{
	return (word >> FLIGHT_PROMOTION_SHIFT & 0xffff) << 48;
}

static uint64_t
lease_value(uint64_t word, uint64_t lease_ns)
{
	uint64_t until_us = (clock_ns() + lease_ns) / 1000;

	return lease_tag(word) | min_u64(until_us, (1ull << 48) - 1);
}

/* The end of the last lease that any leader has noted. */
static uint64_t
lease_noted_ns(const struct flight *f)
{
	/* Relaxed: as below. */
	return (load_relaxed(&f->lease) & ((1ull << 48) - 1)) * 1000;
}

/* When the lease of the leader in `word` ends; 0: it has not said yet. */
static uint64_t
lease_end_ns(const struct flight *f, uint64_t word)
{
	uint64_t lease = load_relaxed(&f->lease); /* only delays or hastens */

	if ((lease & (0xffffull << 48)) != lease_tag(word))
		return 0;
	return (lease & ((1ull << 48) - 1)) * 1000;
}

/* -------------------------------------------------------------- leading --- */

static void
hold_set(struct flight_hold *hold, uint32_t number, uint64_t word)
{
	hold->number = number;
	hold->token = flight_token(word);
}

/* Not LIVE, and unlike what any other leader begins with: note_result(). */
static uint64_t
no_result(uint64_t word)
{
	return (word & (FLIGHT_USE_MASK | FLIGHT_PROMOTION_MASK)) | 1;
}

/* From CLAIMED to LEAD: everything that a finder reads, then the word. */
static uint64_t
begin(struct member *me, uint32_t number, uint64_t word, uint64_t hash,
    uint64_t lease_ns)
{
	struct flight *f = record(me->seg, number);

	word = with_state(word, FLIGHT_LEAD);
	store_relaxed(&f->hash, hash);
	store_relaxed(&f->result, no_result(word)); /* W2 publishes */
	store_relaxed(&f->left, 0);
	store_relaxed(&f->joined, 0);
	store_relaxed(&f->started_ns, clock_ns());
	store_relaxed(&f->lease, lease_value(word, lease_ns));
	store_release(&f->word, word); /* W3 */
	TESTPOINT("flight_began");
	return word;
}

/* Our record, in no line yet, is not needed. */
static void
drop(struct member *me, uint32_t number, uint64_t word)
{
	(void)cas_word(&record(me->seg, number)->word, word,
	    (word & FLIGHT_USE_MASK) | FLIGHT_FREE);
	TESTPOINT("flight_dropped");
}

/* ------------------------------------------------------------- joining --- */

static bool
mark_waiters(struct flight *f, uint64_t use, uint64_t *word)
{
	*word = load_acquire(&f->word); /* W3 */
	while (is_joinable(*word, use)) {
		uint64_t marked = *word | FLIGHT_WAITERS;

		/* Again while it changes: each change is progress of its own. */
		if (*word == marked || cas_word(&f->word, *word, marked)) {
			*word = marked;
			return true;
		}
		*word = load_acquire(&f->word);
	}
	return false;
}

static enum flight_entry
join(struct member *me, uint64_t line_word, struct flight_hold *hold)
{
	uint32_t number = (uint32_t)(line_word & WORD_PLACE_MASK);
	struct flight *f = record(me->seg, number);
	uint64_t word;

	store_relaxed(&me->slot->wait, (uint64_t)number + 1);
	barrier_full(); /* W1 */
	TESTPOINT("flight_wait_cell");
	if (!mark_waiters(f, line_use(line_word), &word)) {
		flight_leave(me);
		return FLIGHT_AGAIN;
	}
	TESTPOINT("flight_joined");
	hold_set(hold, number, word);
	hold->late = flight_state(word) == FLIGHT_RESULT;
	hold->kicks = word & FLIGHT_KICK_MASK;
	/* Relaxed: only the number matters. */
	hold->rank = 1 + atomic_fetch_add_explicit(&f->joined, 1,
	    memory_order_relaxed);
	return FLIGHT_JOINS;
}

void
flight_leave(struct member *me)
{
	/* Reads of the result are over, pins made: grace.c reads cell, then pins. */
	store_release(&me->slot->wait, 0);
}

/* ------------------------------------------------------------- waiting --- */

static bool
leader_alive(const struct segment *seg, uint64_t word)
{
	uint32_t slot = flight_leader(word);

	return slot < seg->geo.participant_count &&
	    life_alive(&seg->participants[slot],
		word >> FLIGHT_INCARNATION_SHIFT);
}

/* Whether whoever leads this flight waits, over others, for us. */
static bool
closes_cycle(const struct member *me, uint64_t word)
{
	const struct segment *seg = me->seg;

	/* No chain of distinct leaders is longer than the table. */
	for (uint32_t n = 0; n < seg->geo.participant_count; n++) {
		uint32_t leader = flight_leader(word);
		uint64_t wait;

		if (leader == me->index)
			return true;
		if (!leader_alive(seg, word))
			return false;
		wait = load_acquire(&seg->participants[leader].wait); /* W1 */
		if (wait == 0 || wait > seg->geo.flight_count)
			return false;
		word = load_acquire(&seg->flights[wait - 1].word); /* W3 */
		if (flight_state(word) != FLIGHT_LEAD)
			return false;
	}
	return false;
}

/* Everybody who sleeps on this flight or on its leader's life looks again. */
static void
wake_everybody(const struct segment *seg, struct flight *f, uint64_t word)
{
	uint32_t slot = flight_leader(word);

	(void)futex_wake_all(futex_half(f));
	if (slot < seg->geo.participant_count)
		(void)futex_wake_all(&seg->participants[slot].life.futex);
	TESTPOINT("flight_woken");
}

/* Makes us the leader of a flight whose leader fell. */
static bool
take_over(struct member *me, struct flight_hold *hold, uint64_t word,
    uint64_t lease_ns)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t ours = promoted_word(me, word);
	uint64_t lease = load_relaxed(&f->lease); /* of a predecessor */

	if (!cas_word(&f->word, word, ours))
		return false;
	TESTPOINT("flight_taken_over");
	/* Failed: a successor of ours has noted its own. */
	(void)cas_word(&f->lease, lease, lease_value(ours, lease_ns));
	hold_set(hold, hold->number, ours);
	flight_leave(me);
	/* The others are to watch our life, not our predecessor's. */
	(void)futex_wake_all(futex_half(f));
	return true;
}

/* The leader is gone or its lease is over. */
static bool
has_fallen(const struct segment *seg, const struct flight *f, uint64_t word,
    uint64_t seen_ns, uint64_t default_lease_ns, uint64_t *lease_end)
{
	if (flight_state(word) == FLIGHT_ORPHAN)
		return true;
	/* A leader that has not noted its lease has had it since we saw it. */
	*lease_end = lease_end_ns(f, word);
	if (*lease_end == 0)
		*lease_end = seen_ns + default_lease_ns;
	return !leader_alive(seg, word) || clock_ns() >= *lease_end;
}

/* ------------------------------------------------------------- entering -- */

/*
 * Without joining: nobody who waits may be there to notice that the leader of a
 * refresh, or the holder of a permit, is gone.
 */
static enum flight_entry
inherit(struct member *me, uint64_t line_word, uint64_t lease_ns,
    struct flight_hold *hold)
{
	uint32_t number = (uint32_t)(line_word & WORD_PLACE_MASK);
	struct flight *f = record(me->seg, number);
	uint64_t word = load_acquire(&f->word), lease_end; /* W3 */

	if (!is_joinable(word, line_use(line_word)))
		return FLIGHT_AGAIN;
	if (flight_state(word) == FLIGHT_RESULT)
		return join(me, line_word, hold);
	/* Who took over and has not noted its lease has it since the last one. */
	if (!has_fallen(me->seg, f, word, lease_noted_ns(f), me->seg->lease_ns,
		&lease_end))
		return FLIGHT_TAKEN;
	hold->number = number;
	hold->rank = 0;
	return take_over(me, hold, word, lease_ns) ? FLIGHT_INHERITS :
						     FLIGHT_AGAIN;
}

static enum flight_entry
enter_found(struct member *me, uint64_t line_word, uint64_t lease_ns,
    bool may_wait, struct flight_hold *hold)
{
	return may_wait ? join(me, line_word, hold) :
			  inherit(me, line_word, lease_ns, hold);
}

static void
set_flags(struct flight *f, uint64_t use, uint64_t flags)
{
	uint64_t word = load_acquire(&f->word); /* W3 */

	/* Again while it changes: each change is progress of its own. */
	while (is_under_way(word) && use_of(word) == use &&
	    (word & flags) != flags) {
		if (cas_word(&f->word, word, word | flags))
			break;
		word = load_acquire(&f->word);
	}
	TESTPOINT("flight_flagged");
}

/*
 * Nobody joins it, and it never will be stored: nobody needs to find it.  In
 * RESULT it may have been stored already, which a newer one has to know: W5.
 */
static bool
is_of_no_use(const struct flight *f, uint64_t use)
{
	uint64_t word = load_acquire(&f->word); /* W3 */

	return use_of(word) == use && (word & FLIGHT_SUPERSEDED) != 0 &&
	    flight_state(word) != FLIGHT_RESULT;
}

/* An ORPHAN that nobody waits for is nobody's. */
static bool
free_orphan(const struct segment *seg, uint32_t number, uint64_t word)
{
	if (flight_state(word) != FLIGHT_ORPHAN)
		return false;
	barrier_full(); /* W1 */
	return !is_awaited(seg, number) &&
	    cas_word(&record(seg, number)->word, word,
		(word & FLIGHT_USE_MASK) | FLIGHT_FREE);
}

/* Detached, of this very use: gives up its right to be stored. */
static bool
supersede_detached(struct flight *f, uint64_t word)
{
	if ((word & FLIGHT_DETACHED) == 0)
		return false;
	set_flags(f, use_of(word), FLIGHT_SUPERSEDED);
	return is_of_no_use(f, use_of(word));
}

/* Whether a flight's word, which is in nobody's way but in a full pair, may go. */
static bool
may_be_swept(const struct segment *seg, uint64_t seen)
{
	uint32_t number = (uint32_t)(seen & WORD_PLACE_MASK);
	uint64_t word;

	if ((seen & WORD_LIVE) == 0 ||
	    (seen & WORD_PLACE_MASK) >= seg->geo.flight_count)
		return true;
	word = load_acquire(&record(seg, number)->word); /* W3 */
	return !is_under_way(word) || use_of(word) != line_use(seen) ||
	    free_orphan(seg, number, word) ||
	    supersede_detached(record(seg, number), word);
}

/* A full pair: removes what need not be in it, and all TENTs. */
static bool
sweep_pair(const struct segment *seg, uint64_t hash)
{
	struct line *pair = pair_of(seg, hash);
	bool swept = false;

	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		_Atomic uint64_t *at = line_word(pair, i);
		uint64_t seen = load_acquire(at); /* line.L1 */

		if (may_be_swept(seg, seen))
			swept |= cas_word(at, seen, WORD_EMPTY);
	}
	return swept;
}

enum flight_entry
flight_enter(struct member *me, uint64_t hash, uint64_t lease_ns,
    bool may_wait, struct flight_hold *hold)
{
	static const uint64_t none = WORD_EMPTY;
	struct same_hash s;
	struct line_query q = query(me->seg, hash, &s);
	_Atomic uint64_t *at;
	uint64_t found = line_find(&q, &at), word;
	enum line_set set;
	uint32_t number;

	if (found != WORD_EMPTY)
		return enter_found(me, found, lease_ns, may_wait, hold);
	if (!claim_record(me, &number, &word))
		return FLIGHT_FULL;
	word = begin(me, number, word, hash, lease_ns);
	do
		set = line_set(me, &q, line_word_of(hash, word, number), &none,
		    NULL, &found);
	while (set == LINE_FULL && sweep_pair(me->seg, hash));
	if (set == LINE_SET) {
		barrier_full(); /* W4 */
		hold_set(hold, number, word);
		hold->rank = 0;
		TESTPOINT("flight_led");
		return FLIGHT_LEADS;
	}
	drop(me, number, word);
	if (set != LINE_OTHER)
		return FLIGHT_FULL;
	return enter_found(me, found, lease_ns, may_wait, hold);
}

/* ------------------------------------------------------------- sleeping -- */

/*
 * Of those who watch a life the kernel wakes one when it ends, whatever has
 * become of the flight: so who finds it ended wakes the others.
 */
static void
doze(struct member *me, struct flight *f, uint64_t word, uint64_t until_ns)
{
	struct participant *leader = &me->seg->participants[flight_leader(word)];
	uint32_t life = life_arm(leader);
	struct futex_word words[2] = {
		{ futex_half(f), (uint32_t)word },
		{ &leader->life.futex, life },
	};

	TESTPOINT("flight_dozes");
	if (life == 0)
		return;
	futex_wait(words, 2, until_ns);
	if (!leader_alive(me->seg, word))
		wake_everybody(me->seg, f, word);
}

enum flight_event
flight_await(struct member *me, struct flight_hold *hold,
    uint64_t deadline_ns, uint64_t lease_ns)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t seen = 0, seen_ns = 0, lease_end = 0;
	uint64_t backstop = min_u64(max_u64(hold->rank, 1), RANK_MAX) *
	    BACKSTOP_NS;

	for (;; backstop = min_u64(2 * backstop, BACKSTOP_MAX_NS)) {
		uint64_t word = load_acquire(&f->word); /* W2 */
		uint64_t now = clock_ns();
		bool led_anew;

		if (use_of(word) != use_of(hold->token) ||
		    (word & FLIGHT_KICK_MASK) != hold->kicks ||
		    !(is_under_way(word) || flight_state(word) == FLIGHT_DONE)) {
			flight_leave(me);
			return FLIGHT_GONE;
		}
		if (flight_state(word) == FLIGHT_DONE)
			return FLIGHT_SERVED;
		if (flight_state(word) == FLIGHT_RESULT) {
			/* Its leader has not come to wake anybody. */
			wake_everybody(me->seg, f, word);
			return FLIGHT_SERVED;
		}
		led_anew = flight_token(word) != seen;
		if (led_anew) {
			seen = flight_token(word);
			seen_ns = now;
		}
		if (has_fallen(me->seg, f, word, seen_ns, me->seg->lease_ns,
			&lease_end)) {
			wake_everybody(me->seg, f, word);
			if (take_over(me, hold, word, lease_ns))
				return FLIGHT_PROMOTED;
			continue;
		}
		/* Not before: it may be ours, and its lease be over. */
		if (led_anew && closes_cycle(me, word))
			return FLIGHT_CYCLE;
		if (now >= deadline_ns)
			return FLIGHT_LATE;
		doze(me, f, word, min_u64(min_u64(deadline_ns, lease_end),
		    now + backstop));
	}
}

uint64_t
flight_result(const struct member *me, const struct flight_hold *hold,
    bool *superseded)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t word = load_acquire(&f->word); /* W2 */
	uint64_t result = load_relaxed(&f->result); /* W2 */

	*superseded = (word & FLIGHT_SUPERSEDED) != 0;
	return (result & WORD_LIVE) != 0 ? result : 0;
}

/* -------------------------------------------------------------- ending --- */

bool
flight_leads(const struct segment *seg, const struct flight_hold *hold)
{
	/* Relaxed: an answer that may be old when it arrives; commit decides. */
	uint64_t word = load_relaxed(&record(seg, hold->number)->word);

	return flight_token(word) == hold->token &&
	    flight_state(word) == FLIGHT_LEAD;
}

/*
 * LEAD to another state, as long as we lead; flags stay.  The word after in
 * *now.
 */
static bool
end_lead(struct member *me, const struct flight_hold *hold,
    enum flight_state state, uint64_t *now)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t word = load_acquire(&f->word);

	/* Again while flags are set: each is somebody's progress. */
	while (flight_token(word) == hold->token &&
	    flight_state(word) == FLIGHT_LEAD) {
		*now = with_state(word, state);
		if (cas_word(&f->word, word, *now)) /* W2 */
			return true;
		word = load_acquire(&f->word);
	}
	return false;
}

/*
 * A former leader may stand anywhere in here while its successor commits.  It
 * replaces only a value of `result` that it read while it led; the successor's
 * own store changes it, after which the former leader's CAS fails.
 */
static bool
note_result(struct member *me, const struct flight_hold *hold, uint64_t entry)
{
	struct flight *f = record(me->seg, hold->number);

	for (;;) {
		uint64_t old = load_acquire(&f->result);

		if (!flight_leads(me->seg, hold))
			return false;
		if (cas_word(&f->result, old, entry))
			return true;
	}
}

bool
flight_commit(struct member *me, const struct flight_hold *hold,
    uint64_t entry)
{
	uint64_t word;

	if (!note_result(me, hold, entry))
		return false;
	TESTPOINT("flight_result_noted");
	if (!end_lead(me, hold, FLIGHT_RESULT, &word))
		return false;
	TESTPOINT("flight_committed");
	return true;
}

void
flight_note_seen(struct member *me, const struct flight_hold *hold,
    uint64_t word)
{
	/*
	 * A former leader may write it late: then it is older, and the link that
	 * expects it fails: nothing is stored that should not be.
	 */
	store_relaxed(&record(me->seg, hold->number)->seen, word); /* W2 */
}

uint64_t
flight_seen(const struct segment *seg, uint32_t number)
{
	return load_relaxed(&record(seg, number)->seen); /* W2 */
}

struct line_guard
flight_guard(const struct segment *seg, const struct flight_hold *hold)
{
	return (struct line_guard){
		.word = &record(seg, hold->number)->word,
		.mask = ~(FLIGHT_FLAGS & ~FLIGHT_SUPERSEDED),
		.value = hold->token | FLIGHT_RESULT,
	};
}

/* DONE: wakes whoever sleeps; the record is free if nobody ever did. */
static void
end(struct member *me, uint32_t number, uint64_t word)
{
	struct flight *f = record(me->seg, number);

	if ((word & FLIGHT_WAITERS) != 0)
		(void)futex_wake_all(futex_half(f));
	unline(me->seg, number, word);
	if ((word & FLIGHT_WAITERS) == 0)
		free_record(f, word);
	TESTPOINT("flight_ended");
}

void
flight_finish(struct member *me, uint32_t number)
{
	struct flight *f = record(me->seg, number);
	uint64_t word = load_acquire(&f->word);

	/*
	 * DONE before it leaves its line: as long as its result may still be
	 * linked, whoever outdates it must find it there.  Again while flags
	 * are set.
	 */
	while (flight_state(word) == FLIGHT_RESULT) {
		uint64_t done = with_state(word, FLIGHT_DONE);

		if (cas_word(&f->word, word, done)) {
			TESTPOINT("flight_done");
			end(me, number, done);
			return;
		}
		word = load_acquire(&f->word);
	}
}

bool
flight_cancel(struct member *me, const struct flight_hold *hold)
{
	uint64_t word;

	/* A former leader may have noted a result that was then refused. */
	if (!note_result(me, hold, no_result(hold->token)) ||
	    !end_lead(me, hold, FLIGHT_DONE, &word))
		return false;
	TESTPOINT("flight_cancelled");
	end(me, hold->number, word);
	return true;
}

bool
flight_end_alone(struct member *me, const struct flight_hold *hold)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t word = load_acquire(&f->word), done;

	/* Again while flags are set. */
	while (flight_token(word) == hold->token &&
	    flight_state(word) == FLIGHT_LEAD &&
	    (word & FLIGHT_WAITERS) == 0) {
		done = with_state(word, FLIGHT_DONE);
		if (cas_word(&f->word, word, done)) {
			TESTPOINT("flight_ended_alone");
			end(me, hold->number, done);
			return true;
		}
		word = load_acquire(&f->word);
	}
	return false;
}

/* LEAD of whoever `word` names to ORPHAN, or with no waiters to DONE. */
static bool
orphan(struct member *me, uint32_t number, uint64_t word)
{
	struct flight *f = record(me->seg, number);
	bool awaited = (word & FLIGHT_WAITERS) != 0;
	uint64_t now = with_state(word, awaited ? FLIGHT_ORPHAN : FLIGHT_DONE);

	if (!cas_word(&f->word, word, now))
		return false;
	TESTPOINT("flight_orphaned");
	if (awaited)
		(void)futex_wake_all(futex_half(f));
	else
		end(me, number, now);
	return true;
}

bool
flight_abandon(struct member *me, const struct flight_hold *hold)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t word = load_acquire(&f->word);

	/* Again while flags are set. */
	while (flight_token(word) == hold->token &&
	    flight_state(word) == FLIGHT_LEAD) {
		if (orphan(me, hold->number, word))
			return true;
		word = load_acquire(&f->word);
	}
	return false;
}

bool
flight_extend(struct member *me, const struct flight_hold *hold,
    uint64_t lease_ns)
{
	struct flight *f = record(me->seg, hold->number);
	uint64_t lease = load_relaxed(&f->lease);

	if (!flight_leads(me->seg, hold))
		return false;
	/* A successor's note has another tag; ours must not replace it. */
	(void)cas_word(&f->lease, lease, lease_value(hold->token, lease_ns));
	return flight_leads(me->seg, hold);
}

unsigned
flight_waiters(const struct segment *seg, uint32_t number)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < seg->geo.participant_count; i++) {
		struct participant *p = &seg->participants[i];

		n += load_acquire(&p->wait) == (uint64_t)number + 1 && /* W1 */
		    !is_nobodys(seg, i) &&
		    !life_word_dead(load_acquire(&p->life.futex));
	}
	return n;
}

bool
flight_awaited(const struct segment *seg, uint32_t number)
{
	return (load_acquire(&record(seg, number)->word) & FLIGHT_WAITERS) != 0;
}

void
flight_kick(struct member *me, uint32_t number)
{
	struct flight *f = record(me->seg, number);
	uint64_t word = load_acquire(&f->word); /* W3 */

	/* Again while it changes: each change is progress of its own. */
	while (is_under_way(word)) {
		uint64_t kicks = (word + FLIGHT_KICK_ONE) & FLIGHT_KICK_MASK;

		if (cas_word(&f->word, word,
			(word & ~FLIGHT_KICK_MASK) | kicks)) {
			TESTPOINT("flight_kicked");
			(void)futex_wake_all(futex_half(f));
			return;
		}
		word = load_acquire(&f->word);
	}
}

unsigned
flight_joined(const struct segment *seg, uint32_t number)
{
	return load_relaxed(&record(seg, number)->joined); /* a figure */
}

uint32_t
flight_find(struct member *me, uint64_t hash)
{
	struct same_hash s;
	struct line_query q = query(me->seg, hash, &s);
	_Atomic uint64_t *at;
	uint64_t found = line_find(&q, &at);

	return found == WORD_EMPTY ? NO_FLIGHT :
	    (uint32_t)(found & WORD_PLACE_MASK);
}

/* ------------------------------------------------------- from the outside -- */

/* The flight that a word of the line names, if it is of the hash; or NULL. */
static struct flight *
flight_of(const struct segment *seg, uint64_t seen, uint64_t hash)
{
	uint64_t tag = (hash & ((1u << TAG_BITS) - 1)) << WORD_TAG_SHIFT;
	uint64_t number = seen & WORD_PLACE_MASK;
	struct flight *f;

	if ((seen & WORD_MATCH_MASK) != (WORD_LIVE | tag) ||
	    number >= seg->geo.flight_count)
		return NULL;
	f = record(seg, (uint32_t)number);
	/* Relaxed: line.L1 brings what was noted before. */
	return load_relaxed(&f->hash) == hash ? f : NULL;
}

/* Sets the flags of every flight of the hash that began before that. */
static void
flag_flights(struct member *me, uint64_t hash, uint64_t flags,
    uint64_t before_ns)
{
	struct line *pair = pair_of(me->seg, hash);

	barrier_full(); /* W4 */
	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		uint64_t seen = load_acquire(line_word(pair, i)); /* line.L1 */
		struct flight *f = flight_of(me->seg, seen, hash);

		if (f == NULL || load_relaxed(&f->started_ns) >= before_ns)
			continue;
		set_flags(f, line_use(seen), flags);
		if (is_of_no_use(f, line_use(seen)))
			(void)cas_word(line_word(pair, i), seen, WORD_EMPTY);
		TESTPOINT("flight_superseded");
	}
}

void
flight_note_left(struct member *me, uint64_t hash, uint32_t number,
    uint64_t entry)
{
	struct line *pair = pair_of(me->seg, hash);
	uint64_t ours = load_relaxed(&record(me->seg, number)->started_ns);

	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		uint64_t seen = load_acquire(line_word(pair, i)); /* line.L1 */
		struct flight *f = flight_of(me->seg, seen, hash);

		if (f != NULL && load_relaxed(&f->started_ns) > ours)
			store_relaxed(&f->left, entry); /* W5 */
	}
	TESTPOINT("flight_left_noted");
}

/* What names an entry, in the index or as a result. */
static uint64_t
entry_of(uint64_t word)
{
	return word & ~(WORD_FREQ_MASK | WORD_TAG_MASK);
}

/* It has not been through flight_note_left(), or not wholly: W5. */
static bool
is_leaving(const struct segment *seg, uint64_t seen, uint64_t hash,
    uint64_t before_ns, uint64_t word)
{
	struct flight *f = flight_of(seg, seen, hash);

	return f != NULL &&
	    flight_state(load_acquire(&f->word)) == FLIGHT_RESULT && /* W2 */
	    load_relaxed(&f->started_ns) < before_ns &&
	    load_relaxed(&f->result) == entry_of(word);
}

bool
flight_older_left(struct member *me, uint64_t hash, uint32_t number,
    uint64_t word)
{
	struct line *pair = pair_of(me->seg, hash);
	struct flight *own = record(me->seg, number);

	for (unsigned i = 0; i < PAIR_WORDS; i++)
		if (is_leaving(me->seg, load_acquire(line_word(pair, i)), /* W5 */
			hash, load_relaxed(&own->started_ns), word))
			return true;
	return load_relaxed(&own->left) == entry_of(word); /* W5 */
}

void
flight_supersede(struct member *me, uint64_t hash)
{
	flag_flights(me, hash, FLIGHT_SUPERSEDED | FLIGHT_DETACHED, UINT64_MAX);
}

void
flight_supersede_older(struct member *me, uint64_t hash, uint32_t number)
{
	flag_flights(me, hash, FLIGHT_SUPERSEDED | FLIGHT_DETACHED,
	    load_relaxed(&record(me->seg, number)->started_ns)); /* our own */
}

void
flight_detach(struct member *me, uint64_t hash)
{
	flag_flights(me, hash, FLIGHT_DETACHED, UINT64_MAX);
}

void
flight_detach_this(struct member *me, const struct flight_hold *hold)
{
	set_flags(record(me->seg, hold->number), use_of(hold->token),
	    FLIGHT_DETACHED);
}

bool
flight_repair(struct member *me, uint32_t dead, uint32_t *number)
{
	struct segment *seg = me->seg;

	for (uint32_t i = 0; i < seg->geo.flight_count; i++) {
		struct flight *f = record(seg, i);
		uint64_t word = load_acquire(&f->word); /* W3 */

		/* Again while flags are set; the leader is dead. */
		while (flight_leader(word) == dead) {
			*number = i;
			if (flight_state(word) == FLIGHT_RESULT)
				return true;
			if (flight_state(word) == FLIGHT_CLAIMED)
				drop(me, i, word);
			else if (flight_state(word) != FLIGHT_LEAD ||
			    orphan(me, i, word))
				break;
			word = load_acquire(&f->word);
		}
	}
	return false;
}
