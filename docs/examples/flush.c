/* SPDX-License-Identifier: BSD-2-Clause */
/* Flush: every entry is a miss, at once, however many there are. */
#include "example.h"

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_lead lead;
	struct shmc_view view;
	char key[16];
	size_t bytes;

	for (int i = 0; i < 10000; i++)
		MUST(shmc_put(cache, key, (size_t)snprintf(key, sizeof key, "%d",
		    i), "value", 5, 0) == SHMC_OK);
	/* A computation that has begun when the cache is flushed. */
	MUST(shmc_begin(cache, "k", 1, NULL, &view, &lead) == SHMC_LEAD);

	MUST(shmc_flush(cache) == SHMC_OK);

	MUST(shmc_lead_value(&lead, "old", 3, 0, NULL) == SHMC_OK);
	MUST(shmc_get(cache, "k", 1, NULL, 0, &bytes) == SHMC_MISS);
	for (int i = 0; i < 10000; i++)
		MUST(shmc_get(cache, key, (size_t)snprintf(key, sizeof key, "%d",
		    i), NULL, 0, &bytes) == SHMC_MISS);
	printf("10000 entries flushed; what was being made is not stored\n");
	shmc_close(cache);
	return 0;
}
