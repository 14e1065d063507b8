/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading traces.  xz and zstd unpack them, as processes of their own.
 */
#include "trace.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "keys.h"

const struct trace_source trace_sources[TRACES] = {
	{ "web07", "cache2k-web07.trace.xz", TRACE_IDS_32 },
	{ "orm-busy", "cache2k-orm-busy.trace.xz", TRACE_IDS_32 },
	{ "adaptsize", "adapt_size-request.trace.xz", TRACE_SIZED },
	{ "scarab", "scarab-scarab-recs.trace.xz", TRACE_IDS_64 },
	{ "oltp", "OLTP.lis.zst", TRACE_RUNS },
	{ "cloudphysics", "cloudPhysicsIO.oracleGeneral.bin.xz", TRACE_ORACLE },
};

/* ------------------------------------------------------------- records --- */

/* Requests for `count` ids, from `id` on. */
struct record {
	uint64_t id, count;
	uint32_t size;
};

/* False at the end. */
static bool
read_bytes(FILE *from, void *bytes, size_t count)
{
	size_t got = fread(bytes, 1, count, from);

	if (got != 0 && got != count)
		bench_die("a trace ends within a record");
	return got == count;
}

/* Three unsigned numbers at the beginning of a line; false at the end. */
static bool
read_line(FILE *from, uint64_t numbers[3])
{
	char line[128], *rest = line;

	if (fgets(line, sizeof line, from) == NULL)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		char *at = rest;

		numbers[i] = strtoull(at, &rest, 10);
		if (rest == at)
			bench_die("not a line of a trace: %s", line);
	}
	return true;
}

/* In the file's byte order: one id is told from another in any. */
static bool
read_ids_32(FILE *from, struct record *record)
{
	uint32_t id;

	if (!read_bytes(from, &id, sizeof id))
		return false;
	record->id = id;
	return true;
}

static bool
read_ids_64(FILE *from, struct record *record)
{
	return read_bytes(from, &record->id, sizeof record->id);
}

static bool
read_sized(FILE *from, struct record *record)
{
	uint64_t numbers[3];

	if (!read_line(from, numbers))
		return false;
	record->id = numbers[1];
	record->size = (uint32_t)numbers[2];
	return true;
}

static bool
read_runs(FILE *from, struct record *record)
{
	uint64_t numbers[3];

	if (!read_line(from, numbers))
		return false;
	record->id = numbers[0];
	record->count = numbers[1];
	return true;
}

static bool
read_oracle(FILE *from, struct record *record)
{
	struct __attribute__((packed)) {
		uint32_t time;
		uint64_t id;
		uint32_t size;
		int64_t next;
	} raw;

	if (!read_bytes(from, &raw, sizeof raw))
		return false;
	record->id = raw.id;
	record->size = le32toh(raw.size);
	return true;
}

static bool
read_record(enum trace_format format, FILE *from, struct record *record)
{
	static bool (*const readers[])(FILE *, struct record *) = {
		[TRACE_IDS_32] = read_ids_32,
		[TRACE_IDS_64] = read_ids_64,
		[TRACE_SIZED] = read_sized,
		[TRACE_RUNS] = read_runs,
		[TRACE_ORACLE] = read_oracle,
	};

	*record = (struct record){ .count = 1 };
	return readers[format](from, record);
}

/* ------------------------------------------------------------- numbers --- */

/* Ids to numbers of objects: open addressing, at most half full. */
struct numbers {
	uint64_t *ids;
	uint32_t *objects; /* plus 1; 0: an empty place */
	size_t places;
};

static size_t
place_of(const struct numbers *n, uint64_t id)
{
	size_t at = keys_mix(id) & (n->places - 1);

	while (n->objects[at] != 0 && n->ids[at] != id)
		at = (at + 1) & (n->places - 1);
	return at;
}

static void
numbers_free(struct numbers *n)
{
	free(n->ids);
	free(n->objects);
}

static void
numbers_grow(struct numbers *n)
{
	struct numbers old = *n;

	n->places = old.places == 0 ? 1u << 12 : old.places * 2;
	n->ids = bench_allocate(n->places * sizeof *n->ids);
	n->objects = bench_allocate(n->places * sizeof *n->objects);
	for (size_t i = 0; i < old.places; i++)
		if (old.objects[i] != 0) {
			size_t at = place_of(n, old.ids[i]);

			n->ids[at] = old.ids[i];
			n->objects[at] = old.objects[i];
		}
	numbers_free(&old);
}

/* Room for one more in an array that has `count`; it grows by powers of two. */
static void *
room_for_one(void *array, size_t count, size_t each)
{
	if ((count & (count - 1)) != 0)
		return array;
	array = realloc(array, (count == 0 ? 1 : 2 * count) * each);
	if (array == NULL)
		bench_die("out of memory");
	return array;
}

static void
add_request(struct trace *trace, struct numbers *n, uint64_t id, uint32_t size)
{
	size_t at;

	if (2 * (size_t)trace->object_count >= n->places)
		numbers_grow(n);
	at = place_of(n, id);
	if (n->objects[at] == 0) {
		trace->sizes = room_for_one(trace->sizes, trace->object_count,
		    sizeof *trace->sizes);
		trace->sizes[trace->object_count++] = size;
		n->ids[at] = id;
		n->objects[at] = trace->object_count;
	}
	trace->requests = room_for_one(trace->requests, trace->request_count,
	    sizeof *trace->requests);
	trace->requests[trace->request_count++] = n->objects[at] - 1;
}

void
trace_read(struct trace *trace, enum trace_format format, FILE *from,
    size_t most)
{
	struct numbers numbers = { 0 };
	struct record record;

	*trace = (struct trace){
		.sized = format == TRACE_SIZED || format == TRACE_ORACLE,
	};
	while (trace->request_count < most &&
	    read_record(format, from, &record))
		for (uint64_t i = 0;
		     i < record.count && trace->request_count < most; i++)
			add_request(trace, &numbers, record.id + i,
			    record.size);
	numbers_free(&numbers);
	if (trace->request_count == 0)
		bench_die("a trace without requests");
}

void
trace_free(struct trace *trace)
{
	free(trace->requests);
	free(trace->sizes);
	*trace = (struct trace){ 0 };
}

/* --------------------------------------------------------------- files --- */

static FILE *
unpack(const char *path, int *pid)
{
	const char *suffix = strrchr(path, '.');
	const char *program = strcmp(suffix, ".zst") == 0 ? "zstd" : "xz";
	int ends[2];
	FILE *from;

	if (pipe(ends) != 0)
		bench_die("pipe: %s", strerror(errno));
	*pid = bench_fork();
	if (*pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execlp(program, program, "-dc", "--", path, (char *)NULL);
		bench_die("%s: %s", program, strerror(errno));
	}
	close(ends[1]);
	from = fdopen(ends[0], "r");
	if (from == NULL)
		bench_die("fdopen: %s", strerror(errno));
	return from;
}

bool
trace_open(struct trace *trace, const struct trace_source *source,
    const char *directory, size_t most)
{
	char path[4096];
	int pid, status;
	FILE *from;

	snprintf(path, sizeof path, "%s/%s", directory, source->file);
	if (access(path, R_OK) != 0)
		return false;
	from = unpack(path, &pid);
	trace_read(trace, source->format, from, most);
	fclose(from);
	/* It may still have been writing what we do not want. */
	if (waitpid(pid, &status, 0) != pid ||
	    (status != 0 && trace->request_count < most))
		bench_die("%s could not be unpacked", path);
	return true;
}
