/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making the files of an export.
 *
 * A directory is accessible to its owner alone until it is complete, and gets
 * its attributes then.  No symlink in the target is followed.
 */
#include "export_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "array.h"
#include "command.h"
#include "import_stream.h"
#include "util.h"

/* A directory that is not complete. */
struct made_dir {
	uint64_t number;
	int fd;     /* -1: it could not be made */
	char *path; /* below the top, with a slash before each name */
	struct import_attr attr;
	uint8_t *xattrs;
	size_t xattrs_len;
};

/* An inode with several names; the first field for number_compare(). */
struct made_link {
	uint64_t ino;
	char *path;
};

struct making {
	int top;
	struct import_progress *progress;
	struct made_dir *dirs; /* the way down to the present one */
	size_t len, room;
	void *links;
	/* The file of the DATA that come. */
	int file; /* -1: none, or it could not be made */
	char name[NAME_LEN_MAX + 1];
	struct import_attr attr;
	uint8_t *xattrs;
	size_t xattrs_len;
};

static int making_complain(struct making *m, const char *name, int err)
{
	const char *path = m->len ? m->dirs[m->len - 1].path : "";

	m->progress->failed++;
	progress_clear(m->progress);
	complain("%s%s%s: %s", path + (*path == '/'), *path && *name ? "/" : "",
	         name, strerror(-err));
	return err == -ENOSPC || err == -EDQUOT ? err : 0;
}

/* ---- Attributes --------------------------------------------------------- */

static int copy_xattrs(struct import_bytes from, uint8_t **ret, size_t *ret_len)
{
	free(*ret);
	*ret = malloc(from.len + 1);
	*ret_len = from.len;
	if (!*ret)
		return -ENOMEM;
	if (from.len)
		memcpy(*ret, from.data, from.len);
	return 0;
}

static int xattrs_set(int fd, const char *path, const uint8_t *xattrs,
                      size_t len)
{
	struct reader r = reader_init(xattrs, len);
	char name[NAME_LEN_MAX + 1];
	int err = 0;

	while (!r.bad && reader_left(&r)) {
		struct import_bytes n = import_bytes_get(&r);
		struct import_bytes value = import_bytes_get(&r);

		if (r.bad || n.len > NAME_LEN_MAX)
			return -EPROTO;
		memcpy(name, n.data, n.len);
		name[n.len] = 0;
		/* Attributes that only root may set are left out for others. */
		if (geteuid() && strncmp(name, "user.", 5) &&
		    strncmp(name, "system.", 7))
			continue;
		if ((path ? lsetxattr(path, name, value.data, value.len, 0)
		          : fsetxattr(fd, name, value.data, value.len, 0)) < 0)
			err = -errno;
	}
	return err;
}

static struct timespec spec(struct timestamp t)
{
	return (struct timespec){t.sec, t.nsec};
}

/*
 * Return the mode for a file, after chown(2) has returned `r`.  Where the owner
 * stays the caller, set-ID bits would lend the caller's rights to others.  An
 * error of chown(2) that is none for this caller is left out.
 */
static int mode_take(int r, const struct inode *i, mode_t *ret_mode)
{
	bool refused = r < 0 && errno == EPERM && geteuid();

	if (r < 0 && !refused)
		return -errno;
	*ret_mode = i->mode & 07777;
	if (refused && !S_ISDIR(i->mode))
		*ret_mode &= ~(mode_t)(S_ISUID | S_ISGID);
	return 0;
}

/* Give an open file its attributes. */
static int attributes_set(int fd, const struct import_attr *attr,
                          const uint8_t *xattrs, size_t len)
{
	const struct inode *i = &attr->inode;
	const struct timespec times[2] = {spec(i->atime), spec(i->mtime)};
	mode_t mode = 0;
	int err = mode_take(fchown(fd, i->uid, i->gid), i, &mode);

	if (!err && fchmod(fd, mode) < 0)
		err = -errno;
	if (!err)
		err = xattrs_set(fd, NULL, xattrs, len);
	if (futimens(fd, times) < 0 && !err)
		err = -errno;
	return err;
}

/* Do the same for what cannot be opened. */
static int name_attributes_set(int dir, const char *name,
                               const struct import_attr *attr,
                               struct import_bytes xattrs)
{
	const struct inode *i = &attr->inode;
	const struct timespec times[2] = {spec(i->atime), spec(i->mtime)};
	_cleanup_free_ char *path = NULL;
	mode_t mode = 0;
	int err = mode_take(
	        fchownat(dir, name, i->uid, i->gid, AT_SYMLINK_NOFOLLOW), i,
	        &mode);

