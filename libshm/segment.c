/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Creating and attaching.
 *
 * Invariant: a name only ever leads to a whole segment.  The creator fills an
 * unnamed file and then links it to its name; link(2) is atomic and never
 * replaces, so of two creators one wins and the other attaches.
 * Progress: system calls only.  A kill leaves an unnamed file, which the
 * kernel removes, or on file systems without O_TMPFILE a file PATH.tmp-...
 */
#include "segment.h"

#include "barrier.h"
#include "clock.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* ---------------------------------------------------------- the header --- */

/* Tells one boot from another: after a reboot every lock of a file is stale. */
static uint64_t
boot_hash(void)
{
	char id[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, id, sizeof id);
	close(fd);
	return n > 0 ? hash_bytes(id, (size_t)n, 0) : 0;
}

static uint64_t
header_checksum(const struct header_fixed *h)
{
	return hash_bytes(h, offsetof(struct header_fixed, checksum), 1);
}

static void
header_fill(struct header_fixed *h, const struct shmc_options *o,
    const struct geometry *geo)
{
	memset(h, 0, sizeof *h);
	h->magic = LAYOUT_MAGIC;
	h->endian = LAYOUT_ENDIAN;
	h->version = LAYOUT_VERSION;
	layout_describe(h->struct_bytes, &h->layout_hash);
	h->boot = boot_hash();
	if (getrandom(&h->seed, sizeof h->seed, GRND_NONBLOCK) !=
	    (ssize_t)sizeof h->seed)
		h->seed = clock_ns() * 0x9e3779b97f4a7c15ull;
	h->created_ms = clock_coarse_ms();
	h->created_unix_s = clock_of(CLOCK_REALTIME) / NS_PER_S;
	h->creator_pid = (uint64_t)getpid();
	h->lease_ns = o->lease_ms * NS_PER_MS;
	h->wait_ns = o->wait_ms * NS_PER_MS;
	h->fences = (o->flags & SHMC_FENCES) != 0;
	h->geometry = *geo;
	h->checksum = header_checksum(h);
}

/* Says which struct differs, if one does. */
static int
refuse_layout(const struct header_fixed *h, struct shmc_error *error)
{
	uint32_t ours[LAYOUT_STRUCTS];
	uint64_t hash;

	layout_describe(ours, &hash);
	for (unsigned i = 0; i < LAYOUT_STRUCTS; i++)
		if (h->struct_bytes[i] != ours[i])
			return error_set(error, -ESTALE,
			    "the segment was made by another build of "
			    "shmcache: its struct %s has %u bytes, ours %u; "
			    "let all users run one build, or remove the file",
			    layout_struct_name(i), h->struct_bytes[i], ours[i]);
	return error_set(error, -ESTALE,
	    "the segment was made by another build of shmcache: layout "
	    "%016llx, ours %016llx; let all users run one build, or remove "
	    "the file", (unsigned long long)h->layout_hash,
	    (unsigned long long)hash);
}

static int
header_verify_origin(const struct header_fixed *h, struct shmc_error *error)
{
	uint32_t ours[LAYOUT_STRUCTS];
	uint64_t hash;

	layout_describe(ours, &hash);
	if (h->magic != LAYOUT_MAGIC)
		return error_set(error, -EPROTO,
		    "not a shmcache segment: no magic number");
	if (h->endian != LAYOUT_ENDIAN)
		return error_set(error, -ESTALE,
		    "the segment was made on a machine of other endianness");
	if (h->version != LAYOUT_VERSION)
		return error_set(error, -ESTALE,
		    "the segment has layout version %u, this library has %u "
		    "(%s): let all users run one build, or remove the file",
		    h->version, LAYOUT_VERSION,
		    h->version > LAYOUT_VERSION ? "the segment is newer" :
						  "the segment is older");
	if (h->layout_hash != hash ||
	    memcmp(h->struct_bytes, ours, sizeof ours) != 0)
		return refuse_layout(h, error);
	if (h->checksum != header_checksum(h))
		return error_set(error, -EPROTO,
		    "the segment's header is damaged: wrong checksum; "
		    "remove the file");
	if (h->boot != boot_hash())
		return error_set(error, -ESTALE,
		    "the segment is from before the last boot; remove the "
		    "file (and keep it on a tmpfs)");
	return 0;
}

static bool
duration_is_legal(uint64_t ns)
{
	return ns >= NS_PER_MS && ns <= SEGMENT_DURATION_MAX_MS * NS_PER_MS;
}

