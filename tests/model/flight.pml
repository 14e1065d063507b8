/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model of docs/design.md, "Flights" and the rows of "What a kill leaves" that
 * concern them (libshm/flight.c: flight_enter(), flight_await(),
 * flight_commit(), flight_finish(), flight_cancel(), flight_abandon(),
 * flight_supersede(), flight_repair(); libshm/recover.c; publication as
 * line_set() and line_remove() of libshm/line.c do it).
 *
 * CALLERS callers ask for one key, once each; RECORDS flight records; a flight
 * line of two words.  CHANGE: 0 nobody changes the key, 1 an invalidate, 2 a
 * put.  KILLS kills before any shared write or in a sleep, LEASES leases that
 * run out under a living leader, ABANDONS leads given up, EVICTIONS entries
 * evicted.  A stop is an interleaving.  A reaper works under the life lock and
 * may die too; it may come at once, or only when all callers are gone, so that
 * no sleeper can count on it.  MORTALS says who is killed.
 *
 * A generation (docs/design.md) is a use of the record and a promotion within
 * it; the word in the flight line names the record and its use.
 *
 * Abstracted: the claim in the flight line is one step (line.pml proves it);
 * the index is one word for the key, with a TENT; reading the clock is a free
 * choice; the records' hashes always agree, so that a recycled record is as
 * tempting as can be; the entries' memory is grace.pml's; a leader leads one
 * flight, so all who watch its life sleep on the same flight.
 *
 * A sleeper is woken by: a wake of the flight word; the kernel, which on a
 * death wakes one of those who sleep on the dead one's life word, or who were
 * woken and still are in its queue; the end of the lease it saw; and the
 * back-stop, but that only after somebody whom the kernel had woken died before
 * he had woken the others.
 *
 * Checked
 *   - no two flights that can be joined lead at once; one accepted commit for
 *     each flight, by who took the lead last, and that is what a reaper links;
 *   - without a change: computations <= 1 + promotions + flights that ended
 *     without a result + evictions;
 *   - a waiter takes the entry that was committed in the flight it joined;
 *   - nobody takes its own new flight for another's that it could join;
 *   - after invalidate returned: no entry whose computation began before it
 *     was called is LIVE, and no caller who came later is given one;
 *   - after put returned, without others: its value is what is LIVE;
 *   - at the end of every run: no living caller sleeps, and once the dead are
 *     reaped every record can be claimed and every word in the flight line is
 *     EMPTY, that of an ORPHAN, or one that can be swept.
 *
 * Scenes (tests/model/run searches each to its end; deep ones with --deep)
 *   scene two
 *   scene given-up     -DABANDONS=1
 *   scene stranded     -DABANDONS=1 -DLEASES=0 -DKILLS=0
 *   scene leftover     -DLEFTOVER -DLEASES=0 -DKILLS=0
 *   scene evicted      -DCALLERS=3 -DRECORDS=1 -DEVICTIONS=1 -DLEASES=0 -DKILLS=0
 *   scene leases       -DCALLERS=3 -DRECORDS=1 -DKILLS=0
 *   scene deaths       -DCALLERS=3 -DRECORDS=1 -DLEASES=0 -DKILLS=2 -DMORTALS=3
 *   scene reaper-death -DKILLS=2 -DMORTALS=9
 *   scene put          -DCHANGE=2 -DLEASES=0 -DKILLS=0
 *   scene put-death    -DCHANGE=2 -DRECORDS=1 -DLEASES=0 -DMORTALS=17
 *   scene change       -DCHANGE=1 -DLEASES=0 -DKILLS=0
 *   scene change-death -DCHANGE=1 -DRECORDS=1 -DLEASES=0 -DMORTALS=17
 *   deep deaths-all    -DCALLERS=3 -DRECORDS=1 -DLEASES=0 -DKILLS=2 -DMORTALS=15
 *   deep put-all       -DCHANGE=2
 *   deep change-all    -DCHANGE=1
 *   deep three         -DCALLERS=3 -DLEASES=0
 *   deep three-all     -DCALLERS=3
 *   deep three-deaths  -DCALLERS=3 -DMORTALS=15 -DKILLS=2
 *
 * Mutants: each must fail in the scene it names; pan's complaint has the word
 * (deadlock: somebody sleeps for ever)
 *   BUG_RESULT_STORE          two          committed   the result is stored, not CASed
 *   BUG_UNLISTED_BEFORE_DONE  change-death change_done the flight leaves its line before it is DONE
 *   BUG_PUT_OVERWRITTEN       put          change_done publication replaces a LIVE word that the leader has not seen
 *   BUG_ORPHAN_KEPT           two          word        no claimer takes an ORPHAN that no wait cell names
 *   BUG_JOIN_ANY_USE          leftover     !=r         a joiner does not compare the record's use with the line's
 *   BUG_NO_SECOND_LOOKUP      two          promotions  a leader computes without looking up once more
 *   BUG_COMMIT_STORE          two          holder      LEAD -> RESULT by a store
 *   BUG_SAME_GENERATION       two          holder      a promotion leaves the token as it is
 *   BUG_PROMOTION_DROPS_FLAGS deaths       joined      promotion clears WAITERS, SUPERSEDED, DETACHED
 *   BUG_DONE_STORE            evicted      joined      RESULT -> DONE by a store, with the flags of an earlier look
 *   BUG_RECYCLE_UNSEEN        evicted      joined      a record is claimed without a look at the wait cells
 *   BUG_JOIN_UNCHECKED        two          joined      a waiter does not look at the word again after its fence
 *   BUG_NO_GUARD              change-death change_done publication ignores SUPERSEDED
 *   BUG_NO_DETACH             change-death late        an invalidate does not set DETACHED
 *   BUG_QUIET_WOKEN           deaths       deadlock    who is woken by a death wakes nobody, unless he takes over or finds RESULT
 *   BUG_QUIET_HEIR            deaths       deadlock    nor does he, or who takes over, if it needs a leader
 *   BUG_QUIET_ABANDON         stranded     deadlock    who abandons wakes nobody
 *   BUG_QUIET_DONE            stranded     deadlock    who ends a flight wakes nobody
 *   BUG_REAPER_SPARES_RESULT  two          word        the reaper forgets who died in RESULT
 *   BUG_CLAIMED_SPARED        two          word        the reaper forgets CLAIMED records
 *
 * The model holds without the wakes around a promotion and without the one by
 * who finds RESULT: who was woken by the death wakes everybody, and who leads
 * wakes in the end.  They are for the others' sake if he is stopped there:
 * here he goes on at last.
 */
