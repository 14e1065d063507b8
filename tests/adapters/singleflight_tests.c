/* SPDX-License-Identifier: BSD-2-Clause */
/* What users of Go's singleflight rely on: singleflight.h. */
#include "fixture.h"
#include "singleflight.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CALLERS 6u

struct scene {
	struct shmc *group;
	sf_function *fn;
	_Atomic unsigned calls;
	_Atomic unsigned returned;
	_Atomic unsigned shared;
	_Atomic unsigned panics;
	_Atomic bool release;
};

static struct scene *
scene_new(sf_function *fn)
{
	struct scene *s = shared_alloc(sizeof *s);

	s->group = cache_new(4u << 20, 32);
	s->fn = fn;
	return s;
}

static int
answer(struct sf_result *result, const char *value, int error)
{
	result->bytes = strlen(value);
	memcpy(result->value, value, result->bytes);
	return error;
}

/* Counts itself; goes on when the test says so. */
static void
called(struct scene *s)
{
	atomic_fetch_add(&s->calls, 1);
	while (!atomic_load(&s->release))
		sleep_ms(1);
}

static int
return_bar(void *arg, struct sf_result *result)
{
	called(arg);
	return answer(result, "bar", 0);
}

static int
return_error(void *arg, struct sf_result *result)
{
	called(arg);
	return answer(result, "half of it", EIO);
}

static int
panic(void *arg, struct sf_result *result)
{
	(void)result;
	called(arg);
	sf_panic("nil pointer");
}

static int
goexit(void *arg, struct sf_result *result)
{
	(void)result;
	called(arg);
	sf_goexit();
}

static bool
says(const struct sf_result *r, const char *value, int error)
{
	return r->error == error && r->bytes == strlen(value) &&
	    memcmp(r->value, value, r->bytes) == 0;
}

/* Do, in a caller of its own. */
static void
call(void *arg)
{
	struct scene *s = arg;
	struct sf_result r = sf_do(s->group, "key", s->fn, s);

	CHECK(says(&r, s->fn == return_error ? "half of it" : "bar",
	    s->fn == return_error ? EIO : 0));
	atomic_fetch_add(&s->returned, 1);
	atomic_fetch_add(&s->shared, r.shared);
}

static void
call_and_recover(void *arg)
{
	struct scene *s = arg;
	char value[SF_VALUE_MAX];

	if (sf_recover(call, s, value)) {
		CHECK_STR(value, "nil pointer");
		atomic_fetch_add(&s->panics, 1);
	}
}

static void
await_calls(struct scene *s, unsigned calls)
{
	while (atomic_load(&s->calls) < calls)
		sleep_ms(1);
}

static void
await_waits(struct scene *s, unsigned waits)
{
	while (cache_stats(s->group).waits < waits)
		sleep_ms(1);
}

/* One is in the function, the others wait for it; then it goes on. */
static void
call_at_once(struct scene *s, child_function *caller)
{
	pid_t callers[CALLERS];

	callers[0] = run_in_child(caller, s);
	await_calls(s, 1);
	for (unsigned i = 1; i < CALLERS; i++)
		callers[i] = run_in_child(caller, s);
	await_waits(s, CALLERS - 1);
	atomic_store(&s->release, true);
	for (unsigned i = 0; i < CALLERS; i++)
		CHECK_EQ(wait_child(callers[i]), 0);
	CHECK_EQ(atomic_load(&s->calls), 1);
}

/* Nothing of the last call is left: the next one calls, and returns. */
static void
call_anew(struct scene *s)
{
	unsigned calls = atomic_load(&s->calls);
	unsigned shared = atomic_load(&s->shared);

	s->fn = return_bar;
	call(s);
	CHECK_EQ(atomic_load(&s->calls), calls + 1);
	CHECK_EQ(atomic_load(&s->shared), shared);
	cache_audit(s->group);
}

TEST(singleflight__called_at_once__one_calls_and_all_share)
{
	struct scene *s = scene_new(return_bar);

	call_at_once(s, call);
	CHECK_EQ(atomic_load(&s->returned), CALLERS);
	CHECK_EQ(atomic_load(&s->shared), CALLERS);
	call_anew(s);
}

