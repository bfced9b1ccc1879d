/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file `lock`: one process has the store open at a time.  While it may be
 * written to, `lock` has a line with the inode number of data.mdb.  A copy of
 * the directory has the line, too, but another inode: it was made of a store
 * that was in use, or had not been closed.
 */
#include "lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "engine.h"

static const char format[] = "data.mdb %" SCNuMAX;

int lock_file_take(const char *path, bool readonly, int *ret_fd)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;
	int how = LOCK_EX;

	if (asprintf(&name, "%s/lock", path) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EROFS && readonly) {
		/*
		 * Other processes may read the store, too.  It may be writable
		 * through another mount, so lock it all the same.
		 */
		how = LOCK_SH;
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			return 0;
	}
	if (fd < 0)
		return -errno;
	if (flock(fd, how | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Return true if the file has the line, with another inode number. */
static bool is_of_another(int fd, uintmax_t inode)
{
	uintmax_t marked;
	char line[64];
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);

	if (n <= 0)
		return false;
	line[n] = 0;
	return sscanf(line, format, &marked) == 1 && marked != inode;
}

const char *store_copy_reason(const char *path, int err)
{
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (err != -EUCLEAN && err != -EBADMSG && err != -EMEDIUMTYPE)
		return "";
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstatat(dir, "data.mdb", &st, 0) < 0)
		return "";
	fd = openat(dir, "lock", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || !is_of_another(fd, st.st_ino))
		return "";
	return "; it looks like a copy that was made while the store was "
	       "mounted: coppice copy makes one that is whole";
}

void lock_file_mark(struct store *store)
{
	char line[64];
	struct stat st;
	int len;

	if (fstat(store->disk.fd, &st) < 0)
		return;
	if (is_of_another(store->lock_fd, st.st_ino))
		log_warning("the store '%s' was copied while it was mounted, "
		            "or without having been closed; run coppice check "
		            "--data to see whether the copy is intact",
		            store->path);
	len = snprintf(line, sizeof(line), "data.mdb %ju\n",
	               (uintmax_t)st.st_ino);
	/* The line only serves a message: ignore a full disk. */
	if (ftruncate(store->lock_fd, 0) < 0 ||
	    pwrite(store->lock_fd, line, (size_t)len, 0) != len)
		log_debug("cannot write to '%s/lock'", store->path);
}

void lock_file_clear(struct store *store)
{
	if (store->lock_fd >= 0 && ftruncate(store->lock_fd, 0) < 0)
		log_debug("cannot write to '%s/lock'", store->path);
}
