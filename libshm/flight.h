/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One computation in progress for one key: who leads, who waits, what came out.
 *
 * A flight is found by the 64-bit hash of its key.  Two keys of one hash share
 * a flight, which costs the second a wait and never a wrong value: the result
 * is an entry, and who takes it compares the key.
 */
#ifndef LIBSHM_FLIGHT_H
#define LIBSHM_FLIGHT_H

#include "line.h"

/* A leader's or waiter's hold on a flight. */
struct flight_hold {
	uint32_t number; /* of the record */
	uint64_t token;	 /* its word, without state and flags */
	unsigned rank;	 /* of who has joined, from 1; else 0 */
	bool late;	 /* of a waiter: there was a result already */
	uint64_t kicks;	 /* of a waiter: as they were when it joined */
};

static inline enum flight_state
flight_state(uint64_t word)
{
	return (enum flight_state)(word & FLIGHT_STATE_MASK);
}

static inline uint64_t
flight_token(uint64_t word)
{
	return word & ~(FLIGHT_STATE_MASK | FLIGHT_FLAGS);
}

static inline uint32_t
flight_leader(uint64_t word)
{
	return (uint32_t)((word & FLIGHT_SLOT_MASK) >> FLIGHT_SLOT_SHIFT);
}

enum flight_entry {
	FLIGHT_LEADS,	 /* ours: look the key up once more, then compute */
	FLIGHT_INHERITS, /* the same, after a leader that fell */
	FLIGHT_JOINS,	 /* another's: flight_await(), then flight_leave() */
	FLIGHT_TAKEN,	 /* another's, and we were not to wait for it */
	FLIGHT_AGAIN,	 /* it ended meanwhile: look the key up again */
	FLIGHT_FULL,	 /* no free record */
};

/*
 * Leads a new flight of the hash, or joins the one there is.  Without may_wait
 * it joins only what has a result, and leads on what has no leader any more;
 * what is led it leaves alone, down to the last bit.  Lock-free.
 */
enum flight_entry flight_enter(struct member *me, uint64_t hash,
    uint64_t lease_ns, bool may_wait, struct flight_hold *hold);

enum flight_event {
	FLIGHT_SERVED,	 /* RESULT or DONE: flight_result() */
	FLIGHT_PROMOTED, /* we lead now; no longer joined */
	FLIGHT_GONE,	 /* look again, there is something new; no longer joined */
	FLIGHT_LATE,	 /* the deadline passed; still joined */
	FLIGHT_CYCLE,	 /* sleeping would deadlock; still joined */
};

/*
 * Sleeps until the flight has a result, or needs a leader and we are it.
 * Blocks at most until deadline_ns.  Killed: nobody notices.
 */
enum flight_event flight_await(struct member *me, struct flight_hold *hold,
    uint64_t deadline_ns, uint64_t lease_ns);

/* Ends a join. */
void flight_leave(struct member *me);

/*
 * After FLIGHT_SERVED, while joined: the entry that came out as a LIVE word,
 * in *superseded whether it is outdated; 0: none, look the key up again.
 */
uint64_t flight_result(const struct member *me,
    const struct flight_hold *hold, bool *superseded);

/*
 * The leader's endings.  False: refused, another leads now; nothing changed.
 *
 * flight_commit() makes the entry, in the caller's OPEN block, the result:
 * from here on it cannot be refused.  Then link it in the index with the
 * guard of flight_guard(), then flight_finish().
 * flight_cancel() ends without a result but "look again".
 * flight_end_alone() ends without a result if nobody ever joined; false also if
 * somebody did.
 * flight_abandon() lets a waiter lead, or frees the flight.
 */
bool flight_commit(struct member *me, const struct flight_hold *hold,
    uint64_t entry);
bool flight_cancel(struct member *me, const struct flight_hold *hold);
bool flight_end_alone(struct member *me, const struct flight_hold *hold);
bool flight_abandon(struct member *me, const struct flight_hold *hold);

/*
 * What the key's index word was when the leader began: a result replaces that,
 * or nothing, and never what came in between.
 */
void flight_note_seen(struct member *me, const struct flight_hold *hold,
    uint64_t word);
uint64_t flight_seen(const struct segment *seg, uint32_t number);

/*
 * Of two flights of a key, one of them detached, the newer is to be stored.
 * flight_note_left() tells the newer ones, before flight_finish(), what this one
 * has linked; flight_older_left() whether an index word is what an older one has.
 */
void flight_note_left(struct member *me, uint64_t hash, uint32_t number,
    uint64_t entry);
bool flight_older_left(struct member *me, uint64_t hash, uint32_t number,
    uint64_t word);

/* Holds as long as the committed flight is not superseded. */
struct line_guard flight_guard(const struct segment *seg,
    const struct flight_hold *hold);

/* RESULT: takes the flight out of its line and wakes everybody. */
void flight_finish(struct member *me, uint32_t number);

/* Whether the hold's leader still leads. */
bool flight_leads(const struct segment *seg, const struct flight_hold *hold);

/* Runs the lease anew.  False: another leads now. */
bool flight_extend(struct member *me, const struct flight_hold *hold,
    uint64_t lease_ns);

/* How many wait for the flight now. */
unsigned flight_waiters(const struct segment *seg, uint32_t number);

/*
 * Sends away whoever waits for the flight: each finds FLIGHT_GONE.  Call it
 * after what they are to find when they look again.
 */
void flight_kick(struct member *me, uint32_t number);

/* Somebody may wait for the flight: flight_waiters() tells. */
bool flight_awaited(const struct segment *seg, uint32_t number);

/* How many have ever joined this flight. */
unsigned flight_joined(const struct segment *seg, uint32_t number);

/* The number of the flight that one would join for this hash, or NO_FLIGHT. */
uint32_t flight_find(struct member *me, uint64_t hash);

/*
 * Before the index changes: what is in flight for this hash is outdated and
 * will not be stored; nobody joins it any more.
 */
void flight_supersede(struct member *me, uint64_t hash);

/* The same for the flights of the hash that began before this one of ours. */
void flight_supersede_older(struct member *me, uint64_t hash,
    uint32_t number);

/* Nobody joins what is in flight for this hash any more. */
void flight_detach(struct member *me, uint64_t hash);

/* Nobody joins the flight that we have joined any more. */
void flight_detach_this(struct member *me, const struct flight_hold *hold);

/*
 * For reapers holding the dead slot's lock: gives up what it led or claimed.
 * True: *number is a flight that it left in RESULT; link its entry, finish it
 * and ask again.
 */
bool flight_repair(struct member *me, uint32_t dead, uint32_t *number);

#endif
