/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One cell: builds its state, records the operation's instructions, and brings a
 * new victim to each of them.
 *
 * A kill is the kernel's: SIGKILL to a process that holds a robust lock, with
 * everything that the kernel does then.
 */
#include "cell.h"

#include "flight.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A victim that strays from the record is tried again so often. */
#define TRIES 12u
/* Cells with more failures than that are not gone on with. */
#define FAILURES_MAX 3u
/* One check in so many reuses all memory. */
#define DRAIN_PART 16u
/* Deaths of the first of a pair, unless all are asked for. */
#define FIRST_SAMPLE 2u

/* Kill it when it sleeps in the system call that comes next. */
#define ASLEEP 0x80000000u

static struct trace trace, first_trace;
static struct child victim;
static struct resident judge, actor;
/* Those who wait for the victim, when its loader is about to end. */
static struct resident waiters[2];
static bool nudged;

void
cell_init(void)
{
	trace_init(&trace);
	trace_init(&first_trace);
}

/* ----------------------------------------------------------- processes --- */

static void
start_judge(void)
{
	pid_t parent = getpid();

	atomic_store(&scene.desk->orders, 0);
	atomic_store(&scene.desk->done, 0);
	judge.pid = fork();
	if (judge.pid < 0)
		die("fork");
	if (judge.pid != 0)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(99);
	judge_run();
}

/* It is gone, or hangs: said as a finding; the next order has a new one. */
static void
judge_failed(const char *task)
{
	int status = 0;

	if (waitpid(judge.pid, &status, WNOHANG) == judge.pid) {
		judge.pid = 0;
		wrong("the judge died (status %#x) when it was to %s",
		    (unsigned)status, task);
	} else {
		wrong("the judge hangs when it is to %s", task);
		resident_kill(&judge);
	}
	start_judge();
}

static void
order(enum task task)
{
	static const char *const tasks[] = { "attach", "check", "churn",
		"detach" };
	uint32_t done = atomic_load(&scene.desk->done);

	scene.desk->task = task;
	word_bump(&scene.desk->orders);
	if (!word_await(&scene.desk->done, done))
		judge_failed(tasks[task]);
}

/* Two who join the victim's flight, and sleep. */
static void
start_waiters(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct child sleeper;

		resident_start(&waiters[i], wait_for_victim);
		sleeper.pid = waiters[i].pid;
		if (!child_sleeps(&sleeper))
			wrong("who is to wait for the victim does not");
	}
	word_bump(&scene.desk->joined);
}

/*
 * The victim waits: for the actor, who then goes on or dies, as it does when
 * the victim is dead; or to be awaited.
 */
static void
nudge_others(void *arg)
{
	bool victim_waits = arg == NULL;

	if (nudged)
		return;
	nudged = true;
	if ((scene.state->flags & STATE_AWAITED) != 0 && victim_waits)
		start_waiters();
	else if ((scene.state->flags & STATE_ACTOR_DIES) != 0)
		resident_kill(&actor);
	else
		word_bump(&scene.desk->nudges);
}

static const struct nudge nudge = { nudge_others, NULL };

/* Whatever the victim did: whoever has to do with it comes to an end. */
static void
end_others(void)
{
	static char victim_is_over;

	nudge_others(&victim_is_over);
	resident_join(&actor);
	for (unsigned i = 0; i < 2; i++)
		resident_join(&waiters[i]);
}

static void
be_victim(void *arg)
{
	(void)arg;
	if ((scene.operation->flags & OPERATION_UNATTACHED) == 0)
		attach();
	if (scene.state->prepare != NULL)
		scene.state->prepare();
	scene.operation->run();
}

/* A new segment, judge and actor in place, the victim about to begin. */
static enum came
set_up(const struct cell *cell)
{
	stage_restore();
	atomic_store(&scene.desk->stopped, false);
	atomic_store(&scene.desk->findings, 0);
	atomic_store(&scene.desk->must_share, false);
	atomic_store(&scene.desk->joined, 0);
	atomic_store(&scene.desk->loads, 0);
	atomic_store(&scene.desk->shared, 0);
	nudged = false;
	if (cell->judge_before)
		order(TASK_ATTACH);
	if (scene.state->actor != NULL)
		resident_start(&actor, scene.state->actor);
	return child_start(&victim, be_victim, NULL);
}

/* After a victim that did not do what it was to do. */
static void
clear_away(const struct cell *cell)
{
	child_kill(&victim);
	end_others();
	if (cell->judge_before)
		order(TASK_DETACH);
}

