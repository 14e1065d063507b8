/* SPDX-License-Identifier: BSD-2-Clause */
/* Loaders and options that do what they should not: told, and harm nobody else. */
#include "inside.h"

#include "lead.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct scene {
	struct shmc *cache;
	_Atomic unsigned loads;
	_Atomic unsigned served;
	_Atomic bool release;
	jmp_buf out;
};

static struct scene *
scene_new(uint64_t lease_ms)
{
	struct scene *s = shared_alloc(sizeof *s);
	struct shmc_options options = cache_options(4u << 20, 16);

	options.lease_ms = lease_ms;
	s->cache = cache_open(&options);
	return s;
}

static enum shmc_status
fetch_with(struct scene *s, shmc_loader *loader)
{
	struct shmc_view view;
	enum shmc_status status = shmc_fetch(s->cache, "k", 1, NULL, loader, s,
	    &view);

	if (status == SHMC_OK)
		atomic_fetch_add(&s->served, 1);
	shmc_view_release(&view);
	return status;
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_value(lead, "value", 5, 0, NULL), SHMC_OK);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(fetch_with(s, load), SHMC_OK);
}

/* --------------------------------------------------- left by a long jump --- */

static void
load_and_jump(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_append(lead, "half a val", 10), SHMC_OK);
	longjmp(s->out, 1);
}

static void
jump_out(struct scene *s)
{
	if (setjmp(s->out) == 0)
		(void)fetch_with(s, load_and_jump);
}

TEST(contract__r11__loader_left_by_longjmp__its_thread_leads_again_after_the_lease)
{
	struct scene *s = scene_new(100);
	enum shmc_status status;

	jump_out(s);
	CHECK_EQ(shmc_detach_thread(s->cache), -EBUSY);
	while ((status = fetch_with(s, load)) == SHMC_DEADLOCK)
		sleep_ms(1);
	CHECK_EQ(status, SHMC_OK);
	CHECK_EQ(atomic_load(&s->loads), 2);
	check_get(s->cache, "k", "value");
	cache_audit(s->cache);
}

TEST(contract__r06__loader_left_by_longjmp__others_lead_after_the_lease)
{
	struct scene *s = scene_new(50);

	jump_out(s);
	CHECK_EQ(wait_child(run_in_child(fetch, s)), 0);
	CHECK_EQ(atomic_load(&s->loads), 2);
	check_get(s->cache, "k", "value");
}

static void
jump_out_and_end(void *arg)
{
	jump_out(arg);
}

/* What it left behind goes with its thread. */
TEST(contract__r27__loader_left_by_longjmp__leaves_nothing_after_its_process)
{
	struct scene *s = scene_new(60000);

	check_miss(s->cache, "k");
	CHECK_EQ(wait_child(run_in_child(jump_out_and_end, s)), 0);
	fetch(s);
	CHECK_EQ(shmc_reap(s->cache), 1);
	CHECK_EQ(blocks_in(s->cache, BLOCK_OPEN), 1); /* our own log */
	cache_audit(s->cache);
}

static void
load_abandon_and_jump(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_append(lead, "half a val", 10), SHMC_OK);
	shmc_lead_abandon(lead);
	longjmp(s->out, 1);
}

TEST(contract__r04__loader_that_abandons_before_its_longjmp__leaves_nothing)
{
	struct scene *s = scene_new(60000);

	if (setjmp(s->out) == 0)
		(void)fetch_with(s, load_abandon_and_jump);
	CHECK_EQ(shmc_detach_thread(s->cache), 0);
	fetch(s);
	CHECK_EQ(atomic_load(&s->loads), 2);
	cache_audit(s->cache);
}

/* --------------------------------------------------------- wrong endings --- */

static void
load_and_return(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	static char bytes[50000];

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_append(lead, bytes, sizeof bytes), SHMC_OK);
}

TEST(contract__r04__loader_that_never_ends_its_fill__abandons_and_gives_back)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_and_return), SHMC_ABANDONED);
	CHECK_LE(blocks_in(s->cache, BLOCK_OPEN), 1); /* the spare piece */
	CHECK_EQ(cache_stats(s->cache).abandons, 1);
	fetch(s);
	check_get(s->cache, "k", "value");
	cache_audit(s->cache);
}

