/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values and key streams.
 */
#include "keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

void
keys_value(uint64_t index, unsigned char *value, size_t bytes)
{
	uint64_t word = keys_check(index);

	for (size_t at = 0; at < bytes; at += sizeof(word)) {
		size_t rest = bytes - at;

		memcpy(value + at, &word,
		    rest < sizeof(word) ? rest : sizeof(word));
		word = keys_mix(word + at);
	}
}

/* A random number, 0 <= x < 1. */
static double
random_unit(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return (double)(keys_mix(*state) >> 11) * 0x1p-53;
}

static void
stream_uniform(uint32_t *stream, size_t count, uint32_t entries, uint64_t seed)
{
	for (size_t i = 0; i < count; i++)
		stream[i] = (uint32_t)(random_unit(&seed) * entries);
}

/* sums[r]: the weight of ranks 0 to r. */
static double *
zipf_sums(uint32_t entries, double theta)
{
	double *sums = bench_allocate(entries * sizeof(*sums));
	double sum = 0;

	for (uint32_t rank = 0; rank < entries; rank++) {
		sum += pow(rank + 1.0, -theta);
		sums[rank] = sum;
	}
	return sums;
}

/* The first rank whose sum is beyond x. */
static uint32_t
zipf_rank(const double *sums, uint32_t entries, double x)
{
	uint32_t low = 0, high = entries - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (sums[middle] <= x)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t
common_divisor(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* A factor that strews 0 .. entries - 1 over themselves. */
static uint32_t
strewing_factor(uint32_t entries)
{
	uint32_t factor = (uint32_t)(entries * .6180339887) | 1;

	while (common_divisor(factor, entries) != 1)
		factor += 2;
	return factor;
}

static void
stream_zipf(uint32_t *stream, size_t count, uint32_t entries, double theta,
    uint64_t seed)
{
	double *sums = zipf_sums(entries, theta);
	uint64_t factor = strewing_factor(entries);

	for (size_t i = 0; i < count; i++) {
		double x = random_unit(&seed) * sums[entries - 1];

		stream[i] = (uint32_t)(zipf_rank(sums, entries, x) * factor %
		    entries);
	}
	free(sums);
}

void
keys_stream(uint32_t *stream, size_t count, uint32_t entries, double theta,
    uint64_t seed)
{
	if (theta > 0)
		stream_zipf(stream, count, entries, theta, seed);
	else
		stream_uniform(stream, count, entries, seed);
}