/* The victim is dead or done. */
static void
check(const struct cell *cell, uint32_t allowed)
{
	end_others();
	/* One death is one more computation, for all who waited. */
	if ((scene.operation->flags & OPERATION_PASSES) == 0 &&
	    atomic_load(&scene.desk->loads) > 1)
		wrong("%u who waited have computed",
		    atomic_load(&scene.desk->loads));
	scene.desk->allowed = allowed;
	if (!cell->judge_before)
		order(TASK_ATTACH);
	order(TASK_CHECK);
}

/* --------------------------------------------------------------- verdicts -- */

static void
report(const struct cell *cell, const char *where, uint32_t at,
    uint32_t instructions)
{
	unsigned n = atomic_load(&scene.desk->findings);
	char name[96];

	cell_name(cell, name);
	for (unsigned i = 0; i < n && i < FINDINGS_MAX; i++)
		say("step: FAILED: %s at %u%s of %u, %s: %s", name,
		    at & ~ASLEEP, (at & ASLEEP) != 0 ? " (asleep)" : "",
		    instructions, where, scene.desk->finding[i]);
}

/* Outcomes before, and what the operations may have made of them. */
static uint32_t
allowed_outcomes(const struct cell *cell, uint32_t at)
{
	const struct operation *first = cell->first != NULL ?
	    operation_find(cell->first) : NULL;
	uint32_t allowed = scene.state->before | scene.operation->after;

	if (first != NULL)
		allowed |= first->after;
	/* Nothing is done yet; or all is done. */
	if (cell->mode == MODE_KILL && at == 0)
		return scene.state->before;
	if (cell->mode == MODE_KILL && at == trace.counted &&
	    (scene.operation->flags & OPERATION_WRITES) != 0)
		return scene.operation->after;
	/* A flight that was outdated is not stored. */
	if (scene.state->actor != NULL && scene.operation->after != 0)
		allowed |= IS_MISS;
	return allowed;
}

static uint32_t
any_outcome(void)
{
	return IS_MISS | IS_OLD | IS_NEW | IS_OTHERS | IS_JUDGE | IS_ABSENT |
	    IS_ERROR | IS_ACTOR;
}

/* ---------------------------------------------------------------- record -- */

static enum came
record(const struct cell *cell)
{
	enum came came = set_up(cell);

	if (came == CAME)
		came = trace_record(&trace, &victim, scene.seg->base,
		    scene.seg->geo.data_at, &nudge);
	return came;
}

/* Undisturbed, the operation does what it is to do. */
static bool
record_and_check(const struct cell *cell)
{
	enum came came = record(cell);

	for (unsigned i = 1; i < TRIES && came != CAME; i++) {
		clear_away(cell);
		came = record(cell);
	}
	if (came != CAME) {
		clear_away(cell);
		wrong("cannot be recorded (%d)", (int)came);
		return false;
	}
	if (child_finish(&victim) != ENDED || victim.status != 0)
		wrong("the victim ended with status %#x",
		    (unsigned)victim.status);
	child_kill(&victim);
	check(cell, allowed_outcomes(cell, trace.counted));
	return atomic_load(&scene.desk->findings) == 0;
}

/* ------------------------------------------------------------------ kill -- */

static enum came
bring_to(uint32_t at)
{
	enum came came = trace_reach(&trace, &victim, at & ~ASLEEP, &nudge);

	if (came == CAME && (at & ASLEEP) != 0)
		came = child_falls_asleep(&victim) ? CAME : STRAYED;
	return came;
}

static void
kill_it(const struct cell *cell, uint32_t at)
{
	child_kill(&victim);
	check(cell, allowed_outcomes(cell, at));
}

/* It has joined the actor's flight, and has to get what comes out. */
static bool
has_joined(void)
{
	for (uint32_t i = 0; i < scene.seg->geo.flight_count; i++) {
		const struct flight *f = &scene.seg->flights[i];
		uint64_t word = load_acquire(&f->word);

		if (flight_state(word) != FLIGHT_LEAD ||
		    (word & FLIGHT_WAITERS) == 0)
			continue;
		for (uint32_t slot = 0; slot < PARTICIPANTS; slot++)
			if (load_acquire(&scene.seg->participants[slot].wait) ==
			    i + 1)
				return true;
	}
	return false;
}

/*
 * All memory is reused, then it goes on; or, one time in eight, dies.
 */
