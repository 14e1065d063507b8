/* SPDX-License-Identifier: BSD-2-Clause */
/* Colours, for terminals only, and not where NO_COLOR is set. */
#include "paint.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
wanted(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) &&
	    (no_color == NULL || no_color[0] == '\0') && term != NULL &&
	    strcmp(term, "dumb") != 0;
}

const char *
paint(enum paint paint)
{
	static const char *const sequences[] = {
		[PAINT_PLAIN] = "\033[0m",
		[PAINT_BOLD] = "\033[1m",
		[PAINT_DIM] = "\033[2m",
		[PAINT_GREEN] = "\033[32m",
		[PAINT_YELLOW] = "\033[33m",
		[PAINT_BLUE] = "\033[34m",
		[PAINT_RED] = "\033[1;31m",
	};

	return wanted() ? sequences[paint] : "";
}
