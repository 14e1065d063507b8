/* SPDX-License-Identifier: BSD-2-Clause */
/* Conditional stores: add, replace, and compare and swap by version. */
#include "example.h"

#define WORKERS 4
#define ITEMS 50

/* Appends to the basket; who was overtaken reads again. */
static enum shmc_status
add_item(struct shmc *cache, const char *item)
{
	char basket[4096];
	struct shmc_view old;
	enum shmc_status status;

	do {
		size_t n;

		status = shmc_view(cache, "basket", 6, &old);
		if (status != SHMC_OK)
			return status;
		n = shmc_view_copy(&old, basket, sizeof basket - 8);
		n += (size_t)snprintf(basket + n, 8, "%s,", item);
		status = shmc_store(cache, "basket", 6, basket, n, NULL,
		    SHMC_IF_VERSION, old.version);
		shmc_view_release(&old);
	} while (status == SHMC_OTHER);
	return status;
}

static void
work(void *arg)
{
	for (int i = 0; i < ITEMS; i++)
		MUST(add_item(arg, "item") == SHMC_OK);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	pid_t workers[WORKERS];
	struct shmc_view view;

	MUST(shmc_store(cache, "basket", 6, "", 0, NULL, SHMC_IF_PRESENT, 0) ==
	    SHMC_OTHER);
	MUST(shmc_store(cache, "basket", 6, "", 0, NULL, SHMC_IF_ABSENT, 0) ==
	    SHMC_OK);
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(work, cache);
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	MUST(shmc_view(cache, "basket", 6, &view) == SHMC_OK);
	printf("%d workers added %zu items, none was lost\n", WORKERS,
	    view.size_bytes / strlen("item,"));
	MUST(view.size_bytes == WORKERS * ITEMS * strlen("item,"));
	shmc_view_release(&view);
	shmc_close(cache);
	return 0;
}
