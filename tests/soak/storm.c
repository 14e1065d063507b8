/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A storm: many processes do everything that the public API has, on few keys and
 * little memory, and are killed, stopped and replaced at random, at any
 * instruction.  It ends with an audit.
 *
 *   storm [--minutes N | --seconds N] [--workers N] [--kills-per-second N]
 *         [--seed S] [--mib N] [--fences] [--without NAMES]
 *
 * What must hold all the time, and is counted as `wrong` otherwise:
 *   - every value that anybody is given is whole, and of the key asked for;
 *   - of a key that is only fetched and put, at most one living process computes
 *     at a time;
 *   - the holder of a named lease is alone, and tokens grow;
 *   - a counter only ever holds what an addition left in it;
 *   - nobody who is neither killed nor stopped is stuck in a call.
 * And at the end: the audit finds nothing, and a fresh process can use all of it.
 *
 * Only the supervisor kills.  It marks its victim as doomed first, so that others
 * can tell a dead computation from a living one.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <shmcache.h>

#define WORKERS_MAX 128u
#define KEYS 400u	     /* of every kind but those below */
#define LONE_KEYS 16u	     /* only fetched and put */
#define LEASES 4u
#define COUNTERS 4u
#define VIEWS_HELD 4u
#define STUCK_NS 20000000000ull /* longer than any call may take */
#define MS 1000000ull
#define COMPLAINTS_MAX 40u /* the rest is only counted */

static struct {
	double seconds;
	unsigned workers;
	unsigned kills_per_second;
	uint64_t seed;
	uint64_t mib;
	bool fences;
	const char *without; /* names of calls that are not made */
} options = { 10, 16, 300, 1, 4, false, "" };

/* One worker's place, kept over all who have it one after the other. */
struct place {
	_Atomic int pid;
	_Atomic bool doomed;  /* W: the supervisor, before it kills */
	_Atomic uint64_t life; /* counts its holders */
	_Atomic uint64_t calls;
	_Atomic uint64_t since_ns; /* when the present call began; 0: none */
	_Atomic(const char *) call;
	_Atomic bool flushing; /* newcomers may start anew from here on */
	uint64_t resumed_ns; /* the supervisor's own */
};

/* Shared by all, apart from the segment. */
struct board {
	struct place places[WORKERS_MAX];
	_Atomic uint64_t wrong;
	/* Who computes a lone key: place plus 1 | its life << 16; 0: nobody. */
	_Atomic uint64_t computing[LONE_KEYS];
	_Atomic uint64_t computing_since[LONE_KEYS]; /* flushes, by then */
	_Atomic uint64_t flushes; /* that are over */
	_Atomic uint64_t holding[LEASES];
	_Atomic uint64_t token[LEASES];
	_Atomic uint64_t versions, doubtful;
	_Atomic uint64_t computed, hits, stored, leased;
};

static struct board *board;
static struct shmc *cache;
static struct place *own;
static uint64_t random_state;

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t
draw(uint64_t below)
{
	/* xorshift64 (Marsaglia 2003). */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 11) % below;
}

static void
add(_Atomic uint64_t *figure, uint64_t n)
{
	atomic_fetch_add_explicit(figure, n, memory_order_relaxed);
}

__attribute__((format(printf, 1, 2))) static void
wrong(const char *format, ...)
{
	char text[256];
	va_list arguments;

	if (atomic_fetch_add(&board->wrong, 1) >= COMPLAINTS_MAX)
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fprintf(stderr, "storm: wrong: %s (pid %d)\n", text, (int)getpid());
}

/* ---------------------------------------------------------------- values -- */

/* version, key, then bytes that depend on both and their place. */
struct head {
	uint64_t version;
	uint64_t key;
};

static unsigned char
byte_at(uint64_t key, uint64_t version, size_t i)
{
	return (unsigned char)((key * 31 + version * 17 + i * 7 + (i >> 8)) ^
	    i >> 3);
}

