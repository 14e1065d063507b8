/* SPDX-License-Identifier: BSD-2-Clause */
/* Filling by pieces: straight into shared memory, the length not known. */
#include "example.h"

/* Takes what a backend sends as it comes. */
static void
load(struct shmc_lead *lead, void *arg)
{
	enum shmc_status status = SHMC_OK;
	FILE *backend = arg;
	char piece[4096];
	size_t n;

	while (status == SHMC_OK &&
	    (n = fread(piece, 1, sizeof piece, backend)) > 0)
		status = shmc_lead_append(lead, piece, n);
	if (ferror(backend))
		shmc_lead_abandon(lead); /* not half a page */
	else if (shmc_lead_commit(lead, 60 * 1000, NULL) != SHMC_OK)
		fprintf(stderr, "not stored\n");
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_view view;
	FILE *backend = tmpfile();

	MUST(backend != NULL);
	for (int i = 0; i < 20000; i++)
		fprintf(backend, "line %d\n", i);
	rewind(backend);
	MUST(shmc_fetch(cache, "k", 1, NULL, load, backend, &view) == SHMC_OK);
	printf("%zu bytes came by pieces\n", view.size_bytes);
	MUST(view.size_bytes == (size_t)ftell(backend));
	shmc_view_release(&view);
	fclose(backend);
	shmc_close(cache);
	return 0;
}
