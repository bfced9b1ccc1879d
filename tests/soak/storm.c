/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mode storm: workers that get in each other's way through several mounts. They
 * pause now and then; all open files, maps and names must then show the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "coherence.h"
#include "touch.h"

enum {
	PAGE = 4096,
	NAMES = 6,
	FILE_MAX = 300 << 10,
	HANDLES = 6,
	MAPS = 3,
	PATH_LEN = 400,
	PAUSES_MS = 700,
};

static const uint64_t INO_MASK = (1ull << 36) - 1;

struct file {
	int fd; /* -1: unused */
	unsigned mount;
};

struct area {
	uint8_t *at; /* NULL: unused */
	uint64_t ino;
	unsigned mount;
};

struct storm {
	struct worker *worker;
	struct file files[HANDLES];
	struct area areas[MAPS];
	uint8_t *buffer;
};

static unsigned below(struct storm *storm, unsigned n)
{
	return worker_below(storm->worker, n);
}

static char *some_path(struct storm *storm, unsigned *ret_mount, char *ret_path)
{
	const struct options *options = storm->worker->options;

	*ret_mount = below(storm, options->mounts);
	snprintf(ret_path, PATH_LEN, "%s/storm/f%u", options->dirs[*ret_mount],
	         below(storm, NAMES));
	return ret_path;
}

/* Others take names away and make them: that is no failure. */
static void expect(struct storm *storm, bool good, const char *what)
{
	if (!good && errno != ENOENT && errno != EEXIST && errno != ENODEV &&
	    errno != EOPNOTSUPP && errno != EXDEV && errno != ENODATA)
		worker_need(storm->worker, false, what);
}

/* ---- Steps -------------------------------------------------------------- */

static struct file *some_open(struct storm *storm)
{
	struct file *file = &storm->files[below(storm, HANDLES)];
	int flags = O_RDWR | O_CLOEXEC;
	char path[PATH_LEN];

	if (file->fd >= 0 && below(storm, 10))
		return file;
	if (file->fd >= 0)
		close(file->fd);
	flags |= below(storm, 2) ? O_CREAT : 0;
	flags |= below(storm, 4) ? 0 : O_APPEND;
	flags |= below(storm, 5) ? 0 : O_DIRECT;
	flags |= below(storm, 8) ? 0 : O_TRUNC;
	some_path(storm, &file->mount, path);
	worker_step(storm->worker, "open %s, flags %o", path, flags);
	file->fd = open(path, flags, 0644);
	expect(storm, file->fd >= 0, path);
	return file->fd < 0 ? NULL : file;
}

static void step_write(struct storm *storm)
{
	struct file *file = some_open(storm);
	size_t len = 1 + below(storm, below(storm, 3) ? 5000 : 140000);
	off_t off = below(storm, FILE_MAX - 140000);
	ssize_t n;

	if (!file)
		return;
	if (fcntl(file->fd, F_GETFL) & O_APPEND &&
	    lseek(file->fd, 0, SEEK_END) > FILE_MAX)
		return;
	if (!below(storm, 3)) {
		off = (off_t)below(storm, 40) * PAGE + 10;
		len = 100;
	}
	memset(storm->buffer, (int)below(storm, 256), len);
	worker_step(storm->worker, "write through %u at %jd, %zu", file->mount,
	            (intmax_t)off, len);
	n = pwrite(file->fd, storm->buffer, len, off);
	worker_need(storm->worker, n == (ssize_t)len, "pwrite");
}

static void step_read(struct storm *storm)
{
	struct file *file = some_open(storm);

	if (!file)
		return;
	worker_step(storm->worker, "read through %u", file->mount);
	worker_need(storm->worker,
	            pread(file->fd, storm->buffer,
	                  PAGE * (1 + below(storm, 40)),
	                  (off_t)below(storm, 40) * PAGE) >= 0,
	            "pread");
}

