/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process that lives on: what it can do after a death, and what it finds.
 *
 * It has a slot before the victim and stumbles over what the victim left; or it
 * comes afterwards and takes the victim's slot, which it then has to repair.
 */
#include "scene.h"

#include "block.h"
#include "flight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What one death may leave, besides what the state came with. */
#define BLOCKS_LEFT_MAX 8u /* two logs, a spare, pieces, one being evicted */
#define FLIGHTS_LEFT_MAX 3u

static unsigned char buffer[LARGE_BYTES];

static void
finding(const char *sentence, void *arg)
{
	wrong("%s: %s", (const char *)arg, sentence);
}

static void
audit(const char *when)
{
	(void)!shmc_audit(scene.cache, finding, (void *)(uintptr_t)when);
}

/* ------------------------------------------------------------ looking --- */

/* The size that a version of the key's value has; 0: none. */
static size_t
size_of(uint64_t version)
{
	switch (version) {
	case OLD:
		return scene.state->old_bytes;
	case NEW:
		return scene.new_bytes;
	case ACTOR:
	case OTHERS:
	case JUDGE:
		return SMALL_BYTES;
	default:
		return 0;
	}
}

static uint32_t
outcome_of(size_t bytes)
{
	uint64_t version = value_check(buffer, bytes, KEY_ID);

	if (version > JUDGE || size_of(version) != bytes) {
		wrong("the key has %zu bytes of no value (version %#llx)", bytes,
		    (unsigned long long)version);
		return 0;
	}
	return version == OLD ? IS_OLD : version == NEW ? IS_NEW :
	    version == ACTOR  ? IS_ACTOR : version == OTHERS ? IS_OTHERS :
							       IS_JUDGE;
}

static uint32_t
look(void)
{
	size_t bytes = 0;

	switch (shmc_get(scene.cache, KEY, KEY_BYTES, buffer, sizeof buffer,
	    &bytes)) {
	case SHMC_OK:
	case SHMC_STALE:
		return outcome_of(bytes);
	case SHMC_MISS:
		return IS_MISS;
	case SHMC_ABSENT:
		return IS_ABSENT;
	case SHMC_ERROR:
		return IS_ERROR;
	default:
		wrong("get is refused");
		return 0;
	}
}

static void
expect(uint32_t allowed, const char *when)
{
	uint32_t is = look();

	if (is != 0 && (is & allowed) == 0)
		wrong("%s: outcome %#x, allowed %#x", when, is, allowed);
}

/* ----------------------------------------------------------- bystanders --- */

/* 1: it is there; 0: it is not. */
static unsigned
look_at_bystander(const struct bystander *b)
{
	size_t bytes = 0;

	if (shmc_get(scene.cache, b->key, strlen(b->key), buffer,
		sizeof buffer, &bytes) != SHMC_OK)
		return 0;
	if (bytes != b->bytes || value_check(buffer, bytes, b->id) != OLD)
		wrong("%s: wrong bytes", b->key);
	return 1;
}

/* Nothing else that was there has gone, but for want of room. */
static void
look_at_bystanders(void)
{
	unsigned there = 0, tagged = 0, near = 0;
	uint32_t flags = scene.operation->flags;

	for (unsigned i = 0; i < bystander_count; i++) {
		const struct bystander *b = &bystanders[i];
		unsigned found = look_at_bystander(b);

		there += found;
		tagged += !found && b->tagged;
		near += !found && strncmp(b->key, "near", 4) == 0;
	}
	if ((scene.state->flags & STATE_FULL) != 0 ||
	    scene.aged)
		return;
	if ((flags & OPERATION_FLUSH) != 0 && there == 0)
		return;
	if ((flags & OPERATION_TAG) != 0)
		there += tagged;
	/* One word of a full pair is given up for another key. */
	if ((scene.state->flags & STATE_LINE_FULL) != 0 && near == 1)
		there++;
	if (there != bystander_count)
		wrong("%u of %u other entries are left", there,
		    bystander_count);
}

/* --------------------------------------------------------------- limits --- */

