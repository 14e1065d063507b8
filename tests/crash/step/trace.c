/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single steps and breakpoints by ptrace(2): see trace.h.
 *
 * A step and a breakpoint cost about the same, so a point is come to by the
 * fewest of both.  From point i one breakpoint leads to the next occurrence of
 * its address only: hence a point within a loop costs a stop for each turn, and
 * any other one stop in all.
 */
#include "trace.h"

#include "base.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Relative costs, microseconds on a virtual machine; only their ratio counts. */
#define HOP_COST 14u
#define STEP_COST 17u
/* Points within one repeated move that count: more are all alike. */
#define REPEATS_COUNTED 3u
/*
 * Points of one visit to the vDSO that count.  How long it reads the clock
 * anew depends on the clock; a good reading takes some more than this.
 */
#define VDSO_COUNTED 24u

/* Both stand at an int3 of their own, so that the parent gets the child. */
__asm__(".text\n"
	".globl step_begin, step_end\n"
	".type step_begin, @function\n"
	".type step_end, @function\n"
	"step_begin: int3\n"
	"	ret\n"
	"	.size step_begin, . - step_begin\n"
	"step_end: int3\n"
	"	ret\n"
	"	.size step_end, . - step_end\n");

void *
memory_of_ours(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, bytes, MADV_DONTFORK) < 0)
		die("mmap");
	return memory;
}

/* ------------------------------------------------------ whose code it is -- */

/* The text of the library and of this program; their neighbours are libc. */
struct range {
	uint64_t from, to;
};

static struct range library, program, vdso;
static uint64_t library_from; /* its first byte */
static char library_file[512];

const char *
trace_library(void)
{
	return library_file;
}

static void
note_library(uint64_t from, const char *line)
{
	const char *path = strchr(line, '/');

	if (library_from != 0 || path == NULL ||
	    strstr(path, "libshmcache") == NULL)
		return;
	library_from = from;
	(void)snprintf(library_file, sizeof library_file, "%.*s",
	    (int)strcspn(path, "\n"), path);
}

static void
note_mapping(const char *line)
{
	uint64_t from, to;
	char access[8];

	if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3)
		return;
	note_library(from, line);
	if (access[2] != 'x')
		return;
	if (strstr(line, "libshmcache") != NULL)
		library = (struct range){ from, to };
	else if (strstr(line, "[vdso]") != NULL)
		vdso = (struct range){ from, to };
	else if ((uintptr_t)step_begin >= from && (uintptr_t)step_begin < to)
		program = (struct range){ from, to };
}

static void
find_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
		note_mapping(line);
	if (maps != NULL)
		fclose(maps);
	if (library.to == 0 || program.to == 0)
		die("no text of the library in /proc/self/maps");
}

static bool
is_in(struct range range, uint64_t pc)
{
	return pc >= range.from && pc < range.to;
}

/* ------------------------------------------------------------ the child --- */

/* Wakes waitpid() now and then, so that a deadline is looked at. */
static void
on_alarm(int signal)
{
	(void)signal;
}

static void
start_ticks(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval tick = { { 1, 0 }, { 1, 0 } };

	if (sigaction(SIGALRM, &action, NULL) < 0 ||
	    setitimer(ITIMER_REAL, &tick, NULL) < 0)
		die("setitimer");
}

static time_t
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Its next stop or its end. */
static enum came
child_wait(struct child *child)
{
	time_t deadline = now_s() + DEADLINE_S;
	int status;
	pid_t pid;

	while ((pid = waitpid(child->pid, &status, __WALL)) < 0 &&
	    errno == EINTR)
		if (now_s() > deadline)
			return HANGS;
	if (pid != child->pid)
		die("waitpid");
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return CAME;
	if (WIFSTOPPED(status)) {
		say("a child got signal %d at %s", WSTOPSIG(status),
		    trace_place(child_pc(child)));
		return STRAYED;
	}
	child->status = status;
	child->pid = 0;
	return ENDED;
}

