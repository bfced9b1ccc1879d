/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `search`, which the command calls find. */
#ifndef COPPICE_CONTROL_SEARCH_H
#define COPPICE_CONTROL_SEARCH_H

#include "control_verb.h"

/*
 * Send a row for each version of each file whose name matches "pattern", a glob
 * or /REGEX/: in "states" (an array of names), as one series by their times;
 * or, if that is missing, in all states, each fork with its snapshots as a
 * series of which only what is not as in the state it was made from is
 * searched.
 */
int control_search(struct control *c);

#endif
