/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the files of the source of an import. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "command.h"
#include "import_walk.h"
#include "util.h"

enum {
	TICK_NS = 20000000, /* coarsest timestamps with fractions of a second */
	COARSE_S = 2,       /* coarsest timestamps without fractions */
};

static struct timestamp stamp(struct timespec t)
{
	return (struct timestamp){t.tv_sec, (uint32_t)t.tv_nsec};
}

struct import_attr source_attr(const struct stat *st)
{
	return (struct import_attr){
	        .inode = {.mode = st->st_mode,
	                  .nlink = (uint32_t)st->st_nlink,
	                  .uid = st->st_uid,
	                  .gid = st->st_gid,
	                  .size = (uint64_t)st->st_size,
	                  .rdev = st->st_rdev,
	                  .atime = stamp(st->st_atim),
	                  .mtime = stamp(st->st_mtim),
	                  .ctime = stamp(st->st_ctim)},
	        .dev = st->st_dev,
	        .ino = st->st_ino,
	};
}

int source_open(int dir, const char *name, int flags)
{
	int fd;

	flags |= O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	fd = openat(dir, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(dir, name, flags);
	return fd < 0 ? -errno : fd;
}

/* ---- Extended attributes ------------------------------------------------ */

static bool xattr_is_kept(const struct import_source *s, const char *name)
{
	if (!strncmp(name, "user.", 5))
		return strncmp(name, "user.coppice.", 13);
	if (!strncmp(name, "trusted.", 8) || !strncmp(name, "security.", 9))
		return s->options->superuser;
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

static int xattr_add(struct import_source *s, struct writer *w, int fd,
                     const char *path, const char *name)
{
	static _Thread_local uint8_t value[XATTR_VALUE_MAX];
	ssize_t n = path ? lgetxattr(path, name, value, sizeof(value))
	                 : fgetxattr(fd, name, value, sizeof(value));

	/* ENODATA: the attribute was removed meanwhile. */
	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	import_bytes_put(w, name, strlen(name));
	import_bytes_put(w, value, (size_t)n);
	return w->bad ? -E2BIG : 0;
}

int source_xattrs(struct import_source *s, int fd, const char *name)
{
	static _Thread_local char list[XATTR_LIST_MAX];
	struct writer w = writer_init(s->xattrs, IMPORT_XATTRS_MAX);
	_cleanup_free_ char *path = NULL;
	ssize_t len;
	int err = 0;

	s->xattrs_len = 0;
	if (name && asprintf(&path, "/proc/self/fd/%d/%s", fd, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	len = path ? llistxattr(path, list, sizeof(list))
	           : flistxattr(fd, list, sizeof(list));
	if (len < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (const char *at = list; !err && at < list + len;
	     at += strlen(at) + 1)
		if (xattr_is_kept(s, at))
			err = xattr_add(s, &w, fd, path, at);
	s->xattrs_len = err ? 0 : writer_len(&w);
	return err;
}

/* ---- Links -------------------------------------------------------------- */

struct sent {
	uint64_t ino, dev;
};

static int sent_compare(const void *a, const void *b)
{
	const struct sent *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static bool links_have(struct import_source *s, const struct import_attr *attr)
{
	const struct sent key = {attr->ino, attr->dev};

	return import_is_linked(attr) && tfind(&key, &s->links, sent_compare);
}

static int links_add(struct import_source *s, const struct import_attr *attr)
{
	struct sent *sent, **found;

	if (!import_is_linked(attr))
		return 0;
	sent = malloc(sizeof(*sent));
	if (!sent)
		return -ENOMEM;
	*sent = (struct sent){attr->ino, attr->dev};
	found = tsearch(sent, &s->links, sent_compare);
	if (!found || *found != sent)
		free(sent);
	return found ? 0 : -ENOMEM;
}

/* ---- Frames ------------------------------------------------------------- */

static struct writer *frame_begin(struct import_source *s, uint64_t dir,
                                  const char *name, enum import_kind kind)
{
	struct writer *w = stream_begin(&s->stream, kind);

	put_varint(w, dir);
	import_bytes_put(w, name, strlen(name));
	return w;
}

static struct writer *file_begin(struct import_source *s,
                                 const struct source_dir *dir, const char *name,
                                 unsigned flags, const struct import_attr *attr)
{
	struct writer *w = frame_begin(s, dir->number, name, IMPORT_FILE);

	put_u8(w, (uint8_t)flags);
	import_attr_put(w, attr);
	import_bytes_put(w, s->xattrs, s->xattrs_len);
	return w;
}

static int link_send(struct import_source *s, const struct source_dir *dir,
                     const char *name, const struct import_attr *attr)
{
	import_attr_put(frame_begin(s, dir->number, name, IMPORT_LINK), attr);
	return stream_end(&s->stream);
}

/* ---- Contents ----------------------------------------------------------- */

/* A file that is being read. */
struct reading {
	struct import_source *s;
	struct source_dir *dir;
	const char *name;
	int fd;
	struct stat st;
	struct timespec begun;
	struct import_attr attr;
};

/* Read `len` bytes, or up to the end.  Return the count or a negative errno. */
static ssize_t read_all(int fd, uint8_t *to, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, to + done, len - done, off + (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			break;
		done += n < 0 ? 0 : (size_t)n;
	}
	return (ssize_t)done;
}

/*
 * Replace the ctime if the file changed just before it was opened: it can
 * change again without a difference in its times.  The next import finds
 * another ctime, and reads the file again.
 */
static void ctime_doubt(struct reading *r)
{
	struct timespec c = r->st.st_ctim, now = r->begun;
	int64_t age = (now.tv_sec - c.tv_sec) * INT64_C(1000000000) +
	              now.tv_nsec - c.tv_nsec;

	if (age < (c.tv_nsec ? TICK_NS : COARSE_S * INT64_C(1000000000)))
		r->attr.inode.ctime = stamp(now);
}

/* Report a file that was written to while it was read. */
static void check_changed(struct reading *r, bool shorter)
{
	struct stat st;

	if (shorter || fstat(r->fd, &st) < 0 || st.st_size != r->st.st_size ||
	    st.st_mtim.tv_sec != r->st.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != r->st.st_mtim.tv_nsec)
		source_complain(r->s, r->dir, r->name,
		                "it changed while it was read");
}

static int whole_send(struct reading *r)
{
	struct import_source *s = r->s;
	size_t size = (size_t)r->attr.inode.size;
	_cleanup_free_ uint8_t *big = NULL;
	static _Thread_local uint8_t small[4096];
	uint8_t *data = small;
	struct writer *w;
	ssize_t n;

	if (size > sizeof(small))
		data = big = malloc(size);
	if (!data)
		return -ENOMEM;
	n = read_all(r->fd, data, size, 0);
	if (n < 0) {
		source_complain(s, r->dir, r->name, strerror((int)-n));
		return 0;
	}
	check_changed(r, (size_t)n < size);
	r->attr.inode.size = (uint64_t)n;
	w = file_begin(s, r->dir, r->name, 0, &r->attr);
	put_bytes(w, data, (size_t)n);
	s->progress->bytes += (uint64_t)n;
	return stream_end(&s->stream);
}

/*
 * Send the chunk at *off; if `sparse`, skip chunks without data first.  Move
 * *off to the next chunk.  Return 1 at the end of the file, else 0, or an error
 * of reading.
 */
static int chunk_send(struct reading *r, off_t *off, bool sparse)
{
	struct import_source *s = r->s;
	off_t size = (off_t)r->attr.inode.size, data;
	struct writer *w;
	uint8_t *to;
	ssize_t n;

	if (sparse) {
		data = lseek(r->fd, *off, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return *off = size, 1;
		if (data > *off)
			*off = data - data % s->chunk_size;
	}
	if (*off >= size)
		return 1;
	w = stream_begin(&s->stream, IMPORT_DATA);
	put_varint(w, (uint64_t)*off / s->chunk_size);
	to = w->at;
	n = read_all(r->fd, to, (size_t)MIN(size - *off, s->chunk_size), *off);
	if (n <= 0) {
		stream_cancel(&s->stream);
		return n ? (int)n : 1;
	}
	writer_take(w, (size_t)n);
	stream_end(&s->stream);
	s->progress->bytes += (uint64_t)n;
	*off += n;
	return s->stream.error || *off % s->chunk_size ? 1 : 0;
}

static int long_send(struct reading *r, bool sparse)
{
	struct import_source *s = r->s;
	off_t off = 0, size = (off_t)r->attr.inode.size;
	struct writer *w;
	int err;

	posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	file_begin(s, r->dir, r->name, IMPORT_MORE, &r->attr);
	err = stream_end(&s->stream);
	while (!err && off < size)
		err = chunk_send(r, &off, sparse);
	if (s->stream.error)
		return s->stream.error;
	if (err < 0)
		source_complain(s, r->dir, r->name, strerror(-err));
	else
		check_changed(r, off < size);
	w = stream_begin(&s->stream, IMPORT_END);
	put_u8(w, err < 0 ? IMPORT_FAILED : 0);
	put_varint(w, (uint64_t)MIN(off, size));
	return stream_end(&s->stream);
}

static int content_send(struct reading *r)
{
	uint64_t size = r->attr.inode.size;
	bool sparse = (uint64_t)r->st.st_blocks * 512 < size;

	if (sparse && size <= r->s->chunk_size)
		sparse = lseek(r->fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
	return size > r->s->chunk_size || sparse ? long_send(r, sparse)
	                                         : whole_send(r);
}

/* Return true if size and mtime have not changed since the listing. */
static bool is_as_listed(const struct inode *now, const struct inode *listed)
{
	return now->size == listed->size &&
	       now->mtime.sec == listed->mtime.sec &&
	       now->mtime.nsec == listed->mtime.nsec;
}

static int regular_send(struct import_source *s, struct source_dir *dir,
                        const char *name, const struct import_attr *listed,
                        enum import_verdict verdict)
{
	struct reading r = {.s = s, .dir = dir, .name = name};
	_cleanup_close_ int fd = source_open(dir->fd, name, 0);
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &r.begun);
	if (fd < 0)
		err = fd;
	else if (fstat(fd, &r.st) < 0)
		err = -errno;
	else if (!S_ISREG(r.st.st_mode))
		err = -ESTALE;
	else
		err = source_xattrs(s, fd, NULL);
	if (err) {
		source_complain(s, dir, name,
		                err == -ESTALE || err == -ENOENT
		                        ? "it changed while it was read"
		                        : strerror(-err));
		return 0;
	}
	r.fd = fd;
	r.attr = source_attr(&r.st);
	if (links_have(s, &r.attr))
		return link_send(s, dir, name, &r.attr);
	ctime_doubt(&r);
	/* If the file has changed, the verdict does not apply to it. */
	if (!is_as_listed(&r.attr.inode, &listed->inode))
		verdict = IMPORT_WANT;
	if (verdict == IMPORT_WANT_META || s->options->dry_run) {
		file_begin(s, dir, name,
		           verdict == IMPORT_WANT_META ? IMPORT_META : 0,
		           &r.attr);
		err = stream_end(&s->stream);
	} else {
		err = content_send(&r);
	}
	return err ? err : links_add(s, &r.attr);
}

static int other_send(struct import_source *s, struct source_dir *dir,
                      const char *name, const struct import_attr *attr)
{
	struct import_attr now = *attr;
	char target[PATH_MAX];
	struct writer *w;
	ssize_t n = 0;
	int err;

	if (S_ISLNK(attr->inode.mode)) {
		n = readlinkat(dir->fd, name, target, sizeof(target));
		now.inode.size = n < 0 ? 0 : (uint64_t)n;
	}
	err = n < 0 ? -errno : source_xattrs(s, dir->fd, name);
	if (err) {
		source_complain(s, dir, name, strerror(-err));
		return 0;
	}
	if (links_have(s, attr))
		return link_send(s, dir, name, attr);
	w = file_begin(s, dir, name, 0, &now);
	put_bytes(w, target, (size_t)n);
	err = stream_end(&s->stream);
	return err ? err : links_add(s, attr);
}

int source_send(struct import_source *s, struct source_dir *dir,
                const char *name, const struct import_attr *attr,
                enum import_verdict verdict)
{
	if (links_have(s, attr))
		return link_send(s, dir, name, attr);
	return S_ISREG(attr->inode.mode)
	               ? regular_send(s, dir, name, attr, verdict)
	               : other_send(s, dir, name, attr);
}
