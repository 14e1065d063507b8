/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reader: a process (or thread) on one CPU that, when told to, asks a peer
 * for entries over a slice of time and counts.
 */
#ifndef PERF_READER_H
#define PERF_READER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "peer.h"


/* What to do next. */
struct slice {
	const uint32_t *stream; /* STREAM_LENGTH indexes */
	bool chained;		/* each question waits for the last answer */
	uint64_t start_ns;	/* when to begin to warm up */
	uint64_t warm_ns;
	uint64_t count_ns; /* how long to count, after that */
};

/* What came of it. */
struct tally {
	uint64_t asked;
	uint64_t missed; /* no entry */
	uint64_t wrong;	 /* another value than was stored */
	uint64_t took_ns;
	uint64_t idle_ns;  /* of it, not on the CPU: asleep, or pushed aside */
	double ns_per_hit; /* the median over windows of a millisecond */
};

/* In shared memory. */
struct reader {
	_Atomic uint32_t told; /* W: the driver; a slice begins */
	_Atomic uint32_t done; /* W: the reader; follows told */
	struct slice slice;    /* W: the driver, before told */
	struct tally tally;    /* W: the reader, before done */
	const struct peer *peer;
	const struct store *store;
	void *made; /* what the peer's create() returned */
	unsigned cpu;
	uint32_t position; /* in the stream; the reader's own */
	pthread_t thread;
};

/* Starts a reader on a CPU and waits until it has attached. */
struct reader *reader_start(const struct peer *peer, const struct store *store,
    void *made, unsigned cpu);

/* Lets some readers run one slice at the same time; waits for their tallies. */
void reader_run(struct reader *const *readers, unsigned count,
    struct slice slice);

#endif
