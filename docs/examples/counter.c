/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters over processes: a number of hits, and a limit of requests. */
#include "example.h"

#define WORKERS 4
#define HITS 1000

static void
count_hits(void *arg)
{
	for (int i = 0; i < HITS; i++)
		MUST(shmc_incr(arg, "hits", 4, 1, 1, 0, NULL) == SHMC_OK);
}

/* At most `most` requests of a client in a minute. */
static bool
allow(struct shmc *cache, const char *client, int64_t most)
{
	int64_t count;

	/* Missing: it starts at 1, and is gone a minute later. */
	if (shmc_incr(cache, client, strlen(client), 1, 1, 60 * 1000, &count) !=
	    SHMC_OK)
		return true; /* no limit is better than no service */
	return count <= most;
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t workers[WORKERS];
	int64_t hits;

	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(count_hits, cache);
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	MUST(shmc_incr(cache, "hits", 4, 0, 0, 0, &hits) == SHMC_OK);
	printf("%d workers counted to %lld\n", WORKERS, (long long)hits);
	MUST(hits == WORKERS * HITS);
	for (int i = 1; i <= 4; i++)
		printf("request %d: %s\n", i,
		    allow(cache, "192.0.2.1", 3) ? "allowed" : "refused");
	MUST(!allow(cache, "192.0.2.1", 3) && allow(cache, "192.0.2.2", 3));
	shmc_close(cache);
	return 0;
}
