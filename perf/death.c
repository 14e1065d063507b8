/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How soon the loader starts again when SIGKILL ends a leader with a hundred
 * waiters, and that it starts once.  Beside it, in alternation: how soon the
 * kernel tells one sleeper that the owner of a robust mutex is gone, which is
 * how the waiters come to know.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "crew.h"
#include "keys.h"

#define WAITERS 100u
#define VALUE_BYTES 240u
#define ENTRIES 40000u /* that a victim has read: it has memory to lose */
#define SEGMENT_BYTES ((uint64_t)64 << 20)
#define ROUNDS_MAX 1000u

enum way { MUTEX, LEADER, WAYS };

static const char *const way_names[WAYS] = { "mutex", "leader" };

static struct {
	unsigned rounds;
	const char *csv_path;
} options = { 60, "death.csv" };

/* In shared memory. */
struct scene {
	pthread_mutex_t mutex;
	uint32_t victims;	       /* so far */
	_Atomic uint32_t victim_ready; /* as victims, once the last one is */
	_Atomic uint32_t loads;	  /* loaders started by waiters, this turn */
	_Atomic uint64_t load_ns; /* when the first of them did */
	struct shmc *cache;
};

/* Samples of one way. */
struct samples {
	double latency_ns[ROUNDS_MAX];
	unsigned not_one; /* rounds in which not exactly one was promoted */
};

static void
mutex_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t robust;

	pthread_mutexattr_init(&robust);
	pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &robust);
	pthread_mutexattr_destroy(&robust);
}

static void
cache_fill(struct shmc *cache)
{
	unsigned char value[VALUE_BYTES];
	char key[KEY_BYTES];

	for (uint64_t index = 0; index < ENTRIES; index++) {
		keys_key(index, key);
		keys_value(index, value, sizeof(value));
		if (shmc_put(cache, key, KEY_BYTES, value, sizeof(value), 0) !=
		    SHMC_OK)
			bench_die("shmc_put failed");
	}
}

/* Reads everything, so that the segment is in the victim's page table. */
static void
cache_read(struct shmc *cache)
{
	unsigned char value[VALUE_BYTES];
	char key[KEY_BYTES];
	size_t bytes;

	for (uint64_t index = 0; index < ENTRIES; index++) {
		keys_key(index, key);
		if (shmc_get(cache, key, KEY_BYTES, value, sizeof(value),
			&bytes) > SHMC_MISS)
			bench_die("shmc_get failed");
	}
}

/* The key that the last victim leads, none of those that are stored. */
static void
victim_key(const struct scene *scene, char key[KEY_BYTES])
{
	keys_key((uint64_t)ENTRIES + scene->victims, key);
}

/* ------------------------------------------------------------- sleepers -- */

static uint64_t
sleep_on_mutex(struct scene *scene)
{
	int code = pthread_mutex_lock(&scene->mutex);
	uint64_t back_ns = bench_now_ns();

	if (code != EOWNERDEAD)
		return 0;
	pthread_mutex_consistent(&scene->mutex);
	pthread_mutex_unlock(&scene->mutex);
	return back_ns;
}

static void
second_loader(struct shmc_lead *lead, void *arg)
{
	uint64_t now_ns = bench_now_ns();
	unsigned char value[VALUE_BYTES] = { 0 };
	struct scene *scene = arg;

	if (atomic_fetch_add_explicit(&scene->loads, 1, memory_order_relaxed) ==
	    0)
		atomic_store_explicit(&scene->load_ns, now_ns,
		    memory_order_relaxed);
	if (shmc_lead_value(lead, value, sizeof(value), 0, NULL) != SHMC_OK)
		bench_die("the promoted leader's shmc_lead_value failed");
}

static uint64_t
sleep_on_flight(struct scene *scene)
{
	struct shmc_view view;
	char key[KEY_BYTES];

	victim_key(scene, key);
	if (shmc_fetch(scene->cache, key, KEY_BYTES, NULL, second_loader, scene,
		&view) != SHMC_OK)
		return 0;
	uint64_t back_ns = bench_now_ns();

	if (view.role != SHMC_ROLE_SHARED && view.role != SHMC_ROLE_PROMOTED)
		back_ns = 0;
	shmc_view_release(&view);
	return back_ns;
}

static uint64_t
sleep_somehow(unsigned way, uint32_t turn, void *arg)
{
	(void)turn;
	return way == MUTEX ? sleep_on_mutex(arg) : sleep_on_flight(arg);
}

/* -------------------------------------------------------------- victims -- */

static void
victim_hold(struct scene *scene, enum way way)
{
	struct shmc_view view;
	struct shmc_lead lead;
	char key[KEY_BYTES];

	if (way == MUTEX) {
		if (pthread_mutex_lock(&scene->mutex) != 0)
			bench_die("the victim cannot lock");
		return;
	}
	victim_key(scene, key);
	if (shmc_begin(scene->cache, key, KEY_BYTES, NULL, &view, &lead) !=
	    SHMC_LEAD)
		bench_die("the victim cannot lead");
}

