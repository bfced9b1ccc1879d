/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that deletes a state. */
#ifndef COPPICE_CONTROL_RM_H
#define COPPICE_CONTROL_RM_H

#include "control_state.h"

/*
 * "name", "recursive"; "now": not to the trash.  With "number" and "created"
 * (as in rows of "list"), delete only that state, not another one that has the
 * name now.  With "if_unchanged", a version, keep a fork that has changed since
 * and answer "deleted": false.
 */
int control_rm(struct control *c);
/* "name", "recursive". */
state_change_fn control_rm_change;

#endif
