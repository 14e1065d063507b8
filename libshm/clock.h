/* SPDX-License-Identifier: BSD-2-Clause */
/* Time: one clock, CLOCK_MONOTONIC, the same in every process of the host. */
#ifndef LIBSHM_CLOCK_H
#define LIBSHM_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static inline uint64_t
clock_of(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* For waits and leases. */
static inline uint64_t
clock_ns(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

/* For expiry: read from the last tick, a few ms behind, a few ns cheap. */
static inline uint64_t
clock_coarse_ms(void)
{
	return clock_of(CLOCK_MONOTONIC_COARSE) / NS_PER_MS;
}

#endif
