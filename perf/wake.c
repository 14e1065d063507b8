/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How soon a waiter has its value, against a raw futex wake of as many
 * sleepers.  The three ways alternate, turn after turn, in the same processes:
 *
 *   raw    sleepers in FUTEX_WAIT on one word; the word changes, FUTEX_WAKE
 *   raw2   the same in FUTEX_WAITV on two words, of which one changes
 *   ours   sleepers in shmc_fetch() on one flight; shmc_lead_value()
 *
 * A latency runs from just before the waker's first action to the sleeper's
 * return.  For each turn we keep the sleeper in the middle and the last one.
 */
#include <getopt.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "crew.h"
#include "keys.h"

#define VALUE_BYTES 240u
#define ROUNDS_MAX 5000u
#define SEGMENT_BYTES ((uint64_t)64 << 20)

enum way { RAW, RAW2, OURS, WAYS };

static const char *const way_names[WAYS] = { "raw", "raw2", "ours" };

static struct {
	unsigned rounds;
	const char *csv_path;
} options = { 300, "wake.csv" };

/* In shared memory. */
struct scene {
	_Atomic uint32_t word;	/* raw sleepers wait for it to be the turn */
	_Atomic uint32_t other; /* never changes */
	uint64_t index;		/* of the key that is asked for, this turn */
	struct shmc *cache;
};

/* One number of sleepers, and its samples. */
struct trial {
	struct scene *scene;
	struct crew *crew;
	FILE *csv;
	double middle_ns[WAYS][ROUNDS_MAX];
	double last_ns[WAYS][ROUNDS_MAX];
};

static uint64_t
sleep_raw(struct scene *scene, uint32_t turn)
{
	bench_await(&scene->word, turn);
	return bench_now_ns();
}

static uint64_t
sleep_raw2(struct scene *scene, uint32_t turn)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(&scene->word,
		    memory_order_acquire)) != turn)
		bench_futex_wait_two(&scene->word, seen, &scene->other, 0);
	return bench_now_ns();
}

/* Sleepers are never to lead. */
static void
never_loads(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	shmc_lead_abandon(lead);
}

static bool
value_right(const struct shmc_view *view, uint64_t index)
{
	uint64_t check;

	if (view->piece_bytes < sizeof(check))
		return false;
	memcpy(&check, view->data, sizeof(check));
	return view->role == SHMC_ROLE_SHARED &&
	    view->size_bytes == VALUE_BYTES && check == keys_check(index);
}

static uint64_t
sleep_ours(struct scene *scene)
{
	struct shmc_view view;
	char key[KEY_BYTES];

	keys_key(scene->index, key);
	enum shmc_status status = shmc_fetch(scene->cache, key, KEY_BYTES, NULL,
	    never_loads, NULL, &view);
	uint64_t back_ns = bench_now_ns();

	if (status != SHMC_OK)
		return 0;
	if (!value_right(&view, scene->index))
		back_ns = 0;
	shmc_view_release(&view);
	return back_ns;
}

static uint64_t
sleep_somehow(unsigned way, uint32_t turn, void *arg)
{
	switch (way) {
	case RAW:
		return sleep_raw(arg, turn);
	case RAW2:
		return sleep_raw2(arg, turn);
	default:
		return sleep_ours(arg);
	}
}

static uint64_t
wake_raw(struct trial *trial, enum way way)
{
	uint32_t turn = crew_go(trial->crew, way);

	crew_settle(trial->crew);
	uint64_t start_ns = bench_now_ns();

	atomic_store_explicit(&trial->scene->word, turn, memory_order_release);
	bench_futex_wake_all(&trial->scene->word);
	return start_ns;
}

static uint64_t
wake_ours(struct trial *trial)
{
	struct scene *scene = trial->scene;
	unsigned char value[VALUE_BYTES];
	struct shmc_view view;
	struct shmc_lead lead;
	char key[KEY_BYTES];

	scene->index++;
	keys_key(scene->index, key);
	keys_value(scene->index, value, sizeof(value));
	if (shmc_begin(scene->cache, key, KEY_BYTES, NULL, &view, &lead) !=
	    SHMC_LEAD)
		bench_die("shmc_begin does not let us lead");
	crew_go(trial->crew, OURS);
	crew_settle(trial->crew);
	if (shmc_lead_waiters(&lead) != trial->crew->size)
		bench_die("%u of %u wait", shmc_lead_waiters(&lead),
		    trial->crew->size);
	uint64_t start_ns = bench_now_ns();

	if (shmc_lead_value(&lead, value, sizeof(value), 0, NULL) != SHMC_OK)
		bench_die("shmc_lead_value failed");
	return start_ns;
}

