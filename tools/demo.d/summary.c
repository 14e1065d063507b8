/* SPDX-License-Identifier: BSD-2-Clause */
/* The rounds side by side, the conclusion, and the verdict. */
#include "summary.h"

#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "paint.h"

#define BAR 20u

static void
print_row(const char *name, const struct round *round, uint64_t scale_ns)
{
	struct word queries;
	struct word words[4];
	uint64_t total_ns = round->ended_ns - round->started_ns;
	unsigned bar = (unsigned)((total_ns * BAR + scale_ns - 1) / scale_ns);

	(void)printf("  %-26s %7s %9s %9s %9s %9s  %s", name,
	    text_count(&queries, round->queries),
	    text_duration(&words[0], round->cpu_ns),
	    text_duration(&words[1], round->median_ns),
	    text_duration(&words[2], round->longest_ns),
	    text_duration(&words[3], total_ns), paint(PAINT_GREEN));
	for (unsigned i = 0; i < bar; i++)
		(void)putchar('#');
	(void)printf("%s\n", paint(PAINT_PLAIN));
}

static void
print_table(const struct round rounds[ROUNDS])
{
	static const char *const names[ROUNDS] = {
		[ROUND_OFF] = "1  cache off",
		[ROUND_ON] = "2  cache on",
		[ROUND_KILL] = "3  cache on, worker killed",
	};
	uint64_t scale_ns = 1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t ns = rounds[i].ended_ns - rounds[i].started_ns;

		scale_ns = ns > scale_ns ? ns : scale_ns;
	}
	(void)printf("%sSide by side%s\n", paint(PAINT_BOLD),
	    paint(PAINT_PLAIN));
	(void)printf("  %s%-26s %7s %9s %9s %9s %9s%s\n", paint(PAINT_DIM), "",
	    "queries", "CPU time", "median", "longest", "all done",
	    paint(PAINT_PLAIN));
	for (unsigned i = 0; i < ROUNDS; i++)
		print_row(names[i], &rounds[i], scale_ns);
	(void)printf("  %sCPU time: of the queries that ended%s\n\n",
	    paint(PAINT_DIM), paint(PAINT_PLAIN));
}

static void
print_conclusion(const struct round rounds[ROUNDS])
{
	const struct round *off = &rounds[ROUND_OFF];
	const struct round *on = &rounds[ROUND_ON];
	const struct round *kill = &rounds[ROUND_KILL];
	struct word words[3];

	(void)printf("With the cache %u %s did the work of %u: the last of %u "
		     "clients had the report after %s",
	    on->queries, on->queries == 1 ? "query" : "queries", off->queries,
	    on->answered, text_duration(&words[0], on->longest_ns));
	(void)printf("\ninstead of %s",
	    text_duration(&words[1], off->longest_ns));
	if (on->longest_ns != 0 && on->longest_ns < off->longest_ns)
		(void)printf(" (%.1f times sooner)",
		    (double)off->longest_ns / (double)on->longest_ns);
	(void)printf(", and after %s when the computing worker was killed.\n\n",
	    text_duration(&words[2], kill->longest_ns));
}

/* Says on stderr that a figure is not as promised; returns whether it is. */
static bool
expect(const char *what, uint64_t found, uint64_t promised)
{
	if (found == promised)
		return true;
	(void)fprintf(stderr,
	    "demo: %s: %" PRIu64 ", and should be %" PRIu64 "\n", what, found,
	    promised);
	return false;
}

/* The cache's own counters must tell the same story. */
static bool
check_counters(const struct round *on, const struct round *kill)
{
	bool good = expect("round 2, computations by the cache's counters",
	    on->after.computations - on->before.computations, on->queries);

	good &= expect("round 2, shared results by the cache's counters",
	    on->after.shared - on->before.shared, on->by_source[SOURCE_SHARED]);
	good &= expect("round 3, promotions by the cache's counters",
	    kill->after.promotions - kill->before.promotions,
	    kill->by_source[SOURCE_PROMOTED]);
	return good;
}

static bool
check(const struct round rounds[ROUNDS], unsigned wrong)
{
	const struct round *off = &rounds[ROUND_OFF];
	const struct round *on = &rounds[ROUND_ON];
	const struct round *kill = &rounds[ROUND_KILL];
	bool good = expect("wrong answers", wrong, 0);

	good &= expect("round 1, answers", off->answered, off->clients);
	good &= expect("round 1, queries", off->queries, off->clients);
	good &= expect("round 2, answers", on->answered, on->clients);
	good &= expect("round 2, queries", on->queries, 1);
	good &= expect("round 2, shared", on->by_source[SOURCE_SHARED],
	    on->clients - 1);
	good &= expect("round 3, answers", kill->answered, kill->clients);
	good &= expect("round 3, killed workers", kill->killed, 1);
	good &= expect("round 3, promoted", kill->by_source[SOURCE_PROMOTED], 1);
	good &= expect("round 3, queries", kill->queries, 2);
	good &= expect("round 3, clients that asked again", kill->retried, 1);
	good &= check_counters(on, kill);
	return good;
}

bool
summary_print(const struct round rounds[ROUNDS])
{
	const struct round *on = &rounds[ROUND_ON];
	const struct round *kill = &rounds[ROUND_KILL];
	unsigned wrong = 0;
	bool good;

	for (unsigned i = 0; i < ROUNDS; i++)
		wrong += rounds[i].wrong;
	print_table(rounds);
	print_conclusion(rounds);
	(void)fflush(stdout);
	good = check(rounds, wrong);
	(void)printf("demo: requests=%u computed=%u shared=%u killed=%u "
		     "promoted=%u wrong=%u\n",
	    on->clients, on->queries, on->by_source[SOURCE_SHARED],
	    kill->killed, kill->by_source[SOURCE_PROMOTED], wrong);
	return good;
}
