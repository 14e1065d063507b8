/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls that do more than put, get, delete and fetch: killed and stopped at
 * each of their test points, in every state that changes their course.  After
 * each, the others can do everything, what is there is whole, and the audit holds.
 */
#include "fixture.h"

#include "block.h"
#include "cache.h"
#include "flight.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_BYTES (1u << 20)
#define PARTICIPANTS 8u
#define KEY "the key"
#define COUNTER "the counter"
#define LOCK "the lock"
#define TAG "the tag"
#define SMALL_BYTES 100u
#define LARGE_BYTES 10000u
#define START 1000

/* One cell of the matrix: made anew for each kill or stop. */
struct cell {
	struct shmc *cache;
	size_t bytes; /* of the values that the operation writes */
	uint64_t version; /* of the key before the operation */
};

static struct shmc_terms
tagged(void)
{
	static const char *const tags[] = { TAG };
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.tags = tags;
	terms.tag_count = 1;
	return terms;
}

/* ------------------------------------------------------------ operations -- */

static void
store_if(struct cell *cell, enum shmc_if condition, uint64_t version)
{
	unsigned char *value = malloc(cell->bytes);
	struct shmc_terms terms = tagged();

	value_fill(value, cell->bytes, 1, 7);
	(void)!shmc_store(cell->cache, KEY, strlen(KEY), value, cell->bytes,
	    &terms, condition, version);
	free(value);
}

static void
op_add(void *arg)
{
	store_if(arg, SHMC_IF_ABSENT, 0);
}

static void
op_replace(void *arg)
{
	store_if(arg, SHMC_IF_PRESENT, 0);
}

static void
op_swap(void *arg)
{
	struct cell *cell = arg;

	store_if(cell, SHMC_IF_VERSION, cell->version);
}

static int
update(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	static unsigned char buffer[LARGE_BYTES];
	struct cell *cell = arg;

	(void)old;
	value_fill(buffer, cell->bytes, 1, 7);
	*value = buffer;
	*bytes = cell->bytes;
	return 1;
}

static void
op_update(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_update(cell->cache, KEY, strlen(KEY), update, cell, NULL);
}

static void
op_incr(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_incr(cell->cache, COUNTER, strlen(COUNTER), 1, START + 1, 0,
	    NULL);
}

static void
op_touch(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_touch(cell->cache, KEY, strlen(KEY), 1000000);
}

static void
op_get_many(void *arg)
{
	static char buffers[2][LARGE_BYTES];
	struct cell *cell = arg;
	struct shmc_item items[] = {
		{ KEY, strlen(KEY), buffers[0], LARGE_BYTES, 0, SHMC_OK },
		{ COUNTER, strlen(COUNTER), buffers[1], 8, 0, SHMC_OK },
		{ KEY, strlen(KEY), NULL, 0, 0, SHMC_OK },
	};

	(void)shmc_get_many(cell->cache, items, 3);
	if (items[0].status == SHMC_OK)
		CHECK_NE(value_check(buffers[0], items[0].value_bytes, 1),
		    UINT64_MAX);
}

static void
load_many(struct shmc_fetch_item *items, size_t count, void *arg)
{
	unsigned char value[SMALL_BYTES];

	(void)arg;
	value_fill(value, sizeof value, 1, 7);
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD)
			(void)!shmc_lead_value(&items[i].lead, value,
			    sizeof value, 0, NULL);
}

static void
op_fetch_many(void *arg)
{
	struct cell *cell = arg;
	struct shmc_fetch_item items[] = {
		{ .key = KEY, .key_bytes = strlen(KEY) },
		{ .key = "one more", .key_bytes = 8 },
		{ .key = KEY, .key_bytes = strlen(KEY) },
	};

	(void)shmc_fetch_many(cell->cache, items, 3, NULL, load_many, cell);
	for (unsigned i = 0; i < 3; i++)
		shmc_view_release(&items[i].view);
}

static void
op_invalidate_tag(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_invalidate_tag(cell->cache, TAG);
}

static void
op_flush(void *arg)
{
	struct cell *cell = arg;

	(void)!shmc_flush(cell->cache);
}

static int
visit(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	static unsigned char copy[LARGE_BYTES];
	size_t n = shmc_view_copy(value, copy, sizeof copy);

	(void)arg;
	if (key_bytes == strlen(KEY) && memcmp(key, KEY, key_bytes) == 0)
		CHECK_NE(value_check(copy, n, 1), UINT64_MAX);
	return 1;
}

