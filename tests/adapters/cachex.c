/* SPDX-License-Identifier: BSD-2-Clause */
/* See cachex.h. */
#include "cachex.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fetch {
	const char *key;
	cx_fallback *fallback;
	void *arg;
};

/* Where a worker's result goes. */
static int result_fd = -1;

static void
set(struct cx_result *result, enum cx_tag tag, const char *text)
{
	result->tag = tag;
	result->bytes = (size_t)snprintf(result->value, sizeof result->value,
	    "%s", text);
}

/* In the worker; smaller than PIPE_BUF, so it comes whole or not. */
__attribute__((noreturn)) static void
send_and_exit(const struct cx_result *result)
{
	_exit(write(result_fd, result, sizeof *result) !=
	    (ssize_t)sizeof *result);
}

void
cx_raise(const char *message)
{
	struct cx_result result = { 0 };

	set(&result, CX_ERROR, message);
	send_and_exit(&result);
}

__attribute__((noreturn)) static void
work(const struct fetch *f)
{
	struct cx_result result = { 0 };

	f->fallback(f->key, &result, f->arg);
	send_and_exit(&result);
}

/* The fallback's result, or what became of its worker. */
static struct cx_result
run_worker(const struct fetch *f)
{
	struct cx_result result = { 0 };
	int ends[2], status = 0;
	pid_t worker = -1;

	if (pipe(ends) == 0) {
		worker = fork();
		if (worker == 0) {
			result_fd = ends[1];
			work(f);
		}
		close(ends[1]);
		if (read(ends[0], &result, sizeof result) !=
		    (ssize_t)sizeof result)
			set(&result, CX_ERROR, "exited");
		close(ends[0]);
	}
	if (worker < 0)
		set(&result, CX_ERROR, "no worker");
	else if (waitpid(worker, &status, 0) == worker && WIFSIGNALED(status))
		set(&result, CX_ERROR, "killed");
	return result;
}

static void
load(struct shmc_lead *lead, void *arg)
{
	struct cx_result result = run_worker(arg);
	enum shmc_status status = SHMC_OK;

	switch (result.tag) {
	case CX_OK:
	case CX_COMMIT:
		status = shmc_lead_value(lead, result.value, result.bytes,
		    result.expire_ms, NULL);
		break;
	case CX_IGNORE:
		status = shmc_lead_append(lead, result.value, result.bytes);
		if (status == SHMC_OK)
			status = shmc_lead_share(lead, NULL);
		break;
	case CX_ERROR:
		result.value[CX_VALUE_MAX - 1] = '\0';
		status = shmc_lead_error(lead, 1, result.value, 0);
		break;
	}
	(void)status; /* shmc_fetch() answers it */
}

static struct cx_result
take(enum shmc_status status, struct shmc_view *view)
{
	struct cx_result result = { 0 };

	if (status != SHMC_OK && status != SHMC_ERROR) {
		set(&result, CX_ERROR,
		    status == SHMC_TIMEOUT ? "timeout" : "unavailable");
		return result;
	}
	if (status == SHMC_ERROR)
		result.tag = CX_ERROR;
	else if ((view->flags & SHMC_UNSTORED) != 0)
		result.tag = CX_IGNORE;
	else if (view->role == SHMC_ROLE_LED ||
	    view->role == SHMC_ROLE_PROMOTED)
		result.tag = CX_COMMIT;
	result.bytes = shmc_view_copy(view, result.value, sizeof result.value);
	shmc_view_release(view);
	return result;
}

struct cx_result
cx_fetch(struct shmc *cache, const char *key, cx_fallback *fallback, void *arg)
{
	struct fetch f = { key, fallback, arg };
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;

	wait.lease_ms = 1ull << 32; /* a slow worker is not replaced */
	return take(shmc_fetch(cache, key, strlen(key), &wait, load, &f, &view),
	    &view);
}
