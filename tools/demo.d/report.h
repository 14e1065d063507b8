/* SPDX-License-Identifier: BSD-2-Clause */
/* The report that everybody asks for: a real query, slow on purpose. */
#ifndef DEMO_REPORT_H
#define DEMO_REPORT_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "text.h"

/* One process's connection.  It must not cross a fork. */
struct report {
	sqlite3 *db;
	sqlite3_stmt *name;
	sqlite3_stmt *also;
};

/* Opens the shop for reading; says on stderr why it could not. */
bool report_open(struct report *report, const char *path);

void report_close(struct report *report);

/*
 * The report on one product, as JSON, in *body.  *steps grows as the query
 * runs: by the same amount whenever the same query runs, however fast.
 * Returns false if the database failed.
 */
bool report_make(struct report *report, uint32_t product, struct text *body,
    _Atomic uint64_t *steps);

/* The product's name in *name; false if there is none. */
bool report_product(struct report *report, uint32_t product, struct text *name);

#endif
