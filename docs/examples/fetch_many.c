/* SPDX-License-Identifier: BSD-2-Clause */
/* fetch_many: one query for all that is missing and that nobody computes. */
#include "example.h"

#define KEYS 10u

static unsigned queries;

/* Makes a value for each key that is ours: SELECT ... WHERE id IN (...). */
static void
query(struct shmc_fetch_item *items, size_t count, void *arg)
{
	char row[32];

	(void)arg;
	queries++;
	for (size_t i = 0; i < count; i++) {
		int n;

		if (items[i].status != SHMC_LEAD)
			continue; /* a hit, or another is computing it */
		n = snprintf(row, sizeof row, "row %s", (char *)items[i].arg);
		if (shmc_lead_value(&items[i].lead, row, (size_t)n, 60 * 1000,
			NULL) != SHMC_OK)
			fprintf(stderr, "not stored\n");
	}
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_fetch_item items[KEYS] = { 0 };
	char keys[KEYS][16];

	for (unsigned i = 0; i < KEYS; i++) {
		items[i].key = items[i].arg = keys[i];
		items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i],
		    "%u", i);
	}
	MUST(shmc_put(cache, "3", 1, "row 3", 5, 0) == SHMC_OK);
	MUST(shmc_fetch_many(cache, items, KEYS, NULL, query, NULL) == KEYS);
	MUST(items[3].view.role == SHMC_ROLE_HIT);
	MUST(items[4].view.role == SHMC_ROLE_LED);
	MUST(says(&items[4].view, "row 4"));
	printf("%u keys, one there already, %u query\n", KEYS, queries);
	MUST(queries == 1);
	for (unsigned i = 0; i < KEYS; i++)
		shmc_view_release(&items[i].view);
	shmc_close(cache);
	return 0;
}
