/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is killed: one operation each, between step_begin() and step_end().
 *
 * After a stop the victim goes on and looks at what it got; before that, and
 * while it is recorded, it looks at nothing, so that the way is the same.
 */
#include "scene.h"

#include <string.h>
#include <unistd.h>

/* Once it has been stopped. */
static bool
looks(void)
{
	return atomic_load(&scene.desk->stopped);
}

static unsigned char buffer[LARGE_BYTES];

/* Bytes that KEY was found to have. */
static void
look_at(const void *value, size_t bytes)
{
	if (looks() && value_check(value, bytes, KEY_ID) == UINT64_MAX)
		wrong("the victim read a mixture of %zu bytes", bytes);
}

static void
look_at_view(struct shmc_view *view)
{
	if (!looks() || view->data == NULL)
		return;
	if (shmc_view_copy(view, buffer, sizeof buffer) != view->size_bytes)
		wrong("the victim's view of %zu bytes is not readable",
		    view->size_bytes);
	else
		look_at(buffer, view->size_bytes);
}

/* An answer that the operation may give; others are wrong. */
static void
answers(enum shmc_status status, uint32_t expected)
{
	if (status > 31 || (expected & 1u << status) == 0)
		wrong("the victim's call answered %d", (int)status);
}

#define ANSWER(name) (1u << SHMC_##name)
/* After a stop others may have changed anything: no value, or theirs. */
#define READS (ANSWER(OK) | ANSWER(MISS) | ANSWER(STALE))
#define WRITES (ANSWER(OK) | ANSWER(MISS) | ANSWER(OTHER))
#define FETCHES (ANSWER(OK) | ANSWER(FENCED) | ANSWER(STALE))

/* -------------------------------------------------------------- reading --- */

static void
op_get(void)
{
	enum shmc_status status;
	size_t n = 0;

	step_begin();
	status = shmc_get(scene.cache, KEY, KEY_BYTES, buffer, sizeof buffer,
	    &n);
	step_end();
	answers(status, READS);
	if (status == SHMC_OK)
		look_at(buffer, n);
}

static void
op_view(void)
{
	struct shmc_view view;
	enum shmc_status status;

	step_begin();
	status = shmc_view(scene.cache, KEY, KEY_BYTES, &view);
	look_at_view(&view);
	shmc_view_release(&view);
	step_end();
	answers(status, READS);
}

static void
op_get_many(void)
{
	static unsigned char other[LARGE_BYTES];
	struct shmc_item items[] = {
		{ .key = KEY, .key_bytes = KEY_BYTES, .buffer = buffer,
		    .buffer_bytes = sizeof buffer },
		{ .key = "by-1", .key_bytes = 4, .buffer = other,
		    .buffer_bytes = sizeof other },
		{ .key = "nobody", .key_bytes = 6 },
	};

	step_begin();
	(void)shmc_get_many(scene.cache, items, 3);
	step_end();
	answers(items[0].status, READS);
	if (items[0].status == SHMC_OK)
		look_at(buffer, items[0].value_bytes);
	answers(items[2].status, ANSWER(MISS));
}

static int
visit(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	unsigned *visits = arg;

	++*visits;
	if (key_bytes == KEY_BYTES && memcmp(key, KEY, KEY_BYTES) == 0 &&
	    value->piece_bytes == value->size_bytes)
		look_at(value->data, value->size_bytes);
	return 1;
}

/* The part of the index where the key is. */
static void
op_iterate(void)
{
	uint64_t cursor = (uint64_t)(key_pair() - scene.seg->index) * LINE_WORDS;
	unsigned visits = 0;

	step_begin();
	(void)!shmc_iterate(scene.cache, &cursor, PAIR_WORDS, visit, &visits);
	step_end();
}

/* -------------------------------------------------------------- writing --- */

static void
op_put(void)
{
	enum shmc_status status;

	step_begin();
	status = shmc_put(scene.cache, KEY, KEY_BYTES, key_value(NEW),
	    scene.new_bytes, 0);
	step_end();
	answers(status, WRITES);
}

