/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the library takes from its process's own heap: what jemalloc says is
 * allocated, against before shmc_open(), while calls of all kinds are made.
 * Once with malloc, once with hooks of our own, which count what went through
 * them.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jemalloc/jemalloc.h>
#include <shmcache.h>

#include "bench.h"
#include "keys.h"

#define SEGMENT_BYTES ((uint64_t)16 << 20)
#define KEYS 20000u
#define VALUE_MAX 2000u
#define LARGE_BYTES (512u << 10)
#define FIRST_CALLS 1000u /* after these, nothing more may be taken */
#define LOOK_EVERY 1000u

static struct {
	uint64_t calls;
	const char *csv_path;
} options = { 1000000, "heap.csv" };

/* In shared memory: bytes, against before shmc_open(). */
struct levels {
	int64_t opened, begun, most, closed;
	int64_t peak;	/* between looks too, as far as jemalloc notices */
	int64_t hooked; /* through the hooks, at most, exactly */
};

/* ----------------------------------------------------------------- heap --- */

static void
control(const char *name, void *old, size_t *old_bytes, void *new,
    size_t new_bytes)
{
	int code = mallctl(name, old, old_bytes, new, new_bytes);

	if (code != 0)
		bench_die("mallctl %s: %s", name, strerror(code));
}

/* What the process has from jemalloc, small or large. */
static int64_t
heap_bytes(void)
{
	uint64_t epoch = 1;
	size_t allocated, bytes = sizeof allocated;

	control("thread.tcache.flush", NULL, NULL, NULL, 0);
	control("epoch", NULL, NULL, &epoch, sizeof epoch);
	control("stats.allocated", &allocated, &bytes, NULL, 0);
	return (int64_t)allocated;
}

static void
peak_reset(void)
{
	control("thread.peak.reset", NULL, NULL, NULL, 0);
}

static int64_t
peak_bytes(void)
{
	size_t bytes = sizeof(uint64_t);
	uint64_t peak;

	control("thread.peak.read", &peak, &bytes, NULL, 0);
	return (int64_t)peak;
}

struct hooked {
	int64_t now, most;
};

static void *
hook_allocate(size_t bytes, void *arg)
{
	struct hooked *hooked = arg;
	void *memory = malloc(bytes);

	if (memory != NULL)
		hooked->now += (int64_t)malloc_usable_size(memory);
	if (hooked->now > hooked->most)
		hooked->most = hooked->now;
	return memory;
}

static void
hook_release(void *memory, void *arg)
{
	struct hooked *hooked = arg;

	hooked->now -= (int64_t)malloc_usable_size(memory);
	free(memory);
}

/* ---------------------------------------------------------------- calls --- */

struct caller {
	struct shmc *cache;
	char key[KEY_BYTES];
	uint64_t random;
	size_t value_bytes;
};

/* Calls end as they may: what is asked is what they leave on the heap. */
static void
ignore(enum shmc_status status)
{
	if (status == SHMC_INVALID)
		bench_die("a call was wrong");
}

static const unsigned char *
value(void)
{
	static unsigned char bytes[LARGE_BYTES];

	return bytes;
}

static void
call_get(struct caller *c)
{
	unsigned char buffer[VALUE_MAX];
	size_t bytes;

	ignore(shmc_get(c->cache, c->key, KEY_BYTES, buffer, sizeof buffer,
	    &bytes));
}

static void
call_view(struct caller *c)
{
	struct shmc_view view;

	if (shmc_view(c->cache, c->key, KEY_BYTES, &view) == SHMC_OK)
		shmc_view_release(&view);
}

static void
call_put(struct caller *c)
{
	ignore(shmc_put(c->cache, c->key, KEY_BYTES, value(), c->value_bytes,
	    c->random % 3 == 0 ? 10 : 0));
}

static void
call_put_large(struct caller *c)
{
	if (c->random % 16 == 0)
		ignore(shmc_put(c->cache, c->key, KEY_BYTES, value(),
		    LARGE_BYTES, 0));
}

static void
load(struct shmc_lead *lead, void *arg)
{
	const struct caller *c = arg;

	if (c->random % 8 == 0)
		ignore(shmc_lead_absent(lead, 100));
	else
		ignore(shmc_lead_value(lead, value(), c->value_bytes, 0, NULL));
}

static void
call_fetch(struct caller *c)
{
	struct shmc_view view;

	ignore(shmc_fetch(c->cache, c->key, KEY_BYTES, NULL, load, c, &view));
	shmc_view_release(&view);
}

static void
call_delete(struct caller *c)
{
	ignore(shmc_delete(c->cache, c->key, KEY_BYTES));
}

static void
call_incr(struct caller *c)
{
	ignore(shmc_incr(c->cache, c->key, KEY_BYTES, 1, 0, 0, NULL));
}

static void
call_touch(struct caller *c)
{
	ignore(shmc_touch(c->cache, c->key, KEY_BYTES, 1000));
}

static void
call_store_tagged(struct caller *c)
{
	const char *tags[] = { "tag" };
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.tags = tags;
	terms.tag_count = 1;
	ignore(shmc_store(c->cache, c->key, KEY_BYTES, value(), c->value_bytes,
	    &terms, SHMC_IF_ABSENT, 0));
	if (c->random % 64 == 0)
		ignore(shmc_invalidate_tag(c->cache, "tag"));
}

