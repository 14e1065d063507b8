/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that meet at a segment by its path or descriptor: at different
 * addresses, at the same instant, and from builds that differ.
 */
#include "fixture.h"
#include "inside.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE_BYTES (100u << 10)

static char path[256];

static struct shmc_options
options_here(void)
{
	struct shmc_options options = cache_options(2u << 20, 16);

#ifdef __SANITIZE_THREAD__
	options.flags |= SHMC_FENCES;
#endif
	(void)snprintf(path, sizeof path, "%s", scratch_path("seg"));
	options.path = path;
	return options;
}

/* ------------------------------------------- at different addresses --- */

/* Two processes that know each other's segment by path or descriptor. */
struct meeting {
	struct shmc *parents; /* not to be used in the child */
	_Atomic uintptr_t base[2];
	struct test_barrier met;
};

static void
put_version(struct shmc *cache, unsigned key, size_t bytes, uint64_t version)
{
	char name[32], *value = malloc(bytes);

	REQUIRE(value != NULL);
	value_fill(value, bytes, key, version);
	CHECK_EQ(shmc_put(cache, name, key_of(name, key), value, bytes, 0),
	    SHMC_OK);
	free(value);
}

static void
check_version(struct shmc *cache, unsigned key, size_t bytes,
    uint64_t version)
{
	char name[32], *value = malloc(bytes);
	struct shmc_view view;

	REQUIRE(value != NULL);
	CHECK_EQ(shmc_view(cache, name, key_of(name, key), &view), SHMC_OK);
	CHECK_EQ(view.size_bytes, bytes);
	CHECK_EQ(shmc_view_copy(&view, value, bytes), bytes);
	CHECK_EQ(value_check(value, bytes, key), version);
	shmc_view_release(&view);
	free(value);
}

/* Each writes, reads what the other wrote, and overwrites that. */
static void
exchange(struct meeting *m, struct shmc *cache, unsigned who)
{
	atomic_store(&m->base[who], (uintptr_t)cache->seg.base);
	put_version(cache, who, 100, 10 + who);
	put_version(cache, 10 + who, LARGE_BYTES, 20 + who);
	test_barrier_meet(&m->met);
	check_version(cache, 1 - who, 100, 11 - who);
	check_version(cache, 11 - who, LARGE_BYTES, 21 - who);
	test_barrier_meet(&m->met);
	put_version(cache, 11 - who, LARGE_BYTES, 30 + who);
	test_barrier_meet(&m->met);
	check_version(cache, 10 + who, LARGE_BYTES, 31 - who);
	test_barrier_meet(&m->met);
}

static void
load_large(struct shmc_lead *lead, void *arg)
{
	struct meeting *m = arg;
	char *value = malloc(LARGE_BYTES);

	REQUIRE(value != NULL);
	test_barrier_meet(&m->met); /* now the other one joins */
	value_fill(value, LARGE_BYTES, 99, 5);
	while (shmc_lead_waiters(lead) == 0)
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(lead, value, LARGE_BYTES, 0, NULL), SHMC_OK);
	free(value);
}

static void
load_never(struct shmc_lead *lead, void *arg)
{
	(void)lead;
	(void)arg;
	FAIL("both computed");
}

/* 0 leads; 1 sleeps on the flight and gets the large result. */
static void
share(struct meeting *m, struct shmc *cache, unsigned who)
{
	char *value = malloc(LARGE_BYTES);
	struct shmc_view view;

	REQUIRE(value != NULL);
	if (who == 1)
		test_barrier_meet(&m->met);
	CHECK_EQ(shmc_fetch(cache, "shared", 6, NULL, who == 0 ? load_large :
	    load_never, m, &view), SHMC_OK);
	CHECK_EQ(view.role, who == 0 ? SHMC_ROLE_LED : SHMC_ROLE_SHARED);
	CHECK_EQ(shmc_view_copy(&view, value, LARGE_BYTES), LARGE_BYTES);
	CHECK_EQ(value_check(value, LARGE_BYTES, 99), 5);
	shmc_view_release(&view);
	free(value);
	test_barrier_meet(&m->met);
}

