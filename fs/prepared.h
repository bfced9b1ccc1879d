/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees that are prepared for a step that changes several states at once.  A
 * part of fs.h: include that.
 *
 * A join, a clone or the restoration of a file needs a tree that may take long
 * to build.  The tree is built from held versions in a side head
 * (state_side.h), in pieces that nobody sees; the side head is then frozen.
 * Later the fork switches to a head forked from it, in constant time and
 * without changing a tree, so that forest_undo_end() can undo the switch.
 * Before the switch, the caller checks by fs_prepared_fits() that the states
 * still have the versions that the tree was built from.
 */
#ifndef COPPICE_PREPARED_H
#define COPPICE_PREPARED_H

#include "join.h"

/*
 * Ids of the versions that a tree is built from.  0: an empty tree that was
 * made since forest_undo_begin().
 */
struct fs_tree_ids {
	uint64_t into; /* of the fork to be changed */
	uint64_t from; /* of the state that files are taken from */
	uint64_t bases[JOIN_BASES_MAX]; /* of a join */
	unsigned base_count;
	struct inode root; /* of such an empty tree */
};

/* All zero at first; not to be moved in memory. */
struct fs_prepared {
	/* The versions that the tree was built from, or will be. */
	struct fs_tree_ids ids;
	uint64_t fork;                     /* number of the fork */
	char suffix[NAME_LEN_MAX * 2 + 2]; /* of a join: see fs_joined */
	/* The holds on the versions; now.side: the tree; the plan of a join. */
	struct fs_joined trees;
	bool forward; /* the tree of trees.theirs is used as it is */
	bool wanted;  /* the tree has to be built */
	bool ready;   /* the tree is built */
};

/*
 * Return the current versions of a fork and of another state, without bases.
 * Cost and errors are those of state_hold().  -EROFS: `into` is a snapshot.
 * Lock held.
 */
int fs_tree_ids(struct state *into, struct state *from,
                struct fs_tree_ids *ret_ids);
/*
 * Return true if the tree is built, and from these versions.  Bases are not
 * compared: two versions always have the same ones.  Lock held.
 */
bool fs_prepared_fits(const struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids);
/* Request a tree built from these versions, for the fork with this number. */
void fs_prepared_want(struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids, uint64_t fork);
/*
 * Hold the versions of prepared->ids instead of those held before.  -ENOMEM;
 * errors of version_hold_id().  Lock held; not after forest_undo_begin().
 */
int fs_prepared_hold(struct fs *fs, struct fs_prepared *prepared);

/*
 * Build the tree of a restoration of `path` to the path `into`, a clone, or a
 * join, after fs_prepared_hold().  The errors are those of fs_restore(),
 * fs_clone() and fs_join().  Lock NOT held.
 *
 * A clone: `from` and `parent` are inode numbers, of the source and of the
 * directory that gets the name.
 *
 * A join: only the functions of `what` are used, and whether `base` and
 * `squash` are set.  If prepared->trees.conflicts is not 0, no tree is built.
 */
int fs_prepare_restore(struct fs *fs, struct fs_prepared *prepared,
                       const char *path, const char *into);
int fs_prepare_clone(struct fs *fs, struct fs_prepared *prepared, uint64_t from,
                     uint64_t parent, const char *name);
int fs_prepare_join(struct fs *fs, struct fs_prepared *prepared,
                    const struct fs_join *what);

/*
 * Find the versions, with bases, that a join is made from, and the suffix of
 * files that are kept beside others.  1: the fork contains the other state
 * already; errors as of fs_join().  Lock held.
 */
int fs_join_ids(struct fs *fs, const struct fs_join *what,
                struct fs_tree_ids *ret_ids,
                char ret_suffix[NAME_LEN_MAX * 2 + 2]);
/* Record the join of this version unless `what` forbids it.  Lock held. */
int fs_join_record(struct fs *fs, const struct fs_join *what, uint64_t version);

/*
 * Switch the fork to a head with the tree.  The caller releases *ret_restored,
 * after success and after failure.  -EAGAIN: the tree does not fit the fork any
 * more, and must be rebuilt; -EDQUOT; -ESTALE; -ENOMEM.  Lock held.
 */
int fs_prepared_switch(struct fs *fs, struct fs_prepared *prepared,
                       struct state *fork, struct fs_restored *ret_restored);
/* Release the holds and the tree; all zero afterwards.  Lock NOT held. */
void fs_prepared_release(struct fs *fs, struct fs_prepared *prepared);

/* ---- For the sources of fs/.  Lock held. -------------------------------- */

/* Update fs->moves and adopt orphans after a fork has switched its tree. */
void fork_switched(struct fs *fs, struct state *fork);
/* Hold the versions.  `joined` has no holds yet. */
int joined_hold(struct fs *fs, struct fs_joined *joined,
                const struct fs_tree_ids *ids);
/* Release all holds and the plan; all zero afterwards. */
void joined_clear(struct fs *fs, struct fs_joined *joined);
/*
 * Return true if an inode that is open in the fork is missing in the other
 * state's tree.  The inode must become an orphan, so the fork cannot use that
 * tree as it is.
 */
bool joined_open_missing(struct fs *fs, const struct fs_joined *joined,
                         uint64_t fork);
/* Begin a side head forked from the fork's held tree. */
int prepared_begin(struct fs_prepared *prepared);
/* Freeze the side head, if there is one: the tree is ready. */
void prepared_end(struct fs_prepared *prepared);

#endif
