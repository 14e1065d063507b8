/* SPDX-License-Identifier: BSD-2-Clause */
/* Views: a pinned block and where in it a value lies. */
#ifndef LIBSHM_VIEW_H
#define LIBSHM_VIEW_H

#include "cache.h"

/*
 * Makes *view of an entry in a block that cannot go meanwhile: in a section
 * that is trusted afterwards, joined to its flight, or in our OPEN block.
 * False: all of the thread's views are in use.
 */
bool view_open(struct shmc *cache, struct member *me, uint64_t entry,
    const struct entry_view *bounds, struct shmc_view *view);

/* Takes the first bytes, fewer than it has and than 2^24, out of a view; once. */
void view_skip(struct shmc_view *view, size_t bytes);

/* *from is cleared; *to is to be released instead. */
void view_move(struct shmc_view *to, struct shmc_view *from);

#endif
