/* SPDX-License-Identifier: BSD-2-Clause */
/* What really happened, in memory that all processes of the demo share. */
#include "journal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"

static const char *const source_names[] = {
	[SOURCE_NONE] = "none",
	[SOURCE_OFF] = "off",
	[SOURCE_HIT] = "hit",
	[SOURCE_COMPUTED] = "computed",
	[SOURCE_SHARED] = "shared",
	[SOURCE_PROMOTED] = "promoted",
	[SOURCE_BYPASS] = "bypass",
};

#define SOURCES (sizeof(source_names) / sizeof(source_names[0]))

struct journal *
journal_open(void)
{
	void *memory = mmap(NULL, sizeof(struct journal),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void
set_time(_Atomic uint64_t *time, uint64_t ns)
{
	atomic_store_explicit(time, ns, memory_order_release);
}

void
journal_stamp(_Atomic uint64_t *time)
{
	set_time(time, clock_now_ns());
}

struct journal_request *
journal_receive(struct journal *journal, unsigned place, uint32_t product)
{
	struct journal_worker *worker = &journal->workers[place];
	/* Relaxed: only the worker at this place counts here. */
	uint32_t count = atomic_load_explicit(&worker->count,
	    memory_order_relaxed);
	struct journal_request *request =
	    &worker->requests[count % JOURNAL_REQUESTS];

	set_time(&request->received_ns, 0);
	set_time(&request->began_ns, 0);
	set_time(&request->ended_ns, 0);
	set_time(&request->answered_ns, 0);
	/* Relaxed: only a rough measure of progress. */
	atomic_store_explicit(&request->steps, 0, memory_order_relaxed);
	request->cpu_ns = 0;
	request->slept_ns = 0;
	request->source = SOURCE_NONE;
	request->product = product;
	request->pid = getpid();
	journal_stamp(&request->received_ns);
	atomic_store_explicit(&worker->count, count + 1, memory_order_release);
	return request;
}

void
journal_answer(struct journal_request *request, enum source source,
    uint64_t slept_ns)
{
	request->source = source;
	request->slept_ns = slept_ns;
	journal_stamp(&request->answered_ns);
}

void
journal_bury(struct journal *journal, const struct journal_death *death)
{
	/* Relaxed: the master is the only writer. */
	uint32_t count = atomic_load_explicit(&journal->death_count,
	    memory_order_relaxed);

	if (count == JOURNAL_DEATHS)
		return;
	journal->deaths[count] = *death;
	atomic_store_explicit(&journal->death_count, count + 1,
	    memory_order_release);
}

unsigned
journal_ready(const struct journal *journal, unsigned places)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < places; i++) {
		if (atomic_load_explicit(&journal->workers[i].pid,
			memory_order_acquire) != 0)
			ready++;
	}
	return ready;
}

void
journal_visit(const struct journal *journal, uint64_t since_ns,
    journal_visitor *visit, void *arg)
{
	for (unsigned place = 0; place < JOURNAL_WORKERS_MAX; place++) {
		const struct journal_worker *worker = &journal->workers[place];
		uint32_t count = atomic_load_explicit(&worker->count,
		    memory_order_acquire);
		uint32_t first = count > JOURNAL_REQUESTS ?
		    count - JOURNAL_REQUESTS :
		    0;

		for (uint32_t i = first; i < count; i++) {
			const struct journal_request *request =
			    &worker->requests[i % JOURNAL_REQUESTS];

			if (journal_time(&request->received_ns) >= since_ns)
				visit(request, place, arg);
		}
	}
}

const struct journal_death *
journal_find_death(const struct journal *journal, int32_t pid)
{
	uint32_t count = atomic_load_explicit(&journal->death_count,
	    memory_order_acquire);

	for (uint32_t i = count; i-- > 0;) {
		if (journal->deaths[i].pid == pid)
			return &journal->deaths[i];
	}
	return NULL;
}

const char *
source_name(enum source source)
{
	return (size_t)source < SOURCES ? source_names[source] : "none";
}

enum source
source_find(const char *name, size_t bytes)
{
	for (size_t i = 1; i < SOURCES; i++) {
		if (strlen(source_names[i]) == bytes &&
		    memcmp(source_names[i], name, bytes) == 0)
			return (enum source)i;
	}
	return SOURCE_NONE;
}
