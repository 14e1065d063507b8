/* SPDX-License-Identifier: BSD-2-Clause */
/* See values.h. */
#include "values.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

size_t
key_of(char key[32], unsigned number)
{
	return (size_t)snprintf(key, 32, "key-%06u", number);
}

/* splitmix64 (Steele, Lea, Flood 2014): a word for each place. */
#define GOLDEN 0x9e3779b97f4a7c15ull

static uint64_t
mix(uint64_t x)
{
	x += GOLDEN;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t
draw(uint64_t *state)
{
	uint64_t x = *state;

	*state += GOLDEN;
	return mix(x);
}

static unsigned char
byte_at(size_t i, uint64_t key, uint64_t version)
{
	return (unsigned char)(mix(key * 31 + version * 1000003 + i / 8) >>
	    (i % 8 * 8));
}

void
value_fill(void *value, size_t bytes, uint64_t key, uint64_t version)
{
	unsigned char *p = value;

	memcpy(p, &version, sizeof version);
	for (size_t i = sizeof version; i < bytes; i++)
		p[i] = byte_at(i, key, version);
}

uint64_t
value_check(const void *value, size_t bytes, uint64_t key)
{
	const unsigned char *p = value;
	uint64_t version;

	if (bytes < sizeof version)
		return UINT64_MAX;
	memcpy(&version, p, sizeof version);
	for (size_t i = sizeof version; i < bytes; i++)
		if (p[i] != byte_at(i, key, version))
			return UINT64_MAX;
	return version;
}

uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0)
		;
}
