/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restoring a file, a directory or a whole fork from another state, the source.
 * A part of fs.h: include that.
 *
 * The target is built in a side head (state_side.h), forked from the fork's
 * head, in pieces that nobody sees.  Then the fork switches to it, in one hold
 * of the lock, if it has not been written to meanwhile; else the restoration
 * starts again.  After several attempts, the last one holds the lock
 * throughout.  To restore a whole fork, it switches to a new head forked from
 * the source's tree: constant time.
 */
#ifndef COPPICE_RESTORE_H
#define COPPICE_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "../snapshot/snapshot.h"

struct fs;

struct fs_restore {
	uint64_t source;  /* number of the state with the wanted content */
	uint64_t fork;    /* number of the fork to be changed */
	const char *path; /* in the source; "/": the whole tree */
	const char *into; /* in the fork */
	/* Name of a snapshot of the fork, made before the switch; or NULL. */
	const char *undo;
	uid_t uid;    /* the creator of that snapshot */
	bool dry_run; /* build, but do not switch */
};

/*
 * The fork's tree before and after.  Must not be moved in memory; to be
 * released by fs_restored_release() after success.
 */
struct fs_restored {
	struct state_hold before;
	struct state_side side; /* the new head, which may go on changing */
};

/*
 * Make `into` of the fork equal to `path` of the source, a file or a directory
 * with everything below it.  Inodes have the numbers that they have in the
 * source, unless an inode elsewhere in the fork has the number.  Missing
 * directories above `into` are restored, too, if path and into are the same.
 *
 * -ENOENT: no such path; -ENOTDIR, -EISDIR; -ESTALE: a state was deleted;
 * -EROFS: the fork is a snapshot; -EEXIST, -EINVAL, -ENAMETOOLONG: the
 * snapshot's name exists, or is not valid; -EINTR: see store_yield(); -EDQUOT,
 * -ENOSPC, -ENOMEM.  After an error nothing has changed.  Lock NOT held.
 */
int fs_restore(struct fs *fs, const struct fs_restore *what,
               struct fs_restored *ret_restored);
/*
 * Make the whole fork equal to the source, without a snapshot.  Constant time;
 * the lock is held, and not released.  -EROFS: the fork is a snapshot; -EDQUOT:
 * the source's tree exceeds its quota; -ESTALE, -ENOSPC, -ENOMEM.
 */
int fs_restore_whole(struct fs *fs, struct state *source, struct state *fork,
                     bool dry_run, struct fs_restored *ret_restored);
/* Lock NOT held.  All zero is allowed. */
void fs_restored_release(struct fs *fs, struct fs_restored *restored);

#endif
