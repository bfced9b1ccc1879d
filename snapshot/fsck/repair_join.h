/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: the records of joins.  A join is kept if both states and the version
 * that was brought in are.  Private to snapshot/.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_JOIN_H
#define COPPICE_SNAPSHOT_REPAIR_JOIN_H

#include "repair_plan.h"

/* Mark the versions that joins of kept states hold: p->held. */
int plan_joins(struct plan *p);
/* Return the number of tasks that repair_joins() will write. */
uint64_t repair_joins_tasks(const struct repair *repair);
/*
 * Copy the records of joins, with the new numbers, and report those that are
 * lost.  Write the tasks of versions that are kept for them alone.
 */
int repair_joins(struct repair *repair);

#endif
