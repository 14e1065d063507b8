/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker: one connection at a time, one report or page each. */
#ifndef DEMO_WORKER_H
#define DEMO_WORKER_H

#include "server.h"

/* The worker's life, in a forked child of the master.  Never returns. */
_Noreturn void worker_run(struct server *server, unsigned place, pid_t master);

#endif
