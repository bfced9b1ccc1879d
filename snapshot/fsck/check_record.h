/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking the records of states, names, times, versions and tasks. */
#ifndef COPPICE_SNAPSHOT_CHECK_RECORD_H
#define COPPICE_SNAPSHOT_CHECK_RECORD_H

#include "check.h"

/* Call fn for each record of a table, in order, until it returns nonzero. */
int check_records_each(struct check *check, enum table table,
                       int (*fn)(struct check *check,
                                 const struct record *record));
/* Read and check the records one by one. */
int check_load(struct check *check);
/* Check the records against each other. */
int check_lineage(struct check *check);

#endif
