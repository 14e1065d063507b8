/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks: the states of one, and appending to one's own.
 *
 * Which block to take or give up is evict.c's affair.
 */
#ifndef LIBSHM_BLOCK_H
#define LIBSHM_BLOCK_H

#include "participant.h"

static inline enum block_state
block_state(uint64_t word)
{
	return (enum block_state)(word >> BLOCK_STATE_SHIFT);
}

static inline enum block_class
block_class(uint64_t word)
{
	return (enum block_class)
	    ((word & BLOCK_CLASS_MASK) >> BLOCK_CLASS_SHIFT);
}

static inline uint32_t
block_owner(uint64_t word)
{
	return (uint32_t)((word & BLOCK_OWNER_MASK) >> BLOCK_OWNER_SHIFT);
}

static inline uint64_t
block_bytes(const struct segment *seg)
{
	return 1ull << seg->geo.block_shift;
}

/* Bytes in use of a block whose word is `word`. */
static inline uint64_t
block_used(const struct segment *seg, uint32_t block, uint64_t word)
{
	uint64_t used = load_relaxed(&seg->blocks[block].used); /* M1 */

	return used >> 32 == (word & UINT32_MAX) ? used & UINT32_MAX : 0;
}

/* What `used` holds for so many bytes in a block of this generation. */
static inline uint64_t
block_used_word(uint64_t generation, uint32_t bytes)
{
	return generation << 32 | bytes;
}

char *block_data(const struct segment *seg, uint32_t block);

/*
 * The word was scribbled: no such state, or nobody who could leave it.  For the
 * word of a block that is looked at, not for one of long ago.
 */
bool block_impossible(const struct segment *seg, uint64_t word);

/*
 * The transitions.  Each answers whether it made it; `word` is what the caller
 * saw, and a change in between makes it fail.  A kill leaves before or after.
 */
bool block_open(struct member *me, uint32_t block, uint64_t word,
    enum block_class class);
bool block_seal(struct segment *seg, uint32_t block, uint64_t word);
bool block_evict(struct segment *seg, uint32_t block, uint64_t word,
    uint32_t owner);
bool block_unevict(struct segment *seg, uint32_t block, uint64_t word);
bool block_retire(struct segment *seg, uint32_t block, uint64_t goal);
bool block_free(struct segment *seg, uint32_t block, uint64_t word);
bool block_salvage(struct segment *seg, uint32_t block, uint64_t word);

/* Seals the caller's own OPEN block; NO_BLOCK is ignored. */
void block_close(struct segment *seg, uint32_t block);

/*
 * Room for bytes at the tail: where, in 8-byte units from the data region.
 * False: not enough left in its block.  What was written becomes part of the
 * block with block_extend().
 */
bool block_room(const struct segment *seg, const struct tail *tail,
    uint64_t bytes, uint64_t *place);
void block_extend(struct segment *seg, struct tail *tail, uint64_t bytes);

#endif
