/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hit costs, against the roofline and peers: one reader on each CPU in
 * turn, then two at once.  Slices of all peers alternate, round after round.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"
#include "reader.h"

#define PEERS_MAX 8u
#define ROUNDS_MAX 200u
#define READERS 2u
#define MS 1000000u

static const struct peer *const all_peers[] = {
	&peer_roofline,
	&peer_shmcache,
	&peer_tdb,
	&peer_lmdb,
	&peer_lfht,
};
#define ALL_PEERS (sizeof(all_peers) / sizeof(all_peers[0]))

static struct {
	unsigned rounds;
	uint64_t slice_ns;
	const char *only; /* names of peers */
	const char *csv_path;
} options = { 15, 40 * MS, NULL, "hits.csv" };

/* The order in which entries are asked for. */
struct course {
	const char *name;
	const char *title;
	bool chained;	  /* each question waits for the last answer */
	double theta;	  /* of a zipf distribution; 0: uniform */
	uint64_t warm_ns; /* until caches hold what they will hold */
};

static const struct store big_store = { "big", 1000000, 240, (size_t)384 << 20 };
static const struct course big_courses[] = {
	{ "uniform", "1 M entries of 256 B, uniform keys", false, 0, 150 * MS },
	{ "chained", "the same, no key known before the last value", true, 0,
	    150 * MS },
	{ "zipf", "1 M entries of 256 B, zipf .99", false, .99, 150 * MS },
};

static const struct store hot_store = { "hot", 10000, 48, (size_t)64 << 20 };
static const struct course hot_courses[] = {
	{ "hot", "10 k entries of 64 B, zipf .99", false, .99, 30 * MS },
};

/* A peer on the stage, and its samples of the course that is being run. */
struct entrant {
	const struct peer *peer;
	struct reader *readers[READERS];
	double used_mib;
	double alone_ns[ROUNDS_MAX * READERS]; /* per hit, one reader */
	double scale[ROUNDS_MAX];	       /* two readers against one */
	uint64_t asked, missed, wrong;
};

struct stage {
	const struct store *store;
	struct entrant entrants[PEERS_MAX];
	unsigned count;
	uint64_t took_ns, idle_ns; /* of this course's slices */
	FILE *csv;
};

/* Resident memory of this process: the second number of its statm. */
static double
resident_mib(void)
{
	char text[256], *second;

	bench_read("/proc/self/statm", text, sizeof(text));
	strtoul(text, &second, 10);
	return (double)strtoul(second, NULL, 10) *
	    (double)sysconf(_SC_PAGESIZE) / 0x1p20;
}

static bool
peer_wanted(const struct peer *peer)
{
	return options.only == NULL || strstr(options.only, peer->name) != NULL;
}

static void
entrant_start(struct entrant *entrant, const struct peer *peer,
    const struct store *store)
{
	double before = resident_mib();
	void *made = peer->create(store);

	entrant->peer = peer;
	entrant->used_mib = resident_mib() - before;
	for (unsigned cpu = 0; cpu < READERS; cpu++)
		entrant->readers[cpu] = reader_start(peer, store, made, cpu);
	if (peer->settle != NULL)
		peer->settle(made);
}

/* Threads come last: a fork would copy their process. */
static void
stage_fill(struct stage *stage)
{
	for (int threads = 0; threads <= 1; threads++)
		for (unsigned i = 0; i < ALL_PEERS; i++)
			if (peer_wanted(all_peers[i]) &&
			    all_peers[i]->threads == threads)
				entrant_start(&stage->entrants[stage->count++],
				    all_peers[i], stage->store);
}

/* Hits per ns of a reader's last slice. */
static double
slice_take(struct stage *stage, struct entrant *entrant,
    const struct course *course, unsigned round, unsigned cpu,
    const char *company)
{
	const struct tally *tally = &entrant->readers[cpu]->tally;

	stage->took_ns += tally->took_ns;
	stage->idle_ns += tally->idle_ns;
	entrant->asked += tally->asked;
	entrant->missed += tally->missed;
	entrant->wrong += tally->wrong;
	fprintf(stage->csv, "%s,%s,%u,%u,%s,%.2f\n", course->name,
	    entrant->peer->name, round, cpu, company, tally->ns_per_hit);
	return 1 / tally->ns_per_hit;
}

/*
 * One reader alone, on one CPU and then the other, or two together: the turn
 * rotates, since who comes later finds warmer caches.
 */
static void
entrant_round(struct stage *stage, struct entrant *entrant,
    const struct course *course, unsigned round, struct slice slice)
{
	double alone = 0, together = 0;

	for (unsigned i = 0; i <= READERS; i++) {
		unsigned turn = (round + i) % (READERS + 1);

		if (turn < READERS) {
			reader_run(&entrant->readers[turn], 1, slice);
			double rate = slice_take(stage, entrant, course, round,
			    turn, "alone");

			alone += rate / READERS;
			entrant->alone_ns[round * READERS + turn] = 1 / rate;
			continue;
		}
		reader_run(entrant->readers, READERS, slice);
		for (unsigned cpu = 0; cpu < READERS; cpu++)
			together += slice_take(stage, entrant, course, round,
			    cpu, "together");
	}
	entrant->scale[round] = together / alone;
}

static double
entrant_ns(struct entrant *entrant, double q)
{
	return bench_quantile(entrant->alone_ns, options.rounds * READERS, q);
}

