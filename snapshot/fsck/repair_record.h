/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of versions and states: the old ones, and the new ones. */
#ifndef COPPICE_SNAPSHOT_REPAIR_RECORD_H
#define COPPICE_SNAPSHOT_REPAIR_RECORD_H

#include "repair_plan.h"

/* Decide from the old records what is kept. */
int repair_plan(struct repair *repair);
/* Write the new records. */
int repair_records(struct repair *repair);

/* Return the index of a version in the check; NO_VERSION: it is unusable. */
size_t plan_version_index(struct plan *p, uint64_t id);
/* Return when the version was made; 0: unknown. */
int64_t plan_version_created(struct plan *p, uint64_t id);

#endif
