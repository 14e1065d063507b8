/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening, closing, and a slot for each thread that calls.
 *
 * Progress: taking a slot tries each once, and repairs what it takes from the
 * dead.  A kill leaves a slot that the next comer repairs.
 */
#include "cache.h"

#include "block.h"
#include "clock.h"
#include "counters.h"
#include "recover.h"
#include "testpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHMC_VERSION "0.1.0"

/* -------------------------------------------------------------- options -- */

static void *
heap_allocate(size_t bytes, void *arg)
{
	(void)arg;
	return malloc(bytes);
}

static void
heap_release(void *memory, void *arg)
{
	(void)arg;
	free(memory);
}

void
shmc_options_init(struct shmc_options *options, size_t struct_bytes)
{
	struct shmc_options defaults = {
		.struct_bytes = struct_bytes,
		.mode = 0600,
		.size_bytes = 64ull << 20,
		.entry_bytes = 256,
		.lease_ms = 10 * 1000,
		.wait_ms = 60 * 1000,
	};

	if (options == NULL)
		return;
	memset(options, 0, struct_bytes);
	memcpy(options, &defaults, min_u64(struct_bytes, sizeof defaults));
}

static int
options_complete(struct shmc_options *to, const struct shmc_options *from,
    struct shmc_error *error)
{
	shmc_options_init(to, sizeof *to);
	if (from != NULL && (from->struct_bytes < sizeof(size_t) ||
	    from->struct_bytes > 4096))
		return error_set(error, -EINVAL,
		    "options were not set with shmc_options_init()");
	if (from != NULL)
		memcpy(to, from, min_u64(from->struct_bytes, sizeof *to));
	if ((to->flags & ~(SHMC_CREATE | SHMC_EXCLUSIVE | SHMC_FENCES)) != 0)
		return error_set(error, -EINVAL, "unknown flags %#x",
		    to->flags);
	if ((to->flags & (SHMC_CREATE | SHMC_EXCLUSIVE)) == SHMC_EXCLUSIVE)
		return error_set(error, -EINVAL,
		    "SHMC_EXCLUSIVE says nothing without SHMC_CREATE");
	if (to->lease_ms < 1 || to->lease_ms > SEGMENT_DURATION_MAX_MS ||
	    to->wait_ms < 1 || to->wait_ms > SEGMENT_DURATION_MAX_MS)
		return error_set(error, -EINVAL,
		    "lease_ms and wait_ms must be between 1 and 2^32");
	if ((to->allocate == NULL) != (to->release == NULL))
		return error_set(error, -EINVAL,
		    "give both allocate and release, or neither");
	if (to->path != NULL && (to->path[0] == '\0' ||
	    strlen(to->path) > 4000))
		return error_set(error, -EINVAL,
		    "the path is empty or longer than 4000 bytes");
	if (to->allocate == NULL) {
		to->allocate = heap_allocate;
		to->release = heap_release;
	}
	return 0;
}

/* ----------------------------------------------------------------- open -- */

static int
verify_host(struct shmc_error *error)
{
	if (sysconf(_SC_PAGESIZE) != (long)PAGE_BYTES)
		return error_set(error, -ENOSYS,
		    "shmcache needs pages of 4 KiB");
	if (life_verify_libc() == 0)
		return 0;
	return error_set(error, -ENOSYS,
	    "this C library's robust mutexes are not as shmcache needs them");
}

/* Around a mapped segment: the process's table, and the handle is whole. */
static int
handle_finish(struct shmc *c, struct shmc **cache, struct shmc_error *error)
{
	int r;

	c->options.path = NULL;
	r = members_init(&c->members, &c->seg, &c->options);
	if (r < 0) {
		segment_unmap(&c->seg);
		return error_set(error, r, "no memory for the process's table, "
		    "or no MADV_WIPEONFORK (Linux 4.14)");
	}
	*cache = c;
	return 0;
}

/* fd < 0: by path. */
static int
open_any(struct shmc **cache, int fd, const struct shmc_options *options,
    struct shmc_error *error)
{
	struct shmc_options complete;
	struct shmc *c;
	int r;

