/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the records of joins. */
#ifndef COPPICE_SNAPSHOT_CHECK_JOIN_H
#define COPPICE_SNAPSHOT_CHECK_JOIN_H

#include "check.h"

/* Check that a join's states and version exist, and its other records. */
int check_joins(struct check *check);

#endif