#ifndef CALLERS
#define CALLERS 2
#endif
#ifndef RECORDS
#define RECORDS 2
#endif
#ifndef CHANGE
#define CHANGE 0
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LEASES
#define LEASES 1
#endif
#ifndef ABANDONS
#define ABANDONS 0
#endif
#ifndef EVICTIONS
#define EVICTIONS 0
#endif
/* 1, 2, 4: callers 0, 1, 2; 8: the reaper; 16: the changer. */
#ifndef MORTALS
#define MORTALS 1
#endif
/*
 * LEFTOVER: at the start a word of record 0's first use stands in the line.
 * Who claimed it for the next use died before he took that away, and the record
 * was freed by a reaper.
 */

#define FREE 0
#define CLAIMED 1
#define LEAD 2
#define RESULT 3
#define DONE 4
#define ORPHAN 5
#define W 1 /* WAITERS */
#define S 2 /* SUPERSEDED */
#define D 4 /* DETACHED */

/* The record's word: state, flags; token: use, promotion, leader's slot. */
#define WORD(state, flags, use, promotion, leader)                             \
	((state) | (flags) << 3 | (use) << 6 | (promotion) << 10 | (leader) << 12)
#define STATE(w) ((w) & 7)
#define FLAGS(w) ((w) >> 3 & 7)
#define TOKEN(w) ((w) >> 6)
#define USE(w) ((w) >> 6 & 15)
#define PROMOTION(w) ((w) >> 10 & 3)
#define LEADER(w) ((w) >> 12 & 7)
#define AGE(w) (USE(w) * 4 + PROMOTION(w)) /* rises from leader to leader */
#define SET(w, flags) ((w) | (flags) << 3)
#define WITH_STATE(w, state) ((w) - STATE(w) + (state))
#define UNDER_WAY(w) (STATE(w) == LEAD || STATE(w) == RESULT || STATE(w) == ORPHAN)

