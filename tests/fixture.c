/* SPDX-License-Identifier: BSD-2-Clause */
/* See fixture.h. */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct shmc_options
cache_options(uint64_t size_bytes, uint32_t participants)
{
	struct shmc_options options;

	shmc_options_init(&options, sizeof options);
	options.flags = SHMC_CREATE;
	options.size_bytes = size_bytes;
	options.participants = participants;
	return options;
}

/*
 * What a test opened and left to the end of its process, which a leak checker is
 * to find in use.  Whether closing frees all is for the tests of closing.
 */
static struct shmc *opened[1024];
static unsigned opened_count;

struct shmc *
cache_open(const struct shmc_options *options)
{
	struct shmc_error error = { 0 };
	struct shmc *cache;

	if (shmc_open(&cache, options, &error) != 0) {
		FAIL("shmc_open: %s", error.text);
		REQUIRE(cache != NULL);
	}
	opened[opened_count++ % 1024] = cache;
	return cache;
}

struct shmc *
cache_new(uint64_t size_bytes, uint32_t participants)
{
	struct shmc_options options = cache_options(size_bytes, participants);

#ifdef __SANITIZE_THREAD__
	options.flags |= SHMC_FENCES;
#endif
	return cache_open(&options);
}

static void
finding(const char *sentence, void *arg)
{
	(void)arg;
	FAIL("audit: %s", sentence);
}

void
cache_audit(struct shmc *cache)
{
	CHECK_EQ(shmc_audit(cache, finding, NULL), 0);
}

struct shmc_stats
cache_stats(struct shmc *cache)
{
	struct shmc_stats stats;

	shmc_stats(cache, &stats, sizeof stats);
	return stats;
}

void
put(struct shmc *cache, const char *key, const char *value)
{
	CHECK_EQ(shmc_put(cache, key, strlen(key), value, strlen(value), 0),
	    SHMC_OK);
}

void
check_get(struct shmc *cache, const char *key, const char *expected)
{
	char buffer[4096] = "";
	size_t bytes = 0;

	CHECK_EQ(shmc_get(cache, key, strlen(key), buffer, sizeof buffer - 1,
	    &bytes), SHMC_OK);
	buffer[bytes < sizeof buffer ? bytes : 0] = '\0';
	CHECK_STR(buffer, expected);
}

void
check_miss(struct shmc *cache, const char *key)
{
	size_t bytes;

	CHECK_EQ(shmc_get(cache, key, strlen(key), NULL, 0, &bytes), SHMC_MISS);
}

/* --------------------------------------------------------------- files --- */

static char scratch[64];

const char *
scratch_path(const char *name)
{
	static char path[256];

	if (scratch[0] == '\0') {
		(void)snprintf(scratch, sizeof scratch,
		    "/tmp/shmcache-test-XXXXXX");
		REQUIRE(mkdtemp(scratch) != NULL);
		REQUIRE_EQ(chmod(scratch, 0755), 0);
	}
	(void)snprintf(path, sizeof path, "%s/%s", scratch, name);
	return path;
}

void
scratch_remove(void)
{
	DIR *directory = opendir(scratch);
	struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		(void)unlinkat(dirfd(directory), entry->d_name, 0);
		(void)unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
	}
	if (directory != NULL)
		closedir(directory);
	CHECK_EQ(rmdir(scratch), 0);
	scratch[0] = '\0';
}

struct file_image
file_read(const char *path)
{
	struct file_image image;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
	image.count = (uint64_t)st.st_size;
	image.mode = st.st_mode;
	image.bytes = malloc(image.count + 1);
	REQUIRE(image.bytes != NULL);
	REQUIRE_EQ(read(fd, image.bytes, image.count), st.st_size);
	close(fd);
	return image;
}

void
file_unchanged(const char *path, struct file_image *before)
{
	struct file_image now = file_read(path);

	CHECK_EQ(now.count, before->count);
	CHECK_EQ(now.mode, before->mode);
	if (now.count == before->count)
		CHECK_MEM(now.bytes, before->bytes, now.count);
	free(now.bytes);
	free(before->bytes);
}
