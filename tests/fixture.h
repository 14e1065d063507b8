/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches for tests, and values that betray a wrong byte. */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include "harness.h"
#include "proc.h"
#include "values.h"

#include "shmcache.h"

/* An anonymous segment; for the test, and inherited by its children. */
struct shmc *cache_new(uint64_t size_bytes, uint32_t participants);

/* The same with every option of your own; path, flags and size included. */
struct shmc *cache_open(const struct shmc_options *options);

/* Defaults with this size and number of participants. */
struct shmc_options cache_options(uint64_t size_bytes, uint32_t participants);

/* Checks that the audit finds nothing, and says what it finds. */
void cache_audit(struct shmc *cache);

/* As shmc_stats(). */
struct shmc_stats cache_stats(struct shmc *cache);

/* shmc_get() of a short string, compared. */
void check_get(struct shmc *cache, const char *key, const char *expected);
void check_miss(struct shmc *cache, const char *key);
void put(struct shmc *cache, const char *key, const char *value);

/*
 * The path of a file in a directory of the test's own; valid until the next
 * call.  scratch_remove() takes the directory away, with all files in it.
 */
const char *scratch_path(const char *name);
void scratch_remove(void);

/* A file's bytes and what stat() says of it, to be compared later. */
struct file_image {
	void *bytes; /* malloc'ed */
	uint64_t count;
	uint32_t mode;
};

struct file_image file_read(const char *path);

/* Checks that the file still is as it was, and frees the image. */
void file_unchanged(const char *path, struct file_image *before);

#endif