static void
op_iterate(void *arg)
{
	struct cell *cell = arg;
	uint64_t cursor = 0;

	while (shmc_iterate(cell->cache, &cursor, 1000, visit, cell) == 1)
		;
}

static void
op_lease(void *arg)
{
	struct cell *cell = arg;
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease;

	wait.lease_ms = 10; /* if it stops, others need not wait for long */
	if (shmc_lease_acquire(cell->cache, LOCK, strlen(LOCK), &wait, &lease)
	    != SHMC_OK)
		return;
	(void)!shmc_lease_extend(&lease, 10);
	(void)!shmc_lease_release(&lease);
}

static const struct operation {
	const char *name;
	child_function *run;
} operations[] = {
	{ "add", op_add },
	{ "replace", op_replace },
	{ "swap", op_swap },
	{ "update", op_update },
	{ "incr", op_incr },
	{ "touch", op_touch },
	{ "get_many", op_get_many },
	{ "fetch_many", op_fetch_many },
	{ "invalidate_tag", op_invalidate_tag },
	{ "flush", op_flush },
	{ "iterate", op_iterate },
	{ "lease", op_lease },
};

/* --------------------------------------------------------------- states --- */

static void
state_empty(struct cell *cell)
{
	(void)cell;
}

static void
put_both(struct cell *cell, size_t bytes)
{
	unsigned char *value = malloc(bytes);
	struct shmc_terms terms = tagged();
	struct shmc_view view;
	int64_t start = START;

	value_fill(value, bytes, 1, 1);
	REQUIRE_EQ(shmc_store(cell->cache, KEY, strlen(KEY), value, bytes,
	    &terms, SHMC_ALWAYS, 0), SHMC_OK);
	REQUIRE_EQ(shmc_put(cell->cache, COUNTER, strlen(COUNTER), &start,
	    sizeof start, 0), SHMC_OK);
	REQUIRE_EQ(shmc_view(cell->cache, KEY, strlen(KEY), &view), SHMC_OK);
	cell->version = view.version;
	shmc_view_release(&view);
	free(value);
}

static void
state_present(struct cell *cell)
{
	put_both(cell, SMALL_BYTES);
}

static void
state_large(struct cell *cell)
{
	put_both(cell, LARGE_BYTES);
}

/* Recycles all memory. */
static void
churn(struct shmc *cache, unsigned rounds)
{
	unsigned char value[3000];
	char key[32];

	for (unsigned i = 0; i < rounds; i++) {
		value_fill(value, sizeof value, i, 1);
		REQUIRE_EQ(shmc_put(cache, key, key_of(key, i), value,
		    sizeof value, 0), SHMC_OK);
	}
}

/* Whatever is written evicts something. */
static void
state_full(struct cell *cell)
{
	churn(cell->cache, 400);
	put_both(cell, SMALL_BYTES);
}

static void
hold_and_die(void *arg)
{
	struct cell *cell = arg;
	struct shmc_lease lease;

	REQUIRE_EQ(shmc_lease_acquire(cell->cache, LOCK, strlen(LOCK), NULL,
	    &lease), SHMC_OK);
	state_present(cell);
	_exit(0);
}

/* Somebody died who held the lease and wrote the entries. */
static void
state_dead_holder(struct cell *cell)
{
	(void)wait_child(run_in_child(hold_and_die, cell));
}

static const struct state {
	const char *name;
	void (*make)(struct cell *cell);
	size_t bytes;
} states[] = {
	{ "empty", state_empty, SMALL_BYTES },
	{ "present", state_present, SMALL_BYTES },
	{ "large", state_large, LARGE_BYTES },
	{ "full", state_full, SMALL_BYTES },
	{ "dead holder", state_dead_holder, SMALL_BYTES },
	{ "full, large written", state_full, LARGE_BYTES },
};

/* In shared memory, since a state is made by a child, too. */
static struct cell *
cell_new(const struct state *state)
{
	struct cell *cell = shared_alloc(sizeof *cell);
	struct shmc_options options = cache_options(SEGMENT_BYTES,
	    PARTICIPANTS);

	/* Who stops while it leads is replaced after its lease. */
	options.lease_ms = 10;
	options.flags |= SHMC_FENCES; /* matrix.c has the other mode */
	cell->cache = cache_open(&options);
	cell->bytes = state->bytes;
	state->make(cell);
	/* The matrix is about the others: this process holds nothing. */
	REQUIRE_EQ(shmc_detach_thread(cell->cache), 0);
	return cell;
}

