/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Faults of the disk, for a daemon that is started with this in LD_PRELOAD.
 * The file that COPPICE_FAULT names holds a struct faults; a call of an armed
 * kind on data.mdb fails, as often as is written there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { KIND_WRITE, KIND_META, KIND_SYNC, KIND_ALLOCATE, KIND_COUNT };

struct faults {
	struct {
		_Atomic int32_t left;    /* calls that are still to fail */
		_Atomic int32_t error;   /* with this errno */
		_Atomic int32_t skipped; /* calls that go well before that */
		_Atomic int32_t hits;    /* calls that have failed */
	} kinds[KIND_COUNT];
};

enum { META_PAGES_LEN = 2 * 4096 };

static struct faults *_Atomic shared;

static struct faults *faults_of_process(void)
{
	static atomic_bool tried;
	const char *path = getenv("COPPICE_FAULT");
	struct faults *map = MAP_FAILED;
	int fd;

	if (atomic_load(&shared) || !path || atomic_exchange(&tried, true))
		return atomic_load(&shared);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE,
		           MAP_SHARED, fd, 0);
		close(fd);
	}
	if (map != MAP_FAILED)
		atomic_store(&shared, map);
	return atomic_load(&shared);
}

static bool is_data(int fd)
{
	static const char name[] = "/data.mdb";
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	return n >= (ssize_t)sizeof(name) - 1 &&
	       memcmp(path + n - (sizeof(name) - 1), name, sizeof(name) - 1) ==
	               0;
}

/* Return true, with errno set, if this call is to fail. */
static bool fails(enum kind kind, int fd)
{
	struct faults *faults = faults_of_process();
	int error = errno;

	if (!faults || atomic_load(&faults->kinds[kind].left) <= 0)
		return false;
	if (!is_data(fd)) {
		errno = error;
		return false;
	}
	if (atomic_fetch_sub(&faults->kinds[kind].skipped, 1) > 0)
		return false;
	atomic_store(&faults->kinds[kind].skipped, 0);
	if (atomic_fetch_sub(&faults->kinds[kind].left, 1) <= 0)
		return false;
	atomic_fetch_add(&faults->kinds[kind].hits, 1);
	errno = atomic_load(&faults->kinds[kind].error);
	return true;
}

static enum kind kind_of(off_t off)
{
	return off < META_PAGES_LEN ? KIND_META : KIND_WRITE;
}

/* ---- The system calls --------------------------------------------------- */

/* Both names of a call that has two. */
#define ALIAS(result, name, ...)                                               \
	result name##64(__VA_ARGS__) __attribute__((alias(#name)))

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
	if (fails(kind_of(off), fd))
		return -1;
	return syscall(SYS_pwrite64, fd, data, len, off);
}

ALIAS(ssize_t, pwrite, int fd, const void *data, size_t len, off_t off);

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	if (fails(kind_of(off), fd))
		return -1;
	return syscall(SYS_pwritev, fd, iov, count, off, 0);
}

ALIAS(ssize_t, pwritev, int fd, const struct iovec *iov, int count, off_t off);

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	if (fails(KIND_WRITE, fd))
		return -1;
	return syscall(SYS_writev, fd, iov, count);
}

int fdatasync(int fd)
{
	if (fails(KIND_SYNC, fd))
		return -1;
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	if (fails(KIND_SYNC, fd))
		return -1;
	return (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t size)
{
	if (fails(KIND_ALLOCATE, fd))
		return -1;
	return (int)syscall(SYS_ftruncate, fd, size);
}

ALIAS(int, ftruncate, int fd, off_t size);

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (fails(KIND_ALLOCATE, fd))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

ALIAS(int, fallocate, int fd, int mode, off_t off, off_t len);
