/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that stops at any test point stops nobody else; when it goes on, it
 * does no harm.  And a leader that dies at any test point has its waiters served.
 */
#include "fixture.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY "the key"
#define WAITERS 3u

struct scene {
	struct shmc *cache;
	child_function *run;
	size_t bytes;
	uint64_t version; /* of the values that the stopped one writes */
	_Atomic unsigned served;
	_Atomic unsigned loads;
	_Atomic bool go;
};

/* ----------------------------------------------------- what is stopped --- */

static void
load_version(struct shmc_lead *lead, struct scene *scene, uint64_t version)
{
	unsigned char *value = malloc(scene->bytes);

	atomic_fetch_add(&scene->loads, 1);
	value_fill(value, scene->bytes, 1, version);
	(void)!shmc_lead_value(lead, value, scene->bytes, 0, NULL);
	free(value);
}

static void
load_old(struct shmc_lead *lead, void *arg)
{
	struct scene *scene = arg;

	load_version(lead, scene, scene->version);
}

static void
load_new(struct shmc_lead *lead, void *arg)
{
	load_version(lead, arg, 99);
}

static void
do_fetch(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;

	(void)!shmc_fetch(scene->cache, KEY, strlen(KEY), NULL, load_old, scene,
	    &view);
	if (view.data != NULL && view.piece_bytes == view.size_bytes)
		CHECK_NE(value_check(view.data, view.size_bytes, 1),
		    UINT64_MAX);
	shmc_view_release(&view);
}

static void
do_put(void *arg)
{
	struct scene *scene = arg;
	unsigned char *value = malloc(scene->bytes);

	value_fill(value, scene->bytes, 1, scene->version);
	(void)!shmc_put(scene->cache, KEY, strlen(KEY), value, scene->bytes, 0);
	free(value);
}

/* Whatever it answers, the bytes are right. */
static void
do_get(void *arg)
{
	struct scene *scene = arg;
	unsigned char *value = malloc(scene->bytes);
	size_t n = 0;
	enum shmc_status status = shmc_get(scene->cache, KEY, strlen(KEY), value,
	    scene->bytes, &n);

	CHECK(status == SHMC_OK || status == SHMC_MISS);
	if (status == SHMC_OK)
		CHECK_NE(value_check(value, n, 1), UINT64_MAX);
	free(value);
}

static void
do_view(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;
	unsigned char *copy = malloc(scene->bytes);
	size_t n;

	if (shmc_view(scene->cache, KEY, strlen(KEY), &view) == SHMC_OK) {
		n = shmc_view_copy(&view, copy, scene->bytes);
		CHECK_EQ(n, view.size_bytes);
		CHECK_NE(value_check(copy, n, 1), UINT64_MAX);
		shmc_view_release(&view);
	}
	free(copy);
}

static void
do_delete(void *arg)
{
	struct scene *scene = arg;

	(void)!shmc_delete(scene->cache, KEY, strlen(KEY));
}

/* -------------------------------------------------- what the others do --- */

