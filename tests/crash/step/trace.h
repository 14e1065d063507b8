/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child that is stepped through a call of the library, instruction by
 * instruction, and can be brought to any of them again.
 *
 * Counted are the instructions of the library, and those of libc and of the
 * vDSO that it comes to; not those of the test's own callbacks.  A record, made
 * by single steps, lists every point in between.  To come to a point again, the
 * child runs at full speed from breakpoint to breakpoint: see trace_plan().
 */
#ifndef STEP_TRACE_H
#define STEP_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef void body_function(void *arg);

/* Where a child says that what counts begins and ends. */
void step_begin(void);
void step_end(void);

/* NULL, or why this machine cannot step. */
const char *trace_refusal(void);

/* ------------------------------------------------------------- a child --- */

struct child {
	pid_t pid; /* 0: none */
	int status; /* of waitpid(), once it has ended */
};

enum came {
	CAME,	 /* it stands where it was sent */
	STRAYED, /* it ran another way than the record: try again */
	ENDED,	 /* it has ended */
	HANGS,	 /* it does not stop before the deadline */
};

/* What to do when the child sleeps on a futex: make it go on. */
struct nudge {
	void (*fn)(void *arg);
	void *arg;
};

/* Starts a child that calls fn(arg); it stands at step_begin(). */
enum came child_start(struct child *child, body_function *fn, void *arg);

/* Lets it go on to its end, at full speed. */
enum came child_finish(struct child *child);

/* SIGKILL; returns when the kernel is done with it. */
void child_kill(struct child *child);

/* True once it sleeps; false: it has stopped or ended instead, or hangs. */
bool child_sleeps(struct child *child);

/* Lets it go on until it sleeps, in the system call that comes next. */
bool child_falls_asleep(struct child *child);

/* Where it stands. */
uint64_t child_pc(const struct child *child);

/* Seconds that a child or another process may take for anything. */
#define DEADLINE_S 60u

/* ------------------------------------------------------------ a record --- */

enum point_flag {
	POINT_COUNTED = 1,
	POINT_NEWS = 2,	 /* the watched memory is unlike that of the point before */
	POINT_WAITS = 4, /* a system call that sleeps comes next */
	POINT_STIFF = 8, /* no breakpoint here */
	POINT_LOOSE = 16, /* in the vDSO, whose way differs from time to time */
};

/* How one comes to a point: from which other, and how. */
enum way_kind { WAY_START, WAY_HOP, WAY_STEP, WAY_NUDGE };

struct way {
	uint32_t from;
	uint32_t cost; /* microseconds */
	uint32_t kind;
};

struct trace {
	uint32_t count;	  /* points; the last is step_end() */
	uint32_t counted; /* instructions that count */
	uint64_t *pc;
	uint64_t *sp;
	uint8_t *flags;
	uint32_t *nth; /* the point before the nth counted one; [counted]: the end */
	struct way *ways;
	uint32_t *stops; /* room for trace_reach() */
};

#define TRACE_POINTS_MAX (1u << 20)

void trace_init(struct trace *trace);

/*
 * Steps a child that stands at step_begin() to step_end().  watched: changes of
 * these bytes are noted as POINT_NEWS.
 */
enum came trace_record(struct trace *trace, struct child *child,
    const void *watched, size_t watched_bytes, const struct nudge *nudge);

/*
 * Brings a child that stands at step_begin() to the nth counted instruction,
 * which it has not executed yet.
 */
enum came trace_reach(const struct trace *trace, struct child *child,
    uint32_t nth, const struct nudge *nudge);

/*
 * Steps on until the condition holds, looked at after each instruction.
 * CAME: it holds; otherwise as above.
 */
enum came trace_until(struct child *child, bool (*holds)(void *arg), void *arg);

/* "line.c:210 insert", for people; valid until the next call. */
const char *trace_place(uint64_t pc);

/* The library's file. */
const char *trace_library(void);

/* Memory that forks do not copy. */
void *memory_of_ours(size_t bytes);

#endif