static void
op_delete(void)
{
	enum shmc_status status;

	step_begin();
	status = shmc_delete(scene.cache, KEY, KEY_BYTES);
	step_end();
	answers(status, WRITES);
}

static void
op_invalidate(void)
{
	enum shmc_status status;

	step_begin();
	status = shmc_invalidate(scene.cache, KEY, KEY_BYTES);
	step_end();
	answers(status, WRITES);
}

static void
op_cas(void)
{
	struct shmc_view view;
	enum shmc_status status;
	uint64_t version;

	(void)!shmc_view(scene.cache, KEY, KEY_BYTES, &view);
	version = view.version;
	shmc_view_release(&view);
	step_begin();
	status = shmc_store(scene.cache, KEY, KEY_BYTES, key_value(NEW),
	    scene.new_bytes, NULL, SHMC_IF_VERSION, version);
	step_end();
	answers(status, WRITES);
}

static const char *const tags[] = { TAG, "another" };

static void
op_add(void)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;
	enum shmc_status status;

	terms.tags = tags;
	terms.tag_count = 2;
	terms.grace_ms = 1000;
	step_begin();
	status = shmc_store(scene.cache, KEY, KEY_BYTES, key_value(NEW),
	    scene.new_bytes, &terms, SHMC_IF_ABSENT, 0);
	step_end();
	answers(status, WRITES);
}

static int
updater(const struct shmc_view *old, const void **value, size_t *bytes,
    void *arg)
{
	(void)arg;
	if (old != NULL && old->piece_bytes == old->size_bytes)
		look_at(old->data, old->size_bytes);
	*value = key_value(NEW);
	*bytes = scene.new_bytes;
	return 1;
}

static void
op_update(void)
{
	enum shmc_status status;

	step_begin();
	status = shmc_update(scene.cache, KEY, KEY_BYTES, updater, NULL, NULL);
	step_end();
	answers(status, WRITES);
}

/* A value of 8 bytes is its version: 1 and 1 are 2, NEW. */
static void
op_incr(void)
{
	enum shmc_status status;
	int64_t sum = 0;

	step_begin();
	status = shmc_incr(scene.cache, KEY, KEY_BYTES, 1, NEW, 0, &sum);
	step_end();
	answers(status, WRITES);
}

static void
op_touch(void)
{
	enum shmc_status status;

	step_begin();
	status = shmc_touch(scene.cache, KEY, KEY_BYTES, LONG_MS);
	step_end();
	answers(status, WRITES);
}

static void
op_tag(void)
{
	step_begin();
	(void)!shmc_invalidate_tag(scene.cache, TAG);
	step_end();
}

static void
op_flush(void)
{
	step_begin();
	(void)!shmc_flush(scene.cache);
	step_end();
}

/* ------------------------------------------------------------- fetching --- */

void
be_awaited(void)
{
	if ((scene.state->flags & STATE_AWAITED) != 0)
		(void)word_await(&scene.desk->joined, 0);
}

static void
load_value(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	(void)!shmc_lead_value(lead, key_value(NEW), scene.new_bytes,
	    0, NULL);
}

static void
append_halves(struct shmc_lead *lead)
{
	const char *value = key_value(NEW);
	size_t half = scene.new_bytes / 2;

	(void)!shmc_lead_append(lead, value, half);
	(void)!shmc_lead_append(lead, value + half,
	    scene.new_bytes - half);
}

static void
load_append(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	append_halves(lead);
	(void)!shmc_lead_commit(lead, 0, NULL);
}

static void
load_share(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	append_halves(lead);
	(void)!shmc_lead_share(lead, NULL);
}

static void
load_error(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	(void)!shmc_lead_error(lead, 5, "no", LONG_MS);
}

static void
load_absent(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	(void)!shmc_lead_absent(lead, LONG_MS);
}

static void
load_pass(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	append_halves(lead);
	(void)!shmc_lead_pass(lead, 2, LONG_MS, NULL);
}

static void
load_abandon(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	be_awaited();
	append_halves(lead);
	shmc_lead_abandon(lead);
}

static void
load_refresh(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	(void)!shmc_lead_refresh(lead, LONG_MS, NULL);
}

