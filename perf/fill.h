/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who can be filled to the brim: memory.c asks how many entries are then in it.
 * All get the same keys, sizes and memory.
 */
#ifndef PERF_FILL_H
#define PERF_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"

#define FILL_VALUE_MAX 4096u /* bytes in the longest value */

/* Where those that need files put them: a tmpfs. */
#define FILL_DIRECTORY "/dev/shm"

/* What to fill with, and into how much. */
struct fill {
	size_t value_bytes;
	size_t memory_bytes;
};

/* What came of it. */
struct filled {
	uint64_t entries;      /* that are really there */
	uint64_t memory_bytes; /* that it takes for them: everything */
};

struct filler {
	const char *name;
	const char *about; /* for the reader of the table */

	/*
	 * Puts entries 0, 1, 2, ... of keys.h until one is given up or no more
	 * is taken.  False: it is not installed here.
	 */
	bool (*fill)(const struct fill *fill, struct filled *filled);
};

extern const struct filler fill_shmcache, fill_shmcache_later, fill_memcached,
    fill_apcu, fill_lmdb, fill_tokyocabinet;

#endif
