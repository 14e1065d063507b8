/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What perf/run missratio compares the library with: the simulators against
 * traces worked out by hand, and against an exhaustive search.
 */
#include "harness.h"

#include "sims.h"
#include "trace.h"

#include <stdio.h>

#define OBJECTS 1200u
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const uint64_t one_each[OBJECTS] = { [0 ... OBJECTS - 1] = 1 };

/* Misses of these requests, objects of one byte. */
#define MISSES(simulate, size, ...)                                 \
	misses_of(simulate, size, (const uint32_t[]){ __VA_ARGS__ }, \
	    COUNT(((const uint32_t[]){ __VA_ARGS__ })))

static uint64_t
misses_of(sim_misses *simulate, uint64_t capacity, const uint32_t *requests,
    size_t count)
{
	struct sim_load load = {
		.requests = requests,
		.request_count = count,
		.bytes = one_each,
		.object_count = OBJECTS,
		.capacity = capacity,
		.largest = capacity,
	};

	return simulate(&load);
}

/* Requests of which there are more than one wants to write down. */
struct script {
	uint32_t requests[1024];
	size_t count;
};

static void
request(struct script *script, uint32_t object)
{
	script->requests[script->count++] = object;
}

/* Whether the object is there after all these requests. */
static bool
is_kept(sim_misses *simulate, uint64_t capacity, struct script *script,
    uint32_t object)
{
	uint64_t before = misses_of(simulate, capacity, script->requests,
	    script->count);

	script->requests[script->count] = object;
	return misses_of(simulate, capacity, script->requests,
		   script->count + 1) == before;
}

/* The reference string of operating systems' textbooks. */
#define TEXTBOOK 7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1

TEST(sims__textbook_string__misses_of_the_textbook)
{
	CHECK_EQ(MISSES(sim_fifo, 3, TEXTBOOK), 15);
	CHECK_EQ(MISSES(sim_lru, 3, TEXTBOOK), 12);
}

/* Only FIFO can be hurt by room. */
#define ANOMALY 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5

TEST(sims__anomaly_of_belady__is_there)
{
	CHECK_EQ(MISSES(sim_fifo, 3, ANOMALY), 9);
	CHECK_EQ(MISSES(sim_fifo, 4, ANOMALY), 10);
}

/*
 * 4 comes: 1 was asked for and is passed over, 2 goes.  The hand stands at 3,
 * which goes for 2, then 4 for 3.  1 is still there.  The second 4 puts out 2.
 */
#define SIEVED 1, 2, 3, 1, 4, 2, 3, 1, 4, 1

TEST(sims__sieve__asked_for_is_passed_over)
{
	CHECK_EQ(MISSES(sim_sieve, 3, SIEVED), 7);
	CHECK_EQ(MISSES(sim_lru, 3, SIEVED), 8);
	CHECK_EQ(MISSES(sim_fifo, 3, SIEVED), 5);
}

/* 4 puts out 2, then 2 puts out 3, not 1, whose mark is gone already. */
TEST(sims__sieve_hand__goes_on_where_it_was)
{
	struct script script = { { 1, 2, 3, 1, 4, 2 }, 6 };

	CHECK(is_kept(sim_sieve, 3, &script, 1));
	CHECK(!is_kept(sim_sieve, 3, &script, 3));
}

/* Both are marked: 3 makes the hand go round and put out 1; 1 puts out 2. */
TEST(sims__sieve_all_marked__goes_round_to_the_oldest)
{
	CHECK_EQ(MISSES(sim_sieve, 2, 1, 2, 1, 2, 3, 1, 2, 1), 5);
}

/* Objects 1 to 10 are put into the small queue of an empty cache of 10. */
#define TEN 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
#define ELEVEN_TO_20 11, 12, 13, 14, 15, 16, 17, 18, 19, 20

/*
 * 11 comes.  1 and 2 were asked for, they move on; 3 goes; for 3, 4 goes.
 * Where it takes being asked for twice, 1 goes, and 3 and 4 are there.
 */
