/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grace periods over processes: when memory that was unlinked may be reused.
 *
 * Read-copy update (McKenney and Slingwine 1998), with epochs (Fraser 2004) in
 * the participants' slots, an asymmetric barrier, hazard pointers (Michael
 * 2004) for what is held long, and revocation of readers that stopped.
 */
#ifndef LIBSHM_GRACE_H
#define LIBSHM_GRACE_H

#include "barrier.h"
#include "participant.h"

#define EPOCH_IDLE 0ull

/*
 * Begins a read section: what is linked now stays readable until
 * grace_exit(), unless the section is revoked.  Not nested.  Wait-free.
 */
static inline void
grace_enter(struct member *me)
{
	/* G1, the far end: an epoch drawn after an unlinking shows it. */
	me->epoch = load_acquire(&me->seg->header->epoch) + 1;
	/* G1: announced before anything is read. */
	store_relaxed(&me->slot->epoch, me->epoch);
	barrier_light(me->seg->fences);
}

/* G2: all reads are over; pins made inside stay visible. */
static inline void
grace_exit(struct member *me)
{
	store_release(&me->slot->epoch, EPOCH_IDLE);
}

/*
 * A section was revoked and is begun again, for the nth time.  False: that
 * cannot be; a scribbled epoch or `revoked` is put right where it can be.
 */
bool grace_retry(struct member *me, unsigned n);

/*
 * Whether what this section has read so far can be trusted.  If not, drop it
 * all and begin again.  G3: a revoker stores `revoked`, runs the heavy
 * barrier, and only then is memory reused; so whoever read reused memory sees
 * the revocation here.
 */
static inline bool
grace_trusted(struct member *me)
{
	barrier_reads();
	return load_relaxed(&me->slot->revoked) < me->epoch;
}

/*
 * Inside a section: holds an entry (a LIVE word) beyond it, with its block and
 * its pieces.  Returns the cell, for grace_unpin(), or -1 if all are in use.
 * The pin counts only if grace_trusted() says so afterwards.
 */
int grace_pin(struct member *me, uint64_t entry);
/* False: the cell does not hold this entry. */
bool grace_unpin(struct member *me, int cell, uint64_t entry);

/*
 * What is to be reused, said by the entries that must not be held any more:
 * all in a block, or the one to which a piece belongs.
 */
struct grace_target {
	uint64_t mask; /* of an entry's LIVE word */
	uint64_t value;
};

struct grace_target grace_block(const struct segment *seg, uint32_t block);
struct grace_target grace_piece(uint64_t head);

enum grace {
	GRACE_OVER, /* nobody can reach it: it may be reused */
	GRACE_HELD, /* somebody may: ask again later */
	GRACE_DEAD, /* a dead participant may: reap *dead, ask again */
};

/* After unlinking: what grace_poll() is to be asked for later. */
uint64_t grace_start(struct segment *seg);

/*
 * Whether the target, unlinked before goal was drawn, is out of everybody's
 * reach.  Readers that keep it for longer than a lease are revoked; with
 * press, at once.  Never blocks.  Call it outside read sections.
 */
enum grace grace_poll(struct member *me, uint64_t goal,
    struct grace_target target, bool press, uint32_t *dead);

/* Whether somebody pins an entry of the target, or awaits it as a result. */
bool grace_held(struct segment *seg, struct grace_target target);

#endif
