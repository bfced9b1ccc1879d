/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests about inodes, and functions that all handlers share.
 */
#include "handlers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "handlers_dir.h"
#include "handlers_file.h"
#include "handlers_lock.h"
#include "handlers_xattr.h"
#include "mounted_states.h"
#include "reach.h"
#include "util.h"

enum { MAX_WRITE = 1 << 20, MAX_BACKGROUND = 64 };

/* ---- Answers ------------------------------------------------------------ */

void reply_result(fuse_req_t req, const char *what, fuse_ino_t ino, int err)
{
	if (err == -EUCLEAN) {
		const struct session *session = request_session(req);
		node_t node = session_node(session, ino);

		/* A damaged block is logged once, by the store. */
		if (!store_damage_reported())
			log_error("cannot %s inode %ju of state %ju: damaged "
			          "store",
			          what, (uintmax_t)NODE_INO(node),
			          (uintmax_t)NODE_STATE(node));
		err = -EIO;
	}
	fuse_reply_err(req, -err);
}

struct fs_cred request_cred(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct fs_cred){ctx->uid, ctx->gid, ctx->umask};
}

bool request_kills_priv(const struct session *session, bool asked)
{
	/* A kernel without this flag does not ask: drop them always. */
	return asked ||
	       !(session->protocol.agreed & PROTOCOL_HANDLE_KILLPRIV_V2);
}

struct stat attr_param(const struct session *session, const struct stat *st)
{
	struct stat out = *st;

	out.st_ino = session_ino(session, st->st_ino);
	return out;
}

struct fuse_entry_param entry_param(struct session *session,
                                    const struct fs_entry *entry, bool keep)
{
	struct fuse_entry_param param = {
	        .ino = session_ino(session, entry->node),
	        .attr = attr_param(session, &entry->st),
	};

	/* The kernel's root directory has no generation. */
	if (param.ino != FUSE_ROOT_ID)
		param.generation = entry->generation;

	if (entry->uncacheable || !keep)
		return param;
	/*
	 * Let the kernel cache the attributes of a .snap only from a reply to
	 * GETATTR: snapdir_forget() does not affect a lookup that is under way.
	 */
	if (NODE_INO(entry->node) != INO_SNAPDIR)
		param.attr_timeout = KEEP_FOR_LONG;
	param.entry_timeout = KEEP_FOR_LONG;
	return param;
}

/*
 * Keep a file without a name, which the kernel may open without a request,
 * until the kernel forgets the file.  Return -ESTALE if the file lost its last
 * name before its lookup was counted: then it is not kept.
 */
static int keep_looked_up(struct session *session, const struct fs_entry *entry)
{
	struct stat st;
	int err;

	if (!session->no_open || !S_ISREG(entry->st.st_mode))
		return 0;
	if (!entry->st.st_nlink) {
		err = fs_open(session->fs, entry->node, O_RDONLY);
		if (err == 0 && !lookups_hold(session->lookups, entry->node))
			fs_release(session->fs, entry->node);
		return err;
	}
	if (session->mounts->count == 1)
		return 0;
	err = fs_getattr(session->fs, entry->node, &st);
	return err == 0 && !st.st_nlink ? -ESTALE : err;
}

/*
 * Count the lookup of an entry of this directory.  -ESTALE: the entry is in
 * another state than the directory, and that state's number was reused before
 * the lookup was counted.
 */
static int entry_add_lookup(struct session *session, node_t dir,
                            const struct fs_entry *entry)
{
	int err = lookups_add(session->lookups, entry->node);

	if (err < 0)
		return err;
	if (!NODE_STATE(dir) || NODE_STATE(dir) != NODE_STATE(entry->node))
		err = fs_confirm(session->fs, entry);
	if (err == 0)
		err = keep_looked_up(session, entry);
	if (err < 0)
		node_forget(session, entry->node, 1);
	return err;
}

/*
 * Return the timeout for attributes that the kernel applies even if a
 * notification has invalidated the inode's attributes meanwhile: 0 if other
 * sessions may change them.
 */
static double unordered_timeout(struct session *session, node_t node)
{
	return session_shares(session, NODE_STATE(node)) ? 0 : KEEP_FOR_LONG;
}

void reply_made(struct changes *changes, struct reply *reply, node_t parent,
                const char *name, const struct fs_entry *entry, uint64_t epoch)
{
	struct session *session = changes->session;
	/* An O_TMPFILE file has no name. */
	bool named = strcmp(name, PROTOCOL_TMPFILE_NAME) != 0;

	reply->err = entry_add_lookup(session, parent, entry);
	/* No RELEASE ends the open of fs_tmpfile(); the lookup holds it. */
	if (!named && session->no_open)
		fs_release(session->fs, entry->node);
	if (reply->err < 0 && reply->kind == REPLY_CREATE)
		file_close(session, entry->node);
	if (reply->err == 0) {
		reply->node = entry->node;
		reply->param = entry_param(session, entry,
		                           coherence_epoch(session) == epoch);
		reply->param.attr_timeout =
		        MIN(reply->param.attr_timeout,
		            unordered_timeout(session, entry->node));
	}
	if (named)
		changes_name(changes, parent, name, entry->node);
	reply_changed(changes, reply);
}

