/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ourselves: shmc_get() from processes on one anonymous segment.
 */
#include "bench.h"
#include "peer.h"

#define FREQ_MAX 3u /* hits of an entry that are still counted */

/* As after some time of use: hits no longer raise the entries' counters. */
static void
shmcache_season(struct shmc *cache, const struct store *store)
{
	unsigned char value[PEER_VALUE_MAX];
	char key[KEY_BYTES];
	size_t bytes;

	for (unsigned n = 0; n < FREQ_MAX; n++)
		for (uint64_t index = 0; index < store->entries; index++) {
			keys_key(index, key);
			if (shmc_get(cache, key, KEY_BYTES, value,
				sizeof(value), &bytes) > SHMC_MISS)
				bench_die("shmc_get failed");
		}
}

static void *
shmcache_create(const struct store *store)
{
	struct shmc *cache = bench_segment(store->memory_bytes,
	    (uint32_t)(KEY_BYTES + store->value_bytes), 16);

	for (uint64_t index = 0; index < store->entries; index++) {
		unsigned char value[PEER_VALUE_MAX];
		char key[KEY_BYTES];

		keys_key(index, key);
		keys_value(index, value, store->value_bytes);
		enum shmc_status status = shmc_put(cache, key, KEY_BYTES, value,
		    store->value_bytes, 0);
		if (status != SHMC_OK)
			bench_die("shmc_put: status %d", (int)status);
	}
	shmcache_season(cache, store);
	return cache;
}

static void *
shmcache_attach(void *made)
{
	return made;
}

static size_t
shmcache_get(void *reader, const struct question *question,
    unsigned char *buffer)
{
	size_t bytes;

	if (shmc_get(reader, question->key, KEY_BYTES, buffer, PEER_VALUE_MAX,
		&bytes) != SHMC_OK)
		return 0;
	return bytes;
}

const struct peer peer_shmcache = {
	.name = "shmcache",
	.about = "shmc_get, processes",
	.create = shmcache_create,
	.attach = shmcache_attach,
	.get = shmcache_get,
};
