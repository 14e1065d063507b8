/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread's membership in a segment, and the process's table of members.
 *
 * The table is private memory: a liburcu lock-free stack that is only pushed
 * to while the handle is open, so that walking it needs no grace period and
 * a fork in the middle of a push leaves a sound table in the child.
 */
#ifndef LIBSHM_PARTICIPANT_H
#define LIBSHM_PARTICIPANT_H

#include "life.h"

#include <urcu/compiler.h>
#include <urcu/lfstack.h>
#include <urcu/system.h>

#define NO_BLOCK UINT32_MAX
#define NO_FLIGHT UINT32_MAX

/* Where its owner appends to an OPEN block.  Private. */
struct tail {
	uint32_t block; /* NO_BLOCK: nowhere yet */
	uint32_t used;	/* bytes */
	uint64_t generation;
};

/* Private; used by one thread at a time, but for the shared fields. */
struct member {
	struct cds_lfs_node node;
	/*
	 * Shared in the process: who has it.
	 *   0                                   nobody
	 *   family << 16                        being taken or given up
	 *   incarnation << 16 | slot plus 1     the holder of that slot
	 * No slot has an incarnation twice, so a CAS takes the member from
	 * exactly whom one saw.
	 */
	_Atomic uint64_t hold;
	/* Written while it is being taken, read after `hold`. */
	_Atomic uint64_t thread;
	_Atomic uint64_t family; /* fork generation */
	_Atomic uint32_t tid;
	struct life life;

	struct segment *seg;
	struct participant *slot;
	uint32_t index;	      /* of the slot */
	struct tail log;      /* of values */
	struct tail side;     /* of what is none: BLOCK_SIDE */
	uint32_t spare_block; /* an OPEN PIECE block kept for the next fill */
	uint32_t last_flight; /* the record to try first */
	uint64_t incarnation; /* of the slot, while it is ours */
	uint64_t epoch;	      /* of the section we are in */
	unsigned views;
	unsigned leads;
};

struct members {
	struct __cds_lfs_stack stack;
	uint64_t id; /* unlike any other table of this process, past or present */
	/*
	 * Fork generation of this process; on a page that the kernel wipes in
	 * a child, whose threads thereby see that they have no slot yet.
	 */
	_Atomic uint64_t *family;
	struct segment *seg;
	const struct shmc_options *options; /* the heap */
};

/* 0 or -errno. */
int members_init(struct members *table, struct segment *seg,
    const struct shmc_options *options);

/*
 * Releases the calling thread's slot, forgets everyone else's (theirs are
 * reaped when they end) and frees the table.
 */
void members_fini(struct members *table);

/*
 * Which member the calling thread had last: of which table, in which family.
 * Initial-exec: found without a call, for 24 bytes of the program's static
 * room, also if the library comes by dlopen().
 */
struct members_note {
	uint64_t table;
	uint64_t family;
	struct member *member;
};
extern _Thread_local struct members_note members_last
    __attribute__((tls_model("initial-exec")));

/* The same, if the note is of another table: a thread may use several. */
struct member *members_recall(struct members *table);

/* The calling thread's member if it has a slot, else NULL.  Every call asks. */
static inline struct member *
members_current(struct members *table)
{
	/* A number, no edge; a wiped page reads 0, which no note holds. */
	if (likely(members_last.table == table->id &&
	    members_last.family == load_relaxed(table->family)))
		return members_last.member;
	return members_recall(table);
}

/* A member without slot for the calling thread; NULL: no memory. */
struct member *members_enlist(struct members *table);

/* After members_enlist() and a slot taken: members_current() answers m. */
void members_settle(struct members *table, struct member *m, uint32_t index);

/* Before the slot is released: the member is nobody's current one any more. */
void members_unsettle(struct members *table, struct member *m);

/* Afterwards, or if no slot was taken: the member is anybody's. */
void members_leave(struct members *table, struct member *m);

/* Whether m still is what it was when `family` was noted: no fork since. */
bool member_is_ours(struct members *table, const struct member *m,
    uint64_t family);

#endif
