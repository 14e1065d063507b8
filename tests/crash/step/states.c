/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operation may meet: entries, claims, the dead and the hanging. */
#include "scene.h"

#include "block.h"
#include "flight.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------- contents --- */

static void
put_bystander(const struct bystander *b)
{
	static const char *const tags[] = { TAG };
	static unsigned char value[LARGE_BYTES];
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.tags = tags;
	terms.tag_count = b->tagged;
	value_fill(value, b->bytes, b->id, OLD);
	if (shmc_store(scene.cache, b->key, strlen(b->key), value, b->bytes,
		&terms, SHMC_ALWAYS, 0) != SHMC_OK)
		die("a state cannot be built: bystander");
}

static void
fill_empty(void)
{
	for (unsigned i = 0; i < bystander_count; i++)
		put_bystander(&bystanders[i]);
}

static void
fill_present(void)
{
	fill_empty();
	put_key(scene.state->old_bytes, OLD, 0);
}

static void
fill_stale(void)
{
	fill_empty();
	put_key(scene.state->old_bytes, OLD, 1);
	sleep_ms(20); /* past its ttl, on the coarse clock, too */
}

/* Each block once and half of them again, so that the hand is on its way. */
static void
fill_full(void)
{
	unsigned char value[1000];
	unsigned n = scene.seg->geo.block_count * 21 / 2;
	char key[32];

	for (unsigned i = 0; i < n; i++) {
		value_fill(value, sizeof value, 1000 + i, OLD);
		if (shmc_put(scene.cache, key, key_of(key, i), value,
			sizeof value, 0) != SHMC_OK)
			die("a state cannot be built: full");
	}
	fill_present();
}

/* The neighbours leave no word for the key. */
static void
fill_line(void)
{
	fill_empty();
}

/* The key has the last word. */
static void
fill_line_present(void)
{
	bystander_count--;
	fill_empty();
	put_key(scene.state->old_bytes, OLD, 0);
}

/* ---------------------------------------------------------- conditions --- */

static bool
claim_is_made(void *arg)
{
	struct line *pair = key_pair();

	(void)arg;
	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		uint64_t word = load_acquire(&pair[i / LINE_WORDS]
		    .words[i % LINE_WORDS]);

		if ((word & (WORD_LIVE | WORD_TENT)) == WORD_TENT)
			return true;
	}
	return false;
}

static bool
block_is_being_evicted(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < scene.seg->geo.block_count; i++)
		if (block_state(load_acquire(&scene.seg->blocks[i].word)) ==
		    BLOCK_EVICTING)
			return true;
	return false;
}

static bool
flight_is_committed(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < scene.seg->geo.flight_count; i++)
		if (flight_state(load_acquire(&scene.seg->flights[i].word)) ==
		    FLIGHT_RESULT)
			return true;
	return false;
}

static bool
section_is_open(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < PARTICIPANTS; i++)
		if (load_acquire(&scene.seg->participants[i].epoch) != 0)
			return true;
	return false;
}

/* --------------------------------------------------- deaths and hangs --- */

static struct child stuck[4];
static struct resident hanging[2];

static void
run_it(void *arg)
{
	void (*const *run)(void) = arg;

	(*run)();
}

static struct child *
run_until(void (*run)(void), bool (*holds)(void *arg))
{
	struct child *child = stuck;

	while (child->pid != 0)
		child++;
	if (child_start(child, run_it, &run) != CAME ||
	    trace_until(child, holds, NULL) != CAME)
		die("a state cannot be built: what was to come did not");
	return child;
}

void
kill_when(void (*run)(void), bool (*holds)(void *arg))
{
	child_kill(run_until(run, holds));
}

void
stop_when(void (*run)(void), bool (*holds)(void *arg))
{
	(void)run_until(run, holds);
}

void
stage_clear(void)
{
	for (unsigned i = 0; i < 4; i++)
		child_kill(&stuck[i]);
	for (unsigned i = 0; i < 2; i++)
		resident_kill(&hanging[i]);
}

/* Runs fn, which dies, in a process of its own. */
static void
let_die(void (*fn)(void))
{
	struct resident dying;

	resident_start(&dying, fn);
	resident_kill(&dying);
}

static void
put_new(void)
{
	size_t n;

	attach();
	step_begin();
	(void)!shmc_put(scene.cache, KEY, KEY_BYTES, key_value(OTHERS),
	    SMALL_BYTES, 0);
	(void)!shmc_get(scene.cache, KEY, KEY_BYTES, NULL, 0, &n);
	step_end();
}

static void
put_elsewhere(void)
{
	unsigned char value[7000];

	attach();
	value_fill(value, sizeof value, 99, OLD);
	step_begin();
	for (unsigned i = 0; i < 3; i++)
		(void)!shmc_put(scene.cache, "elsewhere", 9, value,
		    sizeof value, 0);
	step_end();
}

static void
load_small(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	(void)!shmc_lead_value(lead, key_value(OTHERS), SMALL_BYTES, 0, NULL);
}

