/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures: single writers, summed by the reader, outliving their owners. */
#include "counters.h"
#include "inside.h"

#include <signal.h>
#include <unistd.h>

TEST(counters__counted__only_its_own_grows)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct participant *slot = &cache->seg.participants[2];

	count(slot, COUNT_SHARED);
	count_more(slot, COUNT_SHARED, 4);
	for (unsigned i = 0; i < COUNTERS; i++)
		CHECK_EQ(slot->counters[i], i == COUNT_SHARED ? 5 : 0);
	shmc_close(cache);
}

/* The order of enum counter is the order of struct shmc_stats. */
TEST(stats__each_counter__stands_in_its_field)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct participant *slot = &cache->seg.participants[1];
	struct shmc_stats stats;

	for (unsigned i = 0; i < COUNT_COUNTED; i++)
		slot->counters[i] = 100 + i;
	stats = cache_stats(cache);
	CHECK_EQ(stats.hits, 100 + COUNT_HITS);
	CHECK_EQ(stats.misses, 100 + COUNT_MISSES);
	CHECK_EQ(stats.puts, 100 + COUNT_PUTS);
	CHECK_EQ(stats.deletes, 100 + COUNT_DELETES);
	CHECK_EQ(stats.computations, 100 + COUNT_COMPUTATIONS);
	CHECK_EQ(stats.commits, 100 + COUNT_COMMITS);
	CHECK_EQ(stats.shared, 100 + COUNT_SHARED);
	CHECK_EQ(stats.promotions, 100 + COUNT_PROMOTIONS);
	CHECK_EQ(stats.abandons, 100 + COUNT_ABANDONS);
	CHECK_EQ(stats.fenced, 100 + COUNT_FENCED);
	CHECK_EQ(stats.superseded, 100 + COUNT_SUPERSEDED);
	CHECK_EQ(stats.timeouts, 100 + COUNT_TIMEOUTS);
	CHECK_EQ(stats.deadlocks, 100 + COUNT_DEADLOCKS);
	CHECK_EQ(stats.waits, 100 + COUNT_WAITS);
	CHECK_EQ(stats.evicted_entries, 100 + COUNT_EVICTED_ENTRIES);
	CHECK_EQ(stats.evicted_blocks, 100 + COUNT_EVICTED_BLOCKS);
	CHECK_EQ(stats.displaced, 100 + COUNT_DISPLACED);
	CHECK_EQ(stats.refused, 100 + COUNT_REFUSED);
	CHECK_EQ(stats.revoked, 100 + COUNT_REVOKED);
	CHECK_EQ(stats.retries, 100 + COUNT_RETRIES);
	CHECK_EQ(stats.reaped, 100 + COUNT_REAPED);
	shmc_close(cache);
}

TEST(stats__first_and_last_slot__are_summed)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	cache->seg.participants[0].counters[COUNT_PUTS] = 3;
	cache->seg.participants[3].counters[COUNT_PUTS] = 4;
	CHECK_EQ(cache_stats(cache).puts, 7);
	shmc_close(cache);
}

TEST(stats__doubt__is_counted)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	segment_doubt(&cache->seg);
	CHECK_EQ(cache_stats(cache).doubtful, 1);
	shmc_close(cache);
}

TEST(stats__get_and_view__count_hits_and_misses)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view view;

	check_miss(cache, "k");
	CHECK_EQ(shmc_view(cache, "k", 1, &view), SHMC_MISS);
	put(cache, "k", "v");
	check_get(cache, "k", "v");
	CHECK_EQ(shmc_view(cache, "k", 1, &view), SHMC_OK);
	shmc_view_release(&view);
	CHECK_EQ(cache_stats(cache).misses, 2);
	CHECK_EQ(cache_stats(cache).hits, 2);
	shmc_close(cache);
}

TEST(stats__delete__counts_what_was_there)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "v");
	CHECK_EQ(shmc_delete(cache, "k", 1), SHMC_OK);
	CHECK_EQ(shmc_delete(cache, "k", 1), SHMC_MISS);
	CHECK_EQ(cache_stats(cache).deletes, 1);
	shmc_close(cache);
}

static void
put_five_and_die(void *arg)
{
	for (unsigned i = 0; i < 5; i++)
		put(arg, "k", "v");
	kill(getpid(), SIGKILL);
}

TEST(stats__participant_killed__its_figures_stay)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	CHECK_EQ(wait_child(run_in_child(put_five_and_die, cache)), -SIGKILL);
	CHECK_EQ(cache_stats(cache).puts, 5);
	put(cache, "k", "v"); /* in the slot of the dead */
	CHECK_EQ(cache_stats(cache).puts, 6);
	CHECK_EQ(cache_stats(cache).reaped, 1);
	shmc_close(cache);
}

TEST(stats__caller_with_shorter_struct__nothing_beyond_is_written)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	uint64_t two[2] = { 0, 77 };

	check_miss(cache, "k");
	put(cache, "k", "v");
	check_get(cache, "k", "v");
	shmc_stats(cache, (struct shmc_stats *)(void *)two, 8);
	CHECK_EQ(two[0], 1); /* hits */
	CHECK_EQ(two[1], 77);
	shmc_close(cache);
}

TEST(stats__caller_with_longer_struct__rest_is_zero)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct {
		struct shmc_stats stats;
		uint64_t future;
	} longer = { .future = 77 };

	shmc_stats(cache, &longer.stats, sizeof longer);
	CHECK_EQ(longer.future, 0);
	shmc_close(cache);
}

TEST(stats__no_cache__all_zero)
{
	struct shmc_stats stats, zero = { 0 };

	memset(&stats, 1, sizeof stats);
	shmc_stats(NULL, &stats, sizeof stats);
	CHECK_MEM(&stats, &zero, sizeof zero);
}

TEST(stats__info__tells_the_shape)
{
	struct shmc *cache = cache_new(2u << 20, 5);
	const struct geometry *g = &cache->seg.geo;
	struct shmc_info info;

	shmc_info(cache, &info, sizeof info);
	CHECK_EQ(info.size_bytes, 2u << 20);
	CHECK_EQ(info.participants, 5);
	CHECK_EQ(info.block_bytes, 1ull << g->block_shift);
	CHECK_EQ(info.block_count, g->block_count);
	CHECK_EQ(info.data_bytes, info.block_bytes * info.block_count);
	CHECK_EQ(info.index_slots, g->index_pairs * 16);
	CHECK_EQ(info.value_max_bytes, 512u << 10);
	CHECK_EQ(info.flights, g->flight_count);
	CHECK_EQ(info.fences, cache->seg.fences);
	shmc_close(cache);
}

TEST(stats__info_of_no_cache__all_zero)
{
	struct shmc_info info, zero = { 0 };

	memset(&info, 1, sizeof info);
	shmc_info(NULL, &info, sizeof info);
	CHECK_MEM(&info, &zero, sizeof zero);
}
