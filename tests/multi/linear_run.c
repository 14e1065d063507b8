/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that put, get, delete, add, replace, swap, update and count on a few
 * keys, that yield, stop and are killed anywhere, while memory is recycled; what
 * each saw is written down, and linear.c says whether a register could have
 * answered so.
 *
 * Who is killed is followed by another, which goes on in the same log, after the
 * time at which the death was known.
 */
#include "linear.h"

#include "fixture.h"
#include "testpoint.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLERS 4u
#define REGISTERS 3u
#define COUNTERS_AT REGISTERS /* then come the counters */
#define KEYS (REGISTERS + 1)
#define LARGE_BYTES 9000u
#define LOG_MAX 200000u

struct log {
	struct linear_event events[LOG_MAX];
};

struct stage {
	struct shmc *cache;
	bool may_lose; /* memory is short, and entries expire and are flushed */
	uint32_t calls; /* of each caller */
	uint32_t kills; /* that remain */
	_Atomic uint64_t clock;
	_Atomic uint32_t suicidal; /* callers may die at test points */
	struct log logs[CALLERS];
};

/* One process: private. */
static struct caller {
	struct stage *stage;
	struct log *log;
	unsigned index;
	uint64_t random;
	unsigned points_to_live; /* test points; 0: for ever */
	unsigned char buffer[LARGE_BYTES];
} self;

/* xorshift (Marsaglia 2003). */
static unsigned
draw_below(unsigned below)
{
	self.random ^= self.random << 13;
	self.random ^= self.random >> 7;
	self.random ^= self.random << 17;
	return (unsigned)(self.random >> 20) % below;
}

/* Lets another run, between any two steps; now and then for good. */
static void
perturb(const char *name)
{
	(void)name;
	if (draw_below(16) == 0)
		sched_yield();
	if (self.points_to_live > 0 && --self.points_to_live == 0)
		kill(getpid(), SIGKILL);
}

/* ------------------------------------------------------------- recording -- */

static uint64_t
tick(struct stage *stage)
{
	return 1 + atomic_fetch_add(&stage->clock, 1);
}

/* Begun, once everything about it is written down. */
static void
begin(struct linear_event *e)
{
	atomic_store(&e->begun, tick(self.stage));
}

static void
end(struct linear_event *e)
{
	atomic_store(&e->ended, tick(self.stage));
}

/* OK, or the one other answer that says that nothing was done. */
static void
note(struct linear_event *e, enum shmc_status status, enum shmc_status other)
{
	if (status != SHMC_OK && status != other)
		FAIL("kind %d, key %u: status %d", (int)e->kind, e->key,
		    (int)status);
	e->done = status == SHMC_OK;
	end(e);
}

/* No two alike. */
static uint64_t
new_value(const struct linear_event *e)
{
	return (uint64_t)(self.index + 1) << 32 |
	    (uint64_t)(e - self.log->events);
}

static size_t
fill(uint64_t value, uint32_t key)
{
	size_t bytes = draw_below(12) == 0 ? LARGE_BYTES : 8 + draw_below(300);

	value_fill(self.buffer, bytes, key, value);
	return bytes;
}

/* The value in so many bytes of the buffer. */
static uint64_t
value_of(size_t bytes, uint32_t key)
{
	uint64_t value = value_check(self.buffer, bytes, key);

	if (value == UINT64_MAX)
		FAIL("key %u: a wrong byte in %zu", key, bytes);
	return value;
}

/* ----------------------------------------------------------------- calls -- */

struct named {
	char bytes[32];
	size_t size;
};

static struct named
name_of(uint32_t key)
{
	struct named n;

	n.size = key_of(n.bytes, key);
	return n;
}