/* Times that a creator could have written; who waits, waits by them. */
static int
header_verify_times(const struct header_fixed *h, struct shmc_error *error)
{
	if (!duration_is_legal(h->lease_ns) || !duration_is_legal(h->wait_ns))
		return error_set(error, -EPROTO,
		    "the segment's header is damaged: a lease of %llu ms, "
		    "waits of %llu ms; remove the file",
		    (unsigned long long)(h->lease_ns / NS_PER_MS),
		    (unsigned long long)(h->wait_ns / NS_PER_MS));
	if (h->created_ms > clock_coarse_ms())
		return error_set(error, -ESTALE,
		    "the segment was created %llu ms from now: its creator "
		    "lives in another time namespace; remove the file",
		    (unsigned long long)(h->created_ms - clock_coarse_ms()));
	return 0;
}

static int
header_verify(const struct header_fixed *h, uint64_t file_bytes,
    struct shmc_error *error)
{
	struct geometry geo;
	int r = header_verify_origin(h, error);

	if (r == 0)
		r = header_verify_times(h, error);
	if (r < 0)
		return r;
	if (geometry_compute(&geo, h->geometry.size_bytes,
		h->geometry.participant_count, h->geometry.entry_bytes) != NULL ||
	    memcmp(&geo, &h->geometry, sizeof geo) != 0)
		return error_set(error, -EPROTO,
		    "the segment's geometry is damaged; remove the file");
	if (geo.size_bytes != file_bytes)
		return error_set(error, -EPROTO,
		    "the segment is %s: %llu bytes, its header says %llu; "
		    "remove the file",
		    file_bytes < geo.size_bytes ? "truncated" : "too long",
		    (unsigned long long)file_bytes,
		    (unsigned long long)geo.size_bytes);
	return 0;
}

/* ------------------------------------------------------------- mapping --- */

static void
segment_locate(struct segment *seg, char *base, const struct header_fixed *h)
{
	const struct geometry *g = &h->geometry;

	seg->base = base;
	seg->geo = *g;
	seg->header = (struct header *)(void *)base;
	seg->participants =
	    (struct participant *)(void *)(base + g->participants_at);
	seg->flight_lines = (struct line *)(void *)(base + g->flight_lines_at);
	seg->flights = (struct flight *)(void *)(base + g->flights_at);
	seg->tags = (struct tag *)(void *)(base + g->tags_at);
	seg->index = (struct line *)(void *)(base + g->index_at);
	seg->blocks = (struct block *)(void *)(base + g->blocks_at);
	seg->data = base + g->data_at;
	seg->data_bytes = (uint64_t)g->block_count << g->block_shift;
	seg->block_bytes = 1ull << g->block_shift;
	seg->seed = h->seed;
	seg->created_ms = h->created_ms;
	seg->lease_ns = h->lease_ns;
	seg->wait_ns = h->wait_ns;
	seg->fences = h->fences != 0;
}

static char *
map_shared(int fd, uint64_t bytes)
{
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return NULL;
	/* Advice: half of a hit in a large segment is the walk for 4-KiB pages. */
	(void)madvise(base, bytes, MADV_HUGEPAGE);
	return base;
}

static int
register_barrier(bool fences, struct shmc_error *error)
{
	int r = fences ? 0 : barrier_register();

	if (r == 0)
		return 0;
	return error_set(error, -ENOSYS,
	    "membarrier(2) is refused here (%s): allow it in the sandbox, or "
	    "create the segment with SHMC_FENCES", strerror(-r));
}

/* ---------------------------------------------------------- attaching --- */

static int
read_header(int fd, struct header_fixed *h, uint64_t *file_bytes,
    struct shmc_error *error)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return error_set(error, -errno, "fstat: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return error_set(error, -EISDIR, "the path is a directory");
	if (!S_ISREG(st.st_mode))
		return error_set(error, -ENOTSUP,
		    "the path is neither a regular file nor a memfd");
	n = pread(fd, h, sizeof *h, 0);
	if (n < 0)
		return error_set(error, -errno, "read: %s", strerror(errno));
	if ((size_t)n < sizeof *h)
		return error_set(error, -EPROTO,
		    "not a shmcache segment, or truncated: only %lld bytes",
		    (long long)st.st_size);
	*file_bytes = (uint64_t)st.st_size;
	return 0;
}

