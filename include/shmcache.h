/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shmcache: a lock-free cache in a mmap'd segment that preforked workers
 * share.  On a miss exactly one process computes the entry; the others sleep
 * on the futex word of its flight and get the result.
 *
 * Conventions
 *   Keys and values are bytes.  Empty ones are legal, a NUL is a byte.
 *   Units stand last in names: _ms, _ns, _bytes.  Durations are relative,
 *   deadlines are absolute CLOCK_MONOTONIC nanoseconds.
 *   Set-up calls return 0 or -errno and explain themselves in a shmc_error.
 *   Cache calls return an enum shmc_status; a miss is not an error.
 *
 * Threads  Every call may be made from any thread, except that a view, a lead
 *          and shmc_close() belong to one thread at a time.  A thread takes a
 *          participant slot on its first call.  No call is async-signal-safe.
 * Fork     A child may use the handle at once; it takes its own slot on its
 *          first call.  Views and leads stay with the parent: in the child
 *          they are dead and every call on them answers SHMC_FENCED.
 * Crash    A process may be killed at any instruction of any call.  What it
 *          held is given back by whoever next stumbles over it; what each
 *          call leaves behind is said at the call, under "Killed".
 */
#ifndef SHMCACHE_H
#define SHMCACHE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHMC_API __attribute__((visibility("default")))
#define SHMC_MUST_USE __attribute__((warn_unused_result))
#else
#define SHMC_API
#define SHMC_MUST_USE
#endif

#define SHMC_KEY_MAX 65535u /* bytes in the longest key */
#define SHMC_VIEWS_MAX 16u  /* views that one thread can hold at a time */

/* One process's handle on a segment. */
struct shmc;

/* What a cache call ended with. */
enum shmc_status {
	SHMC_OK = 0,	    /* done; for reads: here is the value */
	SHMC_MISS = 1,	    /* no such entry */
	SHMC_LEAD = 2,	    /* begin: you compute */
	SHMC_ABANDONED = 3, /* the loader ended without a value */
	SHMC_TIMEOUT = 4,   /* the deadline passed while waiting */
	SHMC_DEADLOCK = 5,  /* waiting would close a cycle of leaders */
	SHMC_FENCED = 6,    /* the lead or view is no longer yours; nothing changed */
	SHMC_TRUNCATED = 7, /* the buffer is too small; the size needed is told */
	SHMC_TOO_LARGE = 8, /* key or value beyond the segment's limit */
	SHMC_NO_MEMORY = 9, /* all memory is pinned or being written */
	SHMC_BUSY = 10,	    /* no free participant slot, flight or view cell */
	SHMC_INVALID = 11,  /* an argument is wrong; nothing was done */
	SHMC_STALE = 12,    /* get: here is the value, past its ttl, within grace */
	SHMC_ERROR = 13,    /* the loader's error, remembered or shared */
	SHMC_ABSENT = 14,   /* the loader found that there is no such thing */
	SHMC_OTHER = 15,    /* the entry is not as expected; nothing was stored */
	SHMC_OVERFLOW = 16, /* too many wait for this key already */
};

/* How the caller came by a value (struct shmc_view, role). */
enum shmc_role {
	SHMC_ROLE_NONE = 0,
	SHMC_ROLE_HIT = 1,	/* it was there */
	SHMC_ROLE_LED = 2,	/* this caller computed it */
	SHMC_ROLE_SHARED = 3,	/* another participant did, while we slept */
	SHMC_ROLE_PROMOTED = 4, /* we slept, the leader fell, we computed it */
	SHMC_ROLE_STALE = 5,	/* an older value, while or because no newer is there */
	SHMC_ROLE_PASSED = 6,	/* we computed our own copy, for nobody else */
};

/* Bits of struct shmc_view, flags. */
#define SHMC_SUPERSEDED 1u /* overtaken by a put, delete or invalidate: not stored */
#define SHMC_UNSTORED 2u   /* shared, but not stored for another reason */

/* Why a set-up call failed, in words that name the remedy. */
struct shmc_error {
	int code; /* the -errno that the call returned */
	char text[252];
};

/* ------------------------------------------------------------ segment --- */

/* Bits of struct shmc_options, flags. */
#define SHMC_CREATE 1u	  /* create the segment if there is none */
#define SHMC_EXCLUSIVE 2u /* with SHMC_CREATE: fail with -EEXIST if there is one */
#define SHMC_FENCES 4u	  /* create: readers pay a fence instead of membarrier(2) */

