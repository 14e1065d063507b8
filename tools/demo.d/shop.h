/* SPDX-License-Identifier: BSD-2-Clause */
/* The shop's database, made up but the same every time. */
#ifndef DEMO_SHOP_H
#define DEMO_SHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHOP_PRODUCTS 400u
#define SHOP_ORDERS_PER_CUSTOMER 20u

struct shop {
	char path[512];
	uint64_t orders;
	uint64_t customers;
	uint64_t file_bytes;
	bool made_now;	  /* false: it was there from an earlier run */
	uint64_t made_ns; /* how long that took */
};

/*
 * Sees to it that directory `data` holds the database with so many orders:
 * uses the one that is there, else generates it and says how far it is.
 * Returns false after having said why on stderr, or if told to stop.
 */
bool shop_open(struct shop *shop, const char *data, uint64_t orders);

#endif
