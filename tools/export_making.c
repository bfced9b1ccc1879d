/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_making.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "path_filter.h"
#include "util.h"

struct made_dir *making_dir(struct making *m)
{
	return m->len ? &m->dirs[m->len - 1] : NULL;
}

struct made_dir *making_dir_numbered(struct making *m, uint64_t number)
{
	struct made_dir *dir = making_dir(m);

	return dir && dir->number == number ? dir : NULL;
}

int making_complain(struct making *m, const char *name, int err)
{
	struct made_dir *dir = making_dir(m);

	return report_failure(m->report, dir ? dir->path : "", name, err);
}

void making_change(struct making *m, bool exists, const char *name)
{
	report_change(m->report, exists ? 'M' : '+', making_dir(m)->path, name);
}

int making_stat(const struct made_dir *dir, const char *name, struct stat *ret)
{
	*ret = (struct stat){0};
	if (dir->fresh || !fstatat(dir->fd, name, ret, AT_SYMLINK_NOFOLLOW))
		return 0;
	*ret = (struct stat){0};
	return errno == ENOENT ? 0 : -errno;
}

int making_excludes(struct making *m, const struct made_dir *dir,
                    const char *name, bool is_dir)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s", dir->path, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return path_filter_excludes(m->deletion.filter, path, is_dir);
}

int making_clear(struct making *m, const struct made_dir *dir, const char *name,
                 const struct stat *st)
{
	int excluded;

	if (!S_ISDIR(st->st_mode))
		return 0;
	/* The rules may exclude it as a directory alone. */
	excluded = making_excludes(m, dir, name, true);
	if (excluded)
		return excluded < 0 ? excluded : -ENOTEMPTY;
	if (m->options->delete)
		return export_dir_delete(&m->deletion, dir->fd, dir->path,
		                         name);
	if (m->options->dry_run) {
		_cleanup_close_ int fd =
		        openat(dir->fd, name,
		               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		return fd < 0 ? -errno : dir_is_empty(fd) ? 0 : -ENOTEMPTY;
	}
	return unlinkat(dir->fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

const char *making_name(struct making *m, const struct made_dir *dir,
                        const char *name)
{
	if (dir->fresh)
		return name;
	temporary_name(m->temporary);
	return m->temporary;
}

int making_rename(struct making *m, const struct made_dir *dir,
                  const char *made, const char *name, int err)
{
	struct stat st;

	if (made == name)
		return err;
	if (!err)
		err = making_stat(dir, name, &st);
	if (!err)
		err = making_clear(m, dir, name, &st);
	if (!err && renameat(dir->fd, made, dir->fd, name) < 0)
		err = -errno;
	if (err)
		unlinkat(dir->fd, made, 0);
	return err;
}

int making_link_note(struct making *m, const char *name,
                     const struct import_attr *attr, bool is_change)
{
	if (!import_is_linked(attr))
		return 0;
	return links_add(&m->links, attr->ino, making_dir(m)->path, name,
	                 is_change);
}

int making_foretell(struct making *m, const struct made_dir *dir,
                    const char *name, const struct stat *st,
                    const struct export_attr *attr)
{
	int err = making_clear(m, dir, name, st);

	if (err)
		return err;
	making_change(m, st->st_nlink, name);
	return making_link_note(m, name, &attr->attr, true);
}
