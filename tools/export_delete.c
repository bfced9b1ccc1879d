/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_delete.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "array.h"
#include "util.h"

static const char temporary_prefix[] = ".coppice-export.";

/* ---- Names -------------------------------------------------------------- */

static int names_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int name_set_add(struct name_set *set, const char *name)
{
	char *copy = strdup(name);
	char **added =
	        copy ? array_add(&set->names, &set->len, &set->room) : NULL;

	if (!added) {
		free(copy);
		return -ENOMEM;
	}
	*added = copy;
	return 0;
}

void name_set_release(struct name_set *set)
{
	while (set->len)
		free(set->names[--set->len]);
	free(set->names);
	*set = (struct name_set){0};
}

static bool name_set_has(const struct name_set *set, const char *name)
{
	return set && set->len &&
	       bsearch(&name, set->names, set->len, sizeof(*set->names),
	               names_compare);
}

void temporary_name(char ret_name[TEMPORARY_LEN])
{
	uint64_t number = (uint64_t)mono_ns();

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
		number ^= (uint64_t)getpid() << 40;
	snprintf(ret_name, TEMPORARY_LEN, "%s%016" PRIx64, temporary_prefix,
	         number);
}

static bool name_is_temporary(const char *name)
{
	size_t len = strlen(temporary_prefix);

	return !strncmp(name, temporary_prefix, len) &&
	       strspn(name + len, "0123456789abcdef") == 16 && !name[len + 16];
}

/* ---- Directories -------------------------------------------------------- */

/* A directory that is searched for names to delete. */
struct level {
	DIR *stream;
	dev_t dev;
	char *path;                   /* as for report_change() */
	const struct name_set *names; /* to be kept; NULL: none */
	bool stays;                   /* some entries are kept */
};

struct levels {
	struct level *at;
	size_t len, room;
};

static int level_open(struct levels *levels, int fd, const char *path,
                      const struct name_set *names)
{
	DIR *stream = fdopendir(fd);
	char *own = strdup(path);
	struct level *level;
	struct stat st;
	int err = 0;

	if (!stream || fstat(fd, &st) < 0)
		err = -errno;
	level = err || !own
	                ? NULL
	                : array_add(&levels->at, &levels->len, &levels->room);
	if (!level) {
		if (stream)
			closedir(stream);
		else
			close(fd);
		free(own);
		return err ? err : -ENOMEM;
	}
	*level = (struct level){.stream = stream,
	                        .dev = st.st_dev,
	                        .path = own,
	                        .names = names};
	return 0;
}

static void level_close(struct levels *levels)
{
	struct level *level = &levels->at[--levels->len];

	closedir(level->stream);
	free(level->path);
}

/*
 * Open a directory, and add a level for it.  -EBUSY: it is a mount point or the
 * store, and is kept.
 */
static int dir_enter(const struct export_delete *d, struct levels *levels,
                     int dir, const char *name, const char *path, dev_t dev)
{
	int fd = openat(dir, name,
	                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = -errno;

		close_fd(&fd);
		return err;
	}
	if (st.st_dev != dev ||
	    (st.st_dev == d->store_dev && st.st_ino == d->store_ino)) {
		close(fd);
		return -EBUSY;
	}
	return level_open(levels, fd, path, NULL);
}

static int name_delete(const struct export_delete *d, int dir, const char *path,
                       const char *name, int flags)
{
	if (!d->dry_run && unlinkat(dir, name, flags) < 0)
		return errno == ENOENT ? 0 : -errno;
	report_change(d->report, '-', path, name);
	return 0;
}

/* Delete a name of the last level, or enter the directory of the name. */
static int entry_delete(const struct export_delete *d, struct levels *levels,
                        const char *name)
{
	struct level *level = &levels->at[levels->len - 1];
	int dir = dirfd(level->stream), err;
	_cleanup_free_ char *path = NULL;
	struct stat st;
	bool is_dir;

	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    name_set_has(level->names, name))
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	is_dir = S_ISDIR(st.st_mode);
	if (asprintf(&path, "%s/%s", level->path, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if ((is_dir || !name_is_temporary(name)) &&
	    path_filter_excludes(d->filter, path, is_dir)) {
		level->stays = true;
		return 0;
	}
	err = is_dir ? dir_enter(d, levels, dir, name, path, level->dev)
	             : name_delete(d, dir, level->path, name, 0);
	if (!err || err == -ENOMEM)
		return err;
	level->stays = true;
	report_failure(d->report, level->path, name, err);
	return 0;
}

/* End the last level, and delete its directory if nothing in it is kept. */
static int level_end(const struct export_delete *d, struct levels *levels)
{
	struct level *level = &levels->at[levels->len - 1];
	struct level *above = levels->len > 1 ? level - 1 : NULL;
	const char *name = strrchr(level->path, '/');
	bool stays = level->stays;
	int err = 0;

	if (above && !stays)
		err = name_delete(d, dirfd(above->stream), above->path,
		                  name + 1, AT_REMOVEDIR);
	if (above && (stays || err))
		above->stays = true;
	if (err)
		report_failure(d->report, above->path, name + 1, err);
	level_close(levels);
	return !above && stays ? -ENOTEMPTY : 0;
}

static int levels_delete(const struct export_delete *d, struct levels *levels)
{
	int err = 0;

	while (!err && levels->len) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(levels->at[levels->len - 1].stream);
		if (entry) {
			err = entry_delete(d, levels, entry->d_name);
			continue;
		}
		levels->at[levels->len - 1].stays |= errno != 0;
		err = level_end(d, levels);
	}
	while (levels->len)
		level_close(levels);
	free(levels->at);
	return err;
}

int export_extras_delete(const struct export_delete *d, int dir,
                         const char *path, struct name_set *set)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	struct levels levels = {0};

	array_sort(set->names, set->len, names_compare);
	err = fd < 0 ? -errno : level_open(&levels, fd, path, set);
	if (err && err != -ENOMEM) {
		report_failure(d->report, path, "", err);
		return 0;
	}
	if (!err)
		err = levels_delete(d, &levels);
	return err == -ENOTEMPTY ? 0 : err;
}

int export_dir_delete(const struct export_delete *d, int dir, const char *path,
                      const char *name)
{
	_cleanup_free_ char *own = NULL;
	struct levels levels = {0};
	struct stat st;
	int err;

	if (fstat(dir, &st) < 0)
		return -errno;
	if (asprintf(&own, "%s/%s", path, name) < 0) {
		own = NULL;
		return -ENOMEM;
	}
	err = dir_enter(d, &levels, dir, name, own, st.st_dev);
	if (!err)
		err = levels_delete(d, &levels);
	if (!err && !d->dry_run && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		err = -errno;
	return err;
}

bool dir_is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	bool empty = stream;

	if (!stream)
		close_fd(&fd);
	while (empty && (d = readdir(stream)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	if (stream)
		closedir(stream);
	return empty;
}
