/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A crew: processes that go to sleep on something, all at the same time, so
 * that one can measure when each of them is back.  A driver leads them through
 * turns: crew_go(), crew_settle(), whatever wakes them, crew_finish().
 */
#ifndef PERF_CREW_H
#define PERF_CREW_H

#include <stddef.h>
#include <stdint.h>

#define CREW_MAX 128u

/* In shared memory. */
struct crew_member {
	_Atomic uint32_t ready; /* W: the member; the turn it is going to sleep in */
	uint64_t back_ns;	/* W: the member, before it reports back */
	uint32_t failed; /* W: the member; turns in which all was not well */
	int pid;
};

/*
 * What a member does in a turn: sleeps, and returns when it came back.
 * `way` is what crew_go() got.  Returns 0 if something was wrong.
 */
typedef uint64_t crew_sleep(unsigned way, uint32_t turn, void *arg);

struct crew {
	_Atomic uint32_t turn; /* W: the driver; a turn begins */
	_Atomic uint32_t back; /* W: members; how many are back */
	unsigned way;
	unsigned size;
	crew_sleep *sleep;
	void *arg;
	struct crew_member members[CREW_MAX];
};

/* Forks the members; CPUs are dealt out in turn, the second CPU first. */
struct crew *crew_start(unsigned size, crew_sleep *sleep, void *arg);

/* Sends all of them to sleep in the given way; returns the turn's number. */
uint32_t crew_go(struct crew *crew, unsigned way);

/* Returns once every member sleeps. */
void crew_settle(struct crew *crew);

/* Returns once all are back. */
void crew_finish(struct crew *crew);

/* Ends the members. */
void crew_stop(struct crew *crew);

/* How many turns of members went wrong so far. */
unsigned crew_failures(const struct crew *crew);

/* Writes how long after start_ns each member was back. */
void crew_latencies(const struct crew *crew, uint64_t start_ns,
    double *latencies_ns);

/* Waits until the process sleeps. */
void crew_await_asleep(int pid);

#endif
