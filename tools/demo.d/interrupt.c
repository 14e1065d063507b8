/* SPDX-License-Identifier: BSD-2-Clause */
/* Ctrl-C and friends: blocked, and asked for where it is safe to stop. */
#include "interrupt.h"

#include <time.h>

static bool has_come; /* one of the signals was taken from the kernel */

void
interrupt_signals(sigset_t *signals)
{
	(void)sigemptyset(signals);
	(void)sigaddset(signals, SIGINT);
	(void)sigaddset(signals, SIGTERM);
	(void)sigaddset(signals, SIGHUP);
}

void
interrupt_block(void)
{
	sigset_t signals;

	interrupt_signals(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

bool
interrupted(void)
{
	static const struct timespec at_once = { 0, 0 };
	sigset_t signals;

	interrupt_signals(&signals);
	if (!has_come && sigtimedwait(&signals, NULL, &at_once) > 0)
		has_come = true;
	return has_come;
}

void
interrupt_wait(void)
{
	sigset_t signals;
	int signal;

	if (has_come)
		return;
	interrupt_signals(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	signal = sigwaitinfo(&signals, NULL);
	if (signal > 0 && signal != SIGCHLD)
		has_come = true;
}
