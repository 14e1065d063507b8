/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What really happened: workers and master write it down in memory that they
 * share with the driver, which draws its timeline and picks its victim from
 * it.  Nothing here knows of the cache.
 *
 * One writer per record.  A later time is stored with release, loaded with
 * acquire; so who sees a time sees everything that was written before it.
 * A kill leaves the later times 0: that is how the driver sees it.
 */
#ifndef DEMO_JOURNAL_H
#define DEMO_JOURNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_WORKERS_MAX 96u
#define JOURNAL_REQUESTS 64u /* remembered for each worker's place */
#define JOURNAL_DEATHS 64u   /* remembered in all */

/* Where a worker got the answer from. */
enum source {
	SOURCE_NONE = 0,     /* no answer, or not yet */
	SOURCE_OFF = 1,	     /* its own query: the cache was off */
	SOURCE_HIT = 2,	     /* it was in the cache */
	SOURCE_COMPUTED = 3, /* its own query, for all who asked */
	SOURCE_SHARED = 4,   /* another worker's query, while this one slept */
	SOURCE_PROMOTED = 5, /* its own query, after a leader fell */
	SOURCE_BYPASS = 6,   /* its own query: the cache could not help */
};

/* One request as its worker lived it: CLOCK_MONOTONIC; 0: not (yet). */
struct journal_request {
	_Atomic uint64_t received_ns; /* the request was read */
	_Atomic uint64_t began_ns;    /* its query started in this worker */
	_Atomic uint64_t steps;	      /* how far the query is; relaxed */
	_Atomic uint64_t ended_ns;    /* ... and ended */
	_Atomic uint64_t answered_ns; /* the last byte went out */
	uint64_t cpu_ns;	      /* that the query used; before ended_ns */
	uint64_t slept_ns; /* for another's result; before answered_ns */
	int32_t pid;	   /* before received_ns */
	uint32_t product;  /* before received_ns */
	uint32_t source;   /* enum source; before answered_ns */
};

/* A worker's place: when its worker dies, the successor goes on writing. */
struct journal_worker {
	_Atomic int32_t pid; /* of the worker that is ready to serve; else 0 */
	_Atomic uint32_t count; /* requests begun */
	struct journal_request requests[JOURNAL_REQUESTS];
};

/* A dead worker, as the master saw it. */
struct journal_death {
	uint64_t killed_ns; /* just before the master's SIGKILL; 0: not its doing */
	uint64_t reaped_ns;
	int32_t pid;
	int32_t signal; /* that ended it; 0: it exited */
	int32_t successor;
};

struct journal {
	_Atomic uint32_t death_count; /* deaths[] below this are whole */
	struct journal_death deaths[JOURNAL_DEATHS];
	struct journal_worker workers[JOURNAL_WORKERS_MAX];
};

static inline uint64_t
journal_time(const _Atomic uint64_t *time)
{
	return atomic_load_explicit(time, memory_order_acquire);
}

static inline uint64_t
journal_steps(const struct journal_request *request)
{
	/* Relaxed: only a rough measure of progress. */
	return atomic_load_explicit(&request->steps, memory_order_relaxed);
}

/* Memory that children inherit, or NULL. */
struct journal *journal_open(void);

/* A new record for a request that has just been read. */
struct journal_request *journal_receive(struct journal *journal, unsigned place,
    uint32_t product);

/* Stamps *time with now. */
void journal_stamp(_Atomic uint64_t *time);

/* Ends a record. */
void journal_answer(struct journal_request *request, enum source source,
    uint64_t slept_ns);

/* The master buries a worker.  Deaths beyond JOURNAL_DEATHS are not kept. */
void journal_bury(struct journal *journal, const struct journal_death *death);

/* How many of the first `places` workers are ready to serve. */
unsigned journal_ready(const struct journal *journal, unsigned places);

/*
 * Calls visit(request, place, arg) for every request received at since_ns or
 * later, oldest place first.
 */
typedef void journal_visitor(const struct journal_request *request,
    unsigned place, void *arg);
void journal_visit(const struct journal *journal, uint64_t since_ns,
    journal_visitor *visit, void *arg);

/* The death of a process, or NULL. */
const struct journal_death *journal_find_death(const struct journal *journal,
    int32_t pid);

/* "shared" for SOURCE_SHARED, and so on: what X-Cache says. */
const char *source_name(enum source source);

/* The other way round; SOURCE_NONE for a name that is none. */
enum source source_find(const char *name, size_t bytes);

#endif
