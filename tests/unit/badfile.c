/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paths and files that are no segment: a clear error each, the process alive,
 * not a byte changed.
 */
#include "hash.h"
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char path[256];

static void
path_set(const char *name)
{
	(void)snprintf(path, sizeof path, "%s", scratch_path(name));
}

static struct shmc_options
options_here(uint32_t flags)
{
	struct shmc_options options = cache_options(1u << 20, 8);

	options.path = path;
	options.flags = flags;
	return options;
}

/* Whoever fails, fails with this code, and says this word. */
static void
check_error(int r, const struct shmc *cache, const struct shmc_error *error,
    int code, const char *word)
{
	CHECK_EQ(r, code);
	CHECK(cache == NULL);
	if (r == 0)
		return;
	CHECK_EQ(error->code, r);
	if (strstr(error->text, word) == NULL)
		FAIL("\"%s\" does not say \"%s\"", error->text, word);
}

/* By path, whether it may be created or not. */
static void
check_refused(int code, const char *word)
{
	static const uint32_t flags[] = { 0, SHMC_CREATE };

	for (unsigned i = 0; i < 2; i++) {
		struct shmc_options options = options_here(flags[i]);
		struct shmc_error error = { 0 };
		struct shmc *cache = (struct shmc *)&options;
		int r = shmc_open(&cache, &options, &error);

		check_error(r, cache, &error, code, word);
	}
}

/* The same, by path and by descriptor, and the file stays as it is. */
static void
check_file_refused(int code, const char *word)
{
	struct file_image image = file_read(path);
	struct shmc_error error = { 0 };
	int fd = open(path, O_RDWR | O_CLOEXEC), r;
	struct shmc *cache;

	REQUIRE(fd >= 0);
	check_refused(code, word);
	r = shmc_attach_fd(&cache, fd, NULL, &error);
	check_error(r, cache, &error, code, word);
	close(fd);
	file_unchanged(path, &image);
}

static void
write_file(const void *bytes, size_t count)
{
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);

	REQUIRE(fd >= 0);
	REQUIRE_EQ(write(fd, bytes, count), count);
	close(fd);
}

/* A whole segment with an entry, closed. */
static void
write_segment(void)
{
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc *cache = cache_open(&options);

	put(cache, "k", "v");
	shmc_close(cache);
}

TEST(segment__path_is_a_directory__is_refused)
{
	path_set("directory");
	REQUIRE_EQ(mkdir(path, 0700), 0);
	check_refused(-EISDIR, "irectory");
	scratch_remove();
}

TEST(segment__descriptor_of_a_directory__is_refused)
{
	struct shmc_error error;
	struct shmc *cache;
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = shmc_attach_fd(&cache, fd, NULL, &error);

	check_error(r, cache, &error, -EISDIR, "directory");
	close(fd);
}

TEST(segment__path_is_a_symlink__is_refused_and_its_target_untouched)
{
	char target[256];
	struct file_image image;

	path_set("target");
	write_segment();
	(void)snprintf(target, sizeof target, "%s", path);
	image = file_read(target);
	path_set("link");
	REQUIRE_EQ(symlink(target, path), 0);
	check_refused(-ELOOP, "symlink");
	file_unchanged(target, &image);
	scratch_remove();
}

TEST(segment__path_is_a_dangling_symlink__nothing_is_created)
{
	char target[256];

	path_set("target");
	(void)snprintf(target, sizeof target, "%s", path);
	path_set("link");
	REQUIRE_EQ(symlink(target, path), 0);
	check_refused(-ELOOP, "symlink");
	CHECK_EQ(access(target, F_OK), -1);
	scratch_remove();
}

TEST(segment__path_is_a_fifo__is_refused_without_waiting)
{
	path_set("fifo");
	REQUIRE_EQ(mkfifo(path, 0600), 0);
	check_refused(-ENOTSUP, "regular file");
	scratch_remove();
}

TEST(segment__path_is_a_device__is_refused)
{
	(void)snprintf(path, sizeof path, "/dev/null");
	check_refused(-ENOTSUP, "regular file");
}