/* How something is stored when it may be lost: for a moment, or until its tag. */
static enum shmc_status
store(const struct named *n, size_t bytes, enum shmc_if condition,
    uint64_t version)
{
	static const char *const tags[] = { "tag" };
	struct shmc_terms terms = SHMC_TERMS_INIT;

	if (self.stage->may_lose && draw_below(8) == 0)
		terms.ttl_ms = 1 + draw_below(5);
	if (self.stage->may_lose && draw_below(4) == 0) {
		terms.tags = tags;
		terms.tag_count = 1;
	}
	return shmc_store(self.stage->cache, n->bytes, n->size, self.buffer,
	    bytes, &terms, condition, version);
}

static void
call_put(struct linear_event *e, const struct named *n)
{
	size_t bytes = fill(e->value, e->key);

	begin(e);
	note(e, draw_below(2) == 0 ? store(n, bytes, SHMC_ALWAYS, 0) :
	    shmc_put(self.stage->cache, n->bytes, n->size, self.buffer, bytes,
		0), SHMC_OK);
}

static void
call_conditional(struct linear_event *e, const struct named *n)
{
	size_t bytes = fill(e->value, e->key);

	begin(e);
	note(e, store(n, bytes, e->kind == LINEAR_ADD ? SHMC_IF_ABSENT :
		SHMC_IF_PRESENT, 0), SHMC_OTHER);
}

static void
call_get(struct linear_event *e, const struct named *n)
{
	struct shmc_item item = { n->bytes, n->size, self.buffer, LARGE_BYTES,
		0, SHMC_OK };

	begin(e);
	if (draw_below(2) == 0)
		item.status = shmc_get(self.stage->cache, n->bytes, n->size,
		    self.buffer, LARGE_BYTES, &item.value_bytes);
	else
		(void)shmc_get_many(self.stage->cache, &item, 1);
	e->seen = item.status != SHMC_OK ? LINEAR_NOTHING :
	    value_of(item.value_bytes, e->key);
	note(e, item.status, SHMC_MISS);
}

static void
call_delete(struct linear_event *e, const struct named *n)
{
	begin(e);
	note(e, shmc_delete(self.stage->cache, n->bytes, n->size), SHMC_MISS);
}

/* Looks first, which is a call of its own; true: *version is what it saw. */
static bool
look(struct linear_event *e, const struct named *n, uint64_t *version)
{
	struct shmc_view view;
	enum shmc_status status;
	size_t bytes;

	e->kind = LINEAR_GET;
	begin(e);
	status = shmc_view(self.stage->cache, n->bytes, n->size, &view);
	e->seen = LINEAR_NOTHING;
	if (status == SHMC_OK) {
		bytes = shmc_view_copy(&view, self.buffer, LARGE_BYTES);
		e->seen = value_of(bytes, e->key);
		*version = view.version;
	}
	shmc_view_release(&view);
	note(e, status, SHMC_MISS);
	return status == SHMC_OK;
}

/* Two events; the second only if there is something to swap. */
static unsigned
call_swap(struct linear_event *e, const struct named *n)
{
	uint64_t version;
	size_t bytes;

	if (!look(e, n, &version))
		return 1;
	e[1].kind = LINEAR_SWAP;
	e[1].key = e->key;
	e[1].expected = e->seen;
	e[1].value = new_value(&e[1]);
	bytes = fill(e[1].value, e->key);
	begin(&e[1]);
	note(&e[1], store(n, bytes, SHMC_IF_VERSION, version), SHMC_OTHER);
	return 2;
}

static int
updater(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	struct linear_event *e = arg;

	e->seen = LINEAR_NOTHING;
	if (old != NULL)
		e->seen = value_of(shmc_view_copy(old, self.buffer,
		    LARGE_BYTES), e->key);
	*bytes = fill(e->value, e->key);
	*value = self.buffer;
	return 1;
}

static void
call_update(struct linear_event *e, const struct named *n)
{
	begin(e);
	note(e, shmc_update(self.stage->cache, n->bytes, n->size, updater, e,
	    NULL), SHMC_OK);
}

