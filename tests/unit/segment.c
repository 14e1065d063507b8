/* SPDX-License-Identifier: BSD-2-Clause */
/* Creating and attaching, as it should be; what must be refused is in badfile.c. */
#include "segment.h"

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct shmc_options
options_at(const char *path)
{
	struct shmc_options options = cache_options(1u << 20, 8);

	options.path = path;
	return options;
}

static int
open_with(const struct shmc_options *options, struct shmc **cache)
{
	struct shmc_error error = { 0 };
	int r = shmc_open(cache, options, &error);

	CHECK_EQ(error.code, r);
	CHECK_EQ(error.text[0] != '\0', r != 0);
	CHECK_EQ(*cache != NULL, r == 0);
	return r;
}

/* How many descriptors this process has open. */
static unsigned
descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(segment__anonymous__is_sealed_and_closed_on_exec)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	int fd = shmc_fd(cache);

	CHECK_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
	    F_SEAL_SHRINK | F_SEAL_GROW);
	CHECK_EQ(ftruncate(fd, 4096), -1);
	CHECK_EQ(errno, EPERM);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	shmc_close(cache);
}

TEST(segment__closed__descriptor_and_mapping_are_gone)
{
	unsigned before = descriptors();
	struct shmc *cache = cache_new(1u << 20, 8);
	char *base = cache->seg.base;
	unsigned char resident;

	put(cache, "k", "v");
	CHECK_EQ(descriptors(), before + 1);
	shmc_close(cache);
	CHECK_EQ(descriptors(), before);
	CHECK_EQ(mincore(base, 1, &resident), -1);
}

TEST(segment__at_a_path__leaves_no_descriptor_open)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	unsigned before = descriptors();
	struct shmc *a = cache_open(&options), *b = cache_open(&options);

	CHECK_EQ(shmc_fd(a), -1);
	CHECK_EQ(descriptors(), before);
	shmc_close(a);
	shmc_close(b);
	scratch_remove();
}

TEST(segment__created__is_the_owners_only_whatever_the_umask)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache;
	struct stat st;

	umask(0);
	cache = cache_open(&options);
	REQUIRE_EQ(stat(options.path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(st.st_nlink, 1);
	shmc_close(cache);
	scratch_remove();
}

TEST(segment__created_with_a_mode__has_it_whatever_the_umask)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache;
	struct stat st;

	umask(077);
	options.mode = 0660;
	cache = cache_open(&options);
	REQUIRE_EQ(stat(options.path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0660);
	shmc_close(cache);
	scratch_remove();
}

/* Later, a full file system would be a SIGBUS. */
TEST(segment__created__its_memory_is_reserved)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache = cache_open(&options);
	struct stat st;

	REQUIRE_EQ(stat(options.path, &st), 0);
	CHECK_EQ(st.st_size, 1 << 20);
	CHECK_GE(st.st_blocks, (1 << 20) / 512);
	shmc_close(cache);
	scratch_remove();
}

TEST(segment__created__nothing_else_is_in_the_directory)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache = cache_open(&options);

	REQUIRE_EQ(unlink(options.path), 0);
	scratch_remove(); /* checks that the directory can go */
	shmc_close(cache);
}

TEST(segment__nothing_there_and_not_to_be_created__is_enoent)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache;

	options.flags = 0;
	CHECK_EQ(open_with(&options, &cache), -ENOENT);
	CHECK_EQ(access(options.path, F_OK), -1);
	scratch_remove();
}

TEST(segment__directory_not_there__is_enoent)
{
	struct shmc_options options = options_at(scratch_path("no/seg"));
	struct shmc *cache;

	CHECK_EQ(open_with(&options, &cache), -ENOENT);
	scratch_remove();
}

TEST(segment__exclusive_and_something_there__is_eexist)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *first = cache_open(&options), *cache;
	struct file_image image = file_read(options.path);

	options.flags |= SHMC_EXCLUSIVE;
	CHECK_EQ(open_with(&options, &cache), -EEXIST);
	file_unchanged(options.path, &image);
	put(first, "k", "v");
	shmc_close(first);
	scratch_remove();
}