/* Set every field with shmc_options_init(), then change what you want. */
struct shmc_options {
	size_t struct_bytes;   /* sizeof(struct shmc_options), set by init */
	const char *path;      /* the segment's file; NULL: an anonymous memfd */
	uint32_t flags;	       /* SHMC_CREATE | ... */
	uint32_t mode;	       /* permission bits of a new file; 0600 */
	uint64_t size_bytes;   /* a new segment's size; 64 MiB, at least 1 MiB */
	uint32_t participants; /* threads attached at once; 128, at most 4000 */
	uint32_t entry_bytes;  /* expected mean of key + value; 256 */
	uint64_t lease_ms;     /* how long a leader may go without a sign; 10 s */
	uint64_t wait_ms;      /* longest wait for another's result; 60 s */
	/* The heap for the handle and per-thread records.  NULL: malloc, free. */
	void *(*allocate)(size_t bytes, void *arg);
	void (*release)(void *memory, void *arg);
	void *heap_arg;
};

/*
 * Fills *options with the defaults given above.  struct_bytes is the caller's
 * sizeof(struct shmc_options), so that older callers keep working.
 */
SHMC_API void shmc_options_init(struct shmc_options *options,
    size_t struct_bytes);

/*
 * Opens the segment at options->path, creating it first if SHMC_CREATE is set
 * and nothing is there; with a NULL path creates an anonymous one, which
 * children inherit over fork.  Geometry options matter only to the creator.
 *
 * Returns 0 and a handle in *cache, or -errno, a reason in *error (which may
 * be NULL) and nothing changed:
 *   -EINVAL     an option is out of range
 *   -ENOENT     nothing there and SHMC_CREATE not set
 *   -EEXIST     SHMC_EXCLUSIVE and something there
 *   -ELOOP, -EISDIR, -ENOTSUP  the path is a symlink, a directory, no regular file
 *   -EPERM      somebody else's file, or more people can write than `mode` says
 *   -ENOSPC     the file system is too full (all memory is reserved at once)
 *   -EFBIG      RLIMIT_FSIZE forbids a file of size_bytes
 *   -EPROTO     not a shmcache segment, or truncated, or damaged
 *   -ESTALE     written by another layout of shmcache, before the last boot, or
 *               in another time namespace
 *   -ENOSYS     the kernel lacks what the segment needs
 *   -EBUSY      every participant slot is taken by the living
 *
 * Killed: nothing, or a whole segment.  Two creators at once: one creates,
 * the other attaches.
 */
SHMC_API SHMC_MUST_USE int shmc_open(struct shmc **cache,
    const struct shmc_options *options, struct shmc_error *error);

/*
 * Attaches to the segment behind the descriptor fd: an inherited memfd
 * (shmc_fd()) or an opened file.  The descriptor stays the caller's.
 * Only the heap fields of options are used; options may be NULL.
 * Returns as shmc_open().
 */
SHMC_API SHMC_MUST_USE int shmc_attach_fd(struct shmc **cache, int fd,
    const struct shmc_options *options, struct shmc_error *error);

/* The descriptor of the segment, for shmc_attach_fd() elsewhere; close-on-exec. */
SHMC_API int shmc_fd(const struct shmc *cache);

/*
 * Gives up the calling thread's slot and unmaps the segment.  The contents
 * stay for the others (an anonymous segment goes with its last user).  Other
 * threads of the process must have stopped using the handle; slots that they
 * still hold are reaped when those threads end.  NULL is ignored.
 * Killed: the slot is reaped by others.
 */
SHMC_API void shmc_close(struct shmc *cache);

/*
 * Gives up the calling thread's slot early: a thread that goes on living but
 * needs the cache no more.  It takes a new one if it calls again.
 * Returns 0, or -EBUSY while the thread holds views or leads.
 */
SHMC_API int shmc_detach_thread(struct shmc *cache);

/* -------------------------------------------------------------- views --- */

/*
 * A value in place.  It stays readable and unchanged until it is released,
 * whatever happens to the entry: overwriting, deletion, eviction.
 * Killed: the pin is void once the slot is reaped.
 */
