/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leader's calls: filling, and the ways to end.
 *
 * Order of a commit: the entry is written, the flight is committed, the entry is
 * linked, the flight is finished (docs/design.md, "Flights").  What a kill at
 * each step leaves is said there.
 */
#include "lead.h"

#include "clock.h"
#include "counters.h"
#include "permit.h"
#include "read.h"
#include "store.h"
#include "testpoint.h"
#include "view.h"

/* Longest lease that may be asked for. */
#define LEASE_MAX_MS (1ull << 32)
/* Waiters of a result that cannot be shared compute so many at a time. */
#define DEFAULT_FAN_OUT 8u
/* Longer messages of errors are cut. */
#define MESSAGE_MAX 1024u

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

/* The same for an ending that hands out a view, which is clear if it fails. */
static struct lead *
lead_to_end(struct shmc_lead *handle, struct shmc_view *view)
{
	/* Not the one that fetch hands out: it may have the value already. */
	if (view != NULL &&
	    (handle == NULL || view != lead_of(handle)->view))
		memset(view, 0, sizeof *view);
	return live_lead(handle);
}

/* ---------------------------------------------------------------- ending -- */

/* An older value is what fetch hands out if there is nothing newer. */
static void
fall_back(struct lead *lead, enum shmc_status status)
{
	if (lead->view == NULL || lead->old.data == NULL ||
	    (status != SHMC_ABANDONED && status != SHMC_ERROR &&
		status != SHMC_NO_MEMORY && status != SHMC_TOO_LARGE))
		return;
	shmc_view_release(lead->view);
	view_move(lead->view, &lead->old);
	lead->view->waited_ns = lead->waited_ns;
	if (lead->view->role != SHMC_ROLE_HIT) { /* of an early refresh */
		lead->view->role = SHMC_ROLE_STALE;
		count(lead->me->slot, COUNT_STALE_HITS);
	}
	lead->status = SHMC_OK;
}

static enum shmc_status
lead_over(struct lead *lead, enum shmc_status status)
{
	value_drop(lead->me, &lead->draft);
	lead->me->leads--;
	lead->status = status;
	if (status == SHMC_ABSENT && lead->view != NULL) {
		lead->view->role = lead->role;
		lead->view->waited_ns = lead->waited_ns;
	}
	fall_back(lead, status);
	shmc_view_release(&lead->old);
	lead->cache = NULL;
	return status;
}

/* Somebody else leads: what we have written goes. */
static enum shmc_status
lead_fenced(struct lead *lead)
{
	count(lead->me->slot, COUNT_FENCED);
	return lead_over(lead, SHMC_FENCED);
}

/* Whether it still is ours to end. */
static bool
still_leads(const struct lead *lead)
{
	return lead->kind != LEAD_FLIGHT ||
	    flight_leads(lead->me->seg, &lead->hold);
}

/* If it has one. */
static void
give_permit_back(struct lead *lead)
{
	struct permits p = { lead->key.hash, lead->fan_out };

	if (lead->kind == LEAD_PERMIT)
		permit_give_back(lead->me, &p, &lead->hold);
}

static enum shmc_status
lead_abandoned(struct lead *lead, enum shmc_status status)
{
	if (lead->kind == LEAD_FLIGHT &&
	    !flight_abandon(lead->me, &lead->hold))
		return lead_fenced(lead);
	give_permit_back(lead);
	count(lead->me->slot, COUNT_ABANDONS);
	return lead_over(lead, status);
}

/* The leader's own view of what it has made; the block is its own. */
static bool
view_result(struct lead *lead, uint64_t entry, struct shmc_view *view,
    uint32_t flags, uint32_t served)
{
	struct entry_view bounds;

	if (view == NULL)
		return true;
	shmc_view_release(view);
	if (!entry_read(lead->me->seg, entry, &bounds) ||
	    !view_open(lead->cache, lead->me, entry, &bounds, view))
		return false;
	view->role = lead->role;
	view->flags = flags;
	view->waited_ns = lead->waited_ns;
	view->served = served;
	return true;
}

