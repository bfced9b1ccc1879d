/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of versions and states: the old ones, and the new ones. */
#ifndef COPPICE_SNAPSHOT_REPAIR_RECORD_H
#define COPPICE_SNAPSHOT_REPAIR_RECORD_H

#include "repair.h"

/* Decide from the old records what is kept. */
int repair_plan(struct repair *repair);
/* Write the new records. */
int repair_records(struct repair *repair);

#endif
