/* SPDX-License-Identifier: BSD-2-Clause */
/* Options, open, close, detach; handles over fork and threads. */
#include "inside.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

TEST(cache__options_initialised__have_the_documented_defaults)
{
	struct shmc_options o;

	memset(&o, 1, sizeof o);
	shmc_options_init(&o, sizeof o);
	CHECK_EQ(o.struct_bytes, sizeof o);
	CHECK(o.path == NULL);
	CHECK_EQ(o.flags, 0);
	CHECK_EQ(o.mode, 0600);
	CHECK_EQ(o.size_bytes, 64u << 20);
	CHECK_EQ(o.entry_bytes, 256);
	CHECK_EQ(o.lease_ms, 10000);
	CHECK_EQ(o.wait_ms, 60000);
	CHECK(o.allocate == NULL && o.release == NULL);
}

TEST(cache__defaults__make_a_segment_for_128)
{
	struct shmc_options o;
	struct shmc_info info;
	struct shmc *cache;

	shmc_options_init(&o, sizeof o);
	cache = cache_open(&o);
	shmc_info(cache, &info, sizeof info);
	CHECK_EQ(info.size_bytes, 64u << 20);
	CHECK_EQ(info.participants, 128);
	shmc_close(cache);
}

/* A caller of an earlier release, whose struct ends before the heap. */
TEST(cache__options_of_an_older_caller__are_taken)
{
	struct shmc_options o = cache_options(1u << 20, 7);
	struct shmc *cache;

	o.struct_bytes = offsetof(struct shmc_options, allocate);
	o.allocate = (void *(*)(size_t, void *))1; /* not its field */
	cache = cache_open(&o);
	CHECK_EQ(cache->seg.geo.participant_count, 7);
	shmc_close(cache);
}

TEST(cache__short_init__writes_no_further)
{
	struct shmc_options o;

	memset(&o, 0x55, sizeof o);
	shmc_options_init(&o, 16);
	CHECK_EQ(o.struct_bytes, 16);
	CHECK_EQ(o.flags, 0x55555555);
	shmc_options_init(NULL, 16);
}

static void
check_invalid(const struct shmc_options *o, const char *word)
{
	struct shmc_error error = { 0 };
	struct shmc *cache = (struct shmc *)&error;
	int r = shmc_open(&cache, o, &error);

	CHECK_EQ(r, -EINVAL);
	CHECK(cache == NULL);
	CHECK_EQ(error.code, r);
	if (strstr(error.text, word) == NULL)
		FAIL("\"%s\" does not say \"%s\"", error.text, word);
	/* Nobody has to listen. */
	CHECK_EQ(shmc_open(&cache, o, NULL), -EINVAL);
}

static void *
allocate(size_t bytes, void *arg)
{
	(void)arg;
	return malloc(bytes);
}

TEST(cache__absurd_options__are_refused_with_a_reason)
{
	static char long_path[5000];
	struct shmc_options good = cache_options(1u << 20, 8), o;

#define CHECK_BAD(field, bad, word) \
	(o = good, o.field = (bad), check_invalid(&o, word))
	CHECK_BAD(struct_bytes, 0, "shmc_options_init");
	CHECK_BAD(struct_bytes, SIZE_MAX, "shmc_options_init");
	CHECK_BAD(flags, 0x80000000, "unknown flags");
	CHECK_BAD(flags, SHMC_EXCLUSIVE, "SHMC_CREATE");
	CHECK_BAD(mode, 0, "mode");
	CHECK_BAD(mode, 0400, "mode");
	CHECK_BAD(mode, 04600, "mode");
	CHECK_BAD(mode, UINT32_MAX, "mode");
	CHECK_BAD(size_bytes, 0, "size_bytes");
	CHECK_BAD(size_bytes, 1000, "size_bytes");
	CHECK_BAD(size_bytes, (1u << 20) + 1, "size_bytes");
	CHECK_BAD(size_bytes, UINT64_MAX, "size_bytes");
	CHECK_BAD(participants, 4001, "participants");
	CHECK_BAD(participants, UINT32_MAX, "participants");
	CHECK_BAD(participants, 1000, "participants");
	CHECK_BAD(entry_bytes, 0, "entry_bytes");
	CHECK_BAD(entry_bytes, UINT32_MAX, "entry_bytes");
	CHECK_BAD(lease_ms, 0, "lease_ms");
	CHECK_BAD(lease_ms, UINT64_MAX, "lease_ms");
	CHECK_BAD(wait_ms, 0, "wait_ms");
	CHECK_BAD(wait_ms, UINT64_MAX, "wait_ms");
	CHECK_BAD(allocate, allocate, "allocate and release");
	CHECK_BAD(path, "", "path");
	memset(long_path, 'x', sizeof long_path - 1);
	CHECK_BAD(path, long_path, "path");
#undef CHECK_BAD
}

