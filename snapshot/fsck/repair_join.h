/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: the records of joins.  A join is kept if both states and the version
 * that was joined are kept.  Private to snapshot/.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_JOIN_H
#define COPPICE_SNAPSHOT_REPAIR_JOIN_H

#include "repair_plan.h"

/* Mark the versions that joins of kept states hold: p->held. */
int plan_joins(struct plan *p);
/* Return the number of tasks that repair_joins() will write. */
uint64_t repair_joins_tasks(const struct repair *repair);
/*
 * Copy the records of joins, with the new numbers, and report the lost ones.
 * Write tasks for the versions that only joins keep.
 */
int repair_joins(struct repair *repair);

#endif
