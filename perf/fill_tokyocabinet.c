/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokyo Cabinet's hash file on a tmpfs, as many buckets as entries, until the
 * file is as large as it may be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tchdb.h>
#include <unistd.h>

#include "bench.h"
#include "fill.h"

#define ENTRY_BYTES_GUESSED 40u /* beside the value's */
#define ALIGNED_TO 3		/* 8 bytes */
#define DEFAULT (-1)

static void
must(TCHDB *file, bool done, const char *what)
{
	if (!done)
		bench_die("tokyocabinet: %s: %s", what,
		    tchdberrmsg(tchdbecode(file)));
}

static void
put(TCHDB *file, uint64_t index, size_t value_bytes)
{
	unsigned char value[FILL_VALUE_MAX];
	char key[KEY_BYTES];

	keys_key(index, key);
	keys_value(index, value, value_bytes);
	must(file, tchdbput(file, key, KEY_BYTES, value, (int)value_bytes),
	    "put");
}

static bool
tokyocabinet_fill(const struct fill *fill, struct filled *filled)
{
	int64_t buckets = (int64_t)(fill->memory_bytes /
	    (fill->value_bytes + ENTRY_BYTES_GUESSED));
	TCHDB *file = tchdbnew();
	uint64_t index = 0;
	char path[64];

	snprintf(path, sizeof path, FILL_DIRECTORY "/shmcache-perf-%d.tch",
	    (int)getpid());
	must(file, tchdbtune(file, buckets, ALIGNED_TO, DEFAULT, 0), "tune");
	must(file, tchdbsetxmsiz(file, (int64_t)fill->memory_bytes), "map");
	must(file, tchdbopen(file, path, HDBOWRITER | HDBOCREAT | HDBOTRUNC),
	    "open");
	unlink(path);
	while (tchdbfsiz(file) < fill->memory_bytes)
		put(file, index++, fill->value_bytes);
	filled->entries = tchdbrnum(file);
	filled->memory_bytes = tchdbfsiz(file);
	tchdbdel(file);
	return true;
}

const struct filler fill_tokyocabinet = {
	.name = "tokyocabinet",
	.about = "a hash file, until it is as large",
	.fill = tokyocabinet_fill,
};
