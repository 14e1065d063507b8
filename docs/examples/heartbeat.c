/* SPDX-License-Identifier: BSD-2-Clause */
/* A lease ends: who works longer says so, or is replaced and refused. */
#include "example.h"

static struct gate leading, go_on;

/* Ten steps, of which each may take a lease's time. */
static void
load_with_heartbeat(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	for (int step = 0; step < 10; step++) {
		if (shmc_lead_extend(lead, 10 * 1000) != SHMC_OK)
			return; /* somebody else computes it by now */
		if (step == 0)
			gate_open(&leading);
		sleep_ms(20);
	}
	MUST(shmc_lead_value(lead, "done", 4, 0, NULL) == SHMC_OK);
}

/* Hangs until somebody else has done it. */
static void
load_and_hang(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	gate_open(&leading);
	gate_pass(&go_on);
	MUST(shmc_lead_value(lead, "late", 4, 0, NULL) == SHMC_FENCED);
	printf("the former leader's late answer is refused\n");
}

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	MUST(shmc_lead_value(lead, "done", 4, 0, NULL) == SHMC_OK);
}

static enum shmc_role
fetch(struct shmc *cache, const char *key, shmc_loader *loader)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	enum shmc_status status;
	enum shmc_role role;

	wait.lease_ms = 50; /* for whom comes to lead */
	status = shmc_fetch(cache, key, 1, &wait, loader, NULL, &view);
	if (status == SHMC_FENCED)
		return SHMC_ROLE_NONE;
	MUST(status == SHMC_OK && says(&view, "done"));
	role = (enum shmc_role)view.role;
	shmc_view_release(&view);
	return role;
}

static void
work(void *arg)
{
	MUST(fetch(arg, "a", load_with_heartbeat) == SHMC_ROLE_LED);
}

static void
hang(void *arg)
{
	MUST(fetch(arg, "b", load_and_hang) == SHMC_ROLE_NONE);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t worker;

	leading = gate_new();
	go_on = gate_new();
	worker = start(work, cache);
	gate_pass(&leading);
	MUST(fetch(cache, "a", load) != SHMC_ROLE_PROMOTED);
	finish(worker);
	printf("200 ms of work on leases of 50 ms: computed once\n");
	MUST(stats_of(cache).computations == 1);

	worker = start(hang, cache);
	gate_pass(&leading);
	MUST(fetch(cache, "b", load) == SHMC_ROLE_PROMOTED);
	gate_open(&go_on);
	finish(worker);
	MUST(stats_of(cache).fenced == 1);
	shmc_close(cache);
	return 0;
}
