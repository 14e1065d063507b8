/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * get, view, put, delete, invalidate.
 *
 * Reads are sections of grace.h: nothing shared is written on a hit but the
 * reader's own slot and, at most three times, the entry's freq.
 */
#include "store.h"

#include "counters.h"
#include "evict.h"
#include "flight.h"
#include "grace.h"
#include "index.h"
#include "testpoint.h"
#include "value.h"
#include "view.h"

#include <string.h>

/* Larger copies pin their block instead of holding up a grace period. */
#define COPY_IN_SECTION_MAX (64u << 10)

/* ----------------------------------------------------------------- reads -- */

/* In a section: the key's live entry; EMPTY if there is none or it expired. */
static uint64_t
find_fresh(struct member *me, const struct key *key,
    struct entry_view *bounds, _Atomic uint64_t **at)
{
	uint64_t word = index_find(me->seg, key, bounds, at);

	if (word != WORD_EMPTY && unlikely(entry_expired(me->seg, bounds)))
		return WORD_EMPTY;
	return word;
}

static void
begin_again(struct member *me)
{
	grace_exit(me);
	count(me->slot, COUNT_RETRIES);
}

enum shmc_status
store_view(struct shmc *cache, struct member *me, const struct key *key,
    struct shmc_view *view)
{
	/* Again only after a revocation, each of which frees memory. */
	for (;;) {
		struct entry_view bounds;
		_Atomic uint64_t *at;
		uint64_t word;
		bool opened = false;

		grace_enter(me);
		word = find_fresh(me, key, &bounds, &at);
		if (word != WORD_EMPTY)
			opened = view_open(cache, me, word, &bounds, view);
		if (unlikely(!grace_trusted(me))) {
			if (opened)
				shmc_view_release(view);
			begin_again(me);
			continue;
		}
		if (word != WORD_EMPTY)
			index_touch(at, word);
		grace_exit(me);
		if (word == WORD_EMPTY)
			return SHMC_MISS;
		return opened ? SHMC_OK : SHMC_BUSY;
	}
}

/* Copies out through a view: large values, and readers once revoked. */
static enum shmc_status
get_by_view(struct shmc *cache, struct member *me, const struct key *key,
    void *buffer, size_t buffer_bytes, size_t *value_bytes)
{
	struct shmc_view view;
	enum shmc_status status = store_view(cache, me, key, &view);

	if (status != SHMC_OK)
		return status;
	*value_bytes = view.size_bytes;
	if (view.size_bytes > buffer_bytes)
		status = SHMC_TRUNCATED;
	else
		(void)shmc_view_copy(&view, buffer, buffer_bytes);
	shmc_view_release(&view);
	return status;
}

/*
 * One section.  False: what it saw cannot be trusted, or is too large for a
 * section.
 */
static bool
get_in_section(struct member *me, const struct key *key, void *buffer,
    size_t buffer_bytes, size_t *value_bytes, enum shmc_status *status)
{
	struct entry_view bounds;
	_Atomic uint64_t *at;
	uint64_t word;
	bool trusted;

	grace_enter(me);
	word = find_fresh(me, key, &bounds, &at);
	*status = SHMC_MISS;
	if (likely(word != WORD_EMPTY)) {
		if (unlikely(bounds.value == NULL ||
		    bounds.value_bytes > COPY_IN_SECTION_MAX)) {
			grace_exit(me);
			return false;
		}
		*value_bytes = bounds.value_bytes;
		*status = SHMC_TRUNCATED;
		if (likely(bounds.value_bytes <= buffer_bytes)) {
			memcpy(buffer, bounds.value, bounds.value_bytes);
			*status = SHMC_OK;
		}
		index_touch(at, word);
	}
	trusted = grace_trusted(me);
	grace_exit(me);
	if (unlikely(!trusted))
		count(me->slot, COUNT_RETRIES);
	return trusted;
}

