/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The claim protocol: see line.h and docs/design.md, "Lines".
 *
 *           claim()            commit: CAS
 *   EMPTY ----------> TENT ------------------> LIVE ----> LIVE' (replace: CAS)
 *     ^                |  retract, kill_tent()     |
 *     +----------------+------------------------+  line_remove(), displace, evict
 *
 * Invariant: of the words of one key at most one is LIVE.  All changes are CASes
 * of exact words, and claims are unique, so no word is ever mistaken for one
 * that stood there before.
 *
 * L1  An entry (a flight) is written, then its word becomes LIVE by a CAS
 *     (release); readers load the word (acquire), then the entry.
 * L2  Claims by different setters, and the guard: a setter claims (CAS), looks
 *     at every other word, then at its guard, then commits (CAS).  A remover
 *     changes the guard, then looks at every word.  Each is read-modify-write
 *     followed by loads; the fence after it makes at least one side see the
 *     other.  On x86 the CAS is that fence.
 *
 * Progress: lock-free.  Every restart follows a change by somebody else.
 * A kill leaves EMPTY, LIVE, or a TENT; whoever meets a TENT may kill it.
 * Earlier work: the tentative bit of FASTER (Chandramouli et al., SIGMOD 2018).
 * Model: tests/model/line.pml.
 */
#include "line.h"

#include "barrier.h"
#include "testpoint.h"

#include <sched.h>

/* One attempt of a setter; persists over restarts. */
struct setter {
	struct member *me;
	const struct line_query *q;
	const struct line_guard *guard;
	bool impatient; /* has already given way once */
};

static bool
is_ours(const struct line_query *q, uint64_t word)
{
	return (word & WORD_MATCH_MASK) == (WORD_LIVE | q->tag) &&
	    q->same(q->arg, word);
}

static bool
is_tent(const struct line_query *q, uint64_t word)
{
	return (word & (WORD_LIVE | WORD_TENT | WORD_TAG_MASK)) ==
	    (WORD_TENT | q->tag);
}

/* Neither EMPTY nor LIVE nor TENT: a scribble.  Gives the place back. */
static uint64_t
sanitize(struct member *me, _Atomic uint64_t *at, uint64_t word)
{
	if (likely(word == WORD_EMPTY || (word & (WORD_LIVE | WORD_TENT)) != 0))
		return word;
	segment_doubt(me->seg);
	cas_word(at, word, WORD_EMPTY);
	return load_acquire(at);
}

/* Our preference goes to the home line; the order of places is fixed. */
static unsigned
place(const struct line_query *q, unsigned i)
{
	return i ^ (q->home * LINE_WORDS);
}

uint64_t
line_find(const struct line_query *q, _Atomic uint64_t **at)
{
	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		uint64_t word;

		*at = line_word(q->pair, place(q, i));
		word = load_acquire(*at); /* L1 */
		if (is_ours(q, word))
			return word;
	}
	return WORD_EMPTY;
}

static bool
guard_holds(const struct line_guard *guard)
{
	return guard == NULL ||
	    (load_acquire(guard->word) & guard->mask) == guard->value; /* L2 */
}

/* ---------------------------------------------------------------- tents --- */

static uint64_t
make_tent(struct setter *s)
{
	_Atomic uint64_t *claims = &s->me->slot->claims;
	uint64_t sequence = load_relaxed(claims) + 1; /* ours alone */

	store_relaxed(claims, sequence);
	return WORD_TENT | s->q->tag |
	    (uint64_t)s->me->index << WORD_OWNER_SHIFT |
	    (sequence & WORD_SEQUENCE_MASK);
}

/* Nobody will ever commit it. */
static bool
tent_is_dead(struct segment *seg, uint64_t tent)
{
	uint64_t owner = (tent & WORD_OWNER_MASK) >> WORD_OWNER_SHIFT;
	uint32_t word;

	if (owner >= seg->geo.participant_count)
		return true;
	word = load_acquire(&seg->participants[owner].life.futex); /* life.F1 */
	return word == 0 || life_word_dead(word);
}

/* False: it has changed, perhaps to LIVE. */
static bool
kill_tent(_Atomic uint64_t *at, uint64_t tent)
{
	bool killed = cas_word(at, tent, WORD_EMPTY);

	TESTPOINT("line_tent_killed");
	return killed;
}