struct shmc_view {
	const void *data;   /* its first piece; never NULL after SHMC_OK */
	size_t piece_bytes; /* bytes at data; all of them unless it is large */
	size_t size_bytes;  /* of the whole value */
	uint64_t waited_ns; /* how long the caller slept for it */
	uint64_t version;   /* unlike that of any other value of the key: SHMC_IF_VERSION */
	uint32_t role;	    /* enum shmc_role */
	uint32_t flags;	    /* SHMC_SUPERSEDED | ... */
	int32_t error;	    /* after SHMC_ERROR: the loader's code; data: its message */
	uint32_t served;    /* to a leader: how many callers joined its flight */
	uint64_t opaque[6];
};

/*
 * The contiguous bytes of a view from `offset` on: their address in *data,
 * their number in *bytes; 0 of them at the end.  A large value is read by
 * calling this with growing offsets.
 * Returns SHMC_OK; SHMC_INVALID beyond the end; SHMC_FENCED after a fork.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_view_piece(
    struct shmc_view *view, size_t offset, const void **data,
    size_t *bytes);

/*
 * Copies up to buffer_bytes of the value into buffer, returns how many.
 */
SHMC_API size_t shmc_view_copy(const struct shmc_view *view, void *buffer,
    size_t buffer_bytes);

/*
 * Ends a view and clears it, in the thread that opened it.  A cleared view may
 * be released again.
 */
SHMC_API void shmc_view_release(struct shmc_view *view);

/* -------------------------------------------------------------- store --- */

/*
 * Copies the value of a key into buffer and its size into *value_bytes.
 * SHMC_OK; SHMC_STALE; SHMC_MISS; SHMC_ABSENT; SHMC_ERROR (the message is
 * copied); SHMC_TRUNCATED (nothing copied, *value_bytes told); SHMC_BUSY;
 * SHMC_INVALID; SHMC_TOO_LARGE.  Wait-free but for retries after a revocation.
 * buffer may be NULL if buffer_bytes is 0.  Killed: nothing is left.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_get(struct shmc *cache,
    const void *key, size_t key_bytes, void *buffer, size_t buffer_bytes,
    size_t *value_bytes);

/*
 * The same without copying.  SHMC_OK: *view is to be released; its role is HIT
 * or STALE.  SHMC_ERROR: *view holds code and message, and is to be released.
 * SHMC_MISS; SHMC_ABSENT; SHMC_BUSY (also: SHMC_VIEWS_MAX views are open);
 * SHMC_INVALID; SHMC_TOO_LARGE.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_view(struct shmc *cache,
    const void *key, size_t key_bytes, struct shmc_view *view);

/*
 * Stores a value for ttl_ms (0: until evicted).  A computation of the same
 * key in flight is superseded: its waiters are served, it is not stored.
 * SHMC_OK; SHMC_TOO_LARGE; SHMC_NO_MEMORY; SHMC_BUSY; SHMC_INVALID: in every
 * case but SHMC_OK the old value stays.
 * Killed: the old value or the new one, never a mixture.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_put(struct shmc *cache,
    const void *key, size_t key_bytes, const void *value, size_t value_bytes,
    uint64_t ttl_ms);

/* How long a value is good, and what else goes with it. */
struct shmc_terms {
	size_t struct_bytes;	 /* sizeof(struct shmc_terms) */
	uint64_t ttl_ms;	 /* fresh so long; 0: until evicted */
	uint64_t grace_ms;	 /* then stale: served while one refreshes */
	uint64_t keep_ms;	 /* then kept: served if the refresh fails */
	uint32_t jitter_percent; /* ttl shorter or longer by up to so much; at most 50 */
	uint32_t tag_count;	 /* at most SHMC_TAGS_MAX */
	const char *const *tags; /* names: shmc_invalidate_tag() */
};

#define SHMC_TERMS_INIT { sizeof(struct shmc_terms), 0, 0, 0, 0, 0, NULL }
#define SHMC_TAGS_MAX 8u

/* When shmc_store() stores. */
enum shmc_if {
	SHMC_ALWAYS = 0,
	SHMC_IF_ABSENT = 1,  /* add: nothing is there, or it expired */
	SHMC_IF_PRESENT = 2, /* replace: something is there */
	SHMC_IF_VERSION = 3, /* compare and swap: this version is there */
};

