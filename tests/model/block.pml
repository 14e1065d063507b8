/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model of docs/design.md, "Blocks" and the rows of "What a kill leaves" that
 * concern blocks (libshm/block.c: block_claim(), block_seal(), block_evict();
 * libshm/recover.c: the reaper; libshm/participant.c: the life lock).
 *
 * BLOCKS blocks, two index words (one key each).  Workers allocate, append,
 * link, seal or give back, and evict; each has a slot with a robust life lock.
 * A reaper takes the lock of a dead worker; if it dies too, the lock is
 * OWNER_DIED again and the next one repeats everything.  A reader bumps the
 * frequency bits of an index word, which an evictor must survive.  The grace
 * period is left to grace.pml: here RETIRED may become FREE at any time.
 *
 * Checked after every write to a block word or an index word:
 *   - no LIVE index word names a block that is RETIRED, FREE or of another
 *     generation;
 * at every use: nobody appends to a block or evicts one that is not its own;
 * and at the end of every run: no deadlock, every lock of a dead worker is
 * free, no block is OPEN or EVICTING.
 *
 * Scenes (tests/model/run searches each to its end; deep ones with --deep)
 *   scene one-kill   -DKILLS=1
 *   deep two-kills   -DKILLS=2
 *
 * Mutants: each must fail in the scene it names; pan's complaint has the word
 *   BUG_EVICT_OPEN         one-kill  ok     the evictor takes OPEN blocks too
 *   BUG_SEAL_THEN_LINK     one-kill  index  the owner seals before it links its last entry
 *   BUG_REAPER_SEALS_FIRST one-kill  index  the reaper seals, then links for a dead leader
 *   BUG_REAP_UNLOCKED      one-kill  ==w    reapers take no lock, so that a late one meets the slot's new user
 *   BUG_EVICT_ONE_TRY      one-kill  index  the evictor ignores a failed CAS of an index word
 *   BUG_RETIRE_FIRST       one-kill  index  the evictor retires before it unlinks
 *   BUG_EVICTING_SPARED    one-kill  !=3    the reaper forgets EVICTING blocks
 */
#ifndef BLOCKS
#define BLOCKS 2
#endif
#define WORKERS 2 /* slots */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GEN_MAX
#define GEN_MAX 3
#endif

#define FREE 0
#define OPEN 1
#define SEALED 2
#define EVICTING 3
#define RETIRED 4

/* The block word: state, owner, generation. */
#define WORD(state, owner, gen) ((state) | (owner) << 3 | (gen) << 5)
#define STATE(w) ((w) & 7)
#define OWNER(w) ((w) >> 3 & 3)
#define GEN(w) ((w) >> 5)

/* The index word: frequency bit, block, generation; 0 EMPTY. */
#define LIVE(b, gen) (1 | (b) << 1 | (gen) << 3)
#define FREQ 128
#define BLOCK(v) ((v) >> 1 & 3)
#define NAMES(v, b, gen) (((v) & 127) == LIVE(b, gen))

byte block[BLOCKS];
byte entries[BLOCKS];	/* bit k: an entry for key k was appended */
byte index[2];

#define LIFE_FREE 0
#define LIFE_HELD 1
#define LIFE_DIED 2
#define LIFE_REAPED 3	/* held by a reaper */
byte life[WORKERS];
/* A flight that its leader, this slot, took to RESULT: 0, or 1 + key, and its block. */
byte result[WORKERS], result_block[WORKERS];

byte kills = KILLS;
byte running;

#define KILLED kills > 0 -> kills--; goto killed

/* An index word names only OPEN, SEALED and EVICTING blocks of its generation. */
#define SOUND(k)                                                               \
	(index[k] == 0 ||                                                      \
	    NAMES(index[k], BLOCK(index[k]), GEN(block[BLOCK(index[k])])) &&   \
	    STATE(block[BLOCK(index[k])]) != FREE &&                           \
	    STATE(block[BLOCK(index[k])]) != RETIRED)
#define CHECK assert(SOUND(0) && SOUND(1))

inline cas_block(b, old, new)
{
	atomic {
		if
		:: KILLED
		:: true ->
			if
			:: block[b] == old -> block[b] = new; ok = 1; CHECK
			:: else -> ok = 0
			fi
		fi
	}
}

