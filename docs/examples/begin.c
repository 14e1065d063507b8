/* SPDX-License-Identifier: BSD-2-Clause */
/* The two halves of a fetch: who refreshes answers first, and computes then. */
#include "example.h"

static unsigned computed;

static void
respond(const struct shmc_view *page)
{
	printf("%.*s, after %u computation(s)\n", (int)page->size_bytes,
	    (const char *)page->data, computed);
}

/* The next value; *page is it. */
static void
compute(struct shmc_lead *lead, struct shmc_view *page)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	computed++;
	terms.grace_ms = 60 * 1000;
	MUST(shmc_lead_terms(lead, &terms) == SHMC_OK);
	if (shmc_lead_value(lead, computed == 1 ? "first" : "second",
		computed == 1 ? 5 : 6, 1 /* ttl_ms */, page) != SHMC_OK)
		fprintf(stderr, "not stored\n");
}

static void
serve(struct shmc *cache)
{
	struct shmc_view page = { 0 }, *old;
	struct shmc_lead lead;

	switch (shmc_begin(cache, "page", 4, NULL, &page, &lead)) {
	case SHMC_OK: /* a hit, or another's result */
		respond(&page);
		break;
	case SHMC_LEAD:
		old = shmc_lead_old(&lead);
		if (old != NULL && old->role == SHMC_ROLE_STALE) {
			respond(old); /* the client has it, and goes */
			compute(&lead, &page);
		} else {
			compute(&lead, &page);
			respond(&page);
		}
		break;
	default: /* 503 */
		fprintf(stderr, "no page\n");
		exit(1);
	}
	shmc_view_release(&page);
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_view view;

	serve(cache);
	sleep_ms(50); /* past its ttl, within its grace */
	serve(cache);
	MUST(computed == 2);
	MUST(shmc_view(cache, "page", 4, &view) == SHMC_OK);
	MUST(says(&view, "second"));
	shmc_view_release(&view);
	shmc_close(cache);
	return 0;
}