/* A heartbeat, terms and a look at who waits before the value. */
static void
load_terms(struct shmc_lead *lead, void *arg)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.tags = tags;
	terms.tag_count = 2;
	(void)shmc_lead_waiters(lead);
	(void)!shmc_lead_extend(lead, 0);
	(void)!shmc_lead_terms(lead, &terms);
	load_value(lead, arg);
}

static void
fetch(shmc_loader *loader, uint32_t expected)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	enum shmc_status status;

	wait.lease_ms = scene.lease_ms;
	wait.early_percent = 1; /* so that the cost is stored */
	step_begin();
	status = shmc_fetch(scene.cache, KEY, KEY_BYTES, &wait, loader, NULL,
	    &view);
	if (status == SHMC_OK)
		look_at_view(&view);
	if (atomic_load(&scene.desk->must_share) &&
	    (status != SHMC_OK || view.role != SHMC_ROLE_SHARED))
		wrong("the victim waited, and did not get the result (%d, role %u)",
		    (int)status, view.role);
	shmc_view_release(&view);
	step_end();
	answers(status, FETCHES | expected);
}

static void
op_fetch(void)
{
	fetch(load_value, 0);
}

static void
op_fetch_append(void)
{
	fetch(load_append, 0);
}

static void
op_fetch_share(void)
{
	fetch(load_share, 0);
}

static void
op_fetch_error(void)
{
	fetch(load_error, ANSWER(ERROR));
}

static void
op_fetch_absent(void)
{
	fetch(load_absent, ANSWER(ABSENT));
}

static void
op_fetch_pass(void)
{
	fetch(load_pass, 0);
}

static void
op_fetch_abandon(void)
{
	fetch(load_abandon, ANSWER(ABANDONED));
}

static void
op_fetch_refresh(void)
{
	fetch(load_refresh, ANSWER(ABANDONED));
}

static void
op_fetch_terms(void)
{
	fetch(load_terms, 0);
}

static void
load_all(struct shmc_fetch_item *items, size_t count, void *arg)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD)
			load_value(&items[i].lead, arg);
}

static void
op_fetch_many(void)
{
	struct shmc_fetch_item items[] = {
		{ .key = KEY, .key_bytes = KEY_BYTES },
		{ .key = "by-1", .key_bytes = 4 },
		{ .key = "second", .key_bytes = 6 },
	};

	step_begin();
	(void)shmc_fetch_many(scene.cache, items, 3, NULL, load_all, NULL);
	for (unsigned i = 0; i < 3; i++)
		shmc_view_release(&items[i].view);
	step_end();
}

static void
op_detach_key(void)
{
	step_begin();
	(void)!shmc_detach(scene.cache, KEY, KEY_BYTES);
	step_end();
}

static void
op_lease(void)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease;
	enum shmc_status status;

	wait.lease_ms = scene.lease_ms;
	step_begin();
	status = shmc_lease_acquire(scene.cache, KEY, KEY_BYTES, &wait, &lease);
	if (status == SHMC_OK) {
		(void)!shmc_lease_extend(&lease, scene.lease_ms);
		(void)!shmc_lease_release(&lease);
	}
	step_end();
	answers(status, ANSWER(OK));
}

/* ---------------------------------------------------------- coming, going -- */

static void
op_first_call(void)
{
	size_t n;

	step_begin();
	(void)!shmc_get(scene.cache, "nobody", 6, NULL, 0, &n);
	step_end();
}

/* With a block of each kind open. */
static void
op_detach_thread(void)
{
	struct shmc_view view;

	(void)!shmc_put(scene.cache, "elsewhere", 9, "x", 1, 0);
	(void)!shmc_fetch(scene.cache, "none", 4, NULL, load_absent, NULL,
	    &view);
	step_begin();
	(void)shmc_detach_thread(scene.cache);
	step_end();
}

static void
use_and_close(struct shmc *cache)
{
	size_t n;

	if (cache != NULL)
		(void)!shmc_get(cache, KEY, KEY_BYTES, buffer, sizeof buffer,
		    &n);
	shmc_close(cache);
}

