/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * begin and fetch: looking up, joining, leading, and what to do when neither
 * can be.
 *
 * One call goes round in turns until it has an answer: each turn but the last is
 * another participant's progress.  An older value that the last look-up found is
 * held (pinned) till the end: it is what stale answers are made of.
 *
 * Progress: blocks in flight_await() only, at most until the deadline.
 * A kill leaves nothing that flight.c and grace.c do not speak of.
 */
#include "clock.h"
#include "counters.h"
#include "grace.h"
#include "lead.h"
#include "permit.h"
#include "random.h"
#include "read.h"
#include "recover.h"
#include "store.h"
#include "testpoint.h"
#include "view.h"

#include <math.h>

#define LEASE_MAX_MS (1ull << 32)

struct begin {
	struct shmc *cache;
	struct member *me;
	struct key key;
	struct shmc_view *view; /* the caller's */
	struct lead *lead;
	struct shmc_wait wait; /* complete */
	uint64_t lease_ns;
	uint64_t waited_ns;
	uint64_t tag_clock; /* when the call began */
	/* What the last look-up found: stale, kept, or due for an early refresh. */
	struct shmc_view old;
	enum entry_age old_age;
	uint32_t fan_out; /* this key is passed, so many at a time; 0: it is not */
	bool missed;	  /* counted */
};

/* A turn's answers besides those of the API. */
#define AGAIN ((enum shmc_status)-1)
#define REFRESH ((enum shmc_status)-2) /* old is to be served, or replaced by us */

/* -------------------------------------------------------------- looking -- */

static void
count_miss(struct begin *b)
{
	if (!b->missed)
		count(b->me->slot, COUNT_MISSES);
	b->missed = true;
}

static enum shmc_status
deliver(struct begin *b, struct shmc_view *from, enum shmc_role role)
{
	view_move(b->view, from);
	b->view->role = role;
	b->view->waited_ns = b->waited_ns;
	return SHMC_OK;
}

static enum shmc_status
deliver_hit(struct begin *b, struct shmc_view *from, enum entry_kind kind)
{
	if (!b->missed)
		count(b->me->slot, COUNT_HITS);
	(void)deliver(b, from, SHMC_ROLE_HIT);
	return kind == KIND_VALUE ? SHMC_OK : read_failure(kind, b->view);
}

static enum shmc_status
deliver_old(struct begin *b)
{
	if (b->old_age == AGE_FRESH)
		return deliver_hit(b, &b->old, KIND_VALUE);
	count(b->me->slot, COUNT_STALE_HITS);
	return deliver(b, &b->old, SHMC_ROLE_STALE);
}

static void
drop_old(struct begin *b)
{
	if (b->old.data != NULL)
		shmc_view_release(&b->old);
}

static void
hold_old(struct begin *b, struct shmc_view *from, enum entry_age age)
{
	view_move(&b->old, from);
	b->old.role = age == AGE_FRESH ? SHMC_ROLE_HIT :
	    age == AGE_STALE ? SHMC_ROLE_STALE : SHMC_ROLE_NONE;
	b->old_age = age;
}

/* A number in (0, 1]. */
static double
uniform(void)
{
	return ((double)(random_draw() >> 11) + 1) / 9007199254740992.0;
}

/*
 * XFetch: refresh when now - cost * beta * ln(random) reaches the expiry, which
 * makes it the more probable the nearer expiry is and the dearer the value.
 */
static bool
early_is_due(const struct begin *b, const struct found *found)
{
	double ahead_ms;

	if (b->wait.early_percent == 0 || found->cost_us == 0 ||
	    found->fresh_ms == UINT64_MAX)
		return false;
	ahead_ms = found->cost_us / 1000.0 * b->wait.early_percent / 100.0 *
	    -log(uniform());
	return ahead_ms >= (double)found->fresh_ms;
}

