/* SPDX-License-Identifier: BSD-2-Clause */
/* A loader may fetch other keys.  A circle is found out before anyone sleeps. */
#include "example.h"

struct cell {
	struct shmc *cache;
	const char *key;
	const char *needs; /* the cell it is made from; NULL: none */
	const struct cell *cells;
};

static enum shmc_status fetch(const struct cell *cell, struct shmc_view *view);

static const struct cell *
find(const struct cell *cells, const char *key)
{
	while (strcmp(cells->key, key) != 0)
		cells++;
	return cells;
}

/* A cell of a sheet: what it needs comes first. */
static void
load(struct shmc_lead *lead, void *arg)
{
	const struct cell *cell = arg;
	struct shmc_view needed = { 0 };
	enum shmc_status status = SHMC_OK;

	if (cell->needs != NULL)
		status = fetch(find(cell->cells, cell->needs), &needed);
	if (status == SHMC_OK)
		status = shmc_lead_value(lead, "sum", 3, 60 * 1000, NULL);
	else if (status == SHMC_ERROR)
		status = shmc_lead_error(lead, needed.error, "below", 0);
	else if (status == SHMC_DEADLOCK)
		status = shmc_lead_error(lead, 508, "made from itself", 0);
	shmc_view_release(&needed);
	if (status != SHMC_OK) /* the lead is abandoned if it is not over */
		fprintf(stderr, "%s: not made\n", cell->key);
}

static enum shmc_status
fetch(const struct cell *cell, struct shmc_view *view)
{
	return shmc_fetch(cell->cache, cell->key, strlen(cell->key), NULL, load,
	    (void *)cell, view);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	const struct cell cells[] = {
		{ cache, "A1", "A2", cells }, { cache, "A2", NULL, cells },
		{ cache, "B1", "B2", cells }, { cache, "B2", "B1", cells },
	};
	struct shmc_view view;

	MUST(fetch(&cells[0], &view) == SHMC_OK && says(&view, "sum"));
	shmc_view_release(&view);
	MUST(fetch(&cells[2], &view) == SHMC_ERROR && view.error == 508);
	printf("A1 is made from A2; B1 would be made from itself: error %d\n",
	    view.error);
	shmc_view_release(&view);
	MUST(stats_of(cache).deadlocks == 1);
	shmc_close(cache);
	return 0;
}