/*
 * shmc_put() with terms (NULL: none) and a condition.  version counts with
 * SHMC_IF_VERSION only: struct shmc_view, version.
 * SHMC_OTHER: the condition does not hold; otherwise as shmc_put().
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_store(struct shmc *cache,
    const void *key, size_t key_bytes, const void *value, size_t value_bytes,
    const struct shmc_terms *terms, enum shmc_if condition, uint64_t version);

/*
 * Called by shmc_update() with the key's value (NULL: it has none), perhaps
 * several times.  It points *value at the new one, which must live until
 * shmc_update() returns, sets *value_bytes, and answers 1; 0: leave it.
 */
typedef int shmc_updater(const struct shmc_view *old, const void **value,
    size_t *value_bytes, void *arg);

/*
 * Get and update: computes the new value from the old one and stores it if
 * nobody else has meanwhile, else again.  Lock-free.
 * SHMC_OK: stored; SHMC_OTHER: the updater left it; SHMC_FENCED, nothing
 * stored: we are a child that was forked in the updater; otherwise as shmc_put().
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_update(struct shmc *cache,
    const void *key, size_t key_bytes, shmc_updater *updater, void *arg,
    const struct shmc_terms *terms);

/*
 * Adds delta (negative: subtracts) to a counter: a value of 8 bytes, an int64_t in the machine's
 * order.  It wraps.  A missing one starts at initial, for ttl_ms; one that is
 * there keeps its terms.  *result (may be NULL) is the sum.
 * SHMC_OK; SHMC_OTHER: the value has another size; otherwise as shmc_put().
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_incr(struct shmc *cache,
    const void *key, size_t key_bytes, int64_t delta, int64_t initial,
    uint64_t ttl_ms, int64_t *result);

/*
 * Gives the key's value a new ttl_ms, from now; other terms stay.
 * SHMC_OK; SHMC_MISS; otherwise as shmc_put().
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_touch(struct shmc *cache,
    const void *key, size_t key_bytes, uint64_t ttl_ms);

/* One key of shmc_get_many(): the fields of shmc_get(). */
struct shmc_item {
	const void *key;
	size_t key_bytes;
	void *buffer;
	size_t buffer_bytes;
	size_t value_bytes;	 /* out */
	enum shmc_status status; /* out: as shmc_get() answers */
};

/*
 * shmc_get() of many keys at once, whose memory is fetched together: at a
 * million entries a fraction of the time of single gets.
 * Returns how many answered SHMC_OK.
 */
SHMC_API size_t shmc_get_many(struct shmc *cache, struct shmc_item *items,
    size_t count);

/*
 * Makes every entry stored with this tag a miss: those whose computation, or
 * the call that stored them, began before this one.  Who asks from now on is not
 * served by such a computation in flight.  Takes a moment however many they
 * are.  Two names may share a place in the segment's table, and then go together.
 * A namespace is a tag that all its keys are stored with.
 * SHMC_OK; SHMC_INVALID.  Killed: done or not.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_invalidate_tag(
    struct shmc *cache, const char *tag);

/*
 * Makes every entry a miss, and every computation in flight unstored.  Takes a
 * moment however many they are; their memory is reused in its turn.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_flush(struct shmc *cache);

/*
 * Called for each entry.  Key and value point into the segment and stay until it
 * returns; a key longer than a quarter of a block is given as NULL.  It may call
 * the cache.  0: stop; else go on.
 */
typedef int shmc_visitor(const void *key, size_t key_bytes,
    const struct shmc_view *value, void *arg);

/*
 * Visits the values in part of the segment, blocking nobody: from *cursor (0
 * at first) on at most `most` places of the index.  An entry that is there from
 * the first call to the last is visited; one that comes or goes meanwhile,
 * perhaps.  Returns 1 if there is more, 0 at the end or when told to stop,
 * -EBUSY, -EINVAL.
 */
SHMC_API SHMC_MUST_USE int shmc_iterate(struct shmc *cache, uint64_t *cursor,
    size_t most, shmc_visitor *visitor, void *arg);

/*
 * Removes a key.  A computation in flight is superseded, and who asks from
 * now on does not join it but starts anew.
 * SHMC_OK: it was there; SHMC_MISS: it was not; SHMC_BUSY; SHMC_INVALID.
 * Killed: the entry is there or not.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_delete(struct shmc *cache,
    const void *key, size_t key_bytes);

/*
 * What the key's value was made from has changed: as shmc_delete(), but
 * SHMC_OK also if nothing was there.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_invalidate(struct shmc *cache,
    const void *key, size_t key_bytes);

/* ------------------------------------------------------------- flights -- */

