/* SPDX-License-Identifier: BSD-2-Clause */
/* Colours, for terminals only, and not where NO_COLOR is set. */
#ifndef DEMO_PAINT_H
#define DEMO_PAINT_H

enum paint {
	PAINT_PLAIN,
	PAINT_BOLD,
	PAINT_DIM,
	PAINT_GREEN,
	PAINT_YELLOW,
	PAINT_BLUE,
	PAINT_RED,
};

/* The sequence that switches to a colour on stdout, or "". */
const char *paint(enum paint paint);

#endif