TEST(cache__nowhere_to_put_the_handle__is_refused)
{
	struct shmc_options o = cache_options(1u << 20, 8);

	CHECK_EQ(shmc_open(NULL, &o, NULL), -EINVAL);
}

static void *
allocate_never(size_t bytes, void *arg)
{
	(void)bytes;
	(void)arg;
	return NULL;
}

static void
release_never(void *memory, void *arg)
{
	(void)memory;
	(void)arg;
	FAIL("nothing was allocated");
}

TEST(cache__heap_is_empty__is_enomem)
{
	struct shmc_options o = cache_options(1u << 20, 8);
	struct shmc_error error;
	struct shmc *cache;

	o.allocate = allocate_never;
	o.release = release_never;
	CHECK_EQ(shmc_open(&cache, &o, &error), -ENOMEM);
	CHECK(cache == NULL);
}

/* What a caller's heap has given out and got back. */
struct heap {
	unsigned allocated;
	unsigned released;
	unsigned limit;
};

static void *
heap_allocate(size_t bytes, void *arg)
{
	struct heap *heap = arg;

	if (heap->allocated == heap->limit)
		return NULL;
	heap->allocated++;
	return malloc(bytes);
}

static void
heap_release(void *memory, void *arg)
{
	((struct heap *)arg)->released++;
	free(memory);
}

static struct shmc_options
options_with_heap(struct heap *heap)
{
	struct shmc_options o = cache_options(1u << 20, 8);

	o.allocate = heap_allocate;
	o.release = heap_release;
	o.heap_arg = heap;
	return o;
}

TEST(cache__callers_heap__gets_everything_back)
{
	struct heap heap = { .limit = 100 };
	struct shmc_options o = options_with_heap(&heap);
	struct shmc *cache = cache_open(&o);

	put(cache, "k", "v");
	CHECK_GE(heap.allocated, 2);
	shmc_close(cache);
	CHECK_EQ(heap.released, heap.allocated);
}

TEST(cache__open_fails__callers_heap_gets_everything_back)
{
	struct heap heap = { .limit = 100 };
	struct shmc_options o = options_with_heap(&heap);
	struct shmc *cache;

	o.path = "/tmp";
	CHECK_EQ(shmc_open(&cache, &o, NULL), -EISDIR);
	CHECK_EQ(heap.allocated, 1);
	CHECK_EQ(heap.released, 1);
}

TEST(cache__no_heap_for_a_thread__its_calls_are_busy)
{
	struct heap heap = { .limit = 1 };
	struct shmc_options o = options_with_heap(&heap);
	struct shmc *cache = cache_open(&o);

	CHECK_EQ(shmc_put(cache, "k", 1, "v", 1, 0), SHMC_BUSY);
	heap.limit = 2;
	put(cache, "k", "v");
	shmc_close(cache);
}

TEST(cache__detached__takes_a_slot_again)
{
	struct shmc *cache = cache_new(1u << 20, 8);

	CHECK_EQ(shmc_detach_thread(cache), 0); /* has none */
	put(cache, "k", "v");
	CHECK_EQ(shmc_detach_thread(cache), 0);
	CHECK_EQ(cache->seg.participants[0].life.futex, 0);
	check_get(cache, "k", "v");
	CHECK_EQ(shmc_detach_thread(NULL), -EINVAL);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(cache__view_open__cannot_be_detached)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct shmc_view view;

	put(cache, "k", "v");
	CHECK_EQ(shmc_view(cache, "k", 1, &view), SHMC_OK);
	CHECK_EQ(shmc_detach_thread(cache), -EBUSY);
	shmc_view_release(&view);
	CHECK_EQ(shmc_detach_thread(cache), 0);
	shmc_close(cache);
}

TEST(cache__leading__cannot_be_detached)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct shmc_view view;
	struct shmc_lead lead;

	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(shmc_detach_thread(cache), -EBUSY);
	shmc_lead_abandon(&lead);
	CHECK_EQ(shmc_detach_thread(cache), 0);
	shmc_close(cache);
}

