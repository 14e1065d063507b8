/* SPDX-License-Identifier: BSD-2-Clause */
/* Early refresh: one hit in many computes the next value before the ttl ends. */
#include "example.h"

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	sleep_ms(100); /* what it costs is measured and kept with the value */
	MUST(shmc_lead_value(lead, "page", 4, 20 * 1000, NULL) == SHMC_OK);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	unsigned hits = 0;

	/* 100 is the usual choice; so eager that an example need not wait. */
	wait.early_percent = 10000;
	do {
		MUST(shmc_fetch(cache, "k", 1, &wait, load, NULL, &view) ==
		    SHMC_OK);
		MUST(says(&view, "page"));
		hits += view.role == SHMC_ROLE_HIT;
		shmc_view_release(&view);
	} while (stats_of(cache).early == 0 && hits < 1000);
	printf("refreshed after %u hits, long before its 20 s were over\n", hits);
	MUST(stats_of(cache).early == 1);
	MUST(stats_of(cache).computations == 2);
	shmc_close(cache);
	return 0;
}