static void
call_in_thread(unsigned index, void *arg)
{
	struct scene *s = arg;

	if (index == 0) {
		await_calls(s, 1);
		await_waits(s, CALLERS - 1);
		atomic_store(&s->release, true);
	} else {
		call(s);
	}
}

TEST(singleflight__called_by_threads__one_calls_and_all_share)
{
	struct scene *s = scene_new(return_bar);

	run_threads(CALLERS + 1, call_in_thread, s);
	CHECK_EQ(atomic_load(&s->calls), 1);
	CHECK_EQ(atomic_load(&s->shared), CALLERS);
}

TEST(singleflight__called_alone__is_not_shared_nor_kept)
{
	struct scene *s = scene_new(return_bar);

	atomic_store(&s->release, true);
	call(s);
	call_anew(s);
	CHECK_EQ(atomic_load(&s->calls), 2);
	CHECK_EQ(atomic_load(&s->shared), 0);
}

TEST(singleflight__error__is_shared_with_its_value_and_not_kept)
{
	struct scene *s = scene_new(return_error);

	call_at_once(s, call);
	CHECK_EQ(atomic_load(&s->returned), CALLERS);
	CHECK_EQ(atomic_load(&s->shared), CALLERS);
	call_anew(s);
}

static int
call_own_key(void *arg, struct sf_result *result)
{
	struct scene *s = arg;
	struct sf_result r = sf_do(s->group, "key", return_bar, s);

	CHECK_EQ(r.error, EDEADLK);
	return answer(result, "bar", 0);
}

TEST(singleflight__function_calls_its_own_key__is_told_so)
{
	struct scene *s = scene_new(call_own_key);

	call(s);
	CHECK_EQ(atomic_load(&s->calls), 0);
}

static int
call_other_key(void *arg, struct sf_result *result)
{
	struct scene *s = arg;

	*result = sf_do(s->group, "other key", return_bar, s);
	return result->error;
}

TEST(singleflight__other_key__is_called_meanwhile)
{
	struct scene *s = scene_new(call_other_key);

	atomic_store(&s->release, true);
	call(s);
	CHECK_EQ(atomic_load(&s->calls), 1);
}

TEST(singleflight__caller_killed__one_that_waits_calls)
{
	struct scene *s = scene_new(return_bar);
	pid_t first = run_in_child(call, s), others[CALLERS];

	await_calls(s, 1);
	for (unsigned i = 0; i < CALLERS; i++)
		others[i] = run_in_child(call, s);
	await_waits(s, CALLERS);
	kill_child(first);
	atomic_store(&s->release, true);
	for (unsigned i = 0; i < CALLERS; i++)
		CHECK_EQ(wait_child(others[i]), 0);
	CHECK_EQ(atomic_load(&s->calls), 2);
	CHECK_EQ(atomic_load(&s->returned), CALLERS);
}

/* ---------------------------------------------------------------- Forget -- */

struct second {
	struct scene *scene;
	_Atomic bool release;
};

static int
return_second(void *arg, struct sf_result *result)
{
	struct second *second = arg;

	atomic_fetch_add(&second->scene->calls, 1);
	while (!atomic_load(&second->release))
		sleep_ms(1);
	return answer(result, "second", 0);
}

static void
call_second(void *arg)
{
	struct second *second = arg;
	struct sf_result r = sf_do(second->scene->group, "key", return_second,
	    second);

	CHECK(says(&r, "second", 0));
	CHECK(r.shared);
}

/*
 * The first goes on for those it has; a third joins the second, even after the
 * first has ended.
 */
TEST(singleflight__forgotten__next_calls_and_the_one_after_joins_it)
{
	struct scene *s = scene_new(return_bar);
	struct second *second = shared_alloc(sizeof *second);
	pid_t first = run_in_child(call, s), waiter, two, three;

	second->scene = s;
	await_calls(s, 1);
	waiter = run_in_child(call, s);
	await_waits(s, 1);
	sf_forget(s->group, "key");
	two = run_in_child(call_second, second);
	await_calls(s, 2);
	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(first), 0);
	CHECK_EQ(wait_child(waiter), 0);
	three = run_in_child(call_second, second);
	await_waits(s, 2);
	atomic_store(&second->release, true);
	CHECK_EQ(wait_child(two), 0);
	CHECK_EQ(wait_child(three), 0);
	CHECK_EQ(atomic_load(&s->calls), 2);
	CHECK_EQ(atomic_load(&s->shared), 2);
}

