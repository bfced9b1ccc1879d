/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes calls that write to a store's data.mdb or log fail, in a daemon that
 * has this in LD_PRELOAD.  The file named by COPPICE_FAIL says what is to fail, how
 * often, and with which number of an error: "sync 5 1", for one.  When that is
 * done the file is removed; without the file nothing fails.
 *
 *   write  to the pages
 *   sync   of the file
 *   meta   the write of a meta page, which comes back after it was done
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool is_data(int fd)
{
	char name[64], path[4096];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, sizeof(path) - 1);
	if (n < 9)
		return false;
	path[n] = 0;
	return strcmp(path + n - 9, "/data.mdb") == 0 ||
	       strcmp(path + n - 4, "/log") == 0;
}

static bool is_meta(int fd)
{
	return fcntl(fd, F_GETFL) & (O_SYNC | O_DSYNC);
}

/* 0, or the error that such a call is to fail with. */
static int must_fail(int fd, const char *what)
{
	const char *name = getenv("COPPICE_FAIL");
	char kind[16];
	int error, count, fields;
	FILE *f = name ? fopen(name, "re") : NULL;

	if (!f)
		return 0;
	fields = fscanf(f, "%15s %d %d", kind, &error, &count);
	fclose(f);
	if (fields != 3 || strcmp(kind, what) || !is_data(fd))
		return 0;
	if (--count == 0) {
		unlink(name);
		return error;
	}
	f = fopen(name, "we");
	if (f) {
		fprintf(f, "%s %d %d\n", kind, error, count);
		fclose(f);
	}
	return error;
}

static ssize_t fail(int error)
{
	errno = error;
	return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
	bool meta = is_meta(fd);
	int error = must_fail(fd, meta ? "meta" : "write");
	ssize_t n = -1;

	if (!error || meta)
		n = syscall(SYS_pwrite64, fd, data, len, off);
	return error ? fail(error) : n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t off)
{
	return pwrite(fd, data, len, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	int error = must_fail(fd, "write");

	return error ? fail(error)
	             : syscall(SYS_pwritev, fd, iov, count, off, 0L);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t off)
{
	return pwritev(fd, iov, count, off);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	int error = must_fail(fd, "write");

	return error ? fail(error) : syscall(SYS_writev, fd, iov, count);
}

int fdatasync(int fd)
{
	int error = must_fail(fd, "sync");

	return error ? (int)fail(error) : (int)syscall(SYS_fdatasync, fd);
}
