/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys and values that all peers store, and the order in which they are
 * asked for.  An entry is known by its index; key and value follow from it.
 */
#ifndef PERF_KEYS_H
#define PERF_KEYS_H

#include <stddef.h>
#include <stdint.h>

#define STREAM_LENGTH (1u << 20) /* indexes in a stream, a power of two */
#define KEY_BYTES 16u

/* The bijective finalizer of splitmix64. */
static inline uint64_t
keys_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* Eight hexadecimal digits, without a branch or a table. */
static inline uint64_t
keys_hex(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101u;

	x = (x | x << 16) & 0x0000ffff0000ffffu;
	x = (x | x << 8) & 0x00ff00ff00ff00ffu;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
	return x + ones * '0' + ((x + ones * 6) >> 4 & ones) * ('a' - '0' - 10);
}

/* Writes the key of an entry: 16 digits that look random. */
static inline void
keys_key(uint64_t index, char key[static KEY_BYTES])
{
	uint64_t mixed = keys_mix(index + 1);
	uint64_t digits[2] = { keys_hex(mixed & 0xffffffffu),
		keys_hex(mixed >> 32) };

	__builtin_memcpy(key, digits, KEY_BYTES);
}

/* The first 8 bytes of an entry's value, by which readers check it. */
static inline uint64_t
keys_check(uint64_t index)
{
	return (index ^ 0x5aa5c33c96690ff0u) * 0x9e3779b97f4a7c15u;
}

/* Writes a whole value, at least 8 bytes. */
void keys_value(uint64_t index, unsigned char *value, size_t bytes);

/*
 * Fills stream[0 .. count) with indexes below `entries`: uniform if theta is
 * 0, else zipf with exponent theta, the popular ones strewn over all indexes.
 */
void keys_stream(uint32_t *stream, size_t count, uint32_t entries, double theta,
    uint64_t seed);

#endif
