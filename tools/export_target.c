/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frames of an export, and files without content. */
#include "export_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "export_dir.h"
#include "export_file.h"
#include "import_stream.h"
#include "util.h"

static int target_get(struct reader *r, char target[PATH_MAX])
{
	size_t len = reader_left(r);
	const uint8_t *data = reader_take(r, len);

	if (len >= PATH_MAX || memchr(data, 0, len))
		return -EPROTO;
	memcpy(target, data, len);
	target[len] = 0;
	return 0;
}

/*
 * Return true if the name is such a file already, with these attributes and, if
 * it is a symlink, this target.
 */
static bool other_is_same(const struct made_dir *dir, const char *name,
                          const struct stat *st, const struct export_attr *attr,
                          const char *target)
{
	const struct inode *i = &attr->attr.inode;
	char there[PATH_MAX];
	ssize_t n;

	if ((st->st_mode ^ i->mode) & S_IFMT)
		return false;
	if ((S_ISCHR(i->mode) || S_ISBLK(i->mode)) && st->st_rdev != i->rdev)
		return false;
	if (S_ISLNK(i->mode)) {
		n = readlinkat(dir->fd, name, there, sizeof(there));
		if (n < 0 || (size_t)n != strlen(target) ||
		    memcmp(there, target, (size_t)n) != 0)
			return false;
	}
	return !export_attr_differ(dir->fd, name, st, attr);
}

/* Make a symlink, or another file without content. */
static int other_make(struct making *m, const struct made_dir *dir,
                      const char *name, const struct export_attr *attr,
                      struct reader *r)
{
	const struct inode *i = &attr->attr.inode;
	char target[PATH_MAX] = "";
	const char *made;
	struct stat st;
	int err = S_ISLNK(i->mode) ? target_get(r, target) : 0;

	if (!err)
		err = making_stat(dir, name, &st);
	if (err)
		return err;
	if (st.st_nlink && other_is_same(dir, name, &st, attr, target))
		return making_link_note(m, name, &attr->attr, false);
	if (m->options->dry_run)
		return making_foretell(m, dir, name, &st, attr);
	made = making_name(m, dir, name);
	if ((S_ISLNK(i->mode)
	             ? symlinkat(target, dir->fd, made)
	             : mknodat(dir->fd, made, (i->mode & S_IFMT) | 0600,
	                       i->rdev)) < 0)
		return -errno;
	err = export_attr_set_name(dir->fd, made, attr);
	err = making_rename(m, dir, made, name, err);
	if (err)
		return err;
	making_change(m, st.st_nlink, name);
	return making_link_note(m, name, &attr->attr, false);
}

/* Link a further name to a file that was made. */
static int link_make(struct making *m, const struct made_dir *dir,
                     const char *name, const struct import_attr *attr)
{
	const struct export_link *link = links_find(&m->links, attr->ino);
	_cleanup_close_ int parent = -1;
	struct stat first = {0}, st;
	const char *of, *made;
	int err = link ? making_stat(dir, name, &st) : -ENOENT;

	if (err)
		return err;
	of = strrchr(link->path, '/') + 1;
	if (!link->is_change) {
		parent = link_parent_open(link, m->top);
		if (parent < 0)
			return parent;
		if (fstatat(parent, of, &first, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	if (st.st_nlink && st.st_ino == first.st_ino &&
	    st.st_dev == first.st_dev)
		return 0;
	if (m->options->dry_run) {
		err = making_clear(m, dir, name, &st);
		if (!err)
			making_change(m, st.st_nlink, name);
		return err;
	}
	made = making_name(m, dir, name);
	if (linkat(parent, of, dir->fd, made, 0) < 0)
		return -errno;
	err = making_rename(m, dir, made, name, 0);
	if (!err)
		making_change(m, st.st_nlink, name);
	return err;
}

/* ---- Frames ------------------------------------------------------------- */

static int file_make(struct making *m, struct reader *r, bool link)
{
	struct made_dir *dir = making_dir_numbered(m, get_varint(r));
	struct export_attr attr = {0};
	unsigned flags;
	int err;

	if (m->open || !dir)
		return -EPROTO;
	import_name_get(r, m->name);
	flags = link ? 0 : get_u8(r);
	import_attr_get(r, &attr.attr);
	if (!link)
		attr.xattrs = import_bytes_get(r);
	if (r->bad)
		return -EPROTO;
	if (!(flags & IMPORT_MORE) || !m->options->ask)
		m->report->progress->files++;
	err = export_dir_note(m, dir, m->name);
	if (err)
		return err;
	if (flags & IMPORT_META)
		err = export_file_ask(m, dir, &attr);
	else if (dir->fd < 0 && !(m->options->dry_run && dir->fresh))
		err = 0;
	else if (link)
		err = link_make(m, dir, m->name, &attr.attr);
	else if (flags & IMPORT_MORE)
		err = export_file_begin(m, dir, &attr);
	else
		err = other_make(m, dir, m->name, &attr, r);
	return err == -ENOMEM || err == -EPROTO ? err
	       : err ? making_complain(m, m->name, err)
	             : 0;
}

static int frame_make(struct making *m, enum import_kind kind, struct reader *r)
{
	switch (kind) {
	case IMPORT_DIR:
		return export_dir_make(m, r);
	case IMPORT_ENTRIES:
		return export_file_answer(m);
	case IMPORT_FILE:
	case IMPORT_LINK:
		return file_make(m, r, kind == IMPORT_LINK);
	case IMPORT_DATA:
		return export_file_data(m, r);
	case IMPORT_END:
		return export_file_end(m, r);
	case IMPORT_DONE:
		return export_dir_end(m, r);
	case IMPORT_COMMIT:
		return m->len ? -EPROTO : 0;
	default:
		return -EPROTO;
	}
}

static void making_release(struct making *m)
{
	export_file_cancel(m);
	while (m->len)
		export_dir_pop(m);
	free(m->dirs);
	export_attr_release(&m->attr);
	links_release(&m->links);
}

int export_target_make(int top, const struct export_options *options,
                       int socket, struct export_report *report)
{
	struct making m = {
	        .top = top,
	        .socket = socket,
	        .options = options,
	        .report = report,
	        .deletion = {.filter = options->filter,
	                     .dry_run = options->dry_run,
	                     .store_dev = options->store_dev,
	                     .store_ino = options->store_ino,
	                     .report = report},
	};
	enum import_kind kind = IMPORT_DIR;
	struct import_frames frames;
	struct reader body;
	int err = frames_init(&frames, socket);

	while (!err && kind != IMPORT_COMMIT) {
		err = frames_next(&frames, &kind, &body);
		if (!err)
			err = frame_make(&m, kind, &body);
	}
	frames_free(&frames);
	making_release(&m);
	return err;
}
