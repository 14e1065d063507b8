/* SPDX-License-Identifier: BSD-2-Clause */
/* Tags: many entries become misses at once.  A namespace is a tag of all. */
#include "example.h"

static enum shmc_status
store_page(struct shmc *cache, const char *url, const char *user)
{
	const char *tags[] = { "pages", user };
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = 60 * 1000;
	terms.tags = tags;
	terms.tag_count = 2;
	return shmc_store(cache, url, strlen(url), "page", 4, &terms,
	    SHMC_ALWAYS, 0);
}

static bool
is_there(struct shmc *cache, const char *key)
{
	size_t bytes;

	return shmc_get(cache, key, strlen(key), NULL, 0, &bytes) ==
	    SHMC_TRUNCATED;
}

int
main(void)
{
	struct shmc *cache = open_cache();

	MUST(shmc_put(cache, "logo", 4, "image", 5, 0) == SHMC_OK);
	MUST(store_page(cache, "/ada", "user:ada") == SHMC_OK);
	MUST(store_page(cache, "/ada/orders", "user:ada") == SHMC_OK);
	MUST(store_page(cache, "/bob", "user:bob") == SHMC_OK);
	MUST(is_there(cache, "/ada") && is_there(cache, "/bob"));

	MUST(shmc_invalidate_tag(cache, "user:ada") == SHMC_OK);
	MUST(!is_there(cache, "/ada") && !is_there(cache, "/ada/orders"));
	/* Likely, but not certain: two names may share a place in the table. */
	printf("user:ada invalidated: /bob is %s\n",
	    is_there(cache, "/bob") ? "there" : "gone with it");

	MUST(shmc_invalidate_tag(cache, "pages") == SHMC_OK);
	MUST(!is_there(cache, "/bob") && is_there(cache, "logo"));
	printf("the namespace invalidated: the logo, without a tag, stays\n");
	shmc_close(cache);
	return 0;
}
