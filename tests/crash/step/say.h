/* SPDX-License-Identifier: BSD-2-Clause */
/* What the stepper says: whole lines, whichever process says them. */
#ifndef STEP_SAY_H
#define STEP_SAY_H

#include <stdbool.h>

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The stepper itself cannot go on: says why, with errno, and ends. */
__attribute__((noreturn)) void die(const char *what);

#endif
