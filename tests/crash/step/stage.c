/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment of a worker: one file, whose bytes are put back for each kill.
 *
 * Its hash is seeded alike in every run, so that keys lie where they lay when a
 * kill failed.
 */
#include "scene.h"

#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct scene scene;
struct bystander bystanders[BYSTANDERS_MAX];
unsigned bystander_count;

/* As it was created, and as stage_build() left it. */
static char *pristine, *image;

void
wrong(const char *format, ...)
{
	unsigned n = atomic_fetch_add(&scene.desk->findings, 1);
	va_list args;

	if (n >= FINDINGS_MAX)
		return;
	va_start(args, format);
	(void)vsnprintf(scene.desk->finding[n], sizeof scene.desk->finding[n],
	    format, args);
	va_end(args);
}

/* ---------------------------------------------------------------- words --- */

bool
word_await(_Atomic uint32_t *word, uint32_t seen)
{
	struct timespec step = { 1, 0 };

	for (unsigned s = 0; s < DEADLINE_S; s++) {
		while (atomic_load(word) == seen)
			if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &step,
				NULL, 0) < 0 && errno == ETIMEDOUT)
				break;
		if (atomic_load(word) != seen)
			return true;
	}
	return false;
}

void
word_bump(_Atomic uint32_t *word)
{
	atomic_fetch_add(word, 1);
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ------------------------------------------------------------ residents --- */

static uint32_t nudges_seen;

void
resident_start(struct resident *resident, void (*fn)(void))
{
	uint32_t ready = atomic_load(&scene.desk->ready);
	pid_t parent = getpid();

	nudges_seen = atomic_load(&scene.desk->nudges);
	resident->pid = fork();
	if (resident->pid < 0)
		die("fork");
	if (resident->pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(99);
		fn();
		_exit(0);
	}
	if (!word_await(&scene.desk->ready, ready))
		die("a resident does not come");
}

void
resident_ready(void)
{
	word_bump(&scene.desk->ready);
}

void
resident_wait(void)
{
	(void)word_await(&scene.desk->nudges, nudges_seen);
}

/* The worker's alarm, once a second, is the clock. */
static void
wait_for(struct resident *resident)
{
	unsigned alarms = 0;
	int status = 0;

	while (waitpid(resident->pid, &status, 0) < 0) {
		if (errno != EINTR)
			die("waitpid");
		if (++alarms == DEADLINE_S) {
			wrong("a resident hangs");
			(void)kill(resident->pid, SIGKILL);
		}
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		wrong("a resident ended with %d", WEXITSTATUS(status));
	resident->pid = 0;
}

void
resident_join(struct resident *resident)
{
	if (resident->pid != 0)
		wait_for(resident);
}

void
resident_kill(struct resident *resident)
{
	if (resident->pid == 0)
		return;
	if (kill(resident->pid, SIGKILL) < 0)
		die("kill");
	wait_for(resident);
}

/* ----------------------------------------------------------------- keys --- */

#define VERSIONS 16u

/* Made once: who is stepped must not have to. */
static unsigned char *values;

static void
make_values(void)
{
	values = mmap(NULL, VERSIONS * LARGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (values == MAP_FAILED)
		die("mmap");
	for (unsigned i = 0; i < VERSIONS; i++)
		value_fill(values + i * LARGE_BYTES, LARGE_BYTES, KEY_ID, i);
}

const void *
key_value(uint64_t version)
{
	return values + version * LARGE_BYTES;
}

uint64_t
key_hash(const void *bytes, size_t size)
{
	return hash_bytes(bytes, size, scene.seg->seed +
	    load_relaxed(&scene.seg->header->flushes));
}

static struct line *
pair_of(uint64_t hash)
{
	return &scene.seg->index[2 *
	    ((hash >> 32) * scene.seg->geo.index_pairs >> 32)];
}

struct line *
key_pair(void)
{
	return pair_of(key_hash(KEY, KEY_BYTES));
}

uint64_t
key_word(void)
{
	uint64_t tag = (key_hash(KEY, KEY_BYTES) & 0x1fff) << WORD_TAG_SHIFT;
	struct line *pair = key_pair();

	for (unsigned i = 0; i < PAIR_WORDS; i++) {
		uint64_t word = load_acquire(&pair[i / LINE_WORDS]
		    .words[i % LINE_WORDS]);

		if ((word & WORD_MATCH_MASK) == (WORD_LIVE | tag))
			return word;
	}
	return WORD_EMPTY;
}

uint32_t
key_block(void)
{
	uint64_t word = key_word();

	return word == WORD_EMPTY ? UINT32_MAX :
	    (uint32_t)((word & WORD_PLACE_MASK) * ENTRY_ALIGN >>
		scene.seg->geo.block_shift);
}

void
attach(void)
{
	size_t n;

	if (shmc_get(scene.cache, "nobody", 6, NULL, 0, &n) != SHMC_MISS)
		die("a participant cannot attach");
}

void
put_key(size_t bytes, uint64_t version, uint64_t ttl_ms)
{
	struct shmc_terms terms = SHMC_TERMS_INIT;

	terms.ttl_ms = ttl_ms;
	terms.grace_ms = ttl_ms != 0 ? LONG_MS : 0;
	if (shmc_store(scene.cache, KEY, KEY_BYTES, key_value(version), bytes,
		&terms, SHMC_ALWAYS, 0) != SHMC_OK)
		die("a state cannot be built: put");
}

/* -------------------------------------------------------------- segment --- */

static const char *
directory(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* The segment's secret is 1: its header says so, with a good checksum. */
static void
seed_alike(void)
{
	struct header_fixed *h = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_SHARED, scene.fd, 0);

	if (h == MAP_FAILED)
		die("mmap");
	h->seed = 1;
	h->checksum = hash_bytes(h, offsetof(struct header_fixed, checksum), 1);
	munmap(h, PAGE_BYTES);
}

/*
 * The library's heap: a victim takes the same way through it as the one that was
 * recorded, whatever the worker has done with its own in between.
 */
static void *
allocate(size_t bytes, void *arg)
{
	static _Alignas(64) char arena[1u << 18];
	static size_t used;
	char *memory = &arena[used];

	(void)arg;
	bytes = ALIGN_UP(bytes, (size_t)64);
	if (bytes > sizeof arena - used)
		return NULL;
	used += bytes;
	return memory;
}

static void
release(void *memory, void *arg)
{
	(void)memory;
	(void)arg;
}

void
stage_options(struct shmc_options *options)
{
	shmc_options_init(options, sizeof *options);
	options->allocate = allocate;
	options->release = release;
}

static void
open_cache(uint32_t flags)
{
	struct shmc_options options;
	struct shmc_error error;

	stage_options(&options);
	options.path = scene.path;
	options.flags = flags;
	options.size_bytes = SEGMENT_BYTES;
	options.participants = PARTICIPANTS;
	options.entry_bytes = 512;
	/* Nobody is to be saved by the clock. */
	options.lease_ms = 2 * DEADLINE_S * 1000;
	if (shmc_open(&scene.cache, &options, &error) == 0)
		return;
	say("step: %s", error.text);
	die("shmc_open");
}

static void
on_end(int signal)
{
	(void)signal;
	(void)unlink(scene.path);
	(void)unlink(scene.other_path);
	_exit(2);
}

/* Interrupted, or the parent is: nothing of it stays. */
static void
catch_end(void)
{
	struct sigaction action = { .sa_handler = on_end };

	if (sigaction(SIGTERM, &action, NULL) < 0 ||
	    sigaction(SIGINT, &action, NULL) < 0)
		die("sigaction");
}

void
stage_init(unsigned worker)
{
	scene.desk = mmap(NULL, sizeof *scene.desk, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (scene.desk == MAP_FAILED)
		die("mmap");
	(void)snprintf(scene.path, sizeof scene.path, "%s/shmcache-step-%d-%u",
	    directory(), (int)getpid(), worker);
	(void)snprintf(scene.other_path, sizeof scene.other_path, "%s-other",
	    scene.path);
	catch_end();
	make_values();
	open_cache(SHMC_CREATE | SHMC_EXCLUSIVE);
	shmc_close(scene.cache);
	scene.fd = open(scene.path, O_RDWR | O_CLOEXEC);
	if (scene.fd < 0)
		die("open");
	seed_alike();
	open_cache(0);
	scene.seg = &scene.cache->seg;
	pristine = memory_of_ours(SEGMENT_BYTES);
	image = memory_of_ours(SEGMENT_BYTES);
	memcpy(pristine, scene.seg->base, SEGMENT_BYTES);
}

void
stage_end(void)
{
	shmc_close(scene.cache);
	(void)unlink(scene.path);
	(void)unlink(scene.other_path);
}

/* Only what differs: most pages do not, and stay in the caches. */
static void
copy_back(const char *from)
{
	for (size_t at = 0; at < SEGMENT_BYTES; at += PAGE_BYTES)
		if (memcmp(scene.seg->base + at, from + at, PAGE_BYTES) != 0)
			memcpy(scene.seg->base + at, from + at, PAGE_BYTES);
}

void
stage_restore(void)
{
	copy_back(image);
}

/* ---------------------------------------------------------------- build --- */

/* They hold slots 0 and 1, which are the judge's and the victim's. */
static struct resident placeholders[2];

static void
hold_place(void)
{
	attach();
	resident_ready();
	resident_wait();
	(void)shmc_detach_thread(scene.cache);
}

/* Blocks between where the next is opened, and the key's. */
static uint64_t
distance(uint32_t block)
{
	uint64_t count = scene.seg->geo.block_count;
	uint64_t hand = load_relaxed(&scene.seg->header->hand);

	return (block + count - hand % count) % count;
}

/* Others take all other blocks: few more and its turn has come. */
static void
age(void)
{
	static unsigned char value[7000];
	uint32_t block = key_block();
	char key[32];

	if (block == UINT32_MAX)
		block = 0;
	for (unsigned i = 0; distance(block) > 6; i++)
		if (shmc_put(scene.cache, key, key_of(key, 5000 + i), value,
			sizeof value, 0) != SHMC_OK)
			die("a state cannot be built: age");
}

static void
fill(void)
{
	scene.state->fill();
	if (scene.aged)
		age();
	(void)shmc_detach_thread(scene.cache);
	resident_ready();
}

static void
run_filler(void)
{
	struct resident filler;

	resident_start(&filler, fill);
	resident_join(&filler);
}

/* Keys and sizes only: the filler, a child, puts them. */
static void
name_bystanders(void)
{
	static const struct bystander usual[] = {
		{ "by-1", SMALL_BYTES, 11, false },
		{ "by-2", LARGE_BYTES, 12, false },
		{ "by-3", 3000, 13, true },
		{ "by-4", 8, 14, false },
	};

	memcpy(bystanders, usual, sizeof usual);
	bystander_count = 4;
}

/* And 16 that fill the key's pair. */
static void
name_neighbours(void)
{
	struct line *pair = key_pair();
	unsigned found = 0;

	for (unsigned i = 0; found < PAIR_WORDS; i++) {
		struct bystander *b = &bystanders[bystander_count];

		(void)snprintf(b->key, sizeof b->key, "near-%u", i);
		if (pair_of(key_hash(b->key, strlen(b->key))) != pair)
			continue;
		b->bytes = SMALL_BYTES;
		b->id = 100 + i;
		b->tagged = false;
		bystander_count++;
		found++;
	}
}

void
stage_build(void)
{
	bool free_places = (scene.state->flags & STATE_DEAD_FIRST) == 0;

	copy_back(pristine);
	scene.living = 0;
	atomic_store(&scene.desk->findings, 0);
	name_bystanders();
	if ((scene.state->flags & STATE_LINE_FULL) != 0)
		name_neighbours();
	for (unsigned i = 0; i < 2 && free_places; i++)
		resident_start(&placeholders[i], hold_place);
	run_filler();
	if (scene.state->befall != NULL)
		scene.state->befall();
	word_bump(&scene.desk->nudges);
	for (unsigned i = 0; i < 2 && free_places; i++)
		resident_join(&placeholders[i]);
	for (uint32_t i = 0; i < PARTICIPANTS; i++)
		if (load_acquire(&scene.seg->participants[i].life.futex) != 0)
			scene.living |= SLOT(i);
	scene.living &= ~aftermath_dead_slots(scene.seg);
	scene.before = holdings_of_others(scene.seg, scene.living);
	memcpy(image, scene.seg->base, SEGMENT_BYTES);
}
