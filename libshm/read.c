/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * get, view and get_many.
 *
 * Reads are sections of grace.h: nothing shared is written on a hit but the
 * reader's own slot and, at most three times, the entry's freq.
 *
 * Who finds an entry that is over unlinks it before he answers.  An entry ends
 * by the clock or by its tag, which no CAS of its word can see: as long as it is
 * linked, somebody who read it in time can still replace it as if it were good,
 * after others were told that nothing is there.  Kept entries stay: their end is as
 * late as whoever replaces them.
 */
#include "read.h"

#include "counters.h"
#include "evict.h"
#include "grace.h"
#include "hit.h"
#include "testpoint.h"
#include "view.h"

#include <string.h>

/* Larger copies pin their entry instead of holding up a grace period. */
#define COPY_IN_SECTION_MAX (64ull << 10)
/* Keys whose memory is fetched together: perf/run many. */
#define MANY 16u

/* ------------------------------------------------------------------ find -- */

static void
describe(struct member *me, const struct entry_view *bounds,
    struct found *found)
{
	found->kind = bounds->kind;
	found->fresh_ms = UINT64_MAX;
	found->cost_us = 0;
	if (bounds->expiry_ms != 0)
		found->fresh_ms = entry_fresh_ms(me->seg, bounds);
	if (bounds->extra != NULL) /* line.L1 */
		found->cost_us = load_relaxed(&bounds->extra->cost_us);
}

/* In a section.  False: it is another's by now, or its freq has changed. */
static bool
unlink_over(struct member *me, _Atomic uint64_t *at, uint64_t word)
{
	if (!cas_word(at, word, WORD_EMPTY))
		return false;
	TESTPOINT("read_unlinked");
	evict_pieces(me, word);
	return true;
}

enum shmc_status
read_find(struct shmc *cache, struct member *me, const struct key *key,
    struct shmc_view *view, struct found *found)
{
	unsigned n = 1;

	/* Again after a revocation, each of which frees memory; or a change. */
	for (;;) {
		struct entry_view bounds;
		_Atomic uint64_t *at;
		uint64_t word;
		bool opened = false;

		found->age = AGE_OVER;
		grace_enter(me);
		word = index_find(me->seg, key, &bounds, &at);
		found->word = word;
		if (word != WORD_EMPTY)
			found->age = entry_age(me->seg, &bounds);
		if (found->age != AGE_OVER) {
			describe(me, &bounds, found);
			opened = view_open(cache, me, word, &bounds, view);
		}
		if (unlikely(!grace_trusted(me))) {
			grace_exit(me);
			if (opened)
				shmc_view_release(view);
			found->age = AGE_OVER;
			if (!grace_retry(me, n++))
				return SHMC_BUSY;
			continue;
		}
		if (found->age == AGE_OVER) {
			bool gone = word == WORD_EMPTY ||
			    unlink_over(me, at, word);

			grace_exit(me);
			if (!gone)
				continue;
			found->word = WORD_EMPTY;
			return SHMC_MISS;
		}
		index_touch(at, word);
		grace_exit(me);
		return opened ? SHMC_OK : SHMC_BUSY;
	}
}

enum shmc_status
read_failure(enum entry_kind kind, struct shmc_view *view)
{
	struct failure failure = { 0 };
	uint32_t role = view->role;

	if (kind == KIND_ABSENT || shmc_view_copy(view, &failure,
	    sizeof failure) < sizeof failure) {
		shmc_view_release(view);
		view->role = role;
		return SHMC_ABSENT;
	}
	view->error = failure.code;
	view_skip(view, sizeof failure);
	return SHMC_ERROR;
}

uint32_t
read_fan_out(const struct shmc_view *view)
{
	uint32_t fan_out = 1;

	(void)shmc_view_copy(view, &fan_out, sizeof fan_out);
	return fan_out < 1 ? 1 : fan_out > 64 ? 64 : fan_out;
}

/* What a reader, who cannot compute, makes of what was found. */
static enum shmc_status
judge(struct member *me, struct shmc_view *view, const struct found *found)
{
	if (found->age == AGE_KEPT || found->kind == KIND_PASS) {
		shmc_view_release(view);
		count(me->slot, COUNT_MISSES);
		return SHMC_MISS;
	}
	view->role = found->age == AGE_STALE ? SHMC_ROLE_STALE : SHMC_ROLE_HIT;
	count(me->slot, found->age == AGE_STALE ? COUNT_STALE_HITS : COUNT_HITS);
	if (found->kind != KIND_VALUE)
		return read_failure(found->kind, view);
	return SHMC_OK;
}

static enum shmc_status
view_key(struct shmc *cache, struct member *me, const struct key *key,
    struct shmc_view *view)
{
	struct found found;
	enum shmc_status status = read_find(cache, me, key, view, &found);

	if (status == SHMC_OK)
		return judge(me, view, &found);
	if (status == SHMC_MISS)
		count(me->slot, COUNT_MISSES);
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
	return view_key(cache, me, &k, view);
}

/* ------------------------------------------------------------------- get -- */

