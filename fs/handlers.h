/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FUSE's requests, each handed to the one function of fs.h that does it, and
 * answered once.  What the files of handlers share.
 */
#ifndef COPPICE_HANDLERS_H
#define COPPICE_HANDLERS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "session.h"

static inline struct session *request_session(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* err is 0 or negative; damage is logged and answered EIO. */
void reply_result(fuse_req_t req, const char *what, fuse_ino_t ino, int err);

struct fs_cred request_cred(fuse_req_t req);

/* Whether suid, sgid and capabilities go with this change. */
bool request_kills_priv(const struct session *session, bool asked);

/*
 * Whether the file's sgid goes though its group may not execute: the caller is
 * none of its members.
 */
bool request_kills_sgid(fuse_req_t req, const struct stat *st);

/* The entry as the kernel gets it, with how long it may keep it. */
struct fuse_entry_param entry_param(struct session *session, node_t parent,
                                    const struct fs_entry *entry);
/* The same for attributes alone. */
double attr_timeout(struct session *session, node_t node);
struct stat attr_param(const struct session *session, const struct stat *st);

/* Answer with the entry and count it as looked up. */
void reply_entry(fuse_req_t req, const char *what, node_t parent,
                 const struct fs_entry *entry);

/* Flags of an open file in `fi`, by whether its state is shared. */
void open_flags(struct session *session, node_t node,
                struct fuse_file_info *fi);

/* Open it, and remember that the kernel has it open; and the end of that. */
int node_open(struct session *session, node_t node, int flags);
void node_close(struct session *session, node_t node);
/* The kernel forgot it so many times, or never got to know it. */
void node_forget(struct session *session, node_t node, uint64_t count);

/* An answer that is sent later, by another thread. */
struct late {
	fuse_req_t req;
	struct deferral deferral; /* of a copy */
	enum { LATE_RESULT, LATE_WRITE, LATE_ATTR, LATE_OPEN } kind;
	const char *what;
	fuse_ino_t ino;
	int err;
	size_t written;
	bool direct; /* the kernel's own pages were not written */
	struct stat st;
	struct fuse_file_info fi;
};

/*
 * Answer when the other sessions have dropped their pages of the node; at once
 * if there are none to tell.
 */
void reply_changed(node_t node, const struct late *late);

/* Answer now (that is: in the thread that calls). */
void reply_late(const struct late *late);

/*
 * Make a copy for another thread, which holds the session; by the worker that
 * handles the request.  late_run() answers it and destroys it.
 */
struct late *late_create(const struct late *late);
void late_destroy(struct session *session, struct late *late);
void late_run(void *arg);

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
