/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line.  tools/demo --help explains it. */
#ifndef DEMO_OPTIONS_H
#define DEMO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *data; /* directory of the database */
	unsigned workers;
	uint64_t rows;
	uint16_t port;
	bool serve;
};

/* Returns false after having said on stderr what is wrong. */
bool options_parse(struct options *options, int count, char **words);

#endif