static size_t
value_make(unsigned char *to, size_t bytes, uint64_t key)
{
	struct head head = {
		atomic_fetch_add_explicit(&board->versions, 1,
		    memory_order_relaxed), key };

	if (bytes < sizeof head)
		bytes = sizeof head;
	memcpy(to, &head, sizeof head);
	for (size_t i = sizeof head; i < bytes; i++)
		to[i] = byte_at(key, head.version, i);
	return bytes;
}

static void
check_bytes(const unsigned char *p, size_t bytes, uint64_t key,
    const char *from)
{
	struct head head;

	add(&board->hits, 1);
	if (bytes < sizeof head) {
		wrong("%s: %zu bytes of key %llu", from, bytes,
		    (unsigned long long)key);
		return;
	}
	memcpy(&head, p, sizeof head);
	if (head.key != key) {
		wrong("%s: key %llu has a value of key %llu", from,
		    (unsigned long long)key, (unsigned long long)head.key);
		return;
	}
	for (size_t i = sizeof head; i < bytes; i++)
		if (p[i] != byte_at(key, head.version, i)) {
			wrong("%s: key %llu, byte %zu of %zu", from,
			    (unsigned long long)key, i, bytes);
			return;
		}
}

/* A scratch buffer for the largest value. */
static unsigned char *scratch;
static size_t scratch_bytes;

static void
check_view(struct shmc_view *view, uint64_t key, const char *from)
{
	size_t n = shmc_view_copy(view, scratch, scratch_bytes);

	if (n != view->size_bytes)
		wrong("%s: %zu of %zu bytes of key %llu", from, n,
		    view->size_bytes, (unsigned long long)key);
	else
		check_bytes(scratch, n, key, from);
}

/* Mostly small, sometimes in pieces, rarely an eighth of the segment. */
static size_t
size_draw(void)
{
	switch (draw(200)) {
	case 0:
		return draw(scratch_bytes / 2);
	case 1:
	case 2:
	case 3:
		return draw(60000);
	default:
		return draw(600);
	}
}

/* ------------------------------------------------------------------ keys -- */

struct name {
	char text[24];
	size_t bytes;
	uint64_t number;
};

static struct name
name_of(char kind, uint64_t number)
{
	struct name name = { .number = (uint64_t)kind << 32 | number };

	name.bytes = (size_t)snprintf(name.text, sizeof name.text, "%c-%llu",
	    kind, (unsigned long long)number);
	return name;
}

/* Few are popular. */
static struct name
any_key(void)
{
	return name_of('k', draw(2) == 0 ? draw(20) : draw(KEYS));
}

/* --------------------------------------------------------------- the calls -- */

static void
do_get(void)
{
	struct name k = any_key();
	size_t bytes = 0;
	enum shmc_status status = shmc_get(cache, k.text, k.bytes, scratch,
	    scratch_bytes, &bytes);

	if (status == SHMC_OK || status == SHMC_STALE)
		check_bytes(scratch, bytes, k.number, "get");
}

/* A view outlives what happens to its entry in the meantime. */
static void
do_views(void)
{
	struct shmc_view views[VIEWS_HELD];
	struct name names[VIEWS_HELD];
	enum shmc_status statuses[VIEWS_HELD];

	for (unsigned i = 0; i < VIEWS_HELD; i++) {
		names[i] = any_key();
		statuses[i] = shmc_view(cache, names[i].text, names[i].bytes,
		    &views[i]);
	}
	for (unsigned n = (unsigned)draw(200); n > 0; n--)
		sched_yield();
	for (unsigned i = 0; i < VIEWS_HELD; i++) {
		if (statuses[i] == SHMC_OK)
			check_view(&views[i], names[i].number, "view");
		if (statuses[i] == SHMC_OK || statuses[i] == SHMC_ERROR)
			shmc_view_release(&views[i]);
	}
}

static void
do_get_many(void)
{
	static unsigned char buffers[24][1024];
	struct shmc_item items[24];
	struct name names[24];

	memset(items, 0, sizeof items);
	for (unsigned i = 0; i < 24; i++) {
		names[i] = any_key();
		items[i].key = names[i].text;
		items[i].key_bytes = names[i].bytes;
		items[i].buffer = buffers[i];
		items[i].buffer_bytes = sizeof buffers[i];
	}
	(void)!shmc_get_many(cache, items, 24);
	for (unsigned i = 0; i < 24; i++)
		if (items[i].status == SHMC_OK || items[i].status == SHMC_STALE)
			check_bytes(buffers[i], items[i].value_bytes,
			    names[i].number, "get_many");
}

