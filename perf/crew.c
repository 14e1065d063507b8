/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Crews.  A member says that it is ready just before it goes to sleep; from
 * then on, a process that the kernel calls sleeping sleeps where it should.
 */
#include "crew.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static void
member_turn(struct crew *crew, struct crew_member *member, uint32_t turn)
{
	unsigned way = crew->way;

	atomic_store_explicit(&member->ready, turn, memory_order_release);
	member->back_ns = crew->sleep(way, turn, crew->arg);
	if (member->back_ns == 0)
		member->failed++;

	uint32_t before = atomic_fetch_add_explicit(&crew->back, 1,
	    memory_order_acq_rel);

	if (before + 1 == crew->size)
		bench_futex_wake_all(&crew->back);
}

static _Noreturn void
member_main(struct crew *crew, struct crew_member *member, unsigned cpu)
{
	bench_pin(cpu);
	for (uint32_t turn = 1;; turn++) {
		bench_await(&crew->turn, turn);
		member_turn(crew, member, turn);
	}
}

struct crew *
crew_start(unsigned size, crew_sleep *sleep, void *arg)
{
	struct crew *crew = bench_shared(sizeof(*crew));

	crew->size = size;
	crew->sleep = sleep;
	crew->arg = arg;
	for (unsigned i = 0; i < size; i++) {
		int pid = bench_fork();

		if (pid == 0)
			member_main(crew, &crew->members[i], i + 1);
		crew->members[i].pid = pid;
	}
	return crew;
}

uint32_t
crew_go(struct crew *crew, unsigned way)
{
	crew->way = way;
	atomic_store_explicit(&crew->back, 0, memory_order_relaxed);

	uint32_t turn = atomic_fetch_add_explicit(&crew->turn, 1,
			    memory_order_release) +
	    1;

	bench_futex_wake_all(&crew->turn);
	return turn;
}

/* The letter by which the kernel tells the state of a process. */
static char
process_state(int pid)
{
	char path[32], text[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	bench_read(path, text, sizeof(text));
	char *name_end = strrchr(text, ')');

	return name_end == NULL || name_end[1] == 0 ? '?' : name_end[2];
}

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
}

void
crew_await_asleep(int pid)
{
	while (process_state(pid) != 'S')
		nap();
}

void
crew_settle(struct crew *crew)
{
	uint32_t turn = atomic_load_explicit(&crew->turn, memory_order_relaxed);

	for (unsigned i = 0; i < crew->size; i++) {
		struct crew_member *member = &crew->members[i];

		while (atomic_load_explicit(&member->ready,
			   memory_order_acquire) != turn)
			nap();
		crew_await_asleep(member->pid);
	}
}

void
crew_finish(struct crew *crew)
{
	bench_await(&crew->back, crew->size);
}

void
crew_stop(struct crew *crew)
{
	for (unsigned i = 0; i < crew->size; i++)
		kill(crew->members[i].pid, SIGKILL);
	for (unsigned i = 0; i < crew->size; i++)
		waitpid(crew->members[i].pid, NULL, 0);
}

unsigned
crew_failures(const struct crew *crew)
{
	unsigned failures = 0;

	for (unsigned i = 0; i < crew->size; i++)
		failures += crew->members[i].failed;
	return failures;
}

void
crew_latencies(const struct crew *crew, uint64_t start_ns, double *latencies_ns)
{
	for (unsigned i = 0; i < crew->size; i++)
		latencies_ns[i] = (double)crew->members[i].back_ns -
		    (double)start_ns;
}