/* How an ending goes on from an entry that stands in our OPEN block. */
struct ending {
	uint64_t entry;
	enum entry_kind kind;
	bool stored;
	struct shmc_view *view; /* the caller's; may be NULL */
};

/* The flight's part: RESULT, the index, DONE.  False: fenced. */
static bool
publish(struct lead *lead, const struct ending *e, uint32_t *flags)
{
	struct member *me = lead->me;

	/* A flush outdates it, too, and found no flight to tell that. */
	if (entry_hash(me->seg, lead->key.bytes, lead->key.size) !=
	    lead->key.hash)
		flight_supersede(me, lead->key.hash);
	if (!flight_commit(me, &lead->hold, e->entry))
		return false;
	*flags = e->stored ? 0 : SHMC_UNSTORED;
	if (e->stored) {
		flight_supersede_older(me, lead->key.hash, lead->hold.number);
		if (!store_link_result(me, &lead->key, e->entry, lead->seen,
			&lead->hold)) {
			*flags = SHMC_SUPERSEDED;
			count(me->slot, COUNT_SUPERSEDED);
		}
	} else if (e->kind == KIND_ABSENT && lead->old.data != NULL) {
		/* There is no such thing, not even an old one. */
		store_forget(me, &lead->key, lead->seen);
	}
	flight_finish(me, lead->hold.number);
	return true;
}

static enum shmc_status
end_with(struct lead *lead, const struct ending *e)
{
	struct member *me = lead->me;
	uint32_t flags = SHMC_UNSTORED, served = 0;
	enum shmc_status status = SHMC_OK;

	if (lead->kind == LEAD_FLIGHT) {
		/* But ourselves, who may have waited. */
		served = flight_joined(me->seg, lead->hold.number) -
		    (lead->hold.rank > 0);
		if (!publish(lead, e, &flags))
			return lead_fenced(lead);
	}
	/* What replaces it has the same right to a view. */
	if (e->kind == KIND_VALUE)
		shmc_view_release(&lead->old);
	if (e->kind == KIND_VALUE || e->kind == KIND_ERROR) {
		if (!view_result(lead, e->entry, e->view, flags, served) ||
		    (lead->view != e->view &&
			!view_result(lead, e->entry, lead->view, flags, served)))
			status = SHMC_BUSY;
		if (e->kind == KIND_ERROR && lead->view != NULL &&
		    status == SHMC_OK)
			(void)read_failure(KIND_ERROR, lead->view);
	}
	value_settle(me, &lead->draft);
	give_permit_back(lead);
	count(me->slot, e->kind == KIND_VALUE ? COUNT_COMMITS : COUNT_ERRORS);
	return status;
}

/* ----------------------------------------------------------------- values -- */

/* Terms as the caller gave them, complete for an entry of ours. */
static void
complete_terms(struct lead *lead, uint64_t ttl_ms, enum entry_kind kind,
    struct entry_terms *terms)
{
	*terms = lead->terms;
	terms->kind = kind;
	terms->unlinked = lead->kind != LEAD_FLIGHT;
	terms->expiry_ms = cache_expiry(lead->me->seg,
	    store_jitter(ttl_ms, lead->jitter_percent));
	if (kind != KIND_VALUE) {
		terms->grace_ms = 0; /* an answer for its ttl, no older value */
		terms->keep_ms = 0;
	} else if (lead->wants_cost)
		terms->cost_us = (uint32_t)min_u64(UINT32_MAX,
		    1 + (clock_ns() - lead->started_ns) / 1000);
}

/* Waiters are told to compute for themselves; the caller has its own answer. */
static enum shmc_status pass_flight(struct lead *lead, uint32_t fan_out,
    uint64_t ttl_ms);

/*
 * It cannot be shared.  Beyond the limit of R22, or with all memory pinned, the
 * waiters compute for themselves.
 */
static enum shmc_status
no_value(struct lead *lead, enum shmc_status status)
{
	enum shmc_status passed;

	if (status == SHMC_NO_MEMORY)
		count(lead->me->slot, COUNT_REFUSED);
	if (lead->kind != LEAD_FLIGHT)
		return lead_abandoned(lead, status);
	value_drop(lead->me, &lead->draft);
	passed = pass_flight(lead, DEFAULT_FAN_OUT, 0);
	if (passed == SHMC_FENCED)
		return lead_fenced(lead);
	if (passed != SHMC_OK && !flight_cancel(lead->me, &lead->hold))
		return lead_fenced(lead);
	count(lead->me->slot, COUNT_ABANDONS);
	return lead_over(lead, status);
}