/* A process that holds on to something until it is killed. */
static int
victim_start(struct scene *scene, enum way way)
{
	uint32_t number = ++scene->victims;
	int pid = bench_fork();

	if (pid == 0) {
		bench_pin(0);
		cache_read(scene->cache);
		victim_hold(scene, way);
		atomic_store_explicit(&scene->victim_ready, number,
		    memory_order_release);
		bench_futex_wake_all(&scene->victim_ready);
		for (;;)
			pause();
	}
	bench_await(&scene->victim_ready, number);
	return pid;
}

/* --------------------------------------------------------------- driver -- */

static uint64_t
promotions(struct shmc *cache)
{
	struct shmc_stats stats;

	shmc_stats(cache, &stats, sizeof(stats));
	return stats.promotions;
}

/* Kills a victim on which a crew sleeps; returns when. */
static uint64_t
victim_kill(struct scene *scene, struct crew *crew, enum way way)
{
	int pid = victim_start(scene, way);

	crew_go(crew, way);
	crew_settle(crew);
	crew_await_asleep(pid);
	uint64_t start_ns = bench_now_ns();

	kill(pid, SIGKILL);
	crew_finish(crew);
	waitpid(pid, NULL, 0);
	return start_ns;
}

static void
round_mutex(struct scene *scene, struct crew *crew, struct samples *samples,
    unsigned round)
{
	uint64_t start_ns = victim_kill(scene, crew, MUTEX);

	crew_latencies(crew, start_ns, &samples->latency_ns[round]);
}

static void
round_leader(struct scene *scene, struct crew *crew, struct samples *samples,
    unsigned round)
{
	uint64_t before = promotions(scene->cache);

	atomic_store_explicit(&scene->loads, 0, memory_order_relaxed);
	uint64_t start_ns = victim_kill(scene, crew, LEADER);

	samples->latency_ns[round] = (double)atomic_load_explicit(&scene->load_ns,
					 memory_order_relaxed) -
	    (double)start_ns;
	if (promotions(scene->cache) - before != 1 ||
	    atomic_load_explicit(&scene->loads, memory_order_relaxed) != 1)
		samples->not_one++;
}

static void
print_row(struct samples *samples, const char *name, const char *about)
{
	unsigned n = options.rounds;

	printf("  %-7s %9.1f %9.1f %9.1f %9.1f  %s\n", name,
	    bench_median(samples->latency_ns, n) / 1e3,
	    bench_quantile(samples->latency_ns, n, .05) / 1e3,
	    bench_quantile(samples->latency_ns, n, .95) / 1e3,
	    bench_quantile(samples->latency_ns, n, 1) / 1e3, about);
}

static void
print_samples(struct samples samples[WAYS])
{
	struct samples *leader = &samples[LEADER], *mutex = &samples[MUTEX];
	double ratio = bench_median(leader->latency_ns, options.rounds) /
	    bench_median(mutex->latency_ns, options.rounds);

	printf("\ndeath: from kill(SIGKILL) on, us, %u rounds\n\n",
	    options.rounds);
	printf("  %-7s %9s %9s %9s %9s\n", "way", "median", "5 %", "95 %",
	    "worst");
	print_row(mutex, "mutex", "one sleeper has EOWNERDEAD");
	print_row(leader, "leader", "the loader's second start, 100 waiters");
	printf("\n  leader / mutex: %.2f;  rounds without exactly one "
	       "promotion: %u\n\n",
	    ratio, leader->not_one);
	bench_bar("death_restart_median_ms",
	    bench_median(leader->latency_ns, options.rounds) / 1e6, "<=", 1);
	bench_bar("death_rounds_without_one_promotion", leader->not_one,
	    "<=", 0);
}

static void
write_csv(struct samples samples[WAYS])
{
	FILE *csv = bench_csv(options.csv_path, "way,round,ns");

	for (enum way way = 0; way < WAYS; way++)
		for (unsigned round = 0; round < options.rounds; round++)
			fprintf(csv, "%s,%u,%.0f\n", way_names[way], round,
			    samples[way].latency_ns[round]);
	fclose(csv);
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
			bench_die("usage: death [--csv FILE] [--rounds N]");
		}
	}
	if (options.rounds == 0 || options.rounds > ROUNDS_MAX)
		bench_die("rounds: 1 to %u", ROUNDS_MAX);
}

int
main(int argc, char **argv)
{
	static struct samples samples[WAYS];
	struct scene *scene = bench_shared(sizeof(*scene));

	parse_options(argc, argv);
	bench_pin(0);
	mutex_init(&scene->mutex);
	scene->cache = bench_segment(SEGMENT_BYTES, KEY_BYTES + VALUE_BYTES,
	    2 * WAITERS);
	cache_fill(scene->cache);
	struct crew *one = crew_start(1, sleep_somehow, scene);
	struct crew *many = crew_start(WAITERS, sleep_somehow, scene);

	for (unsigned round = 0; round < options.rounds; round++) {
		round_mutex(scene, one, &samples[MUTEX], round);
		round_leader(scene, many, &samples[LEADER], round);
	}
	write_csv(samples);
	print_samples(samples);
	if (crew_failures(one) + crew_failures(many) > 0)
		bench_die("%u waits went wrong",
		    crew_failures(one) + crew_failures(many));
	crew_stop(one);
	crew_stop(many);
	return 0;
}
