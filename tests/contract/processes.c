/* SPDX-License-Identifier: BSD-2-Clause */
/* R21 to R33, as far as the store and the process rules go. */
#include "fixture.h"

#include "cache.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(contract__r21__empty_keys_and_values_are_legal)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char buffer[4];
	size_t n = 9;

	check_miss(cache, "");
	CHECK_EQ(shmc_put(cache, "", 0, "", 0, 0), SHMC_OK);
	CHECK_EQ(shmc_get(cache, NULL, 0, buffer, sizeof buffer, &n), SHMC_OK);
	CHECK_EQ(n, 0);
	CHECK_EQ(shmc_put(cache, "", 0, "x", 1, 0), SHMC_OK);
	check_get(cache, "", "x");
}

TEST(contract__r21__nul_is_a_byte)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	char buffer[8];
	size_t n;

	CHECK_EQ(shmc_put(cache, "a\0b", 3, "1\0002", 3, 0), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "a\0c", 3, "other", 5, 0), SHMC_OK);
	REQUIRE_EQ(shmc_get(cache, "a\0b", 3, buffer, sizeof buffer, &n),
	    SHMC_OK);
	CHECK_EQ(n, 3);
	CHECK_MEM(buffer, "1\0002", 3);
}

static void
check_size(struct shmc *cache, size_t key_bytes, size_t value_bytes)
{
	char *key = malloc(key_bytes + 1);
	unsigned char *value = malloc(value_bytes + 8);
	unsigned char *back = malloc(value_bytes + 8);
	size_t n = 0;

	memset(key, 'k', key_bytes);
	if (key_bytes > 0)
		key[key_bytes - 1] = (char)value_bytes;
	value_fill(value, value_bytes + 8, key_bytes, value_bytes);
	REQUIRE_EQ(shmc_put(cache, key, key_bytes, value, value_bytes, 0),
	    SHMC_OK);
	REQUIRE_EQ(shmc_get(cache, key, key_bytes, back, value_bytes, &n),
	    SHMC_OK);
	CHECK_EQ(n, value_bytes);
	CHECK_EQ(memcmp(value, back, value_bytes), 0);
	if (value_bytes > 0)
		CHECK_EQ(shmc_get(cache, key, key_bytes, back, value_bytes - 1,
		    &n), SHMC_TRUNCATED);
	free(key);
	free(value);
	free(back);
}

TEST(contract__r22__every_size_comes_back_as_it_was)
{
	struct shmc *cache = cache_new(8u << 20, 8);
	size_t block = 1u << cache->seg.geo.block_shift;
	size_t keys[] = { 0, 1, 7, 250, block / 4, block / 4 + 1, block - 40,
		block, 20000, SHMC_KEY_MAX };
	size_t values[] = { 0, 1, 8, block - 17, block - 16, block - 15, block,
		2 * block - 1, 2 * block, 100000, 2u << 20 };

	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
		for (size_t v = 0; v < sizeof values / sizeof *values; v++)
			check_size(cache, keys[k], values[v]);
	cache_audit(cache);
}

TEST(contract__r22__beyond_the_limits_is_an_error)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t n, limit = cache->seg.geo.value_max_bytes;
	char *big = calloc(1, limit + 1);

	CHECK_EQ(shmc_put(cache, big, SHMC_KEY_MAX + 1, "v", 1, 0),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_get(cache, big, SHMC_KEY_MAX + 1, NULL, 0, &n),
	    SHMC_TOO_LARGE);
	CHECK_EQ(shmc_put(cache, "k", 1, big, limit, 0), SHMC_OK);
	CHECK_EQ(shmc_put(cache, "k", 1, big, limit + 1, 0), SHMC_TOO_LARGE);
	CHECK_EQ(shmc_get(cache, "k", 1, big, limit, &n), SHMC_OK);
	CHECK_EQ(n, limit); /* the old value stays: R23 */
	free(big);
}

/* Pins block after block until hardly any memory is left. */
static unsigned
pin_everything(struct shmc *cache, struct shmc_view *views, unsigned count)
{
	size_t block = 1u << cache->seg.geo.block_shift;
	char *value = calloc(1, block - 100);
	char key[32];
	unsigned n = 0;

	while (n < count) {
		if (shmc_put(cache, key, key_of(key, n), value, block - 100,
			0) != SHMC_OK)
			break;
		if (shmc_view(cache, key, key_of(key, n), &views[n]) != SHMC_OK)
			break;
		n++;
	}
	free(value);
	return n;
}

