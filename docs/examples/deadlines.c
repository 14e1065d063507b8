/* SPDX-License-Identifier: BSD-2-Clause */
/* How long to wait for another's result, and what to do instead. */
#include "example.h"

static struct gate leading, go_on;

static void
load_slowly(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	gate_open(&leading);
	gate_pass(&go_on);
	MUST(shmc_lead_value(lead, "slow", 4, 0, NULL) == SHMC_OK);
}

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	MUST(shmc_lead_value(lead, "own", 3, 0, NULL) == SHMC_OK);
}

static void
lead_slowly(void *arg)
{
	struct shmc_view view;

	MUST(shmc_fetch(arg, "k", 1, NULL, load_slowly, NULL, &view) == SHMC_OK);
	shmc_view_release(&view);
}

/* Waits 20 ms at most, then does what the policy says. */
static enum shmc_status
fetch(struct shmc *cache, enum shmc_or policy, struct shmc_view *view)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;

	wait.deadline_ns = in_ms(20);
	wait.on_timeout = (uint32_t)policy;
	return shmc_fetch(cache, "k", 1, &wait, load, NULL, view);
}

/* An hour of keep, so that SHMC_OR_STALE has something to give. */
static void
store_old(struct shmc *cache)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = 1;
	terms.keep_ms = 60 * 60 * 1000;
	MUST(shmc_store(cache, "k", 1, "old", 3, &terms, SHMC_ALWAYS, 0) ==
	    SHMC_OK);
	sleep_ms(50);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_view view;
	pid_t worker;

	leading = gate_new();
	go_on = gate_new();
	store_old(cache);
	worker = start(lead_slowly, cache);
	gate_pass(&leading);

	MUST(fetch(cache, SHMC_OR_FAIL, &view) == SHMC_TIMEOUT);
	printf("or fail: no answer, after 20 ms\n");

	MUST(fetch(cache, SHMC_OR_STALE, &view) == SHMC_OK);
	MUST(says(&view, "old") && view.role == SHMC_ROLE_STALE);
	shmc_view_release(&view);
	printf("or stale: the old value\n");

	MUST(fetch(cache, SHMC_OR_COMPUTE, &view) == SHMC_OK);
	MUST(says(&view, "own") && view.role == SHMC_ROLE_PASSED);
	shmc_view_release(&view);
	printf("or compute: an own copy, not stored\n");

	gate_open(&go_on);
	finish(worker);
	MUST(fetch(cache, SHMC_OR_FAIL, &view) == SHMC_OK);
	MUST(says(&view, "slow"));
	shmc_view_release(&view);
	shmc_close(cache);
	return 0;
}