TEST(segment__path_is_a_socket__is_refused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	path_set("socket");
	REQUIRE(strlen(path) < sizeof address.sun_path);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
	REQUIRE_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	check_refused(-ENOTSUP, "regular file");
	close(fd);
	scratch_remove();
}

TEST(segment__descriptor_closed_or_negative__is_refused)
{
	struct shmc_error error;
	struct shmc *cache;

	CHECK_EQ(shmc_attach_fd(&cache, 999, NULL, &error), -EBADF);
	CHECK_EQ(shmc_attach_fd(&cache, -1, NULL, &error), -EBADF);
}

TEST(segment__descriptor_for_reading_only__is_refused)
{
	struct shmc_error error;
	struct shmc *cache;
	int fd, r;

	path_set("seg");
	write_segment();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = shmc_attach_fd(&cache, fd, NULL, &error);
	check_error(r, cache, &error, -EACCES, "mmap");
	close(fd);
	scratch_remove();
}

TEST(segment__empty_file__is_refused)
{
	path_set("file");
	write_file("", 0);
	check_file_refused(-EPROTO, "truncated: only 0 bytes");
	scratch_remove();
}

TEST(segment__a_few_bytes__are_refused)
{
	path_set("file");
	write_file("hmcache1", 8);
	check_file_refused(-EPROTO, "truncated: only 8 bytes");
	scratch_remove();
}

TEST(segment__random_bytes__are_refused)
{
	char *bytes = malloc(1u << 20);

	REQUIRE(bytes != NULL);
	for (unsigned i = 0; i < 20; i++) {
		value_fill(bytes, 1u << 20, i, 0x5555555555555555);
		path_set("file");
		write_file(bytes, i % 2 ? 1u << 20 : 5000);
		check_file_refused(-EPROTO, "no magic number");
	}
	free(bytes);
	scratch_remove();
}

TEST(segment__truncated__is_refused)
{
	static const off_t sizes[] = { 4096, 64 << 10, (1 << 20) - 1 };

	path_set("seg");
	for (unsigned i = 0; i < 3; i++) {
		write_segment();
		REQUIRE_EQ(truncate(path, sizes[i]), 0);
		check_file_refused(-EPROTO, "truncated");
		REQUIRE_EQ(unlink(path), 0);
	}
	scratch_remove();
}

TEST(segment__longer_than_it_says__is_refused)
{
	path_set("seg");
	write_segment();
	REQUIRE_EQ(truncate(path, (1 << 20) + 1), 0);
	check_file_refused(-EPROTO, "too long");
	scratch_remove();
}

static void
flip(int fd, off_t at, unsigned char bits)
{
	unsigned char byte;

	REQUIRE_EQ(pread(fd, &byte, 1, at), 1);
	byte ^= bits;
	REQUIRE_EQ(pwrite(fd, &byte, 1, at), 1);
}

/* Opens it, whatever comes of it; true: refused, with words. */
static bool
is_refused(int *code)
{
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc_error error = { 0 };
	struct shmc *cache;

	*code = shmc_open(&cache, &options, &error);
	if (*code == 0) {
		shmc_close(cache);
		return false;
	}
	CHECK_EQ(error.code, *code);
	CHECK(error.text[0] != '\0');
	return true;
}

