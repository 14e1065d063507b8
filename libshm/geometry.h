/* SPDX-License-Identifier: BSD-2-Clause */
/* From three numbers to a byte map. */
#ifndef LIBSHM_GEOMETRY_H
#define LIBSHM_GEOMETRY_H

#include "layout.h"

#define GEOMETRY_SIZE_MIN (1ull << 20)
#define GEOMETRY_SIZE_MAX (64ull << 30)

/* How many participants a segment of this size has if nobody says. */
uint32_t geometry_default_participants(uint64_t size_bytes);

/*
 * Fills *g for a segment of size_bytes, so many participants, and entries of
 * entry_bytes (key and value) on average.  The same numbers give the same
 * geometry, always: an attacher computes it again instead of trusting it.
 * NULL, or a sentence saying what cannot work and what would.
 */
const char *geometry_compute(struct geometry *g, uint64_t size_bytes,
    uint32_t participants, uint32_t entry_bytes);

#endif
