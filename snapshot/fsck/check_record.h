/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the records of states, names, times, versions and tasks. */
#ifndef COPPICE_SNAPSHOT_CHECK_RECORD_H
#define COPPICE_SNAPSHOT_CHECK_RECORD_H

#include "check.h"

/* Read and check the records one by one. */
int check_load(struct check *check);
/* Check the records against each other. */
int check_lineage(struct check *check);

#endif