static void
trial_turn(struct trial *trial, enum way way, unsigned round)
{
	unsigned sleepers = trial->crew->size;
	double latencies[CREW_MAX];
	uint64_t start_ns = way == OURS ? wake_ours(trial) :
					  wake_raw(trial, way);

	crew_finish(trial->crew);
	crew_latencies(trial->crew, start_ns, latencies);
	for (unsigned i = 0; i < sleepers; i++)
		fprintf(trial->csv, "%u,%s,%u,%.0f\n", sleepers, way_names[way],
		    round, latencies[i]);
	trial->middle_ns[way][round] = bench_median(latencies, sleepers);
	trial->last_ns[way][round] = bench_quantile(latencies, sleepers, 1);
}

static void
print_row(struct trial *trial, enum way way)
{
	unsigned n = options.rounds;
	double *middle = trial->middle_ns[way], *last = trial->last_ns[way];

	printf("  %8u  %-5s %9.1f %9.1f %9.1f   %9.1f %9.1f %9.1f\n",
	    trial->crew->size, way_names[way], bench_median(middle, n) / 1e3,
	    bench_quantile(middle, n, .05) / 1e3,
	    bench_quantile(middle, n, .95) / 1e3, bench_median(last, n) / 1e3,
	    bench_quantile(last, n, .05) / 1e3,
	    bench_quantile(last, n, .95) / 1e3);
}

static void
print_bar(struct trial *trial, const char *which,
    double samples[WAYS][ROUNDS_MAX])
{
	char name[64];

	snprintf(name, sizeof(name), "wake_%u_%s_per_raw", trial->crew->size,
	    which);
	bench_bar(name,
	    bench_median(samples[OURS], options.rounds) /
		bench_median(samples[RAW], options.rounds),
	    "<=", 1.3);
}

static void
trial_print(struct trial *trial)
{
	unsigned failures = crew_failures(trial->crew);

	for (enum way way = 0; way < WAYS; way++)
		print_row(trial, way);
	if (failures > 0)
		bench_die("%u waits ended without the right value", failures);
	print_bar(trial, "median", trial->middle_ns);
	if (trial->crew->size > 1)
		print_bar(trial, "last", trial->last_ns);
}

static void
trial_run(struct trial *trial, unsigned sleepers)
{
	trial->crew = crew_start(sleepers, sleep_somehow, trial->scene);
	for (unsigned round = 0; round < options.rounds; round++)
		for (unsigned i = 0; i < WAYS; i++)
			trial_turn(trial, (round + i) % WAYS, round);
	trial_print(trial);
	crew_stop(trial->crew);
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

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (letter) {
		case 'c':
			options.csv_path = optarg;
			break;
		case 'r':
			options.rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			bench_die("usage: wake [--csv FILE] [--rounds N]");
		}
	}
	if (options.rounds == 0 || options.rounds > ROUNDS_MAX)
		bench_die("rounds: 1 to %u", ROUNDS_MAX);
}

int
main(int argc, char **argv)
{
	static const unsigned sleepers[] = { 1, 16, 64 };
	static struct trial trial;

	parse_options(argc, argv);
	bench_pin(0);
	trial.csv = bench_csv(options.csv_path, "sleepers,way,round,ns");
	trial.scene = bench_shared(sizeof(*trial.scene));
	trial.scene->cache = bench_segment(SEGMENT_BYTES,
	    KEY_BYTES + VALUE_BYTES, 128);
	printf("\nwake: from just before the wake to the sleeper's return, us,"
	       " %u rounds\n\n",
	    options.rounds);
	printf("  %8s  %-5s %9s %9s %9s   %9s %9s %9s\n", "sleepers", "way",
	    "median", "5 %", "95 %", "last", "5 %", "95 %");
	for (unsigned i = 0; i < sizeof(sleepers) / sizeof(sleepers[0]); i++)
		trial_run(&trial, sleepers[i]);
	fclose(trial.csv);
	return 0;
}
