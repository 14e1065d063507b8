/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LMDB on a tmpfs: a B+tree that processes share, readers without locks.  Each
 * get renews and resets one read transaction, as a server's worker would.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"

#define LMDB_PATH_MAX 64
#define PUTS_PER_TRANSACTION 10000u

/* What readers need to open it in their own process. */
struct made {
	MDB_env *env;
	char path[LMDB_PATH_MAX];
};

struct reader {
	MDB_txn *transaction;
	MDB_dbi database;
};

static void
lmdb_must(int code, const char *what)
{
	if (code != MDB_SUCCESS)
		bench_die("lmdb: %s: %s", what, mdb_strerror(code));
}

static MDB_env *
lmdb_open(const char *path, size_t memory_bytes)
{
	MDB_env *env;

	lmdb_must(mdb_env_create(&env), "create");
	lmdb_must(mdb_env_set_mapsize(env, memory_bytes), "mapsize");
	lmdb_must(mdb_env_open(env, path,
		      MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NORDAHEAD |
			  MDB_NOTLS,
		      0600),
	    "open");
	return env;
}

static void
lmdb_put(MDB_txn *transaction, MDB_dbi database, uint64_t index,
    size_t value_bytes)
{
	unsigned char bytes[PEER_VALUE_MAX];
	char name[KEY_BYTES];
	MDB_val key = { KEY_BYTES, name };
	MDB_val value = { value_bytes, bytes };

	keys_key(index, name);
	keys_value(index, bytes, value_bytes);
	lmdb_must(mdb_put(transaction, database, &key, &value, 0), "put");
}

static void
lmdb_fill(MDB_env *env, const struct store *store)
{
	for (uint64_t index = 0; index < store->entries;) {
		MDB_txn *transaction;
		MDB_dbi database;

		lmdb_must(mdb_txn_begin(env, NULL, 0, &transaction), "begin");
		lmdb_must(mdb_dbi_open(transaction, NULL, 0, &database), "dbi");
		for (unsigned n = 0;
		     n < PUTS_PER_TRANSACTION && index < store->entries;
		     n++, index++)
			lmdb_put(transaction, database, index,
			    store->value_bytes);
		lmdb_must(mdb_txn_commit(transaction), "commit");
	}
}

static void
lmdb_lock_path(const struct made *made, char *path, size_t path_bytes)
{
	snprintf(path, path_bytes, "%s-lock", made->path);
}

static void *
lmdb_create(const struct store *store)
{
	struct made *made = bench_allocate(sizeof(*made));

	snprintf(made->path, sizeof(made->path),
	    PEER_DIRECTORY "/shmcache-perf-%d.mdb", (int)getpid());
	made->env = lmdb_open(made->path, store->memory_bytes);
	lmdb_fill(made->env, store);
	return made;
}

static void *
lmdb_attach(void *shared)
{
	struct made *made = shared;
	struct reader *reader = bench_allocate(sizeof(*reader));
	MDB_envinfo info;

	mdb_env_info(made->env, &info);
	MDB_env *env = lmdb_open(made->path, info.me_mapsize);

	lmdb_must(mdb_txn_begin(env, NULL, MDB_RDONLY, &reader->transaction),
	    "begin");
	lmdb_must(mdb_dbi_open(reader->transaction, NULL, 0, &reader->database),
	    "dbi");
	mdb_txn_reset(reader->transaction);
	return reader;
}

static size_t
lmdb_get(void *shared, const struct question *question, unsigned char *buffer)
{
	struct reader *reader = shared;
	MDB_val key = { KEY_BYTES, (void *)(uintptr_t)question->key };
	MDB_val value = { 0, NULL };

	if (mdb_txn_renew(reader->transaction) != MDB_SUCCESS)
		return 0;
	if (mdb_get(reader->transaction, reader->database, &key, &value) ==
	    MDB_SUCCESS)
		memcpy(buffer, value.mv_data, value.mv_size);
	mdb_txn_reset(reader->transaction);
	return value.mv_size;
}

static void
lmdb_settle(void *shared)
{
	struct made *made = shared;
	char lock[LMDB_PATH_MAX + 8];

	lmdb_lock_path(made, lock, sizeof(lock));
	unlink(made->path);
	unlink(lock);
}

const struct peer peer_lmdb = {
	.name = "lmdb",
	.about = "LMDB on a tmpfs, processes",
	.create = lmdb_create,
	.attach = lmdb_attach,
	.get = lmdb_get,
	.settle = lmdb_settle,
};
