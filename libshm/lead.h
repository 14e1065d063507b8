/* SPDX-License-Identifier: BSD-2-Clause */
/* What is behind struct shmc_lead. */
#ifndef LIBSHM_LEAD_H
#define LIBSHM_LEAD_H

#include "cache.h"
#include "flight.h"
#include "value.h"

#include <string.h>

enum lead_kind {
	LEAD_FLIGHT,  /* for everybody */
	LEAD_PRIVATE, /* for ourselves, nothing is stored */
	LEAD_PERMIT,  /* the same, and hold is the permit to do so */
};

struct lead {
	struct shmc *cache; /* NULL: over */
	struct member *me;
	uint64_t family;
	struct key key;
	struct flight_hold hold;
	struct draft draft;
	struct shmc_view *view; /* fetch: where the value is to go */
	struct shmc_view old;	/* no data: none */
	struct entry_terms terms; /* without expiry */
	uint64_t seen; /* the key's index word when we began */
	uint64_t waited_ns;
	uint64_t started_ns;
	uint32_t jitter_percent;
	uint8_t kind;
	uint8_t fan_out; /* LEAD_PERMIT: among so many */
	bool wants_cost; /* store what the computation cost */
	bool has_terms;	 /* the loader has said them */
	uint16_t role;
	uint32_t status; /* how it ended; before: what appending answered */
};
static_assert(sizeof(struct lead) <= sizeof(struct shmc_lead), "it must fit");

static inline struct lead *
lead_of(struct shmc_lead *lead)
{
	return (struct lead *)(void *)lead->opaque;
}

#endif
