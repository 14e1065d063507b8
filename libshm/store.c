/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * put and everything that stores under a condition, delete, tags, flush.
 *
 * A conditional store reads the key's index word, writes a whole new entry, and
 * links it by a CAS that expects that very word: read, add, replace, compare and
 * swap, touch and counting are one loop (update()).
 *
 * Edges
 * T1  Invalidating a tag: tag_clock is drawn (fetch_add), then stored in the tag
 *     (release).  Making an entry: tag_clock is read (acquire) before what the
 *     value is made from; readers compare (acquire).  An entry whose clock is
 *     older than the tag's may have been made from what was invalidated.
 *
 * Progress: lock-free.  A kill leaves the old entry or the new one.
 */
#include "store.h"

#include "counters.h"
#include "evict.h"
#include "flight.h"
#include "grace.h"
#include "hash.h"
#include "index.h"
#include "publish.h"
#include "random.h"
#include "read.h"
#include "testpoint.h"
#include "value.h"
#include "view.h"

#include <string.h>

/* ----------------------------------------------------------------- terms -- */

uint64_t
store_tag_clock(const struct segment *seg)
{
	return load_acquire(&seg->header->tag_clock); /* T1 */
}

static uint32_t
tag_number(const struct segment *seg, const char *name)
{
	uint64_t hash = hash_bytes(name, strlen(name), seg->seed);

	return (uint32_t)((hash >> 32) * seg->geo.tag_count >> 32);
}

uint64_t
store_jitter(uint64_t ttl_ms, uint32_t percent)
{
	uint64_t range;

	ttl_ms = min_u64(ttl_ms, ENTRY_EXPIRY_MAX); /* else it may overflow */
	range = ttl_ms * percent / 100;
	return range == 0 ? ttl_ms :
	    ttl_ms - range + random_draw() % (2 * range + 1);
}

static bool
terms_are_legal(const struct shmc_terms *t)
{
	if (t->struct_bytes != sizeof *t || t->jitter_percent > 50 ||
	    t->tag_count > SHMC_TAGS_MAX || t->grace_ms > UINT32_MAX ||
	    t->keep_ms > UINT32_MAX || (t->tag_count > 0 && t->tags == NULL))
		return false;
	for (uint32_t i = 0; i < t->tag_count; i++)
		if (t->tags[i] == NULL)
			return false;
	return true;
}

enum shmc_status
store_terms(const struct segment *seg, const struct shmc_terms *given,
    uint64_t ttl_ms, uint64_t tag_clock, struct entry_terms *terms)
{
	memset(terms, 0, sizeof *terms);
	if (given == NULL) {
		terms->expiry_ms = cache_expiry(seg, ttl_ms);
		return SHMC_OK;
	}
	if (!terms_are_legal(given))
		return SHMC_INVALID;
	terms->expiry_ms = cache_expiry(seg,
	    store_jitter(ttl_ms, given->jitter_percent));
	terms->grace_ms = (uint32_t)given->grace_ms;
	terms->keep_ms = (uint32_t)given->keep_ms;
	terms->tag_clock = tag_clock;
	terms->tag_count = given->tag_count;
	for (uint32_t i = 0; i < given->tag_count; i++)
		terms->tags[i] = tag_number(seg, given->tags[i]);
	return SHMC_OK;
}

/* ------------------------------------------------------------------ link -- */

enum line_set
store_link(struct member *me, const struct key *key, uint64_t entry,
    const uint64_t *expected, const struct line_guard *guard)
{
	uint64_t old = WORD_EMPTY;
	enum line_set set;

	grace_enter(me);
	set = index_link(me, key, entry, expected, guard, &old);
	if (set == LINE_SET && old != WORD_EMPTY)
		evict_pieces(me, old);
	grace_exit(me);
	TESTPOINT("store_linked");
	return set;
}

bool
store_link_result(struct member *me, const struct key *key, uint64_t entry,
    uint64_t seen, const struct flight_hold *hold)
{
	uint64_t old;
	bool set;

	grace_enter(me);
	set = publish_result(me, key, entry, hold, seen, &old);
	if (set && old != WORD_EMPTY)
		evict_pieces(me, old);
	grace_exit(me);
	TESTPOINT("store_linked");
	return set;
}

void
store_forget(struct member *me, const struct key *key, uint64_t entry)
{
	grace_enter(me);
	if (index_evict(me->seg, entry, (uint32_t)(key->hash >> 32)))
		evict_pieces(me, entry);
	grace_exit(me);
	TESTPOINT("store_forgotten");
}