static void
stop_it(const struct cell *cell, unsigned variant)
{
	atomic_store(&scene.desk->variant, variant);
	if (scene.state->before == IS_ACTOR && has_joined())
		atomic_store(&scene.desk->must_share, true);
	atomic_store(&scene.desk->stopped, true);
	end_others();
	if (!cell->judge_before)
		order(TASK_ATTACH);
	order(TASK_CHURN);
	if (variant % 8 != 7 &&
	    (child_finish(&victim) != ENDED || victim.status != 0))
		wrong("after its stop the victim ended with status %#x",
		    (unsigned)victim.status);
	child_kill(&victim);
	check(cell, any_outcome());
}

/* True: done at that instruction. */
static bool
do_at(const struct cell *cell, uint32_t at, uint64_t *random)
{
	enum came came = STRAYED;
	uint64_t drawn = draw(random);

	atomic_store(&scene.desk->drain, drawn % DRAIN_PART == 0);
	for (unsigned i = 0; i < TRIES && came != CAME; i++) {
		if (i > 0)
			clear_away(cell);
		came = set_up(cell);
		if (came == CAME)
			came = bring_to(at);
	}
	if (came != CAME) {
		clear_away(cell);
		return false;
	}
	if (cell->mode == MODE_STOP)
		stop_it(cell, (unsigned)(drawn >> 32));
	else
		kill_it(cell, at);
	return true;
}

static void
do_and_count(const struct cell *cell, uint32_t at, uint64_t *random,
    struct result *result)
{
	if (do_at(cell, at, random))
		result->done++;
	else
		result->missed++;
	if (atomic_load(&scene.desk->findings) == 0)
		return;
	result->failures++;
	report(cell, trace_place(trace.pc[trace.nth[at & ~ASLEEP]]), at,
	    trace.counted);
}

static bool
time_is_over(const struct extent *extent)
{
	return extent->end_ns != 0 && now_ns() > extent->end_ns;
}

static bool
goes_on(const struct extent *extent, const struct result *result)
{
	return result->failures < FAILURES_MAX && !time_is_over(extent);
}

/* At this instruction; and asleep, if it is to sleep there. */
static void
do_here(const struct cell *cell, uint32_t at, uint64_t *random,
    struct result *result)
{
	do_and_count(cell, at, random, result);
	if (cell->mode != MODE_STOP &&
	    (trace.flags[trace.nth[at]] & POINT_WAITS) != 0)
		do_and_count(cell, at | ASLEEP, random, result);
}

static void
do_all(const struct cell *cell, const struct extent *extent,
    uint64_t *random, struct result *result)
{
	uint32_t at = extent->from;

	for (; at <= trace.counted && goes_on(extent, result); at++)
		do_here(cell, at, random, result);
	result->next = at <= trace.counted ? at : UINT32_MAX;
}

/* Others see the segment changed by the instruction before this one. */
static bool
has_news(const struct trace *t, uint32_t at)
{
	return (t->flags[t->nth[at]] & (POINT_NEWS | POINT_WAITS)) != 0;
}

/* Wherever there is news, and somewhere else. */
static void
do_some(const struct cell *cell, const struct extent *extent,
    uint64_t *random, struct result *result)
{
	for (uint32_t at = 0; at <= trace.counted && goes_on(extent, result);
	     at++)
		if (at == 0 || has_news(&trace, at))
			do_here(cell, at, random, result);
	for (uint32_t i = 0; i < extent->sample && goes_on(extent, result); i++)
		do_here(cell, (uint32_t)(draw(random) % (trace.counted + 1)),
		    random, result);
	result->next = time_is_over(extent) ? 0 : UINT32_MAX;
}

static void
run_recorded(const struct cell *cell, const struct extent *extent,
    uint64_t *random, struct result *result)
{
	start_judge();
	if (!record_and_check(cell)) {
		result->failures++;
		report(cell, "undisturbed", 0, trace.counted);
	} else if (extent->at >= 0) {
		do_and_count(cell, (uint32_t)extent->at, random, result);
	} else if (extent->all) {
		do_all(cell, extent, random, result);
	} else {
		do_some(cell, extent, random, result);
	}
	result->instructions = trace.counted;
	resident_kill(&judge);
}

/* ------------------------------------------------------------------ pairs -- */

/* The first death of a pair, as something that befalls a state. */
static struct {
	const struct state *state; /* before it */
	const struct operation *operation;
	bool records;
	uint32_t at;
} first;

static void
be_first(void *arg)
{
	(void)arg;
	attach();
	if (first.state->prepare != NULL)
		first.state->prepare();
	first.operation->run();
}

