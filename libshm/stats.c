/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures: sums over all slots, and the segment's shape. */
#include "cache.h"
#include "counters.h"

#include <string.h>

static_assert(sizeof(struct shmc_stats) ==
    (COUNT_COUNTED + 1) * sizeof(uint64_t), "a field for each counter");

static uint64_t
sum(const struct segment *seg, unsigned which)
{
	uint64_t total = 0;

	/* Relaxed: single writers, figures. */
	for (uint32_t i = 0; i < seg->geo.participant_count; i++)
		total += load_relaxed(&seg->participants[i].counters[which]);
	return total;
}

void
shmc_stats(struct shmc *cache, struct shmc_stats *stats, size_t stats_bytes)
{
	uint64_t all[COUNT_COUNTED + 1];

	if (stats == NULL)
		return;
	memset(stats, 0, stats_bytes);
	if (cache == NULL)
		return;
	for (unsigned i = 0; i < COUNT_COUNTED; i++)
		all[i] = sum(&cache->seg, i);
	all[COUNT_COUNTED] = load_relaxed(&cache->seg.header->doubtful);
	memcpy(stats, all, min_u64(stats_bytes, sizeof all));
}

void
shmc_info(const struct shmc *cache, struct shmc_info *info,
    size_t info_bytes)
{
	const struct geometry *g;
	struct shmc_info all;

	if (info == NULL)
		return;
	memset(info, 0, info_bytes);
	if (cache == NULL)
		return;
	g = &cache->seg.geo;
	memset(&all, 0, sizeof all);
	all.size_bytes = g->size_bytes;
	all.data_bytes = cache->seg.data_bytes;
	all.block_bytes = 1ull << g->block_shift;
	all.block_count = g->block_count;
	all.index_slots = g->index_pairs * PAIR_WORDS;
	all.value_max_bytes = g->value_max_bytes;
	all.participants = g->participant_count;
	all.flights = g->flight_count;
	all.fences = cache->seg.fences;
	memcpy(info, &all, min_u64(info_bytes, sizeof all));
}