TEST(singleflight__forgotten_without_a_call__nothing_happens)
{
	struct scene *s = scene_new(return_bar);

	atomic_store(&s->release, true);
	sf_forget(s->group, "key");
	call(s);
	sf_forget(s->group, "key");
	call_anew(s);
}

/* -------------------------------------------------------- panic, Goexit -- */

TEST(singleflight__function_panics__each_caller_panics_with_its_value)
{
	struct scene *s = scene_new(panic);

	call_at_once(s, call_and_recover);
	CHECK_EQ(atomic_load(&s->panics), CALLERS);
	CHECK_EQ(atomic_load(&s->returned), 0);
	call_anew(s);
}

static void
call_without_core(void *arg)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	call(arg);
}

TEST(singleflight__function_panics_and_nobody_recovers__process_ends)
{
	struct scene *s = scene_new(panic);

	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(run_in_child(call_without_core, s)), -SIGABRT);
	call_anew(s);
}

static void *
call_as_thread(void *arg)
{
	call(arg);
	return NULL;
}

/* What exits is a thread: its process goes on. */
static void
call_in_own_thread(void *arg)
{
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL, call_as_thread, arg), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
}

TEST(singleflight__function_exits__each_caller_exits)
{
	struct scene *s = scene_new(goexit);

	call_at_once(s, call_in_own_thread);
	CHECK_EQ(atomic_load(&s->returned), 0);
	call_anew(s);
}

TEST(singleflight__function_exits_in_one_of_many_threads__each_exits)
{
	struct scene *s = scene_new(goexit);

	run_threads(CALLERS + 1, call_in_thread, s);
	CHECK_EQ(atomic_load(&s->returned), 0);
	CHECK_EQ(atomic_load(&s->calls), 1);
	call_anew(s);
}

/* ---------------------------------------------------------------- DoChan -- */

/* Its result, or false if the channel never gets one. */
static bool
receive(int channel, struct sf_result *r)
{
	ssize_t n = read(channel, r, sizeof *r);

	close(channel);
	return n == (ssize_t)sizeof *r;
}

TEST(singleflight__do_chan__sends_one_result)
{
	struct scene *s = scene_new(return_bar);
	struct sf_result r;
	int channel = sf_do_chan(s->group, "key", return_bar, s);

	REQUIRE(channel >= 0);
	atomic_store(&s->release, true);
	REQUIRE(receive(channel, &r));
	CHECK(says(&r, "bar", 0));
	CHECK(!r.shared);
}

TEST(singleflight__do_chan_and_do_at_once__share_one_call)
{
	struct scene *s = scene_new(return_bar);
	struct sf_result r;
	int channels[2] = { sf_do_chan(s->group, "key", return_bar, s) };
	pid_t caller;

	await_calls(s, 1);
	channels[1] = sf_do_chan(s->group, "key", return_bar, s);
	caller = run_in_child(call, s);
	while (cache_stats(s->group).waits - cache_stats(s->group).timeouts < 2)
		sleep_ms(1);
	atomic_store(&s->release, true);
	for (unsigned i = 0; i < 2; i++) {
		REQUIRE(receive(channels[i], &r));
		CHECK(says(&r, "bar", 0));
		CHECK(r.shared);
	}
	CHECK_EQ(wait_child(caller), 0);
	CHECK_EQ(atomic_load(&s->calls), 1);
}

static void
chan_without_core(void *arg)
{
	struct rlimit none = { 0, 0 };
	struct scene *s = arg;
	struct sf_result r;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)receive(sf_do_chan(s->group, "key", s->fn, s), &r);
}

/* Who gets results by channel has no place to recover. */
TEST(singleflight__function_panics_in_do_chan__process_ends)
{
	struct scene *s = scene_new(panic);

	atomic_store(&s->release, true);
	CHECK_EQ(wait_child(run_in_child(chan_without_core, s)), -SIGABRT);
	call_anew(s);
}

TEST(singleflight__function_exits_in_do_chan__nothing_is_sent)
{
	struct scene *s = scene_new(goexit);
	struct sf_result r;

	atomic_store(&s->release, true);
	CHECK(!receive(sf_do_chan(s->group, "key", s->fn, s), &r));
	call_anew(s);
}
