/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the library keeps: traces of real services are replayed through it, in
 * segments of 1, 3, 10 and 30 % of the bytes of all their objects, and through
 * simulated caches (sims.h) that may fill as many bytes, the whole segment's,
 * with keys and values alone.
 *
 * Whoever misses an object puts it.  Every request counts, the first for an
 * object too.  An object is as large as when it first came up; of a trace that
 * knows no sizes, a value is of 512 B.  Where the segment would be smaller than
 * 4 MiB, all values are enlarged by the least whole factor that makes it one.
 * What is larger than a quarter of the segment, nobody keeps.
 *
 * Several processes share the requests in runs of a few, each waiting for its
 * turn: as many blocks are open as they are, and requests keep their order.
 * From time to time, a result differs by the segment's seed alone.
 */
#include <assert.h>
#include <getopt.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shmcache.h>

#include "bench.h"
#include "keys.h"
#include "sims.h"
#include "trace.h"

#define VALUE_BYTES 512u
#define SEGMENT_BYTES_MIN ((uint64_t)4 << 20)
#define PAGE 4096u
#define PARTICIPANTS 4u
#define PROCESSES_MAX PARTICIPANTS
#define RUN_REQUESTS 16u
#define CHECK_BYTES sizeof(uint64_t)

static const unsigned shares[] = { 1, 3, 10, 30 }; /* per cent */
#define SHARES (sizeof shares / sizeof shares[0])

/* The rows of a table: simulated ones, then the library's. */
enum row {
	FIFO,
	LRU,
	SIEVE,
	S3FIFO,
	S3FIFO_TWICE,
	OPTIMUM,
	OURS,
	SHARED,
	ROWS
};

static const struct {
	const char *name;
	sim_misses *simulate; /* NULL: the library */
} rows[ROWS] = {
	[FIFO] = { "fifo", sim_fifo },
	[LRU] = { "lru", sim_lru },
	[SIEVE] = { "sieve", sim_sieve },
	[S3FIFO] = { "s3fifo", sim_s3fifo },
	[S3FIFO_TWICE] = { "s3fifo>1", sim_s3fifo_twice },
	[OPTIMUM] = { "optimum", sim_optimum },
	[OURS] = { "shmcache", NULL },
	[SHARED] = { "shared", NULL },
};

static struct {
	const char *csv_path, *directory;
	unsigned processes;
	size_t requests;
} options = { "missratio.csv", NULL, 2, SIZE_MAX };

/* One trace at one size. */
struct cell {
	struct sim_load load;
	uint64_t factor; /* by which values are enlarged */
	uint32_t entry_bytes;
	double ratios[ROWS];
};

struct trial {
	const char *name;
	struct trace trace;
	struct cell cells[SHARES];
};

/* Over all traces. */
struct sums {
	unsigned traces;
	uint64_t wrong, refused;
	double worst; /* how much more often several processes miss than one */
};

/* ---------------------------------------------------------------- sizes --- */

static uint64_t
object_bytes(const struct trace *trace, uint32_t object, uint64_t factor)
{
	uint64_t value = trace->sized ? trace->sizes[object] : VALUE_BYTES;

	return KEY_BYTES + factor * value;
}

static uint64_t
all_bytes(const struct trace *trace, uint64_t factor)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < trace->object_count; i++)
		sum += object_bytes(trace, i, factor);
	return sum;
}

