/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model of docs/design.md, "Flights" and the rows of "What a kill leaves" that
 * concern them (libshm/flight.c: flight_begin(), flight_join(),
 * flight_commit(), flight_abandon(), flight_collect(); libshm/recover.c: the
 * reaper; publication as line_set() and line_remove() of libshm/line.c do it).
 *
 * CALLERS callers ask for one key, once each; RECORDS flight records; a flight
 * line of two words.  CHANGE: 0 nobody changes the key, 1 an invalidate, 2 a
 * put.  A reaper under the life lock; it may die too.  KILLS kills before any
 * shared write, LEASES leases that run out under a living leader, ABANDONS
 * leads given up.  A stop is an interleaving.
 *
 * Abstracted: the claim in the flight line is one step (line.pml proves it);
 * the index is one word for the key, with a TENT; reading the clock is a free
 * choice; the records' hashes always agree, so that a recycled record is as
 * tempting as can be; the entries' memory is grace.pml's.
 *
 * A sleeper is woken by: a wake of the flight word; the kernel, which on a
 * death wakes one of those who sleep on the dead one's life word; the end of
 * the lease it saw; and the back-stop, but that only after somebody whom the
 * kernel had woken died before he had woken the others.
 *
 * Checked
 *   - one leader for each generation of a flight, by the CAS; no two flights
 *     that can be joined lead at once; one accepted commit for each flight;
 *   - without a change: computations <= 1 + promotions + flights that ended
 *     without a result;
 *   - a waiter takes the entry that was committed in the flight it joined;
 *   - after invalidate returned: no entry whose computation began before it
 *     was called is LIVE, and no caller who came later is given one;
 *   - after put returned, without others: its value is what is LIVE;
 *   - at the end of every run: no living caller sleeps, and once the dead are
 *     reaped every record can be made FREE and the flight line is empty.
 *
 * Mutants (each must fail).  The first five are the design as it was first
 * written; README.md gives the interleavings.
 *   BUG_RESULT_STORE        the result is stored, not CASed with its generation
 *   BUG_UNLISTED_BEFORE_DONE  the flight leaves its line before it is DONE
 *   BUG_PUT_OVERWRITTEN     publication replaces a LIVE word that the leader has not seen
 *   BUG_ORPHAN_KEPT         nobody ends an ORPHAN that no wait cell names
 *   BUG_LISTED_BY_RECORD    the word in the flight line holds no generation
 *   BUG_JOIN_ANY_BIRTH      a joiner does not compare the generations at birth
 *   BUG_NO_SECOND_LOOKUP    a leader computes without looking up once more
 *   BUG_COMMIT_STORE        LEAD -> RESULT by a store
 *   BUG_SAME_GENERATION     promotion keeps the generation
 *   BUG_PROMOTION_DROPS_FLAGS  promotion clears WAITERS, SUPERSEDED, DETACHED
 *   BUG_DONE_STORE          RESULT -> DONE by a store, flags of the last look
 *   BUG_ORPHAN_ONE_LOOK     who ends an ORPHAN frees it without a second look at the cells
 *   BUG_RECYCLE_UNSEEN      a record is FREE without a look at the wait cells
 *   BUG_JOIN_UNCHECKED      a waiter does not look at the word after its fence
 *   BUG_NO_GUARD            publication ignores SUPERSEDED
 *   BUG_NO_DETACH           an invalidate does not set DETACHED
 *   BUG_QUIET_WOKEN         who is woken by a death does not wake the others
 *   BUG_QUIET_ABANDON       who abandons wakes nobody
 *   BUG_QUIET_DONE          who ends a flight wakes nobody
 *   BUG_REAPER_DROPS_RESULT  the reaper does not link for who died in RESULT
 *   BUG_CLAIMED_SPARED      the reaper forgets CLAIMED records
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

#ifndef MORTALS /* 1: caller 0; 2: all callers and the reaper; 3: the changer too */
#define MORTALS 1
#endif

#define FREE 0
#define CLAIMED 1
#define LEAD 2
#define RESULT 3
#define DONE 4
#define ORPHAN 5
#define W 1 /* WAITERS */
#define S 2 /* SUPERSEDED */
#define D 4 /* DETACHED */

/* The record's word: state, flags, generation, leader's slot. */
#define WORD(state, flags, gen, owner)                                         \
	((state) | (flags) << 3 | (gen) << 6 | (owner) << 10)
