/* SPDX-License-Identifier: BSD-2-Clause */
/* See singleflight.h. */
#include "singleflight.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How a function ended that did not return: codes of shmc_lead_error(). */
enum { PANICKED = 1, EXITED = 2 };

/* -------------------------------------------------------- panic, recover -- */

struct recovery {
	struct recovery *outer;
	jmp_buf where;
	char value[SF_VALUE_MAX];
};

static _Thread_local struct recovery *innermost;

void
sf_panic(const char *value)
{
	struct recovery *r = innermost;

	if (r == NULL) {
		fprintf(stderr, "panic: %s\n", value);
		abort();
	}
	(void)snprintf(r->value, sizeof r->value, "%s", value);
	longjmp(r->where, 1);
}

bool
sf_recover(void (*fn)(void *), void *arg, char value[SF_VALUE_MAX])
{
	struct recovery r = { .outer = innermost };
	bool panicked = true;

	if (setjmp(r.where) == 0) {
		innermost = &r;
		fn(arg);
		panicked = false;
	}
	innermost = r.outer;
	if (panicked)
		memcpy(value, r.value, SF_VALUE_MAX);
	return panicked;
}

void
sf_goexit(void)
{
	pthread_exit(NULL);
}

/* ------------------------------------------------------------------ Do --- */

struct call {
	struct shmc_lead *lead;
	sf_function *fn;
	void *arg;
	struct sf_result result;
};

static void
run(void *arg)
{
	struct call *call = arg;

	call->result.error = call->fn(call->arg, &call->result);
}

/* The thread ends inside the function. */
static void
tell_exit(void *arg)
{
	struct call *call = arg;

	(void)!shmc_lead_error(call->lead, EXITED, NULL, 0);
}

static bool
run_and_recover(struct call *call, char panic[SF_VALUE_MAX])
{
	bool panicked;

	pthread_cleanup_push(tell_exit, call);
	panicked = sf_recover(run, call, panic);
	pthread_cleanup_pop(0);
	return panicked;
}

/* Error and value go together, to those who wait now and nobody later. */
static void
share(struct call *call)
{
	struct sf_result *r = &call->result;
	struct shmc_view view = { 0 };

	(void)!shmc_lead_append(call->lead, &r->error, sizeof r->error);
	(void)!shmc_lead_append(call->lead, r->value, r->bytes);
	if (shmc_lead_share(call->lead, &view) == SHMC_OK)
		r->shared = view.served > 0;
	shmc_view_release(&view);
}

static struct sf_result
lead(struct shmc_lead *lead, sf_function *fn, void *arg)
{
	struct call call = { .lead = lead, .fn = fn, .arg = arg };
	char panic[SF_VALUE_MAX];

	if (run_and_recover(&call, panic)) {
		(void)!shmc_lead_error(lead, PANICKED, panic, 0);
		sf_panic(panic);
	}
	share(&call);
	return call.result;
}

/* The other's value, or its end. */
static struct sf_result
take(struct shmc_view *view)
{
	struct sf_result r = { .shared = true };
	size_t bytes = view->size_bytes - sizeof r.error;

	memcpy(&r.error, view->data, sizeof r.error);
	r.bytes = bytes < sizeof r.value ? bytes : sizeof r.value;
	memcpy(r.value, (const char *)view->data + sizeof r.error, r.bytes);
	shmc_view_release(view);
	return r;
}

__attribute__((noreturn)) static void
end_alike(struct shmc_view *view)
{
	char panic[SF_VALUE_MAX] = "";
	bool panicked = view->error == PANICKED;

	(void)shmc_view_copy(view, panic, sizeof panic - 1);
	shmc_view_release(view);
	if (panicked)
		sf_panic(panic);
	sf_goexit();
}

static struct sf_result
conclude(enum shmc_status status, struct shmc_view *view,
    struct shmc_lead *begun, sf_function *fn, void *arg)
{
	struct sf_result failed = { 0 };

	switch (status) {
	case SHMC_LEAD:
		return lead(begun, fn, arg);
	case SHMC_OK:
		return take(view);
	case SHMC_ERROR:
		end_alike(view);
	default:
		failed.error = status == SHMC_DEADLOCK ? EDEADLK : EAGAIN;
		return failed;
	}
}

/* In Go nobody is in a hurry, and nobody is replaced for being slow. */
static const struct shmc_wait patient = {
	.struct_bytes = sizeof(struct shmc_wait),
	.deadline_ns = UINT64_MAX,
	.lease_ms = 1ull << 32,
};

struct sf_result
sf_do(struct shmc *group, const char *key, sf_function *fn, void *arg)
{
	struct shmc_view view;
	struct shmc_lead begun;
	enum shmc_status status = shmc_begin(group, key, strlen(key), &patient,
	    &view, &begun);

	return conclude(status, &view, &begun, fn, arg);
}

void
sf_forget(struct shmc *group, const char *key)
{
	(void)!shmc_detach(group, key, strlen(key));
}

/* -------------------------------------------------------------- DoChan --- */

struct channel {
	struct shmc *group;
	const char *key;
	sf_function *fn;
	void *arg;
	int fd;
	pthread_barrier_t begun;
};

static void
close_channel(void *arg)
{
	close(*(int *)arg);
}

/* In a thread of its own; a panic in it is nobody's to recover. */
static void *
send_result(void *arg)
{
	struct channel *c = arg;
	struct channel mine = *c;
	struct shmc_wait at_once = patient;
	struct shmc_view view;
	struct shmc_lead begun;
	struct sf_result result;
	enum shmc_status status;

	pthread_cleanup_push(close_channel, &mine.fd);
	at_once.deadline_ns = 1; /* lead, or see that another does */
	status = shmc_begin(mine.group, mine.key, strlen(mine.key), &at_once,
	    &view, &begun);
	(void)pthread_barrier_wait(&c->begun);
	result = status == SHMC_TIMEOUT ?
	    sf_do(mine.group, mine.key, mine.fn, mine.arg) :
	    conclude(status, &view, &begun, mine.fn, mine.arg);
	if (write(mine.fd, &result, sizeof result) != sizeof result)
		abort(); /* it fits into an empty pipe */
	pthread_cleanup_pop(1);
	return NULL;
}

int
sf_do_chan(struct shmc *group, const char *key, sf_function *fn, void *arg)
{
	struct channel c = { group, key, fn, arg, -1, { { 0 } } };
	int ends[2], error;
	pthread_t thread;

	if (pipe(ends) != 0)
		return -1;
	c.fd = ends[1];
	(void)pthread_barrier_init(&c.begun, NULL, 2);
	error = pthread_create(&thread, NULL, send_result, &c);
	if (error == 0) {
		(void)pthread_detach(thread);
		(void)pthread_barrier_wait(&c.begun);
		(void)pthread_barrier_destroy(&c.begun);
		return ends[0];
	}
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return -1;
}