/* Wherever it is started from, its stack lies alike: some code aligns it. */
static void
call_aligned(body_function *fn, void *arg)
{
	size_t odd = (uintptr_t)__builtin_frame_address(0) % PAGE_BYTES;
	volatile char *room = __builtin_alloca(odd + 64);

	room[0] = 0;
	fn(arg);
}

enum came
child_start(struct child *child, body_function *fn, void *arg)
{
	pid_t parent = getpid();

	child->pid = fork();
	if (child->pid < 0)
		die("fork");
	if (child->pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		    ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(99);
		call_aligned(fn, arg);
		_exit(0);
	}
	return child_wait(child);
}

static void
go_on(struct child *child, int how)
{
	if (ptrace((enum __ptrace_request)how, child->pid, NULL, NULL) < 0)
		die("ptrace: go on");
}

enum came
child_finish(struct child *child)
{
	enum came came;

	/* The end of what counts stops it once more. */
	do {
		go_on(child, PTRACE_CONT);
		came = child_wait(child);
	} while (came == CAME);
	return came;
}

void
child_kill(struct child *child)
{
	int status;

	if (child->pid == 0)
		return;
	if (kill(child->pid, SIGKILL) < 0)
		die("kill");
	do
		while (waitpid(child->pid, &status, __WALL) < 0)
			if (errno != EINTR)
				die("waitpid");
	while (!WIFSIGNALED(status) && !WIFEXITED(status));
	child->status = status;
	child->pid = 0;
}

static char
child_state(const struct child *child)
{
	char path[64], text[512];
	const char *end;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", (int)child->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	end = strrchr(text, ')');
	return end != NULL && end[1] != '\0' ? end[2] : '?';
}

bool
child_sleeps(struct child *child)
{
	time_t deadline = now_s() + DEADLINE_S;

	while (now_s() <= deadline) {
		char state = child_state(child);

		if (state == 'S')
			return true;
		if (state != 'R' && state != 'D')
			return false;
		sched_yield();
	}
	return false;
}

bool
child_falls_asleep(struct child *child)
{
	go_on(child, PTRACE_CONT);
	return child_sleeps(child);
}

static uint64_t
peek_user(const struct child *child, size_t offset)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, child->pid, offset, NULL);
}

uint64_t
child_pc(const struct child *child)
{
	return peek_user(child, offsetof(struct user_regs_struct, rip));
}

static uint64_t
child_sp(const struct child *child)
{
	return peek_user(child, offsetof(struct user_regs_struct, rsp));
}

static void
child_set_pc(const struct child *child, uint64_t pc)
{
	if (ptrace(PTRACE_POKEUSER, child->pid,
		offsetof(struct user_regs_struct, rip), pc) < 0)
		die("ptrace: set pc");
}

static enum came
child_step(struct child *child)
{
	go_on(child, PTRACE_SINGLESTEP);
	return child_wait(child);
}

/* --------------------------------------------------------- breakpoints --- */

/* The child's text is a copy of ours, whatever was put into the child's. */
static uint64_t
text_at(uint64_t pc)
{
	uint64_t word;

	memcpy(&word, (const void *)(uintptr_t)pc, sizeof word);
	return word;
}

static void
poke_text(const struct child *child, uint64_t pc, uint64_t word)
{
	if (ptrace(PTRACE_POKETEXT, child->pid, pc, word) < 0)
		die("ptrace: breakpoint");
}

/* Runs at full speed until it is about to execute pc. */
static enum came
child_hop(struct child *child, uint64_t pc)
{
	enum came came;

	poke_text(child, pc, (text_at(pc) & ~0xffull) | 0xcc);
	go_on(child, PTRACE_CONT);
	came = child_wait(child);
	if (came != CAME)
		return came;
	poke_text(child, pc, text_at(pc));
	if (child_pc(child) != pc + 1)
		return STRAYED;
	child_set_pc(child, pc);
	return CAME;
}

/* ---------------------------------------------------------- system calls -- */

