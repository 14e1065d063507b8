/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traces: which objects somebody's cache was asked for, in order.
 */
#ifndef PERF_TRACE_H
#define PERF_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum trace_format {
	TRACE_IDS_32, /* ids of 32 bits, cache2k */
	TRACE_IDS_64, /* ids of 64 bits, scarab */
	TRACE_SIZED,  /* lines of `time id size`, AdaptSize */
	TRACE_RUNS,   /* lines of `start count ...`: ids from start on, ARC */
	TRACE_ORACLE, /* records of 24 bytes, libCacheSim's oracleGeneral */
};

/* Where a trace is to be found. */
struct trace_source {
	const char *name;
	const char *file; /* in the directory of traces; .xz or .zst */
	enum trace_format format;
};

#define TRACES 6u
extern const struct trace_source trace_sources[TRACES];

struct trace {
	uint32_t *requests; /* for objects, numbered as they first come up */
	size_t request_count;
	uint32_t *sizes; /* bytes of each object when it first came up */
	uint32_t object_count;
	bool sized; /* else the trace knows no sizes; all are 0 */
};

/*
 * Reads at most `most` requests of it; false: it is not there.  Ends the
 * program if it cannot be read.
 */
bool trace_open(struct trace *trace, const struct trace_source *source,
    const char *directory, size_t most);

/* The same from a stream, without decompressing. */
void trace_read(struct trace *trace, enum trace_format format, FILE *from,
    size_t most);

void trace_free(struct trace *trace);

#endif
