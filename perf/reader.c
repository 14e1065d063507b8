/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers and their slices of time.  Driver and reader take turns by two
 * counters: told is ahead of done while a slice runs.
 *
 * A slice is a row of windows, and its result their median: programs that
 * take the CPU away now and then spoil few windows.
 */
#include "reader.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define HITS_PER_LOOK 64u   /* at the clock */
#define WAKE_UP_NS 1000000u /* readers need to get out of bed */
#define WINDOW_NS 1000000u
#define WINDOWS_MAX 4096u /* in a slice; the rest is not looked at */

/*
 * Asks for one entry, checks what comes, and returns 0: the difference between
 * what came and what should have come.
 */
static inline uint64_t
ask(struct reader *reader, void *attached, uint64_t after)
{
	static _Thread_local unsigned char buffer[KEY_BYTES + PEER_VALUE_MAX]
	    __attribute__((aligned(64)));
	const struct peer *peer = reader->peer;
	struct question question;
	uint64_t check;

	question.index =
	    reader->slice.stream[reader->position++ & (STREAM_LENGTH - 1)] +
	    after;
	keys_key(question.index, question.key);
	size_t bytes = peer->get(attached, &question, buffer);

	memcpy(&check, buffer + peer->value_at, sizeof(check));
	uint64_t wrong = check ^ keys_check(question.index);

	if (bytes != reader->store->value_bytes) {
		reader->tally.missed++;
		return 0;
	}
	reader->tally.wrong += wrong != 0;
	return wrong;
}

/* The processor may be busy with several questions at a time. */
static void
ask_freely(struct reader *reader, void *attached)
{
	for (unsigned i = 0; i < HITS_PER_LOOK; i++)
		ask(reader, attached, 0);
}

/* It cannot know the next key before the last value has arrived. */
static void
ask_chained(struct reader *reader, void *attached)
{
	uint64_t after = 0;

	for (unsigned i = 0; i < HITS_PER_LOOK; i++)
		after = ask(reader, attached, after);
}

/* Asks for the length of a window, returns the ns per hit. */
static double
ask_window(struct reader *reader, void *attached)
{
	uint64_t begin_ns = bench_now_ns(), now_ns;
	uint64_t asked = 0;

	do {
		if (reader->slice.chained)
			ask_chained(reader, attached);
		else
			ask_freely(reader, attached);
		asked += HITS_PER_LOOK;
		now_ns = bench_now_ns();
	} while (now_ns < begin_ns + WINDOW_NS);
	reader->tally.asked += asked;
	return (double)(now_ns - begin_ns) / (double)asked;
}

/* Asks until the given time, returns the median of the windows. */
static double
ask_until(struct reader *reader, void *attached, uint64_t end_ns)
{
	static _Thread_local double windows[WINDOWS_MAX];
	unsigned count = 0;

	do {
		double ns_per_hit = ask_window(reader, attached);

		if (count < WINDOWS_MAX)
			windows[count++] = ns_per_hit;
	} while (bench_now_ns() < end_ns);
	return bench_median(windows, count);
}

static uint64_t
cpu_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
run_slice(struct reader *reader, void *attached)
{
	const struct slice *slice = &reader->slice;
	struct tally *tally = &reader->tally;
	uint64_t count_ns = slice->start_ns + slice->warm_ns;

	bench_sleep_until(slice->start_ns);
	ask_until(reader, attached, count_ns);
	memset(tally, 0, sizeof(*tally));

	uint64_t begin_ns = bench_now_ns(), cpu_ns = cpu_now_ns();

	tally->ns_per_hit = ask_until(reader, attached,
	    count_ns + slice->count_ns);
	tally->took_ns = bench_now_ns() - begin_ns;
	cpu_ns = cpu_now_ns() - cpu_ns;
	tally->idle_ns = tally->took_ns > cpu_ns ? tally->took_ns - cpu_ns : 0;
}

/* Asks once for everything, so that no page has to be faulted in later. */
static void
touch_all(struct reader *reader, void *attached)
{
	unsigned char buffer[KEY_BYTES + PEER_VALUE_MAX];
	struct question question;

	for (question.index = 0; question.index < reader->store->entries;
	     question.index++) {
		keys_key(question.index, question.key);
		reader->peer->get(attached, &question, buffer);
	}
}

static void
reader_signal_done(struct reader *reader, uint32_t turn)
{
	atomic_store_explicit(&reader->done, turn, memory_order_release);
	bench_futex_wake_all(&reader->done);
}

static void *
reader_main(void *arg)
{
	struct reader *reader = arg;

	bench_pin(reader->cpu);
	void *attached = reader->peer->attach(reader->made);

	touch_all(reader, attached);
	for (uint32_t turn = 1;; turn++) {
		reader_signal_done(reader, turn);
		bench_await(&reader->told, turn);
		run_slice(reader, attached);
	}
	return NULL;
}

struct reader *
reader_start(const struct peer *peer, const struct store *store, void *made,
    unsigned cpu)
{
	struct reader *reader = bench_shared(sizeof(*reader));

	reader->peer = peer;
	reader->store = store;
	reader->made = made;
	reader->cpu = cpu;
	reader->position = cpu * (STREAM_LENGTH / 2);
	if (peer->threads) {
		if (pthread_create(&reader->thread, NULL, reader_main,
			reader) != 0)
			bench_die("pthread_create failed");
	} else if (bench_fork() == 0) {
		reader_main(reader);
	}
	bench_await(&reader->done, 1);
	return reader;
}

void
reader_run(struct reader *const *readers, unsigned count, struct slice slice)
{
	slice.start_ns = bench_now_ns() + WAKE_UP_NS;
	for (unsigned i = 0; i < count; i++) {
		readers[i]->slice = slice;
		atomic_fetch_add_explicit(&readers[i]->told, 1,
		    memory_order_release);
		bench_futex_wake_all(&readers[i]->told);
	}
	for (unsigned i = 0; i < count; i++)
		bench_await(&readers[i]->done,
		    atomic_load_explicit(&readers[i]->told,
			memory_order_relaxed) +
			1);
}
