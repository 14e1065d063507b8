/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Elixir's Cachex.fetch/4 promises, over processes, on the public API.
 *
 * As in Cachex, the fallback runs in a worker of its own, here a forked child: it
 * may raise or be killed without harm to its callers, who are all told.
 * What is not as in Cachex:
 *	- values are bytes; an empty one is a value, and there is no nil;
 *	- a caller that is killed while its worker runs is replaced: one that
 *	  waits runs the fallback again;
 *	- nobody waits longer than the segment's wait_ms: {:error, "timeout"}.
 */
#ifndef ADAPTERS_CACHEX_H
#define ADAPTERS_CACHEX_H

#include "shmcache.h"

#include <stdint.h>

#define CX_VALUE_MAX 200u

enum cx_tag {
	CX_OK,	   /* it was there, or another caller committed it */
	CX_COMMIT, /* this caller's fallback made it, and it is stored */
	CX_IGNORE, /* made and not stored */
	CX_ERROR,  /* the fallback's error, or how it ended: the value says */
};

struct cx_result {
	enum cx_tag tag;
	uint64_t expire_ms; /* with CX_COMMIT, from a fallback; 0: never */
	size_t bytes;
	char value[CX_VALUE_MAX];
};

/* Fills in tag (COMMIT, IGNORE or ERROR) and value. */
typedef void cx_fallback(const char *key, struct cx_result *result, void *arg);

struct cx_result cx_fetch(struct shmc *cache, const char *key,
    cx_fallback *fallback, void *arg);

/* raise, in a fallback: {:error, message} for every caller. */
__attribute__((noreturn)) void cx_raise(const char *message);

#endif
