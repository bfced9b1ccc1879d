/* SPDX-License-Identifier: GPL-2.0-or-later */
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	bool on;
	dev_t dev;
	ino_t ino;
	uint64_t issued, acked;
	struct recording recording;
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- The recording ------------------------------------------------------ */

void shim_start(const char *path)
{
	struct stat st;
	size_t at = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		abort();
	pthread_mutex_lock(&shim.lock);
	shim.recording = (struct recording){
	        .base = need(malloc((size_t)st.st_size + 1)),
	        .base_len = (size_t)st.st_size,
	};
	while (at < shim.recording.base_len) {
		ssize_t n = pread(fd, shim.recording.base + at,
		                  shim.recording.base_len - at, (off_t)at);

		if (n <= 0)
			abort();
		at += (size_t)n;
	}
	shim.dev = st.st_dev;
	shim.ino = st.st_ino;
	shim.issued = shim.acked = 0;
	shim.on = true;
	pthread_mutex_unlock(&shim.lock);
	close(fd);
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
	free(recording->base);
	*recording = (struct recording){0};
}

void shim_tell(uint64_t issued, uint64_t acked)
{
	pthread_mutex_lock(&shim.lock);
	shim.issued = issued;
	shim.acked = acked;
	pthread_mutex_unlock(&shim.lock);
}

/* Is it our file?  Then the lock is taken, to be let go of by event_add(). */
static bool is_ours(int fd)
{
	struct stat st;
	bool ours;

	pthread_mutex_lock(&shim.lock);
	ours = shim.on && !fstat(fd, &st) && st.st_dev == shim.dev &&
	       st.st_ino == shim.ino;
	if (!ours)
		pthread_mutex_unlock(&shim.lock);
	return ours;
}

/* The call was made; it failed if result is negative. */
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
	pthread_mutex_unlock(&shim.lock);
}

static ssize_t vector_write(int fd, const struct iovec *iov, int count,
                            off_t off)
{
	struct event event = {.kind = EVENT_WRITE, .off = off};
	int flags = fcntl(fd, F_GETFL);
	ssize_t n;

	event.synced = flags & (O_DSYNC | O_SYNC);
	for (int i = 0; i < count; i++)
		event.len += iov[i].iov_len;
	event.data = need(malloc(event.len + 1));
	event.len = 0;
	for (int i = 0; i < count; i++) {
		memcpy(event.data + event.len, iov[i].iov_base, iov[i].iov_len);
		event.len += iov[i].iov_len;
	}
	n = syscall(SYS_pwrite64, fd, event.data, event.len, off);
	if (n >= 0)
		event.len = (size_t)n;
	event_add(n, event);
	return n;
}

/* ---- The system calls --------------------------------------------------- */

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
	struct iovec iov = {(void *)data, len};

	if (!is_ours(fd))
		return syscall(SYS_pwrite64, fd, data, len, off);
	return vector_write(fd, &iov, 1, off);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t off)
{
	return pwrite(fd, data, len, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	if (!is_ours(fd))
		return syscall(SYS_pwritev, fd, iov, count, off, 0);
	return vector_write(fd, iov, count, off);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t off)
{
	return pwritev(fd, iov, count, off);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	off_t off;
	ssize_t n;

	if (!is_ours(fd))
		return syscall(SYS_writev, fd, iov, count);
	off = lseek(fd, 0, SEEK_CUR);
	n = vector_write(fd, iov, count, off);
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
	int r;

	if (!is_ours(fd))
		return (int)syscall(SYS_ftruncate, fd, size);
	r = (int)syscall(SYS_ftruncate, fd, size);
	event_add(r, (struct event){.kind = EVENT_TRUNCATE, .off = size});
	return r;
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

/* Nobody does this to the file; if somebody begins to, the test must know. */
int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (is_ours(fd))
		abort();
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

int fdatasync(int fd)
{
	int r;

	if (!is_ours(fd))
		return (int)syscall(SYS_fdatasync, fd);
	r = (int)syscall(SYS_fdatasync, fd);
	event_add(r, (struct event){.kind = EVENT_SYNC});
	return r;
}

int fsync(int fd)
{
	int r;

	if (!is_ours(fd))
		return (int)syscall(SYS_fsync, fd);
	r = (int)syscall(SYS_fsync, fd);
	event_add(r, (struct event){.kind = EVENT_SYNC});
	return r;
}

/* The file is never mapped for writing: a sync of a map says nothing of it. */
int msync(void *at, size_t len, int flags)
{
	return (int)syscall(SYS_msync, at, len, flags);
}