short word[RECORDS];
byte result[RECORDS];	/* an entry, or what tells "none" of one leader from others' */
#define NO_RESULT(w) (8 + AGE(w))

/* The flight line: 0 EMPTY, or a record and its use. */
byte line[2];
#define LISTED(r, use) (1 + (r) + 2 * (use))
#define RECORD(l) (((l) - 1) & 1)
/* Does the line's word l mean the flight that the record's word w shows? */
#ifdef BUG_JOIN_ANY_USE
#define MEANS(l, w) true
#else
#define MEANS(l, w) (((l) - 1) >> 1 == USE(w))
#endif
#define JOINABLE(l, w) (UNDER_WAY(w) && !(FLAGS(w) & D) && MEANS(l, w))
/* Word l of the line is EMPTY or may be swept away. */
#define FREE_PLACE(l)                                                          \
	((l) == 0 || !UNDER_WAY(word[RECORD(l)]) || !MEANS(l, word[RECORD(l)]))
#define HAS_MATCH(l) ((l) != 0 && JOINABLE(l, word[RECORD(l)]))

/* The index: 0 EMPTY, TENT, LIVE entry.  Entry 0 is the put's. */
byte index;
#define TENT(i) (1 + (i))
#define LIVE(e) (16 + (e))

#define ALIVE 0
#define DIED 1
#define HELD 2	/* by a reaper */
#define REAPED 3
#define QUIET(l) ((l) == ALIVE || (l) == REAPED)
byte life[CALLERS];
#if CALLERS > 2
#define THIRD life[2]
#else
#define THIRD ALIVE
#endif
byte wait[CALLERS];	/* wait cell: 0, or 1 + record */

/* The kernel's side of FUTEX_WAITV. */
#define AWAKE 0
#define ASLEEP 1
#define WOKEN 2	/* and still queued on both words */
byte asleep[CALLERS];
bit owes[CALLERS], backstop;
byte on_record[CALLERS], on_leader[CALLERS], on_age[CALLERS];
byte expired[RECORDS];	/* 1 + the age of the last leader whose lease is over */

byte kills = KILLS, leases = LEASES, abandons = ABANDONS, evictions = EVICTIONS;

/* Ghosts. */
byte running;
byte flight[RECORDS];	/* which flight the record is */
byte holder[RECORDS];	/* who took the lead last */
byte flights, entries, promotions, ended;
byte of_flight[8];	/* by entry */
byte committed[8];	/* by flight: the entry accepted */
bit before[8];		/* by entry: its computation began before the invalidate */
bit change_begun, change_done;

#if CHANGE == 1
#define CHECK_INDEX                                                            \
	assert(!(change_done && index >= LIVE(0) && before[index - LIVE(0)]))
#define CHECK_SERVED(e) assert(!(late && before[e]))
#elif CHANGE == 2
#define CHECK_INDEX assert(!change_done || index == LIVE(0))
#define CHECK_SERVED(e) assert(!late || (e) == 0)
#else
#define CHECK_INDEX skip
#define CHECK_SERVED(e) skip
#endif

#define KILLED kills > 0 && mortal -> kills--; goto killed

inline cas_word(r, old, new)
{
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: word[r] == old -> word[r] = new; ok = 1
			:: else -> ok = 0
			fi
		fi
	}
}

/* The end of a flight without a result. */
inline cas_end(r, old, new)
{
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: word[r] == old -> word[r] = new; ended++; ok = 1
			:: else -> ok = 0
			fi
		fi
	}
}

inline cas_index(old, new)
{
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: index == old -> index = new; ok = 1; CHECK_INDEX
			:: else -> ok = 0
			fi
		fi
	}
}

/* FUTEX_WAKE of all who sleep on the flight's word, or on the life word of l. */
inline wake_all(r, l)
{
	atomic {
		if
		:: KILLED
		:: true ->
			k = 0;
			do
			:: k < CALLERS ->
				if
				:: asleep[k] && (on_record[k] == r || on_leader[k] == l) -> asleep[k] = WOKEN
				:: else
				fi;
				k++
			:: k == CALLERS -> k = 0; break
			od
		fi
	}
}
#define NOBODY 7
#define wake_flight(r) wake_all(r, NOBODY)

