/* SPDX-License-Identifier: BSD-2-Clause */
/* R3 and R4: what is shared and not stored, wherever its leader is killed. */
#include "fixture.h"

#include <stdatomic.h>

/* What shall not be stored; each of these once was, and for ever. */
enum ending {
	END_SHARE,
	END_ERROR,
	END_ABSENT,
	END_PASS,
	ENDINGS,
};

struct scene {
	struct shmc *cache;
	enum ending ending;
	_Atomic unsigned loads;
	_Atomic bool release;
};

static void
load(struct shmc_lead *lead, void *arg)
{
	struct scene *s = arg;
	enum shmc_status status = SHMC_INVALID;

	atomic_fetch_add(&s->loads, 1);
	CHECK_EQ(shmc_lead_append(lead, "now", 3), SHMC_OK);
	switch (s->ending) {
	case END_SHARE:
		status = shmc_lead_share(lead, NULL);
		break;
	case END_ERROR:
		status = shmc_lead_error(lead, 503, "no", 0);
		break;
	case END_ABSENT:
		status = shmc_lead_absent(lead, 0);
		break;
	case END_PASS:
		status = shmc_lead_pass(lead, 1, 0, NULL);
		break;
	case ENDINGS:
		break;
	}
	CHECK_EQ(status, SHMC_OK);
}

static void
fetch(void *arg)
{
	struct scene *s = arg;
	struct shmc_view view;

	(void)!shmc_fetch(s->cache, "k", 1, NULL, load, s, &view);
	shmc_view_release(&view);
}

/* Who comes after the kill and the repair finds nothing, and computes. */
static void
nothing_is_left(struct scene *s)
{
	unsigned loads = atomic_load(&s->loads);

	(void)shmc_reap(s->cache);
	check_miss(s->cache, "k");
	fetch(s);
	CHECK_EQ(atomic_load(&s->loads), loads + 1);
	CHECK_EQ(cache_stats(s->cache).passes, 0);
	cache_audit(s->cache);
}

static void
kill_everywhere(enum ending ending)
{
	struct scene *s = shared_alloc(sizeof *s);
	unsigned n;

	s->ending = ending;
	for (n = 1;; n++) {
		bool killed;

		s->cache = cache_new(1u << 20, 4);
		killed = run_killed_at(NULL, n, fetch, s);
		nothing_is_left(s);
		shmc_close(s->cache);
		if (!killed)
			break;
	}
	CHECK_GT(n, 10);
}

TEST(contract__r04__shared_only_and_killed_anywhere__is_not_stored)
{
	kill_everywhere(END_SHARE);
}

TEST(contract__r04__error_of_the_moment_and_killed_anywhere__is_forgotten)
{
	kill_everywhere(END_ERROR);
}

TEST(contract__r04__absence_of_the_moment_and_killed_anywhere__is_forgotten)
{
	kill_everywhere(END_ABSENT);
}

TEST(contract__r04__pass_of_the_moment_and_killed_anywhere__is_forgotten)
{
	kill_everywhere(END_PASS);
}

static void
load_and_store(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	CHECK_EQ(shmc_lead_value(lead, "kept", 4, 0, NULL), SHMC_OK);
}

TEST(contract__r03__who_made_and_stored_it_is_not_told_otherwise)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view view;

	for (unsigned i = 0; i < 2; i++) { /* made, then found */
		REQUIRE_EQ(shmc_fetch(cache, "k", 1, NULL, load_and_store, NULL,
		    &view), SHMC_OK);
		CHECK_EQ(view.flags, 0);
		shmc_view_release(&view);
	}
}

static void
await_a_waiter(struct shmc_lead *lead, void *arg)
{
	while (shmc_lead_waiters(lead) == 0)
		sleep_ms(1);
	load(lead, arg);
}

static void
fetch_unstored(struct scene *s, shmc_loader *loader)
{
	struct shmc_view view;

	REQUIRE_EQ(shmc_fetch(s->cache, "k", 1, NULL, loader, s, &view),
	    SHMC_OK);
	CHECK_MEM(view.data, "now", 3);
	CHECK_EQ(view.flags, SHMC_UNSTORED);
	shmc_view_release(&view);
}

static void
lead_unstored(void *arg)
{
	fetch_unstored(arg, await_a_waiter);
}

/* Waiters have to know, too: they send it on, with or without an Expires. */
TEST(contract__r03__waiters_are_told_that_it_is_not_stored)
{
	struct scene *s = shared_alloc(sizeof *s);
	pid_t leader;

	s->cache = cache_new(1u << 20, 4);
	leader = run_in_child(lead_unstored, s);
	while (cache_stats(s->cache).computations == 0)
		sleep_ms(1);
	fetch_unstored(s, load);
	CHECK_EQ(wait_child(leader), 0);
	CHECK_EQ(atomic_load(&s->loads), 1);
}
