/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches as papers have them: objects are kept whole, one by one, and nothing
 * is paid for keeping them.  What is asked for and is not there is put.
 */
#ifndef PERF_SIMS_H
#define PERF_SIMS_H

#include <stddef.h>
#include <stdint.h>

/* What is replayed, and into how much. */
struct sim_load {
	const uint32_t *requests; /* for objects */
	size_t request_count;
	const uint64_t *bytes; /* of each object */
	uint32_t object_count;
	uint64_t capacity; /* bytes */
	uint64_t largest;  /* bytes of an object that may be put; <= capacity */
};

/* How many of the requests are misses; the first for an object always is. */
typedef uint64_t sim_misses(const struct sim_load *load);

/* The oldest goes first. */
sim_misses sim_fifo;

/* Who was not asked for the longest time goes first. */
sim_misses sim_lru;

/* Zhang, Yang, Yue, Vigfusson and Rashmi, NSDI'24. */
sim_misses sim_sieve;

/*
 * Yang, Zhang, Qiu, Yue and Vinayak, SOSP'23: a small queue of a tenth, a
 * main queue, and ghosts of what left the small one: as many as fill the main
 * queue.  Who is asked for once more in the small queue moves on to the main
 * one; in the paper, and in sim_s3fifo_twice, who is asked for twice more.
 */
sim_misses sim_s3fifo;
sim_misses sim_s3fifo_twice;

/*
 * Who knows the future.  Of objects of one size, those are kept that are asked
 * for soonest (Belady, with leave not to put): nobody can do better.  Of
 * several sizes, those are given up first whose size, times the requests until
 * they are asked for, is largest: good, not always the best.
 */
sim_misses sim_optimum;

#endif
