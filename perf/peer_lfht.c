/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * liburcu's lock-free hash table, in the private memory of one process whose
 * threads read it under the memb flavour of RCU: like us, readers say where
 * they begin and end and pay no fence.  Keys are hashed with XXH3.
 */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>

#include <urcu/rculfhash.h>

#include "bench.h"
#include "peer.h"

struct node {
	struct cds_lfht_node link;
	size_t value_bytes;
	char key[KEY_BYTES];
	unsigned char value[];
};

static int
node_match(struct cds_lfht_node *link, const void *key)
{
	const struct node *node = (const struct node *)link;

	return memcmp(node->key, key, KEY_BYTES) == 0;
}

static unsigned long
node_hash(const char *key)
{
	return XXH3_64bits(key, KEY_BYTES);
}

static struct cds_lfht *
table_new(uint32_t entries)
{
	unsigned long buckets = 1;

	while (buckets < entries)
		buckets *= 2;
	struct cds_lfht *table = cds_lfht_new_flavor(buckets, buckets, 0, 0,
	    &urcu_memb_flavor, NULL);

	if (table == NULL)
		bench_die("lfht: no table");
	return table;
}

static void *
lfht_create(const struct store *store)
{
	struct cds_lfht *table = table_new(store->entries);

	urcu_memb_register_thread();
	for (uint64_t index = 0; index < store->entries; index++) {
		struct node *node = bench_allocate(sizeof(*node) +
		    store->value_bytes);

		keys_key(index, node->key);
		node->value_bytes = store->value_bytes;
		keys_value(index, node->value, store->value_bytes);
		cds_lfht_node_init(&node->link);
		urcu_memb_read_lock();
		cds_lfht_add(table, node_hash(node->key), &node->link);
		urcu_memb_read_unlock();
	}
	urcu_memb_unregister_thread();
	return table;
}

static void *
lfht_attach(void *made)
{
	urcu_memb_register_thread();
	return made;
}

static size_t
lfht_get(void *reader, const struct question *question, unsigned char *buffer)
{
	struct cds_lfht_iter found;
	size_t bytes = 0;

	urcu_memb_read_lock();
	cds_lfht_lookup(reader, node_hash(question->key), node_match,
	    question->key, &found);
	const struct node *node = (const struct node *)
	    cds_lfht_iter_get_node(&found);

	if (node != NULL) {
		bytes = node->value_bytes;
		memcpy(buffer, node->value, bytes);
	}
	urcu_memb_read_unlock();
	return bytes;
}

const struct peer peer_lfht = {
	.name = "lfht",
	.about = "liburcu, memb flavour, threads",
	.threads = true,
	.create = lfht_create,
	.attach = lfht_attach,
	.get = lfht_get,
};