/* What was appended, stored or only shared. */
static enum shmc_status
end_with_draft(struct shmc_lead *handle, uint64_t ttl_ms, bool stored,
    struct shmc_view *view)
{
	struct lead *lead = lead_to_end(handle, view);
	struct ending e = { .kind = KIND_VALUE, .stored = stored, .view = view };
	struct entry_terms terms;
	enum shmc_status status;

	if (lead == NULL)
		return SHMC_FENCED;
	complete_terms(lead, ttl_ms, KIND_VALUE, &terms);
	if (!stored)
		terms.unlinked = true;
	status = (enum shmc_status)lead->status;
	if (status == SHMC_OK)
		status = value_complete(lead->me, &lead->draft, &lead->key,
		    &terms, &e.entry);
	if (status != SHMC_OK)
		return no_value(lead, status);
	status = end_with(lead, &e);
	return lead->cache == NULL ? status : lead_over(lead, status);
}

enum shmc_status
shmc_lead_commit(struct shmc_lead *handle, uint64_t ttl_ms,
    struct shmc_view *view)
{
	return end_with_draft(handle, ttl_ms, true, view);
}

enum shmc_status
shmc_lead_share(struct shmc_lead *handle, struct shmc_view *view)
{
	return end_with_draft(handle, 0, false, view);
}

enum shmc_status
shmc_lead_append(struct shmc_lead *handle, const void *data, size_t bytes)
{
	struct lead *lead = live_lead(handle);

	if (lead == NULL)
		return SHMC_FENCED;
	if (data == NULL && bytes > 0)
		return SHMC_INVALID;
	if (!still_leads(lead)) {
		count(lead->me->slot, COUNT_FENCED);
		return SHMC_FENCED;
	}
	if (lead->status != SHMC_OK)
		return (enum shmc_status)lead->status;
	lead->status = value_append(lead->me, &lead->draft, &lead->key,
	    data, bytes);
	return (enum shmc_status)lead->status;
}

/* One value of known length. */
static enum shmc_status
end_with_value(struct lead *lead, const void *value, size_t value_bytes,
    const struct entry_terms *terms, struct ending *e)
{
	enum shmc_status status;

	value_drop(lead->me, &lead->draft);
	status = value_write(lead->me, &lead->draft, &lead->key, value,
	    value_bytes, terms, &e->entry);
	if (status != SHMC_OK)
		return no_value(lead, status);
	status = end_with(lead, e);
	return lead->cache == NULL ? status : lead_over(lead, status);
}

enum shmc_status
shmc_lead_value(struct shmc_lead *handle, const void *value,
    size_t value_bytes, uint64_t ttl_ms, struct shmc_view *view)
{
	struct lead *lead = lead_to_end(handle, view);
	struct ending e = { .kind = KIND_VALUE, .stored = true, .view = view };
	struct entry_terms terms;

	if (lead == NULL)
		return SHMC_FENCED;
	if (value == NULL && value_bytes > 0)
		return SHMC_INVALID;
	complete_terms(lead, ttl_ms, KIND_VALUE, &terms);
	return end_with_value(lead, value, value_bytes, &terms, &e);
}

/*
 * What the older value was stored with; but its tags count from now: that it is
 * still right was found out in this computation.
 */
static void
take_old_terms(struct lead *lead)
{
	struct entry_view bounds;
	struct entry_terms terms;

	/* Held by the view of it. */
	if (lead->has_terms ||
	    !entry_read(lead->me->seg, lead->seen, &bounds))
		return;
	entry_terms_of(&bounds, &terms);
	terms.tag_clock = lead->terms.tag_clock;
	terms.cost_us = 0;
	lead->terms = terms;
}

