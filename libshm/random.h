/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers to spread things with.  Nothing that must be secret comes from here. */
#ifndef LIBSHM_RANDOM_H
#define LIBSHM_RANDOM_H

#include "clock.h"

/* Unlike those of every other thread, also of one that was forked off this one. */
static inline uint64_t
random_draw(void)
{
	static _Thread_local uint64_t state;
	uint64_t x;

	/* A child inherits the state; the clock takes it elsewhere. */
	state += 0x9e3779b97f4a7c15ull + clock_ns();
	/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
	x = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

#endif
