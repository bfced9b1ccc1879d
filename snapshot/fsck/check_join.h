/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the records of joins. */
#ifndef COPPICE_SNAPSHOT_CHECK_JOIN_H
#define COPPICE_SNAPSHOT_CHECK_JOIN_H

#include "check.h"

/* Check that each record of a join leads to states, a version, and the others.
 */
int check_joins(struct check *check);

#endif