/* ------------------------------------------------------------ afterwards -- */

/* The old value or the new one, or none if it may have been removed. */
static void
check_whole(struct cell *cell)
{
	static char buffer[LARGE_BYTES];
	size_t n = 0;
	enum shmc_status status = shmc_get(cell->cache, KEY, strlen(KEY),
	    buffer, sizeof buffer, &n);
	uint64_t version;

	CHECK(status == SHMC_OK || status == SHMC_MISS);
	if (status != SHMC_OK)
		return;
	version = value_check(buffer, n, 1);
	CHECK(version == 1 || version == 7);
}

/* One more at most, whoever died on the way. */
static void
check_counter(struct cell *cell)
{
	int64_t sum = 0, again = 0;

	CHECK_EQ(shmc_incr(cell->cache, COUNTER, strlen(COUNTER), 0, START, 0,
	    &sum), SHMC_OK);
	CHECK(sum == START || sum == START + 1);
	CHECK_EQ(shmc_incr(cell->cache, COUNTER, strlen(COUNTER), 5, 0, 0,
	    &again), SHMC_OK);
	CHECK_EQ(again, sum + 5);
}

static void
check_conditions(struct cell *cell)
{
	struct shmc_view view;
	enum shmc_status status;

	(void)!shmc_delete(cell->cache, KEY, strlen(KEY));
	CHECK_EQ(shmc_store(cell->cache, KEY, strlen(KEY), "a", 1, NULL,
	    SHMC_IF_ABSENT, 0), SHMC_OK);
	REQUIRE_EQ(shmc_view(cell->cache, KEY, strlen(KEY), &view), SHMC_OK);
	status = shmc_store(cell->cache, KEY, strlen(KEY), "b", 1, NULL,
	    SHMC_IF_VERSION, view.version);
	CHECK_EQ(status, SHMC_OK);
	shmc_view_release(&view);
	check_get(cell->cache, KEY, "b");
	CHECK_EQ(shmc_touch(cell->cache, KEY, strlen(KEY), 0), SHMC_OK);
	check_get(cell->cache, KEY, "b");
}

static void
check_tag_and_flush(struct cell *cell)
{
	struct shmc_terms terms = tagged();

	CHECK_EQ(shmc_store(cell->cache, KEY, strlen(KEY), "t", 1, &terms,
	    SHMC_ALWAYS, 0), SHMC_OK);
	check_get(cell->cache, KEY, "t");
	CHECK_EQ(shmc_invalidate_tag(cell->cache, TAG), SHMC_OK);
	check_miss(cell->cache, KEY);
	put(cell->cache, KEY, "f");
	CHECK_EQ(shmc_flush(cell->cache), SHMC_OK);
	check_miss(cell->cache, KEY);
}

/* The dead or late hold it no longer; one who holds it is alone. */
static void
check_lease(struct cell *cell)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease, other;

	wait.lease_ms = 60000; /* the segment's may be over at once */
	REQUIRE_EQ(shmc_lease_acquire(cell->cache, LOCK, strlen(LOCK), &wait,
	    &lease), SHMC_OK);
	CHECK_EQ(shmc_lease_acquire(cell->cache, LOCK, strlen(LOCK), &wait,
	    &other), SHMC_DEADLOCK);
	CHECK_EQ(shmc_lease_release(&lease), SHMC_OK);
}

static void
check_usable(struct cell *cell)
{
	check_whole(cell);
	check_counter(cell);
	op_iterate(cell);
	op_fetch_many(cell);
	check_lease(cell);
	check_conditions(cell);
	check_tag_and_flush(cell);
	put(cell->cache, "another", "abc");
	check_get(cell->cache, "another", "abc");
}

/* Nothing that a dead one held is still held. */
static void
check_no_leak(struct cell *cell)
{
	struct segment *seg = &cell->cache->seg;
	uint32_t mine = cache_member(cell->cache)->index;

	for (uint32_t i = 0; i < seg->geo.block_count; i++) {
		uint64_t word = load_acquire(&seg->blocks[i].word);

		if (block_state(word) == BLOCK_OPEN ||
		    block_state(word) == BLOCK_EVICTING)
			CHECK_EQ(block_owner(word), mine);
	}
	for (uint32_t i = 0; i < seg->geo.flight_count; i++) {
		enum flight_state state =
		    flight_state(load_acquire(&seg->flights[i].word));

		CHECK(state == FLIGHT_FREE || state == FLIGHT_DONE ||
		    state == FLIGHT_ORPHAN);
	}
	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		if (i != mine)
			CHECK_EQ(load_acquire(&seg->participants[i].life.futex),
			    0);
}

