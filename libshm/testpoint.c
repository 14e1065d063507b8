/* SPDX-License-Identifier: BSD-2-Clause */
/* The hook of the test points: see testpoint.h.  Private to the process. */
#include "testpoint.h"

#ifdef SHMC_TESTING
void (*shmc_testpoint_hook)(const char *name);
#endif