static bool
is_syscall(uint64_t pc)
{
	const unsigned char *at = (const void *)(uintptr_t)pc;

	return at[0] == 0x0f && at[1] == 0x05;
}

/* The child is about to sleep on a futex. */
static bool
will_wait(const struct child *child, uint64_t pc)
{
	uint64_t number, operation;

	if (!is_syscall(pc))
		return false;
	number = peek_user(child, offsetof(struct user_regs_struct, rax));
	operation = peek_user(child, offsetof(struct user_regs_struct, rsi)) &
	    (uint64_t)FUTEX_CMD_MASK;
	return number == SYS_futex_waitv || (number == SYS_futex &&
	    (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET));
}

/*
 * Through a call that sleeps: once it does, it is nudged.  If it does not, it
 * was too late for that: its time out came first.
 */
static enum came
child_through(struct child *child, const struct nudge *nudge)
{
	enum came came;
	bool sleeps;

	go_on(child, PTRACE_SINGLESTEP);
	sleeps = child_sleeps(child);
	if (sleeps && nudge != NULL)
		nudge->fn(nudge->arg);
	came = child_wait(child);
	return came == CAME && !sleeps && nudge != NULL ? STRAYED : came;
}

/* --------------------------------------------------------------- record --- */

void
trace_init(struct trace *trace)
{
	size_t n = TRACE_POINTS_MAX;

	memset(trace, 0, sizeof *trace);
	trace->pc = memory_of_ours(n * sizeof *trace->pc);
	trace->sp = memory_of_ours(n * sizeof *trace->sp);
	trace->flags = memory_of_ours(n * sizeof *trace->flags);
	trace->nth = memory_of_ours((n + 1) * sizeof *trace->nth);
	trace->ways = memory_of_ours(n * sizeof *trace->ways);
	trace->stops = memory_of_ours(n * sizeof *trace->stops);
}

/* What of a record is only known while it is made. */
struct recorder {
	struct trace *trace;
	struct child *child;
	const char *watched;
	char *before; /* what it held at the last point */
	size_t watched_bytes;
	bool inside; /* the library, or what it called */
	unsigned repeats;
	unsigned in_vdso; /* points in a row */
};

static bool
has_news(struct recorder *r)
{
	if (memcmp(r->before, r->watched, r->watched_bytes) == 0)
		return false;
	memcpy(r->before, r->watched, r->watched_bytes);
	return true;
}

/* Which of them count: not all turns of what repeats itself. */
static bool
counts(struct recorder *r, uint64_t pc)
{
	const struct trace *t = r->trace;

	r->repeats = t->count > 0 && t->pc[t->count - 1] == pc ?
	    r->repeats + 1 : 0;
	r->in_vdso = is_in(vdso, pc) ? r->in_vdso + 1 : 0;
	if (is_in(library, pc))
		r->inside = true;
	else if (is_in(program, pc))
		r->inside = false;
	return r->inside && r->repeats < REPEATS_COUNTED &&
	    r->in_vdso <= VDSO_COUNTED;
}

static void
note_point(struct recorder *r, uint64_t pc)
{
	struct trace *t = r->trace;
	uint8_t flags = 0;

	if (counts(r, pc)) {
		flags |= POINT_COUNTED;
		t->nth[t->counted++] = t->count;
	}
	if (has_news(r))
		flags |= POINT_NEWS;
	if (r->repeats > 0)
		flags |= POINT_STIFF;
	if (r->in_vdso > 0)
		flags |= POINT_STIFF | POINT_LOOSE;
	if (will_wait(r->child, pc))
		flags |= POINT_WAITS;
	t->pc[t->count] = pc;
	t->sp[t->count] = child_sp(r->child);
	t->flags[t->count++] = flags;
}

static enum came
record_all(struct recorder *r, const struct nudge *nudge)
{
	struct trace *t = r->trace;
	enum came came = CAME;

	while (came == CAME && t->count < TRACE_POINTS_MAX) {
		uint64_t pc = child_pc(r->child);

		note_point(r, pc);
		if (pc == (uintptr_t)step_end)
			return CAME;
		came = (t->flags[t->count - 1] & POINT_WAITS) != 0 ?
		    child_through(r->child, nudge) :
		    child_step(r->child);
	}
	return came == CAME ? HANGS : came;
}

