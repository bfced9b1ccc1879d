/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about open files. */
#include "handlers_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <unistd.h>

#include "caller.h"
#include "mounted_states.h"
#include "util.h"

/*
 * A file handle: DIRECT if writes bypass the kernel's cache; with store_locks,
 * plus a multiple of HANDLE_STEP that no other open file of the session has.
 */
enum { DIRECT = 1, HANDLE_STEP = 2 };

/*
 * Return true if the writes of an open that may make the file should bypass the
 * kernel's pages.  The kernel then does not request the file's capabilities
 * before the first write.  The kernel does not keep a page that was written in
 * part, so it reads the pages of a small file in any case.  The file cannot be
 * mapped through this descriptor.
 */
static bool makes(const struct fuse_file_info *fi)
{
	return (fi->flags & O_CREAT) && (fi->flags & O_ACCMODE) == O_WRONLY;
}

/*
 * Return true if the file is opened for appending and must bypass the kernel's
 * pages.  An append is written at the file's end, which may differ from the
 * kernel's: the kernel must not keep a page that it has filled at the wrong
 * offset.
 */
static bool appends(struct session *session, node_t node,
                    const struct fuse_file_info *fi)
{
	if (!(fi->flags & O_APPEND) || (fi->flags & O_ACCMODE) == O_RDONLY)
		return false;
	/* With direct_io older kernels refuse shared mappings of the file. */
	return (fi->flags & O_ACCMODE) == O_WRONLY ||
	       (session->protocol.agreed & PROTOCOL_DIRECT_IO_ALLOW_MMAP) ||
	       session_shares(session, NODE_STATE(node));
}

void open_flags(struct session *session, node_t node, struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fi->direct_io = makes(fi) || appends(session, node, fi);
	fi->fh = fi->direct_io ? DIRECT : 0;
	if (session->store_locks)
		fi->fh += HANDLE_STEP *
		          (atomic_fetch_add(&session->handles, 1) + 1);
}

int node_open(struct session *session, node_t node, int flags)
{
	int err = fs_open(
	        session->fs, node,
	        flags & ~(O_CREAT | O_EXCL | O_NOCTTY | PROTOCOL_KILL_PRIV));

	if (err < 0)
		return err;
	err = lookups_open(session->lookups, node);
	if (err < 0)
		fs_release(session->fs, node);
	return err;
}

void node_close(struct session *session, node_t node)
{
	if (lookups_close(session->lookups, node))
		fs_release(session->fs, node);
}

void file_close(struct session *session, node_t node)
{
	if (!session->no_open)
		node_close(session, node);
}

void node_forget(struct session *session, node_t node, uint64_t count)
{
	if (lookups_forget(session->lookups, node, count))
		fs_release(session->fs, node);
}

bool request_kills_sgid(fuse_req_t req, const struct stat *st)
{
	return (st->st_mode & (S_ISGID | S_IXGRP)) == S_ISGID &&
	       !caller_is_member(req, st->st_gid);
}

/* suid and sgid of a file that is about to be changed. */
struct ids {
	bool any;
	bool foreign; /* see request_kills_sgid() */
};

static struct ids ids_of(fuse_req_t req, node_t node)
{
	struct ids ids = {0};
	struct stat st;

	if (fs_getattr(request_session(req)->fs, node, &st) < 0)
		return ids;
	ids.any = st.st_mode & (S_ISUID | S_ISGID);
	ids.foreign = request_kills_sgid(req, &st);
	return ids;
}

/*
 * Drop sgid if ids->foreign, and invalidate the attributes in the kernel, which
 * does not expect a write to change the mode.  Invalidating attributes alone
 * does not wait, so it may be done before the reply.
 */
static int ids_killed(struct session *session, node_t node,
                      const struct ids *ids)
{
	struct stat st = {0};
	int err = 0;

	if (ids->foreign)
		err = fs_setattr(session->fs, node, FS_SET_KILL_SGID, &st, &st);
	if (ids->any)
		protocol_inval_inode(session->fd, session_ino(session, node),
		                     -1, 0);
	return err;
}

static int truncate_kills(fuse_req_t req, node_t node)
{
	struct session *session = request_session(req);
	struct ids ids = ids_of(req, node);
	struct stat st = {0};
	int err = fs_setattr(session->fs, node, FS_SET_KILL_PRIV, &st, &st);

	return err < 0 ? err : ids_killed(session, node, &ids);
}

