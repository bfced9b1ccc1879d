/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Collecting the inodes that differ between the trees of a join, for its plan.
 * A face of an inode is its version in one of the trees.
 */
#ifndef COPPICE_JOIN_FACES_H
#define COPPICE_JOIN_FACES_H

#include "fs.h"

/* Return the tree of a face: JOIN_OURS, JOIN_THEIRS, or that of a base. */
struct tree *joined_tree(const struct fs_joined *joined, unsigned face);
/*
 * Make joined->plan of all inodes that differ between a base and either side.
 * The cost is proportional to the differences.  Lock NOT held.
 */
int joined_faces(struct fs *fs, struct fs_joined *joined);

#endif