/* Something stands where the parent's mapping was: the next lies elsewhere. */
static void
occupy(const struct shmc *cache)
{
	REQUIRE(mmap(cache->seg.base, cache->seg.geo.size_bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    cache->seg.base);
}

static void
attach_by_path(void *arg)
{
	struct meeting *m = arg;
	struct shmc_options options = options_here();
	struct shmc *cache;

	occupy(m->parents);
	options.flags = 0;
	cache = cache_open(&options);
	exchange(m, cache, 1);
	share(m, cache, 1);
	shmc_close(cache);
}

static void
attach_by_descriptor(void *arg)
{
	struct meeting *m = arg;
	struct shmc *cache;

	occupy(m->parents);
	REQUIRE_EQ(shmc_attach_fd(&cache, shmc_fd(m->parents), NULL, NULL), 0);
	exchange(m, cache, 1);
	share(m, cache, 1);
	shmc_close(cache);
}

static void
meet(struct shmc *cache, child_function *attach)
{
	struct meeting *m = shared_alloc(sizeof *m);
	pid_t child;

	m->parents = cache;
	test_barrier_init(&m->met, 2);
	child = run_in_child(attach, m);
	exchange(m, cache, 0);
	share(m, cache, 0);
	CHECK_EQ(wait_child(child), 0);
	CHECK_NE(m->base[0], 0);
	CHECK_NE(m->base[1], 0);
	CHECK_NE(m->base[0], m->base[1]);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(segment__attached_by_path_at_another_address__all_is_shared)
{
	struct shmc_options options = options_here();

	meet(cache_open(&options), attach_by_path);
	scratch_remove();
}

TEST(segment__attached_by_descriptor_at_another_address__all_is_shared)
{
	meet(cache_new(2u << 20, 16), attach_by_descriptor);
}

/* Many, each with padding of its own before it maps. */
static void
attach_with_padding(unsigned index, void *arg)
{
	struct shmc_options options = options_here();
	_Atomic uintptr_t *bases = arg;
	struct shmc *cache;

	REQUIRE(mmap(NULL, (index + 1) * (4u << 20), PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	cache = cache_open(&options);
	atomic_store(&bases[index], (uintptr_t)cache->seg.base);
	for (unsigned i = 0; i < 200; i++) {
		char name[32], value[500];
		size_t n, name_bytes = key_of(name, i % 20);

		value_fill(value, sizeof value, i % 20, index);
		CHECK_EQ(shmc_put(cache, name, name_bytes, value, sizeof value,
		    0), SHMC_OK);
		CHECK_EQ(shmc_get(cache, name, name_bytes, value, sizeof value,
		    &n), SHMC_OK);
		CHECK_LT(value_check(value, n, i % 20), 6);
	}
	shmc_close(cache);
}

TEST(segment__six_processes_at_six_addresses__read_whole_values)
{
	_Atomic uintptr_t *bases = shared_alloc(6 * sizeof *bases);
	struct shmc_options options = options_here();
	struct shmc *cache = cache_open(&options);

	run_processes(6, attach_with_padding, bases);
	for (unsigned i = 0; i < 6; i++)
		for (unsigned j = 0; j < i; j++)
			CHECK_NE(bases[i], bases[j]);
	cache_audit(cache);
	shmc_close(cache);
	scratch_remove();
}

/* ------------------------------------------------- at the same instant -- */

struct creators {
	_Atomic uint64_t seeds[8]; /* drawn by whoever creates */
	_Atomic unsigned created;
	struct test_barrier met;
};

static void
create_or_attach(unsigned index, void *arg)
{
	struct creators *c = arg;
	struct shmc_options options = options_here();
	struct shmc_error error = { 0 };
	struct shmc *cache;
	char key[32];

	REQUIRE_EQ(shmc_open(&cache, &options, &error), 0);
	atomic_store(&c->seeds[index], cache->seg.seed);
	CHECK_EQ(shmc_put(cache, key, key_of(key, index), "v", 1, 0), SHMC_OK);
	test_barrier_meet(&c->met);
	for (unsigned i = 0; i < 8; i++) {
		(void)key_of(key, i);
		check_get(cache, key, "v");
	}
	test_barrier_meet(&c->met);
	shmc_close(cache);
}

TEST(segment__eight_creators_at_once__one_creates_and_all_share_it)
{
	struct creators *c = shared_alloc(sizeof *c);
	unsigned rounds = test_rounds(50);

	for (unsigned i = 0; i < rounds; i++) {
		test_barrier_init(&c->met, 8);
		(void)options_here();
		run_processes(8, create_or_attach, c);
		for (unsigned j = 1; j < 8; j++)
			CHECK_EQ(c->seeds[j], c->seeds[0]);
		REQUIRE_EQ(unlink(path), 0);
	}
	scratch_remove(); /* and nothing else was left in the directory */
}

static void
create_exclusively(unsigned index, void *arg)
{
	struct creators *c = arg;
	struct shmc_options options = options_here();
	struct shmc *cache;
	int r;

	(void)index;
	options.flags |= SHMC_EXCLUSIVE;
	r = shmc_open(&cache, &options, NULL);
	if (r == 0)
		atomic_fetch_add(&c->created, 1);
	else
		CHECK_EQ(r, -EEXIST);
	shmc_close(cache);
}

TEST(segment__eight_exclusive_creators_at_once__one_is_told_ok)
{
	struct creators *c = shared_alloc(sizeof *c);
	unsigned rounds = test_rounds(50);

	for (unsigned i = 0; i < rounds; i++) {
		(void)options_here();
		run_processes(8, create_exclusively, c);
		CHECK_EQ(atomic_exchange(&c->created, 0), 1);
		REQUIRE_EQ(unlink(path), 0);
	}
	scratch_remove();
}

/* A creator that dies leaves nothing, or a whole segment. */
static void
create_until_killed(void *arg)
{
	(void)arg;
	for (;;) {
		struct shmc_options options = options_here();

		shmc_close(cache_open(&options));
		REQUIRE_EQ(unlink(path), 0);
	}
}

TEST(segment__creator_killed_at_any_time__next_one_opens)
{
	unsigned rounds = test_rounds(40);

	(void)options_here();
	for (unsigned i = 0; i < rounds; i++) {
		pid_t child = run_in_child(create_until_killed, NULL);
		struct shmc_options options = options_here();
		struct shmc *cache;

		sleep_ms(1 + i % 7);
		kill_child(child);
		cache = cache_open(&options);
		put(cache, "k", "v");
		check_get(cache, "k", "v");
		cache_audit(cache);
		shmc_close(cache);
		REQUIRE_EQ(unlink(path), 0);
	}
	scratch_remove();
}

/* ---------------------------------------------- from builds that differ -- */

struct other_build {
	int (*open)(struct shmc **cache, const struct shmc_options *options,
	    struct shmc_error *error);
	void (*close)(struct shmc *cache);
	int (*attach_fd)(struct shmc **cache, int fd,
	    const struct shmc_options *options, struct shmc_error *error);
};

static void *
symbol(void *library, const char *name)
{
	void *address = dlsym(library, name);

	if (address == NULL)
		FAIL("%s: %s", name, dlerror());
	REQUIRE(address != NULL);
	return address;
}

static struct other_build
other_build(void)
{
	void *library = dlopen(SHMC_OTHERLAYOUT_PATH, RTLD_NOW | RTLD_LOCAL);
	struct other_build other;
	void *address;

	if (library == NULL)
		FAIL("%s", dlerror());
	REQUIRE(library != NULL);
	address = symbol(library, "shmc_open");
	memcpy(&other.open, &address, sizeof address);
	REQUIRE(other.open != shmc_open);
	address = symbol(library, "shmc_close");
	memcpy(&other.close, &address, sizeof address);
	address = symbol(library, "shmc_attach_fd");
	memcpy(&other.attach_fd, &address, sizeof address);
	return other;
}

static void
check_says_why(int r, const struct shmc *cache,
    const struct shmc_error *error, const char *theirs, const char *ours)
{
	char words[100];

	CHECK_EQ(r, -ESTALE);
	CHECK(cache == NULL);
	(void)snprintf(words, sizeof words,
	    "struct entry has %s bytes, ours %s", theirs, ours);
	if (strstr(error->text, words) == NULL)
		FAIL("\"%s\" does not say \"%s\"", error->text, words);
	CHECK(strstr(error->text, "remove the file") != NULL);
}

TEST(segment__made_by_another_build__is_refused_and_told_why)
{
	struct other_build other = other_build();
	struct shmc_options options = options_here();
	struct shmc_error error = { 0 };
	struct shmc *theirs, *cache;
	struct file_image image;
	int r = other.open(&theirs, &options, &error);

	REQUIRE_EQ(r, 0);
	image = file_read(path);
	r = shmc_open(&cache, &options, &error);
	check_says_why(r, cache, &error, "24", "16");
	file_unchanged(path, &image);
	other.close(theirs);
	scratch_remove();
}

TEST(segment__made_by_us__another_build_refuses_and_tells_why)
{
	struct other_build other = other_build();
	struct shmc_options options = options_here();
	struct shmc_error error = { 0 };
	struct shmc *ours = cache_open(&options), *cache;
	struct file_image image;
	int r;

	put(ours, "k", "v");
	image = file_read(path);
	r = other.open(&cache, &options, &error);
	check_says_why(r, cache, &error, "16", "24");
	file_unchanged(path, &image);
	check_get(ours, "k", "v");
	shmc_close(ours);
	scratch_remove();
}

TEST(segment__memfd_of_ours__another_build_refuses_it)
{
	struct other_build other = other_build();
	struct shmc *ours = cache_new(1u << 20, 8), *cache;
	struct shmc_error error = { 0 };
	int r = other.attach_fd(&cache, shmc_fd(ours), NULL, &error);

	check_says_why(r, cache, &error, "16", "24");
	shmc_close(ours);
}

/* Neither is in the other's way within one process. */
TEST(segment__two_builds_in_one_process__each_uses_its_own)
{
	struct other_build other = other_build();
	struct shmc_options options = cache_options(1u << 20, 8);
	struct shmc *ours = cache_new(1u << 20, 8), *theirs;

	CHECK_EQ(other.open(&theirs, &options, NULL), 0);
	put(ours, "k", "v");
	other.close(theirs);
	check_get(ours, "k", "v");
	shmc_close(ours);
}
