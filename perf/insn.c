/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefixes, opcode, ModRM, SIB: see volume 2 of Intel's manual, chapter 2.
 */
#include "insn.h"

#include <string.h>

#define REX_X 2u
#define REX_B 1u

/* Where the decoder is, and what it has seen. */
struct cursor {
	const uint8_t *at;
	const struct user_regs_struct *regs;
	bool lock;
	uint8_t rex;
	uint64_t segment; /* base of an fs or gs override */
};

static void
skip_prefixes(struct cursor *cursor)
{
	for (;; cursor->at++) {
		switch (*cursor->at) {
		case 0xf0:
			cursor->lock = true;
			break;
		case 0x64:
			cursor->segment = cursor->regs->fs_base;
			break;
		case 0x65:
			cursor->segment = cursor->regs->gs_base;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x66:
		case 0x67:
		case 0xf2:
		case 0xf3:
			break;
		default:
			if ((*cursor->at & 0xf0) == 0x40)
				cursor->rex = *cursor->at++;
			return;
		}
	}
}

static uint64_t
register_value(const struct user_regs_struct *regs, unsigned number)
{
	const uint64_t values[16] = {
		regs->rax,
		regs->rcx,
		regs->rdx,
		regs->rbx,
		regs->rsp,
		regs->rbp,
		regs->rsi,
		regs->rdi,
		regs->r8,
		regs->r9,
		regs->r10,
		regs->r11,
		regs->r12,
		regs->r13,
		regs->r14,
		regs->r15,
	};

	return values[number & 15];
}

static uint64_t
displacement(const uint8_t *at, unsigned bytes)
{
	int32_t wide;

	if (bytes == 0)
		return 0;
	if (bytes == 1)
		return (uint64_t)(int64_t)(int8_t)*at;
	memcpy(&wide, at, sizeof(wide));
	return (uint64_t)(int64_t)wide;
}

/* base + index * scale of a SIB byte; tells whether there is no base. */
static uint64_t
sib_address(const struct cursor *cursor, uint8_t sib, unsigned mod,
    bool *no_base)
{
	unsigned index = (sib >> 3 & 7) | (cursor->rex & REX_X) << 2;
	unsigned base = (sib & 7) | (cursor->rex & REX_B) << 3;
	uint64_t address = 0;

	*no_base = mod == 0 && (base & 7) == 5;
	if (!*no_base)
		address = register_value(cursor->regs, base);
	if (index != 4)
		address += register_value(cursor->regs, index) << (sib >> 6);
	return address;
}

/*
 * The address that the ModRM byte under the cursor names.  Relative ones are
 * exact but for an immediate behind them, which leaves them on their page but
 * for a few bytes at its end.
 */
static uint64_t
modrm_address(const struct cursor *cursor)
{
	const uint8_t *at = cursor->at;
	unsigned mod = *at >> 6, rm = *at & 7;
	unsigned bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	bool no_base = false;
	uint64_t address;

	at++;
	if (rm == 4) {
		address = sib_address(cursor, *at++, mod, &no_base);
	} else if (mod == 0 && rm == 5) {
		no_base = true;
		address = cursor->regs->rip + (uint64_t)(at - cursor->at) + 4;
	} else {
		address = register_value(cursor->regs,
		    rm | (cursor->rex & REX_B) << 3);
	}
	if (no_base)
		bytes = 4;
	return cursor->segment + address + displacement(at, bytes);
}

/* Leaves the cursor on the byte behind the opcode. */
static unsigned
skip_opcode(struct cursor *cursor)
{
	if (*cursor->at != 0x0f)
		return *cursor->at++;
	cursor->at++;
	if (*cursor->at == 0x38 || *cursor->at == 0x3a)
		cursor->at++;
	return 0x0f00u | *cursor->at++;
}

struct insn
insn_decode(const uint8_t bytes[static INSN_BYTES_MAX],
    const struct user_regs_struct *regs)
{
	struct cursor cursor = { .at = bytes, .regs = regs };
	struct insn insn = { 0 };

	skip_prefixes(&cursor);
	unsigned opcode = skip_opcode(&cursor);
	bool memory = *cursor.at >> 6 != 3;

	insn.breakpoint = opcode == 0xcc;
	insn.syscall = opcode == 0x0f05;
	insn.locked = cursor.lock ||
	    ((opcode == 0x86 || opcode == 0x87) && memory);
	if (insn.locked)
		insn.address = modrm_address(&cursor);
	return insn;
}