#define STATE(w) ((w) & 7)
#define FLAGS(w) ((w) >> 3 & 7)
#define GEN(w) ((w) >> 6 & 15)
#define OWNER(w) ((w) >> 10 & 7)
#define SET(w, flags) ((w) | (flags) << 3)
#define JOINABLE(w)                                                            \
	((STATE(w) == LEAD || STATE(w) == RESULT || STATE(w) == ORPHAN) &&     \
	    !(FLAGS(w) & D))

short word[RECORDS];
byte result[RECORDS];	/* generation << 3 | entry */
byte birth[RECORDS];	/* the generation it was claimed with */

/* The flight line: 0 EMPTY, or the record and its generation at birth. */
byte line[2];
#ifdef BUG_LISTED_BY_RECORD
#define LISTED(r, born) (1 + (r))
#else
#define LISTED(r, born) (1 + (r) + 2 * (born))
#endif
#define RECORD(l) (((l) - 1) & 1)
/* Does the line's word l mean the flight that its record is now? */
#ifdef BUG_JOIN_ANY_BIRTH
#define MEANS(l) true
#else
#define MEANS(l) ((l) == LISTED(RECORD(l), birth[RECORD(l)]))
#endif

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
bit asleep[CALLERS], owes[CALLERS], backstop;
byte on_record[CALLERS], on_leader[CALLERS], on_gen[CALLERS];
byte expired[RECORDS];	/* 1 + the last generation whose lease is over */

byte kills = KILLS, leases = LEASES, abandons = ABANDONS;

/* Ghosts. */
byte running;
byte flight[RECORDS];	/* which flight the record is */
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

/* FUTEX_WAKE of everybody on the flight's word. */
inline wake_flight(r)
{
	atomic {
		if
		:: KILLED
		:: true ->
			k = 0;
			do
			:: k < CALLERS ->
				if
				:: asleep[k] && on_record[k] == r -> asleep[k] = 0
				:: else
				fi;
				k++
			:: k == CALLERS -> k = 0; break
			od
		fi
	}
}

/* Takes the flight born with `born` in record r out of its line. */
inline unlist(r, born)
{
	atomic { if :: KILLED :: line[0] == LISTED(r, born) -> line[0] = 0 :: else fi };
	atomic { if :: KILLED :: line[1] == LISTED(r, born) -> line[1] = 0 :: else fi }
}

/* k = CALLERS if the wait cells may be ignored or none names record r. */
inline look_at_cells(r)
{
	k = 0;
	if
#ifndef BUG_RECYCLE_UNSEEN
	:: FLAGS(x) & W ->
		do
		:: k < CALLERS && wait[k] == 1 + r -> break
		:: k < CALLERS && wait[k] != 1 + r -> k++
		:: k == CALLERS -> break
		od
#endif
	:: else -> k = CALLERS
	fi
}

/*
 * DONE -> FREE, and the end of an ORPHAN that nobody waits for.  The look that
 * frees the record comes after it is DONE: an ORPHAN with WAITERS set can still
 * be joined without a CAS.
 */
