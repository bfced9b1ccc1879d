/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes one of the calls fail with which a program that has this in LD_PRELOAD
 * changes files, or ends the program in front of it, as kill -9 would.
 * COPPICE_CALL says which one, and the number of the error (0: end), and the
 * file to write the call's name to when that is done: "7 28 /tmp/done", for
 * one.
 *
 * COPPICE_PAGES is the page size that the system reports to the program.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls;

static bool fails(const char *name)
{
	const char *order = getenv("COPPICE_CALL");
	int which, error;
	char done[4096];
	long fd;

	if (!order || sscanf(order, "%d %d %4095s", &which, &error, done) != 3)
		return false;
	if (atomic_fetch_add(&calls, 1) + 1 != which)
		return false;
	fd = syscall(SYS_openat, AT_FDCWD, done, O_CREAT | O_WRONLY, 0600);
	syscall(SYS_write, fd, name, strlen(name));
	syscall(SYS_close, fd);
	if (!error)
		raise(SIGKILL);
	errno = error;
	return true;
}

#define WRAP(type, name, parameters, arguments)                                \
	type name parameters;                                                  \
	type name parameters                                                   \
	{                                                                      \
		type(*real) parameters = dlsym(RTLD_NEXT, #name);              \
                                                                               \
		return fails(#name) ? (type)-1 : real arguments;               \
	}

WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, renameat, (int a, const char *from, int b, const char *to),
     (a, from, b, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, rmdir, (const char *path), (path))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
WRAP(ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n))
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t len, off_t off),
     (fd, data, len, off))
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t len, off_t off),
     (fd, data, len, off))
WRAP(ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t off),
     (fd, iov, n, off))
WRAP(ssize_t, pwritev64, (int fd, const struct iovec *iov, int n, off_t off),
     (fd, iov, n, off))
WRAP(int, ftruncate, (int fd, off_t len), (fd, len))
WRAP(int, ftruncate64, (int fd, off_t len), (fd, len))
WRAP(int, fallocate, (int fd, int mode, off_t off, off_t len),
     (fd, mode, off, len))
WRAP(int, fallocate64, (int fd, int mode, off_t off, off_t len),
     (fd, mode, off, len))

/* Calls that open a file count if they create it or open it for writing. */
#define OPEN(name, parameters, ...)                                            \
	int name parameters;                                                   \
	int name parameters                                                    \
	{                                                                      \
		int(*real) parameters = dlsym(RTLD_NEXT, #name);               \
		mode_t mode = 0;                                               \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, flags);                                           \
		if (flags & (O_CREAT | O_TMPFILE))                             \
			mode = va_arg(ap, mode_t);                             \
		va_end(ap);                                                    \
		if ((flags & (O_CREAT | O_ACCMODE)) && fails(#name))           \
			return -1;                                             \
		return real(__VA_ARGS__, flags, mode);                         \
	}

OPEN(open, (const char *path, int flags, ...), path)
OPEN(open64, (const char *path, int flags, ...), path)
OPEN(openat, (int dir, const char *path, int flags, ...), dir, path)
OPEN(openat64, (int dir, const char *path, int flags, ...), dir, path)

/* Return true, and log it, if the address is not aligned to the faked pages. */
static bool is_misaligned(uint64_t at, const char *name)
{
	const char *pages = getenv("COPPICE_PAGES");

	if (!pages || at % (uint64_t)atol(pages) == 0)
		return false;
	dprintf(STDERR_FILENO, "error: %s of a part of a page\n", name);
	errno = EINVAL;
	return true;
}

int madvise(void *at, size_t len, int advice);
int madvise(void *at, size_t len, int advice)
{
	int (*real)(void *, size_t, int) = dlsym(RTLD_NEXT, "madvise");

	return is_misaligned((uintptr_t)at, "madvise") ? -1
	                                               : real(at, len, advice);
}

long sysconf(int name)
{
	long (*real)(int) = dlsym(RTLD_NEXT, "sysconf");
	const char *pages = getenv("COPPICE_PAGES");

	return name == _SC_PAGESIZE && pages ? atol(pages) : real(name);
}
