/* SPDX-License-Identifier: BSD-2-Clause */
/* What users of Elixir's Cachex.fetch/4 rely on: cachex.h. */
#include "fixture.h"
#include "cachex.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define CALLERS 6u
#define KEYS 1000u

struct scene {
	struct shmc *cache;
	cx_fallback *fallback;
	_Atomic unsigned runs;
	_Atomic unsigned tags[4]; /* how often each was answered */
	_Atomic pid_t worker;
	_Atomic bool release;
	_Atomic unsigned runs_of[KEYS];
};

static struct scene *
scene_new(cx_fallback *fallback)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->cache = cache_new(4u << 20, 32);
	s->fallback = fallback;
	return s;
}

static void
answer(struct cx_result *result, enum cx_tag tag, const char *value)
{
	result->tag = tag;
	result->bytes = strlen(value);
	memcpy(result->value, value, result->bytes);
}

/* In the worker: counts itself; goes on when the test says so. */
static void
runs(struct scene *s)
{
	atomic_store(&s->worker, getpid());
	atomic_fetch_add(&s->runs, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
}

static void
commit(const char *key, struct cx_result *result, void *arg)
{
	runs(arg);
	answer(result, CX_COMMIT, key);
}

static void
ignore(const char *key, struct cx_result *result, void *arg)
{
	runs(arg);
	answer(result, CX_IGNORE, key);
}

static void
fail(const char *key, struct cx_result *result, void *arg)
{
	(void)key;
	runs(arg);
	answer(result, CX_ERROR, "no rows");
}

static void
raise_it(const char *key, struct cx_result *result, void *arg)
{
	(void)key;
	(void)result;
	runs(arg);
	cx_raise("argument error");
}

static void
exit_it(const char *key, struct cx_result *result, void *arg)
{
	(void)key;
	(void)result;
	runs(arg);
	_exit(3);
}

static struct cx_result
fetch(struct scene *s, enum cx_tag expected, const char *value)
{
	struct cx_result r = cx_fetch(s->cache, "key", s->fallback, s);

	CHECK_EQ(r.tag, expected);
	CHECK_EQ(r.bytes, strlen(value));
	CHECK_MEM(r.value, value, strlen(value));
	return r;
}

static void
fetch_and_note(void *arg)
{
	struct scene *s = arg;
	struct cx_result r = cx_fetch(s->cache, "key", s->fallback, s);

	atomic_fetch_add(&s->tags[r.tag], 1);
}

static void
await_runs(struct scene *s, unsigned n)
{
	while (atomic_load(&s->runs) < n)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned n)
{
	while (cache_stats(s->cache).waits < n)
		sleep_ms(1);
}

/* A worker is running, the callers wait. */
static void
cast_on(struct scene *s, pid_t callers[CALLERS])
{
	callers[0] = run_in_child(fetch_and_note, s);
	await_runs(s, 1);
	for (unsigned i = 1; i < CALLERS; i++)
		callers[i] = run_in_child(fetch_and_note, s);
	await_waits(s, CALLERS - 1);
}

static void
await_callers(pid_t callers[CALLERS])
{
	for (unsigned i = 0; i < CALLERS; i++)
		CHECK_EQ(wait_child(callers[i]), 0);
}

static void
fetch_at_once(struct scene *s)
{
	pid_t callers[CALLERS];

	cast_on(s, callers);
	atomic_store(&s->release, true);
	await_callers(callers);
	CHECK_EQ(atomic_load(&s->runs), 1);
}

/* Nothing was stored: the fallback runs again. */
static void
fetch_anew(struct scene *s)
{
	unsigned before = atomic_load(&s->runs);

	atomic_store(&s->release, true);
	check_miss(s->cache, "key");
	s->fallback = commit;
	fetch(s, CX_COMMIT, "key");
	CHECK_EQ(atomic_load(&s->runs), before + 1);
	cache_audit(s->cache);
}

TEST(cachex__commit__is_stored_and_told_to_its_maker_only)
{
	struct scene *s = scene_new(commit);

	fetch_at_once(s);
	CHECK_EQ(atomic_load(&s->tags[CX_COMMIT]), 1);
	CHECK_EQ(atomic_load(&s->tags[CX_OK]), CALLERS - 1);
	fetch(s, CX_OK, "key");
	CHECK_EQ(atomic_load(&s->runs), 1);
	check_get(s->cache, "key", "key");
}

TEST(cachex__ignore__is_given_to_all_and_not_stored)
{
	struct scene *s = scene_new(ignore);

	fetch_at_once(s);
	CHECK_EQ(atomic_load(&s->tags[CX_IGNORE]), CALLERS);
	fetch_anew(s);
}

TEST(cachex__error__is_given_to_all_and_not_stored)
{
	struct scene *s = scene_new(fail);

	fetch_at_once(s);
	CHECK_EQ(atomic_load(&s->tags[CX_ERROR]), CALLERS);
	fetch(s, CX_ERROR, "no rows");
	fetch_anew(s);
}

TEST(cachex__fallback_raises__message_is_given_to_all)
{
	struct scene *s = scene_new(raise_it);

	fetch_at_once(s);
	CHECK_EQ(atomic_load(&s->tags[CX_ERROR]), CALLERS);
	fetch(s, CX_ERROR, "argument error");
	fetch_anew(s);
}

TEST(cachex__fallback_exits__is_an_error_for_all)
{
	struct scene *s = scene_new(exit_it);

	fetch_at_once(s);
	CHECK_EQ(atomic_load(&s->tags[CX_ERROR]), CALLERS);
	fetch(s, CX_ERROR, "exited");
	fetch_anew(s);
}

static void
fetch_killed(void *arg)
{
	fetch(arg, CX_ERROR, "killed");
}

TEST(cachex__fallback_killed__is_an_error_for_all_and_the_key_is_free)
{
	struct scene *s = scene_new(commit);
	pid_t first = run_in_child(fetch_killed, s), others[CALLERS];

	await_runs(s, 1);
	for (unsigned i = 0; i < CALLERS; i++)
		others[i] = run_in_child(fetch_killed, s);
	await_waits(s, CALLERS);
	CHECK_EQ(kill(atomic_load(&s->worker), SIGKILL), 0);
	CHECK_EQ(wait_child(first), 0);
	for (unsigned i = 0; i < CALLERS; i++)
		CHECK_EQ(wait_child(others[i]), 0);
	CHECK_EQ(atomic_load(&s->runs), 1);
	fetch_anew(s);
}

/* Here we do better: the death of who asked is not the death of the answer. */
TEST(cachex__caller_killed__one_that_waits_runs_it_again)
{
	struct scene *s = scene_new(commit);
	pid_t callers[CALLERS];

	cast_on(s, callers);
	kill_child(callers[0]);
	atomic_store(&s->release, true);
	for (unsigned i = 1; i < CALLERS; i++)
		CHECK_EQ(wait_child(callers[i]), 0);
	CHECK_EQ(atomic_load(&s->runs), 2);
	CHECK_EQ(atomic_load(&s->tags[CX_COMMIT]), 1);
	CHECK_EQ(atomic_load(&s->tags[CX_OK]), CALLERS - 2);
}

static void
commit_for_a_moment(const char *key, struct cx_result *result, void *arg)
{
	commit(key, result, arg);
	result->expire_ms = 1;
}

TEST(cachex__commit_with_expire__is_gone_then)
{
	struct scene *s = scene_new(commit_for_a_moment);

	atomic_store(&s->release, true);
	fetch(s, CX_COMMIT, "key");
	sleep_ms(50);
	fetch_anew(s);
	sleep_ms(50);
	fetch(s, CX_OK, "key");
}

TEST(cachex__value_is_there__fallback_does_not_run)
{
	struct scene *s = scene_new(fail);

	put(s->cache, "key", "stored");
	fetch(s, CX_OK, "stored");
	put(s->cache, "key", "");
	fetch(s, CX_OK, "");
	CHECK_EQ(atomic_load(&s->runs), 0);
}

/* A fallback that fetches another key, which a third one fetches too. */
static void
commit_other(const char *key, struct cx_result *result, void *arg)
{
	struct scene *s = arg;

	*result = cx_fetch(s->cache, "other", commit, s);
	answer(result, CX_COMMIT, key);
}

static void
fetch_directly_or_not(unsigned index, void *arg)
{
	struct scene *s = arg;
	struct cx_result r = cx_fetch(s->cache, index % 2 == 0 ? "other" : "key",
	    index % 2 == 0 ? commit : commit_other, s);

	CHECK(r.tag == CX_COMMIT || r.tag == CX_OK);
}

TEST(cachex__fallback_fetches_another_key__each_is_made_once)
{
	for (unsigned i = 0; i < test_rounds(20); i++) {
		struct scene *s = scene_new(NULL);

		atomic_store(&s->release, true);
		run_processes(4, fetch_directly_or_not, s);
		CHECK_EQ(atomic_load(&s->runs), 1);
		shmc_close(s->cache);
	}
}

static void
count_key(const char *key, struct cx_result *result, void *arg)
{
	struct scene *s = arg;
	unsigned number = 0;

	for (const char *digit = key + 4; *digit != '\0'; digit++)
		number = number * 10 + (unsigned)(*digit - '0');
	atomic_fetch_add(&s->runs_of[number % KEYS], 1);
	answer(result, CX_COMMIT, key);
}

static void
fetch_all_keys(unsigned index, void *arg)
{
	struct scene *s = arg;
	char key[32];

	(void)index;
	for (unsigned i = 0; i < KEYS; i++) {
		size_t n = key_of(key, i);
		struct cx_result r = cx_fetch(s->cache, key, count_key, s);

		CHECK(r.tag == CX_COMMIT || r.tag == CX_OK);
		CHECK_EQ(r.bytes, n);
		CHECK_MEM(r.value, key, n);
		atomic_fetch_add(&s->tags[r.tag], 1);
	}
}

TEST(cachex__a_thousand_keys_by_four_at_once__each_is_made_once)
{
	struct scene *s = scene_new(NULL);

	run_processes(4, fetch_all_keys, s);
	for (unsigned i = 0; i < KEYS; i++)
		CHECK_EQ(atomic_load(&s->runs_of[i]), 1);
	CHECK_EQ(atomic_load(&s->tags[CX_COMMIT]), KEYS);
	CHECK_EQ(atomic_load(&s->tags[CX_OK]), 3 * KEYS);
	cache_audit(s->cache);
}