/* Takes the flight of this use of record r out of its line. */
inline unlist(r, use)
{
	atomic {
		if
		:: KILLED
		:: line[0] == LISTED(r, use) -> line[0] = 0
		:: line[1] == LISTED(r, use) -> line[1] = 0
		:: else
		fi
	}
}

/* x is the word of a flight that is DONE: wake, out of the line, free if nobody joined. */
inline end_flight(r)
{
#ifndef BUG_QUIET_DONE
	if
	:: FLAGS(x) & W -> wake_flight(r)
	:: else
	fi;
#endif
#ifndef BUG_UNLISTED_BEFORE_DONE
	unlist(r, USE(x));
#endif
	if
	:: !(FLAGS(x) & W) -> cas_word(r, x, WORD(FREE, 0, USE(x), 0, 0))
	:: else
	fi;
	x = 0
}

/* A FREE record, or one that is over and that no wait cell names, CLAIMED by me. */
inline try_claim(r)
{
	x = word[r];
	k = CALLERS;
	if
	:: STATE(x) == FREE
#ifdef BUG_ORPHAN_KEPT
	:: STATE(x) == DONE ->
#else
	:: STATE(x) == DONE || STATE(x) == ORPHAN ->
#endif
#ifndef BUG_RECYCLE_UNSEEN
		k = 0;
		do
		:: k < CALLERS && wait[k] == 1 + r -> break
		:: k < CALLERS && wait[k] != 1 + r -> k++
		:: k == CALLERS -> break
		od
#else
		skip
#endif
	:: else -> k = 0
	fi;
	ok = 0;
	if
	:: k == CALLERS ->
		w = WORD(CLAIMED, 0, USE(x) + 1, 0, me);
		if
		:: STATE(x) == ORPHAN -> cas_end(r, x, w)
		:: else -> cas_word(r, x, w)
		fi;
		if
		:: ok && STATE(x) != FREE -> unlist(r, USE(x))
		:: else
		fi
	:: else
	fi;
	k = 0; x = 0
}

/* Publication of entry e of the flight in record r; `me` makes the TENT unique. */
inline link(r, e, me)
{
	do
	:: v = index;
		if
		:: v == LIVE(e) -> break
		:: v >= LIVE(0) && v != LIVE(e) ->
#ifdef BUG_PUT_OVERWRITTEN
			if
			:: FLAGS(word[r]) & S -> break
			:: else
			fi;
			cas_index(v, LIVE(e));
			if
			:: ok -> break
			:: else
			fi
#else
			break	/* came after our second look: it is newer */
#endif
		:: v != 0 && v < LIVE(0) -> cas_index(v, 0)
		:: v == 0 ->
			cas_index(0, TENT(me));
			if
			:: ok ->
#ifndef BUG_NO_GUARD
				if
				:: FLAGS(word[r]) & S -> cas_index(TENT(me), 0); break
				:: else
				fi;
#endif
				cas_index(TENT(me), LIVE(e));
				if
				:: ok -> break
				:: else
				fi
			:: else
			fi
		fi
	od;
	v = 0
}

/* RESULT -> DONE; then wake, and out of the line. */
inline finish(r)
{
#ifdef BUG_UNLISTED_BEFORE_DONE
	x = word[r];
	unlist(r, USE(x));
#endif
#ifdef BUG_DONE_STORE
	x = word[r];
	atomic { if :: KILLED :: true -> x = WITH_STATE(x, DONE); word[r] = x fi };
#else
	do
	:: x = word[r];
		assert(STATE(x) == RESULT);
		cas_word(r, x, WITH_STATE(x, DONE));
		if
		:: ok -> x = WITH_STATE(x, DONE); break
		:: else
		fi
	od;
#endif
	end_flight(r)
}

/* LEAD with this token given up: ORPHAN or, with no waiter, DONE without result. */
inline give_up(r, token)
{
	do
	:: x = word[r];
		if
		:: STATE(x) != LEAD || TOKEN(x) != token -> break
		:: else
		fi;
		if
		:: FLAGS(x) & W ->
			cas_word(r, x, WITH_STATE(x, ORPHAN));
			if
			:: ok ->
#ifndef BUG_QUIET_ABANDON
				wake_flight(r);
#endif
				break
			:: else
			fi
		:: else ->
			cas_end(r, x, WITH_STATE(x, DONE));
			if
			:: ok -> x = WITH_STATE(x, DONE); end_flight(r); break
			:: else
			fi
		fi
	od;
	x = 0
}

