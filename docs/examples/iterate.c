/* SPDX-License-Identifier: BSD-2-Clause */
/* Visiting every entry, a part at a time, without stopping anybody. */
#include "example.h"

struct sum {
	unsigned entries;
	size_t bytes;
};

static int
add_up(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	struct sum *sum = arg;

	(void)key;
	sum->entries++;
	sum->bytes += key_bytes + value->size_bytes;
	return 1; /* go on */
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct sum sum = { 0, 0 };
	uint64_t cursor = 0;
	char key[16];
	int more;

	for (int i = 0; i < 1000; i++)
		MUST(shmc_put(cache, key, (size_t)snprintf(key, sizeof key,
		    "%04d", i), "value", 5, 0) == SHMC_OK);
	do
		more = shmc_iterate(cache, &cursor, 4096, add_up, &sum);
	while (more == 1); /* between two parts: other work */
	MUST(more == 0);
	printf("%u entries, %zu bytes\n", sum.entries, sum.bytes);
	MUST(sum.entries == 1000 && sum.bytes == 1000 * (4 + 5));
	shmc_close(cache);
	return 0;
}
