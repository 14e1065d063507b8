/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One worker's stage: a segment, and what its processes share.
 *
 *   worker   builds the segment's state, steps the victim, kills it
 *   victim   a child for each kill: one operation
 *   judge    a child for each cell: does everything else that is done to the
 *            segment, and finds what is wrong with it
 *   resident a child that stays: a placeholder, a leader, one that hangs
 *
 * A cell is an operation in a state.
 */
#ifndef STEP_SCENE_H
#define STEP_SCENE_H

#include "aftermath.h"
#include "cache.h"
#include "say.h"
#include "shmcache.h"
#include "trace.h"
#include "values.h"

/* The key that every operation is about. */
#define KEY "the key"
#define KEY_BYTES (sizeof KEY - 1)
#define KEY_ID 1u
#define SMALL_BYTES 100u
#define LARGE_BYTES 20000u /* three blocks */
#define SEGMENT_BYTES (1u << 20)
#define PARTICIPANTS 5u
#define TAG "a tag"
#define LONG_MS (30u * 24 * 3600 * 1000) /* longer than any run */

/* Who wrote a value: its version. */
enum { OLD = 1, NEW = 2, ACTOR = 3, OTHERS = 7, JUDGE = 9 };

/* What one may find for the key: a set. */
enum outcome {
	IS_MISS = 1,
	IS_OLD = 2,
	IS_NEW = 4,
	IS_ACTOR = 8,
	IS_OTHERS = 16,
	IS_JUDGE = 32,
	IS_ABSENT = 64,
	IS_ERROR = 128,
};

enum state_flag {
	STATE_FULL = 1,	      /* memory is used up: old entries go */
	STATE_LINE_FULL = 2,  /* so is the key's pair of lines: one may go */
	STATE_DEAD_FIRST = 4, /* slot 0 is a dead one's: the victim's to repair */
	STATE_ACTOR_DIES = 8, /* the actor is killed when it would be nudged */
	STATE_STALE = 16,     /* the key's value is past its ttl */
	STATE_AWAITED = 32,   /* others wait for what the victim computes */
};

struct state {
	const char *name;
	void (*fill)(void);    /* puts entries, in a process of its own */
	void (*befall)(void);  /* then deaths and hangs, by the worker */
	void (*prepare)(void); /* in the victim, before the operation */
	void (*actor)(void);   /* a resident for each kill */
	uint32_t before;       /* outcomes, should nothing happen */
	size_t old_bytes;
	uint32_t flags;
};

enum operation_flag {
	OPERATION_UNATTACHED = 1, /* the victim has no slot before it */
	OPERATION_TAG = 2,	  /* what has TAG may go */
	OPERATION_FLUSH = 4,	  /* all may go, at once */
	OPERATION_FILE = 8,	  /* makes another segment: scene.other_path */
	OPERATION_WRITES = 16,	  /* at its end the outcome is one of after */
	OPERATION_PASSES = 32,	  /* who waits computes for himself */
};

struct operation {
	const char *name;
	void (*run)(void); /* from step_begin() to step_end() */
	uint32_t after;	   /* outcomes, besides those of before */
	size_t new_bytes;
	uint32_t flags;
};

/* ----------------------------------------------------------------- desk --- */

#define FINDINGS_MAX 8u

enum task {
	TASK_ATTACH, /* take a slot; note where the key's value lies */
	TASK_CHECK,  /* what a death has left */
	TASK_CHURN,  /* while the victim stands still: reuse all memory */
	TASK_DETACH,
};

/* What the processes of a stage share besides the segment. */
struct desk {
	_Atomic uint32_t orders; /* given to the judge */
	_Atomic uint32_t done;	 /* orders that it has done */
	_Atomic uint32_t ready;	 /* residents that have come so far */
	_Atomic uint32_t nudges; /* residents may go on */
	_Atomic bool stopped;	 /* the victim was; now it looks at what it gets */
	_Atomic bool drain;	 /* the check is to reuse all memory */
	_Atomic bool must_share; /* the victim has joined: it gets the result */
	_Atomic uint32_t joined; /* the victim's loader may go on: it is awaited */
	_Atomic unsigned loads;	 /* by those who waited for the victim */
	_Atomic unsigned shared; /* its values, that they got */
	_Atomic unsigned variant; /* of what others do meanwhile */
	enum task task;
	uint32_t allowed; /* outcomes */
	_Atomic unsigned findings;
	char finding[FINDINGS_MAX][160];
};

struct scene {
	struct shmc *cache;
	struct segment *seg;
	struct desk *desk;
	const struct operation *operation;
	const struct state *state;
	char path[64];
	char other_path[80];
	int fd;
	uint64_t living; /* slots of residents that stay */
	struct holdings before; /* what the dead of the state hold */
	size_t new_bytes; /* of the value that the victim writes */
	bool aged; /* the block of the key's value is the next to be reused */
	uint32_t lease_ms; /* of the victim's leads; 0: the segment's */
};

extern struct scene scene;

/* Notes what is wrong, in whichever process. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For the victim's loader: returns when the waiters of the state wait. */
void be_awaited(void);

/* The waiters of STATE_AWAITED. */
void wait_for_victim(void);

/* Waits until *word is no longer `seen`, or for DEADLINE_S: false. */
bool word_await(_Atomic uint32_t *word, uint32_t seen);
void word_bump(_Atomic uint32_t *word);

/* ------------------------------------------------------------ residents --- */

struct resident {
	pid_t pid; /* 0: none */
};

/*
 * Starts a process that calls fn and ends; returns once it has said
 * resident_ready().
 */
void resident_start(struct resident *resident, void (*fn)(void));
void resident_ready(void);
/* Until the next word_bump(&desk->nudges). */
void resident_wait(void);
/* Waits for its end. */
void resident_join(struct resident *resident);
void resident_kill(struct resident *resident);

/* -------------------------------------------------------------- helpers --- */

/* Takes a slot. */
void attach(void);

/* shmc_put() of a value of the key KEY; dies if it fails. */
void put_key(size_t bytes, uint64_t version, uint64_t ttl_ms);

/* The bytes of a value that betrays a wrong byte, of KEY. */
const void *key_value(uint64_t version);

/* The key's hash, its pair of lines, its word in it; WORD_EMPTY: none. */
uint64_t key_hash(const void *bytes, size_t size);
struct line *key_pair(void);
uint64_t key_word(void);
/* The block of its entry; UINT32_MAX: none. */
uint32_t key_block(void);

/* Keys that the state came with, besides KEY. */
struct bystander {
	char key[24];
	size_t bytes;
	uint64_t id; /* of its value */
	bool tagged;
};

#define BYSTANDERS_MAX 40u

extern struct bystander bystanders[BYSTANDERS_MAX];
extern unsigned bystander_count;

/* The tables. */
extern const struct operation operations[];
extern const struct state states[];
const struct operation *operation_find(const char *name);
const struct state *state_find(const char *name);

/* Defaults, with a heap that is always the same. */
void stage_options(struct shmc_options *options);

/* Builds the state in scene.state and the image of it. */
void stage_init(unsigned worker);
void stage_end(void);
void stage_build(void);
/* Makes the segment what it was after stage_build(). */
void stage_restore(void);
/* Ends the residents of the state. */
void stage_clear(void);

/*
 * For states: runs the operation in a child, single-stepped, until the condition
 * holds; then kills it, or leaves it standing there for as long as the state.
 */
void kill_when(void (*run)(void), bool (*holds)(void *arg));
void stop_when(void (*run)(void), bool (*holds)(void *arg));

/* The judge's process: takes orders for ever. */
__attribute__((noreturn)) void judge_run(void);

#endif
