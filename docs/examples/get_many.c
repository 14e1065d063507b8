/* SPDX-License-Identifier: BSD-2-Clause */
/* get_many: a page of fifty keys, whose memory is fetched together. */
#include "example.h"

#define KEYS 50

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_item items[KEYS];
	char keys[KEYS][16], values[KEYS][32];
	size_t found;

	for (int i = 0; i < KEYS; i++) {
		items[i].key = keys[i];
		items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i],
		    "article:%d", i);
		items[i].buffer = values[i];
		items[i].buffer_bytes = sizeof values[i];
		if (i % 10 != 0) /* some are missing */
			MUST(shmc_put(cache, keys[i], items[i].key_bytes,
			    "a headline", 10, 0) == SHMC_OK);
	}

	found = shmc_get_many(cache, items, KEYS);

	printf("%zu of %d found\n", found, KEYS);
	MUST(found == KEYS - KEYS / 10);
	for (int i = 0; i < KEYS; i++)
		MUST(items[i].status == (i % 10 != 0 ? SHMC_OK : SHMC_MISS));
	MUST(items[1].value_bytes == 10);
	shmc_close(cache);
	return 0;
}