static void
limits_hold(uint64_t mine)
{
	struct holdings held = holdings_of_others(scene.seg,
	    scene.living | mine);
	unsigned deaths = 1 + ((scene.state->flags & STATE_ACTOR_DIES) != 0);

	if (held.slots > scene.before.slots + deaths)
		wrong("%u slots are held by the dead", held.slots);
	if (held.blocks > scene.before.blocks + BLOCKS_LEFT_MAX)
		wrong("%u blocks are held by the dead", held.blocks);
	if (held.flights > scene.before.flights + FLIGHTS_LEFT_MAX)
		wrong("%u flights are held by the dead", held.flights);
}

/* -------------------------------------------------------------- fetching -- */

static unsigned loads;

static void
load(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	loads++;
	if (shmc_lead_value(lead, key_value(JUDGE), SMALL_BYTES, 0, NULL) !=
	    SHMC_OK)
		wrong("the judge's value was refused");
}

/* Waits as long as it takes, within reason. */
static enum shmc_status
fetch(const char *key, size_t key_bytes)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;
	enum shmc_status status;

	wait.deadline_ns = now_ns() + (uint64_t)DEADLINE_S * 500000000u;
	loads = 0;
	status = shmc_fetch(scene.cache, key, key_bytes, &wait, load, NULL,
	    &view);
	shmc_view_release(&view);
	return status;
}

static void
must(enum shmc_status status, enum shmc_status expected, const char *what)
{
	if (status != expected)
		wrong("%s answered %d", what, (int)status);
}

/* What the dead one was about to compute is computed, by us. */
static void
fetch_now(void)
{
	enum shmc_status status = fetch(KEY, KEY_BYTES);
	size_t bytes;

	if (status == SHMC_ABSENT || status == SHMC_ERROR)
		return; /* remembered: expect() has looked at it */
	must(status, SHMC_OK, "fetch");
	if (loads > 0 && atomic_load(&scene.desk->shared) > 0 &&
	    (scene.operation->after & IS_NEW) != 0)
		wrong("what others have got is computed once more");
	if (loads == 0 && shmc_get(scene.cache, KEY, KEY_BYTES, buffer,
		sizeof buffer, &bytes) == SHMC_STALE)
		wrong("nobody refreshes a stale value");
}

static void
use_key(void)
{
	enum shmc_status status;

	fetch_now();
	status = shmc_delete(scene.cache, KEY, KEY_BYTES);
	if (status != SHMC_OK && status != SHMC_MISS)
		wrong("delete answered %d", (int)status);
	expect(IS_MISS, "after delete");
	must(fetch(KEY, KEY_BYTES), SHMC_OK, "fetch after delete");
	if (loads != 1)
		wrong("fetch after delete computed %u times", loads);
	expect(IS_JUDGE, "after fetch");
	must(shmc_put(scene.cache, KEY, KEY_BYTES, key_value(OTHERS),
		 SMALL_BYTES, 0), SHMC_OK, "put");
	expect(IS_OTHERS, "after put");
}

static void
use_others(void)
{
	static unsigned char large[LARGE_BYTES];
	struct shmc_lease lease;
	size_t bytes = 0;

	value_fill(large, sizeof large, 50, JUDGE);
	must(shmc_put(scene.cache, "judge", 5, large, sizeof large, 0), SHMC_OK,
	    "put of a large value");
	must(shmc_get(scene.cache, "judge", 5, buffer, sizeof buffer, &bytes),
	    SHMC_OK, "get of a large value");
	if (bytes != sizeof large || value_check(buffer, bytes, 50) != JUDGE)
		wrong("a large value has other bytes than were put");
	must(fetch("fetched", 7), SHMC_OK, "fetch of another key");
	must(shmc_delete(scene.cache, "judge", 5), SHMC_OK,
	    "delete of a large value");
	must(shmc_lease_acquire(scene.cache, KEY, KEY_BYTES, NULL, &lease),
	    SHMC_OK, "lease");
	must(shmc_lease_release(&lease), SHMC_OK, "release of the lease");
}