/* What is there, sorted into answers. */
static enum shmc_status
sort_found(struct begin *b, struct shmc_view *view, const struct found *found)
{
	if (found->kind == KIND_PASS && found->age == AGE_FRESH)
		b->fan_out = read_fan_out(view);
	if (found->kind == KIND_PASS ||
	    (found->kind != KIND_VALUE && found->age != AGE_FRESH)) {
		shmc_view_release(view);
		return SHMC_MISS;
	}
	if (found->age == AGE_FRESH && !early_is_due(b, found))
		return deliver_hit(b, view, found->kind);
	if (found->kind != KIND_VALUE)
		return deliver_hit(b, view, found->kind);
	hold_old(b, view, found->age);
	return found->age == AGE_KEPT ? SHMC_MISS : REFRESH;
}

static enum shmc_status
look_up(struct begin *b)
{
	struct shmc_view view = { 0 };
	struct found found;
	enum shmc_status status;

	drop_old(b);
	status = read_find(b->cache, b->me, &b->key, &view, &found);
	if (status == SHMC_OK)
		status = sort_found(b, &view, &found);
	if (status == SHMC_MISS)
		count_miss(b);
	return status;
}

/* -------------------------------------------------------------- leading -- */

static enum shmc_status
lead_as(struct begin *b, enum lead_kind kind, const struct flight_hold *hold,
    enum shmc_role role)
{
	struct lead *lead = b->lead;

	memset(lead, 0, sizeof *lead);
	lead->cache = b->cache;
	lead->me = b->me;
	lead->family = load_relaxed(&b->me->family); /* our own */
	lead->key = b->key;
	if (hold != NULL)
		lead->hold = *hold;
	lead->kind = (uint8_t)kind;
	lead->fan_out = (uint8_t)b->fan_out;
	lead->role = (uint16_t)role;
	lead->waited_ns = b->waited_ns;
	lead->started_ns = clock_ns();
	lead->wants_cost = b->wait.early_percent > 0;
	lead->terms.tag_clock = store_tag_clock(&b->cache->seg);
	if (b->old.data != NULL)
		view_move(&lead->old, &b->old);
	b->me->leads++;
	if (role == SHMC_ROLE_PROMOTED)
		count(b->me->slot, COUNT_PROMOTIONS);
	if (kind != LEAD_FLIGHT)
		count(b->me->slot, COUNT_PASSES);
	count(b->me->slot, COUNT_COMPUTATIONS);
	TESTPOINT("fetch_leads");
	return SHMC_LEAD;
}

/*
 * SHMC_OK: something newer than what we held has appeared, *view is it.  What
 * is older is held anew, so that nothing that was removed before the flight was
 * ours is offered to the loader, or stored again by it.
 */
static enum shmc_status
look_again(struct begin *b, struct shmc_view *view, struct found *found)
{
	bool known = b->old.data != NULL;
	uint64_t version = b->old.version;
	enum shmc_status status;

	drop_old(b);
	status = read_find(b->cache, b->me, &b->key, view, found);
	if (status != SHMC_OK)
		return status;
	if (found->age == AGE_FRESH && (!known || view->version != version))
		return SHMC_OK;
	if (found->kind == KIND_VALUE)
		hold_old(b, view, found->age);
	else
		shmc_view_release(view);
	return SHMC_MISS;
}

/*
 * The flight is ours.  Between our look-up and our claim another may have led,
 * published and finished: look once more (R2).
 */
static enum shmc_status
lead_or_hit(struct begin *b, const struct flight_hold *hold,
    enum shmc_role role)
{
	struct shmc_view view = { 0 };
	struct found found;
	enum shmc_status status = look_again(b, &view, &found);

