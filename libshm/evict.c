/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving up blocks in their order.
 *
 * The blocks form a ring.  A hand goes round: blocks are opened at the hand, so
 * ahead of it lie the oldest.  Whoever opens a block also evicts a little ahead
 * of the hand, so that grace periods pass before the hand arrives.
 *
 * Invariant: a block is retired only after every index word that names an entry
 * in it was unlinked, and is freed only after grace_poll().
 * Edges: block.M1, M2; grace.G1.
 * Progress: lock-free.  Blocks of the dead are reaped in passing.
 * A kill leaves a block EVICTING(dead): the reaper seals it, it is evicted again.
 */
#include "evict.h"

#include "counters.h"
#include "grace.h"
#include "index.h"
#include "recover.h"
#include "testpoint.h"

/* How far ahead of the hand blocks are evicted: one part in so many. */
#define AHEAD_PART 64u
#define AHEAD_MIN 2u
#define AHEAD_MAX 32u
/* What is no value may take one part in so many of the blocks (R19). */
#define SIDE_PART 20u
/* What one call evicts before it takes memory from slow readers. */
#define PATIENCE 2u

/* ---------------------------------------------------------- large values -- */

/* Whose pieces: LIVE | generation | place. */
static uint64_t
head_of(uint64_t entry)
{
	return WORD_LIVE | (entry & ((1ull << WORD_TAG_SHIFT) - 1));
}

static bool
is_piece_of(const struct segment *seg, uint32_t piece, uint64_t word,
    uint64_t head)
{
	return block_class(word) == BLOCK_PIECE &&
	    load_relaxed(&seg->blocks[piece].head) == head; /* block.M1 */
}

static void
retire_piece(struct member *me, uint32_t piece, uint64_t word, uint64_t goal)
{
	if (!block_evict(me->seg, piece, word, me->index))
		return; /* somebody is at it, perhaps we ourselves */
	TESTPOINT("evict_piece");
	(void)block_retire(me->seg, piece, goal);
	count(me->slot, COUNT_EVICTED_BLOCKS);
}

void
evict_pieces(struct member *me, uint64_t entry)
{
	struct segment *seg = me->seg;
	struct entry_view view;
	uint32_t piece, next;
	uint64_t goal, word;

	if (!entry_read(seg, entry, &view) || (view.flags & ENTRY_LARGE) == 0)
		return;
	goal = grace_start(seg);
	piece = view.first_piece;
	for (uint32_t i = 0; i < view.piece_count; i++) {
		word = load_acquire(&seg->blocks[piece].word); /* block.M1 */
		if (!is_piece_of(seg, piece, word, head_of(entry)))
			break;
		/* Read it before the piece can be reused. */
		next = load_relaxed(&seg->blocks[piece].next);
		retire_piece(me, piece, word, goal);
		if (next == 0 || next > seg->geo.block_count)
			break;
		piece = next - 1;
	}
}

/* ----------------------------------------------------------- one block --- */

static void
unlink_entry(struct member *me, uint64_t entry, uint32_t hash_high)
{
	if (!index_evict(me->seg, entry, hash_high))
		return;
	count(me->slot, COUNT_EVICTED_ENTRIES);
	evict_pieces(me, entry);
}

/* Every entry of a LOG or SIDE block that we are evicting. */
static void
unlink_entries(struct member *me, uint32_t block, uint64_t generation)
{
	struct segment *seg = me->seg;
	uint64_t used = min_u64(block_used(seg, block, generation),
	    block_bytes(seg));
	struct entry_view view;

	for (uint64_t at = 0; at < used; at += view.total_bytes) {
		uint64_t place = (((uint64_t)block << seg->geo.block_shift) +
		    at) / ENTRY_ALIGN;
		uint64_t entry = entry_word(place, generation);

		if (!entry_read(seg, entry, &view)) {
			segment_doubt(seg);
			index_evict_block(seg, block);
			return;
		}
		unlink_entry(me, entry, view.hash_high);
	}
}

/* SEALED to RETIRED; false: it was not SEALED any more. */
static bool
evict_block(struct member *me, uint32_t block, uint64_t word)
{
	struct segment *seg = me->seg;
	struct block *b = &seg->blocks[block];

	if (!block_evict(seg, block, word, me->index))
		return false;
	TESTPOINT("evict_begun");
	if (block_class(word) != BLOCK_PIECE)
		unlink_entries(me, block, word & BLOCK_GENERATION_MASK);
	else if (load_relaxed(&b->head) != 0) /* block.M1 */
		unlink_entry(me, load_relaxed(&b->head),
		    load_relaxed(&b->head_hash));
	TESTPOINT("evict_unlinked");
	(void)block_retire(seg, block, grace_start(seg));
	count(me->slot, COUNT_EVICTED_BLOCKS);
	TESTPOINT("evict_retired");
	return true;
}

