/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "util.h"

/* ---- Existing files ----------------------------------------------------- */

/*
 * Give a file that is in place its attributes.  -EXDEV: it has other names, to
 * which they may not belong; or another owner, who may have it open for writing
 * and would give root's attributes to a content of his.
 */
static int attributes_mend(struct making *m, const struct made_dir *dir,
                           const char *name, const struct stat *st,
                           const struct export_attr *attr)
{
	_cleanup_close_ int fd = -1;
	struct stat now;

	if (st->st_nlink > 1 ||
	    (!geteuid() && st->st_uid != attr->attr.inode.uid))
		return -EXDEV;
	if (m->options->dry_run)
		return 0;
	fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &now) < 0)
		return -errno;
	if (now.st_ino != st->st_ino || now.st_dev != st->st_dev ||
	    now.st_uid != st->st_uid || now.st_nlink > 1)
		return -EXDEV;
	return export_attr_set(fd, attr);
}

/*
 * Keep a regular file whose content is right, and set its attributes if they
 * differ.  -EXDEV: the file must be replaced.
 */
static int file_keep(struct making *m, const struct made_dir *dir,
                     const char *name, const struct stat *st,
                     const struct export_attr *attr)
{
	int err = export_attr_differ(dir->fd, name, st, attr);

	if (err > 0) {
		err = attributes_mend(m, dir, name, st, attr);
		if (!err)
			making_change(m, true, name);
	}
	if (!err)
		err = links_claim(&m->links, st);
	if (err == -EEXIST)
		return -EXDEV;
	return err ? err : making_link_note(m, name, &attr->attr, false);
}

static bool is_candidate(struct making *m, const struct stat *st,
                         const struct import_attr *attr)
{
	return S_ISREG(st->st_mode) &&
	       (uint64_t)st->st_size == attr->inode.size &&
	       !links_has(&m->links, st);
}

/* Decide whether a regular file needs its content; if not, finish the file. */
static int file_judge(struct making *m, const struct made_dir *dir,
                      const char *name, const struct export_attr *attr,
                      enum import_verdict *ret)
{
	const struct inode *i = &attr->attr.inode;
	struct stat st;
	int err = making_stat(dir, name, &st);
	bool candidate = !err && is_candidate(m, &st, &attr->attr);

	*ret = IMPORT_SAME;
	if (err)
		return err;
	if (candidate && !m->options->checksum &&
	    st.st_mtim.tv_sec == i->mtime.sec &&
	    st.st_mtim.tv_nsec == i->mtime.nsec) {
		err = file_keep(m, dir, name, &st, attr);
		if (err != -EXDEV)
			return err;
	} else if (candidate && m->options->checksum) {
		*ret = IMPORT_WANT;
		return 0;
	}
	if (m->options->dry_run)
		return making_foretell(m, dir, name, &st, attr);
	*ret = IMPORT_WANT;
	return 0;
}

int export_file_ask(struct making *m, const struct made_dir *dir,
                    const struct export_attr *attr)
{
	enum import_verdict verdict = IMPORT_SAME;
	int err = 0;

	if (m->asked == sizeof(m->verdicts))
		return -EPROTO;
	if (dir->fd >= 0 || dir->fresh)
		err = file_judge(m, dir, m->name, attr, &verdict);
	m->verdicts[m->asked++] = (uint8_t)verdict;
	return err;
}

