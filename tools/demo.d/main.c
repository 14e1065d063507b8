/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the users of this library suffer from, shown on something real: many
 * clients ask a preforked server for the same slow report at once, with the
 * cache off, with the cache on, and while the computing worker is killed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "interrupt.h"
#include "options.h"
#include "paint.h"
#include "report.h"
#include "shop.h"
#include "story.h"
#include "summary.h"
#include "timeline.h"

#define PRODUCT 41u	  /* of rounds 1 and 2 */
#define KILL_PRODUCT 241u /* of round 3; sells as well */
#define SERVE_TTL_MS 60000u
#define TIMED_RUNS 3u

#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 130

/* What the driver knows before any server runs. */
struct truth {
	struct text report;
	struct text kill_report;
	_Atomic uint64_t kill_steps; /* of the query for kill_report */
	uint64_t alone_ns; /* the query's time, median of TIMED_RUNS */
};

/* Asks the database directly, and takes the time. */
static bool
learn_truth(struct truth *truth, const struct shop *shop)
{
	struct report report;
	_Atomic uint64_t ignored = 0;
	uint64_t took_ns[TIMED_RUNS];
	bool good;

	if (!report_open(&report, shop->path))
		return false;
	good = report_make(&report, KILL_PRODUCT, &truth->kill_report,
	    &truth->kill_steps);
	for (unsigned i = 0; i < TIMED_RUNS && good; i++) {
		uint64_t started_ns = clock_now_ns();

		good = report_make(&report, PRODUCT, &truth->report, &ignored);
		took_ns[i] = clock_now_ns() - started_ns;
	}
	report_close(&report);
	if (!good) {
		(void)fprintf(stderr,
		    "demo: %s: the query fails; delete the file, and it is "
		    "made anew\n",
		    shop->path);
		return false;
	}
	qsort(took_ns, TIMED_RUNS, sizeof(took_ns[0]), clock_compare_ns);
	truth->alone_ns = took_ns[TIMED_RUNS / 2];
	return true;
}

static bool
play(const struct server *server, const struct truth *truth)
{
	static struct round rounds[ROUNDS];

	rounds[ROUND_OFF] = (struct round){ .product = PRODUCT,
		.expected = &truth->report };
	rounds[ROUND_ON] = (struct round){ .product = PRODUCT,
		.cached = true,
		.expected = &truth->report };
	rounds[ROUND_KILL] = (struct round){ .product = KILL_PRODUCT,
		.cached = true,
		.kill = true,
		.query_steps = truth->kill_steps,
		.expected = &truth->kill_report };
	timeline_legend();
	for (unsigned i = 0; i < ROUNDS; i++) {
		story_heading(i + 1, &rounds[i], server->workers);
		if (!round_play(&rounds[i], server))
			return false;
		timeline_print(&rounds[i]);
		story_round(&rounds[i]);
	}
	(void)printf("\n");
	return summary_print(rounds);
}

/* Returns whether it was the user who ended it. */
static bool
serve(const struct server *server)
{
	story_serve(server);
	while (!interrupted() && server_runs(server))
		interrupt_wait();
	(void)printf("\n");
	return interrupted();
}

/* The server's whole life; false if anything was not as it should be. */
static bool
run(const struct options *options, const struct shop *shop,
    const struct truth *truth)
{
	struct server server = {
		.database = shop->path,
		.workers = options->workers,
		.port = options->port,
		.ttl_ms = options->serve ? SERVE_TTL_MS : 0,
		.talk = options->serve,
		.listener = -1,
	};
	bool good = server_start(&server);

	if (good) {
		story_server(&server);
		good = options->serve ? serve(&server) : play(&server, truth);
	}
	server_stop(&server);
	return good;
}

int
main(int count, char **words)
{
	static struct truth truth;
	struct options options;
	struct shop shop;
	bool good;

	if (!options_parse(&options, count, words)) {
		(void)fprintf(stderr, "demo: tools/demo --help explains it\n");
		return EXIT_USAGE;
	}
	interrupt_block();
	(void)printf("%sshmcache demo: %u clients want the same slow report at "
		     "the same moment%s\n",
	    paint(PAINT_BOLD), options.workers, paint(PAINT_PLAIN));
	good = shop_open(&shop, options.data, options.rows);
	if (good) {
		story_shop(&shop);
		good = learn_truth(&truth, &shop);
	}
	if (good) {
		story_query(truth.alone_ns);
		good = run(&options, &shop, &truth);
	}
	if (interrupted() && !options.serve)
		return EXIT_INTERRUPTED;
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