void handle_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_OPEN, .ino = ino};
	struct changes changes = request_changes(req);

	if (session->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	reply.what = "open";
	reply.err = node_open(session, node, fi->flags);
	if (reply.err == 0) {
		if ((fi->flags & O_TRUNC) &&
		    request_kills_priv(session, fi->flags & PROTOCOL_KILL_PRIV))
			reply.err = truncate_kills(req, node);
		if (reply.err < 0)
			node_close(session, node);
	}
	open_flags(session, node, fi);
	reply.fi = *fi;
	if (!(fi->flags & O_TRUNC)) {
		reply_send(&reply);
		return;
	}
	/* Announce the change even after a failure: the file may be empty. */
	changes_data(&changes, node, 0, 0);
	reply_changed(&changes, &reply);
}

/*
 * Open a file that was made.  In a mount without OPEN the open is not counted:
 * the kernel sends no RELEASE there.
 */
static int open_made(struct session *session, node_t node, int flags)
{
	int err = node_open(session, node, flags);

	if (err == 0 && session->no_open)
		node_close(session, node);
	return err;
}

/* Make a file without a name.  Without RELEASE, reply_made() closes it. */
static int make_tmpfile(struct session *session, node_t parent, mode_t mode,
                        const struct fs_cred *cred, struct fs_entry *ret_entry)
{
	int err = fs_tmpfile(session->fs, parent, mode, cred, ret_entry);

	if (err < 0 || session->no_open)
		return err;
	err = lookups_open(session->lookups, ret_entry->node);
	if (err < 0)
		fs_release(session->fs, ret_entry->node);
	return err;
}

/*
 * Make and open a file.  Without O_EXCL, open it if it exists: another mount
 * may have made it since this kernel's lookup.
 */
static int make_file(struct session *session, node_t parent, const char *name,
                     mode_t mode, const struct fs_cred *cred, int flags,
                     struct fs_entry *ret_entry, bool *ret_found)
{
	int err;

	*ret_found = false;
	if (strcmp(name, PROTOCOL_TMPFILE_NAME) == 0)
		return make_tmpfile(session, parent, mode, cred, ret_entry);
	err = fs_make(session->fs, parent, name,
	              S_IFREG | (mode & ~(mode_t)S_IFMT), 0, NULL, cred,
	              ret_entry);
	if (err == -EEXIST && !(flags & O_EXCL)) {
		*ret_found = true;
		err = fs_lookup(session->fs, parent, name, session->snapdir,
		                ret_entry);
		if (err == 0 && !S_ISREG(ret_entry->st.st_mode))
			err = -ESTALE; /* the kernel asks again */
	}
	if (err < 0)
		return err;
	return open_made(session, ret_entry->node, flags);
}

void handle_create(fuse_req_t req, fuse_ino_t ino, const char *name,
                   mode_t mode, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t parent = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_CREATE, .ino = ino};
	struct changes changes = request_changes(req);
	uint64_t epoch = coherence_epoch(session);
	struct fs_cred cred = request_cred(req);
	struct fs_entry entry;
	bool found;

	reply.what = "make a file in";
	reply.err = make_file(session, parent, name, mode, &cred, fi->flags,
	                      &entry, &found);
	if (reply.err < 0) {
		reply_send(&reply);
		return;
	}
	open_flags(session, entry.node, fi);
	reply.fi = *fi;
	if (found && (fi->flags & O_TRUNC)) {
		if (request_kills_priv(session, fi->flags & PROTOCOL_KILL_PRIV))
			truncate_kills(req, entry.node);
		changes_data(&changes, entry.node, 0, 0);
	}
	reply_made(&changes, &reply, parent, name, &entry, epoch);
}

void handle_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);

	if (session->store_locks)
		lock_table_drop_handle(session->mounts->locks, node,
		                       session->id, fi->fh);
	file_close(session, node);
	fuse_reply_err(req, 0);
}

/*
 * Return true if the transfer bypasses the kernel's pages.  A mapping's
 * transfer, which has no lock owner, does not, even with O_DIRECT.
 */
static bool is_direct(const struct fuse_file_info *fi)
{
	return (fi->flags & O_DIRECT) && fi->lock_owner;
}

/*
 * Return true if a read that found no bytes must be refused.  If another mount
 * has made the file shorter, the kernel still reads ahead beyond the end: a
 * notification drops its pages, but not its size.  The kernel takes the end of
 * a short reply for the file's end, unless it has changed the size since it
 * sent the request.  If this reply came before the reply to the read of the
 * last page, the kernel would take this read's offset for the size, and show
 * zeros up to there.
 *
 * An error in reading ahead changes no size, and no process gets it: the kernel
 * reads the pages that a process needs again, one at a time.  A read of a
 * single page may be one of these, whose error the process would get.
 */