int
segment_attach_fd(struct segment *seg, int fd, struct shmc_error *error)
{
	struct header_fixed h = { 0 };
	uint64_t file_bytes = 0;
	char *base;
	int r = read_header(fd, &h, &file_bytes, error);

	if (r == 0)
		r = header_verify(&h, file_bytes, error);
	if (r == 0)
		r = register_barrier(h.fences != 0, error);
	if (r < 0)
		return r;
	base = map_shared(fd, file_bytes);
	if (base == NULL)
		return error_set(error, -errno, "mmap: %s", strerror(errno));
	segment_locate(seg, base, &h);
	seg->fd = -1;
	return 0;
}

/* Nobody but the owner, root, and whom `mode` allows may write the file. */
static int
verify_owner(int fd, uint32_t mode, struct shmc_error *error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(error, -errno, "fstat: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0; /* read_header() says it better */
	if (st.st_uid != geteuid() && st.st_uid != 0 && geteuid() != 0)
		return error_set(error, -EPERM,
		    "the file belongs to user %u: use another path",
		    (unsigned)st.st_uid);
	if ((st.st_mode & 022 & ~mode) != 0)
		return error_set(error, -EPERM,
		    "the file's mode %04o lets others write: chmod it, or "
		    "allow that in the option `mode`",
		    (unsigned)(st.st_mode & 07777));
	return 0;
}

static int
attach_path(struct segment *seg, const char *path, uint32_t mode,
    struct shmc_error *error)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0) {
		r = -errno;
		if (r == -ELOOP)
			return error_set(error, r, "%s is a symlink", path);
		if (r == -ENXIO) /* a socket cannot even be opened */
			return error_set(error, -ENOTSUP,
			    "%s is no regular file", path);
		return error_set(error, r, "%s: %s", path, strerror(-r));
	}
	r = verify_owner(fd, mode, error);
	if (r == 0)
		r = segment_attach_fd(seg, fd, error);
	close(fd);
	return r;
}

/* ----------------------------------------------------------- creating --- */

/* Every page of the file, now: later a full file system would be SIGBUS. */
static int
reserve(int fd, char *base, uint64_t bytes, struct shmc_error *error)
{
	int r;

	/*
	 * First by touching the mapping, which gives huge pages where the
	 * machine has them; what that could not do, fallocate does or refuses.
	 */
	(void)madvise(base, bytes, MADV_POPULATE_WRITE);
	do
		r = posix_fallocate(fd, 0, (off_t)bytes);
	while (r == EINTR);
	if (r == 0)
		return 0;
	return error_set(error, -r, "cannot reserve %llu bytes: %s%s",
	    (unsigned long long)bytes, strerror(r),
	    r == ENOSPC ? "; free some space or give a smaller size_bytes" : "");
}

/* A file beyond this limit is a deadly signal to the process, not an error. */
static int
verify_file_limit(uint64_t bytes, struct shmc_error *error)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 ||
	    limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= bytes)
		return 0;
	return error_set(error, -EFBIG,
	    "files may have %llu bytes here (RLIMIT_FSIZE): raise the limit, "
	    "or give a smaller size_bytes", (unsigned long long)limit.rlim_cur);
}

/* Makes the open, empty file a segment. */
static int
format(struct segment *seg, int fd, const struct shmc_options *o,
    const struct geometry *geo, struct shmc_error *error)
{
	struct header_fixed h = { 0 };
	char *base;
	int r = register_barrier((o->flags & SHMC_FENCES) != 0, error);

	if (r == 0)
		r = verify_file_limit(geo->size_bytes, error);
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)geo->size_bytes) < 0)
		return error_set(error, -errno, "ftruncate: %s",
		    strerror(errno));
	base = map_shared(fd, geo->size_bytes);
	if (base == NULL)
		return error_set(error, -errno, "mmap: %s", strerror(errno));
	r = reserve(fd, base, geo->size_bytes, error);
	if (r < 0) {
		munmap(base, geo->size_bytes);
		return r;
	}
	header_fill(&h, o, geo);
	memcpy(base, &h, sizeof h);
	segment_locate(seg, base, &h);
	seg->fd = -1;
	return 0;
}

