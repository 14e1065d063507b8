/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every benchmark here needs: time, pinning, shared memory, futexes,
 * medians, and the `bar` lines by which a run is judged.
 */
#ifndef PERF_BENCH_H
#define PERF_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shmcache.h"

/* Prints a sentence and ends the program, all its processes. */
_Noreturn void bench_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

uint64_t bench_now_ns(void);

/* Sleeps until the given CLOCK_MONOTONIC time. */
void bench_sleep_until(uint64_t when_ns);

/* Binds the calling thread to one CPU; they count on round and round. */
void bench_pin(unsigned cpu);
unsigned bench_cpus(void);

/* Zeroed memory that children inherit and share. */
void *bench_shared(size_t bytes);

/* Zeroed memory of this process's own; never NULL. */
void *bench_allocate(size_t bytes);

/* A fork whose child dies with its parent; as fork(), but never fails. */
int bench_fork(void);

/*
 * Futexes on memory that processes share.  The waits sleep while *word is
 * `seen` and may return without a reason.
 */
void bench_futex_wait(_Atomic uint32_t *word, uint32_t seen);
void bench_futex_wait_two(_Atomic uint32_t *word, uint32_t seen,
    _Atomic uint32_t *other, uint32_t other_seen);
void bench_futex_wake_all(_Atomic uint32_t *word);

/* Sleeps until *word is `value`. */
void bench_await(_Atomic uint32_t *word, uint32_t value);

/*
 * The q-quantile of the samples, 0 <= q <= 1, between two of them where it
 * falls between.  Sorts them.  NAN if there are none.
 */
double bench_quantile(double *samples, size_t count, double q);
double bench_median(double *samples, size_t count);

/*
 * Prints `bar NAME VALUE OP TARGET ok|short`; op is "<=", ">=" or "=".  What
 * is not a number is short.
 */
void bench_bar(const char *name, double value, const char *op, double target);

/* A new segment that children inherit; ends the program if there is none. */
struct shmc *bench_segment(uint64_t size_bytes, uint32_t entry_bytes,
    uint32_t participants);

/* As fopen(), but never fails. */
FILE *bench_open(const char *path, const char *mode);

/* Reads the beginning of a file as a string, returns its length. */
size_t bench_read(const char *path, char *text, size_t text_bytes);

/* Opens the file for a benchmark's samples, heads it with a line. */
FILE *bench_csv(const char *path, const char *header);

#endif
