/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that change properties and holds.  They check all states before
 * they change the first one.
 */
#ifndef COPPICE_CONTROL_PROPERTY_H
#define COPPICE_CONTROL_PROPERTY_H

#include "control_state.h"

/*
 * The verbs "set" ("names", "key", "value"), "unset" ("names", "key"), "hold"
 * and "release" ("names", "tag").
 */
int control_property(struct control *c);
/* The same for the one state "name", as a part of a batch. */
state_change_fn control_property_change;

/*
 * Check the object "set" of a request, the properties of a state to be made.
 */
int control_check_set(struct control *c, bool snapshot);
/* Set the properties of the object "set".  Lock held. */
int control_apply_set(struct control *c, struct state *state);

#endif
