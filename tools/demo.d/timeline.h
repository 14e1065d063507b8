/* SPDX-License-Identifier: BSD-2-Clause */
/* A round as a picture: a line per worker, or per group of workers alike. */
#ifndef DEMO_TIMELINE_H
#define DEMO_TIMELINE_H

#include "round.h"

/* Prints what the signs mean. */
void timeline_legend(void);

/* Sorts the round's spans and prints them on a common axis. */
void timeline_print(struct round *round);

#endif
