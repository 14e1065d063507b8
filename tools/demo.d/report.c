/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Who bought this also bought ...": the orders are scanned for the buyers of
 * one product, and scanned again for all that these buyers ordered.  There is
 * no index on purpose: this is the report that nobody got round to tune.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#define STEP 20000 /* instructions of SQLite's virtual machine */

static const char name_sql[] = "SELECT name FROM products WHERE id = ?1";

static const char also_sql[] =
    "SELECT p.name, p.category, t.orders, t.units, t.revenue"
    " FROM (SELECT product, count(*) AS orders, sum(quantity) AS units,"
    "  sum(quantity * price_cents) AS revenue"
    "  FROM orders"
    "  WHERE customer IN (SELECT customer FROM orders WHERE product = ?1)"
    "  AND product <> ?1"
    "  GROUP BY product ORDER BY revenue DESC, product LIMIT 10) AS t"
    " JOIN products AS p ON p.id = t.product"
    " ORDER BY t.revenue DESC, t.product";

/*
 * Nobody writes while the demo runs, so there is nothing to lock; mapped, the
 * pages are the ones of the page cache, for all workers together.
 */
static const char settings[] = "PRAGMA mmap_size = 1073741824";

bool
report_open(struct report *report, const char *path)
{
	struct text uri;

	*report = (struct report){ 0 };
	text_clear(&uri);
	text_add(&uri, "file:%s?immutable=1", path);
	if (sqlite3_open_v2(uri.data, &report->db,
		SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) == SQLITE_OK &&
	    sqlite3_exec(report->db, settings, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(report->db, name_sql, -1, &report->name, NULL) ==
		SQLITE_OK &&
	    sqlite3_prepare_v2(report->db, also_sql, -1, &report->also, NULL) ==
		SQLITE_OK)
		return true;
	(void)fprintf(stderr, "demo: %s: %s\n", path,
	    sqlite3_errmsg(report->db));
	report_close(report);
	return false;
}

void
report_close(struct report *report)
{
	(void)sqlite3_finalize(report->name);
	(void)sqlite3_finalize(report->also);
	(void)sqlite3_close(report->db);
	*report = (struct report){ 0 };
}

static const char *
column(sqlite3_stmt *row, int index)
{
	const unsigned char *string = sqlite3_column_text(row, index);

	return string ? (const char *)string : "";
}

bool
report_product(struct report *report, uint32_t product, struct text *name)
{
	bool found;

	text_clear(name);
	(void)sqlite3_bind_int64(report->name, 1, product);
	found = sqlite3_step(report->name) == SQLITE_ROW;
	if (found)
		text_add(name, "%s", column(report->name, 0));
	(void)sqlite3_reset(report->name);
	return found;
}

static void
add_row(struct text *body, sqlite3_stmt *row)
{
	int64_t cents = sqlite3_column_int64(row, 4);

	text_add(body, "    {\"name\": ");
	text_add_json(body, column(row, 0));
	text_add(body, ", \"category\": ");
	text_add_json(body, column(row, 1));
	text_add(body, ", \"orders\": %" PRId64 ", \"units\": %" PRId64,
	    (int64_t)sqlite3_column_int64(row, 2),
	    (int64_t)sqlite3_column_int64(row, 3));
	text_add(body, ", \"revenue\": \"%" PRId64 ".%02d\"}", cents / 100,
	    (int)(cents % 100));
}

/* Called by SQLite every STEP instructions of its virtual machine. */
static int
count_step(void *arg)
{
	_Atomic uint64_t *steps = arg;

	/* Relaxed: a number by itself. */
	(void)atomic_fetch_add_explicit(steps, 1, memory_order_relaxed);
	return 0;
}

bool
report_make(struct report *report, uint32_t product, struct text *body,
    _Atomic uint64_t *steps)
{
	struct text name;
	unsigned rows = 0;
	int step;

	if (!report_product(report, product, &name))
		return false;
	text_clear(body);
	text_add(body, "{\n  \"product\": %" PRIu32 ",\n  \"name\": ", product);
	text_add_json(body, name.data);
	text_add(body, ",\n  \"who_bought_it_also_bought\": [");
	(void)sqlite3_bind_int64(report->also, 1, product);
	sqlite3_progress_handler(report->db, STEP, count_step, steps);
	while ((step = sqlite3_step(report->also)) == SQLITE_ROW) {
		text_add(body, rows++ > 0 ? ",\n" : "\n");
		add_row(body, report->also);
	}
	(void)sqlite3_reset(report->also);
	sqlite3_progress_handler(report->db, 0, NULL, NULL);
	text_add(body, "\n  ]\n}\n");
	return step == SQLITE_DONE && !body->overflow;
}
