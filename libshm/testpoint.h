/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named places where a test may kill, stop or record the caller.
 *
 * A TESTPOINT stands after every side effect that another process can see, so
 * that a kill at each of them in turn leaves every state a real kill can.
 * Without SHMC_TESTING it is nothing.
 */
#ifndef LIBSHM_TESTPOINT_H
#define LIBSHM_TESTPOINT_H

#ifdef SHMC_TESTING

/* Called with each name, in the thread that comes by.  Set it before use. */
extern void (*shmc_testpoint_hook)(const char *name);

#define TESTPOINT(name)                             \
	do {                                        \
		if (shmc_testpoint_hook)            \
			shmc_testpoint_hook(name);  \
	} while (0)

#else

#define TESTPOINT(name) \
	do {            \
	} while (0)

#endif
#endif