TEST(sims__s3fifo__asked_for_once_moves_on)
{
	CHECK_EQ(MISSES(sim_s3fifo, 10, TEN, 1, 2, 2, 11, 3, 4, 1), 13);
	CHECK_EQ(MISSES(sim_s3fifo_twice, 10, TEN, 1, 2, 2, 11, 3, 4, 1), 12);
}

/*
 * Nine ghosts: 1 is forgotten when it comes back and goes into the small queue,
 * 4 is remembered and goes into the main one.  Twenty others come once; 4 stays.
 */
TEST(sims__s3fifo__as_many_ghosts_as_the_main_queue_holds)
{
	CHECK_EQ(MISSES(sim_s3fifo, 10, TEN, ELEVEN_TO_20, 1, 4, 21, 22, 23, 24,
		     25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
		     39, 40, 4, 1),
	    43);
}

/*
 * 2 to 10 come back as ghosts and fill the main queue; 11 comes after them,
 * when the small queue gives up its last.  12 is one too many for the main
 * queue: 2 and 3 were asked for and get another turn, 4 goes.
 */
TEST(sims__s3fifo__main_queue_gives_another_turn)
{
	CHECK_EQ(MISSES(sim_s3fifo, 10, TEN, ELEVEN_TO_20, 2, 3, 4, 5, 6, 7, 8,
		     9, 10, 2, 2, 2, 3, 11, 12, 2, 3, 4, 5),
	    33);
}

/*
 * So many times, two new objects come and the first comes back from the ghosts:
 * with a small queue of one, the main queue gives up one.
 */
static void
churn(struct script *script, unsigned times)
{
	while (times-- > 0) {
		uint32_t first = 100 + (uint32_t)script->count;

		request(script, first);
		request(script, first + 1);
		request(script, first);
	}
}

/* Objects 1 to `last` come, each `times` times. */
static void
request_up_to(struct script *script, uint32_t last, unsigned times)
{
	for (uint32_t i = 1; i <= last; i++)
		for (unsigned n = 0; n < times; n++)
			request(script, i);
}

/* Ten hits buy three more turns in the main queue, of about ten each. */
TEST(sims__s3fifo__hits_count_up_to_three)
{
	struct script script = { 0 };

	request_up_to(&script, 10, 2);
	request(&script, 11); /* all move on */
	for (unsigned i = 0; i < 10; i++)
		request(&script, 5);
	churn(&script, 30);
	CHECK(is_kept(sim_s3fifo, 10, &script, 5));
	CHECK(!is_kept(sim_s3fifo, 10, &script, 6));
	churn(&script, 10);
	CHECK(!is_kept(sim_s3fifo, 10, &script, 5));
}

/* What an object was asked for before it moved on buys no turn there. */
TEST(sims__s3fifo_moving_on__begins_anew)
{
	struct script script = { 0 };

	request_up_to(&script, 10, 2);
	request(&script, 5);
	request(&script, 5);
	request(&script, 11);
	CHECK(is_kept(sim_s3fifo, 10, &script, 5));
	churn(&script, 12);
	CHECK(!is_kept(sim_s3fifo, 10, &script, 5));
}

/* Nor what a ghost was asked for in its life. */
TEST(sims__s3fifo_ghost_returning__begins_anew)
{
	struct script script = { 0 };

	request_up_to(&script, 10, 1);
	request(&script, 5);
	for (uint32_t i = 11; i <= 20; i++)
		request(&script, i); /* 1 to 10 go: 5 too */
	for (uint32_t i = 2; i <= 10; i++)
		request(&script, i);
	CHECK(is_kept(sim_s3fifo_twice, 10, &script, 5));
	churn(&script, 12);
	CHECK(!is_kept(sim_s3fifo_twice, 10, &script, 5));
}

/* Thirty move on; the main queue may have 27 of them. */
TEST(sims__s3fifo_all_moving_on__main_queue_keeps_to_its_share)
{
	struct script script = { 0 };

	request_up_to(&script, 30, 2);
	request(&script, 31);
	CHECK(!is_kept(sim_s3fifo, 30, &script, 3));
	CHECK(is_kept(sim_s3fifo, 30, &script, 4));
}

