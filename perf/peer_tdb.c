/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TDB on a tmpfs: Samba's hash file that processes share, each chain under a
 * robust mutex in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <tdb.h>

#include "bench.h"
#include "peer.h"

struct made {
	struct tdb_context *file;
	char path[64];
};

static struct tdb_context *
file_open(const char *path, uint32_t buckets)
{
	struct tdb_context *file = tdb_open(path, (int)buckets,
	    TDB_CLEAR_IF_FIRST | TDB_MUTEX_LOCKING | TDB_NOSYNC |
		TDB_INCOMPATIBLE_HASH,
	    O_RDWR | O_CREAT, 0600);

	if (file == NULL)
		bench_die("tdb_open: %s", strerror(errno));
	return file;
}

static TDB_DATA
key_of(const char *key)
{
	return (TDB_DATA){ (unsigned char *)(uintptr_t)key, KEY_BYTES };
}

static void *
file_create(const struct store *store)
{
	struct made *made = bench_allocate(sizeof(*made));

	if (!tdb_runtime_check_for_robust_mutexes())
		bench_die("tdb: no robust mutexes here");
	snprintf(made->path, sizeof(made->path),
	    PEER_DIRECTORY "/shmcache-perf-%d.tdb", (int)getpid());
	made->file = file_open(made->path, store->entries);
	for (uint64_t index = 0; index < store->entries; index++) {
		unsigned char value[PEER_VALUE_MAX];
		char key[KEY_BYTES];

		keys_key(index, key);
		keys_value(index, value, store->value_bytes);
		if (tdb_store(made->file, key_of(key),
			(TDB_DATA){ value, store->value_bytes }, TDB_INSERT) != 0)
			bench_die("tdb_store: %s", tdb_errorstr(made->file));
	}
	return made;
}

static void *
file_attach(void *shared)
{
	struct made *made = shared;

	if (tdb_reopen(made->file) != 0)
		bench_die("tdb_reopen: %s", strerror(errno));
	return made->file;
}

/* Where a record is to be copied, and what came of it. */
struct copy {
	unsigned char *buffer;
	size_t bytes;
};

static int
copy_record(TDB_DATA key, TDB_DATA data, void *arg)
{
	struct copy *copy = arg;

	(void)key;
	memcpy(copy->buffer, data.dptr, data.dsize);
	copy->bytes = data.dsize;
	return 0;
}

static size_t
file_get(void *reader, const struct question *question, unsigned char *buffer)
{
	struct copy copy = { buffer, 0 };

	tdb_parse_record(reader, key_of(question->key), copy_record, &copy);
	return copy.bytes;
}

static void
file_settle(void *shared)
{
	struct made *made = shared;

	unlink(made->path);
}

const struct peer peer_tdb = {
	.name = "tdb",
	.about = "TDB on a tmpfs, mutexes, processes",
	.create = file_create,
	.attach = file_attach,
	.get = file_get,
	.settle = file_settle,
};