/* The result becomes `new`, by CAS from a value read while we led; not ok: FENCED. */
inline note_result(r, token, new)
{
#ifdef BUG_RESULT_STORE
	atomic { if :: KILLED :: true -> result[r] = new; ok = 1 fi };
#else
	do
	:: v = result[r];
		x = word[r];
		if
		:: STATE(x) != LEAD || TOKEN(x) != token -> ok = 0; break
		:: else
		fi;
		atomic {
			if
			:: KILLED
			:: result[r] == v -> result[r] = new; ok = 1
			:: else -> ok = 0
			fi
		};
		if
		:: ok -> break
		:: else
		fi
	od;
#endif
	v = 0; x = 0
}

/* LEAD with this token to RESULT (accepting e) or DONE; not ok: FENCED. */
inline end_lead(r, token, state, e)
{
	do
	:: x = word[r];
		if
		:: STATE(x) != LEAD || TOKEN(x) != token -> ok = 0; break
		:: else
		fi;
		atomic {
			if
			:: KILLED
#ifdef BUG_COMMIT_STORE
			:: true ->
#else
			:: word[r] != x -> ok = 0
			:: word[r] == x ->
#endif
				assert(holder[r] == me);
				word[r] = WITH_STATE(x, state);
				if
				:: state == RESULT ->
					assert(committed[flight[r]] == 0);
					committed[flight[r]] = e
				:: else -> ended++
				fi;
				x = WITH_STATE(x, state);
				ok = 1
			fi
		};
		if
		:: ok -> break
		:: else
		fi
	od
}

#ifdef BUG_PROMOTION_DROPS_FLAGS
#define KEPT(w) 0
#else
#define KEPT(w) FLAGS(w)
#endif
#ifdef BUG_SAME_GENERATION
#define PROMOTED(w, me) WORD(LEAD, KEPT(w), USE(w), PROMOTION(w), LEADER(w))
#else
#define PROMOTED(w, me) WORD(LEAD, KEPT(w), USE(w), PROMOTION(w) + 1, me)
#endif

#define FORGET                                                                 \
	w = 0; x = 0; t = 0; r = 0; e = 0; v = 0; k = 0; joined = 0; ok = 0

/* Whether who was woken by a death wakes the others when he finds w. */
#ifdef BUG_QUIET_WOKEN
#define HELPS(w) false
#elif defined(BUG_QUIET_HEIR)
#define HELPS(w) (STATE(w) == RESULT || STATE(w) == DONE)
#else
#define HELPS(w) true
#endif

/* Off both words' queues. */
#define NO_SLEEPER                                                             \
	atomic { asleep[me] = AWAKE; on_record[me] = 0; on_leader[me] = 0; on_age[me] = 0 }

proctype caller(byte me; bit mortal)
{
	short w, x, t;	/* t: the token of our lead, or of what we joined */
	byte r, e, v, k, joined;
	bit ok, late;

	late = change_done;
lookup:
	atomic { FORGET };
	atomic {
		if
		:: index >= LIVE(0) -> e = index - LIVE(0); goto served
		:: else
		fi
	};
	/* Is there a flight to join? */
	do
	:: k < 2 ->
		v = line[k];
		if
		:: v != 0 ->
			r = RECORD(v);
			w = word[r];
			if
			:: JOINABLE(v, w) -> goto join
			:: else
			fi
		:: else
		fi;
		k++
	:: k == 2 -> break
	od;
	/* No: claim a record. */
	atomic { k = 0; v = 0; w = 0; r = 0 };
	try_claim(0);
#if RECORDS > 1
	if
	:: !ok -> r = 1; try_claim(1)
	:: else
	fi;
#endif
	if
	:: !ok -> goto done /* BUSY */
	:: else
	fi;
	atomic {
		if
		:: KILLED
		:: true ->
			flights++; flight[r] = flights;
			w = WITH_STATE(w, LEAD);
			result[r] = NO_RESULT(w);
			holder[r] = me
		fi
	};
	atomic { if :: KILLED :: true -> word[r] = w fi };
	/* line_set() into the flight line: one step here. */
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: HAS_MATCH(line[0]) -> ok = 0; v = line[0]
			:: !HAS_MATCH(line[0]) && HAS_MATCH(line[1]) -> ok = 0; v = line[1]
			:: else ->
				if
				:: FREE_PLACE(line[0]) -> line[0] = LISTED(r, USE(w))
				:: !FREE_PLACE(line[0]) && FREE_PLACE(line[1]) ->
					line[1] = LISTED(r, USE(w))
				:: else -> ok = 0; v = 0
				fi
			fi;
			assert(ok || v == 0 || RECORD(v) != r) /* or it were found for ever */
		fi
	};
	if
	:: !ok ->
		cas_word(r, w, WORD(FREE, 0, USE(w), 0, 0));
		assert(ok);
		if
		:: v != 0 -> r = RECORD(v); goto join
		:: else -> goto done /* BUSY */
		fi
	:: else
	fi;
	t = TOKEN(w);

