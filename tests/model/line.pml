/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model of docs/design.md, "Lines: unique claims" (libshm/line.c: line_set(),
 * line_remove(); the evictor of libshm/block.c and a displacing caller CAS
 * LIVE words to EMPTY without marking any guard).
 *
 * One line of N words, one tag.  Key A is the key under test; with OTHER a
 * setter of key B, which has the same tag, takes part.  Whoever is not
 * immortal may be killed before every shared write; a stop is an interleaving.
 *
 * Checked after every write:
 *   - at most one LIVE word for each key;
 *   - once a marker (remover or put) has finished, no LIVE word of a setter
 *     whose guard it marked, then or ever after;
 * and at the end of every run:
 *   - no deadlock; a setter that runs alone needs at most three attempts more.
 *
 * A TENT carries its owner but no sequence number here: words may come back
 * (ABA) more often than in the code.
 *
 * Scenes (tests/model/run searches each to its end; deep ones with --deep)
 *   scene put-flight    -DCONFIG=0
 *   scene two-flights   -DCONFIG=1
 *   scene two-puts      -DCONFIG=2
 *   scene other-key     -DCONFIG=3
 *   deep put-two-flights -DCONFIG=4
 *   deep three-puts     -DCONFIG=5
 *   deep other-put      -DCONFIG=6
 *
 * Mutants: each must fail in the scene it names; pan's complaint has the word
 *   BUG_PLAIN_STORE        two-puts    <=1     step 5 stores instead of CAS
 *   BUG_NO_SECOND_LOOK     two-puts    <=1     step 3 left out
 *   BUG_GUARD_BEFORE_CLAIM put-flight  marked  step 4 made before step 2
 *   BUG_TENT_SPARED        other-key   marked  line_remove() takes LIVE words only
 *   BUG_REMOVE_ONE_TRY     two-flights marked  line_remove() goes on to the next word if its CAS fails
 *   BUG_MARK_LAST          put-flight  marked  the guard is marked after the line was cleaned
 *   BUG_DEAD_SPARED        put-flight  alone   the TENT of a dead owner is never killed
 */
#ifndef N
#define N 3
#endif

#define EMPTY 0
#define TENT(i) (1 + (i))
#define LIVE_A(i) (8 + (i))
#define LIVE_B(i) (16 + (i))
#define OLD LIVE_A(7) /* stands in the line at the start */
#define IS_TENT(v) ((v) >= 1 && (v) < 8)
#define IS_A(v) ((v) >= 8 && (v) < 16)
#define IS_B(v) ((v) >= 16)
#define MINE(v) (other_key && IS_B(v) || !other_key && IS_A(v))
#define GUARDED(v) ((v) == LIVE_A(0) || (v) == LIVE_A(1)) /* setters 0, 1 */
#define NONE 255

byte word[N];
bit guard;	/* 1: the flight of setters 0 and 1 is SUPERSEDED */
bit marked;	/* ghost: a marker of the guard has finished */
bit dead[7];	/* the life words, by owner */
byte running;	/* ghost: processes that have not ended */

#if N == 3
#define SUM(IS) (IS(word[0]) + IS(word[1]) + IS(word[2]))
#else
#define SUM(IS) (IS(word[0]) + IS(word[1]) + IS(word[2]) + IS(word[3]))
#endif

#define CHECK                                                                  \
	assert(SUM(IS_A) <= 1 && SUM(IS_B) <= 1);                              \
	assert(!(marked && SUM(GUARDED) > 0))

/* Every shared write is one step: killed before it, or done. */
#define KILLED mortal -> goto killed

inline cas(at, old, new)
{
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: word[at] == old -> word[at] = new; ok = 1; CHECK
			:: else -> ok = 0
			fi
		fi
	}
}

/*
 * line_set().  marks: a put, which marks the guard first and has none itself.
 */