	if (!err && !S_ISLNK(i->mode) && fchmodat(dir, name, mode, 0) < 0)
		err = -errno;
	if (asprintf(&path, "/proc/self/fd/%d/%s", dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (!err)
		err = xattrs_set(-1, path, xattrs.data, xattrs.len);
	if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 && !err)
		err = -errno;
	return err;
}

/* ---- Links -------------------------------------------------------------- */

static void link_free(void *arg)
{
	struct made_link *link = arg;

	free(link->path);
	free(link);
}

static int link_note(struct making *m, const struct made_dir *dir,
                     const char *name, const struct import_attr *attr)
{
	struct made_link *link, **found;

	if (!import_is_linked(attr))
		return 0;
	link = malloc(sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->ino = attr->ino;
	if (asprintf(&link->path, "%s/%s", dir->path, name) < 0) {
		free(link);
		return -ENOMEM;
	}
	found = tsearch(link, &m->links, number_compare);
	if (found && *found == link)
		return 0;
	link_free(link);
	return found ? -EPROTO : -ENOMEM;
}

/* Open the directory of a path below the top. */
static int parent_open(const struct making *m, char *path)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	                       .resolve =
	                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	char *slash = strrchr(path, '/');
	long fd;

	*slash = 0;
	fd = syscall(SYS_openat2, m->top, *path ? path + 1 : ".", &how,
	             sizeof(how));
	*slash = '/';
	return fd < 0 ? -errno : (int)fd;
}

static int link_make(struct making *m, struct made_dir *dir, const char *name,
                     const struct import_attr *attr)
{
	const struct made_link want = {.ino = attr->ino};
	struct made_link **found = tfind(&want, &m->links, number_compare);
	_cleanup_close_ int parent = -1;

	if (!found)
		return -ENOENT;
	parent = parent_open(m, (*found)->path);
	if (parent < 0)
		return parent;
	return linkat(parent, strrchr((*found)->path, '/') + 1, dir->fd, name,
	              0) < 0
	               ? -errno
	               : 0;
}

/* ---- Frames ------------------------------------------------------------- */

static struct made_dir *dir_now(struct making *m, uint64_t number)
{
	struct made_dir *dir = m->len ? &m->dirs[m->len - 1] : NULL;

