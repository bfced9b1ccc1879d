/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that deletes a state. */
#ifndef COPPICE_CONTROL_RM_H
#define COPPICE_CONTROL_RM_H

#include "control_state.h"

/*
 * "name", "recursive"; with "number" and "created" (as rows of "list" have
 * them), only if the state of that name is still the same one.
 */
int control_rm(struct control *c);
/* "name", "recursive" */
state_change_fn control_rm_change;

#endif