TEST(cache__closed_while_leading_and_viewing__all_is_given_back)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct shmc *twin = cache_twin(cache);
	struct shmc_view view, other;
	struct shmc_lead lead;

	put(twin, "k", "v");
	CHECK_EQ(shmc_view(twin, "k", 1, &view), SHMC_OK);
	CHECK_EQ(shmc_begin(twin, "l", 1, NULL, &other, &lead), SHMC_LEAD);
	shmc_close(twin);
	CHECK_EQ(shmc_reap(cache), 0);
	CHECK_EQ(blocks_in(cache, BLOCK_OPEN), 0);
	CHECK_EQ(shmc_begin(cache, "l", 1, NULL, &other, &lead), SHMC_LEAD);
	shmc_lead_abandon(&lead);
	check_get(cache, "k", "v");
	cache_audit(cache);
	shmc_close(cache);
}

static void
use_in_child(void *arg)
{
	struct shmc *cache = arg;

	check_get(cache, "k", "parent");
	put(cache, "k", "child");
	shmc_close(cache);
}

TEST(cache__used_before_fork__child_uses_it_at_once)
{
	struct shmc *cache = cache_new(1u << 20, 8);

	put(cache, "k", "parent");
	CHECK_EQ(wait_child(run_in_child(use_in_child, cache)), 0);
	check_get(cache, "k", "child");
	CHECK_EQ(shmc_reap(cache), 0); /* the child left in order */
	cache_audit(cache);
	shmc_close(cache);
}

struct generation {
	struct shmc *cache;
	unsigned depth;
};

static void
fork_deeper(void *arg)
{
	struct generation *g = arg;
	char key[32];

	g->depth++;
	CHECK_EQ(shmc_put(g->cache, key, key_of(key, g->depth), "v", 1, 0),
	    SHMC_OK);
	if (g->depth < 6)
		CHECK_EQ(wait_child(run_in_child(fork_deeper, g)), 0);
	check_get(g->cache, "key-000006", "v");
}

TEST(cache__forked_at_any_depth__all_use_it)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct generation g = { cache, 0 };

	fork_deeper(&g);
	for (unsigned i = 1; i <= 6; i++) {
		char key[32];

		(void)key_of(key, i);
		check_get(cache, key, "v");
	}
	(void)shmc_reap(cache);
	cache_audit(cache);
	shmc_close(cache);
}

static void
end_parents_lead(void *arg)
{
	CHECK_EQ(shmc_lead_append(arg, "x", 1), SHMC_FENCED);
	CHECK_EQ(shmc_lead_extend(arg, 0), SHMC_FENCED);
	CHECK_EQ(shmc_lead_value(arg, "child", 5, 0, NULL), SHMC_FENCED);
	CHECK_EQ(shmc_lead_commit(arg, 0, NULL), SHMC_FENCED);
	shmc_lead_abandon(arg);
}

TEST(cache__lead_over_fork__stays_the_parents)
{
	struct shmc *cache = cache_new(1u << 20, 8);
	struct shmc_view view;
	struct shmc_lead lead;

	CHECK_EQ(shmc_begin(cache, "k", 1, NULL, &view, &lead), SHMC_LEAD);
	CHECK_EQ(wait_child(run_in_child(end_parents_lead, &lead)), 0);
	CHECK_EQ(shmc_lead_value(&lead, "parent", 6, 0, NULL), SHMC_OK);
	check_get(cache, "k", "parent");
	cache_audit(cache);
	shmc_close(cache);
}

/* A thread that forks while another one works. */
static void *
work(void *arg)
{
	struct shmc *cache = arg;

	for (unsigned i = 0; i < 2000; i++) {
		char key[32];

		CHECK_EQ(shmc_put(cache, key, key_of(key, i % 10), "v", 1, 0),
		    SHMC_OK);
	}
	return NULL;
}

TEST(cache__forked_while_another_thread_works__child_uses_it)
{
	struct shmc *cache = cache_new(1u << 20, 16);
	pthread_t thread;

	put(cache, "k", "parent");
	REQUIRE_EQ(pthread_create(&thread, NULL, work, cache), 0);
	for (unsigned i = 0; i < 5; i++) {
		put(cache, "k", "parent");
		CHECK_EQ(wait_child(run_in_child(use_in_child, cache)), 0);
	}
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	(void)shmc_reap(cache);
	cache_audit(cache);
	shmc_close(cache);
}

TEST(cache__version__is_that_of_the_build)
{
	CHECK_STR(shmc_version(), SHMC_BUILD_VERSION);
}