/* A cache too small for a tenth of it to be anything still works. */
TEST(sims__s3fifo_of_one__keeps_the_last)
{
	CHECK_EQ(MISSES(sim_s3fifo, 1, 1, 1, 2, 2, 3, 2, 2), 4);
}

/* ------------------------------------------------------- sizes, optimum --- */

#define FEW 6u
#define REQUESTS 14u

/* Bytes of a set of objects. */
static uint64_t
set_bytes(unsigned set, const uint64_t *bytes)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < FEW; i++)
		sum += (set >> i & 1) != 0 ? bytes[i] : 0;
	return sum;
}

/* The fewest misses from a request on, by what is there before it. */
static void
best_before(const struct sim_load *load, uint32_t object, const unsigned *after,
    unsigned *before)
{
	for (unsigned set = 0; set < 1u << FEW; set++) {
		unsigned with = set | 1u << object, fewest = UINT32_MAX;

		for (unsigned kept = 0; kept < 1u << FEW; kept++)
			if ((kept & ~with) == 0 && after[kept] < fewest &&
			    set_bytes(kept, load->bytes) <= load->capacity)
				fewest = after[kept];
		before[set] = fewest + (set != with);
	}
}

static unsigned
best_of_all(const struct sim_load *load)
{
	unsigned turns[2][1u << FEW] = { { 0 } };
	size_t i = load->request_count;

	for (; i-- > 0;)
		best_before(load, load->requests[i], turns[(i + 1) & 1],
		    turns[i & 1]);
	return turns[0][0];
}

/* Random requests for a few objects; their sizes are 1 to `sizes`. */
static struct sim_load
random_load(uint64_t *state, unsigned sizes)
{
	static uint32_t requests[REQUESTS];
	static uint64_t bytes[FEW];

	for (unsigned i = 0; i < REQUESTS + FEW; i++) {
		*state = *state * 6364136223846793005u + 1442695040888963407u;
		if (i < REQUESTS)
			requests[i] = (uint32_t)(*state >> 33) % FEW;
		else
			bytes[i - REQUESTS] = 1 + (*state >> 33) % sizes;
	}
	return (struct sim_load){ requests, REQUESTS, bytes, FEW, 3 * sizes / 2 + 1,
		3 * sizes / 2 + 1 };
}

TEST(sims__optimum_of_one_size__nothing_is_better)
{
	uint64_t state = 1;

	for (unsigned n = 0; n < test_rounds(300); n++) {
		struct sim_load load = random_load(&state, 1);

		REQUIRE_EQ(sim_optimum(&load), best_of_all(&load));
	}
}

/* Of several sizes it is possible, and nearly the best. */
TEST(sims__optimum_of_sizes__near_the_best)
{
	unsigned rounds = test_rounds(300), best = 0, ours = 0;
	uint64_t state = 2;

	for (unsigned n = 0; n < rounds; n++) {
		struct sim_load load = random_load(&state, 4);
		uint64_t misses = sim_optimum(&load);

		REQUIRE(misses >= best_of_all(&load));
		best += best_of_all(&load);
		ours += (unsigned)misses;
	}
	CHECK_LE(ours * 100, best * 101);
}

/* 2 is as large as two others; 3 is too large for anybody. */
TEST(sims__sizes__as_many_go_as_must)
{
	static const uint64_t bytes[] = { 1, 1, 2, 3 };
	static const uint32_t requests[] = { 0, 1, 2, 3, 0, 2, 1, 3, 2 };
	struct sim_load load = { requests, COUNT(requests), bytes,
		COUNT(bytes), 3, 2 };

	/* 2 puts out 0, 0 puts out 1, 1 puts out 2. */
	CHECK_EQ(sim_fifo(&load), 8);
	/* 1 puts out 0: 2 was asked for since. */
	CHECK_EQ(sim_lru(&load), 7);
	load.capacity = 4;
	CHECK_EQ(sim_fifo(&load), 5);
}

/* --------------------------------------------------------------- traces --- */