static uint64_t
segment_bytes(const struct trace *trace, unsigned share, uint64_t factor)
{
	uint64_t bytes = all_bytes(trace, factor) * share / 100;

	return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void
cell_init(struct cell *cell, const struct trace *trace, unsigned share)
{
	uint64_t *bytes = bench_allocate(trace->object_count * sizeof *bytes);
	uint64_t capacity;

	assert(trace->object_count > 0);
	cell->factor = 1;
	while ((capacity = segment_bytes(trace, share, cell->factor)) <
	    SEGMENT_BYTES_MIN)
		cell->factor++;
	for (uint32_t i = 0; i < trace->object_count; i++)
		bytes[i] = object_bytes(trace, i, cell->factor);
	cell->entry_bytes = (uint32_t)(all_bytes(trace, cell->factor) /
	    trace->object_count);
	cell->load = (struct sim_load){
		.requests = trace->requests,
		.request_count = trace->request_count,
		.bytes = bytes,
		.object_count = trace->object_count,
		.capacity = capacity,
		.largest = capacity / 4,
	};
}

/* -------------------------------------------------------------- library --- */

/* What the processes of one replay share. */
struct tally {
	_Atomic uint32_t turn; /* the run of requests whose turn it is */
	uint64_t misses, wrong, refused; /* W: whose turn it is */
};

struct replay {
	const struct sim_load *load;
	struct shmc *cache;
	struct tally *tally;
	unsigned char *value; /* room for the largest */
};

static size_t
value_bytes(const struct sim_load *load, uint32_t object)
{
	return load->bytes[object] - KEY_BYTES;
}

/* Whether this is what was put; its first bytes tell of which object. */
static bool
is_right(const struct sim_load *load, uint32_t object,
    const struct shmc_view *view)
{
	uint64_t check = keys_check(object), seen;
	size_t bytes = shmc_view_copy(view, &seen, sizeof seen);

	return view->size_bytes == value_bytes(load, object) &&
	    memcmp(&seen, &check, bytes) == 0;
}

static void
put(struct replay *r, uint32_t object, const char *key)
{
	size_t bytes = value_bytes(r->load, object);
	uint64_t check = keys_check(object);
	enum shmc_status status;

	if (r->load->bytes[object] > r->load->largest)
		return;
	memcpy(r->value, &check, sizeof check);
	status = shmc_put(r->cache, key, KEY_BYTES, r->value, bytes, 0);
	if (status != SHMC_OK && status != SHMC_NO_MEMORY)
		bench_die("shmc_put of %zu bytes: status %d", bytes,
		    (int)status);
	r->tally->refused += status == SHMC_NO_MEMORY;
}

static void
ask(struct replay *r, uint32_t object)
{
	struct shmc_view view;
	enum shmc_status status;
	char key[KEY_BYTES];

	keys_key(object, key);
	status = shmc_view(r->cache, key, KEY_BYTES, &view);
	if (status == SHMC_OK) {
		r->tally->wrong += !is_right(r->load, object, &view);
		shmc_view_release(&view);
		return;
	}
	if (status != SHMC_MISS)
		bench_die("shmc_view: status %d", (int)status);
	r->tally->misses++;
	put(r, object, key);
}

/* Asks for every `processes`-th run of requests, when its turn has come. */
static void
ask_in_turn(struct replay *r, unsigned process, unsigned processes)
{
	_Atomic uint32_t *turn = &r->tally->turn;
	size_t count = r->load->request_count;

	for (size_t run = process; run * RUN_REQUESTS < count;
	     run += processes) {
		size_t first = run * RUN_REQUESTS, end = first + RUN_REQUESTS;

		bench_await(turn, (uint32_t)run);
		for (size_t i = first; i < end && i < count; i++)
			ask(r, r->load->requests[i]);
		atomic_store_explicit(turn, (uint32_t)run + 1,
		    memory_order_release);
		if (processes > 1)
			bench_futex_wake_all(turn);
	}
}

static void
fork_and_ask(struct replay *r, unsigned processes)
{
	int pids[PROCESSES_MAX], status;

	for (unsigned i = 0; i < processes; i++) {
		pids[i] = bench_fork();
		if (pids[i] == 0) {
			ask_in_turn(r, i, processes);
			shmc_close(r->cache);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < processes; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			bench_die("a process that asks failed");
}

/* The library's misses. */
static uint64_t
replay(const struct cell *cell, unsigned processes, struct sums *sums)
{
	struct tally *tally = bench_shared(sizeof *tally);
	struct replay r = {
		.load = &cell->load,
		.cache = bench_segment(cell->load.capacity, cell->entry_bytes,
		    PARTICIPANTS),
		.tally = tally,
		.value = bench_allocate(cell->load.largest + CHECK_BYTES),
	};

	if (processes == 1)
		ask_in_turn(&r, 0, 1);
	else
		fork_and_ask(&r, processes);
	sums->wrong += tally->wrong;
	sums->refused += tally->refused;
	shmc_close(r.cache);
	free(r.value);
	return tally->misses;
}

/* --------------------------------------------------------------- tables --- */

static const char *
row_name(enum row row, char text[32])
{
	if (row != SHARED)
		return rows[row].name;
	snprintf(text, 32, "shmcache, %u proc.", options.processes);
	return text;
}

static bool
is_row_asked_for(unsigned row)
{
	return row != SHARED || options.processes > 1;
}

static void
print_trial(const struct trial *t)
{
	char text[32];

	printf("\nmissratio: %s, %zu requests for %u objects; misses per "
	       "request\n\n  %-18s",
	    t->name, t->trace.request_count, t->trace.object_count,
	    "of all bytes");
	for (unsigned i = 0; i < SHARES; i++)
		printf("%8u %%", shares[i]);
	printf("\n  %-18s", "segment, MiB");
	for (unsigned i = 0; i < SHARES; i++)
		printf("%10.1f", (double)t->cells[i].load.capacity / (1 << 20));
	printf("\n  %-18s", "mean entry, B");
	for (unsigned i = 0; i < SHARES; i++)
		printf("%10u", t->cells[i].entry_bytes);
	printf("\n\n");
	for (unsigned row = 0; row < ROWS; row++) {
		if (!is_row_asked_for(row))
			continue;
		printf("  %-18s", row_name(row, text));
		for (unsigned i = 0; i < SHARES; i++)
			printf("%10.4f", t->cells[i].ratios[row]);
		printf("\n");
	}
	fflush(stdout);
}

static void
print_bars(const struct trial *t)
{
	char name[80];

	for (unsigned i = 0; i < SHARES; i++) {
		const double *ratios = t->cells[i].ratios;

		snprintf(name, sizeof name, "missratio_%s_%u_minus_s3fifo",
		    t->name, shares[i]);
		bench_bar(name, ratios[OURS] - ratios[S3FIFO], "<=", .01);
		snprintf(name, sizeof name, "missratio_%s_%u_minus_lru",
		    t->name, shares[i]);
		bench_bar(name, ratios[OURS] - ratios[LRU], "<=", .005);
	}
}

static void
print_last_bars(const struct sums *sums)
{
	if (options.processes > 1)
		bench_bar("missratio_shared_minus_alone", sums->worst, "<=",
		    .005);
	bench_bar("missratio_wrong", (double)sums->wrong, "=", 0);
	bench_bar("missratio_refused", (double)sums->refused, "=", 0);
}

static void
write_trial(FILE *csv, const struct trial *t)
{
	for (unsigned i = 0; i < SHARES; i++)
		for (unsigned row = 0; row < ROWS; row++) {
			const struct cell *cell = &t->cells[i];

			if (!is_row_asked_for(row))
				continue;
			fprintf(csv, "%s,%u,%llu,%u,%s,%.6f\n", t->name,
			    shares[i], (unsigned long long)cell->load.capacity,
			    cell->entry_bytes,
			    rows[row].name,
			    cell->ratios[row]);
		}
}

/* ----------------------------------------------------------------- main --- */

static void
run_cell(struct cell *cell, struct sums *sums)
{
	double requests = (double)cell->load.request_count, more;

	for (unsigned row = 0; row < ROWS; row++) {
		uint64_t misses;

		if (!is_row_asked_for(row))
			continue;
		if (rows[row].simulate != NULL)
			misses = rows[row].simulate(&cell->load);
		else
			misses = replay(cell,
			    row == SHARED ? options.processes : 1, sums);
		cell->ratios[row] = (double)misses / requests;
	}
	more = cell->ratios[SHARED] - cell->ratios[OURS];
	sums->worst = more > sums->worst ? more : sums->worst;
}

static void
run_trial(struct trial *t, struct sums *sums)
{
	for (unsigned i = 0; i < SHARES; i++) {
		cell_init(&t->cells[i], &t->trace, shares[i]);
		run_cell(&t->cells[i], sums);
		free((void *)(uintptr_t)t->cells[i].load.bytes);
	}
	sums->traces++;
}

static void
run_source(const struct trace_source *source, FILE *csv, struct sums *sums)
{
	struct trial t = { .name = source->name };

	if (!trace_open(&t.trace, source, options.directory,
		options.requests)) {
		printf("\nmissratio: skipped: no %s in %s\n", source->file,
		    options.directory);
		return;
	}
	run_trial(&t, sums);
	print_trial(&t);
	print_bars(&t);
	write_trial(csv, &t);
	trace_free(&t.trace);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "csv", required_argument, NULL, 'c' },
		{ "processes", required_argument, NULL, 'p' },
		{ "requests", required_argument, NULL, 'r' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (letter == 'c')
			options.csv_path = optarg;
		else if (letter == 'p')
			options.processes = (unsigned)strtoul(optarg, NULL, 10);
		else if (letter == 'r')
			options.requests = strtoull(optarg, NULL, 10);
		else
			optind = argc;
	if (optind + 1 != argc)
		bench_die("usage: missratio [--csv FILE] [--processes N] "
			  "[--requests N] DIRECTORY");
	options.directory = argv[optind];
	if (options.processes < 1 || options.processes > PROCESSES_MAX)
		bench_die("processes: 1 to %u", PROCESSES_MAX);
	if (options.requests < 1)
		bench_die("requests: at least 1");
}

int
main(int argc, char **argv)
{
	struct sums sums = { .worst = -1 };
	FILE *csv;

	parse_options(argc, argv);
	csv = bench_csv(options.csv_path,
	    "trace,share,size_bytes,entry_bytes,policy,miss_ratio");
	for (unsigned i = 0; i < TRACES; i++)
		run_source(&trace_sources[i], csv, &sums);
	fclose(csv);
	if (sums.traces > 0)
		print_last_bars(&sums);
	return 0;
}