/* Which entries must not be held when the block is reused. */
static struct grace_target
target_of(const struct segment *seg, uint32_t block, uint64_t word)
{
	if (block_class(word) == BLOCK_PIECE)
		return grace_piece(
		    load_relaxed(&seg->blocks[block].head)); /* M1 */
	return grace_block(seg, block);
}

/* RETIRED to FREE once nobody can reach it. */
static bool
free_retired(struct member *me, uint32_t block, uint64_t word, bool press)
{
	struct segment *seg = me->seg;
	uint64_t goal = load_relaxed(&seg->blocks[block].goal); /* block.M2 */
	struct grace_target target = target_of(seg, block, word);
	enum grace grace;
	uint32_t dead;

	/* Each turn reaps one dead participant, or finds another at it. */
	do
		grace = grace_poll(me, goal, target, press, &dead);
	while (grace == GRACE_DEAD && recover_reap(me, dead));
	if (grace != GRACE_OVER)
		return false;
	TESTPOINT("evict_grace_over");
	return block_free(seg, block, word);
}

/* ------------------------------------------------------------- the hand --- */

/*
 * The hand counts on without end; its block is the remainder.  It only moves
 * on: whoever is late must not take what was opened since for the oldest.
 * Relaxed: a hint, any value is right.
 */
static uint64_t
hand_of(const struct segment *seg)
{
	return load_relaxed(&seg->header->hand);
}

static void
move_hand(struct segment *seg, uint64_t to)
{
	uint64_t hand = hand_of(seg);

	while (hand < to && !cas_word(&seg->header->hand, hand, to))
		hand = hand_of(seg);
}

/*
 * Neither FREE nor SEALED nor RETIRED.  If its owner died it becomes SEALED, if
 * we are who reaps; and if nobody can own it.
 */
static void
settle(struct member *me, uint32_t block, uint64_t word)
{
	if (block_impossible(me->seg, word))
		(void)block_salvage(me->seg, block, word);
	else if (block_owner(word) != me->index)
		(void)recover_reap(me, block_owner(word));
}

static bool
is_settled(uint64_t word)
{
	return block_state(word) == BLOCK_FREE ||
	    block_state(word) == BLOCK_SEALED ||
	    block_state(word) == BLOCK_RETIRED;
}

/*
 * The hand has come round since it was opened.  Without this, who was late with
 * the hand would evict what others opened and sealed in the meantime.
 */
static bool
is_old(const struct segment *seg, uint32_t block, uint64_t hand)
{
	uint64_t opened = load_relaxed(&seg->blocks[block].opened_at); /* M1 */

	return hand - min_u64(opened, hand) >= seg->geo.block_count / 2;
}

/*
 * Makes the block, which stands at the hand, FREE if its state and `budget`
 * evictions allow; with press also if it is young.
 */
static void
make_free(struct member *me, uint32_t block, uint64_t hand, bool press,
    unsigned *budget)
{
	_Atomic uint64_t *at = &me->seg->blocks[block].word;
	uint64_t word = load_acquire(at); /* block.M1, M2 */

	if (!is_settled(word)) {
		settle(me, block, word);
		word = load_acquire(at);
	}
	if (block_state(word) == BLOCK_SEALED && *budget > 0 &&
	    (press || is_old(me->seg, block, hand)) &&
	    !grace_held(me->seg, target_of(me->seg, block, word)) &&
	    evict_block(me, block, word)) {
		--*budget;
		word = load_acquire(at);
	}
	if (block_state(word) == BLOCK_RETIRED)
		(void)free_retired(me, block, word, press);
}

/* Ours alone; block.M1 publishes. */
static void
note_opened(struct segment *seg, uint32_t block, uint64_t hand)
{
	store_relaxed(&seg->blocks[block].opened_at, hand);
}

/* One way round from the hand, as far as the budget of evictions goes. */
static bool
open_from_hand(struct member *me, enum block_class class, bool press,
    unsigned budget, uint32_t *block)
{
	struct segment *seg = me->seg;
	uint64_t count = seg->geo.block_count, hand = hand_of(seg);

	for (uint64_t i = 0; i < count && budget > 0; i++) {
		uint64_t word;

		*block = (uint32_t)((hand + i) % count);
		make_free(me, *block, hand + i, press, &budget);
		word = load_acquire(&seg->blocks[*block].word); /* block.M2 */
		if (block_open(me, *block, word, class)) {
			note_opened(seg, *block, hand + i);
			move_hand(seg, hand + i + 1);
			return true;
		}
	}
	return false;
}

/* Keeps some blocks before the hand unlinked, so that they age. */
static void
evict_ahead(struct member *me)
{
	struct segment *seg = me->seg;
	uint64_t count = seg->geo.block_count, hand = hand_of(seg);
	uint64_t ahead = min_u64(max_u64(count / AHEAD_PART, AHEAD_MIN),
	    AHEAD_MAX);
	unsigned budget = PATIENCE;

	for (uint64_t i = 0; i < ahead && budget > 0; i++) {
		uint32_t next = (uint32_t)((hand + i) % count);
		uint64_t word = load_acquire(&seg->blocks[next].word); /* M1 */

		if (block_state(word) == BLOCK_SEALED &&
		    is_old(seg, next, hand + i) &&
		    !grace_held(seg, target_of(seg, next, word)) &&
		    evict_block(me, next, word))
			budget--;
	}
}