static void
fetch_traced(void)
{
	struct shmc_view view;

	attach();
	step_begin();
	(void)!shmc_fetch(scene.cache, KEY, KEY_BYTES, NULL, load_small, NULL,
	    &view);
	step_end();
}

static void
befall_claim(void)
{
	stop_when(put_new, claim_is_made);
}

static void
befall_claim_dead(void)
{
	kill_when(put_new, claim_is_made);
}

static void
befall_evictor(void)
{
	kill_when(put_elsewhere, block_is_being_evicted);
}

static void
befall_committed(void)
{
	kill_when(fetch_traced, flight_is_committed);
}

/* Leads the key, with a lease that is over at once if it says so. */
static struct shmc_lead held_lead;

static void
lead_key(uint64_t lease_ms)
{
	struct shmc_wait wait = SHMC_WAIT_INIT;
	struct shmc_view view;

	wait.lease_ms = lease_ms;
	if (shmc_begin(scene.cache, KEY, KEY_BYTES, &wait, &view, &held_lead) !=
	    SHMC_LEAD)
		die("a resident cannot lead");
}

static void
lead_and_stay(void)
{
	lead_key(LONG_MS);
	resident_ready();
	for (;;)
		pause();
}

static void
lead_too_long(void)
{
	lead_key(1);
	sleep_ms(5);
	resident_ready();
	for (;;)
		pause();
}

static void
befall_leader_dead(void)
{
	let_die(lead_and_stay);
}

static void
befall_leader_hung(void)
{
	resident_start(&hanging[0], lead_too_long);
}

/* Has three blocks open for a value, when it dies. */
static void
append_and_stay(void)
{
	lead_key(LONG_MS);
	(void)!shmc_lead_append(&held_lead, key_value(OTHERS), LARGE_BYTES);
	resident_ready();
	for (;;)
		pause();
}

static void
befall_filler(void)
{
	let_die(append_and_stay);
}

static void
load_absent(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	(void)!shmc_lead_absent(lead, LONG_MS);
}

/* Views, blocks of both logs, and dies within a section. */
static void
hold_much(void)
{
	struct shmc_view views[3], none;
	size_t n;

	for (unsigned i = 0; i < 3; i++)
		(void)!shmc_view(scene.cache, bystanders[i].key,
		    strlen(bystanders[i].key), &views[i]);
	(void)!shmc_put(scene.cache, "elsewhere", 9, "x", 1, 0);
	(void)!shmc_fetch(scene.cache, "none", 4, NULL, load_absent, NULL,
	    &none);
	lead_key(LONG_MS);
	step_begin();
	(void)!shmc_get(scene.cache, "by-1", 4, NULL, 0, &n);
	step_end();
}

static void
befall_holder(void)
{
	kill_when(hold_much, section_is_open);
}

static void
wait_and_stay(void)
{
	struct shmc_view view;

	attach();
	resident_ready();
	(void)!shmc_fetch(scene.cache, KEY, KEY_BYTES, NULL, load_small, NULL,
	    &view);
}

/* A leader and its waiter; both are dead. */
static void
befall_waiter(void)
{
	struct resident waiter;
	struct child sleeper = { 0 };

	resident_start(&hanging[0], lead_and_stay);
	resident_start(&waiter, wait_and_stay);
	sleeper.pid = waiter.pid;
	if (!child_sleeps(&sleeper))
		die("a state cannot be built: it does not wait");
	resident_kill(&waiter);
	resident_kill(&hanging[0]);
}

/* ------------------------------------------------------------- preparing -- */

/* The victim's own block: no room left for a value. */
static void
prepare_little_room(void)
{
	unsigned char value[1000];
	uint64_t used = 0;
	char key[32];

	for (unsigned i = 0; used + sizeof value + 200 < block_bytes(scene.seg);
	     i++) {
		value_fill(value, sizeof value, 2000 + i, OLD);
		(void)!shmc_put(scene.cache, key, key_of(key, 9000 + i), value,
		    sizeof value, 0);
		used += sizeof value + 32;
	}
	(void)!shmc_put(scene.cache, "last", 4, value,
	    block_bytes(scene.seg) - used - 80, 0);
}

/* ---------------------------------------------------------------- actors -- */

/*
 * As if so many had waited and left: the victim's look by itself, should nobody
 * wake it, then comes late enough for who steps it.
 */
static void
note_joins(void)
{
	for (uint32_t i = 0; i < scene.seg->geo.flight_count; i++)
		if (flight_state(load_acquire(&scene.seg->flights[i].word)) ==
		    FLIGHT_LEAD)
			store_relaxed(&scene.seg->flights[i].joined, 99);
}

/* In place; returns when it may go on. */
static void
actor_waits(void)
{
	note_joins();
	resident_ready();
	resident_wait();
}

static void
actor_commits(void)
{
	lead_key(LONG_MS);
	actor_waits();
	(void)!shmc_lead_value(&held_lead, key_value(ACTOR), SMALL_BYTES, 0,
	    NULL);
	(void)shmc_detach_thread(scene.cache);
}

static void
actor_abandons(void)
{
	lead_key(LONG_MS);
	actor_waits();
	shmc_lead_abandon(&held_lead);
	(void)shmc_detach_thread(scene.cache);
}