/* Every call on a lead that is over: refused, and nothing changes. */
static void
end_again(struct shmc_lead *lead)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;
	struct shmc_view view;

	CHECK_EQ(shmc_lead_append(lead, "x", 1), SHMC_FENCED);
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_FENCED);
	CHECK_EQ(shmc_lead_extend(lead, 10), SHMC_FENCED);
	CHECK(shmc_lead_old(lead) == NULL);
	memset(&view, 0xff, sizeof view);
	CHECK_EQ(shmc_lead_value(lead, "second", 6, 0, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
	memset(&view, 0xff, sizeof view);
	CHECK_EQ(shmc_lead_commit(lead, 0, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
	memset(&view, 0xff, sizeof view);
	CHECK_EQ(shmc_lead_share(lead, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
	memset(&view, 0xff, sizeof view);
	CHECK_EQ(shmc_lead_pass(lead, 1, 0, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
	memset(&view, 0xff, sizeof view);
	CHECK_EQ(shmc_lead_refresh(lead, 0, &view), SHMC_FENCED);
	CHECK(view.data == NULL);
	CHECK_EQ(shmc_lead_error(lead, 1, "second", 0), SHMC_FENCED);
	CHECK_EQ(shmc_lead_absent(lead, 0), SHMC_FENCED);
	shmc_lead_abandon(lead);
}

static void
load_twice(struct shmc_lead *lead, void *arg)
{
	load(lead, arg);
	CHECK_EQ(shmc_lead_waiters(lead), 0);
	end_again(lead);
}

TEST(contract__r07__lead_ended_twice__the_first_ending_counts)
{
	struct scene *s = scene_new(60000);
	struct shmc_stats stats;

	CHECK_EQ(fetch_with(s, load_twice), SHMC_OK);
	check_get(s->cache, "k", "value");
	stats = cache_stats(s->cache);
	CHECK_EQ(stats.commits, 1);
	CHECK_EQ(stats.abandons + stats.errors + stats.superseded, 0);
	CHECK_EQ(shmc_detach_thread(s->cache), 0); /* it leads nothing */
	cache_audit(s->cache);
}

/* With the very view that shmc_fetch() hands out. */
static struct shmc_view fetched;

static void
load_into_it_twice(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead, "value", 5, 0, &fetched), SHMC_OK);
	CHECK_EQ(shmc_lead_value(lead, "second", 6, 0, &fetched), SHMC_FENCED);
}

TEST(contract__r07__lead_ended_twice_into_the_fetched_view__keeps_the_value)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_into_it_twice, s,
	    &fetched), SHMC_OK);
	CHECK_EQ(fetched.size_bytes, 5);
	CHECK_MEM(fetched.data, "value", 5);
	shmc_view_release(&fetched);
	CHECK_EQ(shmc_detach_thread(s->cache), 0);
}

static void *
end_in_thread(void *lead)
{
	end_again(lead);
	return NULL;
}

static void
load_by_thread(struct shmc_lead *lead, void *arg)
{
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL, end_in_thread, lead), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	load(lead, arg); /* still ours, and open */
}

TEST(contract__r07__lead_ended_in_another_thread__is_refused_and_goes_on)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_by_thread), SHMC_OK);
	check_get(s->cache, "k", "value");
	CHECK_EQ(cache_stats(s->cache).commits, 1);
	cache_audit(s->cache);
}

/* A thread with a slot of its own: not taken for the leader's. */
static void *
end_in_member_thread(void *arg)
{
	struct shmc_lead *lead = arg;
	struct shmc *cache = lead_of(lead)->cache;

	check_miss(cache, "other");
	end_again(lead);
	return NULL;
}

static void
load_by_member_thread(struct shmc_lead *lead, void *arg)
{
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL, end_in_member_thread, lead), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	load(lead, arg);
}

TEST(contract__r07__lead_ended_by_another_participant__is_refused)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_by_member_thread), SHMC_OK);
	check_get(s->cache, "k", "value");
}

/* The child returns from the loader, too. */
static void
load_and_fork(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	pid_t child = fork();
	int status = -1;

	REQUIRE(child >= 0);
	if (child == 0) {
		end_again(lead);
		return;
	}
	REQUIRE_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	load(lead, s);
}

