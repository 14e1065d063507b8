/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing entries: see value.h.
 *
 * Invariant: pieces stay OPEN, hence out of eviction's reach, until their entry
 * is linked or committed; each names its entry (head) by then.
 * Edges: block.M1; line.L1 publishes entry, pieces and chain together.
 * Progress: lock-free (evict_open_block()).
 * A kill leaves OPEN(dead) pieces, which the reaper seals: with an entry that is
 * linked they live on, without one they are given up by eviction.
 */
#include "value.h"

#include "evict.h"
#include "testpoint.h"

#include <string.h>

/* The key goes into the pieces if it would take more of a block than this. */
static bool
key_goes_away(const struct segment *seg, const struct key *key)
{
	return key->size > block_bytes(seg) / 4;
}

bool
value_fits(const struct segment *seg, size_t key_bytes, uint64_t bytes)
{
	return bytes <= seg->geo.value_max_bytes &&
	    key_bytes + bytes <= seg->geo.value_max_bytes + SHMC_KEY_MAX &&
	    (key_bytes + bytes) / 2 <= seg->data_bytes / 4;
}

/* -------------------------------------------------------------- pieces --- */

/*
 * Number plus 1 of the piece after this one of ours, 0 at the end.  Our own
 * note, relaxed; but it lies where a scribbler may write.
 */
static uint32_t
next_piece(const struct segment *seg, uint32_t piece)
{
	uint32_t next = load_relaxed(&seg->blocks[piece].next);

	return next <= seg->geo.block_count ? next : 0;
}

/*
 * One more piece at the end of the chain; the spare of an earlier fill first.
 */
static bool
add_piece(struct member *me, struct draft *draft)
{
	struct segment *seg = me->seg;
	uint32_t piece = me->spare_block;

	if (piece != NO_BLOCK)
		me->spare_block = NO_BLOCK;
	else if (!evict_open_block(me, BLOCK_PIECE, &piece))
		return false;
	/* All relaxed: OPEN, ours alone; block.M1 publishes. */
	store_relaxed(&seg->blocks[piece].next, 0);
	store_relaxed(&seg->blocks[piece].head, 0);
	if (draft->first == 0)
		draft->first = piece + 1;
	else
		store_relaxed(&seg->blocks[draft->last - 1].next, piece + 1);
	draft->last = piece + 1;
	draft->last_used = 0;
	draft->count++;
	TESTPOINT("value_piece");
	return true;
}

/* For display and audits; block.M1. */
static void
note_used(struct segment *seg, const struct draft *draft)
{
	struct block *b = &seg->blocks[draft->last - 1];

	store_relaxed(&b->used, block_used_word(load_relaxed(&b->word),
	    draft->last_used));
}

static enum shmc_status
append_bytes(struct member *me, struct draft *draft, const char *data,
    size_t bytes)
{
	while (bytes > 0) {
		uint64_t room, n;
		char *to;

		if ((draft->first == 0 ||
		    draft->last_used == block_bytes(me->seg)) &&
		    !add_piece(me, draft))
			return SHMC_NO_MEMORY;
		room = block_bytes(me->seg) - draft->last_used;
		n = min_u64(room, bytes);
		to = block_data(me->seg, draft->last - 1) + draft->last_used;
		memcpy(to, data, n);
		draft->last_used += (uint32_t)n;
		note_used(me->seg, draft);
		data += n;
		bytes -= n;
	}
	return SHMC_OK;
}

enum shmc_status
value_append(struct member *me, struct draft *draft, const struct key *key,
    const void *data, size_t bytes)
{
	enum shmc_status status;

	if (bytes > me->seg->geo.value_max_bytes ||
	    !value_fits(me->seg, key->size, draft->bytes + bytes))
		return SHMC_TOO_LARGE;
	if (draft->first == 0 && key_goes_away(me->seg, key)) {
		status = append_bytes(me, draft, key->bytes, key->size);
		if (status != SHMC_OK)
			return status;
	}
	status = append_bytes(me, draft, data, bytes);
	if (status == SHMC_OK)
		draft->bytes += bytes;
	return status;
}

/* Every piece says whose it is, before anybody can find it. */
static void
name_pieces(struct member *me, const struct draft *draft, uint64_t entry,
    const struct key *key)
{
	struct block *blocks = me->seg->blocks;
	uint32_t piece = draft->first;

	for (uint32_t i = 0; i < draft->count && piece != 0; i++) {
		struct block *b = &blocks[piece - 1];

		store_relaxed(&b->head_hash, (uint32_t)(key->hash >> 32));
		store_relaxed(&b->head, entry); /* block.M1 publishes */
		piece = next_piece(me->seg, piece - 1);
	}
}

void
value_settle(struct member *me, struct draft *draft)
{
	uint32_t piece = draft->first;

	for (uint32_t i = 0; i < draft->count && piece != 0; i++) {
		/* Before it is sealed, and hence perhaps evicted and reused. */
		uint32_t next = next_piece(me->seg, piece - 1);

		block_close(me->seg, piece - 1);
		piece = next;
	}
	*draft = (struct draft){ 0 };
}

/* Unpublished pieces: one is kept for the next fill, the others are freed. */
void
value_drop(struct member *me, struct draft *draft)
{
	struct segment *seg = me->seg;
	uint32_t piece = draft->first;

	for (uint32_t i = 0; i < draft->count && piece != 0; i++) {
		struct block *b = &seg->blocks[piece - 1];
		uint32_t next = next_piece(seg, piece - 1);

		if (me->spare_block == NO_BLOCK)
			me->spare_block = piece - 1;
		else
			(void)block_free(seg, piece - 1,
			    load_relaxed(&b->word)); /* ours alone */
		piece = next;
	}
	*draft = (struct draft){ 0 };
	TESTPOINT("value_dropped");
}

