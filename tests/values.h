/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values that betray a wrong byte, keys by number, dice, time: what every
 * program of the tests uses, whatever it tells failures with.
 */
#ifndef TESTS_VALUES_H
#define TESTS_VALUES_H

#include <stddef.h>
#include <stdint.h>

/* "key-000042"; returns its length. */
size_t key_of(char key[32], unsigned number);

/*
 * `bytes` bytes that depend on key, version and position; at least 8.  A value
 * made of two, or of another key's, is found out by value_check().
 */
void value_fill(void *value, size_t bytes, uint64_t key, uint64_t version);

/* The version, or UINT64_MAX if it is not whole or of another key. */
uint64_t value_check(const void *value, size_t bytes, uint64_t key);

/* The next number of a series that *state begins. */
uint64_t draw(uint64_t *state);

uint64_t now_ns(void);
void sleep_ms(unsigned ms);

#endif
