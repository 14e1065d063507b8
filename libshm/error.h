/* SPDX-License-Identifier: BSD-2-Clause */
/* Set-up errors in words. */
#ifndef LIBSHM_ERROR_H
#define LIBSHM_ERROR_H

#include "shmcache.h"

/* Fills *error (which may be NULL) and returns code, a -errno. */
int error_set(struct shmc_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