static void step_truncate(struct storm *storm)
{
	struct file *file = some_open(storm);
	off_t size = below(storm, FILE_MAX);

	if (!file)
		return;
	worker_step(storm->worker, "ftruncate through %u to %jd", file->mount,
	            (intmax_t)size);
	worker_need(storm->worker, ftruncate(file->fd, size) == 0, "ftruncate");
}

static void step_fallocate(struct storm *storm)
{
	static const int modes[] = {
	        0,
	        FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_ZERO_RANGE,
	};
	struct file *file = some_open(storm);
	unsigned i = below(storm, 4);

	if (!file)
		return;
	worker_step(storm->worker, "fallocate %d through %u", modes[i],
	            file->mount);
	expect(storm,
	       fallocate(file->fd, modes[i], below(storm, FILE_MAX / 2),
	                 1 + below(storm, FILE_MAX / 2)) == 0,
	       "fallocate");
}

static void step_copy(struct storm *storm)
{
	struct file *from = some_open(storm), *to = some_open(storm);
	off_t a = below(storm, 40) * PAGE, b = below(storm, 40) * PAGE;

	if (!from || !to || from == to || from->fd < 0 ||
	    fcntl(to->fd, F_GETFL) & O_APPEND)
		return;
	worker_step(storm->worker, "copy through %u and %u", from->mount,
	            to->mount);
	/* The same file and ranges that meet: EINVAL. */
	if (copy_file_range(from->fd, &a, to->fd, &b, 70000, 0) < 0 &&
	    errno != EINVAL)
		expect(storm, false, "copy_file_range");
}

static void step_map(struct storm *storm)
{
	struct area *area = &storm->areas[below(storm, MAPS)];
	struct file *file = some_open(storm);
	struct stat st;

	if (area->at && !below(storm, 4)) {
		worker_step(storm->worker, "unmap through %u", area->mount);
		munmap(area->at, FILE_MAX);
		area->at = NULL;
	}
	if (area->at || !file)
		return;
	worker_step(storm->worker, "map through %u", file->mount);
	worker_need(storm->worker, fstat(file->fd, &st) == 0, "fstat");
	area->at = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED,
	                file->fd, 0);
	if (area->at == MAP_FAILED) {
		area->at = NULL;
		expect(storm, false, "mmap");
	}
	area->ino = st.st_ino & INO_MASK;
	area->mount = file->mount;
}

static void step_touch(struct storm *storm)
{
	struct area *area = &storm->areas[below(storm, MAPS)];
	struct touch t = {.pages = 1 + below(storm, 20),
	                  .write = below(storm, 2)};

	if (!area->at) {
		step_map(storm);
		return;
	}
	t.at = area->at + (size_t)below(storm, 40) * PAGE;
	worker_step(storm->worker, "touch through %u%s", area->mount,
	            t.write ? ", write" : "");
	/* Somebody may truncate it: SIGBUS is no failure. */
	touch_pages(&t);
	if (!below(storm, 3))
		worker_need(storm->worker,
		            msync(area->at, FILE_MAX, MS_SYNC) == 0, "msync");
}

static void step_names(struct storm *storm)
{
	const char *what = "unlink";
	char from[PATH_LEN], to[PATH_LEN];
	unsigned mount, other;

	some_path(storm, &mount, from);
	do
		some_path(storm, &other, to);
	while (other != mount);
	switch (below(storm, 3)) {
	case 0:
		worker_step(storm->worker, "unlink %s", from);
		expect(storm, unlink(from) == 0, what);
		break;
	case 1:
		worker_step(storm->worker, "rename %s to %s", from, to);
		expect(storm, rename(from, to) == 0, "rename");
		break;
	default:
		worker_step(storm->worker, "link %s to %s", from, to);
		expect(storm, link(from, to) == 0, "link");
	}
}

static void step_attributes(struct storm *storm)
{
	char path[PATH_LEN];
	unsigned mount;
	struct stat st;

	some_path(storm, &mount, path);
	worker_step(storm->worker, "attributes of %s", path);
	switch (below(storm, 4)) {
	case 0:
		expect(storm, chmod(path, 0600 | below(storm, 0200)) == 0,
		       "chmod");
		break;
	case 1:
		expect(storm,
		       setxattr(path, "user.x", storm->buffer,
		                below(storm, 300), 0) == 0,
		       "setxattr");
		break;
	case 2:
		expect(storm, removexattr(path, "user.x") == 0, "removexattr");
		break;
	default:
		expect(storm, stat(path, &st) == 0, "stat");
	}
}