static void
op_attach_fd(void)
{
	struct shmc_options options;
	struct shmc *cache;

	stage_options(&options);
	step_begin();
	(void)!shmc_attach_fd(&cache, scene.fd, &options, NULL);
	use_and_close(cache);
	step_end();
}

static void
op_open(void)
{
	struct shmc_options options;
	struct shmc *cache;

	stage_options(&options);
	options.path = scene.path;
	step_begin();
	(void)!shmc_open(&cache, &options, NULL);
	use_and_close(cache);
	step_end();
}

static void
op_create(void)
{
	struct shmc_options options;
	struct shmc *cache;

	stage_options(&options);
	options.path = scene.other_path;
	options.flags = SHMC_CREATE;
	options.size_bytes = SEGMENT_BYTES;
	options.participants = PARTICIPANTS;
	step_begin();
	(void)!shmc_open(&cache, &options, NULL);
	use_and_close(cache);
	step_end();
}

static void
op_reap(void)
{
	step_begin();
	(void)shmc_reap(scene.cache);
	step_end();
}

/* ---------------------------------------------------------------- table --- */

const struct operation operations[] = {
	{ "get", op_get, 0, 0, 0 },
	{ "view", op_view, 0, 0, 0 },
	{ "get-many", op_get_many, 0, 0, 0 },
	{ "iterate", op_iterate, 0, 0, 0 },
	{ "put", op_put, IS_NEW, SMALL_BYTES, OPERATION_WRITES },
	{ "put-large", op_put, IS_NEW, LARGE_BYTES, OPERATION_WRITES },
	{ "delete", op_delete, IS_MISS, 0, OPERATION_WRITES },
	{ "invalidate", op_invalidate, IS_MISS, 0, OPERATION_WRITES },
	{ "cas", op_cas, IS_NEW, SMALL_BYTES, OPERATION_WRITES },
	{ "add", op_add, IS_NEW, SMALL_BYTES, OPERATION_WRITES },
	{ "update", op_update, IS_NEW, SMALL_BYTES, OPERATION_WRITES },
	{ "incr", op_incr, IS_NEW, sizeof(int64_t), OPERATION_WRITES },
	{ "touch", op_touch, 0, 0, 0 },
	{ "tag", op_tag, 0, 0, OPERATION_TAG },
	{ "flush", op_flush, IS_MISS, 0, OPERATION_FLUSH },
	{ "fetch", op_fetch, IS_NEW, SMALL_BYTES, 0 },
	{ "fetch-append", op_fetch_append, IS_NEW, LARGE_BYTES, 0 },
	{ "fetch-share", op_fetch_share, 0, SMALL_BYTES, 0 },
	{ "fetch-error", op_fetch_error, IS_ERROR, SMALL_BYTES, 0 },
	{ "fetch-absent", op_fetch_absent, IS_ABSENT, SMALL_BYTES, 0 },
	{ "fetch-pass", op_fetch_pass, 0, SMALL_BYTES, OPERATION_PASSES },
	{ "fetch-abandon", op_fetch_abandon, 0, LARGE_BYTES, 0 },
	{ "fetch-refresh", op_fetch_refresh, 0, SMALL_BYTES, 0 },
	{ "fetch-terms", op_fetch_terms, IS_NEW, SMALL_BYTES, 0 },
	{ "fetch-many", op_fetch_many, IS_NEW, SMALL_BYTES, 0 },
	{ "detach-key", op_detach_key, 0, 0, 0 },
	{ "lease", op_lease, 0, 0, 0 },
	{ "first-call", op_first_call, 0, 0, OPERATION_UNATTACHED },
	{ "detach-thread", op_detach_thread, 0, 0, 0 },
	{ "attach-fd", op_attach_fd, 0, 0, OPERATION_UNATTACHED },
	{ "open", op_open, 0, 0, OPERATION_UNATTACHED },
	{ "create", op_create, 0, 0, OPERATION_UNATTACHED | OPERATION_FILE },
	{ "reap", op_reap, 0, 0, 0 },
	{ 0 },
};

const struct operation *
operation_find(const char *name)
{
	const struct operation *o = operations;

	while (o->name != NULL && strcmp(o->name, name) != 0)
		o++;
	return o->name != NULL ? o : NULL;
}
