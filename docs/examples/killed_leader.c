/* SPDX-License-Identifier: BSD-2-Clause */
/* SIGKILL for the worker that computes: one other goes on, at once. */
#include "example.h"

#include <signal.h>

#define WORKERS 4

static struct gate leading;

static void
load_for_ever(struct shmc_lead *lead, void *arg)
{
	(void)lead;
	(void)arg;
	gate_open(&leading);
	pause();
}

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	MUST(shmc_lead_value(lead, "page", 4, 60 * 1000, NULL) == SHMC_OK);
}

static void
fetch(struct shmc *cache, shmc_loader *loader)
{
	struct shmc_view view;

	MUST(shmc_fetch(cache, "k", 1, NULL, loader, NULL, &view) == SHMC_OK);
	MUST(says(&view, "page"));
	printf("a worker has the page%s\n", view.role == SHMC_ROLE_PROMOTED ?
	    ", in the killed one's place" : "");
	shmc_view_release(&view);
}

static void
lead(void *arg)
{
	fetch(arg, load_for_ever);
}

static void
work(void *arg)
{
	fetch(arg, load);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t leader, workers[WORKERS];

	leading = gate_new();
	leader = start(lead, cache);
	gate_pass(&leading);
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(work, cache);
	MUST(kill(leader, SIGKILL) == 0);
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	MUST(waitpid(leader, NULL, 0) == leader);
	printf("computed %llu times: by the killed one, and by one of %d\n",
	    (unsigned long long)stats_of(cache).computations, WORKERS);
	MUST(stats_of(cache).computations == 2);
	shmc_close(cache);
	return 0;
}
