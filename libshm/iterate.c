/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Visiting all entries, a part at a time.
 *
 * Entries never move between words of the index, so whoever looks at every word
 * once has seen every entry that was there throughout.  Each entry is pinned
 * while it is visited; no section is open then, and nobody is held up.
 */
#include "cache.h"
#include "grace.h"
#include "index.h"
#include "read.h"
#include "view.h"

#include <errno.h>

/* The n-th word of the index, as a view if it names a value. */
static enum shmc_status
open_place(struct shmc *cache, struct member *me, uint64_t n,
    struct entry_view *bounds, struct shmc_view *view)
{
	struct line *pair = &cache->seg.index[n / LINE_WORDS];
	enum shmc_status status = SHMC_MISS;
	enum entry_age age;
	uint64_t word;
	bool trusted;

	grace_enter(me);
	word = load_acquire(&pair->words[n % LINE_WORDS]); /* line.L1 */
	if ((word & WORD_LIVE) != 0 && entry_read(me->seg, word, bounds) &&
	    bounds->kind == KIND_VALUE && !entry_is_flushed(me->seg, bounds)) {
		age = entry_age(me->seg, bounds);
		if (age == AGE_FRESH || age == AGE_STALE)
			status = view_open(cache, me, word, bounds, view) ?
			    SHMC_OK : SHMC_BUSY;
		view->role = age == AGE_STALE ? SHMC_ROLE_STALE : SHMC_ROLE_HIT;
	}
	trusted = grace_trusted(me);
	grace_exit(me);
	if (trusted)
		return status;
	shmc_view_release(view);
	return SHMC_FENCED;
}

int
shmc_iterate(struct shmc *cache, uint64_t *cursor, size_t most,
    shmc_visitor *visitor, void *arg)
{
	struct member *me;
	unsigned retries = 0;
	uint64_t end;

	if (cache == NULL || cursor == NULL || visitor == NULL || most == 0)
		return -EINVAL;
	me = cache_member(cache);
	if (me == NULL)
		return -EBUSY;
	end = cache->seg.geo.index_pairs * PAIR_WORDS;
	for (; *cursor < end && most > 0; most--) {
		struct shmc_view view = { 0 };
		struct entry_view bounds;
		enum shmc_status status = open_place(cache, me, *cursor,
		    &bounds, &view);
		int more;

		if (status == SHMC_BUSY)
			return -EBUSY;
		if (status == SHMC_FENCED && !grace_retry(me, ++retries))
			return -EBUSY;
		if (status == SHMC_FENCED)
			continue; /* revoked: the same place once more */
		retries = 0;
		++*cursor;
		if (status != SHMC_OK)
			continue;
		more = visitor(bounds.key, bounds.key_bytes, &view, arg);
		shmc_view_release(&view);
		if (!more)
			return 0;
		/* Another one in a child that was forked there. */
		me = cache_member(cache);
		if (me == NULL)
			return -EBUSY;
	}
	return *cursor < end;
}
