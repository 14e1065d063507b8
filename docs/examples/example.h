/* SPDX-License-Identifier: BSD-2-Clause */
/* What the examples have in common: a cache, workers, and a loud end. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <shmcache.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ends the process with status 1 if what the example claims is not so. */
#define MUST(condition)                                                \
	((condition) ? (void)0 : must_have(__FILE__, __LINE__, #condition))

__attribute__((noreturn)) static inline void
must_have(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	exit(1);
}

/* An anonymous segment of 16 MiB, which workers inherit. */
static inline struct shmc *
open_cache(void)
{
	struct shmc_options options;
	struct shmc_error error;
	struct shmc *cache;

	shmc_options_init(&options, sizeof options);
	options.size_bytes = 16u << 20;
	if (shmc_open(&cache, &options, &error) != 0) {
		fprintf(stderr, "shmc_open: %s\n", error.text);
		exit(1);
	}
	return cache;
}

/* Forks a worker; it ends with status 0 after work(arg). */
static inline pid_t
start(void (*work)(void *), void *arg)
{
	pid_t worker;

	fflush(stdout);
	worker = fork();
	MUST(worker >= 0);
	if (worker == 0) {
		alarm(20); /* rather than hang, whatever happens */
		work(arg);
		exit(0);
	}
	return worker;
}

static inline void
finish(pid_t worker)
{
	int status;

	MUST(waitpid(worker, &status, 0) == worker);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A gate between processes: who passes waits until somebody lets one pass. */
struct gate {
	int ends[2];
};

static inline struct gate
gate_new(void)
{
	struct gate gate;

	MUST(pipe(gate.ends) == 0);
	return gate;
}

static inline void
gate_open(const struct gate *gate)
{
	MUST(write(gate->ends[1], "", 1) == 1);
}

static inline void
gate_pass(const struct gate *gate)
{
	char byte;

	MUST(read(gate->ends[0], &byte, 1) == 1);
}

static inline void
sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

/* Deadlines are absolute: now, and so much later. */
static inline uint64_t
in_ms(uint64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec +
	    ms * 1000000u;
}

/* Values are bytes, not strings: what a view holds against a string. */
static inline bool
says(const struct shmc_view *view, const char *text)
{
	return view->size_bytes == strlen(text) &&
	    view->piece_bytes == view->size_bytes &&
	    memcmp(view->data, text, view->size_bytes) == 0;
}

static inline struct shmc_stats
stats_of(struct shmc *cache)
{
	struct shmc_stats stats;

	shmc_stats(cache, &stats, sizeof stats);
	return stats;
}

#endif
