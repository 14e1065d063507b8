/* SPDX-License-Identifier: BSD-2-Clause */
/* get, put, delete: their outcomes, and arguments that make no sense. */
#include "store.h"

#include "inside.h"

#include <stdlib.h>

TEST(store__put__is_got)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "value");
	check_get(cache, "k", "value");
	put(cache, "k", "other");
	check_get(cache, "k", "other");
	cache_audit(cache);
	shmc_close(cache);
}

TEST(store__empty_key_and_value__are_legal)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t bytes = 7;

	check_miss(cache, "");
	CHECK_EQ(shmc_put(cache, NULL, 0, NULL, 0, 0), SHMC_OK);
	CHECK_EQ(shmc_get(cache, "", 0, NULL, 0, &bytes), SHMC_OK);
	CHECK_EQ(bytes, 0);
	CHECK_EQ(shmc_delete(cache, NULL, 0), SHMC_OK);
	check_miss(cache, "");
	cache_audit(cache);
	shmc_close(cache);
}

TEST(store__nul_in_key_and_value__is_a_byte)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char value[3] = "";
	size_t bytes;

	CHECK_EQ(shmc_put(cache, "a\0b", 3, "x\0y", 3, 0), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "a\0c", 3, "z", 1, 0), SHMC_OK);
	CHECK_EQ(shmc_get(cache, "a\0b", 3, value, 3, &bytes), SHMC_OK);
	CHECK_MEM(value, "x\0y", 3);
	check_miss(cache, "a");
	shmc_close(cache);
}

TEST(store__longest_key__is_stored_and_one_byte_more_is_refused)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *key = calloc(1, SHMC_KEY_MAX + 1), value[2] = "";
	size_t bytes;

	REQUIRE(key != NULL);
	CHECK_EQ(shmc_put(cache, key, SHMC_KEY_MAX, "v", 1, 0), SHMC_OK);
	CHECK_EQ(shmc_get(cache, key, SHMC_KEY_MAX, value, 1, &bytes), SHMC_OK);
	CHECK_STR(value, "v");
	CHECK_EQ(shmc_put(cache, key, SHMC_KEY_MAX + 1, "v", 1, 0),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_get(cache, key, SHMC_KEY_MAX + 1, value, 1, &bytes),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_delete(cache, key, SIZE_MAX), SHMC_TOO_LARGE);
	free(key);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(store__value_too_large__is_refused_and_the_old_one_stays)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *value = calloc(1, (256u << 10) + 1);

	REQUIRE(value != NULL);
	put(cache, "k", "old");
	CHECK_EQ(shmc_put(cache, "k", 1, value, (256u << 10) + 1, 0),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_put(cache, "k", 1, value, SIZE_MAX, 0), SHMC_TOO_LARGE);
	check_get(cache, "k", "old");
	free(value);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(store__buffer_too_small__size_is_told_and_nothing_copied)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char buffer[6] = ".....";
	size_t bytes = 0;

	put(cache, "k", "value");
	CHECK_EQ(shmc_get(cache, "k", 1, buffer, 4, &bytes), SHMC_TRUNCATED);
	CHECK_EQ(bytes, 5);
	CHECK_STR(buffer, ".....");
	CHECK_EQ(shmc_get(cache, "k", 1, NULL, 0, &bytes), SHMC_TRUNCATED);
	shmc_close(cache);
}

TEST(store__null_where_bytes_are_promised__is_invalid)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_stats before = cache_stats(cache), after;
	size_t bytes;
	char c;

	CHECK_EQ(shmc_put(cache, NULL, 1, "v", 1, 0), SHMC_INVALID);
	CHECK_EQ(shmc_put(cache, "k", 1, NULL, 1, 0), SHMC_INVALID);
	CHECK_EQ(shmc_get(cache, NULL, 1, &c, 1, &bytes), SHMC_INVALID);
	CHECK_EQ(shmc_get(cache, "k", 1, NULL, 1, &bytes), SHMC_INVALID);
	CHECK_EQ(shmc_get(cache, "k", 1, &c, 1, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_view(cache, "k", 1, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_delete(cache, NULL, 1), SHMC_INVALID);
	CHECK_EQ(shmc_invalidate(cache, NULL, 1), SHMC_INVALID);
	after = cache_stats(cache);
	CHECK_MEM(&after, &before, sizeof before);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(store__no_cache__is_invalid)
{
	struct shmc_view view;
	struct shmc_lead lead;
	size_t bytes;
	char c;

	CHECK_EQ(shmc_put(NULL, "k", 1, "v", 1, 0), SHMC_INVALID);
	CHECK_EQ(shmc_get(NULL, "k", 1, &c, 1, &bytes), SHMC_INVALID);
	CHECK_EQ(shmc_view(NULL, "k", 1, &view), SHMC_INVALID);
	CHECK_EQ(shmc_delete(NULL, "k", 1), SHMC_INVALID);
	CHECK_EQ(shmc_begin(NULL, "k", 1, NULL, &view, &lead), SHMC_INVALID);
	CHECK_EQ(shmc_reap(NULL), 0);
	CHECK_EQ(shmc_audit(NULL, NULL, NULL), 0);
	CHECK_EQ(shmc_fd(NULL), -1);
	shmc_close(NULL);
}

TEST(store__deleted__is_a_miss)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "v");
	CHECK_EQ(shmc_delete(cache, "k", 1), SHMC_OK);
	check_miss(cache, "k");
	CHECK_EQ(shmc_delete(cache, "k", 1), SHMC_MISS);
	shmc_close(cache);
}