TEST(contract__r23__failed_put_loses_nothing)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	size_t limit = cache->seg.geo.value_max_bytes, n;
	struct shmc_view views[3];
	char *big = calloc(1, limit), *back = calloc(1, limit);
	char key[32];
	unsigned pinned = 0;

	/* Three of four quarters pinned: a fourth finds no room. */
	for (; pinned < 3; pinned++) {
		memset(big, (int)pinned, limit);
		if (shmc_put(cache, key, key_of(key, pinned), big, limit, 0) !=
		    SHMC_OK)
			break;
		REQUIRE_EQ(shmc_view(cache, key, key_of(key, pinned),
		    &views[pinned]), SHMC_OK);
	}
	put(cache, "small", "stays");
	memset(big, 9, limit);
	CHECK_EQ(shmc_put(cache, key, key_of(key, 0), big, limit, 0),
	    SHMC_NO_MEMORY);
	check_get(cache, "small", "stays");
	REQUIRE_EQ(shmc_get(cache, key, key_of(key, 0), back, limit, &n),
	    SHMC_OK);
	CHECK_EQ(back[limit - 1], 0);
	CHECK_EQ(cache_stats(cache).evicted_entries, 0);
	CHECK_EQ(cache_stats(cache).refused, 1);
	while (pinned > 0)
		shmc_view_release(&views[--pinned]);
	CHECK_EQ(shmc_put(cache, key, key_of(key, 0), big, limit, 0), SHMC_OK);
	free(big);
	free(back);
}

struct torn {
	struct shmc *cache;
	size_t bytes;
	_Atomic bool stop;
};

static void
write_or_read(unsigned index, void *arg)
{
	struct torn *torn = arg;
	unsigned char *value = malloc(torn->bytes);
	unsigned rounds = test_rounds(3000);
	size_t n;

	for (unsigned i = 0; i < rounds; i++) {
		enum shmc_status status;

		if (index % 2 == 0) {
			value_fill(value, torn->bytes, 1, i * 10 + index);
			CHECK_EQ(shmc_put(torn->cache, "k", 1, value,
			    torn->bytes, 0), SHMC_OK);
			continue;
		}
		status = shmc_get(torn->cache, "k", 1, value, torn->bytes, &n);
		CHECK(status == SHMC_OK || status == SHMC_MISS);
		if (status == SHMC_OK)
			CHECK_NE(value_check(value, n, 1), UINT64_MAX);
	}
	free(value);
}

TEST(contract__r24__readers_see_whole_values)
{
	struct torn torn = { cache_new(1u << 20, 8), 500, false };

	run_processes(6, write_or_read, &torn);
	cache_audit(torn.cache);
}

TEST(contract__r24__readers_see_whole_large_values)
{
	struct torn torn = { cache_new(2u << 20, 8), 30000, false };

	run_processes(6, write_or_read, &torn);
	cache_audit(torn.cache);
}

TEST(contract__r25__no_refusal_while_memory_can_be_evicted)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_view views[SHMC_VIEWS_MAX];
	unsigned pinned = pin_everything(cache, views, SHMC_VIEWS_MAX);
	static char value[10000];
	char key[32];

	CHECK_EQ(pinned, SHMC_VIEWS_MAX);
	for (unsigned i = 0; i < 5000; i++)
		REQUIRE_EQ(shmc_put(cache, key, key_of(key, i), value,
		    i % sizeof value, 0), SHMC_OK);
	while (pinned > 0)
		shmc_view_release(&views[--pinned]);
	CHECK_EQ(cache_stats(cache).refused, 0);
	cache_audit(cache);
}

static void
count_and_die(void *arg)
{
	struct shmc *cache = arg;

	put(cache, "k", "v");
	check_get(cache, "k", "v");
	check_miss(cache, "none");
	kill(getpid(), SIGKILL);
}