lead:	/* record r, token t */
	w = 0;
#ifndef BUG_NO_SECOND_LOOKUP
	v = index;
	if
	:: v >= LIVE(0) -> /* cancel: "look again" */
		e = v - LIVE(0);
		note_result(r, t, (8 + (t & 15) * 4 + (t >> 4 & 3)));
		if
		:: ok -> end_lead(r, t, DONE, 0)
		:: else
		fi;
		if
		:: ok -> end_flight(r)
		:: else
		fi;
		goto served
	:: else -> v = 0
	fi;
#endif
	atomic {	/* compute */
		entries++;
		e = entries;
		of_flight[e] = flight[r];
		before[e] = !change_begun;
#if CHANGE == 0
		assert(entries <= 1 + promotions + ended + EVICTIONS - evictions);
#endif
		/* A flight that others can join leads alone. */
		assert(!(line[0] != 0 && line[1] != 0 && HAS_MATCH(line[0]) && HAS_MATCH(line[1])))
	};
	if
	:: abandons > 0 -> abandons--; give_up(r, t); goto done
	:: true
	fi;
	/* Commit. */
	note_result(r, t, e);
	if
	:: !ok -> goto done /* FENCED */
	:: else
	fi;
	end_lead(r, t, RESULT, e);
	if
	:: !ok -> goto done /* FENCED */
	:: else
	fi;
	/* Publish, end. */
	atomic { x = 0; t = 0 };
	link(r, e, me);
	finish(r);
	goto served;

join:	/* the flight that word v of the line means */
	atomic { k = 0; w = 0; if :: KILLED :: true -> wait[me] = 1 + r fi };
	do
	:: atomic { x = word[r]; joined = flight[r]; t = TOKEN(x) };
#ifdef BUG_JOIN_UNCHECKED
		break;
#endif
		if
		:: !JOINABLE(v, x) -> /* no longer that flight */
			atomic { if :: KILLED :: true -> wait[me] = 0 fi };
			goto lookup
		:: else
		fi;
		if
		:: FLAGS(x) & W -> break
		:: else -> cas_word(r, x, SET(x, W));
			if
			:: ok -> break
			:: else
			fi
		fi
	od;
	atomic { t = t & 15; x = 0; v = 0 }; /* the use that we joined */

