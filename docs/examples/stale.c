/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three ages: fresh for ttl; then stale for grace, served at once while one
 * worker refreshes; then kept for keep, served if the refresh fails.
 */
#include "example.h"

static struct gate loading, go_on;

static void
store_old(struct shmc *cache, const char *key, uint64_t grace_ms)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = 1;
	terms.grace_ms = grace_ms;
	terms.keep_ms = 60 * 60 * 1000;
	MUST(shmc_store(cache, key, strlen(key), "old", 3, &terms, SHMC_ALWAYS,
	    0) == SHMC_OK);
}

static void
load_slowly(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	gate_open(&loading);
	gate_pass(&go_on);
	MUST(shmc_lead_value(lead, "new", 3, 60 * 1000, NULL) == SHMC_OK);
}

static void
fail(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	MUST(shmc_lead_error(lead, 503, "the backend is down", 5000) == SHMC_OK);
}

static void
refresh(void *arg)
{
	struct shmc_view view;

	MUST(shmc_fetch(arg, "page", 4, NULL, load_slowly, NULL, &view) ==
	    SHMC_OK);
	MUST(says(&view, "new"));
	shmc_view_release(&view);
}

static void
fetch(struct shmc *cache, const char *key, const char *value,
    enum shmc_role role)
{
	struct shmc_view view;

	MUST(shmc_fetch(cache, key, strlen(key), NULL, fail, NULL, &view) ==
	    SHMC_OK);
	printf("%s: %.*s\n", key, (int)view.size_bytes,
	    (const char *)view.data);
	MUST(says(&view, value) && view.role == role);
	shmc_view_release(&view);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t worker;

	loading = gate_new();
	go_on = gate_new();
	store_old(cache, "page", 60 * 1000);
	store_old(cache, "feed", 0); /* no grace: kept only */
	sleep_ms(50);

	worker = start(refresh, cache);
	gate_pass(&loading); /* one refreshes */
	fetch(cache, "page", "old", SHMC_ROLE_STALE); /* nobody waits */
	gate_open(&go_on);
	finish(worker);
	fetch(cache, "page", "new", SHMC_ROLE_HIT);

	fetch(cache, "feed", "old", SHMC_ROLE_STALE); /* the refresh failed */
	shmc_close(cache);
	return 0;
}