/* The trace that these bytes are. */
static struct trace
trace_of(enum trace_format format, const void *bytes, size_t count, size_t most)
{
	FILE *from = fmemopen((void *)(uintptr_t)bytes, count, "r");
	struct trace trace;

	REQUIRE(from != NULL);
	trace_read(&trace, format, from, most);
	fclose(from);
	return trace;
}

static void
check_requests(struct trace *trace, size_t count, const uint32_t *expected,
    uint32_t objects)
{
	REQUIRE_EQ(trace->request_count, count);
	CHECK_MEM(trace->requests, expected, count * sizeof *expected);
	CHECK_EQ(trace->object_count, objects);
}

TEST(sims__trace_of_ids__objects_are_numbered_as_they_come)
{
	static const unsigned char narrow[] = { 0, 0, 1, 9, 0, 0, 0, 7, 0, 0, 1, 9 };
	static const unsigned char wide[16] = { [0] = 255, [8] = 254 };
	struct trace trace = trace_of(TRACE_IDS_32, narrow, sizeof narrow,
	    SIZE_MAX);

	check_requests(&trace, 3, (const uint32_t[]){ 0, 1, 0 }, 2);
	CHECK(!trace.sized);
	trace_free(&trace);
	trace = trace_of(TRACE_IDS_64, wide, sizeof wide, SIZE_MAX);
	check_requests(&trace, 2, (const uint32_t[]){ 0, 1 }, 2);
	trace_free(&trace);
}

/* An object stays as large as it was at first. */
TEST(sims__trace_of_lines__sizes_and_runs)
{
	static const char sized[] = "1 5 100\n2 6 4092928\n3 5 99\n";
	static const char runs[] = "40 3 0 0\n41 1 0 1\n";
	struct trace trace = trace_of(TRACE_SIZED, sized, sizeof sized - 1,
	    SIZE_MAX);

	check_requests(&trace, 3, (const uint32_t[]){ 0, 1, 0 }, 2);
	CHECK(trace.sized);
	CHECK_EQ(trace.sizes[0], 100);
	CHECK_EQ(trace.sizes[1], 4092928);
	trace_free(&trace);
	trace = trace_of(TRACE_RUNS, runs, sizeof runs - 1, SIZE_MAX);
	check_requests(&trace, 4, (const uint32_t[]){ 0, 1, 2, 1 }, 3);
	trace_free(&trace);
	trace = trace_of(TRACE_RUNS, runs, sizeof runs - 1, 2);
	check_requests(&trace, 2, (const uint32_t[]){ 0, 1 }, 2);
	trace_free(&trace);
}

TEST(sims__trace_of_oracle__id_and_size_of_each_record)
{
	static const unsigned char records[48] = {
		[4] = 1, [11] = 1, [12] = 0, [13] = 2,
		[24 + 4] = 1, [24 + 12] = 3,
	};
	struct trace trace = trace_of(TRACE_ORACLE, records, sizeof records,
	    SIZE_MAX);

	check_requests(&trace, 2, (const uint32_t[]){ 0, 1 }, 2);
	CHECK_EQ(trace.sizes[0], 512);
	CHECK_EQ(trace.sizes[1], 3);
	trace_free(&trace);
}

/* Thousands of objects: the table of ids grows. */
TEST(sims__trace_of_many_objects__each_keeps_its_number)
{
	enum { MANY = 20000 };
	static unsigned char ids[2 * MANY][4];
	struct trace trace;

	for (unsigned i = 0; i < 2 * MANY; i++) {
		unsigned id = (i % MANY) * 2654435761u;

		for (unsigned b = 0; b < 4; b++)
			ids[i][b] = (unsigned char)(id >> (24 - 8 * b));
	}
	trace = trace_of(TRACE_IDS_32, ids, sizeof ids, SIZE_MAX);
	REQUIRE_EQ(trace.request_count, 2 * MANY);
	CHECK_EQ(trace.object_count, MANY);
	for (unsigned i = 0; i < 2 * MANY; i++)
		REQUIRE_EQ(trace.requests[i], i % MANY);
	trace_free(&trace);
}
