/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded buffer of text that says when something did not fit. */
#ifndef DEMO_TEXT_H
#define DEMO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX 16384u /* bytes; a report has about 1,000, the page 6,000 */

struct text {
	size_t bytes;
	bool overflow; /* something was cut off */
	char data[TEXT_MAX];
};

void text_clear(struct text *text);

/* Appends as printf() does. */
void text_add(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends a string in quotes, as JSON wants it. */
void text_add_json(struct text *text, const char *string);

/* Scratch space for one number in words. */
struct word {
	char text[32];
};

/* 1234567 as "1,234,567". */
const char *text_count(struct word *word, uint64_t count);

/* A duration with two or three figures: "0.21 ms", "262 ms", "9.30 s". */
const char *text_duration(struct word *word, uint64_t ns);

/* "255-260 ms", or one duration where both ends read the same. */
const char *text_range(struct word *word, uint64_t least_ns, uint64_t most_ns);

#endif
