/* SPDX-License-Identifier: BSD-2-Clause */
/* Set-up errors in words: see error.h. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int
error_set(struct shmc_error *error, int code, const char *format, ...)
{
	va_list args;

	if (error == NULL)
		return code;
	error->code = code;
	va_start(args, format);
	(void)vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	return code;
}
