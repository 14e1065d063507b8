/* SPDX-License-Identifier: BSD-2-Clause */
/* Get and update: the new value is made from the old one, atomically. */
#include "example.h"

#define WORKERS 4

/* Keeps the best score.  May be called again if another was faster. */
static int
keep_best(const struct shmc_view *old, const void **value, size_t *value_bytes,
    void *arg)
{
	int best;

	if (old != NULL && old->size_bytes == sizeof best) {
		memcpy(&best, old->data, sizeof best);
		if (best >= *(const int *)arg)
			return 0; /* leave it */
	}
	*value = arg;
	*value_bytes = sizeof best;
	return 1;
}

static void
play(void *arg)
{
	for (int score = 0; score < 1000; score++) {
		enum shmc_status status = shmc_update(arg, "best", 4, keep_best,
		    &score, NULL);

		MUST(status == SHMC_OK || status == SHMC_OTHER /* left */);
	}
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t workers[WORKERS];
	size_t bytes;
	int best;

	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(play, cache);
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	MUST(shmc_get(cache, "best", 4, &best, sizeof best, &bytes) == SHMC_OK);
	printf("the best of %d players: %d\n", WORKERS, best);
	MUST(best == 999);
	shmc_close(cache);
	return 0;
}