/* One write: what its steps share. */
struct write {
	struct shmc *cache;
	struct member *me;
	uint64_t family; /* a fork in a callback leaves it to the parent */
	struct key key;
	uint64_t tag_clock;
};

static enum shmc_status
write_begin(struct write *w, struct shmc *cache, const void *key,
    size_t key_bytes)
{
	enum shmc_status status = cache_key(cache, key, key_bytes, &w->key);

	if (status != SHMC_OK)
		return status;
	w->cache = cache;
	w->me = cache_member(cache);
	if (w->me == NULL)
		return SHMC_BUSY;
	w->family = load_relaxed(&w->me->family); /* our own */
	w->tag_clock = store_tag_clock(&cache->seg);
	return SHMC_OK;
}

/* The value that a write is to store. */
struct change {
	const void *value;
	size_t value_bytes;
	struct shmc_view *pieces; /* it is this one's, in pieces; NULL: no */
	struct entry_terms terms;
};

/*
 * From piece to piece: a large value has no room on the heap.
 * SHMC_MISS: the chain of pieces is damaged.
 */
static enum shmc_status
append_pieces(struct write *w, const struct change *change, struct draft *draft)
{
	enum shmc_status status = value_expect(w->me, &w->key,
	    change->value_bytes);
	size_t bytes = 0;

	for (size_t at = 0; at < change->value_bytes && status == SHMC_OK;
	     at += bytes) {
		const void *data;

		if (shmc_view_piece(change->pieces, at, &data, &bytes) !=
			SHMC_OK || bytes == 0)
			return SHMC_MISS;
		status = value_append(w->me, draft, &w->key, data, bytes);
	}
	return status;
}

static enum shmc_status
write_value(struct write *w, const struct change *change, struct draft *draft,
    uint64_t *entry)
{
	enum shmc_status status;

	if (change->pieces == NULL)
		return value_write(w->me, draft, &w->key, change->value,
		    change->value_bytes, &change->terms, entry);
	status = append_pieces(w, change, draft);
	if (status == SHMC_OK)
		status = value_complete(w->me, draft, &w->key, &change->terms,
		    entry);
	if (status != SHMC_OK)
		value_drop(w->me, draft);
	return status;
}

/*
 * Writes an entry and links it if the key's word is *expected (NULL: whatever it
 * is).  SHMC_OTHER: it is not.
 */
static enum shmc_status
write_entry(struct write *w, const struct change *change,
    const uint64_t *expected)
{
	struct draft draft = { 0 };
	struct member *me = w->me;
	enum shmc_status status;
	enum line_set set;
	uint64_t entry;

	status = write_value(w, change, &draft, &entry);
	if (status != SHMC_OK) {
		if (status == SHMC_NO_MEMORY)
			count(me->slot, COUNT_REFUSED);
		return status;
	}
	flight_supersede(me, w->key.hash);
	set = store_link(me, &w->key, entry, expected, NULL);
	if (set != LINE_SET) {
		value_drop(me, &draft);
		return SHMC_OTHER;
	}
	value_settle(me, &draft);
	count(me->slot, COUNT_PUTS);
	return SHMC_OK;
}

enum shmc_status
shmc_put(struct shmc *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, uint64_t ttl_ms)
{
	struct change change = { .value = value, .value_bytes = value_bytes };
	struct write w;
	enum shmc_status status;

	if (value == NULL && value_bytes > 0)
		return SHMC_INVALID;
	status = write_begin(&w, cache, key, key_bytes);
	if (status == SHMC_OK)
		status = store_terms(&cache->seg, NULL, ttl_ms, 0,
		    &change.terms);
	if (status != SHMC_OK)
		return status;
	return write_entry(&w, &change, NULL);
}

/* ------------------------------------------------------------ conditions -- */

/*
 * Fills *change; old is NULL and found->word EMPTY if nothing is there that
 * counts.  SHMC_OK: store it; anything else: the update ends with that.
 */
typedef enum shmc_status decider(struct write *w, struct shmc_view *old,
    const struct found *found, struct change *change, void *arg);

/* One attempt.  SHMC_OTHER with *again: the key changed meanwhile. */
static enum shmc_status
attempt(struct write *w, decider *decide, void *arg, bool *again)
{
	struct change change = { 0 };
	struct found found = { .age = AGE_OVER };
	struct shmc_view view = { 0 };
	enum shmc_status status;
	bool there;

	status = read_find(w->cache, w->me, &w->key, &view, &found);
	if (status == SHMC_BUSY)
		return status;
	there = status == SHMC_OK && found.kind == KIND_VALUE &&
	    (found.age == AGE_FRESH || found.age == AGE_STALE);
	status = decide(w, there ? &view : NULL, &found, &change, arg);
	if (status == SHMC_OK) {
		status = write_entry(w, &change, &found.word);
		*again = status == SHMC_OTHER;
	}
	shmc_view_release(&view);
	return status;
}

