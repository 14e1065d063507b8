/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shop's database: products, and orders by customers who have a favourite
 * category each.  It is generated under another name and renamed when whole,
 * so that an interrupted run leaves nothing that looks like a database.
 */
#include "shop.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "interrupt.h"
#include "text.h"

#define CATEGORIES 8u
#define THINGS 10u
#define MATERIALS 5u
#define PER_CATEGORY (THINGS * MATERIALS)
#define STEP 50000u /* orders between two looks at the progress */

static_assert(SHOP_PRODUCTS == CATEGORIES * PER_CATEGORY,
    "every product has a name");

static const char *const categories[CATEGORIES] = { "kitchen", "garden", "desk",
	"bath", "travel", "workshop", "nursery", "music" };

static const char *const materials[MATERIALS] = { "Oak", "Copper", "Glass",
	"Felt", "Bamboo" };

static const char *const things[CATEGORIES][THINGS] = {
	{ "teapot", "ladle", "bowl", "tray", "mortar", "sieve", "jug", "whisk",
	    "grater", "spoon" },
	{ "trowel", "bench", "lantern", "planter", "rake", "bird house",
	    "trellis", "watering can", "dibber", "sundial" },
	{ "inkwell", "pen box", "lamp", "bookend", "ruler", "tray", "clock",
	    "stamp", "blotter", "globe" },
	{ "soap dish", "stool", "mirror", "comb", "basin", "towel rail",
	    "brush", "duck", "shelf", "beaker" },
	{ "flask", "tag", "case", "compass", "whistle", "mug", "purse",
	    "map tube", "pillow", "cup" },
	{ "mallet", "vice", "plane", "level", "toolbox", "hook", "clamp",
	    "gauge", "file", "sawhorse" },
	{ "rattle", "cradle", "night light", "blocks", "pull duck", "mobile",
	    "spinning top", "abacus", "drum", "stacking cups" },
	{ "metronome", "flute", "chime", "lute", "stand", "bell", "castanets",
	    "horn", "ocarina", "music box" },
};

static const char schema[] =
    "PRAGMA journal_mode = OFF;"
    "PRAGMA synchronous = OFF;"
    "CREATE TABLE products(id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " category TEXT NOT NULL);"
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, day INTEGER NOT NULL,"
    " customer INTEGER NOT NULL, product INTEGER NOT NULL,"
    " quantity INTEGER NOT NULL, price_cents INTEGER NOT NULL);"
    "BEGIN;";

/* splitmix64 (Steele, Lea, Flood 2014): a well mixed word out of a counter. */
static uint64_t
mix(uint64_t counter)
{
	uint64_t word = counter * UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return word ^ (word >> 31);
}

/* A number below `limit` from 16 bits of a random word. */
static unsigned
below(uint64_t word, unsigned shift, unsigned limit)
{
	return (unsigned)((((word >> shift) & 0xffff) * limit) >> 16);
}

static bool
failed(sqlite3 *db, const char *doing)
{
	(void)fprintf(stderr, "demo: %s: %s\n", doing, sqlite3_errmsg(db));
	return false;
}

static bool
add_products(sqlite3 *db)
{
	sqlite3_stmt *insert;
	bool good = true;

	if (sqlite3_prepare_v2(db, "INSERT INTO products VALUES(?, ?, ?)", -1,
		&insert, NULL) != SQLITE_OK)
		return failed(db, "products");
	for (unsigned i = 0; i < SHOP_PRODUCTS && good; i++) {
		unsigned category = i / PER_CATEGORY;
		char name[64];

		(void)snprintf(name, sizeof(name), "%s %s",
		    materials[i % MATERIALS],
		    things[category][i % PER_CATEGORY / MATERIALS]);
		(void)sqlite3_bind_int(insert, 1, (int)i + 1);
		(void)sqlite3_bind_text(insert, 2, name, -1, SQLITE_TRANSIENT);
		(void)sqlite3_bind_text(insert, 3, categories[category], -1,
		    SQLITE_STATIC);
		good = sqlite3_step(insert) == SQLITE_DONE;
		(void)sqlite3_reset(insert);
	}
	(void)sqlite3_finalize(insert);
	return good || failed(db, "products");
}

