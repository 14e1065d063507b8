/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shmcache-step: kills a process at every instruction of every operation of the
 * library, stops it there, kills two in a row; and looks what is left.
 *
 * The library is the shared one, as it is shipped.
 */
#include "cell.h"

#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "Usage: shmcache-step [OPTION]...\n"
    "Kills a process at the instructions of each operation of libshmcache, in\n"
    "each state of the segment that changes its course, and lets another one\n"
    "see whether all is well.  Exit status 0 only if it is, everywhere.\n"
    "Without options: wherever the segment has just changed, and at some other\n"
    "instructions.\n"
    "\n"
    "  --all              every instruction\n"
    "  --sample N         so many others (20)\n"
    "  --seed N           of the sample (SHMC_SEED, or the date)\n"
    "  --seconds N        end after about so long\n"
    "  --progress FILE    with --all: go on where the last run with this\n"
    "                     library ended\n"
    "  --jobs N           processes at a time (one per CPU)\n"
    "  --only GLOB        cells whose name matches, e.g. 'kill put *'\n"
    "  --at N             only the Nth instruction\n"
    "  --first-at N       of pairs: only the Nth instruction of the first\n"
    "  --results FILE     append a line per cell: passed|failed|skipped NAME\n"
    "  --list             the cells\n";

struct options {
	struct extent extent;
	const char *only;
	const char *progress;
	const char *results;
	unsigned jobs;
	unsigned seconds;
	bool list;
};

/* ------------------------------------------------------ what is done yet -- */

#define CELLS_MAX 512u

enum fate { FATE_OPEN, FATE_PASSED, FATE_FAILED };

/* Shared by the workers: each cell's place is its own. */
struct board {
	_Atomic unsigned next_turn;
	unsigned turns[CELLS_MAX]; /* the cells in the order of this run */
	unsigned count;
	_Atomic uint64_t done, missed, failures;
	enum fate fate[CELLS_MAX];
	uint32_t from[CELLS_MAX]; /* UINT32_MAX: done */
};

static struct board *board;
static struct options options;

static uint64_t
library_hash(void)
{
	int fd = open(trace_library(), O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t hash;
	void *bytes;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(trace_library());
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		die("mmap");
	hash = hash_bytes(bytes, (size_t)st.st_size, 0);
	munmap(bytes, (size_t)st.st_size);
	close(fd);
	return hash;
}

static bool
is_asked_for(const struct cell *cell)
{
	char name[96];

	cell_name(cell, name);
	return options.only == NULL || fnmatch(options.only, name, 0) == 0;
}

/* Lines: the library's hash, where to go on, the cell's name. */
static void
progress_read(void)
{
	unsigned long long hash;
	char line[256], name[96];
	unsigned from;
	FILE *file = fopen(options.progress, "re");
	int at;

	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		if (sscanf(line, "%llx %u %n", &hash, &from, &at) != 2 ||
		    hash != library_hash())
			continue;
		line[strcspn(line, "\n")] = '\0';
		for (unsigned i = 0; cell_nth(i) != NULL; i++) {
			cell_name(cell_nth(i), name);
			if (strcmp(name, line + at) == 0)
				board->from[i] = from;
		}
	}
	if (file != NULL)
		fclose(file);
}

static void
progress_write(void)
{
	FILE *file = fopen(options.progress, "we");
	char name[96];

	if (file == NULL)
		die(options.progress);
	for (unsigned i = 0; cell_nth(i) != NULL; i++) {
		cell_name(cell_nth(i), name);
		if (board->from[i] != 0)
			fprintf(file, "%llx %u %s\n",
			    (unsigned long long)library_hash(), board->from[i],
			    name);
	}
	if (fclose(file) != 0)
		die(options.progress);
}

/* -------------------------------------------------------------- workers --- */

static void
tell(const struct cell *cell, const struct result *r)
{
	const char *words[] = { "killed", "stopped", "pairs" };
	char name[96], missed[32] = "";

	cell_name(cell, name);
	if (r->missed != 0)
		(void)snprintf(missed, sizeof missed, " missed=%u", r->missed);
	say("step %s instructions=%u %s=%u%s%s", name, r->instructions,
	    words[cell->mode], r->done, missed,
	    r->failures != 0 ? " FAILED" : "");
}

static void
work_on(unsigned number)
{
	const struct cell *cell = cell_nth(number);
	struct extent extent = options.extent;
	struct result result;

	extent.from = board->from[number];
	if (!is_asked_for(cell) || extent.from == UINT32_MAX)
		return;
	if (extent.end_ns != 0 && now_ns() > extent.end_ns)
		return;
	cell_run(cell, &extent, &result);
	tell(cell, &result);
	atomic_fetch_add(&board->done, result.done);
	atomic_fetch_add(&board->missed, result.missed);
	atomic_fetch_add(&board->failures, result.failures);
	/* A failed one is done anew by the next run. */
	board->from[number] = result.failures != 0 ? 0 : result.next;
	board->fate[number] = result.failures != 0 ? FATE_FAILED :
	    result.next == UINT32_MAX		   ? FATE_PASSED :
						     FATE_OPEN;
}

static void
work(unsigned worker, pid_t parent)
{
	unsigned turn;

	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(2);
	if (trace_refusal() != NULL)
		_exit(2);
	stage_init(worker);
	cell_init();
	while ((turn = atomic_fetch_add(&board->next_turn, 1)) < board->count)
		work_on(board->turns[turn]);
	stage_end();
	_exit(0);
}

/*
 * A sample that runs out of time shall not always end at the same cell: they
 * come in an order that the seed decides.
 */
