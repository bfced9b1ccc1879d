/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and writing the file of the intent log. */
#include "intent_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util.h"

enum {
	ZEROES = 256 << 10,
	/* The log must not take more than one in so many free bytes. */
	SPACE_SHARE = 16,
};

/*
 * Write zeroes to all of the file, so that later writes change neither its
 * length nor the map of its blocks.
 */
static int file_fill(int fd, uint64_t bytes)
{
	_cleanup_free_ uint8_t *zeroes = calloc(1, ZEROES);

	if (!zeroes)
		return -ENOMEM;
	if (fallocate(fd, 0, 0, (off_t)bytes) < 0 && errno != EOPNOTSUPP)
		return -errno;
	for (uint64_t at = 0; at < bytes; at += ZEROES) {
		ssize_t n = pwrite(fd, zeroes, ZEROES, (off_t)at);

		if (n != ZEROES)
			return n < 0 ? -errno : -ENOSPC;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* Make the names in the directory durable, which was opened with O_PATH. */
static int name_sync(int dir)
{
	_cleanup_close_ int fd =
	        openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int intent_file_create(int dir, uint64_t half, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	uint64_t bytes = 2 * half;
	struct statvfs vfs;
	int r;

	if (fstatvfs(dir, &vfs) < 0)
		return -errno;
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize / SPACE_SHARE < bytes)
		return -ENOSPC;
	fd = openat(dir, INTENT_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	            0600);
	if (fd < 0)
		return -errno;
	r = file_fill(fd, bytes);
	if (r == 0)
		r = name_sync(dir);
	if (r < 0) {
		unlinkat(dir, INTENT_FILE, 0);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
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