static struct entrant *
stage_find(struct stage *stage, const struct peer *peer)
{
	for (unsigned i = 0; i < stage->count; i++)
		if (stage->entrants[i].peer == peer)
			return &stage->entrants[i];
	return NULL;
}

static void
print_row(struct entrant *entrant, double roofline_ns)
{
	double ns = entrant_ns(entrant, .5);
	unsigned rounds = options.rounds;

	printf("  %-9s %7.1f  %7.1f - %-7.1f %7.2f %6.2f  %4.2f - %-4.2f %6.0f",
	    entrant->peer->name, ns, entrant_ns(entrant, 0),
	    entrant_ns(entrant, 1), ns / roofline_ns,
	    bench_median(entrant->scale, rounds),
	    bench_quantile(entrant->scale, rounds, 0),
	    bench_quantile(entrant->scale, rounds, 1), entrant->used_mib);
	printf("  %s", entrant->peer->about);
	if (entrant->missed + entrant->wrong > 0)
		printf("; %.3g %% missed, %llu wrong",
		    100. * (double)entrant->missed / (double)entrant->asked,
		    (unsigned long long)entrant->wrong);
	printf("\n");
}

/* The bars are about uniform keys, chained or not. */
static void
print_bars(struct stage *stage, const struct course *course, double roofline_ns)
{
	struct entrant *ours = stage_find(stage, &peer_shmcache);
	char name[64];

	if (ours == NULL || course->theta > 0)
		return;
	snprintf(name, sizeof(name), "hit_%s_per_roofline", course->name);
	bench_bar(name, entrant_ns(ours, .5) / roofline_ns, "<=", 1.3);
	snprintf(name, sizeof(name), "hit_%s_two_processes", course->name);
	bench_bar(name, bench_median(ours->scale, options.rounds), ">=", 1.8);
}

static void
print_course(struct stage *stage, const struct course *course)
{
	struct entrant *roofline = stage_find(stage, &peer_roofline);
	double roofline_ns = roofline == NULL ? 0 : entrant_ns(roofline, .5);

	printf("\nhits: %s; ns per hit, %u rounds of %.0f ms, each CPU\n\n",
	    course->title, options.rounds, (double)options.slice_ns / MS);
	printf("  %-9s %7s  %-17s %7s %6s  %-11s %6s\n", "peer", "median",
	    "range", "/ roof", "two", "range", "MiB");
	for (unsigned i = 0; i < stage->count; i++)
		print_row(&stage->entrants[i], roofline_ns);
	printf("\n  readers were off their CPU for %.1f %% of the time\n\n",
	    100. * (double)stage->idle_ns / (double)stage->took_ns);
	print_bars(stage, course, roofline_ns);
}

static uint32_t *
stream_make(const struct stage *stage, const struct course *course)
{
	uint32_t *stream = bench_shared(STREAM_LENGTH * sizeof(*stream));

	keys_stream(stream, STREAM_LENGTH, stage->store->entries, course->theta,
	    1);
	return stream;
}

static void
course_run(struct stage *stage, const struct course *course,
    const uint32_t *stream)
{
	struct slice slice = {
		.stream = stream,
		.chained = course->chained,
		.warm_ns = course->warm_ns,
		.count_ns = options.slice_ns,
	};

	stage->took_ns = stage->idle_ns = 0;
	for (unsigned i = 0; i < stage->count; i++) {
		struct entrant *entrant = &stage->entrants[i];

		entrant->asked = entrant->missed = entrant->wrong = 0;
	}
	for (unsigned round = 0; round < options.rounds; round++)
		for (unsigned i = 0; i < stage->count; i++)
			entrant_round(stage, &stage->entrants[i], course, round,
			    slice);
	print_course(stage, course);
	fflush(stdout);
}

/* In a process of its own, so that the memory of one stage is given back. */
static void
stage_run(const struct store *store, const struct course *courses,
    unsigned count, FILE *csv)
{
	struct stage *stage = bench_allocate(sizeof(*stage));
	const uint32_t *streams[4];
	int status;
	int pid = bench_fork();

	if (pid == 0) {
		stage->store = store;
		stage->csv = csv;
		for (unsigned i = 0; i < count; i++)
			streams[i] = stream_make(stage, &courses[i]);
		stage_fill(stage);
		for (unsigned i = 0; i < count; i++)
			course_run(stage, &courses[i], streams[i]);
		fflush(NULL);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("the %s store failed", store->name);
	free(stage);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "slice-ms", required_argument, NULL, 's' },
		{ "only", required_argument, NULL, 'o' },
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
		case 's':
			options.slice_ns = strtoull(optarg, NULL, 10) * MS;
			break;
		case 'o':
			options.only = optarg;
			break;
		default:
			bench_die("usage: hits [--csv FILE] [--rounds N] "
				  "[--slice-ms MS] [--only PEERS]");
		}
	}
	if (options.rounds == 0 || options.rounds > ROUNDS_MAX)
		bench_die("rounds: 1 to %u", ROUNDS_MAX);
}

int
main(int argc, char **argv)
{
	parse_options(argc, argv);
	if (bench_cpus() < READERS)
		bench_die("needs %u CPUs", READERS);

	FILE *csv = bench_csv(options.csv_path,
	    "course,peer,round,cpu,company,ns_per_hit");

	stage_run(&big_store, big_courses,
	    sizeof(big_courses) / sizeof(big_courses[0]), csv);
	stage_run(&hot_store, hot_courses,
	    sizeof(hot_courses) / sizeof(hot_courses[0]), csv);
	fclose(csv);
	return 0;
}
