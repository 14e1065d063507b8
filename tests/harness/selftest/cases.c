/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cases that end in every way a case can.  Those whose name begins with
 * `fails` must be reported as failed, `skips` as skipped, all others as
 * passed: see run.
 */
#include "proc.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testpoint.h"

static void
pass_three_points(void *arg)
{
	_Atomic unsigned *done = arg;

	TESTPOINT("first");
	*done += 1;
	TESTPOINT("second");
	*done += 1;
	TESTPOINT("first");
	*done += 1;
}

static void
fail_a_check(void *arg)
{
	(void)arg;
	CHECK_STR("in the child", "elsewhere");
}

static void
fail_a_requirement(void *arg)
{
	(void)arg;
	REQUIRE(1 > 3);
}

static void
do_nothing(void *arg)
{
	(void)arg;
}

static void
do_crash(void *arg)
{
	(void)arg;
	abort();
}

static void
do_sleep(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void
count_up(unsigned index, void *arg)
{
	_Atomic unsigned *count = arg;

	CHECK_LT(index, 4);
	*count += 1;
}

/* ---------------------------------------------------------- what fails --- */

TEST(report__check_untrue__fails_and_goes_on)
{
	CHECK(1 > 2);
	CHECK_EQ(-1, 4294967295u);
	CHECK_MEM("abc", "abd", 3);
	FAIL("in %d words", 3);
}

TEST(report__requirement_untrue__fails_and_stops)
{
	REQUIRE_EQ(5, 6);
	FAIL("went on");
}

TEST(report__requirement_in_thread__fails_and_ends_thread)
{
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL,
		       (void *(*)(void *))(void (*)(void))fail_a_requirement,
		       NULL), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
}

TEST(report__crash__fails)
{
	abort();
}

TEST_TIMEOUT(report__hang__fails_in_time, 1)
{
	(void)run_in_child(do_sleep, NULL);
	do_sleep(NULL);
}

TEST(report__early_exit__fails)
{
	exit(0);
}

TEST(report__exit_status__fails)
{
	_exit(3);
}

TEST(report__check_untrue_in_child__fails)
{
	CHECK_EQ(wait_child(run_in_child(fail_a_check, NULL)), 0);
}

TEST(report__check_untrue_in_orphan__fails)
{
	pid_t child = fork();

	if (child == 0) {
		(void)run_in_child(fail_a_check, NULL);
		_exit(0);
	}
	usleep(200000);
}

TEST(report__requirement_in_plain_fork__fails_once)
{
	pid_t child = fork();

	if (child == 0)
		REQUIRE(1 > 3);
	CHECK_EQ(wait_child(child), 1);
}

TEST(report__killed_child_crashes__fails)
{
	CHECK(!run_killed_at("first", 1, do_crash, NULL));
}

TEST(report__many_failures__fails_with_few_lines)
{
	for (int i = 0; i < 100000; i++)
		CHECK_EQ(i, -1);
}

TEST(report__process_leaves_its_group__fails)
{
	pid_t child = fork();

	if (child == 0) {
		setpgid(0, 0);
		sleep(2);
		_exit(0);
	}
	usleep(100000);
}

/* ---------------------------------------------------------- what skips --- */

TEST(skip__reason__skips)
{
	SKIP("there is a reason");
}

TEST(skip__after_failure__fails)
{
	CHECK(2 > 3);
	SKIP("too late");
}

/* --------------------------------------------------------- what passes --- */

TEST(check__true__passes)
{
	char letter = 'a';
	bool yes = true;
	enum { RED = 1 } colour = RED;
	_Atomic uint32_t word = 7;

	CHECK(1 < 2);
	CHECK_EQ(-1, -1L);
	CHECK_NE(-1, 18446744073709551615u);
	CHECK_LT(-1, 0u);
	CHECK_GE(18446744073709551615u, INT64_MAX);
	CHECK_EQ(letter, 97);
	CHECK_EQ(yes, 1);
	CHECK_EQ(colour, RED);
	CHECK_EQ(word, 7);
	CHECK_STR("text", "text");
	CHECK_STR(NULL, NULL);
	CHECK_MEM("abc", "abd", 2);
	REQUIRE(true);
	REQUIRE_EQ(3, 3u);
}

TEST(child__ends__tells_how)
{
	CHECK_EQ(wait_child(run_in_child(do_nothing, NULL)), 0);
	pid_t child = run_in_child(do_sleep, NULL);
	CHECK_EQ(kill(child, SIGTERM), 0);
	CHECK_EQ(wait_child(child), -SIGTERM);
}

TEST(child__left_alone__is_killed_at_the_end)
{
	(void)run_in_child(do_sleep, NULL);
	kill(run_in_child(do_sleep, NULL), SIGSTOP);
}

TEST(killed_at__nth_point__is_killed_there)
{
	_Atomic unsigned *done = shared_alloc(sizeof *done);

	CHECK(run_killed_at("first", 2, pass_three_points, done));
	CHECK_EQ(*done, 2);
	CHECK(run_killed_at("second", 1, pass_three_points, done));
	CHECK_EQ(*done, 3);
	CHECK(!run_killed_at("second", 2, pass_three_points, done));
	CHECK_EQ(*done, 6);
}

TEST(killed_at__any_point__visits_each)
{
	_Atomic unsigned *done = shared_alloc(sizeof *done);
	unsigned n;

	for (n = 1; run_killed_at(NULL, n, pass_three_points, done); n++)
		;
	CHECK_EQ(n, 4);
	CHECK_EQ(*done, 0 + 1 + 2 + 3);
}

TEST(stopped_at__point__waits_and_goes_on)
{
	_Atomic unsigned *done = shared_alloc(sizeof *done);
	pid_t child = run_stopped_at("second", 1, pass_three_points, done);

	REQUIRE(child > 0);
	CHECK_EQ(*done, 1);
	continue_child(child);
	CHECK_EQ(wait_child(child), 0);
	CHECK_EQ(*done, 3);
	child = run_stopped_at("second", 1, pass_three_points, done);
	kill_child(child);
	CHECK_EQ(*done, 4);
	CHECK_EQ(run_stopped_at("none", 1, pass_three_points, done), 0);
}

TEST(record__points__are_listed_in_order)
{
	_Atomic unsigned *done = shared_alloc(sizeof *done);
	struct testpoint_list list;

	record_testpoints(pass_three_points, done, &list);
	REQUIRE_EQ(list.count, 3);
	CHECK_STR(list.names[0], "first");
	CHECK_STR(list.names[1], "second");
	CHECK_STR(list.names[2], "first");
	CHECK_EQ(testpoint_count(&list, "first"), 2);
	CHECK_EQ(*done, 3);
}

TEST(race__processes_and_threads__all_run)
{
	_Atomic unsigned *count = shared_alloc(sizeof *count);

	run_processes(4, count_up, count);
	CHECK_EQ(*count, 4);
	run_threads(4, count_up, count);
	CHECK_EQ(*count, 8);
}

/* Suites come in the order of the LAYERS file that run writes: low, high. */
TEST(high__order__is_second)
{
	CHECK(true);
}

TEST(low_race__order__is_first_but_one)
{
	CHECK(true);
}

TEST(low__order__is_first)
{
	CHECK(true);
}
