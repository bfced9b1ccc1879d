/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `lineage`, for `coppice tree`. */
#ifndef COPPICE_CONTROL_TREE_H
#define COPPICE_CONTROL_TREE_H

#include "control_verb.h"

/*
 * Send a row for each version that no state names: "version", "parent" (0:
 * none) and "created", a time.
 */
int control_lineage(struct control *c);

#endif
