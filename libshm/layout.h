/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The byte map of a segment: every structure that processes share.
 *
 *   header | participants | flight lines | flights | tags | index lines |
 *   blocks | data
 *
 * Only fixed-width integers; no pointers; zero-filled memory is a valid empty
 * segment but for the header.  At each field: W writes, R reads, O order,
 * X what a kill leaves.  Edges are named file.NUMBER after the file that
 * explains both ends.
 */
#ifndef LIBSHM_LAYOUT_H
#define LIBSHM_LAYOUT_H

#include "base.h"

#define LAYOUT_MAGIC 0x3165686361636d68ull /* "hmcache1" */
#define LAYOUT_VERSION 5u
#define LAYOUT_ENDIAN 0x01020304u

/* Slot numbers are 12 bits wide in shared words. */
#define PARTICIPANTS_MAX 4000u
#define LINE_WORDS 8u
#define PAIR_WORDS (2 * LINE_WORDS)
#define PINS 16u
#define COUNTERS 64u

/* -------------------------------------------------------- words of lines --
 *
 *   LIVE   1 | freq 2 | tag 13 | generation 14 | place 34
 *   TENT   0 1 0      | tag 13 | owner 12 | sequence 36
 *   EMPTY  0
 *
 * In the index, place is an entry's distance from the data region in 8-byte
 * units (128 GiB) and generation its block's; in the flight lines, they are a
 * flight's number and use.
 */
#define WORD_EMPTY 0ull
#define WORD_LIVE (1ull << 63)
#define WORD_TENT (1ull << 62)
#define WORD_FREQ_ONE (1ull << 61)
#define WORD_FREQ_MASK (3ull << 61)
#define WORD_TAG_SHIFT 48
#define WORD_TAG_MASK (0x1fffull << WORD_TAG_SHIFT)
#define WORD_GENERATION_SHIFT 34
#define WORD_GENERATION_BITS 14
#define WORD_PLACE_MASK ((1ull << WORD_GENERATION_SHIFT) - 1)
#define WORD_OWNER_SHIFT 36
#define WORD_OWNER_MASK (0xfffull << WORD_OWNER_SHIFT)
#define WORD_SEQUENCE_MASK ((1ull << WORD_OWNER_SHIFT) - 1)

/* Which entry a LIVE word names, whatever its freq. */
#define WORD_FREE_OF_FREQ(w) ((w) & ~WORD_FREQ_MASK)

/* A kind bit and a tag at once: what a lookup compares. */
#define WORD_MATCH_MASK (WORD_LIVE | WORD_TAG_MASK)

struct line {
	/*
	 * W: CAS only, by the protocol in line.c.  R: everyone.  O: line.L1.
	 * X: EMPTY, LIVE, or a TENT that whoever meets it may kill.
	 */
	_Atomic uint64_t words[LINE_WORDS];
};
static_assert(sizeof(struct line) == CACHELINE, "a line is a cache line");

/* ------------------------------------------------------------ geometry --- */

/* All derived from the first three; see geometry.c. */
struct geometry {
	uint64_t size_bytes;
	uint32_t participant_count;
	uint32_t entry_bytes;
	uint64_t participants_at; /* distances from the segment's start */
	uint64_t flight_lines_at;
	uint64_t flights_at;
	uint64_t tags_at;
	uint64_t index_at;
	uint64_t blocks_at;
	uint64_t data_at;
	uint64_t index_pairs;
	uint64_t value_max_bytes;
	uint32_t flight_pairs;
	uint32_t flight_count;
	uint32_t tag_count;
	uint32_t spare;
	uint32_t block_shift;
	uint32_t block_count;
};

/* -------------------------------------------------------------- header --- */

#define LAYOUT_STRUCTS 9

/*
 * Written before the segment has a name, never after: no order needed.  An
 * attacher verifies the checksum and keeps a private copy.
 */
struct header_fixed {
	uint64_t magic;
	uint32_t endian;
	uint32_t version;
	uint32_t struct_bytes[LAYOUT_STRUCTS]; /* in the order of layout.c */
	uint64_t layout_hash;
	uint64_t boot;	     /* hash of the kernel's boot id */
	uint64_t seed;	     /* of the hash: secret, random */
	uint64_t created_ms; /* CLOCK_MONOTONIC: base of expiry */
	uint64_t created_unix_s;
	uint64_t creator_pid;
	uint64_t lease_ns;
	uint64_t wait_ns;
	uint32_t fences;
	uint32_t spare;
	struct geometry geometry;
	uint64_t checksum; /* of all bytes above */
};

