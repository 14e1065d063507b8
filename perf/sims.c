/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FIFO, LRU, SIEVE, S3-FIFO and the optimum, object by object.
 */
#include "sims.h"

#include <stdbool.h>
#include <stdlib.h>

#include "bench.h"

#define NOBODY UINT32_MAX
#define FREQ_MAX 3u
#define SMALL_PART 10u /* the small queue: one part in so many */

/* -------------------------------------------------------------- queues --- */

enum place { AWAY, MAIN, SMALL, GHOST, PLACES };

struct node {
	uint32_t older, newer; /* in its queue */
	uint8_t freq;
	uint8_t place;
};

struct queue {
	uint32_t oldest, newest;
	uint64_t bytes;
};

struct sim {
	const struct sim_load *load;
	struct node *nodes; /* one for each object */
	struct queue queues[PLACES];
	uint32_t hand; /* SIEVE */
	unsigned keep; /* S3-FIFO: freq that leads from SMALL to MAIN */
};

static uint64_t
bytes_of(const struct sim *sim, uint32_t object)
{
	return sim->load->bytes[object];
}

static void
push(struct sim *sim, enum place place, uint32_t object)
{
	struct queue *queue = &sim->queues[place];
	struct node *node = &sim->nodes[object];

	node->older = queue->newest;
	node->newer = NOBODY;
	node->place = (uint8_t)place;
	if (queue->newest != NOBODY)
		sim->nodes[queue->newest].newer = object;
	else
		queue->oldest = object;
	queue->newest = object;
	queue->bytes += bytes_of(sim, object);
}

/* From whichever queue it is in. */
static void
take(struct sim *sim, uint32_t object)
{
	struct node *node = &sim->nodes[object];
	struct queue *queue = &sim->queues[node->place];

	if (node->older != NOBODY)
		sim->nodes[node->older].newer = node->newer;
	else
		queue->oldest = node->newer;
	if (node->newer != NOBODY)
		sim->nodes[node->newer].older = node->older;
	else
		queue->newest = node->older;
	queue->bytes -= bytes_of(sim, object);
	node->place = AWAY;
}

static uint32_t
take_oldest(struct sim *sim, enum place place)
{
	uint32_t object = sim->queues[place].oldest;

	take(sim, object);
	return object;
}

static bool
is_there(const struct sim *sim, uint32_t object)
{
	return sim->nodes[object].place == MAIN ||
	    sim->nodes[object].place == SMALL;
}

/* It would not fit beside what is there. */
static bool
is_full_for(const struct sim *sim, uint32_t object)
{
	return sim->queues[MAIN].bytes + sim->queues[SMALL].bytes +
	    bytes_of(sim, object) > sim->load->capacity;
}

typedef void sim_act(struct sim *sim, uint32_t object);

/* Replays the load: `hit` for what is there, `put` for what is not. */
static uint64_t
replay(struct sim *sim, const struct sim_load *load, sim_act *hit, sim_act *put)
{
	uint64_t misses = 0;

	sim->load = load;
	sim->nodes = bench_allocate(load->object_count * sizeof *sim->nodes);
	sim->hand = NOBODY;
	for (unsigned i = 0; i < PLACES; i++)
		sim->queues[i] = (struct queue){ NOBODY, NOBODY, 0 };
	for (size_t i = 0; i < load->request_count; i++) {
		uint32_t object = load->requests[i];

		if (is_there(sim, object)) {
			hit(sim, object);
			continue;
		}
		misses++;
		if (bytes_of(sim, object) <= load->largest)
			put(sim, object);
	}
	free(sim->nodes);
	return misses;
}

/* ---------------------------------------------------- FIFO, LRU, SIEVE --- */

static void
hit_nothing(struct sim *sim, uint32_t object)
{
	(void)sim;
	(void)object;
}

static void
put_for_oldest(struct sim *sim, uint32_t object)
{
	while (is_full_for(sim, object))
		(void)take_oldest(sim, MAIN);
	push(sim, MAIN, object);
}

uint64_t
sim_fifo(const struct sim_load *load)
{
	struct sim sim = { 0 };

	return replay(&sim, load, hit_nothing, put_for_oldest);
}

