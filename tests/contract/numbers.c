/* SPDX-License-Identifier: BSD-2-Clause */
/* R12 and R26: roles and figures are exact, and outlive those who counted. */
#include "inside.h"

#include "lead.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 6u
#define KEYS 5u
#define KILLS 40u

enum ending { END_VALUE, END_SHARE, END_ERROR, END_ABSENT, END_ABANDON, ENDINGS };

/* What the callers have seen, against which the figures are held. */
struct tally {
	struct shmc *cache;
	_Atomic unsigned workers;
	_Atomic unsigned calls;
	_Atomic unsigned loads;
	_Atomic unsigned ended[ENDINGS];
	_Atomic unsigned led[10]; /* loaders begun, by role */
	_Atomic unsigned role[10];
	_Atomic unsigned killed;
	_Atomic unsigned superseded;
	_Atomic unsigned deleted;
	_Atomic unsigned served;
	_Atomic unsigned seed;
};

/* xorshift64 (Marsaglia 2003): a stream for each worker. */
static uint64_t random_state;

static unsigned
dice(unsigned sides)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 33) % sides;
}

static struct tally *
tally_new(uint32_t participants)
{
	struct tally *t = shared_alloc(sizeof *t);
	struct shmc_options options = cache_options(8u << 20, participants);

	options.lease_ms = 1000000; /* nobody is fenced */
	t->cache = cache_open(&options);
	return t;
}

static void
end_lead(struct shmc_lead *lead, enum ending ending)
{
	switch (ending) {
	case END_VALUE:
		CHECK_EQ(shmc_lead_value(lead, "v", 1, 0, NULL), SHMC_OK);
		break;
	case END_SHARE:
		CHECK_EQ(shmc_lead_append(lead, "v", 1), SHMC_OK);
		CHECK_EQ(shmc_lead_share(lead, NULL), SHMC_OK);
		break;
	case END_ERROR:
		CHECK_EQ(shmc_lead_error(lead, 1, "no", 0), SHMC_OK);
		break;
	case END_ABSENT:
		CHECK_EQ(shmc_lead_absent(lead, 0), SHMC_OK);
		break;
	case END_ABANDON:
	case ENDINGS:
		shmc_lead_abandon(lead);
		break;
	}
}

/* Ends anyhow, or with its process. */
static void
load_or_die(struct shmc_lead *lead, void *arg)
{
	struct tally *t = arg;
	enum ending ending = (enum ending)dice(ENDINGS);

	atomic_fetch_add(&t->loads, 1);
	atomic_fetch_add(&t->led[lead_of(lead)->role], 1);
	if (dice(3) == 0)
		sched_yield(); /* let some join */
	if (dice(12) == 0) {
		atomic_fetch_add(&t->killed, 1);
		kill(getpid(), SIGKILL);
	}
	atomic_fetch_add(&t->ended[ending], 1);
	end_lead(lead, ending);
}

static void
fetch_one(struct tally *t)
{
	struct shmc_view view;
	enum shmc_status status;
	char key[32];
	size_t n = key_of(key, dice(KEYS));

	atomic_fetch_add(&t->calls, 1);
	status = shmc_fetch(t->cache, key, n, NULL, load_or_die, t, &view);
	CHECK(status == SHMC_OK || status == SHMC_ERROR ||
	    status == SHMC_ABSENT || status == SHMC_ABANDONED);
	atomic_fetch_add(&t->role[view.role], 1);
	if (view.role == SHMC_ROLE_LED || view.role == SHMC_ROLE_PROMOTED)
		atomic_fetch_add(&t->superseded,
		    (view.flags & SHMC_SUPERSEDED) != 0);
	shmc_view_release(&view);
	if (dice(2) == 0)
		atomic_fetch_add(&t->deleted,
		    shmc_delete(t->cache, key, n) == SHMC_OK);
}

static void
work(void *arg)
{
	struct tally *t = arg;

	random_state = 0x9e3779b97f4a7c15ull *
	    (1 + atomic_fetch_add(&t->seed, 1));
	atomic_fetch_add(&t->workers, 1);
	do
		fetch_one(t);
	while (atomic_load(&t->killed) < KILLS);
}

/* No figure ever falls. */
static void
check_growing(struct tally *t, struct shmc_stats *last)
{
	struct shmc_stats now = cache_stats(t->cache);
	const uint64_t *a = (const uint64_t *)(const void *)last;
	const uint64_t *b = (const uint64_t *)(const void *)&now;

	for (size_t i = 0; i < sizeof now / sizeof *a; i++)
		if (b[i] < a[i])
			FAIL("figure %zu fell from %llu to %llu", i,
			    (unsigned long long)a[i],
			    (unsigned long long)b[i]);
	*last = now;
}

