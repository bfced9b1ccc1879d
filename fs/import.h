/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Imports: a directory of a fork is made like one of another file system,
 * without a mount.  A part of fs.h: include that.
 *
 * Another process or thread reads the source, with the rights of its user, and
 * sends it as frames (import_code.h).  The tree is built in a side head
 * (state_side.h), in pieces that nobody sees.  At the end the fork switches to
 * it, and gets a snapshot if requested, in one hold of the lock.  If the sender
 * ends before, nothing has changed.
 *
 * An imported inode gets the ctime of its file in the source.  By size, mtime
 * and ctime a later import finds the files that may have changed on either
 * side.
 */
#ifndef COPPICE_FS_IMPORT_H
#define COPPICE_FS_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "../snapshot/snapshot.h"
#include "path_filter.h"

struct fs;
struct fs_cred;

struct fs_import {
	const char *state; /* name of the fork; made if it does not exist */
	/*
	 * Path of the directory to be changed; "/": the whole tree.  The
	 * directory is made if only its last component is missing.
	 */
	const char *path;
	const char *snapshot; /* name of a snapshot of the result, or NULL */
	const struct fs_cred *cred;
	/* The sender leaves out the files that the filter excludes. */
	const struct path_filter *filter;
	bool keep_excluded; /* do not delete files that the filter excludes */
	bool no_delete;
	bool checksum;     /* want the content of all files */
	bool ignore_ctime; /* compare size and mtime alone */
	bool dry_run;      /* build, but do not switch */
};

struct fs_import_counts {
	uint64_t added;     /* names, directories included, that were added */
	uint64_t changed;   /* files and directories that differed */
	uint64_t deleted;   /* names, not counting those below a directory */
	uint64_t received;  /* bytes of content that were sent */
	uint64_t new_bytes; /* of these, bytes of chunks that were stored */
	uint64_t in_way;    /* directories that no_delete kept from files */
};

/*
 * The result of an import.  Must not be moved in memory; to be released by
 * fs_imported_release() after success.
 */
struct fs_imported {
	struct state_hold before; /* the tree that was changed */
	struct state_side side;
	struct fs_import_counts counts;
	uint64_t number; /* of the fork */
	uint64_t txg;    /* for store_wait() */
	bool made;       /* the fork is new */
};

/*
 * Carry out the import whose frames come from the socket.  Lock NOT held.
 *
 * -EPIPE: the sender ended before; -EPROTO: its frames are not valid; -EPERM:
 * they have a device, and `cred` is not root; -EBUSY: the fork was written to
 * meanwhile; -ESTALE: the fork was deleted; -EROFS: the state is a snapshot;
 * -ENOENT, -ENOTDIR: no directory is at the path; -EEXIST: the snapshot exists;
 * -EINTR: see store_yield(); -EDQUOT, -ENOSPC, -ENOMEM; errors of
 * fs_state_fork().  After an error nothing has changed.
 */
int fs_import(struct fs *fs, const struct fs_import *what, int socket,
              struct fs_imported *ret_imported);
/* Lock NOT held.  All zero is allowed. */
void fs_imported_release(struct fs *fs, struct fs_imported *imported);

#endif
