/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "array.h"
#include "util.h"

/* Open a directory that the caller cannot read, after changing its mode. */
static int dir_unlock(int parent, const char *name)
{
	_cleanup_close_ int fd = openat(
	        parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char path[32];
	int opened;

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (chmod(path, 0700) < 0)
		return -EACCES;
	opened = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return opened < 0 ? -errno : opened;
}

static int dir_open(struct making *m, const struct made_dir *parent,
                    const char *name)
{
	int fd = openat(parent->fd, name,
	                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int err = fd < 0 ? -errno : 0;
	struct stat st;

	if (err == -EACCES && !m->options->dry_run) {
		fd = dir_unlock(parent->fd, name);
		err = MIN(fd, 0);
	}
	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (st.st_dev == m->options->store_dev &&
	         st.st_ino == m->options->store_ino)
		err = -EBUSY;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/*
 * Open a directory, or make it.  Return its descriptor or a negative errno.
 * *ret_fresh: it was made; in a dry run it would be made, and the result is -1.
 */
static int dir_get(struct making *m, const struct made_dir *parent,
                   const char *name, bool *ret_fresh)
{
	bool exists = false;
	int fd;

	*ret_fresh = false;
	if (parent->fd < 0 && !(m->options->dry_run && parent->fresh))
		return -ENOENT;
	if (!parent->fresh) {
		fd = dir_open(m, parent, name);
		exists = fd == -ENOTDIR || fd == -ELOOP;
		if (!exists && fd != -ENOENT)
			return fd;
	}
	if (exists) {
		int excluded = making_excludes(m, parent, name, false);

		if (excluded)
			return excluded < 0 ? excluded : -EEXIST;
	}
	if (m->options->dry_run) {
		making_change(m, exists, name);
		*ret_fresh = true;
		return -1;
	}
	if (exists && unlinkat(parent->fd, name, 0) < 0)
		return -errno;
	if (mkdirat(parent->fd, name, 0700) < 0)
		return -errno;
	making_change(m, exists, name);
	*ret_fresh = true;
	fd = openat(parent->fd, name,
	            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int top_get(struct making *m, bool *ret_fresh)
{
	struct stat st;
	int fd;

	*ret_fresh = !m->options->overwrite;
	if (m->top < 0)
		return -1;
	if (fstat(m->top, &st) < 0)
		return -errno;
	m->dev = st.st_dev;
	fd = fcntl(m->top, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/*
 * Report an existing directory if its attributes differ, and remove permissions
 * of others that it will not have in the end.
 */
static int dir_enter(struct making *m, const struct made_dir *dir)
{
	const struct inode *i = &dir->attr.attr.inode;
	struct stat st;
	int differs;

	if (dir->fresh || dir->fd < 0)
		return 0;
	if (fstat(dir->fd, &st) < 0)
		return -errno;
	differs = export_attr_differ(dir->fd, ".", &st, &dir->attr);
	if (differs <= 0)
		return differs;
	report_change(m->report, 'M', dir->path, "");
	if (!m->options->dry_run &&
	    ((st.st_mode ^ i->mode) & 07777 || st.st_uid != i->uid ||
	     st.st_gid != i->gid))
		/* Failures are reported at the end. */
		(void)!fchmod(dir->fd, 0700 | (st.st_mode & i->mode & 0077));
	return 0;
}

/* Add a directory to m->dirs.  Takes the ownership of fd. */
static int dir_push(struct making *m, uint64_t number, int fd, bool fresh,
                    const char *name, const struct export_attr *attr)
{
	const char *above = number ? making_dir(m)->path : NULL;
	struct made_dir *dir = NULL;
	char *path = NULL;

	if (asprintf(&path, "%s%s%s", above ? above : "", above ? "/" : "",
	             name) < 0)
		path = NULL;
	if (path)
		dir = array_add(&m->dirs, &m->len, &m->room);
	if (!dir) {
		close_fd(&fd);
		free(path);
		return -ENOMEM;
	}
	dir->number = number;
	dir->fd = fd;
	dir->fresh = fresh;
	dir->path = path;
	return export_attr_copy(&dir->attr, attr);
}

void export_dir_pop(struct making *m)
{
	struct made_dir *dir = &m->dirs[--m->len];

	close_fd(&dir->fd);
	free(dir->path);
	export_attr_release(&dir->attr);
	name_set_release(&dir->names);
}

int export_dir_note(struct making *m, struct made_dir *dir, const char *name)
{
	if (!m->options->delete || dir->fresh)
		return 0;
	return name_set_add(&dir->names, name);
}

int export_dir_make(struct making *m, struct reader *r)
{
	uint64_t number = get_varint(r), above = get_varint(r);
	struct made_dir *parent = number ? making_dir_numbered(m, above) : NULL;
	char name[NAME_LEN_MAX + 1] = "";
	struct export_attr attr;
	bool fresh;
	int fd, err = 0;

	if (number)
		import_name_get(r, name);
	import_attr_get(r, &attr.attr);
	attr.xattrs = import_bytes_get(r);
	if (r->bad || (number && !parent) || (!number && m->len) || m->open)
		return -EPROTO;
	if (parent)
		err = export_dir_note(m, parent, name);
	if (err)
		return err;
	fd = parent ? dir_get(m, parent, name, &fresh) : top_get(m, &fresh);
	/* Report a missing directory once, not the names below it. */
	if (fd < 0 && !(m->options->dry_run && fresh) &&
	    (!parent || parent->fd >= 0))
		err = making_complain(m, name, fd);
	if (err)
		return err;
	m->report->progress->dirs++;
	err = dir_push(m, number, MAX(fd, -1), fresh && fd >= -1, name, &attr);
	if (!err)
		err = dir_enter(m, making_dir(m));
	return err && err != -ENOMEM ? making_complain(m, "", err) : err;
}

/* Set the attributes of a directory, unless it has them. */
static int dir_finish(struct making *m, const struct made_dir *dir)
{
	struct stat st;
	int differs = 1;

	if (!dir->fresh) {
		if (fstat(dir->fd, &st) < 0)
			return -errno;
		differs = export_attr_differ(dir->fd, ".", &st, &dir->attr);
	}
	if (m->options->dry_run || differs <= 0)
		return MIN(differs, 0);
	return export_attr_set(dir->fd, &dir->attr);
}

/* Delete what the directory has besides the names in the state. */
static int extras_delete(struct making *m, struct made_dir *dir)
{
	struct stat st;

	if (dir->fd < 0 || dir->fresh || !m->options->delete)
		return 0;
	if (fstat(dir->fd, &st) < 0)
		return making_complain(m, "", -errno);
	if (st.st_dev != m->dev)
		return 0;
	return export_extras_delete(&m->deletion, dir->fd, dir->path,
	                            &dir->names);
}

int export_dir_end(struct making *m, struct reader *r)
{
	struct made_dir *dir = making_dir_numbered(m, get_varint(r));
	int err = 0;

	if (r->bad || !dir || m->open)
		return -EPROTO;
	err = extras_delete(m, dir);
	if (err)
		return err;
	if (dir->fd >= 0)
		err = dir_finish(m, dir);
	if (err)
		err = making_complain(m, "", err);
	export_dir_pop(m);
	return err;
}