/*
 * A leader's right to end one computation.  Opaque; belongs to one thread; it
 * and the key's bytes stay where they are until it ends.
 */
struct shmc_lead {
	uint64_t opaque[48];
};

/* What to do when no result can be waited for. */
enum shmc_or {
	SHMC_OR_FAIL = 0,    /* SHMC_TIMEOUT, SHMC_OVERFLOW */
	SHMC_OR_STALE = 1,   /* an older value if there is one, else fail */
	SHMC_OR_COMPUTE = 2, /* compute an own copy, not stored */
};

/* How to wait; NULL wherever one is taken means all defaults. */
struct shmc_wait {
	size_t struct_bytes;  /* sizeof(struct shmc_wait) */
	uint64_t deadline_ns; /* absolute CLOCK_MONOTONIC; 0: now + segment's wait_ms */
	uint64_t lease_ms;    /* if we come to lead; 0: the segment's */
	uint32_t max_waiters; /* more of one key do not wait; 0: any number */
	uint32_t on_timeout;  /* enum shmc_or: the deadline has passed */
	uint32_t on_overflow; /* enum shmc_or: max_waiters wait already */
	/*
	 * Refresh before the ttl ends, the earlier the longer a computation
	 * takes: beta of XFetch (Vattani, Chierichetti and Lowenstein, VLDB
	 * 2015) in per cent; 0: never early; 100 is their choice.
	 */
	uint32_t early_percent;
};

/* SHMC_WAIT_INIT: a struct shmc_wait with all defaults. */
#define SHMC_WAIT_INIT { sizeof(struct shmc_wait), 0, 0, 0, 0, 0, 0 }

/*
 * The user's function that computes a missing value.  It ends the lead with
 * exactly one of shmc_lead_commit(), _value(), _share(), _error(), _absent(),
 * _pass(), _refresh(), _abandon(); returning without having done so abandons.  It may call the cache, for
 * other keys too; asking for its own key answers SHMC_DEADLOCK.
 */
typedef void shmc_loader(struct shmc_lead *lead, void *arg);

/*
 * The value of a key, computed if it is missing: by one caller over all
 * processes, while the others sleep.
 * SHMC_OK: *view holds it and is to be released; view->role says how we came
 * by it.  SHMC_ERROR: the loader's error, ours or another's; *view holds code
 * and message and is to be released.  SHMC_ABSENT.  SHMC_ABANDONED: we led and
 * the loader gave up, and no older value is kept.  SHMC_TIMEOUT, SHMC_OVERFLOW,
 * SHMC_DEADLOCK, SHMC_BUSY, SHMC_NO_MEMORY, SHMC_TOO_LARGE, SHMC_INVALID.
 * SHMC_FENCED: we led, lost the lease, and our result was refused.
 * Killed as leader: one waiter is promoted.  Killed as waiter: nobody notices.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_fetch(struct shmc *cache,
    const void *key, size_t key_bytes, const struct shmc_wait *wait,
    shmc_loader *loader, void *arg, struct shmc_view *view);

/*
 * The first half of shmc_fetch(): looks up, joins or leads.
 * SHMC_OK: *view as above.  SHMC_LEAD: compute, then end *lead; shmc_lead_old()
 * is the older value, to be served at once if it is only stale.  Otherwise as
 * shmc_fetch().
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_begin(struct shmc *cache,
    const void *key, size_t key_bytes, const struct shmc_wait *wait,
    struct shmc_view *view, struct shmc_lead *lead);

/*
 * Adds bytes to the value, straight into shared memory; its length need not
 * be known.  SHMC_OK; SHMC_FENCED: no longer leader; SHMC_TOO_LARGE or
 * SHMC_NO_MEMORY: the value cannot be stored, the lead goes on and can only
 * be abandoned.  Killed: the pieces are given back by the reaper.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_append(
    struct shmc_lead *lead, const void *data, size_t bytes);

/*
 * Ends the lead with what was appended, for ttl_ms (0: until evicted): stores
 * it and serves every waiter.  view, if not NULL, gets the value.
 * SHMC_OK; SHMC_FENCED: refused, somebody else leads now; SHMC_NO_MEMORY:
 * abandoned.  Whatever it answers, the lead is over.
 * Killed: not committed and promoted, or committed and served.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_commit(
    struct shmc_lead *lead, uint64_t ttl_ms, struct shmc_view *view);

/* shmc_lead_append() and shmc_lead_commit() in one; what was appended before is dropped. */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_value(
    struct shmc_lead *lead, const void *value, size_t value_bytes,
    uint64_t ttl_ms, struct shmc_view *view);