static int
create_memfd(struct segment *seg, const struct shmc_options *o,
    const struct geometry *geo, struct shmc_error *error)
{
	int fd = memfd_create("shmcache", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return error_set(error, -errno, "memfd_create: %s",
		    strerror(errno));
	r = format(seg, fd, o, geo, error);
	if (r == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = error_set(error, -errno, "sealing: %s", strerror(errno));
		segment_unmap(seg);
	}
	if (r < 0)
		close(fd);
	else
		seg->fd = fd;
	return r;
}

/* A file without a name in the directory of path; -1 and errno. */
static int
open_unnamed(const char *path, uint32_t mode)
{
	char directory[PATH_BYTES];
	const char *slash = strrchr(path, '/');
	int n;

	if (slash == NULL)
		return open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	n = slash == path ? 1 : (int)(slash - path);
	(void)snprintf(directory, sizeof directory, "%.*s", n, path);
	return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

/* Where there are no unnamed files: a name that nobody attaches to. */
static int
open_temporary(const char *path, char name[PATH_BYTES], uint32_t mode)
{
	(void)snprintf(name, PATH_BYTES, "%s.tmp-%ld-%llx", path, (long)getpid(),
	    (unsigned long long)clock_ns());
	return open(name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
	    mode);
}

/* 0, or -errno: -EEXIST if somebody else was first. */
static int
publish(int fd, const char *temporary, const char *path)
{
	char self[64];
	int r;

	if (temporary[0] != '\0')
		return linkat(AT_FDCWD, temporary, AT_FDCWD, path, 0) < 0 ?
		    -errno : 0;
	(void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	r = linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
	return r < 0 ? -errno : 0;
}

static int
create_open_file(struct segment *seg, int fd, const char *temporary,
    const struct shmc_options *o, const struct geometry *geo,
    struct shmc_error *error)
{
	int r;

	if (fchmod(fd, o->mode) < 0) /* whatever the umask */
		return error_set(error, -errno, "chmod: %s", strerror(errno));
	r = format(seg, fd, o, geo, error);
	if (r < 0)
		return r;
	r = publish(fd, temporary, o->path);
	if (r < 0) {
		segment_unmap(seg);
		error_set(error, r, "%s: %s", o->path, strerror(-r));
	}
	return r;
}

static int
create_path(struct segment *seg, const struct shmc_options *o,
    const struct geometry *geo, struct shmc_error *error)
{
	char temporary[PATH_BYTES] = "";
	int fd = open_unnamed(o->path, o->mode);
	int r;

	if (fd < 0 && errno == EISDIR) /* what kernels without O_TMPFILE say */
		errno = EOPNOTSUPP;
	if (fd >= 0 && access("/proc/self/fd", X_OK) != 0) {
		close(fd); /* it could not be given a name */
		fd = -1;
		errno = EOPNOTSUPP;
	}
	if (fd < 0 && errno == EOPNOTSUPP)
		fd = open_temporary(o->path, temporary, o->mode);
	if (fd < 0)
		return error_set(error, -errno, "%s: %s", o->path,
		    strerror(errno));
	r = create_open_file(seg, fd, temporary, o, geo, error);
	if (temporary[0] != '\0')
		(void)unlink(temporary);
	close(fd);
	return r;
}

/* ---------------------------------------------------------------- open --- */

static int
compute_geometry(struct geometry *geo, const struct shmc_options *o,
    struct shmc_error *error)
{
	uint32_t participants = o->participants != 0 ? o->participants :
	    geometry_default_participants(o->size_bytes);
	const char *why = geometry_compute(geo, o->size_bytes, participants,
	    o->entry_bytes);

	if (why != NULL)
		return error_set(error, -EINVAL, "%s", why);
	if ((o->mode & ~0777u) != 0 || (o->mode & 0600) != 0600)
		return error_set(error, -EINVAL,
		    "mode must be permission bits with at least 0600");
	return 0;
}

int
segment_open(struct segment *seg, const struct shmc_options *o,
    struct shmc_error *error)
{
	struct geometry geo;
	int r;

	if (o->path != NULL && (o->flags & SHMC_EXCLUSIVE) == 0) {
		r = attach_path(seg, o->path, o->mode, error);
		if (r != -ENOENT || (o->flags & SHMC_CREATE) == 0)
			return r;
	}
	r = compute_geometry(&geo, o, error);
	if (r < 0)
		return r;
	if (o->path == NULL)
		return create_memfd(seg, o, &geo, error);
	r = create_path(seg, o, &geo, error);
	if (r == -EEXIST && (o->flags & SHMC_EXCLUSIVE) == 0)
		return attach_path(seg, o->path, o->mode, error);
	return r;
}

void
segment_unmap(struct segment *seg)
{
	munmap(seg->base, seg->geo.size_bytes);
	if (seg->fd >= 0)
		close(seg->fd);
	seg->base = NULL;
}

void
segment_doubt(const struct segment *seg)
{
	/* A count, rare: relaxed, and the one RMW that many may share. */
	atomic_fetch_add_explicit(&seg->header->doubtful, 1,
	    memory_order_relaxed);
}

uint64_t
segment_now_ms(const struct segment *seg)
{
	return clock_coarse_ms() - seg->created_ms;
}
