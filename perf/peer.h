/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer: a store that hits.c fills and reads.  All get the same keys, values
 * and memory; all copy the value out, as shmc_get() does.
 */
#ifndef PERF_PEER_H
#define PERF_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys.h"

#define PEER_VALUE_MAX 4096u /* bytes in the longest value */

/* What is stored. */
struct store {
	const char *name;
	uint32_t entries;
	size_t value_bytes;
	size_t memory_bytes; /* what a peer may use */
};

/* One question. */
struct question {
	uint64_t index;
	char key[KEY_BYTES];
};

struct peer {
	const char *name;
	const char *about; /* for the reader of the table */
	bool threads;	   /* readers are threads of one process */
	size_t value_at;   /* where in the buffer get() leaves the value */

	/* Creates and fills the store; returns what the others take. */
	void *(*create)(const struct store *store);

	/* A reader begins; called in its process or thread. */
	void *(*attach)(void *made);

	/* Copies the value out, returns its size; 0 if there is none. */
	size_t (*get)(void *reader, const struct question *question,
	    unsigned char *buffer);

	/* Readers have attached: removes files.  NULL: there are none. */
	void (*settle)(void *made);
};

extern const struct peer peer_shmcache, peer_roofline, peer_lfht, peer_lmdb,
    peer_tdb;

/* Where peers that need files put them: a tmpfs. */
#define PEER_DIRECTORY "/dev/shm"

#endif
