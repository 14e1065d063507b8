/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing entries: see entry.h.
 *
 * Invariant: no address is formed from shared memory that was not checked to lie
 * in the data region, in one block.  Entries are immutable once linked (edge
 * line.L1); a revoked reader may see anything and still stays inside.
 * Progress: wait-free.  A kill leaves bytes that nothing refers to.
 */
#include "entry.h"

#include "hash.h"

#include <string.h>

uint64_t
entry_hash(const struct segment *seg, const void *bytes, size_t size)
{
	return hash_bytes(bytes, size, seg->seed);
}

/* Relaxed loads and stores of header words: the link orders them, line.L1. */

static uint64_t
payload_bytes(const struct entry_view *v)
{
	return ((v->flags & ENTRY_KEY_AWAY) != 0 ? v->key_bytes : 0) +
	    v->value_bytes;
}

static uint64_t
bytes_in_block(uint32_t flags, uint64_t key_bytes, uint64_t value_bytes)
{
	uint64_t n = sizeof(struct entry);

	if ((flags & ENTRY_LARGE) != 0)
		n += sizeof(struct large);
	else
		n += value_bytes;
	if ((flags & ENTRY_KEY_AWAY) == 0)
		n += key_bytes;
	return ALIGN_UP(n, (uint64_t)ENTRY_ALIGN);
}

uint64_t
entry_bytes(const struct entry_plan *plan)
{
	return bytes_in_block(plan->flags, plan->key->size, plan->value_bytes);
}

char *
entry_write(struct segment *seg, uint64_t place,
    const struct entry_plan *plan)
{
	char *at = seg->data + place * ENTRY_ALIGN;
	struct entry *e = (struct entry *)(void *)at;
	uint64_t small = (plan->flags & ENTRY_LARGE) == 0 ? plan->value_bytes : 0;

	store_relaxed(&e->first, small | (uint64_t)plan->key->size << 32 |
	    (uint64_t)plan->flags << 48 | (plan->expiry_ms >> 32) << 56);
	store_relaxed(&e->second, (plan->expiry_ms & UINT32_MAX) |
	    (plan->key->hash >> 32) << 32);
	at += sizeof *e;
	if ((plan->flags & ENTRY_LARGE) != 0) {
		struct large *l = (struct large *)(void *)at;

		store_relaxed(&l->value_bytes, plan->value_bytes);
		store_relaxed(&l->first_piece, plan->first_piece);
		store_relaxed(&l->piece_count, plan->piece_count);
		at += sizeof *l;
	}
	if ((plan->flags & ENTRY_KEY_AWAY) == 0) {
		memcpy(at, plan->key->bytes, plan->key->size);
		at += plan->key->size;
	}
	return (plan->flags & ENTRY_LARGE) != 0 ? NULL : at;
}

uint32_t
entry_block(const struct segment *seg, uint64_t live)
{
	return (uint32_t)((live & WORD_PLACE_MASK) * ENTRY_ALIGN >>
	    seg->geo.block_shift);
}

uint64_t
entry_word(uint64_t place, uint64_t generation)
{
	return WORD_LIVE | place |
	    (generation & ((1ull << WORD_GENERATION_BITS) - 1))
	    << WORD_GENERATION_SHIFT;
}

static bool
read_large(const struct segment *seg, const char *at, struct entry_view *v)
{
	const struct large *l = (const struct large *)(const void *)at;

	v->value_bytes = load_relaxed(&l->value_bytes);
	v->first_piece = load_relaxed(&l->first_piece);
	v->piece_count = load_relaxed(&l->piece_count);
	v->value = NULL;
	return v->value_bytes <= seg->geo.value_max_bytes &&
	    v->piece_count != 0 && v->piece_count <= seg->geo.block_count &&
	    v->first_piece < seg->geo.block_count &&
	    payload_bytes(v) <= (uint64_t)v->piece_count
	    << seg->geo.block_shift;
}

