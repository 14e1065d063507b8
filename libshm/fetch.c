/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch, begin, and the leader's calls: looking up, joining, leading.
 *
 * Order of a commit: the entry is written, the flight is committed, the entry is
 * linked, the flight is finished (docs/design.md, "Flights").  What a kill at
 * each step leaves is said there.
 */
#include "clock.h"
#include "counters.h"
#include "evict.h"
#include "flight.h"
#include "grace.h"
#include "store.h"
#include "testpoint.h"
#include "value.h"
#include "view.h"

#include <string.h>

/* What is behind struct shmc_lead. */
struct lead {
	struct shmc *cache; /* NULL: over */
	struct member *me;
	uint64_t family;
	struct key key;
	struct flight_hold hold;
	struct draft draft;
	struct shmc_view *view; /* fetch: where the value is to go */
	uint64_t waited_ns;
	uint32_t role;
	uint32_t status; /* how it ended */
};
static_assert(sizeof(struct lead) <= sizeof(struct shmc_lead), "it must fit");

static struct lead *
lead_of(struct shmc_lead *lead)
{
	return (struct lead *)(void *)lead->opaque;
}

/* One begin: what its turns share. */
struct begin {
	struct shmc *cache;
	struct member *me;
	struct key key;
	struct shmc_view *view;
	struct lead *lead;
	uint64_t deadline_ns;
	uint64_t lease_ns;
	uint64_t waited_ns;
	bool missed; /* counted */
};

/* A step's answer: begin ends with this status, or goes round again. */
#define AGAIN ((enum shmc_status)-1)

/* -------------------------------------------------------------- looking -- */

static enum shmc_status
look_up(struct begin *b)
{
	enum shmc_status status = store_view(b->cache, b->me, &b->key, b->view);

	if (status == SHMC_OK) {
		b->view->role = SHMC_ROLE_HIT;
		b->view->waited_ns = b->waited_ns;
		if (!b->missed)
			count(b->me->slot, COUNT_HITS);
	} else if (status == SHMC_MISS && !b->missed) {
		b->missed = true;
		count(b->me->slot, COUNT_MISSES);
	}
	return status;
}

/* -------------------------------------------------------------- leading -- */

/*
 * The flight is ours.  Between our look-up and our claim another may have led,
 * published and finished: look once more (R2).
 */
static enum shmc_status
lead_or_hit(struct begin *b, const struct flight_hold *hold, uint32_t role)
{
	enum shmc_status status = look_up(b);
	struct lead *lead = b->lead;

	if (status != SHMC_MISS) {
		(void)flight_cancel(b->me, hold); /* false: fenced, not ours */
		return status;
	}
	memset(lead, 0, sizeof *lead);
	lead->cache = b->cache;
	lead->me = b->me;
	lead->family = load_relaxed(&b->me->family); /* our own */
	lead->key = b->key;
	lead->hold = *hold;
	lead->role = role;
	lead->waited_ns = b->waited_ns;
	b->me->leads++;
	if (role == SHMC_ROLE_PROMOTED)
		count(b->me->slot, COUNT_PROMOTIONS);
	count(b->me->slot, COUNT_COMPUTATIONS);
	TESTPOINT("fetch_leads");
	return SHMC_LEAD;
}

/* -------------------------------------------------------------- waiting -- */

/* The flight we joined has a result: take it, or look again. */
static enum shmc_status
take_result(struct begin *b, const struct flight_hold *hold)
{
	struct entry_view bounds;
	bool superseded, opened;
	uint64_t entry = flight_result(b->me, hold, &superseded);

	/* Our wait cell keeps the result's block; the pin follows before. */
	if (entry == 0 || !entry_read(b->me->seg, entry, &bounds) ||
	    !entry_has_key(b->me->seg, &bounds, &b->key)) {
		flight_leave(b->me);
		return AGAIN;
	}
	opened = view_open(b->cache, b->me, entry, &bounds, b->view);
	TESTPOINT("fetch_result_pinned");
	flight_leave(b->me);
	if (!opened)
		return SHMC_BUSY;
	b->view->role = SHMC_ROLE_SHARED;
	b->view->waited_ns = b->waited_ns;
	b->view->flags = superseded ? SHMC_SUPERSEDED : 0;
	count(b->me->slot, COUNT_SHARED);
	return SHMC_OK;
}

static enum shmc_status
give_up(struct begin *b, enum shmc_status status, enum counter counter)
{
	flight_leave(b->me);
	count(b->me->slot, counter);
	return status;
}