/* ------------------------------------------------------ their fair share -- */

/* A RETIRED one counts until it is FREE: else a value's block replaced it. */
static bool
is_side(uint64_t word)
{
	enum block_state state = block_state(word);

	return block_class(word) == BLOCK_SIDE && state > BLOCK_FREE &&
	    state <= BLOCK_RETIRED;
}

/* How many SIDE blocks more there may be; negative: too many there are. */
static int
side_left(const struct segment *seg)
{
	uint32_t count = seg->geo.block_count, used = 0;

	for (uint32_t i = 0; i < count; i++)
		used += is_side(load_relaxed(&seg->blocks[i].word)); /* a count */
	return (int)max_u64(2, count / SIDE_PART) - (int)used;
}

/* The oldest SIDE block, for another one. */
static bool
reopen_side(struct member *me, uint32_t *block)
{
	struct segment *seg = me->seg;
	uint64_t count = seg->geo.block_count, hand = hand_of(seg);
	unsigned budget = PATIENCE;

	for (uint64_t i = 0; i < count && budget > 0; i++) {
		_Atomic uint64_t *at;

		*block = (uint32_t)((hand + i) % count);
		at = &seg->blocks[*block].word;
		if (!is_side(load_relaxed(at))) /* make_free() looks again */
			continue;
		make_free(me, *block, hand, true, &budget);
		if (block_open(me, *block, load_acquire(at), BLOCK_SIDE)) { /* M2 */
			note_opened(seg, *block, hand);
			return true;
		}
	}
	return false;
}

/* Any block, if need be at any price: see below. */
static bool
open_any(struct member *me, enum block_class class, uint32_t *block)
{
	/*
	 * Then budget for every block, readers revoked, and once more without
	 * what the dead hold.
	 */
	if (!open_from_hand(me, class, false, PATIENCE, block) &&
	    !open_from_hand(me, class, true, me->seg->geo.block_count, block) &&
	    (recover_reap_all(me) == 0 ||
		!open_from_hand(me, class, true, me->seg->geo.block_count,
		    block)))
		return false;
	evict_ahead(me);
	return true;
}

/* Another one if their share allows it, else the oldest of them. */
static bool
open_side(struct member *me, uint32_t *block)
{
	if (side_left(me->seg) > 0 ? !open_any(me, BLOCK_SIDE, block) :
				     !reopen_side(me, block))
		return false;
	/* Others may have had the same thought. */
	if (side_left(me->seg) >= 0)
		return true;
	(void)block_free(me->seg, *block,
	    load_relaxed(&me->seg->blocks[*block].word)); /* ours alone */
	return false;
}

bool
evict_open_block(struct member *me, enum block_class class, uint32_t *block)
{
	return class == BLOCK_SIDE ? open_side(me, block) :
				     open_any(me, class, block);
}

/* Every SIDE block is somebody's open one: ours is full, and goes round. */
static bool
reopen_own(struct member *me, struct tail *tail, uint32_t *block)
{
	if (tail->block == NO_BLOCK)
		return false;
	block_close(me->seg, tail->block);
	tail->block = NO_BLOCK;
	return open_side(me, block);
}

bool
evict_room(struct member *me, struct tail *tail, enum block_class class,
    uint64_t bytes, uint64_t *place)
{
	struct segment *seg = me->seg;
	uint32_t block;

	if (block_room(seg, tail, bytes, place))
		return true;
	if (!evict_open_block(me, class, &block) &&
	    (class != BLOCK_SIDE || !reopen_own(me, tail, &block)))
		return false;
	block_close(seg, tail->block);
	tail->block = block;
	tail->used = 0;
	tail->generation = load_relaxed(&seg->blocks[block].word) &
	    BLOCK_GENERATION_MASK; /* our own */
	return block_room(seg, tail, bytes, place);
}

static bool
could_open(const struct member *me, uint32_t blocks)
{
	struct segment *seg = me->seg;
	uint32_t n = 0;

	for (uint32_t i = 0; i < seg->geo.block_count && n < blocks; i++) {
		uint64_t word = load_acquire(&seg->blocks[i].word); /* M1 */

		n += block_state(word) == BLOCK_FREE ||
		    ((is_settled(word) || block_impossible(seg, word)) &&
			!grace_held(seg, target_of(seg, i, word)));
	}
	return n >= blocks;
}

bool
evict_could_open(struct member *me, uint32_t blocks)
{
	return could_open(me, blocks) ||
	    (recover_reap_all(me) > 0 && could_open(me, blocks));
}