TEST(contract__r29__lead_ended_after_fork__is_refused_and_the_parents_goes_on)
{
	struct scene *s = scene_new(60000);
	pid_t self = getpid();
	enum shmc_status status = fetch_with(s, load_and_fork);

	if (getpid() != self) {
		CHECK_EQ(status, SHMC_FENCED);
		/* And the cache serves the child like any other. */
		check_miss(s->cache, "k");
		_exit(0);
	}
	CHECK_EQ(status, SHMC_OK);
	check_get(s->cache, "k", "value");
	(void)shmc_reap(s->cache);
	cache_audit(s->cache);
}

/* ------------------------------------------------- calls back into the cache -- */

static void
load_other(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead, "other", 5, 0, NULL), SHMC_OK);
}

static void
load_and_call(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;
	size_t n;

	CHECK_EQ(shmc_get(s->cache, "k", 1, NULL, 0, &n), SHMC_MISS);
	CHECK_EQ(shmc_fetch(s->cache, "other", 5, NULL, load_other, s, &view),
	    SHMC_OK);
	shmc_view_release(&view);
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load_other, s, &view),
	    SHMC_DEADLOCK);
	CHECK_EQ(shmc_put(s->cache, "third", 5, "3", 1, 0), SHMC_OK);
	CHECK_EQ(shmc_delete(s->cache, "third", 5), SHMC_OK);
	CHECK_EQ(shmc_reap(s->cache), 0);
	CHECK_EQ(shmc_detach_thread(s->cache), -EBUSY);
	cache_audit(s->cache);
	load(lead, s);
}

TEST(contract__r11__loader_may_call_the_cache_and_its_own_key_is_refused)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_and_call), SHMC_OK);
	CHECK_EQ(atomic_load(&s->loads), 1);
	check_get(s->cache, "k", "value");
	check_get(s->cache, "other", "other");
	cache_audit(s->cache);
}

/* Changes its own key: what it put stays, what it computes is superseded. */
static void
load_and_put(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	put(s->cache, "k", "put by the loader");
	load(lead, s);
}

static void
load_and_delete(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_MISS);
	load(lead, s);
}

static void
load_and_flush(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(shmc_flush(s->cache), SHMC_OK);
	load(lead, s);
}

TEST(contract__r14__loader_that_changes_its_own_key__is_superseded)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_and_put), SHMC_OK);
	check_get(s->cache, "k", "put by the loader");
	CHECK_EQ(shmc_delete(s->cache, "k", 1), SHMC_OK);
	CHECK_EQ(fetch_with(s, load_and_delete), SHMC_OK);
	check_miss(s->cache, "k");
	CHECK_EQ(cache_stats(s->cache).superseded, 2);
	CHECK_EQ(fetch_with(s, load_and_flush), SHMC_OK);
	check_miss(s->cache, "k");
	cache_audit(s->cache);
}

static void
load_many_deep(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	unsigned depth = atomic_fetch_add(&s->loads, 1);
	struct shmc_view view;
	char key[32];

	if (depth < 200) {
		CHECK_EQ(shmc_fetch(s->cache, key, key_of(key, depth), NULL,
		    load_many_deep, s, &view), SHMC_OK);
		shmc_view_release(&view);
	}
	CHECK_EQ(shmc_lead_value(lead, "v", 1, 0, NULL), SHMC_OK);
}

TEST(contract__r11__loader_within_loader_within_loader)
{
	struct scene *s = scene_new(60000);
	struct shmc_info info;

	shmc_info(s->cache, &info, sizeof info);
	if (info.flights < 210)
		atomic_store(&s->loads, 210 - info.flights);
	CHECK_EQ(fetch_with(s, load_many_deep), SHMC_OK);
	check_get(s->cache, "k", "v");
	cache_audit(s->cache);
}

/* ------------------------------------------------------------- wrong options -- */

