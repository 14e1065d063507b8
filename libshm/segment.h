/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One mapping of a segment: creating, verifying, attaching.
 *
 * After segment_open() nothing of the header's fixed part is read again: the
 * private copy here is what bounds are checked against.
 */
#ifndef LIBSHM_SEGMENT_H
#define LIBSHM_SEGMENT_H

#include "error.h"
#include "geometry.h"

/* Longest lease or wait: 49 days.  What a header says is held to it, too. */
#define SEGMENT_DURATION_MAX_MS (1ull << 32)

struct segment {
	char *base;
	struct header *header;
	struct participant *participants;
	struct line *flight_lines;
	struct flight *flights;
	struct tag *tags;
	struct line *index;
	struct block *blocks;
	char *data;
	uint64_t data_bytes;
	uint64_t block_bytes;
	uint64_t seed;
	uint64_t created_ms;
	uint64_t lease_ns;
	uint64_t wait_ns;
	struct geometry geo;
	bool fences; /* readers pay a fence: barrier.h */
	int fd;	     /* of an anonymous segment; -1: a named one */
};

/* As shmc_open(); options are the caller's, already complete. */
int segment_open(struct segment *seg, const struct shmc_options *options,
    struct shmc_error *error);

/* As shmc_attach_fd(). */
int segment_attach_fd(struct segment *seg, int fd, struct shmc_error *error);

void segment_unmap(struct segment *seg);

/* Counts a shared word that cannot be; the caller answers MISS or skips. */
void segment_doubt(const struct segment *seg);

/* Milliseconds since the segment was created, from the coarse clock. */
uint64_t segment_now_ms(const struct segment *seg);

#endif