static void
actor_shares(void)
{
	lead_key(LONG_MS);
	(void)!shmc_lead_append(&held_lead, key_value(ACTOR), SMALL_BYTES);
	actor_waits();
	(void)!shmc_lead_share(&held_lead, NULL);
	(void)shmc_detach_thread(scene.cache);
}

static void
actor_has_lease(void)
{
	struct shmc_lease lease;

	if (shmc_lease_acquire(scene.cache, KEY, KEY_BYTES, NULL, &lease) !=
	    SHMC_OK)
		die("a resident cannot have the lease");
	actor_waits();
	(void)!shmc_lease_release(&lease);
	(void)shmc_detach_thread(scene.cache);
}

/* ----------------------------------------------------------------- table -- */

const struct state states[] = {
	{ .name = "empty", .fill = fill_empty, .before = IS_MISS },
	{ .name = "present", .fill = fill_present, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES },
	{ .name = "large", .fill = fill_present, .before = IS_OLD,
	    .old_bytes = LARGE_BYTES },
	{ .name = "counter", .fill = fill_present, .before = IS_OLD,
	    .old_bytes = 8 },
	{ .name = "stale", .fill = fill_stale, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES, .flags = STATE_STALE },
	{ .name = "stale-large", .fill = fill_stale, .before = IS_OLD,
	    .old_bytes = LARGE_BYTES, .flags = STATE_STALE },
	{ .name = "full", .fill = fill_full, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES, .flags = STATE_FULL },
	{ .name = "line-full", .fill = fill_line, .before = IS_MISS,
	    .flags = STATE_LINE_FULL },
	{ .name = "line-full-present", .fill = fill_line_present,
	    .before = IS_OLD, .old_bytes = SMALL_BYTES,
	    .flags = STATE_LINE_FULL },
	{ .name = "little-room", .fill = fill_present, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES, .prepare = prepare_little_room },
	{ .name = "claim", .fill = fill_empty, .befall = befall_claim,
	    .before = IS_MISS },
	{ .name = "claim-dead", .fill = fill_empty,
	    .befall = befall_claim_dead, .before = IS_MISS },
	{ .name = "dead-leader", .fill = fill_empty,
	    .befall = befall_leader_dead, .before = IS_MISS },
	{ .name = "dead-refresher", .fill = fill_stale,
	    .befall = befall_leader_dead, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES, .flags = STATE_STALE },
	{ .name = "hung-leader", .fill = fill_empty,
	    .befall = befall_leader_hung, .before = IS_MISS },
	{ .name = "dead-committed", .fill = fill_empty,
	    .befall = befall_committed, .before = IS_MISS | IS_OTHERS },
	{ .name = "dead-evictor", .fill = fill_full, .befall = befall_evictor,
	    .before = IS_OLD, .old_bytes = SMALL_BYTES, .flags = STATE_FULL },
	{ .name = "dead-filler", .fill = fill_empty, .befall = befall_filler,
	    .before = IS_MISS },
	{ .name = "dead-holder", .fill = fill_empty, .befall = befall_holder,
	    .before = IS_MISS },
	{ .name = "dead-waiter", .fill = fill_empty, .befall = befall_waiter,
	    .before = IS_MISS },
	{ .name = "own-dead-holder", .fill = fill_empty,
	    .befall = befall_holder, .before = IS_MISS,
	    .flags = STATE_DEAD_FIRST },
	{ .name = "own-dead-committed", .fill = fill_empty,
	    .befall = befall_committed, .before = IS_MISS | IS_OTHERS,
	    .flags = STATE_DEAD_FIRST },
	{ .name = "own-dead-evictor", .fill = fill_full,
	    .befall = befall_evictor, .before = IS_OLD,
	    .old_bytes = SMALL_BYTES, .flags = STATE_FULL | STATE_DEAD_FIRST },
	{ .name = "leader-commits", .fill = fill_empty,
	    .actor = actor_commits, .before = IS_ACTOR },
	{ .name = "leader-shares", .fill = fill_empty, .actor = actor_shares,
	    .before = IS_MISS },
	{ .name = "leader-abandons", .fill = fill_empty,
	    .actor = actor_abandons, .before = IS_MISS },
	{ .name = "leader-dies", .fill = fill_empty, .actor = actor_commits,
	    .before = IS_MISS, .flags = STATE_ACTOR_DIES },
	{ .name = "awaited", .fill = fill_empty, .before = IS_MISS | IS_OTHERS,
	    .flags = STATE_AWAITED },
	{ .name = "lease-held", .fill = fill_empty, .actor = actor_has_lease,
	    .before = IS_MISS },
	{ .name = "lease-holder-dies", .fill = fill_empty,
	    .actor = actor_has_lease, .before = IS_MISS,
	    .flags = STATE_ACTOR_DIES },
	{ 0 },
};

const struct state *
state_find(const char *name)
{
	const struct state *s = states;

	while (s->name != NULL && strcmp(s->name, name) != 0)
		s++;
	return s->name != NULL ? s : NULL;
}
