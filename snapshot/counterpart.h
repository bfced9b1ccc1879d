/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mapping of inodes of one tree to those of another.
 *
 * An inode number means the same file in every state.  An inode that only one
 * tree has may have been recreated in the other, by an editor that writes a new
 * file and renames it, or in a state with another history.  Such a pair has the
 * same name in directories that stand for each other, and neither is in the
 * other's tree.
 */
#ifndef COPPICE_SNAPSHOT_COUNTERPART_H
#define COPPICE_SNAPSHOT_COUNTERPART_H

#include "inode_names.h"

enum { COUNTERPARTS_CACHED = 256 };

/* Two trees, both held; all but `trees` is zero at first. */
struct counterparts {
	struct tree *trees[2];
	struct {
		uint64_t ino, other; /* directories; other 0: none */
	} cache[2][COUNTERPARTS_CACHED];
};

/*
 * Return 1 and the inode if it has a name in the tree, or 0.  Lock held.
 */
int inode_named(struct tree *tree, uint64_t ino, struct inode *ret_inode);
/*
 * Find the directory of the other tree that stands for one of trees[from].
 * *ret_ino is 0 if there is none.  Lock held.
 */
int counterpart_dir(struct counterparts *c, int from, uint64_t ino,
                    uint64_t *ret_ino);
/*
 * Find the inode of the other tree that stands for the one with this name and
 * type in trees[from], which is not in the other.  *ret_ino is 0 if there is
 * none.  Lock held.
 */
int counterpart_find(struct counterparts *c, int from,
                     const struct inode_name *name, uint32_t mode,
                     uint64_t *ret_ino, struct inode *ret_inode);

#endif
