/* SPDX-License-Identifier: BSD-2-Clause */
/* "The backend says no" and "there is no such thing" are answers, too. */
#include "example.h"

static unsigned queries;

static void
load(struct shmc_lead *lead, void *arg)
{
	const char *key = arg;
	enum shmc_status status;

	queries++;
	if (strcmp(key, "broken") == 0)
		status = shmc_lead_error(lead, 503, "no connection",
		    5 * 1000 /* remembered so long; 0: only shared */);
	else
		status = shmc_lead_absent(lead, 60 * 1000);
	if (status != SHMC_OK)
		fprintf(stderr, "not remembered\n");
}

static int
answer(struct shmc *cache, const char *key)
{
	struct shmc_view view;
	int code;

	switch (shmc_fetch(cache, key, strlen(key), NULL, load, (void *)key,
	    &view)) {
	case SHMC_OK:
		code = 200;
		break;
	case SHMC_ABSENT:
		code = 404;
		break;
	case SHMC_ERROR: /* the message is in the view */
		code = view.error;
		printf("%s: %d %.*s\n", key, code, (int)view.size_bytes,
		    (const char *)view.data);
		break;
	default:
		code = 500;
	}
	shmc_view_release(&view); /* nothing, if there is nothing in it */
	return code;
}

int
main(void)
{
	struct shmc *cache = open_cache();

	for (int i = 0; i < 3; i++) {
		MUST(answer(cache, "broken") == 503);
		MUST(answer(cache, "user:4711") == 404);
	}
	printf("6 requests, %u queries\n", queries);
	MUST(queries == 2);
	shmc_close(cache);
	return 0;
}