static void
load_with_wrong_terms(struct shmc_lead *lead, void *arg)
{
	const char *tags[9] = { "1", "2", "3", "4", "5", "6", "7", "8", "9" };
	const char *none[1] = { NULL };
	const struct shmc_terms good = SHMC_TERMS_INIT;
	struct shmc_terms terms;

	terms = good;
	terms.jitter_percent = 51;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms.jitter_percent = (uint32_t)-1;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms = good;
	terms.struct_bytes = 0;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms = good;
	terms.tag_count = 1;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms.tags = none;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms.tags = tags;
	terms.tag_count = 9;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms = good;
	terms.grace_ms = (uint64_t)-1;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	terms = good;
	terms.keep_ms = (uint64_t)1 << 32;
	CHECK_EQ(shmc_lead_terms(lead, &terms), SHMC_INVALID);
	CHECK_EQ(shmc_lead_terms(lead, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_lead_extend(lead, ((uint64_t)1 << 32) + 1), SHMC_INVALID);
	CHECK_EQ(shmc_lead_append(lead, NULL, 1), SHMC_INVALID);
	CHECK_EQ(shmc_lead_value(lead, NULL, 1, 0, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_lead_pass(lead, 0, 0, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_lead_pass(lead, 65, 0, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_lead_refresh(lead, 0, NULL), SHMC_MISS);
	load(lead, arg); /* after all that the lead goes on */
}

TEST(contract__r20__wrong_terms_are_refused_and_the_lead_goes_on)
{
	struct scene *s = scene_new(60000);

	CHECK_EQ(fetch_with(s, load_with_wrong_terms), SHMC_OK);
	check_get(s->cache, "k", "value");
	CHECK_EQ(cache_stats(s->cache).computations, 1);
}

/* Without a ttl there is no end of freshness, and nothing comes after it. */
TEST(contract__r15__grace_without_ttl_says_nothing)
{
	struct scene *s = scene_new(60000);
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.grace_ms = 1000;
	terms.keep_ms = 1000;
	terms.jitter_percent = 50;
	CHECK_EQ(shmc_store(s->cache, "k", 1, "v", 1, &terms, SHMC_ALWAYS, 0),
	    SHMC_OK);
	let_pass(s->cache, 1u << 31);
	check_get(s->cache, "k", "v");
}

TEST(contract__r09__wrong_waits_are_refused)
{
	struct scene *s = scene_new(60000);
	const struct shmc_wait good = SHMC_WAIT_INIT;
	struct shmc_wait waits[6];
	struct shmc_view view;

	for (size_t i = 0; i < 6; i++)
		waits[i] = good;
	waits[0].on_timeout = 3;
	waits[1].on_overflow = (uint32_t)-1;
	waits[2].early_percent = 10001;
	waits[3].lease_ms = ((uint64_t)1 << 32) + 1;
	waits[4].struct_bytes = 0;
	waits[5].struct_bytes = 5000;
	for (size_t i = 0; i < 6; i++)
		CHECK_EQ(shmc_fetch(s->cache, "k", 1, &waits[i], load, s,
		    &view), SHMC_INVALID);
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, NULL, s, &view),
	    SHMC_INVALID);
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, NULL, load, s, NULL),
	    SHMC_INVALID);
	CHECK_EQ(shmc_fetch(NULL, "k", 1, NULL, load, s, &view), SHMC_INVALID);
	CHECK_EQ(shmc_fetch(s->cache, NULL, 1, NULL, load, s, &view),
	    SHMC_INVALID);
	CHECK_EQ(atomic_load(&s->loads), 0);
}

/* Shorter structs of older callers, and a deadline long past. */
TEST(contract__r09__deadline_in_the_past_still_hits_and_leads)
{
	struct scene *s = scene_new(60000);
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;

	wait.struct_bytes = offsetof(struct shmc_wait, lease_ms);
	wait.lease_ms = (uint64_t)-1; /* beyond its end */
	wait.deadline_ns = 1;
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, &wait, load, s, &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_LED);
	shmc_view_release(&view);
	CHECK_EQ(shmc_fetch(s->cache, "k", 1, &wait, load, s, &view), SHMC_OK);
	CHECK_EQ(view.role, SHMC_ROLE_HIT);
	shmc_view_release(&view);
}

TEST(contract__r10__cap_of_none_is_no_cap)
{
	struct scene *s = scene_new(60000);
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lead lead;
	struct shmc_view view;
	pid_t waiter;

	wait.max_waiters = 0;
	REQUIRE_EQ(shmc_begin(s->cache, "k", 1, &wait, &view, &lead),
	    SHMC_LEAD);
	waiter = run_in_child(fetch, s);
	while (shmc_lead_waiters(&lead) < 1)
		sleep_ms(1);
	CHECK_EQ(shmc_lead_value(&lead, "value", 5, 0, NULL), SHMC_OK);
	CHECK_EQ(wait_child(waiter), 0);
	CHECK_EQ(atomic_load(&s->served), 1);
	CHECK_EQ(atomic_load(&s->loads), 0);
}