static const char *const tag_names[] = { "a", "b", "c" };

static struct shmc_terms
terms_draw(void)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = draw(3) == 0 ? 0 : 1 + draw(300);
	if (draw(2) == 0) {
		terms.grace_ms = draw(100);
		terms.keep_ms = draw(100);
		terms.jitter_percent = (uint32_t)draw(51);
		terms.tag_count = (uint32_t)draw(4);
		terms.tags = tag_names;
	}
	return terms;
}

static void
note_store(enum shmc_status status, const char *what)
{
	if (status == SHMC_OK)
		add(&board->stored, 1);
	else if (status == SHMC_INVALID || status == SHMC_FENCED)
		wrong("%s: status %d", what, (int)status);
}

static void
do_put(void)
{
	struct name k = any_key();
	size_t bytes = value_make(scratch, size_draw(), k.number);

	note_store(shmc_put(cache, k.text, k.bytes, scratch, bytes, draw(2) *
	    draw(500)), "put");
}

static void
do_store(void)
{
	struct name k = any_key();
	struct shmc_terms terms = terms_draw();
	enum shmc_if condition = (enum shmc_if)draw(4);
	struct shmc_view view;
	uint64_t version = 1;
	size_t bytes;

	if (condition == SHMC_IF_VERSION) {
		enum shmc_status seen = shmc_view(cache, k.text, k.bytes,
		    &view);

		if (seen == SHMC_OK || seen == SHMC_ERROR) {
			version = view.version;
			shmc_view_release(&view);
		}
	}
	bytes = value_make(scratch, size_draw(), k.number);
	note_store(shmc_store(cache, k.text, k.bytes, scratch, bytes, &terms,
	    condition, version), "store");
}

static int
updater(const struct shmc_view *old, const void **value, size_t *value_bytes,
    void *arg)
{
	static unsigned char buffer[700];
	const struct name *k = arg;

	if (old != NULL) {
		struct shmc_view view = *old;

		check_view(&view, k->number, "update");
	}
	*value_bytes = value_make(buffer, draw(sizeof buffer), k->number);
	*value = buffer;
	return draw(4) != 0;
}

static void
do_update(void)
{
	struct name k = any_key();

	note_store(shmc_update(cache, k.text, k.bytes, updater, &k, NULL),
	    "update");
}

/* Only ever changed by additions of 1 from 0: never negative, never wild. */
static void
do_incr(void)
{
	struct name k = name_of('c', draw(COUNTERS));
	int64_t sum = 0;
	enum shmc_status status = shmc_incr(cache, k.text, k.bytes, 1, 0, 0,
	    &sum);

	note_store(status, "incr");
	if (status == SHMC_OTHER ||
	    (status == SHMC_OK && (sum < 0 || sum > (int64_t)1 << 40)))
		wrong("incr: status %d, sum %lld", (int)status, (long long)sum);
}

/* By the supervisor, for who was killed in it. */
static void
flush_over(struct place *place)
{
	add(&board->flushes, 1);
	atomic_store(&place->flushing, false);
}

/* Nobody flushes, nor has since that many flushes had been. */
static bool
no_flush_since(uint64_t flushes)
{
	for (unsigned i = 0; i < options.workers; i++)
		if (atomic_load(&board->places[i].flushing))
			return false;
	return flushes == atomic_load(&board->flushes);
}

static void
do_remove(void)
{
	struct name k = any_key();

	switch (draw(12)) {
	case 0:
		(void)!shmc_invalidate(cache, k.text, k.bytes);
		break;
	case 1:
		(void)!shmc_detach(cache, k.text, k.bytes);
		break;
	case 2:
		(void)!shmc_touch(cache, k.text, k.bytes, draw(500));
		break;
	case 3:
		(void)!shmc_invalidate_tag(cache, tag_names[draw(3)]);
		break;
	case 4:
		if (draw(200) != 0)
			break;
		atomic_store(&own->flushing, true);
		(void)!shmc_flush(cache);
		flush_over(own);
		break;
	default:
		(void)!shmc_delete(cache, k.text, k.bytes);
	}
}

