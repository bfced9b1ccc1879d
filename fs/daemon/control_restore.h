/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "restore": what a state has, back into a fork. */
#ifndef COPPICE_CONTROL_RESTORE_H
#define COPPICE_CONTROL_RESTORE_H

#include "control_state.h"

int control_restore(struct control *c);
/*
 * "into", "into_path", "source", "source_path"; "undo": make the snapshot.
 * Only a whole fork does without a prepared tree.
 */
state_change_fn control_restore_change;
state_prepare_fn control_restore_prepare;

#endif