/*
 * What is there, seen and replaced as one.  An entry that has expired, or is no
 * value, is replaced as if it were not there, and must not change either.
 */
static enum shmc_status
update(struct write *w, decider *decide, void *arg)
{
	enum shmc_status status;
	bool again;

	/* Each turn after the first is somebody else's success. */
	do {
		again = false;
		status = attempt(w, decide, arg, &again);
	} while (again);
	return status;
}

struct store {
	const void *value;
	size_t value_bytes;
	const struct shmc_terms *terms;
	enum shmc_if condition;
	uint64_t version;
};

static bool
condition_holds(const struct store *s, const struct shmc_view *old)
{
	switch (s->condition) {
	case SHMC_IF_ABSENT:
		return old == NULL;
	case SHMC_IF_PRESENT:
		return old != NULL;
	case SHMC_IF_VERSION:
		return old != NULL && old->version == s->version;
	case SHMC_ALWAYS:
		break;
	}
	return true;
}

static enum shmc_status
decide_store(struct write *w, struct shmc_view *old,
    const struct found *found, struct change *change, void *arg)
{
	const struct store *s = arg;

	(void)found;
	if (!condition_holds(s, old))
		return SHMC_OTHER;
	change->value = s->value;
	change->value_bytes = s->value_bytes;
	return store_terms(w->me->seg, s->terms,
	    s->terms != NULL ? s->terms->ttl_ms : 0, w->tag_clock,
	    &change->terms);
}

enum shmc_status
shmc_store(struct shmc *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, const struct shmc_terms *terms,
    enum shmc_if condition, uint64_t version)
{
	struct store s = { value, value_bytes, terms, condition, version };
	struct change change = { .value = value, .value_bytes = value_bytes };
	enum shmc_status status;
	struct write w;

	if ((value == NULL && value_bytes > 0) ||
	    (unsigned)condition > SHMC_IF_VERSION)
		return SHMC_INVALID;
	status = write_begin(&w, cache, key, key_bytes);
	if (status == SHMC_OK)
		status = store_terms(&cache->seg, terms,
		    terms != NULL ? terms->ttl_ms : 0, w.tag_clock,
		    &change.terms);
	if (status != SHMC_OK)
		return status;
	if (condition == SHMC_ALWAYS)
		return write_entry(&w, &change, NULL);
	return update(&w, decide_store, &s);
}

struct user_update {
	shmc_updater *updater;
	void *arg;
	const struct shmc_terms *terms;
};

static enum shmc_status
decide_user(struct write *w, struct shmc_view *old,
    const struct found *found, struct change *change, void *arg)
{
	const struct user_update *u = arg;
	int stores;

	(void)found;
	stores = u->updater(old, &change->value, &change->value_bytes, u->arg);
	/* Else in a child that was forked there: the slot is its parent's. */
	if (!member_is_ours(&w->cache->members, w->me, w->family))
		return SHMC_FENCED;
	if (!stores)
		return SHMC_OTHER;
	if (change->value == NULL && change->value_bytes > 0)
		return SHMC_INVALID;
	return store_terms(w->me->seg, u->terms,
	    u->terms != NULL ? u->terms->ttl_ms : 0, w->tag_clock,
	    &change->terms);
}

enum shmc_status
shmc_update(struct shmc *cache, const void *key, size_t key_bytes,
    shmc_updater *updater, void *arg, const struct shmc_terms *terms)
{
	struct user_update u = { updater, arg, terms };
	enum shmc_status status;
	struct write w;

	if (updater == NULL)
		return SHMC_INVALID;
	status = write_begin(&w, cache, key, key_bytes);
	return status == SHMC_OK ? update(&w, decide_user, &u) : status;
}

/* The old entry's terms, for what only changes its value or its ttl. */
static void
keep_terms(struct write *w, const struct found *found,
    struct entry_terms *terms)
{
	struct entry_view bounds;

	/* Pinned by the view of it. */
	if (entry_read(w->me->seg, found->word, &bounds))
		entry_terms_of(&bounds, terms);
}

struct increment {
	int64_t delta;
	int64_t initial;
	uint64_t ttl_ms;
	int64_t sum;
};