/* --------------------------------------------------------------- entries -- */

/*
 * Where it goes, with room for it; NULL: nowhere.  Values go into one log, what
 * is none into another, which has a share of its own: so does what is not to be
 * linked, whatever it is, but that must be somewhere.
 */
static struct tail *
tail_for(struct member *me, const struct entry_plan *plan, uint64_t *place)
{
	uint64_t bytes = entry_bytes(plan);
	bool aside = plan->terms->kind != KIND_VALUE || plan->terms->unlinked;

	if (aside && evict_room(me, &me->side, BLOCK_SIDE, bytes, place))
		return &me->side;
	if (aside && !plan->terms->unlinked)
		return NULL;
	return evict_room(me, &me->log, BLOCK_LOG, bytes, place) ? &me->log :
								   NULL;
}

/*
 * Reserves, writes header and key; *to is where a small value goes, *tail what
 * is to be extended by it.
 */
static enum shmc_status
write_entry(struct member *me, const struct entry_plan *plan,
    struct tail **tail, char **to, uint64_t *entry)
{
	uint64_t place;

	*tail = tail_for(me, plan, &place);
	if (*tail == NULL)
		return SHMC_NO_MEMORY;
	*to = entry_write(me->seg, place, plan);
	*entry = entry_word(place, (*tail)->generation);
	TESTPOINT("value_header");
	return SHMC_OK;
}

static enum shmc_status
complete_large(struct member *me, struct draft *draft, const struct key *key,
    const struct entry_terms *terms, uint64_t *entry)
{
	struct entry_plan plan = {
		.key = key,
		.value_bytes = draft->bytes,
		.terms = terms,
		.flags = ENTRY_LARGE |
		    (key_goes_away(me->seg, key) ? ENTRY_KEY_AWAY : 0),
		.first_piece = draft->first - 1,
		.piece_count = draft->count,
	};
	struct tail *tail;
	char *none;
	enum shmc_status status = write_entry(me, &plan, &tail, &none, entry);

	if (status != SHMC_OK)
		return status;
	name_pieces(me, draft, *entry, key);
	block_extend(me->seg, tail, entry_bytes(&plan));
	return SHMC_OK;
}

static void
gather(const struct segment *seg, const struct draft *draft, char *to)
{
	uint32_t piece = draft->first;
	uint64_t left = draft->bytes;

	while (left > 0 && piece != 0) {
		uint64_t n = min_u64(left, block_bytes(seg));

		memcpy(to, block_data(seg, piece - 1), n);
		to += n;
		left -= n;
		piece = next_piece(seg, piece - 1);
	}
}

/* Small: data, or if that is NULL what the draft holds, into the log. */
static enum shmc_status
write_small(struct member *me, struct draft *draft, const struct key *key,
    const void *data, size_t bytes, const struct entry_terms *terms,
    uint64_t *entry)
{
	struct entry_plan plan = {
		.key = key, .value_bytes = bytes, .terms = terms,
	};
	struct tail *tail;
	char *to;
	enum shmc_status status = write_entry(me, &plan, &tail, &to, entry);

	if (status != SHMC_OK)
		return status;
	if (data == NULL)
		gather(me->seg, draft, to);
	else
		memcpy(to, data, bytes);
	block_extend(me->seg, tail, entry_bytes(&plan));
	return SHMC_OK;
}

static bool
is_small(const struct segment *seg, const struct key *key,
    const struct entry_terms *terms, uint64_t bytes)
{
	struct entry_plan plan = { .key = key, .terms = terms,
		.value_bytes = bytes };

	return entry_bytes(&plan) <= block_bytes(seg);
}

enum shmc_status
value_complete(struct member *me, struct draft *draft, const struct key *key,
    const struct entry_terms *terms, uint64_t *entry)
{
	enum shmc_status status;

	if (!is_small(me->seg, key, terms, draft->bytes)) {
		if (draft->first == 0) { /* a key too long, no value at all */
			status = value_append(me, draft, key, "", 0);
			if (status != SHMC_OK)
				return status;
		}
		return complete_large(me, draft, key, terms, entry);
	}
	if (key_goes_away(me->seg, key) && draft->first != 0)
		return complete_large(me, draft, key, terms, entry);
	status = write_small(me, draft, key, draft->bytes == 0 ? "" : NULL,
	    draft->bytes, terms, entry);
	if (status == SHMC_OK)
		value_drop(me, draft);
	return status;
}

enum shmc_status
value_expect(struct member *me, const struct key *key, uint64_t bytes)
{
	return evict_could_open(me, 2 + (uint32_t)
	    ((key->size + bytes) / block_bytes(me->seg))) ?
	    SHMC_OK : SHMC_NO_MEMORY;
}

enum shmc_status
value_write(struct member *me, struct draft *draft, const struct key *key,
    const void *data, size_t bytes, const struct entry_terms *terms,
    uint64_t *entry)
{
	enum shmc_status status;

	if (!value_fits(me->seg, key->size, bytes))
		return SHMC_TOO_LARGE;
	if (is_small(me->seg, key, terms, bytes))
		return write_small(me, draft, key, bytes == 0 ? "" : data,
		    bytes, terms, entry);
	status = value_expect(me, key, bytes);
	if (status == SHMC_OK)
		status = value_append(me, draft, key, data, bytes);
	if (status == SHMC_OK)
		status = complete_large(me, draft, key, terms, entry);
	if (status != SHMC_OK)
		value_drop(me, draft);
	return status;
}