static enum shmc_status
wait_for(struct begin *b, struct flight_hold *hold)
{
	uint64_t since = clock_ns();
	enum flight_event event;

	count(b->me->slot, COUNT_WAITS);
	event = flight_await(b->me, hold, b->deadline_ns, b->lease_ns);
	b->waited_ns += clock_ns() - since;
	switch (event) {
	case FLIGHT_SERVED:
		return take_result(b, hold);
	case FLIGHT_PROMOTED:
		return lead_or_hit(b, hold, SHMC_ROLE_PROMOTED);
	case FLIGHT_LATE:
		return give_up(b, SHMC_TIMEOUT, COUNT_TIMEOUTS);
	case FLIGHT_CYCLE:
		return give_up(b, SHMC_DEADLOCK, COUNT_DEADLOCKS);
	case FLIGHT_GONE:
		break;
	}
	return AGAIN;
}

/* One turn: look up; lead or join. */
static enum shmc_status
turn(struct begin *b)
{
	struct flight_hold hold;
	enum shmc_status status = look_up(b);

	if (status != SHMC_MISS)
		return status;
	switch (flight_enter(b->me, b->key.hash, b->lease_ns, &hold)) {
	case FLIGHT_LEADS:
		return lead_or_hit(b, &hold, SHMC_ROLE_LED);
	case FLIGHT_JOINS:
		return wait_for(b, &hold);
	case FLIGHT_FULL:
		return SHMC_BUSY;
	case FLIGHT_AGAIN:
		break;
	}
	return AGAIN;
}

/* ---------------------------------------------------------------- begin -- */

/* Longest lease that a caller may ask for: as in the options. */
#define LEASE_MAX_MS (1ull << 32)

static bool
wait_complete(struct begin *b, const struct shmc_wait *given)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;

	if (given != NULL) {
		if (given->struct_bytes < sizeof(size_t) ||
		    given->struct_bytes > 4096)
			return false;
		memcpy(&wait, given, min_u64(given->struct_bytes, sizeof wait));
	}
	if (wait.lease_ms > LEASE_MAX_MS)
		return false;
	b->lease_ns = wait.lease_ms != 0 ? wait.lease_ms * NS_PER_MS :
	    b->cache->seg.lease_ns;
	b->deadline_ns = wait.deadline_ns != 0 ? wait.deadline_ns :
	    clock_ns() + b->cache->seg.wait_ns;
	return true;
}

enum shmc_status
shmc_begin(struct shmc *cache, const void *key, size_t key_bytes,
    const struct shmc_wait *wait, struct shmc_view *view,
    struct shmc_lead *lead)
{
	struct begin b = { .cache = cache, .view = view };
	enum shmc_status status;

	if (view == NULL || lead == NULL)
		return SHMC_INVALID;
	memset(view, 0, sizeof *view);
	memset(lead, 0, sizeof *lead);
	status = cache_key(cache, key, key_bytes, &b.key);
	if (status != SHMC_OK)
		return status;
	if (!wait_complete(&b, wait))
		return SHMC_INVALID;
	b.me = cache_member(cache);
	if (b.me == NULL)
		return SHMC_BUSY;
	b.lead = lead_of(lead);
	/* Each turn but the last is another participant's progress. */
	do
		status = turn(&b);
	while (status == AGAIN);
	return status;
}

/* ----------------------------------------------------------- the leader -- */

/* NULL: over, or a child's copy of its parent's. */
static struct lead *
live_lead(struct shmc_lead *handle)
{
	struct lead *lead;

	if (handle == NULL)
		return NULL;
	lead = lead_of(handle);
	if (lead->cache == NULL ||
	    !member_is_ours(&lead->cache->members, lead->me, lead->family))
		return NULL;
	return lead;
}

static enum shmc_status
lead_over(struct lead *lead, enum shmc_status status)
{
	value_drop(lead->me, &lead->draft);
	lead->me->leads--;
	lead->cache = NULL;
	lead->status = status;
	return status;
}

/* Somebody else leads: what we have written goes. */
static enum shmc_status
lead_fenced(struct lead *lead)
{
	count(lead->me->slot, COUNT_FENCED);
	return lead_over(lead, SHMC_FENCED);
}

static enum shmc_status
lead_abandoned(struct lead *lead, enum shmc_status status)
{
	if (!flight_abandon(lead->me, &lead->hold))
		return lead_fenced(lead);
	count(lead->me->slot, COUNT_ABANDONS);
	return lead_over(lead, status);
}

enum shmc_status
shmc_lead_append(struct shmc_lead *handle, const void *data, size_t bytes)
{
	struct lead *lead = live_lead(handle);

	if (lead == NULL)
		return SHMC_FENCED;
	if (data == NULL && bytes > 0)
		return SHMC_INVALID;
	if (!flight_leads(lead->me, &lead->hold)) {
		count(lead->me->slot, COUNT_FENCED);
		return SHMC_FENCED;
	}
	if (lead->status != SHMC_OK)
		return (enum shmc_status)lead->status;
	lead->status = value_append(lead->me, &lead->draft, &lead->key,
	    data, bytes);
	return (enum shmc_status)lead->status;
}

