/* SPDX-License-Identifier: BSD-2-Clause */
/* futex(2) and futex_waitv(2): see futex.h. */
#include "futex.h"

#include "clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a kernel without futex_waitv may miss the second word. */
#define BLIND_NS (5 * NS_PER_MS)

static struct timespec
to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S) };
}

static void
wait_one(const struct futex_word *w, uint64_t deadline_ns)
{
	struct timespec until = to_timespec(deadline_ns);

	/* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. */
	(void)syscall(SYS_futex, w->word, FUTEX_WAIT_BITSET, w->expected,
	    &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void
futex_wait(const struct futex_word *words, unsigned count,
    uint64_t deadline_ns)
{
	struct timespec until = to_timespec(deadline_ns);
	struct futex_waitv both[2];

	if (count == 1) {
		wait_one(&words[0], deadline_ns);
		return;
	}
	memset(both, 0, sizeof both);
	for (unsigned i = 0; i < 2; i++) {
		both[i].uaddr = (uintptr_t)words[i].word;
		both[i].val = words[i].expected;
		both[i].flags = FUTEX_32;
	}
	if (syscall(SYS_futex_waitv, both, 2, 0, &until, CLOCK_MONOTONIC) < 0 &&
	    errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
		wait_one(&words[0], min_u64(deadline_ns, clock_ns() + BLIND_NS));
}

int
futex_wake_all(_Atomic uint32_t *word)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
