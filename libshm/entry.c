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

#include <string.h>

/* Relaxed loads and stores of header words: the link orders them, line.L1. */

static uint64_t
payload_bytes(const struct entry_view *v)
{
	return ((v->flags & ENTRY_KEY_AWAY) != 0 ? v->key_bytes : 0) +
	    v->value_bytes;
}

static uint64_t
extra_bytes(uint64_t tag_count)
{
	return sizeof(struct extra) +
	    ALIGN_UP(tag_count * sizeof(uint32_t), (uint64_t)ENTRY_ALIGN);
}

/* Without a struct extra and its tags. */
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
	return n;
}

static bool
needs_extra(const struct entry_terms *t)
{
	return t->grace_ms != 0 || t->keep_ms != 0 || t->cost_us != 0 ||
	    t->tag_count != 0;
}

uint64_t
entry_bytes(const struct entry_plan *plan)
{
	uint64_t n = bytes_in_block(plan->flags, plan->key->size,
	    plan->value_bytes);

	if (needs_extra(plan->terms))
		n += extra_bytes(plan->terms->tag_count);
	return ALIGN_UP(n, (uint64_t)ENTRY_ALIGN);
}

static char *
write_extra(char *at, const struct entry_terms *t)
{
	struct extra *x = (struct extra *)(void *)at;
	_Atomic uint32_t *tags = (void *)(x + 1);

	store_relaxed(&x->grace_ms, t->grace_ms);
	store_relaxed(&x->keep_ms, t->keep_ms);
	store_relaxed(&x->cost_us, t->cost_us);
	store_relaxed(&x->tag_count, t->tag_count);
	store_relaxed(&x->tag_clock, t->tag_clock);
	for (uint32_t i = 0; i < t->tag_count; i++)
		store_relaxed(&tags[i], t->tags[i]);
	return at + extra_bytes(t->tag_count);
}