static void
call_incr(struct linear_event *e, const struct named *n)
{
	int64_t sum = 0;
	enum shmc_status status;

	e->kind = LINEAR_INCR;
	e->value = 1 + draw_below(3);
	/* No two count from the same on: what was lost is told from what was not. */
	e->expected = new_value(e) << 16 & INT64_MAX;
	begin(e);
	status = shmc_incr(self.stage->cache, n->bytes, n->size,
	    (int64_t)e->value, (int64_t)e->expected,
	    self.stage->may_lose && draw_below(8) == 0 ? 1 + draw_below(5) : 0, &sum);
	e->seen = (uint64_t)sum;
	note(e, status, SHMC_OK);
}

/* Makes what is there go: losses, which are no calls on a key. */
static void
lose_something(void)
{
	struct shmc *cache = self.stage->cache;
	unsigned what = draw_below(3000);
	char key[32];

	if (what == 0)
		CHECK_EQ(shmc_flush(cache), SHMC_OK);
	else if (what < 20)
		CHECK_EQ(shmc_invalidate_tag(cache, "tag"), SHMC_OK);
	for (unsigned i = 0; i < 150 && what >= 20 && what < 45; i++)
		CHECK_EQ(shmc_put(cache, key, key_of(key, 100 + draw_below(500)),
		    self.buffer, LARGE_BYTES, 0), SHMC_OK);
}

/* One call or two; how many events it took. */
static unsigned
call(struct linear_event *e)
{
	struct named n;

	e->key = draw_below(KEYS);
	n = name_of(e->key);
	if (e->key >= COUNTERS_AT && draw_below(8) != 0) {
		call_incr(e, &n);
		return 1;
	}
	e->kind = (enum linear_kind)draw_below(LINEAR_INCR);
	e->value = new_value(e);
	if (e->key >= COUNTERS_AT)
		e->kind = LINEAR_DELETE;
	switch (e->kind) {
	case LINEAR_PUT:
		call_put(e, &n);
		break;
	case LINEAR_ADD:
	case LINEAR_REPLACE:
		call_conditional(e, &n);
		break;
	case LINEAR_DELETE:
		call_delete(e, &n);
		break;
	case LINEAR_SWAP:
		return call_swap(e, &n);
	case LINEAR_UPDATE:
		call_update(e, &n);
		break;
	case LINEAR_GET:
	case LINEAR_INCR:
		call_get(e, &n);
		break;
	}
	return 1;
}

/* The number of events that have begun. */
static uint32_t
length_of(const struct log *log, uint32_t most)
{
	uint32_t n = 0;

	while (n < most && atomic_load(&log->events[n].begun) != 0)
		n++;
	return n;
}

struct start {
	struct stage *stage;
	unsigned index;
};

static void
play(void *arg)
{
	struct start *start = arg;
	struct stage *stage = start->stage;
	uint32_t n;

	self.stage = stage;
	self.index = start->index;
	self.log = &stage->logs[start->index];
	n = length_of(self.log, stage->calls);
	self.random = (n + 1) * 0x9e3779b97f4a7c15ull + self.index;
	if (atomic_load(&stage->suicidal) != 0 && draw_below(2) == 0)
		self.points_to_live = 1 + draw_below(2000);
	shmc_testpoint_hook = perturb;
	while (n < stage->calls) {
		if (stage->may_lose)
			lose_something();
		n += call(&self.log->events[n]);
	}
	shmc_testpoint_hook = NULL;
}

/* ----------------------------------------------------- killing, replacing -- */

/* What the dead one did not finish ended when its death is known. */
static void
close_log(struct stage *stage, unsigned index)
{
	struct log *log = &stage->logs[index];
	uint32_t n = length_of(log, LOG_MAX);

	if (n > 0 && atomic_load(&log->events[n - 1].ended) == 0) {
		log->events[n - 1].killed = true;
		atomic_store(&log->events[n - 1].ended, tick(stage));
	}
}

struct crew {
	struct stage *stage;
	pid_t pids[CALLERS]; /* 0: has played to the end */
	unsigned deaths;
};

static void
start_caller(struct crew *crew, unsigned index)
{
	struct start start = { crew->stage, index };

	crew->pids[index] = run_in_child(play, &start);
}

