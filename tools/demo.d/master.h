/* SPDX-License-Identifier: BSD-2-Clause */
/* The master: forks the workers, replaces the dead, carries out kills. */
#ifndef DEMO_MASTER_H
#define DEMO_MASTER_H

#include "server.h"

/* To the master, by sigqueue(): kill the worker at place si_value.sival_int. */
#define MASTER_KILL SIGUSR1

/* What a process of the server exits with if it could not set itself up. */
#define EXIT_SETUP 3

/* The master's life; returns what it shall exit with. */
int master_run(struct server *server, pid_t driver);

#endif