static void
hit_renews(struct sim *sim, uint32_t object)
{
	take(sim, object);
	push(sim, MAIN, object);
}

uint64_t
sim_lru(const struct sim_load *load)
{
	struct sim sim = { 0 };

	return replay(&sim, load, hit_renews, put_for_oldest);
}

static void
hit_marks(struct sim *sim, uint32_t object)
{
	sim->nodes[object].freq = 1;
}

/* From the hand on to the newest, and again from the oldest. */
static void
sieve_one(struct sim *sim)
{
	uint32_t at = sim->hand;

	for (;; at = sim->nodes[at].newer) {
		if (at == NOBODY)
			at = sim->queues[MAIN].oldest;
		if (sim->nodes[at].freq == 0)
			break;
		sim->nodes[at].freq = 0;
	}
	sim->hand = sim->nodes[at].newer;
	take(sim, at);
}

static void
put_by_sieve(struct sim *sim, uint32_t object)
{
	while (is_full_for(sim, object))
		sieve_one(sim);
	push(sim, MAIN, object);
}

uint64_t
sim_sieve(const struct sim_load *load)
{
	struct sim sim = { 0 };

	return replay(&sim, load, hit_marks, put_by_sieve);
}

/* ------------------------------------------------------------- S3-FIFO --- */

static uint64_t
small_capacity(const struct sim *sim)
{
	return sim->load->capacity / SMALL_PART;
}

static uint64_t
main_capacity(const struct sim *sim)
{
	return sim->load->capacity - small_capacity(sim);
}

static void
hit_counts(struct sim *sim, uint32_t object)
{
	if (sim->nodes[object].freq < FREQ_MAX)
		sim->nodes[object].freq++;
}

/* Gives up one of MAIN: the oldest that was not asked for. */
static void
give_up_main(struct sim *sim)
{
	uint32_t object = take_oldest(sim, MAIN);

	while (sim->nodes[object].freq > 0) {
		sim->nodes[object].freq--;
		push(sim, MAIN, object);
		object = take_oldest(sim, MAIN);
	}
}

static void
remember(struct sim *sim, uint32_t object)
{
	push(sim, GHOST, object);
	while (sim->queues[GHOST].bytes > main_capacity(sim))
		(void)take_oldest(sim, GHOST);
}

/* Moves on who was asked for, until one is given up or nobody is left. */
static void
give_up_small(struct sim *sim)
{
	while (sim->queues[SMALL].oldest != NOBODY) {
		uint32_t object = take_oldest(sim, SMALL);

		if (sim->nodes[object].freq < sim->keep) {
			remember(sim, object);
			return;
		}
		sim->nodes[object].freq = 0;
		push(sim, MAIN, object);
		while (sim->queues[MAIN].bytes > main_capacity(sim))
			give_up_main(sim);
	}
}

/* It is the small queue's turn to give one up. */
static bool
is_small_full(const struct sim *sim)
{
	const struct queue *small = &sim->queues[SMALL];

	return small->oldest != NOBODY &&
	    (small->bytes >= small_capacity(sim) ||
		sim->queues[MAIN].oldest == NOBODY);
}

static void
put_into_queues(struct sim *sim, uint32_t object)
{
	enum place place = SMALL;

	if (sim->nodes[object].place == GHOST) {
		take(sim, object);
		place = MAIN;
	}
	while (is_full_for(sim, object))
		if (is_small_full(sim))
			give_up_small(sim);
		else
			give_up_main(sim);
	sim->nodes[object].freq = 0;
	push(sim, place, object);
}

uint64_t
sim_s3fifo(const struct sim_load *load)
{
	struct sim sim = { .keep = 1 };

	return replay(&sim, load, hit_counts, put_into_queues);
}

uint64_t
sim_s3fifo_twice(const struct sim_load *load)
{
	struct sim sim = { .keep = 2 };

	return replay(&sim, load, hit_counts, put_into_queues);
}

/* ------------------------------------------------------------- optimum --- */