static void
check_after_kill(void *arg)
{
	struct cell *cell = arg;

	check_usable(cell);
	(void)shmc_reap(cell->cache);
	check_no_leak(cell);
	cache_audit(cell->cache);
}

/* ------------------------------------------------------------- the matrix -- */

/* True if the operation was killed; false: it has no nth test point. */
static bool
kill_once(const struct operation *operation, const struct state *state,
    unsigned n)
{
	struct cell *cell = cell_new(state);
	bool killed = run_killed_at(NULL, n, operation->run, cell);

	if (wait_child(run_in_child(check_after_kill, cell)) != 0)
		FAIL("%s, %s: after a kill at test point %u", operation->name,
		    state->name, n);
	shmc_close(cell->cache);
	return killed;
}

static void
others(void *arg)
{
	struct cell *cell = arg;

	churn(cell->cache, 400);
	check_usable(cell);
	churn(cell->cache, 400);
}

/* Of what was flushed nothing has come back; what was late may be there. */
static void
check_late(struct cell *cell)
{
	static char buffer[LARGE_BYTES];
	int64_t sum = 0;
	size_t n;

	if (shmc_get(cell->cache, KEY, strlen(KEY), buffer, sizeof buffer, &n)
	    == SHMC_OK)
		CHECK_EQ(value_check(buffer, n, 1), 7);
	if (shmc_get(cell->cache, COUNTER, strlen(COUNTER), &sum, sizeof sum,
		&n) == SHMC_OK)
		CHECK_EQ(sum, START + 1);
	check_lease(cell);
	(void)shmc_reap(cell->cache);
	cache_audit(cell->cache);
}

/* The same with a stop: the others go on, and then it goes on and does no harm. */
static bool
stop_once(const struct operation *operation, const struct state *state,
    unsigned n)
{
	struct cell *cell = cell_new(state);
	pid_t child = run_stopped_at(NULL, n, operation->run, cell);

	if (child == 0) {
		shmc_close(cell->cache);
		return false;
	}
	if (wait_child(run_in_child(others, cell)) != 0)
		FAIL("%s, %s: stopped at test point %u", operation->name,
		    state->name, n);
	continue_child(child);
	if (wait_child(child) != 0)
		FAIL("%s, %s: went on after test point %u", operation->name,
		    state->name, n);
	check_late(cell);
	shmc_close(cell->cache);
	return true;
}

/* An operation has test points besides those of attaching, or it has none. */
static void
everywhere(bool (*once)(const struct operation *, const struct state *,
	       unsigned),
    const struct state *state)
{
	for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
		unsigned n = 1;

		while (once(&operations[o], state, n))
			n++;
		CHECK_GT(n, 1);
	}
}

TEST_TIMEOUT(crash_store__empty__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[0]);
}

TEST_TIMEOUT(crash_store__present__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[1]);
}

TEST_TIMEOUT(crash_store__large__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[2]);
}

TEST_TIMEOUT(crash_store__full__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[3]);
}

TEST_TIMEOUT(crash_store__dead_holder__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[4]);
}

TEST_TIMEOUT(crash_store__full_large__killed_everywhere_leaves_it_usable, 300)
{
	everywhere(kill_once, &states[5]);
}

TEST_TIMEOUT(stop_store__empty__stopped_everywhere_holds_nobody_up, 300)
{
	everywhere(stop_once, &states[0]);
}

TEST_TIMEOUT(stop_store__present__stopped_everywhere_holds_nobody_up, 300)
{
	everywhere(stop_once, &states[1]);
}

TEST_TIMEOUT(stop_store__large__stopped_everywhere_holds_nobody_up, 300)
{
	everywhere(stop_once, &states[2]);
}

TEST_TIMEOUT(stop_store__full__stopped_everywhere_holds_nobody_up, 300)
{
	everywhere(stop_once, &states[3]);
}

TEST_TIMEOUT(stop_store__dead_holder__stopped_everywhere_holds_nobody_up, 300)
{
	everywhere(stop_once, &states[4]);
}
