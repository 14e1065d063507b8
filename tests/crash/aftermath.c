/* SPDX-License-Identifier: BSD-2-Clause */
/* See aftermath.h. */
#include "aftermath.h"

#include "block.h"
#include "flight.h"

#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool
is_of(uint64_t slots, uint32_t slot)
{
	return slot < 64 && (slots & SLOT(slot)) != 0;
}

/* The block is its owner's alone. */
static bool
block_is_held(uint64_t word)
{
	return block_state(word) == BLOCK_OPEN ||
	    block_state(word) == BLOCK_EVICTING;
}

static bool
flight_is_held(uint64_t word)
{
	return flight_state(word) == FLIGHT_CLAIMED ||
	    flight_state(word) == FLIGHT_LEAD ||
	    flight_state(word) == FLIGHT_RESULT;
}

struct holdings
holdings_of_others(const struct segment *seg, uint64_t slots)
{
	struct holdings held = { 0 };

	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		held.slots += !is_of(slots, i) &&
		    load_acquire(&seg->participants[i].life.futex) != 0;
	for (uint32_t i = 0; i < seg->geo.block_count; i++) {
		uint64_t word = load_acquire(&seg->blocks[i].word);

		held.blocks += block_is_held(word) &&
		    !is_of(slots, block_owner(word));
	}
	for (uint32_t i = 0; i < seg->geo.flight_count; i++) {
		uint64_t word = load_acquire(&seg->flights[i].word);

		held.flights += flight_is_held(word) &&
		    !is_of(slots, flight_leader(word));
	}
	return held;
}

/* ---------------------------------------------------------------- leaks --- */

struct leaks {
	shmc_finding *finding;
	void *arg;
	unsigned count;
};

static void __attribute__((format(printf, 2, 3)))
leaks_say(struct leaks *l, const char *format, ...)
{
	char sentence[128];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	l->finding(sentence, l->arg);
	l->count++;
}

/* Only cleared words: a slot that nobody holds must hold nothing. */
static void
slot_leaks(struct leaks *l, const struct segment *seg, uint32_t slot)
{
	const struct participant *p = &seg->participants[slot];
	unsigned pins = 0;

	if (load_acquire(&p->life.futex) != 0)
		leaks_say(l, "slot %u: still held, life word %#x", slot,
		    load_acquire(&p->life.futex));
	for (unsigned i = 0; i < PINS; i++)
		pins += load_acquire(&p->pins[i]) != 0;
	if (pins != 0)
		leaks_say(l, "slot %u: %u pins left", slot, pins);
	if (load_acquire(&p->wait) != 0)
		leaks_say(l, "slot %u: its wait cell is left", slot);
	if (load_acquire(&p->epoch) != 0)
		leaks_say(l, "slot %u: its section is left", slot);
}

unsigned
aftermath_leaks(const struct segment *seg, uint64_t living,
    shmc_finding *finding, void *arg)
{
	struct leaks l = { finding, arg, 0 };

	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		if (!is_of(living, i))
			slot_leaks(&l, seg, i);
	for (uint32_t i = 0; i < seg->geo.block_count; i++) {
		uint64_t word = load_acquire(&seg->blocks[i].word);

		if (block_is_held(word) && !is_of(living, block_owner(word)))
			leaks_say(&l, "block %u: in state %u, held by slot %u",
			    i, block_state(word), block_owner(word));
	}
	for (uint32_t i = 0; i < seg->geo.flight_count; i++) {
		uint64_t word = load_acquire(&seg->flights[i].word);

		if (flight_is_held(word) && !is_of(living, flight_leader(word)))
			leaks_say(&l, "flight %u: in state %u, led by slot %u",
			    i, flight_state(word), flight_leader(word));
	}
	return l.count;
}

/* ---------------------------------------------------------------- slots --- */

uint64_t
aftermath_own_slot(const struct segment *seg)
{
	uint32_t tid = (uint32_t)syscall(SYS_gettid);

	for (uint32_t i = 0; i < seg->geo.participant_count && i < 64; i++)
		if ((load_acquire(&seg->participants[i].life.futex) &
		    FUTEX_TID_MASK) == tid)
			return SLOT(i);
	return 0;
}

uint64_t
aftermath_dead_slots(const struct segment *seg)
{
	uint64_t dead = 0;

	for (uint32_t i = 0; i < seg->geo.participant_count && i < 64; i++)
		if ((load_acquire(&seg->participants[i].life.futex) &
		    FUTEX_OWNER_DIED) != 0)
			dead |= SLOT(i);
	return dead;
}
