/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which thread of which process has which slot.
 *
 * A thread finds its member by a thread-local note, good while the table and
 * the family (fork generation) are the ones it was made for.  In a forked
 * child the kernel has wiped the family's page (MADV_WIPEONFORK): notes of
 * before the fork no longer hold, and nobody had to call anything.
 *
 * Progress: lock-free.  Edges: R1 whoever takes a member over (CAS of `hold`)
 * sees all that its last owner did with it, before it left (release) or died.
 * R2 `hold` is stored (release) once the slot is taken; who reads it (acquire)
 * sees whose it is.
 */
#include "participant.h"

#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers, never reused: a TID would be. */
static _Atomic uint64_t next_thread = 1;
static _Atomic uint64_t next_table = 1;
static _Atomic uint64_t next_family = 1;

static _Thread_local uint64_t this_thread;
_Thread_local struct members_note members_last;

/* Relaxed: only the numbers matter. */
static uint64_t
draw(_Atomic uint64_t *counter)
{
	return atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t
thread_number(void)
{
	if (this_thread == 0)
		this_thread = draw(&next_thread);
	return this_thread;
}

int
members_init(struct members *table, struct segment *seg,
    const struct shmc_options *options)
{
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, PAGE_BYTES, MADV_WIPEONFORK) < 0) {
		munmap(page, PAGE_BYTES);
		return -ENOSYS;
	}
	__cds_lfs_init(&table->stack);
	table->family = page;
	table->seg = seg;
	table->options = options;
	table->id = draw(&next_table);
	return 0;
}

/* The process's family; the first caller after a fork draws a new one. */
static uint64_t
family_of(struct members *table)
{
	uint64_t family = load_relaxed(table->family); /* a number, no edge */

	if (likely(family != 0))
		return family;
	cas_word(table->family, 0, draw(&next_family));
	return load_relaxed(table->family);
}

/* ------------------------------------------------------------ the table --- */

static struct member *
first_member(struct members *table)
{
	struct cds_lfs_head *head = CMM_LOAD_SHARED(table->stack.head);

	tsan_edge_met(&table->stack); /* push, and the address dependency */
	return head == NULL ? NULL :
	    caa_container_of(&head->node, struct member, node);
}

static struct member *
next_member(struct member *m)
{
	return m->node.next == NULL ? NULL :
	    caa_container_of(m->node.next, struct member, node);
}

static void
note(struct members *table, struct member *m)
{
	members_last.table = table->id;
	members_last.family = load_relaxed(&m->family); /* our own store */
	members_last.member = m;
}

static uint64_t
hold_claimed(uint64_t family)
{
	return family << 16;
}

static uint64_t
hold_settled(uint32_t index, uint64_t incarnation)
{
	return incarnation << 16 | (index + 1);
}

static bool
is_settled(uint64_t hold)
{
	return (hold & 0xffff) != 0;
}

struct member *
members_recall(struct members *table)
{
	uint64_t family = load_relaxed(table->family); /* a number, no edge */
	struct member *m = family == 0 || this_thread == 0 ? NULL :
	    first_member(table);

	for (; m != NULL; m = next_member(m))
		if (is_settled(load_acquire(&m->hold)) && /* R2 */
		    load_relaxed(&m->thread) == this_thread &&
		    load_relaxed(&m->family) == family) {
			note(table, m);
			return m;
		}
	return NULL;
}

/* From private facts only: what the segment says of it may be a scribble. */
static bool
thread_has_ended(const struct member *m)
{
	uint32_t tid = load_relaxed(&m->tid); /* R2 */

	return tid != 0 && syscall(SYS_tgkill, getpid(), (pid_t)tid, 0) < 0 &&
	    errno == ESRCH;
}

/* Its thread left it, has ended, or stayed in the parent: free to reuse. */
static bool
is_abandoned(const struct member *m, uint64_t hold, uint64_t family)
{
	if (!is_settled(hold))
		return hold != hold_claimed(family);
	return load_relaxed(&m->family) != family || /* R2 */
	    thread_has_ended(m);
}

/* What an ended thread of this process has left mapped. */
static void
drop_alias(struct member *m, uint64_t family)
{
	if (m->life.alias != NULL && load_relaxed(&m->family) == family)
		munmap(m->life.alias, 2 * PAGE_BYTES);
	m->life.alias = NULL;
}

static void
member_reset(struct member *m, struct segment *seg, uint64_t family)
{
	m->seg = seg;
	m->slot = NULL;
	m->log.block = NO_BLOCK;
	m->side.block = NO_BLOCK;
	m->spare_block = NO_BLOCK;
	m->last_flight = NO_FLIGHT;
	m->epoch = 0;
	m->views = 0;
	m->leads = 0;
	store_relaxed(&m->thread, thread_number()); /* R2 publishes */
	store_relaxed(&m->tid, (uint32_t)syscall(SYS_gettid));
	store_relaxed(&m->family, family);	    /* R2 publishes */
}

static struct member *
reuse_member(struct members *table, uint64_t family)
{
	for (struct member *m = first_member(table); m != NULL;
	     m = next_member(m)) {
		uint64_t hold = load_acquire(&m->hold); /* R2 */

		if (is_abandoned(m, hold, family) &&
		    cas_word(&m->hold, hold, hold_claimed(family))) { /* R1 */
			drop_alias(m, family);
			return m;
		}
	}
	return NULL;
}

static struct member *
new_member(struct members *table, uint64_t family)
{
	struct member *m = table->options->allocate(sizeof *m,
	    table->options->heap_arg);

	if (m == NULL)
		return NULL;
	memset(m, 0, sizeof *m);
	cds_lfs_node_init(&m->node);
	atomic_init(&m->hold, hold_claimed(family)); /* before others see it */
	tsan_edge_made(&table->stack);
	(void)cds_lfs_push(&table->stack, &m->node);
	return m;
}

struct member *
members_enlist(struct members *table)
{
	uint64_t family = family_of(table);
	struct member *m = reuse_member(table, family);

	if (m == NULL)
		m = new_member(table, family);
	if (m != NULL)
		member_reset(m, table->seg, family);
	return m;
}

void
members_settle(struct members *table, struct member *m, uint32_t index)
{
	m->slot = &table->seg->participants[index];
	m->index = index;
	m->incarnation = load_relaxed(&m->slot->incarnation); /* our own store */
	store_relaxed(&m->slot->attached_ns, clock_ns());     /* display */
	store_release(&m->hold, hold_settled(index, m->incarnation)); /* R2 */
	note(table, m);
}

void
members_unsettle(struct members *table, struct member *m)
{
	if (members_last.table == table->id)
		members_last.table = 0;
	/* While the slot still is ours: later, others take us for dead. */
	store_relaxed(&m->hold, hold_claimed(load_relaxed(&m->family)));
}

void
members_leave(struct members *table, struct member *m)
{
	(void)table;
	m->slot = NULL;
	store_release(&m->hold, 0); /* R1 */
}

bool
member_is_ours(struct members *table, const struct member *m,
    uint64_t family)
{
	return family != 0 && family == load_relaxed(table->family) &&
	    m == members_current(table);
}

void
members_fini(struct members *table)
{
	struct member *m = first_member(table), *next;

	for (; m != NULL; m = next) {
		next = next_member(m);
		if (is_settled(load_acquire(&m->hold)) && /* R2 */
		    thread_has_ended(m))
			drop_alias(m, load_relaxed(table->family));
		table->options->release(m, table->options->heap_arg);
	}
	munmap(table->family, PAGE_BYTES);
	if (members_last.table == table->id)
		members_last.table = 0;
}