/* ----------------------------------------------------------------- flights -- */

static bool
is_alive(uint64_t who)
{
	const struct place *place;

	if (who == 0)
		return false;
	place = &board->places[(who & 0xffff) - 1];
	return !atomic_load(&place->doomed) &&
	    atomic_load(&place->life) == who >> 16;
}

static uint64_t
ourselves(void)
{
	return ((uint64_t)(own - board->places) + 1) |
	    atomic_load(&own->life) << 16;
}

static void
append_all(struct shmc_lead *lead, const unsigned char *value, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		size_t n = 1 + draw(bytes - done);

		if (shmc_lead_append(lead, value + done, n) != SHMC_OK) {
			shmc_lead_abandon(lead);
			return;
		}
		done += n;
	}
	(void)!shmc_lead_commit(lead, draw(2) * draw(300), NULL);
}

/* Every way to end, and some not to. */
static void
load_somehow(struct shmc_lead *lead, void *arg)
{
	const struct name *k = arg;
	unsigned char *value = malloc(scratch_bytes);
	struct shmc_terms terms = terms_draw();
	size_t bytes;

	if (value == NULL)
		return;
	add(&board->computed, 1);
	bytes = value_make(value, size_draw(), k->number);
	if (draw(3) == 0)
		(void)!shmc_lead_terms(lead, &terms);
	if (draw(8) == 0)
		do_get();
	if (draw(8) == 0)
		(void)!shmc_lead_extend(lead, 1 + draw(100));
	switch (draw(12)) {
	case 0:
		append_all(lead, value, bytes);
		break;
	case 1:
		if (shmc_lead_append(lead, value, bytes) == SHMC_OK)
			(void)!shmc_lead_share(lead, NULL);
		break;
	case 2:
		(void)!shmc_lead_error(lead, 7, "no backend", draw(2) * 20);
		break;
	case 3:
		(void)!shmc_lead_absent(lead, draw(2) * 20);
		break;
	case 4:
		if (shmc_lead_append(lead, value, bytes) == SHMC_OK)
			(void)!shmc_lead_pass(lead, 1 + (uint32_t)draw(8),
			    draw(2) * 20, NULL);
		break;
	case 5:
		if (shmc_lead_refresh(lead, 50, NULL) == SHMC_MISS)
			shmc_lead_abandon(lead);
		break;
	case 6:
		shmc_lead_abandon(lead);
		break;
	case 7: /* returns without ending it */
		break;
	default:
		(void)!shmc_lead_value(lead, value, bytes, draw(2) * draw(300),
		    NULL);
	}
	free(value);
}

static struct shmc_wait
wait_draw(void)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;

	wait.deadline_ns = now_ns() + (1 + draw(200)) * MS;
	wait.lease_ms = 5 + draw(200);
	wait.max_waiters = (uint32_t)draw(3) * 4;
	wait.on_timeout = (uint32_t)draw(3);
	wait.on_overflow = (uint32_t)draw(3);
	wait.early_percent = (uint32_t)draw(2) * 100;
	return wait;
}

static void
note_fetch(enum shmc_status status, struct shmc_view *view, uint64_t key,
    const char *from)
{
	if (status == SHMC_OK)
		check_view(view, key, from);
	else if (status == SHMC_ERROR && view->error != 7)
		wrong("%s: error %d", from, (int)view->error);
	else if (status == SHMC_INVALID || status == SHMC_LEAD)
		wrong("%s: status %d", from, (int)status);
	if (status == SHMC_OK || status == SHMC_ERROR)
		shmc_view_release(view);
}

static void
do_fetch(void)
{
	struct name k = any_key();
	struct shmc_wait wait = wait_draw();
	struct shmc_view view;
	enum shmc_status status = shmc_fetch(cache, k.text, k.bytes, &wait,
	    load_somehow, &k, &view);

	note_fetch(status, &view, k.number, "fetch");
}