TEST(segment__exclusive_and_nothing_there__is_created)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache;

	options.flags |= SHMC_EXCLUSIVE;
	CHECK_EQ(open_with(&options, &cache), 0);
	shmc_close(cache);
	scratch_remove();
}

TEST(segment__closed_and_opened_again__contents_are_there)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache = cache_open(&options);

	put(cache, "k", "v");
	shmc_close(cache);
	options.flags = 0;
	options.size_bytes = 7; /* only the creator's count */
	options.participants = 9999;
	cache = cache_open(&options);
	check_get(cache, "k", "v");
	CHECK_EQ(cache->seg.geo.size_bytes, 1u << 20);
	cache_audit(cache);
	shmc_close(cache);
	scratch_remove();
}

TEST(segment__relative_path__is_taken_from_the_working_directory)
{
	struct shmc_options options = options_at("seg");
	char directory[256];
	struct shmc *cache;

	(void)snprintf(directory, sizeof directory, "%s", scratch_path(""));
	REQUIRE_EQ(chdir(directory), 0);
	CHECK_EQ(open_with(&options, &cache), 0);
	CHECK_EQ(access(scratch_path("seg"), F_OK), 0);
	shmc_close(cache);
	REQUIRE_EQ(chdir("/"), 0);
	scratch_remove();
}

TEST(segment__attached_twice__two_mappings_of_one_segment)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct shmc *twin = cache_twin(cache);

	CHECK(twin->seg.base != cache->seg.base);
	put(cache, "k", "v");
	check_get(twin, "k", "v");
	put(twin, "k", "w");
	check_get(cache, "k", "w");
	shmc_close(twin);
	shmc_close(cache);
}

TEST(segment__descriptor_of_a_file__is_attached_and_stays_the_callers)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache = cache_open(&options), *twin;
	int fd = open(options.path, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	CHECK_EQ(shmc_attach_fd(&twin, fd, NULL, NULL), 0);
	CHECK_EQ(close(fd), 0);
	put(cache, "k", "v");
	check_get(twin, "k", "v");
	shmc_close(twin);
	shmc_close(cache);
	scratch_remove();
}

TEST(segment__created_with_fences__attachers_fence_too)
{
	struct shmc_options options = cache_options(1u << 20, 8);
	struct shmc *cache, *twin;

	options.flags |= SHMC_FENCES;
	cache = cache_open(&options);
	twin = cache_twin(cache);
	CHECK(cache->seg.fences);
	CHECK(twin->seg.fences);
	shmc_close(twin);
	shmc_close(cache);
}

TEST(segment__creators_defaults__come_with_the_segment)
{
	struct shmc_options options = cache_options(1u << 20, 8);
	struct shmc *cache, *twin;

	options.lease_ms = 1234;
	options.wait_ms = 5678;
	cache = cache_open(&options);
	twin = cache_twin(cache);
	CHECK_EQ(twin->seg.lease_ns, 1234000000);
	CHECK_EQ(twin->seg.wait_ns, 5678000000);
	CHECK_EQ(twin->seg.seed, cache->seg.seed);
	shmc_close(twin);
	shmc_close(cache);
}

/* So that nobody can choose keys of one line. */
TEST(segment__two_segments__hash_differently)
{
	struct shmc *a = cache_new(1u << 20, 8), *b = cache_new(1u << 20, 8);

	CHECK_NE(entry_hash(&a->seg, "k", 1), entry_hash(&b->seg, "k", 1));
	shmc_close(a);
	shmc_close(b);
}

TEST(segment__attached_by_opening_only__not_a_byte_is_written)
{
	struct shmc_options options = options_at(scratch_path("seg"));
	struct shmc *cache = cache_open(&options);
	struct file_image image;

	put(cache, "k", "v");
	shmc_close(cache);
	image = file_read(options.path);
	cache = cache_open(&options);
	shmc_close(cache);
	file_unchanged(options.path, &image);
	scratch_remove();
}
