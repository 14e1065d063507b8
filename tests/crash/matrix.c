/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The crash matrix: every operation, in every state of the segment that changes
 * its course, killed at each test point in turn.  After each kill another
 * process must be able to do everything, and the audit must hold.
 */
#include "aftermath.h"
#include "fixture.h"

#include "cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_BYTES (2u << 20)
#define PARTICIPANTS 8u
#define KEY "the key"
#define LARGE_BYTES 50000u

/* One cell of the matrix: made anew for each kill. */
struct cell {
	struct shmc *cache;
	_Atomic unsigned loads;
	size_t bytes; /* of the values that the operation writes */
};

/* ------------------------------------------------------------ operations -- */

static void
load(struct shmc_lead *lead, void *arg)
{
	struct cell *cell = arg;
	unsigned char *value = malloc(cell->bytes);

	atomic_fetch_add(&cell->loads, 1);
	value_fill(value, cell->bytes, 1, 7);
	(void)!shmc_lead_value(lead, value, cell->bytes, 0, NULL);
	free(value);
}

static void
load_by_append(struct shmc_lead *lead, void *arg)
{
	struct cell *cell = arg;
	unsigned char *value = malloc(cell->bytes);
	size_t half = cell->bytes / 2;

	atomic_fetch_add(&cell->loads, 1);
	value_fill(value, cell->bytes, 1, 7);
	(void)!shmc_lead_append(lead, value, half);
	(void)!shmc_lead_append(lead, value + half, cell->bytes - half);
	(void)!shmc_lead_commit(lead, 0, NULL);
	free(value);
}

static void
load_nothing(struct shmc_lead *lead, void *arg)
{
	struct cell *cell = arg;

	atomic_fetch_add(&cell->loads, 1);
	shmc_lead_abandon(lead);
}

static void
op_attach(void *arg)
{
	struct cell *cell = arg;
	size_t n;

	(void)!shmc_get(cell->cache, "x", 1, NULL, 0, &n);
	(void)shmc_detach_thread(cell->cache);
}

static void
op_get(void *arg)
{
	struct cell *cell = arg;
	static char buffer[LARGE_BYTES];
	size_t n;

	(void)!shmc_get(cell->cache, KEY, strlen(KEY), buffer, sizeof buffer,
	    &n);
}

static void
op_view(void *arg)
{
	struct cell *cell = arg;
	struct shmc_view view;

	(void)!shmc_view(cell->cache, KEY, strlen(KEY), &view);
	shmc_view_release(&view);
}

static void
op_put(void *arg)
{
	struct cell *cell = arg;
	unsigned char *value = malloc(cell->bytes);

	value_fill(value, cell->bytes, 1, 8);
	(void)!shmc_put(cell->cache, KEY, strlen(KEY), value, cell->bytes, 0);
	free(value);
}

static void
op_delete(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_delete(cell->cache, KEY, strlen(KEY));
}

static void
fetch(struct cell *cell, shmc_loader *loader)
{
	struct shmc_view view;

	(void)!shmc_fetch(cell->cache, KEY, strlen(KEY), NULL, loader, cell,
	    &view);
	shmc_view_release(&view);
}

static void
op_fetch(void *arg)
{
	fetch(arg, load);
}

static void
op_fetch_append(void *arg)
{
	fetch(arg, load_by_append);
}

static void
op_fetch_abandon(void *arg)
{
	fetch(arg, load_nothing);
}

static void
op_reap(void *arg)
{
	struct cell *cell = arg;

	(void)shmc_reap(cell->cache);
}

static const struct operation {
	const char *name;
	child_function *run;
} operations[] = {
	{ "attach", op_attach },
	{ "get", op_get },
	{ "view", op_view },
	{ "put", op_put },
	{ "delete", op_delete },
	{ "fetch", op_fetch },
	{ "fetch by append", op_fetch_append },
	{ "fetch, abandoned", op_fetch_abandon },
	{ "reap", op_reap },
};

/* --------------------------------------------------------------- states --- */

static void
state_empty(struct cell *cell)
{
	(void)cell;
}

static void
put_key(struct cell *cell, size_t bytes)
{
	unsigned char *value = malloc(bytes);

	value_fill(value, bytes, 1, 1);
	REQUIRE_EQ(shmc_put(cell->cache, KEY, strlen(KEY), value, bytes, 0),
	    SHMC_OK);
	free(value);
}

static void
state_present(struct cell *cell)
{
	put_key(cell, 100);
}

static void
state_large(struct cell *cell)
{
	put_key(cell, LARGE_BYTES);
}

