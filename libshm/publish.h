/* SPDX-License-Identifier: BSD-2-Clause */
/* Putting a flight's result into the index: by its leader, or by who repairs. */
#ifndef LIBSHM_PUBLISH_H
#define LIBSHM_PUBLISH_H

#include "flight.h"
#include "index.h"

/*
 * Links the entry that a flight of ours has committed, in place of what its
 * leader saw before it began, of nothing, or of what an older flight of the key
 * left there meanwhile; never of what somebody put.  In a read section, as
 * index_link().  *old: the word replaced, or EMPTY.  False: superseded.
 */
bool publish_result(struct member *me, const struct key *key, uint64_t entry,
    const struct flight_hold *hold, uint64_t seen, uint64_t *old);

#endif
