/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named leases: locks over processes.
 *
 * A lease is a flight that never has a result: to hold it is to lead, to wait
 * for it is to join, to release it is to abandon, and a holder's death or lateness promotes
 * the next.  So everything that flight.c says of kills holds of leases, and the
 * walk that finds deadlocks goes over both.
 *
 * Edges
 * N1  A holder becomes leader (CAS of the flight's word), fences, draws its token
 *     (fetch_add), fences, and looks whether it leads still.  If it does, whoever
 *     leads later has not drawn yet: tokens grow in the order of the holders.
 *
 * Progress: blocks in flight_await() only, at most until the deadline.  A kill
 * leaves a flight whose leader is dead.
 */
#include "barrier.h"
#include "cache.h"
#include "clock.h"
#include "counters.h"
#include "flight.h"
#include "recover.h"
#include "testpoint.h"

#include <string.h>

#define LEASE_MAX_MS (1ull << 32)
/* Turns that are taken even when the deadline has passed. */
#define TURNS_MIN 1000u

struct lease {
	struct shmc *cache; /* NULL: not held */
	struct member *me;
	uint64_t family;
	struct flight_hold hold;
};
static_assert(sizeof(struct lease) <=
    sizeof((struct shmc_lease){ 0 }.opaque), "it must fit");

/*
 * Apart from the flights of keys with the same bytes, and the same before and
 * after a flush, which changes the hashes of keys: a lock outlives it.
 */
static uint64_t
lease_hash(const struct shmc *cache, const void *name, size_t name_bytes)
{
	return hash_bytes(name, name_bytes,
	    cache->seg.seed ^ 0x6c65617365ull /* "lease" */);
}

static uint64_t
draw_token(struct segment *seg)
{
	uint64_t drawn;

	barrier_full(); /* N1 */
	drawn = atomic_fetch_add_explicit(&seg->header->lease_tokens, 1,
	    memory_order_acq_rel);
	barrier_full(); /* N1 */
	TESTPOINT("lease_token");
	return drawn + 1;
}

/* SHMC_MISS: it ran out, and another has it, before we had a token. */
static enum shmc_status
hold_lease(struct shmc *cache, struct member *me,
    const struct flight_hold *hold, struct shmc_lease *handle)
{
	struct lease *lease = (void *)handle->opaque;
	uint64_t token = draw_token(&cache->seg);

	if (!flight_leads(&cache->seg, hold))
		return SHMC_MISS;
	handle->token = token;
	lease->cache = cache;
	lease->me = me;
	lease->family = load_relaxed(&me->family); /* our own */
	lease->hold = *hold;
	me->leads++;
	return SHMC_OK;
}

/* One attempt; SHMC_MISS: try again. */
static enum shmc_status
try_lease(struct shmc *cache, struct member *me, uint64_t hash,
    uint64_t lease_ns, uint64_t deadline_ns, struct shmc_lease *handle)
{
	struct flight_hold hold;
	enum flight_event event;

	switch (flight_enter(me, hash, lease_ns, true, &hold)) {
	case FLIGHT_LEADS:
	case FLIGHT_INHERITS:
		return hold_lease(cache, me, &hold, handle);
	case FLIGHT_FULL: /* the dead may hold some */
		return recover_reap_all(me) > 0 ? SHMC_MISS : SHMC_BUSY;
	case FLIGHT_AGAIN:
	case FLIGHT_TAKEN:
		return SHMC_MISS;
	case FLIGHT_JOINS:
		break;
	}
	if (clock_ns() < deadline_ns)
		count(me->slot, COUNT_WAITS);
	event = flight_await(me, &hold, deadline_ns, lease_ns);
	if (event == FLIGHT_PROMOTED)
		return hold_lease(cache, me, &hold, handle);
	if (event != FLIGHT_GONE)
		flight_leave(me);
	if (event == FLIGHT_LATE) {
		count(me->slot, COUNT_TIMEOUTS);
		return SHMC_TIMEOUT;
	}
	if (event == FLIGHT_CYCLE) {
		count(me->slot, COUNT_DEADLOCKS);
		return SHMC_DEADLOCK;
	}
	return SHMC_MISS;
}

static enum shmc_status
await_lease(struct shmc *cache, struct member *me, uint64_t hash,
    const struct shmc_wait *wait, struct shmc_lease *lease)
{
	uint64_t lease_ns = wait->lease_ms != 0 ? wait->lease_ms * NS_PER_MS :
	    cache->seg.lease_ns;
	enum shmc_status status;
	unsigned turns = 0;

	/*
	 * Each turn but the last is another participant's progress, or the work
	 * of a scribbler, which the deadline ends.
	 */
	do
		status = try_lease(cache, me, hash, lease_ns, wait->deadline_ns,
		    lease);
	while (status == SHMC_MISS &&
	    (++turns < TURNS_MIN || clock_ns() < wait->deadline_ns));
	return status == SHMC_MISS ? SHMC_TIMEOUT : status;
}

enum shmc_status
shmc_lease_acquire(struct shmc *cache, const void *name, size_t name_bytes,
    const struct shmc_wait *given, struct shmc_lease *lease)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct key key;
	enum shmc_status status;
	struct member *me;

	if (lease == NULL || (given != NULL &&
	    (given->struct_bytes < sizeof(size_t) ||
		given->struct_bytes > 4096)))
		return SHMC_INVALID;
	memset(lease, 0, sizeof *lease);
	if (given != NULL)
		memcpy(&wait, given, min_u64(given->struct_bytes, sizeof wait));
	status = cache_key(cache, name, name_bytes, &key);
	if (status != SHMC_OK || wait.lease_ms > LEASE_MAX_MS)
		return status != SHMC_OK ? status : SHMC_INVALID;
	me = cache_member(cache);
	if (me == NULL)
		return SHMC_BUSY;
	if (wait.deadline_ns == 0)
		wait.deadline_ns = clock_ns() + cache->seg.wait_ns;
	return await_lease(cache, me, lease_hash(cache, key.bytes, key.size),
	    &wait, lease);
}

/* NULL: not held, or a child's copy of its parent's. */
static struct lease *
live_lease(struct shmc_lease *handle)
{
	struct lease *lease;

	if (handle == NULL)
		return NULL;
	lease = (void *)handle->opaque;
	if (lease->cache == NULL ||
	    !member_is_ours(&lease->cache->members, lease->me, lease->family))
		return NULL;
	return lease;
}

enum shmc_status
shmc_lease_extend(struct shmc_lease *handle, uint64_t lease_ms)
{
	struct lease *lease = live_lease(handle);

	if (lease_ms > LEASE_MAX_MS)
		return SHMC_INVALID;
	if (lease == NULL || !flight_extend(lease->me, &lease->hold,
		lease_ms != 0 ? lease_ms * NS_PER_MS :
				lease->cache->seg.lease_ns))
		return SHMC_FENCED;
	return SHMC_OK;
}

enum shmc_status
shmc_lease_release(struct shmc_lease *handle)
{
	struct lease *lease = live_lease(handle);
	bool ours;

	if (lease == NULL)
		return SHMC_FENCED;
	ours = flight_abandon(lease->me, &lease->hold);
	lease->me->leads--;
	lease->cache = NULL;
	return ours ? SHMC_OK : SHMC_FENCED;
}