/* Binds the columns of order `id`, made up from its number alone. */
static void
bind_order(sqlite3_stmt *insert, uint64_t id, uint64_t customers)
{
	uint64_t dice = mix(id);
	uint64_t customer = mix(dice) % customers + 1;
	/* Six of ten orders come from the customer's favourite category. */
	unsigned category = below(dice, 0, 10) < 6 ?
	    (unsigned)(mix(customer) % CATEGORIES) :
	    below(dice, 16, CATEGORIES);
	/* The lesser of two throws: what stands first sells best. */
	unsigned a = below(dice, 32, PER_CATEGORY);
	unsigned b = below(dice, 48, PER_CATEGORY);
	unsigned product = category * PER_CATEGORY + (a < b ? a : b);

	(void)sqlite3_bind_int64(insert, 1, (sqlite3_int64)id);
	(void)sqlite3_bind_int(insert, 2, (int)below(mix(id + 1), 0, 365));
	(void)sqlite3_bind_int64(insert, 3, (sqlite3_int64)customer);
	(void)sqlite3_bind_int(insert, 4, (int)product + 1);
	(void)sqlite3_bind_int(insert, 5, (int)below(mix(id + 2), 0, 4) + 1);
	(void)sqlite3_bind_int(insert, 6, (int)(mix(product) % 9000) + 500);
}

static void
show_progress(uint64_t done, uint64_t orders)
{
	struct word words[2];

	if (!isatty(STDOUT_FILENO))
		return;
	(void)printf("\r  generating the shop: %s of %s orders ",
	    text_count(&words[0], done), text_count(&words[1], orders));
	(void)fflush(stdout);
}

static bool
add_orders(sqlite3 *db, const struct shop *shop)
{
	sqlite3_stmt *insert;
	bool good = true;

	if (sqlite3_prepare_v2(db, "INSERT INTO orders VALUES(?, ?, ?, ?, ?, ?)",
		-1, &insert, NULL) != SQLITE_OK)
		return failed(db, "orders");
	for (uint64_t id = 1; id <= shop->orders && good; id++) {
		bind_order(insert, id, shop->customers);
		good = sqlite3_step(insert) == SQLITE_DONE;
		(void)sqlite3_reset(insert);
		if (id % STEP != 0)
			continue;
		show_progress(id, shop->orders);
		if (interrupted())
			break;
	}
	(void)sqlite3_finalize(insert);
	if (isatty(STDOUT_FILENO))
		(void)printf("\r\033[K");
	return !interrupted() && (good || failed(db, "orders"));
}

static bool
generate(const struct shop *shop, const char *part)
{
	sqlite3 *db;
	bool good;

	(void)unlink(part);
	if (sqlite3_open(part, &db) != SQLITE_OK) {
		good = failed(db, part);
	} else {
		good = (sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK ||
			   failed(db, "schema")) &&
		    add_products(db) && add_orders(db, shop) &&
		    (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ||
			failed(db, "commit"));
	}
	if (sqlite3_close(db) != SQLITE_OK)
		good = false;
	if (good && rename(part, shop->path) != 0) {
		(void)fprintf(stderr, "demo: %s: %s\n", shop->path,
		    strerror(errno));
		good = false;
	}
	if (!good)
		(void)unlink(part);
	return good;
}

bool
shop_open(struct shop *shop, const char *data, uint64_t orders)
{
	uint64_t started_ns = clock_now_ns();
	char part[sizeof(shop->path) + 32];
	struct stat file;
	int length;

	*shop = (struct shop){ .orders = orders };
	shop->customers = orders / SHOP_ORDERS_PER_CUSTOMER;
	length = snprintf(shop->path, sizeof(shop->path),
	    "%s/shop-%" PRIu64 ".db", data, orders);
	if (length < 0 || (size_t)length >= sizeof(shop->path)) {
		(void)fprintf(stderr, "demo: %s: the path is too long\n", data);
		return false;
	}
	if (stat(shop->path, &file) != 0) {
		(void)snprintf(part, sizeof(part), "%s.%ld.part", shop->path,
		    (long)getpid());
		if (!generate(shop, part) || stat(shop->path, &file) != 0)
			return false;
		shop->made_now = true;
		shop->made_ns = clock_between_ns(started_ns, clock_now_ns());
	}
	shop->file_bytes = (uint64_t)file.st_size;
	return true;
}
