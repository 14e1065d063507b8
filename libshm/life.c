/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Death notices by robust futex: see life.h.
 *
 * F1  The holder's stores before it dies or unlocks happen before whoever then
 *     takes the lock: the kernel's and libc's CAS on the word, trylock's
 *     acquire here.
 * F2  tid and incarnation are stored (release) right after the lock is taken
 *     and read (acquire) after the word: a reader that sees the new holder's
 *     TID in the word, but the old tid or incarnation, says "dead" of the old
 *     owner, which is true.
 *
 * F3  `takes` is raised before the lock is tried (F1 orders it before the new
 *     word), and noted after all else is.  So life_probe(), which loads the
 *     word first, sees with takes == takes_noted that pid and tid are of
 *     whoever the word names, and not of a dead one with the same TID.
 *
 * Progress: wait-free; trylock never sleeps.
 * A kill leaves OWNER_DIED in the word: the kernel walks the thread's robust
 * list before it takes the address space down.
 *
 * Kernel: Documentation/locking/robust-futex-ABI.rst
 */
#include "life.h"

#include "testpoint.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What of the mutex lies in shared memory. */
#define PREFIX_BYTES sizeof(struct life_word)

static pid_t
thread_id(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static int
mutex_init_robust(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;
	int r = pthread_mutexattr_init(&attributes);

	if (r != 0)
		return -r;
	r = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	if (r == 0)
		r = pthread_mutexattr_setrobust(&attributes,
		    PTHREAD_MUTEX_ROBUST);
	if (r == 0)
		r = pthread_mutex_init(mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return -r;
}

/* ------------------------------------------------------- libc's layout --- */

/* Whether the thread's robust list, as the kernel sees it, names this word. */
static bool
robust_list_names(const void *word)
{
	struct robust_list_head *head;
	const struct robust_list *entry;
	size_t bytes;

	if (syscall(SYS_get_robust_list, 0, &head, &bytes) < 0)
		return errno == EPERM || errno == ENOSYS; /* cannot ask */
	entry = head->list.next;
	for (unsigned i = 0; i < 2048 && entry != &head->list; i++) {
		const char *p = (const char *)((uintptr_t)entry & ~1ul);

		if (p + head->futex_offset == (const char *)word)
			return true;
		entry = ((const struct robust_list *)(const void *)p)->next;
	}
	return false;
}

int
life_verify_libc(void)
{
	pthread_mutex_t mutex;
	uint32_t held, freed;
	bool listed;
	int r = mutex_init_robust(&mutex);

	if (r < 0)
		return r;
	if (pthread_mutex_trylock(&mutex) != 0)
		return -ENOSYS;
	memcpy(&held, &mutex, sizeof held);
	listed = robust_list_names(&mutex);
	pthread_mutex_unlock(&mutex);
	memcpy(&freed, &mutex, sizeof freed);
	pthread_mutex_destroy(&mutex);
	if (!listed || (held & FUTEX_TID_MASK) != (uint32_t)thread_id() ||
	    freed != 0)
		return -ENOSYS;
	return 0;
}

/* ----------------------------------------------------------- the alias --- */

static pthread_mutex_t *
mutex_of(const struct life *life)
{
	return (pthread_mutex_t *)(void *)(life->alias + PAGE_BYTES -
	    PREFIX_BYTES);
}

static void
alias_unmap(struct life *life)
{
	munmap(life->alias, 2 * PAGE_BYTES);
	life->alias = NULL;
}

/* Two pages: the slot's, a second time, and a private one. */
static bool
alias_map(struct participant *slot, struct life *life)
{
	pthread_mutex_t mutex;
	char *alias = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (alias == MAP_FAILED)
		return false;
	life->alias = alias;
	/* An old size of 0 duplicates a shared mapping: mremap(2). */
	if (mremap(slot, 0, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, alias) ==
	    MAP_FAILED || mutex_init_robust(&mutex) < 0) {
		alias_unmap(life);
		return false;
	}
	/* A child has no use for it, and must not unlock it. */
	(void)madvise(alias, 2 * PAGE_BYTES, MADV_DONTFORK);
	memcpy(alias + PAGE_BYTES, (const char *)&mutex + PREFIX_BYTES,
	    sizeof mutex - PREFIX_BYTES);
	return true;
}

/* ------------------------------------------------------------ the lock --- */

uint64_t
life_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

bool
life_word_dead(uint32_t word)
{
	return (word & FUTEX_OWNER_DIED) != 0;
}

/*
 * A word that no kernel and no libc would write was scribbled; to the slot's
 * good it counts as dead.
 */
static bool
word_takeable(uint32_t word)
{
	return life_word_dead(word) || (word & FUTEX_TID_MASK) == 0;
}

/* The owner's note of itself, F2, F3. */
static void
note_owner(struct participant *slot)
{
	/* First: from here on nobody takes us for the dead one. */
	atomic_fetch_add_explicit(&slot->incarnation, 1, memory_order_acq_rel);
	TESTPOINT("life_incarnation");
	store_relaxed(&slot->pid_namespace, life_namespace()); /* F3 */
	store_relaxed(&slot->pid, (uint32_t)getpid());
	store_release(&slot->tid, (uint32_t)thread_id());
	TESTPOINT("life_noted");
	store_release(&slot->takes_noted, load_relaxed(&slot->takes));
}

enum life_taken
life_take(struct segment *seg, struct participant *slot, struct life *life)
{
	int r;

	(void)seg;
	uint32_t word = load_relaxed(&slot->life.futex); /* trylock decides */

	if (!word_takeable(word))
		return LIFE_HELD;
	/* Nobody's, but not free: libc knows only the owner's death. */
	if (word != 0 && !life_word_dead(word))
		(void)atomic_compare_exchange_strong_explicit(
		    &slot->life.futex, &word, FUTEX_OWNER_DIED,
		    memory_order_acq_rel, memory_order_relaxed);
	if (!alias_map(slot, life))
		return LIFE_ERROR;
	atomic_fetch_add_explicit(&slot->takes, 1, memory_order_acq_rel); /* F3 */
	TESTPOINT("life_tried");
	r = pthread_mutex_trylock(mutex_of(life));
	if (r != 0 && r != EOWNERDEAD) {
		alias_unmap(life);
		return LIFE_HELD;
	}
	TESTPOINT("life_locked");
	if (r == EOWNERDEAD)
		pthread_mutex_consistent(mutex_of(life));
	note_owner(slot);
	return r == 0 ? LIFE_CLEAN : LIFE_DEAD;
}

void
life_release(struct life *life)
{
	pthread_mutex_t *mutex = mutex_of(life);

	if (pthread_mutex_unlock(mutex) != 0) {
		/*
		 * The word was scribbled and libc does not know it again:
		 * make it ours, so that the mutex leaves the robust list.
		 */
		_Atomic uint32_t *word = (void *)mutex;

		atomic_store_explicit(word, (uint32_t)thread_id(),
		    memory_order_relaxed); /* libc's unlock orders */
		(void)pthread_mutex_unlock(mutex);
	}
	alias_unmap(life);
}

/* ---------------------------------------------------------- the others --- */

bool
life_alive(struct participant *slot, uint64_t incarnation)
{
	uint32_t word = load_acquire(&slot->life.futex); /* F1 */
	uint32_t tid = word & FUTEX_TID_MASK;

	return !life_word_dead(word) && tid != 0 &&
	    tid == load_acquire(&slot->tid) && /* F2 */
	    ((incarnation ^ load_acquire(&slot->incarnation)) &
		INCARNATION_MASK) == 0;
}

uint32_t
life_arm(struct participant *slot)
{
	uint32_t word = load_relaxed(&slot->life.futex); /* the CAS orders */

	while (!word_takeable(word)) {
		if ((word & FUTEX_WAITERS) != 0)
			return word;
		if (atomic_compare_exchange_weak_explicit(&slot->life.futex,
			&word, word | FUTEX_WAITERS, memory_order_acq_rel,
			memory_order_relaxed))
			return word | FUTEX_WAITERS;
	}
	return 0;
}

/* The word's owner is the one of tid, pid and pid_namespace, F3. */
static bool
is_noted(const struct participant *slot, uint32_t word)
{
	uint64_t noted = load_acquire(&slot->takes_noted);

	return (word & FUTEX_TID_MASK) != 0 &&
	    (word & FUTEX_TID_MASK) == load_relaxed(&slot->tid) &&
	    noted == load_relaxed(&slot->takes);
}

void
life_probe(struct participant *slot, uint64_t pid_namespace)
{
	uint32_t word = load_acquire(&slot->life.futex); /* F1, F3 */

	if (pid_namespace == 0 || !is_noted(slot, word) ||
	    load_relaxed(&slot->pid_namespace) != pid_namespace ||
	    syscall(SYS_tgkill, (pid_t)load_relaxed(&slot->pid),
		(pid_t)(word & FUTEX_TID_MASK), 0) == 0 || errno != ESRCH)
		return;
	(void)atomic_compare_exchange_strong_explicit(&slot->life.futex, &word,
	    FUTEX_OWNER_DIED, memory_order_acq_rel, memory_order_relaxed);
}
