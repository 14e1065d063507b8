/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many HTTP clients in one thread: each sends the same GET at the same
 * moment, and asks once more if its connection is cut, as browsers do.
 */
#ifndef DEMO_CLIENT_H
#define DEMO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal.h"

#define CLIENT_REPLY_MAX 32768u

/* One client: its request, and the answer that it got. */
struct client {
	int fd; /* -1: done */
	unsigned attempts;
	bool sent;
	bool answered;	     /* a whole reply with status 200 */
	uint64_t started_ns; /* of the first attempt */
	uint64_t ended_ns;
	enum source source; /* X-Cache */
	const char *body;   /* in reply */
	size_t body_bytes;
	size_t reply_bytes;
	char reply[CLIENT_REPLY_MAX + 1];
};

/* Called every few milliseconds while clients wait. */
typedef void client_idle(void *arg);

/*
 * Sends GET `target` to 127.0.0.1:port from all clients at once and waits for
 * the answers.  Returns false, the reason on stderr, at deadline_ns, at an
 * interrupt, and if a connection cannot be made.  All are closed then.
 */
bool client_run(struct client *clients, unsigned count, uint16_t port,
    const char *target, uint64_t deadline_ns, client_idle *idle, void *arg);

#endif