TEST(segment__any_byte_of_the_fixed_header_changed__is_refused)
{
	static const unsigned char bits[] = { 0x01, 0x80, 0xff };
	struct file_image image;
	int fd, code;

	path_set("seg");
	write_segment();
	image = file_read(path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(fd >= 0);
	for (off_t at = 0; at < (off_t)sizeof(struct header_fixed); at++)
		for (unsigned i = 0; i < 3; i++) {
			flip(fd, at, bits[i]);
			if (!is_refused(&code))
				FAIL("byte %d: accepted", (int)at);
			CHECK(code == -EPROTO || code == -ESTALE);
			flip(fd, at, bits[i]);
		}
	close(fd);
	file_unchanged(path, &image);
	scratch_remove();
}

/* The rest of the header's page is hints and padding: no harm in it. */
TEST(segment__any_other_byte_of_the_header_changed__does_no_harm)
{
	int fd;

	path_set("seg");
	write_segment();
	fd = open(path, O_RDWR | O_CLOEXEC);
	REQUIRE(fd >= 0);
	for (off_t at = sizeof(struct header_fixed); at < 4096; at += 3) {
		struct shmc_options options = options_here(0);
		struct shmc *cache;

		flip(fd, at, 0xff);
		cache = cache_open(&options);
		put(cache, "k", "v"); /* each time: blocks go round */
		check_get(cache, "k", "v");
		cache_audit(cache);
		shmc_close(cache);
		flip(fd, at, 0xff);
	}
	close(fd);
	scratch_remove();
}

/* Each word of it is right, but a verifier that trusts the sum is not. */
static void
rewrite_header(void (*change)(struct header_fixed *h))
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct header_fixed h;

	REQUIRE_EQ(pread(fd, &h, sizeof h, 0), sizeof h);
	change(&h);
	h.checksum = hash_bytes(&h, offsetof(struct header_fixed, checksum), 1);
	REQUIRE_EQ(pwrite(fd, &h, sizeof h, 0), sizeof h);
	close(fd);
}

static void
make_newer(struct header_fixed *h)
{
	h->version++;
}

static void
make_older(struct header_fixed *h)
{
	h->version--;
}

static void
make_foreign(struct header_fixed *h)
{
	h->endian = 0x04030201;
}

static void
make_of_another_boot(struct header_fixed *h)
{
	h->boot++;
}

static void
make_larger_than_it_can_be(struct header_fixed *h)
{
	h->geometry.block_count++;
}

static void
make_waits_too_long(struct header_fixed *h)
{
	h->wait_ns = SEGMENT_DURATION_MAX_MS * 1000000 + 1;
}

static void
make_lease_end_before_it_begins(struct header_fixed *h)
{
	h->lease_ns = 0;
}

static void
make_of_the_future(struct header_fixed *h)
{
	h->created_ms += 1u << 30;
}

static void
make_data_begin_elsewhere(struct header_fixed *h)
{
	h->geometry.data_at -= PAGE_BYTES;
}

TEST(segment__well_formed_but_not_for_us__is_refused_with_the_reason)
{
	static const struct {
		void (*change)(struct header_fixed *h);
		int code;
		const char *word;
	} cases[] = {
		{ make_newer, -ESTALE, "the segment is newer" },
		{ make_older, -ESTALE, "the segment is older" },
		{ make_foreign, -ESTALE, "endianness" },
		{ make_of_another_boot, -ESTALE, "before the last boot" },
		{ make_waits_too_long, -EPROTO, "header is damaged" },
		{ make_lease_end_before_it_begins, -EPROTO,
		    "header is damaged: a lease of 0 ms" },
		{ make_of_the_future, -ESTALE, "another time namespace" },
		{ make_larger_than_it_can_be, -EPROTO, "geometry is damaged" },
		{ make_data_begin_elsewhere, -EPROTO, "geometry is damaged" },
	};

	for (unsigned i = 0; i < ARRAY_LENGTH(cases); i++) {
		path_set("seg");
		write_segment();
		rewrite_header(cases[i].change);
		check_file_refused(cases[i].code, cases[i].word);
		REQUIRE_EQ(unlink(path), 0);
	}
	scratch_remove();
}

TEST(segment__others_may_write_it__is_refused_unless_allowed)
{
	struct shmc_options options;
	struct file_image image;
	struct shmc *cache;

	path_set("seg");
	write_segment();
	REQUIRE_EQ(chmod(path, 0662), 0);
	image = file_read(path);
	check_refused(-EPERM, "0662 lets others write");
	file_unchanged(path, &image);
	options = options_here(0);
	options.mode = 0662;
	cache = cache_open(&options);
	check_get(cache, "k", "v");
	shmc_close(cache);
	scratch_remove();
}

#define NOBODY 65534u

static void
open_as_nobody(void *arg)
{
	REQUIRE_EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
	REQUIRE_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
	check_refused(*(int *)arg, *(int *)arg == -EPERM ? "belongs to user" :
							   "Permission denied");
}

static void
need_root(void)
{
	if (geteuid() != 0)
		SKIP("only root can make somebody else's file");
}