	if (status != SHMC_MISS) {
		(void)flight_cancel(b->me, hold); /* false: not ours any more */
		if (status != SHMC_OK)
			return status;
		if (found.kind != KIND_PASS)
			return deliver_hit(b, &view, found.kind);
		b->fan_out = read_fan_out(&view);
		shmc_view_release(&view);
		return AGAIN;
	}
	if (b->old.data != NULL && b->old_age == AGE_FRESH)
		count(b->me->slot, COUNT_EARLY);
	count_miss(b);
	status = lead_as(b, LEAD_FLIGHT, hold, role);
	b->lead->seen = found.word;
	flight_note_seen(b->me, hold, found.word);
	return status;
}

/* -------------------------------------------------- when there is no waiting -- */

/* The caller's policy: no result can be waited for (any longer). */
static enum shmc_status
do_without(struct begin *b, uint32_t policy, enum shmc_status status,
    enum counter counter)
{
	count(b->me->slot, counter);
	if (policy == SHMC_OR_STALE && b->old.data != NULL)
		return deliver_old(b);
	if (policy == SHMC_OR_COMPUTE)
		return lead_as(b, LEAD_PRIVATE, NULL, SHMC_ROLE_PASSED);
	return status;
}

static enum shmc_status
too_late(struct begin *b)
{
	return do_without(b, b->wait.on_timeout, SHMC_TIMEOUT, COUNT_TIMEOUTS);
}

static enum shmc_status
overflowed(struct begin *b)
{
	return do_without(b, b->wait.on_overflow, SHMC_OVERFLOW,
	    COUNT_OVERFLOWS);
}

/* Every record is in use: the dead may hold some. */
static enum shmc_status
no_record(struct begin *b)
{
	return recover_reap_all(b->me) > 0 ? AGAIN : SHMC_BUSY;
}

/* -------------------------------------------------------------- waiting -- */

static enum shmc_status
share_result(struct begin *b, uint64_t entry, bool superseded,
    const struct entry_view *bounds)
{
	bool opened = view_open(b->cache, b->me, entry, bounds, b->view);

	TESTPOINT("fetch_result_pinned");
	flight_leave(b->me);
	if (!opened)
		return SHMC_BUSY;
	if (bounds->kind == KIND_PASS) {
		b->fan_out = read_fan_out(b->view);
		shmc_view_release(b->view);
		return AGAIN;
	}
	if (bounds->kind == KIND_ERROR && b->old.data != NULL) {
		shmc_view_release(b->view); /* an older value is better: R15 */
		return deliver_old(b);
	}
	b->view->role = SHMC_ROLE_SHARED;
	b->view->waited_ns = b->waited_ns;
	if ((bounds->flags & ENTRY_UNLINKED) != 0)
		b->view->flags = SHMC_UNSTORED;
	else if (superseded)
		b->view->flags = SHMC_SUPERSEDED;
	count(b->me->slot, COUNT_SHARED);
	return bounds->kind == KIND_VALUE ? SHMC_OK :
	    read_failure(bounds->kind, b->view);
}

/*
 * Who came when the result was there did not wait for it: it is as if it stood
 * in the index already.  Its leader is about to put it there, or has stopped.
 */
static bool
is_for_us(const struct begin *b, const struct flight_hold *hold,
    const struct entry_view *bounds)
{
	return !hold->late || ((bounds->flags & ENTRY_UNLINKED) == 0 &&
	    entry_age(b->me->seg, bounds) == AGE_FRESH);
}

/* The flight we joined has a result: take it, or look again. */
static enum shmc_status
take_result(struct begin *b, const struct flight_hold *hold)
{
	struct entry_view bounds;
	bool superseded, outdated = false;
	uint64_t entry = flight_result(b->me, hold, &superseded);

	/* Our wait cell keeps the result; a pin follows before it goes. */
	if (entry != 0 && entry_read(b->me->seg, entry, &bounds) &&
	    entry_has_key(b->me->seg, &bounds, &b->key)) {
		outdated = entry_outdated_by(b->me->seg, &bounds,
		    b->tag_clock);
		if (!outdated && is_for_us(b, hold, &bounds))
			return share_result(b, entry, superseded, &bounds);
	}
	/* Nor do we, or who comes, find it again. */
	if (outdated || hold->late)
		flight_detach_this(b->me, hold);
	flight_leave(b->me);
	return AGAIN;
}

