/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store_make.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "snapshot.h"
#include "util.h"

/*
 * A store that is being made.  Its file is in a directory inside the final one
 * until it is complete, and is then renamed in one step.  A process that is
 * killed leaves a complete store, or a directory that the next coppice init
 * removes.
 */
struct making {
	const char *path;
	char *part;  /* path of the directory inside */
	int dir;     /* the final directory, locked meanwhile */
	bool made;   /* this process made the final directory */
	mode_t mode; /* of the first fork's root directory */
};

/*
 * Check that the directory is empty, except for the leftovers of an interrupted
 * coppice init.
 */
static int check_empty(const char *path)
{
	static const char *const harmless[] = {".", "..", "lost+found",
	                                       STORE_UNFINISHED};
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	while (r != -EEXIST && (entry = readdir(dir))) {
		size_t i = 0;

		while (i < ARRAY_SIZE(harmless) &&
		       strcmp(entry->d_name, harmless[i]) != 0)
			i++;
		if (!strcmp(entry->d_name, "data.mdb"))
			r = -EEXIST;
		else if (i == ARRAY_SIZE(harmless))
			r = -ENOTEMPTY;
	}
	closedir(dir);
	return r;
}

static int making_begin(struct making *making)
{
	struct stat st;
	int r;

	if (asprintf(&making->part, "%s/" STORE_UNFINISHED, making->path) < 0)
		return making->part = NULL, -ENOMEM;
	making->made = mkdir(making->path, 0700) == 0;
	if (!making->made && errno != EEXIST)
		return -errno;
	making->dir = open(making->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (making->dir < 0)
		return -errno;
	if (flock(making->dir, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* Another process has made the directory, and removed it again. */
	if (fstat(making->dir, &st) == 0 && st.st_nlink == 0)
		return -EBUSY;
	r = check_empty(making->path);
	return r ? r : store_remove(making->part);
}

static int making_fill(const struct making *making,
                       const struct store_params *params)
{
	struct store_options options = {0};
	struct store *store;
	int closed, r = store_create(making->part, params);

	if (!r)
		r = store_open(making->part, &options, &store);
	if (r)
		return r;
	r = forest_create(store, getuid(), getgid(), making->mode);
	closed = store_close(store);
	return r ? r : closed;
}

/* Rename the complete and durable file to its final name. */
static int making_finish(const struct making *making)
{
	if (renameat(making->dir, STORE_UNFINISHED "/data.mdb", making->dir,
	             "data.mdb") < 0)
		return -errno;
	if (fsync(making->dir) == 0)
		return 0;
	unlinkat(making->dir, "data.mdb", 0);
	return -errno;
}

int store_make(const char *path, const struct store_params *params, mode_t mode)
{
	struct making making = {.path = path, .dir = -1, .mode = mode};
	bool begun;
	int r = making_begin(&making);

	begun = !r;
	if (!r)
		r = making_fill(&making, params);
	if (!r)
		r = making_finish(&making);
	if (begun)
		store_remove(making.part);
	/* -EBUSY: another process is making a store in the directory. */
	if (r && r != -EBUSY && making.made)
		rmdir(path);
	close_fd(&making.dir);
	free(making.part);
	return r;
}
