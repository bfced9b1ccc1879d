/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The three-way merge of one inode.  Private to the planner: join_plan.h. */
#ifndef COPPICE_SNAPSHOT_JOIN_MERGE_H
#define COPPICE_SNAPSHOT_JOIN_MERGE_H

#include "join_plan.h"

/*
 * Compute the inode's result, its conflicts and the side of its content from
 * its faces, `faces` in number, and the decisions that it has.  -ENOMEM; errors
 * of `ops`.
 */
int join_merge(struct join_inode *inode, unsigned faces,
               const struct join_ops *ops);

#endif