inline collect(r)
{
	x = word[r];
#ifndef BUG_ORPHAN_KEPT
	if
	:: STATE(x) == ORPHAN ->
		look_at_cells(r);
		if
		:: k == CALLERS ->
			cas_end(r, x, WORD(DONE, FLAGS(x), GEN(x) + 1, 0));
			if
			:: ok -> x = WORD(DONE, FLAGS(x), GEN(x) + 1, 0)
			:: else
			fi
		:: else
		fi;
		k = 0
	:: else
	fi;
#endif
	if
	:: STATE(x) == DONE ->
#ifdef BUG_ORPHAN_ONE_LOOK
		if
		:: OWNER(x) == 0 && result[r] >> 3 != GEN(x) -> k = CALLERS
		:: else -> look_at_cells(r)
		fi;
#else
		look_at_cells(r);
#endif
		if
		:: k == CALLERS ->
			k = birth[r];
			if
			:: word[r] == x -> /* so k is this flight's */
				unlist(r, k);
				cas_word(r, x, WORD(FREE, 0, GEN(x) + 1, 0))
			:: else
			fi
		:: else
		fi;
		k = 0
	:: else
	fi;
	x = 0
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

/* RESULT -> DONE, out of the line, wake. */
inline finish(r, g, owner, born)
{
#ifdef BUG_UNLISTED_BEFORE_DONE
	unlist(r, born);
#endif
	do
	:: w = word[r];
		assert(STATE(w) == RESULT && GEN(w) == g);
#ifdef BUG_DONE_STORE
		atomic { if :: KILLED :: true -> word[r] = WORD(DONE, FLAGS(w), g, owner) fi };
		break
#else
		cas_word(r, w, WORD(DONE, FLAGS(w), g, owner));
		if
		:: ok -> break
		:: else
		fi
#endif
	od;
#ifndef BUG_UNLISTED_BEFORE_DONE
	unlist(r, born);
#endif
#ifndef BUG_QUIET_DONE
	wake_flight(r)
#else
	skip
#endif
}

/* LEAD of generation g given up: ORPHAN or, with no waiter, DONE without result. */
inline give_up(r, g, owner)
{
	do
	:: w = word[r];
		if
		:: STATE(w) != LEAD || GEN(w) != g || OWNER(w) != owner -> break
		:: else
		fi;
		if
		:: FLAGS(w) & W ->
			cas_word(r, w, WORD(ORPHAN, FLAGS(w), g, owner));
			if
			:: ok ->
#ifndef BUG_QUIET_ABANDON
				wake_flight(r);
#endif
				break
			:: else
			fi
		:: else ->
			cas_end(r, w, WORD(DONE, FLAGS(w), g + 1, owner));
			if
			:: ok -> break
			:: else
			fi
		fi
	od
}

#ifdef BUG_PROMOTION_DROPS_FLAGS
#define KEPT(w) 0
#else
#define KEPT(w) FLAGS(w)
#endif
#ifdef BUG_SAME_GENERATION
#define NEXT(g) (g)
#else
#define NEXT(g) ((g) + 1)
#endif

proctype caller(byte me; bit mortal)
{
	short w, x;
	byte r, g, e, v, k, joined, tries;
	bit ok, late, found;

	late = change_done;
lookup:
	atomic {
		w = 0; x = 0; r = 0; g = 0; e = 0; v = 0; k = 0; joined = 0; ok = 0;
		tries = 0; found = 0
	};
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
			:: JOINABLE(w) && MEANS(v) -> goto join
			:: else
			fi
		:: else
		fi;
		k++
	:: k == 2 -> break
	od;
	/* No: claim a record. */
	do
	:: atomic { STATE(word[0]) == FREE -> r = 0; w = word[0] }; break
#if RECORDS > 1
	:: atomic { STATE(word[0]) != FREE && STATE(word[1]) == FREE -> r = 1; w = word[1] }; break
#endif
	:: else ->
		if
		:: tries == 0 ->
			collect(0);
#if RECORDS > 1
			collect(1);
#endif
			tries = 1
		:: else -> goto done /* BUSY */
		fi
	od;
	cas_word(r, w, WORD(CLAIMED, 0, GEN(w), me));
	if
	:: ok
	:: else -> goto lookup
	fi;
	g = GEN(w);
	atomic { birth[r] = g; flights++; flight[r] = flights };
	atomic { if :: KILLED :: true -> word[r] = WORD(LEAD, 0, g, me) fi };
	/* line_set() into the flight line: one step here. */
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: line[0] != 0 && JOINABLE(word[RECORD(line[0])]) && MEANS(line[0]) ||
			   line[1] != 0 && JOINABLE(word[RECORD(line[1])]) && MEANS(line[1]) ->
				found = 1
			:: else ->
				if
				:: line[0] == 0 -> line[0] = LISTED(r, g)
				:: line[0] != 0 && line[1] == 0 -> line[1] = LISTED(r, g)
				:: else -> found = 1; tries = 1
				fi
			fi
		fi
	};
	if
	:: found ->
		cas_word(r, WORD(LEAD, 0, g, me), WORD(FREE, 0, g + 1, 0));
		assert(ok);
		if
		:: tries -> collect(0);
#if RECORDS > 1
			collect(1);
#endif
			goto done
		:: else -> goto lookup
		fi
	:: else
	fi;

lead:	/* record r, generation g */
#ifndef BUG_NO_SECOND_LOOKUP
	v = index;
	if
	:: v >= LIVE(0) -> e = v - LIVE(0); give_up(r, g, me); collect(r); goto served
	:: else -> v = 0
	fi;
#endif
	atomic {	/* compute */
		entries++;
		e = entries;
		of_flight[e] = flight[r];
		before[e] = !change_begun;
#if CHANGE == 0
		assert(entries <= 1 + promotions + ended);
#endif
#if RECORDS > 1
		/* A flight that others can join leads alone. */
		assert(!(STATE(word[0]) == LEAD && STATE(word[1]) == LEAD &&
		    JOINABLE(word[0]) && JOINABLE(word[1]) &&
		    (line[0] == LISTED(0, birth[0]) && line[1] == LISTED(1, birth[1]) ||
		     line[0] == LISTED(1, birth[1]) && line[1] == LISTED(0, birth[0]))))
#endif
	};
	if
	:: abandons > 0 -> abandons--; give_up(r, g, me); collect(r); goto done
	:: true
	fi;
	/* Commit. */
#ifdef BUG_RESULT_STORE
	atomic { if :: KILLED :: true -> result[r] = g << 3 | e fi };
#else
	do
	:: v = result[r];
		if
		:: v >> 3 > g -> goto done /* FENCED */
		:: else
		fi;
		atomic {
			if
			:: KILLED
			:: true ->
				if
				:: result[r] == v -> result[r] = g << 3 | e; break
				:: else
				fi
			fi
		}
	od;
#endif
	do
	:: w = word[r];
		if
		:: STATE(w) != LEAD || GEN(w) != g || OWNER(w) != me -> goto done /* FENCED */
		:: else
		fi;
		atomic {
			if
			:: KILLED
#ifdef BUG_COMMIT_STORE
			:: true ->
#else
			:: word[r] != w -> ok = 0
			:: word[r] == w ->
#endif
				word[r] = WORD(RESULT, FLAGS(w), g, me);
				assert(committed[flight[r]] == 0);
				committed[flight[r]] = e;
				ok = 1
			fi
		};
		if
		:: ok -> break
		:: else
		fi
	od;
	/* Publish, end. */
	link(r, e, me);
	v = birth[r];
	finish(r, g, me, v);
	collect(r);
	goto served;

join:
	atomic { v = 0; k = 0; if :: KILLED :: true -> wait[me] = 1 + r fi };
	do
	:: atomic { x = word[r]; joined = flight[r] };
#ifdef BUG_JOIN_UNCHECKED
		break;
#endif
		if
		:: GEN(x) != GEN(w) || !JOINABLE(x) -> /* no longer that flight */
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
	atomic { x = 0; w = 0 };

waiting:
	w = word[r];
	if
	:: STATE(w) == RESULT || STATE(w) == DONE ->
		v = result[r];
		if
		:: v >> 3 != GEN(w) -> /* ended without a result: ask again */
			assert(STATE(w) == DONE);
			atomic { if :: KILLED :: true -> wait[me] = 0 fi };
			goto lookup
		:: else
		fi;
		e = v & 7;
		assert(of_flight[e] == joined && committed[joined] == e);
		/* pins the block, then */
		atomic { if :: KILLED :: true -> wait[me] = 0 fi };
		goto served
	:: STATE(w) == ORPHAN -> goto take_over
	:: STATE(w) == LEAD ->
		v = OWNER(w);
		if
		:: life[v] != ALIVE -> goto take_over
		:: expired[r] > GEN(w) -> goto take_over
		:: atomic { leases > 0 && expired[r] <= GEN(w) ->
			leases--; expired[r] = 1 + GEN(w) };
			goto take_over
		:: else
		fi;
		/* FUTEX_WAITV {flight word, leader's life word} */
		atomic {
			if
			:: word[r] == w && life[v] == ALIVE ->
				asleep[me] = 1;
				on_record[me] = r; on_leader[me] = v; on_gen[me] = GEN(w)
			:: else
			fi;
			v = 0; w = 0
		};
		do
		:: atomic { asleep[me] == 0 -> break }
		:: atomic { asleep[me] && backstop -> asleep[me] = 0; break }
		:: atomic { asleep[me] && expired[r] > on_gen[me] -> asleep[me] = 0; break }
		:: atomic { asleep[me] && leases > 0 && expired[r] <= on_gen[me] ->
			leases--; expired[r] = 1 + on_gen[me]; asleep[me] = 0; break }
		od;
		if
		:: owes[me] -> /* woken by a death */
#ifndef BUG_QUIET_WOKEN
			atomic {
				if
				:: KILLED
				:: true ->
					k = 0;
					do
					:: k < CALLERS ->
						if
						:: asleep[k] && (on_record[k] == r ||
						    on_leader[k] == on_leader[me]) -> asleep[k] = 0
						:: else
						fi;
						k++
					:: k == CALLERS -> k = 0; break
					od;
					owes[me] = 0
				fi
			}
#else
			owes[me] = 0
#endif
		:: else
		fi;
		atomic { on_record[me] = 0; on_leader[me] = 0; on_gen[me] = 0 };
		goto waiting
	:: else -> assert(false) /* the record was recycled under its waiter */
	fi;

take_over:
	v = 0;
	atomic {
		if
		:: KILLED
		:: word[r] != w -> ok = 0
		:: word[r] == w ->
			word[r] = WORD(LEAD, KEPT(w), NEXT(GEN(w)), me);
			ok = 1;
			promotions++
		fi
	};
	if
	:: ok -> g = NEXT(GEN(w))
	:: else -> w = 0; goto waiting
	fi;
	atomic { if :: KILLED :: true -> wait[me] = 0 fi };
	atomic { w = 0; joined = 0 };
	goto lead;

served:
	CHECK_SERVED(e);
done:
	atomic {
		w = 0; x = 0; r = 0; g = 0; e = 0; v = 0; k = 0; joined = 0; ok = 0;
		tries = 0; found = 0; late = 0;
		running--;
		goto out
	};
killed:
	/* The kernel: OWNER_DIED, and one of those who sleep on the word wakes. */
	atomic {
		life[me] = DIED;
		if
		:: owes[me] -> backstop = 1; owes[me] = 0
		:: else
		fi;
		asleep[me] = 0; on_record[me] = 0; on_leader[me] = 0; on_gen[me] = 0;
		if
		:: asleep[0] && on_leader[0] == me -> asleep[0] = 0; owes[0] = 1
		:: asleep[1] && on_leader[1] == me -> asleep[1] = 0; owes[1] = 1
#if CALLERS > 2
		:: asleep[2] && on_leader[2] == me -> asleep[2] = 0; owes[2] = 1
#endif
		:: else
		fi;
		w = 0; x = 0; r = 0; g = 0; e = 0; v = 0; k = 0; joined = 0; ok = 0;
		tries = 0; found = 0; late = 0;
		running--
	};
out:	skip
}

