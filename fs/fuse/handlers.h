/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handlers of FUSE's requests: each calls the function of fs.h that does the
 * work, and replies once.
 */
#ifndef COPPICE_HANDLERS_H
#define COPPICE_HANDLERS_H

#include "reply.h"

/*
 * Reply with err, which is 0 or negative.  Damage is logged, as "cannot WHAT
 * inode N", and replied as EIO.
 */
void reply_result(fuse_req_t req, const char *what, fuse_ino_t ino, int err);

struct fs_cred request_cred(fuse_req_t req);

/*
 * Return true if a change must drop suid, sgid and capabilities; `asked`: the
 * kernel requests it.
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
 * Close a file that OPEN or CREATE has opened.  In a mount without OPEN no file
 * is counted as open: the kernel sends no RELEASE there.
 */
void file_close(struct session *session, node_t node);
/*
 * Remove `count` lookups from the lookup table: the kernel forgot them, or a
 * reply did not reach it.
 */
void node_forget(struct session *session, node_t node, uint64_t count);

/*
 * Reply to a request that gave a name to an inode: count the lookup, and add
 * the name to the changes.  `epoch` is coherence_epoch() from before the inode
 * was made.
 */
void reply_made(struct changes *changes, struct reply *reply, node_t parent,
                const char *name, const struct fs_entry *entry, uint64_t epoch);

/*
 * Invalidate the attributes and the ACL of a fork's .snap in all kernels, if
 * the changed node is the fork's root directory, from which .snap has them.
 * This does not wait, so it may be called before the reply.
 */
void snapdir_forget(struct session *session, node_t node);

#endif
