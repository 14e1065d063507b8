/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repairs after a death: see recover.h and the table in docs/design.md.
 *
 * Invariant: only the holder of a slot's life lock repairs it, so for what the
 * dead one owned the reaper is the owner: it links what was committed while the
 * block that holds it still is OPEN, and seals that block only then.
 * Edges: life.F1 brings everything that the dead one stored.
 * Progress: bounded by the number of flights and blocks.
 * A kill leaves the slot dead again, and the repair half done, to be repeated.
 */
#include "recover.h"

#include "block.h"
#include "counters.h"
#include "flight.h"
#include "grace.h"
#include "publish.h"
#include "testpoint.h"

/*
 * The entry of a flight that was committed and perhaps not linked.  What was
 * meant for its waiters only is not; a key that lies in pieces is left out: its
 * waiters have it, the next caller computes.
 */
static void
link_result(struct member *me, const struct flight_hold *hold)
{
	struct entry_view view;
	bool superseded;
	uint64_t entry = flight_result(me, hold, &superseded), old;
	struct key key;

	if (entry == 0 || !entry_read(me->seg, entry, &view) ||
	    (view.flags & ENTRY_UNLINKED) != 0 || view.key == NULL)
		return;
	key.bytes = view.key;
	key.size = view.key_bytes;
	/* Not computed: the seed may have changed since, by a flush. */
	key.hash = load_relaxed(&me->seg->flights[hold->number].hash); /* W3 */
	grace_enter(me);
	(void)publish_result(me, &key, entry, hold,
	    flight_seen(me->seg, hold->number), &old);
	grace_exit(me);
	TESTPOINT("recover_linked");
}

static void
repair_flights(struct member *me, uint32_t index)
{
	struct flight_hold hold = { 0 };

	/* Each turn takes one flight out of RESULT. */
	while (flight_repair(me, index, &hold.number)) {
		hold.token = flight_token(
		    load_acquire(&me->seg->flights[hold.number].word));
		link_result(me, &hold);
		flight_finish(me, hold.number);
	}
}

static void
repair_blocks(struct segment *seg, uint32_t index)
{
	for (uint32_t i = 0; i < seg->geo.block_count; i++) {
		uint64_t word = load_acquire(&seg->blocks[i].word); /* block.M1 */

		if (block_owner(word) != index)
			continue;
		if (block_seal(seg, i, word) || block_unevict(seg, i, word))
			TESTPOINT("recover_block");
	}
}

static void
clear_slot(struct participant *slot)
{
	store_release(&slot->wait, 0);
	for (unsigned i = 0; i < PINS; i++)
		store_release(&slot->pins[i], 0);
	store_release(&slot->epoch, EPOCH_IDLE);
	TESTPOINT("recover_cleared");
}

void
recover_repair(struct member *me, uint32_t index)
{
	clear_slot(&me->seg->participants[index]);
	repair_flights(me, index);
	repair_blocks(me->seg, index);
}

bool
recover_reap(struct member *me, uint32_t index)
{
	struct participant *slot = &me->seg->participants[index];
	struct life life;
	enum life_taken taken;

	life_probe(slot, load_relaxed(&me->slot->pid_namespace)); /* our own */
	/* Acquire, life.F1; a guess that life_take() verifies. */
	if (!life_word_dead(load_acquire(&slot->life.futex)))
		return false;
	taken = life_take(me->seg, slot, &life);
	if (taken == LIFE_DEAD) {
		recover_repair(me, index);
		count(me->slot, COUNT_REAPED);
	}
	if (taken == LIFE_DEAD || taken == LIFE_CLEAN)
		life_release(&life);
	return taken == LIFE_DEAD;
}

unsigned
recover_reap_all(struct member *me)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < me->seg->geo.participant_count; i++)
		n += recover_reap(me, i);
	return n;
}
