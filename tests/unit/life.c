/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust lock of a slot: who holds it, and that its death is told. */
#include "life.h"

#include "futex.h"
#include "inside.h"
#include "testpoint.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define FOR_EVER_NS (1ull << 62)

/* A slot of a new segment that no member holds. */
struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct participant *slot;
	struct life life;
};

static struct scene
scene_new(void)
{
	struct scene s = { .cache = cache_new(1u << 20, 4) };

	s.seg = &s.cache->seg;
	s.slot = &s.seg->participants[3];
	return s;
}

static void
take_and_die(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(life_take(s->seg, s->slot, &s->life), LIFE_CLEAN);
	kill(getpid(), SIGKILL);
}

static void
let_holder_die(struct scene *s)
{
	CHECK_EQ(wait_child(run_in_child(take_and_die, s)), -SIGKILL);
}

TEST(life__this_libc__is_as_needed)
{
	CHECK_EQ(life_verify_libc(), 0);
}

TEST(life__free_slot__is_taken_clean)
{
	struct scene s = scene_new();

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	CHECK_EQ(s.slot->life.futex & FUTEX_TID_MASK, gettid());
	CHECK_EQ(s.slot->tid, gettid());
	life_release(&s.life);
	shmc_close(s.cache);
}

static void *
take_from_thread(void *arg)
{
	struct scene *s = arg;
	struct life life;

	CHECK_EQ(life_take(s->seg, s->slot, &life), LIFE_HELD);
	return NULL;
}

TEST(life__held_slot__is_refused_to_another_thread)
{
	struct scene s = scene_new();
	pthread_t thread;

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	REQUIRE_EQ(pthread_create(&thread, NULL, take_from_thread, &s), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	life_release(&s.life);
	shmc_close(s.cache);
}

static void
find_held(void *arg)
{
	take_from_thread(arg);
}

TEST(life__held_slot__is_refused_to_another_process)
{
	struct scene s = scene_new();

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	CHECK_EQ(wait_child(run_in_child(find_held, &s)), 0);
	life_release(&s.life);
	shmc_close(s.cache);
}

TEST(life__released_slot__is_free_and_clean_again)
{
	struct scene s = scene_new();

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	life_release(&s.life);
	CHECK_EQ(s.slot->life.futex, 0);
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	life_release(&s.life);
	shmc_close(s.cache);
}

TEST(life__holder_killed__next_taker_is_told)
{
	struct scene s = scene_new();

	let_holder_die(&s);
	CHECK(life_word_dead(s.slot->life.futex));
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_DEAD);
	life_release(&s.life);
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	life_release(&s.life);
	shmc_close(s.cache);
}

static void *
take_and_end(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(life_take(s->seg, s->slot, &s->life), LIFE_CLEAN);
	return NULL;
}

TEST(life__thread_ended_holding__next_taker_is_told)
{
	struct scene s = scene_new();
	struct life life;
	pthread_t thread;

	REQUIRE_EQ(pthread_create(&thread, NULL, take_and_end, &s), 0);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(life_take(s.seg, s.slot, &life), LIFE_DEAD);
	life_release(&life);
	shmc_close(s.cache);
}

TEST(life__reaper_killed_holding__slot_is_dead_again)
{
	struct scene s = scene_new();

	let_holder_die(&s);
	CHECK(run_killed_at("life_locked", 1, take_and_die, &s));
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_DEAD);
	life_release(&s.life);
	shmc_close(s.cache);
}

TEST(life__holder__is_alive_in_its_incarnation_only)
{
	struct scene s = scene_new();
	uint64_t mine;

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	mine = s.slot->incarnation;
	CHECK(life_alive(s.slot, mine));
	CHECK(!life_alive(s.slot, mine - 1));
	life_release(&s.life);
	CHECK(!life_alive(s.slot, mine));
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	CHECK(!life_alive(s.slot, mine));
	life_release(&s.life);
	shmc_close(s.cache);
}

/* Words have room for 20 bits of it only. */
TEST(life__incarnation_beyond_its_bits_in_words__holder_is_alive)
{
	struct scene s = scene_new();

	s.slot->incarnation = INCARNATION_MASK;
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	CHECK_EQ(s.slot->incarnation, INCARNATION_MASK + 1);
	CHECK(life_alive(s.slot, s.slot->incarnation & INCARNATION_MASK));
	life_release(&s.life);
	shmc_close(s.cache);
}

TEST(life__reaper_holds_dead_slot__its_owner_stays_dead)
{
	struct scene s = scene_new();
	uint64_t owner;

	let_holder_die(&s);
	owner = s.slot->incarnation;
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_DEAD);
	CHECK(!life_alive(s.slot, owner));
	life_release(&s.life);
	shmc_close(s.cache);
}

