/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The roofline: what no store can undercut.  Two dependent random loads and a
 * copy, from a shared mapping of a memfd that is all there from the beginning:
 * the question's slot in a table names an offset, and the entry (key and
 * value) is copied out from there.  Slots are 8 bytes, 8 to a line, and none
 * is empty: a table that keeps room, tags or chains is larger, and so more of
 * its lines are not in the cache.  Nothing is hashed, compared or protected.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"

#define SLOT_BYTES sizeof(uint64_t)

struct roofline {
	unsigned char *memory;
	size_t entry_bytes;
};

/* As our segment is mapped: all pages at once, huge ones if there are any. */
static unsigned char *
roofline_map(size_t bytes)
{
	int fd = memfd_create("shmcache-roofline", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
		bench_die("roofline: memfd: %s", strerror(errno));
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);

	if (memory == MAP_FAILED)
		bench_die("roofline: mmap: %s", strerror(errno));
	madvise(memory, bytes, MADV_HUGEPAGE);
	madvise(memory, bytes, MADV_POPULATE_WRITE);
	close(fd);
	return memory;
}

/* The places of the entries, shuffled. */
static uint32_t *
roofline_places(uint32_t entries)
{
	uint32_t *places = bench_allocate(entries * sizeof(*places));

	for (uint32_t i = 0; i < entries; i++) {
		uint32_t other = (uint32_t)(keys_mix(i) % (i + 1));

		places[i] = places[other];
		places[other] = i;
	}
	return places;
}

static void *
roofline_create(const struct store *store)
{
	struct roofline *roofline = bench_allocate(sizeof(*roofline));
	uint32_t *places = roofline_places(store->entries);
	uint64_t table_bytes = (uint64_t)store->entries * SLOT_BYTES;

	roofline->entry_bytes = KEY_BYTES + store->value_bytes;
	roofline->memory = roofline_map(table_bytes +
	    store->entries * roofline->entry_bytes);
	for (uint64_t index = 0; index < store->entries; index++) {
		uint64_t offset = table_bytes +
		    places[index] * roofline->entry_bytes;
		unsigned char *entry = roofline->memory + offset;

		memcpy(roofline->memory + index * SLOT_BYTES, &offset,
		    sizeof(offset));
		keys_key(index, (char *)entry);
		keys_value(index, entry + KEY_BYTES, store->value_bytes);
	}
	free(places);
	return roofline;
}

static void *
roofline_attach(void *made)
{
	return made;
}

static size_t
roofline_get(void *reader, const struct question *question,
    unsigned char *buffer)
{
	const struct roofline *roofline = reader;
	uint64_t offset;

	memcpy(&offset, roofline->memory + question->index * SLOT_BYTES,
	    sizeof(offset));
	memcpy(buffer, roofline->memory + offset, roofline->entry_bytes);
	return roofline->entry_bytes - KEY_BYTES;
}

const struct peer peer_roofline = {
	.name = "roofline",
	.about = "two loads and a copy, processes",
	.value_at = KEY_BYTES,
	.create = roofline_create,
	.attach = roofline_attach,
	.get = roofline_get,
};
