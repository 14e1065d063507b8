/* SPDX-License-Identifier: BSD-2-Clause */
/* Test points: every test of kills stands on them. */
#include "testpoint.h"

#include "proc.h"

static void
pass_two(void *arg)
{
	(void)arg;
	TESTPOINT("one");
	TESTPOINT("two");
}

TEST(testpoint__no_hook__does_nothing)
{
	CHECK(shmc_testpoint_hook == NULL);
	pass_two(NULL);
}

TEST(testpoint__hook__gets_each_name_in_order)
{
	struct testpoint_list list;

	record_testpoints(pass_two, NULL, &list);
	REQUIRE_EQ(list.count, 2);
	CHECK_STR(list.names[0], "one");
	CHECK_STR(list.names[1], "two");
}

TEST(testpoint__branch_without_braces__takes_only_its_own)
{
	bool taken = false;

	if (taken)
		TESTPOINT("never");
	else
		taken = true;
	CHECK(taken);
}
