/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Repair: the properties of states and the tags that hold them. */
#ifndef COPPICE_SNAPSHOT_REPAIR_PROPERTY_H
#define COPPICE_SNAPSHOT_REPAIR_PROPERTY_H

#include "repair.h"

/* Copy the properties and tags of the states that are kept. */
int repair_properties(struct repair *repair);

#endif
