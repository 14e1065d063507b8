/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which result stays: see publish.h.
 *
 * Whoever puts or removes a key first supersedes its flights, and a newer
 * flight those that began before it; the guard sees that.  What has come
 * without it is the put of somebody who looked for flights before ours began, and
 * stays, or the result of a detached flight older than ours, and goes.
 *
 * Progress: lock-free; each turn is somebody else's success.
 * A kill leaves the flight in RESULT, to be published by its reaper.
 */
#include "publish.h"

#include "testpoint.h"

bool
publish_result(struct member *me, const struct key *key, uint64_t entry,
    const struct flight_hold *hold, uint64_t seen, uint64_t *old)
{
	struct line_guard guard = flight_guard(me->seg, hold);
	enum line_set set;

	for (;;) {
		set = index_link(me, key, entry, &seen, &guard, old);
		if (set != LINE_OTHER)
			break;
		/* What was seen may have been evicted since. */
		if (*old != WORD_EMPTY &&
		    !flight_older_left(me, key->hash, hold->number, *old))
			return false;
		seen = *old;
	}
	if (set == LINE_SET)
		flight_note_left(me, key->hash, hold->number, entry);
	TESTPOINT("publish_linked");
	return set == LINE_SET;
}
