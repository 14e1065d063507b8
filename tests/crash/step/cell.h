/* SPDX-License-Identifier: BSD-2-Clause */
/* A cell: an operation in a state, killed or stopped at its instructions. */
#ifndef STEP_CELL_H
#define STEP_CELL_H

#include "scene.h"

enum mode {
	MODE_KILL, /* dies at the instruction */
	MODE_STOP, /* stands still there while all memory is reused; goes on */
	MODE_PAIR, /* dies there, after `first` has died somewhere */
};

struct cell {
	enum mode mode;
	const char *operation;
	const char *state;
	const char *first; /* MODE_PAIR: who has died before */
	bool judge_before; /* the judge has a slot before the victim */
};

/* How much of a cell is to be done. */
struct extent {
	uint64_t seed;
	bool all;	/* every instruction, from `from` on */
	uint32_t from;
	/* Else wherever the segment has just changed, and at so many others. */
	uint32_t sample;
	uint64_t end_ns; /* not longer than this; 0: as long as it takes */
	int32_t at;	 /* only this one; -1: as said above */
	int32_t first_at; /* MODE_PAIR: only this death of the first */
};

struct result {
	uint32_t instructions;
	uint32_t done;	   /* kills or stops */
	uint32_t missed;   /* instructions that were not come to again */
	uint32_t failures;
	uint32_t next;	   /* where to go on; UINT32_MAX: at the end */
};

void cell_name(const struct cell *cell, char name[96]);

/* All cells, in an order of their own; NULL after the last. */
const struct cell *cell_nth(unsigned n);

void cell_init(void);
void cell_run(const struct cell *cell, const struct extent *extent,
    struct result *result);

#endif
