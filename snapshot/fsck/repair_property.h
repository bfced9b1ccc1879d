/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repair: the properties of states and the tags that hold them. */
#ifndef COPPICE_SNAPSHOT_REPAIR_PROPERTY_H
#define COPPICE_SNAPSHOT_REPAIR_PROPERTY_H

#include "repair.h"

/* Copy those of the states that are kept. */
int repair_properties(struct repair *repair);

#endif