/* The reaper of a dead slot, under its life lock, from the start each time. */
proctype reaper(bit mortal)
{
	short w, x;
	byte d, r, g, v, k, e;
	bit ok;

start:
	atomic { w = 0; x = 0; d = 0; r = 0; g = 0; v = 0; k = 0; e = 0; ok = 0 };
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
		g = GEN(w);
		if
		:: STATE(w) == FREE || OWNER(w) != d
#ifndef BUG_CLAIMED_SPARED
		:: STATE(w) == CLAIMED && OWNER(w) == d ->
			cas_word(r, w, WORD(FREE, 0, g + 1, 0))
#else
		:: STATE(w) == CLAIMED && OWNER(w) == d
#endif
		:: STATE(w) == LEAD && OWNER(w) == d -> give_up(r, g, d); collect(r)
		:: STATE(w) == RESULT && OWNER(w) == d ->
			e = result[r] & 7;
#ifndef BUG_REAPER_DROPS_RESULT
			link(r, e, 6);
#endif
			v = birth[r];
			finish(r, g, d, v);
			collect(r)
		:: STATE(w) == DONE && OWNER(w) == d -> wake_flight(r); collect(r)
		:: STATE(w) == ORPHAN && OWNER(w) == d -> wake_flight(r)
		fi;
		r++
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
				:: (STATE(w) == LEAD || STATE(w) == RESULT ||
				    STATE(w) == ORPHAN) && MEANS(v) ->
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
		j++
	:: j == 2 -> break
	od;
	atomic { w = 0; j = 0; r = 0 };
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

/* Starts everybody; at the end makes every record FREE, as any claimer does. */
init {
	short x;
	byte k;
	bit ok, mortal;

	atomic {
		running = CALLERS + (CHANGE > 0);
		run caller(0, 1);
		run caller(1, MORTALS > 1);
#if CALLERS > 2
		run caller(2, MORTALS > 1);
#endif
#if CHANGE > 0
		run changer(MORTALS > 2);
#endif
		run reaper(MORTALS > 1)
	};
	atomic {
		running == 0 && QUIET(life[0]) && QUIET(life[1]) && QUIET(THIRD) ->
		collect(0);
		assert(STATE(word[0]) == FREE);
#if RECORDS > 1
		collect(1);
		assert(STATE(word[1]) == FREE);
#endif
		assert(line[0] == 0 && line[1] == 0)
	};
killed:	skip
}