static void
load_many(struct shmc_fetch_item *items, size_t count, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD)
			load_somehow(&items[i].lead, items[i].arg);
}

static void
do_fetch_many(void)
{
	struct shmc_fetch_item *items = calloc(4, sizeof *items);
	struct shmc_wait wait = wait_draw();
	struct name names[4];

	if (items == NULL)
		return;
	for (unsigned i = 0; i < 4; i++) {
		names[i] = any_key();
		items[i].key = names[i].text;
		items[i].key_bytes = names[i].bytes;
		items[i].arg = &names[i];
	}
	(void)!shmc_fetch_many(cache, items, 4, &wait, load_many, NULL);
	for (unsigned i = 0; i < 4; i++)
		note_fetch(items[i].status, &items[i].view, names[i].number,
		    "fetch_many");
	free(items);
}

/* Computes alone, or says who is with us.  Leases are long: no promotion of
 * the living. */
static void
load_alone(struct shmc_lead *lead, void *arg)
{
	const struct name *k = arg;
	uint64_t number = k->number & 0xffff;
	_Atomic uint64_t *cell = &board->computing[number];
	uint64_t flushes = atomic_load(&board->flushes);
	uint64_t since = atomic_exchange(&board->computing_since[number],
	    flushes);
	uint64_t others = atomic_exchange(cell, ourselves());
	unsigned char value[600];
	size_t bytes = value_make(value, draw(sizeof value), k->number);

	if (is_alive(others) && since == flushes && no_flush_since(flushes))
		wrong("two compute key %llu", (unsigned long long)k->number);
	add(&board->computed, 1);
	for (unsigned n = (unsigned)draw(20); n > 0; n--)
		sched_yield();
	others = ourselves();
	atomic_compare_exchange_strong(cell, &others, 0);
	if (draw(10) == 0)
		shmc_lead_abandon(lead);
	else
		(void)!shmc_lead_value(lead, value, bytes, 1 + draw(50), NULL);
}

static void
do_fetch_alone(void)
{
	struct name k = name_of('l', draw(LONE_KEYS));
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	enum shmc_status status;

	wait.lease_ms = 60000;
	wait.deadline_ns = now_ns() + 10000 * MS;
	status = shmc_fetch(cache, k.text, k.bytes, &wait, load_alone, &k,
	    &view);
	note_fetch(status, &view, k.number, "lone fetch");
}

/* ---------------------------------------------------------------- the rest -- */

static void
do_lease(void)
{
	uint64_t n = draw(LEASES), before;
	struct name k = name_of('m', n);
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_lease lease;

	wait.lease_ms = 60000;
	wait.deadline_ns = draw(2) == 0 ? 1 : now_ns() + draw(20) * MS;
	if (shmc_lease_acquire(cache, k.text, k.bytes, &wait, &lease) !=
	    SHMC_OK)
		return;
	add(&board->leased, 1);
	before = atomic_exchange(&board->holding[n], ourselves());
	if (is_alive(before))
		wrong("two hold lease %llu", (unsigned long long)n);
	before = atomic_exchange(&board->token[n], lease.token);
	if (before >= lease.token)
		wrong("lease %llu: token %llu after %llu",
		    (unsigned long long)n, (unsigned long long)lease.token,
		    (unsigned long long)before);
	sched_yield();
	before = ourselves();
	atomic_compare_exchange_strong(&board->holding[n], &before, 0);
	if (shmc_lease_release(&lease) != SHMC_OK)
		wrong("lease %llu was lost", (unsigned long long)n);
}

static int
visit(const void *key, size_t key_bytes, const struct shmc_view *value,
    void *arg)
{
	struct shmc_view view = *value;
	struct head head = { 0, 0 };

	(void)arg;
	if (key_bytes > 0 && *(const char *)key == 'c')
		return 1;
	if (shmc_view_copy(&view, &head, sizeof head) == sizeof head)
		check_view(&view, head.key, "iterate");
	return draw(50) != 0;
}

static void
do_iterate(void)
{
	uint64_t cursor = draw(2) == 0 ? 0 : draw(100000);

	(void)!shmc_iterate(cache, &cursor, 1 + draw(200), visit, NULL);
}