enum shmc_status
shmc_lead_refresh(struct shmc_lead *handle, uint64_t ttl_ms,
    struct shmc_view *view)
{
	struct lead *lead = lead_to_end(handle, view);
	const void *data;
	size_t bytes;

	if (lead == NULL)
		return SHMC_FENCED;
	if (lead->old.data == NULL)
		return SHMC_MISS;
	take_old_terms(lead);
	lead->status = SHMC_OK; /* of what was appended, which is dropped */
	if (lead->old.piece_bytes == lead->old.size_bytes)
		return shmc_lead_value(handle, lead->old.data,
		    lead->old.size_bytes, ttl_ms, view);
	value_drop(lead->me, &lead->draft);
	for (size_t at = 0; at < lead->old.size_bytes; at += bytes) {
		enum shmc_status status = shmc_view_piece(&lead->old, at,
		    &data, &bytes);

		if (status != SHMC_OK || bytes == 0)
			return lead_abandoned(lead, SHMC_ABANDONED);
		if (shmc_lead_append(handle, data, bytes) != SHMC_OK)
			break; /* commit answers for it */
	}
	return shmc_lead_commit(handle, ttl_ms, view);
}

/* ------------------------------------------------------- what is no value -- */

/* What a lead may end with that is no value. */
struct aside {
	enum entry_kind kind;
	const void *bytes;
	size_t size;
	uint64_t ttl_ms; /* remembered for so long; 0: not */
};

static enum shmc_status
write_aside(struct lead *lead, const struct aside *a, bool stored,
    struct ending *e)
{
	struct entry_terms terms;

	complete_terms(lead, a->ttl_ms, a->kind, &terms);
	terms.unlinked |= !stored; /* else our reaper would store it */
	e->kind = a->kind;
	e->stored = stored;
	return value_write(lead->me, &lead->draft, &lead->key, a->bytes,
	    a->size, &terms, &e->entry);
}

/* SHMC_NO_MEMORY also if it is not to be remembered, or its share is used up. */
static enum shmc_status
write_remembered(struct lead *lead, const struct aside *a, struct ending *e)
{
	if (a->ttl_ms == 0 || lead->kind != LEAD_FLIGHT)
		return SHMC_NO_MEMORY;
	return write_aside(lead, a, true, e);
}

/*
 * An absence that nobody else is to be told of needs no entry.  False: somebody
 * is, or an older value is to go.
 */
static bool
end_alone(struct lead *lead)
{
	if (lead->kind == LEAD_FLIGHT && (lead->old.data != NULL ||
	    !flight_end_alone(lead->me, &lead->hold)))
		return false;
	give_permit_back(lead);
	count(lead->me->slot, COUNT_ERRORS);
	(void)lead_over(lead, SHMC_ABSENT);
	return true;
}

static enum shmc_status
end_aside(struct lead *lead, struct aside *a, enum shmc_status meaning)
{
	struct ending e = { .view = NULL };
	enum shmc_status status;

	value_drop(lead->me, &lead->draft);
	/* An older value is better than a fresh error: keep it (R15). */
	if (a->kind == KIND_ERROR && lead->old.data != NULL)
		a->ttl_ms = 0;
	status = write_remembered(lead, a, &e);
	if (status != SHMC_OK) {
		if (a->kind == KIND_ABSENT && end_alone(lead))
			return SHMC_OK;
		status = write_aside(lead, a, false, &e);
	}
	if (status != SHMC_OK)
		return no_value(lead, status);
	status = end_with(lead, &e);
	if (lead->cache == NULL)
		return status;
	if (status != SHMC_OK)
		return lead_over(lead, status);
	(void)lead_over(lead, meaning);
	return SHMC_OK;
}

enum shmc_status
shmc_lead_error(struct shmc_lead *handle, int32_t code, const char *message,
    uint64_t ttl_ms)
{
	struct lead *lead = live_lead(handle);
	char bytes[sizeof(struct failure) + MESSAGE_MAX];
	struct failure failure = { code };
	struct aside a = { KIND_ERROR, bytes, sizeof failure, ttl_ms };
	size_t n = message == NULL ? 0 : strnlen(message, MESSAGE_MAX);

	if (lead == NULL)
		return SHMC_FENCED;
	memcpy(bytes, &failure, sizeof failure);
	if (n > 0)
		memcpy(bytes + sizeof failure, message, n);
	a.size += n;
	return end_aside(lead, &a, SHMC_ERROR);
}

