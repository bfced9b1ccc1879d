/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_attr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "util.h"

enum {
	PROC_PATH_MAX = 32 + NAME_LEN_MAX, /* bytes of /proc/self/fd/N/NAME */
	LIST_SHORT = 1024, /* bytes of the names of most files' attributes */
};

static const char acl_prefix[] = "system.posix_acl_";

int export_attr_copy(struct export_attr *to, const struct export_attr *from)
{
	uint8_t *bytes = malloc(from->xattrs.len + 1);

	if (!bytes)
		return -ENOMEM;
	if (from->xattrs.len)
		memcpy(bytes, from->xattrs.data, from->xattrs.len);
	to->attr = from->attr;
	to->xattrs = (struct import_bytes){bytes, from->xattrs.len};
	return 0;
}

void export_attr_release(struct export_attr *copy)
{
	free((void *)(uintptr_t)copy->xattrs.data);
	*copy = (struct export_attr){0};
}

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* ---- Extended attributes ------------------------------------------------ */

/* Read the next attribute that the caller may set.  -ENOENT: the end. */
static int xattr_next(struct reader *r, char name[NAME_LEN_MAX + 1],
                      struct import_bytes *ret_value)
{
	while (!r->bad && reader_left(r)) {
		struct import_bytes n = import_bytes_get(r);

		*ret_value = import_bytes_get(r);
		if (r->bad || n.len > NAME_LEN_MAX)
			return -EPROTO;
		memcpy(name, n.data, n.len);
		name[n.len] = 0;
		if (!geteuid() || has_prefix(name, "user.") ||
		    has_prefix(name, "system."))
			return 0;
	}
	return r->bad ? -EPROTO : -ENOENT;
}

/* Return true if exports manage the attribute, and remove it if unwanted. */
static bool is_kept(const char *name)
{
	return has_prefix(name, "user.") || has_prefix(name, acl_prefix) ||
	       (!geteuid() && (has_prefix(name, "trusted.") ||
	                       !strcmp(name, "security.capability")));
}

static bool is_wanted(struct import_bytes xattrs, const char *name)
{
	struct reader r = reader_init(xattrs.data, xattrs.len);
	char wanted[NAME_LEN_MAX + 1];
	struct import_bytes value;

	while (!xattr_next(&r, wanted, &value))
		if (!strcmp(wanted, name))
			return true;
	return false;
}

/* A file whose attributes are listed or set. */
struct handle {
	int fd;                   /* -1: only the path is known */
	bool is_path;             /* of O_PATH: some calls take the path */
	char path[PROC_PATH_MAX]; /* of the descriptor, or the name, in /proc */
};

static ssize_t names_get(const struct handle *h, char *names, size_t len)
{
	if (h->fd < 0)
		return llistxattr(h->path, names, len);
	return h->is_path ? listxattr(h->path, names, len)
	                  : flistxattr(h->fd, names, len);
}

/*
 * Return the names of all attributes; none if the file system does not support
 * them.  The caller frees *ret_names unless it is `brief`.
 */
static int names_list(const struct handle *h, char brief[LIST_SHORT],
                      char **ret_names, size_t *ret_len)
{
	ssize_t n = names_get(h, brief, LIST_SHORT);
	char *names = brief;

	if (n < 0 && errno == ERANGE) {
		names = malloc(XATTR_LIST_MAX);
		if (!names)
			return -ENOMEM;
		n = names_get(h, names, XATTR_LIST_MAX);
	}
	if (n < 0 && errno != ENOTSUP) {
		int err = -errno;

		if (names != brief)
			free(names);
		return err;
	}
	*ret_names = names;
	*ret_len = n < 0 ? 0 : (size_t)n;
	return 0;
}

/* Find the next attribute to remove in a list of names.  NULL: none. */
static const char *extra_next(const char *at, const char *end,
                              struct import_bytes xattrs)
{
	for (; at < end; at += strlen(at) + 1)
		if (is_kept(at) && !is_wanted(xattrs, at))
			return at;
	return NULL;
}

static int value_differs(const char *path, const char *name,
                         struct import_bytes want)
{
	_cleanup_free_ uint8_t *value = malloc(want.len + 1);
	ssize_t n;

	if (!value)
		return -ENOMEM;
	n = lgetxattr(path, name, value, want.len + 1);
	return n < 0 || (size_t)n != want.len ||
	       (want.len && memcmp(value, want.data, want.len) != 0);
}

static int xattrs_differ(const struct handle *h, struct import_bytes xattrs)
{
	struct reader r = reader_init(xattrs.data, xattrs.len);
	char name[NAME_LEN_MAX + 1], brief[LIST_SHORT], *names;
	struct import_bytes value;
	size_t len;
	int err = names_list(h, brief, &names, &len);

	if (err)
		return err;
	err = extra_next(names, names + len, xattrs) ? 1 : 0;
	if (names != brief)
		free(names);
	while (!err && !(err = xattr_next(&r, name, &value)))
		err = value_differs(h->path, name, value);
	return err == -ENOENT ? 0 : err;
}

/* ---- Setting ------------------------------------------------------------ */

static int handle_init(struct handle *h, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	h->fd = fd;
	h->is_path = flags & O_PATH;
	snprintf(h->path, sizeof(h->path), "/proc/self/fd/%d", fd);
	return 0;
}

