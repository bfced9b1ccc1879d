/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Joining a state into a fork: a three-way merge of the two trees.  A part of
 * fs.h: include that.
 *
 * The base is what both have in common, in the lineage and by earlier joins
 * (join_record.h).  The plan is made from held trees, and built in a side head
 * (state_side.h) of the fork, in pieces that nobody sees.  Then the fork
 * switches to it, in one hold of the lock, if it has not been written to
 * meanwhile; else all of it is done again.
 *
 * A fork that has no changes of its own switches to a head forked from the
 * other state, so that both share what was joined, block by block.
 */
#ifndef COPPICE_FS_JOIN_H
#define COPPICE_FS_JOIN_H

#include "restore.h"

struct fs;

struct fs_join {
	uint64_t from; /* number of the state that is brought in */
	uint64_t into; /* number of the fork */
	uint64_t base; /* number of the state to take as the base; 0: find it */
	bool dry_run;  /* make the plan alone */
	bool ff_only;  /* -ENOTEMPTY, if the fork has changes of its own */
	bool squash;   /* do not record the join */
	/* Lock NOT held in these functions, which may be NULL. */
	/* Decide a conflict: join_ops.choose. */
	int (*choose)(void *arg, const struct join_inode *inode,
	              enum join_conflict kind);
	/* Return true if the inode is to be left alone: join_ops.pin. */
	bool (*pin)(void *arg, const struct join_inode *inode);
	/* Return true if lines may be merged: join_text.h. */
	bool (*text)(void *arg, const struct join_inode *inode);
	/*
	 * Look at the plan before it is carried out.  Return 0: go on; 1: make
	 * the plan once more, by choices that differ now; an error: give up.
	 */
	int (*review)(void *arg);
	void *arg;
};

/*
 * The trees, and what was or would be done.  Not to be moved in memory; to be
 * released by fs_joined_release(), after success and after failure.
 */
struct fs_joined {
	struct fs_restored now; /* before: the fork's tree; side: the new one */
	struct state_hold theirs;
	struct state_hold bases[JOIN_BASES_MAX];
	unsigned base_count;
	struct join_plan *plan; /* NULL: the fork contains the other already */
	int conflicts;          /* inodes that have some */
	bool done;              /* the fork has been switched */
	/* Suffix of files that are kept beside others: the state's name. */
	char suffix[NAME_LEN_MAX * 2 + 2];
};

/*
 * Join a state into a fork.  If there are conflicts that `choose` does not
 * decide, nothing is changed: see fs_joined.conflicts.
 *
 * -ENODATA: the two have nothing in common; -EOPNOTSUPP: lines are to be
 * merged, and the program was built without that; -EMLINK: they have too many
 * newest common versions; -ELOOP: the decisions contradict each other; -EROFS:
 * `into` is a snapshot; -ESTALE: a state was deleted; -EINTR: see
 * store_yield(); -EUCLEAN, -ENOSPC, -ENOMEM.  After an error nothing has
 * changed.  Lock NOT held.
 */
int fs_join(struct fs *fs, const struct fs_join *what,
            struct fs_joined *ret_joined);
/* Lock NOT held. */
void fs_joined_release(struct fs *fs, struct fs_joined *joined);

#endif
