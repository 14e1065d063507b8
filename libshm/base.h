/* SPDX-License-Identifier: BSD-2-Clause */
/* What every file may use: sizes of the machine, small macros. */
#ifndef LIBSHM_BASE_H
#define LIBSHM_BASE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHELINE 64u
#define PAGE_BYTES 4096u

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ALIGN_UP(x, a) (((x) + ((a) - 1)) & ~((a) - 1))
#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Orders, short: every use names its edge or says why it needs none. */
#define load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)

/*
 * One compare and exchange on a shared word: acquires what the last writer
 * released, releases what the caller wrote.
 */
static inline bool
cas_word(_Atomic uint64_t *word, uint64_t expected, uint64_t desired)
{
	return atomic_compare_exchange_strong_explicit(word, &expected, desired,
	    memory_order_acq_rel, memory_order_acquire);
}

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * Tells ThreadSanitizer of an edge that it cannot see, in a library's code:
 * what stands before `made` happens before what stands after `met`.
 */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define tsan_edge_made(p) __tsan_release(p)
#define tsan_edge_met(p) __tsan_acquire(p)
#else
#define tsan_edge_made(p) ((void)(p))
#define tsan_edge_met(p) ((void)(p))
#endif

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
    "shared words must be lock-free: a lock of libatomic is private");

#endif