char *
entry_write(struct segment *seg, uint64_t place,
    const struct entry_plan *plan)
{
	char *at = seg->data + place * ENTRY_ALIGN;
	struct entry *e = (struct entry *)(void *)at;
	const struct entry_terms *terms = plan->terms;
	uint64_t small = (plan->flags & ENTRY_LARGE) == 0 ? plan->value_bytes : 0;
	uint32_t flags = plan->flags |
	    (uint32_t)terms->kind << ENTRY_KIND_SHIFT |
	    (needs_extra(terms) ? ENTRY_EXTRA : 0) |
	    (terms->unlinked ? ENTRY_UNLINKED : 0);

	store_relaxed(&e->first, small | (uint64_t)plan->key->size << 32 |
	    (uint64_t)flags << 48 | (terms->expiry_ms >> 32) << 56);
	store_relaxed(&e->second, (terms->expiry_ms & UINT32_MAX) |
	    (plan->key->hash >> 32) << 32);
	at += sizeof *e;
	if ((plan->flags & ENTRY_LARGE) != 0) {
		struct large *l = (struct large *)(void *)at;

		store_relaxed(&l->value_bytes, plan->value_bytes);
		store_relaxed(&l->first_piece, plan->first_piece);
		store_relaxed(&l->piece_count, plan->piece_count);
		at += sizeof *l;
	}
	if ((flags & ENTRY_EXTRA) != 0)
		at = write_extra(at, terms);
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

static bool
read_extra(const char *at, uint64_t room, struct entry_view *v)
{
	v->extra = (const struct extra *)(const void *)at;
	if (room < sizeof *v->extra)
		return false;
	v->tag_count = load_relaxed(&v->extra->tag_count);
	if (v->tag_count > ENTRY_TAGS_MAX)
		return false;
	v->total_bytes = ALIGN_UP(bytes_in_block(v->flags, v->key_bytes,
	    (v->flags & ENTRY_LARGE) != 0 ? 0 : v->value_bytes) +
	    extra_bytes(v->tag_count), (uint64_t)ENTRY_ALIGN);
	return true;
}

/* The rarer parts; room is what the block has left from the entry on. */
static bool
read_rest(const struct segment *seg, const char *p, uint64_t room,
    struct entry_view *v)
{
	uint64_t before = sizeof(struct entry);

	if ((v->flags & ENTRY_LARGE) != 0) {
		if (!read_large(seg, p, v))
			return false;
		p += sizeof(struct large);
		before += sizeof(struct large);
	}
	if ((v->flags & ENTRY_EXTRA) != 0) {
		if (!read_extra(p, room - before, v) || v->total_bytes > room)
			return false;
		p += extra_bytes(v->tag_count);
	}
	v->key = (v->flags & ENTRY_KEY_AWAY) != 0 ? NULL : p;
	v->value = (v->flags & ENTRY_LARGE) != 0 ? NULL : p + v->key_bytes;
	return v->key != NULL || v->value == NULL;
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
	v->first_piece = 0;
	v->piece_count = 0;
	v->kind = (enum entry_kind)
	    ((v->flags & ENTRY_KIND_MASK) >> ENTRY_KIND_SHIFT);
	v->extra = NULL;
	v->tag_count = 0;
	v->total_bytes = ALIGN_UP(bytes_in_block(v->flags, v->key_bytes,
	    v->value_bytes), (uint64_t)ENTRY_ALIGN);
	if (unlikely(v->total_bytes > room))
		return false;
	p = (const char *)(e + 1);
	if (unlikely((v->flags & (ENTRY_LARGE | ENTRY_EXTRA)) != 0))
		return read_rest(seg, p, room, v);
	v->key = p;
	v->value = p + v->key_bytes;
	return (v->flags & ENTRY_KEY_AWAY) == 0;
}

/* ----------------------------------------------------------- freshness --- */

static bool
tag_invalidated(const struct segment *seg, const struct entry_view *v)
{
	const _Atomic uint32_t *tags = (const void *)(v->extra + 1);
	uint64_t made = load_relaxed(&v->extra->tag_clock);

	for (uint32_t i = 0; i < v->tag_count; i++) {
		uint32_t tag = load_relaxed(&tags[i]);

		if (tag >= seg->geo.tag_count ||
		    load_acquire(&seg->tags[tag].invalidated) > made) /* T1 */
			return true;
	}
	return false;
}

enum entry_age
entry_age(const struct segment *seg, const struct entry_view *v)
{
	uint64_t now, over;

	if (unlikely(v->extra != NULL && tag_invalidated(seg, v)))
		return AGE_OVER;
	if (likely(v->expiry_ms == 0))
		return AGE_FRESH;
	now = segment_now_ms(seg);
	if (now < v->expiry_ms)
		return AGE_FRESH;
	if (v->extra == NULL)
		return AGE_OVER;
	over = now - v->expiry_ms;
	if (over < load_relaxed(&v->extra->grace_ms))
		return AGE_STALE;
	return over < (uint64_t)load_relaxed(&v->extra->grace_ms) +
	    load_relaxed(&v->extra->keep_ms) ? AGE_KEPT : AGE_OVER;
}

bool
entry_outdated_by(const struct segment *seg, const struct entry_view *v,
    uint64_t clock)
{
	/*
	 * A tag tells of its last invalidation only: if there were any of any
	 * tag in between, it counts as one from before.
	 */
	return v->extra != NULL &&
	    load_relaxed(&v->extra->tag_clock) < clock && /* line.L1 */
	    tag_invalidated(seg, v);
}

uint64_t
entry_fresh_ms(const struct segment *seg, const struct entry_view *v)
{
	uint64_t now = segment_now_ms(seg);

	if (v->expiry_ms == 0)
		return UINT64_MAX;
	return now < v->expiry_ms ? v->expiry_ms - now : 0;
}

void
entry_terms_of(const struct entry_view *v, struct entry_terms *terms)
{
	const _Atomic uint32_t *tags;

	*terms = (struct entry_terms){
		.kind = v->kind,
		.expiry_ms = v->expiry_ms,
	};
	if (v->extra == NULL)
		return;
	terms->grace_ms = load_relaxed(&v->extra->grace_ms);
	terms->keep_ms = load_relaxed(&v->extra->keep_ms);
	terms->cost_us = load_relaxed(&v->extra->cost_us);
	terms->tag_clock = load_relaxed(&v->extra->tag_clock);
	terms->tag_count = v->tag_count;
	tags = (const void *)(v->extra + 1);
	for (uint32_t i = 0; i < v->tag_count; i++)
		terms->tags[i] = load_relaxed(&tags[i]);
}

/* How much of the generation a version holds; it wraps after 2^30 reuses. */
#define VERSION_GENERATION_MASK ((1ull << 30) - 1)

uint64_t
entry_version(const struct segment *seg, uint64_t live)
{
	uint64_t word = load_acquire(&seg->blocks[entry_block(seg, live)].word);

	return (live & WORD_PLACE_MASK) |
	    (word & VERSION_GENERATION_MASK) << WORD_GENERATION_SHIFT;
}

/* ------------------------------------------------------------- pieces --- */

bool
entry_piece(const struct segment *seg, const struct entry_view *v,
    uint64_t offset, uint32_t *piece, uint64_t *piece_start,
    const char **data, uint64_t *bytes)
{
	uint64_t block_bytes = 1ull << seg->geo.block_shift;
	uint64_t end = payload_bytes(v), stop;

	if (*piece >= seg->geo.block_count)
		return false;
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

static bool
hash_key_away(const struct segment *seg, const struct entry_view *v,
    struct hash *hash)
{
	uint32_t piece = v->first_piece;
	uint64_t start = 0, done = 0;

	while (done < v->key_bytes) {
		const char *data;
		uint64_t n;

		if (!entry_piece(seg, v, done, &piece, &start, &data, &n) ||
		    n == 0)
			return false;
		n = min_u64(n, v->key_bytes - done);
		hash_more(hash, data, n);
		done += n;
	}
	return true;
}

bool
entry_is_flushed(const struct segment *seg, const struct entry_view *v)
{
	struct hash hash;

	if (v->key != NULL)
		return v->hash_high !=
		    (uint32_t)(entry_hash(seg, v->key, v->key_bytes) >> 32);
	hash_begin(&hash, entry_seed(seg));
	return !hash_key_away(seg, v, &hash) ||
	    v->hash_high != (uint32_t)(hash_end(&hash) >> 32);
}

bool
entry_has_key(const struct segment *seg, const struct entry_view *v,
    const struct key *key)
{
	/* The hash too: of an entry linked before a flush, it is another. */
	if (v->hash_high != (uint32_t)(key->hash >> 32) ||
	    v->key_bytes != key->size)
		return false;
	if (unlikely(v->key == NULL))
		return key_away_equals(seg, v, key);
	return memcmp(v->key, key->bytes, key->size) == 0;
}