/* Joined: sleeps, and says what came of it; left unless FLIGHT_SERVED. */
static enum flight_event
sleep_on(struct begin *b, struct flight_hold *hold)
{
	uint64_t since = clock_ns();
	enum flight_event event;

	if (!hold->late)
		count(b->me->slot, COUNT_WAITS);
	event = flight_await(b->me, hold, b->wait.deadline_ns, b->lease_ns);
	b->waited_ns += clock_ns() - since;
	if (event == FLIGHT_LATE || event == FLIGHT_CYCLE)
		flight_leave(b->me);
	return event;
}

static enum shmc_status
deadlocked(struct begin *b)
{
	count(b->me->slot, COUNT_DEADLOCKS);
	return SHMC_DEADLOCK;
}

static enum shmc_status
wait_for(struct begin *b, struct flight_hold *hold)
{
	/* We are among them. */
	if (!hold->late && b->wait.max_waiters != 0 && flight_waiters(b->me->seg,
		hold->number) > b->wait.max_waiters) {
		flight_leave(b->me);
		return overflowed(b);
	}
	/* Died before it put its result into the index: so we do. */
	if (hold->late &&
	    recover_reap(b->me, flight_leader(hold->token))) {
		flight_leave(b->me);
		return AGAIN;
	}
	switch (sleep_on(b, hold)) {
	case FLIGHT_SERVED:
		return take_result(b, hold);
	case FLIGHT_PROMOTED:
		return lead_or_hit(b, hold, SHMC_ROLE_PROMOTED);
	case FLIGHT_LATE:
		return too_late(b);
	case FLIGHT_CYCLE:
		return deadlocked(b);
	case FLIGHT_GONE:
		break;
	}
	return AGAIN;
}

/* ------------------------------------------------------------- passing --- */

static enum permit
sleep_for_permit(struct begin *b, const struct permits *p,
    struct flight_hold *hold)
{
	uint64_t since = clock_ns();
	enum permit answer;

	count(b->me->slot, COUNT_WAITS);
	answer = permit_await(b->me, p, b->wait.deadline_ns, b->lease_ns, hold);
	b->waited_ns += clock_ns() - since;
	return answer;
}

/*
 * A key that cannot be shared: everybody computes for himself, fan_out at a
 * time.
 */
static enum shmc_status
pass(struct begin *b, bool may_wait)
{
	struct permits p = { b->key.hash, b->fan_out };
	struct flight_hold hold;
	enum permit answer;

	count_miss(b);
	answer = may_wait ? permit_enter(b->me, &p, b->lease_ns, &hold) :
			    permit_try(b->me, &p, b->lease_ns, &hold);
	if (answer == PERMIT_AGAIN && !may_wait)
		return SHMC_MISS;
	if (answer == PERMIT_WAITING) {
		if (b->wait.max_waiters != 0 &&
		    permit_waiters(b->me, &p) > b->wait.max_waiters) {
			flight_leave(b->me);
			return overflowed(b);
		}
		answer = sleep_for_permit(b, &p, &hold);
	}
	switch (answer) {
	case PERMIT_HELD:
		return lead_as(b, LEAD_PERMIT, &hold, SHMC_ROLE_PASSED);
	case PERMIT_LATE:
		return too_late(b);
	case PERMIT_CYCLE:
		return deadlocked(b);
	case PERMIT_FULL:
		return no_record(b);
	case PERMIT_WAITING:
	case PERMIT_AGAIN:
		break;
	}
	return AGAIN;
}

/* ---------------------------------------------------------------- turns -- */

