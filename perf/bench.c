/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time, pinning, shared memory, futexes, medians and bars.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Whether bench_fork() made this process. */
static bool is_child;

void
bench_die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (is_child)
		kill(getppid(), SIGTERM);
	exit(2);
}

uint64_t
bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void
bench_sleep_until(uint64_t when_ns)
{
	struct timespec when = {
		.tv_sec = (time_t)(when_ns / 1000000000u),
		.tv_nsec = (long)(when_ns % 1000000000u),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) ==
	    EINTR)
		;
}

/* How many CPUs this program may use; asked before anybody is pinned. */
unsigned
bench_cpus(void)
{
	static unsigned cpus;
	cpu_set_t set;

	if (cpus == 0) {
		if (sched_getaffinity(0, sizeof(set), &set) != 0)
			bench_die("sched_getaffinity: %s", strerror(errno));
		cpus = (unsigned)CPU_COUNT(&set);
	}
	return cpus;
}

void
bench_pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % bench_cpus(), &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		bench_die("sched_setaffinity: %s", strerror(errno));
}

void *
bench_shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("mmap of %zu bytes: %s", bytes, strerror(errno));
	return memory;
}

void *
bench_allocate(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (memory == NULL)
		bench_die("out of memory");
	return memory;
}

int
bench_fork(void)
{
	pid_t parent = getpid();

	fflush(NULL);
	int pid = fork();

	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0) {
		is_child = true;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

void
bench_futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

void
bench_futex_wait_two(_Atomic uint32_t *word, uint32_t seen,
    _Atomic uint32_t *other, uint32_t other_seen)
{
	struct futex_waitv waiters[2] = {
		{ .val = seen, .uaddr = (uintptr_t)word, .flags = FUTEX_32 },
		{ .val = other_seen,
		    .uaddr = (uintptr_t)other,
		    .flags = FUTEX_32 },
	};

	syscall(SYS_futex_waitv, waiters, 2, 0, NULL, CLOCK_MONOTONIC);
}

void
bench_futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void
bench_await(_Atomic uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(word, memory_order_acquire)) != value)
		bench_futex_wait(word, seen);
}

static int
sample_compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

double
bench_quantile(double *samples, size_t count, double q)
{
	if (count == 0)
		return (double)NAN;
	qsort(samples, count, sizeof(samples[0]), sample_compare);

	double at = q * (double)(count - 1);
	size_t below = (size_t)at;
	size_t above = below + 1 < count ? below + 1 : below;

	return samples[below] +
	    (at - (double)below) * (samples[above] - samples[below]);
}

double
bench_median(double *samples, size_t count)
{
	return bench_quantile(samples, count, .5);
}

static int
bar_reached(double value, const char *op, double target)
{
	if (strcmp(op, "<=") == 0)
		return value <= target;
	if (strcmp(op, ">=") == 0)
		return value >= target;
	return value <= target && value >= target;
}

void
bench_bar(const char *name, double value, const char *op, double target)
{
	printf("bar %s %.4g %s %.4g %s\n", name, value, op, target,
	    bar_reached(value, op, target) ? "ok" : "short");
}

struct shmc *
bench_segment(uint64_t size_bytes, uint32_t entry_bytes, uint32_t participants)
{
	struct shmc_options options;
	struct shmc_error error;
	struct shmc *cache;

	shmc_options_init(&options, sizeof(options));
	options.size_bytes = size_bytes;
	options.entry_bytes = entry_bytes;
	options.participants = participants;
	if (shmc_open(&cache, &options, &error) != 0)
		bench_die("shmc_open: %s", error.text);
	return cache;
}

FILE *
bench_open(const char *path, const char *mode)
{
	FILE *file = fopen(path, mode);

	if (file == NULL)
		bench_die("%s: %s", path, strerror(errno));
	return file;
}

size_t
bench_read(const char *path, char *text, size_t text_bytes)
{
	FILE *file = bench_open(path, "r");
	size_t bytes = fread(text, 1, text_bytes - 1, file);

	fclose(file);
	text[bytes] = 0;
	return bytes;
}

FILE *
bench_csv(const char *path, const char *header)
{
	FILE *csv = bench_open(path, "w");

	fprintf(csv, "%s\n", header);
	return csv;
}
