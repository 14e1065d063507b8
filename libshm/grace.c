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
 * Progress: wait-free, as many scans of the table as sections are revoked in one, and one more.  A kill leaves nothing
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

/* In a section that may have begun before goal: its epoch. */
static uint64_t
section_before(struct participant *slot, uint64_t goal)
{
	uint64_t epoch = load_acquire(&slot->epoch); /* G2 */

	return epoch >= goal ? EPOCH_IDLE : epoch;
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

/* Sections to be revoked at a time; more have to wait. */
#define REVOKED_MAX 16u

/*
 * A poll over its rounds.  A revocation counts only from the heavy barrier after
 * it on: before, its reader may have pinned and looked at `revoked` with the pin
 * still on its way.  So the sections seen revoked in one round are noted, and
 * passed over in the next, which begins with that barrier.
 */
struct poll {
	struct member *me;
	uint64_t goal;
	struct grace_target target;
	bool press;
	uint32_t dead;
	unsigned noted; /* in this round and before */
	unsigned known; /* before this round's barrier */
	struct {
		uint32_t slot;
		uint64_t epoch;
	} revoked[REVOKED_MAX];
};

static bool
is_known(const struct poll *p, uint32_t slot, uint64_t epoch)
{
	for (unsigned i = 0; i < p->known; i++)
		if (p->revoked[i].slot == slot && p->revoked[i].epoch == epoch)
			return true;
	return false;
}

/* The section is revoked, by us if that is due; noted for the next round. */
static bool
note_revoked(struct poll *p, uint32_t i, uint64_t epoch)
{
	struct participant *slot = &p->me->seg->participants[i];

	if (p->noted == REVOKED_MAX)
		return false;
	if (epoch > load_relaxed(&slot->revoked)) { /* only ever grows */
		if (!p->press && !overstays(slot, epoch))
			return false;
		revoke(p->me, slot, epoch);
	}
	p->revoked[p->noted].slot = i;
	p->revoked[p->noted++].epoch = epoch;
	return true;
}

/* One look at every slot. */
static enum grace
scan(struct poll *p)
{
	struct segment *seg = p->me->seg;

	for (uint32_t i = 0; i < seg->geo.participant_count; i++) {
		struct participant *slot = &seg->participants[i];
		uint64_t epoch = section_before(slot, p->goal);

		if (epoch != EPOCH_IDLE && is_known(p, i, epoch))
			epoch = EPOCH_IDLE;
		if (epoch == EPOCH_IDLE && !awaits(seg, slot, p->target) &&
		    !pins(slot, p->target))
			continue;
		if (is_free(slot))
			continue;
		if (is_dead(slot)) {
			p->dead = i;
			return GRACE_DEAD;
		}
		if (epoch == EPOCH_IDLE || !note_revoked(p, i, epoch))
			return GRACE_HELD;
	}
	return p->noted > p->known ? GRACE_HELD : GRACE_OVER;
}

enum grace
grace_poll(struct member *me, uint64_t goal, struct grace_target target,
    bool press, uint32_t *dead)
{
	struct poll p = { .me = me, .goal = goal, .target = target,
		.press = press };
	enum grace answer;

	/* Each round but the last has noted a section more. */
	do {
		p.known = p.noted;
		if (!barrier_heavy(me->seg->fences)) /* G1, G3 */
			return GRACE_HELD;
		answer = scan(&p);
	} while (answer == GRACE_HELD && p.noted > p.known);
	*dead = p.dead;
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
