/* SPDX-License-Identifier: BSD-2-Clause */
/* The sentences around the timelines.  Their figures come from the rounds. */
#include "story.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "paint.h"

void
story_shop(const struct shop *shop)
{
	struct word words[3];

	(void)printf("  the shop    %s orders by %s customers, %s MB of SQLite",
	    text_count(&words[0], shop->orders),
	    text_count(&words[1], shop->customers),
	    text_count(&words[2], shop->file_bytes / 1000000));
	if (shop->made_now)
		(void)printf(", generated in %s",
		    text_duration(&words[0], shop->made_ns));
	(void)printf("\n");
}

void
story_query(uint64_t alone_ns)
{
	struct word word;

	(void)printf("  the report  \"who bought this also bought ...\": one SQL "
		     "query, %s when alone\n",
	    text_duration(&word, alone_ns));
}

void
story_server(const struct server *server)
{
	(void)printf("  the server  %u preforked workers, one connection at a "
		     "time each, on %ld CPUs\n",
	    server->workers, sysconf(_SC_NPROCESSORS_ONLN));
	(void)printf("  the cache   64 MiB of memory that the workers share\n");
}

void
story_heading(unsigned number, const struct round *round, unsigned clients)
{
	const char *what = "the cache is off";

	if (round->kill)
		what = "the cache is on, the computing worker gets SIGKILL";
	else if (round->cached)
		what = "the cache is on and does not hold the report";
	(void)printf("\n%sRound %u: %s%s\n  %u requests for /report/%" PRIu32
		     " at the same moment\n",
	    paint(PAINT_BOLD), number, what, paint(PAINT_PLAIN), clients,
	    round->product);
	(void)fflush(stdout);
}

/* Who took over, and who served the client that had lost its connection. */
static void
tell_kill(const struct round *round)
{
	const struct span *dead = round_killed(round);
	const struct span *heir = round_from(round, SOURCE_PROMOTED);
	struct word words[2];

	if (dead == NULL)
		return;
	(void)printf("  Worker %d was killed %s into its query, %" PRIu64
		     " %% through.",
	    dead->pid,
	    text_duration(&words[0],
		clock_between_ns(dead->began_ns, dead->killed_ns)),
	    round->query_steps != 0 ? dead->steps * 100 / round->query_steps :
				      0);
	if (heir != NULL)
		(void)printf("  %s after the kill\n  worker %d, asleep until "
			     "then, had been promoted and began the query.",
		    text_duration(&words[1],
			clock_between_ns(dead->killed_ns, heir->began_ns)),
		    heir->pid);
	(void)printf("\n  %u %s lost the connection and asked once more",
	    round->retried, round->retried == 1 ? "client" : "clients");
	for (unsigned i = 0; i < round->span_count; i++) {
		if (round->spans[i].successor)
			(void)printf(";\n  worker %d, forked in the dead "
				     "one's place, answered: %s",
			    round->spans[i].pid,
			    source_name(round->spans[i].source));
	}
	(void)printf(".\n");
}

void
story_round(const struct round *round)
{
	(void)printf("  %u %s run, %u of %u clients answered, %u answers "
		     "wrong.\n",
	    round->queries, round->queries == 1 ? "query" : "queries",
	    round->answered, round->clients, round->wrong);
	tell_kill(round);
}

void
story_serve(const struct server *server)
{
	unsigned port = server->port;

	(void)printf(
	    "\n%sServing on http://127.0.0.1:%u/%s    (Ctrl-C ends it)\n\n"
	    "  curl -i http://127.0.0.1:%u/report/17             "
	    "X-Cache says where it came from\n"
	    "  curl -i 'http://127.0.0.1:%u/report/17?cache=off' "
	    "the same without the cache\n\n"
	    "  %u at once, for a report that nobody has asked for yet "
	    "(1 to %u; kept for %u s):\n"
	    "  seq %u | xargs -P %u -I{} curl -s -o /dev/null -w "
	    "'%%{time_total} s  %%header{x-cache}\\n' \\\n"
	    "    http://127.0.0.1:%u/report/18\n\n"
	    "  kill -9 a worker that is computing, and see who takes over "
	    "(--rows 5000000 gives you time).\n\n",
	    paint(PAINT_BOLD), port, paint(PAINT_PLAIN), port, port,
	    server->workers, SHOP_PRODUCTS, (unsigned)(server->ttl_ms / 1000),
	    server->workers, server->workers, port);
	(void)fflush(stdout);
}