/* What the value to come is to be stored with, besides its ttl_ms. */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_terms(
    struct shmc_lead *lead, const struct shmc_terms *terms);

/*
 * The older value that the lead is to replace, to revalidate it or to serve it;
 * NULL: none.  Its role is STALE within grace, NONE beyond.  It is released with
 * the lead.
 */
SHMC_API struct shmc_view *shmc_lead_old(struct shmc_lead *lead);

/*
 * Other endings; each answers as shmc_lead_commit().
 * share: what was appended goes to the waiters and is not stored.
 * error: the backend said no: shared, and remembered for ttl_ms (0: not).
 * absent: there is no such thing: shared, and remembered for ttl_ms (0: not).
 * pass: what was appended is the caller's own; this key cannot be shared: for
 *	ttl_ms (0: only who waits now) everybody computes for himself, at most
 *	fan_out (1 to 64) at a time.
 * refresh: the older value is still right: stored once more, for ttl_ms, with
 *	the terms that it had, or those of shmc_lead_terms().  SHMC_MISS and the
 *	lead goes on: there is none.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_share(
    struct shmc_lead *lead, struct shmc_view *view);
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_error(
    struct shmc_lead *lead, int32_t code, const char *message,
    uint64_t ttl_ms);
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_absent(
    struct shmc_lead *lead, uint64_t ttl_ms);
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_pass(
    struct shmc_lead *lead, uint32_t fan_out, uint64_t ttl_ms,
    struct shmc_view *view);
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_refresh(
    struct shmc_lead *lead, uint64_t ttl_ms, struct shmc_view *view);

/*
 * Ends the lead without a value: one waiter is promoted; with none the flight
 * is freed.  Ignored if the lead is over.
 */
SHMC_API void shmc_lead_abandon(struct shmc_lead *lead);

/*
 * Heartbeat: the lease runs for lease_ms from now (0: the segment's default).
 * SHMC_OK; SHMC_FENCED: it had run out and somebody else leads.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lead_extend(
    struct shmc_lead *lead, uint64_t lease_ms);

/* How many callers wait for this lead now; 0 also if the lead is over. */
SHMC_API unsigned shmc_lead_waiters(const struct shmc_lead *lead);

/*
 * Lets the present waiters have the result of the key's flight, and nobody else:
 * the next caller starts a new one (singleflight's Forget).  The old result is
 * stored only if nothing newer was.  SHMC_OK; SHMC_INVALID; SHMC_TOO_LARGE.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_detach(struct shmc *cache,
    const void *key, size_t key_bytes);

/* One key of shmc_fetch_many(). */
struct shmc_fetch_item {
	const void *key;
	size_t key_bytes;
	void *arg;		 /* for the loader */
	struct shmc_view view;	 /* out */
	struct shmc_lead lead;	 /* for the loader */
	enum shmc_status status; /* in the loader: SHMC_LEAD: yours; out: as shmc_fetch() */
};

/*
 * Computes all items whose status is SHMC_LEAD, ending each one's lead.  Called
 * with all that nobody else computes; then for single ones whose leader fell.
 */
typedef void shmc_many_loader(struct shmc_fetch_item *items, size_t count,
    void *arg);

/*
 * shmc_fetch() of up to SHMC_VIEWS_MAX keys: one call of the loader for all that
 * are missing and that nobody computes; then waits for those that others do.
 * Returns how many answered SHMC_OK.  Each view is to be released.
 */
SHMC_API size_t shmc_fetch_many(struct shmc *cache,
    struct shmc_fetch_item *items, size_t count, const struct shmc_wait *wait,
    shmc_many_loader *loader, void *arg);

/* -------------------------------------------------------------- leases --- */

