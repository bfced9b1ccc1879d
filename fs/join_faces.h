/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inodes that the trees of a join differ in, for its plan. */
#ifndef COPPICE_JOIN_FACES_H
#define COPPICE_JOIN_FACES_H

#include "fs.h"

/* Return the tree of a face: JOIN_OURS, JOIN_THEIRS, or that of a base. */
struct tree *joined_tree(const struct fs_joined *joined, unsigned face);
/*
 * Make joined->plan of all inodes that differ between a base and either side.
 * Costs what differs.  Lock NOT held.
 */
int joined_faces(struct fs *fs, struct fs_joined *joined);

#endif