static int
look_on(const void *key, size_t key_bytes, const struct shmc_view *view,
    void *arg)
{
	(void)key;
	(void)key_bytes;
	(void)view;
	(void)arg;
	return 1;
}

static void
call_iterate(struct caller *c)
{
	uint64_t cursor = c->random % KEYS;

	(void)!shmc_iterate(c->cache, &cursor, 16, look_on, NULL);
}

static void
call_lease(struct caller *c)
{
	struct shmc_lease lease;

	if (shmc_lease_acquire(c->cache, c->key, KEY_BYTES, NULL, &lease) ==
	    SHMC_OK)
		ignore(shmc_lease_release(&lease));
}

static void
call_any(struct caller *c, uint64_t n)
{
	static void (*const calls[])(struct caller *) = { call_get, call_get,
		call_get, call_view, call_view, call_put, call_put,
		call_put_large, call_fetch, call_fetch, call_delete, call_incr,
		call_touch, call_store_tagged, call_iterate, call_lease };

	c->random = keys_mix(n + 1);
	c->value_bytes = 1 + (c->random >> 16) % (VALUE_MAX - 1);
	keys_key((c->random >> 32) % KEYS, c->key);
	calls[n % (sizeof calls / sizeof calls[0])](c);
}

/* ----------------------------------------------------------------- runs --- */

static void
open_cache(struct caller *c, struct hooked *hooked)
{
	struct shmc_options shape;
	struct shmc_error error;

	shmc_options_init(&shape, sizeof shape);
	shape.size_bytes = SEGMENT_BYTES;
	if (hooked != NULL) {
		shape.allocate = hook_allocate;
		shape.release = hook_release;
		shape.heap_arg = hooked;
	}
	if (shmc_open(&c->cache, &shape, &error) != 0)
		bench_die("shmc_open: %s", error.text);
}

static void
call_and_look(struct levels *levels, struct hooked *hooked)
{
	int64_t before = heap_bytes(), now;
	struct caller c = { 0 };

	peak_reset();
	open_cache(&c, hooked);
	levels->opened = heap_bytes() - before;
	for (uint64_t n = 0; n < options.calls; n++) {
		call_any(&c, n);
		if ((n + 1) % LOOK_EVERY != 0)
			continue;
		now = heap_bytes() - before;
		if (n + 1 == FIRST_CALLS)
			levels->begun = now;
		levels->most = now > levels->most ? now : levels->most;
	}
	levels->peak = peak_bytes();
	shmc_close(c.cache);
	levels->closed = heap_bytes() - before;
	levels->hooked = hooked == NULL ? 0 : hooked->most;
}

/* In a process of its own: what another run left does not count. */
static struct levels
run(struct hooked *hooked)
{
	struct levels *levels = bench_shared(sizeof *levels);
	int pid = bench_fork(), status;

	if (pid == 0) {
		call_and_look(levels, hooked);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("a run failed");
	return *levels;
}

static void
print_levels(const char *name, const struct levels *levels, FILE *csv)
{
	const int64_t columns[] = { levels->opened, levels->begun, levels->most,
		levels->closed, levels->peak, levels->hooked };

	printf("  %-8s", name);
	fprintf(csv, "%s", name);
	for (unsigned i = 0; i < sizeof columns / sizeof columns[0]; i++) {
		printf(" %9lld", (long long)columns[i]);
		fprintf(csv, ",%lld", (long long)columns[i]);
	}
	printf("\n");
	fprintf(csv, "\n");
}

/* The most that was ever taken, however it was noticed. */
static double
most_of(const struct levels *levels)
{
	int64_t most = levels->most;

	most = levels->peak > most ? levels->peak : most;
	return (double)(levels->hooked > most ? levels->hooked : most);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "calls", required_argument, NULL, 'n' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (letter == 'c')
			options.csv_path = optarg;
		else if (letter == 'n')
			options.calls = strtoull(optarg, NULL, 10);
		else
			bench_die("usage: heap [--csv FILE] [--calls N]");
	if (options.calls < FIRST_CALLS)
		bench_die("calls: at least %u", FIRST_CALLS);
}

int
main(int argc, char **argv)
{
	struct hooked hooked = { 0, 0 };
	struct levels plain, counted;
	FILE *csv;

	parse_options(argc, argv);
	csv = bench_csv(options.csv_path,
	    "heap,opened,begun,most,closed,peak,through_hooks");
	plain = run(NULL);
	counted = run(&hooked);
	printf("\nheap: bytes of a process's own heap, against before "
	       "shmc_open(); %llu calls\n\n  %-8s %9s %9s %9s %9s %9s %9s\n",
	    (unsigned long long)options.calls, "", "opened", "begun", "most",
	    "closed", "peak", "hooks");
	print_levels("malloc", &plain, csv);
	print_levels("hooks", &counted, csv);
	fclose(csv);
	printf("\n");
	bench_bar("private_heap_kib",
	    fmax(most_of(&plain), most_of(&counted)) / 1024, "<=", 64);
	bench_bar("private_heap_grown_bytes",
	    fmax(most_of(&plain) - (double)plain.begun,
		most_of(&counted) - (double)counted.begun),
	    "=", 0);
	return 0;
}