/* ---- Options of the connection ------------------------------------------ */

/*
 * Do without OPEN if the kernel can.  O_TRUNC must arrive as a SETATTR then.
 * The kernel keeps pages and entries, as open_flags() and handle_opendir()
 * would permit.
 */
static void init_without_open(struct session *session,
                              struct fuse_conn_info *conn)
{
	const unsigned needed =
	        FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT;

	session->no_open =
	        session->no_open && (conn->capable & needed) == needed;
	if (!session->no_open)
		return;
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
	lookups_assume_open(session->lookups);
}

static void handle_init(void *userdata, struct fuse_conn_info *conn)
{
	static const unsigned wanted =
	        FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
	        FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
	        FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_EXPORT_SUPPORT |
	        FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK |
	        FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_ASYNC_DIO |
	        FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA;
	static const unsigned unwanted =
	        FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
	        FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
	        FUSE_CAP_SPLICE_MOVE;
	static const unsigned locks =
	        FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
	struct session *session = userdata;

	conn->want |= conn->capable & wanted;
	conn->want &= ~unwanted;
	/* Without these flags the kernel manages the locks itself. */
	if (session->store_locks)
		conn->want |= conn->capable & locks;
	else
		conn->want &= ~locks;
	/* The kernel applies ACLs together with its checks of permissions. */
	if (session->root_only)
		conn->want &= ~(unsigned)FUSE_CAP_POSIX_ACL;
	init_without_open(session, conn);
	conn->max_write = MAX_WRITE;
	conn->max_background = MAX_BACKGROUND;
	conn->time_gran = 1;
}

/* ---- Inodes ------------------------------------------------------------- */

/*
 * Return true if the kernel may cache for a while that the name does not exist.
 */
static bool keep_negative(struct session *session, node_t parent,
                          const char *name, uint64_t epoch)
{
	/* Names of states appear without a change through a mount. */
	return parent != NODE_ROOT && NODE_INO(parent) != INO_SNAPDIR &&
	       !(parent & NODE_VIRTUAL) &&
	       negatives_add(session->negatives, parent, name) &&
	       coherence_epoch(session) == epoch;
}

/* Return true for a lookup by inode number: of a file handle or its dentry. */
static bool is_by_number(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "/") == 0;
}

static void handle_lookup(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct session *session = request_session(req);
	struct reply reply = {.req = req, .kind = REPLY_ENTRY, .ino = ino};
	struct fuse_entry_param none = {.entry_timeout = NEGATIVE_KEEP};
	node_t parent = session_node(session, ino);
	uint64_t epoch = coherence_epoch(session);
	bool by_number = is_by_number(name);
	/*
	 * Lookups by number and of ".." hold no directory lock, which an
	 * invalidation of the name would wait for.
	 */
	bool keep = !by_number && strcmp(name, "..") != 0;
	struct fs_entry entry = {0};
	int err;

	if (by_number) {
		err = fs_entry_of(session->fs, parent, &entry);
	} else {
		err = fs_lookup(session->fs, parent, name, session->snapdir,
		                &entry);
	}
	/* ".." of the mount's root directory leads out of it. */
	if (err == 0 && !session_reaches(session, entry.node))
		err = -ESTALE;
	if (err == 0)
		err = entry_add_lookup(session, by_number ? NODE_ROOT : parent,
		                       &entry);
	if (err == -ENOENT && keep_negative(session, parent, name, epoch)) {
		fuse_reply_entry(req, &none);
		return;
	}
	reply.what = "look up";
	reply.err = err;
	reply.node = entry.node;
	if (err == 0)
		reply.param =
		        entry_param(session, &entry,
		                    keep && coherence_epoch(session) == epoch);
	reply_send(&reply);
}

static void handle_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct session *session = request_session(req);

	node_forget(session, session_node(session, ino), count);
	fuse_reply_none(req);
}

static void handle_forget_multi(fuse_req_t req, size_t count,
                                struct fuse_forget_data *forgets)
{
	struct session *session = request_session(req);

	for (size_t i = 0; i < count; i++)
		node_forget(session, session_node(session, forgets[i].ino),
		            forgets[i].nlookup);
	fuse_reply_none(req);
}

static void handle_getattr(fuse_req_t req, fuse_ino_t ino,
                           struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_ATTR, .ino = ino};

	reply.what = "get attributes of";
	/* Attributes of a .snap below a root follow the directory's. */
	reply.timeout = node & NODE_VIRTUAL ? 0 : KEEP_FOR_LONG;
	lookups_mark(session->lookups, node, CACHED_ATTRS);
	reply.err = fs_getattr(session->fs, node, &reply.st);
	reply_send(&reply);
}

void snapdir_forget(struct session *session, node_t node)
{
	node_t snapdir = NODE(NODE_STATE(node), INO_SNAPDIR);

	if (NODE_INO(node) != INO_ROOT || !NODE_STATE(node))
		return;
	for (struct session *s = session->mounts->first; s; s = s->next)
		protocol_inval_inode(s->fd, session_ino(s, snapdir), -1, 0);
}