TEST(life__free_or_dead_slot__arms_nothing)
{
	struct scene s = scene_new();

	CHECK_EQ(life_arm(s.slot), 0);
	let_holder_die(&s);
	CHECK_EQ(life_arm(s.slot), 0);
	shmc_close(s.cache);
}

/* Dies some time after somebody has armed its word. */
static void
die_when_armed(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(life_take(s->seg, s->slot, &s->life), LIFE_CLEAN);
	while ((atomic_load(&s->slot->life.futex) & FUTEX_WAITERS) == 0)
		sleep_ms(1);
	sleep_ms(20); /* so that the other sleeps, as a rule */
	kill(getpid(), SIGKILL);
}

TEST(life__armed_holder_dies__sleeper_is_woken)
{
	struct scene s = scene_new();
	pid_t child = run_in_child(die_when_armed, &s);
	struct futex_word word = { &s.slot->life.futex, 0 };

	while ((word.expected = life_arm(s.slot)) == 0 &&
	    !life_word_dead(s.slot->life.futex))
		sleep_ms(1);
	/* For ever: without the kernel's wake-up this case times out. */
	while (!life_word_dead(atomic_load(word.word)))
		futex_wait(&word, 1, FOR_EVER_NS);
	CHECK_EQ(wait_child(child), -SIGKILL);
	shmc_close(s.cache);
}

TEST(life__word_scribbled_while_held__release_frees_the_slot)
{
	struct scene s = scene_new();

	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	s.slot->life.futex = 0x1234567;
	life_release(&s.life);
	CHECK_EQ(s.slot->life.futex, 0);
	CHECK_EQ(life_take(s.seg, s.slot, &s.life), LIFE_CLEAN);
	life_release(&s.life);
	shmc_close(s.cache);
}

struct outliver {
	struct scene scene;
	struct test_barrier met;
};

static void *
outlive_mapping(void *arg)
{
	struct outliver *o = arg;

	CHECK_EQ(life_take(o->scene.seg, o->scene.slot, &o->scene.life),
	    LIFE_CLEAN);
	test_barrier_meet(&o->met); /* taken */
	test_barrier_meet(&o->met); /* unmapped */
	return NULL;
}

TEST(life__segment_unmapped_under_holder__its_end_is_still_told)
{
	struct outliver o = { .scene = scene_new() };
	struct shmc *twin = cache_twin(o.scene.cache);
	struct life life;
	pthread_t thread;

	test_barrier_init(&o.met, 2);
	REQUIRE_EQ(pthread_create(&thread, NULL, outlive_mapping, &o), 0);
	test_barrier_meet(&o.met);
	shmc_close(o.scene.cache);
	test_barrier_meet(&o.met);
	REQUIRE_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(life_take(&twin->seg, &twin->seg.participants[3], &life),
	    LIFE_DEAD);
	life_release(&life);
	shmc_close(twin);
}

/* ---------------------------------------------------------------- probing -- */

static void
take(void *arg)
{
	struct scene *s = arg;

	CHECK_EQ(life_take(s->seg, s->slot, &s->life), LIFE_DEAD);
	TESTPOINT("test_taken");
	life_release(&s->life);
}

/*
 * What the dead one left to be read (its pid) must not be taken for the new
 * holder's, wherever that one has come to.
 */
TEST(life__new_holder_stopped_anywhere__is_not_probed_dead)
{
	unsigned n = 1;
	bool held = false;
	pid_t taker;

	for (;; n++) {
		struct scene s = scene_new();

		let_holder_die(&s);
		taker = run_stopped_at(NULL, n, take, &s);
		if (taker == 0) {
			shmc_close(s.cache);
			break;
		}
		if ((s.slot->life.futex & FUTEX_TID_MASK) == (uint32_t)taker) {
			held = true;
			life_probe(s.slot, life_namespace());
			CHECK(!life_word_dead(s.slot->life.futex));
		}
		kill_child(taker);
		shmc_close(s.cache);
	}
	CHECK(held);
	CHECK_GT(n, 4);
}

/* As after an exec of another thread: the holder is gone, the word is not told. */
TEST(life__holder_gone_without_a_word__is_probed_dead)
{
	struct scene s = scene_new();

	let_holder_die(&s);
	s.slot->life.futex = s.slot->tid;
	life_probe(s.slot, life_namespace() + 1);
	CHECK(!life_word_dead(s.slot->life.futex));
	life_probe(s.slot, life_namespace());
	CHECK(life_word_dead(s.slot->life.futex));
	shmc_close(s.cache);
}

/* Between lock and note, pid and tid are still of the one before. */
TEST(life__holder_not_noted_yet__is_not_probed_dead)
{
	struct scene s = scene_new();

	let_holder_die(&s);
	s.slot->life.futex = s.slot->tid; /* another one with the same TID */
	s.slot->takes++;
	life_probe(s.slot, life_namespace());
	CHECK(!life_word_dead(s.slot->life.futex));
	shmc_close(s.cache);
}