/* One turn, with or without waiting for another's flight. */
static enum shmc_status
turn(struct begin *b, bool may_wait)
{
	struct flight_hold hold;
	enum shmc_status status;
	bool refresh;

	if (b->fan_out != 0)
		return pass(b, may_wait);
	status = look_up(b);
	refresh = status == REFRESH;
	if (b->fan_out != 0)
		return AGAIN;
	if (status != SHMC_MISS && !refresh)
		return status;
	/* Readers of an older value do not wait for its refresh (R16). */
	switch (flight_enter(b->me, b->key.hash, b->lease_ns,
	    may_wait && !refresh, &hold)) {
	case FLIGHT_LEADS:
		return lead_or_hit(b, &hold, SHMC_ROLE_LED);
	case FLIGHT_INHERITS:
		return lead_or_hit(b, &hold, SHMC_ROLE_PROMOTED);
	case FLIGHT_JOINS:
		return wait_for(b, &hold);
	case FLIGHT_TAKEN:
		return refresh ? deliver_old(b) : SHMC_MISS;
	case FLIGHT_FULL:
		return refresh ? deliver_old(b) : no_record(b);
	case FLIGHT_AGAIN:
		break;
	}
	return AGAIN;
}

static bool
wait_is_legal(const struct shmc_wait *w)
{
	return w->lease_ms <= LEASE_MAX_MS && w->on_timeout <= SHMC_OR_COMPUTE &&
	    w->on_overflow <= SHMC_OR_COMPUTE && w->early_percent <= 10000;
}

static enum shmc_status
complete(struct begin *b, struct shmc *cache, const void *key,
    size_t key_bytes, const struct shmc_wait *given)
{
	enum shmc_status status = cache_key(cache, key, key_bytes, &b->key);

	if (status != SHMC_OK)
		return status;
	b->cache = cache;
	b->wait = (struct shmc_wait)SHMC_WAIT_INIT;
	if (given != NULL) {
		if (given->struct_bytes < sizeof(size_t) ||
		    given->struct_bytes > 4096)
			return SHMC_INVALID;
		memcpy(&b->wait, given,
		    min_u64(given->struct_bytes, sizeof b->wait));
	}
	if (!wait_is_legal(&b->wait))
		return SHMC_INVALID;
	b->lease_ns = b->wait.lease_ms != 0 ? b->wait.lease_ms * NS_PER_MS :
	    cache->seg.lease_ns;
	if (b->wait.deadline_ns == 0)
		b->wait.deadline_ns = clock_ns() + cache->seg.wait_ns;
	b->tag_clock = store_tag_clock(&cache->seg);
	b->me = cache_member(cache);
	return b->me == NULL ? SHMC_BUSY : SHMC_OK;
}

static enum shmc_status
begin(struct shmc *cache, const void *key, size_t key_bytes,
    const struct shmc_wait *wait, bool may_wait, struct shmc_view *view,
    struct shmc_lead *lead)
{
	struct begin b = { .view = view, .lead = lead_of(lead) };
	enum shmc_status status;

	memset(view, 0, sizeof *view);
	memset(lead, 0, sizeof *lead);
	status = complete(&b, cache, key, key_bytes, wait);
	if (status != SHMC_OK)
		return status;
	/*
	 * Each turn but the last is another participant's progress, or the work
	 * of a scribbler, which the deadline ends.
	 */
	while ((status = turn(&b, may_wait)) == AGAIN)
		if (clock_ns() >= b.wait.deadline_ns) {
			status = too_late(&b);
			break;
		}
	drop_old(&b);
	return status;
}

enum shmc_status
shmc_begin(struct shmc *cache, const void *key, size_t key_bytes,
    const struct shmc_wait *wait, struct shmc_view *view,
    struct shmc_lead *lead)
{
	if (view == NULL || lead == NULL)
		return SHMC_INVALID;
	return begin(cache, key, key_bytes, wait, true, view, lead);
}

/* ---------------------------------------------------------------- fetch -- */