/* Recycles every block several times over. */
static void
churn(struct scene *scene)
{
	unsigned char value[3000];
	char key[32];

	for (unsigned i = 0; i < 2000; i++) {
		value_fill(value, sizeof value, i, 1);
		REQUIRE_EQ(shmc_put(scene->cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
	}
}

static void
others(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;
	char expected[8] = "";

	churn(scene);
	put(scene->cache, KEY, "abcdefg");
	check_get(scene->cache, KEY, "abcdefg");
	CHECK_EQ(shmc_delete(scene->cache, KEY, strlen(KEY)), SHMC_OK);
	REQUIRE_EQ(shmc_fetch(scene->cache, KEY, strlen(KEY), NULL, load_new,
	    scene, &view), SHMC_OK);
	memcpy(expected, view.data, sizeof expected);
	CHECK_EQ(expected[0], 99); /* version 99, little endian */
	shmc_view_release(&view);
	churn(scene);
}

static struct scene *
scene_new(size_t bytes, bool present, uint64_t lease_ms)
{
	struct scene *scene = shared_alloc(sizeof *scene);
	struct shmc_options options = cache_options(2u << 20, 8);

	options.lease_ms = lease_ms;
	scene->cache = cache_open(&options);
	scene->bytes = bytes;
	scene->version = 5;
	if (present) {
		do_put(scene);
		REQUIRE_EQ(shmc_detach_thread(scene->cache), 0);
	}
	return scene;
}

static bool
stop_once(child_function *run, size_t bytes, bool present, unsigned n)
{
	/* A stopped leader is replaced after its lease. */
	struct scene *scene = scene_new(bytes, present, 50);
	pid_t child = run_stopped_at(NULL, n, run, scene);

	if (child == 0) {
		shmc_close(scene->cache);
		return false;
	}
	if (wait_child(run_in_child(others, scene)) != 0)
		FAIL("with another stopped at test point %u", n);
	continue_child(child);
	if (wait_child(child) != 0)
		FAIL("after being stopped at test point %u", n);
	(void)shmc_reap(scene->cache);
	do_get(scene);
	cache_audit(scene->cache);
	shmc_close(scene->cache);
	return true;
}

static void
stop_everywhere(child_function *run, size_t bytes, bool present)
{
	unsigned n = 1;

	while (stop_once(run, bytes, present, n))
		n++;
	CHECK_GT(n, 1);
}

TEST_TIMEOUT(stop__in_get__others_go_on_and_bytes_are_right, 300)
{
	stop_everywhere(do_get, 1000, true);
}

TEST_TIMEOUT(stop__in_get_of_a_large_value__bytes_are_right, 300)
{
	stop_everywhere(do_get, 30000, true);
}

TEST_TIMEOUT(stop__in_view__stays_valid, 300)
{
	stop_everywhere(do_view, 1000, true);
	stop_everywhere(do_view, 30000, true);
}

TEST_TIMEOUT(stop__in_put__others_go_on, 300)
{
	stop_everywhere(do_put, 1000, true);
	stop_everywhere(do_put, 30000, false);
}

TEST_TIMEOUT(stop__in_delete__others_go_on, 300)
{
	stop_everywhere(do_delete, 1000, true);
}

TEST_TIMEOUT(stop__in_fetch__others_go_on, 300)
{
	stop_everywhere(do_fetch, 1000, false);
	stop_everywhere(do_fetch, 30000, false);
}

/* ---------------------------------------------------- waiters are served -- */

/* Joins once the leader leads; must be served, or lead. */
static void
wait_for_it(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;

	while (!atomic_load(&scene->go))
		sleep_ms(1);
	REQUIRE_EQ(shmc_fetch(scene->cache, KEY, strlen(KEY), NULL, load_new,
	    scene, &view), SHMC_OK);
	atomic_fetch_add(&scene->served, 1);
	shmc_view_release(&view);
}

static void
load_when_joined(struct shmc_lead *lead, void *arg)
{
	struct scene *scene = arg;

	atomic_store(&scene->go, true);
	while (shmc_lead_waiters(lead) < WAITERS)
		sleep_ms(1);
	load_old(lead, scene);
}

static void
lead_the_waiters(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;

	(void)!shmc_fetch(scene->cache, KEY, strlen(KEY), NULL,
	    load_when_joined, scene, &view);
	shmc_view_release(&view);
}

static bool
kill_leader_once(unsigned n)
{
	/* Its death is noticed without it. */
	struct scene *scene = scene_new(1000, false, 60 * 1000);
	pid_t waiters[WAITERS];
	bool killed;

	for (unsigned i = 0; i < WAITERS; i++)
		waiters[i] = run_in_child(wait_for_it, scene);
	killed = run_killed_at(NULL, n, lead_the_waiters, scene);
	atomic_store(&scene->go, true); /* killed before it led */
	for (unsigned i = 0; i < WAITERS; i++)
		if (wait_child(waiters[i]) != 0)
			FAIL("waiter %u, leader killed at test point %u", i, n);
	CHECK_EQ(atomic_load(&scene->served), WAITERS);
	/* One computation, and one more for the kill. */
	CHECK_LE(atomic_load(&scene->loads), 2);
	(void)shmc_reap(scene->cache);
	cache_audit(scene->cache);
	shmc_close(scene->cache);
	return killed;
}

TEST_TIMEOUT(death__of_a_leader_anywhere__serves_every_waiter, 300)
{
	unsigned n = 1;

	while (kill_leader_once(n))
		n++;
	CHECK_GT(n, 10);
}
