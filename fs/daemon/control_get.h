/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that list properties and holds.  "names" of a request are states;
 * "keys" are properties.
 */
#ifndef COPPICE_CONTROL_GET_H
#define COPPICE_CONTROL_GET_H

#include "control_verb.h"

/* A row a property; without "names" of all states, without "keys" all. */
int control_get(struct control *c);
/* A row a tag; without "names" of all states. */
int control_holds(struct control *c);

#endif
