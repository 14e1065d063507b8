/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an entry costs beside its key and value: we and our peers are filled to
 * the brim with entries of one size, and the memory is divided by how many of
 * them are there.  Everything counts: index, headers, rounding, what is kept
 * free, what nobody can use.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "fill.h"

static const size_t sizes[] = { 32, 256, 4096 };
#define SIZES (sizeof sizes / sizeof sizes[0])

static const struct filler *const fillers[] = {
	&fill_shmcache,
	&fill_shmcache_later,
	&fill_memcached,
	&fill_apcu,
	&fill_lmdb,
#ifdef PERF_TOKYOCABINET
	&fill_tokyocabinet,
#endif
};
#define FILLERS (sizeof fillers / sizeof fillers[0])

static struct {
	size_t megabytes;
	const char *csv_path;
} options = { 64, "memory.csv" };

/* NAN where somebody is not here. */
static double overhead[FILLERS][SIZES];
static struct filled filled[FILLERS][SIZES];

static void
run(unsigned f, unsigned s, FILE *csv)
{
	struct fill fill = { sizes[s], options.megabytes << 20 };
	struct filled *to = &filled[f][s];

	overhead[f][s] = (double)NAN;
	if (!fillers[f]->fill(&fill, to))
		return;
	overhead[f][s] = (double)to->memory_bytes / (double)to->entries -
	    (double)(KEY_BYTES + sizes[s]);
	fprintf(csv, "%s,%zu,%llu,%llu,%.2f\n", fillers[f]->name, sizes[s],
	    (unsigned long long)to->entries,
	    (unsigned long long)to->memory_bytes, overhead[f][s]);
}

static void
print_filler(unsigned f)
{
	printf("  %-16s", fillers[f]->name);
	if (isnan(overhead[f][0])) {
		printf("  skipped: it is not installed here\n");
		return;
	}
	for (unsigned s = 0; s < SIZES; s++)
		printf("%9.1f", overhead[f][s]);
	printf("  ");
	for (unsigned s = 0; s < SIZES; s++)
		printf("%9llu", (unsigned long long)filled[f][s].entries);
	printf("   %s\n", fillers[f]->about);
}

static void
print_table(void)
{
	printf("\nmemory: bytes of an entry beside key (%u B) and value, and how "
	       "many entries are there; %zu MiB\n\n  %-16s",
	    KEY_BYTES, options.megabytes, "values");
	for (unsigned s = 0; s < SIZES; s++)
		printf("%7zu B", sizes[s]);
	printf("  ");
	for (unsigned s = 0; s < SIZES; s++)
		printf("%7zu B", sizes[s]);
	printf("\n");
	for (unsigned f = 0; f < FILLERS; f++)
		print_filler(f);
#ifndef PERF_TOKYOCABINET
	printf("  tokyocabinet: skipped: it was not there to build with\n");
#endif
	printf("\n");
}

/* Ours: just full, or after a while, whichever is more. */
static void
print_bar(const char *name, unsigned s)
{
	bench_bar(name, fmax(overhead[0][s], overhead[1][s]), "<=", 32);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "megabytes", required_argument, NULL, 'm' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (letter == 'c')
			options.csv_path = optarg;
		else if (letter == 'm')
			options.megabytes = strtoull(optarg, NULL, 10);
		else
			bench_die("usage: memory [--csv FILE] [--megabytes N]");
	if (options.megabytes < 16 || options.megabytes > 4096)
		bench_die("megabytes: 16 to 4096");
}

int
main(int argc, char **argv)
{
	FILE *csv;

	parse_options(argc, argv);
	csv = bench_csv(options.csv_path,
	    "peer,value_bytes,entries,memory_bytes,overhead_bytes");
	for (unsigned f = 0; f < FILLERS; f++)
		for (unsigned s = 0; s < SIZES; s++)
			run(f, s, csv);
	fclose(csv);
	print_table();
	print_bar("overhead_bytes_32", 0);
	print_bar("overhead_bytes_256", 1);
	return 0;
}