static void step_random(struct storm *storm)
{
	static void (*const steps[])(struct storm *) = {
	        step_write, step_write, step_write, step_write,
	        step_read,  step_read,  step_read,  step_truncate,
	        step_touch, step_touch, step_touch, step_fallocate,
	        step_copy,  step_map,   step_names, step_attributes,
	};

	steps[below(storm, sizeof(steps) / sizeof(*steps))](storm);
}

/* ---- Pauses ------------------------------------------------------------- */

static struct truth *truth_of(struct storm *storm, uint64_t ino)
{
	for (int i = 0; i < TRUTHS; i++) {
		struct truth *truth = &storm->worker->shared->truths[i];

		if (truth->ino == ino || !truth->ino)
			return truth;
	}
	worker_fail(storm->worker, "too many files");
}

static uint64_t hash_of_file(struct storm *storm, int fd, size_t *ret_size)
{
	ssize_t n = pread(fd, storm->buffer, 2 * FILE_MAX, 0);

	worker_need(storm->worker, n >= 0, "pread");
	*ret_size = (size_t)n;
	return hash_bytes(storm->buffer, (size_t)n);
}

/* The first look at a file makes the truth; all others are compared. */
static void compare_with_truth(struct storm *storm, const struct stat *st,
                               uint64_t hash, size_t size, unsigned mount,
                               const char *how)
{
	struct truth *truth = truth_of(storm, st->st_ino & INO_MASK);

	if (!truth->ino) {
		*truth = (struct truth){st->st_ino & INO_MASK, hash, *st};
		return;
	}
	if (truth->hash != hash || size != (size_t)truth->st.st_size)
		worker_fail(storm->worker,
		            "inode %ju through mount %u by %s: other bytes "
		            "(%zu of them, %jd expected)",
		            (uintmax_t)truth->ino, mount, how, size,
		            (intmax_t)truth->st.st_size);
	if (st->st_size != truth->st.st_size ||
	    st->st_mode != truth->st.st_mode ||
	    st->st_nlink != truth->st.st_nlink ||
	    st->st_mtim.tv_nsec != truth->st.st_mtim.tv_nsec ||
	    st->st_ctim.tv_nsec != truth->st.st_ctim.tv_nsec)
		worker_fail(storm->worker,
		            "inode %ju through mount %u by %s: size %jd mode "
		            "%o links %ju mtime %ld ctime %ld; %jd %o %ju %ld "
		            "%ld expected",
		            (uintmax_t)truth->ino, mount, how,
		            (intmax_t)st->st_size, st->st_mode,
		            (uintmax_t)st->st_nlink, st->st_mtim.tv_nsec,
		            st->st_ctim.tv_nsec, (intmax_t)truth->st.st_size,
		            truth->st.st_mode, (uintmax_t)truth->st.st_nlink,
		            truth->st.st_mtim.tv_nsec,
		            truth->st.st_ctim.tv_nsec);
}

static void compare_fd(struct storm *storm, int fd, unsigned mount,
                       const char *how)
{
	struct stat st;
	size_t size;
	uint64_t hash = hash_of_file(storm, fd, &size);

	worker_need(storm->worker, fstat(fd, &st) == 0, "fstat");
	compare_with_truth(storm, &st, hash, size, mount, how);
}