/* The leader's own view of what it has committed; the block is its own. */
static void
view_result(struct lead *lead, uint64_t entry, struct shmc_view *view,
    uint32_t flags)
{
	struct entry_view bounds;

	if (view == NULL || !entry_read(lead->me->seg, entry, &bounds) ||
	    !view_open(lead->cache, lead->me, entry, &bounds, view))
		return;
	view->role = lead->role;
	view->flags = flags;
	view->waited_ns = lead->waited_ns;
}

/* The entry stands in our OPEN block. */
static enum shmc_status
publish(struct lead *lead, uint64_t entry, struct shmc_view *view)
{
	struct member *me = lead->me;
	struct line_guard guard;
	uint32_t flags = 0;

	if (!flight_commit(me, &lead->hold, entry))
		return lead_fenced(lead);
	guard = flight_guard(me->seg, &lead->hold);
	if (!store_link(me, &lead->key, entry, &guard)) {
		flags = SHMC_SUPERSEDED;
		count(me->slot, COUNT_SUPERSEDED);
	}
	flight_finish(me, lead->hold.number);
	view_result(lead, entry, view, flags);
	if (lead->view != view)
		view_result(lead, entry, lead->view, flags);
	value_settle(me, &lead->draft);
	count(me->slot, COUNT_COMMITS);
	return lead_over(lead, SHMC_OK);
}

static enum shmc_status
no_value(struct lead *lead, enum shmc_status status)
{
	if (status == SHMC_NO_MEMORY)
		count(lead->me->slot, COUNT_REFUSED);
	return lead_abandoned(lead, status);
}

enum shmc_status
shmc_lead_commit(struct shmc_lead *handle, uint64_t ttl_ms,
    struct shmc_view *view)
{
	struct lead *lead = live_lead(handle);
	enum shmc_status status;
	uint64_t entry;

	if (view != NULL)
		memset(view, 0, sizeof *view);
	if (lead == NULL)
		return SHMC_FENCED;
	status = (enum shmc_status)lead->status;
	if (status == SHMC_OK)
		status = value_complete(lead->me, &lead->draft, &lead->key,
		    cache_expiry(lead->me->seg, ttl_ms), &entry);
	if (status != SHMC_OK)
		return no_value(lead, status);
	return publish(lead, entry, view);
}

enum shmc_status
shmc_lead_value(struct shmc_lead *handle, const void *value,
    size_t value_bytes, uint64_t ttl_ms, struct shmc_view *view)
{
	struct lead *lead = live_lead(handle);
	enum shmc_status status;
	uint64_t entry;

	if (view != NULL)
		memset(view, 0, sizeof *view);
	if (lead == NULL)
		return SHMC_FENCED;
	if (value == NULL && value_bytes > 0)
		return SHMC_INVALID;
	value_drop(lead->me, &lead->draft);
	status = value_write(lead->me, &lead->draft, &lead->key, value,
	    value_bytes, cache_expiry(lead->me->seg, ttl_ms), &entry);
	if (status != SHMC_OK)
		return no_value(lead, status);
	return publish(lead, entry, view);
}

void
shmc_lead_abandon(struct shmc_lead *handle)
{
	struct lead *lead = live_lead(handle);

	if (lead != NULL)
		(void)lead_abandoned(lead, SHMC_ABANDONED);
}

enum shmc_status
shmc_lead_extend(struct shmc_lead *handle, uint64_t lease_ms)
{
	struct lead *lead = live_lead(handle);

	if (lease_ms > LEASE_MAX_MS)
		return SHMC_INVALID;
	if (lead == NULL)
		return SHMC_FENCED;
	if (flight_extend(lead->me, &lead->hold, lease_ms != 0 ?
		lease_ms * NS_PER_MS : lead->me->seg->lease_ns))
		return SHMC_OK;
	count(lead->me->slot, COUNT_FENCED);
	return SHMC_FENCED;
}

unsigned
shmc_lead_waiters(const struct shmc_lead *handle)
{
	const struct lead *lead;

	if (handle == NULL)
		return 0;
	lead = (const struct lead *)(const void *)handle->opaque;
	return lead->cache == NULL ? 0 :
	    flight_waiters(lead->me, &lead->hold);
}

/* ---------------------------------------------------------------- fetch -- */

enum shmc_status
shmc_fetch(struct shmc *cache, const void *key, size_t key_bytes,
    const struct shmc_wait *wait, shmc_loader *loader, void *arg,
    struct shmc_view *view)
{
	struct shmc_lead handle;
	struct lead *lead = lead_of(&handle);
	enum shmc_status status;

	if (loader == NULL)
		return SHMC_INVALID;
	status = shmc_begin(cache, key, key_bytes, wait, view, &handle);
	if (status != SHMC_LEAD)
		return status;
	lead->view = view;
	loader(&handle, arg);
	/* Returning without having ended is giving up. */
	if (lead->cache != NULL)
		shmc_lead_abandon(&handle);
	if (lead->status == SHMC_OK && view->data == NULL)
		return SHMC_BUSY; /* stored, but every view cell is in use */
	return (enum shmc_status)lead->status;
}
