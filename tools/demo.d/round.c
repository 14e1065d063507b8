/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One round.  Every figure is counted from what clients received, from the
 * journal of workers and master, or by the cache; none is assumed.
 */
#include "round.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

#define ROUND_NS (600 * NS_PER_S) /* after that something is broken */
#define SETTLE_NS (5 * NS_PER_S)  /* for the master's last notes */

/* What the idle hook needs to choose its victim. */
struct hunt {
	struct round *round;
	const struct server *server;
	bool over;
	unsigned received; /* requests that have reached a worker */
	bool computing;	   /* a query runs */
	uint64_t steps;	   /* that it has made */
	unsigned place;	   /* its worker */
};

static void
see_request(const struct journal_request *request, unsigned place, void *arg)
{
	struct hunt *hunt = arg;

	hunt->received++;
	if (journal_time(&request->began_ns) == 0 ||
	    journal_time(&request->ended_ns) != 0)
		return;
	hunt->computing = true;
	hunt->steps = journal_steps(request);
	hunt->place = place;
}

/* Kills the computing worker once everybody waits for it. */
static void
hunt_idle(void *arg)
{
	struct hunt *hunt = arg;

	if (!hunt->round->kill || hunt->over)
		return;
	hunt->received = 0;
	hunt->computing = false;
	journal_visit(hunt->server->journal, hunt->round->started_ns,
	    see_request, hunt);
	if (!hunt->computing || hunt->received < hunt->round->clients ||
	    hunt->steps * 100 < hunt->round->query_steps * KILL_PERCENT)
		return;
	server_kill_worker(hunt->server, hunt->place);
	hunt->over = true;
}

struct gathering {
	struct round *round;
	const struct journal *journal;
};

static void
gather_span(const struct journal_request *request, unsigned place, void *arg)
{
	struct gathering *gathering = arg;
	struct round *round = gathering->round;
	const struct journal_death *death = journal_find_death(gathering->journal,
	    request->pid);
	struct span *span = &round->spans[round->span_count];

	(void)place;
	if (round->span_count == ROUND_SPANS_MAX)
		return;
	round->span_count++;
	*span = (struct span){
		.pid = request->pid,
		.received_ns = journal_time(&request->received_ns),
		.began_ns = journal_time(&request->began_ns),
		.ended_ns = journal_time(&request->ended_ns),
		.answered_ns = journal_time(&request->answered_ns),
		.steps = journal_steps(request),
	};
	span->source = (enum source)request->source;
	span->cpu_ns = request->cpu_ns;
	span->slept_ns = request->slept_ns;
	if (span->answered_ns == 0 && death != NULL)
		span->killed_ns = death->killed_ns;
}

/* True once the journal says about every request how it ended. */
static bool
settled(const struct round *round)
{
	for (unsigned i = 0; i < round->span_count; i++) {
		if (round->spans[i].answered_ns == 0 &&
		    round->spans[i].killed_ns == 0)
			return false;
	}
	return true;
}

/* Clients may be ahead of the journal's last stamps by a moment. */
static void
gather_spans(struct round *round, const struct server *server)
{
	static const struct timespec nap = { 0, NS_PER_MS };
	struct gathering gathering = { round, server->journal };
	uint64_t deadline_ns = clock_now_ns() + SETTLE_NS;

	for (;;) {
		round->span_count = 0;
		journal_visit(server->journal, round->started_ns, gather_span,
		    &gathering);
		if (settled(round) || clock_now_ns() > deadline_ns)
			return;
		(void)nanosleep(&nap, NULL);
	}
}

static void
count_deaths(struct round *round, const struct journal *journal)
{
	uint32_t count = atomic_load_explicit(&journal->death_count,
	    memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		const struct journal_death *death = &journal->deaths[i];

		if (death->reaped_ns < round->started_ns ||
		    death->signal != SIGKILL)
			continue;
		round->killed++;
		for (unsigned j = 0; j < round->span_count; j++) {
			if (round->spans[j].pid == death->successor)
				round->spans[j].successor = true;
		}
	}
}

static void
count_spans(struct round *round)
{
	for (unsigned i = 0; i < round->span_count; i++) {
		const struct span *span = &round->spans[i];

		if (span->began_ns != 0)
			round->queries++;
		if (span->ended_ns != 0)
			round->cpu_ns += span->cpu_ns;
	}
}

static void
count_answers(struct round *round, const struct client *clients)
{
	uint64_t waited_ns[JOURNAL_WORKERS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < round->clients; i++) {
		const struct client *client = &clients[i];

		round->retried += client->attempts > 1;
		if (!client->answered)
			continue;
		if (client->body_bytes != round->expected->bytes ||
		    memcmp(client->body, round->expected->data,
			client->body_bytes) != 0)
			round->wrong++;
		round->by_source[client->source]++;
		waited_ns[count++] = client->ended_ns - client->started_ns;
	}
	round->answered = count;
	if (count == 0)
		return;
	qsort(waited_ns, count, sizeof(waited_ns[0]), clock_compare_ns);
	round->median_ns = waited_ns[count / 2];
	round->longest_ns = waited_ns[count - 1];
}

bool
round_play(struct round *round, const struct server *server)
{
	struct hunt hunt = { .round = round, .server = server };
	struct client *clients = calloc(server->workers, sizeof(*clients));
	char target[64];
	bool whole;

	if (clients == NULL) {
		(void)fprintf(stderr, "demo: out of memory\n");
		return false;
	}
	(void)snprintf(target, sizeof(target), "/report/%" PRIu32 "%s",
	    round->product, round->cached ? "" : "?cache=off");
	round->clients = server->workers;
	shmc_stats(server->cache, &round->before, sizeof(round->before));
	round->started_ns = clock_now_ns();
	whole = client_run(clients, round->clients, server->port, target,
	    round->started_ns + ROUND_NS, hunt_idle, &hunt);
	round->ended_ns = clock_now_ns();
	if (whole) {
		gather_spans(round, server);
		shmc_stats(server->cache, &round->after, sizeof(round->after));
		count_deaths(round, server->journal);
		count_spans(round);
		count_answers(round, clients);
	}
	free(clients);
	return whole;
}

const struct span *
round_killed(const struct round *round)
{
	for (unsigned i = 0; i < round->span_count; i++) {
		if (round->spans[i].killed_ns != 0)
			return &round->spans[i];
	}
	return NULL;
}

const struct span *
round_from(const struct round *round, enum source source)
{
	for (unsigned i = 0; i < round->span_count; i++) {
		if (round->spans[i].source == source)
			return &round->spans[i];
	}
	return NULL;
}