/* A lock over processes that its holder's death releases.  Opaque. */
struct shmc_lease {
	uint64_t token; /* grows with every acquisition in the segment: a fencing token */
	uint64_t opaque[8];
};

/*
 * Takes the lock of this name, waiting until wait->deadline_ns (a deadline
 * in the past: only if it is free now).  It is lost after wait->lease_ms
 * without shmc_lease_extend(), and by the holder's death; then another
 * may have it, with a larger token.
 * SHMC_OK; SHMC_TIMEOUT; SHMC_DEADLOCK; SHMC_BUSY; SHMC_TOO_LARGE; SHMC_INVALID.
 */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lease_acquire(
    struct shmc *cache, const void *name, size_t name_bytes,
    const struct shmc_wait *wait, struct shmc_lease *lease);

/* SHMC_OK; SHMC_FENCED: it was lost, somebody else may have it. */
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lease_extend(
    struct shmc_lease *lease, uint64_t lease_ms);
SHMC_API SHMC_MUST_USE enum shmc_status shmc_lease_release(
    struct shmc_lease *lease);

/* ------------------------------------------------------------- figures -- */

/* Counters over the segment's whole life, all participants, dead ones too. */
struct shmc_stats {
	uint64_t hits;		/* get, view, begin, fetch: it was there */
	uint64_t misses;	/* ... it was not */
	uint64_t puts;
	uint64_t deletes;	/* entries removed by delete and invalidate */
	uint64_t computations;	/* leads begun */
	uint64_t commits;	/* leads ended with a value */
	uint64_t shared;	/* results taken from another's flight */
	uint64_t promotions;	/* leads taken over from a fallen leader */
	uint64_t abandons;	/* leads given up by their owner */
	uint64_t fenced;	/* late calls of former leaders, refused */
	uint64_t superseded;	/* results not stored: something newer came */
	uint64_t timeouts;	/* waits given up at their deadline */
	uint64_t deadlocks;	/* waits refused: they would have closed a cycle */
	uint64_t waits;		/* times a caller went to sleep */
	uint64_t evicted_entries; /* to make room */
	uint64_t evicted_blocks;
	uint64_t displaced;	/* entries given up for a line of the index that was full */
	uint64_t refused;	/* puts and commits that failed for want of memory */
	uint64_t revoked;	/* read sections cut short to free memory */
	uint64_t retries;	/* reads begun again because of that */
	uint64_t reaped;	/* dead participants cleaned up after */
	uint64_t stale_hits;	/* older values served, or kept ones */
	uint64_t passes;	/* own copies computed: PASS, timeout, overflow */
	uint64_t errors;	/* leads ended with an error or absence */
	uint64_t overflows;	/* waits refused: max_waiters */
	uint64_t early;		/* refreshes begun before the ttl was over */
	uint64_t doubtful;	/* words found in the segment that cannot be */
};

/*
 * Sums the counters of all participants into *stats (stats_bytes: the
 * caller's sizeof).  Each is exact once its participants are quiet.
 */
SHMC_API void shmc_stats(struct shmc *cache, struct shmc_stats *stats,
    size_t stats_bytes);

/* The segment's shape, as its creator chose it. */
struct shmc_info {
	uint64_t size_bytes;	/* of the segment */
	uint64_t data_bytes;	/* of it, for entries */
	uint64_t block_bytes;
	uint64_t block_count;
	uint64_t index_slots;
	uint64_t value_max_bytes;
	uint32_t participants;
	uint32_t flights;
	uint32_t fences;	/* 1: readers fence, no membarrier */
};

SHMC_API void shmc_info(const struct shmc *cache, struct shmc_info *info,
    size_t info_bytes);

/* A finding of shmc_audit(); called once for each. */
typedef void shmc_finding(const char *sentence, void *arg);

/*
 * Checks every structure of the segment against its invariants while it is
 * quiet.  Repairs nothing.  Returns the number of findings; leftovers of the
 * dead that a reaper will return are none.
 */
SHMC_API SHMC_MUST_USE unsigned shmc_audit(struct shmc *cache,
    shmc_finding *finding, void *arg);

/* Cleans up after dead participants now; returns how many.  Never needed. */
SHMC_API unsigned shmc_reap(struct shmc *cache);

/* The library's version, "MAJOR.MINOR.PATCH". */
SHMC_API const char *shmc_version(void);

#ifdef __cplusplus
}
#endif
#endif
