/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APCu in the PHP command line, told how many entries to expect.  When it is
 * full, it throws everything away: what counts is what it had before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "fill.h"

#define ENTRY_BYTES_GUESSED 128u /* beside the value's */

static void
php_exec(const struct fill *fill)
{
	char megabytes[48], entries[48], bytes[24];

	snprintf(megabytes, sizeof megabytes, "apc.shm_size=%zuM",
	    fill->memory_bytes >> 20);
	snprintf(entries, sizeof entries, "apc.entries_hint=%zu",
	    fill->memory_bytes / (fill->value_bytes + ENTRY_BYTES_GUESSED));
	snprintf(bytes, sizeof bytes, "%zu", fill->value_bytes);
	execlp("php", "php", "-n", "-d", "extension=apcu", "-d",
	    "apc.enable_cli=1", "-d", megabytes, "-d", entries,
	    PERF_SOURCE_DIRECTORY "/fill_apcu.php", bytes, (char *)NULL);
	_exit(127);
}

/* Starts it, its standard output on *from. */
static int
php_start(const struct fill *fill, FILE **from)
{
	int ends[2], pid;

	if (pipe(ends) != 0)
		bench_die("pipe: %s", strerror(errno));
	pid = bench_fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		php_exec(fill);
	}
	close(ends[1]);
	*from = fdopen(ends[0], "r");
	if (*from == NULL)
		bench_die("fdopen: %s", strerror(errno));
	return pid;
}

static bool
apcu_fill(const struct fill *fill, struct filled *filled)
{
	char line[256] = "";
	FILE *from;
	int pid = php_start(fill, &from), status = 0;

	while (fgets(line, sizeof line, from) != NULL)
		filled->entries = strtoull(line, NULL, 10);
	fclose(from);
	filled->memory_bytes = fill->memory_bytes;
	return waitpid(pid, &status, 0) == pid && status == 0 &&
	    filled->entries > 0;
}

const struct filler fill_apcu = {
	.name = "apcu",
	.about = "until it throws everything away",
	.fill = apcu_fill,
};