/* True if it has ended, in whatever way. */
static bool
reap(struct crew *crew, unsigned index, int options)
{
	int status = 0;
	pid_t pid;

	do
		pid = waitpid(crew->pids[index], &status, options);
	while (pid < 0 && errno == EINTR);
	REQUIRE(pid >= 0);
	if (pid == 0)
		return false;
	close_log(crew->stage, index);
	if (WIFSIGNALED(status)) {
		CHECK_EQ(WTERMSIG(status), SIGKILL);
		crew->deaths++;
		start_caller(crew, index);
	} else {
		CHECK_EQ(WEXITSTATUS(status), 0);
		crew->pids[index] = 0;
	}
	return true;
}

/* Stops one for a moment, or kills it. */
static void
disturb(struct crew *crew, unsigned index)
{
	pid_t pid = crew->pids[index];

	if (pid == 0 || reap(crew, index, WNOHANG) || crew->stage->kills == 0)
		return;
	if (random() % 3 == 0) {
		kill(pid, SIGSTOP);
		sleep_ms((unsigned)random() % 5);
		kill(pid, SIGCONT);
		return;
	}
	if (--crew->stage->kills == 0)
		atomic_store(&crew->stage->suicidal, 0);
	kill(pid, SIGKILL);
	(void)reap(crew, index, 0);
}

static bool
somebody_plays(const struct crew *crew)
{
	for (unsigned i = 0; i < CALLERS; i++)
		if (crew->pids[i] != 0)
			return true;
	return false;
}

static unsigned
run_crew(struct stage *stage)
{
	struct crew crew = { .stage = stage };

	for (unsigned i = 0; i < CALLERS; i++)
		start_caller(&crew, i);
	while (somebody_plays(&crew)) {
		sleep_ms((unsigned)random() % 4);
		disturb(&crew, (unsigned)random() % CALLERS);
	}
	return crew.deaths;
}

/* -------------------------------------------------------------- checking -- */

/* One key's events out of a log. */
static struct linear_event *
select_key(const struct log *log, uint32_t key, uint32_t *count)
{
	uint32_t length = length_of(log, LOG_MAX);
	struct linear_event *events = calloc(length + 1, sizeof *events);

	REQUIRE(events != NULL);
	*count = 0;
	for (uint32_t i = 0; i < length; i++)
		if (log->events[i].key == key)
			memcpy(&events[(*count)++], &log->events[i],
			    sizeof *events);
	return events;
}

/*
 * What a delete removes besides, perhaps: it goes from word to word of a line,
 * and one that it has not come to yet may be where others have stored since it
 * removed what was there.  They did so while it ran, and the cache has lost it.
 */
static struct linear_event *
shadows_of(const struct linear_event *events, uint32_t count, uint32_t *shadows)
{
	struct linear_event *all = calloc(count + 1, sizeof *all);

	REQUIRE(all != NULL);
	*shadows = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (events[i].kind != LINEAR_DELETE)
			continue;
		memcpy(&all[*shadows], &events[i], sizeof *all);
		all[(*shadows)++].killed = true; /* it did it, or not */
	}
	return all;
}

#define SHADOWS 2u /* of each delete: three words is what it ever removes */
static_assert(CALLERS * (1 + SHADOWS) <= LINEAR_CALLERS_MAX, "");

static void
check_key(const struct stage *stage, uint32_t key)
{
	struct linear_history h = { .may_lose = stage->may_lose };
	struct linear_event *events[LINEAR_CALLERS_MAX];
	unsigned shadows = stage->may_lose ? 0 : SHADOWS * CALLERS;
	char why[1900] = "";

	for (unsigned i = 0; i < CALLERS; i++)
		events[i] = select_key(&stage->logs[i], key, &h.counts[i]);
	for (unsigned i = CALLERS; i < CALLERS + shadows; i++)
		events[i] = shadows_of(events[i % CALLERS],
		    h.counts[i % CALLERS], &h.counts[i]);
	h.callers = CALLERS + shadows;
	for (unsigned i = 0; i < h.callers; i++)
		h.events[i] = events[i];
	if (!linear_check(&h, why, sizeof why))
		FAIL("key %u: no order of its calls: %s", key, why);
	for (unsigned i = 0; i < h.callers; i++)
		free(events[i]);
}

