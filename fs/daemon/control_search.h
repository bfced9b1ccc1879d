/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `search`, which the command calls find. */
#ifndef COPPICE_CONTROL_SEARCH_H
#define COPPICE_CONTROL_SEARCH_H

#include "control_verb.h"

/*
 * Send a row for each version of each file whose name matches "pattern", a glob
 * or /REGEX/.  The states "states" (an array of names) are searched as one
 * series in the order of their times.  If the array is missing or empty, all
 * states are searched, each fork with its snapshots as one series; files that
 * are as in the state that the fork was made from are left out.
 */
int control_search(struct control *c);

#endif