static enum shmc_status
decide_increment(struct write *w, struct shmc_view *old,
    const struct found *found, struct change *change, void *arg)
{
	struct increment *i = arg;
	int64_t value;

	change->value = &i->sum;
	change->value_bytes = sizeof i->sum;
	if (old == NULL) {
		i->sum = i->initial;
		return store_terms(w->me->seg, NULL, i->ttl_ms, 0,
		    &change->terms);
	}
	/* Behind a long key it may lie in two pieces. */
	if (old->size_bytes != sizeof value ||
	    shmc_view_copy(old, &value, sizeof value) != sizeof value)
		return SHMC_INVALID;
	/* Unsigned, which wraps where signed would be undefined. */
	i->sum = (int64_t)((uint64_t)value + (uint64_t)i->delta);
	keep_terms(w, found, &change->terms);
	return SHMC_OK;
}

enum shmc_status
shmc_incr(struct shmc *cache, const void *key, size_t key_bytes,
    int64_t delta, int64_t initial, uint64_t ttl_ms, int64_t *result)
{
	struct increment i = { delta, initial, ttl_ms, 0 };
	enum shmc_status status;
	struct write w;

	status = write_begin(&w, cache, key, key_bytes);
	if (status != SHMC_OK)
		return status;
	status = update(&w, decide_increment, &i);
	if (status == SHMC_INVALID)
		status = SHMC_OTHER; /* no counter */
	if (status == SHMC_OK && result != NULL)
		*result = i.sum;
	return status;
}

/* ----------------------------------------------------------------- touch -- */

static enum shmc_status
decide_touch(struct write *w, struct shmc_view *old,
    const struct found *found, struct change *change, void *arg)
{
	const uint64_t *ttl_ms = arg;

	if (old == NULL)
		return SHMC_MISS;
	change->value = old->data;
	change->value_bytes = old->size_bytes;
	if (old->piece_bytes != old->size_bytes)
		change->pieces = old;
	keep_terms(w, found, &change->terms);
	change->terms.expiry_ms = cache_expiry(w->me->seg, *ttl_ms);
	return SHMC_OK;
}

enum shmc_status
shmc_touch(struct shmc *cache, const void *key, size_t key_bytes,
    uint64_t ttl_ms)
{
	enum shmc_status status;
	struct write w;

	status = write_begin(&w, cache, key, key_bytes);
	return status == SHMC_OK ? update(&w, decide_touch, &ttl_ms) : status;
}

/* ---------------------------------------------------------------- remove -- */

/* Whether what was unlinked in this section was of use to anybody. */
static bool
was_there(const struct member *me, uint64_t word)
{
	struct entry_view bounds;

	return entry_read(me->seg, word, &bounds) &&
	    entry_age(me->seg, &bounds) != AGE_OVER;
}

static enum shmc_status
remove_key(struct shmc *cache, const void *key, size_t key_bytes)
{
	enum shmc_status status;
	bool there = false;
	struct write w;
	uint64_t old;

	status = write_begin(&w, cache, key, key_bytes);
	if (status != SHMC_OK)
		return status;
	flight_supersede(w.me, w.key.hash);
	grace_enter(w.me);
	old = index_unlink(w.me, &w.key);
	if (old != WORD_EMPTY) {
		there = was_there(w.me, old);
		evict_pieces(w.me, old);
		count(w.me->slot, COUNT_DELETES);
	}
	grace_exit(w.me);
	return there ? SHMC_OK : SHMC_MISS;
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

enum shmc_status
shmc_invalidate_tag(struct shmc *cache, const char *tag)
{
	_Atomic uint64_t *at;
	uint64_t now, old;

	if (cache == NULL || tag == NULL)
		return SHMC_INVALID;
	at = &cache->seg.tags[tag_number(&cache->seg, tag)].invalidated;
	now = 1 + atomic_fetch_add_explicit(&cache->seg.header->tag_clock, 1,
	    memory_order_acq_rel); /* T1 */
	TESTPOINT("store_tag_clock");
	/* Only upwards: whoever is beyond us has done our work, too. */
	for (old = load_relaxed(at); old < now && !cas_word(at, old, now);)
		old = load_relaxed(at); /* the CAS decides */
	TESTPOINT("store_tag_invalidated");
	return SHMC_OK;
}

enum shmc_status
shmc_flush(struct shmc *cache)
{
	if (cache == NULL)
		return SHMC_INVALID;
	/* Every key hashes otherwise from now on. */
	atomic_fetch_add_explicit(&cache->seg.header->flushes, 1,
	    memory_order_acq_rel);
	TESTPOINT("store_flushed");
	return SHMC_OK;
}
