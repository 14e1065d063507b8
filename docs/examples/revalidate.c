/* SPDX-License-Identifier: BSD-2-Clause */
/* "Not modified": the old value is stored once more instead of fetched. */
#include "example.h"

static unsigned transfers;

/* The value begins with its version, as a page has its ETag. */
static void
load(struct shmc_lead *lead, void *arg)
{
	const char *version = arg; /* the backend's present one */
	struct shmc_view *old = shmc_lead_old(lead);
	enum shmc_status status;

	if (old != NULL && memcmp(old->data, version, 2) == 0) {
		status = shmc_lead_refresh(lead, 1, NULL);
	} else {
		transfers++;
		MUST(shmc_lead_append(lead, version, 2) == SHMC_OK);
		MUST(shmc_lead_append(lead, " body", 5) == SHMC_OK);
		status = shmc_lead_commit(lead, 1, NULL);
	}
	if (status != SHMC_OK)
		fprintf(stderr, "not stored\n");
}

static void
fetch(struct shmc *cache, char *version, const char *expected)
{
	struct shmc_view view;

	MUST(shmc_fetch(cache, "k", 1, NULL, load, version, &view) == SHMC_OK);
	MUST(says(&view, expected));
	shmc_view_release(&view);
	sleep_ms(50); /* past its ttl */
}

static void
load_first(struct shmc_lead *lead, void *arg)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.keep_ms = 60 * 60 * 1000; /* to have something to revalidate */
	MUST(shmc_lead_terms(lead, &terms) == SHMC_OK);
	load(lead, arg);
}

int
main(void)
{
	char v1[] = "v1", v2[] = "v2";
	struct shmc *cache = open_cache();
	struct shmc_view view;

	MUST(shmc_fetch(cache, "k", 1, NULL, load_first, v1, &view) == SHMC_OK);
	shmc_view_release(&view);
	sleep_ms(50);
	fetch(cache, v1, "v1 body"); /* not modified */
	printf("2 fetches, %u transfer\n", transfers);
	MUST(transfers == 1);
	fetch(cache, v2, "v2 body");
	printf("3 fetches, %u transfers\n", transfers);
	MUST(transfers == 2);
	shmc_close(cache);
	return 0;
}
