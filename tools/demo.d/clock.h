/* SPDX-License-Identifier: BSD-2-Clause */
/* The one clock of the demo: every process of the machine reads the same. */
#ifndef DEMO_CLOCK_H
#define DEMO_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

static inline uint64_t
clock_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The CPU time that the calling thread has used. */
static inline uint64_t
clock_cpu_ns(void)
{
	struct timespec used;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

/* later - earlier, and 0 if they came in the other order. */
static inline uint64_t
clock_between_ns(uint64_t earlier, uint64_t later)
{
	return later > earlier ? later - earlier : 0;
}

/* For qsort(): durations, the shortest first. */
static inline int
clock_compare_ns(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

#endif
