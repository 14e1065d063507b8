/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts the atomic read-modify-writes of a hit by executing it one
 * instruction at a time: a child runs each call between two breakpoints, and
 * its parent steps through it and decodes what comes next.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "insn.h"
#include "keys.h"

#define VALUE_BYTES 240u
#define WARM_HITS 64u /* far more than an entry's counter counts */
#define SITES_MAX 16u

/* What one call executed. */
struct count {
	unsigned instructions;
	unsigned locked; /* all memory */
	unsigned shared; /* of them, on memory that processes share */
	unsigned syscalls;
	uint64_t sites[SITES_MAX]; /* where the shared ones are */
};

static inline void
breakpoint(void)
{
	__asm__ volatile("int3" ::: "memory");
}

/* --------------------------------------------------------------- child -- */

static void
call_get(struct shmc *cache, const char *key)
{
	unsigned char value[VALUE_BYTES];
	size_t bytes;

	breakpoint();
	enum shmc_status status = shmc_get(cache, key, KEY_BYTES, value,
	    sizeof(value), &bytes);

	breakpoint();
	if (status != SHMC_OK)
		_exit(1);
}

static void
call_view(struct shmc *cache, const char *key)
{
	struct shmc_view view;

	breakpoint();
	enum shmc_status status = shmc_view(cache, key, KEY_BYTES, &view);

	shmc_view_release(&view);
	breakpoint();
	if (status != SHMC_OK)
		_exit(1);
}

static void
warm_up(struct shmc *cache, const char *key)
{
	unsigned char value[VALUE_BYTES];
	struct shmc_view view;
	size_t bytes;

	for (unsigned n = 0; n < WARM_HITS; n++)
		if (shmc_get(cache, key, KEY_BYTES, value, sizeof(value),
			&bytes) != SHMC_OK ||
		    shmc_view(cache, key, KEY_BYTES, &view) != SHMC_OK)
			_exit(1);
		else
			shmc_view_release(&view);
}

static void
put(struct shmc *cache, const char *key)
{
	unsigned char value[VALUE_BYTES] = { 0 };

	if (shmc_put(cache, key, KEY_BYTES, value, sizeof(value), 0) != SHMC_OK)
		_exit(1);
}

/* Its calls appear in the order of the rows of main(). */
static _Noreturn void
child_main(struct shmc *cache)
{
	char old[KEY_BYTES], new[KEY_BYTES];

	keys_key(1, old);
	keys_key(2, new);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	put(cache, old);
	put(cache, new);
	warm_up(cache, old);
	call_get(cache, new);
	warm_up(cache, new);
	call_get(cache, new);
	call_view(cache, new);
	_exit(0);
}

/* -------------------------------------------------------------- parent -- */

/* Waits for the child to stop; it must be at a trap. */
static void
await_trap(int pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    WSTOPSIG(status) != SIGTRAP)
		bench_die("the traced calls failed, wait status %#x",
		    (unsigned)status);
}

/* Lets the stopped child run on. */
static void
proceed(int pid)
{
	if (ptrace(PTRACE_CONT, pid, NULL, NULL) != 0)
		bench_die("ptrace: %s", strerror(errno));
}

static void
step(int pid)
{
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
		bench_die("ptrace: %s", strerror(errno));
	await_trap(pid);
}

static struct insn
next_insn(int pid, struct user_regs_struct *regs)
{
	uint8_t bytes[INSN_BYTES_MAX] = { 0 };

	if (ptrace(PTRACE_GETREGS, pid, NULL, regs) != 0)
		bench_die("ptrace: %s", strerror(errno));
	struct iovec local = { bytes, sizeof(bytes) };
	struct iovec remote = { (void *)(uintptr_t)regs->rip, sizeof(bytes) };

	/* Fewer bytes arrive at the end of a mapping. */
	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) <= 0)
		bench_die("process_vm_readv: %s", strerror(errno));
	return insn_decode(bytes, regs);
}

/* Whether a line of /proc/PID/maps is about the address: FROM-TO RIGHTS ... */
static bool
line_covers(const char *line, uint64_t address, const char **rights)
{
	char *rest;
	uint64_t from = strtoull(line, &rest, 16);
	uint64_t to = strtoull(rest + 1, &rest, 16);

	*rights = rest + 1;
	return address >= from && address < to;
}

/* Whether the address lies in a shared mapping of the process. */
static bool
is_shared(int pid, uint64_t address)
{
	char path[32], line[512];
	const char *rights;
	bool shared = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *maps = bench_open(path, "r");

	while (fgets(line, sizeof(line), maps) != NULL)
		if (line_covers(line, address, &rights))
			shared = rights[3] == 's';
	fclose(maps);
	return shared;
}

static void
count_locked(struct count *count, int pid, uint64_t address, uint64_t rip)
{
	count->locked++;
	if (!is_shared(pid, address))
		return;
	if (count->shared < SITES_MAX)
		count->sites[count->shared] = rip;
	count->shared++;
}

/* Steps through the next call of the child, from breakpoint to breakpoint. */
static struct count
count_call(int pid)
{
	struct user_regs_struct regs;
	struct count count = { 0 };
	uint64_t last = 0;

	await_trap(pid);
	for (;;) {
		struct insn insn = next_insn(pid, &regs);

		if (insn.breakpoint)
			break;
		/* A repeated string instruction stops after each round. */
		count.instructions += regs.rip != last;
		last = regs.rip;
		count.syscalls += insn.syscall;
		if (insn.locked)
			count_locked(&count, pid, insn.address, regs.rip);
		step(pid);
	}
	proceed(pid);
	await_trap(pid);
	proceed(pid);
	return count;
}

/* Parent and child have the same libraries at the same addresses. */
static void
print_site(uint64_t address)
{
	Dl_info info;

	if (dladdr((void *)(uintptr_t)address, &info) == 0)
		return;
	const char *slash = strrchr(info.dli_fname, '/');

	printf("  %36s at %s+%#llx\n", "",
	    slash == NULL ? info.dli_fname : slash + 1,
	    (unsigned long long)(address - (uintptr_t)info.dli_fbase));
}

static void
print_count(const char *name, const struct count *count)
{
	printf("  %-36s %12u %8u %10u %9u\n", name, count->instructions,
	    count->locked, count->shared, count->syscalls);
	for (unsigned i = 0; i < count->shared && i < SITES_MAX; i++)
		print_site(count->sites[i]);
}

int
main(void)
{
	struct shmc *cache = bench_segment((uint64_t)64 << 20, 256, 16);
	int pid = bench_fork();

	if (pid == 0)
		child_main(cache);
	struct count first = count_call(pid);
	struct count warm = count_call(pid);
	struct count view = count_call(pid);

	waitpid(pid, NULL, 0);
	printf("\nrmw: what a hit executes, 240 B value\n\n");
	printf("  %-36s %12s %8s %10s %9s\n", "call", "instructions", "locked",
	    "on shared", "syscalls");
	print_count("shmc_get, the entry's first hit", &first);
	print_count("shmc_get, later", &warm);
	print_count("shmc_view, shmc_view_release", &view);
	printf("\n");
	bench_bar("hit_locked_rmw", warm.shared, "<=", 0);
	bench_bar("hit_first_locked_rmw", first.shared, "<=", 1);
	return 0;
}