/* The other segment: not there, or whole. */
static void
use_other_file(void)
{
	struct shmc_options options;
	struct shmc_error error = { 0 };
	struct shmc *cache;
	size_t bytes;

	shmc_options_init(&options, sizeof options);
	options.path = scene.other_path;
	options.flags = SHMC_CREATE;
	options.size_bytes = SEGMENT_BYTES;
	options.participants = PARTICIPANTS;
	if (shmc_open(&cache, &options, &error) != 0) {
		wrong("shmc_open: %s", error.text);
		return;
	}
	must(shmc_put(cache, "a", 1, "b", 1, 0), SHMC_OK, "put elsewhere");
	must(shmc_get(cache, "a", 1, buffer, sizeof buffer, &bytes), SHMC_OK,
	    "get elsewhere");
	(void)shmc_reap(cache);
	(void)!shmc_audit(cache, finding, "the other segment");
	shmc_close(cache);
	(void)unlink(scene.other_path);
}

/* -------------------------------------------------------------- waiting --- */

static void
load_for_all(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	atomic_fetch_add(&scene.desk->loads, 1);
	if (shmc_lead_value(lead, key_value(OTHERS), SMALL_BYTES, 0, NULL) !=
	    SHMC_OK)
		wrong("the value of who was promoted is refused");
}

static void
look_at_shared(struct shmc_view *view)
{
	uint64_t version = UINT64_MAX;

	if (shmc_view_copy(view, buffer, sizeof buffer) == view->size_bytes)
		version = value_check(buffer, view->size_bytes, KEY_ID);
	if (version == UINT64_MAX)
		wrong("who waited got a mixture");
	if (version == NEW && view->role == SHMC_ROLE_SHARED &&
	    (view->flags & SHMC_UNSTORED) == 0)
		atomic_fetch_add(&scene.desk->shared, 1);
}

void
wait_for_victim(void)
{
	struct shmc_view view;
	enum shmc_status status;

	resident_ready();
	status = shmc_fetch(scene.cache, KEY, KEY_BYTES, NULL, load_for_all,
	    NULL, &view);
	if (status == SHMC_OK)
		look_at_shared(&view);
	if (status != SHMC_OK && status != SHMC_ERROR && status != SHMC_ABSENT)
		wrong("who waited got %d", (int)status);
	shmc_view_release(&view);
	(void)shmc_detach_thread(scene.cache);
}

/* ---------------------------------------------------------------- memory -- */

/* Somebody appends to the block, or evicts it, or repairs after who did. */
static bool
is_owned(uint32_t block)
{
	uint64_t word = load_acquire(&scene.seg->blocks[block].word);

	return block_state(word) == BLOCK_OPEN ||
	    block_state(word) == BLOCK_EVICTING;
}

/*
 * At least so many puts of a block each, and until the watched block (if there
 * is one) holds other things; false: it never does.
 */
static bool
reuse(unsigned least, uint32_t watched, uint64_t generation)
{
	static unsigned char value[7000];
	unsigned rounds = 4 * scene.seg->geo.block_count;
	char key[32];

	if (value[0] == 0)
		value_fill(value, sizeof value, 51, OTHERS);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t word;

		must(shmc_put(scene.cache, key, key_of(key, i % 500), value,
			 sizeof value, 0), SHMC_OK, "put to reuse memory");
		if (i < least)
			continue;
		if (watched >= scene.seg->geo.block_count)
			return true;
		if (i == scene.seg->geo.block_count && is_owned(watched))
			return true;
		word = load_acquire(&scene.seg->blocks[watched].word);
		if ((word & BLOCK_GENERATION_MASK) != generation &&
		    block_state(word) != BLOCK_FREE)
			return true;
	}
	return false;
}

/* After a death all memory is to be had again. */
static void
drain(void)
{
	struct block *blocks = scene.seg->blocks;
	uint32_t count = scene.seg->geo.block_count;
	static uint64_t before[SEGMENT_BYTES >> 12];
	unsigned kept = 0;

	for (uint32_t i = 0; i < count; i++)
		before[i] = load_acquire(&blocks[i].word);
	(void)reuse(2 * count + count / 2, count, 0);
	/* Its generation grows with each use; a block of ours may be open. */
	for (uint32_t i = 0; i < count; i++)
		kept += load_acquire(&blocks[i].word) == before[i];
	if (kept > BLOCKS_LEFT_MAX)
		wrong("%u blocks are never used again", kept);
}

