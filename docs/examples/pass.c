/* SPDX-License-Identifier: BSD-2-Clause */
/* A page that cannot be shared: nobody queues for what he cannot use. */
#include "example.h"

#define WORKERS 4

/* Sets a cookie: for ten minutes everybody makes his own, 8 at a time. */
static void
load(struct shmc_lead *lead, void *arg)
{
	char page[32];
	int n = snprintf(page, sizeof page, "hello %s", (const char *)arg);

	MUST(shmc_lead_append(lead, page, (size_t)n) == SHMC_OK);
	MUST(shmc_lead_pass(lead, 8, 10 * 60 * 1000, NULL) == SHMC_OK);
}

struct visit {
	struct shmc *cache;
	char user[8];
};

static void
visit(void *arg)
{
	struct visit *visit = arg;
	struct shmc_view view;
	char expected[32];

	MUST(shmc_fetch(visit->cache, "/welcome", 8, NULL, load, visit->user,
	    &view) == SHMC_OK);
	snprintf(expected, sizeof expected, "hello %s", visit->user);
	MUST(says(&view, expected)); /* never another's */
	printf("%.*s%s\n", (int)view.size_bytes, (const char *)view.data,
	    view.role == SHMC_ROLE_PASSED ? " (passed)" : "");
	shmc_view_release(&view);
}

int
main(void)
{
	struct visit visits[WORKERS];
	struct shmc *cache = open_cache();
	pid_t workers[WORKERS];

	for (int i = 0; i < WORKERS; i++) {
		visits[i].cache = cache;
		snprintf(visits[i].user, sizeof visits[i].user, "user %d", i);
		workers[i] = start(visit, &visits[i]);
	}
	for (int i = 0; i < WORKERS; i++)
		finish(workers[i]);
	MUST(stats_of(cache).computations == WORKERS);
	MUST(stats_of(cache).passes == WORKERS - 1);
	shmc_close(cache);
	return 0;
}
