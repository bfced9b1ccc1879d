/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replacing a data file by one that was repaired or compacted. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine.h"
#include "lock_file.h"

enum { ASIDE_MAX = 1000 }; /* damaged files to keep, at most */

static int directory_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int file_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Link the damaged file under a name that does not exist yet. */
static int data_keep(const char *data, char **ret_kept)
{
	for (int i = 0; i < ASIDE_MAX; i++) {
		_cleanup_free_ char *name = NULL;
		int r = i ? asprintf(&name, "%s.damaged.%d", data, i + 1)
		          : asprintf(&name, "%s.damaged", data);

		if (r < 0) {
			name = NULL;
			return -ENOMEM;
		}
		if (!link(data, name)) {
			*ret_kept = steal(&name);
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int store_replace(struct store *store, const char *path, char **ret_kept)
{
	_cleanup_free_ char *data = NULL, *made = NULL, *kept = NULL;
	struct stat st;
	int r;

	if (asprintf(&data, "%s/data.mdb", store->path) < 0)
		data = NULL;
	if (asprintf(&made, "%s/data.mdb", path) < 0)
		made = NULL;
	if (!data || !made)
		return -ENOMEM;
	if (stat(data, &st) < 0)
		return -errno;
	/* Keep the owner: root may repair the store of another user. */
	if (!geteuid() && chown(made, st.st_uid, st.st_gid) < 0)
		return -errno;
	if (chmod(made, st.st_mode & 07777) < 0)
		return -errno;
	r = file_sync(made);
	if (!r && ret_kept)
		r = data_keep(data, &kept);
	if (!r)
		r = directory_sync(store->path);
	if (!r && rename(made, data) < 0)
		r = -errno;
	if (!r)
		r = directory_sync(store->path);
	if (r < 0)
		return r;
	/* The mark in the lock file has the inode number of the old file. */
	lock_file_clear(store);
	if (ret_kept)
		*ret_kept = steal(&kept);
	return 0;
}
