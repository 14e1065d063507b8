/* SPDX-License-Identifier: BSD-2-Clause */
/* Where memory comes from: which block to open, and which to give up for it. */
#ifndef LIBSHM_EVICT_H
#define LIBSHM_EVICT_H

#include "block.h"

/*
 * Opens a block for the caller, evicting in block order if none is FREE.  SIDE
 * blocks keep to their share: beyond it only the oldest of them is evicted.
 * Outside read sections.  False: every block is being written, evicted by
 * somebody alive, or pinned.  Never blocks.
 */
bool evict_open_block(struct member *me, enum block_class class,
    uint32_t *block);

/*
 * Room for bytes (at most a block) at one of the caller's tails, in a new block
 * of the class if need be: as block_room().
 */
bool evict_room(struct member *me, struct tail *tail, enum block_class class,
    uint64_t bytes, uint64_t *place);

/*
 * Retires the pieces of an entry that the caller has just unlinked; nothing to
 * do if it is not LARGE.  In a read section.
 */
void evict_pieces(struct member *me, uint64_t entry);

/* Whether so many blocks are free or could be made so.  Walks all blocks. */
bool evict_could_open(struct member *me, uint32_t blocks);

#endif