proctype setter(byte id; bit other_key, guarded, marks, mortal)
{
	byte i, at, v, new, alone;
	bit ok, yielded;

	d_step {
		if
		:: other_key -> new = LIVE_B(id)
		:: else -> new = LIVE_A(id)
		fi
	}
#ifndef BUG_MARK_LAST
	if
	:: marks -> atomic { if :: KILLED :: true -> guard = 1 fi }
	:: else
	fi;
#endif

again:
	atomic {
		if
		:: running == 1 -> alone++; assert(alone <= 3)
		:: else
		fi;
		i = 0; v = 0; ok = 0; at = NONE
	};
	/* Step 1: LIVE with our key? */
	do
	:: atomic { i < N && MINE(word[i]) -> at = i; v = word[i] }; break
	:: atomic { i < N && !MINE(word[i]) -> i++ }
	:: i == N -> break
	od;
	if
	:: at != NONE ->
		if
		:: guarded && guard -> goto done
		:: else
		fi;
		cas(at, v, new);
		if
		:: ok -> goto done
		:: else -> goto again
		fi
	:: else
	fi;

#ifdef BUG_GUARD_BEFORE_CLAIM
	if
	:: guarded && guard -> goto done
	:: else
	fi;
#endif
	/* Step 2: any EMPTY word.  A CAS lost to another is the scan repeated. */
	atomic {
		if
		:: KILLED
		:: word[0] == EMPTY -> at = 0
		:: word[1] == EMPTY -> at = 1
		:: word[2] == EMPTY -> at = 2
#if N == 4
		:: word[3] == EMPTY -> at = 3
#endif
		:: else -> at = NONE
		fi;
		if
		:: at != NONE -> word[at] = TENT(id)
		:: else
		fi
	};
	if
	:: at == NONE -> /* full: displace what stands in some word */
		atomic {
			if
			:: i = 0 :: i = 1 :: i = 2
#if N == 4
			:: i = 3
#endif
			fi;
			v = word[i]
		};
		if
		:: v != EMPTY && !MINE(v) -> cas(i, v, EMPTY)
		:: else
		fi;
		goto again
	:: else
	fi;

	/* Step 3: look at every other word again. */
	i = 0;
#ifdef BUG_NO_SECOND_LOOK
	i = N;
#endif
	do
	:: i < N && i == at -> i++
	:: i < N && i != at ->
		atomic {
			v = word[i];
			if
			:: !MINE(v) && !IS_TENT(v) -> v = 0; i++
			:: else
			fi
		};
		if
		:: v == 0
		:: v != 0 && MINE(v) -> cas(at, TENT(id), EMPTY); goto again
#ifdef BUG_DEAD_SPARED
		:: IS_TENT(v) && dead[v - 1] -> cas(at, TENT(id), EMPTY); goto again
		:: IS_TENT(v) && !dead[v - 1] && (i > at || yielded) ->
#else
		:: IS_TENT(v) && (i > at || yielded || dead[v - 1]) ->
#endif
			cas(i, v, EMPTY); /* failed: look at it once more */
			if
			:: ok -> i++
			:: else
			fi
		:: IS_TENT(v) && i < at && !yielded && !dead[v - 1] ->
			yielded = 1;
			cas(at, TENT(id), EMPTY);
			goto again
		fi
	:: i >= N -> break
	od;

	/* Step 4: the guard. */
#ifndef BUG_GUARD_BEFORE_CLAIM
	if
	:: guarded && guard -> cas(at, TENT(id), EMPTY); goto done
	:: else
	fi;
#endif
	/* Step 5: commit. */
#ifdef BUG_PLAIN_STORE
	atomic { if :: KILLED :: true -> word[at] = new; ok = 1; CHECK fi };
#else
	cas(at, TENT(id), new);
#endif
	if
	:: ok
	:: else -> goto again
	fi;

done:
	atomic {
		i = 0; at = 0; v = 0; alone = 0; ok = 0; yielded = 0;
#ifdef BUG_MARK_LAST
		if
		:: marks -> guard = 1
		:: else
		fi;
#endif
		if
		:: marks -> marked = 1; CHECK
		:: else
		fi;
		running--;
		goto out
	};
killed:
	atomic {
		i = 0; at = 0; v = 0; alone = 0; ok = 0; yielded = 0;
		dead[id] = 1; running--
	};
out:	skip
}

