/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests with several processes: children, kills at test points, races.
 *
 * A child is a fork: it has everything the test has, and its checks fail the
 * test.  Children that the test does not wait for die with it.
 */
#ifndef HARNESS_PROC_H
#define HARNESS_PROC_H

#include "harness.h"

#include <sys/types.h>

typedef void child_function(void *arg);

/* Forks a child that calls fn(arg) and ends, with 0, or 1 after a REQUIRE. */
pid_t run_in_child(child_function *fn, void *arg);

/* Waits for its end: its exit status, or minus the signal that killed it. */
int wait_child(pid_t child);

/* SIGKILL, and waits; for stopped children, too. */
void kill_child(pid_t child);

/*
 * Runs fn(arg) in a child that kills itself with SIGKILL when it comes by the
 * test point `name` (NULL: any) for the nth time, counted from 1 over all its
 * threads.  Returns when the child is dead: true if it was killed there, false
 * if fn returned before.  Any other end fails the test.  So this leaves every
 * state that a kill within fn can leave, in turn:
 *
 *	for (unsigned n = 1; run_killed_at(NULL, n, fn, arg); n++)
 *		check what it left, then make arg as new
 *
 * Without "as new" the loop is long: repairs come by test points, too.
 */
bool run_killed_at(const char *name, unsigned nth, child_function *fn,
    void *arg);

/*
 * The same with SIGSTOP: returns the stopped child, or 0 if fn returned
 * before.  To go on: continue_child(), wait_child(); or kill_child().
 */
pid_t run_stopped_at(const char *name, unsigned nth, child_function *fn,
    void *arg);

void continue_child(pid_t child);

#define TESTPOINTS_MAX 1000u

/* Names of test points in the order in which they were come by. */
struct testpoint_list {
	unsigned count;
	const char *names[TESTPOINTS_MAX];
};

/* Runs fn(arg) in a child and lists the test points that it comes by. */
void record_testpoints(child_function *fn, void *arg,
    struct testpoint_list *list);

/* How often a list has a name. */
unsigned testpoint_count(const struct testpoint_list *list, const char *name);

/* Zeroed memory shared with all children, until the test's end. */
void *shared_alloc(size_t bytes);

/*
 * Where parties meet: each returns from barrier_meet() when all have come.
 * In shared memory; usable again at once.  Spins, so that all start as one.
 */
struct test_barrier {
	_Atomic unsigned parties;
	_Atomic unsigned arrived;
	_Atomic unsigned round;
};

void test_barrier_init(struct test_barrier *barrier, unsigned parties);
void test_barrier_meet(struct test_barrier *barrier);

typedef void racer(unsigned index, void *arg);

/*
 * Calls fn(0, arg), fn(1, arg) ... in so many processes, or threads of this
 * process, started at the same instant; returns when all have ended.  A
 * process that ends otherwise than with 0 fails the test.
 */
void run_processes(unsigned count, racer *fn, void *arg);
void run_threads(unsigned count, racer *fn, void *arg);

#endif