static void
befall_first(void)
{
	struct child child;
	enum came came;

	if (first.state->befall != NULL)
		first.state->befall();
	came = child_start(&child, be_first, NULL);
	if (came == CAME && first.records)
		came = trace_record(&first_trace, &child, scene.seg->base,
		    scene.seg->geo.data_at, NULL);
	else if (came == CAME)
		came = trace_reach(&first_trace, &child, first.at, NULL);
	if (came != CAME)
		wrong("the first of the pair did not come to where it dies");
	child_kill(&child);
}

static bool
build_first(struct state *state, bool records, uint32_t at)
{
	first.records = records;
	first.at = at;
	for (unsigned i = 0; i < TRIES; i++) {
		*state = *first.state;
		state->befall = befall_first;
		scene.state = state;
		stage_build();
		if (atomic_load(&scene.desk->findings) == 0)
			return true;
		stage_clear();
	}
	return false;
}

static void
run_second(const struct cell *cell, const struct extent *extent,
    struct state *state, uint32_t at, uint64_t *random, struct result *result)
{
	struct result one = { 0 };
	uint32_t failures = result->failures;

	if (build_first(state, false, at))
		run_recorded(cell, extent, random, &one);
	else
		one.missed++;
	stage_clear();
	result->instructions = one.instructions;
	result->done += one.done;
	result->missed += one.missed;
	result->failures += one.failures;
	if (result->failures != failures)
		say("step: ... where %s had died at %u of %u, %s", cell->first,
		    at, first_trace.counted,
		    trace_place(first_trace.pc[first_trace.nth[at]]));
}

/* Where the first dies: everywhere where there is news, or a few of these. */
static uint32_t
choose_firsts(const struct extent *extent, uint64_t *random, uint32_t *at)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i <= first_trace.counted; i++)
		if (has_news(&first_trace, i))
			at[count++] = i;
	if (extent->first_at >= 0) {
		at[0] = (uint32_t)extent->first_at;
		return 1;
	}
	for (uint32_t i = 0; !extent->all && i < count; i++) {
		uint32_t other = i + (uint32_t)(draw(random) % (count - i));
		uint32_t drawn = at[other];

		at[other] = at[i];
		at[i] = drawn;
	}
	return extent->all || count < FIRST_SAMPLE ? count : FIRST_SAMPLE;
}

static void
run_pair(const struct cell *cell, const struct extent *extent,
    uint64_t *random, struct result *result)
{
	struct extent inner = *extent;
	struct state state;
	uint32_t *firsts, count, i = extent->all ? extent->from : 0;

	first.state = scene.state;
	first.operation = operation_find(cell->first);
	if (!build_first(&state, true, 0))
		die("a pair cannot be built");
	stage_clear();
	firsts = malloc((first_trace.counted + 1) * sizeof *firsts);
	if (firsts == NULL)
		die("malloc");
	count = choose_firsts(extent, random, firsts);
	inner.all = false;
	inner.sample = 0;
	for (; i < count && goes_on(extent, result); i++)
		run_second(cell, &inner, &state, firsts[i], random, result);
	result->next = time_is_over(extent) ? i : UINT32_MAX;
	free(firsts);
}

/* ------------------------------------------------------------------- run -- */

void
cell_run(const struct cell *cell, const struct extent *extent,
    struct result *result)
{
	uint64_t random = extent->seed;
	char name[96];

	cell_name(cell, name);
	for (const char *p = name; *p != '\0'; p++)
		random = random * 31 + (unsigned char)*p;
	memset(result, 0, sizeof *result);
	scene.operation = operation_find(cell->operation);
	scene.state = state_find(cell->state);
	scene.new_bytes = scene.operation->new_bytes;
	if (cell->first != NULL && scene.new_bytes == 0)
		scene.new_bytes = operation_find(cell->first)->new_bytes;
	scene.aged = false;
	scene.lease_ms = cell->mode == MODE_STOP ? 1 : 0;
	if (cell->mode == MODE_PAIR) {
		run_pair(cell, extent, &random, result);
		return;
	}
	scene.aged = cell->mode == MODE_STOP;
	/* Who leads and has not said for how long, leads for so long. */
	scene.seg->lease_ns = (cell->mode == MODE_STOP ? 1 :
	    2 * DEADLINE_S * 1000u) * 1000000ull;
	stage_build();
	run_recorded(cell, extent, &random, result);
	stage_clear();
}
