/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Four workers want the same page at once; one of them makes it.
 *
 *	cc quickstart.c $(pkg-config --cflags --libs shmcache)
 */
#include <shmcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

static const char url[] = "/reports/orders";

/* Called in one process only, however many ask. */
static void
load(struct shmc_lead *lead, void *arg)
{
	static const char page[] = "1,234 orders";

	printf("worker %d makes %s\n", (int)getpid(), (const char *)arg);
	if (shmc_lead_value(lead, page, strlen(page), 60 * 1000 /* ttl_ms */,
		NULL) != SHMC_OK)
		fprintf(stderr, "not stored\n");
}

static int
serve(struct shmc *cache)
{
	struct shmc_view view;

	/* In a worker, for each request. */
	if (shmc_fetch(cache, url, strlen(url), NULL, load, (void *)url,
		&view) != SHMC_OK)
		return 1;
	printf("worker %d: %.*s (%s)\n", (int)getpid(), (int)view.size_bytes,
	    (const char *)view.data, /* in place, no copy */
	    view.role == SHMC_ROLE_LED ? "made here" : "made elsewhere");
	shmc_view_release(&view);
	return 0;
}

static struct shmc *
open_cache(void)
{
	struct shmc_options options;
	struct shmc_error error;
	struct shmc *cache;

	/* Before the workers are forked. */
	shmc_options_init(&options, sizeof options);
	options.size_bytes = 16u << 20;
	if (shmc_open(&cache, &options, &error) != 0) {
		fprintf(stderr, "shmc_open: %s\n", error.text);
		exit(1);
	}
	return cache;
}

int
main(void)
{
	struct shmc *cache = open_cache();
	struct shmc_stats stats;
	int failed = 0, status;

	for (int i = 0; i < WORKERS; i++) {
		pid_t worker = fork();

		if (worker == 0)
			return serve(cache);
		failed += worker < 0;
	}
	for (int i = 0; i < WORKERS; i++)
		failed += wait(&status) < 0 || status != 0;
	shmc_stats(cache, &stats, sizeof stats);
	printf("%d workers, made %llu time(s)\n", WORKERS,
	    (unsigned long long)stats.computations);
	shmc_close(cache);
	return failed != 0 || stats.computations != 1;
}
