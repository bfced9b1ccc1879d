/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees that are prepared for a step which changes several states at once.  A
 * part of fs.h: include that.
 *
 * A join, a clone or the restoration of a file needs a tree that may take long
 * to build.  It is built from held versions in a side head (state_side.h),
 * which is then frozen, in pieces that nobody sees.  Later the fork switches to
 * a head forked from it, in constant time and without changing a tree, so that
 * forest_undo_end() can undo the switch.  Before, the caller makes sure that
 * the fork, and what is brought into it, still are the versions that the tree
 * was built from.
 */
#ifndef COPPICE_PREPARED_H
#define COPPICE_PREPARED_H

#include "join.h"

/*
 * Ids of the versions that a tree is built from.  0: of a tree that was made
 * since forest_undo_begin(), and is still empty.
 */
struct fs_tree_ids {
	uint64_t into; /* of the fork that is to be changed */
	uint64_t from; /* of the state that something is taken from */
	uint64_t bases[JOIN_BASES_MAX]; /* of a join */
	unsigned base_count;
	struct inode root; /* of such an empty tree */
};

/* All zero at first; not to be moved in memory. */
struct fs_prepared {
	/* The versions that the tree is, or is to be, built from. */
	struct fs_tree_ids ids;
	uint64_t fork;                     /* number of the fork */
	char suffix[NAME_LEN_MAX * 2 + 2]; /* of a join: see fs_joined */
	/* The holds on the versions; now.side: the tree; the plan of a join. */
	struct fs_joined trees;
	bool forward; /* the tree is that of trees.theirs */
	bool wanted;  /* it is to be built */
	bool ready;   /* it is built */
};

/*
 * Find the present versions of a fork and of another state, without bases.
 * Costs what state_hold() costs, and has its errors.  -EROFS: `into` is a
 * snapshot.  Lock held.
 */
int fs_tree_ids(struct state *into, struct state *from,
                struct fs_tree_ids *ret_ids);
/*
 * Return true if the tree is built, from these versions, whose bases do not
 * count: versions have the same bases at any time.  Lock held.
 */
bool fs_prepared_fits(const struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids);
/* Have the tree built from these versions, for the fork with this number. */
void fs_prepared_want(struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids, uint64_t fork);
/*
 * Hold the versions that are wanted, in the place of those that were held.
 * -ENOMEM.  Lock held, and not after forest_undo_begin().
 */
int fs_prepared_hold(struct fs *fs, struct fs_prepared *prepared);

/*
 * Build the tree of a restoration of `path` to the path `into`, a clone, or a
 * join, after fs_prepared_hold().  The errors are those of fs_restore(),
 * fs_clone() and fs_join().  Lock NOT held.
 *
 * A clone: of the inode `from` to the name `name` in the directory `parent`,
 * both of which are inode numbers.
 *
 * A join: only the functions of `what` count, and `base` and `squash` as flags.
 * If there are conflicts, prepared->trees.conflicts, there is no tree.
 */
int fs_prepare_restore(struct fs *fs, struct fs_prepared *prepared,
                       const char *path, const char *into);
int fs_prepare_clone(struct fs *fs, struct fs_prepared *prepared, uint64_t from,
                     uint64_t parent, const char *name);
int fs_prepare_join(struct fs *fs, struct fs_prepared *prepared,
                    const struct fs_join *what);

/*
 * Find the versions that a join is made of, and the suffix of files that are
 * kept beside others.  1: the fork contains the other state already; errors as
 * of fs_join().  Lock held.
 */
int fs_join_ids(struct fs *fs, const struct fs_join *what,
                struct fs_tree_ids *ret_ids,
                char ret_suffix[NAME_LEN_MAX * 2 + 2]);
/* Record the join of this version, if it is to be.  Lock held. */
int fs_join_record(struct fs *fs, const struct fs_join *what, uint64_t version);

/*
 * Switch the fork to a head with the tree.  *ret_restored: to be released by
 * the caller, after success and after failure.  -EAGAIN: the tree cannot be the
 * fork's any more, and must be rebuilt; -EDQUOT; -ESTALE; -ENOMEM.  Lock
 * held.
 */
int fs_prepared_switch(struct fs *fs, struct fs_prepared *prepared,
                       struct state *fork, struct fs_restored *ret_restored);
/* Release what is held and built; all zero afterwards.  Lock NOT held. */
void fs_prepared_release(struct fs *fs, struct fs_prepared *prepared);

/* ---- For the sources of fs/.  Lock held. -------------------------------- */

/* Do what follows from the switch of a fork to another tree. */
void fork_switched(struct fs *fs, struct state *fork);
/* Hold the versions, of which nothing may be held. */
int joined_hold(struct fs *fs, struct fs_joined *joined,
                const struct fs_tree_ids *ids);
/* Release all holds and the plan; all zero afterwards. */
void joined_clear(struct fs *fs, struct fs_joined *joined);
/*
 * Return true if an inode is open in the fork that is not in the tree which is
 * brought in: it must become an orphan, and so the fork's tree cannot be that
 * one.
 */
bool joined_open_missing(struct fs *fs, const struct fs_joined *joined,
                         uint64_t fork);
/* Begin a side head of the fork's held tree. */
int prepared_begin(struct fs_prepared *prepared);
/* Freeze the side head: the tree is ready. */
void prepared_end(struct fs_prepared *prepared);

#endif
