/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of versions and states: the old ones, and the new ones. */
#ifndef COPPICE_SNAPSHOT_REPAIR_RECORD_H
#define COPPICE_SNAPSHOT_REPAIR_RECORD_H

#include "repair.h"

/* Decide which states and versions are kept.  -ENODATA: no fork is. */
int repair_plan(struct repair *repair);
/* Write the new records. */
int repair_records(struct repair *repair);

#endif