waiting:
	w = word[r];
	if
	:: USE(w) != t || !UNDER_WAY(w) && STATE(w) != DONE -> /* GONE */
		atomic { if :: KILLED :: true -> wait[me] = 0 fi };
		goto lookup
	:: else
	fi;
	if
	:: STATE(w) == RESULT || STATE(w) == DONE ->
		if
		:: STATE(w) == RESULT -> v = LEADER(w); wake_all(r, v)
		:: else
		fi;
		v = result[r];
		if
		:: v >= 8 -> /* none: look again */
			atomic { if :: KILLED :: true -> wait[me] = 0 fi };
			goto lookup
		:: else
		fi;
		e = v;
		assert(of_flight[e] == joined && committed[joined] == e);
		/* pins the block, then */
		atomic { if :: KILLED :: true -> wait[me] = 0 fi };
		goto served
	:: STATE(w) == ORPHAN -> v = LEADER(w); goto take_over
	:: STATE(w) == LEAD ->
		v = LEADER(w);
		if
		:: life[v] != ALIVE -> goto take_over
		:: life[v] == ALIVE && expired[r] > AGE(w) -> goto take_over
		:: atomic { life[v] == ALIVE && leases > 0 && expired[r] <= AGE(w) ->
			leases--; expired[r] = 1 + AGE(w) };
			goto take_over
		:: life[v] == ALIVE && expired[r] <= AGE(w)
		fi;
		/* FUTEX_WAITV {flight word, leader's life word} */
		atomic {
			if
			:: word[r] == w && life[v] == ALIVE ->
				asleep[me] = ASLEEP;
				on_record[me] = r; on_leader[me] = v; on_age[me] = AGE(w)
			:: else
			fi;
			w = 0
		};
		do
		:: atomic { asleep[me] != ASLEEP -> break }
		:: atomic { asleep[me] == ASLEEP && KILLED }
		:: atomic { asleep[me] == ASLEEP && backstop -> asleep[me] = WOKEN; break }
		:: atomic { asleep[me] == ASLEEP && expired[r] > on_age[me] ->
			asleep[me] = WOKEN; break }
		:: atomic { asleep[me] == ASLEEP && leases > 0 && expired[r] <= on_age[me] ->
			leases--; expired[r] = 1 + on_age[me]; asleep[me] = WOKEN; break }
		od;
		NO_SLEEPER;
		if /* perhaps the kernel woke nobody else */
		:: life[v] != ALIVE && HELPS(word[r]) -> wake_all(r, v)
		:: else
		fi;
		atomic { owes[me] = 0; v = 0 };
		goto waiting
	fi;

take_over: /* the flight that w shows; v its leader */
#ifndef BUG_QUIET_HEIR
	wake_all(r, v);
#endif
	v = 0;
	atomic {
		if
		:: KILLED
		:: word[r] != w -> ok = 0
		:: word[r] == w ->
			w = PROMOTED(w, me);
			word[r] = w;
			ok = 1;
			holder[r] = me;
			promotions++
		fi
	};
	if
	:: ok -> t = TOKEN(w)
	:: else -> w = 0; goto waiting
	fi;
	atomic { if :: KILLED :: true -> wait[me] = 0 fi };
#ifndef BUG_QUIET_HEIR
	wake_flight(r); /* they are to watch our life from now on */
#endif
	joined = 0;
	goto lead;

served:
	CHECK_SERVED(e);
done:
	atomic { FORGET; late = 0; running--; goto out };
killed:
	/* The kernel: OWNER_DIED, and one of those who sleep on the word wakes. */
	atomic {
		life[me] = DIED;
		if
		:: owes[me] -> backstop = 1; owes[me] = 0
		:: else
		fi;
		NO_SLEEPER;
		if
		:: asleep[0] && on_leader[0] == me -> asleep[0] = WOKEN; owes[0] = 1
		:: asleep[1] && on_leader[1] == me -> asleep[1] = WOKEN; owes[1] = 1
#if CALLERS > 2
		:: asleep[2] && on_leader[2] == me -> asleep[2] = WOKEN; owes[2] = 1
#endif
		:: else
		fi;
		FORGET; late = 0;
		running--
	};
out:	skip
}

/* The reaper of a dead slot, under its life lock, from the start each time. */
proctype reaper(bit mortal)
{
	short w, x;
	byte d, r, v, k, e;
	bit ok;

	running == 0 || life[0] == DIED || life[1] == DIED || THIRD == DIED;
	if
	:: true
	:: running == 0 /* nobody stumbles over the dead before */
	fi;
start:
	atomic { w = 0; x = 0; d = 0; r = 0; v = 0; k = 0; e = 0; ok = 0 };
	if
	:: atomic { life[0] == DIED -> d = 0; life[0] = HELD }
	:: atomic { life[1] == DIED -> d = 1; life[1] = HELD }
#if CALLERS > 2
	:: atomic { life[2] == DIED -> d = 2; life[2] = HELD }
#endif
	:: atomic { running == 0 && life[0] != DIED && life[1] != DIED && THIRD != DIED -> goto out }
	fi;
	atomic { if :: KILLED :: true -> wait[d] = 0 fi };
	do
	:: r < RECORDS ->
		w = word[r];
		if
		:: STATE(w) == CLAIMED && LEADER(w) == d ->
#ifndef BUG_CLAIMED_SPARED
			cas_word(r, w, WORD(FREE, 0, USE(w), 0, 0))
#else
			skip
#endif
		:: STATE(w) == LEAD && LEADER(w) == d -> give_up(r, TOKEN(w))
		:: STATE(w) == RESULT && LEADER(w) == d ->
#ifndef BUG_REAPER_SPARES_RESULT
			e = result[r];
			assert(committed[flight[r]] == e);
			link(r, e, 5);
			finish(r)
#else
			skip
#endif
		:: else
		fi;
		atomic { w = 0; e = 0; r++ }
	:: r == RECORDS -> break
	od;
	life[d] = REAPED;
	goto start;
killed:
	life[d] = DIED;
	goto start;
out:	skip
}

