/* SPDX-License-Identifier: BSD-2-Clause */
/* A thread's membership: one slot per thread and cache, none inherited. */
#include "participant.h"

#include "inside.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Slots that somebody holds or held when it died. */
static unsigned
slots_taken(const struct shmc *cache)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < cache->seg.geo.participant_count; i++)
		n += cache->seg.participants[i].life.futex != 0;
	return n;
}

static void
in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL, fn, arg), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
}

TEST(participant__opened_only__has_no_slot)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK(members_current(&cache->members) == NULL);
	CHECK_EQ(slots_taken(cache), 0);
	shmc_close(cache);
}

TEST(participant__first_call__takes_a_slot_and_keeps_it)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct member *me = member_of(cache);

	CHECK(members_current(&cache->members) == me);
	CHECK(cache_member(cache) == me);
	CHECK_EQ(slots_taken(cache), 1);
	shmc_close(cache);
}

TEST(participant__attached__its_slot_says_who)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct member *me = member_of(cache);

	CHECK_EQ(me->slot->pid, getpid());
	CHECK_EQ(me->slot->tid, gettid());
	CHECK(me->slot == &cache->seg.participants[me->index]);
	CHECK_EQ(me->slot->incarnation, me->incarnation);
	shmc_close(cache);
}

/* As many switches as slots: each used to take one more. */
TEST(participant__two_caches_in_turn__one_slot_in_each)
{
	struct shmc *a = cache_new(1u << 20, 4), *b = cache_new(1u << 20, 4);
	struct member *in_a = member_of(a), *in_b = member_of(b);

	for (unsigned i = 0; i < 10; i++) {
		CHECK(cache_member(a) == in_a);
		CHECK(cache_member(b) == in_b);
	}
	CHECK_EQ(slots_taken(a), 1);
	CHECK_EQ(slots_taken(b), 1);
	shmc_close(a);
	shmc_close(b);
}

TEST(participant__other_cache_used_meanwhile__view_is_still_ours)
{
	struct shmc *a = cache_new(1u << 20, 4), *b = cache_new(1u << 20, 4);
	struct shmc_view view;
	char text[3] = "";

	put(a, "k", "ab");
	CHECK_EQ(shmc_view(a, "k", 1, &view), SHMC_OK);
	put(b, "k", "cd");
	CHECK_EQ(shmc_view_copy(&view, text, 2), 2);
	CHECK_STR(text, "ab");
	shmc_view_release(&view);
	CHECK_EQ(member_of(a)->views, 0);
	shmc_close(a);
	shmc_close(b);
}

static void *
index_of_thread(void *arg)
{
	struct shmc *cache = arg;

	return (void *)(uintptr_t)(1 + member_of(cache)->index);
}

TEST(participant__two_threads__have_two_slots)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	uint32_t mine = member_of(cache)->index;
	pthread_t thread;
	void *other;

	REQUIRE_EQ(pthread_create(&thread, NULL, index_of_thread, cache), 0);
	REQUIRE_EQ(pthread_join(thread, &other), 0);
	CHECK_NE((uintptr_t)other, 1 + mine);
	shmc_close(cache);
}

/* What a parent has, and its child has not. */
struct claim {
	struct shmc *cache;
	struct member *member;
	uint64_t family;
	uint32_t index;
};

static void
take_own_slot(void *arg)
{
	struct claim *parents = arg;
	struct shmc *cache = parents->cache;

	CHECK(members_current(&cache->members) == NULL);
	CHECK_NE(member_of(cache)->index, parents->index);
	CHECK_EQ(member_of(cache)->slot->pid, getpid());
}

TEST(participant__child__takes_a_slot_of_its_own)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct member *me = member_of(cache);
	struct claim claim = { .cache = cache, .index = me->index };

	CHECK_EQ(wait_child(run_in_child(take_own_slot, &claim)), 0);
	CHECK(life_alive(me->slot, me->incarnation));
	shmc_close(cache);
}

static void
claim_is_void(void *arg)
{
	struct claim *c = arg;

	CHECK(!member_is_ours(&c->cache->members, c->member, c->family));
	(void)member_of(c->cache);
	CHECK(!member_is_ours(&c->cache->members, c->member, c->family));
}

TEST(participant__child__does_not_own_its_parents_member)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct member *me = member_of(cache);
	struct claim claim = { .cache = cache, .member = me,
		.family = atomic_load(&me->family) };

	CHECK(member_is_ours(&cache->members, me, claim.family));
	CHECK_EQ(wait_child(run_in_child(claim_is_void, &claim)), 0);
	CHECK(member_is_ours(&cache->members, me, claim.family));
	shmc_close(cache);
}

/* One slot is ours; the second is taken by whoever comes first. */
static void *
find_no_slot(void *arg)
{
	size_t bytes;

	CHECK(cache_member(arg) == NULL);
	CHECK_EQ(shmc_get(arg, "k", 1, NULL, 0, &bytes), SHMC_BUSY);
	return NULL;
}

static void *
fill_second_slot(void *arg)
{
	(void)member_of(arg);
	in_thread(find_no_slot, arg);
	return NULL;
}

TEST(participant__every_slot_held__next_thread_is_refused)
{
	struct shmc *cache = cache_new(1u << 20, 2);

	(void)member_of(cache);
	in_thread(fill_second_slot, cache);
	shmc_close(cache);
}

TEST(participant__detached_thread__slot_is_free)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	(void)member_of(cache);
	CHECK_EQ(shmc_detach_thread(cache), 0);
	CHECK_EQ(slots_taken(cache), 0);
	CHECK(members_current(&cache->members) == NULL);
	CHECK(member_of(cache) != NULL);
	shmc_close(cache);
}

TEST(participant__threads_end_one_after_the_other__slots_are_reused)
{
	struct shmc *cache = cache_new(1u << 20, 2);

	(void)member_of(cache);
	for (unsigned i = 0; i < 20; i++)
		in_thread(index_of_thread, cache);
	CHECK_LE(slots_taken(cache), 2);
	shmc_close(cache);
}

static unsigned allocations, releases;

static void *
count_allocate(size_t bytes, void *arg)
{
	CHECK(arg == &allocations);
	allocations++;
	return malloc(bytes);
}

static void
count_release(void *memory, void *arg)
{
	CHECK(arg == &allocations);
	releases++;
	free(memory);
}

TEST(participant__threads_end_one_after_the_other__members_are_reused)
{
	struct shmc_options options = cache_options(1u << 20, 4);
	struct shmc *cache;

	options.allocate = count_allocate;
	options.release = count_release;
	options.heap_arg = &allocations;
	cache = cache_open(&options);
	for (unsigned i = 0; i < 20; i++)
		in_thread(index_of_thread, cache);
	CHECK_EQ(allocations, 2); /* the handle, one member */
	shmc_close(cache);
	CHECK_EQ(releases, allocations);
}
