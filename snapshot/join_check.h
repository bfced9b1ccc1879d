/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The checks of a round's results as a whole: every parent must exist, no two
 * inodes may have one name, no directory may lie in itself.  Private to the
 * planner: join_plan.h.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_CHECK_H
#define COPPICE_SNAPSHOT_JOIN_CHECK_H

#include "join_plan_struct.h"

/*
 * Find the first kind of violation, and take the decisions that settle it, if
 * any: then plan->again is set.  Undecided violations are recorded as
 * conflicts.  -ELOOP: the decisions contradict each other; -ENOMEM; errors of
 * the callbacks.
 */
int join_check(struct join_plan *plan);

#endif
