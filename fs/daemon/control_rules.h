/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The argument of requests that includes and excludes files by their paths. */
#ifndef COPPICE_CONTROL_RULES_H
#define COPPICE_CONTROL_RULES_H

#include "control_verb.h"

/*
 * Add "rules", an array of rules of path_filter.h, to a filter, which the
 * caller releases even after an error.  Without the argument, add none.
 */
int control_rules(struct control *c, struct path_filter *filter);

#endif
