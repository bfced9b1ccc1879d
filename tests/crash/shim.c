/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The recording of system calls.  They are made as raw ones, below whatever
 * else has taken their names (a sanitizer, say).
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	bool on;
	char paths[RECORDED_FILES][200];
	dev_t dev;
	ino_t ino; /* of data.mdb */
	uint64_t issued, acked;
	struct recording recording;
	struct failing failing;
	uint64_t failed, passed;
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *const recorded_names[RECORDED_FILES] = {"data.mdb", "log"};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- The recording ------------------------------------------------------ */

/* Read the file that is now at the path; a missing one is empty. */
static void base_read(enum recorded file)
{
	struct recording *r = &shim.recording;
	int fd = open(shim.paths[file], O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t at = 0;

	if (fd < 0)
		return;
	if (fstat(fd, &st))
		abort();
	if (file == RECORDED_DATA) {
		shim.dev = st.st_dev;
		shim.ino = st.st_ino;
	}
	r->base_len[file] = (size_t)st.st_size;
	r->base[file] = need(malloc(r->base_len[file] + 1));
	while (at < r->base_len[file]) {
		ssize_t n = pread(fd, r->base[file] + at,
		                  r->base_len[file] - at, (off_t)at);

		if (n <= 0)
			abort();
		at += (size_t)n;
	}
	close(fd);
}

void shim_start(const char *path)
{
	pthread_mutex_lock(&shim.lock);
	shim.recording = (struct recording){0};
	for (int i = 0; i < RECORDED_FILES; i++) {
		snprintf(shim.paths[i], sizeof(shim.paths[i]), "%s/%s", path,
		         recorded_names[i]);
		base_read(i);
	}
	shim.issued = shim.acked = 0;
	shim.failing = (struct failing){0};
	shim.on = true;
	pthread_mutex_unlock(&shim.lock);
}

struct recording shim_stop(void)
{
	struct recording recording;

	pthread_mutex_lock(&shim.lock);
	shim.on = false;
	recording = shim.recording;
	shim.recording = (struct recording){0};
	pthread_mutex_unlock(&shim.lock);
	return recording;
}

void recording_release(struct recording *recording)
{
	for (size_t i = 0; i < recording->len; i++)
		free(recording->events[i].data);
	free(recording->events);
	for (int i = 0; i < RECORDED_FILES; i++)
		free(recording->base[i]);
	*recording = (struct recording){0};
}

void shim_tell(uint64_t issued, uint64_t acked)
{
	pthread_mutex_lock(&shim.lock);
	shim.issued = issued;
	shim.acked = acked;
	pthread_mutex_unlock(&shim.lock);
}

/* ---- Failing ------------------------------------------------------------ */

void shim_fail(const struct failing *failing)
{
	pthread_mutex_lock(&shim.lock);
	shim.failing = *failing;
	shim.failed = shim.passed = 0;
	pthread_mutex_unlock(&shim.lock);
}

uint64_t shim_failed(void)
{
	uint64_t n;

	pthread_mutex_lock(&shim.lock);
	n = shim.failed;
	pthread_mutex_unlock(&shim.lock);
	return n;
}

uint64_t shim_passed(void)
{
	uint64_t n;

	pthread_mutex_lock(&shim.lock);
	n = shim.passed;
	pthread_mutex_unlock(&shim.lock);
	return n;
}

/* Lock held: must the call fail that is about to be made? */
static bool must_fail(bool meta, bool grant)
{
	if ((shim.failing.meta_only && !meta) ||
	    (shim.failing.grants_only && !grant))
		return false;
	if (shim.passed < shim.failing.pass || !shim.failing.count) {
		shim.passed++;
		return false;
	}
	shim.failing.count--;
	shim.failed++;
	return true;
}

/* ---- Recording ---------------------------------------------------------- */

/* Lock held: which of the files is it?  RECORDED_FILES: none. */
static enum recorded file_of(int fd)
{
	struct stat st, named;

	if (!shim.on || fstat(fd, &st) || st.st_dev != shim.dev)
		return RECORDED_FILES;
	if (st.st_ino == shim.ino)
		return RECORDED_DATA;
	/* The log is made during the recording, and anew after a failure. */
	if (!stat(shim.paths[RECORDED_LOG], &named) &&
	    st.st_ino == named.st_ino)
		return RECORDED_LOG;
	return RECORDED_FILES;
}

/* Is it our file?  Then the lock is taken, to be let go of by the caller. */
static bool is_ours(int fd, enum recorded *ret_file)
{
	pthread_mutex_lock(&shim.lock);
	*ret_file = file_of(fd);
	if (*ret_file == RECORDED_FILES)
		pthread_mutex_unlock(&shim.lock);
	return *ret_file != RECORDED_FILES;
}

/* Lock held.  The call was made; it failed if result is negative. */
static void event_add(ssize_t result, struct event event)
{
	struct recording *r = &shim.recording;

	if (result >= 0) {
		if (r->len == r->room) {
			r->room = r->room ? r->room * 2 : 256;
			r->events = need(realloc(r->events,
			                         r->room * sizeof(*r->events)));
		}
		event.issued = shim.issued;
		event.acked = shim.acked;
		r->events[r->len++] = event;
	} else {
		free(event.data);
	}
}

/* Note the call, if it was made, and return its result.  Unlocks. */
static int call_end(int result, bool fail, struct event event)
{
	int err = fail ? shim.failing.error : errno;

	if (result >= 0)
		event_add(result, event);
	pthread_mutex_unlock(&shim.lock);
	errno = err;
	return fail ? -1 : result;
}

/* Return how much is written of a write that ends early. */
static size_t short_len(off_t off, size_t len)
{
	size_t end = ((size_t)off + len / 2) / SECTOR * SECTOR;

	return end > (size_t)off ? end - (size_t)off : 0;
}

static ssize_t vector_write(int fd, enum recorded file, const struct iovec *iov,
                            int count, off_t off)
{
	struct event event = {.kind = EVENT_WRITE, .file = file, .off = off};
	int flags = fcntl(fd, F_GETFL);
	bool synced = flags & (O_DSYNC | O_SYNC),
	     fail = must_fail(synced, false);
	enum fail_how how = shim.failing.how;
	int error = shim.failing.error;
	ssize_t n = -1;

	event.synced = synced && !fail;
	for (int i = 0; i < count; i++)
		event.len += iov[i].iov_len;
	event.data = need(malloc(event.len + 1));
	event.len = 0;
	for (int i = 0; i < count; i++) {
		memcpy(event.data + event.len, iov[i].iov_base, iov[i].iov_len);
		event.len += iov[i].iov_len;
	}
	if (fail && how == FAIL_SHORT) {
		event.len = short_len(off, event.len);
		if (!event.len)
			how = FAIL_NOTHING;
	}
	if (!fail || how != FAIL_NOTHING)
		n = syscall(SYS_pwrite64, fd, event.data, event.len, off);
	if (n >= 0)
		event.len = (size_t)n;
	event_add(n, event);
	if (fail && synced && n >= 0)
		event_add(0, (struct event){.kind = EVENT_LOST_SYNC,
		                            .file = file});
	pthread_mutex_unlock(&shim.lock);
	if (!fail || how == FAIL_SHORT)
		return n;
	errno = error;
	return -1;
}

/* ---- The system calls --------------------------------------------------- */

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
	struct iovec iov = {(void *)data, len};
	enum recorded file;

	if (!is_ours(fd, &file))
		return syscall(SYS_pwrite64, fd, data, len, off);
	return vector_write(fd, file, &iov, 1, off);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t off)
{
	return pwrite(fd, data, len, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	enum recorded file;

	if (!is_ours(fd, &file))
		return syscall(SYS_pwritev, fd, iov, count, off, 0);
	return vector_write(fd, file, iov, count, off);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t off)
{
	return pwritev(fd, iov, count, off);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	enum recorded file;
	off_t off;
	ssize_t n;

	if (!is_ours(fd, &file))
		return syscall(SYS_writev, fd, iov, count);
	off = lseek(fd, 0, SEEK_CUR);
	n = vector_write(fd, file, iov, count, off);
	if (n > 0)
		lseek(fd, off + n, SEEK_SET);
	return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
	struct iovec iov = {(void *)data, len};

	if (!shim.on)
		return syscall(SYS_write, fd, data, len);
	return writev(fd, &iov, 1);
}

int ftruncate(int fd, off_t size)
{
	struct event event = {.kind = EVENT_TRUNCATE, .off = size};
	bool fail;

	if (!is_ours(fd, &event.file))
		return (int)syscall(SYS_ftruncate, fd, size);
	fail = must_fail(false, false);
	return call_end(fail ? -1 : (int)syscall(SYS_ftruncate, fd, size), fail,
	                event);
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

/*
 * Preallocation changes nothing in data.mdb that can be read; of the log it
 * changes the length, and all of it is written before it is used.
 */
int fallocate(int fd, int mode, off_t off, off_t len)
{
	enum recorded file;
	bool fail;
	int r;

	if (!is_ours(fd, &file))
		return (int)syscall(SYS_fallocate, fd, mode, off, len);
	if (file == RECORDED_DATA && mode != FALLOC_FL_KEEP_SIZE)
		abort();
	fail = must_fail(false, true);
	r = fail ? -1 : (int)syscall(SYS_fallocate, fd, mode, off, len);
	if (fail)
		errno = shim.failing.error;
	pthread_mutex_unlock(&shim.lock);
	return r;
}

int fallocate64(int fd, int mode, off_t off, off_t len)
{
	return fallocate(fd, mode, off, len);
}

static int sync_call(int fd, long number)
{
	struct event event = {.kind = EVENT_SYNC};
	bool fail;

	if (!is_ours(fd, &event.file))
		return (int)syscall(number, fd);
	fail = must_fail(false, false);
	if (fail)
		event.kind = EVENT_LOST_SYNC;
	return call_end(fail ? 0 : (int)syscall(number, fd), fail, event);
}

int fdatasync(int fd)
{
	return sync_call(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return sync_call(fd, SYS_fsync);
}

/* The file is never mapped for writing: a sync of a map says nothing of it. */
int msync(void *at, size_t len, int flags)
{
	return (int)syscall(SYS_msync, at, len, flags);
}
