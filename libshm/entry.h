/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shape of one entry, and the only place where offsets and lengths from
 * shared memory become addresses: every one is checked here, once.
 */
#ifndef LIBSHM_ENTRY_H
#define LIBSHM_ENTRY_H

#include "hash.h"
#include "segment.h"

/* A key as the caller gave it, with its hash. */
struct key {
	const char *bytes;
	uint32_t size;
	uint64_t hash;
};

static inline uint64_t
entry_seed(const struct segment *seg)
{
	/* Relaxed: a flush that overlaps the call comes before or after it. */
	return seg->seed + load_relaxed(&seg->header->flushes);
}

static inline uint64_t
entry_hash(const struct segment *seg, const void *bytes, size_t size)
{
	return hash_bytes(bytes, size, entry_seed(seg));
}

/* What an entry is besides its bytes. */
struct entry_terms {
	enum entry_kind kind;
	uint32_t grace_ms;
	uint32_t keep_ms;
	uint32_t cost_us;
	uint64_t expiry_ms; /* end of freshness; 0: never */
	uint64_t tag_clock;
	uint32_t tag_count;
	bool unlinked; /* it never will be, by no reaper either; its place is the log */
	uint32_t tags[ENTRY_TAGS_MAX];
};

/* An entry whose bounds have been checked.  Addresses point into the segment. */
struct entry_view {
	const char *key; /* NULL: it begins the first piece */
	const char *value; /* NULL: in pieces */
	uint64_t value_bytes;
	uint64_t total_bytes; /* in the block, rounded up */
	uint64_t expiry_ms;   /* 0: never */
	const struct extra *extra; /* NULL: none */
	uint32_t tag_count;
	enum entry_kind kind;
	uint32_t key_bytes;
	uint32_t hash_high;
	uint32_t first_piece;
	uint32_t piece_count;
	uint32_t block;
	uint32_t flags;
};

/* What is to be written. */
struct entry_plan {
	const struct key *key;
	const struct entry_terms *terms;
	uint64_t value_bytes;
	uint32_t flags; /* ENTRY_LARGE, ENTRY_KEY_AWAY */
	uint32_t first_piece; /* LARGE */
	uint32_t piece_count;
};

/* Bytes that the plan takes in a block. */
uint64_t entry_bytes(const struct entry_plan *plan);

/*
 * Writes header and key at place (8-byte units from the data region), in the
 * caller's OPEN block, and returns where the value goes; NULL if LARGE.
 */
char *entry_write(struct segment *seg, uint64_t place,
    const struct entry_plan *plan);

/* False: the word's place cannot be that of an entry. */
bool entry_read(const struct segment *seg, uint64_t live,
    struct entry_view *view);

/* Whether it was made for this key since the last flush. */
bool entry_has_key(const struct segment *seg, const struct entry_view *view,
    const struct key *key);

/* Made before the last flush: its key hashes otherwise by now. */
bool entry_is_flushed(const struct segment *seg,
    const struct entry_view *view);

enum entry_age {
	AGE_FRESH,
	AGE_STALE, /* within grace: served while somebody refreshes */
	AGE_KEPT,  /* within keep: served if the refresh fails */
	AGE_OVER,  /* as if it were not there */
};

/* Its age by the clock; an invalidated tag makes it AGE_OVER. */
enum entry_age entry_age(const struct segment *seg,
    const struct entry_view *view);

/*
 * Whether who began when the clock of tags stood at `clock` must not be given
 * it: one of its tags is invalid, and perhaps was before he began.
 */
bool entry_outdated_by(const struct segment *seg,
    const struct entry_view *view, uint64_t clock);

/* Milliseconds of freshness left, 0 if none; UINT64_MAX: for ever. */
uint64_t entry_fresh_ms(const struct segment *seg,
    const struct entry_view *view);

/* The terms of an entry that is there. */
void entry_terms_of(const struct entry_view *view, struct entry_terms *terms);

/*
 * What tells this value of the key from every other it had or will have; in a
 * read section.  From the block's generation and the place: stored nowhere.
 */
uint64_t entry_version(const struct segment *seg, uint64_t live);

/* The block in which a LIVE word's entry lies; may be out of range. */
uint32_t entry_block(const struct segment *seg, uint64_t live);

/* The LIVE word (without tag and freq) for an entry of a block's generation. */
uint64_t entry_word(uint64_t place, uint64_t generation);

/*
 * The bytes of a LARGE entry from `offset` of its pieces on: where in *data,
 * how many until the piece ends in *bytes.  *piece and *piece_start are a
 * cursor, first_piece and 0 at the start.  False: the chain is damaged.
 */
bool entry_piece(const struct segment *seg, const struct entry_view *view,
    uint64_t offset, uint32_t *piece, uint64_t *piece_start,
    const char **data, uint64_t *bytes);

#endif