/* So full that the next block must be evicted, and this thread's is full. */
static void
state_full(struct cell *cell)
{
	unsigned char value[3000];
	char key[32];

	for (unsigned i = 0; i < 1000; i++) {
		value_fill(value, sizeof value, i, 1);
		REQUIRE_EQ(shmc_put(cell->cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
	}
	put_key(cell, 100);
}

static void
die_leading(struct shmc_lead *lead, void *arg)
{
	(void)lead;
	(void)arg;
	_exit(0);
}

static void
lead_and_die(void *arg)
{
	fetch(arg, die_leading);
}

/* A leader has died and nobody has noticed. */
static void
state_dead_leader(struct cell *cell)
{
	(void)wait_child(run_in_child(lead_and_die, cell));
}

/* A leader has died after its commit, before it was linked. */
static void
state_dead_committed(struct cell *cell)
{
	REQUIRE(run_killed_at("flight_committed", 1, op_fetch, cell));
}

static void
fill(void *arg)
{
	state_full(arg);
}

/* Somebody died while evicting. */
static void
state_dead_evictor(struct cell *cell)
{
	state_full(cell);
	REQUIRE(run_killed_at("evict_begun", 1, fill, cell));
}

static const struct state {
	const char *name;
	void (*make)(struct cell *cell);
	size_t bytes;
} states[] = {
	{ "empty", state_empty, 100 },
	{ "present", state_present, 100 },
	{ "large, overwritten by small", state_large, 100 },
	{ "large", state_large, LARGE_BYTES },
	{ "full", state_full, 100 },
	{ "full, large written", state_full, LARGE_BYTES },
	{ "dead leader", state_dead_leader, 100 },
	{ "dead leader, committed", state_dead_committed, 100 },
	{ "dead evictor", state_dead_evictor, 100 },
};

/* ------------------------------------------------------------ afterwards -- */

/* What the segment holds for the key is whole. */
static void
check_whole(struct cell *cell)
{
	static char buffer[LARGE_BYTES];
	size_t n = 0;
	enum shmc_status status = shmc_get(cell->cache, KEY, strlen(KEY),
	    buffer, sizeof buffer, &n);

	CHECK(status == SHMC_OK || status == SHMC_MISS);
	if (status == SHMC_OK)
		CHECK_NE(value_check(buffer, n, 1), UINT64_MAX);
}

static void
check_usable(struct cell *cell)
{
	struct shmc_view view;
	unsigned before;

	check_whole(cell);
	REQUIRE_EQ(shmc_fetch(cell->cache, KEY, strlen(KEY), NULL, load, cell,
	    &view), SHMC_OK);
	CHECK_NE(value_check(view.data, view.piece_bytes < view.size_bytes ?
	    8 : view.size_bytes, 1), UINT64_MAX);
	shmc_view_release(&view);
	CHECK_NE(shmc_delete(cell->cache, KEY, strlen(KEY)), SHMC_BUSY);
	before = atomic_load(&cell->loads);
	REQUIRE_EQ(shmc_fetch(cell->cache, KEY, strlen(KEY), NULL, load, cell,
	    &view), SHMC_OK);
	shmc_view_release(&view);
	CHECK_EQ(atomic_load(&cell->loads), before + 1);
	put(cell->cache, KEY, "12345678");
	put(cell->cache, "another", "abc");
	check_get(cell->cache, KEY, "12345678");
	check_get(cell->cache, "another", "abc");
}

static void
leak(const char *sentence, void *arg)
{
	(void)arg;
	FAIL("leak: %s", sentence);
}

static void
check_after(void *arg)
{
	struct cell *cell = arg;
	const struct segment *seg = &cell->cache->seg;

	check_usable(cell);
	(void)shmc_reap(cell->cache);
	(void)aftermath_leaks(seg, aftermath_own_slot(seg), leak, NULL);
	cache_audit(cell->cache);
}

/* ------------------------------------------------------------- the matrix -- */

static struct cell *
cell_new(const struct state *state)
{
	struct cell *cell = shared_alloc(sizeof *cell);

	cell->cache = cache_new(SEGMENT_BYTES, PARTICIPANTS);
	cell->bytes = state->bytes;
	state->make(cell);
	/* The matrix is about the others: this process holds nothing. */
	REQUIRE_EQ(shmc_detach_thread(cell->cache), 0);
	return cell;
}

/* True if the operation was killed; false: it has no nth test point. */
static bool
kill_once(const struct operation *operation, const struct state *state,
    unsigned n)
{
	struct cell *cell = cell_new(state);
	bool killed = run_killed_at(NULL, n, operation->run, cell);

	if (wait_child(run_in_child(check_after, cell)) != 0)
		FAIL("%s, %s: after a kill at test point %u",
		    operation->name, state->name, n);
	shmc_close(cell->cache);
	return killed;
}

static void
kill_everywhere(const struct state *state)
{
	for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
		unsigned n = 1;

		while (kill_once(&operations[o], state, n))
			n++;
		CHECK_GT(n, 1); /* it came by at least one */
	}
}

TEST_TIMEOUT(crash__empty__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[0]);
}

TEST_TIMEOUT(crash__key_present__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[1]);
}

TEST_TIMEOUT(crash__large_replaced__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[2]);
}

TEST_TIMEOUT(crash__large_values__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[3]);
}

TEST_TIMEOUT(crash__full__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[4]);
}

TEST_TIMEOUT(crash__full_large__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[5]);
}

TEST_TIMEOUT(crash__dead_leader__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[6]);
}

TEST_TIMEOUT(crash__dead_committed__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[7]);
}

TEST_TIMEOUT(crash__dead_evictor__killed_everywhere_leaves_it_usable, 300)
{
	kill_everywhere(&states[8]);
}