	if (cache == NULL)
		return error_set(error, -EINVAL, "cache is NULL");
	*cache = NULL;
	r = options_complete(&complete, options, error);
	if (r == 0)
		r = verify_host(error);
	if (r < 0)
		return r;
	c = complete.allocate(sizeof *c, complete.heap_arg);
	if (c == NULL)
		return error_set(error, -ENOMEM, "no memory for the handle");
	memset(c, 0, sizeof *c);
	c->options = complete;
	r = fd >= 0 ? segment_attach_fd(&c->seg, fd, error) :
		      segment_open(&c->seg, &complete, error);
	if (r == 0)
		r = handle_finish(c, cache, error);
	if (r < 0)
		complete.release(c, complete.heap_arg);
	else if (error != NULL) /* of an attempt to attach before creating */
		*error = (struct shmc_error){ 0 };
	return r;
}

int
shmc_open(struct shmc **cache, const struct shmc_options *options,
    struct shmc_error *error)
{
	return open_any(cache, -1, options, error);
}

int
shmc_attach_fd(struct shmc **cache, int fd,
    const struct shmc_options *options, struct shmc_error *error)
{
	if (fd < 0)
		return error_set(error, -EBADF, "the descriptor is negative");
	return open_any(cache, fd, options, error);
}

int
shmc_fd(const struct shmc *cache)
{
	return cache == NULL ? -1 : cache->seg.fd;
}

/* ---------------------------------------------------------------- slots -- */

/* A slot that nobody alive holds, cleaned of what its last owner left. */
static bool
take_slot(struct shmc *cache, struct member *m)
{
	struct segment *seg = &cache->seg;

	for (uint32_t i = 0; i < seg->geo.participant_count; i++) {
		enum life_taken taken =
		    life_take(seg, &seg->participants[i], &m->life);

		if (taken == LIFE_HELD)
			continue;
		if (taken == LIFE_ERROR)
			return false;
		members_settle(&cache->members, m, i);
		if (taken == LIFE_DEAD) {
			recover_repair(m, i);
			count(m->slot, COUNT_REAPED);
		}
		TESTPOINT("cache_attached");
		return true;
	}
	return false;
}

/* All are held: some perhaps by dead that nobody noticed. */
static bool
probe_slots(struct shmc *cache)
{
	uint64_t pid_namespace = life_namespace();

	for (uint32_t i = 0; i < cache->seg.geo.participant_count; i++)
		life_probe(&cache->seg.participants[i], pid_namespace);
	return pid_namespace != 0;
}

struct member *
cache_enlist(struct shmc *cache)
{
	struct member *m = members_enlist(&cache->members);

	if (m == NULL)
		return NULL;
	if (take_slot(cache, m) || (probe_slots(cache) && take_slot(cache, m)))
		return m;
	members_leave(&cache->members, m);
	return NULL;
}

static void
give_up_slot(struct shmc *cache, struct member *m)
{
	/* What a dead one would leave, views and leads too, we give back. */
	recover_repair(m, m->index);
	TESTPOINT("cache_detached");
	members_unsettle(&cache->members, m);
	life_release(&m->life);
	members_leave(&cache->members, m);
}

int
shmc_detach_thread(struct shmc *cache)
{
	struct member *m;

	if (cache == NULL)
		return -EINVAL;
	m = members_current(&cache->members);
	if (m == NULL)
		return 0;
	if (m->views > 0 || m->leads > 0)
		return -EBUSY;
	give_up_slot(cache, m);
	return 0;
}

void
shmc_close(struct shmc *cache)
{
	struct shmc_options options;
	struct member *m;

	if (cache == NULL)
		return;
	m = members_current(&cache->members);
	if (m != NULL)
		give_up_slot(cache, m);
	members_fini(&cache->members);
	segment_unmap(&cache->seg);
	options = cache->options;
	options.release(cache, options.heap_arg);
}

unsigned
shmc_reap(struct shmc *cache)
{
	struct member *m = cache == NULL ? NULL : cache_member(cache);

	return m == NULL ? 0 : recover_reap_all(m);
}

/* ----------------------------------------------------------------- small -- */

uint64_t
cache_expiry(const struct segment *seg, uint64_t ttl_ms)
{
	if (ttl_ms == 0)
		return 0;
	/* The coarse clock is behind: an entry lives at least its ttl. */
	return min_u64(segment_now_ms(seg) + 1 +
	    min_u64(ttl_ms, ENTRY_EXPIRY_MAX), ENTRY_EXPIRY_MAX);
}

const char *
shmc_version(void)
{
	return SHMC_VERSION;
}
