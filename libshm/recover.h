/* SPDX-License-Identifier: BSD-2-Clause */
/* Cleaning up after the dead: the one order of repairs. */
#ifndef LIBSHM_RECOVER_H
#define LIBSHM_RECOVER_H

#include "participant.h"

/*
 * Gives back what slot `index` left behind: flights, blocks, its section, pins
 * and wait cell.  The caller holds the slot's life lock, and works through its
 * own slot, which may be the same one.  Idempotent; killed in the middle, the
 * next caller begins again.
 */
void recover_repair(struct member *me, uint32_t index);

/*
 * Takes the lock of slot `index` if its owner is dead, and repairs.  False:
 * somebody else does, or has done so.
 */
bool recover_reap(struct member *me, uint32_t index);

/* recover_reap() of every dead slot; returns how many. */
unsigned recover_reap_all(struct member *me);

#endif
