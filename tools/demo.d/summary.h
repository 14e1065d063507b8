/* SPDX-License-Identifier: BSD-2-Clause */
/* The rounds side by side, the conclusion, and whether all is as it should be. */
#ifndef DEMO_SUMMARY_H
#define DEMO_SUMMARY_H

#include "round.h"

enum {
	ROUND_OFF = 0,
	ROUND_ON = 1,
	ROUND_KILL = 2,
	ROUNDS = 3,
};

/*
 * Prints it all, the counted line last.  Returns false if a figure is not
 * what the library promises; which one stands on stderr.
 */
bool summary_print(const struct round rounds[ROUNDS]);

#endif