/* Links the entry of key k in block b as line_set() does: nobody can refuse it. */
inline link(k, b)
{
	do
	:: v = index[k];
		atomic {
			if
			:: KILLED
			:: true ->
				if
				:: index[k] == v ->
					index[k] = LIVE(b, GEN(block[b]));
					CHECK; break
				:: else
				fi
			fi
		}
	od;
	v = 0
}

/* CASes every index word that names an entry of block b, generation g, to EMPTY. */
inline unlink_all()
{
	k = 0;
	do
	:: k < 2 ->
		v = index[k];
		if
		:: (entries[b] >> k & 1) && v != 0 && NAMES(v, b, GEN(w)) ->
			atomic {
				if
				:: KILLED
				:: true ->
					if
					:: index[k] == v -> index[k] = 0; k++
#ifdef BUG_EVICT_ONE_TRY
					:: else -> k++
#else
					:: else
#endif
					fi
				fi
			}
		:: else -> k++
		fi
	:: k == 2 -> break
	od;
	v = 0; k = 0
}

inline forget()
{
	atomic { b = 0; k = 0; v = 0; w = 0; ok = 0; step = 0 }
}

proctype worker(byte me, ops)
{
	byte b, k, v, w, step;
	bit ok;

	/* Take the slot: a dirty one waits for its reaper. */
	atomic { life[me] == LIFE_FREE -> life[me] = LIFE_HELD };
next:
	forget();
	if
	:: ops == 0 -> goto done
	:: else -> ops--
	fi;
	/* Choose a block: FREE to write into, SEALED to evict. */
	atomic {
		if
		:: b = 0 :: b = 1
#if BLOCKS > 2
		:: b = 2
#endif
		fi;
		w = block[b]
	};
	if
	:: STATE(w) == FREE && GEN(w) < GEN_MAX ->
		cas_block(b, w, WORD(OPEN, me, GEN(w)));
		if
		:: !ok -> goto next
		:: else -> w = WORD(OPEN, me, GEN(w))
		fi;
		entries[b] = 0;
		/* Up to two entries: append, perhaps commit a flight, link. */
		do
		:: step < 2 ->
			k = step; step++;
			atomic {
				if
				:: KILLED
				:: true ->
					assert(block[b] == w);
					entries[b] = entries[b] | 1 << k
				fi
			};
			if
			:: true -> /* a flight: RESULT */
				atomic {
					if
					:: KILLED
					:: true ->
						result[me] = 1 + k;
						result_block[me] = b
					fi
				}
			:: true	/* a put */
			fi;
#ifdef BUG_SEAL_THEN_LINK
			if
			:: step == 2 -> cas_block(b, w, WORD(SEALED, 0, GEN(w)))
			:: else
			fi;
#endif
			link(k, b);
			atomic { /* DONE */
				if
				:: KILLED
				:: true -> result[me] = 0; result_block[me] = 0
				fi
			}
		:: break
		od;
		if
		:: entries[b] == 0 -> /* never published */
			cas_block(b, w, WORD(FREE, 0, GEN(w) + 1))
		:: else -> cas_block(b, w, WORD(SEALED, 0, GEN(w)))
		fi;
#ifndef BUG_SEAL_THEN_LINK
		assert(ok);
#endif
		goto next
#ifdef BUG_EVICT_OPEN
	:: STATE(w) == SEALED || STATE(w) == OPEN && OWNER(w) != me ->
#else
	:: STATE(w) == SEALED ->
#endif
		cas_block(b, w, WORD(EVICTING, me, GEN(w)));
		if
		:: !ok -> goto next
		:: else -> w = WORD(EVICTING, me, GEN(w))
		fi;
#ifdef BUG_RETIRE_FIRST
		cas_block(b, w, WORD(RETIRED, 0, GEN(w)));
#endif
		unlink_all();
#ifndef BUG_RETIRE_FIRST
		assert(block[b] == w);
		cas_block(b, w, WORD(RETIRED, 0, GEN(w)));
		assert(ok);
#endif
		goto next
	:: else -> goto next
	fi;

done:
	atomic { forget(); life[me] = LIFE_FREE; running--; goto out };
killed:
	atomic { forget(); life[me] = LIFE_DIED; ops = 0; running-- };
out:	skip
}