struct header {
	struct header_fixed fixed;
	unsigned char pad0[1024 - sizeof(struct header_fixed)];
	/*
	 * W: fetch_add by evictors.  R: readers at every entry.  O: grace.G1.
	 * X: a goal drawn and not used costs nothing.
	 */
	_Atomic uint64_t epoch; /* minus 1: a new segment is in epoch 1 */
	unsigned char pad1[CACHELINE - 8];
	/*
	 * W, R: allocators, upwards only.  Where to look for the next block: a
	 * hint, any value is right, hence relaxed.
	 */
	_Atomic uint64_t hand;
	unsigned char pad2[CACHELINE - 8];
	/*
	 * Part of the hash's seed.  W: fetch_add by flush.  R: every call.
	 * O: none: a call that overlaps a flush may come before or after it.
	 * X: flushed or not.
	 */
	_Atomic uint64_t flushes;
	/*
	 * Counts invalidations of tags: see struct tag.  W: fetch_add.
	 * R: whoever begins to make an entry with tags.  O: store.T1.
	 * X: a number drawn and not used costs nothing.
	 */
	_Atomic uint64_t tag_clock;
	/*
	 * The last fencing token of a lease.  W: fetch_add by holders.
	 * O: lease.N1.  X: a token drawn and not used.
	 */
	_Atomic uint64_t lease_tokens;
	unsigned char pad4[CACHELINE - 24];
	/* W: whoever finds a word that cannot be.  R: stats.  A count: relaxed. */
	_Atomic uint64_t doubtful;
	unsigned char pad3[CACHELINE - 8];
	unsigned char spare[PAGE_BYTES - 1024 - 4 * CACHELINE];
};
static_assert(sizeof(struct header) == PAGE_BYTES, "the header is a page");

/* -------------------------------------------------------- participants --- */

/* The word of a robust mutex, and its neighbour that libc writes: life.h. */
struct life_word {
	/*
	 * W: lock and unlock; waiters set FUTEX_WAITERS; the kernel at death.
	 * R: whoever asks whether the owner lives.  O: life.F1.
	 * X: OWNER_DIED, set by the kernel.
	 */
	_Atomic uint32_t futex;
	uint32_t count; /* libc's; never read by us */
};

/* The owner of a slot is whoever holds its life lock. */
struct participant {
	/* ---- line 0: written by the owner, while it lives */
	/*
	 * R: grace_poll().  O: grace.G1 in, G2 out.
	 * X: stays announced until reaped: costs memory, never safety.
	 */
	_Atomic uint64_t epoch;
	/*
	 * The flight waited for, plus 1.  R: evictors (its result is not to be
	 * freed), claimants of flights, deadlock walks.  O: flight.W1.
	 * X: names the flight until reaped: costs its record and one block.
	 */
	_Atomic uint64_t wait;
	/*
	 * TENTs made, over all incarnations, so that no two are alike.
	 * R: the owner.  X: a number may be skipped.
	 */
	_Atomic uint64_t claims;
	/*
	 * W: whoever takes the life lock, a reaper too.  R: display,
	 * life_alive(), life_probe().  O: life.F2.  X: the dead one's.
	 */
	_Atomic uint32_t tid;
	_Atomic uint32_t pid;
	/* Number of the PID namespace that tid and pid are of: life_probe(). */
	_Atomic uint64_t pid_namespace;
	/* `takes` when all of the above was noted.  O: life.F3. */
	_Atomic uint64_t takes_noted;
	/* Display only. */
	_Atomic uint64_t attached_ns;
	unsigned char pad0[CACHELINE - 56];
	/* ---- line 1: written by others */
	/*
	 * Epochs up to this one no longer protect the owner's reads.
	 * W: grace_poll(), only upwards.  R: the owner after reading.
	 * O: grace.G3.  X: nothing.
	 */
	_Atomic uint64_t revoked;
	/*
	 * Counts the owners.  W: whoever takes the life lock, before anything
	 * else.  R: life_alive().  O: life.F2.  X: one too many, harmless.
	 */
	_Atomic uint64_t incarnation;
	/* A poller's note since when it sees which epoch: a hint, relaxed. */
	_Atomic uint64_t suspect_epoch;
	_Atomic uint64_t suspect_ns;
	/*
	 * W: fetch_add by whoever is about to try the life lock.
	 * R: life_probe().  O: life.F3.  X: one too many: no probe until the
	 * next owner, harmless.
	 */
	_Atomic uint64_t takes;
	unsigned char pad1[CACHELINE - 40];
	/* ---- written by the owner */
	/*
	 * The entry, as a LIVE word, of each open view.  R: grace_poll().
	 * O: grace.G1, G4.  X: void once reaped.
	 */
	_Atomic uint64_t pins[PINS];
	/*
	 * Single writer, never reset: the sum over all slots is exact.
	 * R: anyone.  Relaxed: figures order nothing.  X: an event uncounted.
	 */
	_Atomic uint64_t counters[COUNTERS];
	unsigned char spare[PAGE_BYTES - 2 * CACHELINE - 8 * (PINS + COUNTERS) -
	    sizeof(struct life_word)];
	struct life_word life;
};
static_assert(sizeof(struct participant) == PAGE_BYTES, "a slot is a page");
static_assert(offsetof(struct participant, revoked) == CACHELINE,
    "others write another line than the owner");
