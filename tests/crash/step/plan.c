/* SPDX-License-Identifier: BSD-2-Clause */
/* Which operations meet which states. */
#include "cell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* States in which an operation takes another way than in others. */
static const struct row {
	const char *operation;
	const char *states;
} kills[] = {
	{ "get", "empty present large stale full line-full-present claim "
		 "dead-committed" },
	{ "view", "present large stale full" },
	{ "get-many", "present large" },
	{ "iterate", "present line-full-present claim" },
	{ "put", "empty present large full line-full line-full-present "
		 "little-room claim claim-dead dead-leader dead-evictor "
		 "dead-committed leader-commits" },
	{ "put-large", "empty present large full dead-evictor" },
	{ "delete", "empty present large claim claim-dead dead-leader "
		    "dead-committed leader-commits" },
	{ "invalidate", "present leader-commits" },
	{ "cas", "present large full little-room" },
	{ "add", "empty line-full claim-dead" },
	{ "update", "empty present large stale" },
	{ "incr", "empty counter" },
	{ "touch", "present large full" },
	{ "tag", "present" },
	{ "flush", "present" },
	{ "fetch", "empty present stale full line-full little-room claim "
		   "claim-dead dead-leader dead-refresher hung-leader "
		   "dead-committed dead-evictor dead-waiter leader-commits "
		   "leader-shares leader-abandons leader-dies awaited" },
	{ "fetch-append", "empty stale full dead-filler awaited" },
	{ "fetch-share", "empty full awaited" },
	{ "fetch-error", "empty stale full awaited" },
	{ "fetch-absent", "empty full awaited" },
	{ "fetch-pass", "empty awaited" },
	{ "fetch-abandon", "empty stale awaited" },
	{ "fetch-refresh", "stale stale-large" },
	{ "fetch-terms", "empty" },
	{ "fetch-many", "empty present dead-leader" },
	{ "detach-key", "empty leader-commits dead-leader" },
	{ "lease", "empty lease-held lease-holder-dies" },
	{ "first-call", "empty own-dead-holder own-dead-committed "
			"own-dead-evictor" },
	{ "detach-thread", "empty full" },
	{ "attach-fd", "present own-dead-holder" },
	{ "open", "present" },
	{ "create", "empty" },
	{ "reap", "empty dead-leader dead-committed dead-evictor dead-filler "
		  "dead-holder dead-waiter" },
};

static const struct row stops[] = {
	{ "get", "present large full" },
	{ "view", "present large full" },
	{ "get-many", "present large" },
	{ "iterate", "present line-full-present" },
	{ "put", "empty present large full line-full little-room" },
	{ "put-large", "empty large full" },
	{ "delete", "present large full" },
	{ "cas", "present full" },
	{ "update", "present full" },
	{ "touch", "present large" },
	{ "incr", "counter" },
	{ "fetch", "empty present stale full dead-leader dead-committed "
		   "leader-commits leader-shares leader-dies" },
	{ "fetch-append", "empty full" },
	{ "fetch-refresh", "stale stale-large" },
	{ "fetch-share", "empty" },
	{ "fetch-error", "empty" },
	{ "lease", "empty" },
	{ "first-call", "empty own-dead-holder own-dead-committed "
			"own-dead-evictor" },
	{ "detach-thread", "empty" },
	{ "reap", "dead-committed dead-evictor dead-filler dead-holder" },
};

/* first, state, operation. */
static const char *const pairs[][3] = {
	{ "put", "present", "reap" },
	{ "put", "full", "reap" },
	{ "put-large", "full", "reap" },
	{ "delete", "large", "reap" },
	{ "fetch", "empty", "reap" },
	{ "fetch-append", "empty", "reap" },
	{ "fetch-error", "empty", "reap" },
	{ "fetch", "empty", "fetch" },
	{ "fetch-append", "empty", "fetch-append" },
	{ "fetch", "stale", "fetch" },
	{ "fetch", "line-full", "put" },
	{ "put", "full", "put" },
	{ "put-large", "full", "put-large" },
	{ "put", "present", "delete" },
};

#define CELLS_MAX 512u

static struct cell cells[CELLS_MAX];
static unsigned cell_count;

static void
add(enum mode mode, const char *operation, const char *state,
    const char *first, bool judge_before)
{
	const struct state *s = state_find(state);

	if (operation_find(operation) == NULL || s == NULL ||
	    cell_count == CELLS_MAX) {
		say("step: %s, %s: no such cell", operation, state);
		exit(2);
	}
	/* A dead one's slot is the first, and the victim's. */
	if (judge_before && (s->flags & STATE_DEAD_FIRST) != 0) {
		if (mode == MODE_STOP)
			add(mode, operation, state, first, false);
		return;
	}
	cells[cell_count++] = (struct cell){ mode, operation, state, first,
		judge_before };
}

static void
add_rows(enum mode mode, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *names = strdup(rows[i].states), *rest = names, *state;

		if (names == NULL)
			die("strdup");
		while ((state = strsep(&rest, " ")) != NULL) {
			const struct state *s = state_find(state);

			add(mode, rows[i].operation,
			    s != NULL ? s->name : state, NULL, true);
			if (mode == MODE_KILL)
				add(mode, rows[i].operation,
				    s != NULL ? s->name : state, NULL, false);
		}
		free(names);
	}
}

const struct cell *
cell_nth(unsigned n)
{
	if (cell_count == 0) {
		add_rows(MODE_KILL, kills, sizeof kills / sizeof *kills);
		add_rows(MODE_STOP, stops, sizeof stops / sizeof *stops);
		for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
			add(MODE_PAIR, pairs[i][2], pairs[i][1], pairs[i][0],
			    true);
	}
	return n < cell_count ? &cells[n] : NULL;
}

void
cell_name(const struct cell *cell, char name[96])
{
	static const char *const modes[] = { "kill", "stop", "pair" };

	(void)snprintf(name, 96, "%s %s%s%s %s%s", modes[cell->mode],
	    cell->first != NULL ? cell->first : "",
	    cell->first != NULL ? "," : "", cell->operation, cell->state,
	    cell->mode != MODE_KILL ? "" :
	    cell->judge_before ? " judge=before" : " judge=after");
}