/* The reaper: everything is repaired under the dead one's lock, from the start. */
proctype reaper()
{
	byte b, k, v, w, d, step;
	bit ok;

start:
	forget();
	do
	:: atomic { life[0] == LIFE_DIED -> d = 0; break }
	:: atomic { life[1] == LIFE_DIED -> d = 1; break }
	:: atomic { running == 0 && life[0] == LIFE_FREE && life[1] == LIFE_FREE -> goto out }
	od;
#ifndef BUG_REAP_UNLOCKED
	atomic {
		if
		:: life[d] == LIFE_DIED -> life[d] = LIFE_REAPED
		:: else -> goto start
		fi
	};
#endif
	/* A leader that died in RESULT: link first, then seal. */
#ifndef BUG_REAPER_SEALS_FIRST
	if
	:: result[d] != 0 -> b = result_block[d]; link(result[d] - 1, b)
	:: else
	fi;
	atomic { if :: KILLED :: true -> result[d] = 0; result_block[d] = 0 fi };
#endif
	b = 0;
	do
	:: b < BLOCKS ->
		w = block[b];
		if
		:: STATE(w) == OPEN && OWNER(w) == d ->
			cas_block(b, w, WORD(SEALED, 0, GEN(w)))
#ifndef BUG_EVICTING_SPARED
		:: STATE(w) == EVICTING && OWNER(w) == d ->
			cas_block(b, w, WORD(SEALED, 0, GEN(w)))
#endif
		:: else
		fi;
		b++
	:: b == BLOCKS -> break
	od;
#ifdef BUG_REAPER_SEALS_FIRST
	if
	:: result[d] != 0 -> b = result_block[d]; link(result[d] - 1, b)
	:: else
	fi;
	atomic { if :: KILLED :: true -> result[d] = 0; result_block[d] = 0 fi };
#endif
	atomic { life[d] = LIFE_FREE; d = 0 };
	goto start;

killed: /* the lock is OWNER_DIED again; the next reaper starts afresh */
	atomic {
#ifndef BUG_REAP_UNLOCKED
		life[d] = LIFE_DIED;
#endif
		d = 0
	};
	goto start;
out:	skip
}

/* grace_poll() gives RETIRED blocks back. */
active proctype poller()
{
	byte b;

end:	do
	:: atomic { STATE(block[0]) == RETIRED -> b = 0; goto give }
	:: atomic { STATE(block[1]) == RETIRED -> b = 1; goto give }
#if BLOCKS > 2
	:: atomic { STATE(block[2]) == RETIRED -> b = 2; goto give }
#endif
	od;
give:
	atomic { block[b] = WORD(FREE, 0, GEN(block[b]) + 1); b = 0; CHECK };
	goto end
}

/* A reader's hit bumps the frequency; always by CAS. */
active proctype hit()
{
	byte k, v;

end:	do
	:: atomic { index[0] != 0 && !(index[0] & FREQ) -> v = index[0]; k = 0; break }
	:: atomic { index[1] != 0 && !(index[1] & FREQ) -> v = index[1]; k = 1; break }
	od;
	atomic {
		if
		:: index[k] == v -> index[k] = v | FREQ
		:: else
		fi;
		k = 0; v = 0
	}
}

/* OPS0, OPS1: operations of the users of slots 0 and 1; OPS2: of slot 0's next user. */
#ifndef OPS0
#define OPS0 1
#define OPS1 1
#define OPS2 1
#endif

init {
	byte b;

	atomic {
		running = 2 + (OPS2 > 0);
		run worker(0, OPS0);
		run worker(1, OPS1);
#if OPS2 > 0
		run worker(0, OPS2);
#endif
		run reaper();
#ifdef BUG_REAP_UNLOCKED
		run reaper()
#endif
	};
	/* What is left at the end. */
	atomic {
		running == 0 && life[0] == LIFE_FREE && life[1] == LIFE_FREE ->
		do
		:: b < BLOCKS ->
			assert(STATE(block[b]) != OPEN && STATE(block[b]) != EVICTING);
			b++
		:: b == BLOCKS -> break
		od
	}
}