TEST(contract__r26__counters_survive_their_participant)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	struct shmc_stats stats;

	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(wait_child(run_in_child(count_and_die, cache)),
		    -SIGKILL);
	stats = cache_stats(cache);
	CHECK_EQ(stats.puts, 10);
	CHECK_EQ(stats.hits, 10);
	CHECK_EQ(stats.misses, 10);
}

TEST(contract__r27__more_deaths_than_slots_need_no_reaper)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(wait_child(run_in_child(count_and_die, cache)),
		    -SIGKILL);
	check_get(cache, "k", "v");
	cache_audit(cache);
}

static void
fork_deeper(void *arg)
{
	struct shmc *cache = arg;

	check_get(cache, "k", "v"); /* takes its own slot */
	if (cache_stats(cache).hits < 4)
		CHECK_EQ(wait_child(run_in_child(fork_deeper, cache)), 0);
	put(cache, "k", "v");
}

TEST(contract__r29__forks_of_any_depth_need_no_call)
{
	struct shmc *cache = cache_new(1u << 20, 8);

	put(cache, "k", "v");
	CHECK_EQ(wait_child(run_in_child(fork_deeper, cache)), 0);
	CHECK_EQ(cache_stats(cache).puts, 5);
	cache_audit(cache);
}

struct inherited {
	struct shmc *cache;
	struct shmc_view view;
	struct shmc_lead lead;
};

static void
use_what_is_the_parents(void *arg)
{
	struct inherited *i = arg;
	const void *data;
	size_t n;

	CHECK_EQ(shmc_view_piece(&i->view, 0, &data, &n), SHMC_FENCED);
	shmc_view_release(&i->view);
	CHECK_EQ(shmc_lead_value(&i->lead, "x", 1, 0, NULL), SHMC_FENCED);
	shmc_lead_abandon(&i->lead);
	check_get(i->cache, "k", "v");
}

TEST(contract__r29__views_and_leads_stay_with_the_parent)
{
	struct inherited i = { .cache = cache_new(1u << 20, 8) };
	struct shmc_view none;

	put(i.cache, "k", "v");
	REQUIRE_EQ(shmc_view(i.cache, "k", 1, &i.view), SHMC_OK);
	REQUIRE_EQ(shmc_begin(i.cache, "lead", 4, NULL, &none, &i.lead),
	    SHMC_LEAD);
	CHECK_EQ(wait_child(run_in_child(use_what_is_the_parents, &i)), 0);
	CHECK_MEM(i.view.data, "v", 1);
	shmc_view_release(&i.view);
	CHECK_EQ(shmc_lead_value(&i.lead, "x", 1, 0, NULL), SHMC_OK);
	check_get(i.cache, "lead", "x");
}

static void
get_in_thread(unsigned index, void *arg)
{
	(void)index;
	check_get(arg, "k", "v");
}

TEST(contract__r29__threads_that_end_leave_their_slots)
{
	struct shmc *cache = cache_new(1u << 20, 4);

	put(cache, "k", "v");
	for (unsigned i = 0; i < 10; i++)
		run_threads(3, get_in_thread, cache);
	cache_audit(cache);
}

TEST(contract__r32__owner_only_close_on_exec_and_sealed)
{
	struct shmc *cache = cache_new(1u << 20, 4);
	int fd = shmc_fd(cache);
	struct stat st;

	REQUIRE(fd >= 0);
	CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK((fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) != 0);
	CHECK(ftruncate(fd, 4096) != 0);
	REQUIRE_EQ(fstat(fd, &st), 0);
	CHECK_GE((uint64_t)st.st_blocks * 512, 1u << 20); /* reserved */
}

TEST(contract__r33__signal_handlers_and_descriptors_stay_as_they_were)
{
	struct sigaction before[32], after;
	struct shmc *cache;
	int probe = dup(0);

	for (int s = 1; s < 32; s++)
		sigaction(s, NULL, &before[s]);
	cache = cache_new(1u << 20, 4);
	put(cache, "k", "v");
	check_get(cache, "k", "v");
	shmc_close(cache);
	for (int s = 1; s < 32; s++) {
		sigaction(s, NULL, &after);
		CHECK(before[s].sa_handler == after.sa_handler);
	}
	close(probe);
	CHECK_EQ(dup(0), probe); /* no descriptor was left open */
}
