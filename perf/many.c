/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many keys at once against one after the other: the same random keys of a
 * large store, a slice by shmc_get(), a slice by shmc_get_many(), in turn.
 *
 * Between single gets the caller does something with the value: each key
 * depends on the last value, as it is when a request asks for one key.  Free
 * gets, whose keys are all known, are shown beside it, since the processor
 * overlaps some of those by itself.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmcache.h>

#include "bench.h"
#include "keys.h"

#define ENTRIES 1000000u
#define VALUE_BYTES 240u
#define MEMORY_BYTES ((size_t)384 << 20)
#define GROUP 32u
#define KEYS_IN_SLICE 64000u /* a multiple of GROUP */
#define ROUNDS_MAX 200u

enum way { CHAINED, FREE, MANY, WAYS };
static const char *const names[WAYS] = { "chained", "free", "many" };

static struct {
	unsigned rounds;
	const char *csv_path;
} options = { 25, "many.csv" };

struct bench {
	struct shmc *cache;
	const uint32_t *stream;
	size_t position;
	uint64_t wrong;
};

static void
fill(struct shmc *cache)
{
	for (uint64_t index = 0; index < ENTRIES; index++) {
		unsigned char value[VALUE_BYTES];
		char key[KEY_BYTES];

		keys_key(index, key);
		keys_value(index, value, sizeof value);
		if (shmc_put(cache, key, KEY_BYTES, value, sizeof value, 0) !=
		    SHMC_OK)
			bench_die("shmc_put failed");
	}
}

static uint64_t
next_index(struct bench *b)
{
	return b->stream[b->position++ & (STREAM_LENGTH - 1)];
}

/* The difference between what came and what should have come: 0. */
static uint64_t
check(struct bench *b, uint64_t index, const unsigned char *value,
    enum shmc_status status)
{
	uint64_t first;

	if (status == SHMC_MISS) /* displaced: rare */
		return 0;
	memcpy(&first, value, sizeof first);
	b->wrong += status != SHMC_OK || first != keys_check(index);
	return status == SHMC_OK ? first ^ keys_check(index) : 0;
}

static void
get_singly(struct bench *b, enum way way)
{
	uint64_t after = 0;

	for (unsigned i = 0; i < KEYS_IN_SLICE; i++) {
		uint64_t index = next_index(b) + after, wrong;
		unsigned char value[VALUE_BYTES] = { 0 };
		char key[KEY_BYTES];
		size_t bytes;

		keys_key(index, key);
		wrong = check(b, index, value, shmc_get(b->cache, key,
		    KEY_BYTES, value, sizeof value, &bytes));
		after = way == CHAINED ? wrong : 0;
	}
}

static void
get_group(struct bench *b)
{
	static unsigned char values[GROUP][VALUE_BYTES];
	static char keys[GROUP][KEY_BYTES];
	struct shmc_item items[GROUP];
	uint64_t indexes[GROUP];

	for (unsigned i = 0; i < GROUP; i++) {
		indexes[i] = next_index(b);
		keys_key(indexes[i], keys[i]);
		items[i] = (struct shmc_item){
			.key = keys[i],
			.key_bytes = KEY_BYTES,
			.buffer = values[i],
			.buffer_bytes = VALUE_BYTES,
		};
	}
	shmc_get_many(b->cache, items, GROUP);
	for (unsigned i = 0; i < GROUP; i++)
		check(b, indexes[i], values[i], items[i].status);
}

static double
run_slice(struct bench *b, enum way way)
{
	uint64_t begin_ns = bench_now_ns();

	if (way != MANY)
		get_singly(b, way);
	else
		for (unsigned i = 0; i < KEYS_IN_SLICE; i += GROUP)
			get_group(b);
	return (double)(bench_now_ns() - begin_ns) / KEYS_IN_SLICE;
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "rounds", required_argument, NULL, 'r' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (letter == 'c')
			options.csv_path = optarg;
		else if (letter == 'r')
			options.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else
			bench_die("usage: many [--csv FILE] [--rounds N]");
	if (options.rounds == 0 || options.rounds > ROUNDS_MAX)
		bench_die("rounds: 1 to %u", ROUNDS_MAX);
}

/* Each way's turn rotates, since who comes later finds warmer caches. */
static void
run_rounds(struct bench *b, double ns[WAYS][ROUNDS_MAX])
{
	FILE *csv = bench_csv(options.csv_path, "round,way,ns_per_key");

	for (unsigned r = 0; r < options.rounds; r++)
		for (unsigned i = 0; i < WAYS; i++) {
			enum way way = (enum way)((r + i) % WAYS);

			ns[way][r] = run_slice(b, way);
			fprintf(csv, "%u,%s,%.2f\n", r, names[way], ns[way][r]);
		}
	fclose(csv);
}

static void
print_table(double ns[WAYS][ROUNDS_MAX], double median[WAYS])
{
	unsigned rounds = options.rounds;

	printf("\nmany: 1 M entries of 256 B, uniform keys, %u at once; ns per "
	       "key, %u rounds\n\n  way       median  range\n", GROUP, rounds);
	for (unsigned i = 0; i < WAYS; i++) {
		median[i] = bench_median(ns[i], rounds);
		printf("  %-8s %7.1f  %7.1f - %.1f\n", names[i], median[i],
		    bench_quantile(ns[i], rounds, 0),
		    bench_quantile(ns[i], rounds, 1));
	}
	printf("\n");
}

int
main(int argc, char **argv)
{
	static double ns[WAYS][ROUNDS_MAX];
	uint32_t *stream = bench_shared(STREAM_LENGTH * sizeof *stream);
	struct bench b = { .stream = stream };
	double median[WAYS];

	parse_options(argc, argv);
	bench_pin(bench_cpus() - 1);
	keys_stream(stream, STREAM_LENGTH, ENTRIES, 0, 1);
	b.cache = bench_segment(MEMORY_BYTES, KEY_BYTES + VALUE_BYTES, 4);
	fill(b.cache);
	run_rounds(&b, ns);
	print_table(ns, median);
	bench_bar("many_per_single_key", median[MANY] / median[CHAINED], "<=",
	    .5);
	bench_bar("many_per_free_key", median[MANY] / median[FREE], "<=", 1);
	bench_bar("many_wrong", (double)b.wrong, "=", 0);
	return 0;
}
