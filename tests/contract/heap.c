/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R33: the host's heap is its own.  The library takes from it when it is
 * opened and when a thread calls for the first time, and never again.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#define KEY "k", 1
#define LARGE_BYTES 200000u /* many blocks of a segment of 1 MiB */

struct heap {
	unsigned taken, returned;
	bool empty;
};

static void *
take(size_t bytes, void *arg)
{
	struct heap *heap = arg;

	heap->taken++;
	return heap->empty ? NULL : malloc(bytes);
}

static void
give_back(void *memory, void *arg)
{
	struct heap *heap = arg;

	heap->returned++;
	free(memory);
}

static struct shmc *
cache_with(struct heap *heap)
{
	struct shmc_options options = cache_options(1u << 20, 4);

	options.allocate = take;
	options.release = give_back;
	options.heap_arg = heap;
	return cache_open(&options);
}

static int
update_nothing(const struct shmc_view *old, const void **value,
    size_t *value_bytes, void *arg)
{
	(void)old;
	(void)arg;
	*value = "";
	*value_bytes = 0;
	return 1;
}

static void
refresh(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_refresh(lead, 100000, NULL), SHMC_OK);
}

/* Returns when it is stale. */
static void
put_stale(struct shmc *cache, char *value)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;
	size_t n;

	terms.ttl_ms = 1;
	terms.grace_ms = 100000;
	CHECK_EQ(shmc_store(cache, KEY, value, LARGE_BYTES, &terms,
		     SHMC_ALWAYS, 0), SHMC_OK);
	while (shmc_get(cache, KEY, value, LARGE_BYTES, &n) != SHMC_STALE)
		sleep_ms(1);
}

TEST(contract__r33__large_values_take_nothing_from_the_heap)
{
	struct heap heap = { 0 };
	struct shmc *cache = cache_with(&heap);
	char *value = malloc(LARGE_BYTES);
	struct shmc_view view;
	unsigned taken;
	size_t n;

	value_fill(value, LARGE_BYTES, 1, 7);
	check_miss(cache, "k");
	taken = heap.taken;
	CHECK_EQ(shmc_put(cache, KEY, value, LARGE_BYTES, 0), SHMC_OK);
	CHECK_EQ(shmc_touch(cache, KEY, 100000), SHMC_OK);
	put_stale(cache, value);
	CHECK_EQ(shmc_fetch(cache, KEY, NULL, refresh, NULL, &view), SHMC_OK);
	shmc_view_release(&view);
	memset(value, 0, LARGE_BYTES);
	CHECK_EQ(shmc_get(cache, KEY, value, LARGE_BYTES, &n), SHMC_OK);
	CHECK_EQ(value_check(value, n, 1), 7);
	CHECK_EQ(shmc_update(cache, KEY, update_nothing, NULL, NULL), SHMC_OK);
	CHECK_EQ(heap.taken, taken);
	shmc_close(cache);
	CHECK_EQ(heap.returned, heap.taken);
	free(value);
}

/* What is stored already needs no heap to be stored for longer. */
TEST(contract__r25__touch_works_when_the_heap_is_empty)
{
	struct heap heap = { 0 };
	struct shmc *cache = cache_with(&heap);
	char *value = malloc(LARGE_BYTES);
	size_t n;

	value_fill(value, LARGE_BYTES, 1, 7);
	CHECK_EQ(shmc_put(cache, KEY, value, LARGE_BYTES, 1000), SHMC_OK);
	heap.empty = true;
	CHECK_EQ(shmc_touch(cache, KEY, 0), SHMC_OK);
	memset(value, 0, LARGE_BYTES);
	REQUIRE_EQ(shmc_get(cache, KEY, value, LARGE_BYTES, &n), SHMC_OK);
	CHECK_EQ(value_check(value, n, 1), 7);
	free(value);
}