static void trace_plan(struct trace *trace);

enum came
trace_record(struct trace *trace, struct child *child, const void *watched,
    size_t watched_bytes, const struct nudge *nudge)
{
	struct recorder r = { .trace = trace, .child = child,
		.watched = watched, .watched_bytes = watched_bytes };
	enum came came;

	r.before = malloc(watched_bytes);
	if (r.before == NULL)
		die("malloc");
	memcpy(r.before, watched, watched_bytes);
	trace->count = 0;
	trace->counted = 0;
	came = record_all(&r, nudge);
	free(r.before);
	if (came != CAME)
		return came;
	trace->nth[trace->counted] = trace->count - 1;
	trace_plan(trace);
	return CAME;
}

/* ----------------------------------------------------------------- plan --- */

/*
 * Points that may still be the cheapest to hop from: ascending by place and by
 * cost, so the first one after a place is the cheapest after it.
 */
struct ladder {
	uint32_t *points;
	uint32_t first, count;
};

static void
ladder_push(struct ladder *l, const struct way *ways, uint32_t point)
{
	while (l->count > l->first &&
	    ways[l->points[l->count - 1]].cost >= ways[point].cost)
		l->count--;
	l->points[l->count++] = point;
}

/* The cheapest at `from` or later. */
static uint32_t
ladder_cheapest(const struct ladder *l, uint32_t from)
{
	uint32_t low = l->first, high = l->count - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (l->points[middle] >= from)
			high = middle;
		else
			low = middle + 1;
	}
	return l->points[low];
}

/* Where an address was come by last: a table of twice as many places. */
#define SEEN_PLACES (2 * TRACE_POINTS_MAX)

struct seen {
	uint64_t pc;
	uint32_t next; /* the point after its last occurrence */
};

static struct seen *
seen_find(struct seen *table, uint64_t pc)
{
	uint64_t at = pc * 0x9e3779b97f4a7c15ull >> 43;

	while (table[at].pc != 0 && table[at].pc != pc)
		at = (at + 1) % SEEN_PLACES;
	table[at].pc = pc;
	return &table[at];
}

/* The cheaper of a step from the point before, and a hop. */
static void
plan_point(struct trace *t, struct ladder *l, uint32_t at, uint32_t hop_from)
{
	/* Nobody knows after how many steps the vDSO is left. */
	bool may_step = (t->flags[at - 1] & ~t->flags[at] & POINT_LOOSE) == 0;
	struct way *way = &t->ways[at];
	uint32_t from;

	way->from = at - 1;
	way->kind = WAY_STEP;
	way->cost = t->ways[at - 1].cost + STEP_COST;
	if ((t->flags[at] & POINT_STIFF) != 0 || hop_from >= at)
		return;
	from = ladder_cheapest(l, hop_from);
	if (may_step && t->ways[from].cost + HOP_COST >= way->cost)
		return;
	way->from = from;
	way->kind = WAY_HOP;
	way->cost = t->ways[from].cost + HOP_COST;
}

