/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit: does a quiet segment keep its invariants?
 *
 * It reads everything and repairs nothing.  What a reaper or the next comer
 * would return (state of dead slots, TENTs, words of flights that are over)
 * is no finding.
 */
#include "block.h"
#include "cache.h"
#include "flight.h"
#include "grace.h"
#include "index.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct audit {
	struct segment *seg;
	shmc_finding *finding;
	void *arg;
	unsigned findings;
};

static void __attribute__((format(printf, 2, 3)))
report(struct audit *a, const char *format, ...)
{
	char sentence[256];
	va_list args;

	a->findings++;
	if (a->finding == NULL)
		return;
	va_start(args, format);
	(void)vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	a->finding(sentence, a->arg);
}

/* ---------------------------------------------------------------- blocks -- */

static bool
owner_exists(const struct segment *seg, uint32_t owner)
{
	return owner < seg->geo.participant_count &&
	    load_acquire(&seg->participants[owner].life.futex) != 0;
}

static void
audit_log(struct audit *a, uint32_t block, uint64_t generation)
{
	uint64_t used = block_used(a->seg, block, generation);
	struct entry_view view;

	for (uint64_t at = 0; at < used; at += view.total_bytes) {
		uint64_t place = (((uint64_t)block << a->seg->geo.block_shift) +
		    at) / ENTRY_ALIGN;

		if (entry_read(a->seg, entry_word(place, generation), &view))
			continue;
		report(a, "block %u: no entry at byte %llu of %llu", block,
		    (unsigned long long)at, (unsigned long long)used);
		return;
	}
}

static void
audit_block(struct audit *a, uint32_t block)
{
	struct block *b = &a->seg->blocks[block];
	uint64_t word = load_acquire(&b->word); /* block.M1 */
	enum block_state state = block_state(word);

	if (state > BLOCK_RETIRED || block_class(word) > BLOCK_SIDE)
		report(a, "block %u: impossible state word %#llx", block,
		    (unsigned long long)word);
	else if ((state == BLOCK_OPEN || state == BLOCK_EVICTING) &&
	    !owner_exists(a->seg, block_owner(word)))
		report(a, "block %u: owned by slot %u, which nobody holds",
		    block, block_owner(word));
	else if (block_used(a->seg, block, word) > block_bytes(a->seg))
		report(a, "block %u: %llu bytes used", block,
		    (unsigned long long)block_used(a->seg, block, word));
	else if ((state == BLOCK_OPEN || state == BLOCK_SEALED) &&
	    block_class(word) != BLOCK_PIECE)
		audit_log(a, block, word & BLOCK_GENERATION_MASK);
}

/* ----------------------------------------------------------------- index -- */

static bool
block_holds_entries(const struct segment *seg, uint64_t live)
{
	uint32_t block = entry_block(seg, live);
	uint64_t word, mask = (1ull << WORD_GENERATION_BITS) - 1;
	enum block_state state;

	if (block >= seg->geo.block_count)
		return false;
	word = load_acquire(&seg->blocks[block].word); /* block.M1 */
	state = block_state(word);
	return (state == BLOCK_OPEN || state == BLOCK_SEALED ||
	    state == BLOCK_EVICTING) && block_class(word) != BLOCK_PIECE &&
	    (word & mask) == (live >> WORD_GENERATION_SHIFT & mask);
}

static void
audit_show_block(struct audit *a, uint32_t block)
{
	if (block < a->seg->geo.block_count)
		report(a, "block %u: word %#llx", block, (unsigned long long)
		    load_relaxed(&a->seg->blocks[block].word)); /* quiet */
}

static void
audit_pieces(struct audit *a, uint64_t live, const struct entry_view *view)
{
	uint32_t piece = view->first_piece;
	uint64_t head = WORD_LIVE | (live & ((1ull << WORD_TAG_SHIFT) - 1));

	for (uint32_t i = 0; i < view->piece_count; i++) {
		const struct block *b = &a->seg->blocks[piece];
		uint32_t next = load_relaxed(&b->next); /* quiet */

		if (load_relaxed(&b->head) != head ||
		    block_class(load_relaxed(&b->word)) != BLOCK_PIECE) {
			report(a, "block %u: not piece %u of its entry", piece,
			    i);
			return;
		}
		if (next > a->seg->geo.block_count ||
		    (next == 0 && i + 1 < view->piece_count)) {
			report(a, "block %u: the chain of pieces is broken",
			    piece);
			return;
		}
		piece = next - 1;
	}
}

