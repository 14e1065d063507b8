/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model of docs/design.md, "Grace" (libshm/grace.c: grace_enter(),
 * grace_exit(), grace_pin(), grace_poll(), grace_revoke(); the waiter's end
 * of libshm/flight.c; the clearing of a dead slot in libshm/recover.c).
 *
 * One block with one entry, which passes through CYCLES lives: committed in a
 * flight (the first), linked, unlinked, retired, freed, used again.  What
 * stands in its memory is its generation.  Readers copy or pin a view; a
 * waiter takes the flight's result.  Each of them has an x86 store buffer: a
 * FIFO between its stores and the memory that the others see; a locked
 * instruction and a fence wait until it is empty, the heavy barrier
 * (membarrier) empties those of all.  Pollers run side by side, each may give
 * up anywhere, which is also its death.  Readers may be killed before every
 * store; their slot is then reaped word by word.
 *
 * Checked: who trusts what he saw (a copy or a pin after the revoked check, a
 * waiter after its pin) saw the generation that the index or the record
 * named, and a pinned block keeps it until the pin is withdrawn.
 *
 * FENCES: readers fence (SHMC_FENCES), the poller's barrier does nothing.
 *
 * Scenes (tests/model/run searches each to its end; deep ones with --deep)
 *   scene waiter   -DREADERS=0
 *   scene reader   -DWAITERS=0
 *   scene both     -DCYCLES=1
 *   scene fences   -DCYCLES=1 -DFENCES
 *   deep both-twice -DCYCLES=2
 *
 * Mutants: each must fail in the scene it names; pan's complaint has the word
 *   BUG_NO_MEMBARRIER      reader  memory   the poller's barrier does nothing
 *   BUG_PINS_BEFORE_EPOCH  reader  memory   the scan looks at pins, wait cell, epoch
 *   BUG_PINS_BEFORE_WAIT   waiter  memory   the scan looks at epoch, pins, wait cell
 *   BUG_NO_REVOKED_CHECK   reader  garbage  readers trust what they saw
 *   BUG_REVOKED_READ_LATE  reader  memory   the scan reads `revoked` after its barrier, as it goes
 *   BUG_REVOKE_NO_BARRIER  reader  memory   a revoker goes on with its scan, no second barrier
 *   BUG_REVOKED_STORE      reader  garbage  `revoked` is stored, so that it can go back
 *   BUG_CHECK_BEFORE_PIN   reader  memory   a reader checks `revoked`, then pins
 *   BUG_CLEAR_BEFORE_PIN   waiter  memory   a waiter clears its wait cell, then pins
 *   BUG_JOIN_NO_CHECK      waiter  memory   a waiter does not look at the record again after its fence
 *   BUG_GOAL_BEFORE_UNLINK reader  garbage  the goal is drawn before the entry is unlinked
 *   BUG_WAIT_IGNORED       waiter  memory   the scan does not look at wait cells
 *   BUG_ONE_FENCE          fences  memory   no fence between pin and revoked check
 */
#ifndef READERS
#define READERS 1 /* slots 0 .. READERS - 1 */
#endif
#ifndef WAITERS
#define WAITERS 1 /* the slots above */
#endif
#ifndef POLLERS
#define POLLERS 2
#endif
#ifndef SECTIONS
#define SECTIONS 2 /* of each reader */
#endif
#ifndef CYCLES
#define CYCLES 2
#endif
#define SLOTS (READERS + WAITERS)

#define LEAD 0
#define RESULT 1
#define DONE 2

#define USED 0 /* OPEN, SEALED, EVICTING: of no matter here */
#define RETIRED 1
#define FREED 2

byte epoch = 1, revoked;
byte index;		/* 0 EMPTY, or 1 + generation */
byte state = USED, memory;	/* the block word: state; generation = what the memory holds */
byte goal;		/* in the block's header */
byte record;		/* the flight's word */
byte result;		/* 0, or 1 + generation */

#define EPOCH 0
#define WAIT 1
#define PIN 2
typedef slot_t { byte cell[3] };
slot_t slot[SLOTS];
chan buffer[SLOTS] = [3] of { byte, byte };	/* of the slot's owner: cell, value */

/* The store buffers drain when they like. */
proctype drain(byte i)
{
	byte c, v;

end:	do
	:: atomic { buffer[i]?c,v -> slot[i].cell[c] = v; c = 0; v = 0 }
	od
}

#define STORE(c, v) buffer[me]!c,v
#define FENCE empty(buffer[me])
#ifdef FENCES
#define LIGHT_BARRIER FENCE
#else
#define LIGHT_BARRIER skip
#endif
#if defined(BUG_ONE_FENCE) || !defined(FENCES)
#define PIN_BARRIER skip
#else
#define PIN_BARRIER FENCE
#endif

/* Every store is one step: killed before it, or issued. */
#define KILLED true -> goto killed

proctype reader(byte me)
{
	byte e, v, left;
	bit garbage;

	left = SECTIONS;
	do
	:: left > 0 ->
		left--;
		e = epoch;
		atomic { if :: KILLED :: STORE(EPOCH, e) fi };
		LIGHT_BARRIER;
		v = index;
		if
		:: v == 0
		:: v != 0 -> /* copy, or compare with a key */
			garbage = (memory != v - 1);
#ifndef BUG_NO_REVOKED_CHECK
			atomic {
				if
				:: revoked < e -> assert(!garbage)
				:: else
				fi
			}
#else
			assert(!garbage)
#endif
		:: v != 0 -> /* a view */
#ifdef BUG_CHECK_BEFORE_PIN
			if
			:: revoked < e -> STORE(PIN, 1)
			:: else -> v = 0
			fi;
#else
			atomic { if :: KILLED :: STORE(PIN, 1) fi };
			PIN_BARRIER;
#ifndef BUG_NO_REVOKED_CHECK
			atomic {
				if
				:: revoked < e
				:: else -> v = 0
				fi
			};
#endif
#endif
			if
			:: v != 0 ->
				STORE(EPOCH, 0);
				assert(memory == v - 1)	/* at any time until here */
			:: else
			fi;
			atomic { if :: KILLED :: STORE(PIN, 0) fi }
		fi;
		atomic { if :: KILLED :: STORE(EPOCH, 0) fi };
		e = 0; v = 0; garbage = 0
	:: left == 0 -> goto out
	od;
killed:	/* the reaper, one word after another */
	atomic { e = 0; v = 0; garbage = 0; left = 0; FENCE };
	slot[me].cell[PIN] = 0;
	slot[me].cell[EPOCH] = 0;
out:	skip
}