#if CHANGE > 0
/* invalidate, put: mark the flights, then change the index. */
proctype changer(bit mortal)
{
	short w;
	byte j, r, v;
	bit ok;

	change_begun = 1;
	do
	:: j < 2 ->
		v = line[j];
		if
		:: v != 0 ->
			r = RECORD(v);
			do
			:: w = word[r];
				if
				:: UNDER_WAY(w) && MEANS(v, w) ->
#if CHANGE == 1 && !defined(BUG_NO_DETACH)
					cas_word(r, w, SET(w, S | D));
#else
					cas_word(r, w, SET(w, S));
#endif
					if
					:: ok -> break
					:: else
					fi
				:: else -> break
				fi
			od
		:: else
		fi;
		atomic { w = 0; r = 0; v = 0; j++ }
	:: j == 2 -> j = 0; break
	od;
	do
	:: v = index;
#if CHANGE == 1
		if
		:: v == 0 -> break
		:: else
		fi;
		cas_index(v, 0);
		if
		:: ok -> break
		:: else
		fi
#else
		if
		:: v >= LIVE(0) -> /* replace */
			cas_index(v, LIVE(0));
			if
			:: ok -> break
			:: else
			fi
		:: v != 0 && v < LIVE(0) -> cas_index(v, 0)
		:: v == 0 ->
			cas_index(0, TENT(7));
			if
			:: ok -> cas_index(TENT(7), LIVE(0));
				if
				:: ok -> break
				:: else
				fi
			:: else
			fi
		fi
#endif
	od;
	atomic { change_done = 1; CHECK_INDEX };
killed:
	atomic { running--; w = 0; j = 0; r = 0; v = 0; ok = 0 }
}
#endif

#if EVICTIONS > 0
/* Takes LIVE words away whenever it likes, and marks nothing. */
proctype evictor()
{
end:	do
	:: atomic { evictions > 0 && index >= LIVE(0) -> evictions--; index = 0 }
	od
}
#endif

#ifdef BUG_ORPHAN_KEPT
#define CLAIMABLE(w) (STATE(w) == FREE || STATE(w) == DONE)
#else
#define CLAIMABLE(w) (STATE(w) == FREE || STATE(w) == DONE || STATE(w) == ORPHAN)
#endif
#define LEFT(l) (FREE_PLACE(l) || STATE(word[RECORD(l)]) == ORPHAN)

/* Starts everybody; at the end looks at what is left. */
init {
	atomic {
#ifdef LEFTOVER
		word[0] = WORD(FREE, 0, 2, 0, 0);
		line[0] = LISTED(0, 1);
#endif
		running = CALLERS + (CHANGE > 0);
		run caller(0, MORTALS & 1);
		run caller(1, MORTALS >> 1 & 1);
#if CALLERS > 2
		run caller(2, MORTALS >> 2 & 1);
#endif
#if CHANGE > 0
		run changer(MORTALS >> 4 & 1);
#endif
#if EVICTIONS > 0
		run evictor();
#endif
		run reaper(MORTALS >> 3 & 1)
	};
	atomic {
		running == 0 && QUIET(life[0]) && QUIET(life[1]) && QUIET(THIRD) ->
		assert(CLAIMABLE(word[0]));
#if RECORDS > 1
		assert(CLAIMABLE(word[1]));
#endif
		assert(wait[0] == 0 && wait[1] == 0);
		assert(LEFT(line[0]) && LEFT(line[1]))
	}
}