static void
do_figures(void)
{
	struct shmc_stats stats;

	shmc_stats(cache, &stats, sizeof stats);
	if (stats.doubtful > 0 && atomic_exchange(&board->doubtful, 1) == 0)
		wrong("%llu doubtful words", (unsigned long long)stats.doubtful);
	if (draw(4) == 0)
		(void)shmc_reap(cache);
}

/* Another handle on the same memory, or a new slot on this one. */
static void
do_attach(void)
{
	struct shmc *twin = NULL;
	struct name k = any_key();
	size_t bytes;
	enum shmc_status status;

	if (draw(4) != 0) {
		if (shmc_detach_thread(cache) != 0)
			wrong("detach_thread failed");
		return;
	}
	if (shmc_attach_fd(&twin, shmc_fd(cache), NULL, NULL) != 0) {
		wrong("attach failed: errno %d", errno);
		return;
	}
	status = shmc_get(twin, k.text, k.bytes, scratch, scratch_bytes, &bytes);
	if (status == SHMC_OK || status == SHMC_STALE)
		check_bytes(scratch, bytes, k.number, "twin");
	shmc_close(twin);
}

static const struct {
	const char *name;
	void (*call)(void);
	unsigned weight;
} calls[] = {
	{ "get", do_get, 30 },
	{ "views", do_views, 8 },
	{ "get_many", do_get_many, 4 },
	{ "put", do_put, 20 },
	{ "store", do_store, 8 },
	{ "update", do_update, 4 },
	{ "incr", do_incr, 6 },
	{ "remove", do_remove, 8 },
	{ "fetch", do_fetch, 25 },
	{ "fetch_many", do_fetch_many, 6 },
	{ "fetch_alone", do_fetch_alone, 20 },
	{ "lease", do_lease, 8 },
	{ "iterate", do_iterate, 2 },
	{ "figures", do_figures, 1 },
	{ "attach", do_attach, 2 },
};
#define CALLS (sizeof calls / sizeof calls[0])

static unsigned
weight(unsigned i)
{
	return strstr(options.without, calls[i].name) == NULL ?
	    calls[i].weight : 0;
}

static unsigned
pick(void)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < CALLS; i++)
		total += weight(i);
	at = (unsigned)draw(total);
	for (unsigned i = 0; i < CALLS; i++) {
		if (at < weight(i))
			return i;
		at -= weight(i);
	}
	return 0;
}

static void
work_once(void)
{
	unsigned i = pick();

	atomic_store(&own->call, calls[i].name);
	atomic_store(&own->since_ns, now_ns());
	calls[i].call();
	atomic_store(&own->since_ns, 0);
	add(&own->calls, 1);
}

static _Noreturn void
work(unsigned place, uint64_t seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	own = &board->places[place];
	random_state = seed | 1;
	for (;;)
		work_once();
}

/* -------------------------------------------------------------- supervisor -- */

static struct {
	uint64_t kills, stops, stopped_kills;
} figures;

static void
start_worker(unsigned i)
{
	struct place *p = &board->places[i];
	uint64_t seed = random_state ^ draw(UINT64_MAX >> 11);
	int pid;

	atomic_fetch_add(&p->life, 1);
	atomic_store(&p->since_ns, 0);
	atomic_store(&p->doomed, false);
	pid = fork();
	if (pid == 0)
		work(i, seed);
	if (pid < 0) {
		perror("storm: fork");
		exit(1);
	}
	p->resumed_ns = now_ns();
	atomic_store(&p->pid, pid);
}

static void
kill_worker(unsigned i)
{
	struct place *p = &board->places[i];
	int status, pid = atomic_load(&p->pid);

	atomic_store(&p->doomed, true);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		wrong("waitpid of worker %u failed", i);
	else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		wrong("worker %u ended with status %#x in %s", i,
		    (unsigned)status, atomic_load(&p->call));
	figures.kills++;
	if (atomic_load(&p->flushing))
		flush_over(p);
}