static_assert(offsetof(struct participant, life) == PAGE_BYTES - 8,
    "the life word ends its page: life.c");

/* -------------------------------------------------------------- flights --
 *
 *   low half, the futex word:  use 14 | promotion 10 | kicks 2 |
 *                              DETACHED | SUPERSEDED | WAITERS | state 3
 *   high half:                 incarnation 20 | slot 12    of the leader
 *
 * `use` counts the flights that a record has served, `promotion` the leaders
 * of this one: both together are the contract's generation.  All of it but
 * state and flags is the fencing token.  `kicks` counts how often who waits was
 * told to look elsewhere: permit.c.
 */
#define FLIGHT_STATE_MASK 7ull
#define FLIGHT_WAITERS (1ull << 3)
#define FLIGHT_SUPERSEDED (1ull << 4)
#define FLIGHT_DETACHED (1ull << 5)
#define FLIGHT_KICK_ONE (1ull << 6)
#define FLIGHT_KICK_MASK (3ull << 6)
#define FLIGHT_FLAGS                                              \
	(FLIGHT_WAITERS | FLIGHT_SUPERSEDED | FLIGHT_DETACHED | \
	    FLIGHT_KICK_MASK)
#define FLIGHT_PROMOTION_SHIFT 8
#define FLIGHT_PROMOTION_MASK (0x3ffull << FLIGHT_PROMOTION_SHIFT)
#define FLIGHT_USE_SHIFT 18
#define FLIGHT_USE_BITS 14
#define FLIGHT_USE_MASK (0x3fffull << FLIGHT_USE_SHIFT)
#define FLIGHT_SLOT_SHIFT 32
#define FLIGHT_SLOT_MASK (0xfffull << FLIGHT_SLOT_SHIFT)
#define FLIGHT_INCARNATION_SHIFT 44
#define INCARNATION_MASK 0xfffffull /* what words hold of an incarnation */

enum flight_state {
	FLIGHT_FREE = 0,
	FLIGHT_CLAIMED = 1, /* being filled in, in no line */
	FLIGHT_LEAD = 2,    /* the leader computes */
	FLIGHT_ORPHAN = 3,  /* given up; the next comer leads */
	FLIGHT_RESULT = 4,  /* committed: `result` is there for everyone */
	FLIGHT_DONE = 5,    /* over; waiters may still read `result` */
};

struct flight {
	/* W: CAS as in flight.c.  R: everyone.  O: flight.W1 to W3.  X: table in docs/design.md */
	_Atomic uint64_t word;
	/*
	 * Use and promotion, lower 16 bits | microseconds of the clock 48.
	 * W: the leader that these name.  R: waiters, who ignore any other's.  Relaxed: an old value only delays or hastens a look.
	 */
	_Atomic uint64_t lease;
	/* W: the claimant, before LEAD.  R: whoever finds it in a line, then
	 * looks at the line's word again.  O: line.L1.  X: unused until LEAD */
	_Atomic uint64_t hash;
	/*
	 * The entry that came out, as a LIVE word; not LIVE: none, look again.
	 * W: CAS by leaders before RESULT, see flight_commit().  R: waiters, reapers,
	 * grace_poll().  O: flight.W2.  X: meaningless before RESULT.
	 */
	_Atomic uint64_t result;
	/* W: the claimant, before LEAD: tells older flights of a key from newer. */
	_Atomic uint64_t started_ns;
	/* Joins of this flight: gives each waiter its rank.  fetch_add, relaxed. */
	_Atomic uint32_t joined;
	_Atomic uint32_t key_bytes; /* for display; relaxed */
	/*
	 * The key's index word before the computation: flight_note_seen().
	 * W: the leader.  R: its reaper.  O: flight.W2.  X: an older one.
	 */
	_Atomic uint64_t seen;
	/*
	 * What an older, detached flight of the key has linked since this one
	 * began.  W: that flight's leader or its reaper.  R: the leader, its reaper.
	 * O: flight.W5.  X: the last one's; if it is not noted, the older stays.
	 */
	_Atomic uint64_t left;
	unsigned char spare[128 - 64];
};
static_assert(sizeof(struct flight) == 128, "");

/* --------------------------------------------------------------- blocks --
 *
 *   state 3 | class 3 | owner 12 | generation 46
 */
#define BLOCK_STATE_SHIFT 61
#define BLOCK_CLASS_SHIFT 58
#define BLOCK_CLASS_MASK (7ull << BLOCK_CLASS_SHIFT)
#define BLOCK_OWNER_SHIFT 46
#define BLOCK_OWNER_MASK (0xfffull << BLOCK_OWNER_SHIFT)
#define BLOCK_GENERATION_MASK ((1ull << BLOCK_OWNER_SHIFT) - 1)

