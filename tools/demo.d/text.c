/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded buffer of text, and numbers in words. */
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

void
text_clear(struct text *text)
{
	text->bytes = 0;
	text->overflow = false;
	text->data[0] = '\0';
}

void
text_add(struct text *text, const char *format, ...)
{
	size_t room = TEXT_MAX - text->bytes;
	va_list args;
	int wanted;

	va_start(args, format);
	wanted = vsnprintf(text->data + text->bytes, room, format, args);
	va_end(args);
	if (wanted < 0 || (size_t)wanted >= room) {
		text->data[text->bytes] = '\0';
		text->overflow = true;
		return;
	}
	text->bytes += (size_t)wanted;
}

void
text_add_json(struct text *text, const char *string)
{
	text_add(text, "\"");
	for (const char *at = string; *at != '\0'; at++) {
		unsigned char byte = (unsigned char)*at;

		if (byte == '"' || byte == '\\')
			text_add(text, "\\%c", byte);
		else if (byte < 0x20)
			text_add(text, "\\u%04x", byte);
		else
			text_add(text, "%c", byte);
	}
	text_add(text, "\"");
}

const char *
text_count(struct word *word, uint64_t count)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	size_t out = 0;

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			word->text[out++] = ',';
		word->text[out++] = digits[i];
	}
	word->text[out] = '\0';
	return word->text;
}

/* A duration without its unit, and the unit in *unit. */
static void
duration_figures(char *figures, size_t room, const char **unit, uint64_t ns)
{
	double ms = (double)ns / (double)NS_PER_MS;

	*unit = ms < 999.5 ? "ms" : "s";
	if (ms < 0.995)
		(void)snprintf(figures, room, "%.2f", ms);
	else if (ms < 9.95)
		(void)snprintf(figures, room, "%.1f", ms);
	else if (ms < 999.5)
		(void)snprintf(figures, room, "%.0f", ms);
	else
		(void)snprintf(figures, room, "%.2f", ms / 1000.0);
}

const char *
text_duration(struct word *word, uint64_t ns)
{
	const char *unit;
	char figures[16];

	duration_figures(figures, sizeof(figures), &unit, ns);
	(void)snprintf(word->text, sizeof(word->text), "%s %s", figures, unit);
	return word->text;
}

const char *
text_range(struct word *word, uint64_t least_ns, uint64_t most_ns)
{
	const char *units[2];
	char figures[2][12];

	duration_figures(figures[0], sizeof(figures[0]), &units[0], least_ns);
	duration_figures(figures[1], sizeof(figures[1]), &units[1], most_ns);
	if (strcmp(units[0], units[1]) != 0)
		(void)snprintf(word->text, sizeof(word->text), "%s %s-%s %s",
		    figures[0], units[0], figures[1], units[1]);
	else if (strcmp(figures[0], figures[1]) != 0)
		(void)snprintf(word->text, sizeof(word->text), "%s-%s %s",
		    figures[0], figures[1], units[1]);
	else
		(void)text_duration(word, most_ns);
	return word->text;
}