static void
nap(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u),
		(long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

/* Stops a worker, lets the others go on, and lets it go on, or kills it. */
static void
stop_worker(unsigned i)
{
	int pid = atomic_load(&board->places[i].pid);

	kill(pid, SIGSTOP);
	figures.stops++;
	nap((1 + draw(120)) * MS);
	if (draw(3) == 0) {
		kill_worker(i);
		figures.stopped_kills++;
		start_worker(i);
		return;
	}
	kill(pid, SIGCONT);
	board->places[i].resumed_ns = now_ns();
}

/* A crash of a worker by itself is as wrong as a call that does not return. */
static void
look_after(unsigned i)
{
	struct place *p = &board->places[i];
	uint64_t since = atomic_load(&p->since_ns), now = now_ns();
	int status, pid = atomic_load(&p->pid);

	if (waitpid(pid, &status, WNOHANG) == pid) {
		wrong("worker %u ended by itself, status %#x, in %s", i,
		    (unsigned)status, atomic_load(&p->call));
		start_worker(i);
		return;
	}
	if (since == 0 || now < since + STUCK_NS ||
	    now < p->resumed_ns + STUCK_NS)
		return;
	wrong("worker %u is stuck in %s for %.1f s", i, atomic_load(&p->call),
	    (double)(now - since) / 1e9);
	p->resumed_ns = now;
}

static uint64_t
calls_made(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < options.workers; i++)
		n += atomic_load(&board->places[i].calls);
	return n;
}

static void
progress(uint64_t began_ns)
{
	printf("storm: %4.0f s  calls %llu  kills %llu  stops %llu  wrong %llu\n",
	    (double)(now_ns() - began_ns) / 1e9,
	    (unsigned long long)calls_made(), (unsigned long long)figures.kills,
	    (unsigned long long)figures.stops,
	    (unsigned long long)atomic_load(&board->wrong));
	fflush(stdout);
}

static void
rage(void)
{
	uint64_t began = now_ns(), told = began, pause = 1000000000u /
	    options.kills_per_second;
	uint64_t end = began + (uint64_t)(options.seconds * 1e9);

	while (now_ns() < end) {
		unsigned i = (unsigned)draw(options.workers);

		if (draw(40) == 0) {
			stop_worker(i);
		} else {
			kill_worker(i);
			start_worker(i);
		}
		look_after((unsigned)draw(options.workers));
		if (now_ns() > told + 10000000000u) {
			told = now_ns();
			progress(began);
		}
		nap(pause / 2 + draw(pause));
	}
	progress(began);
}

/* Those who live still get on: everybody's count of calls grows. */
static void
check_everybody_works(void)
{
	uint64_t before[WORKERS_MAX] = { 0 }, end = now_ns() + STUCK_NS;
	unsigned waiting = options.workers;

	for (unsigned i = 0; i < options.workers; i++)
		before[i] = atomic_load(&board->places[i].calls);
	while (waiting > 0 && now_ns() < end) {
		nap(10 * MS);
		waiting = 0;
		for (unsigned i = 0; i < options.workers; i++)
			waiting += atomic_load(&board->places[i].calls) ==
			    before[i];
	}
	if (waiting > 0)
		wrong("%u workers do not get on any more", waiting);
}

static void
finding(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "storm: audit: %s\n", sentence);
}

/* A value for every key, all at once: nothing is held that nobody holds. */
static void
check_all_usable(void)
{
	struct shmc_view view;

	own = &board->places[0];
	for (unsigned i = 0; i < LONE_KEYS; i++) {
		struct name k = name_of('l', i);
		enum shmc_status status = shmc_fetch(cache, k.text, k.bytes,
		    NULL, load_alone, &k, &view);

		if (status == SHMC_OK)
			shmc_view_release(&view);
		else if (status != SHMC_ABANDONED)
			wrong("after the storm: fetch: %d", (int)status);
	}
	for (unsigned i = 0; i < KEYS; i++) {
		struct name k = name_of('k', i);
		size_t bytes = value_make(scratch, 500, k.number);

		if (shmc_put(cache, k.text, k.bytes, scratch, bytes, 0) !=
		    SHMC_OK)
			wrong("after the storm: put failed");
	}
	/* A quarter of the segment, whose memory must be there. */
	memset(scratch, 1, scratch_bytes);
	if (shmc_put(cache, "large", 5, scratch, scratch_bytes, 0) != SHMC_OK)
		wrong("after the storm: the largest value is refused");
}

