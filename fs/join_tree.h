/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carrying out the plan of a join in a side head. */
#ifndef COPPICE_JOIN_TREE_H
#define COPPICE_JOIN_TREE_H

#include "restore_tree.h"

/*
 * Carry out joined->plan in the side head of `r`, after restore_piece().  Lock
 * held, but released meanwhile.
 */
int join_tree_build(struct restore *r, struct fs_joined *joined);

/* Return true if the join leaves the fork's inode unchanged. */
bool join_is_ours(const struct join_inode *inode);

#endif