/* --------------------------------------------------------------- orders --- */

static uint32_t watched_block;
static uint64_t watched_generation;

/* Where the result lies that somebody has committed, but not linked yet. */
static uint32_t
result_block(void)
{
	for (uint32_t i = 0; i < scene.seg->geo.flight_count; i++) {
		const struct flight *f = &scene.seg->flights[i];

		if (flight_state(load_acquire(&f->word)) == FLIGHT_RESULT)
			return (uint32_t)((load_relaxed(&f->result) &
			    WORD_PLACE_MASK) * ENTRY_ALIGN >>
			    scene.seg->geo.block_shift);
	}
	return UINT32_MAX;
}

static void
order_attach(void)
{
	attach();
	watched_block = key_block();
	if (watched_block == UINT32_MAX)
		watched_block = result_block();
	if (watched_block == UINT32_MAX)
		return;
	watched_generation = load_acquire(
	    &scene.seg->blocks[watched_block].word) & BLOCK_GENERATION_MASK;
}

static void
order_check(void)
{
	uint64_t mine = aftermath_own_slot(scene.seg);

	audit("at once");
	limits_hold(mine);
	expect(scene.desk->allowed, "at once");
	look_at_bystanders();
	use_key();
	use_others();
	if ((scene.operation->flags & OPERATION_FILE) != 0)
		use_other_file();
	audit("in use");
	(void)shmc_reap(scene.cache);
	mine = aftermath_own_slot(scene.seg);
	(void)aftermath_leaks(scene.seg, scene.living | mine, finding,
	    "after the reaper");
	audit("after the reaper");
	if (atomic_load(&scene.desk->drain))
		drain();
	(void)shmc_detach_thread(scene.cache);
	(void)aftermath_leaks(scene.seg, scene.living, finding, "in the end");
}

static bool
somebody_pins(void)
{
	for (uint32_t i = 0; i < PARTICIPANTS; i++) {
		const struct participant *p = &scene.seg->participants[i];

		if (load_acquire(&p->wait) != 0)
			return true;
		for (unsigned pin = 0; pin < PINS; pin++)
			if (load_acquire(&p->pins[pin]) != 0)
				return true;
	}
	return false;
}

/* Computed by us, or what the victim had committed before it stood still. */
static void
fetch_meanwhile(void)
{
	enum shmc_status status = fetch(KEY, KEY_BYTES);

	if (status != SHMC_OK && status != SHMC_ERROR)
		wrong("fetch meanwhile answered %d", (int)status);
}

/*
 * The victim stands still.  Its memory is taken away and used for other things,
 * and its key is treated in one of four ways; one time in eight all memory goes
 * round.
 */
static void
order_churn(void)
{
	unsigned variant = atomic_load(&scene.desk->variant);
	unsigned least = variant / 8 % 8 == 0 ?
	    scene.seg->geo.block_count * 5 / 4 : 12;

	if (!reuse(least, watched_block, watched_generation) &&
	    !somebody_pins() && !is_owned(watched_block))
		wrong("block %u is kept from reuse by who stands still",
		    watched_block);
	if (variant % 4 == 1)
		must(shmc_put(scene.cache, KEY, KEY_BYTES, key_value(OTHERS),
			 SMALL_BYTES, 0), SHMC_OK, "put meanwhile");
	if (variant % 4 == 2)
		fetch_meanwhile();
	if (variant % 4 == 3)
		(void)!shmc_delete(scene.cache, KEY, KEY_BYTES);
	if (variant % 4 != 0)
		(void)reuse(least, UINT32_MAX, 0);
}

void
judge_run(void)
{
	uint32_t seen = atomic_load(&scene.desk->done);

	for (;; seen++) {
		while (!word_await(&scene.desk->orders, seen))
			;
		switch (scene.desk->task) {
		case TASK_ATTACH:
			order_attach();
			break;
		case TASK_CHECK:
			order_check();
			break;
		case TASK_CHURN:
			order_churn();
			break;
		case TASK_DETACH:
			(void)shmc_detach_thread(scene.cache);
			break;
		}
		word_bump(&scene.desk->done);
	}
}
