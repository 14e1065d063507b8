/* SPDX-License-Identifier: BSD-2-Clause */
/* Many processes on cold keys: exactly one computes each. */
#include "fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RACERS 8u
#define VALUE_BYTES 64u

struct herd {
	struct shmc *cache;
	struct test_barrier start;
	unsigned keys;
	unsigned kill_one_in; /* loads; 0: none */
	_Atomic unsigned loads;
	_Atomic unsigned kills;
	_Atomic unsigned front; /* keys below it are there */
};

struct load {
	struct herd *herd;
	unsigned number;
};

static void
load(struct shmc_lead *lead, void *arg)
{
	struct load *l = arg;
	unsigned loads = 1 + atomic_fetch_add(&l->herd->loads, 1);
	unsigned char value[VALUE_BYTES];

	if (l->herd->kill_one_in != 0 && loads % l->herd->kill_one_in == 0) {
		atomic_fetch_add(&l->herd->kills, 1);
		kill(getpid(), SIGKILL);
	}
	value_fill(value, sizeof value, l->number, 0);
	CHECK_EQ(shmc_lead_value(lead, value, sizeof value, 0, NULL), SHMC_OK);
}

static void
fetch_key(struct herd *herd, unsigned number)
{
	struct load l = { herd, number };
	struct shmc_view view;
	char key[32];
	size_t n = key_of(key, number);

	REQUIRE_EQ(shmc_fetch(herd->cache, key, n, NULL, load, &l, &view),
	    SHMC_OK);
	REQUIRE_EQ(view.size_bytes, VALUE_BYTES);
	CHECK_EQ(value_check(view.data, view.size_bytes, number), 0);
	shmc_view_release(&view);
}

static void
fetch_all(unsigned index, void *arg)
{
	struct herd *herd = arg;

	(void)index;
	for (unsigned i = 0; i < herd->keys; i++)
		fetch_key(herd, i);
}

static struct herd *
herd_new(unsigned keys, unsigned kill_one_in)
{
	struct herd *herd = shared_alloc(sizeof *herd);
	uint64_t bytes = (uint64_t)keys * 256;
	struct shmc_options options = cache_options(
	    bytes < 64u << 20 ? 64u << 20 : bytes / 4096 * 4096, 64);

	/*
	 * Roomy: this counts computations, so nothing may be evicted, and no
	 * pair of index lines be full, wherever the seed puts the keys.  An
	 * index for entries that are smaller than ours has nine words for each.
	 */
	options.entry_bytes = 16;
	herd->cache = cache_open(&options);
	herd->keys = keys;
	herd->kill_one_in = kill_one_in;
	return herd;
}

TEST_TIMEOUT(herd__cold_misses_of_eight_processes__one_computation_per_key, 300)
{
	struct herd *herd = herd_new(test_rounds(100000), 0);
	struct shmc_stats stats;

	run_processes(RACERS, fetch_all, herd);
	stats = cache_stats(herd->cache);
	CHECK_EQ(stats.evicted_entries + stats.displaced, 0);
	CHECK_EQ(atomic_load(&herd->loads), herd->keys);
	CHECK_EQ(stats.computations, herd->keys);
	CHECK_EQ(stats.promotions, 0);
	CHECK_EQ(stats.hits + stats.misses, (uint64_t)RACERS * herd->keys);
	cache_audit(herd->cache);
}

static void
pass(struct herd *herd, unsigned number)
{
	unsigned front = atomic_load(&herd->front);

	while (front <= number && !atomic_compare_exchange_weak(&herd->front,
		&front, number + 1))
		;
}

/* One more racer: from where the first of them is. */
static void
replace_racer(void *arg)
{
	struct herd *herd = arg;

	for (unsigned i = atomic_load(&herd->front); i < herd->keys; i++) {
		fetch_key(herd, i);
		pass(herd, i);
	}
}

TEST_TIMEOUT(herd__leaders_killed_at_random__keys_plus_promotions, 300)
{
	struct herd *herd = herd_new(test_rounds(20000), 97);
	struct shmc_stats stats;
	unsigned running = RACERS, killed = 0;

	for (unsigned i = 0; i < RACERS; i++)
		run_in_child(replace_racer, herd);
	while (running > 0) {
		int status;
		pid_t child = wait(&status);

		REQUIRE(child > 0);
		if (WIFSIGNALED(status)) {
			CHECK_EQ(WTERMSIG(status), SIGKILL);
			killed++;
			run_in_child(replace_racer, herd);
		} else {
			CHECK_EQ(WEXITSTATUS(status), 0);
			running--;
		}
	}
	stats = cache_stats(herd->cache);
	CHECK_EQ(killed, atomic_load(&herd->kills));
	CHECK_GT(killed, 0);
	/*
	 * Every kill was of a leader, who had waiters (one of them was
	 * promoted) or had none (the next comer led, or was promoted).
	 */
	CHECK_EQ(atomic_load(&herd->loads), herd->keys + killed);
	CHECK_EQ(stats.computations, herd->keys + killed);
	CHECK_LE(stats.promotions, killed);
	(void)shmc_reap(herd->cache);
	cache_audit(herd->cache);
}