/* delete, invalidate: mark the guard, then line_remove(). */
proctype remover(bit mortal)
{
	byte i, v;
	bit ok;

#ifndef BUG_MARK_LAST
	atomic { if :: KILLED :: true -> guard = 1 fi };
#endif
	do
	:: i < N ->
		atomic {
			v = word[i];
#ifdef BUG_TENT_SPARED
			if :: !IS_A(v) -> v = 0; i++ :: else fi
#else
			if :: v == EMPTY || IS_B(v) -> v = 0; i++ :: else fi
#endif
		};
		if
		:: v != 0 ->
			cas(i, v, EMPTY);
#ifdef BUG_REMOVE_ONE_TRY
			i++
#else
			if
			:: ok -> i++
			:: else
			fi
#endif
		:: else
		fi
	:: i >= N -> break
	od;
	atomic {
#ifdef BUG_MARK_LAST
		guard = 1;
#endif
		marked = 1; CHECK
	};
killed:
	atomic { i = 0; v = 0; ok = 0; running-- }
}

/* Evictor or displacer: takes LIVE words away whenever it likes, no guard. */
proctype evictor(byte times)
{
	byte i, v;

	do
	:: times > 0 ->
		atomic {
			if
			:: i = 0 :: i = 1 :: i = 2
#if N == 4
			:: i = 3
#endif
			fi;
			v = word[i]; times--
		};
		if
		:: IS_A(v) || IS_B(v) ->
			d_step {
				if
				:: word[i] == v -> word[i] = EMPTY
				:: else
				fi
			}
		:: else
		fi
	:: break
	od;
	atomic { i = 0; v = 0; times = 0; running-- }
}

/*
 * CONFIG  key A                                        others         start
 *   0     setter of the flight, immortal put (marks)   evictor        empty
 *   1     two setters of the flight, remover           evictor        OLD
 *   2     two puts, one immortal                       evictor twice  OLD
 *   3     setter of the flight, remover                put of key B   empty
 *   4     two setters of the flight, put (marks)       evictor        empty
 *   5     three puts, one immortal                     evictor        OLD
 *   6     setter of the flight, put, remover           put of key B   empty
 */
#ifndef CONFIG
#define CONFIG 0
#endif

init {
	atomic {
#if CONFIG == 0
		running = 3;
		run setter(0, 0, 1, 0, 1);
		run setter(2, 0, 0, 1, 0);
		run evictor(1)
#elif CONFIG == 1
		word[1] = OLD;
		running = 4;
		run setter(0, 0, 1, 0, 1);
		run setter(1, 0, 1, 0, 0);
		run remover(1);
		run evictor(1)
#elif CONFIG == 2
		word[1] = OLD;
		running = 3;
		run setter(2, 0, 0, 0, 1);
		run setter(3, 0, 0, 0, 0);
		run evictor(2)
#elif CONFIG == 3
		running = 3;
		run setter(0, 0, 1, 0, 1);
		run setter(3, 1, 0, 0, 0);
		run remover(1)
#elif CONFIG == 4
		running = 4;
		run setter(0, 0, 1, 0, 1);
		run setter(1, 0, 1, 0, 1);
		run setter(2, 0, 0, 1, 0);
		run evictor(1)
#elif CONFIG == 5
		word[1] = OLD;
		running = 4;
		run setter(2, 0, 0, 0, 1);
		run setter(3, 0, 0, 0, 1);
		run setter(4, 0, 0, 0, 0);
		run evictor(1)
#else
		running = 4;
		run setter(0, 0, 1, 0, 1);
		run setter(2, 0, 0, 0, 0);
		run setter(3, 1, 0, 0, 1);
		run remover(1)
#endif
	}
}