enum shmc_status
shmc_lead_absent(struct shmc_lead *handle, uint64_t ttl_ms)
{
	struct lead *lead = live_lead(handle);
	struct aside a = { KIND_ABSENT, "", 0, ttl_ms };

	if (lead == NULL)
		return SHMC_FENCED;
	return end_aside(lead, &a, SHMC_ABSENT);
}

static enum shmc_status
pass_flight(struct lead *lead, uint32_t fan_out, uint64_t ttl_ms)
{
	struct aside a = { KIND_PASS, &fan_out, sizeof fan_out, ttl_ms };
	struct ending e = { .view = NULL };
	enum shmc_status status = write_remembered(lead, &a, &e);
	uint32_t flags;

	if (status != SHMC_OK)
		status = write_aside(lead, &a, false, &e);
	if (status != SHMC_OK)
		return status;
	if (!publish(lead, &e, &flags)) {
		value_drop(lead->me, &lead->draft);
		return SHMC_FENCED;
	}
	value_settle(lead->me, &lead->draft); /* a long key lies in pieces */
	return SHMC_OK;
}

enum shmc_status
shmc_lead_pass(struct shmc_lead *handle, uint32_t fan_out, uint64_t ttl_ms,
    struct shmc_view *view)
{
	struct lead *lead = lead_to_end(handle, view);
	struct draft own;
	enum shmc_status status = SHMC_OK;

	if (lead == NULL)
		return SHMC_FENCED;
	if (fan_out < 1 || fan_out > PERMITS_MAX)
		return SHMC_INVALID;
	if (lead->kind == LEAD_FLIGHT) {
		own = lead->draft;
		lead->draft = (struct draft){ 0 };
		status = pass_flight(lead, fan_out, ttl_ms);
		lead->draft = own;
		if (status == SHMC_FENCED)
			return lead_fenced(lead);
		if (status != SHMC_OK &&
		    !flight_cancel(lead->me, &lead->hold))
			return lead_fenced(lead);
		lead->kind = LEAD_PRIVATE;
	}
	return end_with_draft(handle, 0, false, view);
}

/* ------------------------------------------------------------------ rest -- */

void
shmc_lead_abandon(struct shmc_lead *handle)
{
	struct lead *lead = live_lead(handle);

	if (lead != NULL)
		(void)lead_abandoned(lead, SHMC_ABANDONED);
}

enum shmc_status
shmc_lead_terms(struct shmc_lead *handle, const struct shmc_terms *terms)
{
	struct lead *lead = live_lead(handle);
	struct entry_terms resolved;
	enum shmc_status status;

	if (lead == NULL)
		return SHMC_FENCED;
	if (terms == NULL)
		return SHMC_INVALID;
	/* Tags count from when the computation began. */
	status = store_terms(lead->me->seg, terms, 0, lead->terms.tag_clock,
	    &resolved);
	if (status != SHMC_OK)
		return status;
	lead->terms = resolved;
	lead->has_terms = true;
	lead->jitter_percent = terms->jitter_percent;
	return SHMC_OK;
}

struct shmc_view *
shmc_lead_old(struct shmc_lead *handle)
{
	struct lead *lead = live_lead(handle);

	return lead == NULL || lead->old.data == NULL ? NULL : &lead->old;
}

enum shmc_status
shmc_lead_extend(struct shmc_lead *handle, uint64_t lease_ms)
{
	struct lead *lead = live_lead(handle);

	if (lease_ms > LEASE_MAX_MS)
		return SHMC_INVALID;
	if (lead == NULL)
		return SHMC_FENCED;
	if (lead->kind == LEAD_PRIVATE ||
	    flight_extend(lead->me, &lead->hold, lease_ms != 0 ?
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
	if (lead->cache == NULL || lead->kind != LEAD_FLIGHT ||
	    !still_leads(lead))
		return 0;
	return flight_waiters(lead->me->seg, lead->hold.number);
}
