/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LMDB on a tmpfs, keys in no order, until its map is full.
 */
#include <lmdb.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"
#include "fill.h"

#define PUTS_PER_TRANSACTION 64u

static int
must(int code, const char *what)
{
	if (code != MDB_SUCCESS && code != MDB_MAP_FULL)
		bench_die("lmdb: %s: %s", what, mdb_strerror(code));
	return code;
}

static int
put(MDB_txn *transaction, MDB_dbi database, uint64_t index, size_t value_bytes)
{
	unsigned char bytes[FILL_VALUE_MAX];
	char name[KEY_BYTES];
	MDB_val key = { KEY_BYTES, name };
	MDB_val value = { value_bytes, bytes };

	keys_key(index, name);
	keys_value(index, bytes, value_bytes);
	return must(mdb_put(transaction, database, &key, &value, 0), "put");
}

/* A transaction's worth, from *index on; false: it is full. */
static bool
put_some(MDB_env *env, uint64_t *index, size_t value_bytes)
{
	MDB_txn *transaction;
	MDB_dbi database;
	int code = MDB_SUCCESS;

	must(mdb_txn_begin(env, NULL, 0, &transaction), "begin");
	must(mdb_dbi_open(transaction, NULL, 0, &database), "dbi");
	for (unsigned i = 0; i < PUTS_PER_TRANSACTION && code == MDB_SUCCESS;
	     i++)
		code = put(transaction, database, (*index)++, value_bytes);
	if (code == MDB_SUCCESS)
		return must(mdb_txn_commit(transaction), "commit") ==
		    MDB_SUCCESS;
	mdb_txn_abort(transaction);
	return false;
}

static bool
lmdb_fill(const struct fill *fill, struct filled *filled)
{
	unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NOLOCK;
	char path[64];
	uint64_t index = 0;
	MDB_stat stat;
	MDB_env *env;

	snprintf(path, sizeof path, FILL_DIRECTORY "/shmcache-perf-%d.mdb",
	    (int)getpid());
	must(mdb_env_create(&env), "create");
	must(mdb_env_set_mapsize(env, fill->memory_bytes), "mapsize");
	must(mdb_env_open(env, path, flags, 0600), "open");
	unlink(path);
	while (put_some(env, &index, fill->value_bytes))
		;
	must(mdb_env_stat(env, &stat), "stat");
	filled->entries = stat.ms_entries;
	filled->memory_bytes = fill->memory_bytes;
	mdb_env_close(env);
	return true;
}

const struct filler fill_lmdb = {
	.name = "lmdb",
	.about = "until its map is full",
	.fill = lmdb_fill,
};
