/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Joining a state into a fork: a three-way merge of the two trees.  A part of
 * fs.h: include that.
 *
 * The base is the newest version that both contain, by lineage or by earlier
 * joins (join_record.h).  The plan is made from held trees, and built in a side
 * head (state_side.h) of the fork, in pieces that nobody sees.  Then the fork
 * switches to it, in one hold of the lock, if it has not been written to
 * meanwhile; else the join starts again.
 *
 * A fork without changes since the base switches to a head forked from the
 * other state, so that both share all blocks.
 */
#ifndef COPPICE_FS_JOIN_H
#define COPPICE_FS_JOIN_H

#include "restore.h"

struct fs;

struct fs_join {
	uint64_t from; /* number of the state that is brought in */
	uint64_t into; /* number of the fork */
	uint64_t base; /* number of the state to take as the base; 0: find it */
	bool dry_run;  /* only make the plan */
	bool ff_only;  /* -ENOTEMPTY if the fork has changes since the base */
	bool squash;   /* do not record the join */
	/* Callbacks, called with the lock NOT held; may be NULL. */
	/* Decide a conflict: join_ops.choose. */
	int (*choose)(void *arg, const struct join_inode *inode,
	              enum join_conflict kind);
	/* Return true to leave the fork's inode unchanged: join_ops.pin. */
	bool (*pin)(void *arg, const struct join_inode *inode);
	/* Return true if lines may be merged: join_text.h. */
	bool (*text)(void *arg, const struct join_inode *inode);
	/*
	 * Review the plan before it is carried out.  Return 0: go on; 1: make
	 * the plan once more, because choices have changed; an error: give up.
	 */
	int (*review)(void *arg);
	void *arg;
};

/*
 * The trees and the plan of a join.  Must not be moved in memory; to be
 * released by fs_joined_release(), after success and after failure.
 */
struct fs_joined {
	struct fs_restored now; /* before: the fork's tree; side: the new one */
	struct state_hold theirs;
	struct state_hold bases[JOIN_BASES_MAX];
	unsigned base_count;
	struct join_plan *plan; /* NULL: the fork contains the other already */
	int conflicts;          /* number of inodes with conflicts */
	bool done;              /* the fork has been switched */
	/* Suffix of files that are kept beside others: the state's name. */
	char suffix[NAME_LEN_MAX * 2 + 2];
};

/*
 * Join a state into a fork.  If there are conflicts that `choose` does not
 * decide, nothing is changed: see fs_joined.conflicts.
 *
 * -ENODATA: the two have no version in common; -EMLINK: they have more than
 * JOIN_BASES_MAX newest common versions; -EOPNOTSUPP: `text` is set, and
 * libgit2 is missing; -ELOOP: the decisions contradict each other; -EBUSY: the
 * fork was written to in all attempts; -EROFS: `into` is a snapshot; -ESTALE: a
 * state was deleted; -EINTR: see store_yield(); -EDQUOT, -EUCLEAN, -ENOSPC,
 * -ENOMEM; errors of the functions above.  After an error nothing has changed.
 * Lock NOT held.
 */
int fs_join(struct fs *fs, const struct fs_join *what,
            struct fs_joined *ret_joined);
/* Lock NOT held. */
void fs_joined_release(struct fs *fs, struct fs_joined *joined);

#endif
