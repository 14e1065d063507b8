/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ourselves: puts by several participants in turn, each with a block of its own
 * open.  An entry counts if shmc_get() has it; memory is the whole segment.
 */
#include <shmcache.h>

#include <string.h>

#include "bench.h"
#include "fill.h"

#define WRITERS 16u
#define PUTS_AT_ONCE 64u /* between two looks at whether it is full */

struct writers {
	struct shmc *caches[WRITERS];
	const struct fill *fill;
	uint64_t next; /* the entry to put next */
};

static void
writers_open(struct writers *w, const struct fill *fill)
{
	struct shmc_error error;

	*w = (struct writers){ .fill = fill };
	w->caches[0] = bench_segment(fill->memory_bytes,
	    (uint32_t)(KEY_BYTES + fill->value_bytes), 0);
	for (unsigned i = 1; i < WRITERS; i++)
		if (shmc_attach_fd(&w->caches[i], shmc_fd(w->caches[0]), NULL,
			&error) != 0)
			bench_die("shmc_attach_fd: %s", error.text);
}

static void
writers_close(struct writers *w)
{
	for (unsigned i = WRITERS; i-- > 0;)
		shmc_close(w->caches[i]);
}

static void
put_next(struct writers *w)
{
	struct shmc *cache = w->caches[w->next % WRITERS];
	unsigned char value[FILL_VALUE_MAX];
	char key[KEY_BYTES];
	enum shmc_status status;

	keys_key(w->next, key);
	keys_value(w->next, value, w->fill->value_bytes);
	status = shmc_put(cache, key, KEY_BYTES, value, w->fill->value_bytes, 0);
	if (status != SHMC_OK)
		bench_die("shmc_put: status %d", (int)status);
	w->next++;
}

static bool
gave_up_any(struct writers *w)
{
	struct shmc_stats stats;

	shmc_stats(w->caches[0], &stats, sizeof stats);
	return stats.evicted_entries > 0;
}

static bool
is_there(struct writers *w, uint64_t index)
{
	unsigned char value[FILL_VALUE_MAX];
	char key[KEY_BYTES];
	uint64_t check;
	size_t bytes;

	keys_key(index, key);
	if (shmc_get(w->caches[0], key, KEY_BYTES, value, sizeof value,
		&bytes) != SHMC_OK)
		return false;
	memcpy(&check, value, sizeof check);
	if (bytes != w->fill->value_bytes || check != keys_check(index))
		bench_die("a wrong value");
	return true;
}

static void
count(struct writers *w, struct filled *filled)
{
	struct shmc_info info;

	shmc_info(w->caches[0], &info, sizeof info);
	filled->memory_bytes = info.size_bytes;
	filled->entries = 0;
	for (uint64_t i = 0; i < w->next; i++)
		filled->entries += is_there(w, i);
}

static void
fill_up(struct writers *w)
{
	do
		for (unsigned i = 0; i < PUTS_AT_ONCE; i++)
			put_next(w);
	while (!gave_up_any(w));
}

static bool
shmcache_fill(const struct fill *fill, struct filled *filled)
{
	struct writers w;

	writers_open(&w, fill);
	fill_up(&w);
	count(&w, filled);
	writers_close(&w);
	return true;
}

static bool
shmcache_fill_later(const struct fill *fill, struct filled *filled)
{
	struct writers w;

	writers_open(&w, fill);
	fill_up(&w);
	for (uint64_t more = 2 * w.next; more > 0; more--)
		put_next(&w);
	count(&w, filled);
	writers_close(&w);
	return true;
}

const struct filler fill_shmcache = {
	.name = "shmcache",
	.about = "until it evicts",
	.fill = shmcache_fill,
};

const struct filler fill_shmcache_later = {
	.name = "shmcache later",
	.about = "and twice as many again",
	.fill = shmcache_fill_later,
};
