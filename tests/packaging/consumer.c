/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest user of an installed shmcache.  Usage: consumer VERSION */
#include <shmcache.h>

#include <stdio.h>
#include <string.h>

static int
put_and_get(struct shmc *cache)
{
	char buffer[16];
	size_t bytes = 0;

	if (shmc_put(cache, "key", 3, "value", 5, 0) != SHMC_OK)
		return 1;
	if (shmc_get(cache, "key", 3, buffer, sizeof buffer, &bytes) != SHMC_OK)
		return 1;
	return bytes != 5 || memcmp(buffer, "value", 5) != 0;
}

int
main(int argc, char **argv)
{
	struct shmc_options options;
	struct shmc_error error;
	struct shmc *cache;
	int failed;

	if (argc != 2 || strcmp(argv[1], shmc_version()) != 0) {
		fprintf(stderr, "consumer: this is version %s\n",
		    shmc_version());
		return 1;
	}
	shmc_options_init(&options, sizeof options);
	if (shmc_open(&cache, &options, &error) != 0) {
		fprintf(stderr, "consumer: %s\n", error.text);
		return 1;
	}
	failed = put_and_get(cache);
	shmc_close(cache);
	return failed;
}
