/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children, kills at test points, races: see proc.h.
 *
 * Kills: every kill leaves this process alone; children are named by their
 * pid, and a pid is not reused while its parent has not waited for it.
 */
#include "proc.h"

#include "report.h"
#include "testpoint.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Turns of a spinning party before it lets others run. */
#define SPINS 1000u

pid_t
run_in_child(child_function *fn, void *arg)
{
	pid_t child;

	test_flush();
	child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		bool returned = test_call(fn, arg);

		test_flush();
		_exit(returned ? 0 : 1);
	}
	return child;
}

static int
wait_status(pid_t child, int options)
{
	int status = 0;
	pid_t waited;

	do
		waited = waitpid(child, &status, options);
	while (waited < 0 && errno == EINTR);
	REQUIRE_EQ(waited, child);
	return status;
}

static int
ending(int status)
{
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int
wait_child(pid_t child)
{
	return ending(wait_status(child, 0));
}

void
kill_child(pid_t child)
{
	REQUIRE(child > 0);
	REQUIRE_EQ(kill(child, SIGKILL), 0);
	(void)wait_status(child, 0);
}

void
continue_child(pid_t child)
{
	REQUIRE(child > 0);
	REQUIRE_EQ(kill(child, SIGCONT), 0);
}

/* ---------------------------------------------------------- test points --- */

/* What the hook looks for; set in the child before fn runs. */
static struct {
	const char *name;
	unsigned nth;
	int signal;
	_Atomic unsigned seen;
} target;

static void
hook_signal(const char *name)
{
	if (target.name != NULL && strcmp(name, target.name) != 0)
		return;
	if (atomic_fetch_add(&target.seen, 1) + 1 != target.nth)
		return;
	test_flush();
	kill(getpid(), target.signal);
	/* Returns from a stop; from a kill, never. */
	while (target.signal == SIGKILL)
		pause();
}

struct call {
	child_function *fn;
	void *arg;
};

static void
call_with_signal(void *arg)
{
	struct call *call = arg;

	shmc_testpoint_hook = hook_signal;
	call->fn(call->arg);
	shmc_testpoint_hook = NULL;
}

static pid_t
start_with_signal(int signal, const char *name, unsigned nth, child_function *fn,
    void *arg)
{
	struct call call = { fn, arg };

	target.name = name;
	target.nth = nth;
	target.signal = signal;
	atomic_store(&target.seen, 0);
	return run_in_child(call_with_signal, &call);
}

static void
check_returned(const char *what, const char *name, unsigned nth, int status)
{
	if (ending(status) != 0)
		FAIL("%s(%s, %u): the child ended with %d", what,
		    name != NULL ? name : "any", nth, ending(status));
}

bool
run_killed_at(const char *name, unsigned nth, child_function *fn, void *arg)
{
	pid_t child = start_with_signal(SIGKILL, name, nth, fn, arg);
	int status = wait_status(child, 0);

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	check_returned("run_killed_at", name, nth, status);
	return false;
}

pid_t
run_stopped_at(const char *name, unsigned nth, child_function *fn, void *arg)
{
	pid_t child = start_with_signal(SIGSTOP, name, nth, fn, arg);
	int status = wait_status(child, WUNTRACED);

	if (WIFSTOPPED(status))
		return child;
	check_returned("run_stopped_at", name, nth, status);
	return 0;
}

/* Where the child of record_testpoints() writes to. */
static struct recording {
	_Atomic unsigned count;
	/* Literals of the program text: the parent has them at the same place. */
	const char *names[TESTPOINTS_MAX];
} *recording;

static void
hook_record(const char *name)
{
	unsigned i = atomic_fetch_add(&recording->count, 1);

	if (i < TESTPOINTS_MAX)
		recording->names[i] = name;
}

static void
call_recorded(void *arg)
{
	struct call *call = arg;

	shmc_testpoint_hook = hook_record;
	call->fn(call->arg);
	shmc_testpoint_hook = NULL;
}

void
record_testpoints(child_function *fn, void *arg, struct testpoint_list *list)
{
	struct call call = { fn, arg };

	recording = shared_alloc(sizeof *recording);
	CHECK_EQ(wait_child(run_in_child(call_recorded, &call)), 0);
	list->count = atomic_load(&recording->count);
	CHECK_LE(list->count, TESTPOINTS_MAX);
	if (list->count > TESTPOINTS_MAX)
		list->count = TESTPOINTS_MAX;
	memcpy(list->names, recording->names, sizeof list->names);
	munmap(recording, sizeof *recording);
}

unsigned
testpoint_count(const struct testpoint_list *list, const char *name)
{
	unsigned count = 0;

	for (unsigned i = 0; i < list->count; i++)
		count += strcmp(list->names[i], name) == 0;
	return count;
}

/* ---------------------------------------------------------------- races --- */

void *
shared_alloc(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory != MAP_FAILED);
	return memory;
}

void
test_barrier_init(struct test_barrier *barrier, unsigned parties)
{
	atomic_store(&barrier->parties, parties);
	atomic_store(&barrier->arrived, 0);
	atomic_store(&barrier->round, 0);
}

void
test_barrier_meet(struct test_barrier *barrier)
{
	unsigned round = atomic_load(&barrier->round);
	unsigned spins = 0;

	if (atomic_fetch_add(&barrier->arrived, 1) + 1 ==
	    atomic_load(&barrier->parties)) {
		atomic_store(&barrier->arrived, 0);
		atomic_fetch_add(&barrier->round, 1);
		return;
	}
	while (atomic_load(&barrier->round) == round)
		if (++spins > SPINS)
			sched_yield();
}

struct race {
	struct test_barrier start;
	_Atomic unsigned next_index;
	racer *fn;
	void *arg;
};

static void
run_racer(void *arg)
{
	struct race *race = arg;
	unsigned index = atomic_fetch_add(&race->next_index, 1);

	test_barrier_meet(&race->start);
	race->fn(index, race->arg);
}

static void *
run_racer_thread(void *arg)
{
	(void)test_call(run_racer, arg);
	return NULL;
}

static struct race *
race_new(unsigned count, racer *fn, void *arg)
{
	struct race *race = shared_alloc(sizeof *race);

	test_barrier_init(&race->start, count);
	race->fn = fn;
	race->arg = arg;
	return race;
}

void
run_processes(unsigned count, racer *fn, void *arg)
{
	struct race *race = race_new(count, fn, arg);
	pid_t *children = calloc(count, sizeof *children);

	REQUIRE(children != NULL);
	for (unsigned i = 0; i < count; i++)
		children[i] = run_in_child(run_racer, race);
	for (unsigned i = 0; i < count; i++)
		CHECK_EQ(wait_child(children[i]), 0);
	free(children);
	munmap(race, sizeof *race);
}

void
run_threads(unsigned count, racer *fn, void *arg)
{
	struct race *race = race_new(count, fn, arg);
	pthread_t *threads = calloc(count, sizeof *threads);

	REQUIRE(threads != NULL);
	for (unsigned i = 0; i < count; i++)
		REQUIRE_EQ(pthread_create(&threads[i], NULL, run_racer_thread,
			       race), 0);
	for (unsigned i = 0; i < count; i++)
		REQUIRE_EQ(pthread_join(threads[i], NULL), 0);
	free(threads);
	munmap(race, sizeof *race);
}