/* An EMPTY word made a TENT, its place in *at; false: there is none. */
static bool
claim(struct setter *s, uint64_t tent, unsigned *at)
{
	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		_Atomic uint64_t *word = line_word(s->q->pair, place(s->q, i));
		uint64_t seen = sanitize(s->me, word, load_acquire(word));

		if ((seen & WORD_LIVE) == 0 && (seen & WORD_TENT) != 0 &&
		    tent_is_dead(s->me->seg, seen))
			(void)kill_tent(word, seen);
		if (load_relaxed(word) == WORD_EMPTY && /* the CAS decides */
		    cas_word(word, WORD_EMPTY, tent)) {
			barrier_full(); /* L2 */
			*at = place(s->q, i);
			TESTPOINT("line_claimed");
			return true;
		}
	}
	return false;
}

/*
 * After the claim: every other word once more.  True: nobody else can commit
 * this key before us without killing our TENT.
 */
static bool
is_alone(struct setter *s, unsigned mine)
{
	unsigned i = 0;

	while (i < PAIR_WORDS) {
		_Atomic uint64_t *at = line_word(s->q->pair, i);
		uint64_t seen = i == mine ? WORD_EMPTY : load_acquire(at); /* L2 */

		if (is_ours(s->q, seen))
			return false;
		if (!is_tent(s->q, seen)) {
			i++;
			continue;
		}
		if (i < mine && !s->impatient &&
		    !tent_is_dead(s->me->seg, seen)) {
			s->impatient = true;
			return false;
		}
		TESTPOINT("line_tent_met");
		/* Failed: it may be LIVE by now; the same word once more. */
		if (kill_tent(at, seen))
			i++;
	}
	return true;
}

/* ------------------------------------------------------------------ set --- */

/* Steps 2 to 5.  True: done, *answer; false: start again. */
static bool
insert(struct setter *s, uint64_t live, enum line_set *answer)
{
	uint64_t tent = make_tent(s);
	_Atomic uint64_t *at;
	unsigned mine;

	if (!claim(s, tent, &mine)) {
		*answer = LINE_FULL;
		return true;
	}
	at = line_word(s->q->pair, mine);
	if (!is_alone(s, mine)) {
		(void)cas_word(at, tent, WORD_EMPTY); /* failed: killed */
		TESTPOINT("line_retracted");
		sched_yield(); /* let whoever was before us finish */
		return false;
	}
	if (!guard_holds(s->guard)) {
		(void)cas_word(at, tent, WORD_EMPTY);
		*answer = LINE_GUARDED;
		return true;
	}
	if (!cas_word(at, tent, live)) /* L1 */
		return false;
	TESTPOINT("line_committed");
	*answer = LINE_SET;
	return true;
}

/* Step 1 with an old word.  True: done, *answer; false: start again. */
static bool
replace_word(struct setter *s, _Atomic uint64_t *at, uint64_t old,
    uint64_t live, enum line_set *answer)
{
	if (!guard_holds(s->guard)) {
		*answer = LINE_GUARDED;
		return true;
	}
	if (!cas_word(at, old, live)) /* L1 */
		return false;
	TESTPOINT("line_replaced");
	*answer = LINE_SET;
	return true;
}

enum line_set
line_set(struct member *me, const struct line_query *q, uint64_t live,
    const uint64_t *expected, const struct line_guard *guard, uint64_t *old)
{
	struct setter s = { .me = me, .q = q, .guard = guard };
	enum line_set answer = LINE_SET;
	_Atomic uint64_t *at;
	bool done;

	do {
		*old = line_find(q, &at);
		if (WORD_FREE_OF_FREQ(*old) == live) {
			*old = WORD_EMPTY; /* linked by whom we repair after */
			return LINE_SET;
		}
		if (expected != NULL && WORD_FREE_OF_FREQ(*old) !=
		    WORD_FREE_OF_FREQ(*expected))
			return LINE_OTHER;
		done = *old != WORD_EMPTY ?
		    replace_word(&s, at, *old, live, &answer) :
		    insert(&s, live, &answer);
	} while (!done);
	return answer;
}

/* --------------------------------------------------------------- remove --- */

uint64_t
line_remove(const struct line_query *q)
{
	uint64_t taken = WORD_EMPTY;

	barrier_full(); /* L2: the guards were changed before */
	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		_Atomic uint64_t *at = line_word(q->pair, i);
		uint64_t word = load_acquire(at); /* L1 */

		/* Again while it changes: each change is somebody's progress. */
		while (is_ours(q, word) || is_tent(q, word)) {
			if (cas_word(at, word, WORD_EMPTY)) {
				if ((word & WORD_LIVE) != 0)
					taken = word;
				TESTPOINT("line_removed");
				break;
			}
			word = load_acquire(at); /* L1 */
		}
	}
	return taken;
}
