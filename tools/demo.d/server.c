/* SPDX-License-Identifier: BSD-2-Clause */
/* The preforked server as its driver sees it: start, kill one, stop. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "interrupt.h"
#include "master.h"

#define BACKLOG 1024
#define START_NS (30 * NS_PER_S) /* until all workers are ready */
#define SEGMENT_BYTES (UINT64_C(64) << 20)
#define PARTICIPANTS 128u /* all workers, the driver, the dead not reaped */
#define LEASE_MS 60000u	  /* no query of the demo takes that long */

static bool
complain(const char *what)
{
	(void)fprintf(stderr, "demo: %s: %s\n", what, strerror(errno));
	return false;
}

static bool
open_listener(struct server *server)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(server->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int on = 1;

	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->listener < 0)
		return complain("socket");
	(void)setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on,
	    sizeof(on));
	if (bind(server->listener, (struct sockaddr *)&address,
		sizeof(address)) != 0 ||
	    listen(server->listener, BACKLOG) != 0 ||
	    getsockname(server->listener, (struct sockaddr *)&address,
		&length) != 0) {
		(void)fprintf(stderr, "demo: 127.0.0.1 port %u: %s\n",
		    server->port, strerror(errno));
		return false;
	}
	server->port = ntohs(address.sin_port);
	return true;
}

static bool
open_cache(struct server *server)
{
	struct shmc_options options;
	struct shmc_error error;

	shmc_options_init(&options, sizeof(options));
	options.size_bytes = SEGMENT_BYTES;
	options.participants = PARTICIPANTS;
	options.lease_ms = LEASE_MS;
	options.wait_ms = 2 * LEASE_MS;
	if (shmc_open(&server->cache, &options, &error) == 0)
		return true;
	(void)fprintf(stderr, "demo: the cache: %s\n", error.text);
	return false;
}

static bool
fork_master(struct server *server)
{
	pid_t driver = getpid();

	(void)fflush(NULL);
	server->master = fork();
	if (server->master < 0) {
		server->master = 0;
		return complain("fork");
	}
	if (server->master == 0)
		_exit(master_run(server, driver));
	return true;
}

static bool
wait_until_ready(const struct server *server)
{
	static const struct timespec nap = { 0, 2 * NS_PER_MS };
	uint64_t deadline_ns = clock_now_ns() + START_NS;

	while (journal_ready(server->journal, server->workers) <
	    server->workers) {
		if (interrupted())
			return false;
		if (!server_runs(server) || clock_now_ns() > deadline_ns) {
			(void)fprintf(stderr,
			    "demo: the server did not come up\n");
			return false;
		}
		(void)nanosleep(&nap, NULL);
	}
	return true;
}

bool
server_start(struct server *server)
{
	server->journal = journal_open();
	if (server->journal == NULL)
		return complain("journal");
	return open_listener(server) && open_cache(server) &&
	    fork_master(server) && wait_until_ready(server);
}

bool
server_runs(const struct server *server)
{
	siginfo_t info = { 0 };

	return server->master > 0 &&
	    waitid(P_PID, (id_t)server->master, &info,
		WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid == 0;
}

void
server_kill_worker(const struct server *server, unsigned place)
{
	union sigval value = { .sival_int = (int)place };

	(void)sigqueue(server->master, MASTER_KILL, value);
}

void
server_stop(struct server *server)
{
	if (server->master > 0) {
		(void)kill(server->master, SIGTERM);
		while (waitpid(server->master, NULL, 0) < 0 && errno == EINTR)
			;
		server->master = 0;
	}
	shmc_close(server->cache);
	server->cache = NULL;
	if (server->listener >= 0)
		(void)close(server->listener);
	server->listener = -1;
}
