/* SPDX-License-Identifier: BSD-2-Clause */
/* One round: all clients ask at once; and what came of it, in figures. */
#ifndef DEMO_ROUND_H
#define DEMO_ROUND_H

#include "client.h"
#include "server.h"
#include "text.h"

#define ROUND_SPANS_MAX 256u
#define KILL_PERCENT 40u /* of the query are done when the kill comes */

/* One request in the timeline, copied from the journal. */
struct span {
	int32_t pid;
	bool successor; /* its worker took a dead one's place in this round */
	enum source source;
	uint64_t received_ns;
	uint64_t began_ns;
	uint64_t ended_ns;
	uint64_t answered_ns;
	uint64_t steps;
	uint64_t cpu_ns;
	uint64_t slept_ns;
	uint64_t killed_ns; /* 0: it lived */
};

struct round {
	/* What to do. */
	const struct text *expected; /* the body, made by the driver */
	uint32_t product;
	bool cached;
	bool kill;	      /* the computing worker, KILL_PERCENT through */
	uint64_t query_steps; /* that the whole query takes */

	/* What came of it. */
	uint64_t started_ns;
	uint64_t ended_ns;
	unsigned clients;
	unsigned answered;
	unsigned wrong;	  /* bodies that differ from the expected one */
	unsigned retried; /* clients that lost their connection and asked again */
	unsigned queries;		       /* that started */
	unsigned by_source[SOURCE_BYPASS + 1]; /* answers, by their X-Cache */
	unsigned killed; /* workers that the master saw die of SIGKILL */
	uint64_t median_ns;
	uint64_t longest_ns;
	uint64_t cpu_ns;		 /* of all queries that ended */
	struct shmc_stats before, after; /* what the cache itself counted */
	unsigned span_count;
	struct span spans[ROUND_SPANS_MAX];
};

/* Plays a round.  Returns false if it was broken off, the reason on stderr. */
bool round_play(struct round *round, const struct server *server);

/* The first span that fits, or NULL. */
const struct span *round_killed(const struct round *round);
const struct span *round_from(const struct round *round, enum source source);

#endif