static bool misses_end(const struct session *session, node_t node, size_t size,
                       off_t off, const struct fuse_file_info *fi)
{
	struct stat st;

	if (size <= (size_t)sysconf(_SC_PAGESIZE) || fi->lock_owner ||
	    (fi->fh & DIRECT))
		return false;
	return fs_getattr(session->fs, node, &st) == 0 && st.st_size < off;
}

/* Record that a short read of `found` bytes makes the kernel cache the end. */
static void mark_end(struct session *session, node_t node, size_t size,
                     off_t off, size_t found)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t last = ((uint64_t)off + size - 1) / page;
	uint64_t end = (uint64_t)off + found;
	struct stat st;

	if (!found)
		end = fs_getattr(session->fs, node, &st) == 0
		              ? MIN((uint64_t)st.st_size, end)
		              : 0;
	lookups_mark_end(session->lookups, node, last - end / page + 1);
}

void handle_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct fs_data data;
	int err;

	/* Mark before reading: a change after this invalidates the pages. */
	if (!is_direct(fi))
		lookups_mark(session->lookups, node, CACHED_PAGES);
	err = fs_read(session->fs, node, off, size, &data);
	if (err < 0) {
		reply_result(req, "read", ino, err);
		return;
	}
	if (data.len == 0 && misses_end(session, node, size, off, fi)) {
		fuse_reply_err(req, EAGAIN);
	} else {
		if (data.len < size && !is_direct(fi))
			mark_end(session, node, size, off, data.len);
		fuse_reply_iov(req, data.iov, data.iov_count);
	}
	fs_data_release(&data);
}

/*
 * Append at the file's end and return the offset in *off.  Another mount may
 * have changed the file, so the kernel's size may be old: one append at a time
 * determines the end here.
 */
static int append(struct session *session, node_t node, const char *data,
                  size_t size, unsigned flags, off_t *off)
{
	struct stat st;
	int err;

	pthread_mutex_lock(&session->mounts->append);
	err = fs_getattr(session->fs, node, &st);
	if (err == 0)
		err = fs_write(session->fs, node, st.st_size, data, size,
		               flags);
	pthread_mutex_unlock(&session->mounts->append);
	if (err == 0)
		*off = st.st_size;
	return err;
}

/*
 * Choose the pages to invalidate before the reply to a buffered append that was
 * requested at `asked`, beyond the file's end `off`.  The kernel holds the last
 * page that it has filled, if that page was not cached and is filled in part.
 */
static void own_first(struct changes *changes, node_t node, off_t asked,
                      off_t off, size_t size)
{
	struct lookups *lookups = changes->session->lookups;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t end = (uint64_t)asked + size;
	uint64_t last = (end - 1) / page;

	changes->own_first = true;
	if (last * page >= (uint64_t)asked && end % page == 0)
		return;
	if (last - (uint64_t)off / page < lookups_end(lookups, node)) {
		/* The page is cached, unless the kernel has evicted it. */
		lookups_take(lookups, node, CACHED_END);
		changes->hasty = true;
		return;
	}
	changes->held = last * page;
	changes->held_end = changes->held + page;
}

/*
 * Return the changes of a write that was requested at `asked` and done at
 * `off`.
 */
static struct changes write_changes(fuse_req_t req, node_t node, off_t asked,
                                    off_t off, size_t size,
                                    const struct fuse_file_info *fi)
{
	struct changes changes = request_changes(req);
	bool direct = (fi->fh & DIRECT) || is_direct(fi);

	changes_data(&changes, node, (uint64_t)off, size);
	/*
	 * The kernel drops its pages before a direct write, but may read some
	 * again meanwhile.  It has filled the pages of a buffered append at the
	 * end that it assumes.
	 */
	changes.own_pages = direct;
	changes.own = off != asked;
	changes.own_size = off > asked;
	if (off != asked)
		changes_data(&changes, node, (uint64_t)asked, size);
	if (off < asked && !direct && size)
		own_first(&changes, node, asked, off, size);
	changes.unlocked = direct && !fi->writepage;
	changes.background = is_direct(fi) || fi->writepage;
	return changes;
}