static int mode_set(const struct handle *h, mode_t mode)
{
	int r = h->is_path ? chmod(h->path, mode) : fchmod(h->fd, mode);

	return r < 0 ? -errno : 0;
}

/* Set the user.* attributes, or all others. */
static int xattrs_set(const struct handle *h, struct import_bytes xattrs,
                      bool of_users)
{
	struct reader r = reader_init(xattrs.data, xattrs.len);
	char name[NAME_LEN_MAX + 1];
	struct import_bytes value;
	int err, failed = 0;

	while (!(err = xattr_next(&r, name, &value))) {
		if (has_prefix(name, "user.") != of_users)
			continue;
		if ((h->is_path
		             ? setxattr(h->path, name, value.data, value.len, 0)
		             : fsetxattr(h->fd, name, value.data, value.len,
		                         0)) < 0)
			failed = -errno;
	}
	return err == -ENOENT ? failed : err;
}

/* Remove the attributes that are not wanted. */
static int extras_remove(const struct handle *h, struct import_bytes xattrs)
{
	char brief[LIST_SHORT], *names;
	size_t len;
	int err = names_list(h, brief, &names, &len);

	if (err)
		return err;
	for (const char *name = names;
	     (name = extra_next(name, names + len, xattrs));
	     name += strlen(name) + 1)
		if ((h->is_path ? removexattr(h->path, name)
		                : fremovexattr(h->fd, name)) < 0 &&
		    errno != ENODATA)
			err = -errno;
	if (names != brief)
		free(names);
	return err;
}

static struct timespec spec(struct timestamp t)
{
	return (struct timespec){t.sec, t.nsec};
}

/*
 * Set the owner, and return the mode to set.  EPERM is ignored unless the
 * caller is root; the file then stays the caller's, and loses its set-ID bits,
 * which would give others the caller's rights.
 */
static int owner_set(const struct handle *h, const struct inode *i,
                     mode_t *ret_mode)
{
	int r = fchownat(h->fd, "", i->uid, i->gid, AT_EMPTY_PATH);
	bool refused = r < 0 && errno == EPERM && geteuid();

	if (r < 0 && !refused)
		return -errno;
	*ret_mode = i->mode & 07777;
	if (refused && !S_ISDIR(i->mode))
		*ret_mode &= ~(mode_t)(S_ISUID | S_ISGID);
	return 0;
}

/* Set all that can be set, and return the first error. */
static int mode_and_xattrs_set(const struct handle *h, mode_t mode,
                               struct import_bytes xattrs, bool is_dir)
{
	int err = extras_remove(h, xattrs), r;

	/* Attributes of users need the right to write; ACLs change the mode. */
	if (geteuid() && xattrs.len) {
		r = mode_set(h, is_dir ? 0700 : 0600);
		err = err ? err : r;
	}
	r = xattrs_set(h, xattrs, true);
	err = err ? err : r;
	r = mode_set(h, mode);
	err = err ? err : r;
	r = xattrs_set(h, xattrs, false);
	return err ? err : r;
}

int export_attr_set(int fd, const struct export_attr *want)
{
	const struct inode *i = &want->attr.inode;
	const struct timespec times[2] = {spec(i->atime), spec(i->mtime)};
	struct handle h;
	mode_t mode = 0;
	int err = handle_init(&h, fd);

	if (!err)
		err = owner_set(&h, i, &mode);
	if (!err && S_ISLNK(i->mode))
		err = xattrs_set(&h, want->xattrs, false);
	else if (!err)
		err = mode_and_xattrs_set(&h, mode, want->xattrs,
		                          S_ISDIR(i->mode));
	/* Set the times last: a later export takes them for complete files. */
	if (utimensat(fd, "", times, AT_EMPTY_PATH) < 0 && !err)
		err = -errno;
	return err;
}

int export_attr_set_name(int dir, const char *name,
                         const struct export_attr *want)
{
	_cleanup_close_ int fd =
	        openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode ^ want->attr.inode.mode) & S_IFMT)
		return -ESTALE;
	return export_attr_set(fd, want);
}

/* ---- Comparing ---------------------------------------------------------- */

/* Return true if chown(2) would give the file another owner or group. */
static bool owner_differs(const struct stat *st, const struct inode *i)
{
	if (st->st_uid == i->uid && st->st_gid == i->gid)
		return false;
	return !geteuid() || (i->uid == geteuid() &&
	                      (i->gid == getegid() || group_member(i->gid)));
}

static bool mode_differs(const struct stat *st, const struct inode *i)
{
	mode_t mode = i->mode & 07777;

	if ((st->st_uid != i->uid || st->st_gid != i->gid) && !S_ISDIR(i->mode))
		mode &= ~(mode_t)(S_ISUID | S_ISGID);
	return (st->st_mode & 07777) != mode;
}

int export_attr_differ(int dir, const char *name, const struct stat *st,
                       const struct export_attr *want)
{
	const struct inode *i = &want->attr.inode;
	struct handle h = {.fd = -1};

	if (owner_differs(st, i) || st->st_mtim.tv_sec != i->mtime.sec ||
	    st->st_mtim.tv_nsec != i->mtime.nsec)
		return 1;
	if (!S_ISLNK(i->mode) && mode_differs(st, i))
		return 1;
	snprintf(h.path, sizeof(h.path), "/proc/self/fd/%d/%s", dir, name);
	return xattrs_differ(&h, want->xattrs);
}