TEST(segment__somebody_elses_file__is_refused)
{
	struct file_image image;
	int code = -EPERM;

	need_root();
	path_set("seg");
	write_segment();
	REQUIRE_EQ(chown(path, 12345, 12345), 0);
	REQUIRE_EQ(chmod(path, 0666), 0);
	image = file_read(path);
	CHECK_EQ(wait_child(run_in_child(open_as_nobody, &code)), 0);
	file_unchanged(path, &image);
	scratch_remove();
}

TEST(segment__file_that_may_not_be_read__is_refused)
{
	int code = -EACCES;

	need_root();
	path_set("seg");
	write_segment();
	CHECK_EQ(wait_child(run_in_child(open_as_nobody, &code)), 0);
	scratch_remove();
}

static void
create_as_nobody(void *arg)
{
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc_error error = { 0 };
	struct shmc *cache;
	int r;

	(void)arg;
	REQUIRE_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
	r = shmc_open(&cache, &options, &error);
	check_error(r, cache, &error, -EACCES, "Permission denied");
}

TEST(segment__directory_that_may_not_be_written__is_refused)
{
	need_root();
	path_set("seg");
	CHECK_EQ(wait_child(run_in_child(create_as_nobody, NULL)), 0);
	CHECK_EQ(access(path, F_OK), -1);
	scratch_remove();
}

/* A file system of 512 KiB, in a mount namespace of its own. */
static void
create_on_small_file_system(void *arg)
{
	struct shmc_options options;
	struct shmc_error error = { 0 };
	struct shmc *cache;
	char directory[256];
	int r;

	(void)snprintf(directory, sizeof directory, "%s", path);
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("shmcache-test", directory, "tmpfs", 0, "size=512k") < 0) {
		*(_Atomic bool *)arg = true;
		return;
	}
	path_set("small/seg");
	options = options_here(SHMC_CREATE);
	r = shmc_open(&cache, &options, &error);
	check_error(r, cache, &error, -ENOSPC, "free some space");
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(umount(directory), 0); /* nothing of it is open any more */
}

static void
in_own_mounts(void *arg)
{
	if (unshare(CLONE_NEWNS) < 0)
		*(_Atomic bool *)arg = true;
	else
		create_on_small_file_system(arg);
}

TEST(segment__file_system_full__is_refused_and_leaves_nothing)
{
	_Atomic bool *cannot = shared_alloc(sizeof *cannot);

	path_set("small");
	REQUIRE_EQ(mkdir(path, 0700), 0);
	CHECK_EQ(wait_child(run_in_child(in_own_mounts, cannot)), 0);
	scratch_remove();
	if (*cannot)
		SKIP("no tmpfs can be mounted here");
}

static void
create_beyond_limit(void *arg)
{
	struct rlimit limit = { 512u << 10, RLIM_INFINITY };
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc_error error = { 0 };
	struct shmc *cache;
	int r;

	if (arg != NULL)
		options.path = NULL;
	REQUIRE_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	r = shmc_open(&cache, &options, &error); /* SIGXFSZ would end us */
	check_error(r, cache, &error, -EFBIG, "RLIMIT_FSIZE");
}

TEST(segment__larger_than_files_may_be__is_refused_and_the_process_lives)
{
	path_set("seg");
	CHECK_EQ(wait_child(run_in_child(create_beyond_limit, NULL)), 0);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(wait_child(run_in_child(create_beyond_limit, path)), 0);
	scratch_remove();
}

static void
create_without_descriptors(void *arg)
{
	struct rlimit limit = { 0, 0 };
	struct shmc_options options = options_here(SHMC_CREATE);
	struct shmc_error error = { 0 };
	struct shmc *cache;
	int r;

	(void)arg;
	REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	r = shmc_open(&cache, &options, &error);
	check_error(r, cache, &error, -EMFILE, "Too many open files");
	options.path = NULL;
	r = shmc_open(&cache, &options, &error);
	check_error(r, cache, &error, -EMFILE, "Too many open files");
}

TEST(segment__no_descriptor_left__is_refused)
{
	path_set("seg");
	CHECK_EQ(wait_child(run_in_child(create_without_descriptors, NULL)), 0);
	scratch_remove();
}