/* The same key twice in its pair. */
static void
audit_unique(struct audit *a, uint64_t pair, unsigned at,
    const struct entry_view *view)
{
	struct key key = { view->key, view->key_bytes,
		(uint64_t)view->hash_high << 32 };
	struct entry_view other;

	for (unsigned i = at + 1; i < PAIR_WORDS && view->key != NULL; i++) {
		uint64_t word = load_acquire(
		    line_word(&a->seg->index[2 * pair], i)); /* line.L1 */

		if ((word & WORD_LIVE) != 0 && entry_read(a->seg, word, &other) &&
		    entry_has_key(a->seg, &other, &key))
			report(a, "index pair %llu: one key at %u and at %u",
			    (unsigned long long)pair, at, i);
	}
}

static void
audit_word(struct audit *a, uint64_t pair, unsigned i)
{
	uint64_t word = load_acquire(
	    line_word(&a->seg->index[2 * pair], i)); /* line.L1 */
	struct entry_view view;

	if ((word & WORD_LIVE) == 0)
		return;
	if (!block_holds_entries(a->seg, word) ||
	    !entry_read(a->seg, word, &view)) {
		report(a, "index pair %llu word %u: %#llx names no entry: block %u",
		    (unsigned long long)pair, i, (unsigned long long)word,
		    entry_block(a->seg, word));
		audit_show_block(a, entry_block(a->seg, word));
		return;
	}
	if ((uint64_t)view.hash_high * a->seg->geo.index_pairs >> 32 != pair)
		report(a, "index pair %llu word %u: an entry of another pair",
		    (unsigned long long)pair, i);
	if ((view.flags & ENTRY_LARGE) != 0)
		audit_pieces(a, word, &view);
	audit_unique(a, pair, i, &view);
}

/* --------------------------------------------------------------- flights -- */

static void
audit_flight(struct audit *a, uint32_t number)
{
	uint64_t word = load_acquire(&a->seg->flights[number].word); /* W3 */
	enum flight_state state = flight_state(word);

	if (state > FLIGHT_DONE)
		report(a, "flight %u: impossible state word %#llx", number,
		    (unsigned long long)word);
	else if ((state == FLIGHT_CLAIMED || state == FLIGHT_LEAD ||
	    state == FLIGHT_RESULT) &&
	    !owner_exists(a->seg, flight_leader(word)))
		report(a, "flight %u: led by slot %u, which nobody holds",
		    number, flight_leader(word));
}

static void
audit_slot(struct audit *a, uint32_t index)
{
	const struct participant *slot = &a->seg->participants[index];
	bool clean = load_relaxed(&slot->epoch) == EPOCH_IDLE &&
	    load_relaxed(&slot->wait) == 0;

	for (unsigned i = 0; i < PINS; i++)
		clean &= load_relaxed(&slot->pins[i]) == 0; /* quiet */
	if (!clean && load_acquire(&slot->life.futex) == 0)
		report(a, "slot %u: nobody holds it, and it is not clean",
		    index);
}

unsigned
shmc_audit(struct shmc *cache, shmc_finding *finding, void *arg)
{
	struct audit a = { .finding = finding, .arg = arg };
	const struct geometry *g;

	if (cache == NULL)
		return 0;
	a.seg = &cache->seg;
	g = &a.seg->geo;
	for (uint32_t i = 0; i < g->participant_count; i++)
		audit_slot(&a, i);
	for (uint32_t i = 0; i < g->flight_count; i++)
		audit_flight(&a, i);
	for (uint32_t i = 0; i < g->block_count; i++)
		audit_block(&a, i);
	for (uint64_t p = 0; p < g->index_pairs; p++)
		for (unsigned i = 0; i < PAIR_WORDS; i++)
			audit_word(&a, p, i);
	return a.findings;
}
