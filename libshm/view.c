/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Views: see view.h.
 *
 * Invariant: a view's cell names its entry from view_open() to release;
 * grace_poll() frees neither the entry's block nor its pieces.
 * Edges: grace.G1, G4.  Progress: wait-free.  A kill leaves a pin, void once reaped.
 */
#include "view.h"

#include "grace.h"

#include <string.h>

/* What struct shmc_view's opaque words hold. */
enum {
	VIEW_CACHE,
	VIEW_MEMBER,
	VIEW_FAMILY,
	VIEW_ENTRY,
	VIEW_CELL,  /* plus 1 | bytes skipped << 8 | cursor's piece << 32 */
	VIEW_START, /* cursor: where its piece starts */
};

#define VIEW_CELL_MASK 0xffull
#define VIEW_SKIP_SHIFT 8
#define VIEW_SKIP_MASK (0xffffffull << VIEW_SKIP_SHIFT)
static_assert(PINS < VIEW_CELL_MASK, "a cell plus 1 has a byte");

/* What view_skip() has taken from its beginning. */
static uint64_t
skipped(const struct shmc_view *view)
{
	return (view->opaque[VIEW_CELL] & VIEW_SKIP_MASK) >> VIEW_SKIP_SHIFT;
}

static uint64_t
key_in_pieces(const struct entry_view *bounds)
{
	return (bounds->flags & ENTRY_KEY_AWAY) != 0 ? bounds->key_bytes : 0;
}

/* Of a value in pieces.  A damaged chain has none. */
static void
first_piece(struct shmc_view *view)
{
	view->piece_bytes = 0;
	if (view->size_bytes == 0 || shmc_view_piece(view, 0, &view->data,
		&view->piece_bytes) != SHMC_OK)
		view->data = "";
}

bool
view_open(struct shmc *cache, struct member *me, uint64_t entry,
    const struct entry_view *bounds, struct shmc_view *view)
{
	int cell = grace_pin(me, entry);

	if (cell < 0)
		return false;
	me->views++;
	memset(view, 0, sizeof *view);
	view->size_bytes = bounds->value_bytes;
	view->version = entry_version(me->seg, entry);
	view->opaque[VIEW_CACHE] = (uintptr_t)cache;
	view->opaque[VIEW_MEMBER] = (uintptr_t)me;
	view->opaque[VIEW_FAMILY] = load_relaxed(&me->family); /* our own */
	view->opaque[VIEW_ENTRY] = entry;
	view->opaque[VIEW_CELL] = ((uint64_t)cell + 1) |
	    (uint64_t)bounds->first_piece << 32;
	if (bounds->value != NULL) {
		view->data = bounds->value;
		view->piece_bytes = bounds->value_bytes;
	} else {
		first_piece(view);
	}
	return true;
}

/* The member that pinned; NULL: forked, or its slot is gone. */
static struct member *
owner(const struct shmc_view *view)
{
	struct shmc *cache = (struct shmc *)(uintptr_t)view->opaque[VIEW_CACHE];
	struct member *me =
	    (struct member *)(uintptr_t)view->opaque[VIEW_MEMBER];

	if (cache == NULL || !member_is_ours(&cache->members, me,
	    view->opaque[VIEW_FAMILY]))
		return NULL;
	return me;
}

enum shmc_status
shmc_view_piece(struct shmc_view *view, size_t offset, const void **data,
    size_t *bytes)
{
	struct member *me;
	struct entry_view bounds;
	uint32_t piece;
	uint64_t n = 0;
	const char *at = NULL;

	if (view == NULL || data == NULL || bytes == NULL ||
	    offset > view->size_bytes)
		return SHMC_INVALID;
	me = owner(view);
	if (me == NULL)
		return SHMC_FENCED;
	if (view->piece_bytes == view->size_bytes) {
		*data = (const char *)view->data + offset;
		*bytes = view->size_bytes - offset;
		return SHMC_OK;
	}
	/* A scribble may have made it another entry: its size is checked anew. */
	if (!entry_read(me->seg, view->opaque[VIEW_ENTRY], &bounds) ||
	    bounds.value != NULL ||
	    bounds.value_bytes != view->size_bytes + skipped(view))
		return SHMC_FENCED;
	piece = (uint32_t)(view->opaque[VIEW_CELL] >> 32);
	if (!entry_piece(me->seg, &bounds, key_in_pieces(&bounds) +
		skipped(view) + offset, &piece, &view->opaque[VIEW_START], &at,
		&n))
		return SHMC_FENCED;
	view->opaque[VIEW_CELL] = (uint32_t)view->opaque[VIEW_CELL] |
	    (uint64_t)piece << 32;
	*data = at;
	*bytes = n;
	return SHMC_OK;
}

size_t
shmc_view_copy(const struct shmc_view *view, void *buffer,
    size_t buffer_bytes)
{
	struct shmc_view at; /* with a cursor of its own */
	size_t done = 0;

	if (view == NULL || buffer == NULL)
		return 0;
	at = *view;
	while (done < buffer_bytes && done < at.size_bytes) {
		const void *data;
		size_t n;

		if (shmc_view_piece(&at, done, &data, &n) != SHMC_OK || n == 0)
			break;
		n = min_u64(n, buffer_bytes - done);
		memcpy((char *)buffer + done, data, n);
		done += n;
	}
	return done;
}

void
view_skip(struct shmc_view *view, size_t bytes)
{
	bool whole = view->piece_bytes == view->size_bytes;

	view->size_bytes -= bytes;
	view->opaque[VIEW_CELL] |= bytes << VIEW_SKIP_SHIFT;
	if (whole) {
		view->data = (const char *)view->data + bytes;
		view->piece_bytes -= bytes;
	} else {
		first_piece(view);
	}
}

void
view_move(struct shmc_view *to, struct shmc_view *from)
{
	*to = *from;
	memset(from, 0, sizeof *from);
}

void
shmc_view_release(struct shmc_view *view)
{
	struct member *me;

	if (view == NULL)
		return;
	me = owner(view);
	if (me != NULL) {
		if (grace_unpin(me,
			(int)(view->opaque[VIEW_CELL] & VIEW_CELL_MASK) - 1,
			view->opaque[VIEW_ENTRY]))
			me->views--;
	}
	memset(view, 0, sizeof *view);
}
