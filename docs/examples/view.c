/* SPDX-License-Identifier: BSD-2-Clause */
/* A view reads a value in place; nothing that happens meanwhile changes it. */
#include "example.h"

/* A large value lies in several pieces: writev() and sendmsg() like that. */
static size_t
write_out(struct shmc_view *view, FILE *out)
{
	size_t at = 0, bytes;
	const void *data;

	while (shmc_view_piece(view, at, &data, &bytes) == SHMC_OK && bytes > 0)
		at += fwrite(data, 1, bytes, out);
	return at;
}

static void
large_value(struct shmc *cache)
{
	static char large[100000];
	struct shmc_view view;
	FILE *out = fopen("/dev/null", "w");

	MUST(out != NULL);
	MUST(shmc_put(cache, "large", 5, large, sizeof large, 0) == SHMC_OK);
	MUST(shmc_view(cache, "large", 5, &view) == SHMC_OK);
	printf("%zu bytes, of them %zu in the first piece\n", view.size_bytes,
	    view.piece_bytes);
	MUST(view.piece_bytes < view.size_bytes);
	MUST(write_out(&view, out) == sizeof large);
	shmc_view_release(&view);
	fclose(out);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_view view;

	MUST(shmc_put(cache, "page", 4, "version 1", 9, 0) == SHMC_OK);
	MUST(shmc_view(cache, "page", 4, &view) == SHMC_OK);
	MUST(shmc_put(cache, "page", 4, "version 2", 9, 0) == SHMC_OK);
	MUST(shmc_delete(cache, "page", 4) == SHMC_OK);
	printf("overwritten and deleted, the view still says: %.*s\n",
	    (int)view.size_bytes, (const char *)view.data);
	MUST(says(&view, "version 1"));
	shmc_view_release(&view); /* now its memory can be used again */
	MUST(shmc_view(cache, "page", 4, &view) == SHMC_MISS);
	large_value(cache);
	shmc_close(cache);
	return 0;
}