int export_file_answer(struct making *m)
{
	size_t done = 0;

	while (done < m->asked) {
		ssize_t n = send(m->socket, m->verdicts + done, m->asked - done,
		                 MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n < 0 ? 0 : (size_t)n;
	}
	m->asked = 0;
	return 0;
}

/* ---- Contents ----------------------------------------------------------- */

int export_file_begin(struct making *m, const struct made_dir *dir,
                      const struct export_attr *attr)
{
	const char *made = making_name(m, dir, m->name);
	bool dry_run = m->options->dry_run;
	struct stat st;
	int old = -1, err = making_stat(dir, m->name, &st);

	if (err)
		return err;
	m->exists = st.st_nlink;
	if (is_candidate(m, &st, &attr->attr))
		old = openat(dir->fd, m->name,
		             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (old >= 0 &&
	    (fstat(old, &st) < 0 || !is_candidate(m, &st, &attr->attr))) {
		close(old);
		old = -1;
	}
	m->old = st;
	export_attr_release(&m->attr);
	err = export_attr_copy(&m->attr, attr);
	if (err || (old < 0 && dry_run)) {
		close_fd(&old);
		return err ? err : making_foretell(m, dir, m->name, &st, attr);
	}
	if (old >= 0)
		export_content_compare(&m->content, dir->fd, made, old,
		                       dry_run);
	else
		err = export_content_create(&m->content, dir->fd, made);
	m->open = !err;
	return err;
}

void export_file_cancel(struct making *m)
{
	struct export_content *c = &m->content;

	if (!m->open)
		return;
	m->open = false;
	/* Keep an incomplete file in a new directory. */
	if (c->fd >= 0 && c->name != m->name)
		unlinkat(c->dir, c->name, 0);
	export_content_close(c);
}

int export_file_data(struct making *m, struct reader *r)
{
	uint64_t at = get_varint(r);
	size_t len = reader_left(r);
	const uint8_t *data = reader_take(r, len);
	int err;

	if (r->bad || at > INT64_MAX - len)
		return -EPROTO;
	if (!m->open)
		return 0;
	err = export_content_write(&m->content, at, data, len);
	m->report->progress->bytes += len;
	if (!err || err == -EPROTO)
		return err;
	export_file_cancel(m);
	return making_complain(m, m->name, err);
}

/* Return true if the file that was compared has changed meanwhile. */
static bool old_changed(const struct making *m, const struct stat *st)
{
	const struct stat *old = &m->old;

	return st->st_size != old->st_size ||
	       st->st_mtim.tv_sec != old->st_mtim.tv_sec ||
	       st->st_mtim.tv_nsec != old->st_mtim.tv_nsec ||
	       st->st_ctim.tv_sec != old->st_ctim.tv_sec ||
	       st->st_ctim.tv_nsec != old->st_ctim.tv_nsec;
}

/* Keep the file that was compared, or make the new one complete. */
static int content_finish(struct making *m, const struct made_dir *dir,
                          uint64_t size)
{
	struct export_content *c = &m->content;
	struct stat st;
	int err = export_content_end(c, size), attr_err;

	if (!err && !c->differs && c->old >= 0) {
		if (fstat(c->old, &st) < 0)
			return -errno;
		err = old_changed(m, &st)
		              ? -EBUSY
		              : file_keep(m, dir, m->name, &st, &m->attr);
		if (err != -EXDEV)
			return err;
		err = export_content_copy(c);
		if (!err)
			err = export_content_end(c, size);
	}
	if (err || m->options->dry_run) {
		if (!err)
			making_change(m, true, m->name);
		return err ? err
		           : making_link_note(m, m->name, &m->attr.attr, true);
	}
	/* The new content is worth more than attributes that are refused. */
	attr_err = export_attr_set(c->fd, &m->attr);
	err = making_rename(m, dir, c->name, m->name, 0);
	if (err)
		return err;
	making_change(m, m->exists, m->name);
	err = making_link_note(m, m->name, &m->attr.attr, false);
	return err ? err : attr_err;
}

int export_file_end(struct making *m, struct reader *r)
{
	bool failed = get_u8(r) & IMPORT_FAILED;
	struct export_content *c = &m->content;
	uint64_t size = get_varint(r);
	int err;

	if (r->bad || size > INT64_MAX || !m->len)
		return -EPROTO;
	if (!m->open)
		return 0;
	err = failed ? -EIO : content_finish(m, making_dir(m), size);
	m->report->counts.bytes += c->written;
	if (err)
		export_file_cancel(m);
	m->open = false;
	export_content_close(c);
	return err == -ENOMEM || err == -EPROTO ? err
	       : err ? making_complain(m, m->name, err)
	             : 0;
}
