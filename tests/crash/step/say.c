/* SPDX-License-Identifier: BSD-2-Clause */
/* See say.h. */
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
say(const char *format, ...)
{
	char line[1024];
	va_list args;
	size_t n;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	n = strlen(line);
	line[n++] = '\n';
	/* One write: lines of several processes do not mix. */
	while (write(STDOUT_FILENO, line, n) < 0 && errno == EINTR)
		;
}

void
die(const char *what)
{
	say("step: %s: %s", what, strerror(errno));
	_exit(2);
}