/* So many workers at any time, until KILLS have been killed. */
static void
work_with_deaths(struct tally *t)
{
	struct shmc_stats last = { 0 };
	unsigned running = 0;
	int status;

	while (atomic_load(&t->killed) < KILLS || running > 0) {
		while (running < WORKERS && atomic_load(&t->killed) < KILLS) {
			(void)run_in_child(work, t);
			running++;
		}
		REQUIRE(wait(&status) > 0);
		running--;
		CHECK(WIFSIGNALED(status) || status == 0);
		check_growing(t, &last);
	}
}

TEST(contract__r26__figures_add_up_over_leaders_killed_at_random)
{
	struct tally *t = tally_new(16);
	struct shmc_stats s;
	unsigned led, late;

	work_with_deaths(t);
	(void)shmc_reap(t->cache);
	s = cache_stats(t->cache);
	CHECK_GE(atomic_load(&t->killed), KILLS);
	/* Each call looked the key up, and found it or not. */
	CHECK_EQ(s.hits + s.misses, atomic_load(&t->calls));
	/* Each computation is a loader's, and ends somehow. */
	CHECK_EQ(s.computations, atomic_load(&t->loads));
	CHECK_EQ(s.commits, atomic_load(&t->ended[END_VALUE]) +
	    atomic_load(&t->ended[END_SHARE]));
	CHECK_EQ(s.errors, atomic_load(&t->ended[END_ERROR]) +
	    atomic_load(&t->ended[END_ABSENT]));
	CHECK_EQ(s.abandons, atomic_load(&t->ended[END_ABANDON]));
	CHECK_EQ(s.commits + s.errors + s.abandons + atomic_load(&t->killed),
	    s.computations);
	/* Roles: the living have said theirs, the killed led or were promoted. */
	led = atomic_load(&t->led[SHMC_ROLE_LED]);
	CHECK_EQ(s.promotions, atomic_load(&t->led[SHMC_ROLE_PROMOTED]));
	CHECK_EQ(s.computations, led + s.promotions);
	CHECK_EQ(s.shared, atomic_load(&t->role[SHMC_ROLE_SHARED]));
	CHECK_EQ(s.passes + s.stale_hits + s.early, 0);
	/* A miss computes, shares, or finds what has come since. */
	CHECK_GE(atomic_load(&t->role[SHMC_ROLE_HIT]), s.hits);
	late = atomic_load(&t->role[SHMC_ROLE_HIT]) - (unsigned)s.hits;
	CHECK_EQ(s.misses, s.computations + s.shared + late);
	CHECK_GE(s.waits, s.shared);
	CHECK_EQ(s.superseded, atomic_load(&t->superseded));
	CHECK_EQ(s.deletes, atomic_load(&t->deleted));
	CHECK_EQ(s.fenced + s.timeouts + s.deadlocks + s.overflows, 0);
	CHECK_EQ(s.reaped, atomic_load(&t->workers));
	cache_audit(t->cache);
}

/* ----------------------------------------------------- each event, once --- */

static struct shmc_terms
terms_of(uint64_t ttl_ms, uint64_t grace_ms, uint64_t keep_ms)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = ttl_ms;
	terms.grace_ms = grace_ms;
	terms.keep_ms = keep_ms;
	return terms;
}

static void
load_value(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	end_lead(lead, END_VALUE);
}

static void
load_error(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	end_lead(lead, END_ERROR);
}

static void
load_pass(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_pass(lead, 2, 1000000, NULL), SHMC_OK);
}

static enum shmc_role
fetch(struct shmc *cache, shmc_loader *loader, uint32_t early_percent)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	enum shmc_role role;

	wait.early_percent = early_percent;
	CHECK_EQ(shmc_fetch(cache, "k", 1, &wait, loader, NULL, &view),
	    SHMC_OK);
	role = (enum shmc_role)view.role;
	shmc_view_release(&view);
	return role;
}

/* What changed from *before, which is brought up to date. */
static struct shmc_stats
since(struct shmc *cache, struct shmc_stats *before)
{
	struct shmc_stats now = cache_stats(cache), change = now;
	uint64_t *a = (uint64_t *)(void *)&change;
	const uint64_t *b = (const uint64_t *)(const void *)before;

	for (size_t i = 0; i < sizeof now / sizeof *a; i++)
		a[i] -= b[i];
	*before = now;
	return change;
}

static uint64_t
sum_of(const struct shmc_stats *s)
{
	const uint64_t *a = (const uint64_t *)(const void *)s;
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof *s / sizeof *a; i++)
		sum += a[i];
	return sum;
}

