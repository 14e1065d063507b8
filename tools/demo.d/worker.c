/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker: accepts, answers, hangs up.  All that the cache asks of it stands
 * in fetch_report() and load_report().
 *
 * A kill at any point costs this worker's client its connection, no more.
 */
#include "worker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "http.h"
#include "interrupt.h"
#include "master.h"
#include "page.h"
#include "report.h"
#include "shop.h"

struct worker {
	struct server *server;
	unsigned place;
	struct report report;
	struct text body; /* of the answer being made */
};

/* One request for a report. */
struct visit {
	struct worker *worker;
	struct journal_request *record;
	uint32_t product;
	enum source source;
	uint64_t slept_ns;
};

/* A line for the person who runs the server, in one write. */
static void
talk(const struct visit *visit, const char *what)
{
	char line[160];
	int bytes;

	if (!visit->worker->server->talk)
		return;
	bytes = snprintf(line, sizeof(line),
	    "  worker %-7ld /report/%-3" PRIu32 "  %s\n", (long)getpid(),
	    visit->product, what);
	if (bytes > 0 && (size_t)bytes < sizeof(line))
		(void)!write(STDOUT_FILENO, line, (size_t)bytes);
}

/* The query, with its times in the journal. */
static bool
compute(struct visit *visit)
{
	struct worker *worker = visit->worker;
	uint64_t cpu_ns = clock_cpu_ns();
	bool made;

	talk(visit, "computing ...");
	journal_stamp(&visit->record->began_ns);
	made = report_make(&worker->report, visit->product, &worker->body,
	    &visit->record->steps);
	visit->record->cpu_ns = clock_cpu_ns() - cpu_ns;
	journal_stamp(&visit->record->ended_ns);
	return made;
}

/* The cache asks for a value that it has not. */
static void
load_report(struct shmc_lead *lead, void *arg)
{
	struct visit *visit = arg;
	struct text *body = &visit->worker->body;
	enum shmc_status status;

	if (!compute(visit)) {
		shmc_lead_abandon(lead);
		return;
	}
	/* shmc_fetch() passes it on to fetch_report(). */
	status = shmc_lead_value(lead, body->data, body->bytes,
	    visit->worker->server->ttl_ms, NULL);
	(void)status;
}

static enum source
source_of(uint32_t role)
{
	switch (role) {
	case SHMC_ROLE_HIT:
		return SOURCE_HIT;
	case SHMC_ROLE_LED:
		return SOURCE_COMPUTED;
	case SHMC_ROLE_SHARED:
		return SOURCE_SHARED;
	case SHMC_ROLE_PROMOTED:
		return SOURCE_PROMOTED;
	default:
		return SOURCE_NONE;
	}
}

/* The report out of the cache, whoever has to compute it. */
static bool
fetch_report(struct visit *visit)
{
	struct worker *worker = visit->worker;
	struct shmc_view view;
	char key[32];
	int key_bytes = snprintf(key, sizeof(key), "report/%" PRIu32,
	    visit->product);

	if (shmc_fetch(worker->server->cache, key, (size_t)key_bytes, NULL,
		load_report, visit, &view) != SHMC_OK)
		return false;
	visit->source = source_of(view.role);
	visit->slept_ns = view.waited_ns;
	worker->body.bytes = shmc_view_copy(&view, worker->body.data, TEXT_MAX);
	shmc_view_release(&view);
	return true;
}

static void
talk_answer(const struct visit *visit)
{
	uint64_t took_ns =
	    clock_between_ns(journal_time(&visit->record->received_ns),
		journal_time(&visit->record->answered_ns));
	struct word words[2];
	char what[96];

	(void)snprintf(what, sizeof(what), "%-9s after %s%s%s",
	    source_name(visit->source), text_duration(&words[0], took_ns),
	    visit->slept_ns != 0 ? ", slept " : "",
	    visit->slept_ns != 0 ? text_duration(&words[1], visit->slept_ns) :
				   "");
	talk(visit, what);
}

static void
serve_report(struct worker *worker, int fd, uint32_t product, bool cached)
{
	struct visit visit = { .worker = worker, .product = product };
	struct http_reply reply = { .status = 200, .type = "application/json" };
	char headers[160];
	bool made;

	visit.record = journal_receive(worker->server->journal, worker->place,
	    product);
	made = cached && fetch_report(&visit);
	if (!made) {
		/* No cache, or none that could help: still a good server. */
		visit.source = cached ? SOURCE_BYPASS : SOURCE_OFF;
		made = compute(&visit);
	}
	if (!made) {
		http_refuse(fd, 500);
		return;
	}
	(void)snprintf(headers, sizeof(headers),
	    "X-Cache: %s\r\nX-Worker: %ld\r\nX-Waited-Us: %" PRIu64 "\r\n",
	    source_name(visit.source), (long)getpid(),
	    visit.slept_ns / NS_PER_US);
	reply.headers = headers;
	reply.body = worker->body.data;
	reply.body_bytes = worker->body.bytes;
	http_answer(fd, &reply);
	journal_answer(visit.record, visit.source, visit.slept_ns);
	talk_answer(&visit);
}

static void
serve_page(struct worker *worker, int fd)
{
	struct http_reply reply = { .status = 200,
		.type = "text/html; charset=utf-8",
		.headers = "" };

	page_make(&worker->body, &worker->report, worker->server);
	reply.body = worker->body.data;
	reply.body_bytes = worker->body.bytes;
	http_answer(fd, &reply);
}

/* "/report/17" or "/report/17?cache=off". */
static bool
parse_report(const char *target, uint32_t *product, bool *cached)
{
	static const char prefix[] = "/report/";
	char *end;
	unsigned long number;

	if (strncmp(target, prefix, sizeof(prefix) - 1) != 0)
		return false;
	target += sizeof(prefix) - 1;
	if (*target < '1' || *target > '9')
		return false;
	number = strtoul(target, &end, 10);
	if (number > SHOP_PRODUCTS)
		return false;
	*product = (uint32_t)number;
	*cached = *end == '\0';
	return *cached || strcmp(end, "?cache=off") == 0;
}

static void
serve(struct worker *worker, int fd)
{
	struct http_request request;
	uint32_t product;
	bool cached;
	int status = http_read(fd, &request);

	if (status > 0)
		http_refuse(fd, status);
	if (status != 0)
		return;
	if (parse_report(request.target, &product, &cached))
		serve_report(worker, fd, product, cached);
	else if (strcmp(request.target, "/") == 0)
		serve_page(worker, fd);
	else
		http_refuse(fd, 404);
}

static void
unblock_signals(void)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void
worker_run(struct server *server, unsigned place, pid_t master)
{
	static const struct timespec nap = { 0, 10 * NS_PER_MS };
	static struct worker worker;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(0);
	/* Ctrl-C reaches the whole group; the master decides what it means. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	unblock_signals();
	worker.server = server;
	worker.place = place;
	if (!report_open(&worker.report, server->database))
		_exit(EXIT_SETUP);
	atomic_store_explicit(&server->journal->workers[place].pid, getpid(),
	    memory_order_release);
	for (;;) {
		int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			(void)nanosleep(&nap, NULL);
			continue;
		}
		serve(&worker, fd);
		(void)close(fd);
	}
}
