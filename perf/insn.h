/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Just enough of an x86-64 decoder to tell which instructions are atomic
 * read-modify-writes, and of which address.
 */
#ifndef PERF_INSN_H
#define PERF_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

#define INSN_BYTES_MAX 15u

struct insn {
	bool locked; /* a LOCK prefix, or XCHG with memory */
	bool syscall;
	bool breakpoint;  /* int3 */
	uint64_t address; /* of what is locked */
};

/* Decodes the instruction that a stopped process executes next. */
struct insn insn_decode(const uint8_t bytes[static INSN_BYTES_MAX],
    const struct user_regs_struct *regs);

#endif
