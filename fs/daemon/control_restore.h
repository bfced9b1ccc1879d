/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "restore": what a state has, back into a fork. */
#ifndef COPPICE_CONTROL_RESTORE_H
#define COPPICE_CONTROL_RESTORE_H

#include "control_state.h"

int control_restore(struct control *c);
/* The whole fork "name", "from" a state, without a snapshot. */
state_change_fn control_restore_change;

#endif
