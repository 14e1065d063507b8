/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The far end of grace.h: when a block may be reused.
 *
 * Invariant: GRACE_OVER is answered only if, after the target was unlinked, every
 * slot was seen idle, or in a newer section, or revoked; then with no wait cell
 * whose result is of the target; then with no pin on it - in this order, since
 * a reader pins inside its section and a waiter pins before it clears its cell.
 *
 * Edges
 * G1  reader: epoch (or pin, or wait cell) stored, light barrier, index read.
 *     Here: index unlinked, heavy barrier, epochs (pins, cells) read.  One of
 *     the two sees the other.
 * G2  reader: reads and pins, then epoch = idle (release).  Here: epoch read
 *     (acquire), then the pins.
 * G3  here: revoked stored, heavy barrier, memory reused.  Reader: memory read,
 *     acquire fence, revoked read.
 * G4  unpin (release) after the last read; pins read here (acquire).
 *
 * Progress: wait-free, two scans of the table at most.  A kill leaves nothing
 * but a note in suspect_*.  Model: tests/model/grace.pml.
 */
#include "grace.h"

#include "clock.h"
#include "counters.h"
#include "testpoint.h"

/* How long a section may last before memory is taken from it (R28). */
#define SECTION_LEASE_NS (50 * NS_PER_MS)

/* What of a LIVE word tells one entry from all others. */
#define ENTRY_MASK (WORD_LIVE | ((1ull << WORD_TAG_SHIFT) - 1))

struct grace_target
grace_block(const struct segment *seg, uint32_t block)
{
	uint64_t places = (1ull << seg->geo.block_shift) / ENTRY_ALIGN;

	return (struct grace_target){
		.mask = WORD_LIVE | (WORD_PLACE_MASK & ~(places - 1)),
		.value = WORD_LIVE | block * places,
	};
}

struct grace_target
grace_piece(uint64_t head)
{
	/* Without an entry nobody can hold it: a pair that matches nothing. */
	if ((head & WORD_LIVE) == 0)
		return (struct grace_target){ .mask = 0, .value = 1 };
	return (struct grace_target){ ENTRY_MASK, head & ENTRY_MASK };
}

static bool
is_target(struct grace_target target, uint64_t entry)
{
	return (entry & target.mask) == target.value;
}

int
grace_pin(struct member *me, uint64_t entry)
{
	for (int i = 0; i < (int)PINS; i++) {
		/* Relaxed: only the owner writes its cells. */
		if (load_relaxed(&me->slot->pins[i]) != 0)
			continue;
		store_relaxed(&me->slot->pins[i], entry & ENTRY_MASK); /* G1 */
		barrier_light(me->seg->fences);
		TESTPOINT("grace_pinned");
		return i;
	}
	return -1;
}

bool
grace_unpin(struct member *me, int cell, uint64_t entry)
{
	/* Another view's by now, if this one was copied and released twice. */
	if (cell < 0 || cell >= (int)PINS ||
	    load_relaxed(&me->slot->pins[cell]) != (entry & ENTRY_MASK))
		return false;
	store_release(&me->slot->pins[cell], 0); /* G4 */
	return true;
}

/* Each revocation takes a lease, or frees memory that somebody waits for. */
#define RETRIES_MAX 1000u

bool
grace_retry(struct member *me, unsigned n)
{
	count(me->slot, COUNT_RETRIES);
	if (n < RETRIES_MAX)
		return true;
	segment_doubt(me->seg);
	/* Nobody revokes an epoch that has not been. */
	if (load_relaxed(&me->slot->revoked) >
	    load_relaxed(&me->seg->header->epoch) + 1)
		store_relaxed(&me->slot->revoked, 0);
	return false;
}

uint64_t
grace_start(struct segment *seg)
{
	/* Release: who draws a newer epoch sees the unlinking (G1). */
	return atomic_fetch_add_explicit(&seg->header->epoch, 1,
	    memory_order_acq_rel) + 2;
}

/* ------------------------------------------------------------ one slot --- */

