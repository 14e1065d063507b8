/* SPDX-License-Identifier: BSD-2-Clause */
/* At most so many wait for one key: the others are free for other requests. */
#include "example.h"

static struct gate leading;

/* Leads until two wait: the example's cap. */
static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	while (shmc_lead_waiters(lead) < 2)
		sleep_ms(1);
	gate_open(&leading);
	gate_pass(arg);
	MUST(shmc_lead_value(lead, "page", 4, 0, NULL) == SHMC_OK);
}

struct crowd {
	struct shmc *cache;
	struct gate go_on;
};

static void
fetch(void *arg)
{
	struct crowd *crowd = arg;
	struct shmc_view view;

	MUST(shmc_fetch(crowd->cache, "k", 1, NULL, load, &crowd->go_on,
	    &view) == SHMC_OK);
	shmc_view_release(&view);
}

int
main(void)
{
	struct crowd crowd = { open_cache(), gate_new() };
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	pid_t workers[3];

	leading = gate_new();
	for (int i = 0; i < 3; i++)
		workers[i] = start(fetch, &crowd);
	gate_pass(&leading);

	wait.max_waiters = 2;
	wait.on_overflow = SHMC_OR_FAIL; /* answer 503, or SHMC_OR_STALE */
	MUST(shmc_fetch(crowd.cache, "k", 1, &wait, load, &crowd.go_on,
	    &view) == SHMC_OVERFLOW);
	printf("one computes, two wait, the fourth does not\n");

	gate_open(&crowd.go_on);
	for (int i = 0; i < 3; i++)
		finish(workers[i]);
	MUST(stats_of(crowd.cache).computations == 1);
	shmc_close(crowd.cache);
	return 0;
}