static void
trace_plan(struct trace *t)
{
	struct ladder l = { .points = calloc(t->count, sizeof *l.points) };
	struct seen *table = mmap(NULL, SEEN_PLACES * sizeof *table,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (l.points == NULL || table == MAP_FAILED)
		die("no memory for a plan");
	for (uint32_t at = 0; at < t->count; at++) {
		struct seen *seen = seen_find(table, t->pc[at]);

		if (at == 0) {
			t->ways[at] = (struct way){ 0, 0, WAY_START };
		} else if ((t->flags[at - 1] & POINT_WAITS) != 0) {
			/* Nobody hops over a nudge. */
			t->ways[at] = (struct way){ at - 1,
				t->ways[at - 1].cost + HOP_COST, WAY_NUDGE };
			l.first = l.count;
		} else {
			plan_point(t, &l, at, seen->next);
		}
		ladder_push(&l, t->ways, at);
		seen->next = at + 1;
	}
	free(l.points);
	munmap(table, SEEN_PLACES * sizeof *table);
}

/* ---------------------------------------------------------------- reach --- */

static enum came
go_way(const struct trace *t, struct child *child, uint32_t to,
    const struct nudge *nudge)
{
	switch (t->ways[to].kind) {
	case WAY_HOP:
		return child_hop(child, t->pc[to]);
	case WAY_STEP:
		return child_step(child);
	case WAY_NUDGE:
		return child_through(child, nudge);
	default:
		return CAME;
	}
}

/* Within the vDSO the way is free. */
static bool
stands_at(const struct trace *t, const struct child *child, uint32_t point)
{
	uint64_t pc = child_pc(child);

	return (t->flags[point] & POINT_LOOSE) != 0 ? is_in(vdso, pc) :
						      pc == t->pc[point];
}

enum came
trace_reach(const struct trace *t, struct child *child, uint32_t nth,
    const struct nudge *nudge)
{
	uint32_t goal = t->nth[nth], count = 0, *stops = t->stops;
	/* Relative: it may have been started from elsewhere. */
	uint64_t sp = t->sp[goal] + child_sp(child) - t->sp[0];
	enum came came;

	for (uint32_t at = goal; at != 0; at = t->ways[at].from)
		stops[count++] = at;
	while (count > 0) {
		uint32_t to = stops[--count];

		came = go_way(t, child, to, nudge);
		if (came != CAME)
			return came;
		if (!stands_at(t, child, to))
			return STRAYED;
	}
	return (t->flags[goal] & POINT_LOOSE) != 0 || child_sp(child) == sp ?
	    CAME : STRAYED;
}

enum came
trace_until(struct child *child, bool (*holds)(void *arg), void *arg)
{
	enum came came = CAME;

	while (came == CAME && !holds(arg)) {
		if (child_pc(child) == (uintptr_t)step_end)
			return STRAYED;
		came = child_step(child);
	}
	return came;
}

/* --------------------------------------------------------------- people --- */

static bool
place_by_addr2line(uint64_t offset, char *text, size_t bytes)
{
	char command[4200], line[256] = "", function[128] = "";
	FILE *pipe;
	char *slash;

	(void)snprintf(command, sizeof command,
	    "addr2line -f -e '%s' %#lx 2>/dev/null", library_file, offset);
	pipe = popen(command, "re");
	if (pipe == NULL)
		return false;
	if (fgets(function, sizeof function, pipe) == NULL ||
	    fgets(line, sizeof line, pipe) == NULL)
		function[0] = '\0';
	pclose(pipe);
	function[strcspn(function, "\n")] = '\0';
	line[strcspn(line, "\n")] = '\0';
	slash = strrchr(line, '/');
	(void)snprintf(text, bytes, "%s %s", slash != NULL ? slash + 1 : line,
	    function);
	return function[0] != '\0' && function[0] != '?';
}

const char *
trace_place(uint64_t pc)
{
	static char text[512];

	if (!is_in(library, pc))
		(void)snprintf(text, sizeof text, "%s %#lx",
		    is_in(vdso, pc) ? "vdso" :
		    is_in(program, pc) ? "the test" : "libc", pc);
	else if (!place_by_addr2line(pc - library_from, text, sizeof text))
		(void)snprintf(text, sizeof text, "the library + %#lx",
		    pc - library_from);
	return text;
}

/* -------------------------------------------------------------- refusal --- */

static void
two_marks(void *arg)
{
	(void)arg;
	step_begin();
	step_end();
}

const char *
trace_refusal(void)
{
	struct child child = { 0 };
	enum came came;

	find_mappings();
	start_ticks();
	came = child_start(&child, two_marks, NULL);
	if (came == CAME)
		came = child_step(&child);
	child_kill(&child);
	if (came == CAME)
		return NULL;
	return "ptrace is not allowed here";
}
