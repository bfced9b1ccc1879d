/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that list properties and holds.  In their requests, "names" are
 * states (missing: all) and "keys" are properties (missing: all).
 */
#ifndef COPPICE_CONTROL_GET_H
#define COPPICE_CONTROL_GET_H

#include "control_verb.h"

/* Send a row for each property "keys" of each of the states "names". */
int control_get(struct control *c);
/* Send a row for each tag of each of the states "names". */
int control_holds(struct control *c);

#endif
