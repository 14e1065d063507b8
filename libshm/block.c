/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state word of a block.
 *
 *          block_open()         block_seal()          block_evict()
 *   FREE ---------------> OPEN ---------------> SEALED <------------> EVICTING
 *    ^ ^   (CAS owner)     |  (owner; reaper of        block_unevict()   |
 *    | |                   |   a dead owner)          (reaper of a dead  |
 *    | +-------------------+                           owner)            |
 *    |  block_free(): never published                                    |
 *    |                                                 block_retire()    |
 *    +------------------- RETIRED <--------------------------------------+
 *       block_free(): after its grace period, generation + 1
 *
 *   a scribble, block_impossible() ---> SEALED: block_salvage()
 *
 * Invariant: state, owner and generation change in one CAS of the exact word,
 * so a block is never owned without a record of by whom.  While OPEN or EVICTING
 * only the owner acts; of a dead one, only the holder of its life lock.
 *
 * M1  The owner's writes to the block (entries, used, next, head) happen before
 *     it is sealed (release); who evicts or reads it as SEALED acquires.
 * M2  The evictor's goal happens before RETIRED (release); who frees acquires.
 *
 * Progress: wait-free.  A kill leaves the state before or after.
 * Model: tests/model/block.pml.
 */
#include "block.h"

#include "testpoint.h"

static uint64_t
word_of(enum block_state state, enum block_class class, uint32_t owner,
    uint64_t generation)
{
	return (uint64_t)state << BLOCK_STATE_SHIFT |
	    (uint64_t)class << BLOCK_CLASS_SHIFT |
	    (uint64_t)owner << BLOCK_OWNER_SHIFT |
	    (generation & BLOCK_GENERATION_MASK);
}

/* The same block, class and generation in another state. */
static uint64_t
moved(uint64_t word, enum block_state state, uint32_t owner)
{
	return word_of(state, block_class(word), owner,
	    word & BLOCK_GENERATION_MASK);
}

char *
block_data(const struct segment *seg, uint32_t block)
{
	return seg->data + ((uint64_t)block << seg->geo.block_shift);
}

bool
block_open(struct member *me, uint32_t block, uint64_t word,
    enum block_class class)
{
	struct block *b = &me->seg->blocks[block];

	if (block_state(word) != BLOCK_FREE ||
	    !cas_word(&b->word, word, word_of(BLOCK_OPEN, class, me->index,
		word & BLOCK_GENERATION_MASK)))
		return false;
	TESTPOINT("block_opened");
	/* Ours alone now; M1 publishes. */
	store_relaxed(&b->used, block_used_word(word, 0));
	store_relaxed(&b->next, 0);
	store_relaxed(&b->head, 0);
	return true;
}

bool
block_seal(struct segment *seg, uint32_t block, uint64_t word)
{
	if (block_state(word) != BLOCK_OPEN)
		return false;
	return cas_word(&seg->blocks[block].word, word,
	    moved(word, BLOCK_SEALED, 0)); /* M1 */
}

bool
block_evict(struct segment *seg, uint32_t block, uint64_t word,
    uint32_t owner)
{
	if (block_state(word) != BLOCK_SEALED)
		return false;
	return cas_word(&seg->blocks[block].word, word,
	    moved(word, BLOCK_EVICTING, owner)); /* M1 */
}

bool
block_unevict(struct segment *seg, uint32_t block, uint64_t word)
{
	if (block_state(word) != BLOCK_EVICTING)
		return false;
	return cas_word(&seg->blocks[block].word, word,
	    moved(word, BLOCK_SEALED, 0)); /* M1 */
}

bool
block_retire(struct segment *seg, uint32_t block, uint64_t goal)
{
	struct block *b = &seg->blocks[block];
	uint64_t word = load_relaxed(&b->word); /* our own EVICTING */

	store_relaxed(&b->goal, goal); /* M2 publishes */
	return cas_word(&b->word, word, moved(word, BLOCK_RETIRED, 0));
}

bool
block_impossible(const struct segment *seg, uint64_t word)
{
	uint32_t owner = block_owner(word);

	if (block_state(word) != BLOCK_OPEN &&
	    block_state(word) != BLOCK_EVICTING)
		return block_state(word) > BLOCK_RETIRED;
	/* life.F1: before a slot is free, its blocks are nobody's. */
	return owner >= seg->geo.participant_count ||
	    load_acquire(&seg->participants[owner].life.futex) == 0;
}

bool
block_salvage(struct segment *seg, uint32_t block, uint64_t word)
{
	segment_doubt(seg);
	/* Whoever may take the slot meanwhile knows nothing of the block. */
	return cas_word(&seg->blocks[block].word, word,
	    moved(word, BLOCK_SEALED, 0)); /* M1 */
}

bool
block_free(struct segment *seg, uint32_t block, uint64_t word)
{
	if (block_state(word) != BLOCK_RETIRED &&
	    block_state(word) != BLOCK_OPEN)
		return false;
	return cas_word(&seg->blocks[block].word, word,
	    word_of(BLOCK_FREE, BLOCK_LOG, 0,
		(word & BLOCK_GENERATION_MASK) + 1)); /* M2 */
}

void
block_close(struct segment *seg, uint32_t block)
{
	if (block != NO_BLOCK)
		(void)block_seal(seg, block,
		    load_relaxed(&seg->blocks[block].word)); /* our own */
	TESTPOINT("block_sealed");
}

bool
block_room(const struct segment *seg, const struct tail *tail,
    uint64_t bytes, uint64_t *place)
{
	if (tail->block == NO_BLOCK || bytes > block_bytes(seg) - tail->used)
		return false;
	*place = (((uint64_t)tail->block << seg->geo.block_shift) +
	    tail->used) / ENTRY_ALIGN;
	return true;
}

void
block_extend(struct segment *seg, struct tail *tail, uint64_t bytes)
{
	tail->used += (uint32_t)bytes;
	store_release(&seg->blocks[tail->block].used,
	    block_used_word(tail->generation, tail->used)); /* M1 */
	TESTPOINT("block_extended");
}
