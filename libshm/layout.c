/* SPDX-License-Identifier: BSD-2-Clause */
/* A fingerprint of the byte map, so that two builds that differ notice. */
#include "layout.h"

#include "hash.h"

static const struct {
	const char *name;
	uint32_t bytes;
} structs[LAYOUT_STRUCTS] = {
	{ "header", sizeof(struct header) },
	{ "header_fixed", sizeof(struct header_fixed) },
	{ "participant", sizeof(struct participant) },
	{ "line", sizeof(struct line) },
	{ "flight", sizeof(struct flight) },
	{ "block", sizeof(struct block) },
#ifdef SHMC_TEST_OTHER_LAYOUT
	{ "entry", sizeof(struct entry) + 8 },
#else
	{ "entry", sizeof(struct entry) },
#endif
	{ "large", sizeof(struct large) },
	{ "extra", sizeof(struct extra) },
};

/* Offsets that sizes alone would not betray, and the shapes of words. */
static const uint32_t shape[] = {
	offsetof(struct header, epoch),
	offsetof(struct header, hand),
	offsetof(struct header_fixed, geometry),
	offsetof(struct participant, revoked),
	offsetof(struct participant, pins),
	offsetof(struct participant, counters),
	offsetof(struct participant, life),
	offsetof(struct flight, lease),
	offsetof(struct flight, result),
	offsetof(struct block, goal),
	offsetof(struct block, head),
	WORD_TAG_SHIFT,
	WORD_GENERATION_SHIFT,
	WORD_OWNER_SHIFT,
	FLIGHT_USE_SHIFT,
	FLIGHT_INCARNATION_SHIFT,
	BLOCK_CLASS_SHIFT,
	BLOCK_OWNER_SHIFT,
	ENTRY_ALIGN,
	LAYOUT_VERSION,
};

void
layout_describe(uint32_t struct_bytes[LAYOUT_STRUCTS], uint64_t *hash)
{
	for (unsigned i = 0; i < LAYOUT_STRUCTS; i++)
		struct_bytes[i] = structs[i].bytes;
	*hash = hash_bytes(shape, sizeof shape,
	    hash_bytes(struct_bytes, LAYOUT_STRUCTS * sizeof *struct_bytes, 0));
}

const char *
layout_struct_name(unsigned i)
{
	return structs[i].name;
}