static unsigned attr_set(const struct session *session, int to_set)
{
	static const struct {
		int fuse;
		unsigned fs;
	} flags[] = {
	        {FUSE_SET_ATTR_MODE, FS_SET_MODE},
	        {FUSE_SET_ATTR_UID, FS_SET_UID},
	        {FUSE_SET_ATTR_GID, FS_SET_GID},
	        {FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
	        {FUSE_SET_ATTR_ATIME, FS_SET_ATIME},
	        {FUSE_SET_ATTR_MTIME, FS_SET_MTIME},
	        {FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW},
	        {FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
	};
	unsigned set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (to_set & flags[i].fuse)
			set |= flags[i].fs;
	}
	/* In the protocol this bit means both suid and sgid. */
	if ((to_set & FUSE_SET_ATTR_KILL_SUID) ||
	    ((set & FS_SET_SIZE) && request_kills_priv(session, false)))
		set |= FS_SET_KILL_PRIV;
	return set;
}

static void handle_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
                           int to_set, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	node_t node = session_node(session, ino);
	struct reply reply = {.req = req, .kind = REPLY_ATTR, .ino = ino};
	struct changes changes = request_changes(req);
	unsigned set = attr_set(session, to_set);
	struct stat st;

	if ((set & (FS_SET_SIZE | FS_SET_KILL_PRIV)) ==
	            (FS_SET_SIZE | FS_SET_KILL_PRIV) &&
	    fs_getattr(session->fs, node, &st) == 0 &&
	    request_kills_sgid(req, &st))
		set |= FS_SET_KILL_SGID;
	reply.what = "set attributes of";
	reply.timeout = unordered_timeout(session, node);
	if (reply.timeout > 0)
		lookups_mark(session->lookups, node, CACHED_ATTRS);
	reply.err = fs_setattr(session->fs, node, set, attr, &reply.st);
	if (reply.err == 0 && (set & (FS_SET_MODE | FS_SET_UID | FS_SET_GID)))
		snapdir_forget(session, node);
	if (set & FS_SET_SIZE)
		changes_data(&changes, node, (uint64_t)attr->st_size, 0);
	else
		changes_attrs(&changes, node);
	reply_changed(&changes, &reply);
}

static void handle_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct session *session = request_session(req);
	char target[PATH_MAX];
	int err = fs_readlink(session->fs, session_node(session, ino), target);

	if (err < 0)
		reply_result(req, "read the symlink that is", ino, err);
	else
		fuse_reply_readlink(req, target);
}

/*
 * Handle access(2) in a mount that only root reaches, where the kernel checks
 * execution alone.  Root has all permissions, except to execute a file that
 * nobody may execute.
 */
static void handle_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct session *session = request_session(req);
	struct stat st;
	int err = fs_getattr(session->fs, session_node(session, ino), &st);

	if (err == 0 && (mask & X_OK) && !S_ISDIR(st.st_mode) &&
	    !(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
		err = -EACCES;
	reply_result(req, "check permissions of", ino, err);
}

static void handle_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct session *session = request_session(req);
	struct statvfs vfs;
	int err = fs_statfs(session->fs, session->state, &vfs);

	if (err < 0)
		reply_result(req, "get the free space for", ino, err);
	else
		fuse_reply_statfs(req, &vfs);
}

static void handle_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd,
                         void *arg, struct fuse_file_info *fi, unsigned flags,
                         const void *in, size_t in_size, size_t out_size)
{
	fuse_reply_err(req, ENOTTY);
}

/*
 * Requests without a handler get ENOSYS, after which the kernel does not send
 * them again.
 */
const struct fuse_lowlevel_ops handlers = {
        .init = handle_init,
        .lookup = handle_lookup,
        .forget = handle_forget,
        .forget_multi = handle_forget_multi,
        .getattr = handle_getattr,
        .setattr = handle_setattr,
        .readlink = handle_readlink,
        .mknod = handle_mknod,
        .mkdir = handle_mkdir,
        .unlink = handle_unlink,
        .rmdir = handle_rmdir,
        .symlink = handle_symlink,
        .rename = handle_rename,
        .link = handle_link,
        .open = handle_open,
        .read = handle_read,
        .write = handle_write,
        .release = handle_release,
        .fsync = handle_fsync,
        .opendir = handle_opendir,
        .readdir = handle_readdir,
        .releasedir = handle_releasedir,
        .readdirplus = handle_readdirplus,
        .fsyncdir = handle_fsync,
        .access = handle_access,
        .statfs = handle_statfs,
        .setxattr = handle_setxattr,
        .getxattr = handle_getxattr,
        .listxattr = handle_listxattr,
        .removexattr = handle_removexattr,
        .create = handle_create,
        .ioctl = handle_ioctl,
        .fallocate = handle_fallocate,
        .copy_file_range = handle_copy_file_range,
        .lseek = handle_lseek,
        .getlk = handle_getlk,
        .setlk = handle_setlk,
        .flock = handle_flock,
        .flush = handle_flush,
};
const size_t handlers_size = sizeof(handlers);