enum block_state {
	BLOCK_FREE = 0,
	BLOCK_OPEN = 1,	    /* its owner appends */
	BLOCK_SEALED = 2,   /* entries are read; may be evicted */
	BLOCK_EVICTING = 3, /* its owner unlinks the entries */
	BLOCK_RETIRED = 4,  /* nothing links here; waits for its grace period */
};

enum block_class {
	BLOCK_LOG = 0,	 /* entries, one after the other */
	BLOCK_PIECE = 1, /* a piece of a large value */
	BLOCK_SIDE = 2,	 /* entries that are no values: errors, absence, passes */
};

struct block {
	/* W: CAS as in block.c.  R: everyone.  O: block.M1, M2.  X: docs/design.md */
	_Atomic uint64_t word;
	/*
	 * Lower half of the block's generation 32 | bytes in use 32; of another
	 * generation: none.  W: the owner while OPEN.  R: evictors, audits.
	 * O: block.M1.  X: what lies beyond is waste.
	 */
	_Atomic uint64_t used;
	/* PIECE: number plus 1 of the next piece.  W: owner while OPEN.
	 * O: with the entry's link, line.L1.  X: orphaned with the value */
	_Atomic uint32_t next;
	/* RETIRED: grace_poll()'s goal.  W: the evictor before RETIRED.  O: block.M2 */
	_Atomic uint64_t goal;
	/* PIECE: the LIVE word (without freq) of the entry it belongs to; 0
	 * until there is one.  W: owner while OPEN.  O: block.M1. */
	_Atomic uint64_t head;
	_Atomic uint32_t head_hash; /* and the upper half of its key's hash */
	/*
	 * Where the hand was when the block was opened: its age.  W: the owner.
	 * R: evictors.  O: block.M1.  X: an older one.
	 */
	_Atomic uint64_t opened_at;
	unsigned char spare[8];
};
static_assert(sizeof(struct block) == CACHELINE, "");

/* -------------------------------------------------------------- entries --
 *
 *   first word:   value_bytes 32 | key_bytes 16 | flags 8 | expiry, upper 8
 *   second word:  expiry, lower 32 | upper half of the key's hash 32
 *
 * then, if LARGE, struct large; if EXTRA, struct extra and its tags; then the
 * key (unless KEY_AWAY), then the value (unless LARGE).  Expiry is the end of
 * freshness, in ms since the segment's creation; 0: never.
 * Written before the entry is linked, never after.  O: line.L1.
 */
#define ENTRY_LARGE 1u
#define ENTRY_KEY_AWAY 2u /* the key begins the first piece */
#define ENTRY_EXTRA 4u
#define ENTRY_KIND_SHIFT 3
#define ENTRY_KIND_MASK (3u << ENTRY_KIND_SHIFT)
#define ENTRY_UNLINKED 32u /* for those who wait now: no reaper links it */
#define ENTRY_EXPIRY_MAX ((1ull << 40) - 1)
#define ENTRY_ALIGN 8u

struct entry {
	_Atomic uint64_t first;
	_Atomic uint64_t second;
};
static_assert(sizeof(struct entry) == 16, "");

struct large {
	_Atomic uint64_t value_bytes;
	_Atomic uint32_t first_piece; /* block number */
	_Atomic uint32_t piece_count;
};
static_assert(sizeof(struct large) == 16, "");

enum entry_kind {
	KIND_VALUE = 0,
	KIND_ERROR = 1,	 /* the value is struct failure, then its message */
	KIND_ABSENT = 2, /* there is no such thing */
	KIND_PASS = 3,	 /* cannot be shared: the value is its fan-out, 32 bits */
};

/* What only some entries need. */
struct extra {
	_Atomic uint32_t grace_ms;
	_Atomic uint32_t keep_ms;
	_Atomic uint32_t cost_us; /* of the computation */
	_Atomic uint32_t tag_count;
	/* tag_clock when its making began. */
	_Atomic uint64_t tag_clock;
	/* Numbers of tags follow, 32 bits each, rounded up to 8 bytes. */
};
static_assert(sizeof(struct extra) == 24, "");

#define ENTRY_TAGS_MAX 8u

/* Every tag whose name hashes here. */
struct tag {
	/*
	 * tag_clock at the last invalidation.  W: upwards only, CAS.
	 * R: readers of entries with this tag.  O: store.T1.
	 * X: invalidated or not.
	 */
	_Atomic uint64_t invalidated;
};

/* What this build's layout is: sizes in order, and a hash over all of it. */
void layout_describe(uint32_t struct_bytes[LAYOUT_STRUCTS], uint64_t *hash);
const char *layout_struct_name(unsigned i);

#endif