TEST(store__invalidated__is_ok_whether_it_was_there_or_not)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "v");
	CHECK_EQ(shmc_invalidate(cache, "k", 1), SHMC_OK);
	check_miss(cache, "k");
	CHECK_EQ(shmc_invalidate(cache, "k", 1), SHMC_OK);
	shmc_close(cache);
}

TEST(store__ttl__passes)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	enum shmc_status status;
	size_t bytes;
	char c;

	CHECK_EQ(shmc_put(cache, "k", 1, "v", 1, 1), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "l", 1, "v", 1, 3600 * 1000), SHMC_OK);
	while ((status = shmc_get(cache, "k", 1, &c, 1, &bytes)) == SHMC_OK)
		sleep_ms(1); /* times out if it never passes */
	CHECK_EQ(status, SHMC_MISS);
	check_get(cache, "l", "v");
	shmc_close(cache);
}

TEST(store__longest_ttl__does_not_wrap)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK_EQ(shmc_put(cache, "k", 1, "v", 1, UINT64_MAX), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "l", 1, "v", 1, 1ull << 40), SHMC_OK);
	check_get(cache, "k", "v");
	check_get(cache, "l", "v");
	shmc_close(cache);
}

/* Larger than one section copies: through a view. */
TEST(store__large_value__is_got_as_a_copy)
{
	struct shmc *cache = cache_new(4u << 20, 4);
	size_t all = 1u << 20, bytes;
	char *value = malloc(all);

	REQUIRE(value != NULL);
	value_fill(value, all, 1, 4);
	CHECK_EQ(shmc_put(cache, "k", 1, value, all, 0), SHMC_OK);
	memset(value, 0, all);
	CHECK_EQ(shmc_get(cache, "k", 1, value, all - 1, &bytes),
	    SHMC_TRUNCATED);
	CHECK_EQ(bytes, all);
	CHECK_EQ(shmc_get(cache, "k", 1, value, all, &bytes), SHMC_OK);
	CHECK_EQ(value_check(value, bytes, 1), 4);
	CHECK_EQ(member_of(cache)->views, 0);
	free(value);
	shmc_close(cache);
}

static void
load_never(struct shmc_lead *lead, void *arg)
{
	(void)lead;
	(void)arg;
	FAIL("the loader was called");
}

TEST(fetch__null_arguments__are_invalid)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view view;
	struct shmc_lead lead;

	CHECK_EQ(shmc_fetch(cache, "k", 1, NULL, NULL, NULL, &view),
	    SHMC_INVALID);
	CHECK_EQ(shmc_fetch(cache, "k", 1, NULL, load_never, NULL, NULL),
	    SHMC_INVALID);
	CHECK_EQ(shmc_fetch(cache, NULL, 1, NULL, load_never, NULL, &view),
	    SHMC_INVALID);
	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, NULL, &lead), SHMC_INVALID);
	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, NULL), SHMC_INVALID);
	shmc_lead_abandon(NULL);
	CHECK_EQ(shmc_lead_waiters(NULL), 0);
	CHECK_EQ(shmc_lead_commit(NULL, 0, NULL), SHMC_FENCED);
	CHECK_EQ(cache_stats(cache).computations, 0);
	shmc_close(cache);
}

TEST(fetch__absurd_wait__is_invalid)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;

	wait.lease_ms = UINT64_MAX;
	CHECK_EQ(shmc_fetch(cache, "k", 1, &wait, load_never, NULL, &view),
	    SHMC_INVALID);
	wait.lease_ms = 0;
	wait.struct_bytes = 0;
	CHECK_EQ(shmc_fetch(cache, "k", 1, &wait, load_never, NULL, &view),
	    SHMC_INVALID);
	wait.struct_bytes = SIZE_MAX;
	CHECK_EQ(shmc_fetch(cache, "k", 1, &wait, load_never, NULL, &view),
	    SHMC_INVALID);
	shmc_close(cache);
}

TEST(fetch__oversize_key__is_refused)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *key = calloc(1, SHMC_KEY_MAX + 1);
	struct shmc_view view;

	REQUIRE(key != NULL);
	CHECK_EQ(shmc_fetch(cache, key, SHMC_KEY_MAX + 1, NULL, load_never,
	    NULL, &view), SHMC_TOO_LARGE);
	free(key);
	shmc_close(cache);
}

TEST(fetch__leader_gives_null_for_bytes__lead_goes_on)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view view;
	struct shmc_lead lead;

	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(shmc_lead_append(&lead, NULL, 1), SHMC_INVALID);
	CHECK_EQ(shmc_lead_value(&lead, NULL, 1, 0, NULL), SHMC_INVALID);
	CHECK_EQ(shmc_lead_extend(&lead, UINT64_MAX), SHMC_INVALID);
	CHECK_EQ(shmc_lead_value(&lead, "v", 1, 0, NULL), SHMC_OK);
	check_get(cache, "k", "v");
	cache_audit(cache);
	shmc_close(cache);
}

TEST(fetch__value_too_large__is_refused_and_the_flight_is_free)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char *value = calloc(1, (256u << 10) + 1);
	struct shmc_view view;
	struct shmc_lead lead;

	REQUIRE(value != NULL);
	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(shmc_lead_value(&lead, value, (256u << 10) + 1, 0, NULL),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(shmc_lead_append(&lead, value, 256u << 10), SHMC_OK);
	CHECK_EQ(shmc_lead_append(&lead, value, 1), SHMC_TOO_LARGE);
	CHECK_EQ(shmc_lead_commit(&lead, 0, NULL), SHMC_TOO_LARGE);
	check_miss(cache, "k");
	free(value);
	cache_audit(cache);
	shmc_close(cache);
}
