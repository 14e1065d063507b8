/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "journal.h"

#define WORKERS_MIN 2
#define ROWS_MIN 200000 /* with less the query is over before the kill */
#define ROWS_MAX 5000000

/* A decimal number between two bounds. */
static bool
parse_number(const char *name, const char *string, uint64_t least,
    uint64_t most, uint64_t *number)
{
	char *end;
	unsigned long long parsed;

	errno = 0;
	parsed = strtoull(string, &end, 10);
	if (string[0] >= '0' && string[0] <= '9' && *end == '\0' &&
	    errno == 0 && parsed >= least && parsed <= most) {
		*number = parsed;
		return true;
	}
	(void)fprintf(stderr,
	    "demo: --%s takes a number from %" PRIu64 " to %" PRIu64
	    ", not \"%s\"\n",
	    name, least, most, string);
	return false;
}

static bool
take(struct options *options, int option)
{
	uint64_t number = 0;
	bool good = true;

	switch (option) {
	case 's':
		options->serve = true;
		break;
	case 'd':
		options->data = optarg;
		break;
	case 'w':
		good = parse_number("workers", optarg, WORKERS_MIN,
		    JOURNAL_WORKERS_MAX, &number);
		options->workers = (unsigned)number;
		break;
	case 'r':
		good = parse_number("rows", optarg, ROWS_MIN, ROWS_MAX, &number);
		options->rows = number;
		break;
	case 'p':
		good = parse_number("port", optarg, 0, UINT16_MAX, &number);
		options->port = (uint16_t)number;
		break;
	default:
		return false; /* getopt has said why */
	}
	return good;
}

bool
options_parse(struct options *options, int count, char **words)
{
	static const struct option known[] = {
		{ "serve", no_argument, NULL, 's' },
		{ "data", required_argument, NULL, 'd' },
		{ "workers", required_argument, NULL, 'w' },
		{ "rows", required_argument, NULL, 'r' },
		{ "port", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options = (struct options){ .data = "build/demo",
		.workers = 64,
		.rows = 1000000 };
	while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
		if (!take(options, option))
			return false;
	}
	if (optind == count)
		return true;
	(void)fprintf(stderr, "demo: what does \"%s\" mean?\n", words[optind]);
	return false;
}