struct oracle {
	const struct sim_load *load;
	uint32_t *next; /* for each request: the next one for its object */
	uint32_t *due;	/* for each object: the next request, if it is there */
	uint32_t *heap; /* such requests, the last on top: equal sizes only */
	size_t heap_size;
	uint32_t *there; /* all objects that are there, and where they stand */
	uint32_t *stands;
	uint32_t count;
	uint64_t bytes;
	bool equal; /* all objects are of one size */
};

static bool
sizes_are_equal(const struct sim_load *load)
{
	for (uint32_t i = 1; i < load->object_count; i++)
		if (load->bytes[i] != load->bytes[0])
			return false;
	return true;
}

static void
heap_push(struct oracle *o, uint32_t request)
{
	size_t at = o->heap_size++;

	while (at > 0 && o->heap[(at - 1) / 2] < request) {
		o->heap[at] = o->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	o->heap[at] = request;
}

static uint32_t
heap_pop(struct oracle *o)
{
	uint32_t top = o->heap[0], last = o->heap[--o->heap_size];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < o->heap_size) {
		if (child + 1 < o->heap_size &&
		    o->heap[child + 1] > o->heap[child])
			child++;
		if (o->heap[child] <= last)
			break;
		o->heap[at] = o->heap[child];
		at = child;
	}
	o->heap[at] = last;
	return top;
}

/* Whom to give up now. */
static uint32_t
least_worth(struct oracle *o, uint32_t now)
{
	uint64_t most = 0, cost;
	uint32_t worst = NOBODY;

	/* Requests that are past are the earliest: they never get to the top. */
	if (o->equal)
		return o->load->requests[heap_pop(o)];
	for (uint32_t i = 0; i < o->count; i++) {
		uint32_t object = o->there[i];

		cost = (o->due[object] - now) * o->load->bytes[object];
		if (cost >= most) {
			most = cost;
			worst = object;
		}
	}
	return worst;
}

static void
leave(struct oracle *o, uint32_t object)
{
	uint32_t last = o->there[--o->count];

	o->there[o->stands[object]] = last;
	o->stands[last] = o->stands[object];
	o->due[object] = NOBODY;
	o->bytes -= o->load->bytes[object];
}

static void
stay(struct oracle *o, uint32_t object, uint32_t due)
{
	o->stands[object] = o->count;
	o->there[o->count++] = object;
	o->due[object] = due;
	o->bytes += o->load->bytes[object];
	if (o->equal)
		heap_push(o, due);
}

/* Returns whether it was there.  Who is asked for no more leaves at once. */
static bool
foresee(struct oracle *o, uint32_t now)
{
	uint32_t object = o->load->requests[now], due = o->next[now];
	bool hit = o->due[object] != NOBODY;

	if (hit)
		leave(o, object);
	if (due != NOBODY && o->load->bytes[object] <= o->load->largest)
		stay(o, object, due);
	while (o->bytes > o->load->capacity)
		leave(o, least_worth(o, now));
	return hit;
}

/* An array of numbers, none of which is one. */
static uint32_t *
nobodies(size_t count)
{
	uint32_t *array = bench_allocate(count * sizeof *array);

	for (size_t i = 0; i < count; i++)
		array[i] = NOBODY;
	return array;
}

static void
find_next(struct oracle *o)
{
	for (size_t i = o->load->request_count; i-- > 0;) {
		uint32_t object = o->load->requests[i];

		o->next[i] = o->due[object];
		o->due[object] = (uint32_t)i;
	}
	for (uint32_t i = 0; i < o->load->object_count; i++)
		o->due[i] = NOBODY;
}

uint64_t
sim_optimum(const struct sim_load *load)
{
	struct oracle o = {
		.load = load,
		.next = nobodies(load->request_count),
		.heap = nobodies(load->request_count),
		.due = nobodies(load->object_count),
		.there = nobodies(load->object_count),
		.stands = nobodies(load->object_count),
		.equal = sizes_are_equal(load),
	};
	uint64_t misses = 0;

	find_next(&o);
	for (size_t i = 0; i < load->request_count; i++)
		misses += !foresee(&o, (uint32_t)i);
	free(o.next);
	free(o.heap);
	free(o.due);
	free(o.there);
	free(o.stands);
	return misses;
}
