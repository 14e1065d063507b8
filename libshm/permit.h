/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * So many at a time: the permits to compute a key that cannot be shared.
 *
 * A permit is a flight of a hash of its own that never has a result: to hold it
 * is to lead, to wait is to join, to give it back is to abandon.  So what
 * flight.c says of the dead and the late holds of permits.
 */
#ifndef LIBSHM_PERMIT_H
#define LIBSHM_PERMIT_H

#include "flight.h"

#define PERMITS_MAX 64u

struct permits {
	uint64_t hash; /* of the key */
	uint32_t count; /* 1 to PERMITS_MAX */
};

enum permit {
	PERMIT_HELD,	/* ours: permit_give_back() */
	PERMIT_WAITING, /* none is free, we have joined: permit_await() */
	PERMIT_AGAIN,	/* none was free, and then all was different */
	PERMIT_LATE,	/* the deadline passed */
	PERMIT_CYCLE,	/* waiting for any of them would deadlock */
	PERMIT_FULL,	/* no free record */
};

/* Takes a free permit.  PERMIT_HELD; PERMIT_FULL; else PERMIT_AGAIN. */
enum permit permit_try(struct member *me, const struct permits *p,
    uint64_t lease_ns, struct flight_hold *hold);

/* Takes a free permit, or joins those who wait for one.  Lock-free. */
enum permit permit_enter(struct member *me, const struct permits *p,
    uint64_t lease_ns, struct flight_hold *hold);

/* How many wait for any of them, the caller among them. */
unsigned permit_waiters(struct member *me, const struct permits *p);

/*
 * After PERMIT_WAITING: sleeps until a permit is ours.  Blocks at most until
 * deadline_ns.  Never answers PERMIT_WAITING: whatever it is, we have left.
 */
enum permit permit_await(struct member *me, const struct permits *p,
    uint64_t deadline_ns, uint64_t lease_ns, struct flight_hold *hold);

/*
 * Ends a hold; who waits gets the permit, for whichever it has queued.
 * Killed: as any death of a holder.
 */
void permit_give_back(struct member *me, const struct permits *p,
    const struct flight_hold *hold);

#endif
