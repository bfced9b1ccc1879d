/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers of FUSE's requests: each calls the function of fs.h that does the
 * work, and replies once.
 */
#ifndef COPPICE_HANDLERS_H
#define COPPICE_HANDLERS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "coherence.h"

static inline struct session *request_session(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/*
 * Reply with err, which is 0 or negative; damage is logged and replied as EIO.
 */
void reply_result(fuse_req_t req, const char *what, fuse_ino_t ino, int err);

struct fs_cred request_cred(fuse_req_t req);

/*
 * Return true if suid, sgid and capabilities are dropped by a change; `asked`:
 * the kernel requests it.
 */
bool request_kills_priv(const struct session *session, bool asked);

/*
 * Return true if the file's sgid must be dropped although its group may not
 * execute: the caller is not a member of the group.
 */
bool request_kills_sgid(fuse_req_t req, const struct stat *st);

/*
 * Return the entry in the kernel's format.  Unless `keep`, the kernel must not
 * cache the name and the attributes: see coherence_epoch().
 */
struct fuse_entry_param entry_param(struct session *session,
                                    const struct fs_entry *entry, bool keep);
struct stat attr_param(const struct session *session, const struct stat *st);

/*
 * Set the caching of an open file, depending on the flags it was opened with.
 */
void open_flags(struct session *session, node_t node,
                struct fuse_file_info *fi);

/*
 * Open and close a node on behalf of the kernel, counted in the lookup table.
 */
int node_open(struct session *session, node_t node, int flags);
void node_close(struct session *session, node_t node);
/*
 * Remove `count` lookups from the lookup table: the kernel forgot them, or a
 * reply did not reach it.
 */
void node_forget(struct session *session, node_t node, uint64_t count);

/* A reply, which may be sent later by another thread. */
struct reply {
	fuse_req_t req;
	struct deferral deferral; /* of a copy made by reply_copy() */
	enum {
		REPLY_RESULT,
		REPLY_WRITE,
		REPLY_ATTR,
		REPLY_OPEN,
		REPLY_ENTRY,
		REPLY_CREATE
	} kind;
	const char *what;
	fuse_ino_t ino;
	int err;
	bool lazy;    /* need not be durable on a mount with -o sync */
	bool durable; /* must be on any mount */
	size_t written;
	struct stat st;
	double timeout; /* of REPLY_ATTR */
	struct fuse_file_info fi;
	struct fuse_entry_param param;
	node_t node; /* of REPLY_ENTRY and REPLY_CREATE: looked up with it */
};

/* Return empty changes of the request's session. */
struct changes request_changes(fuse_req_t req);

/*
 * Reply when the other sessions' kernels have dropped what they cached of the
 * changes; at once if there is nothing to drop, or the request failed.  On a
 * mount with -o sync, or if reply->durable, the change is made durable first.
 */
void reply_changed(const struct changes *changes, const struct reply *reply);

/* Reply from the calling thread. */
void reply_send(const struct reply *reply);

/*
 * Reply to a request that gave a name to an inode: count the lookup, and add
 * the name to the changes.  `epoch` is coherence_epoch() from before the inode
 * was made.
 */
void reply_made(struct changes *changes, struct reply *reply, node_t parent,
                const char *name, const struct fs_entry *entry, uint64_t epoch);

/*
 * Copy the reply for another thread, with a reference to the session.  Called
 * by the worker that handles the request.  NULL: no memory.
 */
struct reply *reply_copy(const struct reply *reply);
void reply_destroy(struct session *session, struct reply *reply);

/* ---- The operations, by file -------------------------------------------- */

void handle_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void handle_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi);
void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode, dev_t rdev);
void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode);
void handle_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                    const char *name);
void handle_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
                 const char *name);
void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                   fuse_ino_t new_parent, const char *new_name, unsigned flags);

void handle_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                   mode_t mode, struct fuse_file_info *fi);
void handle_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 struct fuse_file_info *fi);
void handle_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
                  off_t off, struct fuse_file_info *fi);
void handle_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
                  struct fuse_file_info *fi);
void handle_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                      off_t len, struct fuse_file_info *fi);
void handle_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                  struct fuse_file_info *fi);
void handle_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                            struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                            off_t off_out, struct fuse_file_info *fi_out,
                            size_t len, int flags);

#endif
