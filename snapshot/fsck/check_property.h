/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking the properties of states and the tags that hold them. */
#ifndef COPPICE_SNAPSHOT_CHECK_PROPERTY_H
#define COPPICE_SNAPSHOT_CHECK_PROPERTY_H

#include "check.h"

/* Check all records of properties and tags. */
int check_properties(struct check *check);
/*
 * Return 1 if the value of a state's property can be read, 0 if not, or an
 * error.
 */
int check_property_value(struct check *check, uint64_t state, const char *name);

#endif
