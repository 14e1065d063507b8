/* SPDX-License-Identifier: BSD-2-Clause */
/* A segment with a name, for processes that have no common parent. */
#include "example.h"

#include <errno.h>

static struct shmc *
open_at(const char *path, uint32_t flags)
{
	struct shmc_options options;
	struct shmc_error error;
	struct shmc *cache;

	shmc_options_init(&options, sizeof options);
	options.path = path;
	options.flags = flags;
	options.size_bytes = 4u << 20; /* the first to open decides */
	options.participants = 16;
	if (shmc_open(&cache, &options, &error) == 0)
		return cache;
	printf("%d: %s\n", error.code, error.text); /* the remedy, in words */
	errno = -error.code;
	return NULL;
}

static void
work(void *arg)
{
	struct shmc *cache = open_at(arg, SHMC_CREATE);
	char text[8];
	size_t bytes;

	MUST(cache != NULL);
	MUST(shmc_get(cache, "k", 1, text, sizeof text, &bytes) == SHMC_OK);
	printf("a worker that opened the file reads %.*s\n", (int)bytes, text);
	shmc_close(cache);
}

int
main(void)
{
	char directory[] = "/tmp/shmcache-example-XXXXXX", path[64];
	struct shmc *cache;

	MUST(mkdtemp(directory) != NULL);
	snprintf(path, sizeof path, "%s/pages", directory);
	MUST(open_at(path, 0) == NULL && errno == ENOENT);
	cache = open_at(path, SHMC_CREATE);
	MUST(cache != NULL);
	MUST(shmc_put(cache, "k", 1, "value", 5, 0) == SHMC_OK);
	finish(start(work, path));
	MUST(open_at(path, SHMC_CREATE | SHMC_EXCLUSIVE) == NULL &&
	    errno == EEXIST);
	shmc_close(cache); /* the contents stay until the file goes */
	MUST(unlink(path) == 0 && rmdir(directory) == 0);
	return 0;
}
