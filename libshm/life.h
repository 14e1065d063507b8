/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The robust lock of a participant slot: who holds it owns the slot, and the
 * kernel tells everybody when the holder dies.
 *
 * The lock is a robust pthread mutex laid across a page border:
 *
 *      ... participant's page (shared) ... [word|count] | private page [owner ...
 *                                           ^ pthread_mutex_t begins here
 *
 * The thread that takes a slot maps the slot's page a second time, directly
 * below a private page, and has the mutex there.  Only the futex word is
 * shared; owner, kind and the links of the robust list, which libc trusts,
 * are private.  So nobody can harm us through them, and the segment can be
 * unmapped while other threads still hold their slots.
 */
#ifndef LIBSHM_LIFE_H
#define LIBSHM_LIFE_H

#include "segment.h"

/* A thread's hold on one slot: 2 pages of address space, unmapped at release. */
struct life {
	char *alias; /* NULL: none */
};

enum life_taken {
	LIFE_HELD,  /* by somebody alive */
	LIFE_CLEAN, /* ours; its last owner left in order */
	LIFE_DEAD,  /* ours; its last owner died: repair */
	LIFE_ERROR, /* no address space */
};

/*
 * 0, or -ENOSYS if this libc's robust mutex is not what this file takes it
 * for: word first, 8-byte prefix, on the kernel's robust list.  Checked on
 * a private mutex; cheap, done at each attach.
 */
int life_verify_libc(void);

/* Tries to take slot; never blocks.  Only for the calling thread. */
enum life_taken life_take(struct segment *seg, struct participant *slot,
    struct life *life);

/* Gives the slot back, clean.  Only by the thread that took it. */
void life_release(struct life *life);

/* Whether the word says that its holder died and nobody has taken it since. */
bool life_word_dead(uint32_t word);

/*
 * Whether the owner of the slot's given incarnation is alive: it holds the
 * lock itself (a reaper who holds it has another TID), and has not been
 * replaced.  Only the bits of INCARNATION_MASK are compared.  A stopped process
 * is alive.
 */
bool life_alive(struct participant *slot, uint64_t incarnation);

/* The calling process's PID namespace; 0: not known. */
uint64_t life_namespace(void);

/*
 * Says of a slot that its owner is dead if the kernel did not: a thread that is
 * not the main one and calls exec takes another TID first, and its death is
 * not noted.  Asks whether the thread still exists, in its own namespace only.
 */
void life_probe(struct participant *slot, uint64_t pid_namespace);

/*
 * Asks the kernel to wake a sleeper on the life word when its holder dies.
 * Returns the value to sleep on; 0 if the holder is gone already.
 */
uint32_t life_arm(struct participant *slot);

#endif