static void
order_cells(void)
{
	uint64_t random = options.extent.seed;

	while (cell_nth(board->count) != NULL) {
		board->turns[board->count] = board->count;
		board->count++;
	}
	for (unsigned i = 0; !options.extent.all && i < board->count; i++) {
		unsigned other = i + (unsigned)(draw(&random) %
		    (board->count - i));
		unsigned drawn = board->turns[other];

		board->turns[other] = board->turns[i];
		board->turns[i] = drawn;
	}
}

/* False: a worker could not do its work. */
static bool
run_workers(void)
{
	pid_t parent = getpid(), pid;
	bool well = true;
	int status;

	for (unsigned i = 0; i < options.jobs; i++) {
		pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0)
			work(i, parent);
	}
	while ((pid = wait(&status)) > 0 || errno == EINTR)
		if (pid > 0 && status != 0) {
			say("step: a worker ended with status %#x",
			    (unsigned)status);
			well = false;
		}
	return well;
}

/* --------------------------------------------------------------- results -- */

/* Neither this run nor one before has come to its end. */
static bool
is_open(unsigned number)
{
	return board->from[number] != UINT32_MAX &&
	    board->fate[number] == FATE_OPEN;
}

static unsigned
count_open(void)
{
	unsigned n = 0;

	for (unsigned i = 0; cell_nth(i) != NULL; i++)
		n += is_asked_for(cell_nth(i)) && is_open(i);
	return n;
}

/* A line for each cell that came to its end, and one for all others. */
static void
write_results(void)
{
	FILE *file = fopen(options.results, "ae");
	char name[96];

	if (file == NULL)
		die(options.results);
	for (unsigned i = 0; cell_nth(i) != NULL; i++) {
		bool failed = board->fate[i] == FATE_FAILED;

		if (!is_asked_for(cell_nth(i)) || is_open(i))
			continue;
		cell_name(cell_nth(i), name);
		for (char *p = name; *p != '\0'; p++)
			if (*p == ' ')
				*p = '.';
		fprintf(file, "%s step.%s\n", failed ? "failed" : "passed",
		    name);
	}
	if (count_open() > 0)
		fprintf(file, "skipped step: %u of %u cells: the time was "
		    "over\n", count_open(), board->count);
	if (fclose(file) != 0)
		die(options.results);
}

static void
write_skipped(const char *reason)
{
	FILE *file = options.results != NULL ? fopen(options.results, "ae") :
					       NULL;

	say("step: skipped: %s", reason);
	if (file == NULL)
		return;
	fprintf(file, "skipped step %s\n", reason);
	(void)fclose(file);
}

/* -------------------------------------------------------------- options --- */

static uint64_t
default_seed(void)
{
	const char *given = getenv("SHMC_SEED");

	return given != NULL ? strtoull(given, NULL, 10) :
	    (uint64_t)time(NULL) / 86400;
}

static const struct option long_options[] = {
	{ "all", no_argument, NULL, 'a' },
	{ "sample", required_argument, NULL, 'n' },
	{ "seed", required_argument, NULL, 's' },
	{ "seconds", required_argument, NULL, 't' },
	{ "progress", required_argument, NULL, 'p' },
	{ "jobs", required_argument, NULL, 'j' },
	{ "only", required_argument, NULL, 'o' },
	{ "at", required_argument, NULL, '@' },
	{ "first-at", required_argument, NULL, '1' },
	{ "results", required_argument, NULL, 'r' },
	{ "list", no_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* False: that is no option. */
static bool
take_option(int letter)
{
	unsigned long number = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;

	switch (letter) {
	case 'a': options.extent.all = true; return true;
	case 'n': options.extent.sample = (uint32_t)number; return true;
	case 's': options.extent.seed = number; return true;
	case 't': options.seconds = (unsigned)number; return true;
	case 'p': options.progress = optarg; return true;
	case 'j': options.jobs = (unsigned)number; return true;
	case 'o': options.only = optarg; return true;
	case '@': options.extent.at = (int32_t)number; return true;
	case '1': options.extent.first_at = (int32_t)number; return true;
	case 'r': options.results = optarg; return true;
	case 'l': options.list = true; return true;
	default: return false;
	}
}

static void
take_options(int argc, char **argv)
{
	int letter;

	options.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	options.extent.sample = 20;
	options.extent.at = -1;
	options.extent.first_at = -1;
	options.extent.seed = default_seed();
	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (!take_option(letter)) {
			(void)fputs(usage, letter == 'h' ? stdout : stderr);
			exit(letter == 'h' ? 0 : 2);
		}
	if (options.seconds != 0)
		options.extent.end_ns = now_ns() +
		    (uint64_t)options.seconds * 1000000000u;
}

static void
list_cells(void)
{
	char name[96];

	for (unsigned i = 0; cell_nth(i) != NULL; i++) {
		cell_name(cell_nth(i), name);
		if (is_asked_for(cell_nth(i)))
			puts(name);
	}
}

static int
run(void)
{
	const char *refusal = trace_refusal();
	bool well;

	if (refusal != NULL) {
		write_skipped(refusal);
		return 0;
	}
	say(options.extent.all ? "step: every instruction" :
	    "step: every change, and a sample: SHMC_SEED=%llu repeats it",
	    (unsigned long long)options.extent.seed);
	if (options.progress != NULL && options.extent.all)
		progress_read();
	order_cells();
	well = run_workers();
	if (options.progress != NULL && options.extent.all)
		progress_write();
	if (options.results != NULL)
		write_results();
	say("step: %llu deaths and stops, %llu missed, %llu failures, %u cells "
	    "not ended", (unsigned long long)board->done,
	    (unsigned long long)board->missed,
	    (unsigned long long)board->failures, count_open());
	return well && board->failures == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		die("mmap");
	take_options(argc, argv);
	if (options.list) {
		list_cells();
		return 0;
	}
	return run();
}
