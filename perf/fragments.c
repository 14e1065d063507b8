/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What changing sizes leave behind: a million puts, whose sizes are of another
 * kind every so often, into one segment.  After each kind, how much of the
 * segment is keys and values that can be had; beside it, how much of a fresh
 * segment is, filled with values of that kind alone.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmcache.h>

#include "bench.h"
#include "keys.h"

#define SEGMENT_BYTES ((uint64_t)8 << 20) /* each kind fills it at least once */
#define ENTRY_BYTES 256u
#define KEYS 250000u   /* fewer than puts: some are overwritten */
#define FRESH_TURNS 3u /* a fresh segment is filled so many times over */
#define STEP 1024u     /* places of the index visited at once */

/* Sizes between the two, as many between 1 and 2 as between 2 and 4. */
static const struct kind {
	const char *name;
	double low, high;
} kinds[] = {
	{ "32 B to 128 B", 32, 128 },
	{ "512 B to 2 KiB", 512, 2 << 10 },
	{ "8 KiB to 64 KiB", 8 << 10, 64 << 10 },
	{ "32 B to 128 B", 32, 128 },
	{ "8 B to 256 KiB", 8, 256 << 10 },
	{ "128 B to 512 B", 128, 512 },
	{ "2 KiB to 8 KiB", 2 << 10, 8 << 10 },
	{ "256 B to 1 KiB", 256, 1 << 10 },
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static struct {
	uint64_t puts;
	const char *csv_path;
} options = { 1000000, "fragments.csv" };

struct source {
	uint64_t state;
	unsigned char *value;
};

static uint64_t
draw(struct source *source)
{
	source->state += 0x9e3779b97f4a7c15u;
	return keys_mix(source->state);
}

static size_t
draw_size(struct source *source, const struct kind *kind)
{
	double unit = (double)(draw(source) >> 11) * 0x1p-53;

	return (size_t)(kind->low * pow(kind->high / kind->low, unit));
}

/* Puts a value of this kind; returns the bytes of key and value. */
static uint64_t
put(struct shmc *cache, struct source *source, const struct kind *kind)
{
	size_t bytes = draw_size(source, kind);
	enum shmc_status status;
	char key[KEY_BYTES];

	keys_key(draw(source) % KEYS, key);
	status = shmc_put(cache, key, KEY_BYTES, source->value, bytes, 0);
	if (status != SHMC_OK)
		bench_die("shmc_put of %zu bytes: status %d", bytes,
		    (int)status);
	return KEY_BYTES + bytes;
}

static int
add_bytes(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	uint64_t *sum = arg;

	(void)key;
	*sum += key_bytes + value->size_bytes;
	return 1;
}

/* The share of the segment that is keys and values which can be had. */
static double
live_share(struct shmc *cache)
{
	uint64_t cursor = 0, sum = 0;
	int more;

	do
		more = shmc_iterate(cache, &cursor, STEP, add_bytes, &sum);
	while (more > 0);
	if (more < 0)
		bench_die("shmc_iterate: %s", strerror(-more));
	return (double)sum / (double)SEGMENT_BYTES;
}

static double
fresh_share(struct source *source, const struct kind *kind)
{
	struct shmc *cache = bench_segment(SEGMENT_BYTES, ENTRY_BYTES, 4);
	uint64_t sum = 0;
	double share;

	while (sum < FRESH_TURNS * SEGMENT_BYTES)
		sum += put(cache, source, kind);
	share = live_share(cache);
	shmc_close(cache);
	return share;
}

static void
run_kind(struct shmc *cache, struct source *source, unsigned k, FILE *csv)
{
	double after, fresh;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < options.puts / KINDS; i++)
		sum += put(cache, source, &kinds[k]);
	after = live_share(cache);
	fresh = fresh_share(source, &kinds[k]);
	printf("  %-16s %9.0f %9.3f %9.3f %9.3f\n", kinds[k].name,
	    (double)sum / (1 << 20), after, fresh, after / fresh);
	fprintf(csv, "%u,%s,%.4f,%.4f\n", k, kinds[k].name, after, fresh);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "puts", required_argument, NULL, 'p' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (letter == 'c')
			options.csv_path = optarg;
		else if (letter == 'p')
			options.puts = strtoull(optarg, NULL, 10);
		else
			bench_die("usage: fragments [--csv FILE] [--puts N]");
	if (options.puts < KINDS)
		bench_die("puts: at least %zu", KINDS);
}

int
main(int argc, char **argv)
{
	struct source source = { 1, bench_allocate(256 << 10) };
	struct shmc *cache = bench_segment(SEGMENT_BYTES, ENTRY_BYTES, 4);
	FILE *csv;

	parse_options(argc, argv);
	csv = bench_csv(options.csv_path, "kind,sizes,after,fresh");
	printf("\nfragments: %llu puts of changing sizes into %u MiB; the share "
	       "of it that is keys and values\n\n  %-16s %9s %9s %9s %9s\n",
	    (unsigned long long)options.puts, (unsigned)(SEGMENT_BYTES >> 20),
	    "values", "put, MiB", "after", "fresh", "ratio");
	for (unsigned k = 0; k < KINDS; k++)
		run_kind(cache, &source, k, csv);
	fclose(csv);
	shmc_close(cache);
	return 0;
}
