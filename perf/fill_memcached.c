/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memcached behind a socket, with its defaults.  Memory is its slabs and its
 * hash table, not what connections and threads take.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "fill.h"

#define PUTS_AT_ONCE 1000u
#define PATIENCE_NS 5000000000u
#define PAUSE_NS 5000000u

struct server {
	int pid;
	struct sockaddr_un address;
	FILE *to, *from;
};

static void
server_exec(const char *path, size_t memory_bytes)
{
	char megabytes[24];

	snprintf(megabytes, sizeof megabytes, "%zu", memory_bytes >> 20);
	/* -u counts only if we are root: then it insists. */
	execlp("memcached", "memcached", "-s", path, "-m", megabytes, "-t", "1",
	    "-u", "root", (char *)NULL);
	_exit(127);
}

/* As soon as it listens; false: it ended instead. */
static bool
server_connect(struct server *s)
{
	uint64_t end_ns = bench_now_ns() + PATIENCE_NS;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;

	while (connect(fd, (struct sockaddr *)&s->address,
		   sizeof s->address) != 0) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid)
			return close(fd), false;
		if (bench_now_ns() > end_ns)
			bench_die("memcached does not listen");
		bench_sleep_until(bench_now_ns() + PAUSE_NS);
	}
	s->to = fdopen(fd, "w");
	s->from = fdopen(dup(fd), "r");
	if (s->to == NULL || s->from == NULL)
		bench_die("fdopen: %s", strerror(errno));
	return true;
}

static bool
server_start(struct server *s, size_t memory_bytes)
{
	*s = (struct server){ .address = { .sun_family = AF_UNIX } };
	snprintf(s->address.sun_path, sizeof s->address.sun_path,
	    FILL_DIRECTORY "/shmcache-perf-%d.socket", (int)getpid());
	s->pid = bench_fork();
	if (s->pid == 0)
		server_exec(s->address.sun_path, memory_bytes);
	return server_connect(s);
}

static void
server_stop(struct server *s)
{
	int status;

	fclose(s->to);
	fclose(s->from);
	kill(s->pid, SIGTERM);
	waitpid(s->pid, &status, 0);
	unlink(s->address.sun_path);
}

static void
put(struct server *s, uint64_t index, size_t value_bytes)
{
	unsigned char value[FILL_VALUE_MAX];
	char key[KEY_BYTES];

	keys_key(index, key);
	keys_value(index, value, value_bytes);
	fprintf(s->to, "set %.*s 0 0 %zu noreply\r\n", (int)KEY_BYTES, key,
	    value_bytes);
	fwrite(value, 1, value_bytes, s->to);
	fputs("\r\n", s->to);
}

/* One number of the answer to a `stats` command. */
static uint64_t
ask(struct server *s, const char *command, const char *name)
{
	char line[256], format[64];
	unsigned long long number = 0;
	bool found = false;

	snprintf(format, sizeof format, "STAT %s ", name);
	fprintf(s->to, "%s\r\n", command);
	fflush(s->to);
	while (fgets(line, sizeof line, s->from) != NULL &&
	    strncmp(line, "END", 3) != 0)
		if (strncmp(line, format, strlen(format)) == 0) {
			number = strtoull(line + strlen(format), NULL, 10);
			found = true;
		}
	if (!found)
		bench_die("memcached does not tell its %s", name);
	return number;
}

static bool
memcached_fill(const struct fill *fill, struct filled *filled)
{
	struct server s;
	uint64_t index = 0;

	if (!server_start(&s, fill->memory_bytes))
		return false;
	do
		for (unsigned i = 0; i < PUTS_AT_ONCE; i++)
			put(&s, index++, fill->value_bytes);
	while (ask(&s, "stats", "evictions") == 0);
	filled->entries = ask(&s, "stats", "curr_items");
	filled->memory_bytes = ask(&s, "stats slabs", "total_malloced") +
	    ask(&s, "stats", "hash_bytes");
	server_stop(&s);
	return true;
}

const struct filler fill_memcached = {
	.name = "memcached",
	.about = "slabs and hash table, until it evicts",
	.fill = memcached_fill,
};