bool
entry_read(const struct segment *seg, uint64_t live, struct entry_view *v)
{
	uint64_t at = (live & WORD_PLACE_MASK) * ENTRY_ALIGN;
	uint64_t block_bytes = 1ull << seg->geo.block_shift;
	uint64_t room = block_bytes - (at & (block_bytes - 1));
	const struct entry *e = (const struct entry *)(const void *)
	    (seg->data + at);
	uint64_t first, second;
	const char *p;

	if (unlikely(at >= seg->data_bytes || room < sizeof *e))
		return false;
	first = load_relaxed(&e->first);
	second = load_relaxed(&e->second);
	v->value_bytes = first & UINT32_MAX;
	v->key_bytes = (uint32_t)(first >> 32) & 0xffff;
	v->flags = (uint32_t)(first >> 48) & 0xff;
	v->expiry_ms = (first >> 56) << 32 | (second & UINT32_MAX);
	v->hash_high = (uint32_t)(second >> 32);
	v->block = (uint32_t)(at >> seg->geo.block_shift);
	/* A key goes away only into pieces: else it would have no bounds. */
	if (unlikely((v->flags & (ENTRY_LARGE | ENTRY_KEY_AWAY)) ==
	    ENTRY_KEY_AWAY))
		return false;
	v->total_bytes = bytes_in_block(v->flags, v->key_bytes, v->value_bytes);
	if (unlikely(v->total_bytes > room))
		return false;
	p = (const char *)(e + 1);
	v->value = p + v->key_bytes;
	if (unlikely((v->flags & ENTRY_LARGE) != 0)) {
		if (!read_large(seg, p, v))
			return false;
		p += sizeof(struct large);
	}
	v->key = (v->flags & ENTRY_KEY_AWAY) != 0 ? NULL : p;
	return true;
}

bool
entry_expired(const struct segment *seg, const struct entry_view *v)
{
	return v->expiry_ms != 0 && segment_now_ms(seg) >= v->expiry_ms;
}

/* ------------------------------------------------------------- pieces --- */

bool
entry_piece(const struct segment *seg, const struct entry_view *v,
    uint64_t offset, uint32_t *piece, uint64_t *piece_start,
    const char **data, uint64_t *bytes)
{
	uint64_t block_bytes = 1ull << seg->geo.block_shift;
	uint64_t end = payload_bytes(v), stop;

	if (offset < *piece_start) {
		*piece = v->first_piece;
		*piece_start = 0;
	}
	*data = "";
	*bytes = 0;
	if (offset >= end) /* there may be no piece any more */
		return true;
	while (offset - *piece_start >= block_bytes) {
		/* Relaxed: written before the entry was linked, line.L1. */
		uint32_t next = load_relaxed(&seg->blocks[*piece].next);

		if (next == 0 || next > seg->geo.block_count)
			return false;
		*piece = next - 1;
		*piece_start += block_bytes;
	}
	stop = min_u64(end, *piece_start + block_bytes);
	*data = seg->data + ((uint64_t)*piece << seg->geo.block_shift) +
	    (offset - *piece_start);
	*bytes = stop - offset;
	return true;
}

/* A key that begins the first piece and may go on in the next. */
static bool
key_away_equals(const struct segment *seg, const struct entry_view *v,
    const struct key *key)
{
	uint32_t piece = v->first_piece;
	uint64_t start = 0, done = 0;

	while (done < key->size) {
		const char *data;
		uint64_t n;

		if (!entry_piece(seg, v, done, &piece, &start, &data, &n) ||
		    n == 0)
			return false;
		n = min_u64(n, key->size - done);
		if (memcmp(data, key->bytes + done, n) != 0)
			return false;
		done += n;
	}
	return true;
}

bool
entry_has_key(const struct segment *seg, const struct entry_view *v,
    const struct key *key)
{
	if (v->key_bytes != key->size)
		return false;
	if (unlikely(v->key == NULL))
		return key_away_equals(seg, v, key);
	return memcmp(v->key, key->bytes, key->size) == 0;
}