/* Copies through a view: what is large, no plain value, or was revoked. */
static enum shmc_status
get_by_view(struct shmc *cache, struct member *me, const struct key *key,
    void *buffer, size_t buffer_bytes, size_t *value_bytes)
{
	struct shmc_view view = { 0 };
	enum shmc_status status = view_key(cache, me, key, &view);

	if (status != SHMC_OK && status != SHMC_ERROR)
		return status;
	*value_bytes = view.size_bytes;
	if (view.size_bytes > buffer_bytes)
		status = SHMC_TRUNCATED;
	else if (shmc_view_copy(&view, buffer, buffer_bytes) != view.size_bytes)
		status = SHMC_MISS; /* a scribbled chain of pieces */
	else if (view.role == SHMC_ROLE_STALE && status == SHMC_OK)
		status = SHMC_STALE;
	shmc_view_release(&view);
	return status;
}

/*
 * The short way, in a section: a fresh and small value.  False: it is none.
 * What was copied counts only if grace_trusted() says so afterwards.
 */
static inline bool
copy_hit(const struct segment *seg, const struct key *key, void *buffer,
    size_t buffer_bytes, size_t *value_bytes)
{
	struct hit hit;

	if (unlikely(!hit_find(seg, key, &hit) ||
		hit.value_bytes > min_u64(buffer_bytes, COPY_IN_SECTION_MAX)))
		return false;
	if (hit.expiry_ms != 0 && segment_now_ms(seg) >= hit.expiry_ms)
		return false;
	if (hit.value_bytes > 0) /* buffer may be NULL */
		memcpy(buffer, hit.value, hit.value_bytes);
	*value_bytes = hit.value_bytes;
	index_touch(hit.at, hit.word);
	return true;
}

static inline bool
get_hit(const struct segment *seg, struct member *me, const struct key *key,
    void *buffer, size_t buffer_bytes, size_t *value_bytes)
{
	bool done;

	grace_enter(me);
	done = copy_hit(seg, key, buffer, buffer_bytes, value_bytes) &&
	    grace_trusted(me);
	grace_exit(me);
	return done;
}

enum shmc_status
shmc_get(struct shmc *cache, const void *key, size_t key_bytes, void *buffer,
    size_t buffer_bytes, size_t *value_bytes)
{
	enum shmc_status status;
	struct member *me;
	struct key k;

	if (unlikely(value_bytes == NULL ||
	    (buffer == NULL && buffer_bytes > 0)))
		return SHMC_INVALID;
	status = cache_key(cache, key, key_bytes, &k);
	if (unlikely(status != SHMC_OK))
		return status;
	me = cache_member(cache);
	if (unlikely(me == NULL))
		return SHMC_BUSY;
	if (unlikely(!get_hit(&cache->seg, me, &k, buffer, buffer_bytes,
		value_bytes)))
		return get_by_view(cache, me, &k, buffer, buffer_bytes,
		    value_bytes);
	count(me->slot, COUNT_HITS);
	return SHMC_OK;
}

/* -------------------------------------------------------------- get_many -- */

/* One of up to MANY keys, through the stages. */
struct probe {
	struct key key;
	bool valid;
	bool done;
};

static void
prepare(struct shmc *cache, struct shmc_item *item, struct probe *probe)
{
	item->value_bytes = 0;
	item->status = cache_key(cache, item->key, item->key_bytes,
	    &probe->key);
	if (item->buffer == NULL && item->buffer_bytes > 0)
		item->status = SHMC_INVALID;
	probe->valid = item->status == SHMC_OK;
	probe->done = false;
	if (probe->valid)
		index_prefetch_line(&cache->seg, probe->key.hash);
}

/* All that go the short way, in one section.  False: it was revoked. */
static bool
copy_hits(const struct segment *seg, struct member *me,
    struct shmc_item *items, struct probe *probes, size_t n)
{
	bool trusted;

	grace_enter(me);
	for (size_t i = 0; i < n; i++)
		if (probes[i].valid)
			index_prefetch_entry(seg, probes[i].key.hash);
	for (size_t i = 0; i < n; i++)
		if (probes[i].valid)
			probes[i].done = copy_hit(seg, &probes[i].key,
			    items[i].buffer, items[i].buffer_bytes,
			    &items[i].value_bytes);
	trusted = grace_trusted(me);
	grace_exit(me);
	return trusted;
}

/* Up to MANY keys, each stage for all before the next for any. */
static void
get_group(struct shmc *cache, struct member *me, struct shmc_item *items,
    size_t n)
{
	struct probe probes[MANY];
	bool trusted;

	for (size_t i = 0; i < n; i++)
		prepare(cache, &items[i], &probes[i]);
	trusted = copy_hits(&cache->seg, me, items, probes, n);
	for (size_t i = 0; i < n; i++) {
		if (!probes[i].valid)
			continue;
		if (likely(trusted && probes[i].done)) {
			count(me->slot, COUNT_HITS);
			continue;
		}
		items[i].value_bytes = 0; /* what a revoked look-up told */
		items[i].status = get_by_view(cache, me, &probes[i].key,
		    items[i].buffer, items[i].buffer_bytes,
		    &items[i].value_bytes);
	}
}

size_t
shmc_get_many(struct shmc *cache, struct shmc_item *items, size_t count)
{
	struct member *me;
	size_t found = 0;

	if (items == NULL)
		return 0;
	me = cache == NULL ? NULL : cache_member(cache);
	for (size_t at = 0; at < count; at += MANY) {
		size_t n = min_u64(MANY, count - at);

		if (me != NULL)
			get_group(cache, me, &items[at], n);
		for (size_t i = at; i < at + n; i++) {
			if (me == NULL)
				items[i].status = cache == NULL ?
				    SHMC_INVALID : SHMC_BUSY;
			found += items[i].status == SHMC_OK;
		}
	}
	return found;
}
