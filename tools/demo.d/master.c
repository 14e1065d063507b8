/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The master.  It sleeps in sigwaitinfo() and does three things: replaces
 * dead workers, kills one of its workers when told to, and ends.  Only it
 * sends SIGKILL, and only to children that it has not waited for, so a pid
 * can never be somebody else's.
 */
#include "master.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "interrupt.h"
#include "worker.h"

struct master {
	struct server *server;
	pid_t self;
	pid_t workers[JOURNAL_WORKERS_MAX];
	uint64_t killed_ns[JOURNAL_WORKERS_MAX]; /* by us, not reaped yet; else 0 */
};

/* Forks the worker of a place; returns its pid, or -1. */
static pid_t
spawn(struct master *master, unsigned place)
{
	pid_t pid = fork();

	if (pid == 0)
		worker_run(master->server, place, master->self);
	master->workers[place] = pid > 0 ? pid : 0;
	return pid;
}

static void
kill_all(struct master *master)
{
	for (unsigned i = 0; i < master->server->workers; i++) {
		if (master->workers[i] > 0)
			(void)kill(master->workers[i], SIGKILL);
	}
	while (wait(NULL) > 0)
		;
}

static void
kill_worker(struct master *master, int place)
{
	if (place < 0 || (unsigned)place >= master->server->workers ||
	    master->workers[place] <= 0)
		return;
	master->killed_ns[place] = clock_now_ns();
	(void)kill(master->workers[place], SIGKILL);
}

static void
tell_death(const struct journal_death *death)
{
	char line[128];
	int bytes;

	if (death->signal != 0)
		bytes = snprintf(line, sizeof(line),
		    "  worker %-7d died of signal %d (%s), replaced by %d\n",
		    death->pid, death->signal, strsignal(death->signal),
		    death->successor);
	else
		bytes = snprintf(line, sizeof(line),
		    "  worker %-7d ended, replaced by %d\n", death->pid,
		    death->successor);
	if (bytes > 0 && (size_t)bytes < sizeof(line))
		(void)!write(STDOUT_FILENO, line, (size_t)bytes);
}

/* Puts a new worker in the dead one's place and writes it down. */
static bool
replace(struct master *master, unsigned place, pid_t pid, int status)
{
	struct journal_death death = {
		.pid = pid,
		.killed_ns = master->killed_ns[place],
		.reaped_ns = clock_now_ns(),
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
	};

	master->killed_ns[place] = 0;
	death.successor = spawn(master, place);
	journal_bury(master->server->journal, &death);
	if (master->server->talk)
		tell_death(&death);
	return death.successor > 0;
}

/* Waits for the dead; false if the server cannot go on. */
static bool
reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		unsigned place = 0;

		while (place < master->server->workers &&
		    master->workers[place] != pid)
			place++;
		if (place == master->server->workers)
			continue;
		/* Its successor would fail in the same way. */
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SETUP)
			return false;
		if (!replace(master, place, pid, status))
			return false;
	}
	return true;
}

int
master_run(struct server *server, pid_t driver)
{
	struct master master = { .server = server, .self = getpid() };
	sigset_t signals;
	bool going = true;

	interrupt_signals(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigaddset(&signals, MASTER_KILL);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != driver)
		return 0;
	for (unsigned i = 0; i < server->workers && going; i++)
		going = spawn(&master, i) > 0;
	while (going) {
		siginfo_t info;
		int signal = sigwaitinfo(&signals, &info);

		if (signal == SIGCHLD)
			going = reap(&master);
		else if (signal == MASTER_KILL)
			kill_worker(&master, info.si_value.sival_int);
		else if (signal > 0)
			break;
	}
	kill_all(&master);
	return going ? 0 : EXIT_SETUP;
}
