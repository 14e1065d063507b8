/* SPDX-License-Identifier: BSD-2-Clause */
/* R30, in short; unit/segment.c, unit/badfile.c and multi/attach.c go through all of it. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct shmc_options
options_here(uint32_t flags)
{
	struct shmc_options options = cache_options(1u << 20, 4);

	options.path = scratch_path("segment");
	options.flags = flags;
	return options;
}

TEST(contract__r30__second_opener_attaches_and_sees_the_same)
{
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc *first = cache_open(&options), *second = cache_open(&options);

	put(first, "key", "value");
	check_get(second, "key", "value");
	shmc_close(second);
	shmc_close(first);
	scratch_remove();
}

/* Every byte of the fixed header counts: one that differs is refused, untouched. */
TEST(contract__r30__header_with_one_wrong_byte_is_refused_and_untouched)
{
	struct shmc_options options = options_here(SHMC_CREATE);
	char path[256];
	struct file_image whole;

	(void)snprintf(path, sizeof path, "%s", options.path);
	shmc_close(cache_open(&options));
	whole = file_read(path);
	options = options_here(0);
	for (off_t at = 0; at < 200; at += 8) {
		char byte = (char)(((char *)whole.bytes)[at] ^ 0x41);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		struct file_image before;
		struct shmc_error error;
		struct shmc *cache;

		REQUIRE_EQ(pwrite(fd, &byte, 1, at), 1);
		before = file_read(path);
		CHECK_LT(shmc_open(&cache, &options, &error), 0);
		CHECK(cache == NULL);
		CHECK_GT(strlen(error.text), 10);
		file_unchanged(path, &before);
		REQUIRE_EQ(pwrite(fd, (char *)whole.bytes + at, 1, at), 1);
		close(fd);
	}
	file_unchanged(path, &whole);
	shmc_close(cache_open(&options));
	scratch_remove();
}
