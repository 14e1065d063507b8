/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * As much of HTTP/1.1 as a preforked server on loopback needs: one bodiless
 * request per connection, every read bounded in bytes and in time.
 */
#ifndef DEMO_HTTP_H
#define DEMO_HTTP_H

#include <stddef.h>

struct http_request {
	char target[256]; /* "/report/17?cache=off", as it came */
};

struct http_reply {
	int status;
	const char *type;    /* Content-Type */
	const char *headers; /* more of them, each with its CRLF; or "" */
	const void *body;
	size_t body_bytes;
};

/*
 * Reads a request.  Returns 0; or the status of the refusal that the client
 * deserves; or -1 if it has gone.
 */
int http_read(int fd, struct http_request *request);

/* Sends a reply and ends the connection's sending half. */
void http_answer(int fd, const struct http_reply *reply);

/* The same for a status without anything to say. */
void http_refuse(int fd, int status);

#endif
