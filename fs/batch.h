/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Batches: changes of the files of one or several forks, made in one step.  A
 * part of fs.h: include that.
 *
 * The changes of each fork are built in a side head (state_side.h), in pieces
 * that nobody sees.  Then all forks switch to their side heads, and get a
 * snapshot if requested, in one hold of the lock.  If a fork has been written
 * to meanwhile, the batch starts again; the last attempt holds the lock
 * throughout.  So a batch may be larger than memory, and after an error nothing
 * has changed.
 */
#ifndef COPPICE_FS_BATCH_H
#define COPPICE_FS_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "../snapshot/snapshot.h"

struct fs;
struct fs_cred;

struct fs_batch {
	const void *data; /* see batch_code.h */
	size_t len;
	const struct fs_cred *cred; /* owner of new files without a MODE */
	/* Name of a snapshot of each fork after the step; NULL: none. */
	const char *snapshot;
	/*
	 * Called for each fork after the step, with its trees before and after
	 * it; may be NULL.  Lock NOT held.
	 */
	void (*changed)(void *arg, uint64_t fork, struct tree *before,
	                struct tree *after);
	void *arg;
};

/* The operation of a batch that failed. */
struct fs_batch_failure {
	uint64_t fork;    /* number; 0: no particular fork */
	const char *path; /* into the batch's data; NULL: no particular path */
	size_t path_len;
};

/*
 * Apply a batch.  *ret_txg: the transaction group that has it, for
 * store_wait().  A put replaces the content of a file and keeps its inode.
 * Symlinks are not followed.
 *
 * -EPROTO: the data is no batch; -EPROTONOSUPPORT: it has a newer version;
 * -EPERM: it names another owner than `cred`, who is not root; -ESTALE: a fork
 * was deleted; -EROFS: it is a snapshot; -EEXIST: a snapshot has the name;
 * -EDQUOT; -ENOSPC; -ENOMEM; -EINTR: see store_yield(); those of the system
 * calls for each operation.  *ret_failure is set after an error.  Lock NOT
 * held.
 */
int fs_batch_apply(struct fs *fs, const struct fs_batch *batch,
                   uint64_t *ret_txg, struct fs_batch_failure *ret_failure);

#endif
