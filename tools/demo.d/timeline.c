/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A round as a picture.  Spans are sorted by what became of them; a few of a
 * kind get a line each, many share a line, which then reaches from the first
 * beginning to the last end among them.
 */
#include "timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "paint.h"

#define COLUMNS 40u
#define ALONE_MAX 2u /* so many of a kind get lines of their own */
#define PARTS 4u     /* lines for many computing workers */

#define SIGN_QUERY '='
#define SIGN_SLEEP '.'
#define SIGN_KILL 'X'

/* In the order in which they are shown. */
enum kind {
	KIND_KILLED,
	KIND_COMPUTED,
	KIND_PROMOTED,
	KIND_SHARED,
	KIND_SUCCESSOR,
	KIND_HIT,
};

/* Some spans of one kind on one line. */
struct line {
	const struct span *spans;
	unsigned count;
	enum kind kind;
};

static enum kind
kind_of(const struct span *span)
{
	if (span->killed_ns != 0)
		return KIND_KILLED;
	if (span->source == SOURCE_PROMOTED)
		return KIND_PROMOTED;
	if (span->began_ns != 0)
		return KIND_COMPUTED;
	if (span->successor)
		return KIND_SUCCESSOR;
	return span->source == SOURCE_HIT ? KIND_HIT : KIND_SHARED;
}

static uint64_t
end_of(const struct span *span)
{
	return span->killed_ns != 0 ? span->killed_ns : span->answered_ns;
}

static int
compare(const void *left, const void *right)
{
	enum kind a = kind_of(left);
	enum kind b = kind_of(right);
	uint64_t a_ns = end_of(left);
	uint64_t b_ns = end_of(right);

	if (a != b)
		return a < b ? -1 : 1;
	return (a_ns > b_ns) - (a_ns < b_ns);
}

/* Fills the columns from one time to another with a sign. */
static void
fill(char *bar, const struct round *round, uint64_t from_ns, uint64_t to_ns,
    char sign)
{
	uint64_t whole_ns = round->ended_ns - round->started_ns;
	uint64_t from = clock_between_ns(round->started_ns, from_ns) * COLUMNS;
	uint64_t to = clock_between_ns(round->started_ns, to_ns) * COLUMNS;
	size_t first = (size_t)(from / whole_ns);
	size_t last = (size_t)((to + whole_ns - 1) / whole_ns);

	for (size_t i = first; i < last && i < COLUMNS; i++)
		bar[i] = sign;
}

static void
fill_span(char *bar, const struct round *round, const struct span *span)
{
	uint64_t awake_ns = span->began_ns != 0 ? span->began_ns :
						  span->answered_ns;
	uint64_t ended_ns = span->ended_ns != 0 ? span->ended_ns :
						  span->killed_ns;

	if (span->slept_ns != 0)
		fill(bar, round, span->received_ns, awake_ns, SIGN_SLEEP);
	if (span->began_ns != 0)
		fill(bar, round, span->began_ns, ended_ns, SIGN_QUERY);
	if (span->killed_ns != 0)
		fill(bar, round, span->killed_ns, span->killed_ns + 1,
		    SIGN_KILL);
}

static const char *
colour_of(char sign, enum kind kind)
{
	if (sign == SIGN_KILL)
		return paint(PAINT_RED);
	if (sign == SIGN_SLEEP)
		return paint(PAINT_BLUE);
	if (kind == KIND_KILLED)
		return paint(PAINT_RED);
	return paint(kind == KIND_PROMOTED ? PAINT_YELLOW : PAINT_GREEN);
}

static void
print_bar(const char *bar, enum kind kind)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		bool change = i == 0 || bar[i] != bar[i - 1];

		if (change && bar[i] != ' ')
			(void)fputs(colour_of(bar[i], kind), stdout);
		else if (change)
			(void)fputs(paint(PAINT_PLAIN), stdout);
		(void)putchar(bar[i]);
	}
	(void)fputs(paint(PAINT_PLAIN), stdout);
}