/* Worker 0 looks at all names through all mounts. */
static void compare_names(struct storm *storm)
{
	const struct options *options = storm->worker->options;
	struct shared *shared = storm->worker->shared;

	memset(shared->truths, 0, sizeof(shared->truths));
	for (unsigned name = 0; name < NAMES; name++) {
		bool there = false;

		for (unsigned i = 0; i < 2 * options->mounts; i++) {
			unsigned mount = i % options->mounts;
			/* First past the pages, then through them. */
			bool direct = i < options->mounts;
			char path[PATH_LEN];
			int fd;

			snprintf(path, sizeof(path), "%s/storm/f%u",
			         options->dirs[mount], name);
			worker_step(storm->worker, "compare %s", path);
			fd = open(path, O_RDONLY | O_CLOEXEC |
			                        (direct ? O_DIRECT : 0));
			if (fd < 0 && errno != ENOENT)
				worker_need(storm->worker, false, path);
			if (i && there != (fd >= 0))
				worker_fail(storm->worker,
				            "%s: %s, through mount 0 %s", path,
				            fd < 0 ? "missing" : "there",
				            there ? "there" : "missing");
			there = fd >= 0;
			if (fd < 0)
				continue;
			compare_fd(storm, fd, mount,
			           direct ? "direct read" : "read");
			close(fd);
		}
	}
}

struct map_hash {
	const uint8_t *at;
	size_t len;
	uint64_t hash;
};

static void map_hash(void *arg)
{
	struct map_hash *m = arg;

	m->hash = hash_bytes(m->at, m->len);
}

/* The mount was asked for the size of all files just before. */
static void compare_area(struct storm *storm, const struct area *area)
{
	const struct truth *truth = truth_of(storm, area->ino);
	struct map_hash m = {area->at, (size_t)truth->st.st_size, 0};

	if (!truth->ino || m.len > FILE_MAX)
		return;
	if (!without_sigbus(map_hash, &m) || m.hash != truth->hash)
		worker_fail(storm->worker,
		            "inode %ju through mount %u by map: %s, size %zu",
		            (uintmax_t)area->ino, area->mount,
		            m.hash ? "other bytes" : "SIGBUS", m.len);
}

static void compare_open(struct storm *storm)
{
	for (int i = 0; i < HANDLES; i++) {
		if (storm->files[i].fd >= 0)
			compare_fd(storm, storm->files[i].fd,
			           storm->files[i].mount, "old descriptor");
	}
	for (int i = 0; i < MAPS; i++) {
		if (storm->areas[i].at)
			compare_area(storm, &storm->areas[i]);
	}
}

static void pause_together(struct storm *storm)
{
	struct shared *shared = storm->worker->shared;

	for (int i = 0; i < MAPS; i++) {
		if (storm->areas[i].at)
			worker_need(storm->worker,
			            msync(storm->areas[i].at, FILE_MAX,
			                  MS_SYNC) == 0,
			            "msync");
	}
	pthread_barrier_wait(&shared->barrier);
	if (storm->worker->number == 0)
		compare_names(storm);
	pthread_barrier_wait(&shared->barrier);
	/* One by one: truths of files without a name are made here. */
	for (unsigned i = 0; i < storm->worker->options->workers; i++) {
		if (storm->worker->number == i)
			compare_open(storm);
		worker_step(storm->worker, "wait for the others");
		pthread_barrier_wait(&shared->barrier);
	}
}

static void storm_init(struct storm *storm, struct worker *worker)
{
	char path[PATH_LEN];

	*storm = (struct storm){.worker = worker};
	for (int i = 0; i < HANDLES; i++)
		storm->files[i].fd = -1;
	storm->buffer = aligned_alloc(PAGE, 2 * FILE_MAX);
	snprintf(path, sizeof(path), "%s/storm", worker->options->dirs[0]);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		worker_need(worker, false, path);
}

void storm_run(struct worker *worker)
{
	uint64_t turn = now_ns();
	struct shared *shared = worker->shared;
	struct storm storm;

	storm_init(&storm, worker);
	for (;;) {
		turn += (uint64_t)PAUSES_MS * 1000000;
		while (now_ns() < turn)
			step_random(&storm);
		pause_together(&storm);
		if (worker->number == 0)
			atomic_store(&shared->pause, worker_done(worker));
		pthread_barrier_wait(&shared->barrier);
		if (atomic_load(&shared->pause))
			break;
		turn = now_ns();
	}
}
