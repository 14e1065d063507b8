/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of HTTP/1.1 as a preforked server on loopback needs. */
#include "http.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

#define PATIENCE_NS (5 * NS_PER_S) /* for one request, for one reply */
#define REQUEST_MAX 16384u	   /* bytes, headers and all */

/* Waits until fd is ready; false at the deadline. */
static int
ready(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int found;

	do {
		uint64_t left_ms = clock_between_ns(clock_now_ns(), deadline_ns) /
		    NS_PER_MS;

		found = left_ms == 0 ? 0 : poll(&poll_fd, 1, (int)left_ms);
	} while (found < 0 && errno == EINTR);
	return found > 0;
}

/* "GET target HTTP/1.x": cuts out the target. */
static int
parse(const char *line, struct http_request *request)
{
	size_t bytes;

	if (strncmp(line, "GET ", 4) != 0)
		return 405;
	line += 4;
	bytes = strcspn(line, " \r\n");
	if (bytes >= sizeof(request->target))
		return 414;
	if (line[0] != '/' || strncmp(line + bytes, " HTTP/1.", 8) != 0)
		return 400;
	memcpy(request->target, line, bytes);
	request->target[bytes] = '\0';
	return 0;
}

int
http_read(int fd, struct http_request *request)
{
	uint64_t deadline_ns = clock_now_ns() + PATIENCE_NS;
	char buffer[REQUEST_MAX + 1];
	size_t bytes = 0;

	for (;;) {
		ssize_t got;

		if (!ready(fd, POLLIN, deadline_ns))
			return bytes == 0 ? -1 : 408;
		got = recv(fd, buffer + bytes, REQUEST_MAX - bytes,
		    MSG_DONTWAIT);
		if (got == 0)
			return -1;
		if (got < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			return -1;
		}
		bytes += (size_t)got;
		buffer[bytes] = '\0';
		if (strlen(buffer) != bytes)
			return 400;
		if (strstr(buffer, "\r\n\r\n") != NULL)
			return parse(buffer, request);
		if (bytes == REQUEST_MAX)
			return 431;
	}
}

static int
send_all(int fd, const void *data, size_t bytes, int flags, uint64_t deadline_ns)
{
	const char *at = data;

	while (bytes > 0) {
		ssize_t sent;

		if (!ready(fd, POLLOUT, deadline_ns))
			return -1;
		sent = send(fd, at, bytes, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
		if (sent < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			return -1;
		}
		at += sent;
		bytes -= (size_t)sent;
	}
	return 0;
}

static const char *
reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Internal Server Error";
	}
}

void
http_answer(int fd, const struct http_reply *reply)
{
	uint64_t deadline_ns = clock_now_ns() + PATIENCE_NS;
	char head[1024];
	int bytes = snprintf(head, sizeof(head),
	    "HTTP/1.1 %d %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "Connection: close\r\n"
	    "%s%s\r\n",
	    reply->status, reason(reply->status), reply->type, reply->body_bytes,
	    reply->status == 405 ? "Allow: GET\r\n" : "", reply->headers);

	if (bytes < 0 || (size_t)bytes >= sizeof(head))
		return;
	if (send_all(fd, head, (size_t)bytes, MSG_MORE, deadline_ns) == 0 &&
	    send_all(fd, reply->body, reply->body_bytes, 0, deadline_ns) == 0)
		(void)shutdown(fd, SHUT_WR);
}

void
http_refuse(int fd, int status)
{
	char body[64];
	int bytes = snprintf(body, sizeof(body), "%d %s\n", status,
	    reason(status));
	struct http_reply reply = {
		.status = status,
		.type = "text/plain; charset=utf-8",
		.headers = "",
		.body = body,
		.body_bytes = bytes > 0 ? (size_t)bytes : 0,
	};

	http_answer(fd, &reply);
}
