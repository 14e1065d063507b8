/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The asymmetric barrier between readers, who enter often, and whoever frees
 * memory, which is rare.
 *
 * B1  A reader stores (its epoch, a pin) and then loads shared memory; the
 *     freeing side stores (an unlinked word) and then loads the reader's
 *     word.  barrier_light() on the one side and barrier_heavy() on the other
 *     make at least one of them see the other's store.
 *
 * By default the light side is a compiler barrier, and the heavy side makes
 * the kernel run a full barrier on every CPU that executes a registered
 * process: membarrier(2), GLOBAL_EXPEDITED.  In a segment created with
 * SHMC_FENCES both sides are full fences.
 */
#ifndef LIBSHM_BARRIER_H
#define LIBSHM_BARRIER_H

#include "base.h"

/* 0, or -errno if this kernel or sandbox has no GLOBAL_EXPEDITED. */
int barrier_register(void);

/* False if the kernel refused: then nothing is known and nothing may be freed. */
bool barrier_membarrier(void);

/*
 * ThreadSanitizer does not know fences: there, an exchange on a private word
 * stands for one (on x86 that is what a full fence costs and does anyway).
 */
static inline void
barrier_full(void)
{
#if defined(__SANITIZE_THREAD__)
	_Atomic int word = 0;
	atomic_exchange_explicit(&word, 1, memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Reads above stay above reads below. */
static inline void
barrier_reads(void)
{
#if defined(__SANITIZE_THREAD__)
	barrier_full();
#else
	atomic_thread_fence(memory_order_acquire);
#endif
}

static inline void
barrier_light(bool fences)
{
	if (unlikely(fences))
		barrier_full();
	else
		atomic_signal_fence(memory_order_seq_cst);
}

static inline bool
barrier_heavy(bool fences)
{
	if (!fences)
		return barrier_membarrier();
	barrier_full();
	return true;
}

#endif