void handle_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
                  off_t off, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_WRITE, .ino = ino};
	struct changes changes;
	unsigned flags = 0;
	struct ids ids = {0};
	off_t asked = off;

	if (request_kills_priv(session, fi->flags & PROTOCOL_KILL_PRIV)) {
		flags = FS_WRITE_KILL_PRIV;
		ids = ids_of(req, node);
	}
	if (!(fi->fh & DIRECT))
		lookups_mark(session->lookups, node, CACHED_PAGES);
	/*
	 * A page written back from a mapping extends to the file's size as the
	 * kernel has it, but another mount may have truncated the file.
	 */
	if (fi->writepage)
		flags |= FS_WRITE_WITHIN;
	reply.what = "write";
	reply.written = size;
	/*
	 * The kernel sends an fsync after the last part if one is required,
	 * except for files opened with direct_io.
	 */
	reply.lazy = !(fi->fh & DIRECT);
	reply.durable = (fi->fh & DIRECT) && (fi->flags & O_DSYNC);
	if ((fi->flags & O_APPEND) && !fi->writepage)
		reply.err = append(session, node, data, size, flags, &off);
	else
		reply.err = fs_write(session->fs, node, off, data, size, flags);
	if (reply.err == 0)
		reply.err = ids_killed(session, node, &ids);
	changes = write_changes(req, node, asked, off, size, fi);
	/* The kernel keeps the page as if written: invalidate it. */
	if (reply.err < 0 && fi->writepage)
		changes.own = true;
	reply_changed(&changes, &reply);
}

static void synced(void *arg, int err)
{
	struct reply *reply = arg;
	struct session *session = request_session(reply->req);

	/* The committer has logged the damage. */
	reply->err = err == -EUCLEAN ? -EIO : err;
	reply_send(reply); /* frees the request */
	reply_destroy(session, reply);
}

static void sync_run(void *arg)
{
	struct reply *reply = *(struct reply **)arg;
	struct session *session = request_session(reply->req);

	fs_fsync(session->fs, session_node(session, reply->ino), synced, reply);
}

void handle_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
                  struct fuse_file_info *fi)
{
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	struct reply *copy;

	reply.what = "sync";
	copy = reply_copy(&reply);
	if (!copy) {
		reply_result(req, reply.what, ino, -ENOMEM);
		return;
	}
	/*
	 * Wait for announcements of pages that were written back from a
	 * mapping.
	 */
	changes.barrier = changes.unlocked = true;
	changes_attrs(&changes, session_node(changes.session, ino));
	if (!coherence_announce(&changes, sync_run, &copy, sizeof(copy)))
		sync_run(&copy);
}

/*
 * Drop suid, sgid and capabilities unless the caller is root: the request does
 * not tell if the caller may keep them.
 */
static int kill_priv_of_others(fuse_req_t req, node_t node,
                               const struct ids *ids)
{
	struct session *session = request_session(req);
	struct stat st = {0};
	int err;

	if (!ids->any &&
	    fs_getxattr(session->fs, node, XATTR_NAME_CAPS, NULL, 0) < 0)
		return 0;
	if (caller_is_root(req))
		return 0;
	err = fs_setattr(session->fs, node, FS_SET_KILL_PRIV, &st, &st);
	return err < 0 ? err : ids_killed(session, node, ids);
}

void handle_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                      off_t len, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_RESULT, .ino = ino};
	struct changes changes = request_changes(req);
	struct ids ids = ids_of(req, node);

	reply.what = "allocate space in";
	reply.err = fs_fallocate(session->fs, node, mode, off, len);
	if (reply.err == 0)
		reply.err = kill_priv_of_others(req, node, &ids);
	/*
	 * A failed call may have changed a part of the range, which the kernel
	 * assumes unchanged.
	 */
	changes.own = reply.err < 0;
	changes_data(&changes, node, (uint64_t)off, (uint64_t)len);
	reply_changed(&changes, &reply);
}

void handle_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                  struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	off_t found;
	int err = fs_seek(session->fs, session_node(session, ino), off, whence,
	                  &found);

	if (err < 0)
		reply_result(req, "seek in", ino, err);
	else
		fuse_reply_lseek(req, found);
}

void handle_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                            struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                            off_t off_out, struct fuse_file_info *fi_out,
                            size_t len, int flags)
{
	struct session *session = request_session(req);
	node_t to = session_node(session, ino_out);
	struct reply reply = {.req = req, .kind = REPLY_WRITE, .ino = ino_out};
	struct changes changes = request_changes(req);
	struct ids ids = ids_of(req, to);
	ssize_t n = fs_copy_range(session->fs, session_node(session, ino_in),
	                          off_in, to, off_out, len);

	reply.what = "copy to";
	if (n > 0)
		reply.err = kill_priv_of_others(req, to, &ids);
	else
		reply.err = (int)n;
	reply.written = n < 0 ? 0 : (size_t)n;
	changes.unlocked = true;
	changes_data(&changes, to, (uint64_t)off_out, reply.written);
	reply_changed(&changes, &reply);
}
