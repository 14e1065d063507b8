/* SPDX-License-Identifier: BSD-2-Clause */
/* For those who wait now, and nobody later: shared, not stored. */
#include "example.h"

#define WORKERS 4

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	/* Only to make the example certain: all others shall have come. */
	while (shmc_lead_waiters(lead) < WORKERS - 1)
		sleep_ms(1);
	MUST(shmc_lead_append(lead, "price: 42", 9) == SHMC_OK);
	MUST(shmc_lead_share(lead, NULL) == SHMC_OK);
}

static void
ask(void *arg)
{
	struct shmc_view view;

	MUST(shmc_fetch(arg, "price", 5, NULL, load, NULL, &view) == SHMC_OK);
	MUST(says(&view, "price: 42"));
	MUST(view.flags == SHMC_UNSTORED); /* everyone is told */
	shmc_view_release(&view);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t workers[WORKERS];
	size_t bytes;

	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(ask, cache);
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	printf("%llu asked the exchange, %llu took its answer\n",
	    (unsigned long long)stats_of(cache).computations,
	    (unsigned long long)stats_of(cache).shared);
	MUST(stats_of(cache).computations == 1);
	MUST(stats_of(cache).shared == WORKERS - 1);
	MUST(shmc_get(cache, "price", 5, NULL, 0, &bytes) == SHMC_MISS);
	shmc_close(cache);
	return 0;
}