enum shmc_status
shmc_get(struct shmc *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes)
{
	enum shmc_status status;
	struct member *me;
	struct key k;
	char none;

	if (unlikely(value_bytes == NULL ||
	    (buffer == NULL && buffer_bytes > 0)))
		return SHMC_INVALID;
	status = cache_key(cache, key, key_bytes, &k);
	if (unlikely(status != SHMC_OK))
		return status;
	me = cache_member(cache);
	if (unlikely(me == NULL))
		return SHMC_BUSY;
	if (buffer == NULL)
		buffer = &none;
	if (unlikely(!get_in_section(me, &k, buffer, buffer_bytes,
		value_bytes, &status)))
		status = get_by_view(cache, me, &k, buffer, buffer_bytes,
		    value_bytes);
	count(me->slot, status == SHMC_MISS ? COUNT_MISSES : COUNT_HITS);
	return status;
}

enum shmc_status
shmc_view(struct shmc *cache, const void *key, size_t key_bytes,
    struct shmc_view *view)
{
	enum shmc_status status;
	struct member *me;
	struct key k;

	if (view == NULL)
		return SHMC_INVALID;
	memset(view, 0, sizeof *view);
	status = cache_key(cache, key, key_bytes, &k);
	if (status != SHMC_OK)
		return status;
	me = cache_member(cache);
	if (me == NULL)
		return SHMC_BUSY;
	status = store_view(cache, me, &k, view);
	if (status == SHMC_OK) {
		view->role = SHMC_ROLE_HIT;
		count(me->slot, COUNT_HITS);
	} else if (status == SHMC_MISS) {
		count(me->slot, COUNT_MISSES);
	}
	return status;
}

/* ---------------------------------------------------------------- writes -- */

bool
store_link(struct member *me, const struct key *key, uint64_t entry,
    const struct line_guard *guard)
{
	uint64_t old = WORD_EMPTY;
	enum line_set set;

	grace_enter(me);
	set = index_link(me, key, entry, true, guard, &old);
	if (set == LINE_SET && old != WORD_EMPTY)
		evict_pieces(me, old);
	grace_exit(me);
	TESTPOINT("store_linked");
	return set == LINE_SET;
}

enum shmc_status
shmc_put(struct shmc *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, uint64_t ttl_ms)
{
	struct draft draft = { 0 };
	enum shmc_status status;
	struct member *me;
	struct key k;
	uint64_t entry;

	if (value == NULL && value_bytes > 0)
		return SHMC_INVALID;
	status = cache_key(cache, key, key_bytes, &k);
	if (status != SHMC_OK)
		return status;
	me = cache_member(cache);
	if (me == NULL)
		return SHMC_BUSY;
	status = value_write(me, &draft, &k, value, value_bytes,
	    cache_expiry(me->seg, ttl_ms), &entry);
	if (status != SHMC_OK) {
		if (status == SHMC_NO_MEMORY)
			count(me->slot, COUNT_REFUSED);
		return status;
	}
	flight_supersede(me, k.hash);
	(void)store_link(me, &k, entry, NULL); /* no guard, always set */
	value_settle(me, &draft);
	count(me->slot, COUNT_PUTS);
	return SHMC_OK;
}

static enum shmc_status
remove_key(struct shmc *cache, const void *bytes, size_t size)
{
	struct member *me;
	struct key k;
	uint64_t old;
	enum shmc_status status = cache_key(cache, bytes, size, &k);

	if (status != SHMC_OK)
		return status;
	me = cache_member(cache);
	if (me == NULL)
		return SHMC_BUSY;
	flight_supersede(me, k.hash);
	grace_enter(me);
	old = index_unlink(me, &k);
	if (old != WORD_EMPTY)
		evict_pieces(me, old);
	grace_exit(me);
	if (old == WORD_EMPTY)
		return SHMC_MISS;
	count(me->slot, COUNT_DELETES);
	return SHMC_OK;
}

enum shmc_status
shmc_delete(struct shmc *cache, const void *key, size_t key_bytes)
{
	return remove_key(cache, key, key_bytes);
}

enum shmc_status
shmc_invalidate(struct shmc *cache, const void *key, size_t key_bytes)
{
	enum shmc_status status = remove_key(cache, key, key_bytes);

	return status == SHMC_MISS ? SHMC_OK : status;
}