proctype waiter(byte me)
{
	byte v;

	if
	:: record == DONE -> goto out
	:: record != DONE
	fi;
	atomic { if :: KILLED :: STORE(WAIT, 1) fi };
#ifndef BUG_JOIN_NO_CHECK
	FENCE;
	/* The CAS that sets WAITERS succeeds only in LEAD and RESULT. */
	if
	:: record == DONE -> STORE(WAIT, 0); goto out
	:: record != DONE
	fi;
#endif
	record >= RESULT;
	v = result;
#ifdef BUG_CLEAR_BEFORE_PIN
	atomic { if :: KILLED :: STORE(WAIT, 0) fi };
	atomic { if :: KILLED :: STORE(PIN, 1) fi };
#else
	atomic { if :: KILLED :: STORE(PIN, 1) fi };
	atomic { if :: KILLED :: STORE(WAIT, 0) fi };
#endif
	assert(memory == v - 1);
	atomic { if :: KILLED :: STORE(PIN, 0) fi };
	goto out;
killed:
	atomic { v = 0; FENCE };
	slot[me].cell[WAIT] = 0;
	slot[me].cell[PIN] = 0;
out:	v = 0
}

/* The leader, the evictor, and the block's next users. */
active proctype writer()
{
	byte left;

	left = CYCLES;
	result = 1;
	record = RESULT;
	index = 1;
	record = DONE;	/* only now may the block be sealed */
	do
	:: left > 0 ->
		left--;
#ifdef BUG_GOAL_BEFORE_UNLINK
		atomic { epoch++; goal = epoch };
		index = 0;
#else
		index = 0;
		atomic { epoch++; goal = epoch };
#endif
		state = RETIRED;
		state == FREED;
		if
		:: left > 0 -> state = USED; index = 1 + memory
		:: else
		fi
	:: left == 0 -> break
	od
}

inline heavy_barrier()
{
#if !defined(FENCES) && !defined(BUG_NO_MEMBARRIER)
	d_step {
		i = 0;
		do
		:: i < SLOTS ->
			do
			:: nempty(buffer[i]) -> buffer[i]?c,v; slot[i].cell[c] = v
			:: empty(buffer[i]) -> break
			od;
			i++
		:: i == SLOTS -> break
		od;
		c = 0; v = 0; i = 0
	}
#else
	skip
#endif
}

inline scan_epoch()
{
	v = slot[i].cell[EPOCH];
	if
#ifdef BUG_REVOKED_READ_LATE
	:: v == 0 || v >= g || v <= revoked -> v = 0
#else
	:: v == 0 || v >= g || v <= limit -> v = 0
#endif
	:: else ->
		if
		:: goto pass	/* not yet */
		:: true ->	/* revoke */
#ifdef BUG_REVOKED_STORE
			if
			:: revoked < v ->
				revoked = v
			:: else
			fi;
#else
			atomic {
				if
				:: revoked < v -> revoked = v
				:: else
				fi
			};
#endif
#ifdef BUG_REVOKE_NO_BARRIER
			v = 0
#else
			goto pass
#endif
		fi
	fi
}

#ifdef BUG_WAIT_IGNORED
#define scan_wait() skip
#else
inline scan_wait()
{
	if
	:: slot[i].cell[WAIT] ->
		if
		:: record >= RESULT -> goto pass
		:: else
		fi
	:: else
	fi
}
#endif

inline scan_pins()
{
	if
	:: slot[i].cell[PIN] -> goto pass
	:: else
	fi
}

/* grace_poll() of a RETIRED block. */
proctype poller()
{
	byte i, c, v, g, gen, limit;

pass:
	atomic { i = 0; v = 0; g = 0; gen = 0; limit = 0 };
end:
	atomic { state == RETIRED -> gen = memory };
	g = goal;
#ifndef BUG_REVOKED_READ_LATE
	limit = revoked;	/* before the barrier: what it covers */
#endif
	heavy_barrier();
	do
	:: i < SLOTS ->
#if defined(BUG_PINS_BEFORE_EPOCH)
		scan_pins(); scan_wait(); scan_epoch();
#elif defined(BUG_PINS_BEFORE_WAIT)
		scan_epoch(); scan_pins(); scan_wait();
#else
		scan_epoch(); scan_wait(); scan_pins();
#endif
		i++
	:: i == SLOTS -> break
	od;
	atomic {	/* CAS RETIRED(gen) -> FREE(gen + 1) */
		if
		:: state == RETIRED && memory == gen -> memory++; state = FREED
		:: else
		fi
	};
	goto pass
}

init {
	byte i;

	atomic {
		do
		:: i < READERS -> run reader(i); run drain(i); i++
		:: i >= READERS && i < SLOTS -> run waiter(i); run drain(i); i++
		:: i == SLOTS -> break
		od;
		i = 0;
		do
		:: i < POLLERS -> run poller(); i++
		:: i == POLLERS -> break
		od;
		i = 0
	}
}
