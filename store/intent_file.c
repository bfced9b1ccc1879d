/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and writing the file of the intent log. */
#include "intent_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "intent_header.h"
#include "util.h"

enum {
	ZEROES = 256 << 10,
	/* The log must not take more than 1 in this many free bytes. */
	SPACE_SHARE = 16,
};

/* Write zeroes to a range, a multiple of ZEROES. */
static int range_zero(int fd, const uint8_t *zeroes, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += ZEROES) {
		ssize_t n = pwrite(fd, zeroes, ZEROES, (off_t)at);

		if (n != ZEROES)
			return n < 0 ? -errno : -ENOSPC;
	}
	return 0;
}

/*
 * Take space for larger halves.  Zeroes are written to the first INTENT_HALF of
 * each, so that later writes there change neither the file's length nor the map
 * of its blocks.  Only large groups reach the rest; for them, the cost of the
 * first use is small.
 */
static int file_fill(int fd, uint64_t from, uint64_t half)
{
	_cleanup_free_ uint8_t *zeroes = calloc(1, ZEROES);
	uint64_t old = 2 * from, bytes = 2 * half;
	int r;

	if (!zeroes)
		return -ENOMEM;
	do
		r = fallocate(fd, 0, (off_t)old, (off_t)(bytes - old));
	while (r < 0 && errno == EINTR);
	if (r == 0) {
		r = range_zero(fd, zeroes, old, INTENT_HALF);
		if (r == 0)
			r = range_zero(fd, zeroes, MAX(old, half),
			               half + INTENT_HALF);
	} else if (errno == EOPNOTSUPP) {
		r = range_zero(fd, zeroes, old, bytes);
	} else {
		r = -errno;
	}
	return r < 0 || fdatasync(fd) == 0 ? r : -errno;
}

/* Return 0 if the file may take so many bytes of the free space. */
static int space_check(int fd, uint64_t bytes)
{
	struct statvfs vfs;

	if (fstatvfs(fd, &vfs) < 0)
		return -errno;
	return (uint64_t)vfs.f_bavail * vfs.f_frsize / SPACE_SHARE < bytes
	               ? -ENOSPC
	               : 0;
}

/* Sync the directory, which was opened with O_PATH. */
static int name_sync(int dir)
{
	_cleanup_close_ int fd =
	        openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int intent_file_create(int dir, uint64_t half, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	int r = space_check(dir, 2 * half);

	if (r < 0)
		return r;
	fd = openat(dir, INTENT_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	            0600);
	if (fd < 0)
		return -errno;
	r = file_fill(fd, 0, half);
	if (r == 0)
		r = name_sync(dir);
	if (r < 0) {
		unlinkat(dir, INTENT_FILE, 0);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int intent_file_grow(int fd, uint64_t from, uint64_t half)
{
	int r = space_check(fd, 2 * half);

	if (r < 0)
		return r;
	r = file_fill(fd, from, half);
	/* If this fails, too, the file is only longer than it needs to be. */
	if (r < 0 && ftruncate(fd, (off_t)(2 * from)) < 0)
		log_debug("cannot shorten '" INTENT_FILE "': %s",
		          strerror(errno));
	return r;
}

int intent_file_write(int fd, const struct intent_entry *entry)
{
	size_t done = 0;

	while (done < entry->len) {
		ssize_t n = pwrite(fd, entry->bytes + done, entry->len - done,
		                   (off_t)(entry->at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

void intent_file_begin_sync(int fd, const struct intent_entry *entry)
{
	sync_file_range(fd, (off_t)entry->at, (off_t)entry->len,
	                SYNC_FILE_RANGE_WRITE);
}
