/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The preforked server: a master that keeps so many workers alive, each of
 * which serves one connection at a time.  Workers die with their master, the
 * master with its driver.
 */
#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include <shmcache.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "journal.h"

struct server {
	const char *database;
	unsigned workers;
	uint16_t port;	 /* 0: any free one; afterwards the one it is */
	uint64_t ttl_ms; /* of what is stored */
	bool talk;	 /* a line for each request and each death */
	int listener;
	struct shmc *cache;
	struct journal *journal;
	pid_t master;
};

/*
 * Opens the listening socket on loopback, the segment and the journal, forks
 * the master, and waits until every worker is ready.  Returns false after
 * having said why on stderr; then call server_stop() all the same.
 */
bool server_start(struct server *server);

/* Whether the master still runs. */
bool server_runs(const struct server *server);

/* Has the master send SIGKILL to the worker at a place. */
void server_kill_worker(const struct server *server, unsigned place);

/* Ends all its processes and waits for them.  May be called again. */
void server_stop(struct server *server);

#endif