	return dir && dir->number == number ? dir : NULL;
}

static int dir_open(struct making *m, const struct made_dir *parent,
                    const char *name)
{
	int fd;

	if (!parent)
		return fcntl(m->top, F_DUPFD_CLOEXEC, 0);
	if (parent->fd < 0)
		return -ENOENT;
	if (mkdirat(parent->fd, name, 0700) < 0)
		return -errno;
	fd = openat(parent->fd, name,
	            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int dir_make(struct making *m, struct reader *r)
{
	uint64_t number = get_varint(r), above = get_varint(r);
	struct made_dir *parent = number ? dir_now(m, above) : NULL, *dir;
	char name[NAME_LEN_MAX + 1] = "", *path = NULL;
	struct import_attr attr;
	int fd, err;

	if (number)
		import_name_get(r, name);
	import_attr_get(r, &attr);
	if (r->bad || (number && !parent) || (!number && m->len))
		return -EPROTO;
	fd = dir_open(m, parent, name);
	/* Names below a directory that is missing are not reported. */
	if (fd < 0 && (!parent || parent->fd >= 0)) {
		err = making_complain(m, name, fd);
		if (err)
			return err;
	}
	if (asprintf(&path, "%s%s%s", parent ? parent->path : "",
	             parent ? "/" : "", name) < 0)
		path = NULL;
	dir = path ? array_add(&m->dirs, &m->len, &m->room) : NULL;
	if (!dir) {
		close_fd(&fd);
		free(path);
		return -ENOMEM;
	}
	dir->number = number;
	dir->fd = fd;
	dir->path = path;
	dir->attr = attr;
	return copy_xattrs(import_bytes_get(r), &dir->xattrs, &dir->xattrs_len);
}

static int dir_end(struct making *m, struct reader *r)
{
	struct made_dir *dir = dir_now(m, get_varint(r));
	int err = 0;

	if (r->bad || !dir)
		return -EPROTO;
	if (dir->fd >= 0)
		err = attributes_set(dir->fd, &dir->attr, dir->xattrs,
		                     dir->xattrs_len);
	if (err)
		err = making_complain(m, "", err);
	close_fd(&dir->fd);
	free(dir->path);
	free(dir->xattrs);
	m->len--;
	return err;
}

/* Make a file that has no content but the target of a symlink. */
static int other_make(const struct made_dir *dir, const char *name,
                      const struct import_attr *attr,
                      struct import_bytes xattrs, struct reader *r)
{
	char target[PATH_MAX];
	size_t len = reader_left(r);
	const uint8_t *data = reader_take(r, len);

	if (S_ISLNK(attr->inode.mode)) {
		if (len >= sizeof(target) || memchr(data, 0, len))
			return -EPROTO;
		memcpy(target, data, len);
		target[len] = 0;
		if (symlinkat(target, dir->fd, name) < 0)
			return -errno;
	} else if (mknodat(dir->fd, name, (attr->inode.mode & S_IFMT) | 0600,
	                   attr->inode.rdev) < 0) {
		return -errno;
	}
	return name_attributes_set(dir->fd, name, attr, xattrs);
}

static int file_make(struct making *m, struct reader *r, bool link)
{
	struct made_dir *dir = dir_now(m, get_varint(r));
	struct import_bytes xattrs = {0};
	struct import_attr attr;
	unsigned flags;
	int err = 0;

	import_name_get(r, m->name);
	flags = link ? 0 : get_u8(r);
	import_attr_get(r, &attr);
	if (!link)
		xattrs = import_bytes_get(r);
	if (r->bad || !dir || m->file >= 0)
		return -EPROTO;
	m->progress->files++;
	m->attr = attr;
	if (dir->fd < 0)
		return 0;
	if (link) {
		err = link_make(m, dir, m->name, &attr);
	} else if (flags & IMPORT_MORE) {
		m->file = openat(dir->fd, m->name,
		                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
		                         O_CLOEXEC,
		                 0600);
		err = m->file < 0
		              ? -errno
		              : copy_xattrs(xattrs, &m->xattrs, &m->xattrs_len);
	} else {
		err = other_make(dir, m->name, &attr, xattrs, r);
	}
	if (err)
		return making_complain(m, m->name, err);
	return link ? 0 : link_note(m, dir, m->name, &attr);
}

static int data_write(struct making *m, struct reader *r)
{
	uint64_t at = get_varint(r);
	size_t len = reader_left(r);
	const uint8_t *data = reader_take(r, len);

	if (r->bad || at > INT64_MAX - len)
		return -EPROTO;
	while (m->file >= 0 && len) {
		ssize_t n = pwrite(m->file, data, len, (off_t)at);

		if (n < 0 && errno != EINTR) {
			int err = -errno;

			close_fd(&m->file);
			m->file = -1;
			return making_complain(m, m->name, err);
		}
		m->progress->bytes += n < 0 ? 0 : (size_t)n;
		data += n < 0 ? 0 : n;
		at += n < 0 ? 0 : (uint64_t)n;
		len -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

static int file_end(struct making *m, struct reader *r)
{
	bool failed = get_u8(r) & IMPORT_FAILED;
	uint64_t size = get_varint(r);
	int err = 0;

	if (r->bad || size > INT64_MAX)
		return -EPROTO;
	if (m->file < 0)
		return 0;
	if (failed)
		err = -EIO;
	else if (ftruncate(m->file, (off_t)size) < 0)
		err = -errno;
	else
		err = attributes_set(m->file, &m->attr, m->xattrs,
		                     m->xattrs_len);
	if (close(m->file) < 0 && !err)
		err = -errno;
	m->file = -1;
	return err ? making_complain(m, m->name, err) : 0;
}

static int frame_make(struct making *m, enum import_kind kind, struct reader *r)
{
	switch (kind) {
	case IMPORT_DIR:
		return dir_make(m, r);
	case IMPORT_FILE:
	case IMPORT_LINK:
		return file_make(m, r, kind == IMPORT_LINK);
	case IMPORT_DATA:
		return data_write(m, r);
	case IMPORT_END:
		return file_end(m, r);
	case IMPORT_DONE:
		return dir_end(m, r);
	case IMPORT_COMMIT:
		return m->len ? -EPROTO : 0;
	default:
		return -EPROTO;
	}
}

int export_target_make(int top, int socket, struct import_progress *progress)
{
	struct making m = {.top = top, .progress = progress, .file = -1};
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
	close_fd(&m.file);
	while (m.len) {
		struct made_dir *dir = &m.dirs[--m.len];

		close_fd(&dir->fd);
		free(dir->path);
		free(dir->xattrs);
	}
	free(m.dirs);
	free(m.xattrs);
	tdestroy(m.links, link_free);
	return err;
}