/* How many of a kind there are, and answered so. */
static unsigned
count_events(const struct stage *stage, enum linear_kind kind, bool done)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CALLERS; i++) {
		uint32_t length = length_of(&stage->logs[i], LOG_MAX);

		for (uint32_t k = 0; k < length; k++) {
			const struct linear_event *e =
			    &stage->logs[i].events[k];

			n += e->kind == kind && e->done == done && !e->killed;
		}
	}
	return n;
}

/* The run was one worth checking: everything happened, and some did not. */
static void
check_variety(const struct stage *stage)
{
	static const enum linear_kind kinds[] = { LINEAR_GET, LINEAR_DELETE,
		LINEAR_ADD, LINEAR_REPLACE, LINEAR_SWAP };

	unsigned refused = 0;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		CHECK_GT(count_events(stage, kinds[i], true), 10);
		refused += count_events(stage, kinds[i], false);
	}
	CHECK_GT(refused, 0);
	CHECK_GT(count_events(stage, LINEAR_UPDATE, true), 10);
	CHECK_GT(count_events(stage, LINEAR_INCR, true), 10);
}

static struct stage *
stage_new(uint64_t size_bytes, bool may_lose, unsigned calls, unsigned kills)
{
	struct stage *stage = shared_alloc(sizeof *stage);

	stage->cache = cache_new(size_bytes, 12);
	stage->may_lose = may_lose;
	stage->calls = calls < LOG_MAX - 2 ? calls : LOG_MAX - 2;
	stage->kills = kills;
	atomic_store(&stage->suicidal, kills > 0);
	srandom((unsigned)getpid());
	return stage;
}

static void
play_and_check(struct stage *stage)
{
	bool kills = stage->kills > 0;
	unsigned deaths = run_crew(stage);

	CHECK_EQ(deaths > 0, kills);
	if (stage->calls >= 1000)
		check_variety(stage);
	for (uint32_t key = 0; key < KEYS; key++)
		check_key(stage, key);
	(void)shmc_reap(stage->cache);
	cache_audit(stage->cache);
}

/* So roomy that nothing may be lost but to a delete at the same time. */
TEST_TIMEOUT(linear_run__room_for_all__is_a_register, 600)
{
	struct stage *stage = stage_new(256u << 20, false, test_rounds(3000),
	    0);

	play_and_check(stage);
	CHECK_EQ(cache_stats(stage->cache).evicted_entries, 0);
	CHECK_EQ(cache_stats(stage->cache).displaced, 0);
}

TEST_TIMEOUT(linear_run__room_for_all_and_kills__is_a_register, 600)
{
	struct stage *stage = stage_new(256u << 20, false, test_rounds(3000),
	    test_rounds(30));

	play_and_check(stage);
	CHECK_EQ(cache_stats(stage->cache).evicted_entries, 0);
	CHECK_EQ(cache_stats(stage->cache).displaced, 0);
}

/* Evicted, expired, flushed: lost, and never there again. */
TEST_TIMEOUT(linear_run__little_room__is_a_register_that_forgets, 600)
{
	struct stage *stage = stage_new(1u << 20, true, test_rounds(8000), 0);

	play_and_check(stage);
	CHECK_GT(cache_stats(stage->cache).evicted_entries, 0);
}

TEST_TIMEOUT(linear_run__little_room_and_kills__is_a_register_that_forgets,
    600)
{
	struct stage *stage = stage_new(1u << 20, true, test_rounds(8000),
	    test_rounds(50));

	play_and_check(stage);
	CHECK_GT(cache_stats(stage->cache).evicted_entries, 0);
	CHECK_GT(cache_stats(stage->cache).reaped, 0);
}
