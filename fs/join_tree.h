/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a side head what the plan of a join says. */
#ifndef COPPICE_JOIN_TREE_H
#define COPPICE_JOIN_TREE_H

#include "restore_tree.h"

/*
 * Change the side head, by r, which has been set up for it.  Lock held, but
 * released meanwhile.
 */
int join_tree_build(struct restore *r, struct fs_joined *joined);

/* Return true if the joined inode is what the fork has. */
bool join_is_ours(const struct join_inode *inode);

#endif