/* The least and the most time in a query, or asleep, on a line. */
static void
range(const struct line *line, bool asleep, struct word *word)
{
	uint64_t least_ns = UINT64_MAX;
	uint64_t most_ns = 0;

	for (unsigned i = 0; i < line->count; i++) {
		const struct span *span = &line->spans[i];
		uint64_t end_ns = span->ended_ns != 0 ? span->ended_ns :
							span->killed_ns;
		uint64_t ns = asleep ? span->slept_ns :
				       clock_between_ns(span->began_ns, end_ns);

		least_ns = ns < least_ns ? ns : least_ns;
		most_ns = ns > most_ns ? ns : most_ns;
	}
	(void)text_range(word, least_ns, most_ns);
}

static void
print_note(const struct line *line)
{
	struct word query;
	struct word sleep;

	range(line, false, &query);
	range(line, true, &sleep);
	switch (line->kind) {
	case KIND_KILLED:
		(void)printf("query, killed after %s", query.text);
		break;
	case KIND_COMPUTED:
		(void)printf("query, %s%s", query.text,
		    line->count > 1 ? " each" : "");
		break;
	case KIND_PROMOTED:
		(void)printf("slept %s, promoted, %s", sleep.text, query.text);
		break;
	case KIND_SHARED:
		(void)printf("slept %s, shared", sleep.text);
		break;
	case KIND_SUCCESSOR:
		(void)printf("the dead one's successor, slept %s", sleep.text);
		break;
	case KIND_HIT:
		(void)printf("found it in the cache");
		break;
	}
}

static void
print_line(const struct round *round, const struct line *line)
{
	char bar[COLUMNS];
	char label[32];

	memset(bar, ' ', sizeof(bar));
	for (unsigned i = 0; i < line->count; i++)
		fill_span(bar, round, &line->spans[i]);
	if (line->count == 1)
		(void)snprintf(label, sizeof(label), "worker %d",
		    line->spans[0].pid);
	else
		(void)snprintf(label, sizeof(label), "%u workers", line->count);
	(void)printf("  %-14s |", label);
	print_bar(bar, line->kind);
	(void)printf("| ");
	print_note(line);
	(void)printf("\n");
}

/* Prints the spans of one kind on as many lines as become them. */
static void
print_kind(const struct round *round, const struct line *all)
{
	unsigned parts = all->count;
	unsigned done = 0;

	if (all->count > ALONE_MAX)
		parts = all->kind == KIND_COMPUTED && all->count >= PARTS ?
		    PARTS :
		    1;
	for (unsigned i = 0; i < parts; i++) {
		unsigned until = all->count * (i + 1) / parts;
		struct line line = { all->spans + done, until - done,
			all->kind };

		print_line(round, &line);
		done = until;
	}
}

static void
print_axis(const struct round *round)
{
	struct word word;

	(void)printf("  %s%-14s  0%*s%s\n", paint(PAINT_DIM), "",
	    (int)COLUMNS - 1,
	    text_duration(&word, round->ended_ns - round->started_ns),
	    paint(PAINT_PLAIN));
}

void
timeline_legend(void)
{
	(void)printf("  %s%c%s running the query   %s%c%s asleep   "
		     "%s%c%s killed\n",
	    paint(PAINT_GREEN), SIGN_QUERY, paint(PAINT_PLAIN),
	    paint(PAINT_BLUE), SIGN_SLEEP, paint(PAINT_PLAIN), paint(PAINT_RED),
	    SIGN_KILL, paint(PAINT_PLAIN));
}

void
timeline_print(struct round *round)
{
	unsigned first = 0;

	if (round->ended_ns == round->started_ns)
		return;
	qsort(round->spans, round->span_count, sizeof(round->spans[0]), compare);
	print_axis(round);
	for (unsigned i = 1; i <= round->span_count; i++) {
		enum kind kind = kind_of(&round->spans[first]);
		struct line line = { &round->spans[first], i - first, kind };

		if (i < round->span_count && kind_of(&round->spans[i]) == kind)
			continue;
		print_kind(round, &line);
		first = i;
	}
}