static void
report(unsigned findings)
{
	struct shmc_stats s;

	shmc_stats(cache, &s, sizeof s);
	printf("storm: computations %llu  shared %llu  promotions %llu  "
	       "evicted blocks %llu  revoked %llu  reaped %llu  superseded "
	       "%llu\n",
	    (unsigned long long)s.computations, (unsigned long long)s.shared,
	    (unsigned long long)s.promotions,
	    (unsigned long long)s.evicted_blocks, (unsigned long long)s.revoked,
	    (unsigned long long)s.reaped, (unsigned long long)s.superseded);
	printf("storm: seed=%llu workers=%u calls=%llu values=%llu kills=%llu "
	       "stops=%llu findings=%u wrong=%llu\n",
	    (unsigned long long)options.seed, options.workers,
	    (unsigned long long)calls_made(),
	    (unsigned long long)atomic_load(&board->hits),
	    (unsigned long long)figures.kills,
	    (unsigned long long)figures.stops, findings,
	    (unsigned long long)atomic_load(&board->wrong));
}

/* ------------------------------------------------------------------- main -- */

static void
usage(FILE *to)
{
	fputs("usage: storm [--minutes N | --seconds N] [--workers N]\n"
	      "             [--kills-per-second N] [--seed S] [--mib N] "
	      "[--fences] [--without NAMES]\n",
	    to);
}

static void
parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "minutes", required_argument, NULL, 'm' },
		{ "seconds", required_argument, NULL, 's' },
		{ "workers", required_argument, NULL, 'w' },
		{ "kills-per-second", required_argument, NULL, 'k' },
		{ "seed", required_argument, NULL, 'r' },
		{ "mib", required_argument, NULL, 'b' },
		{ "fences", no_argument, NULL, 'f' },
		{ "without", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (letter) {
		case 'm':
			options.seconds = 60 * strtod(optarg, NULL);
			break;
		case 's':
			options.seconds = strtod(optarg, NULL);
			break;
		case 'w':
			options.workers = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			options.kills_per_second =
			    (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			options.seed = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			options.mib = strtoull(optarg, NULL, 10);
			break;
		case 'x':
			options.without = optarg;
			break;
		case 'f':
			options.fences = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (options.workers < 1 || options.workers > WORKERS_MAX ||
	    options.kills_per_second < 1 || !(options.seconds > 0)) {
		usage(stderr);
		exit(2);
	}
}

static void
open_cache(void)
{
	struct shmc_options o;
	struct shmc_error error;
	struct shmc_info info;

	shmc_options_init(&o, sizeof o);
	o.flags = SHMC_CREATE | (options.fences ? SHMC_FENCES : 0);
	o.size_bytes = options.mib << 20;
	/* A slot for each, one more while it attaches twice, and ours. */
	o.participants = 2 * options.workers + 2;
	if (shmc_open(&cache, &o, &error) != 0) {
		fprintf(stderr, "storm: %s\n", error.text);
		exit(1);
	}
	shmc_info(cache, &info, sizeof info);
	scratch_bytes = info.value_max_bytes;
	scratch = malloc(scratch_bytes);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (scratch == NULL || board == MAP_FAILED) {
		perror("storm");
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	unsigned findings;

	parse_options(argc, argv);
	open_cache();
	random_state = options.seed * 0x9e3779b97f4a7c15u | 1;
	for (unsigned i = 0; i < options.workers; i++)
		start_worker(i);
	rage();
	check_everybody_works();
	for (unsigned i = 0; i < options.workers; i++)
		kill_worker(i);
	(void)shmc_reap(cache);
	findings = shmc_audit(cache, finding, NULL);
	check_all_usable();
	findings += shmc_audit(cache, finding, NULL);
	report(findings);
	return findings == 0 && atomic_load(&board->wrong) == 0 ? 0 : 1;
}
