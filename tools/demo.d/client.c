/* SPDX-License-Identifier: BSD-2-Clause */
/* Many HTTP clients in one thread, over non-blocking sockets and poll(). */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "interrupt.h"

#define ATTEMPTS 2u /* a connection that was cut is tried once more */
#define TURN_MS 2   /* between two calls of idle() */

static void
hang_up(struct client *client)
{
	if (client->fd >= 0)
		(void)close(client->fd);
	client->fd = -1;
}

static bool
dial(struct client *client, uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	client->sent = false;
	client->reply_bytes = 0;
	client->attempts++;
	if (client->fd >= 0 &&
	    (connect(client->fd, (struct sockaddr *)&address,
		 sizeof(address)) == 0 ||
		errno == EINPROGRESS))
		return true;
	(void)fprintf(stderr, "demo: a client cannot connect: %s\n",
	    strerror(errno));
	hang_up(client);
	return false;
}

/* The value of a header in the reply's head, its length in *bytes; or NULL. */
static const char *
header(const struct client *client, const char *name, size_t *bytes)
{
	size_t name_bytes = strlen(name);
	const char *line = strstr(client->reply, "\r\n");

	while (line != NULL && line + 2 < client->body) {
		line += 2;
		if (strncasecmp(line, name, name_bytes) == 0 &&
		    line[name_bytes] == ':') {
			line += name_bytes + 1;
			line += strspn(line, " ");
			*bytes = strcspn(line, "\r");
			return line;
		}
		line = strstr(line, "\r\n");
	}
	return NULL;
}

static long
header_number(const struct client *client, const char *name)
{
	size_t bytes;
	const char *value = header(client, name, &bytes);

	return value != NULL ? strtol(value, NULL, 10) : -1;
}

/* Takes the reply to pieces; false if it is not whole or not good. */
static bool
understand(struct client *client)
{
	const char *value;
	size_t bytes;
	char *blank;

	client->reply[client->reply_bytes] = '\0';
	blank = strstr(client->reply, "\r\n\r\n");
	if (blank == NULL || strncmp(client->reply, "HTTP/1.1 200 ", 13) != 0)
		return false;
	client->body = blank + 4;
	client->body_bytes = client->reply_bytes -
	    (size_t)(client->body - client->reply);
	if (header_number(client, "Content-Length") != (long)client->body_bytes)
		return false;
	value = header(client, "X-Cache", &bytes);
	client->source = value != NULL ? source_find(value, bytes) : SOURCE_NONE;
	return true;
}

/* The server has closed the connection. */
static bool
finish(struct client *client, uint16_t port)
{
	hang_up(client);
	client->answered = understand(client);
	client->ended_ns = clock_now_ns();
	if (client->answered || client->attempts == ATTEMPTS)
		return true;
	return dial(client, port);
}

static bool
turn(struct client *client, uint16_t port, const char *request)
{
	size_t bytes = strlen(request);
	ssize_t got;

	if (!client->sent) {
		/* So few bytes go at once, or not at all. */
		if (send(client->fd, request, bytes, MSG_NOSIGNAL) !=
		    (ssize_t)bytes)
			return finish(client, port);
		client->sent = true;
		return true;
	}
	got = recv(client->fd, client->reply + client->reply_bytes,
	    CLIENT_REPLY_MAX - client->reply_bytes, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0)
		return finish(client, port);
	client->reply_bytes += (size_t)got;
	return true;
}

/* One look at all open connections; how many there are, or -1. */
static int
look(struct client *clients, unsigned count, uint16_t port, const char *request)
{
	struct pollfd fds[JOURNAL_WORKERS_MAX];
	int open = 0;

	for (unsigned i = 0; i < count; i++) {
		fds[i].fd = clients[i].fd; /* -1 is passed over */
		fds[i].events = clients[i].sent ? POLLIN : POLLOUT;
		fds[i].revents = 0;
	}
	if (poll(fds, count, TURN_MS) < 0 && errno != EINTR)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		if (fds[i].revents != 0 && !turn(&clients[i], port, request))
			return -1;
		if (clients[i].fd >= 0)
			open++;
	}
	return open;
}

bool
client_run(struct client *clients, unsigned count, uint16_t port,
    const char *target, uint64_t deadline_ns, client_idle *idle, void *arg)
{
	char request[256];
	int open = 0;

	(void)snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n",
	    target, port);
	for (unsigned i = 0; i < count; i++) {
		clients[i].fd = -1;
		clients[i].attempts = 0;
		clients[i].answered = false;
	}
	for (unsigned i = 0; i < count && open >= 0; i++) {
		clients[i].started_ns = clock_now_ns();
		open = dial(&clients[i], port) ? 1 : -1;
	}
	while (open > 0 && !interrupted() && clock_now_ns() < deadline_ns) {
		open = look(clients, count, port, request);
		idle(arg);
	}
	for (unsigned i = 0; i < count; i++)
		hang_up(&clients[i]);
	if (open > 0 && !interrupted())
		(void)fprintf(stderr,
		    "demo: %d clients got no answer in time\n", open);
	return open == 0;
}
