/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of theirs that are kept beside ours, as NAME~SUFFIX.  Private to the
 * planner: join_plan.h.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_BESIDE_H
#define COPPICE_SNAPSHOT_JOIN_BESIDE_H

#include "join_plan_struct.h"

/*
 * Replace a name of the inode by one that is free in the results, whose places
 * are sorted.  -ENOMEM; errors of the callbacks; -EEXIST: too many are taken.
 */
int join_move_beside(struct join_plan *plan, struct join_inode *inode,
                     const struct join_name *name);
/*
 * Add copies of the files that are kept beside others.  All results must be
 * there.  Errors as above.
 */
int join_split(struct join_plan *plan);

#endif