/* After the loader: how its lead ended. */
static enum shmc_status
conclude(struct shmc_lead *handle)
{
	struct lead *lead = lead_of(handle);

	/* Returning without having ended is giving up. */
	if (lead->cache != NULL)
		shmc_lead_abandon(handle);
	/* Not ended even so: this is a child that was forked in the loader. */
	return lead->cache != NULL ? SHMC_FENCED :
				     (enum shmc_status)lead->status;
}

enum shmc_status
shmc_fetch(struct shmc *cache, const void *key, size_t key_bytes,
    const struct shmc_wait *wait, shmc_loader *loader, void *arg,
    struct shmc_view *view)
{
	struct shmc_lead handle;
	enum shmc_status status;

	if (loader == NULL || view == NULL)
		return SHMC_INVALID;
	status = begin(cache, key, key_bytes, wait, true, view, &handle);
	if (status != SHMC_LEAD)
		return status;
	lead_of(&handle)->view = view;
	loader(&handle, arg);
	return conclude(&handle);
}

/* ----------------------------------------------------------- fetch_many --- */

struct single {
	shmc_many_loader *loader;
	void *arg;
	struct shmc_fetch_item *item;
};

/* The many-loader for one item whose leader fell, inside a shmc_fetch(). */
static void
load_single(struct shmc_lead *lead, void *arg)
{
	struct single *s = arg;

	s->item->lead = *lead;
	s->item->status = SHMC_LEAD;
	s->loader(s->item, 1, s->arg);
	*lead = s->item->lead;
}

static void
refuse_all(struct shmc_fetch_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		memset(&items[i].view, 0, sizeof items[i].view);
		items[i].status = SHMC_INVALID;
	}
}

static bool
begin_all(struct shmc *cache, struct shmc_fetch_item *items, size_t count,
    const struct shmc_wait *wait)
{
	bool leads = false;

	for (size_t i = 0; i < count; i++) {
		items[i].status = begin(cache, items[i].key,
		    items[i].key_bytes, wait, false, &items[i].view,
		    &items[i].lead);
		if (items[i].status == SHMC_LEAD) {
			lead_of(&items[i].lead)->view = &items[i].view;
			leads = true;
		}
	}
	return leads;
}

/*
 * First what nobody computes, all of it, before waiting for anybody: so two
 * such calls cannot wait for each other.
 */
size_t
shmc_fetch_many(struct shmc *cache, struct shmc_fetch_item *items,
    size_t count, const struct shmc_wait *wait, shmc_many_loader *loader,
    void *arg)
{
	size_t found = 0;

	if (items == NULL)
		return 0;
	if (loader == NULL || count > SHMC_VIEWS_MAX) {
		refuse_all(items, count);
		return 0;
	}
	if (begin_all(cache, items, count, wait))
		loader(items, count, arg);
	for (size_t i = 0; i < count; i++)
		if (items[i].status == SHMC_LEAD)
			items[i].status = conclude(&items[i].lead);
	for (size_t i = 0; i < count; i++) {
		struct single s = { loader, arg, &items[i] };

		/* BUSY: perhaps with what our own leads took. */
		if (items[i].status == SHMC_MISS ||
		    items[i].status == SHMC_BUSY)
			items[i].status = shmc_fetch(cache, items[i].key,
			    items[i].key_bytes, wait, load_single, &s,
			    &items[i].view);
		found += items[i].status == SHMC_OK;
	}
	return found;
}

enum shmc_status
shmc_detach(struct shmc *cache, const void *key, size_t key_bytes)
{
	struct member *me;
	struct key k;
	enum shmc_status status = cache_key(cache, key, key_bytes, &k);

	if (status != SHMC_OK)
		return status;
	me = cache_member(cache);
	if (me == NULL)
		return SHMC_BUSY;
	flight_detach(me, k.hash);
	return SHMC_OK;
}