TEST(contract__r26__each_event_counts_once_and_nothing_else)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	struct shmc_terms terms = terms_of(1000, 1000000, 1000000);
	struct shmc_stats at = { 0 }, s;

	CHECK_EQ(fetch(cache, load_value, 0), SHMC_ROLE_LED);
	s = since(cache, &at);
	CHECK_EQ(s.misses + s.computations + s.commits, 3);
	CHECK_EQ(sum_of(&s), 3);
	CHECK_EQ(fetch(cache, load_value, 0), SHMC_ROLE_HIT);
	s = since(cache, &at);
	CHECK_EQ(s.hits, 1);
	CHECK_EQ(sum_of(&s), 1);
	CHECK_EQ(shmc_store(cache, "k", 1, "v", 1, &terms, SHMC_ALWAYS, 0),
	    SHMC_OK);
	s = since(cache, &at);
	CHECK_EQ(s.puts, 1);
	CHECK_EQ(sum_of(&s), 1);
	/* Stale, and its refresh fails: one miss, served with the old. */
	let_pass(cache, 2000);
	CHECK_EQ(fetch(cache, load_error, 0), SHMC_ROLE_STALE);
	s = since(cache, &at);
	CHECK_EQ(s.misses + s.computations + s.errors + s.stale_hits, 4);
	CHECK_EQ(sum_of(&s), 4);
	CHECK_EQ(fetch(cache, load_value, 0), SHMC_ROLE_LED);
	s = since(cache, &at);
	CHECK_EQ(s.misses + s.computations + s.commits, 3);
	CHECK_EQ(sum_of(&s), 3);
	CHECK_EQ(shmc_delete(cache, "k", 1), SHMC_OK);
	s = since(cache, &at);
	CHECK_EQ(s.deletes, 1);
	CHECK_EQ(sum_of(&s), 1);
	/* Passed: the first leads, the second has a permit. */
	CHECK_EQ(fetch(cache, load_pass, 0), SHMC_ROLE_LED);
	s = since(cache, &at);
	CHECK_EQ(s.misses + s.computations + s.commits, 3);
	CHECK_EQ(sum_of(&s), 3);
	CHECK_EQ(fetch(cache, load_value, 0), SHMC_ROLE_PASSED);
	s = since(cache, &at);
	CHECK_EQ(s.misses + s.passes + s.computations + s.commits, 4);
	CHECK_EQ(sum_of(&s), 4);
}

TEST(contract__r26__stale_value_beside_its_refresh_counts_once)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	struct shmc_terms terms = terms_of(1000, 1000000, 0);
	struct shmc_stats at = { 0 }, s;
	struct shmc_lead lead;
	struct shmc_view view;

	CHECK_EQ(shmc_store(cache, "k", 1, "v", 1, &terms, SHMC_ALWAYS, 0),
	    SHMC_OK);
	let_pass(cache, 2000);
	REQUIRE_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	s = since(cache, &at);
	CHECK_EQ(s.puts + s.misses + s.computations, 3);
	CHECK_EQ(fetch(cache, load_value, 0), SHMC_ROLE_STALE);
	s = since(cache, &at);
	CHECK_EQ(s.stale_hits, 1);
	CHECK_EQ(sum_of(&s), 1);
	shmc_lead_abandon(&lead);
	s = since(cache, &at);
	CHECK_EQ(s.abandons, 1);
	CHECK_EQ(sum_of(&s), 1);
}

/* ------------------------------------------------------- R12: how many --- */

static void
fetch_as_waiter(void *arg)
{
	struct tally *t = arg;
	struct shmc_view view;
	enum shmc_status status = shmc_fetch(t->cache, "k", 1, NULL, load_value,
	    NULL, &view);

	CHECK_EQ(status, SHMC_OK);
	CHECK(view.waited_ns > 0);
	atomic_fetch_add(&t->role[view.role], 1);
	atomic_fetch_add(&t->served, view.served);
	shmc_view_release(&view);
}

static void
lead_and_hang(void *arg)
{
	struct tally *t = arg;
	struct shmc_lead lead;
	struct shmc_view view;

	REQUIRE_EQ(shmc_begin(t->cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	atomic_fetch_add(&t->loads, 1);
	for (;;)
		pause();
}

/* Who was promoted has waited, too, but was served by nobody. */
TEST(contract__r12__promoted_leader_learns_how_many_others_it_served)
{
	struct tally *t = tally_new(16);
	pid_t leader = run_in_child(lead_and_hang, t), waiters[4];

	while (atomic_load(&t->loads) == 0)
		sleep_ms(1);
	for (unsigned i = 0; i < 4; i++)
		waiters[i] = run_in_child(fetch_as_waiter, t);
	while (cache_stats(t->cache).waits < 4)
		sleep_ms(1);
	kill_child(leader);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(wait_child(waiters[i]), 0);
	CHECK_EQ(atomic_load(&t->role[SHMC_ROLE_PROMOTED]), 1);
	CHECK_EQ(atomic_load(&t->role[SHMC_ROLE_SHARED]), 3);
	CHECK_EQ(atomic_load(&t->served), 3);
	CHECK_EQ(cache_stats(t->cache).shared, 3);
}
