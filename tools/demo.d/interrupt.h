/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ctrl-C and friends.  The driver keeps them blocked and looks for them where
 * it is safe to stop, so that it always takes the server down with it.
 */
#ifndef DEMO_INTERRUPT_H
#define DEMO_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

/* SIGINT, SIGTERM, SIGHUP: the signals that end the demo. */
void interrupt_signals(sigset_t *signals);

/* From now on they only become pending, here and in children. */
void interrupt_block(void);

/* Whether one of them has come. */
bool interrupted(void);

/* Sleeps until one of them comes or a child changes state. */
void interrupt_wait(void);

#endif
