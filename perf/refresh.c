/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What refreshes cost those who only read: readers ask for a few keys with
 * shmc_fetch(), in quiet slices, in which nothing gets old, and in slices in
 * which every key is refreshed early over and over.  Whoever is chosen
 * computes, for 2 ms; everyone else's calls are hits, and it is their
 * latencies that are compared.  A hit that had to wait is counted.
 */
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <shmcache.h>

#include "bench.h"
#include "keys.h"

#define READERS 2u
#define KEYS 2u
#define VALUE_BYTES 240u
#define TTL_MS 100u
#define QUIET_TTL_MS 3600000u
#define LOAD_NS 2000000u
#define SLICE_NS 300000000u
#define SAMPLES_MAX 1000000u
#define ROUNDS_MAX 200u

enum way { QUIET, REFRESHED, WAYS };
static const char *const names[WAYS] = { "quiet", "refreshed" };

static struct {
	unsigned rounds;
	const char *csv_path;
} options = { 15, "refresh.csv" };

/* One reader's slice; in shared memory. */
struct tally {
	double p50_ns, p99_ns;
	uint64_t hits, led, waited, wrong;
};

struct source {
	uint64_t index;
	uint64_t ttl_ms;
};

static void
load(struct shmc_lead *lead, void *arg)
{
	const struct source *source = arg;
	unsigned char value[VALUE_BYTES];

	bench_sleep_until(bench_now_ns() + LOAD_NS);
	keys_value(source->index, value, sizeof value);
	if (shmc_lead_value(lead, value, sizeof value, source->ttl_ms, NULL) !=
	    SHMC_OK)
		bench_die("shmc_lead_value failed");
}

/* One call: its time, if it was a hit; else 0. */
static double
ask(struct shmc *cache, uint64_t turn, enum way way, struct tally *tally)
{
	struct source source = { turn % KEYS + (way == QUIET ? KEYS : 0),
		way == QUIET ? QUIET_TTL_MS : TTL_MS };
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	char key[KEY_BYTES];
	uint64_t begin_ns, took_ns, check;

	wait.early_percent = 100;
	keys_key(source.index, key);
	begin_ns = bench_now_ns();
	if (shmc_fetch(cache, key, KEY_BYTES, &wait, load, &source, &view) !=
	    SHMC_OK)
		bench_die("shmc_fetch failed");
	took_ns = bench_now_ns() - begin_ns;
	memcpy(&check, view.data, sizeof check);
	tally->wrong += check != keys_check(source.index);
	tally->led += view.role == SHMC_ROLE_LED;
	tally->waited += view.role == SHMC_ROLE_SHARED;
	if (view.role != SHMC_ROLE_HIT && view.role != SHMC_ROLE_STALE)
		took_ns = 0;
	shmc_view_release(&view);
	return (double)took_ns;
}

static void
read_slice(struct shmc *cache, enum way way, struct tally *tally)
{
	static double samples[SAMPLES_MAX];
	uint64_t end_ns = bench_now_ns() + SLICE_NS;
	size_t count = 0;

	memset(tally, 0, sizeof *tally);
	for (uint64_t turn = 0; bench_now_ns() < end_ns; turn++) {
		double ns = ask(cache, turn, way, tally);

		if (ns > 0 && count < SAMPLES_MAX)
			samples[count++] = ns;
	}
	tally->hits = count;
	tally->p50_ns = bench_quantile(samples, count, .5);
	tally->p99_ns = bench_quantile(samples, count, .99);
}

/* All readers at once, each in a process of its own. */
static void
run_readers(struct shmc *cache, enum way way, struct tally *tallies)
{
	int pids[READERS], status;

	for (unsigned i = 0; i < READERS; i++) {
		pids[i] = bench_fork();
		if (pids[i] == 0) {
			bench_pin(i);
			read_slice(cache, way, &tallies[i]);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < READERS; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			bench_die("a reader failed");
}

struct results {
	double p50_ns[WAYS][ROUNDS_MAX * READERS];
	double p99_ns[WAYS][ROUNDS_MAX * READERS];
	uint64_t hits[WAYS], led[WAYS], waited, wrong;
};

static void
keep(struct results *r, enum way way, unsigned round, FILE *csv,
    const struct tally *tallies)
{
	for (unsigned i = 0; i < READERS; i++) {
		const struct tally *t = &tallies[i];

		r->p50_ns[way][round * READERS + i] = t->p50_ns;
		r->p99_ns[way][round * READERS + i] = t->p99_ns;
		r->hits[way] += t->hits;
		r->led[way] += t->led;
		r->waited += way == REFRESHED ? t->waited : 0;
		r->wrong += t->wrong;
		fprintf(csv, "%s,%u,%.0f,%.0f\n", names[way], round, t->p50_ns,
		    t->p99_ns);
	}
}

static void
print_results(struct results *r)
{
	unsigned count = options.rounds * READERS;
	double p99[WAYS];

	printf("\nrefresh: %u readers, %u keys; ns per hit, %u rounds\n\n"
	       "  slices        p50      p99        hits  refreshes\n",
	    READERS, KEYS, options.rounds);
	for (unsigned w = 0; w < WAYS; w++) {
		p99[w] = bench_median(r->p99_ns[w], count);
		printf("  %-9s %7.0f  %7.0f  %10llu  %9llu\n", names[w],
		    bench_median(r->p50_ns[w], count), p99[w],
		    (unsigned long long)r->hits[w],
		    (unsigned long long)(w == QUIET ? 0 : r->led[w]));
	}
	printf("\n");
	bench_bar("refresh_hit_p99_per_quiet", p99[REFRESHED] / p99[QUIET],
	    "<=", 1.3);
	bench_bar("refresh_hits_that_waited", (double)r->waited, "=", 0);
	bench_bar("refresh_wrong", (double)r->wrong, "=", 0);
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
			bench_die("usage: refresh [--csv FILE] [--rounds N]");
	if (options.rounds == 0 || options.rounds > ROUNDS_MAX)
		bench_die("rounds: 1 to %u", ROUNDS_MAX);
}

/* Everything is there before the first slice, and again after a pause. */
static void
fill(struct shmc *cache)
{
	struct tally tally = { 0 };

	for (unsigned w = 0; w < WAYS; w++)
		for (uint64_t k = 0; k < KEYS; k++)
			ask(cache, k, (enum way)w, &tally);
}

int
main(int argc, char **argv)
{
	struct tally *tallies = bench_shared(READERS * sizeof *tallies);
	struct results *results = bench_allocate(sizeof *results);
	struct shmc *cache = bench_segment((uint64_t)16 << 20, 256, 16);
	FILE *csv;

	parse_options(argc, argv);
	csv = bench_csv(options.csv_path, "slice,round,p50_ns,p99_ns");
	for (unsigned r = 0; r < options.rounds; r++)
		for (unsigned i = 0; i < WAYS; i++) {
			enum way way = (enum way)((r + i) % WAYS);

			fill(cache);
			run_readers(cache, way, tallies);
			keep(results, way, r, csv, tallies);
		}
	print_results(results);
	fclose(csv);
	return 0;
}