/* In a section that may have begun before goal. */
static uint64_t
section_before(struct participant *slot, uint64_t goal)
{
	uint64_t epoch = load_acquire(&slot->epoch); /* G2 */

	if (epoch == EPOCH_IDLE || epoch >= goal ||
	    epoch <= load_relaxed(&slot->revoked)) /* only ever grows */
		return EPOCH_IDLE;
	return epoch;
}

/* The result that the slot's owner waits for is of the target. */
static bool
awaits(struct segment *seg, struct participant *slot,
    struct grace_target target)
{
	uint64_t wait = load_acquire(&slot->wait); /* flight.W1 */
	struct flight *flight;
	uint64_t state;

	if (wait == 0 || wait > seg->geo.flight_count)
		return false;
	flight = &seg->flights[wait - 1];
	state = load_acquire(&flight->word) & FLIGHT_STATE_MASK; /* flight.W2 */
	return (state == FLIGHT_RESULT || state == FLIGHT_DONE) &&
	    is_target(target, load_relaxed(&flight->result));
}

static bool
pins(struct participant *slot, struct grace_target target)
{
	for (unsigned i = 0; i < PINS; i++)
		if (is_target(target, load_acquire(&slot->pins[i]))) /* G4 */
			return true;
	return false;
}

/* Its section has gone on, as far as anybody has seen, for the lease. */
static bool
overstays(struct participant *slot, uint64_t epoch)
{
	uint64_t now = clock_ns();

	/* Relaxed notes: if two pollers disturb each other, it takes longer. */
	if (load_relaxed(&slot->suspect_epoch) != epoch) {
		store_relaxed(&slot->suspect_epoch, epoch);
		store_relaxed(&slot->suspect_ns, now);
		return false;
	}
	return now - load_relaxed(&slot->suspect_ns) > SECTION_LEASE_NS;
}

static void
revoke(struct member *me, struct participant *slot, uint64_t epoch)
{
	uint64_t revoked = load_relaxed(&slot->revoked); /* the CAS decides */

	while (revoked < epoch && !cas_word(&slot->revoked, revoked, epoch))
		revoked = load_relaxed(&slot->revoked);
	count(me->slot, COUNT_REVOKED);
	TESTPOINT("grace_revoked");
}

/* --------------------------------------------------------------- scans --- */

static bool
is_dead(struct participant *slot)
{
	return life_word_dead(load_acquire(&slot->life.futex)); /* life.F1 */
}

/* Nobody owns the slot: what stands in it is a scribble and protects nothing. */
static bool
is_free(struct participant *slot)
{
	return load_acquire(&slot->life.futex) == 0; /* life.F1 */
}

/*
 * One look at every slot.  Revokes where that is due and says so in *again:
 * a revocation counts from the next heavy barrier on.
 */
static enum grace
scan(struct member *me, uint64_t goal, struct grace_target target,
    bool press, bool *again, uint32_t *dead)
{
	struct segment *seg = me->seg;

	for (uint32_t i = 0; i < seg->geo.participant_count; i++) {
		struct participant *slot = &seg->participants[i];
		uint64_t epoch = section_before(slot, goal);

		if (epoch == EPOCH_IDLE && !awaits(seg, slot, target) &&
		    !pins(slot, target))
			continue;
		if (is_free(slot))
			continue;
		if (is_dead(slot)) {
			*dead = i;
			return GRACE_DEAD;
		}
		if (epoch == EPOCH_IDLE ||
		    !(press || overstays(slot, epoch)))
			return GRACE_HELD;
		revoke(me, slot, epoch);
		*again = true;
	}
	return *again ? GRACE_HELD : GRACE_OVER;
}

enum grace
grace_poll(struct member *me, uint64_t goal, struct grace_target target,
    bool press, uint32_t *dead)
{
	enum grace answer = GRACE_HELD;

	for (unsigned round = 0; round < 2; round++) {
		bool again = false;

		if (!barrier_heavy(me->seg->fences)) /* G1, G3 */
			return GRACE_HELD;
		answer = scan(me, goal, target, press, &again, dead);
		if (!again)
			break;
	}
	return answer;
}

bool
grace_held(struct segment *seg, struct grace_target target)
{
	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		if ((awaits(seg, &seg->participants[i], target) ||
			pins(&seg->participants[i], target)) &&
		    !is_free(&seg->participants[i]))
			return true;
	return false;
}
