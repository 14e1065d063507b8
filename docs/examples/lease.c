/* SPDX-License-Identifier: BSD-2-Clause */
/* A named lease: a lock over processes that its holder's death releases. */
#include "example.h"

#include <signal.h>

static struct gate held;

/* Takes it if it is free now: a job that one worker does, the others skip. */
static bool
run_alone(struct shmc *cache)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease;

	wait.deadline_ns = 1; /* long past */
	wait.lease_ms = 60 * 1000;
	if (shmc_lease_acquire(cache, "cron", 4, &wait, &lease) != SHMC_OK)
		return false;
	/* the job; shmc_lease_extend() if it takes long */
	return shmc_lease_release(&lease) == SHMC_OK;
}

static void
hold(void *arg)
{
	struct shmc_lease lease;

	MUST(shmc_lease_acquire(arg, "cron", 4, NULL, &lease) == SHMC_OK);
	MUST(write(held.ends[1], &lease.token, sizeof lease.token) ==
	    sizeof lease.token);
	pause();
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_lease lease;
	uint64_t token;
	pid_t holder;

	held = gate_new();
	MUST(run_alone(cache));
	holder = start(hold, cache);
	MUST(read(held.ends[0], &token, sizeof token) == sizeof token);
	MUST(!run_alone(cache));
	printf("held by %d, token %llu: others skip the job\n", (int)holder,
	    (unsigned long long)token);

	MUST(kill(holder, SIGKILL) == 0);
	MUST(shmc_lease_acquire(cache, "cron", 4, NULL, &lease) == SHMC_OK);
	/* Give it to the database: it refuses who comes with a smaller one. */
	printf("killed: the next holder has token %llu\n",
	    (unsigned long long)lease.token);
	MUST(lease.token > token);
	MUST(shmc_lease_release(&lease) == SHMC_OK);
	MUST(waitpid(holder, NULL, 0) == holder);
	shmc_close(cache);
	return 0;
}
