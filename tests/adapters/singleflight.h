/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Go's golang.org/x/sync/singleflight promises, over processes and threads,
 * on the public API: for those who know it, and as a proof that it can be had.
 *
 * A group is a cache; the functions below stand for the methods of Group.
 * What is not as in Go:
 *	- values are bytes, since they go from process to process;
 *	- a caller that is killed is replaced by one of those who wait;
 *	- the function may not ask for its own key: EDEADLK, where Go hangs;
 *	- sf_do_chan() on a key that is being computed joins soon after it
 *	  has returned, and may find that computation over: then it calls anew.
 */
#ifndef ADAPTERS_SINGLEFLIGHT_H
#define ADAPTERS_SINGLEFLIGHT_H

#include "shmcache.h"

#include <stdbool.h>

#define SF_VALUE_MAX 200u

/* What Do returns: v, err, shared. */
struct sf_result {
	int error;   /* the function's; 0: none */
	bool shared; /* given to more than one caller */
	size_t bytes;
	char value[SF_VALUE_MAX];
};

/* func() (any, error): fills in value and bytes, returns the error. */
typedef int sf_function(void *arg, struct sf_result *result);

struct sf_result sf_do(struct shmc *group, const char *key, sf_function *fn,
    void *arg);

/*
 * The channel: a descriptor from which one struct sf_result can be read when it is
 * ready.  -1: errno.  The key and what arg points to must live until then.
 */
int sf_do_chan(struct shmc *group, const char *key, sf_function *fn, void *arg);

void sf_forget(struct shmc *group, const char *key);

/*
 * panic: unwinds to the innermost sf_recover(), aborts the process without
 * one.  Whoever waits for a function that panics, panics with the same value.
 */
__attribute__((noreturn)) void sf_panic(const char *value);

/* Calls fn(arg); true, with what was thrown, if it panicked. */
bool sf_recover(void (*fn)(void *), void *arg, char value[SF_VALUE_MAX]);

/*
 * runtime.Goexit: ends the calling thread.  Whoever waits for a function that
 * does, ends too.
 */
__attribute__((noreturn)) void sf_goexit(void);

#endif
